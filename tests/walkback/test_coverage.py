"""Coverage: witnesses are a direct count over all pairs, and limits."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.walkback import coverage
from tractable.walkback.coverage import label_shares, memorization_ratio, prdc


def direct(x: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Count as the definitions say, pair by pair."""

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    reach, own = np.sort(distance(y, y), 1)[:, k], np.sort(distance(x, x), 1)[:, k]
    between = distance(x, y)
    return (
        float((between < reach).any(1).mean()),
        float((between < own[:, None]).any(0).mean()),
        float((between < reach).sum() / (k * len(x))),
        float((between.min(0) < reach).mean()),
    )


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_prdc_is_the_direct_count(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x, y = scale * random.normal(size=(130, 3)), random.normal(size=(170, 3))
    monkeypatch.setattr(coverage, "BLOCK", 50)
    found = prdc(x, y, 5)
    values = (found.precision, found.recall, found.density, found.coverage)
    assert values == pytest.approx(direct(x, y, 5), abs=1e-12)


@pytest.mark.peer
def test_prdc_agrees_with_the_package_of_the_authors() -> None:
    peer = pytest.importorskip("prdc")
    x, y = np.random.default_rng(1).normal(size=(2, 200, 4))
    theirs = peer.compute_prdc(real_features=y, fake_features=x, nearest_k=5)
    found = prdc(x, y, 5)
    for name, value in theirs.items():
        assert getattr(found, name) == pytest.approx(value), name


def test_copies_are_memorized_and_far_points_are_not() -> None:
    random = np.random.default_rng(2)
    train, test = random.normal(size=(2, 300, 2))
    assert memorization_ratio(train, test, train) == 0.0
    assert memorization_ratio(random.normal(size=(300, 2)) + 10, test, train) > 10


def test_labels() -> None:
    certain = np.eye(4)[[0, 0, 1, 2, 3, 3]]
    found = label_shares(certain, expected=[2, 1, 1, 2])
    assert found.chi2 == pytest.approx(0.0)
    assert found.sure == 1.0
    with pytest.raises(ValueError, match="softmax"):
        label_shares(certain * 3)
    with pytest.raises(ValueError, match="expected must be positive"):
        label_shares(certain, expected=[1, 0, 1, 1])


def test_neighbors_must_exist() -> None:
    with pytest.raises(ValueError, match="k must be >= 1 and <= 4"):
        prdc(np.zeros((5, 2)), np.zeros((9, 2)), 5)


def test_data_of_few_values_have_no_memorization_ratio() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 100, 2)).astype(float)
    assert np.isnan(memorization_ratio(*bits))
