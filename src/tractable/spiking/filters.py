"""Exponential filters on every backend: kernel of unit area, its transpose, potential traces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from tractable.spiking import stepwise
from tractable.spiking.backend import Backend, resolve
from tractable.spiking.params import LIFParams, Step

__all__ = ["AlphaFilter", "exponential_trace", "psp_adjoint", "psp_trace"]


@dataclass(frozen=True)
class AlphaFilter:
    """The kernel (P5) on a grid: two exponential averages in a row, of unit area exactly.

    What a unit impulse (of height 1 / dt) leaves is dropped below ``floor`` of its peak.
    """

    tau_rise: float
    tau_decay: float
    dt: float
    floor: float = 0.0
    backend: Backend = "auto"

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """r, d, 1 - r, 1 - d."""
        r, d = self.dt / self.tau_rise, self.dt / self.tau_decay
        return math.exp(-r), math.exp(-d), -math.expm1(-r), -math.expm1(-d)

    def __call__(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the filtered signal (T, B, n) and the state after it."""
        floors = (self.floor / self.tau_rise, self.floor * self._peak())
        if resolve(self.backend, x.device) == "numba":
            from tractable.spiking import compiled

            given = np.ascontiguousarray(x.numpy())
            out = np.empty_like(given)
            rise, decay = (part.numpy().copy() for part in state)
            kind = given.dtype.type
            scalars = map(kind, (*self.coefficients, *floors))
            compiled.alpha_filter(given, *scalars, rise, decay, out)
            return torch.from_numpy(out), (torch.from_numpy(rise), torch.from_numpy(decay))
        run = loops_in_torch(self.backend, x.device).alpha_filter
        out_t, rise_t, decay_t = run(x, *self.coefficients, floors, *state)
        return out_t, (rise_t, decay_t)

    def _peak(self) -> float:
        return _peak(self.tau_decay, self.tau_rise) / self.tau_rise

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
        if resolve(self.backend, e.device) == "numba":
            from tractable.spiking import compiled

            given = np.ascontiguousarray(e.numpy())
            out = np.empty_like(given)
            rise, decay = np.zeros_like(given[0]), np.zeros_like(given[0])
            kind = given.dtype.type
            compiled.adjoint_filter(given, *map(kind, self.coefficients), rise, decay, out)
            return torch.from_numpy(out), r * torch.from_numpy(rise), d * torch.from_numpy(decay)
        run = loops_in_torch(self.backend, e.device).adjoint_filter
        out_t, rise_t, decay_t = run(e, *self.coefficients)
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


def _peak(slow: float, fast: float) -> float:
    """Return the largest value of the potential (P2), whichever of the two is the slower."""
    x = math.log(slow / fast)
    gap = slow / fast - 1
    return math.exp(-x * (1 + 1 / gap)) if abs(gap) > 1e-9 else math.exp(-1)


def loops_in_torch(backend: Backend, device: torch.device) -> ModuleType:
    """Return the module of the loops that take and give tensors: `fused` or `stepwise`."""
    if resolve(backend, device) == "triton":
        from tractable.spiking import fused

        return fused
    return stepwise


def floors_of(params: LIFParams, floor: float) -> tuple[float, float]:
    """Return the share ``floor`` of the current and of the potential of one spike."""
    return floor, floor * _peak(params.tau_mem, params.tau_syn)


def psp_trace(
    arrived: Tensor,
    step: Step,
    state: tuple[Tensor, Tensor],
    *,
    floors: tuple[float, float] = (0.0, 0.0),
    backend: Backend = "auto",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the potential that each input alone would cause, (T, B, n), and the state after it.

    It is dU/dW of a neuron that does not spike. A current below ``floors[0]`` is taken as 0, and
    then a potential below ``floors[1]``.
    """
    current, trace = state
    if resolve(backend, trace.device) == "numba":
        from tractable.spiking import compiled

        kind = trace.numpy().dtype
        out = np.empty(arrived.shape, dtype=kind)
        y, z = current.numpy().copy(), trace.numpy().copy()
        starts, columns = compiled.events(np.ascontiguousarray(arrived.numpy()))
        scalars = (kind.type(x) for x in (step.a, step.b, step.c, 1.0, *floors))
        compiled.psp_trace(starts, columns, *scalars, step.current_first, y, z, out)
        return torch.from_numpy(out), (torch.from_numpy(y), torch.from_numpy(z))
    run = loops_in_torch(backend, trace.device).psp_trace
    out_t, current, trace = run(arrived, step, current, trace, floors)
    return out_t, (current, trace)


def psp_adjoint(delta: Tensor, step: Step, *, backend: Backend = "auto") -> Tensor:
    """Return the transpose of the potential filter, from the window's end: (T, B, n)."""
    out: Tensor = loops_in_torch(backend, delta.device).psp_adjoint(delta, step)
    return out


def exponential_trace(
    spikes: Tensor, decay: float, state: Tensor, *, backend: Backend = "auto"
) -> tuple[Tensor, Tensor]:
    """Return z with z <- decay z + S at every step, (T, B, n), and the state after it."""
    if resolve(backend, state.device) == "numba":
        from scipy.signal import lfilter

        given = spikes.to(state.dtype).numpy()
        out, _ = lfilter([1.0], [1.0, -decay], given, axis=0, zi=decay * state.numpy()[None])
        trace = torch.from_numpy(np.asarray(out, dtype=given.dtype))
        return trace, trace[-1].clone()
    out_t, after = loops_in_torch(backend, state.device).exponential_trace(spikes, decay, state)
    return out_t, after
