"""Closed-form cells against torch.

INDEPENDENT: Jacobians against automatic differentiation of torch's own modules, or of the equations
typed again here. IDENTITY: F equals the module's own step. LIMIT: no recurrent weights.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from tractable.core.seeds import generator, seeded
from tractable.dynamics.cells import as_cell
from tractable.dynamics.cells.gated_maps import GRUMap, UGRNNMap
from tractable.dynamics.cells.lstm_map import LSTMMap
from tractable.dynamics.cells.rate_maps import NONLINEARITIES, RateMap, VanillaMap
from tractable.dynamics.recurrent import UGRNN, RateNetwork, UGRNNCell

B, D = 5, 4
F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


def s(a):
    return 1 / (1 + torch.exp(-a))


def torch_layer(kind, n, dtype=F64, **options):
    with seeded(n):
        module = kind(D, n, batch_first=True, **options)
        for p in module.parameters():
            nn.init.normal_(p, std=1.5 / n**0.5)
    return module.to(dtype)


def layer_step(module):
    """One step of nn.RNN, nn.GRU or nn.LSTM through its own forward, on full states (N,), (D,)."""
    width, output = module.hidden_size, module.proj_size or module.hidden_size

    def step(state, x):
        if not isinstance(module, nn.LSTM):
            return module(x[None, None], state.reshape(module.num_layers, 1, width))[1].flatten()
        layers = state.reshape(module.num_layers, output + width)
        h, c = layers[:, None, :output].contiguous(), layers[:, None, output:].contiguous()
        _, (h, c) = module(x[None, None], (h, c))
        return torch.cat([h[:, 0], c[:, 0]], dim=1).flatten()

    return step


def by_hand(name, n):
    """A cell and its equations, typed from the papers, for cells that torch lacks."""
    W, U, b = randn(n, n, seed=1) / n**0.5, randn(n, D, seed=2), randn(n, seed=3)
    if name == "ugrnn":
        Wu, Uu = randn(n, n, seed=4) / n**0.5, randn(n, D, seed=5)
        cell = UGRNNMap(torch.cat([Uu, U]), torch.cat([Wu, W]), torch.cat([b, -b]), gate_bias=0.7)

        def step(h, x):
            u = s(Wu @ h + Uu @ x + b + 0.7)
            return u * h + (1 - u) * torch.tanh(W @ h + U @ x - b)

        return cell, step
    if name == "gru-reset-before":
        Wr, Ur, Wz, Uz = (randn(n, k, seed=i) / 2 for i, k in enumerate((n, D, n, D), 4))
        bias = torch.cat([b, -b, 0.5 * b])
        cell = GRUMap(
            torch.cat([Ur, Uz, U]), torch.cat([Wr, Wz, W]), bias, bias.flip(0), reset_after=False
        )
        c = bias.flip(0)

        def step(h, x):
            r = s(Wr @ h + Ur @ x + b + c[:n])
            z = s(Wz @ h + Uz @ x - b + c[n : 2 * n])
            return (1 - z) * torch.tanh(U @ x + 0.5 * b + W @ (r * h) + c[2 * n :]) + z * h

        return cell, step
    kind, form, phi_name = name.split("-")
    phi = (lambda a: a) if phi_name == "linear" else getattr(nn.functional, phi_name)
    if kind == "vanilla":
        return VanillaMap(U, W, b, phi_name), lambda h, x: phi(W @ h + U @ x + b)
    tau = torch.linspace(1.0, 3.0, n, dtype=F64)
    cell = RateMap(U, W, b, tau=tau, dt=0.25, nonlinearity=phi_name, form=form)
    if form == "rate":
        return cell, lambda r, x: r + 0.25 / tau * (-r + phi(W @ r + U @ x + b))
    return cell, lambda v, x: v + 0.25 / tau * (-v + W @ phi(v) + U @ x + b)


HAND = ["ugrnn", "gru-reset-before"]
HAND += [f"vanilla-any-{name}" for name in NONLINEARITIES]
HAND += [f"continuous-{form}-{name}" for form in ("rate", "potential") for name in NONLINEARITIES]
TORCH = {
    "rnn-tanh": (nn.RNN, {}),
    "rnn-relu": (nn.RNN, {"nonlinearity": "relu"}),
    "rnn-nobias": (nn.RNN, {"bias": False}),
    "gru": (nn.GRU, {}),
    "gru-nobias": (nn.GRU, {"bias": False}),
    "lstm": (nn.LSTM, {}),
    "lstm-proj": (nn.LSTM, {"proj_size": 3}),
    "rnn-2-layers": (nn.RNN, {"num_layers": 2}),
    "gru-2-layers": (nn.GRU, {"num_layers": 2}),
    "gru-3-layers": (nn.GRU, {"num_layers": 3}),
    "lstm-2-layers": (nn.LSTM, {"num_layers": 2}),
    "lstm-2-layers-proj": (nn.LSTM, {"num_layers": 2, "proj_size": 3}),
}


def case(name, n):
    if name in TORCH:
        kind, options = TORCH[name]
        module = torch_layer(kind, n, **options)
        return as_cell(module), layer_step(module)
    return by_hand(name, n)


@pytest.mark.parametrize("n", [7, 50])
@pytest.mark.parametrize("name", [*TORCH, *HAND])
def test_jacobians_equal_automatic_differentiation(name, n):
    cell, step = case(name, n)
    state, x = randn(B, cell.n_state, seed=7), randn(B, D, seed=8)
    J, J_inp = cell.jacobians(state, x)
    for b in range(B):  # no vmap: torch's layers have no batching rule for some kernels
        J_auto, J_inp_auto = jacrev(step, (0, 1))(state[b], x[b])
        assert (J[b] - J_auto).abs().max() <= 1e-12
        assert (J_inp[b] - J_inp_auto).abs().max() <= 1e-12
    assert torch.equal(cell.recurrent_jacobian(state, x), J)
    assert J.abs().max() > 0.1  # the comparison is not of zeros


@pytest.mark.parametrize("n", [7, 50])
@pytest.mark.parametrize("name", [*TORCH, *HAND])
def test_step_equals_the_module(name, n):
    cell, step = case(name, n)
    state, x = randn(B, cell.n_state, seed=7), randn(B, D, seed=8)
    expected = torch.stack([step(h, u) for h, u in zip(state, x, strict=True)]).detach()
    assert (cell(state, x) - expected).abs().max() <= 1e-12


@pytest.mark.parametrize("name", [*TORCH, *HAND])
def test_one_input_for_all_is_the_same_as_copies_of_it(name):
    cell, _ = case(name, 7)
    state, x = randn(B, cell.n_state, seed=7), randn(1, D, seed=8)
    one, copies = x.expand(B, D), x.repeat(B, 1)  # one row seen B times, B rows
    assert (cell(state, one) - cell(state, copies)).abs().max() <= 1e-14
    for J, J_copies in zip(cell.jacobians(state, one), cell.jacobians(state, copies), strict=True):
        assert J.shape == J_copies.shape
        assert (J - J_copies).abs().max() <= 1e-13


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", TORCH)
def test_step_equals_the_module_in_float32(name):
    kind, options = TORCH[name]
    module = torch_layer(kind, 50, torch.float32, **options)
    cell, step = as_cell(module), layer_step(module)
    assert cell.dtype == torch.float32
    state, x = randn(B, cell.n_state, seed=7).float(), randn(B, D, seed=8).float()
    expected = torch.stack([step(h, u) for h, u in zip(state, x, strict=True)]).detach()
    assert (cell(state, x) - expected).abs().max() <= 1e-6 * max(1, float(expected.abs().max()))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_torch_cells(kind):
    with seeded(1):
        module = kind(D, 9).double()
    cell = as_cell(module)
    state, x = randn(B, cell.n_state), randn(B, D, seed=1)
    if kind is nn.LSTMCell:
        expected = torch.cat(module(x, cell.unpack(state)), dim=1)
    else:
        expected = module(x, state)
    assert (cell(state, x) - expected).abs().max() <= 1e-12
    J = vmap(jacrev(lambda h, u: cell(h[None], u[None])[0]))(state, x)
    assert (cell.recurrent_jacobian(state, x) - J).abs().max() <= 1e-12


def test_trainable_modules_of_this_package():
    with seeded(2):
        modules = [
            UGRNNCell(D, 6, gate_bias=0.5),
            UGRNN(D, 6, gate_bias=0.5),
            RateNetwork(D, 6, tau=2.0, dt=0.3, form="potential"),
        ]
    state, x = randn(B, 6), randn(B, D, seed=1)
    for module in modules:
        module = module.double()
        cell = as_cell(module)
        if isinstance(module, UGRNNCell):
            expected = module(x, state)
        else:
            expected = module(x[None], state[None])[1][0]
        assert (cell(state, x) - expected).abs().max() <= 1e-12


def test_stack_reads_the_new_state_of_the_layer_below():
    module = torch_layer(nn.GRU, 6, num_layers=2)
    cell = as_cell(module)
    state, x = randn(B, 12), randn(B, D, seed=1)
    J = cell.recurrent_jacobian(state, x)
    assert torch.equal(J[:, :6, 6:], torch.zeros(B, 6, 6, dtype=F64))  # block lower triangular
    assert J[:, 6:, :6].abs().max() > 0.05
    below, above = (as_cell(module, layer=k) for k in (0, 1))
    first = below(state[:, :6], x)
    assert torch.equal(cell(state, x)[:, 6:], above(state[:, 6:], first))


def test_lstm_without_recurrent_weights_has_forget_gates_and_zeros_as_eigenvalues():
    H = 8
    cell = LSTMMap(randn(4 * H, D), torch.zeros(4 * H, H, dtype=F64), randn(4 * H, seed=1))
    state, x = randn(B, 2 * H, seed=2), randn(B, D, seed=3)
    forget = s(x @ cell.weight_ih[H : 2 * H].T + cell.bias[H : 2 * H])
    expected = torch.cat([torch.zeros(B, H, dtype=F64), forget.sort(dim=1)[0]], dim=1)
    values = torch.linalg.eigvals(cell.recurrent_jacobian(state, x))
    assert values.imag.abs().max() <= 1e-10
    assert (values.real.sort(dim=1)[0] - expected).abs().max() <= 1e-10


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_without_recurrent_weights_has_update_gates_as_eigenvalues(reset_after):
    N = 8
    bias = randn(3 * N, seed=1)
    cell = GRUMap(
        randn(3 * N, D), torch.zeros(3 * N, N, dtype=F64), bias, bias / 2, reset_after=reset_after
    )
    x = randn(B, D, seed=3)
    a = x @ cell.weight_ih.T + bias
    r, z = s(a[:, :N] + bias[:N] / 2), s(a[:, N : 2 * N] + bias[N : 2 * N] / 2)
    n = torch.tanh(a[:, 2 * N :] + (r if reset_after else 1) * bias[2 * N :] / 2)
    assert (cell(n, x) - n).abs().max() <= 1e-12  # the root is n
    values = torch.linalg.eigvals(cell.recurrent_jacobian(randn(B, N, seed=4), x))
    assert values.imag.abs().max() <= 1e-10
    assert (values.real.sort(dim=1)[0] - z.sort(dim=1)[0]).abs().max() <= 1e-10


def test_vanilla_without_recurrent_weights_forgets_at_once():
    cell = VanillaMap(randn(6, D), torch.zeros(6, 6, dtype=F64), randn(6, seed=1))
    J = cell.recurrent_jacobian(randn(B, 6), randn(B, D))
    assert torch.equal(torch.linalg.eigvals(J).abs(), torch.zeros(B, 6, dtype=F64))


@pytest.mark.parametrize("form", ["rate", "potential"])
@pytest.mark.parametrize("dt", [0.1, 0.05])
def test_euler_eigenvalues_are_one_plus_dt_times_those_of_the_field(form, dt):
    n = 10
    cell = RateMap(randn(n, D), randn(n, n, seed=1) / 3, randn(n, seed=2), 0.5, dt, form=form)
    state, x = randn(1, n), randn(1, D)
    A = jacrev(lambda v: cell.field(v[None], x)[0])(state[0])
    field = torch.linalg.eigvals(A)
    discrete = torch.linalg.eigvals(cell.recurrent_jacobian(state, x)[0])
    distance = (discrete[:, None] - (1 + dt * field)[None]).abs().min(dim=1)[0]
    assert distance.max() <= 1e-10


def test_jacobian_of_relu_at_zero_is_zero():
    cell = VanillaMap(randn(3, D), randn(3, 3), torch.zeros(3, dtype=F64), "relu")
    assert torch.equal(
        cell.recurrent_jacobian(torch.zeros(1, 3, dtype=F64), torch.zeros(1, D, dtype=F64)),
        torch.zeros(1, 3, 3, dtype=F64),
    )


@pytest.mark.parametrize("name", [*TORCH, *HAND])
def test_bounds_are_invariant(name):
    cell, _ = case(name, 7)
    if cell.bounds is None:
        assert "potential" in name or "linear" in name
        return
    low, high = cell.bounds
    spread = torch.nan_to_num(high, posinf=3.0), torch.nan_to_num(low, neginf=-3.0)
    u = torch.rand(500, cell.n_state, generator=generator(0), dtype=F64).round(decimals=0)
    state = spread[1] + u * (spread[0] - spread[1])  # corners of the box
    after = cell(state, 3 * randn(500, D, seed=1))
    assert bool(((after >= low) & (after <= high)).all())
