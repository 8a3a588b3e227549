"""Gradients of units with respect to the image, of all channels in one backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, as_floats, check_choice, check_count
from tractable.core.progress import track
from tractable.vision.retina.backward import QuickConvolutions
from tractable.vision.retina.errors import check_image_shape, check_images
from tractable.vision.retina.layers import (
    Model,
    analysis,
    capture,
    device_of,
    dtype_of,
    refuse_nan,
)

__all__ = ["BASES", "base_images", "gradients", "place_in", "select_units", "without_colors"]

BASES = ("images", "black", "gray", "mean")
CHUNK = 512  # images of one backward pass


def gradients(
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
    units_seen: list[np.ndarray] = []
    where = "model" if layer is None else f"layer {layer!r}"

    def chosen(x: Tensor) -> Tensor:
        u, unit = select_units(of(x), position, units)
        units_seen.append(unit)
        if not u.requires_grad:
            raise ValueError(
                f"{where} must depend on the image by operations that have a gradient, but its "
                "result is detached: look for detach(), no_grad() or whole numbers before it"
            )
        refuse_nan(u.detach(), layer)
        return u

    with analysis(model, pad), torch.enable_grad():
        first = _of_all(chosen, bases[:1].to(device, dtype)).double().cpu()
        if through == "linear":
            elsewhere = torch.rand(bases[:1].shape, generator=torch.Generator().manual_seed(0))
            other = _of_all(chosen, elsewhere.to(device, dtype)).double().cpu()
            _say_if_not_linear(first, other, where)
        n, m = len(first), len(bases)
        found = np.zeros((n, *bases.shape[1:]) if reduce else (n, m, *bases.shape[1:]))
        step = max(1, CHUNK // n)
        for start in track(range(0, m, step), "receptive fields", show=progress):
            begin = max(start, 1)  # the first is known
            some = bases[begin : start + step].to(device, dtype)
            gradient = _of_all(chosen, some).double().cpu() if len(some) else first[:, :0]
            if start == 0:
                gradient = torch.cat([first, gradient], 1)
            refuse_nan(gradient, layer, "gradients")
            if reduce:
                found += gradient.sum(1).numpy()
            else:
                found[:, start : start + step] = gradient.numpy()
    return found, units_seen[0]


def _say_if_not_linear(first: Tensor, other: Tensor, where: str) -> None:
    """Warn where gradients at two images differ: something was not replaced by the identity."""
    gap, size = float((first - other).abs().max()), float(first.abs().max())
    if gap > 1e-3 * max(size, float(other.abs().max())):
        warnings.warn(
            f"{where} is not linear with through='linear': its gradients at two images differ by "
            f"{gap:.3g}, the largest is {size:.3g}. Normalization over units, abs, maximum, "
            "products and powers are not replaced by the identity",
            TractableWarning,
            stacklevel=4,
        )


def _of_all(of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the gradients (n, m, C, H, W) of all n units at m images: one forward pass."""
    x = images.clone().requires_grad_(True)
    u = of(x)
    n, m = u.shape[1], len(images)
    each = torch.eye(n, dtype=u.dtype, device=u.device)[:, None].expand(n, m, n)
    try:
        with QuickConvolutions():
            return torch.func.vmap(
                lambda one: torch.autograd.grad(u, x, one, retain_graph=True)[0]
            )(each)
    except RuntimeError:  # an operation that torch cannot batch backward: a copy for each unit
        x = images.repeat(n, 1, 1, 1).requires_grad_(True)
        own = of(x).reshape(n, m, n).diagonal(dim1=0, dim2=2)
        (found,) = torch.autograd.grad(own.sum(), x, allow_unused=True)  # None: of weights alone
        return (torch.zeros_like(x) if found is None else found).reshape(n, *images.shape)


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
    n = u.shape[1]
    chosen = list(range(n)) if units is None else channel_numbers("units", units, n)
    index = np.array([(channel, row, column) for channel in chosen], dtype=np.int64)
    return (u if units is None else u[:, chosen]), index


def channel_numbers(name: str, given: Any, n: int) -> list[int]:
    """Return the numbers of channels that were given as numbers, or as a mask of all of them.

    Examples
    --------
    >>> channel_numbers("units", [0, 2], 4), channel_numbers("units", [True, False, True], 3)
    ([0, 2], [0, 2])
    """
    try:
        values = np.asarray(given)
    except ValueError:  # lists of several lengths
        values = np.asarray(None)
    if values.dtype == bool and values.shape == (n,):
        values = np.flatnonzero(values)
    whole = values.ndim == 1 and len(values) > 0 and values.dtype.kind in "iu"
    if not whole or values.min() < 0 or values.max() >= n:
        raise ValueError(
            f"{name} must be whole numbers of 0 .. {n - 1}, or a mask of all {n}, got {given!r}"
        )
    return [int(i) for i in values]


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
    row, column = row_and_column(position)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"position must lie in the layer's map of {height} x {width}, got ({row}, {column})"
        )
    return row, column


def row_and_column(position: Any) -> tuple[int, int]:
    """Return a position that was given as two whole numbers; refuse anything else."""
    try:
        place = np.asarray(position)
    except ValueError:  # lists of several lengths
        place = np.asarray(None)
    if place.shape != (2,) or place.dtype.kind not in "iu":
        raise ValueError(f"position must be whole numbers (row, column), got {position!r}")
    return int(place[0]), int(place[1])


def base_images(
    model: Model,
    images: Tensor | None,
    base: str | Tensor | np.ndarray,
    n_images: int,
    shape: tuple[int, int, int] | None,
) -> tuple[Tensor, str]:
    """Return base images (m, C, H, W) in float64 and their name."""
    check_count("n_images", n_images)
    if images is not None:
        check_images("images", images, finite=True)
    if isinstance(base, np.ndarray):
        base = torch.as_tensor(as_floats("base", base))
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
    return torch.full((1, *check_image_shape("shape", size)), value, dtype=torch.float64), base


def without_colors(rf: np.ndarray) -> np.ndarray:
    """Return fields (n, H, W) of gray images, those of color images as they are."""
    return rf[:, 0] if rf.shape[1] == 1 else rf
