"""Frozen result classes to `xarray.Dataset` and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["from_dataset", "to_dataset"]

R = TypeVar("R")


def to_dataset(
    result: Any, dims: Mapping[str, tuple[str, ...]], *, units: Mapping[str, str] | None = None
) -> xr.Dataset:
    """Return a dataset with the arrays named in ``dims``, and the plain fields as attributes.

    Complex arrays become two variables, ``name_real`` and ``name_imag``; a field that is None is
    left out; tuples of sentences are joined by line ends.

    Parameters
    ----------
    result : frozen dataclass
        Its fields: tensors and arrays, numbers, strings, bools, tuples of strings, None.
    dims : mapping
        Name of each array field to the names of its dimensions.
    units : mapping, optional
        Name of an array field to its unit.

    Returns
    -------
    xarray.Dataset
        With ``attrs["result"]``, the name of the class.
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    attrs: dict[str, Any] = {"result": type(result).__name__}
    for field in fields(result):
        name, value = field.name, getattr(result, field.name)
        unit = {"units": units[name]} if units and name in units else {}
        if value is None:
            continue
        if name in dims:
            array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            if np.iscomplexobj(array):
                variables[f"{name}_real"] = (dims[name], array.real, unit)
                variables[f"{name}_imag"] = (dims[name], array.imag, unit)
            else:
                variables[name] = (dims[name], array, unit)
        elif isinstance(value, bool):
            attrs[name] = int(value)
        elif isinstance(value, tuple):
            attrs[name] = "\n".join(value)
        elif isinstance(value, int | float | str):
            attrs[name] = value
        else:
            raise TypeError(f"field {name} of {type(result).__name__} has no dims and is no scalar")
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
    for field in fields(cls):  # type: ignore[arg-type]
        kind, name = str(field.type), field.name
        if name in dataset:
            array = dataset[name].values
        elif f"{name}_real" in dataset:
            array = dataset[f"{name}_real"].values + 1j * dataset[f"{name}_imag"].values
        elif name in dataset.attrs:
            value = dataset.attrs[name]
            if kind.startswith("tuple"):
                value = tuple(value.split("\n")) if value else ()
            elif kind.startswith(("bool", "int", "float", "str")):
                convert = {"b": bool, "i": int, "f": float, "s": str}[kind[0]]
                value = convert(value)
            values[name] = value
            continue
        elif "None" in kind:
            values[name] = None
            continue
        else:
            raise ValueError(f"dataset lacks {name!r}, a field of {cls.__name__}")
        values[name] = torch.from_numpy(np.array(array)) if "Tensor" in kind else array
    return cls(**values)
