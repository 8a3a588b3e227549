"""Priors of the rows of a factor matrix: what is known of the factors before the data.

A prior is any object with the methods of `Prior`; the classes here are the common ones. All compute
on torch tensors, vectorized over rows and leading axes, on any device.
"""

from tractable.tensors.priors.custom import Custom
from tractable.tensors.priors.discrete import Bernoulli, Discrete, Rademacher
from tractable.tensors.priors.gaussian import Gaussian
from tractable.tensors.priors.names import as_prior, as_priors, register_prior
from tractable.tensors.priors.nonnegative import Exponential, TruncatedGaussian
from tractable.tensors.priors.protocol import Prior
from tractable.tensors.priors.sparse import GaussBernoulli

__all__ = [
    "Bernoulli",
    "Custom",
    "Discrete",
    "Exponential",
    "GaussBernoulli",
    "Gaussian",
    "Prior",
    "Rademacher",
    "TruncatedGaussian",
    "as_prior",
    "as_priors",
    "register_prior",
]
