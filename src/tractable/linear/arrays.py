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

__all__ = [
    "LARGEST",
    "as_float64",
    "as_kind_of",
    "as_real",
    "check_broadcast",
    "check_dense",
    "check_rows",
    "check_scale",
]


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


LARGEST = 1e75  # of an entry: fourth powers still fit into float64
SMALLEST = 1e-75  # of the largest entry of a matrix of data, likewise


def as_real(name: str, value: Any) -> np.ndarray:
    """Return numbers or a tensor as an array of a real dtype, without copying where it can.

    Examples
    --------
    >>> as_real("Y", np.ma.masked_less([1.0, 2.0], 1.5))
    Traceback (most recent call last):
    ValueError: Y must hold no masked entries, got 1 of 2; fill them in, or leave their rows out
    """
    check_dense(name, value)
    if _is_tensor(value):
        import torch

        tensor = value.detach().cpu()
        # NumPy has no bfloat16
        value = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} must hold no masked entries, got {np.ma.count_masked(value)} of {value.size}; "
            f"fill them in, or leave their rows out"
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def check_dense(name: str, value: Any) -> None:
    """Refuse sparse matrices and tensors."""
    strided = not _is_tensor(value) or str(value.layout) == "torch.strided"
    if hasattr(value, "toarray") or not strided:
        how = "toarray()" if strided else "to_dense()"
        raise TypeError(f"{name} must be dense, got {type(value).__name__}; pass {name}.{how}")


def check_scale(name: str, largest: float) -> None:
    """Refuse data whose largest entry, above 0, is so small that products of it are lost.

    Examples
    --------
    >>> check_scale("X", 1e-160)
    Traceback (most recent call last):
    ValueError: X must have an entry of 1e-75 or more in size, got 1e-160 at most; scale it up
    """
    if 0 < largest < SMALLEST:
        raise ValueError(
            f"{name} must have an entry of {SMALLEST:g} or more in size, got {largest:g} at most; "
            f"scale it up"
        )


def check_rows(**shapes: tuple[int, ...]) -> None:
    """Refuse matrices with different numbers of rows; say which of them may lie on its side.

    Examples
    --------
    >>> check_rows(X=(8, 60), Y=(60, 5))
    Traceback (most recent call last):
    ValueError: X and Y must have the same number of examples (rows), got 8 and 60; transpose X?
    """
    (first, a), *others = shapes.items()
    for name, b in others:
        if a[0] == b[0]:
            continue
        turned = {first: a[1] == b[0], name: a[0] == b[1], f"{first} and {name}": a[1] == b[1]}
        hint = next((f"; transpose {which}?" for which, fits in turned.items() if fits), "")
        raise ValueError(
            f"{first} and {name} must have the same number of examples (rows), got {a[0]} and "
            f"{b[0]}{hint}"
        )


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
    array = as_real(name, value).astype(np.float64, copy=False)
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
