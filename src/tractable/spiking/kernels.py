# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
"""The loops of `compiled` as kernels of Triton, which compiles their source for the GPU.

A program owns a block of lanes, a lane being one neuron (or input, or synapse) of one sample, and
walks through time with the state in registers. Arrays are (T, lanes) in memory. Constants are read
from a tensor, because Triton passes Python numbers in single precision. Arguments have no types:
Triton would look for the names.
"""

from __future__ import annotations

try:
    import triton
    import triton.language as tl
except ImportError:  # nobody calls the kernels then, see `backend.resolve`
    triton = None


def _kernel(function):
    """Compile at the first launch."""
    return function if triton is None else triton.jit(function)


@_kernel
def lif(
    drive, injected, constants, v_state, current_state, left_state,
    spikes, v_out, i_out, n_steps, lanes, refractory,
    CURRENT_FIRST: tl.constexpr, INJECT: tl.constexpr, SUBTRACT: tl.constexpr,
    RECORD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run neurons without connections among them; the state is written in place."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    a, b, c = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    gain, threshold = tl.load(constants + 3), tl.load(constants + 4)
    v = tl.load(v_state + lane, mask=inside, other=0.0)
    current = tl.load(current_state + lane, mask=inside, other=0.0)
    left = tl.load(left_state + lane, mask=inside, other=0)
    at = lane.to(tl.int64)
    for _ in range(n_steps):
        arriving = tl.load(drive + at, mask=inside, other=0.0)
        if CURRENT_FIRST:
            current = b * current + arriving
            v = a * v + c * current
        else:
            v = a * v + c * current
            current = b * current + arriving
        if INJECT:
            v = v + gain * tl.load(injected + at, mask=inside, other=0.0)
        v = tl.where(left > 0, 0.0, v)
        left = tl.maximum(left - 1, 0)
        fired = v > threshold
        tl.store(v_out + at, v, mask=inside)
        tl.store(spikes + at, fired.to(tl.uint8), mask=inside)
        v = tl.where(fired, v - threshold, v) if SUBTRACT else tl.where(fired, 0.0, v)
        left = tl.where(fired, refractory, left)
        if RECORD:
            tl.store(i_out + at, current, mask=inside)
        at += lanes
    tl.store(v_state + lane, v, mask=inside)
    tl.store(current_state + lane, current, mask=inside)
    tl.store(left_state + lane, left, mask=inside)


@_kernel
def psp_trace(
    spikes, constants, current_state, trace_state, out, n_steps,
    lanes, CURRENT_FIRST: tl.constexpr, FLOOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Filter arriving spikes as a membrane without threshold would."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    a, b, c = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    low_current, low_trace = tl.load(constants + 3), tl.load(constants + 4)
    current = tl.load(current_state + lane, mask=inside, other=0.0)
    trace = tl.load(trace_state + lane, mask=inside, other=0.0)
    at = lane.to(tl.int64)
    for _ in range(n_steps):
        arriving = tl.load(spikes + at, mask=inside, other=0).to(current.dtype)
        if CURRENT_FIRST:
            current = b * current + arriving
            trace = a * trace + c * current
        else:
            trace = a * trace + c * current
            current = b * current + arriving
        if FLOOR:
            current = tl.where(current < low_current, 0.0, current)
            trace = tl.where((current == 0.0) & (trace < low_trace), 0.0, trace)
        tl.store(out + at, trace, mask=inside)
        at += lanes
    tl.store(current_state + lane, current, mask=inside)
    tl.store(trace_state + lane, trace, mask=inside)


@_kernel
def alpha_filter(
    x, constants, rise_state, decay_state, out, n_steps, lanes,
    FLOOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Take two exponential averages in a row."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    r, d = tl.load(constants), tl.load(constants + 1)
    gain_r, gain_d = tl.load(constants + 2), tl.load(constants + 3)
    low_rise, low_decay = tl.load(constants + 4), tl.load(constants + 5)
    rise = tl.load(rise_state + lane, mask=inside, other=0.0)
    decay = tl.load(decay_state + lane, mask=inside, other=0.0)
    at = lane.to(tl.int64)
    for _ in range(n_steps):
        rise = r * rise + gain_r * tl.load(x + at, mask=inside, other=0.0)
        decay = d * decay + gain_d * rise
        if FLOOR:
            rise = tl.where(tl.abs(rise) < low_rise, 0.0, rise)
            decay = tl.where((rise == 0.0) & (tl.abs(decay) < low_decay), 0.0, decay)
        tl.store(out + at, decay, mask=inside)
        at += lanes
    tl.store(rise_state + lane, rise, mask=inside)
    tl.store(decay_state + lane, decay, mask=inside)


@_kernel
def adjoint_filter(
    e, constants, rise_state, decay_state, out, n_steps, lanes,
    last, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run `alpha_filter` backward in time."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    r, d = tl.load(constants), tl.load(constants + 1)
    gain_r, gain_d = tl.load(constants + 2), tl.load(constants + 3)
    rise = tl.load(rise_state + lane, mask=inside, other=0.0)
    decay = tl.load(decay_state + lane, mask=inside, other=0.0)
    at = lane.to(tl.int64) + last
    for _ in range(n_steps):
        decay = tl.load(e + at, mask=inside, other=0.0) + d * decay
        rise = gain_d * decay + r * rise
        tl.store(out + at, gain_r * rise, mask=inside)
        at -= lanes
    tl.store(rise_state + lane, rise, mask=inside)
    tl.store(decay_state + lane, decay, mask=inside)


@_kernel
def psp_adjoint(
    delta, constants, out, n_steps, lanes, last,
    CURRENT_FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run the potential's filter backward in time."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    a, b, c = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    at = lane.to(tl.int64) + last
    trace = tl.full([BLOCK], 0.0, delta.dtype.element_ty)
    current = trace
    for _ in range(n_steps):
        given = tl.load(delta + at, mask=inside, other=0.0)
        if CURRENT_FIRST:
            trace = given + a * trace
            current = c * trace + b * current
        else:
            current = b * current + c * trace
            trace = given + a * trace
        tl.store(out + at, current, mask=inside)
        at -= lanes


@_kernel
def exponential_trace(
    spikes, constants, state, out, n_steps, lanes,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Count spikes with an exponential memory."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    keep = tl.load(constants)
    z = tl.load(state + lane, mask=inside, other=0.0)
    at = lane.to(tl.int64)
    for _ in range(n_steps):
        z = keep * z + tl.load(spikes + at, mask=inside, other=0).to(z.dtype)
        tl.store(out + at, z, mask=inside)
        at += lanes
    tl.store(state + lane, z, mask=inside)


@_kernel
def online(
    error, slope, trace, constants, rise_state, decay_state,
    total, n_steps, n_batch, n_out, n_in, BLOCK: tl.constexpr,
):  # fmt: skip
    """Accumulate error times eligibility: a program owns synapses of one neuron, all samples."""
    i = tl.program_id(0)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < n_in
    r, d = tl.load(constants), tl.load(constants + 1)
    gain_r, gain_d = tl.load(constants + 2), tl.load(constants + 3)
    synapse = i.to(tl.int64) * n_in + j
    together = tl.load(total + synapse, mask=inside, other=0.0)
    for s in range(n_batch):
        to_neuron = s * n_out + i.to(tl.int64)
        to_input = s * n_in + j.to(tl.int64)
        own = to_neuron * n_in + j
        rise = tl.load(rise_state + own, mask=inside, other=0.0)
        decay = tl.load(decay_state + own, mask=inside, other=0.0)
        for _ in range(n_steps):
            h = tl.load(slope + to_neuron) * tl.load(trace + to_input, mask=inside, other=0.0)
            rise = r * rise + gain_r * h
            decay = d * decay + gain_d * rise
            together += tl.load(error + to_neuron) * decay
            to_neuron += n_batch * n_out
            to_input += n_batch * n_in
        tl.store(rise_state + own, rise, mask=inside)
        tl.store(decay_state + own, decay, mask=inside)
    tl.store(total + synapse, together, mask=inside)
