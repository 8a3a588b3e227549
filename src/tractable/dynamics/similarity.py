"""How alike the states of two networks are, whatever their units are called."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import as_floats, check_finite, check_range

__all__ = ["linear_cka", "svcca"]


def linear_cka(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> float:
    r"""Return the linear centered kernel alignment of two sets of states, in [0, 1].

    .. math:: \mathrm{CKA}(X, Y) = \frac{\|X^T Y\|_F^2}{\|X^T X\|_F\, \|Y^T Y\|_F}

    with the columns of X and Y centered. Equation (D31). Invariant under rotations and a common
    scale of the states.

    Parameters
    ----------
    one, other : array, shapes (S, N) and (S, M)
        States of two networks at the same S moments; S >= 2.

    Returns
    -------
    float
        1 where one is a rotated, scaled copy of the other; NaN where either does not vary.

    Raises
    ------
    ValueError
        Different numbers of states, or NaN.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019, arXiv:1905.00414, section 3.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    >>> round(linear_cka(X, 2 * X @ rotation), 12)
    1.0
    """
    X, Y = _centered(one, other)
    # with fewer moments than units the Gram matrices (S, S) are the smaller ones
    if len(X) < min(X.shape[1], Y.shape[1]):
        G, H = X @ X.T, Y @ Y.T
        cross, first, second = (G * H).sum(), (G * G).sum(), (H * H).sum()
    else:
        cross = np.square(X.T @ Y).sum()
        first, second = np.square(X.T @ X).sum(), np.square(Y.T @ Y).sum()
    size = np.sqrt(first * second)
    return float(cross / size) if size > 0 else float("nan")


def svcca(
    one: Tensor | np.ndarray, other: Tensor | np.ndarray, *, share: float = 0.99
) -> np.ndarray:
    r"""Return the canonical correlations of the leading components of two sets of states.

    The components that hold ``share`` of each variance are kept; their canonical correlations are
    the singular values of :math:`U_X^T U_Y`. Their mean, (D32), is SVCCA's similarity.

    Parameters
    ----------
    one, other : array, shapes (S, N) and (S, M)
        States of two networks at the same S moments.
    share : float in (0, 1]
        Of the variance, kept.

    Returns
    -------
    ndarray
        Correlations, falling, as many as the smaller number of components; empty where either
        does not vary.

    References
    ----------
    Raghu, Gilmer, Yosinski, Sohl-Dickstein 2017, arXiv:1706.05806; for recurrent networks
    Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1907.08549.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> svcca(X, X @ np.diag([1.0, 2.0, 3.0]), share=1.0).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    check_range("share", share, 0.0, 1.0, open_low=True)
    bases = []
    for states in _centered(one, other):
        u, s, _ = np.linalg.svd(states, full_matrices=False)
        power = np.square(s)
        if power.sum() == 0:
            return np.zeros(0)
        cumulated = np.cumsum(power) / power.sum()
        kept = min(int(np.searchsorted(cumulated, share - 1e-12)) + 1, len(s))
        bases.append(u[:, :kept])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).clip(0.0, 1.0)


def _centered(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> list[np.ndarray]:
    parts = []
    for name, value in (("one", one), ("other", other)):
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        array = as_floats(name, array)
        if array.ndim != 2 or len(array) < 2:
            raise ValueError(
                f"{name} must have shape (S, N) with two states or more, got {array.shape}"
            )
        check_finite(name, array)
        parts.append(array - array.mean(0))
    if len(parts[0]) != len(parts[1]):
        raise ValueError(
            f"one and other must be states at the same moments, got {len(parts[0])} and "
            f"{len(parts[1])}"
        )
    return parts
