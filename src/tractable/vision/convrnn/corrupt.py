"""Images that are partly hidden or noisy: where more time to compute may help."""

from __future__ import annotations

import torch
from torch import Tensor

from tractable.core.checks import check_finite, check_range
from tractable.core.seeds import derive, generator

__all__ = ["noisy", "occluded", "shrunk"]


def occluded(
    images: Tensor, share: float, *, n_patches: int = 4, fill: float = 0.5, seed: int = 0
) -> Tensor:
    """Hide a share of every image behind square patches at random places.

    Parameters
    ----------
    images : Tensor, shape (n, C, H, W)
        Any range; ``fill`` is in the same.
    share : float
        Of the pixels, 0 .. 0.9: patches are added, the last one cut, until so many are hidden.
    n_patches : int
        About how many patches that takes, >= 1: their side is sqrt(share H W / n_patches).
    fill : float
        Value of hidden pixels, in all channels.
    seed : int
        Decides the places, which differ from image to image.

    Returns
    -------
    Tensor
        New images.

    Examples
    --------
    >>> hidden = occluded(torch.ones(2, 1, 16, 16), 0.25, fill=0.0)
    >>> (1 - hidden.mean((1, 2, 3))).tolist()
    [0.25, 0.25]
    """
    _check(images)
    check_range("share", share, 0.0, 0.9)
    check_range("n_patches", n_patches, 1)
    n, _, height, width = images.shape
    wanted = round(share * height * width)
    side = max(round((share * height * width / n_patches) ** 0.5), 1)
    random = generator(derive(seed, "occluded"))
    hidden = torch.zeros(n, height * width, dtype=torch.bool)
    rows, columns = torch.arange(height), torch.arange(width)
    while wanted and (missing := wanted - hidden.sum(1)).max() > 0:
        top = torch.randint(1 - side, height, (n, 1), generator=random)
        left = torch.randint(1 - side, width, (n, 1), generator=random)
        in_rows = (rows >= top) & (rows < top + side)
        in_columns = (columns >= left) & (columns < left + side)
        new = (in_rows[:, :, None] & in_columns[:, None, :]).flatten(1) & ~hidden
        hidden |= new & (new.cumsum(1) <= missing[:, None])
    mask = hidden.reshape(n, 1, height, width).to(images.device)
    return torch.where(mask, torch.full_like(images, fill), images)


def noisy(images: Tensor, deviation: float, *, seed: int = 0) -> Tensor:
    """Add Gaussian noise of a standard deviation to every pixel; values are not cut.

    Examples
    --------
    >>> round(float(noisy(torch.zeros(50, 3, 16, 16), 0.2).std()), 2)
    0.2
    """
    _check(images)
    check_range("deviation", deviation, 0.0)
    noise = torch.randn(images.shape, generator=generator(derive(seed, "noisy")))
    return images + deviation * noise.to(images)


def shrunk(images: Tensor, size: int) -> Tensor:
    """Average square blocks of pixels, so that images are ``size`` pixels wide and high.

    Examples
    --------
    >>> shrunk(torch.arange(16.0).reshape(1, 1, 4, 4), 2).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """
    _check(images)
    height, width = images.shape[-2:]
    if height != width or height % size:
        raise ValueError(f"size must divide the side of square images, {height} x {width}: {size}")
    return torch.nn.functional.avg_pool2d(images, height // size) if size < height else images


def _check(images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must have shape (n, C, H, W), got {tuple(images.shape)}")
    check_finite("images", images)
