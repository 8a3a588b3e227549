"""Inductive projection: what a new property, or a new item, is taken to share with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable.linear.inputs import check_dynamics
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.names import pick_one
from tractable.linear.simulation import Simulation

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["project_item", "project_property"]


def project_property(
    dyn: ModeDynamics | Simulation, item: int | str, t: Numbers | None = None
) -> np.ndarray:
    r"""Return how far a new property of one item is projected to every item, shape (..., T, P).

    .. math:: \frac{h_j \cdot h_i}{\|h_i\|^2} =
        \frac{\sum_a a_a v_{ia} v_{ja}}{\sum_a a_a v_{ia}^2}

    A new output row is trained on the frozen hidden code of the familiar item i; the answer for
    item j follows (L25). Early in learning it is broad, later specific.

    Parameters
    ----------
    dyn : ModeDynamics or Simulation
        One hidden layer. A simulation adds the axis of its seeds in front.
    item : int or str
        The item that has the property.
    t : array, shape (T,), optional
        Times; needed for `ModeDynamics`.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> dynamics = eight_things().dynamics()
    >>> early, late = project_property(dynamics, "canary", [5.0, 60.0])[:, [0, 4]]
    >>> early.round(2), late.round(2)  # to pine and to robin
    (array([0.43, 0.92]), array([0.09, 0.48]))
    """
    task = _one_hidden_layer(dyn, t)
    shared = dyn.hidden_similarity(t)  # type: ignore[arg-type]  # a simulation takes None
    if task.inputs is None:
        codes, n = shared, len(task.V)
    else:
        inputs = np.asarray(task.inputs, dtype=float)
        seen = inputs if task.whitening is None else inputs @ task.whitening
        codes, n = seen @ shared @ seen.T, len(inputs)
    i = pick_one("item", item, task.items, n)
    return _ratio(codes[..., i, :], codes[..., i, i])


def project_item(
    dyn: ModeDynamics | Simulation, feature: int | str, t: Numbers | None = None
) -> np.ndarray:
    r"""Return which features a new item is taken to have, known one of them, shape (..., T, F).

    .. math:: \frac{\sum_a a_a u_{ma} u_{na}}{\sum_a a_a u_{ma}^2}

    New input weights are trained through the frozen output layer until the item has feature m; the
    prediction of feature n follows (L26).

    Parameters
    ----------
    dyn : ModeDynamics or Simulation
        One hidden layer. A simulation adds the axis of its seeds in front.
    feature : int or str
        The feature that the item is known to have.
    t : array, shape (T,), optional
        Times; needed for `ModeDynamics`.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> table = eight_things()
    >>> known, asked = "can fly", table.features.index("has feathers")
    >>> float(project_item(table.dynamics(), known, [60.0])[0, asked].round(3))
    1.0
    """
    task = _one_hidden_layer(dyn, t)
    shared = dyn.output_similarity(t)  # type: ignore[arg-type]  # a simulation takes None
    m = pick_one("feature", feature, task.features, len(task.U))
    return _ratio(shared[..., m, :], shared[..., m, m])


def _one_hidden_layer(dyn: ModeDynamics | Simulation, t: Numbers | None) -> ModeDynamics:
    check_dynamics("dyn", dyn, simulated=True)
    task = dyn.dynamics if isinstance(dyn, Simulation) else dyn
    if task.depth != 2:
        raise ValueError(f"depth must be 2: the code is that of one hidden layer, got {task.depth}")
    if t is None and not isinstance(dyn, Simulation):
        raise ValueError("t must be given: only a Simulation has times of its own")
    return task


def _ratio(row: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return row / own; 0 where the item or feature has no code at all."""
    known = own > 0
    return np.where(known[..., None], row / np.where(known, own, 1.0)[..., None], 0.0)
