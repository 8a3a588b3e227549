"""A study: parameters, a measurement, its theory, and the checks that hold them together.

A study is a frozen dataclass. Its fields are the parameters; type, range and docstring are
written once and serve as validation, command-line flags, sweeps and sliders. Its methods read
top to bottom like a script::

    measured = study.measure(run)             # simulation, training, or the user's data
    theory   = study.theory(measured)         # no randomness
    checks, answers, figures                  # read the two datasets only

A run is a folder ``runs/<study>/<hash>/``; the folder is the result, the cache and the resume.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import re
import shlex
import shutil
import time
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.checks import check_choice, check_range, nearest_names
from tractable.core.claims import Check, Cost, Paper, Table, plain_answer
from tractable.core.fields import Range, as_declared, check_field, field_hints
from tractable.core.processes import imported_beside, named_in
from tractable.core.progress import logged
from tractable.result import Result
from tractable.run import Run, environment

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client
    from matplotlib.figure import Figure

__all__ = ["Check", "Cost", "Paper", "Range", "Result", "Run", "Study", "Table"]

log = logging.getLogger("tractable")

# Fields of a study may not take the names of the runner's flags.
RESERVED = (
    *("seed", "device", "out", "force", "preset", "from", "from_", "threads", "workers"),
    *("dry_run", "figures", "study", "scheduler", "grid", "folder"),
)
LARGEST_SEED = 2**63 - 1
KEEP_SECONDS = 1.0  # a measurement that took longer is kept while the theory is computed


@dataclass(frozen=True)
class Study:
    """Base class of all studies; see the module's docstring."""

    version: ClassVar[int] = 1
    paper: ClassVar[Paper | None] = None
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    # --- what a study writes -----------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        """Return what was measured: simulation, training, or the user's data."""
        raise TypeError(f"{type(self).__name__} must define measure(self, run)")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the theory's numbers: of the fields alone where it can be, no randomness."""
        raise TypeError(f"{type(self).__name__} must define theory(self, measured=None)")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterable[Check]:
        """Yield the claims that can fail."""
        return ()

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterable[str | Table]:
        """Yield what the user asked, in sentences with numbers."""
        return ()

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        """Return pictures by name; a figure's label (``set_label``) is its caption."""
        return {}

    def cost(self, run: Run) -> Cost:
        """Do one step of the expensive part and return what the whole run costs."""
        raise TypeError(f"{type(self).__name__} does not say its cost: define cost(self, run)")

    def files(self) -> list[Path]:
        """Return the files that the result depends on; their content is part of the run's hash.

        By default every existing file or folder that a field names, also ``file.py:function``,
        and also as one of several in a tuple.
        """
        named = [value for value in _flat(asdict(self).values()) if isinstance(value, str | Path)]
        candidates = [Path(re.sub(r"(?<=\.py):\w+$", "", str(value))) for value in named if value]
        return [path for path in candidates if path.exists()]

    # --- what every study has ----------------------------------------------------------------

    def __init_subclass__(cls) -> None:
        """Refuse fields that would hide a flag of the runner."""
        super().__init_subclass__()
        for name in inspect.get_annotations(cls):
            if name in RESERVED:
                raise TypeError(
                    f"{cls.__name__} cannot have a field {name!r}: the command line uses this name"
                )

    def __post_init__(self) -> None:
        """Check every field against its type and Range; a study with rules of its own calls it."""
        for name, hint in self.field_types().items():
            value = getattr(self, name)
            check_field(name, value, hint)
            object.__setattr__(self, name, as_declared(value, hint))

    @classmethod
    @functools.cache
    def field_types(cls) -> dict[str, Any]:
        """Return the type of every parameter, with its Range."""
        hints = field_hints(cls)
        return {f.name: hints[f.name] for f in fields(cls)}

    @classmethod
    def name(cls) -> str:
        """Return the name on the command line: of the module for ours, of the class for others."""
        module = cls.__module__
        if module.startswith("tractable.studies."):
            return module.rsplit(".", 1)[1].replace("_", "-")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def title(cls) -> str:
        """Return the first line of the class's docstring."""
        return (inspect.getdoc(cls) or cls.__name__).splitlines()[0]

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> typing.Self:
        """Return the study with the parameters of a preset, some of them replaced.

        Raises
        ------
        ValueError
            For an unknown preset; the message names the nearest one.
        """
        check_choice("preset", name, ("default", *cls.presets))
        return cls(**{**cls.presets.get(name, {}), **overrides})

    @property
    def is_smoke(self) -> bool:
        """Whether these are the parameters of the preset ``smoke``.

        It shows that the study runs. Its sizes are too small for the claims: a check that fails
        there is shown with its numbers and asserts nothing.
        """
        return "smoke" in self.presets and self == type(self).preset("smoke")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> typing.Self:
        """Return the study with parameters read from JSON (lists become tuples)."""
        known = {f.name for f in fields(cls)}
        for key in parameters:
            if key not in known:
                near = nearest_names(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{cls.name()} has no parameter {key!r}{hint}")
        return cls(**{key: _tuples(value) for key, value in parameters.items()})

    def parameters(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return json.loads(store.canonical(asdict(self)))

    def command(self, seed: int = 0, file: str | None = None) -> str:
        """Return the command line of a run: every field that differs from its default."""
        words = ["tractable", "run", file or self.name()]
        types = self.field_types()
        for item in fields(self):
            value = getattr(self, item.name)
            default = item.default if item.default_factory is MISSING else item.default_factory()
            if value == default:
                continue
            flag = item.name.replace("_", "-")
            if types[item.name] is bool:
                words.append(f"--{flag}" if value else f"--no-{flag}")
            elif isinstance(value, tuple):
                words += [f"--{flag}", *map(str, value)]
            elif isinstance(value, str) and value.startswith("-"):  # not a flag of its own
                words.append(f"--{flag}={value}")
            else:
                words += [f"--{flag}", str(value)]
        if seed:
            words += ["--seed", str(seed)]
        return shlex.join(words)

    @classmethod
    def source_file(cls) -> Path | None:
        """Return the file of a study that is not part of this library, else None."""
        if cls.__module__.startswith("tractable."):
            return None
        try:
            path = Path(inspect.getfile(cls))
        except (TypeError, OSError):
            return None
        return path.resolve() if path.is_file() else None

    def identity(self, seed: int) -> dict[str, Any]:
        """Return all that the result depends on; its hash names the run folder.

        Raises
        ------
        ValueError
            A seed out of range, or a study file that has changed since it was imported.
        """
        check_range("seed", seed, 0, LARGEST_SEED)
        source = self.source_file()
        if source is not None:
            own = [source, *imported_beside(source)]
            now = store.digest([[str(path), store.hash_file(path)] for path in own])
            if _imported.setdefault(type(self), now) != now:
                raise ValueError(
                    f"{source} has changed since {type(self).__name__} was imported, or a file "
                    "beside it that it imports, and the old text would run under the new one's "
                    "name: import it again (start anew)"
                )
        paths = [*self.files(), *([] if source is None else [source])]
        code = [path for path in paths if path.suffix == ".py" and path.is_file()]
        beside = dict.fromkeys(other for path in code for other in imported_beside(path))
        known = {path.resolve() for path in paths}
        paths += [path for path in beside if path not in known]
        files = [[path.name, store.hash_file(path)] for path in paths]
        return {
            "study": self.name(),
            "version": self.version,
            "parameters": self.parameters(),
            "seed": seed,
            "files": files,
        }

    def folder(self, *, seed: int = 0, out: str | Path = "runs") -> Path:
        """Return the folder of this run, whether or not it exists."""
        return Path(out) / self.name() / store.digest(self.identity(seed))

    def run(
        self,
        *,
        seed: int = 0,
        device: str = "auto",
        out: str | Path = "runs",
        force: bool = False,
        workers: int = 0,
        threads: int | None = None,
        engine: Executor | Client | None = None,
        progress: bool = True,
        reporter: Callable[[int, float], None] | None = None,
    ) -> Result:
        """Measure, compute the theory and the checks, and return the result.

        A finished run is read back from its folder; a run that was stopped goes on where it was.

        Parameters
        ----------
        seed : int
            Decides everything random.
        device : str
            ``auto`` (CUDA when present), ``cpu``, ``cuda``, ``cuda:1``.
        out : path
            Where the run folders are.
        force : bool
            Compute anew, also when the run is finished.
        workers : int
            Processes for `Run.map`; 0 computes in this process.
        threads : int, optional
            Threads of torch in this process.
        engine : concurrent.futures.Executor or distributed.Client, optional
            Used by `Run.map` instead of ``workers``.
        progress : bool
            Show progress on a terminal.
        reporter : callable, optional
            Receives ``(step, value)`` from `Run.report`.

        Raises
        ------
        Locked
            Another living process computes the same run.
        """
        check_range("workers", workers, 0)
        if threads is not None:
            check_range("threads", threads, 1)
        identity = self.identity(seed)
        final = Path(out) / self.name() / store.digest(identity)
        if not force and (final / "checks.json").exists():
            self._name_newer_files(final)
            return Result.open(final, self)
        partial = final.with_name(final.name + ".partial")
        store.make(partial)
        with store.lock(partial), contextlib.ExitStack() as stack:
            if not force and (final / "checks.json").exists():  # finished by another meanwhile
                shutil.rmtree(partial)
                return Result.open(final, self)
            stack.enter_context(logged(partial / "log.txt"))
            if force:
                _empty(partial)
            if engine is None and workers > 0:
                engine = stack.enter_context(_workers(workers))
            if threads is not None:
                import torch

                torch.set_num_threads(threads)
            run = Run(seed, partial, device, engine, progress, reporter)
            self._compute(run, identity)
            if final.exists():
                shutil.rmtree(final)
            os.rename(partial, final)
        (final / "lock.json").unlink(missing_ok=True)
        return Result.open(final, self)

    def _name_newer_files(self, final: Path) -> None:
        """Say which files the hash does not see, and that may have changed since the run."""
        finished = (final / "checks.json").stat().st_mtime
        seen = [*self.files(), *filter(None, [self.source_file()])]
        for code in (path for path in seen if path.suffix == ".py"):
            for file in set(named_in(code)) - set(seen):
                if file.stat().st_mtime > finished:
                    log.warning(
                        "%s, which %s names, is newer than this finished run: if the result "
                        "depends on it, --force (force=True) computes anew",
                        *(file, code.name),
                    )

    def measurement(self, run: Run) -> xr.Dataset:
        """Return what `measure` returns, with the notes of the run."""
        measured = _dataset("measure", self.measure(run))
        measured.attrs["notes"] = json.dumps(run.notes)
        return measured

    def evaluate(
        self, measured: xr.Dataset
    ) -> tuple[xr.Dataset, tuple[Check, ...], tuple[str | Table, ...]]:
        """Return theory, checks and answers of a measurement."""
        theory = _dataset("theory", self.theory(measured))
        checks = tuple(self.checks(theory, measured))
        return theory, checks, tuple(self.answers(theory, measured))

    def _compute(self, run: Run, identity: dict[str, Any]) -> None:
        from tractable.core.seeds import seeded

        started = time.time()
        log.info("%s on %s, seed %d", self.name(), run.device, run.seed)
        result, done = run.folder / "result.nc", run.folder / "measured.nc"
        with seeded(run.seed):
            measured = _kept(done)
            if measured is None:
                if list((run.folder).glob("points/*.nc")) or list(run.folder.glob("checkpoints/*")):
                    log.info("%s: going on where it was stopped", self.name())
                begun = time.monotonic()
                measured = self.measurement(run)
                if time.monotonic() - begun > KEEP_SECONDS:
                    netcdf.save_or_part(done, measured)
            try:
                # The theory and the checks read what a later redrawing will read.
                file = netcdf.packed(measured=measured)
                measured = netcdf.as_read(measured, file, "measured")
                log.info("%s: measured; computing the theory", self.name())
                theory, checks, answers = self.evaluate(measured)
            except Exception as error:
                if done.exists():
                    error.add_note(f"What was measured is kept in {done}")
                raise
        netcdf.save(result, netcdf.packed(file=file, theory=theory))
        source = self.source_file()
        store.write_json(
            run.folder / "params.json",
            {
                **identity,
                "study_file": None if source is None else str(source),
                "environment": environment(run),
                "seconds": round(time.time() - started, 2),
                "result_sha256": store.hash_content(result),
            },
        )
        store.write_json(run.folder / "answers.json", [plain_answer(answer) for answer in answers])
        for item in list(run.folder.iterdir()):  # what only an unfinished run needs
            if item.name in ("points", "checkpoints"):
                shutil.rmtree(item, ignore_errors=True)
            elif item.name.startswith("attempts-") or item == done:
                item.unlink(missing_ok=True)
        log.info("%s: %d of %d checks hold", self.name(), sum(c.holds for c in checks), len(checks))
        # Written last: a folder with checks.json is a finished run.
        store.write_json(run.folder / "checks.json", [asdict(check) for check in checks])


# --- helpers ---------------------------------------------------------------------------------


def _dataset(method: str, value: Any) -> xr.Dataset:
    import xarray as xr

    if not isinstance(value, xr.Dataset):
        raise TypeError(f"{method} must return an xarray.Dataset, got {type(value).__name__}")
    return value


def _kept(path: Path) -> xr.Dataset | None:
    """Return the measurement that an earlier attempt has kept, None if there is none."""
    if not path.exists():
        return None
    try:
        return netcdf.load(path)
    except (OSError, KeyError, ValueError):
        log.warning("%s is damaged: measuring again", path)
        path.unlink()
        return None


_imported: dict[type[Study], str] = {}  # the hash of the file when a class was first named


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flat(value)
        else:
            yield value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name not in ("lock.json", "log.txt"):
            item.unlink()


@contextlib.contextmanager
def _workers(workers: int) -> Iterator[Any]:
    from tractable.core.cluster import local

    with local(workers) as client:
        yield client
