from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tractable.core.checks import TractableWarning
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.points import PointSet, find_points
from tractable.dynamics.points.point_set import KINDS
from tractable.dynamics.points.selection import (
    distance_limit,
    duplicate_radius,
    first_component,
    representatives,
)

F64 = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def switch(n: int = 4, gain: float = 2.0, d: int = 1) -> nn.RNNCell:
    """Independent tanh units, each with a self-excitation: 3^n roots at zero input."""
    net = nn.RNNCell(d, n, bias=False).double()
    net.weight_hh.data = gain * torch.eye(n, dtype=F64)
    net.weight_ih.data = torch.ones(n, d, dtype=F64)
    return net


def small_gru(n: int = 8, d: int = 2, seed: int = 1) -> nn.GRUCell:
    net = nn.GRUCell(d, n)
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data.normal_(0.0, 0.3, generator=generator)
    return net


def line(n: int = 5) -> Cell:
    A = torch.diag(torch.tensor([1.0] + [0.5] * (n - 1), dtype=F64))
    return as_cell(lambda h, x: h @ A, n_state=n, n_input=1)


def quietly(*args: Any, **options: Any) -> PointSet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)
        return find_points(*args, **options)


GRID = torch.cartesian_prod(*[torch.linspace(-1, 1, 5, dtype=F64)] * 2)


def same(a: PointSet, b: PointSet) -> bool:
    names = ("state", "x_star", "q", "converged", "n_iter", "start_index", "multiplicity")
    names += ("displacement", "representative")  # type: ignore[assignment]
    equal = all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
    return equal and (a.rejected, a.kind, a.q_convention, a.interrupted, a.index_sum) == (
        b.rejected,
        b.kind,
        b.q_convention,
        b.interrupted,
        b.index_sum,
    )


# -- P = 0 and P = 1 ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1])
def test_everything_accepts_no_point_and_one_point(size: int, tmp_path: Path) -> None:
    one = find_points(small_gru(), 0.1 * draw(3, 8))
    points = one[:size]
    assert len(points) == size
    assert len(points.stability) == size
    assert len(points.classify(0.1)) == size
    J, J_inp = points.jacobians()
    assert J.shape == (size, 8, 8)
    assert J_inp.shape == (size, 8, 2)
    assert points.modes().tau.shape == (size, 8)
    assert points.modes(k=2).tau.shape == (size, 2)
    assert len(points[torch.zeros(0, dtype=torch.long)]) == 0
    assert len(points.concatenate(points)) == size
    assert str(size) in repr(points)
    points.save(tmp_path / "points.npz")
    assert same(PointSet.load(tmp_path / "points.npz"), points)
    assert same(PointSet.from_dataset(points.to_dataset()), points)
    assert len(points.with_cell(as_cell(small_gru()))) == size


def test_one_start_and_equal_starts_give_one_point() -> None:
    for kind in KINDS:
        for starts in (0.1 * draw(1, 8), torch.full((9, 8), 0.2)):
            points = find_points(small_gru(), starts, kind=kind)
            assert len(points) == 1
            assert points.multiplicity.tolist() == [len(starts)]


def test_a_cell_without_inputs() -> None:
    cell = as_cell(lambda h, x: 0.5 * h, n_state=2, n_input=0)
    assert find_points(cell, draw(3, 2)).x_star.shape == (1, 0)


# -- choosing and joining ----------------------------------------------------------------------


def test_some_of_the_points() -> None:
    points = find_points(switch(2), GRID)
    assert same(points[2], points[2:3])
    assert same(points[-1], points[[8]])
    mask = np.array([label == "stable" for label in points.stability])
    memories = points[mask]
    assert len(memories) == 4
    assert same(memories, points[torch.from_numpy(mask)])
    assert memories.stability == ["stable"] * 4
    assert memories.index_sum is None
    kept = memories.representative >= 0
    assert int(kept.sum()) == int(memories.multiplicity.sum())
    assert torch.equal(
        memories.state[memories.representative[kept]],
        points.state[points.representative[kept]],
    )
    with pytest.raises(IndexError):
        points[9]


def test_concatenation_merges_what_was_found_twice() -> None:
    whole = find_points(switch(2), GRID)
    first, second = (quietly(switch(2), part) for part in (GRID[:10], GRID[10:]))
    both = first.concatenate(second)
    assert len(both) == 9
    assert both.index_sum == 1
    assert both.multiplicity.tolist() == whole.multiplicity.tolist()
    assert both.representative.tolist() == whole.representative.tolist()
    assert torch.allclose(both.state, whole.state, rtol=0, atol=1e-12)
    twice = whole.concatenate(whole)
    assert len(twice) == 9
    assert twice.multiplicity.tolist() == (2 * whole.multiplicity).tolist()
    assert len(twice.representative) == 50
    slow = find_points(switch(2), GRID, kind="slow")
    with pytest.raises(ValueError, match="sets must have the same kind, got root and slow"):
        whole.concatenate(slow)
    with pytest.raises(ValueError, match=r"state must have shape \(P, 2\), got \(1, 8\)"):
        whole.concatenate(find_points(small_gru(), 0.1 * draw(2, 8)))


def test_points_from_elsewhere() -> None:
    cell = as_cell(switch(2))
    points = PointSet.from_states(cell, torch.tensor([[0.0, 0.0], [1.0, 0.0]]), kind="slow")
    assert points.q.tolist() == pytest.approx([0.0, (1 - np.tanh(2)) ** 2 / 2])
    assert points.stability == ["saddle(2)", "saddle(1)"]
    mean = PointSet.from_states(cell, points.state, q_convention="mean")
    assert torch.allclose(mean.q, points.q)  # N = 2
    with pytest.raises(ValueError, match=r"state must have shape \(P, 2\)"):
        PointSet.from_states(cell, torch.zeros(2, 3))


def test_marginal_points_depend_on_the_margin() -> None:
    cell = as_cell(lambda h, x: h * torch.tensor([0.99, 0.5]).double(), n_state=2, n_input=1)
    points = find_points(cell, draw(3, 2))
    assert points.stability == ["stable"]
    assert points.classify(1 / 50) == ["marginal"]
    assert PointSet.from_states(line(2), torch.zeros(1, 2)).stability == ["marginal"]


# -- duplicates --------------------------------------------------------------------------------


def test_the_lowest_speed_stands_for_its_neighbors() -> None:
    state = torch.tensor([[0.0], [0.4], [0.8], [5.0]], dtype=F64)
    q = torch.tensor([3.0, 2.0, 1.0, 4.0], dtype=F64)
    owner = representatives(state, q, np.zeros(4, dtype=int), 0.5)
    assert owner.tolist() == [0, 2, 2, 3]
    groups = np.array([0, 0, 1, 0])
    assert representatives(state, q, groups, 0.5).tolist() == [1, 1, 2, 3]
    assert representatives(state, q, groups, 0.0).tolist() == [0, 1, 2, 3]
    assert representatives(state[:0], q[:0], groups[:0], 0.5).tolist() == []


@pytest.mark.parametrize("radius", [0.0, 0.02, 0.3, 5.0])
def test_duplicates_are_those_of_every_pair_compared(radius: float) -> None:
    # a bent line in 20 units whose widest ones tell few states apart, with exact and near copies
    generator = np.random.default_rng(3)
    theta = generator.uniform(-1, 1, 150)
    state = np.sin(theta[:, None] * np.arange(1, 21)) * 0.3
    state[:, :4] = np.sign(state[:, :4])
    near = state[:60] + generator.uniform(-0.03, 0.03, (60, 20))
    state = torch.as_tensor(np.concatenate([state, state[:20], near]))
    q = torch.as_tensor(generator.uniform(size=len(state)))
    owner = np.full(len(state), -1)
    for i in q.argsort().tolist():
        if owner[i] < 0:
            close = (state - state[i]).abs().amax(1).numpy() <= radius
            owner[close & (owner < 0)] = i
    found = representatives(state, q, np.zeros(len(state), dtype=int), radius)
    assert found.tolist() == owner.tolist()
    assert len(np.unique(owner)) < len(state)


def test_loosely_converged_starts_of_one_root_are_one_point() -> None:
    # q = 1e-4 leaves starts 0.02 apart, far more than the radius
    cell = as_cell(lambda h, x: 0.4 * h, n_state=3, n_input=1)
    points = find_points(cell, draw(40, 3), tol=1e-4)
    assert len(points) == 1
    assert points.state.abs().max() <= 1e-10


def test_tol_unique_decides() -> None:
    starts = torch.cat([torch.linspace(0, 1, 11, dtype=F64)[:, None], torch.zeros(11, 4)], dim=1)
    counts = [
        len(find_points(line(), starts, kind="slow", tol_unique=radius))
        for radius in (0.0, 0.05, 0.11, 5.0)
    ]
    assert counts[0] == counts[1] == 11
    assert counts[2] < 11
    assert counts[3] == 1


def test_radii_of_selection() -> None:
    assert duplicate_radius(torch.full((5, 3), 2.0)) == pytest.approx(2e-3)
    assert duplicate_radius(torch.zeros(2, 3)) == 1e-9
    grid = torch.linspace(0, 1, 101, dtype=F64)[:, None]
    spread = float(grid.std(correction=0))
    assert distance_limit(grid, 10.0) == pytest.approx(spread)  # 10 x 0.01 is less
    clumps = draw(200, 30)
    nearest = torch.cdist(clumps, clumps).fill_diagonal_(torch.inf).amin(1).median()
    assert distance_limit(clumps, 2.0) == pytest.approx(2 * float(nearest))
    assert distance_limit(torch.ones(4, 2), 1.0) == torch.inf


def test_first_component_against_singular_values() -> None:
    for shape in ((40, 6), (6, 40)):
        cloud = draw(*shape)
        u, s, _ = torch.linalg.svd(cloud - cloud.mean(0), full_matrices=False)
        share, extent = first_component(cloud)
        assert share == pytest.approx(float(s[0] ** 2 / (s**2).sum()))
        along = u[:, 0] * s[0]
        assert extent == pytest.approx(float(along.max() - along.min()))
    assert np.isnan(first_component(torch.zeros(3, 2))[0])


# -- files and datasets ------------------------------------------------------------------------


def example() -> PointSet:
    starts = torch.cat([GRID, GRID + 0.01])
    x = torch.where(torch.arange(50) < 25, 0.0, 0.1)[:, None]
    return find_points(
        switch(2), starts, x, tol=1e-20, max_iter=4, method="newton", readout=torch.ones(2)
    )


def test_a_saved_set_comes_back_bit_by_bit(tmp_path: Path) -> None:
    points = example()
    assert points.rejected
    path = tmp_path / "deep" / "points.any"
    path.parent.mkdir()
    points.save(path)
    assert [p.name for p in path.parent.iterdir()] == ["points.any"]
    back = PointSet.load(path)
    assert same(points, back)
    assert back.cell is None
    assert back.scan is not None
    assert points.scan is not None
    for name in ("tol", "n_starts", "n_points", "pc1_fraction", "extent", "readout_range"):
        assert torch.equal(
            getattr(points.scan, name).nan_to_num(), getattr(back.scan, name).nan_to_num()
        )
    with pytest.raises(ValueError, match="these points have no cell"):
        back.jacobians()
    with_cell = PointSet.load(path, cell=as_cell(switch(2)))
    assert with_cell.stability == points.stability
    assert torch.equal(with_cell.jacobians()[0], points.jacobians()[0])
    with pytest.raises(ValueError, match=r"another speed at \d+ of \d+ points"):
        back.with_cell(as_cell(switch(2, gain=2.1)))
    with pytest.raises(ValueError, match=r"state must have shape \(P, 3\)"):
        back.with_cell(as_cell(switch(3)))


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    example().save(path)
    whole = path.read_bytes()
    cases: dict[str, bytes] = {
        "empty": b"",
        "text": b"not an archive",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:700] + bytes([whole[700] ^ 255]) + whole[701:],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="must be a saved PointSet"):
            PointSet.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", state=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", meta=np.array([{"a": 1}], dtype=object))
    for name in ("other.npz", "array.npy", "objects.npz"):
        with pytest.raises(ValueError, match="must be a saved PointSet"):
            PointSet.load(tmp_path / name)
    with np.load(path) as file:
        arrays = dict(file)
    for name, value in (
        ("q", arrays["q"][:-1]),
        ("meta", np.array('{"format": "else"}')),
        ("representative", arrays["representative"] + 10_000),
        ("state", arrays["state"][0]),
        ("extra", np.zeros(2)),
    ):
        np.savez(tmp_path / "changed.npz", **{**arrays, name: value})
        with pytest.raises(ValueError, match="must be a saved PointSet"):
            PointSet.load(tmp_path / "changed.npz")
    for lost in ("meta", "state", "rejected_q"):
        np.savez(tmp_path / "lost.npz", **{k: v for k, v in arrays.items() if k != lost})
        with pytest.raises(ValueError, match="must be a saved PointSet"):
            PointSet.load(tmp_path / "lost.npz")
    with pytest.raises(FileNotFoundError):
        PointSet.load(tmp_path / "nowhere.npz")


def test_datasets_name_their_dimensions_and_survive_netcdf(tmp_path: Path) -> None:
    import xarray as xr

    points = example()
    data = points.to_dataset()
    assert data["state"].dims == ("point", "unit")
    assert data["x_star"].dims == ("point", "input")
    assert data["representative"].dims == ("start",)
    assert data["scan_tol"].dims == ("tolerance",)
    assert all("units" in variable.attrs for variable in data.data_vars.values())
    assert same(PointSet.from_dataset(data), points)
    data.to_netcdf(tmp_path / "points.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "points.nc", engine="h5netcdf") as stored:
        back = PointSet.from_dataset(stored.load(), cell=as_cell(switch(2)))
    assert same(back, points)
    assert back.stability == points.stability
    with pytest.raises(ValueError, match="format must be"):
        PointSet.from_dataset(xr.Dataset())
    with pytest.raises(ValueError, match="dataset must hold a PointSet"):
        PointSet.from_dataset(data.drop_vars("q"))
