"""NumPy or torch in, the same kind out: the boundary of the theory's functions."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_finite

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    Numbers = ArrayLike | torch.Tensor

__all__ = ["LARGEST", "as_float64", "as_kind_of", "check_broadcast"]


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


LARGEST = 1e75  # of an entry: fourth powers still fit into float64


def as_float64(
    name: str, value: Numbers, *, low: float | None = None, high: float = LARGEST
) -> np.ndarray:
    """Return numbers as a float64 array; NaN, infinity and what lies out of range are refused.

    Parameters
    ----------
    name : str
        The argument's name, for the messages.
    value : number, array or tensor
        Any shape, any real dtype, any device.
    low : float, optional
        Smallest permitted entry.
    high : float
        Largest permitted size of an entry: powers of larger ones overflow.

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
    if not array.size:
        return array
    least, most = float(array.min()), float(array.max())  # NaN if any entry is
    if not (math.isfinite(least) and math.isfinite(most)):
        check_finite(name, array)
    if low is not None and least < low:
        raise ValueError(f"{name} must be >= {low:g}, got {least:g}")
    if (size := max(-least, most)) > high:
        raise ValueError(f"{name} must not exceed {high:g} in size, got {size:g}; scale it down")
    return array


def check_broadcast(**arrays: np.ndarray) -> None:
    """Refuse arrays whose shapes do not broadcast.

    Examples
    --------
    >>> check_broadcast(s=np.ones(2), t=np.ones(3))
    Traceback (most recent call last):
    ValueError: s, t must have shapes that broadcast, got (2,), (3,); s[:, None] for (modes, times)
    """
    shapes = [array.shape for array in arrays.values()]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"{', '.join(arrays)} must have shapes that broadcast, got "
            f"{', '.join(map(str, shapes))}; s[:, None] for (modes, times)"
        ) from None


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
