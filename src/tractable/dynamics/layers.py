"""Stacked networks taken apart layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_shape, quiet
from tractable.dynamics.cells import as_cell
from tractable.dynamics.cells.stacked_map import StackedMap

if TYPE_CHECKING:
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["layer_points"]


@torch.no_grad()
def layer_points(
    module: Any,
    starts: Tensor | np.ndarray,
    x_star: Tensor | np.ndarray | None = None,
    *,
    max_inputs: int = 16,
    **options: Any,
) -> tuple[PointSet, ...]:
    """Find the points of each layer of a stack at the fixed points of the layer below.

    The first layer is searched at ``x_star``. Every layer above is searched once for each distinct
    point of the layer below, whose seen part is its constant input: a stack at rest is a chain of
    such points.

    Parameters
    ----------
    module : nn.RNN, nn.GRU, nn.LSTM with several layers, or StackedMap
        The stack.
    starts : array, shape (n, N)
        States of the whole stack (`collect_states`), cut into those of the layers.
    x_star : array, shape (D,), optional
        Constant input of the first layer; zero by default.
    max_inputs : int, >= 1
        Of the points below, those with the most starts are taken.
    **options
        Of `find_points`, for all layers; ``kind="root"`` by default.

    Returns
    -------
    tuple of PointSet
        From the first layer up; ``x_star`` of a point is what the layer below gives it.

    Raises
    ------
    TypeError
        ``module`` is no stack.

    References
    ----------
    MWGGS (arXiv:1906.10720) analyze one layer; layers of a stack differ, which this shows.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> stack = torch.nn.RNN(1, 4, num_layers=2)
    >>> below, above = layer_points(stack, 0.1 * torch.randn(20, 8))
    >>> len(below), len(above), torch.allclose(above.x_star, below.state)
    (1, 1, True)
    """
    from tractable.dynamics.points import find_points

    stack = as_cell(module)
    if not isinstance(stack, StackedMap):
        raise TypeError(
            f"module must be a stack of layers, got {type(module).__name__} with one layer; "
            "use find_points"
        )
    states = torch.as_tensor(starts).detach()
    check_shape("starts", states.shape, ("n", stack.n_state))
    widths = [cell.n_state for cell in stack.layers]
    found: list[PointSet] = []
    inputs = None if x_star is None else torch.as_tensor(x_star).detach()[None]
    for cell, part in zip(stack.layers, states.split(widths, dim=1), strict=True):
        sets = []
        for x in [None] if inputs is None else inputs:
            with quiet():  # what is missing is in index_sum of each set
                sets.append(find_points(cell, part, x, **options))
        points = sets[0] if len(sets) == 1 else sets[0].concatenate(*sets[1:])
        found.append(points)
        if len(points) == 0:
            break
        order = points.multiplicity.argsort(descending=True, stable=True)[:max_inputs]
        inputs = points.state[order][:, cell.readout_slice]
    return tuple(found)
