import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.dynamics.cells import as_cell
from tractable.dynamics.expansion import expand, middle_point, nearest_point
from tractable.dynamics.linear_check import BASELINES, CHECKS, LinearCheck, linear_check
from tractable.dynamics.linear_models import bag_of_words, mode_model
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.states import Trajectory, collect_states

B, T, H, D, P = 20, 15, 16, 3, 9


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def gru():
    """A GRU, sequences of different lengths, points among its visited states, a readout."""
    torch.manual_seed(0)
    module = nn.GRU(D, H)
    cell = as_cell(module).to(dtype=torch.float64)
    lengths = [(5 * b) % T + 1 for b in range(B)]
    trajectory = collect_states(cell, random(B, T, D), lengths, 0.3 * random(H), progress=False)
    points = PointSet.from_states(cell, trajectory.valid[:: len(trajectory.valid) // P][:P])
    return cell, trajectory, points, (random(H, seed=1), 0.2)


def local_step(points, index, h, x):
    """First-order expansion around one point, from autograd."""
    cell, h_star, x_star = points.cell, points.state[index], points.x_star[index]

    def step(h, x):
        return cell(h[None], x[None])[0]

    J, J_inp = torch.autograd.functional.jacobian(step, (h_star, x_star))
    return step(h_star, x_star) + J @ (h - h_star) + J_inp @ (x - x_star)


def relative(truth, model):
    return ((truth - model).norm() / truth.norm()).item()


def test_one_step_against_a_loop(gru):
    cell, trajectory, points, readout = gru
    check = linear_check(cell, trajectory, points, readout, progress=False)
    previous, i = trajectory.previous, 0
    mean = trajectory.valid.mean(0)
    for b in range(B):
        for t in range(int(trajectory.lengths[b])):
            h, x, after = previous[b, t], trajectory.inputs[b, t], trajectory.states[b, t]
            index = int((points.state - h).norm(dim=1).argmin())
            model = local_step(points, index, h, x)
            assert check.error[i] == pytest.approx(relative(after, model), rel=1e-9)
            assert check.baseline_error[0, i] == pytest.approx(relative(after, h), rel=1e-9)
            assert check.baseline_error[1, i] == pytest.approx(relative(after, mean), rel=1e-9)
            assert check.logit[i] == pytest.approx((after @ readout[0]).item() + 0.2)
            assert check.logit_linear[i] == pytest.approx((model @ readout[0]).item() + 0.2)
            i += 1
    assert check.error.shape == check.logit.shape == (i,)
    assert math.isnan(check.accuracy)
    assert check.k == 0


def test_affine_baseline_is_the_least_squares_fit(gru):
    cell, trajectory, points, readout = gru
    check = linear_check(cell, trajectory, points, readout, progress=False)
    mask = trajectory.mask
    design = torch.cat([trajectory.previous[mask], trajectory.inputs[mask]], 1).numpy()
    design = np.hstack([design, np.ones((len(design), 1))])
    after = trajectory.valid.numpy()
    fitted = design @ np.linalg.lstsq(design, after, rcond=None)[0]
    expected = np.linalg.norm(after - fitted, axis=1) / np.linalg.norm(after, axis=1)
    np.testing.assert_allclose(check.baseline_error[2], expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["rollout", "switching"])
def test_rollouts_against_a_loop(gru, mode):
    cell, trajectory, points, readout = gru
    check = linear_check(cell, trajectory, points, readout, mode=mode, diverged=0.1, progress=False)
    errors, logits = [], []
    middle = int((points.state @ readout[0]).argsort()[(P - 1) // 2])
    assert check.point == (middle if mode == "rollout" else -1)
    for b in range(B):
        h = trajectory.initial[b]
        for t in range(int(trajectory.lengths[b])):
            index = int((points.state - h).norm(dim=1).argmin()) if mode == "switching" else middle
            h = local_step(points, index, h, trajectory.inputs[b, t])
            errors.append(relative(trajectory.states[b, t], h))
        logits.append((h @ readout[0]).item() + 0.2)
    np.testing.assert_allclose(check.error, errors, rtol=1e-7)
    np.testing.assert_allclose(check.logit_linear, logits, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(check.logit, trajectory.last @ readout[0] + 0.2)
    first = check.divergence_step
    assert first.shape == (B,)
    start = 0
    for b in range(B):
        own = np.array(errors[start : start + int(trajectory.lengths[b])])
        start += len(own)
        lost = np.flatnonzero(own > 0.1)
        assert first[b] == (lost[0] + 1 if len(lost) else math.inf)
    assert np.isfinite(first).any()
    assert np.isinf(first).any()


def test_all_modes_are_the_rollout_and_few_are_its_projection(gru):
    cell, trajectory, points, readout = gru
    options = {"point": 4, "progress": False}
    rollout = linear_check(cell, trajectory, points, readout, mode="rollout", **options)
    every = linear_check(cell, trajectory, points, readout, mode="modes", k=H, **options)
    np.testing.assert_allclose(every.logit_linear, rollout.logit_linear, atol=1e-9)
    np.testing.assert_allclose(every.error, rollout.error, atol=1e-9)

    local = expand(points.cell, points[4])
    P_slow = points[4].modes().projector(3)[0]
    h = (trajectory.initial - points.state[4]) @ P_slow.T
    for t in range(T):
        push = (trajectory.inputs[:, t] - points.x_star[4]) @ local.J_inp[0].T + local.drift
        after = (h @ local.J[0].T + push) @ P_slow.T
        h = torch.where(trajectory.mask[:, t, None], after, h)
    few = linear_check(cell, trajectory, points, readout, mode="modes", k=3, **options)
    expected = (h + points.state[4]) @ readout[0] + 0.2
    np.testing.assert_allclose(few.logit_linear, expected, atol=1e-9)
    assert few.k in (3, 4)


def test_modes_keep_pairs_whole():
    c, s = 0.9 * math.cos(0.7), 0.9 * math.sin(0.7)
    A = torch.block_diag(torch.tensor([[c, -s], [s, c]]), torch.tensor([[0.2]])).double()
    cell = as_cell(lambda h, x: A @ h + x, n_state=3, n_input=3).to(dtype=torch.float64)
    points = PointSet.from_states(cell, torch.zeros(1, 3))
    assert mode_model(cell, points, 0, 1, affine=True).n_modes == 2
    trajectory = collect_states(cell, random(4, 6, 3), progress=False)
    two = linear_check(cell, trajectory, points, [1.0, 1.0, 0.0], mode="modes", k=1, progress=False)
    assert two.k == 2
    np.testing.assert_allclose(two.logit_linear, two.logit, atol=1e-12)


def test_bag_of_words_is_blind_to_order_and_sums_the_weights(gru):
    cell, trajectory, points, readout = gru
    bag = bag_of_words(cell, points, readout, point=2, h0=trajectory.initial[0])
    check = linear_check(
        cell, trajectory, points, readout, mode="bag_of_words", point=2, progress=False
    )
    summed = bag.logit(trajectory.inputs, trajectory.mask)
    np.testing.assert_allclose(check.logit_linear, summed, atol=1e-10)
    order = torch.randperm(T)
    shuffled = bag.logit(trajectory.inputs[:, order], trajectory.mask[:, order])
    np.testing.assert_allclose(shuffled, summed, atol=1e-10)

    modes = points[2].modes()
    real = int(torch.nonzero(modes.eigvals[0].imag == 0)[0])
    r, l = modes.right[0, :, real].real, modes.left[0, real].real
    x = random(7, D, seed=3)
    expected = (readout[0] @ r) * (x - points.x_star[2]) @ points[2].jacobians()[1][0].T @ l
    torch.testing.assert_close(bag.weight(x), expected)
    assert bag.eigenvalue == pytest.approx(modes.eigvals[0, real].real.item())
    drift = cell(points.state[2:3], points.x_star[2:3])[0] - points.state[2]
    assert bag.drift == pytest.approx(((readout[0] @ r) * (l @ drift)).item())
    assert bag_of_words(cell, points, readout, point=2, affine=False).drift == 0


def test_bag_of_words_takes_the_slowest_real_mode():
    c, s = 0.9 * math.cos(0.7), 0.9 * math.sin(0.7)
    A = torch.block_diag(torch.tensor([[c, -s], [s, c]]), torch.tensor([[0.2]])).double()
    cell = as_cell(lambda h, x: A @ h + x, n_state=3, n_input=3).to(dtype=torch.float64)
    points = PointSet.from_states(cell, torch.zeros(1, 3))
    with pytest.warns(TractableWarning, match="the slowest modes at point 0 oscillate"):
        bag = bag_of_words(cell, points, torch.ones(3))
    torch.testing.assert_close(bag.weight(torch.eye(3)), torch.tensor([0.0, 0.0, 1.0]).double())
    turn = as_cell(lambda h, x: A[:2, :2] @ h + x, n_state=2, n_input=2)
    origin = PointSet.from_states(turn, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="only complex ones"):
        bag_of_words(turn, origin, torch.ones(2))


def test_padding_never_counts(gru):
    cell, trajectory, points, readout = gru
    garbage = torch.where(trajectory.mask[..., None], trajectory.states, 1e3)
    inputs = torch.where(trajectory.mask[..., None], trajectory.inputs, -1e3)
    spoiled = dataclasses.replace(trajectory, states=garbage, inputs=inputs)
    for mode in CHECKS:
        clean, dirty = (
            linear_check(cell, t, points, readout, mode=mode, point=None, progress=False)
            for t in (trajectory, spoiled)
        )
        for name in ("error", "baseline_error", "logit", "logit_linear", "baseline_logit"):
            np.testing.assert_allclose(getattr(dirty, name), getattr(clean, name), rtol=1e-9)
        np.testing.assert_array_equal(dirty.divergence_step, clean.divergence_step)


def test_empty_sequences_are_left_out(gru):
    cell, trajectory, points, readout = gru
    mask = trajectory.mask.clone()
    mask[3] = mask[8] = False
    labels = np.arange(B) % 2
    some = dataclasses.replace(trajectory, mask=mask)
    check = linear_check(cell, some, points, readout, mode="rollout", labels=labels, progress=False)
    assert len(check.logit) == len(check.divergence_step) == len(check.labels) == B - 2
    np.testing.assert_array_equal(check.labels, np.delete(labels, [3, 8]) > 0)
    every = linear_check(cell, trajectory, points, readout, mode="rollout", progress=False)
    np.testing.assert_allclose(check.logit, np.delete(every.logit, [3, 8]))


def test_scores_against_their_definitions(gru):
    cell, trajectory, points, readout = gru
    labels = torch.arange(B) % 3 == 0
    check = linear_check(
        cell, trajectory, points, readout, mode="rollout", labels=labels, progress=False
    )
    y, model = check.logit, check.logit_linear
    assert check.r2 == pytest.approx(1 - ((y - model) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert check.correlation == pytest.approx(np.corrcoef(y, model)[0, 1])
    assert check.sign_agreement == pytest.approx(np.mean((y > 0) == (model > 0)))
    assert check.accuracy == pytest.approx(np.mean((model > 0) == labels.numpy()))
    assert check.network_accuracy == pytest.approx(np.mean((y > 0) == labels.numpy()))
    signed = linear_check(
        cell, trajectory, points, readout, labels=2 * labels.int() - 1, progress=False
    )
    assert signed.network_accuracy == check.network_accuracy
    for i, name in enumerate(BASELINES):
        own = check.baseline_logit[i]
        total = ((y - y.mean()) ** 2).sum()
        assert check.scores(name).r2 == pytest.approx(1 - ((y - own) ** 2).sum() / total)
        assert check.quantile(0.5, name) <= check.quantile(0.9, name)
    assert math.isnan(check.scores("mean").correlation), "a constant correlates with nothing"
    assert abs(np.quantile(check.error, 0.5) - check.quantile(0.5)) < 0.1


def test_a_rollout_that_overflows_is_infinitely_wrong():
    A = 1e3 * torch.eye(2).double()
    cell = as_cell(lambda h, x: torch.tanh(A @ h + x), n_state=2, n_input=2)
    cell = cell.to(dtype=torch.float64)
    trajectory = collect_states(cell, random(5, 150, 2), progress=False)
    points = PointSet.from_states(cell, torch.zeros(1, 2))
    check = linear_check(cell, trajectory, points, [1.0, 0.0], mode="rollout", progress=False)
    assert check.error.max() == math.inf
    assert not np.isnan(check.error).any()
    assert check.r2 == -math.inf
    assert math.isnan(check.correlation)
    assert np.isfinite(check.divergence_step).all()


def test_no_points_leave_the_baselines(gru):
    cell, trajectory, points, readout = gru
    with_points = linear_check(cell, trajectory, points, readout, progress=False)
    for mode in CHECKS:
        check = linear_check(cell, trajectory, points[[]], readout, mode=mode, progress=False)
        assert np.isnan(check.error).all()
        assert np.isnan(check.logit_linear).all()
        assert math.isnan(check.r2)
        assert math.isnan(check.quantile(0.5))
        assert check.point == -1
        assert np.isfinite(check.baseline_logit).all()
    check = linear_check(cell, trajectory, points[[]], readout, progress=False)
    np.testing.assert_allclose(check.baseline_error, with_points.baseline_error)


def test_one_point_and_the_given_point(gru):
    cell, trajectory, points, readout = gru
    only = linear_check(cell, trajectory, points[3], readout, progress=False)
    given = linear_check(cell, trajectory, points, readout, point=3, progress=False)
    np.testing.assert_allclose(given.error, only.error, rtol=1e-10)
    assert given.point == 3
    nearest = linear_check(cell, trajectory, points, readout, progress=False)
    assert nearest.quantile(0.5) < given.quantile(0.5)


def test_no_sequences(gru):
    cell, trajectory, points, readout = gru
    nothing = Trajectory(
        trajectory.states[:0], trajectory.mask[:0], trajectory.inputs[:0], trajectory.initial[:0]
    )
    for mode in CHECKS:
        check = linear_check(cell, nothing, points, readout, mode=mode, progress=False)
        assert check.error.shape == (0,)
        assert check.baseline_logit.shape == (3, 0)
        assert math.isnan(check.r2)
        assert math.isnan(check.quantile(0.5))


def test_float32_trajectory_and_module(gru):
    _, trajectory, points, readout = gru
    torch.manual_seed(0)
    module = nn.GRU(D, H)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    single = collect_states(module, trajectory.inputs.float(), progress=False)
    check = linear_check(module, single, points, readout, progress=False)
    double = collect_states(points.cell, trajectory.inputs, progress=False)
    other = linear_check(points.cell, double, points, readout, progress=False)
    np.testing.assert_allclose(check.error, other.error, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(p.requires_grad for p in module.parameters())


def test_dataset_returns_the_check(gru, tmp_path):
    import xarray as xr

    cell, trajectory, points, readout = gru
    for labels in (None, np.arange(B) % 2):
        check = linear_check(
            cell, trajectory, points, readout, mode="modes", labels=labels, progress=False
        )
        check.to_dataset().to_netcdf(tmp_path / "check.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "check.nc", engine="h5netcdf") as dataset:
            again = LinearCheck.from_dataset(dataset.load())
        np.testing.assert_array_equal(again.error, check.error)
        np.testing.assert_array_equal(again.baseline_logit, check.baseline_logit)
        found = again.mode, again.k, again.affine, again.point
        assert found == ("modes", check.k, True, check.point)
        assert again.scores() == check.scores()
        assert (again.labels is None) == (labels is None)
        np.testing.assert_equal(again.accuracy, check.accuracy)


def test_refused(gru):
    cell, trajectory, points, readout = gru

    def check(trajectory=trajectory, points=points, readout=readout, **options):
        return linear_check(cell, trajectory, points, readout, progress=False, **options)

    with pytest.raises(ValueError, match="mode must be one of 'one_step', 'rollout'"):
        check(mode="rolout")
    with pytest.raises(ValueError, match="k must be >= 1 and <= 16, got 17"):
        check(mode="modes", k=17)
    with pytest.raises(ValueError, match="point must be >= 0 and <= 8, got 9"):
        check(point=9)
    with pytest.raises(ValueError, match="diverged must be > 0"):
        check(diverged=0)
    with pytest.raises(ValueError, match=r"labels must have shape \(20,\), got \(19,\)"):
        check(labels=np.zeros(19))
    with pytest.raises(ValueError, match="trajectory must hold its inputs and initial states"):
        check(trajectory=dataclasses.replace(trajectory, inputs=None))
    with pytest.raises(ValueError, match="got initial=None"):
        check(trajectory=dataclasses.replace(trajectory, initial=None))
    with pytest.raises(ValueError, match="were the inputs shifted"):
        check(trajectory=dataclasses.replace(trajectory, inputs=trajectory.inputs.roll(1, 1)))
    with pytest.raises(ValueError, match="readout weight must have width"):
        check(readout=np.ones(3))
    result = check()
    with pytest.raises(ValueError, match="of must be one of 'linear', 'identity'"):
        result.quantile(0.5, "affin")


def test_nearest_and_middle():
    centers, state = random(13, 5), random(300, 5, seed=1)
    expected = (state[:, None] - centers).norm(dim=2).argmin(1)
    assert torch.equal(nearest_point(state, centers), expected)
    assert nearest_point(state[:0], centers).shape == (0,)
    assert middle_point(torch.tensor([[3.0], [1.0], [2.0]]), torch.ones(1)) == 2
    assert middle_point(torch.tensor([[3.0], [1.0]]), torch.ones(1)) == 1


def test_expansion_without_the_affine_term(gru):
    _, _, points, _ = gru
    full, bare = expand(points.cell, points), expand(points.cell, points, affine=False)
    index = torch.arange(P)
    at_center = full.step(index, points.state, points.x_star)
    torch.testing.assert_close(at_center, points.cell(points.state, points.x_star))
    torch.testing.assert_close(bare.step(index, points.state, points.x_star), points.state)
