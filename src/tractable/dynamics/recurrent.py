"""Trainable networks to analyze: UGRNN, rate network, and a classifier of token sequences."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tractable.core.checks import check_choice, check_count, check_range, check_shape
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.cells.gated_maps import UGRNNMap
from tractable.dynamics.cells.rate_maps import NONLINEARITIES, RateMap

__all__ = ["UGRNN", "RateNetwork", "Readout", "SequenceClassifier", "UGRNNCell"]


def _uniform(*shape: int, n_hidden: int) -> nn.Parameter:
    """Torch's own initialization of recurrent weights."""
    bound = 1 / math.sqrt(n_hidden)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _initial(h0: Tensor | None, x: Tensor, n_hidden: int) -> Tensor:
    """Return the state (B, H) from h0 (1, B, H), or zeros."""
    if h0 is None:
        return x.new_zeros(x.shape[1], n_hidden)
    check_shape("h0", h0.shape, (1, x.shape[1], n_hidden))
    return h0[0]


def _time_first(x: Tensor, input_size: int, batch_first: bool) -> Tensor:
    check_shape("x", x.shape, ("B", "T", input_size) if batch_first else ("T", "B", input_size))
    return x.transpose(0, 1) if batch_first else x


class UGRNNCell(nn.Module):
    r"""One step of the update-gate network, called like ``nn.GRUCell``: ``h = cell(x, h)``.

    .. math::
        u = s(W_u h + U_u x + b_u + g), \quad c = \tanh(W_c h + U_c x + b_c), \quad
        h \leftarrow u \odot h + (1 - u) \odot c

    Parameters
    ----------
    input_size, hidden_size : int
        D and H.
    gate_bias : float
        g; positive: longer memory. Not trained.

    References
    ----------
    Collins, Sohl-Dickstein, Sussillo 2017, arXiv 1611.09913.

    Examples
    --------
    >>> UGRNNCell(3, 8)(torch.zeros(5, 3)).shape
    torch.Size([5, 8])
    """

    def __init__(self, input_size: int, hidden_size: int, *, gate_bias: float = 1.0) -> None:
        super().__init__()
        check_count("input_size", input_size)
        check_count("hidden_size", hidden_size)
        self.input_size, self.hidden_size, self.gate_bias = input_size, hidden_size, gate_bias
        self.weight_ih = _uniform(2 * hidden_size, input_size, n_hidden=hidden_size)
        self.weight_hh = _uniform(2 * hidden_size, hidden_size, n_hidden=hidden_size)
        self.bias = _uniform(2 * hidden_size, n_hidden=hidden_size)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Return the next state (B, H) from x (B, D) and h (B, H)."""
        check_shape("x", x.shape, ("B", self.input_size))
        if h is None:
            h = x.new_zeros(len(x), self.hidden_size)
        return self.step(linear(x, self.weight_ih, self.bias), h, self.weight_hh.t())

    def step(self, drive: Tensor, h: Tensor, weight: Tensor) -> Tensor:
        """Return the next state, given ``U x + b`` (B, 2H) and W transposed (H, 2H)."""
        gate, candidate = torch.addmm(drive, h, weight).chunk(2, dim=-1)
        return torch.lerp(candidate.tanh(), h, torch.sigmoid(gate + self.gate_bias))

    def cell(self) -> UGRNNMap:
        """Return the closed-form map, with copied weights."""
        return UGRNNMap(self.weight_ih, self.weight_hh, self.bias, self.gate_bias)


class UGRNN(nn.Module):
    """One layer of `UGRNNCell` over a sequence, called like ``nn.GRU``.

    Parameters
    ----------
    input_size, hidden_size : int
        D and H.
    batch_first : bool
        Sequences are (B, T, D) instead of (T, B, D).
    gate_bias : float
        Added to the gate; positive: longer memory. Not trained.

    Examples
    --------
    >>> outputs, h_n = UGRNN(3, 8, batch_first=True)(torch.zeros(5, 10, 3))
    >>> outputs.shape, h_n.shape
    (torch.Size([5, 10, 8]), torch.Size([1, 5, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        gate_bias: float = 1.0,
    ) -> None:
        super().__init__()
        self.unit = UGRNNCell(input_size, hidden_size, gate_bias=gate_bias)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.batch_first = batch_first

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of all steps and the last one.

        Parameters
        ----------
        x : Tensor (T, B, D), or (B, T, D) with ``batch_first``
            Inputs.
        h0 : Tensor (1, B, H), optional
            First state; default 0.

        Returns
        -------
        Tensor (T, B, H), or (B, T, H) with ``batch_first``
            States.
        Tensor (1, B, H)
            The last state.
        """
        x = _time_first(x, self.input_size, self.batch_first)
        h = _initial(h0, x, self.hidden_size)
        weight = self.unit.weight_hh.t()
        states = []
        for drive in linear(x, self.unit.weight_ih, self.unit.bias).unbind(0):
            h = self.unit.step(drive, h, weight)
            states.append(h)
        return torch.stack(states, dim=1 if self.batch_first else 0), h[None]

    def cell(self) -> UGRNNMap:
        """Return the closed-form map, with copied weights."""
        return self.unit.cell()


class RateNetwork(nn.Module):
    r"""A continuous-time rate network, simulated by Euler steps and called like ``nn.GRU``.

    .. math::
        \tau \dot r = -r + \phi(W r + U x + b) \quad \text{("rate")}, \qquad
        \tau \dot v = -v + W \phi(v) + U x + b \quad \text{("potential")}

    Parameters
    ----------
    input_size, hidden_size : int
        D and N.
    tau : float
        Time constant, > 0.
    dt : float
        Euler step, in (0, tau], in the unit of ``tau``.
    nonlinearity : {"tanh", "relu", "sigmoid", "softplus", "linear"}
        phi.
    form : {"rate", "potential"}
        phi outside or inside of the sum. The outputs are the state: r or v.
    batch_first : bool
        Sequences are (B, T, D) instead of (T, B, D).

    Examples
    --------
    >>> net = RateNetwork(1, 8, tau=0.1, dt=0.01)      # seconds
    >>> net(torch.zeros(20, 5, 1))[0].shape, net.cell().dt
    (torch.Size([20, 5, 8]), 0.01)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        tau: float = 1.0,
        dt: float = 0.1,
        nonlinearity: str = "tanh",
        form: str = "rate",
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        check_count("input_size", input_size)
        check_count("hidden_size", hidden_size)
        check_range("tau", tau, 0.0, open_low=True)
        check_range("dt", dt, 0.0, tau, open_low=True)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("form", form, ("rate", "potential"))
        self.input_size, self.hidden_size = input_size, hidden_size
        self.tau, self.dt, self.nonlinearity, self.form = tau, dt, nonlinearity, form
        self.batch_first = batch_first
        self.weight_ih = _uniform(hidden_size, input_size, n_hidden=hidden_size)
        self.weight_hh = _uniform(hidden_size, hidden_size, n_hidden=hidden_size)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of all steps and the last one, shaped as ``nn.GRU`` does."""
        x = _time_first(x, self.input_size, self.batch_first)
        h = _initial(h0, x, self.hidden_size)
        phi, weight = NONLINEARITIES[self.nonlinearity][0], self.weight_hh.t()
        gain = self.dt / self.tau
        states = []
        for drive in linear(x, self.weight_ih, self.bias).unbind(0):
            if self.form == "rate":
                target = phi(torch.addmm(drive, h, weight))
            else:
                target = torch.addmm(drive, phi(h), weight)
            h = torch.lerp(h, target, gain)
            states.append(h)
        return torch.stack(states, dim=1 if self.batch_first else 0), h[None]

    def cell(self) -> RateMap:
        """Return the closed-form Euler map, with copied weights."""
        return RateMap(
            self.weight_ih,
            self.weight_hh,
            self.bias,
            tau=self.tau,
            dt=self.dt,
            nonlinearity=self.nonlinearity,
            form=self.form,
        )


class Readout(NamedTuple):
    """A linear readout ``y = weight @ state + bias`` of the full state."""

    weight: Tensor
    """(O, N)."""
    bias: Tensor
    """(O,)."""


class SequenceClassifier(nn.Module):
    """Tokens to logits: embedding, dropout, one recurrent layer, linear readout at the last step.

    Token 0 is padding: its vector is 0 and sequences are padded on the right.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, with token 0.
    architecture : {"gru", "lstm", "ugrnn", "vanilla"}
        The recurrent layer.
    n_embedding, n_hidden : int
        Widths D and H.
    n_classes : int
        Width of the readout; 1: one logit for two classes.
    dropout : float
        Of the entries of the embedding, in [0, 1), in training.
    word_dropout : float
        Of whole word vectors, replaced by 0, in [0, 1), in training.
    forget_bias : float
        "lstm": added to the initial bias of the forget gates; positive: longer memory.
    gate_bias : float
        "ugrnn": added to the gate.
    embedding_scale : float
        Standard deviation of the initial word vectors, > 0. With 1, torch's default, the network
        stores each word in directions of its own instead of integrating one valence.

    Examples
    --------
    >>> model = SequenceClassifier(200, "lstm", n_embedding=16, n_hidden=8)
    >>> model(torch.tensor([[3, 5, 7], [2, 4, 0]])).shape
    torch.Size([2])
    >>> model.cell().n_state, model.state_readout().weight.shape
    (16, torch.Size([1, 16]))
    """

    def __init__(
        self,
        n_tokens: int,
        architecture: str = "gru",
        *,
        n_embedding: int = 32,
        n_hidden: int = 128,
        n_classes: int = 1,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        forget_bias: float = 2.0,
        gate_bias: float = 1.0,
        embedding_scale: float = 0.1,
    ) -> None:
        super().__init__()
        check_range("embedding_scale", embedding_scale, 0.0, open_low=True)
        check_count("n_tokens", n_tokens, 2)
        check_count("n_embedding", n_embedding)
        check_count("n_hidden", n_hidden)
        check_count("n_classes", n_classes)
        check_range("dropout", dropout, 0.0, 1.0, open_high=True)
        check_range("word_dropout", word_dropout, 0.0, 1.0, open_high=True)
        check_choice("architecture", architecture, ("gru", "lstm", "ugrnn", "vanilla"))
        self.n_tokens, self.n_classes, self.architecture = n_tokens, n_classes, architecture
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(n_tokens, n_embedding, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight.mul_(embedding_scale)
        self.dropout = nn.Dropout(dropout)
        self.recurrent: nn.Module
        if architecture == "ugrnn":
            self.recurrent = UGRNN(n_embedding, n_hidden, batch_first=True, gate_bias=gate_bias)
        else:
            kind = {"gru": nn.GRU, "lstm": nn.LSTM, "vanilla": nn.RNN}[architecture]
            self.recurrent = kind(n_embedding, n_hidden, batch_first=True)
        if architecture == "lstm":
            with torch.no_grad():
                bias = self.recurrent.get_parameter("bias_ih_l0")
                bias[n_hidden : 2 * n_hidden] += forget_bias
        self.readout = nn.Linear(n_hidden, n_classes)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits at the last step of each sequence.

        Parameters
        ----------
        tokens : Tensor (B, T) of integers
            In [0, n_tokens), padded on the right by 0.
        lengths : Tensor (B,) of integers, optional
            In [1, T]; default: up to the last token that is not 0.

        Returns
        -------
        Tensor (B,) for ``n_classes=1``, else (B, n_classes)
            Logits.
        """
        embedded = self.dropout(self.embed(tokens))
        if self.training and self.word_dropout > 0:
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.word_dropout
            embedded = embedded * kept[..., None]
        return self.classify(embedded, self.lengths(tokens) if lengths is None else lengths)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word vectors (B, T, D), without dropout."""
        check_shape("tokens", tokens.shape, ("B", "T"))
        if tokens.device.type == "cpu" and tokens.numel():  # elsewhere it would wait for the device
            check_range("tokens", int(tokens.min()), 0, self.n_tokens - 1)
            check_range("tokens", int(tokens.max()), 0, self.n_tokens - 1)
        return self.embedding(tokens)

    def classify(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits from word vectors (B, T, D) and lengths (B,) in [1, T]."""
        check_shape("lengths", lengths.shape, (len(embedded),))
        if lengths.device.type == "cpu" and len(lengths):
            check_range("lengths", int(lengths.min()), 1, embedded.shape[1])
            check_range("lengths", int(lengths.max()), 1, embedded.shape[1])
        outputs = self.recurrent(embedded)[0]
        rows = torch.arange(len(outputs), device=outputs.device)
        logits = self.readout(outputs[rows, lengths.to(outputs.device) - 1])
        return logits[:, 0] if self.n_classes == 1 else logits

    @staticmethod
    def lengths(tokens: Tensor) -> Tensor:
        """Return the position after the last token that is not 0, at least 1: (B,)."""
        steps = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return ((tokens != 0) * steps).amax(dim=1).clamp(min=1)

    def cell(self) -> Cell:
        """Return the one-step map of the recurrent layer, with copied weights."""
        return as_cell(self.recurrent)

    def state_readout(self) -> Readout:
        """Return the readout of the full state; an LSTM's cell part has weight 0.

        Returns
        -------
        Readout
            Copies of weight (n_classes, N) and bias (n_classes,).
        """
        cell, weight = self.cell(), self.readout.weight.detach()
        full = weight.new_zeros(self.n_classes, cell.n_state)
        full[:, cell.readout_slice] = weight
        return Readout(full, self.readout.bias.detach().clone())
