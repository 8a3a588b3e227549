"""Layers of cells as one cell: the state is the concatenation of the layers' states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tractable.dynamics.cells.assembly import check_step, join, split

if TYPE_CHECKING:
    from tractable.dynamics.cells.convert import Cell

__all__ = ["StackedMap"]


@dataclass(frozen=True, eq=False)
class StackedMap:
    r"""A stack of cells, layer l+1 reading the NEW state of layer l within the same step.

    .. math::
        h^1_t = F_1(h^1_{t-1}, x_t), \qquad h^{l+1}_t = F_{l+1}(h^{l+1}_{t-1}, S h^l_t)

    with S the part of the state that a readout sees. The Jacobian is block lower triangular,

    .. math::
        \frac{\partial h^l_t}{\partial h^m_{t-1}} = J_{in}^l S J_{in}^{l-1} S \cdots J^m .

    Parameters
    ----------
    layers : tuple of Cell
        From the input upward; the same dtype and device.

    Notes
    -----
    Eigenvalues are those of the layers together. To study layer l alone, take that cell and as
    its constant input the fixed point of the layer below.

    Examples
    --------
    >>> from tractable.dynamics.cells.rate_maps import VanillaMap
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> layer = VanillaMap(3 * one, 0.5 * one, 0 * one[0], nonlinearity="linear")
    >>> StackedMap((layer, layer)).recurrent_jacobian(torch.ones(1, 2).double(), one)
    tensor([[[0.5000, 0.0000],
             [1.5000, 0.5000]]], dtype=torch.float64)
    """

    layers: tuple[Cell, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("layers must hold at least one cell, got none")
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            seen = len(range(*below.readout_slice.indices(below.n_state)))
            if above.n_input != seen:
                raise ValueError(
                    f"layer {number + 1} takes {above.n_input} inputs, but layer {number} "
                    f"gives {seen}"
                )
        kinds = {(cell.dtype, cell.device) for cell in self.layers}
        if len(kinds) > 1:
            raise ValueError(f"layers must share dtype and device, got {kinds}")
        if len({cell.dt for cell in self.layers}) > 1:
            raise ValueError("layers must share dt")

    @property
    def n_state(self) -> int:
        """Dimension N: the sum over layers."""
        return sum(cell.n_state for cell in self.layers)

    @property
    def n_input(self) -> int:
        """Dimension D of the first layer's input."""
        return self.layers[0].n_input

    @property
    def dt(self) -> float | None:
        """That of the layers."""
        return self.layers[0].dt

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The product of the layers' boxes; None when one is unknown."""
        boxes = [box for cell in self.layers if (box := cell.bounds) is not None]
        if len(boxes) < len(self.layers):
            return None
        return torch.cat([low for low, _ in boxes]), torch.cat([high for _, high in boxes])

    @property
    def readout_slice(self) -> slice:
        """What a readout sees of the top layer."""
        top = self.layers[-1]
        start, stop, step = top.readout_slice.indices(top.n_state)
        below = self.n_state - top.n_state
        return slice(below + start, below + stop, step)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.layers[0].dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.layers[0].device

    def _layer_states(self, state: Tensor) -> tuple[Tensor, ...]:
        return split(state, [cell.n_state for cell in self.layers])

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        check_step(state, x, self.n_state, self.n_input)
        after = []
        for cell, part in zip(self.layers, self._layer_states(state), strict=True):
            after.append(cell(part, x))
            x = after[-1][:, cell.readout_slice]
        return torch.cat(after, dim=-1)

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        J_inp = state.new_empty(len(state), self.n_state, self.n_input)
        return self._assemble(state, x, J_inp), J_inp

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N)."""
        return self._assemble(state, x, None)

    def _assemble(self, state: Tensor, x: Tensor, J_inp: Tensor | None) -> Tensor:
        """Return ``dF/dh``; fill ``J_inp`` when it is given."""
        check_step(state, x, self.n_state, self.n_input)
        J = state.new_zeros(len(state), self.n_state, self.n_state)
        start, seen = 0, slice(0, 0)  # first unit of this layer; units of the layer below it reads
        for cell, part in zip(self.layers, self._layer_states(state), strict=True):
            rows = slice(start, start + cell.n_state)
            if start == 0 and J_inp is None:
                J[:, rows, rows] = cell.recurrent_jacobian(part, x)
            else:
                J[:, rows, rows], through = cell.jacobians(part, x)
                if start > 0:
                    J[:, rows, :start] = through @ J[:, seen, :start]
                if J_inp is not None:
                    J_inp[:, rows] = through @ J_inp[:, seen] if start > 0 else through
            if rows.stop < self.n_state:
                first, last, step = cell.readout_slice.indices(cell.n_state)
                x = cell(part, x)[:, cell.readout_slice]
                seen = slice(start + first, start + last, step)
            start = rows.stop
        return J

    def pack(self, *parts: Tensor) -> Tensor:
        """Join the parts of all layers, from the first layer up (two LSTMs: h, c, h, c)."""
        return join(parts, self._widths())

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Split a state into the parts of all layers, from the first layer up."""
        return split(state, self._widths())

    def _widths(self) -> list[int]:
        """Widths of the layers' parts, from what each layer unpacks."""
        return [
            part.shape[-1]
            for cell in self.layers
            for part in cell.unpack(torch.empty(1, cell.n_state, device=cell.device))
        ]

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> StackedMap:
        """Return a copy with copied weights."""
        return StackedMap(tuple(cell.to(dtype=dtype, device=device) for cell in self.layers))
