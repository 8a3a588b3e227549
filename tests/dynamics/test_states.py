"""Visited states against torch's own layers; starting points against counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.seeds import generator, seeded
from tractable.dynamics.cells import as_cell
from tractable.dynamics.recurrent import UGRNN, SequenceClassifier
from tractable.dynamics.states import Trajectory, collect_states, sample_starts

F64 = torch.float64
LENGTHS = torch.tensor([3, 9, 0, 9, 1, 6])  # sorting them is not its own inverse


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM, UGRNN])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (F64, 1e-12)])
def test_states_equal_the_outputs_of_the_layer(make, dtype, bar):
    with seeded(0):
        layer = make(4, 32, batch_first=True).to(dtype)
    x = randn(6, 50, 4).to(dtype)
    trajectory = collect_states(layer, x)
    outputs = layer(x)[0]
    assert trajectory.states.dtype == dtype
    assert (trajectory.states[..., :32] - outputs).abs().max() <= bar
    assert not trajectory.states.requires_grad
    if make is nn.LSTM:  # c at every step, from runs of every length
        for t in range(0, 50, 7):
            c = layer(x[:, : t + 1])[1][1][0]
            assert (trajectory.states[:, t, 32:] - c).abs().max() <= bar


def test_stacked_states_equal_the_outputs_of_the_layer():
    with seeded(0):
        layer = nn.GRU(4, 8, num_layers=2, batch_first=True).double()
    x = randn(6, 20, 4)
    trajectory = collect_states(layer, x)
    outputs, h_n = layer(x)
    assert (trajectory.states[..., 8:] - outputs).abs().max() <= 1e-12
    assert (trajectory.last[:, :8] - h_n[0]).abs().max() <= 1e-12


def test_lengths_stop_the_state():
    with seeded(0):
        layer = nn.LSTM(4, 5, batch_first=True).double()
    x, h0 = randn(6, 9, 4), randn(6, 10, seed=1)
    x[0, 3:] = 100.0  # padding is never fed in
    trajectory = collect_states(layer, x, LENGTHS, h0)
    assert torch.equal(trajectory.lengths, LENGTHS)
    assert torch.equal(trajectory.mask, torch.arange(9) < LENGTHS[:, None])
    full = collect_states(layer, x, h0=h0)
    for row, length in enumerate(LENGTHS):
        kept = trajectory.states[row]
        assert (kept[:length] - full.states[row, :length]).abs().max() <= 1e-14 if length else True
        end = h0[row] if length == 0 else kept[length - 1]
        assert torch.equal(kept[length:], end.expand(9 - int(length), 10))
        assert torch.equal(trajectory.last[row], kept[max(int(length) - 1, 0)])
    assert trajectory.valid.shape == (28, 10)
    assert torch.equal(trajectory.inputs, x)


def test_previous_states_step_to_the_next():
    with seeded(0):
        cell = as_cell(nn.GRU(4, 5).double())
    trajectory = collect_states(cell, randn(6, 9, 4), LENGTHS, randn(5, seed=1))
    stepped = cell(trajectory.previous[trajectory.mask], trajectory.inputs[trajectory.mask])
    assert (stepped - trajectory.valid).abs().max() <= 1e-14
    with pytest.raises(ValueError, match="initial"):
        _ = Trajectory(trajectory.states, trajectory.mask).previous


def test_tokens_go_through_the_embedding():
    with seeded(0):
        net = SequenceClassifier(12, "lstm", n_embedding=4, n_hidden=5).double()
    tokens = torch.tensor([[3, 5, 7, 2], [2, 4, 0, 0], [9, 0, 0, 0]])
    trajectory = collect_states(net, tokens, embedding=net.embedding)
    assert trajectory.lengths.tolist() == [4, 2, 1]  # from padding_idx
    readout = net.state_readout()
    logits = trajectory.last @ readout.weight[0] + readout.bias
    assert (logits - net(tokens)).abs().max() <= 1e-12
    for embedding in (net.embedding.weight, net.embed):
        again = collect_states(net, tokens, [4, 2, 1], embedding=embedding)
        assert torch.equal(again.states, trajectory.states)
    assert not trajectory.inputs.requires_grad
    short = nn.Embedding(12, 4, max_norm=0.5, norm_type=1.0).double()
    before = short.weight.detach().clone()
    inputs = collect_states(net, tokens, embedding=short).inputs
    assert torch.equal(short.weight, before)  # which the module itself would shorten
    torch.testing.assert_close(inputs[0], short(tokens[0]))


def test_arrays_are_taken_like_tensors():
    # INDEPENDENT: the same values as tensors
    with seeded(0):
        layer = nn.GRU(4, 5, batch_first=True).double()
    x, h0 = randn(6, 9, 4), randn(6, 5, seed=1)
    wanted = collect_states(layer, x, LENGTHS, h0)
    array = x.numpy().copy()
    array.flags.writeable = False
    for inputs in (x.numpy(), array, array[:, ::-1].copy()[:, ::-1]):
        found = collect_states(layer, inputs, LENGTHS.numpy().astype(np.int32), h0.numpy())
        assert torch.equal(found.states, wanted.states)
        assert torch.equal(found.mask, wanted.mask)
    embedding = nn.Embedding(7, 4).double()
    tokens = torch.tensor([[3, 5, 1], [2, 4, 0]])
    wanted = collect_states(layer, tokens, embedding=embedding)
    for kind in (np.int64, np.int32, np.uint8, np.uint16):
        found = collect_states(layer, tokens.numpy().astype(kind), embedding=embedding)
        assert torch.equal(found.states, wanted.states)
    with pytest.raises(ValueError, match="inputs must be finite"):
        collect_states(layer, np.full((2, 3, 4), np.nan))


def test_first_state_by_parts():
    cell = as_cell(nn.LSTM(4, 5).double())
    h, c = randn(6, 5), randn(6, 5, seed=1)
    x = randn(6, 2, 4)
    one = collect_states(cell, x, h0=(h, c))
    assert torch.equal(one.states, collect_states(cell, x, h0=torch.cat([h, c], 1)).states)
    assert torch.equal(one.initial, torch.cat([h, c], 1))
    given = randn(6, 10)
    kept = given.clone()
    collect_states(cell, x, h0=given)
    assert torch.equal(given, kept)


def test_collecting_refuses():
    gru = nn.GRU(4, 5)
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"inputs must have shape \(B, T, 4\), got \(2, 3, 5\)"):
        collect_states(gru, torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match="inputs must be finite, got 4 of 24"):
        collect_states(gru, _with_nan(x))
    with pytest.raises(ValueError, match="lengths must be >= 0 and <= 3, got 4"):
        collect_states(gru, x, [4, 1])
    with pytest.raises(ValueError, match=r"lengths must have shape \(2,\)"):
        collect_states(gru, x, [1])
    with pytest.raises(TypeError, match="integers"):
        collect_states(gru, x, [1.0, 2.0])
    with pytest.raises(ValueError, match="embedding"):
        collect_states(gru, torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match="integer tokens"):
        collect_states(gru, x, embedding=nn.Embedding(5, 4))
    with pytest.raises(ValueError, match="inputs must be >= 0 and <= 4, got 5"):
        collect_states(gru, torch.tensor([[5]]), embedding=nn.Embedding(5, 4))
    with pytest.raises(ValueError, match="h0 must have shape"):
        collect_states(gru, x, h0=torch.zeros(3, 5))
    with pytest.raises(ValueError, match="h0 must be finite"):
        collect_states(gru, x, h0=torch.full((5,), torch.nan))


def _with_nan(x):
    x = x.clone()
    x[1, 2] = torch.nan
    return x


def test_trajectory_refuses():
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="states must have shape"):
        Trajectory(torch.zeros(2, 3), mask)
    with pytest.raises(ValueError, match="mask must have shape"):
        Trajectory(torch.zeros(2, 4, 5), mask)
    with pytest.raises(TypeError, match="mask must be bool"):
        Trajectory(torch.zeros(2, 3, 5), mask.long())
    with pytest.raises(ValueError, match="states must be finite"):
        Trajectory(torch.full((2, 3, 5), torch.nan), mask)
    Trajectory(torch.full((2, 3, 5), torch.nan), torch.zeros(2, 3, dtype=torch.bool))


def numbered(lengths, steps):
    """A trajectory whose one-dimensional states are their own numbers; padding is -1."""
    mask = torch.arange(steps) < torch.as_tensor(lengths)[:, None]
    states = torch.arange(len(lengths) * steps, dtype=F64).reshape(-1, steps, 1)
    return Trajectory(torch.where(mask[..., None], states, -1.0), mask)


def test_starts_are_uniform_over_valid_steps():
    trajectory = numbered([10, 2, 0, 5], 10)
    counts = torch.zeros(40)
    n_draws = 2000
    draw = generator(0)
    for _ in range(n_draws):
        for start in sample_starts(trajectory, 3, generator=draw)[:, 0]:
            assert start >= 0  # never padding
            counts[int(start)] += 1
    valid = counts[trajectory.mask.flatten()]
    assert int(valid.sum()) == int(counts.sum()) == 3 * n_draws
    expected = 3 * n_draws / 17
    assert (valid - expected).abs().max() < 4.5 * (expected * (1 - 3 / 17)) ** 0.5


def test_starts_do_not_repeat_while_there_are_states():
    trajectory = numbered([10, 2, 0, 5], 10)
    starts = sample_starts(trajectory, 17, generator=generator(0))
    assert len(starts.unique()) == 17
    many = sample_starts(trajectory, 40, generator=generator(0))
    assert sorted(many.unique(return_counts=True)[1].tolist()) == [2] * 11 + [3] * 6


def test_same_seed_same_starts():
    trajectory = numbered([10, 2, 0, 5], 10)
    options = {"noise": 0.1, "stratify": lambda h: h[:, 0]}
    before = torch.get_rng_state()
    one, two = (sample_starts(trajectory, 9, generator=generator(4), **options) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)
    other = sample_starts(trajectory, 9, generator=generator(5), **options)
    assert not torch.equal(one, other)


def test_noise_is_relative_to_each_unit():
    states = randn(1, 20000, 2) * torch.tensor([0.01, 5.0], dtype=F64) + 3.0
    trajectory = Trajectory(states, torch.ones(1, 20000, dtype=torch.bool))
    clean = sample_starts(trajectory, 20000, generator=generator(1))
    noisy = sample_starts(trajectory, 20000, noise=0.5, generator=generator(1))
    std = (noisy - clean).std(dim=0)
    assert torch.allclose(std, 0.5 * states[0].std(dim=0), rtol=4 / 40000**0.5)


@pytest.mark.parametrize("how", ["callable", "column", "grid", "valid"])
def test_stratified_starts_cover_rare_ends(how):
    values = torch.cat([randn(1, 5000) * 0.01, torch.linspace(-10, 10, 40, dtype=F64)[None]], dim=1)
    mask = torch.ones(1, 5040, dtype=torch.bool)
    mask[0, 100:200] = False
    trajectory = Trajectory(values[..., None], mask)
    stratify = {
        "callable": lambda h: h[:, 0],
        "column": lambda h: h,
        "grid": values,
        "valid": values[mask],
    }[how]
    plain = sample_starts(trajectory, 64, generator=generator(0))
    spread = sample_starts(trajectory, 64, generator=generator(0), stratify=stratify)
    assert plain.abs().max() < 10
    assert (spread.max() - spread.min()) > 19
    counts = torch.histc(spread[:, 0], 32, -10, 10)
    # 38 of the 40 rare states lie outside the two middle bins: all of them are taken
    assert counts[:15].sum() + counts[17:].sum() in range(34, 40)
    assert counts[15:17].sum() == 64 - counts[:15].sum() - counts[17:].sum()
    few = sample_starts(trajectory, 8, generator=generator(0), stratify=stratify)
    assert (few.abs() > 1).sum() >= 5  # bins are drawn evenly, not states
    draws = [
        sample_starts(trajectory, 8, generator=generator(seed), stratify=stratify)
        for seed in range(50)
    ]
    low = (torch.cat(draws) < 0).double().mean()
    assert abs(low - 0.5) < 4 * 0.5 / 400**0.5  # no end is preferred


def test_sampling_refuses():
    trajectory = numbered([10, 2], 10)
    draw = generator(0)
    with pytest.raises(ValueError, match="n must be >= 1"):
        sample_starts(trajectory, 0, generator=draw)
    with pytest.raises(ValueError, match="noise must be >= 0"):
        sample_starts(trajectory, 2, noise=-1.0, generator=draw)
    with pytest.raises(ValueError, match=r"stratify must have shape \(12,\)"):
        sample_starts(trajectory, 2, stratify=torch.zeros(5), generator=draw)
    with pytest.raises(ValueError, match="stratify must be finite"):
        sample_starts(trajectory, 2, stratify=lambda h: h[:, 0] * torch.nan, generator=draw)
    with pytest.raises(ValueError, match="at least one valid step"):
        sample_starts(numbered([0, 0], 10), 2, generator=draw)
    same = sample_starts(trajectory, 5, stratify=lambda h: 0 * h[:, 0], generator=draw)
    assert same.shape == (5, 1)  # all values equal: one stratum
