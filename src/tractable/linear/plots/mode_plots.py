"""Pictures of modes: their strengths in time, and the decomposition they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_shape
from tractable.linear.arrays import as_float64

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["mode_colors", "plot_decomposition", "plot_strengths"]


def plot_strengths(
    t: ArrayLike,
    strengths: ArrayLike,
    *,
    t_measured: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    n_markers: int = 22,
    xlabel: str = "time / τ",
    ax: Any = None,
) -> Figure:
    """Draw the strength of each mode in time: theory lines, networks as markers.

    Parameters
    ----------
    t : array, shape (T,)
        Times of the theory.
    strengths : array, shape (K, T)
        Theory.
    t_measured : array, shape (M,), optional
        Times of the measurement.
    measured : array, shape (S, K, M) or (K, M), optional
        Of S networks; the mean is drawn, with the standard deviation over them.
    names : sequence of str, optional
        Of the modes, in the legend.
    n_markers : int
        Markers of each mode.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import eight_things
    >>> t = np.linspace(0, 30, 100)
    >>> figure = plot_strengths(t, eight_things().dynamics().strengths(t))
    """
    from tractable import plot

    times, curves = as_float64("t", t), as_float64("strengths", strengths)
    check_shape("strengths", curves.shape, ("modes", len(times)))
    figure, axes = plot.axes_of(ax, **({} if ax is not None else {"size": (5.6, 3.6)}))
    colors = mode_colors(len(curves))
    points = None if measured is None else as_float64("measured", measured)
    if points is not None and points.ndim == 2:
        points = points[None]
    for a, curve in enumerate(curves):
        name = names[a] if names is not None else f"mode {a + 1}"
        plot.theory(axes, times, curve, color=colors[a], label=name)
        if points is not None:
            at = as_float64("t_measured", t_measured if t_measured is not None else t)
            chosen = np.unique(
                np.abs(at[:, None] - np.linspace(at[0], at[-1], n_markers)).argmin(0)
            )
            spread = points[:, a, chosen].std(0) if len(points) > 1 else None
            label = "networks" if a == 0 else "_"
            plot.measurement(
                axes,
                at[chosen],
                points[:, a, chosen].mean(0),
                error=spread,
                color=colors[a],
                ms=3.5,
                label=label,
            )
    axes.set(xlabel=xlabel, ylabel="strength of the mode")
    axes.set_xlim(times[0], times[-1])
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if ax is None:
        figure.set_label("Strength of each mode in time; lines are theory, markers networks.")
    return figure


def plot_decomposition(
    Y: ArrayLike,
    *,
    items: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    n_modes: int = 5,
    axes: Any = None,
) -> Figure:
    """Draw a table and its singular value decomposition: features, strengths, items.

    Parameters
    ----------
    Y : array, shape (P, F)
        Rows are items.
    items, features : sequence of str, optional
        Names.
    n_modes : int
        Modes shown.
    axes : sequence of three Axes, optional
        Where to draw: table, feature synthesizers, object analyzers.

    Examples
    --------
    >>> from tractable.linear import toy_items
    >>> table = toy_items()
    >>> figure = plot_decomposition(table.Y, items=table.items, features=table.features)
    """
    from tractable import plot

    table = as_float64("Y", Y)
    n_items, n_features = table.shape
    U, s, Vt = np.linalg.svd(table.T, full_matrices=False)
    sign = np.sign(Vt[np.arange(len(s)), np.abs(Vt).argmax(1)])
    K = min(n_modes, len(s))
    height = min(9.0, max(3.2, 0.17 * n_features + 1.2))
    if axes is None:
        figure, axes = plot.new(
            1,
            3,
            size=(8.6, height),
            gridspec_kw={"width_ratios": [n_items, K, n_items]},
        )
        figure.set_label(
            "A table of items and features and its singular value decomposition: each mode is a "
            "pattern over features, a strength, and a pattern over items."
        )
    else:
        figure = axes[0].figure
    bound = float(np.abs(table).max())
    panels = (
        (table.T, bound, "features of items"),
        ((U * sign)[:, :K], float(np.abs(U[:, :K]).max()), "feature patterns $u_a$"),
        ((Vt * sign[:, None])[:K], float(np.abs(Vt[:K]).max()), "item patterns $v_a$"),
    )
    for axis, (values, limit, title) in zip(axes, panels, strict=True):
        axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_title(title)
    small = {"fontsize": 7}
    names = list(items) if items is not None else [str(i) for i in range(n_items)]
    labels = list(features) if features is not None else [str(f) for f in range(n_features)]
    for axis in (axes[0], axes[2]):
        axis.set_xticks(range(n_items), names, rotation=90, **small)
        axis.set_xlabel("item")
    axes[0].set_yticks(range(n_features), labels, **small)
    axes[0].set_ylabel("feature")
    axes[1].set_yticks([])
    axes[1].set_xticks(range(K), [f"{a + 1}" for a in range(K)])
    axes[1].set_xlabel("mode")
    axes[2].set_yticks(range(K), [f"{a + 1}:  s = {s[a]:.2f}" for a in range(K)], **small)
    axes[2].set_ylabel("mode")
    return figure


def mode_colors(n: int) -> list[Any]:
    """Return colors of modes, strongest first: the cycle for few, a ramp for many."""
    import matplotlib as mpl

    if n <= 6:
        return ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"][:n]
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0, 0.92, n)]
