"""Networks side by side are trained as they would be alone."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from tractable.spectra.replicas import Replicas
from tractable.studies.spectra._race import make_optimizer


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def cnn() -> nn.Sequential:
    conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1, padding_mode="circular")
    return nn.Sequential(
        conv(1, 2), nn.Tanh(), conv(2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )


@pytest.mark.parametrize(("make", "shape"), [(mlp, (5,)), (cnn, (1, 4, 4))])
def test_outputs_are_those_of_each_network(make, shape) -> None:
    networks = [make() for _ in range(3)]
    x = torch.randn(3, 7, *shape)
    found = Replicas(networks)(x)
    for i, network in enumerate(networks):
        torch.testing.assert_close(found[i], network(x[i]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
def test_training_is_that_of_each_network_at_its_rate(optimizer: str) -> None:
    # INDEPENDENT: torch.optim on the network alone
    rates, steps = [0.01, 0.002], 4
    networks = [mlp() for _ in rates]
    x, y = torch.randn(9, 5), torch.randint(0, 3, (9,))
    together = Replicas(networks)
    joint = make_optimizer(optimizer, rates, 1, list(together.parameters()))
    for _ in range(steps):
        joint.zero_grad()
        logits = together(x.expand(2, 9, 5))
        sum(nn.functional.cross_entropy(one, y) for one in logits).backward()
        joint.step()
    for network, rate, flat in zip(networks, rates, together.flat, strict=True):
        alone = make_optimizer(optimizer, [rate], 1, [nn.Parameter(torch.zeros(1))])
        kind, settings = type(alone), dict(alone.defaults)
        settings["lr"] = rate
        own = kind(network.parameters(), **settings)
        for _ in range(steps):
            own.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            own.step()
        expected = nn.utils.parameters_to_vector(network.parameters())
        torch.testing.assert_close(flat, expected, atol=1e-5, rtol=1e-3)


def test_a_network_that_diverges_does_not_touch_the_others() -> None:
    networks = [mlp(), mlp()]
    networks[0][0].weight.data[:] = torch.nan
    together = Replicas(networks)
    losses = together(torch.randn(2, 4, 5)).square().mean((1, 2))
    torch.where(losses.isfinite(), losses, 0.0).sum().backward()
    assert together.flat[0].grad.isnan().any()
    assert together.flat[1].grad.isfinite().all()


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "one network or more"),
        ([mlp(), nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))], "same architecture"),
        ([nn.Sequential(nn.Linear(2, 2, bias=False))], "must have a bias"),
        ([nn.Sequential(nn.Conv2d(1, 1, 3))], "circular padding"),
    ],
)
def test_what_cannot_run_side_by_side_is_refused(networks, message) -> None:
    with pytest.raises(ValueError, match=message):
        Replicas(networks)
    with pytest.raises(ValueError, match="x must have shape"):
        Replicas([mlp()])(torch.randn(2, 3, 5))
