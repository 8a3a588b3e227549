"""The loops of `stepwise` by the kernels of Triton: one launch for a whole window.

Lanes do not talk to one another within a launch; recurrent layers are therefore run in blocks of
their delay. Products are not fused with sums, so that the arithmetic is that of the other loops.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor

from tractable.spiking import kernels
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

BLOCK = 128


# --- the loops, with the arguments of `stepwise` ----------------------------------------------


@functools.lru_cache(maxsize=256)
def _constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


def _launch(kernel: Any, like: Tensor, grid: tuple[int, ...], *given: Any, **choices: Any) -> None:
    on = torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()
    with on:
        kernel[grid](*given, **choices, BLOCK=BLOCK, num_warps=4, enable_fp_fusion=False)


def _blocks(lanes: int) -> int:
    return -(-lanes // BLOCK)


def _owned(*states: Tensor) -> list[Tensor]:
    """Return copies that a kernel may write to."""
    return [state.detach().clone(memory_format=torch.contiguous_format) for state in states]


def lif(
    drive: Tensor, injected: Tensor | None, recurrent: Tensor | None, own: Tensor, step: Step,
    threshold: float, subtract: bool, v: Tensor, current: Tensor, left: Tensor, record_i: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run one layer; arguments and results are those of `stepwise.lif`."""
    v, current, left = _owned(v, current, left)
    values = (step.a, step.b, step.c, 1 - step.a, threshold)
    constants = _constants(values, drive.dtype, drive.device)
    drive = drive.contiguous()
    extra = drive if injected is None else injected.contiguous()
    spikes = torch.empty(drive.shape, dtype=torch.uint8, device=drive.device)
    v_out = torch.empty_like(drive)
    i_out = torch.empty_like(drive) if record_i else v_out
    length = len(drive) if recurrent is None else max(step.delay, 1)
    lanes = v.numel()
    for start in range(0, len(drive), length):
        part = slice(start, start + length)
        arriving = drive[part]
        if recurrent is not None and step.delay > 0:
            # own spikes of the delay before the window, then those of the block before
            past = own if start == 0 else spikes[start - length : start]
            arriving = arriving + past[: len(arriving)].to(drive.dtype) @ recurrent.T
        _launch(
            kernels.lif, drive, (_blocks(lanes),), arriving, extra[part], constants, v, current,
            left, spikes[part], v_out[part], i_out[part], len(arriving), lanes, step.refractory,
            CURRENT_FIRST=step.current_first, INJECT=injected is not None, SUBTRACT=subtract,
            RECORD=record_i,
        )  # fmt: skip
        if recurrent is not None and step.delay == 0:
            current += spikes[start].to(drive.dtype) @ recurrent.T
            if record_i:
                i_out[start] = current
    return spikes.view(torch.bool), v_out, i_out if record_i else None, v, current, left


def psp_trace(
    spikes: Tensor, step: Step, current: Tensor, trace: Tensor, floors: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter arriving spikes as a membrane without threshold would."""
    current, trace = _owned(current, trace)
    constants = _constants((step.a, step.b, step.c, *floors), trace.dtype, trace.device)
    out = torch.empty(spikes.shape, dtype=trace.dtype, device=trace.device)
    given = spikes.contiguous().view(torch.uint8)
    _launch(
        kernels.psp_trace, trace, (_blocks(trace.numel()),), given, constants, current, trace, out,
        len(spikes), trace.numel(), CURRENT_FIRST=step.current_first, FLOOR=floors[0] > 0,
    )  # fmt: skip
    return out, current, trace


def alpha_filter(
    x: Tensor, r: float, d: float, gain_r: float, gain_d: float, floors: tuple[float, float],
    rise: Tensor, decay: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Filter with the kernel of unit area."""
    rise, decay = _owned(rise, decay)
    constants = _constants((r, d, gain_r, gain_d, *floors), x.dtype, x.device)
    x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _launch(
        kernels.alpha_filter, x, (_blocks(rise.numel()),), x, constants, rise, decay, out, len(x),
        rise.numel(), FLOOR=floors[0] > 0,
    )  # fmt: skip
    return out, rise, decay


def adjoint_filter(
    e: Tensor, r: float, d: float, gain_r: float, gain_d: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `alpha_filter` backward in time."""
    e = e.contiguous()
    rise, decay, out = torch.zeros_like(e[0]), torch.zeros_like(e[0]), torch.empty_like(e)
    constants = _constants((r, d, gain_r, gain_d), e.dtype, e.device)
    _launch(
        kernels.adjoint_filter, e, (_blocks(rise.numel()),), e, constants, rise, decay, out, len(e),
        rise.numel(), (len(e) - 1) * rise.numel(),
    )  # fmt: skip
    return out, rise, decay


def psp_adjoint(delta: Tensor, step: Step) -> Tensor:
    """Return the transpose of the potential filter, from the window's end."""
    delta = delta.contiguous()
    out, lanes = torch.empty_like(delta), delta[0].numel()
    constants = _constants((step.a, step.b, step.c), delta.dtype, delta.device)
    _launch(
        kernels.psp_adjoint, delta, (_blocks(lanes),), delta, constants, out, len(delta), lanes,
        (len(delta) - 1) * lanes, CURRENT_FIRST=step.current_first,
    )  # fmt: skip
    return out


def exponential_trace(spikes: Tensor, decay: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return z with z <- decay z + S at every step, and the state after it."""
    (state,) = _owned(state)
    out = torch.empty(spikes.shape, dtype=state.dtype, device=state.device)
    given = spikes.bool().contiguous().view(torch.uint8)
    constants = _constants((decay,), state.dtype, state.device)
    _launch(
        kernels.exponential_trace, state, (_blocks(state.numel()),), given, constants, state, out,
        len(spikes), state.numel(),
    )  # fmt: skip
    return out, state


def online(
    error: Tensor, slope: Tensor, trace: Tensor, r: float, d: float, gain_r: float, gain_d: float,
    rise: Tensor, decay: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Accumulate error times eligibility, literally."""
    rise, decay = _owned(rise, decay)
    n_batch, n_out, n_in = rise.shape
    total = torch.zeros(n_out, n_in, dtype=rise.dtype, device=rise.device)
    constants = _constants((r, d, gain_r, gain_d), rise.dtype, rise.device)
    _launch(
        kernels.online, rise, (n_out, _blocks(n_in)), error.contiguous(), slope.contiguous(),
        trace.contiguous(), constants, rise, decay, total, len(error), n_batch, n_out, n_in,
    )  # fmt: skip
    return total, rise, decay
