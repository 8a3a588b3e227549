"""Networks of one architecture trained side by side: seeds and learning rates in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tractable.core.checks import check_shape

__all__ = ["Replicas"]


class Replicas(nn.Module):
    """R networks as one module, each with parameters of its own.

    Every parameter gets the gradient of its own network, so a sum of the R losses trains each of
    them as it would be trained alone; one that diverges does not touch the others. Each network is
    one flat parameter, which can have its own learning rate as a parameter group.

    Parameters
    ----------
    networks : sequence of nn.Sequential
        Equal in all but their weights. Layers: ``Linear``, ``Conv2d`` (stride 1, circular
        padding), ``Flatten``, and functions of each entry.

    Examples
    --------
    >>> first, second = (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in "ab")
    >>> x = torch.randn(5, 3)
    >>> both = Replicas([first, second])(x.expand(2, 5, 3))
    >>> both.shape, bool((both[1] - second(x)).abs().max() < 1e-6)
    (torch.Size([2, 5, 2]), True)
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("networks must hold one network or more, got none")
        self.n_replicas = len(networks)
        self.plan = [_plan(module) for module in networks[0]]
        self.shapes = [p.shape for p in networks[0].parameters()]
        self.sizes = [p.numel() for p in networks[0].parameters()]
        for network in networks[1:]:
            if [p.shape for p in network.parameters()] != self.shapes:
                raise ValueError("networks must have the same architecture, got different shapes")
        self.flat = nn.ParameterList(
            nn.Parameter(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
            for network in networks
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape (R, batch, ...), of inputs of shape (R, batch, ...)."""
        check_shape("x", x.shape[:2], (self.n_replicas, "batch"))
        parts = iter(torch.stack(list(self.flat)).split(self.sizes, dim=1))
        shapes = iter(self.shapes)
        n = self.n_replicas
        maps = False  # whether x is (batch, R * channels, height, width)
        for kind, module in self.plan:
            if kind == "linear":
                weight = next(parts).view(n, *next(shapes))
                bias = next(parts).view(n, 1, *next(shapes))
                x = torch.baddbmm(bias, x, weight.transpose(1, 2))
            elif kind == "conv":
                if not maps:
                    x, maps = x.transpose(0, 1).flatten(1, 2), True
                shape = next(shapes)
                weight = next(parts).reshape(n * shape[0], *shape[1:])
                bias = next(parts).reshape(-1)
                next(shapes)
                low, high = shape[2] // 2, shape[3] // 2
                x = nn.functional.pad(x, (high, high, low, low), mode="circular")
                x = nn.functional.conv2d(x, weight, bias, groups=n)
            elif kind == "flatten":
                if maps:
                    x, maps = x.unflatten(1, (n, -1)).transpose(0, 1), False
                x = x.flatten(2)
            else:
                x = module(x)
        return x


def _plan(module: nn.Module) -> tuple[str, Any]:
    """Return how a layer is run for all networks at once."""
    if isinstance(module, nn.Linear):
        kind = "linear"
    elif isinstance(module, nn.Conv2d):
        simple = module.stride == (1, 1) and module.groups == 1 and module.dilation == (1, 1)
        if not simple or module.padding_mode != "circular":
            raise ValueError("Conv2d must have stride 1, one group and circular padding")
        kind = "conv"
    elif isinstance(module, nn.Flatten):
        return "flatten", None
    else:
        return "function", module
    if module.bias is None:
        raise ValueError(f"{type(module).__name__} must have a bias")
    return kind, None
