"""A network of one's own, looked at as a physiologist would: the cells of its layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from torch import Tensor, nn

ONE = {"units": "1"}
GRADIENT = "definition of the gradient, by central differences"
PLANTED = "the planted filters"


@dataclass(frozen=True)
class RetinaOwn(Study):
    """Which cells are in your network: fields, orientation, kinds and linearity of its layers."""

    paper: ClassVar = Paper(
        "Lindsey, Ocko, Ganguli, Deny",
        2019,
        "A unified theory of early visual representations from retina to cortex through "
        "anatomically constrained deep CNNs",
        arxiv="1901.00945",
    )
    presets: ClassVar = {
        "smoke": {"n_example": 100, "n_images": 32, "n_boot": 10, "n_cells": 4},
        "paper": {"base": "black", "through": "post"},
    }

    model: str = ""
    """Your network, file.py:function, which takes nothing and returns it. Empty: an example."""
    layers: tuple[str, ...] = ()
    """Names of layers, name@2 for a second call; none: up to six convolutions, first to last."""
    images: str = ""
    """Your images: .npy, .npz:key, .nc:variable, or a folder of pictures of one size."""
    base: Literal["images", "black", "gray", "mean"] = "images"
    """Where gradients are taken: averaged over images, or at one image."""
    through: Literal["pre", "post", "linear"] = "pre"
    """Of the pre-activation, of the activation (as published), or without any nonlinearity."""
    n_images: Annotated[int, Range(1, 10_000, log=True)] = 64
    """Images that the gradients are averaged over."""
    n_cells: Annotated[int, Range(1, 10_000, log=True)] = 32
    """Channels of each layer, from the first."""
    n_boot: Annotated[int, Range(10, 100_000, log=True)] = 100
    """Resamples of the images, for the interval of the anisotropy."""
    n_linear: Annotated[int, Range(1, 1_000_000, log=True)] = 10_000
    """Images of the linear regression, at most."""
    window: Annotated[int, Range(0, 1001)] = 0
    """Odd side of the part of the image to regress on; 0: the whole image."""
    n_example: Annotated[int, Range(80, 100_000, log=True)] = 4000
    """Images of the example."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.model) != bool(self.images):
            raise ValueError("a model needs images, and images a model: give both, or neither")
        if self.model and not re.search(r"\.py:\w+$", self.model):
            raise ValueError(f"model must be file.py:function, got {self.model!r}")
        if self.window and self.window % 2 == 0:
            raise ValueError(f"window must be odd, or 0 for the whole image, got {self.window}")
        if self.layers and not self.model:
            raise ValueError("layers go with a model of your own: give model and images")

    def files(self) -> list[Path]:
        """Return the files whose content counts, ``file.npz:key`` included."""
        named = (self.model, self.images)
        found = [Path(re.sub(r"(?<=\.(?:npz|npy)):\w+$|(?<=\.(?:nc|py)):\w+$", "", path))
                 for path in named if path]  # fmt: skip
        return [path for path in found if path.exists()]

    def inputs(self, seed: int) -> tuple[nn.Module, Tensor, list[str]]:
        """Return the network, the images, and the layers."""
        from tractable.studies.spectra.spectra_audit import make_model
        from tractable.studies.vision._own_files import read_images
        from tractable.studies.vision._retina_own_parts import chosen_layers, example

        if not self.model:
            return *example(self.n_example, seed), ["retina", "cortex"]
        images = read_images(self.images)
        model = make_model(self.model, seed)
        return model, images, chosen_layers(model, self.layers)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._retina_own_parts import ENOUGH, cells, direction

        model, images, layers = self.inputs(run.seed)
        if not self.model:
            run.say("A generated example: give --model and --images for your own.")
        if (n := min(len(images), self.n_linear)) < ENOUGH:
            run.say(f"No linearity: it needs {ENOUGH} images, got {n}.")
        if any(p.dtype.itemsize < 4 for p in model.parameters() if p.is_floating_point()):
            run.say(
                "The network is of half precision: it is computed in float32, whose slopes hold."
            )
            model = model.float()
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > 1:
            run.say(
                f"The images range from {low:.3g} to {high:.3g}, not from 0 to 1: base black is 0, "
                "gray is 0.5 all the same."
            )
        model = model.to(run.device)
        parts = [
            cells(
                model, layer, images, base=self.base, through=self.through,
                n_images=self.n_images, n_cells=self.n_cells, n_boot=self.n_boot,
                n_linear=self.n_linear, window=self.window, seed=run.seed,
                progress=run.show_progress,
            )
            for layer in layers
        ]  # fmt: skip
        found = xr.concat(parts, "unit", combine_attrs="drop_conflicts")
        inner = ("row", "column") if images.shape[1] == 1 else ("color", "row", "column")
        along = direction(tuple(images.shape[1:]), run.seed)
        found["direction"] = (inner, along[0] if images.shape[1] == 1 else along, ONE)
        mean = {"images": f"mean over {min(self.n_images, len(images))} images",
                "mean": "mean image"}  # fmt: skip
        return found.assign_attrs(base=mean.get(self.base, self.base), n_images=len(images))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return slopes along a direction as the fields predict them, and the floor of noise.

        Of the example besides: anisotropies of the planted filters, and the cosine between
        gradients at two images, of a filter and of the sum of a rectified quadrature pair.
        """
        import xarray as xr

        from tractable.vision.retina import anisotropy_floor, orientation

        found = xr.Dataset()
        if measured is not None:
            along, field = measured["direction"], measured["rf"]
            found["slope"] = (field * along).sum(along.dims, skipna=False)
            found["slope"].attrs["units"] = "activation / intensity"
            floor = anisotropy_floor(
                (min(measured.sizes["row"], 64), min(measured.sizes["column"], 64))
            )
            found["floor"] = ("statistic", np.array(floor), ONE)
        if not self.model:
            from tractable.studies.vision._retina_own_parts import planted_fields

            planted = orientation(planted_fields()).anisotropy
            found["planted"] = ("cell", planted, ONE)
            found["cosine"] = ("sort", np.array([1.0, 0.5]), ONE)
        return found

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        slope, predicted = measured["slope"].values, theory["slope"].values
        alive = np.isfinite(predicted) & np.isfinite(slope)
        gap = np.linalg.norm((slope - predicted)[alive])
        length = np.linalg.norm(predicted[alive])
        yield Check(
            "slope of the cells along a random image, off what their fields predict, relative",
            float(gap / length) if length else np.nan,
            0.0,
            atol=0.05,
            source=GRADIENT,
        )
        if self.model or self.base != "images" or self.through != "pre":
            return
        from tractable.studies.vision._retina_own_parts import PLANTED as KINDS

        first = measured.isel(unit=measured["layer"].values == "retina")
        last = measured.isel(unit=measured["layer"].values == "cortex")
        n = first.sizes["unit"]
        yield Check(
            "example: cells that are not of the kind that was planted",
            int((first["kind"].values != np.array(KINDS[:n])).sum()), 0, source=PLANTED,
        )  # fmt: skip
        off = np.abs(first["anisotropy"].values - theory["planted"].values[:n])
        yield Check(
            "example: largest gap of the anisotropy of the filters",
            float(np.nanmax(off)), 0.0, atol=1e-5, source=PLANTED,
        )  # fmt: skip
        cosine = np.nanmin(first["cosine"].values)
        yield Check(
            "example: |cosine| of the gradients of a filter at two images, least",
            float(cosine), float(theory["cosine"][0]), atol=1e-6, source="a filter has one field",
        )  # fmt: skip
        yield Check(
            "example: |cosine| of the gradients of rectified Gabor cells, summed",
            float(last["cosine"].values[-1]), float(theory["cosine"][1]), atol=0.1,
            source="two independent signs: equal or opposite half of the time, else at right "
            "angles",
        )  # fmt: skip
        if self.is_smoke:  # too few images for a regression on 400 pixels
            return
        rectified = first["monotone"].values[:8].min()
        yield Check(
            "example: R2 of a rectified filter after a monotone function, least",
            float(rectified), 0.9, kind="at_least",
            source="a rectified filter is a monotone function of a filter",
        )  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._retina_own_figures import by_layer, table_of_cells

        floor = theory["floor"].values
        for layer, part in by_layer(measured).items():
            yield sentence(layer, part, floor)
        yield (
            f"White noise of this size has anisotropy {floor[0]:.3f} and radial fraction "
            f"{floor[1]:.3f}: cells near these numbers have no structure. Fields: "
            f"{measured.attrs['base']}."
        )
        yield table_of_cells(measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._retina_own_figures import own_figures

        return own_figures(theory, measured)

    def cost(self, run: Run) -> Cost:
        import time

        from tractable.studies.vision._retina_own_parts import forward_operations
        from tractable.vision.retina import activations

        model, images, layers = self.inputs(run.seed)
        model = model.to(run.device).float()
        once = forward_operations(model, images[:1])
        started = time.process_time()
        for layer in layers:
            activations(model, layer, images[:4])
        forward = (time.process_time() - started) / (4 * len(layers))
        gradients = len(layers) * min(self.n_images, len(images)) * (1 + 2 * self.n_cells)
        n, pixels = min(self.n_linear, len(images)), images[0].numel()
        pixels = min(pixels, self.window**2 * images.shape[1]) if self.window else pixels
        ridge = len(layers) * 2.0 * n * pixels * min(n, pixels)
        passes = gradients + len(layers) * n
        seconds = forward * passes + ridge / 1e10 + 0.2 * len(layers) * self.n_cells
        memory = 8.0 * n * pixels + 8.0 * min(n, pixels) ** 2
        memory += sum(p.numel() * p.element_size() for p in model.parameters())
        return Cost(once * passes + ridge, memory + 2.0**28, seconds)


def sentence(layer: str, part: xr.Dataset, floor: np.ndarray) -> str:
    """Say what the cells of a layer are."""
    kinds, counts = np.unique(part["kind"].values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    listed = ", ".join(f"{counts[i]} {str(kinds[i]).replace('_', ' ')}" for i in order)
    text = f"{layer}: {part.sizes['unit']} cells: {listed}."
    alive = part.isel(unit=np.isfinite(part["anisotropy"].values))
    if not alive.sizes["unit"]:
        return f"{text} All are silent: take base images, or other images."
    a, radial = (float(np.median(alive[name])) for name in ("anisotropy", "radial"))
    text += f" Median anisotropy {a:.3f}, radial fraction {radial:.3f}."
    line, curve = part["linearity"].values, part["monotone"].values
    known = np.isfinite(line)
    if known.any():
        text += (
            f" A linear function of the image explains {np.median(line[known]):.3f} of a cell's "
            f"variance (median R2), {np.median(curve[known]):.3f} after a monotone function."
        )
    cosine = alive["cosine"].values
    if np.isfinite(cosine).any():
        text += f" Gradients at two images have a mean |cosine| of {np.nanmedian(cosine):.3f}."
    return text
