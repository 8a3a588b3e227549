"""Overlaps, sweep by sweep: state evolution and message passing."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tractable import plot

__all__ = ["plot_evolution", "plot_overlap_noise"]


def plot_evolution(
    theory: ArrayLike,
    measured: ArrayLike | None = None,
    *,
    labels: list[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the overlap of every mode after each sweep.

    Parameters
    ----------
    theory : (T, p) array
        Overlaps of state evolution, the start first.
    measured : (draws, T, p) array, optional
        Overlaps of message passing; drawn as mean and standard deviation over draws.
    labels : list of str, optional
        Names of the modes.
    ax : Axes, optional
    """
    figure, axes = plot.axes_of(ax, size=(5.2, 3.6))
    curve = np.asarray(theory, float)
    names = labels or [f"mode {a + 1}" for a in range(curve.shape[1])]
    points = None if measured is None else np.asarray(measured, float)
    length = len(curve) if points is None else max(len(curve), points.shape[1])
    for a, name in enumerate(names):
        # A fixed point that is reached stays.
        line = np.concatenate([curve[:, a], np.full(length - len(curve), curve[-1, a])])
        label = name if points is None else f"{name}, state evolution"
        plot.theory(axes, np.arange(length), line, color=f"C{a}", label=label)
        if points is not None:
            sweeps = np.arange(points.shape[1])
            plot.measurement(
                axes,
                sweeps,
                points[:, :, a].mean(0),
                error=points[:, :, a].std(0, ddof=1) if len(points) > 1 else None,
                color=f"C{a}",
                ms=4,
                label=f"{name}, AMP",
            )
    axes.set(xlabel="sweep", ylabel="overlap with the truth, $M_a$")
    axes.legend(fontsize="small")
    if ax is None:
        figure.set_label(
            "Overlap of each factor with the true one after every sweep: state evolution (lines) "
            "and message passing (markers, mean and standard deviation over draws)."
        )
    return figure


def plot_overlap_noise(
    noise: ArrayLike,
    found: ArrayLike,
    best: ArrayLike,
    *,
    levels: dict[str, float] | None = None,
    measured_noise: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the overlap that message passing finds, and the Bayes optimum, against the noise.

    Parameters
    ----------
    noise, found, best : (K,) arrays
        Noise variance, overlap found, overlap of the Bayes optimum.
    levels : dict, optional
        Thresholds by name, drawn as vertical lines.
    measured_noise, measured : (J,) and (draws, J) arrays, optional
        Overlaps of single runs.
    ax : Axes, optional
    """
    figure, axes = plot.axes_of(ax, size=(5.2, 3.6))
    x = np.asarray(noise, float)
    plot.theory(axes, x, best, color="C1", label="Bayes optimum")
    plot.theory(axes, x, found, color="C0", label="state evolution from the prior")
    for name, level in (levels or {}).items():
        if np.isfinite(level) and level > 0:
            axes.axvline(level, color="0.6", lw=0.8, ls=":", zorder=1)
            axes.annotate(
                name,
                (level, 1.0),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                fontsize="x-small",
                color="0.35",
            )
    if measured is not None and measured_noise is not None:
        points = np.atleast_2d(np.asarray(measured, float))
        for draw, row in enumerate(points):
            plot.measurement(
                axes,
                measured_noise,
                row,
                color="C0",
                mfc="white",
                ms=4,
                label="AMP, single draws" if draw == 0 else "_",
            )
    axes.set(xlabel=r"noise variance $\Delta$", ylabel="overlap with the truth, $M$")
    axes.legend(fontsize="small", loc="upper right")
    if ax is None:
        figure.set_label(
            "Overlap against the noise variance: what message passing finds from the prior, and "
            "the Bayes optimum. Between the two lines lies the hard phase."
        )
    return figure
