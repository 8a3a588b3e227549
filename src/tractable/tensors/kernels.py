"""A compiled pass over the tensor where BLAS is slow: a few rows times a large matrix, float64."""

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
    n_columns = a.shape[1]
    padded = np.zeros((a.shape[0], -(-n_columns // 4) * 4), dtype=y.dtype)
    padded[:, :n_columns] = a
    out = np.zeros((padded.shape[1], y.shape[1]), dtype=y.dtype)
    _compiled()(y, padded, out)
    return out[:n_columns]


@functools.cache
def _compiled() -> Callable[..., Any]:
    import numba

    return numba.njit(fastmath=True, nogil=True)(_accumulate)


def _accumulate(y: np.ndarray, a: np.ndarray, out: np.ndarray) -> None:
    """Four rows and four columns at a time: each row of y is read once, ``out`` stays in cache."""
    m, n = y.shape
    for c in range(0, a.shape[1], 4):
        o0, o1, o2, o3 = out[c], out[c + 1], out[c + 2], out[c + 3]
        i = 0
        while i + 4 <= m:
            y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
            a00, a01, a02, a03 = a[i, c], a[i, c + 1], a[i, c + 2], a[i, c + 3]
            a10, a11, a12, a13 = a[i + 1, c], a[i + 1, c + 1], a[i + 1, c + 2], a[i + 1, c + 3]
            a20, a21, a22, a23 = a[i + 2, c], a[i + 2, c + 1], a[i + 2, c + 2], a[i + 2, c + 3]
            a30, a31, a32, a33 = a[i + 3, c], a[i + 3, c + 1], a[i + 3, c + 2], a[i + 3, c + 3]
            for k in range(n):
                e, f, g, h = y0[k], y1[k], y2[k], y3[k]
                o0[k] += e * a00 + f * a10 + g * a20 + h * a30
                o1[k] += e * a01 + f * a11 + g * a21 + h * a31
                o2[k] += e * a02 + f * a12 + g * a22 + h * a32
                o3[k] += e * a03 + f * a13 + g * a23 + h * a33
            i += 4
        while i < m:
            for d in range(4):
                for k in range(n):
                    out[c + d, k] += y[i, k] * a[i, c + d]
            i += 1
