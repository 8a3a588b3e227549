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
from tractable.walkback.nets import conv_operator, mlp_operator
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
    "Comparison",
    "Coverage",
    "Discrepancy",
    "GaussianDensity",
    "GaussianOperator",
    "GaussianPrior",
    "ImageClassifier",
    "ImageSet",
    "KernelDensity",
    "LabelShares",
    "MixtureDensity",
    "Path",
    "PixelSpace",
    "Schedule",
    "Scores",
    "Toy",
    "Trajectory",
    "TransitionOperator",
    "bits_per_dim",
    "compare",
    "conv_operator",
    "dequantize",
    "fit_gaussian",
    "fit_kernel",
    "fit_mixture",
    "frechet",
    "gaussian_mmd2",
    "grid_mixture",
    "inpaint",
    "label_shares",
    "load_image_set",
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
    "walkback_path",
]
