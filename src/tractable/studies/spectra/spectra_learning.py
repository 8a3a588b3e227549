"""Learning curves of deep networks: isometric tanh networks against Gaussian ones and ReLU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tractable.studies.spectra._race import NETS, ONE, RATE_FACTORS, race, seconds_of_one_step
from tractable.studies.spectra._race_results import (
    concatenated,
    curve,
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

PSG = "arXiv:1711.04735, learning curves"
ORTHOGONAL, GAUSSIAN, RELU, RELU_ORTHOGONAL = (
    *("tanh orthogonal", "tanh Gaussian", "ReLU Gaussian", "ReLU orthogonal"),
)


@dataclass(frozen=True)
class SpectraLearning(Study):
    """Learning speed of deep networks: orthogonal tanh against Gaussian tanh and ReLU."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2017,
        "Resurrecting the sigmoid in deep learning through dynamical isometry: theory and practice",
        arxiv="1711.04735",
    )
    presets: ClassVar = {
        "smoke": {
            "depth": 6,
            "width": 24,
            "optimizers": ("sgd",),
            "learning_rates": (0.03, 0.1),
            "n_seeds": 2,
            "n_train": 256,
            "n_test": 64,
            "batch_size": 64,
            "max_steps": 8,
            "signatures": False,
        },
        "optimizers": {
            "optimizers": ("sgd", "momentum", "rmsprop", "adam"),
            "learning_rates": (0.003, 0.01, 0.03, 0.1, 0.3),
            "max_steps": 300,
        },
        "paper": {
            "data": "cifar10",
            "depth": 200,
            "width": 400,
            "optimizers": ("sgd", "momentum", "rmsprop", "adam"),
            "learning_rates": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1),
            "n_seeds": 3,
            "n_test": 2000,
            "threshold": 0.4,
            "max_steps": 100_000,
            "min_steps": 1000,
        },
    }

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images: scikit-learn's digits (no file needed), MNIST, or CIFAR-10."""
    depth: Annotated[int, Range(2, 10_000, log=True)] = 64
    """Hidden layers L."""
    width: Annotated[int, Range(2, 10_000, log=True)] = 100
    """Units of a hidden layer N."""
    q_star: Annotated[float, Range(1e-6, 10.0, log=True)] = 0.02592094821
    """Fixed point q* of the tanh networks; the default is that of sigma_w^2 = 1.05."""
    optimizers: tuple[Literal["sgd", "momentum", "rmsprop", "adam"], ...] = ("sgd", "adam")
    """Optimizers, at their usual settings."""
    learning_rates: Annotated[tuple[float, ...], Range(1e-8, 10.0)] = (0.01, 0.03, 0.1)
    """Learning rates of sgd; those of momentum are 0.1, of rmsprop and adam 0.003 times these."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Seeds, of weights and order of the images."""
    threshold: Annotated[float, Range(0.0, 1.0)] = 0.5
    """Test accuracy whose first step is the learning time."""
    n_train: Annotated[int, Range(0, 1_000_000)] = 0
    """Training images; 0: all there are."""
    n_test: Annotated[int, Range(1, 1_000_000)] = 397
    """Test images."""
    batch_size: Annotated[int, Range(1, 100_000, log=True)] = 128
    """Images of a step."""
    max_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 80
    """Steps after which a network that has not learned is given up."""
    min_steps: Annotated[int, Range(0, 10_000_000)] = 20
    """Steps that every network is shown for, also when it has learned earlier."""
    signatures: bool = True
    """Assert the published signatures."""

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        return [*super().files(), *files_of(self.data)]

    def measure(self, run: Run) -> xr.Dataset:
        keys = [(optimizer, net) for optimizer in self.optimizers for net in NETS]
        points = [
            {
                "net": net,
                "depth": self.depth,
                "width": self.width,
                "q_star": self.q_star,
                "optimizer": optimizer,
                "rates": [rate * RATE_FACTORS[optimizer] for rate in self.learning_rates],
                "n_seeds": self.n_seeds,
                "seed": run.seed,
                "data": self.data,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "batch_size": self.batch_size,
                "threshold": self.threshold,
                "max_steps": self.max_steps,
                "min_steps": min(self.min_steps, self.max_steps),
                "device": str(run.device),
            }
            for optimizer, net in keys
        ]
        races = dict(zip(keys, run.map(race, points), strict=True))
        starts = [
            {
                "net": net,
                "depth": self.depth,
                "width": self.width,
                "q_star": self.q_star,
                "seed": run.seed,
                "data": self.data,
            }
            for net in NETS
        ]
        measured = gather(races, ("optimizer", "net"))
        spectra = concatenated(run.map(start_spectrum, starts), "net", list(NETS))
        return measured.merge(spectra)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the relative variance of the eigenvalues of J J^T of each kind of network."""
        import xarray as xr

        values = [predicted_variance(net, self.depth, self.q_star) for net in NETS]
        return xr.Dataset({"variance": ("net", values, ONE)}, coords={"net": list(NETS)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        expected = float(theory.variance.sel(net=ORTHOGONAL))
        yield Check(
            "relative variance of J J^T at the start, orthogonal tanh, over that of the theory",
            float(measured.start_variance.sel(net=ORTHOGONAL)) / expected if expected else math.nan,
            1.0,
            rtol=0.3 if self.signatures else 10.0,
            source="L v(q*): arXiv:1711.04735, section 2; one network of finite width",
        )
        if not self.signatures:
            return
        for optimizer in self.optimizers:
            times = self._times(measured, optimizer)
            fast = times[ORTHOGONAL]
            yield Check(
                f"{optimizer}: steps of ReLU Gaussian over orthogonal tanh",
                ratio(times[RELU], fast),
                4.0,
                kind="at_least",
                source=f"{PSG}; bar of the scaled run, best learning rate each",
            )
            yield Check(
                f"{optimizer}: steps of ReLU orthogonal over orthogonal tanh",
                ratio(times[RELU_ORTHOGONAL], fast),
                4.0,
                kind="at_least",
                source=f"{PSG}: orthogonal weights do not help ReLU materially",
            )
            yield Check(
                f"{optimizer}: steps of orthogonal tanh over Gaussian tanh",
                fast[0] / times[GAUSSIAN][0] if fast[1] else math.nan,
                1.0,
                kind="at_most",
                source=f"{PSG}: orthogonal tanh is the fastest with every optimizer",
            )
        if "sgd" in self.optimizers and self.data == "digits":
            yield Check(
                "sgd: steps of orthogonal tanh to the threshold",
                learning_time(measured, optimizer="sgd", net=ORTHOGONAL)[0],
                15.0,
                kind="at_most",
                source="bar of the scaled run (digits, L = 64, threshold 0.5)",
            )

    def _times(self, measured: xr.Dataset, optimizer: str) -> dict[str, Any]:
        return {net: learning_time(measured, optimizer=optimizer, net=net) for net in NETS}

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rows = []
        for optimizer in self.optimizers:
            times = self._times(measured, optimizer)
            fast = times[ORTHOGONAL]
            slow = times[RELU]
            if fast[1]:
                yield (
                    f"With {optimizer}, orthogonal tanh reaches {self.threshold:.0%} test accuracy "
                    f"in {fast[0]:.0f} steps at depth {self.depth}, Gaussian tanh in "
                    f"{shown(times[GAUSSIAN])}, ReLU in {shown(slow)}: "
                    f"{times_as_many(slow, fast)}."
                )
            else:
                yield f"With {optimizer}, orthogonal tanh did not learn in {fast[0]:.0f} steps."
            for net, time in times.items():
                where = {"optimizer": optimizer, "net": net}
                rate = f"{time[2]:.2g}" if time[1] else "none"
                best = float(measured.accuracy.sel(where).max())
                rows.append((optimizer, net, shown(time), rate, seeds_of(measured, **where), best))
        yield Table(
            f"Steps to {self.threshold:.0%} test accuracy: median of {self.n_seeds} seeds at the "
            "best learning rate",
            ("optimizer", "network", "steps", "learning rate", "seeds", "best accuracy seen"),
            tuple(rows),
        )
        yield Table(
            "Eigenvalues of J J^T before training (from h^1 to the last hidden layer)",
            ("network", "relative variance, theory", "measured", "largest singular value"),
            tuple(
                (
                    net,
                    float(theory.variance.sel(net=net)),
                    float(measured.start_variance.sel(net=net)),
                    float(measured.start_s_max.sel(net=net)),
                )
                for net in NETS
            ),
        )
        yield (
            "Protocol: learning rates and seeds are trained side by side and looked at after every "
            "step up to 20, then at steps 5 % apart; a race ends when the median seed of one rate "
            "has reached the threshold, so slower rates are not run to the end."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spectra.plots import plot_learning_curves, plot_time_against_variance

        n = len(self.optimizers)
        figure, axes = plot.new(1, n, size=(1.6 + 3.4 * n, 3.4), squeeze=False, sharey=True)
        for i, (ax, optimizer) in enumerate(zip(axes[0], self.optimizers, strict=True)):
            curves = {net: curve(measured, optimizer=optimizer, net=net)[:2] for net in NETS}
            plot_learning_curves(curves, threshold=self.threshold, ax=ax, legend=i == n - 1)
            ax.set_title(optimizer)
            if i:
                ax.set_ylabel("")
        figure.set_label(
            f"Test accuracy against steps at depth {self.depth}, at the best learning rate of each "
            f"network: line, median of {self.n_seeds} seeds; band, their range; dashed, the "
            "threshold. A curve ends where its race was decided."
        )
        variances = {net: float(theory.variance.sel(net=net)) for net in NETS}
        times: dict[str, dict[str, tuple[float, bool]]] = {
            str(optimizer): {
                net: learning_time(measured, optimizer=optimizer, net=net)[:2] for net in NETS
            }
            for optimizer in self.optimizers
        }
        second = plot_time_against_variance(variances, times)
        second.set_label(
            "Learning time against the predicted relative variance of the eigenvalues of J J^T, "
            "for each network and optimizer; a triangle is a lower bound (not learned)."
        )
        return {"learning-curves": figure, "time-and-variance": second}

    def cost(self, run: Run) -> Cost:
        n = len(self.learning_rates) * self.n_seeds
        seconds, operations, memory = seconds_of_one_step(
            ORTHOGONAL, self.depth, self.width, 0, n, self.data, self.batch_size
        )
        # Tanh networks are decided early, those of ReLU often not at all.
        steps = len(self.optimizers) * (2.0 * self.max_steps + 0.6 * self.max_steps)
        return Cost(steps * operations, memory, steps * seconds)
