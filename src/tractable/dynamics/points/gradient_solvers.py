r"""Solvers that form no Jacobian: gradient descent on q, and mixing of past steps of F.

The gradient of ``q(h) = 1/2 ||h - F(h, x)||^2`` is ``(I - J)^T g``, one reverse pass through F: it
needs first derivatives only, and memory of a few states per start, at any N.

- `adam`:  a step length of its own for every start, halved where q has stopped to fall;
- `lbfgs`: curvature from the last ten steps, and a line search on q, per start;
- `anderson`: the combination of the last steps of F whose residual is least; for contracting maps.

Gradients find roots and local minima of q alike, and walk slowly along valleys: where Jacobians
can be had, Newton and Levenberg-Marquardt are faster by far.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from tractable.dynamics.points.search import MINIMUM, STALLED, Search

__all__ = ["adam", "anderson", "lbfgs"]

HISTORY = 10  # steps that L-BFGS remembers
WINDOW = 6  # steps of F that Anderson mixing combines
RATE, PATIENCE = 0.1, 20  # of Adam: first step length over the start's rms, steps without a fall
FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.999
SLOWEST = 1e-7  # share of the first step length at which Adam gives a start up
ARMIJO, HALVINGS = 1e-4, 25


def adam(search: Search, max_iter: int) -> None:
    """Adam on the q of every start; each ends at its best state.

    Parameters
    ----------
    search : Search
        Changed in place. Starts at which the gradient of q vanishes are settled as MINIMUM, those
        whose step length has shrunk to nothing as STALLED.
    max_iter : int
        Largest number of steps per start: hundreds to thousands.

    Notes
    -----
    The starts share nothing: a schedule on their mean would stop the good ones for the bad ones.
    """
    state, best, best_q = search.state.clone(), search.state.clone(), search.q.clone()
    first, second = torch.zeros_like(state), torch.zeros_like(state)
    first_rate = RATE * search.state.square().mean(1).sqrt().clamp(min=1e-2)
    rate = first_rate.clone()
    age, waited = torch.zeros_like(search.n_iter), torch.zeros_like(search.n_iter)
    for active in search.iterate("adam", max_iter):
        gradient = _gradient(search, active, state[active])
        at_best = waited[active] == 0  # elsewhere the gradient is not that of the best state
        _settle_minima(search, active[at_best], gradient[at_best])
        age[active] += 1
        first[active] = FIRST_MOMENT * first[active] + (1 - FIRST_MOMENT) * gradient
        second[active] = SECOND_MOMENT * second[active] + (1 - SECOND_MOMENT) * gradient.square()
        m = first[active] / (1 - FIRST_MOMENT ** age[active])[:, None]
        v = second[active] / (1 - SECOND_MOMENT ** age[active])[:, None]
        tiny = torch.finfo(v.dtype).tiny ** 0.5
        trial = search.clip(state[active] - rate[active][:, None] * m / (v.sqrt() + tiny))
        residual, q = search.evaluate(active, trial)
        fell = q < best_q[active]  # false where q is not finite: the step was too long
        state[active] = trial
        still = (search.status[active] != MINIMUM) & fell
        search.move(active[still], trial[still], residual[still], q[still])
        best[active[still]], best_q[active[still]] = trial[still], q[still]
        waited[active] = torch.where(fell, 0, waited[active] + 1)
        tired = active[(waited[active] >= PATIENCE) | ~q.isfinite()]
        # Half the length, from the best state, with moments that forget the way there.
        rate[tired] /= 2
        state[tired] = best[tired]
        first[tired], second[tired], age[tired], waited[tired] = 0.0, 0.0, 0, 0
        search.settle(tired[rate[tired] < SLOWEST * first_rate[tired]], STALLED)


def lbfgs(search: Search, max_iter: int) -> None:
    """L-BFGS on the q of every start, with a backtracking line search.

    Parameters
    ----------
    search : Search
        Changed in place. Starts at which the gradient of q vanishes are settled as MINIMUM, those
        for which no step length lowers q as STALLED.
    max_iter : int
        Largest number of steps per start.

    References
    ----------
    Nocedal and Wright 2006, doi:10.1007/978-0-387-40065-5, algorithm 7.4.
    """
    moves: list[Tensor] = []  # (n, N) each, the newest last
    bends: list[Tensor] = []
    gradient = torch.zeros_like(search.state)
    everyone = search.active()
    gradient[everyone] = _gradient(search, everyone, search.state[everyone])
    for active in search.iterate("lbfgs", max_iter):
        _settle_minima(search, active, gradient[active])
        active = active[search.status[active] != MINIMUM]
        if len(active) == 0:
            continue
        step = _two_loops(gradient[active], [m[active] for m in moves], [b[active] for b in bends])
        if not moves:  # no curvature is known yet: as far as the residual is long
            length = search.residual[active].norm(dim=1) / step.norm(dim=1).clamp(min=1e-300)
            step = step * length.clamp(max=1.0)[:, None]
        before = search.state[active].clone()
        search.settle(_descend(search, active, step, gradient[active]), STALLED)
        new = _gradient(search, active, search.state[active])
        moves.append(torch.zeros_like(search.state))
        bends.append(torch.zeros_like(search.state))
        moves[-1][active] = search.state[active] - before
        bends[-1][active] = new - gradient[active]
        gradient[active] = new
        if len(moves) > HISTORY:
            del moves[0], bends[0]


def anderson(search: Search, max_iter: int) -> None:
    """Anderson mixing of the last six steps of F; a plain step of F where that does not lower q.

    Parameters
    ----------
    search : Search
        Changed in place.
    max_iter : int
        Largest number of steps per start.

    Notes
    -----
    One step of F per iteration, and memory of 12 states per start: for large maps that contract,
    whose slowest modes make plain iteration slow. Unstable roots are mostly lost.

    References
    ----------
    Walker and Ni 2011, doi:10.1137/10078356X, section 2.
    """
    states: list[Tensor] = []
    steps: list[Tensor] = []
    fresh = torch.zeros_like(search.n_iter)  # steps since the mixing of a start began anew
    for active in search.iterate("anderson", max_iter):
        states.append(search.state.clone())
        steps.append(-search.residual)
        del states[: -WINDOW - 1], steps[: -WINDOW - 1]
        here, step = search.state[active], -search.residual[active]
        plain = here + step
        trial = plain
        if len(states) > 1:
            newest = list(zip(states, steps, strict=True))
            # Differences older than a start's last plain step are left out by weight zero.
            order = torch.arange(len(states) - 1, 0, -1, device=here.device)
            known = (order[None, :] <= fresh[active][:, None]).to(here)
            pairs = list(itertools.pairwise(newest))
            d_state = torch.stack([(b[0] - a[0])[active] for a, b in pairs], 2) * known[:, None]
            d_step = torch.stack([(b[1] - a[1])[active] for a, b in pairs], 2) * known[:, None]
            weight = torch.linalg.pinv(d_step, rtol=1e-10) @ step[:, :, None]
            trial = plain - ((d_state + d_step) @ weight)[:, :, 0]
        residual, q = search.evaluate(active, trial)
        bad = (~(search.inside(trial) & (q < search.q[active]))).nonzero()[:, 0]
        fresh[active] += 1
        if len(bad):
            worse = active[bad]
            trial = trial.clone()
            trial[bad] = plain[bad]
            residual[bad], q[bad] = search.evaluate(worse, trial[bad])
            fresh[worse] = 0
        search.move(active, trial, residual, q)


def _gradient(search: Search, rows: Tensor, state: Tensor) -> Tensor:
    """Return ``(I - J)^T g``, the gradient of q, by one reverse pass."""
    with torch.enable_grad():
        h = state.detach().clone().requires_grad_(True)
        image = search.cell(h, search.x[rows])
        if not image.requires_grad:
            raise ValueError(
                "cell must be differentiable by torch for the methods 'adam' and 'lbfgs': its "
                "output has no gradient; take method='anderson' or 'krylov'"
            )
        (found,) = torch.autograd.grad((h - image).square().sum() / 2, h)
    return found.detach()


def _settle_minima(search: Search, rows: Tensor, gradient: Tensor) -> None:
    """Settle starts at which the gradient vanishes beside the residual."""
    walled = search.against_wall(rows, gradient)
    still = (gradient * ~walled).norm(dim=1) <= search.tol_grad * search.residual[rows].norm(dim=1)
    search.settle(rows[still & ~walled.any(1)], MINIMUM)
    search.settle(rows[still & walled.any(1)], STALLED)


def _two_loops(gradient: Tensor, moves: list[Tensor], bends: list[Tensor]) -> Tensor:
    """Return the step ``H gradient``; pairs without positive curvature are left out by start."""
    step, kept = gradient.clone(), []
    for move, bend in zip(reversed(moves), reversed(bends), strict=True):
        curvature = (move * bend).sum(1)
        good = curvature > 1e-12 * bend.square().sum(1)
        inverse = torch.where(good, 1 / torch.where(good, curvature, 1.0), 0.0)
        share = inverse * (move * step).sum(1)
        step = step - share[:, None] * bend
        kept.append((move, bend, inverse, share, good))
    scale = torch.ones_like(gradient[:, 0])
    for _, bend, inverse, _, good in reversed(kept):  # the newest good pair sets the scale
        size = bend.square().sum(1)
        scale = torch.where(good, 1 / (inverse * size).clamp(min=1e-300), scale)
    step = step * scale[:, None]
    for move, bend, inverse, share, _ in reversed(kept):
        back = inverse * (bend * step).sum(1)
        step = step + (share - back)[:, None] * move
    downhill = (step * gradient).sum(1) > 0
    return torch.where(downhill[:, None], step, gradient)


def _descend(search: Search, rows: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
    """Move along ``-step``, halving until q falls by Armijo's rule; return the starts that failed.

    Steps are clipped into the invariant box: the fall is promised for the clipped step.
    """
    scale = 1.0
    for _ in range(HALVINGS):
        if len(rows) == 0:
            break
        trial = search.clip(search.state[rows] - scale * step)
        residual, q = search.evaluate(rows, trial)
        promised = ((search.state[rows] - trial) * gradient).sum(1)
        good = trial.isfinite().all(1) & (promised > 0) & (q < search.q[rows] - ARMIJO * promised)
        search.move(rows[good], trial[good], residual[good], q[good])
        rows, step, gradient, scale = rows[~good], step[~good], gradient[~good], scale / 2
    return rows
