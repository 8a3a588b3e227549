"""Data as they come: loud columns that explain nothing, stiff ones, means, modes without a task."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_linnerud

from tractable.core.checks import TractableWarning
from tractable.linear import ModeDynamics, Simulation


def descend(cov_yx, cov_x, weights, lr, steps, every=1):
    """Return the maps of two layers under gradient descent: written apart from the library."""
    first, second = (W.copy() for W in weights)
    maps = []
    for step in range(steps + 1):
        whole = second @ first
        if step % every == 0:
            maps.append(whole)
        error = cov_yx - whole @ cov_x
        first, second = first + lr * second.T @ error, second + lr * error @ first.T
    return np.array(maps)


def curvature(cov_x, weights):
    """Return the largest curvature of the loss at an exact solution, by brute force."""
    sizes = np.cumsum([0, *(W.size for W in weights)])
    rows = []
    for i, W in enumerate(weights):
        for j in range(W.size):
            unit = np.zeros(W.size)
            unit[j] = 1
            layers = [*weights[:i], unit.reshape(W.shape), *weights[i + 1 :]]
            whole = layers[0]
            for layer in layers[1:]:
                whole = layer @ whole
            rows.append(whole.ravel())
    jacobian = np.array(rows)
    assert len(jacobian) == sizes[-1]
    metric = np.kron(np.eye(weights[-1].shape[0]), cov_x)
    return np.linalg.eigvalsh(jacobian @ metric @ jacobian.T)[-1]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("correlated", [False, True])
def test_the_largest_stable_rate_is_that_of_all_input_directions(depth, correlated):
    random = np.random.default_rng(depth)
    turn = np.linalg.qr(random.standard_normal((4, 4)))[0]
    cov_x = np.diag([1.0, 9.0, 0.5, 2.0])
    if correlated:
        cov_x = turn @ cov_x @ turn.T
    teacher = np.zeros((2, 4))
    teacher[0, 0], teacher[1, 2] = 1.5, 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)
        task = ModeDynamics.from_correlations(teacher @ cov_x, cov_x, depth=depth)
    U, a, Vt = np.linalg.svd(teacher, full_matrices=False)
    root = np.diag(a ** (1 / depth))
    weights = [root @ Vt, *[root] * (depth - 2), U @ root] if depth > 1 else [teacher]
    assert task.max_stable_lr() == pytest.approx(2 / curvature(cov_x, weights), rel=1e-9)


def test_a_loud_column_without_a_task_bounds_the_rate():
    cov_x, cov_yx = np.diag([1.0, 100.0]), np.array([[1.0, 0.0]])
    task = ModeDynamics.from_correlations(cov_yx, cov_x)
    assert task.method == "aligned"
    start = [np.array([[1.0, 1e-6]]), np.array([[1.0]])]
    for factor, comes_back in ((0.95, True), (1.05, False)):
        maps = descend(cov_yx, cov_x, start, factor * task.max_stable_lr(), 60)
        away = abs(maps - [1.0, 0.0]).max((1, 2))
        assert (away[-1] < away[0]) == comes_back


def test_predictions_of_centered_data_are_in_their_units():
    random = np.random.default_rng(0)
    X = random.standard_normal((200, 3)) + 5
    Y = X @ random.standard_normal((3, 2)) + 7
    for settings in ({"whiten": True}, {"white_tol": 1.0}):
        task = ModeDynamics.from_data(X, Y, center=True, **settings)
        gap = abs(task.predict(X, [500.0])[0] - Y).max()
        assert gap < (1e-6 if task.whitening is not None else 1.0)
        back = ModeDynamics.from_dataset(task.to_dataset())
        np.testing.assert_array_equal(back.predict(X, [3.0]), task.predict(X, [3.0]))
    plain = ModeDynamics.from_data(X, Y, white_tol=100.0)
    assert plain.X_mean is None
    assert ModeDynamics.from_dataset(plain.to_dataset()).Y_mean is None


def test_times_of_modes_far_apart_are_all_exact():
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    cov_x = turn @ np.diag([1.0, 0.9, 0.8]) @ turn.T
    with pytest.warns(TractableWarning, match="correlated"):
        task = ModeDynamics.from_correlations(np.diag([10.0, 1.0, 0.03]), cov_x)
    fine = np.linspace(0, 8, 4001)
    paths, final = task.strengths(fine)[:2], task.final_strength()[:2, None]
    for frac in (0.1, 0.5, 0.9):
        seen = fine[(paths >= frac * final).argmax(1)]
        np.testing.assert_allclose(task.time_to(frac)[:2], seen, atol=4e-3)


def test_modes_without_a_task_never_rise_and_never_give_nan():
    aligned = ModeDynamics.from_correlations(np.diag([2.0, 0.0]))
    assert np.isinf([aligned.width()[1], aligned.half_rise()[1]]).all()
    cov_x = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.warns(TractableWarning, match="correlated"):
        task = ModeDynamics.from_correlations(np.diag([2.0, 1.0, 0.0]), cov_x)
    assert task.final_strength()[2] == 0
    assert np.isinf([task.half_rise()[2], task.width()[2]]).all()
    random = np.random.default_rng(0)
    X = random.standard_normal((50, 3))
    Y = X @ random.standard_normal((3, 1)) @ np.ones((1, 3))  # rank 1
    with pytest.warns(TractableWarning, match="correlated"):
        task = ModeDynamics.from_data(X, Y, init_strength=0.01)
    trained = task.simulate(0.01, 300, seeds=1)
    assert trained.compare(task).strength_error.max() < 0.2  # nothing is divided by rounding


def test_raw_columns_of_different_scale_are_integrated():
    table = load_linnerud()  # 20 people: chin-ups, sit-ups, jumps; weight, waist, pulse
    X, Y = table.data, table.target
    with pytest.warns(TractableWarning, match="correlated"):
        task = ModeDynamics.from_data(X, Y)
    begun = time.process_time()
    times = task.half_rise()
    assert time.process_time() - begun < 20
    assert np.isfinite(times).all()
    assert (np.diff(times) > 0).all()
    lr, steps = 0.02 * task.max_stable_lr(), 10_000
    maps = descend(task.cov_yx, task.cov_x, task.weights, lr, steps, every=1000)
    flow = task.map(lr * np.arange(0, steps + 1, 1000))
    assert abs(flow - maps).max() < 2e-3 * abs(maps).max()
    # far beyond that time, where the explicit solver gave up: the least squares of NumPy
    end = np.linalg.lstsq(X, Y, rcond=None)[0].T
    np.testing.assert_allclose(task.map([1e4])[0], end, atol=1e-4)


def test_times_may_repeat_whatever_the_method():
    cov_x = np.array([[1.0, 0.5], [0.5, 1.0]])
    with pytest.warns(TractableWarning, match="correlated"):
        task = ModeDynamics.from_correlations(np.diag([2.0, 1.0]), cov_x)
    found = task.strengths([0.0, 0.0, 1.0, 1.0, 2.0])
    np.testing.assert_array_equal(found, task.strengths([0.0, 1.0, 2.0])[:, [0, 0, 1, 1, 2]])
    np.testing.assert_allclose(task.strengths([0.0, 0.0])[:, 1], found[:, 0])


def test_deep_simulations_come_back_with_their_layers_in_order():
    task = ModeDynamics.from_correlations(np.diag([2.0, 1.0]), depth=12)
    trained = task.simulate(0.001, 5, seeds=1, n_hidden=3)
    back = Simulation.from_dataset(trained.to_dataset(), task)
    for stored, layer in zip(back.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(stored, layer)


def test_what_lies_in_faint_directions_is_not_left_out():
    random = np.random.default_rng(0)
    z = random.standard_normal((300, 2))
    z = np.linalg.qr(z)[0] * np.sqrt(300)
    X = np.stack([z[:, 0], z[:, 0] + 1e-3 * z[:, 1]], 1)  # two sensors of one thing
    Y = z.sum(1, keepdims=True)  # half of the targets is in their difference
    with pytest.warns(TractableWarning, match="nearly collinear: 0.5 of what can be learned"):
        task = ModeDynamics.from_data(X, Y)
    assert task.method == "ode"
    cov_yx, cov_x = Y.T @ X / 300, X.T @ X / 300
    maps = descend(cov_yx, cov_x, task.weights, 0.02, 1000, every=100)
    gaps = maps - np.linalg.lstsq(X, Y, rcond=None)[0].T
    error = np.einsum("tfi,ij,tfj->t", gaps, cov_x, gaps) / np.mean(Y**2)
    np.testing.assert_allclose(task.train_error(2.0 * np.arange(11)), error, atol=0.02)
