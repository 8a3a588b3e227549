"""The first images of a part stand for the whole, even where the files are sorted by class."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.studies.vision._convrnn_cifar_parts import images_of


def test_sorted_images_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(np.arange(10), 200)
    images = np.tile(labels[:, None, None, None].astype(np.uint8), (1, 8, 8, 1))
    rows = np.arange(2000)
    monkeypatch.setattr(
        "tractable.data.load_images",
        lambda name: type("Whole", (), {"images": images, "labels": labels,
                                        "parts": {"train": slice(0, 2000), "test": rows}}),
    )  # fmt: skip
    images_of.cache_clear()
    for x, y in zip(images_of("digits", 8)[::2], images_of("digits", 8)[1::2], strict=True):
        assert np.bincount(y[:500].numpy(), minlength=10).min() > 25  # 50 each if mixed
        assert (x[:, 0, 0, 0] * 255).round().int().tolist() == y.tolist()  # labels move along
    images_of.cache_clear()
