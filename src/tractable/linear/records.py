"""Frozen result classes of this package to `xarray.Dataset` and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["brief", "from_dataset", "to_dataset"]

R = TypeVar("R")


def brief(result: Any) -> str:
    """Return a result in a few lines: arrays by their shape; for use as its ``__repr__``."""
    parts = []
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, np.ndarray) and value.size > 4:
            value = f"array{value.shape}"
        elif isinstance(value, tuple) and value and not isinstance(value[0], int | float):
            value = f"({len(value)} entries)"
        elif isinstance(value, float | np.ndarray):
            value = np.array2string(np.asarray(value), precision=4, separator=", ")
        else:
            value = repr(value)
        parts.append(f"{field.name}={value}")
    return f"{type(result).__name__}({', '.join(parts)})"


def to_dataset(
    result: Any, dims: Mapping[str, tuple[str, ...]], *, units: Mapping[str, str] | None = None
) -> xr.Dataset:
    """Return a dataset with the arrays named in ``dims``; plain fields become attributes.

    A field that is None is left out; tuples of sentences are joined by line ends.

    Parameters
    ----------
    result : frozen dataclass
        Fields: arrays, numbers, strings, bools, tuples of strings, None.
    dims : mapping
        Name of each array field to the names of its dimensions.
    units : mapping, optional
        Name of an array field to its unit; ``"1"`` where nothing is said.
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    attrs: dict[str, Any] = {"result": type(result).__name__}
    for field in fields(result):
        name, value = field.name, getattr(result, field.name)
        if value is None:
            continue
        if name in dims:
            array = np.asarray(value)
            used = dims[name] if array.ndim == len(dims[name]) else ()
            if array.ndim and not used:
                raise ValueError(f"{name} must have the dimensions {dims[name]}, got {array.shape}")
            variables[name] = (used, array, {"units": (units or {}).get(name, "1")})
        elif isinstance(value, tuple):
            attrs[name] = "\n".join(value)
        elif isinstance(value, bool | np.bool_):
            attrs[name] = int(value)
        else:
            attrs[name] = value
    return xr.Dataset(variables, attrs=attrs)


def from_dataset(cls: type[R], dataset: xr.Dataset) -> R:
    """Return the result that `to_dataset` wrote.

    Raises
    ------
    ValueError
        The dataset holds another result, or lacks a field.
    """
    name = dataset.attrs.get("result")
    if name != cls.__name__:
        raise ValueError(f"dataset must hold a {cls.__name__}, got {name or 'no result name'}")
    values: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]  # a dataclass, like all results
        kind, name = str(field.type), field.name
        if name in dataset:
            values[name] = dataset[name].values
        elif name in dataset.attrs:
            value = dataset.attrs[name]
            if kind.startswith("tuple"):
                value = tuple(value.split("\n")) if value else ()
            else:
                convert = {"b": bool, "i": int, "f": float, "s": str}.get(kind[0])
                value = convert(value) if convert else value
            values[name] = value
        elif "None" in kind:
            values[name] = None
        else:
            raise ValueError(f"dataset lacks {name!r}, a field of {cls.__name__}")
    return cls(**values)
