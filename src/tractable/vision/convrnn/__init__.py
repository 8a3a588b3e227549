"""Convolutional recurrent graphs with bypassing and gating, searched and held against neurons."""

from tractable.vision.convrnn.brainscore import load_brainscore, recordings_of_assembly
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
from tractable.vision.convrnn.fit_result import FitResult, bootstrap_median
from tractable.vision.convrnn.image_splits import image_splits
from tractable.vision.convrnn.layers_in_time import layer_preference, layers_to_bins
from tractable.vision.convrnn.movies import make_movie
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.neural_fit import neural_fit
from tractable.vision.convrnn.node_map import NodeMap
from tractable.vision.convrnn.outputs import Output, TimeSeries
from tractable.vision.convrnn.published import MEDIAN_CELL as MEDIAN_CELL
from tractable.vision.convrnn.published import ZOO, published
from tractable.vision.convrnn.recordings import Recordings
from tractable.vision.convrnn.regressions import LinearMap, pls, pls_each, ridge
from tractable.vision.convrnn.reliability import (
    poisson_reliability,
    reliability,
    spearman_brown,
    split_half_correlation,
)
from tractable.vision.convrnn.similarity import cka, rdm, rdm_correlation
from tractable.vision.convrnn.similarity_in_time import (
    SimilarityInTime,
    rdm_noise_ceiling,
    similarity_in_time,
)
from tractable.vision.convrnn.solution_times import (
    OST,
    OSTComparison,
    crossing_times,
    d_prime,
    object_solution_times,
)
from tractable.vision.convrnn.spec import ConvRNNSpec, Edge, Node, SpecError
from tractable.vision.convrnn.speed import SpeedAccuracy, speed_accuracy
from tractable.vision.convrnn.synthetic_neurons import (
    SyntheticNeurons,
    SyntheticRecordings,
    ar2_latents,
)
from tractable.vision.convrnn.unroll import Unrolled
from tractable.vision.convrnn.wrapped import WrappedRNN, wrap

__all__ = [
    "OST",
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
    "FitResult",
    "GraphCost",
    "LinearMap",
    "Node",
    "NodeMap",
    "OSTComparison",
    "Output",
    "ReciprocalGated",
    "Recordings",
    "SimilarityInTime",
    "SpecError",
    "SpeedAccuracy",
    "SyntheticNeurons",
    "SyntheticRecordings",
    "TimeDecay",
    "TimeSeries",
    "Unrolled",
    "VanillaRNN",
    "WrappedRNN",
    "ar2_latents",
    "bootstrap_median",
    "cell_names",
    "cka",
    "cost",
    "crossing_times",
    "d_prime",
    "decode",
    "image_splits",
    "layer_preference",
    "layers_to_bins",
    "load_brainscore",
    "make_cell",
    "make_movie",
    "match_parameters",
    "neural_fit",
    "object_solution_times",
    "pls",
    "pls_each",
    "poisson_reliability",
    "published",
    "rdm",
    "rdm_correlation",
    "rdm_noise_ceiling",
    "recordings_of_assembly",
    "register",
    "reliability",
    "ridge",
    "similarity_in_time",
    "spearman_brown",
    "speed_accuracy",
    "split_half_correlation",
    "wrap",
]
