"""Baselines: witnesses are scipy's density, a numerical integral, and moments of draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tractable.walkback.baselines import fit_gaussian, fit_kernel, fit_mixture
from tractable.walkback.classifier import ImageClassifier, train_classifier
from tractable.walkback.comparison import Comparison, compare
from tractable.walkback.image_sets import load_image_set


def test_the_gaussian_is_scipys() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 4)) @ random.normal(size=(4, 4)) + 2.0
    law = fit_gaussian(x)
    theirs = multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x)
    assert law.log_prob(x) == pytest.approx(theirs)
    draws = law.sample(50_000, seed=1)
    assert np.cov(draws.T) == pytest.approx(law.covariance, abs=0.05 * law.covariance.max())
    with pytest.raises(ValueError, match="floor > 0"):
        fit_gaussian(np.zeros((5, 2)))


def test_the_kernel_density_integrates_to_one() -> None:
    x = np.random.default_rng(1).normal(size=(40, 1))
    law = fit_kernel(x, 0.3)
    at = np.linspace(-6, 6, 4001)[:, None]
    assert np.exp(law.log_prob(at)).sum() * 12 / 4000 == pytest.approx(1.0, abs=1e-6)
    draws = law.sample(40_000)
    assert draws.var() == pytest.approx(x.var() + 0.09, rel=0.03)


def test_a_mixture_of_one_is_the_gaussian() -> None:
    x = np.random.default_rng(2).normal(size=(500, 3))
    one, law = fit_mixture(x, 1, floor=1e-9), fit_gaussian(x)
    assert one.log_prob(x) == pytest.approx(law.log_prob(x), abs=1e-5)
    assert np.array_equal(one.sample(7, seed=3), one.sample(7, seed=3))


def test_the_classifier_takes_images_of_any_size() -> None:
    for shape in ((1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 5, 9)):
        net = ImageClassifier(shape, 3).eval()
        x = np.zeros((2, *shape))
        assert net.features(x).shape == (2, 32)
        assert net.probabilities(x).sum(1) == pytest.approx(np.ones(2))


def test_the_classifier_learns_digits_and_the_table_orders_samples() -> None:
    data = load_image_set("digits")
    basis = data.space.basis
    assert basis is not None

    def pixels(s: np.ndarray) -> np.ndarray:
        return s @ basis.T

    net = train_classifier(pixels(data.train), data.train_labels, (1, 8, 8), steps=300)
    right = net.probabilities(pixels(data.test)).argmax(1) == data.test_labels
    assert right.mean() > 0.95
    gaussian = fit_gaussian(data.train).sample(600)
    table = compare(
        {"train": data.train[:600], "gaussian": gaussian},
        data.test,
        data.train,
        bandwidths=[2.0, 4.0, 8.0],
        classifier=net,
        to_images=pixels,
    )
    floor, above = table["train"], table["gaussian"]
    assert floor.frechet < 0.4 * above.frechet
    assert floor.sure > above.sure
    assert floor.memorization == 0.0
    assert above.memorization > 1.2
    again = Comparison.from_dataset(table.to_dataset())
    assert again.names == table.names
    assert again["gaussian"] == above
