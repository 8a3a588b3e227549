"""Examples of linear-stopping: built-in tasks, and what other estimators make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tractable.linear import StoppingReport


class Case(NamedTuple):
    """Examples to train on and to test with."""

    name: str
    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray


def generated(seed: int) -> Case:
    """Return a noisy task of rank 3 on Gaussian inputs: 450 examples, and 3000 for the test."""
    from tractable.linear import noisy_task

    task = noisy_task(
        (3.0, 2.0, 1.0), n_in=100, n_out=60, n_examples=3450, inputs="gaussian", seed=seed
    )
    return Case("generated task", task.X[:450], task.Y[:450], task.X[450:], task.Y[450:])


def digits(n_examples: int, random: np.random.Generator) -> Case:
    """Return the pixels of lower halves of digits from those of upper halves."""
    from sklearn.datasets import load_digits

    images = load_digits().data / 16.0
    inputs, outputs = images[:, :32], images[:, 32:]
    inputs = inputs[:, inputs.std(0) > 0.1]  # the corners are almost always empty
    outputs = outputs[:, outputs.std(0) > 0.1]
    order = random.permutation(len(images))
    train, test = order[:n_examples], order[n_examples:]
    return Case(
        "lower halves of digits", inputs[train], outputs[train], inputs[test], outputs[test]
    )


def endpoints(
    Z: np.ndarray, T: np.ndarray, Z_test: np.ndarray, T_test: np.ndarray, report: StoppingReport
) -> tuple[float, float]:
    """Return the test losses of least squares and of its optimal shrinkage."""
    from tractable.linear import optimal_shrinkage

    W = np.linalg.lstsq(Z, T, rcond=None)[0].T
    power = np.sum(T_test**2)
    final = np.sum((T_test - Z_test @ W.T) ** 2) / power
    if report.whitening is None or min(W.shape) < 2:
        return float(final), float("nan")  # shrinkage needs whitened inputs
    # In whitened inputs of unit variance the noise of an entry is that of a target over sqrt(P).
    better = optimal_shrinkage(W, sigma=report.sigma / np.sqrt(len(Z))).estimate
    return float(final), float(np.sum((T_test - Z_test @ better.T) ** 2) / power)
