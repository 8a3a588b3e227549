"""Comparisons between networks of the architectures study, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.dynamics._sentiment_parts import ONE, correlation_of, n_components
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
                "network of each kind where the paper took the best of several by validation, "
                f"{study.n_test:,} of the 25,000 test texts, and Yelp is left out. The preset "
                "`paper` has the published size."
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
            f"correlate by {_range(alike)}; their states at the end of the same texts are aligned "
            f"by {_range(aligned)} (linear CKA)."
        )
    return text


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


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


# Quantity, what MWGGS found, and how it is read off one network.
_QUANTITIES: tuple[tuple[str, str, Callable[[xr.Dataset, xr.Dataset], float]], ...] = (
    ("test accuracy", "Table 1", lambda one, seen: float(seen.test_accuracy)),
    (
        "accuracy of the bag of words",
        "within 2 points",
        lambda one, seen: float(seen.bag_of_words_accuracy),
    ),
    (
        "accuracy of one mode as a bag of words",
        "-",
        lambda one, seen: float(one.accuracy.sel(rollout="bag_of_words")),
    ),
    (
        "components of the states for 90 %",
        "2 to 3 (Fig. 2a)",
        lambda one, seen: n_components(np.cumsum(seen.state_variance.values)),
    ),
    (
        "slow points: variance along one axis",
        "one-dimensional (Fig. 2c)",
        lambda one, seen: float(one.pc_fraction),
    ),
    (
        "|cos| of axis and readout",
        "aligned (Fig. 2c)",
        lambda one, seen: abs(float(one.axis_readout)),
    ),
    (
        "slow modes: slower than a median text, median",
        "1 (Fig. 3)",
        lambda one, seen: float(np.median((one.tau >= seen.median_length).sum("mode"))),
    ),
    (
        "τ1 (words)",
        "hundreds to thousands (Fig. 3)",
        lambda one, seen: float(one.tau.isel(mode=0).median()),
    ),
    (
        "median text (words)",
        "about 175 (Yelp, mean)",
        lambda one, seen: float(seen.median_length),
    ),
    (
        "τ1 / τ2",
        "about 10 (Fig. 3)",
        lambda one, seen: float((one.tau.isel(mode=0) / one.tau.isel(mode=1)).median()),
    ),
    (
        "|cos| of slowest mode (right) and line",
        "strong overlap (Fig. 4d)",
        lambda one, seen: float(abs(one.alignment_tangent).median()),
    ),
    (
        "|cos| of its left vector and the valence direction",
        "positive and negative words on either side (Fig. 4a)",
        lambda one, seen: float(abs(one.left_input_match).median()),
    ),
    (
        "word weights of one mode against bag of words, correlation",
        "signs agree (Fig. 4)",
        lambda one, seen: correlation_of(one.word_weight, seen.coefficient),
    ),
    (
        "one-step error, median",
        "about 0.1 (Fig. 5)",
        lambda one, seen: float(one.one_step_error.sel(model="linear").median()),
    ),
    (
        "decisions shared with one mode as a bag of words",
        "-",
        lambda one, seen: float(one.sign_agreement.sel(rollout="bag_of_words")),
    ),
)


def _side_by_side(
    study: DynamicsArchitectures,
    name: str,
    theory: xr.Dataset,
    measured: xr.Dataset,
    table: dict[str, dict[str, Any]],
) -> Table:
    """Return the published findings beside those of every network on one data set."""
    chosen = [(key, cell, k) for key, n, cell, k in study.networks() if n == name]
    parts = {key: (part(theory, key), part(measured, key)) for key, _, _ in chosen}
    rows: list[tuple[Any, ...]] = [
        (quantity, published, *(read(*parts[key]) for key, _, _ in chosen))
        for quantity, published, read in _QUANTITIES
    ]
    held = (sum(check.holds for check in table[key].values()) for key, _, _ in chosen)
    total = len(next(iter(table.values())))
    rows.append(("signatures that hold", f"of {total}", *held))
    several = study.n_seeds > 1
    columns = (NAMES[cell] + (f" {k}" if several else "") for _, cell, k in chosen)
    return Table(
        f"{name}: architectures side by side", ("quantity", "published", *columns), tuple(rows)
    )


def _published(study: DynamicsArchitectures, name: str, measured: xr.Dataset) -> Table:
    rows: list[tuple[Any, ...]] = []
    words = float(measured.words_accuracy[study._of(name, study.cells[0])][0])
    rows.append(("bag of words", TABLE_1[name]["words"], words))
    for cell in study.cells:
        ours = float(np.median(measured.network_accuracy[study._of(name, cell)]))
        rows.append((NAMES[cell], TABLE_1[name][cell], ours))
    return Table(f"{name}: test accuracy, published (Table 1) and here", _ACCURACY, tuple(rows))


_ACCURACY = ("network", "published", "here")
