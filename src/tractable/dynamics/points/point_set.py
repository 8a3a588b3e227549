"""The result of a search for fixed, slow or stopped points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_finite, check_range, check_shape
from tractable.dynamics.cells import Cell
from tractable.dynamics.modes import Modes, decompose, eigenvalues
from tractable.dynamics.points.search import MAX_NEWTON_STATE
from tractable.dynamics.points.selection import (
    POINT_FIELDS,
    chunks,
    index_sum,
    merge,
    q_factor,
    root_facts,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "Q_CONVENTIONS", "PointSet", "Rejected", "Scan"]

KINDS = ("root", "local_min", "slow")
Q_CONVENTIONS = ("half_sum", "mean")
MARGIN = 1e-6  # | |lambda| - 1 | below it: marginal
EIGENVALUE_BYTES = 2.0**28  # Jacobians held at once for the eigenvalues


class Rejected(NamedTuple):
    """A start that led to no point: its index, why, and q where it ended."""

    start_index: int
    reason: str
    q: float


@dataclass(frozen=True, eq=False)
class Scan:
    """What a threshold on q would have returned, from the states at which each was first crossed.

    Attributes
    ----------
    tol : Tensor, shape (S,)
        Thresholds, falling, in the convention of the point set.
    n_starts : Tensor, shape (S,)
        Starts that crossed it.
    n_points : Tensor, shape (S,)
        Distinct states among those.
    pc1_fraction : Tensor, shape (S,)
        Variance share of their first principal component; NaN below two distinct states.
    extent : Tensor, shape (S,)
        Range of their projections on that component.
    readout_range : Tensor, shape (S, 2), or None
        Least and largest readout; None where no readout was given, NaN where no start crossed.
    """

    tol: Tensor
    n_starts: Tensor
    n_points: Tensor
    pc1_fraction: Tensor
    extent: Tensor
    readout_range: Tensor | None = None


@dataclass(frozen=True, eq=False, repr=False)
class PointSet:
    """Points of a network at constant input, in the order of their starts.

    Attributes
    ----------
    cell : Cell or None
        The copy, in the precision of the search, that the points belong to; None after `load`.
    state : Tensor, shape (P, N)
        The points.
    x_star : Tensor, shape (P, D)
        Constant input of each.
    q : Tensor, shape (P,)
        Speed at ``state``: ``1/2 ||h - F(h, x)||^2`` ("half_sum") or ``1/N ||h - F(h, x)||^2``
        ("mean").
    kind : str
        "root": F(h) = h. "local_min": local minimum of q. "slow": point of a slow manifold.
    converged : Tensor, shape (P,), bool
        The stopping rule of the kind holds at the point.
    n_iter : Tensor, shape (P,)
        Iterations.
    start_index : Tensor, shape (P,)
        The start that led there; of several, the one that ended at the lowest q.
    multiplicity : Tensor, shape (P,)
        Number of starts that led there.
    displacement : Tensor, shape (P,)
        Distance from that start.
    representative : Tensor, shape (n_starts,)
        Index of the point for every start, -1 where it was rejected.
    rejected : tuple of Rejected
        The starts without a point, with reasons.
    scan : Scan or None
        Result for other thresholds; None where points were put together or chosen.
    q_convention : str
        "half_sum" or "mean".
    interrupted : bool
        The search was stopped from the keyboard; `unfinished` lists the starts to go on with.
    index_sum : int or None
        Sum of sign det(I - J) over roots: +1 when all are found (see `find_points`).
    """

    cell: Cell | None
    state: Tensor
    x_star: Tensor
    q: Tensor
    kind: str
    converged: Tensor
    n_iter: Tensor
    start_index: Tensor
    multiplicity: Tensor
    displacement: Tensor
    representative: Tensor
    rejected: tuple[Rejected, ...] = ()
    scan: Scan | None = None
    q_convention: str = "half_sum"
    interrupted: bool = False
    index_sum: int | None = None

    @classmethod
    def from_states(
        cls,
        cell: Cell,
        state: Tensor,
        x_star: Tensor | None = None,
        *,
        kind: str = "root",
        q_convention: str = "half_sum",
    ) -> PointSet:
        """Return the states as points, each its own start, with q computed; nothing is solved.

        Parameters
        ----------
        cell : Cell
            One-step map.
        state : Tensor, shape (P, N)
            Points from elsewhere.
        x_star : Tensor, shape (D,) or (P, D), optional
            Constant input; zero by default.
        kind, q_convention : str
            As in the attributes.
        """
        check_choice("kind", kind, KINDS)
        check_choice("q_convention", q_convention, Q_CONVENTIONS)
        check_shape("state", state.shape, ("P", cell.n_state))
        check_finite("state", state)
        state = state.detach().to(device=cell.device, dtype=cell.dtype)
        if x_star is None:
            x_star = state.new_zeros(cell.n_input)
        x_star = x_star.detach().to(state).expand(len(state), cell.n_input).clone()
        with torch.no_grad():
            speed = (state - cell(state, x_star)).square().sum(1) * q_factor(q_convention, state)
        index = torch.arange(len(state), device=state.device)
        return cls(
            cell=cell,
            state=state,
            x_star=x_star,
            q=speed,
            kind=kind,
            converged=torch.ones_like(index, dtype=torch.bool),
            n_iter=torch.zeros_like(index),
            start_index=index,
            multiplicity=torch.ones_like(index),
            displacement=torch.zeros_like(speed),
            representative=index.clone(),
            q_convention=q_convention,
        )

    def __len__(self) -> int:
        return len(self.state)

    def __repr__(self) -> str:
        count = f"{len(self)} of kind {self.kind!r}, N={self.state.shape[1]}"
        speed = f", q <= {float(self.q.max()):.1e} ({self.q_convention})" if len(self) else ""
        starts = f", {len(self.representative)} starts, {len(self.rejected)} rejected"
        degree = "" if self.index_sum is None else f", index_sum={self.index_sum:+d}"
        end = ", interrupted" if self.interrupted else ""
        return f"PointSet({count}{speed}{starts}{degree}{end})"

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor | np.ndarray) -> PointSet:
        """Return some of the points; an integer keeps the point axis.

        Starts whose point is left out get representative -1; scan and index_sum are dropped.
        """
        if isinstance(index, Tensor):
            index = index.cpu()
        chosen = torch.arange(len(self))[index].reshape(-1).to(self.state.device)
        position = torch.full((len(self) + 1,), -1, device=self.state.device)
        position[chosen] = torch.arange(len(chosen), device=self.state.device)
        points = {name: getattr(self, name)[chosen] for name in POINT_FIELDS}
        representative = position[self.representative]
        return replace(self, **points, representative=representative, scan=None, index_sum=None)

    @property
    def unfinished(self) -> Tensor:
        """Indices of the starts that an interrupted search had not finished."""
        return torch.tensor(
            [r.start_index for r in self.rejected if r.reason.startswith("interrupted")],
            dtype=torch.long,
        )

    @property
    def stability(self) -> list[str]:
        """``"stable"``, ``"marginal"`` or ``"saddle(k)"`` per point; see `classify`."""
        return self.classify()

    def classify(self, margin: float = MARGIN) -> list[str]:
        """Return the stability of each point from the eigenvalues of J.

        Parameters
        ----------
        margin : float, >= 0
            Width of the neutral zone about the unit circle. Modes of a time constant longer than
            T steps count as marginal for ``margin = 1/T``.

        Returns
        -------
        list of str
            "saddle(k)": k eigenvalues outside the circle. Else "marginal": some in the neutral
            zone. Else "stable". For N > 1500 the eigenvalues come from Arnoldi iteration;
            "unknown" where it does not converge.
        """
        check_range("margin", margin, 0.0)
        labels = []
        cell = self._need_cell()
        if self.state.shape[1] > MAX_NEWTON_STATE:
            from tractable.dynamics.points.large_facts import large_stability

            return large_stability(cell, self.state, self.x_star, margin)
        for part in chunks(len(self), self.state.shape[1], EIGENVALUE_BYTES):
            with torch.no_grad():
                J = cell.recurrent_jacobian(self.state[part], self.x_star[part])
            excess = eigenvalues(J).abs() - 1
            for outside, neutral in zip(
                (excess >= margin).sum(1).tolist(),
                (excess.abs() < margin).any(1).tolist(),
                strict=True,
            ):
                calm = "marginal" if neutral else "stable"
                labels.append(f"saddle({outside})" if outside else calm)
        return labels

    def jacobians(self) -> tuple[Tensor, Tensor]:
        """Return dF/dh (P, N, N) and dF/dx (P, N, D) at the points; computed at each call."""
        with torch.no_grad():
            return self._need_cell().jacobians(self.state, self.x_star)

    def modes(self, k: int | None = None, *, axis: Tensor | None = None) -> Modes:
        """Return the modes at each point; see `decompose`, and for N > 1500 `slowest_modes`.

        Parameters
        ----------
        k : int, optional
            Keep the k slowest. For N > 1500 only these are computed; without k all are, from the
            whole Jacobian.
        axis : Tensor, shape (N,) or (P, N), optional
            Fixes the signs of the real right vectors.
        """
        cell = self._need_cell()
        if k is not None and self.state.shape[1] > MAX_NEWTON_STATE:
            from tractable.dynamics.arnoldi import slowest_modes

            return slowest_modes(cell, self.state, k, self.x_star, axis=axis)
        with torch.no_grad():
            J = cell.recurrent_jacobian(self.state, self.x_star)
        return decompose(J, dt=cell.dt, axis=axis, k=k)

    def with_cell(self, cell: Cell) -> PointSet:
        """Return the points with their cell, which `load` does not bring back.

        Raises
        ------
        ValueError
            The cell has other sizes, or other speeds at these states: it is another network.
        """
        check_shape("state", self.state.shape, ("P", cell.n_state))
        check_shape("x_star", self.x_star.shape, ("P", cell.n_input))
        cell = cell.to(dtype=self.state.dtype, device=self.state.device)
        with torch.no_grad():
            distance = (self.state - cell(self.state, self.x_star)).norm(dim=1)
        stored = (self.q / q_factor(self.q_convention, self.state)).sqrt()
        tolerance = 1e-3 * stored + 1e-6 * (1 + self.state.norm(dim=1))
        wrong = int(((distance - stored).abs() > tolerance).sum())
        if wrong:
            raise ValueError(
                f"cell must be the one that the points were found with, got another speed at "
                f"{wrong} of {len(self)} points"
            )
        return replace(self, cell=cell)

    def concatenate(self, *others: PointSet, tol_unique: float | None = None) -> PointSet:
        """Return the points of all sets, those found twice merged.

        Starts are numbered through, in the order of the sets; `index_sum` is computed anew.

        Parameters
        ----------
        *others : PointSet
            Of the same kind, convention and network.
        tol_unique : float, >= 0, optional
            Radius of merging; default 1e-3 of the rms entry of the points.

        Raises
        ------
        ValueError
            The sets differ in kind, convention or size.
        """
        sets = (self, *others)
        for name in ("kind", "q_convention"):
            values = sorted({getattr(s, name) for s in sets})
            if len(values) > 1:
                raise ValueError(f"sets must have the same {name}, got {' and '.join(values)}")
        for other in others:
            check_shape("state", other.state.shape, ("P", self.state.shape[1]))
            check_shape("x_star", other.x_star.shape, ("P", self.x_star.shape[1]))
        offsets = np.cumsum([0] + [len(s.representative) for s in sets])
        firsts = np.cumsum([0] + [len(s) for s in sets])
        arrays = {name: torch.cat([getattr(s, name) for s in sets]) for name in POINT_FIELDS}
        arrays["start_index"] = torch.cat(
            [s.start_index + int(o) for s, o in zip(sets, offsets, strict=False)]
        )
        owner = torch.cat(
            [
                torch.where(s.representative < 0, -1, s.representative + int(first))
                for s, first in zip(sets, firsts, strict=False)
            ]
        )
        rejected = tuple(
            r._replace(start_index=r.start_index + int(offset))
            for s, offset in zip(sets, offsets, strict=False)
            for r in s.rejected
        )
        merged, representative = merge(arrays, owner, tol_unique)
        cell = next((s.cell for s in sets if s.cell is not None), None)
        degree = None
        if cell is not None and self.kind == "root":
            state, x = merged["state"], merged["x_star"]
            with torch.no_grad():
                degree = index_sum(cell, x, root_facts(cell, state, x, state).sign)
        return PointSet(
            cell=cell,
            **merged,
            kind=self.kind,
            representative=representative,
            rejected=rejected,
            scan=None,
            q_convention=self.q_convention,
            interrupted=any(s.interrupted for s in sets),
            index_sum=degree,
        )

    def save(self, path: str | Path) -> None:
        """Write the points to one file (NumPy's npz, no pickle), without the cell."""
        from tractable.dynamics.points.point_io import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path, cell: Cell | None = None) -> PointSet:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            File.
        cell : Cell, optional
            The network, for `jacobians`, `modes` and `stability`; checked as by `with_cell`.

        Raises
        ------
        ValueError
            The file is damaged or is no saved point set.
        """
        from tractable.dynamics.points.point_io import load

        points = load(path)
        return points if cell is None else points.with_cell(cell)

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset`: dims point, unit, input, start, rejection, tolerance."""
        from tractable.dynamics.points.point_io import to_dataset

        return to_dataset(self)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset, cell: Cell | None = None) -> PointSet:
        """Return the points that `to_dataset` wrote; ``cell`` as in `load`."""
        from tractable.dynamics.points.point_io import from_dataset

        points = from_dataset(dataset)
        return points if cell is None else points.with_cell(cell)

    def _need_cell(self) -> Cell:
        if self.cell is None:
            raise ValueError("these points have no cell: load them with cell=..., or use with_cell")
        return self.cell
