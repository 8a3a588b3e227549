"""Stacks layer by layer, and the slowest modes of networks too large for their Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics import as_cell, find_points, layer_points, slowest_modes

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
