"""The law of d = phi'(h)^2 of one layer: exact atoms, or the nodes of a quadrature."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_finite, check_range
from tractable.core.gaussian import BOUND, Rule, panel_rule, scale_breaks, trapezoid_rule
from tractable.core.nonlinearity import Nonlinearity

__all__ = ["LEVELS", "DerivativeLaw", "empirical_law", "law_of"]

LEVELS = 5  # of refinement: 120 to 30,720 nodes of an analytic function of moderate variance

UNSEEN = 1e-13  # mass of a branch of d whose nodes may be coarse
RESOLVED = 4.5  # distance from the nodes, in units of their spacing
CHUNK = 60_000  # entries of one block: it fits the cache, and memory does not grow with lambda


@dataclass(frozen=True)
class DerivativeLaw:
    """Probability law of d = phi'(h)^2: values d >= 0 with weights."""

    d: np.ndarray
    """Values, shape (k,), ascending."""
    w: np.ndarray
    """Probabilities, shape (k,), sum 1."""
    exact: bool
    """Whether the law has these atoms; else they are nodes of a quadrature."""
    atoms: tuple[tuple[float, float], ...]
    """The atoms (value, mass) of the law itself: all if exact, else flat stretches of phi."""
    spacing: np.ndarray
    """Distance of neighbors along z, of the coarsest branch around each value, 0 if exact."""

    @property
    def mass_at_zero(self) -> float:
        """P(phi' = 0)."""
        return float(sum(mass for value, mass in self.atoms if value == 0))

    @property
    def largest(self) -> float:
        """Largest value."""
        return float(self.d[-1])

    def transform(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return m = E[d/(y-d)], 1 + m = y E[1/(y-d)] and dm/dy at complex y, shape (n,)."""
        m, r, dm = (np.empty(y.shape, complex) for _ in range(3))
        rows = max(1, CHUNK // self.d.size)
        pair = np.stack([self.w, self.w * self.d], axis=1)
        wd = pair[:, 1].copy()
        for i in range(0, y.size, rows):
            part = slice(i, i + rows)
            a, b = y.real[part, None], y.imag[part]
            t = a - self.d
            inverse = t * t
            inverse += (b * b)[:, None]
            np.divide(1.0, inverse, out=inverse)
            even = inverse @ pair
            t *= inverse
            odd = t @ pair
            t *= inverse
            cross = t @ wd
            inverse *= inverse
            square = inverse @ wd
            r[part] = odd[:, 0] - 1j * b * even[:, 0]
            m[part] = odd[:, 1] - 1j * b * even[:, 1]
            dm[part] = 2 * b * b * square - even[:, 1] + 2j * b * cross
        return m, y * r, dm

    def mean_angle(self, y: np.ndarray) -> np.ndarray:
        """Return Im E log(y - d) at complex y in the upper half plane, shape (n,)."""
        out = np.empty(y.shape)
        rows = max(1, CHUNK // self.d.size)
        for i in range(0, y.size, rows):
            part = slice(i, i + rows)
            out[part] = np.arctan2(y.imag[part, None], y.real[part, None] - self.d) @ self.w
        return out

    def negative(self, log_r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log(-m) and log(1 + m) at y = -r on the negative axis, shape (n,)."""
        with np.errstate(divide="ignore"):
            log_ratio = log_r[:, None] - np.log(self.d)
        below, above = -np.logaddexp(0.0, log_ratio), -np.logaddexp(0.0, -log_ratio)
        return _log_mean(below, self.w), _log_mean(above, self.w)

    def real(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return m, 1 + m and dm/dy at real y outside the atoms, shape (n,)."""
        r = 1 / (y[:, None] - self.d)
        wd = self.w * self.d
        return r @ wd, y * (r @ self.w), -((r * r) @ wd)

    def resolves(self, y: np.ndarray, spacings: float = RESOLVED) -> np.ndarray:
        """Return whether sums over the nodes are integrals at y, by default to 1e-12, shape (n,).

        The error of a quadrature with a pole at distance b from nodes of spacing h is
        exp(-2 pi b / h).
        """
        if self.exact:
            return np.full(y.shape, True)
        distance = np.hypot(y.real - np.clip(y.real, self.d[0], self.d[-1]), y.imag)
        return distance > spacings * np.max([self.spacing[i] for i in self._around(y)], axis=0)

    def ruled_by_atom(self, y: np.ndarray, share: float = 1e-4) -> np.ndarray:
        """Return whether y is so near an atom that the nodes may err, shape (n,).

        The atom contributes mass / |y - value|, the quadrature errs by
        2 pi (w / h) exp(-2 pi b / h): less than ``share`` of it.
        """
        ruled = np.full(y.shape, False)
        around = self._around(y)
        h = np.max([self.spacing[i] for i in around], axis=0)
        for value, mass in self.atoms:
            w = np.max([np.where(self.d[i] == value, 0.0, self.w[i]) for i in around], axis=0)
            error = 2 * np.pi * w / h * np.exp(-2 * np.pi * np.abs(y.imag) / h)
            ruled |= error * np.abs(y - value) < share * mass
        return ruled

    def _around(self, y: np.ndarray) -> list[np.ndarray]:
        """Return the indices of the four nearest nodes."""
        nearest = np.searchsorted(self.d, y.real)
        return [np.clip(nearest + i, 0, self.d.size - 1) for i in (-2, -1, 0, 1)]

    def above(self, y: float) -> float:
        """Return P(d > y)."""
        return float(self.w[self.d > y].sum())

    def moments(self, n: int) -> np.ndarray:
        """Return E[d^k] for k = 1..n."""
        return np.array([self.w @ self.d**k for k in range(1, n + 1)])


def _log_mean(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return log E exp(x)."""
    top = x.max(1)
    return top + np.log(np.exp(x - top[:, None]) @ w)


@functools.lru_cache(maxsize=256)
def law_of(phi: Nonlinearity, q: float, level: int = 0) -> DerivativeLaw:
    """Return the law of phi'(h)^2 for h of variance q.

    Piecewise-linear functions have a few atoms, found exactly. Analytic ones are sampled by the
    trapezoidal rule, others on panels that end at the kinks.

    Parameters
    ----------
    phi : Nonlinearity
        The nonlinearity.
    q : float
        Variance of its argument, > 0.
    level : int
        Each level has four times the nodes of the one before, 0 to `LEVELS` - 1.

    Examples
    --------
    >>> law = law_of(Nonlinearity("hard_tanh"), 0.25)
    >>> law.d, law.w.round(8)
    (array([0., 1.]), array([0.04550026, 0.95449974]))
    """
    check_range("q", q, 0, open_low=True)
    if phi.slopes is not None:
        values, weights = phi.derivative_law(q)
        keep = weights > 0
        values, weights = values[keep], weights[keep]
        atoms = tuple(zip(values.tolist(), weights.tolist(), strict=True))
        return DerivativeLaw(values, weights, True, atoms, np.zeros(values.size))
    rule = _rule(phi, q, _smallest(phi, q) * 4**level, level > 0)
    d = phi.deriv(np.sqrt(q) * rule.z) ** 2
    check_finite("phi'(h)^2", d)
    keep = rule.w > 1e-25
    return _collapse(d[keep], rule.w[keep], exact=False)


def _rule(phi: Nonlinearity, q: float, n: int, refined: bool = False) -> Rule:
    """Return n nodes in all for an analytic phi, more on the panels of others.

    Where phi' passes zero, d is quadratic and its law has mass at every small scale: there the
    panels of refined levels shrink geometrically.
    """
    zeros = _zeros(phi, q) if refined else ()
    if not phi.kinks and not zeros:
        return trapezoid_rule(n // 2, half=True) if phi.even else trapezoid_rule(n)
    ends = scale_breaks(q, phi.kinks)
    if zeros:
        fine = np.outer(2.0 ** -np.arange(1, 40), [-1.0, 1.0]).ravel()
        ends = np.unique(np.concatenate([ends, zeros, *(z + fine for z in zeros)]))
    n_parts = max(1, n // 120)
    parts = ends[:-1, None] + np.diff(ends)[:, None] * np.arange(n_parts) / n_parts
    return panel_rule(parts.ravel(), 10)


def _zeros(phi: Nonlinearity, q: float) -> tuple[float, ...]:
    """Return the z within 11 standard deviations where phi' changes sign."""
    z = np.linspace(-BOUND, BOUND, 5501) + 1e-4
    sign = np.sign(phi.deriv(np.sqrt(q) * z))
    found = np.flatnonzero(sign[:-1] * sign[1:] < 0)
    low, high = z[found], z[found + 1]
    for _ in range(50):
        middle = 0.5 * (low + high)
        left = np.sign(phi.deriv(np.sqrt(q) * middle)) == sign[found]
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return tuple((0.5 * (low + high)).tolist())


@functools.lru_cache(maxsize=256)
def _smallest(phi: Nonlinearity, q: float) -> int:
    """Return the number of nodes at which the first moments of d are right."""
    exact = np.array([phi.mu(k, q) for k in (1, 2)])
    for n in (120, 240, 480, 960, 1920):
        rule = _rule(phi, q, n)
        d = phi.deriv(np.sqrt(q) * rule.z) ** 2
        if (np.abs([rule.w @ d, rule.w @ d**2] / exact - 1) < 1e-12).all():
            break
    return n


def empirical_law(squared_slopes: ArrayLike, n_bins: int = 512) -> DerivativeLaw:
    """Return the law of observed values of phi'^2, at most ``n_bins`` atoms after binning.

    Examples
    --------
    >>> empirical_law([0.0, 1.0, 1.0, 1.0]).w
    array([0.25, 0.75])
    """
    values = np.sort(np.asarray(squared_slopes, dtype=float).ravel())
    check_finite("squared_slopes", values)
    if not values.size or values[0] < 0 or values[-1] == 0:
        raise ValueError("squared_slopes must be non-negative, not all of them 0, and not empty")
    law = _collapse(values, np.full(values.size, 1 / values.size), exact=True)
    if law.d.size <= n_bins:
        return law
    groups = np.array_split(np.arange(law.d.size), n_bins)
    weights = np.array([law.w[g].sum() for g in groups])
    means = np.array([law.w[g] @ law.d[g] / law.w[g].sum() for g in groups])
    heavy = tuple((v, m) for v, m in law.atoms if m > 2 / n_bins)
    return DerivativeLaw(means, weights / weights.sum(), False, heavy, np.zeros(n_bins))


def _collapse(d: np.ndarray, w: np.ndarray, *, exact: bool) -> DerivativeLaw:
    """Merge equal values; a value of many nodes is an atom: there phi is straight."""
    gap = np.abs(np.diff(d, prepend=d[0]))
    gap = np.maximum(gap, np.append(gap[1:], 0.0))  # to the neighbors along z, before sorting
    along = d, w, gap
    order = np.argsort(d, kind="stable")
    d, w, gap = d[order], w[order] / w.sum(), gap[order]
    place = np.cumsum(np.concatenate([[0], np.diff(d) > 1e-14 * d[1:]])).astype(int)
    weights = np.bincount(place, weights=w)
    values = np.bincount(place, weights=w * d) / weights
    spacing = np.zeros(values.size)
    if not exact:
        np.maximum.at(spacing, place, gap)
        spacing = np.maximum(spacing, _coarsest(*along, values))
    is_atom = np.full(values.size, True) if exact else np.bincount(place) > 8
    atoms = zip(values[is_atom].tolist(), weights[is_atom].tolist(), strict=True)
    return DerivativeLaw(values, weights, exact, tuple(atoms), spacing)


def _coarsest(d: np.ndarray, w: np.ndarray, gap: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the largest spacing that a monotone branch of d along z has around each value.

    Nodes where phi saturates have tiny spacings; those of another branch at the same values, such
    as beside a zero of phi', may be far apart.
    """
    turns = np.flatnonzero(np.diff(np.sign(np.diff(d)))) + 1
    spacing = np.zeros(at.size)
    for first, last in itertools.pairwise([0, *turns.tolist(), d.size - 1]):
        part = slice(first, last + 1)
        if w[part].sum() < UNSEEN or gap[part].max() < 1e-13 * at[-1]:
            continue
        up = 1 if d[last] > d[first] else -1
        own, h = d[part][::up], gap[part][::up]
        right = np.clip(np.searchsorted(own, at), 1, own.size - 1)
        near = np.maximum(h[right - 1], h[right])
        beyond = np.maximum(own[0] - at, at - own[-1])
        spacing = np.maximum(spacing, np.where(beyond < RESOLVED * near, near, 0.0))
    return spacing
