"""Spike files: ``.ras`` of simulators, SHD-format HDF5, and event arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.spiking.encode import SpikeEvents

__all__ = ["from_tonic", "iter_shd", "read_ras", "write_ras"]

TAIL_MS = 1.0
"""Kept after the last spike, so that it has a step of its own on every grid up to 1 ms."""


def read_ras(
    path: str | Path,
    *,
    n_units: int | None = None,
    duration_ms: float | None = None,
    one_based: bool | None = None,
) -> SpikeEvents:
    """Return the spikes of a text file with a line ``time_in_seconds unit`` for each spike.

    Parameters
    ----------
    path : path
        The file.
    n_units : int, optional
        Number of units; the largest that occurs when absent.
    duration_ms : float, optional
        Length; 1 ms after the last spike when absent.
    one_based : bool, optional
        Units count from 1. When absent they do if no unit is 0 and one equals ``n_units``.

    Raises
    ------
    ValueError
        For a line that is not a time and a unit, with its number.
    """
    times, units = [], []
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            try:
                time, unit = float(words[0]), int(words[1])
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"{path}, line {number}: a time in seconds and a unit are needed, got "
                    f"{line.strip()!r}"
                ) from error
            times.append(1000 * time)
            units.append(unit)
    unit_array, time_array = np.asarray(units, dtype=np.int64), np.asarray(times)
    if one_based is None:
        known = n_units is not None and len(units) > 0
        one_based = known and unit_array.min() > 0 and int(unit_array.max()) == n_units
    if one_based:
        unit_array = unit_array - 1
    order = np.argsort(time_array, kind="stable")
    last = float(time_array.max()) if len(times) else 0.0
    return SpikeEvents(
        time_array[order],
        unit_array[order],
        n_units if n_units is not None else (int(unit_array.max()) + 1 if len(units) else 1),
        duration_ms if duration_ms is not None else last + TAIL_MS,
    )


def write_ras(path: str | Path, events: SpikeEvents) -> None:
    """Write one line ``time_in_seconds unit`` for each spike, units from 0."""
    lines = [
        f"{time / 1000:.9f} {unit}\n"
        for time, unit in zip(events.times_ms, events.units, strict=True)
    ]
    Path(path).write_text("".join(lines), encoding="utf-8")


def iter_shd(
    path: str | Path, *, n_units: int = 700, duration_ms: float = 1400.0
) -> Iterator[tuple[SpikeEvents, int]]:
    """Yield samples and labels of an HDF5 file in the format of Spiking Heidelberg Digits.

    Parameters
    ----------
    path : path
        Holds ``spikes/times`` (seconds), ``spikes/units`` and ``labels``, one entry a sample.
    n_units : int
        Number of channels.
    duration_ms : float
        Length of a sample; later spikes are left out.

    Raises
    ------
    ValueError
        When one of the three is missing.
    """
    import h5py

    check_range("n_units", n_units, 1)
    check_range("duration_ms", duration_ms, 0, open_low=True, open_high=True)
    with h5py.File(path, "r") as file:
        for key in ("spikes/times", "spikes/units", "labels"):
            if key not in file:
                raise ValueError(f"{path} has no {key!r}: it is not in the format of SHD")
        for i in range(len(file["labels"])):
            times = 1000 * np.asarray(file["spikes/times"][i], dtype=float)
            units = np.asarray(file["spikes/units"][i], dtype=np.int64)
            keep = times < duration_ms
            order = np.argsort(times[keep], kind="stable")
            events = SpikeEvents(times[keep][order], units[keep][order], n_units, duration_ms)
            yield events, int(file["labels"][i])


def from_tonic(
    events: np.ndarray, n_units: int, *, duration_ms: float | None = None
) -> SpikeEvents:
    """Return a structured array of events (fields ``t`` in microseconds and ``x``) as spikes.

    Parameters
    ----------
    events : ndarray
        Structured, with the fields ``t`` and ``x``.
    n_units : int
        Number of units.
    duration_ms : float, optional
        Length; 1 ms after the last event when absent.

    Examples
    --------
    >>> raw = np.array([(1000, 3)], dtype=[("t", int), ("x", int)])
    >>> from_tonic(raw, 5).times_ms
    array([1.])
    """
    names = getattr(events.dtype, "names", None) or ()
    if not {"t", "x"} <= set(names):
        raise ValueError(
            f"events must be structured with fields t and x, got {names or events.dtype}"
        )
    if np.ndim(events) != 1:
        raise ValueError(f"events must have shape (n_events,), got {np.shape(events)}")
    check_count("n_units", n_units)
    times = np.asarray(events["t"], dtype=float) / 1000
    order = np.argsort(times, kind="stable")
    last = float(times.max()) if len(times) else 0.0
    length = duration_ms if duration_ms is not None else last + TAIL_MS
    return SpikeEvents(times[order], np.asarray(events["x"])[order], n_units, length)
