"""The command line: parsing and printing only.

``tractable list`` and ``--help`` import neither torch nor numpy; a study's module is imported
once its name is known, and tyro reads the study's fields for the flags.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tractable
from tractable.core.checks import nearest_names

if TYPE_CHECKING:
    from tractable.result import Result
    from tractable.study import Study

LIBRARY = os.path.dirname(os.__file__)  # Python's own
OK, CHECK_FAILED, BAD_INPUT, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 3, 130

USAGE = """\
Neural networks you can solve: theories of neural networks beside the networks they explain.

usage: tractable COMMAND ...

  list                     the studies: name, question, paper
  run STUDY [flags]        run a study, or a study in your own file: tractable run my_study.py
  sweep STUDY --grid ...   run it at every point of a grid, here or on a cluster
  search STUDY [flags]     look for the parameters that are best
  report RUNS...           draw the page of a finished run again, or one page of a sweep
  explore [STUDY] [flags]  a local page with sliders that move the theory's curves
  data                     the named data sets, and where they are

tractable run STUDY --help shows the parameters of a study.
Exit codes: 0 all checks hold (the preset smoke asserts none), 1 a check or a point fails,
2 bad input, 3 internal error, 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()  # here, not at exit: a reader that has left is no error
    except BrokenPipeError:  # it has seen enough: `tractable list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _main(argv: list[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {
        **{"list": _list, "run": _run, "sweep": _sweep, "search": _search},
        **{"report": _report, "explore": _explore, "data": _data},
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return OK if words else BAD_INPUT
    if words[0] == "--version":
        print(f"tractable {tractable.__version__}")
        return OK
    if words[0] not in commands:
        near = nearest_names(words[0], commands, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _fail(f"there is no command {words[0]!r}{hint} (see tractable --help)")
    try:
        return commands[words[0]](words[1:])
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from here")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if _is_bad_input(error):
            return _fail("\n".join([str(error), *getattr(error, "__notes__", [])]))
        traceback.print_exc()
        _complain(f"{_whose(error)}: {type(error).__name__}: {error}")
        return INTERNAL_ERROR


# --- commands --------------------------------------------------------------------------------


def _list(words: list[str]) -> int:
    from tractable.studies import index

    if words:
        return _fail(f"list takes no arguments, got {' '.join(words)}")
    entries = index()
    width = max(map(len, entries), default=0)
    for name, entry in sorted(entries.items()):
        paper = f"  [{entry.paper.authors} {entry.paper.year}]" if entry.paper else ""
        print(f"{name:<{width}}  {entry.title}{paper}")
    return OK


def _run(words: list[str]) -> int:
    from tractable.studies import find

    if (code := _without_study("run", words)) is not None:
        return code
    cls = find(words[0])
    flags = _parse(cls, words[0], words[1:])
    study = flags.study
    if flags.dry_run:
        return _dry_run(study, flags)
    folder = study.folder(seed=flags.seed, out=flags.out)
    cached = not flags.force and (folder / "checks.json").exists()
    if flags.scheduler is not None and flags.workers:
        raise ValueError("--scheduler excludes --workers: both say where the points are computed")
    with _log_on_terminal(), _scheduler(flags.scheduler) as engine:
        result = study.run(
            seed=flags.seed,
            device=flags.device,
            out=flags.out,
            force=flags.force,
            workers=flags.workers,
            threads=flags.threads,
            engine=engine,
        )
    _show(result)
    page = result.folder / "report.html"
    drawn = flags.figures == "svg" or any(result.folder.glob(f"figures/*.{flags.figures}"))
    if not (page.exists() and drawn):
        from tractable import report

        page = report.write(result, figures=flags.figures)
    print(f"\n{'found finished' if cached else 'finished'}: {result.summary()}\n{page}")
    return OK if result.holds or study.is_smoke else CHECK_FAILED


def _without_study(command: str, words: list[str]) -> int | None:
    """Answer a command line that names no study; None when it does."""
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: tractable {command} STUDY [flags]\n\nThe studies are:\n")
        _list([])
        return OK if words else BAD_INPUT
    if words[0].startswith("-"):
        return _fail(f"the study comes first: tractable {command} STUDY {words[0]} ...")
    return None


@contextlib.contextmanager
def _scheduler(address: str | None) -> Iterator[Any]:
    if address is None:
        yield None
        return
    from tractable.core.cluster import connect

    with connect(address) as client:
        yield client


def _sweep(words: list[str]) -> int:
    from tractable.studies import find

    if (code := _without_study("sweep", words)) is not None:
        return code
    flags = _parse(find(words[0]), words[0], words[1:], "sweep")
    from tractable.sweep import plan
    from tractable.sweep_dataset import holding

    todo = plan(
        flags.study,
        flags.grid,
        random=flags.random,
        random_seed=flags.random_seed,
        seed=flags.seed,
        device=flags.device,
        threads=flags.threads,
        out=flags.out,
        points_per_file=flags.points_per_file,
    )
    given = {word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    if twice := sorted(given & set(todo.grid.names)):
        raise ValueError(f"--{twice[0]} and --grid {twice[0]}=... exclude one another: give one")
    if flags.dry_run:
        return _dry_sweep(todo, flags)
    with _log_on_terminal():
        dataset = todo.run(workers=_workers(flags), scheduler=flags.scheduler)
    good, checked = holding(dataset)
    smoke = bool(dataset.attrs["smoke"])
    for failure in todo.failures.values():
        where = ", ".join(f"{name}={value}" for name, value in failure["point"].items())
        _complain(f"{where}: {failure['error']}")
    if failed := len(todo.failures):
        _complain(f"tracebacks of {failed} failed point(s): {todo.folder / 'failures.json'}")
    small = " (the preset smoke is too small for them)" if smoke else ""
    print(f"{todo.summary()}; all checks hold in {good} of {checked}{small}")
    print(f"{todo.folder / 'result.nc'}\npage: tractable report {todo.folder}")
    return OK if not todo.failures and (smoke or good == checked) else CHECK_FAILED


def _dry_sweep(todo: Any, flags: Any) -> int:
    from tractable.study import Run, Study

    missing, workers = todo.look(), max(_workers(flags), 1)
    print(f"{len(todo.grid)} points, {len(todo.grid) - missing} of them finished")
    point = next((point for point in todo.points() if not todo.is_done(point)), None)
    if point is None:
        return OK
    study = type(todo.study).from_parameters(point.parameters)
    if type(study).cost is Study.cost:  # a study of one's own need not say it
        print(f"{study.name()} does not say what a point costs: it defines no cost(self, run)")
        return OK
    with tempfile.TemporaryDirectory() as folder:
        cost = study.cost(Run(point.seed, Path(folder), flags.device, show_progress=False))
    hours = cost.seconds * missing / workers / 3600
    print(f"the first that is missing: {cost}")
    print(f"{missing} such points on {workers} worker(s): about {hours:.2g} hours")
    return OK


def _search(words: list[str]) -> int:
    from tractable.studies import find

    if (code := _without_study("search", words)) is not None:
        return code
    flags = _parse(find(words[0]), words[0], words[1:], "search")
    from tractable.search import search

    with _log_on_terminal():
        dataset = search(
            flags.study,
            flags.objective,
            maximize=flags.maximize,
            over=flags.over,
            trials=flags.trials,
            sampler=flags.sampler,
            pruner=flags.pruner,
            storage=flags.storage,
            seed=flags.seed,
            search_seed=flags.search_seed,
            workers=_workers(flags),
            scheduler=flags.scheduler,
            device=flags.device,
            threads=flags.threads,
            out=flags.out,
        )
    states = dataset.state.values.tolist()
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{len(states)} trials: {counts}")
    if "best_value" not in dataset.attrs:
        return CHECK_FAILED
    print(f"best {flags.objective}: {dataset.attrs['best_value']:.6g}")
    print(f"{dataset.attrs['best_command']}\n{dataset.attrs['folder']}")
    return OK


def _workers(flags: Any) -> int:
    """Return the workers asked for; by default one for each GPU, or each core."""
    if flags.workers is not None and flags.scheduler is not None:
        raise ValueError("--scheduler excludes --workers: both say where the points are computed")
    if flags.workers is not None:
        return flags.workers
    if flags.scheduler is not None:
        return 0
    from tractable.core.cluster import available_cores
    from tractable.core.devices import n_gpus

    gpus = n_gpus() if flags.device in ("auto", "cuda") else 0
    return gpus or max(1, available_cores() // flags.threads)


def _parse(cls: type[Study], name: str, words: list[str], command: str = "run") -> Any:
    """Two steps: --preset and --from choose the defaults, then tyro parses the flags over them."""
    preset, source = _value(words, "--preset"), _value(words, "--from")
    if preset is not None and source is not None:
        raise ValueError("--from excludes --preset: a params.json holds every parameter")
    seed = 0
    if source is not None:
        parameters, seed = _read_parameters(Path(source), cls)
        start = cls.from_parameters(parameters)
    else:
        start = cls.preset(preset or "default")
    presets = ", ".join(dict.fromkeys(("default", *cls.presets)))
    paper = f"\n\nPaper: {cls.paper}" if cls.paper else ""
    from tractable import flags

    return flags.parse_flags(
        {
            "run": flags.RunFlags,
            "sweep": flags.SweepFlags,
            "search": flags.SearchFlags,
            "explore": flags.ExploreFlags,
        }[command],
        cls,
        f"tractable {command} {name}",
        f"{cls.title()}{paper}\n\nPresets: {presets}",
        words,
        study=start,
        preset=preset or "default",
        from_=Path(source) if source else None,
        seed=seed,
    )


def _value(words: list[str], flag: str) -> str | None:
    for i, word in enumerate(words):
        if word == flag:
            if i + 1 == len(words) or words[i + 1].startswith("--"):
                raise ValueError(f"{flag} needs a value")
            return words[i + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def _read_parameters(path: Path, cls: type[Study]) -> tuple[dict[str, Any], int]:
    path = path / "params.json" if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--from: cannot read {path}: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"--from: {path} must hold a JSON object, got {type(record).__name__}")
    if "parameters" not in record:
        return record, 0
    if record.get("study", cls.name()) != cls.name():
        raise ValueError(f"--from: {path} is of the study {record['study']!r}, not {cls.name()!r}")
    parameters, seed = record["parameters"], record.get("seed", 0)
    if not isinstance(parameters, dict) or not isinstance(seed, int):
        raise ValueError(f"--from: {path} must hold parameters by name and an integer seed")
    return parameters, seed


def _dry_run(study: Study, flags: Any) -> int:
    from tractable.study import Run

    study.identity(flags.seed)  # refuses a seed out of range
    with tempfile.TemporaryDirectory() as folder:
        cost = study.cost(Run(flags.seed, Path(folder), flags.device, show_progress=False))
    print(f"{study.name()}: {cost}")
    return OK


def _report(words: list[str]) -> int:
    from tractable import report, sweep_report
    from tractable.flags import parse_report

    flags = parse_report(words)
    if not flags.folders:
        return _fail("report needs the folder of a run or of a sweep: tractable report RUNS...")
    if len(flags.folders) == 1 and not sweep_report.is_sweep(flags.folders[0]):
        print(report.write(report.open_run(flags.folders[0]), figures=flags.figures))
        return OK
    sweeps = [folder for folder in flags.folders if sweep_report.is_sweep(folder)]
    several = len(sweeps) == len(flags.folders) and flags.out is None  # a page for each
    for folders in [[folder] for folder in sweeps] if several else [flags.folders]:
        found = sweep_report.open_runs(folders, flags.out)
        print(sweep_report.write(found, figures=flags.figures))
    return OK


def _explore(words: list[str]) -> int:
    from tractable.explore import link_words, serve
    from tractable.flags import parse_explore

    name = words[0] if words and not words[0].startswith("-") else None
    if name is None:
        flags, link = parse_explore(words), {}
    else:
        from tractable.studies import find

        flags = _parse(find(name), name, words[1:], "explore")
        link = {"study": name, **link_words(flags.study)}
        if flags.seed:
            link["seed"] = str(flags.seed)
    return serve(
        link,
        port=flags.port,
        browser=flags.browser,
        out=flags.out,
        tell=lambda address: print(f"{address}\nCtrl-C ends it.", flush=True),
    )


def _data(words: list[str]) -> int:
    from tractable.data import listing

    if words:
        return _fail(f"data takes no arguments, got {' '.join(words)}")
    for row in listing():
        print(f"{row.name}: {row.description}")
        print(f"  license  {row.license}")
        size = f" ({row.size / 2**20:.1f} MiB)" if row.size else ""
        print(f"  here     {row.folder}{size}" if row.folder else f"  get it   {row.advice}")
    return OK


# --- printing --------------------------------------------------------------------------------


def _show(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(highlight=False, soft_wrap=True)
    for answer in result.answers:
        if isinstance(answer, str):
            console.print(f"• {answer}", markup=False)
            continue
        table = RichTable(title=answer.title, title_justify="left")
        for column in answer.columns:
            table.add_column(column, overflow="fold")  # a narrow terminal hides no digits
        for row in answer.rows:
            table.add_row(*(_text(cell) for cell in row))
        console.print(table)
    for check in result.checks:
        sign = {"at_most": "<=", "at_least": ">="}.get(check.kind, "=")
        failed = "too small" if result.study.is_smoke else "[red]FAILS[/red]"
        verdict = "[green]holds[/green]" if check.holds else failed
        console.print(f"{verdict}  ", end="")
        console.print(
            f"{check.name}: {check.measured:.4g} (expected {sign} {check.expected:.4g})",
            markup=False,
        )


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


@contextlib.contextmanager
def _log_on_terminal() -> Iterator[None]:
    from rich.console import Console
    from rich.logging import RichHandler

    log = logging.getLogger("tractable")
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
    handler.addFilter(lambda record: not getattr(record, "file_only", False))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _complain(message: str) -> None:
    print(f"tractable: {message}", file=sys.stderr)


def _fail(message: str) -> int:
    _complain(message)
    return BAD_INPUT


def _whose(error: BaseException) -> str:
    """Say where a defect stands: in a user's own file, or in this library."""
    ours = str(Path(tractable.__file__).parent)
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if _is_installed(frame.filename):
                continue
            if frame.filename.startswith(ours) or not frame.filename.endswith(".py"):
                break
            return f"{frame.filename}, line {frame.lineno}"
        cause = cause.__cause__
    return "internal error"


def _is_bad_input(error: BaseException) -> bool:
    """Tell a user's mistake from a defect: an error that this library raised on purpose.

    Errors of Python or of a dependency inside our code are defects and keep their traceback.
    """
    from tractable.core.folder import Locked

    if isinstance(error, Locked | OSError):  # no such file, no room, no permission
        return True
    if not isinstance(error, ValueError | TypeError | ImportError | RuntimeError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = str(Path(tractable.__file__).parent)
    raised = linecache.getline(last.filename, last.lineno or 0).strip().startswith("raise")
    return raised and (last.filename.startswith(ours) or not _is_installed(last.filename))


def _is_installed(file: str) -> bool:
    """Tell the files of Python and of packages from a user's own."""
    return "site-packages" in file or file.startswith((sys.prefix, LIBRARY))


if __name__ == "__main__":
    sys.exit(main())
