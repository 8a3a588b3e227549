"""What a learned operator must beat: a Gaussian, a mixture of Gaussians, a kernel density."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, solve_triangular
from scipy.special import logsumexp

from tractable.core.checks import check_choice, check_count, check_range, check_shape
from tractable.walkback.distances import rows, squared_distances

__all__ = ["GaussianDensity", "KernelDensity", "MixtureDensity", "fit_gaussian", "fit_kernel",
           "fit_mixture"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class GaussianDensity:
    """The Gaussian with the moments of the data; see `fit_gaussian`.

    Parameters
    ----------
    mean : ndarray, shape (n,)
        Its mean.
    covariance : ndarray, shape (n, n)
        Its covariance.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        """Return log densities, nats, shape (m,)."""
        x = rows("x", x)
        check_shape("x", x.shape, ("m", len(self.mean)))
        factor = cho_factor(self.covariance, lower=True)[0]
        white = solve_triangular(factor, (x - self.mean).T, lower=True)
        constant = np.log(np.diag(factor)).sum() + len(self.mean) / 2 * np.log(2 * np.pi)
        return -(white**2).sum(0) / 2 - constant

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Return n draws, shape (n, dim)."""
        check_count("n", n)
        check_count("seed", seed, 0)
        factor = np.tril(cho_factor(self.covariance, lower=True)[0])
        white = np.random.default_rng(seed).normal(size=(n, len(self.mean)))
        return self.mean + white @ factor.T


def fit_gaussian(x: ArrayLike, *, floor: float = 0.0) -> GaussianDensity:
    """Return the Gaussian of greatest likelihood.

    Parameters
    ----------
    x : array_like, shape (m, n)
        Data, m > n.
    floor : float
        Added to every variance, >= 0.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(5000, 2))
    >>> round(float(fit_gaussian(x).log_prob(x).mean()), 1)  # -log(2 pi) - 1
    -2.8
    """
    x = rows("x", x, least=2)
    check_range("floor", floor, 0)
    few = f"x spans fewer than its {x.shape[1]} dimensions: give more points, or floor > 0"
    if len(x) <= x.shape[1] and floor == 0:  # said before n^3 operations, not after
        raise ValueError(few)
    covariance = np.atleast_2d(np.cov(x.T, bias=True)) + floor * np.eye(x.shape[1])
    if np.linalg.eigvalsh(covariance)[0] <= 0:
        raise ValueError(few)
    return GaussianDensity(x.mean(0), covariance)


@dataclass(frozen=True, eq=False)
class MixtureDensity:
    """A mixture of Gaussians of scikit-learn; see `fit_mixture`.

    Parameters
    ----------
    model : sklearn.mixture.GaussianMixture
        The fitted mixture.
    """

    model: Any

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        """Return log densities, nats, shape (m,)."""
        x = rows("x", x)
        check_shape("x", x.shape, ("m", self.model.n_features_in_))
        return self.model.score_samples(x)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Return n draws, shape (n, dim)."""
        check_count("n", n)
        check_count("seed", seed, 0)
        self.model.random_state = seed % 2**32
        return self.model.sample(n)[0]


def fit_mixture(
    x: ArrayLike,
    n_components: int,
    *,
    covariance: Literal["full", "diag"] = "full",
    floor: float = 1e-3,
    seed: int = 0,
) -> MixtureDensity:
    """Return a mixture of Gaussians fitted by expectation maximization.

    Parameters
    ----------
    x : array_like, shape (m, n)
        Data.
    n_components : int
        Number of Gaussians, 1 .. m.
    covariance : str
        ``"full"`` or ``"diag"``.
    floor : float
        Added to every variance, > 0; it keeps a Gaussian from closing in on one point.
    seed : int
        Decides the start.

    Examples
    --------
    >>> from tractable.walkback.toys import grid_mixture
    >>> law = grid_mixture()
    >>> x = law.sample(2000, 0)
    >>> mixture = fit_mixture(x, 9)
    >>> mixture.sample(5).shape, bool(abs(mixture.log_prob(x).mean()) < 0.1)
    ((5, 2), True)
    """
    from sklearn.exceptions import ConvergenceWarning as NotConverged
    from sklearn.mixture import GaussianMixture

    x = rows("x", x, least=2)
    check_count("n_components", n_components)
    if n_components > len(x):
        raise ValueError(
            f"n_components must be at most the number of points of x, got {n_components} for x "
            f"of shape {x.shape}"
        )
    check_choice("covariance", covariance, ("full", "diag"))
    check_range("floor", floor, 0, open_low=True)
    model = GaussianMixture(
        n_components, covariance_type=covariance, reg_covar=floor, random_state=seed % 2**32
    )
    with warnings.catch_warnings():  # 100 rounds are what the baseline gets
        warnings.simplefilter("ignore", NotConverged)
        model.fit(x)
    return MixtureDensity(model)


@dataclass(frozen=True, eq=False)
class KernelDensity:
    """A Gaussian around every data point; see `fit_kernel`.

    Parameters
    ----------
    points : ndarray, shape (m, n)
        The data.
    bandwidth : float
        Standard deviation of the kernel.
    """

    points: np.ndarray
    bandwidth: float

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        """Return log densities, nats, shape (m,)."""
        x = rows("x", x)
        m, n = self.points.shape
        check_shape("x", x.shape, ("m", n))
        exponent = -squared_distances(x, self.points) / (2 * self.bandwidth**2)
        constant = np.log(m) + n * (np.log(self.bandwidth) + np.log(2 * np.pi) / 2)
        return logsumexp(exponent, axis=1) - constant

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Return n draws, shape (n, dim)."""
        check_count("n", n)
        check_count("seed", seed, 0)
        random = np.random.default_rng(seed)
        chosen = self.points[random.integers(len(self.points), size=n)]
        return chosen + self.bandwidth * random.normal(size=chosen.shape)


def fit_kernel(x: ArrayLike, bandwidth: float) -> KernelDensity:
    """Return the kernel density of the data: it fits, and it memorizes.

    Parameters
    ----------
    x : array_like, shape (m, n)
        Data.
    bandwidth : float
        Standard deviation of the kernel, > 0.

    Examples
    --------
    >>> law = fit_kernel([[0.0, 0.0]], 1.0)
    >>> round(float(law.log_prob([[0.0, 0.0]])[0]), 6)  # -log(2 pi)
    -1.837877
    """
    check_range("bandwidth", bandwidth, 0, open_low=True)
    return KernelDensity(rows("x", x), float(bandwidth))
