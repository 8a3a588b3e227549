"""Loops over time steps, compiled by numba: (P1), its traces, and the rule at every step.

Arrays are C-contiguous, time first: ``(T, B, n)``. Scalars have the type of the arrays, so that
float32 stays float32. Spikes that arrive are given as events: those of step t and sample b are
``columns[starts[t * B + b] : starts[t * B + b + 1]]``; or as a dense jump of the current.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["adjoint_filter", "alpha_filter", "lif", "online", "psp_trace"]

compile_loop: Any = numba.njit(cache=True, fastmath=False, error_model="numpy")


@compile_loop
def lif(
    starts: Any, columns: Any, weight_t: Any, drive: Any, injected: Any,
    recurrent_t: Any, own: Any, delay: int,
    a: Any, b: Any, c: Any, gain: Any, current_first: bool, refractory: int, threshold: Any,
    subtract: bool, v: Any, current: Any, left: Any, spikes: Any, v_out: Any, i_out: Any,
) -> None:  # fmt: skip
    """Run one layer; state and outputs are written in place.

    ``own`` holds the layer's last ``delay`` steps of spikes, (delay, B, n); ``left`` the steps of
    refractoriness that remain; ``v_out`` the voltage that is compared with the threshold.
    """
    n_steps, n_batch, n = spikes.shape
    dense, inject = drive.shape[0] > 0, injected.shape[0] > 0
    loop, keep_v, keep_i = recurrent_t.shape[0] > 0, v_out.shape[0] > 0, i_out.shape[0] > 0
    zero = v[0, 0] * 0
    for t in range(n_steps):
        for s in range(n_batch):
            current_s, v_s, left_s = current[s], v[s], left[s]
            if not current_first:
                for i in range(n):
                    v_s[i] = a * v_s[i] + c * current_s[i]
            for i in range(n):
                current_s[i] = b * current_s[i]
            if dense:
                for i in range(n):
                    current_s[i] += drive[t, s, i]
            else:
                for event in range(starts[t * n_batch + s], starts[t * n_batch + s + 1]):
                    row = weight_t[columns[event]]
                    for i in range(n):
                        current_s[i] += row[i]
            if loop and delay > 0:
                for j in range(n):
                    past = own[t, s, j] if t < delay else spikes[t - delay, s, j]
                    if past:
                        row = recurrent_t[j]
                        for i in range(n):
                            current_s[i] += row[i]
            if current_first:
                for i in range(n):
                    v_s[i] = a * v_s[i] + c * current_s[i]
            if inject:
                for i in range(n):
                    v_s[i] += gain * injected[t, s, i]
            for i in range(n):
                if left_s[i] > 0:
                    left_s[i] -= 1
                    v_s[i] = zero
            if keep_v:
                for i in range(n):
                    v_out[t, s, i] = v_s[i]
            for i in range(n):
                if v_s[i] > threshold:
                    spikes[t, s, i] = 1
                    v_s[i] = v_s[i] - threshold if subtract else zero
                    left_s[i] = refractory
            if loop and delay == 0:
                for j in range(n):
                    if spikes[t, s, j]:
                        row = recurrent_t[j]
                        for i in range(n):
                            current_s[i] += row[i]
            if keep_i:
                for i in range(n):
                    i_out[t, s, i] = current_s[i]


@compile_loop
def psp_trace(
    starts: Any, columns: Any, a: Any, b: Any, c: Any, one: Any, low_current: Any, low_trace: Any,
    current_first: bool, current: Any, trace: Any, out: Any,
) -> None:  # fmt: skip
    """Filter arriving spikes as a membrane without threshold would, per input."""
    n_steps, n_batch, n = out.shape
    for t in range(n_steps):
        for s in range(n_batch):
            if not current_first:
                for j in range(n):
                    trace[s, j] = a * trace[s, j] + c * current[s, j]
            for j in range(n):
                current[s, j] = b * current[s, j]
            for event in range(starts[t * n_batch + s], starts[t * n_batch + s + 1]):
                current[s, columns[event]] += one
            if current_first:
                for j in range(n):
                    trace[s, j] = a * trace[s, j] + c * current[s, j]
            if low_current > 0:
                for j in range(n):
                    if current[s, j] < low_current:
                        current[s, j] = 0
                        if trace[s, j] < low_trace:
                            trace[s, j] = 0
            for j in range(n):
                out[t, s, j] = trace[s, j]


@compile_loop
def alpha_filter(
    x: Any, r: Any, d: Any, gain_r: Any, gain_d: Any, low_rise: Any, low_decay: Any,
    rise: Any, decay: Any, out: Any,
) -> None:  # fmt: skip
    """Filter with the kernel of unit area: two exponential averages in a row."""
    n_steps, n_batch, n = x.shape
    for t in range(n_steps):
        for s in range(n_batch):
            for i in range(n):
                rise[s, i] = r * rise[s, i] + gain_r * x[t, s, i]
                decay[s, i] = d * decay[s, i] + gain_d * rise[s, i]
                if abs(rise[s, i]) < low_rise:
                    rise[s, i] = 0
                    if abs(decay[s, i]) < low_decay:
                        decay[s, i] = 0
                out[t, s, i] = decay[s, i]


@compile_loop
def adjoint_filter(
    e: Any, r: Any, d: Any, gain_r: Any, gain_d: Any, rise: Any, decay: Any, out: Any
) -> None:
    """Run `alpha_filter` backward in time: its transpose, from the end of the window."""
    n_steps, n_batch, n = e.shape
    for back in range(n_steps):
        t = n_steps - 1 - back
        for s in range(n_batch):
            for i in range(n):
                decay[s, i] = e[t, s, i] + d * decay[s, i]
                rise[s, i] = gain_d * decay[s, i] + r * rise[s, i]
                out[t, s, i] = gain_r * rise[s, i]


@compile_loop
def online(
    error: Any, slope: Any, trace: Any, r: Any, d: Any, gain_r: Any, gain_d: Any,
    rise: Any, decay: Any, total: Any,
) -> None:  # fmt: skip
    """Accumulate error times eligibility, literally: per step, per sample, per synapse."""
    n_steps, n_batch, n_out = error.shape
    n_in = trace.shape[2]
    for t in range(n_steps):
        for s in range(n_batch):
            for i in range(n_out):
                e, h = error[t, s, i], slope[t, s, i]
                for j in range(n_in):
                    rise[s, i, j] = r * rise[s, i, j] + gain_r * (h * trace[t, s, j])
                    decay[s, i, j] = d * decay[s, i, j] + gain_d * rise[s, i, j]
                    total[i, j] += e * decay[s, i, j]


def events(spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``starts`` and ``columns`` of a spike array of shape (T, B, n)."""
    n_steps, n_batch, n = spikes.shape
    flat = np.flatnonzero(spikes.reshape(-1))
    starts = np.searchsorted(flat, np.arange(n_steps * n_batch + 1) * n)
    return starts, flat % n
