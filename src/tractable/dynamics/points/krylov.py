r"""Newton-Krylov for large networks: ``(I - J) d = g`` by GMRES, no Jacobian is formed.

Products ``J v`` are differences of F along v, one step of F each, so that any cell will do; their
error, about 1e-8, slows Newton's last steps and does not move the root.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tractable.dynamics.points.search import STALLED, Search
from tractable.dynamics.points.solvers import line_search

__all__ = ["gmres", "krylov", "krylov_step"]

N_BASIS = 40  # Krylov vectors between restarts
N_RESTARTS = 5
NUDGE = {torch.float64: 1e-8, torch.float32: 3e-4}  # square root of the rounding error
FORCING = 1e-3  # the linear system is solved to this share of ||g||


def krylov(search: Search, max_iter: int) -> None:
    """Newton's method with GMRES and a line search on q, per start.

    Parameters
    ----------
    search : Search
        Changed in place. Starts for which no step length lowers q are settled as STALLED.
    max_iter : int
        Largest number of Newton steps per start.

    Notes
    -----
    Memory per start: 40 vectors of length N. Up to 200 steps of F per Newton step.
    """
    bytes_per_start = 2 * N_BASIS * search.n_state * search.state.element_size()
    for active in search.iterate("krylov", max_iter):
        for rows in search.blocks(active, bytes_per_start):
            failed = line_search(search, rows, gmres(search, rows))
            search.settle(failed, STALLED)
            search.report("krylov")


def krylov_step(search: Search, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step of `gmres` (B, N), and where it is not finite (B,)."""
    step = gmres(search, rows)
    return step, ~step.isfinite().all(1)


def gmres(search: Search, rows: Tensor) -> Tensor:
    """Solve ``(I - J) d = g`` at the starts ``rows``, each to a relative residual of 1e-3.

    Returns
    -------
    Tensor (B, N)
        d; the least-squares best in the Krylov space where the tolerance was not reached.
    """
    state, x, g = search.state[rows], search.x[rows], search.residual[rows]

    image, reach = state - g, (1 + state.norm(dim=1, keepdim=True)) * NUDGE[state.dtype]

    def gap(v: Tensor) -> Tensor:
        nudge = reach / v.norm(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
        return v - (search.cell(state + nudge * v, x) - image) / nudge

    step, left = torch.zeros_like(g), g
    for _ in range(N_RESTARTS):
        step = step + _arnoldi_solve(gap, left)
        left = g - gap(step)
        if bool((left.norm(dim=1) <= FORCING * g.norm(dim=1)).all()):
            break
    return step


def _arnoldi_solve(gap, right: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # a closure
    """Minimize ``||gap(d) - right||`` over the Krylov space of ``right``."""
    n_basis = min(N_BASIS, right.shape[1])
    tiny = torch.finfo(right.dtype).tiny
    size = right.norm(dim=1, keepdim=True)
    basis = [right / size.clamp(min=tiny)]
    upper = right.new_zeros(len(right), n_basis + 1, n_basis)  # Hessenberg matrix
    for k in range(n_basis):
        vector = gap(basis[k])
        space = torch.stack(basis, dim=1)
        for _ in range(2):  # Gram-Schmidt twice keeps the basis orthogonal to rounding
            overlap = (space @ vector[:, :, None])[:, :, 0]
            vector = vector - (overlap[:, None, :] @ space)[:, 0]
            upper[:, : k + 1, k] += overlap
        norm = vector.norm(dim=1, keepdim=True)
        upper[:, k + 1, k] = norm[:, 0]
        # breakdown: the space holds the solution; a zero vector ends the recursion
        small = norm <= 1e-14 * upper[:, : k + 2, k].norm(dim=1, keepdim=True).clamp(min=tiny)
        basis.append(torch.where(small, 0.0, vector / norm.clamp(min=tiny)))
        upper[:, k + 1, k] = torch.where(small[:, 0], 0.0, upper[:, k + 1, k])
    target = right.new_zeros(len(right), n_basis + 1, 1)
    target[:, 0] = size
    weights = torch.linalg.pinv(upper, rtol=1e-12) @ target
    return (weights.mT @ torch.stack(basis[:-1], dim=1))[:, 0]
