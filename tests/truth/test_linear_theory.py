"""Modes, linear models and chance overlaps against cases that are solved.

IDENTITY: linear cells are their own linearization; biorthogonality; ablation leaves nothing.
INDEPENDENT: mode sums against matrix powers; gates of cells without recurrence as eigenvalues.
LIMIT: exact line attractor, Euler map as dt falls.
SIMULATION: overlap of random directions; decay of a perturbation.
"""

import math

import pytest
import torch
from torch import nn

from tractable.dynamics.ablation import ablate_modes
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.line_attractor import line_attractor_report
from tractable.dynamics.linear_check import linear_check
from tractable.dynamics.linear_models import Steps, mode_model
from tractable.dynamics.manifold import manifold
from tractable.dynamics.modes import decompose, eigenvalues
from tractable.dynamics.overlap import null_overlap
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.states import collect_states


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def linear_cell(A: torch.Tensor, B: torch.Tensor) -> Cell:
    cell = as_cell(lambda h, x: A @ h + B @ x, n_state=len(A), n_input=B.shape[1])
    return cell.to(dtype=torch.float64)


def stable(n: int, seed: int = 0) -> torch.Tensor:
    A = random(n, n, seed=seed)
    return 0.9 * A / torch.linalg.eigvals(A).abs().max()


def doubled(module: nn.Module) -> Cell:
    return as_cell(module).to(dtype=torch.float64)


N, D = 40, 3


@pytest.fixture(scope="module")
def linear():
    A, B = stable(N), random(N, D, seed=1)
    cell = linear_cell(A, B)
    x_star = random(D, seed=2)
    root = torch.linalg.solve(torch.eye(N, dtype=torch.float64) - A, B @ x_star)
    inputs = random(16, 30, D, seed=3)
    lengths = [30] * 8 + [17, 1, 5, 30, 22, 0, 9, 30]
    trajectory = collect_states(cell, inputs, lengths, progress=False)
    points = PointSet.from_states(cell, root[None], x_star)
    return A, B, cell, trajectory, points


# IDENTITY: a linear cell is its own linearization, around any point, root or not
@pytest.mark.parametrize("mode", ["one_step", "rollout", "switching"])
def test_linear_cell_is_explained_exactly(linear, mode):
    _, _, cell, trajectory, root = linear
    readout = random(N, seed=4)
    elsewhere = PointSet.from_states(cell, random(6, N, seed=5), random(6, D, seed=6))
    for points in (root, elsewhere):
        check = linear_check(cell, trajectory, points, readout, mode=mode, progress=False)
        assert check.error.shape == (int(trajectory.mask.sum()),)
        assert check.quantile(1.0) <= 1e-12
        assert 1 - check.r2 <= 1e-12
        assert check.sign_agreement == 1.0
        assert math.isinf(check.divergence_step.min())
    without = linear_check(
        cell, trajectory, elsewhere, readout, mode=mode, affine=False, progress=False
    )
    assert without.quantile(0.5) > 1e-3, "away from roots the affine term is needed"


# INDEPENDENT: sum over modes against matrix powers, h_T - h* = sum_t A^(T-t) B (x_t - x*)
def test_mode_sum_equals_matrix_powers(linear):
    A, B, cell, trajectory, points = linear
    model = mode_model(cell, points, 0, N, affine=True)
    h_star, x_star = points.state[0], points.x_star[0]
    x, T = trajectory.inputs[0], 30
    power_sum = torch.linalg.matrix_power(A, T) @ (0 - h_star)
    for t in range(T):
        power_sum += torch.linalg.matrix_power(A, T - 1 - t) @ B @ (x[t] - x_star)
    steps = trajectory.states[:1], trajectory.inputs[:1], trajectory.initial[:1]
    predicted = model.predict(Steps(*steps, trajectory.mask[:1]))[0, -1]
    assert (predicted - h_star - power_sum).abs().max() <= 1e-10
    assert (predicted - trajectory.states[0, -1]).abs().max() <= 1e-10
    check = linear_check(
        cell, trajectory, points, random(N, seed=4), mode="modes", k=N, progress=False
    )
    assert check.quantile(1.0) <= 1e-10
    assert check.k == N


# INDEPENDENT: total effect of an input k steps before the end, R Lambda^k L J_in x
def test_effect_of_an_early_input(linear):
    A, B, _, _, _ = linear
    modes = decompose(A)
    x = random(D, seed=7)
    for k in (0, 1, 7, 40):
        push = modes.left[0] @ (B @ x).to(torch.complex128)
        effect = (modes.right[0] * modes.eigvals[0] ** k) @ push
        assert effect.imag.abs().max() <= 1e-10
        expected = torch.linalg.matrix_power(A, k) @ B @ x
        assert (effect.real - expected).abs().max() <= 1e-10


# LIMIT: exact line attractor A = r l^T + (I - r l^T) / 2
def test_exact_line_attractor():
    r = random(N, seed=8)
    r = r / r.norm()
    l = random(N, seed=9)
    l = l / (l @ r)
    A = torch.outer(r, l) + 0.5 * (torch.eye(N, dtype=torch.float64) - torch.outer(r, l))
    cell = linear_cell(A, torch.eye(N, dtype=torch.float64))
    where = torch.linspace(-3, 3, 50, dtype=torch.float64)
    points = PointSet.from_states(cell, where[:, None] * r, kind="slow")
    curve = manifold(points, readout=r)
    assert curve.pc_fraction >= 1 - 1e-9
    assert (curve.axis @ r).item() >= 1 - 1e-9
    assert ((curve.tangent @ r) >= 1 - 1e-9).all()
    assert (curve.theta - where / 3).abs().max() < 0.02
    assert curve.length == pytest.approx(6.0, rel=1e-3)
    assert curve.residual.max() < 0.01
    assert curve.speed.max() < 1e-14

    modes = points.modes(axis=curve.axis)
    assert (modes.tau[:, 0] == math.inf).all()
    assert (modes.tau[:, 1:] - 1 / math.log(2)).abs().max() <= 1e-12
    assert 1 / math.log(2) == pytest.approx(1.4427, abs=5e-5)
    # ||r|| = 1 and l r = 1: exactly the normalization of the library
    assert (modes.left[:, 0].real - l).abs().max() <= 1e-10
    assert (modes.right[:, :, 0].real - r).abs().max() <= 1e-10
    assert (modes.left.imag == 0).all()
    assert modes.resolved.all(), "39 equal eigenvalues, but no defect"
    assert (modes.gap() == math.inf).all()
    assert modes.n_slow(1e6).tolist() == [1] * 50

    trajectory = collect_states(cell, 0.1 * random(8, 20, N, seed=10), progress=False)
    report = line_attractor_report(cell, trajectory, points, r, modes=modes, curve=curve)
    assert (report.tangent_overlap >= 1 - 1e-9).all()
    assert (report.overlap_p < 1e-9).all()
    assert (report.lifetime > 1e12).all()


# IDENTITY: L R = I, on non-normal matrices of growing condition
@pytest.mark.parametrize("shear", [0.0, 1.0, 3.0])
def test_biorthogonality(shear):
    J = random(20, N, N) / N**0.5 + shear * torch.triu(random(N, N, seed=1), 1) / N**0.5
    modes = decompose(J)
    error = (modes.left @ modes.right - torch.eye(N)).abs().amax((1, 2))
    condition = torch.linalg.cond(modes.right)
    assert (error <= 1e-10 * condition).all()
    assert (error / condition).max() <= 1e-12, "measured: 1e-15 to 1e-14"
    first = modes.eigvals.imag > 0
    assert torch.equal(modes.eigvals[:, 1:][first[:, :-1]], modes.eigvals[first].conj())
    flow = modes.left @ J.to(torch.complex128) @ modes.right
    spectrum = torch.diag_embed(modes.eigvals)
    assert ((flow - spectrum).abs().amax((1, 2)) <= 1e-10 * condition).all()


# IDENTITY: without a complex pair nothing of it is left, and the state is real
def test_ablation_of_a_complex_pair(linear):
    A, _, _, _, points = linear
    modes = decompose(A)
    first = int(torch.nonzero(modes.eigvals[0].imag > 0)[0])
    state = random(32, N, seed=11)
    for which in ([first], [first + 1], [first, first + 1]):
        without = ablate_modes(state, points, modes, which)
        deviation = (without - points.state[0]).to(torch.complex128)
        left = deviation @ modes.left[0, [first, first + 1]].T
        assert left.abs().max() <= 1e-12
        assert not without.is_complex()
        others = [a for a in range(N) if a not in (first, first + 1)]
        before = (state - points.state[0]).to(torch.complex128) @ modes.left[0, others].T
        assert (deviation @ modes.left[0, others].T - before).abs().max() <= 1e-10
    # the complex projector itself is real to rounding: the members are exact conjugates
    pair = modes.right[0][:, [first, first + 1]] @ modes.left[0, [first, first + 1]]
    assert pair.imag.abs().max() <= 1e-12


# INDEPENDENT: without recurrence the eigenvalues are the gates, although J is singular
@pytest.mark.parametrize("n", [7, 50])
def test_eigenvalues_without_recurrence_are_the_gates(n):
    x = random(1, 4, seed=12)
    modules = nn.LSTM(4, n), nn.GRU(4, n), nn.RNN(4, n)
    for module in modules:
        module.double()
        with torch.no_grad():
            module.weight_hh_l0.zero_()
            for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
                tensor = getattr(module, name)
                tensor.copy_(random(*tensor.shape, seed=13))
    lstm, gru, vanilla = modules

    gates = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0
    forget = torch.sigmoid(gates[0, n : 2 * n]).detach().sort(descending=True).values
    J = doubled(lstm).recurrent_jacobian(random(1, 2 * n, seed=14), x)
    found = eigenvalues(J)[0]
    assert (found[:n] - forget).abs().max() <= 1e-10
    assert found[n:].abs().max() <= 1e-10
    modes = decompose(J)
    assert (modes.tau[0, n:] == 0).all()
    assert modes.resolved.all()

    gates = x @ gru.weight_ih_l0.T + gru.bias_ih_l0 + gru.bias_hh_l0
    update = torch.sigmoid(gates[0, n : 2 * n]).detach().sort(descending=True).values
    found = eigenvalues(doubled(gru).recurrent_jacobian(random(1, n, seed=15), x))[0]
    assert (found - update).abs().max() <= 1e-10

    J = doubled(vanilla).recurrent_jacobian(random(1, n, seed=16), x)
    assert (decompose(J).tau == 0).all()


# LIMIT: Euler map of a field, lambda_d = 1 + dt lambda_c; times agree up to O(dt)
def test_euler_map_and_field_have_the_same_times():
    A = random(12, 12, seed=17) / 12**0.5 - 1.5 * torch.eye(12, dtype=torch.float64)
    field = decompose(A, continuous=True)
    difference = []
    for dt in (0.02, 0.01, 0.005):
        euler = decompose(torch.eye(12, dtype=torch.float64) + dt * A, dt=dt)
        slow = (euler.eigvals[0, :, None] - 1 - dt * field.eigvals[0]).abs().amin(1)
        assert slow.max() <= 1e-10
        difference.append(abs(euler.tau[0, 0] - field.tau[0, 0]).item() / field.tau[0, 0].item())
        assert euler.freq[0, 0] == pytest.approx(field.freq[0, 0].item(), rel=0.05, abs=1e-12)
    assert difference[0] < 0.05
    rate = math.log2(difference[0] / difference[2]) / 2
    assert rate == pytest.approx(1.0, abs=0.1)


# SIMULATION: the slowest mode of a GRU decays with its time constant
def test_time_constant_against_the_decay_of_a_perturbation():
    torch.manual_seed(0)
    gru = nn.GRU(2, 20).double()
    cell = doubled(gru)
    x = torch.zeros(1, 2, dtype=torch.float64)
    root = torch.zeros(1, 20, dtype=torch.float64)
    for _ in range(2000):
        root = cell(root, x)
    modes = decompose(cell.recurrent_jacobian(root, x))
    real = int(torch.nonzero(modes.eigvals[0].imag == 0)[0])
    state = root + 1e-4 * modes.right[:, :, real].real
    sizes = []
    for _ in range(6):
        sizes.append(float((state - root).norm()))
        state = cell(state, x)
    fitted = -5 / math.log(sizes[5] / sizes[0])
    assert fitted == pytest.approx(modes.tau[0, real].item(), rel=1e-3)


# SIMULATION: overlap of random unit vectors, mean and quantiles; 4 standard errors
def test_overlap_of_random_directions():
    n = 256
    null = null_overlap(n)
    a, b = random(20000, n, seed=18), random(20000, n, seed=19)
    overlap = ((a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)).abs()
    assert overlap.mean().item() == pytest.approx(0.0499, abs=1e-3)
    assert null.mean == pytest.approx(0.0499, abs=1e-4)
    assert null.mean == pytest.approx(overlap.mean().item(), abs=4 * 0.0377 / 20000**0.5)
    assert null.mean == pytest.approx(math.sqrt(2 / (math.pi * n)), rel=2e-3)
    for level, quantile in zip(null.levels, null.quantiles, strict=True):
        below = (overlap < quantile).double().mean().item()
        assert below == pytest.approx(level, abs=4 * (level * (1 - level) / 20000) ** 0.5)
    plane = torch.hypot(*(b[:, :2] / b.norm(dim=1, keepdim=True)).unbind(1))
    assert null_overlap(n, n_plane=2).mean == pytest.approx(plane.mean().item(), rel=0.02)
    assert null_overlap(1).mean == 1.0
    assert null_overlap(2, n_plane=2).quantiles == (1.0,) * 4
