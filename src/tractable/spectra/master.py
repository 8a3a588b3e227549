"""The master equation of equal layers, in the subordination variable, and its exact integral."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tractable.spectra.derivative_law import LEVELS, RESOLVED, DerivativeLaw
from tractable.spectra.gaps import Gap, gaps_of
from tractable.spectra.homotopy import rotate
from tractable.spectra.series import equal_layers

__all__ = ["Levels", "MasterEquation", "Solution", "solve_levels"]


NEGLIGIBLE = 5e-5  # mass in a tail below which the nodes are not refined to the last
SMOOTH_LEVEL = 2  # the last level of a smoothed distribution
COARSE = 1.0  # distance from the nodes that suffices on the last level: 2e-3 of a node's weight

Levels = Callable[[int], DerivativeLaw]


@dataclass(frozen=True)
class Solution:
    """What an equation gives at each t = log lambda."""

    m: np.ndarray
    """M(lambda) = E[x / (lambda - x)], complex, in the closed lower half plane, shape (n,)."""
    cdf: np.ndarray
    """P(eigenvalue <= lambda) by the integrated equation, unclipped, shape (n,)."""
    root: np.ndarray
    """The root s, complex, shape (n,); of different layers s and all log y_l, shape (n, k)."""
    converged: np.ndarray
    """Whether the root was found, with nodes that resolve it, shape (n,)."""
    evaluations: int
    """Evaluations of the equation over a batch, all levels together."""
    residual: float
    """Largest last step of the roots that were found."""
    n_nodes: int
    """Nodes of the finest law in use."""


def solve_levels(
    solve: Callable[..., Solution],
    t: np.ndarray,
    fixed: bool,
    zero: float = 0.0,
    last: int = LEVELS - 1,
) -> Solution:
    """Solve on ever finer nodes, each level only where the one before does not resolve the root.

    Parameters
    ----------
    solve : callable
        ``solve(level, t, guess, insist)`` solves on the nodes of one level.
    t : array
        log lambda, shape (n,).
    fixed : bool
        Whether all levels are the same.
    zero : float
        Mass at zero, which belongs to no tail.
    last : int
        The finest level.
    """
    last = 0 if fixed else last
    found = solve(0, t, None, fixed)
    for level in range(1, last + 1):
        left = ~found.converged
        if level >= last - 1:  # in exponentially thin tails finer nodes would not be seen
            left &= (found.cdf > NEGLIGIBLE + zero) & (found.cdf < 1 - NEGLIGIBLE)
        if not left.any():
            break
        finer = solve(level, t[left], found.root[left], level == last)
        for name in ("m", "cdf", "root", "converged"):
            getattr(found, name)[left] = getattr(finer, name)
        found = dataclasses.replace(
            found,
            evaluations=found.evaluations + finer.evaluations,
            residual=max(found.residual, finer.residual),
            n_nodes=finer.n_nodes,
        )
    return found


@dataclass(frozen=True)
class MasterEquation:
    r"""F(s) = log lambda of L equal square layers, eq. (S9), with all branches fixed.

    s = log y, where y is the argument at which the transform M of one layer's d = phi'^2 takes the
    value m = M(lambda) of the whole network: no transform is ever inverted, and the cost does not
    depend on the depth.
    """

    levels: Levels
    """The law of d by level of refinement."""
    depth: int
    gaussian: bool
    log_sigma_w2: float

    @property
    def law(self) -> DerivativeLaw:
        """The law of d on the coarsest level."""
        return self.levels(0)

    # --- the equation ------------------------------------------------------------------------

    def residual(self, law: DerivativeLaw, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return F(s) and dF/ds, eq. (S9)."""
        L, g = self.depth, int(self.gaussian)
        y = np.exp(s)
        m, one_plus_m, dm = law.transform(y)
        with np.errstate(divide="ignore", invalid="ignore"):
            lm, l1 = np.log(-m) - 1j * np.pi, np.log(one_plus_m)
            F = L * s + (L - 1) * (lm - l1) + g * L * l1 + L * self.log_sigma_w2
            slope = L + ((L - 1) / m + g * L) * (dm / one_plus_m) * y
        return F, slope

    @functools.cached_property
    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        return self._axis(self.law)

    @functools.cached_property
    def _fine_start(self) -> tuple[np.ndarray, np.ndarray]:
        return self._axis(self.levels(1))

    def _axis(self, law: DerivativeLaw) -> tuple[np.ndarray, np.ndarray]:
        """Return log lambda(-r) and log r on the negative axis, both ascending.

        Where phi' passes zero, the smallest values of d are nodes of the refined levels only, and
        so are the starts for roots of that size.
        """
        log_r = np.concatenate(
            [np.linspace(-700, -62, 60), np.linspace(-60, 60, 601), np.linspace(62, 700, 60)]
        )
        lm, l1 = law.negative(log_r)
        L, g = self.depth, int(self.gaussian)
        return L * log_r + (L - 1) * (lm - l1) + g * L * l1 + L * self.log_sigma_w2, log_r

    def solve(self, t: np.ndarray) -> Solution:
        """Return m and the distribution at t = log lambda, for lambda inside the support."""
        fixed = self.levels(1) is self.law
        zero = self.mass_at_zero
        found = solve_levels(self._solve, t, fixed, zero)
        left = ~found.converged
        if left.any() and not fixed:
            left[left] = self._caught(t[left], found.root[left])
        if left.any() and not fixed:
            found.cdf[left], above = self._tail(t[left], found.root[left])
            thick = (found.cdf > NEGLIGIBLE + zero) & (found.cdf < 1 - NEGLIGIBLE)
            if (again := left & thick).any():  # Newton was caught by a node: start above it
                more = self._solve(LEVELS - 1, t[again], above[thick[left]], False, COARSE)
                for name in ("m", "cdf", "root", "converged"):
                    getattr(found, name)[again] = getattr(more, name)
        return found

    def smoothed(self, t: np.ndarray, height: float) -> Solution:
        """Return m and the distribution at log lambda = t + i height, smoothed by about height."""
        solve = functools.partial(self._solve, height=height)
        return solve_levels(solve, t, self.levels(1) is self.law, last=SMOOTH_LEVEL)

    @property
    def negative_axis(self) -> tuple[np.ndarray, np.ndarray]:
        """The negative axis: log lambda(-x), ascending, and log(-m), descending."""
        return self._start[0], self.law.negative(self._start[1])[0]

    def _tail(self, t: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the CDF, and a point above the root, where the nodes do not resolve it.

        C is stationary at the root, so it may be taken a little above it, at a height that the
        nodes resolve: on that line only the real part of the equation is solved.
        """
        law = self.levels(LEVELS - 2)
        x = s.real.copy()
        for _ in range(12):
            height = self._height(law, x)
            F, slope = self.residual(law, x + 1j * height)
            with np.errstate(all="ignore"):
                step = np.clip((t - F.real) / np.maximum(slope.real, 1e-3), -0.3, 0.3)
            x += np.where(np.isfinite(step), step, 0.0)
            if np.abs(step).max() < 1e-10:
                break
        root = x + 1j * self._height(law, x)
        m, one_plus_m, _ = law.transform(np.exp(root))
        return self._cdf(law, t, root, m, one_plus_m), root

    def _caught(self, t: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return which roots are not above the line of `_tail`: those above are good enough."""
        law = self.levels(LEVELS - 2)
        F, _ = self.residual(law, s)
        return ~((s.imag > self._height(law, s.real)) & (np.abs(F - t) < 1e-4))

    def _height(self, law: DerivativeLaw, x: np.ndarray) -> np.ndarray:
        nearest = np.clip(np.searchsorted(law.d, np.exp(x)), 0, law.d.size - 1)
        return np.minimum(2.5 * law.spacing[nearest] * np.exp(-x) + 1e-9, 1.0)

    def _solve(
        self,
        level: int,
        t: np.ndarray,
        guess: np.ndarray | None,
        insist: bool,
        limit: float | None = None,
        height: float = 0.0,
    ) -> Solution:
        law = self.levels(level)
        roots = rotate(
            functools.partial(self.residual, law),
            np.interp(t, *(self._fine_start if level else self._start)),
            t,
            lambda s, rest: s - rest / self.depth,
            noise=1e-15 * self.depth,
            guess=guess,
            insist=insist,
            height=height,
        )
        y = np.exp(roots.s)
        m, one_plus_m, _ = law.transform(y)
        if height and insist:
            resolved = np.full(t.shape, True)
        else:
            resolved = law.resolves(y, limit or (COARSE if insist else RESOLVED))
        if level == LEVELS - 1 and not law.exact:
            resolved |= law.ruled_by_atom(y)
        return Solution(
            m,
            self._cdf(law, t + 1j * height, roots.s, m, one_plus_m),
            roots.s,
            roots.converged & resolved,
            roots.evaluations,
            roots.residual,
            law.d.size,
        )

    def _cdf(
        self, law: DerivativeLaw, t: np.ndarray, s: np.ndarray, m: np.ndarray, p: np.ndarray
    ) -> np.ndarray:
        """Return 1 - Im C / pi, eq. (S11), C taken from t down to the real axis by its slope m."""
        L, g = self.depth, int(self.gaussian)
        with np.errstate(divide="ignore", invalid="ignore"):
            lm, l1 = np.log(-m) - 1j * np.pi, np.log(p)
        integral = (
            (1 - L * (1 - g)) * (p * l1 - m)
            + (L - 1) * (m * lm - m)
            + L * m * self.log_sigma_w2
            + L * p * s
        ).imag - L * law.mean_angle(np.exp(s))
        return 1 - ((m * t.real).imag - integral) / np.pi

    # --- where there is nothing, and where there are atoms -----------------------------------

    def real_slope(
        self, law: DerivativeLaw, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log lambda, its slope in log y, and where the branch is right, at real y > 0."""
        L, g = self.depth, int(self.gaussian)
        m, p, dm = law.real(y)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = m / p
            F = L * np.log(y) + L * self.log_sigma_w2 + (L - 1) * np.log(np.abs(u))
            F += g * L * np.log(np.abs(p))
            slope = L + ((L - 1) / m + g * L) * (dm / p) * y
        allowed = (p > 0) & ((m > 0) | (L == 1)) if self.gaussian else u > 0
        return F, slope, allowed

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        """Open intervals of log lambda without eigenvalues, with the value of the CDF there."""
        gaps = gaps_of(self, self.law)
        for level in range(1, LEVELS - 2):
            before, law = gaps, self.levels(level)
            if law is self.law:
                break
            gaps = gaps_of(self, law)
            ends = [np.nan_to_num([g.low for g in some]) for some in (before, gaps)]
            if len(gaps) == len(before) and np.abs(ends[0] - ends[1]).max() < 1e-12:
                break
        return gaps

    @property
    def mass_at_zero(self) -> float:
        """Share of eigenvalues that are zero."""
        return self.law.mass_at_zero

    @functools.cached_property
    def atoms(self) -> list[tuple[float, float]]:
        """Atoms above zero (log lambda, mass): eq. (S15)."""
        if self.gaussian:
            return []
        L = self.depth
        masses = [(value, 1 - L * (1 - mass)) for value, mass in self.law.atoms if value > 0]
        return [
            (L * (self.log_sigma_w2 + float(np.log(value))), mass)
            for value, mass in masses
            if mass > 1e-14
        ]

    @functools.cached_property
    def t_min(self) -> float:
        """The smallest log lambda for which 1 / y^4 is finite in floating point."""
        return float(np.interp(-160.0, self._start[1], self._start[0]))

    def moments(self, n: int) -> np.ndarray:
        """Return m_1..m_n by Lagrange inversion."""
        sigma_w2 = np.exp(self.log_sigma_w2)
        return equal_layers(self.law.moments(n), sigma_w2, self.depth, self.gaussian)
