"""Window after window: the loop around the rule, its history, its checkpoint."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_count, check_finite, check_range
from tractable.core.progress import track
from tractable.spiking import checkpoint as stored
from tractable.spiking.checkpoint import RECORDS
from tractable.spiking.rule import RuleState, StepResult, SuperSpike

__all__ = ["History", "learn"]

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
        Clip the weights that learn to it after each step, for optimizers that do not.
    state : RuleState, optional
        Where an earlier run ended; rest when absent.
    callback : callable, optional
        Called with k and the `StepResult` after every window.
    checkpoint : path, optional
        A safetensors file, written every ``checkpoint_every`` windows and at the end or at
        Ctrl-C; when it exists the run goes on from it. Stream, schedule and ``bounds`` must then
        be those of before; net, rule and optimizer are compared.
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
        When the checkpoint belongs to another network, rule or optimizer, or holds more windows
        than ``n_updates``; when the optimizer has none of the network's weights, or bounds of its
        own that are not ``bounds``.

    Warns
    -----
    TractableWarning
        When hidden neurons stay silent, or the windows are not the ``t_update`` of the optimizer.

    Examples
    --------
    >>> from tractable.spiking import RMaxProp, SpikingNet
    >>> net = SpikingNet.of_sizes(10, 2)
    >>> target = torch.zeros(1000, 1, 2)
    >>> history = learn(
    ...     SuperSpike(net), lambda k: (torch.zeros(1000, 1, 10), target), 3,
    ...     RMaxProp(net.parameters(), t_update=100.0),  # ms: 1,000 steps
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
    _check_optimizer(rule, optimizer, bounds)
    made_with = stored.settings(rule, optimizer)  # before a schedule changes the learning rate
    base = [group["lr"] for group in optimizer.param_groups]
    records: dict[str, list[Any]] = {name: [] for name in RECORDS}
    path = None if checkpoint is None else Path(checkpoint)
    window_ms = rule.window_steps() * rule.net.dt
    if path is not None and path.exists():
        records, state, window_ms = stored.read(path, rule, optimizer)
        if len(records["cost"]) > n_updates:
            raise ValueError(
                f"checkpoint {path} holds {len(records['cost'])} windows, n_updates is {n_updates}:"
                " learning cannot be taken back; give another path"
            )
    first, silent, whole = len(records["cost"]), 0, True
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
            if k == first:
                _check_window(optimizer, window_ms)
            whole = False  # weights and state are those of different windows from here ...
            optimizer.step()
            _clip(rule, bounds)
            _check_weights(rule, k)
            state = step.state
            limits = bounds or optimizer.param_groups[0].get("bounds")
            values = (
                step.cost, step.per_unit_cost.cpu().double().numpy(), step.rates,
                _share_clipped(rule, limits), optimizer.param_groups[0]["lr"],
            )  # fmt: skip
            for name, value in zip(RECORDS, values, strict=True):
                records[name].append(value)
            whole = True  # ... to here
            silent = silent + 1 if len(step.rates) > 1 and max(step.rates[:-1]) == 0 else 0
            if silent == SILENT_WINDOWS:
                _warn_silent(rule, inputs)
            if callback is not None:
                callback(k, step)
            if path is not None and (k + 1) % checkpoint_every == 0:
                stored.write(path, rule, optimizer, records, state, window_ms, made_with)
    finally:
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr
        if path is not None and state is not None and whole and len(records["cost"]) > first:
            stored.write(path, rule, optimizer, records, state, window_ms, made_with)
    assert state is not None  # one window at least was run, or read
    arrays = {name: np.asarray(values, dtype=float) for name, values in records.items()}
    return History(**arrays, window_ms=window_ms, state=state)


def _check_optimizer(
    rule: SuperSpike, optimizer: torch.optim.Optimizer, bounds: tuple[float, float] | None
) -> None:
    known = {id(weight) for weight in rule.net.parameters()}
    groups = optimizer.param_groups
    if not any(id(p) in known for group in groups for p in group["params"]):
        raise ValueError("optimizer holds no weight of the rule's net: give it net.parameters()")
    own = next((group["bounds"] for group in groups if group.get("bounds")), None)
    if bounds is not None and own is not None and tuple(own) != tuple(bounds):
        raise ValueError(
            f"bounds are {tuple(bounds)} and those of the optimizer {tuple(own)}; give one of them"
        )


def _check_window(optimizer: torch.optim.Optimizer, window_ms: float) -> None:
    wanted = optimizer.param_groups[0].get("t_update")
    if wanted is not None and abs(wanted - window_ms) > 1e-6 * window_ms:
        warnings.warn(
            f"the windows of the stream last {window_ms:g} ms, t_update of the optimizer is "
            f"{wanted:g} ms: its maximum decays as if they lasted that long",
            TractableWarning,
            stacklevel=3,
        )


def _clip(rule: SuperSpike, bounds: tuple[float, float] | None) -> None:
    if bounds is not None:
        with torch.no_grad():
            for weight in rule.net.parameters():
                if weight.grad is not None:  # frozen ones stay as they are
                    weight.clamp_(*bounds)


def _check_weights(rule: SuperSpike, k: int) -> None:
    for name, weight in rule.net.named_parameters():
        if not bool(weight.isfinite().all()):
            raise RuntimeError(f"{name} is not finite after window {k}: lower the learning rate")


def _share_clipped(rule: SuperSpike, bounds: tuple[float, float] | None) -> float:
    if bounds is None:
        return 0.0
    weights = torch.cat([w.detach().flatten() for w in rule.net.parameters()])
    return float(((weights <= bounds[0]) | (weights >= bounds[1])).float().mean())


def _warn_silent(rule: SuperSpike, inputs: Tensor) -> None:
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
