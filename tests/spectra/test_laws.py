"""What a law says about itself: densities in every variable, condition, samples, transform."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.core.gaussian import trapezoid_rule
from tractable.spectra import JacobianSpectrum, UniversalSpectrum
from tractable.spectra.derivative_law import _collapse
from tractable.spectra.master import MasterEquation

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


@pytest.mark.filterwarnings("ignore:q")
@pytest.mark.parametrize(
    ("phi", "depth", "ensemble", "q"),
    [
        *(("gelu", 54, "orthogonal", 0.3611), ("silu", 9, "orthogonal", 0.577)),
        *(("sin", 20, "orthogonal", 0.5413), ("sin", 19, "gaussian", 0.0256)),
    ],
)
def test_tails_where_the_derivative_passes_zero(phi, depth, ensemble, q) -> None:
    """Beside a law of so many nodes that one level resolves every root."""
    law = JacobianSpectrum(phi, depth, ensemble, q=q)
    rule = trapezoid_rule(4000)
    fine = _collapse(law.phi.deriv(np.sqrt(q) * rule.z) ** 2, rule.w, exact=False)
    gaussian = ensemble == "gaussian"
    one = MasterEquation(lambda _: fine, depth, gaussian, law._equation.log_sigma_w2)
    t = np.linspace(-300.0, 0.0, 60)
    expected = one.solve(t)
    tail = expected.converged & (expected.cdf > 2e-4) & (expected.cdf < 0.3)
    assert tail.sum() > 5
    found = law._equation.solve(t).cdf[tail]
    assert found == pytest.approx(expected.cdf[tail], abs=1e-6)
