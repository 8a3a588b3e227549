"""Cells without gates: none, a leak, a plain recurrence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.vision.convrnn.cells.base import Cell, SameConv2d, State, same_channels

__all__ = ["Feedforward", "TimeDecay", "VanillaRNN"]


class Feedforward(Cell):
    """out = x: no memory."""

    n_states = 0

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(channels_in, channels)
        same_channels(type(self).__name__, channels_in, channels)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return x."""
        return x, ()


class TimeDecay(Cell):
    r"""A leak: :math:`h' = d\,h + x` (C2), one trained d for the layer, from 0.

    Parameters
    ----------
    channels_in, channels : int
        Equal.
    decay : float
        Initial d.
    """

    def __init__(self, channels_in: int, channels: int, *, decay: float = 0.0) -> None:
        super().__init__(channels_in, channels)
        same_channels(type(self).__name__, channels_in, channels)
        self.decay = nn.Parameter(torch.tensor(float(decay)))

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the leaky sum."""
        h = self.decay * state[0] + x
        return h, (h,)


class VanillaRNN(Cell):
    r""":math:`h' = \mathrm{ELU}(\mathrm{LN}(W_i * x + W_s * h))` (C3); 2(kC^2 + C) parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel : int
        Size of the filters.
    norm : bool
        Normalize over channels and positions, with gain and bias for each channel.
    """

    def __init__(
        self, channels_in: int, channels: int, *, kernel: int = 3, norm: bool = True
    ) -> None:
        super().__init__(channels_in, channels)
        self.input = SameConv2d(channels_in, channels, kernel)
        self.recurrent = SameConv2d(channels, channels, kernel)
        self.norm = nn.GroupNorm(1, channels) if norm else None

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        drive = self.input(x) + self.recurrent(state[0])
        h = functional.elu(drive if self.norm is None else self.norm(drive))
        return h, (h,)
