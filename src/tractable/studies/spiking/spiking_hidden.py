"""A hidden layer of a few neurons, from silence, and the feedback that suffices."""

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

CONDITIONS = ("symmetric", "uniform", "random", "random, twice the units", "negative")
TITLES = {**{name: name for name in CONDITIONS}, "negative": "random, all negative"}
SOLVED = "arXiv:1705.11146, Fig. 4: all three kinds of feedback solve it"
FAILS = "arXiv:1705.11146, Fig. 4: it fails where all feedback weights are negative"
SIGNS = "arXiv:1705.11146, Fig. 4: units with positive feedback become excitatory"
UNIT_RESULTS = {"feedback_weight": "1", "outgoing_weight": "mV", "hidden_spikes": "1"}
TARGETS = [50.0, 150.0, 250.0, 350.0, 450.0]


@dataclass(frozen=True)
class SpikingHidden(Study):
    """A small hidden layer wakes from silence: symmetric, uniform and random feedback."""

    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_trials": 6, "n_seeds": 1, "n_inputs": 40},
        "paper": {"n_seeds": 20, "n_trials": 1600},
    }

    n_inputs: Annotated[int, Range(1, 10_000, log=True)] = 100
    """Input neurons."""
    n_hidden: Annotated[int, Range(1, 1000, log=True)] = 4
    """Hidden neurons."""
    n_trials: Annotated[int, Range(2, 100_000, log=True)] = 500
    """Trials of 500 ms."""
    learning_rate: Annotated[float, Range(0.001, 50.0, log=True)] = 1.0
    """Learning rate r0, mV per update."""
    n_seeds: Annotated[int, Range(1, 100)] = 10
    """Independent runs of each kind of feedback, all reported."""

    def point(self, condition: str, seed: int) -> dict:
        """Return the parameters of one run."""
        double = condition.endswith("units")
        return {
            "seed": seed, "n_inputs": self.n_inputs,
            "n_hidden": self.n_hidden * (2 if double else 1), "targets_ms": TARGETS,
            "rate_hz": 10.0, "n_trials": self.n_trials, "learning_rate": self.learning_rate,
            "feedback": "random" if double else condition, "optimizer": "rmaxprop",
            "weight_std": 1.5, "output_w0": 50.0,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        seeds = [derive(run.seed, "hidden", i) for i in range(self.n_seeds)]
        points = [self.point(c, s) for c in CONDITIONS for s in seeds]
        found = run.map(task.learn_spike_times, points)
        shape = (len(CONDITIONS), self.n_seeds)
        widest = 2 * self.n_hidden

        def stack(name: str, width: int | None = None) -> np.ndarray:
            rows = []
            for d in found:
                values = d[name].values
                if width is not None:
                    values = np.pad(values, (0, width - len(values)), constant_values=np.nan)
                rows.append(values)
            return np.stack(rows).reshape(*shape, *rows[0].shape)

        at = ("condition", "seed")
        return xr.Dataset(
            {
                "cost": ((*at, "trial"), stack("cost"), {"units": "spikes"}),
                "hidden_rate": ((*at, "trial"), stack("rate")[..., 0], {"units": "Hz"}),
                "first_hidden_spike": (at, stack("first_hidden_spike"), {"units": "trials"}),
                **{
                    name: ((*at, "unit"), stack(name, widest), {"units": units})
                    for name, units in UNIT_RESULTS.items()
                },
            },
            coords={"condition": list(CONDITIONS)},
        )  # fmt: skip

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cost of silence, and the chance that all feedback weights are negative."""
        import xarray as xr

        from tractable.spiking import van_rossum

        units = np.array([self.n_hidden, 2 * self.n_hidden])
        return xr.Dataset(
            {
                "silent_cost": ((), van_rossum(TARGETS, []), {"units": "spikes"}),
                "chance_all_negative": ("n_hidden", 0.5**units, {"units": "1"}),
            },
            coords={"n_hidden": units},
        )

    def final(self, measured: xr.Dataset) -> xr.DataArray:
        """Return the mean cost of the last tenth of the trials, (condition, seed)."""
        return measured.cost.isel(trial=slice(-max(1, self.n_trials // 10), None)).mean("trial")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        silent = float(theory.silent_cost)
        start = float(measured.cost.isel(trial=0).median())
        yield Check("cost before learning", start, silent, rtol=0.05,
                    source="a silent net misses every target spike")  # fmt: skip
        if self.n_trials < 300:
            return
        final = self.final(measured)
        for name in ("symmetric", "uniform", "random", "random, twice the units"):
            share = float((final.sel(condition=name) < 0.2 * silent).mean())
            yield Check(
                f"share of seeds solved, {name}", share, 0.7, kind="at_least", source=SOLVED
            )
        worst = float(final.sel(condition="negative").min())
        yield Check("lowest final cost under all-negative feedback", worst, silent, rtol=0.1,
                    source=FAILS)  # fmt: skip
        agreement = _sign_agreement(measured)
        yield Check("active units with positive feedback that excite the output", agreement, 0.8,
                    kind="at_least", source=SIGNS)  # fmt: skip
        wake = measured.first_hidden_spike.sel(condition=["symmetric", "uniform", "random"])
        yield Check("trials until the first hidden spike, median", float(wake.median()), 80,
                    kind="at_most", source="arXiv:1705.11146, Fig. 4: by 40 s")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        silent, final = float(theory.silent_cost), self.final(measured)
        shares = ", ".join(
            f"{TITLES[c]} {int((final.sel(condition=c) < 0.2 * silent).sum())}" for c in CONDITIONS
        )
        yield (
            f"Seeds of {self.n_seeds} that bring the cost below a fifth of that of silence: "
            f"{shares}."
        )
        yield (
            f"Of {self.n_hidden} random feedback weights all are negative with a chance of "
            f"{float(theory.chance_all_negative[0]):.3g}, of twice as many with "
            f"{float(theory.chance_all_negative[1]):.3g}; then the net cannot wake."
        )
        rows = tuple(
            (TITLES[c], *(round(float(x), 3) for x in final.sel(condition=c).values))
            for c in CONDITIONS
        )
        columns = ("feedback", *(f"seed {i}" for i in range(self.n_seeds)))
        yield Table("Final cost (spikes)", columns, rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spiking import plots

        bars, ax = plot.new(size=(5.6, 3.4))
        final = self.final(measured)
        plots.plot_cost_bars(
            {TITLES[c]: final.sel(condition=c).values for c in CONDITIONS},
            xlabel="final cost (spikes)", ax=ax,
        )  # fmt: skip
        ax.axvline(float(theory.silent_cost), color="0.4", lw=0.9, label="silence, theory")
        ax.legend()
        bars.set_label(
            "Final cost for each kind of feedback: every seed a dot, the mean a bar; the line is "
            "the cost of silence."
        )
        curves, ax = plot.new(size=(5.6, 3.6))
        shown = {TITLES[c]: measured.cost.sel(condition=c).values for c in CONDITIONS}
        plots.plot_learning(shown, task.WINDOW_MS, initial=float(theory.silent_cost), ax=ax)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        curves.set_label("Learning curves for each kind of feedback, every seed and the mean.")
        signs, ax = plot.new(size=(5.0, 3.6))
        random = measured.sel(condition=["random", "random, twice the units", "negative"])
        known = np.isfinite(random.feedback_weight.values)
        plots.plot_feedback_signs(
            random.feedback_weight.values[known], random.outgoing_weight.values[known],
            active=random.hidden_spikes.values[known] > 0, ax=ax,
        )  # fmt: skip
        ax.legend()
        signs.set_label(
            "Outgoing weight of every hidden neuron after learning against its random feedback "
            "weight; open markers are silent neurons."
        )
        return {"final_cost": bars, "learning": curves, "signs": signs}

    def cost(self, run: Run) -> Cost:
        return task.cost_of([self.point(c, 0) for c in CONDITIONS], self.n_seeds)


def _sign_agreement(measured: xr.Dataset) -> float:
    """Return the share of active units with B > 0 whose outgoing weight is > 0."""
    random = measured.sel(condition=["random", "random, twice the units"])
    heard, out = random.feedback_weight.values, random.outgoing_weight.values
    chosen = (heard > 0) & (random.hidden_spikes.values > 0)
    return float((out[chosen] > 0).mean()) if chosen.any() else float("nan")
