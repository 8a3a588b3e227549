"""Which saddle leads to which attractor: the graph of a network's fixed points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_range
from tractable.core.progress import track
from tractable.dynamics.cells import as_cell
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.points.point_set import PointSet

__all__ = ["Connectivity", "connectivity"]

STILL = 1e-9  # largest step of a run that has ended, per unit of state norm
GROWS = 1e-6  # |lambda| - 1 above it: an unstable direction
NEAR = 1e-2  # of the points' rms distance from their mean: an end nearer to a point is at it


@dataclass(frozen=True, eq=False, repr=False)
class Connectivity:
    """Runs of the network from beside its unstable points, and where they end.

    E runs: two for every real unstable mode of a point (along +r and -r), four for every unstable
    pair (along its real and its imaginary part).

    Attributes
    ----------
    source : array, shape (E,)
        Index of the point that was left.
    mode : array, shape (E,)
        Number of the unstable mode, slowest first.
    sign : array, shape (E,)
        +1 or -1.
    target : array, shape (E,)
        Index of the point where the run ends, -1 where it ends at none.
    n_steps : array, shape (E,)
        Steps until the run stands still, or the largest number.
    end : array, shape (E, N)
        Where it ends.
    n_unstable : array, shape (P,)
        Number of unstable directions of each point.
    """

    source: np.ndarray
    mode: np.ndarray
    sign: np.ndarray
    target: np.ndarray
    n_steps: np.ndarray
    end: np.ndarray
    n_unstable: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        lost = int((self.target < 0).sum())
        return f"Connectivity({len(self)} runs from {len(set(self.source))} points, {lost} lost)"

    def edges(self) -> list[tuple[int, int]]:
        """Return the pairs (source, target) without repetition, in order; lost runs are left out.

        They are the arguments of a graph: ``networkx.DiGraph(result.edges())``.
        """
        pairs = zip(self.source.tolist(), self.target.tolist(), strict=True)
        return sorted({(one, other) for one, other in pairs if other >= 0})

    def targets(self, point: int) -> list[int]:
        """Return the points that a point leads to, without repetition."""
        return [other for one, other in self.edges() if one == point]

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``run``, ``unit`` and ``point``."""
        return to_dataset(self, _DIMS, units={"n_steps": "steps"})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Connectivity:
        """Return what `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    **dict.fromkeys(("source", "mode", "sign", "target", "n_steps"), ("run",)),
    "end": ("run", "unit"),
    "n_unstable": ("point",),
}


@torch.no_grad()
def connectivity(
    cell: Any,
    points: PointSet,
    *,
    eps: float = 1e-3,
    n_steps: int = 1000,
    progress: bool = True,
) -> Connectivity:
    r"""Push the network off each unstable point along each unstable mode and see where it ends.

    .. math:: h_0 = h^* \pm \epsilon\, \|h\|_{rms}\, r_a, \qquad h_{t+1} = F(h_t, x^*)

    Equation (D29).

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    points : PointSet
        Its roots, each at its constant input; a run ends at a root of the same input.
    eps : float, > 0
        Size of the push, in units of the rms norm of the points (1 where that is 0).
    n_steps : int, >= 1
        Largest number of steps of a run.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    Connectivity
        Empty where no point is unstable.

    Raises
    ------
    ValueError
        ``eps`` or ``n_steps`` out of range, points of another width than the cell's.

    Notes
    -----
    A run that ends farther than 1 % of the points' spread from all of them has target -1: a limit
    cycle, or an attractor that the search has not found. So has one that is still where it began
    after ``n_steps``: its mode grows more slowly, take more steps or a larger ``eps``.
    Cost: n_steps batched steps of F.

    References
    ----------
    Sussillo and Barak 2013, doi:10.1162/NECO_a_00409, section 3 (the flip-flop's saddles).

    Examples
    --------
    >>> import torch
    >>> from tractable.dynamics import find_points
    >>> rnn = torch.nn.RNNCell(1, 1, bias=False)
    >>> rnn.weight_hh.data = torch.tensor([[2.0]])
    >>> points = find_points(rnn, torch.linspace(-1, 1, 9)[:, None])
    >>> found = connectivity(rnn, points)
    >>> points.state[:, 0].round(decimals=3).tolist(), found.edges()
    ([-0.958, 0.0, 0.958], [(1, 0), (1, 2)])
    """
    check_range("eps", eps, 0.0, open_low=True)
    check_count("n_steps", n_steps)
    net = as_cell(cell).to(dtype=torch.float64, device=points.state.device)
    n_points, n = points.state.shape
    if n != net.n_state:
        raise ValueError(f"points must have the cell's {net.n_state} units, got {n}")
    states, x_star = points.state.to(torch.float64), points.x_star.to(torch.float64)
    size = float(states.square().sum(1).mean().sqrt()) if n_points else 1.0
    starts, source, mode, sign, n_unstable = _pushes(net, states, x_star, eps * (size or 1.0))
    end, steps = _run(net, starts, x_star[source], n_steps, progress)
    target = _targets(end, x_star[source], states, x_star)
    # a run that is still at the point it was pushed off has not ended: the mode grows too slowly
    target = np.where(target == source.cpu().numpy(), -1, target)
    return Connectivity(
        source=source.cpu().numpy(),
        mode=mode,
        sign=sign,
        target=target,
        n_steps=steps.cpu().numpy(),
        end=end.cpu().numpy(),
        n_unstable=n_unstable,
    )


def _pushes(
    net: Any, states: Tensor, x_star: Tensor, size: float
) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """Return the first states of all runs, with their point, mode and sign."""
    from tractable.dynamics.modes import decompose

    starts, source, mode, sign, counts = [], [], [], [], []
    for i in range(len(states)):
        modes = decompose(net.recurrent_jacobian(states[i : i + 1], x_star[i : i + 1]))
        grows = (modes.eigvals[0].abs() > 1 + GROWS).nonzero()[:, 0].tolist()
        counts.append(len(grows))
        columns = modes.real_right[0].to(states)
        for a in grows:
            direction = columns[:, a] / columns[:, a].norm()
            for s in (1, -1):
                starts.append(states[i] + s * size * direction)
                source.append(i)
                mode.append(a)
                sign.append(s)
    first = torch.stack(starts) if starts else states[:0]
    where = torch.tensor(source, dtype=torch.long, device=states.device)
    return first, where, np.array(mode, int), np.array(sign, int), np.array(counts, int)


def _run(net: Any, state: Tensor, x: Tensor, n_steps: int, progress: bool) -> tuple[Tensor, Tensor]:
    """Iterate until each run stands still."""
    state = state.clone()
    steps = torch.full((len(state),), n_steps, device=state.device)
    active = torch.arange(len(state), device=state.device)
    for t in track(range(n_steps), "connectivity", show=progress):
        if len(active) == 0:
            break
        after = net(state[active], x[active])
        still = (after - state[active]).norm(dim=1) <= STILL * (1 + after.norm(dim=1))
        state[active] = after
        steps[active[still]] = t + 1
        active = active[~still]
    return state, steps


def _targets(end: Tensor, x: Tensor, states: Tensor, x_star: Tensor) -> np.ndarray:
    """Return the point of the same input that each run ends at, -1 for none."""
    if len(end) == 0:
        return np.zeros(0, dtype=np.int64)
    spread = float((states - states.mean(0)).square().sum(1).mean().sqrt())
    distance = torch.cdist(end, states)
    other_input = (x[:, None] != x_star[None]).any(2)
    distance = torch.where(other_input, torch.inf, distance)
    least, nearest = distance.min(1)
    found = least <= NEAR * (spread or 1.0)
    return torch.where(found, nearest, -1).cpu().numpy()
