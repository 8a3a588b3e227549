"""Variational Walkback: a learned transition operator, its likelihood and its irreversibility."""

from __future__ import annotations

from tractable.walkback.baselines import (
    GaussianDensity,
    KernelDensity,
    MixtureDensity,
    fit_gaussian,
    fit_kernel,
    fit_mixture,
)
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
from tractable.walkback.distances import Discrepancy, frechet, mmd2, sliced_wasserstein
from tractable.walkback.image_sets import (
    ImageSet,
    load_image_set,
    read_array,
    read_image_folder,
)
from tractable.walkback.learn import (
    FitResult,
    NoHeatingWarning,
    SigmaCollapseWarning,
    StepInfo,
    fit,
)
from tractable.walkback.nets import conv_operator, mlp_operator
from tractable.walkback.objective import WalkbackStats, walkback_loss
from tractable.walkback.operators import (
    BernoulliOperator,
    GaussianOperator,
    TransitionOperator,
)
from tractable.walkback.paths import Path, Trajectory, inpaint, sample, walkback_path
from tractable.walkback.pixels import PixelSpace, bits_per_dim, dequantize
from tractable.walkback.priors import BernoulliPrior, GaussianPrior
from tractable.walkback.schedule import Schedule
from tractable.walkback.toys import (
    TOYS,
    Toy,
    gaussian_mmd2,
    grid_mixture,
    ring,
    swiss_roll,
    toy,
)

__all__ = [
    "TOYS",
    "BernoulliOperator",
    "BernoulliPrior",
    "BoundResult",
    "Comparison",
    "Coverage",
    "Discrepancy",
    "FitResult",
    "GaussianDensity",
    "GaussianOperator",
    "GaussianPrior",
    "ImageClassifier",
    "ImageSet",
    "KernelDensity",
    "LabelShares",
    "LevelTable",
    "LowESSWarning",
    "MixtureDensity",
    "NoHeatingWarning",
    "Path",
    "PixelSpace",
    "Schedule",
    "Scores",
    "SigmaCollapseWarning",
    "StepInfo",
    "Toy",
    "Trajectory",
    "TransitionOperator",
    "WalkbackStats",
    "bits_per_dim",
    "compare",
    "conv_operator",
    "dequantize",
    "fit",
    "fit_gaussian",
    "fit_kernel",
    "fit_mixture",
    "frechet",
    "gaussian_mmd2",
    "grid_mixture",
    "inpaint",
    "label_shares",
    "level_table",
    "load_image_set",
    "log_likelihood_bound",
    "memorization_ratio",
    "mlp_operator",
    "mmd2",
    "prdc",
    "read_array",
    "read_image_folder",
    "ring",
    "sample",
    "score",
    "sliced_wasserstein",
    "swiss_roll",
    "toy",
    "train_classifier",
    "walkback_loss",
    "walkback_path",
]
