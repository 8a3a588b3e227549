"""When to stop training on a user's own data, and what error that gives.

No teacher is known: rank, noise, strengths and overlaps are estimated from the singular values of
the data, and the error in time follows from the actual ones, by the law of each mode.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374; the estimation from data is derived here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import TractableWarning, check_choice, check_range
from tractable.linear.arrays import LARGEST
from tractable.linear.best_time import least_error
from tractable.linear.doubts import doubts
from tractable.linear.examples import Coordinates, coordinates, read_examples, read_signals
from tractable.linear.folds import fold_curves
from tractable.linear.inputs import check_count, check_size
from tractable.linear.noise import Edge
from tractable.linear.records import brief, from_dataset, to_dataset
from tractable.linear.strengths import check_depth, deep_strength

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers
    from tractable.linear.spikes import SpikeResult

__all__ = ["StoppingReport", "optimal_stopping"]

Floats = NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class StoppingReport:
    """When to stop, and what to expect; see `optimal_stopping`."""

    step: int
    """Step of gradient descent at which to stop."""
    time: float
    """That step times the learning rate."""
    expected_test: float | None
    """Expected squared error of the map there, over the squared norm of the true map. None when it
    was not predicted but measured on held-out examples."""
    expected_loss: float
    """Expected loss on new targets (with their noise) there, over that of the zero map."""
    final_loss: float
    """The same when training goes on to the end."""
    shrinkage_loss: float | None
    """The same for optimal shrinkage of the least-squares map, which needs no training."""
    detected_rank: int
    """Signals above the edge."""
    sigma: float
    """Standard deviation of the noise in a target."""
    snr: Floats
    """Strengths of the signals, (rank,), in units of the noise (the threshold is A^(1/4))."""
    aspect: float
    """A: outputs over input directions."""
    method: str
    """``aligned`` (the inputs are white), ``whitened`` (predicted for whitened inputs), or
    ``held_out`` (measured by training on a part of the examples)."""
    reliable: bool
    """Whether no reason speaks against the prediction."""
    reasons: tuple[str, ...]
    """What speaks against it, or limits it."""
    t: Floats
    """Times of the curve, (T,)."""
    loss: Floats
    """Expected loss on new targets in time, (T,)."""
    s_data: Floats
    """Singular values of the input-output correlation, (K,), in units of the noise."""
    whitening: Floats | None
    """(N1, k): train on ``(X - X_mean) @ whitening``. None when the inputs are used as they are."""
    X_mean: Floats
    """Mean of the inputs that was taken away, (N1,); zeros without centering."""
    Y_mean: Floats
    """Mean of the targets that was taken away, (N3,); zeros without centering."""

    __repr__ = brief

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset with the dimensions signal, mode, t, input, direction and output."""
        dims: dict[str, tuple[str, ...]] = {
            "snr": ("signal",),
            "t": ("t",),
            "loss": ("t",),
            "s_data": ("mode",),
            "whitening": ("input", "direction"),
            "X_mean": ("input",),
            "Y_mean": ("output",),
        }
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> StoppingReport:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def optimal_stopping(
    X: Numbers,
    Y: Numbers,
    learning_rate: float,
    *,
    sigma: float | None = None,
    depth: int = 2,
    init_strength: float = 1e-3,
    norm: Literal["mean", "sum"] = "mean",
    center: bool = False,
    whiten: bool | None = None,
    white_tol: float = 1e-3,
    edge: Edge = "tw99",
    max_steps: int = 5000,
    seed: int = 0,
) -> StoppingReport:
    r"""Return when to stop training a deep linear network on X and Y, and the error to expect.

    With the singular values :math:`\hat s_k` of the data in coordinates of orthonormal inputs, the
    strengths :math:`u_k(t)` that are learned of them, and estimates of signals and overlaps:

    .. math:: \epsilon(t) = \frac{\sum_k u_k(t)^2 - 2 \sum_{a \le r} u_a(t) \, \bar s_a O_a
              + \sum_{a \le r} \bar s_a^2}{\sum_{a \le r} \bar s_a^2}

    Parameters
    ----------
    X : array, shape (P, N1)
        Inputs, rows are examples.
    Y : array, shape (P, N3)
        Targets.
    learning_rate : float, > 0
        Of full-batch gradient descent on half the squared error, summed over outputs and (by
        `norm`) averaged or summed over examples.
    sigma : float, >= 0, optional
        Standard deviation of the noise in a target. When missing it is that of the residuals of
        least squares where there are enough examples, else the median of the singular values.
    depth : int, >= 1
        Number of weight matrices.
    init_strength : float, > 0
        Initial strength of each mode of the product of all layers (not the scale of a weight).
    norm : str
        ``"mean"`` or ``"sum"`` of the loss over examples; times scale by it.
    center : bool
        Take the means away first.
    whiten : bool, optional
        Whether to predict for whitened inputs. By default as needed, with a warning: whitening
        changes the dynamics, so train on what ``whitening`` of the result gives. False trains on
        the inputs as they are and measures on held-out examples when they are not white.
    white_tol : float, > 0
        Relative spread of the input variances up to which inputs count as white.
    edge : str
        Which edge separates signals from noise; see `detection_edge`.
    max_steps : int, >= 1
        Steps of training on held-out folds, when the prediction is refused.
    seed : int
        Decides the folds and initial weights then.

    Returns
    -------
    StoppingReport
        With ``reliable`` and the reasons.

    Raises
    ------
    ValueError
        NaN, numbers of examples that differ, or an argument out of its range.

    Notes
    -----
    The prediction is for fresh noise on inputs like those given. It is refused for inputs that are
    not white with P < 2 N1 (their correlation has a spectrum of its own): then five folds are
    trained and the method is ``held_out``.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374; Gavish, Donoho 2017, arXiv:1405.7511.

    Examples
    --------
    >>> from tractable.linear import noisy_task
    >>> task = noisy_task([6.0, 4.0], n_in=100, n_out=60, seed=1)
    >>> report = optimal_stopping(task.X, task.Y, 0.01, norm="sum", init_strength=1e-5)
    >>> report.method, report.detected_rank, report.step, report.reliable
    ('aligned', 2, 183, True)
    """
    x, y = read_examples(X=X, Y=Y)
    if len(x) < 3:
        raise ValueError(f"X must have at least 3 examples (rows), got {len(x)}")
    check_size("learning_rate", learning_rate)
    check_depth(depth)
    check_size("init_strength", init_strength)
    check_choice("norm", norm, ("mean", "sum"))
    check_range("white_tol", white_tol, 0.0, open_low=True)
    if sigma is not None:
        check_range("sigma", sigma, 0.0, LARGEST)
    check_count("max_steps", max_steps)
    check_count("seed", seed, 0)
    c = coordinates(x, y, center=center, white_tol=white_tol)
    size, rank, spikes = read_signals(c, sigma, edge)
    refused = not c.white and (whiten is False or c.n_examples < 2 * c.n_directions)
    if refused:
        why = "whiten=False" if whiten is False else f"P = {len(x)} < 2 N1 = {2 * c.n_directions}"
        warnings.warn(
            f"the inputs are not white (spread {c.spread:.2g}) and {why}: no prediction; the "
            f"stopping time is measured on held-out examples",
            TractableWarning,
            stacklevel=2,
        )
        settings = (learning_rate, depth, init_strength, norm, max_steps, seed)
        return _measured(c, size, rank, spikes, center, settings)
    whitened = bool(whiten) or not c.white
    if whitened and whiten is None:
        warnings.warn(
            f"the inputs are not white (spread {c.spread:.2g}): the prediction is for whitened "
            f"inputs; train on (X - X_mean) @ whitening of this result, or pass whiten=False",
            TractableWarning,
            stacklevel=2,
        )
    return _predicted(c, size, rank, spikes, whitened, learning_rate, depth, init_strength, norm)


# --- parts ---------------------------------------------------------------------------------------


def _predicted(
    c: Coordinates,
    size: float,
    rank: int,
    spikes: SpikeResult,
    whitened: bool,
    learning_rate: float,
    depth: int,
    init_strength: float,
    norm: str,
) -> StoppingReport:
    # One direction of the inputs has the length d over all examples: X = L d R^T, L^T L = 1.
    weight = 1 / c.n_examples if norm == "mean" else 1.0
    d = weight**-0.5 if whitened else c.length
    lam, s = weight * d * d, weight * d * c.s
    goal = spikes.s_signal * spikes.overlap
    power = float(np.sum(spikes.s_signal**2))
    noise = c.n_examples * c.n_out * size**2
    total = power + noise

    def error(t: Floats) -> Floats:
        u = d * deep_strength(s[:, None], t, init_strength, depth, lam=lam)
        return (u**2).sum(0) - 2 * (goal @ u[:rank]) + power

    target = s / lam
    useful = (goal > 0) & (target[:rank] > init_strength)
    # least_error measures time for lam = 1: u in units of its end, s -> s / lam, tau -> tau / lam
    t_opt, least = least_error(
        error,
        target[:rank][useful],
        goal[useful] / d,
        init_strength,
        depth,
        1 / lam,
        decaying=rank > 0 and bool(init_strength > target.min(initial=np.inf)),
    )
    fastest = depth * lam * max(float(target[0]), 1e-300) ** (2 - 2 / depth)
    slow = 3 * t_opt if t_opt > 0 else 20 / fastest
    t = np.linspace(0.0, slow, 400)
    step = round(t_opt / learning_rate)
    weak = int(np.sum(target[:rank] <= init_strength))
    reasons = doubts(c, size, rank, spikes, learning_rate * fastest, init_strength, weak)
    return StoppingReport(
        step=step,
        time=t_opt,
        expected_test=least / power if power > 0 else 1.0,
        expected_loss=_over(least + noise, total),
        final_loss=_over(float(np.sum(c.s**2) - 2 * goal @ c.s[:rank] + power) + noise, total),
        shrinkage_loss=_over(power - float(np.sum(goal**2)) + noise, total),
        t=t,
        loss=(error(t) + noise) / (total or 1.0),
        method="whitened" if whitened else "aligned",
        reliable=not reasons,
        reasons=reasons,
        whitening=c.whitening * d if whitened else None,
        **_found(c, size, rank, spikes),
    )


def _measured(
    c: Coordinates,
    size: float,
    rank: int,
    spikes: SpikeResult,
    center: bool,
    settings: tuple[float, int, float, str, int, int],
) -> StoppingReport:
    """Train on folds of the examples as they are; the test error is that on the rest."""
    learning_rate, *_, max_steps, _ = settings
    n_folds = min(FOLDS, c.n_examples)
    curves = fold_curves(c, center, n_folds, *settings)
    loss = curves.test.mean(0)
    best = int(loss.argmin())
    reasons = [
        f"measured on {n_folds} folds, not predicted: the inputs are not white "
        f"(spread {c.spread:.2g})"
    ]
    if best == len(loss) - 1:
        reasons.append(f"the held-out loss still falls at max_steps = {max_steps}")
    return StoppingReport(
        step=round(curves.t[best] / learning_rate),
        time=float(curves.t[best]),
        expected_test=None,
        expected_loss=float(loss[best]),
        final_loss=float(loss[-1]),
        shrinkage_loss=None,
        t=curves.t,
        loss=loss,
        method="held_out",
        reliable=False,
        reasons=tuple(reasons),
        whitening=None,
        **_found(c, size, rank, spikes),
    )


def _found(c: Coordinates, size: float, rank: int, spikes: SpikeResult) -> dict[str, Any]:
    unit = size * np.sqrt(c.n_directions)
    return {
        "detected_rank": rank,
        "sigma": float(size),
        "snr": spikes.s_signal / (unit or 1.0),
        "aspect": c.n_out / c.n_directions,
        "s_data": c.s / (unit or 1.0),
        "X_mean": c.X_mean,
        "Y_mean": c.Y_mean,
    }


def _over(value: float, total: float) -> float:
    return float(value / total) if total > 0 else 0.0
