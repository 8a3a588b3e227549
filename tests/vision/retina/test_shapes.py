"""Generated shapes: range, spectrum of the background, classes, seeds, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.vision.retina import make_shapes_on_pink
from tractable.vision.retina.shapes import SHAPES, masks, pink_noise


def test_images_classes_and_seeds() -> None:
    images, labels = make_shapes_on_pink(600, size=16, seed=3)
    assert images.shape == (600, 1, 16, 16)
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(labels.tolist()) == set(range(6))
    again, _ = make_shapes_on_pink(600, size=16, seed=3)
    assert np.array_equal(again, images)
    other, _ = make_shapes_on_pink(600, size=16, seed=4)
    assert not np.array_equal(other, images)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_the_background_falls_with_its_exponent(exponent: float) -> None:
    noise = pink_noise(400, 64, exponent, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.05)
    window = np.outer(*[np.hanning(66)[1:-1]] * 2)
    power = (np.abs(np.fft.fft2(noise * window)) ** 2).mean(0)
    f = np.arange(4, 17)
    slope = np.polyfit(np.log(f), np.log(power[0, 4:17]), 1)[0]
    assert slope == pytest.approx(-2 * exponent, abs=0.15)


def test_areas_of_the_shapes() -> None:
    labels = np.repeat(np.arange(6), 200)
    areas = masks(labels, 64, np.random.default_rng(0)).sum((1, 2)).reshape(6, 200).mean(1)
    square_radius = 64**2 * (0.3**3 - 0.15**3) / (3 * 0.15)  # mean of the squared radius
    exact = [np.pi, (2 * 1.1) ** 2 / 2, 4 / 3 * 2 - 4 / 9, 3 * np.sqrt(3) / 4, np.pi * 0.75, 1.0]
    np.testing.assert_allclose(areas / square_radius, exact, rtol=0.12)
    assert len(SHAPES) == 6


@pytest.mark.parametrize(("name", "value"), [("n", 0), ("contrast", 0.0), ("n_classes", 7)])
def test_refusals(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        make_shapes_on_pink(**{"n": 3, name: value})  # type: ignore[arg-type]
