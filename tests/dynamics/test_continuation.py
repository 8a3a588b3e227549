"""Branches of fixed points: folds, changes of stability, ends, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tractable.dynamics import (
    Branches,
    as_cell,
    continue_points,
    find_points,
    input_sensitivity,
)

F64 = torch.float64


def bistable() -> object:
    return as_cell(lambda h, x: torch.tanh(2 * h + x), n_state=1, n_input=1)


def path(*corners: float) -> torch.Tensor:
    return torch.tensor(corners, dtype=F64)[:, None]


def test_one_branch_joins_both_folds() -> None:
    branches = continue_points(bistable(), torch.tensor([[-0.99]]), path(-1.0, 1.0))
    s = math.sqrt(0.5)
    fold = 2 * s - math.atanh(s)  # 0.5328399754
    assert branches.event_kind.tolist() == ["fold", "fold"]
    np.testing.assert_allclose(branches.event_x_star[:, 0], [fold, -fold], atol=1e-8)
    np.testing.assert_allclose(branches.event_state[:, 0], [-s, s], atol=1e-4)
    assert branches.ended == ("end of the path",)
    # stable, unstable between the folds, stable again
    changes = branches.n_unstable[np.insert(np.diff(branches.n_unstable) != 0, 0, True)]
    assert changes.tolist() == [0, 1, 0]
    state, x = branches.state[:, 0], branches.x_star[:, 0]
    np.testing.assert_allclose(np.tanh(2 * state + x), state, atol=1e-11)


@pytest.mark.parametrize("eigenvalue", [0.995, 1.005])
def test_unstable_modes_are_counted_from_the_unit_circle_on(eigenvalue: float) -> None:
    # at a fixed point of h' = tanh(2 h + x) the eigenvalue is 2 (1 - h^2)
    h = -math.sqrt(1 - eigenvalue / 2)
    x = math.atanh(h) - 2 * h
    branches = continue_points(bistable(), torch.tensor([[h]], dtype=F64), path(x, x - 0.1))
    assert branches.state[0, 0] == pytest.approx(h, abs=1e-9)
    assert branches.n_unstable[0] == (eigenvalue > 1)


def test_corners_of_the_path_are_passed() -> None:
    branches = continue_points(bistable(), torch.tensor([[-0.95]]), path(0.0, 0.4, -0.4))
    assert branches.ended == ("end of the path",)
    assert branches.event_kind.tolist() == []
    assert branches.s[0] == 0.0
    assert branches.s[-1] == 2.0
    assert branches.x_star.max() == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        ("flip", [[-1.0]]),
        ("real", [[1.0]]),
        ("pair", [[0.6, -0.8], [0.8, 0.6]]),
    ],
)
def test_changes_of_stability_without_a_fold(kind: str, matrix: list[list[float]]) -> None:
    A = torch.tensor(matrix, dtype=F64)
    n = len(A)
    cell = as_cell(lambda h, x: torch.tanh((1 + x) * (h @ A.T)), n_state=n, n_input=1)
    branches = continue_points(cell, torch.zeros(1, n), path(-0.5, 0.5))
    assert branches.event_kind.tolist() == [kind]
    np.testing.assert_allclose(branches.event_x_star, 0.0, atol=1e-6)
    np.testing.assert_allclose(branches.event_state, 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("gains", "slopes", "kinds", "where"),
    [
        ((0.9, 1.105), (1.0, -1.0), ["real", "real"], [0.1, 0.105]),  # one goes out, one comes in
        ((0.9, -0.89), (1.0, -1.0), ["real", "flip"], [0.1, 0.11]),
        ((-0.9, -1.1001), (-1.0, 1.0), ["flip", "flip"], [0.1, 0.1001]),
        ((0.9, 0.9), (1.0, 1.0), ["real"], [0.1]),  # at one place: one event
    ],
)
def test_events_close_together_are_told_apart(
    gains: tuple[float, ...], slopes: tuple[float, ...], kinds: list[str], where: list[float]
) -> None:
    # CLOSED FORM: units that do not meet, h' = tanh(h) (gain + slope x), beside each other
    gain, slope = (torch.tensor(values, dtype=F64) for values in (gains, slopes))
    draw = torch.randn(2, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(draw)[0]
    cell = as_cell(
        lambda h, x: (torch.tanh(h @ turn) * (gain + slope * x)) @ turn.T, n_state=2, n_input=1
    )
    branches = continue_points(cell, torch.zeros(1, 2), path(0.0, 1.0))
    assert branches.event_kind.tolist() == kinds
    np.testing.assert_allclose(branches.event_s, where, atol=1e-8)


def test_sensitivity_and_branch_of_a_linear_cell() -> None:
    draw = torch.Generator().manual_seed(0)
    A = torch.randn(40, 40, generator=draw, dtype=F64)
    A *= 0.9 / torch.linalg.eigvals(A).abs().max()
    B = torch.randn(40, 3, generator=draw, dtype=F64)
    cell = as_cell(lambda h, x: h @ A.T + x @ B.T, n_state=40, n_input=3)
    exact = torch.linalg.solve(torch.eye(40, dtype=F64) - A, B)
    slope = input_sensitivity(find_points(cell, torch.zeros(1, 40)))
    torch.testing.assert_close(slope[0], exact, rtol=0, atol=1e-9)
    end = torch.tensor([1.0, -2.0, 0.5], dtype=F64)
    branches = continue_points(cell, torch.zeros(1, 40), torch.stack([torch.zeros(3), end]))
    np.testing.assert_allclose(branches.state[-1], exact @ end, atol=1e-9)
    assert len(branches.event_s) == 0


def test_no_point_and_no_fixed_point() -> None:
    empty = continue_points(bistable(), torch.zeros(0, 1), path(0.0, 1.0))
    assert len(empty) == 0
    assert empty.s.shape == (0,)
    shift = as_cell(lambda h, x: h + 1 + 0 * x, n_state=1, n_input=1)
    lost = continue_points(shift, torch.zeros(1, 1), path(0.0, 1.0))
    assert lost.ended[0].startswith("lost: no fixed point at the start")


def test_most_steps_and_dataset() -> None:
    points = find_points(bistable(), torch.linspace(-1, 1, 7)[:, None])
    short = continue_points(bistable(), points, path(0.0, 1.0), max_steps=2)
    assert set(short.ended) == {"most steps"}
    again = Branches.from_dataset(short.to_dataset())
    assert again.ended == short.ended
    np.testing.assert_array_equal(again.state, short.state)
    assert "3 branches" in repr(short)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": 0.0}, "step"),
        ({"max_steps": 0}, "max_steps"),
        ({"x_path": torch.zeros(1, 1)}, "x_path must have two corners"),
        ({"x_path": torch.zeros(2, 1)}, "different from the one before"),
        ({"x_path": torch.zeros(2, 3)}, "x_path must have shape"),
        ({"x_path": torch.tensor([[0.0], [math.nan]])}, "x_path must be finite"),
        ({"points": torch.zeros(1, 2)}, "points must have shape"),
        ({"points": torch.full((1, 1), math.nan)}, "points must be finite"),
    ],
)
def test_refused(changed: dict[str, object], message: str) -> None:
    given = {"points": torch.zeros(1, 1), "x_path": path(0.0, 1.0), **changed}
    with pytest.raises(ValueError, match=message):
        continue_points(bistable(), **given)
