"""One point of a sweep or a search: what a worker does, and where its numbers are.

A point is a run: (study, parameters, seed). A worker leaves it in its run folder
``<out>/<study>/<hash>/`` without figures and page, or, when points share files, many of them in one
``<out>/<study>/shared/<block>-<part>.nc`` with a ``.json`` beside it that says which. Both are
written under another name and renamed when they are whole, so what is there is finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.engine import Engine, Here
from tractable.core.processes import Reference
from tractable.result import read_json
from tractable.run import Run
from tractable.stored_points import is_finished, shared_points
from tractable.study import Study, log

if TYPE_CHECKING:
    import xarray as xr


__all__ = [
    "Order",
    "Point",
    "Report",
    "Same",
    "compute",
    "last_line",
    "reference",
]

RETRIES = 2
FLUSH_SECONDS = 5.0  # of work at most are lost with the worker of a shared file
_one_at_a_time = threading.Lock()  # seeds and logs belong to the process


@dataclass(frozen=True)
class Point:
    """One point: its number in the sweep, its parameters, its seed, its hash."""

    number: int
    parameters: Mapping[str, Any]
    seed: int
    digest: str


@dataclass(frozen=True)
class Same:
    """A class of this process, for this process."""

    cls: type[Study]

    def resolve(self) -> type[Study]:
        """Return it."""
        return self.cls


def reference(cls: type[Study], engine: Engine) -> Reference | Same:
    """Return how a task of the engine finds the class."""
    return Same(cls) if isinstance(engine, Here) else Reference.of(cls)


@dataclass(frozen=True)
class Order:
    """What a worker is asked to do."""

    study: Reference | Same
    points: tuple[Point, ...]
    out: str
    session: str
    """Attempts are counted for each session."""
    device: str = "auto"
    threads: int = 1
    block: str = ""
    """Name of the shared files; empty: a run folder for each point."""
    force: bool = False
    """Compute what is there, but damaged, again."""
    reporter: Callable[[int, float], None] | None = None
    """Receives ``(step, value)`` of `Run.report`; may stop the run by an exception."""
    stops: tuple[type[BaseException], ...] = ()
    """Exceptions that end a point without being an error."""


@dataclass(frozen=True)
class Report:
    """How a point ended: ``done``, ``failed``, ``busy``, ``stopped``, or ``full``."""

    point: Point
    status: str
    text: str = ""
    """The traceback of an error; who is at work where it is busy."""
    attempts: int = 1


def compute(order: Order) -> list[Report]:
    """Compute the points of an order in this process, one after the other."""
    import torch

    from tractable.core.devices import claim

    with _one_at_a_time, _only_their_own_logs():
        if torch.get_num_threads() != order.threads:
            torch.set_num_threads(order.threads)
        cls = order.study.resolve()
        device = claim(order.device) if order.device in ("auto", "cuda") else order.device
        if order.block:
            return list(_block(order, cls, device))
        return [_in_its_folder(order, cls, point, device) for point in order.points]


def last_line(text: str) -> str:
    r"""Return the line of a traceback that names the error, or the last one of another text.

    Examples
    --------
    >>> last_line("Traceback:\n  File 'a.py', in f\n    g()\nValueError: no n = 1\nor 2")
    'ValueError: no n = 1'
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    frames = [i for i, line in enumerate(lines) if line.startswith("  File ")]
    if frames:
        after = [line for line in lines[frames[-1] :] if not line[0].isspace()]
        if after:
            return after[0]
    return lines[-1].strip() if lines else ""


# --- in a run folder -------------------------------------------------------------------------


def _in_its_folder(order: Order, cls: type[Study], point: Point, device: str) -> Report:
    folder = Path(order.out) / cls.name() / point.digest
    if is_finished(folder) and not order.force:
        return Report(point, "done")
    partial = folder.with_name(f"{point.digest}.partial")
    attempts = 1
    try:
        study = _study(cls, point, order.out)
        attempts = _attempt(partial, order.session)
        if attempts > 1 + RETRIES:
            return Report(point, "failed", _story(partial, order.session, attempts - 1), attempts)
        study.run(
            seed=point.seed,
            out=order.out,
            device=device,
            force=order.force,
            progress=False,
            reporter=order.reporter,
        )
    except store.Locked as locked:
        with contextlib.suppress(OSError):
            _attempt(partial, order.session, -1)
        return Report(point, "busy", str(locked))
    except order.stops as stop:
        return Report(point, "stopped", str(stop), attempts)
    except (Exception, SystemExit) as error:
        report = _failure(point, error, order.out, attempts)
        if report.status == "failed":
            _keep_story(partial, order.session, report.text)
        return report
    if partial.exists() and not (partial / "lock.json").exists():
        shutil.rmtree(partial, ignore_errors=True)  # another sweep has finished it meanwhile
    return Report(point, "done", attempts=attempts)


def _study(cls: type[Study], point: Point, out: str) -> Study:
    """Return the study of a point; this machine must see what the sweep's machine sees."""
    study = cls.from_parameters(point.parameters)
    here = study.folder(seed=point.seed, out=out).name
    if here != point.digest:
        raise ValueError(
            "the worker sees another version of the study, or of a file that it reads, than the "
            f"process that started the sweep (hash {here} instead of {point.digest})"
        )
    return study


def _attempt(partial: Path, session: str, add: int = 1) -> int:
    """Count the starts of a run in this session, also those that ended with their worker."""
    path = partial / f"attempts-{session}"
    try:
        before = path.stat().st_size
    except FileNotFoundError:
        partial.mkdir(parents=True, exist_ok=True)
        before = 0
    if add > 0:
        with path.open("ab") as file:
            file.write(b"." * add)
    elif before:
        os.truncate(path, before + add)
    return before + add


def _keep_story(partial: Path, session: str, text: str) -> None:
    """Keep the traceback of a start that failed: the same point may be asked for again."""
    path = partial / f"attempts-{session}.json"
    with contextlib.suppress(OSError):
        failed = json.loads(path.read_text())["failed"] if path.exists() else 0
        store.write_json(path, {"failed": failed + 1, "traceback": text})


def _story(partial: Path, session: str, starts: int) -> str:
    """Return why a point has failed that may not be tried again: its own error, or its losses."""
    path = partial / f"attempts-{session}.json"
    kept: dict[str, Any] = {"failed": 0, "traceback": ""}
    if path.exists():
        kept = read_json(path)
    lost = starts - kept["failed"]
    if not kept["failed"]:
        return f"Lost: its worker was lost {lost} times"
    besides = f"Lost: its worker was lost {lost} times; it failed by itself too:\n" if lost else ""
    return f"{besides}{kept['traceback']}"


def _failure(point: Point, error: BaseException, out: str, attempts: int) -> Report:
    text = "".join(traceback.format_exception(error))
    if store.is_full(error) or _no_room(out):
        return Report(point, "full", text, attempts)
    return Report(point, "failed", text, attempts)


def _no_room(out: str) -> bool:
    """Tell whether the disk is full: not every library says that this is why it failed."""
    try:
        return shutil.disk_usage(out).free < 2**16
    except OSError:
        return False


@contextlib.contextmanager
def _only_their_own_logs() -> Iterator[None]:
    """Let runs write their own ``log.txt``, but not to the log and the terminal of the sweep."""
    handlers = list(log.handlers)
    for handler in handlers:
        log.removeHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.addHandler(handler)


# --- in a shared file ------------------------------------------------------------------------


@dataclass
class _Row:
    point: Point
    theory: xr.Dataset
    measured: xr.Dataset
    checks: list[dict[str, Any]]


def _block(order: Order, cls: type[Study], device: str) -> Iterator[Report]:
    folder = Path(order.out) / cls.name() / "shared"
    partial = folder / f"{order.block}.partial"
    try:
        if _attempt(partial, order.session) > 1:  # a worker was lost: find out by which point
            shutil.rmtree(partial / "work", ignore_errors=True)
            for point in order.points:
                yield _in_its_folder(order, cls, point, device)
            shutil.rmtree(partial, ignore_errors=True)
            return
        with store.lock(partial):
            yield from _share(order, cls, folder, device)
    except store.Locked as locked:
        with contextlib.suppress(OSError):
            _attempt(partial, order.session, -1)
        for point in order.points:
            yield Report(point, "busy", str(locked))
        return
    except OSError as error:
        for point in order.points:
            yield _failure(point, error, order.out, 1)
        return
    shutil.rmtree(partial, ignore_errors=True)


def _share(order: Order, cls: type[Study], folder: Path, device: str) -> Iterator[Report]:
    known = shared_points(folder, order.block).rows
    rows: list[_Row] = []
    started = time.monotonic()
    for point in order.points:
        final = folder.parent / point.digest
        if not order.force and (point.digest in known or is_finished(final)):
            yield Report(point, "done")
            continue
        try:
            row = _compute_row(order, cls, point, device)
        except order.stops as stop:
            yield Report(point, "stopped", str(stop))
            continue
        except (Exception, SystemExit) as error:
            own = final.with_name(f"{point.digest}.partial")
            report = _failure(point, error, order.out, _attempt(own, order.session))
            if report.status == "failed":
                _keep_story(own, order.session, report.text)
            yield report
            continue
        if row is None:  # it has files of its own
            yield _in_its_folder(order, cls, point, device)
            continue
        rows.append(row)
        if time.monotonic() - started > FLUSH_SECONDS:
            yield from _write_rows(order, cls, folder, rows, device)
            rows, started = [], time.monotonic()
    if rows:
        yield from _write_rows(order, cls, folder, rows, device)


def _compute_row(order: Order, cls: type[Study], point: Point, device: str) -> _Row | None:
    """Compute a point in memory; None when it saves files that a shared file cannot hold."""
    from tractable.core.seeds import seeded

    study = _study(cls, point, order.out)
    with tempfile.TemporaryDirectory(prefix="tractable-") as place:
        run = Run(point.seed, Path(place), device, None, False, order.reporter)
        with seeded(point.seed):
            measured = netcdf.as_read(study.measurement(run))
            theory, checks, _ = study.evaluate(measured)
        passing = {"points", "checkpoints"}
        if {path.name for path in Path(place).iterdir()} - passing:
            return None
    return _Row(point, theory, measured, [asdict(check) for check in checks])


def _stacked(rows: list[_Row]) -> tuple[xr.Dataset, xr.Dataset] | None:
    """Return measurement and theory of all rows; None where they have no common dimensions."""
    from tractable.core.stack import POINT, Part, stack

    found = []
    for kind in ("measured", "theory"):
        datasets = [getattr(row, kind) for row in rows]
        try:
            dataset = stack([Part((i,), one) for i, one in enumerate(datasets)], len(rows))
        except ValueError:
            return None
        lost = {f"{dim}_values" for dim in dataset.dims} & set(map(str, dataset.variables))
        if lost or any(POINT in one.dims for one in datasets):  # labels would be lost
            return None
        found.append(dataset)
    return found[0], found[1]


def _write_rows(
    order: Order, cls: type[Study], folder: Path, rows: list[_Row], device: str
) -> Iterator[Report]:
    name = f"{order.block}-{rows[0].point.digest}"
    path = folder / f"{name}.nc"
    try:
        parts = _stacked(rows)
        if parts is None:  # they do not fit into one file
            for row in rows:
                yield _in_its_folder(order, cls, row.point, device)
            return
        measured, theory = parts
        netcdf.save(path, measured=measured, theory=theory)
        record = {
            "points": [row.point.digest for row in rows],
            "parameters": [dict(row.point.parameters) for row in rows],
            "seeds": [row.point.seed for row in rows],
            "checks": [row.checks for row in rows],
            "notes": [json.loads(row.measured.attrs.get("notes", "[]")) for row in rows],
            "result_sha256": store.hash_content(path),
        }
        store.write_json(path.with_suffix(".json"), record)
    except Exception as error:
        for row in rows:
            yield _failure(row.point, error, order.out, 1)
        return
    for row in rows:
        yield Report(row.point, "done")
