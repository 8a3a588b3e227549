"""Pictures of deep linear networks, one function each.

Every function takes plain arrays, draws in ``ax`` or in a new figure, and returns the Matplotlib
figure. Theory is a line, measurement a marker. A new figure carries a caption as its label.
"""

from tractable.linear.plots.error_plots import plot_errors
from tractable.linear.plots.spectrum_plots import plot_overlaps, plot_singular_values, plot_spikes
from tractable.linear.plots.transfer_plots import plot_transfer

__all__ = [
    "plot_errors",
    "plot_overlaps",
    "plot_singular_values",
    "plot_spikes",
    "plot_transfer",
]
