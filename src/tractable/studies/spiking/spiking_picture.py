"""Neurons draw a picture with their spikes, under every kind of feedback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.spiking import _picture_task as picture
from tractable.studies.spiking import _spike_times as task
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

# name: feedback, regularizer, surrogate, hidden layer?
CONDITIONS = {
    "symmetric": ("symmetric", 0.0, "fast_sigmoid", True),
    "symmetric, linear": ("symmetric", 0.0, "linear", True),
    "no hidden layer": ("symmetric", 0.0, "fast_sigmoid", False),
    "random, regularized": ("random", 1.0, "fast_sigmoid", True),
    "random": ("random", 0.0, "fast_sigmoid", True),
    "hidden layer frozen": ("frozen", 0.0, "fast_sigmoid", True),
    "uniform": ("uniform", 0.0, "fast_sigmoid", True),
}
SOURCE = "arXiv:1705.11146, Fig. 7"


@dataclass(frozen=True)
class SpikingPicture(Study):
    """A layer draws a picture with spikes: symmetric feedback wins on a harder task."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_updates": 4, "n_seeds": 1, "n_inputs": 30, "n_hidden": 8, "n_outputs": 10},
        "paper": {
            "image": "rings", "n_hidden": 256, "n_outputs": 100, "loop": 3500.0,
            "n_updates": 2000, "n_seeds": 5,
        },
    }  # fmt: skip

    image: Literal["cross", "rings"] = "cross"
    """The picture."""
    n_inputs: Annotated[int, Range(1, 10_000, log=True)] = 100
    """Input neurons with frozen Poisson trains of 5 Hz."""
    n_hidden: Annotated[int, Range(1, 5000, log=True)] = 128
    """Hidden neurons."""
    n_outputs: Annotated[int, Range(2, 5000, log=True)] = 50
    """Output neurons, rows of the picture."""
    loop: Annotated[float, Range(100.0, 60_000.0, log=True)] = 1000.0
    """Length of the picture, ms; it repeats."""
    n_updates: Annotated[int, Range(4, 100_000, log=True)] = 200
    """Changes of the weights, one in 500 ms."""
    learning_rate: Annotated[float, Range(0.001, 50.0, log=True)] = 1.0
    """Learning rate r0, mV per update; a tenth for the last fifth of the run."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Independent runs of each condition, all reported."""

    def point(self, condition: str, seed: int) -> dict:
        """Return the parameters of one run."""
        feedback, strength, surrogate, hidden = CONDITIONS[condition]
        return {
            "seed": seed, "kind": self.image, "n_inputs": self.n_inputs,
            "n_hidden": self.n_hidden if hidden else 0, "n_outputs": self.n_outputs,
            "loop_ms": self.loop, "n_updates": self.n_updates,
            "learning_rate": self.learning_rate, "feedback": feedback, "strength": strength,
            "exponent": 4, "surrogate": surrogate,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        seeds = [derive(run.seed, "picture", i) for i in range(self.n_seeds)]
        points = [self.point(c, s) for c in CONDITIONS for s in seeds]
        found = picture.pad(run.map(picture.learn_picture, points))
        rows = [
            xr.concat(found[i : i + self.n_seeds], "seed")
            for i in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(rows, "condition").assign_coords(condition=list(CONDITIONS))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cost of a silent net per target spike."""
        import xarray as xr

        return xr.Dataset({"silent_cost": ((), 1.0, {"units": "spikes per target spike"})})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        silent = float(theory.silent_cost)
        cost = measured.final_cost.mean("seed") / silent
        rate = measured.hidden_rate.mean("seed")

        def of(name: str) -> float:
            return float(cost.sel(condition=name))

        if self.n_updates < 100:
            first = float(measured.cost.isel(window=0).min())
            yield Check("cost before learning, lowest condition", first / silent, 0.5,
                        kind="at_least", source="an untrained net does not draw")  # fmt: skip
            return
        yield Check("symmetric against no hidden layer", of("symmetric") / of("no hidden layer"),
                    0.75, kind="at_most", source=SOURCE)  # fmt: skip
        yield Check("no hidden layer against random", of("no hidden layer") / of("random"), 1.0,
                    kind="at_most", source=SOURCE)  # fmt: skip
        yield Check("random against symmetric", of("random") / of("symmetric"), 2.0,
                    kind="at_least", source=SOURCE)  # fmt: skip
        others = max(of(name) for name in ("symmetric", "no hidden layer", "random",
                                           "random, regularized"))  # fmt: skip
        yield Check("uniform against the worst of the others", of("uniform") / others, 1.0,
                    kind="at_least", source=SOURCE)  # fmt: skip
        fall = rate.sel(condition="random") / rate.sel(condition="random, regularized")
        yield Check("hidden rate under random feedback, plain over regularized", float(fall), 3.0,
                    kind="at_least", source="arXiv:1705.11146, Fig. 7 and 8")  # fmt: skip
        yield Check("linear surrogate against nonlinear", of("symmetric, linear") / of("symmetric"),
                    0.9, kind="at_least", source=SOURCE)  # fmt: skip
        yield Check(
            "cost of symmetric feedback over silence",
            of("symmetric"),
            0.5,
            kind="at_most",
            source="arXiv:1705.11146, Fig. 6: a matching pattern",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        cost, rate = measured.final_cost.mean("seed"), measured.hidden_rate.mean("seed")
        order = ", ".join(f"{c.condition.values!s} {float(c):.3g}" for c in cost.sortby(cost))
        yield f"Cost per target spike, 1 for a silent net, means of {self.n_seeds} seeds: {order}."
        yield (
            "Hidden neurons fire at "
            f"{float(rate.sel(condition='symmetric')):.3g} Hz under symmetric feedback, "
            f"{float(rate.sel(condition='random')):.3g} Hz under random feedback, "
            f"{float(rate.sel(condition='random, regularized')):.3g} Hz when it is regularized."
        )
        rows = tuple(
            (c, *(round(float(x), 3) for x in measured.final_cost.sel(condition=c)),
             round(float(rate.sel(condition=c)), 1),
             round(float(measured.interval_cv.sel(condition=c).mean()), 2))
            for c in CONDITIONS
        )  # fmt: skip
        seeds = (f"cost, seed {i}" for i in range(self.n_seeds))
        yield Table("Conditions", ("feedback", *seeds, "hidden rate (Hz)", "interval CV"), rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spiking import plots

        shown = ("symmetric", "no hidden layer", "random", "uniform")
        rasters, axes = plot.new(2, 2, size=(7.6, 6.0), sharex=True, sharey=True)
        for ax, name in zip(axes.ravel(), shown, strict=True):
            one = measured.sel(condition=name).isel(seed=0)
            plots.plot_raster(
                one.output_time.values, one.output_unit.values,
                target_times_ms=one.target_time.values, target_units=one.target_unit.values, ax=ax,
            )  # fmt: skip
            ax.set_title(f"{name}: {float(one.final_cost):.2f}")
            ax.set(ylabel="output unit")
        rasters.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        rasters.set_label(
            "Output spikes after learning (ticks) and the picture (circles), with the cost per "
            "target spike, for four conditions."
        )
        bars, ax = plot.new(size=(5.8, 3.8))
        plots.plot_cost_bars(
            {c: measured.final_cost.sel(condition=c).values for c in CONDITIONS},
            xlabel="final cost per target spike", ax=ax,
        )  # fmt: skip
        ax.axvline(float(theory.silent_cost), color="0.4", lw=0.9, label="silence, theory")
        ax.legend()
        bars.set_label("Final cost of every condition: seeds as dots, their mean as a bar.")
        curves, ax = plot.new(size=(5.8, 3.8))
        plots.plot_learning(
            {c: measured.cost.sel(condition=c).values for c in CONDITIONS}, task.WINDOW_MS,
            initial=float(theory.silent_cost), log=True, ax=ax, ylabel="cost per target spike",
        )  # fmt: skip
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        curves.set_label("Learning curves of every condition, every seed and the mean.")
        rates, ax = plot.new(size=(5.0, 3.6))
        chosen = ("symmetric", "random", "random, regularized")
        values = {c: measured.unit_rate.sel(condition=c).values for c in chosen}
        plots.plot_rates({c: v[np.isfinite(v)] for c, v in values.items()}, ax=ax)
        ax.legend()
        rates.set_label("Rates of the hidden neurons after learning, all seeds.")
        return {"rasters": rasters, "final_cost": bars, "learning": curves, "rates": rates}

    def cost(self, run: Run) -> Cost:
        return picture_cost([self.point(c, 0) for c in CONDITIONS], self.n_seeds)


def picture_cost(points: list[dict], repeats: int) -> Cost:
    """Return the cost of all points, from four windows of the widest that were timed."""
    import time

    widest = max(points, key=lambda point: point["n_hidden"])
    picture.learn_picture(**{**widest, "n_updates": 4, "n_inputs": 2, "n_hidden": 2})
    started = time.perf_counter()
    picture.learn_picture(**{**widest, "n_updates": 4})
    updates = sum(point["n_updates"] for point in points) * repeats
    wires = widest["n_hidden"] * (widest["n_inputs"] + widest["n_outputs"])
    steps = task.WINDOW_MS / task.DT
    seconds = (time.perf_counter() - started) / 4 * updates
    neurons = widest["n_inputs"] + widest["n_hidden"] + widest["n_outputs"]
    return Cost(2.0 * wires * steps * updates, 32 * steps * neurons, seconds)
