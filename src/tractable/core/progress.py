"""Progress of long work: a bar on a terminal, a tally in the log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Tally", "logged", "track"]

log = logging.getLogger("tractable")
FILE_ONLY = {"file_only": True}  # the terminal shows it in another way

T = TypeVar("T")

QUIET_SECONDS = 3.0  # work shorter than this shows nothing
LOG_SECONDS = 10.0  # between the first two lines of a tally in the log; later ones are rarer


def track(
    work: Iterable[T],
    description: str | Callable[[], str],
    *,
    total: int | None = None,
    show: bool = True,
) -> Iterator[T]:
    """Iterate over ``work`` and show what is done and what remains.

    The bar appears after 3 seconds, on an interactive terminal only, and disappears at the end.

    Parameters
    ----------
    work : iterable
        What to iterate over.
    description : str or callable
        Shown beside the bar; a callable is asked anew for every item.
    total : int, optional
        Number of items, when ``work`` has no length.
    show : bool
        False iterates silently.

    Yields
    ------
    object
        The items of ``work``, unchanged and in order.

    Examples
    --------
    >>> list(track(range(3), "counting"))
    [0, 1, 2]
    """
    if not show or not sys.stderr.isatty():
        yield from work
        return
    if total is None and isinstance(work, Sized):
        total = len(work)
    started = time.monotonic()
    progress = None

    def said() -> str:
        return description() if callable(description) else description

    try:
        for done, item in enumerate(work):
            if progress is None and time.monotonic() - started > QUIET_SECONDS:
                progress, task = _bar(said(), total, done)
                progress.start()
            elif progress is not None:
                progress.update(task, completed=done, description=said())
            yield item
    finally:
        if progress is not None:
            progress.stop()


def _bar(description: str, total: int | None, done: int):  # type: ignore[no-untyped-def]  # rich is imported lazily
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    return progress, progress.add_task(description, total=total, completed=done)


class Tally:
    """What is done, failed, running and left of many tasks: a bar on a terminal, lines in the log.

    Examples
    --------
    >>> tally = Tally("points", 8, done=2, show=False)
    >>> tally.add(failed=1)
    >>> tally.text(seconds=2.0)
    '2 of 8 points done, 1 failed, 0 running, 0.5/s, about 10 s remain'
    """

    def __init__(self, what: str, total: int, *, done: int = 0, show: bool = True) -> None:
        self.what, self.total, self.done, self.failed, self.running = what, total, done, 0, 0
        self._before = done
        self._started = time.monotonic()
        self._next_line = self._started + LOG_SECONDS
        self._show = show and sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def add(self, *, done: int = 0, failed: int = 0, running: int | None = None) -> None:
        """Count what has ended, and show it."""
        self.done += done
        self.failed += failed
        self.running = self.running if running is None else running
        now = time.monotonic()
        if now >= self._next_line:  # after 10 s, 20 s, 40 s, ..., at most every ten minutes
            self._next_line = now + min(600.0, max(LOG_SECONDS, now - self._started))
            log.info("%s", self.text(), extra=FILE_ONLY if self._show else None)
        if self._show and now - self._started > QUIET_SECONDS:
            if self._bar is None:
                self._bar = _bar("", self.total, self.done)
                self._bar[0].start()
            text = f"{self.what}: {self.failed} failed, {self.running} running, {self.rate():.3g}/s"
            self._bar[0].update(self._bar[1], completed=self.done + self.failed, description=text)

    def rate(self, seconds: float | None = None) -> float:
        """Return how many have ended per second."""
        seconds = time.monotonic() - self._started if seconds is None else seconds
        return (self.done - self._before + self.failed) / max(seconds, 1e-9)

    def text(self, seconds: float | None = None) -> str:
        """Return the tally in one line."""
        rate = self.rate(seconds)
        left = self.total - self.done - self.failed
        remain = f", about {_duration(left / rate)} remain" if rate and left else ""
        return (
            f"{self.done} of {self.total} {self.what} done, {self.failed} failed, "
            f"{self.running} running, {rate:.3g}/s{remain}"
        )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _LogFile(logging.FileHandler):
    """A log file; when the disk is full its lines are lost, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Stay silent: the error that filled the disk is said by the caller."""

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write the library's log to a file while the block runs, and the error that ends it."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted; the same command goes on from here", extra=FILE_ONLY)
        raise
    except ValueError as error:
        log.error("%s", error, extra=FILE_ONLY)
        raise
    except Exception:
        log.exception("stopped by an error", extra=FILE_ONLY)
        raise
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
