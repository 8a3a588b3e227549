"""Overlap of directions in N dimensions, and what chance makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count

__all__ = ["NullOverlap", "chance", "cosine", "null_overlap", "plane_overlap"]

LEVELS = (0.5, 0.9, 0.95, 0.99)


class NullOverlap(NamedTuple):
    """Distribution of ``|cos|`` between two random directions."""

    mean: float
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]


def null_overlap(
    n_state: int, *, n_plane: int = 1, levels: Sequence[float] = LEVELS
) -> NullOverlap:
    r"""Return how much two random directions overlap in N dimensions.

    .. math:: \cos^2 \sim \mathrm{Beta}\big(\tfrac{d}{2}, \tfrac{N-d}{2}\big), \qquad
              E|\cos| = \frac{\Gamma(N/2) \, \Gamma((d+1)/2)}{\Gamma((N+1)/2) \, \Gamma(d/2)}
              \approx \sqrt{\frac{2}{\pi N}} \;\; (d = 1)

    Parameters
    ----------
    n_state : int, >= 1
        N.
    n_plane : int, >= 1
        d: 1 for a vector against a line, 2 for a vector against the plane of a complex mode.
    levels : sequence of float, in (0, 1)
        Quantiles wanted.

    Returns
    -------
    NullOverlap
        Mean and quantiles of ``|cos|``.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 4.

    Examples
    --------
    >>> null = null_overlap(256)
    >>> round(null.mean, 4), round(null.quantiles[-1], 3)
    (0.0499, 0.16)
    """
    from scipy.stats import beta

    check_count("n_state", n_state)
    check_count("n_plane", n_plane)
    if n_plane >= n_state:
        return NullOverlap(1.0, tuple(levels), (1.0,) * len(levels))
    log_mean = (
        math.lgamma(n_state / 2)
        - math.lgamma((n_state + 1) / 2)
        + math.lgamma((n_plane + 1) / 2)
        - math.lgamma(n_plane / 2)
    )
    squares = beta.ppf(list(levels), n_plane / 2, (n_state - n_plane) / 2)
    return NullOverlap(math.exp(log_mean), tuple(levels), tuple(np.sqrt(squares).tolist()))


def plane_overlap(direction: Tensor, r: Tensor, oscillating: Tensor) -> np.ndarray:
    """Return the overlap of unit directions (P, N) with r, or with the plane of a complex r."""
    first = r.real / r.real.norm(dim=1, keepdim=True).clamp(min=1e-300)
    second = r.imag - (r.imag * first).sum(1, keepdim=True) * first
    second = second / second.norm(dim=1, keepdim=True).clamp(min=1e-300)
    along = (direction * first).sum(1)
    across = (direction * second).sum(1) * oscillating
    overlap = torch.hypot(along, across).clamp(max=1.0)
    nowhere = direction.abs().sum(1) == 0
    return torch.where(nowhere, math.nan, overlap).numpy()


def chance(overlap: np.ndarray, n: int, plane: np.ndarray) -> np.ndarray:
    """Return the probability that a random direction overlaps at least as much."""
    from scipy.stats import beta

    d = np.where(plane, 2.0, 1.0)
    probability = beta.sf(overlap**2, d / 2, np.maximum(n - d, 1e-9) / 2)
    return np.where(np.isnan(overlap), np.nan, np.where(d >= n, 1.0, probability))


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the absolute cosine; NaN for a zero vector."""
    size = float(a.norm() * b.norm())
    return min(1.0, float((a @ b).abs()) / size) if size > 0 else math.nan
