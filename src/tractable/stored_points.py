"""What is kept of finished points: which there are, and their numbers read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.claims import Check
from tractable.result import read_json

if TYPE_CHECKING:
    import xarray as xr

    from tractable.core.stack import Part

__all__ = [
    "Damaged",
    "Numbers",
    "Stored",
    "is_finished",
    "read_folder",
    "read_shared",
    "shared_points",
]


class Damaged(ValueError):
    """The files of a finished point are missing, or hold something else."""


@dataclass
class Stored:
    """The finished points that share files: hash to file and row."""

    files: list[Path] = field(default_factory=list)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)


def is_finished(folder: Path) -> bool:
    """Tell whether a run folder holds a finished run."""
    return (folder / "checks.json").exists()


def shared_points(folder: Path, block: str = "") -> Stored:
    """Return the points that are finished in the shared files of a folder, or of one block."""
    stored = Stored()
    for path in sorted(folder.glob(f"{block}*.json")):
        try:
            record = read_json(path)
            digests = record["points"]
        except (ValueError, KeyError, TypeError):
            continue
        stored.files.append(path.with_suffix(".nc"))
        for row, digest in enumerate(digests):
            stored.rows[digest] = (len(stored.files) - 1, row)
    return stored


@dataclass(frozen=True)
class Numbers:
    """What was stored of some points."""

    measured: Part
    theory: Part
    checks: list[list[dict[str, Any]]]
    notes: list[str]


def read_folder(folder: Path, number: int) -> Numbers:
    """Read a point from its run folder.

    Raises
    ------
    Damaged
        The folder is damaged.
    """
    from tractable.core.stack import Part

    try:
        checks, record = read_json(folder / "checks.json"), read_json(folder / "params.json")
    except ValueError as error:
        raise Damaged(str(error)) from error
    _refuse_strange(folder / "checks.json", checks)
    if not isinstance(record, dict):
        raise Damaged(f"{folder / 'params.json'} is damaged: it must hold an object")
    measured, theory = _read_groups(folder / "result.nc", record.get("result_sha256"))
    notes = json.loads(measured.attrs.get("notes", "[]"))
    return Numbers(Part((number,), measured), Part((number,), theory), [checks], notes)


def read_shared(path: Path, places: Mapping[int, int]) -> Numbers:
    """Read points from a shared file: row to number in the sweep.

    Raises
    ------
    Damaged
        The file is damaged.
    """
    from tractable.core.stack import POINT, Part

    record = read_json(path.with_suffix(".json"))
    for checks in record["checks"]:
        _refuse_strange(path.with_suffix(".json"), checks)
    measured, theory = _read_groups(path, record["result_sha256"])
    rows = sorted(places, key=places.__getitem__)
    numbers = [places[row] for row in rows]
    chosen = [dataset.isel({POINT: rows}) for dataset in (measured, theory)]
    notes = [note for row in rows for note in record["notes"][row]]
    checks = [record["checks"][row] for row in rows]
    return Numbers(Part(numbers, chosen[0], True), Part(numbers, chosen[1], True), checks, notes)


def _refuse_strange(path: Path, checks: Any) -> None:
    """Refuse what is JSON, but no list of checks."""
    try:
        if not isinstance(checks, list):
            raise TypeError(f"a list is expected, got {type(checks).__name__}")
        for check in checks:
            Check(**check)
    except (TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged: {error}") from error


def _read_groups(path: Path, sha256: str | None) -> tuple[xr.Dataset, xr.Dataset]:
    try:
        if sha256 is not None and store.hash_content(path) != sha256:
            raise ValueError("its content has changed")
        measured, theory = (netcdf.load(path, group) for group in ("measured", "theory"))
    except (OSError, KeyError, ValueError) as error:
        raise Damaged(f"{path} is missing or damaged: {error}") from error
    return measured, theory
