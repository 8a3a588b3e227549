"""Bayes-optimal decomposition of low-rank tensors by message passing, with its theory beside it."""

from __future__ import annotations

from tractable.tensors import priors
from tractable.tensors.model import Sample, SpikedTensor, aspect_ratios
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

__all__ = [
    "Bernoulli",
    "Custom",
    "Discrete",
    "Exponential",
    "GaussBernoulli",
    "Gaussian",
    "Prior",
    "Rademacher",
    "Sample",
    "SpikedTensor",
    "TruncatedGaussian",
    "as_prior",
    "as_priors",
    "aspect_ratios",
    "priors",
    "register_prior",
]
