"""Quantiles for a picture: the distribution a little above the real axis, smooth everywhere."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from tractable.spectra.law import ConvergenceError
from tractable.spectra.master import Solution

__all__ = ["smoothed_quantiles"]

HEIGHT = 1e-3  # of the smoothing, in standard deviations of log lambda
CLOSE = 1e-5  # of the distribution at a quantile
THIN = 1e-3  # mass of a tail where roots need not converge
MARGIN = 2.0  # of log lambda beyond the extreme guesses
MAX_ROUNDS = 12


class SmoothEquation(Protocol):
    """What smoothed quantiles need of an equation."""

    def smoothed(self, t: np.ndarray, height: float) -> Solution:
        """Return M and the distribution at log lambda = t + i height, smoothed by about height."""

    @property
    def negative_axis(self) -> tuple[np.ndarray, np.ndarray]:
        """The negative axis: log lambda(-x), ascending, and log(-m), descending."""

    @property
    def mass_at_zero(self) -> float:
        """Share of zero eigenvalues."""

    def moments(self, n: int) -> np.ndarray:
        """Return m_1..m_n."""


def smoothed_quantiles(equation: SmoothEquation, p: np.ndarray) -> np.ndarray:
    r"""Return the eigenvalues below which the shares p lie, to 1e-4 of the distribution.

    Where that is steep (atoms, diverging edges) it is to 1e-3 of the spread of log lambda instead.

    The integral C of the equation has the slope m in log lambda. Taken at t + i h and continued
    down by it, Im(C - i h m), it is the distribution smoothed by the positive kernel
    2 h^3 / (pi (x^2 + h^2)^2): monotone, right to order h^2 inside a bulk and to h^{3/2} at an
    edge, and an atom is a step of width h. On that line every root is at least h away from the
    real axis, so that edges, gaps and atoms need no treatment, and laws of few nodes suffice.

    Parameters
    ----------
    equation : MasterEquation or LayeredEquation
        The equation.
    p : array, shape (n,)
        Shares, ascending.

    Raises
    ------
    ConvergenceError
        When the equation was solved at less than half of the points.
    """
    zero = equation.mass_at_zero
    first, second = equation.moments(2)
    spread = math.log(max(second * (1 - zero) / first**2, 1.0))
    quantile = np.zeros(p.size)
    above = p > zero
    if spread < 1e-14:  # one eigenvalue
        quantile[above] = first / (1 - zero)
        return quantile
    height = HEIGHT * min(1.0, math.sqrt(spread))
    t = _solve(equation, p[above], height)
    with np.errstate(under="ignore"):
        quantile[above] = np.exp(t)
    return quantile


def _solve(equation: SmoothEquation, p: np.ndarray, height: float) -> np.ndarray:
    """Return log lambda at the shares p, by Newton's method in the brackets of all points so far.

    The first points are the quantiles on the negative axis: there -m is the distribution's
    complement, smoothed by 1.
    """
    axis, log_share = equation.negative_axis
    guess = np.interp(-np.log(np.maximum(1 - p, 1e-9)), -log_share, axis)
    new = np.concatenate([[guess[0] - MARGIN], guess, [guess[-1] + MARGIN]])
    new = np.clip(new, axis[0], axis[-1])
    known = np.zeros((3, 0))
    for turn in range(MAX_ROUNDS):
        known = _merged(known, _evaluated(equation, np.unique(new), height))
        t, cdf, density = known
        right = np.clip(np.searchsorted(cdf, p), 1, t.size - 1)
        low, high = t[right - 1], t[right]
        rise = cdf[right] - cdf[right - 1]
        share = np.clip((p - cdf[right - 1]) / np.maximum(rise, 1e-300), 0.0, 1.0)
        nearest = np.where(share > 0.5, right, right - 1)
        error = p - cdf[nearest]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = t[nearest] + error / density[nearest]
        inside = (step > low) & (step < high)
        between = low + (high - low) * (share if turn % 3 else 0.5)
        new = np.where(inside, step, between)
        left = (np.abs(error) > CLOSE) & (high - low > 0.1 * height)
        if not left.any():
            break
        before, new = new, new[left]
        new = np.concatenate([new, 0.5 * (low + high)[left]]) if turn % 3 == 2 else new
    else:
        return before
    return np.where(np.abs(error) > CLOSE, 0.5 * (low + high), new)


def _evaluated(equation: SmoothEquation, t: np.ndarray, height: float) -> np.ndarray:
    """Return t, the distribution and its slope at the points that were solved, shape (3, n).

    In a thin tail the roots may be closer to the nodes of a law than their spacing; as C is
    stationary at the root, the distribution is right there all the same.
    """
    found = equation.smoothed(t, height)
    cdf = found.cdf - equation.mass_at_zero
    tail = (np.abs(cdf) < THIN) | (np.abs(1 - found.cdf) < THIN)
    good = (found.converged | tail) & np.isfinite(found.cdf)
    if (~good).sum() > 0.5 * t.size + 2:
        listed = ", ".join(f"{x:.6g}" for x in np.exp(t[~good][:5]))
        raise ConvergenceError(
            f"{(~good).sum()} of {t.size} points did not converge: lambda = {listed}"
        )
    density = np.where(found.converged, np.maximum(-found.m.imag, 0.0) / np.pi, 0.0)
    return np.array([t, np.clip(found.cdf, 0.0, 1.0), density])[:, good]


def _merged(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return all points, ascending, with a monotone distribution."""
    points = np.concatenate([known, new], axis=1)
    points = points[:, np.unique(points[0], return_index=True)[1]]
    points[1] = np.maximum.accumulate(points[1])
    return points
