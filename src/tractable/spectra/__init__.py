"""Jacobian spectra of deep networks: theory, simulation, measurement, isometric initialization.

Source: Pennington, Schoenholz, Ganguli 2017 (arXiv:1711.04735) and 2018 (arXiv:1802.09979).
"""

from __future__ import annotations

from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.mean_field import MeanField, QStar
from tractable.spectra.phase import (
    CriticalPoints,
    PhaseDiagram,
    critical_line,
    phase_diagram,
    q_for_variance,
    variance_per_layer,
)

__all__ = [
    "CriticalPoints",
    "MeanField",
    "Nonlinearity",
    "PhaseDiagram",
    "QStar",
    "as_nonlinearity",
    "critical_line",
    "phase_diagram",
    "q_for_variance",
    "variance_per_layer",
]
