"""The linear Gaussian operator: every formula against another one, and against simulation.

Kinds of witness: a second formula (Kullback-Leibler divergence of joint Gaussians, rotation),
limits (continuous time, reversible construction), published numbers, simulation within errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tractable.core.checks import quiet
from tractable.walkback import (
    GaussianOperator,
    GaussianPrior,
    LinearGaussianOperator,
    Schedule,
    area_rate,
    conditioned_ladder,
    damped_reversal,
    entropy_production,
    fit,
    gaussian_kl,
    gaussian_ladder,
    linear_decomposition,
    linear_entropy_production,
    log_likelihood_bound,
    ou_entropy_production,
    reversible_operator,
    rotation_entropy_production,
    sample,
    stationary_law,
    tied_ladder,
    time_reversal,
)

TURN = 0.8 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
A, D, B = np.array([[0.9, 0.1], [-0.05, 0.95]]), np.diag([0.04, 0.09]), np.array([0.02, -0.01])


def random_operator(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    a = random.normal(size=(n, n))
    a *= random.uniform(0.3, 0.95) / np.abs(np.linalg.eigvals(a)).max()
    root = random.normal(size=(n, n))
    return a, root @ root.T + 0.3 * np.eye(n)


def joint_kl(a: np.ndarray, d: np.ndarray) -> float:
    """Return KL of the law of (s, s') from that of (s', s): the definition."""
    n, cov = len(a), stationary_law(a, d)[1]
    forth = np.block([[cov, cov @ a.T], [a @ cov, cov]])
    swap = np.r_[n : 2 * n, 0:n]
    return gaussian_kl(np.zeros(2 * n), forth, np.zeros(2 * n), forth[np.ix_(swap, swap)])


def test_entropy_production_is_the_divergence_of_the_reversed_pair() -> None:
    random = np.random.default_rng(0)
    for i in range(50):
        a, d = random_operator(1 + i % 8, random)
        rate = linear_entropy_production(a, d)
        # Strongly correlated pairs have joint covariances of high condition.
        assert rate == pytest.approx(joint_kl(a, d), rel=1e-10, abs=1e-10)
        assert linear_entropy_production(a, 7 * d) == pytest.approx(rate, rel=1e-12, abs=1e-12)
        if len(a) == 1:
            assert abs(rate) < 1e-12


def test_rotation() -> None:
    assert rotation_entropy_production(0.8, 0.4) == pytest.approx(1.0783761445, abs=1e-10)
    for r, theta in ((0.8, 0.4), (0.3, -1.2), (0.95, 2.0)):
        a = r * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        exact = rotation_entropy_production(r, theta)
        assert linear_entropy_production(a, np.eye(2)) == pytest.approx(exact, rel=1e-10)
        assert area_rate(a, np.eye(2))[0, 1] == pytest.approx(r * math.sin(theta) / (1 - r * r))


def test_a_reversible_operator_produces_nothing() -> None:
    random = np.random.default_rng(1)
    for n in range(1, 7):
        root, s = random.normal(size=(2, n, n))
        c, s = root @ root.T + 0.2 * np.eye(n), (s + s.T)
        s *= 0.9 / np.abs(np.linalg.eigvalsh(s)).max()
        a, d = reversible_operator(c, s)
        assert abs(linear_entropy_production(a, d)) < 1e-10
        assert np.abs(area_rate(a, d)).max() < 1e-10
        assert stationary_law(a, d)[1] == pytest.approx(c, abs=1e-10)


def test_continuous_time_is_the_limit_of_small_steps() -> None:
    drift, noise = np.array([[1.0, -1.5, 0.2], [0.7, 2.0, -0.4], [0.0, 0.9, 1.3]]), np.eye(3)
    noise[0, 1] = noise[1, 0] = 0.3
    exact = ou_entropy_production(drift, noise)
    errors = [
        abs(linear_entropy_production(np.eye(3) - drift * dt, 2 * noise * dt) / dt - exact)
        for dt in (0.01, 0.001)
    ]
    assert errors[0] / errors[1] == pytest.approx(10, abs=1)


def test_simulation_agrees_with_the_rate_and_the_area() -> None:
    operator = LinearGaussianOperator(TURN)
    random = torch.Generator().manual_seed(0)
    start = torch.randn(4000, 2, generator=random, dtype=torch.float64)
    found = entropy_production(
        operator, start=start, burn_in=40, num_steps=40, num_chains=4000, method="density",
        generator=random,
    )  # fmt: skip
    assert found.stationary
    assert abs(found.rate - rotation_entropy_production(0.8, 0.4)) < 4 * found.se
    exact = area_rate(TURN, np.eye(2))
    assert abs(found.area_rate[0, 1] - exact[0, 1]) < 4 * found.area_rate_se[0, 1]


def test_a_reversible_chain_measures_zero() -> None:
    a, d = reversible_operator([[1.0, 0.3], [0.3, 2.0]], [[0.6, 0.2], [0.2, -0.1]])
    random = torch.Generator().manual_seed(1)
    found = entropy_production(
        LinearGaussianOperator(a, D=d), start=torch.zeros(2000, 2, dtype=torch.float64),
        num_chains=2000, num_steps=50, method="density", generator=random,
    )  # fmt: skip
    assert abs(found.rate) < 4 * found.se


# --- likelihood and bound ------------------------------------------------------------------------


def case() -> tuple[LinearGaussianOperator, Schedule, GaussianPrior, torch.Tensor]:
    prior = GaussianPrior((2,))
    prior.second.fill_(4.0)
    x = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    return LinearGaussianOperator(A, B, D), Schedule.geometric(6, 2.0), prior, x


def test_published_numbers_of_likelihood_and_bound() -> None:
    operator, schedule, prior, x = case()
    assert operator.exact_log_prob(x, schedule, prior)[0] == pytest.approx(-3.181063, abs=1e-5)
    assert operator.exact_bound(x, schedule, prior)[0] == pytest.approx(-3.686488, abs=1e-5)


def test_the_bound_by_walks_and_the_importance_estimate() -> None:
    operator, schedule, prior, x = case()
    exact, truth = operator.exact_bound(x, schedule, prior)[0], -3.181063
    random = torch.Generator().manual_seed(2)
    with quiet():
        found = log_likelihood_bound(
            operator, x, schedule=schedule, prior=prior, num_paths=200_000, chunk=50_000,
            generator=random,
        )  # fmt: skip
    assert abs(found.bound[0] - exact) < 4 * found.bound_se[0]
    assert found.log_prob_is[0] == pytest.approx(truth, abs=0.02)
    means, errors = [], []
    for paths, repeats in ((1, 4000), (10, 2000), (100, 400), (1000, 100)):
        with quiet():
            part = log_likelihood_bound(
                operator, x.expand(repeats, 2), schedule=schedule, prior=prior, num_paths=paths,
                chunk=50_000, generator=random,
            )  # fmt: skip
        means.append(part.log_prob_is.mean())
        errors.append(part.log_prob_is.std() / math.sqrt(repeats))
    for low, high, e, f in zip(means, means[1:], errors, errors[1:], strict=False):
        assert high >= low - 3 * math.hypot(e, f)
    assert max(means) <= truth + 3 * max(errors)


def test_the_parts_of_the_bound_add_up() -> None:
    random = np.random.default_rng(3)
    for n in (1, 2, 4):
        a, d = random_operator(n, random)
        hot = 1.4 ** np.arange(9)
        zero, wide = np.zeros(n), 3 * np.eye(n)
        parts = linear_decomposition(a, d, hot, zero + 0.3, np.eye(n), zero, wide, zero + 0.1)
        assert abs(parts.residual) < 1e-9
        assert parts.gap >= -1e-12
        assert parts.dissipation.min() >= -1e-12


def test_cold_steps_at_stationarity_dissipate_the_entropy_production() -> None:
    mean, cov = stationary_law(TURN, np.eye(2))
    parts = linear_decomposition(TURN, np.eye(2), np.ones(4), mean, cov, mean, cov)
    assert parts.dissipation == pytest.approx(rotation_entropy_production(0.8, 0.4), abs=1e-10)


def test_generation_follows_the_exact_law() -> None:
    operator, schedule, prior, _ = case()
    random = torch.Generator().manual_seed(4)
    x = sample(operator, 40_000, schedule=schedule, prior=prior, generator=random).double().numpy()
    cov = np.diag([4.0, 4.0])
    for t in schedule.temperatures.numpy()[::-1]:
        cov = A @ cov @ A.T + t * D
    assert np.cov(x.T) == pytest.approx(cov, rel=0.05, abs=0.05 * cov.max())


# --- training ------------------------------------------------------------------------------------


def test_full_steps_alternate_between_an_operator_and_its_reversal() -> None:
    d = np.eye(2) / 2
    c = stationary_law(TURN, d)[1]
    back, noise = time_reversal(TURN, d, c)
    again, same = time_reversal(back, noise, c)
    assert again == pytest.approx(TURN, abs=1e-8)
    assert same == pytest.approx(d, abs=1e-8)
    rates = damped_reversal(TURN, d, c, damping=1.0, steps=6).rate
    assert rates == pytest.approx(rates[0], abs=1e-8)


def test_damped_steps_end_in_detailed_balance() -> None:
    c = np.diag([1.0, 2.0])
    history = damped_reversal(TURN, np.eye(2) / 2, c, damping=0.1, steps=100)
    assert history.rate[:3] == pytest.approx([1.078, 0.629, 0.381], abs=6e-4)
    assert history.rate[10] == pytest.approx(0.00985, abs=6e-5)
    assert history.rate[30] < 1e-3
    assert history.rate[50] < 1e-9
    assert history.distance[0] == pytest.approx(0.611, abs=6e-4)
    assert history.distance[20] == pytest.approx(0.0502, abs=6e-5)
    assert history.distance[30] < 0.05 * np.linalg.norm(c)
    assert history.distance[100] < 2e-7


def test_gradient_training_ends_in_detailed_balance() -> None:
    c = np.diag([1.0, 2.0])
    random = torch.Generator().manual_seed(0)
    x = (
        torch.randn(20_000, 2, generator=random, dtype=torch.float64)
        * torch.tensor(c).diag().sqrt()
    )
    operator = LinearGaussianOperator(TURN, D=np.eye(2) / 2)
    start = operator.entropy_production()
    fit(
        operator, x, schedule=Schedule.constant(4), update="accumulate", steps=300, batch_size=512,
        lr=5e-3, warmup=1, final_lr=1.0, ema=None, device="cpu", progress=False,
    )  # fmt: skip
    assert operator.entropy_production() < 0.01 * start
    assert operator.stationary()[1] == pytest.approx(c, abs=0.1 * 2)
    assert np.diag(operator.stationary()[1]) == pytest.approx(np.diag(c), rel=0.1)


@pytest.mark.parametrize(("factor", "variance"), [(2.0, 0.2467), (1.3, 0.4702), (1.0, 1.0)])
def test_heating_contracts_a_tied_operator(factor: float, variance: float) -> None:
    assert tied_ladder(factor ** np.arange(8))[2] == pytest.approx(variance, abs=2e-3)


@pytest.mark.parametrize(("factor", "length"), [(2.0, 12), (1.25, 36)])
def test_a_learned_noise_never_heats(factor: float, length: int) -> None:
    found = conditioned_ladder(factor ** np.arange(length), noise="learned")
    assert found.walked[-1] == pytest.approx(1.0, abs=1e-3)
    assert found.dissipation.sum() < 1e-4


@pytest.mark.parametrize(
    ("factor", "length", "generated", "lost"),
    [(2.0, 12, 1.0490, 0.2072), (1.5, 20, 1.0044, 0.1463), (1.25, 36, 1.0001, 0.0929),
     (1.1, 84, 1.0, 0.0441)],
)  # fmt: skip
def test_a_fixed_noise_heats_past_the_width_of_the_data(
    factor: float, length: int, generated: float, lost: float
) -> None:
    hot = factor ** np.arange(length)
    for found in (gaussian_ladder(hot, sigma=0.05, v=1.0), conditioned_ladder(hot)):
        assert found.walked[-1] == pytest.approx(hot[-1] * 0.05**2, abs=1e-6)
        assert found.generated == pytest.approx(generated, abs=1e-4)
        assert found.dissipation.sum() == pytest.approx(lost, abs=5e-4)


def test_the_gaussian_skip_with_no_network_samples_the_gaussian_of_the_data() -> None:
    sigma = 0.1
    for factor, bar in ((1.25, 1e-3), (2.0, 0.06)):
        worst = 0.0
        for v in sigma**2 * np.geomspace(1, 500, 40):
            length = max(math.ceil(math.log(v / sigma**2) / math.log(factor)), 0) + 1
            hot = np.r_[np.ones(4), factor ** np.arange(length)]
            worst = max(worst, abs(gaussian_ladder(hot, sigma=sigma, v=v).generated / v - 1))
        assert worst < bar, factor


def test_the_gaussian_skip_as_a_module_is_the_same_recursion() -> None:
    net = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    variances = torch.tensor([1.0, 0.25])
    operator = GaussianOperator(net, (2,), skip="gaussian", sigma=0.1, variances=variances)
    s = torch.ones(1, 2)
    for t in (1.0, 4.0, 30.0):
        keep = (1 - t * 0.01 / variances).clamp_min(0).sqrt()
        assert operator.mean(s, t)[0].tolist() == pytest.approx(keep.tolist(), abs=1e-6)
