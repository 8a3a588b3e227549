"""How long does it take until something happens? CPU seconds of whole processes."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.timing import Row


def cpu_seconds(code: str, cwd: str | None = None) -> float:
    """Return the least user + system seconds of five fresh interpreters."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Compare with the bars themselves, and with importing torch."""
    call = "from tractable.cli import main; main({})"

    def against_bar(what: str, seconds: float, bar: float) -> Row:
        return Row(what, max(seconds, 1e-3), bar, "<= 1", note="peer: the bar")

    package = cpu_seconds("import tractable") - cpu_seconds("pass")
    yield against_bar("`import tractable`, over an empty interpreter", package, 0.1)
    listed = cpu_seconds(call.format("['list']"))
    yield against_bar("`tractable list`", listed, 0.4)
    with tempfile.TemporaryDirectory() as folder:
        run = call.format("['run', 'dynamics-rank-one', '--preset', 'smoke']")
        cpu_seconds(run, folder)
        yield against_bar("a finished run, found again", cpu_seconds(run, folder), 1.0)
    yield Row(
        "`tractable list`, against `import torch`", listed, cpu_seconds("import torch"), "<= 0.5"
    )
