"""Pictures of deep linear networks, one function each.

Every function takes plain arrays, draws in ``ax`` or in a new figure, and returns the Matplotlib
figure. Theory is a line, measurement a marker. A new figure carries a caption as its label.
"""

from tractable.linear.plots.belief_plots import plot_belief
from tractable.linear.plots.development_plots import (
    plot_development_tree,
    plot_similarity_strip,
    plot_trajectories,
)
from tractable.linear.plots.error_plots import plot_errors
from tractable.linear.plots.mode_plots import plot_decomposition, plot_strengths
from tractable.linear.plots.spectrum_plots import plot_overlaps, plot_singular_values, plot_spikes
from tractable.linear.plots.transfer_plots import plot_transfer

__all__ = [
    "plot_belief",
    "plot_decomposition",
    "plot_development_tree",
    "plot_errors",
    "plot_overlaps",
    "plot_similarity_strip",
    "plot_singular_values",
    "plot_spikes",
    "plot_strengths",
    "plot_trajectories",
    "plot_transfer",
]
