"""A compiled pass over the tensor where BLAS is slow: a few rows times a large matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["MAX_COLUMNS", "accumulate"]

MAX_COLUMNS = 8  # with more columns BLAS is as fast


def accumulate(y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return ``a.T @ y`` for a tall matrix y and at most a few columns in a, reading y once.

    Parameters
    ----------
    y : ndarray, shape (m, n)
        C-contiguous, float32 or float64.
    a : ndarray, shape (m, K)
        Of the same type.

    Returns
    -------
    ndarray, shape (K, n)

    Examples
    --------
    >>> y, a = np.arange(12.0).reshape(6, 2), np.ones((6, 1))
    >>> accumulate(y, a)
    array([[30., 36.]])
    """
    out = np.zeros((a.shape[1], y.shape[1]), dtype=y.dtype)
    _compiled()(y, a, out)
    return out


@functools.cache
def _compiled() -> Callable[..., Any]:
    import numba

    return numba.njit(cache=True, fastmath=True, nogil=True)(_accumulate)


def _accumulate(y: np.ndarray, a: np.ndarray, out: np.ndarray) -> None:
    """Eight rows at a time: they and ``out`` stay in cache while the columns take turns.

    One array is written and eight are read: with more, the compiler no longer proves that they do
    not overlap, and does not use vector instructions.
    """
    m, n = y.shape
    i = 0
    while i + 8 <= m:
        y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
        y4, y5, y6, y7 = y[i + 4], y[i + 5], y[i + 6], y[i + 7]
        for c in range(a.shape[1]):
            a0, a1, a2, a3 = a[i, c], a[i + 1, c], a[i + 2, c], a[i + 3, c]
            a4, a5, a6, a7 = a[i + 4, c], a[i + 5, c], a[i + 6, c], a[i + 7, c]
            o = out[c]
            for k in range(n):
                first = y0[k] * a0 + y1[k] * a1 + y2[k] * a2 + y3[k] * a3
                o[k] += first + y4[k] * a4 + y5[k] * a5 + y6[k] * a6 + y7[k] * a7
        i += 8
    while i < m:
        for c in range(a.shape[1]):
            for k in range(n):
                out[c, k] += y[i, k] * a[i, c]
        i += 1
