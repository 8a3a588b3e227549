r"""The universal functions of depth: every mode of every task follows one curve per depth.

In the coordinate x = ln(a / (s - a)) the mode equation becomes dx/dt ~ (1 + e^{-x})^{-e}, so that
all modes are one tabulated function

    J_e(x) = int (1 + e^{-z})^e dz

stretched in time. Growth has e = 1 - 2/L (L9), decay from above has e = -(2 - 2/L) (L10).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

__all__ = ["UniversalFunction", "growth_table"]

EDGE = 45.0  # beyond, the tails are exact to double precision
STEP = 1 / 32
BLOCK = 8192  # values at a time: their coefficients fit the cache
NEARLY_EXACT = 0.7  # exponent up to which the inverse needs no step of Newton: 6 layers


@dataclass(frozen=True, eq=False)
class UniversalFunction:
    """One tabulated J_e with its inverse; made by `growth_table`.

    Parameters
    ----------
    exponent : float
        The exponent e.
    nodes, values, slopes, curvatures : ndarray
        Table of x, J, J' and J''.
    """

    exponent: float
    nodes: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    curvatures: np.ndarray

    def value(self, x: np.ndarray) -> np.ndarray:
        """Return J_e(x) for any real x."""
        e, x = self.exponent, np.asarray(x, dtype=float)
        if e == 0:
            return x.copy()
        inside = self._interpolate(np.clip(x, -EDGE, EDGE))
        with np.errstate(over="ignore", under="ignore"):
            left = -np.exp(-e * np.minimum(x, -EDGE)) / e
        left += self.values[0] + np.exp(e * EDGE) / e
        right = self.values[-1] + (x - EDGE)
        return np.where(x < -EDGE, left, np.where(x > EDGE, right, inside))

    def inverse(self, value: np.ndarray) -> np.ndarray:
        """Return the x with J_e(x) = value."""
        e, value = self.exponent, np.asarray(value, dtype=float)
        if e == 0:
            return value.copy()
        low, high = self.values[0], self.values[-1]
        middle = np.clip(value, low, high)
        x = np.empty(middle.shape)
        flat, at = x.reshape(-1), middle.reshape(-1)
        for start in range(0, at.size, BLOCK):
            flat[start : start + BLOCK] = self._within(at[start : start + BLOCK])
        if not 0 <= e <= NEARLY_EXACT:  # Newton: the quintic is right to 1e-10
            slope = np.exp(e * np.logaddexp(0, -x))
            x = np.clip(x - (self._interpolate(x) - middle) / slope, -EDGE, EDGE)
        x += value - middle  # J rises as x beyond the right end
        if (below := value < low).any():
            offset = low + np.exp(e * EDGE) / e
            with np.errstate(divide="ignore", invalid="ignore"):
                x[below] = -np.log(-e * (value[below] - offset)) / e
        return x

    def _within(self, value: np.ndarray) -> np.ndarray:
        """Return x where J is in the table: in each cell a quintic of the share of J's rise."""
        cell = np.interp(value, self.values, np.arange(len(self.nodes))).astype(np.intp)
        np.minimum(cell, len(self.nodes) - 2, out=cell)
        start, per_rise, *powers = self._backward
        u = value - start.take(cell)
        u *= per_rise.take(cell)
        x = powers[-1].take(cell)
        for power in powers[-2::-1]:
            x *= u
            x += power.take(cell)
        return x

    @cached_property
    def _backward(self) -> tuple[np.ndarray, ...]:
        """Return for each cell the first J, 1 over its rise, and a quintic that gives x."""
        rise = np.diff(self.values)
        first, bend = 1 / self.slopes, -self.curvatures / self.slopes**3  # dx/dJ, d^2x/dJ^2
        x0, d0, d1 = self.nodes[:-1], first[:-1] * rise, first[1:] * rise
        c0, c1 = bend[:-1] * rise**2 / 2, bend[1:] * rise**2 / 2
        gap, turn, curve = STEP - d0 - c0, d1 - d0 - 2 * c0, c1 - c0
        return (
            *(self.values[:-1], 1 / rise, x0, d0, c0),
            *(10 * gap - 4 * turn + curve, 7 * turn - 15 * gap - 2 * curve),
            6 * gap - 3 * turn + curve,
        )

    def _interpolate(self, x: np.ndarray) -> np.ndarray:
        """Return the quintic Hermite interpolant; relative error below 1e-12."""
        cell = np.minimum(((x + EDGE) / STEP).astype(np.intp), len(self.nodes) - 2)
        u = (x - self.nodes[cell]) / STEP
        v = 1 - u
        f0, f1 = self.values[cell], self.values[cell + 1]
        d0, d1 = STEP * self.slopes[cell], STEP * self.slopes[cell + 1]
        c0, c1 = STEP**2 * self.curvatures[cell], STEP**2 * self.curvatures[cell + 1]
        rise = u**3 * (10 - 15 * u + 6 * u**2)
        first = u * v**3 * (1 + 3 * u) * d0 - v * u**3 * (1 + 3 * v) * d1
        return f0 + (f1 - f0) * rise + first + (u**2 * v**3 * c0 + v**2 * u**3 * c1) / 2


@lru_cache(maxsize=64)
def growth_table(exponent: float) -> UniversalFunction:
    r"""Return J_e for an exponent in [-2, 1], from a table made once per exponent.

    J_e(0) = 0 for e >= 0, accumulated outwards from 0; J_e(-inf) = 0 for e < 0, accumulated from
    the left. Either keeps the relative accuracy of the part that decides: the plateau before a
    mode grows, and the first moments of a decay.

    Examples
    --------
    >>> table = growth_table(0.5)  # four weight matrices
    >>> x = np.array([-60.0, -3.0, 0.0, 3.0, 60.0])
    >>> table.value(x[1:]).round(4)
    array([-7.6755,  0.    ,  3.4272, 60.452 ])
    >>> bool(abs(table.inverse(table.value(x)) - x).max() < 1e-12)
    True
    """
    if not -2 <= exponent <= 1:
        raise ValueError(f"exponent must be within [-2, 1], got {exponent}")
    n = round(EDGE / STEP)
    nodes = STEP * np.arange(-n, n + 1)
    points, weights = np.polynomial.legendre.leggauss(6)
    at = nodes[:-1, None] + STEP * (points + 1) / 2
    cells = STEP / 2 * np.exp(exponent * np.logaddexp(0, -at)) @ weights
    if exponent >= 0:
        left = -np.cumsum(cells[:n][::-1])[::-1]
        values = np.concatenate([left, [0.0], np.cumsum(cells[n:])])
    else:
        start = -np.exp(exponent * EDGE) / exponent
        values = start + np.concatenate([[0.0], np.cumsum(cells)])
    slopes = np.exp(exponent * np.logaddexp(0, -nodes))
    curvatures = -exponent * slopes / (1 + np.exp(nodes))
    return UniversalFunction(exponent, nodes, values, slopes, curvatures)
