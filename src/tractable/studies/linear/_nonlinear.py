"""Networks with leaky rectifiers that learn noisy tasks by full-batch gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class NonlinearTask(NamedTuple):
    """Noisy targets on orthonormal inputs, and clean targets on fresh ones."""

    X: np.ndarray
    """Inputs, (P, N1) with P = N1."""
    Y: np.ndarray
    """Noisy targets, (P, N3)."""
    X_test: np.ndarray
    """Fresh orthonormal inputs, (P, N1)."""
    Y_test: np.ndarray
    """Clean targets of them, (P, N3)."""


def teach(
    U: np.ndarray, s: np.ndarray, V: np.ndarray, slope: float, random: np.random.Generator
) -> NonlinearTask:
    """Return a task of the teacher y = U diag(s) f(V^T x), f the leaky rectifier."""
    n_in, n_out = len(V), len(U)
    X, X_test = (np.linalg.qr(random.normal(size=(n_in, n_in)))[0] for _ in range(2))
    clean, Y_test = (leaky(x @ V, slope) * s @ U.T for x in (X, X_test))
    noise = random.normal(size=(n_in, n_out)) / np.sqrt(n_in)
    return NonlinearTask(X, clean + noise, X_test, Y_test)


def leaky(x: np.ndarray, slope: float) -> np.ndarray:
    """Return x where it is positive, slope * x elsewhere."""
    return np.where(x > 0, x, slope * x)


def train_leaky(
    tasks: list[NonlinearTask],
    *,
    n_hidden: int,
    depth: int,
    slope: float,
    learning_rate: float,
    steps: int,
    init_strength: float,
    seed: int,
    n_rows: int | None = None,
    n_records: int = 300,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times (T,), train and test errors (B, T) of one student for each task.

    Hidden units have a leaky rectifier, the output is linear, the start is random and orthogonal.
    Errors are those of the first ``n_rows`` outputs, over those of the zero map.
    """
    import torch

    from tractable.core.seeds import generator

    random = generator(seed)
    X, Y, X_test, Y_test = (
        torch.as_tensor(np.stack([getattr(task, name).T for task in tasks]))
        for name in NonlinearTask._fields
    )
    B, n_in, _ = X.shape
    sizes = [n_in, *[n_hidden] * (depth - 1), Y.shape[1]]
    scale = init_strength ** (1 / depth)
    layers = []
    for rows, columns in zip(sizes[1:], sizes[:-1], strict=True):
        gaussian = torch.randn(
            B, max(rows, columns), min(rows, columns), generator=random, dtype=torch.float64
        )
        Q = torch.linalg.qr(gaussian)[0]
        layers.append(scale * (Q if rows >= columns else Q.transpose(1, 2)).contiguous())
    records = np.unique(np.linspace(0, steps, n_records).round().astype(int))
    wanted = set(records.tolist())
    kept = slice(0, n_rows)
    powers = [(y[:, kept] ** 2).sum((1, 2)) for y in (Y, Y_test)]
    errors: list[list[np.ndarray]] = [[], []]
    for step in range(steps + 1):
        activity, slopes, output = _forward(layers, X, slope)
        residual = Y - output
        if step in wanted:
            test = Y_test - _forward(layers, X_test, slope)[2]
            for record, rest, power in zip(errors, (residual, test), powers, strict=True):
                record.append(((rest[:, kept] ** 2).sum((1, 2)) / power).numpy())
        back = residual
        for i in range(depth - 1, -1, -1):
            below = layers[i].transpose(1, 2) @ back * slopes[i - 1] if i else back
            layers[i].baddbmm_(back, activity[i].transpose(1, 2), alpha=learning_rate)
            back = below
    train, test_error = (np.stack(record, 1) for record in errors)
    return learning_rate * records, train, test_error


def _forward(
    layers: list[Tensor], X: Tensor, slope: float
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return the input of each layer, the slopes of the hidden units, and the output."""
    import torch

    activity, slopes, h = [X], [], X
    for layer in layers[:-1]:
        h = torch.bmm(layer, h)
        gain = torch.where(h > 0, 1.0, slope).to(h)
        h = h * gain
        slopes.append(gain)
        activity.append(h)
    return activity, slopes, torch.bmm(layers[-1], h)
