"""The cell of one node as a map of flat states, for the analysis of its dynamics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tractable.vision.convrnn.layers import Layer, over_batch

__all__ = ["NodeMap"]


class NodeMap:
    r"""A cell's update of its flat state, the node's input held fixed: :math:`s' = F(s)` (C10).

    Called with (n,) or (B, n); returns the same shape. As ``map(state, x)`` with any ``x`` it is
    what `tractable.dynamics.as_cell` takes.

    Parameters
    ----------
    layer : Layer
        Of a node with a cell.
    x : Tensor
        The node's merged feedforward input, (1, C, H, W).
    feedback : dict, optional
        By where it enters, (1, C, H, W) at the size of the cell's map.

    Attributes
    ----------
    n : int
        Numbers of the state.
    shapes : list of tuple
        (C, H, W) of each state, in the order in which they are flattened.
    """

    def __init__(self, layer: Layer, x: Tensor, feedback: dict[str, Tensor] | None = None) -> None:
        if x.ndim != 4 or len(x) != 1:
            raise ValueError(f"x must have shape (1, C, H, W), got {tuple(x.shape)}")
        with torch.no_grad():
            try:
                self.drive = layer.drive(x)
            except RuntimeError as error:
                if "channels" not in str(error):
                    raise
                raise ValueError(
                    f"x must be the node's merged input, got shape {tuple(x.shape)}: {error}"
                ) from error
        self.raw, self.layer, self.feedback = x, layer, feedback or {}
        states = layer.cell.init_state(self.drive)  # type: ignore[operator,union-attr]  # a Cell
        self.shapes = [tuple(s.shape[1:]) for s in states]
        self.n = sum(math.prod(shape) for shape in self.shapes)

    def states(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Return flat states (B, n) as maps."""
        parts = flat.split([math.prod(shape) for shape in self.shapes], dim=1)
        pairs = zip(parts, self.shapes, strict=True)
        return tuple(part.reshape(len(flat), *shape) for part, shape in pairs)

    def flat(self, states: tuple[Tensor, ...]) -> Tensor:
        """Return states (B, C, H, W) as rows (B, n)."""
        return torch.cat([part.flatten(1) for part in states], 1)

    def __call__(self, flat: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the next flat state; ``x`` is not looked at."""
        rows = flat.reshape(-1, self.n)
        b = len(rows)
        fb = {entry: over_batch(value, b) for entry, value in self.feedback.items()}
        _, after = self.layer.cell(  # type: ignore[misc]  # a Cell
            over_batch(self.drive, b), self.states(rows), fb or None, over_batch(self.raw, b)
        )
        return self.flat(after).reshape(flat.shape)
