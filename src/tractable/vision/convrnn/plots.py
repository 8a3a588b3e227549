"""Pictures of graphs: when each node is first driven, and who speaks to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tractable.vision.convrnn.spec import ConvRNNSpec

__all__ = ["draw_unrolled"]


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
