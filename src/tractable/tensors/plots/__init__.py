"""Pictures of tensors, their phases and their decompositions, one function each.

Every function takes plain arrays, draws in ``ax`` or in a new figure, and returns the Matplotlib
figure. Theory is a line, measurement a marker. A new figure carries a caption as its label.
"""

from tractable.tensors.plots.comparison_plots import (
    plot_against_noise,
    plot_calibration,
    plot_rank_scan,
)
from tractable.tensors.plots.evolution_plots import plot_evolution, plot_overlap_noise
from tractable.tensors.plots.factor_plots import plot_factors
from tractable.tensors.plots.phase_plots import plot_phase_map, plot_shape_ternary

__all__ = [
    "plot_against_noise",
    "plot_calibration",
    "plot_evolution",
    "plot_factors",
    "plot_overlap_noise",
    "plot_phase_map",
    "plot_rank_scan",
    "plot_shape_ternary",
]
