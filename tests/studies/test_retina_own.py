"""A network of one's own under `retina-own`: names, colors, pictures, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tractable.studies.vision._own_files import read_images
from tractable.studies.vision._retina_own_parts import example
from tractable.studies.vision.retina_own import RetinaOwn
from tractable.vision.retina import activations, receptive_fields

NET = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.relu(x + self.conv2(torch.relu(self.bn1(self.conv1(x)))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, stride=2, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(4), Block(4))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.layer1(self.pool(torch.relu(self.stem(x)))).mean((2, 3)))


def make():
    return Net()


def number():
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    return tmp_path


def test_a_residual_network_on_colors(folder: Path) -> None:
    model, images = f"{folder}/net.py:make", str(folder / "x.npy")
    study = RetinaOwn(
        model=model, images=images, layers=("layer1.1", "fc"), n_images=8, n_cells=1, n_boot=10
    )
    result = study.run(out=folder / "runs", progress=False)
    assert [check.holds for check in result.checks] == [True]
    measured = result.measured
    assert measured["layer"].values.tolist() == ["layer1.1", "fc"]
    assert measured["rf"].dims == ("unit", "color", "row", "column")
    network, _, _ = study.inputs(0)
    x = read_images(images)
    assert x.shape == (70, 3, 16, 16)
    assert float(x.max()) <= 1.0
    expected = receptive_fields(network, "layer1.1", images=x, units=[0], n_images=8)
    np.testing.assert_allclose(measured["rf"].values[:1], expected.rf, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(measured["gray"].values[:1], expected.gray(), rtol=1e-3, atol=1e-7)
    inside = measured["anisotropy_low"].values <= measured["anisotropy_high"].values
    assert inside.all()
    assert result.figures


def test_images_of_the_regression_are_not_those_of_the_fields(folder: Path) -> None:
    study = RetinaOwn(
        model=f"{folder}/net.py:make", images=str(folder / "x.npy"), layers=("stem",),
        n_images=8, n_linear=1, n_cells=1, n_boot=10,
    )  # fmt: skip
    measured = study.run(out=folder / "runs", progress=False).measured
    assert measured.attrs["base"] == "mean over 8 images"
    assert np.isfinite(measured["anisotropy_low"].values).all()  # the bootstrap over 8 images
    assert np.isnan(measured["linearity"].values).all()


def test_convolutions_are_found_without_names(folder: Path) -> None:
    study = RetinaOwn(model=f"{folder}/net.py:make", images=str(folder / "x.npy"))
    assert study.inputs(0)[2] == [
        "stem", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2",
    ]  # fmt: skip


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        Image.fromarray(np.full((5, 4, 3), 51 * i, np.uint8)).save(tmp_path / f"{i}.png")
    images = read_images(str(tmp_path))
    assert images.shape == (3, 3, 5, 4)
    np.testing.assert_allclose(images[:, 0, 0, 0], [0.0, 0.2, 0.4], rtol=1e-6)
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "3.png")
    with pytest.raises(ValueError, match=r"images must be pictures of one size.*3\.png"):
        read_images(str(tmp_path))


def test_the_example_has_a_silent_cell_and_one_without_a_field_of_its_own() -> None:
    model, images = example(80, 0)
    fields = receptive_fields(model, "retina", images=images, n_images=4)
    assert fields.dead.tolist() == [False] * 8 + [True]
    cells = activations(model, "retina", images)
    summed = activations(model, "cortex", images)[:, 1] - cells[:, 4:8].sum(1)
    assert float(summed.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": ""}, "a model needs images"),
        ({"model": ""}, "images a model"),
        ({"model": "net.pt"}, r"model must be file\.py:function"),
        ({"window": 4}, "window must be odd"),
        ({"model": "{}/net.py:number"}, "must return an nn.Module"),
        ({"model": "{}/net.py:none"}, "has no function 'none'"),
        ({"images": "{}/no.npy"}, "images: there is no file"),
        ({"images": "{}/net.py"}, "images must be a folder of pictures or a file"),
        ({"images": "{}/bad.npy"}, "images must be finite"),
        ({"images": "{}/row.npy"}, "images must be numbers of shape"),
        ({"images": "{}"}, "holds no picture"),
        ({"layers": ("layer2",)}, "did you mean 'layer1'"),
    ],
)
def test_bad_calls_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    np.save(folder / "bad.npy", np.full((2, 8, 8), np.nan))
    np.save(folder / "row.npy", np.zeros(8))
    values: dict[str, Any] = {"model": "{}/net.py:make", "images": "{}/x.npy", **change}
    named: dict[str, Any] = {
        k: v.format(folder) if isinstance(v, str) else v for k, v in values.items()
    }
    with pytest.raises(ValueError, match=message):
        RetinaOwn(**named).inputs(0)
