"""Witnesses of linearity: exactly linear and quadratic units, the cap of rectification, sklearn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tractable.vision.retina import linearity, reconstruction, rectification_cap, ridge

SIDE = 6


def gaussian(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def drive(images: Tensor) -> Tensor:
    w = torch.randn(SIDE * SIDE, 3, generator=torch.Generator().manual_seed(9))
    return images.flatten(1) @ (w / w.norm(dim=0)).to(images.dtype)


def test_an_exactly_linear_layer() -> None:
    found = linearity(drive, None, gaussian(2000))
    assert found.r2 > 0.999
    assert (found.pearson > 0.999).all()
    assert found.n_silent == 0


def test_a_rectified_unit_has_the_cap_of_rectification() -> None:
    found = linearity(lambda x: drive(x).relu(), None, gaussian(20_000))
    assert found.r2 == pytest.approx(0.734, abs=0.02)
    np.testing.assert_allclose(found.cap, found.r2_per_channel, atol=0.03)
    assert (found.ln_r2 > 0.98).all()


def test_a_quadratic_unit_is_not_linear() -> None:
    found = linearity(lambda x: drive(x) ** 2, None, gaussian(20_000))
    assert abs(found.r2) < 0.02


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7, 2.0])
def test_cap_against_simulation(mean: float) -> None:
    z = np.random.default_rng(0).standard_normal(400_000) + mean
    u = np.maximum(z, 0)
    cap = rectification_cap((u > 0).mean())
    assert cap == pytest.approx(np.corrcoef(z, u)[0, 1] ** 2, abs=0.005)


@pytest.mark.parametrize("shape", [(300, 20), (80, 200)])
def test_ridge_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape) + 3
    y = x[:, :2] + rng.standard_normal((len(x), 2))
    for penalty in (0.1, 1.0, 100.0):
        ours = ridge(x, y, (penalty,))
        theirs = linear_model.Ridge(alpha=penalty, solver="svd").fit(x, y)
        scale = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(ours.coefficients.T, theirs.coef_, atol=1e-6 * scale)
        np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-6)


@pytest.mark.parametrize("shape", [(60, 10), (60, 90)])
def test_errors_left_out_are_those_of_refits(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape)
    y = x[:, :1] + rng.standard_normal((len(x), 1))
    fit = ridge(x, y, (3.0,))
    left = []
    for i in range(len(x)):
        keep = np.arange(len(x)) != i
        left.append(y[i] - ridge(x[keep], y[keep], (3.0,)).predict(x[i : i + 1])[0])
    assert fit.errors[0, 0] == pytest.approx(np.mean(np.square(left)), rel=1e-5)


@pytest.mark.parametrize("features", [58, 59, 60, 61, 100])
def test_errors_left_out_hold_where_penalties_hardly_bind(features: int) -> None:
    """With about as many features as rows nearly nothing of a row's residual is left."""
    rng = np.random.default_rng(0)
    x, penalties = rng.standard_normal((60, features)), (1e-9, 1e-6, 10.0)
    y = 0.3 * x @ rng.standard_normal((features, 1)) + rng.standard_normal((60, 1)) + 7
    left = np.empty((3, 60))
    for i, penalty in enumerate(penalties):
        for row in range(60):
            keep = np.arange(60) != row
            mean = x[keep].mean(0)
            design = np.concatenate([x[keep] - mean, np.sqrt(penalty) * np.eye(features)])
            target = np.append(y[keep] - y[keep].mean(), np.zeros(features))
            weights = np.linalg.lstsq(design, target, rcond=None)[0]
            left[i, row] = y[row, 0] - y[keep].mean() - (x[row] - mean) @ weights
    found = ridge(x, y, penalties)
    np.testing.assert_allclose(found.errors[:, 0], (left**2).mean(1), rtol=1e-5)
    assert found.penalty == 10.0


def test_silent_units_are_counted_and_left_out() -> None:
    def some(x: Tensor) -> Tensor:
        u = drive(x)
        u[:, 1] = 0
        return u

    found = linearity(some, None, gaussian(500))
    assert found.n_silent == 1
    assert np.isnan(found.r2_per_channel[1])
    assert found.r2 > 0.999
    none = linearity(lambda x: drive(x) * 0, None, gaussian(500))
    assert none.n_silent == 3
    assert np.isnan(none.r2)


def test_maps_pooled_positions_and_reconstruction() -> None:
    conv = torch.nn.Conv2d(1, 2, 3, padding=1)
    images = torch.rand(600, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    for position in (None, (8, 8), "pooled"):
        assert linearity(conv, None, images, position=position, window=7).r2 > 0.999
    pixel = reconstruction(torch.nn.Identity(), None, images, penalties=(1e-3,))
    assert pixel.r2 > 0.999
    with pytest.raises(ValueError, match=r"position must be inside .*\(16, 2\)"):
        linearity(conv, None, images, position=(16, 2))
    with pytest.raises(ValueError, match="at least 50"):
        linearity(conv, None, images[:40])
    small = torch.nn.Sequential(conv, torch.nn.AdaptiveAvgPool2d(2))
    with pytest.raises(ValueError, match="'pooled' for a map of 2 x 2"):
        linearity(small, None, images, position="pooled")


def test_the_window_follows_a_map_that_is_coarser_in_one_direction() -> None:
    """A unit of a map pooled by rows sees the two pixels there, and the window is around them."""
    images = torch.rand(400, 1, 16, 32, generator=torch.Generator().manual_seed(0))
    pooled = torch.nn.Sequential(torch.nn.AvgPool2d((1, 2)))
    found = linearity(pooled, "0", images, window=5)
    assert found.r2 > 0.999
    down = torch.nn.Sequential(torch.nn.AvgPool2d((2, 1)))
    assert linearity(down, "0", images.transpose(2, 3), window=5).r2 > 0.999


def test_the_last_fifth_of_the_images_is_scored() -> None:
    images = gaussian(503)
    found = linearity(drive, None, images)
    np.testing.assert_allclose(found.actual, drive(images)[402:].double().numpy(), rtol=1e-6)
    assert len(found.predicted) == 101


def test_the_curve_behind_a_linear_filter_follows_no_scatter() -> None:
    """A drive with scatter of variance 1/4 that no curve of it explains: R2 is 1 / 1.25."""

    def scattered(x: Tensor) -> Tensor:
        d = drive(x.double())
        return d[:, :1] + 0.5 * 2**0.5 * torch.sin(40 * d[:, 1:2])

    found = linearity(scattered, None, gaussian(10_000))
    assert found.ln_r2[0] == pytest.approx(0.8, abs=0.03)
