"""Golub-Kahan bidiagonalization against the dense decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.spectra.bidiagonal import bidiagonalize, gauss_nodes


def spectrum_of(matrix: torch.Tensor, start: torch.Tensor, steps: int):
    entries = bidiagonalize(lambda v: v @ matrix.T, lambda u: u @ matrix, start, steps)
    return gauss_nodes(*entries)


@pytest.mark.parametrize("shape", [(6, 6), (9, 6), (6, 9)])
def test_all_steps_give_all_singular_values(shape: tuple[int, int]) -> None:
    # INDEPENDENT: torch.linalg.svd
    matrix = torch.randn(*shape, dtype=torch.float64)
    n = min(shape)
    nodes, weights = spectrum_of(matrix, torch.randn(3, shape[1], dtype=torch.float64), n)
    expected = torch.linalg.svdvals(matrix).numpy()
    if shape[1] == n:
        np.testing.assert_allclose(nodes, np.tile(expected, (3, 1)), rtol=1e-9)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)


def test_the_gauss_rule_integrates_polynomials_exactly() -> None:
    # IDENTITY: k nodes integrate powers of s^2 up to 2 k - 1
    matrix = torch.randn(40, 30, dtype=torch.float64) / 6
    start = torch.randn(2, 30, dtype=torch.float64)
    nodes, weights = spectrum_of(matrix, start, 4)
    gram = matrix.T @ matrix
    unit = start / start.norm(dim=1, keepdim=True)
    for power in range(8):
        exact = torch.einsum("pi,pi->p", unit @ torch.linalg.matrix_power(gram, power), unit)
        np.testing.assert_allclose((weights * nodes ** (2 * power)).sum(1), exact, rtol=1e-8)


def test_a_low_rank_ends_the_space_early() -> None:
    matrix = torch.randn(8, 2, dtype=torch.float64) @ torch.randn(2, 8, dtype=torch.float64)
    nodes, weights = spectrum_of(matrix, torch.randn(1, 8, dtype=torch.float64), 8)
    values = nodes[0][weights[0] > 1e-8]
    expected = torch.linalg.svdvals(matrix).numpy()
    np.testing.assert_allclose(np.sort(values)[-2:][::-1], expected[:2], rtol=1e-9)
    assert (np.sort(values)[:-2] < 1e-9).all()


def test_more_steps_than_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be >= 1 and <= 3, got 4"):
        bidiagonalize(lambda v: v, lambda u: u, torch.ones(1, 3), 4)
