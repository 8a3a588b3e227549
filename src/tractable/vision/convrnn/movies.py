"""Movies: an image that is shown for a while, then gray."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite

__all__ = ["make_movie"]


def make_movie(
    x: Tensor,
    T: int,
    image_off: int | None = None,
    off_value: float = 0.5,
    *,
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
) -> Tensor:
    """Return the image for ``image_off`` steps and mean gray after it, normalized afterwards.

    Parameters
    ----------
    x : Tensor
        Images, (B, C, H, W), before normalization.
    T : int
        Steps, >= 1; one is 10 ms.
    image_off : int, optional
        Steps with the image, 1 .. T; default all.
    off_value : float
        Gray, in the units of x.
    mean, std : Tensor or float
        Normalization by channel, applied to image and gray alike.

    Returns
    -------
    Tensor
        (B, T, C, H, W).

    Examples
    --------
    >>> make_movie(torch.ones(1, 1, 1, 1), 3, image_off=2, mean=0.5).flatten()
    tensor([0.5000, 0.5000, 0.0000])
    """
    check_floats("x", x)
    if x.ndim != 4:
        raise ValueError(f"x must have shape (B, C, H, W), got {tuple(x.shape)}")
    check_finite("x", x)
    frames, ids = show(x, T, image_off, off_value)
    movie = torch.stack([frames[i] for i in ids], 1)
    check_finite("mean", mean)
    check_finite("std", std)
    mean, std = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in (mean, std))
    return (movie - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)


def check_floats(name: str, x: Any) -> None:
    """Refuse what is no tensor of floating point numbers."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}; use torch.as_tensor")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}; divide bytes by 255?")


def show(
    x: Tensor, T: int, image_off: int | None, off_value: float
) -> tuple[list[Tensor], list[int]]:
    """Return image and gray, and which of them is shown at each step."""
    check_count("T", T)
    check_finite("off_value", off_value)
    off = T if image_off is None else image_off
    check_count("image_off", off)
    if off > T:
        raise ValueError(f"image_off must be 1 .. T = {T}, got {off}")
    frames = [x] if off == T else [x, torch.full_like(x, off_value)]
    return frames, [0 if t < off else 1 for t in range(T)]
