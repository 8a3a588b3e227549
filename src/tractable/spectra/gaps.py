"""Where a spectrum has no eigenvalues: real solutions of the master equation, and its edges."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import brentq

if TYPE_CHECKING:
    from tractable.spectra.derivative_law import DerivativeLaw
    from tractable.spectra.master import MasterEquation

__all__ = ["Gap", "gaps_of"]

N_SCAN = 600
FLAT = 1e-3  # inf phi'^2 / sup phi'^2 above which a smooth law is taken to end there


class Gap(NamedTuple):
    """An open interval of t = log lambda without eigenvalues."""

    low: float
    high: float
    cdf: float


def gaps_of(equation: MasterEquation, law: DerivativeLaw) -> list[Gap]:
    """Return all gaps, ascending; the last one reaches to infinity.

    On the real axis off the support of d, lambda(y) is real; where it rises, lambda is off the
    support of the spectrum, and where it stops to rise is an edge.
    """
    found = _rising(equation, law, law.largest, np.inf)
    if law.exact:
        ends = law.d if law.d[0] == 0 else np.concatenate([[0.0], law.d])
        for low, high in itertools.pairwise(ends):
            found += _rising(equation, law, float(low), float(high))
    elif law.d[0] > FLAT * law.largest:
        found += _rising(equation, law, 0.0, float(law.d[0]))
    return sorted(found)


def _grid(low: float, high: float) -> np.ndarray:
    """Return points between two atoms of d, dense at both."""
    x = np.linspace(-36.0, 36.0, N_SCAN)
    if np.isinf(high):
        return low * (1 + np.exp(x)) if low > 0 else np.exp(x)
    share = 1 / (1 + np.exp(-x))
    # Symmetric, so that neither end rounds to the atom before the other.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) / (1 + np.exp(x)))


def _rising(equation: MasterEquation, law: DerivativeLaw, low: float, high: float) -> list[Gap]:
    y = np.unique(_grid(low, high))
    y = y[(y > low) & (y < high)]
    F, slope, allowed = equation.real_slope(law, y)
    rising = allowed & (slope > 0) & np.isfinite(F)
    if not rising.any():
        return []
    change = np.flatnonzero(np.diff(np.concatenate([[0], rising.astype(int), [0]])))
    gaps = []
    for first, last in zip(change[::2], change[1::2] - 1, strict=True):
        left = _end(equation, law, y, F, first, first - 1, allowed)
        right = _end(equation, law, y, F, last, last + 1, allowed)
        if np.isinf(high) and last == y.size - 1:
            right = np.inf
        if low == 0 and first == 0 and not equation.mass_at_zero:
            left = -np.inf
        gaps.append(Gap(left, right, _cdf(equation, law, float(y[(first + last) // 2]))))
    return [gap for gap in gaps if gap.high > gap.low]


def _end(
    equation: MasterEquation,
    law: DerivativeLaw,
    y: np.ndarray,
    F: np.ndarray,
    inside: int,
    outside: int,
    allowed: np.ndarray,
) -> float:
    """Return log lambda where it stops to rise between two points of the scan."""
    if outside < 0 or outside >= y.size or not allowed[outside]:
        return float(F[inside])  # it rises up to an atom of d, or to the end of the branch

    def slope(x: float) -> float:
        return float(equation.real_slope(law, np.array([x]))[1][0])

    a, b = float(y[outside]), float(y[inside])
    if slope(a) * slope(b) >= 0:
        return float(F[inside])
    edge = brentq(slope, a, b, xtol=1e-15 * b, rtol=1e-14)
    return float(equation.real_slope(law, np.array([edge]))[0][0])


def _cdf(equation: MasterEquation, law: DerivativeLaw, y: float) -> float:
    """Return the CDF on the gap around y: the phases of eq. (S11) on the real axis."""
    above = law.above(y)
    if equation.gaussian:
        return 1 - above if equation.depth == 1 else 1.0
    return 1 - (equation.depth * above - (equation.depth - 1)) if above else 1.0
