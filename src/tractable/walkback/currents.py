"""Where a chain in the plane circulates: its probability current, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_range, check_shape
from tractable.walkback.chain_records import chain_start
from tractable.walkback.operators import TransitionOperator

__all__ = ["CurrentField", "probability_current"]


@dataclass(frozen=True, eq=False)
class CurrentField:
    """Density, current and drift of a stationary chain on a grid.

    Attributes
    ----------
    x_edges, y_edges : ndarray, shapes (nx + 1,) and (ny + 1,)
        Edges of the cells.
    density : ndarray, shape (nx, ny)
        Probability per area.
    current, current_se : ndarray, shape (nx, ny, 2)
        j of each cell, density times length per step, and its standard error over chains. It
        vanishes in equilibrium.
    drift : ndarray, shape (nx, ny, 2)
        E[s' - s | s in the cell], length per step; NaN where no state was. It does not vanish in
        equilibrium.
    divergence : ndarray, shape (nx, ny)
        Discrete divergence of the current, density per step; 0 for a stationary chain up to
        the size of the cells.
    """

    x_edges: np.ndarray
    y_edges: np.ndarray
    density: np.ndarray
    current: np.ndarray
    current_se: np.ndarray
    drift: np.ndarray
    divergence: np.ndarray

    @property
    def circulation(self) -> float:
        """Sum over the cells of x j_y - y j_x, times the area: squared length per step."""
        x = (self.x_edges[:-1] + self.x_edges[1:])[:, None] / 2
        y = (self.y_edges[:-1] + self.y_edges[1:])[None] / 2
        area = float(np.diff(self.x_edges)[0] * np.diff(self.y_edges)[0])
        return float((x * self.current[..., 1] - y * self.current[..., 0]).sum() * area)


@torch.no_grad()
def probability_current(
    operator: TransitionOperator,
    *,
    bounds: Sequence[Sequence[float]],
    bins: int | tuple[int, int] = 20,
    start: Any,
    temperature: float = 1.0,
    burn_in: int = 100,
    num_steps: int = 200,
    num_chains: int | None = None,
    projection: Tensor | None = None,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> CurrentField:
    r"""Return the probability current of a stationary chain in a plane.

    .. math:: j(x) = \tfrac12 E\left[ (s' - s) \big( \delta(x - s) + \delta(x - s') \big) \right]

    (W29): half of each move is counted where it begins and half where it ends, so that detailed
    balance makes it vanish.

    Parameters
    ----------
    operator : TransitionOperator
        In evaluation mode.
    bounds : ((float, float), (float, float))
        Least and largest x and y; states outside are left out.
    bins : int or (int, int)
        Cells along each axis.
    start : Tensor or prior
        States to start from, or a prior.
    temperature : float
        T > 0.
    burn_in, num_steps : int
        Steps before and during the measurement.
    num_chains : int, optional
        >= 2; default: as many as ``start`` holds, or 2000 of a prior.
    projection : Tensor, optional
        Matrix (dim, 2); default the first two coordinates.
    step : int
        Index of the step, for operators that normalize by it.
    generator : torch.Generator, optional
        Decides the chains.

    Returns
    -------
    CurrentField

    Raises
    ------
    ValueError
        Bounds that are no intervals; states of one dimension.
    FloatingPointError
        The chains run away.
    """
    check_range("burn_in", burn_in, 0)
    for count in bins if isinstance(bins, tuple | list) else (bins,):
        check_count("bins", count, 2)
    check_range("temperature", temperature, 0, open_low=True)
    check_range("num_steps", num_steps, 1)
    if operator.dim < 2:
        raise ValueError("a current needs states of two dimensions or more, got 1")
    nx, ny = bins if isinstance(bins, tuple | list) else (bins, bins)
    box = np.array(bounds, dtype=np.float64)
    if box.shape != (2, 2) or not bool((box[:, 0] < box[:, 1]).all()):
        raise ValueError(f"bounds must be ((x0, x1), (y0, y1)) with x0 < x1, y0 < y1, got {bounds}")
    check_finite("bounds", box)
    low, high = box.T
    n = num_chains
    if n is None:
        n = len(start) if isinstance(start, Tensor) else 2000
    check_count("num_chains", n, 2)
    s = chain_start(operator, start, n, generator)
    turn = torch.eye(operator.dim, 2) if projection is None else torch.as_tensor(projection)
    check_shape("projection", turn.shape, (operator.dim, 2))
    turn = turn.double().to(s.device)
    for _ in range(burn_in):
        s = operator.sample(s, temperature, step=step, generator=generator)
    size = np.array([nx, ny])
    width = (high - low) / size
    # Chains in groups: their spread is the error.
    groups = min(40, n)
    group = np.arange(n) % groups
    flux = np.zeros((groups, nx * ny, 2))
    visits, moved = np.zeros(nx * ny), np.zeros((nx * ny, 2))
    here = (s.double().flatten(1) @ turn).cpu().numpy()
    for _ in range(num_steps):
        s = operator.sample(s, temperature, step=step, generator=generator)
        there = (s.double().flatten(1) @ turn).cpu().numpy()
        if not np.isfinite(there).all():
            raise FloatingPointError(
                f"states are not finite at T = {temperature:g}: the chains run away"
            )
        move = there - here
        for end, first in ((here, True), (there, False)):
            index = np.floor((end - low) / width).astype(np.int64)
            inside = ((index >= 0) & (index < size)).all(1)
            cell = index[inside, 0] * ny + index[inside, 1]
            code = group[inside] * (nx * ny) + cell
            for k in range(2):
                flux[..., k] += np.bincount(code, 0.5 * move[inside, k], groups * nx * ny).reshape(
                    groups, -1
                )
                if first:
                    moved[:, k] += np.bincount(cell, move[inside, k], nx * ny)
            if first:
                visits += np.bincount(cell, minlength=nx * ny)
        here = there
    area = float(width.prod())
    share = np.bincount(group, minlength=groups)[:, None, None] * num_steps * area
    each = (flux / share).reshape(groups, nx, ny, 2)
    current = (flux.sum(0) / (n * num_steps * area)).reshape(nx, ny, 2)
    with np.errstate(invalid="ignore"):
        drift = (moved / visits[:, None]).reshape(nx, ny, 2)
    divergence = np.gradient(current[..., 0], width[0], axis=0)
    divergence = divergence + np.gradient(current[..., 1], width[1], axis=1)
    return CurrentField(
        np.linspace(low[0], high[0], nx + 1),
        np.linspace(low[1], high[1], ny + 1),
        (visits / (n * num_steps * area)).reshape(nx, ny),
        current,
        each.std(0, ddof=1) / np.sqrt(groups),
        drift,
        divergence,
    )
