"""Tracing of a snake: mark every pixel of the curve that a seed lies on.

Snakes do not touch, so that which snake holds the seed is known only by following it, pixel by
pixel. A stack of n convolutions of size 3 reaches n pixels far: what lies farther is decided by
recurrence or not at all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_range
from tractable.core.seeds import derive, generator

__all__ = ["Snakes", "snake_batches", "snakes", "trace_scores"]

ATTEMPTS = 2000  # of placing one image before the request is refused


@dataclass(frozen=True, eq=False)
class Snakes:
    """Images of snakes with a seed on one of them.

    Parameters
    ----------
    images : ndarray of float32, shape (n, 2, size, size)
        Channel 0: the snakes' pixels; channel 1: the seed.
    path : ndarray of int64, shape (n, size, size)
        Steps along the snake from the seed; -1 on the other snakes, -2 where there is none.

    """

    images: np.ndarray
    path: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def target(self) -> np.ndarray:
        """True on the snake that holds the seed."""
        return self.path >= 0

    @property
    def on_snake(self) -> np.ndarray:
        """True on every snake: the pixels that are scored."""
        return self.path >= -1


def snakes(n: int, *, size: int = 16, n_snakes: int = 4, length: int = 14, seed: int = 0) -> Snakes:
    """Draw images of snakes: self-avoiding walks that touch neither each other nor themselves.

    Parameters
    ----------
    n : int
        Images, >= 1.
    size : int
        Side of an image in pixels, >= 4.
    n_snakes : int
        Snakes of an image, >= 1.
    length : int
        Pixels of a snake, >= 2.
    seed : int
        Decides everything.

    Returns
    -------
    Snakes
        The seed is an end of the first snake, so that distances go up to ``length - 1``.

    Raises
    ------
    ValueError
        The image is too small for so many snakes.

    Notes
    -----
    Between two snakes there is always a free pixel, also along the diagonals, and a snake meets
    itself at a corner only.

    Examples
    --------
    >>> drawn = snakes(3, seed=1)
    >>> drawn.images.sum((1, 2, 3)).tolist(), drawn.target.sum((1, 2)).tolist()
    ([57.0, 57.0, 57.0], [14, 14, 14])
    """
    for name, value, low in (("n", n, 1), ("size", size, 4), ("n_snakes", n_snakes, 1)):
        check_range(name, value, low)
    check_range("length", length, 2)
    random = np.random.default_rng(derive(seed, "snakes"))
    images = np.zeros((n, 2, size, size), dtype=np.float32)
    path = np.full((n, size, size), -2)
    for i in range(n):
        for k, snake in enumerate(_image(size, n_snakes, length, random)):
            rows, columns = np.divmod(np.array(snake), size)
            images[i, 0, rows, columns] = 1.0
            path[i, rows, columns] = -1 if k else np.arange(length)
        images[i, 1] = path[i] == 0
    return Snakes(images, path)


def snake_batches(
    drawn: Snakes, *, batch_size: int, seed: int
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """Return what `tractable.train.fit` takes as data: the images, turned and mirrored at random.

    Batches are pairs of images (batch, 2, size, size) and the path of `Snakes`.
    """
    check_range("batch_size", batch_size, 1, len(drawn))
    images, path = torch.from_numpy(drawn.images), torch.from_numpy(drawn.path)

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        random = generator(derive(seed, "snake batches", number))
        order = torch.randperm(len(images), generator=random)
        for rows in order.split(batch_size)[: len(images) // batch_size]:
            turns, mirrored = torch.randint(8, (2,), generator=random).tolist()
            pair = [torch.rot90(part[rows], turns % 4, (-2, -1)) for part in (images, path)]
            yield tuple(part.flip(-1) if mirrored % 2 else part for part in pair)  # type: ignore[misc]  # two

    return epoch


def trace_scores(logits: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the share of the snake that is found at each distance, and of the others left out.

    Parameters
    ----------
    logits : ndarray, shape (n, size, size)
        Positive: the pixel is on the seed's snake.
    path : ndarray of int, shape (n, size, size)
        That of `Snakes`.

    Returns
    -------
    found : ndarray, shape (length,)
        Share of the target's pixels at each path distance that are marked.
    rejected : float
        Share of the other snakes' pixels that are not marked.

    Examples
    --------
    >>> drawn = snakes(2)
    >>> found, rejected = trace_scores(np.where(drawn.path == 0, 1.0, -1.0), drawn.path)
    >>> found[:3], rejected
    (array([1., 0., 0.]), 1.0)
    """
    if logits.shape != path.shape:
        raise ValueError(f"logits and path must be of one shape, got {logits.shape}, {path.shape}")
    marked = logits > 0
    found = np.array([marked[path == d].mean() for d in range(path.max() + 1)])
    return found, float(1 - marked[path == -1].mean())


# --- placing, on bit masks: bit y * size + x of an integer is one pixel ------------------------


@functools.cache
def _neighborhoods(size: int) -> tuple[list[list[int]], list[int]]:
    """Return, for every pixel, its four neighbors, and the mask of all eight and itself."""
    four: list[list[int]] = []
    eight: list[int] = []
    for y in range(size):
        for x in range(size):
            steps = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            four.append([v * size + u for v, u in steps if 0 <= v < size and 0 <= u < size])
            rows, columns = range(max(y - 1, 0), min(y + 2, size)), range(max(x - 1, 0), x + 2)
            eight.append(sum(1 << (v * size + u) for v in rows for u in columns if u < size))
    return four, eight


def _image(size: int, n_snakes: int, length: int, random: np.random.Generator) -> list[list[int]]:
    for _ in range(ATTEMPTS):
        closed, placed = 0, []
        for _ in range(20 * n_snakes):
            snake = _walk(size, length, closed, random)
            if snake:
                placed.append(snake)
                for pixel in snake:
                    closed |= _neighborhoods(size)[1][pixel]
            if len(placed) == n_snakes:
                return placed
    raise ValueError(
        f"{n_snakes} snakes of {length} pixels find no room in {size} x {size} pixels; "
        "take fewer, shorter, or a larger size"
    )


def _walk(size: int, length: int, closed: int, random: np.random.Generator) -> list[int]:
    """Return a walk that keeps off the closed pixels and off itself; empty where it is stuck."""
    four, eight = _neighborhoods(size)
    choices = random.random(length).tolist()
    walk = [int(choices[0] * size * size)]
    if closed >> walk[0] & 1:
        return []
    body = 0  # of the walk, without its last two pixels
    for choice in choices[1:]:
        if len(walk) > 2:
            body |= 1 << walk[-3]
        free = [
            p
            for p in four[walk[-1]]
            if p not in walk[-2:] and not closed >> p & 1 and not body & eight[p]
        ]
        if not free:
            return []
        walk.append(free[int(choice * len(free))])
    return walk
