"""Pictures of message passing beside other methods, beside its own prediction, and over ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tractable.core.checks import check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["plot_against_noise", "plot_calibration", "plot_rank_scan"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "D", "P")


def plot_against_noise(
    noise: ArrayLike,
    methods: Mapping[str, ArrayLike],
    *,
    theory_noise: ArrayLike | None = None,
    theory: ArrayLike | None = None,
    quantity: str = "cosine with the truth",
    logarithmic: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Draw what several methods reach over the noise level, and state evolution as a line.

    Parameters
    ----------
    noise : (n,) array
        Noise variance Delta, model units.
    methods : mapping of str to (n, draws) array
        Drawn as means with standard errors.
    theory_noise, theory : (m,) arrays, optional
        The prediction.
    quantity : str
        Label of the ordinate.
    logarithmic : bool
        Of the ordinate.
    ax : Axes, optional

    Examples
    --------
    >>> figure = plot_against_noise([0.1, 0.2], {"message passing": [[0.9, 0.8], [0.7, 0.7]]})
    """
    from tractable import plot

    at = np.asarray(noise, dtype=float)
    figure, axes = plot.axes_of(ax)
    if theory is not None:
        curve = at if theory_noise is None else np.asarray(theory_noise)
        plot.theory(axes, curve, theory, color="black", label="state evolution")
    shift = np.linspace(-0.006, 0.006, max(len(methods), 1)) * np.ptp(at)
    for k, (name, values) in enumerate(methods.items()):
        array = np.asarray(values, dtype=float)
        check_shape(name, array.shape, (len(at), "draws"))
        error = array.std(1, ddof=1) / np.sqrt(array.shape[1]) if array.shape[1] > 1 else None
        plot.measurement(
            axes, at + shift[k], array.mean(1), error=error, label=name,
            color=COLORS[k % len(COLORS)], marker=MARKERS[k % len(MARKERS)], markersize=5,
        )  # fmt: skip
    axes.set(xlabel=r"noise variance $\Delta$ (model units)", ylabel=quantity)
    if logarithmic:
        axes.set_yscale("log")
    axes.legend(fontsize="small")
    if ax is None:
        figure.set_label(f"{quantity[:1].upper()}{quantity[1:]} of several methods over the noise.")
    return figure


def plot_calibration(
    predicted: ArrayLike,
    true: ArrayLike,
    *,
    labels: list[str] | None = None,
    quantity: str = "overlap",
    ax: Axes | None = None,
) -> Figure:
    """Draw what a fit predicts of itself against the truth: on the diagonal it is calibrated.

    Parameters
    ----------
    predicted, true : (groups, n) arrays
        Self-overlaps Q, and overlaps with the truth M; or errors.
    labels : list of str, optional
        Of the groups.
    quantity : str
        What is compared.
    ax : Axes, optional

    Examples
    --------
    >>> figure = plot_calibration([[0.8, 0.9]], [[0.81, 0.92]])
    """
    from tractable import plot

    x = np.atleast_2d(np.asarray(predicted, dtype=float))
    y = np.atleast_2d(np.asarray(true, dtype=float))
    check_shape("true", y.shape, x.shape)
    figure, axes = plot.axes_of(ax)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    pad = 0.06 * (high - low) or 0.05
    ends = [low - pad, high + pad]
    plot.theory(axes, ends, ends, color="black", label="calibrated")
    for k, (own, other) in enumerate(zip(x, y, strict=True)):
        label = "measurement" if labels is None else labels[k]
        plot.measurement(
            axes, own, other, label=label, color=COLORS[k % len(COLORS)],
            marker=MARKERS[k % len(MARKERS)], markersize=5,
        )  # fmt: skip
    axes.set(xlabel=f"{quantity}, predicted by the fit", ylabel=f"{quantity}, true")
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.legend(fontsize="small")
    if ax is None:
        figure.set_label(f"The {quantity} that a fit predicts of itself against the true one.")
    return figure


def plot_rank_scan(
    rank: ArrayLike,
    held_out: ArrayLike,
    similarity: ArrayLike,
    *,
    quantity: str = "held-out log-likelihood (nat per entry)",
    ax: tuple[Axes, Axes] | None = None,
) -> Figure:
    """Draw how well held-out entries are predicted, and how alike restarts are, over the rank.

    Parameters
    ----------
    rank : (R,) array
    held_out : (R,) array
    similarity : (R, starts) array
        Factor match score of each start with the best one; NaN is left out.
    quantity : str
        Label of the first panel.
    ax : two Axes, optional

    Examples
    --------
    >>> figure = plot_rank_scan([1, 2], [0.1, 0.2], [[0.9, 1.0], [0.4, 0.7]])
    """
    from tractable import plot

    at, alike = np.asarray(rank), np.asarray(similarity, dtype=float)
    check_shape("similarity", alike.shape, (len(at), "starts"))
    figure, axes = plot.new(1, 2, size=(7.6, 3.2)) if ax is None else (plot.axes_of(ax[0])[0], ax)
    plot.measurement(axes[0], at, held_out, label="best of the starts", color=COLORS[0])
    axes[0].set(xlabel="rank", ylabel=quantity)
    jitter = np.linspace(-0.12, 0.12, alike.shape[1])
    axes[1].plot(at[:, None] + jitter, alike, "o", color=COLORS[1], markersize=4, alpha=0.7)
    axes[1].set(xlabel="rank", ylabel="similarity to the best start", ylim=(-0.03, 1.05))
    for axis in axes:
        axis.set_xticks(at)
    if ax is None:
        figure.set_label(
            "Prediction of held-out entries and similarity of restarts (factor match score) over "
            "the rank."
        )
    return figure
