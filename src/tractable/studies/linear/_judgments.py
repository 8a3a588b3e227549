"""When an item is judged to belong: times of passage, and pairs in the wrong order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def first_times(t: np.ndarray, path: np.ndarray, s: float, v: np.ndarray) -> np.ndarray:
    """Return when each item's part in a mode passes a fifth of the most typical item's end."""
    from tractable.linear.mode_readers import first_passage

    goal = 0.2 * s * float(np.abs(v).max())
    return np.array([first_passage(t, row, goal) for row in path])


def member_times(maps: np.ndarray, t: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Return the same for a network: outputs are in the coordinates of the modes."""
    strengths = np.abs(np.einsum("tai,ia->a", maps[-1:], V))
    result = [
        first_times(t, maps[:, a].T * np.sign(V[:, a])[:, None], float(strengths[a]), V[:, a])
        for a in range(V.shape[1])
    ]
    return np.stack(result, 1)


def later_pairs(measured: xr.Dataset, theory: xr.Dataset, clear: np.ndarray) -> int:
    """Return how many pairs are judged in the wrong order, over modes, in the mean of networks.

    Of two items the more typical one should be judged sooner; pairs whose typicality differs by
    less than a tenth of the largest are not counted: a random start moves single items more.
    """
    wrong = 0
    for k in np.flatnonzero(clear):
        v = np.abs(theory.analyzer.values[:, k])
        times = measured.time.values[:, :, k].mean(0)
        more = v[:, None] > v + 0.1 * v.max()
        wrong += int((more & np.isfinite(times)[None, :] & (times[:, None] >= times)).sum())
    return wrong
