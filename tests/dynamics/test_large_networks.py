"""Networks beyond 1,500 units: roots, signs and stability without a Jacobian."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tractable.core.checks import TractableWarning
from tractable.dynamics.cells import as_cell
from tractable.dynamics.points import (
    PointSet,
    find,
    find_points,
    harvest,
    large_facts,
    point_set,
    selection,
)
from tractable.dynamics.points.krylov import krylov_step
from tractable.dynamics.points.large_facts import large_root_facts, large_stability
from tractable.dynamics.points.search import Search
from tractable.dynamics.points.selection import root_facts

F64 = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def test_large_networks_take_krylov_steps() -> None:
    n = 1501
    u = draw(n).sign()

    def step(h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(2 / n * (h @ u)[:, None] * u)

    def jacobians(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        J = (1 - step(h, x) ** 2)[:, :, None] * (2 / n * torch.outer(u, u))
        return J, h.new_zeros(len(h), n, 1)

    cell = as_cell(step, n_state=n, n_input=1, jacobians=jacobians)
    starts = torch.tensor([[0.9], [0.05], [-1.1]], dtype=F64) * u + 0.01 * draw(3, n, seed=1)
    with pytest.warns(TractableWarning, match="more than 1500: taking method='krylov'"):
        points = find_points(cell, starts, method="newton")
    overlap = (points.state @ u / n).tolist()
    assert sorted(overlap) == pytest.approx([-0.9575040240773, 0.0, 0.9575040240773], abs=1e-9)
    assert len(find_points(cell, starts)) == 3


@pytest.fixture
def from_fifty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of more than 50 units count as large."""
    for module in (find, harvest, point_set, selection):
        monkeypatch.setattr(module, "MAX_NEWTON_STATE", 50)


def rank_one_network(n: int) -> tuple[nn.RNN, Tensor]:
    u = draw(n).sign()
    net = nn.RNN(1, n, bias=False, batch_first=True).double()
    net.weight_hh_l0.data = 2 / n * torch.outer(u, u)
    return net, u


def test_roots_of_large_networks_are_judged_without_a_jacobian(
    monkeypatch: pytest.MonkeyPatch, from_fifty: None
) -> None:
    # CLOSED FORM: three roots, eigenvalue 2 at the origin and 0.16637 at the others, else 0
    net, u = rank_one_network(100)
    weight = net.weight_hh_l0.detach()
    box = (-torch.ones(100), torch.ones(100))
    cell = as_cell(lambda h, x: (h @ weight.T).tanh(), n_state=100, n_input=1, bounds=box)

    def refuse(*_: Any) -> Any:
        raise AssertionError("a Jacobian was formed")

    monkeypatch.setattr(type(cell), "recurrent_jacobian", refuse)
    monkeypatch.setattr(type(cell), "jacobians", refuse)
    starts = torch.tensor([[0.9], [0.05], [-1.0]], dtype=F64) * u + 0.001 * draw(3, 100, seed=1)
    points = find_points(cell, starts)
    assert points.index_sum == 1
    assert sorted(points.stability) == ["saddle(1)", "stable", "stable"]
    top = sorted(points.modes(1).eigvals.real[:, 0].tolist())
    assert top == pytest.approx([0.1663720877517, 0.1663720877517, 2.0], abs=1e-9)
    few = find_points(cell, starts[:1])
    assert (len(few), few.index_sum) == (1, 1)
    with pytest.warns(TractableWarning, match=r"index_sum is \+2, not \+1"):
        find_points(cell, starts[[0, 2]])


def test_an_unknown_sign_is_said(monkeypatch: pytest.MonkeyPatch, from_fifty: None) -> None:
    net, u = rank_one_network(100)
    monkeypatch.setattr(large_facts, "leading_eigenvalues", lambda *_, **__: None)
    monkeypatch.setattr(selection, "MAX_DECOMPOSED", 50)
    with pytest.warns(TractableWarning, match="not known at 1 of 1 roots"):
        points = find_points(net, 0.9 * u[None])
    assert points.index_sum is None
    assert points.stability == ["unknown"]


@pytest.mark.parametrize("seed", range(3))
def test_facts_of_large_networks_are_those_of_the_whole_jacobian(seed: int) -> None:
    # INDEPENDENT: LU of I - J against Arnoldi iteration, at states with many unstable modes
    net = nn.RNN(1, 40, bias=False).double()
    net.weight_hh_l0.data = 1.6 * draw(40, 40, seed=seed) / 40**0.5
    cell = as_cell(net).to(dtype=F64)
    state, x = draw(5, 40, seed=9).tanh() * 0.3, torch.zeros(5, 1, dtype=F64)
    facts = root_facts(cell, state, x, state)
    sign, n_frozen, known = large_root_facts(cell, state, x, state, 1e-9)
    assert known.all()
    assert sign.tolist() == facts.sign.tolist()
    assert n_frozen.tolist() == [0] * 5
    labels = PointSet.from_states(cell, state).classify()
    assert large_stability(cell, state, x, 1e-6) == labels
    assert len(set(labels)) > 1


def test_saturated_and_singular_units_are_seen_without_the_jacobian() -> None:
    weight = 0.3 * draw(30, 30, seed=2) / 30**0.5

    def step(h: Tensor, x: Tensor) -> Tensor:
        gate = torch.sigmoid(40 * (h.abs() - 2))  # beyond |h| = 2 a unit copies itself
        return gate * h + (1 - gate) * torch.tanh(h @ weight.T)

    cell = as_cell(step, n_state=30, n_input=1)
    far, near = torch.zeros(1, 30, dtype=F64), torch.zeros(1, 30, dtype=F64)
    far[0, [3, 17]] = 4.0
    x = torch.zeros(1, 1, dtype=F64)
    for start, count in ((near, 2), (far, 0)):
        dense = root_facts(cell, far, x, start)
        sign, n_frozen, _ = large_root_facts(cell, far, x, start, 1e-9)
        assert n_frozen.tolist() == dense.n_frozen.tolist() == [count]
        assert sign.tolist() == dense.sign.tolist() == [0]


def test_a_krylov_step_solves_the_linear_system_to_a_thousandth() -> None:
    A = 0.5 * draw(60, 60, seed=4) / 60**0.5
    cell = as_cell(lambda h, x: h @ A.T, n_state=60, n_input=1)
    search = Search(cell, draw(3, 60, seed=5), torch.zeros(3, 1, dtype=F64), tol=1e-30)
    step, failed = krylov_step(search, torch.arange(3))
    left = search.residual - (step - step @ A.T)
    assert not failed.any()
    assert (left.norm(dim=1) <= 1.1e-3 * search.residual.norm(dim=1)).all()
