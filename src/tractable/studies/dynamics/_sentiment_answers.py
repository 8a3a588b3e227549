"""The answers of the sentiment study: sentences with numbers, and two tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tractable.studies.dynamics._sentiment_parts import correlation_of
from tractable.study import Table

if TYPE_CHECKING:
    from tractable.studies.dynamics.dynamics_sentiment import DynamicsSentiment

N_WORDS = 12
N_ROWS = 7
ARCHITECTURE = {"vanilla": "vanilla RNN", "ugrnn": "UGRNN", "gru": "GRU", "lstm": "LSTM"}


def answers(
    study: DynamicsSentiment, theory: xr.Dataset, measured: xr.Dataset
) -> Iterator[str | Table]:
    """Yield what the network computes, question by question."""
    yield _the_network(study, measured)
    yield _the_points(measured)
    if measured.sizes["point"] < 2 or not np.isfinite(float(theory.pc_fraction)):
        yield (
            "That is one point, and no line: the network has not learned to remember, or too few "
            "starts were drawn. What follows is the linear theory at that point."
        )
    else:
        yield _the_line(theory)
        yield _the_readout(theory)
    yield _the_time_constants(theory, measured)
    yield _the_words(theory, measured)
    yield _how_far(theory)
    yield _modes_table(theory, measured)
    yield _words_table(theory, measured)


def _the_network(study: DynamicsSentiment, measured: xr.Dataset) -> str:
    test, train = float(measured.test_accuracy), float(measured.train_accuracy)
    words = float(measured.bag_of_words_accuracy)
    return (
        f"{measured.attrs['source']} A {ARCHITECTURE[study.cell]} of {study.units} units judges "
        f"{test:.1%} of {int(measured.n_test)} held-out texts right ({train:.1%} of the training "
        f"texts); logistic regression on word counts {words:.1%}."
    )


def _the_points(measured: xr.Dataset) -> str:
    n_points, n_roots = measured.sizes["point"], measured.sizes["root"]
    unstable = measured.root_unstable.values
    slowest, median = measured.point_q.min(), measured.point_q.median()
    kinds = [
        f"{int((unstable == n).sum())} with {n} unstable direction{'s' if n > 1 else ''}"
        for n in sorted(set(unstable.tolist()) - {0})
    ]
    roots = ", ".join([f"{int((unstable == 0).sum())} stable", *kinds])
    missing = (
        ""
        if int(measured.index_sum) in (0, 1)
        else f" (their degrees add up to {int(measured.index_sum):+d}, not +1: some are missing)"
    )
    least = f", least {float(slowest):.1e}" if n_points > 1 else ""
    return (
        f"At zero input the network has {n_roots} exact fixed point{'s' * (n_roots != 1)}"
        f"{': ' + roots if n_roots else ''}{missing}. It hardly moves at {n_points} slow "
        f"point{'s' * (n_points != 1)}: median speed q = {float(median):.1e}{least} "
        f"(q = half the squared step; divide by {measured.sizes['unit'] / 2:g} for the paper's "
        "convention)."
    )


def _the_line(theory: xr.Dataset) -> str:
    share = float(theory.pc_fraction)
    bent = 1 - float(theory.spline_fraction)
    low, high = float(theory.point_readout.min()), float(theory.point_readout.max())
    verdict = "The slow points form a line" if share >= 0.85 else "The slow points are no line"
    speed = float(theory.speed.median())
    return (
        f"{verdict}: one axis holds {share:.1%} of their variance, one smooth curve {bent:.1%}. "
        f"Along it the logit runs from {low:.1f} to {high:.1f}; the median drift is "
        f"{speed:.2g} a step, {speed / max(float(theory.length), 1e-300):.2%} of its length."
    )


def _the_readout(theory: xr.Dataset) -> str:
    cosine = abs(float(theory.axis_readout))
    n = theory.sizes["unit"]
    verdict = "looks along" if cosine > float(theory.null_99) else "does not look along"
    return (
        f"The readout {verdict} the line: their directions have |cos| = {cosine:.2f}, where "
        f"chance in {n} dimensions gives {np.sqrt(2 / (np.pi * n)):.2f} on average."
    )


def _the_time_constants(theory: xr.Dataset, measured: xr.Dataset) -> str:
    first = theory.tau.isel(mode=0)
    length = float(measured.median_length)
    text = (
        f"The slowest mode has a time constant of {_steps(first.median())} words (median along the "
        f"line; from {_steps(first.min())} to {_steps(first.max())})"
    )
    if theory.sizes["mode"] > 1:
        text += f", the second of {_steps(theory.tau.isel(mode=1).median())}"
    grows = float((_modulus(theory).isel(mode=0) > 1).mean())
    text += f". The median text has {length:g} words."
    if grows > 0:
        text += (
            f" At {grows:.0%} of the points the slowest mode grows instead of decaying: the state "
            "leaves them for a stable end."
        )
    return text


def _the_words(theory: xr.Dataset, measured: xr.Dataset) -> str:
    ranked = theory.word_weight.to_series().sort_values()
    down, up = ", ".join(ranked.index[:5]), ", ".join(ranked.index[-5:][::-1])
    agreement = correlation_of(theory.word_effect, measured.word_effect)
    bag = correlation_of(theory.word_weight, measured.coefficient)
    return (
        f"Pushed up most by {up}; down by {down}. The effect of a word predicted from the slowest "
        f"mode alone correlates {agreement:.2f} with what it does to the network itself "
        f"{int(measured.effect_steps)} steps later, and {bag:.2f} with the weights of an "
        "independent bag of words."
    )


def _how_far(theory: xr.Dataset) -> str:
    error = theory.one_step_error.median("step")
    bag = theory.sel(rollout="bag_of_words")
    switching = theory.sel(rollout="switching")
    single = theory.sel(rollout="rollout")
    oscillates = (
        ""
        if bool(theory.undecided_real)
        else " (its slowest modes oscillate as a pair: no single mode carries the valence there)"
    )
    return (
        f"One step ahead the linear theory is off by {float(error.sel(model='linear')):.1%} (no "
        f"change at all: {float(error.sel(model='identity')):.1%}). Over whole texts the model "
        f"that switches between points explains {float(switching.r2):.1%} of the logits' variance "
        f"and linearization at the one undecided point {_share(single.r2)}; its slowest mode used "
        f"as a bag of words makes {float(bag.sign_agreement):.1%} of the network's decisions"
        f"{oscillates}."
    )


def _modes_table(theory: xr.Dataset, measured: xr.Dataset) -> Table:
    rows = []
    order = np.argsort(theory.line_theta.values)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, N_ROWS).astype(int))]
    modulus = _modulus(theory)
    for i in chosen:
        at = theory.isel(line=int(i))
        rows.append(
            (
                float(at.line_theta),
                float(at.line_readout),
                *(float(value) for value in modulus.isel(line=int(i)).values[:3]),
                float(at.tau.isel(mode=0)),
                abs(float(at.alignment_tangent)),
            )
        )
    modes = tuple(f"|λ{i + 1}|" for i in range(min(3, theory.sizes["mode"])))
    columns = ("position θ", "logit", *modes, "τ1 (words)", "|cos| of mode and line")
    return Table("Modes along the line", columns, tuple(rows))


def _words_table(theory: xr.Dataset, measured: xr.Dataset) -> Table:
    weight = theory.word_weight.values
    order = np.argsort(weight)
    chosen = [*order[::-1][:N_WORDS], *order[:N_WORDS][::-1]]
    effect = measured.word_effect.median("shown").values
    rows = tuple(
        (
            str(theory.word.values[i]),
            float(weight[i]),
            float(effect[i]),
            float(measured.coefficient.values[i]),
            int(measured["count"].values[i]),
        )
        for i in dict.fromkeys(int(i) for i in chosen)
    )
    columns = (
        "word",
        "one mode (logit)",
        f"network, {int(measured.effect_steps)} steps later (logit)",
        "bag of words (logit)",
        "occurrences",
    )
    return Table("Words that push hardest along the line", columns, rows)


def _modulus(theory: xr.Dataset) -> xr.DataArray:
    return np.hypot(theory.eigenvalue_real, theory.eigenvalue_imag)


def _steps(value: Any) -> str:
    number = float(value)
    return "over 1,000" if number > 1000 else f"{number:.3g}"


def _share(value: Any) -> str:
    return f"{float(value):.0%}" if float(value) > 0 else "none of it"
