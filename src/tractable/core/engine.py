"""Many tasks on one engine: this process, an executor, or a Dask cluster.

An engine takes tasks one by one and gives back what has ended, in any order. `Flow` keeps it busy
without handing it all tasks at once, and hands a task out again when its worker was lost.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

__all__ = ["Engine", "Flow", "Here", "Lost", "Pool", "Unreachable", "engine_of"]

RETRIES = 2
LARGEST_LOSSES = 10  # of one task's workers: most are lost to what ran beside it


class Lost(RuntimeError):
    """The worker of a task is gone: killed, or out of memory."""


class Unreachable(ConnectionError):
    """The scheduler does not answer."""


class Engine(Protocol):
    """What runs tasks."""

    def workers(self) -> int:
        """Return how many tasks run at the same time."""

    def capacity(self) -> int:
        """Return how many tasks keep the engine busy."""

    def submit(self, number: int, function: Callable[..., Any], payload: Any) -> None:
        """Start ``function(payload)``, now or when there is room."""

    def collect(self, seconds: float) -> tuple[int, Any, BaseException | None] | None:
        """Return number, value and error of a task that has ended, None if none has in time."""

    def cancel(self) -> None:
        """Forget the tasks that have not started."""


class Here:
    """Runs tasks in this process, one after the other."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Callable[..., Any], Any]] = []

    def workers(self) -> int:
        """Return 1."""
        return 1

    def capacity(self) -> int:
        """Return 1: what is not asked for is not computed."""
        return 1

    def submit(self, number: int, function: Callable[..., Any], payload: Any) -> None:
        """Keep the task until it is collected."""
        self._waiting.append((number, function, payload))

    def collect(self, seconds: float) -> tuple[int, Any, BaseException | None] | None:
        """Compute the oldest task."""
        if not self._waiting:
            return None
        number, function, payload = self._waiting.pop(0)
        try:
            return number, function(payload), None
        except Exception as error:
            return number, None, error

    def cancel(self) -> None:
        """Forget what waits."""
        self._waiting.clear()


class Pool:
    """Runs tasks on an executor of `concurrent.futures`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._ended: SimpleQueue[tuple[int, Future[Any]]] = SimpleQueue()
        self._flying: dict[int, Future[Any]] = {}

    def workers(self) -> int:
        """Return the workers of the executor, as far as it says."""
        return int(getattr(self._executor, "_max_workers", 4))

    def capacity(self) -> int:
        """Return four tasks for each worker."""
        return 4 * self.workers()

    def submit(self, number: int, function: Callable[..., Any], payload: Any) -> None:
        """Hand the task to the executor."""
        future = self._executor.submit(function, payload)
        self._flying[number] = future
        future.add_done_callback(lambda ended: self._ended.put((number, ended)))

    def collect(self, seconds: float) -> tuple[int, Any, BaseException | None] | None:
        """Wait for the next future."""
        try:
            number, future = self._ended.get(timeout=seconds)
        except Empty:
            return None
        del self._flying[number]
        error = future.exception()
        return number, None if error else future.result(), error

    def cancel(self) -> None:
        """Cancel what has not started."""
        for future in self._flying.values():
            future.cancel()


@dataclass(frozen=True)
class Ended:
    """A task that has ended: what it was, and its value or its error."""

    payload: Any
    value: Any
    error: BaseException | None


class Flow:
    """Runs ``function(payload)`` for every payload and yields `Ended`, in the order they end.

    Payloads are taken from their iterable only as fast as the engine runs them, so that a hundred
    thousand need no more memory than a few. A task whose worker was lost is handed out again, at
    most ten times, since most of these losses are another task's; what a task may do is counted by
    the task itself.

    Parameters
    ----------
    engine : Engine
        Where the tasks run.
    function : callable
        A module-level function of one plain payload.
    payloads : iterable
        The tasks, in order.
    tick : callable, optional
        Called with the number of running tasks about once a second.
    losses : int
        How often a task may lose its worker.
    ahead : bool
        False hands out only as many tasks as there are workers: the next ones depend on them.
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[[Any], Any],
        payloads: Iterable[Any],
        *,
        tick: Callable[[int], None] | None = None,
        losses: int = LARGEST_LOSSES,
        ahead: bool = True,
    ) -> None:
        self._engine, self._function = engine, function
        self._payloads, self._more = iter(payloads), True
        self._tick, self._losses, self._ahead = tick, losses, ahead
        self._again: list[tuple[float, int, Any, int]] = []
        self._numbers = itertools.count()

    def again(self, payload: Any, *, seconds: float = 0.0, lost: int = 0) -> None:
        """Hand a task out again, after some seconds."""
        heapq.heappush(
            self._again, (time.monotonic() + seconds, next(self._numbers), payload, lost)
        )

    def _next(self) -> tuple[Any, int] | None:
        if self._again and self._again[0][0] <= time.monotonic():
            _, _, payload, lost = heapq.heappop(self._again)
            return payload, lost
        if self._more:
            for payload in self._payloads:
                return payload, 0
            self._more = False
        return None

    def __iter__(self) -> Iterator[Ended]:
        flying: dict[int, tuple[Any, int]] = {}
        try:
            while True:
                room = self._engine.capacity()
                if not self._ahead:
                    room = max(1, self._engine.workers())
                while len(flying) < room and (task := self._next()) is not None:
                    number = next(self._numbers)
                    flying[number] = task
                    self._engine.submit(number, self._function, task[0])
                if self._tick is not None:
                    self._tick(min(len(flying), self._engine.workers()))
                if not flying:
                    if not self._again:
                        return
                    time.sleep(max(0.0, min(1.0, self._again[0][0] - time.monotonic())))
                    continue
                ended = self._engine.collect(1.0)
                if ended is None:
                    continue
                number, value, error = ended
                payload, lost = flying.pop(number)
                if isinstance(error, Lost) and lost < self._losses:
                    self.again(payload, seconds=0.1 * lost, lost=lost + 1)
                else:
                    yield Ended(payload, value, error)
        finally:
            if flying:
                self._engine.cancel()


def engine_of(what: Any) -> Engine:
    """Return the engine for what a caller has: None, an executor, a Dask client, or an engine."""
    if what is None:
        return Here()
    if isinstance(what, Executor):
        return Pool(what)
    if hasattr(what, "scheduler_info"):
        from tractable.core.cluster import Cluster

        return Cluster(what)
    if hasattr(what, "collect"):
        return what
    raise TypeError(
        "engine must be an executor of concurrent.futures or a distributed.Client, got "
        f"{type(what).__name__}"
    )
