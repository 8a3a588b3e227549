"""The ordinary gradient loop: train, record, checkpoint, resume.

Read `fit` from top to bottom: draw a batch, step, record, save. Whatever is special about a
theory's training (a local rule, an own optimizer) is a loop of its own elsewhere.
"""

from __future__ import annotations

import copy
import math
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.core.progress import track
from tractable.core.seeds import derive, seeded
from tractable.train import checkpoint as checkpoints
from tractable.train.checkpoint import CheckpointError
from tractable.train.records import (
    EarlyStopping,
    OnRecord,
    Progress,
    Record,
    log_steps,
    mode,
    take_record,
)

__all__ = [
    "FitResult",
    "TrainingDiverged",
    "choose_device",
    "cosine_decay",
    "fit",
    "time_one_step",
]

Loss = Callable[[nn.Module, Any], Tensor]
Data = Iterable[Any] | Callable[[int], Iterable[Any]]


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite; the model holds the weights before that step."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a training run left behind; the trained weights are in the model.

    Parameters
    ----------
    steps : int
        Updates done, over all sessions.
    losses : ndarray of float64, shape (steps,)
        Loss of each batch, before its update.
    record_steps : ndarray of int64, shape (R,)
        Updates done at each record.
    history : mapping of str to ndarray, shape (R, ...)
        The records.
    best_step : int or None
        Step of the best monitored record, with early stopping.
    stopped_early : bool
        True where patience ended the run.
    seconds : float
        Wall time, over all sessions.
    resumed_from : int
        Step at which this session took over; 0 for a fresh run.
    """

    steps: int
    losses: np.ndarray
    record_steps: np.ndarray
    history: Mapping[str, np.ndarray]
    best_step: int | None
    stopped_early: bool
    seconds: float
    resumed_from: int


def fit(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    optimizer: torch.optim.Optimizer | Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    clip: float | None = None,
    schedule: Callable[[int], float] | None = None,
    record: Record | None = None,
    record_at: Iterable[int] | None = None,
    on_record: OnRecord | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every_seconds: float = 5.0,
    fabric: Any = None,
    progress: bool = True,
) -> FitResult:
    r"""Train a model by gradient descent: :math:`\theta \leftarrow \theta - \eta\,g(\nabla L)`.

    Parameters
    ----------
    model : nn.Module
        Trained in place, and left on ``device`` in its mode (train or eval).
    loss : callable
        ``loss(model, batch)`` returns a scalar tensor.
    data : iterable of batches, or callable
        A callable gets the epoch's number 0, 1, ... and returns the epoch's batches (see
        `minibatches`). ``[batch]`` is exact full-batch gradient descent.
    steps, epochs : int
        One of the two, >= 0 and >= 1: updates, or passes over the data.
    optimizer : callable or Optimizer
        Called as ``optimizer(parameters, lr=learning_rate)``: a class of `torch.optim`, or a
        partial of one. An instance must hold the model's parameters.
    learning_rate : float, optional
        Larger than 0; the optimizer's own default if left out.
    seed : int
        Decides all that the loop, the model (dropout) and the data draw from global generators.
    device : str or torch.device
        ``"auto"`` is CUDA where there is one. Batches are moved there.
    clip : float, optional
        Largest norm of the whole gradient.
    schedule : callable, optional
        Updates done -> factor on the learning rate, such as ``lambda step: 0.999**step``.
    record : mapping of str to callable, optional
        ``record[name](model)`` is a number or array of fixed shape; called in eval mode without
        gradient, and with random numbers of its own, so that looking does not change the training.
    record_at : iterable of int, optional
        Updates done at which to record; by default about 50, log-spaced. The end is always added.
    on_record : callable, optional
        ``on_record(step, values)`` after each record; what it raises ends the run.
    early_stopping : EarlyStopping, optional
        Looks at one record.
    checkpoint : path, optional
        One safetensors file, written while training and at the end; an existing one is resumed.
    checkpoint_every_seconds : float
        Time between two checkpoints, >= 0; stretched so that writing takes at most a tenth.
    fabric : lightning_fabric.Fabric, optional
        Launched. Decides the device and the processes; each process must draw its own batches.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    FitResult
        Losses, records and how the run ended.

    Raises
    ------
    TrainingDiverged
        The loss is NaN or infinite, or the weights are NaN in the end; the message holds the step
        and the last finite loss.
    CheckpointError
        The checkpoint is damaged, foreign, or of another model, optimizer, seed or record.
    KeyboardInterrupt
        Ctrl-C: raised after the running step is finished and saved. A second one does not wait.

    Notes
    -----
    A resumed run equals an uninterrupted one bit for bit on a CPU with the same number of
    threads, also in mid-epoch, if the epoch's batches depend on the epoch's number alone or on
    the global random generators (a shuffling ``DataLoader``), which are seeded anew at each epoch.

    Examples
    --------
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> line = nn.Linear(1, 1)
    >>> def squared_error(model, batch):
    ...     return (model(batch[0]) - batch[1]).square().mean()
    >>> result = fit(line, squared_error, [(x, 3 * x + 1)], steps=300, learning_rate=0.1)
    >>> round(line.weight.item(), 3), round(line.bias.item(), 3), result.steps
    (3.0, 1.0, 300)
    """
    _check_settings(steps, epochs, learning_rate, clip, checkpoint_every_seconds)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"checkpoint must lie in an existing folder, got {path}")
    record = dict(record or {})
    if early_stopping is not None:
        check_choice("early_stopping.monitor", early_stopping.monitor, record)
    total = _total_steps(data, steps, epochs)
    wanted = set(log_steps(total or 10**8) if record_at is None else record_at) if record else set()
    target = fabric.device if fabric is not None else choose_device(device)
    model.to(target)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = _make_optimizer(optimizer, trained, learning_rate)
    config = checkpoints.configuration(
        model, optimizer, seed=seed, clip=clip, record=sorted(record), early_stopping=early_stopping
    )
    done, restore = Progress(), None
    if path is not None and path.exists():
        done, restore = checkpoints.resume(path, model, optimizer, config)
        if done.step > (steps if steps is not None else done.step) or (
            epochs is not None and (done.epoch, done.in_epoch) > (epochs, 0)
        ):
            asked = f"{steps} steps" if epochs is None else f"{epochs} epochs"
            raise CheckpointError(
                f"checkpoint {path} is beyond the {asked} asked for (step {done.step}); "
                "ask for more, give another path, or delete the file to start afresh"
            )
    resumed_from, before, started = done.step, done.seconds, time.monotonic()
    run_model, run_optimizer = model, optimizer
    if fabric is not None:
        run_model, run_optimizer = fabric.setup(model, optimizer)

    def save() -> None:
        done.seconds = before + time.monotonic() - started
        if path is not None and (fabric is None or fabric.is_global_zero):
            checkpoints.save(path, model, optimizer, done, config)

    with (
        mode(model, train=True),
        seeded(derive(seed, "training")),
        _base_rates(optimizer) as base_rates,
        _interruptions() as caught,
    ):
        if 0 in wanted and done.step == 0 and not done.record_steps:
            take_record(model, record, seed, done, on_record, early_stopping)
        next_save = time.monotonic() + checkpoint_every_seconds
        batches = _batches(data, done, seed, steps, epochs, restore)
        for batch in track(batches, "training", total=total and total - done.step, show=progress):
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * schedule(done.step) if schedule else rate
            batch = _move(batch, target)
            run_optimizer.zero_grad(set_to_none=True)
            value = loss(run_model, batch)
            number = _check_loss(value, done)
            if fabric is not None:
                fabric.backward(value)
            else:
                value.backward()
            if clip is not None and fabric is not None:
                fabric.clip_gradients(run_model, run_optimizer, max_norm=clip)
            elif clip is not None:
                nn.utils.clip_grad_norm_(trained, clip)
            run_optimizer.step()
            done.step += 1
            done.in_epoch += 1
            done.losses.append(number)

            if done.step in wanted:
                take_record(model, record, seed, done, on_record, early_stopping)
            if caught or (path is not None and time.monotonic() >= next_save):
                writing = time.monotonic()
                save()
                now = time.monotonic()
                next_save = now + max(checkpoint_every_seconds, 10 * (now - writing))
            if caught:
                raise KeyboardInterrupt
            if done.stopped_early:
                break
        if done.step > resumed_from:
            _check_weights(trained, done)
        if record and (not done.record_steps or done.record_steps[-1] != done.step):
            take_record(model, record, seed, done, on_record, early_stopping)
        save()
        if caught:
            raise KeyboardInterrupt
    run_optimizer.zero_grad(set_to_none=True)
    if early_stopping is not None and early_stopping.restore_best and done.best_weights:
        model.load_state_dict(done.best_weights)
    return FitResult(
        steps=done.step,
        losses=np.array(done.losses),
        record_steps=np.array(done.record_steps, dtype=np.int64),
        history={name: np.stack(values) for name, values in done.history.items()},
        best_step=done.best_step,
        stopped_early=done.stopped_early,
        seconds=before + time.monotonic() - started,
        resumed_from=resumed_from,
    )


def cosine_decay(steps: int, final: float = 0.0) -> Callable[[int], float]:
    """Return a schedule that falls from 1 to ``final`` along half a cosine.

    Examples
    --------
    >>> schedule = cosine_decay(100, final=0.1)
    >>> [round(schedule(step), 3) for step in (0, 50, 100, 200)]
    [1.0, 0.55, 0.1, 0.1]
    """
    check_count("steps", steps)
    check_range("final", final, 0, open_high=True)
    return lambda step: final + (1 - final) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device; ``"auto"`` is CUDA where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def time_one_step(
    model: nn.Module,
    loss: Loss,
    batch: Any,
    *,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    device: str | torch.device = "auto",
    repeats: int = 3,
) -> float:
    """Return the median seconds of one update, measured on a copy of the model.

    Parameters
    ----------
    model, loss, batch, optimizer, device
        As for `fit`.
    repeats : int
        Measured updates, >= 1, after one that is not measured.
    """
    check_count("repeats", repeats)
    twin = copy.deepcopy(model)
    seconds = []
    for _ in range(repeats + 1):
        result = fit(
            twin, loss, [batch], steps=1, optimizer=optimizer, device=device, progress=False
        )
        seconds.append(result.seconds)
    return statistics.median(seconds[1:])


def _batches(
    data: Data,
    done: Progress,
    seed: int,
    steps: int | None,
    epochs: int | None,
    restore: Callable[[], None] | None,
) -> Iterator[Any]:
    """Yield batches from where ``done`` stands to the end, and keep its epoch up to date."""
    while done.step != steps and done.epoch != epochs and not done.stopped_early:
        if not isinstance(data, list | tuple):  # these draw nothing; seeding takes its time
            _seed_all(derive(seed, "epoch", done.epoch))
        batches = iter(data(done.epoch) if callable(data) else data)
        next(islice(batches, done.in_epoch, done.in_epoch), None)  # skip what is done
        if restore is not None:
            restore()
            restore = None
        for batch in batches:
            yield batch
            if done.step == steps:
                return
        if done.in_epoch == 0:
            after = f"data ended after {done.step} steps" if done.step else "data holds no batch"
            raise ValueError(f"{after}; give a list of batches or a function of the epoch")
        done.epoch, done.in_epoch = done.epoch + 1, 0


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list instead of raising in mid-step; the second one raises at once."""
    caught: list[int] = []

    def note(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield caught
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _base_rates(optimizer: torch.optim.Optimizer) -> Iterator[list[float]]:
    """Give the learning rates that a schedule multiplies, and put them back, however it ends."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        yield rates
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _make_optimizer(
    optimizer: torch.optim.Optimizer | Callable[..., torch.optim.Optimizer],
    parameters: list[nn.Parameter],
    learning_rate: float | None,
) -> torch.optim.Optimizer:
    if isinstance(optimizer, torch.optim.Optimizer):
        if learning_rate is not None:
            raise ValueError("learning_rate goes with an optimizer class; this one has its own")
        return optimizer
    if not parameters:
        raise ValueError("the model has no parameter that requires a gradient")
    settings = {} if learning_rate is None else {"lr": learning_rate}
    return optimizer(parameters, **settings)


def _check_settings(
    steps: int | None,
    epochs: int | None,
    learning_rate: float | None,
    clip: float | None,
    checkpoint_every_seconds: float,
) -> None:
    if (steps is None) == (epochs is None):
        raise ValueError(f"give one of steps and epochs, got steps={steps}, epochs={epochs}")
    check_count("steps", 0 if steps is None else steps, 0)
    check_count("epochs", 1 if epochs is None else epochs)
    check_range("learning_rate", 1.0 if learning_rate is None else learning_rate, 0, open_low=True)
    check_range("clip", 1.0 if clip is None else clip, 0, open_low=True)
    check_range("checkpoint_every_seconds", checkpoint_every_seconds, 0)


def _check_loss(value: Any, done: Progress) -> float:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss must return a scalar tensor, got {got}; take its mean?")
    number = float(value.detach())
    if not math.isfinite(number):
        last = f"last finite loss {done.losses[-1]:.4g}" if done.losses else "no finite loss before"
        raise TrainingDiverged(
            f"the loss is {number} at step {done.step} ({last}); "
            "lower learning_rate, or give clip=1.0"
        )
    return number


def _check_weights(weights: list[nn.Parameter], done: Progress) -> None:
    """Refuse what an infinite gradient leaves where no further loss would show it."""
    if any(bool(weight.isnan().any()) for weight in weights):
        raise TrainingDiverged(
            f"the last update made weights NaN (step {done.step}, its loss was "
            f"{done.losses[-1]:.4g}): the gradient of the loss is infinite or NaN there, as that "
            "of a square root at 0"
        )


def _total_steps(data: Data, steps: int | None, epochs: int | None) -> int | None:
    if steps is not None or epochs is None:
        return steps
    return epochs * len(data) if isinstance(data, Sized) else None


def _move(batch: Any, device: torch.device) -> Any:
    """Move all tensors of a batch to the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, nn.utils.rnn.PackedSequence):
        packed: Any = batch  # its stub lacks the device
        return packed.to(device)
    if isinstance(batch, Mapping):
        return {name: _move(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_move(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_move(value, device) for value in batch)
    return batch


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
