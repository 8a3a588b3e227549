import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics.ablation import Ablation, ablate, ablate_modes
from tractable.dynamics.cells import as_cell
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.states import collect_states

H, D, P, B, T = 14, 3, 6, 10, 9


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def gru():
    torch.manual_seed(3)
    cell = as_cell(nn.GRU(D, H)).to(dtype=torch.float64)
    trajectory = collect_states(
        cell, random(B, T, D), [T, 4, 1, T, 7, 0, T, T, 2, 5], progress=False
    )
    points = PointSet.from_states(cell, trajectory.valid[:P])
    return cell, trajectory, points, points.modes()


def test_every_state_loses_the_mode_of_its_nearest_point(gru):
    _, trajectory, points, modes = gru
    state = trajectory.valid
    without = ablate_modes(state, points, modes, [0, 3])
    for before, after in zip(state, without, strict=True):
        p = int((points.state - before).norm(dim=1).argmin())
        projector = modes.projector([0, 3])[p]
        expected = before - projector @ (before - points.state[p])
        torch.testing.assert_close(after, expected)
    twice = ablate_modes(without, points, modes, [0, 3], point=2)
    again = ablate_modes(twice, points, modes, [0, 3], point=2)
    torch.testing.assert_close(again, twice)


def test_all_modes_leave_the_point_and_none_leaves_the_state(gru):
    _, trajectory, points, modes = gru
    state = trajectory.valid
    torch.testing.assert_close(
        ablate_modes(state, points, modes, H, point=1), points.state[1].expand_as(state)
    )
    assert torch.equal(ablate_modes(state, points, modes, []), state)


def test_run_against_a_loop(gru):
    cell, trajectory, points, modes = gru
    weight = random(H, seed=1)
    result = ablate(cell, trajectory, points, 2, [1, 4], (weight, 0.5), n_controls=2)
    kept = [b for b in range(B) if trajectory.mask[b].any()]
    assert result.ablated.shape == result.logit.shape == (len(kept),)
    for i, b in enumerate(kept):
        h = trajectory.initial[b : b + 1]
        for t in range(int(trajectory.lengths[b])):
            h = cell(h, trajectory.inputs[b : b + 1, t])
            if t in (1, 4):
                h = ablate_modes(h, points, modes, 2)
        assert result.ablated[i] == pytest.approx((h[0] @ weight).item() + 0.5)
    np.testing.assert_allclose(result.logit, trajectory.last[kept] @ weight + 0.5)
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[:, [1, 4]] = True
    by_mask = ablate(cell, trajectory, points, [0, 1], mask, (weight, 0.5), n_controls=0)
    np.testing.assert_allclose(by_mask.ablated, result.ablated)
    assert math.isnan(by_mask.control_change)


def test_given_point_and_given_modes_change_nothing_else(gru):
    cell, trajectory, points, modes = gru
    one = ablate(cell, trajectory, points, 1, 3, torch.ones(H), point=4)
    two = ablate(cell, trajectory, points, 1, 3, torch.ones(H), point=4, modes=modes)
    three = ablate(cell, trajectory, points[4], 1, 3, torch.ones(H))
    np.testing.assert_allclose(one.ablated, two.ablated)
    np.testing.assert_allclose(one.ablated, three.ablated)
    np.testing.assert_allclose(one.control, two.control)


def test_memory_of_an_integrator_is_its_mode_and_controls_do_nothing():
    A = torch.diag(torch.tensor([1.0, 0.9, 0.5, 0.1])).double()
    cell = as_cell(lambda h, x: A @ h + x, n_state=4, n_input=4).to(dtype=torch.float64)
    trajectory = collect_states(cell, random(6, 8, 4), progress=False)
    points = PointSet.from_states(cell, torch.zeros(1, 4))
    labels = trajectory.last[:, 0] > 0
    readout = torch.tensor([1.0, 0, 0, 0])
    result = ablate(cell, trajectory, points, [0], 7, readout, labels=labels)
    np.testing.assert_allclose(result.ablated, 0.0, atol=1e-12)
    assert result.change == pytest.approx(trajectory.last[:, 0].abs().mean().item())
    assert result.control.shape == (8, 6)
    assert result.control_change == pytest.approx(0.0, abs=1e-12)
    assert result.accuracy[0] == result.accuracy[2] == 1.0
    first = torch.Generator().manual_seed(5)
    second = torch.Generator().manual_seed(5)
    same = [
        ablate(cell, trajectory, points, 1, 3, torch.ones(4), generator=g) for g in (first, second)
    ]
    np.testing.assert_array_equal(same[0].control, same[1].control)
    again = Ablation.from_dataset(result.to_dataset())
    assert again.accuracy == result.accuracy


def test_controls_spare_the_partner_of_the_mode_and_remove_as_much():
    # CLOSED FORM: the readout sees one plane; no control may touch it, whichever member is named
    turn = 0.99 * torch.tensor([[0.8, -0.6], [0.6, 0.8]]).double()
    A = torch.block_diag(turn, 0.3 * turn, torch.diag(torch.tensor([0.5, 0.4]).double()))
    cell = as_cell(lambda h, x: h @ A.T + x, n_state=6, n_input=6)
    trajectory = collect_states(cell, random(5, 8, 6), progress=False)
    points = PointSet.from_states(cell, torch.zeros(2, 6))
    seen, unseen = torch.eye(6)[0], torch.eye(6)[2] + torch.eye(6)[4] + torch.eye(6)[5]
    for which in (1, 2, [0], [1], [1, 0]):
        result = ablate(cell, trajectory, points, which, 7, seen)
        assert result.change > 0.1
        assert result.control_change < 1e-12
        # a pair or two real modes: never one of them alone, never more
        rest = ablate(cell, trajectory, points, which, 7, unseen, n_controls=20)
        last = trajectory.last
        pair, real = (torch.abs(last[:, part].sum(1)).numpy() for part in ([2], [4, 5]))
        for run in np.abs(rest.control - rest.logit):
            assert np.allclose(run, pair) or np.allclose(run, real)


def test_refused(gru):
    cell, trajectory, points, modes = gru
    readout = torch.ones(H)
    with pytest.raises(ValueError, match="points must have at least one point"):
        ablate_modes(trajectory.valid, points[[]], modes[[]], 1)
    with pytest.raises(ValueError, match="modes must be those of 6 points, got 2"):
        ablate_modes(trajectory.valid, points, modes[:2], 1)
    with pytest.raises(ValueError, match=r"modes must be integers in \[0, 14\), got 14"):
        ablate(cell, trajectory, points, [14], 0, readout)
    with pytest.raises(ValueError, match="at_step must be >= 0 and <= 8, got 9"):
        ablate(cell, trajectory, points, 1, 9, readout)
    with pytest.raises(ValueError, match="point must be >= 0 and <= 5, got 6"):
        ablate(cell, trajectory, points, 1, 0, readout, point=6)
    with pytest.raises(ValueError, match=r"at_step must have shape \(10, 9\)"):
        ablate(cell, trajectory, points, 1, torch.ones(B, 2, dtype=torch.bool), readout)
