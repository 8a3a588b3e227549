"""Snakes: they do not touch, distances are those along the path, scores are counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from tractable.vision.convrnn.trace import Snakes, snake_batches, snakes, trace_scores


@pytest.fixture(scope="module")
def drawn() -> Snakes:
    return snakes(200, seed=5)


def test_snakes_do_not_touch_each_other(drawn: Snakes) -> None:
    for image in drawn.on_snake:
        pieces, n = label(image, np.ones((3, 3)))
        assert n == 4
        assert np.bincount(pieces.ravel())[1:].tolist() == [14] * 4


def test_a_snake_touches_itself_at_corners_only(drawn: Snakes) -> None:
    for path in drawn.path[:50]:
        places = np.argwhere(path >= 0)[np.argsort(path[path >= 0])]
        assert (np.abs(np.diff(places, axis=0)).sum(1) == 1).all()
        apart = np.abs(places[:, None] - places[None]).max(-1)
        i, j = np.nonzero(apart <= 1)
        assert (np.abs(i - j) <= 2).all()


def test_the_seed_is_the_start_of_the_path(drawn: Snakes) -> None:
    assert (drawn.images[:, 1].sum((1, 2)) == 1).all()
    np.testing.assert_array_equal(drawn.images[:, 1] > 0, drawn.path == 0)
    np.testing.assert_array_equal(drawn.images[:, 0] > 0, drawn.on_snake)
    assert sorted(drawn.path[0][drawn.target[0]].tolist()) == list(range(14))


def test_seeds_repeat_and_differ() -> None:
    np.testing.assert_array_equal(snakes(3, seed=1).path, snakes(3, seed=1).path)
    assert (snakes(3, seed=1).path != snakes(3, seed=2).path).any()


def test_batches_are_turned_together(drawn: Snakes) -> None:
    batches = snake_batches(drawn, batch_size=16, seed=0)
    for (x, path), _ in zip(batches(0), range(8), strict=False):
        assert torch.equal(x[:, 0] > 0, path >= -1)
        assert torch.equal(x[:, 1] > 0, path == 0)
    assert torch.equal(next(batches(4))[0], next(batches(4))[0])


def test_scores_are_shares(drawn: Snakes) -> None:
    found, rejected = trace_scores(np.where(drawn.path % 2 == 0, 1.0, -1.0), drawn.path)
    np.testing.assert_array_equal(found, [1, 0] * 7)
    assert rejected == 1.0
    found, rejected = trace_scores(np.ones(drawn.path.shape), drawn.path)
    assert (found == 1).all()
    assert rejected == 0.0


def test_no_room_is_said() -> None:
    with pytest.raises(ValueError, match="no room"):
        snakes(1, size=6, n_snakes=4, length=14)
    with pytest.raises(ValueError, match="length"):
        snakes(1, length=1)
