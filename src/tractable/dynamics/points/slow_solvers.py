r"""Projection onto a slow manifold: remove the fast part of the residual, leave the slow part.

The damped step ``d = (A^T A + mu I)^-1 A^T g`` with ``A = I - J`` and FIXED ``mu = sigma_c^2``
moves along singular directions of A with ``sigma^2 >> mu`` as Newton does and stays put along those
with ``sigma^2 << mu``: a start drops onto the slow manifold beside it and does not slide along it.
`damped` takes J at every start and step; `chord` shares one J among neighbors for as long as they
stay near, which costs matrix-vector products only, because J hardly changes along the manifold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tractable.dynamics.points.search import Search
from tractable.dynamics.points.solvers import damped_inverse_step

__all__ = ["chord", "damped", "fast_part", "k_means"]

N_ANCHORS = 16
STEPS_PER_ROUND = 4


@dataclass(frozen=True)
class Anchors:
    """Groups of neighboring starts, and A = I - J at one member of each.

    Attributes
    ----------
    group : Tensor (n,)
        Of each start of the search; -1: none.
    gap, inverse : Tensor (K, N, N)
        A at the anchors, and ``(A^T A + mu I)^-1 A^T``.
    state : Tensor (n, N)
        Of all starts when the groups were made.
    distance : Tensor (n,)
        Of each start to its anchor at that time; infinite without a group.
    """

    group: Tensor
    gap: Tensor
    inverse: Tensor
    state: Tensor
    distance: Tensor

    def hold(self, search: Search, rows: Tensor) -> bool:
        """Whether most starts ``rows`` have moved less since then than they were off their anchor.

        As long as they have, a Jacobian taken anew at the anchors is hardly nearer to theirs.
        """
        moved = (search.state[rows] - self.state[rows]).norm(dim=1)
        near = (moved <= self.distance[rows]) & (self.group[rows] >= 0)
        return 2 * int(near.sum()) >= len(rows) and bool((self.group[rows] >= 0).all())


def damped(search: Search, mu: float, max_iter: int) -> None:
    """Damped steps of fixed mu; a plain step of F where the damped one does not lower q.

    Parameters
    ----------
    search : Search
        Changed in place.
    mu : float
        sigma_c^2, > 0.
    max_iter : int
        Largest number of steps per start.
    """
    for active in search.iterate("slow", max_iter):
        for rows in search.blocks(active):
            gap, residual = search.gap(rows), search.residual[rows]
            gradient = (gap.mT @ residual[:, :, None])[:, :, 0]
            step = damped_inverse_step(gap, gradient, torch.full_like(residual[:, 0], mu))
            _accept_or_relax(search, rows, step)
            search.report("slow")


def chord(
    search: Search, mu: float, max_iter: int, generator: torch.Generator | None = None
) -> None:
    """Damped steps with one damped inverse for each of 16 groups of neighboring starts.

    Every four steps the groups and their inverses are renewed, unless most starts have moved less
    than they lay off their anchor. They are left in ``search.anchors`` for `fast_part`.

    Parameters
    ----------
    search : Search
        Changed in place.
    mu : float
        sigma_c^2, > 0.
    max_iter : int
        Largest number of steps per start.
    generator : torch.Generator, optional
        Seeds the grouping (k-means).
    """
    search.anchors = None
    for count, active in enumerate(search.iterate("chord", max_iter)):
        anchors = search.anchors
        due = count % STEPS_PER_ROUND == 0
        if anchors is None or (due and not anchors.hold(search, active)):
            anchors = search.anchors = _anchors(search, active, mu, generator)
        step = _grouped(anchors.inverse, search.residual[active], anchors.group[active])
        _accept_or_relax(search, active, step)


def fast_part(
    search: Search, mu: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return how much of each start's residual lies in fast directions, and how far it leads.

    With the damped step ``d = (A^T A + mu I)^-1 A^T g`` and A at the anchor of the start's group
    (that of the last chord steps, where it still holds):

    Returns
    -------
    Tensor (n,)
        ``||A d|| / ||g||``, in [0, 1]: near 1 the start has not reached the slow manifold; near 0
        what is left of g is drift along it. 0 where g = 0, 1 where g is not finite.
    Tensor (n,)
        ``||d||``, the distance still to go; infinite where g is not finite.
    """
    rows = search.q.isfinite().nonzero()[:, 0]
    share, distance = torch.ones_like(search.q), torch.full_like(search.q, torch.inf)
    if len(rows):
        anchors = search.anchors
        if anchors is None or not anchors.hold(search, rows):
            anchors = _anchors(search, rows, mu, generator)
        label, residual = anchors.group[rows], search.residual[rows]
        step = _grouped(anchors.inverse, residual, label)
        tiny = torch.finfo(share.dtype).tiny
        fast = _grouped(anchors.gap, step, label).norm(dim=1)
        share[rows] = fast / residual.norm(dim=1).clamp(min=tiny)
        distance[rows] = step.norm(dim=1)
    return share, distance


def k_means(
    points: Tensor, k: int, generator: torch.Generator | None = None, n_iter: int = 5
) -> Tensor:
    """Group points by Lloyd's algorithm from k-means++ seeds.

    Parameters
    ----------
    points : Tensor (n, N)
        At least one.
    k : int
        Largest number of groups, >= 1.
    generator : torch.Generator, optional
        For the seeds; None: a fixed one.
    n_iter : int
        Rounds of Lloyd's algorithm.

    Returns
    -------
    Tensor (n,)
        Group of each point, ``0 .. k'-1`` with ``k' <= k`` and no group empty.

    Examples
    --------
    >>> k_means(torch.tensor([[0.0], [0.1], [5.0], [5.1]]), 2).bincount()
    tensor([2, 2])
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    draws = torch.rand(k, generator=generator, device=generator.device).tolist()
    centers = points[:1]
    nearest = (points - centers).square().sum(1)
    for draw in draws[1:]:
        total = nearest.cumsum(0)
        chosen = torch.searchsorted(total, draw * total[-1:], right=True).clamp(max=len(points) - 1)
        centers = torch.cat([centers, points[chosen]])
        nearest = torch.minimum(nearest, (points - points[chosen]).square().sum(1))
    for _ in range(n_iter):
        label = _nearest(points, centers)
        kept, label = label.unique(return_inverse=True)
        sums = torch.zeros_like(centers[kept]).index_add_(0, label, points)
        centers = sums / label.bincount()[:, None]
    return _nearest(points, centers).unique(return_inverse=True)[1]


def _nearest(points: Tensor, centers: Tensor) -> Tensor:
    return (centers.square().sum(1) - 2 * points @ centers.T).argmin(1)


def _anchors(search: Search, rows: Tensor, mu: float, generator: torch.Generator | None) -> Anchors:
    """Group the starts ``rows`` and factor A at one of each group.

    The anchor of a group is the member nearest to its mean: a state of the network, which the
    mean of a curved manifold is not.
    """
    state, x = search.state[rows], search.x[rows]
    same_input = bool((x == x[:1]).all())
    points = state if same_input else torch.cat([state, x], dim=1)
    label = k_means(points, min(N_ANCHORS, len(rows)), generator)
    n_groups = int(label.max()) + 1
    means = torch.zeros(n_groups, points.shape[1], dtype=points.dtype, device=points.device)
    means = means.index_add_(0, label, points) / label.bincount()[:, None]
    far = (points - means[label]).square().sum(1)
    nearest = torch.stack([
        far.where(label == k, torch.inf).argmin() for k in range(n_groups)
    ])  # fmt: skip
    anchors = rows[nearest]
    gap = torch.cat([search.gap(block) for block in search.blocks(anchors)])
    damping = torch.full_like(gap[:, 0, 0], mu)
    inverse = torch.cat([
        damped_inverse_step(gap[block], gap[block].mT, damping[block])
        for block in search.blocks(torch.arange(n_groups, device=rows.device))
    ])  # fmt: skip
    group = torch.full_like(search.n_iter, -1)
    group[rows] = label
    distance = torch.full_like(search.q, torch.inf)
    distance[rows] = (points - points[nearest][label]).norm(dim=1)
    return Anchors(group, gap, inverse, search.state.clone(), distance)


def _grouped(matrices: Tensor, vectors: Tensor, label: Tensor) -> Tensor:
    """Return ``matrices[label[i]] @ vectors[i]`` for all i, one product per group."""
    order = label.argsort(stable=True)
    parts = vectors[order].split(label.bincount(minlength=len(matrices)).tolist())
    out = torch.empty_like(vectors)
    out[order] = torch.cat([
        part @ matrix.T for part, matrix in zip(parts, matrices, strict=True)
    ])  # fmt: skip
    return out


def _accept_or_relax(search: Search, rows: Tensor, step: Tensor) -> None:
    """Move by ``-step`` where that lowers q inside the box, by a plain step of F elsewhere."""
    trial = search.state[rows] - step
    residual, q = search.evaluate(rows, trial)
    bad = (~(search.inside(trial) & (q < search.q[rows]))).nonzero()[:, 0]
    if len(bad):
        worse = rows[bad]
        trial[bad] = search.state[worse] - search.residual[worse]
        residual[bad], q[bad] = search.evaluate(worse, trial[bad])
    search.move(rows, trial, residual, q)
