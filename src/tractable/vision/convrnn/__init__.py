"""Convolutional recurrent graphs with bypassing and gating, searched and held against neurons."""

from tractable.vision.convrnn.cells import (
    Cell,
    ConvGRU,
    ConvIntersectionRNN,
    ConvLSTM,
    ConvUGRNN,
    Feedforward,
    ReciprocalGated,
    TimeDecay,
    VanillaRNN,
    cell_names,
    make_cell,
    register,
)
from tractable.vision.convrnn.costs import GraphCost, cost, match_parameters
from tractable.vision.convrnn.decoders import Decoder, decode
from tractable.vision.convrnn.image_splits import image_splits
from tractable.vision.convrnn.movies import make_movie
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.node_map import NodeMap
from tractable.vision.convrnn.outputs import Output, TimeSeries
from tractable.vision.convrnn.published import MEDIAN_CELL as MEDIAN_CELL
from tractable.vision.convrnn.published import ZOO, published
from tractable.vision.convrnn.regressions import LinearMap, pls, pls_each, ridge
from tractable.vision.convrnn.reliability import (
    poisson_reliability,
    reliability,
    spearman_brown,
    split_half_correlation,
)
from tractable.vision.convrnn.similarity import cka, rdm, rdm_correlation
from tractable.vision.convrnn.spec import ConvRNNSpec, Edge, Node, SpecError
from tractable.vision.convrnn.unroll import Unrolled
from tractable.vision.convrnn.wrapped import WrappedRNN, wrap

__all__ = [
    "ZOO",
    "Cell",
    "ConvGRU",
    "ConvIntersectionRNN",
    "ConvLSTM",
    "ConvRNN",
    "ConvRNNSpec",
    "ConvUGRNN",
    "Decoder",
    "Edge",
    "Feedforward",
    "GraphCost",
    "LinearMap",
    "Node",
    "NodeMap",
    "Output",
    "ReciprocalGated",
    "SpecError",
    "TimeDecay",
    "TimeSeries",
    "Unrolled",
    "VanillaRNN",
    "WrappedRNN",
    "cell_names",
    "cka",
    "cost",
    "decode",
    "image_splits",
    "make_cell",
    "make_movie",
    "match_parameters",
    "pls",
    "pls_each",
    "poisson_reliability",
    "published",
    "rdm",
    "rdm_correlation",
    "register",
    "reliability",
    "ridge",
    "spearman_brown",
    "split_half_correlation",
    "wrap",
]
