"""Pictures of learning and of audits show what they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from tractable import plot
from tractable.spectra import JacobianSpectrum, audit, critical_line, phase_diagram, simulate
from tractable.spectra.plots import (
    plot_audit,
    plot_blocks,
    plot_density,
    plot_depth_scaling,
    plot_layers,
    plot_learning_curves,
    plot_measured,
    plot_phase_plane,
    plot_time_against_variance,
)


@pytest.fixture(scope="module")
def chain_audit():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(12, 12), nn.Tanh())])
    return audit(net, torch.randn(8, 12))


def drawn(figure: Figure) -> Figure:
    figure.canvas.draw()
    assert len(figure.get_label()) > 20
    return figure


def test_learning_curves_mark_the_threshold() -> None:
    steps = np.array([0, 1, 2, 3])
    accuracy = np.array([[0.1, 0.1, 0.1], [0.2, 0.4, 0.3], [0.6, 0.7, 0.2], [0.9, 0.8, 0.9]])
    figure = drawn(plot_learning_curves({"tanh orthogonal": (steps, accuracy)}, threshold=0.5))
    ax = figure.axes[0]
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert marks[0].get_xdata().tolist() == [2.0]
    median = next(line for line in ax.lines if line.get_label() == "tanh orthogonal")
    assert median.get_ydata().tolist() == [0.3, 0.6, 0.9]


def test_exponents_are_fitted_through_what_was_reached() -> None:
    times = {
        "one": ([4, 16, 64], [2.0, 4.0, 8.0], [True, True, True]),
        "two": ([4, 16, 64], [3.0, 6.0, 7.0], [True, True, False]),
    }
    errors = {"one": ([1.0, 4.0, 8.0], [2.0, 5.0, 9.0])}
    figure = drawn(plot_depth_scaling(times, errors=errors))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["one: τ ∝ L^0.50", "two: τ ∝ L^0.50"]
    triangles = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert triangles[0].get_xdata().tolist() == [64.0]


def test_time_against_variance_shows_bounds() -> None:
    variances = {"tanh orthogonal": 0.3, "ReLU Gaussian": 127.0}
    times = {"sgd": {"tanh orthogonal": (3.0, True), "ReLU Gaussian": (80.0, False)}}
    ax = drawn(plot_time_against_variance(variances, times)).axes[0]
    triangles = [line for line in ax.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert triangles[0].get_xdata().tolist() == [127.0]
    assert "sgd" in ax.get_legend_handles_labels()[1]


def test_an_audit_has_its_spectrum_and_its_layers(chain_audit) -> None:
    figure = drawn(plot_audit(chain_audit))
    assert [ax.get_xlabel() for ax in figure.axes] == [
        r"eigenvalue $\lambda$ of $J J^T$",
        "layer l",
    ]
    drawn(plot_layers(chain_audit))
    drawn(plot_measured(chain_audit.measured, predicted=chain_audit.predicted))
    with pytest.raises(ValueError, match="a chain has layers"):
        plot_blocks(chain_audit)


def test_a_model_of_blocks() -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6))
    found = audit(net, torch.randn(4, 6))
    figure = drawn(plot_audit(found))
    assert figure.axes[1].get_xlabel() == "block"
    bare = audit(net, torch.randn(4, 6), per_layer=False)
    assert not plot_audit(bare).axes[1].axison
    with pytest.raises(ValueError, match="per_layer=True"):
        plot_layers(bare)


def test_densities_of_s_and_of_its_logarithm_show_their_atoms() -> None:
    law = JacobianSpectrum("hard_tanh", 8, q=0.25)
    sampled = simulate("hard_tanh", 8, q=0.25, width=60, progress=False).eigenvalues(8)
    for log, place in ((True, 0.5 * np.log10(law.atoms[1][0])), (False, law.atoms[1][0] ** 0.5)):
        ax = drawn(plot_density(law, sampled, log=log)).axes[0]
        stems = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
        assert place == pytest.approx(stems[-1])
        assert "0.636" in [text.get_text() for text in ax.texts]
    ax = drawn(plot_density(JacobianSpectrum("tanh", 4, q=0.1), log=False)).axes[0]
    x, y = ax.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)


def test_the_phase_plane_shows_models() -> None:
    plane = phase_diagram("tanh", [0.8, 1.0, 1.2], [0.0, 0.1, 0.2]).to_dataset()
    line = critical_line("tanh", [0.01, 0.1])
    plane = plane.assign(line_w=("point", line.sigma_w), line_b=("point", line.sigma_b))
    figure = drawn(plot_phase_plane(plane, "tanh", models={"mine": (1.1, 0.05)}))
    dots = [line for line in figure.axes[0].lines if line.get_label() == "mine"]
    assert (dots[0].get_xdata()[0], dots[0].get_ydata()[0]) == (1.1, 0.05)
    assert "mine" in figure.get_label()


def test_given_axes_are_drawn_in(chain_audit) -> None:
    figure, ax = plot.new()
    assert plot_layers(chain_audit, ax=ax) is figure
    assert not figure.get_label()
