"""Neurons that are known, fitted in time: by their own network, another one, a feedforward one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

DYNAMICS = "arXiv:1807.00053: recurrent networks match neural dynamics better than feedforward ones"
KNOWN = "the generated neurons: the true model reaches the ceiling"
EXACT = "closed form: variance of rates over that of mean counts"
PLANTED = "the generated neurons: their latency"


@dataclass(frozen=True)
class ConvrnnNeural(Study):
    """Synthetic neurons of a recurrent network, predicted bin by bin up to their noise ceiling."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {
            "channels": 4, "steps": 2, "n_neurons": 6, "n_images": 60, "n_repeats": 4,
            "n_bins": 6, "image_off": 4, "rate_hz": 400.0, "splits": 2, "n_halvings": 4,
            "latency": 1, "signatures": False,
        },
        "pls": {"method": "pls"},
        "paper": {
            "channels": 32, "steps": 3000, "n_neurons": 168, "n_images": 1500, "n_repeats": 50,
            "n_bins": 26, "method": "pls", "correct": "both", "splits": 10, "n_halvings": 100,
            "train_share": 0.5, "n_seeds": 3,
        },
    }  # fmt: skip

    channels: Annotated[int, Range(2, 512)] = 12
    """Channels of the two upper layers."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 100
    """Updates of each network."""
    n_neurons: Annotated[int, Range(2, 10_000, log=True)] = 60
    """Neurons that read the teacher's highest layer."""
    n_images: Annotated[int, Range(40, 1797)] = 300
    """Images: noisy digits."""
    n_repeats: Annotated[int, Range(2, 1000, log=True)] = 10
    """Repetitions of each image."""
    n_bins: Annotated[int, Range(4, 200)] = 20
    """Bins of 10 ms, one for each step of the networks."""
    image_off: Annotated[int, Range(3, 200)] = 10
    """Steps after which the image is replaced by gray."""
    rate_hz: Annotated[float, Range(0.1, 1e4, log=True)] = 50.0
    """Mean rate of the neurons, Hz."""
    latency: Annotated[int, Range(0, 6)] = 2
    """Bins by which the neurons follow the teacher."""
    method: Literal["ridge", "pls", "pls1"] = "ridge"
    """Kind of the maps."""
    correct: Literal["data", "both"] = "data"
    """Correction: for the noise of the test responses, or also for that of the maps."""
    splits: Annotated[int, Range(1, 100)] = 5
    """Random splits of the images."""
    train_share: Annotated[float, Range(0.1, 0.9)] = 0.8
    """Share of training images."""
    n_halvings: Annotated[int, Range(1, 10_000, log=True)] = 20
    """Random halvings of the repetitions."""
    n_seeds: Annotated[int, Range(1, 100)] = 1
    """Teachers, each with neurons and candidates of its own."""
    signatures: bool = True
    """Assert the signatures."""

    def _points(self, seed: int) -> list[dict[str, Any]]:
        shared = {
            name: getattr(self, name)
            for name in (
                *("channels", "steps", "n_neurons", "n_images", "n_repeats", "n_bins"),
                *("image_off", "rate_hz", "latency", "method", "correct", "splits"),
                *("n_halvings", "train_share"),
            )
        }
        mappings = ["shared", "per_bin", "latency"]
        return [
            {**shared, "mappings": mappings, "seed": seed + number}
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_neural_parts import fit_candidates

        parts = run.map(fit_candidates, self._points(run.seed))
        seeds = np.arange(run.seed, run.seed + self.n_seeds)
        return xr.concat(parts, "seed").assign_coords(seed=seeds)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Say what the true model reaches, the planted latency, and the exact reliabilities."""
        import xarray as xr

        one = {"units": "1"}
        exact = np.full((1, self.n_neurons, self.n_bins), np.nan)
        if measured is not None:
            exact = measured.exact_reliability.values
        return xr.Dataset(
            {
                "true_model": ((), 1.0, one),
                "latency": ((), float(self.latency), {"units": "bins"}),
                "reliability": (("seed", "neuron", "bin"), exact, one),
            }
        )

    # --- what it says ------------------------------------------------------------------------

    def late(self, values: xr.DataArray) -> xr.DataArray:
        """Return the mean over the last third of the bins."""
        return values.isel(bin=slice(-(self.n_bins // 3), None)).mean("bin")

    def gap(self, measured: xr.Dataset, mapping: str) -> float:
        """Return how far the teacher is above the feedforward network in late bins."""
        late = self.late(measured["median"].sel(mapping=mapping)).mean("seed")
        return float(late.sel(candidate="teacher") - late.sel(candidate="feedforward"))

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        difference = measured.reliability - theory.reliability
        yield Check(
            "reliability, measured less exact, mean over neurons and bins",
            float(difference.mean()),
            0.0,
            atol=0.02 if self.signatures else 0.3,
            source=EXACT,
        )
        # Standard error of (C11) from that of one correlation, (1 - r^2) / sqrt(n).
        r = theory.reliability / (2.0 - theory.reliability)
        error = 2.0 / (1.0 + r) ** 2 * (1.0 - r**2) / np.sqrt(self.n_images)
        yield Check(
            "reliability, measured less exact, in standard errors: root mean square",
            float(np.sqrt(((difference / error) ** 2).mean())),
            1.5 if self.signatures else 10.0,
            kind="at_most",
            source=EXACT,
        )
        if not self.signatures:
            return
        shared = self.late(measured["median"].sel(mapping="shared")).mean("seed")
        true = float(theory.true_model)
        yield Check(
            "teacher, one map for all bins: median corrected correlation in late bins",
            float(shared.sel(candidate="teacher")),
            true - 0.05,
            kind="at_least",
            source=KNOWN,
        )
        yield Check(
            "teacher, one map for all bins: not above what the true model reaches",
            float(shared.sel(candidate="teacher")),
            true,
            0.03,
            kind="at_most",
            source=KNOWN,
        )
        yield Check(
            "teacher over feedforward in late bins, one map for all bins",
            self.gap(measured, "shared"),
            0.15,
            kind="at_least",
            source=DYNAMICS,
        )
        yield Check(
            "that gap with a map for each bin, over the gap with one map",
            self.gap(measured, "per_bin") / self.gap(measured, "shared"),
            1.0,
            kind="at_most",
            source="a map for each bin can make up for missing dynamics",
        )
        chosen = measured["shift"].sel(candidate="teacher")
        yield Check(
            "share of neurons whose latency is found to a bin",
            float((abs(chosen - theory.latency) <= 1).mean()),
            0.9,
            kind="at_least",
            source=PLANTED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"In late bins the teacher is {self.gap(measured, 'shared'):.2f} above the feedforward "
            f"network when one map serves all bins, {self.gap(measured, 'per_bin'):.2f} when each "
            "bin has a map of its own."
        )
        counted = measured.n_excluded.isel(seed=0).values.astype(int)
        yield (
            f"Neurons below a reliability of 0.1 are left out: {int(counted[0])} of "
            f"{self.n_neurons} in the first bin, {int(counted[-1])} in the last."
        )
        late = self.late(measured["median"]).mean("seed")
        rows = [
            (
                str(name),
                *(float(late.sel(candidate=name, mapping=m)) for m in measured.mapping.values),
                float(measured.average.sel(candidate=name, mapping="shared").mean()),
                float(self.late(measured.rsa.sel(candidate=name)).mean()),
                float(self.late(measured.cka.sel(candidate=name)).mean()),
                float(measured.accuracy.sel(candidate=name).mean()),
            )
            for name in measured.candidate.values
        ]
        names = [f"late bins, {str(m).replace('_', ' ')}" for m in measured.mapping.values]
        columns = (
            "network", *names, "time average", "RSA, late", "CKA, late", "accuracy on digits"
        )  # fmt: skip
        yield Table("Median corrected correlation", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.vision.convrnn.plots import draw_predictivity

        figure, axes = plot.new(1, 3, size=(11.0, 3.5), sharey=True)
        one = measured.isel(seed=0)
        titles = {"shared": "one map for all bins", "per_bin": "a map for each bin",
                  "latency": "one map, latency chosen"}  # fmt: skip
        for ax, mapping in zip(axes, measured.mapping.values, strict=True):
            curves = {
                str(name): (
                    one["median"].sel(candidate=name, mapping=mapping).values,
                    one["interval"].sel(candidate=name, mapping=mapping).values,
                )
                for name in measured.candidate.values
            }
            draw_predictivity(measured.bin.values, curves, ax=ax)
            ax.set_title(titles[str(mapping)], fontsize=10)
            ax.axvline(self.image_off * 10.0, color="0.6", lw=1, ls="--")
        axes[0].set_ylabel("corrected correlation")
        axes[0].legend(loc="lower right", fontsize=8)
        figure.set_label(
            "Median over neurons of the correlation of predicted and measured responses, over the "
            "noise ceiling, in each bin: markers with 95 % intervals over neurons; the line is "
            "what the true model reaches. The image goes off at the dashed line."
        )
        second, ax = plot.new(size=(4.4, 3.6))
        ax.plot([0, 1], [0, 1], "-", color="C0", label="exact")
        plot.measurement(
            ax, theory.reliability.values.ravel(), measured.reliability.values.ravel(), ms=2,
            color="C1", alpha=0.5, label="from halves",
        )  # fmt: skip
        ax.set(xlabel="reliability in closed form", ylabel="reliability measured")
        ax.legend(loc="upper left")
        second.set_label(
            "Reliability of every neuron and bin: measured from halves of the repetitions against "
            "its closed form."
        )
        return {"predictivity": figure, "reliability": second}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_neural_parts import training_seconds

        operations, seconds = training_seconds(self.channels, self.steps, self.image_off)
        p = 16 * self.channels
        rows = self.n_images * self.n_bins
        # Gram matrices of the features, seventeen penalties, and, where asked for, the halvings.
        columns = self.n_neurons * (self.n_halvings if self.correct == "both" else 1)
        fit = rows * p * (p + 20.0 * self.n_neurons + 2.0 * columns) * self.splits * 30
        total = self.n_seeds * (3 * operations + fit)
        memory = 8.0 * (rows * (p + 20 * self.n_neurons) + rows * self.n_neurons * self.n_repeats)
        return Cost(total, memory, self.n_seeds * (3 * seconds + fit / 3e9))
