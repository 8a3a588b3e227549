"""The same contractions of a dask array: chunk by chunk, in memory bounded by the chunks."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning
from tractable.tensors.contractions import FLOAT32_ROUNDING, DenseContractions, halves
from tractable.tensors.observations import (
    Observations,
    check_dtype,
    is_structured,
    refuse_empty_slices,
)
from tractable.tensors.weights import MaskWeights

__all__ = ["ChunkedContractions", "observe_chunks"]

SMALL_MASK = 1 / 16  # of the entries: a mask that repeats itself up to here is kept in memory


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

    @functools.cached_property
    def places(self) -> dict[tuple[int, ...], tuple[slice, ...]]:
        """The place of each chunk, by its index, in C order."""
        edges = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in self.array.chunks]
        places = [[slice(int(a), int(b)) for a, b in itertools.pairwise(edge)] for edge in edges]
        return {
            index: tuple(place[i] for place, i in zip(places, index, strict=True))
            for index in np.ndindex(*self.array.numblocks)
        }

    @functools.cached_property
    def _blocks(self) -> dict[tuple[int, ...], tuple[dict[Any, Any], list[Any]]]:
        """The tasks of each chunk and its mask, and the names of both, by index."""
        blocks = separated(self.array)
        masks: dict[Any, tuple[dict[Any, Any], Any]] = dict.fromkeys(blocks, ({}, None))
        if self.mask is not None:
            masks = separated(self.mask)
        return {
            index: (tasks | masks[index][0], [name, masks[index][1]])
            for index, (tasks, name) in blocks.items()
        }

    def _map(
        self,
        function: Any,
        groups: Iterable[tuple[tuple[int, ...], ...]],
        arguments: Callable[[tuple[tuple[int, ...], ...]], Any],
    ) -> Iterator[tuple[tuple[tuple[int, ...], ...], Any]]:
        """Yield function([(chunk, mask), ..], dtype, count, argument) of each group, in order.

        As many groups as there are workers are under way at once: what is in memory does not grow
        with the number of chunks, and sums over the results are the same in every run.
        """
        import dask.base
        import dask.threaded

        get = dask.base.get_scheduler() or dask.threaded.get
        waiting, width = iter(groups), n_workers()
        while window := list(itertools.islice(waiting, width)):
            graph: dict[Any, Any] = {}
            names = [f"contracted-{k}" for k in range(len(window))]
            for name, group in zip(names, window, strict=True):
                keys = []
                for index in group:
                    tasks, pair = self._blocks[index]
                    graph |= tasks
                    keys.append(pair)
                task = functools.partial(
                    function, dtype=self.dtype, count=self.count, argument=arguments(group)
                )
                graph[name] = (task, keys)
            yield from zip(window, get(graph, names), strict=True)

    def _each(self) -> list[tuple[tuple[int, ...], ...]]:
        return [(index,) for index in self.places]

    def partial(self, side: int, factors: Sequence[Tensor]) -> Tensor:
        """Return the array contracted with all modes of the other side, shape (.., K)."""
        h = self.n_left
        own = range(h) if side == 0 else range(h, len(self.shape))
        width = factors[0].shape[1]
        total = torch.zeros(*(self.shape[a] for a in own), width, dtype=torch.float64)

        def arguments(group: tuple[tuple[int, ...], ...]) -> Any:
            places = self.places[group[0]]
            return h, side, [x[place].numpy() for x, place in zip(factors, places, strict=True)]

        for (index,), part in self._map(_partial, self._each(), arguments):
            total[tuple(self.places[index][a] for a in own)] += torch.from_numpy(part)
        return total

    def finish(self, partial: Tensor, mode: int, factors: Sequence[Tensor]) -> Tensor:
        """Return the MTTKRP of a mode, shape (N_a, K)."""
        from tractable.tensors.contractions import contract_others

        first = 0 if mode < self.n_left else self.n_left
        own = list(factors[first : first + partial.ndim - 1])
        return contract_others(partial, mode - first, own)

    def gram(self, mode: int) -> Tensor:
        """Return Y_(a) Y_(a)^T, shape (N_a, N_a), from pairs of chunks.

        With n chunks along the mode every chunk is read (n + 1) / 2 times on average; bringing the
        mode into one chunk would read once, but hold a part that grows with the array.
        """
        n_along = self.array.numblocks[mode]
        pairs = (
            (index, (*index[:mode], j, *index[mode + 1 :]))
            for index in self.places
            for j in range(index[mode], n_along)
        )
        total = torch.zeros(self.shape[mode], self.shape[mode], dtype=torch.float64)
        for (one, other), part in self._map(_gram, pairs, lambda _: mode):
            rows, columns = self.places[one][mode], self.places[other][mode]
            total[rows, columns] += torch.from_numpy(part)
            if one != other:
                total[columns, rows] += torch.from_numpy(part).T
        return total

    def statistics(self) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
        """Yield index, counts, sums of squares, range and mask of every chunk."""
        for (index,), part in self._map(_statistics, self._each(), lambda _: None):
            yield index, part


def n_workers() -> int:
    """Return how many tasks dask runs at once."""
    import dask
    from dask.system import CPU_COUNT

    distributed = sys.modules.get("distributed")  # no client without it
    if distributed is not None:
        with contextlib.suppress(ValueError):  # there is no client
            return max(1, sum(distributed.get_client().nthreads().values()))
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return 1
    pool = dask.config.get("pool", None)
    width = getattr(pool, "_max_workers", None) or dask.config.get("num_workers", None)
    return int(width or CPU_COUNT)


def separated(array: Any) -> dict[tuple[int, ...], tuple[dict[Any, Any], Any]]:
    """Return the tasks that make each chunk of a dask array, and the name of its last task.

    The graph is cut up once: to search all of it for every group of chunks would cost the square of
    their number.
    """
    from dask.optimization import cull

    blocks = array.to_delayed()
    graph = dict(blocks.flat[0].dask)
    names = {index: blocks[index].key for index in np.ndindex(*array.numblocks)}
    return {index: (dict(cull(graph, [name])[0]), name) for index, name in names.items()}


def _tensor(block: Any, mask: Any, dtype: torch.dtype, count: bool) -> Tensor:
    """Return a chunk with zeros where nothing is observed, or 1 where something is."""
    values = torch.as_tensor(np.ascontiguousarray(block)).to(dtype)
    present = ~values.isnan()
    if mask is not None:
        present &= torch.as_tensor(np.ascontiguousarray(mask)).bool()
    if count:
        return present.to(dtype)
    return values if bool(present.all()) else torch.where(present, values, values.new_zeros(()))


def _partial(blocks: Any, dtype: torch.dtype, count: bool, argument: Any) -> np.ndarray:
    h, side, factors = argument
    engine = DenseContractions(_tensor(blocks[0][0], blocks[0][1], dtype, count), n_left=h)
    found = engine.partial(side, [torch.from_numpy(x) for x in factors])
    return found.double().numpy()


def _gram(blocks: Any, dtype: torch.dtype, count: bool, argument: int) -> np.ndarray:
    first, second = (_tensor(block, mask, dtype, count) for block, mask in blocks)
    mode = argument
    before = int(np.prod(first.shape[:mode]))
    rows = first.view(before, first.shape[mode], -1)
    columns = second.view(before, second.shape[mode], -1)
    return sum(x @ y.T for x, y in zip(rows, columns, strict=True)).double().numpy()


def _statistics(blocks: Any, dtype: torch.dtype, count: bool, argument: None) -> dict[str, Any]:
    block, mask = blocks[0]
    present = _tensor(block, mask, dtype, True)
    values = _tensor(block, mask, dtype, False)
    axes = range(values.ndim)
    others = [[b for b in axes if b != a] for a in axes]
    seen = values[present.bool()]
    return {
        "mask": True if present.all() else _without_repeats(present.bool().numpy()),
        "infinite": int(values.isinf().sum()),
        "nan": int(np.isnan(np.asarray(block, dtype=float)).sum()),
        "counts": [present.double().sum(other).numpy() for other in others],
        "squares": [values.double().square().sum(other).numpy() for other in others],
        "low": float(seen.min()) if len(seen) else np.inf,
        "high": float(seen.max()) if len(seen) else -np.inf,
    }


def _without_repeats(mask: np.ndarray) -> np.ndarray | None:
    """Return a mask with size 1 along the modes in which it repeats itself; None: in no mode."""
    small = mask
    for mode in range(mask.ndim):
        first = small.take([0], mode)
        if bool((small == first).all()):
            small = first
    return None if small.shape == mask.shape and small.size > 1 else small.copy()


def joined_masks(
    shape: tuple[int, ...],
    places: dict[tuple[int, ...], tuple[slice, ...]],
    parts: dict[tuple[int, ...], Any],
    dtype: torch.dtype,
) -> MaskWeights | None:
    """Return the weights of a mask from those of its chunks, or None where it varies too much.

    ``parts`` holds True for a chunk that is complete, and None for one that repeats itself nowhere.

    Trials that are missing at all times are one matrix (neurons, trials), small enough for the
    memory; the chunks need not be read again in every sweep to count them.
    """
    if any(part is None for part in parts.values()):
        return None
    whole = np.ones([1] * len(shape), bool)
    known = {index: whole if part is True else part for index, part in parts.items()}
    varies = []
    for mode in range(len(shape)):
        if any(
            part.shape[mode] > 1
            or not bool((part == known[(*index[:mode], 0, *index[mode + 1 :])]).all())
            for index, part in known.items()
        ):
            varies.append(mode)
    sizes = [n if mode in varies else 1 for mode, n in enumerate(shape)]
    if float(np.prod(sizes)) > SMALL_MASK * float(np.prod(shape)):
        return None
    small = np.zeros(sizes, bool)
    for index, part in known.items():
        if all(index[mode] == 0 for mode in range(len(shape)) if mode not in varies):
            place = [s if mode in varies else slice(0, 1) for mode, s in enumerate(places[index])]
            small[tuple(place)] = part
    weights = torch.from_numpy(small.reshape([shape[mode] for mode in varies]))
    if len(varies) == 1:
        return MaskWeights(shape, tuple(varies), None, weights.double())
    return MaskWeights(shape, tuple(varies), DenseContractions(weights.to(dtype)))


def observe_chunks(
    Y: Any, *, mask: Any = None, noise_mode: int | None = None, dtype: torch.dtype | None = None
) -> Observations:
    """Check a dask array in one pass over its chunks."""
    if np.issubdtype(Y.dtype, np.complexfloating):
        raise TypeError("Y must be real, got complex numbers; decompose the real part or the power")
    if not np.issubdtype(Y.dtype, np.number) and Y.dtype != bool:
        raise TypeError(f"Y must be an array of numbers, got {Y.dtype}")
    check_dtype(dtype)
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
    masks = {}
    for index, part in engine.statistics():
        # Small arrays that stay would pin the memory of the thread that made them: True, or a copy.
        seen = part["mask"]
        masks[index] = seen.copy() if isinstance(seen, np.ndarray) else seen
        where = engine.places[index]
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

    def count() -> MaskWeights:
        small = joined_masks(shape, engine.places, masks, dtype)
        counting = ChunkedContractions(Y, dtype, mask, count=True)
        return small or MaskWeights(shape, tuple(range(order)), counting)

    weights = count() if is_structured(by_mode, shape) else None
    own: tuple[Tensor | None, Tensor | None] = (None, None)
    if noise_mode is not None:
        own = (torch.from_numpy(squares[noise_mode]), by_mode[noise_mode])
    n_observed, total = int(counts[0].sum()), float(squares[0].sum())
    later = None if weights is not None or n_observed == np.prod(shape) else count
    return Observations(
        shape,
        engine,
        n_observed,
        total,
        weights,
        noise_mode,
        *own,
        later,
        tuple(map(torch.from_numpy, squares)),
        tuple(by_mode),
    )
