"""Networks of different layers where their spectra have gaps, atoms and peaks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra import JacobianSpectrum, Layer, SpectralLaw, compare, haar, simulate
from tractable.spectra.layered import LayeredEquation


def orthogonal(phi: str, q: float = 0.3, **settings: float) -> Layer:
    return Layer(phi, q=q, ensemble="orthogonal", **settings)


def test_two_layers_of_two_slopes_are_blocks_of_a_uniform_angle() -> None:
    """CLOSED FORM: two projections of half the space fall apart into 2 x 2 blocks.

    With slopes (a, 1) and (b, 1) the eigenvalues of a block have the product a^2 b^2 and the sum
    c (1 + a^2 b^2) + (1 - c) (a^2 + b^2), c the squared cosine of a uniform angle.
    """
    a2, b2 = 0.04, 0.25
    found = JacobianSpectrum(layers=[orthogonal("leaky_relu(0.2)"), orthogonal("leaky_relu(0.5)")])
    scale = 4 / (1 + a2) / (1 + b2)
    low, high = found.support
    np.testing.assert_allclose(low, (scale * a2 * b2, scale * a2), rtol=1e-9)
    np.testing.assert_allclose(high, (scale * b2, scale), rtol=1e-9)
    assert found.cdf(0.5 * (low[1] + high[0])) == pytest.approx(0.5, abs=1e-9)
    lam = np.linspace(high[0], high[1], 41)[1:-1]
    product, total = a2 * b2, lam / scale + a2 * b2 * scale / lam
    c = (total - a2 - b2) / (1 + product - a2 - b2)
    exact = 0.5 + 0.5 * (1 - 2 / np.pi * np.arccos(np.sqrt(c)))
    np.testing.assert_allclose(found.cdf(lam), exact, atol=1e-9)
    p = np.array([0.01, 0.2, 0.499, 0.501, 0.8, 0.999])
    np.testing.assert_allclose(found.cdf(found.quantile(p)), p, atol=1e-8)


def test_equal_slopes_meet_in_a_peak_at_both_edges() -> None:
    """CLOSED FORM: the same blocks with a = b; their gap closes, and the edges are peaks."""
    a2 = 0.04
    factor = orthogonal("leaky_relu(0.2)")._factor(1)
    found = SpectralLaw(LayeredEquation((factor, factor)))
    whole = JacobianSpectrum("leaky_relu(0.2)", 2, "orthogonal", q=0.3)
    scale = 4 / (1 + a2) ** 2
    np.testing.assert_allclose(found.support[0], (scale * a2**2, scale), rtol=1e-9)
    np.testing.assert_allclose(whole.support[0], found.support[0], rtol=1e-9)
    p = np.linspace(0.001, 0.999, 60)
    np.testing.assert_allclose(found.cdf(found.quantile(p)), p, atol=1e-8)
    np.testing.assert_allclose(found.quantile(p), whole.quantile(p), rtol=1e-7)


@pytest.mark.parametrize(("n_out", "n_in"), [(100, 400), (400, 100)])
def test_a_rectangular_gaussian_layer_is_marchenko_pastur(n_out: int, n_in: int) -> None:
    """CLOSED FORM: edges (1 -+ sqrt(n_out / n_in))^2 and the mass at zero."""
    found = JacobianSpectrum(layers=[Layer("linear", sigma_w=1.0, n_out=n_out, n_in=n_in)])
    ratio = n_out / n_in
    edges = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    np.testing.assert_allclose(found.support[0], edges, rtol=1e-9)
    assert found.cdf(0.5 * edges[0]) == pytest.approx(max(0.0, 1 - 1 / ratio), abs=1e-12)
    lam = np.linspace(*edges, 30)[1:-1]
    rho = np.sqrt((edges[1] - lam) * (lam - edges[0])) / (2 * np.pi * ratio * lam)
    np.testing.assert_allclose(found.density(lam), rho, rtol=1e-8)


EIGHT = [0.2 + 0.02 * i for i in range(8)]


def test_eight_different_laws_with_atoms_at_both_ends() -> None:
    """The bulk lies between two gaps; all its moments are those of the series."""
    found = JacobianSpectrum(layers=[orthogonal("hard_tanh", q) for q in EIGHT])
    mass = erf(1 / np.sqrt(2 * np.array(EIGHT)))
    (_, zero), (top, atom) = found.atoms
    assert zero == pytest.approx(1 - mass.min(), abs=1e-12)
    assert atom == pytest.approx(1 - (1 - mass).sum(), abs=1e-12)
    assert top == pytest.approx(np.prod(1 / mass), rel=1e-12)
    ((low, high),) = found.support
    assert 0 < low < high < top
    np.testing.assert_allclose(found.cdf([0.5 * low, 0.9 * low]), zero, atol=1e-9)
    np.testing.assert_allclose(found.cdf([high * 1.001, top * 0.999]), 1 - atom, atol=1e-9)
    x, w = np.polynomial.legendre.leggauss(200)
    u = 0.5 * (1 - np.cos(0.5 * np.pi * (1 + x)))
    t = np.log(low) + np.log(high / low) * u
    dt = w * np.log(high / low) * 0.25 * np.pi * np.sin(0.5 * np.pi * (1 + x))
    for k, moment in enumerate(found.moments(4), 1):
        bulk = np.sum(dt * found.density(np.exp(t), log=True) * np.exp(k * t))
        assert bulk + atom * top**k == pytest.approx(moment, rel=1e-8)


def test_the_slopes_of_a_sampled_network_solve_everywhere() -> None:
    """Own counts of flat units in each of eight layers: a curve up to the top atom."""
    random = np.random.default_rng(0)
    flat = (0.065, 0.06, 0.055, 0.045, 0.05, 0.07, 0.0625, 0.0575)
    layers = [
        Layer(
            squared_slopes=random.permutation(np.arange(400) >= 400 * share).astype(float),
            sigma_w=1.0236,
            ensemble="orthogonal",
        )
        for share in flat
    ]
    found = JacobianSpectrum(layers=layers)
    top = found.s_max**2
    near = top * (1 - np.geomspace(1e-9, 0.9, 60))
    assert np.isfinite(found.cdf(near)).all()
    p = np.linspace(0.08, 0.99, 50)
    assert (np.diff(found.quantile(p)) >= 0).all()


@pytest.mark.parametrize("ensemble", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("widths", [(300, 200, 400), (200, 400, 300)])
@pytest.mark.parametrize("phis", [("leaky_relu(0.3)", "hard_tanh"), ("hard_tanh", "linear")])
def test_gaps_and_atoms_of_sampled_rectangular_networks(phis, widths, ensemble) -> None:
    # SIMULATION: no sampled eigenvalue lies in a gap, and the distributions agree
    import torch
    from scipy.special import ndtri

    random, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    layers = [
        Layer(phi, q=0.2, sigma_w=1.0, ensemble=ensemble, n_out=n, n_in=n_in)
        for phi, n, n_in in zip(phis, widths[1:], (widths[0], None), strict=True)
    ]
    law = JacobianSpectrum(layers=layers)
    J = np.eye(widths[0])
    for phi, n in zip(phis, widths[1:], strict=True):
        h = np.sqrt(0.2) * ndtri((random.permutation(n) + 0.5) / n)
        if ensemble == "orthogonal":
            W = haar(n, len(J), generator=generator).numpy()
        else:
            W = random.normal(size=(n, len(J))) / len(J) ** 0.5
        J = Nonlinearity(phi).deriv(h)[:, None] * (W @ J)
    lam = np.linalg.svd(J, compute_uv=False) ** 2
    lam = np.sort(np.concatenate([lam, np.zeros(max(0, len(J) - lam.size))]))
    at, share = 0.5 * (lam[1:] + lam[:-1]), np.arange(1, lam.size) / lam.size
    apart = np.diff(lam) > 1e-8
    for place, _ in law.atoms:
        apart &= np.abs(at - place) > 1e-6
    assert np.abs(law.cdf(at) - share)[apart].max() < 0.02
    inside = np.full(lam.size, False)
    for low, high in law.support:
        inside |= (lam > 0.9 * low) & (lam < 1.1 * high)
    for place, _ in law.atoms:
        inside |= np.abs(lam - place) < 1e-6
    assert inside.all()
    for place, mass in law.atoms:
        sampled = np.mean(np.abs(lam - place) < 1e-6)
        assert mass == pytest.approx(sampled, abs=2.01 / lam.size)


def test_the_law_of_its_own_slopes_is_nearer_than_that_of_all_networks() -> None:
    """SIMULATION: hard tanh, 8 layers; what is left is the randomness of the weights alone."""
    slopes: list[np.ndarray] = []

    class Watched(Nonlinearity):
        def deriv(self, x):
            slopes.append(super().deriv(x) ** 2)
            return super().deriv(x)

    common = JacobianSpectrum("hard_tanh", 8, q=0.25)
    distances = []
    for seed in range(5):
        sampled = simulate(Watched("hard_tanh"), 8, q=0.25, width=200, seed=seed).eigenvalues(8)
        layers = [
            Layer(squared_slopes=s, sigma_w=common.sigma_w, ensemble="orthogonal")
            for s in slopes[-8:]
        ]
        own = compare(JacobianSpectrum(layers=layers), sampled)
        distances.append((own.ks, compare(common, sampled).ks))
        assert own.atoms[-1][1] == pytest.approx(own.atoms[-1][2], abs=1.01 / 200)
        assert own.atoms[0][1] == pytest.approx(own.atoms[0][2], abs=1.01 / 200)
    own_mean, common_mean = np.mean(distances, axis=0)
    assert own_mean < 0.5 * common_mean
    assert own_mean < 0.02
