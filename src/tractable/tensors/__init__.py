"""Bayes-optimal decomposition of low-rank tensors by message passing, with its theory beside it."""

from __future__ import annotations

from tractable.tensors import priors
from tractable.tensors.channel import expected_log_z, matched_overlap, mismatched_overlap
from tractable.tensors.curve import FixedPointCurve, fixed_point_curve
from tractable.tensors.entropy import free_entropy
from tractable.tensors.evolution import SEResult, state_evolution
from tractable.tensors.model import Sample, SpikedTensor, aspect_ratios
from tractable.tensors.phases import PHASES, PhaseDiagram, branch_overlaps, phase_diagram
from tractable.tensors.priors import (
    Bernoulli,
    Custom,
    Discrete,
    Exponential,
    GaussBernoulli,
    Gaussian,
    Prior,
    Rademacher,
    TruncatedGaussian,
    as_prior,
    as_priors,
    register_prior,
)
from tractable.tensors.thresholds import (
    Strength,
    Thresholds,
    signal_strength,
    spectral_threshold,
    thresholds,
    two_zero_mean_threshold,
)

__all__ = [
    "PHASES",
    "Bernoulli",
    "Custom",
    "Discrete",
    "Exponential",
    "FixedPointCurve",
    "GaussBernoulli",
    "Gaussian",
    "PhaseDiagram",
    "Prior",
    "Rademacher",
    "SEResult",
    "Sample",
    "SpikedTensor",
    "Strength",
    "Thresholds",
    "TruncatedGaussian",
    "as_prior",
    "as_priors",
    "aspect_ratios",
    "branch_overlaps",
    "expected_log_z",
    "fixed_point_curve",
    "free_entropy",
    "matched_overlap",
    "mismatched_overlap",
    "phase_diagram",
    "priors",
    "register_prior",
    "signal_strength",
    "spectral_threshold",
    "state_evolution",
    "thresholds",
    "two_zero_mean_threshold",
]
