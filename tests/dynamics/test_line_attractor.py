import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.dynamics.cells import as_cell
from tractable.dynamics.line_attractor import LineAttractor, line_attractor_report
from tractable.dynamics.manifold import manifold
from tractable.dynamics.overlap import chance, null_overlap, plane_overlap
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.states import Trajectory, collect_states
from tractable.dynamics.verdict import sentences

N, D = 24, 4


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    vector = random(*shape, seed=seed)
    return vector / vector.norm(dim=-1, keepdim=True)


R, W = unit(N, seed=1), unit(N, seed=2)
L = (lambda l: l / (l @ R))(R + 0.5 * unit(N, seed=3))
B = torch.outer(R, random(D, seed=4)) + 0.05 * random(N, D, seed=5)


def line_network(slow: float = 0.999, fast: float = 0.5):
    """One real mode r l^T of eigenvalue ``slow``, all others ``fast``."""
    A = fast * torch.eye(N, dtype=torch.float64) + (slow - fast) * torch.outer(R, L)
    cell = as_cell(lambda h, x: A @ h + B @ x, n_state=N, n_input=D)
    return cell.to(dtype=torch.float64)


def line_report(cell, readout=R, **options):
    trajectory = collect_states(cell, random(20, 50, D, seed=5), progress=False)
    where = torch.linspace(-2, 2, 41, dtype=torch.float64)
    points = PointSet.from_states(cell, where[:, None] * R, kind="slow")
    return line_attractor_report(cell, trajectory, points, readout, **options)


def test_every_number_of_a_line_that_is_known():
    report = line_report(line_network())
    assert len(report) == 41
    tau = -1 / math.log(0.999)
    np.testing.assert_allclose(report.tau_1, tau)
    np.testing.assert_allclose(report.tau_2, 1 / math.log(2))
    np.testing.assert_allclose(report.gap, tau * math.log(2))
    assert report.n_slow.tolist() == [1] * 41
    assert report.tau_min == 50
    assert not report.oscillating.any()
    assert not report.growing.any()
    np.testing.assert_allclose(report.axis_overlap, 1.0)
    np.testing.assert_allclose(report.tangent_overlap, 1.0)
    assert report.axis_readout == pytest.approx(1.0)
    assert report.pc_fraction == pytest.approx(1.0)
    assert report.length == pytest.approx(4.0, rel=1e-3)
    where = np.linspace(-2, 2, 41)
    np.testing.assert_allclose(report.drift, -0.001 * where, atol=1e-12)
    np.testing.assert_allclose(report.speed, 0.001 * np.abs(where), atol=1e-12)
    moving = np.abs(where) > 1e-9
    np.testing.assert_allclose(
        report.lifetime[moving], report.length / (0.001 * np.abs(where[moving])), rtol=1e-6
    )
    assert report.lifetime[~moving] > 1e9
    assert [s.name for s in report.signatures if not s.measured >= s.at_least] == []
    assert report.verdict[-1] == "6 of 6 signatures of a line attractor hold."
    assert report.verdict[3] == (
        "The slowest mode has tau_1 = 999.5 steps (median over points), the second 1.44: "
        "ratio 693; a median of 1 modes is slower than 50 steps."
    )


def test_readout_across_the_line_and_a_leaky_line_are_told():
    across = W - (W @ R) * R
    report = line_report(line_network(), readout=across)
    assert report.axis_readout == pytest.approx(0.0, abs=1e-9)
    assert "overlap of axis and readout is" in report.verdict[-1]
    leaky = line_report(line_network(slow=0.9))
    assert leaky.n_slow.tolist() == [0] * 41
    assert "tau_1 / tau_min is 0.19, not 1" in leaky.verdict[-1]
    assert leaky.verdict[-1].startswith("5 of 6")


def test_growing_and_oscillating_are_told():
    growing = line_report(line_network(slow=1.01))
    assert growing.growing.all()
    told = [s for s in growing.verdict if "oscillates at 0% of the points and grows at 100%" in s]
    assert len(told) == 1
    assert "e-fold in 100 steps" in told[0]
    assert (growing.drift[25:] > 0).all()

    c, s = 0.99 * math.cos(0.3), 0.99 * math.sin(0.3)
    A = torch.block_diag(torch.tensor([[c, -s], [s, c]]), 0.3 * torch.eye(N - 2)).double()
    cell = as_cell(lambda h, x: A @ h + B @ x, n_state=N, n_input=D).to(dtype=torch.float64)
    trajectory = collect_states(cell, random(5, 30, D, seed=5), progress=False)
    along = torch.eye(N, dtype=torch.float64)[0]
    points = PointSet.from_states(cell, torch.linspace(-1, 1, 20)[:, None] * along)
    report = line_attractor_report(cell, trajectory, points, along)
    assert report.oscillating.all()
    # the plane of the mode holds the line
    np.testing.assert_allclose(report.tangent_overlap, 1.0)
    assert any("oscillates at 100% of the points" in s for s in report.verdict)
    # a plane overlaps by chance with more than a line does: 0.7 is then nothing rare
    n, plane = 12, np.ones(len(report), dtype=bool)
    overlap = np.full(len(report), 0.72)
    told = replace(
        report, tangent_overlap=overlap, overlap_p=chance(overlap, n, plane), null_99=0.71
    )
    assert np.all(told.overlap_p > 0.01)
    assert any("; 0% of the points exceed that" in s for s in sentences(told))


def test_overlaps_have_their_chance_level():
    n, count = 40, 4000
    m, r = unit(count, n, seed=6), unit(count, n, seed=7).to(torch.complex128)
    real = torch.zeros(count, dtype=torch.bool)
    overlap = plane_overlap(m, r, real)
    np.testing.assert_allclose(overlap, (m * r.real).sum(1).abs())
    p = chance(overlap, n, real.numpy())
    assert p.mean() == pytest.approx(0.5, abs=4 * (1 / 12 / count) ** 0.5)
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=4 * (0.01 / count) ** 0.5)
    assert np.mean(overlap > null_overlap(n).quantiles[-1]) == np.mean(p < 0.01)

    pair = torch.complex(random(count, n, seed=8), 0.1 * random(count, n, seed=9))
    turning = torch.ones(count, dtype=torch.bool)
    overlap = plane_overlap(m, pair, turning)
    basis = torch.linalg.qr(torch.stack([pair.real, pair.imag], 2))[0]
    np.testing.assert_allclose(overlap, (basis.mT @ m[..., None])[..., 0].norm(dim=1))
    p = chance(overlap, n, turning.numpy())
    assert p.mean() == pytest.approx(0.5, abs=4 * (1 / 12 / count) ** 0.5)
    np.testing.assert_allclose(p, beta.sf(overlap**2, 1, n / 2 - 1))
    nowhere = plane_overlap(torch.zeros(2, n).double(), r[:2], real[:2])
    assert np.isnan(nowhere).all()
    assert np.isnan(chance(nowhere, n, real[:2].numpy())).all()
    assert chance(np.array([1.0]), 1, np.array([False])).tolist() == [1.0]


def test_relaxation_falls_as_the_slowest_mode_that_moves():
    """The fast modes halve at each step; along the line nothing moves."""
    report = line_report(line_network(slow=1.0), n_relax=12)
    assert report.relaxation.shape == (3, 12)
    ratio = report.relaxation[1, 5] / report.relaxation[1, 4]
    assert ratio == pytest.approx(0.5, abs=0.02)
    median = report.relaxation[1]
    assert report.relaxation_steps == np.flatnonzero(median < 0.01)[0]
    assert (np.diff(report.relaxation, axis=0) >= 0).all()


def test_states_and_lengths_leave_padding_out():
    cell = line_network()
    inputs = random(9, 50, D, seed=5)
    lengths = [50, 3, 3, 3, 7, 7, 0, 40, 3]
    trajectory = collect_states(cell, inputs, lengths, progress=False)
    points = PointSet.from_states(cell, torch.linspace(-1, 1, 15)[:, None] * R)
    report = line_attractor_report(cell, trajectory, points, R)
    assert report.tau_min == 3, "the median of the lengths that are not 0"
    visited = trajectory.valid.numpy()
    values = np.linalg.eigvalsh(np.cov(visited.T, bias=True))[::-1]
    np.testing.assert_allclose(report.state_variances[:5], values[:5], rtol=1e-9)


def test_valence_of_known_inputs():
    cell = line_network()
    inputs = random(30, D, seed=10)
    valence = inputs @ B.T @ L
    report = line_report(cell, inputs=inputs, valence=valence)
    np.testing.assert_allclose(report.valence_correlation, 1.0)
    assert report.signatures[-1].measured == pytest.approx(1.0)
    assert len(report.signatures) == 7


def test_axis_and_readout_meet_where_the_readout_sees():
    torch.manual_seed(0)
    lstm = nn.LSTM(D, N // 2)
    cell = as_cell(lstm).to(dtype=torch.float64)
    trajectory = collect_states(cell, random(8, 20, D), progress=False)
    points = PointSet.from_states(cell, trajectory.valid[::7])
    weight = random(N // 2, seed=11)
    report = line_attractor_report(cell, trajectory, points, weight)
    seen = report.axis[: N // 2]
    expected = abs(seen @ weight.numpy()) / np.linalg.norm(seen) / weight.norm().item()
    assert report.axis_readout == pytest.approx(expected)
    assert len(report.tau_1) == len(points)


def test_times_of_a_network_in_continuous_time():
    from tractable.dynamics.recurrent import RateNetwork

    torch.manual_seed(0)
    cell = as_cell(RateNetwork(D, N, tau=1.0, dt=0.1)).to(dtype=torch.float64)
    trajectory = collect_states(cell, random(6, 30, D), progress=False)
    points = PointSet.from_states(cell, trajectory.valid[::6])
    report = line_attractor_report(cell, trajectory, points, torch.ones(N))
    assert report.dt == 0.1
    assert report.tau_min == pytest.approx(3.0)
    modes = points.modes()
    np.testing.assert_allclose(report.tau_1, modes.tau[:, 0], rtol=1e-9)
    np.testing.assert_allclose(report.lifetime, 0.1 * report.length / np.abs(report.drift))
    assert any("units of time" in s for s in report.verdict)


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point(count):
    cell = line_network()
    trajectory = collect_states(cell, random(20, 50, D, seed=5), progress=False)
    points = PointSet.from_states(cell, R.expand(count, N))
    inputs, valence = random(5, D), random(5, seed=1)
    with pytest.warns(TractableWarning):
        report = line_attractor_report(cell, trajectory, points, R, inputs=inputs, valence=valence)
    assert len(report) == count
    assert report.tau_1.shape == report.lifetime.shape == (count,)
    assert math.isnan(report.pc_fraction)
    assert all(isinstance(s.measured, float) for s in report.signatures)
    assert report.verdict[0].startswith("Visited states: ")
    if count:
        assert "overlap of r_1 and tangent is nan" in report.verdict[-1]
        assert report.tau_1[0] == pytest.approx(-1 / math.log(0.999))
    else:
        assert report.verdict[1] == "No points of kind 'root': nothing to say about a line."
    assert len(LineAttractor.from_dataset(report.to_dataset())) == count


def test_verdict_has_numbers_in_each_sentence():
    report = line_report(line_network())
    assert len(report.verdict) == 8
    assert all(re.search(r"\d", sentence) for sentence in report.verdict)
    assert all(sentence.endswith(".") for sentence in report.verdict)
    assert repr(report).count("\n") == 8


def test_given_modes_and_curve_are_used():
    cell = line_network()
    where = torch.linspace(-2, 2, 41, dtype=torch.float64)
    points = PointSet.from_states(cell, where[:, None] * R, kind="slow")
    trajectory = collect_states(cell, random(20, 50, D, seed=5), progress=False)
    modes, curve = points.modes(axis=R), manifold(points, readout=R, coordinate="readout")
    own = line_attractor_report(cell, trajectory, points, R)
    for options in ({"modes": modes}, {"curve": curve}, {"modes": modes, "curve": curve}):
        report = line_attractor_report(cell, trajectory, points, R, **options)
        np.testing.assert_allclose(report.tau_1, own.tau_1)
        np.testing.assert_allclose(np.abs(report.drift), np.abs(own.drift), atol=1e-12)
    short = line_attractor_report(cell, trajectory, points, R, tau_min=1.0)
    assert short.n_slow.tolist() == [N] * 41


def test_dataset_returns_the_report(tmp_path):
    import xarray as xr

    for valence in (None, torch.arange(5)):
        inputs = None if valence is None else random(5, D)
        report = line_report(line_network(), inputs=inputs, valence=valence)
        report.to_dataset().to_netcdf(tmp_path / "report.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "report.nc", engine="h5netcdf") as dataset:
            again = LineAttractor.from_dataset(dataset.load())
        assert again.verdict == report.verdict
        assert again.signatures == report.signatures
        np.testing.assert_array_equal(again.lifetime, report.lifetime)
        assert again.dt is None


def test_refused():
    cell = line_network()
    trajectory = collect_states(cell, random(2, 5, D), progress=False)
    points = PointSet.from_states(cell, torch.linspace(-1, 1, 12)[:, None] * R)
    with pytest.raises(ValueError, match="inputs and valence must be given together"):
        line_attractor_report(cell, trajectory, points, R, inputs=random(3, D))
    with pytest.raises(ValueError, match="tau_min must be > 0"):
        line_attractor_report(cell, trajectory, points, R, tau_min=0)
    with pytest.raises(ValueError, match="n_relax must be >= 1"):
        line_attractor_report(cell, trajectory, points, R, n_relax=0)
    empty = Trajectory(trajectory.states, torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="tau_min must be given"):
        line_attractor_report(cell, empty, points, R)
    nothing = line_attractor_report(cell, empty, points, R, tau_min=5.0)
    assert np.isnan(nothing.relaxation).all()
    with pytest.raises(ValueError, match=r"states must have shape \(B, T, 24\)"):
        line_attractor_report(
            cell, Trajectory(torch.zeros(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)), points, R
        )
    with pytest.raises(ValueError, match="n_plane must be >= 1"):
        null_overlap(4, n_plane=0)
