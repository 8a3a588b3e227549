r"""Fixed points along a path of inputs: branches, folds, and changes of stability.

A branch is a curve in (state, s) with x*(s) a polygon. It is followed by its arc length, which
goes around folds, where the branch turns back in s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_range, check_shape
from tractable.core.progress import track
from tractable.dynamics.branches import Branches
from tractable.dynamics.cells import as_cell
from tractable.dynamics.crossings import crossings
from tractable.dynamics.modes import eigenvalues

if TYPE_CHECKING:
    from tractable.dynamics.cells import Cell
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["Branches", "continue_points", "input_sensitivity"]

NEWTON = 12  # corrector steps
ACCURATE = 1e-12  # largest residual of a corrected point, per unit of state norm
GROW, SHRINK, SMALLEST = 1.3, 0.5, 1e-7  # of the arc-length step
ACCURATE_PLACE = 1e-10  # of an event, in steps
HALVINGS = 16  # of a step that holds several events
LONGEST = 20.0  # arc-length steps, of the first
BEND = 0.95  # least cosine between two tangents in a row


@torch.no_grad()
def input_sensitivity(points: PointSet) -> Tensor:
    r"""Return how roots move with their constant input, :math:`dh^*/dx^* = (I - J)^{-1} J_{in}`.

    Equation (D25).

    Parameters
    ----------
    points : PointSet
        Roots, with their cell.

    Returns
    -------
    Tensor, shape (P, N, D)
        NaN at a point where I - J is singular.

    References
    ----------
    Sussillo and Barak 2013, doi:10.1162/NECO_a_00409.

    Examples
    --------
    >>> from tractable.dynamics import as_cell, find_points
    >>> cell = as_cell(lambda h, x: 0.5 * h + x, n_state=1, n_input=1)
    >>> input_sensitivity(find_points(cell, torch.zeros(1, 1))).item()
    2.0
    """
    J, J_in = points.jacobians()
    gap = -J
    gap.diagonal(dim1=1, dim2=2).add_(1.0)
    moved, info = torch.linalg.solve_ex(gap, J_in)
    moved[(info != 0) | ~moved.isfinite().all(2).all(1)] = torch.nan
    return moved


@torch.no_grad()
def continue_points(
    cell: Any,
    points: PointSet | Tensor | np.ndarray,
    x_path: Tensor | np.ndarray,
    *,
    step: float = 0.05,
    max_steps: int = 2000,
    progress: bool = True,
) -> Branches:
    r"""Follow fixed points along a path of constant inputs, around folds.

    .. math:: G(h, s) = h - F(h, x^*(s)) = 0, \qquad
              (I - J)\, \dot h = J_{in}\, \frac{dx^*}{ds}\, \dot s

    Equation (D28): predicted along the tangent :math:`(\dot h, \dot s)`, corrected by Newton steps
    perpendicular to it. At a fold :math:`\dot s` changes sign.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    points : PointSet or array, shape (P, N)
        Fixed points at ``x_path[0]``, each the start of a branch; corrected before use.
    x_path : array, shape (S, D)
        Corners of the path, S >= 2; the input runs straight from one to the next.
    step : float, > 0
        First step of arc length in (h, s), as a share of 1 plus the rms norm of the points;
        longer, up to 20 times, where the branch is straight, shorter where it bends.
    max_steps : int, >= 1
        Largest number of points on a branch.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    Branches
        A branch ends at an end of the path, at ``max_steps``, or where the corrector fails.

    Raises
    ------
    ValueError
        Wrong shapes, NaN, a path of one corner or with two equal corners in a row.

    Notes
    -----
    Two roots that meet in a fold are two ends of one branch: started from either, it is found
    twice. Events are located to about 1e-9 of the path. Cost: for each point on a
    branch a few solves of N + 1 equations and the eigenvalues of J.

    References
    ----------
    Keller 1977, in Rabinowitz (ed.), Applications of Bifurcation Theory; Sussillo and Barak 2013,
    doi:10.1162/NECO_a_00409.

    Examples
    --------
    A bistable unit h' = tanh(2 h + x): the lower state vanishes at x = 2 s - arctanh(s) = 0.53284
    with s = sqrt(1/2), the upper one at -0.53284. One branch joins both.

    >>> from tractable.dynamics import as_cell
    >>> cell = as_cell(lambda h, x: torch.tanh(2 * h + x), n_state=1, n_input=1)
    >>> branches = continue_points(cell, torch.tensor([[-0.99]]), torch.tensor([[-1.0], [1.0]]))
    >>> branches.event_kind.tolist(), branches.event_x_star[:, 0].round(5).tolist()
    (['fold', 'fold'], [0.53284, -0.53284])
    """
    check_range("step", step, 0.0, open_low=True)
    check_count("max_steps", max_steps)
    net = as_cell(cell).to(dtype=torch.float64)
    given = points if isinstance(points, torch.Tensor | np.ndarray) else points.state
    states = torch.as_tensor(given).detach().to(device=net.device, dtype=torch.float64)
    check_shape("points", states.shape, ("P", net.n_state))
    check_finite("points", states)
    path = torch.as_tensor(x_path).detach().to(device=net.device, dtype=torch.float64)
    check_shape("x_path", path.shape, ("S", net.n_input))
    check_finite("x_path", path)
    if len(path) < 2 or bool((path[1:] == path[:-1]).all(1).any()):
        raise ValueError(
            "x_path must have two corners or more, each different from the one before, got "
            f"{len(path)} corners"
        )
    size = 1.0 + (float(states.square().sum(1).mean().sqrt()) if len(states) else 0.0)
    follower = _Follower(net, path, step * size)
    branches = [
        follower.follow(state, max_steps)
        for state in track(states, "continuing points", show=progress)
    ]
    return _gathered(branches, path)


@dataclass
class _Branch:
    """One branch while it is followed."""

    s: list[float]
    state: list[Tensor]
    n_unstable: list[int]
    events: list[tuple[str, float, Tensor]]
    ended: str = ""


class _Place(NamedTuple):
    """A point of a branch, how far along the step it is, the tangent (N + 1,) and J there."""

    at: float
    point: Tensor
    tangent: Tensor
    J: Tensor


@dataclass(frozen=True)
class _Follower:
    """The predictor and the corrector, for one network and path."""

    net: Cell
    path: Tensor
    step: float

    @property
    def end(self) -> float:
        return float(len(self.path) - 1)

    def input_at(self, s: float) -> Tensor:
        """Return x*(s), extended straight beyond both ends."""
        k = min(max(math.floor(s), 0), len(self.path) - 2)
        return self.path[k] + (s - k) * (self.path[k + 1] - self.path[k])

    def slope_at(self, s: float) -> Tensor:
        k = min(max(math.floor(s), 0), len(self.path) - 2)
        return self.path[k + 1] - self.path[k]

    def system(self, state: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the residual (N,), ``I - J`` (N, N) and ``-J_in dx/ds`` (N,)."""
        x = self.input_at(s)[None]
        residual = state - self.net(state[None], x)[0]
        J, J_in = self.net.jacobians(state[None], x)
        gap = torch.eye(len(state), dtype=state.dtype, device=state.device) - J[0]
        return residual, gap, -J_in[0] @ self.slope_at(s)

    def tangent(self, state: Tensor, s: float, before: Tensor) -> Tensor:
        """Return the unit tangent (N + 1,) that goes on in the direction of ``before``."""
        _, gap, along = self.system(state, s)
        matrix = torch.cat([torch.cat([gap, along[:, None]], 1), before[None]])
        right = torch.zeros_like(before)
        right[-1] = 1.0
        solved, info = torch.linalg.solve_ex(matrix, right)
        if int(info) or not bool(solved.isfinite().all()):
            return before
        return solved / solved.norm()

    def correct(self, guess: Tensor, tangent: Tensor) -> tuple[Tensor, int, float]:
        """Return the point of the branch on the plane through ``guess`` across the tangent."""
        point, size = guess.clone(), math.inf
        for count in range(NEWTON):
            residual, gap, along = self.system(point[:-1], float(point[-1]))
            offset = ((point - guess) * tangent).sum()
            size = float(residual.norm()) / (1 + float(point[:-1].norm()))
            if size <= ACCURATE:
                return point, count, size
            matrix = torch.cat([torch.cat([gap, along[:, None]], 1), tangent[None]])
            right = torch.cat([residual, offset[None]])
            change, info = torch.linalg.solve_ex(matrix, right)
            if int(info) or not bool(change.isfinite().all()):
                break
            point = point - change
        return point, NEWTON, size

    def jacobian(self, point: Tensor) -> Tensor:
        x = self.input_at(float(point[-1]))[None]
        return self.net.recurrent_jacobian(point[None, :-1], x)[0]

    def spectrum(self, point: Tensor) -> Tensor:
        return eigenvalues(self.jacobian(point))[0]

    def follow(self, state: Tensor, max_steps: int) -> _Branch:
        """Follow the branch through ``state`` at s = 0."""
        upward = torch.zeros(len(state) + 1, dtype=state.dtype, device=state.device)
        upward[-1] = 1.0
        point, _, size = self.correct(torch.cat([state, state.new_zeros(1)]), upward)
        branch = _Branch([], [], [], [])
        if size > 1e3 * ACCURATE:
            branch.ended = f"lost: no fixed point at the start of the path, residual {size:.1e}"
            return branch
        tangent = self.tangent(point[:-1], float(point[-1]), upward)
        self._add(branch, point)
        length = self.step
        while len(branch.s) < max_steps:
            guess = point + length * tangent
            after, count, size = self.correct(guess, tangent)
            ahead = self.tangent(after[:-1], float(after[-1]), tangent)
            bent = float((ahead * tangent).sum()) < BEND and not self._corner(point, after)
            if size > ACCURATE or bent or float((after - guess).norm()) > length:
                length *= SHRINK
                if length < SMALLEST:
                    branch.ended = f"lost: the corrector stops at a residual of {size:.1e}"
                    return branch
                continue
            s = float(after[-1])
            if not 0.0 <= s <= self.end:
                self._close(branch, point, after, tangent, ahead)
                return branch
            self._events(branch, point, after, tangent, ahead)
            self._add(branch, after)
            point, tangent = after, ahead
            length = min(LONGEST * self.step, length * GROW) if count <= 4 else length
        branch.ended = "most steps"
        return branch

    def _corner(self, one: Tensor, other: Tensor) -> bool:
        """Whether the path has a corner between two points, so that the tangent may jump."""
        return math.floor(float(one[-1])) != math.floor(float(other[-1]))

    def _add(self, branch: _Branch, point: Tensor) -> None:
        branch.s.append(float(point[-1]))
        branch.state.append(point[:-1])
        branch.n_unstable.append(int((self.spectrum(point).abs() > 1).sum()))

    def _close(
        self, branch: _Branch, point: Tensor, after: Tensor, tangent: Tensor, ahead: Tensor
    ) -> None:
        """Put the last point of a branch on the end of the path that it runs over."""
        s = float(after[-1])
        wall = self.end if s > self.end else 0.0
        fraction = (wall - float(point[-1])) / (s - float(point[-1]))
        guess = point + fraction * (after - point)
        guess[-1] = wall
        flat = torch.zeros_like(tangent)
        flat[-1] = 1.0
        last, _, size = self.correct(guess, flat)
        if size <= 1e3 * ACCURATE:
            self._events(branch, point, last, tangent, ahead)
            self._add(branch, last)
        branch.ended = "end of the path" if wall else "start of the path"

    def _events(
        self,
        branch: _Branch,
        one: Tensor,
        other: Tensor,
        tangent: Tensor,
        ahead: Tensor,
    ) -> None:
        """Locate what happens between two points in a row."""
        low = _Place(0.0, one, tangent, self.jacobian(one))
        length = float(((other - one) * tangent).sum())
        high = _Place(length, other, ahead, self.jacobian(other))
        self._between(branch, low, low, high, HALVINGS)

    def _between(
        self, branch: _Branch, one: _Place, low: _Place, high: _Place, halvings: int
    ) -> None:
        """Locate what happens between two places on the line through ``one``: one thing at a time.

        A step may hold several events, and two that cancel in the number outside the circle.
        """
        turned = float(low.tangent[-1]) * float(high.tangent[-1]) < 0
        turned = turned and not self._corner(low.point, high.point)
        kinds = crossings(low.J, high.J)
        if len(kinds) > 1 and halvings:
            middle = self._place(one, (low.at + high.at) / 2)
            if middle is not None:
                self._between(branch, one, low, middle, halvings - 1)
                self._between(branch, one, middle, high, halvings - 1)
                return
        if turned:
            where = self._root(one, low, high, lambda at: float(at.tangent[-1]))
            branch.events.append(("fold", float(where[-1]), where[:-1]))
            return
        count = int((self.spectrum(low.point).abs() > 1).sum())

        def beyond(at: _Place) -> float:
            """Distance of the nearest eigenvalue from the circle, below 0 before it crosses."""
            modulus = eigenvalues(at.J)[0].abs()
            return float((modulus - 1).abs().min()) * (
                1 if int((modulus > 1).sum()) != count else -1
            )

        for kind in dict.fromkeys(kinds):  # several of a kind at one place are one event
            where = self._root(one, low, high, beyond)
            branch.events.append((kind, float(where[-1]), where[:-1]))

    def _place(self, one: _Place, at: float) -> _Place | None:
        """Return the place at a distance along the line through ``one``; None if there is none."""
        point, _, size = self.correct(one.point + at * one.tangent, one.tangent)
        if size > 1e3 * ACCURATE:
            return None
        ahead = self.tangent(point[:-1], float(point[-1]), one.tangent)
        return _Place(at, point, ahead, self.jacobian(point))

    def _root(
        self, one: _Place, low: _Place, high: _Place, value: Callable[[_Place], float]
    ) -> Tensor:
        """Return the point between two places where a value changes sign (Brent's method)."""
        from scipy.optimize import brentq

        found = [low]

        def along(at: float) -> float:
            place = low if at == low.at else high if at == high.at else self._place(one, at)
            if place is None:
                return 0.0  # ends the search at the last point that was corrected
            found.append(place)
            return value(place)

        if along(low.at) * along(high.at) > 0:  # events that cannot be told apart: between them
            along((low.at + high.at) / 2)
        else:
            at = brentq(along, low.at, high.at, xtol=ACCURATE_PLACE * max(high.at, 1e-3))
            along(at)
        return found[-1].point


def _gathered(branches: list[_Branch], path: Tensor) -> Branches:
    """Put the branches into arrays."""
    end = len(path) - 1

    def inputs(s: np.ndarray) -> np.ndarray:
        corners = path.cpu().numpy()
        k = np.clip(np.floor(s).astype(int), 0, end - 1)
        return corners[k] + (s - k)[:, None] * (corners[k + 1] - corners[k])

    def stacked(states: list[Tensor], n: int) -> np.ndarray:
        return torch.stack(states).cpu().numpy() if states else np.zeros((0, n))

    n = next((len(b.state[0]) for b in branches if b.state), 0)
    s = np.array([value for b in branches for value in b.s], dtype=float)
    events = [(i, *event) for i, b in enumerate(branches) for event in b.events]
    event_s = np.array([event[2] for event in events], dtype=float)
    return Branches(
        branch=np.array([i for i, b in enumerate(branches) for _ in b.s], dtype=int),
        s=s,
        x_star=inputs(s),
        state=stacked([state for b in branches for state in b.state], n),
        n_unstable=np.array([k for b in branches for k in b.n_unstable], dtype=int),
        event_branch=np.array([event[0] for event in events], dtype=int),
        event_kind=np.array([event[1] for event in events], dtype="U4"),
        event_s=event_s,
        event_x_star=inputs(event_s),
        event_state=stacked([event[3] for event in events], n),
        ended=tuple(b.ended for b in branches),
    )
