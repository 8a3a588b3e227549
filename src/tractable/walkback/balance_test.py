"""A test of detailed balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tractable.core.checks import check_count, check_range
from tractable.walkback.chain_records import chain_start, mean_se, record_walk
from tractable.walkback.operators import TransitionOperator

__all__ = ["DetailedBalance", "detailed_balance_test"]


@dataclass(frozen=True, eq=False)
class DetailedBalance:
    """Whether a chain can be told from a reversible one.

    Attributes
    ----------
    p_value : float
        Smallest p value of all observables, times their number, at most 1: probability of such an
        asymmetry under detailed balance.
    z : ndarray, shape (observables,)
        Mean of each antisymmetric observable over its standard error.
    names : tuple of str
        ``heat`` is ``log p(s'|s) - log p(s|s')``; ``area i j`` is s_i s'_j - s_j s'_i; ``cubic i``
        is s_i^2 s'_i - s_i s'_i^2.
    rate, rate_se : float
        Entropy production, nats per step.
    stationary : bool
        Without it the test has no meaning.
    """

    p_value: float
    z: np.ndarray
    names: tuple[str, ...]
    rate: float
    rate_se: float
    stationary: bool


def detailed_balance_test(
    operator: TransitionOperator,
    *,
    start: Any,
    temperature: float = 1.0,
    burn_in: int = 100,
    num_steps: int = 50,
    num_chains: int = 2000,
    n_components: int = 6,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> DetailedBalance:
    """Test whether the stationary chain obeys detailed balance.

    Under it every antisymmetric observable J(s, s') = -J(s', s) has mean 0; chains are independent,
    so the mean of each over its error is normal. The smallest p value is corrected for their number
    (Bonferroni).

    Parameters
    ----------
    operator, start, temperature, burn_in, num_steps, num_chains, step, generator
        As in `entropy_production`.
    n_components : int
        Leading coordinates whose areas and cubic terms are tested.

    Returns
    -------
    DetailedBalance

    Examples
    --------
    >>> from tractable.walkback import LinearGaussianOperator
    >>> turn = LinearGaussianOperator([[0.7, -0.3], [0.3, 0.7]])
    >>> random = torch.Generator().manual_seed(0)
    >>> start = torch.zeros(200, 2, dtype=torch.float64)
    >>> detailed_balance_test(turn, start=start, num_chains=200, generator=random).p_value < 1e-6
    True
    """
    from scipy.stats import norm

    check_count("n_components", n_components)
    check_range("temperature", temperature, 0, open_low=True)
    for name, value, low in (("num_chains", num_chains, 2), ("num_steps", num_steps, 1),
                             ("burn_in", burn_in, 0)):  # fmt: skip
        check_count(name, value, low)
    s = chain_start(operator, start, num_chains, generator)
    records = record_walk(operator, s, temperature, burn_in, num_steps, step, generator, True)
    before, after = (torch.stack(part)[..., :n_components].numpy()
                     for part in (records.before, records.after))  # fmt: skip
    n = before.shape[-1]
    names = ["heat"]
    values = [records.heat.mean(0)]
    for i in range(n):
        names.append(f"cubic {i}")
        values.append((before[..., i] * after[..., i] * (before - after)[..., i]).mean(0))
        for j in range(i + 1, n):
            names.append(f"area {i} {j}")
            area = before[..., i] * after[..., j] - before[..., j] * after[..., i]
            values.append(area.mean(0))
    pairs = [mean_se(value) for value in values]
    z = np.array([mean / se if se > 0 else 0.0 for mean, se in pairs])
    # The heat has a mean >= 0: only a large one speaks against detailed balance.
    p = 2 * norm.sf(np.abs(z))
    p[0] = norm.sf(z[0])
    return DetailedBalance(
        float(min(1.0, p.min() * len(p))), z, tuple(names), *pairs[0], records.stationary
    )
