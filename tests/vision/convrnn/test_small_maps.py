"""Filters of small maps are applied as one product: against torch's convolution, and its slope."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tractable.vision.convrnn.cells import SameConv2d


@pytest.mark.parametrize(("kernel", "side"), [(3, 2), (3, 3), (2, 2), (4, 2), (5, 1)])
def test_the_product_is_the_convolution(kernel: int, side: int) -> None:
    torch.manual_seed(kernel)
    layer = SameConv2d(256, 300, kernel).double()
    assert layer.is_heavy
    x = torch.randn(2, 256, side, side, dtype=torch.float64, requires_grad=True)
    padded = functional.pad(x, (0, 1, 0, 1)) if kernel % 2 == 0 else x
    y, want = layer(x), nn.Conv2d.forward(layer, padded)
    torch.testing.assert_close(y, want, atol=1e-12, rtol=0)
    (slope,) = torch.autograd.grad(y.square().sum(), x)
    (other,) = torch.autograd.grad(want.square().sum(), x)
    torch.testing.assert_close(slope, other, atol=1e-9, rtol=0)


def test_light_filters_and_strides_are_left_to_torch() -> None:
    assert not SameConv2d(8, 8, 3).is_heavy
    assert not SameConv2d(512, 512, 3, stride=2).is_heavy
    assert not SameConv2d(4096, 4096, 9, groups=4096).is_heavy
