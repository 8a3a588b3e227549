"""The command line: parsing and printing only.

``tractable list`` and ``--help`` import neither torch nor numpy; a study's module is imported
once its name is known, and tyro reads the study's fields for the flags.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import logging
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

OK, CHECK_FAILED, BAD_INPUT, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 3, 130

USAGE = """\
Neural networks you can solve: theories of neural networks beside the networks they explain.

usage: tractable COMMAND ...

  list                     the studies: name, question, paper
  run STUDY [flags]        run a study, or a study in your own file: tractable run my_study.py
  report FOLDER            draw the figures and the page of a finished run again
  data                     the named data sets, and where they are

tractable run STUDY --help shows the parameters of a study.
Exit codes: 0 all checks hold, 1 a check fails, 2 bad input, 3 internal error, 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {"list": _list, "run": _run, "report": _report, "data": _data}
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
    except Exception as error:
        if _is_bad_input(error):
            return _fail(str(error))
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

    if not words or words[0] in ("-h", "--help"):
        print("usage: tractable run STUDY [flags]\n\nThe studies are:\n")
        _list([])
        return OK if words else BAD_INPUT
    if words[0].startswith("-"):
        return _fail(f"the study comes first: tractable run STUDY {words[0]} ...")
    cls = find(words[0])
    flags = _parse(cls, words[0], words[1:])
    study = flags.study
    if flags.dry_run:
        return _dry_run(study, flags)
    folder = study.folder(seed=flags.seed, out=flags.out)
    cached = not flags.force and (folder / "checks.json").exists()
    with _log_on_terminal():
        result = study.run(
            seed=flags.seed,
            device=flags.device,
            out=flags.out,
            force=flags.force,
            workers=flags.workers,
            threads=flags.threads,
        )
    _show(result)
    page = result.folder / "report.html"
    if not page.exists():
        from tractable import report

        page = report.write(result, figures=flags.figures)
    print(f"\n{'found finished' if cached else 'finished'}: {result.summary()}\n{page}")
    return OK if result.holds else CHECK_FAILED


def _parse(cls: type[Study], name: str, words: list[str]) -> Any:
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
    from tractable.flags import parse_run

    return parse_run(
        cls,
        f"tractable run {name}",
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
    from tractable import report
    from tractable.flags import parse_report

    flags = parse_report(words)
    print(report.write(report.open_run(flags.folder), figures=flags.figures))
    return OK


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
        table = RichTable(*answer.columns, title=answer.title, title_justify="left")
        for row in answer.rows:
            table.add_row(*(_text(cell) for cell in row))
        console.print(table)
    for check in result.checks:
        sign = {"at_most": "<=", "at_least": ">="}.get(check.kind, "=")
        verdict = "[green]holds[/green]" if check.holds else "[red]FAILS[/red]"
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
            if "site-packages" in frame.filename or frame.filename.startswith(sys.prefix):
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
    return raised and (last.filename.startswith(ours) or "site-packages" not in last.filename)


if __name__ == "__main__":
    sys.exit(main())
