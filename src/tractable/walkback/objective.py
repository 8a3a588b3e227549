"""What training raises: the probability of the way back, for a walk away from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice
from tractable.walkback.operators import TransitionOperator, check_count
from tractable.walkback.paths import density_difference
from tractable.walkback.schedule import Schedule, check_schedule

__all__ = ["WalkbackStats", "pair_loss", "walkback_loss"]

MODES = ("walkback", "elbo", "released_code")


@dataclass(frozen=True)
class WalkbackStats:
    """What a loss saw.

    Attributes
    ----------
    objective : float
        Mean log density of a step back, nats; for ``elbo`` the mean log weight of a path.
    end : Tensor
        Last states of the walks, ``(B, *event)``, cut off from the graph.
    """

    objective: float
    end: Tensor


def pair_loss(
    operator: TransitionOperator,
    source: Tensor,
    target: Tensor,
    temperature: Tensor,
    step: Tensor | None = None,
    *,
    chunk: int | None = None,
    backward: bool = False,
) -> Tensor:
    r"""Return the mean of :math:`-\log p_T(\mathrm{target} \mid \mathrm{source})` over all rows.

    Parameters
    ----------
    operator : TransitionOperator
        Trained.
    source, target : Tensor
        States before and after the step back, ``(N, *event)``; no gradient flows through them.
    temperature : Tensor
        Of each row, (N,).
    step : Tensor, optional
        Index of each row's step, (N,).
    chunk : int, optional
        Rows of one graph; with ``backward`` the memory is that of a chunk.
    backward : bool
        Accumulate the gradient here, chunk by chunk; the returned loss has none.
    """
    source, target = source.detach(), target.detach()
    rows = len(source)
    total = torch.zeros((), device=source.device)
    for start in range(0, rows, chunk or rows):
        part = slice(start, start + (chunk or rows))
        at = None if step is None else step[part]
        terms = operator.log_prob(target[part], source[part], temperature[part], step=at)
        loss = -terms.sum() / rows
        if backward:
            loss.backward()
            loss = loss.detach()
        total = total + loss
    return total


def walkback_loss(
    operator: TransitionOperator,
    x: Tensor,
    schedule: Schedule,
    *,
    mode: Literal["walkback", "elbo", "released_code"] = "walkback",
    prior: Any = None,
    estimator: Literal["pathwise", "reinforce"] = "pathwise",
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, WalkbackStats]:
    r"""Return a loss whose gradient trains the operator on data.

    ``walkback``, the published objective, is

    .. math:: J(\theta) = \frac1L \sum_t \log p_{T_t}(\bar s_{t-1} \mid \bar s_t; \theta)

    (W8): the walk :math:`\bar s` is drawn from the operator and then held fixed, so that the
    gradient enters through the way back only. It is not the bound. ``elbo`` is :math:`-E[\log w]`
    (W9) with gradients through the walk too: proper ascent on the bound, not in the paper.
    ``released_code`` scores every state under its own transition, as the published scripts do; it
    is here to be compared with and does not learn the data.

    Parameters
    ----------
    operator : TransitionOperator
        Trained.
    x : Tensor
        Data, ``(B, *event)``.
    schedule : Schedule
        Temperatures.
    mode : str
        Which objective.
    prior : optional
        Of the hottest states; ``elbo`` needs it and sends it no gradient.
    estimator : str
        ``elbo`` of operators whose samples are not differentiable (Bernoulli): ``reinforce``.
    generator : torch.Generator, optional
        Decides the walk.
    chunk : int, optional
        Rows scored at once; the graph of the loss holds all of them.

    Returns
    -------
    loss : Tensor
        Scalar.
    WalkbackStats

    References
    ----------
    Goyal, Ke, Ganguli, Bengio 2017, arXiv:1711.02282, algorithm 1.
    """
    check_choice("mode", mode, MODES)
    check_schedule(schedule)
    if chunk is not None:
        check_count("chunk", chunk)
    check_choice("estimator", estimator, ("pathwise", "reinforce"))
    operator.check_state(x, "x")
    if mode == "elbo":
        return _elbo(operator, x, schedule, prior, estimator, generator)
    states = [x]
    with torch.no_grad():
        for k, temperature in enumerate(schedule.temperatures.tolist()):
            states.append(operator.sample(states[-1], temperature, step=k, generator=generator))
    hotter, colder = torch.cat(states[1:]), torch.cat(states[:-1])
    steps = torch.arange(len(schedule), device=x.device).repeat_interleave(len(x))
    temperatures = schedule.temperatures.to(x.device, x.dtype)[steps]
    source = colder if mode == "released_code" else hotter
    loss = pair_loss(operator, source, colder, temperatures, steps, chunk=chunk)
    return loss, WalkbackStats(-float(loss.detach()), states[-1])


def _elbo(
    operator: TransitionOperator,
    x: Tensor,
    schedule: Schedule,
    prior: Any,
    estimator: str,
    generator: torch.Generator | None,
) -> tuple[Tensor, WalkbackStats]:
    if prior is None:
        raise ValueError("mode='elbo' needs a prior")
    if operator.kind == "binary" and estimator != "reinforce":
        raise ValueError(
            "estimator must be 'reinforce' for binary states: no gradient flows through their draws"
        )
    s, weight, forth_sum = x, torch.zeros(len(x), dtype=torch.float64, device=x.device), None
    for k, temperature in enumerate(schedule.temperatures.tolist()):
        after = operator.sample(s, temperature, step=k, generator=generator)
        after = after.detach() if estimator == "reinforce" else after
        back, forth = density_difference(operator, s, after, temperature, k)
        weight = weight + back - forth
        forth_sum = forth if forth_sum is None else forth_sum + forth
        s = after
    weight = weight + _frozen_log_prob(prior, s).double()
    loss = -weight.mean()
    if estimator == "reinforce":
        assert forth_sum is not None
        # Less the mean of the other walks: the walk itself in it would shrink the gradient.
        n = len(weight)
        advantage = weight if n == 1 else (weight - weight.mean()) * (n / (n - 1))
        advantage = advantage.detach()
        loss = loss - (advantage * forth_sum).mean()
    return loss.to(x.dtype), WalkbackStats(float(weight.detach().mean()), s.detach())


def _frozen_log_prob(prior: Any, s: Tensor) -> Tensor:
    """Return the log density of a prior whose own parameters get no gradient from it."""
    weights = list(prior.parameters()) if isinstance(prior, nn.Module) else []
    learned = [weight for weight in weights if weight.requires_grad]
    try:
        for weight in learned:
            weight.requires_grad_(False)
        return prior.log_prob(s)
    finally:
        for weight in learned:
            weight.requires_grad_(True)
