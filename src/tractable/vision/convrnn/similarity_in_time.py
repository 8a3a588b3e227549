"""Dissimilarities and kernel alignment of a model and neurons in each time bin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_choice, check_count
from tractable.vision.convrnn.neural_fit import as_features
from tractable.vision.convrnn.recordings import as_recordings
from tractable.vision.convrnn.reliability import extended
from tractable.vision.convrnn.similarity import cka, rdm, rdm_correlation

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SimilarityInTime", "rdm_noise_ceiling", "similarity_in_time"]


@dataclass(frozen=True, eq=False)
class SimilarityInTime:
    """Agreement of a model with neurons, bin by bin.

    Parameters
    ----------
    score : ndarray, shape (bins,)
        Of the mean over repetitions.
    halves : ndarray, shape (bins,)
        Agreement of the neurons with themselves: two halves of the repetitions, extended to all
        by (C11) and averaged over halvings; the square root of it is the ceiling. NaN without
        repetitions.
    low, high : ndarray, shape (bins,)
        95 % bootstrap interval over images.
    time_ms : ndarray, shape (bins,)
        Start of each bin.
    measure : str
        ``rsa`` or ``cka``.
    """

    score: np.ndarray
    halves: np.ndarray
    low: np.ndarray
    high: np.ndarray
    time_ms: np.ndarray
    measure: str

    @property
    def ceiling(self) -> np.ndarray:
        """What the true model could reach: the square root of the neurons' own agreement."""
        return np.sqrt(np.maximum(self.halves, 0.0))

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        names = ("score", "halves", "low", "high")
        return xr.Dataset(
            {name: ("bin", getattr(self, name), {"units": "1"}) for name in names},
            coords={"bin": ("bin", self.time_ms, {"units": "ms"})},
            attrs={"measure": self.measure},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SimilarityInTime:
        """Return what `to_dataset` stored."""
        score, halves, low, high, time_ms = (
            dataset[name].values for name in ("score", "halves", "low", "high", "bin")
        )
        return cls(score, halves, low, high, time_ms, dataset.attrs["measure"])


def similarity_in_time(
    features: Any,
    responses: Any,
    *,
    measure: Literal["rsa", "cka"] = "rsa",
    n_halvings: int = 20,
    n_boot: int = 200,
    seed: int = 0,
) -> SimilarityInTime:
    """Compare the arrangement of images in a model and in neurons, without any fitted map.

    Parameters
    ----------
    features : array_like, shape (I, p, B) or (I, p); TimeSeries; or B arrays (I, p_b)
        As in `neural_fit`.
    responses : array_like, shape (I, R, N, B), or Recordings
        As in `neural_fit`.
    measure : str
        ``rsa``: Spearman's correlation of dissimilarities (`rdm`); ``cka``: debiased `cka`.
    n_halvings : int
        Random halvings for the ceiling; 0 leaves it out.
    n_boot : int
        Bootstrap samples of images for the interval; 0 leaves it out. Pairs of an image with
        itself are left out.
    seed : int
        Decides halvings and samples.

    Returns
    -------
    SimilarityInTime
        NaN in bins in which features or responses do not vary.
    """
    check_choice("measure", measure, ("rsa", "cka"))
    check_count("n_halvings", n_halvings, 0)
    check_count("n_boot", n_boot, 0)
    check_count("seed", seed, 0)
    recordings = as_recordings(responses)
    I, _, N, B = recordings.shape
    parts, _ = as_features(features, I, B)
    if measure == "rsa" and min(N, *(part.shape[1] for part in parts)) < 2:
        raise ValueError("rsa needs two neurons and two features at least")
    compare = _rsa if measure == "rsa" else cka
    mean = recordings.mean()
    score = np.array([_or_nan(compare, parts[b], mean[..., b]) for b in range(B)])
    halves = np.full(B, np.nan)
    if n_halvings:
        found = [
            [_or_nan(compare, a[..., b], c[..., b]) for b in range(B)]
            for a, c in recordings.halves(n_halvings, seed)
        ]
        halves = extended(np.mean(found, 0), recordings.length)
    random = np.random.default_rng(seed)
    samples = np.array([
        [_or_nan(_resampled(measure), parts[b][rows], mean[rows][..., b], rows) for b in range(B)]
        for rows in (random.integers(I, size=I) for _ in range(n_boot))
    ]).reshape(n_boot, B)  # fmt: skip
    low = high = np.full(B, np.nan)
    if n_boot:
        whole = ~np.isnan(samples).any(0)
        low, high = np.full((2, B), np.nan)
        low[whole], high[whole] = np.quantile(samples[:, whole], (0.025, 0.975), axis=0)
    return SimilarityInTime(score, halves, low, high, recordings.time_ms, measure)


def rdm_noise_ceiling(rdms: ArrayLike) -> tuple[float, float]:
    """Return the lower and upper bound of what any model's dissimilarities could reach.

    Parameters
    ----------
    rdms : array_like, shape (subjects, n, n)
        Dissimilarities of two or more subjects for the same images.

    Returns
    -------
    lower, upper : float
        Mean Spearman correlation of each subject's ranks with the mean of the others' ranks, and
        with the mean of all.

    References
    ----------
    Nili, Wingfield, Walther, Su, Marslen-Wilson, Kriegeskorte 2014,
    doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> same = rdm(np.random.default_rng(0).normal(size=(6, 9)))
    >>> rdm_noise_ceiling([same, same])
    (1.0, 1.0)
    """
    from scipy.stats import rankdata

    found = np.asarray(rdms, dtype=float)
    if found.ndim != 3 or len(found) < 2 or found.shape[1] != found.shape[2]:
        raise ValueError(f"rdms must be (subjects >= 2, n, n), got {found.shape}")
    upper = np.triu_indices(found.shape[1], 1)
    ranks = np.stack([rankdata(one[upper]) for one in found])
    everyone = ranks.sum(0)
    lower = [_correlate(one, everyone - one) for one in ranks]
    whole = [_correlate(one, everyone) for one in ranks]
    return float(np.mean(lower)), float(np.mean(whole))


def _correlate(ranks: np.ndarray, others: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(ranks, others).statistic)


def _rsa(x: np.ndarray, y: np.ndarray) -> float:
    return rdm_correlation(rdm(x), rdm(y))


def _resampled(measure: str) -> Callable[..., float]:
    """Return the comparison of images drawn with replacement, pairs of one image left out."""
    from scipy.stats import spearmanr

    def of_sample(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
        if measure == "cka":
            kept = np.unique(rows, return_index=True)[1]
            return cka(x[kept], y[kept])
        upper = np.triu_indices(len(rows), 1)
        apart = rows[upper[0]] != rows[upper[1]]
        first, second = rdm(x)[upper][apart], rdm(y)[upper][apart]
        return float(spearmanr(first, second).statistic)

    return of_sample


def _or_nan(compare: Callable[..., float], *values: np.ndarray) -> float:
    """Return the comparison; NaN where a pattern or a bin does not vary."""
    try:
        return compare(*values)
    except ValueError as error:
        if "vary" in str(error):
            return np.nan
        raise
