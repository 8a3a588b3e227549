"""Where a network of different layers has no eigenvalues: its equation on the real axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from tractable.spectra.derivative_law import DerivativeLaw
from tractable.spectra.gaps import FLAT, Gap

__all__ = ["RealFactor", "layered_gaps"]

FEW_ATOMS = 4  # of a law between whose atoms all gaps are looked into
MOST_BRANCHES = 32  # combinations of such gaps over the layers
N_SCAN = 400
FLAT_GROWTH = 1e-11  # of log lambda with log m: rounding


@dataclass(frozen=True)
class RealFactor:
    """The layers of one law and one width, as the equation has them for real m."""

    law: DerivativeLaw
    ratio: float
    """m_l / m."""
    count: int
    """Power of y_l / m."""
    power: int
    """Power of 1 + m_l."""


@dataclass(frozen=True)
class _Interval:
    """An interval of real y between neighboring positive atoms of d, open ends as None."""

    law: DerivativeLaw
    low: float | None
    high: float | None

    def solve(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return y with M(y) = target, dM/dy there, and P(d > y); targets have one sign.

        The unknown is the distance to the atom that M diverges at: near it y itself would lose
        all digits of the difference.
        """
        upper = target[0] < 0
        anchor = self.high if upper else self.low
        assert anchor is not None
        away = -1.0 if upper else 1.0
        size = math.inf if self.low is None or self.high is None else self.high - self.low
        offset = anchor - self.law.d

        def inverse(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            delta = away * (np.exp(v) if math.isinf(size) else size * expit(v))
            with np.errstate(divide="ignore"):
                return delta, 1 / (delta[:, None] + offset)

        wd = self.law.w * self.law.d
        positive = self.law.d > 0
        low, high = np.full(target.size, -80.0), np.full(target.size, 80.0)
        for _ in range(60):
            v = 0.5 * (low + high)
            value = inverse(v)[1][:, positive] @ wd[positive]
            near = (value > target) == upper  # closer to the atom is where |M| is larger
            low, high = np.where(near, low, v), np.where(near, v, high)
        delta, r = inverse(0.5 * (low + high))
        slope = -((r[:, positive] ** 2) @ wd[positive])
        y = anchor + delta
        border = anchor if upper else np.nextafter(anchor, math.inf)
        return y, slope, np.where(y < 0, 1.0, self.law.w[self.law.d >= border].sum())


def layered_gaps(
    factors: list[RealFactor], constant: float, rank: float, top: Callable[[list[float]], float]
) -> list[Gap]:
    r"""Return the gaps of log lambda, ascending; the last one reaches to infinity.

    For real m, with each y_l real in a gap of its law, lambda is real; where it rises as m falls,
    it is off the support, and where it stops to rise is an edge. The phases of all factors must
    add to zero: else it is a real value of another branch.

    Parameters
    ----------
    factors : list of RealFactor
        All laws, and the input's width.
    constant : float
        Of log lambda.
    rank : float
        Share of nonzero eigenvalues: m = -rank at lambda = 0.
    top : callable
        log lambda of an atom that takes the given value of d in each law; NaN where there is none.
    """
    found: list[Gap] = []
    for sign in (1.0, -1.0):
        choices = [_intervals(f.law, sign) if f.count else [None] for f in factors]
        if not all(choices):
            continue
        if math.prod(len(options) for options in choices) > MOST_BRANCHES:
            ends = {0, -1}
            branches = [tuple(options[i] for options in choices) for i in ends]
        else:
            branches = list(itertools.product(*choices))
        for branch in branches:
            found += _rising(factors, list(branch), sign, constant, rank, top)
    return _joined(sorted(gap for gap in found if gap.high > gap.low + 1e-9))


def _joined(gaps: list[Gap]) -> list[Gap]:
    """Join gaps that touch at m = 0, where a y_l passes infinity and the branch its name."""
    joined = gaps[:1]
    for gap in gaps[1:]:
        last = joined[-1]
        if gap.low < last.high + 1e-9 and abs(gap.cdf - last.cdf) < 1e-9:
            joined[-1] = Gap(last.low, max(gap.high, last.high), gap.cdf)
        else:
            joined.append(gap)
    return joined


def _intervals(law: DerivativeLaw, sign: float) -> list[_Interval | None]:
    """Return the intervals of y in which M takes values of the sign."""
    atoms = [float(value) for value in law.d if value > 0]
    if law.exact and len(atoms) <= FEW_ATOMS:
        ends: list[float | None] = [None, *atoms, None]
        pairs = list(itertools.pairwise(ends))
    elif law.exact:  # of observed slopes: many atoms for a continuous law
        pairs = [(None, atoms[0]), (atoms[-1], None)]
    else:
        pairs = [(atoms[-1], None)]
        if law.d[0] > FLAT * law.largest:
            pairs.insert(0, (None, atoms[0]))
    return [_Interval(law, *p) for p in pairs if p[0 if sign > 0 else 1] is not None]


def _rising(
    factors: list[RealFactor],
    branch: list[_Interval | None],
    sign: float,
    constant: float,
    rank: float,
    top: Callable[[list[float]], float],
) -> list[Gap]:
    """Return the gaps of one branch, by a scan over |m|."""

    def at(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log lambda, its growth with falling m, whether it is real, and the CDF."""
        s = -np.log(np.abs(m))
        total, slope = s + constant, np.ones_like(s)
        turns = np.full_like(s, 0.0 if sign > 0 else 1.0)  # phases, in units of pi
        above = -m if sign < 0 else np.zeros_like(s)
        for factor, interval in zip(factors, branch, strict=True):
            own = factor.ratio * m
            one = 1 + own
            if interval is not None:
                y, dM, larger = interval.solve(own)
                total += factor.count * (np.log(np.abs(y)) - s)
                slope += factor.count * (-own / (dM * y) - 1)
                turns += factor.count * ((y < 0) - (sign < 0) * 1.0)
                above += factor.count / factor.ratio * (larger - one * (y < 0))
                above += factor.count * m * (sign < 0)
            if factor.power:
                total += factor.power * np.log(np.abs(one))
                slope -= factor.power * own / one
                turns -= factor.power * (one < 0)
                above += factor.power / factor.ratio * one * (one < 0)
        return total, slope * sign, turns == 0, 1 - above

    grid = np.exp(np.linspace(-36.0, 20.0, N_SCAN))
    if sign < 0:
        near = np.exp(np.linspace(-14.0, -0.5, N_SCAN // 4))
        grid = rank * np.unique(np.concatenate([grid, 1 - near, 1 + near]))
    with np.errstate(all="ignore"):
        F, growth, allowed, cdf = at(sign * grid)
    rising = allowed & (growth > -FLAT_GROWTH) & np.isfinite(F)
    change = np.flatnonzero(np.diff(np.concatenate([[0], rising.astype(int), [0]])))
    chosen = [interval for interval in branch if interval is not None]

    def end(inside: int, outside: int) -> float:
        if outside == grid.size:  # up to an atom of every law
            anchors = [
                0.0 if i is None else float((i.low if sign > 0 else i.high) or 0.0) for i in branch
            ]
            limit = top(anchors)
            return float(F[inside]) if math.isnan(limit) else limit
        if outside < 0 and sign > 0 and all(i.high is None for i in chosen):
            return math.inf
        if outside < 0:
            return float(F[inside])  # m = 0 inside a gap
        if not allowed[outside] and all(i.low is None for i in chosen):
            return -math.inf  # lambda = 0 at m = -rank
        if not allowed[outside] or growth[inside] <= 0 or growth[outside] >= 0:
            return float(F[inside])
        edge = brentq(
            lambda m: float(at(np.array([m]))[1][0]),
            *(sign * grid[inside], sign * grid[outside]),
            xtol=1e-15 * grid[inside],
            rtol=1e-14,
        )
        return float(at(np.array([edge]))[0][0])

    gaps = []
    for first, last in zip(change[::2], change[1::2] - 1, strict=True):
        ends = sorted((end(first, first - 1), end(last, last + 1)))
        value = float(cdf[(first + last) // 2])
        value = 1.0 if math.isinf(ends[1]) else min(max(value, 0.0), 1.0)
        gaps.append(Gap(ends[0], ends[1], value))
    return gaps
