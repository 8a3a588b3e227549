"""Pictures of the studies that train recurrent graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "feedforward": "feedforward",
    "timedecay": "time decay",
    "vanilla": "vanilla",
    "vanilla+norm": "vanilla + norm",
    "ugrnn": "UGRNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "intersection": "intersection",
    "rgc": "reciprocal-gated",
    "found": "found by the search",
}
COLORS = {
    "feedforward": "#000000",
    "timedecay": "#999999",
    "vanilla": "#E69F00",
    "vanilla+norm": "#D55E00",
    "ugrnn": "#56B4E9",
    "gru": "#0072B2",
    "lstm": "#009E73",
    "intersection": "#F0E442",
    "rgc": "#CC79A7",
    "found": "#661100",
}
MARKERS = dict(zip(COLORS, "osvv^DPXo*", strict=True))
WHAT = {
    "A": "A: one distractor",
    "B": "B: glimpses, then a delay",
    "C": "C: three distractors",
}


def seeds(ax: Axes, x: float, values: np.ndarray, net: str, **marker: Any) -> None:
    """Draw the mean of some seeds with its standard error, and each seed as a small dot."""
    from tractable import plot

    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    settings: dict[str, Any] = {
        "marker": MARKERS[net],
        "color": COLORS[net],
        "label": "_",
        "mec": "black",
    }
    settings |= {"mew": 0.5, "ecolor": COLORS[net], "markersize": 7, **marker}
    plot.measurement(ax, [x], [values.mean()], error=error, **settings)
    ax.plot(np.full(len(values), x), values, ".", color=COLORS[net], ms=3, alpha=0.6, zorder=2)


def bars(ax: Axes, nets: list[str], values: xr.DataArray) -> None:
    """Draw one column of seeds for each network, named below."""
    for i, net in enumerate(nets):
        seeds(ax, i, values.sel(net=net).values, net)
    ax.set_xticks(range(len(nets)), [TITLES[net] for net in nets], rotation=35, ha="right")
    ax.set_xlim(-0.6, len(nets) - 0.4)


def cell_accuracies(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the test accuracy of every network, with the bound for those blind to order."""
    from tractable import plot

    variants = [str(v) for v in measured.variant.values]
    nets = [str(n) for n in measured.net.values]
    figure, axes = plot.new(
        1, len(variants), size=(1.2 + 3.0 * len(variants), 3.6), sharey=True, squeeze=False
    )
    for ax, variant in zip(axes[0], variants, strict=True):
        bars(ax, nets, measured.accuracy.sel(variant=variant).isel(width=-1))
        ends = [-0.6, len(nets) - 0.4]
        bound = float(theory.bound.sel(variant=variant))
        if bound < 1:
            plot.theory(ax, ends, [bound] * 2, color="C0", label="bound without order (exact)")
        chance = float(theory.chance)
        ax.plot(ends, [chance] * 2, ":", color="0.5", label="chance")
        ax.set(title=WHAT[variant], ylim=(0, 1.02))
    axes[0, 0].set_ylabel("test accuracy")
    axes[0, 0].legend(loc="center left" if len(nets) > 4 else "best")
    figure.set_label(
        "Test accuracy at recall of the first digit: mean and standard error over the seeds "
        "(small dots), at equally many parameters. The line bounds every network that is blind "
        "to the order of the frames."
    )
    return figure


def accuracy_by_frame(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the accuracy of the readout at every frame of the movie."""
    from tractable import plot
    from tractable.vision.convrnn.recall import recall_tasks

    variants = [str(v) for v in measured.variant.values]
    figure, axes = plot.new(
        1, len(variants), size=(1.2 + 3.0 * len(variants), 3.4), sharey=True, squeeze=False
    )
    for ax, variant in zip(axes[0], variants, strict=True):
        shown = recall_tasks()[variant].shown
        for t, which in enumerate(shown):
            if which >= 0:
                color = "C2" if which == 0 else "C1"
                ax.axvspan(t + 0.6, t + 1.4, color=color, alpha=0.18, lw=0)
        for net in map(str, measured.net.values):
            if net == "feedforward":
                continue
            one = measured.accuracy_by_frame.sel(variant=variant, net=net).isel(width=-1)
            mean = one.mean("seed").values[: len(shown)]
            error = one.std("seed").values[: len(shown)] / np.sqrt(one.sizes["seed"])
            plot.measurement(
                ax, np.arange(1, len(shown) + 1), mean, error=error, marker=MARKERS[net],
                color=COLORS[net], label=TITLES[net], markersize=4, linestyle=":", linewidth=0.8,
            )  # fmt: skip
        ax.set(title=WHAT[variant], xlabel="frame", ylim=(0, 1.02))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("accuracy of the readout at this frame")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.set_label(
        "How well the readout, trained for the last frame, names the first digit at each frame. "
        "Green: the target is shown; orange: another digit."
    )
    return figure


def cell_pareto(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw accuracy against parameters for all cells and widths of the last variant."""
    from tractable import plot
    from tractable.vision.convrnn.searched import pareto_front

    variant = str(measured.variant.values[-1])
    figure, ax = plot.new(size=(6.4, 3.8))
    chosen = measured.sel(variant=variant)
    bound = float(theory.bound.sel(variant=variant))
    points = []
    for net in map(str, measured.net.values):
        one = chosen.sel(net=net)
        x = one.parameters.isel(seed=0).values
        y, error = one.accuracy.mean("seed").values, one.accuracy.std("seed").values
        plot.measurement(
            ax, x, y, error=error / np.sqrt(one.sizes["seed"]), marker=MARKERS[net],
            color=COLORS[net], label=TITLES[net], mec="black", mew=0.5, linestyle=":",
            linewidth=0.8,
        )  # fmt: skip
        points += list(zip(x, y, strict=True))
    front = np.array(points)[pareto_front(*zip(*points, strict=True))]
    ax.step(*front.T, where="post", color="0.6", lw=1, zorder=1, label="front")
    if bound < 1:
        ends = [0.93 * min(p[0] for p in points), 1.07 * max(p[0] for p in points)]
        plot.theory(ax, ends, [bound] * 2, color="C0", label="bound without order")
    ax.set(xlabel="parameters of the network", ylabel="test accuracy", ylim=(0, 1.02))
    ax.xaxis.get_major_locator().set_params(nbins=6)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        f"Accuracy against the number of parameters, variant {variant}: mean and standard error "
        "over the seeds. The gray steps are the front: no network has fewer parameters and is "
        "better."
    )
    return figure


def image_accuracies(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the test accuracy of every network on clean, occluded and noisy images."""
    from tractable import plot

    conditions = [str(c) for c in measured.condition.values]
    nets = [str(n) for n in measured.net.values]
    figure, axes = plot.new(
        1, len(conditions), size=(1.2 + 3.0 * len(conditions), 3.6), sharey=True
    )
    for ax, condition in zip(axes, conditions, strict=True):
        bars(ax, nets, measured.accuracy.sel(condition=condition))
        chance = float(theory.chance)
        plot.theory(ax, [-0.6, len(nets) - 0.4], [chance] * 2, color="0.5", label="chance")
        ax.set(title=f"{condition} images", xlabel="network")
    top = float(measured.accuracy.max())
    axes[0].set(ylabel="test accuracy", ylim=(0, 1.12 * top))
    axes[0].legend(loc="lower right")
    figure.set_label(
        "Test accuracy at equally many parameters: mean and standard error over the seeds "
        "(small dots), on clean images, with patches hidden, and with noise. Training saw clean "
        "images only."
    )
    return figure


def accuracy_by_step(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the accuracy of the readout at every step."""
    from tractable import plot

    conditions = [str(c) for c in measured.condition.values]
    figure, axes = plot.new(
        1, len(conditions), size=(1.2 + 3.0 * len(conditions), 3.4), sharey=True
    )
    for ax, condition in zip(axes, conditions, strict=True):
        for net in map(str, measured.net.values):
            one = measured.accuracy_by_step.sel(condition=condition, net=net)
            mean, error = one.mean("seed").values, one.std("seed").values
            kept = np.isfinite(mean)
            plot.measurement(
                ax, measured.step.values[kept], mean[kept], marker=MARKERS[net],
                error=error[kept] / np.sqrt(one.sizes["seed"]), color=COLORS[net],
                label=TITLES[net], markersize=4, linestyle=":", linewidth=0.8,
            )  # fmt: skip
        ax.set(title=f"{condition} images", xlabel="step")
    axes[0].set_ylabel("accuracy of the readout at this step")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.set_label(
        "Test accuracy of the readout, trained for the last step, at each step: mean and standard "
        "error over the seeds."
    )
    return figure


def speed_against_accuracy(measured: xr.Dataset) -> Figure:
    """Draw accuracy on clean images against the mean step of decision, over thresholds."""
    from tractable import plot

    figure, ax = plot.new(1, 1, size=(5.2, 3.4))
    for net in map(str, measured.net.values):
        one = measured.sel(net=net)
        accuracy = one.decision_accuracy
        plot.measurement(
            ax, one.decision_step.mean("seed"), accuracy.mean("seed"), marker=MARKERS[net],
            error=(accuracy.std("seed") / np.sqrt(one.sizes["seed"])).values, color=COLORS[net],
            label=TITLES[net], markersize=4, linestyle=":", linewidth=0.8,
        )  # fmt: skip
    ax.set(xlabel="mean step of decision", ylabel="accuracy, clean images")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.set_label(
        "Accuracy against the mean step of decision. An image is decided when the confidence of "
        "the readout reaches a threshold; each point is a threshold from 0.2 to 0.99, with the "
        "standard error over the seeds."
    )
    return figure
