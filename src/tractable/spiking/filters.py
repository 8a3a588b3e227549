"""Exponential filters on either back end: kernel of unit area, its transpose, potential traces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.spiking import stepwise
from tractable.spiking.params import Step

__all__ = ["AlphaFilter", "exponential_trace", "psp_adjoint", "psp_trace"]


@dataclass(frozen=True)
class AlphaFilter:
    """The kernel (P5) on a grid: two exponential averages in a row, of unit area exactly."""

    tau_rise: float
    tau_decay: float
    dt: float

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """r, d, 1 - r, 1 - d."""
        r, d = self.dt / self.tau_rise, self.dt / self.tau_decay
        return math.exp(-r), math.exp(-d), -math.expm1(-r), -math.expm1(-d)

    def __call__(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the filtered signal (T, B, n) and the state after it."""
        if _numba(x):
            from tractable.spiking import compiled

            given = np.ascontiguousarray(x.numpy())
            out = np.empty_like(given)
            rise, decay = (part.numpy().copy() for part in state)
            kind = given.dtype.type
            compiled.alpha_filter(given, *map(kind, self.coefficients), rise, decay, out)
            return torch.from_numpy(out), (torch.from_numpy(rise), torch.from_numpy(decay))
        out_t, rise_t, decay_t = stepwise.alpha_filter(x, *self.coefficients, *state)
        return out_t, (rise_t, decay_t)

    def adjoint(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filter backward in time from the window's end.

        Returns
        -------
        filtered : Tensor
            (T, B, n).
        s_rise, s_decay : Tensor
            Weights with which eligibility carried into the window counts, (B, n).
        """
        r, d, _, _ = self.coefficients
        if _numba(e):
            from tractable.spiking import compiled

            given = np.ascontiguousarray(e.numpy())
            out = np.empty_like(given)
            rise, decay = np.zeros_like(given[0]), np.zeros_like(given[0])
            kind = given.dtype.type
            compiled.adjoint_filter(given, *map(kind, self.coefficients), rise, decay, out)
            return torch.from_numpy(out), r * torch.from_numpy(rise), d * torch.from_numpy(decay)
        out_t, rise_t, decay_t = stepwise.adjoint_filter(e, *self.coefficients)
        return out_t, r * rise_t, d * decay_t

    def carry_weights(
        self, n_steps: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, tuple[float, float, float]]:
        """Return what each step of a window leaves in the eligibility at its end.

        Returns
        -------
        to_rise, to_decay : Tensor
            Weights of the last steps (those that still matter in this precision), shape (K,).
        old : (float, float, float)
            ``A <- old[0] A`` and ``L <- old[1] L + old[2] A`` for the state before the window.
        """
        r, d, gain_r, gain_d = self.coefficients
        reach = (12 if dtype == torch.float32 else 40) * max(self.tau_rise, self.tau_decay)
        steps = min(n_steps, math.ceil(reach / self.dt))
        k = np.arange(steps - 1, -1, -1.0)
        to_rise = gain_r * r**k
        to_decay = gain_r * gain_d * _power_difference(k + 1, r, d)
        old = (r**n_steps, d**n_steps, gain_d * r * float(_power_difference(float(n_steps), r, d)))
        return torch.tensor(to_rise, dtype=dtype), torch.tensor(to_decay, dtype=dtype), old


def _power_difference(n: np.ndarray | float, r: float, d: float) -> np.ndarray:
    """Return (d^n - r^n) / (d - r), also where r = d."""
    x = math.log(d) - math.log(r)
    if abs(x) < 1e-12:
        return np.asarray(n) * r ** (np.asarray(n) - 1)
    # r^n expm1(n x) / (r expm1(x)), with the larger of the two outside the difference
    low, gap = max(r, d), -abs(x)
    return low ** (np.asarray(n) - 1) * np.expm1(np.asarray(n) * gap) / math.expm1(gap)


def psp_trace(
    arrived: Tensor, step: Step, state: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the potential that each input alone would cause, (T, B, n), and the state after it.

    It is dU/dW of a neuron that does not spike.
    """
    current, trace = state
    if _numba(trace):
        from tractable.spiking import compiled

        kind = trace.numpy().dtype
        out = np.empty(arrived.shape, dtype=kind)
        y, z = current.numpy().copy(), trace.numpy().copy()
        starts, columns = compiled.events(np.ascontiguousarray(arrived.numpy()))
        scalars = (kind.type(x) for x in (step.a, step.b, step.c, 1.0))
        compiled.psp_trace(starts, columns, *scalars, step.current_first, y, z, out)
        return torch.from_numpy(out), (torch.from_numpy(y), torch.from_numpy(z))
    out_t, current, trace = stepwise.psp_trace(arrived, step, current, trace)
    return out_t, (current, trace)


def psp_adjoint(delta: Tensor, step: Step) -> Tensor:
    """Return the transpose of the potential filter, from the window's end: (T, B, n)."""
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
    """Return z with z <- decay z + S at every step, (T, B, n), and the state after it."""
    from scipy.signal import lfilter

    if state.device.type == "cpu":
        given = spikes.to(state.dtype).numpy()
        out, _ = lfilter([1.0], [1.0, -decay], given, axis=0, zi=decay * state.numpy()[None])
        trace = torch.from_numpy(np.asarray(out, dtype=given.dtype))
        return trace, trace[-1].clone()
    out_t = torch.empty(spikes.shape, dtype=state.dtype, device=state.device)
    for t in range(len(spikes)):
        state = decay * state + spikes[t].to(state.dtype)
        out_t[t] = state
    return out_t, state


def _numba(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"
