"""Comparisons between networks of the architectures study, and its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.dynamics._sentiment_parts import ONE, n_components
from tractable.studies.dynamics.dynamics_architectures import (
    OSCILLATES,
    TABLE_1,
    odd_shares,
    part,
)
from tractable.study import Table

if TYPE_CHECKING:
    import xarray as xr

    from tractable.studies.dynamics.dynamics_architectures import DynamicsArchitectures

NAMES = {"vanilla": "vanilla RNN", "ugrnn": "UGRNN", "gru": "GRU", "lstm": "LSTM"}


def pairs(study: DynamicsArchitectures, name: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield the pairs of first networks of different architectures on one data set."""
    chosen = [
        (i, cell) for i, (_, n, cell, k) in enumerate(study.networks()) if n == name and k == 0
    ]
    for a, (i, one) in enumerate(chosen):
        for j, other in chosen[a + 1 :]:
            yield i, j, one, other


def similarity(study: DynamicsArchitectures, parts: dict[str, xr.Dataset]) -> dict[str, Any]:
    """Return the alignment of the states that two networks reach at the end of the same texts."""
    import torch

    from tractable.dynamics.similarity import linear_cka

    last = []
    for key, name, cell, _ in study.networks():
        measured = parts[key]
        model = study._sentiment(study.texts[name], cell).rebuild(measured)
        tokens = torch.as_tensor(measured.tokens.values)
        ends = torch.as_tensor(measured.length.values) - 1
        with torch.no_grad():
            states = model.recurrent(model.embed(tokens))[0]
        last.append(states[torch.arange(len(ends)), ends])
    alike = np.full((len(last), len(last)), np.nan)
    np.fill_diagonal(alike, 1.0)
    for name in study.texts:
        for i, j, _, _ in pairs(study, name):
            alike[i, j] = alike[j, i] = linear_cka(last[i], last[j])
    return {"alignment": (("network", "other"), alike, ONE)}


def weight_correlation(
    study: DynamicsArchitectures, parts: dict[str, xr.Dataset]
) -> dict[str, Any]:
    """Return how the word weights of two networks on the same texts correlate."""
    weights = [parts[key].word_weight.values for key, *_ in study.networks()]
    table = np.full((len(weights), len(weights)), np.nan)
    np.fill_diagonal(table, 1.0)
    for name in study.texts:
        for i, j, _, _ in pairs(study, name):
            if weights[i].std() > 0 and weights[j].std() > 0:
                table[i, j] = table[j, i] = np.corrcoef(weights[i], weights[j])[0, 1]
    return {"weight_correlation": (("network", "other"), table, ONE)}


def answers(
    study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset
) -> Iterator[str | Table]:
    """Yield whether the architectures share the mechanism, and a table for every data set."""
    table = study.signature_table(theory, measured)
    for name in study.texts:
        yield _the_mechanism(study, name, theory, measured, table)
        odd = _the_odd_ones(study, name, theory)
        if odd:
            yield odd
        yield _side_by_side(study, name, theory, measured, table)
        if name in TABLE_1:
            yield _published(study, name, measured)
        if study.max_length < 400 and name == "imdb":
            yield (
                f"What is cut here: texts to their first {study.max_length} words, {study.units} "
                f"units for the paper's 256, {study.epochs} passes over the training texts, one "
                "network of each kind where the paper took the best of several by validation, and "
                "Yelp is left out. The preset `paper` has the published size."
            )


def _the_mechanism(
    study: DynamicsArchitectures,
    name: str,
    theory: xr.Dataset,
    measured: xr.Dataset,
    table: dict[str, dict[str, Any]],
) -> str:
    alike, aligned, held = [], [], []
    for i, j, _, _ in pairs(study, name):
        alike.append(float(theory.weight_correlation[i, j]))
        aligned.append(float(measured.alignment[i, j]))
    for key, n, cell, number in study.networks():
        if n == name and number == 0:
            good = sum(check.holds for check in table[key].values())
            held.append(f"{NAMES[cell]} {good} of {len(table[key])}")
    text = f"{name}: published signatures of the line attractor that hold: {'; '.join(held)}."
    if alike:
        text += (
            f" The weights that two architectures give to the words through their slowest mode "
            f"correlate by {min(alike):.2f} to {max(alike):.2f}, although their states at the end "
            f"of the same texts are differently arranged (linear CKA {min(aligned):.2f} to "
            f"{max(aligned):.2f})."
        )
    return text


def _the_odd_ones(study: DynamicsArchitectures, name: str, theory: xr.Dataset) -> str:
    said = []
    for key, n, cell, number in study.networks():
        if n != name or number:
            continue
        oscillating, growing = odd_shares(part(theory, key))
        if oscillating > OSCILLATES:
            said.append(f"the {NAMES[cell]}'s slowest mode oscillates at {oscillating:.0%}")
        if growing > OSCILLATES:
            said.append(f"the {NAMES[cell]}'s grows at {growing:.0%}")
    return f"{name}: {', '.join(said)} of its points." if said else ""


def _side_by_side(
    study: DynamicsArchitectures,
    name: str,
    theory: xr.Dataset,
    measured: xr.Dataset,
    table: dict[str, dict[str, Any]],
) -> Table:
    rows = []
    for key, n, cell, number in study.networks():
        if n != name:
            continue
        one, seen = part(theory, key), part(measured, key)
        tau = one.tau.isel(mode=0)
        variance = np.cumsum(seen.state_variance.values)
        rows.append(
            (
                NAMES[cell] + (f" {number}" if study.n_seeds > 1 else ""),
                float(seen.test_accuracy),
                float(seen.bag_of_words_accuracy),
                n_components(variance),
                float(one.pc_fraction),
                abs(float(one.axis_readout)),
                float(tau.median()),
                float((tau / one.tau.isel(mode=1)).median()),
                float(abs(one.alignment_tangent).median()),
                table[key]["word weights: one mode against bag of words"].measured,
                float(one.one_step_error.sel(model="linear").median()),
                float(one.sign_agreement.sel(rollout="bag_of_words")),
                sum(check.holds for check in table[key].values()),
            )
        )
    length = float(part(measured, f"{name}_{study.cells[0]}_0").median_length)
    columns = (
        "network",
        "accuracy",
        "bag of words",
        "components for 90 %",
        "points along one axis",
        "|cos| axis, readout",
        f"τ1 (words; texts {length:g})",
        "τ1/τ2",
        "|cos| mode, line",
        "weights, bag of words",
        "one-step error",
        "decisions of one mode",
        "signatures",
    )
    return Table(f"{name}: architectures side by side", columns, tuple(rows))


def _published(study: DynamicsArchitectures, name: str, measured: xr.Dataset) -> Table:
    rows: list[tuple[Any, ...]] = []
    words = float(measured.words_accuracy[study._of(name, study.cells[0])][0])
    rows.append(("bag of words", TABLE_1[name]["words"], words))
    for cell in study.cells:
        ours = float(np.median(measured.network_accuracy[study._of(name, cell)]))
        rows.append((NAMES[cell], TABLE_1[name][cell], ours))
    return Table(f"{name}: test accuracy, published (Table 1) and here", _ACCURACY, tuple(rows))


_ACCURACY = ("network", "published", "here")
