"""A network under a periodic input: one period as one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_finite, check_shape
from tractable.dynamics.cells.assembly import check_step

__all__ = ["PeriodicMap", "periodic_map"]


@dataclass(frozen=True, eq=False)
class PeriodicMap:
    r"""A cell whose step is a period of another cell's. Made by `periodic_map`.

    .. math::
        F_p(h) = F(\ldots F(F(h, x_1), x_2) \ldots, x_p), \qquad
        J_p = J(h_{p-1}, x_p) \cdots J(h_1, x_2)\, J(h_0, x_1)

    Attributes
    ----------
    cell : Cell
        The network.
    inputs : Tensor (p, D)
        One period.
    """

    cell: Any
    inputs: Tensor

    @property
    def period(self) -> int:
        """Number p of steps of the cell."""
        return len(self.inputs)

    @property
    def n_state(self) -> int:
        """Dimension N."""
        return int(self.cell.n_state)

    @property
    def n_input(self) -> int:
        """Dimension D of a constant input that is added to the periodic one."""
        return int(self.cell.n_input)

    @property
    def dt(self) -> float:
        """Duration of a period: time constants and frequencies come out per step of the cell."""
        return self.period * (self.cell.dt or 1.0)

    @property
    def readout_slice(self) -> slice:
        """What a readout sees."""
        part: slice = self.cell.readout_slice
        return part

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The cell's invariant box."""
        box: tuple[Tensor, Tensor] | None = self.cell.bounds
        return box

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        kind: torch.dtype = self.cell.dtype
        return kind

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        place: torch.device = self.cell.device
        return place

    def orbit(self, state: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the states after each of the p inputs, (B, p, N).

        Parameters
        ----------
        state : Tensor (B, N)
            States before the first input of the period.
        x : Tensor (B, D), optional
            Added to every input.
        """
        x = state.new_zeros(len(state), self.n_input) if x is None else x
        states = []
        for u in self.inputs:
            state = self.cell(state, x + u)
            states.append(state)
        return torch.stack(states, dim=1)

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the state (B, N) one period later."""
        check_step(state, x, self.n_state, self.n_input)
        for u in self.inputs:
            state = self.cell(state, x + u)
        return state

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the products over a period, (B, N, N), and the effect of x, (B, N, D)."""
        check_step(state, x, self.n_state, self.n_input)
        J = torch.eye(self.n_state, dtype=state.dtype, device=state.device)
        J = J.expand(len(state), -1, -1)
        J_in = state.new_zeros(len(state), self.n_state, self.n_input)
        for u in self.inputs:
            one, one_in = self.cell.jacobians(state, x + u)
            J, J_in = one @ J, one @ J_in + one_in
            state = self.cell(state, x + u)
        return J, J_in

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the product of the Jacobians over a period, (B, N, N)."""
        check_step(state, x, self.n_state, self.n_input)
        J = None
        for u in self.inputs:
            one = self.cell.recurrent_jacobian(state, x + u)
            J = one if J is None else one @ J
            state = self.cell(state, x + u)
        assert J is not None  # there is one input or more
        return J

    def pack(self, *parts: Tensor) -> Tensor:
        """Join the parts of a state, as the cell does."""
        state: Tensor = self.cell.pack(*parts)
        return state

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Split a state, as the cell does."""
        parts: tuple[Tensor, ...] = self.cell.unpack(state)
        return parts

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> PeriodicMap:
        """Return a copy with copied weights."""
        cell = self.cell.to(dtype=dtype, device=device)
        return PeriodicMap(cell, self.inputs.to(dtype=cell.dtype, device=cell.device))


def periodic_map(module: Any, inputs: Tensor | np.ndarray) -> PeriodicMap:
    r"""Return the map of one period of a network under a periodic input.

    Its fixed points are the network's orbits of the input's period, equation (D27). Modes at them
    are those of a whole period: the eigenvalue per step is :math:`\lambda^{1/p}`, and since the
    map's ``dt`` is p, time constants and frequencies are already in steps of the network.
    A frequency is known up to multiples of 1/p.

    Parameters
    ----------
    module : Cell or what `as_cell` takes
        The network.
    inputs : array, shape (p, D)
        The input at each step of a period; p >= 1. A constant ``x_star`` given to `find_points` is
        added to it, zero by default.

    Returns
    -------
    PeriodicMap
        A cell, for `find_points`, `decompose`, `continue_points` and the others.

    Raises
    ------
    ValueError
        Another width than the cell's, no step, or NaN.

    References
    ----------
    Guckenheimer and Holmes 1983, doi:10.1007/978-1-4612-1140-2, section 1.5 (Poincare maps).

    Examples
    --------
    A leaky unit, driven by +1 and -1 in turn: h = (h' - 1)/2, h' = (h + 1)/2, so h = -1/3.

    >>> import torch
    >>> from tractable.dynamics import as_cell, find_points
    >>> cell = as_cell(lambda h, x: (h + x) / 2, n_state=1, n_input=1)
    >>> periodic = periodic_map(cell, torch.tensor([[1.0], [-1.0]]))
    >>> points = find_points(periodic, torch.zeros(1, 1))
    >>> points.state.tolist(), periodic.orbit(points.state).flatten().tolist()
    ([[-0.333333]], [0.333333, -0.333333])
    >>> points.modes().tau.item()  # 1 / ln 2
    1.442695
    """
    from tractable.dynamics.cells import as_cell

    cell = as_cell(module)
    period = torch.as_tensor(inputs).detach().to(dtype=cell.dtype, device=cell.device)
    check_shape("inputs", period.shape, ("p", cell.n_input))
    if len(period) == 0:
        raise ValueError(f"inputs must hold at least one step, got shape {tuple(period.shape)}")
    check_finite("inputs", period)
    return PeriodicMap(cell, period.clone())
