"""A convolutional recurrent cell unrolled in time: the theory of its Jacobian, and its learning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

FREE = "arXiv:1802.09979 for untied layers; a centered kernel acts as its matrix at every position"
WALK = "derived: chi^T times the share of T-step walks of the kernel's taps that stay on the map"
ISOMETRY = (
    "arXiv:1806.05393, its claim carried over to time: isometric kernels let deep paths learn"
)
ONE = {"units": "1"}
PROBABILITY = {"units": "1", "long_name": "share of the singular values below"}
SINGULAR = {"units": "1", "long_name": "singular value of the Jacobian over T steps"}
SQUARE = {"units": "1", "long_name": "mean squared singular value of the Jacobian over T steps"}
KERNELS = ("torch default", "Gaussian", "centered Gaussian", "delta-orthogonal")
LAWS = {"centered Gaussian": "gaussian", "delta-orthogonal": "orthogonal"}
SPREAD = ("torch default", "Gaussian")  # weight on all taps: padding takes a share of it
LEARNERS = ("torch default", "Gaussian", "delta-orthogonal")


@dataclass(frozen=True)
class MeetConvrnnSpectra(Study):
    """Isometric kernels for a ConvRNN: the spectrum over T steps, and a task that needs memory."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington",
        2018,
        "Dynamical isometry and a mean field theory of CNNs: how to train 10,000-layer vanilla "
        "convolutional neural networks",
        arxiv="1806.05393",
    )
    presets: ClassVar = {
        "smoke": {
            "channels": 6,
            "n_nets": 1,
            "steps": (1, 4),
            "width": 4,
            "n_seeds": 1,
            "updates": 2,
            "batch_size": 8,
            "n_test": 50,
        },
        "paper": {
            "channels": 128,
            "n_nets": 10,
            "steps": (1, 4, 8, 16),
            "n_seeds": 10,
            "updates": 3000,
        },
        "explore": {"steps": (1,), "n_quantiles": 30},
    }

    channels: Annotated[int, Range(2, 1000, log=True)] = 48
    """Channels of the cell whose Jacobian is taken, on maps of 4 x 4."""
    q_star: Annotated[float, Range(1e-4, 10.0, log=True)] = 0.05
    """Variance of the pre-activations at which the kernels are critical."""
    steps: Annotated[tuple[int, ...], Range(1, 100, log=True)] = (1, 4)
    """Steps T of the Jacobian."""
    n_nets: Annotated[int, Range(1, 1000)] = 4
    """Cells of each kind whose Jacobian is taken."""
    width: Annotated[int, Range(2, 512)] = 18
    """Channels of the cell that is trained."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind that are trained."""
    updates: Annotated[int, Range(1, 1_000_000, log=True)] = 300
    """Updates of each, on the recall of the first of four digits (variant C, 14 frames)."""
    batch_size: Annotated[int, Range(1, 1297, log=True)] = 48
    """Movies of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    n_test: Annotated[int, Range(10, 1500)] = 500
    """Test digits; the other ones of 1,797 are for training."""
    n_quantiles: Annotated[int, Range(3, 10_000, log=True)] = 200
    """Quantiles of the theory's laws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.steps)) < len(self.steps) or not self.steps:
            raise ValueError(f"steps must name each number once, got {self.steps}")

    # --- measurement -------------------------------------------------------------------------

    def _spectra(self, seed: int) -> list[dict[str, Any]]:
        from tractable.core.seeds import derive

        return [
            {
                "kernel": kernel,
                "channels": self.channels,
                "q_star": self.q_star,
                "steps": tuple(sorted(self.steps)),
                "seed": derive(seed, kernel, k),
            }
            for kernel in KERNELS
            for k in range(self.n_nets)
        ]

    def _trainings(self, seed: int, device: str) -> list[dict[str, Any]]:
        return [
            {
                "kernel": kernel,
                "width": self.width,
                "q_star": self.q_star,
                "updates": self.updates,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "n_test": self.n_test,
                "seed": seed + number,
                "device": device,
            }
            for kernel in LEARNERS
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.meet import _convrnn_spectra as parts

        found = run.map(parts.singular_values, self._spectra(run.seed))
        shape = (len(KERNELS), self.n_nets, len(self.steps), -1)
        s = np.stack([one.s.values for one in found]).reshape(shape)
        trained = run.map(parts.train_kernel, self._trainings(run.seed, str(run.device)))
        by_seed = (len(LEARNERS), self.n_seeds)
        accuracy = np.array([float(one.accuracy) for one in trained]).reshape(by_seed)
        loss = np.stack([one.loss.values for one in trained]).reshape(*by_seed, -1)
        return xr.Dataset(
            {
                "s": (("kernel", "net", "steps", "unit"), s, SINGULAR),
                "accuracy": (("learner", "seed"), accuracy, ONE),
                "loss": (("learner", "seed", "update"), loss, {"units": "nat"}),
                "class_share": ("digit", trained[0].class_share.values, ONE),
            },
            coords={
                "kernel": list(KERNELS),
                "steps": sorted(self.steps),
                "learner": list(LEARNERS),
                "seed": np.arange(run.seed, run.seed + self.n_seeds),
                "update": trained[0]["update"].values,
            },
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Quantiles for centered kernels, mean squares for all, over T steps and over the task."""
        import xarray as xr

        from tractable.studies.meet import _convrnn_spectra as parts

        p = (np.arange(self.n_quantiles) + 0.5) / self.n_quantiles
        times = sorted(self.steps)
        quantile = [
            [parts.quantiles(kernel, self.q_star, t, self.n_quantiles) for t in times]
            for kernel in LAWS
        ]
        square = [[parts.mean_square(kernel, self.q_star, t) for t in times] for kernel in KERNELS]
        over_task = [parts.mean_square(k, self.q_star, parts.task_steps()) for k in LEARNERS]
        survival = [parts.survival(t) for t in times]
        share = np.full(10, 0.1) if measured is None else measured.class_share.values
        return xr.Dataset(
            {
                "s": (("law", "steps", "p"), np.array(quantile), SINGULAR),
                "square": (("kernel", "steps"), np.array(square), SQUARE),
                "over_task": ("learner", np.array(over_task), SQUARE),
                "survival": ("steps", np.array(survival), ONE),
                "bound": ((), parts.order_bound(share), ONE),
            },
            coords={
                "law": list(LAWS),
                "kernel": list(KERNELS),
                "learner": list(LEARNERS),
                "steps": times,
                "p": ("p", p, PROBABILITY),
            },
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        from tractable.studies.meet import _convrnn_spectra as parts

        gaps = parts.distances(theory, measured)
        for kernel in LAWS:
            yield Check(
                f"{kernel} kernels: largest Kolmogorov-Smirnov distance, all times",
                float(gaps.sel(law=kernel).max()),
                0.08,
                kind="at_most",
                source=FREE,
            )
        square = (measured.s**2).mean(("net", "unit"))
        off = abs(np.log(square / theory.square))
        for kernel in SPREAD:
            yield Check(
                f"{kernel} kernels: mean squared singular value, largest difference of logarithms",
                float(off.sel(kernel=kernel).max()),
                0.25,
                kind="at_most",
                source=WALK,
            )
        late = max(self.steps)
        blind = theory.square.sel(kernel="Gaussian", steps=late) / theory.survival.sel(steps=late)
        without = np.log(float(blind / square.sel(kernel="Gaussian", steps=late)))
        yield Check(
            f"Gaussian kernels, T = {late}: what padding takes, logarithm",
            without,
            -np.log(float(theory.survival.sel(steps=late))),
            0.25,
            source=WALK,
        )
        accuracy = measured.accuracy
        isometric = accuracy.sel(learner="delta-orthogonal")
        yield Check(
            "recall after isometric initialization, worst seed",
            float(isometric.min()),
            0.9,
            kind="at_least",
            source=ISOMETRY,
        )
        for other, least in (("torch default", 0.2), ("Gaussian", 0.0)):
            yield Check(
                f"recall, isometric over {other} initialization, mean of the seeds",
                float((isometric - accuracy.sel(learner=other)).mean()),
                least,
                kind="at_least",
                source=ISOMETRY,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.meet import _convrnn_spectra as parts

        mean = measured.accuracy.mean("seed")
        size = theory.over_task
        yield (
            f"Over the {parts.task_steps()} steps from the first digit to the readout the mean "
            "squared singular value is predicted as "
            f"{float(size.sel(learner='torch default')):.1e} with torch's initialization, "
            f"{float(size.sel(learner='Gaussian')):.2g} with critical Gaussian kernels (all of "
            "that is the padding's), and "
            f"{float(size.sel(learner='delta-orthogonal')):.2g} with delta-orthogonal ones."
        )
        yield (
            "A plain cell without norm then recalls the first digit with accuracy "
            + ", ".join(f"{float(mean.sel(learner=k)):.3f} ({k})" for k in LEARNERS)
            + f"; without memory at most {float(theory.bound):.3f}."
        )
        rows = [
            (k, f"{float(size.sel(learner=k)):.2g}", *map(float, measured.accuracy.sel(learner=k)))
            for k in LEARNERS
        ]
        names = tuple(f"accuracy, seed {int(s)}" for s in measured.seed)
        yield Table("Recall of the first digit", ("kernel", "mean square", *names), tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.meet import _convrnn_spectra_figures as draw

        return {
            "spectra": draw.draw_spectra(theory, measured),
            "squares": draw.draw_squares(theory, measured),
            "learning": draw.draw_learning(theory, measured),
        }

    def cost(self, run: Run) -> Cost:
        import time

        from tractable.studies.meet import _convrnn_spectra as parts

        started = time.perf_counter()
        small = min(self.channels, 8)
        parts.singular_values("Gaussian", small, self.q_star, (1,), 0)
        one = (time.perf_counter() - started) * (self.channels / small) ** 3
        n = 16 * self.channels
        jobs = len(KERNELS) * self.n_nets * (len(self.steps) + max(self.steps) / 10)
        operations, memory, seconds = parts.training_cost_of(self)
        runs = len(LEARNERS) * self.n_seeds
        return Cost(
            operations * runs + 22.0 * n**3 * jobs,
            max(memory, 8 * 6 * n**2),
            seconds * runs + one * jobs,
        )
