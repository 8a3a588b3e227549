"""Gray images: the plain mean of the colors, block means, the parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.data.images import ImageData
from tractable.vision.retina import GrayImages, cifar_gray, gray_images


def colors(n: int = 12) -> ImageData:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    parts = {"train": slice(0, n - 4), "test": slice(n - 4, n)}
    return ImageData(images, np.arange(n) % 3, ("a", "b", "c"), parts)


def test_gray_is_the_plain_mean() -> None:
    images = colors().images
    expected = images.astype(float).mean(-1) / 255
    assert np.allclose(gray_images(images)[:, 0], expected, atol=1e-6)
    blocks = expected.reshape(-1, 16, 2, 16, 2).mean((2, 4))
    assert np.allclose(gray_images(images, 16)[:, 0], blocks, atol=1e-6)


def test_parts() -> None:
    data = cifar_gray(16, n_train=5, source=colors())
    assert data.in_shape == (1, 16, 16)
    assert (len(data.train), len(data.test)) == (5, 4)
    assert data.train.dtype == torch.float32


@pytest.mark.data("cifar10")
@pytest.mark.slow
def test_cifar() -> None:
    data = cifar_gray(16)
    assert (len(data.train), len(data.test)) == (50_000, 10_000)
    assert float(data.train.mean()) == pytest.approx(0.4733, abs=2e-3)
    assert float(data.train.var(0).mean()) == pytest.approx(0.05, abs=0.02)


def test_bad_images() -> None:
    with pytest.raises(ValueError, match="1 or 3 colors, got 4"):
        gray_images(np.full((2, 4, 4, 4), 255, np.uint8))
    with pytest.raises(ValueError, match="uint8 of shape"):
        gray_images(np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="size must divide"):
        gray_images(np.zeros((2, 8, 8, 3), np.uint8), 3)
    x, y = torch.rand(2, 1, 4, 4), torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"train_labels must be 0 .. 1, got 0 .. 2"):
        GrayImages(x, y, x, y, ("a", "b"))
    with pytest.raises(ValueError, match="as many labels as images"):
        GrayImages(x, y[:1], x, y, ("a", "b", "c"))
