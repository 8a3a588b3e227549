"""Every picture draws on given axes and names them."""

from __future__ import annotations

import numpy as np
import pytest

from tractable import plot
from tractable.spiking import plots

DRAWINGS = {
    "plot_raster": lambda ax: plots.plot_raster(
        [1.0, 2.0], [0, 1], target_times_ms=[1.5], target_units=[0], ax=ax
    ),
    "plot_voltage": lambda ax: plots.plot_voltage(np.zeros(50), target_times_ms=[2.0], ax=ax),
    "plot_learning": lambda ax: plots.plot_learning(
        {"a": np.ones((3, 5)), "b": np.ones(5)}, 500.0, initial=5.0, log=True, ax=ax
    ),
    "plot_spike_times": lambda ax: plots.plot_spike_times([0, 1], [3.0, 4.0], [3.5], ax=ax),
    "plot_rates": lambda ax: plots.plot_rates({"a": [1.0, 2.0], "b": []}, ax=ax),
    "plot_intervals": lambda ax: plots.plot_intervals(
        {"a": [5.0, 8.0, 20.0], "b": []}, dead_ms=2.0, ax=ax
    ),
    "plot_feedback_signs": lambda ax: plots.plot_feedback_signs(
        [1.0, -1.0], [2.0, -3.0], active=[True, False], ax=ax
    ),
    "plot_cost_bars": lambda ax: plots.plot_cost_bars(
        {"a": [1.0, 2.0], "b": [0.5]}, reference=[1.0, 1.0], ax=ax
    ),
}


def test_every_picture_is_tried() -> None:
    assert set(DRAWINGS) == set(plots.__all__)


@pytest.mark.parametrize("name", sorted(DRAWINGS))
def test_pictures(name: str) -> None:
    figure, ax = plot.new()
    assert DRAWINGS[name](ax) is figure
    assert ax.get_xlabel()
    assert DRAWINGS[name](None) is not figure


def test_windows_have_a_duration() -> None:
    with pytest.raises(ValueError, match="window_ms"):
        plots.plot_learning({"a": [1.0]}, 0.0)
