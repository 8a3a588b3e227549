"""The curve that slow points lie on: coordinate, axis, tangents, dimension and drift."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_choice, check_count
from tractable.dynamics.dimension import local_dimension, n_pc, participation_ratio, pca
from tractable.dynamics.embedding import (
    locally_linear_embedding,
    n_clusters,
    nearest_neighbors,
)
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.modes import Modes
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["COORDINATES", "Manifold", "manifold", "mode_drift"]

COORDINATES = ("lle", "pc1", "readout", "arclength")
MIN_POINTS = 10  # fewer are ordered by their first principal component
SAME = 1e-9  # of the points' rms distance from their mean: closer ones are duplicates


@dataclass(frozen=True, eq=False, repr=False)
class Manifold:
    """A curve through P points in N dimensions.

    Attributes
    ----------
    theta : Tensor, shape (P,)
        Coordinate in [-1, 1]; the readout rises along it. 0 for a single point.
    axis : Tensor, shape (N,)
        First principal component of the points, unit; the readout rises along it. Zero where
        all points coincide.
    tangent : Tensor, shape (P, N)
        Unit direction of growing theta at each point.
    variances : Tensor, shape (min(P, N),)
        Principal variances of the points.
    local_dim : Tensor, shape (P,)
        Participation ratio of each point's nearest neighbors: 1 on a line, NaN for a single point.
    residual : Tensor, shape (P,)
        Distance to the cubic spline through theta.
    length : float
        Arc length of that spline, in units of state.
    speed : Tensor, shape (P,)
        ``||F(h) - h||``, per step.
    drift : Tensor, shape (P,)
        Velocity along the curve, per step, positive towards growing theta: ``l_1 (F(h) - h)`` with
        modes and where lambda_1 is real, else ``tangent . (F(h) - h)``.
    coordinate : str
        How theta was found: "lle", "pc1", "readout" or "arclength".
    """

    theta: Tensor
    axis: Tensor
    tangent: Tensor
    variances: Tensor
    local_dim: Tensor
    residual: Tensor
    length: float
    speed: Tensor
    drift: Tensor
    coordinate: str

    def __len__(self) -> int:
        return len(self.theta)

    def __repr__(self) -> str:
        return (
            f"Manifold({len(self)} points, coordinate={self.coordinate!r}, "
            f"pc_fraction={self.pc_fraction:.3f}, length={self.length:.3g})"
        )

    @property
    def pc_fraction(self) -> float:
        """Share of the points' variance along `axis`; NaN where all points coincide."""
        total = float(self.variances.sum())
        return float(self.variances[0]) / total if total > 0 else math.nan

    @property
    def spline_fraction(self) -> float:
        """Share of the points' variance off the spline; NaN where all points coincide."""
        total = float(self.variances.sum())
        return float(self.residual.square().mean()) / total if total > 0 else math.nan

    @property
    def participation_ratio(self) -> float:
        """Effective dimension of the points, see `participation_ratio`."""
        return participation_ratio(self.variances)

    def n_pc(self, fraction: float = 0.9) -> int:
        """Return the number of principal components that hold ``fraction`` of the variance."""
        return n_pc(self.variances, fraction)

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``point``, ``unit``, ``component``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Manifold:
        """Return the manifold that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "theta": ("point",),
    "axis": ("unit",),
    "tangent": ("point", "unit"),
    "variances": ("component",),
    "local_dim": ("point",),
    "residual": ("point",),
    "speed": ("point",),
    "drift": ("point",),
}


def manifold(
    points: PointSet,
    *,
    coordinate: str = "lle",
    n_neighbors: int = 12,
    readout: Any = None,
    modes: Modes | None = None,
) -> Manifold:
    r"""Return the one-dimensional manifold through a set of points.

    Theta is mapped affinely to [-1, 1]; a cubic regression spline :math:`c(\theta)` through the
    points gives the tangents :math:`c' / \|c'\|`, the residuals and the length.

    Parameters
    ----------
    points : PointSet
        P points with their cell.
    coordinate : {"lle", "pc1", "readout", "arclength"}
        Locally linear embedding in the full space; projection on the first principal
        component; value of the readout; length of the path through the points in LLE order.
    n_neighbors : int, >= 2
        Of the embedding and of the local dimension.
    readout : nn.Linear, array or (weight, bias), optional
        Fixes the direction of theta and of the axis; see `linear_readout`. Without it their
        largest entry is positive.
    modes : Modes, optional
        At the points: the drift is then that of the slowest mode.

    Returns
    -------
    Manifold
        In float64 on the CPU. Duplicates share their values.

    Warns
    -----
    TractableWarning
        No points or coinciding points (theta = 0); fewer than 10, or points in separate clusters
        (``pc1`` instead of the embedding).

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720,
    figure 2c. Roweis and Saul 2000, doi:10.1126/science.290.5500.2323.

    Examples
    --------
    A line attractor: what lies along (1, 1) stays, the rest is halved at each step.

    >>> from tractable.dynamics.points import PointSet
    >>> from tractable.dynamics.cells import as_cell
    >>> A = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> cell = as_cell(lambda h, x: A @ h + x, n_state=2, n_input=2)
    >>> line = torch.linspace(-3, 3, 40)[:, None] * torch.ones(2)
    >>> curve = manifold(PointSet.from_states(cell, line), readout=[1.0, 0.0])
    >>> curve.axis.tolist(), curve.pc_fraction, curve.length
    ([0.7071, 0.7071], 1.0, 8.485)
    """
    check_choice("coordinate", coordinate, COORDINATES)
    check_count("n_neighbors", n_neighbors, 2)
    if coordinate == "readout" and readout is None:
        raise ValueError("readout must be given for coordinate='readout', got None")
    if points.cell is None:
        raise ValueError("points must have their cell, got points.cell = None: use with_cell")
    state = points.state.detach().to("cpu", torch.float64).numpy()
    with torch.no_grad():
        step = points.cell(points.state, points.x_star) - points.state
    velocity = step.to("cpu", torch.float64).numpy()
    n_points, n = state.shape
    weight = None
    if readout is not None:
        weight = linear_readout(readout, points.cell)[0].numpy()

    center, components, variances = pca(state)
    scale = math.sqrt(float(variances.sum()))
    distinct, inverse = _distinct(state, SAME * scale)
    if len(distinct) < 2 or scale <= 1e-12 * (1 + float(np.linalg.norm(center))):
        what = "no points" if n_points == 0 else f"{n_points} points that coincide"
        warnings.warn(
            f"manifold of {what}: theta is 0 and the axis is zero", TractableWarning, stacklevel=2
        )
        theta, coordinate = np.zeros(n_points), "pc1"
        axis, tangent = np.zeros(n), np.zeros((n_points, n))
        residual, length = np.zeros(n_points), 0.0
        variances = np.zeros_like(variances)
        local_dim = np.full(n_points, np.nan)
    else:
        axis = components[0] * _sign(components[0], weight)
        unique = state[distinct]
        values, coordinate, trouble = _coordinate(unique, axis, weight, coordinate, n_neighbors)
        if trouble:
            warnings.warn(
                f"{trouble}: the first principal component orders the points",
                TractableWarning,
                stacklevel=2,
            )
        rising = unique @ (axis if weight is None else weight)
        if np.dot(values - values.mean(), rising - rising.mean()) < 0:
            values = -values
        low, high = values.min(), values.max()
        values = 2 * (values - low) / (high - low) - 1
        on_curve, tangents, length = _curve(values, unique)
        theta, tangent = values[inverse], tangents[inverse]
        residual = np.linalg.norm(unique - on_curve, axis=1)[inverse]
        local_dim = local_dimension(unique, n_neighbors)[inverse]

    drift = np.einsum("pn,pn->p", tangent, velocity)
    if modes is not None:
        along_mode = mode_drift(
            modes, *(torch.from_numpy(array) for array in (tangent, velocity, drift))
        )
        drift = along_mode.numpy()
    arrays = {
        "theta": theta,
        "axis": axis,
        "tangent": tangent,
        "variances": variances,
        "local_dim": local_dim,
        "residual": residual,
        "speed": np.linalg.norm(velocity, axis=1),
        "drift": drift,
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Manifold(**tensors, length=float(length), coordinate=coordinate)


def mode_drift(modes: Modes, tangent: Tensor, velocity: Tensor, otherwise: Tensor) -> Tensor:
    """Return ``l_1 (F(h) - h)``, positive along the tangent; ``otherwise`` where r_1 is complex."""
    if len(modes) != len(tangent):
        raise ValueError(f"modes must be those of {len(tangent)} points, got {len(modes)}")
    along = (tangent * modes.right[:, :, 0].real).sum(1)
    slow = (modes.left[:, 0].real * velocity).sum(1) * torch.where(along < 0, -1.0, 1.0)
    return torch.where(modes.eigvals[:, 0].imag == 0, slow, otherwise)


def _sign(axis: np.ndarray, weight: np.ndarray | None) -> float:
    """Sign for which the readout, or the largest entry, rises along the axis."""
    along = axis[np.argmax(np.abs(axis))] if weight is None else axis @ weight
    return -1.0 if along < 0 else 1.0


def _distinct(state: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the points without duplicates, and which of those each point is."""
    grid = np.round(state / radius) if radius > 0 else state
    _, first, inverse = np.unique(grid, axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)


def _coordinate(
    state: np.ndarray,
    axis: np.ndarray,
    weight: np.ndarray | None,
    coordinate: str,
    n_neighbors: int,
) -> tuple[np.ndarray, str, str]:
    """Raw coordinate of distinct points, the name of the one that was possible, and why."""
    along = (state - state.mean(axis=0)) @ axis
    if coordinate == "readout" and weight is not None:
        values = state @ weight
        if np.ptp(values) > 0:
            return values, coordinate, ""
        return along, "pc1", "the readout is the same at all points"
    if coordinate == "pc1":
        return along, coordinate, ""
    embedded, trouble = _embedding(state, n_neighbors)
    values = along if embedded is None else embedded
    if coordinate == "arclength":
        order = np.argsort(values, kind="stable")
        steps = np.linalg.norm(np.diff(state[order], axis=0), axis=1)
        values = np.empty(len(state))
        values[order] = np.concatenate([[0.0], np.cumsum(steps)])
        return values, coordinate, trouble
    return values, coordinate if embedded is not None else "pc1", trouble


def _embedding(state: np.ndarray, n_neighbors: int) -> tuple[np.ndarray | None, str]:
    """One-dimensional locally linear embedding; or None, and why."""
    n_points = len(state)
    if n_points < MIN_POINTS:
        return None, f"{n_points} distinct points are too few to embed"
    near = nearest_neighbors(state, min(n_neighbors, n_points - 1))
    n_parts = n_clusters(near)
    if n_parts > 1:
        return None, f"the points lie in {n_parts} clusters of which none has a neighbor in another"
    try:
        values = locally_linear_embedding(state, near)
    except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
        return None, f"the locally linear embedding failed ({error})"
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return None, "the locally linear embedding is degenerate"
    return values, ""


def _curve(theta: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Points of the regression spline at theta, its unit tangents there, its length."""
    from scipy.interpolate import make_lsq_spline

    order = np.argsort(theta, kind="stable")
    x, y = theta[order], state[order]
    n_knots = min(8, len(x) // 15)
    trials = [(3, n_knots), (3, 0), (1, 0)] if len(x) >= MIN_POINTS else [(1, 0)]
    for degree, count in trials:
        level = np.arange(1, count + 1) / (count + 1)
        # an embedding crowds points at the ends: quantiles alone would put several knots there
        inner = 0.5 * (np.quantile(x, level) + 2 * level - 1)
        knots = np.concatenate([[-1.0] * (degree + 1), inner, [1.0] * (degree + 1)])
        try:
            spline = make_lsq_spline(x, y, knots, degree)
        except (ValueError, np.linalg.LinAlgError):  # too few distinct theta between knots
            continue
        break
    velocity = spline(theta, nu=1)
    size = np.linalg.norm(velocity, axis=1, keepdims=True)
    tangents = np.divide(velocity, size, out=np.zeros_like(velocity), where=size > 0)
    fine = spline(np.linspace(-1, 1, 1001))
    length = float(np.linalg.norm(np.diff(fine, axis=0), axis=1).sum())
    return spline(theta), tangents, length
