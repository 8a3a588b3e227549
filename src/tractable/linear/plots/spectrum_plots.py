"""Pictures of noisy matrices: their singular values, and what noise makes of a signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_range
from tractable.linear.arrays import as_float64
from tractable.linear.bulk import bulk_density, bulk_edges
from tractable.linear.spikes import detection_threshold, spike_forward

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_overlaps", "plot_singular_values", "plot_spikes"]

BLUE, VERMILLION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
COLORS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def plot_singular_values(
    s_data: ArrayLike,
    aspect: float,
    *,
    sigma: float = 1.0,
    edge: float | None = None,
    n_bins: int = 40,
    unit: str = "σ",
    ax: Axes | None = None,
) -> Figure:
    """Draw the histogram of a data matrix's singular values, the law of noise, and the signals.

    Parameters
    ----------
    s_data : array
        Singular values, of one matrix or of several.
    aspect : float, > 0
        A = outputs over inputs.
    sigma : float, > 0
        Noise in the unit of s_data: the entries have the standard deviation sigma / sqrt(n_in).
    edge : float, optional
        Above it a value counts as a signal and gets a marker; the edge of the law when missing.
    n_bins : int, >= 1
        Bins of the noise.
    unit : str
        Unit of the horizontal axis.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import noisy_task
    >>> s = np.linalg.svd(noisy_task([9, 6, 3]).cov_yx, compute_uv=False)
    >>> figure = plot_singular_values(s, 0.5)
    """
    from tractable import plot

    check_range("n_bins", n_bins, 1)
    values = as_float64("s_data", s_data, low=0.0).ravel()
    low, high = bulk_edges(aspect, sigma)
    border = high if edge is None else edge
    noise, signals = values[values <= border], np.sort(values[values > border])
    with _canvas(ax) as (figure, axes):
        top = max(border, noise.max(initial=0.0))
        share = len(noise) / max(len(values), 1)
        counts, bins = np.histogram(
            noise, np.linspace(min(low, noise.min(initial=low)), top, n_bins)
        )
        density = counts / max(len(values), 1) / np.diff(bins)
        axes.bar(
            bins[:-1],
            density,
            np.diff(bins),
            align="edge",
            color="#BBBBBB",
            label="measurement: singular values",
        )
        x = np.linspace(low, high, 400)
        plot.theory(
            axes,
            x,
            share * bulk_density(x, aspect, sigma),
            color=BLUE,
            label="theory: pure noise (Marchenko-Pastur)",
        )
        if signals.size:
            height = 0.06 * max(density.max(initial=0.0), 1e-12)
            axes.vlines(signals, 0, height, color=VERMILLION, lw=1)
            plot.measurement(
                axes,
                signals,
                np.full(len(signals), height),
                color=VERMILLION,
                ms=4,
                label="signals above the edge",
            )
        axes.axvline(border, color=GRAY, ls=":", lw=1, label="edge of detection")
        axes.set(xlabel=f"singular value ({unit})", ylabel=f"density (1/{unit})", ylim=(0, None))
        axes.legend()
        if ax is None:
            figure.set_label(
                "Singular values of the data: the bars follow the law of pure noise up to its "
                "edge; what lies beyond is signal."
            )
    return figure


def plot_spikes(
    s: ArrayLike,
    s_data: ArrayLike,
    aspect: float,
    *,
    error: ArrayLike | None = None,
    color: str = BLUE,
    label: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw the singular value of the data against that of the signal: theory line, measured points.

    Parameters
    ----------
    s, s_data : array, shape (n,)
        Signal and what was measured in the data, in units of the noise.
    aspect : float, > 0
        A = outputs over inputs.
    error : array, shape (n,), optional
        Standard errors.
    color, label : str
        Of this aspect.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> figure = plot_spikes([1.0, 3.0], [1.74, 3.24], 0.5)
    """
    from tractable import plot

    strength = as_float64("s", s, low=0.0)
    with _canvas(ax) as (figure, axes):
        fine = np.linspace(0, max(float(strength.max()), 1e-9), 400)
        name = label or f"A = {aspect:g}"
        plot.theory(axes, fine, spike_forward(fine, aspect).s_data, color=color, label=name)
        plot.measurement(axes, strength, s_data, error=error, color=color, ms=4, label="_")
        axes.axvline(detection_threshold(aspect), color=color, ls=":", lw=1)
        axes.set(xlabel="signal (σ)", ylabel="singular value of the data (σ)")
        axes.legend()
        if ax is None:
            figure.set_label(
                "Singular value of the data against that of the signal: flat below the threshold "
                "(dotted), above it always larger than the signal."
            )
    return figure


def plot_overlaps(
    s: ArrayLike,
    overlap: ArrayLike,
    aspect: float,
    *,
    error: ArrayLike | None = None,
    color: str = BLUE,
    label: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw the overlap O of signal and data vectors against the signal.

    Parameters
    ----------
    s, overlap : array, shape (n,)
        Signal in units of the noise, and O, the product of both overlaps.
    aspect, error, color, label, ax
        As in `plot_spikes`.

    Examples
    --------
    >>> figure = plot_overlaps([1.0, 3.0], [0.3, 0.92], 0.5)
    """
    from tractable import plot

    strength = as_float64("s", s, low=0.0)
    with _canvas(ax) as (figure, axes):
        fine = np.linspace(0, max(float(strength.max()), 1e-9), 400)
        name = label or f"A = {aspect:g}"
        plot.theory(axes, fine, spike_forward(fine, aspect).overlap, color=color, label=name)
        plot.measurement(axes, strength, overlap, error=error, color=color, ms=4, label="_")
        axes.axvline(detection_threshold(aspect), color=color, ls=":", lw=1)
        axes.set(xlabel="signal (σ)", ylabel="overlap O with the signal", ylim=(-0.02, 1.02))
        axes.legend()
        if ax is None:
            figure.set_label(
                "Overlap of the data's singular vectors with those of the signal: zero below the "
                "threshold (dotted), near one for strong signals."
            )
    return figure


@contextmanager
def _canvas(ax: Axes | None) -> Iterator[tuple[Figure, Axes]]:
    """Give figure and axes: new ones in the library's style, given ones as they are."""
    from tractable import plot

    with plot.style() if ax is None else nullcontext():
        yield plot.axes_of(ax)
