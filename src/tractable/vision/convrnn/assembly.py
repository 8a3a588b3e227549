"""The modules of a graph and the shapes of the maps between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.vision.convrnn.cells.base import StepNorm
from tractable.vision.convrnn.layers import FeedbackFilters, Layer
from tractable.vision.convrnn.spec import ConvRNNSpec, SpecError

__all__ = ["Assembly"]


class Assembly(nn.Module):
    """Layers, filters of the feedback and readout of a graph, before anything runs.

    Parameters
    ----------
    spec : ConvRNNSpec
        The graph.
    in_shape : (int, int, int)
        Channels, height, width of a frame.
    unroll : str
        ``biological`` or ``engineering``.
    dt_ms : float
        Duration of a step, ms, > 0.
    device : str
        Where the weights are made; ``meta`` makes none and tries the shapes only.

    Raises
    ------
    SpecError
        The graph cannot be built; the message names node or edge.
    """

    def __init__(
        self,
        spec: ConvRNNSpec,
        in_shape: Sequence[int],
        unroll: Literal["biological", "engineering"],
        dt_ms: float,
        device: str | torch.device | None,
    ) -> None:
        super().__init__()
        check_choice("unroll", unroll, ("biological", "engineering"))
        check_range("dt_ms", dt_ms, 0, open_low=True)
        shape = tuple(in_shape)
        if len(shape) != 3:
            raise ValueError(f"in_shape must be (channels, height, width), got {shape}")
        for i, size in enumerate(shape):
            check_count(f"in_shape[{i}]", size)
        spec.validate()
        self.spec, self.in_shape, self.unroll, self.dt_ms = spec, shape, unroll, dt_ms
        self.order, self.first, self.last = spec.order(), spec.nodes[0].name, spec.nodes[-1].name
        self.feedforward_delay = 1 if unroll == "biological" else 0
        self.first_valid = spec.first_valid(feedforward_delay=self.feedforward_delay)
        names = [node.name for node in spec.nodes]
        self.sources = {
            name: [edge.src for edge in spec.incoming(name, "ff", "skip")] for name in names
        }
        numbered = [(str(i), edge) for i, edge in enumerate(spec.edges) if edge.kind == "fb"]
        self.feedback_in = {name: [(i, e) for i, e in numbered if e.dst == name] for name in names}
        self.layers, self.feedback = nn.ModuleDict(), nn.ModuleDict()
        self.map_shape: dict[str, tuple[int, int, int]] = {}
        self.input_size: dict[str, tuple[int, int]] = {}
        with torch.device(device or "cpu"):
            self._make_layers()
            self._make_feedback()
            self.head = self._make_head()
        self.prefix_nodes = self._prefix_nodes()
        self.step_norms = [m for m in self.modules() if isinstance(m, StepNorm)]

    def _make_layers(self) -> None:
        for name in self.order:
            node = self.spec.node(name)
            shapes: list[tuple[int, int, int]] = [self.map_shape[s] for s in self.sources[name]]
            if name == self.first:
                shapes.insert(0, self.in_shape)
            widths = [shape[0] for shape in shapes]
            if node.merge != "concat" and len(set(widths)) > 1:
                raise SpecError(
                    f"node {name!r}: inputs of {widths} channels cannot be added (merge='concat')"
                )
            width = sum(widths) if node.merge == "concat" else widths[0]
            # Skips are resized to the size of the direct input.
            direct = [e.kind == "ff" for e in self.spec.incoming(name, "ff", "skip")]
            size = shapes[direct.index(True) if True in direct else 0][1:]
            layer = Layer(node, width, size)
            self.layers[name], self.input_size[name] = layer, size
            self.map_shape[name] = (node.channels, *layer.size)

    def _make_feedback(self) -> None:
        for i, edge in enumerate(self.spec.edges):
            if edge.kind != "fb":
                continue
            cell: Any = self.layers[edge.dst].cell
            entries = ("input", "out") if cell is None else getattr(cell, "entries", ("input",))
            if edge.entry not in entries:
                raise SpecError(
                    f"edge {edge.src!r} -> {edge.dst!r}: entry {edge.entry!r} is not one of its "
                    f"cell's: {', '.join(entries)}"
                )
            into = self.map_shape[edge.dst][0]
            if edge.entry == "cell":
                into = cell.cell_channels
            if not into:
                raise SpecError(f"edge {edge.src!r} -> {edge.dst!r}: the cell has no state c")
            self.feedback[str(i)] = FeedbackFilters(edge, self.map_shape[edge.src][0], into)

    def _make_head(self) -> nn.Module:
        channels, height, width = self.map_shape[self.last]
        if self.spec.readout == "mean":
            if channels != self.spec.n_classes:
                raise SpecError(
                    f"node {self.last!r}: with readout 'mean' its channels are the logits, got "
                    f"{channels} for {self.spec.n_classes} classes"
                )
            return nn.Identity()
        if self.spec.readout == "flatten":
            return nn.Linear(channels * height * width, self.spec.n_classes)
        head = nn.Linear(channels, self.spec.n_classes)
        if not head.weight.is_meta:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        return head

    def _prefix_nodes(self) -> set[str]:
        """Return the nodes whose output depends on single frames alone."""
        found: set[str] = set()
        for name in self.order:
            below = all(source in found for source in self.sources[name])
            if below and not self.layers[name].remembers and not self.feedback_in[name]:
                found.add(name)
        return found
