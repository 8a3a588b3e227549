"""Simple and complex cells: whose receptive field depends on the image around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from torch import Tensor

ONE = {"units": "1"}
SOURCE = "arXiv:1901.00945, figure 5"
RECIPE = "bar of the scaled run on CIFAR-10 in gray at 16 pixels"
LAYERS = ("retina_2", "vvs_1", "vvs_2")
STATISTICS = ("complexity", "cosine", "f1_f0")
CELLS = ("rectified filter", "squared filter", "quadrature pair")
SIDE_PLANTED, N_PLANTED, PHASES_PLANTED, CYCLES_PLANTED = 17, 400, 64, 0.2


@dataclass(frozen=True)
class RetinaComplexity(Study):
    """Cells grow more complex from the retina to V1 and V2."""

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
            "n_test": 80,
            "signatures": False,
        },
        "paper": {
            "data": "cifar10",
            "n_seeds": 10,
            "size": 32,
            "kernel": 9,
            "retina_channels": 32,
            "vvs_channels": 32,
            "head": (1024,),
            "pool": 1,
            "recipe": "paper",
        },
    }

    data: Literal["auto", "cifar10", "shapes"] = "auto"
    """Images: CIFAR-10 in gray, generated shapes, or CIFAR-10 where it is at hand."""
    n_bn: Annotated[int, Range(1, 1000)] = 1
    """Channels of the bottleneck."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks, with two layers behind the bottleneck."""
    n_init: Annotated[int, Range(2, 1000)] = 10
    """Random images around black at which each field is taken."""
    size: Annotated[int, Range(16, 32)] = 16
    """Side of the images in pixels; divides 32."""
    kernel: Annotated[int, Range(3, 15)] = 5
    """Side of the kernels, odd."""
    retina_channels: Annotated[int, Range(1, 1000)] = 8
    """Channels of the retina's first layer."""
    vvs_channels: Annotated[int, Range(1, 1000)] = 16
    """Channels of the layers behind the bottleneck."""
    head: Annotated[tuple[int, ...], Range(1, 10_000)] = (64,)
    """Hidden units of the readout."""
    pool: Annotated[int, Range(1, 16)] = 2
    """Average pooling before the readout."""
    noise_in: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Standard deviation of the noise on the training images; none when the cells are judged."""
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

    def net(self) -> dict[str, Any]:
        """Return the arguments of the network."""
        return {
            "n_bn": self.n_bn,
            "d_vvs": 2,
            "kernel": self.kernel,
            "retina_channels": self.retina_channels,
            "vvs_channels": self.vvs_channels,
            "pool": self.pool,
            "head": list(self.head),
            "noise_in": self.noise_in,
        }

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_codes import complex_net
        from tractable.studies.vision._retina_nets import joined, resolved

        data = resolved(self.data)
        if data == "shapes":
            run.say("The images are generated shapes: a demonstration, no signature is asserted.")
        recipe = {"steps": self.steps, "learning_rate": self.learning_rate}
        points = [
            {
                "model": self.net(),
                "recipe": "paper" if self.recipe == "paper" else recipe,
                "data": data,
                "size": self.size,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "seed": run.seed + i,
                "layers": list(LAYERS),
                "n_init": self.n_init,
                "device": str(run.device),
            }
            for i in range(self.n_seeds)
        ]
        nets = joined(run.map(complex_net, points))
        nets["seed"] = ("net", [point["seed"] for point in points], ONE)
        found = planted(run.seed)
        for i, name in enumerate(STATISTICS):
            nets[f"planted_{name}"] = ("cell", found[:, i], ONE)
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return complexity, cosine and F1 / F0 of the cells for which they are known."""
        import xarray as xr
        from scipy.stats import binom

        even, odd = (field.ravel() / field.std() for field in quadrature())
        positive = np.arange(N_PLANTED + 1)
        signs = np.sqrt(1 - (2 * positive / N_PLANTED - 1) ** 2)
        spread = float(binom.pmf(positive, N_PLANTED, 0.5) @ signs)
        known = {
            "complexity": (0.0, 0.1 * spread * np.abs(even).mean(),
                           0.1 * np.sqrt((even**2 + odd**2) / 2).mean()),
            "cosine": (1.0, 1.0, 2 / np.pi),
            "f1_f0": (np.pi / 2, 0.0, 0.0),
        }  # fmt: skip
        data = {name: ("cell", np.array(values), ONE) for name, values in known.items()}
        return xr.Dataset(data, coords={"cell": list(CELLS)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        sources = {
            "complexity": (0.003, "definition: one shape of two signs, and a turning phase"),
            "cosine": (0.02, "a quadrature pair turns its phase evenly: mean |cos| = 2 / pi"),
            "f1_f0": (0.01, "pi / 2 for a rectified cosine, 0 where the sign of phase is lost"),
        }
        for name, (tolerance, source) in sources.items():
            gap = np.abs(measured[f"planted_{name}"].values - theory[name].values)
            yield Check(
                f"largest gap of {name} of the planted cells",
                float(gap.max()), 0.0, atol=tolerance, source=source,
            )  # fmt: skip
        yield Check(
            "networks with a dead bottleneck",
            int((measured["active"].values == 0).sum()), 0, source=RECIPE,
        )  # fmt: skip
        if not (self.signatures and measured.attrs["data"] == "cifar10"):
            return
        means = layer_means(measured, "complexity")
        ordered = (np.diff(means, axis=1) > 0).all(1)
        yield Check(
            "F5: share of networks with complexity retina < V1 < V2",
            float(ordered.mean()),
            2 / 3 - 1e-9,
            kind="at_least",
            source=f"{SOURCE}; {RECIPE}",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        for layer, name in zip(LAYERS, ("retina", "V1", "V2"), strict=True):
            values = {k: living(measured[f"{layer}_{k}"].values) for k in
                      ("complexity", "cosine", "natural", "f1_f0", "selectivity")}  # fmt: skip
            cells, all_cells = values["complexity"], measured[f"{layer}_used"].values
            n = int(np.isfinite(all_cells).sum())
            if not len(cells):
                yield f"{name}: none of {n} cells has a gradient at two random images."
                continue
            error = 1.96 * cells.std(ddof=1) / np.sqrt(len(cells)) if len(cells) > 1 else np.nan
            simple = values["f1_f0"] > 1
            share = f"{simple.mean():.0%} of {len(simple)}" if len(simple) else "none"
            yield (
                f"{name}: complexity {cells.mean():.4f} +- {error:.4f} over {len(cells)} of {n} "
                f"cells (the others have no gradient around black); at test images complexity "
                f"{values['natural'].mean() if len(values['natural']) else np.nan:.4f}, mean "
                f"|cosine| {values['cosine'].mean() if len(values['cosine']) else np.nan:.3f}; "
                f"{share} cells that answer to gratings are simple (F1 / F0 > 1)."
            )
        yield table_of_nets(measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._retina_code_figures import complexity_figures

        return complexity_figures(theory, measured, list(LAYERS))

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        steps = 20 * 782 if self.recipe == "paper" else self.steps
        return training_cost([(self.net(), self.n_seeds)], self.size, steps, str(run.device))


def quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return an even and an odd Gabor function, mean 0, of equal norm, at right angles."""
    half = SIDE_PLANTED // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    envelope = np.exp(-(x**2 + y**2) / 32)
    even = envelope * np.cos(2 * np.pi * CYCLES_PLANTED * x)
    even = even - even.mean()
    odd = envelope * np.sin(2 * np.pi * CYCLES_PLANTED * x)
    return even / np.linalg.norm(even), odd / np.linalg.norm(odd)


def planted(seed: int) -> np.ndarray:
    """Return complexity, cosine and F1 / F0 of the planted cells, as measured, (cell, 3)."""
    import torch

    from tractable.core.seeds import derive
    from tractable.vision.retina import complexity, gratings

    even, odd = (torch.as_tensor(field.ravel()) for field in quadrature())

    def drive(x: Tensor, field: Tensor) -> Tensor:
        return (x.flatten(1) @ field.to(x))[:, None]

    cells: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: drive(x, even).relu(),
        lambda x: drive(x, even) ** 2,
        lambda x: drive(x, even) ** 2 + drive(x, odd) ** 2,
    )
    shape = (1, SIDE_PLANTED, SIDE_PLANTED)
    rows = []
    for cell in cells:
        found = complexity(cell, shape=shape, n_init=N_PLANTED, seed=derive(seed, "planted"))
        tuning = gratings(cell, shape=shape, sf=[CYCLES_PLANTED], n_theta=4, n_phase=PHASES_PLANTED)
        rows.append((found.complexity[0], found.cosine[0], tuning.ratio()[0]))
    return np.array(rows)


def living(values: np.ndarray) -> np.ndarray:
    """Return the finite entries."""
    return values[np.isfinite(values)]


def layer_means(measured: xr.Dataset, name: str) -> np.ndarray:
    """Return means over the living cells, shape (network, layer); NaN where all are silent."""
    found = np.full((measured.sizes["net"], len(LAYERS)), np.nan)
    for j, layer in enumerate(LAYERS):
        for i, values in enumerate(measured[f"{layer}_{name}"].values):
            if len(living(values)):
                found[i, j] = living(values).mean()
    return found


def table_of_nets(measured: xr.Dataset) -> Table:
    """Return one row per network."""
    columns = ["seed", "accuracy", "active"]
    rows: list[list[Any]] = [
        [int(one["seed"]), round(float(one["accuracy"]), 3), round(float(one["active"]), 2)]
        for one in (measured.isel(net=i) for i in range(measured.sizes["net"]))
    ]
    labels = {"complexity": "complexity", "cosine": "cosine", "f1_f0": "simple"}
    for name, label in labels.items():
        for j, where in enumerate(("retina", "V1", "V2")):
            columns.append(f"{label}, {where}")
            for i, row in enumerate(rows):
                cells = living(measured[f"{LAYERS[j]}_{name}"].values[i])
                value = np.mean(cells > 1) if name == "f1_f0" else np.mean(cells)
                row.append(round(float(value), 4) if len(cells) else "")
    return Table("Networks: means over living cells", tuple(columns), tuple(map(tuple, rows)))
