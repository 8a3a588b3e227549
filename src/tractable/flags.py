"""The flags of every command, beside the fields of the study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from tractable.study import Study

__all__ = [
    "ExploreFlags",
    "OpenFlags",
    "ReportFlags",
    "RunFlags",
    "SearchFlags",
    "SweepFlags",
    "parse_explore",
    "parse_flags",
    "parse_report",
    "parse_run",
]

S = TypeVar("S")


@dataclass(frozen=True)
class RunFlags(Generic[S]):
    """Everything that a run's command line says."""

    study: Annotated[S, tyro.conf.arg(name="")]
    preset: str = "default"
    """Set of parameters to start from (see above); flags override it."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """Repeat the run of this params.json or run folder; flags override it; excludes --preset."""
    seed: int = 0
    """Decides everything random; at least 0."""
    device: str = "auto"
    """auto (CUDA when present), cpu, cuda, cuda:1."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Threads of torch; at least 1."""
    workers: int = 0
    """Processes for the points of an inner grid; 0: this process."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Dask scheduler for them instead, tcp://host:8786."""
    out: Path = Path("runs")
    """Folder of the run folders."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compute anew, also when the run is finished."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Do one step, and print what the whole run would cost."""
    figures: Literal["svg", "pdf", "png"] = "svg"
    """Format of the figure files."""


@dataclass(frozen=True)
class SweepFlags(Generic[S]):
    """Everything that a sweep's command line says."""

    study: Annotated[S, tyro.conf.arg(name="")]
    grid: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=VALUES")] = ()
    """Fields and values: depth=2,8,32 seed=0:10 gain=1e-3:1:log7 x=0:1:lin5 sizes=(2,),(2,8)."""
    random: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Draw as many points at random instead of taking all; gain=0.5:3 is then an interval."""
    random_seed: int = 0
    """Decides which points are drawn."""
    preset: str = "default"
    """Set of parameters to start from; flags override it."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """Start from this params.json or run folder; excludes --preset."""
    seed: int = 0
    """Of every point, where the grid does not sweep it."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Processes, one thread each; 0: this process; default: one for each core or GPU."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Running Dask scheduler that computes instead, tcp://host:8786."""
    device: str = "auto"
    """auto (a GPU of its own for each worker when there are any), cpu, cuda."""
    threads: int = 1
    """Threads of torch in every worker."""
    points_per_file: int = 1
    """Above 1: so many small points share a file, and have no run folders."""
    out: Path = Path("runs")
    """Folder of the run folders; every worker must see it."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Count the points, do one step of the first missing one, print what the rest would cost."""


@dataclass(frozen=True)
class SearchFlags(Generic[S]):
    """Everything that a search's command line says."""

    study: Annotated[S, tyro.conf.arg(name="")]
    objective: str = ""
    """Scalar of the measured dataset that is minimized."""
    maximize: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Maximize it instead."""
    over: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD[=VALUES]")] = ()
    """Fields to search, in their Range or as given: depth gain=0.5:3:log sizes=(2,8),(2,8,32)."""
    trials: int = 100
    """Trials in all: those of earlier calls, pruned and failed ones included."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Tree-structured Parzen estimator, or random search."""
    pruner: Literal["none", "median", "asha"] = "none"
    """Stops bad trials early, if the study reports how it goes (Run.report)."""
    storage: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Database of the trials (SQLAlchemy URL); default: a journal file beside the runs."""
    preset: str = "default"
    """Set of parameters to start from; flags override it."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """Start from this params.json or run folder; excludes --preset."""
    seed: int = 0
    """Of every run."""
    search_seed: int = 0
    """Decides what the sampler draws."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Processes, one thread each; 0: this process; default: one for each core or GPU."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Running Dask scheduler that computes instead, tcp://host:8786."""
    device: str = "auto"
    """auto (a GPU of its own for each worker when there are any), cpu, cuda."""
    threads: int = 1
    """Threads of torch in every worker."""
    out: Path = Path("runs")
    """Folder of the run folders; every worker must see it."""


@dataclass(frozen=True)
class OpenFlags:
    """Open a local page on which sliders move the theory's curves; Ctrl-C ends it."""

    port: int = 2718
    """Of this machine; nobody else can open the page."""
    browser: bool = True
    """Open the page in the browser."""
    out: Path = Path("runs")
    """Folder of the run folders."""


@dataclass(frozen=True)
class ExploreFlags(OpenFlags, Generic[S]):
    """Everything that the command line of a page says: where its sliders stand."""

    study: Annotated[S, tyro.conf.arg(name="")] = None  # type: ignore[assignment]  # always given
    preset: str = "default"
    """Set of parameters to start from; flags override it."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """Start from this params.json or run folder; excludes --preset."""
    seed: int = 0
    """Of the simulation."""


@dataclass(frozen=True)
class ReportFlags:
    """Draw the page of a finished run again, or one page of a sweep; nothing is computed."""

    folders: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUNS")]
    """The folder of a finished run or of a sweep, or several runs of a study."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where the page of several runs is written; default: beside them."""
    figures: Literal["svg", "pdf", "png"] = "svg"
    """Format of the figure files."""


def parse_report(words: Sequence[str]) -> ReportFlags:
    """Parse the words after ``tractable report``."""
    return tyro.cli(ReportFlags, prog="tractable report", args=words)


def parse_explore(words: Sequence[str]) -> OpenFlags:
    """Parse the words after ``tractable explore`` where they name no study."""
    return tyro.cli(OpenFlags, prog="tractable explore", args=words)


def parse_run(
    cls: type[Study], prog: str, description: str, words: Sequence[str], **start: Any
) -> RunFlags[Any]:
    """Parse the words after ``tractable run STUDY`` over the values in ``start``."""
    return parse_flags(RunFlags, cls, prog, description, words, **start)


def parse_flags(
    flags: Any, cls: type[Study], prog: str, description: str, words: Sequence[str], **start: Any
) -> Any:
    """Parse the words of a command line over the values in ``start``.

    A misspelt flag ends the process with code 2 and names the nearest one.
    """
    return tyro.cli(
        flags[cls], prog=prog, description=description, args=words, default=flags(**start)
    )
