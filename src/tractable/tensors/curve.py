"""All fixed points of state evolution at rank 1, on one explicit curve.

With t = prod_a n_a M_a / Delta the modes decouple: mode a sees A_a = t / (n_a M_a), so that
t = n_a A_a M_a(A_a) has one root, and the noise at which these overlaps are a fixed point is
Delta(t) = prod_a n_a M_a / t. There is no iteration and no continuation: the curve holds the branch
that message passing finds, the informed one, and the unstable one between them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import CubicSpline

from tractable.core.checks import as_floats, check_finite
from tractable.tensors.channel import scalar_channel
from tractable.tensors.model import aspect_ratios
from tractable.tensors.priors import Custom, Gaussian, Prior, as_priors

__all__ = ["FixedPointCurve", "fixed_point_curve"]

Array = np.ndarray
LOG_T = (-32.0, 16.0, 481)


def _log_grid(custom: bool) -> Array:
    """Return log of A E[x^2] for a table; below A = e^-8 there is little to resolve."""
    high, n = (7.5, 90) if custom else (10.5, 180)
    return np.concatenate([np.linspace(-44, -8, 60, endpoint=False), np.linspace(-8, high, n)])


@dataclass(frozen=True)
class Channel:
    """M(A), its elasticity d log M / d log A, E log Z, and the root of t = n A M(A)."""

    prior: Prior
    splines: tuple[CubicSpline, CubicSpline, CubicSpline] | None = field(default=None, repr=False)
    normal: tuple[float, float] | None = None
    """Mean and variance of a Gaussian prior."""

    @property
    def zero_mean(self) -> bool:
        """Whether E[x] = 0."""
        return abs(float(self.prior.moments(1)[0])) < 1e-12

    @property
    def second(self) -> float:
        """E[x^2]."""
        return float(self.prior.moments(1)[1])

    def at(self, t: Array, n: float) -> tuple[Array, Array, Array, Array]:
        """Return A, M, the elasticity and E log Z where n A M(A) = t."""
        if self.normal is not None:
            mean, var = self.normal
            # With s the variance and m the mean, n M^2 + (t s - n m^2) M ... is quadratic in M.
            b = t * var - mean**2 * n
            root = np.sqrt(b**2 + 4 * n * t * var * (mean**2 + var))
            c = 2 * t * var * (mean**2 + var)
            M = np.where(b > 0, c / np.where(b > 0, b + root, 1.0), (root - b) / (2 * n))
            A = t / (n * M)
            C = var / (1 + var * A)
            log_z = (A * (mean**2 + var) - np.log1p(var * A)) / 2
            return A, M, A * C**2 / M, log_z
        assert self.splines is not None
        log_m, elasticity, entropy = self.splines
        s = self._root(np.log(t / n))
        M = np.exp(log_m(s))
        return np.exp(s), M, elasticity(s), np.exp(entropy(s))

    def ends(self, n: float) -> tuple[float, float]:
        """Return the smallest and largest log t that the table holds."""
        if self.splines is None:
            return -np.inf, np.inf
        s = self.splines[0].x[[0, -1]]
        low, high = s + self.splines[0](s) + np.log(n)
        return float(low), float(high)

    def _root(self, target: Array) -> Array:
        """Return s = log A with s + log M(s) = target, by Newton from the table."""
        assert self.splines is not None
        log_m = self.splines[0]
        grid = log_m.x
        s = np.interp(target, grid + log_m(grid), grid)
        for _ in range(4):
            s = s - (s + log_m(s) - target) / (1 + log_m(s, 1))
            s = np.clip(s, grid[0], grid[-1])
        return s


def channel_of(prior: Prior) -> Channel:
    """Return the channel of a prior; what is not Gaussian is tabulated in log A once."""
    if isinstance(prior, Gaussian):
        mean, var = (float(value) for value in prior.parameters(1))
        return Channel(prior, normal=(mean, var))
    s = _log_grid(isinstance(prior, Custom)) - np.log(float(prior.moments(1)[1]))
    A = np.exp(s)
    M, slope, log_z = scalar_channel(prior, A)
    first = float(prior.moments(1)[0]) ** 2
    # E log Z = integral of M / 2; for small A it is below the rounding of its own definition.
    small = A < 1e-6
    log_z = np.where(small, A * (first + M) / 4, log_z)
    elasticity = A * slope / M
    splines = (
        CubicSpline(s, np.log(M)),
        CubicSpline(s, elasticity),
        CubicSpline(s, np.log(np.maximum(log_z, 1e-300))),
    )
    return Channel(prior, splines)


@dataclass(frozen=True)
class FixedPointCurve:
    """The curve of all fixed points of a shape and its priors, parametrized by t."""

    aspect: Array
    channels: tuple[Channel, ...]
    t: Array
    """Grid, (K,), logarithmic and rising."""
    noise: Array
    """Delta(t), (K,)."""
    slope: Array
    """d log Delta / d log t, (K,)."""

    @property
    def order(self) -> int:
        """Number of modes p."""
        return len(self.aspect)

    @property
    def n_zero_mean(self) -> int:
        """Modes whose prior has zero mean."""
        return sum(channel.zero_mean for channel in self.channels)

    def at(self, t: Array | float) -> tuple[Array, Array, Array, Array]:
        """Return overlaps (K, p), noise, slope and free entropy per N (K,) at t, (T22)-(T24)."""
        t = np.atleast_1d(as_floats("t", t))
        check_finite("t", t)
        modes, which = self._modes
        known = [channel.at(t, n) for channel, n, _ in modes]
        parts = [known[i] for i in which]
        _, M, elasticity, entropy = (np.stack(part, -1) for part in zip(*parts, strict=True))
        log_noise = np.log(self.aspect * M).sum(-1) - np.log(t)
        slope = (elasticity / (1 + elasticity)).sum(-1) - 1
        phi = (self.aspect * entropy).sum(-1) - (self.order - 1) * t / 2
        return M, np.exp(log_noise), slope, phi

    @functools.cached_property
    def _modes(self) -> tuple[list[tuple[Channel, float, int]], list[int]]:
        """Channel, aspect ratio and number of the modes that differ, and which each mode is."""
        keys = [(id(c), float(n)) for c, n in zip(self.channels, self.aspect, strict=True)]
        first = list(dict.fromkeys(keys))
        differing = [(self.channels[keys.index(key)], key[1], keys.count(key)) for key in first]
        return differing, [first.index(key) for key in keys]

    def log_noise(self, log_t: Array) -> tuple[Array, Array]:
        """Return log Delta and its slope at log t, as `at` does, and nothing else."""
        t = np.exp(log_t)
        log_noise, slope = -log_t, np.full_like(log_t, -1.0)
        for channel, n, count in self._modes[0]:
            _, M, elasticity, _ = channel.at(t, n)
            log_noise = log_noise + count * np.log(n * M)
            slope += count * elasticity / (1 + elasticity)
        return log_noise, slope

    def turning_points(self) -> Array:
        """Return the t at which Delta(t) turns, ascending: minima and maxima alternate, (T23)."""
        from scipy.optimize import brentq

        signs = np.sign(self.slope)
        changes = np.flatnonzero(signs[1:] * signs[:-1] < 0)
        log_t = np.log(self.t)
        roots = [
            brentq(lambda s: self.log_noise(np.array([s]))[1][0], *log_t[i : i + 2], xtol=1e-13)
            for i in changes
        ]
        return np.exp(np.array(roots))

    def solve(self, noise: Array | float, low: float, high: float) -> Array:
        """Return t with Delta(t) = noise between two turning points (or ends), by safe Newton.

        Where the branch does not reach a noise level, its nearer end is returned.
        """
        target = np.log(np.atleast_1d(np.asarray(noise, float)))
        inside = (self.t > low) & (self.t < high)
        ends = np.array([max(low, self.t[0]), min(high, self.t[-1])])
        s = np.log(np.concatenate([ends[:1], self.t[inside], ends[1:]]))
        at_ends = self.at(ends)[1]
        log_noise = np.log(np.concatenate([at_ends[:1], self.noise[inside], at_ends[1:]]))
        rising = log_noise[-1] > log_noise[0]
        order = slice(None) if rising else slice(None, None, -1)
        guess = np.interp(target, log_noise[order], s[order])
        left = np.full_like(guess, s[0])
        right = np.full_like(guess, s[-1])
        sign = 1.0 if rising else -1.0
        for _ in range(60):
            value, slope = self.log_noise(guess)
            error = value - target
            above = sign * error > 0
            right, left = np.where(above, guess, right), np.where(above, left, guess)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = guess - error / slope
            bad = ~((step >= left) & (step <= right))
            step = np.where(bad, (left + right) / 2, step)
            done = np.abs(step - guess).max() < 1e-11  # the next step is below rounding
            guess = step
            if done:
                break
        return np.exp(guess)


def fixed_point_curve(
    shape: Sequence[float], priors: Prior | str | Sequence[Prior | str]
) -> FixedPointCurve:
    """Return the curve of all fixed points at rank 1, (T22).

    Parameters
    ----------
    shape : sequence of float
        Sizes or aspect ratios.
    priors : Prior, str, or one for each mode
        Scalar priors; Gaussian ones in closed form, others from a table in A.

    Examples
    --------
    >>> curve = fixed_point_curve((1, 1, 1), "gaussian(0.3)")
    >>> curve.at(curve.turning_points())[1].round(5).tolist()
    [0.32338, 0.36042]
    """
    aspect = aspect_ratios(shape)
    made = as_priors(priors, len(aspect))
    for prior in made:
        if prior.rank not in (None, 1):
            raise ValueError(f"the curve is that of rank 1, got {prior!r} of rank {prior.rank}")
    known = {id(prior): channel_of(prior) for prior in made}
    channels = tuple(known[id(prior)] for prior in made)
    ends = [channel.ends(n) for channel, n in zip(channels, aspect, strict=True)]
    low = max(LOG_T[0], *(end[0] for end in ends))
    high = min(LOG_T[1], *(end[1] for end in ends))
    t = np.exp(np.linspace(low, high, int(LOG_T[2])))
    curve = FixedPointCurve(aspect, channels, t, t, t)
    _, noise, slope, _ = curve.at(t)
    return FixedPointCurve(aspect, channels, t, noise, slope)
