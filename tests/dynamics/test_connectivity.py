"""Where the network falls from beside its unstable points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tractable.dynamics import Connectivity, as_cell, connectivity, find_points
from tractable.dynamics.connectivity import _pushes
from tractable.dynamics.tasks import block_memory, cube_counts, flip_flop

F64 = torch.float64


def test_edges_of_a_cube() -> None:
    memory = block_memory((4, 6, 5), (2.0, 1.8, 2.2), n_starts=512)
    points = find_points(memory.cell, memory.starts)
    graph = connectivity(memory.cell, points)
    assert np.bincount(graph.n_unstable).tolist() == cube_counts(3)
    bits = (points.state @ memory.decoder.T > 0).numpy()
    for saddle in np.flatnonzero(graph.n_unstable == 1):
        one, other = graph.targets(int(saddle))
        assert (bits[one] != bits[other]).sum() == 1
    assert (graph.target >= 0).all()
    assert len(graph) == 2 * graph.n_unstable.sum()


def test_a_limit_cycle_is_no_point() -> None:
    angle = 0.5
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=F64
    )
    cell = as_cell(lambda h, x: torch.tanh(1.5 * h @ turn.T), n_state=2, n_input=1)
    points = find_points(cell, torch.zeros(1, 2))
    graph = connectivity(cell, points, n_steps=200)
    assert len(graph) == 4  # both ways along the two axes of the pair
    assert (graph.target == -1).all()
    assert (graph.n_steps == 200).all()


def test_runs_start_at_the_same_distance_along_every_unstable_direction() -> None:
    # a pair at 1.1 exp(0.6 i) of a strongly sheared rotation, and a real mode at 1.2
    turn = 1.1 * torch.tensor([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    shear = torch.tensor([[1.0, 5.0], [0.0, 1.0]], dtype=F64)
    J = torch.block_diag(
        shear @ turn.to(F64) @ torch.linalg.inv(shear), torch.tensor([[1.2]]).to(F64)
    )
    cell = as_cell(lambda h, x: h @ J.T, n_state=3, n_input=1)
    first, source, mode, sign, count = _pushes(
        cell, torch.zeros(1, 3, dtype=F64), torch.zeros(1, 1, dtype=F64), 0.01
    )
    assert count.tolist() == [3]
    assert sorted(zip(mode.tolist(), sign.tolist(), strict=True)) == [
        (a, s) for a in range(3) for s in (-1, 1)
    ]
    np.testing.assert_allclose(first.norm(dim=1), 0.01, rtol=1e-12)
    assert source.tolist() == [0] * 6


def test_only_points_of_the_same_input_are_ends() -> None:
    cell = as_cell(lambda h, x: torch.tanh(2 * h + x), n_state=1, n_input=1)
    starts = torch.linspace(-1, 1, 9)[:, None]
    one = find_points(cell, starts)
    other = find_points(cell, starts, torch.tensor([0.1]))
    both = one.concatenate(other)
    graph = connectivity(cell, both)
    for source, target in graph.edges():
        assert torch.equal(both.x_star[source], both.x_star[target])
    assert len(graph.edges()) == 4


def test_a_run_that_has_not_left_ends_nowhere() -> None:
    # CLOSED FORM: h' = 1.001 h - h^3 grows by e in 1,000 steps and rests at 0.03
    cell = as_cell(lambda h, x: 1.001 * h - h**3, n_state=1, n_input=1)
    points = find_points(cell, torch.linspace(-0.06, 0.06, 9, dtype=torch.float64)[:, None])
    assert connectivity(cell, points).edges() == []
    assert connectivity(cell, points, eps=0.9, n_steps=3000).edges() == [(1, 0), (1, 2)]


def test_stable_points_lead_nowhere_and_dataset_returns() -> None:
    cell = as_cell(lambda h, x: 0.5 * h + x, n_state=2, n_input=2)
    points = find_points(cell, torch.zeros(1, 2))
    graph = connectivity(cell, points)
    assert graph.edges() == []
    assert len(connectivity(cell, points[[]])) == 0
    memory = block_memory((3,), (2.0,), n_starts=64)
    found = connectivity(memory.cell, find_points(memory.cell, memory.starts))
    again = Connectivity.from_dataset(found.to_dataset())
    assert again.edges() == found.edges()
    assert "1 points" in repr(found)


@pytest.mark.parametrize("changed", [{"eps": 0.0}, {"n_steps": 0}])
def test_refused(changed: dict[str, float]) -> None:
    cell = as_cell(lambda h, x: 0.5 * h + x, n_state=2, n_input=2)
    points = find_points(cell, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=next(iter(changed))):
        connectivity(cell, points, **changed)
    with pytest.raises(ValueError, match="units"):
        connectivity(as_cell(lambda h, x: h / 2, n_state=3, n_input=2), points)


def test_flip_flop_holds_the_last_pulse() -> None:
    inputs, targets = flip_flop(5, 20, 3, seed=4)
    held = torch.zeros(5, 3)
    for t in range(20):
        held = torch.where(inputs[:, t] != 0, inputs[:, t], held)
        assert torch.equal(targets[:, t], held)
    assert (inputs[:, 0] != 0).all()
    silent, open_memory = flip_flop(50, 4, 1, p=0.0, first_pulse=False)
    assert not silent.any()
    assert not open_memory.any()
    assert torch.equal(flip_flop(2, 5, seed=1)[0], flip_flop(2, 5, seed=1)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flip_flop(0, 5), "n must be"),
        (lambda: flip_flop(1, 5, p=1.5), "p must be"),
        (lambda: block_memory((3,), (0.5,)), "gains"),
        (lambda: block_memory((3, 4), (2.0,)), "one number for each bit"),
        (lambda: cube_counts(0), "n_bits"),
    ],
)
def test_tasks_refuse(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
