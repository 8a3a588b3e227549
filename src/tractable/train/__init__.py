"""The ordinary gradient loop: train, record, checkpoint, resume."""

from __future__ import annotations

from tractable.train.batches import Minibatches, minibatches
from tractable.train.checkpoint import CheckpointError
from tractable.train.loop import (
    FitResult,
    TrainingDiverged,
    choose_device,
    cosine_decay,
    fit,
    time_one_step,
)
from tractable.train.records import EarlyStopping, log_steps

__all__ = [
    "CheckpointError",
    "EarlyStopping",
    "FitResult",
    "Minibatches",
    "TrainingDiverged",
    "choose_device",
    "cosine_decay",
    "fit",
    "log_steps",
    "minibatches",
    "time_one_step",
]
