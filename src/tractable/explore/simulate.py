"""The simulation behind a page's button: the run that the command line would do, in a process.

The page stays alive while it works, and a run that is stopped goes on from its folder.
"""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tractable.result import Result
from tractable.study import Study

__all__ = ["command", "copyable", "simulate"]

COPYABLE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; font: 0.9rem monospace; display: flex; gap: 0.6rem; color-scheme: light dark }
input { flex: 1; font: inherit; padding: 0.4rem 0.6rem; border: 1px solid #8888 }
button { font: inherit; padding: 0 0.8rem }
</style><input readonly aria-label="command" value="TEXT"><button
onclick="document.querySelector('input').select(); document.execCommand('copy');
this.textContent = 'copied'">copy</button>"""
LINE = re.compile(r"^\[?[\d:, /-]*\]?\s*")  # the time before a line of the log


def command(study: Study, seed: int = 0) -> str:
    """Return the line of a terminal that runs the study.

    Examples
    --------
    >>> from tractable.studies import find
    >>> command(find("dynamics-rank-one")(n_units=65), seed=3)
    'tractable run dynamics-rank-one --n-units 65 --seed 3'
    """
    source = study.source_file()
    return study.command(seed, None if source is None else str(source))


def copyable(text: str) -> str:
    """Return a small page that shows a command line with a button that copies it."""
    return COPYABLE.replace("TEXT", html.escape(text))


def simulate(
    study: Study,
    *,
    seed: int = 0,
    out: str | Path = "runs",
    tell: Callable[[str], None] | None = None,
) -> Result:
    """Run a study as ``tractable run`` would, and return its result.

    Parameters
    ----------
    study : Study
        With its parameters.
    seed : int
        Decides everything random.
    out : path
        Where the run folders are.
    tell : callable, optional
        Receives the newest line of the log with the seconds since the start, about twice a second.

    Returns
    -------
    Result

    Raises
    ------
    RuntimeError
        The run did not end; the message is what it said last.
    """
    words = shlex.split(command(study, seed))[1:]
    line = [sys.executable, "-m", "tractable", *words, "--out", str(out)]
    started = time.monotonic()
    folder = study.folder(seed=seed, out=out)
    log = folder.with_name(folder.name + ".partial") / "log.txt"
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        while process.poll() is None:
            if tell is not None:
                tell(f"{time.monotonic() - started:.0f} s. {_last_line(log)}")
            time.sleep(0.5)
    except BaseException:
        process.terminate()
        raise
    finally:
        complaints = process.communicate()[1]
    if process.returncode not in (0, 1):  # 1: a check does not hold, which the report shows
        lines = [line for line in complaints.splitlines() if line.strip()]
        raise RuntimeError(f"the run did not end: {lines[-1] if lines else process.returncode}")
    return Result.open(folder, study)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return LINE.sub("", lines[-1]) if lines else ""
