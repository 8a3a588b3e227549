"""Recurrent networks taken apart: fixed and slow points, modes, line attractors, input effects.

Source: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720.
"""

from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.effects import InputEffects, input_effects
from tractable.dynamics.linear_check import LinearCheck, linear_check
from tractable.dynamics.manifold import Manifold, manifold
from tractable.dynamics.modes import Modes, decompose, eigenvalues
from tractable.dynamics.point_set import PointSet
from tractable.dynamics.points import find_points
from tractable.dynamics.recurrent import UGRNN, SequenceClassifier, UGRNNCell
from tractable.dynamics.states import Trajectory, collect_states, sample_starts

__all__ = [
    "UGRNN",
    "Cell",
    "InputEffects",
    "LinearCheck",
    "Manifold",
    "Modes",
    "PointSet",
    "SequenceClassifier",
    "Trajectory",
    "UGRNNCell",
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
