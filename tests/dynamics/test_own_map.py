"""The user's own cell: styles, dtypes, nested states, derivatives, refusals."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.core.seeds import generator, seeded
from tractable.dynamics.cells import as_cell
from tractable.dynamics.cells.nested import count, flatten, unflatten

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


def gru(n=6, d=3, dtype=F64):
    with seeded(5):
        return nn.GRUCell(d, n).to(dtype)


def gru_by_hand(module, dim):
    """The equations of nn.GRUCell as a plain function on vectors (dim=0) or batches (dim=1)."""
    W_ih, W_hh, b_ih, b_hh = (p.detach() for p in module.parameters())

    def function(h, x):
        i = W_ih @ x + b_ih if dim == 0 else x @ W_ih.T + b_ih
        v = W_hh @ h + b_hh if dim == 0 else h @ W_hh.T + b_hh
        (i_r, i_z, i_n), (h_r, h_z, h_n) = i.chunk(3, dim), v.chunk(3, dim)
        r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        return (1 - z) * torch.tanh(i_n + r * h_n) + z * h

    return function


@pytest.mark.parametrize(("dim", "style"), [(0, "single"), (1, "batch")])
def test_function_path_equals_the_built_in_path(dim, style):
    module = gru()
    built_in = as_cell(module)
    own = as_cell(gru_by_hand(module, dim), n_state=6, n_input=3)
    assert (own.style, own.derivative, own.dtype) == (style, "jacfwd", F64)
    state, x = randn(9, 6), randn(9, 3, seed=1)
    assert (own(state, x) - built_in(state, x)).abs().max() <= 1e-8
    for one, other in zip(own.jacobians(state, x), built_in.jacobians(state, x), strict=True):
        assert (one - other).abs().max() <= 1e-8
    difference = own.recurrent_jacobian(state, x) - built_in.recurrent_jacobian(state, x)
    assert difference.abs().max() <= 1e-8


def test_torch_module_called_by_a_function():
    module = gru()
    own = as_cell(lambda h, x: module(x, h), n_state=6, n_input=3)
    state, x = randn(9, 6), randn(9, 3, seed=1)
    J = own.recurrent_jacobian(state, x)
    assert not J.requires_grad
    assert (J - as_cell(module).recurrent_jacobian(state, x)).abs().max() <= 1e-12


def test_function_over_float32_weights_is_cast_around():
    module = gru(dtype=torch.float32)
    own = as_cell(lambda h, x: module(x, h), n_state=6, n_input=3)
    assert (own.dtype, own.inner_dtype) == (torch.float32, torch.float32)
    double = own.to(dtype=F64)
    assert (double.dtype, double.inner_dtype) == (F64, torch.float32)
    state, x = randn(9, 6), randn(9, 3, seed=1)
    exact = as_cell(module).to(dtype=F64)
    assert double(state, x).dtype == F64
    assert (double(state, x) - exact(state, x)).abs().max() <= 1e-6
    J = double.recurrent_jacobian(state, x)
    assert J.dtype == F64
    assert (J - exact.recurrent_jacobian(state, x)).abs().max() <= 1e-5


class ThreeParts(nn.Module):
    """A leaky pair with an adaptation variable: state (v, (w, trace)), by batches."""

    def __init__(self, d=3, n=4, m=2):
        super().__init__()
        self.drive = nn.Linear(d + m, n)
        self.adapt = nn.Linear(n, m)
        self.drop = nn.Dropout(0.5)

    def forward(self, state, x):
        v, (w, trace) = state
        v = 0.9 * v + 0.1 * torch.tanh(self.drop(self.drive(torch.cat([x, w], dim=-1))))
        w = torch.sigmoid(self.adapt(v)) * w + torch.tanh(trace[..., :2])
        return v, (w, 0.5 * trace + 0.5 * v[..., :3] * w[..., :1])


def test_nested_state_of_three_tensors():
    with seeded(0):
        module = ThreeParts().train()
    cell = as_cell(module, n_state=(4, (2, 3)), n_input=3).to(dtype=F64)
    assert cell.n_state == 9
    state, x = randn(7, 9), randn(7, 3, seed=1)
    v, (w, trace) = cell.unpack(state)
    assert (v.shape, w.shape, trace.shape) == ((7, 4), (7, 2), (7, 3))
    assert torch.equal(cell.pack(v, (w, trace)), state)
    double = ThreeParts().double().eval()
    double.load_state_dict(module.state_dict())
    new_v, (new_w, new_trace) = double((v, (w, trace)), x)
    expected = torch.cat([new_v, new_w, new_trace], dim=1)
    assert (cell(state, x) - expected).abs().max() <= 1e-12
    J, J_inp = cell.jacobians(state, x)
    eps = 1e-6
    for unit in range(9):
        bump = eps * torch.eye(9, dtype=F64)[unit]
        column = (cell(state + bump, x) - cell(state - bump, x)) / (2 * eps)
        assert (J[:, :, unit] - column).abs().max() <= 1e-8
    for unit in range(3):
        bump = eps * torch.eye(3, dtype=F64)[unit]
        column = (cell(state, x + bump) - cell(state, x - bump)) / (2 * eps)
        assert (J_inp[:, :, unit] - column).abs().max() <= 1e-8
    assert module.training
    assert module.drop.training
    assert next(module.parameters()).dtype == torch.float32


def test_parts_may_have_shapes_and_names():
    State = namedtuple("State", "image gain")

    def function(state, x):
        image = torch.tanh(state.image.transpose(-1, -2) * state.gain[..., None])
        return State(image + x.sum(-1)[..., None, None], 0.5 * state.gain)

    cell = as_cell(function, n_state=State(torch.Size([2, 2]), 1), n_input=2)
    state, x = randn(3, 5), randn(3, 2)
    image, gain = cell.unpack(state)
    assert image.shape == (3, 2, 2)
    assert torch.equal(cell.pack(image, gain), state)
    assert cell(state, x).shape == (3, 5)
    square = as_cell(lambda s, x: s.transpose(-1, -2) / 2, n_state=torch.Size([2, 2]), n_input=1)
    assert square.unpack(state[:, :4])[0].shape == (3, 2, 2)
    assert torch.equal(square.pack(*square.unpack(state[:, :4])), state[:, :4])


def test_method_of_a_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNNCell(3, 5)

        def advance(self, state, x):
            return self.rnn(x, state)

    net = Net()
    cell = as_cell(net.advance, n_state=5, n_input=3).to(dtype=F64)
    assert cell.inner_dtype == F64  # the module's copy is in float64
    assert net.rnn.weight_hh.dtype == torch.float32
    state, x = randn(2, 5), randn(2, 3)
    assert torch.allclose(cell(state, x), as_cell(net.rnn).to(dtype=F64)(state, x), atol=1e-12)


def test_vector_field():
    W = randn(4, 4) / 2
    own = as_cell(lambda v, x: -v + W @ torch.tanh(v) + x, n_state=4, n_input=4, continuous=True)
    assert own.dt == pytest.approx(0.1)
    slow = as_cell(
        lambda v, x: -v + torch.tanh(v) @ W.T + x,
        n_state=4,
        n_input=4,
        continuous=True,
        tau=2.0,
        dt=0.5,
    )
    state, x = randn(3, 4), randn(3, 4)
    f = -state + torch.tanh(state) @ W.T + x
    assert torch.allclose(own(state, x), state + 0.1 * f)
    assert torch.allclose(slow(state, x), state + 0.25 * f)
    A = -torch.eye(4, dtype=F64) + W * (1 - torch.tanh(state) ** 2)[:, None, :]
    J = slow.recurrent_jacobian(state, x)
    assert torch.allclose(J, torch.eye(4, dtype=F64) + 0.25 * A, atol=1e-14)
    step = as_cell(lambda v, x: v + 0.5 * (x - v), n_state=4, n_input=4, dt=0.5)
    assert step.dt == 0.5
    assert torch.equal(step(state, x), state + 0.5 * (x - state))


def test_given_jacobians_bounds_and_readout():
    W = randn(4, 4) / 2

    def jacobians(state, x):
        slope = 1 - torch.tanh(state @ W.T + x) ** 2
        return slope[..., None] * W, torch.diag_embed(slope)

    cell = as_cell(
        lambda h, x: torch.tanh(h @ W.T + x),
        n_state=4,
        n_input=4,
        jacobians=jacobians,
        bounds=(-1.0, 1.0),
        readout_slice=slice(0, 2),
    )
    plain = as_cell(lambda h, x: torch.tanh(h @ W.T + x), n_state=4, n_input=4)
    assert cell.derivative == "given"
    state, x = randn(3, 4), randn(3, 4)
    for one, other in zip(cell.jacobians(state, x), plain.jacobians(state, x), strict=True):
        assert torch.allclose(one, other, atol=1e-14)
    assert cell.bounds[1].tolist() == [1.0] * 4
    assert cell.to(dtype=torch.float32).bounds[0].dtype == torch.float32
    assert cell.readout_slice == slice(0, 2)
    with pytest.raises(ValueError, match="lower <= upper"):
        as_cell(lambda h, x: h, n_state=4, n_input=4, bounds=(1.0, -1.0))


def test_reverse_mode_where_forward_mode_is_missing():
    class Cube(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(a):
            return a**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx, grad):
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    cell = as_cell(lambda h, x: Cube.apply(h) + x, n_state=3, n_input=3)
    assert cell.derivative == "jacrev"
    state, x = randn(4, 3), randn(4, 3)
    assert torch.allclose(cell.recurrent_jacobian(state, x), torch.diag_embed(3 * state**2))


def test_backward_where_torch_func_is_impossible():
    class Old(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a**3

        @staticmethod
        def backward(ctx, grad):
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    cell = as_cell(lambda h, x: Old.apply(h) + 2 * x, n_state=3, n_input=3)
    assert cell.derivative == "backward"
    state, x = randn(4, 3), randn(4, 3)
    with torch.no_grad():
        J, J_inp = cell.jacobians(state, x)
    assert torch.allclose(J, torch.diag_embed(3 * state**2))
    assert torch.allclose(J_inp, 2 * torch.eye(3, dtype=F64).expand(4, 3, 3))


def test_control_flow_runs_in_a_loop():
    def function(h, x):
        return 0.5 * h + x if float(h.sum()) > 0 else -0.5 * h + x

    cell = as_cell(function, n_state=3, n_input=3)
    assert cell.style == "loop"
    state, x = randn(6, 3), randn(6, 3)
    sign = torch.where(state.sum(dim=1) > 0, 0.5, -0.5)[:, None]
    assert torch.allclose(cell(state, x), sign * state + x)
    J = cell.recurrent_jacobian(state, x)
    assert torch.allclose(J, torch.diag_embed(sign.expand(6, 3).to(F64)))


def test_numpy_runs_but_has_no_jacobian():
    def function(h, x):
        return torch.from_numpy(np.tanh(h.numpy() + x.numpy()))

    cell = as_cell(function, n_state=3, n_input=3)
    assert cell(randn(2, 3), randn(2, 3)).shape == (2, 3)
    with pytest.raises(TypeError, match="jacobians="):
        cell.recurrent_jacobian(randn(2, 3), randn(2, 3))


def test_surrogate_or_detached_gradients_warn():
    with pytest.warns(TractableWarning, match="finite differences"):
        as_cell(lambda h, x: 0.5 * h + torch.sin(3 * h).detach() + x, n_state=3, n_input=3)


def test_wide_cells_are_differentiated_in_chunks(monkeypatch):
    W = randn(8, 8) / 3
    cell = as_cell(lambda h, x: torch.tanh(h @ W.T + x), n_state=8, n_input=8)
    state, x = randn(30, 8), randn(30, 8)
    whole = cell.jacobians(state, x)
    monkeypatch.setattr("tractable.dynamics.cells.own_map.JACOBIAN_BYTES", 8 * 8 * 16 * 8 * 4)
    for one, other in zip(cell.jacobians(state, x), whole, strict=True):
        assert (one - other).abs().max() <= 1e-12


def test_without_input():
    cell = as_cell(lambda h, x: h / 2, n_state=3, n_input=0)
    J, J_inp = cell.jacobians(randn(2, 3), randn(2, 0))
    assert torch.equal(J, torch.eye(3, dtype=F64).expand(2, 3, 3) / 2)
    assert J_inp.shape == (2, 3, 0)


def test_stochastic_cells_are_refused():
    drop = nn.functional.dropout
    with pytest.raises(ValueError, match="stochastic"):
        as_cell(lambda h, x: drop(h + 1, 0.5), n_state=20, n_input=3)
    with pytest.raises(ValueError, match="stochastic"):
        as_cell(lambda h, x: h + torch.rand(h.shape, dtype=h.dtype), n_state=2, n_input=3)

    class Stateful(nn.Module):
        calls = 0

        def forward(self, state, x):
            self.calls += 1
            return state + self.calls

    with pytest.raises(ValueError, match="state of its own"):
        as_cell(Stateful(), n_state=2, n_input=3)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"must have shape .* got .*4"):
        as_cell(lambda h, x: torch.cat([h, h[..., :1]], -1), n_state=3, n_input=2)
    with pytest.raises(ValueError, match="next state alone"):
        as_cell(lambda h, x: (h, h), n_state=3, n_input=2)
    with pytest.raises(ValueError, match="tuple of 2 parts"):
        as_cell(lambda h, x: h[0], n_state=(3, 2), n_input=2)
    with pytest.raises(ValueError, match="takes 1 positional"):
        as_cell(lambda h: h, n_state=3, n_input=2)
    with pytest.raises(ValueError, match=r"seems to take \(x, state\)"):  # as torch's cells
        as_cell(lambda x, h: nn.RNNCell(3, 5)(x, h), n_state=5, n_input=3)


def test_nan_and_mixing_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        as_cell(lambda h, x: h * torch.nan, n_state=3, n_input=2)
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"weight must be finite, got 1 of 9"):
        as_cell(nn.Sequential(linear), n_state=3, n_input=3)
    with pytest.raises(ValueError, match="mixes the samples"):
        as_cell(lambda h, x: h[:, :] - h.mean(0), n_state=3, n_input=2)
    with pytest.raises(ValueError, match="pass continuous=True"):
        as_cell(lambda h, x: h, n_state=3, n_input=2, tau=1.0)
    with pytest.raises(ValueError, match="dt must be > 0"):
        as_cell(lambda h, x: h, n_state=3, n_input=2, dt=0.0)


def test_nested_helpers_round_trip_and_refuse():
    template = (2, [1, (3, torch.Size([2, 2]))])
    state = randn(5, count(template))
    value = unflatten(state, template)
    assert isinstance(value[1], list)
    assert torch.equal(flatten(value, template, torch.Size([5])), state)
    assert torch.equal(flatten(unflatten(state[0], template), template, torch.Size([])), state[0])
    for wrong in (0, (2, 0)):
        with pytest.raises(ValueError, match=">= 1"):
            count(wrong)
    for wrong in (2.0, (2, "3"), True):
        with pytest.raises(TypeError, match="n_state"):
            count(wrong)
