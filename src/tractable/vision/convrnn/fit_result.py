"""Scores of a fit to neurons, and their intervals over neurons."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_range

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FitResult", "bootstrap_median"]

PER_SPLIT = ("neuron", "bin", "split")
DIMS = {
    "score": PER_SPLIT,
    "ceiling": ("neuron", "bin"),
    "corrected": PER_SPLIT,
    "excluded": ("neuron", "bin"),
    "average_score": ("neuron", "split"),
    "average_ceiling": ("neuron",),
    "average_corrected": ("neuron", "split"),
    "shift": ("neuron", "split"),
}
TEXTS = ("method", "mapping", "correct")


@dataclass(frozen=True, eq=False)
class FitResult:
    """What `neural_fit` returns.

    Parameters
    ----------
    score : ndarray, shape (neurons, bins, splits)
        Correlation of predicted and measured mean responses over the test images.
    ceiling : ndarray, shape (neurons, bins)
        Square root of the reliability; NaN where excluded, and without a correction.
    corrected : ndarray, shape (neurons, bins, splits)
        Score over the ceiling(s); NaN where excluded.
    excluded : ndarray, shape (neurons, bins)
        Where the reliability is too low.
    average_score, average_corrected : ndarray, shape (neurons, splits)
        Of responses and features averaged over the bins.
    average_ceiling : ndarray, shape (neurons,)
        Of the average.
    shift : ndarray, shape (neurons, splits)
        Bins by which the features were delayed; 0 unless the mapping is ``latency``.
    time_ms : ndarray, shape (bins,)
        Start of each bin.
    neurons, areas : tuple of str
        Names.
    method, mapping, correct : str
        As asked for; ``none`` without a correction.
    """

    score: np.ndarray
    ceiling: np.ndarray
    corrected: np.ndarray
    excluded: np.ndarray
    average_score: np.ndarray
    average_ceiling: np.ndarray
    average_corrected: np.ndarray
    shift: np.ndarray
    time_ms: np.ndarray
    neurons: tuple[str, ...]
    areas: tuple[str, ...]
    method: str
    mapping: str
    correct: str

    @property
    def n_excluded(self) -> np.ndarray:
        """Neurons that are excluded in each bin, (bins,)."""
        return self.excluded.sum(0)

    def of_neurons(self, area: str | None = None) -> np.ndarray:
        """Return corrected scores averaged over the splits, (neurons, bins), of one area or all."""
        return _mean(self.corrected[self._rows(area)], -1)

    def median(self, area: str | None = None) -> np.ndarray:
        """Return the median corrected score over neurons in each bin; NaN where none is left."""
        return _median(self.of_neurons(area))

    def interval(
        self, area: str | None = None, *, level: float = 0.95, n_boot: int = 1000, seed: int = 0
    ) -> np.ndarray:
        """Return the bootstrap interval over neurons of the median, (2, bins)."""
        return bootstrap_median(self.of_neurons(area), level=level, n_boot=n_boot, seed=seed)

    def average_median(self, area: str | None = None) -> float:
        """Return the median over neurons of the time average's corrected score."""
        return float(_median(_mean(self.average_corrected[self._rows(area)], -1)[:, None])[0])

    def _rows(self, area: str | None) -> np.ndarray:
        if area is None:
            return np.arange(len(self.neurons))
        rows = np.flatnonzero(np.array(self.areas) == area)
        if not len(rows):
            raise ValueError(
                f"area must be one of {', '.join(sorted(set(self.areas)))}, got {area!r}"
            )
        return rows

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        units = {"shift": "bins"}
        return xr.Dataset(
            {
                name: (dims, _plain(getattr(self, name)), {"units": units.get(name, "1")})
                for name, dims in DIMS.items()
            },
            coords={
                "neuron": list(self.neurons),
                "bin": ("bin", self.time_ms, {"units": "ms"}),
                "area": ("neuron", list(self.areas)),
            },
            attrs={name: getattr(self, name) for name in TEXTS},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> FitResult:
        """Return the result that `to_dataset` stored."""
        values: dict[str, Any] = {name: dataset[name].values for name in DIMS}
        values["excluded"] = values["excluded"].astype(bool)
        values["time_ms"] = dataset["bin"].values
        values["neurons"] = tuple(map(str, dataset["neuron"].values))
        values["areas"] = tuple(map(str, dataset["area"].values))
        values |= {name: dataset.attrs[name] for name in TEXTS}
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def bootstrap_median(
    values: ArrayLike, *, level: float = 0.95, n_boot: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the percentile interval of the median over the first axis, neurons drawn anew.

    Parameters
    ----------
    values : array_like, shape (neurons, ...)
        NaN are left out; infinity is refused.
    level : float
        Coverage, in (0, 1).
    n_boot : int
        Samples.
    seed : int
        Decides them.

    Returns
    -------
    ndarray, shape (2, ...)
        NaN where no neuron is left.

    References
    ----------
    Efron 1979, doi:10.1214/aos/1176344552.

    Examples
    --------
    >>> low, high = bootstrap_median(np.arange(101.0))
    >>> bool(low < 50 < high)
    True
    """
    check_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    check_count("n_boot", n_boot, 10)
    check_count("seed", seed, 0)
    found = as_floats("values", values)
    if found.ndim < 1 or not len(found):
        raise ValueError("values must hold one neuron at least")
    if np.isinf(found).any():
        raise ValueError("values must not be infinite (NaN are left out)")
    random = np.random.default_rng(seed)
    rows = random.integers(len(found), size=(n_boot, len(found)))
    medians = np.stack([_median(found[row]) for row in rows])
    tail = (1.0 - level) / 2.0
    return _quantiles(medians, (tail, 1.0 - tail))


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of what is not NaN; NaN where nothing is, without a warning."""
    seen = ~np.isnan(values)
    count = seen.sum(axis)
    total = np.where(seen, values, 0.0).sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of what is not NaN."""
    ordered = np.sort(values, 0)  # NaN last
    n = (~np.isnan(values)).sum(0)
    low, high = np.maximum((n - 1) // 2, 0), n // 2
    high = np.minimum(high, len(values) - 1)
    picks = [np.take_along_axis(ordered, at[None], 0)[0] for at in (low, high)]
    return np.where(n > 0, (picks[0] + picks[1]) / 2.0, np.nan)


def _quantiles(values: np.ndarray, at: tuple[float, float]) -> np.ndarray:
    """Return quantiles over samples; where NaN are among them, of the others."""
    holes = np.isnan(values)
    if not holes.any():
        return np.quantile(values, at, axis=0)
    flat, gone = values.reshape(len(values), -1), holes.reshape(len(values), -1)
    out = np.full((2, flat.shape[1]), np.nan)
    for column in np.flatnonzero(~gone.all(0)):
        out[:, column] = np.quantile(flat[~gone[:, column], column], at)
    return out.reshape(2, *values.shape[1:])


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int8) if values.dtype == bool else values
