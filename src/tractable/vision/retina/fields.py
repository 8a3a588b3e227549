"""Receptive fields: the gradient of a unit with respect to the image, and what noise reveals of it.

A ReLU hides gradients: a unit below its threshold at the base image has none. So the base is an
argument, the default is an average over images, silent units are NaN, and they are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_range
from tractable.core.progress import track
from tractable.core.seeds import derive, generator
from tractable.vision.retina.errors import DeadBottleneckError, check_images
from tractable.vision.retina.layers import (
    Model,
    analysis,
    capture,
    device_of,
    dtype_of,
)

__all__ = ["RFSet", "receptive_fields", "rf_ensemble", "rf_mosaic", "sta"]

BASES = ("images", "black", "gray", "mean")
SILENT = 1e-9  # a largest gradient below this is none
CHUNK = 512  # images of one backward pass


@dataclass(frozen=True, eq=False)
class RFSet:
    """Receptive fields of the units of one layer.

    Parameters
    ----------
    rf : ndarray of float64, shape (n, H, W), or (n, channels, H, W) of color images
        Activation per unit of intensity; NaN for a silent unit.
    unit : ndarray of int64, shape (n, 3)
        Channel, row and column of each unit in the layer's map.
    layer : str
        Name of the layer.
    base : str
        Where the gradient was taken.
    through : str
        ``"pre"``, ``"post"`` or ``"linear"``.
    n_images : int
        Images averaged over.
    """

    rf: np.ndarray
    unit: np.ndarray
    layer: str
    base: str
    through: str
    n_images: int = 1

    def __len__(self) -> int:
        return len(self.rf)

    @property
    def dead(self) -> np.ndarray:
        """True for silent units, shape (n,)."""
        return np.isnan(self.rf).reshape(len(self.rf), -1).any(1)

    @property
    def n_dead(self) -> int:
        """Number of silent units."""
        return int(self.dead.sum())

    def alive(self) -> np.ndarray:
        """Return the fields of the units that are not silent.

        Raises
        ------
        DeadBottleneckError
            All are silent.
        """
        if self.n_dead == len(self):
            raise DeadBottleneckError(
                f"all {len(self)} units of {self.layer} are silent (base {self.base}, "
                f"through {self.through}); take base='images' or another seed"
            )
        return self.rf[~self.dead]

    def normalized(self) -> np.ndarray:
        """Return the fields over their root mean square plus 1e-5, as published."""
        axes = tuple(range(1, self.rf.ndim))
        return self.rf / (np.sqrt((self.rf**2).mean(axes, keepdims=True)) + 1e-5)

    def gray(self) -> np.ndarray:
        """Return (n, H, W): of color fields the first principal component over the colors.

        Its sign is that of the sum over colors at the largest entry.
        """
        if self.rf.ndim == 3:
            return self.rf
        n, colors, height, width = self.rf.shape
        found = np.full((n, height, width), np.nan)
        for i in np.flatnonzero(~self.dead):
            flat = self.rf[i].reshape(colors, -1)
            _, s, v = np.linalg.svd(flat, full_matrices=False)
            peak = np.abs(v[0]).argmax()
            sign = np.sign(flat[:, peak].sum()) * np.sign(v[0, peak])
            found[i] = (s[0] * v[0] * (sign or 1.0)).reshape(height, width)
        return found

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset` with the fields and the units."""
        import xarray as xr

        inner = ("row", "column") if self.rf.ndim == 3 else ("color", "row", "column")
        return xr.Dataset(
            {
                "rf": (("unit", *inner), self.rf, {"units": "activation / intensity"}),
                "index": (("unit", "axis"), self.unit, {"units": "1"}),
            },
            coords={"axis": ["channel", "row", "column"]},
            attrs={
                "layer": self.layer,
                "base": self.base,
                "through": self.through,
                "n_images": self.n_images,
            },
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> RFSet:
        """Read what `to_dataset` wrote."""
        a = dataset.attrs
        return cls(
            dataset["rf"].values,
            dataset["index"].values,
            layer=str(a["layer"]),
            base=str(a["base"]),
            through=str(a["through"]),
            n_images=int(a["n_images"]),
        )


def receptive_fields(
    model: Model,
    layer: str | None = None,
    *,
    images: Tensor | None = None,
    base: str | Tensor = "images",
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    n_images: int = 64,
    shape: tuple[int, int, int] | None = None,
    pad: str | None = None,
    progress: bool = False,
) -> RFSet:
    r"""Return the receptive fields :math:`\partial u_c / \partial x` of a layer, equation (R5).

    Parameters
    ----------
    model : nn.Module or callable
        Any network, or a function of images (B, C, H, W).
    layer : str, optional
        Name of a submodule; None takes the model's own output.
    images : tensor, shape (n, C, H, W)
        Needed by the bases ``"images"`` and ``"mean"``.
    base : str or tensor
        Where the gradient is taken: ``"images"``, the mean of the gradients at the first
        ``n_images`` images; ``"mean"``, at the mean image; ``"black"``, at 0 (as published);
        ``"gray"``, at 0.5; or a tensor (C, H, W).
    through : str
        ``"pre"``: of the pre-activation, nonlinearities below it kept. ``"post"``: of the
        activation (as published). ``"linear"``: without any nonlinearity.
    position : "center" or (row, column)
        Of the unit in the layer's map.
    units : sequence of int, optional
        Channels; all by default.
    n_images : int
        Images that are averaged over.
    shape : (C, H, W), optional
        Of the image, where neither ``images`` nor the model's ``in_shape`` says it.
    pad : None, "zeros", "reflect" or "circular"
        Another padding of the convolutions while looking.
    progress : bool
        Show a bar.

    Returns
    -------
    RFSet
        A unit whose largest gradient is below 1e-9 is NaN and counted.

    Raises
    ------
    ValueError
        Unknown layer, position outside the map, missing images, NaN.

    Notes
    -----
    All channels come out of one backward pass: the image is repeated once per channel, and the sum
    over c of unit c at copy c is differentiated.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 3, 3, padding=1)
    >>> rf = receptive_fields(conv, shape=(1, 9, 9), base="gray")
    >>> bool(np.allclose(rf.rf[0, 3:6, 3:6], conv.weight[0, 0].detach()))
    True
    """
    bases, name = _bases(model, images, base, n_images, shape)
    gradients, unit = _gradients(
        model, layer, bases, through, position, units, pad, reduce=True, progress=progress
    )
    rf = gradients / len(bases)
    silent = np.abs(rf).reshape(len(rf), -1).max(1) < SILENT
    rf[silent] = np.nan
    return RFSet(_squeeze(rf), unit, layer or "output", name, through, len(bases))


def rf_ensemble(
    model: Model,
    layer: str | None,
    images: Tensor,
    *,
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    pad: str | None = None,
) -> np.ndarray:
    """Return the gradient of every unit at every image: how a field depends on its background.

    Parameters
    ----------
    model, layer, through, position, units, pad
        As for `receptive_fields`.
    images : tensor, shape (m, C, H, W)
        Natural images, or random initial ones.

    Returns
    -------
    ndarray of float64, shape (channels, m, H, W)
        With a fifth axis of colors before H for color images. A gradient that is zero stays zero.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1)
    >>> rf_ensemble(conv, None, torch.rand(5, 1, 8, 8)).shape
    (2, 5, 8, 8)
    """
    check_images("images", images, finite=True)
    rf, _ = _gradients(model, layer, images, through, position, units, pad, reduce=False)
    return rf[:, :, 0] if rf.shape[2] == 1 else rf


def rf_mosaic(
    model: Model,
    layer: str | None,
    positions: Sequence[tuple[int, int]],
    *,
    images: Tensor | None = None,
    base: str | Tensor = "images",
    through: str = "pre",
    units: Sequence[int] | None = None,
    n_images: int = 64,
    shape: tuple[int, int, int] | None = None,
    pad: str | None = None,
) -> RFSet:
    """Return the receptive fields of a layer at several positions, as one set.

    Parameters
    ----------
    positions : sequence of (row, column)
        In the layer's map; the units of the first position come first.
    model, layer, images, base, through, units, n_images, shape, pad
        As for `receptive_fields`.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1)
    >>> mosaic = rf_mosaic(conv, None, [(2, 2), (4, 6)], base="gray", shape=(1, 9, 9))
    >>> mosaic.unit.tolist()
    [[0, 2, 2], [1, 2, 2], [0, 4, 6], [1, 4, 6]]
    """
    if not len(positions):
        raise ValueError("positions must name one (row, column) or more, got none")
    sets = [
        receptive_fields(
            model,
            layer,
            images=images,
            base=base,
            through=through,
            position=place,
            units=units,
            n_images=n_images,
            shape=shape,
            pad=pad,
        )
        for place in positions
    ]
    one = sets[0]
    return RFSet(
        np.concatenate([part.rf for part in sets]),
        np.concatenate([part.unit for part in sets]),
        one.layer,
        one.base,
        one.through,
        one.n_images,
    )


def sta(
    model: Model,
    layer: str | None = None,
    *,
    n: int = 20_000,
    std: float = 0.1,
    base: str | Tensor = "gray",
    images: Tensor | None = None,
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    batch_size: int = 500,
    pad: str | None = None,
    progress: bool = False,
) -> RFSet:
    r"""Return spike-triggered averages :math:`E[(u - \bar u)\, e] / s` under white noise, (R6).

    The image is ``base`` plus ``std`` times standard normal noise e. By Stein's identity the
    average equals the mean gradient over the noise; the error falls as one over the root of n.

    Parameters
    ----------
    n : int
        Noise images, >= 2.
    std : float
        Standard deviation s of the noise, > 0.
    base : str or tensor
        ``"gray"``, ``"black"``, ``"mean"`` (of ``images``), or a tensor (C, H, W).
    seed : int
        Decides the noise.
    batch_size : int
        Images of one pass.
    model, layer, images, through, position, units, shape, pad, progress
        As for `receptive_fields`.

    Returns
    -------
    RFSet
        A unit that never changes is NaN.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 1, 3, padding=1)
    >>> exact = receptive_fields(conv, shape=(1, 9, 9), base="gray").rf[0]
    >>> noisy = sta(conv, shape=(1, 9, 9), n=20_000).rf[0]
    >>> bool(np.corrcoef(exact.ravel(), noisy.ravel())[0, 1] > 0.97)
    True
    """
    check_range("n", n, 2)
    check_range("std", std, 0.0, open_low=True)
    if isinstance(base, str):
        check_choice("base", base, BASES[1:])
    center, name = _bases(model, images, base, 1, shape)
    random, of = generator(derive(seed, "sta")), capture(model, layer, through)
    place = device_of(model)
    product: Any = 0.0
    activity: Any = 0.0
    noise: Any = 0.0
    parts = range(0, n, batch_size)
    first: np.ndarray | None = None
    constant: Any = True
    with analysis(model, pad), torch.inference_mode():
        for start in track(parts, "spike-triggered average", show=progress):
            size = min(batch_size, n - start)
            e = torch.randn(size, *center.shape[1:], generator=random, dtype=torch.float32)
            x = (center + std * e.double()).to(place, dtype_of(model))
            u, unit = select_units(of(x), position, units)
            values = u.double().cpu().numpy()
            first = values[:1] if first is None else first
            constant = constant & (values == first).all(0)
            flat = e.double().numpy().reshape(size, -1)
            shifted = values - first  # a common offset would only add noise
            product = product + shifted.T @ flat
            activity, noise = activity + shifted.sum(0), noise + flat.sum(0)
    rf = (product / n - np.outer(activity / n, noise / n)) / std
    rf = rf.reshape(len(rf), *center.shape[1:])
    rf[constant] = np.nan
    return RFSet(_squeeze(rf), unit, layer or "output", f"noise around {name}", through, n)


# --- one backward pass for all channels ---------------------------------------------------------


def _gradients(
    model: Model,
    layer: str | None,
    bases: Tensor,
    through: str,
    position: str | tuple[int, int],
    units: Sequence[int] | None,
    pad: str | None,
    *,
    reduce: bool,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients (C, [m,] colors, H, W), their sum over bases with ``reduce``, and units."""
    of, device, dtype = capture(model, layer, through), device_of(model), dtype_of(model)
    with analysis(model, pad), torch.enable_grad():
        with torch.no_grad():
            probe, unit = select_units(of(bases[:1].to(device, dtype)), position, units)
        n, m = probe.shape[1], len(bases)
        shape = (n, *bases.shape[1:]) if reduce else (n, m, *bases.shape[1:])
        found = np.zeros(shape)
        step = max(1, CHUNK // n)
        for start in track(range(0, m, step), "receptive fields", show=progress):
            some = bases[start : start + step].to(device, dtype)
            x = some.repeat(n, 1, 1, 1).requires_grad_(True)  # unit c looks at its own copies
            u, _ = select_units(of(x), position, units)
            own = u.reshape(n, len(some), n).diagonal(dim1=0, dim2=2)
            (gradient,) = torch.autograd.grad(own.sum(), x)
            gradient = gradient.reshape(n, *some.shape).double().cpu()
            if reduce:
                found += gradient.sum(1).numpy()
            else:
                found[:, start : start + step] = gradient.numpy()
    return found, unit


def select_units(
    u: Tensor, position: str | tuple[int, int], units: Sequence[int] | None
) -> tuple[Tensor, np.ndarray]:
    """Return (B, n) activations of the chosen units, and their channel, row and column."""
    if u.ndim not in (2, 4):
        raise ValueError(
            f"the layer must return (B, channels, H, W) or (B, units), got {tuple(u.shape)}"
        )
    row, column = 0, 0
    if u.ndim == 4:
        row, column = place_in(u.shape[2:], position)
        u = u[:, :, row, column]
    chosen = list(range(u.shape[1])) if units is None else [int(i) for i in units]
    if not chosen or min(chosen) < 0 or max(chosen) >= u.shape[1]:
        raise ValueError(f"units must be channels 0 .. {u.shape[1] - 1}, got {chosen}")
    index = np.array([(channel, row, column) for channel in chosen], dtype=np.int64)
    return (u if units is None else u[:, chosen]), index


def place_in(size: Sequence[int], position: str | tuple[int, int]) -> tuple[int, int]:
    """Return (row, column) of a position in a map of this size.

    Examples
    --------
    >>> place_in((16, 16), "center")
    (8, 8)
    """
    height, width = size
    if isinstance(position, str):
        check_choice("position", position, ("center",))
        return height // 2, width // 2
    if len(position) != 2:
        raise ValueError(f"position must be (row, column), got {position}")
    row, column = (int(side) for side in position)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"position must lie in the layer's map of {height} x {width}, got ({row}, {column})"
        )
    return row, column


def _bases(
    model: Model,
    images: Tensor | None,
    base: str | Tensor,
    n_images: int,
    shape: tuple[int, int, int] | None,
) -> tuple[Tensor, str]:
    """Return base images (m, C, H, W) in float64 and their name."""
    check_range("n_images", n_images, 1)
    if images is not None:
        check_images("images", images, finite=True)
    if isinstance(base, Tensor):
        batch = base[None] if base.ndim == 3 else base
        check_images("base", batch, finite=True)
        return batch.double(), "given image" if len(batch) == 1 else f"{len(batch)} given images"
    check_choice("base", base, BASES)
    if base in ("images", "mean"):
        if images is None:
            raise ValueError(
                f"base={base!r} needs images=..., a tensor (n, C, H, W); or take base='gray'"
            )
        if base == "mean":
            return images.double().mean(0, keepdim=True), "mean image"
        some = images[:n_images].double()
        return some, f"mean over {len(some)} images"
    size = (
        shape or (None if images is None else images.shape[1:]) or getattr(model, "in_shape", None)
    )
    if size is None:
        raise ValueError(
            "shape=(C, H, W) of the image must be given: neither images nor the model say it"
        )
    value = 0.0 if base == "black" else 0.5
    return torch.full((1, *size), value, dtype=torch.float64), base


def _squeeze(rf: np.ndarray) -> np.ndarray:
    return rf[:, 0] if rf.shape[1] == 1 else rf


def support(layers: int, kernel: int) -> int:
    """Return the side of the field of a unit behind this many stacked convolutions: 1 + l (k - 1).

    Examples
    --------
    >>> [support(layers, 9) for layers in (1, 2, 3, 4)]
    [9, 17, 25, 33]
    """
    return 1 + layers * (kernel - 1)
