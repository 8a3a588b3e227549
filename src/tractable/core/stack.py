"""Datasets of many points as one: equal dimensions side by side, what is missing as NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["POINT", "Part", "is_plain", "join", "spread", "stack"]

POINT = "point"
# Of variables that another program has packed; xarray unpacks them when it reads a file.
CODES = {"scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "dtype"}


@dataclass(frozen=True)
class Part:
    """Some points: where they stand, and their dataset.

    With ``stacked`` the dataset has the first dimension ``point``, else it is that of one point.
    """

    positions: Sequence[int]
    dataset: xr.Dataset
    stacked: bool = False


def is_plain(dataset: xr.Dataset) -> bool:
    """Tell whether a dataset is the same when it is read back from a netCDF file.

    So are numbers and plain attributes; texts, truth values, times and lists may change their
    type, and some attributes change the numbers that they stand beside.
    """
    attributes = [dataset.attrs, *(variable.attrs for variable in dataset.variables.values())]
    return all(variable.dtype.kind in "ifc" for variable in dataset.variables.values()) and all(
        type(value) in (str, int, float)
        and name not in CODES
        and not (name == "units" and " since " in str(value))
        for attrs in attributes
        for name, value in attrs.items()
    )


def stack(parts: Iterable[Part], n_points: int) -> xr.Dataset:
    """Return one dataset with the dimension ``point``.

    Labels of a dimension that differ between points are united, in order; a dimension without
    labels is filled up to its greatest length. What a point lacks is NaN (integers become floats),
    or an empty text (also among integers above 2^53, which floats would round). The result is the
    same whichever points were stacked before.

    Parameters
    ----------
    parts : iterable of Part
        Any number; a position that none covers is missing.
    n_points : int
        Length of the dimension ``point``.

    Raises
    ------
    ValueError
        A variable has other dimensions in one point than in another.
    """
    import xarray as xr

    parts = list(parts)
    if any(POINT in part.dataset.dims for part in parts if not part.stacked):
        raise ValueError(f"a dimension may not be named {POINT}: it is that of a sweep's points")
    known = sorted(parts, key=lambda part: part.positions[0] if len(part.positions) else -1)
    dims = _dimensions(known)
    names = list(dict.fromkeys(name for part in known for name in part.dataset.variables))
    variables: dict[Any, Any] = {}
    coordinates: dict[Any, Any] = {}
    for name in names:
        if name in dims and dims[name].labels is not None:
            attrs = _attributes(part.dataset[name] for part in known if name in part.dataset)
            coordinates[name] = (name, dims[name].labels, attrs)
            continue
        if shared := _shared(name, known):
            coordinates[name] = shared
            continue
        label = f"{name}_values" if name in dims else name  # labels that do not name one place
        variables[label] = _variable(name, known, dims, n_points)
    return xr.Dataset(variables, coords=coordinates)


def join(measured: xr.Dataset, theory: xr.Dataset, taken: Iterable[str]) -> xr.Dataset:
    """Return measurement and theory as one dataset: the theory's names begin with ``theory_``.

    A dimension that both have, with the same labels, stays one. Measured names that are in
    ``taken`` begin with ``measured_``.
    """
    taken = set(taken)
    own = {
        str(name): f"measured_{name}"
        for name in (*measured.variables, *measured.dims)
        if name != POINT and name in taken
    }
    names = {str(name): f"theory_{name}" for name in theory.variables if name not in theory.dims}
    same = {}
    for dim in theory.dims:
        if dim == POINT:
            continue
        if dim in measured.dims and _same_dimension(measured, theory, dim):
            same[str(dim)] = own.get(str(dim), str(dim))
        else:
            names[str(dim)] = f"theory_{dim}"
    if twice := set(own.values()) & set(map(str, (*measured.variables, *measured.dims))):
        raise ValueError(
            f"a measured variable may not be named {', '.join(sorted(twice))}: that is the name "
            "of what is called like a swept field"
        )
    left = measured.rename(own)
    right = theory.drop_vars([dim for dim in same if dim in theory.variables])
    right = right.rename({**names, **{a: b for a, b in same.items() if a in right.dims}})
    if clash := set(left.variables) & set(right.variables):
        raise ValueError(
            f"a measured variable may not be named {', '.join(sorted(map(str, clash)))}"
        )
    return left.merge(right, compat="override", join="override", combine_attrs="override")


def spread(
    dataset: xr.Dataset, dims: Sequence[str], shape: Sequence[int], coordinates: Mapping[str, Any]
) -> xr.Dataset:
    """Return the dataset with its dimension ``point`` folded into several."""
    import xarray as xr

    variables = {}
    for name, variable in dataset.data_vars.items():
        inner = [dim for dim in variable.dims if dim != POINT]
        values = variable.transpose(POINT, *inner).values
        values = values.reshape(*shape, *values.shape[1:])
        variables[name] = ((*dims, *inner), values, variable.attrs)
    kept = {name: variable.variable for name, variable in dataset.coords.items()}
    return xr.Dataset(variables, coords={**kept, **coordinates})


# --- dimensions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dimension:
    size: int
    labels: np.ndarray | None


def _dimensions(parts: Sequence[Part]) -> dict[Any, _Dimension]:
    sizes: dict[Any, int] = {}
    labels: dict[Any, list[np.ndarray]] = {}
    for part in parts:
        for dim, size in part.dataset.sizes.items():
            if dim == POINT and part.stacked:
                continue
            sizes[dim] = max(sizes.get(dim, 0), size)
            if dim in part.dataset.indexes:
                labels.setdefault(dim, []).append(_plain(part.dataset[dim].values))
            else:
                labels.setdefault(dim, []).append(np.arange(0))
    result = {}
    for dim, size in sizes.items():
        united = _united(labels[dim], size)
        result[dim] = _Dimension(size if united is None else len(united), united)
    return result


def _united(labels: Sequence[np.ndarray], size: int) -> np.ndarray | None:
    first = labels[0]
    if any(len(other) == 0 for other in labels) and size:
        return None  # not labeled everywhere: places are counted
    if all(np.array_equal(first, other) for other in labels[1:]):
        return first
    if any(len(np.unique(other)) < len(other) for other in labels):
        return None
    return np.unique(np.concatenate(labels))


def _same_dimension(a: xr.Dataset, b: xr.Dataset, dim: Any) -> bool:
    if (dim in a.indexes) != (dim in b.indexes):
        return False
    if dim in a.indexes:
        return bool(np.array_equal(a[dim].values, b[dim].values))
    return a.sizes[dim] == b.sizes[dim]


# --- variables -------------------------------------------------------------------------------


def _shared(name: Any, parts: Sequence[Part]) -> Any:
    """Return a coordinate along inner dimensions that is the same in all points, else None."""
    first = None
    for part in parts:
        variable = part.dataset.coords.get(name)
        if variable is None or not variable.dims or POINT in variable.dims:
            return None
        if first is None:
            first = variable.variable
        elif not first.equals(variable.variable):
            return None
    if first is None or any(dim in first.dims and dim != name for dim in _uneven(parts)):
        return None
    return (first.dims, _plain(first.values), first.attrs)


def _uneven(parts: Sequence[Part]) -> set[Any]:
    sizes: dict[Any, set[int]] = {}
    for part in parts:
        for dim, size in part.dataset.sizes.items():
            sizes.setdefault(dim, set()).add(size)
    return {dim for dim, found in sizes.items() if len(found) > 1}


def _variable(
    name: Any, parts: Sequence[Part], dims: Mapping[Any, _Dimension], n_points: int
) -> tuple[tuple[Any, ...], np.ndarray, dict[str, Any]]:
    having = [part for part in parts if name in part.dataset.variables]
    first = having[0].dataset[name]
    inner = tuple(dim for dim in first.dims if not (dim == POINT and having[0].stacked))
    pieces = []
    for part in having:
        variable = part.dataset[name].variable
        outer = (POINT,) if part.stacked else ()
        if {*variable.dims} != {*outer, *inner}:
            raise ValueError(
                f"{name} has the dimensions {inner} in one point and {variable.dims} in another"
            )
        values = _plain(variable.transpose(*outer, *inner).values)
        pieces.append((part, values if part.stacked else values[np.newaxis]))
    shape = (n_points, *(dims[dim].size for dim in inner))
    full = sum(values.size for _, values in pieces) == int(np.prod(shape))
    dtype = np.result_type(*(values.dtype for _, values in pieces))
    if dtype.kind in "iu" and not full and any(_is_beyond_floats(v) for _, v in pieces):
        dtype = np.dtype(str)  # NaN has no place among integers, and a float would round them
    array = _empty(dtype, shape, full)
    for part, values in pieces:
        places = [_places(part.dataset, dim, dims[dim]) for dim in inner]
        array[np.ix_(np.asarray(part.positions, dtype=int), *places)] = values
    if array.dtype == object:
        array = array.astype(str)
    attributes = _attributes(part.dataset[name] for part in having)
    return (POINT, *inner), array, attributes


def _is_beyond_floats(values: np.ndarray) -> bool:
    return bool(values.size) and max(abs(int(values.min())), abs(int(values.max()))) > 2**53


def _places(dataset: xr.Dataset, dim: Any, target: _Dimension) -> np.ndarray:
    size = dataset.sizes[dim]
    if target.labels is None or (dim not in dataset.indexes):
        return np.arange(size)
    labels = _plain(dataset[dim].values)
    if np.array_equal(labels, target.labels):
        return np.arange(size)
    return np.searchsorted(target.labels, labels)


def _plain(values: Any) -> np.ndarray:
    """Return an array; texts as fixed-width text, whatever netCDF made of them."""
    array = np.asarray(values)
    if array.dtype.kind in "OTU":
        return array.astype(str)
    return array


def _empty(dtype: np.dtype, shape: tuple[int, ...], full: bool) -> np.ndarray:
    if dtype.kind in "US":
        return np.full(shape, "", dtype=object)
    if dtype.kind in "fc":
        return np.full(shape, np.nan, dtype=dtype)
    if dtype.kind in "mM":
        return np.full(shape, np.array("NaT", dtype=dtype))
    return np.zeros(shape, dtype) if full else np.full(shape, np.nan)


def _attributes(variables: Iterable[xr.DataArray]) -> dict[str, Any]:
    """Return the attributes that are the same everywhere."""
    common: dict[str, Any] | None = None
    for variable in variables:
        if common is None:
            common = dict(variable.attrs)
        else:
            other = variable.attrs
            common = {
                key: value
                for key, value in common.items()
                if key in other and np.array_equal(np.asarray(other[key]), np.asarray(value))
            }
    return common or {}
