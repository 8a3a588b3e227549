"""Distances between two samples: maximum mean discrepancy, sliced Wasserstein, Frechet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range

__all__ = ["Discrepancy", "frechet", "mmd2", "sliced_wasserstein"]

BLOCK = 2048  # rows of a block of the kernel matrix: 32 MiB in float64


@dataclass(frozen=True)
class Discrepancy:
    """An unbiased estimate, which may be negative, and its standard error.

    Parameters
    ----------
    value : float
        The estimate.
    se : float
        Its standard error.
    """

    value: float
    se: float


def mmd2(x: ArrayLike, y: ArrayLike, bandwidths: Sequence[float]) -> Discrepancy:
    r"""Return the squared maximum mean discrepancy, unbiased.

    .. math:: \mathrm{MMD}^2 = E\,k(x,x') + E\,k(y,y') - 2 E\,k(x,y), \qquad
        k(a,b) = \frac1W \sum_w e^{-|a-b|^2/(2 w^2)}.

    Parameters
    ----------
    x, y : array_like, shapes (m, n) and (l, n)
        The two samples, m, l >= 4.
    bandwidths : sequence of float
        Widths w > 0 of the Gaussian kernels, in units of the data. Give them beforehand: widths
        that follow the generated sample hide its faults.

    Returns
    -------
    Discrepancy
        The estimate is 0 on average for samples of one law. Its variance sums the first-order
        term (of the row means) and the second-order one (of the centered kernel), so that the
        error is right for equal laws, too.

    Notes
    -----
    O((m + l)^2) time; the kernel matrix is made in blocks of 2,048 rows.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schoelkopf, Smola 2012, JMLR 13; unbiased estimator: lemma 6.
    arXiv:0805.2368.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y = random.normal(size=(2, 500, 2))
    >>> same, shifted = mmd2(x, y, [1.0]), mmd2(x, y + 1.0, [1.0])
    >>> abs(same.value) < 3 * same.se, shifted.value > 10 * shifted.se
    (True, True)
    """
    x, y = _pair(x, y, least=4)
    widths = as_floats("bandwidths", bandwidths).ravel()
    if not widths.size:
        raise ValueError("bandwidths must hold at least one width, got none")
    for width in widths:
        check_range("bandwidths", float(width), 0, open_low=True)
    m, l = len(x), len(y)
    xx, yy, xy = (_Sums.of(a, b, widths) for a, b in ((x, x), (y, y), (x, y)))
    within_x = (xx.rows - 1) / (m - 1)  # the diagonal is 1
    within_y = (yy.rows - 1) / (l - 1)
    across_x, across_y = xy.rows / l, xy.columns / m
    value = within_x.mean() + within_y.mean() - 2 * across_x.mean()
    # E of the squared centered kernel: E k^2 - 2 E (row mean)^2 + (E k)^2, here from the pairs x, y
    row_means = float(np.mean(across_x**2) + np.mean(across_y**2) - across_x.mean() ** 2)
    second = max(xy.squares / (m * l) - row_means, 0.0)
    noise = second * (1 / m + 1 / l)  # of a row mean, hence no variance of the first order
    first = max(float(np.var(within_x - across_x)) - noise, 0.0) / m
    first += max(float(np.var(within_y - across_y)) - noise, 0.0) / l
    variance = 4 * first + second * (2 / m**2 + 2 / l**2 + 4 / (m * l))
    return Discrepancy(float(value), float(np.sqrt(variance)))


@dataclass(frozen=True)
class _Sums:
    """Sums of a kernel matrix over rows, over columns, and of its squares."""

    rows: np.ndarray
    columns: np.ndarray
    squares: float

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray, widths: np.ndarray) -> _Sums:
        rows, columns, squares = np.zeros(len(a)), np.zeros(len(b)), 0.0
        for i in range(0, len(a), BLOCK):
            for j in range(0, len(b), BLOCK):
                distance2 = squared_distances(a[i : i + BLOCK], b[j : j + BLOCK])
                kernel = np.zeros_like(distance2)
                for width in widths:
                    kernel += np.exp(distance2 * (-0.5 / width**2))
                kernel /= len(widths)
                rows[i : i + BLOCK] += kernel.sum(1)
                columns[j : j + BLOCK] += kernel.sum(0)
                squares += float(np.vdot(kernel, kernel))
        return cls(rows, columns, squares)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return |a_i - b_j|^2 by one matrix product, never negative; exactly 0 for equal blocks."""
    same = a is b or (a.shape == b.shape and np.shares_memory(a, b) and np.array_equal(a, b))
    origin = b.mean(0)  # far from 0 the squares would cancel to nothing
    a, b = a - origin, b - origin
    square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
    np.maximum(square, 0.0, out=square)
    if same:
        np.fill_diagonal(square, 0.0)
    return square


def sliced_wasserstein(
    x: ArrayLike, y: ArrayLike, n_projections: int = 200, *, seed: int = 0
) -> float:
    r"""Return the sliced Wasserstein-2 distance :math:`(E_\theta W_2^2(\theta x, \theta y))^{1/2}`.

    Parameters
    ----------
    x, y : array_like, shapes (m, n) and (l, n)
        The two samples, of any sizes.
    n_projections : int
        Random directions, >= 1; 200 give about 5 % in low dimensions.
    seed : int
        Decides the directions: the same for all samples that are compared.

    Returns
    -------
    float
        In units of the data. For two samples of one law it is positive, and falls with their
        sizes: give the distance of two halves of the data beside it.

    References
    ----------
    Bonneel, Rabin, Peyre, Pfister 2015, doi:10.1007/s10851-014-0506-3.

    Examples
    --------
    A shift by 3 in n dimensions is seen as 3 / sqrt(n).

    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> d = sliced_wasserstein(x, x + np.array([3.0, 0.0]), 2000)
    >>> bool(abs(d / (3 / np.sqrt(2)) - 1) < 0.03)
    True
    """
    x, y = _pair(x, y, least=1)
    check_count("n_projections", n_projections)
    check_count("seed", seed, 0)
    direction = np.random.default_rng(seed).normal(size=(x.shape[1], n_projections))
    direction /= np.linalg.norm(direction, axis=0)
    a, b = np.sort(x @ direction, axis=0), np.sort(y @ direction, axis=0)
    # The quantile functions are steps: sum over the pieces between the jumps of either.
    jumps = np.union1d(np.arange(1, len(a) + 1) / len(a), np.arange(1, len(b) + 1) / len(b))
    weight = np.diff(jumps, prepend=0.0)
    middle = jumps - weight / 2
    at_a = np.minimum((middle * len(a)).astype(int), len(a) - 1)
    at_b = np.minimum((middle * len(b)).astype(int), len(b) - 1)
    return float(np.sqrt((weight @ (a[at_a] - b[at_b]) ** 2).mean()))


def frechet(x: ArrayLike, y: ArrayLike) -> float:
    r"""Return the Frechet distance of the Gaussians with the moments of two samples.

    .. math:: |m_x - m_y|^2
        + \mathrm{tr}\bigl(C_x + C_y - 2 (C_x^{1/2} C_y C_x^{1/2})^{1/2}\bigr)

    Parameters
    ----------
    x, y : array_like, shapes (m, n) and (l, n)
        Features of the two samples, such as those of a classifier. Give at least ten times as
        many points as features: the distance is biased upwards by about n^2 / m.

    Returns
    -------
    float
        In squared units of the features, >= 0.

    References
    ----------
    Dowson, Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(frechet(x, x + np.array([1.0, 2.0, 2.0])), 6)
    9.0
    """
    x, y = _pair(x, y, least=2)
    gap = x.mean(0) - y.mean(0)
    first, second = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = root @ second @ root
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0.0)).sum()
    return float(max(gap @ gap + np.trace(first) + np.trace(second) - 2 * shared, 0.0))


def _pair(x: ArrayLike, y: ArrayLike, *, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples as rows of float64, checked."""
    first, second = rows("x", x, least=least), rows("y", y, least=least)
    same_dimension("x", first, "y", second)
    return first, second


def same_dimension(name: str, sample: np.ndarray, other: str, value: np.ndarray) -> None:
    """Refuse rows of another length than those of a first sample.

    Raises
    ------
    ValueError
        With both names and shapes; events are flattened.
    """
    if value.shape[1] != sample.shape[1]:
        raise ValueError(
            f"{other} must have shape (n, {sample.shape[1]}) as {name} of shape {sample.shape} "
            f"has points of that dimension, got {value.shape}"
        )


def rows(name: str, value: ArrayLike, *, least: int = 1) -> np.ndarray:
    """Return a sample as float64 of shape (points, dimensions): events are flattened."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = as_floats(name, value)
    if array.ndim < 2 or len(array) < least:
        raise ValueError(
            f"{name} must have shape (n_points, ...) with at least {least} points, got "
            f"{array.shape}"
        )
    array = array.reshape(len(array), -1)
    check_finite(name, array)
    return array
