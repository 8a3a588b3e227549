"""The starts of a fixed-point search while they are under way.

Every solver works on one `Search`: it takes the active starts, proposes new states, and `move`
writes those that are accepted. A start leaves the active set when it has reached the tolerance,
has settled at a local minimum of q, or can be moved no further.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tractable.core.progress import track
from tractable.dynamics.cells import Cell

if TYPE_CHECKING:
    from tractable.dynamics.points.slow_solvers import Anchors

__all__ = [
    "ACTIVE",
    "BELOW_TOL",
    "MAX_NEWTON_STATE",
    "MINIMUM",
    "NON_FINITE",
    "SINGULAR",
    "STALLED",
    "WALL",
    "Search",
    "Watch",
]

# status of a start
ACTIVE, BELOW_TOL, MINIMUM, WALL, STALLED, SINGULAR, NON_FINITE = range(7)

Watch = Callable[[str, int, int, dict[str, Any]], object]

REPORT_SECONDS = 0.5  # shortest pause between two calls of a progress callback
CPU_BYTES = 2.0**26  # of Jacobians held at once: more leaves the cache and gains nothing
MAX_NEWTON_STATE = 1500  # beyond it no matrix is formed: Newton-Krylov, Arnoldi
N_MATRICES = 5  # (N, N) matrices that a solver holds per start


@dataclass
class Search:
    """States, residuals and statuses of n starts. Mutable and internal to the solvers.

    Parameters
    ----------
    cell : Cell
        One-step map F.
    state : Tensor (n, N)
        Starts; copied, and clipped into the cell's box.
    x : Tensor (n, D)
        Constant input of each start.
    tol : float
        A start is done when ``q = 1/2 ||h - F(h, x)||^2 <= tol``.
    tol_grad : float
        A start is at a local minimum of q when ``||(I-J)^T g|| <= tol_grad ||g||``.
    max_bytes : float
        Memory for the Jacobians held at once.
    scan_tol : Tensor (S,), optional
        Thresholds, falling; the state at which each is first crossed is kept.
    show : bool
        Progress bar on a terminal.
    watch : callable, optional
        ``watch(stage, n_done, n_starts, info)``, ``info`` with ``converged``, ``median_q`` (of all
        starts) and ``eta_s``.
    """

    cell: Cell
    state: Tensor
    x: Tensor
    tol: float
    tol_grad: float = 1e-6
    max_bytes: float = 2.0**30
    scan_tol: Tensor | None = None
    show: bool = False
    watch: Watch | None = None

    anchors: Anchors | None = field(init=False, default=None)  # of the last chord steps
    residual: Tensor = field(init=False)
    q: Tensor = field(init=False)
    n_iter: Tensor = field(init=False)
    status: Tensor = field(init=False)
    crossed: Tensor = field(init=False)  # number of thresholds crossed, (n,)
    scan_state: Tensor = field(init=False)  # (S, n, N), float32
    _one_input: bool = field(init=False)
    _started: float = field(init=False, default_factory=time.monotonic)
    _reported: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        n, n_state = self.state.shape
        device = self.state.device
        self._one_input = n > 0 and bool((self.x == self.x[:1]).all())
        self.scan_tol = torch.zeros(0) if self.scan_tol is None else self.scan_tol
        self.scan_tol = self.scan_tol.to(self.state)
        state = self.clip(self.state).clone()
        self.state = torch.zeros_like(state)
        self.n_iter = torch.zeros(n, dtype=torch.long, device=device)
        self.status = torch.full((n,), ACTIVE, dtype=torch.int8, device=device)
        self.crossed = torch.zeros(n, dtype=torch.long, device=device)
        self.scan_state = torch.zeros(
            len(self.scan_tol), n, n_state, dtype=torch.float32, device=device
        )
        self.residual = torch.zeros_like(state)
        self.q = torch.zeros(n, dtype=self.state.dtype, device=device)
        everyone = torch.arange(n, device=device)
        self.move(everyone, state, *self.evaluate(everyone, state))

    @property
    def n_state(self) -> int:
        """N."""
        return self.state.shape[1]

    def evaluate(self, rows: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``g = h - F(h, x)`` (B, N) and ``q = 1/2 ||g||^2`` (B,) of the starts ``rows``."""
        # a view of one row tells a closed-form cell to multiply the input weights once
        x = self.x[:1].expand(len(rows), -1) if self._one_input else self.x[rows]
        residual = state - self.cell(state, x)
        return residual, residual.square().sum(1) / 2

    def gap(self, rows: Tensor) -> Tensor:
        """Return ``A = I - J`` (B, N, N) at the present states of ``rows``."""
        gap = self.cell.recurrent_jacobian(self.state[rows], self.x[rows]).neg()
        gap.diagonal(dim1=1, dim2=2).add_(1.0)
        return gap

    def inside(self, state: Tensor) -> Tensor:
        """Return which states are in the cell's invariant box (B,); one with NaN may be or not."""
        if self.cell.bounds is None:
            return torch.ones(len(state), dtype=torch.bool, device=state.device)
        lower, upper = self.cell.bounds
        return (state.clamp(lower, upper) == state).all(1)

    def clip(self, state: Tensor) -> Tensor:
        """Return the nearest states in the cell's invariant box."""
        return state if self.cell.bounds is None else state.clamp(*self.cell.bounds)

    def against_wall(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return which units lie on a wall of the box beyond which q would fall (B, N)."""
        if self.cell.bounds is None:
            return torch.zeros_like(gradient, dtype=torch.bool)
        lower, upper = self.cell.bounds
        state = self.state[rows]
        return ((state >= upper) & (gradient < 0)) | ((state <= lower) & (gradient > 0))

    def move(self, rows: Tensor, state: Tensor, residual: Tensor, q: Tensor) -> None:
        """Put the starts ``rows`` at ``state``, and settle those that are done."""
        finite = q.isfinite()  # a state with NaN or infinity has a residual, and a q, with it
        self.state[rows], self.residual[rows], self.q[rows] = state, residual, q
        self._scan(rows, state, q)
        self.settle(rows[finite & (q <= self.tol)], BELOW_TOL)
        self.settle(rows[~finite], NON_FINITE)

    def settle(self, rows: Tensor, status: int) -> None:
        """Take starts out of the active set."""
        self.status[rows] = status

    def active(self) -> Tensor:
        """Return the indices of the active starts, rising."""
        return (self.status == ACTIVE).nonzero()[:, 0]

    def blocks(self, rows: Tensor, bytes_per_start: float | None = None) -> tuple[Tensor, ...]:
        """Split ``rows`` so that the Jacobians of one part fit into ``max_bytes``."""
        if bytes_per_start is None:
            bytes_per_start = N_MATRICES * self.n_state**2 * self.state.element_size()
        limit = self.max_bytes
        if self.state.device.type == "cpu":
            limit = min(limit, CPU_BYTES)
        return rows.split(max(1, int(limit / max(bytes_per_start, 1.0))))

    def iterate(self, stage: str, max_iter: int) -> Iterator[Tensor]:
        """Yield the active starts up to ``max_iter`` times; count iterations, report progress."""
        for _ in track(range(max_iter), f"find_points: {stage}", show=self.show):
            active = self.active()
            if len(active) == 0:
                break
            self.n_iter[active] += 1
            yield active
            self.report(stage)
        self.report(stage, last=True)

    def report(self, stage: str, *, last: bool = False) -> None:
        """Call ``watch``, at most every half second, and at the end of a stage."""
        now = time.monotonic()
        if self.watch is None or (not last and now - self._reported < REPORT_SECONDS):
            return
        self._reported = now
        n = len(self.q)
        done = n - len(self.active())
        info = {
            "converged": int((self.status == BELOW_TOL).sum()),
            "median_q": float(self.q.nanmedian()),
            "eta_s": (now - self._started) * (n - done) / max(done, 1),
        }
        self.watch(stage, done, n, info)

    def _scan(self, rows: Tensor, state: Tensor, q: Tensor) -> None:
        assert self.scan_tol is not None
        crossed = (q[:, None] <= self.scan_tol).sum(1)
        before = self.crossed[rows]
        newly = (crossed > before).nonzero()[:, 0]
        levels = (int(before[newly].min()), int(crossed[newly].max())) if len(newly) else (0, 0)
        for level in range(*levels):
            now = (before <= level) & (level < crossed)
            self.scan_state[level, rows[now]] = state[now].float()
        self.crossed[rows] = torch.maximum(before, crossed)
