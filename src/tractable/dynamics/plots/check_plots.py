"""Pictures of how far the linear theory holds, and of the threshold on the speed.

All are public in `tractable.dynamics.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice
from tractable.dynamics.plots.canvas import (
    BLACK,
    BLUE,
    CYCLE,
    LIGHT,
    RASTER,
    VERMILLION,
    Array,
    canvas,
    escape,
    legend,
    limits,
    numbers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_logits", "plot_one_step_error", "plot_speed_scan"]

SPEED = {
    "half_sum": r"speed $q = \frac{1}{2} \, \|h - F(h)\|^2$",
    "mean": r"speed $q = \frac{1}{N} \, \|h - F(h)\|^2$",
}
MARKERS = "osD^vP*"


def plot_one_step_error(errors: Mapping[str, Array], *, ax: Axes | None = None) -> Figure:
    r"""Draw distributions of the relative error of one-step predictions.

    The error is :math:`\|F(h_t, x_t) - \mathrm{model}(h_t, x_t)\| / \|F(h_t, x_t)\|`. The first
    entry is drawn thick, the others (baselines) thin.

    Parameters
    ----------
    errors : mapping of str to array, shape (K,)
        Relative errors >= 0 of each model; K may differ between them.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes, NaN, negative errors.

    Notes
    -----
    Drawn is the fraction of steps with an error of at most the abscissa; errors of exactly 0 raise
    the left end of the curve.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 5.

    Examples
    --------
    >>> figure = plot_one_step_error({"linear": [0.05, 0.06], "identity": [0.3, 0.4, 0.5]})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['linear, median 0.055', 'identity, median 0.4']
    """
    if not isinstance(errors, Mapping):
        raise TypeError(f"errors must map names to arrays, got {type(errors).__name__}")
    parts = {str(k): np.sort(numbers(f"errors[{k!r}]", e, ("K",))) for k, e in errors.items()}
    for name, part in parts.items():
        if len(part) and part[0] < 0:
            raise ValueError(f"errors[{name!r}] must be >= 0, got {part[0]:g}")
    positive = np.concatenate([part[part > 0] for part in parts.values()] or [np.zeros(0)])
    low, high = (positive.min() / 1.3, positive.max() * 1.3) if len(positive) else (0.01, 1.0)
    caption = "Relative error of one-step predictions: fraction of steps below it."

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        ax.axhline(0.5, color=LIGHT, linewidth=0.8, zorder=0)
        styles = ("-", "--", "-.", ":")
        for i, (name, part) in enumerate(parts.items()):
            few = part[_evenly(len(part), RASTER)]
            x = np.concatenate([[low], np.maximum(few, low), [high]])
            rank = (_evenly(len(part), RASTER) + 1) / max(len(part), 1)
            y = np.concatenate([[0.0], rank, [1.0 if len(part) else 0.0]])
            label = escape(name) + (f", median {np.median(part):.2g}" if len(part) else ", none")
            ax.plot(
                x if len(part) else [],
                y if len(part) else [],
                styles[i % 4],
                drawstyle="steps-post",
                color=CYCLE[i % len(CYCLE)],
                linewidth=2.2 if i == 0 else 1.3,
                zorder=3 if i == 0 else 2,
                label=label,
            )
        ax.set_xscale("log")
        ax.set(
            xlim=(low, high),
            ylim=(0, 1.02),
            xlabel="relative error of one step",
            ylabel="fraction of steps",
        )
        legend(ax, where="above", columns=2)
        return figure


def plot_logits(actual: Array, predicted: Mapping[str, Array], *, ax: Axes | None = None) -> Figure:
    r"""Draw predicted outputs of the network against the actual ones.

    The legend gives for each model the correlation r,
    :math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2`, and how often the signs agree: they
    tell different stories.

    Parameters
    ----------
    actual : array, shape (M,)
        Outputs (logits) of the network.
    predicted : mapping of str to array, shape (M,)
        Outputs of each model.
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
    >>> figure = plot_logits([-1.0, 0.0, 1.0], {"one mode": [-2.0, 0.0, 2.0]})
    >>> print(figure.axes[0].get_legend().get_texts()[1].get_text())
    one mode
    r 1.00, R² 0.00, sign 100 %
    """
    from tractable import plot

    if not isinstance(predicted, Mapping):
        raise TypeError(f"predicted must map names to arrays, got {type(predicted).__name__}")
    actual = numbers("actual", actual, ("M",))
    parts = {str(k): numbers(f"predicted[{k!r}]", p, actual.shape) for k, p in predicted.items()}
    caption = "Outputs of linear models against those of the network."

    with canvas(ax, caption, size=(6.0, 3.8)) as (figure, ax):
        x_range, y_range = limits(actual), limits(actual, *parts.values())
        ends = np.array([min(x_range[0], y_range[0]), max(x_range[1], y_range[1])])
        ax.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
        plot.theory(ax, ends, ends, color=BLACK, linewidth=1.2, label="exact prediction")
        for i, (name, part) in enumerate(parts.items()):
            label = escape(name) + "\n" + _agreement(actual, part)
            ax.plot(
                actual,
                part,
                MARKERS[i % len(MARKERS)],
                color=CYCLE[i % len(CYCLE)],
                markersize=4,
                markeredgewidth=0,
                alpha=0.6,
                zorder=3 - i / len(parts),  # the first on top
                rasterized=len(actual) > RASTER,
                label=label,
            )
        ax.set(xlim=x_range, ylim=y_range, xlabel="output of the network (logit)")
        ax.set_ylabel("output of the model (logit)")
        legend(ax, labelspacing=0.9, markerscale=1.5)
        return figure


def _agreement(actual: np.ndarray, part: np.ndarray) -> str:
    """Return correlation, R^2 and agreement of signs in words; a dash where undefined."""
    total = float(((actual - actual.mean()) ** 2).sum()) if len(actual) else 0.0
    r = r2 = sign = "–"
    if total > 0:
        r2 = f"{1 - float(((actual - part) ** 2).sum()) / total:.2f}".replace("-", "−")
        if part.std() > 0:
            r = f"{np.corrcoef(actual, part)[0, 1]:.2f}".replace("-", "−")
    if len(actual):
        sign = f"{100 * np.mean(np.sign(actual) == np.sign(part)):.0f}"
    return f"r {r}, R² {r2}, sign {sign} %"


def plot_speed_scan(
    tol: Array,
    n_points: Array,
    *,
    pc1: Array | None = None,
    q: Array | None = None,
    q_convention: str = "half_sum",
    ax: Axes | None = None,
) -> Figure:
    r"""Draw the number of points under each threshold on the speed q.

    Parameters
    ----------
    tol : array, shape (S,)
        Thresholds, > 0.
    n_points : array, shape (S,)
        Points under each.
    pc1 : array, shape (S,), optional
        Variance share of their first component, on a second axis; NaN where it is not defined.
    q : array, shape (P,), optional
        Final speeds, drawn as a histogram of log q; zeros count in the lowest bin.
    q_convention : {"half_sum", "mean"}
        That of ``tol`` and ``q``, for the axis.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes, NaN, negative speeds, unknown convention.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), section 4.1.

    Examples
    --------
    From library objects: ``plot_speed_scan(points.scan.tol, points.scan.n_points,
    pc1=points.scan.pc1_fraction, q=points.q, q_convention=points.q_convention)``.

    >>> figure = plot_speed_scan([1e-4, 1e-6, 1e-8], [500, 320, 1], pc1=[0.95, 0.97, float("nan")])
    >>> figure.axes[0].get_ylabel()
    'number of points'
    """
    from tractable import plot

    tol = numbers("tol", tol, ("S",))
    counts = numbers("n_points", n_points, tol.shape)
    if (tol <= 0).any():
        raise ValueError(f"tol must be > 0, got {tol.min():g}")
    if (counts < 0).any():
        raise ValueError(f"n_points must be >= 0, got {counts.min():g}")
    share = None if pc1 is None else _shares(pc1, counts)
    speeds = np.zeros(0) if q is None else numbers("q", q, ("P",))
    if (speeds < 0).any():
        raise ValueError(f"q must be >= 0, got {speeds.min():g}")
    check_choice("q_convention", q_convention, SPEED)
    caption = "Points under each threshold on the speed q."

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        if q is not None:
            _speeds(ax, speeds, tol)
        plot.measurement(
            ax, tol, counts, color=BLUE, clip_on=not len(tol), label="points under the threshold"
        )
        ax.set_xscale("log")
        ax.set_ylim(0, 1.08 * max(float(ax.dataLim.y1), 1.0))
        ax.set(xlabel=SPEED[q_convention], ylabel="number of points")
        handles, labels = ax.get_legend_handles_labels()
        if share is not None:
            twin = ax.twinx()
            twin.spines["right"].set_visible(True)
            plot.measurement(
                twin, tol, share, color=VERMILLION, marker="D", mfc="none", label="share of PC1"
            )
            twin.set_ylim(0, 1.08)
            twin.set_ylabel("variance share of their PC1", color=VERMILLION)
            more = twin.get_legend_handles_labels()
            handles, labels = handles + more[0], labels + more[1]
        if len(handles) > 1:
            legend(ax, where="above", columns=2, handles=handles, labels=labels)
        return figure


def _speeds(ax: Axes, q: np.ndarray, tol: np.ndarray) -> None:
    """Draw the histogram of log10 q in half decades."""
    positive = q[q > 0]
    around = positive if len(positive) else tol
    low, high = (around.min(), around.max()) if len(around) else (1e-12, 1e-4)
    low, high = np.floor(2 * np.log10(low)) / 2, np.ceil(2 * np.log10(high)) / 2
    edges = np.arange(low, max(high, low + 0.5) + 0.25, 0.5)
    logs = np.log10(np.maximum(q, 10.0**low))
    height, _ = np.histogram(logs, edges)
    look: dict[str, Any] = {"fill": True, "color": "#B8C4CC", "zorder": 1}
    ax.stairs(height, 10.0**edges, label="final q, per half decade", **look)


def _shares(pc1: Array, counts: np.ndarray) -> np.ndarray:
    """Check variance shares: NaN only where fewer than two points leave them undefined."""
    share = numbers("pc1", np.nan_to_num(plain("pc1", pc1), nan=-1.0), counts.shape)
    missing = share == -1
    if (missing & (counts >= 2)).any():
        raise ValueError("pc1 must be a number where n_points >= 2, got NaN")
    if ((share[~missing] < 0) | (share[~missing] > 1 + 1e-9)).any():
        raise ValueError("pc1 must be in [0, 1]")
    return np.where(missing, np.nan, share)


def _evenly(n: int, most: int) -> np.ndarray:
    """Return at most ``most`` indices of 0..n-1, the last included."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)) if n else np.arange(0)
