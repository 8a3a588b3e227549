"""The time of the smallest error: when to stop.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374, optimal stopping; the search is this library's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tractable.linear.strengths import passage

__all__ = ["least_error", "unit_grid"]

Floats = NDArray[np.float64]

SURE = 1e-9  # of the error: what a finer grid could still change


def least_error(
    error: Callable[[Floats], Floats],
    s: Floats,
    goal: Floats,
    a0: float,
    depth: int,
    tau: float = 1.0,
    *,
    decaying: bool = False,
) -> tuple[float, float]:
    """Return the time of the smallest error, and that error.

    After the last mode has reached the strength that is best for it, every further step does
    harm. So the minimum lies between 0 and that time. There may be several local minima, one for
    each mode: times up to there, and more in the rise of each mode, are refined around the best.
    Deeper networks learn more suddenly and get more times. Where modes start above their end, they
    are still improving when the others are learned, and later times are searched as well.

    Parameters
    ----------
    error : callable
        Error at times (T,).
    s, goal : array, shape (r,)
        Final strengths of the useful modes, and the best ones, 0 < goal <= s.
    a0 : float
        Initial strength.
    depth, tau
        As in `generalization_curve`.
    decaying : bool
        Whether some mode starts above its end.

    Returns
    -------
    (float, float)
        (0, error at 0) when no mode is worth learning and none decays.
    """
    start, spans = np.zeros(1), []
    if decaying:  # from a0, at the rate of a mode of that strength
        spans.append(start)
        spans.append(tau / (depth * a0 ** (2 - 2 / depth)) * np.geomspace(1e-3, 1e3, 200))
    size = np.where(s > 0, s, 1.0)
    late = np.minimum(goal / size, 1 - 1e-12)
    worth = late > a0 / size
    if worth.any():
        s, late = s[worth], late[worth]
        end = np.array([np.maximum(0.1 * late, a0 / s), late])
        begin, stop = passage(s, end, a0 / s, depth, tau=tau)
        overall, in_rise = (40, 24) if depth <= 2 else (200, max(40, 200 // len(s)))
        rises = begin[:, None] + (stop - begin)[:, None] * unit_grid(in_rise)
        spans += [stop.max() * unit_grid(overall), rises.ravel()]
    elif not decaying:
        return 0.0, float(error(start)[0])
    grid = np.concatenate(spans)
    grid.sort()
    values = error(grid)
    for turn in range(2):
        i = j = int(values.argmin())
        at, last = grid[i], len(grid) - 1
        while i > 0 and grid[i] >= at * (1 - 1e-9):  # times may repeat
            i -= 1
        while j < last and grid[j] <= at * (1 + 1e-9):
            j += 1
        low, high = grid[i], grid[j]
        if high - low <= 1e-9 * high:
            break
        grid = low + (high - low) * unit_grid(17)
        values = error(grid)
        best = int(values.argmin())
        if 0 < best < 16:
            middle = min(max(best, 2), 14)
            place, least, doubt = vertex(values[middle - 2 : middle + 3].tolist(), best - middle)
            # in deeper networks modes of noise rise so suddenly that the terms do not tell
            if doubt <= SURE and (depth <= 2 or turn):
                return float(grid[middle] + place * (grid[1] - grid[0])), least
    best = int(values.argmin())
    if 0 < best < len(grid) - 1 and len(grid) == 17:  # the vertex of a parabola
        before, least, after = values[best - 1 : best + 2]
        bend = before - 2 * least + after
        shift = (before - after) / (2 * bend) if bend > 0 else 0.0
        return float(grid[best] + shift * (grid[1] - grid[0])), float(least - bend * shift**2 / 2)
    return float(grid[best]), float(values[best])


def vertex(values: list[float], near: int) -> tuple[float, float, float]:
    """Return place and value of the minimum of the quartic through values at -2, -1, 0, 1, 2.

    It is sought within 1 of ``near``, the place of the least value. The third number is what terms
    of higher order may change: that of the cubic and quartic ones, smaller by as much, twice, as
    those are smaller than the parabola's.

    Examples
    --------
    >>> f = lambda x: (x - 0.3) ** 2 + 0.01 * x**4 + 5
    >>> place, value, doubt = vertex([f(x) for x in (-2, -1, 0, 1, 2)], 0)
    >>> round(place, 3), round(value, 4), doubt < 1e-3
    (0.299, 5.0001, True)
    """
    a, b, c, d, e = values
    slope, bend = (a - 8 * b + 8 * d - e) / 12, (-a + 16 * b - 30 * c + 16 * d - e) / 12
    third, fourth = (-a + 2 * b - 2 * d + e) / 2, a - 4 * b + 6 * c - 4 * d + e
    if bend <= 0:
        return 0.0, c, float("inf")
    x = float(near)
    for _ in range(8):  # Newton's steps
        steep = bend + x * (third + x * fourth / 2)
        x -= (slope + x * (bend + x * (third / 2 + x * fourth / 6))) / (
            steep if steep > 0 else bend
        )
        x = min(max(x, near - 1.0), near + 1.0)
    value = c + x * (slope + x * (bend / 2 + x * (third / 6 + x * fourth / 24)))
    high = abs(third) + abs(fourth)
    return x, value, high * (high / bend) ** 2 / 24


@lru_cache(maxsize=8)
def unit_grid(n: int) -> Floats:
    """Return n equally spaced numbers from 0 to 1."""
    return np.linspace(0.0, 1.0, n)
