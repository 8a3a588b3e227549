"""Operators on a few bits: every state is visited, every law is a vector."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_shape
from tractable.walkback.operators import TransitionOperator
from tractable.walkback.schedule import Schedule

__all__ = [
    "ExactDecomposition",
    "all_states",
    "exact_decomposition",
    "matrix_decomposition",
    "matrix_entropy_production",
    "matrix_stationary",
    "stationary_distribution",
    "transition_matrix",
]

MAX_BITS = 12


def all_states(n_bits: int) -> np.ndarray:
    """Return all states of n bits in the order of binary numbers, shape (2^n, n).

    Raises
    ------
    ValueError
        More than 12 bits.

    Examples
    --------
    >>> all_states(2)
    array([[0., 0.],
           [0., 1.],
           [1., 0.],
           [1., 1.]])
    """
    check_count("n_bits", n_bits)
    if n_bits > MAX_BITS:
        raise ValueError(
            f"n_bits must be 1 to {MAX_BITS} for exact answers, got {n_bits}: 2^n states are "
            "enumerated. Use method='density'"
        )
    codes = np.arange(2**n_bits)[:, None] >> np.arange(n_bits)[::-1]
    return (codes & 1).astype(np.float64)


def transition_matrix(operator: TransitionOperator, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of all moves of an operator on bits.

    Parameters
    ----------
    operator : TransitionOperator
        Binary, of at most 12 bits.
    temperature : float
        T > 0.

    Returns
    -------
    ndarray, shape (2^n, 2^n)
        Row: from, column: to; rows sum to 1. States as in `all_states`.

    Raises
    ------
    TypeError
        The operator's states are not binary.
    """
    return np.exp(_log_matrix(_exact_copy(operator), temperature))


def _exact_copy(operator: TransitionOperator) -> TransitionOperator:
    if operator.kind != "binary":
        raise TypeError(
            f"a transition matrix needs an operator on bits, got {type(operator).__name__}"
        )
    return copy.deepcopy(operator).double().eval()


@torch.no_grad()
def _log_matrix(operator: TransitionOperator, temperature: float) -> np.ndarray:
    states = torch.from_numpy(all_states(operator.dim)).reshape(-1, *operator.event_shape)
    n = len(states)
    rows = []
    for s in states.split(max(1, 2**20 // (n * operator.dim))):
        here = s.repeat_interleave(n, 0)
        there = states.repeat(len(s), *[1] * (states.ndim - 1))
        rows.append(operator.log_prob(there, here, temperature).reshape(len(s), n))
    return torch.cat(rows).numpy()


def matrix_stationary(P: ArrayLike) -> np.ndarray:
    r"""Return the stationary law of a chain, :math:`\pi (P - I) = 0`, shape (states,).

    Parameters
    ----------
    P : array_like, shape (states, states)
        Rows sum to 1; one recurrent class.

    Examples
    --------
    >>> matrix_stationary([[0.9, 0.1], [0.3, 0.7]])
    array([0.75, 0.25])
    """
    p = np.atleast_2d(as_floats("P", P))
    check_shape("P", p.shape, (len(p), len(p)))
    check_finite("P", p)
    if np.abs(p.sum(1) - 1).max() > 1e-8 or p.min() < 0:
        raise ValueError("P must have rows of probabilities that sum to 1")
    system = p.T - np.eye(len(p))
    system[-1] = 1.0
    right = np.zeros(len(p))
    right[-1] = 1.0
    law = np.clip(np.linalg.solve(system, right), 0.0, None)
    return law / law.sum()


def stationary_distribution(operator: TransitionOperator, temperature: float = 1.0) -> np.ndarray:
    """Return the stationary law of an operator on bits, shape (2^n,), states as `all_states`."""
    return matrix_stationary(transition_matrix(operator, temperature))


def matrix_entropy_production(P: ArrayLike, law: ArrayLike | None = None) -> float:
    r"""Return the entropy production rate of a stationary chain, nats per step.

    .. math:: \dot S = \sum_{ij} \pi_i P_{ij} \log \frac{P_{ij}}{P_{ji}}

    (W26).

    Parameters
    ----------
    P : array_like, shape (states, states)
        Transition matrix, P_ij > 0 wherever P_ji > 0.
    law : array_like, optional
        The stationary law, where it is known.

    Examples
    --------
    >>> ring = 0.2 * np.eye(3) + 0.6 * np.eye(3)[[1, 2, 0]] + 0.2 * np.eye(3)[[2, 0, 1]]
    >>> round(matrix_entropy_production(ring), 9), round(0.4 * np.log(3), 9)
    (0.439444915, np.float64(0.439444915))
    """
    p = np.atleast_2d(as_floats("P", P))
    check_shape("P", p.shape, (len(p), len(p)))
    check_finite("P", p)
    pi = matrix_stationary(p) if law is None else as_floats("law", law)
    if pi.shape != (len(p),):
        raise ValueError(f"law must have a number for each row of P, got {pi.shape} for {p.shape}")
    check_finite("law", pi)
    if bool(((p > 0) & (p.T == 0)).any()):
        return float("inf")
    log = np.log(np.where(p > 0, p, 1.0))
    return float((pi[:, None] * p * (log - log.T)).sum())


@dataclass(frozen=True, eq=False)
class ExactDecomposition:
    """Everything about a chain on few states, in nats, without sampling.

    Attributes
    ----------
    log_prob : ndarray, shape (states,)
        log p of generation.
    bound : ndarray, shape (states,)
        E[log w] of each state.
    entropy : float
        H(data).
    prior_kl : float
        KL(q_L || p*).
    dissipation : ndarray, shape (L,)
        sigma_t of each step.
    data_kl : float
        KL(data || generated).
    marginals : ndarray, shape (L + 1, states)
        q_t of the walk.
    mean_bound : float
        Mean of ``bound`` over the data.
    """

    log_prob: np.ndarray
    bound: np.ndarray
    entropy: float
    prior_kl: float
    dissipation: np.ndarray
    data_kl: float
    marginals: np.ndarray
    mean_bound: float

    @property
    def gap(self) -> float:
        """Mean of log p minus the bound, by the parts."""
        return self.prior_kl + float(self.dissipation.sum()) - self.data_kl

    @property
    def residual(self) -> float:
        """Minus the mean bound less the sum of its parts: 0 up to rounding."""
        return -self.mean_bound - self.entropy - self.prior_kl - float(self.dissipation.sum())


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    used = p > 0
    return float((p[used] * np.log(p[used] / q[used])).sum())


def matrix_decomposition(
    matrices: ArrayLike, data: ArrayLike, prior: ArrayLike
) -> ExactDecomposition:
    r"""Split the mean bound of a chain on few states into its parts.

    .. math:: -E_{data}[\ell] = H(data) + KL(q_L \| p^*) + \sum_t \sigma_t, \qquad
        \sigma_t = KL\big(q_{t-1}(s) p_{T_t}(s'|s) \,\|\, q_t(s') p_{T_t}(s|s')\big)

    (W11).

    Parameters
    ----------
    matrices : array_like, shape (L, states, states)
        Transition matrix of each step, entries > 0; the first step is nearest to the data.
    data, prior : array_like, shape (states,)
        Laws of the data and of the hottest state.

    Returns
    -------
    ExactDecomposition

    Raises
    ------
    ValueError
        ``data`` or ``prior`` is no law.
    """
    p = as_floats("matrices", matrices)
    if p.ndim != 3 or not p.size or p.shape[1] != p.shape[2]:
        raise ValueError(f"matrices must have shape (L, states, states), got {p.shape}")
    check_finite("matrices", p)
    n = p.shape[-1]
    q, end = as_floats("data", data), as_floats("prior", prior)
    for name, law in (("data", q), ("prior", end)):
        check_shape(name, law.shape, (n,))
        check_finite(name, law)
        if law.min() < 0 or abs(law.sum() - 1) > 1e-8:
            raise ValueError(f"{name} must be probabilities that sum to 1, got {law.sum():.9g}")
    generated = end
    for step in p[::-1]:
        generated = generated @ step
    # The bound by backward recursion: value(s) = E over the walk that is left.
    value = np.log(end)
    for step in p[::-1]:
        log = np.log(step)
        value = (step * (log.T - log + value[None, :])).sum(1)
    marginals, lost = [q], []
    for step in p:
        before, after = marginals[-1], marginals[-1] @ step
        forth, back = before[:, None] * step, after[None, :] * step.T
        lost.append(_kl(forth.ravel(), back.ravel()))
        marginals.append(after)
    used = q > 0
    return ExactDecomposition(
        log_prob=np.log(generated),
        bound=value,
        entropy=-float((q[used] * np.log(q[used])).sum()),
        prior_kl=_kl(marginals[-1], end),
        dissipation=np.array(lost),
        data_kl=_kl(q, generated),
        marginals=np.array(marginals),
        mean_bound=float(q @ value),
    )


def exact_decomposition(
    operator: TransitionOperator, data: ArrayLike, *, schedule: Schedule, prior: Any
) -> ExactDecomposition:
    """Return exact likelihood, bound and dissipation of an operator on at most 12 bits (W11).

    Parameters
    ----------
    operator : TransitionOperator
        On bits.
    data : array_like, shape (2^n,)
        Law of the data, states as in `all_states`.
    schedule : Schedule
        Temperatures.
    prior : BernoulliPrior
        Of the hottest state.
    """
    exact = _exact_copy(operator)
    states = torch.from_numpy(all_states(exact.dim)).reshape(-1, *exact.event_shape)
    temperatures = schedule.temperatures.tolist()
    known = {t: np.exp(_log_matrix(exact, t)) for t in set(temperatures)}
    steps = [known[t] for t in temperatures]
    end = np.exp(prior.log_prob(states).double().numpy())
    return matrix_decomposition(np.array(steps), data, end / end.sum())
