"""One neuron learns five spike times: the smallest task of the rule."""

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

SOURCE = "arXiv:1705.11146, Fig. 2: learned after 500 trials"
SILENT = "arXiv:1705.11146, eq. of the cost: a silent net misses every target spike"


@dataclass(frozen=True)
class SpikingSingle(Study):
    """One spiking neuron learns to fire at given times, from silence."""

    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_trials": 12, "n_seeds": 1, "n_inputs": 40},
        "paper": {"n_seeds": 20, "n_trials": 1600},
    }

    n_inputs: Annotated[int, Range(1, 10_000, log=True)] = 100
    """Input neurons with frozen Poisson trains."""
    rate: Annotated[float, Range(0.1, 100.0, log=True)] = 10.0
    """Rate of the inputs, Hz."""
    n_targets: Annotated[int, Range(1, 50)] = 5
    """Equidistant target spikes in a trial of 500 ms."""
    n_trials: Annotated[int, Range(2, 100_000, log=True)] = 500
    """Trials, one change of the weights after each."""
    learning_rate: Annotated[float, Range(0.001, 50.0, log=True)] = 1.0
    """Learning rate r0, mV per update."""
    weight_std: Annotated[float, Range(0.0, 100.0)] = 1.5
    """Standard deviation of the initial weights, mV."""
    n_seeds: Annotated[int, Range(1, 100)] = 5
    """Independent runs, all reported."""

    @property
    def targets(self) -> np.ndarray:
        """Target times, ms."""
        return (np.arange(self.n_targets) + 0.5) * task.WINDOW_MS / self.n_targets

    def point(self, seed: int) -> dict:
        """Return the parameters of one run."""
        return {
            "seed": seed, "n_inputs": self.n_inputs, "n_hidden": 0,
            "targets_ms": [round(float(t), 1) for t in self.targets], "rate_hz": self.rate,
            "n_trials": self.n_trials, "learning_rate": self.learning_rate,
            "feedback": "symmetric", "optimizer": "rmaxprop", "weight_std": self.weight_std,
            "output_w0": 50.0,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        points = [self.point(derive(run.seed, "single", i)) for i in range(self.n_seeds)]
        return xr.concat(task.pad_spikes(run.map(task.learn_spike_times, points)), "seed")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cost of silence, one spike equivalent for each target, in closed form."""
        import xarray as xr

        from tractable.spiking import membrane_std, van_rossum

        return xr.Dataset(
            {
                "silent_cost": ((), van_rossum(self.targets, []), {"units": "spikes"}),
                "initial_spread": (
                    (),
                    float(membrane_std(self.weight_std, self.n_inputs, self.rate)),
                    {"units": "mV"},
                ),
                "target": ("spike_index", self.targets, {"units": "ms"}),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        start = float(measured.cost.isel(trial=0).median())
        if self.n_trials < 500:  # nothing published is claimed of a short run
            yield Check("cost of the silent net", start, float(theory.silent_cost),
                        rtol=0.05, source=SILENT)  # fmt: skip
            return
        yield Check("cost of the silent net", start, float(theory.silent_cost),
                    atol=0.01, source=SILENT)  # fmt: skip
        reached = (measured.cost.isel(trial=slice(None, 500)) < 0.05).any("trial")
        yield Check("share of seeds with a cost below 0.05 within 500 trials",
                    float(reached.mean()), 0.8, kind="at_least", source=SOURCE)  # fmt: skip
        ordered = measured.cost.isel(trial=slice(-50, None)).mean("trial")
        yield Check("final cost over that of silence, median",
                    float(ordered.median() / theory.silent_cost), 0.1, kind="at_most",
                    source=SOURCE)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        cost = measured.cost.values
        below = [np.flatnonzero(run < 0.05) for run in cost]
        solved = [int(hits[0]) + 1 for hits in below if len(hits)]
        yield (
            f"{len(solved)} of {len(cost)} neurons learned their {self.n_targets} spike times to "
            f"less than 0.05 spikes within {self.n_trials} trials "
            f"({self.n_trials * task.WINDOW_MS / 1000:g} s), the first after "
            f"{min(solved) if solved else '-'} trials."
        )
        yield (
            "The potential of an untrained neuron spreads by "
            f"{float(theory.initial_spread):.2g} mV, below the 10 mV to the threshold: learning "
            "starts from silence."
        )
        rows = tuple(
            (i, round(float(run[0]), 3), int(hits[0]) + 1 if len(hits) else "-",
             round(float(run[-1]), 4))
            for i, (run, hits) in enumerate(zip(cost, below, strict=True))
        )  # fmt: skip
        yield Table("Runs", ("seed", "first cost", "trials to 0.05", "last cost"), rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spiking import plots

        first = measured.isel(seed=0)
        before_after, axes = plot.new(2, 1, size=(6.4, 4.6), sharex=True)
        for ax, phase, name in zip(
            axes, (0, 1), ("before learning", "after learning"), strict=True
        ):
            plots.plot_voltage(
                first.voltage.values[phase], target_times_ms=theory.target.values, ax=ax, label=name
            )
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[0].set_xlabel("")
        before_after.set_label(
            "Voltage of the neuron in the first trial and after learning; triangles mark the times "
            "at which it should cross the threshold."
        )
        spikes, ax = plot.new(size=(5.6, 3.8))
        plots.plot_spike_times(
            first.spike_trial.values, first.spike_time.values, theory.target.values, ax=ax
        )
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        spikes.set_label(
            "Output spikes of every trial, below the first one; lines are the targets."
        )
        learning, ax = plot.new(size=(5.6, 3.6))
        plots.plot_learning(
            {"single neuron": measured.cost.values}, task.WINDOW_MS,
            initial=float(theory.silent_cost), ax=ax,
        )  # fmt: skip
        ax.legend()
        learning.set_label(
            "Cost over the time simulated, every seed and their mean; silence costs one spike "
            "equivalent for each target."
        )
        return {"voltage": before_after, "spike_times": spikes, "learning": learning}

    def cost(self, run: Run) -> Cost:
        return task.cost_of([self.point(0)], self.n_seeds)
