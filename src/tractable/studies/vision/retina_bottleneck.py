"""Receptive fields before and behind a bottleneck: center-surround there, oriented here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tractable.study import Cost, Paper, Range, Run, Study

if TYPE_CHECKING:
    import xarray as xr

LODG = Paper(
    "Lindsey, Ocko, Ganguli, Deny",
    2019,
    "A unified theory of early visual representations from retina to cortex through "
    "anatomically constrained deep CNNs",
    arxiv="1901.00945",
)
CPU_NET = {"size": 16, "kernel": 5, "vvs_channels": 16, "head": (64,), "pool": 2}


@dataclass(frozen=True)
class RetinaBottleneck(Study):
    """A narrow optic nerve makes center-surround cells, with oriented ones right behind it."""

    paper: ClassVar = LODG
    presets: ClassVar = {
        "smoke": {
            "data": "shapes",
            "n_bn": (1, 4),
            "n_seeds": 1,
            "n_seeds_wide": 1,
            "steps": 20,
            "n_train": 400,
            "n_test": 200,
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

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_nets import joined, power_spectrum, train_net

        points = self.points(run)
        data = points[0]["data"]
        if data == "shapes":
            run.say(
                "The images are generated shapes: a demonstration, no signature of the paper is "
                "asserted. Put CIFAR-10 into $TRACTABLE_DATA/cifar10 for the experiment."
            )
        nets = joined(run.map(train_net, points))
        nets["n_bn"] = ("net", [point["model"]["n_bn"] for point in points], {"units": "1"})
        nets["seed"] = ("net", [point["seed"] for point in points], {"units": "1"})
        n = min(5000, self.n_train or 5000)
        nets["spectrum"] = (
            ("row", "column"),
            power_spectrum(data, self.size, n),
            {"units": "intensity^2"},
        )
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        return xr.Dataset()

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        nets = [
            (self.net(n_bn), self.n_seeds if n_bn == min(self.n_bn) else self.n_seeds_wide)
            for n_bn in self.n_bn
        ]
        steps = 20 * 782 if self.recipe == "paper" else self.steps
        return training_cost(nets, self.size, steps, str(run.device))
