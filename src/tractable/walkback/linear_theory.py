"""Linear operators with Gaussian noise: their stationary law and what they dissipate.

The operator is ``s' = A s + b + N(0, T D)``. NumPy, float64, no randomness.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite, check_range, check_shape
from tractable.walkback.linear_checks import as_shift, check_covariance, matrices

__all__ = [
    "area_rate",
    "linear_entropy_production",
    "ou_entropy_production",
    "reversible_operator",
    "rotation_entropy_production",
    "stationary_law",
]


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
