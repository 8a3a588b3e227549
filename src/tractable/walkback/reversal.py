"""What training does to a linear operator: time reversal, damped, with and without a ladder."""

from __future__ import annotations

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
from tractable.walkback.linear_checks import as_temperatures, check_covariance, matrices
from tractable.walkback.linear_likelihood import gaussian_kl
from tractable.walkback.linear_theory import linear_entropy_production, stationary_law

__all__ = [
    "LadderFixedPoint",
    "ReversalHistory",
    "conditioned_ladder",
    "damped_reversal",
    "gaussian_ladder",
    "tied_ladder",
    "time_reversal",
]


def time_reversal(A: ArrayLike, D: ArrayLike, C: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the exact maximizer of the objective for data of covariance C.

    .. math:: \tilde A = C A^\top (A C A^\top + D)^{-1}, \qquad \tilde D = C - \tilde A A C

    (W21): the law of the way back of a walk that starts at the data. If C is the stationary
    covariance it is the time reversal, and applying it twice gives A and D back.

    Parameters
    ----------
    A, D, C : array_like, shape (n, n)
        Map, noise covariance, covariance of the data.

    Returns
    -------
    A, D : ndarray, shape (n, n)

    Examples
    --------
    >>> A, D = time_reversal([[0.5]], [[0.5]], [[1.0]])
    >>> A.round(6), D.round(6)
    (array([[0.666667]]), array([[0.666667]]))
    """
    a, d = matrices(A, D)
    c = np.atleast_2d(as_floats("C", C))
    check_shape("C", c.shape, a.shape)
    check_covariance("C", c)
    back = np.linalg.solve(a @ c @ a.T + d, a @ c).T
    noise = c - back @ a @ c
    return back, (noise + noise.T) / 2


@dataclass(frozen=True, eq=False)
class ReversalHistory:
    """A linear operator along training.

    Attributes
    ----------
    A, D : ndarray, shape (steps + 1, n, n)
        The operator; the first is the start.
    rate : ndarray, shape (steps + 1,)
        Its entropy production, nats per step.
    distance : ndarray, shape (steps + 1,)
        Largest entry of its stationary covariance minus that of the data, absolute.
    """

    A: np.ndarray
    D: np.ndarray
    rate: np.ndarray
    distance: np.ndarray


def damped_reversal(
    A: ArrayLike, D: ArrayLike, C: ArrayLike, *, damping: float = 0.1, steps: int = 100
) -> ReversalHistory:
    r"""Train a linear operator at T = 1 by partial steps toward the maximizer.

    .. math:: A \leftarrow A + \eta (\tilde A - A), \qquad D \leftarrow D + \eta (\tilde D - D)

    (W22). Full steps (eta = 1) alternate between an operator and its reversal and keep the entropy
    production; partial ones, as of gradient ascent, end in detailed balance with respect to the
    data.

    Parameters
    ----------
    A, D, C : array_like, shape (n, n)
        Start, and covariance of the data.
    damping : float
        eta, in (0, 1].
    steps : int
        >= 1.

    Examples
    --------
    >>> turn = 0.8 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    >>> history = damped_reversal(turn, 0.5 * np.eye(2), np.diag([1.0, 2.0]), steps=20)
    >>> history.rate[:3].round(3)
    array([1.078, 0.629, 0.381])
    """
    a, d = matrices(A, D)
    c = np.atleast_2d(as_floats("C", C))
    check_range("damping", damping, 0, 1, open_low=True)
    check_count("steps", steps)
    maps, noises = [a], [d]
    for _ in range(steps):
        back, noise = time_reversal(a, d, c)
        a, d = a + damping * (back - a), d + damping * (noise - d)
        maps.append(a)
        noises.append(d)
    pairs = list(zip(maps, noises, strict=True))
    return ReversalHistory(
        np.array(maps),
        np.array(noises),
        np.array([linear_entropy_production(a, d) for a, d in pairs]),
        np.array([np.abs(stationary_law(a, d)[1] - c).max() for a, d in pairs]),
    )


def tied_ladder(
    temperatures: ArrayLike,
    *,
    a: float = 0.9,
    d: float = 0.01,
    v: float = 1.0,
    damping: float = 0.1,
    steps: int = 3000,
) -> tuple[float, float, float]:
    r"""Train one linear operator of one number for all temperatures.

    .. math:: \tilde a = \frac{\sum_t a v_{t-1} / T_t}{\sum_t v_t / T_t}, \qquad
        \tilde d = \frac1L \sum_t \frac{E[(s_{t-1} - \tilde a s_t)^2]}{T_t}

    (W23), with :math:`v_t = a^2 v_{t-1} + T_t d`. Its chain at T = 1 has the variance
    :math:`d / (1 - a^2)`: below that of the data as soon as the ladder heats. The value depends
    weakly on the start, since the noise is a nearly marginal direction.

    Parameters
    ----------
    temperatures : array_like, shape (L,)
        The schedule.
    a, d : float
        Start.
    v : float
        Variance of the data.
    damping, steps : float, int
        As in `damped_reversal`.

    Returns
    -------
    a, d, variance : float
        The end, and its stationary variance at T = 1.

    Examples
    --------
    >>> round(tied_ladder(2.0 ** np.arange(8))[2], 4)
    0.2467
    """
    t = as_temperatures(temperatures)
    check_finite("a", a)
    for name, value in (("d", d), ("v", v)):
        check_range(name, value, 0, open_low=True)
    check_range("damping", damping, 0, 1, open_low=True)
    check_count("steps", steps)
    for _ in range(steps):
        variance = np.empty(len(t) + 1)
        variance[0] = v
        for k, hot in enumerate(t):
            variance[k + 1] = a**2 * variance[k] + hot * d
        before, after = variance[:-1], variance[1:]
        back = float((a * before / t).sum() / (after / t).sum())
        noise = float(((before - 2 * back * a * before + back**2 * after) / t).mean())
        a, d = a + damping * (back - a), d + damping * (noise - d)
    return a, d, d / (1 - a**2)


@dataclass(frozen=True, eq=False)
class LadderFixedPoint:
    """A walk whose operator knows the temperature, after training.

    Attributes
    ----------
    a, d : ndarray, shape (L,)
        Map and noise variance of each temperature.
    walked : ndarray, shape (L + 1,)
        Variance of the walk, from the data on.
    generated : float
        Variance of generated states, from the walk's end down.
    dissipation : ndarray, shape (L,)
        sigma_t of each step, nats.
    """

    a: np.ndarray
    d: np.ndarray
    walked: np.ndarray
    generated: float
    dissipation: np.ndarray


def conditioned_ladder(
    temperatures: ArrayLike,
    *,
    sigma: float = 0.05,
    v: float = 1.0,
    noise: str = "fixed",
    a: float | ArrayLike = 0.9,
    damping: float = 0.2,
    steps: int = 4000,
) -> LadderFixedPoint:
    r"""Train a linear operator of one number that has a map of its own at every temperature.

    .. math:: \tilde a_t = a_t \frac{v_{t-1}}{v_t}, \qquad
        a_t^2 \to \max\!\left(0, 1 - \frac{T_t \sigma^2}{v}\right), \qquad
        \mathrm{Var}\, q_t \to \max(v, T_t \sigma^2)

    (W24), the limit for a fixed noise :math:`d_t = T_t \sigma^2`: the walk is stationary until the
    noise is as wide as the data, then jumps to independence and heats. A learned noise,
    :math:`\tilde d_t = v_{t-1} - \tilde a_t^2 v_t`, keeps the walk on the data at every
    temperature: it never heats.

    Parameters
    ----------
    temperatures : array_like, shape (L,)
        The schedule.
    sigma : float
        Noise at T = 1 (at the start where it is learned).
    v : float
        Variance of the data.
    noise : str
        ``fixed`` or ``learned``.
    a : float or array_like, shape (L,)
        Start of the map.
    damping, steps : float, int
        As in `damped_reversal`.

    Examples
    --------
    >>> found = conditioned_ladder(2.0 ** np.arange(12))
    >>> round(found.generated, 3), round(float(found.dissipation.sum()), 4)
    (1.049, 0.2072)
    """
    check_choice("noise", noise, ("fixed", "learned"))
    t = as_temperatures(temperatures)
    for name, value in (("sigma", sigma), ("v", v)):
        check_range(name, value, 0, open_low=True)
    check_range("damping", damping, 0, 1, open_low=True)
    check_count("steps", steps)
    start = as_floats("a", a)
    if start.shape not in ((), t.shape):
        raise ValueError(f"a must be a number or have shape {t.shape}, got {start.shape}")
    check_finite("a", start)
    maps = np.broadcast_to(start, t.shape).copy()
    spread = t * sigma**2
    for _ in range(steps):
        walked = _walked(maps, spread, v)
        back = maps * walked[:-1] / walked[1:]
        wanted = walked[:-1] - back**2 * walked[1:]
        maps = maps + damping * (back - maps)
        if noise == "learned":
            spread = spread + damping * (wanted - spread)
    return _fixed_point(maps, spread, v)


def gaussian_ladder(temperatures: ArrayLike, *, sigma: float, v: float) -> LadderFixedPoint:
    """Return the limit of (W24) for a fixed noise, without iterating.

    This is what ``GaussianOperator(skip="gaussian")`` does with F = 0 to a component of variance v.
    """
    for name, value in (("sigma", sigma), ("v", v)):
        check_range(name, value, 0, open_low=True)
    spread = as_temperatures(temperatures) * sigma**2
    return _fixed_point(np.sqrt(np.maximum(0.0, 1 - spread / v)), spread, v)


def _walked(maps: np.ndarray, spread: np.ndarray, v: float) -> np.ndarray:
    walked = np.empty(len(maps) + 1)
    walked[0] = v
    for k, (a, d) in enumerate(zip(maps, spread, strict=True)):
        walked[k + 1] = a * a * walked[k] + d
    return walked


def _fixed_point(maps: np.ndarray, spread: np.ndarray, v: float) -> LadderFixedPoint:
    walked = _walked(maps, spread, v)
    generated = walked[-1]
    for a, d in zip(maps[::-1], spread[::-1], strict=True):
        generated = a * a * generated + d
    zero, lost = np.zeros(2), []
    for a, d, before, after in zip(maps, spread, walked[:-1], walked[1:], strict=True):
        forth = np.array([[before, a * before], [a * before, after]])
        back = np.array([[a * a * after + d, a * after], [a * after, after]])
        lost.append(gaussian_kl(zero, forth, zero, back))
    return LadderFixedPoint(maps, spread, walked, float(generated), np.array(lost))
