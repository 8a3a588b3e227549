"""A bottleneck makes center-surround cells; the depth behind it decides what they compute."""

from __future__ import annotations

from tractable.vision.retina.errors import DeadBottleneckError
from tractable.vision.retina.fields import (
    RFSet,
    receptive_fields,
    rf_ensemble,
    rf_mosaic,
    sta,
)
from tractable.vision.retina.images import GrayImages, cifar_gray, gray_images
from tractable.vision.retina.layers import activations, capture
from tractable.vision.retina.local import LocalConv2d, LocalNorm
from tractable.vision.retina.model import RetinaVVS, parameter_count
from tractable.vision.retina.training import (
    PRESETS,
    TrainResult,
    TrainSettings,
    train_classifier,
)

__all__ = [
    "PRESETS",
    "DeadBottleneckError",
    "GrayImages",
    "LocalConv2d",
    "LocalNorm",
    "RFSet",
    "RetinaVVS",
    "TrainResult",
    "TrainSettings",
    "activations",
    "capture",
    "cifar_gray",
    "gray_images",
    "parameter_count",
    "receptive_fields",
    "rf_ensemble",
    "rf_mosaic",
    "sta",
    "train_classifier",
]
