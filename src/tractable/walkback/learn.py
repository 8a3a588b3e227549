"""Training: walk away from data, raise the probability of the way back, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_range
from tractable.train import choose_device
from tractable.walkback.fit_result import (
    FitResult,
    NoHeatingWarning,
    SigmaCollapseWarning,
    StepInfo,
)
from tractable.walkback.held_out import EVAL_POINTS
from tractable.walkback.operators import TransitionOperator, check_count
from tractable.walkback.priors import check_prior, prior_for
from tractable.walkback.schedule import Schedule, check_schedule
from tractable.walkback.trainer import Trainer
from tractable.walkback.trainer_state import restore

__all__ = ["FitResult", "NoHeatingWarning", "SigmaCollapseWarning", "StepInfo", "fit"]


def fit(
    operator: TransitionOperator,
    data: Any,
    *,
    schedule: Schedule,
    prior: Any = None,
    mode: Literal["walkback", "elbo", "released_code"] = "walkback",
    update: Literal["pool", "accumulate", "online"] = "pool",
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    lr: float = 2e-3,
    warmup: int = 100,
    final_lr: float = 0.01,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
    grad_clip: float = 5.0,
    ema: float | None = 0.999,
    amp: Literal["bf16", "fp16"] | None = None,
    val_data: Any = None,
    monitor: Literal["bound", "importance"] = "bound",
    eval_every: int | None = None,
    patience: int | None = None,
    adapt_every: int | None = None,
    chunk: int | None = None,
    estimator: Literal["pathwise", "reinforce"] = "pathwise",
    callbacks: Iterable[Any] = (),
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 500,
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> FitResult:
    r"""Train an operator so that it walks back to the data from where it walked to.

    Parameters
    ----------
    operator : TransitionOperator
        Trained in place.
    data : Tensor, ndarray or Dataset
        Shape ``(n, *event)``; of a data set's tuples the first entry is taken. They are brought to
        the precision of the operator's parameters, and bits of any kind to floating point.
    schedule : Schedule
        Temperatures.
    prior : optional
        Of the hottest states; by default that of the data's moments. Its moments follow the ends
        of the walks where it has ``update_``; any law with ``sample`` and ``log_prob`` will do.
    mode : str
        Objective, see `walkback_loss`.
    update : str
        ``pool``: one batch of states lives at each temperature; an iteration puts fresh data into
        the lowest, moves all by one step in one call and learns from these moves, so that a walk is
        at most L iterations old. ``accumulate``: whole walks, one optimizer step each. ``online``:
        an optimizer step after every step of the walk. The last two are the paper's.
    steps, epochs : int
        Iterations, or passes over the data; one of them.
    batch_size : int
        Walks; at every temperature with ``pool``.
    lr, warmup, final_lr : float, int, float
        Learning rate after ``warmup`` iterations of linear increase; its share at the end of a
        cosine.
    optimizer : callable, optional
        Makes the optimizer of the parameters; default Adam.
    grad_clip : float
        Largest norm of the gradient.
    ema : float, optional
        Decay of the average of the weights, in (0, 1); it is shorter at the start. None: none.
    amp : str, optional
        Precision of the network alone: ``bf16``, or ``fp16`` on a GPU. Densities stay in float32.
    val_data : optional
        Held-out data, in random order: the bound on the first 256 is evaluated every
        ``eval_every`` iterations, and the average with the best one is returned. The training
        objective is no bound and does not
        tell when to stop.
    monitor : str
        What decides which evaluation is the best: the bound, or the importance estimate of 8 paths,
        both lower bounds on average.
    eval_every : int, optional
        Default a twentieth of the run.
    patience : int, optional
        Stop after so many evaluations without a better one.
    adapt_every : int, optional
        Fit the ladder to the data and the present noise again after so many iterations.
    chunk : int, optional
        Rows of one graph, with ``pool``: less memory, the same gradient.
    estimator : str
        For ``elbo`` of binary states.
    callbacks : iterable
        Objects with ``on_step(info)``, ``on_eval(info)``, ``on_epoch(info)`` (after as many
        iterations as batches fill the data); each optional. ``info`` is a `StepInfo`.
    checkpoint_dir : path, optional
        Folder of ``walkback.safetensors``, written every ``checkpoint_every`` iterations, at the
        end, and when interrupted: Ctrl-C, or a callback's KeyboardInterrupt, takes effect after the
        iteration that it meets; a second Ctrl-C takes effect at once and writes nothing.
    resume : bool
        Go on from it where it exists; data, schedule, operator and settings must be the same.
    seed : int
        Decides batches and walks, not the initial weights.
    device : str
        ``auto`` (CUDA when present), ``cpu``, ``cuda``.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    FitResult

    Raises
    ------
    FloatingPointError
        The loss is not finite; the message names iteration and temperature.
    CheckpointError
        The checkpoint is damaged or of another configuration.

    Warns
    -----
    SigmaCollapseWarning, NoHeatingWarning

    References
    ----------
    Goyal, Ke, Ganguli, Bengio 2017, arXiv:1711.02282, algorithm 1.

    Examples
    --------
    >>> from tractable.walkback import Schedule, mlp_operator
    >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> operator = mlp_operator(2, (8,), sigma=0.3, skip="preconditioned")
    >>> found = fit(operator, x, schedule=Schedule.geometric(8, 1.5), steps=3, progress=False)
    >>> len(found.history["loss"])
    3
    """
    check_choice("mode", mode, ("walkback", "elbo", "released_code"))
    check_choice("update", update, ("pool", "accumulate", "online"))
    check_choice("monitor", monitor, ("bound", "importance"))
    check_choice("amp", amp, (None, "bf16", "fp16"))
    check_choice("estimator", estimator, ("pathwise", "reinforce"))
    check_schedule(schedule)
    for name, value in (("batch_size", batch_size), ("checkpoint_every", checkpoint_every)):
        check_count(name, value)
    for name, count in (("eval_every", eval_every), ("patience", patience),
                        ("adapt_every", adapt_every), ("chunk", chunk)):  # fmt: skip
        if count is not None:
            check_count(name, count)
    check_count("warmup", warmup, 0)
    check_range("final_lr", final_lr, 0, 1)
    check_range("lr", lr, 0, open_low=True)
    check_range("grad_clip", grad_clip, 0, open_low=True)
    if ema is not None:
        check_range("ema", ema, 0, 1, open_low=True, open_high=True)
    if (steps is None) == (epochs is None):
        raise ValueError("give steps or epochs, one of the two")
    where = choose_device(device)
    operator.to(where)
    x = as_states(data, "data", operator).to(where)
    operator.check_state(x, "data")
    if steps is None:
        assert epochs is not None
        check_range("epochs", epochs, 1)
        steps = epochs * max(1, len(x) // batch_size)
    check_count("steps", steps)
    held = None
    if val_data is not None:
        held = as_states(val_data, "val_data", operator)[:EVAL_POINTS].to(where)
        operator.check_state(held, "val_data")
    prior = prior_for(operator, x) if prior is None else prior
    check_prior(prior, operator)
    if isinstance(prior, nn.Module):
        prior.to(where)
    if amp == "fp16" and where.type != "cuda":
        raise ValueError("amp='fp16' needs a GPU; on a CPU use 'bf16'")
    trainer = Trainer(
        operator, x, schedule, prior, mode, update, steps, batch_size, lr, warmup, final_lr,
        optimizer, grad_clip, ema, amp, held, eval_every, patience, adapt_every, chunk, estimator,
        tuple(callbacks), None if checkpoint_dir is None else Path(checkpoint_dir),
        checkpoint_every, seed, monitor,
    )  # fmt: skip
    if resume:
        restore(trainer)
    trainer.run(progress)
    return trainer.result()


def as_states(data: Any, name: str, operator: TransitionOperator) -> Tensor:
    """Return data as one tensor, in the precision of the operator's parameters.

    Whole numbers become floating-point ones for bits only: as real states they are refused.
    """
    states = as_tensor(data, name)
    if not (states.is_floating_point() or (operator.kind == "binary" and not states.is_complex())):
        return states
    precision = operator.precision
    if precision is None:
        is_array = isinstance(data, np.ndarray) and states.dtype == torch.float64
        precision = states.dtype if states.is_floating_point() and not is_array else torch.float32
    return states.to(precision)


def as_tensor(data: Any, name: str) -> Tensor:
    """Return data of any of the accepted kinds as one tensor, ``(n, *event)``."""
    if isinstance(data, Tensor):
        return data
    if hasattr(data, "to_numpy"):  # a table of pandas
        data = data.to_numpy()
        if data.dtype == object:
            raise TypeError(f"{name} must hold numbers in all columns, got a table of mixed types")
    if isinstance(data, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(data))
    dataset = getattr(data, "dataset", data)
    is_plain = isinstance(dataset, str | bytes | list | tuple | dict)
    if not is_plain and hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        if len(dataset) == 0:
            raise ValueError(f"{name} holds no states")
        items = [dataset[i] for i in range(len(dataset))]
        first = [item[0] if isinstance(item, tuple | list) else item for item in items]
        return torch.stack([torch.as_tensor(item) for item in first])
    raise TypeError(f"{name} must be a tensor, an array or a Dataset, got {type(data).__name__}")
