"""Intervals between spikes, and how irregular they are."""

from __future__ import annotations

import numpy as np

from tractable.spiking.encode import SpikeEvents

__all__ = ["interspike_intervals", "interval_variation"]


def interspike_intervals(events: SpikeEvents) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the times between successive spikes of every unit.

    Parameters
    ----------
    events : SpikeEvents
        Spikes of many units.

    Returns
    -------
    intervals_ms, units : ndarray
        Interval, ms, and its unit, sorted by unit and time, (n_intervals,).

    Raises
    ------
    TypeError
        When ``events`` is not a `SpikeEvents`.

    Examples
    --------
    >>> interspike_intervals(SpikeEvents([1.0, 2.0, 4.0, 9.0], [0, 1, 0, 0], 2, 10.0))
    (array([3., 5.]), array([0, 0]))
    """
    if not isinstance(events, SpikeEvents):
        raise TypeError(f"events must be a SpikeEvents, got {type(events).__name__}")
    order = np.argsort(events.units, kind="stable")
    times, units = events.times_ms[order], events.units[order]
    same = np.diff(units) == 0
    return np.diff(times)[same], units[1:][same]


def interval_variation(events: SpikeEvents) -> np.ndarray:
    r"""Return the coefficient of variation of the intervals of every unit.

    .. math:: CV = \mathrm{std}(\Delta t) / \langle \Delta t \rangle

    It is 0 for a clock and 1 for a Poisson process; with a dead time :math:`t_{ref}` a Poisson
    process of rate :math:`\nu` has :math:`1 - \nu t_{ref}`.

    Parameters
    ----------
    events : SpikeEvents
        Spikes of many units.

    Returns
    -------
    ndarray
        (n_units,); NaN where a unit has fewer than two intervals.

    Examples
    --------
    >>> interval_variation(SpikeEvents([1.0, 2.0, 3.0, 5.0], [0, 0, 0, 1], 2, 10.0))
    array([ 0., nan])
    """
    intervals, units = interspike_intervals(events)
    n = np.bincount(units, minlength=events.n_units)
    found = np.full(events.n_units, np.nan)
    many = n > 1
    mean = np.bincount(units, intervals, events.n_units)[many] / n[many]
    gap = intervals - (np.bincount(units, intervals, events.n_units) / np.maximum(n, 1))[units]
    found[many] = np.sqrt(np.bincount(units, gap**2, events.n_units)[many] / n[many]) / mean
    return found
