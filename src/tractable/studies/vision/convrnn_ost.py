"""When each image is solved: by neurons, by the same neurons again, by a feedforward network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
NAYEBI = "doi:10.1162/neco_a_01506, figure 3: recurrent networks match solution times best"
SELF = "the generated neurons: they differ in their noise alone"
AGAIN, FEEDFORWARD = "same neurons again", "feedforward, uniform"


@dataclass(frozen=True)
class ConvrnnOst(Study):
    """Object solution times of noisy digits, from synthetic neurons of a recurrent network."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Nayebi, Sagastuy-Brena, Bear, Kar, Kubilius, Ganguli, Sussillo, DiCarlo, Yamins",
        2022,
        "Recurrent connections in the primate ventral visual stream mediate a trade-off between "
        "task performance and network size during core object recognition",
        doi="10.1162/neco_a_01506",
    )
    presets: ClassVar = {
        "smoke": {
            "channels": 4, "steps": 2, "n_neurons": 8, "n_images": 60, "n_repeats": 2,
            "n_bins": 4, "image_off": 4, "splits": 2, "target": 0.5, "signatures": False,
        },
        "paper": {
            "channels": 32, "steps": 3000, "n_neurons": 168, "n_images": 500, "n_repeats": 50,
            "n_seeds": 3, "splits": 10, "rate_hz": 50.0,
        },
    }  # fmt: skip

    channels: Annotated[int, Range(2, 512)] = 12
    """Channels of the two upper layers."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 100
    """Updates of each network."""
    n_neurons: Annotated[int, Range(2, 10_000, log=True)] = 60
    """Neurons that read the teacher's highest layer."""
    n_images: Annotated[int, Range(40, 500)] = 300
    """Images."""
    n_repeats: Annotated[int, Range(1, 1000, log=True)] = 20
    """Repetitions of each image."""
    n_bins: Annotated[int, Range(3, 100)] = 20
    """Bins of 10 ms from 70 ms on."""
    image_off: Annotated[int, Range(3, 200)] = 10
    """Steps after which the image is replaced by gray."""
    rate_hz: Annotated[float, Range(0.1, 1e4, log=True)] = 1000.0
    """Mean rate in Hz, of many cells together: single trials of 10 ms are read out."""
    hardest: Annotated[float, Range(0.0, 10.0)] = 1.5
    """Largest standard deviation of the noise on an image's pixels; each image has its own."""
    target: Annotated[float, Range(0.01, 5.0)] = 2.0
    """The d' at which an image counts as solved."""
    splits: Annotated[int, Range(1, 100)] = 5
    """Random splits of the images."""
    n_seeds: Annotated[int, Range(1, 100)] = 1
    """Teachers."""
    signatures: bool = True
    """Assert the signatures."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_neural_parts import solve_images

        names = (
            *("channels", "steps", "n_neurons", "n_images", "n_repeats", "n_bins", "image_off"),
            *("rate_hz", "hardest", "target", "splits"),
        )
        shared: dict[str, Any] = {name: getattr(self, name) for name in names}
        points = [{**shared, "seed": run.seed + i} for i in range(self.n_seeds)]
        parts = run.map(solve_images, points)
        seeds = np.arange(run.seed, run.seed + self.n_seeds)
        return xr.concat(parts, "seed").assign_coords(seed=seeds)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Say where a time must lie, and find it again from d' by its definition."""
        import xarray as xr

        from tractable.vision.convrnn import crossing_times

        t = 70.0 + 10.0 * np.arange(self.n_bins)
        ms = {"units": "ms"}
        times = np.full((1, 1, self.n_images), np.nan)
        if measured is not None:
            d = measured.d_prime.transpose("seed", "system", "image", "bin").values
            flat = crossing_times(d.reshape(-1, self.n_bins), self.target, t)
            times = flat.reshape(d.shape[:3])
        return xr.Dataset(
            {
                "first": ((), t[0], ms),
                "last": ((), t[-1], ms),
                "agreement": ((), 1.0, ONE),
                "time": (("seed", "system", "image"), times, ms),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        times = measured.time.transpose("seed", "system", "image").values
        both = ~np.isnan(times) & ~np.isnan(theory.time.values)
        apart = np.abs(np.where(both, times, 0.0) - np.where(both, theory.time.values, 0.0)).max()
        yield Check(
            "solution times off the first crossing of d', ms", float(apart), 0.0, 1e-6,
            source="definition",
        )  # fmt: skip
        solved = times[~np.isnan(times)]
        if solved.size:
            outside = float(((solved < float(theory.first)) | (solved > float(theory.last))).sum())
            yield Check("times outside the bins", outside, 0, source="definition")
        if not self.signatures:
            return
        rho = measured.spearman.mean("seed")
        yield Check(
            "the same neurons with independent noise: Spearman correlation",
            float(rho.sel(system=AGAIN)),
            float(theory.agreement) - 0.2,
            kind="at_least",
            source=SELF,
        )
        # A network that solves all images at one time has no correlation: that counts as 0.
        plain = float(np.nan_to_num(rho.sel(system=FEEDFORWARD)))
        yield Check(
            "feedforward, layers mapped to bins uniformly, below the same neurons by",
            float(rho.sel(system=AGAIN)) - plain,
            0.0,
            kind="at_least",
            source=NAYEBI,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        times = measured.time.sel(system="neurons").values
        share = np.isfinite(times).mean()
        middle = np.nanmedian(times) if np.isfinite(times).any() else np.nan
        yield (
            f"The neurons solve {share:.0%} of {self.n_images} images (d' of {self.target:g}), the "
            f"median one at {middle:.0f} ms."
        )
        rows = [
            (
                str(name),
                float(measured.spearman.sel(system=name).mean()),
                float(measured.share_solved.sel(system=name).mean()),
                float(measured.accuracy.sel(system=name).mean("seed").isel(bin=-1)),
            )
            for name in measured.system.values[1:]
        ]
        columns = (
            *("system", "Spearman of solution times"),
            *("share of the neurons' solved images", "accuracy in the last bin"),
        )
        yield Table("Solution times against those of the neurons", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 3, size=(11.0, 3.7))
        one = measured.isel(seed=0)
        for number, name in enumerate(one.system.values):
            plot.measurement(
                axes[0], one.bin, one.accuracy.sel(system=name), label=str(name), ms=3,
                color=f"C{number + 1}", marker="os^D"[number % 4], linestyle=":", linewidth=0.8,
            )  # fmt: skip
        axes[0].axhline(0.1, color="C0", lw=1, label="chance")
        axes[0].set(xlabel="time (ms)", ylabel="accuracy of test images", ylim=(0, 1.02))
        axes[0].legend(fontsize=7)
        ends = [float(theory.first), float(theory.last)]
        x = one.time.sel(system="neurons").values
        for ax, name, color in zip(axes[1:], (AGAIN, FEEDFORWARD), ("C2", "C4"), strict=True):
            plot.theory(ax, ends, ends, color="C0", label="equal")
            rho = float(one.spearman.sel(system=name))
            said = "no correlation" if np.isnan(rho) else f"Spearman {rho:.2f}"
            plot.measurement(
                ax, x, one.time.sel(system=name), ms=3, alpha=0.5, color=color, label=said
            )
            ax.set(xlabel="solution time, neurons (ms)", title=str(name))
            ax.legend(fontsize=8, loc="upper left")
        axes[1].set_ylabel("solution time (ms)")
        figure.set_label(
            "Left: accuracy of linear machines in each bin. Middle and right: the time at which "
            "each image is solved, by the same neurons with independent noise and by a "
            "feedforward network whose layers take turns, against the neurons."
        )
        return {"solution_times": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_neural_parts import training_seconds

        operations, seconds = training_seconds(self.channels, self.steps, self.image_off)
        machines = 4.0 * self.n_bins * self.splits
        each = 10 * self.n_images * (self.n_neurons + self.n_images / 2) * 200.0
        tests = self.n_images * self.n_repeats * self.n_neurons * 20.0
        total = self.n_seeds * (2 * operations + machines * (each + tests))
        memory = 8.0 * self.n_images * self.n_bins * (16 * self.channels + 2.0 * self.n_neurons
                                                      * self.n_repeats)  # fmt: skip
        return Cost(total, memory, self.n_seeds * (2 * seconds + machines * (each + tests) / 1e9))
