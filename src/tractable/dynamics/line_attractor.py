"""Is the network an approximate line attractor? All metrics, with the chance level of overlaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_range, check_shape
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.dimension import pca
from tractable.dynamics.effects import input_effects
from tractable.dynamics.manifold import Manifold, manifold, mode_drift
from tractable.dynamics.modes import Modes, decompose
from tractable.dynamics.overlap import chance, cosine, null_overlap, plane_overlap
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset
from tractable.dynamics.verdict import AT_REST, median_of, sentences, share_of

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.points.point_set import PointSet
    from tractable.dynamics.states import Trajectory

__all__ = ["LineAttractor", "Signature", "line_attractor_report"]

N_RELAXED = 256  # visited states that are relaxed
N_MODES = 64  # slowest modes that are kept; n_slow counts no more
CHUNK_BYTES = 2**28  # of Jacobians held at once


class Signature(NamedTuple):
    """A number that a line attractor has above a bound."""

    name: str
    measured: float
    at_least: float


@dataclass(frozen=True, eq=False, repr=False)
class LineAttractor:
    """Everything that speaks for or against a line attractor, at P points.

    Times are in steps, or in units of time for a cell with ``dt``. Overlaps are absolute cosines.

    Attributes
    ----------
    verdict : tuple of str
        The findings, in sentences with numbers.
    kind, q_convention : str
        Of the points.
    tau_min : float
        What counts as slow; the median length of the sequences by default.
    dt : float or None
        Of the cell.
    state_variances : array, shape (K,)
        Principal variances of the visited states.
    variances : array, shape (min(P, N),)
        Principal variances of the points.
    local_dim : array, shape (P,)
        Participation ratio of the nearest neighbors of each point.
    spline_fraction : float
        Share of the points' variance off the curve through them.
    length : float
        Of that curve.
    theta : array, shape (P,)
        Coordinate along it.
    axis : array, shape (N,)
        First principal component of the points.
    axis_readout : float
        Overlap of axis and readout, in the part of the state that the readout sees.
    axis_overlap, tangent_overlap : array, shape (P,)
        Of the slowest mode (a complex one: its plane) with the axis and with the local tangent.
    overlap_p : array, shape (P,)
        Probability that a random direction overlaps as much with the tangent.
    null_mean, null_99 : float
        Mean and 99th percentile of the overlap of two random directions.
    tau_1, tau_2, gap : array, shape (P,)
        Time constants of the two slowest modes, and their ratio.
    n_slow : array, shape (P,)
        Number of modes with ``tau >= tau_min``.
    oscillating, growing : array, shape (P,)
        The slowest mode is complex; its eigenvalue is outside the unit circle.
    speed, drift : array, shape (P,)
        ``||F(h) - h||`` and its part along the slowest mode, per step, positive where theta grows.
    lifetime : array, shape (P,)
        ``length / |drift|``: steps (time) in which the drift would cross the line.
    relaxation : array, shape (3, R)
        10th, 50th and 90th percentile over visited states of ``||h_{t+1} - h_t|| / ||h_t||`` at
        constant input, t = 0, 1, ...
    displacement : array, shape (P,)
        Distance of each point from its start.
    valence_correlation : array, shape (P,), or None
        Of the projection of the given inputs on the slowest mode with their valence.
    """

    verdict: tuple[str, ...]
    kind: str
    q_convention: str
    tau_min: float
    dt: float | None
    state_variances: np.ndarray
    variances: np.ndarray
    local_dim: np.ndarray
    spline_fraction: float
    length: float
    theta: np.ndarray
    axis: np.ndarray
    axis_readout: float
    axis_overlap: np.ndarray
    tangent_overlap: np.ndarray
    overlap_p: np.ndarray
    null_mean: float
    null_99: float
    tau_1: np.ndarray
    tau_2: np.ndarray
    gap: np.ndarray
    n_slow: np.ndarray
    oscillating: np.ndarray
    growing: np.ndarray
    speed: np.ndarray
    drift: np.ndarray
    lifetime: np.ndarray
    relaxation: np.ndarray
    displacement: np.ndarray
    valence_correlation: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.theta)

    def __repr__(self) -> str:
        return f"LineAttractor({len(self)} points)\n  " + "\n  ".join(self.verdict)

    @property
    def pc_fraction(self) -> float:
        """Share of the points' variance along the axis; NaN where they coincide."""
        return share_of(self.variances, 1)

    @property
    def relaxation_steps(self) -> float:
        """Steps until the median normalized velocity falls below 1 %; inf: not in the test."""
        rest = np.flatnonzero(self.relaxation[1] < AT_REST)
        return float(rest[0]) if len(rest) else math.inf

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The numbers that make a line attractor, each with the bound it should reach.

        Bounds: those that gated networks trained on sentiment reach, see the theory page.
        """
        overlap = median_of(self.tangent_overlap)
        found = (
            Signature("share of 3 PCs in the states", share_of(self.state_variances, 3), 0.80),
            Signature("share of PC1 in the points", self.pc_fraction, 0.85),
            Signature("overlap of axis and readout", self.axis_readout, 0.80),
            Signature("tau_1 / tau_min", median_of(self.tau_1) / self.tau_min, 1.0),
            Signature("tau_1 / tau_2", median_of(self.gap), 4.0),
            Signature("overlap of r_1 and tangent", overlap, max(0.6, self.null_99)),
        )
        if self.valence_correlation is None:
            return found
        valence = median_of(np.abs(self.valence_correlation))
        return (*found, Signature("correlation of projection and valence", valence, 0.95))

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``point``, ``unit``, ``step`` and components."""
        time = "steps" if self.dt is None else "time"
        times = dict.fromkeys(("tau_1", "tau_2", "lifetime"), time)
        dataset = to_dataset(self, _DIMS, units=times)
        return dataset.assign_coords(percentile=[10, 50, 90])

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> LineAttractor:
        """Return the report that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_PER_POINT = (
    "local_dim",
    "theta",
    "axis_overlap",
    "tangent_overlap",
    "overlap_p",
    "tau_1",
    "tau_2",
    "gap",
    "n_slow",
    "oscillating",
    "growing",
    "speed",
    "drift",
    "lifetime",
    "displacement",
    "valence_correlation",
)
_DIMS = {
    **{name: ("point",) for name in _PER_POINT},
    "axis": ("unit",),
    "state_variances": ("state_component",),
    "variances": ("point_component",),
    "relaxation": ("percentile", "step"),
}


@torch.no_grad()
def line_attractor_report(
    cell: Any,
    trajectory: Trajectory,
    points: PointSet,
    readout: Any,
    *,
    modes: Modes | None = None,
    curve: Manifold | None = None,
    tau_min: float | None = None,
    inputs: Tensor | np.ndarray | None = None,
    valence: Tensor | np.ndarray | Sequence[float] | None = None,
    n_relax: int = 20,
) -> LineAttractor:
    """Measure every property of a line attractor, with its chance level.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    trajectory : Trajectory
        Visited states; padding never counts.
    points : PointSet
        Its slow points, as `find_points(..., kind="slow")` returns them.
    readout : nn.Linear, array or (weight, bias)
        See `linear_readout`.
    modes : Modes, optional
        At the points; the 64 slowest when not given.
    curve : Manifold, optional
        Through the points; computed when not given.
    tau_min : float, > 0, optional
        Time constant from which a mode is slow; default the median length of the sequences.
    inputs : array, shape (V, D), optional
        Inputs of known valence, for instance the embedding of all words.
    valence : array, shape (V,), optional
        Their valence.
    n_relax : int, >= 1
        Steps of the relaxation test.

    Returns
    -------
    LineAttractor
        For P = 0 and P = 1 too; what needs a curve is then NaN.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720,
    figures 2 to 4 and section 4.2.

    Examples
    --------
    An exact one: what lies along (1, 1) stays, the rest is halved at each step.

    >>> from tractable.dynamics.points import PointSet
    >>> from tractable.dynamics.states import collect_states
    >>> A = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> net = as_cell(lambda h, x: A @ h + x, n_state=2, n_input=2).to(dtype=torch.float64)
    >>> x = torch.randn(4, 30, 2, generator=torch.Generator().manual_seed(0))
    >>> line = PointSet.from_states(net, torch.linspace(-3, 3, 40)[:, None] * torch.ones(2))
    >>> report = line_attractor_report(net, collect_states(net, x), line, [1.0, 1.0])
    >>> print(report.verdict[3])
    The slowest mode has tau_1 = inf steps (median over points), the second 1.44: ratio inf; ...
    """
    net = as_cell(cell).to(dtype=torch.float64, device=points.state.device)
    check_shape("points.state", points.state.shape, ("P", net.n_state))
    check_shape("trajectory.states", trajectory.states.shape, ("B", "T", net.n_state))
    check_count("n_relax", n_relax)
    if (inputs is None) != (valence is None):
        raise ValueError("inputs and valence must be given together, got one of them")
    lengths = trajectory.mask.sum(1)
    lengths = lengths[lengths > 0].to(torch.float64)
    if tau_min is None:
        if not len(lengths):
            raise ValueError("tau_min must be given for a trajectory without valid steps, got None")
        tau_min = float(lengths.median()) * (net.dt or 1.0)
    check_range("tau_min", tau_min, 0, open_low=True)
    n_points, n = points.state.shape

    weight, _ = linear_readout(readout, net)
    if curve is None:
        curve = manifold(points, readout=readout)
        if modes is None:  # r_1 points where theta grows, or the readout
            curved = curve.tangent.square().sum(1, keepdim=True) > 0
            modes = _modes(net, points, torch.where(curved, curve.tangent, weight))
        velocity = net(points.state.to(net.dtype), points.x_star.to(net.dtype)) - points.state
        along_mode = mode_drift(modes, curve.tangent, velocity.cpu(), curve.drift)
        curve = replace(curve, drift=along_mode)
    elif modes is None:
        modes = _modes(net, points, curve.tangent)
    seen = torch.zeros(n, dtype=torch.bool)
    seen[net.readout_slice] = True
    seen |= weight != 0
    visited = trajectory.states[trajectory.mask].to("cpu", torch.float64)

    columns = modes.right[:, :, 0]
    oscillating = modes.eigvals[:, 0].imag != 0
    tangent_overlap = plane_overlap(curve.tangent, columns, oscillating)
    axis_overlap = plane_overlap(curve.axis.expand(n_points, n), columns, oscillating)
    tau_2 = modes.tau[:, 1] if modes.tau.shape[1] > 1 else torch.zeros(n_points)
    null = null_overlap(n)
    correlation = None
    if inputs is not None and valence is not None:
        effects = input_effects(points, modes, inputs)
        correlation = effects.correlation(valence).numpy()
    drift = curve.drift.numpy()
    lifetime = np.full(n_points, np.inf) if curve.length else np.full(n_points, np.nan)
    np.divide(curve.length * (net.dt or 1.0), np.abs(drift), out=lifetime, where=drift != 0)
    result = LineAttractor(
        verdict=(),
        kind=points.kind,
        q_convention=points.q_convention,
        tau_min=float(tau_min),
        dt=net.dt,
        state_variances=pca(visited.numpy())[2],
        variances=curve.variances.numpy(),
        local_dim=curve.local_dim.numpy(),
        spline_fraction=curve.spline_fraction,
        length=curve.length,
        theta=curve.theta.numpy(),
        axis=curve.axis.numpy(),
        axis_readout=cosine(curve.axis[seen], weight[seen]),
        axis_overlap=axis_overlap,
        tangent_overlap=tangent_overlap,
        overlap_p=chance(tangent_overlap, n, oscillating.numpy()),
        null_mean=null.mean,
        null_99=null.quantiles[null.levels.index(0.99)],
        tau_1=modes.tau[:, 0].numpy(),
        tau_2=tau_2.numpy(),
        gap=modes.gap().numpy(),
        n_slow=modes.n_slow(tau_min).numpy(),
        oscillating=oscillating.numpy(),
        growing=modes.unstable[:, 0].numpy(),
        speed=curve.speed.numpy(),
        drift=drift,
        lifetime=lifetime,
        relaxation=_relaxation(net, visited, points, n_relax),
        displacement=points.displacement.cpu().numpy(),
        valence_correlation=correlation,
    )
    return replace(result, verdict=sentences(result))


def _modes(net: Cell, points: PointSet, axis: Tensor) -> Modes:
    """Decompose the slowest modes at all points, a few Jacobians at a time."""
    n_points, n = points.state.shape
    size = max(1, CHUNK_BYTES // (8 * n * n))
    parts = []
    for start in range(0, max(1, n_points), size):
        part = slice(start, start + size)
        state, x = points.state[part].to(net.dtype), points.x_star[part].to(net.dtype)
        J = net.recurrent_jacobian(state, x) if len(state) else state.new_zeros(0, n, n)
        parts.append(decompose(J, dt=net.dt, axis=axis[part], k=min(n, N_MODES)))
    return parts[0].concatenate(*parts[1:])


def _relaxation(net: Cell, visited: Tensor, points: PointSet, n_steps: int) -> np.ndarray:
    """Percentiles of the normalized velocity of visited states at constant input."""
    state = visited[:: max(1, len(visited) // N_RELAXED)].to(net.device)
    if not len(state):
        return np.full((3, n_steps), np.nan)
    x = points.x_star[0] if len(points) else points.x_star.new_zeros(net.n_input)
    x = x.to(net.dtype).expand(len(state), net.n_input)
    velocities = []
    for _ in range(n_steps):
        after = net(state, x)
        moved = (after - state).norm(dim=1)
        velocities.append(torch.where(moved == 0, 0.0, moved / state.norm(dim=1).clamp(min=1e-300)))
        state = after
    speed = torch.stack(velocities).cpu().numpy()
    return np.percentile(speed, [10, 50, 90], axis=1)
