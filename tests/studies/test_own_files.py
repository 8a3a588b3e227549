"""Images, recordings and networks from files: orders of axes, colors, units, damaged pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tractable.studies.vision._convrnn_own_parts import chance_error
from tractable.studies.vision.convrnn_own import ConvrnnOwn
from tractable.studies.vision.retina_own import RetinaOwn
from tractable.vision.convrnn import Recordings

NETS = """
import torch
from torch import nn

def plain():
    return nn.Sequential(nn.Conv2d(1, 3, 3))

def half():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()).half()

def moving():
    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))
        def forward(self, x):
            return torch.stack([x, 2 * x], 1)
    return Moving()

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(12 * 15, 4))

def leaky():
    from tractable.vision.convrnn import wrap
    body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(390, 4))
    return wrap(body, {"0": ("timedecay", {"decay": 0.5})}, torch.zeros(1, 1, 12, 15))

def lost():
    return nn.Flatten(0)

def needs(width):
    return nn.Conv2d(1, width, 3)

def kind(*, name):
    return nn.Conv2d(1, 1, 3)
"""
BYTES = np.random.default_rng(0).integers(0, 256, (40, 12, 15), dtype=np.uint8)
COLORS = np.random.default_rng(1).integers(0, 256, (40, 12, 15, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    np.save(tmp_path / "x.npy", BYTES)
    np.save(tmp_path / "y.npy", np.random.default_rng(2).normal(size=(40, 4, 3, 2)))
    return tmp_path


def features(folder: Path, net: str, layer: str = "") -> np.ndarray:
    study = ConvrnnOwn(
        responses=f"{folder}/y.npy", model=f"{folder}/nets.py:{net}", images=f"{folder}/x.npy",
        layer=layer,
    )  # fmt: skip
    found: np.ndarray = study.inputs(0)[1]
    return found


def test_channels_of_a_map_are_not_bins_and_bytes_are_over_255(folder: Path) -> None:
    assert features(folder, "plain").shape == (40, 3 * 10 * 13)
    assert features(folder, "flat").shape == (40, 4)
    found = features(folder, "moving")
    assert found.shape == (40, 12 * 15, 2)
    np.testing.assert_allclose(found[..., 0], BYTES.reshape(40, -1) / 255, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1], BYTES.reshape(40, -1) / 127.5, rtol=1e-6)
    with pytest.raises(ValueError, match="model must return a tensor"):
        features(folder, "lost")
    with pytest.raises(ValueError, match="layer '1' is for a ConvRNN or a WrappedRNN"):
        features(folder, "plain", "1")


def test_cells_in_a_network_remember_over_the_bins(folder: Path) -> None:
    seen = features(folder, "leaky", "0")
    assert seen.shape == (40, 3 * 10 * 13, 2)
    np.testing.assert_allclose(seen[..., 1], 1.5 * seen[..., 0], atol=1e-6)
    assert features(folder, "leaky").shape == (40, 4, 2)


def test_names_and_times_of_recordings_are_kept(folder: Path) -> None:
    values = np.random.default_rng(3).normal(size=(40, 4, 3, 2))
    made = Recordings.from_array(values, time_ms=[70, 90], areas=["V4", "IT", "IT"])
    stored = made.to_dataset().transpose("neuron", "bin", "image", "repetition")
    f = np.random.default_rng(4).normal(size=(40, 5, 2))
    stored["f"] = (("bin", "feature", "image"), f.transpose(2, 1, 0))
    stored.to_netcdf(folder / "own.nc", engine="h5netcdf")
    study = ConvrnnOwn(
        responses=f"{folder}/own.nc:responses", features=f"{folder}/own.nc:f", bin_ms=5.0
    )
    found, given = study.inputs(0)
    np.testing.assert_array_equal(found.values, made.values)
    np.testing.assert_array_equal(given, f)
    assert (found.time_ms.tolist(), found.areas) == ([70.0, 90.0], ("V4", "IT", "IT"))
    plain = ConvrnnOwn(
        responses=f"{folder}/y.npy", features=f"{folder}/own.nc:f", start_ms=-20.0, bin_ms=5.0
    )
    assert plain.inputs(0)[0].time_ms.tolist() == [-20.0, -15.0]


def test_the_error_of_chance_is_that_of_permutations() -> None:
    # SIMULATION: 20 neurons of two signals; the mean over them errs nearly as one does
    random, means, error = np.random.default_rng(0), [], []
    for _ in range(300):
        x = random.normal(size=(30, 2))
        y = x @ random.normal(size=(2, 20)) + 0.5 * random.normal(size=(30, 20))
        moved = y[random.permutation(30)]
        means.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(y.T, moved.T, strict=True)]))
        error.append(chance_error(y[:, :, None]))
    assert np.std(means) == pytest.approx(np.mean(error), rel=0.15)  # sd of a sd: 4 %


@pytest.mark.parametrize(("net", "said"), [("needs", "width"), ("kind", "name")])
def test_a_function_that_needs_an_argument_is_named(folder: Path, net: str, said: str) -> None:
    message = f"model: {net} must take no arguments.*'{said}'"
    with pytest.raises(ValueError, match=message):
        features(folder, net)
    with pytest.raises(ValueError, match=message):
        RetinaOwn(model=f"{folder}/nets.py:{net}", images=f"{folder}/x.npy").inputs(0)


def retina_images(folder: Path, array: np.ndarray) -> torch.Tensor:
    np.save(folder / "images.npy", array)
    study = RetinaOwn(model=f"{folder}/nets.py:plain", images=f"{folder}/images.npy")
    return study.inputs(0)[1]


def test_orders_of_axes_that_are_read(folder: Path) -> None:
    first = COLORS.transpose(0, 3, 1, 2)
    expected = torch.from_numpy(first / np.float32(255))
    torch.testing.assert_close(retina_images(folder, COLORS), expected)
    torch.testing.assert_close(retina_images(folder, first), expected)
    torch.testing.assert_close(retina_images(folder, BYTES)[:, 0], torch.from_numpy(BYTES) / 255)
    of_five = np.random.default_rng(0).random((40, 5, 12, 15), dtype=np.float32)
    torch.testing.assert_close(retina_images(folder, of_five), torch.from_numpy(of_five))
    standardized = (of_five - 0.5) * 20
    torch.testing.assert_close(retina_images(folder, standardized), torch.from_numpy(standardized))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (COLORS.transpose(1, 2, 3, 0), r"got \(12, 15, 3, 40\): are the axes .*\(H, W, C, n\)"),
        (COLORS.transpose(3, 0, 1, 2), r"got \(3, 40, 12, 15\): are the axes in another order"),
        (COLORS[0], r"got \(12, 15, 3\): one image with its colors\? Save it as \(1, 12, 15, 3\)"),
        (np.zeros((12, 15, 4), np.uint8), "one image with its colors"),
        (np.zeros((40, 12, 15, 4), np.uint8), "four channels are colors and transparency"),
        (np.zeros((40, 4, 12, 15), np.uint8), "four channels are colors and transparency"),
        (BYTES.astype(np.float32), r"floats in \[0, 1\], got float32 up to 255.*divide"),
        (COLORS.astype(float), r"floats in \[0, 1\], got float64 up to 255"),
    ],
)
def test_images_that_would_be_misread_are_refused(
    folder: Path, array: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        retina_images(folder, array)


def test_damaged_and_transparent_pictures_are_named(folder: Path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    study = RetinaOwn(model=f"{folder}/nets.py:plain", images=str(pictures))
    Image.fromarray(BYTES[0]).save(pictures / "0.png")
    whole = (pictures / "0.png").read_bytes()
    for name, content in (("1.png", whole[: len(whole) // 2]), ("2.jpg", b"no picture")):
        (pictures / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"images: .*{name} is no picture, or damaged"):
            study.inputs(0)
        (pictures / name).unlink()
    seen = np.dstack([COLORS[0], np.full((12, 15), 255, np.uint8)])
    (pictures / "0.png").unlink()
    Image.fromarray(seen).save(pictures / "3.png")
    torch.testing.assert_close(
        study.inputs(0)[1][0].permute(1, 2, 0), torch.from_numpy(COLORS[0] / np.float32(255))
    )
    seen[3, 4, 3] = 0
    Image.fromarray(seen).save(pictures / "3.png")
    with pytest.raises(ValueError, match=r"images must not be transparent, got .*3\.png"):
        study.inputs(0)


def test_a_network_of_half_precision_is_computed_in_single(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "standard.npy", (BYTES.astype(np.float32) - 128) / 64)
    study = RetinaOwn(
        model=f"{folder}/nets.py:half", images=f"{folder}/standard.npy", n_images=8, n_boot=10
    )
    result = study.run(out=folder / "runs", progress=False)
    assert [check.holds for check in result.checks] == [True]
    log = next((folder / "runs").rglob("log.txt")).read_text()
    assert "half precision" in log
    assert "range from -2 to 1.98" in log


def test_nothing_to_predict_is_said(folder: Path) -> None:
    how: dict[str, Any] = {"splits": 2, "n_halvings": 2, "n_boot": 10}
    np.save(folder / "f.npy", np.random.default_rng(3).normal(size=(40, 5, 2)))
    np.save(folder / "zero.npy", np.zeros((40, 4, 3, 2)))
    study = ConvrnnOwn(responses=f"{folder}/zero.npy", features=f"{folder}/f.npy", **how)
    with pytest.raises(ValueError, match="responses must differ between images"):
        study.run(out=folder / "runs", progress=False)
    study = ConvrnnOwn(responses=f"{folder}/y.npy", features=f"{folder}/f.npy", **how)
    result = study.run(out=folder / "runs", progress=False)
    assert "nan" not in str(list(result.answers))


def test_own_spikes_are_drawn_from_the_whole_file_and_must_be_spikes(tmp_path: Path) -> None:
    from tractable.studies.spiking.spiking_own import load

    path, labels = tmp_path / "own.npz", np.repeat([0, 1, 2], 100)  # sorted
    spikes = np.zeros((300, 20, 4), dtype=np.uint8)
    spikes[np.arange(300), labels, labels] = 1  # step and unit of the only spike are the label
    np.savez(path, spikes=spikes, labels=labels)
    found, names = load(str(path), 10.0, 0.5, 60, 4, 3, 0)
    assert found.shape == (20, 60, 4)
    assert set(names) == {0, 1, 2}
    assert torch.equal(found.nonzero()[:, 0].bincount(), torch.as_tensor(np.bincount(names)))
    assert found[names, range(60), names].all()  # each label stays with its sample
    np.savez(path, spikes=2 * spikes, labels=labels)
    with pytest.raises(ValueError, match="must be 0 or 1, got values up to 2"):
        load(str(path), 10.0, 0.5, 60, 4, 3, 0)
