"""Gated cells in closed form: the UGRNN and the GRU with both reset orders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from tractable.core.checks import check_finite, check_shape
from tractable.dynamics.cells.assembly import (
    check_step,
    copy_to,
    input_drive,
    join,
    own_weights,
    scaled_rows,
    split,
)

__all__ = ["GRUMap", "UGRNNMap"]


def _unit_box(row: Tensor) -> tuple[Tensor, Tensor]:
    return -torch.ones_like(row), torch.ones_like(row)


@dataclass(frozen=True, eq=False)
class UGRNNMap:
    r"""The update-gate network, :math:`F = u \odot h + (1 - u) \odot c`.

    .. math::
        u = s(W_u h + U_u x + b_u + g), \qquad c = \tanh(W_c h + U_c x + b_c)

        J = \mathrm{diag}(u) + \mathrm{diag}((h - c) u') W_u
            + \mathrm{diag}((1 - u)(1 - c^2)) W_c

    with s the logistic function and g the gate bias.

    Parameters
    ----------
    weight_ih : Tensor (2N, D)
        U, rows of u then of c.
    weight_hh : Tensor (2N, N)
        W, rows of u then of c.
    bias : Tensor (2N,)
        b.
    gate_bias : float
        g; positive: longer memory.

    References
    ----------
    Collins, Sohl-Dickstein, Sussillo 2017, arXiv 1611.09913.
    Maheswaranathan et al. 2019, arXiv 1906.10720.

    Examples
    --------
    >>> zero = torch.zeros(2, 1, dtype=torch.float64)
    >>> cell = UGRNNMap(zero, zero, zero[:, 0], gate_bias=1.0)
    >>> cell.recurrent_jacobian(zero[:1], zero[:1]).item()    # s(1)
    0.7311
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    gate_bias: float = 0.0

    def __post_init__(self) -> None:
        check_finite("gate_bias", self.gate_bias)
        n_state = self.weight_hh.shape[-1]
        check_shape("weight_hh", self.weight_hh.shape, (2 * n_state, n_state))
        check_shape("weight_ih", self.weight_ih.shape, (2 * n_state, "D"))
        check_shape("bias", self.bias.shape, (2 * n_state,))
        own_weights(self)

    @property
    def n_state(self) -> int:
        """Dimension N of the state."""
        return self.weight_hh.shape[1]

    @property
    def n_input(self) -> int:
        """Dimension D of the input."""
        return self.weight_ih.shape[1]

    @property
    def dt(self) -> None:
        """None: time in steps."""
        return None

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The cube [-1, 1]^N."""
        return _unit_box(self.weight_hh[0])

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

    def _gates(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        check_step(state, x, self.n_state, self.n_input)
        a = linear(state, self.weight_hh, self.bias) + input_drive(x, self.weight_ih)
        gate, candidate = a.chunk(2, dim=-1)
        return torch.sigmoid(gate + self.gate_bias), torch.tanh(candidate)

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        u, c = self._gates(state, x)
        return torch.lerp(c, state, u)  # c + u (h - c)

    def _scales(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, c = self._gates(state, x)
        return u, (state - c) * u * (1 - u), (1 - u) * (1 - c * c)

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        diagonal, gate, candidate = self._scales(state, x)
        W_u, W_c = self.weight_hh.chunk(2)
        U_u, U_c = self.weight_ih.chunk(2)
        return (
            scaled_rows([(gate, W_u), (candidate, W_c)], diagonal=diagonal),
            scaled_rows([(gate, U_u), (candidate, U_c)]),
        )

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N)."""
        diagonal, gate, candidate = self._scales(state, x)
        W_u, W_c = self.weight_hh.chunk(2)
        return scaled_rows([(gate, W_u), (candidate, W_c)], diagonal=diagonal)

    def pack(self, *parts: Tensor) -> Tensor:
        """Return the state, which has one part."""
        return join(parts, [self.n_state])

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the state as a tuple of one."""
        return split(state, [self.n_state])

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> UGRNNMap:
        """Return a copy with copied weights."""
        return copy_to(self, dtype, device)


@dataclass(frozen=True, eq=False)
class GRUMap:
    r"""The gated recurrent unit, :math:`F = (1 - z) \odot n + z \odot h`.

    .. math::
        r, z = s(W_{r,z} h + U_{r,z} x + b_{r,z}), \qquad
        n = \tanh(U_n x + b_{in} + r \odot v), \quad v = W_n h + b_{hn}

        J = \mathrm{diag}(z) + \mathrm{diag}((h - n) z') W_z
            + \mathrm{diag}(a\, r) W_n + \mathrm{diag}(a\, v\, r') W_r,
        \quad a = (1 - z)(1 - n^2)

    Torch and cuDNN reset AFTER :math:`W_n`. The original paper resets before it
    (``reset_after=False``): :math:`n = \tanh(U_n x + b_{in} + W_n (r \odot h) + b_{hn})`, whose
    Jacobian needs one matrix product.

    Parameters
    ----------
    weight_ih : Tensor (3N, D)
        U, rows of r, z, n.
    weight_hh : Tensor (3N, N)
        W, rows of r, z, n.
    bias_ih, bias_hh : Tensor (3N,)
        The two biases.
    reset_after : bool
        True: as torch. False: as in the original paper.

    References
    ----------
    Cho et al. 2014, arXiv 1406.1078, section 2.3.

    Examples
    --------
    >>> zero = torch.zeros(3, 1, dtype=torch.float64)
    >>> cell = GRUMap(zero, zero, torch.tensor([0.0, 1.0, 0.0]).double(), zero[:, 0])
    >>> cell.recurrent_jacobian(zero[:1], zero[:1]).item()    # z = s(1)
    0.7311
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor
    reset_after: bool = True

    def __post_init__(self) -> None:
        n_state = self.weight_hh.shape[-1]
        check_shape("weight_hh", self.weight_hh.shape, (3 * n_state, n_state))
        check_shape("weight_ih", self.weight_ih.shape, (3 * n_state, "D"))
        check_shape("bias_ih", self.bias_ih.shape, (3 * n_state,))
        check_shape("bias_hh", self.bias_hh.shape, (3 * n_state,))
        own_weights(self)

    @property
    def n_state(self) -> int:
        """Dimension N of the state."""
        return self.weight_hh.shape[1]

    @property
    def n_input(self) -> int:
        """Dimension D of the input."""
        return self.weight_ih.shape[1]

    @property
    def dt(self) -> None:
        """None: time in steps."""
        return None

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The cube [-1, 1]^N."""
        return _unit_box(self.weight_hh[0])

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

    def _gates(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return r, z, n and v = W_n h + b_hn (reset after; h itself otherwise)."""
        check_step(state, x, self.n_state, self.n_input)
        n_state = self.n_state
        widths = [2 * n_state, n_state]
        in_rz, in_n = input_drive(x, self.weight_ih, self.bias_ih).split(widths, dim=-1)
        if self.reset_after:
            rz, v = linear(state, self.weight_hh, self.bias_hh).split(widths, dim=-1)
            r, z = torch.sigmoid(in_rz + rz).chunk(2, dim=-1)
            return r, z, torch.tanh(torch.addcmul(in_n, r, v)), v
        rz = linear(state, self.weight_hh[: 2 * n_state], self.bias_hh[: 2 * n_state])
        r, z = torch.sigmoid(in_rz + rz).chunk(2, dim=-1)
        W_n, b_n = self.weight_hh[2 * n_state :], self.bias_hh[2 * n_state :]
        return r, z, torch.tanh(in_n + linear(r * state, W_n, b_n)), state

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        _, z, n, _ = self._gates(state, x)
        return torch.lerp(n, state, z)  # n + z (h - n)

    def _assemble(self, state: Tensor, x: Tensor, with_input: bool) -> tuple[Tensor, Tensor | None]:
        r, z, n, v = self._gates(state, x)  # v is h itself when not reset_after
        update = (state - n) * z * (1 - z)
        a = (1 - z) * (1 - n * n)
        reset = v * r * (1 - r)
        W_r, W_z, W_n = self.weight_hh.chunk(3)
        U_r, U_z, U_n = self.weight_ih.chunk(3)
        if self.reset_after:
            J = scaled_rows([(update, W_z), (a * r, W_n), (a * reset, W_r)], diagonal=z)
            if not with_input:
                return J, None
            return J, scaled_rows([(update, U_z), (a, U_n), (a * reset, U_r)])
        through = scaled_rows([(reset, W_r)], diagonal=r)  # d(r h)/dh
        J = scaled_rows([(update, W_z)], diagonal=z).addcmul_(a[..., None], W_n @ through)
        if not with_input:
            return J, None
        J_inp = scaled_rows([(update, U_z), (a, U_n)])
        return J, J_inp.addcmul_(a[..., None], W_n @ scaled_rows([(reset, U_r)]))

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        J, J_inp = self._assemble(state, x, with_input=True)
        assert J_inp is not None
        return J, J_inp

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N)."""
        return self._assemble(state, x, with_input=False)[0]

    def pack(self, *parts: Tensor) -> Tensor:
        """Return the state, which has one part."""
        return join(parts, [self.n_state])

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the state as a tuple of one."""
        return split(state, [self.n_state])

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> GRUMap:
        """Return a copy with copied weights."""
        return copy_to(self, dtype, device)
