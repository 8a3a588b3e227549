"""Contractions of a mask: how much each row has seen, where missing entries are structured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.tensors.contractions import Contractions, DenseContractions

__all__ = ["MaskWeights"]


@dataclass(frozen=True, eq=False)
class MaskWeights:
    """Weights 0 or 1 of all entries, stored only along the modes in which they vary.

    Trials that are missing for some neurons are missing at all times: the weights are then a
    matrix (neurons, trials), and contracting them costs next to nothing.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole tensor.
    varies : tuple of int
        Modes in which the weights vary.
    engine : Contractions or None
        Of the weights along these modes, when there are at least two.
    vector : Tensor or None
        The weights along the one mode, else None.
    """

    shape: tuple[int, ...]
    varies: tuple[int, ...]
    engine: Contractions | None
    vector: Tensor | None = None

    @classmethod
    def of_mask(cls, mask: Tensor, dtype: torch.dtype) -> MaskWeights:
        """Return the weights of a boolean mask."""
        varies, reduced = [], mask
        for mode in range(mask.ndim):
            first = reduced.narrow(mode, 0, 1)
            if bool((reduced == first).all()):
                reduced = first
            else:
                varies.append(mode)
        small = reduced.reshape([mask.shape[mode] for mode in varies]).contiguous()
        shape = tuple(int(n) for n in mask.shape)
        if len(varies) == 1:
            return cls(shape, tuple(varies), None, small.double().cpu())
        return cls(shape, tuple(varies), DenseContractions(small.to(dtype)))

    @classmethod
    def of_ones(cls, shape: Sequence[int]) -> MaskWeights:
        """Return the weights of a tensor that is complete."""
        return cls(tuple(shape), (), None)

    def contract(self, mode: int, columns: Sequence[Tensor]) -> Tensor:
        """Return sum over all other modes of weight times the product of columns, (N_a, K).

        ``columns[b]`` has shape (N_b, K); that of ``mode`` is not read.
        """
        rest = torch.ones(columns[mode - 1].shape[-1], dtype=torch.float64)
        for b, column in enumerate(columns):
            if b != mode and b not in self.varies:
                rest = rest * column.sum(0)
        return self._varying(mode, columns).expand(self.shape[mode], -1) * rest

    def _varying(self, mode: int, columns: Sequence[Tensor]) -> Tensor:
        """Return the contraction of the modes in which the weights vary, (N_a or 1, K)."""
        if not self.varies:
            return torch.ones(1, 1, dtype=torch.float64)
        if self.vector is not None:
            if mode in self.varies:
                return self.vector[:, None]
            return (self.vector[:, None] * columns[self.varies[0]]).sum(0, keepdim=True)
        assert self.engine is not None
        own = [columns[b] for b in self.varies]
        inside = mode in self.varies
        position = self.varies.index(mode) if inside else 0
        if inside:
            own[position] = torch.zeros(self.shape[mode], own[position - 1].shape[-1])
        side = 0 if position < self.engine.n_left else 1
        found = self.engine.finish(self.engine.partial(side, own), position, own)
        return found if inside else (found * columns[self.varies[0]]).sum(0, keepdim=True)

    def slice_counts(self, mode: int) -> Tensor:
        """Return the number of observed entries of each slice of a mode."""
        ones = [torch.ones(n, 1, dtype=torch.float64) for n in self.shape]
        return self.contract(mode, ones)[:, 0]

    @property
    def n_stored(self) -> int:
        """Number of weights that are stored."""
        return int(np.prod([self.shape[mode] for mode in self.varies])) if self.varies else 1
