"""Learning time against depth: isometric networks learn as fast at 128 layers as at 16."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.spectra._race import ONE, race, seconds_of_one_step
from tractable.studies.spectra._race_results import (
    best_seeds,
    concatenated,
    files_of,
    gather,
    learning_time,
    predicted_variance,
    ratio,
    seeds_of,
    shown,
    start_spectrum,
    times_as_many,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PSG = "arXiv:1711.04735, learning time against depth"
RATES = (0.005, 0.01, 0.02, 0.04, 0.08)
ORTHOGONAL, GAUSSIAN = "tanh orthogonal", "tanh Gaussian"


@dataclass(frozen=True)
class SpectraDepth(Study):
    """Learning time against depth, at the best learning rate of each depth."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2017,
        "Resurrecting the sigmoid in deep learning through dynamical isometry: theory and practice",
        arxiv="1711.04735",
    )
    presets: ClassVar = {
        "smoke": {
            "depths": (3, 6),
            "gaussian_depths": (3, 6),
            "width": 24,
            "learning_rates": (0.03, 0.1),
            "n_seeds": 2,
            "n_train": 256,
            "n_test": 64,
            "batch_size": 64,
            "threshold": 0.4,
            "max_steps": 10,
            "signatures": False,
        },
        "paper": {
            "data": "cifar10",
            "depths": (10, 20, 40, 80, 160, 300),
            "gaussian_depths": (10, 20, 40, 80, 160, 300),
            "width": 400,
            "learning_rates": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            "n_test": 2000,
            "threshold": 0.4,
            "max_steps": 100_000,
        },
    }

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images: scikit-learn's digits (no file needed), MNIST, or CIFAR-10."""
    depths: Annotated[tuple[int, ...], Range(2, 10_000)] = (16, 64, 128)
    """Hidden layers L of the orthogonal tanh networks."""
    gaussian_depths: Annotated[tuple[int, ...], Range(2, 10_000)] = (16, 64)
    """Hidden layers L of the Gaussian tanh networks, some of the other ones."""
    width: Annotated[int, Range(2, 10_000, log=True)] = 100
    """Units of a hidden layer N."""
    q_star: Annotated[float, Range(1e-6, 10.0, log=True)] = 0.02592094821
    """Fixed point q*; the default is that of sigma_w^2 = 1.05."""
    learning_rates: Annotated[tuple[float, ...], Range(1e-8, 10.0)] = (
        0.005,
        0.01,
        0.02,
        0.04,
        0.08,
    )
    """Learning rates of plain gradient descent."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Seeds, of weights and order of the images."""
    threshold: Annotated[float, Range(0.0, 1.0)] = 0.8
    """Test accuracy whose first step is the learning time."""
    n_train: Annotated[int, Range(0, 1_000_000)] = 0
    """Training images; 0: all there are."""
    n_test: Annotated[int, Range(1, 1_000_000)] = 397
    """Test images."""
    batch_size: Annotated[int, Range(1, 100_000, log=True)] = 128
    """Images of a step."""
    max_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 120
    """Steps after which a network that has not learned is given up."""
    signatures: bool = True
    """Assert the published signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if extra := set(self.gaussian_depths) - set(self.depths):
            raise ValueError(f"gaussian_depths must be some of depths, got also {sorted(extra)}")
        if len(set(self.depths)) < 2:
            raise ValueError(f"depths must hold two depths or more, got {self.depths}")

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        return [*super().files(), *files_of(self.data)]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The races: kind of network and depth."""
        nets = ((ORTHOGONAL, self.depths), (GAUSSIAN, self.gaussian_depths))
        return [(net, depth) for net, depths in nets for depth in sorted(set(depths))]

    def measure(self, run: Run) -> xr.Dataset:
        points = [
            {
                "net": net,
                "depth": depth,
                "width": self.width,
                "q_star": self.q_star,
                "optimizer": "sgd",
                "rates": list(self.learning_rates),
                "n_seeds": self.n_seeds,
                "seed": run.seed,
                "data": self.data,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "batch_size": self.batch_size,
                "threshold": self.threshold,
                "max_steps": self.max_steps,
                "device": str(run.device),
            }
            for net, depth in self.keys
        ]
        races = dict(zip(self.keys, run.map(race, points), strict=True))
        depths = sorted(set(self.depths))
        starts = [
            {
                "net": ORTHOGONAL,
                "depth": depth,
                "width": self.width,
                "q_star": self.q_star,
                "seed": run.seed,
                "data": self.data,
            }
            for depth in depths
        ]
        measured = gather(races, ("net", "depth"))
        return measured.merge(concatenated(run.map(start_spectrum, starts), "depth", depths))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the relative variance of the eigenvalues of J J^T of each network."""
        import xarray as xr

        depths = sorted(set(self.depths))
        values = [
            [predicted_variance(net, depth, self.q_star) for depth in depths]
            for net in (ORTHOGONAL, GAUSSIAN)
        ]
        return xr.Dataset(
            {"variance": (("net", "depth"), np.array(values), ONE)},
            coords={"net": [ORTHOGONAL, GAUSSIAN], "depth": depths},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        expected = theory.variance.sel(net=ORTHOGONAL)
        ratios = measured.start_variance / expected.where(expected > 0)
        yield Check(
            "relative variance of J J^T at the start over that of the theory, mean over depths",
            float(ratios.mean(skipna=False)),
            1.0,
            rtol=0.35 if self.signatures else 10.0,
            source="L v(q*): arXiv:1711.04735, section 2; one network of finite width per depth",
        )
        if not self.signatures:
            return
        low, high = min(self.depths), max(self.depths)
        fast = {d: learning_time(measured, net=ORTHOGONAL, depth=d) for d in self.depths}
        yield Check(
            f"orthogonal tanh: steps at depth {high} over those at depth {low}",
            fast[high][0] / fast[low][0] if fast[high][1] else math.nan,
            2.0 if high <= 8 * low else math.sqrt(high / low),
            kind="at_most",
            source=f"{PSG}: grows slower than the depth",
        )
        for depth in sorted(set(self.gaussian_depths)):
            slow = learning_time(measured, net=GAUSSIAN, depth=depth)
            yield Check(
                f"depth {depth}: steps of Gaussian over orthogonal tanh",
                ratio(slow, fast[depth]),
                2.5 if depth < 64 else 10.0,
                kind="at_least",
                source=f"{PSG}; bar of the scaled run, best learning rate each",
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        times = {key: learning_time(measured, net=key[0], depth=key[1]) for key in self.keys}
        low, high = min(self.depths), max(self.depths)
        at_low, at_high = times[ORTHOGONAL, low], times[ORTHOGONAL, high]
        yield (
            f"Orthogonal tanh at criticality reaches {self.threshold:.0%} test accuracy in "
            f"{shown(at_low)} steps with {low} layers and in {shown(at_high)} with {high}."
        )
        for depth in sorted(set(self.gaussian_depths)):
            slow, fast = times[GAUSSIAN, depth], times[ORTHOGONAL, depth]
            yield (
                f"With {depth} layers, Gaussian weights need {shown(slow)} steps: "
                f"{times_as_many(slow, fast)}."
            )
        yield Table(
            f"Steps to {self.threshold:.0%} test accuracy: median of {self.n_seeds} seeds at the "
            "best learning rate",
            ("network", "depth", "steps", "learning rate", "seeds", "predicted relative variance"),
            tuple(
                (
                    net,
                    depth,
                    shown(time),
                    f"{time[2]:.2g}" if time[1] else "none",
                    seeds_of(measured, net=net, depth=depth),
                    float(theory.variance.sel(net=net, depth=depth)),
                )
                for (net, depth), time in times.items()
            ),
        )
        yield (
            f"Protocol: {len(self.learning_rates)} learning rates, {self.n_seeds} seeds, the best "
            "rate for each depth; the test accuracy is taken after every step up to 20, then at "
            "steps 5 % apart. At one fixed small rate deeper networks would look faster, because "
            "the gradient grows with their number of layers; that is no property of the spectrum."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.spectra.plots import plot_depth_scaling

        times, errors = {}, {}
        for net in dict.fromkeys(net for net, _ in self.keys):
            depths = [depth for kind, depth in self.keys if kind == net]
            found = [learning_time(measured, net=net, depth=depth) for depth in depths]
            times[net] = (depths, [f[0] for f in found], [f[1] for f in found])
            seeds = [best_seeds(measured, net=net, depth=depth) for depth in depths]
            errors[net] = ([s[0] for s in seeds], [s[1] for s in seeds])
        figure = plot_depth_scaling(times, errors=errors)
        figure.set_label(
            "Learning time against depth at the best learning rate of each depth: median and range "
            "of the seeds, with the fitted power of the depth; a triangle is a lower bound (not "
            "learned in the steps that were run)."
        )
        return {"time-and-depth": figure}

    def cost(self, run: Run) -> Cost:
        n = len(self.learning_rates) * self.n_seeds
        seconds, operations, memory = seconds_of_one_step(
            ORTHOGONAL, max(self.depths), self.width, 0, n, self.data, self.batch_size
        )
        # Relative to the deepest network; orthogonal ones are decided early.
        layers = 1.0 * sum(self.depths) * min(20, self.max_steps)
        layers += sum(self.gaussian_depths) * 0.7 * self.max_steps
        steps = layers / max(self.depths)
        return Cost(steps * operations, memory, steps * seconds)
