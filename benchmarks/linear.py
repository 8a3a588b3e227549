"""Deep linear networks: theory against training, against LAPACK, and shrinkage against optht."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.timing import Row, alternate
from tractable.linear import (
    ModeDynamics,
    generalization_curve,
    noisy_task,
    optimal_shrinkage,
    transfer_benefit,
)
from tractable.linear.students import train_students


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    yield theory_against_training(100, 50, 50, 1000)
    yield theory_against_training(100, 50, 50, 1000, calls=20)
    yield theory_against_training(400, 200, 200, 10_000)
    yield from_data_against_svd()
    yield step_against_products()
    yield seeds_in_one_pass()
    yield transfer_points()
    yield shrinkage_against_truncation()


def theory_against_training(
    n_in: int, n_out: int, n_hidden: int, bar: int, *, calls: int = 1
) -> Row:
    """500 times of a generalization curve against 8,000 steps of gradient descent, float64.

    A part of the steps is run and scaled up: they all cost the same. A single call between two
    runs of steps pays for caches that these have filled; calls in a row do not.
    """
    part = 400 if n_in <= 100 else 60
    task = noisy_task([3.0], n_in=n_in, n_out=n_out, seed=0)
    t = np.linspace(0, 16, 500)

    def ours() -> None:
        for _ in range(calls):
            generalization_curve([3.0], n_out / n_in, t, n_in=n_in, n_hidden=n_hidden)

    S = torch.as_tensor(task.cov_yx)
    W1 = 1e-3 * torch.randn(n_hidden, n_in, dtype=torch.float64)
    W2 = 1e-3 * torch.randn(n_out, n_hidden, dtype=torch.float64)

    def peer() -> None:
        for _ in range(part):
            error = S - W2 @ W1
            step = W2.T @ error
            W2.add_(error @ W1.T, alpha=0.002)
            W1.add_(step, alpha=0.002)

    mine, theirs = alternate(ours, peer, repeats=7)
    return Row(
        f"generalization curve, 500 times, against 8,000 steps at {n_in}/{n_hidden}/{n_out}",
        mine / calls,
        theirs * 8000 / part,
        f">= {bar}",
        note=f"{part} steps timed, {calls} call{'s in a row' if calls > 1 else ''}",
    )


def from_data_against_svd() -> Row:
    """All modes and 500 times from data, against the products and the SVD that it needs."""
    random = np.random.default_rng(0)
    X, Y = random.normal(size=(5000, 300)), random.normal(size=(5000, 100))
    t = np.linspace(0, 10, 500)

    def ours() -> None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ModeDynamics.from_data(X, Y, method="aligned").strengths(t)

    def peer() -> None:
        _ = X.T @ X
        np.linalg.svd(Y.T @ X, full_matrices=False)

    mine, theirs = alternate(ours, peer)
    return Row(
        "ModeDynamics.from_data and 500 times, less 20 ms, against X'X, Y'X and its SVD",
        max(mine - 0.02, 1e-6),
        theirs,
        "<= 3",
    )


def step_against_products() -> Row:
    """One step of batched training against the bare matrix products that it needs."""
    B, n_in, n_hidden, n_out, steps = 8, 100, 50, 50, 200
    tasks = [noisy_task([3.0], n_in=n_in, n_out=n_out, seed=i) for i in range(B)]
    data = np.stack([task.cov_yx for task in tasks])
    teacher = np.stack([task.teacher for task in tasks])

    def ours() -> None:
        train_students(
            data, teacher, learning_rate=1e-3, steps=steps, n_hidden=n_hidden, n_records=2
        )

    S = torch.as_tensor(data)
    W1 = torch.randn(B, n_hidden, n_in, dtype=torch.float64)
    W2 = torch.randn(B, n_out, n_hidden, dtype=torch.float64)

    def peer() -> None:
        for _ in range(steps):
            _ = torch.bmm(W2, W1)
            _ = torch.bmm(W2.transpose(1, 2), S)
            _ = torch.bmm(S, W1.transpose(1, 2))

    mine, theirs = alternate(ours, peer)
    return Row("200 steps of 8 students, 100/50/50, against their products", mine, theirs, "<= 1.5")


def seeds_in_one_pass() -> Row:
    """Eight seeds at once against one."""
    tasks = [noisy_task([3.0], n_in=100, n_out=50, seed=i) for i in range(8)]
    data = np.stack([task.cov_yx for task in tasks])

    def run(n: int) -> Callable[[], Any]:
        return lambda: train_students(
            data[:n], data[:n], learning_rate=1e-3, steps=200, n_hidden=50, n_records=2
        )

    mine, theirs = alternate(run(8), run(1))
    return Row("8 seeds in one pass against one seed, 100/50/50", mine, theirs, "<= 8.5")


def transfer_points() -> Row:
    """1,000 points of the transfer map against 10 seconds."""
    grid = [(s, q) for s in np.geomspace(0.5, 30, 10) for q in np.linspace(0, 1, 10)]
    started = time.process_time()
    for s, q in grid:
        transfer_benefit(3.0, float(s), float(q), 0.5, n_in=100, n_hidden=50)
    seconds = (time.process_time() - started) * 1000 / len(grid)
    return Row("1,000 points of transfer against 10 s", seconds, 10.0, "<= 1")


def shrinkage_against_truncation() -> Row:
    """Mean error of optimal shrinkage against that of optht's truncated decomposition."""
    from optht import optht

    errors = np.zeros(2)
    for seed in range(10):
        task = noisy_task([3.0, 2.2, 1.5], n_in=400, n_out=200, seed=seed)
        S, W = task.cov_yx, task.teacher
        U, s, Vt = np.linalg.svd(S, full_matrices=False)
        rank = optht(S, sv=s, sigma=None)
        truncated = (U[:, :rank] * s[:rank]) @ Vt[:rank]
        for i, estimate in enumerate((optimal_shrinkage(S).estimate, truncated)):
            errors[i] += np.sum((estimate - W) ** 2) / np.sum(W**2) / 10
    return Row(
        "error of optimal shrinkage against optht's truncation, 200 x 400, rank 3",
        float(errors[0]),
        float(errors[1]),
        "<= 1",
        unit="",
    )
