from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tractable.dynamics.cells import as_cell
from tractable.dynamics.points import slow_solvers
from tractable.dynamics.points.gradient_solvers import _two_loops, adam, anderson, lbfgs
from tractable.dynamics.points.krylov import gmres, krylov
from tractable.dynamics.points.search import (
    ACTIVE,
    BELOW_TOL,
    MINIMUM,
    NON_FINITE,
    SINGULAR,
    STALLED,
    WALL,
    Search,
)
from tractable.dynamics.points.slow_solvers import chord, damped, fast_part, k_means
from tractable.dynamics.points.solvers import (
    damped_inverse_step,
    line_search,
    lm,
    newton,
    polish,
    relax,
)

F64 = torch.float64


class Map:
    """A tiny cell from F and its Jacobian, with a record of what it was asked."""

    dt = None

    def __init__(
        self,
        n: int,
        step: Callable[[Tensor, Tensor], Tensor],
        jacobian: Callable[[Tensor, Tensor], Tensor],
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.n_state, self.n_input, self.bounds = n, 1, bounds
        self.step, self.jacobian = step, jacobian
        self.readout_slice, self.dtype, self.device = slice(0, n), F64, torch.device("cpu")
        self.calls: list[Tensor] = []

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        self.calls.append(state.clone())
        return self.step(state, x)

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        return self.jacobian(state, x)


def linear(A: Tensor) -> Map:
    n = len(A)
    return Map(n, lambda h, x: h @ A.T + x, lambda h, x: A.expand(len(h), n, n).clone())


def arctangent() -> Map:
    # g(h) = arctan(h): full Newton steps diverge from |h| > 1.39
    return Map(1, lambda h, x: h - h.atan(), lambda h, x: (1 - 1 / (1 + h**2))[:, :, None])


def search(cell: Any, state: Tensor, x: Tensor | float = 0.0, **options: Any) -> Search:
    inputs = torch.as_tensor(x, dtype=F64).expand(len(state), 1)
    return Search(cell, state, inputs, **{"tol": 1e-12, **options})


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def contraction(n: int, seed: int = 0, radius: float = 0.8) -> Tensor:
    A = draw(n, n, seed=seed)
    return radius * A / torch.linalg.eigvals(A).abs().max()


# -- the active set ----------------------------------------------------------------------------


def test_search_reports_residual_and_speed() -> None:
    A, state = contraction(4), draw(3, 4, seed=1)
    run = search(linear(A), state, 0.5)
    residual = state - state @ A.T - 0.5
    assert torch.allclose(run.residual, residual, rtol=0, atol=1e-15)
    assert run.q.tolist() == pytest.approx((residual**2).sum(1).div(2).tolist(), rel=1e-14)
    assert run.state is not state


def test_starts_that_are_done_leave_the_batch() -> None:
    cell = linear(0.5 * torch.eye(2, dtype=F64))
    run = search(cell, torch.tensor([[0.0, 0.0], [1e-7, 0.0], [1.0, 0.0]], dtype=F64))
    assert run.status.tolist() == [BELOW_TOL, BELOW_TOL, ACTIVE]
    cell.calls.clear()
    relax(run, 3)
    assert [len(call) for call in cell.calls] == [1, 1, 1]
    assert run.n_iter.tolist() == [0, 0, 3]
    assert run.state[2, 0].item() == 0.125
    relax(run, 100)
    # q = (h/2)^2 / 2 <= 1e-12 first at h = 2^-20
    assert run.n_iter.tolist() == [0, 0, 19]
    assert run.status.tolist() == [BELOW_TOL] * 3


def test_blocks_hold_as_many_jacobians_as_the_memory_allows() -> None:
    run = search(linear(contraction(8)), draw(50, 8), max_bytes=5 * 8 * 8 * 8 * 7)
    assert [len(block) for block in run.blocks(torch.arange(50))] == [7] * 7 + [1]
    run.max_bytes = 1.0
    assert [len(block) for block in run.blocks(torch.arange(3))] == [1, 1, 1]


def test_scan_keeps_the_state_at_which_each_threshold_was_first_crossed() -> None:
    cell = linear(0.5 * torch.eye(1, dtype=F64))
    run = search(cell, torch.tensor([[1.0]], dtype=F64), scan_tol=torch.tensor([0.2, 1e-3, 1e-4]))
    assert run.crossed.tolist() == [1]  # q = 1/8 at the start
    relax(run, 50)
    # q = h^2 / 8: below 1e-3 from h = 2^-4 on, below 1e-4 from h = 2^-6 on
    assert run.scan_state[:, 0, 0].tolist() == [1.0, 2.0**-4, 2.0**-6]


def test_non_finite_states_are_settled_and_never_accepted() -> None:
    cell = Map(1, lambda h, x: h**3 * 1e200, lambda h, x: 3e200 * h[:, :, None] ** 2)
    run = search(cell, torch.tensor([[1e60], [1e-101]], dtype=F64))
    assert run.status[0] == NON_FINITE
    relax(run, 2)
    assert run.status.tolist() == [NON_FINITE, BELOW_TOL]


def test_watch_gets_counts() -> None:
    seen: list[tuple[Any, ...]] = []
    run = search(arctangent(), draw(6, 1), watch=lambda *args: seen.append(args))
    newton(run, 50)
    stage, done, total, info = seen[-1]
    assert (stage, done, total) == ("newton", 6, 6)
    assert info["converged"] == 6
    assert info["median_q"] <= 1e-12
    assert info["eta_s"] == 0.0


# -- Newton ------------------------------------------------------------------------------------


def test_newton_solves_a_linear_cell_in_one_step() -> None:
    A = contraction(7)
    run = search(linear(A), draw(5, 7, seed=1), 0.3)
    newton(run, 1)
    root = torch.linalg.solve(torch.eye(7, dtype=F64) - A, torch.full((7,), 0.3, dtype=F64))
    assert (run.state - root).abs().max() <= 1e-13
    assert run.n_iter.tolist() == [1] * 5


def test_newton_converges_quadratically() -> None:
    # e' = g''/(2 g') e^2 at the root k = tanh(2 k): g' = 1 - 2(1 - k^2), g'' = 8 k (1 - k^2)
    k = 0.95750402407728
    cell = Map(1, lambda h, x: (2 * h).tanh(), lambda h, x: (2 / (2 * h).cosh() ** 2)[:, :, None])
    run = search(cell, torch.tensor([[k + 1e-3]], dtype=F64), tol=1e-30)
    newton(run, 1)
    curvature = 4 * k * (1 - k * k) / (1 - 2 * (1 - k * k))
    assert abs(run.state.item() - k) / 1e-6 == pytest.approx(curvature, rel=2e-2)


def test_line_search_saves_newton_where_full_steps_diverge() -> None:
    run = search(arctangent(), torch.tensor([[1.3], [1.5], [10.0], [-25.0]], dtype=F64))
    newton(run, 30)
    assert run.status.tolist() == [BELOW_TOL] * 4
    assert run.state.abs().max() < 1e-5


def test_line_search_halves_per_start() -> None:
    cell = linear(torch.zeros(1, 1, dtype=F64))  # g = h
    run = search(cell, torch.tensor([[1.0], [1.0], [1.0]], dtype=F64))
    step = torch.tensor([[1.0], [3.0], [-1.0]], dtype=F64)  # one step, halved once, never
    failed = line_search(run, torch.arange(3), step)
    assert failed.tolist() == [2]
    assert run.state[:, 0].tolist() == [0.0, -0.5, 1.0]


def test_one_singular_matrix_does_not_fail_the_batch() -> None:
    # F = x h + 1: A = (1 - x) I is singular for x = 1
    cell = Map(
        3, lambda h, x: x * h + 1, lambda h, x: x[:, :, None] * torch.eye(3, dtype=F64)[None]
    )
    run = search(cell, draw(3, 3), torch.tensor([[0.5], [1.0], [-1.0]], dtype=F64))
    newton(run, 5)
    assert run.status.tolist() == [BELOW_TOL, SINGULAR, BELOW_TOL]
    assert run.state[0].tolist() == pytest.approx([2.0] * 3)
    assert run.state[2].tolist() == pytest.approx([0.5] * 3)


def test_newton_stalls_at_a_minimum_of_q_and_lm_stops_there() -> None:
    # g = h^2 + 1 has no zero; q is least at h = 0
    def cell() -> Map:
        return Map(1, lambda h, x: h - h**2 - 1, lambda h, x: (1 - 2 * h)[:, :, None])

    start = torch.tensor([[1e-3], [2.0]], dtype=F64)
    run = search(cell(), start)
    newton(run, 100)
    assert STALLED in run.status.tolist()
    run = search(cell(), start)
    lm(run, 100)
    assert run.status.tolist() == [MINIMUM] * 2
    assert run.q.tolist() == pytest.approx([0.5, 0.5], rel=1e-10)
    assert run.n_iter.max() <= 30


def test_polish_goes_on_to_the_rounding_error() -> None:
    run = search(arctangent(), torch.tensor([[0.3], [0.2]], dtype=F64), tol=1e-3)
    newton(run, 30)
    assert run.q.max() > 1e-20
    polish(run, torch.arange(2), 1e-28)
    assert run.q.max() <= 1e-28


# -- Levenberg-Marquardt -----------------------------------------------------------------------


def test_lm_steps_are_those_of_the_normal_equations() -> None:
    A = contraction(5)
    run = search(linear(A), draw(1, 5, seed=1))
    before, g = run.state.clone(), run.residual[0].clone()
    lm(run, 1)
    gap = torch.eye(5, dtype=F64) - A
    mu = 1e-3 * (gap**2).sum() / 5
    step = torch.linalg.inv(gap.T @ gap + mu * torch.eye(5, dtype=F64)) @ gap.T @ g
    assert (before[0] - step - run.state[0]).abs().max() <= 1e-12


def test_damped_inverse_step_solves_its_equation() -> None:
    gap, g, mu = draw(3, 6, 6), draw(3, 6, seed=1), torch.tensor([1e-6, 0.1, 10.0], dtype=F64)
    step = damped_inverse_step(gap, g, mu)
    left = gap.mT @ gap @ step[:, :, None] + (mu[:, None] * step)[:, :, None]
    assert (left[:, :, 0] - g).abs().max() <= 1e-8
    columns = damped_inverse_step(gap, torch.stack([g, 2 * g], dim=2), mu)
    assert torch.allclose(columns[:, :, 1], 2 * step)
    bad = damped_inverse_step(torch.full((1, 2, 2), torch.nan, dtype=F64), g[:1, :2], mu[:1])
    assert bad.isnan().all()


def test_lm_reaches_roots_of_an_ill_conditioned_cell_to_full_accuracy() -> None:
    # sigma_min = 1e-7: forming A^T A would leave no digit of the slow direction
    slow = torch.diag(torch.tensor([1 - 1e-7, 0.5, 0.2], dtype=F64))
    run = search(linear(slow), 1e-2 * draw(4, 3), 0.1, tol=1e-20, tol_grad=1e-12)
    lm(run, 60)
    assert run.status.tolist() == [BELOW_TOL] * 4
    assert run.state[:, 0].tolist() == pytest.approx([1e6] * 4, rel=1e-6)


def test_each_start_runs_as_if_alone() -> None:
    W = 1.5 * draw(6, 6)

    def cell() -> Map:
        return Map(
            6,
            lambda h, x: torch.tanh(h @ W.T),
            lambda h, x: (1 - torch.tanh(h @ W.T) ** 2)[:, :, None] * W,
        )

    starts = draw(20, 6, seed=1)
    for solver in (newton, lm):
        together = search(cell(), starts)
        solver(together, 15)
        for i in (0, 7, 19):
            alone = search(cell(), starts[i : i + 1])
            solver(alone, 15)
            assert (alone.state[0] - together.state[i]).abs().max() <= 1e-6
            assert alone.status[0] == together.status[i]


# -- the box -----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [newton, lm, lambda s, n: damped(s, 1e-3, n), krylov])
def test_no_solver_leaves_the_box(solver: Callable[[Search, int], None]) -> None:
    # g = h + 0.1 h^3 - 1.5: the root 1.259 is outside; the box is not invariant, on purpose
    one = torch.ones(2, dtype=F64)
    cell = Map(
        2,
        lambda h, x: 1.5 - 0.1 * h**3,
        lambda h, x: torch.diag_embed(-0.3 * h**2),
        bounds=(-one, one),
    )
    run = search(cell, 3 * draw(20, 2))
    assert run.state.abs().max() <= 1.0
    if solver in (newton, lm, krylov):
        solver(run, 40)
        assert run.state.abs().max() <= 1.0
        assert not (run.status == BELOW_TOL).any()
    if solver is lm:
        assert (run.status == WALL).all()
        assert (run.state == 1.0).all()


def test_units_at_a_wall_do_not_hold_up_the_others() -> None:
    # unit 0 would go beyond 1; unit 1 has its root at 0.5, reached although unit 0 is stuck
    one = torch.ones(2, dtype=F64)
    target, A = torch.tensor([1.4, 0.5], dtype=F64), torch.tensor([[0.0, 0.3], [0.0, 0.0]])
    A = A.double()
    cell = Map(
        2, lambda h, x: target + h @ A.T, lambda h, x: A.expand(len(h), 2, 2), bounds=(-one, one)
    )
    run = search(cell, torch.tensor([[1.0, -0.9]], dtype=F64))
    lm(run, 60)
    assert run.status.tolist() == [WALL]
    # least squares in h_1 with h_0 = 1: (1 - 1.4 - 0.3 h_1)^2 + (h_1 - 0.5)^2
    assert run.state[0].tolist() == pytest.approx([1.0, (0.5 - 0.3 * 0.4) / 1.09], abs=1e-6)


# -- slow manifolds ----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [damped, chord])
def test_damped_steps_shrink_each_singular_direction_by_its_own_factor(
    solver: Callable[..., None],
) -> None:
    # symmetric A with singular values sigma: one step multiplies the residual by mu/(mu+sigma^2)
    sigma = torch.tensor([1e-3, 0.03, 0.5, 1.0], dtype=F64)
    Q = torch.linalg.qr(draw(4, 4))[0]
    gap = Q @ torch.diag(sigma) @ Q.T
    run = search(linear(torch.eye(4, dtype=F64) - gap), draw(9, 4, seed=1), tol=0.0)
    before = run.residual @ Q
    mu, n_steps = 1e-2, 3
    solver(run, mu, n_steps)
    factor = (mu / (mu + sigma**2)) ** n_steps
    assert (run.residual @ Q - before * factor).abs().max() <= 1e-9


def test_damped_steps_that_raise_q_give_way_to_steps_of_the_network() -> None:
    # a Jacobian of the wrong sign sends every damped step uphill
    A = 0.5 * torch.eye(2, dtype=F64)
    wrong = Map(
        2, lambda h, x: h @ A.T, lambda h, x: 1.5 * torch.eye(2, dtype=F64).expand(len(h), 2, 2)
    )
    for solver in (damped, chord):
        run = search(wrong, torch.ones(3, 2, dtype=F64), tol=0.0)
        solver(run, 1e-3, 2)
        assert run.state.tolist() == [[0.25, 0.25]] * 3


def test_fast_part_is_the_damped_projection() -> None:
    sigma = torch.tensor([1e-3, 0.1, 1.0], dtype=F64)
    cell = linear(torch.eye(3, dtype=F64) - torch.diag(sigma))
    run = search(cell, torch.diag(1 / sigma), tol=0.0)  # residuals are unit vectors
    mu = 1e-2
    share, distance = fast_part(run, mu)
    assert share.tolist() == pytest.approx((sigma**2 / (sigma**2 + mu)).tolist())
    assert distance.tolist() == pytest.approx((sigma / (sigma**2 + mu)).tolist())
    still = search(cell, torch.zeros(1, 3, dtype=F64), tol=0.0)
    assert fast_part(still, mu)[0].tolist() == [0.0]


def test_anchors_hold_while_most_starts_are_nearer_than_their_anchor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    anew = slow_solvers._anchors
    monkeypatch.setattr(slow_solvers, "_anchors", lambda *a: made.append(anew(*a)) or made[-1])
    # a wide cloud that hardly moves (A = 0.01): its groups hold for all of 20 steps
    still = linear(0.99 * torch.eye(3, dtype=F64))
    run = search(still, draw(200, 3), tol=0.0)
    chord(run, 1.0, 20)
    assert len(made) == 1
    assert made[0].hold(run, torch.arange(200))
    assert run.anchors is made[0]
    # 8 starts are their own anchors: whoever moves needs a new Jacobian
    made.clear()
    chord(search(still, draw(8, 3), tol=0.0), 1.0, 20)
    assert len(made) == 5


def test_chord_steps_end_where_damped_steps_do() -> None:
    torch.manual_seed(0)
    cell = as_cell(nn.GRU(1, 16)).to(dtype=F64)
    starts = 0.8 * torch.tanh(draw(300, 16))
    ends = []
    for solver in (damped, chord):
        run = search(cell, starts, tol=0.0)
        relax(run, 5)
        solver(run, 0.05**2, 20)
        ends.append(run.q)
    assert ends[1].median() <= 2 * ends[0].median()


def test_k_means_finds_clusters_and_leaves_none_empty() -> None:
    centers = 10 * draw(5, 3)
    truth = torch.arange(60) % 5
    points = centers[truth] + 0.01 * draw(60, 3, seed=1)
    label = k_means(points, 5, torch.Generator().manual_seed(3))
    assert len({(int(a), int(b)) for a, b in zip(truth, label, strict=True)}) == 5
    assert torch.equal(label, k_means(points, 5, torch.Generator().manual_seed(3)))
    assert k_means(torch.zeros(4, 3), 3).tolist() == [0, 0, 0, 0]
    assert k_means(draw(3, 2), 16).unique().tolist() == [0, 1, 2]


# -- Krylov ------------------------------------------------------------------------------------


def test_gmres_solves_the_newton_system() -> None:
    W = 1.2 * draw(60, 60) / math.sqrt(60)
    cell = Map(
        60,
        lambda h, x: torch.tanh(h @ W.T),
        lambda h, x: (1 - torch.tanh(h @ W.T) ** 2)[:, :, None] * W,
    )
    run = search(cell, 0.5 * draw(4, 60, seed=1))
    rows = torch.arange(4)
    step = gmres(run, rows)
    left = (run.gap(rows) @ step[:, :, None])[:, :, 0] - run.residual
    assert (left.norm(dim=1) <= 1.1e-3 * run.residual.norm(dim=1)).all()
    krylov(run, 20)
    exact = search(cell, 0.5 * draw(4, 60, seed=1))
    newton(exact, 20)
    done = (run.status == BELOW_TOL) & (exact.status == BELOW_TOL)
    assert done.any()


def test_gmres_of_a_small_cell_is_exact_after_one_cycle() -> None:
    cell = linear(contraction(8))
    run = search(cell, draw(2, 8, seed=1), 0.3)
    cell.calls.clear()
    step = gmres(run, torch.arange(2))
    assert len(cell.calls) == 9  # eight Krylov vectors, and the residual
    exact = torch.linalg.solve(run.gap(torch.arange(2)), run.residual)
    assert (step - exact).abs().max() <= 1e-5


def test_gmres_survives_breakdown_and_a_zero_residual() -> None:
    cell = linear(0.5 * torch.eye(5, dtype=F64))  # the first Krylov vector solves it
    run = search(cell, torch.stack([torch.ones(5, dtype=F64), torch.zeros(5, dtype=F64)]))
    step = gmres(run, torch.arange(2))
    assert step[0].tolist() == pytest.approx([1.0] * 5, rel=1e-6)
    assert step[1].tolist() == [0.0] * 5


# -- without Jacobians -------------------------------------------------------------------------


def ghost(eps: float = 0.01) -> Map:
    """F(h) = h + eps + h^2: no root, and a minimum of q at h = 0 where q = eps^2 / 2."""
    return Map(1, lambda h, x: h + eps + h**2, lambda h, x: (1 + 2 * h)[:, :, None])


@pytest.mark.parametrize("solver", [adam, lbfgs])
def test_gradient_solvers_stop_at_a_minimum_that_is_no_root(solver: Callable[..., None]) -> None:
    starts = torch.linspace(-0.4, 0.4, 9, dtype=F64)[:, None]
    search = Search(ghost(), starts, torch.zeros(9, 1, dtype=F64), tol=1e-12, tol_grad=1e-5)
    solver(search, 2000)
    assert (search.status == MINIMUM).all()
    assert search.state.abs().max() < 1e-5
    assert torch.allclose(search.q, torch.full((9,), 0.01**2 / 2, dtype=F64), rtol=1e-6, atol=0)


def test_the_two_loops_multiply_by_the_inverse_hessian_of_bfgs() -> None:
    # SECOND FORMULA: H <- (1 - r s y^T) H (1 - r y s^T) + r s s^T with r = 1 / y s, as matrices
    n, starts = 5, 3
    half = torch.randn(starts, n, n, dtype=F64)
    hessian = half @ half.mT + torch.eye(n, dtype=F64)
    moves = list(torch.randn(3, starts, n, dtype=F64))
    bends = [(hessian @ s[:, :, None])[:, :, 0] for s in moves]
    bends[1][2] = -bends[1][2]  # negative curvature at one start: the pair is left out there
    gradient = torch.randn(starts, n, dtype=F64)
    found = _two_loops(gradient, moves, bends)
    for i in range(starts):
        pairs = [(s[i], y[i]) for s, y in zip(moves, bends, strict=True) if float(s[i] @ y[i]) > 0]
        s, y = pairs[-1]
        inverse = torch.eye(n, dtype=F64) * (s @ y) / (y @ y)
        for s, y in pairs:
            left = torch.eye(n, dtype=F64) - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        assert torch.allclose(found[i], inverse @ gradient[i], rtol=1e-9, atol=1e-12)


def test_anderson_mixing_solves_linear_maps_in_as_many_steps_as_eigenvalues() -> None:
    """On a linear map it is GMRES: four eigenvalues, four mixed steps and the last plain one."""
    values = torch.tensor([0.99, 0.5, -0.6, 0.1], dtype=F64)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=F64))[0]
    A = turn @ torch.diag(values) @ turn.T
    search = Search(linear(A), torch.randn(5, 4, dtype=F64), torch.zeros(5, 1, dtype=F64), 1e-20)
    anderson(search, 12)
    assert (search.status == BELOW_TOL).all()
    assert search.n_iter.max() <= 7
    slow = Search(linear(A), torch.randn(5, 4, dtype=F64), torch.zeros(5, 1, dtype=F64), 1e-20)
    relax(slow, 200)
    assert (slow.status == ACTIVE).all()


@pytest.mark.parametrize("solver", [adam, lbfgs, anderson])
def test_starts_do_not_disturb_each_other(solver: Callable[..., None]) -> None:
    W = torch.randn(5, 5, dtype=F64)

    def end(starts: Tensor) -> Tensor:
        cell = Map(5, lambda h, x: torch.tanh(h @ W.T), lambda h, x: h)
        search = Search(cell, starts, torch.zeros(len(starts), 1, dtype=F64), tol=1e-20)
        solver(search, 15)
        return search.state

    starts = torch.randn(4, 5, dtype=F64) * torch.tensor([[0.1], [0.5], [1.0], [3.0]])
    together = end(starts)
    for i in range(4):
        assert torch.allclose(end(starts[i : i + 1])[0], together[i], rtol=0, atol=1e-9)


class OnceOnly(torch.autograd.Function):
    """tanh with a first derivative and no second one."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        out = torch.tanh(h)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return grad * (1 - out**2)


@pytest.mark.parametrize("solver", [adam, lbfgs])
def test_first_derivatives_are_enough_and_needed(solver: Callable[..., None]) -> None:
    W = 2 * torch.eye(3, dtype=F64)
    zeros, starts = torch.zeros(6, 1, dtype=F64), torch.randn(6, 3, dtype=F64)
    search = Search(
        Map(3, lambda h, x: OnceOnly.apply(h @ W.T), lambda h, x: h), starts, zeros, 1e-18
    )
    solver(search, 3000)
    near = torch.tensor([-0.9575040240773, 0.0, 0.9575040240773], dtype=F64)
    done = search.status == BELOW_TOL
    assert done.any()
    assert (search.state[done][..., None] - near).abs().amin(-1).max() < 1e-6
    blind = Map(3, lambda h, x: OnceOnly.apply(h @ W.T).detach(), lambda h, x: h)
    with pytest.raises(ValueError, match="cell must be differentiable"):
        solver(Search(blind, starts, zeros, 1e-18), 3)
