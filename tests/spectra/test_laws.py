"""What a law says about itself: densities in every variable, condition, samples, transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from tractable.core.gaussian import trapezoid_rule
from tractable.spectra import JacobianSpectrum, Layer, Nonlinearity, UniversalSpectrum, compare
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


def test_one_layer_with_straight_pieces_and_bends_has_atoms() -> None:
    """Beside P(h < 0) = 1/2 and P(h > 0) = 1/2, where ELU is straight and relu(h)^2 is flat."""
    elu = JacobianSpectrum("elu", 1, q=0.5)
    assert elu.atoms == [(pytest.approx(elu.sigma_w**2, rel=1e-12), pytest.approx(0.5, abs=1e-12))]
    assert elu.quantile(0.8) == pytest.approx(elu.sigma_w**2, rel=1e-10)
    layers = JacobianSpectrum(layers=[Layer("elu", q=0.5, ensemble="orthogonal")])
    assert layers.atoms == elu.atoms
    square = Nonlinearity(lambda x: torch.relu(x) ** 2)
    law = JacobianSpectrum(square, 1, sigma_w=0.5, sigma_b=0.3)
    assert law.atoms == [(0.0, pytest.approx(0.5, abs=1e-12))]
    assert law.cdf(0.0) == pytest.approx(0.5, abs=1e-12)
    assert law.quantile([0.2, 0.49]).tolist() == [0.0, 0.0]
    lam = 0.25 * (2 * np.sqrt(law.q) * 1.3) ** 2  # of h = 1.3 sd
    assert law.cdf(lam) == pytest.approx(ndtr(1.3), abs=1e-9)
    assert JacobianSpectrum("tanh", 1, q=0.5).atoms == []


@pytest.mark.parametrize(
    ("law", "sample"),
    [
        (LAWS[0], np.ones(400)),
        (LAWS[0], [50.0]),
        (LAWS[0], np.zeros(5)),
        (LAWS[1], np.r_[np.zeros(5), np.full(5, 2.0)]),
        (JacobianSpectrum("hard_tanh", 8, q=0.25), np.r_[np.full(5, 0.1), np.full(5, 0.2)]),
    ],
)
def test_the_distance_of_samples_that_agree_with_one_another(law, sample) -> None:
    """Beside the largest difference over a fine grid; to half a sample of one that stands alone."""
    sample = np.asarray(sample, dtype=float)
    grid = np.sort(np.r_[0.0, np.geomspace(1e-9, 100, 3000), *(sample * f for f in (0.9999999, 1))])
    share = np.searchsorted(np.sort(sample), grid, side="right") / sample.size
    exact = np.abs(law.cdf(grid) - share).max()
    alone = len(set(sample)) == sample.size
    assert compare(law, sample).ks == pytest.approx(exact, abs=2e-3 + alone * 0.5 / sample.size)


def test_equal_layers_of_any_description_are_solved_as_equal() -> None:
    """Two scales whose product is the critical one squared, beside the critical network."""
    pair = [Layer("tanh", q=0.3, sigma_w=w, ensemble="orthogonal") for w in (2.0, 0.8)]
    found = JacobianSpectrum(layers=pair)
    law = JacobianSpectrum("tanh", 2, q=0.3)
    p = np.array([0.1, 0.5, 0.9])
    assert found.quantile(p) == pytest.approx(law.quantile(p) * (1.6 / law.sigma_w**2) ** 2)
