"""Linear operators with Gaussian noise: everything about them in closed form.

The operator is ``s' = A s + b + N(0, T D)``. NumPy, float64, no randomness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite, check_range, check_shape

__all__ = [
    "GaussianDecomposition",
    "area_rate",
    "gaussian_kl",
    "linear_bound",
    "linear_decomposition",
    "linear_entropy_production",
    "linear_log_prob",
    "ou_entropy_production",
    "reversible_operator",
    "rotation_entropy_production",
    "stationary_law",
]


def matrices(A: ArrayLike, D: ArrayLike, name: str = "A") -> tuple[np.ndarray, np.ndarray]:
    """Return a map (of that name) and D as float64 matrices of one size.

    Raises
    ------
    ValueError
        Not square, not of one size, not finite, or D is not a covariance.
    """
    a, d = np.atleast_2d(as_floats(name, A)), np.atleast_2d(as_floats("D", D))
    n = len(a)
    for which, value in ((name, a), ("D", d)):
        check_shape(which, value.shape, (n, n))
        check_finite(which, value)
    if not np.allclose(d, d.T, atol=1e-10 * np.abs(d).max()) or np.linalg.eigvalsh(d).min() <= 0:
        raise ValueError("D must be symmetric with positive eigenvalues: it is a noise covariance")
    return a, d


def as_temperatures(value: ArrayLike) -> np.ndarray:
    """Return temperatures as a vector.

    Raises
    ------
    ValueError
        None, or not all finite and above 0.
    """
    t = as_floats("temperatures", value)
    if t.ndim != 1 or not t.size:
        raise ValueError(f"temperatures must have shape (L,) with L >= 1, got {t.shape}")
    check_finite("temperatures", t)
    check_range("temperatures", float(t.min()), 0, open_low=True)
    return t


def as_shift(b: ArrayLike | None, n: int) -> np.ndarray:
    """Return a shift as a vector of n numbers; None is 0.

    Raises
    ------
    ValueError
        Of another shape, or not finite.
    """
    shift = np.zeros(n) if b is None else as_floats("b", b)
    check_shape("b", shift.shape, (n,))
    check_finite("b", shift)
    return shift


def as_law(
    whose: str, mean: ArrayLike, cov: ArrayLike, n: int, *, singular: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments ``<whose>_mean`` and ``<whose>_cov`` of a Gaussian in n dimensions.

    Raises
    ------
    ValueError
        Not (n,) and (n, n), not finite, or no covariance; one with eigenvalues 0 passes where
        ``singular`` ones are allowed.
    """
    at, spread = as_floats(f"{whose}_mean", mean), as_floats(f"{whose}_cov", cov)
    check_shape(f"{whose}_mean", at.shape, (n,))
    check_finite(f"{whose}_mean", at)
    check_shape(f"{whose}_cov", spread.shape, (n, n))
    check_covariance(f"{whose}_cov", spread, singular=singular)
    return at, spread


def as_states(x: ArrayLike, n: int) -> np.ndarray:
    """Return states as float64 of shape (B, n).

    Raises
    ------
    ValueError
        Of another shape, or not finite.
    """
    states = np.atleast_2d(as_floats("x", x))
    check_shape("x", states.shape, ("B", n))
    check_finite("x", states)
    return states


def check_covariance(name: str, value: np.ndarray, *, singular: bool = False) -> None:
    """Refuse what is no covariance, or no covariance of a density.

    Raises
    ------
    ValueError
        Not finite, not symmetric, or an eigenvalue is not above 0 (below it for ``singular``).
    """
    check_finite(name, value)
    rounding = 1e-8 * max(np.abs(value).max(), 1e-300)
    lowest = np.linalg.eigvalsh(value).min()
    if not np.allclose(value, value.T, atol=rounding) or (
        lowest < -rounding if singular else lowest <= 0
    ):
        sign = "no negative" if singular else "positive"
        raise ValueError(f"{name} must be symmetric with {sign} eigenvalues: it is a covariance")


def refuse_unstable(A: np.ndarray) -> None:
    """Refuse an operator without a stationary law.

    Raises
    ------
    RuntimeError
        With the spectral radius.
    """
    radius = float(np.abs(np.linalg.eigvals(A)).max())
    if radius >= 1:
        raise RuntimeError(
            f"A has the spectral radius {radius:.6g}: a stationary law needs one below 1"
        )


def stationary_law(
    A: ArrayLike, D: ArrayLike, b: ArrayLike | None = None, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return mean and covariance of the stationary law.

    .. math:: m = (I - A)^{-1} b, \qquad \Sigma_T = A \Sigma_T A^\top + T D

    (W13), a discrete Lyapunov equation: :math:`\Sigma_T = T \Sigma_1`.

    Parameters
    ----------
    A, D : array_like, shape (n, n)
        Map, and covariance of the noise at T = 1.
    b : array_like, shape (n,), optional
        Shift; default 0.
    temperature : float
        T > 0.

    Returns
    -------
    mean : ndarray, shape (n,)
    cov : ndarray, shape (n, n)

    Raises
    ------
    RuntimeError
        The spectral radius of A is not below 1.

    Examples
    --------
    >>> mean, cov = stationary_law([[0.8]], [[0.36]], [1.0])
    >>> mean.round(9), cov.round(9)
    (array([5.]), array([[1.]]))
    """
    from scipy.linalg import solve_discrete_lyapunov

    a, d = matrices(A, D)
    check_range("temperature", temperature, 0, open_low=True)
    refuse_unstable(a)
    shift = as_shift(b, len(a))
    cov = solve_discrete_lyapunov(a, temperature * d)
    return np.linalg.solve(np.eye(len(a)) - a, shift), (cov + cov.T) / 2


def linear_entropy_production(A: ArrayLike, D: ArrayLike) -> float:
    r"""Return the entropy production rate of the stationary chain, nats per step.

    .. math:: \dot S = \mathrm{tr}\!\left[ D^{-1} (I - A^2) \Sigma_1 \right] - n

    (W14), with :math:`A^2 = A A`; it depends neither on T nor on b, and is 0 if and only if
    :math:`A \Sigma` is symmetric (detailed balance).

    Parameters
    ----------
    A, D : array_like, shape (n, n)
        Map, and covariance of the noise at T = 1.

    Returns
    -------
    float
        >= 0 up to rounding.

    Examples
    --------
    >>> turn = 0.8 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    >>> round(linear_entropy_production(turn, np.eye(2)), 10)
    1.0783761445
    """
    a, d = matrices(A, D)
    cov = stationary_law(a, d)[1]
    inner = (np.eye(len(a)) - a @ a) @ cov
    return float(np.trace(np.linalg.solve(d, inner)) - len(a))


def rotation_entropy_production(r: float, theta: float) -> float:
    r"""Return the entropy production of :math:`A = r R(\theta)`, D = I, in the plane.

    .. math:: \dot S = \frac{4 r^2 \sin^2 \theta}{1 - r^2}

    (W15), nats per step, for 0 <= r < 1.

    Examples
    --------
    >>> round(rotation_entropy_production(0.8, 0.4), 10)
    1.0783761445
    """
    check_range("r", r, 0, 1, open_high=True)
    check_finite("theta", theta)
    return 4 * r**2 * math.sin(theta) ** 2 / (1 - r**2)


def area_rate(A: ArrayLike, D: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    r"""Return the circulation of the stationary chain.

    .. math:: Q = \tfrac12 (\Sigma A^\top - A \Sigma)
        = \tfrac12 E[s s'^\top - s' s^\top]

    (W16): area swept in each plane, squared units per step; antisymmetric, 0 if and only if the
    operator obeys detailed balance.

    Examples
    --------
    >>> turn = 0.8 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    >>> round(float(area_rate(turn, np.eye(2))[0, 1]), 6)
    0.865374
    """
    a, d = matrices(A, D)
    cov = stationary_law(a, d, temperature=temperature)[1]
    return (cov @ a.T - a @ cov) / 2


def ou_entropy_production(B: ArrayLike, D: ArrayLike) -> float:
    r"""Return the entropy production of an Ornstein-Uhlenbeck process, nats per unit of time.

    .. math:: \Phi = \mathrm{tr}(B^\top D^{-1} B \Sigma) - \mathrm{tr} B, \qquad
        B \Sigma + \Sigma B^\top = 2 D

    (W17) for :math:`dx = -B x\, dt + \sqrt{2 D}\, dW`: the limit of the chain with
    :math:`A = I - B\,dt` and noise :math:`2 D\,dt`, whose rate over dt differs by O(dt).

    Parameters
    ----------
    B : array_like, shape (n, n)
        Drift matrix, eigenvalues with positive real parts.
    D : array_like, shape (n, n)
        Diffusion matrix.

    References
    ----------
    Godreche, Luck 2019, doi:10.1088/1751-8121/aaf190; Seifert 2012,
    doi:10.1088/0034-4885/75/12/126001.

    Examples
    --------
    >>> round(ou_entropy_production([[1.0, -2.0], [2.0, 1.0]], np.eye(2)), 9)
    8.0
    """
    from scipy.linalg import solve_continuous_lyapunov

    drift, d = matrices(B, D, "B")
    slowest = float(np.linalg.eigvals(drift).real.min())
    if slowest <= 0:
        raise RuntimeError(f"B has an eigenvalue of real part {slowest:.6g}: it must be above 0")
    cov = solve_continuous_lyapunov(drift, 2 * d)
    return float(np.trace(drift.T @ np.linalg.solve(d, drift) @ cov) - np.trace(drift))


def reversible_operator(C: ArrayLike, S: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    r"""Return a linear operator that obeys detailed balance with respect to N(0, C).

    .. math:: A = C^{1/2} S C^{-1/2}, \qquad D = C - A^2 C

    (W18).

    Parameters
    ----------
    C : array_like, shape (n, n)
        Covariance of the stationary law.
    S : array_like, shape (n, n)
        Symmetric, eigenvalues within (-1, 1).

    Returns
    -------
    A, D : ndarray, shape (n, n)

    Examples
    --------
    >>> A, D = reversible_operator(np.diag([1.0, 2.0]), [[0.5, 0.2], [0.2, 0.1]])
    >>> abs(linear_entropy_production(A, D)) < 1e-12
    True
    """
    c, s = np.atleast_2d(as_floats("C", C)), np.atleast_2d(as_floats("S", S))
    check_shape("C", c.shape, (len(c), len(c)))
    check_covariance("C", c)
    if s.shape != c.shape:
        raise ValueError(f"S must have the shape of C, got {s.shape} and {c.shape}")
    check_finite("S", s)
    if not np.allclose(s, s.T) or np.abs(np.linalg.eigvalsh(s)).max() >= 1:
        raise ValueError("S must be symmetric with eigenvalues within (-1, 1)")
    values, vectors = np.linalg.eigh(c)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    a = root @ s @ inverse
    d = c - a @ a @ c
    return a, (d + d.T) / 2


# --- likelihood and bound ------------------------------------------------------------------------


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
