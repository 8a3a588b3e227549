"""Weighted factors: their normal form, the tensor that they make, and exchange with others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CP", "as_cp", "cp_tensor", "normalized"]


class CP(NamedTuple):
    """Weights (r,) and factors (N_a, r) of a sum of outer products, as TensorLy's ``CPTensor``."""

    weights: np.ndarray
    factors: list[np.ndarray]


class Rescaling(NamedTuple):
    """How components were moved: their new order, and what each column was multiplied by."""

    order: np.ndarray
    factors: list[np.ndarray]


def as_cp(value: Any) -> CP:
    """Return weights and factors of a result, a ``CPTensor``, a pair, or a sequence of matrices."""
    if hasattr(value, "weights") and hasattr(value, "factors"):
        weights, factors = value.weights, value.factors
    elif isinstance(value, tuple) and len(value) == 2 and not hasattr(value[1], "ndim"):
        weights, factors = value
    else:
        weights, factors = None, value
    arrays = [_array(x) for x in factors]
    if not arrays or any(x.ndim != 2 for x in arrays):
        raise ValueError(
            f"factors must be matrices (N_a, r), got shapes {[x.shape for x in arrays]}"
        )
    ranks = {x.shape[1] for x in arrays}
    if len(ranks) > 1:
        raise ValueError(f"factors must have one number of columns, got {sorted(ranks)}")
    own = np.ones(arrays[0].shape[1]) if weights is None else _array(weights)
    return CP(own, arrays)


def _array(x: Any) -> np.ndarray:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=float)


def cp_tensor(weights: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum over components of weight times outer product, in one matrix product.

    Examples
    --------
    >>> cp_tensor(np.array([2.0]), [np.array([[1.0], [3.0]]), np.array([[1.0], [0.0]])]).tolist()
    [[2.0, 0.0], [6.0, 0.0]]
    """
    from tractable.tensors.contractions import halves, khatri_rao

    shape = [len(x) for x in factors]
    h = halves(shape)
    left = khatri_rao([np.asarray(x) for x in factors[:h]]) * weights
    return (left @ khatri_rao([np.asarray(x) for x in factors[h:]]).T).reshape(shape)


def normalized(
    weights: np.ndarray, factors: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], Rescaling]:
    """Return weights sorted and positive, unit-norm factors, and what was done to the columns.

    The largest entry of a column is positive in all modes but the last, which takes the sign.

    Examples
    --------
    >>> weights, (x, y), _ = normalized(np.ones(1), [np.array([[-3.0], [4.0]]), -np.ones((4, 1))])
    >>> weights.tolist(), x.ravel().tolist(), y.ravel().tolist()
    ([10.0], [-0.6, 0.8], [-0.5, -0.5, -0.5, -0.5])
    """
    rank = factors[0].shape[1]
    strength = np.abs(np.asarray(weights, dtype=float)).copy()
    carried = np.where(np.asarray(weights) < 0, -1.0, 1.0)
    multipliers = []
    for mode, x in enumerate(factors):
        norm = np.linalg.norm(x, axis=0)
        strength *= norm
        scale = np.where(norm > 0, 1 / np.where(norm > 0, norm, 1), 0.0)
        if mode < len(factors) - 1:
            sign = np.where(x[np.abs(x).argmax(0), np.arange(rank)] < 0, -1.0, 1.0)
            carried *= sign
        else:
            sign = carried
        multipliers.append(scale * sign)
    order = np.argsort(-strength, kind="stable")
    moved = [(x * m)[:, order] for x, m in zip(factors, multipliers, strict=True)]
    return strength[order], moved, Rescaling(order, [m[order] for m in multipliers])
