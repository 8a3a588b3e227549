"""The master equation of different layers: rectangular weights, any mixture of ensembles."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from tractable.spectra.derivative_law import LEVELS, RESOLVED, DerivativeLaw
from tractable.spectra.gaps import Gap
from tractable.spectra.homotopy import LARGEST_STEP, SHRINK, TOLERANCE
from tractable.spectra.layered_gaps import RealFactor, layered_gaps
from tractable.spectra.master import (
    COARSE,
    NEGLIGIBLE,
    SMOOTH_LEVEL,
    Levels,
    Solution,
    solve_levels,
)
from tractable.spectra.series import moments_of, multiply, power, slope_factor

__all__ = ["Factor", "LayeredEquation"]

N_POLISH = 6  # steps of Newton's method from the roots of coarser nodes
NEAR = 0.1  # distance from them, in log y, of a root that they may lead to


@dataclass(frozen=True)
class Factor:
    """One layer as the equation sees it."""

    levels: Levels
    """The law of phi'^2 by level of refinement."""
    log_sigma_w2: float
    gaussian: bool
    n_out: int
    n_in: int


@dataclass
class _Group:
    """Layers of one law and one width share their subordination variable y."""

    levels: Levels
    width: int
    count: int
    """How many layers have this y."""
    ones: int
    """Power of (1 + m_l) in lambda, times the number of layers."""


@dataclass(frozen=True)
class LayeredEquation:
    r"""lambda(m) = (1 + m) / m prod_l sigma_l^2 f_l m_l y_l / (1 + m_l), eq. (S12).

    With m_l = (N_L / N_l) m, M_l(y_l) = m_l, and f_l of the ensemble and the shape. The unknowns
    are s = -log m and all log y_l; each Newton step solves for all of them at once, and costs one
    evaluation of each different law.
    """

    factors: tuple[Factor, ...]

    # --- bookkeeping -------------------------------------------------------------------------

    @property
    def _last(self) -> int:
        return self.factors[-1].n_out

    @functools.cached_property
    def _groups(self) -> list[_Group]:
        """Group the layers; the first group is the input, a layer without a nonlinearity."""
        groups = [_Group(_identity, self.factors[0].n_in, 0, 0)]
        index = []
        for factor in self.factors:
            for i, group in enumerate(groups):
                same = i > 0 and group.levels(0) is factor.levels(0)
                if same and group.width == factor.n_out:
                    break
            else:
                groups.append(_Group(factor.levels, factor.n_out, 0, 0))
                i = len(groups) - 1
            groups[i].count += 1
            groups[i].ones -= 1
            index.append(i)
        before = 0
        for factor, i in zip(self.factors, index, strict=True):
            tall = not factor.gaussian and factor.n_out > factor.n_in
            groups[before].ones += factor.gaussian or tall
            groups[i].ones -= tall
            before = i
        return groups

    @functools.cached_property
    def _constant(self) -> float:
        """The constant of log lambda: sigma_l^2, and c_l of the tall orthogonal layers."""
        total = 0.0
        for factor in self.factors:
            total += factor.log_sigma_w2
            if not factor.gaussian and factor.n_out > factor.n_in:
                total -= np.log(factor.n_out / factor.n_in)
        return total + sum(g.count * np.log(self._last / g.width) for g in self._groups)

    def _ratio(self, group: _Group) -> float:
        return self._last / group.width

    @property
    def _rank(self) -> float:
        """Largest possible share of nonzero eigenvalues."""
        return min((1 - g.levels(0).mass_at_zero) * g.width for g in self._groups) / self._last

    @property
    def mass_at_zero(self) -> float:
        """Share of eigenvalues that are zero: what the narrowest layer leaves out."""
        return max(0.0, 1 - self._rank)

    @functools.cached_property
    def atoms(self) -> list[tuple[float, float]]:
        """Atoms of orthogonal networks: directions that every layer takes times one value."""
        if any(f.gaussian for f in self.factors):
            return []
        found = [(0.0, float(self.factors[0].n_in))]
        for f in self.factors:
            lost = max(0, f.n_in - f.n_out)
            atoms = [(value, mass) for value, mass in f.levels(0).atoms if value > 0]
            found = [
                (t + f.log_sigma_w2 + float(np.log(value)), left)
                for t, size in found
                for value, mass in atoms
                if (left := size - lost - f.n_out * (1 - mass)) > 1e-12 * self._last
            ]
        merged: dict[float, float] = {}
        for t, size in found:
            near = next((at for at in merged if abs(at - t) < 1e-12), t)
            merged[near] = merged.get(near, 0.0) + size / self._last
        return sorted(merged.items())

    # --- the equation ------------------------------------------------------------------------

    def _linearized(
        self, laws: list[DerivativeLaw], s: np.ndarray, logs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log lambda and its slope in s, how log y_l moves at fixed s and with s, and noise.

        s = -log m; ``logs`` holds log y_l, shape (groups, n). All are linearized around the
        constraints M_l(y_l) = m_l. The noise is what one rounding of each y_l does to log lambda:
        much next to an atom.
        """
        m = np.exp(-s)
        total, slope = s + self._constant, np.ones_like(s)
        fixed, moving = np.empty_like(logs), np.empty_like(logs)
        noise = np.full(s.shape, 1e-15 * (1 + len(self.factors)))
        with np.errstate(all="ignore"):
            for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
                y = np.exp(logs[i])
                M, one, dM = law.transform(y)
                own = self._ratio(group) * m
                fixed[i] = (own - M) / (dM * y) * (M / own)
                moving[i] = -own / (dM * y)
                total = total + group.count * (logs[i] + fixed[i] - s)
                slope = slope + group.count * (moving[i] - 1)
                power = self._power(i)
                if power:
                    one = one + (own - M)
                    total = total + power * np.log(one)
                    noise += 2e-16 * np.abs(power * dM * y / one)
                    slope = slope - power * own / one
        return total, slope, fixed, moving, noise

    def _power(self, i: int) -> int:
        """Return the power of 1 + m_l of a group in lambda; the last one stands in front too."""
        return self._groups[i].ones + (i == self._closing)

    @functools.cached_property
    def _closing(self) -> int:
        last = self.factors[-1]
        return next(
            i
            for i, g in enumerate(self._groups)
            if i > 0 and g.levels(0) is last.levels(0) and g.width == last.n_out
        )

    def solve(self, t: np.ndarray) -> Solution:
        """Return m and the distribution at t = log lambda."""
        fixed = all(g.levels(1) is g.levels(0) for g in self._groups)
        zero = self.mass_at_zero
        found = solve_levels(self._solve, t, fixed, zero)
        # A few points at the border of the thin tail need nodes four times as fine again.
        thick = (found.cdf > NEGLIGIBLE + zero) & (found.cdf < 1 - NEGLIGIBLE)
        left = ~found.converged & thick
        if left.any() and not fixed:
            finer = self._solve(LEVELS, t[left], None, True)
            for name in ("m", "cdf", "root", "converged"):
                getattr(found, name)[left] = getattr(finer, name)
        return found

    def smoothed(self, t: np.ndarray, height: float) -> Solution:
        """Return m and the distribution at log lambda = t + i height, smoothed by about height."""
        fixed = all(g.levels(1) is g.levels(0) for g in self._groups)
        solve = functools.partial(self._solve, height=height)
        return solve_levels(solve, t, fixed, last=SMOOTH_LEVEL)

    @property
    def negative_axis(self) -> tuple[np.ndarray, np.ndarray]:
        """The negative axis: log lambda(-x), ascending, and log(-m), descending."""
        return self._start[0], -self._start[1]

    def _solve(
        self,
        level: int,
        t: np.ndarray,
        guess: np.ndarray | None,
        insist: bool,
        height: float = 0.0,
    ) -> Solution:
        laws = [g.levels(level) for g in self._groups]
        start = self._fine_start if level else self._start
        t = t + 1j * height
        s, logs, size, count = self._polished(laws, guess, t)
        if (left := ~(size < TOLERANCE)).any():
            s[left], logs[:, left], size[left], more = self._march(laws, start, t[left], 20)
            count += more
        if (level < 2 or insist) and (left := ~(size < TOLERANCE)).any():
            s[left], logs[:, left], size[left], more = self._march(laws, start, t[left], 200, 2)
            count += more
        good = (size < TOLERANCE) & (s.imag > 0)
        if not (height and insist):
            for law, y in zip(laws, logs, strict=True):
                good &= law.resolves(np.exp(y), COARSE if insist else RESOLVED)
        worst = float(size[good].max()) if good.any() else 0.0
        nodes = max(law.d.size for law in laws)
        roots = np.vstack([s[None], logs]).T
        return Solution(np.exp(-s), self._cdf(laws, t, s, logs), roots, good, count, worst, nodes)

    def _polished(
        self, laws: list[DerivativeLaw], guess: np.ndarray | None, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Return roots, log y_l and last steps from those of coarser nodes, where they lead to one.

        It must be close to them, and as far from the nodes as sums are integrals: M_l(y_l) = m_l
        has further solutions between the nodes.
        """
        s, logs = np.zeros(t.size, complex), np.zeros((len(laws), t.size), complex)
        size = np.full(t.size, np.inf)
        if guess is None:
            return s, logs, size, 0
        s, logs = guess[:, 0].copy(), guess[:, 1:].T.copy()
        for _ in range(N_POLISH):
            s, logs, size = self._newton(laws, s, logs, t)
        moved = np.abs(np.vstack([s[None], logs]).T - guess).max(1)
        good = (size < TOLERANCE) & (moved < NEAR) & (s.imag > 0)
        for law, y in zip(laws, logs, strict=True):
            good &= law.resolves(np.exp(y))
        return s, logs, np.where(good, size, np.inf), N_POLISH

    def _march(
        self,
        laws: list[DerivativeLaw],
        start: tuple[np.ndarray, ...],
        t: np.ndarray,
        n_steps: int,
        n_inner: int = 0,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Rotate from the negative axis, then iterate; return roots, log y_l and last steps.

        With ``n_inner`` every step is followed by as many that solve for the y_l alone.
        """
        table, *starts = start
        real = np.array([np.interp(t.real, table, column) for column in starts])
        first = 1j * np.pi * (1 - 0.5 / n_steps)
        s, logs = real[0] + first, real[1:] + first
        for share in 1 - np.arange(1, n_steps) / n_steps:
            target = t + 1j * share * (np.pi - t.imag)
            s, logs, _ = self._newton(laws, s, logs, target, n_inner)
        size, active, count = np.full(t.size, np.inf), np.arange(t.size), n_steps - 1
        for _ in range(40):
            s[active], logs[:, active], size[active] = self._newton(
                laws, s[active], logs[:, active], t[active], n_inner
            )
            active = active[~(size[active] < TOLERANCE)]
            count += 1
            if not active.size:
                break
        return s, logs, size, count

    def _newton(
        self,
        laws: list[DerivativeLaw],
        s: np.ndarray,
        logs: np.ndarray,
        target: np.ndarray,
        n_inner: int = 0,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        F, slope, fixed, moving, noise = self._linearized(laws, s, logs)
        with np.errstate(all="ignore"):
            step = (target - F) / slope
            move = fixed + moving * step
            size = np.maximum(np.abs(step), np.abs(move).max(0))
            quiet = (np.abs(target - F) < noise) & (np.abs(fixed).max(0) < 1e-12)
            scale = np.minimum(1.0, LARGEST_STEP / np.maximum(size, 1e-300))
        bad = ~np.isfinite(size)
        size[quiet] = 0.0
        before = np.vstack([s[None], logs])
        # In 1 / m and y_l the equation is no more than quadratic, also at an edge where m diverges.
        with np.errstate(all="ignore"):
            after = before + np.log1p(scale * np.vstack([step[None], move]))
        after[:, bad] = before[:, bad]
        above = SHRINK * before.imag
        below = np.pi - SHRINK * (np.pi - before.imag)
        size[bad | ((after.imag < above) | (after.imag > below)).any(0)] = 1.0
        after = after.real + 1j * np.clip(after.imag, above, below)
        for _ in range(n_inner):
            after[1:] = self._constrained(laws, after[0], after[1:])
        return after[0], after[1:], size

    def _constrained(
        self, laws: list[DerivativeLaw], s: np.ndarray, logs: np.ndarray
    ) -> np.ndarray:
        """Return log y_l after a step to M_l(y_l) = m_l; 1 / M is nearly linear in y."""
        moved = logs.copy()
        for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
            y, own = np.exp(logs[i]), self._ratio(group) * np.exp(-s)
            with np.errstate(all="ignore"):
                M, _, dM = law.transform(y)
                step = (own - M) / (dM * y) * (M / own)
                step *= np.minimum(1.0, LARGEST_STEP / np.maximum(np.abs(step), 1e-300))
                new = logs[i] + np.log1p(step)
            low, high = SHRINK * logs[i].imag, np.pi - SHRINK * (np.pi - logs[i].imag)
            new = new.real + 1j * np.clip(new.imag, low, high)
            moved[i] = np.where(np.isfinite(new), new, logs[i])
        return moved

    @functools.cached_property
    def _start(self) -> tuple[np.ndarray, ...]:
        return self._axis(0)

    @functools.cached_property
    def _fine_start(self) -> tuple[np.ndarray, ...]:
        return self._axis(1)  # where phi' passes zero it has far smaller values of d

    def _axis(self, level: int) -> tuple[np.ndarray, ...]:
        """Return log lambda(-x), s and all log r_l on the negative axis, ascending."""
        log_r = np.concatenate(
            [np.linspace(-160, -62, 40), np.linspace(-60, 60, 901), np.linspace(62, 160, 40)]
        )
        groups = self._groups
        ends = [(1 - g.levels(0).mass_at_zero) * g.width for g in groups]
        narrow = int(np.argmin(ends))
        lm, l1 = groups[narrow].levels(level).negative(log_r)
        s = np.log(self._ratio(groups[narrow])) - lm
        columns = []
        total = s + self._constant
        for i, group in enumerate(groups):
            k = self._ratio(group) / self._ratio(groups[narrow])
            own_m = np.log(k) + lm
            one = (1 - k) + k * np.exp(l1) if k != 1 else np.exp(l1)
            own_l1 = np.log(np.maximum(one, 1e-300))
            table_m, table_1 = group.levels(level).negative(log_r)
            column = np.interp(own_l1 - own_m, table_1 - table_m, log_r)
            columns.append(column)
            total = total + group.count * (column - s) + self._power(i) * own_l1
        return total, s, *columns

    @property
    def t_min(self) -> float:
        """The smallest log lambda of the table of starts."""
        return float(self._start[0][0])

    def _cdf(
        self, laws: list[DerivativeLaw], t: np.ndarray, s: np.ndarray, logs: np.ndarray
    ) -> np.ndarray:
        """Return 1 - Im C / pi with the integral of eq. (S12), C taken from t to the real axis."""
        m = np.exp(-s)
        integral, angles = m * s + m + m * self._constant, np.zeros(t.size)
        with np.errstate(all="ignore"):
            for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
                y = np.exp(logs[i])
                own, one, _ = law.transform(y)
                share = 1 / self._ratio(group)
                if group.count:
                    integral += group.count * (share * one * logs[i] - m * s - m)
                    angles += group.count * share * law.mean_angle(y)
                integral += self._power(i) * share * (one * np.log(one) - own)
        return 1 - ((m * t.real - integral).imag + angles) / np.pi

    # --- edges -------------------------------------------------------------------------------

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        """Open intervals of log lambda without eigenvalues, ascending; the last is above all."""
        factors = [
            RealFactor(g.levels(1), self._ratio(g), g.count, self._power(i))
            for i, g in enumerate(self._groups)
        ]
        return layered_gaps(factors, self._constant, self._rank, self._top)

    def _top(self, values: list[float]) -> float:
        """Return log lambda of directions that every layer of a group takes times its value."""
        if any(f.gaussian for f in self.factors):
            return math.nan
        total = sum(f.log_sigma_w2 for f in self.factors)
        return total + sum(
            g.count * math.log(d) for g, d in zip(self._groups, values, strict=True) if g.count
        )

    def moments(self, n: int) -> np.ndarray:
        """Return m_1..m_n by Lagrange inversion."""
        k = np.arange(n)
        total = np.zeros(n)
        total[0] = np.exp(self._constant)
        for group in self._groups:
            if group.count:  # the constant has the ratio of every layer already
                layer = slope_factor(group.levels(0).moments(n)) * self._ratio(group) ** k
                ones = np.where(k < 2, self._ratio(group) ** k, 0.0)
                for _ in range(group.count):
                    total = multiply(total, layer)
                    total = multiply(total, ones)
        for i, group in enumerate(self._groups):
            total = multiply(total, self._ones(group, self._power(i), n))
        for group in self._groups:  # m_l / m is the ratio, which is part of the constant
            total = total / self._ratio(group) ** group.count
        return moments_of(total)

    def _ones(self, group: _Group, power_of: int, n: int) -> np.ndarray:
        k = np.arange(n)
        ones = np.where(k < 2, self._ratio(group) ** k, 0.0)
        return power(ones, power_of)


@functools.lru_cache(maxsize=1)
def _one() -> DerivativeLaw:
    return DerivativeLaw(np.ones(1), np.ones(1), True, ((1.0, 1.0),), np.zeros(1))


def _identity(level: int) -> DerivativeLaw:
    return _one()
