"""A few modes of a large task are those of the whole decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.linear import modes
from tractable.linear.modes import task_modes


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "LARGE", 50)


def matrix(s: list[float], seed: int = 0) -> np.ndarray:
    """Return a matrix of 60 x 80 with given singular values, the rest being 0."""
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.normal(size=(60, 60)))[0][:, : len(s)]
    right = np.linalg.qr(random.normal(size=(80, 80)))[0][:, : len(s)]
    return (left * s) @ right.T


@pytest.mark.parametrize("kind", ["noise", "low rank", "one mode"])
def test_a_few_modes_are_those_of_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).normal(size=(60, 80))
    S = {"noise": noise, "low rank": matrix([3.0, 2.0, 1.0]), "one mode": matrix([2.0])}[kind]
    whole = task_modes(S, np.eye(80), rank=6)
    monkeypatch.setattr(modes, "LARGE", 50)
    few = task_modes(S, np.eye(80), rank=6)
    np.testing.assert_allclose(few.s, whole.s, atol=1e-12)
    n = int((whole.s > 0).sum())
    for a in (few, whole):
        assert a.s.shape == (6,)
        np.testing.assert_allclose(a.V.T @ a.V, np.eye(6), atol=1e-10)
    map_few = (few.U[:, :n] * few.s[:n]) @ few.V[:, :n].T
    map_whole = (whole.U[:, :n] * whole.s[:n]) @ whole.V[:, :n].T
    np.testing.assert_allclose(map_few, map_whole, atol=1e-11)


@pytest.mark.usefixtures("small_is_large")
def test_a_group_that_the_rank_cuts_is_turned_as_a_whole() -> None:
    S = matrix([3.0, 3.0, 3.0, 2.0, 2.0, *[1.0] * 55])
    found = task_modes(S, np.eye(80), rank=4)
    np.testing.assert_allclose(found.s, [3, 3, 3, 2])
    assert found.residual < 1e-12


@pytest.mark.usefixtures("small_is_large")
def test_a_task_without_a_mode_is_no_error() -> None:
    np.testing.assert_array_equal(task_modes(np.zeros((60, 80)), np.eye(80), rank=4).s, 0.0)
