"""Every test starts from its own seed and leaves torch's defaults as it found them."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    yield
    torch.set_default_dtype(torch.float32)


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
