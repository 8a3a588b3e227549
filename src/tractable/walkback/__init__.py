"""Variational Walkback: a learned transition operator, its likelihood and its irreversibility."""

from __future__ import annotations

from tractable.walkback.balance_test import DetailedBalance, detailed_balance_test
from tractable.walkback.baselines import (
    GaussianDensity,
    KernelDensity,
    MixtureDensity,
    fit_gaussian,
    fit_kernel,
    fit_mixture,
)
from tractable.walkback.bernoulli_operator import BernoulliOperator
from tractable.walkback.bound import (
    BoundResult,
    LevelTable,
    LowESSWarning,
    level_table,
    log_likelihood_bound,
)
from tractable.walkback.classifier import ImageClassifier, train_classifier
from tractable.walkback.comparison import Comparison, Scores, compare, score
from tractable.walkback.coverage import (
    Coverage,
    LabelShares,
    label_shares,
    memorization_ratio,
    prdc,
)
from tractable.walkback.currents import CurrentField, probability_current
from tractable.walkback.distances import Discrepancy, frechet, mmd2, sliced_wasserstein
from tractable.walkback.enumeration import (
    ExactDecomposition,
    all_states,
    exact_decomposition,
    matrix_decomposition,
    matrix_entropy_production,
    matrix_stationary,
    stationary_distribution,
    transition_matrix,
)
from tractable.walkback.gaussian_operator import GaussianOperator
from tractable.walkback.image_sets import (
    ImageSet,
    load_image_set,
    read_array,
    read_image_folder,
)
from tractable.walkback.irreversibility import (
    EntropyProduction,
    StationarityWarning,
    entropy_production,
)
from tractable.walkback.learn import (
    FitResult,
    NoHeatingWarning,
    SigmaCollapseWarning,
    StepInfo,
    fit,
)
from tractable.walkback.linear_likelihood import (
    GaussianDecomposition,
    gaussian_kl,
    linear_bound,
    linear_decomposition,
    linear_log_prob,
)
from tractable.walkback.linear_operator import LinearGaussianOperator, rotation_operator
from tractable.walkback.linear_theory import (
    area_rate,
    linear_entropy_production,
    ou_entropy_production,
    reversible_operator,
    rotation_entropy_production,
    stationary_law,
)
from tractable.walkback.nets import conv_operator, mlp_operator
from tractable.walkback.objective import WalkbackStats, walkback_loss
from tractable.walkback.operators import TransitionOperator
from tractable.walkback.paths import Path, Trajectory, inpaint, sample, walkback_path
from tractable.walkback.pixels import PixelSpace, bits_per_dim, dequantize
from tractable.walkback.priors import BernoulliPrior, GaussianPrior
from tractable.walkback.reversal import (
    LadderFixedPoint,
    ReversalHistory,
    conditioned_ladder,
    damped_reversal,
    gaussian_ladder,
    tied_ladder,
    time_reversal,
)
from tractable.walkback.schedule import Schedule
from tractable.walkback.toys import (
    TOYS as TOYS,
)
from tractable.walkback.toys import (
    Toy,
    gaussian_mmd2,
    grid_mixture,
    ring,
    swiss_roll,
    toy,
)

__all__ = [
    "BernoulliOperator",
    "BernoulliPrior",
    "BoundResult",
    "Comparison",
    "Coverage",
    "CurrentField",
    "DetailedBalance",
    "Discrepancy",
    "EntropyProduction",
    "ExactDecomposition",
    "FitResult",
    "GaussianDecomposition",
    "GaussianDensity",
    "GaussianOperator",
    "GaussianPrior",
    "ImageClassifier",
    "ImageSet",
    "KernelDensity",
    "LabelShares",
    "LadderFixedPoint",
    "LevelTable",
    "LinearGaussianOperator",
    "LowESSWarning",
    "MixtureDensity",
    "NoHeatingWarning",
    "Path",
    "PixelSpace",
    "ReversalHistory",
    "Schedule",
    "Scores",
    "SigmaCollapseWarning",
    "StationarityWarning",
    "StepInfo",
    "Toy",
    "Trajectory",
    "TransitionOperator",
    "WalkbackStats",
    "all_states",
    "area_rate",
    "bits_per_dim",
    "compare",
    "conditioned_ladder",
    "conv_operator",
    "damped_reversal",
    "dequantize",
    "detailed_balance_test",
    "entropy_production",
    "exact_decomposition",
    "fit",
    "fit_gaussian",
    "fit_kernel",
    "fit_mixture",
    "frechet",
    "gaussian_kl",
    "gaussian_ladder",
    "gaussian_mmd2",
    "grid_mixture",
    "inpaint",
    "label_shares",
    "level_table",
    "linear_bound",
    "linear_decomposition",
    "linear_entropy_production",
    "linear_log_prob",
    "load_image_set",
    "log_likelihood_bound",
    "matrix_decomposition",
    "matrix_entropy_production",
    "matrix_stationary",
    "memorization_ratio",
    "mlp_operator",
    "mmd2",
    "ou_entropy_production",
    "prdc",
    "probability_current",
    "read_array",
    "read_image_folder",
    "reversible_operator",
    "ring",
    "rotation_entropy_production",
    "rotation_operator",
    "sample",
    "score",
    "sliced_wasserstein",
    "stationary_distribution",
    "stationary_law",
    "swiss_roll",
    "tied_ladder",
    "time_reversal",
    "toy",
    "train_classifier",
    "transition_matrix",
    "walkback_loss",
    "walkback_path",
]
