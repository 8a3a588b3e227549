"""Laws in the plane to learn: a swiss roll, a ring, a grid of Gaussians.

Each is a curve or a set of points with Gaussian noise: an equal mixture of narrow Gaussians, so
that its density and its distance from a single Gaussian are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import (
    as_floats,
    check_choice,
    check_count,
    check_finite,
    check_range,
    check_shape,
)
from tractable.walkback.distances import squared_distances

__all__ = ["TOYS", "Toy", "gaussian_mmd2", "grid_mixture", "ring", "swiss_roll", "toy"]

NODES = 2000  # of a curve: their distance is a fifth of the noise or less
BLOCK = 500
NEGLIGIBLE = 48.0  # in the exponent: e^-48 of thousands of centers is below rounding


@dataclass(frozen=True, eq=False)
class Toy:
    """A law in the plane: a point of a curve or a grid, plus Gaussian noise.

    Parameters
    ----------
    name : str
        ``"swiss"``, ``"ring"`` or ``"grid"``.
    noise : float
        Standard deviation of the noise, the finest scale of the law.
    centers : ndarray, shape (k, 2)
        The points of the grid, or nodes evenly spaced in the parameter of the curve.
    point : callable
        ``point(u)`` maps uniform numbers, shape (n,), to points before noise, shape (n, 2).
    """

    name: str
    noise: float
    centers: np.ndarray
    point: Callable[[np.ndarray], np.ndarray]

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Return n draws, float64, shape (n, 2)."""
        check_count("n", n)
        check_count("seed", seed, 0)
        random = np.random.default_rng(seed)
        return self.point(random.random(n)) + self.noise * random.normal(size=(n, 2))

    def log_density(self, x: ArrayLike) -> np.ndarray:
        r"""Return :math:`\log \frac1k \sum_i N(x; c_i, s^2)` in nats, shape (m,)."""
        x = as_floats("x", x)
        check_shape("x", x.shape, ("m", 2))
        check_finite("x", x)
        constant = np.log(2 * np.pi * self.noise**2) + np.log(len(self.centers))
        parts = []
        for start in range(0, len(x), BLOCK):
            block = x[start : start + BLOCK]
            exponent = squared_distances(block, self._near(block))
            exponent *= -1 / (2 * self.noise**2)
            top = exponent.max(axis=1)
            exponent -= top[:, None]
            np.exp(exponent, out=exponent)
            parts.append(top + np.log(exponent.sum(axis=1)))
        return np.concatenate(parts) - constant

    def _near(self, x: np.ndarray) -> np.ndarray:
        """Return the centers that add more than rounding to the density at any of the points."""
        middle = (x.min(axis=0) + x.max(axis=0)) / 2
        nearest = self.centers[((self.centers - middle) ** 2).sum(axis=1).argmin()]
        known = ((x - nearest) ** 2).sum(axis=1).max()  # no point has a nearest center beyond it
        outside = np.maximum(np.abs(self.centers - middle) - np.ptp(x, axis=0) / 2, 0.0)
        return self.centers[(outside**2).sum(axis=1) <= known + 2 * NEGLIGIBLE * self.noise**2]

    def mean_log_density(self) -> float:
        """Return E log p(x), nats: minus the entropy, by Gauss-Hermite quadrature of the noise."""
        node, weight = np.polynomial.hermite_e.hermegauss(8)
        weight = weight / weight.sum()
        offset = np.stack(np.meshgrid(node, node, indexing="ij"), -1).reshape(-1, 2)
        every = max(len(self.centers) // 200, 1)
        at = self.centers[every // 2 :: every]
        x = (at[:, None] + self.noise * offset).reshape(-1, 2)
        log_p = self.log_density(x).reshape(len(at), -1)
        return float((log_p @ np.outer(weight, weight).ravel()).mean())

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean, shape (2,), and covariance, shape (2, 2)."""
        covariance = np.cov(self.centers.T, bias=True) + self.noise**2 * np.eye(2)
        return self.centers.mean(0), covariance


def swiss_roll(noise: float = 0.03) -> Toy:
    r"""Return the spiral :math:`(t\cos t, t\sin t)/6.8`, t in (3 pi/2, 9 pi/2), with noise.

    The points lie evenly in t, so denser inside; each coordinate has a standard deviation of
    about 1.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise, > 0.

    Examples
    --------
    >>> law = swiss_roll()
    >>> law.sample(3).shape, round(law.mean_log_density(), 2)
    ((3, 2), -0.45)
    """
    check_range("noise", noise, 0, open_low=True)

    def point(u: np.ndarray) -> np.ndarray:
        t = 1.5 * np.pi * (1 + 2 * u)
        return np.stack([t * np.cos(t), t * np.sin(t)], 1) / 6.8

    return Toy("swiss", noise, point(_middles(NODES)), point)


def ring(radius: float = 1.4, noise: float = 0.05) -> Toy:
    """Return points of a circle with Gaussian noise.

    Parameters
    ----------
    radius, noise : float
        R > 0 and s > 0; each coordinate has the variance R^2/2 + s^2.

    Examples
    --------
    >>> law = ring()
    >>> law.moments()[1].round(6).tolist()
    [[0.9825, 0.0], [0.0, 0.9825]]
    """
    check_range("radius", radius, 0, open_low=True)
    check_range("noise", noise, 0, open_low=True)

    def point(u: np.ndarray) -> np.ndarray:
        return radius * np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], 1)

    return Toy("ring", noise, point(_middles(NODES)), point)


def grid_mixture(spacing: float = 1.2, noise: float = 0.08, side: int = 3) -> Toy:
    """Return equal Gaussians on a square grid around 0.

    Parameters
    ----------
    spacing, noise : float
        Distance of neighbors and standard deviation of each Gaussian, both > 0.
    side : int
        The grid has side x side Gaussians, >= 1.

    Examples
    --------
    Far apart, the entropy is that of one Gaussian plus log 9.

    >>> round(grid_mixture().mean_log_density(), 4)
    0.0164
    """
    check_range("spacing", spacing, 0, open_low=True)
    check_range("noise", noise, 0, open_low=True)
    check_count("side", side)
    at = spacing * (np.arange(side) - (side - 1) / 2)
    centers = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)

    def point(u: np.ndarray) -> np.ndarray:
        return centers[np.minimum((u * len(centers)).astype(int), len(centers) - 1)]

    return Toy("grid", noise, centers, point)


def _middles(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


TOYS: dict[str, Callable[[], Toy]] = {"swiss": swiss_roll, "ring": ring, "grid": grid_mixture}
"""The laws at their usual sizes, by name: every coordinate has a standard deviation of about 1."""


def toy(name: str) -> Toy:
    """Return one of `TOYS`.

    Examples
    --------
    >>> toy("ring").sample(3).shape
    (3, 2)
    """
    check_choice("name", name, TOYS)
    return TOYS[name]()


def gaussian_mmd2(law: Toy, bandwidths: Sequence[float]) -> float:
    r"""Return the squared maximum mean discrepancy of a law and the Gaussian of its moments.

    .. math:: E k(x,x') = \frac1{k^2}\sum_{ij} \frac{w^2}{w^2+2s^2}
        e^{-|c_i-c_j|^2/2(w^2+2s^2)}, \qquad
        E k(x,g) = \frac1k \sum_i w^2\,|V|^{-1/2} e^{-(c_i-m)'V^{-1}(c_i-m)/2}

    with V = C + (s^2 + w^2) 1, and ``w^2 / |2C + w^2 1|^{1/2}`` for two draws of the Gaussian; the
    mean over the widths w.

    Parameters
    ----------
    law : Toy
        The law.
    bandwidths : sequence of float
        Widths of the kernels, as of `mmd2`.

    Examples
    --------
    >>> round(gaussian_mmd2(toy("ring"), [0.1, 0.2, 0.5, 1.0, 2.0]), 4)
    0.0347
    """
    mean, covariance = law.moments()
    every = max(len(law.centers) // 1000, 1)
    c = law.centers[every // 2 :: every]
    square = ((c[:, None] - c) ** 2).sum(-1)
    total = 0.0
    if len(bandwidths) == 0:
        raise ValueError("bandwidths must hold a width at least, got none")
    for width in bandwidths:
        check_range("bandwidths", width, 0, open_low=True)
        w2, spread = width**2, width**2 + 2 * law.noise**2
        own = (w2 / spread) * np.exp(-square / (2 * spread)).mean()
        v = covariance + (law.noise**2 + w2) * np.eye(2)
        quadratic = np.einsum("ij,ij->i", (c - mean) @ np.linalg.inv(v), c - mean)
        cross = (w2 / np.sqrt(np.linalg.det(v))) * np.exp(-quadratic / 2).mean()
        both = w2 / np.sqrt(np.linalg.det(2 * covariance + w2 * np.eye(2)))
        total += own + both - 2 * cross
    return float(total / len(bandwidths))
