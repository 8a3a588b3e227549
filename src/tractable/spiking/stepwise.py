"""The same loops as in `compiled`, in torch operations: any device, no compiler, slower.

The arithmetic is in the same order; only the sum over the spikes that arrive in one step is a
matrix product here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tractable.spiking.params import Step

__all__ = [
    "adjoint_filter",
    "alpha_filter",
    "exponential_trace",
    "lif",
    "online",
    "psp_adjoint",
    "psp_trace",
]


def lif(
    drive: Tensor, injected: Tensor | None, recurrent: Tensor | None, own: Tensor, step: Step,
    threshold: float, subtract: bool, v: Tensor, current: Tensor, left: Tensor, record_i: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run one layer.

    Returns
    -------
    spikes, v_out, i_out, v, current, left
        Outputs of shape (T, B, n), then the new state.
    """
    spikes: list[Tensor] = []
    voltages: list[Tensor] = []
    currents: list[Tensor] = []
    for t in range(len(drive)):
        arriving = drive[t]
        if recurrent is not None and step.delay > 0:
            past = own[t] if t < step.delay else spikes[t - step.delay]
            arriving = arriving + past.to(drive.dtype) @ recurrent.T
        if step.current_first:
            current = step.b * current + arriving
            v = step.a * v + step.c * current
        else:
            v = step.a * v + step.c * current
            current = step.b * current + arriving
        if injected is not None:
            v = v + (1 - step.a) * injected[t]
        v = torch.where(left > 0, torch.zeros_like(v), v)
        left = (left - 1).clamp_min(0)
        fired = v > threshold
        voltages.append(v)
        spikes.append(fired)
        v = torch.where(fired, v - threshold if subtract else torch.zeros_like(v), v)
        left = torch.where(fired, torch.full_like(left, step.refractory), left)
        if recurrent is not None and step.delay == 0:
            current = current + fired.to(drive.dtype) @ recurrent.T
        if record_i:
            currents.append(current)
    i_out = torch.stack(currents) if record_i else None
    return torch.stack(spikes), torch.stack(voltages), i_out, v, current, left


def psp_trace(
    spikes: Tensor, step: Step, current: Tensor, trace: Tensor, floors: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter arriving spikes as a membrane without threshold would.

    A current below ``floors[0]`` becomes 0, and then a potential below ``floors[1]``.
    """
    out = torch.empty(spikes.shape, dtype=trace.dtype, device=trace.device)
    for t in range(len(spikes)):
        if not step.current_first:
            trace = step.a * trace + step.c * current
        current = step.b * current + spikes[t].to(trace.dtype)
        if step.current_first:
            trace = step.a * trace + step.c * current
        if floors[0] > 0:
            current = current.masked_fill(current < floors[0], 0.0)
            trace = trace.masked_fill((current == 0) & (trace < floors[1]), 0.0)
        out[t] = trace
    return out, current, trace


def alpha_filter(
    x: Tensor, r: float, d: float, gain_r: float, gain_d: float, floors: tuple[float, float],
    rise: Tensor, decay: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Filter with the kernel of unit area."""
    out = torch.empty_like(x)
    for t in range(len(x)):
        rise = r * rise + gain_r * x[t]
        decay = d * decay + gain_d * rise
        if floors[0] > 0:
            rise = rise.masked_fill(rise.abs() < floors[0], 0.0)
            decay = decay.masked_fill((rise == 0) & (decay.abs() < floors[1]), 0.0)
        out[t] = decay
    return out, rise, decay


def adjoint_filter(
    e: Tensor, r: float, d: float, gain_r: float, gain_d: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `alpha_filter` backward in time."""
    out = torch.empty_like(e)
    rise, decay = torch.zeros_like(e[0]), torch.zeros_like(e[0])
    for t in range(len(e) - 1, -1, -1):
        decay = e[t] + d * decay
        rise = gain_d * decay + r * rise
        out[t] = gain_r * rise
    return out, rise, decay


def psp_adjoint(delta: Tensor, step: Step) -> Tensor:
    """Return the transpose of the potential filter, from the window's end."""
    trace, current = torch.zeros_like(delta[0]), torch.zeros_like(delta[0])
    out = torch.empty_like(delta)
    for t in range(len(delta) - 1, -1, -1):
        if step.current_first:
            trace = delta[t] + step.a * trace
            current = step.c * trace + step.b * current
        else:
            current = step.b * current + step.c * trace
            trace = delta[t] + step.a * trace
        out[t] = current
    return out


def exponential_trace(spikes: Tensor, decay: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return z with z <- decay z + S at every step, and the state after it."""
    out = torch.empty(spikes.shape, dtype=state.dtype, device=state.device)
    for t in range(len(spikes)):
        state = decay * state + spikes[t].to(state.dtype)
        out[t] = state
    return out, state


def online(
    error: Tensor, slope: Tensor, trace: Tensor, r: float, d: float, gain_r: float, gain_d: float,
    rise: Tensor, decay: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Accumulate error times eligibility, literally."""
    total = torch.zeros(rise.shape[1:], dtype=rise.dtype, device=rise.device)
    for t in range(len(error)):
        rise = r * rise + gain_r * (slope[t, :, :, None] * trace[t, :, None, :])
        decay = d * decay + gain_d * rise
        total += (error[t, :, :, None] * decay).sum(0)
    return total, rise, decay
