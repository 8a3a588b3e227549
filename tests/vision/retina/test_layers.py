"""Layers of any network by name, before and after the nonlinearity."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tractable.vision.retina import RetinaVVS, activations, capture, receptive_fields
from tractable.vision.retina.layers import analysis


class Block(nn.Module):
    """A residual block with a functional, in-place ReLU, as many networks have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.conv1(x), inplace=True)
        return functional.relu(self.conv2(y) + x, inplace=True)


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), Block(4), nn.Flatten(),
        nn.Linear(256, 3),
    ).double()  # fmt: skip


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, dtype=torch.float64)


def test_pre_activation_of_modules_and_functions() -> None:
    model, x = net(), images()
    first = model[0](x)
    assert torch.equal(capture(model, "1", "post")(x), first.relu())
    assert torch.equal(capture(model, "1", "pre")(x), first)  # not destroyed by the in-place ReLU
    h = first.relu()
    inner = model[2].conv2(model[2].conv1(h).relu()) + h
    assert torch.allclose(capture(model, "2", "pre")(x), inner)
    assert torch.allclose(capture(model, "2", "post")(x), inner.relu())


def test_linear_removes_every_nonlinearity() -> None:
    model, x = net(), images()
    linear = capture(model, "2", "linear")
    zero = linear(torch.zeros_like(x))
    assert torch.allclose(linear(3 * x) - zero, 3 * (linear(x) - zero))
    h = model[0](x)
    assert torch.allclose(linear(x), model[2].conv2(model[2].conv1(h)) + h)


def test_the_model_is_left_as_it_was() -> None:
    model = net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    receptive_fields(model, "2", images=images(5), pad="reflect")
    assert model.training
    assert model[1].inplace
    assert all(p.requires_grad for p in model.parameters())
    assert model[0].padding_mode == "zeros"
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_padding_by_reflection_has_no_edge() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    ones = torch.ones(1, 1, 6, 6)
    assert activations(conv, None, ones).std() > 1e-3
    assert activations(conv, None, ones, pad="reflect").std() < 1e-6
    model = RetinaVVS(1, 1, 3, 4, 4, tied=False, head=(3,), in_shape=(1, 8, 8))
    with analysis(model, "circular"):
        assert model.get_submodule("retina_1").conv.padding_mode == "circular"  # type: ignore[union-attr]


def test_the_rest_of_the_pass_is_not_computed() -> None:
    class Loud(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("computed")

    model = nn.Sequential(nn.Conv2d(1, 1, 3), Loud())
    assert activations(model, "0", torch.rand(1, 1, 5, 5)).shape == (1, 1, 3, 3)


def test_batches_do_not_change_the_result() -> None:
    model, x = net(), images(7)
    whole = activations(model, "2", x, batch_size=100)
    assert torch.allclose(whole, activations(model, "2", x, batch_size=3))
    some = activations(model, "2", x, select=lambda u: u[:, :, 4, 4])
    assert torch.allclose(some, whole[:, :, 4, 4])


def test_a_function_is_a_model() -> None:
    x = images(3)
    rf = receptive_fields(lambda y: y.double().square(), images=x)
    assert rf.rf[0, 4, 4] == pytest.approx(2 * float(x[:, 0, 4, 4].mean()), rel=1e-6)
    assert rf.layer == "output"


def test_bad_names() -> None:
    with pytest.raises(ValueError, match="got 'vvs_9'; did you mean 'vvs_1'"):
        capture(RetinaVVS(1, 1, 3, 4, 4, head=(3,), in_shape=(1, 8, 8)), "vvs_9")
    with pytest.raises(ValueError, match="layer must be None for a callable"):
        capture(torch.relu, "conv1")
    with pytest.raises(ValueError, match="through must be one of"):
        capture(net(), "0", "behind")
    with pytest.raises(ValueError, match="one tensor, got tuple"):
        capture(nn.Sequential(nn.LSTM(8, 2)), "0")(torch.rand(2, 3, 8))
