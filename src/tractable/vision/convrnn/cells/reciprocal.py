"""The reciprocal-gated cell: output and memory gate what enters the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_choice, check_range
from tractable.vision.convrnn.cells.base import (
    ACTIVATIONS,
    Cell,
    SameConv2d,
    State,
    make_norm,
    resized,
)

__all__ = ["ReciprocalGated"]


class ReciprocalGated(Cell):
    r"""The reciprocal-gated cell (C8): output and memory gate what enters the other.

    .. math::
        c' = f\big(\tau(W_{cc} * c)\,c + \gamma(W_{hc} * h)\,x_c\big), \qquad
        h' = f\big(\tau(W_{hh} * h)\,h + \gamma(W_{ch} * c)\,x_h\big)

    with :math:`\tau(a) = o_t + k_t N_t(a + b_t)` and :math:`\gamma(a) = o_g + k_g N_g(a + b_g)`,
    f = ELU and :math:`k = -o`; out = h'. Both read the old states. From states of zero the
    input reaches the output within the step through no recurrent weight: the bypass.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of h.
    cell_channels : int, optional
        Channels of c; default those of h.
    kernel : int
        Size of the filters of the input's branches.
    tau_kernel, gate_kernel : int
        Size of W_cc and W_hh, and of W_hc and W_ch; gate_kernel 0: no c at all.
    tau_nonlinearity, gate_nonlinearity : str
        N_t, N_g: ``sigmoid`` or ``tanh``.
    tau_offset, gate_offset : float
        o_t, o_g.
    tau_multiplier, gate_multiplier : float, optional
        k_t, k_g; default minus the offset.
    tau_bias, gate_bias : float
        b_t, b_g, added before N. A factor of 1 - s(b_t) is kept at each step: -2 keeps 0.88.
    input_to_cell : bool
        x enters c through a convolution; else as it is.
    input_to_out : bool
        x enters h through a convolution; else as it is.
    input_to_tau, input_to_gate : bool
        x is seen by the memories, by the gates.
    cell_to_out : bool
        c enters h additively instead of by its gate.
    cell_residual, out_residual : bool
        The node's raw input is added to x_c, to x_h, through 1 x 1 filters where channels differ.
    residual_to_cell_tau, residual_to_cell_gate, residual_to_out_tau, residual_to_out_gate : bool
        It is seen by that memory or gate.
    separable : bool
        Depthwise filters, then ELU, then 1 x 1, in the memories and gates.
    branch_norm : bool or str
        Normalize the branches of memories and gates, gain from 0.1: over channels and positions
        (True, ``group``), or over the batch, with statistics of all steps (``batch``) or of each
        step (``batch_t``).
    state_norm : bool
        Normalize the new states.
    activation : str
        f.
    recurrent_dropout : float
        Share of the states' channels that memories and gates do not see, in training, drawn for
        each sample and step, in [0, 1). `anneal` lets it rise.

    Notes
    -----
    5(kC^2 + C) parameters with ``input_to_cell`` and equal kernels. In one of the two original
    classes the biases are stored and not used; here they are added.
    """

    n_states = 2
    entries = ("input", "cell", "out")

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        cell_channels: int | None = None,
        kernel: int = 3,
        tau_kernel: int = 3,
        gate_kernel: int = 3,
        tau_nonlinearity: Literal["sigmoid", "tanh"] = "sigmoid",
        gate_nonlinearity: Literal["sigmoid", "tanh"] = "sigmoid",
        tau_offset: float = 1.0,
        gate_offset: float = 1.0,
        tau_multiplier: float | None = None,
        gate_multiplier: float | None = None,
        tau_bias: float = 0.0,
        gate_bias: float = 0.0,
        input_to_cell: bool = True,
        input_to_out: bool = False,
        input_to_tau: bool = False,
        input_to_gate: bool = False,
        cell_to_out: bool = False,
        cell_residual: bool = False,
        out_residual: bool = False,
        residual_to_cell_tau: bool = False,
        residual_to_cell_gate: bool = False,
        residual_to_out_tau: bool = False,
        residual_to_out_gate: bool = False,
        residual_channels: int | None = None,
        separable: bool = False,
        branch_norm: bool | Literal["group", "batch", "batch_t"] = False,
        state_norm: bool = False,
        activation: str = "elu",
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(channels_in, channels)
        kinds = ("sigmoid", "tanh")
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("tau_nonlinearity", tau_nonlinearity, kinds)
        check_choice("gate_nonlinearity", gate_nonlinearity, kinds)
        check_choice("branch_norm", branch_norm, (False, True, "group", "batch", "batch_t"))
        check_range("recurrent_dropout", recurrent_dropout, 0, 1, open_high=True)
        check_range("gate_kernel", gate_kernel, 0)
        self.has_cell = gate_kernel > 0
        cc = (channels if cell_channels is None else cell_channels) if self.has_cell else 0
        self.cell_channels = cc
        if cell_to_out and not self.has_cell:
            raise ValueError("cell_to_out needs a cell: gate_kernel above 0, got 0")
        for flag, used, into, wide in (
            ("input_to_cell", input_to_cell or not cc, "cell_channels", cc),
            ("input_to_out", input_to_out, "channels", channels),
        ):
            if not used and channels_in != wide:
                raise ValueError(
                    f"without {flag} x enters as it is: channels_in {channels_in} must equal "
                    f"{into} {wide}"
                )
        self.tau = (tau_offset, -tau_offset if tau_multiplier is None else tau_multiplier, tau_bias)
        gate_multiplier = -gate_offset if gate_multiplier is None else gate_multiplier
        self.gate = (gate_offset, gate_multiplier, gate_bias)
        self.tau_fn, self.gate_fn = ACTIVATIONS[tau_nonlinearity], ACTIVATIONS[gate_nonlinearity]
        self.activation = ACTIVATIONS[activation]
        self.cell_to_out = cell_to_out
        self.dropout = self.full_dropout = recurrent_dropout
        self._make_branches(tau_kernel, gate_kernel, separable, branch_norm)
        rc = channels_in if residual_channels is None else residual_channels
        seen = {
            "cell_tau": (input_to_tau, residual_to_cell_tau, cc),
            "cell_gate": (input_to_gate, residual_to_cell_gate, cc),
            "out_tau": (input_to_tau, residual_to_out_tau, channels),
            "out_gate": (input_to_gate, residual_to_out_gate, 0 if cell_to_out else channels),
        }
        self.seen_input, self.seen_residual = nn.ModuleDict(), nn.ModuleDict()
        for name, (sees_input, sees_residual, wide) in seen.items():
            if not wide or (name == "out_gate" and not cc):
                continue
            if sees_input:
                self.seen_input[name] = SameConv2d(channels_in, wide, 1)
            if sees_residual:
                self.seen_residual[name] = SameConv2d(rc, wide, 1)
        self.c_to_h = SameConv2d(cc, channels, 1) if cell_to_out and cc != channels else None
        self.input_cell = SameConv2d(channels_in, cc, kernel) if input_to_cell and cc else None
        self.input_out = SameConv2d(channels_in, channels, kernel) if input_to_out else None
        self.residual_cell = _project(rc, cc) if cell_residual and cc else None
        self.residual_out = _project(rc, channels) if out_residual else None
        widths = [n for n in (channels, cc) if n and state_norm]
        self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in widths)
        self.wants_residual = bool(
            self.residual_out is not None or self.residual_cell is not None or self.seen_residual
        )

    def _make_branches(
        self, tau_kernel: int, gate_kernel: int, separable: bool, norm: bool | str
    ) -> None:
        """Make the filters of memories and gates; those that read one state share a convolution."""
        channels, cc = self.channels, self.cell_channels
        gated_out = channels if cc and not self.cell_to_out else 0
        self.fused = tau_kernel == gate_kernel and not separable and not norm

        def branch(a: int, b: int, k: int) -> nn.Module | None:
            return _branch(a, b, k, separable, norm) if a and b else None

        if not cc:
            self.fused = not separable and not norm
        if self.fused:
            self.from_h = SameConv2d(channels, channels + cc, tau_kernel)
            self.from_c = SameConv2d(cc, cc + gated_out, tau_kernel) if cc else None
        else:
            self.hh = _branch(channels, channels, tau_kernel, separable, norm)
            self.cc, self.hc = branch(cc, cc, tau_kernel), branch(channels, cc, gate_kernel)
            self.ch = branch(cc, gated_out, gate_kernel)

    def anneal(self, share: float) -> None:
        """Use a share of ``recurrent_dropout``, 0 .. 1: called with step / steps while training."""
        check_range("share", share, 0.0, 1.0)
        self.dropout = share * self.full_dropout

    def state_channels(self) -> tuple[int, ...]:
        """Return the channels of h, and of c where there is one."""
        return (self.channels, self.cell_channels) if self.has_cell else (self.channels,)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return h' as output."""
        h = state[0]
        c = state[1] if self.has_cell else None
        if self.wants_residual and res is None:
            raise ValueError("this cell needs the node's raw input (res)")
        raw = self._raw(h, c)
        extra = self._seen(x, res)
        xh = x if self.input_out is None else self.input_out(x)
        if self.residual_out is not None:
            assert res is not None
            xh = xh + resized(self.residual_out(res), xh.shape[2:])
        xh = _plus(xh, fb.get("out"))
        drive = {name: _plus(z, extra.get(name)) for name, z in raw.items()}
        keep_h = _factor(self.tau, self.tau_fn, drive["out_tau"])
        if c is None:
            h = self.activation(keep_h * h + xh)
            h = self.norms[0](h) if self.norms else h
            return h, (h,)
        xc = x if self.input_cell is None else self.input_cell(x)
        if self.residual_cell is not None:
            assert res is not None
            xc = xc + resized(self.residual_cell(res), xc.shape[2:])
        xc = _plus(xc, fb.get("cell"))
        keep_c = _factor(self.tau, self.tau_fn, drive["cell_tau"])
        open_c = _factor(self.gate, self.gate_fn, drive["cell_gate"])
        if self.cell_to_out:
            entering = xh + (c if self.c_to_h is None else self.c_to_h(c))
        else:
            entering = _factor(self.gate, self.gate_fn, drive["out_gate"]) * xh
        new_c = self.activation(keep_c * c + open_c * xc)
        new_h = self.activation(keep_h * h + entering)
        if self.norms:
            new_h, new_c = self.norms[0](new_h), self.norms[1](new_c)
        return new_h, (new_h, new_c)

    def _raw(self, h: Tensor, c: Tensor | None) -> dict[str, Tensor]:
        """Return what memories and gates read from the old states."""
        if self.training and self.dropout:
            h = functional.dropout2d(h, self.dropout)
            c = None if c is None else functional.dropout2d(c, self.dropout)
        cc = self.cell_channels
        if self.fused:
            tau_h, gate_c = self.from_h(h).split([self.channels, cc], dim=1)
            out = {"out_tau": tau_h, "cell_gate": gate_c}
            if c is not None and self.from_c is not None:
                parts = self.from_c(c)
                out["cell_tau"], out["out_gate"] = parts[:, :cc], parts[:, cc:]
            return out
        out = {"out_tau": self.hh(h)}
        if c is not None:
            assert self.cc is not None
            assert self.hc is not None
            out |= {"cell_tau": self.cc(c), "cell_gate": self.hc(h)}
            if self.ch is not None:
                out["out_gate"] = self.ch(c)
        return out

    def _seen(self, x: Tensor, res: Tensor | None) -> dict[str, Tensor]:
        out = {name: layer(x) for name, layer in self.seen_input.items()}
        for name, layer in self.seen_residual.items():
            assert res is not None
            seen = resized(layer(res), x.shape[2:])
            out[name] = out[name] + seen if name in out else seen
        return out


def _factor(
    numbers: tuple[float, float, float], fn: Callable[[Tensor], Tensor], drive: Tensor
) -> Tensor:
    """Return o + k N(drive + b)."""
    offset, multiplier, bias = numbers
    seen = fn(drive + bias if bias else drive)
    return offset - seen if multiplier == -1.0 else offset + multiplier * seen


def _plus(x: Tensor, y: Tensor | None) -> Tensor:
    return x if y is None else x + y


def _branch(a: int, b: int, kernel: int, separable: bool, norm: bool | str) -> nn.Module:
    layers: list[nn.Module]
    if separable:
        layers = [SameConv2d(a, a, kernel, groups=a), nn.ELU(), SameConv2d(a, b, 1)]
    else:
        layers = [SameConv2d(a, b, kernel)]
    if norm:
        layers.append(make_norm("group" if norm is True else norm, b))
        nn.init.constant_(layers[-1].weight, 0.1)  # type: ignore[arg-type]  # a Parameter
    return nn.Sequential(*layers)


def _project(a: int, b: int) -> nn.Module:
    return nn.Identity() if a == b else SameConv2d(a, b, 1)
