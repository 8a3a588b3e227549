"""Pictures of what single inputs do: their effect on the readout and on the slow mode.

All are public in `tractable.dynamics.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice, check_count
from tractable.dynamics.plots.canvas import (
    BLACK,
    BLUE,
    GRAY,
    LIGHT,
    RASTER,
    VERMILLION,
    Array,
    bins,
    canvas,
    decimals,
    depth,
    escape,
    framed,
    group_order,
    legend,
    limits,
    names,
    numbers,
    principal_axes,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_input_effects", "plot_input_plane", "plot_valence"]


def plot_input_effects(
    predicted: Array,
    measured: Array,
    *,
    words: Sequence[str] | None = None,
    n_words: int = 10,
    quantity: str = "change of the readout",
    ax: Axes | None = None,
) -> Figure:
    r"""Draw the measured effect of each input against that of the slow mode.

    Theory is the line measured = predicted, the prediction :math:`w \cdot r_1 \, l_1 J_{in} x`.

    Parameters
    ----------
    predicted, measured : array, shape (V,)
        Effect of each of V inputs.
    words : sequence of str, length V, optional
        Their names; the strongest of each sign are written beside the axes.
    n_words : int, >= 0
        Names written for each sign.
    quantity : str
        What the effect is on, for the axes; with its unit, if it has one.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), section 4.

    Examples
    --------
    >>> figure = plot_input_effects([-1, 0, 1], [-0.9, 0, 1.2], words=["bad", "the", "good"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['bad', 'good']
    """
    from tractable import plot

    predicted = numbers("predicted", predicted, ("V",))
    V = len(predicted)
    measured = numbers("measured", measured, (V,))
    words = None if words is None else names("words", words, V)
    check_count("n_words", n_words, 0)
    order = np.argsort(measured, kind="stable")
    falling, rising = order[measured[order] < 0], order[measured[order] > 0]
    n = int(n_words)
    strong = np.concatenate([falling[:n], rising[len(rising) - min(n, len(rising)) :]])
    if words is None:
        strong = strong[:0]
    label = "inputs" if words is None else "words"
    if V > 1 and predicted.std() > 0 and measured.std() > 0:
        slope = float(np.polyfit(predicted, measured, 1)[0])
        r = np.corrcoef(predicted, measured)[0, 1]
        label += f", r = {r:.3f}, slope {slope:.2f}"
    caption = "Effect of single inputs: the network against one slow mode."

    with canvas(ax, caption, size=(6.2, 4.4)) as (figure, ax):
        low, high = limits(predicted, measured)
        plot.theory(ax, [low, high], [low, high], color=BLACK, linewidth=1.2, label="theory: equal")
        rest = np.setdiff1d(np.arange(V), strong)
        look: dict[str, Any] = {"linewidths": 0.4, "edgecolors": "white", "zorder": 3}
        ax.scatter(
            predicted[rest],
            measured[rest],
            s=18,
            color=BLUE if words is None else GRAY,
            label=escape(label),
            rasterized=V > RASTER,
            **look,
        )
        for some, color in (
            (strong[measured[strong] < 0], VERMILLION),
            (strong[measured[strong] > 0], BLUE),
        ):
            ax.scatter(predicted[some], measured[some], s=26, color=color, **look)
        ax.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.set(xlim=(low, high), ylim=(low, high))
        ax.set(xlabel=f"predicted {quantity}", ylabel=f"measured {quantity}")
        ax.set_box_aspect(1)
        if words is not None and len(strong):
            _column(ax, predicted[strong], measured[strong], [words[i] for i in strong])
        legend(ax, where="above", columns=1)
        return figure


def _column(ax: Axes, x: np.ndarray, y: np.ndarray, words: list[str]) -> None:
    """Write words to the right of the axes, joined to their points; none overlap."""
    low, high = ax.get_ylim()
    box = ax.get_window_extent()  # before the layout, which leaves about 0.85 of it
    points = 0.85 * min(box.width, box.height) * 72 / ax.figure.dpi
    gap = min(10.0 / points, 1 / len(words))
    size = min(8.0, 0.8 * gap * points)
    heights = spread((y - low) / (high - low), gap, 0.5 * gap, 1 - 0.5 * gap)
    for i, word in enumerate(words):
        ax.annotate(
            word,
            xy=(x[i], y[i]),
            xytext=(1.03, heights[i]),
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=VERMILLION if y[i] < 0 else BLUE,
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": GRAY,
                "linewidth": 0.4,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )


def plot_valence(
    projection: Array,
    groups: Sequence[str],
    *,
    kind: str = "histogram",
    ax: Axes | None = None,
) -> Figure:
    r"""Draw the projections :math:`l_1 J_{in} x` of groups of inputs on the slow mode.

    Parameters
    ----------
    projection : array, shape (V,) or (P, V)
        Of V inputs, at one point or pooled over P points.
    groups : sequence of str, length V
        Group of each input, for instance "positive", "neutral", "negative".
    kind : {"histogram", "strip"}
        Densities over one another, or a row of markers for each group.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN, unknown kind.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 4c.

    Examples
    --------
    From library objects: ``plot_valence(effects.projection[:, :, 0].real, groups)``.

    >>> figure = plot_valence([-1.2, 0.1, 0.9, 1.1], ["negative", "neutral"] + ["positive"] * 2)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['negative, mean −1.20', 'neutral, mean 0.10', 'positive, mean 1.00']
    """
    check_choice("kind", kind, ("histogram", "strip"))
    shape = ("P", "V") if depth(projection) == 2 else ("V",)
    values = np.atleast_2d(numbers("projection", projection, shape))
    groups = names("groups", groups, values.shape[1])
    colors = group_order(groups)
    parts = {g: values[:, [item == g for item in groups]].ravel() for g in colors}
    caption = "Projection of inputs on the slow mode by group" + (
        f", over {len(values)} points." if len(values) > 1 else "."
    )

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        ax.axvline(0, color=LIGHT, linewidth=0.8, zorder=0)
        edges, rows = bins(values), []
        for row, (group, part) in enumerate(parts.items()):
            mean = f"mean {decimals(part.mean(), values.std())}" if len(part) else "none"
            label = f"{escape(group)}, {mean}"
            color = colors[group]
            if kind == "histogram":
                height = np.histogram(part, edges)[0] / max(len(part), 1) / np.diff(edges)
                ax.stairs(height, edges, fill=True, color=color, alpha=0.3, zorder=1)
                ax.stairs(height, edges, color=color, linewidth=1.4, zorder=2, label=label)
            else:
                jitter = 0.56 * ((np.arange(len(part)) * 0.6180339887) % 1 - 0.5)
                ax.scatter(
                    part,
                    row + jitter,
                    s=9,
                    color=color,
                    alpha=0.6,
                    linewidths=0,
                    rasterized=len(part) > RASTER,
                )
                rows.append(f"{escape(group)}\n{mean}")
                if len(part):
                    ax.plot([part.mean()] * 2, [row - 0.38, row + 0.38], "-", color=BLACK, lw=1.6)
        ax.set_xlabel(r"projection on the slow mode, $l_1 \cdot J_\mathrm{in}\, x$")
        if kind == "histogram":
            ax.set_ylabel("probability density")
            ax.set_ylim(bottom=0)
            legend(ax)
        else:
            ax.set_yticks(range(len(parts)), rows)
            ax.set_ylabel("group of inputs")
        return figure


def plot_input_plane(
    inputs: Array,
    left: Array,
    *,
    groups: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw instantaneous effects of inputs in the plane of l_1 and their largest other component.

    The first coordinate is :math:`\hat l_1 \cdot J_{in} x` with :math:`\hat l_1` of unit norm, the
    second the first principal component of the rest, :math:`(I - \hat l_1 \hat l_1^T) J_{in} x`.

    Parameters
    ----------
    inputs : array, shape (V, N)
        ``J_in x`` of V inputs.
    left : array, shape (N,)
        Left eigenvector l_1, real, of any norm > 0.
    groups : sequence of str, length V, optional
        Group of each input, its color.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN, a zero or complex left vector.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 4a.

    Examples
    --------
    From library objects: ``plot_input_plane(words @ J_inp[p].T, modes.left[p, 0], groups=groups)``.

    >>> figure = plot_input_plane([[1.0, 2.0], [-1.0, 1.0]], [2.0, 0.0])
    >>> figure.axes[0].get_ylabel()
    'largest other component (20 % of variance)'
    """
    inputs = numbers("inputs", inputs, ("V", "N"))
    left = numbers("left", left, (inputs.shape[1],) if inputs.shape[1] else ("N",))
    if not np.any(left):
        raise ValueError("left must not be zero")
    V = len(inputs)
    inputs = inputs.reshape(V, len(left))
    named = groups is not None
    groups = ["inputs"] * V if groups is None else names("groups", groups, V)
    unit = left / np.linalg.norm(left)
    x = inputs @ unit
    rest = inputs - np.outer(x, unit)
    axis = principal_axes(rest, 1)[1][0] if V else np.zeros(len(left))
    y = rest @ axis
    total = float(((inputs - inputs.mean(0)) ** 2).sum()) if V else 0.0
    share = [100 * float(((c - c.mean()) ** 2).sum()) / total if total else 0.0 for c in (x, y)]
    caption = "Instantaneous effect of inputs in the plane of the left eigenvector."

    reach = 1.1 * float(np.abs(x).max(initial=0.0)) or 1.0
    x_range, y_range = limits(x, np.array([0, reach])), limits(y, np.zeros(1))
    size = framed(x_range[1] - x_range[0], y_range[1] - y_range[0], inches=4.0)
    with canvas(ax, caption, size=size) as (figure, ax):
        ax.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
        for group, color in group_order(groups).items():
            there = np.array([item == group for item in groups])
            ax.scatter(
                x[there],
                y[there],
                s=16,
                color=color,
                alpha=0.8,
                edgecolors="white",
                linewidths=0.3,
                zorder=2,
                rasterized=V > RASTER,
                label=escape(group),
            )
        arrow = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(reach, 0), xytext=(0, 0), arrowprops=arrow, zorder=4)
        ax.annotate("$l_1$", xy=(reach, 0), xytext=(2, 6), textcoords="offset points", zorder=4)
        ax.set_xlim(x_range, auto=True)  # auto: the equal scale may widen one of them
        ax.set_ylim(y_range, auto=True)
        ax.set(
            xlabel=rf"along $l_1$, unit norm ({share[0]:.0f} % of variance)",
            ylabel=f"largest other component ({share[1]:.0f} % of variance)",
        )
        ax.set_aspect("equal", adjustable="datalim")
        if named:
            legend(ax)
        return figure
