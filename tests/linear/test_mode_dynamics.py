"""ModeDynamics and Simulation: what they accept, what they refuse, what they cost."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.linear import (
    ModeDynamics,
    Simulation,
    correlations,
    deep_strength,
    eight_things,
    simulate,
)


@pytest.fixture
def task():
    random = np.random.default_rng(0)
    return ModeDynamics.from_correlations(random.standard_normal((4, 6)), init_strength=0.01)


def test_torch_and_float32_are_read(task):
    X, Y = torch.eye(6), torch.tensor(task.cov_yx.T, dtype=torch.float32)
    found = ModeDynamics.from_data(X, Y, norm="sum", init_strength=0.01)
    np.testing.assert_allclose(found.s, task.s, rtol=1e-6)


def test_centered_data_have_a_bias_less_map():
    random = np.random.default_rng(1)
    X = random.standard_normal((50, 3)) + 5
    Y = X @ random.standard_normal((3, 2)) + 7
    with pytest.warns(TractableWarning, match="correlated"):
        found = ModeDynamics.from_data(X, Y, center=True)
    expected = np.linalg.lstsq(X - X.mean(0), Y - Y.mean(0), rcond=None)[0].T
    np.testing.assert_allclose(found._least_squares(), expected, atol=1e-8)


def test_means_far_from_zero_do_not_cancel():
    random = np.random.default_rng(1)
    X, Y = random.standard_normal((50, 3)), random.standard_normal((50, 2))
    near, far = (correlations(X + m, Y - m, center=True) for m in (0.0, 1e8))
    np.testing.assert_allclose(far.cov_x, near.cov_x, atol=1e-6)
    np.testing.assert_allclose(far.cov_yx, near.cov_yx, atol=1e-6)
    assert far.sum_y2 == pytest.approx(near.sum_y2, rel=1e-6)
    np.testing.assert_allclose(far.mean_x, X.mean(0) + 1e8, rtol=1e-12)
    np.testing.assert_allclose(far.mean_y, Y.mean(0) - 1e8, rtol=1e-12)


def test_correlated_inputs_warn_and_are_integrated():
    random = np.random.default_rng(2)
    X, Y = random.standard_normal((20, 4)), random.standard_normal((20, 3))
    with pytest.warns(TractableWarning, match="correlated across the task's modes"):
        found = ModeDynamics.from_data(X, Y)
    assert found.method == "ode"
    assert "integrated" in found.reason
    assert found.warnings
    with pytest.warns(TractableWarning, match="approximation"):
        assert ModeDynamics.from_data(X, Y, method="aligned").method == "aligned"
    with pytest.raises(ValueError, match="method 'riccati' needs two layers"):
        ModeDynamics.from_data(X, Y, method="riccati")


def test_a_start_above_the_modes_warns():
    with pytest.warns(TractableWarning, match="init_strength exceeds"):
        ModeDynamics.from_correlations(np.diag([2.0, 1e-4]), init_strength=1e-3)


def test_results_are_stored_and_read_back(task):
    again = ModeDynamics.from_dataset(task.to_dataset())
    np.testing.assert_array_equal(again.strengths([0, 1, 2]), task.strengths([0, 1, 2]))
    assert (again.method, again.reason, again.depth) == (task.method, task.reason, task.depth)
    table = eight_things().dynamics()
    assert ModeDynamics.from_dataset(table.to_dataset()).items == table.items
    trained = task.simulate(0.01, 50, seeds=2)
    stored = Simulation.from_dataset(trained.to_dataset(), task)
    np.testing.assert_array_equal(stored.strengths(), trained.strengths())


def test_signs_do_not_depend_on_the_decomposition():
    table = eight_things().dynamics()
    rows = np.abs(table.V).argmax(0)
    assert (table.V[rows, np.arange(8)] > 0).all()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("init_strength", lambda X, Y: ModeDynamics.from_data(X, Y, init_strength=0.0)),
        ("init_strength", lambda X, Y: ModeDynamics.from_data(X, Y, init_strength=[1e-3] * 5)),
        ("init_strength", lambda X, Y: ModeDynamics.from_data(X, Y, init_strength=np.nan)),
        ("depth", lambda X, Y: ModeDynamics.from_data(X, Y, depth=0)),
        ("depth", lambda X, Y: ModeDynamics.from_data(X, Y, depth=1.5)),
        ("tau", lambda X, Y: ModeDynamics.from_data(X, Y, tau=0)),
        ("norm", lambda X, Y: ModeDynamics.from_data(X, Y, norm="men")),
        ("rank", lambda X, Y: ModeDynamics.from_data(X, Y, rank=9)),
        ("method", lambda X, Y: ModeDynamics.from_data(X, Y, method="exact")),
        ("Y", lambda X, Y: ModeDynamics.from_data(X, Y[:-1])),
        ("X", lambda X, Y: ModeDynamics.from_data(X[0], Y)),
        (r"X\[1, 2\]", lambda X, Y: ModeDynamics.from_data(poked(X, 1, 2), Y)),
        (r"Y\[3, 0\]", lambda X, Y: ModeDynamics.from_data(X, poked(Y, 3, 0))),
        ("items", lambda X, Y: ModeDynamics.from_data(X, Y, items=["a"])),
        ("cov_x", lambda X, Y: ModeDynamics.from_correlations(Y.T, np.triu(np.ones((4, 4))))),
        ("t", lambda X, Y: ModeDynamics.from_data(X, Y).strengths([-1.0])),
        ("t", lambda X, Y: ModeDynamics.from_data(X, Y).strengths([2.0, 1.0])),
        ("t", lambda X, Y: ModeDynamics.from_data(X, Y).map([np.nan])),
        ("frac", lambda X, Y: ModeDynamics.from_data(X, Y).time_to(1.0)),
        ("sum_y2", lambda X, Y: ModeDynamics.from_correlations(Y.T).loss([1.0])),
        ("n_hidden", lambda X, Y: ModeDynamics.from_data(X, Y).simulate(1e-3, 5, n_hidden=0)),
        ("lr", lambda X, Y: ModeDynamics.from_data(X, Y).simulate(0, 5)),
        ("init", lambda X, Y: ModeDynamics.from_data(X, Y).simulate(1e-3, 5, init="orthogonl")),
        ("features", lambda X, Y: ModeDynamics.from_data(X, Y).beliefs([1.0], features=["x"])),
    ],
)
def test_bad_input_is_named(name, call):
    X, Y = np.eye(4), np.arange(12.0).reshape(4, 3)
    with pytest.raises(ValueError, match=rf"\b{name}" if name[0].isalpha() else name):
        call(X, Y)


def poked(array, row, column):
    array = array.copy()
    array[row, column] = np.inf
    return array


def test_models_that_are_not_linear_are_refused():
    X, Y = torch.eye(3), torch.eye(3)
    with pytest.raises(TypeError, match=r"model\[1\] must be an nn.Linear, got ReLU"):
        ModeDynamics.from_model(nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU()), X, Y)
    with pytest.raises(ValueError, match=r"model\[0\] has a bias"):
        ModeDynamics.from_model(nn.Sequential(nn.Linear(3, 3)), X, Y)
    with pytest.raises(ValueError, match="first layer"):
        ModeDynamics.from_model(nn.Linear(4, 3, bias=False), X, Y)


def test_a_large_step_warns_and_a_wild_one_is_refused(task):
    with pytest.warns(TractableWarning, match="largest stable one"):
        simulate(task, 0.3 * task.max_stable_lr(), 5, seeds=1)
    with (
        pytest.warns(TractableWarning, match="largest stable one"),
        pytest.raises(ValueError, match=r"lr=.* is too large"),
    ):
        simulate(task, 30 * task.max_stable_lr(), 3000, seeds=1)


def test_interrupted_training_keeps_what_is_done(task):
    seen = []

    def stop(done, steps, info):
        seen.append((done, steps, info["train_error"]))
        if done > 0:
            raise KeyboardInterrupt

    original, clock = time.monotonic, iter(np.arange(0, 1e6, 0.6))
    time.monotonic = lambda: float(next(clock))
    try:
        found = simulate(task, 0.01, 2000, seeds=2, progress=stop)
    finally:
        time.monotonic = original
    assert found.interrupted
    assert 0 < len(found.t) < 200
    assert seen[-1][1] == 2000
    assert np.isfinite(found.strengths()).all()


def test_the_same_seed_gives_the_same_networks(task):
    one, two = (task.simulate(0.01, 30, seeds=2, init="gaussian", seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.map(), two.map())
    other = task.simulate(0.01, 30, seeds=2, init="gaussian", seed=5)
    assert abs(other.map() - one.map()).max() > 0


def test_memory_of_strengths_is_bounded():
    s, t = np.linspace(0.1, 3, 2000)[:, None], np.linspace(0, 20, 2000)
    deep_strength(s[:2], t, 1e-3, 5)  # the table
    for depth in (2, 5):
        tracemalloc.start()
        deep_strength(s, t, 1e-3, depth)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200e6


@pytest.mark.parametrize("P", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_of_reading_is_bounded(P):
    random = np.random.default_rng(0)
    X = random.standard_normal((P, 300), dtype=np.float32)
    Y = random.standard_normal((P, 100), dtype=np.float32)
    tracemalloc.start()
    with pytest.warns(TractableWarning, match="correlated"):
        ModeDynamics.from_data(X, Y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def cpu(work, repeats=3):
    best = np.inf
    for _ in range(repeats):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.slow
def test_speed_of_simulation_and_reading():
    random = np.random.default_rng(0)
    cov = random.standard_normal((50, 100)) / 10
    task = ModeDynamics.from_correlations(cov, init_strength=1e-4)
    run = lambda seeds: simulate(  # noqa: E731
        task, 1e-3, 400, seeds=seeds, n_hidden=50, init="gaussian", record_at=[400]
    )
    run(1)
    one, eight = cpu(lambda: run(1)), cpu(lambda: run(8))
    W1, W2 = torch.randn(1, 50, 100).double(), torch.randn(1, 50, 50).double()
    gap, out = torch.randn(1, 50, 100).double(), torch.empty(1, 50, 100).double()

    def bare():
        for _ in range(400):
            torch.bmm(W2, W1, out=out)
            torch.bmm(gap, W1.mT)
            torch.bmm(W2.mT, gap)

    bare()
    assert eight <= 8.5 * one
    assert one <= 1.5 * cpu(bare) + 0.01
    small = eight_things().dynamics()
    for n_hidden, bound in ((16, 3.5), (64, 5.5)):
        train = lambda seeds, n=n_hidden: simulate(  # noqa: E731
            small, 0.01, 1500, seeds=seeds, n_hidden=n, init="gaussian", record_at=[1500]
        )
        assert cpu(lambda train=train: train(8)) <= bound * cpu(lambda train=train: train(1))
    X = np.linalg.qr(random.standard_normal((4000, 300)))[0]
    Y = random.standard_normal((4000, 100))
    ours = cpu(lambda: ModeDynamics.from_data(X, Y, norm="sum").strengths(np.linspace(0, 10, 500)))
    theirs = cpu(lambda: (X.T @ X, np.linalg.svd(Y.T @ X, full_matrices=False)))
    assert ours <= 3 * theirs + 0.02


def test_a_few_modes_of_a_large_task_are_those_of_the_whole_decomposition(monkeypatch) -> None:
    from tractable.linear import modes

    random = np.random.default_rng(0)
    covariance = random.normal(size=(90, 120))
    whole = modes.task_modes(covariance, np.eye(120), rank=5)
    monkeypatch.setattr(modes, "LARGE", 50)
    few = modes.task_modes(covariance, np.eye(120), rank=5)
    np.testing.assert_allclose(few.s, whole.s, rtol=1e-12)
    for name in ("U", "V"):
        a, b = getattr(few, name), getattr(whole, name)
        np.testing.assert_allclose(abs((a * b).sum(0)), 1.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"record_at": [1.5]}, ValueError, "record_at must be whole numbers"),
        ({"record_at": 3}, ValueError, "record_at must be whole numbers"),
        ({"init": None}, TypeError, "init must be 'aligned'"),
    ],
)
def test_records_and_starts_are_named(task, settings, error, message):
    with pytest.raises(error, match=message):
        simulate(task, 0.01, 5, seeds=1, **settings)
