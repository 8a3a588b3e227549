"""The result of a continuation: branches of fixed points and what happens along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["EVENTS", "Branches"]

EVENTS = ("fold", "flip", "pair", "real")


@dataclass(frozen=True, eq=False, repr=False)
class Branches:
    """Branches of fixed points, and what happens on them.

    M rows, branch after branch, each in the order in which it was followed; E events.

    Attributes
    ----------
    branch : array, shape (M,)
        Number of the branch: the point that it starts from.
    s : array, shape (M,)
        Position along the path of inputs: row k of the path is at s = k.
    x_star : array, shape (M, D)
        Input.
    state : array, shape (M, N)
        Fixed point.
    n_unstable : array, shape (M,)
        Eigenvalues outside the unit circle.
    event_branch : array, shape (E,)
        Branch of each event.
    event_kind : array of str, shape (E,)
        "fold": the branch turns back, one eigenvalue is +1. Changes of stability without a turn:
        "real" (through +1), "flip" (through -1), "pair" (a conjugate pair).
    event_s : array, shape (E,)
        Where on the path.
    event_x_star : array, shape (E, D)
        Input there.
    event_state : array, shape (E, N)
        Fixed point there.
    ended : tuple of str
        For each branch why it ended: "end of the path", "start of the path", "most steps", or
        "lost: ..." with the residual.
    """

    branch: np.ndarray
    s: np.ndarray
    x_star: np.ndarray
    state: np.ndarray
    n_unstable: np.ndarray
    event_branch: np.ndarray
    event_kind: np.ndarray
    event_s: np.ndarray
    event_x_star: np.ndarray
    event_state: np.ndarray
    ended: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ended)

    def __repr__(self) -> str:
        kinds = {k: int((self.event_kind == k).sum()) for k in EVENTS}
        events = ", ".join(f"{n} {k}" for k, n in kinds.items() if n) or "no event"
        return f"Branches({len(self)} branches, {len(self.s)} points, {events})"

    def at(self, branch: int) -> np.ndarray:
        """Return the rows of one branch."""
        return np.flatnonzero(self.branch == branch)

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``row``, ``event``, ``unit``, ``input``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Branches:
        """Return the branches that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "branch": ("row",),
    "s": ("row",),
    "x_star": ("row", "input"),
    "state": ("row", "unit"),
    "n_unstable": ("row",),
    "event_branch": ("event",),
    "event_kind": ("event",),
    "event_s": ("event",),
    "event_x_star": ("event", "input"),
    "event_state": ("event", "unit"),
}
