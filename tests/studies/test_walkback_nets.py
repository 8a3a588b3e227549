"""A convolutional net on components, and a ladder that follows the noise."""

import numpy as np
import torch

from tractable.studies.walkback._learning import convolutional, learn


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
