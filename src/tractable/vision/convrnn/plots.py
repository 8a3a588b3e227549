"""Pictures: graphs unrolled in time, fits to neurons bin by bin, solution times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tractable.vision.convrnn.solution_times import OST
    from tractable.vision.convrnn.spec import ConvRNNSpec
    from tractable.vision.convrnn.speed import SpeedAccuracy

__all__ = ["draw_predictivity", "draw_solution_times", "draw_speed_accuracy", "draw_unrolled"]


def draw_unrolled(
    spec: ConvRNNSpec, T: int, *, dt_ms: float = 10.0, ax: Axes | None = None
) -> Figure:
    """Draw every node at every step; filled from the step on at which the image drives it (C1).

    Parameters
    ----------
    spec : ConvRNNSpec
        The graph.
    T : int
        Steps.
    dt_ms : float
        Duration of a step, ms.
    ax : Axes, optional
        Where to draw.
    """
    from tractable import plot

    figure, ax = plot.axes_of(ax, size=(6.0, 0.5 * len(spec.nodes) + 1.6))
    row = {node.name: i for i, node in enumerate(spec.nodes)}
    first = spec.first_valid()
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "lw": 0.8, "shrinkA": 5, "shrinkB": 5}
    for t in range(1, T):
        for edge in spec.edges:
            color = "C1" if edge.kind == "fb" else "0.6"
            ends = (t * dt_ms, row[edge.dst]), ((t - 1) * dt_ms, row[edge.src])
            driven = first[edge.src] <= t - 1
            ax.annotate("", *ends, arrowprops={**arrow, "color": color,
                                               "alpha": 0.9 if driven else 0.25})  # fmt: skip
    for node in spec.nodes:
        for t in range(T):
            fill = "C0" if t >= first[node.name] else "w"
            ax.plot(t * dt_ms, row[node.name], "o", color="C0", mfc=fill, ms=8, zorder=3)
    labels = [f"{n.name} ({n.cell})" if n.cell else n.name for n in spec.nodes]
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="time (ms)", ylim=(-0.6, len(labels) - 0.4))
    figure.set_label(
        "The graph unrolled in time: a filled node is driven by the image; orange: feedback."
    )
    return figure


def draw_predictivity(
    time_ms: np.ndarray,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw corrected scores in time, with their intervals; a line marks what the truth reaches.

    Parameters
    ----------
    time_ms : ndarray, shape (bins,)
        Start of each bin.
    curves : mapping of str to (ndarray, ndarray)
        By label: `FitResult.median` (bins,) and `FitResult.interval` (2, bins).
    ax : Axes, optional
        Where to draw.
    """
    from tractable import plot

    figure, axes = plot.axes_of(ax, size=(5.0, 3.4))
    plot.theory(axes, time_ms[[0, -1]], [1.0, 1.0], color="C0", label="true model")
    for number, (label, (median, interval)) in enumerate(curves.items(), 1):
        error = np.nan_to_num(np.abs(interval - median))
        plot.measurement(
            axes, time_ms, median, error=error, label=label, color=f"C{number}", ms=3,
            marker="os^Dv"[(number - 1) % 5], linestyle=":", linewidth=0.8,
        )  # fmt: skip
    axes.set(xlabel="time from the first driven bin (ms)", ylim=(-0.1, 1.15))
    figure.set_label("Correlation of predicted and measured responses over the noise ceiling.")
    return figure


def draw_speed_accuracy(
    curves: Mapping[str, SpeedAccuracy], *, dt_ms: float = 10.0, ax: Axes | None = None
) -> Figure:
    """Draw accuracy against the mean time of decision, a point for each threshold.

    Parameters
    ----------
    curves : mapping of str to SpeedAccuracy
        By network.
    dt_ms : float
        Duration of a step, ms, > 0.
    ax : Axes, optional
        Where to draw.
    """
    from tractable import plot

    check_range("dt_ms", dt_ms, 0.0, open_low=True)
    if not curves:
        raise ValueError("curves must hold a network at least, got none")
    figure, axes = plot.axes_of(ax, size=(4.6, 3.4))
    for number, (label, curve) in enumerate(curves.items(), 1):
        plot.measurement(
            axes, dt_ms * curve.mean_step, curve.accuracy, label=label, color=f"C{number}", ms=4,
            marker="os^Dv"[(number - 1) % 5], linestyle=":", linewidth=0.8,
        )  # fmt: skip
    axes.set(xlabel="mean time of decision (ms)", ylabel="accuracy")
    axes.legend(fontsize=8)
    figure.set_label(
        "Accuracy against the mean time of decision; each point is a threshold of confidence."
    )
    return figure


def draw_solution_times(
    reference: OST, other: OST, *, label: str = "", ax: Axes | None = None
) -> Figure:
    """Draw each image's solution time by one system against that by a reference.

    Parameters
    ----------
    reference, other : OST
        Of the same images.
    label : str
        Names the other one.
    ax : Axes, optional
        Where to draw.
    """
    from tractable import plot

    figure, axes = plot.axes_of(ax, size=(4.0, 3.8))
    ends = reference.time_ms[[0, -1]]
    plot.theory(axes, ends, ends, color="C0", label="equal")
    agreed = other.compare(reference)
    plot.measurement(
        axes, reference.times_ms, other.times_ms, color="C1", ms=3, alpha=0.6,
        label=f"Spearman {agreed.spearman:.2f}",
    )  # fmt: skip
    axes.set(xlabel="solution time of the reference (ms)", ylabel=f"solution time, {label} (ms)")
    axes.legend(loc="lower right", fontsize=8)
    figure.set_label("Object solution times of every image that both systems solve.")
    return figure
