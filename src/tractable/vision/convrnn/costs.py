"""What a graph costs, and graphs of equal cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from tractable.core.checks import check_choice, check_range
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.spec import ConvRNNSpec, SpecError

__all__ = ["GraphCost", "cost", "match_parameters"]


@dataclass(frozen=True)
class GraphCost:
    """What a movie costs.

    Attributes
    ----------
    parameters : int
        Trained numbers.
    units : int
        Numbers in the maps of all nodes.
    macs_per_step : int
        Multiply-accumulate operations of one step of one movie, all nodes.
    macs : int
        Of a movie, without what `ConvRNN.forward` reuses.
    peak_bytes : int
        Activations of one training step at ``batch_size``, float32, without checkpointing.
    """

    parameters: int
    units: int
    macs_per_step: int
    macs: int
    peak_bytes: int

    def macs_of_decision(self, decision_step: torch.Tensor) -> torch.Tensor:
        """Return the operations until each movie's decision."""
        return (decision_step + 1) * self.macs_per_step


def cost(net: ConvRNN, T: int, batch_size: int = 1) -> GraphCost:
    """Count what a movie of T steps costs, on shapes alone.

    Parameters
    ----------
    net : ConvRNN
        The graph.
    T : int
        Steps, >= 1.
    batch_size : int
        Movies of an update.

    Examples
    --------
    >>> from tractable.vision.convrnn import Node
    >>> spec = ConvRNNSpec.chain([Node("v1", 2)], n_classes=3)
    >>> cost(ConvRNN(spec, in_shape=(1, 4, 4)), T=1).macs
    384
    """
    check_range("T", T, 1)
    check_range("batch_size", batch_size, 1)
    twin = ConvRNN(net.spec, in_shape=net.in_shape, unroll=net.unroll, device="meta")
    counted = {"macs": 0, "numbers": 0}

    def count(module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
        counted["numbers"] += out.numel()
        if isinstance(module, nn.Conv2d):
            counted["macs"] += out.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            counted["macs"] += out.numel() * module.in_features

    counted_kinds = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.BatchNorm2d, nn.ELU)
    for module in twin.modules():
        if isinstance(module, counted_kinds):
            module.register_forward_hook(count)
    frame = torch.zeros(1, *net.in_shape, device="meta")
    with torch.no_grad():
        twin.step(frame)
    units = sum(math.prod(shape) for shape in net.map_shape.values())
    # Gates and products of a cell keep about as many numbers again as its convolutions put out.
    peak = 2 * counted["numbers"] * T * batch_size * 4
    return GraphCost(
        parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        units=units,
        macs_per_step=counted["macs"],
        macs=counted["macs"] * T,
        peak_bytes=peak,
    )


def match_parameters(
    spec: ConvRNNSpec,
    target: int,
    *,
    in_shape: tuple[int, int, int],
    quantity: Literal["parameters", "macs"] = "parameters",
    tol: float = 0.02,
) -> ConvRNNSpec:
    """Return the graph with its channels scaled until it has as many parameters as wanted.

    All channels are scaled by one factor; then each node's are moved by up to three to come closer.

    Parameters
    ----------
    spec : ConvRNNSpec
        The graph; sizes in its cells' options are kept.
    target : int
        Parameters, or operations of a step.
    in_shape : (int, int, int)
        Of a frame.
    quantity : str
        What is matched.
    tol : float
        Largest relative difference.

    Raises
    ------
    SpecError
        No widths come within ``tol``; the message says how near the nearest is.
    """
    check_choice("quantity", quantity, ("parameters", "macs"))
    check_range("target", target, 1)
    check_range("tol", tol, 0)

    def size(trial: ConvRNNSpec) -> int:
        net = ConvRNN(trial, in_shape=in_shape, device="meta")
        if quantity == "parameters":
            return sum(p.numel() for p in net.parameters())
        return cost(net, 1).macs_per_step

    low, high = 1e-2, 1.0
    while size(_scaled(spec, high)) < target and high < 1e4:
        high *= 2
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if size(_scaled(spec, middle)) < target else (low, middle)
    best = min((_scaled(spec, f) for f in (low, high)), key=lambda s: abs(size(s) - target))
    error = abs(size(best) - target)
    for trial in _neighbors(best):
        if error <= tol * target / 10:
            break
        if (other := abs(size(trial) - target)) < error:
            best, error = trial, other
    if error > tol * target:
        raise SpecError(
            f"no widths of this graph come within {100 * tol:g} % of {target} {quantity}: the "
            f"nearest has {size(best)}"
        )
    return best


def _scaled(spec: ConvRNNSpec, factor: float) -> ConvRNNSpec:
    def channels(n: int, norm: str | None) -> int:
        step = 8 if norm == "group8" else 1
        return max(step, step * round(n * factor / step))

    nodes = [replace(node, channels=channels(node.channels, node.norm)) for node in spec.nodes]
    return replace(spec, nodes=nodes, edges=list(spec.edges))


def _neighbors(spec: ConvRNNSpec) -> Iterator[ConvRNNSpec]:
    """Yield graphs with one or two nodes a little wider or narrower."""
    moves = [0, 1, -1, 2, -2, 3, -3]
    free = [i for i, node in enumerate(spec.nodes) if node.norm != "group8"][:6]
    pairs = [(i,) for i in free] + list(itertools.combinations(free, 2))
    for chosen in pairs:
        for steps in itertools.product(moves[1:], repeat=len(chosen)):
            nodes = list(spec.nodes)
            for i, step in zip(chosen, steps, strict=True):
                nodes[i] = replace(nodes[i], channels=max(1, nodes[i].channels + step))
            yield replace(spec, nodes=nodes, edges=list(spec.edges))
