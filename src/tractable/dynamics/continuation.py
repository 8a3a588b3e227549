r"""Fixed points along a path of inputs: branches, folds, and changes of stability.

A branch is a curve in (state, s) with x*(s) a polygon. It is followed by its arc length, which
goes around folds, where the branch turns back in s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_range, check_shape
from tractable.core.progress import track
from tractable.dynamics.branches import Branches
from tractable.dynamics.cells import as_cell

if TYPE_CHECKING:
    from tractable.dynamics.cells import Cell
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["Branches", "continue_points", "input_sensitivity"]

NEWTON = 12  # corrector steps
ACCURATE = 1e-12  # largest residual of a corrected point, per unit of state norm
GROW, SHRINK, SMALLEST = 1.3, 0.5, 1e-7  # of the arc-length step
BISECTIONS = 40
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
    twice. Events are located by bisection to about 1e-9 of the path. Cost: for each point on a
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

    def spectrum(self, point: Tensor) -> Tensor:
        from tractable.dynamics.modes import eigenvalues

        x = self.input_at(float(point[-1]))[None]
        return eigenvalues(self.net.recurrent_jacobian(point[None, :-1], x))[0]

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
            self._events(branch, point, after, tangent, ahead, length)
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
            length = float((last - point).norm())
            self._events(branch, point, last, tangent, ahead, length)
            self._add(branch, last)
        branch.ended = "end of the path" if wall else "start of the path"

    def _events(
        self,
        branch: _Branch,
        one: Tensor,
        other: Tensor,
        tangent: Tensor,
        ahead: Tensor,
        length: float,
    ) -> None:
        """Locate what happens between two points in a row."""
        if float(tangent[-1]) * float(ahead[-1]) < 0 and not self._corner(one, other):
            where = self._bisect(one, tangent, length, self._turned(tangent))
            branch.events.append(("fold", float(where[-1]), where[:-1]))
            return
        before, after = self.spectrum(one), self.spectrum(other)
        count = int((before.abs() > 1).sum())
        if count == int((after.abs() > 1).sum()):
            return

        def changed(point: Tensor, _: Tensor) -> bool:
            return int((self.spectrum(point).abs() > 1).sum()) != count

        where = self._bisect(one, tangent, length, changed)
        values = self.spectrum(where)
        critical = values[(values.abs() - 1).abs().argmin()]
        kind = "pair" if abs(float(critical.imag)) > 1e-6 else None
        kind = kind or ("real" if float(critical.real) > 0 else "flip")
        branch.events.append((kind, float(where[-1]), where[:-1]))

    @staticmethod
    def _turned(tangent: Tensor) -> Any:
        sign = float(tangent[-1])
        return lambda _, ahead: float(ahead[-1]) * sign < 0

    def _bisect(self, one: Tensor, tangent: Tensor, length: float, happened: Any) -> Tensor:
        """Return the point between 0 and ``length`` along the tangent where it has happened."""
        low, high, found = 0.0, length, one
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            point, _, size = self.correct(one + middle * tangent, tangent)
            if size > 1e3 * ACCURATE:
                break
            ahead = self.tangent(point[:-1], float(point[-1]), tangent)
            found = point
            low, high = (low, middle) if happened(point, ahead) else (middle, high)
            if high - low < 1e-10 * max(length, 1e-3):
                break
        return found


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
