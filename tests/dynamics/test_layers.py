"""Stacks layer by layer, and the slowest modes of networks too large for their Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics import arnoldi, as_cell, find_points, layer_points, slowest_modes

F64 = torch.float64


def bistable_stack() -> nn.RNN:
    """Two layers of one bistable unit each; the second is biased by the first."""
    stack = nn.RNN(1, 1, num_layers=2, bias=False).double()
    with torch.no_grad():
        for name, value in (("weight_hh_l0", 2.0), ("weight_hh_l1", 2.0), ("weight_ih_l1", 0.1)):
            getattr(stack, name).fill_(value)
    return stack


def test_layers_at_rest_are_the_points_of_the_stack() -> None:
    starts = torch.cartesian_prod(*[torch.linspace(-1, 1, 7, dtype=F64)] * 2)
    stack = bistable_stack()
    below, above = layer_points(stack, starts)
    whole = find_points(stack, starts)
    assert len(below) == 3
    assert len(whole) == len(above) == 9
    chain = torch.cat([above.x_star, above.state], 1)
    assert torch.cdist(whole.state, chain).amin(1).max() < 1e-9


def test_an_lstm_hands_up_h_and_not_c() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(2, 3, num_layers=2).double()
    below, above = layer_points(lstm, 0.1 * torch.randn(16, 12, dtype=F64))
    torch.testing.assert_close(above.x_star, below.state[:, :3])


def test_one_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="stack of layers, got GRU"):
        layer_points(nn.GRU(1, 2), torch.zeros(1, 2))


def test_slowest_modes_are_those_of_the_matrix() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(2, 60).double()
    state = 0.5 * torch.randn(3, 60, dtype=F64)
    cell = as_cell(gru)
    few = slowest_modes(gru, state, 5)
    from tractable.dynamics import decompose

    J = cell.recurrent_jacobian(state, torch.zeros(3, 2, dtype=F64))
    all_modes = decompose(J)
    k = few.eigvals.shape[1]
    np.testing.assert_allclose(few.tau, all_modes.tau[:, :k], rtol=1e-8)
    eye = torch.eye(k, dtype=few.left.dtype)
    torch.testing.assert_close(few.left @ few.right, eye.expand(3, k, k), atol=1e-8, rtol=0)
    residual = J.to(few.right.dtype) @ few.right - few.right * few.eigvals[:, None]
    assert residual.abs().max() < 1e-8
    # the same invariant subspace, left and right
    torch.testing.assert_close(few.projector(k), all_modes.projector(k), atol=1e-7, rtol=0)


def test_a_pair_at_the_end_of_the_slowest_modes_stays_whole() -> None:
    turn = 0.95 * torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=F64)
    J = torch.block_diag(turn, 0.5 * torch.eye(18, dtype=F64))
    cell = as_cell(lambda h, x: h @ J.T, n_state=20, n_input=1)
    modes = slowest_modes(cell, torch.zeros(1, 20, dtype=F64), 1)
    assert modes.eigvals.shape == (1, 2)
    np.testing.assert_allclose(modes.eigvals[0], [0.57 + 0.76j, 0.57 - 0.76j], atol=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_modes_of_one_modulus_are_found_without_thousands_of_products(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # INDEPENDENT: numpy's eigenvalues; iteration alone finds none of them, whatever its length
    n, calls = 120, []
    draw = torch.randn(n, n, dtype=F64, generator=torch.Generator().manual_seed(0))
    rnn = nn.RNN(1, n, bias=False).double()
    rnn.weight_hh_l0.data = weight = 0.95 * torch.linalg.qr(draw)[0]
    cell = as_cell(lambda h, x: (h @ weight.T).tanh(), n_state=n, n_input=1) if own else rnn
    whole = arnoldi.products

    def counted(*args: Any) -> Any:
        at = whole(*args)
        assert (at.matrix is None) == own
        return at._replace(forward=lambda v: [calls.append(0), at.forward(v)][1])

    monkeypatch.setattr(arnoldi, "products", counted)
    modes = slowest_modes(cell, torch.zeros(1, n, dtype=F64), 6)
    assert len(calls) < 1100
    assert modes.eigvals.shape[1] >= 6
    every = np.linalg.eigvals(weight.numpy())
    nearest = np.abs(modes.eigvals[0].numpy()[:, None] - every).min(axis=1)
    assert nearest.max() < 1e-12
    error = modes.left @ weight.to(torch.complex128) - modes.eigvals[..., None] * modes.left
    assert error.abs().max() < 1e-12
    assert ((modes.eigvals.imag > 0).sum(), (modes.eigvals.imag != 0).sum() % 2) == (3, 0)


def test_a_copy_of_an_own_cell_forms_no_jacobian(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = as_cell(lambda h, x: (2 * h).tanh(), n_state=60, n_input=1)
    monkeypatch.setattr(type(cell), "_differentiate", lambda *_: pytest.fail("a Jacobian"))
    copy = cell.to(dtype=torch.float32)
    assert (copy.dtype, copy.derivative) == (torch.float32, cell.derivative)
    assert slowest_modes(cell, 0.1 * torch.ones(1, 60), 2).tau.shape == (1, 2)


def test_a_network_without_recurrence_forgets_at_once() -> None:
    gru, rnn = nn.GRU(1, 30, bias=False).double(), nn.RNN(1, 30).double()
    for module in (gru, rnn):
        module.weight_hh_l0.data.zero_()
    zero = torch.zeros(2, 30, dtype=F64)
    modes = slowest_modes(rnn, zero, 3)
    assert torch.equal(modes.tau, torch.zeros(2, 3, dtype=F64))
    torch.testing.assert_close(
        modes.left @ modes.right, torch.eye(3).expand(2, 3, 3).to(modes.left)
    )
    torch.testing.assert_close(slowest_modes(gru, zero, 3).eigvals.abs(), 0.5 + zero[:, :3])


def test_large_networks_need_no_jacobian() -> None:
    torch.manual_seed(0)
    rnn = nn.RNN(1, 2000, bias=False)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(0.01)
        for unit, value in enumerate((0.97, -0.9, 0.8, 0.7)):
            rnn.weight_hh_l0[unit] = 0
            rnn.weight_hh_l0[unit, unit] = value
    modes = slowest_modes(rnn, torch.zeros(1, 2000), 2)
    assert modes.eigvals[0, 0].real == pytest.approx(0.97, abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"k": 0}, "k must"), ({"k": 8}, "k must"), ({"states": torch.zeros(1, 5)}, "states must")],
)
def test_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slowest_modes(nn.GRU(2, 8), **{"states": torch.zeros(1, 8), **changed})
