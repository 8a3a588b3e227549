"""The master equation of different layers: rectangular weights, any mixture of ensembles."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from tractable.spectra.derivative_law import LEVELS, RESOLVED, DerivativeLaw
from tractable.spectra.gaps import Gap
from tractable.spectra.homotopy import LARGEST_STEP, SHRINK, TOLERANCE
from tractable.spectra.master import COARSE, NEGLIGIBLE, Levels, Solution, solve_levels
from tractable.spectra.series import moments_of, multiply, power, slope_factor

__all__ = ["Factor", "LayeredEquation"]


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
        """The top atom of orthogonal networks: directions that no layer bends or drops."""
        if any(f.gaussian for f in self.factors):
            return []
        size, t = float(self.factors[0].n_in), 0.0
        for f in self.factors:
            value, mass = max(f.levels(0).atoms, default=(0.0, 0.0))
            if value < f.levels(0).largest or value == 0:
                return []
            size -= max(0, f.n_in - f.n_out) + f.n_out * (1 - mass)
            t += f.log_sigma_w2 + float(np.log(value))
        return [(t, size / self._last)] if size > 1e-12 * self._last else []

    # --- the equation ------------------------------------------------------------------------

    def _linearized(
        self, laws: list[DerivativeLaw], s: np.ndarray, logs: np.ndarray, *, real: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log lambda and its slope in s, and how log y_l moves: at fixed s, and with s.

        s = -log m; ``logs`` holds log y_l, shape (groups, n). All are linearized around the
        constraints M_l(y_l) = m_l.
        """
        m = np.exp(-s)
        total, slope = s + self._constant, np.ones_like(s)
        fixed, moving = np.empty_like(logs), np.empty_like(logs)
        with np.errstate(all="ignore"):
            for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
                y = np.exp(logs[i])
                M, one, dM = law.real(y) if real else law.transform(y)
                own = self._ratio(group) * m
                fixed[i], moving[i] = (own - M) / (dM * y), -own / (dM * y)
                total = total + group.count * (logs[i] + fixed[i] - s)
                slope = slope + group.count * (moving[i] - 1)
                power = self._power(i)
                if power:
                    log_one = np.log(np.abs(one)) if real else np.log(one)
                    total = total + power * (log_one + (own - M) / one)
                    slope = slope - power * own / one
        return total, slope, fixed, moving

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

    def _solve(self, level: int, t: np.ndarray, guess: np.ndarray | None, insist: bool) -> Solution:
        laws = [g.levels(level) for g in self._groups]
        s, logs, size, count = self._march(laws, t, 20)
        if (level < 2 or insist) and (left := ~(size < TOLERANCE)).any():
            s[left], logs[:, left], size[left], more = self._march(laws, t[left], 200)
            count += more
        good = (size < TOLERANCE) & (s.imag > 0)
        limit = COARSE if insist else RESOLVED
        for law, y in zip(laws, logs, strict=True):
            good &= law.resolves(np.exp(y), limit)
        worst = float(size[good].max()) if good.any() else 0.0
        nodes = max(law.d.size for law in laws)
        return Solution(np.exp(-s), self._cdf(laws, t, s, logs), s, good, count, worst, nodes)

    def _march(
        self, laws: list[DerivativeLaw], t: np.ndarray, n_steps: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Rotate from the negative axis, then iterate; return roots, log y_l and last steps."""
        table, *starts = self._start
        real = np.array([np.interp(t, table, column) for column in starts])
        first = 1j * np.pi * (1 - 0.5 / n_steps)
        s, logs = real[0] + first, real[1:] + first
        for theta in np.pi * (1 - np.arange(1, n_steps) / n_steps):
            s, logs, _ = self._newton(laws, s, logs, t + 1j * theta)
        size, active, count = np.full(t.size, np.inf), np.arange(t.size), n_steps - 1
        for _ in range(40):
            s[active], logs[:, active], size[active] = self._newton(
                laws, s[active], logs[:, active], t[active] + 0j
            )
            active = active[~(size[active] < TOLERANCE)]
            count += 1
            if not active.size:
                break
        return s, logs, size, count

    def _newton(
        self, laws: list[DerivativeLaw], s: np.ndarray, logs: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        F, slope, fixed, moving = self._linearized(laws, s, logs)
        noise = 1e-15 * (1 + len(self.factors))
        with np.errstate(all="ignore"):
            step = (target - F) / slope
            move = fixed + moving * step
            size = np.maximum(np.abs(step), np.abs(move).max(0))
            quiet = (np.abs(target - F) < noise) & (np.abs(fixed).max(0) < 1e-12)
            scale = np.minimum(1.0, LARGEST_STEP / np.maximum(size, 1e-300))
        bad = ~np.isfinite(size)
        size[quiet] = 0.0
        before = np.vstack([s[None], logs])
        after = before + scale * np.vstack([step[None], move])
        after[:, bad] = before[:, bad]
        above = SHRINK * before.imag
        below = np.pi - SHRINK * (np.pi - before.imag)
        size[bad | ((after.imag < above) | (after.imag > below)).any(0)] = 1.0
        after = after.real + 1j * np.clip(after.imag, above, below)
        return after[0], after[1:], size

    @functools.cached_property
    def _start(self) -> tuple[np.ndarray, ...]:
        """Return log lambda(-x), s and all log r_l on the negative axis, ascending."""
        log_r = np.concatenate(
            [np.linspace(-160, -62, 40), np.linspace(-60, 60, 901), np.linspace(62, 160, 40)]
        )
        groups = self._groups
        ends = [(1 - g.levels(0).mass_at_zero) * g.width for g in groups]
        narrow = int(np.argmin(ends))
        lm, l1 = groups[narrow].levels(0).negative(log_r)
        s = np.log(self._ratio(groups[narrow])) - lm
        columns = []
        total = s + self._constant
        for i, group in enumerate(groups):
            k = self._ratio(group) / self._ratio(groups[narrow])
            own_m = np.log(k) + lm
            one = (1 - k) + k * np.exp(l1) if k != 1 else np.exp(l1)
            own_l1 = np.log(np.maximum(one, 1e-300))
            table_m, table_1 = group.levels(0).negative(log_r)
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
        """Return 1 - Im C / pi with the integral of eq. (S12)."""
        m = np.exp(-s)
        integral = m * s + m + m * self._constant
        with np.errstate(all="ignore"):
            for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
                y = np.exp(logs[i])
                own, one, _ = law.transform(y)
                share = 1 / self._ratio(group)
                if group.count:
                    integral += group.count * (
                        share * (one * logs[i] - law.mean_log(y)) - m * s - m
                    )
                integral += self._power(i) * share * (one * np.log(one) - own)
        return 1 - (m * t - integral).imag / np.pi

    # --- edges -------------------------------------------------------------------------------

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        """The gap above the support, and the one below a top atom."""
        upper = self._edge(above=True)
        if not self.atoms:
            return [Gap(upper, np.inf, 1.0)]
        t, mass = self.atoms[0]
        found = [Gap(t, np.inf, 1.0)]
        lower = self._edge(above=False)
        return [Gap(lower, t, 1 - mass), *found] if lower < t - 1e-11 else found

    def _edge(self, *, above: bool) -> float:
        """Return log lambda where it stops to rise: from m = 0 up, or from m = -inf."""
        laws = [g.levels(min(1, LEVELS - 1)) for g in self._groups]
        x = np.linspace(-36.0, 20.0, 400) if above else np.linspace(1e-9, 20.0, 400)[::-1]

        def slope_at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            m = np.exp(x) if above else -np.exp(x)
            logs = np.array(
                [
                    np.log(_invert(law, self._ratio(g) * m, above))
                    for g, law in zip(self._groups, laws, strict=True)
                ]
            )
            # With m < 0 the phases of s and of log m_l cancel: all is real.
            s = -np.log(np.abs(m))
            F, slope, *_ = self._signed(laws, s, logs, np.sign(m))
            return F, slope

        F, slope = slope_at(x)
        turned = np.flatnonzero(slope <= 0)
        if not turned.size or turned[0] == 0:
            return float(F[-1] if not turned.size else F[0])
        a, b = x[turned[0] - 1], x[turned[0]]
        edge = brentq(lambda v: float(slope_at(np.array([v]))[1][0]), min(a, b), max(a, b))
        return float(slope_at(np.array([edge]))[0][0])

    def _signed(
        self, laws: list[DerivativeLaw], s: np.ndarray, logs: np.ndarray, sign: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log lambda and its slope in s for real m of either sign."""
        m = sign * np.exp(-s)
        total, slope = s + self._constant, np.ones_like(s)
        for i, (group, law) in enumerate(zip(self._groups, laws, strict=True)):
            y = np.exp(logs[i])
            _, one, dM = law.real(y)
            own = self._ratio(group) * m
            total = total + group.count * (logs[i] - s) + self._power(i) * np.log(np.abs(one))
            slope = slope + group.count * (-own / (dM * y) - 1) - self._power(i) * own / one
        # Below an atom lambda falls as |m| falls: s and lambda rise together on both branches.
        return total, slope if sign[0] > 0 else -slope

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


def _invert(law: DerivativeLaw, target: np.ndarray, above: bool) -> np.ndarray:
    """Return y with M(y) = target: above the largest d, or in the gap just below it."""
    top = law.largest
    below = float(law.d[-2]) if law.d.size > 1 else 0.0
    low, high = np.full(target.size, -80.0), np.full(target.size, 80.0)

    def place(x: np.ndarray) -> np.ndarray:
        return top + np.exp(x) if above else below + (top - below) / (1 + np.exp(-x))

    for _ in range(90):
        x = 0.5 * (low + high)
        y = np.where(place(x) == top, np.nextafter(top, np.inf if above else 0), place(x))
        big = law.real(y)[0] > target  # M falls with y on every gap
        low, high = np.where(big, x, low), np.where(big, high, x)
    y = place(0.5 * (low + high))
    return np.where(y == top, np.nextafter(top, np.inf if above else 0), y)
