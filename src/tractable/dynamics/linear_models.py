"""Linear models of a network: around nearest points, in few modes, a bag of words, a fitted map."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_finite, check_range, check_shape
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.expansion import Expansion, expand, middle_point, nearest_point
from tractable.dynamics.modes import decompose
from tractable.dynamics.readout import linear_readout

if TYPE_CHECKING:
    from tractable.dynamics.points.point_set import PointSet
    from tractable.dynamics.states import Trajectory

__all__ = ["BagOfWords", "bag_of_words"]

FIT_ROWS = 30  # samples for each coefficient of the affine least-squares fit
N_TESTED = 4096  # steps on which a trajectory is compared with the cell
MISMATCH = 1e-3  # median relative difference beyond which they do not belong together


class Steps(NamedTuple):
    """Steps of a batch of sequences; ``states[:, t]`` is the state after ``inputs[:, t]``."""

    states: Tensor  # (B, T, N)
    inputs: Tensor  # (B, T, D)
    initial: Tensor  # (B, N)
    mask: Tensor  # (B, T), True within the length

    @property
    def previous(self) -> Tensor:
        """The state before each input, (B, T, N)."""
        return torch.cat([self.initial[:, None], self.states[:, :-1]], dim=1)

    def take(self, rows: slice, like: Tensor) -> Steps:
        """Return some sequences, in the precision and on the device of ``like``."""
        mask = self.mask[rows].to(like.device)
        states, inputs, initial = (tensor[rows].to(like) for tensor in self[:3])
        return Steps(states, inputs, initial, mask)


def checked_steps(net: Cell, trajectory: Trajectory) -> Steps:
    """Refuse a trajectory that the cell does not make of its inputs; drop empty sequences."""
    if trajectory.inputs is None or trajectory.initial is None:
        missing = "inputs" if trajectory.inputs is None else "initial"
        raise ValueError(
            f"trajectory must hold its inputs and initial states, got {missing}=None; "
            "collect_states returns both"
        )
    check_shape("trajectory.states", trajectory.states.shape, ("B", "T", net.n_state))
    check_shape("trajectory.inputs", trajectory.inputs.shape, ("B", "T", net.n_input))
    check_finite("trajectory.inputs", trajectory.inputs)
    held = trajectory.mask.any(1)
    data = Steps(trajectory.states, trajectory.inputs, trajectory.initial, trajectory.mask)
    if not held.all():
        data = Steps(*(tensor[held] for tensor in data))
    sequence, t = torch.nonzero(data.mask, as_tuple=True)
    stride = len(t) // N_TESTED + 1
    sequence, t = sequence[::stride], t[::stride]
    before = data.states[sequence, (t - 1).clamp(min=0)]
    before = torch.where(t[:, None] > 0, before, data.initial[sequence])
    like = torch.zeros(0, dtype=net.dtype, device=net.device)
    after = data.states[sequence, t].to(like)
    mismatch = relative_error(after, net(before.to(like), data.inputs[sequence, t].to(like)))
    if len(mismatch) and float(mismatch.median()) > MISMATCH:
        raise ValueError(
            "trajectory must be what the cell makes of its inputs, got states that differ from one "
            f"step of the cell by {float(mismatch.median()):.2g} (median, relative); were the "
            "inputs shifted, or is it another network?"
        )
    return data


def relative_error(truth: Tensor, model: Tensor) -> Tensor:
    """Return ``||truth - model|| / ||truth||`` over the last axis; inf where a run overflowed."""
    error = (truth - model).norm(dim=-1)
    relative = torch.where(error == 0, 0.0, error / truth.norm(dim=-1).clamp(min=1e-300))
    return relative.nan_to_num(nan=math.inf, posinf=math.inf)


@dataclass(frozen=True, eq=False)
class LocalModel:
    """Affine maps around points: the nearest one at each step, or always ``point``."""

    expansion: Expansion
    point: int  # -1: the nearest

    def predict(self, steps: Steps, *, one_step: bool) -> Tensor:
        """Return the states that the model predicts, (B, T, N); zero at padding for one step."""
        if one_step:
            result = torch.zeros_like(steps.states)
            previous = steps.previous[steps.mask]
            result[steps.mask] = self._step(previous, steps.inputs[steps.mask])
            return result
        state, result = steps.initial, torch.empty_like(steps.states)
        for t in range(steps.inputs.shape[1]):
            state = self._step(state, steps.inputs[:, t])
            result[:, t] = state
        return result

    def _step(self, state: Tensor, x: Tensor) -> Tensor:
        if self.point >= 0:
            index = torch.full((len(state),), self.point, device=state.device)
        else:
            index = nearest_point(state, self.expansion.center)
        return self.expansion.step(index, state, x)


@dataclass(frozen=True, eq=False)
class ModeModel:
    """Deviation from one point in a few modes: ``h = h* + Re sum_a right_a c_a``."""

    center: Tensor  # (N,)
    x_star: Tensor  # (D,)
    eigvals: Tensor  # (K,) complex
    right: Tensor  # (N, K) complex, doubled for a pair, of which the second member is left out
    left: Tensor  # (K, N) complex
    input_row: Tensor  # (K, D) complex, l_a J_in
    drift: Tensor  # (K,) complex, l_a (F(h*) - h*)
    n_modes: int  # partners of pairs included

    def predict(self, steps: Steps, *, one_step: bool = False) -> Tensor:
        """Return the states that the modes predict from the initial states on, (B, T, N)."""
        c = (steps.initial - self.center).to(self.left.dtype) @ self.left.T
        push = (steps.inputs - self.x_star).to(self.left.dtype) @ self.input_row.T + self.drift
        path = torch.empty_like(push)
        for t in range(push.shape[1]):
            c = self.eigvals * c + push[:, t]
            path[:, t] = c
        return self.center + (path @ self.right.T).real


def local_model(
    cell: Cell, points: PointSet, *, affine: bool, point: int | None = None
) -> LocalModel:
    """Expand around all points, or around one."""
    if point is None:
        return LocalModel(expand(cell, points, affine=affine), -1)
    return LocalModel(expand(cell, points[point], affine=affine), 0)


def mode_model(
    cell: Cell, points: PointSet, point: int, modes: int | list[int], *, affine: bool
) -> ModeModel:
    """Decompose the dynamics around one point and keep the modes, conjugate pairs whole."""
    local = expand(cell, points[point], affine=affine)
    all_modes = decompose(local.J)
    weight = all_modes.weights(modes)[0]
    kept = torch.nonzero(weight).flatten()
    device = local.J.device
    left = all_modes.left[0, kept].to(device)
    return ModeModel(
        center=local.center[0],
        x_star=local.x_star[0],
        eigvals=all_modes.eigvals[0, kept].to(device),
        right=(all_modes.right[0, :, kept] * weight[kept]).to(device),
        left=left,
        input_row=left @ local.J_inp[0].to(left.dtype),
        drift=left @ local.drift[0].to(left.dtype),
        n_modes=int(weight.sum()),
    )


def one_mode(cell: Cell, points: PointSet, point: int, *, affine: bool) -> ModeModel:
    """Keep the slowest real mode around one point, with its eigenvalue set to 1."""
    eigvals = decompose(cell.recurrent_jacobian(*_one(cell, points, point))).eigvals[0]
    real = torch.nonzero(eigvals.imag == 0).flatten()
    if not len(real):
        raise ValueError(f"point must have a real mode, got only complex ones at point {point}")
    if real[0] > 0:
        warnings.warn(
            f"the slowest modes at point {point} oscillate; the slowest real one is number "
            f"{int(real[0])}",
            TractableWarning,
            stacklevel=3,
        )
    model = mode_model(cell, points, point, [int(real[0])], affine=affine)
    return ModeModel(**{**vars(model), "eigvals": torch.ones_like(model.eigvals)})


def _one(cell: Cell, points: PointSet, point: int) -> tuple[Tensor, Tensor]:
    part = slice(point, point + 1)
    return points.state[part].to(cell.dtype), points.x_star[part].to(cell.dtype)


class AffineFit(NamedTuple):
    """One affine map for all steps, fitted by least squares: ``h_t = [h_{t-1}, x_t, 1] @ map``."""

    map: Tensor  # (N + D + 1, N)

    def predict(self, steps: Steps, *, one_step: bool) -> Tensor:
        """Return the states that the map predicts, (B, T, N)."""
        n = steps.states.shape[2]
        push = steps.inputs @ self.map[n:-1] + self.map[-1]
        if one_step:
            return steps.previous @ self.map[:n] + push
        state, result = steps.initial, torch.empty_like(steps.states)
        for t in range(push.shape[1]):
            state = state @ self.map[:n] + push[:, t]
            result[:, t] = state
        return result


def fit_affine(steps: Steps) -> AffineFit:
    """Fit the map to evenly spread valid steps, 30 for each coefficient of a unit."""
    n, d = steps.states.shape[2], steps.inputs.shape[2]
    sequence, t = torch.nonzero(steps.mask, as_tuple=True)
    stride = max(1, len(t) // (FIT_ROWS * (n + d + 1)))
    sequence, t = sequence[::stride], t[::stride]
    before = steps.states[sequence, (t - 1).clamp(min=0)]
    before = torch.where(t[:, None] > 0, before, steps.initial[sequence])
    rows = [before, steps.inputs[sequence, t], torch.ones_like(before[:, :1])]
    design = torch.cat(rows, dim=1).to("cpu", torch.float64)
    target = steps.states[sequence, t].to("cpu", torch.float64)
    if not len(design):
        return AffineFit(design.new_zeros(n + d + 1, n))
    return AffineFit(torch.linalg.lstsq(design, target, driver="gelsy").solution)


@dataclass(frozen=True, eq=False)
class BagOfWords:
    r"""A network as a sum over words: ``y = bias + sum_t (drift + weight(x_t))``.

    Attributes
    ----------
    direction : Tensor, shape (D,)
        ``w r_1 l_1 J_in``: the readout's change for each input entry.
    x_star : Tensor, shape (D,)
        The input x* that the point belongs to.
    drift : float
        ``w r_1 l_1 (F(h*) - h*)``, the change at each step without input; 0 without ``affine``.
    bias : float
        ``w (h* + r_1 l_1 (h_0 - h*)) + b``: the readout before the first word.
    eigenvalue : float
        lambda_1, which the bag of words sets to 1.
    point : int
        The point expanded around.
    """

    direction: Tensor
    x_star: Tensor
    drift: float
    bias: float
    eigenvalue: float
    point: int

    def weight(self, inputs: Tensor) -> Tensor:
        """Return ``v(x) = direction . (x - x*)`` for inputs (..., D)."""
        check_shape("inputs", inputs.shape[-1:], (len(self.direction),))
        return (inputs.to(self.direction) - self.x_star) @ self.direction

    def logit(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the readout (B,) after sequences (B, T, D) of which ``mask`` (B, T) is valid."""
        each = self.weight(inputs) + self.drift
        return self.bias + (each if mask is None else each * mask).sum(1)


@torch.no_grad()
def bag_of_words(
    cell: Any,
    points: PointSet,
    readout: Any,
    *,
    point: int | None = None,
    affine: bool = True,
    h0: Tensor | None = None,
) -> BagOfWords:
    r"""Return the bag of words that the slowest real mode amounts to.

    .. math:: v(x) = w^T r_1 \; l_1^T J_{in} (x - x^*), \qquad \lambda_1 := 1

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    points : PointSet
        At least one point.
    readout : nn.Linear, array or (weight, bias)
        See `linear_readout`.
    point : int, optional
        The point to expand around; default the point of median readout.
    affine : bool
        Keep the drift ``F(h*, x*) - h*``.
    h0 : Tensor, shape (N,), optional
        Initial state; zero by default.

    Returns
    -------
    BagOfWords
        Float64, on the device of the points.

    Warns
    -----
    TractableWarning
        The slowest mode oscillates: the slowest real one is taken.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 4.

    Examples
    --------
    >>> from tractable.dynamics.points import PointSet
    >>> A, B = torch.tensor([[0.99, 0.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    >>> net = as_cell(lambda h, x: A @ h + B @ x, n_state=2, n_input=2)
    >>> bag = bag_of_words(net, PointSet.from_states(net, torch.zeros(1, 2)), [3.0, 0.0])
    >>> bag.weight(torch.eye(2)).tolist(), bag.eigenvalue
    ([6.0, 0.0], 0.99)
    """
    if len(points) == 0:
        raise ValueError("points must have at least one point, got none")
    net = as_cell(cell).to(dtype=torch.float64, device=points.state.device)
    weight, bias = linear_readout(readout, net, device=net.device)
    if point is None:
        point = middle_point(points.state.to(weight), weight)
    check_range("point", point, 0, len(points) - 1)
    model = one_mode(net, points, point, affine=affine)
    gain = float(weight @ model.right[:, 0].real)
    start = torch.zeros_like(weight) if h0 is None else h0.to(weight)
    check_shape("h0", start.shape, (net.n_state,))
    along = float(model.left[0].real @ (start - model.center))
    # lambda_1 = l_1 J r_1
    J = net.recurrent_jacobian(*_one(net, points, point))[0]
    return BagOfWords(
        direction=gain * model.input_row[0].real,
        x_star=model.x_star,
        drift=gain * float(model.drift[0].real),
        bias=float(weight @ model.center) + gain * along + bias,
        eigenvalue=float(model.left[0].real @ J @ model.right[:, 0].real),
        point=point,
    )
