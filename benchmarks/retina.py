"""Retina: receptive fields, ridge regression and the bank of bars against what one would write."""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge

from benchmarks.timing import Row, alternate
from tractable.vision.retina import RetinaVVS, bar_bank, orientation, receptive_fields, ridge

PENALTIES = (0.1, 1.0, 10.0)
SECONDS_OF_THE_BANK = 3.0
BYTES_OF_THE_BANK = 400e6


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    torch.manual_seed(0)
    for size, kernel in ((16, 5), (32, 9)):
        for layer in ("vvs_1", "vvs_2"):
            yield fields(size, kernel, layer, options.device)
    yield from regressions()
    yield from memory()
    yield from bank()


def fields(size: int, kernel: int, layer: str, device: str) -> Row:
    """Fields of 32 channels: one backward pass for all against one pass for each."""
    net = RetinaVVS(n_bn=1, d_vvs=2, kernel=kernel, head=(10,), pool=2, in_shape=(1, size, size))
    net = net.to(device).eval()
    image = torch.rand(1, 1, size, size, device=device)

    def single() -> np.ndarray:
        found = []
        for channel in range(32):
            x = image.clone().requires_grad_(True)
            u = net.activations(x, [layer])[layer][0, channel, size // 2, size // 2]
            found.append(torch.autograd.grad(u, x)[0][0, 0].cpu().numpy())
        return np.stack(found)

    def ours() -> np.ndarray:
        return receptive_fields(net, layer, base=image[0], through="post").rf

    expected = single()
    off = float(np.abs(np.nan_to_num(ours()) - expected).max() / np.abs(expected).max())
    a, b = alternate(ours, single, device=device)
    what = f"fields of 32 channels of {layer}, {size} px, {kernel} x {kernel}, one pass each"
    return Row(what, a, b, ">= 5", note=f"largest difference {off:.0e} of the peak")


def regressions() -> Iterator[Row]:
    """All penalties of the grid against one fit of scikit-learn, 8000 x 1024, 32 targets."""
    random = np.random.default_rng(0)
    x = random.random((8000, 1024))
    y = np.maximum((x - 0.5) @ random.standard_normal((1024, 32)), 0)
    model = Ridge(alpha=1.0)
    exact = Ridge(alpha=1.0).fit(x, y).coef_.T
    off = np.abs(ridge(x, y, (1.0,)).coefficients - exact).max() / np.abs(exact).max()
    for how in ("validation", "loo"):
        held_out = (x[-1000:], y[-1000:]) if how == "validation" else None

        def ours(how: str = how, held_out: Any = held_out) -> None:
            ridge(x, y, PENALTIES, select=how, validation=held_out)

        a, b = alternate(ours, lambda: model.fit(x, y))
        what = f"ridge 8000 x 1024, three penalties by {how}, one fit of scikit-learn"
        yield Row(what, a, b, "<= 1.5", note=f"coefficients at one penalty differ by {off:.0e}")


def memory() -> Iterator[Row]:
    """Peak memory of a wide float32 design over the design itself.

    By leave-one-out at a quarter of the size, where the ratio is the same and the time is not.
    """
    random = np.random.default_rng(0)
    for how, n in (("validation", 8000), ("loo", 2000)):
        x = random.random((n, 4096 * n // 1000), dtype=np.float32)
        y = random.standard_normal((n, 1))
        held_out = (x[:200], y[:200]) if how == "validation" else None
        tracemalloc.start()
        ridge(x, y, (10.0,), select=how, validation=held_out)
        peak = tracemalloc.get_traced_memory()[1] + x.nbytes
        tracemalloc.stop()
        what = f"ridge {n} x {x.shape[1]} by {how}: peak memory with the design, over the design"
        yield Row(what, peak / 2**30, x.nbytes / 2**30, "<= 2.5", unit="GiB")


def bank() -> Iterator[Row]:
    """64 fields of 32 pixels through the bank of bars that exists."""
    noise = np.random.default_rng(0).standard_normal((64, 32, 32))
    bar_bank.cache_clear()
    tracemalloc.start()
    bar_bank(32, 32)
    orientation(noise, "bars")
    peak = float(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    seconds = []
    for _ in range(3):
        started = time.process_time()
        orientation(noise, "bars")
        seconds.append(time.process_time() - started)
    what = "64 fields of 32 px through the bank of bars"
    yield Row(what, min(seconds), SECONDS_OF_THE_BANK, "<= 1", note="peer: the bar")
    yield Row(f"{what}: peak memory", peak / 1e6, BYTES_OF_THE_BANK / 1e6, "<= 1", unit="MB",
              note="peer: the bar")  # fmt: skip
