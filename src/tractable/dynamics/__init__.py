"""Recurrent networks taken apart: fixed and slow points, modes, line attractors, input effects.

Source: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720.
"""

from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.cells.gated_maps import GRUMap, UGRNNMap
from tractable.dynamics.cells.lstm_map import LSTMMap
from tractable.dynamics.cells.rate_maps import RateMap, VanillaMap
from tractable.dynamics.cells.stacked_map import StackedMap
from tractable.dynamics.effects import InputEffects, input_effects
from tractable.dynamics.linear_check import LinearCheck, linear_check
from tractable.dynamics.manifold import Manifold, manifold
from tractable.dynamics.modes import Modes, decompose, eigenvalues
from tractable.dynamics.points import find_points
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.recurrent import UGRNN, RateNetwork, SequenceClassifier, UGRNNCell
from tractable.dynamics.states import Trajectory, collect_states, sample_starts

__all__ = [
    "UGRNN",
    "Cell",
    "GRUMap",
    "InputEffects",
    "LSTMMap",
    "LinearCheck",
    "Manifold",
    "Modes",
    "PointSet",
    "RateMap",
    "RateNetwork",
    "SequenceClassifier",
    "StackedMap",
    "Trajectory",
    "UGRNNCell",
    "UGRNNMap",
    "VanillaMap",
    "as_cell",
    "collect_states",
    "decompose",
    "eigenvalues",
    "find_points",
    "input_effects",
    "linear_check",
    "manifold",
    "sample_starts",
]
