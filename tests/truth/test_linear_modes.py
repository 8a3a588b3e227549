"""Learning dynamics of whole tasks.

INDEPENDENT: an ODE solver against the Riccati steps; autograd training against the theory.
IDENTITY: conserved balance; aligned starts agree in all methods.
LIMIT: gradient descent becomes the flow as the learning rate falls.
SIMULATION: small Gaussian starts against their effective strengths.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tractable.linear import ModeDynamics, balanced_flow, effective_init, eight_things
from tractable.linear.flow import descent, integrate_flow
from tractable.linear.weights import draw_weights, product


def orthonormal(random, rows, columns):
    return np.linalg.qr(random.standard_normal((rows, columns)))[0]


def balanced_start(random, n_in, n_hidden, n_out, balance, scale=1e-2):
    """W2^T W2 - W1 W1^T = balance I, with a random turn between task and layers."""
    a, b = (scale, scale + balance) if balance >= 0 else (scale - balance, scale)
    W1 = np.sqrt(a) * orthonormal(random, n_in, n_hidden).T
    W2 = np.sqrt(b) * orthonormal(random, n_out, n_hidden)
    return W1, W2


@pytest.mark.parametrize("balance", [0.0, 0.8, -0.8])
def test_riccati_steps_against_a_solver(balance):
    random = np.random.default_rng(3)
    cov = random.standard_normal((6, 7))
    W1, W2 = balanced_start(random, 7, 5, 6, balance)
    times = np.linspace(0, 40 / np.linalg.norm(cov, 2), 9)
    flow = balanced_flow(cov, W1, W2, times)
    exact = integrate_flow(cov, np.eye(7), [W1, W2], times, rtol=1e-12)
    assert abs(flow.map() - product(exact)).max() <= 1e-8
    assert abs(flow.hidden_similarity() - exact[0].transpose(0, 2, 1) @ exact[0]).max() <= 1e-8
    assert abs(flow.output_similarity() - exact[1] @ exact[1].transpose(0, 2, 1)).max() <= 1e-8
    assert flow.balance == pytest.approx(balance, abs=1e-12)
    assert flow.balance_error <= 1e-10
    gap = flow.W2.transpose(0, 2, 1) @ flow.W2 - flow.W1 @ flow.W1.transpose(0, 2, 1)
    assert abs(gap - balance * np.eye(5)).max() <= 1e-10


def test_balance_of_scaled_inputs_is_that_of_the_weights():
    random = np.random.default_rng(3)
    cov, times = random.standard_normal((6, 7)), np.array([0.0, 1.0, 4.0])
    W1, W2 = balanced_start(random, 7, 5, 6, 0.8)
    flow = balanced_flow(cov, W1, W2, times, lam=2.5)
    exact = integrate_flow(cov, 2.5 * np.eye(7), [W1, W2], times, rtol=1e-11)
    assert abs(flow.map() - product(exact)).max() <= 1e-8
    assert flow.balance == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize("width", [20, 80])
def test_gaussian_starts_have_the_initial_strength_that_was_asked_for(width):
    random = np.random.default_rng(0)
    U, V = orthonormal(random, 30, 30), orthonormal(random, 40, 30)
    first, last = draw_weights(
        U, V, np.full(30, 2e-3), depth=2, n_hidden=width, n_seeds=200, init="gaussian", seed=1
    )
    grown = (first @ V + last.transpose(0, 2, 1) @ U) / 2
    # 6000 vectors of `width` entries: the standard error of the mean is below 0.5 %
    assert (grown**2).sum(1).mean() == pytest.approx(2e-3, rel=0.02)


@pytest.mark.parametrize("balance", [0.0, 0.8, -0.8])
def test_riccati_steps_of_a_large_network_are_stable(balance):
    random = np.random.default_rng(4)
    cov = random.standard_normal((50, 100)) / 10
    W1, W2 = balanced_start(random, 100, 50, 50, balance, scale=1e-3)
    last = 40 / np.linalg.norm(cov, 2)
    flow = balanced_flow(cov, W1, W2, [0.0, last / 2, last])
    exact = integrate_flow(cov, np.eye(100), [W1, W2], np.array([0.0, last / 2, last]), rtol=1e-11)
    assert abs(flow.map() - product(exact)).max() <= 1e-8
    assert flow.balance_error <= 1e-9


def test_riccati_with_scaled_inputs_and_time():
    random = np.random.default_rng(5)
    cov = random.standard_normal((4, 5))
    W1, W2 = balanced_start(random, 5, 3, 4, 0.3)
    times = np.linspace(0, 10, 5)
    flow = balanced_flow(cov, W1, W2, times, tau=2.0, lam=0.4)
    exact = integrate_flow(cov, 0.4 * np.eye(5), [W1, W2], times, tau=2.0, rtol=1e-12)
    assert abs(flow.map() - product(exact)).max() <= 1e-8


def test_weights_out_of_balance_are_refused():
    random = np.random.default_rng(6)
    cov = random.standard_normal((4, 5))
    with pytest.raises(ValueError, match=r"W1, W2 must be balanced.*deviates"):
        balanced_flow(cov, random.standard_normal((3, 5)), random.standard_normal((4, 3)), [1.0])


def test_gradient_descent_becomes_the_flow():
    random = np.random.default_rng(7)
    cov = random.standard_normal((4, 5))
    weights = [0.3 * random.standard_normal((3, 5)), 0.3 * random.standard_normal((4, 3))]
    exact = product(integrate_flow(cov, np.eye(5), weights, np.array([1.0]), rtol=1e-12))[0]
    errors = []
    for lr in (4e-3, 2e-3, 1e-3):
        steps = [W.copy() for W in weights]
        for _ in range(round(1 / lr)):
            move = descent(steps, cov, np.eye(5))
            steps = [W + lr * d for W, d in zip(steps, move, strict=True)]
        errors.append(abs(product(steps) - exact).max())
    for larger, smaller in pairwise(errors):
        assert 1.8 <= larger / smaller <= 2.2


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_all_methods_agree_from_an_aligned_start(depth):
    random = np.random.default_rng(8)
    cov = random.standard_normal((4, 6))
    times = np.linspace(0, 8, 7)
    settings = {"depth": depth, "init_strength": 0.02, "tau": 1.3}
    closed = ModeDynamics.from_correlations(cov, **settings)
    solved = ModeDynamics.from_correlations(cov, method="ode", **settings)
    assert closed.method == "aligned"
    for read in ("map", "strengths", "train_error", "hidden_similarity", "output_similarity"):
        gap = abs(getattr(closed, read)(times) - getattr(solved, read)(times)).max()
        assert gap <= 1e-5, read
    np.testing.assert_allclose(closed.half_rise(), solved.half_rise(), rtol=1e-3)
    if depth == 2:
        riccati = ModeDynamics.from_correlations(cov, method="riccati", **settings)
        assert abs(closed.map(times) - riccati.map(times)).max() <= 1e-8


def test_inputs_that_decouple_without_being_white():
    random = np.random.default_rng(9)
    V, U = orthonormal(random, 6, 6), orthonormal(random, 4, 4)
    lam = np.array([2.0, 0.5, 1.0, 0.3, 1.7, 0.9])
    cov_x = (V * lam) @ V.T
    cov_yx = (U * [3.0, 2.0, 1.0, 0.5]) @ V[:, :4].T
    closed = ModeDynamics.from_correlations(cov_yx, cov_x, init_strength=0.05)
    assert closed.method == "aligned"
    np.testing.assert_allclose(closed.lam, lam[:4])
    solved = ModeDynamics.from_correlations(cov_yx, cov_x, init_strength=0.05, method="ode")
    times = np.linspace(0, 10, 6)
    assert abs(closed.map(times) - solved.map(times)).max() <= 1e-6
    assert abs(closed.train_error(times) - solved.train_error(times)).max() <= 1e-6


def test_white_training_error_is_the_distance_of_maps():
    random = np.random.default_rng(10)
    cov = random.standard_normal((4, 6))
    for rank in (None, 2):
        dynamics = ModeDynamics.from_correlations(cov, init_strength=1e-4, rank=rank)
        times = np.linspace(0, 6, 5)
        gap = ((cov - dynamics.map(times)) ** 2).sum((1, 2)) / (cov**2).sum()
        np.testing.assert_allclose(dynamics.train_error(times), gap, atol=1e-12)


@pytest.mark.parametrize(("n_hidden", "bound"), [(64, 0.05), (16, 0.05)])
def test_effective_strengths_of_a_small_gaussian_start(n_hidden, bound):
    table = eight_things()
    task = table.dynamics()
    random = np.random.default_rng(0)
    times = np.linspace(0, 40, 161)
    with_qr, naive = [], []
    for _ in range(5):
        W1 = 1e-3 * random.standard_normal((n_hidden, 8))
        W2 = 1e-3 * random.standard_normal((36, n_hidden))
        found = task.simulate(
            0.02, 2000, seeds=1, init=[W1, W2], record_at=range(0, 2001, 10)
        ).strengths(times)[0]
        for start, errors in (
            (effective_init(task.cov_yx, W1, W2), with_qr),
            ((((W1 @ task.V + W2.T @ task.U) / 2) ** 2).sum(0), naive),
        ):
            theory = ModeDynamics.from_correlations(task.cov_yx, init_strength=start)
            errors.append((abs(found - theory.strengths(times)) / task.s[:, None]).max())
    assert np.median(with_qr) < bound
    if n_hidden == 64:
        assert max(with_qr) < 0.05
    else:
        assert np.median(with_qr) <= 0.5 * np.median(naive)


def trained_losses(model, X, Y, lr, steps):
    losses = []
    for _ in range(steps + 1):
        loss = 0.5 * (model(X) - Y).square().sum(1).mean()
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
    return np.array(losses)


@pytest.mark.parametrize(
    ("std", "white", "method"), [(1e-3, True, "aligned"), (0.3, True, "ode"), (0.1, False, "ode")]
)
def test_a_model_of_ones_own_and_its_loss_curve(std, white, method):
    torch.manual_seed(0)
    X = torch.randn(60, 6, dtype=torch.float64)
    if white:
        X = torch.linalg.qr(X)[0] * 60**0.5
    Y = X @ torch.randn(6, 4, dtype=torch.float64) + 0.3 * torch.randn(60, 4, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(6, 16, bias=False), nn.Linear(16, 4, bias=False)).double()
    for p in model.parameters():
        nn.init.normal_(p, 0, std)
    if white:
        dynamics = ModeDynamics.from_model(model, X, Y)
    else:
        with pytest.warns(UserWarning, match="correlated"):
            dynamics = ModeDynamics.from_model(model, X, Y)
    assert dynamics.method == method, dynamics.reason
    lr = 0.005 / dynamics.s[0]
    losses = trained_losses(model, X, Y, lr, 2500)
    at = np.arange(0, 2501, 50)
    assert losses[-1] < 0.2 * losses[0]
    bound = 0.05 if method == "aligned" else 0.01
    assert abs(dynamics.loss(at * lr) - losses[at]).max() <= bound * losses[0]


def test_a_balanced_model_is_solved_by_riccati():
    random = np.random.default_rng(2)
    W1, W2 = balanced_start(random, 5, 3, 4, 0.5, scale=0.1)
    model = nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 4, bias=False)).double()
    for layer, W in zip(model, (W1, W2), strict=True):
        layer.weight.data = torch.tensor(W)
    X, Y = np.sqrt(5) * np.eye(5), random.standard_normal((5, 4))
    dynamics = ModeDynamics.from_model(model, X, Y)
    assert dynamics.method == "riccati"
    losses = trained_losses(model, torch.tensor(X), torch.tensor(Y), 1e-3, 3000)
    at = np.arange(0, 3001, 100)
    assert abs(dynamics.loss(at * 1e-3) - losses[at]).max() <= 2e-3 * losses[0]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_simulated_networks_follow_the_theory(depth):
    random = np.random.default_rng(1)
    cov = random.standard_normal((5, 7))
    dynamics = ModeDynamics.from_correlations(cov, depth=depth, init_strength=0.05)
    lr = 0.01 / (depth * dynamics.s[0] ** (2 - 2 / depth))
    trained = dynamics.simulate(lr, int(1.2 * dynamics.time_to(0.9)[2] / lr), seeds=3)
    found = trained.compare(dynamics)
    assert found.strength_error[:, :3].max() < 0.02
    assert abs(found.half_rise_ratio[:, :3] - 1).max() < 0.02
    assert found.train_error_difference.max() < 0.02


def test_simulation_with_correlated_inputs_is_the_flow():
    random = np.random.default_rng(11)
    X, Y = random.standard_normal((30, 5)), random.standard_normal((30, 4))
    with pytest.warns(UserWarning, match="correlated"):
        dynamics = ModeDynamics.from_data(X, Y, init_strength=0.02)
    assert dynamics.method == "ode"
    trained = dynamics.simulate(0.002, 5000, seeds=2)
    assert abs(trained.map() - dynamics.map(trained.t)).max() < 5e-3
    assert abs(trained.train_error() - dynamics.train_error(trained.t)).max() < 5e-3


def test_whitened_inputs_have_a_closed_form():
    random = np.random.default_rng(12)
    X, Y = random.standard_normal((30, 5)), random.standard_normal((30, 4))
    dynamics = ModeDynamics.from_data(X, Y, init_strength=0.02, whiten=True)
    assert dynamics.method == "aligned"
    late = dynamics.predict(X, [500.0])[0]
    np.testing.assert_allclose(late, X @ np.linalg.lstsq(X, Y, rcond=None)[0], atol=1e-6)
    np.testing.assert_allclose(dynamics.beliefs([500.0])[0].T, late, atol=1e-12)


@pytest.mark.parametrize(("depth", "white"), [(1, True), (2, True), (3, True), (2, False)])
def test_simulated_steps_are_those_of_gradient_descent(depth, white):
    random = np.random.default_rng(13)
    cov, root = random.standard_normal((4, 5)), random.standard_normal((5, 9))
    cov_x = 0.7 * np.eye(5) if white else root @ root.T / 9
    dynamics = ModeDynamics.from_correlations(cov, cov_x, depth=depth, method="ode", white_tol=10.0)
    sizes = [5, *[3] * (depth - 1), 4]
    weights = [random.standard_normal((b, a)) / 3 for a, b in pairwise(sizes)]
    found = dynamics.simulate(0.003, 40, seeds=2, init=weights)
    for _ in range(40):
        move = descent(weights, cov, cov_x)
        weights = [W + 0.003 * d for W, d in zip(weights, move, strict=True)]
    for layer, W in zip(found.weights, weights, strict=True):
        assert abs(layer[:, -1] - W).max() < 1e-12


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_largest_stable_learning_rate_is_the_edge(depth):
    random = np.random.default_rng(14)
    cov = random.standard_normal((4, 5))
    dynamics = ModeDynamics.from_correlations(cov, depth=depth)
    s = dynamics.s[0]
    assert dynamics.max_stable_lr() == pytest.approx(2 / (depth * s ** (2 - 2 / depth)))
    at_the_end = ModeDynamics.from_correlations(cov, depth=depth, init_strength=0.999 * dynamics.s)
    for factor in (0.95, 1.05):
        with pytest.warns(UserWarning, match="largest stable"):
            found = at_the_end.simulate(factor * dynamics.max_stable_lr(), 100, seeds=1)
        error = abs(found.strengths()[0, 0] - s)
        assert (error[-1] < error[0]) == (factor < 1)


def test_aligned_starts_are_worth_their_strengths():
    random = np.random.default_rng(15)
    U, V = orthonormal(random, 4, 3), orthonormal(random, 5, 3)
    turn, strengths = orthonormal(random, 6, 3), np.array([3e-3, 1e-3, 2e-3])
    W1, W2 = turn * np.sqrt(strengths) @ V.T, U * np.sqrt(strengths) @ turn.T
    np.testing.assert_allclose(effective_init((U * [3.0, 2.0, 1.0]) @ V.T, W1, W2)[:3], strengths)
