"""The free entropy, whose maxima are the fixed points of state evolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_finite, check_range
from tractable.tensors.channel import expected_log_z
from tractable.tensors.evolution import _field
from tractable.tensors.model import aspect_ratios
from tractable.tensors.priors import Prior, as_priors

__all__ = ["free_entropy"]


def free_entropy(
    M: ArrayLike,
    shape: Sequence[float],
    priors: Prior | str | Sequence[Prior | str],
    noise: float,
    *,
    n_samples: int = 20_000,
) -> float:
    r"""Return the free entropy per N at overlaps M, (T20).

    .. math:: \phi = \sum_a n_a \mathrm{E} \log Z_a(\hat A_a(M))
              - \frac{p - 1}{2 \Delta} \sum_{kl} \prod_a n_a M_{a,kl}

    Its stationary points are the fixed points of state evolution; of two of them the larger one is
    the Bayes optimum.

    Parameters
    ----------
    M : array
        Overlaps, (p,) at rank 1, or (p, r, r); symmetric.
    shape : sequence of float
        Sizes or aspect ratios.
    priors : Prior, str, or one for each mode
    noise : float
        Delta > 0, model units.
    n_samples : int
        Common random numbers for priors that are not Gaussian, at rank > 1.

    Raises
    ------
    ValueError
        For overlaps of another shape, or noise <= 0.

    References
    ----------
    Lesieur, Miolane, Lelarge, Krzakala, Zdeborova 2017, arXiv:1701.08010.

    Examples
    --------
    >>> round(free_entropy([0.6, 0.6, 0.6], (1, 1, 1), "gaussian(0.0)", 0.2), 6)
    0.075571
    """
    aspect = aspect_ratios(shape)
    order = len(aspect)
    overlaps = np.asarray(M, float)
    check_finite("M", overlaps)
    check_finite("noise", noise)
    check_range("noise", noise, 0, open_low=True)
    if overlaps.shape == (order,):
        overlaps = overlaps[:, None, None]
    if overlaps.ndim != 3 or overlaps.shape[0] != order or overlaps.shape[1] != overlaps.shape[2]:
        raise ValueError(
            f"M must have shape ({order},) or ({order}, r, r), got {np.asarray(M).shape}"
        )
    total = 0.0
    for a, prior in enumerate(as_priors(priors, order)):
        A = _field(overlaps, aspect, a, noise)
        total += aspect[a] * expected_log_z(prior, (A + A.T) / 2, n_samples=n_samples)
    product = np.prod(aspect[:, None, None] * overlaps, axis=0).sum()
    return float(total - (order - 1) * product / (2 * noise))
