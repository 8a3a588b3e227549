"""Sampled networks: small singular values, the scaled start, alignment, threads and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.spectra import JacobianSpectrum, Nonlinearity, compare, simulate
from tractable.spectra.graded import GradedProduct


def test_the_smallest_of_a_long_product_is_the_largest_of_its_inverse() -> None:
    """Of 100 layers, 1e-203 times smaller than the largest; and the logs add to the determinant."""
    random = np.random.default_rng(0)
    product, inverse = GradedProduct(30), np.eye(30)
    log_size = log_determinant = 0.0
    for _ in range(100):
        slopes = np.where(random.random(30) < 0.5, 1.0, 0.1)
        W = slopes[:, None] * random.normal(size=(30, 30)) / 30**0.5
        product.multiply(W)
        log_determinant += np.linalg.slogdet(W)[1]
        inverse = inverse @ np.linalg.inv(W)
        log_size += np.log(np.abs(inverse).max())
        inverse /= np.abs(inverse).max()
    log_s = np.log(product.singular_values())
    assert log_s[0] < log_s[-1] - 200
    assert log_s[0] == pytest.approx(-np.log(np.linalg.norm(inverse, 2)) - log_size, abs=1e-9)
    assert log_s.sum() == pytest.approx(log_determinant, rel=1e-12)


def test_graded_values_are_the_plain_ones_where_those_are_right() -> None:
    plain, graded = (
        simulate("relu", [2, 12], "gaussian", q=1.0, width=40, seed=3, graded=graded)
        for graded in (False, True)
    )
    s, exact = plain.singular_values, graded.singular_values
    good = s > 1e-9
    np.testing.assert_allclose(s[good], exact[good], rtol=1e-5)
    # Zeros are exact: as many as the narrowest layer has silent units, at least.
    assert (exact[0, 1] == 0).sum() >= (exact[0, 0] == 0).sum() > 0


def test_a_scaled_start_has_the_variance_asked_for() -> None:
    found = simulate("tanh", 8, q=0.03, width=100, start="scaled", n_draws=2)
    np.testing.assert_allclose(found.q[:, 0], 0.03, rtol=1e-12)


def test_alignment_takes_the_shift_of_each_draw_away() -> None:
    """The shift is that of the variances: without it the sample is nearer, and the law stays."""
    law = JacobianSpectrum("tanh", 16, q=0.03)
    found = simulate("tanh", [16], q=0.03, width=150, n_draws=3, seed=0)
    plain, aligned = compare(law, found), compare(law, found, align="chi")
    assert plain.shift == 0
    assert aligned.ks < plain.ks
    one = simulate("tanh", [16], q=0.03, width=150, seed=0)
    by_hand = sum(np.log(law.sigma_w**2 * law.phi.mu(1, q)) for q in one.q[0])
    assert compare(law, one, align="chi").shift == pytest.approx(by_hand, rel=1e-9)
    assert compare(law, one).ks == compare(law, one.eigenvalues(16)).ks


def test_the_growth_of_each_layer_is_that_of_its_own_variance() -> None:
    # SIMULATION: chi^l = sigma_w^2 mean phi'^2 against the Gaussian mean at the measured q^l
    found = simulate("tanh", 6, q=0.4, width=800, sigma_w=1.5, sigma_b=0.3, seed=0)
    phi = Nonlinearity("tanh")
    expected = [1.5**2 * phi.mu(1, float(q)) for q in found.q[0]]
    np.testing.assert_allclose(found.chi[0], expected, rtol=0.03)


def test_off_the_critical_line_the_shift_is_from_the_chi_of_the_theory() -> None:
    law = JacobianSpectrum("tanh", 6, sigma_w=1.4, sigma_b=0.2)
    found = simulate("tanh", 6, q=law.q, width=60, sigma_w=1.4, sigma_b=0.2, seed=0)
    by_hand = sum(np.log(1.4**2 * law.phi.mu(1, float(q)) / law.chi) for q in found.q[0])
    assert abs(law.chi - 1) > 0.05
    assert compare(law, found, align="chi").shift == pytest.approx(by_hand, rel=1e-9)


def test_the_distance_is_taken_between_the_samples() -> None:
    """CLOSED FORM: of quantiles at (i - 1/2) / n the distribution is met halfway between them."""
    law = JacobianSpectrum("linear", 1, "gaussian", q=1.0)
    n = 50
    lam = law.quantile((np.arange(n) + 0.5) / n)
    found = compare(law, lam)
    between = law.cdf(0.5 * (lam[1:] + lam[:-1])) - np.arange(1, n) / n
    assert found.ks == pytest.approx(np.abs(between).max(), abs=1e-12)
    assert found.ks < 0.25 / n
    assert found.wasserstein_log == pytest.approx(0, abs=1e-9)
    assert found.edge_ratio == pytest.approx(lam[-1] / 4, rel=1e-12)
    assert found.z_ks == pytest.approx(found.ks * n**0.5)
    assert found.z_atoms == ()
    scaled = compare(law, 1.1 * lam, aligned=True)
    assert scaled.shift == pytest.approx(np.log(1.1 * lam.mean()), rel=1e-12)


def test_atoms_are_counted_in_units_of_independent_samples() -> None:
    law = JacobianSpectrum("hard_tanh", 8, q=0.25)
    (_, zero), (top, mass) = law.atoms
    sampled = np.concatenate([np.zeros(50), np.linspace(0.1, 0.9, 350), np.full(600, top)])
    z = compare(law, sampled).z_atoms
    assert z[0] == pytest.approx((0.05 - zero) / (zero * (1 - zero) / 1000) ** 0.5)
    assert z[1] == pytest.approx((0.6 - mass) / (mass * (1 - mass) / 1000) ** 0.5)


def test_mistakes_are_named() -> None:
    law = JacobianSpectrum("tanh", 4, q=0.1)
    found = simulate("tanh", [2], q=0.1, width=20)
    with pytest.raises(ValueError, match="depth must be one of"):
        compare(law, found)
    with pytest.raises(ValueError, match="SimulatedSpectra"):
        compare(law, [1.0, 2.0], align="chi")
    with pytest.raises(ValueError, match="align"):
        compare(law, [1.0, 2.0], align="median")
    with pytest.raises(ValueError, match="start"):
        simulate("tanh", 2, q=0.1, width=20, start="fixed")


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(("phi", "q"), [("tanh", 0.0259), ("hard_tanh", 0.25), ("relu", 1.0)])
def test_wide_networks_have_the_spectra_of_the_theory(phi: str, q: float, ensemble: str) -> None:
    """SIMULATION: one network of 1000 units at four depths; the law of another depth is far.

    The start is scaled: as drawn, q^1 scatters by q sqrt(2/N) = 4.5 %, which shifts the narrow
    spectra of orthogonal networks as a whole (tanh: distances up to 0.043).
    """
    depths = [2, 8, 32, 128]
    sampled = simulate(phi, depths, ensemble, q=q, width=1000, start="scaled", seed=0)
    for depth in depths:
        law = JacobianSpectrum(phi, depth, ensemble, q=q)
        assert compare(law, sampled).ks < (0.012 if ensemble == "gaussian" else 0.03), depth
        if ensemble == "orthogonal" and phi != "hard_tanh" and depth >= 8:
            assert compare(law, sampled, aligned=True).ks < 0.012, depth
    other = JacobianSpectrum(phi, 8, ensemble, q=q)
    assert compare(other, sampled.eigenvalues(32)).ks > 0.1
