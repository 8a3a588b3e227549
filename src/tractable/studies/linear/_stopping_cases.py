"""Examples of linear-stopping: built-in tasks."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """Examples to train on and to test with."""

    name: str
    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray


@functools.lru_cache(maxsize=64)
def generated(seed: int) -> Case:
    """Return a noisy task of rank 3 on Gaussian inputs: 450 examples, and 3000 for the test."""
    from tractable.linear import noisy_task

    task = noisy_task(
        (3.0, 2.0, 1.0), n_in=100, n_out=60, n_examples=3450, inputs="gaussian", seed=seed
    )
    return Case("generated task", task.X[:450], task.Y[:450], task.X[450:], task.Y[450:])


@functools.cache
def digit_images() -> np.ndarray:
    """Return the pixels of all digits, in rows."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data / 16.0)


def digits(n_examples: int, random: np.random.Generator) -> Case:
    """Return the pixels of lower halves of digits from those of upper halves."""
    images = digit_images()
    inputs, outputs = images[:, :32], images[:, 32:]
    inputs = inputs[:, inputs.std(0) > 0.1]  # the corners are almost always empty
    outputs = outputs[:, outputs.std(0) > 0.1]
    order = random.permutation(len(images))
    train, test = order[:n_examples], order[n_examples:]
    return Case(
        "lower halves of digits", inputs[train], outputs[train], inputs[test], outputs[test]
    )
