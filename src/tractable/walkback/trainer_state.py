"""The whole state of a training run, in one checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tractable.train.checkpoint import configuration, read_state, restore_random, write_state
from tractable.walkback.schedule import Schedule

if TYPE_CHECKING:
    from tractable.walkback.trainer import Trainer

KEPT = ("step", "eval_step", "bound", "importance", "sigma", "best_step", "waited")

SETTINGS = ("alpha", "skip", "scale", "temperature_power", "time_conditioning", "input_scaling",
            "sigma_min", "sigma_kind", "nominal", "centered")  # fmt: skip
RUN = ("warmup", "final_lr", "grad_clip", "eval_every", "adapt_every", "estimator")


@dataclass
class State:
    """Where a run stands: all that a checkpoint must hold beside the networks."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    eval_step: list[int] = field(default_factory=list)
    bound: list[float] = field(default_factory=list)
    importance: list[float] = field(default_factory=list)
    sigma: list[float] = field(default_factory=list)
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0
    pool: Tensor | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def _modules(trainer: Trainer) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {"operator": trainer.operator}
    if isinstance(trainer.prior, nn.Module):
        parts["prior"] = trainer.prior
    if trainer.average is not trainer.operator:
        parts["average"] = trainer.average
    return nn.ModuleDict(parts)


def _configuration(trainer: Trainer) -> dict[str, Any]:
    return configuration(
        _modules(trainer), trainer.optimizer, mode=trainer.mode, update=trainer.update,
        steps=trainer.steps, monitor=trainer.monitor,
        batch_size=trainer.batch_size, lr=trainer.base_lr, seed=trainer.seed, ema=trainer.ema,
        amp=trainer.amp, n=len(trainer.x), **trainer.identity,
    ) | {"settings": []}  # fmt: skip  # the learning rate moves


def identity(trainer: Trainer) -> dict[str, Any]:
    """Return what else decides a run, as it stands before the first iteration."""
    operator = trainer.operator
    fixed = {name: getattr(operator, name) for name in SETTINGS if hasattr(operator, name)}
    fixed |= {name: _digest(value) for name, value in operator.named_buffers(recurse=False)}
    return {
        "operator's": fixed,
        "schedule": trainer.schedule.temperatures.tolist(),
        "data": _digest(trainer.x),
        "val_data": None if trainer.held is None else _digest(trainer.held),
        **{name: getattr(trainer, name) for name in RUN},
    }


def _digest(value: Tensor) -> str:
    return hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def save(trainer: Trainer) -> None:
    """Write everything in one atomic step."""
    assert trainer.folder is not None
    trainer.folder.mkdir(parents=True, exist_ok=True)
    state = trainer.state
    tensors = {
        "losses": torch.tensor(state.losses, dtype=torch.float64),
        "temperatures": trainer.schedule.temperatures,
        "source": trainer.source.get_state(),
        **{f"best/{name}": value for name, value in state.best_weights.items()},
    }
    if state.pool is not None:
        tensors["pool"] = state.pool
    facts = {
        "scaler": json.loads(json.dumps(trainer.scaler.state_dict())),
        **{name: getattr(state, name) for name in KEPT},
        "best": state.best if math.isfinite(state.best) else None,
    }
    write_state(
        trainer.path, _modules(trainer), trainer.optimizer, tensors, facts, _configuration(trainer)
    )


def restore(trainer: Trainer) -> None:
    """Go on from the checkpoint, where there is one."""
    if trainer.folder is None:
        raise ValueError("resume needs checkpoint_dir")
    if not trainer.path.exists():
        return
    tensors, facts, random = read_state(
        trainer.path, _modules(trainer), trainer.optimizer, _configuration(trainer)
    )
    state = trainer.state
    for name in KEPT:
        setattr(state, name, facts[name])
    state.best = -math.inf if facts["best"] is None else facts["best"]
    if facts["scaler"]:
        trainer.scaler.load_state_dict(facts["scaler"])
    device = trainer.x.device
    state.losses = tensors["losses"].tolist()
    state.pool = tensors["pool"].to(device) if "pool" in tensors else None
    state.best_weights = {
        name.removeprefix("best/"): value.to(device)
        for name, value in tensors.items()
        if name.startswith("best/")
    }
    trainer.source.set_state(tensors["source"].cpu())
    trainer.schedule = Schedule(tensors["temperatures"])
    trainer.levels()
    restore_random(random)  # a net may drop out units
