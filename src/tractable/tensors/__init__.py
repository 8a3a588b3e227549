"""Bayes-optimal decomposition of low-rank tensors by message passing, with its theory beside it."""

from __future__ import annotations

from tractable.tensors import baselines, priors
from tractable.tensors.amp import amp
from tractable.tensors.amp_result import AMPResult
from tractable.tensors.channel import expected_log_z, matched_overlap, mismatched_overlap
from tractable.tensors.contractions import mttkrp
from tractable.tensors.cp import CP
from tractable.tensors.curve import FixedPointCurve, fixed_point_curve
from tractable.tensors.detectability import Detectability, detectability
from tractable.tensors.entropy import free_entropy
from tractable.tensors.evolution import SEResult, state_evolution
from tractable.tensors.metrics import (
    factor_match_score,
    nmse,
    overlap,
    permutation_align,
    relative_error,
)
from tractable.tensors.model import Sample, SpikedTensor, aspect_ratios
from tractable.tensors.phases import PHASES, PhaseDiagram, branch_overlaps, phase_diagram
from tractable.tensors.prepare import Prepared, prepare
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
from tractable.tensors.rank_scan import RankScan, rank_scan
from tractable.tensors.thresholds import (
    Strength,
    Thresholds,
    signal_strength,
    spectral_threshold,
    thresholds,
    tricritical_mean,
    two_zero_mean_threshold,
)

__all__ = [
    "CP",
    "PHASES",
    "AMPResult",
    "Bernoulli",
    "Custom",
    "Detectability",
    "Discrete",
    "Exponential",
    "FixedPointCurve",
    "GaussBernoulli",
    "Gaussian",
    "PhaseDiagram",
    "Prepared",
    "Prior",
    "Rademacher",
    "RankScan",
    "SEResult",
    "Sample",
    "SpikedTensor",
    "Strength",
    "Thresholds",
    "TruncatedGaussian",
    "amp",
    "as_prior",
    "as_priors",
    "aspect_ratios",
    "baselines",
    "branch_overlaps",
    "detectability",
    "expected_log_z",
    "factor_match_score",
    "fixed_point_curve",
    "free_entropy",
    "matched_overlap",
    "mismatched_overlap",
    "mttkrp",
    "nmse",
    "overlap",
    "permutation_align",
    "phase_diagram",
    "prepare",
    "priors",
    "rank_scan",
    "register_prior",
    "relative_error",
    "signal_strength",
    "spectral_threshold",
    "state_evolution",
    "thresholds",
    "tricritical_mean",
    "two_zero_mean_threshold",
]
