"""Pieces of a window of learning: parts of outputs, delays, and eligibility times error."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tractable.spiking.backend import resolve
from tractable.spiking.filters import AlphaFilter, loops_in_torch
from tractable.spiking.layer import LayerOutput, LIFLayer

__all__ = ["carried", "cut", "delayed", "online", "own_arrivals", "product"]


def cut(out: LayerOutput, part: slice) -> LayerOutput:
    """Return a part of the time of a layer's output."""
    return replace(out, spikes=out.spikes[part], arrived=out.arrived[part], v=out.v[part])


def own_arrivals(out: LayerOutput, layer: LIFLayer, part: slice) -> Tensor:
    """Return the layer's own spikes at the steps at which they arrive at itself."""
    delay = layer.params.delay_steps
    if delay == 0:
        return out.spikes[part]
    line = torch.cat([out.before_own, out.spikes])
    return line[: len(out.spikes)][part]


def delayed(values: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """Return what leaves a delay line while ``values`` (T, ...) enter, and the line afterwards."""
    if len(line) == 0:
        return values, line
    both = torch.cat([line, values])
    return both[: len(values)], both[len(values) :]


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return sum over time and samples of left_i right_j, (n_out, n_in)."""
    return left.flatten(0, 1).T @ right.flatten(0, 1)


def carried(
    slope: Tensor, trace: Tensor, kernel: AlphaFilter, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Return both traces of the eligibility, (B, n_out, n_in), at the end of a window."""
    weights, old = _carry_weights(kernel, len(slope), slope.dtype, slope.device)
    steps = weights.shape[1]
    late = trace[-steps:].permute(1, 0, 2)
    weighted = (weights[:, :, None, None] * slope[-steps:]).permute(0, 2, 3, 1)
    rise, decay = weighted @ late
    if before is not None:
        decay = decay + old[1] * before[1] + old[2] * before[0]
        rise = rise + old[0] * before[0]
    return rise, decay


@functools.lru_cache(maxsize=64)
def _carry_weights(
    kernel: AlphaFilter, n_steps: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, tuple[float, float, float]]:
    # once for windows of one length: a copy to a GPU waits for it
    to_rise, to_decay, old = kernel.carry_weights(n_steps, dtype)
    return torch.stack([to_rise, to_decay]).to(device), old


def online(
    error: Tensor,
    slope: Tensor,
    trace: Tensor,
    kernel: AlphaFilter,
    before: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the gradient (n_out, n_in) by one step and synapse at a time, and the eligibility."""
    shape = (error.shape[1], slope.shape[2], trace.shape[2])
    rise, decay = before or (slope.new_zeros(shape), slope.new_zeros(shape))
    if resolve(kernel.backend, slope.device) != "numba":
        run = loops_in_torch(kernel.backend, slope.device).online
        total, rise, decay = run(error, slope, trace, *kernel.coefficients, rise, decay)
        return total, (rise, decay)
    from tractable.spiking import compiled

    e, h, z = (np.ascontiguousarray(x.numpy()) for x in (error, slope, trace))
    kind = h.dtype.type
    a, b, total_n = rise.numpy().copy(), decay.numpy().copy(), np.zeros(shape[1:], dtype=h.dtype)
    compiled.online(e, h, z, *map(kind, kernel.coefficients), a, b, total_n)
    return torch.from_numpy(total_n), (torch.from_numpy(a), torch.from_numpy(b))
