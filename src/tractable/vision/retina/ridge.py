"""Ridge regression for a whole grid of penalties and many targets from one decomposition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from tractable.core.checks import check_choice, check_finite

__all__ = ["RIDGE_GRID", "RidgeFit", "r2_scores", "ridge"]

RIDGE_GRID = (0.1, 1.0, 10.0)
N_MIN = 50
BLOCK = 2048  # rows or columns of a float32 design taken to float64 at a time


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
    r"""Minimize ``|y - x w - b|^2 + lambda |w|^2`` for every lambda from one eigendecomposition.

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
    The smaller Gram matrix, of features or of rows, is decomposed in float64. With more features
    than rows memory is the design, n^2, and the coefficients.

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
    solve = _by_rows if x.shape[1] > x.shape[0] else _by_features
    weights, left_out = solve(x, x_mean, y - y_mean)
    if select == "loo":
        errors = np.array([(left_out(penalty) ** 2).mean(0) for penalty in grid])
    else:
        assert validation is not None
        errors = np.array(
            [_held_out(weights(penalty), x_mean, y_mean, *validation) for penalty in grid]
        )
    best = float(grid[errors.sum(1).argmin()])
    w = weights(best)
    return RidgeFit(w, y_mean - x_mean @ w, best, grid, errors)


Solution = tuple[Callable[[float], np.ndarray], Callable[[float], np.ndarray]]


def _held_out(
    w: np.ndarray, x_mean: np.ndarray, y_mean: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    predicted = x @ w.astype(x.dtype, copy=False) + (y_mean - x_mean @ w)
    return np.asarray(((y - predicted) ** 2).mean(0))


def _by_features(x: np.ndarray, mean: np.ndarray, y: np.ndarray) -> Solution:
    """Return weights and residuals left out, both of the penalty, from the Gram of features."""
    gram, xy = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], y.shape[1]))
    for rows in _blocks(len(x)):
        centered = x[rows] - mean
        gram += centered.T @ centered
        xy += centered.T @ y[rows]
    s, v = linalg.eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
    s = np.maximum(s, 0)
    v_xy = v.T @ xy

    def weights(penalty: float) -> np.ndarray:
        return np.asarray(v @ (v_xy / (s + penalty)[:, None]))

    def left_out(penalty: float) -> np.ndarray:
        w, parts = weights(penalty), []
        for rows in _blocks(len(x)):
            centered = x[rows] - mean
            # leverages only choose a penalty: single precision is enough
            turned = centered.astype(np.float32) @ (v / np.sqrt(s + penalty)).astype(np.float32)
            leverage = np.einsum("ij,ij->i", turned, turned) + 1 / len(x)
            parts.append((y[rows] - centered @ w) / np.maximum(1 - leverage, 1e-6)[:, None])
        return np.concatenate(parts)

    return weights, left_out


def _by_rows(x: np.ndarray, mean: np.ndarray, y: np.ndarray) -> Solution:
    """Return weights and residuals left out, both of the penalty, from the Gram of rows."""
    gram = np.zeros((len(x), len(x)))
    for columns in _blocks(x.shape[1]):
        centered = x[:, columns] - mean[columns]
        gram += centered @ centered.T
    s, v = linalg.eigh(gram, overwrite_a=True, check_finite=False, driver="evr")
    s = np.maximum(s, 0)
    v_y = v.T @ y

    def dual(penalty: float) -> np.ndarray:
        return np.asarray(v @ (v_y / (s + penalty)[:, None]))

    def weights(penalty: float) -> np.ndarray:
        alpha = dual(penalty)
        return np.concatenate([(x[:, c] - mean[c]).T @ alpha for c in _blocks(x.shape[1])])

    def left_out(penalty: float) -> np.ndarray:
        shrunk = s / (s + penalty)
        leverage = np.array([row**2 @ shrunk for row in v]) + 1 / len(x)
        return np.asarray(penalty * dual(penalty) / np.maximum(1 - leverage, 1e-12)[:, None])

    return weights, left_out


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


def r2_scores(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return R^2 of each column; NaN for a column without variance."""
    total = ((y - y.mean(0)) ** 2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1 - ((y - predicted) ** 2).sum(0) / total, np.nan)
