"""What a graph costs, and graphs of equal cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.spec import ConvRNNSpec, Node, SpecError

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
        Multiply-accumulate operations of one step, all nodes.
    macs : int
        Of a movie as `ConvRNN.forward` runs it, without what it reuses.
    macs_by_node : dict of str to int
        Of ``macs``; feedback filters count to the node that they enter, ``readout`` is extra.
    peak_bytes : int
        Predicted memory of one update at ``batch_size``: what is kept for the gradient, float32.
    """

    parameters: int
    units: int
    macs_per_step: int
    macs: int
    macs_by_node: dict[str, int]
    peak_bytes: int

    def macs_of_decision(self, decision_step: torch.Tensor) -> torch.Tensor:
        """Return the operations until each movie's decision: its steps up to there."""
        return (decision_step + 1) * self.macs_per_step


def cost(
    net: ConvRNN,
    T: int,
    batch_size: int = 1,
    *,
    image_off: int | None = None,
    movie: bool = False,
    checkpoint: Literal["none", "step", "sqrt"] = "none",
) -> GraphCost:
    """Count what T steps cost, on shapes alone: nothing is computed.

    Parameters
    ----------
    net : ConvRNN
        The graph.
    T : int
        Steps, long enough for the readout to be reached.
    batch_size : int
        Movies of an update.
    image_off, checkpoint
        As in `ConvRNN.forward`.
    movie : bool
        All frames differ; else a still image and gray.

    Examples
    --------
    >>> from tractable.vision.convrnn import ConvRNNSpec, Node
    >>> spec = ConvRNNSpec.chain([Node("v1", 2)], n_classes=3)
    >>> counted = cost(ConvRNN(spec, in_shape=(1, 4, 4)), T=4)
    >>> counted.macs_per_step, counted.macs  # one convolution serves all four readouts
    (384, 672)
    """
    check_count("T", T)
    check_count("batch_size", batch_size)
    check_choice("checkpoint", checkpoint, ("none", "step", "sqrt"))
    twin = ConvRNN(net.spec, in_shape=net.in_shape, unroll=net.unroll, device="meta")
    shape = (batch_size, T, *net.in_shape) if movie else (batch_size, *net.in_shape)
    call: dict[str, Any] = {} if movie else {"T": T, "image_off": image_off}
    x = torch.zeros(shape, device="meta")
    per_step = macs_per_step(twin)
    saved = _Saved()
    with saved:
        out = twin(x, **call, keep_state=True)
    # Counted apart: without a state to keep, steps that no readout sees are not computed.
    with torch.no_grad(), _Operations(twin) as counted:
        twin(x, **call)
    assert out.state is not None
    kept = [*out.state.outputs.values(), *(s for parts in out.state.states.values() for s in parts)]
    between = sum(4 * z.numel() for z in kept)
    length = {"none": T, "step": 1, "sqrt": max(1, math.isqrt(T))}[checkpoint]
    n_pieces = -(-T // length)
    return GraphCost(
        parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        units=sum(math.prod(shape) for shape in net.map_shape.values()),
        macs_per_step=per_step,
        macs=sum(counted.by_node.values()) // batch_size,
        macs_by_node={name: macs // batch_size for name, macs in counted.by_node.items()},
        peak_bytes=saved.bytes * length // T + (between * n_pieces if n_pieces > 1 else 0),
    )


def macs_per_step(net: ConvRNN) -> int:
    """Count the multiplications of one step of a network on the device ``meta``."""
    with torch.no_grad(), _Operations(net) as counted:
        net.step(torch.zeros(1, *net.in_shape, device="meta"))
    return sum(counted.by_node.values())


class _Operations:
    """Counts multiplications of convolutions and linear layers while it is entered, by node."""

    def __init__(self, net: ConvRNN) -> None:
        self.net, self.by_node = net, dict.fromkeys([*net.order, "readout"], 0)
        self.handles: list[Any] = []

    def __enter__(self) -> _Operations:
        for name, module in self.net.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                parts = name.split(".")
                node = "readout" if parts[0] == "head" else parts[1]
                if parts[0] == "feedback":
                    node = self.net.spec.edges[int(parts[1])].dst
                self.handles.append(module.register_forward_hook(self._count(node)))
        return self

    def _count(self, node: str) -> Any:
        def count(module: Any, inputs: tuple[Any, ...], out: torch.Tensor) -> None:
            self.by_node[node] += out.numel() * module.weight[0].numel()

        return count

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()


class _Saved(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that are kept for the gradient, each storage once, weights left out."""

    def __init__(self) -> None:
        self.bytes, self._seen, self._alive = 0, set[int](), list[Any]()
        super().__init__(self._pack, lambda x: x)

    def _pack(self, x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in self._seen and not isinstance(x, nn.Parameter):
            self._seen.add(storage._cdata)
            self._alive.append(storage)
            self.bytes += storage.nbytes()
        return x


def match_parameters(
    spec: ConvRNNSpec,
    target: int | ConvRNNSpec,
    *,
    in_shape: tuple[int, int, int],
    knob: Literal["channels"] | Sequence[str] = "channels",
    quantity: Literal["parameters", "macs"] = "parameters",
    tol: float = 0.02,
) -> ConvRNNSpec:
    """Return the graph with its channels scaled until it is as large as another: a fair control.

    All channels are scaled by one factor; then those of one or two nodes are moved by up to three
    to come closer.

    Parameters
    ----------
    spec : ConvRNNSpec
        The graph; sizes in its cells' options are kept.
    target : int or ConvRNNSpec
        Parameters, or operations of a step; or a graph that has them.
    in_shape : (int, int, int)
        Of a frame.
    knob : str or sequence of str
        ``channels``: of all nodes; or the names of the nodes whose channels may change.
    quantity : str
        What is matched.
    tol : float
        Largest relative difference.

    Raises
    ------
    SpecError
        No widths come within ``tol``; the message says how near the nearest is.

    Examples
    --------
    >>> from tractable.vision.convrnn import Node
    >>> def chain(cell):
    ...     nodes = [Node("v1", 16), Node("v2", 12, cell=cell)]
    ...     return ConvRNNSpec.chain(nodes, n_classes=10, readout="pool")
    >>> gru = match_parameters(chain("gru"), chain("rgc"), in_shape=(1, 8, 8))
    >>> [node.channels for node in gru.nodes]
    [17, 11]
    """
    check_choice("quantity", quantity, ("parameters", "macs"))
    check_range("tol", tol, 0)
    names = [node.name for node in spec.nodes] if knob == "channels" else list(knob)
    for name in names:
        spec.node(name)
    if spec.readout == "mean":  # the last node's channels are the classes
        names = [name for name in names if name != spec.nodes[-1].name]
    names = [name for name in names if spec.node(name).op != "none"]  # they have their input's

    def size(trial: ConvRNNSpec) -> int:
        net = ConvRNN(trial, in_shape=in_shape, device="meta")
        if quantity == "parameters":
            return sum(p.numel() for p in net.parameters())
        return macs_per_step(net)

    wanted = size(target) if isinstance(target, ConvRNNSpec) else target
    check_count("target", wanted)
    low, high = 1e-2, 1.0
    while size(_scaled(spec, names, high)) < wanted and high < 1e3:
        high *= 2
    for _ in range(20):
        middle = math.sqrt(low * high)
        under = size(_scaled(spec, names, middle)) < wanted
        low, high = (middle, high) if under else (low, middle)
    best = min((_scaled(spec, names, f) for f in (low, high)), key=lambda s: abs(size(s) - wanted))
    error = abs(size(best) - wanted)
    for trial in _neighbors(best, names):
        if error <= tol * wanted / 10:
            break
        try:
            other = abs(size(trial) - wanted)
        except SpecError:  # maps that are added must stay equally wide
            continue
        if other < error:
            best, error = trial, other
    if error > tol * wanted:
        raise SpecError(
            f"no widths of this graph come within {100 * tol:g} % of {wanted} {quantity}: the "
            f"nearest has {size(best)}"
        )
    return best


def _scaled(spec: ConvRNNSpec, names: list[str], factor: float) -> ConvRNNSpec:
    nodes = [
        replace(node, channels=_width(node, node.channels * factor)) if node.name in names else node
        for node in spec.nodes
    ]
    return _followed(replace(spec, nodes=nodes, edges=list(spec.edges)))


def _followed(spec: ConvRNNSpec) -> ConvRNNSpec:
    """Give nodes without a convolution the channels of what they take."""
    wide = {node.name: node.channels for node in spec.nodes}
    for name in spec.order():
        node, below = spec.node(name), [wide[e.src] for e in spec.incoming(name, "ff", "skip")]
        if node.op == "none" and below and name != spec.nodes[0].name:
            wide[name] = sum(below) if node.merge == "concat" else below[0]
    return replace(spec, nodes=[replace(node, channels=wide[node.name]) for node in spec.nodes])


def _width(node: Node, channels: float) -> int:
    step = 8 if node.norm == "group8" else 1
    return max(step, step * round(channels / step))


def _neighbors(spec: ConvRNNSpec, names: list[str]) -> Iterator[ConvRNNSpec]:
    """Yield graphs with one or two nodes a little wider or narrower."""
    free = [i for i, node in enumerate(spec.nodes) if node.name in names][-6:]
    for chosen in [*((i,) for i in free), *itertools.combinations(free, 2)]:
        for steps in itertools.product((1, -1, 2, -2, 3, -3), repeat=len(chosen)):
            nodes = list(spec.nodes)
            for i, step in zip(chosen, steps, strict=True):
                unit = 8 if nodes[i].norm == "group8" else 1
                wide = _width(nodes[i], nodes[i].channels + step * unit)
                nodes[i] = replace(nodes[i], channels=wide)
            yield _followed(replace(spec, nodes=nodes, edges=list(spec.edges)))
