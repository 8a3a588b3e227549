"""Dask clusters: the one inside this process, and one that runs elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from tractable.core.checks import check_range
from tractable.core.engine import Engine, Here, Lost, Unreachable
from tractable.core.processes import NotImportable

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster", "available_cores", "check_engine", "connect", "local", "opened"]

log = logging.getLogger("tractable")
_one_at_a_time = threading.Lock()  # the scheduler that is set belongs to the process

ADDRESS = re.compile(r"inproc://.+|(\w+://)?[^/]+:\d+")
CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0  # for a scheduler that went away to come back
COUNT_SECONDS = 1.0  # how often the workers are counted
SAY_SECONDS = 30.0
SMALL = {"distributed.admin.low-level-log-length": 10}  # else 1000 tasks are kept that are done
FLYING = 4  # tasks for each worker: enough to hide the way to it and back


@contextlib.contextmanager
def local(workers: int) -> Iterator[Client]:
    """Start a cluster of processes of this machine, one thread each, and give its client.

    A worker that dies is started again; all end with this process, whatever ends it.

    Parameters
    ----------
    workers : int
        Number of processes, at least 1.
    """
    check_range("workers", workers, 1)
    import dask
    from distributed import Client, LocalCluster

    settings = {
        **SMALL,
        # What a lost task may do again is decided by `Flow` and by the task itself.
        "distributed.scheduler.allowed-failures": 0,
        # What the cluster notes of itself while it runs, and nobody looks at, costs a tenth of a
        # core; its defaults are for tasks of seconds.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.worker.memory.monitor-interval": "500ms",
    }
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port: several may run here
                silence_logs=logging.CRITICAL,
            )
        )
        client = stack.enter_context(Client(cluster, set_as_default=False))
        client.register_plugin(_quiet_worker())
        yield client


def connect(address: str, *, seconds: float = CONNECT_SECONDS) -> Client:
    """Connect to a running scheduler.

    Parameters
    ----------
    address : str
        ``tcp://host:port``, as ``dask scheduler`` prints it.
    seconds : float
        How long to wait for an answer.

    Raises
    ------
    Unreachable
        Nobody answers in time.
    ValueError
        The text is no address.
    """
    import dask
    from distributed import Client

    try:
        with dask.config.set(SMALL), _silent("distributed"):
            return Client(address, timeout=seconds, set_as_default=False)
    except OSError as error:
        raise Unreachable(
            f"no scheduler answers at {address} within {seconds:g} s: start one with "
            "`dask scheduler` and give the address that it prints"
        ) from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"scheduler must be an address like tcp://host:8786, got {address!r}"
        ) from error


def check_engine(workers: int, scheduler: str | None, client: Client | None) -> None:
    """Refuse what no engine can be opened with, before anything else is done.

    Raises
    ------
    ValueError
        More than one of the three, or a scheduler that is no address.
    """
    check_range("workers", workers, 0)
    if sum((scheduler is not None, client is not None, workers > 0)) > 1:
        raise ValueError("workers, scheduler and client exclude one another: give one of them")
    if scheduler is not None and not ADDRESS.fullmatch(scheduler):
        raise ValueError(f"scheduler must be an address like tcp://host:8786, got {scheduler!r}")


@contextlib.contextmanager
def opened(
    workers: int, scheduler: str | None = None, client: Client | None = None
) -> Iterator[Engine]:
    """Give the engine that a user has asked for.

    Parameters
    ----------
    workers : int
        Processes of this machine; 0 is this process.
    scheduler : str, optional
        Address of a running scheduler, instead.
    client : distributed.Client, optional
        Of a running cluster, instead.
    """
    check_engine(workers, scheduler, client)
    if client is not None:
        yield Cluster(client)
    elif scheduler is not None:
        engine = Cluster(connect(scheduler), scheduler)
        try:
            yield engine
        finally:
            with _silent("distributed"):
                engine.client.close()
    elif workers:
        with local(workers) as inside:
            yield Cluster(inside)
    else:
        yield Here()


class Cluster:
    """The engine of a Dask client (see `tractable.core.engine.Engine`).

    When the scheduler goes away, its tasks count as lost, and new ones wait up to a minute for it
    to come back.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster.
    address : str, optional
        Connects anew to this address when the client has given up.
    """

    def __init__(self, client: Client, address: str | None = None) -> None:
        self.client = client
        self._address = address
        self._flying: dict[int, Any] = {}
        self._ended: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._token = uuid.uuid4().hex[:8]
        self._workers, self._counted, self._said = 0, -COUNT_SECONDS, 0.0

    def workers(self) -> int:
        """Return how many workers the scheduler had when they were last counted."""
        return self._workers

    def capacity(self) -> int:
        """Return four tasks for each worker."""
        now = time.monotonic()
        if now - self._counted >= COUNT_SECONDS:
            self._ready()
            with contextlib.suppress(OSError):
                self._workers = len(self.client.nthreads())
            self._counted = now
            if not self._workers and now - self._said > SAY_SECONDS:
                where = self._address or self.client.scheduler.address
                log.warning("the scheduler at %s has no workers: waiting for them", where)
                self._said = now
        return FLYING * max(self._workers, 1)

    def submit(self, number: int, function: Callable[..., Any], payload: Any) -> None:
        """Hand the task to the scheduler."""
        self._ready()
        name = function.__name__.strip("_")
        future = self.client.submit(
            alone, function, payload, key=f"{name}-{number}-{self._token}", pure=False
        )
        self._flying[number] = future
        future.add_done_callback(lambda ended: self._ended.put((number, ended)))

    def collect(self, seconds: float) -> tuple[int, Any, BaseException | None] | None:
        """Wait for the next future."""
        from distributed import KilledWorker

        try:
            number, future = self._ended.get(timeout=seconds)
        except Empty:
            if self.client.status != "running":
                self._ready()
            return None
        if self._flying.pop(number, None) is None:
            return None
        try:
            if future.status == "finished":
                return number, future.result(), None
            error = future.exception() if future.status == "error" else None
        except (OSError, TimeoutError) as lost:  # the scheduler went away meanwhile
            error = lost
        except Exception as cancelled:
            error = cancelled
        if error is None or isinstance(error, KilledWorker | OSError | TimeoutError):
            if not isinstance(error, OSError) or _from_connection(error):
                return number, None, _lost(error)
        elif type(error).__name__ in ("CancelledError", "FutureCancelledError"):
            return number, None, _lost(error)
        return number, None, _translated(error)

    def cancel(self) -> None:
        """Cancel what has not ended."""
        futures = list(self._flying.values())
        self._flying.clear()
        if futures and self.client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                self.client.cancel(futures, force=True, reason="stopped", msg="stopped")

    def _ready(self) -> None:
        """Wait until the scheduler is there (again)."""
        if self.client.status == "running":
            return
        where = self._address or getattr(self.client.scheduler, "address", "the scheduler")
        log.warning("the scheduler at %s is gone: waiting %d s for it", where, PATIENCE_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.client.status != "running":
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"the scheduler at {where} is gone: start it and its workers again and repeat "
                    "the command; what is finished is kept"
                )
            if self.client.status == "closed" and self._address is not None:
                with contextlib.suppress(Unreachable):
                    self.client = connect(self._address, seconds=2.0)
            time.sleep(0.2)
        self._counted = -COUNT_SECONDS
        log.warning("the scheduler at %s is back", where)


def alone(function: Callable[..., Any], payload: Any) -> Any:
    """Compute a task in a worker as if there were no cluster.

    Else xarray asks the scheduler for a lock for every file that it writes, through a client that
    it starts in the worker: slow, and a lock whose lease is lost is waited for forever.
    """
    import dask

    with _one_at_a_time, dask.config.set(scheduler="synchronous"):
        return function(payload)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lost(error: BaseException | None) -> Lost:
    lost = Lost("its worker was lost: killed, or out of memory")
    lost.__cause__ = error
    return lost


def _from_connection(error: OSError) -> bool:
    """Tell an error of the connection to the cluster from one that the task raised."""
    return type(error).__module__.startswith("distributed") or isinstance(error, TimeoutError)


def _translated(error: BaseException) -> BaseException:
    """Say in one sentence what Dask says when a worker lacks the code."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith("tractable"):
            mended = NotImportable(
                f"the workers cannot import {cause.name}: install this version of tractable in "
                "their environment"
            )
            mended.__cause__ = error
            return mended
        cause = cause.__cause__ or cause.__context__
    return error


def _quiet_worker() -> Any:
    from distributed import WorkerPlugin

    class QuietWorker(WorkerPlugin):
        """Leaves Ctrl-C to the process that started the workers."""

        name = "tractable-quiet"

        def setup(self, worker: Any) -> None:
            import signal

            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return QuietWorker()


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
