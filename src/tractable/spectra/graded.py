"""Singular values of a long product of matrices, each to its own relative accuracy."""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr
from scipy.linalg.lapack import dgejsv

__all__ = ["GradedProduct"]


LOG_RANGE = -260 * float(np.log(10))  # beyond it the exponents of floating-point numbers end


class GradedProduct:
    r"""The product of all factors so far as U diag(d) T: U orthonormal, d graded, T harmless.

    Each factor costs one QR decomposition with column pivoting of A U diag(d). Its columns are
    graded, so every one keeps its own relative accuracy; T collects triangular factors whose
    entries do not exceed 1. The singular values are those of diag(d) T, by Jacobi's method, which
    keeps that accuracy: values of 1e-200 of the largest are found, where a product of the
    matrices has only noise below 1e-16. Rows of a factor that are exactly 0 leave the product;
    values below 1e-260 of the largest are returned as 0.

    Parameters
    ----------
    width : int
        Columns of the first factor.

    References
    ----------
    Drmac, Veselic 2008, doi:10.1137/050639193: the Jacobi method that keeps small singular values.

    Examples
    --------
    >>> product = GradedProduct(2)
    >>> for _ in range(10):
    ...     product.multiply(np.array([[1.0, 1.0], [0.0, 1e-20]]))
    >>> np.log10(product.singular_values())
    array([-200.1505,    0.1505])
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._active = np.arange(width)
        self._U = np.eye(width)
        self._log_d = np.zeros(width)
        self._T = np.eye(width)

    def multiply(self, factor: np.ndarray) -> None:
        """Multiply by a factor from the left, shape (rows, columns)."""
        rows = np.flatnonzero(factor.any(1))
        top = self._log_d.max(initial=-np.inf)
        scale = np.exp(self._log_d - top)
        small = factor[np.ix_(rows, self._active)] @ self._U * scale
        self._active = rows
        if not small.size:
            self._U, self._log_d = np.empty((rows.size, 0)), np.empty(0)
            self._T = np.empty((0, self._width))
            return
        Q, R, order = qr(small, mode="economic", pivoting=True, check_finite=False)
        d = np.abs(np.diagonal(R))
        keep = d > 0
        Q, R, d = Q[:, keep], R[keep], d[keep]
        self._U, self._log_d = Q, np.log(d) + top
        T = np.empty_like(R)
        T[:, order] = R / d[:, None]
        self._T = T @ self._T

    def singular_values(self) -> np.ndarray:
        """Return the singular values, ascending, zeros included, shape (width,)."""
        out = np.zeros(self._width)
        k = self._log_d.size
        if k:
            top = self._log_d.max()
            inside = self._log_d > top + LOG_RANGE
            columns = self._T[inside].T * np.exp(self._log_d[inside] - top)
            s, _, _, work, _, info = dgejsv(columns, joba=0, jobu=3, jobv=3, jobr=0, jobp=0)
            if info:
                raise np.linalg.LinAlgError(f"Jacobi's method did not converge: GEJSV gave {info}")
            with np.errstate(under="ignore"):
                s = np.sort(s) * (work[0] / work[1]) * np.exp(top)
            out[self._width - s.size :] = s
        return out
