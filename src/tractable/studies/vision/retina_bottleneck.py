"""Receptive fields before and behind a bottleneck: center-surround there, oriented here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

FIGURE = "arXiv:1901.00945, figure"
RECIPE = "bar of the scaled run on CIFAR-10 in gray at 16 pixels"
ONE = {"units": "1"}


@dataclass(frozen=True)
class RetinaBottleneck(Study):
    """A narrow optic nerve makes center-surround cells, with oriented ones right behind it."""

    paper: ClassVar = Paper(
        "Lindsey, Ocko, Ganguli, Deny",
        2019,
        "A unified theory of early visual representations from retina to cortex through "
        "anatomically constrained deep CNNs",
        arxiv="1901.00945",
    )
    presets: ClassVar = {
        "smoke": {
            "data": "shapes",
            "n_bn": (1, 4),
            "n_seeds": 1,
            "n_seeds_wide": 1,
            "steps": 2,
            "n_train": 100,
            "n_test": 40,
            "signatures": False,
        },
        "sweep": {"n_bn": (1, 2, 4, 8, 16, 32), "n_seeds_wide": 5},
        "paper": {
            "data": "cifar10",
            "n_bn": (1, 2, 4, 8, 16, 32),
            "d_vvs": 2,
            "size": 32,
            "kernel": 9,
            "retina_channels": 32,
            "retina_channels_wide": 32,
            "vvs_channels": 32,
            "head": (1024,),
            "pool": 1,
            "noise_in": 0.0,
            "recipe": "paper",
            "n_seeds": 10,
            "n_seeds_wide": 10,
        },
    }

    data: Literal["auto", "cifar10", "shapes"] = "auto"
    """Images: CIFAR-10 in gray, generated shapes, or CIFAR-10 where it is at hand."""
    n_bn: Annotated[tuple[int, ...], Range(1, 1000)] = (1, 16)
    """Channels of the bottleneck; the smallest is the narrow retina, 16 or more are wide ones."""
    d_vvs: Annotated[int, Range(0, 10)] = 1
    """Layers behind the bottleneck."""
    n_seeds: Annotated[int, Range(1, 100)] = 5
    """Networks with the narrowest bottleneck."""
    n_seeds_wide: Annotated[int, Range(1, 100)] = 2
    """Networks with each other bottleneck."""
    size: Annotated[int, Range(8, 32)] = 16
    """Side of the images in pixels; divides 32."""
    kernel: Annotated[int, Range(1, 31)] = 5
    """Side of the kernels, odd."""
    retina_channels: Annotated[int, Range(1, 1000)] = 8
    """Channels of the retina's first layer, below 4 bottleneck channels."""
    retina_channels_wide: Annotated[int, Range(1, 1000)] = 16
    """Channels of the retina's first layer, from 4 bottleneck channels on."""
    vvs_channels: Annotated[int, Range(1, 1000)] = 16
    """Channels of the layers behind the bottleneck."""
    head: Annotated[tuple[int, ...], Range(1, 10_000)] = (64,)
    """Hidden units of the readout."""
    pool: Annotated[int, Range(1, 16)] = 2
    """Average pooling before the readout."""
    noise_in: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Standard deviation of the noise on the training images."""
    recipe: Literal["cpu", "paper"] = "cpu"
    """Training: Adam for some thousand steps, or RMSprop for 20 epochs as published."""
    power: Annotated[float, Range(1e-6, 1e6, log=True)] = 0.1
    """Signal power over output noise of the efficient channel beside it."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 2500
    """Updates of the recipe cpu."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Learning rate of the recipe cpu."""
    n_train: Annotated[int, Range(0, 50_000)] = 0
    """Training images; 0: all."""
    n_test: Annotated[int, Range(0, 10_000)] = 0
    """Test images; 0: all."""
    signatures: bool = True
    """Assert the signatures, on CIFAR-10."""

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        from tractable.studies.vision._retina_nets import data_files

        return data_files(self.data)

    def net(self, n_bn: int) -> dict[str, Any]:
        """Return the arguments of the network with a bottleneck of this width."""
        inner = self.retina_channels if n_bn < 4 else self.retina_channels_wide
        return {
            "n_bn": n_bn,
            "d_vvs": self.d_vvs,
            "kernel": self.kernel,
            "retina_channels": inner,
            "vvs_channels": self.vvs_channels,
            "pool": self.pool,
            "head": list(self.head),
            "noise_in": self.noise_in,
        }

    def points(self, run: Run) -> list[dict[str, Any]]:
        """Return one point per network, seeds of the narrowest first."""
        from tractable.studies.vision._retina_nets import resolved

        narrow = min(self.n_bn)
        recipe = {"steps": self.steps, "learning_rate": self.learning_rate}
        layers = ["retina_2", *(["vvs_1"] if self.d_vvs else [])]
        return [
            {
                "model": self.net(n_bn),
                "recipe": "paper" if self.recipe == "paper" else recipe,
                "data": resolved(self.data),
                "size": self.size,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "seed": run.seed + i,
                "layers": layers,
                "device": str(run.device),
            }
            for n_bn in sorted(self.n_bn)
            for i in range(self.n_seeds if n_bn == narrow else self.n_seeds_wide)
        ]

    def work(self) -> tuple[list[tuple[dict[str, Any], int]], int, int]:
        """Return the networks with their numbers of seeds, the size and the updates of each."""
        nets = [
            (self.net(n_bn), self.n_seeds if n_bn == min(self.n_bn) else self.n_seeds_wide)
            for n_bn in self.n_bn
        ]
        return nets, self.size, 20 * 782 if self.recipe == "paper" else self.steps

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_cost import say_cost
        from tractable.studies.vision._retina_nets import joined, power_spectrum, train_net

        points = self.points(run)
        data = points[0]["data"]
        if data == "shapes":
            run.say(
                "The images are generated shapes: a demonstration, no signature of the paper is "
                "asserted. Put CIFAR-10 into $TRACTABLE_DATA/cifar10 for the experiment."
            )
        say_cost(run, *self.work())
        nets = joined(run.map(train_net, points))
        nets["n_bn"] = ("net", [point["model"]["n_bn"] for point in points], {"units": "1"})
        nets["seed"] = ("net", [point["seed"] for point in points], {"units": "1"})
        n = min(5000, self.n_train or 5000)
        nets["spectrum"] = (
            ("row", "column"),
            power_spectrum(data, self.size, n),
            {"units": "intensity^2"},
        )
        nets["n_classes"] = ((), 10 if data == "cifar10" else 6, {"units": "1"})
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the gain and the field of the efficient channel for the images' spectrum.

        Without a measurement the spectrum is 1 / f^2 of the images' usual variance.
        """
        import xarray as xr

        from tractable.studies.vision._retina_summary import rings
        from tractable.vision.retina import efficient_channel

        spectrum = power_law(self.size) if measured is None else measured["spectrum"].values
        noise = max(self.noise_in, 0.01) ** 2
        channel = efficient_channel(spectrum, noise, 1.0, self.power)
        gain = np.sqrt(channel.gain2)
        profile = rings(gain, self.size)
        return xr.Dataset(
            {
                "gain": ("frequency", profile / max(profile.max(), 1e-300), ONE),
                "rf": (("row", "column"), np.fft.fftshift(channel.rf), ONE),
            },
            coords={
                "frequency": ("frequency", np.arange(len(profile)), {"units": "cycles / image"})
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        from tractable.studies.vision._retina_summary import alive, median, narrow, share, wide

        few, many = narrow(measured), wide(measured)
        yield Check(
            "networks with a dead bottleneck", int((~alive(measured)).sum()), 0, source=RECIPE
        )
        chance = 1 / float(measured["n_classes"])
        yield Check(
            "least accuracy over chance",
            float(measured["accuracy"].min()) / chance,
            1.5 if self.signatures else 0.5,
            kind="at_least",
            source="half of the networks' usual accuracy; below it a network is not trained",
        )
        yield Check(
            "correlation of the learned with the predicted gain",
            correlation(mean_gain(few), theory["gain"].values),
            0.9 if self._asserted(measured) else -0.9,
            kind="at_least",
            source="efficient channel for the images' spectrum; bar of the scaled run",
        )
        if not self._asserted(measured):
            return
        a, radial = median(few, "retina_2_anisotropy"), median(few, "retina_2_radial")
        opposite = median(few, "retina_2_opposite")
        a_v1, radial_v1 = median(few, "vvs_1_anisotropy"), median(few, "vvs_1_radial")
        claims = {
            "A(retina) < 0.2": a < 0.2,
            "radial fraction(retina) >= 0.65": radial >= 0.65,
            "opposite over center volume(retina) >= 0.4": opposite >= 0.4,
            "median A(V1) - A(retina) > 0.2": a_v1 - a > 0.2,
            "radial fraction(retina) > radial fraction(V1)": radial > radial_v1,
        }
        for name, holds in claims.items():
            yield Check(
                f"F2B: share of seeds with {name}",
                share(holds),
                0.8,
                kind="at_least",
                source=f"{FIGURE} 2B; {RECIPE}",
            )
        if many.sizes["net"]:
            a_wide = median(many, "retina_2_anisotropy")
            yield Check(
                "F2A: share of wide networks with median A(retina) > 0.25",
                share(a_wide > 0.25),
                2 / 3,
                kind="at_least",
                source=f"{FIGURE} 2A; {RECIPE}",
            )
            yield Check(
                "F2A: median A(retina), wide minus narrow",
                float(np.nanmedian(a_wide) - np.nanmedian(a)),
                0.0,
                kind="at_least",
                source=f"{FIGURE} 2",
            )
        widths = measured["n_bn"].values
        if {1, 8} <= set(widths.tolist()):
            accuracy = measured["accuracy"].values
            yield Check(
                "F1: accuracy with 8 channels minus that with 1",
                float(accuracy[widths == 8].mean() - accuracy[widths == 1].mean()),
                0.0,
                kind="at_least",
                source=f"{FIGURE} 1D",
            )

    def _asserted(self, measured: xr.Dataset) -> bool:
        """Whether the signatures are claimed: not for generated shapes, not for a smoke run."""
        return self.signatures and measured.attrs["data"] == "cifar10" and self.d_vvs > 0

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._retina_summary import (
            census,
            median,
            narrow,
            table_of_nets,
            wide,
        )

        few, many = narrow(measured), wide(measured)
        n = few.sizes["net"]
        a, radial = median(few, "retina_2_anisotropy"), median(few, "retina_2_radial")
        opposite = median(few, "retina_2_opposite")
        signs = few["retina_2_sign"].values
        yield (
            f"With {int(few.n_bn.min())} bottleneck channel(s) the retina's output has anisotropy "
            f"{_range(a)} and radial fraction {_range(radial)} over {n} seeds; the surround has "
            f"{_range(opposite)} of the center's volume; {int((signs > 0).sum())} ON and "
            f"{int((signs < 0).sum())} OFF cells."
        )
        if "vvs_1_anisotropy" in measured:
            a_v1 = median(few, "vvs_1_anisotropy")
            yield f"Right behind it, V1 has the median anisotropy {_range(a_v1)}."
        if many.sizes["net"]:
            cells = many["retina_2_anisotropy"].values
            cells = cells[np.isfinite(cells)]
            yield (
                f"With {int(many.n_bn.min())} channels or more the retina is a mixture: of "
                f"{len(cells)} cells {int((cells >= 0.35).sum())} are oriented (A >= 0.35) and "
                f"{int((cells < 0.2).sum())} are not (A < 0.2)."
            )
        yield (
            f"The learned gain correlates at {correlation(mean_gain(few), theory.gain.values):.3f} "
            "with that of the efficient channel for these images; its best Gaussian low-pass "
            f"reaches {gaussian_correlation(mean_gain(few)):.3f}."
        )
        yield census(measured)
        layers = {"retina_2": "retina"}
        if "vvs_1_anisotropy" in measured:
            layers["vvs_1"] = "V1"
        yield table_of_nets(
            measured,
            layers,
            "Medians over the cells of each network (fields: mean gradient of the pre-activation "
            "over 128 test images)",
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._retina_figures import bottleneck_figures

        return bottleneck_figures(theory, measured, learned=mean_gain)

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        return training_cost(*self.work(), str(run.device))


def mean_gain(nets: xr.Dataset) -> np.ndarray:
    """Return the gain of the retina's output, averaged over the living cells of all networks."""
    from tractable.studies.vision._retina_summary import gain

    fields = nets["retina_2_rf"].values
    fields = fields.reshape(-1, *fields.shape[-2:])
    gains = [gain(one) for one in fields if np.isfinite(one).all() and np.abs(one).max() > 0]
    mean = np.mean(gains, axis=0) if gains else np.full(fields.shape[-1] // 2, np.nan)
    return mean / mean.max()


def correlation(learned: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation, NaN where one of the two is constant."""
    if not (np.ptp(learned) > 0 and np.ptp(predicted) > 0):
        return float("nan")
    return float(np.corrcoef(learned, predicted)[0, 1])


def gaussian_correlation(learned: np.ndarray) -> float:
    """Return the best correlation of a gain with a Gaussian low-pass."""
    f = np.arange(len(learned))
    widths = np.geomspace(0.5, 2.0 * len(f), 60)
    return max(correlation(learned, np.exp(-0.5 * (f / width) ** 2)) for width in widths)


def power_law(size: int) -> np.ndarray:
    """Return the power 1 / f^2 of modes (size, size), with the mean 0.0365 of gray photographs."""
    f = np.fft.fftfreq(size)
    radius = np.hypot(f[:, None], f[None, :])
    radius[0, 0] = 0.5 / size
    return 0.0365 * radius**-2 / (radius**-2).mean()


def _range(values: np.ndarray) -> str:
    return f"{np.nanmedian(values):.2f} ({np.nanmin(values):.2f} to {np.nanmax(values):.2f})"
