"""Steps of gradient descent for deep linear networks, many of them in one pass.

Three ways to the same gradient: from the correlations, from batches of examples, and by automatic
differentiation of a module. Each keeps its networks and takes a step at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractable.linear.weights import read_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tractable.linear.mode_dynamics import ModeDynamics

__all__ = ["AutogradDescent", "BatchDescent", "Batches", "Descent", "FullDescent", "examples_of"]


class Descent:
    """Networks in training: their layers (S, rows, columns), first one first, and the task."""

    layers: list[torch.Tensor]
    task: Task

    def weights(self) -> list[np.ndarray]:
        """Return copies of the layers, each of shape (S, rows, columns)."""
        return [to_numpy(W) for W in self.layers]

    def error(self) -> float:
        """Return the mean error of the maps, over that of the zero map."""
        return self.task.error(whole_map(self.layers))

    def step(self) -> None:
        """Take one step."""
        raise NotImplementedError


class FullDescent(Descent):
    """Full-batch descent from the correlations, without autograd: only the products it needs."""

    def __init__(
        self,
        dynamics: ModeDynamics,
        starts: Sequence[np.ndarray],
        lr: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        import torch

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=dtype, device=device).contiguous()

        self.task = Task(put(dynamics.cov_x), put(dynamics.cov_yx))
        n_in = dynamics.cov_x.shape[0]
        scale = float(np.trace(dynamics.cov_x)) / n_in
        self.white = bool(np.abs(dynamics.cov_x - scale * np.eye(n_in)).max() <= 1e-14 * scale)
        self.scale, self.lr = scale, lr
        self.layers = [put(W) for W in starts]
        seeds = len(starts[0])
        self.target = self.task.cov_yx.expand(seeds, -1, -1)
        self.gap = torch.empty(seeds, *self.task.cov_yx.shape, dtype=dtype, device=device)
        self.spare = torch.empty_like(self.layers[-1])

    def step(self) -> None:
        """Take one step of all networks together."""
        if len(self.layers) == 2 and self.white:
            self._two_layers()
        else:
            self._any_depth()

    def _two_layers(self) -> None:
        """One hidden layer and white inputs: three products, in place."""
        import torch

        first, second = self.layers
        torch.baddbmm(self.target, second, first, alpha=-self.scale, out=self.gap)
        torch.baddbmm(second, self.gap, first.mT, alpha=self.lr, out=self.spare)
        first.baddbmm_(second.mT, self.gap, alpha=self.lr)
        self.layers[1], self.spare = self.spare, second

    def _any_depth(self) -> None:
        import torch

        before = [self.layers[0]]
        for W in self.layers[1:]:
            before.append(torch.bmm(W, before[-1]))
        if self.white:
            error = torch.add(self.target, before[-1], alpha=-self.scale)
        else:
            error = self.target - before[-1] @ self.task.cov_x
        for layer in range(len(self.layers) - 1, -1, -1):
            W = self.layers[layer]
            back = torch.bmm(W.mT, error) if layer else error
            if layer:
                self.layers[layer] = torch.baddbmm(W, error, before[layer - 1].mT, alpha=self.lr)
            else:
                self.layers[0] = torch.add(W, error, alpha=self.lr)
            error = back


class BatchDescent(Descent):
    """Stochastic gradient descent: each network sees its own batch of examples in each step."""

    def __init__(
        self,
        dynamics: ModeDynamics,
        starts: Sequence[np.ndarray],
        lr: float,
        dtype: torch.dtype,
        device: torch.device,
        batches: Batches,
    ) -> None:
        import torch

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=dtype, device=device).contiguous()

        inputs, targets, factor = examples_of(dynamics)
        self.X, self.Y = put(inputs), put(targets)
        self.task = Task(put(dynamics.cov_x), put(dynamics.cov_yx))
        self.rate = lr * factor * batches.share  # the gradient's mean is that of all examples
        self.batches = batches
        self.layers = [put(W) for W in starts]

    def step(self) -> None:
        """Take one step, each network on a batch of its own."""
        import torch

        rows = torch.as_tensor(self.batches.draw(), device=self.X.device)
        activity = [self.X[rows]]  # (S, batch, n_in)
        for W in self.layers:
            activity.append(torch.bmm(activity[-1], W.mT))
        error = self.Y[rows] - activity[-1]
        for i in range(len(self.layers) - 1, -1, -1):
            W = self.layers[i]
            self.layers[i] = torch.baddbmm(W, error.mT, activity[i], alpha=self.rate)
            error = torch.bmm(error, W)


class AutogradDescent(Descent):
    """Descent of copies of a module by automatic differentiation, on all examples or on batches.

    Without examples the loss is that of the correlations: the module must then be linear.
    """

    def __init__(
        self,
        dynamics: ModeDynamics,
        module: nn.Module,
        lr: float,
        dtype: torch.dtype,
        device: torch.device,
        batches: Batches | None,
        seeds: int,
    ) -> None:
        import torch

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=dtype, device=device)

        copies = seeds if batches is not None else 1  # without batches they would be equal
        self.modules = [copy.deepcopy(module).to(device=device, dtype=dtype) for _ in range(copies)]
        self.repeat = seeds // copies
        self.task = Task(put(dynamics.cov_x), put(dynamics.cov_yx))
        self.lr, self.batches = lr, batches
        self.units = torch.eye(len(dynamics.V), dtype=dtype, device=device)
        self.examples: tuple[torch.Tensor, torch.Tensor] | None = None
        if dynamics.targets is not None:
            inputs, targets, self.factor = examples_of(dynamics)
            self.examples = put(inputs), put(targets)

    def weights(self) -> list[np.ndarray]:
        """Return copies of the layers, or the map of a module that is no stack of them."""
        try:
            layers = [read_weights(module) for module in self.modules]
        except (TypeError, ValueError):  # no stack of linear layers: its map is what is known
            layers = [[to_numpy(self._map(module))] for module in self.modules]
        return [np.repeat(np.stack(found), self.repeat, 0) for found in zip(*layers, strict=True)]

    def error(self) -> float:
        """Return the mean error of the maps, over that of the zero map."""
        import torch

        return self.task.error(torch.stack([self._map(module) for module in self.modules]))

    def step(self) -> None:
        """Take one step of each module."""
        import torch

        drawn = [None] * len(self.modules) if self.batches is None else self.batches.draw()
        for module, rows in zip(self.modules, drawn, strict=True):
            parameters = [p for p in module.parameters() if p.requires_grad]
            slopes = torch.autograd.grad(self._loss(module, rows), parameters)
            with torch.no_grad():
                for parameter, slope in zip(parameters, slopes, strict=True):
                    parameter.sub_(slope, alpha=self.lr)

    def _loss(self, module: nn.Module, rows: np.ndarray | None) -> torch.Tensor:
        """Return half the squared error times the norm, up to a constant."""
        if self.examples is None:
            W = module(self.units).mT
            return (W * (W @ self.task.cov_x / 2 - self.task.cov_yx)).sum()
        X, Y = self.examples
        share = 1.0
        if rows is not None and self.batches is not None:
            X, Y, share = X[rows], Y[rows], self.batches.share
        return share * self.factor / 2 * (Y - module(X)).square().sum()

    def _map(self, module: nn.Module) -> torch.Tensor:
        """Return the outputs for unit inputs, less those for no input."""
        import torch

        with torch.no_grad():
            return (module(self.units) - module(torch.zeros_like(self.units))).mT


@dataclass(frozen=True)
class Task:
    """Correlations as tensors."""

    cov_x: torch.Tensor
    cov_yx: torch.Tensor

    def error(self, whole: torch.Tensor) -> float:
        """Return the mean error of maps (S, n_out, n_in), over that of the zero map."""
        gap = self.cov_yx - whole @ self.cov_x
        return float(gap.square().sum((1, 2)).mean() / self.cov_yx.square().sum().clamp_min(1e-300))


class Batches:
    """Random batches without replacement: every epoch has an order of its own in each network.

    Examples
    --------
    >>> batches = Batches(n_examples=6, size=2, seeds=1, random=np.random.default_rng(0))
    >>> sorted(int(i) for _ in range(3) for i in batches.draw()[0])  # an epoch
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, n_examples: int, size: int, seeds: int, random: np.random.Generator) -> None:
        self.size, self.share = size, n_examples / size
        self.random, self.place = random, n_examples
        self.order = np.tile(np.arange(n_examples), (seeds, 1))

    def draw(self) -> np.ndarray:
        """Return the examples of a step, shape (S, size); the rest of an epoch is left out."""
        if self.place + self.size > self.order.shape[1]:
            self.order, self.place = self.random.permuted(self.order, axis=1), 0
        self.place += self.size
        return self.order[:, self.place - self.size : self.place]


def examples_of(dynamics: ModeDynamics) -> tuple[np.ndarray, np.ndarray, float]:
    """Return inputs as the network sees them, targets, and the norm: 1/P or 1."""
    if dynamics.inputs is None or dynamics.targets is None:
        raise ValueError(
            "batch_size needs examples: make the dynamics by ModeDynamics.from_data, or leave "
            "batch_size out to train on the correlations"
        )
    inputs = np.asarray(dynamics.inputs, dtype=float)
    if dynamics.whitening is not None:
        inputs = inputs @ dynamics.whitening
    power = float(np.vdot(inputs, inputs))
    factor = float(np.trace(dynamics.cov_x)) / power if power > 0 else 1.0
    return inputs, np.asarray(dynamics.targets, dtype=float), factor


def whole_map(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return W_L ... W_1."""
    import torch

    whole = layers[0]
    for W in layers[1:]:
        whole = torch.bmm(W, whole)
    return whole


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy in float64."""
    import torch

    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy().copy()
