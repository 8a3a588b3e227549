"""Gray images for the retina: CIFAR-10, a user's own, at 32 or 16 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_range
from tractable.data import load_images
from tractable.data.images import ImageData
from tractable.vision.retina.errors import check_images

__all__ = ["GrayImages", "cifar_gray", "gray_images"]


@dataclass(frozen=True, eq=False)
class GrayImages:
    """Gray images with labels, cut into training and test images.

    Parameters
    ----------
    train, test : tensor of float32, shape (n, 1, H, W)
        Intensities in [0, 1].
    train_labels, test_labels : tensor of int64, shape (n,)
        Classes 0 .. K-1.
    classes : tuple of str
        Names of the K classes.
    name : str
        What the images are, for captions.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    name: str = "own images"

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, part), getattr(self, f"{part}_labels")
            check_images(part, images, finite=True)
            if len(images) != len(labels) or len(images) == 0:
                raise ValueError(
                    f"{part} must hold as many labels as images, at least one, got {len(labels)} "
                    f"and {len(images)}"
                )
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(self.classes):
                raise ValueError(
                    f"{part}_labels must be 0 .. {len(self.classes) - 1}, got {low} .. {high}"
                )

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        shape = tuple(self.train.shape[1:])
        return shape[0], shape[1], shape[2]


def gray_images(images: np.ndarray, size: int | None = None) -> Tensor:
    """Return gray float images in [0, 1]: the plain mean of the colors, then block means.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, H, W, colors)
        0 .. 255.
    size : int, optional
        Side of the result; must divide that of the images. No luma weights, no mean removal.

    Returns
    -------
    tensor of float32, shape (n, 1, size, size)

    Examples
    --------
    >>> gray_images(np.full((2, 4, 4, 3), 255, np.uint8), size=2)[0, 0]
    tensor([[1., 1.],
            [1., 1.]])
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 of shape (n, H, W, colors), got {images.dtype} {images.shape}"
        )
    n, height, width, colors = images.shape
    if colors not in (1, 3):
        raise ValueError(
            f"images must have 1 or 3 colors, got {colors}: a channel of transparency is no color"
        )
    target = height if size is None else size
    check_range("size", target, 1, height)
    if height % target or width != height:
        raise ValueError(
            f"size must divide the side of square images, got {target} of {height} x {width}"
        )
    block = height // target
    parts = []
    for some in np.array_split(images, max(1, n // 5000)):  # floats of all colors would be large
        gray = some.mean(axis=-1, dtype=np.float32) / np.float32(255)
        parts.append(gray.reshape(len(some), target, block, target, block).mean((2, 4)))
    return torch.from_numpy(np.ascontiguousarray(np.concatenate(parts)[:, None]))


def cifar_gray(
    size: int = 32,
    *,
    n_train: int = 0,
    n_test: int = 0,
    seed: int = 0,
    source: ImageData | None = None,
) -> GrayImages:
    """Return CIFAR-10 in gray, from `tractable.data`.

    Parameters
    ----------
    size : int
        Side: 32, 16, 8, ...
    n_train, n_test : int
        Images drawn without replacement; 0: all.
    seed : int
        Decides the order.
    source : ImageData, optional
        Other color images, for tests; by default CIFAR-10 is read or downloaded.

    Raises
    ------
    DataNotFound
        CIFAR-10 is neither at hand nor to be downloaded; nothing is put in its place.
    """
    data = load_images("cifar10") if source is None else source
    train, test = data.part("train", n_train, seed=seed), data.part("test", n_test, seed=seed)
    return GrayImages(
        gray_images(train.images, size),
        torch.from_numpy(train.labels.copy()),
        gray_images(test.images, size),
        torch.from_numpy(test.labels.copy()),
        data.classes,
        f"CIFAR-10, gray, {size} px",
    )


def from_arrays(
    images: np.ndarray | Tensor,
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    n_test: int,
    name: str = "own images",
) -> GrayImages:
    """Cut a user's own gray images (n, H, W) or (n, 1, H, W) into training and test images.

    The last ``n_test`` are the test images.
    """
    x = torch.as_tensor(np.asarray(images), dtype=torch.float32)
    x = x[:, None] if x.ndim == 3 else x
    given = np.asarray(labels)
    if given.dtype.kind not in "iub" or given.shape != (len(x),) or given.min(initial=0) < 0:
        raise ValueError(
            f"labels must be {len(x)} whole numbers >= 0, one for each image, got {given.dtype} of "
            f"shape {given.shape}"
        )
    y = torch.as_tensor(given, dtype=torch.int64)
    check_range("n_test", n_test, 1, len(x) - 1)
    classes = tuple(str(i) for i in range(int(y.max()) + 1))
    return GrayImages(x[:-n_test], y[:-n_test], x[-n_test:], y[-n_test:], classes, name)
