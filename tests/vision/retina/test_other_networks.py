"""Networks and data as users have them: in place, unpadded, masks, other units, other files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import TractableWarning
from tractable.studies.vision._own_files import read_images
from tractable.vision.convrnn import (
    Recordings,
    neural_fit,
    object_solution_times,
    reliability,
    spearman_brown,
)
from tractable.vision.convrnn.reliability import split_half_correlation
from tractable.vision.retina import (
    anisotropy_floor,
    gratings,
    linearity,
    orientation,
    receptive_fields,
    reconstruction,
    rf_ensemble,
    separability,
)
from tractable.vision.retina.layers import activations, capture


class InPlace(nn.Module):
    def __init__(self, act: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.c, self.d, self.act = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), act

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(x)
        self.act(x)
        return self.d(x)


ACTS: dict[str, Callable[[Tensor], object]] = {
    "functional": lambda x: functional.relu(x, inplace=True),
    "positional": lambda x: functional.leaky_relu(x, 0.1, True),
    "method": lambda x: x.relu_(),
    "torch": torch.relu_,
    "tanh": lambda x: x.tanh_(),
}


@pytest.mark.parametrize("through", ["post", "pre"])
@pytest.mark.parametrize("act", ACTS)
def test_a_nonlinearity_in_place_is_not_lost(act: str, through: str) -> None:
    torch.manual_seed(0)
    model, x = InPlace(ACTS[act]), torch.randn(6, 1, 12, 15)
    torch.testing.assert_close(activations(model, None, x, through=through), model(x).detach())
    assert torch.equal(activations(model, "c", x, through=through), model.c(x).detach())


@pytest.mark.parametrize("act", ACTS)
def test_fields_through_a_nonlinearity_in_place_are_its_gradients(act: str) -> None:
    torch.manual_seed(0)
    model, x = InPlace(ACTS[act]).double(), torch.randn(4, 1, 9, 11, dtype=torch.float64)
    found = rf_ensemble(model, None, x, through="post")
    leaf = x.clone().requires_grad_()
    unit = model(leaf)[:, 1, 5 // 2, 7 // 2].sum()
    (expected,) = torch.autograd.grad(unit, leaf)
    np.testing.assert_allclose(found[1], expected[:, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "act",
    [
        nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True), nn.PReLU(), nn.Hardtanh(),
        nn.Softsign(), nn.LogSigmoid(), nn.Threshold(0.1, 0), nn.Tanhshrink(), nn.RReLU(),
        nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.Mish(),
    ],
)  # fmt: skip
def test_every_activation_has_a_pre_and_a_linear_form(act: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), act, nn.Conv2d(4, 2, 3)).eval()
    x = torch.randn(6, 1, 12, 15)
    assert torch.equal(activations(net, "1", x, through="pre"), net[0](x).detach())
    straight = net[2](net[0](x)).detach()
    torch.testing.assert_close(activations(net, None, x, through="linear"), straight)


def test_what_has_no_linear_form_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3))
    with pytest.raises(ValueError, match="max_pool2d"):
        capture(net, None, "linear")(torch.randn(2, 1, 12, 12))
    assert activations(net, None, torch.randn(2, 1, 12, 12)).shape == (2, 2, 3, 3)


def test_a_network_that_stays_nonlinear_is_said() -> None:
    conv, last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)
    net = nn.Sequential(conv, nn.GroupNorm(2, 4), nn.ReLU(), last)
    with pytest.warns(TractableWarning, match="not linear with through='linear'"):
        receptive_fields(net, None, base="gray", shape=(1, 9, 9), through="linear")
    net[1] = nn.BatchNorm2d(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        receptive_fields(net, None, base="gray", shape=(1, 9, 9), through="linear")


@pytest.mark.parametrize(
    ("layer", "window"),
    [
        (nn.Conv2d(1, 3, 7), 7),
        (nn.Conv2d(1, 3, 7, padding=3), 7),
        (nn.Conv2d(1, 3, 4, stride=2), 5),
        (nn.Conv2d(1, 3, 3, stride=2, padding=1), 3),
        (nn.Sequential(nn.Conv2d(1, 2, 5), nn.Conv2d(2, 2, 5), nn.Conv2d(2, 2, 3)), 11),
        (nn.AvgPool2d(4), 5),
        (nn.Conv2d(1, 3, 3, stride=4, padding=1), 3),
        (nn.Conv2d(1, 3, 1, stride=8), 1),
    ],
)
def test_the_window_lies_over_the_unit(layer: nn.Module, window: int) -> None:
    images = torch.randn(900, 1, 20, 26, generator=torch.Generator().manual_seed(0))
    assert linearity(layer, None, images, window=window).r2 > 0.99
    pooled = linearity(layer, None, images, window=window + 2, position="pooled")
    assert pooled.r2 > 0.99


def test_masks_and_numbers_of_units() -> None:
    net, x = nn.Conv2d(1, 4, 3), torch.rand(8, 1, 9, 11)
    masked = receptive_fields(net, None, images=x, units=[True, False, True, True])
    assert masked.unit[:, 0].tolist() == [0, 2, 3]
    labels = np.arange(60) % 2
    many = torch.rand(60, 1, 9, 11)
    by_mask = separability(net, None, many, labels, channels=np.array([False, False, True, True]))
    assert by_mask.score == separability(net, None, many, labels, channels=[2, 3]).score
    for units in ([1.7], "01", [True, True], 2, []):
        with pytest.raises(ValueError, match="units must be whole numbers"):
            receptive_fields(net, None, images=x, units=units)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="position must be whole numbers"):
        receptive_fields(net, None, images=x, position=(1.9, 2.2))  # type: ignore[arg-type]


def test_what_is_no_count_or_no_place_is_refused() -> None:
    net, x = nn.Conv2d(1, 2, 3, padding=1), torch.rand(80, 1, 9, 11)
    with pytest.raises((TypeError, ValueError), match="n_phase"):
        gratings(net, None, shape=(1, 9, 11), n_phase=4.5)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match="n_images"):
        receptive_fields(net, None, images=x, n_images=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must hold at least one image"):
        receptive_fields(net, None, images=x[:0])
    with pytest.raises(ValueError, match="images must fit the model"):
        linearity(net, None, x.permute(0, 2, 3, 1))
    with pytest.raises(ValueError, match="window must be None"):
        linearity(nn.Sequential(nn.Flatten(), nn.Linear(99, 3)), None, x, window=3)
    with pytest.raises(ValueError, match="position"):
        reconstruction(net, None, x, position="foo")


def test_the_floor_of_noise_is_that_of_the_shape() -> None:
    noise = np.random.default_rng(3).standard_normal((300, 12, 48))
    assert anisotropy_floor((12, 48))[0] == pytest.approx(
        float(orientation(noise).anisotropy.mean()), rel=0.1
    )


@pytest.mark.parametrize("scale", [1e-9, 1e-7, 1e7, 1e12])
def test_a_neuron_is_scored_alike_in_any_unit(scale: float) -> None:
    random = np.random.default_rng(0)
    features, weights = random.normal(size=(100, 5, 3)), random.normal(size=(5, 6))
    signal = np.einsum("ipb,pn->inb", features, weights)
    responses = signal[:, None] + random.normal(size=(100, 8, 6, 3))
    scaled = responses * np.array([scale, 1, 1, 1, 1, 1])[:, None]
    np.testing.assert_allclose(reliability(scaled), reliability(responses), rtol=1e-6)
    plain = neural_fit(features, responses, splits=3, progress=False).score
    found = neural_fit(torch.from_numpy(features), scaled, splits=3, progress=False).score
    np.testing.assert_allclose(found[1:], plain[1:], rtol=1e-6)
    assert found[0].min() > 0.9


def test_an_odd_number_of_repetitions_is_corrected_to_all_of_them() -> None:
    random = np.random.default_rng(0)
    responses = random.normal(size=(200, 1, 4, 2)) + random.normal(size=(200, 5, 4, 2))
    halves = split_half_correlation(responses, n_halvings=1, seed=3)  # two and two of five
    expected = spearman_brown(halves, 2.5)[0]
    np.testing.assert_allclose(reliability(responses, n_halvings=1, seed=3), expected, rtol=1e-12)


def test_times_and_labels_in_order() -> None:
    for times in ([0.0, np.nan, 2.0], [5.0, 3.0, 2.0]):
        with pytest.raises(ValueError, match="time_ms must"):
            Recordings.from_array(np.ones((4, 2, 1, 3)), time_ms=times)
    labels = np.repeat([0.0, 1.0], 10)
    labels[3] = np.nan
    with pytest.raises(ValueError, match="labels must be finite"):
        object_solution_times(np.ones((20, 3, 2)), labels, 0.5, [0, 10])


def test_pictures_of_more_than_eight_bits(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 65536, (12, 15)).astype(np.uint16)
    for name, picture in {
        "deep/0.png": Image.fromarray(gray),
        "real/0.tif": Image.fromarray((gray / 65535).astype(np.float32)),
        "alpha/0.png": Image.fromarray((gray // 256).astype(np.uint8)).convert("LA"),
    }.items():
        (tmp_path / name).parent.mkdir()
        picture.save(tmp_path / name)
        found = read_images(str((tmp_path / name).parent))
        assert found.shape == (1, 1, 12, 15)
        np.testing.assert_allclose(found[0, 0], gray / 65535, atol=1 / 255)
    (tmp_path / "deeper").mkdir()
    Image.fromarray(gray.astype(np.int32) * 70).save(tmp_path / "deeper" / "0.tif")
    with pytest.raises(ValueError, match="8 or 16 bits"):
        read_images(str(tmp_path / "deeper"))
    np.save(tmp_path / "deep.npy", gray[None])
    np.testing.assert_allclose(read_images(str(tmp_path / "deep.npy"))[0, 0], gray / 65535)
    np.save(tmp_path / "long.npy", (gray[None] // 256).astype(np.int64))
    with pytest.raises(ValueError, match="images must be bytes"):
        read_images(str(tmp_path / "long.npy"))
