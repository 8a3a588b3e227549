"""The same study many times: a grid of parameters, on one machine or on a cluster.

``sweep(study, grid={"depth": "2,8,32", "seed": "0:10"})`` runs every point that is not finished and
returns one labeled dataset with the swept fields as dimensions. The points are ordinary runs; a
sweep that was stopped goes on where it was, on any number of machines that share the folder.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core import folder as store
from tractable.core.checks import check_range
from tractable.core.claims import Check
from tractable.core.cluster import opened
from tractable.core.engine import Engine, Flow
from tractable.core.grid import Grid, Interval, Listed, read_grid
from tractable.core.processes import NotImportable, Reference
from tractable.core.progress import Tally, logged
from tractable.points import (
    RETRIES,
    Numbers,
    Order,
    Point,
    Report,
    Same,
    compute,
    is_finished,
    last_line,
    read_folder,
    read_shared,
    reference,
    shared_points,
)
from tractable.study import Study

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

__all__ = ["Plan", "as_study", "assemble", "plan", "sweep"]

log = logging.getLogger("tractable")

POINTS_TO_SPLIT, LARGEST_ORDER = 250, 8
BUSY_SECONDS = 1.0  # until a point that another sweep computes is looked at again
MISSING, DONE, FAILED = 0, 1, 2
RESERVED_NAMES = ("error", "checks", "checks_hold")


def sweep(
    study: Study | type[Study] | str,
    grid: Mapping[str, Any] | Sequence[str],
    *,
    client: Client | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    random: int | None = None,
    random_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    out: str | Path = "runs",
    points_per_file: int = 1,
    progress: bool = True,
) -> xr.Dataset:
    """Run a study at every point of a grid, and return one dataset.

    Finished points are read, the others are run; a point that fails, or loses its worker, is tried
    three times in all, then it is NaN and its error is in ``error`` while the rest goes on.

    Parameters
    ----------
    study : Study
        The parameters that are not swept; a class or a name stands for its defaults.
    grid : mapping or sequence of str
        Field to values: a sequence, or text as on the command line: ``"2,8,32"``, ``"0:10"``,
        ``"1e-3:1:log7"``, ``"0:1:lin5"``, ``"(2,8),(2,8,32)"``. ``seed`` may be swept like a field.
    client : distributed.Client, optional
        Of the Dask cluster that computes.
    workers : int
        Without a client: processes of this machine, one thread each; 0 computes in this process.
    scheduler : str, optional
        Address of a running Dask scheduler, ``tcp://host:8786``, instead of ``workers``.
    random : int, optional
        Draw as many points at random instead of taking all; their dimension is ``point``.
    random_seed : int
        Decides which.
    seed : int
        Of every point, where the grid does not sweep it.
    device : str
        ``auto`` gives every worker a GPU of its own when there are any.
    threads : int
        Threads of torch in every worker.
    out : path
        Where the run folders are; every worker must see it.
    points_per_file : int
        Above 1, so many small points share a file and have no run folders.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    xr.Dataset
        Dimensions: the swept fields, then those of the study. Measured variables have their names,
        the theory's begin with ``theory_``; ``error`` (text, empty where a point is finished),
        ``checks`` and ``checks_hold`` (how many there are, and how many hold).

    Raises
    ------
    ValueError
        An unknown field, an empty grid, values or points that are not permitted (all are named),
        a study that the workers cannot import.
    tractable.core.engine.Unreachable
        No scheduler answers.
    OSError
        The disk is full; what is finished is kept.

    Notes
    -----
    The dataset, the failures with their tracebacks and the log are in ``<out>/<study>/sweeps/``.
    With ``workers``, guard a script with ``if __name__ == "__main__"``: workers import it.

    Examples
    --------
    >>> import tempfile
    >>> from tractable.studies import find
    >>> RankOne = find("dynamics-rank-one")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = sweep(RankOne.preset("smoke"), {"n_units": (4, 8), "seed": "0:2"}, out=folder)
    >>> data.overlap.dims
    ('n_units', 'seed', 'gain', 'root')
    """
    todo = plan(
        study,
        grid,
        random=random,
        random_seed=random_seed,
        seed=seed,
        device=device,
        threads=threads,
        out=out,
        points_per_file=points_per_file,
    )
    return todo.run(client=client, workers=workers, scheduler=scheduler, progress=progress)


def plan(
    study: Study | type[Study] | str,
    grid: Mapping[str, Any] | Sequence[str],
    *,
    random: int | None = None,
    random_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    out: str | Path = "runs",
    points_per_file: int = 1,
) -> Plan:
    """Return a sweep that is checked and ready to run; the parameters are those of `sweep`."""
    check_range("threads", threads, 1)
    check_range("points_per_file", points_per_file, 1)
    base = as_study(study)
    base.identity(seed)  # refuses a seed out of range
    cls, parameters = type(base), base.parameters()

    def build(point: dict[str, Any]) -> Study:
        return cls.from_parameters({**parameters, **_fields(point)})

    axes = read_grid(grid, cls.field_types(), build, n_random=random, random_seed=random_seed)
    return Plan(base, axes, seed, Path(out), device, threads, points_per_file)


@dataclass
class Plan:
    """A sweep that is ready to run: its points, and what is known of each."""

    study: Study
    grid: Grid
    seed: int
    out: Path
    device: str = "auto"
    threads: int = 1
    points_per_file: int = 1
    failures: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reference: Reference | Same = Same(type(self.study))
        self._digests = np.zeros(len(self.grid), dtype="S16")
        self._state = np.zeros(len(self.grid), dtype=np.uint8)
        self._session = uuid.uuid4().hex[:12]

    # --- points ------------------------------------------------------------------------------

    def points(self) -> Iterator[Point]:
        """Yield the points one by one."""
        cls, parameters = type(self.study), self.study.parameters()
        before: dict[str, Any] | None = None
        point: dict[str, Any] = {}
        identity: dict[str, Any] = {}
        for number, values in enumerate(self.grid):
            fields = _fields(values)
            if fields != before:  # the seed alone may differ
                point, identity, before = {**parameters, **fields}, {}, fields
            seed = values.get("seed", self.seed)
            digest = self._digests[number].decode()
            if not digest:
                if not identity:
                    identity = cls.from_parameters(point).identity(seed)
                digest = store.digest({**identity, "seed": seed})
                self._digests[number] = digest.encode()
            yield Point(number, point, seed, digest)

    @property
    def runs(self) -> Path:
        """Folder of the study's runs."""
        return self.out / self.study.name()

    @property
    def folder(self) -> Path:
        """Folder of the sweep: its dataset, failures, log and page."""
        return self.runs / "sweeps" / store.digest(self.describe())

    def describe(self) -> dict[str, Any]:
        """Return what the sweep is: study, parameters, axes."""
        identity = self.study.identity(self.seed)
        swept = self.grid.names
        identity["parameters"] = {
            name: value for name, value in identity["parameters"].items() if name not in swept
        }
        if "seed" in swept:
            del identity["seed"]
        axes = [
            [axis.name, vars(axis.values) if isinstance(axis.values, Interval) else axis.values]
            for axis in self.grid.axes
        ]
        random = None
        if self.grid.n_random is not None:
            random = {"points": len(self.grid), "seed": self.grid.random_seed}
        return {**identity, "grid": axes, "random": random}

    def is_done(self, point: Point) -> bool:
        """Tell whether a point was finished when it was last looked at."""
        return bool(self._state[point.number] == DONE)

    def look(self) -> int:
        """Look which points are finished; return how many are missing."""
        here = set()
        if self.runs.is_dir():
            here = {path.name for path in self.runs.iterdir()}
        known = shared_points(self.runs / "shared").rows
        for point in self.points():
            if point.digest in known or (
                point.digest in here and is_finished(self.runs / point.digest)
            ):
                self._state[point.number] = DONE
        return int((self._state != DONE).sum())

    # --- running -----------------------------------------------------------------------------

    def run(
        self,
        *,
        client: Client | None = None,
        workers: int = 0,
        scheduler: str | None = None,
        progress: bool = True,
    ) -> xr.Dataset:
        """Run what is missing and return the dataset; the parameters are those of `sweep`."""
        check_range("workers", workers, 0)
        self.folder.mkdir(parents=True, exist_ok=True)
        with logged(self.folder / "log.txt"):
            store.write_json(self.folder / "sweep.json", self._record())
            missing = self.look()
            total = len(self.grid)
            log.info("%s: %d points, %d finished", self.study.name(), total, total - missing)
            try:
                with _EngineWhenNeeded(workers, scheduler, client, missing) as engine:
                    if missing:
                        self._work(engine, self._missing(), progress)
                    dataset = self._assembled(engine, progress)
            except KeyboardInterrupt:
                log.warning("stopped: %d of %d points are finished", self._n(DONE), total)
                raise
            self._write(dataset)
            log.info("%s", self.summary())
            return dataset

    def _missing(self) -> Iterator[Order]:
        """Yield orders of the missing points, as they are asked for."""
        if self.points_per_file == 1:
            # Many points go out some at a time: a worker that is lost costs the one it was at.
            size = int(np.clip(self._n(MISSING) // POINTS_TO_SPLIT, 1, LARGEST_ORDER))
            left = (point for point in self.points() if self._state[point.number] != DONE)
            while points := tuple(itertools.islice(left, size)):
                yield self._order(points)
            return
        block: list[Point] = []
        for point in self.points():
            block.append(point)
            if len(block) == self.points_per_file or point.number == len(self.grid) - 1:
                missing = tuple(p for p in block if self._state[p.number] != DONE)
                if missing:
                    yield self._order(missing, store.digest([p.digest for p in block]))
                block = []

    def _order(self, points: tuple[Point, ...], block: str = "", force: bool = False) -> Order:
        return Order(
            self._reference,
            points,
            str(self.out),
            self._session,
            self.device,
            self.threads,
            block,
            force,
        )

    def _work(self, engine: Engine, orders: Iterator[Order], progress: bool) -> None:
        import torch

        self._reference = reference(type(self.study), engine)
        before = torch.get_num_threads()
        total = len(self.grid)
        try:
            with Tally("points", total, done=self._n(DONE), show=progress) as tally:
                flow = Flow(
                    engine, compute, orders, tick=lambda running: tally.add(running=running)
                )
                for ended in flow:
                    for report in self._reports(ended.payload, ended.value, ended.error):
                        self._take(report, ended.payload, flow, tally)
                log.info("%s", tally.text())
        finally:
            torch.set_num_threads(before)

    def _reports(
        self, order: Order, value: list[Report] | None, error: BaseException | None
    ) -> list[Report]:
        """Return how the points of an order ended, also when the order itself failed."""
        if error is None:
            return value or []
        if isinstance(error, NotImportable):
            raise error
        text = f"{type(error).__name__}: {error}"
        return [Report(point, "failed", text, 1 + RETRIES) for point in order.points]

    def _take(self, report: Report, order: Order, flow: Flow, tally: Tally) -> None:
        point, again = report.point, self._order((report.point,), force=order.force)
        if report.status == "done":
            self._state[point.number] = DONE
            tally.add(done=1)
        elif report.status == "busy":
            flow.again(again, seconds=BUSY_SECONDS)
        elif report.status == "full":
            raise OSError(
                f"no room is left in {self.out}: {self._n(DONE)} of {len(self.grid)} points are "
                "finished and kept; make room and repeat the command"
            )
        elif report.attempts <= RETRIES:
            log.info("point %s: %s; trying again", self._where(point), last_line(report.text))
            flow.again(again)
        else:
            self._state[point.number] = FAILED
            self.failures[point.number] = {
                "point": self._values(point),
                "seed": point.seed,
                "attempts": report.attempts,
                "error": last_line(report.text),
                "traceback": report.text,
                "folder": f"{point.digest}.partial",
            }
            log.warning("point %s failed: %s", self._where(point), last_line(report.text))
            tally.add(failed=1)

    def _values(self, point: Point) -> dict[str, Any]:
        return {
            name: point.seed if name == "seed" else point.parameters[name]
            for name in self.grid.names
        }

    def _where(self, point: Point) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._values(point).items())

    def _n(self, state: int) -> int:
        return int((self._state == state).sum())

    # --- the dataset -------------------------------------------------------------------------

    def _assembled(self, engine: Engine, progress: bool) -> xr.Dataset:
        """Read all points; those that turn out to be damaged are computed again, once."""
        found, damaged = self._read(range(len(self.grid)))
        if damaged:
            names = ", ".join(self._where(point) for point in damaged[:10])
            log.warning("%d damaged points are computed again: %s", len(damaged), names)
            self._state[[point.number for point in damaged]] = MISSING
            orders = (self._order((point,), force=True) for point in damaged)
            self._work(engine, orders, progress)
            more, damaged = self._read([point.number for point in damaged])
            found += more
            for point in damaged:
                self._state[point.number] = FAILED
                self.failures[point.number] = {
                    **{"point": self._values(point), "seed": point.seed, "attempts": 2},
                    **{"error": "its files are damaged again", "traceback": ""},
                    "folder": point.digest,
                }
        return self._dataset(found)

    def _read(self, numbers: Sequence[int]) -> tuple[list[Numbers], list[Point]]:
        wanted = np.zeros(len(self.grid), dtype=bool)
        wanted[list(numbers)] = True
        wanted &= self._state == DONE
        known = shared_points(self.runs / "shared")
        found: list[Numbers] = []
        damaged: list[Point] = []
        shared: dict[int, dict[int, Point]] = {}
        for point in self.points():
            if not wanted[point.number]:
                continue
            folder = self.runs / point.digest
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
        for file, points in shared.items():
            path = known.files[file]
            try:
                found.append(read_shared(path, {row: p.number for row, p in points.items()}))
            except ValueError as error:
                log.warning("%s", error)
                damaged += points.values()
                for suffix in (".json", ".nc"):
                    path.with_suffix(suffix).unlink(missing_ok=True)
        return found, damaged

    def _dataset(self, found: list[Numbers]) -> xr.Dataset:
        errors = {number: failure["error"] for number, failure in self.failures.items()}
        result = assemble(found, self.grid, errors)
        common = self.describe()
        result.attrs = {
            "study": self.study.name(),
            "title": self.study.title(),
            "version": self.study.version,
            "parameters": json.dumps(common["parameters"]),
            "notes": json.dumps(sorted({note for numbers in found for note in numbers.notes})),
        }
        if "seed" in common:
            result.attrs["seed"] = common["seed"]
        return result

    def _record(self) -> dict[str, Any]:
        source = self.study.source_file()
        return {
            **self.describe(),
            "defaults": self.study.parameters(),
            "study_file": None if source is None else str(source),
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        }

    def _write(self, dataset: xr.Dataset) -> None:
        failures = [self.failures[number] for number in sorted(self.failures)]
        store.write_json(self.folder / "failures.json", failures)
        result = self.folder / "result.nc"
        temporary = store.temporary_beside(result)
        dataset.to_netcdf(temporary, engine="h5netcdf")
        os.replace(temporary, result)

    def summary(self) -> str:
        """Return how the sweep ended, in one sentence."""
        failed = self._n(FAILED)
        text = f"{self._n(DONE)} of {len(self.grid)} points are finished"
        return f"{text}, {failed} failed" if failed else text


class _EngineWhenNeeded:
    """Starts the engine a user asked for with the first task: a finished sweep needs none."""

    def __init__(
        self, workers: int, scheduler: str | None, client: Client | None, missing: int
    ) -> None:
        if sum((scheduler is not None, client is not None, workers > 0)) > 1:
            raise ValueError("workers, scheduler and client exclude one another: give one of them")
        self._asked = (min(workers, missing) if missing else workers, scheduler, client)
        self._opened = opened(*self._asked) if missing else opened(0)

    def __enter__(self) -> Engine:
        return self._opened.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)


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


def _labels(values: Sequence[Any]) -> np.ndarray:
    """Return the values of a field as labels: what is neither number nor text becomes text."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([str(value) for value in values])


def _fields(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if name != "seed"}


def as_study(study: Study | type[Study] | str) -> Study:
    """Return the study that is meant: a class or a name stands for its defaults."""
    if isinstance(study, str):
        from tractable.studies import find

        study = find(study)
    if isinstance(study, type) and issubclass(study, Study):
        return study()
    if not isinstance(study, Study):
        raise TypeError(f"study must be a Study, its class or its name, got {study!r}")
    return study
