"""Recurrent networks taken apart: fixed and slow points, modes, line attractors, input effects.

Source: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720.
"""

from tractable.dynamics.ablation import Ablation, ablate, ablate_modes
from tractable.dynamics.arnoldi import slowest_modes
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.cells.gated_maps import GRUMap, UGRNNMap
from tractable.dynamics.cells.lstm_map import LSTMMap
from tractable.dynamics.cells.periodic_map import PeriodicMap, periodic_map
from tractable.dynamics.cells.rate_maps import RateMap, VanillaMap
from tractable.dynamics.cells.stacked_map import StackedMap
from tractable.dynamics.comparison import Comparison, compare
from tractable.dynamics.connectivity import Connectivity, connectivity
from tractable.dynamics.context import ContextEffects, context_effects
from tractable.dynamics.continuation import Branches, continue_points, input_sensitivity
from tractable.dynamics.dimension import participation_ratio
from tractable.dynamics.effects import InputEffects, input_effects
from tractable.dynamics.layers import layer_points
from tractable.dynamics.line_attractor import LineAttractor, line_attractor_report
from tractable.dynamics.linear_check import LinearCheck, linear_check
from tractable.dynamics.manifold import Manifold, manifold
from tractable.dynamics.modes import Modes, decompose, eigenvalues
from tractable.dynamics.normality import henrici, transient_gain
from tractable.dynamics.overlap import NullOverlap, null_overlap
from tractable.dynamics.points import PointSet, Rejected, Scan, find_points
from tractable.dynamics.recurrent import UGRNN, RateNetwork, SequenceClassifier, UGRNNCell
from tractable.dynamics.similarity import linear_cka, svcca
from tractable.dynamics.states import Trajectory, collect_states, sample_starts

__all__ = [
    "UGRNN",
    "Ablation",
    "Branches",
    "Cell",
    "Comparison",
    "Connectivity",
    "ContextEffects",
    "GRUMap",
    "InputEffects",
    "LSTMMap",
    "LineAttractor",
    "LinearCheck",
    "Manifold",
    "Modes",
    "NullOverlap",
    "PeriodicMap",
    "PointSet",
    "RateMap",
    "RateNetwork",
    "Rejected",
    "Scan",
    "SequenceClassifier",
    "StackedMap",
    "Trajectory",
    "UGRNNCell",
    "UGRNNMap",
    "VanillaMap",
    "ablate",
    "ablate_modes",
    "as_cell",
    "collect_states",
    "compare",
    "connectivity",
    "context_effects",
    "continue_points",
    "decompose",
    "eigenvalues",
    "find_points",
    "henrici",
    "input_effects",
    "input_sensitivity",
    "layer_points",
    "line_attractor_report",
    "linear_check",
    "linear_cka",
    "manifold",
    "null_overlap",
    "participation_ratio",
    "periodic_map",
    "sample_starts",
    "slowest_modes",
    "svcca",
    "transient_gain",
]
