"""A law of eigenvalues that is given by an equation: density, distribution, quantiles, samples."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range
from tractable.spectra.gaps import Gap
from tractable.spectra.master import Solution

__all__ = ["ConvergenceError", "Diagnostics", "Equation", "SpectralLaw"]

RESOLVED_CDF = 1e-4  # every point with more mass of its interval on both sides must converge
N_TABLE = 240
NOTHING = 1e-8  # mass of a tail in which the table has no points of its own


class ConvergenceError(RuntimeError):
    """The equation was not solved at some points of the bulk; the message lists them."""


class Equation(Protocol):
    """What a law needs: the solution at log lambda, where there is none, and the atoms."""

    def solve(self, t: np.ndarray) -> Solution:
        """Return M and the distribution at t = log lambda inside the support."""

    @property
    def gaps(self) -> list[Gap]:
        """Open intervals of log lambda without eigenvalues, ascending."""

    @property
    def mass_at_zero(self) -> float:
        """Share of zero eigenvalues."""

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """Atoms above zero as (log lambda, mass)."""

    @property
    def t_min(self) -> float:
        """The smallest log lambda that floating-point numbers allow."""

    def moments(self, n: int) -> np.ndarray:
        """Return m_1..m_n."""


@dataclass(frozen=True)
class Diagnostics:
    """How the last evaluation went."""

    n_points: int
    """Points inside the support."""
    evaluations: int
    """Evaluations of the equation over a batch, all levels of refinement together."""
    residual: float
    """Largest last step of Newton's method, in log y."""
    n_nodes: int
    """Nodes of the finest quadrature in use."""
    below_resolution: int
    """Points in exponentially thin tails (mass < 1e-4) closer to the real axis than the nodes:
    their density is reported as 0, their distribution to about 1e-5."""


class _Part(NamedTuple):
    """One interval of the support in log lambda, with the distribution at its ends."""

    low: float
    high: float
    cdf_low: float
    cdf_high: float


class SpectralLaw:
    """The law of the eigenvalues lambda of J J^T, and of the singular values s = sqrt(lambda).

    Made by `JacobianSpectrum` and `UniversalSpectrum`; all methods accept numbers and arrays of any
    shape.

    Attributes
    ----------
    diagnostics : Diagnostics or None
        Of the last evaluation.
    """

    diagnostics: Diagnostics | None = None

    def __init__(self, equation: Equation) -> None:
        self._equation = equation

    # --- density and distribution ------------------------------------------------------------

    def density(
        self, lam: ArrayLike | None = None, *, s: ArrayLike | None = None, log: bool = False
    ) -> np.ndarray:
        """Return the density of the eigenvalues, or of the singular values; atoms are left out.

        Parameters
        ----------
        lam : array
            Eigenvalues, >= 0.
        s : array
            Singular values instead: the density of s = sqrt(lambda).
        log : bool
            Density of log lambda, or of log s, in place of lambda or s.

        Returns
        -------
        array
            Of the shape of the argument; 0 outside the support.
        """
        t, shape = _log_of(lam, s)
        per_t = self._solve(t)[0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if s is not None:
                values = 2 * per_t if log else 2 * per_t * np.exp(-0.5 * t)
            else:
                values = per_t if log else per_t * np.exp(-t)
        return np.where(per_t > 0, values, 0.0).reshape(shape)

    def cdf(self, lam: ArrayLike | None = None, *, s: ArrayLike | None = None) -> np.ndarray:
        """Return P(eigenvalue <= lambda) with all atoms, by the integrated equation (S11).

        Parameters
        ----------
        lam, s : array
            Eigenvalues, or singular values, >= 0.
        """
        t, shape = _log_of(lam, s)
        return self._solve(t)[1].reshape(shape)

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return the eigenvalue below which the share p lies, for p in [0, 1].

        Examples
        --------
        >>> from tractable.spectra import JacobianSpectrum
        >>> spectrum = JacobianSpectrum("relu", 3, "gaussian", q=1.0)
        >>> spectrum.cdf(spectrum.quantile([0.6, 0.99]))
        array([0.6 , 0.99])
        """
        with np.errstate(under="ignore"):
            return np.exp(self.log_quantile(p))

    def log_quantile(self, p: ArrayLike) -> np.ndarray:
        """Return log lambda of the quantiles: those of deep networks may be below 1e-308."""
        share = as_floats("p", p)
        check_finite("p", np.atleast_1d(share))
        check_range("p", float(share.min(initial=0.5)), 0, 1)
        check_range("p", float(share.max(initial=0.5)), 0, 1)
        flat = share.ravel()
        t = np.full(flat.size, -np.inf)
        for part, (grid, cdf) in zip(self._parts, self._tables, strict=True):
            here = (flat > part.cdf_low) & (flat <= part.cdf_high)
            if not here.any():
                continue
            if part.high - part.low < 1e-11:
                t[here] = part.high
            else:
                t[here] = self._invert(flat[here], grid, cdf)
        above = flat > self._parts[-1].cdf_high
        t[above] = self._parts[-1].high
        return t.reshape(share.shape)

    def _invert(self, p: np.ndarray, grid: np.ndarray, cdf: np.ndarray) -> np.ndarray:
        """Solve cdf = p by Newton's method inside the brackets of the table."""
        right = np.clip(np.searchsorted(cdf, p), 1, grid.size - 1)
        low, high = grid[right - 1], grid[right]
        rise = np.maximum(cdf[right] - cdf[right - 1], 1e-300)
        t = low + np.clip((p - cdf[right - 1]) / rise, 0.0, 1.0) * (high - low)
        active = np.arange(p.size)
        for _ in range(60):
            density, value = self._solve(t[active])
            error = value - p[active]
            high[active] = np.where(error > 0, t[active], high[active])
            low[active] = np.where(error > 0, low[active], t[active])
            with np.errstate(divide="ignore", invalid="ignore"):
                step = t[active] - error / density
            middle = 0.5 * (low[active] + high[active])
            inside = (step > low[active]) & (step < high[active])
            done = (np.abs(error) < 1e-14) | (high[active] - low[active] < 1e-14)
            t[active] = np.where(done, t[active], np.where(inside, step, middle))
            done |= inside & (np.abs(error) < 1e-9) & (np.abs(error) < 1e-4 * density)
            active = active[~done]
            if not active.size:
                break
        return t

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n independent eigenvalues, by inverting a table of the distribution (to 1e-4).

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.
        """
        check_count("n", n, 0)
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng must be a numpy.random.Generator, got {type(rng).__name__}; "
                "numpy.random.default_rng(seed) makes one"
            )
        p = rng.random(n)
        t = np.full(n, -np.inf)
        for part, (grid, cdf) in zip(self._parts, self._tables, strict=True):
            here = (p > part.cdf_low) & (p <= part.cdf_high)
            t[here] = np.interp(p[here], cdf, grid)
        return np.exp(t)

    def transform(self, x: ArrayLike) -> np.ndarray:
        """Return M(-x) = -E[lambda / (x + lambda)] for x > 0, from the distribution (to 1e-6).

        It is what a resolvent measures: regularized inversion of J J^T at scale x.
        """
        at = np.atleast_1d(as_floats("x", x)).ravel()
        check_finite("x", at)
        if not at.size:
            return np.zeros(np.shape(x))
        check_range("x", float(at.min()), 0, open_low=True)
        nodes, weights = np.polynomial.legendre.leggauss(12)
        total = np.zeros(at.size)
        for part, (grid, _) in zip(self._parts, self._tables, strict=True):
            if part.high - part.low < 1e-11:
                lam = np.exp(part.high)
                total += (part.cdf_high - part.cdf_low) * lam / (at + lam)
                continue
            grid = grid[grid > np.log(at.min()) - 40]
            half, middle = 0.5 * np.diff(grid)[:, None], 0.5 * (grid[1:] + grid[:-1])[:, None]
            t, w = (middle + half * nodes).ravel(), (half * weights).ravel()
            share = self._solve(t)[1] - part.cdf_low
            top = np.exp(part.high)
            total += (part.cdf_high - part.cdf_low) * top / (at + top)
            kernel = at[:, None] * np.exp(t) / (at[:, None] + np.exp(t)) ** 2
            total -= kernel @ (w * share)
        return -total.reshape(np.shape(x))

    # --- numbers -----------------------------------------------------------------------------

    @property
    def support(self) -> list[tuple[float, float]]:
        """Intervals of lambda with a density, ascending; atoms are not part of it.

        The lower end 0 means that eigenvalues come arbitrarily close to zero: of smooth
        nonlinearities with exponentially little mass, so use quantiles.
        """
        bulk = [part for part in self._parts if part.high - part.low >= 1e-11]
        return [(float(np.exp(part.low)), float(np.exp(part.high))) for part in bulk]

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """Eigenvalues of positive mass as (lambda, mass), ascending."""
        zero = self._equation.mass_at_zero
        found = [(0.0, float(zero))] if zero > 0 else []
        return found + sorted((float(np.exp(t)), float(m)) for t, m in self._equation.atoms)

    @property
    def s_max(self) -> float:
        """Largest singular value: of the bulk or of an atom."""
        return float(np.exp(0.5 * self._parts[-1].high))

    def moments(self, k: int) -> np.ndarray:
        """Return the moments m_1..m_k of the eigenvalues, k <= 6, eq. (S14)."""
        check_count("k", k)
        check_range("k", k, 1, 6)
        return self._equation.moments(k)

    @property
    def variance(self) -> float:
        """Variance of the eigenvalues, sigma_JJ^2."""
        first, second = self._equation.moments(2)
        return float(second - first**2)

    def condition(self, p: float = 0.05) -> float:
        """Return the ratio of the singular values at the quantiles 1 - p and p (inf if s_p = 0)."""
        check_range("p", p, 0, 0.5, open_low=True, open_high=True)
        low, high = self.log_quantile([p, 1 - p])
        with np.errstate(over="ignore"):
            return float(np.exp(0.5 * (high - low)))

    def grid(self, n: int = 400) -> np.ndarray:
        """Return about n eigenvalues for drawing: dense at the edges, from the 1e-6 quantile up."""
        bulk = [part for part in self._parts if part.high - part.low >= 1e-11]
        if not bulk:
            return np.array([np.exp(part.high) for part in self._parts])
        check_count("n", n)
        x = 0.5 * (1 - np.cos(np.linspace(0, np.pi, max(8, n // len(bulk)))))
        pieces = []
        for part in bulk:
            low = part.low
            if not np.isfinite(low):
                share = part.cdf_low + 1e-6 * (part.cdf_high - part.cdf_low)
                low = float(self.log_quantile(share))
            pieces.append(low + (part.high - low) * x)
        return np.exp(np.concatenate(pieces))

    # --- inside ------------------------------------------------------------------------------

    @functools.cached_property
    def _parts(self) -> list[_Part]:
        parts = []
        end, cdf = -np.inf, self._equation.mass_at_zero
        for gap in self._equation.gaps:
            if gap.low > -np.inf:
                parts.append(_Part(end, gap.low, cdf, gap.cdf))
            end, cdf = gap.high, gap.cdf
        return parts

    @functools.cached_property
    def _tables(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return log lambda and the distribution on a grid of every part."""
        tables = []
        for part in self._parts:
            if part.high - part.low < 1e-11:
                tables.append((np.array([part.low, part.high]), np.array(part[2:])))
                continue
            low = max(part.low, self._equation.t_min)
            steps = np.geomspace(1e-9, 1.0, N_TABLE) * (part.high - low)
            t = np.unique(np.concatenate([[low, part.high], part.high - steps[:-1]]))
            t = t[(t >= low) & (t <= part.high)]
            cdf = self._solve(t)[1]
            if np.isfinite(part.low):  # dense there also, unless it is the end of a thin tail
                empty = np.flatnonzero(cdf <= part.cdf_low + NOTHING)
                more = np.setdiff1d(low + steps[:-1], t)
                more = more[(more > (t[empty[-1]] if empty.size else low)) & (more < part.high)]
                t = np.concatenate([t, more])
                cdf = np.concatenate([cdf, self._solve(more)[1]])
                order = np.argsort(t)
                t, cdf = t[order], cdf[order]
            cdf[0], cdf[-1] = part.cdf_low, part.cdf_high
            cdf = np.clip(np.maximum.accumulate(cdf), part.cdf_low, part.cdf_high)
            tables.append((t, cdf))
        return tables

    def _solve(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the density of t = log lambda and the distribution, at any t."""
        density, cdf = np.zeros(t.size), np.full(t.size, self._equation.mass_at_zero)
        for gap in self._equation.gaps:
            cdf[t >= gap.low] = gap.cdf
        bulk = np.full(t.size, False)
        for part in self._parts:
            if part.high - part.low < 1e-11:
                cdf[np.abs(t - part.high) <= 1e-11] = part.cdf_high
            else:
                bulk |= (t > part.low) & (t < part.high) & (t > self._equation.t_min)
        if not bulk.any():
            return density, cdf
        at, where = np.unique(t[bulk], return_inverse=True)
        found = self._equation.solve(at)
        values = self._monotone(at, found.cdf)
        self._judge(at, values, found)
        density[bulk] = np.where(found.converged, np.maximum(-found.m.imag, 0) / np.pi, 0.0)[where]
        cdf[bulk] = values[where]
        return density, cdf

    def _monotone(self, t: np.ndarray, cdf: np.ndarray) -> np.ndarray:
        """Return the distribution, clipped to its part and made monotone from the right."""
        cdf = np.minimum.accumulate(np.nan_to_num(cdf, nan=1.0)[::-1])[::-1]
        for part in self._parts:
            here = (t > part.low) & (t < part.high)
            cdf[here] = np.clip(cdf[here], part.cdf_low, part.cdf_high)
        return cdf

    def _judge(self, t: np.ndarray, cdf: np.ndarray, found: Solution) -> None:
        left = ~found.converged
        thick = np.full(t.size, False)
        for part in self._parts:
            between = (cdf > part.cdf_low + RESOLVED_CDF) & (cdf < part.cdf_high - RESOLVED_CDF)
            thick |= left & between & (t > part.low) & (t < part.high)
        if thick.any():
            listed = ", ".join(f"{x:.6g}" for x in np.exp(t[thick][:5]))
            raise ConvergenceError(
                f"{thick.sum()} of {t.size} points of the bulk did not converge: lambda = {listed}"
            )
        self.diagnostics = Diagnostics(
            t.size, found.evaluations, found.residual, found.n_nodes, int(left.sum())
        )


def _log_of(lam: ArrayLike | None, s: ArrayLike | None) -> tuple[np.ndarray, tuple[int, ...]]:
    if (lam is None) == (s is None):
        raise ValueError("give either lam (eigenvalues) or s= (singular values)")
    name, values = ("lam", lam) if s is None else ("s", s)
    array = as_floats(name, values)
    if np.isnan(array).any():
        check_finite(name, np.atleast_1d(array))
    check_range(name, float(array.min(initial=0.0)), 0)
    with np.errstate(divide="ignore"):
        t = np.log(array.ravel())
    return (t if s is None else 2 * t), array.shape
