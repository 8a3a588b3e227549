"""The modes of a task: singular vectors with fixed signs, turned so that inputs decorrelate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tractable.core.checks import check_count, check_range

__all__ = ["Modes", "degenerate_groups", "task_modes"]

ROUNDING = 1e-12  # singular values below this fraction of the largest are 0
DEGENERATE = 1e-6  # relative gap
LARGE = 2000  # dimensions beyond which a few modes are found without the others
SPARE = 8  # modes found beyond those asked for: a group of equal ones may be cut


@dataclass(frozen=True, eq=False)
class Modes:
    """Singular vectors and values of the input-output correlation; see `task_modes`.

    Parameters
    ----------
    U, s, V : ndarray, shapes (n_out, K), (K,), (n_in, K)
        Strongest first.
    lam : ndarray, shape (K,)
        Input variance along ``V[:, a]``.
    residual : float
        Relative size of Sigma_x V - V diag(lam) over the modes with s > 0.
    """

    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    lam: np.ndarray
    residual: float


def task_modes(cov_yx: np.ndarray, cov_x: np.ndarray, *, rank: int | None = None) -> Modes:
    r"""Return the singular value decomposition of a task, and whether its inputs decouple.

    The largest entry of each ``V[:, a]`` is positive, whatever the LAPACK build. Within a group
    of equal singular values the vectors are turned so that Sigma_x is diagonal there. With a rank
    of at most a fifth of more than 2000 dimensions only those modes are computed (Lanczos, to
    rounding), not the whole decomposition.

    Examples
    --------
    >>> modes = task_modes(np.diag([1.0, 2.0]), np.eye(2))
    >>> modes.s, modes.V[:, 0]
    (array([2., 1.]), array([0., 1.]))
    """
    n = min(cov_yx.shape)
    if rank is not None:
        check_count("rank", rank)
        check_range("rank", rank, 1, n)
    if rank is not None and n > LARGE and rank <= n // 5:
        U, s, Vt = _strongest(cov_yx, rank + SPARE)
    else:
        U, s, Vt = np.linalg.svd(cov_yx, full_matrices=False)
    V = Vt.T
    s = np.where(s > ROUNDING * s.max(initial=0.0), s, 0.0)
    for group in degenerate_groups(s):
        if len(group) > 1:
            _, turn = np.linalg.eigh(V[:, group].T @ cov_x @ V[:, group])
            V[:, group], U[:, group] = V[:, group] @ turn, U[:, group] @ turn
    sign = np.sign(V[np.abs(V).argmax(0), np.arange(V.shape[1])])
    U, V = (U * sign)[:, :rank], (V * sign)[:, :rank]
    s = s[:rank]
    turned = cov_x @ V
    lam = np.sum(V * turned, axis=0)
    lam = np.where(lam > ROUNDING * lam.max(initial=0.0), lam, 0.0)
    s = np.where(lam > 0, s, 0.0)
    active = s > 0
    size = np.linalg.norm(turned[:, active])
    off = np.linalg.norm((turned - V * lam)[:, active])
    return Modes(U, s, V, lam, float(off / size) if size else 0.0)


def _strongest(matrix: np.ndarray, n_modes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ``n_modes`` largest singular triplets, strongest first; the same every time."""
    from scipy.sparse.linalg import ArpackError, svds

    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    try:
        U, s, Vt = svds(matrix, n_modes, v0=start, solver="arpack")
    except ArpackError:  # no mode at all, or no convergence
        U, s, Vt = np.linalg.svd(matrix, full_matrices=False)
        U, s, Vt = U[:, :n_modes], s[:n_modes], Vt[:n_modes]
    order = np.argsort(-s)
    return U[:, order], s[order], Vt[order]


def degenerate_groups(s: np.ndarray, gap: float = DEGENERATE) -> list[np.ndarray]:
    """Return the numbers of modes with equal singular values, strongest group first.

    Single vectors within a group mean nothing: only their span is determined.

    Examples
    --------
    >>> [list(map(int, group)) for group in degenerate_groups(np.array([2.0, 1.0, 1.0]))]
    [[0], [1, 2]]
    """
    if not len(s):
        return []
    close = -np.diff(s) <= gap * np.maximum(s[:-1], np.finfo(float).tiny)
    return np.split(np.arange(len(s)), np.flatnonzero(~close) + 1)
