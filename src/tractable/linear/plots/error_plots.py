"""Pictures of learning in time: train and test error, when to stop, and the bar of shrinkage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable.linear.arrays import as_float64
from tractable.linear.plots.spectrum_plots import BLUE, GRAY, GREEN, VERMILLION, _canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_errors"]


def plot_errors(
    t: ArrayLike,
    test: ArrayLike,
    *,
    train: ArrayLike | None = None,
    t_opt: float | None = None,
    shrinkage: float | None = None,
    t_measured: ArrayLike | None = None,
    test_measured: ArrayLike | None = None,
    train_measured: ArrayLike | None = None,
    n_markers: int = 25,
    ylabel: str = "error over that of the zero map",
    ax: Axes | None = None,
) -> Figure:
    """Draw train and test error in time: theory lines, measured means with their spread.

    Parameters
    ----------
    t, test, train : array, shape (T,)
        Theory, in units of tau; the axis of errors is logarithmic.
    t_opt : float, optional
        Best time, drawn as a vertical line.
    shrinkage : float, optional
        Error of optimal shrinkage, drawn as a horizontal line.
    t_measured : array, shape (S,), optional
        Times of the measurement.
    test_measured, train_measured : array, shape (n, S) or (S,), optional
        Of n students; their mean is drawn with the standard deviation.
    n_markers : int
        Markers drawn of each measurement.
    ylabel : str
        Name of the axis of errors.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from tractable.linear import generalization_curve
    >>> curve = generalization_curve([3.0], 0.5, np.linspace(0, 6, 50), n_in=100)
    >>> figure = plot_errors(curve.t, curve.test, train=curve.train, t_opt=curve.t_opt)
    """
    from tractable import plot

    with _canvas(ax) as (figure, axes):
        plot.theory(axes, t, test, color=VERMILLION, label="theory, test")
        if train is not None:
            plot.theory(axes, t, train, color=BLUE, label="theory, train")
        for values, color, name in (
            (test_measured, VERMILLION, "test"),
            (train_measured, BLUE, "train"),
        ):
            if values is None or t_measured is None:
                continue
            rows = np.atleast_2d(as_float64(f"{name}_measured", values))
            times = as_float64("t_measured", t_measured)
            at = np.unique(np.linspace(0, len(times) - 1, n_markers).round().astype(int))
            spread = rows.std(0, ddof=1)[at] if len(rows) > 1 else None
            mean = rows.mean(0)[at]
            if spread is not None:  # a bar that would reach 0 has no place on a logarithmic axis
                spread = np.stack([np.minimum(spread, 0.9 * mean), spread])
            plot.measurement(
                axes, times[at], mean, error=spread, color=color, ms=3.5, label=f"trained, {name}"
            )
        if t_opt is not None:
            axes.axvline(t_opt, color=GRAY, ls="--", lw=1, label=f"stop at t = {t_opt:.2f}")
        if shrinkage is not None:
            axes.axhline(shrinkage, color=GREEN, ls=":", lw=1.3, label="optimal shrinkage")
        axes.set(xlabel="time t (steps × learning rate)", ylabel=ylabel, yscale="log")
        axes.legend()
        if ax is None:
            figure.set_label(
                "Train and test error in time: the test error falls while signals are learned and "
                "rises with the noise; the dashed line is the best time to stop."
            )
    return figure
