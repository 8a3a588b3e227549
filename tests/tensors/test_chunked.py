"""Arrays in chunks: the same fit as in memory, and zarr, which is optional."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tractable.core.checks import quiet
from tractable.studies.tensors._neural_parts import read_array
from tractable.tensors import Gaussian, SpikedTensor, amp

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
