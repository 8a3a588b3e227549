"""Removing modes from the state of a running network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import (
    check_count,
    check_finite,
    check_generator,
    check_range,
    check_shape,
)
from tractable.dynamics.cells import as_cell
from tractable.dynamics.expansion import nearest_point
from tractable.dynamics.modes import Modes, decompose
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.points.point_set import PointSet
    from tractable.dynamics.states import Trajectory

__all__ = ["Ablation", "ablate", "ablate_modes"]

CHUNK_BYTES = 2**27  # of projectors held at once


def ablate_modes(
    state: Tensor,
    points: PointSet,
    modes: Modes,
    which: int | Sequence[int],
    *,
    point: int | None = None,
) -> Tensor:
    r"""Remove the component along some modes from the deviation of states from a point.

    .. math:: h \leftarrow h^* + \Big(I - \sum_a r_a l_a^T\Big) (h - h^*)

    Parameters
    ----------
    state : Tensor, shape (S, N)
        States.
    points : PointSet
        At least one point.
    modes : Modes
        At the points.
    which : int or sequence of int
        Modes to remove; a number k stands for the first k. Conjugate pairs go together.
    point : int, optional
        The point h*; default the one nearest to each state.

    Returns
    -------
    Tensor, shape (S, N)
        Float64, real, on the device of ``state``; it has no component along the modes.

    References
    ----------
    Maheswaranathan and Sussillo 2020, arXiv:2004.08013.

    Examples
    --------
    >>> from tractable.dynamics.cells import as_cell
    >>> from tractable.dynamics.points import PointSet
    >>> A = torch.tensor([[0.9, 0.2], [0.0, 0.5]])
    >>> cell = as_cell(lambda h, x: A @ h + x, n_state=2, n_input=2)
    >>> points = PointSet.from_states(cell, torch.zeros(1, 2))
    >>> ablate_modes(torch.tensor([[3.0, 0.0]]), points, points.modes(), [0]).abs().tolist()
    [[0.0, 0.0]]
    """
    if len(points) == 0:
        raise ValueError("points must have at least one point, got none")
    if len(modes) != len(points):
        raise ValueError(f"modes must be those of {len(points)} points, got {len(modes)}")
    n = points.state.shape[1]
    check_shape("state", state.shape, ("S", n))
    check_finite("state", state)
    chosen = _modes(which)
    where = state.detach().to("cpu", torch.float64)
    centers = points.state.detach().to("cpu", torch.float64)
    if point is None:
        index = nearest_point(where, centers)
    else:
        check_range("point", point, 0, len(points) - 1)
        index = torch.full((len(where),), point)
    deviation = where - centers[index]
    result = where.clone()
    size = max(1, CHUNK_BYTES // (8 * n * n))
    for part in index.unique().split(size):
        projector = modes[part].projector(chosen)
        members = torch.nonzero(torch.isin(index, part)).flatten()
        slot = torch.searchsorted(part, index[members])
        for rows, own in zip(members.split(size), slot.split(size), strict=True):
            result[rows] -= (projector[own] @ deviation[rows][..., None])[..., 0]
    return result.to(state.device)


@dataclass(frozen=True, eq=False, repr=False)
class Ablation:
    """Readouts of a network with some modes removed, beside controls with random modes removed.

    B sequences that are not empty, C controls.

    Attributes
    ----------
    logit : array, shape (B,)
        Readout of the intact network after the last valid step.
    ablated : array, shape (B,)
        With the modes removed.
    control : array, shape (C, B)
        With as many random others removed.
    labels : array, shape (B,), or None
        True where the label is positive.
    """

    logit: np.ndarray
    ablated: np.ndarray
    control: np.ndarray
    labels: np.ndarray | None = None

    def __repr__(self) -> str:
        return (
            f"Ablation(mean |change|={self.change:.3g}, "
            f"of {len(self.control)} controls {self.control_change:.3g})"
        )

    @property
    def change(self) -> float:
        """Mean absolute change of the readout."""
        return float(np.abs(self.ablated - self.logit).mean()) if self.logit.size else math.nan

    @property
    def control_change(self) -> float:
        """Mean absolute change of the readout over the controls; NaN without controls."""
        return float(np.abs(self.control - self.logit).mean()) if self.control.size else math.nan

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy intact, ablated, and mean over the controls; NaN without labels."""
        if self.labels is None or not self.logit.size:
            return math.nan, math.nan, math.nan
        intact, without = (np.mean((y > 0) == self.labels) for y in (self.logit, self.ablated))
        control = np.mean((self.control > 0) == self.labels) if self.control.size else math.nan
        return float(intact), float(without), float(control)

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``sequence`` and ``control``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Ablation:
        """Return the ablation that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "logit": ("sequence",),
    "ablated": ("sequence",),
    "control": ("control_run", "sequence"),
    "labels": ("sequence",),
}


@torch.no_grad()
def ablate(
    cell: Any,
    trajectory: Trajectory,
    points: PointSet,
    which: int | Sequence[int],
    at_step: int | Sequence[int] | Tensor,
    readout: Any,
    *,
    point: int | None = None,
    modes: Modes | None = None,
    n_controls: int = 8,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Ablation:
    """Remove modes at chosen steps, run the nonlinear network on, and compare readouts.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    trajectory : Trajectory
        With its inputs and initial states; the intact run.
    points : PointSet
        Points whose modes are removed.
    which : int or sequence of int
        Modes to remove; a number k stands for the first k. Conjugate pairs go together.
    at_step : int, sequence of int, or bool Tensor (B, T)
        After which inputs, counted from 0. Steps past the end of a sequence do nothing.
    readout : nn.Linear, array or (weight, bias)
        See `linear_readout`.
    point : int, optional
        The point whose modes are meant; default the one nearest to each state.
    modes : Modes, optional
        At the points; computed when not given.
    n_controls : int, >= 0
        Runs in which as many other modes, drawn at random, are removed at the same steps; partners
        of pairs count on both sides.
    labels : array, shape (B,), optional
        For the accuracies: 0 and 1, -1 and 1, or bool.
    generator : torch.Generator, optional
        Draws the controls; seed 0 by default.

    Returns
    -------
    Ablation
        Of the sequences that are not empty.

    References
    ----------
    Maheswaranathan and Sussillo 2020, arXiv:2004.08013.

    Examples
    --------
    Erasing the memory of an integrator after its last input:

    >>> from tractable.dynamics.points import PointSet
    >>> from tractable.dynamics.states import collect_states
    >>> A = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    >>> cell = as_cell(lambda h, x: A @ h + x, n_state=2, n_input=2)
    >>> trajectory = collect_states(cell, torch.ones(1, 5, 2))
    >>> points = PointSet.from_states(cell, torch.zeros(1, 2))
    >>> result = ablate(cell, trajectory, points, [0], 4, [1.0, 0.0])
    >>> result.logit.item(), result.ablated.item(), result.control_change
    (5.0, 0.0, 0.0)
    """
    check_count("n_controls", n_controls, 0)
    if trajectory.inputs is None or trajectory.initial is None:
        raise ValueError("trajectory must hold its inputs and initial states")
    net = as_cell(cell).to(dtype=torch.float64, device=points.state.device)
    weight, bias = linear_readout(readout, net, device=net.device)
    held = trajectory.mask.any(1)
    mask = trajectory.mask[held].to(net.device)
    inputs = trajectory.inputs[held].to(weight)
    initial = trajectory.initial[held].to(weight)
    steps = _steps(at_step, trajectory.mask)[held].to(net.device) & mask
    if point is not None:
        check_range("point", point, 0, len(points) - 1)
        points, modes, point = points[point], None if modes is None else modes[point], 0
    if modes is None:
        modes = decompose(net.recurrent_jacobian(points.state.to(weight), points.x_star.to(weight)))
    removed = _modes(which)
    modes.pairs(removed)  # refuses numbers out of range
    positive = None
    if labels is not None:
        values = torch.as_tensor(labels).detach().cpu()
        check_shape("labels", values.shape, (len(trajectory.mask),))
        positive = (values > 0).numpy()[held.cpu().numpy()]

    def run(chosen: list[int] | None) -> np.ndarray:
        """Readout after the last valid step."""
        state = initial.clone()
        for t in range(inputs.shape[1]):
            state = torch.where(mask[:, t, None], net(state, inputs[:, t]), state)
            now = torch.nonzero(steps[:, t]).flatten()
            if chosen is not None and len(now):
                state[now] = ablate_modes(state[now], points, modes, chosen, point=point)
        return (state @ weight + bias).cpu().numpy()

    if generator is not None:
        check_generator("generator", generator)
    else:
        generator = torch.Generator().manual_seed(0)
    taken = modes.pairs(removed)
    others = torch.nonzero(~taken.any(0)).flatten().tolist()
    controls = []
    for _ in range(n_controls if others else 0):
        order = torch.randperm(len(others), generator=generator).tolist()
        controls.append(run(_control(modes, taken, [others[i] for i in order])))
    shape = (len(controls), len(initial))
    return Ablation(run(None), run(removed), np.reshape(controls, shape), positive)


def _modes(which: int | Sequence[int]) -> list[int]:
    """Return the numbers of the modes; a single number k stands for the first k."""
    for mode in [which] if isinstance(which, int) else which:
        check_count("which", mode, 0)
    return list(range(which)) if isinstance(which, int) else list(which)


def _control(modes: Modes, taken: Tensor, order: list[int]) -> list[int]:
    """Return the first of these modes that with their partners are as many as those taken (P, K).

    None is a partner of those. Where only pairs are left for a single mode, the first pair.
    """
    count = int(taken.sum(1).max()) if len(taken) else 0
    chosen: list[int] = []
    apart = [mode for mode in order if not bool((modes.pairs([mode]) & taken).any())]
    for mode in apart:
        if int(modes.pairs([*chosen, mode]).sum(1).max()) <= count:
            chosen.append(mode)
    return chosen or apart[: min(1, count)]


def _steps(at_step: int | Sequence[int] | Tensor, mask: Tensor) -> Tensor:
    """Which states are ablated, (B, T)."""
    if isinstance(at_step, Tensor) and at_step.dtype == torch.bool:
        check_shape("at_step", at_step.shape, mask.shape)
        return at_step.to(mask.device)
    chosen = torch.zeros_like(mask)
    if isinstance(at_step, str | float):
        raise TypeError(f"at_step must hold whole numbers, or be a mask, got {at_step!r}")
    for step in [at_step] if isinstance(at_step, int) else at_step:
        check_range("at_step", int(step), 0, mask.shape[1] - 1)
        chosen[:, int(step)] = True
    return chosen
