"""How hidden neurons hear of the error at the output: the feedback pathways that are compared."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_range
from tractable.core.seeds import derive, generator

if TYPE_CHECKING:
    from tractable.spiking.network import SpikingNet

__all__ = ["BPTT", "Feedback", "Fixed", "Frozen", "Random", "Symmetric", "Uniform"]


class Feedback(Protocol):
    """What `SuperSpike` asks of a feedback pathway; any object with this method will do."""

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer, first to last.

        Parameters
        ----------
        net : SpikingNet
            The network.
        error : Tensor
            Error of the output layer, (T, B, n_out).

        Returns
        -------
        list
            One entry for each layer, (T, B, n of the layer), or None for a layer that does not
            learn; the last is ``error``.
        """
        ...


@dataclass(frozen=True)
class Symmetric:
    r"""Errors go back through the forward weights, :math:`e_l = W_{l+1}^T e_{l+1}` (P12).

    It is not backpropagation: surrogate derivative and potential of the layers above are left
    out.
    """

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer."""
        found: list[Tensor | None] = [error]
        for layer in reversed(list(net.layers)[1:]):
            error = error @ layer.weight.detach()
            found.insert(0, error)
        return found


@dataclass(frozen=True)
class Random:
    """Every hidden neuron hears a fixed random mixture of the output errors.

    Parameters
    ----------
    std : float
        Standard deviation of the normal entries, > 0.
    seed : int
        Decides them.
    """

    std: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("std", self.std, 0, open_low=True, open_high=True)
        check_count("seed", self.seed, 0)

    def matrix(self, net: SpikingNet, index: int) -> Tensor:
        """Return B of hidden layer ``index``, shape (n_hidden, n_out)."""
        last, layer = net.layers[-1], net.layers[index]
        weight = last.weight
        normal = _normal(layer.n_out, last.n_out, self.seed, index)
        return _placed(normal, self.std, weight.dtype, weight.device).clone()

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer."""
        return [*(error @ self.matrix(net, i).T for i in range(len(net.layers) - 1)), error]


@functools.lru_cache(maxsize=64)
def _normal(n_hidden: int, n_out: int, seed: int, index: int) -> Tensor:
    random = generator(derive(seed, "feedback", index))
    return torch.randn(n_hidden, n_out, generator=random, dtype=torch.float64)


@functools.lru_cache(maxsize=64)
def _placed(normal: Tensor, std: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    # once, not in every window: a copy to a GPU waits for it
    return (std * normal).to(dtype).to(device)


@dataclass(frozen=True)
class Uniform:
    """Every hidden neuron hears the sum of the output errors."""

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer."""
        total = error.sum(2, keepdim=True)
        hidden = list(net.layers)[:-1]
        return [*(total.expand(*error.shape[:2], layer.n_out) for layer in hidden), error]


@dataclass(frozen=True, eq=False)
class Fixed:
    """Feedback through given matrices.

    Parameters
    ----------
    *matrices : Tensor
        One for each hidden layer, shape (n_hidden, n_out).
    """

    matrices: tuple[Tensor, ...]

    def __init__(self, *matrices: Tensor) -> None:
        tensors = tuple(torch.as_tensor(matrix) for matrix in matrices)
        for i, matrix in enumerate(tensors):
            check_finite(f"matrices[{i}]", matrix)
        object.__setattr__(self, "matrices", tensors)

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer."""
        hidden = list(net.layers)[:-1]
        wanted = [(layer.n_out, error.shape[2]) for layer in hidden]
        given = [tuple(matrix.shape) for matrix in self.matrices]
        if wanted != given:
            raise ValueError(f"Fixed must hold matrices of shapes {wanted}, got {given}")
        return [*(error @ matrix.to(error).T for matrix in self.matrices), error]


@dataclass(frozen=True)
class Frozen:
    """Hidden layers do not learn."""

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of every layer."""
        return [*([None] * (len(net.layers) - 1)), error]


@dataclass(frozen=True)
class BPTT:
    """Backpropagation through time within each window, to compare with.

    The exact gradient of the surrogate graph without reset path, truncated at the window's ends;
    not local, not online, and for nets without recurrent weights. The kernel is that of the loss.
    """

    def errors(self, net: SpikingNet, error: Tensor) -> list[Tensor | None]:
        """Return the error of the output; `SuperSpike` computes the others itself."""
        return Frozen().errors(net, error)
