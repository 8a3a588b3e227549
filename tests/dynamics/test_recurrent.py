"""Trainable networks: call conventions, gradients, and the classifier's readout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tractable.core.seeds import generator, seeded
from tractable.dynamics.recurrent import UGRNN, RateNetwork, SequenceClassifier, UGRNNCell

F64 = torch.float64
ARCHITECTURES = ["gru", "lstm", "ugrnn", "vanilla"]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


def model(architecture, **options):
    with seeded(3):
        made = SequenceClassifier(20, architecture, n_embedding=4, n_hidden=6, **options)
    return made.double()


TOKENS = torch.tensor([[3, 5, 7, 2], [2, 4, 0, 0], [9, 0, 0, 0], [0, 0, 0, 0], [1, 0, 3, 0]])


@pytest.mark.parametrize("make", [UGRNN, RateNetwork])
def test_layers_follow_the_convention_of_nn_gru(make):
    with seeded(0):
        layer, first = make(3, 5).double(), make(3, 5, batch_first=True).double()
    first.load_state_dict(layer.state_dict())
    x, h0 = randn(7, 2, 3), randn(1, 2, 5, seed=1)
    outputs, h_n = layer(x, h0)
    reference = nn.GRU(3, 5).double()(x, h0)
    assert (outputs.shape, h_n.shape) == (reference[0].shape, reference[1].shape)
    assert torch.equal(outputs[-1], h_n[0])
    swapped, last = first(x.transpose(0, 1), h0)
    assert torch.allclose(swapped.transpose(0, 1), outputs, atol=1e-14)
    assert torch.equal(last, h_n)
    state, cell = h0[0], layer.cell()  # step by step, by the closed form
    for t in range(7):
        state = cell(state, x[t])
        assert (state - outputs[t]).abs().max() <= 1e-12
    assert torch.allclose(layer(x)[0], layer(x, torch.zeros(1, 2, 5, dtype=F64))[0])
    with pytest.raises(ValueError, match=r"x must have shape \(T, B, 3\)"):
        layer(torch.zeros(7, 2, 4))
    with pytest.raises(ValueError, match=r"h0 must have shape \(1, 2, 5\)"):
        layer(x, h0[0])


def test_ugrnn_equation():
    with seeded(0):
        unit = UGRNNCell(3, 5, gate_bias=0.7).double()
    x, h = randn(4, 3), randn(4, 5)
    a = x @ unit.weight_ih.T + h @ unit.weight_hh.T + unit.bias
    u, c = 1 / (1 + torch.exp(-a[:, :5] - 0.7)), torch.tanh(a[:, 5:])
    assert torch.allclose(unit(x, h), u * h + (1 - u) * c, atol=1e-14)
    assert torch.equal(unit(x), unit(x, torch.zeros(4, 5, dtype=F64)))
    keep, forget = UGRNNCell(3, 5, gate_bias=40.0), UGRNNCell(3, 5, gate_bias=-40.0)
    h32 = h.float()
    assert torch.allclose(keep(x.float(), h32), h32)
    assert not torch.allclose(forget(x.float(), h32), h32)


@pytest.mark.parametrize("make", [UGRNN, RateNetwork])
def test_gradients(make):
    with seeded(0):
        layer = make(2, 3).double()
    parameters = list(layer.parameters())

    def loss(*values):
        named = dict(zip(dict(layer.named_parameters()), values, strict=True))
        return torch.func.functional_call(layer, named, (randn(4, 2, 2),))[0]

    assert torch.autograd.gradcheck(loss, [p.detach().requires_grad_() for p in parameters])


@pytest.mark.parametrize("form", ["rate", "potential"])
def test_rate_network_relaxes_with_its_time_constant(form):
    net = RateNetwork(1, 2, tau=0.5, dt=0.001, form=form, nonlinearity="linear").double()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    h0 = torch.ones(1, 1, 2, dtype=F64)
    outputs = net(torch.zeros(500, 1, 1, dtype=F64), h0)[0]
    assert outputs[-1, 0, 0].item() == pytest.approx(0.3678794, rel=2e-3)


def test_rate_network_refuses_steps_longer_than_tau():
    with pytest.raises(ValueError, match="dt must be > 0 and <= 1, got 2"):
        RateNetwork(1, 2, dt=2.0)
    with pytest.raises(ValueError, match="form must be one of"):
        RateNetwork(1, 2, form="rates")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_last_valid_step(architecture):
    net = model(architecture)
    lengths = torch.tensor([4, 2, 1, 1, 3])
    logits = net(TOKENS)
    assert logits.shape == (5,)
    assert torch.equal(net.lengths(TOKENS), lengths)
    for row, length in enumerate(lengths):  # each sequence alone, without padding
        alone = net(TOKENS[row : row + 1, :length], torch.tensor([length]))
        assert (alone - logits[row]).abs().max() <= 1e-12
    assert torch.allclose(net(TOKENS, torch.full((5,), 2))[0], net(TOKENS[:1, :2])[0])
    assert model(architecture, n_classes=3)(TOKENS).shape == (5, 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cell_and_state_readout_reproduce_the_logits(architecture):
    net = model(architecture, n_classes=2)
    cell, readout = net.cell(), net.state_readout()
    assert readout.weight.shape == (2, 12 if architecture == "lstm" else 6)
    state = torch.zeros(1, cell.n_state, dtype=F64)
    for x in net.embed(TOKENS[:1]).unbind(1):
        state = cell(state, x)
    logits = state @ readout.weight.T + readout.bias
    assert (logits - net(TOKENS[:1])).abs().max() <= 1e-12
    assert not readout.weight.requires_grad
    if architecture == "lstm":
        assert torch.equal(readout.weight[:, 6:], torch.zeros(2, 6, dtype=F64))
    with torch.no_grad():
        net.readout.weight.zero_()
        net.readout.bias.zero_()
    assert readout.weight.abs().max() > 0  # copies


def test_padding_is_zero_and_not_trained():
    net = model("gru")
    assert torch.equal(net.embed(torch.zeros(1, 2).long()), torch.zeros(1, 2, 4, dtype=F64))
    net(TOKENS).sum().backward()
    assert torch.equal(net.embedding.weight.grad[0], torch.zeros(4, dtype=F64))
    assert all(p.grad is not None for p in net.parameters())


def test_word_dropout_removes_whole_words_in_training_only():
    net = model("vanilla", word_dropout=0.5)
    seen = []
    net.recurrent.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    tokens = torch.randint(1, 20, (50, 40), generator=generator(0))
    with seeded(0):
        net(tokens)
        net.eval()(tokens)
    gone = (seen[0] == 0).all(dim=-1)
    assert torch.equal(gone, (seen[0] == 0).any(dim=-1))  # all of a word or nothing
    assert abs(gone.double().mean() - 0.5) < 4 * 0.5 / 2000**0.5
    assert torch.equal(seen[0][~gone], net.embed(tokens)[~gone])
    assert torch.equal(seen[1], net.embed(tokens))


def test_dropout_acts_in_training_only():
    net = model("gru", dropout=0.5)
    with seeded(0):
        assert not torch.equal(net(TOKENS), net(TOKENS))
        assert torch.equal(net.eval()(TOKENS), net(TOKENS))


def test_forget_bias_is_added_to_the_forget_gates():
    plain, biased = model("lstm", forget_bias=0.0), model("lstm", forget_bias=2.0)
    difference = biased.recurrent.bias_ih_l0 - plain.recurrent.bias_ih_l0
    expected = torch.zeros(24, dtype=F64)
    expected[6:12] = 2.0  # i, f, g, o
    assert torch.allclose(difference, expected, atol=1e-6)


def test_classifier_refuses():
    net = model("gru")
    with pytest.raises(ValueError, match="tokens must be >= 0 and <= 19, got 20"):
        net(torch.tensor([[3, 20]]))
    with pytest.raises(ValueError, match="tokens must have shape"):
        net(torch.tensor([3, 2]))
    with pytest.raises(ValueError, match="did you mean 'lstm'"):
        SequenceClassifier(20, "lstn")
    with pytest.raises(ValueError, match="word_dropout must be"):
        SequenceClassifier(20, word_dropout=1.0)
    with pytest.raises(ValueError, match="lengths"):
        net(TOKENS, torch.tensor([5, 1, 1, 1, 1]))
    with pytest.raises(ValueError, match="lengths"):
        net(TOKENS, torch.tensor([0, 1, 1, 1, 1]))


def test_a_small_net_learns_to_count():
    """Sum of +1 and -1 words: the net must integrate over the whole sequence."""
    draw = generator(0)
    with seeded(0):
        net = SequenceClassifier(4, "ugrnn", n_embedding=4, n_hidden=16)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
        for _ in range(80):
            tokens = torch.randint(1, 4, (64, 15), generator=draw)
            value = (tokens == 1).sum(1) - (tokens == 2).sum(1)
            loss = nn.functional.binary_cross_entropy_with_logits(net(tokens), (value > 0).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    tokens = torch.randint(1, 4, (500, 15), generator=draw)
    value = (tokens == 1).sum(1) - (tokens == 2).sum(1)
    kept = value != 0
    accuracy = ((net(tokens) > 0) == (value > 0))[kept].double().mean()
    assert accuracy > 0.95
