"""Pictures: theory is a line, a measurement is a marker."""

from __future__ import annotations

from tractable.walkback.plots.curve_plots import (
    bound_terms,
    length_curve,
    level_curves,
    training_curves,
)
from tractable.walkback.plots.image_plots import chain_grid, sample_grid
from tractable.walkback.plots.path_plots import current_quiver, heat_and_walk, scatter

__all__ = [
    "bound_terms",
    "chain_grid",
    "current_quiver",
    "heat_and_walk",
    "length_curve",
    "level_curves",
    "sample_grid",
    "scatter",
    "training_curves",
]
