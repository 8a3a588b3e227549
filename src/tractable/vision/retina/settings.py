"""How a network is trained: the settings, two named ones, and the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from tractable.core.checks import check_choice, check_count, check_range

__all__ = ["PRESETS", "TrainSettings"]


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Parameters
    ----------
    optimizer : str
        ``"adam"``, or ``"rmsprop"`` with Keras' rho 0.9 and epsilon 1e-7.
    learning_rate : float
        Larger than 0.
    batch_size : int
        Images of an update.
    steps, epochs : int
        One of the two is positive: updates, or passes over the training images.
    warmup : int
        Updates over which the rate rises linearly from 0.
    decay : str
        ``"linear"`` to 0 at the end, ``"time"``: 1 / (1 + 1e-6 t), or ``"none"``.
    flip : bool
        Mirror half of the images left to right.
    shift : float
        Largest shift in both axes, as a share of the side, borders repeated.
    bottleneck_bias : float
        Initial bias of the retina's output; above 0 it starts active.
    l1, l1_bottleneck, l1_activity : float
        Weights of the L1 penalties: on the weights of the retina's inner layers, on those of its
        output, on its activity (mean over images of the sum over units).
    """

    optimizer: str = "adam"
    learning_rate: float = 3e-3
    batch_size: int = 64
    steps: int = 2500
    epochs: int = 0
    warmup: int = 100
    decay: str = "linear"
    flip: bool = True
    shift: float = 0.0
    bottleneck_bias: float = 0.1
    l1: float = 0.0
    l1_bottleneck: float = 0.0
    l1_activity: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "rmsprop"))
        check_choice("decay", self.decay, ("linear", "time", "none"))
        check_range("learning_rate", self.learning_rate, 0.0, open_low=True)
        for name in ("steps", "epochs", "warmup"):
            check_range(name, getattr(self, name), 0)
        for name in ("l1", "l1_bottleneck", "l1_activity"):
            check_range(name, getattr(self, name), 0.0)
        check_range("batch_size", self.batch_size, 1)
        check_range("shift", self.shift, 0.0, 0.5)
        if (self.steps > 0) == (self.epochs > 0):
            raise ValueError(
                f"one of steps and epochs must be > 0, got steps={self.steps}, epochs={self.epochs}"
            )

    def total(self, n_images: int) -> int:
        """Return the number of updates on this many images."""
        return self.steps or self.epochs * -(-n_images // self.batch_size)

    def rate(self, step: int, total: int) -> float:
        """Return the factor on the learning rate after ``step`` updates.

        Examples
        --------
        >>> settings = TrainSettings()
        >>> [round(settings.rate(t, 2500), 3) for t in (0, 99, 1300, 2499)]
        [0.01, 1.0, 0.5, 0.0]
        """
        check_count("step", step, 0)
        check_count("total", total, 0)
        factor = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "time":
            return factor / (1 + 1e-6 * step)
        if self.decay == "linear" and step >= self.warmup:
            factor = (total - step) / max(1, total - self.warmup)
        return factor


PRESETS: Mapping[str, TrainSettings] = {
    "cpu": TrainSettings(),
    "paper": TrainSettings(
        optimizer="rmsprop",
        learning_rate=1e-4,
        steps=0,
        epochs=20,
        warmup=0,
        decay="time",
        shift=0.1,
        bottleneck_bias=0.0,
    ),
}
"""Named settings: ``"cpu"``, a recipe of about half a minute, and ``"paper"``, as published."""


def keras_rmsprop(parameters: Any, lr: float = 1e-4) -> torch.optim.Optimizer:
    """Return RMSprop with the settings of Keras: rho 0.9, epsilon 1e-7."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "rmsprop": keras_rmsprop,
}


def settings_of(preset: str | TrainSettings | Mapping[str, Any]) -> TrainSettings:
    """Return the settings that a preset stands for."""
    if isinstance(preset, TrainSettings):
        return preset
    if isinstance(preset, str):
        check_choice("preset", preset, PRESETS)
        return PRESETS[preset]
    if not isinstance(preset, Mapping):
        raise TypeError(
            f"preset must be {' or '.join(map(repr, PRESETS))}, TrainSettings or a mapping of "
            f"settings, got {preset!r}"
        )
    known = [field.name for field in fields(TrainSettings)]
    for name in preset:
        check_choice("setting", name, known)
    changes = dict(preset)
    if changes.get("epochs"):
        changes.setdefault("steps", 0)
    return replace(TrainSettings(), **changes)
