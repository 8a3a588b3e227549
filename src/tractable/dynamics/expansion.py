"""The network as a patchwork of affine maps, one around each point of a point set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tractable.dynamics.cells import Cell
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["Expansion", "expand", "middle_point", "nearest_point"]

CHUNK_BYTES = 2**27  # of distances held at once


@dataclass(frozen=True, eq=False, repr=False)
class Expansion:
    r"""First-order expansions ``h_t = offset + J h_{t-1} + J_in x_t``, one for each point.

    Attributes
    ----------
    center : Tensor, shape (P, N)
        The points h*.
    x_star : Tensor, shape (P, D)
        The inputs x*.
    drift : Tensor, shape (P, N)
        ``F(h*, x*) - h*``, or zero for the expansion without the affine term.
    J : Tensor, shape (P, N, N)
        Recurrent Jacobians.
    J_inp : Tensor, shape (P, N, D)
        Input Jacobians.
    """

    center: Tensor
    x_star: Tensor
    drift: Tensor
    J: Tensor
    J_inp: Tensor

    def step(self, index: Tensor, state: Tensor, x: Tensor) -> Tensor:
        """Return the next states (S, N) by the expansions around the points ``index`` (S,)."""
        order = index.argsort(stable=True)
        h, dx = state - self.center[index], x - self.x_star[index]
        h, dx = h[order], dx[order]
        moved = torch.empty_like(h)
        start = 0
        # a product for each point that is used: gathering its matrix for a batched product costs
        # more than the product
        used, counts = index[order].unique_consecutive(return_counts=True)
        for point, count in zip(used.tolist(), counts.tolist(), strict=True):
            part = slice(start, start + count)
            torch.mm(h[part], self.J[point].T, out=moved[part])
            moved[part].addmm_(dx[part], self.J_inp[point].T)
            start += count
        result = (self.center + self.drift)[index]
        result[order] += moved
        return result


@torch.no_grad()
def expand(cell: Cell, points: PointSet, *, affine: bool = True) -> Expansion:
    """Expand a cell to first order around points; 8 P N (N + D) bytes.

    Parameters
    ----------
    cell : Cell
        In float64.
    points : PointSet
        P points.
    affine : bool
        Keep the drift ``F(h*, x*) - h*``, which is not 0 at slow points.
    """
    state, x_star = points.state.to(cell.dtype), points.x_star.to(cell.dtype)
    J, J_inp = cell.jacobians(state, x_star)
    drift = cell(state, x_star) - state if affine else torch.zeros_like(state)
    return Expansion(state, x_star, drift, J, J_inp)


def nearest_point(state: Tensor, centers: Tensor) -> Tensor:
    """Return the index of the nearest center, Euclidean, for each state; (S,)."""
    size = max(1, CHUNK_BYTES // (8 * max(1, len(centers))))
    parts = [torch.cdist(part, centers).argmin(1) for part in state.split(size)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=state.device)


def middle_point(state: Tensor, weight: Tensor) -> int:
    """Return the point whose readout is the median of the readouts."""
    readout = state @ weight
    return int(readout.argsort(stable=True)[(len(readout) - 1) // 2])
