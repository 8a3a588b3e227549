"""Pictures of tensors, their phases and their decompositions, one function each.

Every function takes plain arrays, draws in ``ax`` or in a new figure, and returns the Matplotlib
figure. Theory is a line, measurement a marker. A new figure carries a caption as its label.
"""

from tractable.tensors.plots.evolution_plots import plot_evolution, plot_overlap_noise
from tractable.tensors.plots.phase_plots import plot_phase_map, plot_shape_ternary

__all__ = [
    "plot_evolution",
    "plot_overlap_noise",
    "plot_phase_map",
    "plot_shape_ternary",
]
