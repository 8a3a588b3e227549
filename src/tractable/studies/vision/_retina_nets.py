"""One network of the retina studies: its images, its training, and what is measured of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import quiet

if TYPE_CHECKING:
    import xarray as xr

    from tractable.vision.retina import GrayImages, RetinaVVS

ONE = {"units": "1"}
FIELD = {"units": "activation / intensity"}
RECORDED = (0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
N_COURSE_UNITS = 8
N_CURVE_IMAGES = 64
N_RF_IMAGES = 128
CIFAR, SHAPES = "cifar10", "shapes"


def resolved(data: str) -> str:
    """Return the images that ``"auto"`` stands for: CIFAR-10 where it is at hand, else shapes."""
    from tractable.data import locate

    if data != "auto":
        return data
    return CIFAR if locate(CIFAR) is not None else SHAPES


def data_files(data: str) -> list[Path]:
    """Return the files that a study with these images depends on."""
    from tractable.data import files, locate

    return list(files(CIFAR)) if resolved(data) == CIFAR and locate(CIFAR) is not None else []


@functools.lru_cache(maxsize=2)
def images(data: str, size: int, n_train: int, n_test: int, seed: int = 0) -> GrayImages:
    """Return the images, read once per process."""
    from tractable.vision.retina import cifar_gray

    if data == CIFAR:
        return cifar_gray(size, n_train=n_train, n_test=n_test, seed=seed)
    return shapes(size, n_train or 12_000, n_test or 2000, seed)


def shapes(size: int, n_train: int, n_test: int, seed: int) -> GrayImages:
    """Return generated shapes on a background of natural statistics."""
    import torch

    from tractable.vision.retina import GrayImages, make_shapes_on_pink

    pictures, labels = make_shapes_on_pink(n_train + n_test, size=size, seed=seed)
    x = torch.as_tensor(pictures, dtype=torch.float32)
    y = torch.as_tensor(labels, dtype=torch.int64)
    classes = tuple(str(i) for i in range(int(y.max()) + 1))
    name = f"generated shapes on 1/f noise, {size} px"
    return GrayImages(x[:n_train], y[:n_train], x[n_train:], y[n_train:], classes, name)


def build(model: Mapping[str, Any], data: GrayImages, seed: int) -> RetinaVVS:
    """Return an untrained network for these images."""
    from tractable.vision.retina import RetinaVVS

    settings = dict(model)
    head = (*settings.pop("head", (64,)), len(data.classes))
    return RetinaVVS(**settings, head=head, in_shape=data.in_shape, seed=seed)


def train_net(
    model: dict[str, Any],
    recipe: dict[str, Any] | str,
    data: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int,
    layers: list[str],
    device: str = "cpu",
    curves: bool = True,
    positions: list[tuple[int, int]] | None = None,
) -> xr.Dataset:
    """Train one network and measure the receptive fields of some of its layers.

    Returns, for each layer, fields, anisotropy, roundness, opposite over center volume and the
    share of positive outputs of each unit; accuracy; and their course over the training.
    ``positions`` adds the mosaic of the retina's output at these places.
    """
    import xarray as xr

    from tractable.vision.retina import train_classifier

    pictures = images(data, size, n_train, n_test)
    net = build(model, pictures, seed)
    record: dict[str, Any] = {}
    few = pictures.test[: max(4, min(N_CURVE_IMAGES, len(pictures.test) // 8))]
    if curves:
        record = {
            layer: functools.partial(course, layer=layer, images=few, device=device)
            for layer in layers
        }
        record["accuracy"] = functools.partial(accuracy, data=pictures, n=1500)
    settings = recipe if isinstance(recipe, str) else dict(recipe)
    total = None if isinstance(recipe, str) else recipe.get("steps")
    done = train_classifier(
        net,
        pictures,
        settings,
        seed=seed,
        device=device,
        on_dead="restart",
        record=record,
        record_at=None if total is None else record_steps(total),
        progress=False,
    )
    found = {
        "accuracy": ((), done.accuracy, ONE),
        "n_restarts": ((), len(done.restarts), ONE),
        "n_dead": ((), done.n_dead, ONE),
        "final_loss": ((), done.fit.losses[-100:].mean(), {"units": "nats"}),
        "step": ("record", done.fit.record_steps, {"units": "updates"}),
    }
    dataset = xr.Dataset(found)
    for layer in layers:
        dataset = dataset.merge(layer_dataset(net, layer, pictures.test[:N_RF_IMAGES]))
        if curves:
            history = done.fit.history[layer]
            dataset[f"{layer}_course"] = (("record", "statistic"), history, ONE)
    if curves:
        dataset["accuracy_course"] = ("record", done.fit.history["accuracy"], ONE)
        active = done.fit.history["active"]
        mean = active.mean(1) if active.shape[1] else np.full(len(active), np.nan)
        dataset["active_course"] = ("record", mean, ONE)
    if positions:
        dataset = dataset.merge(mosaic(net, positions, few))
    dataset = dataset.assign_coords(statistic=["anisotropy", "radial"])
    dataset.attrs["model"] = json.dumps(model)
    return dataset


def layer_dataset(net: RetinaVVS, layer: str, images: Any) -> xr.Dataset:
    """Return fields and statistics of a layer, with the dimension ``<layer>_unit``."""
    import xarray as xr

    from tractable.vision.retina import (
        activations,
        opposite_ratio,
        orientation,
        radial_fraction,
        receptive_fields,
    )

    with quiet():  # fields wider than the image are said by the study
        rf = receptive_fields(net, layer, images=images, n_images=len(images)).gray()
    active = activations(net, layer, images, select=lambda u: (u > 0).double().mean((2, 3)))
    dim = f"{layer}_unit"
    return xr.Dataset(
        {
            f"{layer}_rf": ((dim, "row", "column"), rf, FIELD),
            f"{layer}_anisotropy": (dim, orientation(rf).anisotropy, ONE),
            f"{layer}_radial": (dim, radial_fraction(rf), ONE),
            f"{layer}_opposite": (dim, opposite_ratio(rf), ONE),
            f"{layer}_sign": (dim, peak_sign(rf), ONE),
            f"{layer}_active": (dim, active.mean(0).numpy(), ONE),
        },
        coords={dim: np.arange(len(rf))},
    )


def mosaic(net: RetinaVVS, positions: Sequence[tuple[int, int]], images: Any) -> xr.Dataset:
    """Return the fields of the first retina channel at many positions, each around its place."""
    import xarray as xr

    from tractable.vision.retina import opposite_ratio, orientation, radial_fraction, rf_mosaic

    rf = rf_mosaic(
        net,
        net.bottleneck,
        [(row, column) for row, column in positions],
        images=images,
        n_images=len(images),
    ).rf
    return xr.Dataset(
        {
            "mosaic_rf": (("place", "row", "column"), rf, FIELD),
            "mosaic_anisotropy": ("place", orientation(rf).anisotropy, ONE),
            "mosaic_radial": ("place", radial_fraction(rf), ONE),
            "mosaic_opposite": ("place", opposite_ratio(rf), ONE),
            "mosaic_sign": ("place", peak_sign(rf), ONE),
            "mosaic_place": (("place", "axis"), np.array(positions), {"units": "px"}),
        }
    )


def course(net: Any, *, layer: str, images: Any, device: str) -> np.ndarray:
    """Return the median anisotropy and roundness of the first fields of a layer."""
    from tractable.vision.retina import orientation, radial_fraction, receptive_fields

    with quiet():  # fields wider than the image are said by the study
        rf = receptive_fields(net, layer, images=images, n_images=len(images)).gray()
    rf = rf[~np.isnan(rf).any((1, 2))][:N_COURSE_UNITS]
    if not len(rf):
        return np.full(2, np.nan)
    return np.array([np.median(orientation(rf).anisotropy), np.median(radial_fraction(rf))])


def accuracy(net: Any, *, data: GrayImages, n: int) -> float:
    """Return the share of the first ``n`` test images told right."""
    from tractable.vision.retina.training import accuracy_on

    return accuracy_on(net, data.test[:n], data.test_labels[:n])


@functools.lru_cache(maxsize=4)
def power_spectrum(data: str, size: int, n: int) -> np.ndarray:
    """Return the power of each mode, (size, size): its mean over the modes is a pixel's variance.

    A Hann window takes away the edges; the mean is removed; averaged over rings of equal radius.
    """
    x = images(data, size, n, min(n, 2000)).train[:n, 0].double().numpy()
    window = np.hanning(size + 2)[1:-1]
    window = np.outer(window, window)
    mean = (x * window).sum((1, 2), keepdims=True) / window.sum()
    power = (np.abs(np.fft.fft2((x - mean) * window)) ** 2).mean(0) / (window**2).sum()
    f = np.fft.fftfreq(size) * size
    ring = np.rint(np.hypot(f[:, None], f[None, :])).astype(int)
    counts = np.bincount(ring.ravel())
    rings = np.bincount(ring.ravel(), power.ravel()) / counts
    rings[0] = 4 * rings[1]  # the window leaves nothing of the mean: a convention
    return rings[ring]


def record_steps(total: int) -> list[int]:
    """Return the steps of the records: the beginning is dense."""
    return sorted({round(total * share) for share in RECORDED})


def peak_sign(rf: np.ndarray) -> np.ndarray:
    """Return +1 for ON and -1 for OFF, the sign of the largest entry; NaN for silent units."""
    flat = rf.reshape(len(rf), -1)
    found = np.full(len(flat), np.nan)
    alive = np.isfinite(flat).all(1)
    at = np.abs(flat[alive]).argmax(1)
    found[alive] = np.sign(flat[alive][np.arange(alive.sum()), at])
    return found


def joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return networks along ``net``; layers of different width are filled with NaN."""
    import xarray as xr

    return xr.concat(
        list(parts), "net", join="outer", data_vars="all", coords="minimal", compat="override",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
