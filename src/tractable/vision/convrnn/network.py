"""A recurrent graph unrolled in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint as recompute

from tractable.core.checks import check_choice, check_range
from tractable.vision.convrnn.cells import SameConv2d, make_cell
from tractable.vision.convrnn.decoders import Decoder
from tractable.vision.convrnn.spec import ConvRNNSpec, Edge, Node, SpecError

__all__ = ["ConvRNN", "Output", "TimeSeries", "Unrolled"]

BLOW_UP = 1e4
OFF_VALUE = 0.5

Maps = dict[str, Tensor]
States = dict[str, tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """Activity of a layer.

    Attributes
    ----------
    values : Tensor
        (B, T, C, H, W).
    valid : Tensor
        (T,), bool: from the first step on that depends on the image.
    """

    values: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """What a network answers.

    Attributes
    ----------
    logits : Tensor
        By the decoder, (B, K).
    logits_t : Tensor
        Of each step, (B, T, K).
    valid : Tensor
        (T,), bool: steps whose logits depend on the image.
    decision_step : Tensor
        (B,).
    features : dict of str to TimeSeries
        Of the layers asked for.
    states : dict of str to tuple of Tensor
        Of every cell after the last step.
    """

    logits: Tensor
    logits_t: Tensor
    valid: Tensor
    decision_step: Tensor
    features: dict[str, TimeSeries]
    states: States


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


class Layer(nn.Module):
    """A node: convolution, norm, ELU; cell; residual; pool."""

    def __init__(self, node: Node, channels_in: int) -> None:
        super().__init__()
        self.node = node
        self.conv = nn.Conv2d(
            channels_in, node.channels, node.kernel, node.stride, padding=node.kernel // 2
        )
        self.norm: nn.Module | None = None
        if node.norm == "batch":
            self.norm = nn.BatchNorm2d(node.channels)
        elif node.norm is not None:
            self.norm = nn.GroupNorm(8 if node.norm == "group8" else 1, node.channels)
        self.cell = None
        if node.cell is not None:
            options = dict(node.cell_args)
            if node.cell == "rgc":
                options.setdefault("residual_channels", channels_in)
            try:
                self.cell = make_cell(node.cell, node.channels, node.channels, **options)
            except ValueError as error:
                raise SpecError(f"node {node.name!r}: {error}") from error
        self.project: nn.Module | None = None
        if node.res and channels_in != node.channels:
            self.project = nn.Conv2d(channels_in, node.channels, 1)

    def drive(self, x: Tensor) -> Tensor:
        """Return what the cell sees."""
        y = self.conv(x)
        return functional.elu(y if self.norm is None else self.norm(y))

    def finish(self, y: Tensor, raw: Tensor) -> Tensor:
        """Add the residual and pool."""
        if self.node.res:
            side = raw if self.project is None else self.project(raw)
            y = y + resized(side, y.shape[2:])
        return functional.max_pool2d(y, self.node.pool) if self.node.pool > 1 else y


class Feedback(nn.Module):
    """The filters of a feedback edge; with identity activation they start at no effect."""

    def __init__(self, edge: Edge, channels_in: int, channels: int) -> None:
        super().__init__()
        self.activation = edge.activation
        self.filters: nn.Module
        if edge.separable:
            last = nn.Conv2d(channels_in, channels, 1)
            depthwise = nn.Conv2d(
                channels_in, channels_in, edge.kernel, padding="same", groups=channels_in
            )
            self.filters = nn.Sequential(depthwise, nn.ELU(), last)
        else:
            self.filters = last = SameConv2d(channels_in, channels, edge.kernel)
        if edge.activation == "identity":
            nn.init.zeros_(last.weight)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        y = self.filters(resized(x, size))
        return functional.elu(y) if self.activation == "elu" else y


class ConvRNN(nn.Module):
    r"""A graph of convolutional recurrent layers, unrolled in time.

    With ``unroll="biological"`` a message takes one step (10 ms) on every edge: a node reads its
    predecessors' outputs of the step before, and the first node the frame. A node at l edges from
    the first one is driven by the image from step l on (C1); before, it emits what its biases make
    of nothing, and its `TimeSeries` is marked invalid. With ``"engineering"`` the feedforward edges
    take no time and only cells and feedback remember.

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

    References
    ----------
    Nayebi et al. 2018, arXiv:1807.00053, section 2.

    Examples
    --------
    >>> spec = ConvRNNSpec.chain(
    ...     [Node("v1", 8, pool=2), Node("it", 8, cell="rgc")], n_classes=10)
    >>> net = ConvRNN(spec, in_shape=(1, 8, 8))
    >>> out = net(torch.zeros(2, 1, 8, 8), T=4, layers=["it"])
    >>> out.logits.shape, out.features["it"].valid
    (torch.Size([2, 10]), tensor([False,  True,  True,  True]))
    """

    def __init__(
        self,
        spec: ConvRNNSpec,
        *,
        in_shape: Sequence[int],
        unroll: Literal["biological", "engineering"] = "biological",
        dt_ms: float = 10.0,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        check_choice("unroll", unroll, ("biological", "engineering"))
        check_range("dt_ms", dt_ms, 0, open_low=True)
        shape = tuple(in_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"in_shape must be (channels, height, width), got {shape}")
        spec.validate()
        self.spec, self.in_shape, self.unroll, self.dt_ms = spec, shape, unroll, dt_ms
        self.order = spec.order()
        reached = spec.first_valid()
        late = 1 if unroll == "biological" else 0
        # Without delay on feedforward edges every node is driven at the first step.
        self.first_valid = {name: steps * late for name, steps in reached.items()}
        self._sources = {
            node.name: [edge.src for edge in spec.incoming(node.name, "ff", "skip")]
            for node in spec.nodes
        }
        self._feedback_in = {
            node.name: [(i, e) for i, e in enumerate(spec.edges) if e.dst == node.name
                        and e.kind == "fb"]
            for node in spec.nodes
        }  # fmt: skip
        with torch.device(device or "cpu"):
            self._build()
        self._static = self._static_nodes()

    def _build(self) -> None:
        """Make the layers in order, with the shapes of their maps tried on nothing."""
        spec = self.spec
        self.layers = nn.ModuleDict()
        self.map_shape: dict[str, tuple[int, ...]] = {}  # of a node's output
        self.cell_size: dict[str, tuple[int, ...]] = {}  # height and width where its cell is
        channels: dict[str, int] = {}
        for name in self.order:
            node = spec.node(name)
            sources = self._sources[name]
            inputs = [(channels[s], *self.map_shape[s][1:]) for s in sources]
            if name == spec.nodes[0].name:
                inputs = [self.in_shape, *inputs]
            widths = [shape[0] for shape in inputs]
            if node.merge == "concat":
                width = sum(widths)
            elif len(set(widths)) > 1:
                raise SpecError(f"node {name!r}: inputs of {widths} channels cannot be added")
            else:
                width = widths[0]
            size = max((shape[1:] for shape in inputs), key=lambda s: s[0] * s[1])
            if len(inputs) > 1:  # skips are resized to the direct input
                size = inputs[0][1:]
            layer = Layer(node, width)
            self.layers[name] = layer
            channels[name] = node.channels
            inside = _conv_size(size, node.kernel, node.stride)
            outside = tuple(n // node.pool for n in inside)
            if min(outside) < 1:
                raise SpecError(
                    f"node {name!r}: a map of {inside[0]} x {inside[1]} is too small for its pool "
                    f"of {node.pool}"
                )
            self.cell_size[name], self.map_shape[name] = inside, (node.channels, *outside)
            self._input_size = getattr(self, "_input_size", {})
            self._input_size[name] = size
            if node.cell == "lstm" and isinstance(node.cell_args.get("peephole"), list):
                layer.cell = make_cell("lstm", node.channels, node.channels,
                                       **{**node.cell_args, "peephole": tuple(inside)})  # fmt: skip
        self.feedback = nn.ModuleDict()
        for i, edge in enumerate(spec.edges):
            if edge.kind != "fb":
                continue
            cell = self.layers[edge.dst].cell  # type: ignore[union-attr]  # a Layer
            where = f"edge {edge.src!r} -> {edge.dst!r}"
            entries = getattr(cell, "entries", ("input",))
            if edge.entry not in entries:
                raise SpecError(
                    f"{where}: entry {edge.entry!r} is not one of its cell's: {', '.join(entries)}"
                )
            into = channels[edge.dst]
            if edge.entry == "cell":
                into = cell.cell_channels  # type: ignore[union-attr]  # the reciprocal-gated cell
            self.feedback[str(i)] = Feedback(edge, channels[edge.src], into)
        last = self.map_shape[spec.nodes[-1].name]
        width = math.prod(last) if spec.readout == "flatten" else last[0]
        self.head = nn.Linear(width, spec.n_classes)

    def _static_nodes(self) -> set[str]:
        """Return the nodes whose output depends on one frame alone."""
        static: set[str] = set()
        for name in self.order:
            layer = self.layers[name]
            memory = layer.cell is not None and layer.node.cell != "feedforward"
            moving = layer.node.norm == "batch"  # its statistics are of the step
            lower = all(source in static for source in self._sources[name])
            if lower and not memory and not moving and not self._feedback_in[name]:
                static.add(name)
        return static

    # --- running -----------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        T: int | None = None,
        image_off: int | None = None,
        *,
        layers: Iterable[str] = (),
        decoder: str | Decoder = "last",
        off_value: float = OFF_VALUE,
        reuse: bool = True,
        checkpoint: Literal["none", "step", "sqrt"] = "none",
        detach_every: int | None = None,
        state: Unrolled | None = None,
    ) -> Output:
        """Run the network on images or movies.

        Parameters
        ----------
        x : Tensor
            Images (B, C, H, W), or movies (B, T, C, H, W).
        T : int, optional
            Steps for images; default the shortest movie whose last step is driven by the image.
        image_off : int, optional
            Steps with the image, then gray; for images, default all.
        layers : iterable of str
            Nodes whose activity is returned.
        decoder : str or Decoder
            See `Decoder`; a trained one is a module.
        off_value : float
            Gray, in the units of x: for normalized images the normalized gray, or use `make_movie`.
        reuse : bool
            Compute what depends on one frame alone once for each distinct frame, and what no image
            has reached once for the batch. The numbers are the same.
        checkpoint : str
            Memory of training: ``none``; ``step``: keep states between steps and compute the rest
            again; ``sqrt``: keep them between about sqrt(T) pieces.
        detach_every : int, optional
            Cut the graph after so many steps: truncated backpropagation through time.
        state : Unrolled, optional
            Go on from there, for movies in pieces.

        Returns
        -------
        Output

        Raises
        ------
        ValueError
            Shapes that do not fit, T shorter than the way to the readout, image_off above T.
        FloatingPointError
            A node's activity exceeds 10,000; the message names it.
        """
        check_choice("checkpoint", checkpoint, ("none", "step", "sqrt"))
        frames, ids = self._frames(x, T, image_off, off_value, reuse)
        wanted = [self.spec.node(name).name for name in layers]
        done = Unrolled() if state is None else Unrolled(
            state.step, dict(state.outputs), dict(state.states)
        )  # fmt: skip
        n_steps = len(ids)
        piece = {"none": n_steps, "step": 1, "sqrt": max(1, math.isqrt(n_steps))}[checkpoint]
        if detach_every is not None:
            check_range("detach_every", detach_every, 1)
            piece = min(piece, detach_every)
        logits: list[Tensor] = []
        features: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start in range(0, n_steps, piece):
            part = ids[start : start + piece]
            run = _Piece(self, frames, part, wanted, reuse and state is None, n_steps)
            if checkpoint != "none" and torch.is_grad_enabled():
                result = recompute(run, done, use_reentrant=False)
            else:
                result = run(done)
            done, seen, kept = result
            logits += seen
            for name in wanted:
                features[name] += kept[name]
            if detach_every is not None and done.step % detach_every == 0:
                done = Unrolled(
                    done.step,
                    {name: value.detach() for name, value in done.outputs.items()},
                    {name: tuple(v.detach() for v in s) for name, s in done.states.items()},
                )
        offset = 0 if state is None else state.step
        logits_t = torch.stack([_whole(z, frames.n_batch) for z in logits], 1)
        steps = torch.arange(offset, offset + n_steps, device=logits_t.device)
        valid = steps >= self.first_valid[self.spec.nodes[-1].name]
        read = decoder if isinstance(decoder, Decoder) else Decoder(decoder)
        answer, decided = read.to(logits_t.device)(logits_t, valid)
        series = {
            name: TimeSeries(
                torch.stack([_whole(z, frames.n_batch) for z in values], 1),
                steps >= self.first_valid[name],
            )
            for name, values in features.items()
        }
        return Output(answer, logits_t, valid, decided, series, done.states)

    def _frames(
        self, x: Tensor, T: int | None, image_off: int | None, off_value: float, reuse: bool
    ) -> tuple[_Frames, list[int]]:
        if x.ndim == 5:
            if tuple(x.shape[2:]) != self.in_shape:
                raise ValueError(
                    f"x must have frames of shape {self.in_shape}, got {tuple(x.shape[2:])}"
                )
            if T is not None and x.shape[1] != T:
                raise ValueError(f"T is {T} but the movie has {x.shape[1]} steps")
            if image_off is not None:
                raise ValueError("image_off is for images; a movie says itself what is shown")
            self._check_length(x.shape[1])
            return _Frames([x[:, t] for t in range(x.shape[1])], len(x)), list(range(x.shape[1]))
        if x.ndim != 4 or tuple(x.shape[1:]) != self.in_shape:
            raise ValueError(
                f"x must have shape (B, {', '.join(map(str, self.in_shape))}), or that of a movie "
                f"with T before them, got {tuple(x.shape)}"
            )
        n = self.first_valid[self.spec.nodes[-1].name] + 1 if T is None else T
        check_range("T", n, 1)
        self._check_length(n)
        off = n if image_off is None else image_off
        if not 1 <= off <= n:
            raise ValueError(f"image_off must be 1 .. T = {n}, got {off}")
        gray = torch.full_like(x, off_value)
        if not reuse:
            return _Frames([x if t < off else gray for t in range(n)], len(x)), list(range(n))
        return _Frames([x, gray], len(x)), [0 if t < off else 1 for t in range(n)]

    def _check_length(self, n: int) -> None:
        need = self.first_valid[self.spec.nodes[-1].name]
        if n <= need:
            raise ValueError(
                f"T must be at least {need + 1}, got {n}: no stimulus reaches the readout before "
                f"step {need}"
            )

    def step(self, frame: Tensor, state: Unrolled | None = None) -> tuple[Maps, Unrolled]:
        """Do one step.

        Parameters
        ----------
        frame : Tensor
            (B, C, H, W).
        state : Unrolled, optional
            From the step before.

        Returns
        -------
        outputs : dict of str to Tensor
            Of every node, and ``logits``.
        state : Unrolled
        """
        done = Unrolled() if state is None else state
        run = _Piece(self, _Frames([frame], len(frame)), [0], [], False, None)
        done, logits, _ = run(done)
        return {**done.outputs, "logits": logits[0]}, done

    def read(self, y: Tensor) -> Tensor:
        """Return the logits of the last node's map."""
        return self.head(y.flatten(1) if self.spec.readout == "flatten" else y.mean((2, 3)))

    # --- of one node -------------------------------------------------------------------------

    def node_input(self, name: str, sources: Maps, frame: Tensor | None) -> Tensor:
        """Return the merged feedforward input of a node."""
        node = self.spec.node(name)
        inputs = [sources[source] for source in self._sources[name]]
        if frame is not None and name == self.spec.nodes[0].name:
            inputs = [frame, *inputs]
        if len(inputs) == 1:
            return inputs[0]
        size = self._input_size[name]
        n = max(len(z) for z in inputs)
        inputs = [_whole(resized(z, size), n) for z in inputs]
        return torch.cat(inputs, 1) if node.merge == "concat" else torch.stack(inputs).sum(0)

    def step_map(self, name: str, x: Tensor, feedback: dict[str, Tensor] | None = None) -> NodeMap:
        """Return a cell's update as a function of its flat state, its input held fixed.

        That is what the analysis of fixed points and of Jacobian spectra takes.

        Parameters
        ----------
        name : str
            A node with a cell.
        x : Tensor
            The node's feedforward input, (1, C, H, W).
        feedback : dict, optional
            By where it enters, at the size of the cell's map.
        """
        layer = self.layers[self.spec.node(name).name]
        if layer.cell is None:
            raise ValueError(f"node {name!r} has no cell: there is no state")
        return NodeMap(layer, x, feedback)

    def jacobian(
        self,
        name: str,
        state: tuple[Tensor, ...],
        x: Tensor,
        feedback: dict[str, Tensor] | None = None,
    ) -> Tensor:
        r"""Return :math:`\partial s' / \partial s` of a node's states, with its input held fixed.

        Parameters
        ----------
        name : str
            A node with a cell.
        state : tuple of Tensor
            Each (1, C, H, W).
        x, feedback
            As in `step_map`.

        Returns
        -------
        Tensor
            (n, n), n = all numbers of the states, in the order of the state's tensors.
        """
        flat = torch.cat([part.reshape(-1) for part in state])
        return torch.func.jacrev(self.step_map(name, x, feedback))(flat)


class NodeMap:
    """A cell's update on flat states: called with (n,) or (B, n), returns the same shape."""

    def __init__(self, layer: Any, x: Tensor, feedback: dict[str, Tensor] | None) -> None:
        with torch.no_grad():
            self.drive = layer.drive(x)
        self.raw, self.cell, self.feedback = x, layer.cell, feedback
        self.shapes = [tuple(s.shape[1:]) for s in self.cell.init_state(self.drive)]

    @property
    def n(self) -> int:
        """Numbers of the state."""
        return sum(math.prod(shape) for shape in self.shapes)

    def __call__(self, flat: Tensor) -> Tensor:
        rows = flat.reshape(-1, self.n)
        parts = rows.split([math.prod(shape) for shape in self.shapes], dim=1)
        state = tuple(
            part.reshape(len(rows), *shape) for part, shape in zip(parts, self.shapes, strict=True)
        )
        b = len(rows)
        fb = None if self.feedback is None else {
            entry: _whole(value, b) for entry, value in self.feedback.items()
        }  # fmt: skip
        _, after = self.cell(_whole(self.drive, b), state, fb, _whole(self.raw, b))
        return torch.cat([part.flatten(1) for part in after], 1).reshape(flat.shape)


@dataclass(frozen=True, eq=False)
class _Frames:
    """Distinct frames, by number."""

    frames: list[Tensor]
    n_batch: int


class _Piece:
    """Some steps in a row, as a function of where they begin."""

    def __init__(
        self,
        net: ConvRNN,
        frames: _Frames,
        ids: list[int],
        wanted: list[str],
        reuse: bool,
        n_steps: int | None,
    ) -> None:
        self.net, self.frames, self.ids, self.wanted = net, frames, ids, wanted
        self.reuse, self.n_steps = reuse, n_steps
        self.to_readout = net.spec.to_readout() if net.unroll == "biological" else {}

    def __call__(self, begin: Unrolled) -> tuple[Unrolled, list[Tensor], dict[str, list[Tensor]]]:
        net = self.net
        done = Unrolled(begin.step, dict(begin.outputs), dict(begin.states))
        # What depends on one frame alone, by the frame: a memory of this piece only, so that what
        # is computed again for the gradient does not lean on a graph that is gone.
        memory: dict[tuple[str, Any], Tensor] = {}
        keys: dict[str, Any] = {}
        logits: list[Tensor] = []
        kept: dict[str, list[Tensor]] = {name: [] for name in self.wanted}
        last = net.spec.nodes[-1].name
        for k, frame in enumerate(self.ids):
            before = done.outputs
            now: Maps = {}
            new_keys: dict[str, Any] = {}
            for name in net.order:
                if self._idle(name, done.step):
                    continue
                sources = now if net.unroll == "engineering" else before
                key = self._key(name, frame, k, keys if net.unroll == "biological" else new_keys)
                new_keys[name] = key
                if key is not None and (name, key) in memory:
                    now[name] = memory[name, key]
                    continue
                now[name] = self._node(name, sources, before, frame, done)
                if key is not None:
                    memory[name, key] = now[name]
            keys = new_keys
            done.outputs = {**before, **now}
            done.step += 1
            logits.append(net.read(now[last]))
            for name in self.wanted:
                kept[name].append(now[name])
        return done, logits, kept

    def _idle(self, name: str, step: int) -> bool:
        """Whether nothing that the node does now can reach the readout in time."""
        if self.n_steps is None or not self.reuse or name in self.wanted:
            return False
        far = self.to_readout.get(name)
        return net_late(step, far, self.n_steps) if self.to_readout else False

    def _key(self, name: str, frame: int, k: int, keys: dict[str, Any]) -> Any:
        """Return what a static node's output depends on, None where that is not one frame."""
        net = self.net
        if not self.reuse or name not in net._static:
            return None
        below: list[Any] = [frame] if name == net.spec.nodes[0].name else []
        for source in net._sources[name]:
            if source in keys:
                key = keys[source]
                if key is None:
                    return None
                below.append(key)
            elif k == 0:
                return None  # its source is of the piece before
            else:
                return None
        return tuple(below)

    def _node(self, name: str, sources: Maps, before: Maps, frame: int, done: Unrolled) -> Tensor:
        net = self.net
        layer: Any = net.layers[name]
        driven = done.step >= net.first_valid[name]
        first = name == net.spec.nodes[0].name
        image = self.frames.frames[frame] if first else None
        like = self.frames.frames[frame]
        # A node that no image has reached does the same for the whole batch.
        alone = self.reuse and not driven and layer.node.norm != "batch"
        n = 1 if alone else self.frames.n_batch
        given = {
            source: sources.get(source, self._nothing(source, like, n))
            for source in net._sources[name]
        }
        x = net.node_input(name, given, image)
        x = x[:1] if alone else _whole(x, n)
        y = layer.drive(x)
        feedback: dict[str, Tensor] = {}
        for i, edge in net._feedback_in[name]:
            z = before.get(edge.src)
            z = (
                self._nothing(edge.src, like, n)
                if z is None
                else (z[:1] if alone else _whole(z, n))
            )
            z = net.feedback[str(i)](z, net.cell_size[name])
            feedback[edge.entry] = feedback[edge.entry] + z if edge.entry in feedback else z
        if layer.cell is None:
            y = y + feedback["input"] if feedback else y
        else:
            state = done.states.get(name)
            state = (
                layer.cell.init_state(y) if state is None else tuple(_whole(s, n) for s in state)
            )
            y, done.states[name] = layer.cell(y, state, feedback or None, x)
            if not torch.is_grad_enabled() or done.step % 8 == 7:
                _refuse_blow_up(name, y, done.step)
        return layer.finish(y, x)

    def _nothing(self, name: str, like: Tensor, n: int) -> Tensor:
        return like.new_zeros(n, *self.net.map_shape[name])


def net_late(step: int, far: int | None, n_steps: int) -> bool:
    """Whether what happens at a step arrives after the last one."""
    return far is None or step + far > n_steps - 1


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map at another height and width, bilinear, corners aligned."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def _whole(x: Tensor, n: int) -> Tensor:
    """Return a map for the whole batch where it was computed once."""
    return x if len(x) == n else x.expand(n, *x.shape[1:])


def _conv_size(size: Sequence[int], kernel: int, stride: int) -> tuple[int, ...]:
    return tuple((n + 2 * (kernel // 2) - kernel) // stride + 1 for n in size)


def _refuse_blow_up(name: str, y: Tensor, step: int) -> None:
    if y.is_meta:
        return
    largest = float(y.detach().abs().max())
    if not largest <= BLOW_UP:
        raise FloatingPointError(
            f"node {name!r} has an activity of {largest:.3g} at step {step}: its memory keeps more "
            "than it loses. Use a norm, a smaller kept share (tau_bias), or a smaller learning rate"
        )
