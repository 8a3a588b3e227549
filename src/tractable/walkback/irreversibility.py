"""How far a chain is from equilibrium: the rate of entropy production and the circulation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_choice, check_count, check_range
from tractable.walkback.chain_records import chain_start, mean_area, mean_se, record_walk
from tractable.walkback.entropy_estimators import Current, counted_rate, current_bound
from tractable.walkback.enumeration import (
    MAX_BITS,
    matrix_entropy_production,
    transition_matrix,
)
from tractable.walkback.linear_operator import LinearGaussianOperator
from tractable.walkback.linear_theory import area_rate
from tractable.walkback.operators import TransitionOperator

__all__ = ["EntropyProduction", "StationarityWarning", "entropy_production"]

METHODS = ("auto", "density", "exact", "counts", "tur")


class StationarityWarning(TractableWarning):
    """The chains still drift: the rate is not that of the stationary law."""


@dataclass(frozen=True, eq=False)
class EntropyProduction:
    """A rate of entropy production and how sure it is.

    Attributes
    ----------
    rate, se : float
        Nats per step, and its standard error over chains; 0 for exact values. With ``counts`` the
        bias-corrected rate, with ``tur`` a lower bound.
    per_chain : ndarray, shape (num_chains,)
        Mean of each chain; empty for ``exact``, ``counts`` and ``tur``.
    method : str
        The one used.
    stationary : bool
        First and last third of the steps agree within 4 standard errors.
    area_rate, area_rate_se : ndarray, shape (n, n), or None
        Circulation (W16), squared units per step; None beyond 64 dimensions.
    raw : float
        The rate before the correction of its bias.
    """

    rate: float
    se: float
    per_chain: np.ndarray
    method: str
    stationary: bool
    area_rate: np.ndarray | None
    area_rate_se: np.ndarray | None
    raw: float


def entropy_production(
    operator: TransitionOperator,
    *,
    temperature: float = 1.0,
    start: Any = None,
    burn_in: int = 100,
    num_steps: int = 100,
    num_chains: int = 1000,
    method: Literal["auto", "density", "exact", "counts", "tur"] = "auto",
    step: int = 0,
    projection: Tensor | None = None,
    bins: int = 12,
    pseudo_count: float = 0.0,
    current: Current | None = None,
    generator: torch.Generator | None = None,
) -> EntropyProduction:
    r"""Return the entropy production rate of the stationary chain at a temperature.

    .. math:: \dot S = E_{s \sim \pi,\, s' \sim p(\cdot|s)}
        \left[ \log p(s'|s) - \log p(s|s') \right] \ge 0

    (W25), nats per step: 0 if and only if the chain obeys detailed balance. Single terms are often
    negative.

    Parameters
    ----------
    operator : TransitionOperator
        In evaluation mode.
    temperature : float
        T > 0.
    start : Tensor or prior, optional
        States to start from, ``(m, *event)``, drawn with replacement where m differs from
        ``num_chains``, or a prior. Needed unless the answer is exact.
    burn_in, num_steps, num_chains : int
        Steps before and during the measurement; chains side by side. Errors come from the spread
        over chains, never from correlated steps.
    method : str
        ``density``: the mean of (W25). ``exact``: a linear Gaussian operator (W14), or bits, at
        most 12 (W26). ``counts``: moves between the cells of a grid in one or two projections
        (W27), needs no density; a lower bound but for its bias, which is corrected. ``tur``: a
        lower bound from any antisymmetric current (W28). ``auto``: exact where it is, else density.
    step : int
        Index of the step, for operators that normalize by it.
    projection : Tensor, optional
        Matrix (dim, 1 or 2) for ``counts``; default the first two coordinates.
    bins : int
        Cells along each projection, at equal quantiles.
    pseudo_count : float
        Added to each occupied pair of cells; 0 leaves out pairs that were seen one way only.
    current : callable, optional
        J(s, s') = -J(s', s), (B,), for ``tur``. Default: the combination of areas
        s_i s'_j - s_j s'_i that is best on one half of the chains, evaluated on the other.
    generator : torch.Generator, optional
        Decides the chains.

    Returns
    -------
    EntropyProduction

    Raises
    ------
    ValueError
        ``exact`` for an operator that has no exact answer.

    Warns
    -----
    StationarityWarning
        The chains drift.

    References
    ----------
    Seifert 2012, doi:10.1088/0034-4885/75/12/126001; Proesmans, Van den Broeck 2017,
    doi:10.1209/0295-5075/119/20001.

    Examples
    --------
    >>> turn = LinearGaussianOperator([[0.7, -0.3], [0.3, 0.7]])
    >>> found = entropy_production(turn)
    >>> found.method, round(found.rate, 6)
    ('exact', 0.857143)
    """
    check_choice("method", method, METHODS)
    check_range("temperature", temperature, 0, open_low=True)
    if method in ("auto", "exact"):
        solved = _exact(operator, temperature)
        if solved is not None:
            return solved
        if method == "exact":
            raise ValueError(
                "method='exact' needs a LinearGaussianOperator or an operator on at most "
                f"{MAX_BITS} bits, got {type(operator).__name__} of dimension {operator.dim}"
            )
    for name, value, low in (("burn_in", burn_in, 0), ("num_steps", num_steps, 1),
                             ("num_chains", num_chains, 2), ("bins", bins, 2)):  # fmt: skip
        check_count(name, value, low)
    check_range("pseudo_count", pseudo_count, 0)
    s = chain_start(operator, start, num_chains, generator)
    keep = method in ("counts", "tur")
    records = record_walk(operator, s, temperature, burn_in, num_steps, step, generator, keep)
    stationary = records.stationary
    if not stationary:
        warnings.warn(
            f"the chains still drift after {burn_in} steps of burn-in: the rate is not that of the "
            "stationary law. Raise burn_in, or start from states of the chain",
            StationarityWarning,
            stacklevel=2,
        )
    per_chain = np.empty(0)
    if method == "counts":
        rate, raw, se = counted_rate(records, projection, bins, pseudo_count)
    elif method == "tur":
        rate, se = current_bound(records, current)
        raw = rate
    else:
        per_chain = records.heat.mean(0)
        rate, se = mean_se(per_chain)
        raw = rate
    area, area_se = mean_area(records)
    return EntropyProduction(
        rate, se, per_chain, "density" if method == "auto" else method, stationary, area, area_se,
        raw,
    )  # fmt: skip


def _exact(operator: TransitionOperator, temperature: float) -> EntropyProduction | None:
    none = np.empty(0)
    if isinstance(operator, LinearGaussianOperator):
        heat = temperature**operator.temperature_power
        turn = area_rate(operator.A, operator.D, heat)
        rate = operator.entropy_production()
        return EntropyProduction(rate, 0.0, none, "exact", True, turn, np.zeros_like(turn), rate)
    if operator.kind == "binary" and operator.dim <= MAX_BITS:
        rate = matrix_entropy_production(transition_matrix(operator, temperature))
        return EntropyProduction(rate, 0.0, none, "exact", True, None, None, rate)
    return None
