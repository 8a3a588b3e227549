"""A sweep as one self-contained HTML page: failures first, then small multiples, then points."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable import report
from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.checks import check_choice
from tractable.core.fields import field_docs
from tractable.core.grid import Axis, Grid, Listed
from tractable.result import read_json
from tractable.stored_points import read_folder
from tractable.studies import find
from tractable.sweep_dataset import RESERVED_NAMES, assemble, holding
from tractable.sweep_figures import drawable, pictures

if TYPE_CHECKING:
    import xarray as xr

    from tractable.study import Study

__all__ = ["SweepPage", "is_sweep", "open_runs", "write"]

MOST_FIGURES, MOST_POINTS, MOST_SCALARS = 12, 200, 4


@dataclass(frozen=True)
class SweepPage:
    """What the page of a sweep shows."""

    cls: type[Study]
    folder: Path
    data: xr.Dataset
    swept: list[str]
    parameters: dict[str, Any]
    failures: list[dict[str, Any]]
    command: str
    notes: list[str]

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.cls.name()

    @property
    def title(self) -> str:
        """Title of the study."""
        return self.cls.title()

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.data.error.size)

    @property
    def summary(self) -> str:
        """Return how many points are finished."""
        finished = int(self.data.checks.notnull().sum())
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{finished} of {self.n_points} points are finished{failed}"

    @property
    def verdict(self) -> str:
        """Return at how many points all checks hold."""
        good, checked = holding(self.data)
        small = "; the preset smoke is too small for them" if self.is_smoke else ""
        return f"All checks hold in {good} of {checked} points with checks{small}"

    @property
    def holds(self) -> bool:
        """Whether every check of every finished point holds, or is not meant to."""
        good, checked = holding(self.data)
        return good == checked or self.is_smoke

    @property
    def is_smoke(self) -> bool:
        """Whether the points are those of the preset ``smoke``, which asserts nothing."""
        return bool(self.data.attrs.get("smoke", 0))


def is_sweep(folder: str | Path) -> bool:
    """Tell whether a folder is that of a sweep."""
    return (_folder(folder) / "sweep.json").is_file()


def open_runs(folders: Sequence[str | Path], out: str | Path | None = None) -> SweepPage:
    """Read a sweep, or finished runs of one study as if they were one.

    Parameters
    ----------
    folders : sequence of path
        The folder of a sweep, or the folders of runs; unfinished ones are refused.
    out : path, optional
        Where the page is written.

    Raises
    ------
    ValueError
        The folders hold no runs of one study, or the sweep has not come to its end.
    """
    paths = [_folder(folder) for folder in folders]
    if len(paths) == 1 and is_sweep(paths[0]):
        return _open_sweep(paths[0], out)
    paths = [path for path in paths if path.name not in ("sweeps", "shared", "searches")]
    results = [report.open_run(path) for path in paths if path.suffix != ".partial"]
    if len({result.study.name() for result in results}) != 1:
        found = ", ".join(sorted({result.study.name() for result in results})) or "none"
        raise ValueError(f"report: several runs must be of one study, got {found}")
    first = results[0]
    names = [item.name for item in fields(first.study)]
    plain = [(r.study.parameters(), r.record["seed"]) for r in results]
    values = [{**{n: _hashable(p[n]) for n in names}, "seed": seed} for p, seed in plain]
    swept = [name for name in values[0] if len({point[name] for point in values}) > 1] or ["seed"]
    points = [{name: point[name] for name in swept} for point in values]
    if len({tuple(point.values()) for point in points}) < len(points):
        raise ValueError("report: two of the runs have the same parameters and seed")
    grid = _grid(swept, points)
    order = {tuple(point.values()): i for i, point in enumerate(grid)}
    stored = [
        read_folder(result.folder, order[tuple(point.values())])
        for result, point in zip(results, points, strict=True)
    ]
    data = assemble(stored, grid, {})
    data.attrs["smoke"] = int(all(result.study.is_smoke for result in results))
    folder = Path(out) if out is not None else paths[0].parent / "sweeps" / _digest(paths)
    parameters = {
        name: value for name, value in first.study.parameters().items() if name not in swept
    }
    notes = sorted({note for numbers in stored for note in numbers.notes})
    return SweepPage(type(first.study), folder, data, swept, parameters, [], "", notes)


def _grid(swept: list[str], points: list[dict[str, Any]]) -> Grid | Listed:
    axes = []
    for name in swept:
        values = list(dict.fromkeys(point[name] for point in points))
        if all(isinstance(value, int | float) for value in values):
            values.sort()
        axes.append(Axis(name, tuple(values)))
    full = Grid(tuple(axes))
    return full if len(full) == len(points) else Listed(tuple(swept), points)


def _open_sweep(path: Path, out: str | Path | None) -> SweepPage:
    import xarray as xr

    if not (path / "result.nc").exists():
        raise ValueError(
            f"the sweep in {path} has not come to its end: the command that started it goes on"
        )
    record, failures = read_json(path / "sweep.json"), read_json(path / "failures.json")
    cls = find(record.get("study_file") or record["study"])
    data = xr.load_dataset(path / "result.nc", engine="h5netcdf")
    swept = [name for name, _ in record["grid"]]
    return SweepPage(
        cls,
        path if out is None else Path(out),
        data,
        swept,
        record["parameters"],
        failures,
        _command(cls, record),
        json.loads(data.attrs.get("notes", "[]")),
    )


def _command(cls: type[Study], record: dict[str, Any]) -> str:
    """Return the command line that repeats a sweep."""
    base = cls.from_parameters(record["defaults"])
    words = shlex.split(base.command(record.get("seed", 0), record.get("study_file")))
    words[1] = "sweep"
    axes = []
    for name, values in record["grid"]:
        if isinstance(values, dict):  # an interval
            text = f"{values['low']}:{values['high']}" + (":log" if values["log"] else "")
        elif _is_range(values):
            text = f"{values[0]}:{values[-1] + 1}"
        else:
            text = ",".join(map(_text, values))
        axes.append(f"{name}={text}")
    words += ["--grid", *axes]
    if record.get("random"):
        words += ["--random", str(record["random"]["points"])]
        if record["random"]["seed"]:
            words += ["--random-seed", str(record["random"]["seed"])]
    return shlex.join(words)


def _is_range(values: list[Any]) -> bool:
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return whole and len(values) > 2 and values == list(range(values[0], values[-1] + 1))


def _text(value: Any) -> str:
    return f"({','.join(map(_text, value))})" if isinstance(value, list) else str(value)


def write(page: SweepPage, *, figures: str = "svg") -> Path:
    """Write ``report.html`` of a sweep, its figures and its dataset; nothing is computed.

    Parameters
    ----------
    page : SweepPage
        A sweep, or several runs.
    figures : {"svg", "pdf", "png"}
        Format of the figure files.

    Returns
    -------
    Path
        Of ``report.html``.
    """
    check_choice("figures", figures, ("svg", "pdf", "png"))
    store.make(page.folder)
    if not (page.folder / "result.nc").exists() or not is_sweep(page.folder):
        netcdf.save(page.folder / "result.nc", page.data)
    drawn = []
    for number, (name, figure) in enumerate(pictures(page.data, page.swept), 1):
        if number > MOST_FIGURES:
            break
        drawn.append(report.picture(figure, name, page.folder, figures, number))
    shown = set(drawable(page.data, page.swept)[:MOST_FIGURES])
    hidden = [
        str(name)
        for name in page.data.data_vars
        if name not in shown and name not in RESERVED_NAMES and not str(name).startswith("theory_")
    ]
    scalars, points = _points(page)
    text = report.environment().get_template("sweep.html.j2").render(
        page=page,
        paper=page.cls.paper,
        paper_url=report.paper_url(page.cls),
        figures=drawn,
        hidden=hidden,
        most_figures=MOST_FIGURES,
        scalars=scalars,
        points=points,
        failures=[
            [*(_cell(f["point"][name]) for name in page.swept), f["attempts"], f["error"]]
            for f in page.failures
        ],
        parameters=[
            (name, '""' if value == "" else str(value), field_docs(page.cls).get(name, ""))
            for name, value in page.parameters.items()
        ],
    )  # fmt: skip
    path = page.folder / "report.html"
    store.write_text(path, text)
    return path


def _points(page: SweepPage) -> tuple[list[str], list[list[Any]]]:
    """Return the names of some scalars, and a row for each of the first points."""
    data = page.data
    dims = data.error.dims
    scalars = [name for name in drawable(data, page.swept) if data[name].dims == dims]
    scalars = scalars[:MOST_SCALARS]
    rows: list[list[Any]] = []
    for position in np.ndindex(*data.error.shape):
        if len(rows) == MOST_POINTS:
            break
        at = data.isel(dict(zip(dims, position, strict=True)))
        values = [_cell(at[name].values.item()) for name in page.swept]
        counts = [at[name].values.item() for name in ("checks_hold", "checks")]
        if not np.isfinite(counts[1]):
            counts = [None, None]
        numbers = [float(at[name]) for name in scalars]
        rows.append([*values, *counts, *(x if np.isfinite(x) else None for x in numbers)])
    return scalars, rows


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _digest(paths: Sequence[Path]) -> str:
    return store.digest(sorted(path.name for path in paths))


def _folder(folder: str | Path) -> Path:
    path = Path(folder)
    return path.parent if path.is_file() else path
