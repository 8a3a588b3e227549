"""Illusory correlations: beliefs that rise and fall again although nothing in the world does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractable.core.checks import check_range
from tractable.linear.arrays import as_float64
from tractable.linear.flow import check_times
from tractable.linear.inputs import check_dynamics
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.records import to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["Illusions", "bump", "false_belief_time", "illusions"]


@dataclass(frozen=True, eq=False)
class Illusions:
    """Beliefs that do not run straight to their end; made by `illusions`.

    Rows are sorted by size, largest first.

    Parameters
    ----------
    feature, item : ndarray of int, shape (n,)
        The pair.
    size : ndarray, shape (n,)
        The bump (L20).
    peak, time : ndarray, shape (n,)
        Belief furthest from where it ends, and when.
    final : ndarray, shape (n,)
        Belief at the end.
    bumps : ndarray, shape (F, I)
        Of all pairs.
    features, items : tuple of str
        Names.
    """

    feature: np.ndarray
    item: np.ndarray
    size: np.ndarray
    peak: np.ndarray
    time: np.ndarray
    final: np.ndarray
    bumps: np.ndarray
    features: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.feature)

    def rows(self) -> list[dict[str, str | float]]:
        """Return the illusions as dictionaries, ready for ``pandas.DataFrame(...)``."""
        return [
            {
                "item": self.items[i] if self.items else f"item {i}",
                "feature": self.features[f] if self.features else f"feature {f}",
                "size": float(self.size[n]),
                "peak": float(self.peak[n]),
                "time": float(self.time[n]),
                "final": float(self.final[n]),
            }
            for n, (f, i) in enumerate(zip(self.feature, self.item, strict=True))
        ]

    def to_dataset(self) -> xr.Dataset:
        """Return the rows, and the bumps of all pairs."""
        names = ("feature", "item", "size", "peak", "time", "final")
        dims: dict[str, tuple[str, ...]] = {name: ("row",) for name in names}
        return to_dataset(self, {**dims, "bumps": ("feature_number", "item_number")})


def bump(path: np.ndarray) -> np.ndarray:
    r"""Return how far each path is from monotone, along the first axis (L20).

    .. math:: \min(\max_t [\max_{t' \le t} y(t') - y(t)], \; \max_t [y(t) - \min_{t' \le t} y(t')])

    The smaller of the largest fall and the largest rise: 0 for a path that only rises or falls.

    Examples
    --------
    >>> bump(np.array([[0.0, 0.0], [0.5, 0.2], [0.1, 0.9]]))
    array([0.4, 0. ])
    """
    path = as_float64("path", path)
    if path.ndim == 0 or not len(path):
        raise ValueError(f"path must have an axis of times, got shape {path.shape}")
    fall = (np.maximum.accumulate(path, axis=0) - path).max(0)
    rise = (path - np.minimum.accumulate(path, axis=0)).max(0)
    return np.minimum(fall, rise)


def illusions(dyn: ModeDynamics, t: Numbers, tol: float = 0.1) -> Illusions:
    """Return the beliefs that go astray on the way, largest first.

    Parameters
    ----------
    dyn : ModeDynamics
        Of a table.
    t : array, shape (T,)
        Times, ascending; dense enough to see the peaks.
    tol : float
        Smallest bump that counts, >= 0, in the unit of the features.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> found = illusions(eight_things().dynamics(), np.linspace(0, 60, 1201))
    >>> len(found), found.rows()[0]["item"], found.rows()[0]["feature"]
    (165, 'pine', 'has leaves')
    """
    check_range("tol", tol, 0)
    check_dynamics("dyn", dyn)
    times = check_times(t)
    if not len(times):
        raise ValueError("t must hold at least one time, got none")
    path = dyn.beliefs(times)
    bumps = bump(path)
    feature, item = np.nonzero(bumps > tol)
    size = bumps[feature, item]
    order = np.argsort(-size, kind="stable")
    feature, item, size = feature[order], item[order], size[order]
    chosen = path[:, feature, item]
    furthest = np.abs(chosen - chosen[-1]) if len(times) else chosen
    furthest = np.where(_interior(chosen), furthest, -1.0)
    at = furthest.argmax(0) if len(feature) else np.zeros(0, dtype=int)
    columns = np.arange(len(feature))
    return Illusions(
        feature,
        item,
        size,
        chosen[at, columns],
        times[at],
        chosen[-1],
        bumps,
        dyn.features,
        dyn.items,
    )


def false_belief_time(s: float, gap: float, init_strength: float, tau: float = 1.0) -> float:
    r"""Return how long a false belief lasts between two neighboring modes (L20).

    .. math:: \frac{\tau \Delta}{s^2} \ln\frac{s}{\epsilon}

    Parameters
    ----------
    s, gap : float
        Strengths s and s - gap of the two modes.
    init_strength : float
        Initial strength, much below gap.
    tau : float
        Time constant.

    Notes
    -----
    To first order in gap / s; the difference of the learning times is a few percent below it.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> round(false_belief_time(1.0, 0.05, 1e-6), 4)
    0.6908
    """
    check_range("s", s, 0, open_low=True)
    check_range("gap", gap, 0, s)
    check_range("init_strength", init_strength, 0, s, open_low=True)
    return float(tau * gap / s**2 * np.log(s / init_strength))


def _interior(path: np.ndarray) -> np.ndarray:
    """Return where a path has turned: local extremes, without the start."""
    inside = np.zeros(path.shape, dtype=bool)
    if len(path) > 2:
        step = np.diff(path, axis=0)
        inside[1:-1] = step[:-1] * step[1:] <= 0
    return inside | ~inside.any(0)
