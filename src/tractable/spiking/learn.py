"""Window after window: the loop around the rule, its history, its checkpoint."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_range
from tractable.core.progress import track
from tractable.spiking.rule import RuleState, StepResult, SuperSpike

__all__ = ["History", "learn"]

FORMAT = "tractable spiking checkpoint 1"
SILENT_WINDOWS = 20


@dataclass(frozen=True)
class History:
    """What was seen in every window, and where learning stands.

    Attributes
    ----------
    cost : ndarray
        Cost of every window in unmatched-spike equivalents, (n_windows,).
    per_unit_cost : ndarray
        The same for each output unit, (n_windows, n_out).
    rates : ndarray
        Mean rate of every layer, Hz, (n_windows, n_layers).
    clipped : ndarray
        Share of weights at their bounds, (n_windows,).
    learning_rate : ndarray
        Learning rate of the first group, (n_windows,).
    window_ms : float
        Duration of a window.
    state : RuleState
        After the last window; `learn` goes on from it.
    """

    cost: np.ndarray
    per_unit_cost: np.ndarray
    rates: np.ndarray
    clipped: np.ndarray
    learning_rate: np.ndarray
    window_ms: float
    state: RuleState

    def moving_cost(self, tau_cost: float = 10_000.0) -> np.ndarray:
        """Return the exponential average of the cost over ``tau_cost`` ms, (n_windows,)."""
        check_range("tau_cost", tau_cost, 0, open_low=True, open_high=True)
        keep = math.exp(-self.window_ms / tau_cost)
        out, value = np.empty_like(self.cost), float(self.cost[0]) if len(self.cost) else 0.0
        for i, cost in enumerate(self.cost):
            value = keep * value + (1 - keep) * float(cost)
            out[i] = value
        return out


def learn(
    rule: SuperSpike,
    stream: Callable[[int], tuple[Tensor, Any]],
    n_updates: int,
    optimizer: torch.optim.Optimizer,
    *,
    schedule: Callable[[int], float] | None = None,
    bounds: tuple[float, float] | None = None,
    state: RuleState | None = None,
    callback: Callable[[int, StepResult], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    progress: bool = True,
    description: str = "learning",
) -> History:
    """Learn over ``n_updates`` windows, one change of the weights after each.

    Parameters
    ----------
    rule : SuperSpike
        The rule, with its network.
    stream : callable
        ``stream(k)`` returns the inputs and the target of window k; it must give the same for
        the same k, so that a run that was stopped can go on.
    n_updates : int
        Number of windows, >= 1.
    optimizer : torch.optim.Optimizer
        Over the network's parameters: `RMaxProp`, or any of torch.
    schedule : callable, optional
        ``schedule(k)`` multiplies the optimizer's learning rate in window k.
    bounds : (float, float), optional
        Clip the weights to it after each step, for optimizers that do not.
    state : RuleState, optional
        Where an earlier run ended; rest when absent.
    callback : callable, optional
        Called with k and the `StepResult` after every window.
    checkpoint : path, optional
        A safetensors file, written every ``checkpoint_every`` windows and at the end or at
        Ctrl-C; when it exists the run goes on from it.
    checkpoint_every : int
        Windows between two checkpoints, >= 1.
    progress : bool
        Show progress on a terminal.
    description : str
        Shown beside the bar.

    Returns
    -------
    History

    Raises
    ------
    RuntimeError
        When weights become NaN, with the window.
    ValueError
        When the checkpoint does not belong to this network.

    Examples
    --------
    >>> from tractable.spiking import RMaxProp, SpikingNet
    >>> net = SpikingNet.of_sizes(10, 2)
    >>> target = torch.zeros(1000, 1, 2)
    >>> history = learn(
    ...     SuperSpike(net), lambda k: (torch.zeros(1000, 1, 10), target), 3,
    ...     RMaxProp(net.parameters()),
    ... )
    >>> history.cost
    array([0., 0., 0.])
    """
    check_count("n_updates", n_updates)
    check_count("checkpoint_every", checkpoint_every)
    if bounds is not None:
        low, high = bounds
        check_finite("bounds", np.array([low, high]))
        if not low < high:
            raise ValueError(f"bounds must be (low, high) with low < high, got {bounds}")
    base = [group["lr"] for group in optimizer.param_groups]
    records: dict[str, list[Any]] = {name: [] for name in _RECORDS}
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        records, state = _load(path, rule, optimizer)
    first, silent = len(records["cost"]), 0
    window_ms = rule.window_steps() * rule.net.dt
    work: Iterable[int] = range(first, n_updates)
    k = first - 1
    started = time.monotonic()

    def said() -> str:
        done = len(records["cost"])
        if not done:
            return description
        since = records["cost"][-max(1, round(10_000 / window_ms)) :]
        rates = "/".join(f"{rate:.0f}" for rate in records["rates"][-1])
        pace = (done - first) * window_ms / rule.net.dt / max(time.monotonic() - started, 1e-9)
        return (
            f"{description}: {done * window_ms / 1000:.0f} s simulated, cost of the last 10 s "
            f"{sum(since) / len(since):.3g}, {rates} Hz, {records['clipped'][-1]:.0%} of weights "
            f"at their bounds, {pace:.0f} steps/s"
        )

    try:
        for k in track(work, said, total=n_updates - first, show=progress):
            factor = 1.0 if schedule is None else schedule(k)
            check_finite(f"schedule({k})", factor)
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * factor
            inputs, target = stream(k)
            step = rule.window(inputs, target, state)
            window_ms = len(inputs) * rule.net.dt
            optimizer.step()
            _clip(rule, bounds)
            _check_weights(rule, k)
            state = step.state
            limits = bounds or optimizer.param_groups[0].get("bounds")
            values = (
                step.cost, step.per_unit_cost.double().cpu().numpy(), step.rates,
                _share_clipped(rule, limits), optimizer.param_groups[0]["lr"],
            )  # fmt: skip
            for name, value in zip(_RECORDS, values, strict=True):
                records[name].append(value)
            silent = silent + 1 if len(step.rates) > 1 and max(step.rates[:-1]) == 0 else 0
            if silent == SILENT_WINDOWS:
                _warn_silent(rule, inputs)
            if callback is not None:
                callback(k, step)
            if path is not None and (k + 1) % checkpoint_every == 0:
                _save(path, rule, optimizer, records, state)
    finally:
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr
        if path is not None and state is not None and len(records["cost"]) > first:
            _save(path, rule, optimizer, records, state)
    assert state is not None  # one window at least was run, or read
    arrays = {name: np.asarray(values, dtype=float) for name, values in records.items()}
    return History(**arrays, window_ms=window_ms, state=state)


_RECORDS = ("cost", "per_unit_cost", "rates", "clipped", "learning_rate")


def _clip(rule: SuperSpike, bounds: tuple[float, float] | None) -> None:
    if bounds is not None:
        with torch.no_grad():
            for weight in rule.net.parameters():
                weight.clamp_(*bounds)


def _check_weights(rule: SuperSpike, k: int) -> None:
    for name, weight in rule.net.named_parameters():
        if not bool(weight.isfinite().all()):
            raise RuntimeError(f"{name} is not finite after window {k}: lower the learning rate")


def _share_clipped(rule: SuperSpike, bounds: tuple[float, float] | None) -> float:
    if bounds is None:
        return 0.0
    weights = torch.cat([w.detach().flatten() for w in rule.net.parameters()])
    return float(((weights <= bounds[0]) | (weights >= bounds[1])).double().mean())


def _warn_silent(rule: SuperSpike, inputs: Tensor) -> None:
    import warnings

    from tractable.core.checks import TractableWarning
    from tractable.spiking.theory import membrane_std

    layer = rule.net.layers[0]
    size = float(layer.weight.detach().square().mean().sqrt())
    rate = 1000 / rule.net.dt * float(inputs.float().mean())
    spread = float(membrane_std(size, layer.n_in, rate, layer.params))
    warnings.warn(
        f"no hidden spikes for {SILENT_WINDOWS} windows: weights of {size:.3g} mV under inputs of "
        f"{rate:.3g} Hz make the voltage fluctuate by {spread:.3g} mV, the threshold is "
        f"{layer.params.threshold:g} mV away; see fluctuation_driven for a larger w0",
        TractableWarning,
        stacklevel=3,
    )


# --- checkpoint -------------------------------------------------------------------------------


def _flatten(value: Any, name: str, out: dict[str, Tensor]) -> Any:
    """Put the tensors of a nested state into ``out``; return its skeleton for JSON."""
    if isinstance(value, Tensor):
        # bool and empty tensors too; the skeleton keeps the shape of empty ones
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


def _save(
    path: Path,
    rule: SuperSpike,
    optimizer: torch.optim.Optimizer,
    records: dict[str, list[Any]],
    state: RuleState,
) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(state, "state", tensors)
    tensors |= {f"weight.{n}": w.detach().cpu().clone() for n, w in rule.net.named_parameters()}
    numbers: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            key = f"optimizer.{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value.detach().cpu().clone()
            else:
                numbers[key] = value
    for name, values in records.items():
        tensors[f"record.{name}"] = torch.as_tensor(np.asarray(values, dtype=float))
    meta = {"format": FORMAT, "skeleton": json.dumps(skeleton), "numbers": json.dumps(numbers)}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, temporary, metadata=meta)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _load(
    path: Path, rule: SuperSpike, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, list[Any]], RuleState]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"checkpoint {path} is damaged or foreign: {error}") from error
    if meta.get("format") != FORMAT:
        raise ValueError(f"checkpoint {path} is not one of a spiking network")
    for name, weight in rule.net.named_parameters():
        stored = tensors.get(f"weight.{name}")
        if stored is None or stored.shape != weight.shape or stored.dtype != weight.dtype:
            got = "nothing" if stored is None else f"{tuple(stored.shape)} {stored.dtype}"
            raise ValueError(
                f"checkpoint {path} belongs to another network: {name} is {tuple(weight.shape)} "
                f"{weight.dtype}, stored is {got}"
            )
        weight.data.copy_(stored)
    entries: dict[int, dict[str, Any]] = {}
    stored_optimizer = {k: v for k, v in tensors.items() if k.startswith("optimizer.")}
    for key, value in {**stored_optimizer, **json.loads(meta["numbers"])}.items():
        _, index, name = key.split(".", 2)
        entries.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    skeleton = json.loads(meta["skeleton"])
    n_batch = tensors["state.net.0.v"].shape[0]
    device = rule.net.layers[0].weight.device
    state = _fill(rule.initial_state(n_batch), skeleton, "state", tensors, device)
    records = {name: list(tensors[f"record.{name}"].numpy()) for name in _RECORDS}
    return records, state
