"""One orthogonal layer: the eigenvalues are sigma_w^2 phi'(h)^2 themselves."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra.derivative_law import DerivativeLaw, law_of
from tractable.spectra.gaps import Gap
from tractable.spectra.master import Solution

__all__ = ["SingleAtoms", "SingleLayer"]

Z = np.linspace(-11.0, 11.0, 4401) + 1e-5


@dataclass(frozen=True)
class SingleLayer:
    """The law of sigma_w^2 d with d = phi'(sqrt(q) z)^2, by the level sets of d."""

    phi: Nonlinearity
    q: float
    log_sigma_w2: float
    t_min: float = -700.0

    def _d(self, z: np.ndarray) -> np.ndarray:
        return self.phi.deriv(np.sqrt(self.q) * z) ** 2

    def solve(self, t: np.ndarray) -> Solution:
        """Return the density (as -Im m / pi) and the distribution at t = log lambda."""
        x = np.exp(t - self.log_sigma_w2)
        d = self._d(Z)
        below = d[None, :] <= x[:, None]
        row, column = np.nonzero(below[:, 1:] != below[:, :-1])
        low, high = Z[column], Z[column + 1]
        rises = below[row, column]
        for _ in range(60):
            middle = 0.5 * (low + high)
            first = (self._d(middle) <= x[row]) == rises
            low, high = np.where(first, middle, low), np.where(first, high, middle)
        z = 0.5 * (low + high)
        step = 1e-5
        slope = np.abs(self._d(z + step) - self._d(z - step)) / (2 * step)
        with np.errstate(divide="ignore"):
            each = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * x[row] / slope
        density = np.bincount(row, weights=np.where(np.isfinite(each), each, 0.0), minlength=t.size)
        cdf = np.bincount(row, weights=np.where(rises, ndtr(z), -ndtr(z)), minlength=t.size)
        cdf = cdf + below[:, -1]
        good = np.full(t.size, True)
        return Solution(-1j * np.pi * density, cdf, t + 0j, good, 1, 0.0, Z.size)

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        """Below the smallest and above the largest value."""
        d = self._d(Z)
        low, high = (sign * self._extreme(d * sign, sign) for sign in (-1.0, 1.0))
        above = Gap(float(np.log(high)) + self.log_sigma_w2, np.inf, 1.0)
        if low < 1e-3 * high:
            return [above]
        return [Gap(-np.inf, float(np.log(low)) + self.log_sigma_w2, 0.0), above]

    def _extreme(self, d: np.ndarray, sign: float) -> float:
        i = int(np.argmax(d))
        around = (Z[max(i - 1, 0)], Z[min(i + 1, Z.size - 1)])
        best = minimize_scalar(
            lambda z: -sign * float(self._d(np.array([z]))[0]),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-10},
        )
        return max(float(d[i]), -float(best.fun))

    @property
    def mass_at_zero(self) -> float:
        """P(phi' = 0) of a phi with flat stretches."""
        return self._law.mass_at_zero

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """Values that d takes on straight stretches of phi, as (log lambda, mass)."""
        return [(self.log_sigma_w2 + float(np.log(d)), m) for d, m in self._law.atoms if d > 0]

    @functools.cached_property
    def _law(self) -> DerivativeLaw:
        return law_of(self.phi, self.q, 1)

    def moments(self, n: int) -> np.ndarray:
        """Return E[(sigma_w^2 d)^k]."""
        sigma_w2 = np.exp(self.log_sigma_w2)
        return np.array([sigma_w2**k * self.phi.mu(k, self.q) for k in range(1, n + 1)])


@dataclass(frozen=True, eq=False)
class SingleAtoms:
    """The law of sigma_w^2 d where d has a few values: of a phi of straight pieces."""

    law: DerivativeLaw
    log_sigma_w2: float
    t_min: float = -700.0

    def solve(self, t: np.ndarray) -> Solution:
        """Return the distribution; between atoms there is no density."""
        x = np.exp(t - self.log_sigma_w2)
        cdf = (self.law.d <= x[:, None]) @ self.law.w
        return Solution(np.zeros(t.size, complex), cdf, t + 0j, np.full(t.size, True), 0, 0.0, 0)

    @property
    def gaps(self) -> list[Gap]:
        """All but the atoms."""
        places = [-np.inf, *(t for t, _ in self.atoms), np.inf]
        steps = np.cumsum([self.mass_at_zero, *(mass for _, mass in self.atoms)])
        steps[-1] = 1.0
        return [Gap(*gap) for gap in zip(places[:-1], places[1:], steps.tolist(), strict=True)]

    @property
    def mass_at_zero(self) -> float:
        """P(phi' = 0)."""
        return self.law.mass_at_zero

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """The values of sigma_w^2 d above zero as (log lambda, mass)."""
        return [(self.log_sigma_w2 + float(np.log(d)), m) for d, m in self.law.atoms if d > 0]

    def moments(self, n: int) -> np.ndarray:
        """Return E[(sigma_w^2 d)^k]."""
        return np.exp(self.log_sigma_w2 * np.arange(1, n + 1)) * self.law.moments(n)
