"""Networks and arguments that would give a wrong answer in silence, or a raw error, are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tractable.vision.retina import (
    complexity,
    gratings,
    linearity,
    receptive_fields,
    reconstruction,
    separability,
    sta,
)
from tractable.vision.retina.layers import activations, capture

X = torch.rand(80, 1, 9, 11, generator=torch.Generator().manual_seed(0))
LABELS = np.arange(80) % 2


def broken(part: str) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    with torch.no_grad():
        net[0].get_parameter(part)[1] = torch.nan
    return net


ANALYSES: dict[str, Callable[[nn.Module, str], Any]] = {
    "fields": lambda net, layer: receptive_fields(net, layer, images=X),
    "post": lambda net, layer: receptive_fields(net, layer, images=X, through="post"),
    "sta": lambda net, layer: sta(net, layer, images=X, base="mean", n=20),
    "complexity": lambda net, layer: complexity(net, layer, images=X[:3]),
    "gratings": lambda net, layer: gratings(net, layer, shape=(1, 9, 11)),
    "linearity": lambda net, layer: linearity(net, layer, X),
    "reconstruction": lambda net, layer: reconstruction(net, layer, X),
    "separability": lambda net, layer: separability(net, layer, X, LABELS),
}


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_network_that_yields_nan_is_not_called_silent(analysis: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"model must have finite \w+, .*NaN .* in layer '2'"):
        ANALYSES[analysis](broken(part), "2")


def test_a_gradient_that_is_infinite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model must have finite gradients.*in its output"):
        receptive_fields(lambda x: (x * x).sqrt(), base="black", shape=(1, 9, 9))


class Twice(nn.Module):
    """One rectifier, called after each of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3)
        self.relu, self.unused = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.two(self.relu(self.one(x))))
        return out


@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_module_that_is_called_twice_must_say_which_call(analysis: str) -> None:
    with pytest.raises(ValueError, match=r"called 2 times in a forward pass.*'relu@1' to"):
        ANALYSES[analysis](Twice(), "relu")


def test_each_call_has_its_own_activations_and_fields() -> None:
    torch.manual_seed(0)
    net = Twice()
    first = activations(net, "relu@1", X)
    assert torch.equal(first, net.one(X).relu().detach())
    assert torch.equal(activations(net, "relu@2", X), net(X).detach())
    assert torch.equal(activations(net, "relu@2", X, through="pre"), net.two(first).detach())
    second = receptive_fields(net, "relu@2", images=X[:4])
    np.testing.assert_allclose(second.rf, receptive_fields(net, "two", images=X[:4]).rf)
    with pytest.raises(ValueError, match=r"'relu@3' was not reached.*calls it 2 times"):
        activations(net, "relu@3", X)
    for name in ("relu@0", "relu@x", "tanh@2", "unused@"):
        with pytest.raises(ValueError, match="layer must be one of the model's layers"):
            activations(net, name, X)


def test_counting_calls_leaves_the_network_and_the_random_numbers_as_they_were() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.BatchNorm2d(2)
    ).train()
    torch.manual_seed(5)
    net[:2](X)
    state, draws = net[1].running_mean.clone(), torch.get_rng_state()  # type: ignore[union-attr, operator]
    net[1].reset_running_stats()  # type: ignore[operator]
    capture(net, "1")(X)
    assert torch.equal(net[1].running_mean, state)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), draws)
    assert net.training


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.detach())


def test_what_has_no_gradient_is_named() -> None:
    with pytest.raises(ValueError, match="layer 'conv' must depend on the image"):
        receptive_fields(Detached(), "conv", images=X)
    with pytest.raises(ValueError, match="model must depend on the image"):
        receptive_fields(lambda x: (x > 0.5).to(x), images=X)


def test_a_base_may_be_an_array() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    for base in (X[0], X[:2]):
        expected = receptive_fields(net, "1", base=base)
        found = receptive_fields(net, "1", base=base.numpy())
        np.testing.assert_array_equal(found.rf, expected.rf)
        assert found.base == expected.base
    with pytest.raises(TypeError, match="base must hold real numbers"):
        receptive_fields(net, "1", base=np.array(["much"]))
    with pytest.raises(ValueError, match="base must have shape"):
        receptive_fields(net, "1", base=np.ones(9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: receptive_fields(net, 3, images=X), "layer must be the name of a layer"),
        (lambda net: linearity(net, ["0"], X), "layer must be the name of a layer"),
        (lambda net: receptive_fields(net, "0", images=X, units=[[0], [1, 2]]), "units must be"),
        (lambda net: receptive_fields(net, "0", images=X, units={0}), "units must be"),
        (lambda net: receptive_fields(net, "0", images=X, position=[[1], [2, 3]]), "position must"),
        (lambda net: linearity(net, "0", X, position=3), "position must be whole numbers"),
        (lambda net: linearity(net, "0", X, position=(1.5, 2)), "position must be whole numbers"),
        (lambda net: linearity(net, "0", X, position=(1, 2, 3)), "position must be whole numbers"),
        (lambda net: reconstruction(net, "0", X, position=3), "position must be whole numbers"),
        (lambda net: reconstruction(net, "0", X, position=("a", 1)), "position must be whole"),
        (lambda net: separability(net, "0", X, LABELS, pairs=5), "pairs must be 'all' or a list"),
        (lambda net: separability(net, "0", X, LABELS, pairs=[5]), "pairs must be two different"),
        (lambda net: separability(net, "0", X, LABELS, pairs=[("a", None)]), "pairs must be two"),
        (lambda net: separability(net, "0", X, LABELS, channels=[[0], [1, 2]]), "channels must"),
    ],
)
def test_arguments_of_another_type_are_named(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()))
