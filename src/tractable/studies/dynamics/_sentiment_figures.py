"""The pictures of the sentiment study, from its two datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tractable import plot
from tractable.dynamics import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_LABELLED = 10


def figures(theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return all pictures by name, in the order of the story."""
    return {
        "state_space": _state_space(theory, measured),
        "spectrum_along_the_line": _spectrum(theory),
        "time_constants": _time_constants(theory, measured),
        "words": _words(theory, measured),
        "decay": _decay(theory, measured),
        "alignment": _alignment(theory),
        "word_contrast": _word_contrast(theory),
        "one_step": _one_step(theory),
        "whole_texts": _whole_texts(theory),
        "speeds": _speeds(measured),
        "dimension": _dimension(measured),
        "learning": _learning(measured),
    }


def _state_space(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    unstable = measured.root_unstable.values
    figure = plots.plot_state_space(
        measured.state.values,
        measured.point_state.values,
        labels=measured.state_label.values,
        label_names=("negative text", "positive text"),
        theta=theory.theta.values,
        roots=measured.root_state.values,
        stability=["stable" if n == 0 else f"saddle({n})" for n in unstable],
        readout=theory.readout.values,
        bias=float(theory.readout_bias),
        trajectories=[path[np.isfinite(path).all(1)] for path in measured.path.values],
    )
    return _captioned(
        figure,
        "States that the network visits on held-out texts, in the plane of their two largest "
        "principal components; its slow points, colored by their position θ along the line, and "
        "its exact fixed points; the direction of the readout and the line where it is undecided; "
        "two texts as paths.",
    )


def _spectrum(theory: xr.Dataset) -> Figure:
    values = theory.eigenvalue_real.values + 1j * theory.eigenvalue_imag.values
    figure = plots.plot_spectrum_along(theory.line_theta.values, values, n=4)
    return _captioned(
        figure, "Moduli of the slowest eigenvalues of the Jacobian along the line of slow points."
    )


def _time_constants(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure = plots.plot_time_constants(
        theory.line_theta.values,
        theory.tau.values,
        n=3,
        length=float(measured.median_length),
        unit="words",
    )
    return _captioned(
        figure,
        "Time constants of the slowest modes along the line, against the median length of a text.",
    )


def _words(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    middle = int(np.abs(theory.shown_readout.values).argmin())
    figure = plots.plot_input_effects(
        theory.word_effect.values[middle],
        measured.word_effect.values[middle],
        words=[str(word) for word in measured.word.values],
        n_words=N_LABELLED,
        quantity="change of the logit",
    )
    return _captioned(
        figure,
        f"Effect of every frequent word on the logit {int(measured.effect_steps)} steps later, at "
        "the slow point nearest to indecision: predicted from the slowest mode alone, and measured "
        "on the network itself.",
    )


def _decay(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    order = np.argsort(theory.shown_readout.values)
    figure = plots.plot_decay(
        measured.lag.values,
        measured.decay.values[order],
        theory.decay.values[order],
        theta=theory.shown_readout.values[order],
        theta_label="logit at the point",
        unit="words",
    )
    return _captioned(
        figure,
        "What is left of a small displacement along the line after each number of steps without "
        "input, at points along the line: powers of the Jacobian against the network itself.",
    )


def _alignment(theory: xr.Dataset) -> Figure:
    figure = plots.plot_alignment(
        theory.alignment_tangent.values, theory.sizes["unit"], quantity="slowest mode and line"
    )
    return _captioned(
        figure,
        "Does the slowest mode point along the line? Cosines at the points of the line, beside "
        "the density for random directions.",
    )


def _word_contrast(theory: xr.Dataset) -> Figure:
    figure = plots.plot_alignment(
        theory.left_input_match.values,
        theory.sizes["unit"],
        quantity="left vector and word contrast",
    )
    return _captioned(
        figure,
        "Does the left vector of the slowest mode, which selects what is remembered, point along "
        "the difference between the inputs of positive and of negative words? Cosines at the "
        "points of the line, beside the density for random directions.",
    )


def _one_step(theory: xr.Dataset) -> Figure:
    names = {
        "linear": "linear theory",
        "identity": "no change",
        "mean": "mean state",
        "affine": "affine fit",
    }
    errors = {names[str(m)]: theory.one_step_error.sel(model=m).values for m in theory.model.values}
    return _captioned(
        plots.plot_one_step_error(errors),
        "Relative error of the next state, predicted by linearization at the nearest slow point "
        "and by three baselines, over all steps of the held-out texts.",
    )


def _whole_texts(theory: xr.Dataset) -> Figure:
    logits = theory.rollout_logit
    figure = plots.plot_logits(
        theory.logit.values,
        {
            "switching": logits.sel(rollout="switching").values,
            "one mode, bag of words": logits.sel(rollout="bag_of_words").values,
        },
    )
    return _captioned(
        figure,
        "Logits of whole texts: of the linear model that switches between slow points, and of one "
        "mode used as a bag of words, against the network.",
    )


def _speeds(measured: xr.Dataset) -> Figure:
    figure = plots.plot_speed_scan(
        measured.scan_tol.values,
        measured.scan_n_points.values,
        pc1=measured.scan_pc_fraction.values,
        q=measured.point_q.values,
    )
    return _captioned(
        figure,
        "How slow the slow points are: points found under each threshold of the speed q, the "
        "variance share of their first component, and the histogram of q.",
    )


def _dimension(measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(5.2, 3.8))
    component = np.arange(1, measured.sizes["unit"] + 1)
    for name, label, color in (
        ("state_variance", "trained", "C0"),
        ("untrained_variance", "untrained", "C1"),
    ):
        cumulated = np.cumsum(measured[name].values)
        plot.measurement(ax, component, cumulated, label=label, color=color, ms=3.5)
    ax.axhline(0.9, color="0.5", lw=0.8, ls=":")
    ax.set(xlabel="number of principal components", ylabel="share of variance", ylim=(0, 1.03))
    ax.set_xscale("log")
    ax.legend(loc="lower right")
    return _captioned(
        figure,
        "Share of the variance of the visited states in their largest principal components, after "
        "and before training; the dotted line is 90 %.",
    )


def _learning(measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(5.2, 3.8))
    step, accuracy = measured.learning_step.values, measured.learning_accuracy.values
    plot.measurement(ax, step, accuracy, label="network", color="C0")
    baseline = float(measured.bag_of_words_accuracy)
    ax.axhline(baseline, color="C2", lw=1.2, ls="--", label="bag of words")
    ax.set(xlabel="updates", ylabel="test accuracy")
    ax.legend(loc="lower right")
    return _captioned(
        figure, "Test accuracy while learning, and that of logistic regression on word counts."
    )


def _captioned(figure: Figure, caption: str) -> Figure:
    figure.set_label(caption)
    return figure
