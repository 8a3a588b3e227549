"""Three ways to one gradient: correlations, batches of examples, automatic differentiation."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.linear import ModeDynamics, Simulation, simulate

pytestmark = pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")


def examples(seed=0, n=48):
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, 5)) * [2.0, 1.0, 1.0, 0.5, 0.5] + 0.3
    return X, X @ random.standard_normal((5, 4)) + random.standard_normal((n, 4))


def stack(*sizes, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes))).double()


def matrices(module):
    return [layer.weight.detach().numpy().copy() for layer in module]


@pytest.mark.parametrize("sizes", [(5, 4), (5, 6, 4), (5, 3, 3, 4)])
@pytest.mark.parametrize(
    "settings", [{}, {"norm": "sum", "center": True}, {"whiten": True}], ids=str
)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_autograd_is_the_closed_form_to_rounding(sizes, settings, batch_size):
    task = ModeDynamics.from_data(*examples(), depth=len(sizes) - 1, **settings)
    module = stack(*sizes)
    before = copy.deepcopy(module.state_dict())
    lr = 0.05 * task.max_stable_lr()
    run = {"seeds": 2, "batch_size": batch_size, "record_at": [0, 20, 150]}
    closed = task.simulate(lr, 150, init=matrices(module), **run)
    autograd = task.simulate(lr, 150, init=module, **run)
    assert autograd.init == "module"
    for ours, theirs in zip(closed.weights, autograd.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert abs(closed.map()[:, -1] - closed.map()[:, 0]).max() > 0.1  # it has learned
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])  # a copy is trained


def test_without_examples_autograd_uses_the_correlations():
    data = ModeDynamics.from_data(*examples())
    known = ModeDynamics.from_correlations(data.cov_yx, data.cov_x)
    module = stack(5, 6, 4)
    one, two = (task.simulate(0.01, 100, seeds=1, init=module) for task in (data, known))
    np.testing.assert_allclose(one.map(), two.map(), rtol=0, atol=1e-12)


def test_a_batch_of_everything_is_the_full_batch():
    task = ModeDynamics.from_data(*examples(), init_strength=0.05)
    full = task.simulate(0.01, 300, seeds=2, seed=3)
    batch = task.simulate(0.01, 300, seeds=2, seed=3, batch_size=48)
    np.testing.assert_allclose(full.map(), batch.map(), rtol=0, atol=1e-12)


def test_the_mean_step_of_batches_is_the_step_of_all_examples():
    task = ModeDynamics.from_data(*examples())
    start = matrices(stack(5, 6, 4))
    full = task.simulate(0.01, 1, seeds=1, init=start).map()[0, -1]
    noisy = task.simulate(0.01, 1, seeds=4000, init=start, batch_size=6, record_at=[1]).map()[:, -1]
    error = noisy.std(0) / np.sqrt(len(noisy))
    assert (abs(noisy.mean(0) - full) < 4.5 * error).all()
    assert (error < 0.05 * abs(full - start[1] @ start[0]).max()).all()


def test_the_mean_trajectory_is_the_full_one_and_its_spread_falls_with_rate_and_batch():
    X, Y = examples()
    task = ModeDynamics.from_data(X, Y, init_strength=0.05)
    spread, shift = {}, {}
    for lr, size in ((0.01, 4), (0.01, 16), (0.0025, 4)):
        steps = round(3 / lr)
        # independent starts would add a spread of their own: the same start for all
        start = [W[0, 0] for W in task.simulate(lr, 0, seeds=1).weights]
        run = {"init": start, "record_at": [steps // 4, steps]}
        full = task.simulate(lr, steps, seeds=1, **run).map()
        noisy = task.simulate(lr, steps, seeds=100, batch_size=size, **run).map()
        spread[lr, size] = float(np.sqrt(noisy[:, -1].var(0).sum()))
        shift[lr, size] = float(np.linalg.norm(noisy.mean(0)[-1] - full[0, -1]))
    assert max(shift.values()) < 0.01 * np.linalg.norm(full[0, -1])
    # Whole epochs: most noise of shuffled batches has canceled, what is left goes like rate^(3/2)
    assert 6 < spread[0.01, 4] / spread[0.01, 16] < 10
    assert 6 < spread[0.01, 4] / spread[0.0025, 4] < 10


def test_a_module_that_is_no_stack_is_recorded_by_its_map():
    task = ModeDynamics.from_data(*examples())
    linear = stack(5, 6, 4)
    bent = nn.Sequential(linear[0], nn.LeakyReLU(1.0), linear[1])
    one, two = (task.simulate(0.01, 100, seeds=1, init=module) for module in (linear, bent))
    np.testing.assert_allclose(one.map(), two.map(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.beliefs(), two.beliefs(), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="its layers were not recorded"):
        two.hidden_similarity()


def test_a_nonlinear_module_with_biases_learns_from_the_examples():
    X, Y = examples()
    task = ModeDynamics.from_data(X, Y)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4))
    found = task.simulate(0.02, 400, seeds=1, init=module)
    assert found.train_error()[0, -1] < 0.5
    assert len(found.weights) == 1


def test_runs_repeat_and_the_start_does_not_depend_on_the_batches():
    task = ModeDynamics.from_data(*examples(), init_strength=0.05)
    run = {"seeds": 2, "init": "gaussian", "seed": 4}
    one, two = (task.simulate(0.01, 40, batch_size=5, **run) for _ in range(2))
    np.testing.assert_array_equal(one.map(), two.map())
    full = task.simulate(0.01, 40, **run)
    np.testing.assert_array_equal(one.map()[:, 0], full.map()[:, 0])
    assert abs(one.map()[0] - full.map()[0]).max() > 1e-6
    stored = Simulation.from_dataset(one.to_dataset(), task)
    assert (stored.batch_size, full.batch_size) == (5, 0)
    read = ModeDynamics.from_dataset(task.to_dataset())
    np.testing.assert_array_equal(read.targets, task.targets)


@pytest.mark.parametrize(
    ("match", "settings"),
    [
        ("batch_size must be <= 48", {"batch_size": 49}),
        ("batch_size must be >= 1", {"batch_size": 0}),
        ("batch_size must be a whole number", {"batch_size": 2.5}),
        ("init must be a module of 5 inputs", {"init": nn.Linear(4, 4)}),
        ("the output of init must have shape", {"init": nn.Linear(5, 3)}),
        ("parameters to train", {"init": nn.ReLU()}),
        ("dtype must be one of", {"dtype": "float16"}),
    ],
)
def test_what_cannot_be_trained_is_refused(match, settings):
    task = ModeDynamics.from_data(*examples())
    with pytest.raises(ValueError, match=match):
        simulate(task, 0.01, 2, seeds=1, **settings)


def test_correlations_hold_no_batches():
    with pytest.raises(ValueError, match="batch_size needs examples"):
        ModeDynamics.from_correlations(np.eye(3)).simulate(0.01, 2, batch_size=2)


def test_steps_too_large_are_said():
    task = ModeDynamics.from_data(*examples())
    with pytest.warns(TractableWarning, match="largest stable one"):
        task.simulate(0.3 * task.max_stable_lr(), 2, seeds=1, batch_size=4)
