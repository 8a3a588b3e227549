"""Pictures of what a layer computes: against depth, layer by layer, as a code, to gratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tractable import plot
from tractable.vision.retina.gratings import GratingTuning

__all__ = [
    "plot_depth",
    "plot_grating_tuning",
    "plot_layers",
    "plot_prediction",
    "plot_strips",
]

SYMBOLS = ("o", "s", "^", "D", "v", "P")
N_BOOTSTRAP = 1000
FEW_SEEDS = 3  # with fewer the bootstrap of the mean says nothing


def plot_depth(
    depth: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    ylabel: str,
    published: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a number of each network against the depth behind the bottleneck.

    Parameters
    ----------
    depth : ndarray, shape (n_depths,)
        Layers behind the bottleneck.
    curves : mapping of str to ndarray, shape (n_depths, n_seeds)
        Every network is a small marker, the mean a large one; with three seeds or more a band
        shows the 95 % bootstrap interval of the mean. NaN is left out.
    ylabel : str
        Name of the quantity.
    published : mapping of str to ndarray, shape (n_depths,), optional
        Means of a paper, as lines in the color of the curve with the same name.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 3.4))
    place = np.asarray(depth, dtype=float)
    draw = np.random.default_rng(0)
    for i, (name, values) in enumerate(curves.items()):
        color, marker = f"C{i}", SYMBOLS[i % len(SYMBOLS)]
        found = np.asarray(values, dtype=float)
        if found.ndim != 2 or len(found) != len(place):
            raise ValueError(f"curves must have shape ({len(place)}, n_seeds), got {found.shape}")
        rows = [row[np.isfinite(row)] for row in found]
        for at, row in zip(place, rows, strict=True):
            axes.plot(np.full(len(row), at), row, marker, ms=3, color=color, alpha=0.5, ls="")
        mean = np.array([row.mean() if len(row) else np.nan for row in rows])
        plot.measurement(axes, place, mean, label=name, marker=marker, ms=6, color=color)
        if min(map(len, rows)) >= FEW_SEEDS:
            means = [
                row[draw.integers(0, len(row), (N_BOOTSTRAP, len(row)))].mean(1) for row in rows
            ]
            low, high = np.percentile(means, [2.5, 97.5], axis=1)
            axes.fill_between(place, low, high, color=color, alpha=0.2, lw=0)
        if published is not None and name in published:
            plot.theory(axes, place, published[name], label=f"{name}, published", color=color)
    axes.set(xlabel="layers behind the bottleneck, D", ylabel=ylabel)
    axes.set_xticks(place)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_layers(
    layers: Sequence[str],
    curves: Mapping[str, np.ndarray],
    *,
    ylabel: str,
    lines: Mapping[str, float] | None = None,
    error: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a number of each network layer by layer.

    Parameters
    ----------
    layers : sequence of str
        Names, from the image on.
    curves : mapping of str to ndarray, shape (n_networks, n_layers)
        Networks of one kind: markers with a thin line each.
    ylabel : str
        Name of the quantity.
    lines : mapping of str to float, optional
        Levels to compare with.
    error : mapping of str to ndarray, shape (n_networks, n_layers), optional
        Half lengths of the error bars.
    ax : Axes, optional
        Where to draw.
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 3.4))
    count = sum(len(values) for values in curves.values())
    done = 0
    for i, (name, values) in enumerate(curves.items()):
        for j, row in enumerate(np.asarray(values, dtype=float)):
            shift = 0.12 * (done - (count - 1) / 2) / max(1, count - 1)
            bars = None if error is None else np.asarray(error[name])[j]
            plot.measurement(
                axes, np.arange(len(layers)) + shift, row, error=bars, ms=4, linewidth=0.7,
                label=name if j == 0 else "_", marker=SYMBOLS[i % len(SYMBOLS)], color=f"C{i}",
                linestyle="-",
            )  # fmt: skip
            done += 1
    for i, (name, level) in enumerate((lines or {}).items()):
        axes.axhline(level, color="0.4", ls=("--", ":", "-.")[i % 3], label=name, lw=1)
    axes.set_xticks(np.arange(len(layers)), list(layers))
    axes.set(xlabel="layer", ylabel=ylabel)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_prediction(
    predicted: np.ndarray, actual: np.ndarray, *, r2: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw activations against their linear prediction, both over the largest activation.

    A merely rectified cell lies on a bent line, a cell with features off it.

    Parameters
    ----------
    predicted, actual : ndarray, shape (n,)
        As in `LinearityResult`.
    r2 : float, optional
        For the title.
    ax : Axes, optional
        Where to draw.
    """
    p, a = np.asarray(predicted, dtype=float), np.asarray(actual, dtype=float)
    if p.ndim != 1 or p.shape != a.shape:
        raise ValueError(
            f"predicted and actual must be rows of one length, got {p.shape}, {a.shape}"
        )
    largest = float(np.abs(a).max(initial=0.0)) or 1.0
    figure, axes = plot.axes_of(ax, size=(3.6, 3.2))
    axes.plot(p / largest, a / largest, ".", ms=2, alpha=0.4, rasterized=True)
    axes.axline((0, 0), slope=1, color="0.4", lw=0.8)
    axes.set(xlabel="linear prediction", ylabel="activation over its largest")
    if r2 is not None:
        axes.set_title(f"R² {r2:.3f}", fontsize=9)
    return figure


def plot_strips(
    images: np.ndarray, codes: Mapping[str, np.ndarray], *, ax: Axes | None = None
) -> Figure:
    """Draw images, and below them the map that a bottleneck makes of each.

    Parameters
    ----------
    images : ndarray, shape (n, H, W)
        Drawn from black at the least value to white at the largest of each.
    codes : mapping of str to ndarray, shape (n, H', W')
        Activity of one channel for these images, a row for each name.
    ax : Axes, optional
        Where to draw.
    """
    rows = {"image": np.asarray(images, dtype=float)}
    rows |= {name: np.asarray(values, dtype=float) for name, values in codes.items()}
    n = len(rows["image"])
    for name, values in rows.items():
        if values.ndim != 3 or len(values) != n:
            raise ValueError(f"{name} must have shape ({n}, H, W), got {values.shape}")
    side = max(max(values.shape[1:]) for values in rows.values())
    canvas = np.full((len(rows) * (side + 1) - 1, n * (side + 1) - 1), np.nan)
    for i, values in enumerate(rows.values()):
        for j, one in enumerate(values):
            low, high = one.min(), one.max()
            shown = (one - low) / (high - low) if high > low else np.zeros_like(one)
            repeat = max(1, side // max(one.shape))  # a map with a stride fills its place
            shown = shown.repeat(repeat, 0).repeat(repeat, 1)
            top, left = i * (side + 1), j * (side + 1)
            canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    figure, axes = plot.axes_of(ax, size=(0.75 * n + 1.2, 0.75 * len(rows) + 0.2))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for i, name in enumerate(rows):
        at = i * (side + 1) + side / 2
        axes.text(-1.5, at, name, ha="right", va="center", fontsize=8)
    axes.set_axis_off()
    return figure


def plot_grating_tuning(
    tuning: GratingTuning, cell: int, *, label: str = "_", ax: Axes | None = None
) -> Figure:
    """Draw F0 and F1 of one cell against the orientation of the bars, at its preferred frequency.

    Parameters
    ----------
    tuning : GratingTuning
        Of a layer.
    cell : int
        Which of its cells.
    label : str
        Before the names in the legend.
    ax : Axes, optional
        Where to draw.
    """
    if not 0 <= cell < len(tuning):
        raise ValueError(f"cell must be 0 .. {len(tuning) - 1}, got {cell}")
    figure, axes = plot.axes_of(ax, size=(4.4, 3.0))
    at = int(tuning._best()[0][cell])
    degrees, prefix = np.degrees(tuning.theta), "" if label == "_" else f"{label}, "
    for i, (name, values) in enumerate((("F0", tuning.f0), ("F1", tuning.f1))):
        plot.measurement(
            axes, degrees, values[cell, at], label=prefix + name, color=f"C{i}",
            marker=SYMBOLS[i], ms=4, linestyle="-", linewidth=0.7,
        )  # fmt: skip
    axes.set(
        xlabel="orientation of the bars (degrees)", ylabel="activation",
        title=f"{tuning.sf[at]:.3g} cycles / px",
    )  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
