"""Pictures of beliefs: how a network's answers change, and where they go astray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_shape
from tractable.linear.arrays import as_float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_belief"]

BLUE, VERMILLION, GRAY = "#0072B2", "#D55E00", "#7F7F7F"


def plot_belief(
    t: ArrayLike,
    belief: ArrayLike,
    target: float,
    *,
    shallow: ArrayLike | None = None,
    t_measured: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    statement: str = "belief",
    n_markers: int = 25,
    ax: Axes | None = None,
) -> Figure:
    """Draw one belief in time, the illusion shaded, against a shallow network that has none.

    Parameters
    ----------
    t, belief : array, shape (T,)
        Theory of the deep network.
    target : float
        The truth.
    shallow : array, shape (T,), optional
        Theory of a shallow network.
    t_measured, measured : array, shapes (M,), (S, M) or (M,), optional
        Of S networks; the mean is drawn, with the standard deviation.
    statement : str
        What is believed, such as ``pine has leaves``.
    n_markers : int
        Markers drawn.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import eight_things
    >>> t = np.linspace(0, 30, 200)
    >>> belief = eight_things().dynamics().beliefs(t, ["has leaves"], ["pine"])[:, 0, 0]
    >>> figure = plot_belief(t, belief, 0.0, statement="pine has leaves")
    """
    from tractable import plot

    times, curve = as_float64("t", t), as_float64("belief", belief)
    check_shape("belief", curve.shape, (len(times),))
    figure, axes = plot.axes_of(ax, **({} if ax is not None else {"size": (5.6, 3.4)}))
    if target <= curve[0]:
        false, floor = np.maximum.accumulate(curve[::-1])[::-1], target
        wrong = (curve > floor) & (false > floor)
    else:
        floor = target
        wrong = curve > floor
    axes.fill_between(
        times, floor, curve, where=wrong, color=VERMILLION, alpha=0.18, lw=0, label="illusion"
    )
    axes.axhline(target, color=GRAY, lw=0.8, ls=":", label="the truth")
    plot.theory(axes, times, curve, color=VERMILLION, label="theory, deep")
    if shallow is not None:
        plot.theory(axes, times, shallow, color=BLUE, label="theory, shallow")
    if measured is not None:
        points = np.atleast_2d(as_float64("measured", measured))
        at = as_float64("t_measured", t_measured if t_measured is not None else t)
        chosen = np.unique(np.abs(at[:, None] - np.linspace(at[0], at[-1], n_markers)).argmin(0))
        spread = points[:, chosen].std(0) if len(points) > 1 else None
        plot.measurement(
            axes,
            at[chosen],
            points[:, chosen].mean(0),
            error=spread,
            color=VERMILLION,
            ms=3.5,
            label="networks, deep",
        )
    axes.set(xlabel="time / τ", ylabel=f"belief: {statement}")
    axes.set_xlim(times[0], times[-1])
    axes.legend()
    if ax is None:
        figure.set_label(f"The belief that {statement}, in time, with its illusion shaded.")
    return figure
