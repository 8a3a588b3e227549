"""Visited states: running a cell over inputs, and drawing starting points from what it visits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tractable.core.checks import (
    check_count,
    check_finite,
    check_generator,
    check_range,
    check_shape,
)
from tractable.core.progress import track
from tractable.dynamics.cells import as_cell

__all__ = ["Trajectory", "collect_states", "sample_starts"]

N_STRATA = 32


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States of a batch of sequences.

    Attributes
    ----------
    states : Tensor (B, T, N)
        ``states[:, t]`` is the full state AFTER input t; past the end of a sequence it stays.
    mask : Tensor (B, T) of bool
        True within the true length.
    inputs : Tensor (B, T, D) or None
        What was fed in.
    initial : Tensor (B, N) or None
        The state before the first input.
    """

    states: Tensor
    mask: Tensor
    inputs: Tensor | None = None
    initial: Tensor | None = None

    def __post_init__(self) -> None:
        check_shape("states", self.states.shape, ("B", "T", "N"))
        batch, steps, width = self.states.shape
        if self.mask.shape != (batch, steps):
            got = tuple(self.mask.shape)
            raise ValueError(f"mask must have shape {(batch, steps)} as states has, got {got}")
        if self.mask.dtype != torch.bool:
            raise TypeError(f"mask must be bool, got {self.mask.dtype}")
        if self.inputs is not None:
            check_shape("inputs", self.inputs.shape, (batch, steps, "D"))
        if self.initial is not None:
            check_shape("initial", self.initial.shape, (batch, width))
        check_finite("states", self.valid)

    @property
    def valid(self) -> Tensor:
        """States within the true lengths, (M, N), sequence by sequence."""
        return self.states[self.mask]

    @property
    def lengths(self) -> Tensor:
        """True lengths (B,)."""
        return self.mask.sum(dim=1)

    @property
    def previous(self) -> Tensor:
        """The state BEFORE each input, (B, T, N)."""
        if self.initial is None:
            raise ValueError("this trajectory does not hold its initial states")
        return torch.cat([self.initial[:, None], self.states[:, :-1]], dim=1)

    @property
    def last(self) -> Tensor:
        """The state after the last valid input of each sequence, (B, N)."""
        rows = torch.arange(len(self.states), device=self.states.device)
        return self.states[rows, (self.lengths - 1).clamp(min=0)]


@torch.no_grad()
def collect_states(
    cell: Any,
    inputs: Tensor | np.ndarray | PackedSequence,
    lengths: Tensor | np.ndarray | Sequence[int] | None = None,
    h0: Tensor | np.ndarray | tuple[Tensor, ...] | None = None,
    *,
    embedding: nn.Embedding | Tensor | Callable[[Tensor], Tensor] | None = None,
    progress: bool = True,
) -> Trajectory:
    r"""Run a cell over a batch of sequences and keep every full state.

    .. math:: h_t = F(h_{t-1}, x_t), \quad t = 1 \ldots T

    For an LSTM this yields :math:`c_t` at every step, which ``nn.LSTM`` does not return.

    Parameters
    ----------
    cell : Cell, or what `as_cell` takes
        The one-step map.
    inputs : Tensor or array (B, T, D), or integer tokens (B, T) with ``embedding``
        Inputs, batch first whatever the module's own ``batch_first``; or a ``PackedSequence``.
    lengths : (B,) integers, optional
        True lengths, in [0, T]; NaN beyond them is taken for 0. Default T; for tokens and an
        ``nn.Embedding`` with a ``padding_idx``, up to the last token that is not padding.
    h0 : Tensor or array (N,) or (B, N), or tuple or dict of parts, optional
        State before the first input; default 0.
    embedding : nn.Embedding, Tensor (V, D) or callable, optional
        Turns tokens into inputs. Needed for tokens.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    Trajectory
        In the cell's dtype, on its device.

    Raises
    ------
    ValueError
        For wrong widths, NaN, or lengths out of range.

    Notes
    -----
    Costs one batched step per time; sequences that have ended are left out.

    Examples
    --------
    >>> gru = torch.nn.GRU(3, 8, batch_first=True)
    >>> x = torch.randn(5, 10, 3)
    >>> trajectory = collect_states(gru, x, lengths=[10, 10, 4, 1, 7])
    >>> trajectory.states.shape, int(trajectory.mask.sum())
    (torch.Size([5, 10, 8]), 32)
    >>> torch.allclose(trajectory.states[0], gru(x)[0][0], atol=1e-6)
    True
    """
    cell = as_cell(cell)
    if isinstance(inputs, PackedSequence):
        if lengths is not None:
            raise ValueError("lengths are those of the packed sequence, leave them out")
        inputs, lengths = pad_packed_sequence(inputs, batch_first=True)
    inputs = _tensor(inputs)
    if not inputs.is_floating_point():
        if lengths is None:
            lengths = _token_lengths(inputs, embedding)
        inputs = _embedded(inputs, embedding)
    elif embedding is not None:
        raise ValueError(f"embedding needs integer tokens (B, T), got {inputs.dtype} inputs")
    check_shape("inputs", inputs.shape, ("B", "T", cell.n_input))
    batch, steps, _ = inputs.shape
    lengths = _checked_lengths(lengths, batch, steps).to(cell.device)
    padding = torch.arange(steps) >= lengths.cpu()[:, None]
    if bool(padding.any()):  # there NaN may mark what is missing
        missing = padding.to(inputs.device)[..., None] & ~inputs.isfinite()
        inputs = inputs.masked_fill(missing, 0.0)
    check_finite("inputs", inputs)
    inputs = inputs.to(cell.device, cell.dtype)
    initial = _initial(cell, h0, batch)

    order = lengths.argsort(descending=True, stable=True)  # the living are a prefix
    alive = (lengths > torch.arange(steps, device=cell.device)[:, None]).sum(dim=1).tolist()
    h, sorted_inputs = initial[order], inputs[order]
    states = inputs.new_empty(batch, steps, cell.n_state)
    for t in track(range(steps), "collecting states", show=progress):
        h[: alive[t]] = cell(h[: alive[t]], sorted_inputs[: alive[t], t])
        states[:, t] = h
    states = states[order.argsort()]
    mask = torch.arange(steps, device=cell.device) < lengths[:, None]
    return Trajectory(states, mask, inputs, initial)


def _tensor(values: Any) -> Tensor:
    """Take a tensor as it is; a copy of an array only where torch cannot share its memory."""
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"inputs must be one array of numbers, got {type(values).__name__}; pad sequences of "
            "several lengths (torch.nn.utils.rnn.pad_sequence) and give lengths"
        )
    if array.dtype.kind in "iu":  # torch takes uint8 for a mask
        array = array.astype(np.int64, copy=False)
    return torch.as_tensor(np.require(array, requirements=["C", "W"]))


def _embedded(tokens: Tensor, embedding: Any) -> Tensor:
    check_shape("inputs", tokens.shape, ("B", "T"))
    if embedding is None:
        raise ValueError("inputs are integer tokens: pass embedding=... to turn them into vectors")
    if not isinstance(embedding, Tensor | nn.Embedding):
        return embedding(tokens)
    table = embedding if isinstance(embedding, Tensor) else embedding.weight
    if tokens.numel():
        check_range("inputs", int(tokens.min()), 0, len(table) - 1)
        check_range("inputs", int(tokens.max()), 0, len(table) - 1)
    tokens = tokens.to(table.device)
    if isinstance(embedding, nn.Embedding) and embedding.max_norm is not None:
        rows, largest = (
            table.detach().clone(),
            embedding.max_norm,
        )  # the module would change its own
        return nn.functional.embedding(
            tokens, rows, max_norm=largest, norm_type=embedding.norm_type
        )
    return table[tokens]


def _token_lengths(tokens: Tensor, embedding: Any) -> Tensor | None:
    padding = getattr(embedding, "padding_idx", None)
    if padding is None or tokens.ndim != 2:
        return None
    steps = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != padding) * steps).amax(dim=1)


def _checked_lengths(lengths: Any, batch: int, steps: int) -> Tensor:
    if lengths is None:
        return torch.full((batch,), steps)
    lengths = _tensor(lengths)
    check_shape("lengths", lengths.shape, (batch,))
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths must be integers, got {lengths.dtype}")
    if batch:
        check_range("lengths", int(lengths.min()), 0, steps)
        check_range("lengths", int(lengths.max()), 0, steps)
    return lengths


def _initial(cell: Any, h0: Any, batch: int) -> Tensor:
    if h0 is None:
        return torch.zeros(batch, cell.n_state, dtype=cell.dtype, device=cell.device)
    if isinstance(h0, Tensor | np.ndarray):
        state = _tensor(h0)
    else:
        state = cell.pack(h0) if isinstance(h0, Mapping) else cell.pack(*h0)
    if tuple(state.shape) not in ((cell.n_state,), (batch, cell.n_state)):
        raise ValueError(
            f"h0 must have shape ({cell.n_state},) or ({batch}, {cell.n_state}), "
            f"got {tuple(state.shape)}"
        )
    check_finite("h0", state)
    return state.detach().to(cell.device, cell.dtype).expand(batch, -1).clone()


def sample_starts(
    trajectory: Trajectory,
    n: int,
    *,
    noise: float = 0.0,
    stratify: Callable[[Tensor], Tensor] | Tensor | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Draw visited states, uniformly over (sequence, time) within the true lengths.

    Parameters
    ----------
    trajectory : Trajectory
        From `collect_states`.
    n : int
        Number of starts, >= 1. Without replacement while there are enough states.
    noise : float
        Standard deviation of added Gaussian noise, in units of each unit's std; >= 0.
    stratify : callable, or Tensor (B, T) or (M,), optional
        A value per state, e.g. the readout: a function of states (M, N) or the values, for all
        steps or for ``trajectory.valid``. Starts then spread evenly over 32 bins of equal width,
        so that rare ends are covered.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor (n, N)
        Starts.

    Examples
    --------
    >>> states = torch.arange(100.0).reshape(1, 100, 1)
    >>> trajectory = Trajectory(states, torch.ones(1, 100, dtype=torch.bool))
    >>> draw = torch.Generator().manual_seed(0)
    >>> sample_starts(trajectory, 4, generator=draw, stratify=lambda h: h[:, 0]).shape
    torch.Size([4, 1])
    """
    check_count("n", n)
    check_range("noise", noise, 0.0)
    check_finite("noise", float(noise))
    check_generator("generator", generator)
    states = trajectory.valid
    if len(states) == 0:
        raise ValueError("trajectory must have at least one valid step, got none")

    def ranks(size: int) -> Tensor:
        return torch.randperm(size, generator=generator, device=generator.device).to(states.device)

    stratum = None
    if stratify is not None:
        stratum = _strata(_values(trajectory, states, stratify))
    rounds = math.ceil(n / len(states))  # more than one: every state is drawn several times
    chosen = []
    for _ in range(rounds):
        shuffled = ranks(len(states))
        if stratum is not None:  # round robin over the strata: first of each, second of each, ...
            grouped = shuffled[stratum[shuffled].argsort(stable=True)]
            sizes = torch.bincount(stratum, minlength=N_STRATA)
            turn = torch.arange(len(states), device=states.device)
            turn = turn - (sizes.cumsum(0) - sizes)[stratum[grouped]]
            again = ranks(len(states))  # which strata get the last, incomplete turn
            shuffled = grouped[again][turn[again].argsort(stable=True)]
        chosen.append(shuffled)
    starts = states[torch.cat(chosen)[:n]]
    if noise > 0:
        std = states.std(dim=0, correction=0)
        unit = torch.randn(
            starts.shape, generator=generator, device=generator.device, dtype=starts.dtype
        )
        starts = starts + noise * std * unit.to(starts.device)
    return starts


def _values(trajectory: Trajectory, states: Tensor, stratify: Any) -> Tensor:
    values = stratify(states) if callable(stratify) else torch.as_tensor(stratify)
    if values.shape == trajectory.mask.shape and not callable(stratify):
        values = values.to(states.device)[trajectory.mask]
    values = values.detach().to(states.device, torch.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    check_shape("stratify", values.shape, (len(states),))
    check_finite("stratify", values)
    return values


def _strata(values: Tensor) -> Tensor:
    """Return the number of the bin of each value; bins of equal width over their range."""
    low, high = values.min(), values.max()
    width = (high - low).clamp(min=torch.finfo(values.dtype).tiny)
    return ((values - low) / width * N_STRATA).long().clamp(max=N_STRATA - 1)
