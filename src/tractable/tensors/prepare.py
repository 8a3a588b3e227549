"""Preparation of a user's array: centering and scaling, and the way back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tractable.core.checks import TractableWarning, as_floats, check_choice, check_shape
from tractable.tensors.observations import unmasked

__all__ = ["Prepared", "prepare"]

PER_NEURON = "per-neuron noise"
ROUNDING = 1e-12  # of the square of a slice: what is left of one without noise
N_FILLS = 20  # rank-1 fits by which missing entries are filled in


@dataclass(frozen=True, eq=False)
class Prepared:
    """An array ready to be decomposed, with what was subtracted and divided by."""

    Y: np.ndarray
    """The prepared array."""
    offset: np.ndarray
    """What was subtracted, broadcastable to the array."""
    scale: np.ndarray
    """What the rest was divided by, broadcastable to the array."""

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return an array (or a reconstruction) in the units of the original one."""
        check_shape("values", values.shape, self.Y.shape)
        return as_floats("values", values) * self.scale + self.offset


def prepare(
    Y: Any,
    *,
    center: int | Sequence[int] | None = None,
    scale: int | str | None = None,
    nonneg: bool = False,
) -> Prepared:
    """Center, scale, or clip an array before it is decomposed; by default nothing is done.

    Parameters
    ----------
    Y : array_like, shape (N_1, .., N_p)
        NaN is missing and stays so.
    center : int or sequence of int, optional
        Modes along which the mean is removed: ``center=1`` of neurons x time x trials subtracts
        the mean over time of every neuron and trial. The mean of factors is what makes a weak
        signal easy to find, so this is seldom wise.
    scale : int or "per-neuron noise", optional
        Mode whose slices are divided by their noise: the standard deviation of what is left when
        the best rank-1 fit of the slice's other modes is removed. ``"per-neuron noise"`` is mode 0,
        that of the neurons of neurons x time x trials.
    nonneg : bool
        Set negative entries to 0.

    Returns
    -------
    Prepared
        ``Y``, and ``inverse`` for the way back.

    Examples
    --------
    >>> prepared = prepare(np.arange(8.0).reshape(2, 2, 2), scale=0)
    >>> np.allclose(prepared.inverse(prepared.Y), np.arange(8.0).reshape(2, 2, 2))
    True
    """
    array = unmasked(Y.detach().cpu() if hasattr(Y, "detach") else Y)
    if array.dtype not in (np.float32, np.float64):
        array = as_floats("Y", array)
    if not array.size:
        raise ValueError(f"Y must not be empty, got shape {array.shape}")
    if array.ndim < 2:
        raise ValueError(f"Y must have at least 2 modes, got shape {array.shape}")
    if np.isinf(array).any():
        raise ValueError(f"Y must not hold infinity, got {int(np.isinf(array).sum())} entries")
    array = array.copy()
    if nonneg:
        array[array < 0] = 0
    offset = np.zeros([1] * array.ndim)
    modes = () if center is None else (center,) if isinstance(center, int) else tuple(center)
    for mode in modes:
        check_choice("center", mode, range(array.ndim))
        warnings.warn(
            f"mode {mode} is centered: its factors have no mean any more, and a weak signal is "
            "harder to find",
            TractableWarning,
            2,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nan_to_num(np.nanmean(array, mode, keepdims=True))
        array -= mean
        offset = offset + mean
    size = np.ones([1] * array.ndim)
    if scale is not None:
        check_choice("scale", scale, (PER_NEURON, *range(array.ndim)))
        scale = 0 if isinstance(scale, str) else scale
        size = _slice_noise(array, scale)
        array /= size
    return Prepared(array, offset, size)


def _slice_noise(array: np.ndarray, mode: int) -> np.ndarray:
    """Return the noise of each slice of a mode, broadcastable to the array."""
    slices = np.moveaxis(array, mode, 0)
    found, still = np.ones(len(slices)), []
    for i, part in enumerate(slices):
        rest, free = _beyond_rank_one(part.reshape(len(part), -1).astype(float))
        if rest > 0:
            found[i] = np.sqrt(rest / free)
        else:
            still.append(i)
    if still:
        warnings.warn(
            f"{len(still)} slices of mode {mode} have no noise (constant, or of rank 1), first "
            f"{still[:5]}; they are left as they are: remove them if they are dead channels",
            TractableWarning,
            3,
        )
    shape = [1] * array.ndim
    shape[mode] = -1
    return found.reshape(shape)


def _beyond_rank_one(matrix: np.ndarray) -> tuple[float, int]:
    """Return the sum of squares that the best rank-1 fit leaves, and its degrees of freedom.

    Missing entries are filled in by the fit itself; rounding counts as nothing.
    """
    present = np.isfinite(matrix)
    filled = np.where(present, matrix, 0.0)
    total, n_fills = float((filled**2).sum()), 1 if present.all() else N_FILLS
    for _ in range(n_fills):
        u, s, v = np.linalg.svd(filled, full_matrices=False)
        filled = np.where(present, filled, s[0] * u[:, :1] * v[:1])
    residual = np.where(present, filled - s[0] * u[:, :1] * v[:1], 0.0)
    rest = float((residual**2).sum())
    seen = int(present.any(0).sum()) + int(present.any(1).sum())
    return (rest if rest > ROUNDING * total else 0.0), max(int(present.sum()) - seen, 1)
