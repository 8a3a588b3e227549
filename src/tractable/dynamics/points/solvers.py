r"""Newton, Levenberg-Marquardt and plain iteration for fixed points, batched over starts.

With the residual ``g(h) = h - F(h, x)``, the speed ``q = 1/2 ||g||^2`` and ``A = I - J``:

- `relax`:  ``h <- F(h)``;
- `newton`: ``h <- h - a d`` with ``A d = g``, the step ``a`` halved until q falls;
- `lm`:     ``h <- h - d`` with ``(A^T A + mu I) d = A^T g`` and mu by the gain-ratio rule.

Every start has its own step length, its own mu and its own end. No step leaves the cell's invariant
box (`newton` refuses such steps, `lm` clips them): outside it gates saturate, F(h) = h holds to
rounding, and roots appear that the network does not have.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tractable.dynamics.points.search import MINIMUM, NON_FINITE, SINGULAR, STALLED, WALL, Search

__all__ = ["damped_inverse_step", "line_search", "lm", "newton", "newton_step", "polish", "relax"]

HALVINGS = 8
MU_START = 1e-3  # times the mean squared column norm of A
MU_QR = 1e-8  # below it A^T A loses half the digits: least squares by QR instead
MU_MIN, MU_MAX = 1e-16, 1e16
DESCENT = 1e-4  # Armijo: q must fall by this share of what the linear model promises


def relax(search: Search, n_steps: int) -> None:
    """Iterate the network itself: ``h <- F(h)``.

    Removes the fast modes, keeps slow ones, and loses every unstable root.

    Parameters
    ----------
    search : Search
        Changed in place.
    n_steps : int
        Largest number of steps per start.
    """
    for active in search.iterate("relax", n_steps):
        state = search.state[active] - search.residual[active]
        search.move(active, state, *search.evaluate(active, state))


def newton(search: Search, max_iter: int) -> None:
    """Newton's method with a line search on q, per start.

    A start is settled as SINGULAR where ``I - J`` is singular to rounding, and as STALLED where
    eight halvings do not lower q; `lm` takes over from there (see `find_points`).

    Parameters
    ----------
    search : Search
        Changed in place.
    max_iter : int
        Largest number of steps per start.

    Notes
    -----
    Cost of a step: one LU factorization, 2/3 N^3, and one Jacobian, 3 N^2 for a built-in cell.
    One singular matrix does not fail the batch.
    """
    for active in search.iterate("newton", max_iter):
        for rows in search.blocks(active):
            step, singular = newton_step(search, rows)
            search.settle(rows[singular], SINGULAR)
            failed = line_search(search, rows[~singular], step[~singular])
            search.settle(failed, STALLED)
            search.report("newton")


def lm(search: Search, max_iter: int) -> None:
    """Levenberg-Marquardt with Nielsen's gain-ratio rule, per start.

    Ends at a root (``q <= tol``) or, settled as MINIMUM, at a local minimum of q with q > tol:
    there ``(I-J)^T g = 0``, so that g is a left eigenvector of J with eigenvalue 1. Units at a wall
    of the invariant box, with q falling beyond it, stay there; a minimum on a wall is none of q,
    and is settled as WALL.

    Parameters
    ----------
    search : Search
        Changed in place.
    max_iter : int
        Largest number of steps per start, refused ones included.

    Notes
    -----
    ``rho = 2 (q - q_new) / d^T (mu d + A^T g)`` compares the fall of q with the fall that the
    linear model promises: ``mu *= max(1/3, 1 - (2 rho - 1)^3)`` after a step that lowers q,
    ``mu *= nu; nu *= 2`` after one that does not. A fixed ladder of factors cycles at a minimum.
    """
    mu = torch.full_like(search.q, torch.nan)
    nu = torch.full_like(search.q, 2.0)
    for active in search.iterate("lm", max_iter):
        for rows in search.blocks(active):
            gap, residual = search.gap(rows), search.residual[rows]
            gradient = (gap.mT @ residual[:, :, None])[:, :, 0]
            walled = search.against_wall(rows, gradient)
            gap, gradient = gap * ~walled[:, None], gradient * ~walled
            still = gradient.norm(dim=1) <= search.tol_grad * residual.norm(dim=1)
            search.settle(rows[still & ~walled.any(1)], MINIMUM)
            search.settle(rows[still & walled.any(1)], WALL)
            search.settle(rows[~gap.isfinite().all(2).all(1)], NON_FINITE)
            fresh = mu[rows].isnan()
            mu[rows[fresh]] = MU_START * gap[fresh].square().sum((1, 2)) / search.n_state
            keep = (search.status[rows] == 0).nonzero()[:, 0]
            _lm_step(search, rows[keep], gap[keep], gradient[keep], mu, nu)
            search.report("lm")


def newton_step(search: Search, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``d`` (B, N) with ``A d = g``, and where A is singular to rounding (B,)."""
    gap = search.gap(rows)
    factor, pivots, info = torch.linalg.lu_factor_ex(gap)
    pivot_size = factor.diagonal(dim1=1, dim2=2).abs()
    floor = search.n_state * torch.finfo(gap.dtype).eps
    singular = (info != 0) | (pivot_size.amin(1) <= floor * pivot_size.amax(1))
    step = torch.linalg.lu_solve(factor, pivots, search.residual[rows][:, :, None])[:, :, 0]
    return step, singular | ~step.isfinite().all(1)


def polish(
    search: Search,
    rows: Tensor,
    floor: float,
    max_iter: int = 4,
    solve: Callable[[Search, Tensor], tuple[Tensor, Tensor]] = newton_step,
) -> None:
    """Take the starts ``rows`` from ``q <= tol`` down to ``q <= floor`` by full Newton steps.

    Two starts that stopped at ``q = 1e-12`` of the same root lie up to ``1e-6 / sigma_min(A)``
    apart, and would count as two. Steps that do not lower q are refused. ``solve`` returns the
    steps and where there is none.
    """
    rows = rows[search.q[rows] > floor]
    for _ in range(max_iter):
        better = []
        for block in search.blocks(rows):
            step, singular = solve(search, block)
            rest = block[~singular]
            failed = line_search(search, rest, step[~singular], halvings=0)
            better.append(rest[~torch.isin(rest, failed)])
        rows = torch.cat(better) if better else rows[:0]
        rows = rows[search.q[rows] > floor]


def line_search(search: Search, rows: Tensor, step: Tensor, halvings: int = HALVINGS) -> Tensor:
    """Move each start along ``-step``, halving until q falls; return the starts that failed.

    Parameters
    ----------
    search : Search
        Changed in place.
    rows : Tensor (B,)
        Starts.
    step : Tensor (B, N)
        Newton step.
    halvings : int
        Largest number of halvings.

    Returns
    -------
    Tensor (B',)
        Starts for which no length lowered q inside the box; not moved.
    """
    scale = 1.0
    for _ in range(halvings + 1):
        if len(rows) == 0:
            break
        trial = search.state[rows] - scale * step
        residual, q = search.evaluate(rows, trial)
        good = search.inside(trial) & (q < (1 - 2 * DESCENT * scale) * search.q[rows])
        search.move(rows[good], trial[good], residual[good], q[good])
        rows, step, scale = rows[~good], step[~good], scale / 2
    return rows


def damped_inverse_step(gap: Tensor, gradient: Tensor, mu: Tensor) -> Tensor:
    """Solve ``(A^T A + mu I) d = A^T g`` by Cholesky.

    Parameters
    ----------
    gap : Tensor (B, N, N)
        A = I - J.
    gradient : Tensor (B, N) or (B, N, K)
        A^T g; several right-hand sides as columns.
    mu : Tensor (B,)
        Damping, > 0.

    Returns
    -------
    Tensor
        d, shaped as ``gradient``; NaN where the factorization fails.
    """
    normal = gap.mT @ gap
    normal.diagonal(dim1=1, dim2=2).add_(mu[:, None])
    factor, info = torch.linalg.cholesky_ex(normal)
    columns = gradient[:, :, None] if gradient.ndim == 2 else gradient
    # two triangular solves: half the time of cholesky_solve for many columns
    step = torch.linalg.solve_triangular(factor, columns, upper=False)
    step = torch.linalg.solve_triangular(factor.mT, step, upper=True)
    step[info > 0] = torch.nan
    return step[:, :, 0] if gradient.ndim == 2 else step


def _lm_step(
    search: Search, rows: Tensor, gap: Tensor, gradient: Tensor, mu: Tensor, nu: Tensor
) -> None:
    """Try one step per start; update mu and nu (n,) in place."""
    if len(rows) == 0:
        return
    damping = mu[rows]
    step = torch.empty_like(gradient)
    tiny = damping < MU_QR
    step[~tiny] = damped_inverse_step(gap[~tiny], gradient[~tiny], damping[~tiny])
    step[tiny] = _least_squares_step(gap[tiny], search.residual[rows][tiny], damping[tiny])
    trial = search.clip(search.state[rows] - step)
    step = search.state[rows] - trial
    residual, q = search.evaluate(rows, trial)
    # twice the fall of q in the linear model; for a step that is not clipped d^T (mu d + A^T g)
    promised = 2 * (step * gradient).sum(1) - (gap @ step[:, :, None]).square().sum((1, 2))
    ratio = 2 * (search.q[rows] - q) / promised  # rho
    good = trial.isfinite().all(1) & (q < search.q[rows]) & (promised > 0)
    search.move(rows[good], trial[good], residual[good], q[good])
    shrink = (1 - (2 * ratio - 1) ** 3).clamp(min=1 / 3)
    mu[rows] = torch.where(good, damping * shrink, damping * nu[rows]).clamp(min=MU_MIN)
    nu[rows] = torch.where(good, 2.0, 2 * nu[rows])
    search.settle(rows[~good & (mu[rows] > MU_MAX)], STALLED)


def _least_squares_step(gap: Tensor, residual: Tensor, mu: Tensor) -> Tensor:
    """Minimize ``||A d - g||^2 + mu ||d||^2`` by QR of the stacked matrix ``[A; sqrt(mu) I]``."""
    n_state = gap.shape[2]
    if len(gap) == 0:
        return residual
    eye = torch.eye(n_state, dtype=gap.dtype, device=gap.device)
    stacked = torch.cat([gap, mu.sqrt()[:, None, None] * eye], dim=1)
    q, r = torch.linalg.qr(stacked)
    right = q[:, :n_state].mT @ residual[:, :, None]
    return torch.linalg.solve_triangular(r, right, upper=True)[:, :, 0]
