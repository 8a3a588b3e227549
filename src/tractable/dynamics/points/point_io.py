"""Point sets as files and as datasets."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tractable.dynamics.points.point_set import KINDS, Q_CONVENTIONS, PointSet, Rejected, Scan

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["from_dataset", "load", "save", "to_dataset"]

FORMAT = "tractable.dynamics.PointSet/1"

# array -> dimensions, unit, meaning; "1" is a pure number
VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "state": (("point", "unit"), "1", "state h*"),
    "x_star": (("point", "input"), "1", "constant input x*"),
    "q": (("point",), "1", "speed at the state"),
    "converged": (("point",), "1", "the stopping rule holds"),
    "n_iter": (("point",), "1", "iterations"),
    "start_index": (("point",), "1", "start that led there"),
    "multiplicity": (("point",), "1", "number of starts that led there"),
    "displacement": (("point",), "1", "distance from the start"),
    "representative": (("start",), "1", "point of each start, -1 where rejected"),
    "rejected_start": (("rejection",), "1", "index of a rejected start"),
    "rejected_reason": (("rejection",), "1", "why it was rejected"),
    "rejected_q": (("rejection",), "1", "speed where it ended"),
    "scan_tol": (("tolerance",), "1", "threshold on q"),
    "scan_n_starts": (("tolerance",), "1", "starts below the threshold"),
    "scan_n_points": (("tolerance",), "1", "distinct states below the threshold"),
    "scan_pc1_fraction": (("tolerance",), "1", "variance share of their first component"),
    "scan_extent": (("tolerance",), "1", "range along their first component"),
    "scan_readout_range": (("tolerance", "end"), "1", "least and largest readout"),
}
SCAN_NAMES = ("tol", "n_starts", "n_points", "pc1_fraction", "extent", "readout_range")


def save(points: PointSet, path: str | Path) -> None:
    """Write one npz file; it appears under its name only when it is whole."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            meta = np.array(json.dumps(_attributes(points)))
            np.savez(file, meta=meta, **_arrays(points))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> PointSet:
    """Read what `save` wrote; anything else is a ValueError."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        return _build(arrays, meta)
    except FileNotFoundError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        IndexError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{path} must be a saved PointSet, got a damaged or foreign file: {error}"
        ) from error


def to_dataset(points: PointSet) -> xr.Dataset:
    """Return a dataset with named dimensions and units; plain fields are attributes."""
    import xarray as xr

    variables = {}
    for name, array in _arrays(points).items():
        dims, units, meaning = VARIABLES[name]
        variables[name] = (dims, array, {"units": units, "long_name": meaning})
    return xr.Dataset(variables, attrs=_attributes(points))


def from_dataset(dataset: xr.Dataset) -> PointSet:
    """Return the points that `to_dataset` wrote.

    Raises
    ------
    ValueError
        The dataset holds something else.
    """
    arrays = {str(name): variable.values for name, variable in dataset.data_vars.items()}
    try:
        return _build(arrays, dict(dataset.attrs))
    except (KeyError, TypeError) as error:
        raise ValueError(f"dataset must hold a PointSet, lacks or spoils {error}") from error


def _attributes(points: PointSet) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "kind": points.kind,
        "q_convention": points.q_convention,
        "interrupted": int(points.interrupted),
    }
    if points.index_sum is not None:
        attributes["index_sum"] = points.index_sum
    return attributes


def _arrays(points: PointSet) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        name: getattr(points, name).detach().cpu().numpy()
        for name in VARIABLES
        if not name.startswith(("rejected", "scan"))
    }
    reasons = [r.reason for r in points.rejected]
    arrays["rejected_start"] = np.array([r.start_index for r in points.rejected], dtype=np.int64)
    arrays["rejected_reason"] = np.array(reasons, dtype=f"U{max(map(len, reasons), default=1)}")
    arrays["rejected_q"] = np.array([r.q for r in points.rejected], dtype=np.float64)
    for name in SCAN_NAMES:
        value = getattr(points.scan, name, None)
        if value is not None:
            arrays[f"scan_{name}"] = value.cpu().numpy()
    return arrays


def _build(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> PointSet:
    """Return the point set of these arrays; KeyError, TypeError or ValueError where they clash."""
    if meta.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, got {meta.get('format')!r}")
    if meta["kind"] not in KINDS or meta["q_convention"] not in Q_CONVENTIONS:
        raise ValueError(f"unknown kind {meta['kind']!r} or convention {meta['q_convention']!r}")
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        dims = VARIABLES[name][0]
        if array.ndim != len(dims):
            raise ValueError(f"{name} must have {len(dims)} dimensions, got {array.ndim}")
        for dim, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"{name} must have {sizes[dim]} along {dim!r}, got {size}")
    tensors = {
        name: torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if not name.startswith("rejected")
    }
    scan: dict[str, Any] = {name: tensors.pop(f"scan_{name}", None) for name in SCAN_NAMES}
    if not tensors["representative"].lt(sizes["point"]).all():
        raise ValueError("representative must index the points")
    rejected = zip(
        arrays["rejected_start"].tolist(),
        arrays["rejected_reason"].tolist(),
        arrays["rejected_q"].tolist(),
        strict=True,
    )
    degree = meta.get("index_sum")
    return PointSet(
        cell=None,
        **tensors,
        kind=str(meta["kind"]),
        rejected=tuple(Rejected(int(i), str(reason), float(q)) for i, reason, q in rejected),
        scan=None if scan["tol"] is None else Scan(**scan),
        q_convention=str(meta["q_convention"]),
        interrupted=bool(meta["interrupted"]),
        index_sum=None if degree is None else int(degree),
    )
