"""Bayes-optimal decomposition of an array by approximate message passing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import (
    ConvergenceWarning,
    TractableWarning,
    check_choice,
    check_count,
    check_range,
)
from tractable.core.progress import track
from tractable.tensors.amp_result import AMPResult, assemble
from tractable.tensors.beliefs import Beliefs, equal_components, hadamard
from tractable.tensors.learning import FLOOR, Learner
from tractable.tensors.observations import Observations, check_noise_by, observe
from tractable.tensors.priors import Exponential, Gaussian, Prior, TruncatedGaussian, as_priors
from tractable.tensors.starts import starting_means, suited_start
from tractable.tensors.watch import Watch

__all__ = ["amp"]

UNEQUAL_NOISE = 1.5  # gain by weighting slices by their noise from which it is recommended
WEAK = 0.01  # strength, over that of the strongest, of a component that the data do not hold
EDGE = 0.25  # noise in model units from which the scale is learned where nothing stands out


def amp(
    Y: Any,
    rank: int,
    *,
    priors: Prior | str | Sequence[Prior | str] = "gaussian",
    noise: float | str | Any = "estimate",
    noise_by: int | Sequence[int] | None = None,
    mask: Any = None,
    units: str = "auto",
    schedule: str = "sequential",
    damping: float | str = "auto",
    init: Any = None,
    init_scale: float = 0.05,
    n_starts: int = 1,
    learn_priors: bool | None = None,
    onsager: bool = True,
    row_wise: bool = True,
    max_iter: int = 200,
    tol: float = 1e-6,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    progress: bool = True,
) -> AMPResult:
    r"""Decompose an array into ``rank`` components, with posterior covariances of all factors.

    .. math:: \hat x_{a,i} = f_a(A_a, u_{a,i}), \quad
       u_a = B_a - \text{Onsager}, \quad
       A_a = \frac1\Delta \prod_{b \ne a} \frac{\hat x_b^T \hat x_b}{N}

    The equations are (T2) to (T5) of the theory page, for any order, shape and rank.

    Parameters
    ----------
    Y : array_like, shape (N_1, .., N_p)
        NumPy array, torch tensor, pandas or xarray object, or a dask array in chunks (which may be
        larger than the memory). At least two modes. NaN is missing.
    rank : int
        Number of components r.
    priors : Prior or str, or one for each mode
        Of the rows of each factor. A name stands for a family whose parameters are learned.
    noise : "estimate", float, or array
        Noise variance of an entry: in the units of ``Y`` for ``units="auto"``, Delta for
        ``units="model"``; with ``noise_by`` one for each slice of that mode.
    noise_by : int or (int,), optional
        Mode whose slices (neurons, say) have noise variances of their own.
    mask : array of bool, optional
        True where an entry is observed; joined with NaN.
    units : "auto" or "model"
        ``model``: ``Y`` is that of equation (T1), and factors are posterior means in the prior's
        units. ``auto``: the scale of the signal is learned; factors have unit-norm columns, and
        ``weights`` carry the scale of ``Y``.
    schedule : "sequential" or "parallel"
        Modes one after another, each with the newest others, or all at once. Parallel updates
        oscillate at low noise unless they are damped.
    damping : "auto" or float in [0, 1)
        Weight of the old means. ``auto``: 0, and (p - 2) / p + 0.1 for parallel updates.
    init : "prior", "spectral", "random", "als", factors, or None
        Start; None takes the prior's mean, and the spectra of the unfoldings where two or more
        modes have zero mean. Factors: a list of matrices, a result, or a TensorLy ``CPTensor``.
    init_scale : float
        Standard deviation, in that of the prior, of the noise that breaks the symmetry of the
        prior start. At 0, components of equal priors never part.
    n_starts : int
        Starts, computed side by side; the one of the largest evidence is returned.
    learn_priors : bool, optional
        Learn the parameters of the priors. None: of the priors given by name.
    onsager : bool
        False leaves out the Onsager term: wrong, and there to show it.
    row_wise : bool
        False takes missing entries for a random sample even where they are structured (whole
        trials of some neurons); less exact, and there to show it.
    max_iter, tol : int, float
        Sweeps at most; relative change of all means at which it has converged. In float32 it is
        at least 1e-5, the rounding of a pass over ``Y``.
    dtype : torch.dtype, optional
        Of the passes over ``Y``; that of ``Y`` by default. All else is float64.
    device : optional
        Where ``Y`` is put, ``"cuda"``.
    seed : int
        Decides starts.
    callback : callable, optional
        Called after each sweep with a dict: ``iteration``, ``noise``, ``delta``, ``Q``,
        ``predicted_mse``, ``free_entropy``, ``change``, ``factors`` (of all starts). True stops.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    AMPResult
        Factors, covariances, weights, noise, predicted errors. Ctrl-C returns what there is.

    Raises
    ------
    ValueError, TypeError
        Arrays that are no tensor of numbers, slices without an observed entry, infinity, and
        parameters out of range; the message names what to do.

    Notes
    -----
    A sweep reads ``Y`` twice and copies nothing: 4 r prod(N_a) operations. Predictions are for
    large arrays; the errors are of order 1/sqrt(N_a). A warning says where the noise of slices
    differs so much that ``noise_by`` is called for (`AMPResult.noise_spread`). The factors of a
    matrix are known up to a rotation, which the covariances leave out: at order 2 and rank > 1 it
    is the reconstruction that is predicted. The noise is taken for Gaussian, of one variance (or
    one for each slice): of counts, whose variance follows their mean, intervals are too narrow.
    So are those of two components that are nearly parallel in a mode, because the priors of
    components are independent and pull them apart; compare with `baselines.als` there.

    References
    ----------
    Kadmon, Ganguli 2018, Statistical mechanics of low-rank tensor decomposition, arXiv:1810.10065.

    Examples
    --------
    >>> from tractable.tensors import Gaussian, SpikedTensor
    >>> model = SpikedTensor((60, 60, 60), priors="gaussian(0.6)", noise=0.1)
    >>> fit = amp(model.sample(0).Y, 1, priors=Gaussian(0.6), noise=0.1, units="model")
    >>> fit.status, [x.shape for x in fit.factors]
    ('converged', [(60, 1), (60, 1), (60, 1)])
    """
    check_choice("units", units, ("auto", "model"))
    check_choice("schedule", schedule, ("sequential", "parallel"))
    check_count("n_starts", n_starts)
    check_count("max_iter", max_iter)
    check_range("tol", tol, 0)
    check_range("init_scale", init_scale, 0)
    noise_mode = check_noise_by(noise_by, np.ndim(Y) if not hasattr(Y, "ndim") else Y.ndim)
    data = observe(Y, rank, mask=mask, noise_mode=noise_mode, dtype=dtype, device=device)
    if not row_wise:
        data = replace(data, weights=None, count=None)
    chosen, learned = _priors(priors, data.order, rank, learn_priors)
    level = Noise.of(noise, data, units)
    start = init if init is not None else suited_start(chosen, rank)
    means = starting_means(
        start, data, chosen, rank, n_starts,
        seed=seed, init_scale=init_scale, Y=Y, noise=level.mean,
    )  # fmt: skip
    own = [[prior] * n_starts for prior in chosen]
    if init is None and start == "spectral" and learned:
        # The spectra miss a weak signal whose factors have a mean: one more start looks for that.
        hoped = [positive_mean(prior, rank) for prior in chosen]
        more = starting_means(
            "prior", data, hoped, rank, 1,
            seed=seed, init_scale=init_scale, Y=Y, noise=level.mean,
        )  # fmt: skip
        means = [torch.cat(pair) for pair in zip(means, more, strict=True)]
        own = [[*priors, prior] for priors, prior in zip(own, hoped, strict=True)]
        n_starts += 1
    if not isinstance(start, str) and units == "auto":
        means = _normalized(means, chosen)
    beliefs = Beliefs(
        data,
        own,
        means,
        torch.full((n_starts,), level.mean, dtype=torch.float64),
        torch.ones(n_starts, dtype=torch.float64),
        schedule,
        onsager,
        refresh=units == "auto",
    )
    if level.relative is not None:
        beliefs.relative = level.relative.expand(n_starts, -1).clone()
    beliefs.tied = equal_components(means, own)
    beliefs.damping += _damping(damping, schedule, data.order)
    if units == "auto":
        beliefs.scale = first_scale(beliefs)
    learner = Learner(noise=level.learn, scale=units == "auto", priors=learned)
    tol = max(tol, data.engine.rounding)
    watch = Watch(beliefs, tol, guard=units == "model")
    status = _iterate(beliefs, learner, watch, max_iter, callback, progress)
    result = assemble(beliefs, watch, status, units=units, factorized=_factorized(chosen))
    _warn(result, watch, tol)
    return result


def _iterate(
    beliefs: Beliefs,
    learner: Learner,
    watch: Watch,
    max_iter: int,
    callback: Callable[[dict[str, Any]], Any] | None,
    progress: bool,
) -> str | None:
    """Sweep until all starts have converged; return why it stopped early, if it did."""
    try:
        for sweep in track(range(max_iter), "message passing", show=progress):
            beliefs.sweep()
            learner.update(beliefs, sweep)
            beliefs.measure_change()
            record = watch.observe(sweep)
            beliefs.look_at_rows()
            if callback is not None and callback(record) is True:
                return "stopped"
            if watch.finished:
                break
    except KeyboardInterrupt:
        if not watch.history:
            raise
        warnings.warn("interrupted: the best factors so far are returned", TractableWarning, 3)
        return "interrupted"
    return None


@dataclass(frozen=True)
class Noise:
    """The noise variance to begin with, relative ones of slices, and whether they are learned."""

    mean: float
    relative: Tensor | None
    learn: bool

    @classmethod
    def of(cls, noise: Any, data: Observations, units: str) -> Noise:
        """Return the noise of the argument ``noise``."""
        by_mode, power = data.noise_mode, data.square_sum / data.n_observed
        if isinstance(noise, str):
            check_choice("noise", noise, ("estimate",))
            if by_mode is None:
                return cls(power, None, True)
            by_slice = data.slice_squares / data.slice_counts  # type: ignore[operator,arg-type]  # given with noise_mode
            by_slice = by_slice.clamp_min(FLOOR * power)
            return cls(power, (by_slice / power)[None], True)
        values = torch.as_tensor(np.asarray(noise), dtype=torch.float64)
        if not bool((values > 0).all()) or not bool(values.isfinite().all()):
            raise ValueError(
                f"noise must be 'estimate' or positive, got {float(values.min()):g}; "
                "it is the variance of the noise of one entry"
            )
        if values.ndim == 0:
            if by_mode is None:
                return cls(float(values), None, False)
            values = values.expand(data.shape[by_mode])
        if by_mode is None:
            raise ValueError(
                f"noise must be one number, got shape {tuple(values.shape)}; "
                "say by noise_by= to which mode an array belongs"
            )
        if tuple(values.shape) != (data.shape[by_mode],):
            raise ValueError(
                f"noise must have one entry for each of the {data.shape[by_mode]} slices of mode "
                f"{by_mode}, got shape {tuple(values.shape)}"
            )
        mean = float(values.mean())
        return cls(mean, (values / mean)[None], False)


def _priors(
    priors: Any, order: int, rank: int, learn: bool | None
) -> tuple[tuple[Prior, ...], bool]:
    """Return one prior for each mode, and whether their parameters are learned."""
    chosen = as_priors(priors, order)
    for mode, prior in enumerate(chosen):
        if prior.rank is not None and prior.rank != rank:
            raise ValueError(
                f"the prior of mode {mode} is one of {prior.rank} components, but rank is {rank}"
            )
    names: list[Any] = []
    if isinstance(priors, str | Sequence):
        names = [priors] if isinstance(priors, str) else list(priors)
    by_name = any(isinstance(name, str) and "(" not in name for name in names)
    if rank > 1:
        given = names if len(names) == order else names * order
        chosen = tuple(
            _product_form(prior) if isinstance(name, str) and "(" not in name else prior
            for prior, name in zip(chosen, given or [None] * order, strict=True)
        )
    return chosen, by_name if learn is None else learn


def _product_form(prior: Prior) -> Prior:
    """Return a non-negative prior in its product form, which is quick at every rank."""
    if isinstance(prior, TruncatedGaussian | Exponential):
        return replace(prior, factorized=True)
    return prior


def positive_mean(prior: Prior, rank: int) -> Prior:
    """Return a Gaussian of the same second moment with a mean of half its root; else the prior."""
    if not isinstance(prior, Gaussian):
        return prior
    size = prior.moments(rank)[1].diagonal().sqrt().numpy()
    return Gaussian(size / 2, 0.75 * size**2)


def _factorized(priors: Sequence[Prior]) -> bool:
    return any(getattr(prior, "factorized", False) for prior in priors)


def _damping(damping: float | str, schedule: str, order: int) -> float:
    if isinstance(damping, str):
        check_choice("damping", damping, ("auto",))
        return (order - 2) / order + 0.1 if schedule == "parallel" and order > 2 else 0.0
    check_range("damping", damping, 0, 1, open_high=True)
    return float(damping)


def _normalized(means: Sequence[Tensor], priors: Sequence[Prior]) -> list[Tensor]:
    """Bring given factors to the scale of the priors; the last one carries relative strengths."""
    strength = torch.ones(len(means[0]), means[0].shape[-1], dtype=torch.float64)
    found = []
    for x in means[:-1]:
        size = x.square().mean(1).sqrt().clamp_min(1e-150)
        found.append(x / size[:, None, :])
        strength = strength * size
    last = means[-1] * strength[:, None, :]
    found.append(last / last.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-150))
    scaled = []
    for x, prior in zip(found, priors, strict=True):
        size = prior.moments(x.shape[-1])[1].diagonal().mean().sqrt()
        scaled.append(x * size)
    return scaled


def first_scale(beliefs: Beliefs) -> Tensor:
    """Return the scale of the signal to begin with, (S,).

    The largest of three: what fits the start best, what the spectrum of the smallest mode shows
    above its noise, and the scale at which a signal could just be seen.
    """
    data = beliefs.data
    columns = beliefs._columns()
    partial = data.engine.partial(0, columns)
    projected = beliefs._starts(data.engine.finish(partial, 0, columns), 0)
    root = data.n_geo ** (-(data.order - 1) / 2)
    cross = root * (beliefs.mean[0] * projected).sum((1, 2))
    known, _, _ = beliefs.signal_power()
    fitted = (cross / known.clamp_min(1e-300)).clamp_min(0)
    mode = int(np.argmin(data.shape))
    rest = float(np.prod(data.shape)) / data.shape[mode] * data.fraction
    noise = float(beliefs.noise[0])
    values = torch.linalg.eigvalsh(data.engine.gram(mode))[-beliefs.rank :]
    edge = noise * (rest**0.5 + data.shape[mode] ** 0.5) ** 2
    power = float((values - edge).clamp_min(0).sum())
    second = [own[0].moments(beliefs.rank)[1] * (len(x[0]) / data.n_geo)
              for own, x in zip(beliefs.priors, beliefs.mean, strict=True)]  # fmt: skip
    expected = data.n_geo * data.fraction * float(hadamard(second).sum())
    floor = max((power / expected) ** 0.5, (noise / EDGE) ** 0.5)
    return fitted.clamp_min(floor)


def _warn(result: AMPResult, watch: Watch, tol: float) -> None:
    """Say what a result of doubtful standing needs."""
    worst = int(np.argmax(result.noise_spread))
    if result.noise_spread[worst] > UNEQUAL_NOISE:
        warnings.warn(
            f"the noise differs between the slices of mode {worst}: where they are weighted by it, "
            f"that of an entry is {result.noise_spread[worst]:.1f} times smaller, and errors are "
            f"those that are predicted; say noise_by={worst}",
            TractableWarning,
            3,
        )
    if result.status == "max_iter":
        strengths = result.strengths
        weak = int((strengths < WEAK * strengths.max()).sum())
        advice = "raise max_iter or tol"
        if weak:
            advice = f"{weak} of {len(strengths)} components have almost no weight: lower rank"
        warnings.warn(
            f"not converged in {result.n_iter} sweeps: the relative change of the last one is "
            f"{watch.last_change(result.start):.2g}, tol is {tol:g}; {advice}",
            ConvergenceWarning,
            3,
        )
    elif result.status == "oscillating":
        warnings.warn(
            "the means oscillate with period 2; take schedule='sequential', or damping='auto'",
            ConvergenceWarning,
            3,
        )
