"""Periodic inputs: orbits, their multipliers and time constants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics import as_cell, collect_states, continue_points, find_points, periodic_map

F64 = torch.float64


def gru(n: int = 6, d: int = 2) -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(d, n).double()


def test_jacobians_are_products_and_equal_automatic_differentiation() -> None:
    inputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    periodic = periodic_map(gru(), inputs)
    h = 0.3 * torch.randn(3, 6, generator=torch.Generator().manual_seed(2), dtype=F64)
    x = 0.1 * torch.ones(3, 2, dtype=F64)
    J, J_in = periodic.jacobians(h, x)
    step = torch.func.vmap(torch.func.jacrev(lambda a, b: periodic(a[None], b[None])[0], (0, 1)))
    auto, auto_in = step(h, x)
    torch.testing.assert_close(J, auto, rtol=0, atol=1e-12)
    torch.testing.assert_close(J_in, auto_in, rtol=0, atol=1e-12)
    torch.testing.assert_close(periodic.recurrent_jacobian(h, x), J)
    torch.testing.assert_close(periodic.orbit(h, x)[:, -1], periodic(h, x))


def test_a_fixed_point_is_where_the_driven_network_settles() -> None:
    module = gru()
    inputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    points = find_points(periodic_map(module, inputs), torch.zeros(8, 6, dtype=F64))
    driven = collect_states(module, inputs.repeat(200, 1)[None])
    assert len(points) == 1
    torch.testing.assert_close(points.state[0], driven.states[0, -1], rtol=0, atol=1e-9)
    assert points.index_sum == 1


def test_period_one_is_the_constant_input() -> None:
    module = gru()
    x = torch.tensor([[0.4, -0.2]], dtype=F64)
    starts = torch.zeros(1, 6, dtype=F64)
    one, other = find_points(periodic_map(module, x), starts), find_points(module, starts, x[0])
    torch.testing.assert_close(one.state, other.state, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.modes().tau, other.modes().tau)


def test_times_are_per_step_of_the_network() -> None:
    """Eigenvalues of a period are those of a step to the power p: lambda^(1/p) has the tau."""
    A = torch.tensor([[0.9, 0.3], [-0.3, 0.9]], dtype=F64) * 0.95
    cell = as_cell(lambda h, x: h @ A.T + x, n_state=2, n_input=2)
    inputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    modes = find_points(periodic_map(cell, inputs), torch.zeros(1, 2)).modes()
    single = find_points(cell, torch.zeros(1, 2)).modes()
    torch.testing.assert_close(modes.tau, single.tau)
    torch.testing.assert_close(modes.freq, single.freq)  # 3 steps turn by less than half a circle
    np.testing.assert_allclose(modes.eigvals.abs(), single.eigvals.abs() ** 3)


def test_a_branch_of_orbits() -> None:
    cell = as_cell(lambda h, x: torch.tanh(0.5 * h + x), n_state=1, n_input=1)
    periodic = periodic_map(cell, torch.tensor([[1.0], [-1.0]]))
    start = find_points(periodic, torch.zeros(1, 1))
    branches = continue_points(periodic, start, torch.tensor([[0.0], [0.5]]))
    assert branches.ended == ("end of the path",)
    moved = find_points(periodic, start.state, torch.tensor([0.5]))
    np.testing.assert_allclose(branches.state[-1], moved.state[0], atol=1e-10)


def test_parts_box_and_copies() -> None:
    lstm = nn.LSTM(2, 3)
    periodic = periodic_map(lstm, torch.zeros(2, 2))
    assert periodic.readout_slice == slice(0, 3)
    assert periodic.bounds is not None
    state = torch.arange(6.0)[None]
    assert torch.equal(periodic.pack(*periodic.unpack(state)), state)
    assert periodic.to(dtype=F64).inputs.dtype == F64
    assert periodic.dt == 2.0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 2), "at least one step"),
        (torch.zeros(3, 5), "inputs must have shape"),
        (torch.full((1, 2), math.nan), "inputs must be finite"),
    ],
)
def test_refused(inputs: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        periodic_map(gru(), inputs)
