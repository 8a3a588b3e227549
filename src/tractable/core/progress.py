"""Progress of long work: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

__all__ = ["track"]

T = TypeVar("T")

QUIET_SECONDS = 3.0  # work shorter than this shows nothing


def track(
    work: Iterable[T], description: str, *, total: int | None = None, show: bool = True
) -> Iterator[T]:
    """Iterate over ``work`` and show what is done and what remains.

    The bar appears after 3 seconds, on an interactive terminal only, and disappears at the end.

    Parameters
    ----------
    work : iterable
        What to iterate over.
    description : str
        Shown beside the bar.
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
    try:
        for done, item in enumerate(work):
            if progress is None and time.monotonic() - started > QUIET_SECONDS:
                progress, task = _bar(description, total, done)
                progress.start()
            elif progress is not None:
                progress.update(task, completed=done)
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
