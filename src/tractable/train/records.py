"""What a training run records, when, and when it has seen enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.core.seeds import derive, seeded

__all__ = ["EarlyStopping", "Progress", "log_steps", "mode", "take_record"]

Record = Mapping[str, Callable[[nn.Module], Any]]
OnRecord = Callable[[int, Mapping[str, np.ndarray]], None]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a recorded number has not improved for a while.

    Parameters
    ----------
    monitor : str
        Name of a scalar record.
    patience : int
        Records without improvement that are waited for, >= 1.
    mode : str
        ``"min"`` or ``"max"``: which way is better.
    min_delta : float
        Smallest change that counts as an improvement, >= 0.
    restore_best : bool
        End with the weights of the best record instead of the last.
    """

    monitor: str
    patience: int
    mode: str = "min"
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        check_count("patience", self.patience)
        check_range("min_delta", self.min_delta, 0)
        check_choice("mode", self.mode, ("min", "max"))


@dataclass
class Progress:
    """What a run has done so far."""

    step: int = 0
    epoch: int = 0
    in_epoch: int = 0  # batches of this epoch that are done
    losses: list[float] = field(default_factory=list)
    record_steps: list[int] = field(default_factory=list)
    history: dict[str, list[np.ndarray]] = field(default_factory=dict)
    best_value: float = math.inf
    best_step: int | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    waited: int = 0
    stopped_early: bool = False
    seconds: float = 0.0


def log_steps(total: int, n: int = 50) -> list[int]:
    """Return about ``n`` log-spaced steps from 0 to ``total``, both included.

    Examples
    --------
    >>> log_steps(100, 5)
    [0, 1, 5, 22, 100]
    """
    check_count("total", total, 0)
    check_count("n", n, 2)
    spaced = np.geomspace(1, max(total, 1), n - 1).round().astype(int)
    return sorted({0, *spaced[spaced <= total].tolist(), total})


def take_record(
    model: nn.Module,
    record: Record,
    seed: int,
    done: Progress,
    on_record: OnRecord | None,
    early_stopping: EarlyStopping | None,
) -> None:
    """Measure the model and note the values in ``done``."""
    with mode(model, train=False), torch.no_grad(), seeded(derive(seed, "record", done.step)):
        values = {name: _to_array(name, measure(model)) for name, measure in record.items()}
    done.record_steps.append(done.step)
    for name, value in values.items():
        earlier = done.history.setdefault(name, [])
        if earlier and earlier[0].shape != value.shape:
            raise ValueError(
                f"record {name!r} must keep its shape, got {value.shape} after {earlier[0].shape}"
            )
        earlier.append(value)
    if early_stopping is not None:
        _judge(early_stopping, model, float(values[early_stopping.monitor]), done)
    if on_record is not None:
        on_record(done.step, values)


def _judge(rule: EarlyStopping, model: nn.Module, value: float, done: Progress) -> None:
    """Note an improvement, or count one more record without."""
    signed = value if rule.mode == "min" else -value
    first = done.best_step is None or math.isnan(done.best_value)  # anything is better than NaN
    if first or signed < done.best_value - rule.min_delta:
        done.best_value, done.best_step, done.waited = signed, done.step, 0
        if rule.restore_best:
            state = model.state_dict()
            done.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
    else:
        done.waited += 1
    done.stopped_early = done.waited >= rule.patience


@contextmanager
def mode(model: nn.Module, *, train: bool) -> Iterator[None]:
    """Put the model into train or eval mode inside the block; restore each module's mode."""
    flags = [(module, module.training) for module in model.modules()]
    model.train(train)
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def _to_array(name: str, value: Any) -> np.ndarray:
    array = value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"record {name!r} must return a number or an array, got {value!r:.60}")
    return array
