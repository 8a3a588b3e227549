"""One orthogonal layer: the eigenvalues are sigma_w^2 phi'(h)^2 themselves."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra.gaps import Gap
from tractable.spectra.master import Solution

__all__ = ["SingleLayer"]

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
        """A smooth phi is flat nowhere."""
        return 0.0

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """None: nonlinearities with straight pieces and bends have them, but no equation here."""
        return []

    def moments(self, n: int) -> np.ndarray:
        """Return E[(sigma_w^2 d)^k]."""
        sigma_w2 = np.exp(self.log_sigma_w2)
        return np.array([sigma_w2**k * self.phi.mu(k, self.q) for k in range(1, n + 1)])
