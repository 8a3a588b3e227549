"""Pictures of receptive fields: mosaics, tuning, roundness against orientation, and courses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tractable import plot
from tractable.core.checks import check_range
from tractable.vision.retina.layer_plots import (
    plot_depth,
    plot_grating_tuning,
    plot_layers,
    plot_prediction,
    plot_strips,
)

__all__ = [
    "plot_anisotropy_radial",
    "plot_course",
    "plot_depth",
    "plot_grating_tuning",
    "plot_layers",
    "plot_mosaic",
    "plot_place_mosaic",
    "plot_prediction",
    "plot_strips",
    "plot_tuning",
    "plot_widths",
]

COLUMNS = 8
GAP = 1
SYMBOLS = ("o", "s", "^", "D", "v", "P")


def plot_mosaic(
    rf: np.ndarray,
    *,
    columns: int = COLUMNS,
    crop: int = 0,
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw receptive fields side by side, each with a color scale symmetric about zero.

    Parameters
    ----------
    rf : ndarray, shape (n, H, W)
        Red is positive, blue negative, white zero; silent fields (NaN) have a cross, and fields
        that are infinite throughout are left empty.
    columns : int
        Fields in a row.
    crop : int
        Pixels cut off on every side.
    titles : sequence of str, optional
        Written above each field.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure
    """
    fields = np.asarray(rf, float)
    if fields.ndim != 3:
        raise ValueError(f"rf must have shape (n, H, W), got {fields.shape}")
    check_range("crop", crop, 0, (min(fields.shape[1:]) - 1) // 2)
    check_range("columns", columns, 1)
    if crop:
        fields = fields[:, crop:-crop, crop:-crop]
    n, height, width = fields.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), np.nan)
    silent = []
    for i, one in enumerate(fields):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        if np.isinf(one).all():
            continue
        peak = np.abs(one).max()
        if np.isfinite(peak) and peak > 0:
            canvas[top : top + height, left : left + width] = one / peak
        else:
            canvas[top : top + height, left : left + width] = 0
            silent.append((top + height / 2 - 0.5, left + width / 2 - 0.5))
    figure, axes = plot.axes_of(ax, size=(0.9 * columns + 0.3, 0.9 * rows + 0.4))
    axes.imshow(canvas, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    for y, x in silent:
        axes.text(x, y, "×", ha="center", va="center", color="0.4", fontsize=14)
    for i, title in enumerate(titles or ()):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        axes.text(left + width / 2 - 0.5, top - 0.8, title, ha="center", va="bottom", fontsize=7)
    axes.set_axis_off()
    return figure


def plot_place_mosaic(
    rf: np.ndarray, place: np.ndarray, *, window: int = 4, ax: Axes | None = None
) -> Figure:
    """Draw the field of each position at its position: ON and OFF cells over the retina.

    Parameters
    ----------
    rf : ndarray, shape (n, H, W)
        Fields.
    place : ndarray of int, shape (n, 2)
        Row and column of each in the map, whose size is that of the image.
    window : int
        Pixels shown to each side.
    ax : Axes, optional
        Where to draw.
    """
    fields, places = np.asarray(rf, float), np.asarray(place, int)
    rows, columns = np.unique(places[:, 0]), np.unique(places[:, 1])
    side = 2 * window + 1
    padded = np.pad(fields, ((0, 0), (window, window), (window, window)))
    ordered = np.full((len(rows) * len(columns), side, side), np.nan)
    for one, (row, column) in zip(padded, places, strict=True):
        at = int(np.searchsorted(rows, row)) * len(columns) + int(np.searchsorted(columns, column))
        ordered[at] = one[row : row + side, column : column + side]
    return plot_mosaic(ordered, columns=len(columns), ax=ax)


def plot_anisotropy_radial(
    layers: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    floor: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw every cell by its anisotropy and its roundness, layers in colors.

    Parameters
    ----------
    layers : mapping of str to (anisotropy, radial fraction)
        Arrays of equal length; NaN is left out.
    floor : (float, float), optional
        What white noise has.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 3.6))
    for i, (name, (a, radial)) in enumerate(layers.items()):
        plot.measurement(
            axes, a, radial, label=name, marker=SYMBOLS[i % len(SYMBOLS)], ms=4, color=f"C{i}"
        )
    if floor is not None:
        axes.plot(*floor, "x", color="0.3", label="white noise")
    axes.set(xlabel="anisotropy A", ylabel="radial fraction", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_tuning(
    curves: Mapping[str, np.ndarray], *, period: float = np.pi, ax: Axes | None = None
) -> Figure:
    """Draw tuning to orientation in polar coordinates, with the median and quartiles of cells.

    Parameters
    ----------
    curves : mapping of str to ndarray, shape (n, n_angles)
        As `orientation` gives them: the preferred orientation first, its response 1.
    period : float
        Angle that the curve covers: pi of the spectral, 2 pi of the bars.
    ax : polar Axes, optional
        Where to draw.
    """
    if ax is None:
        figure, axes = plot.new(size=(5.2, 4.0), subplot_kw={"projection": "polar"})
    else:
        figure, axes = plot.axes_of(ax)
    for i, (name, values) in enumerate(curves.items()):
        alive = np.asarray(values)[~np.isnan(values).any(1)]
        whole = np.tile(alive, (1, round(2 * np.pi / period)))
        angle = np.linspace(0, 2 * np.pi, whole.shape[1] + 1)
        low, middle, high = (np.append(q, q[0]) for q in np.percentile(whole, [25, 50, 75], axis=0))
        plot.theory(axes, angle, middle, label=f"{name}, {len(alive)} cells", color=f"C{i}")
        axes.fill_between(angle, low, high, color=f"C{i}", alpha=0.2, lw=0)
    axes.set(ylim=(0, 1.05), yticks=[0.5, 1.0], xlabel="orientation relative to the preferred one")
    axes.legend(loc="upper left", bbox_to_anchor=(1.05, 1.0))
    return figure


def plot_course(
    step: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    ylabel: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw quantities against training steps: mean over networks, bars from least to largest.

    Parameters
    ----------
    step : ndarray, shape (R,)
        Updates at each record.
    curves : mapping of str to ndarray, shape (n_nets, R)
        NaN is left out.
    ylabel : str
        Name of the quantity.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 3.4))
    for i, (name, values) in enumerate(curves.items()):
        mean = np.nanmean(values, 0)
        error = np.stack([mean - np.nanmin(values, 0), np.nanmax(values, 0) - mean])
        marker = SYMBOLS[i % len(SYMBOLS)]
        plot.measurement(
            axes,
            step,
            mean,
            error=error,
            label=name,
            marker=marker,
            ms=4,
            color=f"C{i}",
            linestyle="-",
            linewidth=0.7,
        )
    axes.set(xlabel="training step", ylabel=ylabel)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_widths(
    n_bn: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    ylabel: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw a number of each network against the width of its bottleneck, with the mean.

    Parameters
    ----------
    n_bn : ndarray, shape (n_nets,)
        Channels of the bottleneck.
    curves : mapping of str to ndarray, shape (n_nets,)
        One number per network.
    ylabel : str
        Name of the quantity.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 3.4))
    widths = np.unique(n_bn)
    for i, (name, values) in enumerate(curves.items()):
        shift = 1.06 ** (i - (len(curves) - 1) / 2)
        groups = [values[n_bn == width] for width in widths]
        counts = np.array([np.isfinite(group).sum() for group in groups])
        mean = np.array(
            [np.nanmean(g) if n else np.nan for g, n in zip(groups, counts, strict=True)]
        )
        spread = [
            np.nanstd(group, ddof=1) / np.sqrt(n) if n > 1 else np.nan
            for group, n in zip(groups, counts, strict=True)
        ]
        marker = SYMBOLS[i % len(SYMBOLS)]
        axes.plot(n_bn * shift, values, marker, ms=3, color=f"C{i}", alpha=0.35, label="_", ls="")
        plot.measurement(
            axes, widths * shift, mean, error=1.96 * np.array(spread), label=name, marker=marker,
            ms=5, color=f"C{i}",
        )  # fmt: skip
    axes.set(xlabel="bottleneck channels", ylabel=ylabel, xscale="log")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
