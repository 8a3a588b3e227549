"""Stationary chains run side by side, what is recorded of them, and errors from their spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.walkback.batch_statistics import refuse_batch_statistics
from tractable.walkback.operators import TransitionOperator
from tractable.walkback.paths import device_of
from tractable.walkback.priors import draw_start

MAX_AREA_DIM = 64  # beyond it the circulation is not kept
DRIFT_SIGMAS = 4.0
N_GROUPS = 20  # of chains, for jackknife errors


@dataclass(frozen=True, eq=False)
class Records:
    """Sums over the steps of each chain."""

    heat: np.ndarray  # (steps, chains): log p forth - log p back
    probes: np.ndarray  # (steps, probes, chains)
    area: Tensor | None  # (chains, n, n)
    before: list[Tensor]
    after: list[Tensor]

    @property
    def stationary(self) -> bool:
        """Whether first and last third of the steps agree within 4 standard errors."""
        third = len(self.heat) // 3
        if not third:
            return True
        series = np.concatenate([self.heat[:, None], self.probes], 1)
        change = series[-third:].mean(0) - series[:third].mean(0)
        error = change.std(1, ddof=1) / math.sqrt(change.shape[1])
        return bool((np.abs(change.mean(1)) <= DRIFT_SIGMAS * error + 1e-12).all())


def chain_start(
    operator: TransitionOperator, start: Any, n: int, generator: torch.Generator | None
) -> Tensor:
    """Return n states to begin from: those given, or draws of a prior."""
    refuse_batch_statistics(operator)
    if start is None:
        raise ValueError(
            "start must be states or a prior to begin the chains from, got None: pass generated "
            "states, data, or the prior of the fit"
        )
    if not isinstance(start, Tensor):
        if not hasattr(start, "sample"):
            raise TypeError(f"start must be a tensor or a prior, got {type(start).__name__}")
        return draw_start(start, operator, n, generator)
    operator.check_state(start, "start")
    start = start.to(device_of(operator))
    if len(start) == n:
        return start
    on = "cpu" if generator is None else generator.device
    rows = torch.randint(len(start), (n,), generator=generator, device=on).to(start.device)
    return start[rows]


@torch.no_grad()
def record_walk(
    operator: TransitionOperator, s: Tensor, temperature: float, burn_in: int, num_steps: int,
    step: int, generator: torch.Generator | None, keep: bool,
) -> Records:  # fmt: skip
    """Run the chains; densities are subtracted entry by entry, in float64."""
    for _ in range(burn_in):
        s = operator.sample(s, temperature, step=step, generator=generator)
    n = operator.dim
    area = s.new_zeros((len(s), n, n), dtype=torch.float64) if n <= MAX_AREA_DIM else None
    heat, probes, before, after = [], [], [], []
    for _ in range(num_steps):
        there = operator.sample(s, temperature, step=step, generator=generator)
        forth = operator.log_prob(there, s, temperature, step=step, reduce=False).double()
        back = operator.log_prob(s, there, temperature, step=step, reduce=False).double()
        heat.append((forth - back).flatten(1).sum(1).cpu())
        old, new = s.double().flatten(1), there.double().flatten(1)
        probes.append(torch.stack([old.square().sum(1), old.sum(1)]).cpu())
        if area is not None:
            area += 0.5 * (old[:, :, None] * new[:, None] - new[:, :, None] * old[:, None])
        if keep:
            before.append(old.cpu())
            after.append(new.cpu())
        s = there
    if area is not None:
        area /= num_steps
    found = torch.stack(heat).numpy()
    if not np.isfinite(found).all():
        raise FloatingPointError(
            f"densities are not finite at T = {temperature:g}: the chains run away"
        )
    return Records(found, torch.stack(probes).numpy(), area, before, after)


def mean_se(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over chains and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def mean_area(records: Records) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the circulation and its standard error, None where it is not kept."""
    if records.area is None:
        return None, None
    error = records.area.std(0) / math.sqrt(len(records.area))
    return records.area.mean(0).cpu().numpy(), error.cpu().numpy()


def jackknife(value: Callable[[np.ndarray], float], n_chains: int) -> float:
    """Return the standard error of a statistic by leaving out groups of chains."""
    groups = np.arange(n_chains) % min(N_GROUPS, n_chains)
    left = np.array([value(groups != g) for g in range(groups.max() + 1)])
    k = len(left)
    return float(math.sqrt((k - 1) / k * ((left - left.mean()) ** 2).sum()))
