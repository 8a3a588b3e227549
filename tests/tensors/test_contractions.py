"""The compiled pass over a large tensor, which no test of ordinary size reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.tensors import contractions
from tractable.tensors.kernels import accumulate


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "n", "n_columns"), [(27, 7, 1), (5, 3, 2), (64, 33, 5)])
def test_the_compiled_pass_is_a_product(dtype: type, m: int, n: int, n_columns: int) -> None:
    random = np.random.default_rng(0)
    y, a = random.normal(size=(m, n)).astype(dtype), random.normal(size=(m, n_columns))
    expected = a.astype(dtype).T.astype(float) @ y.astype(float)
    found = accumulate(y, a.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=100 * np.finfo(dtype).eps * m)


def test_a_large_tensor_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contractions, "COMPILED_ENTRIES", 10)
    tensor = torch.randn(11, 6, 5, dtype=torch.float64)
    factors = [torch.randn(n, 3, dtype=torch.float64) for n in tensor.shape]
    engine = contractions.DenseContractions(tensor)
    found = engine.finish(engine.partial(1, factors), 2, factors)
    expected = torch.einsum("ijk,ir,jr->kr", tensor, factors[0], factors[1])
    torch.testing.assert_close(found, expected)
