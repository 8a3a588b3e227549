"""The LSTM in closed form, on its full state; with projection."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from tractable.core.checks import check_shape
from tractable.dynamics.cells.assembly import (
    check_step,
    copy_to,
    input_drive,
    join,
    own_weights,
    scaled_rows,
    split,
)

__all__ = ["LSTMMap"]


@dataclass(frozen=True, eq=False)
class LSTMMap:
    r"""The LSTM on its full state ``concat(h, c)``.

    .. math::
        c^+ = f \odot c + i \odot g, \qquad h^+ = o \odot t, \quad t = \tanh(c^+)

    with i, f, o logistic and g tanh of :math:`W h + U x + b`. With :math:`k = o (1 - t^2)`,

    .. math::
        \partial c^+/\partial h = \mathrm{diag}(g\, i') W_i + \mathrm{diag}(c f') W_f
            + \mathrm{diag}(i (1 - g^2)) W_g, \quad
        \partial c^+/\partial c = \mathrm{diag}(f), \\
        \partial h^+/\partial h = \mathrm{diag}(t\, o') W_o
            + \mathrm{diag}(k)\, \partial c^+/\partial h, \quad
        \partial h^+/\partial c = \mathrm{diag}(k f).

    h alone is not Markov: analyzing it alone is wrong. With a projection
    :math:`h^+ = W_{hr} (o \odot t)` the state is ``concat(projection, c)``.

    Parameters
    ----------
    weight_ih : Tensor (4H, D)
        U, rows of i, f, g, o.
    weight_hh : Tensor (4H, P)
        W, rows of i, f, g, o; P = H without projection.
    bias : Tensor (4H,)
        b; for a torch module the sum of its two biases.
    weight_hr : Tensor (P, H), optional
        Projection, as torch's ``proj_size``.

    References
    ----------
    Hochreiter, Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735.
    Sak, Senior, Beaufays 2014, arXiv 1402.1128, section 2 (projection).

    Examples
    --------
    >>> zero = torch.zeros(4, 1, dtype=torch.float64)
    >>> cell = LSTMMap(zero, zero, torch.tensor([0.0, 1.0, 0.0, 0.0]).double())
    >>> state = torch.zeros(1, 2, dtype=torch.float64)
    >>> cell.recurrent_jacobian(state, zero[:1])   # k f = s(0) s(1), f = s(1)
    tensor([[[0.0000, 0.3655],
             [0.0000, 0.7311]]], dtype=torch.float64)
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    weight_hr: Tensor | None = None

    def __post_init__(self) -> None:
        n_hidden = self.bias.shape[0] // 4
        check_shape("bias", self.bias.shape, (4 * n_hidden,))
        if not n_hidden:
            raise ValueError("bias must hold 4 values for each of H >= 1 units, got none")
        check_shape("weight_ih", self.weight_ih.shape, (4 * n_hidden, "D"))
        n_out = n_hidden
        if self.weight_hr is not None:
            check_shape("weight_hr", self.weight_hr.shape, ("P", n_hidden))
            n_out = self.weight_hr.shape[0]
        check_shape("weight_hh", self.weight_hh.shape, (4 * n_hidden, n_out))
        own_weights(self)

    @property
    def n_hidden(self) -> int:
        """Number H of units."""
        return self.bias.shape[0] // 4

    @property
    def n_output(self) -> int:
        """Width of h: H, or P with a projection."""
        return self.weight_hh.shape[1]

    @property
    def n_state(self) -> int:
        """Dimension N of the full state: 2H, or P + H."""
        return self.n_output + self.n_hidden

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
        """The h part within +-1 (or the row sums of the projection); c unbounded."""
        c = torch.full_like(self.bias[: self.n_hidden], math.inf)
        h = torch.ones_like(c) if self.weight_hr is None else self.weight_hr.abs().sum(dim=1)
        high = torch.cat([h, c])
        return -high, high

    @property
    def readout_slice(self) -> slice:
        """The h part."""
        return slice(0, self.n_output)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weight_hh.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.weight_hh.device

    def _gates(self, state: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Return c, i, f, g, o and c+."""
        check_step(state, x, self.n_state, self.n_input)
        h, c = state.split([self.n_output, self.n_hidden], dim=-1)
        a = linear(h, self.weight_hh, self.bias) + input_drive(x, self.weight_ih)
        i, f, g, o = a.chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        return c, i, f, g, o, f * c + i * g

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        *_, o, c_next = self._gates(state, x)
        h_next = o * torch.tanh(c_next)
        if self.weight_hr is not None:
            h_next = linear(h_next, self.weight_hr)
        return torch.cat([h_next, c_next], dim=-1)

    def _assemble(self, state: Tensor, x: Tensor, with_input: bool) -> tuple[Tensor, Tensor | None]:
        c, i, f, g, o, c_next = self._gates(state, x)
        t = torch.tanh(c_next)
        k = o * (1 - t * t)
        cell = (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g))  # scales of W_i, W_f, W_g
        out = t * o * (1 - o)  # scale of W_o
        J = state.new_zeros(len(state), self.n_state, self.n_state)
        own = J[:, :, self.n_output :]
        self._fill(J[:, :, : self.n_output], cell, out, k, self.weight_hh)
        own[:, self.n_output :].diagonal(dim1=-2, dim2=-1).copy_(f)
        if self.weight_hr is None:
            own[:, : self.n_output].diagonal(dim1=-2, dim2=-1).copy_(k * f)
        else:
            torch.mul(self.weight_hr, (k * f)[:, None, :], out=own[:, : self.n_output])
        if not with_input:
            return J, None
        J_inp = state.new_empty(len(state), self.n_state, self.n_input)
        self._fill(J_inp, cell, out, k, self.weight_ih)
        return J, J_inp

    def _fill(
        self, J: Tensor, cell: tuple[Tensor, ...], out: Tensor, k: Tensor, weight: Tensor
    ) -> None:
        """Write d(h+, c+)/d(what ``weight`` multiplies) into J (B, N, M)."""
        W_i, W_f, W_g, W_o = weight.chunk(4)
        c_rows = J[:, self.n_output :]
        scaled_rows(list(zip(cell, (W_i, W_f, W_g), strict=True)), out=c_rows)
        if self.weight_hr is None:
            h_rows = scaled_rows([(out, W_o)], out=J[:, : self.n_output])
            h_rows.addcmul_(k[..., None], c_rows)
        else:
            h_rows = scaled_rows([(out, W_o)]).addcmul_(k[..., None], c_rows)
            J[:, : self.n_output] = self.weight_hr @ h_rows

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/d(h, c)`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        J, J_inp = self._assemble(state, x, with_input=True)
        assert J_inp is not None
        return J, J_inp

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/d(h, c)`` (B, N, N)."""
        return self._assemble(state, x, with_input=False)[0]

    def pack(self, *parts: Tensor) -> Tensor:
        """Join h (B, H) and c (B, H) into the full state (B, 2H)."""
        return join(parts, [self.n_output, self.n_hidden])

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Split the full state into h and c."""
        return split(state, [self.n_output, self.n_hidden])

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> LSTMMap:
        """Return a copy with copied weights."""
        return copy_to(self, dtype, device)
