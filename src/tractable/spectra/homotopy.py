"""Newton's method along a rotation: from the negative axis, where all is real, to lambda > 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Roots", "rotate"]

Residual = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

TOLERANCE = 1e-11
LARGEST_STEP = 0.5
FLOOR = 1e-300
SHRINK = 0.25  # of the distance to the border of the strip that one step must leave


@dataclass(frozen=True)
class Roots:
    """Roots of F(s) = t + i theta at the last theta, one for each t."""

    s: np.ndarray
    """The roots, complex, shape (n,)."""
    converged: np.ndarray
    """Whether the last step was below 1e-11 and the root is in the strip, shape (n,)."""
    evaluations: int
    """Evaluations of F over a whole batch."""
    residual: float
    """Largest |step| among the converged ones."""


def rotate(
    F: Residual,
    start: np.ndarray,
    t: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    noise: float,
    n_steps: int = 14,
    guess: np.ndarray | None = None,
    insist: bool = True,
    height: float = 0.0,
) -> Roots:
    r"""Solve F(s) = t + i theta for theta from pi to 0, eq. (S10), all t at once.

    A step of theta and one step of Newton are a single evaluation. A step that leaves the strip
    0 < Im s < pi, where exactly one root lies, is replaced by the map that contracts into it. What
    has not converged is, with ``insist``, tried again in finer steps of theta, then with the
    contraction alone.

    Parameters
    ----------
    F : callable
        Returns F(s) and dF/ds at complex s.
    start : array
        Real parts of the roots at theta = pi, shape (n,).
    t : array
        Real right-hand sides (log lambda), shape (n,).
    contract : callable
        ``contract(s, rest)`` is the next iterate of the fixed-point map, given F - t - i theta.
    noise : float
        Rounding error of F: a residual below it counts as zero.
    n_steps : int
        Steps of theta.
    guess : array, optional
        Complex roots of a coarser equation, NaN where there is none: tried first.
    insist : bool
        Try again what has not converged.
    height : float
        The last theta, in place of 0.
    """
    t = t + 1j * height
    s, converged, count, residual = _guessed(F, guess, t, contract, noise)
    if not converged.all():
        rest = ~converged
        s[rest], converged[rest], more, size = _march(
            F, start[rest], t[rest], contract, noise, n_steps
        )
        count, residual = count + more, max(residual, size)
    if insist and not converged.all():
        rest = ~converged
        again, good, more, size = _march(F, start[rest], t[rest], contract, noise, 8 * n_steps)
        s[rest] = np.where(good, again, s[rest])
        converged[rest], count, residual = good, count + more, max(residual, size)
    if insist and not converged.all():
        rest = ~converged
        again, good, more, size = _contract_only(F, s[rest], t[rest], contract, noise)
        s[rest], converged[rest] = again, good
        count, residual = count + more, max(residual, size)
    return Roots(s, converged, count, residual)


def _march(
    F: Residual,
    start: np.ndarray,
    t: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    noise: float,
    n_steps: int,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    s = start + 1j * (np.pi * (1 - 0.5 / n_steps))
    for share in 1 - np.arange(1, n_steps) / n_steps:
        s = _newton(F, s, t + 1j * share * (np.pi - t.imag), contract, noise)[0]
    s, converged, more, worst = _polish(F, s, t, contract, noise, 40)
    return s, converged, n_steps - 1 + more, worst


def _guessed(
    F: Residual,
    guess: np.ndarray | None,
    t: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    noise: float,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Polish the guesses, where there are any."""
    s, converged = np.zeros(t.size, complex), np.zeros(t.size, bool)
    if guess is None or not (known := np.isfinite(guess)).any():
        return s, converged, 0, 0.0
    s[known], converged[known], count, worst = _polish(
        F, guess[known], t[known], contract, noise, 8
    )
    return s, converged, count, worst


def _polish(
    F: Residual,
    s: np.ndarray,
    t: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    noise: float,
    n_iterations: int,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Iterate Newton's step at the last theta; converged ones are dropped from the batch."""
    s, size, active = s.copy(), np.full(t.size, np.inf), np.arange(t.size)
    count = 0
    for _ in range(n_iterations):
        s[active], size[active] = _newton(F, s[active], t[active], contract, noise)
        active = active[~(size[active] < TOLERANCE)]
        count += 1
        if not active.size:
            break
    converged = (size < TOLERANCE) & (s.imag > 0) & (s.imag < np.pi)
    worst = float(size[converged].max()) if converged.any() else 0.0
    return s, converged, count, worst


def _newton(
    F: Residual,
    s: np.ndarray,
    target: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the next iterates, kept in the strip, and the sizes of the steps."""
    value, slope = F(s)
    rest = value - target
    with np.errstate(all="ignore"):
        step = -rest / slope
        size = np.abs(step)
        step *= np.minimum(1.0, LARGEST_STEP / np.maximum(size, FLOOR))
    size[np.abs(rest) < noise] = 0.0
    after = s + step
    outside = ~((after.imag > 0) & (after.imag < np.pi) & np.isfinite(after))
    if outside.any():
        mapped = contract(s[outside], rest[outside])
        after[outside] = np.where(np.isfinite(mapped), mapped, s[outside])
        size[outside] = 1.0
    # Poles lie along both sides of the strip: they are approached step by step only.
    above, below = SHRINK * s.imag, np.pi - SHRINK * (np.pi - s.imag)
    size[(after.imag < above) | (after.imag > below)] = 1.0
    return after.real + 1j * np.clip(after.imag, above, below), size


def _contract_only(
    F: Residual,
    s: np.ndarray,
    t: np.ndarray,
    contract: Callable[[np.ndarray, np.ndarray], np.ndarray],
    noise: float,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Iterate the fixed-point map for a while, then Newton again."""
    s = s.real + 1j * np.clip(s.imag, 1e-6, np.pi - 1e-6)
    for _ in range(60):
        value, _slope = F(s)
        mapped = contract(s, value - t)
        mapped = np.where(np.isfinite(mapped), mapped, s)
        s = mapped.real + 1j * np.clip(mapped.imag, FLOOR, np.pi - FLOOR)
    s, good, count, worst = _polish(F, s, t, contract, noise, 40)
    return s, good, 60 + count, worst
