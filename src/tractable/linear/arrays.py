"""NumPy or torch in, the same kind out: the boundary of the theory's functions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_finite

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    Numbers = ArrayLike | torch.Tensor

__all__ = ["as_float64", "as_kind_of"]


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_float64(name: str, value: Numbers, *, low: float | None = None) -> np.ndarray:
    """Return numbers as a float64 array; NaN, infinity and what lies below ``low`` are refused.

    Parameters
    ----------
    name : str
        The argument's name, for the messages.
    value : number, array or tensor
        Any shape, any real dtype, any device.
    low : float, optional
        Smallest permitted entry.

    Examples
    --------
    >>> as_float64("s", [1, 2])
    array([1., 2.])
    >>> as_float64("s", [1, -2], low=0)
    Traceback (most recent call last):
    ValueError: s must be >= 0, got -2
    """
    if _is_tensor(value):
        value = value.detach().cpu().numpy()  # type: ignore[union-attr]  # a tensor, seen above
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64, copy=False)
    check_finite(name, array)
    if low is not None and array.size and array.min() < low:
        raise ValueError(f"{name} must be >= {low:g}, got {array.min():g}")
    return array


def as_kind_of(result: np.ndarray, *inputs: Any) -> Any:
    """Return ``result`` as the inputs came: a tensor on their device, float32 where all floats are.

    Examples
    --------
    >>> as_kind_of(np.ones(2), np.float32(1), 3).dtype
    dtype('float32')
    """
    torch = sys.modules.get("torch")
    tensors = [value for value in inputs if _is_tensor(value)]
    if torch is not None and tensors:
        kinds = {value.dtype for value in tensors if value.dtype.is_floating_point}
        dtype = torch.float32 if kinds == {torch.float32} else torch.float64
        return torch.as_tensor(result, dtype=dtype, device=tensors[0].device)
    arrays = [value.dtype for value in inputs if isinstance(value, np.ndarray | np.generic)]
    floats = {dtype for dtype in arrays if dtype.kind == "f"}
    if floats == {np.dtype(np.float32)}:
        result = np.asarray(result, dtype=np.float32)
    return result[()] if isinstance(result, np.ndarray) and result.ndim == 0 else result
