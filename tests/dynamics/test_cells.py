"""What `as_cell` accepts, refuses and leaves alone; packing and copying of closed-form cells."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jvp

from tractable.core.seeds import generator, seeded
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.cells.gated_maps import GRUMap, UGRNNMap
from tractable.dynamics.cells.lstm_map import LSTMMap
from tractable.dynamics.cells.own_map import OwnMap
from tractable.dynamics.cells.rate_maps import RateMap, VanillaMap
from tractable.dynamics.cells.stacked_map import StackedMap
from tractable.dynamics.recurrent import UGRNN, RateNetwork, SequenceClassifier, UGRNNCell

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


KINDS = [
    (lambda: nn.RNN(3, 5), VanillaMap, 5),
    (lambda: nn.RNNCell(3, 5, nonlinearity="relu"), VanillaMap, 5),
    (lambda: nn.GRU(3, 5), GRUMap, 5),
    (lambda: nn.GRUCell(3, 5, bias=False), GRUMap, 5),
    (lambda: nn.LSTM(3, 5), LSTMMap, 10),
    (lambda: nn.LSTMCell(3, 5), LSTMMap, 10),
    (lambda: nn.LSTM(3, 5, proj_size=2), LSTMMap, 7),
    (lambda: nn.LSTM(3, 5, num_layers=2, proj_size=2), StackedMap, 14),
    (lambda: nn.GRU(3, 5, num_layers=3, dropout=0.4), StackedMap, 15),
    (lambda: UGRNN(3, 5), UGRNNMap, 5),
    (lambda: UGRNNCell(3, 5), UGRNNMap, 5),
    (lambda: RateNetwork(3, 5), RateMap, 5),
    (lambda: SequenceClassifier(9, "gru", n_embedding=3, n_hidden=5), GRUMap, 5),
    (lambda: lambda h, x: torch.tanh(h + x.sum(-1, keepdim=True)), OwnMap, 5),
]


@pytest.mark.parametrize(("make", "kind", "n_state"), KINDS)
def test_every_supported_kind_is_a_cell(make, kind, n_state):
    own = {"n_state": 5, "n_input": 3} if kind is OwnMap else {}
    cell = as_cell(make(), **own)
    assert isinstance(cell, kind)
    assert isinstance(cell, Cell)
    assert (cell.n_state, cell.n_input) == (n_state, 3)
    state, x = randn(4, n_state).to(cell.dtype), randn(4, 3).to(cell.dtype)
    assert cell(state, x).shape == (4, n_state)
    assert cell(state, x).dtype == cell.dtype
    assert not cell(state, x).requires_grad
    J, J_inp = cell.jacobians(state, x)
    assert J.shape == (4, n_state, n_state)
    assert J_inp.shape == (4, n_state, 3)
    assert torch.equal(cell.pack(*cell.unpack(state)), state)
    assert cell(state[:0], x[:0]).shape == (0, n_state)
    assert cell.jacobians(state[:0], x[:0])[0].shape == (0, n_state, n_state)
    assert cell.recurrent_jacobian(state[:1], x[:1]).shape == (1, n_state, n_state)
    assert as_cell(cell) is cell


@pytest.mark.parametrize(("make", "kind", "n_state"), KINDS)
def test_to_copies(make, kind, n_state):
    own = {"n_state": 5, "n_input": 3} if kind is OwnMap else {}
    cell = as_cell(make(), **own)
    single, double = cell.to(dtype=torch.float32), cell.to(dtype=F64)
    assert (single.dtype, double.dtype) == (torch.float32, F64)
    state, x = randn(4, n_state), randn(4, 3)
    assert (double(state, x) - single(state.float(), x.float())).abs().max() < 1e-5
    if double.bounds is not None:
        assert double.bounds[0].dtype == F64
    assert double.readout_slice == cell.readout_slice
    assert double.dt == cell.dt


def test_weights_are_copies():
    gru = nn.GRU(3, 5)
    cell, same = as_cell(gru), as_cell(gru).to(device="cpu")
    state, x = torch.ones(1, 5), torch.ones(1, 3)
    before = cell(state, x)
    with torch.no_grad():
        gru.weight_hh_l0.zero_()
    assert torch.equal(cell(state, x), before)
    assert torch.equal(same(state, x), before)


@pytest.mark.parametrize(("make", "kind", "n_state"), KINDS)
def test_the_users_module_and_random_state_are_unchanged(make, kind, n_state):
    module = make()
    own = {"n_state": 5, "n_input": 3} if kind is OwnMap else {}
    is_module = isinstance(module, nn.Module)
    if is_module:
        module.train()
        next(module.parameters()).requires_grad_(False)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        flags = [p.requires_grad for p in module.parameters()]
        modes = [m.training for m in module.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    cell = as_cell(module, **own).to(dtype=F64)
    cell.jacobians(randn(2, n_state), randn(2, 3))
    cell(randn(2, n_state), randn(2, 3))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()
    if is_module:
        after = module.state_dict()
        assert list(before) == list(after)
        assert all(torch.equal(before[k], after[k]) for k in before)
        assert all(v.dtype == torch.float32 for v in after.values())
        assert flags == [p.requires_grad for p in module.parameters()]
        assert modes == [m.training for m in module.modules()]
        assert all(p.grad is None for p in module.parameters())


def test_dropout_between_layers_counts_as_off():
    with seeded(0):
        gru = nn.GRU(3, 5, num_layers=2, dropout=0.9, batch_first=True).double().train()
    x = randn(1, 1, 3)
    expected = gru.eval()(x)[1][:, 0].flatten()
    gru.train()
    assert torch.allclose(as_cell(gru)(torch.zeros(1, 10).double(), x[0])[0], expected)


def test_layer_and_direction():
    with seeded(0):
        gru = nn.GRU(3, 5, bidirectional=True, batch_first=True).double()
        deep = nn.GRU(3, 5, num_layers=2, bidirectional=True).double()
    with pytest.raises(ValueError, match="direction=0"):
        as_cell(gru)
    with pytest.raises(ValueError, match="layer="):
        as_cell(deep, direction=0)
    assert as_cell(deep, direction=1, layer=1).n_input == 10
    x = randn(1, 1, 3)
    outputs = gru(x)[0][0, 0]
    zero = torch.zeros(1, 5, dtype=F64)
    for direction in (0, 1):
        found = as_cell(gru, direction=direction)(zero, x[0])[0]
        assert torch.allclose(found, outputs[5 * direction : 5 * direction + 5], atol=1e-12)
    one_way = nn.GRU(3, 5)
    as_cell(one_way, direction=0)
    with pytest.raises(ValueError, match="direction must be one of 0, got 1"):
        as_cell(one_way, direction=1)
    with pytest.raises(ValueError, match="layer must be one of 0, got 1"):
        as_cell(one_way, layer=1)


def test_nan_weights_are_counted():
    gru = nn.GRU(3, 5)
    with torch.no_grad():
        gru.weight_hh_l0[:2, 0] = torch.nan
    with pytest.raises(ValueError, match=r"weight_hh must be finite, got 2 of 75"):
        as_cell(gru)


def test_what_is_not_supported_is_told():
    for wrong in (3, "gru", None, torch.ones(3, 3)):
        with pytest.raises(TypeError, match=r"nn\.GRU"):
            as_cell(wrong)
    with pytest.raises(TypeError, match="n_state"):
        as_cell(lambda h, x: h)
    with pytest.raises(TypeError, match="n_state"):
        as_cell(nn.Linear(3, 3))


def test_arguments_without_meaning_are_refused():
    cases = [
        (nn.GRU(3, 5), {"dt": 0.1}),
        (nn.GRU(3, 5), {"continuous": True}),
        (nn.LSTM(3, 5), {"bounds": (torch.zeros(10), torch.ones(10))}),
        (nn.GRUCell(3, 5), {"layer": 0}),
        (as_cell(nn.GRU(3, 5)), {"dt": 0.1}),
        (UGRNNCell(3, 5), {"tau": 1.0}),
    ]
    for module, options in cases:
        with pytest.raises(ValueError, match=f"{next(iter(options))} has no meaning"):
            as_cell(module, **options)
    with pytest.raises(ValueError, match="continuous=True"):
        as_cell(nn.RNN(3, 5), dt=0.1)
    with pytest.raises(ValueError, match="n_state of GRU is 5, got 6"):
        as_cell(nn.GRU(3, 5), n_state=6)


def test_a_vanilla_network_in_continuous_time():
    rnn = nn.RNN(3, 5).double()
    discrete, cell = as_cell(rnn), as_cell(rnn, continuous=True, tau=0.2)
    assert cell.dt == pytest.approx(0.02)
    state, x = randn(2, 5), randn(2, 3)
    assert torch.allclose(cell.field(state, x), (discrete(state, x) - state) / 0.2)
    assert torch.allclose(cell(state, x), state + 0.02 * cell.field(state, x))


def test_rate_network_takes_one_time_constant_per_unit():
    tau = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    cell = RateMap(randn(3, 2), randn(3, 3), randn(3), tau=tau, dt=0.1, form="potential")
    state, x = randn(2, 3), randn(2, 2)
    drive = torch.tanh(state) @ cell.weight_hh.T + x @ cell.weight_ih.T + cell.bias
    assert torch.allclose(cell.field(state, x), (drive - state) / tau)
    with pytest.raises(ValueError, match="tau must have shape"):
        RateMap(randn(3, 2), randn(3, 3), randn(3), tau=tau[:2])
    with pytest.raises(ValueError, match="tau must be > 0"):
        RateMap(randn(3, 2), randn(3, 3), randn(3), tau=-1.0)
    assert cell.bounds is None
    slow = RateMap(randn(3, 2), randn(3, 3), randn(3), tau=1.0, dt=0.5)
    fast = RateMap(randn(3, 2), randn(3, 3), randn(3), tau=1.0, dt=1.5)
    assert slow.bounds is not None
    assert fast.bounds is None


def test_wrong_widths_are_named():
    cell = as_cell(nn.LSTM(3, 5))
    with pytest.raises(ValueError, match=r"state must have shape \(B, 10\), got \(2, 5\)"):
        cell(torch.zeros(2, 5), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"x must have shape \(B, 3\)"):
        cell.jacobians(torch.zeros(2, 10), torch.zeros(3))
    with pytest.raises(ValueError, match=r"widths \[5, 5\], got \[5, 4\]"):
        cell.pack(torch.zeros(2, 5), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="width 10"):
        cell.unpack(torch.zeros(2, 5))
    stacked = as_cell(nn.GRU(3, 5, num_layers=2))
    with pytest.raises(ValueError, match=r"\(B, 10\)"):
        stacked(torch.zeros(2, 5), torch.zeros(2, 3))


def test_wrong_weights_are_named():
    with pytest.raises(ValueError, match="weight_hh must have shape"):
        GRUMap(randn(12, 3), randn(12, 5), randn(12), randn(12))
    with pytest.raises(ValueError, match="weight_ih must have shape"):
        VanillaMap(randn(4, 3), randn(5, 5), randn(5))
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        VanillaMap(randn(5, 3), randn(5, 5), randn(5), "tan")
    with pytest.raises(ValueError, match="share dtype"):
        VanillaMap(randn(5, 3).float(), randn(5, 5), randn(5))
    with pytest.raises(TypeError, match="floating-point"):
        VanillaMap(randn(5, 3).long(), randn(5, 5), randn(5))
    with pytest.raises(ValueError, match="layer 1 takes 3 inputs, but layer 0 gives 5"):
        StackedMap((as_cell(nn.GRU(3, 5)), as_cell(nn.GRU(3, 5))))
    with pytest.raises(ValueError, match="at least one"):
        StackedMap(())


def test_stack_of_lstms_unpacks_layer_by_layer():
    cell = as_cell(nn.LSTM(3, 5, num_layers=2, proj_size=2))
    assert [part.shape[1] for part in cell.unpack(torch.zeros(1, 14))] == [2, 5, 2, 5]
    assert cell.readout_slice == slice(7, 9, 1)
    assert torch.isinf(cell.bounds[1]).nonzero()[:, 0].tolist() == [
        2,
        3,
        4,
        5,
        6,
        9,
        10,
        11,
        12,
        13,
    ]


def test_a_subclass_with_its_own_forward_is_not_taken_for_torchs():
    class Leaky(nn.GRUCell):
        def forward(self, state, x):
            return 0.5 * state + 0.5 * super().forward(x, state)

    leaky = Leaky(3, 5).double()
    cell = as_cell(leaky)
    assert isinstance(cell, OwnMap)
    assert (cell.n_state, cell.n_input) == (5, 3)

    class Named(nn.GRUCell):
        pass

    assert isinstance(as_cell(Named(3, 5)), GRUMap)


@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_forward_mode_goes_through_closed_forms(grad):
    """Krylov solvers need J v of the map itself, without the matrix."""
    with grad():
        cell = as_cell(nn.LSTM(3, 5)).to(dtype=F64)
        state, x, v = randn(2, 10), randn(2, 3), randn(2, 10, seed=1)
        J = cell.recurrent_jacobian(state, x)
        tangent = jvp(lambda h: cell(h, x), (state,), (v,))[1]
    assert torch.allclose(tangent, (J @ v[..., None])[..., 0], atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cells_on_a_gpu():
    for module in (nn.LSTM(3, 5), nn.GRU(3, 5, num_layers=2), RateNetwork(3, 5), nn.RNN(3, 5)):
        cell = as_cell(module).to(dtype=F64)
        there = as_cell(module.to("cuda")).to(dtype=F64)
        assert there.device.type == "cuda"
        state, x = randn(4, cell.n_state), randn(4, 3)
        for one, other in zip(
            cell.jacobians(state, x), there.jacobians(state.cuda(), x.cuda()), strict=True
        ):
            assert torch.allclose(one, other.cpu(), atol=1e-12)
    there = nn.GRUCell(3, 5).to("cuda")
    own = as_cell(lambda h, x: there(x, h), n_state=5, n_input=3)
    assert own.device.type == "cuda"
