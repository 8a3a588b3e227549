"""Maps of the phases: over prior mean and noise, and over shapes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tractable import plot

__all__ = ["plot_phase_map", "plot_shape_ternary"]

COLORS = {"easy": "#cfe8cf", "hard": "#f6c9a8", "impossible": "#d9d9de", "smooth": "#e9f3f7"}
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def plot_phase_map(
    x: ArrayLike,
    y: ArrayLike,
    phase: ArrayLike,
    *,
    alg: ArrayLike | None = None,
    it: ArrayLike | None = None,
    dyn: ArrayLike | None = None,
    point: tuple[float, float] | None = None,
    xlabel: str = r"prior mean $\mu$",
    ylabel: str = r"noise variance $\Delta$",
    ax: Axes | None = None,
) -> Figure:
    """Draw the easy, hard and impossible phases over two parameters.

    Parameters
    ----------
    x, y : (nx,) and (ny,) arrays
        Parameters; the grid's centers.
    phase : (ny, nx) array
        Index into `tractable.tensors.PHASES`.
    alg, it, dyn : (nx,) arrays, optional
        Thresholds of y at each x.
    point : (float, float), optional
        Where the user's data lie.
    ax : Axes, optional
    """
    from tractable.tensors.phases import PHASES

    figure, axes = plot.axes_of(ax, size=(5.4, 4.0))
    x, y, codes = np.asarray(x, float), np.asarray(y, float), np.asarray(phase)
    colors = ListedColormap([COLORS[name] for name in PHASES])
    axes.pcolormesh(
        x, y, codes, cmap=colors, vmin=-0.5, vmax=3.5, shading="nearest", zorder=0, rasterized=True
    )
    levels = (
        (alg, r"$\Delta_{alg}$", "-"),
        (it, r"$\Delta_{IT}$", "--"),
        (dyn, r"$\Delta_{dyn}$", ":"),
    )
    for level, name, style in levels:
        if level is not None:
            values = np.asarray(level, float)
            values = np.where(np.isfinite(values), values, np.nan)
            axes.plot(x, values, style, color="0.15", label=name, zorder=2)
    names = dict(zip(PHASES, ("easy", "hard", "impossible", "no transition"), strict=True))
    grid_x, grid_y = np.meshgrid(x, y)
    for index, name in enumerate(PHASES):
        here = codes == index
        if here.mean() > 0.03:
            # The label stands at the grid point of the phase that is farthest from its outside.
            at = _middle(here)
            axes.text(
                grid_x[at], grid_y[at], names[name], ha="center", va="center", fontsize="small"
            )
    if point is not None:
        axes.plot(*point, "*", color="C3", ms=12, mec="white", label="your data", zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    axes.legend(fontsize="small", loc="upper left")
    if ax is None:
        figure.set_label(
            "Phases of low-rank recovery: easy, where message passing reaches the Bayes optimum; "
            "hard, where a better estimate exists that it does not find; impossible, where only "
            "the prior is left. Where no threshold is drawn the estimate degrades smoothly."
        )
    return figure


def _middle(mask: np.ndarray) -> tuple[int, int]:
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return int(row), int(column)


def plot_shape_ternary(
    aspect: ArrayLike,
    width: ArrayLike,
    *,
    label: str = r"width of the hard phase, $\Delta_{IT} - \Delta_{alg}$",
    ax: Axes | None = None,
) -> Figure:
    """Draw a number over the shapes of order-3 tensors, as a triangle.

    The corners are tensors that are long in one mode; the middle is the cube. A shape stands at the
    mean of the corners, weighted by softmax(log n_a): shares of the sizes' sum.

    Parameters
    ----------
    aspect : (K, 3) array
        Aspect ratios n_a or sizes.
    width : (K,) array
        The number to draw.
    label : str
        Of the color bar.
    ax : Axes, optional
    """
    figure, axes = plot.axes_of(ax, size=(5.4, 4.2))
    shape = np.asarray(aspect, float)
    if shape.ndim != 2 or shape.shape[1] != 3:
        raise ValueError(f"aspect must have shape (K, 3), got {shape.shape}")
    values = np.asarray(width, float)
    at = (shape / shape.sum(1, keepdims=True)) @ CORNERS
    filled = axes.tricontourf(at[:, 0], at[:, 1], values, levels=14, cmap="viridis")
    axes.plot(at[:, 0], at[:, 1], ".", color="white", ms=2, alpha=0.6)
    best = int(np.argmax(values))
    axes.plot(*at[best], "*", color="C3", ms=12, mec="white", label="widest")
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, "-", color="0.3", lw=1)
    for a, (corner, offset) in enumerate(zip(CORNERS, ((-8, -12), (8, -12), (0, 6)), strict=True)):
        axes.annotate(
            f"long in mode {a + 1}",
            corner,
            offset,
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    bar = figure.colorbar(filled, ax=axes, shrink=0.8)
    bar.set_label(label)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_label("triangle of shapes")
    axes.legend(fontsize="small", loc="upper left")
    if ax is None:
        figure.set_label(
            "Width of the hard phase over all shapes of an order-3 tensor, the cube in the middle, "
            "with its maximum marked."
        )
    return figure
