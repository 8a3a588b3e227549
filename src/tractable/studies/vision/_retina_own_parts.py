"""A user's network and images for `retina-own`, an example with planted cells, and the cells."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from tractable.core.progress import track
from tractable.core.seeds import derive, generator
from tractable.vision.retina import (
    RFSet,
    activations,
    bootstrap_fields,
    classify_rf,
    linearity,
    make_shapes_on_pink,
    orientation,
    pairwise_cosine,
    receptive_fields,
    rf_ensemble,
)
from tractable.vision.retina.gradients import select_units
from tractable.vision.retina.layers import device_of, find_layer

ONE = {"units": "1"}
SIDE, KERNEL = 20, 13  # of the example
PLANTED = (
    *("center_surround_on", "center_surround_off", "blob_on", "blob_off"),
    *("oriented_even", "oriented_odd", "oriented_even", "oriented_odd", "dead"),
)
LAYERS_SHOWN = 6  # where no layer is named
ENSEMBLE = 2**25  # numbers of the gradients that are held at a time
ENOUGH = 63  # images of which four fifths are the 50 that a regression needs
STEP = 2e-3  # of a finite difference, over the deviation of the images


def planted_kernels() -> np.ndarray:
    """Return the fields of the example's cells, (9, 13, 13), in the order of `PLANTED`."""
    half = KERNEL // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    r2 = x**2 + y**2
    blob = np.exp(-r2 / (2 * 1.6**2))
    center = np.exp(-r2 / (2 * 1.1**2)) / 1.1**2 - 0.9 * np.exp(-r2 / (2 * 2.2**2)) / 2.2**2
    envelope = np.exp(-r2 / (2 * 2.2**2))
    even = envelope * (np.cos(2 * np.pi * x / 6) - np.exp(-2 * (np.pi * 2.2 / 6) ** 2))
    odd = envelope * np.sin(2 * np.pi * x / 6)
    drawn = [center, -center, blob, -blob, even, odd, -even, -odd]
    return np.stack([*(one / np.linalg.norm(one) for one in drawn), np.zeros_like(x)])


def planted_fields() -> np.ndarray:
    """Return the planted kernels where the example's cells see them, (9, 20, 20)."""
    before = SIDE // 2 - KERNEL // 2
    after = SIDE - KERNEL - before
    return np.pad(planted_kernels(), ((0, 0), (before, after), (before, after)))


def example(n: int, seed: int) -> tuple[nn.Module, Tensor]:
    """Return a network of known cells, and generated images.

    ``retina``: filters, rectified; one of them never answers. ``cortex``: a relay of the first, and
    the sum of the four rectified Gabor cells, which has no field of its own.
    """
    first = nn.Conv2d(1, len(PLANTED), KERNEL, padding=KERNEL // 2)
    second = nn.Conv2d(len(PLANTED), 2, 1, bias=False)
    with torch.no_grad():
        kernels = torch.from_numpy(planted_kernels())
        first.weight.copy_(kernels[:, None])
        # at threshold at the mean of the images
        first.bias = nn.Parameter((-0.5 * kernels.sum((1, 2))).float())
        second.weight.zero_()
        second.weight[0, 0] = 1.0
        second.weight[1, 4:8] = 1.0
    parts = OrderedDict(filters=first, retina=nn.ReLU(), cortex=second)
    images, _ = make_shapes_on_pink(n, SIDE, seed=derive(seed, "images") % 2**32)
    return nn.Sequential(parts), torch.from_numpy(images)


def chosen_layers(model: nn.Module, layers: tuple[str, ...]) -> list[str]:
    """Return the named layers, or up to six convolutions from the first to the last."""
    if layers:
        for layer in layers:
            find_layer(model, layer)
        return list(layers)
    found = [
        name
        for name, module in model.named_modules()
        if name and hasattr(module, "kernel_size") and any(True for _ in module.parameters(False))
    ]
    if not found:
        raise ValueError("layers must be named: the model has no convolution")
    picks = np.linspace(0, len(found) - 1, min(len(found), LAYERS_SHOWN)).round().astype(int)
    return [found[i] for i in dict.fromkeys(picks)]


def cells(
    model: nn.Module,
    layer: str,
    images: Tensor,
    *,
    base: str,
    through: str,
    n_images: int,
    n_cells: int,
    n_boot: int,
    n_linear: int,
    window: int,
    seed: int,
    progress: bool = False,
) -> xr.Dataset:
    """Return what a layer's cells at the center of its map are, one row for each cell."""
    how: dict[str, Any] = {"through": through}
    shape = tuple(activations(model, layer, images[:1]).shape)
    units = list(range(min(shape[1], n_cells)))
    some = images[:n_images]
    many = base == "images" and len(some) > 1
    group = max(1, ENSEMBLE // some.numel()) if many else len(units)
    parts = [
        _fields(model, layer, units[at : at + group], some, base, how, n_boot if many else 0, seed)
        for at in track(range(0, len(units), group), layer, show=progress)
    ]
    found = xr.concat(parts, "unit")
    kinds = classify_rf(found["gray"].values)
    numbers = {
        "radial": kinds.radial,
        "volume": kinds.volume_ratio,
        "opposite": kinds.opposite,
        "r2_dog": np.array([fit.r2 for fit in kinds.dog]),
        "r2_gabor": np.array([fit.r2 for fit in kinds.gabor]),
    }
    found = found.assign({name: ("unit", values, ONE) for name, values in numbers.items()})
    found["kind"] = ("unit", [str(kind) for kind in kinds.kind])
    found["layer"] = ("unit", [layer] * len(units))
    found["channel"] = ("unit", np.array(units), ONE)
    slope = _finite_difference(model, layer, some, base, units, how, seed)
    found["slope"] = ("unit", slope, {"units": "activation / intensity"})
    names = ("r2_per_channel", "ln_r2", "cap", "active")
    if len(images[:n_linear]) >= ENOUGH:
        line = linearity(model, layer, images[:n_linear], window=window or None)
        values = {name: getattr(line, name)[units] for name in names}
    else:
        values = dict.fromkeys(names, np.full(len(units), np.nan))
    labels = {"r2_per_channel": "linearity", "ln_r2": "monotone"}
    return found.assign({labels.get(k, k): ("unit", v, ONE) for k, v in values.items()})


def _fields(
    model: nn.Module, layer: str, units: list[int], images: Tensor, base: str,
    how: dict[str, Any], n_boot: int, seed: int,
) -> xr.Dataset:  # fmt: skip
    """Return fields, their anisotropy with its interval, and how much they depend on the image."""
    nan = np.full(len(units), np.nan)
    low, high, cosine = nan.copy(), nan.copy(), nan.copy()
    if n_boot:
        each = rf_ensemble(model, layer, images, units=units, **how)
        rf = each.mean(1)
        rf[np.abs(rf).reshape(len(rf), -1).max(1) < 1e-9] = np.nan
    else:
        each = None
        rf = receptive_fields(
            model, layer, images=images, base=base, units=units, n_images=len(images), **how
        ).rf
    gray = RFSet(rf, np.zeros((len(rf), 3), np.int64), layer, base, how["through"]).gray()
    if each is not None:
        cosine = np.array([pairwise_cosine(one) for one in each])
        alive = np.flatnonzero(np.isfinite(gray).all((1, 2)))
        for i in alive:
            one = each[i : i + 1]
            if one.ndim == 5:  # onto the color in which the mean field varies most
                flat = rf[i].reshape(rf.shape[1], -1)
                color = flat @ gray[i].ravel() / (gray[i] ** 2).sum()
                one = np.einsum("nmchw,c->nmhw", one, color)
            spread = bootstrap_fields(one, lambda w: orientation(w).anisotropy, n=n_boot, seed=seed)
            low[i], high[i] = spread.low[0], spread.high[0]
    stats = orientation(gray)
    inner = ("row", "column") if rf.ndim == 3 else ("color", "row", "column")
    field = {"units": "activation / intensity"}
    return xr.Dataset(
        {
            "rf": (("unit", *inner), rf, field),
            "gray": (("unit", "row", "column"), gray, field),
            "anisotropy": ("unit", stats.anisotropy, ONE),
            "anisotropy_low": ("unit", low, ONE),
            "anisotropy_high": ("unit", high, ONE),
            "angle": ("unit", stats.angle, {"units": "rad"}),
            "cosine": ("unit", cosine, ONE),
        }
    )


def direction(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return a random image of standard normal numbers."""
    return torch.randn(shape, generator=generator(derive(seed, "direction"))).double().numpy()


def _finite_difference(
    model: nn.Module, layer: str, images: Tensor, base: str, units: list[int],
    how: dict[str, Any], seed: int,
) -> np.ndarray:  # fmt: skip
    """Return the mean slope of each unit along the direction, by central differences."""
    if base == "mean":
        images = images.mean(0, keepdim=True)
    elif base != "images":
        images = torch.full_like(images[:1], 0.0 if base == "black" else 0.5)
    along = torch.from_numpy(direction(tuple(images.shape[1:]), seed)).to(images)
    step = STEP * (float(images.std()) or 0.25)

    def chosen(u: Tensor) -> Tensor:
        return select_units(u, "center", units)[0].double()

    up, down = (
        activations(model, layer, images + sign * step * along, select=chosen, **how)
        for sign in (1, -1)
    )
    return (((up - down) / (2 * step)).mean(0)).numpy()


def forward_operations(model: nn.Module, image: Tensor) -> float:
    """Return the operations of one forward pass of one image."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(image.to(device_of(model)))
    return float(max(counter.get_total_flops(), image.numel()))
