"""Mean field of a deep network at initialization: length map, correlation map, their scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from tractable.core.checks import check_finite, check_range
from tractable.core.gaussian import pair_expectation
from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.moment_table import LARGEST_Q, SMALLEST_Q, moment_table

__all__ = ["MeanField", "QStar"]

MARGINAL = 1e-9  # |slope - 1| below it counts as marginal
FARTHEST_Q = 1e14  # up to which fixed points are looked for
N_BEYOND = 65  # variances looked at on either side of the table


@dataclass(frozen=True)
class QStar:
    """A fixed point of the length map q' = V(q)."""

    value: float
    """The fixed point; ``inf`` where q grows without bound (beyond 1e14) from layer to layer."""
    stable: bool
    """Whether it does not repel: the slope chi_q <= 1 (ReLU is marginal: every q is fixed)."""
    n_fixed: int
    """Number of fixed points, 0 among them when V(0) = 0; -1 where every q is fixed."""


@dataclass(frozen=True)
class MeanField:
    r"""Signal propagation in the limit of infinite width, for one nonlinearity and one (w, b).

    Layers are h = W phi(h) + b with variances sigma_w^2 / N of the weights and sigma_b^2 of the
    biases. The length map (S2), its slope (S3), the correlation map (S4) and the three depth scales
    (S6).

    Parameters
    ----------
    phi : Nonlinearity, str or callable
        The nonlinearity.
    sigma_w, sigma_b : float
        Standard deviations (not variances): weights have the variance sigma_w^2 / N. A network of
        the literature's "sigma_w^2 = 1.05" is ``sigma_w=1.05**0.5``.

    Raises
    ------
    ValueError
        When sigma_w <= 0 or sigma_b < 0, and when E[phi^2] does not exist.

    References
    ----------
    Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv:1606.05340. Schoenholz, Gilmer,
    Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232.

    Examples
    --------
    >>> field = MeanField("tanh", sigma_w=1.3, sigma_b=0.05**0.5)
    >>> field.q_star()
    QStar(value=0.527087107869, stable=True, n_fixed=1)
    >>> field.chi(), field.xi_c()
    (0.984512193, 64.06)
    """

    phi: Nonlinearity
    sigma_w: float
    sigma_b: float

    def __init__(
        self, phi: Nonlinearity | str | Callable[..., Any], sigma_w: float, sigma_b: float
    ) -> None:
        check_finite("sigma_w", sigma_w)
        check_finite("sigma_b", sigma_b)
        check_range("sigma_w", sigma_w, 0, open_low=True)
        check_range("sigma_b", sigma_b, 0)
        object.__setattr__(self, "phi", as_nonlinearity(phi))
        object.__setattr__(self, "sigma_w", float(sigma_w))
        object.__setattr__(self, "sigma_b", float(sigma_b))

    @property
    def sigma_w2(self) -> float:
        """Variance of the weights times the width."""
        return self.sigma_w**2

    @property
    def sigma_b2(self) -> float:
        """Variance of the biases."""
        return self.sigma_b**2

    # --- the length of one signal ------------------------------------------------------------

    def length_map(self, q: float) -> float:
        """Return V(q) = sigma_w^2 E[phi(h)^2] + sigma_b^2, eq. (S2)."""
        return self.sigma_w2 * self.phi.second_moment(q) + self.sigma_b2

    def slope(self, q: float) -> float:
        """Return V'(q) = sigma_w^2 E[phi(h) phi'(h) h] / q, eq. (S3), which needs no phi''."""
        check_range("q", q, 0, open_low=True)
        phi = self.phi
        return self.sigma_w2 / q * phi.mean(lambda h: phi(h) * phi.deriv(h) * h, q)

    def q_star(self, q0: float | None = None) -> QStar:
        """Return the fixed point that the length map reaches from q0.

        Parameters
        ----------
        q0 : float, optional
            Variance of the first layer's pre-activations; by default 1.

        Examples
        --------
        >>> MeanField("tanh", 0.9, 0.0).q_star()
        QStar(value=0.0, stable=True, n_fixed=1)
        >>> MeanField("relu", 2**0.5, 0.0).q_star()
        QStar(value=1.0, stable=True, n_fixed=-1)
        """
        start = 1.0 if q0 is None else float(q0)
        check_finite("q0", start)
        check_range("q0", start, 0, open_low=True)
        grid, excess = self._excess()
        if np.abs(excess / (grid + self.sigma_b2)).max() < MARGINAL:
            return QStar(start, True, -1)
        crossings = np.flatnonzero(np.sign(excess[:-1]) * np.sign(excess[1:]) < 0)
        zero_is_fixed = self.sigma_b == 0 and abs(float(self.phi(0.0))) == 0
        n_fixed = len(crossings) + zero_is_fixed
        now = self.length_map(start) - start
        if abs(now) <= 1e-15 * start:
            return QStar(start, self._stable(start), n_fixed)
        if now > 0:
            beyond = [i for i in crossings if grid[i + 1] > start and excess[i] > 0]
            if not beyond:
                return QStar(math.inf, True, n_fixed)
            low, high = max(grid[beyond[0]], start), grid[beyond[0] + 1]
        else:
            below = [i for i in crossings if grid[i] < start and excess[i] > 0]
            if not below:
                return QStar(0.0, True, n_fixed)
            low, high = grid[below[-1]], min(grid[below[-1] + 1], start)
        value = self._refine(float(low), float(high))
        return QStar(value, self._stable(value), n_fixed)

    def _excess(self) -> tuple[np.ndarray, np.ndarray]:
        """Return variances and V(q) - q there: the table's, and beyond it where V crosses q."""
        table = moment_table(self.phi)
        grid, excess = table.q, table.excess(self.sigma_w2, self.sigma_b2)
        if excess[-1] > 0 and grid[-1] == LARGEST_Q:  # V may come down to q at larger ones
            above = np.geomspace(LARGEST_Q, FARTHEST_Q, N_BEYOND)[1:]
            beyond = np.array([self.length_map(float(q)) - q for q in above])
            beyond[np.abs(beyond) < 1e-12 * above] = 0.0  # rounding
            grid, excess = np.append(grid, above), np.append(excess, beyond)
        at_zero = self.sigma_w2 * float(self.phi(0.0)) ** 2 + self.sigma_b2
        if excess[0] < 0 < at_zero:  # V is above q at zero and below it at the smallest q
            below = np.geomspace(1e-3 * min(at_zero, SMALLEST_Q), SMALLEST_Q, N_BEYOND)[:-1]
            beyond = np.array([self.length_map(float(q)) - q for q in below])
            grid, excess = np.append(below, grid), np.append(beyond, excess)
        return grid, excess

    def _refine(self, low: float, high: float) -> float:
        def excess(t: float) -> float:
            return self.length_map(math.exp(t)) / math.exp(t) - 1

        a, b = math.log(low), math.log(high)
        if excess(a) * excess(b) > 0:  # the table's sign change sits on the last digit
            return low if abs(excess(a)) < abs(excess(b)) else high
        return math.exp(brentq(excess, a, b, xtol=1e-15, rtol=4 * np.finfo(float).eps))

    def _stable(self, q: float) -> bool:
        return self.slope(q) <= 1 + MARGINAL

    def trajectory(self, q0: float, L: int) -> np.ndarray:
        """Return q^1 = q0, q^2, ..., q^L: the variance at each layer, shape (L,)."""
        check_range("L", L, 1)
        q = [float(q0)]
        for _ in range(L - 1):
            q.append(self.length_map(q[-1]) if math.isfinite(q[-1]) and q[-1] < 1e150 else math.inf)
        return np.array(q)

    # --- two signals, and gradients ----------------------------------------------------------

    def _q(self, q: float | None) -> float:
        if q is None:
            q = self.q_star().value
        if not math.isfinite(q):
            raise ValueError(
                f"the length map of {self.phi.name} at sigma_w={self.sigma_w:g}, "
                f"sigma_b={self.sigma_b:g} has no finite fixed point: q grows from layer to layer; "
                f"give q, or lower sigma_w"
            )
        return max(q, SMALLEST_Q)

    def chi(self, q: float | None = None) -> float:
        """Return chi_1 = sigma_w^2 E[phi'(h)^2] at q (default q*): growth of a gradient per layer.

        Eq. (S5): 1 on the critical line; the mean eigenvalue of J J^T is chi^L.
        """
        return self.sigma_w2 * self.phi.mu(1, self._q(q))

    def chi_q(self, q: float | None = None) -> float:
        """Return the slope of the length map at q (default q*); q* repels when it is above 1."""
        return self.slope(self._q(q))

    def c_map(self, c: float, q: float | None = None) -> float:
        """Return C(c) = (sigma_w^2 E[phi(u1) phi(u2)] + sigma_b^2) / q, eq. (S4).

        Divided by V(q) in place of q when q is not a fixed point, so that C(1) = 1.
        """
        q = self._q(q)
        mean = pair_expectation(self.phi, q, c, self.phi.kinks)
        return (self.sigma_w2 * mean + self.sigma_b2) / self.length_map(q)

    def c_slope(self, c: float, q: float | None = None) -> float:
        """Return C'(c) = sigma_w^2 E[phi'(u1) phi'(u2)]; at c = 1 it is chi."""
        q = self._q(q)
        return self.sigma_w2 * pair_expectation(self.phi.deriv, q, c, self.phi.kinks)

    def c_star(self, q: float | None = None) -> float:
        """Return the stable fixed point of the correlation map: 1 unless chi > 1."""
        q = self._q(q)
        chi = self.chi(q)
        if chi <= 1 + MARGINAL:
            return 1.0
        length = self.length_map(q)

        def excess(gap: float) -> float:
            mean = pair_expectation(self.phi, q, 1 - gap, self.phi.kinks, one_minus_c=gap)
            return (self.sigma_w2 * mean + self.sigma_b2) / length - (1 - gap)

        # C is convex on [0, 1]: one root below 1, and the excess is negative just below 1.
        if excess(1.0) <= 0:
            return 0.0 if abs(excess(1.0)) < 1e-13 else 1 - brentq(excess, 1.0, 2.0, xtol=1e-15)
        near = 1e-2 * min(chi - 1, 1.0)
        while excess(near) >= 0:
            near /= 10
            if near < 1e-9:  # chi exceeds 1 by less than the integrals resolve
                return 1.0
        return 1 - brentq(excess, near, 1.0, xtol=1e-15, rtol=1e-14)

    # --- depth scales ------------------------------------------------------------------------

    def xi_q(self, q: float | None = None) -> float:
        """Return the number of layers over which q relaxes to q*: -1 / log chi_q."""
        return _depth_scale(self.chi_q(q))

    def xi_c(self, q: float | None = None) -> float:
        """Return the number of layers over which correlations relax to c*: -1 / log C'(c*)."""
        q = self._q(q)
        c = self.c_star(q)
        return _depth_scale(self.chi(q) if c == 1.0 else self.c_slope(c, q))

    def xi_grad(self, q: float | None = None) -> float:
        """Return -1 / log chi_1, in layers: gradients vanish when positive, explode when negative.

        Infinite on the critical line.
        """
        return _depth_scale(self.chi(q))


def _depth_scale(slope: float) -> float:
    if abs(slope - 1) <= MARGINAL:
        return math.inf
    return -1 / math.log(slope) if slope > 0 else 0.0
