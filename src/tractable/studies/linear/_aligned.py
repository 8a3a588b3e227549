"""Errors of training-aligned students on actual noisy matrices, without a training loop.

A student that starts along the singular vectors of its data stays there, so its map at every time
follows from one singular value decomposition; signals and overlaps are those of the matrix, not
those of the theory.
"""

from __future__ import annotations

import numpy as np


def aligned_errors(
    data: np.ndarray,
    teacher: np.ndarray,
    t: np.ndarray,
    *,
    init_strength: float,
    n_hidden: int | None = None,
    n_rows: int | None = None,
    depth: int = 2,
) -> np.ndarray:
    """Return the test error in time, (T,), on the first ``n_rows`` outputs (all when missing)."""
    from tractable.linear import deep_strength

    U, s, Vt = np.linalg.svd(data, full_matrices=False)
    if n_hidden is not None:
        U, s, Vt = U[:, :n_hidden], s[:n_hidden], Vt[:n_hidden]
    rows = slice(0, len(teacher) if n_rows is None else n_rows)
    u = deep_strength(s[:, None], t, init_strength, depth)
    share = (U[rows] ** 2).sum(0)
    cross = np.einsum("ok,oi,ki->k", U[rows], teacher[rows], Vt, optimize=True)
    power = float((teacher[rows] ** 2).sum())
    return (share @ u**2 - 2 * cross @ u + power) / power
