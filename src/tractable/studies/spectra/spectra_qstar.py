"""Learning time against q*: on the critical line a small q* is what makes a network isometric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.spectra._race import ONE, race, seconds_of_one_step
from tractable.studies.spectra._race_results import (
    concatenated,
    curve,
    files_of,
    gather,
    learning_time,
    predicted_variance,
    seeds_of,
    shown,
    start_spectrum,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

RATES = (0.005, 0.01, 0.02, 0.04, 0.08)
ORTHOGONAL = "tanh orthogonal"


@dataclass(frozen=True)
class SpectraQstar(Study):
    """Learning time of critical orthogonal tanh networks against their q*."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2018,
        "The emergence of spectral universality in deep networks",
        arxiv="1802.09979",
    )
    presets: ClassVar = {
        "smoke": {
            "depth": 6,
            "width": 24,
            "q_stars": (0.02, 1.0),
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
            "depth": 200,
            "width": 400,
            "q_stars": (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0),
            "learning_rates": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            "n_test": 2000,
            "threshold": 0.4,
            "max_steps": 100_000,
        },
    }

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images: scikit-learn's digits (no file needed), MNIST, or CIFAR-10."""
    depth: Annotated[int, Range(2, 10_000, log=True)] = 64
    """Hidden layers L."""
    width: Annotated[int, Range(2, 10_000, log=True)] = 100
    """Units of a hidden layer N."""
    q_stars: Annotated[tuple[float, ...], Range(1e-6, 100.0)] = (0.0156, 0.05, 0.1, 0.3, 1.0)
    """Fixed points q*, each with its critical weights and biases."""
    learning_rates: Annotated[tuple[float, ...], Range(1e-8, 10.0)] = (
        0.005,
        0.01,
        0.02,
        0.04,
        0.08,
    )
    """Learning rates of plain gradient descent."""
    logits: Literal["lecun", "unit"] = "lecun"
    """Readout: of variance 1 / width, so that logits start as small as the last layer's outputs,
    about sqrt(q*); or scaled to logits of about variance 1 whatever q*."""
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
    max_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 150
    """Steps after which a network that has not learned is given up."""
    signatures: bool = True
    """Assert the published signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.q_stars)) < 2:
            raise ValueError(f"q_stars must hold two values or more, got {self.q_stars}")

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        return [*super().files(), *files_of(self.data)]

    @property
    def values(self) -> list[float]:
        """The fixed points, ascending."""
        return sorted(set(self.q_stars))

    def measure(self, run: Run) -> xr.Dataset:
        common = {
            "net": ORTHOGONAL,
            "depth": self.depth,
            "width": self.width,
            "seed": run.seed,
            "data": self.data,
        }
        points = [
            {
                **common,
                "q_star": q,
                "logits": self.logits,
                "optimizer": "sgd",
                "rates": list(self.learning_rates),
                "n_seeds": self.n_seeds,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "batch_size": self.batch_size,
                "threshold": self.threshold,
                "max_steps": self.max_steps,
                "device": str(run.device),
            }
            for q in self.values
        ]
        races = run.map(race, points)
        measured = gather({(q,): one for q, one in zip(self.values, races, strict=True)}, ("q",))
        starts = run.map(start_spectrum, [{**common, "q_star": q} for q in self.values])
        return measured.merge(concatenated(starts, "q", self.values))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the variance of the eigenvalues of J J^T, L v(q*), and the critical weights."""
        import xarray as xr

        from tractable.spectra import critical_line

        points = critical_line("tanh", self.values)
        variance = [predicted_variance(ORTHOGONAL, self.depth, q) for q in self.values]
        return xr.Dataset(
            {
                "variance": ("q", variance, ONE),
                "sigma_w": ("q", points.sigma_w, ONE),
                "sigma_b": ("q", points.sigma_b, ONE),
            },
            coords={"q": self.values},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        first = theory.variance.values[0]
        yield Check(
            "relative variance of J J^T at the start, smallest q*, over that of the theory",
            float(measured.start_variance[0]) / first if first else float("nan"),
            1.0,
            rtol=0.35 if self.signatures else 10.0,
            source="L v(q*): arXiv:1711.04735, section 2; one network of finite width",
        )
        if not self.signatures:
            return
        times = self._times(measured)
        yield Check(
            "rank correlation of learning time and predicted variance of J J^T",
            rank_correlation(theory.variance.values, np.array([time for time, _, _ in times])),
            0.8,
            kind="at_least",
            source="arXiv:1711.04735 and 1802.09979: learning slows as q* grows at chi = 1",
        )
        yield Check(
            f"steps at q* = {self.values[-1]:g} over those at q* = {self.values[0]:g}",
            times[-1][0] / times[0][0] if times[0][1] else float("nan"),
            5.0,
            kind="at_least",
            source="bar of the scaled run (digits, L = 64)",
        )

    def _times(self, measured: xr.Dataset) -> list[tuple[float, bool, float]]:
        return [learning_time(measured.isel(q=i)) for i in range(len(self.values))]

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        times = self._times(measured)
        yield (
            f"At depth {self.depth}, networks that are all critical (chi = 1) learn in "
            f"{shown(times[0])} steps at q* = {self.values[0]:g} and in {shown(times[-1])} at q* = "
            f"{self.values[-1]:g}: criticality is not enough, the spectrum has to be narrow."
        )
        yield Table(
            f"Steps to {self.threshold:.0%} test accuracy: median of {self.n_seeds} seeds at the "
            "best learning rate",
            (
                *(
                    "q*",
                    "sigma_w^2",
                    "sigma_b^2",
                    "variance of J J^T, theory",
                    "measured, relative",
                ),
                *("steps", "learning rate", "seeds"),
            ),
            tuple(
                (
                    q,
                    float(theory.sigma_w[i]) ** 2,
                    float(theory.sigma_b[i]) ** 2,
                    float(theory.variance[i]),
                    float(measured.start_variance[i]),
                    shown(times[i]),
                    f"{times[i][2]:.2g}" if times[i][1] else "none",
                    seeds_of(measured.isel(q=i)),
                )
                for i, q in enumerate(self.values)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spectra.plots import plot_learning_curves, plot_time_against_variance

        times = self._times(measured)
        figure, (left, right) = plot.new(1, 2, size=(11.0, 3.6))
        names = {f"q* = {q:g}": i for i, q in enumerate(self.values)}
        plot_time_against_variance(
            {name: float(theory.variance[i]) for name, i in names.items()},
            {"orthogonal tanh, sgd": {name: times[i][:2] for name, i in names.items()}},
            ax=left,
        )
        left.get_legend().remove()
        for name, i in names.items():
            left.annotate(
                name,
                (float(theory.variance[i]), times[i][0]),
                textcoords="offset points",
                xytext=(6, -11),
                fontsize=8,
            )
        curves = {name: curve(measured.isel(q=i))[:2] for name, i in names.items()}
        plot_learning_curves(curves, threshold=self.threshold, ax=right)
        figure.set_label(
            "Left, learning time against the predicted variance of the eigenvalues of J J^T, for "
            "critical networks of different q*. Right, their learning curves at the best learning "
            "rate: median and range of the seeds."
        )
        return {"time-and-qstar": figure}

    def cost(self, run: Run) -> Cost:
        n = len(self.learning_rates) * self.n_seeds
        seconds, operations, memory = seconds_of_one_step(
            ORTHOGONAL, self.depth, self.width, 0, n, self.data, self.batch_size
        )
        steps = 0.25 * self.max_steps * len(self.values)
        return Cost(steps * operations, memory, steps * seconds)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation, NaN where one side is constant.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 5.0, 6.0, 7.0])), 4)
    0.9487
    """
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
