"""A bottleneck makes center-surround cells; the depth behind it decides what they compute."""

from __future__ import annotations

from tractable.vision.retina.classes import CellClasses, CellKind, classify_rf
from tractable.vision.retina.complexity import ComplexityResult, complexity, pairwise_cosine
from tractable.vision.retina.efficient import EfficientChannel, efficient_channel
from tractable.vision.retina.errors import DeadBottleneckError
from tractable.vision.retina.field_sets import RFSet
from tractable.vision.retina.fields import receptive_fields, rf_ensemble, rf_mosaic
from tractable.vision.retina.fits import DoGFit, GaborFit, fit_dog, fit_gabor
from tractable.vision.retina.gratings import GratingTuning, grating_images, gratings
from tractable.vision.retina.images import GrayImages, cifar_gray, gray_images
from tractable.vision.retina.layers import activations, capture
from tractable.vision.retina.linearity import (
    LinearityResult,
    linearity,
    reconstruction,
    rectification_cap,
)
from tractable.vision.retina.local import LocalConv2d, LocalNorm
from tractable.vision.retina.margin import MarginFit, fit_margin
from tractable.vision.retina.model import RetinaVVS, parameter_count
from tractable.vision.retina.orientation import BarBank, OrientationStats, bar_bank, orientation
from tractable.vision.retina.ridge import RidgeFit, ridge
from tractable.vision.retina.roundness import (
    anisotropy_floor,
    opposite_ratio,
    radial_fraction,
    radial_profile,
)
from tractable.vision.retina.separability import SeparabilityResult, separability
from tractable.vision.retina.settings import PRESETS as PRESETS
from tractable.vision.retina.settings import TrainSettings
from tractable.vision.retina.shapes import make_shapes_on_pink
from tractable.vision.retina.spike_triggered import sta
from tractable.vision.retina.train_result import TrainResult
from tractable.vision.retina.training import train_classifier
from tractable.vision.retina.uncertainty import Bootstrap, bootstrap_fields

__all__ = [
    "BarBank",
    "Bootstrap",
    "CellClasses",
    "CellKind",
    "ComplexityResult",
    "DeadBottleneckError",
    "DoGFit",
    "EfficientChannel",
    "GaborFit",
    "GratingTuning",
    "GrayImages",
    "LinearityResult",
    "LocalConv2d",
    "LocalNorm",
    "MarginFit",
    "OrientationStats",
    "RFSet",
    "RetinaVVS",
    "RidgeFit",
    "SeparabilityResult",
    "TrainResult",
    "TrainSettings",
    "activations",
    "anisotropy_floor",
    "bar_bank",
    "bootstrap_fields",
    "capture",
    "cifar_gray",
    "classify_rf",
    "complexity",
    "efficient_channel",
    "fit_dog",
    "fit_gabor",
    "fit_margin",
    "grating_images",
    "gratings",
    "gray_images",
    "linearity",
    "make_shapes_on_pink",
    "opposite_ratio",
    "orientation",
    "pairwise_cosine",
    "parameter_count",
    "radial_fraction",
    "radial_profile",
    "receptive_fields",
    "reconstruction",
    "rectification_cap",
    "rf_ensemble",
    "rf_mosaic",
    "ridge",
    "separability",
    "sta",
    "train_classifier",
]
