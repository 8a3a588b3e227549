"""Jacobian spectra of deep networks: theory, simulation, measurement, isometric initialization.

Source: Pennington, Schoenholz, Ganguli 2017 (arXiv:1711.04735) and 2018 (arXiv:1802.09979).
"""

from __future__ import annotations

from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.spectra.advice import Advice
from tractable.spectra.audit import Audit, audit
from tractable.spectra.audit_layers import Block, LayerAudit
from tractable.spectra.comparison import Comparison, compare
from tractable.spectra.deep_spectrum import JacobianSpectrum, Layer
from tractable.spectra.init_report import InitLayer, InitReport
from tractable.spectra.initialize import init_
from tractable.spectra.law import ConvergenceError, Diagnostics, SpectralLaw
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
from tractable.spectra.simulation import SimulatedSpectra, simulate
from tractable.spectra.universal import Universality, UniversalSpectrum, universality_class

__all__ = [
    "Advice",
    "Audit",
    "Block",
    "Comparison",
    "ConvergenceError",
    "CriticalPoints",
    "Diagnostics",
    "InitLayer",
    "InitReport",
    "JacobianSpectrum",
    "Layer",
    "LayerAudit",
    "MeanField",
    "MeasuredSpectrum",
    "Nonlinearity",
    "PhaseDiagram",
    "Prediction",
    "QStar",
    "SimulatedSpectra",
    "SpectralLaw",
    "UniversalSpectrum",
    "Universality",
    "as_nonlinearity",
    "audit",
    "compare",
    "critical_line",
    "delta_orthogonal",
    "haar",
    "init_",
    "jacobian_spectrum",
    "operator_singular_values",
    "phase_diagram",
    "q_for_variance",
    "simulate",
    "universality_class",
    "variance_per_layer",
]
