"""A recurrent graph as data: nodes, edges, and what may not be said of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tractable.core.checks import nearest_names

__all__ = ["ConvRNNSpec", "Edge", "Node", "SpecError"]

KINDS = ("ff", "skip", "fb")
ENTRIES = ("input", "cell", "out")
ACTIVATIONS = ("identity", "elu")
NORMS = (None, "group", "group8", "batch", "batch_t")
MERGES = (None, "add", "concat")
READOUTS = ("flatten", "pool", "mean")
OPS = ("conv", "separable", "none")
NODE_ACTIVATIONS = ("elu", "relu", "identity")


class SpecError(ValueError):
    """A graph that cannot be built; the message names the node or the edge."""


@dataclass(frozen=True)
class Node:
    """One layer: convolution, norm, activation; cell; convolution, residual; pool.

    Parameters
    ----------
    name : str
        Unique; letters, digits, ``_``.
    channels : int
        Of the output.
    kernel, stride : int
        Of the first convolution.
    pool : int
        Stride of the max pool at the end; 1: none.
    norm : str, optional
        After the first convolution: ``group`` (one group: over channels and positions), ``group8``,
        ``batch`` (statistics of all steps mixed), ``batch_t`` (of each step).
    cell : str, optional
        A name known to `make_cell`.
    cell_args : mapping
        Its options.
    res : bool
        Add the node's input, through 1 x 1 filters and resized where shapes differ.
    merge : str, optional
        What to do with several feedforward inputs: ``add`` or ``concat``.
    op : str
        The first convolution: ``conv``, ``separable`` (depthwise, ELU, 1 x 1), ``none``.
    activation : str
        ``elu``, ``relu`` or ``identity``.
    padding : str
        Of the first convolution: ``same`` or ``valid``.
    post_kernel : int
        Size of a second convolution behind the cell, before the residual and one more activation;
        0: none.
    pool_kernel : int
        Size of the max pool's window; 0: that of ``pool``.
    """

    name: str
    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1
    norm: Literal["group", "group8", "batch", "batch_t"] | None = None
    cell: str | None = None
    cell_args: Mapping[str, Any] = field(default_factory=dict)
    res: bool = False
    merge: Literal["add", "concat"] | None = None
    op: Literal["conv", "separable", "none"] = "conv"
    activation: Literal["elu", "relu", "identity"] = "elu"
    padding: Literal["same", "valid"] = "same"
    post_kernel: int = 0
    pool_kernel: int = 0


@dataclass(frozen=True)
class Edge:
    """A connection from one node to another; a message takes one step on it.

    Parameters
    ----------
    src, dst : str
        Names of nodes.
    kind : str
        ``ff``: into the convolution; ``skip``: the same from a lower layer, resized; ``fb``: into
        the cell, through filters of its own, always a step late.
    entry : str
        Where feedback enters the cell: ``input``, or of a reciprocal-gated one ``cell``, ``out``.
        A node without a cell takes it behind its activation.
    kernel : int
        Size of the feedback's filters.
    activation : str
        After them: ``identity`` or ``elu``.
    separable : bool
        Depthwise filters, ELU, 1 x 1.
    """

    src: str
    dst: str
    kind: Literal["ff", "skip", "fb"] = "ff"
    entry: Literal["input", "cell", "out"] = "input"
    kernel: int = 1
    activation: Literal["identity", "elu"] = "identity"
    separable: bool = False


@dataclass
class ConvRNNSpec:
    """A graph of nodes and edges with a linear readout of the last node.

    Parameters
    ----------
    nodes : list of Node
        The first one sees the image, the last one is read out.
    edges : list of Edge
        Cycles contain a feedback edge.
    n_classes : int
        Logits.
    readout : str
        ``flatten`` (weights for all positions), ``pool`` (for their mean), or ``mean`` (the means
        of the last node's maps are the logits).

    Examples
    --------
    >>> spec = ConvRNNSpec.chain([Node("v1", 8, pool=2), Node("it", 8, cell="gru")], n_classes=3)
    >>> spec = spec.feedback("it", "v1")
    >>> spec.first_valid()
    {'v1': 0, 'it': 1}
    >>> ConvRNNSpec.from_json(spec.to_json()) == spec
    True
    """

    nodes: list[Node]
    edges: list[Edge]
    n_classes: int
    readout: Literal["flatten", "pool", "mean"] = "flatten"

    # --- making ------------------------------------------------------------------------------

    @classmethod
    def chain(
        cls,
        nodes: Sequence[Node],
        *,
        n_classes: int,
        readout: Literal["flatten", "pool", "mean"] = "flatten",
    ) -> ConvRNNSpec:
        """Return the graph in which each node feeds the next."""
        edges = [Edge(low.name, high.name) for low, high in itertools.pairwise(nodes)]
        return cls(list(nodes), edges, n_classes, readout)

    def feedback(
        self,
        src: str,
        dst: str,
        *,
        entry: Literal["input", "cell", "out"] = "input",
        kernel: int = 1,
        activation: Literal["identity", "elu"] = "identity",
        separable: bool = False,
    ) -> ConvRNNSpec:
        """Add a feedback edge; returns the same graph."""
        self.edges.append(Edge(src, dst, "fb", entry, kernel, activation, separable))
        return self

    def skip(self, src: str, dst: str) -> ConvRNNSpec:
        """Add a feedforward edge over layers; returns the same graph."""
        self.edges.append(Edge(src, dst, "skip"))
        return self

    # --- reading -----------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """Return a node by name.

        Raises
        ------
        SpecError
            There is none; the message names the nearest.
        """
        names = [node.name for node in self.nodes]
        if name not in names:
            near = nearest_names(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SpecError(f"there is no node {name!r}{hint} ({', '.join(names)})")
        return self.nodes[names.index(name)]

    def incoming(self, name: str, *kinds: str) -> list[Edge]:
        """Return the edges into a node, of the given kinds."""
        return [edge for edge in self.edges if edge.dst == name and edge.kind in kinds]

    def first_valid(self, *, feedforward_delay: int = 1) -> dict[str, int]:
        """Return the step at which each node first depends on the image (C1).

        Parameters
        ----------
        feedforward_delay : int
            Steps on feedforward edges: 1, or 0 in a graph whose feedforward sweep takes no time;
            feedback takes 1.
        """
        return self._distances([self.nodes[0].name], feedforward_delay, forward=True)

    def steps_to(self, targets: Iterable[str], *, feedforward_delay: int = 1) -> dict[str, int]:
        """Return in how many steps each node's activity reaches the nearest of the targets."""
        return self._distances(list(targets), feedforward_delay, forward=False)

    def _distances(self, starts: list[str], delay: int, *, forward: bool) -> dict[str, int]:
        """Shortest paths: go over all edges until nothing becomes shorter."""
        found = dict.fromkeys(starts, 0)
        shorter = True
        while shorter:
            shorter = False
            for edge in self.edges:
                tail, head = (edge.src, edge.dst) if forward else (edge.dst, edge.src)
                if tail not in found:
                    continue
                steps = found[tail] + (1 if edge.kind == "fb" else delay)
                if steps < found.get(head, steps + 1):
                    found[head], shorter = steps, True
        return {node.name: found[node.name] for node in self.nodes if node.name in found}

    def order(self) -> list[str]:
        """Return the nodes so that each stands behind those that feed it without delay.

        Raises
        ------
        SpecError
            The feedforward edges have a cycle; the message names its nodes.
        """
        left = {
            node.name: {edge.src for edge in self.incoming(node.name, "ff", "skip")}
            for node in self.nodes
        }
        out: list[str] = []
        while left:
            free = [name for name, sources in left.items() if not sources - set(out)]
            if not free:
                raise SpecError(
                    f"the feedforward edges among {', '.join(left)} form a cycle: a cycle needs a "
                    "feedback edge (kind 'fb')"
                )
            out += free
            for name in free:
                del left[name]
        return out

    # --- refusing ----------------------------------------------------------------------------

    def validate(self, in_shape: Sequence[int] | None = None) -> None:
        """Refuse a graph that cannot be built.

        Parameters
        ----------
        in_shape : (int, int, int), optional
            Channels, height, width of the image: then the shapes of all maps are tried too.

        Raises
        ------
        SpecError
            The message names the node or the edge.
        """
        if not self.nodes:
            raise SpecError("nodes must hold a node at least, got none")
        if not isinstance(self.n_classes, int) or self.n_classes < 1:
            raise SpecError(f"n_classes must be a positive integer, got {self.n_classes!r}")
        _one_of("readout", self.readout, READOUTS)
        names = [node.name for node in self.nodes]
        for node in self.nodes:
            _check_node(node, names)
        for edge in self.edges:
            self._check_edge(edge, names)
        self.order()
        reached = self.first_valid()
        for node in self.nodes:
            if node.name not in reached:
                raise SpecError(f"node {node.name!r} has no path from the input node {names[0]!r}")
            several = len(self.incoming(node.name, "ff", "skip"))
            if several > 1 and node.merge is None:
                raise SpecError(
                    f"node {node.name!r} has {several} feedforward inputs: say how they merge "
                    "(merge='add' or 'concat')"
                )
        if in_shape is not None:
            from tractable.vision.convrnn.network import ConvRNN

            ConvRNN(self, in_shape=tuple(in_shape), device="meta")

    def _check_edge(self, edge: Edge, names: list[str]) -> None:
        where = f"edge {edge.src!r} -> {edge.dst!r}"
        for side in (edge.src, edge.dst):
            if side not in names:
                near = nearest_names(side, names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise SpecError(f"{where}: there is no node {side!r}{hint}")
        for name, value, allowed in (
            ("kind", edge.kind, KINDS), ("entry", edge.entry, ENTRIES),
            ("activation", edge.activation, ACTIVATIONS),
        ):  # fmt: skip
            _one_of(f"{where}: {name}", value, allowed)
        if not isinstance(edge.kernel, int) or edge.kernel < 1:
            raise SpecError(f"{where}: kernel must be a positive integer, got {edge.kernel!r}")
        twice = [e for e in self.edges if (e.src, e.dst, e.kind) == (edge.src, edge.dst, edge.kind)]
        if len(twice) > 1:
            raise SpecError(f"{where} is given twice")

    # --- JSON --------------------------------------------------------------------------------

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the graph as JSON, and write it to a file."""
        text = json.dumps(asdict(self), indent=1, default=_plain)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> ConvRNNSpec:
        """Read a graph from JSON text or a file.

        Raises
        ------
        SpecError
            It is no JSON, or has an unknown field; the message names it.
        """
        text = str(source)
        if isinstance(source, Path) or not text.lstrip().startswith("{"):
            try:
                text = Path(source).read_text(encoding="utf-8")
            except OSError as error:
                raise SpecError(f"source: cannot read {source}: {error}") from error
        try:
            content = json.loads(text)
        except ValueError as error:
            raise SpecError(f"source: this is no JSON: {error}") from error
        entries = _known(content, cls, "the graph")
        for name in ("nodes", "edges"):
            if not isinstance(entries.get(name, []), list):
                raise SpecError(f"{name} must be a JSON array, got {entries[name]!r}")
        nodes = [_build(Node, item, "a node") for item in entries.pop("nodes", [])]
        edges = [_build(Edge, item, "an edge") for item in entries.pop("edges", [])]
        if "n_classes" not in entries:
            raise SpecError("the graph lacks n_classes")
        spec = cls(nodes, edges, **entries)
        spec.validate()
        return spec


def _check_node(node: Node, names: list[str]) -> None:
    where = f"node {node.name!r}"
    if not isinstance(node.name, str) or not node.name.isidentifier():
        raise SpecError(f"{where}: a name is made of letters, digits and _")
    if names.count(node.name) > 1:
        raise SpecError(f"{where} is given twice")
    for name in ("channels", "kernel", "stride", "pool", "post_kernel", "pool_kernel"):
        value, low = getattr(node, name), 0 if name.endswith("_kernel") else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise SpecError(f"{where}: {name} must be an integer of at least {low}, got {value!r}")
    for name, allowed in (
        ("norm", NORMS), ("merge", MERGES), ("op", OPS), ("activation", NODE_ACTIVATIONS),
        ("padding", ("same", "valid")),
    ):  # fmt: skip
        _one_of(f"{where}: {name}", getattr(node, name), allowed)
    if node.op == "none" and node.stride > 1:
        raise SpecError(f"{where}: op 'none' has no convolution for stride {node.stride} (pool?)")
    if node.pool == 1 and node.pool_kernel > 1:
        raise SpecError(f"{where}: pool_kernel {node.pool_kernel} without a pool (pool is 1)")
    if node.norm == "group8" and node.channels % 8:
        raise SpecError(f"{where}: norm 'group8' needs a multiple of 8 channels")
    if node.cell_args and node.cell is None:
        raise SpecError(f"{where}: cell_args without a cell")


def _plain(value: Any) -> Any:
    """Return what JSON knows: numbers and arrays of NumPy as Python's, mappings as dicts."""
    return value.tolist() if hasattr(value, "tolist") else dict(value)


def _one_of(what: str, value: Any, allowed: Iterable[Any]) -> None:
    if value not in tuple(allowed):
        listed = ", ".join(map(repr, allowed))
        raise SpecError(f"{what} must be one of {listed}, got {value!r}")


def _known(content: Any, cls: type, what: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise SpecError(f"{what} must be a JSON object, got {type(content).__name__}")
    names = {item.name for item in fields(cls)}
    for name in content:
        if name not in names:
            near = nearest_names(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SpecError(f"{what} has an unknown field {name!r}{hint}")
    return dict(content)


def _build(cls: Any, content: Any, what: str) -> Any:
    entries = _known(content, cls, what)
    try:
        return cls(**entries)
    except TypeError as error:
        raise SpecError(f"{what}: {error}") from error
