"""Arrays as users have them: strong signals, missing entries, unequal noise, odd types."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.tensors import CP, amp
from tractable.tensors.cp import cp_tensor

pytestmark = pytest.mark.filterwarnings("ignore:Y holds .* NaN")


def recording(seed: int = 0, shape: tuple[int, ...] = (30, 40, 35)) -> tuple[CP, np.ndarray]:
    """Return two positive components, and the array that they make."""
    random = np.random.default_rng(seed)
    factors = [random.exponential(size=(n, 2)) for n in shape]
    return CP(np.ones(2), factors), cp_tensor(np.ones(2), factors)


def error(found: np.ndarray, clean: np.ndarray) -> float:
    """Return the squared error over the square."""
    return float(((found - clean) ** 2).sum() / (clean**2).sum())


@pytest.mark.parametrize("sigma", [0.5, 2.0, 8.0])
def test_parallel_updates_learn_the_same_scale_and_noise(sigma: float) -> None:
    """The scale was learned from old means and new ones at once, and was wrong by a third."""
    _, clean = recording()
    Y = clean + sigma * np.random.default_rng(1).normal(size=clean.shape)
    one = amp(Y, 2, progress=False)
    other = amp(Y, 2, schedule="parallel", progress=False)
    assert other.status == "converged"
    np.testing.assert_allclose(other.weights, one.weights, rtol=2e-3)
    np.testing.assert_allclose(other.noise_variance, one.noise_variance, rtol=2e-3)
    assert error(other.reconstruct(), clean) < 1.1 * error(one.reconstruct(), clean)


def test_parallel_updates_learn_the_noise_of_slices() -> None:
    """Likewise with a noise variance of its own for each slice."""
    _, clean = recording()
    random = np.random.default_rng(1)
    sigma = np.exp(random.normal(size=30))
    Y = clean + sigma[:, None, None] * random.normal(size=clean.shape)
    fit = amp(Y, 2, schedule="parallel", noise_by=0, progress=False)
    assert fit.noise_slices is not None
    np.testing.assert_allclose(fit.noise_slices, sigma**2, rtol=0.2)


def test_noise_of_slices_with_entries_missing_at_random() -> None:
    """The share that is observed was left out: the noise came out three times too large."""
    _, clean = recording()
    random = np.random.default_rng(1)
    Y = clean + 2 * random.normal(size=clean.shape)
    Y[random.random(Y.shape) < 0.6] = np.nan
    fit = amp(Y, 2, noise_by=0, progress=False)
    assert fit.noise_variance == pytest.approx(4, rel=0.05)
    assert error(fit.reconstruct(), clean) < 2 * fit.predicted_error


@pytest.mark.parametrize("missing", [0.05, 0.6])
def test_entries_missing_at_random_of_a_strong_signal(missing: float) -> None:
    """That a row sees a fixed share of all others holds for weak signals alone."""
    _, clean = recording()
    random = np.random.default_rng(1)
    Y = clean + 0.5 * random.normal(size=clean.shape)
    Y[random.random(Y.shape) < missing] = np.nan
    fit = amp(Y, 2, progress=False)
    assert fit.noise_variance == pytest.approx(0.25, rel=0.05)
    assert error(fit.reconstruct(), clean) < 1.5 * fit.predicted_error
