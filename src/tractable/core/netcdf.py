"""Datasets in the netCDF-4 files of runs: read quickly, written whole or not at all.

h5netcdf asks HDF5 for each dimension of each variable again and again: a small file takes it a
tenth of a second, and a sweep has thousands of files. Here every object is opened once. Files
are made in memory: HDF5 that is told by a write that the disk is full does not get over it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.folder import canonical, temporary_beside

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["as_read", "load", "packed", "save", "save_or_part"]

NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable."
UNREAD = {"REFERENCE_LIST", "DIMENSION_LABELS", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
READ = {"CLASS", "NAME", "DIMENSION_LIST", "_NCProperties", "_nc3_strict"}  # but not shown
PLAIN = "iuf"


def load(path: str | Path, group: str | None = None) -> xr.Dataset:
    """Return the dataset of a netCDF-4 file, or of one of its groups, in memory.

    It is identical to ``xarray.load_dataset(path, group=group, engine="h5netcdf")``, which reads
    whatever holds more than real numbers.

    Parameters
    ----------
    path : path
        The file.
    group : str, optional
        The group; by default the root.

    Raises
    ------
    OSError
        There is no such file, or it is damaged.
    KeyError
        There is no such group.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> data = xr.Dataset({"rate": ("time", [0.5, 1.0], {"units": "Hz"})})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data.to_netcdf(f"{folder}/a.nc", group="measured", engine="h5netcdf")
    ...     load(f"{folder}/a.nc", "measured").identical(data)
    True
    """
    import xarray as xr

    found = _plain(path, group)
    if found is None:
        return xr.load_dataset(path, group=group, engine="h5netcdf")
    return xr.decode_cf(found)


def save(path: str | Path, dataset: xr.Dataset | io.BytesIO | None = None, **groups: Any) -> None:
    """Write a dataset, or several groups, so that a reader sees the old file or the new one, whole.

    Parameters
    ----------
    path : path
        The file, in a folder that exists.
    dataset : Dataset or BytesIO, optional
        What stands at the root, or a file that `packed` has made.
    **groups : Dataset
        What stands in each group.

    Raises
    ------
    OSError
        There is no room, or no permission; nothing is left behind.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    content = dataset if isinstance(dataset, io.BytesIO) else packed(dataset, **groups)
    try:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def packed(
    dataset: xr.Dataset | None = None, *, file: io.BytesIO | None = None, **groups: xr.Dataset
) -> io.BytesIO:
    """Return a file in memory, or add groups to one."""
    buffer, mode = (io.BytesIO(), "w") if file is None else (file, "a")
    parts: list[tuple[str | None, xr.Dataset]] = [*groups.items()]
    if dataset is not None:
        parts.insert(0, (None, dataset))
    for name, data in parts:
        data = _with_plain_attributes(data)
        data.to_netcdf(buffer, group=name, engine="h5netcdf", mode=mode)  # type: ignore[call-overload]  # w, then a
        mode = "a"
    return buffer


def save_or_part(path: Path, dataset: xr.Dataset) -> None:
    """Write a dataset; where no file can hold all of it, the rest beside, then raise the error.

    For a measurement that took hours. A note of the error says what is where.
    """
    import xarray as xr

    try:
        save(path, dataset)
    except (TypeError, ValueError, NotImplementedError) as error:
        left_out = []
        for name, variable in dataset.variables.items():
            try:
                packed(xr.Dataset({name: variable.to_base_variable()}))
            except Exception:  # of whatever kind: it is left out
                left_out.append(name)
        part = path.with_name(f"{path.stem}-part.nc")
        with contextlib.suppress(Exception):  # the first error counts
            save(part, dataset.drop_vars(left_out))
            names = ", ".join(map(str, left_out))
            error.add_note(f"A netCDF file cannot hold {names}; the rest is kept in {part}")
        raise


def as_read(
    dataset: xr.Dataset, file: io.BytesIO | None = None, group: str | None = None
) -> xr.Dataset:
    """Return a dataset as `load` would return it from the file that holds it, packed if need be."""
    import xarray as xr

    from tractable.core.stack import is_plain

    if is_plain(dataset):
        return dataset
    content = packed(dataset) if file is None else io.BytesIO(file.getvalue())
    return xr.load_dataset(content, group=group, engine="h5netcdf")


def _with_plain_attributes(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose attributes a file can hold: truth values are 0 and 1, others text."""
    places: list[Any] = [dataset, *dataset.variables.values()]
    if all(_fits(value) for place in places for value in place.attrs.values()):
        return dataset
    dataset = dataset.copy()
    places = [dataset, *dataset.variables.values()]
    for place in places:
        place.attrs = {
            name: value if _fits(value) else _as_attribute(value)
            for name, value in place.attrs.items()
        }
    return dataset


def _fits(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return True
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return False
    return array.dtype.kind in PLAIN + "USc" and array.size > 0


def _as_attribute(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return int(value) if isinstance(value, bool) else canonical(value)


def _plain(path: str | Path, group: str | None) -> xr.Dataset | None:
    """Return the variables as they are stored, None where they are more than real numbers."""
    import h5py
    import xarray as xr

    variables: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        place = file[group or "/"]
        names: dict[Any, str] = {}  # of the objects that references name
        for name, item in place.items():
            if not isinstance(item, h5py.Dataset):
                continue
            attributes = {k: item.attrs[k] for k in item.attrs if k not in UNREAD}
            if attributes.get("NAME", b"").startswith(NO_VARIABLE):
                continue
            if item.dtype.kind not in PLAIN or name.startswith("_nc4_"):
                return None
            if "DIMENSION_LIST" in attributes:
                dims = []
                for (reference,) in attributes["DIMENSION_LIST"]:
                    if reference not in names:
                        names[reference] = str(file[reference].name).rpartition("/")[2]
                    dims.append(names[reference])
            else:
                dims = [name] if attributes.get("CLASS") == b"DIMENSION_SCALE" else []
            if len(dims) != item.ndim:
                return None
            variables[name] = (dims, item[()], _shown(attributes))
        attrs = _shown(place.attrs)
    return xr.Dataset(variables, attrs=attrs)


def _shown(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as netCDF means them: lists of texts are lists, one number is no list."""
    shown: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in READ:
            continue
        if isinstance(value, np.ndarray):
            value = value.tolist() if value.dtype.kind == "O" else value
            value = value[0] if len(value) == 1 else value
        shown[name] = value
    return shown
