"""A well-conditioned real eigenbasis of a matrix whose eigenvectors are nearly parallel.

A defective matrix has too few eigenvectors, and near one they are useless in floating point: the
inverse of their matrix is noise. Invariant subspaces survive. The eigenvalues are grouped
(Bavely and Stewart 1979); the slow simple ones keep their eigenvectors, each cluster keeps
an orthonormal basis of its invariant subspace, from one real Schur form that is
reordered for each group.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["BlockBasis", "block_basis"]

# Distance, relative to ||J||_F, below which two eigenvalues belong to one cluster. A double
# defective eigenvalue splits by the root of the rounding error (1e-8), a triple one by its cube
# root.
CLUSTER_TOLERANCES = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1e-1)


class BlockBasis(NamedTuple):
    """Real basis in which a matrix is block diagonal: ``left @ right = I``.

    Columns of ``right`` are real eigenvectors, or (Re r, Im r) of a conjugate pair, or, where
    ``resolved`` is False, an orthonormal basis of the invariant subspace of a cluster.
    """

    eigvals: np.ndarray  # (N,) complex, a pair adjacent with the positive imaginary part first
    right: np.ndarray  # (N, N) real, columns
    left: np.ndarray  # (N, N) real, rows
    resolved: np.ndarray  # (N,) bool


def block_basis(J: np.ndarray, *, max_condition: float = 1e8) -> BlockBasis:
    r"""Return a real basis of invariant subspaces with a bounded condition number.

    .. math:: W J V = \mathrm{diag}(B_1, \dots, B_m), \qquad W = V^{-1}, \qquad
              \mathrm{cond}(V) \le \kappa

    The clusters are as small as the bound allows: the tolerance for joining
    eigenvalues grows from 1e-12 to 1e-1 of :math:`\|J\|_F` until it holds.

    Parameters
    ----------
    J : array, shape (N, N)
        Real, finite.
    max_condition : float, > 1
        The bound on the condition number of the basis.

    Returns
    -------
    BlockBasis
        Where no grouping satisfies the bound, one cluster: the Schur vectors, none resolved, of
        which the first k span the invariant subspace of the k slowest modes.

    Notes
    -----
    A cluster whose block is a multiple of the identity (the null space of a low-rank J) is
    semisimple: any basis of it consists of eigenvectors, so it is resolved.
    Cost: one Schur form, and a reordering and a Sylvester equation for each cluster.

    References
    ----------
    Bavely and Stewart 1979, doi:10.1137/0716028.

    Examples
    --------
    >>> basis = block_basis(np.array([[0.9, 0, 0], [0, 0.5, 1], [0, 0, 0.5]]))
    >>> basis.resolved.tolist()
    [True, False, False]
    """
    import scipy.linalg

    n = len(J)
    norm = float(np.linalg.norm(J))
    T, Z = scipy.linalg.schur(J, output="real", check_finite=False)
    eigvals = _schur_eigvals(T)
    for tolerance in CLUSTER_TOLERANCES:
        groups = _groups(eigvals, tolerance * norm)
        parts = [
            _invariant_block(T, Z, eigvals, members, simple, norm, max_condition)
            for members, simple in groups
        ]
        basis = BlockBasis(
            np.concatenate([part.eigvals for part in parts]),
            np.concatenate([part.right for part in parts], axis=1),
            np.concatenate([part.left for part in parts]),
            np.concatenate([part.resolved for part in parts]),
        )
        sound = np.isfinite(basis.left).all() and np.isfinite(basis.right).all()
        if not sound or np.linalg.cond(basis.right) > max_condition:
            continue
        if len(groups) > 1 or basis.resolved.all():
            return basis
    T, Z = _slowest_leading(T, Z, eigvals)
    return BlockBasis(_schur_eigvals(T), Z, Z.T.copy(), np.zeros(n, bool))


def _slowest_leading(
    T: np.ndarray, Z: np.ndarray, eigvals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reorder a real Schur form by modulus: the first k columns of Z span the k slowest modes."""
    from scipy.linalg import lapack

    n, done = len(T), 0
    while done < n:
        rest = done + int(np.argmax(np.abs(eigvals[done:])))
        select = np.arange(n) < done
        select[rest] = True
        if eigvals[rest].imag:  # the block of a pair is two wide; selecting either half selects it
            select[rest + (1 if eigvals[rest].imag > 0 else -1)] = True
        T, Z, wr, wi, done, *_, info = lapack.dtrsen(select.astype(np.int32), T, Z, job="N")
        eigvals = wr + 1j * wi
        if info:  # too close to swap: they are as good in either order
            break
    return T, Z


def _schur_eigvals(T: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a real Schur form, in the order of its diagonal."""
    diagonal, below, above = np.diag(T), np.diag(T, -1), np.diag(T, 1)
    eigvals = diagonal.astype(complex)
    for i in np.flatnonzero(below):  # standardized 2x2 block: equal diagonal, above * below < 0
        imag = np.sqrt(abs(above[i])) * np.sqrt(abs(below[i]))
        eigvals[i] += 1j * imag
        eigvals[i + 1] -= 1j * imag
    return eigvals


def _groups(eigvals: np.ndarray, tolerance: float) -> list[tuple[np.ndarray, bool]]:
    """Split eigenvalues into the simple ones (one group, first) and the clusters.

    Returns masks with a flag that is True for the group of simple eigenvalues.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(eigvals) == 1:
        return [(np.ones(1, bool), True)]
    # conjugates coincide in (Re, |Im|), so they are never separated
    folded = np.stack([eigvals.real, np.abs(eigvals.imag)], axis=1)
    labels = fcluster(linkage(folded, "single"), tolerance, criterion="distance")
    sizes = np.bincount(labels)[labels]
    is_pair = (sizes == 2) & (np.abs(eigvals.imag) > tolerance)
    simple = (sizes == 1) | is_pair
    clusters = [(labels == label, False) for label in np.unique(labels[~simple])]
    return [(simple, True), *clusters] if simple.any() else clusters


def _invariant_block(
    T: np.ndarray,
    Z: np.ndarray,
    eigvals: np.ndarray,
    members: np.ndarray,
    simple: bool,
    norm: float,
    max_condition: float,
) -> BlockBasis:
    """Basis of the invariant subspace of the eigenvalues in ``members``, and its dual basis."""
    from scipy.linalg import lapack

    n, k = len(T), int(members.sum())
    if k < n:
        T, Z, wr, wi, *_ = lapack.dtrsen(members.astype(np.int32), T, Z, job="N")
        eigvals = wr + 1j * wi
        # [I, X] T = T11 [I, X]: rows of the left invariant subspace
        X, scale, _ = lapack.dtrsyl(T[:k, :k], T[k:, k:], T[:k, k:], isgn=-1)
        left = Z[:, :k].T + (X / scale) @ Z[:, k:].T
    else:
        left = Z.T.copy()
    right, block, eigvals = Z[:, :k], T[:k, :k], eigvals[:k]

    size = np.finfo(float).eps * n * norm
    if not simple and np.abs(block - np.mean(np.diag(block)) * np.eye(k)).max() <= size:
        return BlockBasis(np.diag(block).astype(complex), right, left, np.ones(k, bool))
    # inside a cluster the bound is its root, which leaves the rest to the other blocks
    limit = math.inf if simple else math.sqrt(max_condition)
    inner_eigvals, inner = np.linalg.eig(block)
    inner = np.where(inner_eigvals.imag < 0, -inner.imag, inner.real)
    if np.linalg.cond(inner) <= limit:
        if np.linalg.matrix_rank(inner) < k:  # NaN tells the caller to enlarge the clusters
            left = np.full_like(left, np.nan)
        else:
            left = np.linalg.solve(inner, left)
        return BlockBasis(inner_eigvals.astype(complex), right @ inner, left, np.ones(k, bool))
    return BlockBasis(eigvals, right, left, np.zeros(k, bool))
