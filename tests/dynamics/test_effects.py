import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics.cells import as_cell
from tractable.dynamics.effects import InputEffects, input_effects
from tractable.dynamics.modes import decompose
from tractable.dynamics.points.point_set import PointSet
from tractable.dynamics.readout import linear_readout

P, H, D, V = 5, 12, 3, 7


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=["gru", "lstm"])
def system(request):
    torch.manual_seed(1)
    module = nn.GRU(D, H) if request.param == "gru" else nn.LSTM(D, H)
    cell = as_cell(module).to(dtype=torch.float64)
    state = torch.tanh(random(P, cell.n_state))
    points = PointSet.from_states(cell, state, random(P, D, seed=1))
    return points, points.modes()


def test_all_modes_add_up_to_the_instant_effect(system):
    points, modes = system
    n = points.state.shape[1]
    inputs = random(V, D, seed=2)
    effects = input_effects(points, modes, inputs, k=n)
    J_inp = points.jacobians()[1]
    expected = torch.einsum("pnd,pvd->pvn", J_inp, inputs - points.x_star[:, None])
    torch.testing.assert_close(effects.instant, expected)
    for p in range(P):
        torch.testing.assert_close(effects.instant_at(p), expected[p])
    rebuilt = torch.einsum("pnk,pvk->pvn", modes.real_right, effects.projection)
    torch.testing.assert_close(rebuilt, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_logit_weight_is_what_the_readout_sees_of_the_projector(system, k):
    points, modes = system
    weight = random(H, seed=3)
    inputs = random(V, D, seed=2)
    effects = input_effects(points, modes, inputs, k=k, readout=(weight, 0.3))
    full = torch.zeros(points.state.shape[1]).double()
    full[:H] = weight
    through = modes.projector(k) @ effects.instant.mT
    torch.testing.assert_close(
        effects.logit_weight, torch.einsum("n,pnv->pv", full, through), atol=1e-12, rtol=1e-9
    )
    assert effects.projection.shape == (P, V, k)


def test_one_real_mode_by_hand():
    A, B = torch.diag(torch.tensor([1.0, 0.5])), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    cell = as_cell(lambda h, x: A @ h + B @ x, n_state=2, n_input=2)
    points = PointSet.from_states(cell, torch.zeros(1, 2), torch.tensor([1.0, 0.0]))
    effects = input_effects(points, points.modes(), torch.eye(2), k=2, readout=[3.0, 1.0])
    assert effects.projection[0].tolist() == [[0.0, 0.0], [-2.0, 0.0]]
    assert effects.logit_weight[0].tolist() == [0.0, -6.0]
    assert input_effects(points, points.modes(), torch.eye(2)).logit_weight is None


def test_correlation_and_match(system):
    points, modes = system
    inputs, valence = random(V, D, seed=4), random(V, seed=5)
    effects = input_effects(points, modes, inputs)
    found = effects.correlation(valence.numpy())
    for p in range(P):
        expected = np.corrcoef(effects.projection[p, :, 0], valence)[0, 1]
        assert found[p].item() == pytest.approx(expected, abs=1e-12)
    push = effects.input_jacobian @ (inputs[valence > 0].mean(0) - inputs[valence < 0].mean(0))
    row = modes.real_left[:, 0]
    expected = torch.nn.functional.cosine_similarity(push, row)
    torch.testing.assert_close(effects.match(valence), expected)
    # the projection itself is a valence that it matches perfectly
    own = input_effects(points[2], modes[2], inputs)
    assert own.correlation(own.projection[0, :, 0]).item() == pytest.approx(1.0)
    constant = input_effects(points, modes, inputs[:1].repeat(V, 1))
    assert constant.correlation(valence).isnan().all()
    assert effects.correlation(torch.ones(V)).isnan().all()


def test_ranking():
    A, B = torch.diag(torch.tensor([1.0, 0.5])), torch.eye(2)
    cell = as_cell(lambda h, x: A @ h + B @ x, n_state=2, n_input=2)
    points = PointSet.from_states(cell, torch.zeros(3, 2))
    inputs = torch.tensor([[1.0, 5.0], [-2.0, 0.0], [0.0, 9.0], [3.0, 0.0]])
    effects = input_effects(points, points.modes(), inputs, readout=[1.0, 0.0])
    words = ["good", "bad", "the", "great"]
    assert effects.ranking(words) == [("great", 3.0), ("good", 1.0), ("bad", -2.0)]
    assert effects.ranking(words, n=1) == [("great", 3.0), ("bad", -2.0)]
    with pytest.raises(ValueError, match="labels must name 4 inputs, got 1"):
        effects.ranking(["good"])


def test_no_point(system):
    points, modes = system
    effects = input_effects(points[[]], modes[[]], random(V, D), k=2, readout=torch.ones(H))
    assert effects.projection.shape == (0, V, 2)
    assert effects.logit_weight.shape == (0, V)
    assert effects.instant.shape == (0, V, points.state.shape[1])
    assert effects.correlation(torch.arange(V)).shape == (0,)
    assert effects.match(torch.arange(V) - 3).shape == (0,)
    assert effects.ranking(["w"] * V) == []


def test_dataset_returns_the_effects(system):
    points, modes = system
    for readout in (None, torch.ones(H)):
        effects = input_effects(points, modes, random(V, D), k=2, readout=readout)
        again = InputEffects.from_dataset(effects.to_dataset())
        assert torch.equal(again.projection, effects.projection)
        assert torch.equal(again.instant, effects.instant)
        if readout is None:
            assert again.logit_weight is None
        else:
            assert torch.equal(again.logit_weight, effects.logit_weight)


def test_refused(system):
    points, modes = system
    with pytest.raises(ValueError, match=r"inputs must have shape \(V, 3\), got \(7, 2\)"):
        input_effects(points, modes, random(V, 2))
    with pytest.raises(ValueError, match="inputs must be finite"):
        input_effects(points, modes, torch.full((V, D), math.nan))
    with pytest.raises(ValueError, match="k must be >= 1"):
        input_effects(points, modes, random(V, D), k=0)
    with pytest.raises(ValueError, match="modes must be those of 5 points, got 1"):
        input_effects(points, decompose(torch.eye(points.state.shape[1])), random(V, D))
    effects = input_effects(points, modes, random(V, D))
    with pytest.raises(ValueError, match=r"valence must have shape \(7,\), got \(3,\)"):
        effects.correlation(torch.ones(3))
    with pytest.raises(ValueError, match="one sign only"):
        effects.match(torch.ones(V))


def test_readouts_in_all_forms(system):
    points, _ = system
    cell, n = points.cell, points.state.shape[1]
    linear = nn.Linear(H, 1)
    weight, bias = linear_readout(linear, cell)
    assert weight.shape == (n,)
    torch.testing.assert_close(weight[:H], linear.weight[0].detach().double())
    assert weight[H:].abs().sum() == 0
    assert bias == linear.bias.item()
    two = nn.Linear(H, 2)
    state = random(4, n)
    logits = two.double()(state[:, :H])
    weight, bias = linear_readout(two, cell)
    torch.testing.assert_close(state @ weight + bias, (logits[:, 1] - logits[:, 0]).detach())
    weight, bias = linear_readout(nn.Linear(H, 1, bias=False), cell)
    assert bias == 0
    weight, bias = linear_readout(np.ones(n), cell)
    assert weight.sum() == n
    with pytest.raises(ValueError, match=r"must have shape \(H,\), \(1, H\) or \(2, H\)"):
        linear_readout(nn.Linear(H, 3), cell)
    with pytest.raises(ValueError, match="must have width"):
        linear_readout(np.ones(H + 1), cell)
    with pytest.raises(ValueError, match="weight must be finite"):
        linear_readout(np.full(H, np.nan), cell)
    with pytest.raises(TypeError, match="readout must be linear"):
        linear_readout(torch.tanh, cell)
