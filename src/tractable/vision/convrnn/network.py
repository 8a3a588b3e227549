"""A recurrent graph unrolled in time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_finite
from tractable.vision.convrnn.assembly import Assembly
from tractable.vision.convrnn.decoders import Decoder
from tractable.vision.convrnn.layers import needs_whole_batch, over_batch
from tractable.vision.convrnn.movies import check_floats, show
from tractable.vision.convrnn.node_map import NodeMap
from tractable.vision.convrnn.outputs import Output, TimeSeries
from tractable.vision.convrnn.recompute import recomputed
from tractable.vision.convrnn.spec import ConvRNNSpec
from tractable.vision.convrnn.unroll import (
    Maps,
    Movie,
    Series,
    States,
    Unroll,
    Unrolled,
    cuts,
    refuse_blow_up,
)

if TYPE_CHECKING:
    from tractable.vision.convrnn.costs import GraphCost
    from tractable.vision.convrnn.wrapped import WrappedRNN

__all__ = ["ConvRNN"]

OFF_VALUE = 0.5


class ConvRNN(Assembly):
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
    decoder : Decoder, optional
        A trained one: its weights are weights of the network, and it is the default decoder.
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
    >>> from tractable.vision.convrnn import Node
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
        decoder: Decoder | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(spec, in_shape, unroll, dt_ms, device)
        self.decoder = decoder

    # --- running -----------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        T: int | None = None,
        image_off: int | None = None,
        *,
        layers: Iterable[str] = (),
        decoder: str | Decoder | None = None,
        off_value: float = OFF_VALUE,
        reuse: bool = True,
        checkpoint: Literal["none", "step", "sqrt"] = "none",
        detach_every: int | None = None,
        state: Unrolled | None = None,
        keep_state: bool = False,
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
        decoder : str or Decoder, optional
            See `Decoder`; default that of the network, else ``last``.
        off_value : float
            Gray, in the units of x: for normalized images the normalized gray, or use `make_movie`.
        reuse : bool
            Compute what depends on single frames alone once for each distinct frame, what no image
            has reached once for the batch, and not at all what cannot reach the readout any more.
            The numbers are the same. Batch statistics and dropout turn it off.
        checkpoint : str
            Memory of training: ``none``; ``step``: keep states between steps and compute the rest
            again; ``sqrt``: keep them between pieces of about sqrt(T) steps. Running statistics of
            batch norms are then updated twice, and gradients of gradients are refused.
        detach_every : int, optional
            Cut the graph after so many steps: truncated backpropagation through time.
        state : Unrolled, optional
            Go on from there, for movies in pieces.
        keep_state : bool
            Return the state after the last step: then every node does every step.

        Returns
        -------
        Output

        Raises
        ------
        ValueError
            Shapes that do not fit, T shorter than the way to the readout, image_off above T.
        FloatingPointError
            A cell's state exceeds 10,000; the message names the node.
        """
        check_choice("checkpoint", checkpoint, ("none", "step", "sqrt"))
        movie = self._movie(x, T, image_off, off_value, state)
        wanted = [self.spec.node(name).name for name in layers]
        reuse = reuse and not needs_whole_batch(self)
        run = Unroll(self, movie, wanted, reuse=reuse, skip=reuse and not keep_state)
        recomputes = checkpoint != "none" and torch.is_grad_enabled()
        if reuse and state is None and not (recomputes and x.ndim == 5):
            run.prefix()
        done = Unrolled() if state is None else state
        logits: list[Tensor] = []
        features: Series = {name: [] for name in wanted}
        pieces = cuts(len(movie.ids), checkpoint if recomputes else "none", detach_every)
        for start, stop in itertools.pairwise(pieces):
            if recomputes:
                done, seen, kept = recomputed(run, done, start, stop)
            else:
                done, seen, kept = run.piece(done, start, stop)
            logits += seen
            for name in wanted:
                features[name] += kept[name]
            if detach_every is not None and stop % detach_every == 0:
                done = done.detached()
        refuse_blow_up(done.states)
        return self._output(movie, logits, features, decoder, done if keep_state else None)

    def _output(
        self,
        movie: Movie,
        logits: list[Tensor],
        features: Series,
        decoder: str | Decoder | None,
        state: Unrolled | None,
    ) -> Output:
        n, n_steps = movie.n_batch, len(movie.ids)
        begin = movie.begin
        logits_t = torch.stack([over_batch(z, n) for z in logits], 1)
        steps = torch.arange(begin, begin + n_steps)
        valid = steps >= self.first_valid[self.last]
        chosen = self.decoder if decoder is None else decoder
        read = chosen if isinstance(chosen, Decoder) else Decoder(chosen or "last")
        answer, decided = read(logits_t, valid)
        series = {
            name: TimeSeries(
                torch.stack([over_batch(z, n) for z in values], 1),
                steps >= self.first_valid[name],
            )
            for name, values in features.items()
        }
        states: States = {}
        if state is not None:
            states = {
                name: tuple(over_batch(s, n) for s in parts) for name, parts in state.states.items()
            }
        return Output(answer, logits_t, valid, decided, series, states, state)

    def _movie(
        self,
        x: Tensor,
        T: int | None,
        image_off: int | None,
        off_value: float,
        state: Unrolled | None,
    ) -> Movie:
        """Check the input; return its distinct frames and which is shown when."""
        check_floats("x", x)
        if x.ndim not in (4, 5) or tuple(x.shape[-3:]) != self.in_shape:
            raise ValueError(
                f"x must be images (B, {', '.join(map(str, self.in_shape))}), or movies with T "
                f"behind B, got {tuple(x.shape)}"
            )
        if not x.is_meta and not bool(x.detach().isfinite().all()):
            check_finite("x", x.detach())
        if not len(x):
            raise ValueError(f"x must hold an image at least, got shape {tuple(x.shape)}")
        begin = 0 if state is None else state.step
        need = self.first_valid[self.last] + 1 - begin
        if x.ndim == 5:
            if T is not None and x.shape[1] != T:
                raise ValueError(f"T is {T} but the movie x has {x.shape[1]} steps")
            if image_off is not None:
                raise ValueError("image_off is for images; a movie says itself what is shown")
            n_steps = x.shape[1]
            frames, ids = list(x.unbind(1)), list(range(n_steps))
        else:
            n_steps = max(need, 1) if T is None else T
            frames, ids = show(x, n_steps, image_off, off_value)
        if n_steps < need:
            raise ValueError(
                f"T must be at least {need}, got {n_steps}: no stimulus reaches the readout before "
                f"step {need - 1}"
            )
        return Movie(frames, ids, begin)

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
        check_floats("frame", frame)
        if frame.ndim != 4 or tuple(frame.shape[1:]) != self.in_shape:
            raise ValueError(
                f"frame must have shape (B, {', '.join(map(str, self.in_shape))}), got "
                f"{tuple(frame.shape)}"
            )
        done = Unrolled() if state is None else state
        run = Unroll(self, Movie([frame], [0], done.step), [], reuse=False, skip=False)
        done, logits, _ = run.piece(done, 0, 1)
        return {**done.outputs, "logits": logits[0]}, done

    def read(self, y: Tensor) -> Tensor:
        """Return the logits of the last node's map."""
        return self.head(y.flatten(1) if self.spec.readout == "flatten" else y.mean((2, 3)))

    # --- of one node -------------------------------------------------------------------------

    def step_map(self, name: str, x: Tensor, feedback: dict[str, Tensor] | None = None) -> NodeMap:
        """Return a cell's update as a function of its flat state, its input held fixed.

        That is what the analysis of fixed points and of Jacobian spectra takes.

        Parameters
        ----------
        name : str
            A node with a cell.
        x : Tensor
            The node's merged feedforward input, (1, C, H, W).
        feedback : dict, optional
            By where it enters, at the size of the cell's map.
        """
        layer = self.layers[self.spec.node(name).name]
        if layer.cell is None:
            raise ValueError(f"node {name!r} has no cell: there is no state")
        return NodeMap(layer, x, feedback)  # type: ignore[arg-type]  # a Layer

    def jacobian(
        self,
        name: str,
        state: tuple[Tensor, ...],
        x: Tensor,
        feedback: dict[str, Tensor] | None = None,
    ) -> Tensor:
        r"""Return :math:`\partial s' / \partial s` of a node's states, its input held fixed (C10).

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
        step = self.step_map(name, x, feedback)
        got = [tuple(s.shape) for s in state]
        wanted = [(1, *shape) for shape in step.shapes]
        if got != wanted:
            raise ValueError(f"state of {name!r} must be tensors of shapes {wanted}, got {got}")
        return torch.func.jacrev(step)(step.flat(state)[0])

    # --- the whole ---------------------------------------------------------------------------

    def cost(self, T: int, batch_size: int = 1, **how: Any) -> GraphCost:
        """Return parameters, operations and memory; see `cost`."""
        from tractable.vision.convrnn.costs import cost

        return cost(self, T, batch_size, **how)

    @staticmethod
    def wrap(model: nn.Module, at: Mapping[str, Any], example: Tensor) -> WrappedRNN:
        """Put cells behind named layers of a network of one's own; see `WrappedRNN`."""
        from tractable.vision.convrnn.wrapped import WrappedRNN

        return WrappedRNN(model, at, example)
