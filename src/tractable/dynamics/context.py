"""What a word does after another word: modifiers, and how long they last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite, check_shape
from tractable.dynamics.cells import as_cell
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ContextEffects", "context_effects"]

LASTS = 0.1  # of its largest strength: a modifier whose effect is below it is over


@dataclass(frozen=True, eq=False, repr=False)
class ContextEffects:
    """Effects of V inputs after each of M modifiers, K steps later.

    Attributes
    ----------
    plain : array, shape (V,)
        Effect of each input at the point itself, ``w . J_in(h*) (x - x*)``: one step's change of
        the readout, linearized.
    linear : array, shape (M, K, V)
        The same at the state k = 1 .. K steps after the modifier (constant input between).
    network : array, shape (M, K, V)
        Change of the readout of the network itself by the input there, against the constant input.
    network_plain : array, shape (V,)
        The same at the point.
    strength : array, shape (M, K)
        ``||(J_in(h_k) - J_in(h*)) (x - x*)||``, mean over the inputs.
    lasts : array, shape (M,)
        Steps until the strength stays below a tenth of its largest; K where it does not.
    state : array, shape (M, K, N)
        The states after the modifier.
    """

    plain: np.ndarray
    linear: np.ndarray
    network: np.ndarray
    network_plain: np.ndarray
    strength: np.ndarray
    lasts: np.ndarray
    state: np.ndarray

    def __repr__(self) -> str:
        m, k, v = self.linear.shape
        return f"ContextEffects({v} inputs after {m} modifiers, {k} steps)"

    @property
    def factor(self) -> np.ndarray:
        """What a modifier multiplies effects with, (M, K): slope of ``network`` on the plain."""
        size = float(self.network_plain @ self.network_plain)
        if size == 0:
            return np.full(self.strength.shape, np.nan)
        slope: np.ndarray = self.network @ self.network_plain / size
        return slope

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``modifier``, ``lag``, ``input``, ``unit``."""
        return to_dataset(self, _DIMS, units={"lasts": "steps"})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> ContextEffects:
        """Return the effects that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "plain": ("input",),
    "linear": ("modifier", "lag", "input"),
    "network": ("modifier", "lag", "input"),
    "network_plain": ("input",),
    "strength": ("modifier", "lag"),
    "lasts": ("modifier",),
    "state": ("modifier", "lag", "unit"),
}


@torch.no_grad()
def context_effects(
    cell: Any,
    point: Tensor | np.ndarray,
    modifiers: Tensor | np.ndarray,
    inputs: Tensor | np.ndarray,
    readout: Any,
    *,
    n_steps: int = 10,
    x_star: Tensor | np.ndarray | None = None,
) -> ContextEffects:
    r"""Return what inputs do in the steps after a modifier, linearized and in the network itself.

    .. math:: \Delta y_k(x) = w^T J_{in}(h_k) (x - x^*), \qquad h_1 = F(h^*, x_{mod}),\
              h_{k+1} = F(h_k, x^*)

    Equation (D30). A word such as "not" changes no readout by itself: it moves the state to where
    the same input has another effect.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network.
    point : array, shape (N,)
        h*, where the network rests: a fixed or slow point.
    modifiers : array, shape (M, D)
        For instance the vectors of "not" and "very".
    inputs : array, shape (V, D)
        Inputs whose effects are compared.
    readout : nn.Linear, array or (weight, bias)
        See `linear_readout`.
    n_steps : int, >= 1
        K.
    x_star : array, shape (D,), optional
        Constant input between; zero by default.

    Returns
    -------
    ContextEffects
        In float64.

    Raises
    ------
    ValueError
        Wrong widths, NaN.

    References
    ----------
    Maheswaranathan and Sussillo 2020, arXiv:2004.08013.

    Examples
    --------
    A product of two units: the second input switches the sign of the first one's effect.

    >>> def step(h, x):
    ...     return torch.stack([h[..., 0] + (1 - h[..., 1]) * x[..., 0], x[..., 1]], -1)
    >>> cell = as_cell(step, n_state=2, n_input=2)
    >>> found = context_effects(
    ...     cell, torch.zeros(2), torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]),
    ...     [1.0, 0.0], n_steps=3)
    >>> found.plain.tolist(), found.linear[0, :, 0].tolist(), found.factor.tolist()
    ([1.0], [-1.0, 1.0, 1.0], [[-1.0, 1.0, 1.0]])
    >>> found.lasts.tolist()
    [1]
    """
    check_count("n_steps", n_steps)
    net = as_cell(cell).to(dtype=torch.float64)

    def plain(value: Tensor | np.ndarray) -> Tensor:
        return torch.as_tensor(value).detach().to(dtype=torch.float64, device=net.device)

    home = plain(point)
    check_shape("point", home.shape, (net.n_state,))
    words, others = plain(inputs), plain(modifiers)
    check_shape("inputs", words.shape, ("V", net.n_input))
    check_shape("modifiers", others.shape, ("M", net.n_input))
    rest = home.new_zeros(net.n_input) if x_star is None else plain(x_star)
    check_shape("x_star", rest.shape, (net.n_input,))
    for name, value in (
        ("point", home),
        ("inputs", words),
        ("modifiers", others),
        ("x_star", rest),
    ):
        check_finite(name, value)
    weight, _ = linear_readout(readout, net, device=net.device)

    state, states = net(home.expand(len(others), -1), others), []
    for _ in range(n_steps):
        states.append(state)
        state = net(state, rest.expand(len(others), -1))
    after = torch.stack(states, 1)  # (M, K, N)

    J_home, linear_home, moved_home = _effects(net, home[None], words, rest, weight)
    J, linear, moved = _effects(net, after.reshape(-1, net.n_state), words, rest, weight)
    change = (J - J_home) @ (words - rest).T  # (M K, N, V)
    strength = change.norm(dim=1).mean(1).reshape(after.shape[:2]).cpu().numpy()
    shape = (*after.shape[:2], len(words))
    return ContextEffects(
        plain=linear_home[0].cpu().numpy(),
        linear=linear.reshape(shape).cpu().numpy(),
        network=moved.reshape(shape).cpu().numpy(),
        network_plain=moved_home[0].cpu().numpy(),
        strength=strength,
        lasts=_duration(strength),
        state=after.cpu().numpy(),
    )


def _effects(
    net: Any, states: Tensor, words: Tensor, rest: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return J_in (S, N, D), and linear and true effects on the readout (S, V)."""
    count = len(states)
    _, J_in = net.jacobians(states, rest.expand(count, -1))
    linear = (weight @ J_in) @ (words - rest).T
    pushed = net(states.repeat_interleave(len(words), 0), words.repeat(count, 1)) @ weight
    alone = net(states, rest.expand(count, -1)) @ weight
    return J_in, linear, pushed.reshape(count, len(words)) - alone[:, None]


def _duration(strength: np.ndarray) -> np.ndarray:
    """Return how many steps each strength (M, K) takes to stay below a tenth of its largest."""
    largest = strength.max(axis=1, keepdims=True, initial=0.0)
    above = strength > LASTS * largest
    return np.array([int(np.flatnonzero(row)[-1]) + 1 if row.any() else 0 for row in above])
