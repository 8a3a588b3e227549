"""Small random starts of models: where their effective strengths hold, and where they do not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.linear import ModeDynamics

LR = 2e-3


def model_of(weights):
    layers = [nn.Linear(W.shape[1], W.shape[0], bias=False) for W in weights]
    for layer, W in zip(layers, weights, strict=True):
        layer.weight = nn.Parameter(torch.tensor(W))
    return nn.Sequential(*layers)


def task_of(s, random, n_in=5, n_out=4, n_examples=60):
    X = np.linalg.qr(random.standard_normal((n_examples, n_in)))[0] * np.sqrt(n_examples)
    U = np.linalg.qr(random.standard_normal((n_out, len(s))))[0]
    V = np.linalg.qr(random.standard_normal((n_in, len(s))))[0]
    return X, X @ (V * s) @ U.T


def strengths_by_descent(theory, weights, steps, every):
    """Return the strengths (K, T) of two layers in gradient descent, apart from the library."""
    first, second = (W.copy() for W in weights)
    found = []
    for step in range(steps + 1):
        whole = second @ first
        if step % every == 0:
            found.append(np.einsum("fa,fi,ia->a", theory.U, whole, theory.V))
        error = theory.cov_yx - whole @ theory.cov_x
        first, second = first + LR * second.T @ error, second + LR * error @ first.T
    return np.array(found).T


@pytest.mark.parametrize("n_hidden", [3, 4])
@pytest.mark.parametrize("s", [[2.0, 2.0, 2.0, 2.0], [3.0, 2.9, 2.8, 1.5]])
def test_modes_of_nearly_equal_strength_in_few_units_are_integrated(n_hidden, s):
    random = np.random.default_rng(3)
    X, Y = task_of(s, random)
    weights = [1e-3 * random.standard_normal(shape) for shape in ((n_hidden, 5), (4, n_hidden))]
    theory = ModeDynamics.from_model(model_of(weights), X, Y)
    steps, every = 6000, 300
    measured = strengths_by_descent(theory, weights, steps, every)
    predicted = theory.strengths(LR * np.arange(0, steps + 1, every))
    assert (abs(predicted - measured).max(1) / theory.s).max() < 0.05
    assert theory.method == "ode"
    assert "share hidden directions" in theory.reason
    with pytest.warns(TractableWarning, match="share hidden directions"):
        assert ModeDynamics.from_model(model_of(weights), X, Y, method="aligned").warnings


@pytest.mark.parametrize("s", [[3.0, 2.0, 1.0, 0.5], [2.0, 2.0, 2.0, 2.0]])
def test_in_many_units_the_closed_form_stays(s):
    random = np.random.default_rng(4)
    X, Y = task_of(s, random)
    weights = [1e-3 * random.standard_normal(shape) for shape in ((200, 5), (4, 200))]
    theory = ModeDynamics.from_model(model_of(weights), X, Y)
    measured = strengths_by_descent(theory, weights, 5000, 250)
    predicted = theory.strengths(LR * np.arange(0, 5001, 250))
    assert theory.method == "aligned"
    assert (abs(predicted - measured).max(1) / theory.s).max() < 0.05


def test_a_start_that_is_small_for_strong_modes_only_says_so():
    random = np.random.default_rng(1)
    X, Y = task_of([10.0, 1.0, 0.1], random)
    weights = [0.05 * random.standard_normal(shape) for shape in ((16, 5), (4, 16))]
    with pytest.warns(TractableWarning, match="not small beside the final strength of 1 of 3"):
        theory = ModeDynamics.from_model(model_of(weights), X, Y)
    assert theory.method == "aligned"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = ModeDynamics.from_model(model_of(weights), X, Y, method="ode")
    measured = strengths_by_descent(exact, weights, 8000, 400)
    predicted = exact.strengths(LR * np.arange(0, 8001, 400))
    assert (abs(predicted - measured).max(1)[:3] / exact.s[:3]).max() < 0.05
