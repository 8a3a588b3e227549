"""One safetensors file that holds all of a training run: what `tractable.train.fit` resumes from.

Tensors (weights, optimizer state, random states, histories) are stored as such; everything else
is JSON in the file's metadata. The file is written beside its final name and then renamed, so
that a process killed at any time leaves a whole checkpoint. A file that is damaged or is not
ours is refused, never overwritten.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.folder import first_difference
from tractable.train.records import Progress

__all__ = [
    "CheckpointError",
    "configuration",
    "read_state",
    "restore_random",
    "resume",
    "save",
    "write_state",
]

FORMAT = 1
_KEY = "tractable training checkpoint"


class CheckpointError(ValueError):
    """A checkpoint cannot be used: damaged, foreign, or of another configuration."""


def configuration(
    model: nn.Module, optimizer: torch.optim.Optimizer, **others: Any
) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed, ready for JSON."""
    shapes = {name: _describe(value) for name, value in _weights(model).items()}
    groups = [
        {name: value for name, value in group.items() if name not in ("params", "initial_lr")}
        for group in optimizer.param_groups
    ]
    entries = {"model": shapes, "optimizer": type(optimizer).__name__, "settings": groups, **others}
    normal: dict[str, Any] = json.loads(json.dumps(entries, default=str))
    return normal


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    done: Progress,
    config: Mapping[str, Any],
) -> None:
    """Store all that is needed to go on from ``done``."""
    tensors = {"losses": torch.tensor(done.losses, dtype=torch.float64)}
    tensors |= {f"best/{name}": value for name, value in done.best_weights.items()}
    for name, values in done.history.items():
        tensors[f"history/{name}"] = torch.from_numpy(np.stack(values))
    names = "step epoch in_epoch record_steps best_value best_step waited stopped_early seconds"
    facts = {name: getattr(done, name) for name in names.split()}
    write_state(path, model, optimizer, tensors, facts, config)


def resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any]
) -> tuple[Progress, Callable[[], None]]:
    """Put the stored state in place.

    Returns
    -------
    done : Progress
        Where the run stood.
    restore : callable
        Sets the random states of that moment.
    """
    tensors, facts, states = read_state(path, model, optimizer, config)
    groups: dict[str, dict[str, Tensor]] = {"best": {}, "history": {}}
    for key, value in tensors.items():
        group, _, name = key.partition("/")
        if name:
            groups[group][name] = value
    done = Progress(
        losses=tensors["losses"].tolist(),
        history={name: list(values.numpy()) for name, values in groups["history"].items()},
        best_weights=groups["best"],
        **facts,
    )
    return done, lambda: restore_random(states)


def write_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Write everything to ``path`` in one atomic step.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    model, optimizer : nn.Module, Optimizer
        Their states, and the random states of this process, are stored.
    tensors, facts : mapping
        Further tensors, and whatever JSON can hold.
    config : mapping
        From `configuration`.
    """
    from safetensors.torch import save_file

    stored = {f"model/{name}": value for name, value in _weights(model).items()}
    numbers: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            key = f"optimizer/{index}/{name}"
            if isinstance(value, Tensor):
                stored[key] = value
            elif value is None or isinstance(value, int | float):
                numbers[key] = value
            else:
                raise TypeError(
                    f"{type(optimizer).__name__} keeps a {type(value).__name__} in its state "
                    f"({name}); only tensors and numbers can be stored: train without checkpoint"
                )
    stored |= {f"data/{name}": value for name, value in tensors.items()}
    stored["rng/cpu"] = torch.get_rng_state()
    for i, state in enumerate(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []):
        stored[f"rng/cuda/{i}"] = state
    algorithm, keys, *rest = np.random.get_state()  # noqa: NPY002
    content = {
        "format": FORMAT,
        "configuration": config,
        "facts": facts,
        "optimizer": numbers,
        "python": random.getstate(),
        "numpy": [algorithm, np.asarray(keys).tolist(), *rest],
    }
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in stored.items()}
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file(whole, partial, metadata={_KEY: json.dumps(content)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any], Mapping[str, Any]]:
    """Put a checkpoint's weights and optimizer state in place.

    Returns
    -------
    tensors, facts : dict
        What `write_state` was given.
    random_states : mapping
        For `restore_random`.

    Raises
    ------
    CheckpointError
        The file is damaged, is no checkpoint of ours, or was written by another configuration.
    """
    stored, content = _open(path)
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {content['format']}, this version reads {FORMAT}")
    _compare(path, content["configuration"], config)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "data": {}, "rng": {}}
    for key, value in stored.items():
        group, _, name = key.partition("/")
        groups[group][name] = value.clone()
    model.load_state_dict(groups["model"])
    state: dict[int, dict[str, Any]] = {}
    numbers = {key.removeprefix("optimizer/"): v for key, v in content["optimizer"].items()}
    for key, value in {**groups["optimizer"], **numbers}.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    current = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": current})
    states = {**groups["rng"], "python": content["python"], "numpy": content["numpy"]}
    return groups["data"], content["facts"], states


def restore_random(states: Mapping[str, Any]) -> None:
    """Set the random states of this process to those of a checkpoint."""
    torch.set_rng_state(states["cpu"])
    for name, state in states.items():
        device = name.removeprefix("cuda/")
        if device != name and int(device) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(device))
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002


def _open(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    mend = "give another path, or delete the file to start afresh"
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged ({error}); {mend}") from error
    if text is None:
        raise CheckpointError(f"{path} is no training checkpoint of this library; {mend}")
    return stored, json.loads(text)


def _compare(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse another configuration and name the first thing that differs."""
    found = first_difference(there, here)
    if found is not None:
        name, old, new = found
        raise CheckpointError(
            f"checkpoint {path} was written by another configuration: {name} is {old} there and "
            f"{new} here; give another path, or delete the file to start afresh"
        )


def _weights(model: nn.Module) -> dict[str, Tensor]:
    weights = model.state_dict()
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"the model's state {name!r} is no tensor; it cannot be stored")
    return weights


def _describe(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
