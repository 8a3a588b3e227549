"""Laws in the plane to learn: a swiss roll, a ring, a grid of Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ive, logsumexp

from tractable.core.checks import check_choice, check_range

__all__ = ["TOYS", "Toy", "grid_mixture", "ring", "swiss_roll", "toy"]


@dataclass(frozen=True, eq=False)
class Toy:
    """A law in the plane of which points can be drawn.

    Parameters
    ----------
    name : str
        ``"swiss"``, ``"ring"`` or ``"grid"``.
    sample : callable
        ``sample(n, seed)`` returns float64 of shape (n, 2).
    log_density : callable, optional
        ``log_density(x)`` in nats, shape (n,); None where it has no closed form.
    finest : float
        Standard deviation of the noise across the structure.
    """

    name: str
    sample: Callable[[int, int], np.ndarray]
    log_density: Callable[[ArrayLike], np.ndarray] | None
    finest: float


def swiss_roll(noise: float = 0.03) -> Toy:
    r"""Return the spiral :math:`(t\cos t, t\sin t)/6.8`, t in (3 pi/2, 9 pi/2), with noise.

    The points lie evenly in t, so denser inside; each coordinate has a standard deviation of
    about 1.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise, >= 0, in units of the scaled roll.

    Examples
    --------
    >>> x = swiss_roll().sample(20000, 0)
    >>> x.shape, bool(np.all(abs(x.std(0) - 1) < 0.1))
    ((20000, 2), True)
    """
    check_range("noise", noise, 0)

    def sample(n: int, seed: int) -> np.ndarray:
        check_range("n", n, 1)
        random = np.random.default_rng(seed)
        t = 1.5 * np.pi * (1 + 2 * random.random(n))
        roll = np.stack([t * np.cos(t), t * np.sin(t)], 1) / 6.8
        return roll + noise * random.normal(size=(n, 2))

    return Toy("swiss", sample, None, noise)


def ring(radius: float = 1.4, noise: float = 0.05) -> Toy:
    r"""Return points of a circle with Gaussian noise.

    The density at distance r is :math:`\exp(-(r^2+R^2)/2s^2)\,I_0(rR/s^2) / (2\pi s^2)`.

    Parameters
    ----------
    radius, noise : float
        R > 0 and s > 0; each coordinate has the variance R^2/2 + s^2.

    Examples
    --------
    >>> law = ring()
    >>> x = law.sample(20000, 0)
    >>> bool(abs(x.var() - 0.9825) < 0.02), round(float(law.log_density([[1.4, 0.0]])[0]), 4)
    (True, -0.0974)
    """
    check_range("radius", radius, 0, open_low=True)
    check_range("noise", noise, 0, open_low=True)

    def sample(n: int, seed: int) -> np.ndarray:
        check_range("n", n, 1)
        random = np.random.default_rng(seed)
        angle = 2 * np.pi * random.random(n)
        circle = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        return circle + noise * random.normal(size=(n, 2))

    def log_density(x: ArrayLike) -> np.ndarray:
        r = np.linalg.norm(np.asarray(x, dtype=float), axis=-1)
        bessel = np.log(ive(0, r * radius / noise**2))  # scaled by exp(-argument)
        return -((r - radius) ** 2) / (2 * noise**2) + bessel - np.log(2 * np.pi * noise**2)

    return Toy("ring", sample, log_density, noise)


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
    >>> law = grid_mixture()
    >>> x = law.sample(20000, 0)
    >>> bool(abs(law.log_density(x).mean() - 0.0162) < 0.02), x.std().round(1)
    (True, np.float64(1.0))
    """
    check_range("spacing", spacing, 0, open_low=True)
    check_range("noise", noise, 0, open_low=True)
    check_range("side", side, 1)
    at = spacing * (np.arange(side) - (side - 1) / 2)
    centers = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)

    def sample(n: int, seed: int) -> np.ndarray:
        check_range("n", n, 1)
        random = np.random.default_rng(seed)
        return centers[random.integers(len(centers), size=n)] + noise * random.normal(size=(n, 2))

    def log_density(x: ArrayLike) -> np.ndarray:
        square = ((np.asarray(x, dtype=float)[..., None, :] - centers) ** 2).sum(-1)
        each = -square / (2 * noise**2) - np.log(2 * np.pi * noise**2)
        return logsumexp(each, axis=-1) - np.log(len(centers))

    return Toy("grid", sample, log_density, noise)


TOYS: dict[str, Callable[[], Toy]] = {"swiss": swiss_roll, "ring": ring, "grid": grid_mixture}
"""The laws at their usual sizes, by name: every coordinate has a standard deviation of about 1."""


def toy(name: str) -> Toy:
    """Return one of `TOYS`.

    Examples
    --------
    >>> toy("ring").sample(3, 0).shape
    (3, 2)
    """
    check_choice("name", name, TOYS)
    return TOYS[name]()
