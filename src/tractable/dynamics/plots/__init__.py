"""Pictures of the mechanism of a recurrent network, one function each.

Every function takes plain arrays (NumPy, torch, or the variables of a saved dataset), draws in
``ax`` or in a new figure, and returns the Matplotlib figure. Theory is a line, measurement a
marker; hollow markers are growing modes. A new figure carries a caption as its label. In given axes
the caller's Matplotlib settings hold; draw inside ``with tractable.plot.style():`` to have the
library's there too.
"""

from tractable.dynamics.plots.check_plots import plot_logits, plot_one_step_error, plot_speed_scan
from tractable.dynamics.plots.comparison_plots import plot_comparison
from tractable.dynamics.plots.graph_plots import plot_root_graph
from tractable.dynamics.plots.input_plots import plot_input_effects, plot_input_plane, plot_valence
from tractable.dynamics.plots.line_plots import plot_alignment, plot_decay
from tractable.dynamics.plots.mode_plots import (
    plot_eigenvalues,
    plot_spectrum_along,
    plot_time_constants,
)
from tractable.dynamics.plots.state_space import plot_state_space

__all__ = [
    "plot_alignment",
    "plot_comparison",
    "plot_decay",
    "plot_eigenvalues",
    "plot_input_effects",
    "plot_input_plane",
    "plot_logits",
    "plot_one_step_error",
    "plot_root_graph",
    "plot_spectrum_along",
    "plot_speed_scan",
    "plot_state_space",
    "plot_time_constants",
    "plot_valence",
]
