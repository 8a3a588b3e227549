"""Ridge regression for a whole grid of penalties and many targets from one Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

from tractable.core.checks import check_choice, check_finite

__all__ = ["RIDGE_GRID", "RidgeFit", "r2_scores", "ridge"]

RIDGE_GRID = (0.1, 1.0, 10.0)
N_MIN = 50
BLOCK = 2048  # rows or columns of a float32 design taken to float64 at a time
SINGLE = 0.05  # what a row keeps of its residual, below which single precision does not tell it
ROUNDING = 8 * np.finfo(float).eps  # of the trace of a Gram matrix: a penalty below it is lost


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Coefficients of a ridge regression; the penalty was chosen by held-out error.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (n_features, n_targets)
        On the features as given.
    intercept : ndarray of float64, shape (n_targets,)
        Unpenalized.
    penalty : float
        The chosen one, the same for all targets.
    penalties : ndarray of float64, shape (n_penalties,)
        The grid.
    errors : ndarray of float64, shape (n_penalties, n_targets)
        Mean squared held-out error.
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    penalty: float
    penalties: np.ndarray
    errors: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return predictions, shape (n, n_targets)."""
        return np.asarray(x @ self.coefficients.astype(x.dtype, copy=False), float) + self.intercept


def ridge(
    x: np.ndarray,
    y: np.ndarray,
    penalties: tuple[float, ...] | np.ndarray = RIDGE_GRID,
    *,
    select: str = "loo",
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> RidgeFit:
    r"""Minimize ``|y - x w - b|^2 + lambda |w|^2`` for every lambda from one Gram matrix.

    Parameters
    ----------
    x : ndarray, shape (n, n_features)
        50 rows or more; a float32 design is never copied whole to float64.
    y : ndarray, shape (n, n_targets)
        Targets.
    penalties : sequence of float
        Positive.
    select : str
        ``"loo"``: least error left one out, in closed form,
        :math:`(y_i - \hat y_i) / (1 - h_i)`; ``"validation"``: least error on ``validation``.
    validation : (x, y), optional
        Rows that are not in ``x``.

    Returns
    -------
    RidgeFit
        The penalty has the least error summed over targets.

    Notes
    -----
    The smaller Gram matrix, of features or of rows, is formed once in float64, and factored by
    Cholesky for each penalty, which takes a small part of the time of forming it. Leverages
    only choose a penalty; with fewer features than rows those that leave a row 5 % of its residual
    or more are taken in single precision. With
    more features than rows memory is the design, 2 n^2 numbers, and the coefficients. A penalty
    below the rounding of the Gram matrix, 8 eps times its trace, counts as that.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 3))
    >>> fit = ridge(x, x @ [[1.0], [2.0], [0.0]] + 5)
    >>> fit.penalty, np.round(fit.coefficients[:, 0], 2).tolist()
    (0.1, [1.0, 2.0, 0.0])
    """
    check_choice("select", select, ("loo", "validation"))
    grid = np.atleast_1d(np.asarray(penalties, dtype=np.float64))
    if grid.ndim != 1 or not (grid > 0).all():
        raise ValueError(f"penalties must be positive, got {penalties!r}")
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise TypeError(f"x and y must be arrays, got {type(x).__name__} and {type(y).__name__}")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"x and y must have shapes (n, n_features) and (n, n_targets), got {x.shape} and "
            f"{y.shape}"
        )
    if len(x) < N_MIN:
        raise ValueError(f"x must have at least {N_MIN} rows for a regression, got {len(x)}")
    if select == "validation" and validation is None:
        raise ValueError("validation must be a pair (x, y) for select='validation', got None")
    check_finite("x", x)
    check_finite("y", y)
    y = np.asarray(y, dtype=np.float64)
    x_mean, y_mean = x.mean(0, dtype=np.float64), y.mean(0)
    form = _by_rows if x.shape[1] > x.shape[0] else _by_features
    system = form(x, x_mean, y - y_mean)
    if select == "loo":
        errors = system.left_out(grid)
    else:
        assert validation is not None
        errors = np.array(
            [_held_out(system.weights(penalty), x_mean, y_mean, *validation) for penalty in grid]
        )
    best = float(grid[errors.sum(1).argmin()])
    w = system.weights(best)
    return RidgeFit(w, y_mean - x_mean @ w, best, grid, errors)


def _held_out(
    w: np.ndarray, x_mean: np.ndarray, y_mean: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    predicted = x @ w.astype(x.dtype, copy=False) + (y_mean - x_mean @ w)
    return np.asarray(((y - predicted) ** 2).mean(0))


@dataclass(frozen=True, eq=False)
class _ByFeatures:
    """The normal equations: Gram matrix of the centered features, lower half, and X' y."""

    x: np.ndarray
    mean: np.ndarray
    y: np.ndarray
    gram: np.ndarray
    xy: np.ndarray

    def weights(self, penalty: float) -> np.ndarray:
        """Return shape (n_features, n_targets)."""
        return linalg.cho_solve((_cholesky(self.gram, penalty), True), self.xy, check_finite=False)

    def left_out(self, penalties: np.ndarray) -> np.ndarray:
        """Return mean squared errors left one out, shape (n_penalties, n_targets)."""
        roots = [_inverse_cholesky(self.gram, penalty) for penalty in penalties]
        weights = [root.T @ (root @ self.xy) for root in roots]
        singles = [root.astype(np.float32, order="F") for root in roots]
        errors = np.zeros((len(penalties), self.y.shape[1]))
        for rows in _blocks(len(self.x)):
            centered = self.x[rows] - self.mean
            single = centered.astype(np.float32)
            for i, (w, root) in enumerate(zip(weights, singles, strict=True)):
                turned = blas.strmm(1.0, root, single.T, lower=1)  # |row|^2 is the leverage
                kept = 1 - 1 / len(self.x) - np.einsum("ij,ij->j", turned, turned)
                if len(near := np.flatnonzero(kept < SINGLE)):  # rounding would be a large part
                    turned = roots[i] @ centered[near].T
                    kept[near] = 1 - 1 / len(self.x) - np.einsum("ij,ij->j", turned, turned)
                left = (self.y[rows] - centered @ w) / np.maximum(kept, 1e-12)[:, None]
                errors[i] += (left**2).sum(0) / len(self.x)
        return errors


@dataclass(frozen=True, eq=False)
class _ByRows:
    """The dual equations: Gram matrix of the centered rows, lower half."""

    x: np.ndarray
    mean: np.ndarray
    y: np.ndarray
    gram: np.ndarray

    def weights(self, penalty: float) -> np.ndarray:
        """Return shape (n_features, n_targets)."""
        factor = _cholesky(self.gram, penalty)
        alpha = linalg.cho_solve((factor, True), self.y, check_finite=False)
        w = np.empty((self.x.shape[1], self.y.shape[1]))
        for c in _blocks(len(w)):
            w[c] = (self.x[:, c] - self.mean[c]).T @ alpha
        return w

    def left_out(self, penalties: np.ndarray) -> np.ndarray:
        """Return mean squared errors left one out, shape (n_penalties, n_targets)."""
        # The constant is in the kernel of the Gram matrix of centered rows: its part of the
        # inverse, 1 / n lambda, would swamp the rest. Lifted to the mean eigenvalue it does not,
        # and the solution, whose targets are centered, stays as it is.
        n, errors = len(self.x), []
        lift = float(np.einsum("ii->", self.gram)) / n
        for penalty in penalties:
            root = _inverse_cholesky(self.gram, penalty, lift / n)
            alpha = root.T @ (root @ self.y)
            diagonal = np.einsum("ij,ij->j", root, root)  # of the inverse
            own = diagonal - 1 / (n * (_effective(self.gram, penalty) + lift))
            errors.append(((alpha / own[:, None]) ** 2).mean(0))
            del root  # before the next one is made: each is as large as the Gram matrix
        return np.array(errors)


def _by_features(x: np.ndarray, mean: np.ndarray, y: np.ndarray) -> _ByFeatures:
    gram = np.zeros((x.shape[1],) * 2, order="F")
    xy = np.zeros((x.shape[1], y.shape[1]))
    for rows in _blocks(len(x)):
        centered = x[rows] - mean
        gram = blas.dsyrk(1.0, centered.T, 1.0, gram, lower=1, overwrite_c=1)
        xy += centered.T @ y[rows]
    return _ByFeatures(x, mean, y, gram, xy)


def _by_rows(x: np.ndarray, mean: np.ndarray, y: np.ndarray) -> _ByRows:
    gram = np.zeros((len(x),) * 2, order="F")
    for columns in _blocks(x.shape[1]):
        centered = x[:, columns] - mean[columns]
        gram = blas.dsyrk(1.0, centered.T, 1.0, gram, trans=1, lower=1, overwrite_c=1)
    return _ByRows(x, mean, y, gram)


def _effective(gram: np.ndarray, penalty: float) -> float:
    """Return the penalty, or the rounding of the Gram matrix where that is larger."""
    return max(float(penalty), ROUNDING * float(np.einsum("ii->", gram)))


def _cholesky(gram: np.ndarray, penalty: float, constant: float = 0.0) -> np.ndarray:
    """Return the lower factor of a Gram matrix plus a penalty; above the diagonal it is zero.

    A ``constant`` is added to all entries.
    """
    shifted = gram.copy(order="F")
    if constant:
        shifted += constant
    diagonal = np.einsum("ii->i", shifted)
    diagonal += _effective(gram, penalty)
    factor, info = lapack.dpotrf(shifted, lower=1, clean=1, overwrite_a=1)
    if info:
        raise ValueError(
            f"penalties must be large enough for the scale of x, got {penalty}; take larger ones"
        )
    return np.asarray(factor)


def _inverse_cholesky(gram: np.ndarray, penalty: float, constant: float = 0.0) -> np.ndarray:
    """Return the inverse of the factor, lower too: R with R' R the inverse of the matrix."""
    root, _ = lapack.dtrtri(_cholesky(gram, penalty, constant), lower=1, overwrite_c=1)
    return np.asarray(root)


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


def r2_scores(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return R^2 of each column; NaN for a column without variance."""
    total = ((y - y.mean(0)) ** 2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1 - ((y - predicted) ** 2).sum(0) / total, np.nan)
