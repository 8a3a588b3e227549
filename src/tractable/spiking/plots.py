"""Pictures of spiking networks: rasters, voltages, learning, rates, feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable import plot
from tractable.core.checks import check_count, check_range
from tractable.spiking.params import LIFParams

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_cost_bars",
    "plot_feedback_signs",
    "plot_intervals",
    "plot_learning",
    "plot_raster",
    "plot_rates",
    "plot_spike_times",
    "plot_voltage",
]


def plot_raster(
    times_ms: ArrayLike,
    units: ArrayLike,
    *,
    target_times_ms: ArrayLike = (),
    target_units: ArrayLike = (),
    ax: Axes | None = None,
    label: str = "spikes",
    color: str = "C0",
) -> Figure:
    """Draw spikes as ticks and wanted spikes as open circles.

    Parameters
    ----------
    times_ms, units : array_like
        Time and unit of each spike, (n_spikes,).
    target_times_ms, target_units : array_like
        The same of the wanted spikes.
    ax : Axes, optional
        Where to draw; a new figure when absent.
    label, color : str
        Of the spikes.
    """
    figure, axes = plot.axes_of(ax)
    n = np.asarray(target_times_ms).size
    if n:
        axes.plot(
            np.asarray(target_times_ms), np.asarray(target_units), "o", mfc="none", mec="0.55",
            ms=7 if n < 60 else 3.2, mew=0.8, zorder=1, label="target",
        )  # fmt: skip
    x = np.asarray(times_ms)
    size = 9 if x.size < 400 else 2.5
    axes.plot(x, np.asarray(units), "|", color=color, ms=size, mew=1.1, zorder=3, label=label)
    axes.set(xlabel="time (ms)", ylabel="unit")
    axes.margins(y=0.06)
    return figure


def plot_voltage(
    v_mv: ArrayLike,
    params: LIFParams | None = None,
    *,
    target_times_ms: ArrayLike = (),
    ax: Axes | None = None,
    label: str = "membrane potential",
    color: str = "C0",
) -> Figure:
    """Draw a voltage, the threshold, and dots where spikes are wanted.

    Parameters
    ----------
    v_mv : array_like
        Voltage relative to rest, mV, (T,).
    params : LIFParams, optional
        Rest, threshold and time step.
    target_times_ms : array_like
        Wanted spike times, ms.
    ax, label, color
        As in `plot_raster`.
    """
    constants = params or LIFParams()
    figure, axes = plot.axes_of(ax)
    v = np.asarray(v_mv, dtype=float) + constants.v_rest
    time = np.arange(len(v)) * constants.dt
    axes.plot(time, v, color=color, lw=0.9, label=label)
    axes.axhline(constants.v_th, color="0.4", ls="--", lw=0.8, label="threshold")
    wanted = np.asarray(target_times_ms, dtype=float)
    if wanted.size:
        top = np.full(wanted.shape, constants.v_th + 1.2)
        axes.plot(wanted, top, "v", color="C1", ms=5, label="target")
    axes.set(xlabel="time (ms)", ylabel="voltage (mV)")
    return figure


def plot_learning(
    curves: Mapping[str, ArrayLike],
    window_ms: float,
    *,
    ax: Axes | None = None,
    initial: float | None = None,
    log: bool = False,
    ylabel: str = "cost (unmatched spikes)",
) -> Figure:
    """Draw learning curves: every run thin, the mean over runs thick.

    Parameters
    ----------
    curves : mapping
        Name to costs, (n_runs, n_windows).
    window_ms : float
        Duration of a window, ms.
    ax : Axes, optional
        Where to draw.
    initial : float, optional
        The cost of silence, a dashed line.
    log : bool
        Logarithmic cost.
    ylabel : str
        Name of the vertical axis.
    """
    check_range("window_ms", window_ms, 0, open_low=True, open_high=True)
    figure, axes = plot.axes_of(ax)
    for i, (name, values) in enumerate(curves.items()):
        runs = np.atleast_2d(np.asarray(values, dtype=float))
        time = (np.arange(runs.shape[1]) + 1) * window_ms / 1000
        for run in runs:
            axes.plot(time, run, color=f"C{i}", lw=0.5, alpha=0.3)
        known = np.isfinite(runs)
        mean = np.where(known, runs, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
        axes.plot(time, mean, color=f"C{i}", lw=1.8, label=f"{name}, mean")
    if initial is not None:
        axes.axhline(initial, color="0.4", ls="--", lw=0.8, label="silent net, theory")
    if log:
        axes.set_yscale("log")
    axes.set(xlabel="time simulated (s)", ylabel=ylabel)
    return figure


def plot_spike_times(
    trials: ArrayLike, times_ms: ArrayLike, targets_ms: ArrayLike, *, ax: Axes | None = None
) -> Figure:
    """Draw when an output fired in each trial, and the wanted times as lines.

    Parameters
    ----------
    trials, times_ms : array_like
        Trial and time of each spike, (n_spikes,).
    targets_ms : array_like
        Wanted times, ms.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax)
    for i, time in enumerate(np.atleast_1d(np.asarray(targets_ms, dtype=float))):
        axes.axvline(time, color="C1", lw=1.0, zorder=1, label="target" if i == 0 else "_")
    axes.plot(
        np.asarray(times_ms), np.asarray(trials), ".", color="C0", ms=2.2, zorder=3, label="spikes"
    )
    axes.set(xlabel="time in the trial (ms)", ylabel="trial")
    return figure


def plot_rates(
    rates_hz: Mapping[str, ArrayLike], *, ax: Axes | None = None, bins: int = 20
) -> Figure:
    """Draw the distribution of firing rates over neurons.

    Parameters
    ----------
    rates_hz : mapping
        Name to rates, Hz, (n_units,).
    ax : Axes, optional
        Where to draw.
    bins : int
        Number of bins, >= 1.
    """
    check_count("bins", bins)
    figure, axes = plot.axes_of(ax)
    every = [np.asarray(rates, dtype=float).ravel() for rates in rates_hz.values()]
    top = max((float(rates.max()) for rates in every if rates.size), default=1.0)
    edges = np.linspace(0, max(top, 1.0), bins + 1)
    for i, (name, rates) in enumerate(zip(rates_hz, every, strict=True)):
        axes.hist(rates, edges.tolist(), histtype="step", color=f"C{i}", label=name)
    axes.set(xlabel="rate (Hz)", ylabel="neurons")
    return figure


def plot_intervals(
    intervals_ms: Mapping[str, ArrayLike], *, ax: Axes | None = None, bins: int = 30,
    dead_ms: float = 0.0,
) -> Figure:  # fmt: skip
    """Draw the distribution of intervals between spikes beside that of Poisson spikes.

    The line is the exponential density of the same mean, after the dead time; the coefficient of
    variation stands in the legend.

    Parameters
    ----------
    intervals_ms : mapping
        Name to intervals, ms, (n_intervals,), see `interspike_intervals`.
    ax : Axes, optional
        Where to draw.
    bins : int
        Number of bins, >= 1.
    dead_ms : float
        Refractory time, ms, >= 0.
    """
    check_count("bins", bins)
    check_range("dead_ms", dead_ms, 0, open_high=True)
    figure, axes = plot.axes_of(ax)
    every = [np.asarray(x, dtype=float).ravel() for x in intervals_ms.values()]
    top = max((float(np.quantile(x, 0.99)) for x in every if x.size), default=1.0)
    edges = np.linspace(0, max(top, 2 * dead_ms, 1e-3), bins + 1)
    for i, (name, x) in enumerate(zip(intervals_ms, every, strict=True)):
        mean = float(x.mean()) if x.size else np.nan
        spread = float(x.std()) / mean if x.size > 1 and mean > 0 else np.nan
        density = np.histogram(x, edges)[0] / max(x.size, 1) / np.diff(edges)
        axes.stairs(density, edges, color=f"C{i}", label=f"{name}, CV {spread:.2f}")
        if mean > dead_ms:
            time = np.linspace(dead_ms, edges[-1], 200)
            poisson = np.exp(-(time - dead_ms) / (mean - dead_ms)) / (mean - dead_ms)
            plot.theory(axes, time, poisson, color=f"C{i}",
                        label="Poisson of this rate" if i == 0 else "_")  # fmt: skip
    axes.set(xlabel="interval between spikes (ms)", ylabel="density (1/ms)")
    return figure


def plot_feedback_signs(
    feedback: ArrayLike, outgoing_mv: ArrayLike, *, active: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:  # fmt: skip
    """Draw the outgoing weight of hidden neurons against their feedback weight.

    Parameters
    ----------
    feedback, outgoing_mv : array_like
        Of each hidden neuron, (n_hidden,).
    active : array_like of bool, optional
        Neurons that fire; the others are drawn open.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax)
    b, w = (np.asarray(x, dtype=float).ravel() for x in (feedback, outgoing_mv))
    fires = np.ones(b.shape, dtype=bool) if active is None else np.asarray(active, dtype=bool)
    axes.axhline(0, color="0.6", lw=0.8)
    axes.axvline(0, color="0.6", lw=0.8)
    plot.measurement(axes, b[fires], w[fires], color="C0", label="active neurons")
    if (~fires).any():
        plot.measurement(axes, b[~fires], w[~fires], color="C0", mfc="white", label="silent ones")
    axes.set(xlabel="feedback weight", ylabel="outgoing weight (mV)")
    return figure


def plot_cost_bars(
    costs: Mapping[str, ArrayLike], *, ax: Axes | None = None, xlabel: str = "cost",
    reference: Sequence[float] | None = None,
) -> Figure:  # fmt: skip
    """Draw a final number for several conditions: every run a dot, the mean a bar.

    Parameters
    ----------
    costs : mapping
        Name of the condition to its runs, (n_runs,).
    ax : Axes, optional
        Where to draw.
    xlabel : str
        Name of the axis, with its unit.
    reference : sequence of float, optional
        A number to compare with for each condition, drawn as a line.
    """
    figure, axes = plot.axes_of(ax)
    rows = np.arange(len(costs))[::-1]
    for k, (row, values) in enumerate(zip(rows, costs.values(), strict=True)):
        runs = np.asarray(values, dtype=float).ravel()
        style: dict[str, Any] = {"color": "C0", "alpha": 0.25, "height": 0.62}
        axes.barh(row, float(np.nanmean(runs)), **style)
        axes.plot(runs, np.full(runs.shape, row), "o", color="C0", ms=4, zorder=3,
                  label="_" if k else "runs")  # fmt: skip
        if reference is not None:
            axes.plot([reference[k]] * 2, [row - 0.31, row + 0.31], "-", color="C1",
                      label="_" if k else "reference")  # fmt: skip
    axes.set_yticks(rows, list(costs))
    axes.set(xlabel=xlabel)
    return figure
