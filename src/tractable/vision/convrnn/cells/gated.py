"""Cells with gates that see input and state: GRU, LSTM, update gate, intersection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_count
from tractable.vision.convrnn.cells.base import Cell, SameConv2d, State, same_channels

__all__ = ["ConvGRU", "ConvIntersectionRNN", "ConvLSTM", "ConvUGRNN"]


class _Gated(Cell):
    """Cells with forget bias and one convolution of [x, h]."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, forget_bias: float, norm: bool, n: int
    ) -> None:
        super().__init__(channels_in, channels)
        self.forget_bias = float(forget_bias)
        self.gates = SameConv2d(channels_in + channels, n * channels, kernel)
        self.norm = nn.GroupNorm(n, n * channels) if norm else None

    def _gates(self, x: Tensor, h: Tensor, n: int) -> tuple[Tensor, ...]:
        drive = self.gates(torch.cat([x, h], dim=1))
        return (drive if self.norm is None else self.norm(drive)).chunk(n, dim=1)


class ConvGRU(_Gated):
    r"""Gated recurrent unit (C4): [r, u] = s(W_g * [x, h] + [b_f, 0]), c = tanh(W_c * [x, r h]).

    .. math:: h' = u\,h + (1 - u)\,c

    6kC^2 + 3C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel : int
        Size of the filters.
    forget_bias : float
        b_f.
    gate_bias : float
        Initial bias of the gates' convolution: u starts near s(1) = 0.73, the kept share.
    norm : bool
        Normalize gates and candidate.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        gate_bias: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 2)
        self.candidate = SameConv2d(channels_in + channels, channels, kernel)
        self.candidate_norm = nn.GroupNorm(1, channels) if norm else None
        assert self.gates.bias is not None
        nn.init.constant_(self.gates.bias, gate_bias)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        h = state[0]
        r, u = self._gates(x, h, 2)
        r, u = torch.sigmoid(r + self.forget_bias), torch.sigmoid(u)
        drive = self.candidate(torch.cat([x, r * h], dim=1))
        c = torch.tanh(drive if self.candidate_norm is None else self.candidate_norm(drive))
        h = u * h + (1 - u) * c
        return h, (h,)


class ConvLSTM(_Gated):
    r"""Long short-term memory (C5): [i, j, f, o] = W * [x, h].

    .. math:: c' = c\,s(f + b_f) + s(i) \tanh(j), \qquad h' = \tanh(c')\,s(o)

    8kC^2 + 4C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the states.
    kernel : int
        Size of the filters.
    forget_bias : float
        b_f.
    norm : bool
        Normalize i, j, f, o and the new c.
    peephole : (int, int), optional
        Height and width of the map: weights of each position from c to the gates; the output gate
        sees the old c.
    """

    n_states = 2

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
        peephole: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 4)
        self.cell_norm = nn.GroupNorm(1, channels) if norm else None
        self.peephole = None
        if peephole is not None:
            if not isinstance(peephole, Sequence) or len(peephole) != 2:
                raise ValueError(
                    f"peephole must be (height, width) of the map, or None, got {peephole!r}"
                )
            for side in peephole:
                check_count("peephole", side)
            self.peephole = nn.Parameter(torch.zeros(3, channels, *peephole))

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new h as output."""
        h, c = state
        i, j, f, o = self._gates(x, h, 4)
        if self.peephole is not None:
            if self.peephole.shape[2:] != c.shape[2:]:
                raise ValueError(
                    f"peephole is for maps of {tuple(self.peephole.shape[2:])}, got "
                    f"{tuple(c.shape[2:])}"
                )
            i, f, o = (g + w * c for g, w in zip((i, f, o), self.peephole, strict=True))
        c = c * torch.sigmoid(f + self.forget_bias) + torch.sigmoid(i) * torch.tanh(j)
        c = c if self.cell_norm is None else self.cell_norm(c)
        h = torch.tanh(c) * torch.sigmoid(o)
        return h, (h, c)


class ConvUGRNN(_Gated):
    r"""Update-gate network (C6): [g, c] = W * [x, h], with u = s(g + b_f).

    .. math:: h' = u\,h + (1 - u) \tanh(c)

    4kC^2 + 2C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel, forget_bias, norm
        As in `ConvGRU`.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 2)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        g, c = self._gates(x, state[0], 2)
        u = torch.sigmoid(g + self.forget_bias)
        h = u * state[0] + (1 - u) * torch.tanh(c)
        return h, (h,)


class ConvIntersectionRNN(_Gated):
    r"""Intersection network (C7): the state passes in time, the output in depth.

    .. math:: h' = u\,h + (1 - u) \tanh(\tilde h), \qquad
        \mathrm{out} = v\,x + (1 - v)\,\mathrm{relu}(\tilde y)

    with [g_h, h~, g_y, y~] = W * [x, h], u = s(g_h + b_f), v = s(g_y + b_f). Input and output have
    the same channels. 8kC^2 + 4C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Equal.
    kernel, forget_bias, norm
        As in `ConvGRU`.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 4)
        same_channels(type(self).__name__, channels_in, channels)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return what passes in depth, and the state."""
        gh, hh, gy, yy = self._gates(x, state[0], 4)
        u, v = torch.sigmoid(gh + self.forget_bias), torch.sigmoid(gy + self.forget_bias)
        h = u * state[0] + (1 - u) * torch.tanh(hh)
        return v * x + (1 - v) * functional.relu(yy), (h,)
