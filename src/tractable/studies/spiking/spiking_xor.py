"""Exclusive-or by spike times, with and without a hidden layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.spiking import _spike_times as task
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

CONDITIONS = ("symmetric", "random", "uniform", "no hidden layer")
SOURCE = "arXiv:1705.11146, Fig. 5"
LINEAR = "arXiv:1705.11146, Fig. 5: without hidden layer at most three of four patterns"


@dataclass(frozen=True)
class SpikingXor(Study):
    """Exclusive-or in the spike times of a stream: symmetric, random and uniform feedback."""

    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_updates": 6, "n_seeds": 1, "n_inputs": 30},
        "paper": {"n_hidden": 4, "n_seeds": 20, "n_updates": 2000},
    }

    n_inputs: Annotated[int, Range(3, 10_000, log=True)] = 100
    """Input neurons, in three sets."""
    n_hidden: Annotated[int, Range(1, 1000, log=True)] = 8
    """Hidden neurons."""
    n_updates: Annotated[int, Range(4, 100_000, log=True)] = 400
    """Changes of the weights, one in 500 ms."""
    learning_rate: Annotated[float, Range(0.001, 50.0, log=True)] = 1.0
    """Learning rate r0 before the drop, mV per update."""
    drop_at: Annotated[float, Range(0.05, 1.0)] = 0.7
    """Share of the run after which the learning rate falls to a tenth."""
    n_seeds: Annotated[int, Range(1, 100)] = 4
    """Independent runs of each kind of feedback, all reported."""

    def point(self, condition: str, seed: int) -> dict:
        """Return the parameters of one run."""
        return {
            "seed": seed, "n_inputs": self.n_inputs, "n_hidden": self.n_hidden,
            "n_updates": self.n_updates, "learning_rate": self.learning_rate,
            "drop_at": self.drop_at, "condition": condition,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        seeds = [derive(run.seed, "xor", i) for i in range(self.n_seeds)]
        points = [self.point(c, s) for c in CONDITIONS for s in seeds]
        found = run.map(learn_xor, points)
        rows = [
            xr.concat(found[i : i + self.n_seeds], "seed")
            for i in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(rows, "condition").assign_coords(condition=list(CONDITIONS))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the accuracy of a net that never fires, and of one that knows three patterns."""
        import xarray as xr

        return xr.Dataset(
            {
                "silent": ((), 0.0, {"units": "1"}),
                "three_of_four": ((), 0.75, {"units": "1"}),
                "perfect": ((), 1.0, {"units": "1"}),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        strict, perfect = measured.strict_accuracy, float(theory.perfect)
        loose = measured.loose_accuracy
        yield Check("strict over loose accuracy, largest", float((strict - loose).max()), 0.0,
                    kind="at_most", source="by definition: strict asks for more")  # fmt: skip
        if self.n_updates < 300:
            return
        linear = strict.sel(condition="no hidden layer")
        yield Check("strict accuracy without hidden layer, best seed", float(linear.max()),
                    0.8 * float(theory.three_of_four), kind="at_most", source=LINEAR)  # fmt: skip
        good = (strict.sel(condition="symmetric") >= 0.93 * perfect).mean()
        yield Check("share of seeds above 0.93, symmetric", float(good), 0.75, kind="at_least",
                    source=SOURCE)  # fmt: skip
        good = (strict.sel(condition="random") >= 0.85 * perfect).mean()
        yield Check("share of seeds above 0.85, random", float(good), 0.5, kind="at_least",
                    source=SOURCE)  # fmt: skip
        middle = strict.median("seed")
        first, second, third = (
            float(middle.sel(condition=name)) for name in ("symmetric", "random", "uniform")
        )
        yield Check("symmetric over random, medians", first - second, 0.0, atol=0.03,
                    kind="at_least", source=SOURCE)  # fmt: skip
        yield Check("random over uniform, medians", second - third, 0.0, atol=0.03,
                    kind="at_least", source=SOURCE)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        strict = measured.strict_accuracy
        middle = ", ".join(f"{c} {float(strict.sel(condition=c).median()):.3f}" for c in CONDITIONS)
        yield (
            "Patterns answered by the right unit alone, over the last 15 % of "
            f"{self.n_updates * task.WINDOW_MS / 1000:g} s, medians of {self.n_seeds} seeds: "
            f"{middle}."
        )
        rows = tuple(
            (c, *(f"{float(s):.3f} ({float(l):.3f})" for s, l in zip(
                strict.sel(condition=c), measured.loose_accuracy.sel(condition=c), strict=True)))
            for c in CONDITIONS
        )  # fmt: skip
        columns = ("feedback", *(f"seed {i}" for i in range(self.n_seeds)))
        yield Table("Accuracy: right unit alone (right unit at all)", columns, rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spiking import plots

        bars, ax = plot.new(size=(5.6, 3.2))
        shown = {c: measured.strict_accuracy.sel(condition=c).values for c in CONDITIONS}
        plots.plot_cost_bars(shown, xlabel="patterns answered by the right unit alone", ax=ax)
        ax.axvline(float(theory.three_of_four), color="0.4", lw=0.9, label="three of four patterns")
        ax.set_xlim(0, 1.03)
        ax.legend(loc="lower right")
        bars.set_label(
            "Accuracy over the last 15 % of the run for each kind of feedback: every seed a dot, "
            "the mean a bar."
        )
        curves, ax = plot.new(size=(5.6, 3.6))
        shown = {c: measured.accuracy.sel(condition=c).values for c in CONDITIONS}
        plots.plot_learning(shown, float(measured.block_ms.max()), ax=ax,
                            ylabel="patterns answered by the right unit alone")  # fmt: skip
        drop = self.drop_at * self.n_updates * task.WINDOW_MS / 1000
        ax.axvline(drop, color="0.4", ls=":", lw=0.9, label="learning rate / 10")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        curves.set_label(
            "Accuracy in blocks of the run; the learning rate falls to a tenth at the dotted line."
        )
        raster, ax = plot.new(size=(6.4, 4.0))
        best = int(measured.strict_accuracy.sel(condition="symmetric").values.argmax())
        one = measured.sel(condition="symmetric").isel(seed=best)
        _raster(ax, one, self.n_inputs, self.n_hidden)
        raster.set_label(
            "Input, hidden and output spikes of the last half second of one run with symmetric "
            "feedback; shaded are the windows in which an output may fire, in the color of the "
            "right one."
        )
        return {"accuracy": bars, "learning": curves, "raster": raster}

    def cost(self, run: Run) -> Cost:
        import time

        learn_xor(**{**self.point("symmetric", 0), "n_updates": 4})
        started = time.perf_counter()
        learn_xor(**{**self.point("symmetric", 0), "n_updates": 8})
        n = len(CONDITIONS) * self.n_seeds * self.n_updates
        seconds = (time.perf_counter() - started) / 8 * n
        wires = (self.n_inputs + 2) * self.n_hidden
        steps = task.WINDOW_MS / task.DT
        return Cost(2.0 * wires * steps * n, 32 * steps * (self.n_inputs + self.n_hidden), seconds)


N_BLOCKS = 20


def learn_xor(
    *, seed: int, n_inputs: int, n_hidden: int, n_updates: int, learning_rate: float,
    drop_at: float, condition: str,
) -> xr.Dataset:  # fmt: skip
    """Learn one stream and return accuracies and the last window."""
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.spiking import (
        RMaxProp,
        SpikingNet,
        SuperSpike,
        WindowedClassification,
        XorTask,
        learn,
    )

    xor = XorTask(n_inputs=n_inputs, seed=derive(seed, "task"))
    n_steps, linear = round(task.WINDOW_MS / task.DT), condition == "no hidden layer"
    sizes = (n_inputs, 2) if linear else (n_inputs, n_hidden, 2)
    first = 1.5 * n_inputs**0.5
    net = SpikingNet.of_sizes(
        *sizes, w0=[first] if linear else [first, 50.0], seed=derive(seed, "weights")
    )
    pathway = task.feedback_of("symmetric" if linear else condition, seed, n_hidden, 2)
    rule = SuperSpike(net, loss=WindowedClassification(), feedback=pathway)
    trials: list[tuple[int, bool, bool]] = []
    last: dict[str, Any] = {}

    def stream(k: int) -> Any:
        inputs, target = xor.window(k, n_steps)
        last.update(inputs=inputs, target=target)
        return inputs, target

    def watch(k: int, step: Any) -> None:
        spikes, target = step.output.spikes[:, 0].numpy(), last["target"]
        for t in np.flatnonzero(target.closes[:, 0].numpy() >= 0):
            label = int(target.closes[t, 0])
            start = t - round((xor.stimulus_ms + xor.post_ms) / xor.dt) + 1
            fired = spikes[start : t + 1].any(0)
            trials.append((k, bool(fired[label]), bool(fired[1 - label])))
        last["output"] = step.output

    with quiet():  # a silent hidden layer is a result here
        learn(
            rule, stream, n_updates, RMaxProp(net.parameters(), lr=learning_rate),
            schedule=lambda k: 1.0 if k < drop_at * n_updates else 0.1,
            callback=watch, progress=False,
        )  # fmt: skip
    found = np.array(trials, dtype=float).reshape(-1, 3)
    right, wrong = found[:, 1] > 0, found[:, 2] > 0
    late = found[:, 0] >= 0.85 * n_updates
    edges = np.linspace(0, n_updates, N_BLOCKS + 1)
    blocks = np.digitize(found[:, 0], edges[1:-1])
    alone = right & ~wrong
    accuracy = [
        alone[blocks == b].mean() if (blocks == b).any() else np.nan for b in range(N_BLOCKS)
    ]
    hidden = np.zeros((n_steps, n_hidden), dtype=np.int8)
    outs = [out.spikes[:, 0].numpy().astype(np.int8) for out in last["output"].layers]
    rasters = {
        "input": last["inputs"][:, 0].numpy().astype(np.int8),
        "hidden": hidden if linear else outs[0],
        "output": outs[-1],
    }
    unit = {"units": "1"}
    return xr.Dataset(
        {
            "strict_accuracy": ((), float(alone[late].mean()) if late.any() else 0.0, unit),
            "loose_accuracy": ((), float(right[late].mean()) if late.any() else 0.0, unit),
            "accuracy": ("block", np.array(accuracy), unit),
            "block_ms": ((), task.WINDOW_MS * n_updates / N_BLOCKS, {"units": "ms"}),
            "allowed": ("step", last["target"].allowed[:, 0].numpy(), unit),
            **{f"{name}_raster": (("step", name), r, unit) for name, r in rasters.items()},
        }
    )


def _raster(ax: Any, one: xr.Dataset, n_inputs: int, n_hidden: int) -> None:
    gap = max(3, n_inputs // 20)
    bases = (0, n_inputs + gap, n_inputs + n_hidden + 2 * gap)
    for i, (name, base) in enumerate(
        zip(("input_raster", "hidden_raster", "output_raster"), bases, strict=True)
    ):
        steps, units = np.nonzero(one[name].values)
        scale = 1 if i < 2 else gap
        colors = [f"C{u + 2}" for u in units] if i == 2 else f"C{i}"
        ax.scatter(steps * task.DT, base + scale * units, s=[5, 14, 40][i], marker="|", c=colors,
                   label=("input", "hidden", "output")[i])  # fmt: skip
    allowed = one.allowed.values
    edges = np.flatnonzero(np.diff(np.concatenate([[-1], allowed, [-1]])))
    for start, stop in itertools.pairwise(edges):
        if allowed[start] >= 0:
            ax.axvspan(
                start * task.DT, stop * task.DT, color=f"C{int(allowed[start]) + 2}", alpha=0.15
            )
    ax.set_yticks(
        [n_inputs / 2, bases[1] + n_hidden / 2, bases[2] + gap / 2], ["input", "hidden", "output"]
    )
    ax.set(xlabel="time (ms)")
