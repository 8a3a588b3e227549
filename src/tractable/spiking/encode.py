"""Spike trains as lists of times, on a grid, and from numbers, pictures and logic."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tractable.core.checks import (
    TractableWarning,
    as_floats,
    check_choice,
    check_count,
    check_finite,
    check_range,
)
from tractable.core.seeds import derive
from tractable.spiking.loss import WindowTarget

__all__ = [
    "SpikeEvents",
    "XorTask",
    "from_image",
    "latency",
    "poisson_frozen",
    "rate",
]


@dataclass(frozen=True, eq=False)
class SpikeEvents:
    """Spikes of many units as a list.

    Parameters
    ----------
    times_ms : array_like
        Times, ms, sorted, in [0, duration_ms), shape (n_spikes,).
    units : array_like of int
        Unit of each spike, in [0, n_units), shape (n_spikes,).
    n_units : int
        Number of units, >= 1.
    duration_ms : float
        Length of the stream, ms, > 0.

    Raises
    ------
    ValueError
        For unsorted, negative or late times, or units out of range.

    Examples
    --------
    >>> events = SpikeEvents([0.1, 0.4], [1, 0], 2, 1.0)
    >>> events.raster(0.1).nonzero()
    tensor([[1, 0, 1],
            [4, 0, 0]])
    """

    times_ms: np.ndarray
    units: np.ndarray
    n_units: int
    duration_ms: float

    def __post_init__(self) -> None:
        times = as_floats("times_ms", self.times_ms)
        units = as_floats("units", self.units)
        check_count("n_units", self.n_units)
        check_range("duration_ms", self.duration_ms, 0, open_low=True, open_high=True)
        if times.ndim != 1 or times.shape != units.shape:
            raise ValueError(
                "times_ms and units must be lists of one length, "
                f"got {times.shape} and {units.shape}"
            )
        check_finite("times_ms", times)
        check_finite("units", units)
        if (units != np.round(units)).any():
            raise ValueError(
                f"units must be whole numbers, got {units[units != np.round(units)][0]}"
            )
        if len(times):
            if (np.diff(times) < 0).any():
                raise ValueError("times_ms must be sorted; sort times and units together")
            check_range("times_ms", float(times[0]), 0, open_high=True)
            if times[-1] >= self.duration_ms:
                raise ValueError(
                    f"times_ms must be below duration_ms = {self.duration_ms:g}, got {times[-1]:g}"
                )
            if units.min() < 0 or units.max() >= self.n_units:
                raise ValueError(
                    f"units must be in [0, {self.n_units}), got {units.min():g} to {units.max():g}"
                )
        object.__setattr__(self, "times_ms", times)
        object.__setattr__(self, "units", units.astype(np.int64))

    @classmethod
    def from_raster(cls, spikes: Tensor, dt: float) -> SpikeEvents:
        """Return the spikes of an array (T, n) or (T, 1, n)."""
        given = spikes.detach().cpu().numpy()
        if not np.isin(given, (0, 1)).all():
            raise ValueError("spikes must be 0 or 1, got other entries")
        array = given.astype(bool)
        if array.ndim == 3 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 2:
            raise ValueError(f"spikes must have shape (T, n), got {tuple(spikes.shape)}")
        check_range("dt", dt, 0, open_low=True, open_high=True)
        steps, units = np.nonzero(array)
        return cls(steps * dt, units, array.shape[1], len(array) * dt)

    def raster(
        self, dt: float = 0.1, *, on_collision: Literal["merge", "error"] = "merge"
    ) -> Tensor:
        """Return the spikes on a grid, bool, shape (T, 1, n_units).

        Parameters
        ----------
        dt : float
            Time step, ms, > 0; times are rounded to it, half to even.
        on_collision : str
            Two spikes of one unit in one step: ``merge`` them, or ``error``.
        """
        check_range("dt", dt, 0, open_low=True, open_high=True)
        check_choice("on_collision", on_collision, ("merge", "error"))
        n_steps = max(1, round(self.duration_ms / dt))
        steps = np.minimum(np.round(self.times_ms / dt).astype(np.int64), n_steps - 1)
        flat = steps * self.n_units + self.units
        if on_collision == "error" and len(np.unique(flat)) < len(flat):
            raise ValueError(
                f"{len(flat) - len(np.unique(flat))} spikes fall into an occupied step of {dt:g} "
                "ms; use a smaller dt or on_collision='merge'"
            )
        out = np.zeros(n_steps * self.n_units, dtype=bool)
        out[flat] = True
        return torch.from_numpy(out.reshape(n_steps, 1, self.n_units))


def poisson_frozen(
    n_units: int, rate_hz: float, duration_ms: float, *, seed: int = 0, dt: float = 0.1
) -> SpikeEvents:
    """Return one draw of independent Poisson trains, to be repeated.

    Parameters
    ----------
    n_units : int
        Number of trains, >= 1.
    rate_hz : float
        Rate of each, Hz, >= 0 and at most one spike in a step.
    duration_ms : float
        Length, ms, > 0.
    seed : int
        Decides the draw.
    dt : float
        Grid of the times, ms.

    Examples
    --------
    >>> len(poisson_frozen(100, 10.0, 500.0, seed=1).times_ms)
    482
    """
    check_count("n_units", n_units)
    check_count("seed", seed, 0)
    check_range("dt", dt, 0, open_low=True, open_high=True)
    check_range("rate_hz", rate_hz, 0, open_high=True)
    check_range("duration_ms", duration_ms, 0, open_low=True, open_high=True)
    _check_chance("rate_hz", rate_hz, dt)
    random = np.random.default_rng(seed)
    n_steps = round(duration_ms / dt)
    spikes = random.random((n_steps, n_units)) < rate_hz * dt / 1000
    return SpikeEvents.from_raster(torch.from_numpy(spikes), dt)


def latency(values: ArrayLike, duration_ms: float, *, early_ms: float = 0.0) -> SpikeEvents:
    """Return one spike per unit, the earlier the larger its value; a value of 0 is silent.

    Parameters
    ----------
    values : array_like
        Numbers in [0, 1], shape (n_units,).
    duration_ms : float
        Length of the stream, ms, > 0.
    early_ms : float
        Time of a value of 1, ms.

    Examples
    --------
    >>> latency([1.0, 0.0, 0.5], 10.0).times_ms
    array([0., 5.])
    """
    x = _unit_interval("values", values)
    check_range("duration_ms", duration_ms, 0, open_low=True, open_high=True)
    check_range("early_ms", early_ms, 0, duration_ms)
    firing = np.flatnonzero(x > 0)
    times = early_ms + (1 - x[firing]) * (duration_ms - early_ms)
    times = np.minimum(times, np.nextafter(duration_ms, 0))
    order = np.argsort(times, kind="stable")
    return SpikeEvents(times[order], firing[order], len(x), duration_ms)


def rate(
    values: ArrayLike, max_rate_hz: float, duration_ms: float, *, seed: int = 0, dt: float = 0.1
) -> SpikeEvents:
    """Return Poisson trains with rates proportional to the values.

    Parameters
    ----------
    values : array_like
        Numbers in [0, 1], shape (n_units,).
    max_rate_hz : float
        Rate of a value of 1, Hz, >= 0.
    duration_ms, seed, dt
        As in `poisson_frozen`.
    """
    x = _unit_interval("values", values)
    check_count("seed", seed, 0)
    check_range("dt", dt, 0, open_low=True, open_high=True)
    check_range("max_rate_hz", max_rate_hz, 0, open_high=True)
    check_range("duration_ms", duration_ms, 0, open_low=True, open_high=True)
    _check_chance("max_rate_hz", max_rate_hz, dt)
    random = np.random.default_rng(seed)
    spikes = random.random((round(duration_ms / dt), len(x))) < x * max_rate_hz * dt / 1000
    return SpikeEvents.from_raster(torch.from_numpy(spikes), dt)


def from_image(
    image: ArrayLike, *, column_ms: float = 10.0, jitter: bool = True, seed: int = 0
) -> SpikeEvents:
    """Return a raster that draws a picture: rows are units (first row on top is the last unit).

    Parameters
    ----------
    image : array_like of bool
        Shape (n_units, n_columns), bool or 0 and 1; 1 fires once in its column.
    column_ms : float
        Duration of a column, ms, > 0.
    jitter : bool
        Uniform within the column; else at its middle.
    seed : int
        Decides the jitter.
    """
    given = as_floats("image", image)
    check_finite("image", given)
    if not np.isin(given, (0, 1)).all():
        raise ValueError(
            f"image must be bool or 0 and 1, got values up to {given.max():g}: compare it with a "
            "threshold first"
        )
    array = given.astype(bool)
    if array.ndim != 2:
        raise ValueError(f"image must have shape (n_units, n_columns), got {array.shape}")
    check_range("column_ms", column_ms, 0, open_low=True, open_high=True)
    check_count("seed", seed, 0)
    rows, columns = np.nonzero(array[::-1])
    offset = np.random.default_rng(seed).random(len(rows)) if jitter else np.full(len(rows), 0.5)
    times = (columns + offset) * column_ms
    order = np.argsort(times, kind="stable")
    return SpikeEvents(times[order], rows[order], len(array), array.shape[1] * column_ms)


@dataclass(frozen=True)
class XorTask:
    """Exclusive-or of two sets of inputs that fire or are silent, in a stream without end.

    Three disjoint sets of inputs have fixed random times in a short window. The first fires in
    every pattern, as a reference of time; each of the two others fires or does not; the class is
    the exclusive-or of the two. Patterns come at random intervals; between them all inputs fire
    at a low rate.

    Parameters
    ----------
    n_inputs : int
        Inputs in all, >= 3.
    stimulus_ms : float
        Window of the pattern, ms.
    post_ms : float
        The window of opportunity goes on this long after the stimulus, ms.
    interval_ms : (float, float)
        Shortest and longest time between two onsets.
    background_hz : float
        Rate of the background, Hz.
    seed : int
        Decides patterns and stream.
    dt : float
        Time step, ms.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section on the exclusive-or task.

    Examples
    --------
    >>> spikes, target = XorTask().window(0, 5000)
    >>> spikes.shape, int((target.closes >= 0).sum())
    (torch.Size([5000, 1, 100]), 4)
    """

    n_inputs: int = 100
    stimulus_ms: float = 10.0
    post_ms: float = 15.0
    interval_ms: tuple[float, float] = (70.0, 130.0)
    background_hz: float = 4.0
    seed: int = 0
    dt: float = 0.1

    def __post_init__(self) -> None:
        check_count("n_inputs", self.n_inputs, 3)
        for name in ("stimulus_ms", "post_ms", "dt"):
            check_range(name, getattr(self, name), 0, open_low=True, open_high=True)
        check_range("background_hz", self.background_hz, 0, open_high=True)
        _check_chance("background_hz", self.background_hz, self.dt)
        check_count("seed", self.seed, 0)
        low, high = self.interval_ms
        if not self.stimulus_ms + self.post_ms <= low <= high:
            raise ValueError(
                "interval_ms must be (shortest, longest), the shortest at least stimulus_ms + "
                f"post_ms = {self.stimulus_ms + self.post_ms:g}, got {self.interval_ms}"
            )

    def patterns(self) -> np.ndarray:
        """Return the step of each input's spike in the four patterns, -1 for none, (4, n_inputs).

        In pattern 2 p + q the first set fires if p, the second if q.
        """
        random = np.random.default_rng(derive(self.seed, "patterns"))
        steps = round(self.stimulus_ms / self.dt)
        _, first, second = np.array_split(np.arange(self.n_inputs), 3)
        out = np.tile(random.integers(0, steps, self.n_inputs), (4, 1))
        out[:2, first] = -1
        out[::2, second] = -1
        return out

    def window(self, index: int, n_steps: int) -> tuple[Tensor, WindowTarget]:
        """Return window ``index`` of the stream: spikes (T, 1, n_inputs) and `WindowTarget`.

        Patterns lie whole within a window.
        """
        check_count("index", index, 0)
        check_count("n_steps", n_steps)
        random = np.random.default_rng(derive(self.seed, "window", index))
        spikes = random.random((n_steps, self.n_inputs)) < self.background_hz * self.dt / 1000
        allowed = np.full((n_steps, 1), -1, dtype=np.int64)
        closes = allowed.copy()
        patterns = self.patterns()
        low, high = (value / self.dt for value in self.interval_ms)
        length = round((self.stimulus_ms + self.post_ms) / self.dt)
        stimulus = round(self.stimulus_ms / self.dt)
        start = round(random.uniform(low, high) / 2)
        while start + length <= n_steps - round(10 / self.dt):
            which = int(random.integers(4))
            spikes[start : start + stimulus] = False
            fire = np.flatnonzero(patterns[which] >= 0)
            spikes[start + patterns[which, fire], fire] = True
            label = (which // 2) ^ (which % 2)
            allowed[start : start + length] = label
            closes[start + length - 1] = label
            start += round(random.uniform(low, high))
        target = WindowTarget(torch.from_numpy(allowed), torch.from_numpy(closes))
        return torch.from_numpy(spikes)[:, None], target


def _check_chance(name: str, rate_hz: float, dt: float) -> None:
    """Refuse a rate that a grid with one spike in a step cannot hold."""
    if rate_hz * dt > 1000:
        raise ValueError(
            f"{name} must be at most 1000 / dt = {1000 / dt:g} Hz, one spike in every step of "
            f"{dt:g} ms, got {rate_hz:g}"
        )


def _unit_interval(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    check_finite(name, array)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must have shape (n_units,), got {array.shape}")
    if array.min() < 0 or array.max() > 1:
        warnings.warn(
            f"{name} outside [0, 1] are clipped ({array.min():g} to {array.max():g})",
            TractableWarning,
            stacklevel=3,
        )
    return np.clip(array, 0, 1)
