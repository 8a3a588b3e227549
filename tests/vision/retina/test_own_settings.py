"""Orientations and phases of one's own, the reach of fields, standard errors, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.vision.retina import (
    RetinaVVS,
    bootstrap_fields,
    fit_dog,
    gratings,
    linearity,
    receptive_fields,
    reconstruction,
    ridge,
    train_classifier,
)
from tractable.vision.retina.images import from_arrays

SMALL = RetinaVVS(1, 0, 3, 2, 2, head=(3,), in_shape=(1, 16, 16))
X = torch.rand(62, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_gratings_of_ones_own_are_those_of_the_grid() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.ReLU())
    grid = gratings(net, "1", shape=(1, 16, 16), n_theta=4, n_phase=6)
    theta, phase = grid.theta[[2, 0]], np.roll(grid.phase, 2) + 2 * np.pi
    own = gratings(net, "1", shape=(1, 16, 16), theta=theta, phase=phase)
    np.testing.assert_allclose(own.f0, grid.f0[:, :, [2, 0]], atol=1e-6)
    np.testing.assert_allclose(own.f1, grid.f1[:, :, [2, 0]], atol=1e-6)
    np.testing.assert_array_equal(own.theta, theta)
    one = gratings(net, "1", shape=(1, 16, 16), sf=0.125, theta=0.3)  # type: ignore[arg-type]
    assert one.response.shape == (3, 1, 1, 8)
    assert gratings(net, "1", shape=(1, 16, 16), n_phase=np.int64(6)).response.shape[-1] == 6
    for wrong in ([0.0, 1.0, 2.0, 3.0], [0.0, np.pi], [[0.0]], [0.0, 0.0, np.pi, np.pi]):
        with pytest.raises(ValueError, match="phase must be 4 or more phases"):
            gratings(net, "1", shape=(1, 16, 16), phase=wrong)  # type: ignore[arg-type]


def test_fields_wider_than_the_image_are_said() -> None:
    model = RetinaVVS(2, 3, 5, 3, 3, stride=2, head=(4,), in_shape=(1, 16, 16))
    sides = [model.support(f"{name}")[0] for name in ("retina_1", "retina_2", "vvs_1", "vvs_2")]
    assert sides == [5, 9, 17, 25]
    assert model.support("fc1") == (16, 16)
    assert receptive_fields(model, "retina_2", images=X[:2]).rf.shape == (2, 16, 16)
    with pytest.warns(TractableWarning, match="fields of vvs_1 are 17 pixels wide.*16 x 16"):
        receptive_fields(model, "vvs_1", images=X[:2])
    with pytest.raises(ValueError, match="layer must be one of"):
        model.support("vvs_9")


def test_the_support_is_where_the_field_is() -> None:
    model = RetinaVVS(1, 1, 3, 3, 3, stride=2, head=(4,), in_shape=(1, 32, 32))
    rf = receptive_fields(model, "vvs_1", base="gray", through="linear").rf
    seen = np.abs(rf).max(0) > 0
    assert (seen.any(0).sum(), seen.any(1).sum()) == model.support("vvs_1")


@pytest.mark.parametrize("angle", [0.4, 0.4 + np.pi / 2])
def test_standard_errors_are_the_scatter_of_repeated_fits(angle: float) -> None:
    # SIMULATION: 60 draws of noise; the error of a standard deviation is 9 %
    y, x = np.mgrid[:24, :24].astype(float)
    u = np.cos(angle) * (x - 11.3) + np.sin(angle) * (y - 12.1)
    v = -np.sin(angle) * (x - 11.3) + np.cos(angle) * (y - 12.1)
    rf = np.exp(-(u**2 + v**2 / 2.25) / 8) - 0.3 * np.exp(-(u**2 + v**2 / 2.25) / 40) + 0.05
    random = np.random.default_rng(0)
    fits = [fit_dog(rf + 0.02 * random.standard_normal(rf.shape), elliptical=True)
            for _ in range(60)]  # fmt: skip
    names = ("x", "y", "sigma_center", "sigma_surround", "offset", "ratio", "angle")
    assert set(names) < set(fits[0].standard_errors)
    for name in names:
        said = np.median([fit.standard_errors[name] for fit in fits])
        assert np.std([getattr(fit, name) for fit in fits]) == pytest.approx(said, rel=0.35), name


def test_a_network_that_yields_nan_is_not_restarted_as_dead() -> None:
    model = RetinaVVS(1, 1, 3, 2, 2, head=(3,), in_shape=(1, 16, 16))
    with torch.no_grad():
        model.get_parameter("retina_2.conv.weight").fill_(torch.nan)
    data = from_arrays(X, np.arange(62) % 3, n_test=20)
    with pytest.raises(ValueError, match=r"model must have finite activations.*'retina_2'"):
        train_classifier(model, data, {"steps": 3, "batch_size": 8}, progress=False)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train_classifier(SMALL, None), TypeError, "data must be GrayImages"),  # type: ignore[arg-type]
        (lambda: train_classifier(SMALL, None, 5), TypeError, "preset must be 'cpu' or 'paper'"),  # type: ignore[arg-type]
        (lambda: from_arrays(X, ["a"] * 62, n_test=2), ValueError, "labels must be 62 whole"),  # type: ignore[list-item]
        (lambda: from_arrays(X, [-1] * 62, n_test=2), ValueError, "labels must be 62 whole"),
        (lambda: ridge([[1.0]], [[1.0]]), TypeError, "x and y must be arrays, got list"),  # type: ignore[arg-type]
        (lambda: bootstrap_fields(np.ones((1, 3, 4, 4)), 5), TypeError, "statistic must be"),  # type: ignore[arg-type]
        (lambda: receptive_fields("net", images=X), TypeError, "model must be a network"),  # type: ignore[arg-type]
        (
            lambda: receptive_fields(nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), images=X),
            ValueError,
            "images must fit the model",
        ),
        (lambda: RetinaVVS(head=5), ValueError, "head must name the units"),  # type: ignore[arg-type]
        (lambda: RetinaVVS(head=(8, 2.5)), ValueError, "head must be a whole number"),  # type: ignore[arg-type]
        (lambda: RetinaVVS(bias="no"), ValueError, "bias must be one of True, False"),  # type: ignore[arg-type]
        (
            lambda: RetinaVVS(1, 0, 3, 2, 2, head=(2,), in_shape=(1, 16, 16))(X * torch.nan),
            ValueError,
            "x must be finite",
        ),
        (
            lambda: linearity(nn.Identity(), None, X[:61]),
            ValueError,
            "images must leave at least 50 .* 61",
        ),
        (
            lambda: reconstruction(nn.Identity(), None, X[:9]),
            ValueError,
            "images must leave at least 50",
        ),
        (lambda: linearity(nn.Identity(), None, X, ridge="cv"), ValueError, "ridge must be one of"),
        (
            lambda: linearity(nn.Identity(), None, X, ridge="validation"),
            ValueError,
            "images must leave at least 50 .* 43",
        ),
    ],
)
def test_settings_that_mean_nothing_are_named(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
