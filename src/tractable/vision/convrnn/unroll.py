"""The loop over steps, and what of it need not be done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tractable.core.checks import check_range
from tractable.vision.convrnn.cells import resized
from tractable.vision.convrnn.layers import over_batch

if TYPE_CHECKING:
    from tractable.vision.convrnn.network import ConvRNN

__all__ = ["Unrolled"]

BLOW_UP = 1e4

Maps = dict[str, Tensor]
States = dict[str, tuple[Tensor, ...]]
Series = dict[str, list[Tensor]]


@dataclass
class Unrolled:
    """Where an unrolled network stands between two steps.

    Attributes
    ----------
    step : int
        Steps done.
    outputs : dict of str to Tensor
        Of every node at the last step.
    states : dict of str to tuple of Tensor
        Of every cell.
    """

    step: int = 0
    outputs: Maps = field(default_factory=dict)
    states: States = field(default_factory=dict)

    def detached(self) -> Unrolled:
        """Return the same numbers, cut off from the graph of gradients."""
        return Unrolled(
            self.step,
            {name: value.detach() for name, value in self.outputs.items()},
            {name: tuple(s.detach() for s in state) for name, state in self.states.items()},
        )


@dataclass
class Movie:
    """Distinct frames, which of them is shown at each step, and the number of the first step."""

    frames: list[Tensor]
    ids: list[int]
    begin: int = 0

    @property
    def n_batch(self) -> int:
        """Samples."""
        return len(self.frames[0])

    def nothing(self, shape: tuple[int, ...], n: int) -> Tensor:
        """Return maps of zeros like those of the frames."""
        return self.frames[0].new_zeros(n, *shape)


class Unroll:
    """One run over a movie.

    With ``reuse`` three things are done less often than once for each step and sample, and all
    numbers stay the same:

    - a node that depends on single frames alone (no cell, no feedback, nor below) is computed once
      for each distinct combination of frames, all of them in one call: `prefix`;
    - what no image has reached is computed for one sample;
    - a node's step is left out when it cannot reach the readout, or a layer asked for, in time.
    """

    def __init__(
        self, net: ConvRNN, movie: Movie, wanted: list[str], *, reuse: bool, skip: bool
    ) -> None:
        self.net, self.movie, self.wanted, self.reuse = net, movie, wanted, reuse
        n_steps = len(movie.ids)
        far = net.spec.steps_to(
            [net.last, *wanted], feedforward_delay=net.feedforward_delay
        )  # nodes that reach none of them are missing
        self.n_needed = {
            name: n_steps - far.get(name, n_steps) if skip else n_steps for name in net.order
        }
        self.table: Series = {}

    def prefix(self) -> None:
        """Compute the nodes that depend on single frames alone, for all steps."""
        net, ids = self.net, self.movie.ids
        seen: dict[str, list[int]] = {}  # of each node: at each step, the number of its input
        for name in net.order:
            if name not in net.prefix_nodes:
                continue
            keys = [
                (
                    ids[t] if name == net.first else -1,
                    *(seen[s][t - net.feedforward_delay] if t >= net.feedforward_delay else -1
                      for s in net.sources[name]),
                )
                for t in range(self.n_needed[name])
            ]  # fmt: skip
            distinct = {key: keys.index(key) for key in dict.fromkeys(keys)}
            outputs = self._at_once(name, list(distinct.values()))
            number = {key: i for i, key in enumerate(distinct)}
            seen[name] = [number[key] for key in keys]
            self.table[name] = [outputs[i] for i in seen[name]]

    def _at_once(self, name: str, steps: list[int]) -> list[Tensor]:
        """Return a node's outputs at some steps: those of the whole batch in one call."""
        net = self.net
        inputs = []
        for t in steps:
            at = t - net.feedforward_delay
            below = {s: self.table[s][at] for s in net.sources[name] if at >= 0}
            inputs.append(self.merged(name, below, t))
        outputs: dict[int, Tensor] = {}
        for n in {len(x) for x in inputs}:
            chosen = [i for i, x in enumerate(inputs) if len(x) == n]
            together = torch.cat([inputs[i] for i in chosen])
            y, _ = net.layers[name](together, None, {})
            outputs |= dict(zip(chosen, y.split(n), strict=True))
        return [outputs[i] for i in range(len(inputs))]

    def merged(self, name: str, sources: Maps, t: int) -> Tensor:
        """Return the merged feedforward input of a node at a step; missing sources are zero."""
        net = self.net
        n = 1 if self.reuse else self.movie.n_batch
        inputs = [
            sources[s] if s in sources else self.movie.nothing(net.map_shape[s], n)
            for s in net.sources[name]
        ]
        if name == net.first:
            inputs.insert(0, self.movie.frames[self.movie.ids[t]])
        if len(inputs) == 1:
            return inputs[0]
        n = max(len(x) for x in inputs)
        inputs = [over_batch(resized(x, net.input_size[name]), n) for x in inputs]
        if net.spec.node(name).merge == "concat":
            return torch.cat(inputs, 1)
        return torch.stack(inputs).sum(0)

    def feedback(self, name: str, before: Maps) -> Maps:
        """Return what feedback brings to a node, by where it enters."""
        net = self.net
        out: Maps = {}
        n = 1 if self.reuse else self.movie.n_batch
        for number, edge in net.feedback_in[name]:
            z = before.get(edge.src)
            z = self.movie.nothing(net.map_shape[edge.src], n) if z is None else z
            z = net.feedback[number](z, net.layers[name].cell_size)
            if edge.entry in out:
                z = out[edge.entry] + z
            out[edge.entry] = z
        return out

    def piece(
        self, begin: Unrolled, start: int, stop: int
    ) -> tuple[Unrolled, list[Tensor], Series]:
        """Do some steps in a row; return the state, the logits and the layers asked for."""
        net = self.net
        outputs, states = dict(begin.outputs), dict(begin.states)
        last: list[Tensor] = []
        kept: Series = {name: [] for name in self.wanted}
        for t in range(start, stop):
            for norm in net.step_norms:
                norm.step = begin.step + t - start
            now: Maps = {}
            for name in net.order:
                if t >= self.n_needed[name]:
                    continue
                if name in self.table:
                    now[name] = self.table[name][t]
                    continue
                sources = outputs if net.feedforward_delay else now
                x = self.merged(name, sources, t)
                now[name], state = net.layers[name](
                    x, states.get(name), self.feedback(name, outputs)
                )
                if state:
                    states[name] = state
            outputs = {**outputs, **now}
            last.append(now[net.last])
            for name in self.wanted:
                kept[name].append(now[name])
        return Unrolled(begin.step + stop - start, outputs, states), self.read(last), kept

    def read(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the logits of some steps; those of the whole batch in one call."""
        out: dict[int, Tensor] = {}
        for n in {len(y) for y in maps}:
            chosen = [i for i, y in enumerate(maps) if len(y) == n]
            logits = self.net.read(torch.cat([maps[i] for i in chosen]))
            out |= dict(zip(chosen, logits.split(n), strict=True))
        return [out[i] for i in range(len(maps))]


def cuts(n_steps: int, checkpoint: str, detach_every: int | None) -> list[int]:
    """Return where the movie is cut into pieces, 0 and its end included."""
    length = {"none": n_steps, "step": 1, "sqrt": max(1, math.isqrt(n_steps))}[checkpoint]
    cuts = set(range(0, n_steps, length))
    if detach_every is not None:
        check_range("detach_every", detach_every, 1)
        cuts |= set(range(0, n_steps, detach_every))
    return [*sorted(cuts), n_steps]


def refuse_blow_up(states: States) -> None:
    """Refuse states that have grown without bound: retention near 1 and a constant drive."""
    parts = [(name, s.detach()) for name, state in states.items() for s in state]
    if not parts or parts[0][1].is_meta:
        return
    largest = torch.stack([s.abs().amax().float() for _, s in parts])
    worst = int(largest.nan_to_num(nan=math.inf).argmax())
    if math.isnan(float(parts[worst][1].detach().abs().amax())):
        raise FloatingPointError(
            f"node {parts[worst][0]!r} has a state that is NaN: look for weights that are NaN or "
            "infinite, as after a training that diverged"
        )
    if not float(largest[worst]) <= BLOW_UP:
        raise FloatingPointError(
            f"node {parts[worst][0]!r} has a state of {float(largest[worst]):.3g} at the end: its "
            "memory keeps more than it loses. Use a norm, a smaller kept share (tau_bias), or a "
            "smaller learning rate"
        )
