"""Pictures of spectra, of audits and of learning, one function each.

Every function takes plain arrays or results, draws in ``ax`` or in a new figure, and returns the
Matplotlib figure. Theory is a line, measurement a marker. A new figure carries a caption as its
label. In given axes the caller's Matplotlib settings hold; draw inside
``with tractable.plot.style():`` to have the library's there too.
"""

from tractable.spectra.plots.audit_plots import (
    plot_audit,
    plot_blocks,
    plot_layers,
    plot_measured,
)
from tractable.spectra.plots.learning_plots import (
    plot_depth_scaling,
    plot_learning_curves,
    plot_time_against_variance,
)
from tractable.spectra.plots.theory_plots import (
    plot_collapse,
    plot_density,
    plot_edges,
    plot_phase_plane,
)

__all__ = [
    "plot_audit",
    "plot_blocks",
    "plot_collapse",
    "plot_density",
    "plot_depth_scaling",
    "plot_edges",
    "plot_layers",
    "plot_learning_curves",
    "plot_measured",
    "plot_phase_plane",
    "plot_time_against_variance",
]
