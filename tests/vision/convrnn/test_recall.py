"""Movies of the recall task: what each frame shows, and that they are drawn anew."""

from __future__ import annotations

import pytest
import torch

from tractable.vision.convrnn.recall import (
    GlimpseTask,
    RecallTask,
    digit_parts,
    movie_batches,
    recall_tasks,
)


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_three_variants() -> None:
    tasks = recall_tasks()
    assert tasks["A"].shown == (0, 0, -1, 1, 1, -1, -1)
    assert tasks["C"].shown == (0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, -1, -1)
    assert tasks["B"].shown == (0,) * 5 + (-1,) * 8


def test_frames_show_what_they_should() -> None:
    task = RecallTask(n_target=2, n_distractors=2, n_gap=1, n_distractor=2, n_tail=1, noise=0.0)
    pool = torch.rand(7, 1, 3, 3)
    targets = torch.rand(4, 1, 3, 3)
    movies = task.movies(targets, pool, random())
    for t, which in enumerate(task.shown):
        for i in range(4):
            if which < 0:
                assert (movies[i, t] == task.blank).all()
            elif which == 0:
                assert torch.equal(movies[i, t], targets[i])
            else:
                assert any(torch.equal(movies[i, t], image) for image in pool)
    assert torch.equal(movies[:, 3], movies[:, 4])  # one distractor, two frames


def test_noise_has_its_deviation_and_differs_from_frame_to_frame() -> None:
    task = RecallTask(noise=0.3, blank=0.0)
    movies = task.movies(torch.zeros(50, 1, 8, 8), torch.zeros(1, 1, 8, 8), random())
    assert float(movies.std()) == pytest.approx(0.3, rel=0.02)
    assert not torch.equal(movies[:, 0], movies[:, 1])


def test_glimpses_lie_inside_the_image() -> None:
    task = GlimpseTask(n_glimpses=20, size=3, n_tail=2, noise=0.0)
    movies = task.movies(torch.ones(30, 2, 8, 8), torch.ones(1, 2, 8, 8), random())
    seen = movies == 1
    assert (seen.sum((3, 4))[:, :20] == 9).all()
    assert (seen.sum((3, 4))[:, 20:] == 0).all()
    assert seen.any(0).any(0).all()  # every pixel is seen at some time
    rows = seen[:, :20, 0].any(-1).sum(-1)
    assert (rows == 3).all()


def test_batches_depend_on_the_epoch_alone() -> None:
    images, labels, _, _ = digit_parts()
    batches = movie_batches(recall_tasks()["A"], images, labels, batch_size=48, seed=3)
    first, again, other = next(batches(0)), next(batches(0)), next(batches(1))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    whole = [y for _, y in batches(2)]
    assert len(whole) == len(images) // 48
    assert {len(y) for y in whole} == {48}


def test_train_and_test_share_no_image() -> None:
    images, labels, test_images, test_labels = digit_parts()
    assert labels.bincount().tolist() != []
    train = {tuple(image.flatten().tolist()) for image in images}
    test = [tuple(image.flatten().tolist()) for image in test_images]
    assert sum(image in train for image in test) <= 2  # the file itself may repeat an image
    assert test_labels.bincount(minlength=10).min() >= 35


def test_a_longer_target_gives_itself_away() -> None:
    with pytest.raises(ValueError, match="gives itself away"):
        RecallTask(n_target=2, n_distractor=1).bound()
    assert RecallTask(n_target=2, n_distractors=0).bound() == 1.0


@pytest.mark.parametrize("field", ["n_target", "n_gap", "n_distractor", "n_tail", "noise"])
def test_bad_fields_are_named(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        RecallTask(**{field: -1})


def test_images_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        RecallTask().movies(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 6, 6), random())
    with pytest.raises(ValueError, match="targets"):
        RecallTask().movies(torch.full((2, 1, 8, 8), torch.nan), torch.zeros(2, 1, 8, 8), random())
