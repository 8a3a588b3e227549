"""What can go wrong with a retina, and the check of images at the boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tractable.core.checks import check_count

__all__ = ["DeadBottleneckError", "check_image_shape", "check_images"]


class DeadBottleneckError(RuntimeError):
    """Every unit of a layer is silent: no receptive field, and nothing can be read from it."""


def check_image_shape(name: str, shape: Any) -> tuple[int, int, int]:
    """Return (C, H, W), whole numbers >= 1; refuse anything else."""
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) != 3:
        raise ValueError(f"{name} must be (C, H, W), got {shape!r}")
    for side in sizes:
        check_count(f"{name} (C, H, W)", side)
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def check_images(
    name: str, images: Any, shape: Sequence[int] | None = None, *, finite: bool = False
) -> None:
    """Refuse what is no batch of images (B, C, H, W).

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    images : tensor
        Floating point.
    shape : (C, H, W), optional
        What each image must have.
    finite : bool
        Refuse NaN and infinity.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"{name} must be a tensor (B, C, H, W), got {type(images).__name__}")
    got = tuple(images.shape)
    wanted = "(B, C, H, W)" if shape is None else "(B, " + ", ".join(map(str, shape)) + ")"
    if images.ndim == 4 and len(images) == 0:
        raise ValueError(f"{name} must hold at least one image, got shape {got}")
    if images.ndim != 4 or (shape is not None and got[1:] != tuple(shape)):
        hint = "; add a first dimension?" if images.ndim == 3 else ""
        raise ValueError(f"{name} must have shape {wanted}, got {got}{hint}")
    if not images.is_floating_point():
        raise TypeError(
            f"{name} must be floating point in [0, 1], got {images.dtype}; divide by 255?"
        )
    if finite and not bool(torch.isfinite(images).all()):
        bad = int((~torch.isfinite(images)).sum())
        raise ValueError(f"{name} must be finite, got {bad} of {images.numel()} NaN or infinite")
