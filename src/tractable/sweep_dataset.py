"""The dataset of a sweep, read from the files of its points; swept fields are its dimensions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.claims import Check
from tractable.core.grid import Grid, Listed
from tractable.points import Point
from tractable.stored_points import Numbers, is_finished, read_folder, read_shared, shared_points

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RESERVED_NAMES", "assemble", "holding", "read_points"]

log = logging.getLogger("tractable")

RESERVED_NAMES = ("error", "checks", "checks_hold")


def read_points(runs: Path, points: Iterable[Point]) -> tuple[list[Numbers], list[Point]]:
    """Return what was stored of finished points, and those whose files are missing or damaged.

    Parameters
    ----------
    runs : path
        Folder of the study's runs.
    points : iterable of Point
        Those to read.
    """
    known = shared_points(runs / "shared")
    found: list[Numbers] = []
    damaged: list[Point] = []
    shared: dict[int, dict[int, Point]] = {}
    for point in points:
        folder = runs / point.digest
        if is_finished(folder):
            try:
                found.append(read_folder(folder, point.number))
            except ValueError as error:
                log.warning("%s", error)
                damaged.append(point)
        elif point.digest in known.rows:
            file, row = known.rows[point.digest]
            shared.setdefault(file, {})[row] = point
        else:
            damaged.append(point)
    for file, rows in shared.items():
        path = known.files[file]
        try:
            found.append(read_shared(path, {row: p.number for row, p in rows.items()}))
        except ValueError as error:
            log.warning("%s", error)
            damaged += rows.values()
            for suffix in (".json", ".nc"):
                path.with_suffix(suffix).unlink(missing_ok=True)
    return found, damaged


def assemble(found: list[Numbers], grid: Grid | Listed, errors: Mapping[int, str]) -> xr.Dataset:
    """Return one dataset of many points, with the swept fields as its dimensions.

    Parameters
    ----------
    found : list of Numbers
        What was read of the finished points, in any order.
    grid : Grid or Listed
        The points.
    errors : mapping
        Number of a failed point to its error.
    """
    import xarray as xr

    from tractable.core.stack import POINT, join, spread, stack

    n = len(grid)
    taken = (*grid.names, *RESERVED_NAMES, POINT)
    measured = stack((numbers.measured for numbers in found), n)
    theory = stack((numbers.theory for numbers in found), n)
    flat = join(measured, theory, taken) if found else xr.Dataset()
    checks, hold = np.full(n, np.nan), np.full(n, np.nan)
    for numbers in found:
        for number, plain in zip(numbers.measured.positions, numbers.checks, strict=True):
            checks[number] = len(plain)
            hold[number] = sum(Check(**check).holds for check in plain)
    text = np.array([errors.get(number, "") for number in range(n)], dtype=str)
    flat["error"] = (POINT, text, {"long_name": "error of a failed point"})
    flat["checks"] = (POINT, checks, {"units": "1", "long_name": "claims that were checked"})
    flat["checks_hold"] = (POINT, hold, {"units": "1", "long_name": "claims that hold"})
    if grid.n_random is not None:
        points = list(grid)
        coordinates = {name: (POINT, _labels([p[name] for p in points])) for name in grid.names}
        return spread(flat, (POINT,), (n,), coordinates)
    labels = {axis.name: (axis.name, _labels(axis.values)) for axis in grid.axes}  # type: ignore[arg-type]  # lists
    return spread(flat, grid.names, grid.shape, labels)


def holding(dataset: xr.Dataset) -> tuple[int, int]:
    """Return at how many points of a sweep all checks hold, and how many points have checks."""
    checked = dataset.checks > 0
    return int((checked & (dataset.checks_hold == dataset.checks)).sum()), int(checked.sum())


def _labels(values: Sequence[Any]) -> np.ndarray:
    """Return the values of a field as labels: what is neither number nor text becomes text."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([str(value) for value in values])
