"""Similarity of states: invariances, a second formula, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA

from tractable.dynamics import linear_cka, svcca


def states(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_alignment_is_that_of_gram_matrices() -> None:
    X, Y = states(0, 40, 5), states(1, 40, 7) + 3.0
    center = np.eye(40) - 1 / 40
    K, L = center @ X @ X.T @ center, center @ Y @ Y.T @ center
    expected = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    assert linear_cka(X, Y) == pytest.approx(expected, abs=1e-12)
    wide = linear_cka(states(2, 6, 50), states(3, 6, 60))  # the other way of computing
    assert wide == pytest.approx(linear_cka(states(3, 6, 60), states(2, 6, 50)))


def test_rotations_scales_and_shifts_change_nothing() -> None:
    X = states(0, 60, 4)
    Q = np.linalg.qr(states(1, 4, 4))[0]
    assert linear_cka(X, 3 * X @ Q + 1) == pytest.approx(1.0)
    assert linear_cka(X, X @ np.diag([1, 2, 3, 9])) < 0.99
    np.testing.assert_allclose(svcca(X, X @ states(2, 4, 4), share=1.0), 1.0)


def test_canonical_correlations_are_those_of_scikit_learn() -> None:
    X = states(0, 200, 3)
    Y = np.column_stack([X[:, 0] + 0.5 * states(1, 200, 1)[:, 0], states(2, 200, 2)])
    one, other = CCA(n_components=1, max_iter=5000, tol=1e-12).fit_transform(X, Y)
    expected = abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1])
    assert svcca(X, Y, share=1.0)[0] == pytest.approx(expected, abs=1e-6)


def test_still_states_and_tensors() -> None:
    X = states(0, 10, 3)
    assert math.isnan(linear_cka(X, np.ones((10, 2))))
    assert len(svcca(X, np.ones((10, 2)))) == 0
    assert linear_cka(torch.from_numpy(X), X) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [linear_cka, svcca])
def test_refused(function: object) -> None:
    with pytest.raises(ValueError, match="same moments"):
        function(states(0, 5, 2), states(1, 6, 2))
    with pytest.raises(ValueError, match="one must have shape"):
        function(states(0, 5), states(1, 5, 2))
    with pytest.raises(ValueError, match="other must be finite"):
        function(states(0, 5, 2), np.full((5, 2), np.nan))
