"""The file that a run of learning goes on from: weights, optimizer, records, the whole state."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.folder import first_difference
from tractable.spiking.rule import RuleState, SuperSpike

__all__ = ["RECORDS", "read", "settings", "write"]

FORMAT = "tractable spiking checkpoint 2"
RECORDS = ("cost", "per_unit_cost", "rates", "clipped", "learning_rate")
MEND = "give another path, or delete the file to start afresh"


def settings(rule: SuperSpike, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what must be equal for a run to go on, ready for JSON: all that decides numbers."""
    layers = [
        {"sizes": (layer.n_in, layer.n_out), "params": asdict(layer.params),
         "integrator": layer.integrator, "reset": layer.reset, "surrogate": layer.surrogate,
         "recurrent": layer.recurrent_weight is not None, "dtype": str(layer.weight.dtype)}
        for layer in rule.net.layers
    ]  # fmt: skip
    # engine and length of pieces give the same numbers up to rounding
    names = {f.name for f in fields(rule)} - {"net", "engine", "chunk_steps"}
    groups = [
        {name: value for name, value in group.items() if name not in ("params", "initial_lr")}
        for group in optimizer.param_groups
    ]
    found = {
        "layer": dict(enumerate(layers)),
        "rule": {name: _described(getattr(rule, name)) for name in sorted(names)},
        "optimizer": {"kind": type(optimizer).__name__, "group": dict(enumerate(groups))},
    }
    normal: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return normal


def _described(value: Any) -> Any:
    """Return a loss, a pathway or a plain value as text that differs where numbers would."""
    if isinstance(value, Tensor):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        return f"{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    if isinstance(value, tuple | list):
        return {i: _described(item) for i, item in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: _described(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, **inner}
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else type(value).__name__


def _flatten(value: Any, name: str, out: dict[str, Tensor]) -> Any:
    """Put the tensors of a nested state into ``out``; return its skeleton for JSON."""
    if isinstance(value, Tensor):
        out[name] = value.detach().cpu().contiguous().clone()
        return "tensor"
    if value is None:
        return None
    if isinstance(value, tuple):
        return [_flatten(item, f"{name}.{i}", out) for i, item in enumerate(value)]
    if is_dataclass(value):
        return {
            f.name: _flatten(getattr(value, f.name), f"{name}.{f.name}", out) for f in fields(value)
        }
    raise TypeError(f"{name} cannot be stored: {type(value).__name__}")


def _fill(template: Any, skeleton: Any, name: str, tensors: dict[str, Tensor], device: Any) -> Any:
    """Return the state like ``template`` with the stored tensors."""
    if skeleton is None:
        return None
    if skeleton == "tensor":
        return tensors[name].to(device)
    if isinstance(skeleton, list):
        inner = template if isinstance(template, tuple) else (None,) * len(skeleton)
        return tuple(
            _fill(inner[i], item, f"{name}.{i}", tensors, device) for i, item in enumerate(skeleton)
        )
    values = {
        key: _fill(getattr(template, key), item, f"{name}.{key}", tensors, device)
        for key, item in skeleton.items()
    }
    return replace(template, **values)


def write(
    path: Path,
    rule: SuperSpike,
    optimizer: torch.optim.Optimizer,
    records: Mapping[str, list[Any]],
    state: RuleState,
    window_ms: float,
    made_with: Mapping[str, Any],
) -> None:
    """Write everything in one atomic step; ``made_with`` is from `settings`."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(state, "state", tensors)
    tensors |= {f"weight.{n}": w.detach().cpu().clone() for n, w in rule.net.named_parameters()}
    numbers: dict[str, Any] = {"window_ms": window_ms}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            key = f"optimizer.{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value.detach().cpu().clone()
            else:
                numbers[key] = value
    for name, values in records.items():
        tensors[f"record.{name}"] = torch.as_tensor(np.asarray(values, dtype=float))
    meta = {
        "format": FORMAT, "skeleton": json.dumps(skeleton), "numbers": json.dumps(numbers),
        "settings": json.dumps(made_with),
    }  # fmt: skip
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, temporary, metadata=meta)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(
    path: Path, rule: SuperSpike, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, list[Any]], RuleState, float]:
    """Put weights and optimizer in place; return the records, the state, and a window's length.

    Raises
    ------
    ValueError
        The file is damaged, foreign, or of other settings; nothing was changed then.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"checkpoint {path} is damaged or foreign: {error}; {MEND}") from error
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {path} is not one of a spiking network in this version's format; {MEND}"
        )
    _compare(path, json.loads(meta["settings"]), settings(rule, optimizer))
    for name, weight in rule.net.named_parameters():
        weight.data.copy_(tensors[f"weight.{name}"])
    numbers = json.loads(meta["numbers"])
    window_ms = float(numbers.pop("window_ms"))
    entries: dict[int, dict[str, Any]] = {}
    stored_optimizer = {k: v for k, v in tensors.items() if k.startswith("optimizer.")}
    for key, value in {**stored_optimizer, **numbers}.items():
        _, index, name = key.split(".", 2)
        entries.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    skeleton = json.loads(meta["skeleton"])
    n_batch = tensors["state.net.0.v"].shape[0]
    device = rule.net.layers[0].weight.device
    state = _fill(rule.initial_state(n_batch), skeleton, "state", tensors, device)
    records = {name: list(tensors[f"record.{name}"].numpy()) for name in RECORDS}
    return records, state, window_ms


def _compare(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse other settings, and name the first that differs."""
    found = first_difference(there, here)
    if found is not None:
        name, old, new = found
        raise ValueError(
            f"checkpoint {path} belongs to another network or other settings: {name} is {old} "
            f"there and {new} here; {MEND}"
        )
