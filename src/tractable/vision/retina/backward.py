"""Gradients of convolutions with few channels, by the quicker of the ways that torch has.

oneDNN takes several times longer than need be where a convolution has one channel on one side, as
a bottleneck has. The result is the same; only which kernel of torch computes it is decided here.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["QuickConvolutions"]

FEW = 4  # channels
BACKWARD = torch.ops.aten.convolution_backward.default


class QuickConvolutions(TorchDispatchMode):
    """Takes over the gradient with respect to the input of convolutions with few channels."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Watch one operation."""
        if func is BACKWARD and not kwargs and _applies(*args):
            return _input_gradient(*args)
        return func(*args, **(kwargs or {}))


def _applies(
    gradient: Tensor, x: Tensor, weight: Tensor, _bias: Any, stride: Any, padding: Any,
    dilation: Any, transposed: bool, _output_padding: Any, groups: int, mask: Any,
) -> bool:  # fmt: skip
    plain = not transposed and groups == 1 and list(mask) == [True, False, False]
    few = min(weight.shape[:2]) <= FEW
    return plain and few and gradient.device.type == "cpu" and gradient.ndim == 4


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    if weight.shape[0] <= weight.shape[1]:  # few outputs
        laid = x.contiguous(memory_format=torch.channels_last)  # it decides the way that is taken
        return BACKWARD(gradient, laid, weight, *rest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a card by Intel that is not there
        with torch.backends.mkldnn.flags(enabled=False):
            return BACKWARD(gradient, x, weight, *rest)
