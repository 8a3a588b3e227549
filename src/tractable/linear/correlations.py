"""What a linear network sees of its data: two correlation matrices, in blocks, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice, check_finite
from tractable.linear.arrays import as_real, check_dense, check_rows, check_scale

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["Correlations", "centered", "check_semidefinite", "correlations", "inverse_root"]

BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Correlations:
    """Sufficient statistics of a linear regression; see `correlations`.

    Parameters
    ----------
    cov_x : ndarray, shape (n_in, n_in)
        X X^T times the norm.
    cov_yx : ndarray, shape (n_out, n_in)
        Y X^T times the norm.
    sum_y2 : float or None
        Trace of Y Y^T times the norm; None where it is not known.
    n_samples : int or None
        Number of examples.
    mean_x, mean_y : ndarray or None
        Means that were taken off.
    """

    cov_x: np.ndarray
    cov_yx: np.ndarray
    sum_y2: float | None
    n_samples: int | None
    mean_x: np.ndarray | None = None
    mean_y: np.ndarray | None = None

    def whiteness(self) -> float:
        r"""Return :math:`\|\Sigma_x / \bar\lambda - I\|_F / \sqrt{N_1}`: 0 for white inputs."""
        n = len(self.cov_x)
        scale = np.trace(self.cov_x) / n
        if scale == 0:
            return 0.0
        return float(np.linalg.norm(self.cov_x / scale - np.eye(n)) / np.sqrt(n))

    def whitened(self) -> Correlations:
        """Return the correlations of the whitened inputs Sigma_x^(-1/2) x."""
        root = inverse_root(self.cov_x)
        projector = root @ self.cov_x @ root
        return Correlations(
            (projector + projector.T) / 2,
            self.cov_yx @ root,
            self.sum_y2,
            self.n_samples,
            self.mean_x,
            self.mean_y,
        )


def correlations(
    X: Numbers, Y: Numbers, *, norm: str = "mean", center: bool = False
) -> Correlations:
    r"""Return the correlations of examples, accumulated in blocks of about 4 MB.

    .. math:: \Sigma_x = c\,X X^\top, \quad \Sigma_{yx} = c\,Y X^\top,
        \qquad c = 1/P \text{ (mean)} \text{ or } 1 \text{ (sum)}

    Parameters
    ----------
    X : array, shape (P, n_in)
        Inputs; rows are examples. NumPy or torch, float32 or float64.
    Y : array, shape (P, n_out)
        Targets.
    norm : {"mean", "sum"}
        The factor c; all learning times scale with it.
    center : bool
        Take the means off both.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is not finite, or there is no example.

    Examples
    --------
    >>> found = correlations(np.eye(2), np.array([[2.0, 0.0], [0.0, 4.0]]))
    >>> found.cov_yx
    array([[1., 0.],
           [0., 2.]])
    """
    check_choice("norm", norm, ("mean", "sum"))
    rows_x, rows_y = _rows("X", X), _rows("Y", Y)
    if not len(rows_x):
        raise ValueError("X must hold at least one example, got none")
    check_rows(X=tuple(rows_x.shape), Y=tuple(rows_y.shape))
    n, n_in, n_out = rows_x.shape[0], rows_x.shape[1], rows_y.shape[1]
    for what, size in (("X", n), ("X", n_in), ("Y", n_out)):
        if size < 1:
            shape = tuple((rows_x if what == "X" else rows_y).shape)
            raise ValueError(f"{what} must have at least one row and one column, got shape {shape}")
    rows = max(1, BLOCK_BYTES // (8 * (n_in + n_out)))
    # Sums are taken around the mean of the first block: around 0 a large mean would cancel.
    shift_x, shift_y = np.zeros(n_in), np.zeros(n_out)
    if center:
        shift_x, shift_y = (
            _block("X", rows_x, 0, rows).mean(0),
            _block("Y", rows_y, 0, rows).mean(0),
        )
    xx, yx = np.zeros((n_in, n_in)), np.zeros((n_out, n_in))
    x1, y1, y2 = np.zeros(n_in), np.zeros(n_out), 0.0
    largest = [0.0, 0.0]
    for start in range(0, n, rows):
        x, y = _block("X", rows_x, start, rows), _block("Y", rows_y, start, rows)
        for i, part in enumerate((x, y)):
            largest[i] = max(largest[i], -float(part.min()), float(part.max()))
        if center:
            x, y = x - shift_x, y - shift_y
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            xx += x.T @ x
            yx += y.T @ x
            y2 += float(np.vdot(y, y))
            x1 += x.sum(0)
            y1 += y.sum(0)
    if not (np.isfinite(xx).all() and np.isfinite(yx).all() and np.isfinite(y2)):
        raise ValueError("X and Y are too large: their squares overflow; scale them down")
    check_scale("X", largest[0])
    check_scale("Y", largest[1])
    mean_x = mean_y = None
    if center:
        mean_x, mean_y = x1 / n, y1 / n
        xx -= n * np.outer(mean_x, mean_x)
        yx -= n * np.outer(mean_y, mean_x)
        y2 -= n * float(mean_y @ mean_y)
        mean_x, mean_y = shift_x + mean_x, shift_y + mean_y
    factor = 1 / n if norm == "mean" else 1.0
    return Correlations(factor * xx, factor * yx, factor * y2, n, mean_x, mean_y)


def check_semidefinite(name: str, matrix: np.ndarray) -> None:
    """Refuse a symmetric matrix that is the covariance of nothing.

    Examples
    --------
    >>> check_semidefinite("cov_x", -np.eye(2))
    Traceback (most recent call last):
    ValueError: cov_x must have no negative eigenvalue, got -1 beside 1; it is a covariance
    """
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -1e-9 * np.abs(values).max():
        raise ValueError(
            f"{name} must have no negative eigenvalue, got {values[0]:.3g} beside "
            f"{np.abs(values).max():.3g}; it is a covariance"
        )


def inverse_root(cov_x: np.ndarray) -> np.ndarray:
    """Return Sigma_x^(-1/2) on the subspace that the inputs span, 0 elsewhere."""
    values, vectors = np.linalg.eigh(cov_x)
    seen = values > len(values) * np.finfo(float).eps * max(values.max(), 0.0)
    roots = np.where(seen, 1 / np.sqrt(np.where(seen, values, 1.0)), 0.0)
    return (vectors * roots) @ vectors.T


def centered(value: Any, mean: np.ndarray | None) -> np.ndarray:
    """Return examples as an array less their mean; without a mean they are not copied."""
    rows = as_real("X and Y", value)
    return rows if mean is None else rows - mean


def _rows(name: str, value: Any) -> Any:
    """Return a two-dimensional array or tensor without copying it."""
    check_dense(name, value)
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        value = np.asarray(value)
    if len(value.shape) != 2:
        hint = f"; {name}[:, None] is one column" if len(value.shape) == 1 else ""
        raise ValueError(
            f"{name} must have two dimensions (examples, units), got shape {tuple(value.shape)}"
            f"{hint}"
        )
    return value


def _block(name: str, value: Any, start: int, rows: int) -> np.ndarray:
    part = as_real(name, value[start : start + rows]).astype(np.float64, copy=False)
    if not np.isfinite(part).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(part))[0])
        check_finite(f"{name}[{start + row}, {column}]", float(part[row, column]))
    return part
