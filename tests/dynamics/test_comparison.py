"""Reports of several networks in one table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.dynamics import (
    Comparison,
    PointSet,
    Trajectory,
    as_cell,
    compare,
    line_attractor_report,
)
from tractable.dynamics.line_attractor import LineAttractor
from tractable.dynamics.plots import plot_comparison, plot_root_graph


def report(slow: float) -> LineAttractor:
    A = torch.diag(torch.tensor([slow, 0.3, 0.2], dtype=torch.float64))
    cell = as_cell(lambda h, x: h @ A.T + x, n_state=3, n_input=3)
    along = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    states = along * torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    points = PointSet.from_states(cell, states, kind="slow")
    visited = Trajectory(states[None], torch.ones(1, 20, dtype=torch.bool))
    return line_attractor_report(cell, visited, points, readout=[1.0, 0.0, 0.0], tau_min=20.0)


def test_a_good_and_a_leaky_line() -> None:
    table = compare({"good": report(0.999), "leaky": report(0.5)})
    assert table.names == ("good", "leaky")
    column = table.signatures.index("tau_1 / tau_min")
    assert table.holds[:, column].tolist() == [True, False]
    assert table.measured[0, column] == pytest.approx(1 / -np.log(0.999) / 20)
    assert "share of PC1 in the points" in table.shared
    assert "tau_1 / tau_min" not in table.shared
    assert table.rows()[1][0] == "leaky"
    assert "good" in repr(table)
    again = Comparison.from_dataset(table.to_dataset())
    np.testing.assert_array_equal(again.measured, table.measured)
    assert again.names == table.names


def test_picture_and_refusals() -> None:
    table = compare([report(0.999), report(0.5)])
    figure = plot_comparison(
        table.measured, table.at_least, names=table.names, signatures=table.signatures
    )
    assert len(figure.get_label()) > 20
    with pytest.raises(ValueError, match="names must have 2 entries"):
        plot_comparison(table.measured, table.at_least, names=["one"])
    with pytest.raises(ValueError, match="at least one report"):
        compare([])
    with pytest.raises(TypeError, match="line_attractor_report"):
        compare({"a": 3})


def test_graph_picture_refuses() -> None:
    with pytest.raises(ValueError, match="1, 2 or 3 columns"):
        plot_root_graph(np.zeros((2, 4)), np.zeros(2), np.zeros((0, 2)))
    figure = plot_root_graph(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)))
    assert figure.axes
    line = plot_root_graph(np.array([[-1.0], [0.0], [1.0]]), [0, 1, 0], [(1, 0), (1, 2)])
    assert line.axes[0].get_legend() is not None
