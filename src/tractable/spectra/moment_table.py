"""Gaussian moments of a nonlinearity on a grid of variances, computed once for each."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from tractable.core.gaussian import scaled_rule
from tractable.core.nonlinearity import Nonlinearity

__all__ = ["MomentTable", "moment_table"]

SMALLEST_Q, LARGEST_Q = 1e-10, 1e6
N_GRID = 801
N_HERMITE = 120


@dataclass(frozen=True)
class MomentTable:
    """E[phi^2], its slope and E[phi'^2] on a logarithmic grid of q, with interpolation."""

    q: np.ndarray
    """Variances, shape (n,), ascending."""
    second: np.ndarray
    """E[phi(h)^2], shape (n,)."""
    slope: np.ndarray
    """d E[phi^2] / dq, shape (n,)."""
    mu1: np.ndarray
    """E[phi'(h)^2], shape (n,)."""
    phi: Nonlinearity
    """The nonlinearity."""

    def excess(self, sigma_w2: ArrayLike, sigma_b2: ArrayLike) -> np.ndarray:
        """Return V(q) - q on the grid, shape (*settings, n)."""
        w, b = np.asarray(sigma_w2)[..., None], np.asarray(sigma_b2)[..., None]
        return w * self.second + b - self.q

    @functools.cached_property
    def hermite(self) -> np.ndarray:
        """Squared Hermite coefficients of phi(sqrt(q) z), shape (n, 120): the kernel's series."""
        return np.array([_hermite_squares(self.phi, float(q)) for q in self.q])

    @functools.cached_property
    def _second(self) -> CubicHermiteSpline:
        return CubicHermiteSpline(np.log(self.q), self.second, self.slope * self.q)

    @functools.cached_property
    def _others(self) -> CubicSpline:
        return CubicSpline(np.log(self.q), np.stack([self.slope, self.mu1], axis=1))

    @functools.cached_property
    def _hermite(self) -> CubicSpline:
        return CubicSpline(np.log(self.q), self.hermite)

    def at(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return E[phi^2], its slope and E[phi'^2] at any q of the grid's range, to about 1e-9."""
        t = np.log(q)
        slope, mu1 = np.moveaxis(self._others(t), -1, 0)
        return self._second(t), slope, mu1


@functools.lru_cache(maxsize=32)
def moment_table(phi: Nonlinearity) -> MomentTable:
    """Return the moments of phi for q from 1e-10 to 1e6.

    The grid stops earlier for a function that grows so fast that its moments do not exist there.

    Raises
    ------
    ValueError
        When E[phi^2] does not exist even at q = 0.01.

    Examples
    --------
    >>> table = moment_table(Nonlinearity("relu"))
    >>> float(abs(table.second / table.q - 0.5).max()) < 1e-14
    True
    """
    rows = []
    for q in np.geomspace(SMALLEST_Q, LARGEST_Q, N_GRID):
        rule = scaled_rule(q, phi.kinks)
        h = np.sqrt(q) * rule.z
        with np.errstate(over="ignore", invalid="ignore"):
            value, deriv = phi(h), phi.deriv(h)
            terms = rule.w * value**2
            second = terms.sum()
            row = [second, rule.w @ (value * deriv * h) / q, rule.w @ deriv**2]
        if not np.isfinite(row).all() or max(terms[0], terms[-1]) > 1e-12 * second > 0:
            break
        rows.append((q, *row))
    if not rows or rows[-1][0] < 0.01:
        phi.second_moment(0.01)  # says which q and which value
        raise ValueError(f"E[phi(h)^2] of {phi.name} does not exist at q = 0.01")
    q, second, slope, mu1 = np.array(rows).T
    return MomentTable(q, second, slope, mu1, phi)


def _hermite_squares(phi: Nonlinearity, q: float) -> np.ndarray:
    """Return E[phi he_k]^2 for the normalized Hermite polynomials he_k, k < 120."""
    rule = scaled_rule(q, phi.kinks)
    z, weighted = rule.z, rule.w * phi(np.sqrt(q) * rule.z)
    before, now = np.zeros_like(z), np.ones_like(z)
    squares = np.empty(N_HERMITE)
    for k in range(N_HERMITE):
        squares[k] = (weighted @ now) ** 2
        before, now = now, (z * now - np.sqrt(k) * before) / np.sqrt(k + 1)
    return squares
