"""What does a sweep cost beside its points? Overhead per task, and memory of the parent."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil

from benchmarks.timing import Row
from tractable.core import cluster
from tractable.core.engine import Flow, engine_of
from tractable.study import Range, Run, Study
from tractable.sweep import plan, sweep

N_TASKS = 2000
N_DRY = 100_000
STUDY_SECONDS = 0.005
BAR_SECONDS = 0.015


@dataclass(frozen=True)
class Short(Study):
    """Five milliseconds of arithmetic."""

    gain: Annotated[float, Range(0.0, 1e9)] = 1.0
    """Amplitude."""

    def measure(self, run: Run) -> Any:
        import xarray as xr

        until = time.process_time() + STUDY_SECONDS
        while time.process_time() < until:
            pass
        t = np.arange(10.0)
        return xr.Dataset(
            {"y": ("t", self.gain * np.sin(t), {"units": "1"})}, coords={"t": ("t", t)}
        )

    def theory(self, measured: Any = None) -> Any:
        import xarray as xr

        t = np.arange(10.0)
        return xr.Dataset({"y": ("t", self.gain * np.sin(t))}, coords={"t": ("t", t)})


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure CPU seconds: they depend less than a clock on what else runs on the machine."""
    with cluster.local(2) as client, tempfile.TemporaryDirectory() as folder:
        sweep(Short(), {"seed": "0:8"}, out=Path(folder, "warm"), client=client, progress=False)
        client.run(watch_writing)
        for shared in (1, 100):
            used, write, memory = run_points(client, Path(folder, f"shared-{shared}"), shared)
            what = "run folders" if shared == 1 else f"{shared} points per file"
            yield Row(
                f"overhead per task of {N_TASKS}, {what}",
                max(used - STUDY_SECONDS - write, 1e-4),
                BAR_SECONDS,
                "<= 1",
                note=f"peer: the bar; beyond 5 ms of study and {1e3 * write:.1f} ms for result.nc",
            )
            yield Row(
                f"memory of the parent at the end, against a tenth of the way, {what}",
                memory[1],
                memory[0],
                "<= 1.05",
                "MiB",
            )
        seconds, memory = run_dry(client, Path(folder, "dry"))
        yield Row(
            f"{N_DRY} dry points through two workers: memory of the parent, as above",
            memory[1],
            memory[0],
            "<= 1.05",
            "MiB",
            f"{1e6 * seconds / N_DRY:.0f} µs of the parent per point",
        )


def watch_writing() -> None:
    """Count, in a worker, the CPU seconds in which datasets are written."""
    import xarray as xr

    write = xr.Dataset.to_netcdf

    def counted(self: xr.Dataset, *args: Any, **options: Any) -> Any:
        started = time.thread_time()
        try:
            return write(self, *args, **options)
        finally:
            writing[0] += time.thread_time() - started

    xr.Dataset.to_netcdf = counted  # type: ignore[method-assign]


def written() -> float:
    """Return these seconds."""
    return writing[0]


writing = [0.0]


def mebibytes() -> float:
    return psutil.Process(os.getpid()).memory_info().rss / 2**20


def run_points(client: Any, folder: Path, shared: int) -> tuple[float, float, tuple[float, float]]:
    """Return CPU seconds per point: all, those of writing; and the parent's memory."""
    todo = plan(Short(), {"seed": f"0:{N_TASKS}"}, out=folder, points_per_file=shared)
    todo.folder.mkdir(parents=True)
    todo.look()
    before, files = cpu_seconds(client), sum(client.run(written).values())
    memory: list[float] = []
    watched = plan_ticks(todo, memory)
    todo._work(engine_of(client), watched, False)
    used = (cpu_seconds(client) - before) / N_TASKS
    write = (sum(client.run(written).values()) - files) / N_TASKS
    assert todo.look() == 0
    return used, write, (memory[len(memory) // 10], memory[-1])


def plan_ticks(todo: Any, memory: list[float]) -> Iterator[Any]:
    """Yield the orders of a sweep, and note the memory on the way."""
    for order in todo._missing():
        memory.append(mebibytes())
        yield order


def cpu_seconds(client: Any) -> float:
    return time.process_time() + sum(client.run(time.process_time).values())


def run_dry(client: Any, folder: Path) -> tuple[float, tuple[float, float]]:
    """Send a hundred thousand points to workers that only count them."""
    todo = plan(Short(), {"seed": f"0:{N_DRY}"}, out=folder, points_per_file=250)
    memory: list[float] = []
    started = time.process_time()
    flow = Flow(engine_of(client), count, plan_ticks(todo, memory))
    n = sum(ended.value for ended in flow)
    assert n == N_DRY
    return time.process_time() - started, (memory[len(memory) // 10], memory[-1])


def count(order: Any) -> int:
    """Return the number of points of an order."""
    return len(order.points)
