"""Images as points: witnesses are the inverse, and densities that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tractable.walkback.image_sets import load_image_set, read_array, read_image_folder
from tractable.walkback.pixels import PixelSpace, bits_per_dim, dequantize


def test_a_uniform_law_has_eight_bits_per_dimension() -> None:
    assert bits_per_dim(np.zeros(3), 3072) == pytest.approx(np.full(3, 8.0), abs=1e-12)
    assert bits_per_dim(0.0, 10, levels=17) == pytest.approx(np.log2(17))


@pytest.mark.parametrize("rotate", [True, False])
def test_the_scale_of_the_data_leaves_bits_per_dim_unchanged(rotate: bool) -> None:
    # log p(s) of the pushed-forward density, by the change of variables
    random = np.random.default_rng(0)
    y = np.clip(
        random.normal(0.5, 0.1, size=(500, 2, 3)) + random.normal(0, 0.1, (500, 1, 1)), 0, 1
    )
    space = PixelSpace.of(y, rotate=rotate)
    flat = y.reshape(500, -1)
    law = multivariate_normal(flat.mean(0), np.cov(flat.T))
    in_s = multivariate_normal(np.zeros(6), np.cov(space.forward(y).T))
    direct = bits_per_dim(law.logpdf(flat), 6)
    assert space.bits_per_dim(in_s.logpdf(space.forward(y))) == pytest.approx(direct, abs=1e-6)


def test_rotated_components_are_uncorrelated_and_ordered() -> None:
    digits = load_image_set("digits")
    covariance = np.cov(digits.train.T, bias=True)
    variances = digits.space.variances
    assert covariance == pytest.approx(np.diag(variances), abs=1e-10)
    assert np.all(np.diff(variances) <= 1e-12)
    assert variances.mean() == pytest.approx(1.0)
    back = digits.space.inverse(digits.test)
    assert back.shape == (500, 1, 8, 8)
    assert np.floor(back * 17).min() >= 0
    assert np.floor(back * 17).max() == 16


def test_parts_do_not_overlap_and_follow_the_seed() -> None:
    first, again, other = (load_image_set("digits", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.test_labels, other.test_labels)
    assert len(np.unique(first.space.inverse(first.test).round(9), axis=0)) == 500


@pytest.mark.data("mnist")
def test_mnist() -> None:
    data = load_image_set("mnist", n_train=500, n_test=100)
    assert data.train.shape == (500, 784)
    assert data.space.shape == (1, 28, 28)


@pytest.mark.data("cifar10")
@pytest.mark.slow
def test_cifar10() -> None:
    data = load_image_set("cifar10", n_train=300, n_test=50, rotate=False)
    assert data.train.shape == (300, 3072)


def test_integers_are_dequantized_and_nothing_else() -> None:
    with pytest.raises(TypeError, match="images must be integers"):
        dequantize(np.zeros(3))
    with pytest.raises(ValueError, match=r"images must be 0 \.\. 15"):
        dequantize(np.array([16]), 16)


def test_own_files(tmp_path: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for i in range(3):
        picture = Image.fromarray(random.integers(0, 255, (20, 30, 3), dtype=np.uint8))
        picture.save(tmp_path / "a" / f"{i}.png")
    assert read_image_folder(tmp_path, size=8).shape == (3, 1, 8, 8)
    assert read_image_folder(tmp_path, size=16, color=True).shape == (3, 3, 16, 16)
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"broken\.png is no picture"):
        read_image_folder(tmp_path)
    x = random.normal(size=(20, 3))
    np.savez(tmp_path / "d.npz", other=x[:9], x=x)
    assert np.array_equal(read_array(tmp_path / "d.npz"), x)
    np.save(tmp_path / "bad.npy", np.full((20, 2), np.nan))
    with pytest.raises(ValueError, match="data must be finite"):
        read_array(tmp_path / "bad.npy")
    with pytest.raises(ValueError, match="existing"):
        read_array(tmp_path / "none.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        read_image_folder(tmp_path / "empty")
