"""The same contractions of a dask array: chunk by chunk, in memory bounded by the chunks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning
from tractable.tensors.contractions import FLOAT32_ROUNDING, DenseContractions, halves
from tractable.tensors.observations import Observations, is_structured, refuse_empty_slices
from tractable.tensors.weights import MaskWeights

__all__ = ["ChunkedContractions", "observe_chunks"]


class ChunkedContractions:
    """Contractions of a dask array; each chunk is read, contracted, and forgotten.

    The chunks are computed by whatever scheduler dask uses: threads, or the workers of a
    ``distributed.Client``.

    Parameters
    ----------
    array : dask.array.Array
        Of floats; missing entries are NaN.
    dtype : torch.dtype
        Of the passes.
    mask : dask.array.Array, optional
        True where observed, in the same chunks.
    count : bool
        Contract the mask (1 where an entry is observed) instead of the array.
    """

    def __init__(
        self, array: Any, dtype: torch.dtype, mask: Any = None, *, count: bool = False
    ) -> None:
        self.array, self.mask, self.dtype, self.count = array, mask, dtype, count
        self.shape = tuple(int(n) for n in array.shape)
        self.n_left = halves(self.shape)
        self.rounding = FLOAT32_ROUNDING if dtype == torch.float32 else 0.0

    def _chunks(self) -> Iterator[tuple[tuple[slice, ...], Any, Any]]:
        """Yield the place of each chunk, the chunk and its mask, both delayed."""
        edges = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in self.array.chunks]
        places = [[slice(int(a), int(b)) for a, b in itertools.pairwise(edge)] for edge in edges]
        blocks = self.array.to_delayed()
        masks = None if self.mask is None else self.mask.to_delayed()
        for index in np.ndindex(*self.array.numblocks):
            where = tuple(place[i] for place, i in zip(places, index, strict=True))
            yield where, blocks[index], None if masks is None else masks[index]

    def _map(self, function: Any, arguments: Any) -> list[tuple[tuple[slice, ...], Any]]:
        """Return function(chunk, mask, dtype, count, argument) of every chunk, with its place."""
        import dask

        places, tasks = [], []
        lazy = dask.delayed(function, pure=False)
        for where, block, mask in self._chunks():
            places.append(where)
            tasks.append(lazy(block, mask, self.dtype, self.count, arguments(where)))
        return list(zip(places, dask.compute(*tasks), strict=True))

    def partial(self, side: int, factors: Sequence[Tensor]) -> Tensor:
        """Return the array contracted with all modes of the other side, shape (.., K)."""
        h = self.n_left
        own = range(h) if side == 0 else range(h, len(self.shape))
        width = factors[0].shape[1]
        total = torch.zeros(*(self.shape[a] for a in own), width, dtype=torch.float64)

        def arguments(where: tuple[slice, ...]) -> tuple[int, int, list[np.ndarray]]:
            return h, side, [x[place].numpy() for x, place in zip(factors, where, strict=True)]

        for where, part in self._map(_partial, arguments):
            total[tuple(where[a] for a in own)] += torch.from_numpy(part)
        return total

    def finish(self, partial: Tensor, mode: int, factors: Sequence[Tensor]) -> Tensor:
        """Return the MTTKRP of a mode, shape (N_a, K)."""
        from tractable.tensors.contractions import contract_others

        first = 0 if mode < self.n_left else self.n_left
        own = list(factors[first : first + partial.ndim - 1])
        return contract_others(partial, mode - first, own)

    def gram(self, mode: int) -> Tensor:
        """Return Y_(a) Y_(a)^T, shape (N_a, N_a); chunks may not split this mode."""
        rest = [a for a in range(len(self.shape)) if a != mode]
        whole = {mode: -1, **dict.fromkeys(rest, "auto")}
        array = self.array
        if array.numblocks[mode] > 1:
            array = array.rechunk(whole)
        mask = self.mask
        if mask is not None and mask.chunks != array.chunks:
            mask = mask.rechunk(array.chunks)
        regrouped = ChunkedContractions(array, self.dtype, mask, count=self.count)
        parts = regrouped._map(_gram, lambda where: mode)
        return sum(torch.from_numpy(part) for _, part in parts)  # type: ignore[return-value]  # there is a chunk

    def statistics(self) -> list[tuple[tuple[slice, ...], dict[str, Any]]]:
        """Return counts, sums of squares and the range of every chunk."""
        return self._map(_statistics, lambda where: None)


def _tensor(block: Any, mask: Any, dtype: torch.dtype, count: bool) -> Tensor:
    """Return a chunk with zeros where nothing is observed, or 1 where something is."""
    values = torch.as_tensor(np.ascontiguousarray(block)).to(dtype)
    present = ~values.isnan()
    if mask is not None:
        present &= torch.as_tensor(np.ascontiguousarray(mask)).bool()
    if count:
        return present.to(dtype)
    return values if bool(present.all()) else torch.where(present, values, values.new_zeros(()))


def _partial(block: Any, mask: Any, dtype: torch.dtype, count: bool, arguments: Any) -> np.ndarray:
    h, side, factors = arguments
    engine = DenseContractions(_tensor(block, mask, dtype, count), n_left=h)
    found = engine.partial(side, [torch.from_numpy(x) for x in factors])
    return found.double().numpy()


def _gram(block: Any, mask: Any, dtype: torch.dtype, count: bool, mode: int) -> np.ndarray:
    return DenseContractions(_tensor(block, mask, dtype, count)).gram(mode).numpy()


def _statistics(block: Any, mask: Any, dtype: torch.dtype, count: bool, _: Any) -> dict[str, Any]:
    present = _tensor(block, mask, dtype, True)
    values = _tensor(block, mask, dtype, False)
    axes = range(values.ndim)
    others = [[b for b in axes if b != a] for a in axes]
    seen = values[present.bool()]
    return {
        "infinite": int(values.isinf().sum()),
        "nan": int(np.isnan(np.asarray(block, dtype=float)).sum()),
        "counts": [present.double().sum(other).numpy() for other in others],
        "squares": [values.double().square().sum(other).numpy() for other in others],
        "low": float(seen.min()) if len(seen) else np.inf,
        "high": float(seen.max()) if len(seen) else -np.inf,
    }


def observe_chunks(
    Y: Any, *, mask: Any = None, noise_mode: int | None = None, dtype: torch.dtype | None = None
) -> Observations:
    """Check a dask array in one pass over its chunks."""
    if np.issubdtype(Y.dtype, np.complexfloating):
        raise TypeError("Y must be real, got complex numbers; decompose the real part or the power")
    if not np.issubdtype(Y.dtype, np.number) and Y.dtype != bool:
        raise TypeError(f"Y must be an array of numbers, got {Y.dtype}")
    if dtype is None:
        dtype = torch.float64 if Y.dtype == np.float64 else torch.float32
    if mask is not None:
        import dask.array

        if tuple(mask.shape) != tuple(Y.shape):
            raise ValueError(
                f"mask must have the shape of Y, {tuple(Y.shape)}, got {tuple(mask.shape)}"
            )
        mask = dask.array.asarray(mask).rechunk(Y.chunks)
    engine = ChunkedContractions(Y, dtype, mask)
    shape, order = engine.shape, len(engine.shape)
    counts = [np.zeros(n) for n in shape]
    squares = [np.zeros(n) for n in shape]
    infinite, n_nan, low, high = 0, 0, np.inf, -np.inf
    for where, part in engine.statistics():
        for a in range(order):
            counts[a][where[a]] += part["counts"][a]
            squares[a][where[a]] += part["squares"][a]
        infinite, n_nan = infinite + part["infinite"], n_nan + part["nan"]
        low, high = min(low, part["low"]), max(high, part["high"])
    if infinite:
        raise ValueError(f"Y must not hold infinity, got {infinite} infinite entries")
    if n_nan and mask is None:
        warnings.warn(f"Y holds {n_nan} NaN; they are taken as missing", TractableWarning, 4)
    by_mode = [torch.from_numpy(count) for count in counts]
    refuse_empty_slices(by_mode)
    if low == high:
        raise ValueError(f"Y is constant ({low:g}): there is nothing to decompose")
    weights = None
    if is_structured(by_mode, shape):
        counting = ChunkedContractions(Y, dtype, mask, count=True)
        weights = MaskWeights(shape, tuple(range(order)), counting)
    own: tuple[Tensor | None, Tensor | None] = (None, None)
    if noise_mode is not None:
        own = (torch.from_numpy(squares[noise_mode]), by_mode[noise_mode])
    n_observed, total = int(counts[0].sum()), float(squares[0].sum())
    return Observations(shape, engine, n_observed, total, weights, noise_mode, *own)
