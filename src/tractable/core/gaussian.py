"""Expectations over Gaussian variables, to about 1e-12, also of functions with kinks.

The nodes are those of Gauss-Legendre rules on panels. Panels end at the kinks, where Gauss-Hermite
rules converge slowly, and shrink where the function bends on a scale much below the standard
deviation. For analytic functions of moderate scale the plain trapezoidal rule is cheaper.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from tractable.core.checks import (
    ConvergenceWarning,
    as_floats,
    check_count,
    check_finite,
    check_range,
)

__all__ = [
    "BOUND",
    "Rule",
    "expectation",
    "pair_expectation",
    "panel_rule",
    "scale_breaks",
    "scaled_rule",
    "trapezoid_rule",
    "truncated_moments",
]

BOUND = 11.0
"""Standard deviations covered: the normal density beyond it is below 3e-27."""

# Panels in units of the argument h = sqrt(q) z: functions of order-one scale are resolved.
SCALES = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0])
TOO_FAST = 1e-8  # share of the integrand's size that may sit at the bound


@dataclass(frozen=True)
class Rule:
    """Nodes z and weights w of the standard normal: E[f(z)] = sum w f(z)."""

    z: np.ndarray
    """Nodes, shape (n,), ascending."""
    w: np.ndarray
    """Weights, shape (n,), sum 1."""


@functools.lru_cache(maxsize=64)
def _legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(n)
    return x, w


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def trapezoid_rule(n: int, *, half: bool = False) -> Rule:
    """Return the trapezoidal rule on ``[-11, 11]``, exponentially accurate for analytic functions.

    Parameters
    ----------
    n : int
        Nodes, at least 2.
    half : bool
        Only the nodes ``z >= 0`` with doubled weights, for even functions.

    Examples
    --------
    >>> rule = trapezoid_rule(60)
    >>> bool(abs(rule.w @ rule.z**2 - 1) < 1e-14)
    True
    """
    check_count("n", n, 2)
    if half:
        step = BOUND / n
        z = (np.arange(n) + 0.5) * step  # midpoints: no node at zero, where phi' is largest
        w = 2 * step * _density(z)
    else:
        z = (np.arange(n) - 0.5 * (n - 1)) * (2 * BOUND / n)
        w = (2 * BOUND / n) * _density(z)
    return Rule(z, w / w.sum())


def panel_rule(breaks: ArrayLike, n_nodes: int = 16) -> Rule:
    """Return Gauss-Legendre nodes on the panels between ``breaks``, weighted with the density.

    Parameters
    ----------
    breaks : array
        Ends of the panels in standard deviations; those outside ``[-11, 11]`` are dropped and the
        two bounds are added.
    n_nodes : int
        Nodes of each panel.

    Examples
    --------
    >>> rule = panel_rule(np.arange(-11, 12))
    >>> round(float(rule.w @ np.abs(rule.z)), 12), round(float(np.sqrt(2 / np.pi)), 12)
    (0.797884560803, 0.797884560803)
    """
    ends = as_floats("breaks", breaks)
    ends = np.unique(np.concatenate([[-BOUND, BOUND], ends[np.abs(ends) < BOUND]]))
    x, w = _legendre(n_nodes)
    half, middle = 0.5 * np.diff(ends)[:, None], 0.5 * (ends[1:] + ends[:-1])[:, None]
    z = (middle + half * x).ravel()
    weights = (half * w).ravel() * _density(z)
    return Rule(z, weights / weights.sum())


def scaled_rule(q: float, kinks: Sequence[float] = (), n_nodes: int = 16) -> Rule:
    """Return the panels for functions of h = sqrt(q) z with kinks at given h and scale one.

    Parameters
    ----------
    q : float
        Variance of h, > 0.
    kinks : sequence of float
        Arguments h where the function or a derivative jumps.
    n_nodes : int
        Nodes of each panel.
    """
    return panel_rule(scale_breaks(q, kinks), n_nodes)


def scale_breaks(q: float, kinks: Sequence[float] = ()) -> np.ndarray:
    """Return the ends of the panels of `scaled_rule`, in standard deviations, ascending."""
    scales = np.concatenate([-SCALES, [0.0], SCALES])
    places = np.concatenate([k + scales for k in (0.0, *kinks)]) / np.sqrt(q)
    ends = np.concatenate([np.arange(-BOUND, BOUND + 1), places])
    return np.unique(ends[np.abs(ends) <= BOUND])


def expectation(
    f: Callable[[np.ndarray], np.ndarray],
    q: float,
    kinks: Sequence[float] = (),
    *,
    rtol: float = 1e-11,
    atol: float = 0.0,
) -> float:
    r"""Return E[f(sqrt(q) z)] for standard normal z.

    Parameters
    ----------
    f : callable
        Maps an array of arguments to an array of the same shape.
    q : float
        Variance of the argument, >= 0.
    kinks : sequence of float
        Arguments where f or a derivative of it jumps.
    rtol, atol : float
        The nodes are doubled until the result changes by less than rtol E|f| + atol.

    Raises
    ------
    ValueError
        When f is not finite, or grows so fast that the expectation does not exist.

    Examples
    --------
    >>> round(expectation(lambda h: np.maximum(h, 0) ** 2, 4.0, kinks=(0.0,)), 12)
    2.0
    """
    check_finite("q", q)
    check_range("q", q, 0)
    check_finite("kinks", kinks)
    if q == 0:
        value = float(np.asarray(f(np.zeros(1)))[0])
        check_finite("f(0)", value)
        return value
    last = math.inf
    for n_nodes in (16, 32, 64, 128):
        rule = scaled_rule(q, kinks, n_nodes)
        value, size = _sum(f, q, rule)
        moved = abs(value - last)
        if moved <= rtol * size + atol:
            return value
        last = value
    warnings.warn(
        f"the expectation at q = {q:g} still moves by {moved:.1e} with "
        f"{rule.z.size} nodes; are there kinks that were not declared?",
        ConvergenceWarning,
        stacklevel=2,
    )
    return value


def _sum(f: Callable[[np.ndarray], np.ndarray], q: float, rule: Rule) -> tuple[float, float]:
    """Return E[f] and E|f|, and refuse what does not exist."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(f(np.sqrt(q) * rule.z), dtype=float)
        terms = rule.w * values
    if not np.isfinite(values).all():
        at = np.sqrt(q) * rule.z[~np.isfinite(values)][0]
        raise ValueError(
            f"the function is not finite at h = {at:g} (q = {q:g}); does it grow too fast?"
        )
    size = float(np.abs(terms).sum())
    edge = max(abs(values[0]), abs(values[-1])) * float(_density(np.array(BOUND - 0.1)))
    if size > 0 and edge > TOO_FAST * size:
        raise ValueError(
            f"the expectation does not exist at q = {q:g}: the function grows too fast "
            f"(|f| = {max(abs(values[0]), abs(values[-1])):.2g} at 11 standard deviations)"
        )
    return float(terms.sum()), size


def pair_expectation(
    f: Callable[[np.ndarray], np.ndarray],
    q: float,
    c: float,
    kinks: Sequence[float] = (),
    *,
    one_minus_c: float | None = None,
    n_nodes: int = 24,
) -> float:
    r"""Return E[f(u1) f(u2)] of two Gaussians of variance q and correlation c.

    u1 = sqrt(q) z1, u2 = sqrt(q) (c z1 + sqrt(1 - c^2) z2). The inner integral has panels that end
    at the kinks of f wherever z1 puts them; the outer one has panels of width sqrt(1 - c^2) around
    the kinks, where the inner integral bends.

    Parameters
    ----------
    f : callable
        As in `expectation`.
    q : float
        Variance, > 0.
    c : float
        Correlation, in [-1, 1].
    kinks : sequence of float
        Arguments where f or a derivative of it jumps.
    one_minus_c : float, optional
        1 - c, for correlations so close to 1 that the difference would lose digits.
    n_nodes : int
        Nodes of each panel.

    Examples
    --------
    The arc-cosine kernel of ReLU:

    >>> c = 0.3
    >>> exact = (np.sqrt(1 - c * c) + c * (np.pi - np.arccos(c))) / (2 * np.pi)
    >>> bool(abs(pair_expectation(lambda h: np.maximum(h, 0), 1.0, c, (0.0,)) - exact) < 1e-13)
    True
    """
    check_range("q", q, 0, open_low=True)
    check_range("c", c, -1, 1)
    check_finite("kinks", kinks)
    gap = 1.0 - c if one_minus_c is None else one_minus_c
    s = np.sqrt(max(gap * (1.0 + c), 0.0))
    if s == 0:
        other = 1.0 if c > 0 else -1.0
        mirrored = (*kinks, *(-k for k in kinks)) if c < 0 else kinks
        return expectation(lambda h: f(h) * f(other * h), q, mirrored)
    sigma = np.sqrt(q)
    centers = np.array([0.0, *kinks]) / sigma
    spread = np.concatenate([-SCALES, [0.0], SCALES])
    bends = (centers[:, None] / (c or 1.0) + s * spread / max(abs(c), 0.1)).ravel()
    fine = (centers[:, None] + spread / sigma).ravel()
    z1 = panel_rule(np.concatenate([np.arange(-BOUND, BOUND + 1), bends, fine]), n_nodes)
    keep = z1.w > 1e-22
    z, w = z1.z[keep], z1.w[keep]
    inner = _inner(f, sigma, c, s, z, np.asarray(kinks, dtype=float), n_nodes)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float((w * np.asarray(f(sigma * z)) * inner).sum())
    check_finite("E[f f]", value)
    return value


def _inner(
    f: Callable[[np.ndarray], np.ndarray],
    sigma: float,
    c: float,
    s: float,
    z1: np.ndarray,
    kinks: np.ndarray,
    n_nodes: int,
) -> np.ndarray:
    """Return E over z2 of f(sigma (c z1 + s z2)) for every z1."""
    fixed = np.arange(-BOUND, BOUND + 1)[:: 2 if s < 0.5 else 1]
    bounds = [np.broadcast_to(fixed, (z1.size, fixed.size))]
    for place in np.concatenate([[0.0], kinks]):
        scales = np.concatenate([-SCALES[2::2], [0.0], SCALES[2::2]])
        at = ((place + scales) / sigma - c * z1[:, None]) / s
        bounds.append(np.clip(at, -BOUND, BOUND))
    ends = np.sort(np.concatenate([*bounds, np.full((z1.size, 1), BOUND)], axis=1), axis=1)
    x, w = _legendre(n_nodes)
    total = np.zeros(z1.size)
    for left, right in zip(ends.T[:-1], ends.T[1:], strict=True):
        half, middle = 0.5 * (right - left)[:, None], 0.5 * (right + left)[:, None]
        if not half.any():
            continue
        z2 = middle + half * x
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(f(sigma * (c * z1[:, None] + s * z2)))
        total += (half * w * _density(z2) * values).sum(1)
    return total


def truncated_moments(low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return P, E[z] and E[z^2] restricted to the interval ``(low, high)`` of a standard normal.

    Examples
    --------
    >>> [float(m) for m in truncated_moments(0.0, np.inf)]
    [0.5, 0.3989422804014327, 0.5]
    """
    a, b = as_floats("low", low), as_floats("high", high)
    for name, end in (("low", a), ("high", b)):
        if np.isnan(end).any():
            raise ValueError(f"{name} must be a number or infinite, got NaN")
    mirror = a > 0  # differences of upper tails lose no digits
    P = np.where(mirror, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))
    fa, fb = _density(a), _density(b)
    with np.errstate(invalid="ignore"):
        edge = np.where(np.isfinite(a), a, 0.0) * fa - np.where(np.isfinite(b), b, 0.0) * fb
    return P, fa - fb, P + edge
