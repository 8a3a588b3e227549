"""Pictures of semantic development: similarity, paths of items, and the tree of distinctions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_shape
from tractable.linear.arrays import as_float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_development_tree", "plot_similarity_strip", "plot_trajectories"]


def plot_similarity_strip(
    t: ArrayLike,
    similarity: ArrayLike,
    *,
    items: Sequence[str] | None = None,
    axes: Any = None,
) -> Figure:
    """Draw similarity matrices at several times, side by side, on one scale.

    Parameters
    ----------
    t : array, shape (T,)
        Times, up to six.
    similarity : array, shape (T, P, P)
        Of the hidden code or of behavior.
    items : sequence of str, optional
        Names.
    axes : sequence of T Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import eight_things
    >>> table = eight_things()
    >>> t = [3.0, 6.0, 9.0, 20.0]
    >>> figure = plot_similarity_strip(
    ...     t, table.dynamics().hidden_similarity(t), items=table.items
    ... )
    """
    from tractable import plot

    times, matrices = as_float64("t", t), as_float64("similarity", similarity)
    n = matrices.shape[-1]
    check_shape("similarity", matrices.shape, (len(times), n, n))
    if axes is None:
        figure, axes = plot.new(1, len(times), size=(1.9 * len(times) + 1.2, 2.7), squeeze=False)
        axes = axes[0]
        figure.set_label("Similarity of the items' hidden codes in the course of learning.")
    else:
        figure = axes[0].figure
    bound = float(np.abs(matrices).max()) or 1.0
    for k, (axis, time, matrix) in enumerate(zip(axes, times, matrices, strict=True)):
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axis.set_title(f"t = {time:.3g} τ")
        axis.set_xlabel("item")
        shown = items is not None and n <= 40
        labels = list(items) if shown and items is not None else []
        axis.set_xticks(range(n) if shown else [], labels, rotation=90, fontsize=6)
        first = k == 0
        axis.set_yticks(range(n) if shown and first else [], labels if first else [], fontsize=6)
    axes[0].set_ylabel("item")
    bar = figure.colorbar(image, ax=list(axes), shrink=0.75)
    bar.set_label("similarity")
    return figure


def plot_trajectories(
    frames: ArrayLike,
    *,
    items: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    measured: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the paths of items through the plane of `mds_trajectory`; they begin in the middle.

    Parameters
    ----------
    frames : array, shape (T, P, 2)
        Theory.
    items : sequence of str, optional
        Names, written at the ends.
    groups : sequence, optional
        A class for each item, shown by color.
    measured : array, shape (M, P, 2), optional
        The same of a network, turned onto the theory, as markers.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import eight_things, mds_trajectory
    >>> table = eight_things()
    >>> frames = mds_trajectory(table.dynamics(), np.linspace(0, 30, 60))
    >>> figure = plot_trajectories(frames, items=table.items, groups="ppppaaaa")
    """
    from tractable import plot
    from tractable.linear.plots.mode_plots import mode_colors

    path = as_float64("frames", frames)
    check_shape("frames", path.shape, ("times", "items", 2))
    n = path.shape[1]
    labels = [str(g) for g in groups] if groups is not None else ["items"] * n
    kinds = list(dict.fromkeys(labels))
    colors = dict(zip(kinds, mode_colors(max(len(kinds), 1)), strict=True))
    figure, axes = plot.axes_of(ax, **({} if ax is not None else {"size": (5.2, 4.4)}))
    for i in range(n):
        plot.theory(axes, path[:, i, 0], path[:, i, 1], color=colors[labels[i]], lw=1.2, label="_")
        axes.plot(*path[-1, i], "s", color=colors[labels[i]], ms=4, zorder=3)
    if measured is not None:
        points = as_float64("measured", measured)
        for i in range(n):
            plot.measurement(
                axes,
                points[:, i, 0],
                points[:, i, 1],
                color=colors[labels[i]],
                ms=2.5,
                alpha=0.8,
                label="network" if i == 0 else "_",
            )
    axes.plot([], [], "-", color="#7F7F7F", label="theory")
    axes.set(xlabel="first coordinate", ylabel="second coordinate")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.14)
    axes.locator_params(nbins=5)
    axes.legend(loc="best")
    if items is not None and n <= 40:
        _write_names(axes, path[-1], items)
    if ax is None:
        figure.set_label(
            "Paths of the items through the plane of their hidden similarity; squares are the end."
        )
    return figure


def _write_names(axes: Axes, ends: np.ndarray, names: Sequence[str], size: float = 7.0) -> None:
    """Write names beside the ends of paths (P, 2); where they would overlap, one above another."""
    axes.apply_aspect()
    inches = axes.figure.dpi_scale_trans.inverted()
    at = 72 * inches.transform(axes.transData.transform(ends))  # in points
    right = ends[:, 0] >= np.median(ends[:, 0])
    sign = np.where(right, 1, -1)
    width = np.array([0.6 * size * len(name) for name in names])
    center = at[:, 0] + sign * (5 + width / 2)
    gap = 1.4 * size
    heights = at[:, 1].copy()
    order = np.argsort(heights, kind="stable")
    for _ in range(200):  # neighbors part in equal steps, until no two meet
        order = order[np.argsort(heights[order], kind="stable")]
        moved = False
        for rank, i in enumerate(order):
            for j in order[rank + 1 :]:
                lacking = gap - (heights[j] - heights[i])
                beside = abs(center[i] - center[j]) >= (width[i] + width[j]) / 2 + 8
                if lacking > 1e-3 and not beside:
                    heights[i] -= lacking / 2
                    heights[j] += lacking / 2
                    moved = True
        if not moved:
            break
    for i, name in enumerate(names):
        shift = heights[i] - at[i, 1]
        far = abs(shift) > 0.8 * size  # a thin line says whose name it is
        axes.annotate(
            name,
            ends[i],
            (sign[i] * (12 if far else 5), shift),
            textcoords="offset points",
            fontsize=size,
            ha="left" if right[i] else "right",
            va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#7F7F7F"} if far else None,
        )


def plot_development_tree(
    separation: ArrayLike,
    *,
    items: Sequence[str] | None = None,
    xlabel: str = "time of separation / τ",
    ax: Axes | None = None,
) -> Figure:
    """Draw the tree of distinctions in time: branches part when the items are told apart.

    Parameters
    ----------
    separation : array, shape (P, P)
        Time at which each pair is told apart, infinite for never; see `separation_times`.
    items : sequence of str, optional
        Names.
    xlabel : str
        Name of the axis of time.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import eight_things
    >>> from tractable.linear.semantics import separation_times
    >>> table = eight_things()
    >>> figure = plot_development_tree(separation_times(table.dynamics()), items=table.items)
    """
    from scipy.cluster.hierarchy import dendrogram, linkage
    from scipy.spatial.distance import squareform

    from tractable import plot

    times = np.array(separation, dtype=float)
    n = len(times)
    check_shape("separation", times.shape, (n, n))
    happens = np.isfinite(times)
    last = 1.08 * float(as_float64("separation", times[~np.isinf(times)]).max()) or 1.0
    # items that part late are close, those that never part the closest
    closeness = last - np.where(happens, times, last)
    np.fill_diagonal(closeness, 0.0)
    links = linkage(squareform(np.maximum((closeness + closeness.T) / 2, 0.0)), "average")
    drawn = dendrogram(links, no_plot=True)
    height = max(3.0, 0.16 * n + 1.0)
    figure, axes = plot.axes_of(ax, **({} if ax is not None else {"size": (5.6, height)}))
    for rows, levels in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        plot.theory(axes, last - np.array(levels), rows, color="#0072B2", lw=1.2, label="_")
    names = list(items) if items is not None else [str(i) for i in range(n)]
    axes.set_yticks(
        10 * np.arange(n) + 5, [names[i] for i in drawn["leaves"]], fontsize=8 if n <= 20 else 5
    )
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.spines.left.set_visible(False)
    axes.set(xlabel=xlabel, ylabel="item", xlim=(0, last), ylim=(0, 10 * n))
    if ax is None:
        figure.set_label("When items are told apart: two branches part at the time of separation.")
    return figure
