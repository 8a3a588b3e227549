"""Receptive fields: bases, positions, silent units, ensembles, spike-triggered averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from tractable.vision.retina import (
    DeadBottleneckError,
    RetinaVVS,
    RFSet,
    receptive_fields,
    rf_ensemble,
    rf_mosaic,
    sta,
)

IMAGES = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def small(**options: object) -> RetinaVVS:
    settings = {"n_bn": 2, "d_vvs": 1, "kernel": 3, "retina_channels": 4, "vvs_channels": 5}
    return RetinaVVS(**{**settings, "head": (3,), "in_shape": (1, 8, 8), **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("base", ["images", "mean", "black", "gray"])
@pytest.mark.parametrize("through", ["pre", "post", "linear"])
def test_every_base_and_way_through(base: str, through: str) -> None:
    found = receptive_fields(small(), "vvs_1", images=IMAGES, base=base, through=through)
    assert found.rf.shape == (5, 8, 8)
    assert found.rf.dtype == np.float64
    assert found.unit.tolist() == [[c, 4, 4] for c in range(5)]
    assert found.n_images == (20 if base == "images" else 1)


def test_a_base_of_ones_own() -> None:
    model = small()
    given = receptive_fields(model, "vvs_1", base=IMAGES[0])
    ensemble = rf_ensemble(model, "vvs_1", IMAGES[:3])
    assert np.allclose(given.rf, ensemble[:, 0])
    mean = receptive_fields(model, "vvs_1", base=IMAGES[:3])
    assert np.allclose(mean.rf, ensemble.mean(1))


def test_noise_is_off() -> None:
    model = small(noise_in=1.0, noise_out=1.0).train()
    first = receptive_fields(model, "vvs_1", images=IMAGES)
    assert np.array_equal(first.rf, receptive_fields(model, "vvs_1", images=IMAGES).rf)


def test_positions_and_units() -> None:
    conv = nn.Conv2d(1, 3, 3, padding=1)
    found = receptive_fields(conv, base="gray", shape=(1, 9, 9), position=(0, 8), units=[2])
    assert found.unit.tolist() == [[2, 0, 8]]
    weight = conv.weight[2, 0].detach().numpy()
    assert np.allclose(found.rf[0, :2, 7:], weight[1:, :2])
    assert not found.rf[0, 2:].any()
    mosaic = rf_mosaic(conv, None, [(4, 4), (0, 8)], base="gray", shape=(1, 9, 9), units=[2])
    assert np.allclose(mosaic.rf[1], found.rf[0])


def test_units_of_a_readout_have_fields() -> None:
    assert receptive_fields(small(), "fc1", images=IMAGES).rf.shape == (3, 8, 8)


def test_silent_units_are_nan_and_counted() -> None:
    model = small()
    conv = model.get_submodule("retina_2").conv
    with torch.no_grad():
        conv.weight[1] = 0
        conv.bias[1] = -1  # type: ignore[index]
    found = receptive_fields(model, "retina_2", images=IMAGES)
    assert found.n_dead == 1
    assert found.dead.tolist() == [False, True]
    assert np.isnan(found.rf[1]).all()
    assert found.alive().shape == (1, 8, 8)
    assert np.isnan(sta(model, "retina_2", n=50).rf[1]).all()
    with torch.no_grad():
        conv.weight[:] = 0
        conv.bias[:] = -1  # type: ignore[index]
    silent = receptive_fields(model, "vvs_1", images=IMAGES)
    assert silent.n_dead == 5
    with pytest.raises(DeadBottleneckError, match="all 5 units of vvs_1 are silent"):
        silent.alive()


def test_colors() -> None:
    conv = nn.Conv2d(3, 2, 3, padding=1)
    profile = torch.tensor([1.0, -0.5, 0.2])
    with torch.no_grad():
        conv.weight[:] = profile[None, :, None, None] * torch.randn(2, 1, 3, 3)
    found = receptive_fields(conv, base="gray", shape=(3, 9, 9))
    assert found.rf.shape == (2, 3, 9, 9)
    gray = found.gray()  # separable fields: their one component, with its length
    assert np.allclose(np.abs(gray), np.abs(found.rf[:, 0]) * float(profile.norm()), atol=1e-6)


def test_published_normalization() -> None:
    found = receptive_fields(small(), "vvs_1", images=IMAGES, through="linear")
    rms = np.sqrt((found.normalized() ** 2).mean((1, 2)))
    assert np.allclose(rms, 1, atol=1e-2)


def test_datasets_round_trip() -> None:
    found = receptive_fields(small(), "vvs_1", images=IMAGES)
    back = RFSet.from_dataset(found.to_dataset())
    xr.testing.assert_identical(found.to_dataset(), back.to_dataset())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base": "images"}, "base='images' needs images"),
        ({"base": "white"}, "base must be one of"),
        ({"base": "gray", "position": (8, 0)}, r"map of 8 x 8, got \(8, 0\)"),
        ({"base": "gray", "units": [5]}, r"units must be whole numbers of 0 .. 4, .* got \[5\]"),
        ({"images": IMAGES * torch.nan}, "images must be finite"),
        ({"images": IMAGES, "n_images": 0}, "n_images must be >= 1"),
        ({"base": "gray", "pad": "mirror"}, "pad must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        receptive_fields(small(), "vvs_1", **arguments)


def test_the_shape_must_be_known() -> None:
    with pytest.raises(ValueError, match="shape=\\(C, H, W\\)"):
        receptive_fields(nn.Conv2d(1, 1, 3), base="gray")
