"""Singular values of pure noise: the Marchenko-Pastur law in singular values, at every aspect.

Noise matrix: (N3, N1), independent entries of variance sigma^2 / N1, aspect A = N3 / N1. The law
is normalized over the min(N1, N3) singular values that are not zero by shape: it holds for A > 1.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374; the factor max(1, A) is ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tractable.core.checks import as_floats, check_finite, check_range
from tractable.linear.arrays import LARGEST

__all__ = ["bulk_average", "bulk_density", "bulk_edges", "bulk_nodes", "bulk_quantile"]

Floats = NDArray[np.float64]

NODES = 64
NEAR_SQUARE = 0.1  # below it the gap at zero is too narrow for one Gauss-Legendre rule


def bulk_edges(aspect: float, sigma: float = 1.0) -> tuple[float, float]:
    r"""Return the smallest and largest singular value of pure noise, in the limit of large N.

    .. math:: x_\pm = \sigma \, |1 \pm \sqrt{A}|

    Parameters
    ----------
    aspect : float, > 0
        A = N3 / N1.
    sigma : float, >= 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    (float, float)
        Lower and upper edge.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> bulk_edges(0.25)
    (0.5, 1.5)
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST)
    root = float(np.sqrt(aspect))
    return sigma * abs(1 - root), sigma * (1 + root)


def bulk_density(x: ArrayLike, aspect: float, sigma: float = 1.0) -> Floats:
    r"""Return the density of the singular values of pure noise.

    .. math:: P(x) = \max(1, A) \, \frac{\sqrt{4 A - (x^2 - 1 - A)^2}}{\pi A x}
              \quad (\sigma = 1), \qquad P_\sigma(x) = P(x / \sigma) / \sigma

    Parameters
    ----------
    x : array
        Singular values, in the units of sigma.
    aspect : float, > 0
        A = N3 / N1.
    sigma : float, > 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    array, shape of x
        Density, 1 / unit of x; 0 outside the edges. Its integral is 1.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374, with the factor max(1, A) that A > 1 needs.

    Examples
    --------
    >>> bulk_density([0.4, 1.0, 1.6], aspect=0.25).round(4)
    array([0.    , 1.2328, 0.    ])
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST, open_low=True)
    values = np.asarray(x, dtype=float)
    check_finite("x", values)
    y = values / sigma
    square = 4 * aspect - (y**2 - 1 - aspect) ** 2
    inside = (square > 0) & (y > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.sqrt(np.maximum(square, 0.0)) / (np.pi * aspect * y)
    return np.where(inside, max(1.0, aspect) * density / sigma, 0.0)


def bulk_quantile(fraction: ArrayLike, aspect: float, sigma: float = 1.0) -> Floats:
    r"""Return the singular value below which a fraction of pure noise lies.

    With :math:`x^2 = 1 + A - 2 \sqrt A \cos\delta`, :math:`g = |1 - \sqrt A|` and
    :math:`G = 1 + \sqrt A`:

    .. math:: F(\delta) = \frac{2 \max(1, A)}{\pi \sqrt A} \Big[ \frac{\delta + \sin\delta}{2}
              + \frac{g^2 \delta}{4 \sqrt A} - \frac{g G}{2 \sqrt A}
              \arctan\Big( \frac{G}{g} \tan\frac{\delta}{2} \Big) \Big]

    Parameters
    ----------
    fraction : array, in [0, 1]
        Mass below; 0.5 gives the median.
    aspect : float, > 0
        A = N3 / N1.
    sigma : float, >= 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    array, shape of fraction
        Singular values, in the units of sigma.

    References
    ----------
    Derived here, from the law of Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> float(bulk_quantile(0.5, aspect=0.5).round(5))
    0.9113
    >>> float(bulk_quantile(0.5, aspect=2.0).round(5))
    1.28877
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST)
    wanted = as_floats("fraction", fraction)
    check_finite("fraction", wanted)
    if np.any((wanted < 0) | (wanted > 1)):
        raise ValueError(f"fraction must be in [0, 1], got {wanted.min():g} to {wanted.max():g}")
    return sigma * _singular_value(_angle(wanted, aspect), aspect)


def bulk_average(
    function: Callable[[Floats], ArrayLike], aspect: float, top_fraction: float = 1.0
) -> Floats:
    r"""Return the integral of a function over the largest singular values of pure noise.

    .. math:: \int_{x(\phi)}^{1 + \sqrt A} f(x) \, P(x) \, dx

    It is an integral, not a conditional mean: of f = 1 it is `top_fraction`.

    Parameters
    ----------
    function : callable
        f, of an array of singular values (n,), in units of sigma; returns (..., n).
    aspect : float, > 0
        A = N3 / N1.
    top_fraction : float, in [0, 1]
        Mass of the part of the bulk, counted from its upper edge.

    Returns
    -------
    array
        Shape of the function's value without its last axis.

    Notes
    -----
    Gauss-Legendre in the angle of `bulk_quantile`, where the density has no singular end. Near
    A = 1 the part 1 / x^2 of the density is integrated apart, with nodes crowded at its peak.

    References
    ----------
    Derived here, from the law of Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> float(bulk_average(lambda x: x**2, aspect=3.0).round(12))
    3.0
    """
    check_range("top_fraction", top_fraction, 0.0, 1.0)
    x, weight = bulk_nodes(aspect, 1.0 - top_fraction, 1.0)
    values = as_floats("function(x)", function(x))
    if values.shape[-1:] != x.shape:
        raise ValueError(
            f"function must return as many values as it gets in its last axis, {len(x)}, got shape "
            f"{values.shape}"
        )
    return np.asarray(values @ weight)


def bulk_nodes(
    aspect: float, low: float = 0.0, high: float = 1.0, *, n_nodes: int = NODES
) -> tuple[Floats, Floats]:
    """Return nodes x and weights w of the bulk between two quantiles: ``f(x) @ w`` is the integral.

    Parameters
    ----------
    aspect : float, > 0
        A = N3 / N1.
    low, high : float, in [0, 1]
        Mass below the part, and below its upper end.
    n_nodes : int
        Nodes of each Gauss-Legendre rule.

    Returns
    -------
    (array, array)
        Singular values in units of sigma, and weights with the sum ``high - low``; the weights of
        the second rule, near A = 1, are negative.

    Examples
    --------
    >>> x, weight = bulk_nodes(0.5, low=0.75)
    >>> round(float(weight.sum()), 12)
    0.25
    """
    check_aspect("aspect", aspect)
    x, weight = _nodes(float(aspect), float(low), float(high), n_nodes)
    return x.copy(), weight.copy()


@functools.lru_cache(maxsize=256)  # a map of transfer asks for the same few thousands of times
def _nodes(aspect: float, low: float, high: float, n_nodes: int) -> tuple[Floats, Floats]:
    if low >= high:
        return np.zeros(0), np.zeros(0)
    start = 0.0 if low <= 0 else float(_angle(np.array(low), aspect))
    stop = np.pi if high >= 1 else float(_angle(np.array(high), aspect))
    unit, unit_weight = _gauss(n_nodes)
    root = np.sqrt(aspect)
    g = abs(1 - root)
    factor = 2 * max(1.0, aspect) / np.pi
    delta = start + (stop - start) * unit
    first = (stop - start) * unit_weight
    x = _singular_value(delta, aspect)
    if g > NEAR_SQUARE * aspect**0.25:
        return x, first * factor * (np.sin(delta) / x) ** 2
    # sin^2(delta) / x^2 = cos^2(delta / 2) (1 - g^2 / x^2) / sqrt(A): the second part apart.
    w = first * factor / root * np.cos(delta / 2) ** 2
    if g == 0:
        return x, w
    scale = 2 * np.arcsin(min(g / (2 * np.sqrt(root)), 1.0))  # where x^2 has its complex root
    z = [np.arcsinh(d / scale) for d in (start, stop)]
    stretched = z[0] + (z[1] - z[0]) * unit
    inner = scale * np.sinh(stretched)
    step = (z[1] - z[0]) * unit_weight * scale * np.cosh(stretched)
    ratio = (g * np.cos(inner / 2) / _singular_value(inner, aspect)) ** 2
    second = -step * factor / root * ratio
    return np.concatenate([x, _singular_value(inner, aspect)]), np.concatenate([w, second])


def bulk_mass(x: ArrayLike, aspect: float) -> Floats:
    """Return the mass of the bulk below x (units of sigma): the inverse of `bulk_quantile`.

    Examples
    --------
    >>> float(bulk_mass(bulk_quantile(0.3, 0.5), 0.5).round(9))
    0.3
    """
    low, high = bulk_edges(aspect)
    y = np.clip(np.asarray(x, dtype=float), low, high)
    cosine = (1 + aspect - y**2) / (2 * np.sqrt(aspect))
    return _mass(np.arccos(np.clip(cosine, -1, 1)), aspect)


def check_aspect(name: str, aspect: float) -> None:
    """Refuse an aspect ratio that is not a positive finite number."""
    if np.ndim(aspect) != 0:
        raise TypeError(f"{name} must be one number, got shape {np.shape(aspect)}")
    check_finite(name, aspect)
    check_range(name, aspect, 0.0, open_low=True)


# --- the angle of the bulk -----------------------------------------------------------------------


def _singular_value(delta: Floats, aspect: float) -> Floats:
    """Return x of the angle delta; written without the cancellation at delta = 0."""
    root = np.sqrt(aspect)
    return np.sqrt((1 - root) ** 2 + 4 * root * np.sin(np.asarray(delta) / 2) ** 2)


def _mass(delta: Floats, aspect: float) -> Floats:
    root = np.sqrt(aspect)
    g, G = abs(1 - root), 1 + root
    half = np.asarray(delta) / 2
    psi = 2 * np.arctan2(G * np.sin(half), g * np.cos(half)) if g else np.zeros_like(half)
    inner = half + np.sin(2 * half) / 2 + (g * g * 2 * half - g * G * psi) / (4 * root)
    return 2 * max(1.0, aspect) / (np.pi * root) * inner


def _angle(fraction: Floats, aspect: float) -> Floats:
    """Return the angle with this mass below it, by bisection and then Newton's steps."""
    low, high = np.zeros_like(fraction), np.full_like(fraction, np.pi)
    for _ in range(40):
        middle = (low + high) / 2
        below = _mass(middle, aspect) < fraction
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    angle = (low + high) / 2
    for _ in range(2):
        x = _singular_value(angle, aspect)
        slope = 2 * max(1.0, aspect) / np.pi * np.sin(angle) ** 2 / np.where(x > 0, x**2, 1.0)
        error = _mass(angle, aspect) - fraction
        angle = np.clip(
            angle - np.where(slope > 1e-6, error / np.maximum(slope, 1e-6), 0), low, high
        )
    return np.where(fraction <= 0, 0.0, np.where(fraction >= 1, np.pi, angle))


_RULES: dict[int, tuple[Floats, Floats]] = {}


def _gauss(n_nodes: int) -> tuple[Floats, Floats]:
    """Return the Gauss-Legendre rule on [0, 1]."""
    if n_nodes not in _RULES:
        x, w = np.polynomial.legendre.leggauss(n_nodes)
        _RULES[n_nodes] = ((x + 1) / 2, w / 2)
    return _RULES[n_nodes]
