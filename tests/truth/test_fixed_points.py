"""Fixed, slow and stopped points where they are known in advance.

IDENTITY: zero recurrent weights, linear cells, the q conventions.
INDEPENDENT: the rank-one network by a scalar equation (scipy), block networks by counting, the
    ghost of a saddle-node by hand, the exact line attractor by construction.
SIMULATION: stable roots are the states at which the network itself ends.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from tractable.core.checks import ConvergenceWarning, TractableWarning
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.cells.rate_maps import RateMap
from tractable.dynamics.modes import eigenvalues
from tractable.dynamics.points import PointSet, find_points

F64 = torch.float64
KAPPA = 0.9575040240773  # root of k = tanh(2 k)
TOP = 0.1663720877517  # 2 (1 - k^2)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def signs(n: int, seed: int = 0) -> Tensor:
    return draw(n, seed=seed).sign()


def speed(points: PointSet) -> Tensor:
    assert points.cell is not None
    return (points.state - points.cell(points.state, points.x_star)).square().sum(1) / 2


# -- IDENTITY: no recurrence -------------------------------------------------------------------


def module(kind: str) -> nn.Module:
    cell = {"vanilla": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](3, 9).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in cell.parameters():
        parameter.data.normal_(0.0, 0.7, generator=generator)
    cell.weight_hh.data.zero_()
    return cell


@pytest.mark.parametrize("kind", ["vanilla", "gru", "lstm"])
def test_without_recurrence_there_is_one_root_with_the_gates_as_eigenvalues(kind: str) -> None:
    cell, x = module(kind), draw(3, seed=2)
    bias = (cell.bias_ih + cell.bias_hh).detach()
    drive = cell.weight_ih.detach() @ x
    if kind == "vanilla":
        root, gates = torch.tanh(drive + bias), torch.zeros(9, dtype=F64)
    elif kind == "gru":
        z = torch.sigmoid((drive + bias)[9:18])
        r = torch.sigmoid((drive + bias)[:9])
        root = torch.tanh((drive + cell.bias_ih.detach())[18:] + r * cell.bias_hh.detach()[18:])
        gates = z
    else:
        i, f, g, o = (drive + bias).view(4, 9)
        c = i.sigmoid() * g.tanh() / (1 - f.sigmoid())
        root = torch.cat([o.sigmoid() * c.tanh(), c])
        gates = torch.cat([f.sigmoid(), torch.zeros(9, dtype=F64)])
    points = find_points(cell, 0.3 * draw(20, len(root), seed=3), x)
    assert len(points) == 1
    assert points.multiplicity.tolist() == [20]
    assert (points.state[0] - root).abs().max() <= 1e-10
    found = eigenvalues(points.jacobians()[0])[0]
    assert found.imag.abs().max() <= 1e-10
    assert (found.real.sort().values - gates.sort().values).abs().max() <= 1e-10
    assert points.stability == ["stable"]
    assert points.index_sum == (None if kind == "lstm" else 1)  # c has no bound


# -- INDEPENDENT: rank-one network -------------------------------------------------------------


@pytest.mark.parametrize("n", [64, 100])
def test_rank_one_network_has_three_roots(n: int) -> None:
    # W = 2 s s^T / N; torch.linalg.eig raises at N = 100
    s = signs(n)
    net = nn.RNNCell(1, n, bias=False).double()
    net.weight_hh.data = 2 * torch.outer(s, s) / n
    along = 2.4 * torch.rand(256, 1, dtype=F64, generator=torch.Generator().manual_seed(1)) - 1.2
    points = find_points(net, along * s + 0.1 * draw(256, n, seed=2))
    overlap = points.state @ s / n
    order = overlap.argsort().tolist()

    kappa = brentq(lambda k: k - math.tanh(2 * k), 0.5, 1.0, xtol=1e-15)
    assert kappa == pytest.approx(KAPPA, abs=1e-12)
    assert overlap[order].tolist() == pytest.approx([-kappa, 0.0, kappa], abs=1e-9)
    assert (points.state - overlap[:, None] * s).abs().max() <= 1e-9
    eigvals = eigenvalues(points.jacobians()[0])[order]
    assert eigvals[:, 0].real.tolist() == pytest.approx([TOP, 2.0, TOP], abs=1e-9)
    assert eigvals[:, 1:].abs().max() <= 1e-9
    assert [points.stability[i] for i in order] == ["stable", "saddle(1)", "stable"]
    assert points.index_sum == 1
    assert points.multiplicity.sum() == 256


def test_stable_roots_are_where_the_network_ends() -> None:
    # SIMULATION: a symmetric rate network descends an energy, so that every run ends at a root
    n = 14
    net = nn.RNN(1, n, bias=False).double()
    first = signs(n, seed=4)
    pattern = torch.stack([first, first * torch.tensor([1.0] * 7 + [-1.0] * 7)])
    net.weight_hh_l0.data = pattern.T @ torch.diag(torch.tensor([1.7, 1.6]).double()) @ pattern / n
    cell = as_cell(net, continuous=True, dt=0.2)
    starts = (2 * torch.rand(400, 2, dtype=F64) - 1) @ pattern + 0.2 * draw(400, n, seed=6)
    points = find_points(cell, starts)
    stable = points.state[[i for i, label in enumerate(points.stability) if label == "stable"]]
    state, x = starts, starts.new_zeros(400, 1)
    for _ in range(1000):
        state = cell(state, x)
    distance = torch.cdist(state, stable)
    assert len(stable) >= 4
    assert distance.amin(1).max() <= 1e-6  # every run ends at a stable root
    assert distance.amin(0).max() <= 1e-6  # and every stable root is such an end


# -- INDEPENDENT: block networks, counted ------------------------------------------------------


def block_network(n_bits: int, seed: int) -> tuple[Cell, Tensor]:
    """Blocks of unequal size, W = g_k s_k s_k^T / N_k, tanh, in rotated coordinates."""
    sizes, gains = (7, 12, 21)[:n_bits], (2.0, 1.5, 2.5)[:n_bits]
    n = sum(sizes)
    pattern = torch.zeros(n_bits, n, dtype=F64)
    W = torch.zeros(n, n, dtype=F64)
    for k, (first, size) in enumerate(zip(np.cumsum((0, *sizes)), sizes, strict=False)):
        part = slice(int(first), int(first) + size)
        pattern[k, part] = signs(size, seed=seed + k)
        W[part, part] = gains[k] / size * torch.outer(pattern[k, part], pattern[k, part])
    Q = torch.linalg.qr(draw(n, n, seed=seed))[0]
    # F maps every state into Q [-1, 1]^N, and the smallest box with faces along the axes around
    # that has half-widths sum_j |Q_ij|: a box that F maps into itself
    half = Q.abs().sum(1)

    def step(h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(h @ Q @ W.T) @ Q.T

    def jacobians(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        slope = 1 - torch.tanh(h @ Q @ W.T).square()
        return Q @ (slope[:, :, None] * W) @ Q.T, h.new_zeros(len(h), n, 1)

    cell = as_cell(step, n_state=n, n_input=1, bounds=(-half, half), jacobians=jacobians)
    spread = torch.rand(1024, n_bits, dtype=F64, generator=torch.Generator().manual_seed(seed))
    return cell, (2.4 * spread - 1.2) @ pattern @ Q.T + 0.1 * draw(1024, n, seed=seed + 9)


@pytest.mark.parametrize("n_bits", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_block_network_has_three_to_the_bits_roots(n_bits: int, seed: int) -> None:
    cell, starts = block_network(n_bits, seed)
    points = find_points(cell, starts)
    expected = {
        f"saddle({k})" if k else "stable": math.comb(n_bits, k) * 2 ** (n_bits - k)
        for k in range(n_bits + 1)
    }
    assert Counter(points.stability) == expected
    assert len(points) == 3**n_bits
    assert points.index_sum == 1
    assert len(points.rejected) == 0
    assert points.q.max() <= 1e-24


def test_index_sum_tells_that_a_root_is_missing() -> None:
    cell, starts = block_network(2, 0)
    near_memory = find_points(cell, starts).state[:1] + 1e-3
    with pytest.warns(TractableWarning, match=r"index_sum is [+-]\d, not \+1"):
        memories = find_points(cell, torch.cat([near_memory, -near_memory]))
    assert len(memories) == 2
    assert memories.index_sum != 1


# -- IDENTITY: linear cells --------------------------------------------------------------------


def test_linear_cell_has_its_one_root() -> None:
    n, d = 40, 3
    A = draw(n, n, seed=1)
    A *= 0.9 / torch.linalg.eigvals(A).abs().max()
    B, x = draw(n, d, seed=2), draw(6, d, seed=3)
    cell = as_cell(lambda h, x: h @ A.T + x @ B.T, n_state=n, n_input=d)
    roots = torch.linalg.solve(torch.eye(n, dtype=F64) - A, (x @ B.T).T).T
    for method in ("auto", "newton", "lm", "krylov"):
        points = find_points(cell, roots + draw(6, n, seed=4), x, method=method)
        assert (points.state - roots).abs().max() <= 1e-9, method
    assert (points.x_star - x).abs().max() == 0.0
    assert points.multiplicity.tolist() == [1] * 6
    relaxed = find_points(cell, draw(6, n, seed=4), x[0], method="relax", max_iter=500)
    assert (relaxed.state - roots[:1]).abs().max() <= 1e-4
    assert len(relaxed) == 1


# -- INDEPENDENT: exact line attractor ---------------------------------------------------------


def line_attractor(n: int = 12) -> tuple[Cell, Tensor, Tensor]:
    r, l = draw(n, seed=1), draw(n, seed=2)
    r /= r.norm()
    l /= l @ r
    along = torch.outer(r, l)
    A = along + 0.5 * (torch.eye(n, dtype=F64) - along)
    return as_cell(lambda h, x: h @ A.T, n_state=n, n_input=1), r, l


@pytest.mark.parametrize("method", ["auto", "slow"])
def test_slow_points_of_an_exact_line_stay_where_their_starts_project(method: str) -> None:
    cell, r, l = line_attractor()
    off = 0.3 * draw(60, 12, seed=3)
    off -= (off @ l)[:, None] * r
    along = torch.linspace(-2, 2, 60, dtype=F64)
    points = find_points(cell, along[:, None] * r + off, kind="slow", method=method)
    assert len(points) == 60
    # five steps of F conserve l^T h and shrink the rest 32 times; damped steps are orthogonal to r
    position = along + (off @ r) / 32
    assert (points.state - position[:, None] * r).abs().max() <= 1e-9
    centered = points.state - points.state.mean(0)
    values, vectors = torch.linalg.eigh(centered.T @ centered)
    assert values[-1] / values.sum() >= 1 - 1e-9
    assert (vectors[:, -1] @ r).abs() >= 1 - 1e-9
    assert points.scan is not None
    assert points.scan.pc1_fraction[-1] >= 1 - 1e-9
    assert points.scan.n_points[-1] == 60
    modes = points.modes(k=2)
    assert modes.tau[:, 0].isinf().all()
    assert (modes.tau[:, 1] - 1 / math.log(2)).abs().max() <= 1e-9
    left = modes.left[:, 0].real * (modes.right[:, :, 0].real @ r)[:, None].sign()
    assert (left - l).abs().max() <= 1e-9
    assert set(points.stability) == {"marginal"}


def test_root_search_on_an_exact_line_reports_that_it_is_singular() -> None:
    cell, _, l = line_attractor()
    starts = draw(50, 12, seed=4)
    with pytest.warns(TractableWarning, match=r"singular to rounding at (\d+) of \1 roots"):
        points = find_points(cell, starts)
    # the shortest way to the line: the steps have no part along the null space of I - J
    assert points.converged.all()
    assert (points.state @ l - starts[points.start_index] @ l).abs().max() < 40
    with pytest.warns(ConvergenceWarning, match="50 met a singular I - J"):
        nothing = find_points(cell, starts, method="newton")
    assert len(nothing) == 0
    assert {r.reason for r in nothing.rejected} == {"singular: I - J has no inverse"}


# -- INDEPENDENT: ghost of a saddle-node -------------------------------------------------------


def ghost(epsilon: float = 0.01, n: int = 6) -> Cell:
    m = draw(n, seed=1)
    m /= m.norm()

    def step(h: Tensor, x: Tensor) -> Tensor:
        a = (h @ m)[:, None]
        return h - (a.square() + epsilon) * m - 0.5 * (h - a * m)

    return as_cell(step, n_state=n, n_input=1)


@pytest.mark.parametrize("epsilon", [0.01, 0.02])
def test_ghost_is_a_local_minimum_of_q_and_no_root(epsilon: float) -> None:
    cell, starts = ghost(epsilon), draw(40, 6, seed=2)
    points = find_points(cell, starts, kind="local_min")
    assert len(points) == 1
    assert points.multiplicity.tolist() == [40]
    assert points.q[0].item() == pytest.approx(epsilon**2 / 2, rel=1e-6)
    assert points.n_iter.max() <= 40
    g = points.state - cell(points.state, points.x_star)
    J = points.jacobians()[0]
    # the residual is a left eigenvector of J with eigenvalue 1
    assert ((g[:, None] @ J)[:, 0] - g).norm() <= 1e-6 * g.norm()
    with pytest.warns(ConvergenceWarning, match=r"40 ended at a local minimum of q; try kind="):
        roots = find_points(cell, starts)
    assert len(roots) == 0
    assert {r.reason for r in roots.rejected} == {"local minimum of q, not a root"}
    assert min(r.q for r in roots.rejected) == pytest.approx(epsilon**2 / 2, rel=1e-6)


# -- IDENTITY: the Euler map has the roots of its field, whatever its step ----------------------


@pytest.mark.parametrize("form", ["rate", "potential"])
def test_euler_maps_of_two_steps_have_the_same_roots(form: str) -> None:
    n = 30
    weights = draw(n, 3, seed=2), 1.5 * draw(n, n, seed=1) / n**0.5, 0.1 * draw(n, seed=3)
    cells = [RateMap(*weights, tau=1.0, dt=dt, form=form) for dt in (0.1, 0.05)]
    sets = [find_points(cell, 0.7 * draw(256, n, seed=4)) for cell in cells]
    apart = torch.cdist(sets[0].state, sets[1].state)
    assert len(sets[0]) == len(sets[1]) >= 3
    assert max(apart.amin(0).max(), apart.amin(1).max()) <= 1e-10
    order = apart.argmin(1)
    modes = [points.modes() for points in sets]
    fields = [(m.eigvals - 1) / dt for m, dt in zip(modes, (0.1, 0.05), strict=True)]
    gaps = (fields[0][:, :, None] - fields[1][order][:, None]).abs()
    assert gaps.amin(2).max() <= 1e-10  # lambda_d = 1 + dt lambda_c
    slowest = modes[0].tau[:, 0] / modes[1].tau[order, 0]
    assert (slowest - 1).abs().max() <= 0.1  # seconds, up to O(dt)


# -- IDENTITY: the two conventions -------------------------------------------------------------


def test_conventions_differ_by_two_over_n_and_nothing_else() -> None:
    cell, starts = block_network(2, 0)
    n = cell.n_state
    half = find_points(cell, starts[:200], tol=1e-10, tol_scan=[1e-3, 1e-6])
    mean = find_points(
        cell,
        starts[:200],
        tol=1e-10 * 2 / n,
        tol_scan=[1e-3 * 2 / n, 1e-6 * 2 / n],
        q_convention="mean",
    )
    assert torch.equal(half.state, mean.state)
    assert (mean.q * n / 2 - half.q).abs().max() <= 1e-15 * half.q.max()
    assert torch.equal(half.scan.n_starts, mean.scan.n_starts)  # type: ignore[union-attr]
    assert torch.allclose(mean.scan.tol * n / 2, half.scan.tol)  # type: ignore[union-attr]
    assert (half.q - speed(half)).abs().max() <= 1e-30  # q at the state that is returned


def test_conventions_of_slow_points() -> None:
    cell, starts = ghost(1e-4), 0.3 * draw(30, 6, seed=3)
    sets = [
        find_points(cell, starts, kind="slow", tol=tol, q_convention=convention)
        for tol, convention in ((1e-6, "half_sum"), (1e-6 / 3, "mean"))
    ]
    assert torch.equal(sets[0].state, sets[1].state)
    assert (sets[1].q * 3 - sets[0].q).abs().max() <= 1e-18
    assert len(sets[0]) > 1
    assert sets[0].q.max() <= 1e-6
    assert (sets[0].q - speed(sets[0])).abs().max() <= 1e-12 * sets[0].q.max()
