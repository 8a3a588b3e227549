"""Which of the states that a search ends at count: distances, duplicates, saturation, degree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.dynamics.arnoldi import MAX_DECOMPOSED, in_closed_form
from tractable.dynamics.cells import Cell
from tractable.dynamics.points.search import MAX_NEWTON_STATE

__all__ = [
    "POINT_FIELDS",
    "RootFacts",
    "chunks",
    "distance_limit",
    "distance_to_starts",
    "duplicate_radius",
    "first_component",
    "index_sum",
    "input_groups",
    "merge",
    "q_factor",
    "representatives",
    "root_facts",
]

POINT_FIELDS = (
    "state",
    "x_star",
    "q",
    "converged",
    "n_iter",
    "start_index",
    "multiplicity",
    "displacement",
)
DUPLICATE_SHARE = 1e-3  # of the rms of the states' entries
FROZEN = 1e-9  # a row of I - J below it: the unit copies itself
SINGULAR_PIVOT = 1e-10  # of I - J, relative to the largest: singular to rounding
TREE_UNITS = 3  # of widest spread, among which neighbors are looked for
MEDIAN_SAMPLE = 2048  # starts whose nearest-neighbor distances are taken


def chunks(n: int, n_state: int, max_bytes: float, itemsize: int = 8) -> list[slice]:
    """Split ``n`` points so that five (N, N) matrices per point fit into ``max_bytes``."""
    size = max(1, int(max_bytes / (5 * n_state**2 * itemsize)))
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def distance_to_starts(state: Tensor, starts: Tensor, block: int = 1024) -> Tensor:
    """Return the Euclidean distance of each state (n, N) to its nearest start (n,)."""
    parts = [torch.cdist(part, starts).amin(1) for part in state.split(block)]
    return torch.cat(parts) if parts else state.new_zeros(0)


def distance_limit(starts: Tensor, scale: float) -> float:
    """Return how far from the nearest start a point may lie before it counts as an outlier.

    ``scale`` times the median distance of a start to its nearest neighbor, or times a tenth of the
    starts' rms distance from their mean if that is larger: in a few dimensions many starts lie
    close together, and roots between or beside them are no outliers. Infinite where all starts
    coincide.
    """
    spread = float((starts - starts.mean(0)).square().sum(1).mean().sqrt())
    if len(starts) < 2 or spread == 0:
        return float("inf")
    sample = starts[:: -(-len(starts) // MEDIAN_SAMPLE)]
    distance = torch.cdist(sample, starts)
    own = torch.arange(len(sample), device=starts.device)
    distance[own, own * -(-len(starts) // MEDIAN_SAMPLE)] = torch.inf
    return scale * max(float(distance.amin(1).median()), 0.1 * spread)


def duplicate_radius(*states: Tensor) -> float:
    """Return 1e-3 times the rms of the entries of all states; at least 1e-9."""
    total = sum(float(s.square().sum()) for s in states)
    return max(DUPLICATE_SHARE * (total / max(sum(s.numel() for s in states), 1)) ** 0.5, 1e-9)


def input_groups(x: Tensor) -> np.ndarray:
    """Return the number of each row's constant input, equal rows alike (n,)."""
    if len(x) == 0 or bool((x == x[:1]).all()):
        return np.zeros(len(x), dtype=np.int64)
    return np.unique(x.cpu().numpy(), axis=0, return_inverse=True)[1].reshape(-1)


def representatives(state: Tensor, q: Tensor, groups: np.ndarray, radius: float) -> np.ndarray:
    """Return for each state the index of the one that stands for it (n,).

    Greedy: the state of lowest q takes all within ``radius`` (maximum norm) of the same input,
    then the lowest of those that remain.
    """
    owner = np.full(len(state), -1, dtype=np.int64)
    position, speed = state.cpu().numpy(), q.cpu().numpy()
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        owner[members] = members[_greedy(position[members], speed[members], radius)]
    return owner


def _greedy(position: np.ndarray, speed: np.ndarray, radius: float) -> np.ndarray:
    """Return the owner of each state (n,) of one input.

    Neighbors in all units are neighbors in the few of widest spread: a tree over those finds the
    candidates in O(n log n), where one over N units would look at every state.
    """
    from scipy.spatial import cKDTree

    widest = np.argsort(-position.var(axis=0), kind="stable")[:TREE_UNITS]
    few = np.ascontiguousarray(position[:, widest])
    tree = cKDTree(few)
    reach = np.nextafter(radius, np.inf)  # the bound of `query` is exclusive
    second = tree.query(few, k=[2], p=np.inf, distance_upper_bound=reach)[0][:, 0]
    owner = np.where(np.isfinite(second), -1, np.arange(len(few)))  # alone: its own
    crowded = np.flatnonzero(owner < 0)
    for i in crowded[np.argsort(speed[crowded], kind="stable")]:
        if owner[i] >= 0:
            continue
        near = np.asarray(tree.query_ball_point(few[i], radius, p=np.inf))
        near = near[owner[near] < 0]
        near = near[(np.abs(position[near] - position[i]) <= radius).all(axis=1)]
        owner[near] = i
    return owner


def merge(
    arrays: dict[str, Tensor], owner: Tensor, tol_unique: float | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Merge duplicates among entries, order them by start, count their starts.

    Parameters
    ----------
    arrays : dict
        The per-point fields of a `PointSet`, one row per entry; multiplicity is not read.
    owner : Tensor (n_starts,)
        Entry of each start, or -1.
    tol_unique : float or None
        Radius in the maximum norm.

    Returns
    -------
    dict, Tensor (n_starts,)
        The fields of the points that remain, and the point of each start.
    """
    state, device = arrays["state"], owner.device
    radius = duplicate_radius(state) if tol_unique is None else tol_unique
    standing = representatives(state, arrays["q"], input_groups(arrays["x_star"]), radius)
    kept = np.unique(standing)
    kept = kept[np.argsort(arrays["start_index"].cpu().numpy()[kept], kind="stable")]
    position = np.full(len(state) + 1, -1)
    position[kept] = np.arange(len(kept))
    entry_to_point = np.append(position[standing], -1)
    representative = torch.from_numpy(entry_to_point).to(device)[owner]
    rows = torch.from_numpy(kept).to(device)
    merged = {name: arrays[name][rows] for name in POINT_FIELDS if name != "multiplicity"}
    counts = representative[representative >= 0].bincount(minlength=len(kept))
    return {**merged, "multiplicity": counts}, representative


def first_component(state: Tensor) -> tuple[float, float]:
    """Return the variance share of the first principal component, and the extent along it.

    Of fewer than two states, or of coinciding ones, the share is NaN and the extent 0.
    """
    centered = (state - state.mean(0)).double().cpu() if len(state) else state.double().cpu()
    total = float(centered.square().sum())
    if len(state) < 2 or total == 0:
        return float("nan"), 0.0
    wide = centered.shape[1] > centered.shape[0]
    gram = centered @ centered.T if wide else centered.T @ centered
    values, vectors = torch.linalg.eigh(gram)
    along = vectors[:, -1] * values[-1].clamp(min=0).sqrt() if wide else centered @ vectors[:, -1]
    return float(values[-1]) / total, float(along.max() - along.min())


class RootFacts(NamedTuple):
    """What the Jacobian says about each of P roots.

    ``sign`` (P,): of det(I - J), 0 where it is singular to rounding or not known. ``n_frozen``
    (P,): units that copy themselves at the root but not at its start. ``known`` (P,): whether the
    sign could be determined; always for N <= 1500.
    """

    sign: Tensor
    n_frozen: Tensor
    known: Tensor


def root_facts(
    cell: Cell, state: Tensor, x: Tensor, starts: Tensor, max_bytes: float = 2.0**28
) -> RootFacts:
    """Return the sign of det(I - J) and the number of saturated units at each root.

    Far outside the states that a gated network visits, a gate is 1 to rounding: then ``F_i(h) =
    h_i`` and row i of I - J vanish whatever h_i is. A unit that integrates exactly has the same row
    at its start, and does not count.

    For N > 1500 (4096 in closed form) no Jacobian is formed: see `large_root_facts`.

    Parameters
    ----------
    cell : Cell
        One-step map.
    state, x, starts : Tensor (P, N), (P, D), (P, N)
        Roots, their inputs and the starts that led there.
    max_bytes : float
        For the Jacobians held at once.
    """
    closed = in_closed_form(cell) and state.shape[1] <= MAX_DECOMPOSED
    if state.shape[1] > MAX_NEWTON_STATE and not closed:
        from tractable.dynamics.points.large_facts import large_root_facts

        return RootFacts(*large_root_facts(cell, state, x, starts, FROZEN))
    sign, n_frozen = state.new_zeros(len(state)), state.new_zeros(len(state))
    for part in chunks(len(state), state.shape[1], max_bytes):
        gap = _gap(cell, state[part], x[part])
        factor, exchange, _ = torch.linalg.lu_factor_ex(gap)
        pivots = factor.diagonal(dim1=1, dim2=2)
        regular = pivots.abs().amin(1) > SINGULAR_PIVOT * pivots.abs().amax(1)
        odd = (exchange != torch.arange(1, len(exchange[0]) + 1).to(exchange)).sum(1) % 2
        sign[part] = torch.where(regular, pivots.sign().prod(1) * (1 - 2 * odd), 0.0)
        frozen = gap.abs().amax(2) < FROZEN
        if bool(frozen.any()):
            frozen &= _gap(cell, starts[part], x[part]).abs().amax(2) >= FROZEN
        n_frozen[part] = frozen.sum(1).to(n_frozen)
    return RootFacts(sign.long(), n_frozen.long(), torch.ones_like(sign, dtype=torch.bool))


def index_sum(cell: Cell, x: Tensor, sign: Tensor) -> int | None:
    r"""Return :math:`\sum_{h^*} \mathrm{sign} \det(I - J(h^*))`, the Brouwer degree.

    It is +1 when all roots are present, all are regular, and F maps a box into itself.

    Returns
    -------
    int or None
        None: no finite box is known, the inputs differ, a root is degenerate, or a sign unknown.
    """
    boxed = cell.bounds is not None and all(bool(b.isfinite().all()) for b in cell.bounds)
    one_input = len(x) == 0 or bool((x == x[:1]).all())
    if not boxed or not one_input or bool((sign == 0).any()):
        return None
    return int(sign.sum())


def _gap(cell: Cell, state: Tensor, x: Tensor) -> Tensor:
    gap = -cell.recurrent_jacobian(state, x)
    gap.diagonal(dim1=1, dim2=2).add_(1.0)
    return gap


def q_factor(q_convention: str, state: Tensor) -> float:
    """Return the factor of ``||h - F(h)||^2`` in q: 1/2 or 1/N."""
    return 0.5 if q_convention == "half_sum" else 1.0 / state.shape[-1]
