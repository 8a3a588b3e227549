"""A relay behind the bottleneck: whether the LGN stays center-surround."""

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

ONE = {"units": "1"}
RECIPE = "bar of the scaled run on CIFAR-10 in gray at 16 pixels"


@dataclass(frozen=True)
class RetinaLgn(Study):
    """A relay layer as narrow as the retina keeps center-surround cells."""

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
            "n_seeds": 1,
            "steps": 4,
            "n_train": 100,
            "n_test": 40,
            "signatures": False,
        },
        "paper": {"data": "cifar10", "n_seeds": 10, "steps": 15_640},
    }

    data: Literal["auto", "cifar10", "shapes"] = "auto"
    """Images: CIFAR-10 in gray, generated shapes, or CIFAR-10 where it is at hand."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks."""
    size: Annotated[int, Range(16, 32)] = 16
    """Side of the images in pixels; divides 32."""
    noise_in: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Standard deviation of the noise on the training images."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 2500
    """Updates."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Learning rate."""
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

    def net(self) -> dict[str, Any]:
        """Return the arguments of the network."""
        return {
            "n_bn": 1,
            "d_vvs": 1,
            "kernel": 5,
            "retina_channels": 8,
            "vvs_channels": 16,
            "pool": 2,
            "head": [64],
            "noise_in": self.noise_in,
            "lgn_layers": 1,
        }

    def work(self) -> tuple[list[tuple[dict[str, Any], int]], int, int]:
        """Return the networks with their numbers of seeds, the size and the updates of each."""
        return [(self.net(), self.n_seeds)], self.size, self.steps

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_cost import say_cost
        from tractable.studies.vision._retina_nets import joined, resolved, train_net

        data = resolved(self.data)
        if data == "shapes":
            run.say("The images are generated shapes: a demonstration, no signature is asserted.")
        points = [
            {
                "model": self.net(),
                "recipe": {"steps": self.steps, "learning_rate": self.learning_rate},
                "data": data,
                "size": self.size,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "seed": run.seed + i,
                "layers": ["retina_2", "lgn_1", "vvs_1"],
                "device": str(run.device),
            }
            for i in range(self.n_seeds)
        ]
        say_cost(run, *self.work())
        nets = joined(run.map(train_net, points))
        nets["n_bn"] = ("net", [1] * len(points), ONE)
        nets["seed"] = ("net", [point["seed"] for point in points], ONE)
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the bounds of the claims: what chance gives."""
        import xarray as xr

        from tractable.vision.retina import anisotropy_floor

        a, radial = anisotropy_floor(self.size)
        return xr.Dataset({"noise_anisotropy": ((), a, ONE), "noise_radial": ((), radial, ONE)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        from tractable.studies.vision._retina_summary import alive, median, share

        yield Check(
            "networks with a dead bottleneck", int((~alive(measured)).sum()), 0, source=RECIPE
        )
        lgn, v1 = median(measured, "lgn_1_anisotropy"), median(measured, "vvs_1_anisotropy")
        radial, floor = median(measured, "lgn_1_radial"), float(theory["noise_radial"])
        yield Check(
            "median radial fraction of the LGN over that of white noise",
            float(np.nanmedian(radial)) / floor if floor else float("nan"),
            3.0 if self._asserted(measured) else 0.1,
            kind="at_least",
            source="white noise of the same size",
        )
        if self._asserted(measured):
            yield Check(
                "share of seeds with A(LGN) < median A(V1)",
                share(lgn < v1), 0.8, kind="at_least",
                source=f"arXiv:1901.00945, figure 2D; {RECIPE}",
            )  # fmt: skip

    def _asserted(self, measured: xr.Dataset) -> bool:
        return self.signatures and measured.attrs["data"] == "cifar10"

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._retina_summary import census, median, table_of_nets
        from tractable.vision.retina.fields import support

        for layer, name in (("retina_2", "retina"), ("lgn_1", "LGN"), ("vvs_1", "V1")):
            a, radial = median(measured, f"{layer}_anisotropy"), median(measured, f"{layer}_radial")
            yield (
                f"{name}: anisotropy {np.nanmedian(a):.2f} ({np.nanmin(a):.2f} to "
                f"{np.nanmax(a):.2f}), radial fraction {np.nanmedian(radial):.2f} "
                f"({np.nanmin(radial):.2f} to {np.nanmax(radial):.2f}) over seeds."
            )
        yield census(measured)
        wide = support(4, self.net()["kernel"])  # two layers of the retina, LGN, V1
        if wide > self.size:
            yield (
                f"The fields of V1 are {wide} pixels wide, more than the image of {self.size}: its "
                "edges cut them off."
            )
        layers = {"retina_2": "retina", "lgn_1": "LGN", "vvs_1": "V1"}
        yield table_of_nets(measured, layers, "Networks")

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._retina_figures import fields, roundness

        return {"fields": fields(measured), "roundness": roundness(measured)}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        return training_cost(*self.work(), str(run.device))
