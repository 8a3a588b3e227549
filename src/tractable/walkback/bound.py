"""How likely are data under an operator: bound, importance estimate, and where they part."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_choice, check_range
from tractable.core.progress import track
from tractable.walkback.batch_statistics import refuse_batch_statistics
from tractable.walkback.operators import TransitionOperator, check_count
from tractable.walkback.paths import density_difference
from tractable.walkback.priors import check_prior, draw_start
from tractable.walkback.schedule import Schedule, check_schedule

__all__ = ["BoundResult", "LevelTable", "LowESSWarning", "level_table", "log_likelihood_bound"]

LEAST_ESS = 5.0


class LowESSWarning(TractableWarning):
    """Few paths carry the importance estimate: it is a lower bound on average only."""


@dataclass(frozen=True, eq=False)
class BoundResult:
    """Bounds on the log density of each datum.

    Attributes
    ----------
    bound, bound_se : ndarray
        E[log w] over the paths and its standard error, nats, shape (B,).
    log_prob_is : ndarray
        log of the mean weight: the importance estimate, nats, (B,); NaN where not asked for.
    ess : ndarray
        Effective number of paths, (B,).
    path_terms : ndarray
        E[log q - log p] of each step, nats, (L,): the dissipation, with what cancels in the sum.
    prior_term : float
        E[log p*(s_L)], nats.
    num_paths : int
        M.
    """

    bound: np.ndarray
    bound_se: np.ndarray
    log_prob_is: np.ndarray
    ess: np.ndarray
    path_terms: np.ndarray
    prior_term: float
    num_paths: int
    dim: int

    @property
    def mean(self) -> float:
        """Mean of the bound over the data, nats."""
        return float(self.bound.mean())

    @property
    def se(self) -> float:
        """Standard error of `mean`, paths and data together."""
        return float(self.bound.std(ddof=1) / math.sqrt(len(self.bound)))

    def bits_per_dim(self, scale: float = 1.0, levels: int = 256) -> tuple[float, float]:
        r"""Return bits per dimension by the bound and by the importance estimate.

        .. math:: \mathrm{bpd} = \frac{-(\log p(s) - n \log c)}{n \log 2} + \log_2 \mathrm{levels}

        (W12), for states ``s = (y - m) / c`` of pixels y in [0, 1] with uniform noise added.

        Parameters
        ----------
        scale : float
            c, > 0.
        levels : int
            Grey values before the noise.
        """
        check_range("scale", scale, 0, open_low=True)
        n = self.dim
        out = [
            -(float(np.mean(value)) - n * math.log(scale)) / (n * math.log(2)) + math.log2(levels)
            for value in (self.bound, self.log_prob_is)
        ]
        return out[0], out[1]


def log_likelihood_bound(
    operator: TransitionOperator,
    x: Tensor,
    *,
    schedule: Schedule,
    prior: Any,
    num_paths: int = 64,
    estimator: Literal["bound", "importance", "both"] = "both",
    chunk: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> BoundResult:
    r"""Return the variational bound and the importance estimate of log p(x).

    .. math:: \log w = \log p^*(s_L) + \sum_{t=1}^L \left[ \log p_{T_t}(s_{t-1} \mid s_t)
        - \log p_{T_t}(s_t \mid s_{t-1}) \right]

    (W9), :math:`E \log w \le \log \frac1M \sum_m w_m` (W10) :math:`\le \log p(x)`, the second on
    average. Weights are accumulated along the walk: the memory does not grow with L.

    Parameters
    ----------
    operator : TransitionOperator
        In evaluation mode; batch normalization that uses the batch is refused.
    x : Tensor
        Data, ``(B, *event)``.
    schedule : Schedule
        Temperatures.
    prior
        Of the hottest states.
    num_paths : int
        M, >= 1.
    estimator : str
        ``bound``, ``importance`` or ``both`` (the same paths).
    chunk : int, optional
        Walks at once; default 8192.
    generator : torch.Generator, optional
        Decides the walks.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    BoundResult

    Warns
    -----
    LowESSWarning
        The importance estimate of a datum rests on fewer than 5 paths.
    """
    check_choice("estimator", estimator, ("bound", "importance", "both"))
    check_range("num_paths", num_paths, 1)
    operator.check_state(x, "x")
    refuse_batch_statistics(operator)
    chunk = 8192 if chunk is None else chunk
    check_count("chunk", chunk)
    check_schedule(schedule)
    check_prior(prior, operator)
    weights = torch.empty(num_paths, len(x), dtype=torch.float64)
    terms = torch.zeros(len(schedule), dtype=torch.float64)
    ends = 0.0
    jobs = num_paths * len(x)
    pieces = range(0, jobs, chunk)
    with torch.inference_mode():
        for start in track(pieces, "walks", show=progress and len(pieces) > 1):
            index = torch.arange(start, min(start + chunk, jobs))
            s = x[(index % len(x)).to(x.device)]
            weight = torch.zeros(len(index), dtype=torch.float64, device=x.device)
            for k, temperature in enumerate(schedule.temperatures.tolist()):
                after = operator.sample(s, temperature, step=k, generator=generator)
                back, forth = density_difference(operator, s, after, temperature, k)
                weight += back - forth
                terms[k] += float((forth - back).sum())
                s = after
            end = prior.log_prob(s).double()
            ends += float(end.sum())
            weights.view(-1)[index] = (weight + end).cpu()
    bad = int((~torch.isfinite(weights)).sum())
    if bad:
        raise FloatingPointError(
            f"{bad} of {jobs} path weights are not finite: the operator's states or densities "
            "overflow at these temperatures"
        )
    log_mean = torch.logsumexp(weights, 0) - math.log(num_paths)
    ess = (2 * torch.logsumexp(weights, 0) - torch.logsumexp(2 * weights, 0)).exp()
    if estimator != "bound" and num_paths > 1 and float(ess.median()) < LEAST_ESS:
        warnings.warn(
            f"the median datum's importance estimate rests on {float(ess.median()):.1f} of "
            f"{num_paths} paths: it is a lower bound on average, not an estimate",
            LowESSWarning,
            stacklevel=2,
        )
    spread = (
        weights.std(0) / math.sqrt(num_paths) if num_paths > 1 else torch.full((len(x),), math.nan)
    )
    return BoundResult(
        bound=weights.mean(0).numpy(),
        bound_se=spread.numpy(),
        log_prob_is=log_mean.numpy() if estimator != "bound" else np.full(len(x), np.nan),
        ess=ess.numpy(),
        path_terms=(terms / jobs).numpy(),
        prior_term=ends / jobs,
        num_paths=num_paths,
        dim=operator.dim,
    )


@dataclass(frozen=True, eq=False)
class LevelTable:
    """Where on the ladder generation leaves the walk.

    Attributes
    ----------
    temperature : ndarray
        T_t of each level, (L,).
    walked, generated : ndarray
        Variance along the leading components of the data, (L, components).
    mmd2 : ndarray
        Squared maximum mean discrepancy between walked and generated states, (L,).
    """

    temperature: np.ndarray
    walked: np.ndarray
    generated: np.ndarray
    mmd2: np.ndarray


def level_table(
    operator: TransitionOperator,
    x: Tensor,
    schedule: Schedule,
    prior: Any,
    *,
    n: int = 1000,
    n_components: int | None = None,
    generator: torch.Generator | None = None,
) -> LevelTable:
    """Compare walked with generated states at every temperature.

    Parameters
    ----------
    operator, schedule, prior
        Of the generation.
    x : Tensor
        Data, ``(B, *event)``, B >= 2.
    n : int
        States compared, >= 2.
    n_components : int, optional
        Leading principal components of the data; default 5, or all of fewer.
    generator : torch.Generator, optional
        Decides both.

    Returns
    -------
    LevelTable
    """
    from tractable.walkback.distances import mmd2

    check_range("n", n, 2)
    check_schedule(schedule)
    check_prior(prior, operator)
    n_components = min(5, operator.dim) if n_components is None else n_components
    check_range("n_components", n_components, 1, operator.dim)
    operator.check_state(x, "x")
    on = "cpu" if generator is None else generator.device
    rows = torch.randint(len(x), (n,), generator=generator, device=on)
    centered = x.double().flatten(1) - x.double().flatten(1).mean(0)
    basis = torch.linalg.svd(centered, full_matrices=False).Vh[:n_components].T
    s, up = x[rows.to(x.device)], []
    with torch.inference_mode():
        for k, temperature in enumerate(schedule.temperatures.tolist()):
            s = operator.sample(s, temperature, step=k, generator=generator)
            up.append(s)
        s, down = draw_start(prior, operator, n, generator), []
        for k, temperature in reversed(list(enumerate(schedule.temperatures.tolist()))):
            down.append(s)
            s = operator.sample(s, temperature, step=k, generator=generator)
    down.reverse()
    spread = [
        [(a.double().flatten(1) @ basis).var(0).cpu().numpy() for a in side] for side in (up, down)
    ]
    widths = []
    for a in up:
        scale = float(a.double().flatten(1).var(0).sum().sqrt())
        widths.append((0.25 * scale, 0.5 * scale, scale))
    gaps = [
        float(mmd2(a.flatten(1).double(), b.flatten(1).double(), w).value)
        for a, b, w in zip(up, down, widths, strict=True)
    ]
    return LevelTable(
        schedule.temperatures.numpy(), np.array(spread[0]), np.array(spread[1]), np.array(gaps)
    )
