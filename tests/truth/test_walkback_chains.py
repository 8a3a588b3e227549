"""Operators on few bits by enumeration; estimators of irreversibility against exact values.

Kinds of witness: exact enumeration, identities, a second formula, simulation within errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tractable.core.seeds import seeded
from tractable.walkback import (
    BernoulliOperator,
    BernoulliPrior,
    LinearGaussianOperator,
    Schedule,
    all_states,
    detailed_balance_test,
    entropy_production,
    exact_decomposition,
    linear_entropy_production,
    log_likelihood_bound,
    matrix_entropy_production,
    matrix_stationary,
    mlp_operator,
    probability_current,
    reversible_operator,
    rotation_operator,
    stationary_law,
    transition_matrix,
)


def operator_on(n_bits: int) -> BernoulliOperator:
    with seeded(n_bits):
        operator = mlp_operator(n_bits, (24,), kind="bernoulli", alpha=0.8)
        for weight in operator.parameters():
            torch.nn.init.normal_(weight, std=0.6)
    return operator.double().eval()


@pytest.fixture(scope="module")
def six() -> tuple:
    operator, schedule = operator_on(6), Schedule.geometric(5, 1.5, num_cold=2)
    random = np.random.default_rng(0)
    law = np.exp(random.normal(size=64))
    prior = BernoulliPrior((6,))
    prior.probability.copy_(torch.tensor([0.3, 0.5, 0.6, 0.4, 0.5, 0.7]))
    parts = exact_decomposition(operator, law / law.sum(), schedule=schedule, prior=prior)
    return operator, schedule, prior, parts


def test_the_matrix_is_that_of_the_sampled_moves(six: tuple) -> None:
    operator = six[0]
    p = transition_matrix(operator)
    assert p.sum(1) == pytest.approx(1, abs=1e-12)
    s = torch.from_numpy(all_states(6))[[11]].expand(100_000, 6)
    moved = operator.sample(s, 1.0, generator=torch.Generator().manual_seed(0))
    codes = (moved.numpy() @ (2 ** np.arange(6)[::-1])).astype(int)
    share = np.bincount(codes, minlength=64) / 1e5
    assert share == pytest.approx(p[11], abs=4.5 * math.sqrt(0.25 / 1e5))
    law = matrix_stationary(p)
    assert law @ p == pytest.approx(law, abs=1e-14)


def test_the_parts_of_the_bound_add_up(six: tuple) -> None:
    parts = six[3]
    assert abs(parts.residual) < 1e-12
    data = parts.marginals[0]
    assert float(data @ (parts.log_prob - parts.bound)) == pytest.approx(parts.gap, abs=1e-12)
    assert (parts.bound <= parts.log_prob + 1e-12).all()
    assert np.exp(parts.log_prob).sum() == pytest.approx(1, abs=1e-12)
    assert parts.dissipation.min() >= 0


def test_cold_steps_at_stationarity_dissipate_the_entropy_production() -> None:
    operator = operator_on(4)
    law = matrix_stationary(transition_matrix(operator))
    parts = exact_decomposition(
        operator, law, schedule=Schedule.constant(3), prior=BernoulliPrior((4,))
    )
    rate = matrix_entropy_production(transition_matrix(operator))
    assert parts.dissipation == pytest.approx(rate, abs=1e-12)
    assert rate > 0.01


def test_the_bound_by_walks_is_the_exact_one(six: tuple) -> None:
    operator, schedule, prior, parts = six
    x = torch.from_numpy(all_states(6))
    found = log_likelihood_bound(
        operator, x, schedule=schedule, prior=prior, num_paths=1000,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    z = (found.bound - parts.bound) / found.bound_se
    assert np.abs(z).max() < 4.5
    assert abs(z.mean()) < 4 / 8


def test_entropy_production_of_bits_by_moves(six: tuple) -> None:
    operator = six[0]
    p = transition_matrix(operator)
    random = np.random.default_rng(1)
    start = torch.from_numpy(all_states(6)[random.choice(64, 2000, p=matrix_stationary(p))])
    found = entropy_production(
        operator, start=start, burn_in=0, num_steps=10, num_chains=2000, method="density",
        generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    assert abs(found.rate - matrix_entropy_production(p)) < 4 * found.se
    assert entropy_production(operator).method == "exact"
    assert entropy_production(operator).rate == pytest.approx(matrix_entropy_production(p))


def test_too_many_bits_are_refused() -> None:
    operator = mlp_operator(13, (4,), kind="bernoulli")
    with pytest.raises(ValueError, match="13"):
        transition_matrix(operator)
    with pytest.raises(ValueError, match="12 bits"):
        entropy_production(operator, method="exact")


# --- estimators --------------------------------------------------------------------------------


def stationary_states(operator: LinearGaussianOperator, n: int, seed: int) -> torch.Tensor:
    mean, cov = operator.stationary()
    return torch.from_numpy(np.random.default_rng(seed).multivariate_normal(mean, cov, n))


def test_the_uncertainty_bound_is_a_bound() -> None:
    random = np.random.default_rng(3)
    for seed in range(10):
        a = random.normal(size=(3, 3))
        a *= 0.8 / np.abs(np.linalg.eigvals(a)).max()
        operator = LinearGaussianOperator(a, D=np.diag(random.uniform(0.5, 2, 3)))
        found = entropy_production(
            operator, start=stationary_states(operator, 800, seed), burn_in=0, num_steps=20,
            num_chains=800, method="tur", generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        assert found.rate <= linear_entropy_production(a, operator.D) + 3 * found.se


def test_the_uncertainty_relation_of_the_rotation() -> None:
    operator = rotation_operator(0.8, 0.4)
    found = entropy_production(
        operator, start=stationary_states(operator, 4000, 0), burn_in=0, num_steps=50,
        num_chains=4000, method="tur", generator=torch.Generator().manual_seed(0),
        current=lambda s, t: s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0],
    )  # fmt: skip
    # Var / mean^2 = 2.856 of this current
    assert found.rate == pytest.approx(math.log1p(2 / 2.856), abs=4 * found.se + 1e-3)


def test_counts_are_unbiased_in_equilibrium_and_below_the_truth_out_of_it() -> None:
    a, d = reversible_operator([[1.0, 0.2], [0.2, 1.5]], [[0.6, 0.1], [0.1, 0.3]])
    settings = {"burn_in": 0, "num_steps": 10, "num_chains": 2000, "method": "counts", "bins": 8}
    for operator in (LinearGaussianOperator(a, D=d), rotation_operator(0.8, 0.4)):
        found = entropy_production(
            operator, start=stationary_states(operator, 2000, 1),
            generator=torch.Generator().manual_seed(4), **settings,
        )  # fmt: skip
        exact = operator.entropy_production()
        assert found.raw >= found.rate
        assert found.rate <= exact + 4 * found.se
        if exact < 1e-9:
            assert abs(found.rate) < 4 * found.se


def test_detailed_balance_is_told_from_its_breach() -> None:
    a, d = reversible_operator([[1.0, 0.2], [0.2, 1.5]], [[0.6, 0.1], [0.1, 0.3]])
    for operator, reversible in (
        (LinearGaussianOperator(a, D=d), True), (rotation_operator(0.9, 0.1), False),
    ):  # fmt: skip
        found = detailed_balance_test(
            operator, start=stationary_states(operator, 1000, 2), burn_in=0, num_steps=20,
            num_chains=1000, generator=torch.Generator().manual_seed(5),
        )  # fmt: skip
        assert found.stationary
        assert (found.p_value > 0.001) == reversible


def test_currents_vanish_in_equilibrium_and_turn_with_the_rotation() -> None:
    a, d = reversible_operator(np.eye(2), [[0.6, 0.1], [0.1, 0.3]])
    still = LinearGaussianOperator(a, D=d)
    box = ((-3.0, 3.0), (-3.0, 3.0))
    field = probability_current(
        still, bounds=box, bins=20, start=stationary_states(still, 4000, 3), burn_in=0,
        num_steps=50, generator=torch.Generator().manual_seed(6),
    )  # fmt: skip
    seen = field.density * 4000 * 50 * 0.09 > 200
    z = np.abs(field.current[seen] / field.current_se[seen])
    assert z.max() < 4.5
    # The drift is there even so.
    assert np.nanmax(np.abs(field.drift[seen])) > 0.3
    for theta in (0.4, -0.4):
        turning = rotation_operator(0.8, theta, 0.36)
        moved = probability_current(
            turning, bounds=((-6, 6), (-6, 6)), bins=40, burn_in=0, num_steps=50,
            start=stationary_states(turning, 2000, 4), generator=torch.Generator().manual_seed(7),
        )  # fmt: skip
        assert np.sign(moved.circulation) == np.sign(theta)
        # The circulation of (W29) is E[s x s'], of the stationary variance 1.
        assert moved.circulation == pytest.approx(2 * 0.8 * math.sin(theta), rel=0.05)


def test_chains_that_drift_are_reported() -> None:
    from tractable.walkback import StationarityWarning

    slow = LinearGaussianOperator(0.99 * np.eye(2), D=0.01 * np.eye(2))
    assert stationary_law(slow.A, slow.D)[1][0, 0] == pytest.approx(0.01 / (1 - 0.99**2))
    with pytest.warns(StationarityWarning, match="burn"):
        found = entropy_production(
            slow, start=torch.full((200, 2), 9.0, dtype=torch.float64), burn_in=0, num_steps=30,
            num_chains=200, method="density", generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
    assert not found.stationary
