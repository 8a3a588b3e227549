"""Layers of a network that has no time of its own, laid out over the bins of a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count
from tractable.vision.convrnn.neural_fit import neural_fit
from tractable.vision.convrnn.recordings import as_recordings

__all__ = ["layer_preference", "layers_to_bins"]


def layers_to_bins(
    layers: Sequence[ArrayLike], n_bins: int, shares: ArrayLike | None = None
) -> list[np.ndarray]:
    """Give a feedforward network a time course: its layers one after another, low ones first.

    Parameters
    ----------
    layers : sequence of array_like, shapes (I, ...)
        From low to high.
    n_bins : int
        Time bins.
    shares : array_like, shape (layers,), optional
        Graded: each layer has bins in proportion to its share, such as the share of neurons that
        prefer it (`layer_preference`); a layer may have none. Default: uniform, equally many.

    Returns
    -------
    list of ndarray, shapes (I, p_b)
        What `neural_fit` and `object_solution_times` take as features.

    Notes
    -----
    The publication names both mappings (figure 3 of Nayebi et al. 2022,
    doi:10.1162/neco_a_01506), not their formulas: this is a reading of them.

    Examples
    --------
    >>> layers = [np.zeros((5, 2)), np.ones((5, 3))]
    >>> [b.shape[1] for b in layers_to_bins(layers, 4)]
    [2, 2, 3, 3]
    >>> [b.shape[1] for b in layers_to_bins(layers, 4, shares=[1, 3])]
    [2, 3, 3, 3]
    """
    check_count("n_bins", n_bins)
    flat = [as_floats("layers", layer) for layer in layers]
    if not flat or any(layer.ndim < 2 for layer in flat) or len({len(x) for x in flat}) > 1:
        raise ValueError("layers must hold the same images, (images, ...), and be one at least")
    flat = [layer.reshape(len(layer), -1) for layer in flat]
    weights = np.ones(len(flat)) if shares is None else as_floats("shares", shares)
    if weights.shape != (len(flat),) or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(f"shares must be {len(flat)} numbers >= 0, got {shares!r}")
    if weights.sum() <= 0 or (shares is None and n_bins < len(flat)):
        raise ValueError(f"n_bins must be at least the number of layers, {len(flat)}, got {n_bins}")
    ends = np.cumsum(weights) / weights.sum()
    middles = (np.arange(n_bins) + 0.5) / n_bins
    return [flat[int(at)] for at in np.searchsorted(ends, middles - 1e-12)]


def layer_preference(layers: Sequence[ArrayLike], responses: Any, **how: Any) -> np.ndarray:
    """Return the share of neurons that each layer predicts best, on responses averaged over time.

    Parameters
    ----------
    layers : sequence of array_like, shapes (I, ...)
        Features of the layers for the same images.
    responses : array_like, shape (I, R, N, B), or Recordings
        As in `neural_fit`.
    **how
        ``method``, ``splits``, ``seed`` and others of `neural_fit`.

    Returns
    -------
    ndarray, shape (layers,)
        Sums to 1.
    """
    averaged = as_recordings(responses).over_time()
    scores = []
    for layer in layers:
        values = as_floats("layers", layer)
        fit = neural_fit(
            values.reshape(len(values), -1), averaged, **{"progress": False, **how, "correct": None}
        )
        scores.append(fit.score[:, 0].mean(-1))
    if not scores:
        raise ValueError("layers must be one at least")
    best = np.argmax(scores, 0)
    return np.bincount(best, minlength=len(scores)) / len(best)
