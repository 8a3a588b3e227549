"""Witnesses of the theory: parametric laws, closed forms, mass and moments, limits, rates."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from tractable.core.memory import peak_memory
from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra import (
    JacobianSpectrum,
    Layer,
    MeanField,
    SpectralLaw,
    UniversalSpectrum,
    critical_line,
    q_for_variance,
)
from tractable.spectra.derivative_law import law_of
from tractable.spectra.layered import LayeredEquation


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


def as_printed(text: str) -> object:
    """Return what compares equal to numbers that print as the text, with all its digits."""
    mantissa, _, exponent = text.partition("e")
    digits = len(mantissa.partition(".")[2])
    return pytest.approx(float(text), abs=0.6 * 10.0 ** (int(exponent or 0) - digits), rel=0)


TABLE = [  # phi, q*, sigma_w^2, sigma_b^2, v, chi_q (printed where the table has it)
    ("tanh", 0.015625, "1.03055751", "4.651333e-6", "0.00168937", None),
    ("tanh", 0.02592094821, "1.05", "2.010521e-5", "0.00426890", None),
    ("tanh", 0.1, "1.17756910", "8.322804e-4", "0.0397091", None),
    ("tanh", 1.0, "2.15330265", "0.150964629", "0.583480", None),
    ("hard_tanh", 0.25, "1.04766923", "0.008895448", "0.0476692", None),
    ("shifted_relu(0.5)", 0.05, "1.01283634", "4.99157e-4", "0.0128363", None),
    ("relu", 0.7, "2.00000000", "0.00000000", "1.00000000", "1.00000000"),
    ("leaky_relu(0.1)", 0.7, "1.98019802", "0.00000000", "0.9607882", "1.00000000"),
    ("elu", 0.5, "1.40097", "0.012321", "0.23199", "0.868"),
    ("sin", 0.5, "1.46212", "0.037883", "0.19979", "0.538"),
    ("gelu", 0.5, "2.45551", "0.034543", "1.0557", "1.0998"),
    ("silu", 0.5, "2.98767", "0.026226", "0.82519", "1.0931"),
]


@pytest.mark.parametrize(("phi", "q", "w2", "b2", "v", "chi_q"), TABLE)
def test_critical_line(phi: str, q: float, w2: str, b2: str, v: str, chi_q: str | None) -> None:
    point = critical_line(phi, q)
    assert point.sigma_w2[0] == as_printed(w2)
    assert point.sigma_b2[0] == as_printed(b2)
    assert point.v[0] == as_printed(v)
    if chi_q is not None:
        assert point.chi_q[0] == as_printed(chi_q)
    assert point.feasible[0]
    assert point.stable[0] == (phi not in ("gelu", "silu"))


def test_softplus_has_no_critical_point() -> None:
    points = critical_line("softplus", np.geomspace(1e-6, 1e3, 40))
    assert not points.feasible.any()
    assert points.sigma_b2.max() <= -1.92
    assert points.sigma_b2[0] == pytest.approx(-4 * np.log(2) ** 2, abs=1e-3)


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
    ("phi", "w", "b", "q", "chi", "c", "chi_q", "xi_c"),
    [
        *[("tanh", 1.3, 0.05**0.5, 0.527087107869, 0.984512193, 1, 0.5277108, "64.06")],
        ("tanh", 2.5, 0.05**0.5, 4.026777754434, 1.594750454, 0.0719038820, 0.2378069, "5.309364"),
        ("tanh", 1.0, 0.3, 0.276299192872, 0.700258147, 1, 0.4733728, "2.8066"),
        ("erf", 1.3, 0.3, 0.668630355067, 0.959768163, 1, 0.4681152, "24.35"),
    ],
)
def test_mean_field(
    phi: str, w: float, b: float, q: float, chi: float, c: float, chi_q: float, xi_c: str
) -> None:
    field = MeanField(phi, w, b)
    assert field.q_star().value == pytest.approx(q, abs=1e-11)
    assert field.chi() == pytest.approx(chi, abs=1e-9)
    assert field.c_star() == pytest.approx(c, abs=1e-9)
    assert field.chi_q() == pytest.approx(chi_q, abs=1e-7)
    assert field.xi_c() == as_printed(xi_c)
    assert field.xi_q() == pytest.approx(-1 / np.log(chi_q), rel=1e-6)
    assert field.xi_grad() == pytest.approx(-1 / np.log(chi), rel=1e-6)
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
    for L in (1, 2, 3, 8, 32, 128, 500):
        check_mass_mean_and_variance(JacobianSpectrum(phi, L, ensemble, q=0.3))


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("phi", PHIS)
def test_mass_mean_and_variance_off_the_critical_line(phi: str, ensemble: str) -> None:
    for sigma_w, L in ((0.9, 3), (1.2, 32)):
        spectrum = JacobianSpectrum(phi, L, ensemble, sigma_w=sigma_w, sigma_b=0.3)
        assert abs(spectrum.chi - 1) > 0.01
        check_mass_mean_and_variance(spectrum)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("L", [1, 2, 3, 8, 32, 128, 500])
def test_mass_mean_and_variance_at_all_depths(phi: str, ensemble: str, L: int) -> None:
    check_mass_mean_and_variance(JacobianSpectrum(phi, L, ensemble, q=0.3), 10_000)
    for sigma_w in (0.9, 1.2):
        spectrum = JacobianSpectrum(phi, L, ensemble, sigma_w=sigma_w, sigma_b=0.3)
        check_mass_mean_and_variance(spectrum, 10_000)


def check_mass_mean_and_variance(spectrum: JacobianSpectrum, n: int = 2000) -> None:
    expected = spectrum.chi**spectrum.depth
    total, mean, square = integrals(spectrum)
    assert total == pytest.approx(1, abs=1e-8)
    assert mean == pytest.approx(expected, rel=1e-6)
    assert square - mean**2 == pytest.approx(spectrum.variance, rel=1e-5)
    lam = np.exp(np.linspace(-30, 0.1, n)) * spectrum.s_max**2
    assert (np.diff(spectrum.cdf(lam)) >= 0).all()


def test_one_orthogonal_layer_of_straight_pieces_has_atoms_only() -> None:
    spectrum = JacobianSpectrum("leaky_relu(0.2)", 1, "orthogonal", q=0.3)
    values = spectrum.sigma_w**2 * np.array([0.04, 1.0])
    assert spectrum.atoms == [pytest.approx((value, 0.5)) for value in values]
    assert spectrum.support == []
    np.testing.assert_array_equal(spectrum.cdf(values[1] * np.array([0.5, 1.01])), [0.5, 1])
    np.testing.assert_allclose(spectrum.quantile([0.3, 0.7, 1.0]), values[[0, 1, 1]])
    layers = JacobianSpectrum(layers=[Layer("leaky_relu(0.2)", q=0.3, ensemble="orthogonal")])
    np.testing.assert_allclose(layers.atoms, spectrum.atoms)
    np.testing.assert_allclose(layers.moments(3), spectrum.moments(3), rtol=1e-12)


def integrals(spectrum: JacobianSpectrum, n: int = 200) -> tuple[float, float, float]:
    """Return mass, mean and second moment from the distribution: E[f] = int f' (1 - F)."""
    x, w = np.polynomial.legendre.leggauss(n)
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
@pytest.mark.parametrize(("phi", "L"), [("tanh", 16), ("erf", 32), ("relu", 3), ("leaky_relu", 32)])
def test_density_is_the_slope_of_the_distribution(phi: str, L: int, ensemble: str) -> None:
    spectrum = JacobianSpectrum(phi, L, ensemble, q=0.1)
    zero = spectrum._equation.mass_at_zero
    p = zero + (1 - zero) * np.linspace(0.001, 0.999, 40)
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
    np.testing.assert_array_equal(linear.density([0.5, 1.0, 2.0]), [0, 0, 0])
    np.testing.assert_allclose(linear.quantile([0.5, 1.0]), 1, rtol=1e-15)
    for L in (2, 8, 32, 128):  # the closed form of a two-point law
        found = JacobianSpectrum("hard_tanh", L, "orthogonal", q=0.25)
        p = 1 - found.atoms[0][1]
        m = p / (L * (1 - p) - 1)
        edge = (1 + m) / m * (found.sigma_w**2 * (m + p) / (1 + m)) ** L
        assert found.support[-1][1] == pytest.approx(edge, rel=1e-10)
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


X = (0.05, 0.5, 3.0)


@functools.cache
def mixed_transform(ensemble: str) -> np.ndarray:
    return JacobianSpectrum(layers=mixed(ensemble)).transform(X)


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [
        ("gaussian", (-0.28837, -0.18724, -0.08399)),
        ("orthogonal", (-0.28855, -0.16388, -0.05266)),
    ],
)
def test_rectangular_layers_against_sampled_networks(ensemble: str, expected: tuple) -> None:
    """The expected values are means of four networks of widths 600, 900, 450, 700."""
    np.testing.assert_allclose(mixed_transform(ensemble), expected, atol=1e-3)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_rectangular_layers_against_networks_sampled_here(ensemble: str) -> None:
    """Pre-activations are normal quantiles in random order, so that only the weights are random."""
    from scipy.special import ndtri

    random = np.random.default_rng(0)
    found = []
    for _ in range(4):
        J = np.eye(600)
        for phi, q, w2, n in MIXED:
            h = np.sqrt(q) * ndtri((random.permutation(n) + 0.5) / n)
            W = random.normal(size=(n, len(J)))
            if ensemble == "orthogonal":
                Q, R = np.linalg.qr(W if len(W) > len(J) else W.T)
                Q *= np.sign(np.diag(R))
                W = Q if len(W) > len(J) else Q.T
            else:
                W /= np.sqrt(len(J))
            J = (np.sqrt(w2) * Nonlinearity(phi).deriv(h))[:, None] * (W @ J)
        lam = np.linalg.svd(J, compute_uv=False) ** 2
        found.append([-np.sum(lam / (one + lam)) / 700 for one in X])
    np.testing.assert_allclose(np.mean(found, axis=0), mixed_transform(ensemble), atol=1e-3)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_the_transposed_layers_have_the_same_nonzero_spectrum(ensemble: str) -> None:
    """J^T = W_1^T D_1 W_2^T D_2 W_3^T D_3: any rotation before D_3 changes nothing."""
    widths = [600, 900, 450, 700]
    back = [Layer("tanh", q=0.5, sigma_w=1.0, ensemble="orthogonal", n_out=700, n_in=700)]
    for l in (3, 2, 1):
        n_in, n_out = widths[l], widths[l - 1]
        w2 = MIXED[l - 1][2] * (n_in / n_out if ensemble == "gaussian" else 1.0)
        phi, q = MIXED[l - 2][:2] if l > 1 else ("linear", 1.0)
        back.append(Layer(phi, q=q, sigma_w=w2**0.5, ensemble=ensemble, n_out=n_out, n_in=n_in))
    there, returned = JacobianSpectrum(layers=mixed(ensemble)), JacobianSpectrum(layers=back)
    np.testing.assert_allclose(600 * returned.moments(6), 700 * there.moments(6), rtol=1e-10)
    lam = np.geomspace(0.02, 0.95, 30) * there.s_max**2
    np.testing.assert_allclose(
        600 * (1 - returned.cdf(lam)), 700 * (1 - there.cdf(lam)), atol=700 * 1e-9
    )


DIFFERENT = {
    "q": [Layer("tanh", q=q, ensemble="orthogonal") for q in (0.02, 0.16, 0.3)],
    "smooth": [Layer(("tanh", "erf")[i % 2], q=0.1, ensemble="orthogonal") for i in range(10)],
    "kinks": [
        Layer(("tanh", "relu", "erf", "elu", "hard_tanh")[i % 5], q=0.1, ensemble="orthogonal")
        for i in range(10)
    ],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_orthogonal_layers_are_solved_up_to_the_edge(kind: str) -> None:
    """Moments of the distribution are those of the series; no point of the bulk is given up."""
    spectrum = JacobianSpectrum(layers=DIFFERENT[kind])
    total, mean, square = integrals(spectrum, 100)
    assert total == pytest.approx(1, abs=1e-8)
    assert [mean, square] == pytest.approx(spectrum.moments(2), rel=1e-5)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("phi", ["tanh", "relu", "hard_tanh"])
def test_equal_layers_are_the_homogeneous_network(phi: str, ensemble: str) -> None:
    whole = JacobianSpectrum(phi, 5, ensemble, q=0.5)
    factor = Layer(phi, q=0.5, ensemble=ensemble)._factor(1)
    layers = SpectralLaw(LayeredEquation((factor,) * 5))
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
    top = limit.support[-1][1]
    assert top == pytest.approx(np.e * sigma0_2, abs=1e-6)
    assert limit.cdf(top * (1 + 1e-9)) == pytest.approx(min(sigma0_2, 1.0), abs=1e-8)
    assert limit.cdf(1e3) == 1
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


ROOTS = [
    *("tanh", "erf", "sin", "elu", "smoothed_relu(0.5,0.5)", "linear"),
    *("hard_tanh", "relu", "leaky_relu(0.2)", "shifted_relu(0.5)"),
]


def test_every_root_is_on_its_branch() -> None:
    """Half of the points uniform in log lambda, half in probability, inside the support."""
    random = np.random.default_rng(0)
    n_networks, n_each, n_roots = 20, 60, 0
    for _ in range(n_networks):
        phi, ensemble = str(random.choice(ROOTS)), ["gaussian", "orthogonal"][random.integers(2)]
        L, q = int(np.exp(random.uniform(np.log(2), np.log(301)))), np.exp(random.uniform(-4.5, 1))
        if not critical_line(phi, q).feasible[0]:
            continue
        spectrum = JacobianSpectrum(phi, L, ensemble, q=q)
        t = inside(spectrum, n_each, random)
        if not t.size:
            continue  # atoms only
        found = spectrum._equation.solve(t)
        zero = spectrum._equation.mass_at_zero
        thick = (found.cdf > 1e-4 + zero) & (found.cdf < 1 - 1e-4)
        where = f"{spectrum}: {np.exp(t[thick & ~found.converged])}"
        assert found.converged[thick].all(), where
        assert np.isfinite(found.cdf).all(), where
        root = found.root[found.converged]
        assert ((root.imag > 0) & (root.imag < np.pi)).all(), where
        assert (found.m.imag[found.converged] <= 0).all(), where
        fall = np.maximum.accumulate(found.cdf) - found.cdf
        assert fall.max() <= 2e-6, where
        n_roots += t.size
    assert n_roots > 0.7 * n_networks * n_each


def test_the_distribution_rises_where_the_nodes_do_not_resolve_a_root() -> None:
    spectrum = JacobianSpectrum("tanh", 186, "orthogonal", q=0.014288403795880348)
    found = spectrum._equation.solve(np.linspace(-1.5, -1.36, 400)).cdf
    assert (np.diff(found) > -1e-10).all()
    assert found[0] == pytest.approx(8.736e-8, rel=1e-3)


def inside(spectrum: JacobianSpectrum, n: int, random: np.random.Generator) -> np.ndarray:
    """Return points of the uppermost part of the bulk, ascending in log lambda."""
    parts = [
        part
        for part in spectrum._parts
        if part.high - part.low > 1e-11 and part.cdf_high - part.cdf_low > 1e-6
    ]
    if not parts:
        return np.array([])
    part, mass = parts[-1], parts[-1].cdf_high - parts[-1].cdf_low
    low = max(part.low, float(spectrum.log_quantile(part.cdf_low + 1e-7 * mass)), part.high - 600)
    spread = random.uniform(low, part.high, n // 2)
    t = np.append(spread, spectrum.log_quantile(part.cdf_low + mass * random.random(n - n // 2)))
    return np.unique(t[(t > part.low) & (t < part.high)])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_eigenvalues() -> None:
    """BOUND: 1e5 eigenvalues times 312 nodes would be 500 MB of complex numbers at once."""
    random = np.random.default_rng(0)
    z = np.sort(random.normal(size=312))
    layer = Layer(squared_slopes=np.tanh(z) ** 2, ensemble="orthogonal")
    for spectrum in (
        JacobianSpectrum("tanh", 32, "orthogonal", q=0.1),
        JacobianSpectrum(layers=[layer] * 4),
    ):
        lam = np.linspace(0.05, 0.95, 100_000) * spectrum.s_max**2
        spectrum.density(lam[:100])
        before = peak_memory(reset=True)
        spectrum.density(lam)
        grown = peak_memory() - before
        assert grown < 400e6, spectrum


def test_the_number_of_threads_changes_nothing() -> None:
    """Sums are rounded in another order at most."""
    from threadpoolctl import threadpool_limits

    lam = np.linspace(0.05, 1.7, 200)
    found = []
    for n in (1, 2):
        with threadpool_limits(n):
            found.append(JacobianSpectrum("tanh", 32, "orthogonal", q=0.0259).cdf(lam))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)


def test_an_atom_rules_only_where_the_nodes_err_less_than_it_says() -> None:
    """Against 240 times the nodes: E d/(y-d) near the atom of ELU, where its slope is 1."""
    law, fine = (law_of(Nonlinearity("elu"), 1.0, level) for level in (0, 4))
    angle = np.linspace(0.05, np.pi - 0.05, 40)
    y = (1 + np.logspace(-7, -0.5, 60)[:, None] * np.exp(1j * angle)).ravel()
    y = y[fine.resolves(y)]
    ((value, mass),) = law.atoms
    share = np.abs(law.transform(y)[0] - fine.transform(y)[0]) * np.abs(y - value) / mass
    ruled = law.ruled_by_atom(y)
    assert 0.1 < ruled.mean() < 0.9
    assert share[ruled].max() < 1e-4
    assert share[~ruled].max() > 0.1
