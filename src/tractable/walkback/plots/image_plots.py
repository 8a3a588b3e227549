"""Pictures of images: a grid of samples, and chains along time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tractable import plot
from tractable.core.checks import check_range

__all__ = ["chain_grid", "sample_grid"]


def sample_grid(
    images: ArrayLike,
    *,
    columns: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
    invert: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw images side by side.

    Parameters
    ----------
    images : array_like, shape (n, height, width) or (n, channels, height, width)
        One channel of gray, or three of color.
    columns : int
        Images in a row, >= 1.
    limits : (float, float)
        Intensities drawn as black and white; values outside are cut for drawing only.
    invert : bool
        Draw gray images as ink on paper: high intensities dark.
    title : str
        Above the grid.
    ax : Axes, optional
        Where to draw.
    """
    check_range("columns", columns, 1)
    array = _channels_last(images)
    n, height, width, channels = array.shape
    columns = min(columns, n)
    n_rows = -(-n // columns)
    sheet = np.full((n_rows * (height + 1) - 1, columns * (width + 1) - 1, channels), np.nan)
    for i, image in enumerate(array):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image
    shape = sheet.shape[0] / sheet.shape[1]
    figure, ax = plot.axes_of(ax, size=(0.55 * columns + 0.2, 0.55 * columns * shape + 0.4))
    _show(ax, sheet, limits, invert)
    if title:
        ax.set_title(title)
    return figure


def chain_grid(
    chains: ArrayLike,
    labels: Sequence[str],
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    invert: bool = True,
    axis_label: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw Markov chains of images: one row for each chain, one column for each time.

    Parameters
    ----------
    chains : array_like, shape (n_chains, n_times, [channels,] height, width)
        States.
    labels : sequence of str
        Below each column: its time or temperature.
    limits, invert, ax
        As for `sample_grid`.
    axis_label : str
        What the labels mean.
    """
    array = np.asarray(chains, dtype=float)
    n_chains, n_times = array.shape[:2]
    if len(labels) != n_times:
        raise ValueError(f"labels must name the {n_times} times, got {len(labels)}")
    figure, ax = plot.axes_of(ax, size=(0.62 * n_times + 0.4, 0.62 * n_chains + 0.8))
    sample_grid(
        array.reshape(-1, *array.shape[2:]), columns=n_times, limits=limits, invert=invert, ax=ax
    )
    width = array.shape[-1]
    ax.set_axis_on()
    for side in ("top", "bottom", "left", "right"):
        ax.spines[side].set_visible(False)
    ax.set_xticks([i * (width + 1) + (width - 1) / 2 for i in range(n_times)], labels)
    ax.tick_params(axis="x", length=0)
    ax.set_yticks([])
    ax.set_xlabel(axis_label)
    return figure


def _channels_last(images: ArrayLike) -> np.ndarray:
    array = np.asarray(images, dtype=float)
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    raise ValueError(
        "images must have shape (n, height, width) or (n, 1 or 3, height, width), got "
        f"{array.shape}"
    )


def _show(ax: Axes, sheet: np.ndarray, limits: tuple[float, float], invert: bool) -> None:
    low, high = limits
    scaled = np.clip((sheet - low) / (high - low), 0.0, 1.0)
    if sheet.shape[-1] == 1:
        cmap = "gray_r" if invert else "gray"
        ax.imshow(scaled[..., 0], cmap=cmap, vmin=0.0, vmax=1.0, interpolation="nearest")
        ax.set_facecolor("#c8d4e3")
        ax.patch.set_visible(True)
    else:
        ax.imshow(np.where(np.isnan(scaled), 1.0, scaled), interpolation="nearest")
    ax.grid(False)
    ax.set_axis_off()
