"""Sorted, biorthogonal eigenvectors of batches of real matrices."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tractable.core.checks import ConvergenceWarning, check_finite
from tractable.dynamics.invariant import block_basis

if TYPE_CHECKING:
    import numpy as np

__all__ = ["as_batch", "eig", "eig_one_by_one", "eigenbasis", "real_columns", "slowest_first"]

MAX_CONDITION = 1e8  # of the matrix of eigenvectors; beyond it, invariant subspaces
SUSPICIOUS = (
    1e6  # a condition number beyond which a defective eigenvalue may pass for two simple ones
)
ERROR = 100 * torch.finfo(torch.float64).eps


def as_batch(J: Tensor | np.ndarray) -> Tensor:
    """Check Jacobians; return them as (P, N, N) float64 on the CPU."""
    if not isinstance(J, Tensor):
        J = torch.as_tensor(J)
    if J.is_complex():
        raise TypeError("J must be real, got a complex tensor")
    if J.ndim == 2:
        J = J[None]
    if J.ndim != 3 or J.shape[1] != J.shape[2] or J.shape[1] == 0:
        raise ValueError(f"J must have shape (P, N, N) with N >= 1, got {tuple(J.shape)}")
    check_finite("J", J)
    return J.detach().to("cpu", torch.float64)


def eig(J: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eig`, and matrix by matrix where LAPACK fails on the batch."""
    try:
        return torch.linalg.eig(J)
    except torch.linalg.LinAlgError:
        return eig_one_by_one(J)


def eig_one_by_one(J: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and right vectors with `scipy.linalg.eig`; NaN where that fails too."""
    import scipy.linalg

    eigvals = torch.full(J.shape[:2], math.nan, dtype=torch.complex128)
    right = torch.full(J.shape, math.nan, dtype=torch.complex128)
    failed = []
    for i, matrix in enumerate(J.numpy()):
        try:
            values, vectors = scipy.linalg.eig(matrix, check_finite=False)
        except scipy.linalg.LinAlgError:
            failed.append(i)
            continue
        eigvals[i] = torch.from_numpy(values)
        right[i] = torch.from_numpy(vectors)
    if failed:
        warnings.warn(
            f"no eigenvalues of {len(failed)} of {len(J)} Jacobians (first: number {failed[0]}): "
            "LAPACK did not converge; their modes are NaN",
            ConvergenceWarning,
            stacklevel=3,
        )
    return eigvals, right


def slowest_first(eigvals: Tensor, continuous: bool) -> Tensor:
    """Order by modulus (real part), ties by real part; stable, so LAPACK's pairs stay adjacent."""
    order = eigvals.real.argsort(dim=1, descending=True, stable=True)
    if continuous:
        return order
    modulus = eigvals.abs().gather(1, order)
    return order.gather(1, modulus.argsort(dim=1, descending=True, stable=True))


def eigenbasis(
    J: Tensor, axis: Tensor | None, continuous: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sorted eigenvalues, right, left vectors, and which of them are resolved."""
    eigvals, vectors = eig(J)
    order = slowest_first(eigvals, continuous)
    eigvals = eigvals.gather(1, order)
    # LAPACK stores vectors as rows of the transpose: whole rows are moved
    vectors = vectors.mT[torch.arange(len(J))[:, None], order].mT
    columns = real_columns(eigvals, vectors)
    rows = torch.linalg.inv_ex(columns).inverse
    resolved = torch.ones(eigvals.shape, dtype=torch.bool)

    # ||R||_F ||R^-1||_F bounds the condition number and costs nothing; the rest only beyond it
    bound = columns.norm(dim=(1, 2)) * rows.norm(dim=(1, 2))
    solved = eigvals.isfinite().all(1)
    resolved[~solved] = False
    suspects = torch.nonzero(~(bound <= SUSPICIOUS) & solved).flatten()
    ill = _ill(J[suspects], eigvals[suspects], columns[suspects], rows[suspects])
    for i, limit in zip(suspects.tolist(), ill.tolist(), strict=True):
        if limit == math.inf:
            continue
        basis = block_basis(J[i].numpy(), max_condition=limit)
        values = torch.from_numpy(basis.eigvals)
        order = slowest_first(values[None], continuous)[0]
        eigvals[i] = values[order]
        resolved[i] = torch.from_numpy(basis.resolved)[order]
        columns[i] = torch.from_numpy(basis.right)[:, order]
        rows[i] = torch.from_numpy(basis.left)[order]
        vectors[i] = _complex_columns(eigvals[i : i + 1], columns[i : i + 1])[0]
        size = vectors[i].norm(dim=0)  # sqrt(2) for two orthonormal columns of a pair
        vectors[i] /= size
        rows[i] *= size[:, None]

    if axis is None:
        largest = columns.abs().argmax(dim=1, keepdim=True)
        along = columns.gather(1, largest)[:, 0]
    else:
        along = (axis[:, None] @ columns)[:, 0]
    sign = torch.where((along < 0) & (eigvals.imag == 0), -1.0, 1.0)
    left = _complex_rows(eigvals, rows * sign[..., None])
    return eigvals, vectors * sign[:, None], left, resolved


def _ill(J: Tensor, eigvals: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Bound on the condition number that another basis must satisfy, inf where this one stays.

    A double defective eigenvalue splits by the root of the rounding error, so that its vectors
    differ enough to pass for two (condition 1e7 to 1e8). It shows in that the eigenvalues lie
    closer than their error, eps times condition.
    """
    singular = torch.linalg.svdvals(columns)
    ill = singular[:, 0] > MAX_CONDITION * singular[:, -1]
    condition = _complex_rows(eigvals, rows).norm(dim=2)  # 1 / |l r|, both of unit norm
    error = ERROR * J.norm(dim=(1, 2))[:, None] * condition
    apart = (eigvals[:, :, None] - eigvals[:, None]).abs()
    apart.diagonal(dim1=1, dim2=2).fill_(math.inf)
    confused = ((apart.amin(2) < error) & (condition > SUSPICIOUS)).any(1)
    limit = torch.where(confused, SUSPICIOUS, torch.where(ill, MAX_CONDITION, math.inf))
    return limit.to(torch.float64)


def real_columns(eigvals: Tensor, right: Tensor) -> Tensor:
    """Columns r, and (Re r, Im r) for a pair r, conj(r)."""
    second = eigvals.imag < 0
    return torch.where(second[:, None], -right.imag, right.real)


def _complex_columns(eigvals: Tensor, columns: Tensor) -> Tensor:
    """Undo `real_columns`."""
    right = columns.mT.to(torch.complex128, copy=True)
    point, first = torch.nonzero(eigvals.imag > 0, as_tuple=True)
    real, imag = columns.mT[point, first], columns.mT[point, first + 1]
    right[point, first] = torch.complex(real, imag)
    right[point, first + 1] = torch.complex(real, -imag)
    return right.mT


def _complex_rows(eigvals: Tensor, rows: Tensor) -> Tensor:
    """Rows dual to r, conj(r) from the rows (u, v) dual to (Re r, Im r): (u - iv) / 2 and conj."""
    left = rows.to(torch.complex128)
    point, first = torch.nonzero(eigvals.imag > 0, as_tuple=True)
    u, v = rows[point, first] / 2, rows[point, first + 1] / 2
    left[point, first] = torch.complex(u, -v)
    left[point, first + 1] = torch.complex(u, v)
    return left
