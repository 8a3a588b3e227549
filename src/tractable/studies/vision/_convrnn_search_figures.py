"""Pictures of a graph, of its training, and of a search over graphs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOX = {"boxstyle": "round,pad=0.4", "lw": 1.0}
CELL_COLORS = {
    "none": "#eeeeee", "timedecay": "#cccccc", "vanilla": "#f5d9a0", "ugrnn": "#bfe1f5",
    "gru": "#9fc7e8", "lstm": "#a5dcc6", "intersection": "#f6efa6", "rgc": "#ecc6dc",
}  # fmt: skip


def draw_curve(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the validation accuracy during training, with the bound of what is blind to order."""
    from tractable import plot

    figure, ax = plot.new(size=(5.2, 3.4))
    update = measured["update"].values
    plot.measurement(
        ax, update, measured.curve, label="validation", color="C1", linestyle=":", linewidth=0.8
    )
    ax.plot(update[-1], float(measured.test_accuracy), "s", color="C2", label="test, at the end")
    for name, style in (("bound", "-"), ("chance", ":")):
        label = "bound without order (exact)" if name == "bound" else "chance"
        color = "C0" if name == "bound" else "0.5"
        ax.plot(update[[0, -1]], [float(theory[name])] * 2, style, color=color, label=label)
    ax.set(xlabel="updates", ylabel="accuracy", ylim=(0, 1.02))
    ax.legend()
    figure.set_label(
        "Accuracy during training; above the line a network must know the order of the frames."
    )
    return figure


def draw_graph(spec: str, ax: Axes | None = None) -> Figure:
    """Draw the layers of a graph with their cells, feedforward edges up, feedback edges down."""
    from tractable import plot

    figure, ax = plot.axes_of(ax, size=(4.6, 4.4))
    content = json.loads(spec)
    nodes = content["nodes"]
    place = {node["name"]: i for i, node in enumerate(nodes)}
    for i, node in enumerate(nodes):
        cell = node.get("cell") or "none"
        kind = "no cell" if cell == "none" else cell
        text = f"{node['name']}: {node['channels']} channels\n{kind}"
        ax.text(
            0, i, text, ha="center", va="center", size=9,
            bbox={**BOX, "fc": CELL_COLORS.get(cell, "#ffffff"), "ec": "0.3"},
        )  # fmt: skip
    ax.text(0, -1, "frame", ha="center", va="center", size=9, bbox={**BOX, "fc": "w", "ec": "0.6"})
    top = len(nodes)
    ax.text(
        0, top, "readout", ha="center", va="center", size=9, bbox={**BOX, "fc": "w", "ec": "0.6"}
    )
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": "0.2", "lw": 1.2}
    for i in range(-1, top):
        ax.annotate(
            "", (0, i + 0.78), (0, i + 0.22), arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}
        )
    for i, edge in enumerate(e for e in content["edges"] if e["kind"] == "fb"):
        low, high = place[edge["dst"]], place[edge["src"]]
        bend = {"connectionstyle": f"arc3,rad={-0.45 - 0.12 * i}", "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", (0.28, low), (0.28, high), arrowprops={**arrow, "color": "C1", **bend})
        ax.text(
            0.66 + 0.16 * i, (low + high) / 2, edge.get("entry") or "feedback", size=8, color="C1"
        )
    ax.set(xlim=(-0.7, 1.4), ylim=(-1.5, top + 0.5))
    ax.set_axis_off()
    figure.set_label(
        "The graph: what enters at the bottom is read out at the top; orange arrows are feedback "
        "edges with the place where they enter."
    )
    return figure


def draw_history(trials: xr.Dataset, ax: Axes | None = None) -> Figure:
    """Draw the score of every trial, and the best so far."""
    from tractable import plot

    figure, ax = plot.axes_of(ax, size=(5.6, 3.6))
    number = np.arange(1, trials.sizes["trial"] + 1)
    value = trials.value.values
    plot.measurement(ax, number, value, color="C1", markersize=3, alpha=0.6, label="a graph")
    pruned = trials.state.values == "pruned"
    if pruned.any():
        floor = np.nanmin(value) - 0.03
        ax.plot(
            number[pruned], np.full(pruned.sum(), floor), "|", color="0.5", label="stopped early"
        )
    failed = trials.state.values == "failed"
    if failed.any():
        ax.plot(number[failed], np.full(failed.sum(), np.nanmin(value) - 0.06), "x", color="k",
                label="failed")  # fmt: skip
    ax.step(number, trials.best.values, where="post", color="C0", label="best so far")
    ax.set(xlabel="trial", ylabel=str(trials.attrs.get("objective", "score")).replace("_", " "))
    ax.legend(loc="lower right")
    figure.set_label("The search: score of every graph in the order of the trials, and the best.")
    return figure


def draw_importance(
    importance: dict[str, tuple[float, float]], ax: Axes | None = None, n: int = 12
) -> Figure:
    """Draw how much of the score's variance the most important parameters explain."""
    from tractable import plot

    figure, ax = plot.axes_of(ax, size=(5.6, 3.8))
    names = list(importance)[:n][::-1]
    mean = np.array([importance[name][0] for name in names])
    error = np.array([importance[name][1] for name in names])
    ax.barh(range(len(names)), mean, xerr=error, color="C0", alpha=0.7, error_kw={"elinewidth": 1})
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.set(xlabel=r"loss of $R^2$ when shuffled (held-out trials)")
    figure.set_label(
        "Which parameters of the space decide the score: loss of explained variance when one is "
        "shuffled among trials that the regression has not seen; error bars: deviation over five "
        "splits."
    )
    return figure


def draw_trade(cost: np.ndarray, score: np.ndarray, label: str, ax: Axes | None = None) -> Figure:
    """Draw the score of all graphs against what they cost, with the front."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from tractable import plot
    from tractable.vision.convrnn.searched import pareto_front

    figure, ax = plot.axes_of(ax, size=(5.6, 3.6))
    plot.measurement(ax, cost, score, color="C1", markersize=3, alpha=0.6, label="a graph")
    front = pareto_front(cost, score)
    ax.step(cost[front], score[front], where="post", color="C0", label="front")
    ax.set(xlabel=label, ylabel="validation accuracy", xscale="log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.legend(loc="center right")
    figure.set_label(f"Score against {label} for all graphs that were trained to the end.")
    return figure
