"""Fixed points as a graph: the cube of a flip-flop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.dynamics.plots.canvas import BLUE, CYCLE, LIGHT, Array, canvas, numbers, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_root_graph"]

OBLIQUE = np.array([[1.0, 0.0], [0.0, 1.0], [0.42, 0.31]])  # three bits on paper
NAMES = ("stable", "1 unstable dimension", "2 unstable dimensions", "3 unstable dimensions")
MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_root_graph(
    output: Array,
    n_unstable: Array,
    edges: Array,
    *,
    ax: Axes | None = None,
    labels: tuple[str, ...] | None = None,
) -> Figure:
    """Draw fixed points where the readout puts them, and where each saddle leads.

    Parameters
    ----------
    output : array, shape (P, b)
        Readout of each point; b = 1, 2 or 3 (three are drawn obliquely).
    n_unstable : array, shape (P,)
        Unstable dimensions of each.
    edges : array, shape (E, 2)
        Pairs (source, target), for instance `Connectivity.edges`. Those from points of one unstable
        dimension are drawn as lines, all others faintly.
    ax : Axes, optional
        Where to draw.
    labels : tuple of str, optional
        Names of the axes; default "output 1", "output 2".

    Returns
    -------
    Figure
        The figure.
    """
    at = numbers("output", output, ("P", "b"))
    if at.shape[1] not in (1, 2, 3):
        raise ValueError(f"output must have 1, 2 or 3 columns, got {at.shape[1]}")
    count = numbers("n_unstable", n_unstable, (len(at),)).astype(int)
    given = plain("edges", edges)
    given = given.reshape(0, 2) if given.size == 0 else given
    pairs = numbers("edges", given, ("E", 2)).astype(int)
    flat = _on_paper(at)
    names = labels or tuple(f"output {i + 1}" for i in range(2))
    caption = (
        "Fixed points of the network where its readout puts them, by their number of unstable "
        "dimensions, and the memories to which it falls from beside each saddle."
    )
    with canvas(ax, caption, size=(5.6, 4.4)) as (figure, axes):
        for source, target in pairs:
            edge = count[source] == 1
            style: dict[str, Any] = (
                {"color": BLUE, "linewidth": 1.3, "zorder": 2}
                if edge
                else {"color": LIGHT, "linewidth": 0.5, "zorder": 1}
            )
            axes.plot(*flat[[source, target]].T, "-", **style)
        for k in sorted(set(count.tolist())):
            name = NAMES[k] if k < len(NAMES) else f"{k} unstable dimensions"
            axes.plot(
                *flat[count == k].T,
                MARKERS[min(k, len(MARKERS) - 1)],
                color=CYCLE[k % len(CYCLE)],
                markerfacecolor=CYCLE[k % len(CYCLE)] if k == 0 else "white",
                markersize=7 if k == 0 else 5.5,
                label=f"{name} ({int((count == k).sum())})",
                zorder=3,
            )
        oblique = " (third output: obliquely)" if at.shape[1] == 3 else ""
        axes.set(xlabel=names[0] + oblique, ylabel=names[1] if at.shape[1] > 1 else " ")
        axes.set_aspect("equal" if at.shape[1] > 1 else "auto")
        if len(at):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    return figure


def _on_paper(at: np.ndarray) -> np.ndarray:
    if at.shape[1] == 1:
        return np.column_stack([at[:, 0], np.zeros(len(at))])
    return at if at.shape[1] == 2 else at @ OBLIQUE
