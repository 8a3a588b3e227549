from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tractable.core.checks import ConvergenceWarning, TractableWarning
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.points import PointSet, Rejected, find_points
from tractable.dynamics.points.find import METHODS
from tractable.dynamics.points.point_set import KINDS

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


# -- what a point set says ---------------------------------------------------------------------


def test_counts_and_indices_belong_together() -> None:
    points = find_points(switch(2), GRID)
    assert len(points) == 9
    assert points.index_sum == 1
    assert int(points.multiplicity.sum()) == len(GRID)
    assert points.representative.bincount().tolist() == points.multiplicity.tolist()
    assert (points.representative[points.start_index] == torch.arange(9)).all()
    assert points.start_index.tolist() == sorted(points.start_index.tolist())
    moved = (points.state - GRID[points.start_index]).norm(dim=1)
    assert torch.allclose(points.displacement, moved, rtol=0, atol=1e-15)
    assert points.converged.all()
    assert (points.x_star == 0).all()
    # starts on the axes stay on them, by symmetry
    assert (points.state[:, 0] == 0).sum() == 3
    assert repr(points).startswith("PointSet(9 of kind 'root', N=2, q <= ")
    assert repr(points).endswith("25 starts, 0 rejected, index_sum=+1)")


@pytest.mark.parametrize(
    ("kind", "method"), [(kind, method) for kind in KINDS for method in METHODS[kind]]
)
def test_every_method_finds_the_root_of_a_contraction(kind: str, method: str) -> None:
    A, b = 0.3 * torch.linalg.qr(draw(6, 6))[0], draw(6, seed=1)
    cell = as_cell(lambda h, x: h @ A.T + b, n_state=6, n_input=1)
    root = torch.linalg.solve(torch.eye(6, dtype=F64) - A, b)
    steps = 3000 if method == "adam" else 100
    starts = draw(12, 6, seed=2)
    points = find_points(cell, starts, kind=kind, method=method, tol=1e-14, max_iter=steps)
    assert len(points) == 1
    assert (points.state[0] - root).abs().max() <= 1e-6
    assert points.kind == kind
    assert points.n_iter.max() >= 1


def test_inputs_are_one_for_all_or_one_per_start() -> None:
    # h = tanh(2 h + x) has three roots at x = 0 and one at x = 2
    net, starts = switch(1), torch.linspace(-1, 1, 21, dtype=F64)[:, None]
    one = quietly(net, starts, torch.tensor([2.0]))
    assert len(one) == 1
    assert one.x_star.tolist() == [[2.0]]
    same_input = quietly(net, starts, torch.full((21, 1), 2.0))
    assert same(one, same_input)
    assert same(one, quietly(net, starts, 2.0))
    x = torch.where(torch.arange(21) % 2 == 0, 0.0, 2.0)[:, None]
    both = quietly(net, starts, x)
    assert len(both) == 4
    assert both.index_sum is None  # roots of different networks do not add up
    for i, (state, x_star) in enumerate(zip(both.state, both.x_star, strict=True)):
        assert torch.allclose(torch.tanh(2 * state + x_star), state)
        assert x_star == x[both.start_index[i]]


def test_equal_states_at_different_inputs_stay_apart() -> None:
    cell = as_cell(lambda h, x: 0.5 * h, n_state=2, n_input=1)
    points = find_points(cell, draw(6, 2), torch.tensor([[0.0], [1.0], [2.0]] * 2))
    assert len(points) == 3
    assert points.multiplicity.tolist() == [2, 2, 2]


def test_scan_counts_what_each_threshold_would_return() -> None:
    points = find_points(
        switch(2), GRID, tol_scan=[1e-12, 1e-3, 1.0], readout=torch.tensor([1.0, -1.0])
    )
    scan = points.scan
    assert scan is not None
    assert scan.tol.tolist() == [1.0, 1e-3, 1e-12]  # falling
    assert scan.n_starts.tolist()[0] == 25
    assert scan.n_starts.tolist()[2] == 25
    assert scan.n_points.tolist()[2] == 9
    assert scan.n_points.tolist()[0] == 25  # all starts have q < 1 where they are
    k = 0.9575040240773
    assert scan.readout_range is not None
    assert scan.readout_range[2].tolist() == pytest.approx([-2 * k, 2 * k], abs=1e-5)
    assert scan.pc1_fraction[2].item() == pytest.approx(0.5, abs=1e-6)
    none = find_points(switch(2), GRID, tol_scan=[])
    assert none.scan is not None
    assert len(none.scan.tol) == 0
    assert none.scan.readout_range is None


def test_slow_points_without_readout_report_the_extent_along_their_axis() -> None:
    starts = torch.cat([torch.linspace(-3, 3, 40, dtype=F64)[:, None], 0.1 * draw(40, 4)], dim=1)
    points = find_points(line(), starts, kind="slow")
    assert points.scan is not None
    assert points.scan.extent[-1].item() == pytest.approx(6.0, abs=1e-4)
    assert points.scan.pc1_fraction[-1].item() == pytest.approx(1.0, abs=1e-6)


def test_slow_points_are_not_where_the_fast_part_remains() -> None:
    # a pure oscillation: |F(h) - h| never falls, and no direction is slow
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=F64)
    cell = as_cell(lambda h, x: torch.tanh(3 * h) @ turn.T, n_state=2, n_input=1)
    with pytest.warns(ConvergenceWarning, match="none of 30 starts reached the slow manifold"):
        points = find_points(cell, 1 + draw(30, 2), kind="slow", method="relax", max_iter=20)
    assert len(points) == 0
    assert all("of the residual is in fast directions" in r.reason for r in points.rejected)


def test_slow_points_with_a_tol_go_on_until_it_is_reached() -> None:
    def drift(h: Tensor, x: Tensor) -> Tensor:  # along h_0: 1 - 1e-2; across: 0.5
        return h * torch.tensor([1 - 1e-2, 0.5], dtype=F64)

    cell = as_cell(drift, n_state=2, n_input=1)
    starts = torch.stack([torch.linspace(1, 2, 9, dtype=F64), draw(9)], dim=1)
    free = find_points(cell, starts, kind="slow", tau_c=10)
    assert len(free) == 9
    # q = (1e-2 h_0)^2 / 2: below 2e-5 for h_0 < 0.632 only, where every start must slide to
    bound = find_points(cell, starts, kind="slow", tol=2e-5)
    assert len(bound) >= 1
    assert bound.state[:, 0].max() <= 0.6325
    assert free.state[:, 0].max() >= 1.5
    assert not bound.rejected
    with pytest.warns(ConvergenceWarning, match=r"reached q <= 2e-05: the smallest q is .* tau_c"):
        find_points(cell, starts, kind="slow", tol=2e-5, max_iter=5)


@pytest.mark.parametrize(("dt", "tau_c"), [(None, 7.0), (0.5, 3.5)])
@pytest.mark.parametrize("method", ["chord", "slow"])
def test_slow_steps_are_damped_by_tau_c(dt: float | None, tau_c: float, method: str) -> None:
    # five steps of F, then max_iter damped ones with sigma_c = 1 - exp(-1/7)
    sigma = torch.tensor([1e-3, 0.05, 0.3], dtype=F64)
    cell = as_cell(lambda h, x: h * (1 - sigma).to(h), n_state=3, n_input=1, dt=dt)
    starts = 1 + draw(4, 3)
    points = find_points(cell, starts, kind="slow", method=method, tau_c=tau_c, max_iter=6)
    mu = (1 - np.exp(-1 / 7)) ** 2
    expected = starts * (1 - sigma) ** 5 * (mu / (mu + sigma**2)) ** 6
    assert (points.state - expected).abs().max() <= 1e-9
    assert points.n_iter.tolist() == [11] * 4


# -- what is rejected --------------------------------------------------------------------------


def test_the_warning_says_that_all_roots_are_far_from_the_starts() -> None:
    cell = as_cell(lambda h, x: 0.5 * h + 50, n_state=2, n_input=1)
    with pytest.warns(ConvergenceWarning, match=r"1e-12 near a start: .* 8 ended far from every"):
        assert len(find_points(cell, draw(8, 2))) == 0


def test_outliers_are_returned_with_their_reason() -> None:
    # roots at 0 and at 50, far from every start
    def step(h: Tensor, x: Tensor) -> Tensor:
        return h - h * (1 - h / 50)

    cell = as_cell(step, n_state=1, n_input=1)
    starts = torch.cat([torch.linspace(-1, 1, 40), torch.tensor([24.0])])[:, None]
    kept = find_points(cell, starts, method="newton", outlier_scale=torch.inf)
    assert sorted(round(v, 6) for v in kept.state[:, 0].tolist()) == [0.0, 50.0] or len(kept) == 1
    far = as_cell(lambda h, x: 0.5 * h + 10, n_state=1, n_input=1)  # root 20
    with pytest.warns(ConvergenceWarning):
        points = find_points(far, torch.linspace(-1, 1, 40)[:, None])
    assert len(points) == 0
    assert len(points.rejected) == 40
    reason = points.rejected[0].reason
    assert reason.startswith("outlier: 19 from the nearest start, more than 0.59")
    assert (points.representative == -1).all()
    assert len(find_points(far, torch.linspace(-1, 1, 40)[:, None], outlier_scale=1e3)) == 1


def test_saturated_gates_make_no_root() -> None:
    # h' = z h + (1 - z) tanh(h), z = sigmoid(40 h - 200): for h > 6 F(h) = h to rounding
    def step(h: Tensor, x: Tensor) -> Tensor:
        z = torch.sigmoid(40 * h - 200)
        return z * h + (1 - z) * torch.tanh(0.5 * h + 1)

    def slope(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        J = torch.func.vmap(torch.func.jacfwd(lambda v: step(v, v)))(h)
        return J, torch.zeros(len(h), 1, 1, dtype=h.dtype)

    cell = as_cell(step, n_state=1, n_input=1, jacobians=slope)
    starts = torch.linspace(-2, 4.9, 60, dtype=F64)[:, None]
    points = quietly(cell, starts, outlier_scale=torch.inf)
    assert len(points) == 1
    root = points.state[0, 0]
    assert torch.tanh(0.5 * root + 1).item() == pytest.approx(root.item())
    assert any(r.reason.startswith("saturated: 1 units copy themselves") for r in points.rejected)
    saturated = [r.start_index for r in points.rejected if r.reason.startswith("saturated")]
    assert (points.representative[saturated] == -1).all()


def test_exact_integrators_are_not_taken_for_saturated_gates() -> None:
    with pytest.warns(TractableWarning, match="singular to rounding"):
        points = find_points(line(), draw(20, 5))
    assert len(points) > 10
    assert not points.rejected


def test_results_stay_inside_the_box_and_starts_are_clipped_into_it() -> None:
    net = small_gru()
    points = quietly(net, 5 * draw(50, 8))
    assert points.state.abs().max() <= 1.0
    assert len(points) >= 1
    assert points.displacement.min() > 1.0  # measured from the start as given


def test_no_points_is_a_result_with_a_warning() -> None:
    cell = as_cell(lambda h, x: h + 1, n_state=2, n_input=1)
    with pytest.warns(
        ConvergenceWarning,
        match=r"none of 7 starts reached q <= 1e-12: the smallest q is 1 \(half_sum\).*kind='slow'",
    ):
        points = find_points(cell, draw(7, 2))
    assert len(points) == 0
    assert len(points.rejected) == 7
    assert points.scan is not None
    assert points.scan.n_points.tolist() == [0] * 9
    with pytest.warns(ConvergenceWarning, match=r"smallest q is 1 \(mean\)"):
        find_points(cell, draw(7, 2), q_convention="mean")


# -- interruption ------------------------------------------------------------------------------


class Interrupted:
    """The cell, with one Ctrl-C at the given call."""

    def __init__(self, cell: Cell, at: int) -> None:
        self.cell, self.left = cell, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cell, name)

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.cell(state, x)

    def to(self, **options: Any) -> Interrupted:
        return self


@pytest.mark.parametrize("at", [5, 6, 8])
def test_an_interrupted_search_goes_on_where_it_stopped(at: int, tmp_path: Path) -> None:
    cell = as_cell(switch(2))
    whole = find_points(cell, GRID)
    part = quietly(Interrupted(cell, at), GRID)
    assert part.interrupted
    assert len(part.unfinished) > 0
    assert len(part) < 9 or len(part.unfinished) < 25
    assert {r.reason.split(";")[0] for r in part.rejected} == {"interrupted"}
    part.save(tmp_path / "part.npz")
    loaded = PointSet.load(tmp_path / "part.npz")
    assert torch.equal(loaded.unfinished, part.unfinished)
    rest = find_points(cell, GRID, resume=loaded)
    assert not rest.interrupted
    assert rest.rejected == ()
    assert len(rest) == 9
    assert torch.allclose(rest.state, whole.state, rtol=0, atol=1e-12)
    assert rest.representative.tolist() == whole.representative.tolist()
    assert rest.multiplicity.tolist() == whole.multiplicity.tolist()
    assert rest.index_sum == 1
    assert rest.cell is not None


def test_interrupted_slow_search_keeps_what_is_on_the_manifold() -> None:
    starts = torch.cat([torch.linspace(-3, 3, 40, dtype=F64)[:, None], 0.1 * draw(40, 4)], dim=1)
    part = quietly(Interrupted(line(), 13), starts, kind="slow")
    assert part.interrupted
    assert len(part) > 0


def test_resume_must_be_the_same_search() -> None:
    points = find_points(switch(2), GRID)
    reversed_twice = find_points(switch(2), GRID.flip(0).numpy()[::-1], np.float64(0.0))
    assert same(reversed_twice, points)
    assert same(find_points(switch(2), GRID, np.array(0.0)), points)
    assert same(find_points(switch(2), GRID, resume=points), points)  # nothing left to do
    with pytest.raises(ValueError, match="its number of starts is 25, now 24"):
        find_points(switch(2), GRID[1:], resume=points)
    with pytest.raises(ValueError, match="its kind is root, now slow"):
        find_points(switch(2), GRID, kind="slow", resume=points)
    with pytest.raises(ValueError, match="x_star has changed at 9 of its 9 points"):
        find_points(switch(2), GRID, torch.tensor([1e-3]), resume=points)
    with pytest.raises(ValueError, match="starts has changed at"):
        find_points(switch(2), GRID.flip(0), resume=points)
    with pytest.raises(ValueError, match="cell must be the one that the points were found with"):
        find_points(switch(2, gain=1.9), GRID, resume=points)
    again = find_points(switch(2), GRID.float(), resume=points)
    assert same(again, points)
    assert again.scan is None  # it would be of no start


def test_callback_sees_the_search_and_can_stop_it() -> None:
    seen: list[tuple[str, int, int, dict[str, Any]]] = []
    find_points(switch(2), GRID, progress=lambda *args: seen.append(args))
    done, total, info = seen[-1][1:]
    assert (done, total) == (25, 25)
    assert set(info) == {"converged", "median_q", "eta_s"}
    assert {entry[0] for entry in seen} == {"newton", "lm"}

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    assert quietly(switch(2), GRID, progress=stop, max_iter=1).interrupted


# -- reproducibility ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits(kind: str) -> None:
    starts = 0.5 * draw(60, 8)
    sets = [
        find_points(small_gru(), starts, kind=kind, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    ]
    assert same(*sets)
    assert torch.equal(sets[0].scan.n_points, sets[1].scan.n_points)  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "method"), [("root", "auto"), ("root", "lm"), ("slow", "slow")])
def test_memory_limits_do_not_change_the_result(kind: str, method: str) -> None:
    starts = 0.5 * draw(20, 8)
    sets = [
        find_points(small_gru(), starts, kind=kind, method=method, max_memory=size)
        for size in ("1GiB", 5 * 8 * 8 * 8 * 7, "1B")
    ]
    for other in sets[1:]:
        assert (other.state - sets[0].state).abs().max() <= 1e-12
        assert other.representative.tolist() == sets[0].representative.tolist()


def test_the_users_network_and_random_state_are_left_alone() -> None:
    net = nn.GRU(2, 8, num_layers=2, dropout=0.5)
    net.train()
    before = copy.deepcopy(net.state_dict())
    flags = [p.requires_grad for p in net.parameters()]
    torch.manual_seed(3)
    random_state = torch.get_rng_state()
    starts = 0.1 * torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    kept = starts.clone()
    for kind in KINDS:
        quietly(net, starts, kind=kind)
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True)
    )
    assert flags == [p.requires_grad for p in net.parameters()]
    assert all(p.grad is None and p.dtype == torch.float32 for p in net.parameters())
    assert net.training
    assert torch.equal(random_state, torch.get_rng_state())
    assert torch.equal(starts, kept)
    assert torch.is_grad_enabled()


def test_trainable_functions_leave_no_graph() -> None:
    net = small_gru()
    cell = as_cell(lambda h, x: net(x, h), n_state=8, n_input=2)
    points = find_points(cell, 0.1 * draw(4, 8))
    built_in = find_points(net, 0.1 * draw(4, 8))
    assert not points.state.requires_grad
    assert not points.jacobians()[0].requires_grad
    assert (points.state - built_in.state).abs().max() <= 1e-5  # float32 weights


def test_arrays_and_lists_are_accepted() -> None:
    expected = find_points(switch(2), GRID)
    assert same(expected, find_points(switch(2), GRID.numpy(), np.zeros(1)))
    assert same(expected, find_points(switch(2), GRID.tolist(), 0))


# -- precision and size ------------------------------------------------------------------------


def test_float32_is_available_and_warns_below_its_rounding() -> None:
    points = find_points(switch(2), GRID, dtype=torch.float32, tol=1e-11)
    assert points.state.dtype == torch.float32
    assert len(points) == 9
    with pytest.warns(TractableWarning, match=r"tol = 1.0e-20 .* below the rounding of float32"):
        quietly_rounded(switch(2), GRID, dtype=torch.float32, tol=1e-20)


def quietly_rounded(*args: Any, **options: Any) -> PointSet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return find_points(*args, **options)


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "rooot"},
            "kind must be one of 'root', 'local_min', 'slow', got 'rooot'; did you",
        ),
        (
            {"method": "adagrad"},
            "method for kind='root' must be one of 'auto', 'newton', .* got 'adagrad'",
        ),
        ({"kind": "slow", "method": "newton"}, "method for kind='slow' must be one of 'auto', 'ch"),
        ({"q_convention": "sum"}, "q_convention must be one of 'half_sum', 'mean', got 'sum'"),
        ({"tol": 0.0}, "tol must be > 0, got 0"),
        ({"tol": -1e-9}, "tol must be > 0, got -1e-09"),
        ({"tol": float("nan")}, "tol must be > 0, got nan"),
        ({"tol_grad": 0.0}, "tol_grad must be > 0"),
        ({"tau_c": 0.0}, "tau_c must be > 0"),
        ({"max_iter": 0}, "max_iter must be >= 1, got 0"),
        ({"tol_scan": [1e-3, 0.0]}, "tol_scan must be > 0, got 0"),
        ({"tol_unique": -1.0}, "tol_unique must be >= 0, got -1"),
        ({"outlier_scale": 0.0}, "outlier_scale must be > 0"),
        ({"dtype": torch.float16}, "dtype must be one of torch.float64, torch.float32"),
        ({"max_memory": "much"}, "max_memory must be like '512MiB', .* got 'much'"),
        ({"max_memory": "0MiB"}, "max_memory must be like"),
        ({"max_memory": "1.2.3GB"}, "max_memory must be like"),
        ({"readout": torch.zeros(3)}, r"readout weight must have width 2 .* got 3"),
        ({"readout": torch.full((2,), torch.nan)}, "readout weight must be finite"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_points(switch(2), GRID, **options)


def test_bad_starts_and_inputs_are_named() -> None:
    net = switch(2)
    bad = GRID.clone()
    bad[3, 1] = torch.nan
    with pytest.raises(ValueError, match=r"starts must be finite, got 1 of 50 .* index \(3, 1\)"):
        find_points(net, bad)
    with pytest.raises(ValueError, match=r"starts must have shape \(n, 2\), got \(25, 3\)"):
        find_points(net, torch.zeros(25, 3))
    with pytest.raises(ValueError, match=r"starts must have shape \(n, 2\), got \(2,\)"):
        find_points(net, torch.zeros(2))
    with pytest.raises(ValueError, match=r"got \(2, 25\); transposed\?"):
        find_points(net, GRID.T)
    with pytest.raises(ValueError, match=r"at least one state, got shape \(0, 2\)"):
        find_points(net, GRID[:0])
    with pytest.raises(ValueError, match=r"x_star must have shape \(1,\), got \(2,\)"):
        find_points(net, GRID, torch.zeros(2))
    with pytest.raises(ValueError, match=r"x_star must have shape \(25, 1\), got \(24, 1\)"):
        find_points(net, GRID, torch.zeros(24, 1))
    with pytest.raises(ValueError, match="x_star must be finite"):
        find_points(net, GRID, torch.full((1,), torch.inf))


class Odd:
    """A cell of two units that misbehaves as it is told."""

    n_state, n_input, dt, bounds = 2, 1, None, None
    dtype, device, readout_slice = F64, torch.device("cpu"), slice(0, 2)

    def __init__(self, step: Any) -> None:
        self.step = step

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        return self.step(state)

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        return torch.zeros(len(state), 2, 2, dtype=F64)

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.recurrent_jacobian(state, x), torch.zeros(len(state), 2, 1, dtype=F64)

    def pack(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        return (state,)

    def to(self, **options: Any) -> Odd:
        return self


def test_misbehaving_cells_are_named() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="cell must be deterministic, got states that differ by"):
        find_points(Odd(lambda h: h + torch.randn_like(h)), GRID)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(
        ValueError, match=r"cell\(state, x\) must have shape \(8, 2\), got \(8, 1\)"
    ):
        find_points(Odd(lambda h: h[:, :1]), GRID)
    with pytest.raises(ValueError, match="NaN or infinity at all 25 starts; are its weights"):
        find_points(Odd(lambda h: h * torch.nan), GRID)
    some = quietly(Odd(lambda h: torch.where(h > 0.9, torch.nan, 0.0)), GRID, method="relax")
    assert len(some) == 1
    assert {r.reason for r in some.rejected} == {"non-finite state"}
    assert isinstance(some.rejected[0], Rejected)
    with pytest.raises(TypeError, match="unsupported cell"):
        find_points(3, GRID)


def test_bidirectional_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="direction"):
        find_points(nn.GRU(2, 4, bidirectional=True), torch.zeros(3, 4))
