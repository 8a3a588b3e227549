"""How sure a statistic of a receptive field is, given the images that it was averaged over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tractable.core.checks import as_floats, check_count, check_range

__all__ = ["Bootstrap", "bootstrap_fields"]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A statistic of n receptive fields with its bootstrap distribution; NaN for silent cells.

    Parameters
    ----------
    value : ndarray of float64, shape (n,)
        Of the field averaged over all images.
    low, high : ndarray of float64, shape (n,)
        Percentiles of the resampled values.
    error : ndarray of float64, shape (n,)
        Standard deviation of the resampled values.
    level : float
        Share of the resampled values between ``low`` and ``high``.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    level: float


def bootstrap_fields(
    ensemble: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    n: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    """Return a statistic of mean receptive fields, with its uncertainty from the images.

    Images are drawn with replacement, the fields averaged over them, the statistic taken.

    Parameters
    ----------
    ensemble : ndarray, shape (n_cells, m, H, W)
        The gradient of every cell at each of two images or more, as `rf_ensemble` returns it.
    statistic : callable
        Fields (k, H, W) to numbers (k,), such as `radial_fraction`, `opposite_ratio`, or
        ``lambda rf: orientation(rf).anisotropy``.
    n : int
        Resamples, 10 or more.
    level : float
        In (0, 1).
    seed : int
        Of the draws.

    Returns
    -------
    Bootstrap

    Notes
    -----
    A resample in which the mean field vanishes has no statistic, and is left out for that cell.
    Anisotropy and the other statistics are positive, so that noise of the field biases them upward:
    an interval that excludes a value below it is no proof against that value.

    Examples
    --------
    >>> ensemble = np.ones((1, 50, 4, 4)) + np.random.default_rng(0).standard_normal((1, 50, 4, 4))
    >>> mean = bootstrap_fields(ensemble, lambda rf: rf.mean((1, 2)))
    >>> bool(mean.low[0] < 1 < mean.high[0]), bool(abs(mean.error[0] * np.sqrt(800) - 1) < 0.2)
    (True, True)
    """
    fields = as_floats("ensemble", ensemble)
    if fields.ndim != 4 or fields.shape[1] < 2:
        raise ValueError(f"ensemble must be (cells, m >= 2, H, W), got {fields.shape}")
    if np.isinf(fields).any():
        raise ValueError(
            f"ensemble must not be infinite, got {int(np.isinf(fields).sum())} entries"
        )
    if not callable(statistic):
        raise TypeError(f"statistic must be a function of fields (k, H, W), got {statistic!r}")
    check_count("n", n, 10)
    check_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    m, draw = fields.shape[1], np.random.default_rng(seed)
    value = _checked(statistic, fields.mean(1))
    values = np.empty((n, len(fields)))
    for i in range(n):
        counts = np.bincount(draw.integers(0, m, m), minlength=m) / m
        values[i] = _checked(statistic, np.einsum("m,cmhw->chw", counts, fields))
    quantiles = (0.5 - level / 2, 0.5 + level / 2)
    low, high, error = np.full((3, len(fields)), np.nan)
    for cell in np.flatnonzero(np.isfinite(value)):
        known = values[np.isfinite(values[:, cell]), cell]
        if len(known) >= 2:
            low[cell], high[cell] = np.quantile(known, quantiles)
            error[cell] = known.std(ddof=1)
    return Bootstrap(value, low, high, error, level)


def _checked(statistic: Callable[[np.ndarray], np.ndarray], fields: np.ndarray) -> np.ndarray:
    found = np.asarray(statistic(fields), dtype=np.float64)
    if found.shape != (len(fields),):
        raise ValueError(
            f"statistic must return one number per field, got shape {found.shape} for "
            f"{len(fields)} fields"
        )
    return found
