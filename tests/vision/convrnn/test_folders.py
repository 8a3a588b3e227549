"""Folders of images: what is found, what a batch holds, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tractable.vision.convrnn.folders import image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, n in (("train", 5), ("val", 2)):
        for value, name in ((40, "cat"), (200, "dog")):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for i in range(n):
                noise = random.integers(-20, 20, (30, 50, 3))
                Image.fromarray((value + noise).astype(np.uint8)).save(place / f"{i}.png")
    return tmp_path


def test_parts_and_classes(folder: Path) -> None:
    train, test = image_folder(folder, "train", size=16), image_folder(folder, "test", size=16)
    assert (len(train), len(test)) == (10, 4)
    assert train.classes == ("cat", "dog")
    images, labels = test.first(4)
    assert images.shape == (4, 3, 16, 16)
    bright = images.mean((1, 2, 3)) > 0.5
    assert bright.tolist() == (labels == 1).tolist()


def test_batches_hold_each_image_once_and_repeat(folder: Path) -> None:
    train = image_folder(folder, "train", size=8)
    batches = train.batches(batch_size=5, seed=1)
    first = list(batches(0))
    assert torch.equal(first[0][0], next(batches(0))[0])
    assert sorted(torch.cat([y for _, y in first]).tolist()) == [0] * 5 + [1] * 5
    halves = [list(train.batches(batch_size=5, seed=1, rank=r, n_ranks=2)(0)) for r in (0, 1)]
    assert sorted(y for half in halves for y in half[0][1].tolist()) == [0] * 5 + [1] * 5


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train/<class>"):
        image_folder("", "train")
    with pytest.raises(ValueError, match="no part 'train'"):
        image_folder(folder / "train", "train")
    (folder / "train" / "cat" / "0.png").write_text("not an image")
    with pytest.raises(ValueError, match="no image that can be read"):
        image_folder(folder, "train").read(0)
