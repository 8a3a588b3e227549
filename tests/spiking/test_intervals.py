"""Intervals of spikes and the error along time. SIMULATION: Poisson spikes with a dead time;
INDEPENDENT: the distance of two trains without a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.spiking import (
    SpikeEvents,
    SpikingNet,
    interspike_intervals,
    interval_variation,
    poisson_frozen,
    van_rossum,
    van_rossum_trace,
)


def test_a_dead_time_makes_spikes_regular() -> None:
    gaps = 5.0 + np.random.default_rng(0).exponential(15.0, (2, 4000))
    times = gaps.cumsum(1)
    order = np.argsort(times.ravel(), kind="stable")
    events = SpikeEvents(times.ravel()[order], np.repeat([0, 1], 4000)[order], 3, times.max() + 1)
    intervals, units = interspike_intervals(events)
    np.testing.assert_allclose(intervals[units == 1], gaps[1, 1:])
    found = interval_variation(events)
    np.testing.assert_allclose(found[:2], 1 - 5.0 / 20.0, rtol=0.05)
    for unit in (0, 1):  # the definition
        own = intervals[units == unit]
        assert found[unit] == pytest.approx(own.std() / own.mean(), rel=1e-12)
    assert np.isnan(found[2])
    with pytest.raises(TypeError, match="events must be a SpikeEvents"):
        interspike_intervals([1.0])  # type: ignore[arg-type]  # on purpose


def test_the_error_along_time_has_the_distance_as_its_integral() -> None:
    trains = [poisson_frozen(1, 30.0, 200.0, seed=s) for s in (1, 2)]
    grids = [torch.cat([t.raster(0.1), torch.zeros(1500, 1, 1, dtype=torch.bool)]) for t in trains]
    error = van_rossum_trace(*grids, 0.1)
    distance = van_rossum(*(t.times_ms for t in trains), normalize="none")
    assert float(error.square().sum()) * 0.1 == pytest.approx(distance, rel=0.01)
    late = grids[0].nonzero()[:, 0].min() < grids[1].nonzero()[:, 0].min()
    assert float(error[error != 0][0]) * (-1 if late else 1) > 0  # a missing spike is positive
    for spikes, target, name in (
        (torch.zeros(5, 2), torch.zeros(5, 2), "spikes"),
        (torch.zeros(5, 1, 2), torch.zeros(4, 1, 2), "target"),
        (torch.zeros(5, 1, 2) + 2, torch.zeros(5, 1, 2), "spikes must be 0 or 1"),
    ):
        with pytest.raises(ValueError, match=name):
            van_rossum_trace(spikes, target, 0.1)


def test_a_net_takes_events() -> None:
    net, events = SpikingNet.of_sizes(5, 2, w0=200.0), poisson_frozen(5, 100.0, 50.0)
    assert torch.equal(net.simulate(events).spikes, net.simulate(events.raster()).spikes)
