"""How well a generated sample covers the data, and whether it repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range, check_shape
from tractable.walkback.distances import BLOCK, rows, same_dimension, squared_distances

__all__ = ["Coverage", "LabelShares", "label_shares", "memorization_ratio", "prdc"]


@dataclass(frozen=True)
class Coverage:
    """Precision, recall, density and coverage by nearest neighbors; see `prdc`.

    Parameters
    ----------
    precision : float
        Share of generated points within the neighborhood of a data point.
    recall : float
        Share of data points within the neighborhood of a generated point.
    density : float
        Neighborhoods of the data that hold a generated point, over k: about 1 for the same law.
    coverage : float
        Share of data points whose neighborhood holds a generated point.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(x: ArrayLike, y: ArrayLike, k: int = 5) -> Coverage:
    """Return precision, recall, density and coverage of generated points.

    The neighborhood of a point is the ball that reaches to its k-th nearest neighbor in its own
    sample.

    Parameters
    ----------
    x : array_like, shape (m, n)
        Generated points, m > k.
    y : array_like, shape (l, n)
        Data, l > k.
    k : int
        Neighbor that ends the ball, >= 1.

    Returns
    -------
    Coverage
        Four shares.

    References
    ----------
    Naeem, Oh, Uh, Choi, Yoo 2020, arXiv:2002.09797, equations 1 to 4.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y = random.normal(size=(2, 1000, 2))
    >>> good, narrow = prdc(x, y), prdc(0.1 * x, y)
    >>> good.coverage > 0.9, narrow.coverage < 0.2, narrow.precision > 0.98
    (True, True, True)
    """
    generated, data = rows("x", x), rows("y", y)
    same_dimension("x", generated, "y", data)
    check_count("k", k)
    check_range("k", k, 1, min(len(generated), len(data)) - 1)
    reach = _kth_nearest(data, k)
    own_reach = _kth_nearest(generated, k)
    in_ball = np.zeros(len(generated))
    recalled = np.zeros(len(data), dtype=bool)
    nearest = np.full(len(data), np.inf)
    for at, square in _blocks(generated, data):
        in_ball[at] = (square < reach).sum(1)
        recalled |= (square < own_reach[at, None]).any(0)
        np.minimum(nearest, square.min(0), out=nearest)
    return Coverage(
        precision=float((in_ball > 0).mean()),
        recall=float(recalled.mean()),
        density=float(in_ball.mean() / k),
        coverage=float((nearest < reach).mean()),
    )


def _blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(a), BLOCK):
        at = slice(start, min(start + BLOCK, len(a)))
        yield at, squared_distances(a[at], b)


def _kth_nearest(points: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance of each point to its k-th nearest other point."""
    found = np.empty(len(points))
    for at, square in _blocks(points, points):
        square[np.arange(len(square)), np.arange(at.start, at.stop)] = -1.0  # itself comes first
        found[at] = np.partition(square, k, axis=1)[:, k]
    return found


def memorization_ratio(x: ArrayLike, test: ArrayLike, train: ArrayLike) -> float:
    """Return how near generated points lie to the training data, over that of new data.

    The median distance to the nearest training point, of generated points over that of test
    points: 0 for copies, about 1 for points of the same law, above 1 for points off the data. NaN
    where half of the new points themselves are copies, as with few distinct values.

    Parameters
    ----------
    x, test, train : array_like, shapes (m, n), (l, n) and (p, n)
        Generated points, data not seen, data trained on.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> train, test = random.normal(size=(2, 500, 3))
    >>> memorization_ratio(train[:100] + 1e-6, test, train) < 1e-3
    True
    >>> 0.7 < memorization_ratio(random.normal(size=(500, 3)), test, train) < 1.4
    True
    """
    generated, new, seen = rows("x", x), rows("test", test), rows("train", train)
    same_dimension("x", generated, "test", new)
    same_dimension("x", generated, "train", seen)
    ours = np.concatenate([square.min(1) for _, square in _blocks(generated, seen)])
    theirs = np.concatenate([square.min(1) for _, square in _blocks(new, seen)])
    usual = float(np.median(theirs))
    return float(np.sqrt(np.median(ours) / usual)) if usual > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class LabelShares:
    """What a classifier sees in a generated sample; see `label_shares`.

    Parameters
    ----------
    shares : ndarray, shape (K,)
        Share of each class.
    chi2 : float
        Chi-squared of these counts against those expected; about K - 1 for the same law.
    sure : float
        Share of points of which one class has a probability above 0.9.
    """

    shares: np.ndarray
    chi2: float
    sure: float


def label_shares(probabilities: ArrayLike, expected: ArrayLike | None = None) -> LabelShares:
    """Return the histogram of labels, its chi-squared, and how sure the classifier is.

    Parameters
    ----------
    probabilities : array_like, shape (m, K)
        Class probabilities of generated points; rows sum to 1.
    expected : array_like, shape (K,), optional
        Shares of the classes in the data; by default equal.

    Examples
    --------
    >>> found = label_shares([[0.95, 0.05], [0.6, 0.4], [0.0, 1.0], [1.0, 0.0]])
    >>> found.shares.tolist(), found.chi2, found.sure
    ([0.75, 0.25], 1.0, 0.75)
    """
    p = rows("probabilities", probabilities)
    if p.min() < -1e-6 or abs(p.sum(1) - 1).max() > 1e-3:
        raise ValueError("probabilities must be >= 0 with rows that sum to 1; apply a softmax")
    m, n_classes = p.shape
    equal = np.full(n_classes, 1 / n_classes)
    wanted = equal if expected is None else as_floats("expected", expected)
    check_shape("expected", wanted.shape, (n_classes,))
    check_finite("expected", wanted)
    if wanted.min() <= 0:
        raise ValueError("expected must be positive for every class; leave out empty classes")
    wanted = wanted / wanted.sum()
    counts = np.bincount(p.argmax(1), minlength=n_classes)
    chi2 = float((((counts - m * wanted) ** 2) / (m * wanted)).sum())
    return LabelShares(counts / m, chi2, float((p.max(1) > 0.9).mean()))
