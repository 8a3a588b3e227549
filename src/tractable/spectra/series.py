"""Moments of a product of free factors, by Lagrange inversion of truncated power series."""

from __future__ import annotations

import numpy as np

__all__ = ["equal_layers", "moments_of", "multiply", "power", "series_exp", "slope_factor"]

# A series is the array of its coefficients c_0, c_1, ..., c_{n-1}.


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product, truncated."""
    return np.convolve(a, b)[: len(a)]


def inverse(a: np.ndarray) -> np.ndarray:
    """Return 1 / a, truncated; a_0 must not be 0."""
    out = np.zeros_like(a)
    out[0] = 1 / a[0]
    for k in range(1, len(a)):
        out[k] = -(a[1 : k + 1] @ out[k - 1 :: -1][:k]) / a[0]
    return out


def power(a: np.ndarray, exponent: float) -> np.ndarray:
    """Return a^exponent, truncated; a_0 must be positive."""
    out = np.zeros_like(a)
    out[0] = a[0] ** exponent
    for k in range(1, len(a)):
        j = np.arange(1, k + 1)
        out[k] = ((exponent * j - (k - j)) * a[j] * out[k - j]).sum() / (k * a[0])
    return out


def moments_of(factor: np.ndarray) -> np.ndarray:
    """Return m_1..m_n from phi(m) = (1 + m) / S(m): m_k = [m^(k-1)] phi^k / k, eq. (S14)."""
    n = len(factor)
    return np.array([power(factor, k)[k - 1] / k for k in range(1, n + 1)])


def slope_factor(moments: np.ndarray) -> np.ndarray:
    """Return 1 / S(m) = m y / (1 + m) of a law with the given moments, n coefficients.

    The series m(w) = sum of moments w^k in w = 1 / y is reverted by Lagrange.
    """
    n = len(moments)
    # m = w f(w) with f = sum moments_{k+1} w^k, so w = sum_k m^k [w^(k-1)] f^-k / k.
    w = np.array([power(moments, -k)[k - 1] / k for k in range(1, n + 1)])
    one_plus_m = np.zeros(n)
    one_plus_m[: min(n, 2)] = 1.0
    return inverse(multiply(one_plus_m, w))


def equal_layers(d: np.ndarray, sigma_w2: float, depth: int, gaussian: bool) -> np.ndarray:
    """Return m_1..m_n of L equal square layers with moments d of phi'^2.

    Examples
    --------
    The Fuss-Catalan numbers of two linear Gaussian layers:

    >>> equal_layers(np.ones(4), 1.0, 2, True)
    array([ 1.,  3., 12., 55.])
    """
    one_plus_m = np.zeros(len(d))
    one_plus_m[: min(len(d), 2)] = 1.0
    layer = slope_factor(d) * sigma_w2
    if gaussian:
        layer = multiply(layer, one_plus_m)
    return moments_of(multiply(one_plus_m, power(layer, depth)))


def series_exp(a: np.ndarray) -> np.ndarray:
    """Return exp(a), truncated."""
    out = np.zeros_like(a)
    out[0] = np.exp(a[0])
    for k in range(1, len(a)):
        j = np.arange(1, k + 1)
        out[k] = (j * a[j] * out[k - j]).sum() / k
    return out
