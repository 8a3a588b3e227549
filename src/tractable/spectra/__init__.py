"""Jacobian spectra of deep networks: theory, simulation, measurement, isometric initialization.

Source: Pennington, Schoenholz, Ganguli 2017 (arXiv:1711.04735) and 2018 (arXiv:1802.09979).
"""

from __future__ import annotations

from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.advice import Advice
from tractable.spectra.audit import Audit, audit
from tractable.spectra.audit_layers import Block, LayerAudit
from tractable.spectra.initialize import InitLayer, InitReport, init_
from tractable.spectra.mean_field import MeanField, QStar
from tractable.spectra.measure import jacobian_spectrum
from tractable.spectra.measured_spectrum import MeasuredSpectrum
from tractable.spectra.orthogonal import delta_orthogonal, haar, operator_singular_values
from tractable.spectra.phase import (
    CriticalPoints,
    PhaseDiagram,
    critical_line,
    phase_diagram,
    q_for_variance,
    variance_per_layer,
)
from tractable.spectra.predict import Prediction

__all__ = [
    "Advice",
    "Audit",
    "Block",
    "CriticalPoints",
    "InitLayer",
    "InitReport",
    "LayerAudit",
    "MeanField",
    "MeasuredSpectrum",
    "Nonlinearity",
    "PhaseDiagram",
    "Prediction",
    "QStar",
    "as_nonlinearity",
    "audit",
    "critical_line",
    "delta_orthogonal",
    "haar",
    "init_",
    "jacobian_spectrum",
    "operator_singular_values",
    "phase_diagram",
    "q_for_variance",
    "variance_per_layer",
]
