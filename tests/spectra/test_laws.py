"""What a law says about itself: densities in every variable, condition, samples, transform."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.spectra import JacobianSpectrum, UniversalSpectrum

LAWS = [
    JacobianSpectrum("tanh", 4, q=0.3),
    JacobianSpectrum("relu", 3, "gaussian", q=1.0),
    UniversalSpectrum("smooth", 0.5),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_densities_are_slopes_in_their_own_variable(law) -> None:
    # IDENTITY: of lambda, log lambda, s and log s, each against a difference of the distribution
    p = law.cdf(0.0) + (1 - law.cdf(0.0)) * np.linspace(0.05, 0.95, 12)
    lam = law.quantile(p)
    s, step = np.sqrt(lam), 1e-4
    up, down = 1 + step, 1 - step
    rise = law.cdf(lam * up) - law.cdf(lam * down)
    np.testing.assert_allclose(law.density(lam), rise / (2 * step * lam), rtol=1e-5)
    np.testing.assert_allclose(law.density(lam, log=True), rise / (2 * step), rtol=1e-5)
    rise = law.cdf(s=s * up) - law.cdf(s=s * down)
    np.testing.assert_allclose(law.density(s=s), rise / (2 * step * s), rtol=1e-5)
    np.testing.assert_allclose(law.density(s=s, log=True), rise / (2 * step), rtol=1e-5)
    np.testing.assert_allclose(law.cdf(s=s), law.cdf(lam), rtol=1e-12)


def test_the_condition_is_a_ratio_of_singular_values() -> None:
    for law in (LAWS[0], LAWS[2]):
        low, high = np.sqrt(law.quantile([0.1, 0.9]))
        assert law.condition(0.1) == pytest.approx(high / low, rel=1e-12)
    assert np.isinf(LAWS[1].condition(0.1))


def test_samples_and_the_transform_are_those_of_the_quantiles() -> None:
    law = LAWS[0]
    nodes, weights = np.polynomial.legendre.leggauss(200)
    lam = law.quantile(0.5 * (nodes + 1))
    for x in (0.1, 1.0, 5.0):
        exact = -0.5 * weights @ (lam / (x + lam))
        assert law.transform(x) == pytest.approx(exact, abs=2e-5)
    sample = law.sample(20_000, np.random.default_rng(0))
    at = law.quantile([0.1, 0.5, 0.9])
    np.testing.assert_allclose((sample[:, None] <= at).mean(0), [0.1, 0.5, 0.9], atol=0.012)
    assert (np.diff(law.grid(50)) > 0).all()
