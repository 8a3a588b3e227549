"""Pictures of a decomposition: its factors with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_finite, check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["plot_factors"]

KINDS = ("bar", "line", "dots")
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MANY_BARS = 60


def plot_factors(
    factors: Sequence[ArrayLike],
    std: Sequence[ArrayLike] | None = None,
    *,
    names: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    coordinates: Sequence[ArrayLike | None] | None = None,
    sort_first: bool = True,
    most: int = 8,
    ax: Any = None,
) -> Figure:
    """Draw a row of panels for each component: bars for neurons, a line for time, dots for trials.

    Parameters
    ----------
    factors : sequence of (N_a, r)
        Posterior means, one matrix for each mode.
    std : sequence of (N_a, r), optional
        Posterior standard deviations: error bars, and a band, of two.
    names : sequence of str, optional
        Labels of the modes; neurons, time, trials for three.
    kinds : sequence of "bar", "line" or "dots", optional
        How each mode is drawn.
    coordinates : sequence of (N_a,) or None, optional
        Positions along each mode (times in s), by default 0, 1, ...
    sort_first : bool
        Sort the bars of the first mode by the first component.
    most : int
        Components drawn.
    ax : array of axes (r, p), optional
        Where to draw.

    Returns
    -------
    Figure

    Examples
    --------
    >>> figure = plot_factors([np.ones((5, 2)), np.ones((9, 2)), np.ones((4, 2))])
    >>> len(figure.axes)
    6
    """
    from tractable import plot

    values = [np.atleast_2d(np.asarray(x, dtype=float)) for x in factors]
    order, rank = len(values), min(values[0].shape[1], most)
    for a, x in enumerate(values):
        check_shape(f"factors[{a}]", x.shape, (len(x), values[0].shape[1]))
        check_finite(f"factors[{a}]", x)
    errors = [np.zeros_like(x) for x in values] if std is None else [np.asarray(s) for s in std]
    labels = list(names or (("neuron", "time", "trial") if order == 3 else _numbered(order)))
    styles = list(kinds or (KINDS if order == 3 else ["line"] * order))
    places = list(coordinates or [None] * order)
    figure = None
    if ax is None:
        size = (2.9 * order + 0.4, 1.25 * rank + 0.9)
        figure, ax = plot.new(rank, order, size=size, squeeze=False, sharex="col")
        figure.set_label(
            "Factors of a decomposition, one row for each component: posterior means, with two "
            "posterior standard deviations."
        )
    axes = np.asarray(ax).reshape(rank, order)
    rows = np.argsort(-values[0][:, 0]) if sort_first and styles[0] == "bar" else None
    for a in range(order):
        x, e = values[a], errors[a]
        if a == 0 and rows is not None:
            x, e = x[rows], e[rows]
        at = np.arange(len(x)) if places[a] is None else np.asarray(places[a])
        for k in range(rank):
            _panel(axes[k, a], styles[a], at, x[:, k], 2 * e[:, k], COLORS[k % len(COLORS)])
            axes[k, a].set_label(f"{labels[a]}, component {k + 1}")  # of inner panels, for readers
            if a == 0:
                axes[k, a].set_ylabel(f"component {k + 1}")
        sorted_note = " (sorted by component 1)" if a == 0 and rows is not None else ""
        axes[-1, a].set_xlabel(labels[a] + sorted_note)
    figure = figure or axes[0, 0].get_figure()
    return figure


def _numbered(order: int) -> list[str]:
    return [f"mode {a + 1}" for a in range(order)]


def _panel(
    ax: Axes, kind: str, at: np.ndarray, x: np.ndarray, error: np.ndarray, color: str
) -> None:
    ax.axhline(0, color="#C8C8C8", linewidth=0.8, zorder=1)
    shown = error.any()
    if kind == "bar":
        bars = error if shown and len(x) <= MANY_BARS else None
        ax.bar(at, x, width=0.9, color=color, yerr=bars, error_kw={"elinewidth": 0.8}, zorder=2)
        if bars is None and shown:
            ax.vlines(at, x - error, x + error, color="black", linewidth=0.3, zorder=3)
    elif kind == "line":
        ax.plot(at, x, color=color, linewidth=1.4, zorder=3)
        ax.fill_between(at, x - error, x + error, color=color, alpha=0.25, linewidth=0, zorder=2)
    else:
        ax.plot(at, x, ".", color=color, markersize=3, zorder=3, rasterized=len(x) > 2000)
        if shown:
            ax.vlines(at, x - error, x + error, color=color, linewidth=0.5, alpha=0.4, zorder=2)
    ax.margins(x=0.02)
    ax.locator_params(axis="y", nbins=3)
