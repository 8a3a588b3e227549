"""How much of a network its linearization explains: one step, whole sequences, one mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_finite, check_range, check_shape
from tractable.core.progress import track
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.expansion import middle_point
from tractable.dynamics.linear_models import (
    LocalModel,
    ModeModel,
    checked_steps,
    fit_affine,
    local_model,
    mode_model,
    one_mode,
    relative_error,
)
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.points.point_set import PointSet
    from tractable.dynamics.states import Trajectory

__all__ = ["BASELINES", "CHECKS", "LinearCheck", "linear_check"]

CHECKS = ("one_step", "rollout", "switching", "modes", "bag_of_words")
BASELINES = ("identity", "mean", "affine")
CHUNK_BYTES = 2**26  # of states predicted at once


@dataclass(frozen=True, eq=False, repr=False)
class LinearCheck:
    """A linear model of a network against the network, with three baselines.

    S valid (sequence, step) pairs, B sequences that are not empty. M = S readouts for one step
    ahead; otherwise M = B, those after the last valid step. Baselines, each used as the linear
    model is (one step ahead, or run from the initial state): "identity" leaves the state as it is,
    "mean" is the mean visited state, "affine" is one affine map fitted to all steps.

    Attributes
    ----------
    mode : str
        "one_step", "rollout", "switching", "modes" or "bag_of_words".
    k : int
        Modes kept, for "modes" and "bag_of_words"; else 0.
    affine : bool
        The drift F(h*) - h* was kept.
    point : int
        The point expanded around; -1: the nearest one at each step, or no points.
    error : array, shape (S,)
        ``||h - h_linear|| / ||h||``; NaN without points.
    baseline_error : array, shape (3, S)
        The same for "identity", "mean", "affine".
    logit : array, shape (M,)
        Readout of the network.
    logit_linear : array, shape (M,)
        Readout of the linear model.
    baseline_logit : array, shape (3, M)
        Readouts of the baselines.
    divergence_step : array, shape (B,)
        First step at which ``error`` exceeds ``diverged``, counted from 1; inf: never.
    diverged : float
        That threshold.
    labels : array, shape (B,), or None
        True where the label is positive.
    network_logit : array, shape (B,)
        Readout of the network after the last valid step.
    """

    mode: str
    k: int
    affine: bool
    point: int
    error: np.ndarray
    baseline_error: np.ndarray
    logit: np.ndarray
    logit_linear: np.ndarray
    baseline_logit: np.ndarray
    divergence_step: np.ndarray
    diverged: float
    labels: np.ndarray | None
    network_logit: np.ndarray

    def __repr__(self) -> str:
        return (
            f"LinearCheck(mode={self.mode!r}, median error={self.quantile(0.5):.3g}, "
            f"r2={self.r2:.3f}, correlation={self.correlation:.3f}, "
            f"sign agreement={self.sign_agreement:.3f})"
        )

    def quantile(self, q: float, of: str = "linear") -> float:
        """Return a quantile of the relative error of the state.

        Parameters
        ----------
        q : float, in [0, 1]
            0.5: the median.
        of : {"linear", "identity", "mean", "affine"}
            The linear model or a baseline.
        """
        check_range("q", q, 0, 1)
        check_choice("of", of, ("linear", *BASELINES))
        error = self.error if of == "linear" else self.baseline_error[BASELINES.index(of)]
        # no interpolation: a run that overflowed has error inf
        return float(np.quantile(error, q, method="lower")) if error.size else math.nan

    def scores(self, of: str = "linear") -> Scores:
        """Return r2, correlation and sign agreement of the readout of a model with the network's.

        Parameters
        ----------
        of : {"linear", "identity", "mean", "affine"}
            The linear model or a baseline.
        """
        check_choice("of", of, ("linear", *BASELINES))
        index = BASELINES.index(of) if of != "linear" else -1
        return _scores(self.logit, self.logit_linear if index < 0 else self.baseline_logit[index])

    @property
    def r2(self) -> float:
        """Share of the variance of the network's readout that is explained; may be negative."""
        return self.scores().r2

    @property
    def correlation(self) -> float:
        """Pearson correlation of the readouts: blind to scale and offset."""
        return self.scores().correlation

    @property
    def sign_agreement(self) -> float:
        """Share of readouts with the same sign: the same decision."""
        return self.scores().sign_agreement

    @property
    def accuracy(self) -> float:
        """Share of sequences that the linear model classifies rightly; NaN without labels."""
        if self.labels is None or self.mode == "one_step":
            return math.nan
        return float(np.mean((self.logit_linear > 0) == self.labels))

    @property
    def network_accuracy(self) -> float:
        """Share of sequences that the network classifies rightly; NaN without labels."""
        if self.labels is None or not len(self.labels):
            return math.nan
        return float(np.mean((self.network_logit > 0) == self.labels))

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset`: dims ``step``, ``sequence``, ``readout``, ``baseline``."""
        dataset = to_dataset(self, _DIMS, units={"divergence_step": "steps"})
        return dataset.assign_coords(baseline=list(BASELINES))

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> LinearCheck:
        """Return the check that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "error": ("step",),
    "baseline_error": ("baseline", "step"),
    "logit": ("readout",),
    "logit_linear": ("readout",),
    "baseline_logit": ("baseline", "readout"),
    "divergence_step": ("sequence",),
    "labels": ("sequence",),
    "network_logit": ("sequence",),
}


class Scores(NamedTuple):
    """Agreement of a model's readout with the network's."""

    r2: float
    correlation: float
    sign_agreement: float


@torch.no_grad()
def linear_check(
    cell: Any,
    trajectory: Trajectory,
    points: PointSet,
    readout: Any,
    *,
    mode: str = "one_step",
    k: int = 1,
    affine: bool = True,
    point: int | None = None,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    diverged: float = 0.5,
    progress: bool = True,
) -> LinearCheck:
    r"""Compare a linear model of a network with the network on visited states.

    .. math:: h_t \approx F(h^*, x^*) + J (h_{t-1} - h^*) + J_{in} (x_t - x^*)

    ``one_step``: from each visited state to the next, around the nearest point. ``rollout``: from
    the initial state through the whole sequence, around one point. ``switching``: the same, around
    the point nearest to the predicted state at each step. ``modes``: the k slowest modes alone,

    .. math:: h_T \approx h^* + \sum_{a \le k} r_a \Big[ \lambda_a^T \, l_a (h_0 - h^*) +
              \sum_t \lambda_a^{T-t} \, l_a \big( J_{in} (x_t - x^*) + F(h^*) - h^* \big) \Big]

    ``bag_of_words``: the slowest real mode with :math:`\lambda := 1`: word order is lost.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    trajectory : Trajectory
        With its inputs and initial states, as `collect_states` returns it. Padding never counts.
    points : PointSet
        Points to expand around.
    readout : nn.Linear, array or (weight, bias)
        See `linear_readout`.
    mode : {"one_step", "rollout", "switching", "modes", "bag_of_words"}
        The linear model.
    k : int, >= 1
        Slow modes for ``modes``; a conjugate pair is never split.
    affine : bool
        Keep the drift ``F(h*, x*) - h*``.
    point : int, optional
        The one point to expand around; default the point of median readout. Not used by
        ``switching``; given for ``one_step``, it replaces the nearest point.
    labels : array, shape (B,), optional
        0 and 1, -1 and 1, or bool: for the accuracies.
    diverged : float, > 0
        Relative error at which a rollout counts as lost.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    LinearCheck
        Without points the linear model is NaN and the baselines stand.

    Raises
    ------
    ValueError
        The trajectory lacks inputs or initial states, or is not what the cell does with them.

    Notes
    -----
    R squared, correlation and sign agreement of the readouts tell different stories: a rollout
    around one point may have the wrong scale (low r2) and still make the same decisions.
    The affine fit is judged on the data it was fitted to, in its favor.
    Cost: P N (N + D) numbers held, S N (N + D) multiplications.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 5.

    Examples
    --------
    A linear network is its own linearization:

    >>> from tractable.dynamics.points import PointSet
    >>> from tractable.dynamics.states import collect_states
    >>> A = torch.tensor([[0.9, 0.2], [0.0, 0.5]]).double()
    >>> cell = as_cell(lambda h, x: A @ h + x, n_state=2, n_input=2).to(dtype=torch.float64)
    >>> x = torch.randn(8, 20, 2, generator=torch.Generator().manual_seed(0))
    >>> trajectory = collect_states(cell, x.double())
    >>> points = PointSet.from_states(cell, torch.zeros(1, 2))
    >>> check = linear_check(cell, trajectory, points, [1.0, -1.0], mode="rollout")
    >>> check.quantile(1.0) < 1e-12, round(check.r2, 12)
    (True, 1.0)
    """
    check_choice("mode", mode, CHECKS)
    check_range("diverged", diverged, 0, open_low=True)
    net = as_cell(cell).to(dtype=torch.float64, device=points.state.device)
    check_shape("points.state", points.state.shape, ("P", net.n_state))
    check_range("k", k, 1, net.n_state)
    if point is not None:
        check_range("point", point, 0, len(points) - 1)
    weight, bias = linear_readout(readout, net, device=net.device)
    positive = _positive(labels, len(trajectory.mask))
    data = checked_steps(net, trajectory)
    if positive is not None:
        positive = positive[trajectory.mask.any(1).cpu().numpy()]

    model, chosen = _model(net, points, weight, mode, k, affine, point)
    fitted = fit_affine(data)
    fitted = fitted._replace(map=fitted.map.to(weight))
    mean = data.states[data.mask].to(weight).mean(0) if len(data.mask) else weight
    one_step = mode == "one_step"
    errors, logits, lost, final = [], [], [], []
    size = max(1, CHUNK_BYTES // (8 * max(1, data.states.shape[1] * net.n_state)))
    starts = range(0, max(1, len(data.mask)), size)
    for start in track(starts, f"linear check, {mode}", show=progress):
        part = data.take(slice(start, start + size), weight)
        truth = part.states
        if one_step:  # the cell itself in float64: the trajectory may be in float32
            flat = net(part.previous[part.mask], part.inputs[part.mask])
            truth = torch.zeros_like(truth)
            truth[part.mask] = flat
        nothing = torch.full_like(truth, math.nan)
        runs = [
            nothing if model is None else model.predict(part, one_step=one_step),
            part.previous if one_step else part.initial[:, None].expand_as(truth),
            mean.expand_as(truth),
            fitted.predict(part, one_step=one_step),
        ]
        error = torch.stack([relative_error(truth, run)[part.mask] for run in runs])
        if model is None:
            error[0] = math.nan
        readouts = torch.stack([run @ weight + bias for run in (truth, *runs)])
        readouts = readouts.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        if model is None:
            readouts[1] = math.nan
        errors.append(error)
        logits.append(readouts[:, part.mask] if one_step else _last(readouts, part.mask))
        final.append(_last((part.states @ weight + bias)[None], part.mask)[0])
        beyond = torch.zeros_like(part.mask)
        beyond[part.mask] = error[0] > diverged
        first = beyond.to(torch.int64).argmax(1) + 1.0 if beyond.numel() else beyond.sum(1) * 1.0
        lost.append(torch.where(beyond.any(1), first, math.inf))
    every_error, logit = (torch.cat(parts, 1).cpu().numpy() for parts in (errors, logits))
    return LinearCheck(
        mode=mode,
        k=model.n_modes if isinstance(model, ModeModel) else 0,
        affine=affine,
        point=chosen,
        error=every_error[0],
        baseline_error=every_error[1:],
        logit=logit[0],
        logit_linear=logit[1],
        baseline_logit=logit[2:],
        divergence_step=torch.cat(lost).cpu().numpy(),
        diverged=float(diverged),
        labels=positive,
        network_logit=torch.cat(final).cpu().numpy(),
    )


def _positive(labels: Any, n_sequences: int) -> np.ndarray | None:
    """Labels as booleans."""
    if labels is None:
        return None
    values = torch.as_tensor(labels).detach().cpu()
    check_shape("labels", values.shape, (n_sequences,))
    check_finite("labels", values)
    return (values > 0).numpy()


def _model(
    net: Cell,
    points: PointSet,
    weight: Tensor,
    mode: str,
    k: int,
    affine: bool,
    point: int | None,
) -> tuple[LocalModel | ModeModel | None, int]:
    """Build the linear model; return it with the point it is expanded around (-1: nearest)."""
    if len(points) == 0:
        return None, -1
    if mode == "switching" or (mode == "one_step" and point is None):
        return local_model(net, points, affine=affine), -1
    if point is None:
        point = middle_point(points.state.to(weight), weight)
    if mode == "modes":
        return mode_model(net, points, point, k, affine=affine), point
    if mode == "bag_of_words":
        return one_mode(net, points, point, affine=affine), point
    return local_model(net, points, affine=affine, point=point), point


def _last(values: Tensor, mask: Tensor) -> Tensor:
    """Entry of values (R, B, T) at the last valid step of each sequence, (R, B)."""
    if not mask.numel():
        return values.new_zeros(len(values), len(mask))
    last = mask.shape[1] - 1 - mask.flip(1).to(torch.int64).argmax(1)
    return values.gather(2, last.expand(len(values), -1)[..., None])[..., 0]


def _scores(truth: np.ndarray, model: np.ndarray) -> Scores:
    """Agreement of two readouts; NaN where it is not defined."""
    if not truth.size or np.isnan(model).all():
        return Scores(math.nan, math.nan, math.nan)
    finite = np.isfinite(model)
    agreement = float(np.mean((np.sign(truth) == np.sign(model)) & finite))
    if not finite.all():
        return Scores(-math.inf, math.nan, agreement)
    spread = truth - truth.mean()
    total = float(spread @ spread)
    if total == 0:
        return Scores(math.nan, math.nan, agreement)
    r2 = 1 - float(np.square(truth - model).sum()) / total
    other = model - model.mean()
    size = math.sqrt(total * float(other @ other))
    constant = np.ptp(model) <= 1e-14 * np.abs(model).max()
    correlation = math.nan if constant or size == 0 else float(spread @ other) / size
    return Scores(r2, correlation, agreement)
