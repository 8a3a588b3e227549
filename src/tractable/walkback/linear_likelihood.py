"""Linear operators with Gaussian noise: likelihood, bound, and where the bound goes.

The operator is ``s' = A s + b + N(0, T D)``. NumPy, float64, no randomness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite
from tractable.walkback.linear_checks import (
    as_law,
    as_shift,
    as_states,
    as_temperatures,
    check_covariance,
    matrices,
)

__all__ = [
    "GaussianDecomposition",
    "gaussian_kl",
    "linear_bound",
    "linear_decomposition",
    "linear_log_prob",
]


def gaussian_log_density(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Return log N(x; mean, cov), nats; x has shape (B, n)."""
    factor = np.linalg.cholesky(cov)
    white = np.linalg.solve(factor, (x - mean).T)
    log_det = 2 * np.log(np.diag(factor)).sum()
    return -0.5 * ((white**2).sum(0) + log_det + len(cov) * math.log(2 * math.pi))


def gaussian_kl(mean_p: ArrayLike, cov_p: ArrayLike, mean_q: ArrayLike, cov_q: ArrayLike) -> float:
    """Return KL(N(mean_p, cov_p) || N(mean_q, cov_q)), nats.

    Examples
    --------
    >>> one, zero = np.eye(1), np.zeros(1)
    >>> round(gaussian_kl(zero, 0.5 * one, zero, one), 6)
    0.096574
    """
    laws: dict[str, np.ndarray] = {
        name: as_floats(name, value)
        for name, value in (
            ("mean_p", mean_p), ("cov_p", cov_p), ("mean_q", mean_q), ("cov_q", cov_q)
        )
    }  # fmt: skip
    shapes = {name: value.shape for name, value in laws.items()}
    n = max(shapes["mean_p"] or (0,))
    if n < 1 or list(shapes.values()) != 2 * [(n,), (n, n)]:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"means must have shape (n,) and covariances (n, n), got {told}")
    for name, value in laws.items():
        (check_finite if name.startswith("mean") else check_covariance)(name, value)
    mean_p, cov_p, mean_q, cov_q = laws.values()
    gap = mean_q - mean_p
    ratio = np.linalg.solve(cov_q, cov_p)
    quadratic = float(gap @ np.linalg.solve(cov_q, gap))
    log_det = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return 0.5 * float(np.trace(ratio) - len(cov_p) + quadratic + log_det)


def linear_log_prob(
    x: ArrayLike,
    A: ArrayLike,
    D: ArrayLike,
    temperatures: ArrayLike,
    prior_mean: ArrayLike,
    prior_cov: ArrayLike,
    b: ArrayLike | None = None,
) -> np.ndarray:
    r"""Return the exact log density of generated states, nats, shape (B,).

    .. math:: m \leftarrow A m + b, \qquad C \leftarrow A C A^\top + T_t D, \qquad t = L \ldots 1

    (W19), from the prior's moments; the end is Gaussian.

    Parameters
    ----------
    x : array_like, shape (B, n)
        States.
    A, D, b
        The operator.
    temperatures : array_like, shape (L,)
        The schedule, first step nearest to the data.
    prior_mean, prior_cov : array_like, shapes (n,) and (n, n)
        Of the hottest state.

    Examples
    --------
    >>> A, D = [[0.9, 0.1], [-0.05, 0.95]], np.diag([0.04, 0.09])
    >>> hot = 2.0 ** np.arange(6)
    >>> zero, four, b = np.zeros(2), 4 * np.eye(2), [0.02, -0.01]
    >>> linear_log_prob([[0.3, -0.2]], A, D, hot, zero, four, b).round(6)
    array([-3.181063])
    """
    mean, cov = generated_law(A, D, temperatures, prior_mean, prior_cov, b)
    return gaussian_log_density(as_states(x, len(mean)), mean, cov)


def generated_law(
    A: ArrayLike, D: ArrayLike, temperatures: ArrayLike, prior_mean: ArrayLike,
    prior_cov: ArrayLike, b: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return mean and covariance of generated states."""
    a, d = matrices(A, D)
    shift = as_shift(b, len(a))
    mean, cov = as_law("prior", prior_mean, prior_cov, len(a), singular=True)
    for t in as_temperatures(temperatures)[::-1]:
        mean, cov = a @ mean + shift, a @ cov @ a.T + t * d
    return mean, (cov + cov.T) / 2


def linear_bound(
    x: ArrayLike,
    A: ArrayLike,
    D: ArrayLike,
    temperatures: ArrayLike,
    prior_mean: ArrayLike,
    prior_cov: ArrayLike,
    b: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the exact bound and what each step takes from it.

    .. math:: \ell(x) = \sum_t \left[ \frac n2 - \frac{1}{2 T_t} \mathrm{tr}\, D^{-1}
        E[r_t r_t^\top] \right] + E \log p^*(s_L), \qquad r_t = s_{t-1} - A s_t - b

    (W20): the walk from x is jointly Gaussian, and the normalizers of the two directions cancel.

    Parameters
    ----------
    x, A, D, temperatures, prior_mean, prior_cov, b
        As in `linear_log_prob`.

    Returns
    -------
    bound : ndarray, shape (B,)
        Nats.
    terms : ndarray, shape (L, B)
        E[log q - log p] of each step, nats.

    Examples
    --------
    >>> A, D = [[0.9, 0.1], [-0.05, 0.95]], np.diag([0.04, 0.09])
    >>> hot = 2.0 ** np.arange(6)
    >>> zero, four, b = np.zeros(2), 4 * np.eye(2), [0.02, -0.01]
    >>> linear_bound([[0.3, -0.2]], A, D, hot, zero, four, b)[0].round(6)
    array([-3.686488])
    """
    a, d = matrices(A, D)
    n = len(a)
    shift = as_shift(b, n)
    star, cov = as_law("prior", prior_mean, prior_cov, n)
    precision = np.linalg.inv(d)
    mean = as_states(x, n)
    spread, terms = np.zeros((n, n)), []
    for t in as_temperatures(temperatures):
        after, grown = mean @ a.T + shift, a @ spread @ a.T + t * d
        residual = mean - after @ a.T - shift
        cross = spread @ a.T @ a.T  # Cov(s_{t-1}, A s_t)
        noise = spread - cross - cross.T + a @ grown @ a.T
        square = np.einsum("bi,ij,bj->b", residual, precision, residual)
        terms.append(0.5 * ((np.trace(precision @ noise) + square) / t - n))
        mean, spread = after, grown
    end = gaussian_log_density(mean, star, cov) - 0.5 * np.trace(np.linalg.solve(cov, spread))
    each = np.array(terms)
    return end - each.sum(0), each


@dataclass(frozen=True, eq=False)
class GaussianDecomposition:
    """Where the bound on Gaussian data goes, all in nats.

    Attributes
    ----------
    entropy : float
        Differential entropy of the data.
    prior_kl : float
        KL(q_L || p*): the prior is not where the walks end.
    dissipation : ndarray, shape (L,)
        sigma_t >= 0 of each step.
    data_kl : float
        KL(data || generated).
    mean_bound : float
        E over the data of the bound, from the walk itself (W20), not from the parts.
    """

    entropy: float
    prior_kl: float
    dissipation: np.ndarray
    data_kl: float
    mean_bound: float

    @property
    def gap(self) -> float:
        """Mean of log p(x) minus the bound, by the parts."""
        return self.prior_kl + float(self.dissipation.sum()) - self.data_kl

    @property
    def residual(self) -> float:
        """Minus the mean bound less the sum of its parts: 0 up to rounding."""
        parts = self.entropy + self.prior_kl + float(self.dissipation.sum())
        return -self.mean_bound - parts


def linear_decomposition(
    A: ArrayLike,
    D: ArrayLike,
    temperatures: ArrayLike,
    data_mean: ArrayLike,
    data_cov: ArrayLike,
    prior_mean: ArrayLike,
    prior_cov: ArrayLike,
    b: ArrayLike | None = None,
) -> GaussianDecomposition:
    """Split the mean bound on Gaussian data into its parts (W11).

    Parameters
    ----------
    A, D, b, temperatures, prior_mean, prior_cov
        As in `linear_log_prob`.
    data_mean, data_cov : array_like, shapes (n,) and (n, n)
        The law of the data.

    Examples
    --------
    >>> one, zero = np.eye(1), np.zeros(1)
    >>> cold = linear_decomposition([[0.8]], [[0.36]], np.ones(5), zero, one, zero, one)
    >>> bool(cold.dissipation.max() < 1e-12), abs(cold.residual) < 1e-12
    (True, True)
    """
    a, d = matrices(A, D)
    n = len(a)
    shift = as_shift(b, n)
    mean, cov = as_law("data", data_mean, data_cov, n)
    star, wide = as_law("prior", prior_mean, prior_cov, n)
    start, spread = mean, cov
    swap = np.r_[n : 2 * n, 0:n]
    lost = []
    temperatures = as_temperatures(temperatures)
    for t in temperatures:
        after, grown = a @ mean + shift, a @ cov @ a.T + t * d
        forth = joint_law(a, shift, t * d, mean, cov)
        back_mean, back_cov = joint_law(a, shift, t * d, after, grown)
        lost.append(gaussian_kl(*forth, back_mean[swap], back_cov[np.ix_(swap, swap)]))
        mean, cov = after, grown
    generated = generated_law(a, d, temperatures, star, wide, shift)
    at_mean = float(linear_bound(start[None], a, d, temperatures, star, wide, shift)[0][0])
    return GaussianDecomposition(
        entropy=0.5 * (n * math.log(2 * math.pi * math.e) + float(np.linalg.slogdet(spread)[1])),
        prior_kl=gaussian_kl(mean, cov, star, wide),
        dissipation=np.array(lost),
        data_kl=gaussian_kl(start, spread, *generated),
        mean_bound=at_mean + 0.5 * _curvature(a, d, temperatures, wide, spread),
    )


def joint_law(
    a: np.ndarray, shift: np.ndarray, noise: np.ndarray, mean: np.ndarray, cov: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of (s, s') for s ~ N(mean, cov) and one step."""
    after, cross = a @ mean + shift, cov @ a.T
    whole = np.block([[cov, cross], [cross.T, a @ cov @ a.T + noise]])
    return np.concatenate([mean, after]), whole


def _curvature(
    a: np.ndarray, d: np.ndarray, temperatures: np.ndarray, wide: np.ndarray, spread: np.ndarray
) -> float:
    """Return tr(Hessian of the bound times the data's covariance): the bound is quadratic in x."""
    precision, reach = np.linalg.inv(d), np.eye(len(a))
    hessian = np.zeros_like(a)
    for t in temperatures:
        residual = reach - a @ a @ reach
        hessian -= residual.T @ precision @ residual / t
        reach = a @ reach
    hessian -= reach.T @ np.linalg.solve(wide, reach)
    return float(np.trace(hessian @ spread))
