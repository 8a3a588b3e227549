"""The convention of all pictures: theory is a line, measurement a marker with its error bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = ["axes_of", "measurement", "new", "style", "theory"]

STYLE = Path(__file__).with_name("tractable.mplstyle")


@contextmanager
def style() -> Iterator[None]:
    """Draw in the library's style inside the block; the user's settings are restored after it."""
    with mpl.rc_context(fname=STYLE):
        yield


def new(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **subplots: Any
) -> tuple[Figure, Any]:
    """Return a new figure and its axes in the library's style, without a window.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    size : (float, float), optional
        Width and height in inches; by default 3.6 x 3.0 per panel.
    **subplots
        Handed to `matplotlib.figure.Figure.subplots`.

    Examples
    --------
    >>> figure, ax = new()
    >>> _ = theory(ax, [0, 1], [0, 1])
    """
    with style():
        figure = Figure(figsize=size or (max(5.0, 3.6 * columns), max(3.4, 3.0 * rows)))
        axes = figure.subplots(rows, columns, **subplots)
    return figure, axes


def axes_of(ax: Axes | None, **kwargs: Any) -> tuple[Figure, Axes]:
    """Return the figure and axes to draw in: the ones given, or new ones."""
    if ax is None:
        figure, axes = new(**kwargs)
        return figure, axes
    parent = ax.get_figure(root=True)
    if parent is None:
        raise ValueError("ax must belong to a figure")
    return parent, ax


def theory(ax: Axes, x: ArrayLike, y: ArrayLike, *, label: str = "theory", **line: Any) -> Any:
    """Draw a theory curve: a line."""
    return ax.plot(np.asarray(x), np.asarray(y), "-", label=label, zorder=2, **line)[0]


def measurement(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    error: ArrayLike | None = None,
    label: str = "measurement",
    **marker: Any,
) -> Any:
    """Draw measured points: markers, with error bars where there are errors."""
    settings: dict[str, Any] = {
        "fmt": "o",
        "capsize": 2,
        "elinewidth": 1,
        "zorder": 3,
        "linestyle": "none",
    }
    settings |= marker
    if settings.get("marker"):
        settings.pop("fmt")
    error = None if error is None else np.asarray(error)
    return ax.errorbar(np.asarray(x), np.asarray(y), yerr=error, label=label, **settings)
