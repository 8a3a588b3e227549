"""Strength of one mode in time: any depth, growing or decaying, equal or unequal layers.

A balanced deep linear network learns each singular mode of its task on its own, by a scalar
equation (L8). Depth 1 and 2 have closed forms; every other depth has one universal function
(`tractable.linear.universal`), tabulated once and inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_range
from tractable.linear.arrays import as_float64, as_kind_of, check_broadcast
from tractable.linear.universal import growth_table

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["UnequalLayers", "deep_strength", "learning_time", "two_layer_product", "unequal_layers"]

CHUNK = 1 << 18  # entries per pass: no temporary above 2 MB
NEGLIGIBLE = 1e-100  # s / a0 below this decays by the law of s = 0


def deep_strength(
    s: Numbers, t: Numbers, a0: Numbers, depth: int, lam: Numbers = 1.0, tau: float = 1.0
) -> Any:
    r"""Return the strength of modes at times ``t``: the solution of the mode equation (L8).

    .. math:: \tau\,\dot a = L\,a^{2-2/L}\,(s - \lambda a), \qquad a(0) = a_0

    Parameters
    ----------
    s : array
        Association strengths: singular values of the input-output correlation, >= 0.
    t : array
        Times, >= 0, in the unit of ``tau``.
    a0 : array
        Initial strengths of the product of all layers, >= 0 (any sign for depth 1).
    depth : int
        Number of weight matrices L, >= 1: 1 is shallow, 2 has one hidden layer.
    lam : array
        Input variances along the modes, >= 0; 1 for white inputs. Where it is 0, ``s`` must be
        0 and the mode is frozen.
    tau : float
        Time constant, > 0: 1 / learning rate for times in steps.

    Returns
    -------
    a : array
        Of the broadcast shape of the arguments; use ``s[:, None]`` for (modes, times). Tensors
        come back for tensors, float32 for float32.

    Raises
    ------
    ValueError
        An argument is out of its range or not finite; its name is in the message.

    Notes
    -----
    All forms are written with decaying exponentials, so that no time overflows. A mode that
    starts above s / lam decays to it, a mode with s = 0 decays by a power law (L11). Errors
    against a solver of 8th order are below 1e-9 s.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; Saxe, McClelland, Ganguli 2014,
    arXiv:1312.6120; depths other than 2 and 4: (L9).

    Examples
    --------
    >>> s = np.array([10.0, 4.0])
    >>> deep_strength(s[:, None], np.array([0.0, 0.5, 1.0]), 1e-3, depth=2).round(3)
    array([[1.000e-03, 6.878e+00, 9.999e+00],
           [1.000e-03, 5.400e-02, 1.708e+00]])
    """
    check_depth(depth)
    check_range("tau", tau, 0, open_low=True)
    arrays = [
        as_float64("s", s, low=0),
        as_float64("t", t, low=0, high=np.inf),
        as_float64("a0", a0, low=None if depth == 1 else 0),
        as_float64("lam", lam, low=0),
    ]
    check_broadcast(**dict(zip(("s", "t", "a0", "lam"), arrays, strict=True)))
    _refuse_growth_without_input(arrays[0], arrays[3])
    return as_kind_of(_strength(depth, tau, *arrays), s, t, a0, lam)


def learning_time(
    s: Numbers,
    frac: Numbers,
    a0: Numbers,
    depth: int,
    lam: Numbers = 1.0,
    tau: float = 1.0,
) -> Any:
    r"""Return the time at which a mode reaches a fraction of its final strength (L4, L9).

    .. math:: t = \frac{\tau\lambda^{1-2/L}}{L\,s^{2-2/L}}\,[T_L(x) - T_L(x_0)],
        \qquad x = \ln\frac{f}{1-f}, \quad x_0 = \ln\frac{\lambda a_0}{s-\lambda a_0}

    Parameters
    ----------
    s, a0, depth, lam, tau
        As in `deep_strength`.
    frac : array
        Fraction f of s / lam, within (0, 1): 0.5 is the half-rise.

    Returns
    -------
    t : array
        Of the broadcast shape. 0 where the mode starts at or above the fraction; infinite where
        it never gets there (s = 0, or a0 = 0 with two layers or more).

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; depth: (L9).

    Examples
    --------
    >>> learning_time(np.array([10.0, 4.0]), 0.5, 1e-3, depth=2).round(4)
    array([0.4605, 1.0367])
    """
    check_depth(depth)
    check_range("tau", tau, 0, open_low=True)
    fractions = as_float64("frac", frac)
    if fractions.size and not (0 < fractions.min() <= fractions.max() < 1):
        raise ValueError(f"frac must be within (0, 1), got {fractions.min()} .. {fractions.max()}")
    sv, lv = as_float64("s", s, low=0), as_float64("lam", lam, low=0)
    av = as_float64("a0", a0, low=None if depth == 1 else 0)
    check_broadcast(s=sv, frac=fractions, a0=av, lam=lv)
    _refuse_growth_without_input(sv, lv)
    sv, fv, av, lv = np.broadcast_arrays(sv, fractions, av, lv)
    time = np.full(sv.shape, np.inf)
    grows = (sv > 0) & ((av > 0) | (depth == 1))
    s1, f1, l1 = sv[grows], fv[grows], lv[grows]
    start = av[grows] * l1 / s1
    below = start < f1
    start = np.where(below, start, f1)  # at or above the fraction: no time is needed
    passed = passage(s1, f1, start, depth, l1, tau)
    time[grows] = np.where(below, passed, 0.0)
    return as_kind_of(time, s, frac, a0, lam)


def passage(
    s: np.ndarray,
    frac: np.ndarray,
    start: np.ndarray,
    depth: int,
    lam: np.ndarray | float = 1.0,
    tau: float = 1.0,
) -> np.ndarray:
    """Return the time between two fractions of the final strength, within (0, 1), unchecked.

    Examples
    --------
    >>> passage(np.array([10.0]), np.array([0.5]), np.array([1e-4]), depth=2).round(4)
    array([0.4605])
    """
    if depth == 1:
        return tau / lam * np.log((1 - start) / (1 - frac))
    x0, x1 = np.log(start / (1 - start)), np.log(frac / (1 - frac))
    rate = lam * (s / lam) ** (2 - 2 / depth)
    if depth == 2:
        return tau / (2 * rate) * (x1 - x0)
    table = growth_table(1 - 2 / depth)
    return tau / (depth * rate) * (table.value(x1) - table.value(x0))


def two_layer_product(s: Numbers, a0: Numbers, b0: Numbers, t: Numbers, tau: float = 1.0) -> Any:
    r"""Return the product of two unequal layer strengths in time (L7), for white inputs.

    .. math:: \tau\dot a = b\,(s - ab), \qquad \tau\dot b = a\,(s - ab)

    Parameters
    ----------
    s : array
        Association strength, >= 0.
    a0, b0 : array
        Initial strengths of the first and the second layer, any sign.
    t : array
        Times, >= 0.
    tau : float
        Time constant, > 0.

    Returns
    -------
    product : array
        a(t) b(t), of the broadcast shape.

    Notes
    -----
    From a0 = -b0 the product never becomes positive: it ends at the saddle 0;
    `unequal_layers` flags that. The rate is R / tau with R^2 = 4 s^2 + (a0^2 - b0^2)^2: twice s
    for equal layers (rich), ``|a0^2 - b0^2|`` for very unequal ones (lazy).

    References
    ----------
    Saxe, McClelland, Ganguli 2014, arXiv:1312.6120 (in hyperbolic angles; this form is uniform).

    Examples
    --------
    >>> two_layer_product(1.3, 0.3, 0.01, np.array([0.0, 1.0, 3.0, 9.0])).round(6)
    array([0.003   , 0.264427, 1.272836, 1.3     ])
    """
    return as_kind_of(unequal_layers(s, a0, b0, t, tau).product, s, a0, b0, t)


@dataclass(frozen=True, eq=False)
class UnequalLayers:
    """Two layer strengths of one mode in time; see `unequal_layers`.

    Parameters
    ----------
    first, second : ndarray
        a(t) and b(t).
    product : ndarray
        a(t) b(t), computed without cancellation.
    stuck : ndarray of bool
        True where the start leads into the saddle at 0.
    """

    first: np.ndarray
    second: np.ndarray
    product: np.ndarray
    stuck: np.ndarray


def unequal_layers(
    s: Numbers, a0: Numbers, b0: Numbers, t: Numbers, tau: float = 1.0
) -> UnequalLayers:
    r"""Return both layer strengths and their product in time (L7).

    With x = (a + b)/sqrt 2 and y = (a - b)/sqrt 2 the product xy is conserved, and
    x = x0 sqrt(G), y = y0 / sqrt(G) with a Riccati equation for G, solved as a quotient of two
    sums of positive terms: no cancellation at equal layers, no overflow at late times.

    Parameters
    ----------
    s, a0, b0, t, tau
        As in `two_layer_product`.

    References
    ----------
    Saxe, McClelland, Ganguli 2014, arXiv:1312.6120.

    Examples
    --------
    >>> layers = unequal_layers(1.3, [0.2, 0.2], [0.1, -0.2], 20.0)
    >>> np.allclose(layers.product, [1.3, 0.0]), layers.stuck
    (True, array([False,  True]))
    """
    check_range("tau", tau, 0, open_low=True)
    sv, av, bv = as_float64("s", s, low=0), as_float64("a0", a0), as_float64("b0", b0)
    tv = as_float64("t", t, low=0, high=np.inf)
    check_broadcast(s=sv, a0=av, b0=bv, t=tv)
    sv, av, bv, tv = np.broadcast_arrays(sv, av, bv, tv)
    x0, y0 = (av + bv) / math.sqrt(2), (av - bv) / math.sqrt(2)
    x2, y2 = x0**2, y0**2
    difference = np.abs((av - bv) * (av + bv))
    rate = np.hypot(2 * sv, difference)
    decay = np.exp(-rate * tv / tau)
    slow, fast = 2 * sv + rate, np.where(rate > 0, rate, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        passed = np.where(rate > 0, -np.expm1(-rate * tv / tau) / fast, tv / tau)
        # G = top / bottom; R - 2s is written as difference^2 / (R + 2s).
        small = np.where(rate > 0, difference * (difference / slow) / (2 * fast), 0.5)
        large = np.where(rate > 0, slow / (2 * fast), 0.5)
        top = large + small * decay + y2 * passed
        bottom = small + large * decay + x2 * passed
        stuck = x2 == 0
        root = np.sqrt(top / bottom)
        x = np.where(stuck, 0.0, x0 * root)
        y = y0 * np.sqrt(bottom / top)
        product = (np.where(stuck, 0.0, x2 * top / bottom) - y2 * bottom / top) / 2
    return UnequalLayers((x + y) / math.sqrt(2), (x - y) / math.sqrt(2), product, stuck & (y2 > 0))


# --- evaluation ------------------------------------------------------------------------------


def check_depth(depth: Any) -> None:
    """Refuse a depth that is no whole number >= 1."""
    real = isinstance(depth, int | float | np.integer | np.floating)
    whole = real and bool(np.isfinite(depth)) and depth == int(depth)
    if isinstance(depth, bool) or not whole:
        raise ValueError(f"depth must be a whole number of weight matrices >= 1, got {depth!r}")
    check_range("depth", depth, 1)


def _refuse_growth_without_input(s: np.ndarray, lam: np.ndarray) -> None:
    if (lam <= 0).any() and ((s > 0) & (lam <= 0)).any():
        raise ValueError(
            "lam must be > 0 where s > 0: a direction without input has no correlation with the "
            "output; set s to 0 there, or drop the mode"
        )


def _rate(s: np.ndarray, lam: np.ndarray, depth: int) -> np.ndarray:
    """Return lam (s/lam)^(2-2/L): the linear rate at the final strength, over L."""
    return lam * (s / lam) ** (2 - 2 / depth)


def _strength(depth: int, tau: float, *arrays: np.ndarray) -> np.ndarray:
    """Evaluate s, t, a0, lam without checks; depths above 2, and large arrays, in flat chunks."""
    evaluate = {1: _shallow, 2: _two_layers}.get(depth, partial(_deep, depth=depth))
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    if depth <= 2 and math.prod(shape) <= CHUNK:
        return evaluate(*arrays, tau=tau)
    result = np.empty(shape)
    flat = result.reshape(-1)
    entries = [view.flat for view in np.broadcast_arrays(*arrays)]
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        flat[part] = evaluate(*(entry[part] for entry in entries), tau=tau)
    return result


def _shallow(
    s: np.ndarray, t: np.ndarray, a0: np.ndarray, lam: np.ndarray, tau: float
) -> np.ndarray:
    """Evaluate (L5): every mode relaxes at the rate lam."""
    decay = np.exp(-lam * t / tau)
    target = np.where(lam > 0, s / np.where(lam > 0, lam, 1.0), 0.0)
    return a0 * decay - target * np.expm1(-lam * t / tau)


def _two_layers(
    s: np.ndarray, t: np.ndarray, a0: np.ndarray, lam: np.ndarray, tau: float
) -> np.ndarray:
    """Evaluate (L3) as a0 / (E + a0 lam (1 - E)/s) with E = exp(-2 s t / tau)."""
    exponent = (2 / tau) * s * t
    zero = s < np.finfo(float).tiny
    if zero.any():
        passed = np.where(zero, (2 / tau) * t, -np.expm1(-exponent) / np.where(zero, 1.0, s))
    else:
        passed = -np.expm1(-exponent) / s
    bottom = np.exp(-exponent) + a0 * lam * passed
    empty = (a0 == 0) & (bottom == 0)
    return a0 / np.where(empty, 1.0, bottom) if empty.any() else a0 / bottom


def _deep(
    s: np.ndarray, t: np.ndarray, a0: np.ndarray, lam: np.ndarray, tau: float, *, depth: int
) -> np.ndarray:
    """Evaluate one-dimensional arrays for L >= 3 by the universal functions (L9), (L10), (L11)."""
    power = 2 - 2 / depth
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        target = np.where(lam > 0, s / np.where(lam > 0, lam, 1.0), 0.0)
        vanishing = target <= NEGLIGIBLE * a0
        grows = ~vanishing & (a0 < target) & (a0 > 0)
        falls = ~vanishing & (a0 > target)
        a = np.array(np.broadcast_to(a0, s.shape), dtype=float)
        clock = depth * _rate(s, np.where(lam > 0, lam, 1.0), depth) * t / tau
        if grows.any():
            table, end = growth_table(1 - 2 / depth), target[grows]
            start = a0[grows] / end
            x0 = np.log(start) - np.log1p(-start)
            x = table.inverse(table.value(x0) + clock[grows])
            a[grows] = end / (1 + np.exp(-x))
        if falls.any():
            table, end = growth_table(-power), target[falls]
            z = table.inverse(table.value(-np.log(a0[falls] / end - 1)) + clock[falls])
            a[falls] = end * (1 + np.exp(-z))
        if vanishing.any():
            v, u = vanishing & (a0 > 0), a0[vanishing & (a0 > 0)]
            a[v] = u * (1 + (2 * depth - 2) * lam[v] * t[v] / tau * u**power) ** (-1 / power)
    return np.where(t == 0, a0, a)
