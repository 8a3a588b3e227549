"""How far a Jacobian is from normal: what its eigenvalues do not tell."""

from __future__ import annotations

import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite
from tractable.dynamics.eigenbasis import as_batch

__all__ = ["henrici", "transient_gain"]


def henrici(J: Tensor, eigvals: Tensor) -> Tensor:
    r"""Return Henrici's departure from normality, between 0 (normal) and 1 (nilpotent).

    .. math:: \sqrt{\|J\|_F^2 - \textstyle\sum_a |\lambda_a|^2} \; / \; \|J\|_F

    Parameters
    ----------
    J : Tensor, shape (P, N, N)
        Matrices.
    eigvals : Tensor, shape (P, N)
        All their eigenvalues.

    Returns
    -------
    Tensor, shape (P,)
        0 for J = 0.

    References
    ----------
    Henrici 1962, doi:10.1007/BF01386294.

    Examples
    --------
    >>> J = torch.tensor([[[0.0, 3.0], [0.0, 4.0]]])
    >>> henrici(J, torch.linalg.eigvals(J)).tolist()
    [0.6]
    """
    check_finite("J", J)
    total = J.to("cpu", torch.float64).square().sum((1, 2))
    excess = (total - eigvals.abs().square().sum(1)).clamp(min=0)
    return torch.where(total > 0, (excess / total.clamp(min=1e-300)).sqrt(), 0.0)


def transient_gain(J: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    r"""Return how much a perturbation can grow before it decays.

    .. math:: \max_{1 \le k \le T} \|J^k\|_2

    Parameters
    ----------
    J : Tensor, shape (P, N, N) or (N, N)
        Jacobians of a map.
    n_steps : int, >= 1
        T, for instance the median length of the sequences.

    Returns
    -------
    gain : Tensor, shape (P,)
        The maximum; inf where the powers exceed the largest number.
    step : Tensor, shape (P,)
        The first k that reaches it.

    Notes
    -----
    Exact: a spectral norm is computed only where the Frobenius norm exceeds the largest so far.

    References
    ----------
    Trefethen, Trefethen, Reddy, Driscoll 1993, doi:10.1126/science.261.5121.578.

    Examples
    --------
    Stable, both eigenvalues 0.8, yet it amplifies:

    >>> gain, step = transient_gain(torch.tensor([[0.8, 1.0], [0.0, 0.8]]), n_steps=20)
    >>> gain.item(), step.item()
    (2.1269, 4)
    """
    check_count("n_steps", n_steps)
    J = as_batch(J)
    power = J
    gain = J.new_zeros(len(J))
    step = torch.ones(len(J), dtype=torch.int64)
    for k in range(1, n_steps + 1):
        burst = ~power.isfinite().all(2).all(1)  # beyond the largest number
        gain[burst], step[burst], power[burst] = torch.inf, k, 0.0
        open_ = torch.nonzero(torch.linalg.matrix_norm(power) > gain).flatten()
        if len(open_):
            norm = torch.linalg.matrix_norm(power[open_], 2)
            larger = norm > gain[open_] * (1 + 1e-12)
            gain[open_[larger]] = norm[larger]
            step[open_[larger]] = k
        power = J @ power
    return gain, step
