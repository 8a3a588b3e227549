"""Where message passing ends, its equations hold, written out for a vector in each mode."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch

from tractable.tensors import (
    AMPResult,
    GaussBernoulli,
    Gaussian,
    SpikedTensor,
    TruncatedGaussian,
    amp,
    detectability,
    spectral_threshold,
)
from tractable.tensors.detectability import component_priors
from tractable.tensors.learning import refitted

SHAPE = (20, 30, 40)
N = prod(SHAPE) ** (1 / 3)
MEAN, VAR = 0.6, 0.8
PRIOR = Gaussian(MEAN, VAR)


def noise_by_hand(Y: np.ndarray, fit: AMPResult) -> float:
    """Return the mean over entries of (Y - W)^2 under the posterior, to first order (T14)."""
    x = [f[:, 0] for f in fit.factors]
    q = [f @ f / N for f in x]
    v = [c[:, 0, 0].sum() / N for c in fit.cov]
    residual = Y - np.einsum("i,j,k->ijk", *x) / N
    spread = N * (v[0] * q[1] * q[2] + q[0] * v[1] * q[2] + q[0] * q[1] * v[2])
    return float(((residual**2).sum() + spread) / Y.size)


def equations_hold(Y: np.ndarray, fit: AMPResult, delta: float, excess: float) -> None:
    """Assert (T2)-(T5) at rank 1; ``excess`` is the true noise variance over ``delta``."""
    x = [f[:, 0] for f in fit.factors]
    q = [f @ f / N for f in x]
    v = [c[:, 0, 0].sum() / N for c in fit.cov]
    for a in range(3):
        b, g = (mode for mode in range(3) if mode != a)
        A = excess * q[b] * q[g] - (excess - 1) * (q[b] + v[b]) * (q[g] + v[g])
        B = np.einsum(Y, [0, 1, 2], x[b], [b], x[g], [g], [a]) / (N * delta)
        u = B - excess / delta * (v[b] * q[g] + q[b] * v[g]) * x[a]
        cov = 1 / (1 / VAR + A / delta)
        np.testing.assert_allclose(fit.cov[a][:, 0, 0], cov, rtol=1e-6)
        np.testing.assert_allclose(x[a], MEAN + cov * (u - A / delta * MEAN), atol=1e-6)


@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
@pytest.mark.parametrize("assumed", [0.1, 0.2, "estimate"])
def test_a_fit_solves_its_equations(assumed: float | str, schedule: str) -> None:
    Y = SpikedTensor(SHAPE, 1, PRIOR, 0.1).sample(0).Y
    fit = amp(
        Y, 1, priors=PRIOR, noise=assumed, units="model", schedule=schedule,
        tol=1e-10, max_iter=3000, progress=False,
    )  # fmt: skip
    assert fit.status == "converged"
    found = noise_by_hand(Y.numpy(), fit)
    if assumed == "estimate":
        assert fit.noise == pytest.approx(found, rel=1e-7)
        equations_hold(Y.numpy(), fit, fit.noise, 1.0)
    else:
        equations_hold(Y.numpy(), fit, float(assumed), found / float(assumed))


def test_noise_beside_a_strong_signal_is_that_of_the_draw() -> None:
    sample = SpikedTensor(SHAPE, 1, PRIOR, 0.0005).sample(1)
    squares = ((sample.Y - sample.W) ** 2).numpy()
    assert sample.W.square().mean() > squares.mean()
    fit = amp(sample.Y, 1, priors=PRIOR, units="model", tol=5e-4, progress=False)
    assert fit.noise_variance == pytest.approx(squares.mean(), rel=0.005)
    by_slice = amp(sample.Y, 1, priors=PRIOR, units="model", noise_by=0, tol=5e-4, progress=False)
    assert by_slice.noise_slices is not None
    np.testing.assert_allclose(by_slice.noise_slices, squares.mean((1, 2)), rtol=0.02)


def test_the_noise_of_a_component_is_that_of_its_own_strength() -> None:
    noise = 0.001
    sample = SpikedTensor((60, 80, 100), 1, PRIOR, noise).sample(0)
    fit = amp(sample.Y, 1, priors=PRIOR, noise=noise, units="model", tol=5e-4, progress=False)
    found = detectability(fit).components[0].noise
    size = prod(fit.shape) ** (1 / 3)
    expected = noise * size / float(sample.W.square().sum())
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("noise", "found"), [(0.08, True), (0.14, False)])
def test_als_is_said_to_find_what_is_below_the_spectral_threshold(
    noise: float, found: bool
) -> None:
    shape = (60, 80, 100)
    sample = SpikedTensor(shape, 1, PRIOR, noise).sample(0)
    fit = amp(sample.Y, 1, priors=PRIOR, noise=noise, units="model", progress=False)
    component = detectability(fit).components[0]
    assert component.als == found == (component.noise < spectral_threshold(shape))


def test_a_mean_within_its_sampling_error_is_none() -> None:
    for seed in range(3):
        sample = SpikedTensor((60, 80, 100), 1, Gaussian(0.0), 0.01).sample(seed)
        fit = amp(
            sample.Y, 1, priors=Gaussian(0.0), noise=0.01, units="model", init="spectral",
            tol=5e-4, progress=False,
        )  # fmt: skip
        assert fit.predicted_cosine.min() > 0.9
        assert [prior.mean for prior in component_priors(fit, 0)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("prior", [TruncatedGaussian(0.3, 2.0), GaussBernoulli(0.4, 0.5, 1.5)])
def test_a_learned_scale_gives_the_second_moment(
    prior: TruncatedGaussian | GaussBernoulli,
) -> None:
    first, second = prior.moments(1)
    new_first, new_second = refitted(prior, 2 * first, 4 * second).moments(1)
    torch.testing.assert_close(new_second, 4 * second)
    torch.testing.assert_close(new_first, 2 * first)


def test_the_spectral_threshold_falls_with_the_root_of_the_size() -> None:
    ratio = spectral_threshold((200, 240, 300)) / spectral_threshold((50, 60, 75))
    assert ratio == pytest.approx(0.5, rel=1e-12)
    matrices = spectral_threshold((200, 300)) / spectral_threshold((50, 75))
    assert matrices == pytest.approx(1.0, rel=1e-12)
