"""How far a chain is from equilibrium: entropy production, circulation, a test of balance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import (
    TractableWarning,
    check_choice,
    check_count,
    check_range,
    check_shape,
)
from tractable.walkback.enumeration import (
    MAX_BITS,
    matrix_entropy_production,
    transition_matrix,
)
from tractable.walkback.linear_operator import LinearGaussianOperator
from tractable.walkback.linear_theory import area_rate
from tractable.walkback.operators import TransitionOperator
from tractable.walkback.paths import device_of

__all__ = [
    "DetailedBalance",
    "EntropyProduction",
    "StationarityWarning",
    "detailed_balance_test",
    "entropy_production",
]

METHODS = ("auto", "density", "exact", "counts", "tur")
MAX_AREA_DIM = 64  # beyond it the circulation is not kept
DRIFT_SIGMAS = 4.0
N_GROUPS = 20  # of chains, for jackknife errors
Current = Callable[[Tensor, Tensor], Tensor]


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


@dataclass(frozen=True, eq=False)
class _Records:
    """Sums over the steps of each chain."""

    heat: np.ndarray  # (steps, chains): log p forth - log p back
    probes: np.ndarray  # (steps, probes, chains)
    area: Tensor | None  # (chains, n, n)
    before: list[Tensor]
    after: list[Tensor]

    @property
    def stationary(self) -> bool:
        third = len(self.heat) // 3
        if not third:
            return True
        series = np.concatenate([self.heat[:, None], self.probes], 1)
        change = series[-third:].mean(0) - series[:third].mean(0)
        error = change.std(1, ddof=1) / math.sqrt(change.shape[1])
        return bool((np.abs(change.mean(1)) <= DRIFT_SIGMAS * error + 1e-12).all())


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
    s = _start(operator, start, num_chains, generator)
    keep = method in ("counts", "tur")
    records = _walk(operator, s, temperature, burn_in, num_steps, step, generator, keep)
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
        rate, raw, se = _counts(records, projection, bins, pseudo_count)
    elif method == "tur":
        rate, se = _tur(records, current)
        raw = rate
    else:
        per_chain = records.heat.mean(0)
        rate, se = _mean_se(per_chain)
        raw = rate
    area, area_se = _area(records)
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


def _start(
    operator: TransitionOperator, start: Any, n: int, generator: torch.Generator | None
) -> Tensor:
    if start is None:
        raise ValueError(
            "start must be states or a prior to begin the chains from, got None: pass generated "
            "states, data, or the prior of the fit"
        )
    if not isinstance(start, Tensor):
        if not hasattr(start, "sample"):
            raise TypeError(f"start must be a tensor or a prior, got {type(start).__name__}")
        return start.sample(n, generator=generator)
    operator.check_state(start, "start")
    start = start.to(device_of(operator))
    if len(start) == n:
        return start
    on = "cpu" if generator is None else generator.device
    rows = torch.randint(len(start), (n,), generator=generator, device=on).to(start.device)
    return start[rows]


@torch.no_grad()
def _walk(
    operator: TransitionOperator, s: Tensor, temperature: float, burn_in: int, num_steps: int,
    step: int, generator: torch.Generator | None, keep: bool,
) -> _Records:  # fmt: skip
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
            before.append(old)
            after.append(new)
        s = there
    if area is not None:
        area /= num_steps
    found = torch.stack(heat).numpy()
    if not np.isfinite(found).all():
        raise FloatingPointError(
            f"densities are not finite at T = {temperature:g}: the chains run away"
        )
    return _Records(found, torch.stack(probes).numpy(), area, before, after)


def _mean_se(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _area(records: _Records) -> tuple[np.ndarray | None, np.ndarray | None]:
    if records.area is None:
        return None, None
    error = records.area.std(0) / math.sqrt(len(records.area))
    return records.area.mean(0).cpu().numpy(), error.cpu().numpy()


def _jackknife(value: Callable[[np.ndarray], float], n_chains: int) -> float:
    """Return the standard error of a statistic by leaving out groups of chains."""
    groups = np.arange(n_chains) % min(N_GROUPS, n_chains)
    left = np.array([value(groups != g) for g in range(groups.max() + 1)])
    k = len(left)
    return float(math.sqrt((k - 1) / k * ((left - left.mean()) ** 2).sum()))


# --- without a density ---------------------------------------------------------------------------


def _counts(
    records: _Records, projection: Tensor | None, bins: int, pseudo: float
) -> tuple[float, float, float]:
    r"""Return the corrected and the raw rate from counted moves between cells, and its error.

    Under detailed balance each of the n moves between two cells goes either way with probability
    1/2: the mean of what such a pair adds is known exactly, and is taken off.
    """
    before, after = torch.stack(records.before), torch.stack(records.after)  # (steps, chains, n)
    n = before.shape[-1]
    if projection is None:
        turn = torch.eye(n, min(n, 2), dtype=before.dtype)
    else:
        turn = torch.as_tensor(projection).to(before)
        if turn.ndim != 2 or turn.shape[0] != n or turn.shape[1] not in (1, 2):
            raise ValueError(
                f"projection must have shape ({n}, 1) or ({n}, 2), got {tuple(turn.shape)}"
            )
    cells = []
    edges = [np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1])
             for x in (before @ turn).reshape(-1, turn.shape[1]).T.numpy()]  # fmt: skip
    for states in (before, after):
        flat = (states @ turn).numpy()
        index = np.zeros(flat.shape[:2], dtype=np.int64)
        for k, cut in enumerate(edges):
            index = index * bins + np.searchsorted(cut, flat[..., k])
        cells.append(index)
    n_cells = bins ** turn.shape[1]

    def rates(chains: np.ndarray) -> tuple[float, float]:
        codes = (cells[0] * n_cells + cells[1])[:, chains].ravel()
        counts = np.bincount(codes, minlength=n_cells**2).reshape(n_cells, n_cells).astype(float)
        total = counts.sum()
        forth, back = counts, counts.T
        seen = (forth + back > 0) & ~np.eye(n_cells, dtype=bool)
        seen &= (forth > 0) & (back > 0) if pseudo == 0 else True
        ratio = np.log((forth[seen] + pseudo) / (back[seen] + pseudo))
        raw = float((forth[seen] / total * ratio).sum())
        moves = (forth + back)[seen].astype(np.int64)
        return raw - float(chance[moves].sum()) / 2 / total, raw  # each pair is there twice

    chance = _chance(cells[0].size, pseudo)
    every = np.ones(before.shape[1], dtype=bool)
    corrected, raw = rates(every)
    return corrected, raw, _jackknife(lambda chains: rates(chains)[0], before.shape[1])


def _chance(most: int, pseudo: float) -> np.ndarray:
    """Return E[(2 k - n) log(k / (n - k))] for k heads of n fair coins, n = 0 ... most."""
    from scipy.stats import binom

    exact = min(most, 300)
    out = np.full(most + 1, 2.0)
    for n in range(exact + 1):
        k = np.arange(n + 1) if pseudo else np.arange(1, n)
        ratio = np.log((k + pseudo) / (n - k + pseudo))
        out[n] = float((binom.pmf(k, n, 0.5) * (2 * k - n) * ratio).sum())
    return out


def _tur(records: _Records, current: Current | None) -> tuple[float, float]:
    r"""Return the lower bound log(1 + 2 <J>^2 / Var J) and its error."""
    before, after = torch.stack(records.before), torch.stack(records.after)
    steps, chains, n = before.shape
    if current is not None:
        j = current(before.flatten(0, 1), after.flatten(0, 1))
        check_shape("current(s, s')", j.shape, (steps * chains,))
        back = current(after.flatten(0, 1)[:100], before.flatten(0, 1)[:100])
        if not torch.allclose(back, -j[:100], atol=1e-6 * float(j.abs().max() + 1e-12)):
            raise ValueError("current must be antisymmetric: J(s, s') = -J(s', s)")
        values = j.reshape(steps, chains).double().numpy()
    else:
        if n < 2:
            raise ValueError("method='tur' needs a current for states of one dimension")
        first, second = torch.triu_indices(min(n, 8), min(n, 8), 1)
        areas = (before[..., first] * after[..., second]
                 - before[..., second] * after[..., first]).numpy()  # fmt: skip
        half = chains // 2
        learn = areas[:, :half].reshape(-1, areas.shape[-1])
        cov = np.atleast_2d(np.cov(learn.T))
        weights = np.linalg.solve(cov + 1e-9 * np.trace(cov) * np.eye(len(cov)), learn.mean(0))
        values = areas[:, half:] @ weights

    def bound(kept: np.ndarray) -> float:
        part = values[:, kept]
        return math.log1p(2 * part.mean() ** 2 / max(part.var(), 1e-300))

    n_chains = values.shape[1]
    return bound(np.ones(n_chains, dtype=bool)), _jackknife(bound, n_chains)


# --- a test --------------------------------------------------------------------------------------


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
    s = _start(operator, start, num_chains, generator)
    records = _walk(operator, s, temperature, burn_in, num_steps, step, generator, True)
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
    pairs = [_mean_se(value) for value in values]
    z = np.array([mean / se if se > 0 else 0.0 for mean, se in pairs])
    # The heat has a mean >= 0: only a large one speaks against detailed balance.
    p = 2 * norm.sf(np.abs(z))
    p[0] = norm.sf(z[0])
    return DetailedBalance(
        float(min(1.0, p.min() * len(p))), z, tuple(names), *pairs[0], records.stationary
    )
