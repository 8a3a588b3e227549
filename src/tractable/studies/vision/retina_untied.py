"""A retina without shared weights: ON and OFF cells over its positions."""

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
class RetinaUntied(Study):
    """A retina with a kernel of its own at every position mixes ON and OFF cells."""

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
            "spacing": 4,
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
    spacing: Annotated[int, Range(1, 8)] = 1
    """Pixels between two places of the mosaic."""
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

    @property
    def places(self) -> range:
        """Rows and columns of the mosaic: the middle half of the map."""
        return range(self.size // 4, 3 * self.size // 4, self.spacing)

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
            "tied": "bottleneck",
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
                "layers": ["retina_2", "vvs_1"],
                "device": str(run.device),
                "positions": [[r, c] for r in self.places for c in self.places],
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
        from tractable.studies.vision._retina_summary import alive

        yield Check(
            "networks with a dead bottleneck", int((~alive(measured)).sum()), 0, source=RECIPE
        )
        radial = float(np.nanmedian(measured["mosaic_radial"].values))
        floor = float(theory["noise_radial"])
        yield Check(
            "median radial fraction over that of white noise",
            radial / floor if floor else float("nan"),
            1.5 if self._asserted(measured) else 0.1,
            kind="at_least",
            source="white noise of the same size",
        )
        if not self._asserted(measured):
            return
        on = measured["mosaic_sign"].values > 0
        source = f"arXiv:1901.00945, figure 2E, F: ON and OFF mix over positions; {RECIPE}"
        for name, share in (("ON", on.mean()), ("OFF", (~on).mean())):
            yield Check(
                f"share of {name} cells over positions and seeds",
                float(share), 0.1, kind="at_least", source=source,
            )  # fmt: skip
        by_net = np.minimum(on.mean(1), (~on).mean(1))
        yield Check(
            "least share of the rarer sign in a network", float(by_net.min()), 0.1,
            kind="at_least", source=source,
        )  # fmt: skip

    def _asserted(self, measured: xr.Dataset) -> bool:
        return self.signatures and measured.attrs["data"] == "cifar10"

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._retina_summary import census, table_of_nets

        on = measured["mosaic_sign"].values > 0
        a, radial = measured["mosaic_anisotropy"].values, measured["mosaic_radial"].values
        yield (
            f"{on.mean():.0%} of {on.size} cells are ON, {(~on).mean():.0%} OFF; by network the "
            f"ON share is {', '.join(f'{share:.2f}' for share in on.mean(1))}."
        )
        yield (
            f"Their median anisotropy is {np.nanmedian(a):.2f}, their median radial fraction "
            f"{np.nanmedian(radial):.2f} (white noise {float(theory.noise_radial):.2f}); "
            f"{float(np.mean((a < 0.2) & (radial >= 0.6))):.0%} are center-surround by the bars of "
            "the tied retina (A < 0.2, radial fraction >= 0.6)."
        )
        yield census(measured)
        yield table_of_nets(measured, {"retina_2": "center cell", "vvs_1": "V1"}, "Networks")

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.vision.retina.plots import plot_place_mosaic

        one = measured.isel(net=0)
        figure = plot_place_mosaic(one["mosaic_rf"].values, one["mosaic_place"].values)
        figure.set_label(
            "Receptive fields of an untied retina at their positions, each with its own symmetric "
            "scale: red excites, blue inhibits. Mean gradient of the pre-activation over 64 test "
            "images."
        )
        return {"mosaic": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        return training_cost(*self.work(), str(run.device))
