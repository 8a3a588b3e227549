"""Every test starts from its own seed and leaves torch's defaults as it found them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
# In the background of a shell Ctrl-C is ignored, also by all processes that the tests start.
with contextlib.suppress(ValueError):  # not the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

LOOP_SECONDS = 0.06  # of the loop in `slowness`, on a desktop core of 2024


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def slowness() -> float:
    """How many times longer than on a desktop core of 2024 a fixed loop takes here, at least 1."""
    return loop_slowness()


@pytest.fixture
def slowness_now() -> Callable[[], float]:
    """Return `slowness` as a function, for a test so long that the machine's load changes."""
    return loop_slowness


def loop_slowness() -> float:
    """Return how much longer than on a desktop core of 2024 a fixed loop takes, at least 1.

    Bounds in seconds are multiplied by it: a virtual core beside busy neighbours takes up to twice
    as long for the same instructions.
    """
    times = []
    for _ in range(3):
        started, total = time.process_time(), 0
        for i in range(1_000_000):
            total += i * i
        times.append(time.process_time() - started)
    return max(1.0, min(times) / LOOP_SECONDS)


@pytest.fixture
def within(slowness: float) -> Callable[[Callable[[], object], float], bool]:
    """Return a function that says whether work ends in a bound of CPU seconds, once in three tries.

    What other processes on the machine take from caches and shared cores only ever adds: the least
    of a few times is what the work itself costs.
    """

    def ends_within(work: Callable[[], object], seconds: float) -> bool:
        for _ in range(3):
            started = time.process_time()
            work()
            if time.process_time() - started <= seconds * slowness:
                return True
        return False

    return ends_within


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = os.environ.get("TRACTABLE_DATA", "")
    for item in items:
        mark = item.get_closest_marker("data")
        if mark is None:
            continue
        needed = [name for name in mark.args if not (Path(root) / name).is_dir()]
        if not root or needed:
            reason = f"needs TRACTABLE_DATA with {', '.join(mark.args) or 'data'}"
            item.add_marker(pytest.mark.skip(reason=reason))
