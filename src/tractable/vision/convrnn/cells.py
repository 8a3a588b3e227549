"""Recurrent cells on feature maps: eight of them, and any of one's own.

Symbols: x input, h and c states, * a two-dimensional convolution with bias that keeps height and
width, s the logistic function. Biases of forget gates are added before s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_choice, check_range, nearest_names
from tractable.vision.convrnn.spec import SpecError

__all__ = [
    "Cell",
    "ConvGRU",
    "ConvIntersectionRNN",
    "ConvLSTM",
    "ConvUGRNN",
    "Feedforward",
    "ReciprocalGated",
    "TimeDecay",
    "VanillaRNN",
    "cell_names",
    "make_cell",
    "register",
]

State = tuple[Tensor, ...]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "elu": functional.elu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Cell(nn.Module):
    """What a node remembers: the base of all cells.

    A cell of one's own defines `step`; its constructor takes ``channels_in``, ``channels`` and
    options by name. The maps of input, states and output have one height and width.

    Parameters
    ----------
    channels_in : int
        Channels of x.
    channels : int
        Channels of the output.
    """

    n_states = 1
    entries: tuple[str, ...] = ("input",)
    """Where feedback may enter."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        check_range("channels_in", channels_in, 1)
        check_range("channels", channels, 1)
        self.channels_in, self.channels = channels_in, channels

    def state_channels(self) -> tuple[int, ...]:
        """Return the channels of each state."""
        return (self.channels,) * self.n_states

    def init_state(self, x: Tensor) -> State:
        """Return states of zeros for inputs like x, (B, C, H, W)."""
        return tuple(x.new_zeros(len(x), c, *x.shape[2:]) for c in self.state_channels())

    def forward(
        self,
        x: Tensor,
        state: State,
        fb: dict[str, Tensor] | None = None,
        res: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return output and new states.

        Parameters
        ----------
        x : Tensor
            (B, channels_in, H, W).
        state : tuple of Tensor
            From `init_state` or the step before.
        fb : dict, optional
            Feedback by where it enters: ``input`` (added to x), and for the reciprocal-gated cell
            ``cell`` and ``out``.
        res : Tensor, optional
            The node's input before its convolution, for cells with residuals.
        """
        if fb and "input" in fb:
            x = x + fb["input"]
        return self.step(x, state, fb or {}, res)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return output and new states; input feedback is in x already."""
        raise NotImplementedError(f"{type(self).__name__} must define step(x, state, fb, res)")


class Feedforward(Cell):
    """out = x: no memory."""

    n_states = 0

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(channels_in, channels)
        _same_channels(type(self).__name__, channels_in, channels)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return x."""
        return x, ()


class TimeDecay(Cell):
    r"""A leak: :math:`h' = d\,h + x` (C2), one trained d for the layer, from 0.

    Parameters
    ----------
    channels_in, channels : int
        Equal.
    decay : float
        Initial d.
    """

    def __init__(self, channels_in: int, channels: int, *, decay: float = 0.0) -> None:
        super().__init__(channels_in, channels)
        _same_channels(type(self).__name__, channels_in, channels)
        self.decay = nn.Parameter(torch.tensor(float(decay)))

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the leaky sum."""
        h = self.decay * state[0] + x
        return h, (h,)


class VanillaRNN(Cell):
    r""":math:`h' = \mathrm{ELU}(\mathrm{LN}(W_i * x + W_s * h))` (C3); 2(kC^2 + C) parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel : int
        Size of the filters.
    norm : bool
        Normalize over channels and positions, with gain and bias for each channel.
    """

    def __init__(
        self, channels_in: int, channels: int, *, kernel: int = 3, norm: bool = True
    ) -> None:
        super().__init__(channels_in, channels)
        self.input = conv(channels_in, channels, kernel)
        self.recurrent = conv(channels, channels, kernel)
        self.norm = nn.GroupNorm(1, channels) if norm else None

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        drive = self.input(x) + self.recurrent(state[0])
        h = functional.elu(drive if self.norm is None else self.norm(drive))
        return h, (h,)


class _Gated(Cell):
    """Cells with forget bias and one convolution of [x, h]."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, forget_bias: float, norm: bool, n: int
    ) -> None:
        super().__init__(channels_in, channels)
        self.forget_bias = float(forget_bias)
        self.gates = conv(channels_in + channels, n * channels, kernel)
        self.norm = nn.GroupNorm(n, n * channels) if norm else None

    def _gates(self, x: Tensor, h: Tensor, n: int) -> tuple[Tensor, ...]:
        drive = self.gates(torch.cat([x, h], dim=1))
        return (drive if self.norm is None else self.norm(drive)).chunk(n, dim=1)


class ConvGRU(_Gated):
    r"""Gated recurrent unit (C4): [r, u] = s(W_g * [x, h] + b_f), c = tanh(W_c * [x, r h]).

    .. math:: h' = u\,h + (1 - u)\,c

    6kC^2 + 3C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel : int
        Size of the filters.
    forget_bias : float
        b_f.
    gate_bias : float
        Initial bias of the gates' convolution; the released models start at 1.
    norm : bool
        Normalize gates and candidate.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        gate_bias: float = 0.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 2)
        self.candidate = conv(channels_in + channels, channels, kernel)
        self.candidate_norm = nn.GroupNorm(1, channels) if norm else None
        if gate_bias:
            assert self.gates.bias is not None
            nn.init.constant_(self.gates.bias, gate_bias)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        h = state[0]
        r, u = (torch.sigmoid(g + self.forget_bias) for g in self._gates(x, h, 2))
        drive = self.candidate(torch.cat([x, r * h], dim=1))
        c = torch.tanh(drive if self.candidate_norm is None else self.candidate_norm(drive))
        h = u * h + (1 - u) * c
        return h, (h,)


class ConvLSTM(_Gated):
    r"""Long short-term memory (C5): [i, j, f, o] = W * [x, h].

    .. math:: c' = c\,s(f + b_f) + s(i) \tanh(j), \qquad h' = \tanh(c')\,s(o)

    8kC^2 + 4C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the states.
    kernel : int
        Size of the filters.
    forget_bias : float
        b_f.
    norm : bool
        Normalize i, j, f, o and the new c.
    peephole : (int, int), optional
        Height and width of the map: weights of each position from c to the gates; the output gate
        sees the old c.
    """

    n_states = 2

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
        peephole: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 4)
        self.cell_norm = nn.GroupNorm(1, channels) if norm else None
        self.peephole = None
        if peephole is not None:
            self.peephole = nn.Parameter(torch.zeros(3, channels, *peephole))

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new h as output."""
        h, c = state
        i, j, f, o = self._gates(x, h, 4)
        if self.peephole is not None:
            if self.peephole.shape[2:] != c.shape[2:]:
                raise ValueError(
                    f"peephole is for maps of {tuple(self.peephole.shape[2:])}, got "
                    f"{tuple(c.shape[2:])}"
                )
            i, f, o = (g + w * c for g, w in zip((i, f, o), self.peephole, strict=True))
        c = c * torch.sigmoid(f + self.forget_bias) + torch.sigmoid(i) * torch.tanh(j)
        c = c if self.cell_norm is None else self.cell_norm(c)
        h = torch.tanh(c) * torch.sigmoid(o)
        return h, (h, c)


class ConvUGRNN(_Gated):
    r"""Update-gate network (C6): [g, c] = W * [x, h], with u = s(g + b_f).

    .. math:: h' = u\,h + (1 - u) \tanh(c)

    4kC^2 + 2C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Channels of x and of the state.
    kernel, forget_bias, norm
        As in `ConvGRU`.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 2)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return the new state as output."""
        g, c = self._gates(x, state[0], 2)
        u = torch.sigmoid(g + self.forget_bias)
        h = u * state[0] + (1 - u) * torch.tanh(c)
        return h, (h,)


class ConvIntersectionRNN(_Gated):
    r"""Intersection network (C7): the state passes in time, the output in depth.

    .. math:: h' = u\,h + (1 - u) \tanh(\tilde h), \qquad
        \mathrm{out} = v\,x + (1 - v)\,\mathrm{relu}(\tilde y)

    with [g_h, h~, g_y, y~] = W * [x, h], u = s(g_h + b_f), v = s(g_y + b_f). Input and output have
    the same channels. 8kC^2 + 4C parameters.

    Parameters
    ----------
    channels_in, channels : int
        Equal.
    kernel, forget_bias, norm
        As in `ConvGRU`.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        kernel: int = 3,
        forget_bias: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__(channels_in, channels, kernel, forget_bias, norm, 4)
        _same_channels(type(self).__name__, channels_in, channels)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return what passes in depth, and the state."""
        gh, hh, gy, yy = self._gates(x, state[0], 4)
        u, v = torch.sigmoid(gh + self.forget_bias), torch.sigmoid(gy + self.forget_bias)
        h = u * state[0] + (1 - u) * torch.tanh(hh)
        return v * x + (1 - v) * functional.relu(yy), (h,)


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
    branch_norm : bool
        Normalize the branches of memories and gates, gain from 0.1.
    state_norm : bool
        Normalize the new states.
    activation : str
        f.
    recurrent_dropout : float
        Share of the states' channels that are dropped, in training, the same at each step of a
        movie, in [0, 1).

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
        branch_norm: bool = False,
        state_norm: bool = False,
        activation: str = "elu",
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(channels_in, channels)
        check_choice("activation", activation, ACTIVATIONS)
        for name, value in (
            ("tau_nonlinearity", tau_nonlinearity), ("gate_nonlinearity", gate_nonlinearity)
        ):  # fmt: skip
            check_choice(name, value, ("sigmoid", "tanh"))
        check_range("recurrent_dropout", recurrent_dropout, 0, 1, open_high=True)
        check_range("gate_kernel", gate_kernel, 0)
        self.has_cell = gate_kernel > 0
        cc = (channels if cell_channels is None else cell_channels) if self.has_cell else 0
        self.cell_channels = cc
        if not self.has_cell and (input_to_cell is False and cell_to_out):
            raise ValueError("cell_to_out needs a cell: gate_kernel above 0")
        if not input_to_cell and self.has_cell and channels_in != cc:
            raise ValueError(
                f"without input_to_cell x enters as it is: channels_in {channels_in} must equal "
                f"cell_channels {cc}"
            )
        if not input_to_out and channels_in != channels:
            raise ValueError(
                f"without input_to_out x enters as it is: channels_in {channels_in} must equal "
                f"channels {channels}"
            )
        self.tau = (tau_offset, -tau_offset if tau_multiplier is None else tau_multiplier, tau_bias)
        self.gate = (
            gate_offset, -gate_offset if gate_multiplier is None else gate_multiplier, gate_bias
        )  # fmt: skip
        self.tau_fn, self.gate_fn = ACTIVATIONS[tau_nonlinearity], ACTIVATIONS[gate_nonlinearity]
        self.activation = ACTIVATIONS[activation]
        self.cell_to_out, self.dropout = cell_to_out, recurrent_dropout

        def branch(a: int, b: int, k: int) -> nn.Module:
            return _branch(a, b, k, separable, branch_norm)

        # Memory and gate that read the same state share one convolution where they can.
        gated_out = self.has_cell and not cell_to_out
        self.fused = tau_kernel == gate_kernel and not separable and not branch_norm
        if self.fused:
            self.from_h = conv(channels, channels + cc, tau_kernel)
            self.from_c = conv(cc, cc + (channels if gated_out else 0), tau_kernel) if cc else None
        else:
            self.hh = branch(channels, channels, tau_kernel)
            self.cc = branch(cc, cc, tau_kernel) if cc else None
            self.hc = branch(channels, cc, gate_kernel) if cc else None
            self.ch = branch(cc, channels, gate_kernel) if gated_out else None
        self.c_to_h = conv(cc, channels, 1) if cell_to_out and cc and cc != channels else None
        self.input_cell = conv(channels_in, cc, kernel) if input_to_cell and cc else None
        self.input_out = conv(channels_in, channels, kernel) if input_to_out else None
        rows = {
            "cell_tau": cc, "cell_gate": cc, "out_tau": channels, "out_gate": channels,
        }  # fmt: skip
        self.seen_input, self.seen_residual = nn.ModuleDict(), nn.ModuleDict()
        rc = channels_in if residual_channels is None else residual_channels
        asked = {
            "cell_tau": residual_to_cell_tau, "cell_gate": residual_to_cell_gate,
            "out_tau": residual_to_out_tau, "out_gate": residual_to_out_gate,
        }  # fmt: skip
        for name, width in rows.items():
            kind = name.split("_")[1]
            used = width and not (name == "out_gate" and not gated_out)
            if used and (input_to_tau if kind == "tau" else input_to_gate):
                self.seen_input[name] = conv(channels_in, width, 1)
            if used and asked[name]:
                self.seen_residual[name] = conv(rc, width, 1)
        self.residual_cell = _project(rc, cc) if cell_residual and cc else None
        self.residual_out = _project(rc, channels) if out_residual else None
        self.norms = nn.ModuleList()
        if state_norm:
            self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in (channels, cc) if n)
        self.wants_residual = bool(cell_residual or out_residual or any(asked.values()))

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
        zero = x.new_zeros(())
        xh = x if self.input_out is None else self.input_out(x)
        if self.residual_out is not None:
            assert res is not None
            xh = xh + _resized(self.residual_out(res), xh)
        xh = xh + fb.get("out", zero)
        keep_h = self._factor(self.tau, self.tau_fn, raw["out_tau"] + extra.get("out_tau", zero))
        if c is None:
            h = self.activation(keep_h * h + xh)
            h = self.norms[0](h) if self.norms else h
            return h, (h,)
        xc = x if self.input_cell is None else self.input_cell(x)
        if self.residual_cell is not None:
            assert res is not None
            xc = xc + _resized(self.residual_cell(res), xc)
        xc = xc + fb.get("cell", zero)
        keep_c = self._factor(self.tau, self.tau_fn, raw["cell_tau"] + extra.get("cell_tau", zero))
        open_c = self._factor(
            self.gate, self.gate_fn, raw["cell_gate"] + extra.get("cell_gate", zero)
        )
        if self.cell_to_out:
            entering = xh + (c if self.c_to_h is None else self.c_to_h(c))
        else:
            drive = raw["out_gate"] + extra.get("out_gate", zero)
            entering = self._factor(self.gate, self.gate_fn, drive) * xh
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
            seen = _resized(layer(res), x)
            out[name] = out[name] + seen if name in out else seen
        return out

    @staticmethod
    def _factor(
        numbers: tuple[float, float, float], fn: Callable[[Tensor], Tensor], drive: Tensor
    ) -> Tensor:
        offset, multiplier, bias = numbers
        return offset + multiplier * fn(drive + bias)


# --- helpers ---------------------------------------------------------------------------------


def conv(channels_in: int, channels: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width, odd or even kernel."""
    return nn.Conv2d(channels_in, channels, kernel, padding="same")


def _branch(a: int, b: int, kernel: int, separable: bool, norm: bool) -> nn.Module:
    layers: list[nn.Module]
    if separable:
        depthwise = nn.Conv2d(a, a, kernel, padding="same", groups=a)
        layers = [depthwise, nn.ELU(), nn.Conv2d(a, b, 1)]
    else:
        layers = [conv(a, b, kernel)]
    if norm:
        gain = nn.GroupNorm(1, b)
        nn.init.constant_(gain.weight, 0.1)
        layers.append(gain)
    return nn.Sequential(*layers)


def _project(a: int, b: int) -> nn.Module:
    return nn.Identity() if a == b else conv(a, b, 1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def _same_channels(name: str, channels_in: int, channels: int) -> None:
    if channels_in != channels:
        raise ValueError(
            f"{name} needs equal channels of input and output, got {channels_in} and {channels}"
        )


CELLS: dict[str, type[Cell]] = {
    "feedforward": Feedforward,
    "timedecay": TimeDecay,
    "vanilla": VanillaRNN,
    "gru": ConvGRU,
    "lstm": ConvLSTM,
    "ugrnn": ConvUGRNN,
    "intersection": ConvIntersectionRNN,
    "rgc": ReciprocalGated,
}


def cell_names() -> tuple[str, ...]:
    """Return the names of all cells, registered ones included."""
    return tuple(CELLS)


def register(name: str, cell: type[Cell]) -> type[Cell]:
    """Make a cell of one's own known by a name; returns the class.

    Parameters
    ----------
    name : str
        A new name.
    cell : type
        A subclass of `Cell`, or any module class with ``init_state(x) -> state`` and
        ``forward(x, state, fb=None, res=None) -> (out, state)``, made with channels_in, channels.

    Raises
    ------
    ValueError
        The name is taken.
    TypeError
        The class lacks one of the two.

    Examples
    --------
    >>> class Half(Cell):
    ...     def step(self, x, state, fb, res):
    ...         h = (state[0] + x) / 2
    ...         return h, (h,)
    >>> cell = register("half", Half)(4, 4)
    >>> x = torch.ones(1, 4, 2, 2)
    >>> cell(x, cell.init_state(x))[0].mean()
    tensor(0.5000)
    """
    if name in CELLS and CELLS[name] is not cell:
        raise ValueError(f"name {name!r} is taken by {CELLS[name].__name__}")
    for method in ("init_state", "forward"):
        if not callable(getattr(cell, method, None)):
            raise TypeError(f"cell must define {method}, {cell.__name__} does not")
    CELLS[name] = cell
    return cell


def make_cell(name: str, channels_in: int, channels: int, **options: Any) -> Cell:
    """Return a new cell by name.

    Raises
    ------
    SpecError
        An unknown name or option.
    """
    if name not in CELLS:
        near = nearest_names(name, CELLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SpecError(f"there is no cell {name!r}{hint} ({', '.join(CELLS)})")
    try:
        return CELLS[name](channels_in, channels, **options)
    except TypeError as error:
        raise SpecError(f"cell {name!r}: {error}") from error
