"""Does recurrence pay on real images? Equally many parameters, clean and spoiled images."""

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

Net = Literal["feedforward", "timedecay", "vanilla", "vanilla+norm", "ugrnn", "gru", "lstm", "rgc"]
NAYEBI = "arXiv:1807.00053: gated cells with bypassing pay at equal parameters; lstm does not"
ONE = {"units": "1"}
FORMULA = "closed form: 2 (kC^2 + C) vanilla, 6kC^2 + 3C GRU, 8kC^2 + 4C LSTM, 5 (kC^2 + C) RGC"
CONDITIONS = ("clean", "occluded", "noisy")


@dataclass(frozen=True)
class ConvrnnCifar(Study):
    """Recurrent cells on real images at equally many parameters: clean, occluded, noisy."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {
            "data": "digits",
            "nets": ("feedforward", "rgc"),
            "width": 4,
            "n_seeds": 1,
            "n_steps": 3,
            "steps": 2,
            "batch_size": 8,
            "n_test": 40,
            "signatures": False,
        },
        "long": {"steps": 600, "n_test": 2000},
        "paper": {
            "data": "folder",
            "architecture": "intermediate",
            "nets": ("timedecay", "vanilla", "ugrnn", "gru", "lstm", "rgc"),
            "size": 224,
            "n_steps": 17,
            "image_off": 12,
            "n_seeds": 3,
            "steps": 450_000,
            "batch_size": 256,
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "n_test": 50_000,
        },
        "shallow": {
            "data": "folder",
            "architecture": "shallow",
            "nets": ("timedecay", "vanilla", "ugrnn", "gru", "lstm", "rgc"),
            "size": 224,
            "n_steps": 16,
            "image_off": 12,
            "n_seeds": 3,
            "steps": 450_000,
            "batch_size": 256,
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "n_test": 50_000,
        },
    }

    data: Literal["auto", "cifar10", "digits", "folder"] = "auto"
    """Images: auto is CIFAR-10 where it is at hand, else digits; or a folder of your own."""
    images: str = ""
    """Folder for data=folder, as ImageNet comes: train/<class>/*.jpg and val/<class>/*.jpg."""
    architecture: Literal["small", "shallow", "intermediate"] = "small"
    """Three layers at equal parameters; or the published ones of 6 and of 11 layers."""
    nets: tuple[Net, ...] = ("feedforward", "vanilla", "vanilla+norm", "lstm", "gru", "rgc")
    """Networks; small ones have as many parameters as the reciprocal-gated one."""
    width: Annotated[int, Range(2, 512)] = 12
    """Channels of the lower reciprocal-gated cell; the upper one has twice as many."""
    size: Annotated[int, Range(8, 512)] = 16
    """Side of the images: CIFAR-10's 32 pixels are averaged to these."""
    n_steps: Annotated[int, Range(1, 200)] = 5
    """Steps T."""
    image_off: Annotated[int, Range(0, 200)] = 0
    """Steps after which the image gives way to gray; 0: it stays."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind."""
    steps: Annotated[int, Range(1, 10_000_000, log=True)] = 100
    """Updates."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 64
    """Images of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    weight_decay: Annotated[float, Range(0.0, 10.0)] = 1e-4
    """Decoupled from the gradient."""
    occluded: Annotated[float, Range(0.0, 0.9)] = 0.25
    """Share of the pixels that are hidden in occluded test images."""
    noise: Annotated[float, Range(0.0, 10.0)] = 0.1
    """Standard deviation of the noise on noisy test images; pixels lie in 0 .. 1."""
    n_test: Annotated[int, Range(10, 1_000_000, log=True)] = 1000
    """Test images, at most all there are."""
    n_devices: Annotated[int, Range(0, 1024)] = 0
    """Above 0: train on so many devices with lightning-fabric."""
    signatures: bool = True
    """Assert the paper's claim."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.nets or len(set(self.nets)) < len(self.nets):
            raise ValueError(f"nets must name each once, and at least one, got {self.nets}")
        if self.image_off > self.n_steps:
            raise ValueError(
                f"image_off must be at most n_steps = {self.n_steps}, got {self.image_off}"
            )
        if self.architecture != "small" and "feedforward" in self.nets:
            raise ValueError("nets of the published architectures are recurrent: drop feedforward")

    @property
    def chosen(self) -> str:
        """The images that ``auto`` stands for on this machine."""
        from tractable.data import locate

        if self.data == "auto":
            return "cifar10" if locate("cifar10") else "digits"
        return self.data

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        from tractable.data import files

        return [*super().files(), *(files("cifar10") if self.chosen == "cifar10" else ())]

    # --- measurement -------------------------------------------------------------------------

    def _points(self, seed: int, device: str) -> list[dict[str, Any]]:
        from tractable.studies.vision._convrnn_cifar_parts import image_spec

        shared = {
            name: getattr(self, name)
            for name in (
                *("images", "size", "n_steps", "image_off", "steps", "batch_size", "n_test"),
                *("learning_rate", "weight_decay", "occluded", "noise", "n_devices"),
            )
        }
        classes = 1000 if self.chosen == "folder" else 10
        colors = 1 if self.chosen == "digits" else 3
        return [
            {
                "spec": image_spec(self.architecture, net, self.width, colors, classes).to_json(),
                "data": self.chosen,
                "seed": seed + number,
                "device": device,
                **shared,
                **({"n_steps": 1, "image_off": 0} if net == "feedforward" else {}),
            }
            for net in self.nets
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_cifar_parts import train_images

        if self.data == "auto":
            names = {"cifar10": "CIFAR-10", "digits": "scikit-learn's digits; CIFAR-10 is not here"}
            run.say(f"Images: {names[self.chosen]}.")
        parts = run.map(train_images, self._points(run.seed, str(run.device)))
        rows = [
            xr.concat(parts[i * self.n_seeds : (i + 1) * self.n_seeds], "seed", join="outer")
            for i in range(len(self.nets))
        ]
        return xr.concat(rows, "net", join="outer").assign_coords(
            net=list(self.nets), seed=np.arange(run.seed, run.seed + self.n_seeds)
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Count parameters by formula; chance."""
        import xarray as xr

        from tractable.studies.vision._convrnn_sizes import image_parameters, match_image_channels

        data: dict[str, Any] = {"chance": ((), 0.1 if self.chosen != "folder" else 1e-3, ONE)}
        if self.architecture == "small":
            colors = 1 if self.chosen == "digits" else 3
            sizes = [match_image_channels(net, self.width, colors) for net in self.nets]
            counts = [
                image_parameters(net, *size, colors)
                for net, size in zip(self.nets, sizes, strict=True)
            ]
            data["parameters"] = ("net", counts, ONE)
        return xr.Dataset(data, coords={"net": list(self.nets)})

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        if "parameters" in theory:
            wrong = float(abs(measured.parameters - theory.parameters).max())
            yield Check("parameters off the formula", wrong, 0, source=FORMULA)
            spread = measured.parameters.max() / measured.parameters.min() - 1
            yield Check(
                "parameters, largest network over the smallest, less one",
                float(spread),
                0.02,
                kind="at_most",
                source="a fair comparison",
            )
        if not self.signatures:
            return
        clean = measured.accuracy.sel(condition="clean")
        yield Check(
            "clean images: least accuracy of all networks and seeds, over chance",
            float(clean.min() / theory.chance),
            2.0,
            kind="at_least",
            source="what names one class, or is tested on one, is at chance or at nothing",
        )
        mean = measured.accuracy.mean("seed")
        for condition in CONDITIONS[1:]:
            gain = float((mean.sel(condition=condition) - mean.sel(condition="clean")).max())
            yield Check(
                f"{condition}: largest gain over clean images",
                gain,
                0.0,
                0.02,
                kind="at_most",
                source="what is hidden does not help",
            )
        if {"feedforward", "rgc"} <= set(self.nets):
            clean = mean.sel(condition="clean")
            yield Check(
                "reciprocal-gated over feedforward, clean images, mean of the seeds",
                float(clean.sel(net="rgc") - clean.sel(net="feedforward")),
                0.0,
                kind="at_least",
                source=NAYEBI,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._convrnn_figures import TITLES

        mean = measured.accuracy.mean("seed")
        error = measured.accuracy.std("seed", ddof=1) / np.sqrt(self.n_seeds)
        for condition in CONDITIONS:
            values = mean.sel(condition=condition)
            ranked = values.sortby(values, ascending=False)
            named = ", ".join(
                f"{TITLES[str(n)]} {float(ranked.sel(net=n)):.3f}" for n in ranked.net.values
            )
            said = f"{condition.capitalize()} images, mean of {self.n_seeds} seeds: {named}"
            largest = float(error.sel(condition=condition).max())
            yield (
                f"{said}; standard errors up to {largest:.3f}." if self.n_seeds > 1 else f"{said}."
            )
        rows = []
        for net in self.nets:
            one = measured.sel(net=net)
            rows.append(
                (
                    TITLES[net],
                    int(one.parameters[0]),
                    float(one.macs[0]) / 1e6,
                    *(
                        " / ".join(f"{a:.3f}" for a in one.accuracy.sel(condition=c).values)
                        for c in CONDITIONS
                    ),
                )
            )
        columns = ("network", "parameters", "million operations per image", *CONDITIONS)
        yield Table("Test accuracy, each seed", columns, tuple(rows))
        if self.architecture != "small":
            clean = mean.sel(condition="clean")
            published = released(self.architecture)
            yield Table(
                "ImageNet top-1, published (model zoo of the authors) and here",
                ("network", "published", "here"),
                tuple(
                    (TITLES[n], published.get(n, "-"), float(clean.sel(net=n))) for n in self.nets
                ),
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision import _convrnn_figures as draw

        return {
            "accuracy": draw.image_accuracies(theory, measured),
            "steps": draw.accuracy_by_step(theory, measured),
            "speed": draw.speed_against_accuracy(measured),
        }

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_cifar_parts import image_cost, image_weight

        points = self._points(run.seed, str(run.device))[:: self.n_seeds]
        # The last network is timed over its whole course; the others cost by their single step.
        operations, memory, seconds = image_cost(**points[-1])
        weights = np.array([image_weight(**point) for point in points]) / image_weight(**points[-1])
        total = self.n_seeds * float(weights.sum())
        return Cost(total * operations, memory * float(weights.max()), seconds * total)


def released(architecture: str) -> dict[str, float]:
    """Return the top-1 accuracy on ImageNet of the released networks, by cell."""
    from tractable.vision.convrnn import ZOO

    return {cell: round(top / 100, 4) for name, cell, top, _ in ZOO if name == architecture}
