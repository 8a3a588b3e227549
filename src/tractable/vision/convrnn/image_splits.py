"""Splits of images into training and test: random, by groups, or balanced over categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_count, check_finite, check_range

__all__ = ["image_splits"]

Split = tuple[np.ndarray, np.ndarray]


def image_splits(
    n_images: int,
    splits: int = 10,
    *,
    train: float = 0.5,
    groups: ArrayLike | None = None,
    categories: ArrayLike | None = None,
    seed: int = 0,
) -> list[Split]:
    """Return pairs of training and test indices.

    Parameters
    ----------
    n_images : int
        At least 4.
    splits : int
        Random splits. Published settings: 10 of 50/50, 5 of 80/20.
    train : float
        Share of training images, in (0, 1).
    groups : array_like, shape (n_images,), optional
        Images of one group (views of one object, frames of one film) stay on one side.
    categories : array_like, shape (n_images,), optional
        Every category is split by the share, so both sides have the same balance.
    seed : int
        Decides the splits.

    Returns
    -------
    list of (ndarray, ndarray)
        Sorted indices.

    Raises
    ------
    ValueError
        A side would be empty; both groups and categories are given and a group is in two.

    Examples
    --------
    >>> train, test = image_splits(6, 1, groups=[0, 0, 1, 1, 2, 2])[0]
    >>> sorted({*train.tolist(), *test.tolist()})
    [0, 1, 2, 3, 4, 5]
    """
    check_count("n_images", n_images, 4)
    check_count("splits", splits)
    check_count("seed", seed, 0)
    check_range("train", train, 0.0, 1.0, open_low=True, open_high=True)
    units = _per_image("groups", groups, n_images) if groups is not None else np.arange(n_images)
    kinds = _per_image("categories", categories, n_images)
    _, unit = np.unique(units, return_inverse=True)
    pools = _pools(unit, kinds)
    random = np.random.default_rng(seed)
    return [_one(random, unit, pools, train) for _ in range(splits)]


def _pools(unit: np.ndarray, kinds: np.ndarray) -> list[np.ndarray]:
    """Return the units of each category."""
    pools = [np.unique(unit[kinds == kind]) for kind in np.unique(kinds)]
    if sum(map(len, pools)) != len(np.unique(unit)):
        raise ValueError("groups must lie within categories, but a group is in two of them")
    return pools


def _one(
    random: np.random.Generator, unit: np.ndarray, pools: Iterable[np.ndarray], train: float
) -> Split:
    chosen = []
    for pool in pools:
        n = round(train * len(pool))
        if not 0 < n < len(pool):
            raise ValueError(
                f"train={train:g} leaves a side without images: a category (or all images) has "
                f"{len(pool)} independent groups"
            )
        chosen.append(random.permutation(pool)[:n])
    inside = np.isin(unit, np.concatenate(chosen))
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def _per_image(name: str, values: ArrayLike | None, n_images: int) -> np.ndarray:
    found: Any = np.zeros(n_images, dtype=int) if values is None else np.asarray(values)
    if found.shape != (n_images,):
        raise ValueError(f"{name} must have one entry per image ({n_images}), got {found.shape}")
    if found.dtype.kind == "f":
        check_finite(name, found)
    try:
        np.unique(found)
    except TypeError:  # names and numbers, or None among them
        kinds = ", ".join(sorted({type(one).__name__ for one in found}))
        raise TypeError(f"{name} must be numbers or names, all of one kind, got {kinds}") from None
    return found
