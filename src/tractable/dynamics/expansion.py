"""The network as a patchwork of affine maps, one around each point of a point set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tractable.dynamics.cells import Cell
    from tractable.dynamics.point_set import PointSet

__all__ = ["Expansion", "expand", "middle_point", "nearest_point"]

BLOCK = 64  # samples that one matrix is multiplied with at once
CHUNK_BYTES = 2**27  # of distances, or of matrices gathered at once


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
        deviation = torch.cat([state - self.center[index], x - self.x_star[index]], dim=1)
        order = index.argsort(stable=True)
        used, counts = index[order].unique_consecutive(return_counts=True)
        moved = torch.empty_like(state)
        n_blocks = (counts + BLOCK - 1) // BLOCK  # a point's samples are cut into blocks
        first_block = n_blocks.cumsum(0) - n_blocks
        rank = torch.arange(len(index), device=index.device)
        rank = rank - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        slot = torch.repeat_interleave(first_block * BLOCK, counts) + rank
        padded = deviation.new_zeros(int(n_blocks.sum()), BLOCK, deviation.shape[1])
        padded.view(-1, deviation.shape[1])[slot] = deviation[order]
        owner = torch.repeat_interleave(used, n_blocks)
        n = state.shape[1]
        result = padded.new_empty(len(padded), BLOCK, n)
        size = max(1, CHUNK_BYTES // (8 * n * deviation.shape[1]))
        for start in range(0, len(padded), size):
            part = slice(start, start + size)
            h, dx = padded[part, :, :n], padded[part, :, n:]
            result[part] = h @ self.J[owner[part]].mT + dx @ self.J_inp[owner[part]].mT
        moved[order] = result.view(-1, n)[slot]
        return moved + (self.center + self.drift)[index]


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
