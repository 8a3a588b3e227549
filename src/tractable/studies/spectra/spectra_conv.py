"""Deep convolutional networks without normalization: delta-orthogonal kernels against Gaussian."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.spectra._race import ONE, race, seconds_of_one_step
from tractable.studies.spectra._race_results import (
    curve,
    files_of,
    gather,
    learning_time,
    ratio,
    seeds_of,
    shown,
    times_as_many,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

XIAO = "arXiv:1806.05393"
# What the race calls them; all convolutions of an orthogonal scheme are delta-orthogonal.
NETS = {"delta-orthogonal": "tanh orthogonal", "Gaussian": "tanh Gaussian"}
KERNELS = ("delta-orthogonal", "Gaussian", "torch orthogonal_")


@dataclass(frozen=True)
class SpectraConv(Study):
    """Very deep convolutional tanh networks: delta-orthogonal kernels against Gaussian ones."""

    paper: ClassVar = Paper(
        "Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington",
        2018,
        "Dynamical isometry and a mean field theory of CNNs: how to train 10,000-layer vanilla "
        "convolutional neural networks",
        arxiv="1806.05393",
    )
    presets: ClassVar = {
        "smoke": {
            "depth": 4,
            "channels": 4,
            "learning_rates": (0.03, 0.1),
            "n_seeds": 1,
            "n_train": 256,
            "n_test": 64,
            "batch_size": 64,
            "threshold": 0.4,
            "max_steps": 6,
            "signatures": False,
        },
        "paper": {
            "data": "cifar10",
            "depth": 1000,
            "channels": 128,
            "learning_rates": (1e-5, 1e-4, 1e-3, 1e-2),
            "n_test": 2000,
            "threshold": 0.4,
            "max_steps": 20_000,
        },
    }

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images: scikit-learn's digits (no file needed), MNIST, or CIFAR-10."""
    depth: Annotated[int, Range(2, 20_000, log=True)] = 64
    """Convolutional layers L, each 3 x 3 with circular padding."""
    channels: Annotated[int, Range(1, 4096, log=True)] = 16
    """Channels of each layer."""
    q_star: Annotated[float, Range(1e-6, 10.0, log=True)] = 0.02592094821
    """Fixed point q*; the default is that of sigma_w^2 = 1.05."""
    learning_rates: Annotated[tuple[float, ...], Range(1e-8, 10.0)] = (0.01, 0.03, 0.1)
    """Learning rates of plain gradient descent."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Seeds, of weights and order of the images."""
    threshold: Annotated[float, Range(0.0, 1.0)] = 0.5
    """Test accuracy whose first step is the learning time."""
    n_train: Annotated[int, Range(0, 1_000_000)] = 0
    """Training images; 0: all there are."""
    n_test: Annotated[int, Range(1, 1_000_000)] = 128
    """Test images."""
    batch_size: Annotated[int, Range(1, 100_000, log=True)] = 64
    """Images of a step."""
    max_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 60
    """Steps after which a network that has not learned is given up."""
    signatures: bool = True
    """Assert the published signatures."""

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        return [*super().files(), *files_of(self.data)]

    def measure(self, run: Run) -> xr.Dataset:
        points = [
            {
                "net": net,
                "depth": self.depth,
                "width": 0,
                "channels": self.channels,
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
            for net in NETS.values()
        ]
        races = run.map(race, points)
        named = {(name,): one for name, one in zip(NETS, races, strict=True)}
        measured = gather(named, ("net",))
        size = {"digits": 8, "mnist": 28, "cifar10": 32}[self.data]
        spectra = kernel_spectra(self.channels, size, self.q_star, run.seed)
        return measured.merge(spectra)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the singular values of one layer's operator on whole maps.

        Delta-orthogonal: sigma_w, all of them. Gaussian: the mean of the squares is sigma_w^2, and
        each spatial frequency has the spectrum of a Gaussian matrix.
        """
        import xarray as xr

        from tractable.spectra import critical_line, variance_per_layer

        sigma_w = float(critical_line("tanh", [self.q_star]).sigma_w[0])
        v = variance_per_layer("tanh", self.q_star)
        return xr.Dataset(
            {
                "singular_value": ((), sigma_w, ONE),
                "variance": ("net", [self.depth * v, self.depth * (v + 1) - 1], ONE),
            },
            coords={"net": list(NETS)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        sigma_w = float(theory.singular_value)
        own = measured.operator.sel(kernel="delta-orthogonal")
        for end, value in (("smallest", own.min()), ("largest", own.max())):
            yield Check(
                f"delta-orthogonal layer: {end} singular value of the operator",
                float(value),
                sigma_w,
                atol=1e-5,
                source=f"{XIAO}, section 3: an orthogonal map at every place",
            )
        other = measured.operator.sel(kernel="torch orthogonal_")
        yield Check(
            "torch orthogonal_ layer: largest over smallest singular value of the operator",
            float(other.max() / max(float(other.min()), 1e-12)),
            1.5,
            kind="at_least",
            source="exact: it makes the flattened kernel orthogonal, not the operator",
        )
        if not self.signatures:
            return
        fast, slow = (learning_time(measured, net=net) for net in NETS)
        yield Check(
            "steps of delta-orthogonal over Gaussian kernels",
            1 / ratio(slow, fast) if fast[1] else math.nan,
            1 / 3,
            kind="at_most",
            source=f"{XIAO}; bar of the scaled run (digits, 64 layers, 16 channels)",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        fast, slow = (learning_time(measured, net=net) for net in NETS)
        yield (
            f"A plain {self.depth}-layer convolutional tanh network reaches {self.threshold:.0%} "
            f"test accuracy in {shown(fast)} steps with delta-orthogonal kernels and in "
            f"{shown(slow)} with Gaussian ones: {times_as_many(slow, fast)}."
        )
        yield Table(
            f"Steps to {self.threshold:.0%} test accuracy: median of {self.n_seeds} seeds at the "
            "best learning rate",
            ("kernels", "steps", "learning rate", "seeds"),
            tuple(
                (
                    net,
                    shown(time),
                    f"{time[2]:.2g}" if time[1] else "none",
                    seeds_of(measured, net=net),
                )
                for net, time in zip(NETS, (fast, slow), strict=True)
            ),
        )
        yield Table(
            "Singular values of one layer as an operator on whole maps",
            ("kernel", "smallest", "median", "largest"),
            tuple(
                (
                    kernel,
                    *(float(q) for q in measured.operator.sel(kernel=kernel).quantile([0, 0.5, 1])),
                )
                for kernel in KERNELS
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spectra.plots import plot_learning_curves

        figure, (left, right) = plot.new(1, 2, size=(11.0, 3.6))
        share = np.linspace(0, 1, measured.sizes["mode"])
        for kernel, color in zip(KERNELS, ("#0072B2", "#56B4E9", "#D55E00"), strict=True):
            values = np.sort(measured.operator.sel(kernel=kernel).values)
            at = np.linspace(0, len(values) - 1, 60).astype(int)
            plot.measurement(left, values[at], share[at], label=kernel, color=color, ms=3)
        plot.theory(
            left,
            [float(theory.singular_value)] * 2,
            [0, 1],
            label=r"theory: $\sigma_w$",
            color="#000000",
            lw=1.0,
        )
        left.set(xlabel="singular value of one layer's operator", ylabel="share at or below")
        left.legend(loc="upper left")
        curves = {f"{net} kernels": curve(measured, net=net)[:2] for net in NETS}
        plot_learning_curves(curves, threshold=self.threshold, ax=right)
        figure.set_label(
            f"Left, singular values of one 3 x 3 convolution of {self.channels} channels as an "
            "operator on whole maps: delta-orthogonal kernels have only one. Right, learning "
            f"curves of {self.depth} layers at the best learning rate: median and range of seeds."
        )
        return {"convolutions": figure}

    def cost(self, run: Run) -> Cost:
        n = len(self.learning_rates) * self.n_seeds
        seconds, operations, memory = seconds_of_one_step(
            "tanh orthogonal",
            self.depth,
            0,
            min(self.channels, 64),
            n,
            self.data,
            self.batch_size,
        )
        size = {"digits": 64, "mnist": 784, "cifar10": 1024}[self.data] / 64
        grow = size * (self.channels / min(self.channels, 64)) ** 2
        steps = 0.6 * self.max_steps
        return Cost(steps * operations * grow, memory * grow, steps * seconds * grow)


def kernel_spectra(channels: int, size: int, q_star: float, seed: int) -> xr.Dataset:
    """Return the operators' singular values of the three kinds of kernel, all of scale sigma_w."""
    import torch
    import xarray as xr
    from torch import nn

    from tractable.core.seeds import derive, generator
    from tractable.spectra import critical_line, delta_orthogonal, operator_singular_values

    sigma_w = float(critical_line("tanh", [q_star]).sigma_w[0])
    random = generator(derive(seed, "kernels"))
    shape = (channels, channels, 3, 3)
    gaussian = torch.randn(*shape, generator=random, dtype=torch.float64) / (9 * channels) ** 0.5
    theirs = torch.empty(*shape, dtype=torch.float64)
    nn.init.orthogonal_(theirs, generator=random)
    kernels = {
        "delta-orthogonal": delta_orthogonal(channels, channels, (3, 3), generator=random),
        "Gaussian": gaussian,
        "torch orthogonal_": theirs,
    }
    values = [
        operator_singular_values(sigma_w * kernel, (size, size)).numpy()
        for kernel in kernels.values()
    ]
    return xr.Dataset(
        {"operator": (("kernel", "mode"), np.stack(values), ONE)},
        coords={"kernel": list(kernels)},
    )
