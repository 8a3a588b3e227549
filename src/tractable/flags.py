"""The flags of ``tractable run``: the runner's own, beside the fields of the study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from tractable.study import Study

__all__ = ["ReportFlags", "RunFlags", "parse_report", "parse_run"]

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
    out: Path = Path("runs")
    """Folder of the run folders."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compute anew, also when the run is finished."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Do one step, and print what the whole run would cost."""
    figures: Literal["svg", "pdf", "png"] = "svg"
    """Format of the figure files."""


@dataclass(frozen=True)
class ReportFlags:
    """Draw the figures and the page of a finished run again; nothing is computed."""

    folder: tyro.conf.Positional[Path]
    """A finished run's folder."""
    figures: Literal["svg", "pdf", "png"] = "svg"
    """Format of the figure files."""


def parse_report(words: Sequence[str]) -> ReportFlags:
    """Parse the words after ``tractable report``."""
    return tyro.cli(ReportFlags, prog="tractable report", args=words)


def parse_run(
    cls: type[Study], prog: str, description: str, words: Sequence[str], **start: Any
) -> RunFlags[Any]:
    """Parse the words of a command line over the values in ``start``.

    A misspelt flag ends the process with code 2 and names the nearest one.
    """
    flags: Any = RunFlags
    return tyro.cli(
        flags[cls], prog=prog, description=description, args=words, default=RunFlags(**start)
    )
