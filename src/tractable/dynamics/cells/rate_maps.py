"""Ungated cells in closed form: the vanilla network and the continuous-time rate network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from tractable.core.checks import check_choice, check_finite, check_range, check_shape
from tractable.dynamics.cells.assembly import (
    check_step,
    copy_to,
    input_drive,
    join,
    own_weights,
    scaled_rows,
    split,
)

__all__ = ["NONLINEARITIES", "RateMap", "VanillaMap"]

# name -> (phi, phi' as a function of the argument and of phi, range of phi)
NONLINEARITIES: dict[
    str,
    tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor], tuple[float, float]],
] = {
    "tanh": (torch.tanh, lambda a, phi: 1 - phi * phi, (-1.0, 1.0)),
    "relu": (torch.relu, lambda a, phi: (a > 0).to(a.dtype), (0.0, math.inf)),  # phi'(0) := 0
    "sigmoid": (torch.sigmoid, lambda a, phi: phi * (1 - phi), (0.0, 1.0)),
    "softplus": (softplus, lambda a, phi: torch.sigmoid(a), (0.0, math.inf)),
    "linear": (lambda a: a, lambda a, phi: torch.ones_like(a), (-math.inf, math.inf)),
}


def _box(nonlinearity: str, weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the corners of the range of phi, (N,) each; None when it is all of R."""
    low, high = NONLINEARITIES[nonlinearity][2]
    if math.isinf(low):
        return None
    row = weight[:, 0]
    return torch.full_like(row, low), torch.full_like(row, high)


def _check_layout(weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> None:
    n_state = bias.shape[0] if bias.ndim == 1 else -1
    check_shape("bias", bias.shape, ("N",))
    if not n_state:
        raise ValueError("bias must hold one value for each of N >= 1 units, got none")
    check_shape("weight_hh", weight_hh.shape, (n_state, n_state))
    check_shape("weight_ih", weight_ih.shape, (n_state, "D"))


@dataclass(frozen=True, eq=False)
class VanillaMap:
    r"""The vanilla cell, :math:`F(h, x) = \phi(W h + U x + b)`.

    Jacobians :math:`J = \mathrm{diag}(\phi') W` and :math:`J_{in} = \mathrm{diag}(\phi') U`.

    Parameters
    ----------
    weight_ih : Tensor (N, D)
        U.
    weight_hh : Tensor (N, N)
        W.
    bias : Tensor (N,)
        b; for a torch module the sum of its two biases.
    nonlinearity : {"tanh", "relu", "sigmoid", "softplus", "linear"}
        phi. The derivative of relu at 0 is 0.

    References
    ----------
    Maheswaranathan et al. 2019, arXiv 1906.10720.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> cell = VanillaMap(one, 2 * one, 0 * one[0])
    >>> cell(0.5 * one, 0 * one).item()            # tanh(1)
    0.7616
    >>> cell.recurrent_jacobian(0.5 * one, 0 * one).item()    # 2 (1 - tanh(1)^2)
    0.8399
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    nonlinearity: str = "tanh"

    def __post_init__(self) -> None:
        check_choice("nonlinearity", self.nonlinearity, NONLINEARITIES)
        _check_layout(self.weight_ih, self.weight_hh, self.bias)
        own_weights(self)

    @property
    def n_state(self) -> int:
        """Dimension N of the state."""
        return self.weight_hh.shape[0]

    @property
    def n_input(self) -> int:
        """Dimension D of the input."""
        return self.weight_ih.shape[1]

    @property
    def dt(self) -> None:
        """None: time in steps."""
        return None

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The range of phi."""
        return _box(self.nonlinearity, self.weight_hh)

    @property
    def readout_slice(self) -> slice:
        """All of the state."""
        return slice(0, self.n_state)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weight_hh.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.weight_hh.device

    def _slope(self, state: Tensor, x: Tensor) -> Tensor:
        check_step(state, x, self.n_state, self.n_input)
        phi, derivative, _ = NONLINEARITIES[self.nonlinearity]
        a = linear(state, self.weight_hh, self.bias) + input_drive(x, self.weight_ih)
        return derivative(a, phi(a))

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        check_step(state, x, self.n_state, self.n_input)
        phi = NONLINEARITIES[self.nonlinearity][0]
        return phi(linear(state, self.weight_hh, self.bias) + input_drive(x, self.weight_ih))

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        slope = self._slope(state, x)
        return scaled_rows([(slope, self.weight_hh)]), scaled_rows([(slope, self.weight_ih)])

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N)."""
        return scaled_rows([(self._slope(state, x), self.weight_hh)])

    def pack(self, *parts: Tensor) -> Tensor:
        """Return the state, which has one part."""
        return join(parts, [self.n_state])

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the state as a tuple of one."""
        return split(state, [self.n_state])

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> VanillaMap:
        """Return a copy with copied weights."""
        return copy_to(self, dtype, device)


@dataclass(frozen=True, eq=False)
class RateMap:
    r"""A continuous-time rate network and its Euler map, :math:`F(v, x) = v + dt\, f(v, x)`.

    .. math::
        \tau f(v, x) = -v + W \phi(v) + U x + b \quad \text{("potential")} \\
        \tau f(r, x) = -r + \phi(W r + U x + b) \quad \text{("rate")}

    Roots of F are zeros of f, whatever ``dt``; an eigenvalue of the field is
    :math:`\lambda_c = (\lambda - 1)/dt`, its time constant :math:`-1/\mathrm{Re}\,\lambda_c`.

    Parameters
    ----------
    weight_ih : Tensor (N, D)
        U.
    weight_hh : Tensor (N, N)
        W.
    bias : Tensor (N,)
        b.
    tau : Tensor () or (N,), or float
        Membrane time constant, > 0, one for all or one per unit.
    dt : float, optional
        Euler step, > 0, in the unit of ``tau``. None: the smallest ``tau`` / 10.
    nonlinearity : {"tanh", "relu", "sigmoid", "softplus", "linear"}
        phi.
    form : {"potential", "rate"}
        phi inside or outside of the sum. A readout of the potential form that reads the rates
        is not linear in the state.

    Notes
    -----
    To simulate the flow rather than find its roots, take ``dt`` well below ``tau``.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> cell = RateMap(one, 0.5 * one, 0 * one[0], tau=2.0, dt=0.1, nonlinearity="linear")
    >>> J = cell.recurrent_jacobian(one, 0 * one)
    >>> (J.item() - 1) / cell.dt                   # (-1 + 0.5) / tau
    -0.25
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    tau: Tensor | float = 1.0
    dt: float | None = None
    nonlinearity: str = "tanh"
    form: str = "rate"

    def __post_init__(self) -> None:
        check_choice("nonlinearity", self.nonlinearity, NONLINEARITIES)
        check_choice("form", self.form, ("potential", "rate"))
        _check_layout(self.weight_ih, self.weight_hh, self.bias)
        if not isinstance(self.tau, Tensor):
            check_finite("tau", self.tau)
        tau = torch.as_tensor(self.tau, dtype=self.weight_hh.dtype, device=self.weight_hh.device)
        if tau.ndim:
            check_shape("tau", tau.shape, (self.n_state,))
        check_range("tau", float(tau.min()), 0.0, open_low=True)
        object.__setattr__(self, "tau", tau)
        if self.dt is None:
            object.__setattr__(self, "dt", float(tau.min()) / 10)
        assert self.dt is not None
        check_range("dt", self.dt, 0.0, open_low=True)
        own_weights(self)

    @property
    def n_state(self) -> int:
        """Dimension N of the state."""
        return self.weight_hh.shape[0]

    @property
    def n_input(self) -> int:
        """Dimension D of the input."""
        return self.weight_ih.shape[1]

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The range of phi for form "rate" while dt <= tau; else None."""
        if self.form == "potential" or bool((self._step > 1).any()):
            return None
        return _box(self.nonlinearity, self.weight_hh)

    @property
    def readout_slice(self) -> slice:
        """All of the state."""
        return slice(0, self.n_state)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weight_hh.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.weight_hh.device

    @property
    def _step(self) -> Tensor:
        assert self.dt is not None  # set in __post_init__
        return torch.as_tensor(self.dt / self.tau)

    def _target(self, state: Tensor, x: Tensor) -> Tensor:
        check_step(state, x, self.n_state, self.n_input)
        phi = NONLINEARITIES[self.nonlinearity][0]
        if self.form == "potential":
            return linear(phi(state), self.weight_hh, self.bias) + input_drive(x, self.weight_ih)
        return phi(linear(state, self.weight_hh, self.bias) + input_drive(x, self.weight_ih))

    def field(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the vector field f = dv/dt (B, N)."""
        return (self._target(state, x) - state) / self.tau

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N) of the Euler map."""
        return state + self._step * (self._target(state, x) - state)

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dv`` (B, N, N) and ``dF/dx`` (B, N, D) of the Euler map."""
        if self.form == "potential":
            gain = self._step.expand(state.shape)
        else:
            gain = self._step * self._slope(state, x)
        return self.recurrent_jacobian(state, x), scaled_rows([(gain, self.weight_ih)])

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dv`` (B, N, N) of the Euler map."""
        slope, leak = self._slope(state, x), 1 - self._step
        if self.form == "rate":
            return scaled_rows(
                [(self._step * slope, self.weight_hh)], diagonal=leak.expand(state.shape)
            )
        scaled = self._step.expand(self.n_state)[:, None] * self.weight_hh
        result = slope[:, None, :] * scaled
        result.diagonal(dim1=-2, dim2=-1).add_(leak)
        return result

    def _slope(self, state: Tensor, x: Tensor) -> Tensor:
        check_step(state, x, self.n_state, self.n_input)
        phi, derivative, _ = NONLINEARITIES[self.nonlinearity]
        a = state
        if self.form == "rate":
            a = linear(state, self.weight_hh, self.bias) + input_drive(x, self.weight_ih)
        return derivative(a, phi(a))

    def pack(self, *parts: Tensor) -> Tensor:
        """Return the state, which has one part."""
        return join(parts, [self.n_state])

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the state as a tuple of one."""
        return split(state, [self.n_state])

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> RateMap:
        """Return a copy with copied weights."""
        return copy_to(self, dtype, device)
