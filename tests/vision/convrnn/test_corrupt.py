"""Hidden and noisy images: how much is hidden, and that the rest is left alone."""

from __future__ import annotations

import pytest
import torch

from tractable.vision.convrnn.corrupt import noisy, occluded, shrunk
from tractable.vision.convrnn.recall import digit_parts


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_the_share_is_exact_in_every_image(share: float) -> None:
    images = torch.rand(40, 3, 16, 16) + 1
    hidden = occluded(images, share, fill=0.0, seed=2)
    gone = hidden == 0
    assert (gone.all(1).sum((1, 2)) == round(share * 256)).all()
    assert torch.equal(hidden[~gone], images[~gone])
    assert torch.equal(gone[:, 0], gone[:, 2])


def test_places_differ_between_images_and_repeat_with_the_seed() -> None:
    images = torch.ones(2, 1, 16, 16)
    first = occluded(images, 0.3)
    assert torch.equal(first, occluded(images, 0.3))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, occluded(images, 0.3, seed=1))


def test_noise() -> None:
    images = torch.rand(100, 3, 8, 8)
    added = noisy(images, 0.5, seed=1) - images
    assert float(added.std()) == pytest.approx(0.5, rel=0.02)
    assert torch.equal(noisy(images, 0.0), images)


def test_shrunk_keeps_the_mean() -> None:
    images = torch.rand(4, 3, 32, 32)
    small = shrunk(images, 16)
    assert small.shape == (4, 3, 16, 16)
    torch.testing.assert_close(small.mean((2, 3)), images.mean((2, 3)))
    assert shrunk(images, 32) is images
    with pytest.raises(ValueError, match="size"):
        shrunk(images, 12)


def test_nan_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="images"):
        occluded(torch.full((1, 1, 4, 4), torch.nan), 0.5)
    with pytest.raises(ValueError, match=r"\(n, C, H, W\)"):
        noisy(torch.zeros(4, 4), 0.5)
    with pytest.raises(ValueError, match="share"):
        occluded(torch.zeros(1, 1, 4, 4), 1.0)


def test_one_patch_that_lies_inside_is_a_square_of_the_share() -> None:
    hidden = occluded(torch.ones(200, 1, 32, 32), 0.25, n_patches=1, fill=0.0)[:, 0] == 0
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    squares = int(((rows == 16) & (columns == 16)).sum())
    assert squares > 20  # a patch of 16 lies inside of 32 at 17 of 47 places in each direction


def test_digits_range_from_minus_one_to_one() -> None:
    train, _, test, _ = digit_parts()
    pixels = torch.cat([train, test])
    assert pixels.min() == -1
    assert pixels.max() == 1
