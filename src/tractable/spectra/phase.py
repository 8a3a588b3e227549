"""The phase plane: fixed points and depth scales on a grid, and the critical line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from tractable.core.checks import as_floats, check_choice, check_count, check_finite, check_range
from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.mean_field import MARGINAL, MeanField
from tractable.spectra.moment_table import LARGEST_Q, MomentTable, moment_table

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ENSEMBLES",
    "CriticalPoints",
    "PhaseDiagram",
    "critical_line",
    "phase_diagram",
    "q_for_variance",
    "variance_per_layer",
]

Phi = Nonlinearity | str | Callable[..., Any]
ENSEMBLES = ("gaussian", "orthogonal")


@dataclass(frozen=True)
class CriticalPoints:
    """Points of the critical line chi = 1, one for each q*."""

    q: np.ndarray
    """Variance of the pre-activations at the fixed point, shape (n,)."""
    sigma_w: np.ndarray
    """Standard deviation of the weights times sqrt(N), shape (n,)."""
    sigma_b: np.ndarray
    """Standard deviation of the biases, shape (n,); NaN where infeasible."""
    feasible: np.ndarray
    """Whether a network with this q* exists: sigma_b^2 >= 0, shape (n,)."""
    stable: np.ndarray
    """Whether q* does not repel: chi_q <= 1, shape (n,). If False, q runs away with depth."""
    chi_q: np.ndarray
    """Slope of the length map at q*, shape (n,)."""
    v: np.ndarray
    """Variance of one layer's d = phi'^2 relative to its mean squared, shape (n,)."""
    sigma_w2: np.ndarray
    """Variance of the weights times N, shape (n,)."""
    sigma_b2: np.ndarray
    """Variance of the biases, shape (n,), also where negative."""

    def to_dataset(self) -> xr.Dataset:
        """Return the points as a dataset along ``q``."""
        import xarray as xr

        names = [f.name for f in fields(self) if f.name != "q"]
        values = {name: ("q", getattr(self, name), {"units": "1"}) for name in names}
        return xr.Dataset(values, coords={"q": self.q})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> CriticalPoints:
        """Return the points that `to_dataset` wrote."""
        return cls(**{f.name: dataset[f.name].values for f in fields(cls)})


def critical_line(phi: Phi, q: ArrayLike) -> CriticalPoints:
    r"""Return the networks with chi = 1, parametrized by their q*.

    sigma_w^2 = 1 / E[phi'^2] and sigma_b^2 = E[q z^2 - sigma_w^2 phi^2], eq. (S7): no search in the
    plane, and one integral for the difference, which for odd phi is of third order in q.

    Parameters
    ----------
    phi : Nonlinearity, str or callable
        The nonlinearity.
    q : array
        Values of q*, each > 0.

    Raises
    ------
    ValueError
        For q <= 0 and for a constant phi.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735, section 2.

    Examples
    --------
    >>> point = critical_line("tanh", [0.1])
    >>> float(point.sigma_w2[0]), float(point.sigma_b2[0]), float(point.v[0])
    (1.17756910, 8.322804e-4, 0.0397091)
    >>> critical_line("gelu", [0.5]).stable, critical_line("softplus", [0.5]).feasible
    (array([False]), array([False]))
    """
    phi = as_nonlinearity(phi)
    values = np.atleast_1d(as_floats("q", q))
    check_finite("q", values)
    rows = []
    for one in values:
        check_range("q", one, 0, open_low=True)
        mu1 = phi.mu(1, one)
        if not mu1 > 0:
            raise ValueError(f"phi = {phi.name} is constant around q = {one:g}: phi' = 0")
        sigma_w2 = 1 / mu1
        sigma_b2 = phi.bias_variance(one, sigma_w2)
        rounded = 1e-14 * one if phi.slopes is not None else 0.0  # closed forms end in zero exactly
        if -1e-12 * one < sigma_b2 < rounded:
            sigma_b2 = 0.0
        chi_q = MeanField(phi, math.sqrt(sigma_w2), 0.0).slope(one)
        rows.append((sigma_w2, sigma_b2, chi_q, variance_per_layer(phi, one)))
    columns = np.array(rows).reshape(-1, 4).T
    feasible = columns[1] >= 0
    return CriticalPoints(
        q=values,
        sigma_w=np.sqrt(columns[0]),
        sigma_b=np.sqrt(np.where(feasible, columns[1], np.nan)),
        feasible=feasible,
        stable=columns[2] <= 1 + MARGINAL,
        chi_q=columns[2],
        v=columns[3],
        sigma_w2=columns[0],
        sigma_b2=columns[1],
    )


def variance_per_layer(phi: Phi, q: float) -> float:
    r"""Return v = mu_2 / mu_1^2 - 1 at q: what each layer adds to the relative variance.

    At chi = 1 the variance of the eigenvalues of J J^T after L layers is L v with orthogonal
    weights and L (v + 1) with Gaussian ones, eq. (S13).

    Examples
    --------
    >>> variance_per_layer("relu", 1.0), variance_per_layer("leaky_relu(0.1)", 1.0)
    (1.0, 0.9607882)
    """
    phi = as_nonlinearity(phi)
    check_range("q", q, 0, open_low=True)
    mean = phi.mu(1, q)
    if not mean > 0:
        raise ValueError(f"phi = {phi.name} is constant around q = {q:g}: v is undefined")
    if phi.slopes is not None:
        d, p = phi.derivative_law(q)
        return float(p @ (d / mean - 1) ** 2)
    return phi.mean(lambda h: (phi.deriv(h) ** 2 / mean - 1) ** 2, q, atol=1e-18)


def q_for_variance(phi: Phi, depth: int, sigma_JJ2: float, ensemble: str = "orthogonal") -> float:
    r"""Return the critical q* at which the eigenvalues of J J^T have the variance sigma_JJ2.

    Solves L v(q*) = sigma_JJ^2 (orthogonal) or L (v(q*) + 1) = sigma_JJ^2 (Gaussian), eq. (S13),
    in a bracket. With several solutions the smallest q* is returned.

    Parameters
    ----------
    phi : Nonlinearity, str or callable
        The nonlinearity.
    depth : int
        Layers L, >= 1.
    sigma_JJ2 : float
        Wanted variance, > 0.
    ensemble : {"orthogonal", "gaussian"}
        Weights.

    Raises
    ------
    ValueError
        With the attainable range, when the variance is outside it: of ReLU at least L.

    Examples
    --------
    >>> q = q_for_variance("tanh", 64, 0.25)
    >>> round(64 * variance_per_layer("tanh", q), 10)
    0.25
    >>> q_for_variance("relu", 48, 0.25)
    Traceback (most recent call last):
    ValueError: relu with orthogonal weights cannot have sigma_JJ2 = 0.25 at depth 48: ...
    """
    phi = as_nonlinearity(phi)
    check_count("depth", depth)
    check_finite("sigma_JJ2", sigma_JJ2)
    check_range("sigma_JJ2", sigma_JJ2, 0, open_low=True)
    check_choice("ensemble", ensemble, ENSEMBLES)
    offset = 1.0 if ensemble == "gaussian" else 0.0
    grid = np.geomspace(1e-8, 1e2, 121)
    v = np.array([variance_per_layer(phi, float(q)) for q in grid])
    wanted = sigma_JJ2 / depth - offset
    name = f"{phi.name} with {ensemble} weights"
    if np.ptp(v) <= 1e-12 * max(1.0, v.max()):
        lowest = depth * (v[0] + offset)
        raise ValueError(
            f"{name} cannot have sigma_JJ2 = {sigma_JJ2:g} at depth {depth}: v = {v[0]:g} at every "
            f"q, so that sigma_JJ2 = {lowest:g} (minimum {lowest:g}); isometry needs another "
            f"nonlinearity"
        )
    above = np.flatnonzero((v[:-1] - wanted) * (v[1:] - wanted) <= 0)
    if not above.size:
        low, high = depth * (v.min() + offset), depth * (v.max() + offset)
        raise ValueError(
            f"{name} cannot have sigma_JJ2 = {sigma_JJ2:g} at depth {depth}: attainable are about "
            f"{low:.4g} to {high:.4g} (minimum {low:.4g})"
        )
    a, b = math.log(grid[above[0]]), math.log(grid[above[0] + 1])
    return math.exp(
        brentq(lambda t: variance_per_layer(phi, math.exp(t)) - wanted, a, b, xtol=1e-14)
    )


# --- the plane -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PhaseDiagram:
    """Fixed points and depth scales on a grid of (sigma_w, sigma_b), arrays (n_w, n_b)."""

    sigma_w: np.ndarray
    """Standard deviations of the weights, shape (n_w,)."""
    sigma_b: np.ndarray
    """Standard deviations of the biases, shape (n_b,)."""
    q_star: np.ndarray
    """Fixed point reached from q = 1; ``inf`` where q grows without bound."""
    chi: np.ndarray
    """sigma_w^2 E[phi'^2] at q*; NaN where q* is infinite."""
    chi_q: np.ndarray
    """Slope of the length map at q*."""
    c_star: np.ndarray
    """Stable fixed point of the correlation map: 1 where chi <= 1."""
    xi_q: np.ndarray
    """Layers over which q relaxes."""
    xi_c: np.ndarray
    """Layers over which correlations relax."""

    def to_dataset(self) -> xr.Dataset:
        """Return the arrays along ``sigma_w`` and ``sigma_b``."""
        import xarray as xr

        units = {"xi_q": "layers", "xi_c": "layers"}
        axes = ("sigma_w", "sigma_b")
        values = {
            f.name: (axes, getattr(self, f.name), {"units": units.get(f.name, "1")})
            for f in fields(self)
            if f.name not in axes
        }
        return xr.Dataset(values, coords={name: getattr(self, name) for name in axes})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> PhaseDiagram:
        """Return the diagram that `to_dataset` wrote."""
        return cls(**{f.name: dataset[f.name].values for f in fields(cls)})


def phase_diagram(phi: Phi, sigma_w: ArrayLike, sigma_b: ArrayLike) -> PhaseDiagram:
    """Return fixed points and depth scales for every pair of sigma_w and sigma_b.

    E[phi^2] depends on q alone, so one table serves the whole plane: errors are about 1e-8 (c* and
    xi_c of kinked functions about 1e-4 close to the critical line). The table ends at q = 1e-10 and
    1e6; a fixed point beyond is that of the straight line through V's end, with the scales of that
    end. `MeanField` is exact.

    Parameters
    ----------
    phi : Nonlinearity, str or callable
        The nonlinearity.
    sigma_w, sigma_b : array
        Standard deviations, shapes (n_w,) and (n_b,).

    Examples
    --------
    >>> plane = phase_diagram("tanh", [1.3, 2.5], [0.05**0.5])
    >>> plane.q_star.round(6).ravel(), plane.c_star.round(4).ravel(), plane.xi_c.round(3).ravel()
    (array([0.527087, 4.026778]), array([1.    , 0.0719]), array([64.066,  5.309]))
    """
    phi = as_nonlinearity(phi)
    w, b = (
        np.atleast_1d(as_floats(name, s))
        for name, s in (("sigma_w", sigma_w), ("sigma_b", sigma_b))
    )
    for name, values, strict in (("sigma_w", w, True), ("sigma_b", b, False)):
        if not values.size:
            raise ValueError(f"{name} must hold one or more values, got none")
        check_finite(name, values)
        check_range(name, float(values.min()), 0, open_low=strict)
    table = moment_table(phi)
    w2, b2 = (a.ravel() for a in np.broadcast_arrays(w[:, None] ** 2, b[None, :] ** 2))
    q = _fixed_points(table, w2, b2)
    inside = np.isfinite(q)
    clipped = np.clip(np.where(inside, q, 1.0), table.q[0], table.q[-1])
    _, slope, mu1 = table.at(clipped)
    chi = np.where(inside, w2 * mu1, np.nan)
    chi_q = np.where(inside, w2 * slope, np.nan)
    c_star, c_slope = _correlations(table, w2, b2, clipped, chi)
    scales = [_depth_scales(np.where(inside, s, np.nan)) for s in (chi_q, c_slope)]
    shape = (w.size, b.size)
    arrays = [a.reshape(shape) for a in (q, chi, chi_q, c_star, *scales)]
    return PhaseDiagram(w, b, *arrays)


def _fixed_points(table: MomentTable, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    """Return the fixed point reached from q = 1 for every setting, shape (n,)."""
    start = int(np.searchsorted(table.q, 1.0))
    q = np.empty(w2.size)
    for chunk in np.array_split(np.arange(w2.size), max(1, w2.size // 2000)):
        excess = table.excess(w2[chunk], b2[chunk])
        excess[np.abs(excess) < 1e-12 * table.q] = 0.0
        up = excess[:, start:] <= 0
        down = excess[:, :start] >= 0
        first = np.where(up.any(1), start + up.argmax(1), -1)  # the excess turns negative here
        last = np.where(down.any(1), start - 1 - down[:, ::-1].argmax(1), -1)
        grows = excess[:, start] > 0
        high = np.where(grows, first, last + 1)
        low = np.where(high > 0, np.maximum(high - 1, 0), 0)
        a, b = np.log(table.q[low]), np.log(table.q[np.maximum(high, 1)])
        for _ in range(44):
            middle = 0.5 * (a + b)
            above = w2[chunk] * table._second(middle) + b2[chunk] > np.exp(middle)
            a, b = np.where(above, middle, a), np.where(above, b, middle)
        value = np.exp(0.5 * (a + b))
        above, below = (_beyond(table, w2[chunk], b2[chunk], end) for end in (-1, 0))
        value = np.where(grows & (first < 0), above, value)
        value = np.where(~grows & (last < 0), below, value)
        q[chunk] = np.where(excess[:, start] == 0, 1.0, value)
    return q


def _beyond(table: MomentTable, w2: np.ndarray, b2: np.ndarray, end: int) -> np.ndarray:
    """Return the fixed points beyond one end of the table, where V is taken to be straight."""
    q, slope = table.q[end], w2 * table.slope[end]
    gap = np.where(slope < 1 - MARGINAL, 1 - slope, np.nan)
    value = q + (w2 * table.second[end] + b2 - q) / gap
    if end:  # a table that ends earlier does so for want of moments
        return np.where((value > q) & (q == LARGEST_Q), value, np.inf)
    return np.where((value > 0) & (b2 + abs(float(table.phi(0.0))) > 0), value, 0.0)


def _correlations(
    table: MomentTable, w2: np.ndarray, b2: np.ndarray, q: np.ndarray, chi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return c* and C'(c*) for every setting, from the Hermite series of the kernel."""
    c_star, c_slope = np.ones(q.size), chi.copy()
    chaotic = np.flatnonzero(chi > 1 + 1e-7)
    if not chaotic.size:  # no need of the series
        return c_star, c_slope
    powers = np.arange(table.hermite.shape[1])
    for chunk in np.array_split(chaotic, max(1, chaotic.size // 2000)):
        if not chunk.size:
            continue
        a = w2[chunk, None] * np.maximum(table._hermite(np.log(q[chunk])), 0.0)
        # What the series leaves out at c = 1 is spread over the next orders: it hardly matters.
        rest = np.maximum(q[chunk] - b2[chunk] - a.sum(1), 0.0)
        low, high = np.zeros(chunk.size), np.full(chunk.size, 1 - 1e-6)
        for _ in range(40):
            c = 0.5 * (low + high)
            kernel = (a * c[:, None] ** powers).sum(1) + rest * c ** (2 * len(powers)) + b2[chunk]
            above = kernel > c * q[chunk]
            low, high = np.where(above, c, low), np.where(above, high, c)
        c = 0.5 * (low + high)
        c_star[chunk] = c
        slope = (a[:, 1:] * powers[1:] * c[:, None] ** (powers[1:] - 1)).sum(1)
        c_slope[chunk] = slope / q[chunk]
    return c_star, c_slope


def _depth_scales(slope: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = -1 / np.log(slope)
    scale = np.where(slope <= 0, 0.0, scale)
    return np.where(np.abs(slope - 1) <= MARGINAL, np.inf, scale)
