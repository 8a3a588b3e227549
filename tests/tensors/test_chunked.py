"""Arrays in chunks: the same fit as in memory, and zarr, which is optional."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from tractable.core.checks import quiet
from tractable.studies.tensors._neural_parts import read_array
from tractable.tensors import Gaussian, SpikedTensor, amp
from tractable.tensors.chunked import ChunkedContractions

da = pytest.importorskip("dask.array")
CHUNKS = (13, 28, 11)  # the last chunks are smaller


@pytest.mark.parametrize("case", ["complete", "missing", "noise_by"])
def test_chunks_are_the_array_to_rounding(case: str) -> None:
    Y = SpikedTensor((30, 28, 32), 2, Gaussian(0.6), 0.05).sample(0).Y.numpy()
    settings: dict = {"priors": Gaussian(0.6), "units": "model", "max_iter": 4, "tol": 0.0}
    if case == "missing":
        Y[:9, :, ::3] = np.nan  # whole trials of some neurons
    if case == "noise_by":
        settings.update(noise=np.linspace(0.05, 0.5, 30), noise_by=0)
    with quiet():
        whole = amp(Y, 2, **settings)
        parts = amp(da.from_array(Y, chunks=CHUNKS), 2, **settings)
    for x, y in zip(whole.factors, parts.factors, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)
    assert parts.noise_variance == pytest.approx(whole.noise_variance, rel=1e-12)


PEAK = """
import sys, threading, warnings
import dask.array as da, torch
from tractable.tensors import Gaussian, amp
torch.set_num_threads(1)
warnings.simplefilter("ignore")
def fit(n):
    Y = da.random.default_rng(0).normal(size=(n, 60, 60), chunks=(20, 20, 20))
    amp(Y, 4, priors=Gaussian(0.5), noise=1.0, units="model", max_iter=1, progress=False)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
fit(40)
before, peak, done = resident(), 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())
thread = threading.Thread(target=watch)
thread.start()
fit(int(sys.argv[1]))
done.set()
thread.join()
print(peak - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory from /proc")
def test_memory_is_bounded_by_chunks() -> None:
    """LIMIT: 400 x 60 x 60 (11.5 MB) in chunks of 64 kB; the sums over chunks take 0.1 MB."""
    run = subprocess.run(
        [sys.executable, "-c", PEAK, "400"], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 10e6


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_gram_of_pairs_of_chunks(mode: int) -> None:
    Y = np.random.default_rng(0).normal(size=(30, 28, 32))
    found = ChunkedContractions(da.from_array(Y, chunks=CHUNKS), torch.float64).gram(mode)
    unfolded = np.moveaxis(Y, mode, 0).reshape(Y.shape[mode], -1)
    np.testing.assert_allclose(found.numpy(), unfolded @ unfolded.T, rtol=1e-10, atol=1e-10)


def test_zarr_is_asked_for_only_where_it_is_read(tmp_path, monkeypatch) -> None:
    (tmp_path / "data.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"tractable\[zarr\]"):
        read_array(str(tmp_path / "data.zarr"))


def test_zarr_is_read_in_chunks(tmp_path) -> None:
    zarr = pytest.importorskip("zarr")
    Y = np.random.default_rng(0).normal(size=(6, 7, 8))
    zarr.save_array(str(tmp_path / "data.zarr"), Y)
    found = read_array(str(tmp_path / "data.zarr"))
    assert hasattr(found, "dask")
    np.testing.assert_array_equal(found.compute(), Y)


def test_an_array_of_a_zarr_group_is_chosen(tmp_path) -> None:
    zarr = pytest.importorskip("zarr")
    Y = np.random.default_rng(0).normal(size=(6, 7, 8))
    path = str(tmp_path / "group.zarr")
    zarr.save_group(path, rates=Y)
    for name in (path, f"{path}:rates"):
        np.testing.assert_array_equal(read_array(name).compute(), Y)
    zarr.save_group(path, rates=Y, time=np.arange(7))
    with pytest.raises(ValueError, match="holds rates, time; name one"):
        read_array(path)
    zarr.save_array(str(tmp_path / "one.zarr"), Y)
    with pytest.raises(ValueError, match="is one array"):
        read_array(str(tmp_path / "one.zarr:rates"))


@pytest.mark.parametrize("pattern", ["trials", "times", "speckled", "both"])
def test_masks_that_repeat_themselves_are_read_once(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask was read 31 times a sweep; of whole trials its chunks are needed once in all."""
    Y = SpikedTensor((30, 28, 32), 2, Gaussian(0.6), 0.05).sample(0).Y.numpy()
    if pattern in ("trials", "both"):
        Y[:9, :, ::3] = np.nan
    if pattern == "times":
        Y[:, 5:20:2] = np.where(np.arange(32) > 20, np.nan, Y[:, 5:20:2])
    if pattern in ("speckled", "both"):
        Y[:12][np.random.default_rng(0).random((12, 28, 32)) < 0.5] = np.nan
    passes = []
    partial = ChunkedContractions.partial

    def counted(self: ChunkedContractions, *arguments: Any) -> torch.Tensor:
        passes.append(self.count)
        return partial(self, *arguments)

    monkeypatch.setattr(ChunkedContractions, "partial", counted)
    settings: dict = {"priors": Gaussian(0.6), "max_iter": 4, "tol": 0.0}
    with quiet():
        whole = amp(Y, 2, **settings)
        parts = amp(da.from_array(Y, chunks=CHUNKS), 2, **settings)
    for x, y in zip(whole.factors, parts.factors, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)
    assert sum(passes) <= (0 if pattern in ("trials", "times") else 4 * 6)
