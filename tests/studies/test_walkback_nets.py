"""A convolutional net on components, and a ladder that follows the noise."""

import numpy as np
import pytest
import torch

from tractable.studies.walkback import _own as own
from tractable.studies.walkback import _plane as plane
from tractable.studies.walkback._learning import Learned, convolutional, learn
from tractable.studies.walkback.walkback_ablation import WalkbackAblation
from tractable.walkback import GaussianPrior, Schedule, TransitionOperator


def test_the_net_sees_the_image_that_the_components_stand_for():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0]
    net = convolutional((1, 8, 8), rotation, 64)
    for weight in net.inner.last.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    image, more = torch.randn(3, 64), torch.randn(3, 5)
    turn = torch.from_numpy(rotation).float()
    plain = net.inner(image.reshape(3, 1, 8, 8), more).flatten(1)
    torch.testing.assert_close(net(image @ turn, more) @ turn.T, plain, rtol=1e-4, atol=1e-4)


def test_the_net_leaves_components_beyond_n_alone():
    net = convolutional((1, 8, 8), None, 10)
    for weight in net.inner.last.parameters():
        torch.nn.init.ones_(weight)
    s, more = torch.randn(2, 64), torch.zeros(2, 5)
    other = torch.cat([s[:, :10], torch.randn(2, 54)], 1)
    assert bool((net(s, more)[:, 10:] == 0).all())
    assert bool((net(s, more)[:, :10] != 0).all())
    torch.testing.assert_close(net(s, more), net(other, more))


def test_an_adapted_ladder_ends_at_the_width_of_the_data():
    x = np.random.default_rng(0).standard_normal((400, 2))
    model = learn(
        x, variant="fixed", seed=0, n_steps=2, hidden=(4,), sigma=0.1, factor=2.0, n_heat=3,
        n_cold=1, batch=4, skip="preconditioned", adapt_every=1,
    )  # fmt: skip
    largest = np.linalg.eigvalsh(np.cov(x.T))[-1]
    assert len(model.schedule) == 1 + int(np.ceil(np.log2(largest / 0.01))) + 1


def test_the_last_noise_of_an_ablation_is_that_of_its_own_ladder():
    study = WalkbackAblation()
    assert study._end_noise("recipe") == pytest.approx(0.05 * 1.25**14.5)
    assert study._end_noise("variance ∝ T^2, same ladder") == pytest.approx(0.05 * 1.25**29)
    widest = np.linalg.eigvalsh(np.cov(plane.parts("swiss", 2)[0].T))[-1] ** 0.5
    adapted = study._end_noise("ladder adapted to the noise")
    assert widest <= adapted < widest * 1.25**0.5
    assert np.isnan(study._end_noise("learned noise, ladder adapted"))  # not known beforehand


def test_every_ablation_sees_as_many_rows_as_the_recipe():
    found = plane.ablate(
        name="ring", variant="fixed", seed=0, n_steps=2, n_hidden=4, n_test=100, n_paths=2,
        sigma=0.1, factor=2.0, n_heat=7, n_cold=1, extra=(0,),
    )  # fmt: skip
    assert int(found.updates) == 2 * 34 // 8
    assert float(found.last_noise) == pytest.approx(0.1 * 2**3)


def test_a_ladder_of_own_data_passes_the_largest_component_by_a_rung_at_most():
    variances, sigma, factor = np.array([0.3, 4.0]), 0.07, 1.25
    steps = own.ladder(variances, sigma, factor)
    last = sigma * factor ** ((steps - 1) / 2)
    assert 1.15 * 2.0 <= last < 1.15 * 2.0 * factor**0.5


def test_chains_are_recorded_at_the_steps_asked_for():
    class Count(TransitionOperator):
        event_shape = (1,)

        def sample(self, s, temperature, *, step=None, generator=None):
            return s + 1

    model = Learned(Count(), Schedule.constant(3), GaussianPrior((1,)), torch.zeros(2, 1), 0)
    chain = model.chain(5, extra=(0, 2, 5), seed=0)[:, :, 0]
    assert np.allclose(chain - chain[0], np.array([0, 2, 5])[:, None])


def test_whole_numbers_and_bits_become_densities(tmp_path):
    bits = np.random.default_rng(0).random((20, 3)) < 0.5
    np.save(tmp_path / "bits.npy", bits)
    x, is_image, told = own.read(str(tmp_path / "bits.npy"), 8, False)
    assert not is_image
    assert "uniform noise" in told
    assert (np.floor(x) == bits).all()
    assert len(np.unique(x)) == x.size
    np.save(tmp_path / "pictures.npy", np.ones((9, 4, 4), bool))
    x, is_image, _ = own.read(str(tmp_path / "pictures.npy"), 8, False)
    assert is_image
    assert (x == 255).all()
    np.save(tmp_path / "line.npy", np.arange(9.0))
    assert own.read(str(tmp_path / "line.npy"), 8, False)[0].shape == (9, 1)
    np.save(tmp_path / "turned.npy", np.zeros((2, 30)))
    with pytest.raises(ValueError, match="transposed"):
        own.read(str(tmp_path / "turned.npy"), 8, False)


def test_columns_of_a_table_count_equally_in_any_units(tmp_path):
    z = np.random.default_rng(0).normal(size=(200, 3))
    z[:, 1] += z[:, 0]
    table = np.c_[z * [1e5, 1.0, 1e-4] + [5e6, 0, 2], np.full(200, 7.0)]
    np.save(tmp_path / "table.npy", table)
    x, is_image, told = own.read(str(tmp_path / "table.npy"), 8, False)
    assert x.shape == (200, 3)
    assert "1 of them never vary" in told
    train, test, space = own.split(x, is_image, 0)
    plain, plain_test, _ = own.split(z, False, 0)
    np.testing.assert_allclose(np.abs(train), np.abs(plain), atol=1e-7)
    np.testing.assert_allclose(np.abs(test), np.abs(plain_test), atol=1e-7)
    assert space.variances.min() > 0.1
