"""The two limit laws of deep isometric networks, and which of them a nonlinearity reaches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import lambertw

from tractable.core.checks import check_choice, check_finite, check_range
from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.gaps import Gap
from tractable.spectra.homotopy import rotate
from tractable.spectra.law import SpectralLaw
from tractable.spectra.master import Solution
from tractable.spectra.phase import ENSEMBLES
from tractable.spectra.series import moments_of, multiply, series_exp

__all__ = ["UniversalSpectrum", "Universality", "universality_class"]


class UniversalSpectrum(SpectralLaw):
    r"""The limit of infinite depth at fixed variance sigma_0^2 = L v: orthogonal weights, chi = 1.

    ``"bernoulli"``: S = exp(-sigma_0^2 m / (1 + m)), eq. (S16), of hard-tanh and shifted ReLU.
    ``"smooth"``: S = exp(-sigma_0^2 m), eq. (S17), of tanh, erf and every smooth phi.

    Parameters
    ----------
    kind : {"bernoulli", "smooth"}
        Universality class.
    sigma0_2 : float
        Variance of the eigenvalues, > 0.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, section 4.

    Examples
    --------
    >>> UniversalSpectrum("smooth", 0.25).support
    [(0.321319, 2.423763)]
    >>> UniversalSpectrum("bernoulli", 0.25).atoms
    [(1.284025, 0.75)]
    """

    def __init__(self, kind: str, sigma0_2: float) -> None:
        check_choice("kind", kind, ("bernoulli", "smooth"))
        check_finite("sigma0_2", sigma0_2)
        check_range("sigma0_2", sigma0_2, 0, open_low=True)
        self.kind, self.sigma0_2 = kind, float(sigma0_2)
        make = _Bernoulli if kind == "bernoulli" else _Smooth
        super().__init__(make(self.sigma0_2))

    def __repr__(self) -> str:
        return f"UniversalSpectrum({self.kind!r}, sigma0_2={self.sigma0_2:g})"


@dataclass(frozen=True)
class _Bernoulli:
    """u = m / (1 + m) = -W(-sigma_0^2 / lambda) / sigma_0^2."""

    sigma0_2: float
    mass_at_zero: float = 0.0
    t_min: float = -690.0

    def solve(self, t: np.ndarray) -> Solution:
        s2 = self.sigma0_2
        u = -lambertw(-s2 * np.exp(-t)) / s2
        m = u / (1 - u)
        l1 = -np.log(1 - u)  # log(1 + m)
        integral = (m + 1) * l1 - m * (np.log(u) + l1) + s2 * (m - l1)
        cdf = 1 - (m * t - integral).imag / np.pi
        return Solution(m, cdf, u, np.full(t.size, True), 1, 0.0, 0)

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        edge = 1 + math.log(self.sigma0_2)
        if self.sigma0_2 >= 1:
            return [Gap(edge, math.inf, 1.0)]
        atom = self.sigma0_2
        return [Gap(edge, atom, self.sigma0_2), Gap(atom, math.inf, 1.0)]

    @property
    def atoms(self) -> list[tuple[float, float]]:
        return [(self.sigma0_2, 1 - self.sigma0_2)] if self.sigma0_2 < 1 else []

    def moments(self, n: int) -> np.ndarray:
        one = _one_plus_m(n)
        ratio = np.zeros(n)
        ratio[1:] = -((-1.0) ** np.arange(1, n))  # m / (1 + m)
        return moments_of(multiply(one, series_exp(self.sigma0_2 * ratio)))


@dataclass(frozen=True)
class _Smooth:
    """log lambda = log((1 + m) / m) + sigma_0^2 m."""

    sigma0_2: float
    mass_at_zero: float = 0.0
    t_min: float = -690.0

    def _residual(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return F and dF/ds at s = -log m, whose strip is that of the master equation."""
        m = np.exp(-s)
        return np.log1p(m) + s + self.sigma0_2 * m, 1 / (1 + m) - self.sigma0_2 * m

    def solve(self, t: np.ndarray) -> Solution:
        r = np.geomspace(1e-13, 800.0, 3000)  # m = -exp(-r) on the negative axis
        start = np.log(-np.expm1(-r)) + r - self.sigma0_2 * np.exp(-r)
        roots = rotate(
            self._residual, np.interp(t, start, r), t, lambda s, rest: s - rest, noise=1e-15
        )
        m = np.exp(-roots.s)
        l1, s2 = np.log1p(m), self.sigma0_2
        integral = (1 + m) * l1 + m * roots.s + 0.5 * s2 * m * m
        cdf = 1 - (m * t - integral).imag / np.pi
        return Solution(
            m, cdf, roots.s, roots.converged, roots.evaluations, roots.residual, n_nodes=0
        )

    @functools.cached_property
    def gaps(self) -> list[Gap]:
        root = math.sqrt(1 + 4 / self.sigma0_2)
        low, high = (
            math.log((1 + m) / m) + self.sigma0_2 * m for m in ((-1 - root) / 2, (-1 + root) / 2)
        )
        return [Gap(-math.inf, low, 0.0), Gap(high, math.inf, 1.0)]

    @property
    def atoms(self) -> list[tuple[float, float]]:
        return []

    def moments(self, n: int) -> np.ndarray:
        m = np.zeros(n)
        if n > 1:
            m[1] = self.sigma0_2
        return moments_of(multiply(_one_plus_m(n), series_exp(m)))


def _one_plus_m(n: int) -> np.ndarray:
    one = np.zeros(n)
    one[: min(n, 2)] = 1.0
    return one


@dataclass(frozen=True)
class Universality:
    """The universality class of a nonlinearity, and why."""

    kind: Literal["bernoulli", "smooth", "delta", "none"]
    """``delta``: all singular values equal; ``none``: no isometric limit exists."""
    reason: str
    """One sentence."""


def universality_class(
    phi: Nonlinearity | str | Callable[..., Any], ensemble: str = "orthogonal"
) -> Universality:
    """Return the limit law that deep networks of this nonlinearity reach at fixed L v.

    Examples
    --------
    >>> [universality_class(phi).kind for phi in ("hard_tanh", "tanh", "relu", "linear")]
    ['bernoulli', 'smooth', 'none', 'delta']
    >>> universality_class("tanh", "gaussian").reason
    'Gaussian weights add at least 1 per layer to the variance: it is at least L at every q*'
    """
    check_choice("ensemble", ensemble, ENSEMBLES)
    phi = as_nonlinearity(phi)
    if ensemble == "gaussian":
        return Universality(
            "none",
            "Gaussian weights add at least 1 per layer to the variance: it is at least L at every "
            "q*",
        )
    if phi.is_linear:
        return Universality("delta", "orthogonal matrices only: all singular values are equal")
    at_zero = phi.deriv(np.array([-1e-7, 1e-7]))
    if abs(at_zero[0] - at_zero[1]) > 1e-5:
        return Universality(
            "none",
            f"phi' of {phi.name} jumps at 0 ({at_zero[0]:.4g} to {at_zero[1]:.4g}): the variance "
            f"per layer does not vanish with q*",
        )
    if abs(at_zero[0]) < 1e-5:
        return Universality("none", f"phi' of {phi.name} vanishes at 0: no critical point")
    if phi.slopes is None:
        return Universality("smooth", f"phi' of {phi.name} is continuous and curved at 0")
    inner = float(at_zero[0])
    if all(slope in (0.0, inner) for slope in phi.slopes):
        return Universality(
            "bernoulli", f"{phi.name} is straight around 0 and flat beyond its kinks"
        )
    return Universality(
        "none", f"{phi.name} has slopes {phi.slopes}: neither class, its own limit law"
    )
