"""Witnesses of the theory: parametric laws, closed forms, mass and moments, limits, rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra import (
    JacobianSpectrum,
    Layer,
    MeanField,
    UniversalSpectrum,
    critical_line,
    q_for_variance,
)


def fuss_catalan(L: int, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lam = np.exp(
        (L + 1) * np.log(np.sin((L + 1) * f)) - np.log(np.sin(f)) - L * np.log(np.sin(L * f))
    )
    log_rho = 2 * np.log(np.sin(f)) + (L - 1) * np.log(np.sin(L * f)) - np.log(np.pi)
    return lam, np.exp(log_rho - L * np.log(np.sin((L + 1) * f)))


@pytest.mark.parametrize("L", [1, 2, 4, 8, 20, 40])
def test_linear_gaussian_is_fuss_catalan(L: int) -> None:
    lam, rho = fuss_catalan(L, np.linspace(1e-3, np.pi / (L + 1) - 1e-3, 1000))
    spectrum = JacobianSpectrum("linear", L, "gaussian", q=1.0)
    np.testing.assert_allclose(spectrum.density(lam), rho, rtol=1e-8)
    assert spectrum.s_max**2 == pytest.approx((L + 1) ** (L + 1) / L**L, rel=1e-10)


def test_one_gaussian_layer_is_marchenko_pastur() -> None:
    lam = np.linspace(0.01, 3.99, 50)
    s = np.sqrt(lam)
    exact = 2 / np.pi * (0.5 * s * np.sqrt(1 - lam / 4) + np.arcsin(s / 2))
    spectrum = JacobianSpectrum("linear", 1, "gaussian", q=1.0)
    np.testing.assert_allclose(spectrum.cdf(lam), exact, atol=1e-9)


def test_one_orthogonal_layer_is_the_law_of_the_slope() -> None:
    from scipy.special import erf

    spectrum = JacobianSpectrum("tanh", 1, "orthogonal", q=0.3)
    x = np.linspace(0.05, 0.99, 30)
    h = np.arctanh(np.sqrt(1 - np.sqrt(x)))
    exact = 1 - erf(h / np.sqrt(2 * 0.3))
    np.testing.assert_allclose(spectrum.cdf(x * spectrum.sigma_w**2), exact, atol=1e-8)


TABLE = [
    ("tanh", 0.015625, 1.03055751, 4.651333e-6, 0.00168937),
    ("tanh", 0.1, 1.17756910, 8.322804e-4, 0.0397091),
    ("tanh", 1.0, 2.15330265, 0.150964629, 0.583480),
    ("hard_tanh", 0.25, 1.04766923, 0.008895448, 0.0476692),
    ("shifted_relu(0.5)", 0.05, 1.01283634, 4.99157e-4, 0.0128363),
    ("elu", 0.5, 1.40097, 0.012321, 0.23199),
    ("sin", 0.5, 1.46212, 0.037883, 0.19979),
    ("gelu", 0.5, 2.45551, 0.034543, 1.0557),
    ("silu", 0.5, 2.98767, 0.026226, 0.82519),
]


@pytest.mark.parametrize(("phi", "q", "w2", "b2", "v"), TABLE)
def test_critical_line(phi: str, q: float, w2: float, b2: float, v: float) -> None:
    point = critical_line(phi, q)
    np.testing.assert_allclose(
        [point.sigma_w2[0], point.sigma_b2[0], point.v[0]], [w2, b2, v], rtol=3e-5
    )
    assert point.feasible[0]
    assert point.stable[0] == (phi not in ("gelu", "silu"))


@pytest.mark.parametrize("q", [1e-4, 1.0, 1e4])
def test_relu_is_critical_at_one_point(q: float) -> None:
    point = critical_line("relu", q)
    assert point.sigma_w2[0] == pytest.approx(2, abs=1e-14)
    assert point.sigma_b2[0] == pytest.approx(0, abs=1e-14)


def test_moments_of_the_slope_of_erf() -> None:
    phi = Nonlinearity("erf")
    for q in (0.1, 1.0, 5.0):
        for k in (1, 2, 3):
            assert phi.mu(k, q) == pytest.approx((1 + np.pi * k * q) ** -0.5, abs=1e-13)


@pytest.mark.parametrize(
    ("phi", "w", "b", "q", "chi", "c", "chi_q"),
    [
        ("tanh", 1.3, 0.05**0.5, 0.527087107869, 0.984512193, 1, 0.5277108),
        ("tanh", 2.5, 0.05**0.5, 4.026777754434, 1.594750454, 0.0719038820, 0.2378069),
        ("tanh", 1.0, 0.3, 0.276299192872, 0.700258147, 1, 0.4733728),
        ("erf", 1.3, 0.3, 0.668630355067, 0.959768163, 1, 0.4681152),
    ],
)
def test_mean_field(phi: str, w: float, b: float, q: float, chi: float, c: float, chi_q: float):
    field = MeanField(phi, w, b)
    assert field.q_star().value == pytest.approx(q, abs=1e-11)
    assert field.chi() == pytest.approx(chi, abs=1e-9)
    assert field.c_star() == pytest.approx(c, abs=1e-9)
    assert field.chi_q() == pytest.approx(chi_q, abs=1e-7)
    step = 1e-5
    quotient = (field.length_map(q + step) - field.length_map(q - step)) / (2 * step)
    assert quotient == pytest.approx(field.chi_q(), abs=1e-6)


def test_correlation_map_of_relu_is_the_arc_cosine_kernel() -> None:
    field = MeanField("relu", 2**0.5, 0.0)
    for c in (-0.99, -0.3, 0.0, 0.5, 0.99, 1 - 1e-6):
        exact = (np.sqrt((1 - c) * (1 + c)) + c * (np.pi - np.arccos(c))) / np.pi
        assert field.c_map(c) == pytest.approx(exact, abs=1e-10)
    smooth = MeanField("tanh", 1.3, 0.2)
    assert smooth.c_slope(1 - 1e-9) == pytest.approx(smooth.chi(), abs=1e-6)


PHIS = ["tanh", "hard_tanh", "relu", "leaky_relu(0.2)", "shifted_relu(0.5)", "erf"]


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("phi", PHIS)
def test_mass_mean_and_variance(phi: str, ensemble: str) -> None:
    for L in (2, 3, 8, 32, 128, 500):
        spectrum = JacobianSpectrum(phi, L, ensemble, q=0.3)
        total, mean, square = integrals(spectrum)
        assert total == pytest.approx(1, abs=1e-8)
        assert mean == pytest.approx(1, rel=1e-6)
        assert square - mean**2 == pytest.approx(spectrum.variance, rel=1e-5)
        lam = np.exp(np.linspace(-30, np.log(spectrum.s_max**2) + 0.1, 2000))
        assert (np.diff(spectrum.cdf(lam)) >= 0).all()


def integrals(spectrum: JacobianSpectrum) -> tuple[float, float, float]:
    """Return mass, mean and second moment from the distribution: E[f] = int f' (1 - F)."""
    x, w = np.polynomial.legendre.leggauss(400)
    total = np.array([spectrum.cdf(2 * spectrum.s_max**2), 0.0, 0.0])
    ends = [0.0, *sorted({e for part in spectrum.support for e in part if e > 0})]
    ends += [a for a, _ in spectrum.atoms if a > ends[-1]]
    for low, high in itertools.pairwise(ends):
        first = np.log(low) if low > 0 else np.log(high) - 45.0
        u = 0.5 * (1 - np.cos(0.5 * np.pi * (1 + x)))  # takes away the root at both edges
        t = first + (np.log(high) - first) * u
        dt = w * (np.log(high) - first) * 0.25 * np.pi * np.sin(0.5 * np.pi * (1 + x))
        lam = np.exp(t)
        above = 1 - spectrum.cdf(lam)
        total += [0.0, (above * lam) @ dt, (2 * above * lam**2) @ dt]
    return tuple(total)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_density_is_the_slope_of_the_distribution(ensemble: str) -> None:
    spectrum = JacobianSpectrum("tanh", 16, ensemble, q=0.1)
    p = np.linspace(0.001, 0.999, 40)
    t = spectrum.log_quantile(p)
    np.testing.assert_allclose(spectrum.cdf(np.exp(t)), p, atol=1e-8)
    # Richardson: the error of the quotient is of fourth order in the step.
    h = 1e-3 * (t[-1] - t[0])
    h = min(h, 0.02 * (2 * np.log(spectrum.s_max) - t[-1]))

    def quotient(step: float) -> np.ndarray:
        return (spectrum.cdf(np.exp(t + step)) - spectrum.cdf(np.exp(t - step))) / (2 * step)

    slope = (4 * quotient(h) - quotient(2 * h)) / 3
    np.testing.assert_allclose(slope, spectrum.density(np.exp(t), log=True), rtol=1e-6)


def test_atoms_and_edges() -> None:
    two = JacobianSpectrum("hard_tanh", 2, "orthogonal", q=0.25)
    assert two.atoms[1] == pytest.approx((1.0976108, 0.908999), abs=1e-6)
    assert two.support[-1][1] == pytest.approx(0.190677, abs=1e-6)
    eight = JacobianSpectrum("hard_tanh", 8, "orthogonal", q=0.25)
    assert len(eight.atoms) == 2
    assert len(eight.support) == 1
    assert eight.atoms[1] == pytest.approx((1.4514213, 0.635998), abs=1e-6)
    assert np.ptp(eight.cdf(np.linspace(0.9712, 1.4514, 50))) == 0
    deep = JacobianSpectrum("hard_tanh", 32, "orthogonal", q=0.25)
    assert len(deep.atoms) == 1
    assert deep.support[-1][1] == pytest.approx(4.081548, abs=1e-6)
    linear = JacobianSpectrum("linear", 8, "orthogonal", q=1.0)
    assert linear.atoms == [(1.0, 1.0)]
    np.testing.assert_array_equal(linear.cdf([0.5, 1.0, 2.0]), [0, 1, 1])
    for phi, ensemble, ratio in (
        ("linear", "gaussian", np.e),
        ("relu", "gaussian", 2 * np.e),
        ("relu", "orthogonal", np.e),
    ):
        edge = JacobianSpectrum(phi, 512, ensemble, q=1.0).s_max ** 2 / 512
        assert edge == pytest.approx(ratio, rel=2e-3)


MIXED = [("tanh", 0.5, 1.2, 900), ("relu", 1.0, 2.0, 450), ("tanh", 0.5, 1.1, 700)]


def mixed(ensemble: str) -> list[Layer]:
    return [
        Layer(phi, q=q, sigma_w=w2**0.5, ensemble=ensemble, n_out=n, n_in=600 if n == 900 else None)
        for phi, q, w2, n in MIXED
    ]


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [
        ("gaussian", (-0.28837, -0.18724, -0.08399)),
        ("orthogonal", (-0.28855, -0.16388, -0.05266)),
    ],
)
def test_rectangular_layers_against_sampled_networks(ensemble: str, expected: tuple) -> None:
    """The expected values are means of four networks of widths 600, 900, 450, 700."""
    spectrum = JacobianSpectrum(layers=mixed(ensemble))
    np.testing.assert_allclose(spectrum.transform([0.05, 0.5, 3.0]), expected, atol=1e-3)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("phi", ["tanh", "relu", "hard_tanh"])
def test_equal_layers_are_the_homogeneous_network(phi: str, ensemble: str) -> None:
    whole = JacobianSpectrum(phi, 5, ensemble, q=0.5)
    layers = JacobianSpectrum(layers=[Layer(phi, q=0.5, ensemble=ensemble)] * 5)
    lam = np.linspace(0.05, 0.99, 60) * whole.support[-1][1]
    np.testing.assert_allclose(layers.cdf(lam), whole.cdf(lam), atol=1e-9)


@pytest.mark.parametrize("sigma0_2", [0.25, 1.0, 4.0])
def test_universal_edges_and_rates(sigma0_2: float) -> None:
    edges = {0.25: (0.321319, 2.423763), 1.0: (0.0757393, 4.857178), 4.0: (0.00137243, 13.345434)}
    smooth = UniversalSpectrum("smooth", sigma0_2)
    np.testing.assert_allclose(smooth.support[0], edges[sigma0_2], atol=1e-6)
    limit = UniversalSpectrum("bernoulli", sigma0_2)
    if sigma0_2 < 1:
        assert limit.atoms == [pytest.approx((np.exp(sigma0_2), 1 - sigma0_2))]
    lam = np.linspace(0.05, 0.98 * np.e * sigma0_2, 200)
    far, near = (
        np.abs(
            JacobianSpectrum("hard_tanh", L, q=q_for_variance("hard_tanh", L, sigma0_2)).density(
                lam
            )
            - limit.density(lam)
        ).max()
        for L in (256, 1024)
    )
    assert 3.5 <= far / near <= 4.6
    phi = "erf" if sigma0_2 < 1 else "tanh"
    x = np.linspace(0.02, 1.1 * smooth.support[0][1], 600)
    far, near = (
        np.abs(
            JacobianSpectrum(phi, L, q=q_for_variance(phi, L, sigma0_2)).cdf(x) - smooth.cdf(x)
        ).max()
        for L in (256, 1024)
    )
    assert 1.7 <= far / near <= 2.2


def test_a_user_function_gives_the_built_in_spectrum() -> None:
    import torch

    lam = np.linspace(0.1, 1.6, 40)
    own = JacobianSpectrum(torch.tanh, 32, q=0.0259).cdf(lam)
    np.testing.assert_allclose(own, JacobianSpectrum("tanh", 32, q=0.0259).cdf(lam), atol=1e-8)

    def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
        return (0.2 * x + 0.5).clamp(0, 1) - 0.5

    phi = Nonlinearity(hard_sigmoid)
    assert phi.kinks == pytest.approx((-2.5, 2.5), abs=1e-9)
    scaled = JacobianSpectrum("hard_tanh", 8, q=0.25)  # the same function in units of its kink
    spectrum = JacobianSpectrum(phi, 8, q=0.25 * 6.25)
    np.testing.assert_allclose(spectrum.cdf(lam), scaled.cdf(lam), atol=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "smooth"])
@pytest.mark.parametrize("sigma0_2", [0.25, 1.0, 4.0])
def test_limit_laws_agree_with_themselves(kind: str, sigma0_2: float) -> None:
    # IDENTITY: the density is the slope of the distribution, and has the moments of the series
    law = UniversalSpectrum(kind, sigma0_2)  # type: ignore[arg-type]  # parametrized
    low, high = law.support[-1]
    middle = np.exp(np.linspace(np.log(max(low, 1e-3)), np.log(high), 60)[3:-3])
    step = 1e-5 * middle
    slope = (law.cdf(middle + step) - law.cdf(middle - step)) / (2 * step)
    np.testing.assert_allclose(law.density(middle), slope, rtol=1e-5)
    if kind == "smooth":  # square-root edges: a Chebyshev rule has no singularity at them
        n = 4000
        angle = (np.arange(n) + 0.5) * np.pi / n
        lam = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
        weight = 0.5 * (high - low) * np.sin(angle) * np.pi / n * law.density(lam)
        assert weight.sum() == pytest.approx(1.0, abs=1e-4)
        for k, moment in enumerate(law.moments(3), 1):
            assert (weight * lam**k).sum() == pytest.approx(moment, rel=1e-4)
        assert law.moments(2)[1] - 1 == pytest.approx(
            sigma0_2, rel=1e-12
        )  # the variance is m_2 - 1


@pytest.mark.parametrize(("phi", "q"), [("elu", 0.5), ("elu", 2.0)])
def test_an_atom_that_is_just_lost_is_solved_up_to_the_edge(phi: str, q: float) -> None:
    """Half of the slopes are equal, L = 2: the atom has lost its mass 1 - L/2, the edge is a peak.

    The mass beyond the edge's distance e falls as its root, and moments of the quantiles are exact.
    """
    spectrum = JacobianSpectrum(phi, 2, "orthogonal", q=q)
    ((_, edge),) = spectrum.support
    beyond = 1 - spectrum.cdf(edge * np.exp(-np.array([1e-8, 1e-10])))
    assert beyond[0] / beyond[1] == pytest.approx(10, rel=0.05)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    p = (nodes + 1) / 2
    values = spectrum.quantile(p**2 * (3 - 2 * p))
    moments = [np.sum(weights / 2 * 6 * p * (1 - p) * values**k) for k in (1, 2)]
    assert moments == pytest.approx(spectrum.moments(2), rel=2e-5)
