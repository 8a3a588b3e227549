"""Minibatches as a function of the epoch, so that a training run can be resumed in mid-epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count
from tractable.core.seeds import derive, generator

__all__ = ["Minibatches", "minibatches"]


@dataclass(frozen=True, eq=False)
class Minibatches:
    """Batches of an epoch: a function of the epoch's number; see `minibatches`."""

    tensors: tuple[Tensor, ...]
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False
    lengths: Tensor | None = None
    collate: Callable[..., Any] | None = None

    def __len__(self) -> int:
        n = len(self.tensors[0])
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __call__(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of one epoch, each a tuple of tensors or what ``collate`` makes."""
        for rows in self._rows(epoch):
            batch = tuple(tensor[rows] for tensor in self.tensors)
            yield self.collate(*batch) if self.collate is not None else batch

    def _rows(self, epoch: int) -> list[Tensor]:
        n, random = len(self.tensors[0]), generator(derive(self.seed, "batches", epoch))
        order = torch.randperm(n, generator=random) if self.shuffle else torch.arange(n)
        if self.lengths is not None:  # alike lengths share a batch, in random order of batches
            chunks = order.split(50 * self.batch_size)
            order = torch.cat([rows[self.lengths[rows].argsort(stable=True)] for rows in chunks])
        batches = list(order.split(self.batch_size))[: len(self)]
        if self.lengths is not None and self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=random)]
        return batches


def minibatches(
    *tensors: Tensor | np.ndarray,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    lengths: Tensor | np.ndarray | None = None,
    collate: Callable[..., Any] | None = None,
) -> Minibatches:
    """Cut data into minibatches, the same for each number of an epoch.

    Parameters
    ----------
    *tensors : tensor or ndarray, shape (n, ...)
        Equal first lengths.
    batch_size : int
        Rows of a batch, >= 1; the last batch of an epoch may be smaller.
    seed : int
        Decides the order, together with the epoch.
    shuffle : bool
        False keeps the order of the data.
    drop_last : bool
        True leaves out a smaller last batch.
    lengths : tensor or ndarray, shape (n,), optional
        Rows of similar length come into one batch, which saves padding.
    collate : callable, optional
        ``collate(*batch)`` is what the loss gets, such as
        `tractable.dynamics.text.trim_padding`.

    Examples
    --------
    >>> batches = minibatches(torch.arange(5), batch_size=2, shuffle=False)
    >>> [batch[0].tolist() for batch in batches(0)], len(batches)
    ([[0, 1], [2, 3], [4]], 3)
    """
    check_count("batch_size", batch_size)
    if not tensors:
        raise ValueError("minibatches needs one tensor or more, got none")
    rows = tuple(torch.as_tensor(tensor) for tensor in tensors)
    key = None if lengths is None else torch.as_tensor(lengths)
    sizes = [len(tensor) for tensor in (*rows, *(() if key is None else (key,)))]
    if len(set(sizes)) > 1 or sizes[0] == 0:
        raise ValueError(f"tensors must have one common first length >= 1, got {sizes}")
    return Minibatches(rows, batch_size, seed, shuffle, drop_last, key, collate)
