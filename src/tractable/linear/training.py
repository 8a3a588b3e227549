"""Deep linear networks trained by gradient descent: many seeds in one pass."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import TractableWarning, check_choice, check_shape
from tractable.core.progress import track
from tractable.linear.arrays import as_float64
from tractable.linear.descent import (
    AutogradDescent,
    BatchDescent,
    Batches,
    Descent,
    FullDescent,
    examples_of,
)
from tractable.linear.inputs import check_count, check_device, check_size, random_numbers
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.simulation import Simulation
from tractable.linear.weights import balance_error, draw_weights

if TYPE_CHECKING:
    from torch import nn

    from tractable.linear.arrays import Numbers

__all__ = ["simulate"]

MOST_BYTES = 1 << 30  # of recorded weights
LARGE_RATE = 0.2  # lr times the curvature: beyond, gradient descent is no flow


def simulate(
    dynamics: ModeDynamics,
    lr: float,
    steps: int,
    *,
    seeds: int = 8,
    init: str | Sequence[Numbers] | nn.Module = "aligned",
    n_hidden: int | None = None,
    init_std: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    record_at: Iterable[int] | None = None,
    device: str | None = None,
    dtype: str = "float64",
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Simulation:
    r"""Train ``seeds`` networks together by gradient descent.

    .. math:: W_l \leftarrow W_l + \eta\,(W_L \cdots W_{l+1})^\top
        (\Sigma_{yx} - W \Sigma_x)\,(W_{l-1} \cdots W_1)^\top

    with the correlations of all examples, or of the batch of a step.

    Parameters
    ----------
    dynamics : ModeDynamics
        The task: correlations, depth, initial strengths.
    lr : float
        Learning rate, > 0; a step advances the time by ``lr * tau``.
    steps : int
        Updates, >= 0.
    seeds : int
        Networks, >= 1, trained in one pass.
    init : {"aligned", "orthogonal", "gaussian"}, sequence of arrays, or nn.Module
        The start; see `draw_weights`. Arrays are the layers themselves, the same for all seeds.
        Copies of a module are trained by automatic differentiation; it may be nonlinear where the
        dynamics hold examples. Of a stack of ``nn.Linear`` the layers are recorded, of any other
        module its map: the outputs for unit inputs, less those for no input.
    n_hidden : int, optional
        Width of each hidden layer, >= 1; by default min(n_in, n_out).
    init_std : float, optional
        Standard deviation of a Gaussian start.
    batch_size : int, optional
        Stochastic gradient descent with so many examples in each step, from shuffled
        epochs of each network's own; needs dynamics made by `ModeDynamics.from_data`. All examples
        if left out.
    seed : int
        Decides the starts and the batches.
    record_at : iterable of int, optional
        Steps to record; by default up to 200, half of them log-spaced.
    device : str, optional
        Of torch: ``cpu`` by default, ``cuda``, ``auto``.
    dtype : {"float64", "float32"}
        Precision.
    progress : callable, optional
        ``progress(done, steps, {"train_error": ...})``, about once a second; by default a bar on
        a terminal.

    Returns
    -------
    Simulation
        What was recorded. Ctrl-C returns what is done, with ``interrupted=True``.

    Raises
    ------
    ValueError
        Arguments out of range; the weights grew without bound.

    Warns
    -----
    TractableWarning
        lr times the curvature exceeds 0.2: gradient descent is then no flow.

    Notes
    -----
    Without batches the examples enter through the correlations only, so a step costs the same for
    any number of them: three products of n_out x n_hidden x n_in with one hidden layer. The mean
    gradient of the batches is that of all examples. They are those of shuffled epochs, so most of
    their noise has canceled at the end of an epoch: what is left there falls about like
    (lr / batch_size)^(3/2).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> task = ModeDynamics.from_data(X, X @ np.diag([3.0, 2.0, 1.0]), whiten=True)
    >>> noisy = simulate(task, 0.01, 1000, seeds=4, batch_size=8)
    >>> noisy.strengths().shape, bool(noisy.train_error()[:, -1].max() < 0.01)
    ((4, 3, 169), True)
    """
    import torch

    check_size("lr", lr)
    check_count("steps", steps, 0)
    check_count("seeds", seeds)
    _warn_of_large_steps(dynamics, lr)
    target = check_device("device", device)
    check_choice("dtype", dtype, ("float64", "float32"))
    real = getattr(torch, dtype)
    batches = None
    if batch_size is not None:
        n_examples = len(examples_of(dynamics)[0])
        check_count("batch_size", batch_size)
        if batch_size > n_examples:
            raise ValueError(f"batch_size must be <= {n_examples} examples, got {batch_size}")
        stream = random_numbers("seed", seed).spawn(1)[0]  # the starts do not depend on it
        batches = Batches(n_examples, batch_size, seeds, stream)
    descend: Descent
    if isinstance(init, torch.nn.Module):
        kind = "module"
        _check_module(dynamics, init)
        descend = AutogradDescent(dynamics, init, lr, real, target, batches, seeds)
    else:
        starts, kind = _starts(dynamics, init, n_hidden, init_std, seeds, seed)
        if batches is None:
            descend = FullDescent(dynamics, starts, lr, real, target)
        else:
            descend = BatchDescent(dynamics, starts, lr, real, target, batches)
    start = descend.weights()
    wanted = _record_steps(steps) if record_at is None else _steps_asked_for(record_at, steps)
    size = sum(W.size for W in start) * 8 * len(wanted)
    if size > MOST_BYTES:
        raise ValueError(
            f"record_at asks for {len(wanted)} records, {size / 1e9:.1f} GB of weights; record "
            f"less often (1 GB is allowed: {MOST_BYTES * len(wanted) // size} records)"
        )
    records: list[list[np.ndarray]] = []
    done: list[int] = []
    interrupted, heard = False, time.monotonic()
    show = progress is None
    try:
        for step in track(range(steps + 1), "training", total=steps + 1, show=show):
            if step in wanted:
                records.append(descend.weights())
                done.append(step)
            if step < steps:
                descend.step()
            if progress is not None and (time.monotonic() - heard > 1.0 or step == steps):
                heard = time.monotonic()
                progress(step, steps, {"train_error": descend.error()})
    except KeyboardInterrupt:
        interrupted = True
        if not done:
            raise
    layers = tuple(np.stack(layer, axis=1) for layer in zip(*records, strict=True))
    if not all(np.isfinite(layer).all() for layer in layers):
        raise ValueError(
            f"lr={lr:g} is too large: the weights grew without bound; the largest stable one is "
            f"{dynamics.max_stable_lr():.3g}"
        )
    times = lr * dynamics.tau * np.array(done, dtype=float)
    balance = balance_error([W[0] for W in start])
    return Simulation(times, layers, dynamics, lr, kind, balance, interrupted, batch_size or 0)


def _starts(
    dynamics: ModeDynamics,
    init: str | Sequence[Any],
    n_hidden: int | None,
    init_std: float | None,
    seeds: int,
    seed: int,
) -> tuple[list[np.ndarray], str]:
    """Return the starts of all seeds, and what they are called."""
    if isinstance(init, str):
        if init == "aligned" and dynamics.depth > 1 and (dynamics.init_strength < 0).any():
            raise ValueError("init 'aligned' needs init_strength >= 0 in every mode")
        width = min(len(dynamics.U), len(dynamics.V)) if n_hidden is None else n_hidden
        drawn = draw_weights(
            dynamics.U,
            dynamics.V,
            dynamics.init_strength,
            depth=dynamics.depth,
            n_hidden=width,
            n_seeds=seeds,
            init=init,
            init_std=init_std,
            seed=seed,
        )
        return drawn, init
    if not np.iterable(init):
        raise TypeError(
            f"init must be 'aligned', 'orthogonal', 'gaussian', the layers as a list of arrays, or "
            f"an nn.Module, got {init!r}"
        )
    given = [as_float64(f"init[{i}]", W) for i, W in enumerate(init)]
    if len(given) != dynamics.depth:
        raise ValueError(f"init must hold {dynamics.depth} layers, got {len(given)}")
    n_in: int | str = len(dynamics.V)
    for i, W in enumerate(given):
        rows = len(dynamics.U) if i == len(given) - 1 else "units"
        check_shape(f"init[{i}]", W.shape, (rows, n_in))
        n_in = W.shape[0]
    return [np.repeat(W[None], seeds, 0) for W in given], "given"


def _warn_of_large_steps(dynamics: ModeDynamics, lr: float) -> None:
    stable = dynamics.max_stable_lr()
    if 2 * lr / stable > LARGE_RATE * (1 + 1e-9):  # the largest small one is small
        warnings.warn(
            f"lr={lr:g} is {lr / stable:.2g} of the largest stable one ({stable:.3g}): gradient "
            f"descent is not close to the flow; lr <= {LARGE_RATE * stable / 2:.2g} is",
            TractableWarning,
            stacklevel=4,
        )


def _record_steps(steps: int) -> set[int]:
    """Return about 200 steps, half evenly and half logarithmically spaced."""
    even = np.linspace(0, steps, 101)
    log = np.geomspace(1, max(steps, 1), 100)
    return {round(k) for k in np.concatenate([even, log]) if round(k) <= steps}


def _steps_asked_for(record_at: Iterable[int], steps: int) -> set[int]:
    """Return the steps to record, and the last one."""
    asked = np.asarray(list(record_at) if np.iterable(record_at) else record_at)
    if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iu"):
        raise ValueError(f"record_at must be whole numbers of steps, got {record_at!r}")
    if asked.size and not (asked.min() >= 0 and asked.max() <= steps):
        raise ValueError(
            f"record_at must be within 0 .. steps={steps}, got {asked.min()} .. {asked.max()}"
        )
    return {int(k) for k in asked} | {steps}


def _check_module(dynamics: ModeDynamics, module: nn.Module) -> None:
    """Refuse a module that does not take the task's inputs to its outputs."""
    import torch

    n_in, n_out = len(dynamics.V), len(dynamics.U)
    first = next((p for p in module.parameters() if p.requires_grad), None)
    if first is None:
        raise ValueError("init must be a module with parameters to train, got none")
    try:
        with torch.no_grad():
            shape = tuple(
                module(torch.zeros(2, n_in, dtype=first.dtype, device=first.device)).shape
            )
    except RuntimeError as error:
        raise ValueError(f"init must be a module of {n_in} inputs: {error}") from None
    check_shape("the output of init", shape, (2, n_out))
