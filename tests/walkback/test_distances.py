"""Distances between samples: witnesses are closed forms, limits, and repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from tractable.walkback import distances
from tractable.walkback.distances import frechet, mmd2, sliced_wasserstein


def test_mmd2_of_two_halves_is_zero_within_its_error() -> None:
    x = np.random.default_rng(0).normal(size=(1500, 3))
    found = mmd2(x[:700], x[700:], [0.5, 1.0])
    assert abs(found.value) < 3 * found.se


def test_mmd2_of_shifted_gaussians_matches_the_integral() -> None:
    # E k(x, y) = (w^2 / (w^2 + 2))^(n/2) exp(-|d|^2 / (2 (w^2 + 2))) for unit Gaussians d apart
    random = np.random.default_rng(1)
    shift, width, n = 1.5, 1.0, 2
    same = (width**2 / (width**2 + 2)) ** (n / 2)
    exact = 2 * same * (1 - np.exp(-(shift**2) / (2 * (width**2 + 2))))
    x, y = random.normal(size=(2, 2000, n))
    found = mmd2(x, y + np.array([shift, 0.0]), [width])
    assert abs(found.value - exact) < 4 * found.se
    assert found.se < 0.05 * exact


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.9, 1.6), (1.0, 0.75, 1.35)])
def test_the_standard_error_is_that_of_repeats(shift: float, low: float, high: float) -> None:
    random = np.random.default_rng(2)
    runs = [
        mmd2(random.normal(size=(120, 2)), random.normal(size=(90, 2)) + shift, [0.5, 1.0])
        for _ in range(150)
    ]
    spread = np.std([run.value for run in runs])
    assert low < np.mean([run.se for run in runs]) / spread < high


def test_mmd2_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 150, 2))
    whole = mmd2(x, y[:131], [1.0])
    monkeypatch.setattr(distances, "BLOCK", 37)
    parts = mmd2(x, y[:131], [1.0])
    assert parts.value == pytest.approx(whole.value, abs=1e-14)
    assert parts.se == pytest.approx(whole.se, rel=1e-9)


def test_sliced_wasserstein_of_a_shift() -> None:
    x = np.random.default_rng(4).normal(size=(800, 2))
    found = sliced_wasserstein(x, x + np.array([2.0, 0.0]), 4000)
    assert found == pytest.approx(2.0 / np.sqrt(2), rel=0.03)


def test_sliced_wasserstein_of_unequal_sizes_is_that_of_repeated_points() -> None:
    random = np.random.default_rng(5)
    x, y = random.normal(size=(12, 3)), random.normal(size=(8, 3))
    same = sliced_wasserstein(np.repeat(x, 2, 0), np.repeat(y, 3, 0), 50)
    assert sliced_wasserstein(x, y, 50) == pytest.approx(same, rel=1e-12)


def test_frechet_of_gaussians_matches_scipys_matrix_root() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=(400, 5)) @ random.normal(size=(5, 5))
    y = random.normal(size=(300, 5)) @ random.normal(size=(5, 5)) + 1.0
    a, b = np.cov(x.T), np.cov(y.T)
    gap = x.mean(0) - y.mean(0)
    exact = gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet(x, y) == pytest.approx(exact, rel=1e-8)
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)


def test_bad_input_is_refused_by_name() -> None:
    x = np.zeros((10, 2))
    with pytest.raises(ValueError, match="bandwidths must be > 0"):
        mmd2(x, x, [0.0])
    with pytest.raises(ValueError, match="bandwidths must hold"):
        mmd2(x, x, [])
    with pytest.raises(ValueError, match=r"y must have shape \(n, 2\)"):
        frechet(x, np.zeros((10, 3)))
    with pytest.raises(ValueError, match="x must be finite"):
        mmd2(np.full((10, 2), np.nan), x, [1.0])
    with pytest.raises(ValueError, match="at least 4 points"):
        mmd2(x[:3], x, [1.0])


@pytest.mark.peer
def test_frechet_agrees_with_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.fid")
    import torch

    random = np.random.default_rng(7)
    x, y = random.normal(size=(500, 4)), 1.3 * random.normal(size=(500, 4)) + 0.2
    a, b = torch.from_numpy(np.cov(x.T)), torch.from_numpy(np.cov(y.T))
    theirs = image._compute_fid(
        torch.from_numpy(x.mean(0)), a, torch.from_numpy(y.mean(0)), b
    ).item()
    assert frechet(x, y) == pytest.approx(theirs, rel=1e-6)
