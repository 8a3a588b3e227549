"""State evolution: IDENTITY (stationary free entropy), INDEPENDENT, LIMIT, SIMULATION."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.core.seeds import generator
from tractable.tensors import (
    Bernoulli,
    Discrete,
    Exponential,
    GaussBernoulli,
    Gaussian,
    Prior,
    Rademacher,
    SpikedTensor,
    TruncatedGaussian,
    amp,
    expected_log_z,
    free_entropy,
    matched_overlap,
    mismatched_overlap,
    state_evolution,
)

SCALARS = [
    Rademacher(),
    Bernoulli(0.3),
    GaussBernoulli(0.2, 0.5, 2.0),
    TruncatedGaussian(0.3, 2.0),
    Exponential(2.0),
]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fixed_points_are_stationary_in_the_free_entropy(rank: int) -> None:
    shape, noise = (1, 2, 3.5), 0.2
    spread = np.eye(rank) + 0.2
    means = [0.3, np.linspace(0.4, 0.8, rank), 0.5]
    priors = [Gaussian(means[0]), Gaussian(means[1], cov=spread), Gaussian(means[2], 1.5)]
    start = np.stack([prior.moments(rank)[1].numpy() for prior in priors])
    M = state_evolution(shape, priors, noise, rank=rank, start=start * 0.9).overlap
    step = 1e-5
    for a in range(3):
        for k in range(rank):
            for l in range(k + 1):
                direction = np.zeros_like(M)
                direction[a, k, l] = direction[a, l, k] = step
                up, down = (free_entropy(M + s * direction, shape, priors, noise) for s in (1, -1))
                assert abs(up - down) / (2 * step) < 1e-6


@pytest.mark.parametrize("prior", SCALARS, ids=repr)
def test_overlap_is_the_derivative_of_information(prior: Prior) -> None:
    A, e = np.array([[1.7]]), 1e-4
    slope = (expected_log_z(prior, A + e) - expected_log_z(prior, A - e)) / (2 * e)
    M, _ = matched_overlap(prior, A)
    assert 2 * slope == pytest.approx(M[0, 0], rel=1e-6)


@pytest.mark.parametrize("prior", SCALARS, ids=repr)
def test_self_overlap_is_overlap_under_the_true_prior(prior: Prior) -> None:
    A = np.array([[1.7]])
    M, Q, V = mismatched_overlap(prior, prior, A, A, A)
    exact = matched_overlap(prior, A)[0]
    second = prior.moments(1)[1].numpy()
    for value in (M, Q, second - V):
        assert value == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("prior", [*SCALARS, Gaussian(0.5)], ids=repr)
def test_quadrature_against_sampling(prior: Prior) -> None:
    """SIMULATION, another assumed prior: 4 standard errors of 200,000 draws."""
    assumed, n = Gaussian(0.2, 1.5), 200_000
    signal, noise_cov, A = 1.3, 0.9, 1.1
    random = generator(0)
    x = prior.sample(n, 1, generator=random)
    z = torch.randn(n, 1, generator=random, dtype=torch.float64)
    f, _ = assumed.mean_cov(torch.tensor([[A]]).double(), signal * x + noise_cov**0.5 * z)
    M, Q, _ = mismatched_overlap(
        assumed, prior, np.array([[signal]]), np.array([[noise_cov]]), np.array([[A]])
    )
    for value, draws in ((M, f * x), (Q, f * f)):
        assert abs(float(draws.mean()) - value[0, 0]) < 4 * float(draws.std()) / n**0.5


def test_common_random_numbers_against_an_exact_rank_two() -> None:
    """INDEPENDENT: independent signs under a diagonal A are two scalar channels."""
    A = np.diag([0.8, 2.0])
    M, error = matched_overlap(Rademacher(), A)
    for k in range(2):
        exact = matched_overlap(Rademacher(), A[k : k + 1, k : k + 1])[0][0, 0]
        assert abs(M[k, k] - exact) < 4 * error[k, k] + 1e-12
        assert error[k, k] < 0.005


def test_common_random_numbers_against_quadrature_under_a_full_precision() -> None:
    """INDEPENDENT: all sign patterns, and 40 x 40 Gauss-Hermite nodes of the noise."""
    A = np.array([[1.2, 0.5], [0.5, 0.9]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], float)
    expected = np.zeros((2, 2))
    for x in signs:
        u = A @ x + z @ np.linalg.cholesky(A).T
        log_p = u @ signs.T - np.einsum("ki,ij,kj->k", signs, A, signs) / 2
        p = np.exp(log_p - log_p.max(1, keepdims=True))
        f = p @ signs / p.sum(1, keepdims=True)
        expected += np.einsum("n,ni,j->ij", w, f, x) / 4
    M, error = matched_overlap(Rademacher(), A)
    assert (np.abs(M - expected) < 4 * error + 1e-12).all()
    assert error.max() < 0.005
    # The precision is not diagonal, and that is seen.
    assert abs(expected[0, 1]) > 10 * error[0, 1]


@pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")
def test_a_wrong_noise_is_followed_by_state_evolution() -> None:
    """SIMULATION at 100 x 100 x 100, noise 0.3 taken for 0.6, mean of 4 draws.

    Without the second moments in the precision, (T14b), the theory would have 0.69 and 0.58.
    """
    result = state_evolution((1, 1, 1), Gaussian(0.4), 0.6, true_noise=0.3)
    found = []
    for seed in range(4):
        sample = SpikedTensor((100,) * 3, priors=Gaussian(0.4), noise=0.3).sample(
            seed, moment_matched=True, dtype=torch.float32
        )
        fit = amp(sample.Y, 1, priors=Gaussian(0.4), noise=0.6, units="model", progress=False)
        pairs = zip(fit.factors, sample.factors, fit.Q, strict=True)
        found.append([(float(f[:, 0] @ x.numpy()[:, 0]) / len(f), q[0, 0]) for f, x, q in pairs])
    M, Q = np.mean(found, (0, 1))
    assert pytest.approx(result.overlap[0, 0, 0], abs=0.03) == M
    assert pytest.approx(result.Q[-1, 0, 0, 0], abs=0.03) == Q


def test_atoms_dense_enough_are_the_density() -> None:
    """LIMIT: a fine grid of atoms with Gaussian weights is the Gaussian prior."""
    x = np.linspace(-8, 8, 321)
    atoms = Discrete(x, np.exp(-(x**2) / 2))
    A = np.array([[2.0]])
    assert matched_overlap(atoms, A)[0] == pytest.approx(
        matched_overlap(Gaussian(), A)[0], abs=1e-9
    )


@pytest.mark.parametrize(
    ("p", "noise", "overlap"),
    [
        (0.5, 0.01, 0.4949),
        (0.5, 0.02, 0.4619),
        (0.5, 0.05, 0.3516),
        (0.5, 0.1, 0.2956),
        (0.3, 0.005, 0.2851),
        (0.3, 0.01, 0.2021),
        (0.3, 0.02, 0.1179),
        (0.3, 0.05, 0.0983),
    ],
)
def test_memberships(p: float, noise: float, overlap: float) -> None:
    """INDEPENDENT: Gauss-Hermite quadrature over both atoms."""
    M = state_evolution((1, 1, 1), Bernoulli(p), noise).overlap
    assert pytest.approx(np.full((3, 1, 1), overlap), abs=1e-4) == M


def test_matrices_against_singular_vectors() -> None:
    """INDEPENDENT: M_a = (1 - Delta^2) / (1 + n_a Delta), overlap of singular vectors."""
    noise, aspect = 0.5, np.array([0.5, 2.0])
    M = state_evolution(aspect, Gaussian(0), noise, start=[0.1, 0.1]).overlap[:, 0, 0]
    assert pytest.approx((1 - noise**2) / (1 + aspect * noise), abs=1e-9) == M


def test_modes_are_recovered_unequally() -> None:
    """PUBLISHED claim, arXiv:1810.10065: quality differs between modes; longer is worse."""
    M = state_evolution((100, 200, 400), Gaussian(0.4), 0.3).overlap[:, 0, 0]
    assert pytest.approx([0.971, 0.867, 0.744], abs=1e-3) == M
    other = state_evolution((100, 200, 400), [Gaussian(m) for m in (0, 0.5, 0.5)], 0.3)
    assert other.overlap[:, 0, 0] == pytest.approx([0.838, 0.946, 0.819], abs=1e-3)


def runs(
    shape: tuple[int, ...], mean: float, noise: float, onsager: bool = True, n: int = 4
) -> np.ndarray:
    """Return the overlaps of n draws with matched moments, (n, p)."""
    prior = Gaussian(mean)
    out = []
    for seed in range(n):
        sample = SpikedTensor(shape, priors=prior, noise=noise).sample(
            seed, moment_matched=True, dtype=torch.float32
        )
        fit = amp(
            sample.Y, 1, priors=prior, noise=noise, units="model", init="prior",
            init_scale=0.0, onsager=onsager, progress=False,
        )  # fmt: skip
        pairs = zip(fit.factors, sample.factors, strict=True)
        out.append([float(f[:, 0] @ x.numpy()[:, 0]) / len(f) for f, x in pairs])
    return np.array(out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")
def test_message_passing_follows_state_evolution_only_with_the_onsager_term() -> None:
    """SIMULATION at 100 x 200 x 400, mean of 4 draws; the bound is 4 times their scatter."""
    shape = (100, 200, 400)
    expected = state_evolution(shape, Gaussian(0.4), 0.3).overlap[:, 0, 0]
    assert np.abs(runs(shape, 0.4, 0.3).mean(0) - expected).max() < 0.06
    assert np.abs(runs(shape, 0.4, 0.3, onsager=False).mean(0) - expected).max() > 0.2


@pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")
def test_order_four() -> None:
    """SIMULATION at 40 x 50 x 60 x 45, mean of 4 draws."""
    shape = (40, 50, 60, 45)
    expected = state_evolution(shape, Gaussian(0.7), 0.3).overlap[:, 0, 0]
    assert expected == pytest.approx([1.404, 1.386, 1.369, 1.395], abs=1e-3)
    assert np.abs(runs(shape, 0.7, 0.3).mean(0) - expected).max() < 0.08
