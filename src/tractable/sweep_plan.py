"""A sweep that is ready to run: its points, what is known of each, work on what is missing."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.cluster import check_engine, opened
from tractable.core.engine import Engine, Flow
from tractable.core.grid import Grid, Interval, Listed
from tractable.core.processes import NotImportable, Reference
from tractable.core.progress import Tally, logged, track
from tractable.core.stack import POINT
from tractable.points import RETRIES, Order, Point, Report, Same, compute, last_line, reference
from tractable.stored_points import Numbers, is_finished, shared_points
from tractable.study import Study
from tractable.sweep_dataset import assemble, read_points

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

__all__ = ["Plan", "fields_of"]

log = logging.getLogger("tractable")

POINTS_TO_SPLIT, LARGEST_ORDER = 250, 8
BUSY_SECONDS = 1.0  # until a point that another sweep computes is looked at again
MISSING, DONE, FAILED = 0, 1, 2


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
        self._tried = False

    # --- points ------------------------------------------------------------------------------

    def points(self) -> Iterator[Point]:
        """Yield the points one by one."""
        cls, parameters = type(self.study), self.study.parameters()
        before: dict[str, Any] | None = None
        point: dict[str, Any] = {}
        identity: dict[str, Any] = {}
        for number, values in enumerate(self.grid):
            fields = fields_of(values)
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
        for point in track(self.points(), "looking at points", total=len(self.grid)):
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
        check_engine(workers, scheduler, client)
        store.make(self.folder)
        with logged(self.folder / "log.txt"):
            store.write_json(self.folder / "sweep.json", self._record())
            missing = self.look()
            total = len(self.grid)
            log.info("%s: %d points, %d finished", self.study.name(), total, total - missing)
            if (self.grid.n_random or 0) > total:
                log.info("the grid has no more: %d random ones were asked for", self.grid.n_random)
            try:
                with _EngineWhenNeeded(workers, scheduler, client) as engine:
                    if missing:
                        self._work(engine.of(missing), self._missing(), progress)
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
            str(self.out.absolute()),  # workers may have another working directory
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
            self._try_names(point)
            tally.add(done=1)
        elif report.status == "busy":
            flow.again(again, seconds=BUSY_SECONDS)
        elif report.status == "full":
            raise OSError(
                f"no room is left in {self.out} or for temporary files: "
                f"{self._n(DONE)} of {len(self.grid)} points are "
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

    def _try_names(self, point: Point) -> None:
        """Refuse names that no dataset of the sweep can hold when the first point shows them."""
        if self._tried:
            return
        self._tried = True
        found, _ = read_points(self.runs, [replace(point, number=0)])
        alone = Listed(self.grid.names, [self._values(point)])
        for numbers in found:
            assemble([numbers], alone, {})

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

    def _assembled(self, engine: _EngineWhenNeeded, progress: bool) -> xr.Dataset:
        """Read all points; those that turn out to be damaged are computed again, once."""
        found, damaged = self._read()
        if damaged:
            names = ", ".join(self._where(point) for point in damaged[:10])
            log.warning("%d damaged points are computed again: %s", len(damaged), names)
            self._state[[point.number for point in damaged]] = MISSING
            orders = (self._order((point,), force=True) for point in damaged)
            self._work(engine.of(len(damaged)), orders, progress)
            more, damaged = self._read({point.number for point in damaged})
            found = sorted(found + more, key=lambda numbers: numbers.measured.positions[0])
            for point in damaged:
                self._state[point.number] = FAILED
                self.failures[point.number] = {
                    **{"point": self._values(point), "seed": point.seed, "attempts": 2},
                    **{"error": self._why_unread(point), "traceback": ""},
                    "folder": point.digest,
                }
        return self._dataset(self._of_one_shape(found))

    def _of_one_shape(self, found: list[Numbers]) -> list[Numbers]:
        """Leave out points whose variables have other dimensions than most: they have failed."""
        shapes: dict[tuple[int, Any], dict[frozenset[Any], list[int]]] = {}
        for numbers in found:
            for kind, part in enumerate((numbers.measured, numbers.theory)):
                for name, variable in part.dataset.data_vars.items():
                    dims = frozenset(variable.dims) - ({POINT} if part.stacked else set())
                    shapes.setdefault((kind, name), {}).setdefault(dims, []).extend(part.positions)
        odd: dict[int, tuple[Any, Any, Any, int]] = {}
        for (_, name), places in shapes.items():
            usual = max(places, key=lambda dims: (len(places[dims]), -min(places[dims])))
            for dims, numbers_of in places.items():
                if dims != usual:
                    odd |= {n: (name, dims, usual, min(places[usual])) for n in numbers_of}
        if not odd:
            return found
        points = {point.number: point for point in self.points()}
        for number, (name, dims, usual, where) in sorted(odd.items()):
            here, there = (f"({', '.join(sorted(map(str, some)))})" for some in (dims, usual))
            error = (
                f"ValueError: {name} has the dimensions {here}, but {there} at most points, as at "
                f"{self._where(points[where])}"
            )
            self._state[number] = FAILED
            self.failures[number] = {
                **{"point": self._values(points[number]), "seed": points[number].seed},
                **{"attempts": 1, "error": error, "traceback": ""},
                "folder": points[number].digest,
            }
            log.warning("point %s failed: %s", self._where(points[number]), error)
        return [numbers for numbers in found if not odd.keys() & {*numbers.measured.positions}]

    def _why_unread(self, point: Point) -> str:
        if (self.runs / point.digest).exists():
            return "its files are damaged again"
        return f"its files are not in {self.runs}: every worker must see this folder"

    def _read(self, among: set[int] | None = None) -> tuple[list[Numbers], list[Point]]:
        done = (
            point
            for point in self.points()
            if self.is_done(point) and (among is None or point.number in among)
        )
        return read_points(self.runs, done)

    def _dataset(self, found: list[Numbers]) -> xr.Dataset:
        errors = {number: failure["error"] for number, failure in self.failures.items()}
        result = assemble(found, self.grid, errors)
        common = self.describe()
        result.attrs = {
            "study": self.study.name(),
            "title": self.study.title(),
            "version": self.study.version,
            "parameters": json.dumps(common["parameters"]),
            "smoke": int(self.study.is_smoke),
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
        netcdf.save(self.folder / "result.nc", dataset)

    def summary(self) -> str:
        """Return how the sweep ended, in one sentence."""
        failed = self._n(FAILED)
        text = f"{self._n(DONE)} of {len(self.grid)} points are finished"
        return f"{text}, {failed} failed" if failed else text


class _EngineWhenNeeded(contextlib.ExitStack):
    """Starts the engine a user asked for with the first task: a finished sweep needs none."""

    def __init__(self, workers: int, scheduler: str | None, client: Client | None) -> None:
        super().__init__()
        self._asked = (workers, scheduler, client)
        self._engine: Engine | None = None

    def of(self, n_tasks: int) -> Engine:
        """Return the engine, started for as many tasks where it is not yet there."""
        if self._engine is None:
            workers, scheduler, client = self._asked
            self._engine = self.enter_context(opened(min(workers, n_tasks), scheduler, client))
        return self._engine


def fields_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a point that are fields of the study: all but its seed."""
    return {name: value for name, value in point.items() if name != "seed"}
