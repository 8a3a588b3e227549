"""Recurrent cells on feature maps: eight of them, and any of one's own.

Symbols: x input, h and c states, * a two-dimensional convolution with bias that keeps height and
width, s the logistic function. Biases of forget gates are added before s.
"""

from tractable.vision.convrnn.cells.base import Cell, SameConv2d, resized
from tractable.vision.convrnn.cells.gated import (
    ConvGRU,
    ConvIntersectionRNN,
    ConvLSTM,
    ConvUGRNN,
)
from tractable.vision.convrnn.cells.plain import Feedforward, TimeDecay, VanillaRNN
from tractable.vision.convrnn.cells.reciprocal import ReciprocalGated
from tractable.vision.convrnn.cells.table import cell_names, make_cell, register

__all__ = [
    "Cell",
    "ConvGRU",
    "ConvIntersectionRNN",
    "ConvLSTM",
    "ConvUGRNN",
    "Feedforward",
    "ReciprocalGated",
    "SameConv2d",
    "TimeDecay",
    "VanillaRNN",
    "cell_names",
    "make_cell",
    "register",
    "resized",
]
