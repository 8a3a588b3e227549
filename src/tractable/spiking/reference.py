"""The same neurons recorded by autograd: what the three-factor rule is compared with.

Two graphs. In ``srm`` the voltage is the filtered input alone: its value is that of the
simulation, its gradient that of W * eps; the reset has no gradient. This is the graph whose exact
gradient SuperSpike is, for one layer. In ``detached`` the recursion itself is recorded, with the
reset as a constant factor, so that a spike makes the voltage forget earlier input; this is usual
in backpropagation through time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tractable.core.checks import check_choice
from tractable.spiking.surrogate import surrogate_derivative

if TYPE_CHECKING:
    from tractable.spiking.feedback import Feedback
    from tractable.spiking.layer import LayerState, LIFLayer
    from tractable.spiking.network import SpikingNet

__all__ = ["GRAPHS", "gradient_angle", "lif_autograd", "spike"]

GRAPHS = ("detached", "srm")


class _Spike(torch.autograd.Function):
    """A step whose derivative is the surrogate."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, threshold: float, beta: float, surrogate: str) -> Tensor:
        ctx.save_for_backward(v)
        ctx.constants = threshold, beta, surrogate
        return (v > threshold).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = ctx.saved_tensors
        return grads[0] * surrogate_derivative(v, *ctx.constants), None, None, None


def spike(v: Tensor, threshold: float, beta: float, surrogate: str = "fast_sigmoid") -> Tensor:
    """Return 1 where ``v`` exceeds the threshold, with the surrogate as its derivative.

    Examples
    --------
    >>> v = torch.tensor([9.0, 11.0], requires_grad=True)
    >>> spike(v, 10.0, 1.0).sum().backward()
    >>> v.grad
    tensor([0.2500, 0.2500])
    """
    return _Spike.apply(v, threshold, beta, surrogate)


def lif_autograd(
    layer: LIFLayer,
    arrived: Tensor,
    before: LayerState,
    injected: Tensor | None = None,
    *,
    graph: str = "detached",
) -> tuple[Tensor, Tensor, Tensor | None, LayerState]:
    """Run a layer with its graph; memory grows with the number of steps.

    Parameters
    ----------
    layer : LIFLayer
        Its weights receive gradients.
    arrived : Tensor
        Input spikes at the step at which they arrive, (T, B, n_in).
    before : LayerState
        State at the start.
    injected : Tensor, optional
        Injected current, mV, (T, B, n_out).
    graph : str
        ``detached`` or ``srm``, see the module.

    Returns
    -------
    spikes, v, current, state
        As in `LayerOutput`; spikes are floating-point.
    """
    check_choice("graph", graph, GRAPHS)
    step, constants = layer.step, layer.params
    threshold, loop = constants.threshold, layer.recurrent_weight
    drive = arrived.to(layer.weight.dtype) @ layer.weight.T
    v, current, left = before.v, before.current, before.left
    free, free_current = torch.zeros_like(v), torch.zeros_like(v)  # without reset, for the graph
    spikes: list[Tensor] = []
    voltages, currents = [], []
    for t in range(len(drive)):
        arriving = drive[t]
        if loop is not None and step.delay > 0:
            past = before.own[t].to(drive.dtype) if t < step.delay else spikes[t - step.delay]
            arriving = arriving + past @ loop.T
        v, current = _advance(v, current, arriving, step)
        if injected is not None:
            v = v + (1 - step.a) * injected[t]
        v = torch.where(left > 0, torch.zeros_like(v), v)
        left = (left - 1).clamp_min(0)
        seen = v
        if graph == "srm":
            free, free_current = _advance(free, free_current, arriving, step)
            v, current = v.detach(), current.detach()
            seen = v + (free - free.detach())
        fired = spike(seen, threshold, constants.beta, layer.surrogate)
        hard = fired.detach() > 0
        voltages.append(v)
        spikes.append(fired)
        v = v - threshold * hard if layer.reset == "subtract" else torch.where(hard, 0 * v, v)
        left = torch.where(hard, torch.full_like(left, step.refractory), left)
        if loop is not None and step.delay == 0:
            current = current + fired @ loop.T
        currents.append(current)
    after = replace(before, v=v, current=current, left=left)
    return torch.stack(spikes), torch.stack(voltages), torch.stack(currents), after


def _advance(v: Tensor, current: Tensor, arriving: Tensor, step: Any) -> tuple[Tensor, Tensor]:
    if step.current_first:
        current = step.b * current + arriving
        return step.a * v + step.c * current, current
    return step.a * v + step.c * current, step.b * current + arriving


def gradient_angle(
    net: SpikingNet, spikes: Tensor, target: Tensor, feedback: Feedback
) -> list[float]:
    """Return the cosine between the rule's update and the surrogate gradient, per weight matrix.

    Parameters
    ----------
    net : SpikingNet
        Its ``.grad`` is left as it was.
    spikes, target : Tensor
        One window: inputs (T, B, n_in), wanted spikes (T, B, n_out).
    feedback : Feedback
        The pathway to compare with backpropagation through time.

    Returns
    -------
    list of float
        In the order of `SuperSpike.weights`; NaN where one of the two is zero.

    Notes
    -----
    The gradient is that of the graph ``srm`` over the window, computed by `BPTT`; (P12) explains
    what symmetric feedback leaves out.
    """
    from tractable.spiking.feedback import BPTT
    from tractable.spiking.rule import SuperSpike

    kept = [p.grad for p in net.parameters()]
    updates = []
    try:
        for pathway in (feedback, BPTT()):
            SuperSpike(net, feedback=pathway, chunk_steps=len(spikes)).window(spikes, target)
            updates.append([None if p.grad is None else p.grad.clone() for p in net.parameters()])
    finally:
        for p, grad in zip(net.parameters(), kept, strict=True):
            p.grad = grad
    return [_cosine(a, b) for a, b in zip(*updates, strict=True)]


def _cosine(a: Tensor | None, b: Tensor | None) -> float:
    if a is None or b is None:
        return float("nan")
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size else float("nan")
