"""Which learning rates work: plain descent, RMSprop and RMaxProp on the same task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.spiking import _spike_times as task
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

OPTIMIZERS = ("sgd", "rmsprop", "rmaxprop")
LABELS = {"sgd": "gradient descent", "rmsprop": "RMSprop", "rmaxprop": "RMaxProp"}
SOURCE = "arXiv:1705.11146, Fig. 1: descent works in a narrow range only"


@dataclass(frozen=True)
class SpikingOptimizers(Study):
    """RMaxProp learns over a broad range of learning rates, plain descent does not."""

    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_trials": 6, "n_seeds": 1, "n_rates": 2, "n_inputs": 40},
        "paper": {"n_seeds": 20, "n_trials": 1600},
    }

    n_inputs: Annotated[int, Range(1, 10_000, log=True)] = 100
    """Input neurons."""
    n_hidden: Annotated[int, Range(1, 1000, log=True)] = 4
    """Hidden neurons, symmetric feedback."""
    low: Annotated[float, Range(1e-6, 100.0, log=True)] = 0.1
    """Smallest learning rate: the largest first step of a weight, mV."""
    high: Annotated[float, Range(1e-6, 100.0, log=True)] = 10.0
    """Largest one, mV."""
    n_rates: Annotated[int, Range(2, 50)] = 5
    """Learning rates, log-spaced."""
    n_trials: Annotated[int, Range(2, 100_000, log=True)] = 400
    """Trials of 500 ms."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Independent runs, all reported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    @property
    def learning_rates(self) -> np.ndarray:
        """Learning rates, mV."""
        return np.geomspace(self.low, self.high, self.n_rates)

    def point(self, optimizer: str, rate: float, seed: int) -> dict:
        """Return the parameters of one run."""
        return {
            "seed": seed, "n_inputs": self.n_inputs, "n_hidden": self.n_hidden,
            "targets_ms": [50.0, 150.0, 250.0, 350.0, 450.0], "rate_hz": 10.0,
            "n_trials": self.n_trials, "learning_rate": float(rate), "feedback": "symmetric",
            "optimizer": optimizer, "weight_std": 1.5, "output_w0": 50.0,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        seeds = [derive(run.seed, "optimizers", i) for i in range(self.n_seeds)]
        grid = [(o, r, s) for o in OPTIMIZERS for r in self.learning_rates for s in seeds]
        found = run.map(task.learn_spike_times, [self.point(*point) for point in grid])
        cost = np.stack([d.cost.values for d in found])
        shape = (len(OPTIMIZERS), self.n_rates, self.n_seeds, self.n_trials)
        return xr.Dataset(
            {"cost": (("optimizer", "learning_rate", "seed", "trial"), cost.reshape(shape),
                      {"units": "spikes"})},
            coords={
                "optimizer": list(OPTIMIZERS),
                "learning_rate": ("learning_rate", self.learning_rates, {"units": "mV"}),
            },
        )  # fmt: skip

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cost of silence, from which all start."""
        import xarray as xr

        from tractable.spiking import van_rossum

        targets = np.array([50.0, 150.0, 250.0, 350.0, 450.0])
        return xr.Dataset({"silent_cost": ((), van_rossum(targets, []), {"units": "spikes"})})

    def solved(self, theory: xr.Dataset, measured: xr.Dataset) -> xr.DataArray:
        """Return the number of learning rates with a median final cost below a fifth."""
        tail = max(1, self.n_trials // 20)
        final = measured.cost.isel(trial=slice(-tail, None)).mean("trial").median("seed")
        return (final < 0.2 * theory.silent_cost).sum("learning_rate")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        start = float(measured.cost.isel(trial=0).median())
        yield Check("cost before learning", start, float(theory.silent_cost), rtol=0.05,
                    source="a silent net misses every target spike")  # fmt: skip
        if self.n_trials < 200:
            return
        solved = self.solved(theory, measured)
        ours, descent = (int(solved.sel(optimizer=name)) for name in ("rmaxprop", "sgd"))
        yield Check("learning rates that work, RMaxProp", ours, 3, kind="at_least", source=SOURCE)
        yield Check("learning rates that work, RMaxProp more than descent", ours - descent, 1,
                    kind="at_least", source=SOURCE)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        solved = self.solved(theory, measured)
        counts = ", ".join(
            f"{LABELS[str(o.optimizer.values)]} {int(o)} of {self.n_rates}" for o in solved
        )
        yield f"Learning rates that bring the cost below a fifth of that of silence: {counts}."
        yield (
            "The learning rate of plain descent is given as the largest first step of a weight, "
            "so that all three start alike."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        tail = max(1, self.n_trials // 20)
        final = measured.cost.isel(trial=slice(-tail, None)).mean("trial")
        figure, ax = plot.new(size=(5.6, 3.6))
        for i, name in enumerate(OPTIMIZERS):
            values = final.sel(optimizer=name)
            middle = values.median("seed").values
            error = np.abs(np.stack([values.min("seed"), values.max("seed")]) - middle)
            plot.measurement(ax, self.learning_rates * 1.06 ** (i - 1), middle, error=error,
                             color=f"C{i}", label=LABELS[name])  # fmt: skip
        level = float(theory.silent_cost)
        ax.axhline(level, color="0.4", lw=0.9, label="silence, theory")
        ax.axhline(0.2 * level, color="0.4", lw=0.9, ls=":", label="a fifth of it")
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=0.1)
        ax.set(xlabel="learning rate: largest first step (mV)", ylabel="final cost (spikes)")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            "Final cost against the learning rate for three optimizers: median over seeds, bars "
            "from the best to the worst seed."
        )
        return {"learning_rates": figure}

    def cost(self, run: Run) -> Cost:
        points = [self.point("rmaxprop", 1.0, 0)]
        return task.cost_of(points, len(OPTIMIZERS) * self.n_rates * self.n_seeds)
