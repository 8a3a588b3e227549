"""Pictures of learning: curves, learning time against depth and against the spectrum's width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable import plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["plot_depth_scaling", "plot_learning_curves", "plot_time_against_variance"]

# Okabe and Ito; the same network has the same color in every picture.
COLORS = {
    "tanh orthogonal": "#0072B2",
    "tanh Gaussian": "#56B4E9",
    "ReLU orthogonal": "#E69F00",
    "ReLU Gaussian": "#D55E00",
    "delta-orthogonal kernels": "#0072B2",
    "Gaussian kernels": "#56B4E9",
}
OTHERS = ("#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "D", "v", "P", "X")


def plot_learning_curves(
    curves: Mapping[str, tuple[Any, Any]],
    *,
    threshold: float | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw accuracy against training steps, one line per network.

    Parameters
    ----------
    curves : mapping
        Name to (steps, shape (T,), accuracies, shape (T, seeds)). The line is the median of the
        seeds, the band their range.
    threshold : float, optional
        Drawn dashed; the median's first step above it is marked.
    legend : bool
        Draw the legend.
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(5.6, 3.4))
    colors = _colors(curves)
    if threshold is not None:
        ax.axhline(threshold, color="#7F7F7F", lw=0.8, ls="--", zorder=1)
    for name, (steps, accuracy) in curves.items():
        step, values = np.asarray(steps, dtype=float), np.asarray(accuracy, dtype=float)
        shown = step > 0
        middle = np.median(values, axis=1)
        ax.fill_between(
            step[shown],
            values.min(axis=1)[shown],
            values.max(axis=1)[shown],
            color=colors[name],
            alpha=0.2,
            lw=0,
        )
        ax.plot(step[shown], middle[shown], color=colors[name], label=name)
        reached = np.flatnonzero(middle >= (np.inf if threshold is None else threshold))
        if reached.size:
            ax.plot(step[reached[0]], middle[reached[0]], "o", color=colors[name], ms=5, zorder=4)
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    ax.set(xlabel="training steps", ylabel="test accuracy", ylim=(0, 1.02))
    if legend:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if new:
        figure.set_label("Test accuracy against training steps; bands are the range of the seeds.")
    return figure


def plot_depth_scaling(
    times: Mapping[str, tuple[Any, Any, Any]],
    *,
    errors: Mapping[str, tuple[Any, Any]] | None = None,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw learning time against depth, doubly logarithmic, with fitted exponents.

    The line is the fit :math:`\tau \propto L^a` through the points that were reached.

    Parameters
    ----------
    times : mapping
        Name to (depths, times, reached), each of shape (k,); a time that was not reached is a
        lower bound, drawn as a triangle and left out of the fit.
    errors : mapping, optional
        Name to (lowest, highest) time over the seeds, each of shape (k,).
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(5.6, 3.6))
    colors = _colors(times)
    for i, (name, (depths, values, reached)) in enumerate(times.items()):
        depth, tau = np.asarray(depths, dtype=float), np.asarray(values, dtype=float)
        there = np.asarray(reached, dtype=bool)
        color, label = colors[name], name
        if there.sum() >= 2:
            slope, offset = exponent(depth[there], tau[there])
            label = f"{name}: τ ∝ L^{slope:.2f}"
            span = np.geomspace(depth[there].min(), depth[there].max(), 2)
            ax.plot(span, np.exp(offset) * span**slope, color=color, lw=1.2, zorder=2)
        spread = None
        if errors is not None and name in errors:
            low, high = (np.asarray(side, dtype=float)[there] for side in errors[name])
            spread = np.maximum(np.stack([tau[there] - low, high - tau[there]]), 0.0)
        marker = MARKERS[i % len(MARKERS)]
        plot.measurement(
            ax, depth[there], tau[there], error=spread, label=label, color=color, marker=marker
        )
        _bounds(ax, depth[~there], tau[~there], color)
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_ticks(ax.yaxis)
    ax.set(xlabel="depth L (layers)", ylabel="learning time τ (steps)")
    ticks = sorted({float(d) for depths, _, _ in times.values() for d in np.asarray(depths)})
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.legend(loc="best")
    if new:
        figure.set_label("Learning time against depth with fitted powers; triangles are bounds.")
    return figure


def plot_time_against_variance(
    variances: Mapping[str, float],
    times: Mapping[str, Mapping[str, tuple[float, bool]]],
    *,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw learning time against the relative variance of the eigenvalues of :math:`J J^T`.

    Parameters
    ----------
    variances : mapping
        Network to predicted relative variance.
    times : mapping
        Series (an optimizer, say) to network to (time, whether it was reached); a time that was
        not reached is a lower bound, drawn as a triangle.
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(6.2, 3.6))
    colors = _colors(variances)
    for i, (series, values) in enumerate(times.items()):
        names = sorted(values, key=lambda name: variances[name])
        x = np.array([variances[name] for name in names])
        y = np.array([values[name][0] for name in names])
        there = np.array([values[name][1] for name in names])
        ax.plot(x, y, color="#BFBFBF", lw=0.8, zorder=1)
        for name, at, tau, known in zip(names, x, y, there, strict=True):
            if known:
                marker = MARKERS[i % len(MARKERS)]
                ax.plot(at, tau, marker, color=colors[name], ms=5, ls="none", zorder=3)
            else:
                _bounds(ax, np.array([at]), np.array([tau]), colors[name])
        ax.plot([], [], MARKERS[i % len(MARKERS)], color="#7F7F7F", label=series)
    if set(variances) <= set(COLORS):
        for name in variances:
            ax.plot([], [], "-", color=colors[name], label=name)
    ax.plot([], [], "^", mfc="white", color="#7F7F7F", label="lower bound")
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.set(
        xlabel=r"predicted relative variance of the eigenvalues of $J J^T$",
        ylabel="learning time τ (steps)",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if new:
        figure.set_label("Learning time against the predicted width of the Jacobian's spectrum.")
    return figure


def exponent(depth: np.ndarray, time: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of log time against log depth.

    Examples
    --------
    >>> slope, offset = exponent(np.array([1.0, 4.0, 16.0]), np.array([3.0, 6.0, 12.0]))
    >>> round(slope, 6), round(float(np.exp(offset)), 6)
    (0.5, 3.0)
    """
    slope, offset = np.polyfit(np.log(depth), np.log(time), 1)
    return float(slope), float(offset)


def plain_ticks(axis: Axis) -> None:
    """Write plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.5)))


def _bounds(ax: Axes, x: np.ndarray, y: np.ndarray, color: str) -> None:
    """Draw lower bounds."""
    if len(x):
        ax.plot(x, y, "^", mfc="white", color=color, ms=7, ls="none", zorder=3)


def _colors(names: Mapping[str, Any]) -> dict[str, str]:
    others = [name for name in names if name not in COLORS]
    return {name: COLORS.get(name) or OTHERS[others.index(name) % len(OTHERS)] for name in names}
