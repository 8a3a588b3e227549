"""From the states where a search ended to a set of distinct points, with reasons for the rest."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import ConvergenceWarning, TractableWarning
from tractable.dynamics.points.krylov import krylov_step
from tractable.dynamics.points.point_set import PointSet, Rejected, Scan
from tractable.dynamics.points.search import (
    ACTIVE,
    BELOW_TOL,
    MAX_NEWTON_STATE,
    MINIMUM,
    NON_FINITE,
    SINGULAR,
    STALLED,
    WALL,
    Search,
)
from tractable.dynamics.points.selection import (
    distance_limit,
    distance_to_starts,
    duplicate_radius,
    first_component,
    index_sum,
    input_groups,
    merge,
    q_factor,
    representatives,
    root_facts,
)
from tractable.dynamics.points.slow_solvers import fast_part
from tractable.dynamics.points.solvers import newton_step, polish

if TYPE_CHECKING:
    from tractable.dynamics.cells import Cell

__all__ = ["Request", "harvest"]

FAR = 1e-4  # relative change of starts or inputs, beyond float32's, that makes another search
SLOW_SHARE = 0.5  # a slow point keeps at most this share of its residual in fast directions

REASONS = {
    ACTIVE: "not converged: q above tol after the last iteration",
    MINIMUM: "local minimum of q, not a root",
    WALL: "minimum of q on a wall of the invariant box, not a root",
    STALLED: "stalled: no step lowers q",
    SINGULAR: "singular: I - J has no inverse",
    NON_FINITE: "non-finite state",
}


@dataclass(frozen=True)
class Request:
    """What was asked of `find_points`, checked.

    Attributes
    ----------
    kind, q_convention, outlier_scale, tol_unique, generator, resume
        As given to `find_points`.
    mu : float
        Squared singular value that separates slow from fast.
    threshold : bool
        Points must have q <= tol. False: slow points without a tol.
    readout : Tensor (N,) or None
        Weights on the full state.
    complete : bool
        The method can find every root, so that missing ones deserve a warning.
    """

    kind: str
    q_convention: str
    mu: float
    threshold: bool
    outlier_scale: float
    tol_unique: float | None
    readout: Tensor | None
    complete: bool
    generator: torch.Generator | None
    resume: PointSet | None

    def unfinished(self, cell: Cell, starts: Tensor, x: Tensor) -> Tensor:
        """Return the indices of the starts to solve; ValueError where `resume` does not fit."""
        if self.resume is None:
            return torch.arange(len(starts), device=starts.device)
        old = self.resume
        for name, got, wanted in (
            ("kind", old.kind, self.kind),
            ("q_convention", old.q_convention, self.q_convention),
            ("number of starts", len(old.representative), len(starts)),
            ("number of units", old.state.shape[1], starts.shape[1]),
        ):
            if got != wanted:
                raise ValueError(
                    f"resume must continue the same search: its {name} is {got}, now {wanted}"
                )
        old.with_cell(cell)  # refuses another network
        origin = old.start_index.to(starts.device)
        moved = (old.state.to(starts) - starts[origin]).norm(dim=1)
        error = (moved - old.displacement.to(moved)).abs()
        size = starts[origin].norm(dim=1) + old.state.to(starts).norm(dim=1)
        for name, same in (
            ("starts", error <= FAR * (1 + size)),
            ("x_star", (old.x_star.to(x) - x[origin]).abs().amax(1) <= FAR * (1 + x.abs().max())),
        ):
            if not bool(same.all()):
                raise ValueError(
                    f"resume must continue the same search: {name} has changed at "
                    f"{int((~same).sum())} of its {len(old)} points"
                )
        return old.unfinished.to(starts.device)


def harvest(
    search: Search,
    request: Request,
    starts: Tensor,
    x: Tensor,
    todo: Tensor,
    interrupted: bool,
) -> PointSet:
    """Return the point set of a search that has ended.

    Parameters
    ----------
    search : Search
        Over the starts ``todo``.
    request : Request
        What was asked.
    starts, x : Tensor (n, N), (n, D)
        All starts as given, and their inputs.
    todo : Tensor (m,)
        Indices of the starts that were solved.
    interrupted : bool
        The solvers were stopped from the keyboard.
    """
    rounding = search.n_state * (100 * torch.finfo(search.state.dtype).eps) ** 2
    if request.kind != "slow":
        solve = krylov_step if search.n_state > MAX_NEWTON_STATE else newton_step
        polish(search, (search.status == BELOW_TOL).nonzero()[:, 0], rounding, solve=solve)
    everyone = torch.arange(len(todo), device=todo.device)
    search.residual, search.q = search.evaluate(everyone, search.state)  # AT the returned states

    reason = _reasons(search, request, interrupted)
    _reject_outliers(reason, search, starts, request.outlier_scale)
    rows = torch.from_numpy(np.flatnonzero([r is None for r in reason])).to(todo.device)
    factor = q_factor(request.q_convention, starts) / 0.5
    radius = request.tol_unique
    if radius is None:
        radius = duplicate_radius(search.state[rows], starts)

    arrays, representative, rejected = _merged(search, request, starts, todo, rows, factor, radius)
    rejected += [
        Rejected(int(i), why, float(q) * factor)
        for i, why, q in zip(todo.tolist(), reason, search.q.tolist(), strict=True)
        if why is not None
    ]
    degree = None
    if request.kind == "root":
        origin = starts[arrays["start_index"]]
        facts = root_facts(search.cell, arrays["state"], arrays["x_star"], origin)
        true = facts.n_frozen == 0
        rejected += _saturated(arrays["q"], representative, facts.n_frozen)
        arrays, representative = _only(arrays, representative, true)
        degree = index_sum(search.cell, arrays["x_star"], facts.sign[true])
        degenerate = (facts.sign == 0) & facts.known & true
        _warn_degenerate(int(degenerate.sum()), int((~facts.known & true).sum()), len(arrays["q"]))
    points = PointSet(
        cell=search.cell,
        **arrays,
        kind=request.kind,
        representative=representative,
        rejected=tuple(sorted(rejected)),
        scan=_scan(search, reason, request, radius, factor) if len(todo) == len(starts) else None,
        q_convention=request.q_convention,
        interrupted=interrupted,
        index_sum=degree,
    )
    _warn(points, request, search, factor)
    return points


def _reasons(search: Search, request: Request, interrupted: bool) -> list[str | None]:
    """Return why each start leads to no point, None where it does."""
    status = search.status.tolist()
    good = {BELOW_TOL, MINIMUM} if request.kind == "local_min" else {BELOW_TOL}
    if request.threshold:
        reason = [None if s in good else REASONS[s] for s in status]
    else:
        share, step = fast_part(search, request.mu, request.generator)
        near = duplicate_radius(search.state) * search.n_state**0.5
        slow = ((share <= SLOW_SHARE) | (step <= near)).tolist()
        reason = [
            None if ok or s in good else REASONS[s] for s, ok in zip(status, slow, strict=True)
        ]
        for i, a in enumerate(share.tolist()):
            if reason[i] is not None and status[i] == ACTIVE:
                reason[i] = f"not on the manifold: {a:.0%} of the residual is in fast directions"
    if interrupted:
        reason = [
            f"interrupted; {r}" if r is not None and s in (ACTIVE, STALLED, SINGULAR) else r
            for r, s in zip(reason, status, strict=True)
        ]
    return reason


def _reject_outliers(
    reason: list[str | None], search: Search, starts: Tensor, scale: float
) -> None:
    """Give a reason to the states that are far from every start."""
    limit = distance_limit(starts, scale)
    kept = np.flatnonzero([r is None for r in reason])
    distance = distance_to_starts(search.state[torch.from_numpy(kept).to(starts.device)], starts)
    for i, far in zip(kept, distance.tolist(), strict=True):
        if far > limit:
            reason[i] = f"outlier: {far:.3g} from the nearest start, more than {limit:.3g}"


def _saturated(q: Tensor, representative: Tensor, n_frozen: Tensor) -> list[Rejected]:
    """Reject the starts of points at which units copy themselves."""
    return [
        Rejected(
            i,
            f"saturated: {int(n_frozen[p])} units copy themselves, F(h) = h to rounding",
            float(q[p]),
        )
        for i, p in enumerate(representative.tolist())
        if p >= 0 and n_frozen[p] > 0
    ]


def _merged(
    search: Search,
    request: Request,
    starts: Tensor,
    todo: Tensor,
    rows: Tensor,
    factor: float,
    radius: float,
) -> tuple[dict[str, Tensor], Tensor, list[Rejected]]:
    """Merge duplicates among the good rows, and with the points of a search taken up again."""
    state, index = search.state[rows], todo[rows]
    arrays = {
        "state": state,
        "x_star": search.x[rows].clone(),
        "q": search.q[rows] * factor,
        "converged": torch.ones_like(index, dtype=torch.bool),
        "n_iter": search.n_iter[rows],
        "start_index": index,
        "displacement": (state - starts[index]).norm(dim=1),
    }
    owner = torch.full((len(starts),), -1, dtype=torch.long, device=todo.device)
    owner[index] = torch.arange(len(rows), device=todo.device)
    rejected: list[Rejected] = []
    if request.resume is not None:
        old = request.resume
        arrays = {k: torch.cat([getattr(old, k).to(v), v]) for k, v in arrays.items()}
        before = old.representative.to(owner)
        owner = torch.where(owner >= 0, owner + len(old), before)
        left = set(todo.tolist())
        rejected = [r for r in old.rejected if r.start_index not in left]
    return *merge(arrays, owner, radius), rejected


def _only(
    arrays: dict[str, Tensor], representative: Tensor, kept: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Drop the other points; their starts get representative -1."""
    position = torch.where(kept, kept.cumsum(0) - 1, -1)
    position = torch.cat([position, position.new_full((1,), -1)])
    return {name: a[kept] for name, a in arrays.items()}, position[representative]


def _scan(
    search: Search, reason: list[str | None], request: Request, radius: float, factor: float
) -> Scan:
    """Return the threshold scan over the starts that are no outliers."""
    assert search.scan_tol is not None
    lost = [(r or "").startswith(("outlier", "non-finite")) for r in reason]
    counted = ~torch.tensor(lost, dtype=torch.bool, device=search.q.device)
    groups = input_groups(search.x)
    n_starts, n_points, table, ranges = [], [], [], []
    for level in range(len(search.scan_tol)):
        rows = (counted & (search.crossed > level)).nonzero()[:, 0]
        state = search.scan_state[level, rows].to(search.state)
        owner = representatives(state, search.q[rows], groups[rows.cpu().numpy()], radius)
        distinct = state[torch.from_numpy(np.unique(owner)).to(state.device)]
        n_starts.append(len(rows))
        n_points.append(len(distinct))
        table.append(first_component(distinct))
        if request.readout is not None:
            value = distinct @ request.readout
            ends = (value.min(), value.max()) if len(value) else (np.nan, np.nan)
            ranges.append([float(end) for end in ends])
    share, extent = np.array(table).reshape(-1, 2).T
    return Scan(
        tol=search.scan_tol.cpu().double() * factor,
        n_starts=torch.tensor(n_starts, dtype=torch.long),
        n_points=torch.tensor(n_points, dtype=torch.long),
        pc1_fraction=torch.from_numpy(share.copy()),
        extent=torch.from_numpy(extent.copy()),
        readout_range=torch.tensor(ranges) if request.readout is not None else None,
    )


def _warn(points: PointSet, request: Request, search: Search, factor: float) -> None:
    if len(points) == 0 and len(search.q):
        finite = search.q[search.q.isfinite()]
        least = f"{float(finite.min()) * factor:.3g}" if len(finite) else "not finite"
        stuck = ""
        for status, where in (
            (MINIMUM, "ended at a local minimum of q"),
            (SINGULAR, "met a singular I - J"),
        ):
            count = int((search.status == status).sum())
            stuck += f"; {count} {where}" if count else ""
        goal = f"q <= {search.tol * factor:.3g}" if request.threshold else "the slow manifold"
        n_far = sum(r.reason.startswith("outlier") for r in points.rejected)
        if n_far:
            goal += " near a start"
            stuck += f"; {n_far} ended far from every start, as outliers (see outlier_scale)"
        advice = {
            "root": "try kind='slow', or kind='local_min'",
            "local_min": "try more iterations, or kind='slow'",
            "slow": "try a larger tol or tau_c",
        }[request.kind]
        warnings.warn(
            f"none of {len(search.q)} starts reached {goal}: the smallest q is {least} "
            f"({request.q_convention}){stuck}; {advice}",
            ConvergenceWarning,
            stacklevel=4,
        )
    elif points.index_sum not in (None, 1) and request.complete and not points.interrupted:
        warnings.warn(
            f"index_sum is {points.index_sum:+d}, not +1: of the roots in the cell's box some are "
            f"missing from the {len(points)} found; draw more starts",
            TractableWarning,
            stacklevel=4,
        )


def _warn_degenerate(n_degenerate: int, n_unknown: int, n_points: int) -> None:
    if n_unknown:
        warnings.warn(
            f"the sign of det(I - J) is not known at {n_unknown} of {n_points} roots: Arnoldi "
            "iteration found no end of the eigenvalues beyond 1; index_sum is None, and whether "
            "roots are missing is not known",
            TractableWarning,
            stacklevel=4,
        )
    if n_degenerate:
        warnings.warn(
            f"I - J is singular to rounding at {n_degenerate} of {n_points} roots: they are not "
            "isolated; kind='slow' samples the manifold that they lie on",
            TractableWarning,
            stacklevel=4,
        )
