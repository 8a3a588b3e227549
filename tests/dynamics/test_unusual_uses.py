"""Uses that nobody planned: each works, or is refused in one sentence that says what to do."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence

from tractable.core.checks import TractableWarning
from tractable.core.seeds import generator
from tractable.dynamics import (
    ablate,
    as_cell,
    collect_states,
    find_points,
    input_effects,
    line_attractor_report,
    linear_check,
    manifold,
    sample_starts,
)

F64 = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


def gru(n: int = 8, n_input: int = 2, **options: Any) -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(n_input, n, **options)


class Named(nn.Module):
    """A module whose state is a dict: a layer and a trace of its first unit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(5, 3)

    def forward(self, state: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.layer(torch.cat([x, state["h"]], -1)))
        return {"trace": 0.9 * state["trace"] + 0.1 * h[..., :1], "h": h}


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_state_may_be_a_dict(kind: type) -> None:
    module = Named().double()
    cell = as_cell(module, n_state=kind({"h": 3, "trace": 1}), n_input=2)
    pair = as_cell(
        lambda state, x: tuple(
            module(dict(h=state[0], trace=state[1]), x)[k] for k in ("h", "trace")
        ),
        n_state=(3, 1),
        n_input=2,
    )
    state, x = draw(5, 4), draw(5, 2, seed=1)
    assert torch.equal(cell(state, x), pair(state, x))
    assert torch.equal(cell.jacobians(state, x)[0], pair.jacobians(state, x)[0])
    (parts,) = cell.unpack(state)
    assert torch.equal(parts["trace"], state[:, 3:])
    assert torch.equal(cell.pack(parts), state)
    first = {"trace": torch.ones(4, 1), "h": torch.zeros(4, 3)}
    visited = collect_states(cell, draw(4, 6, 2), h0=first, progress=False)
    assert visited.initial is not None
    assert visited.initial[0].tolist() == [0.0, 0.0, 0.0, 1.0]
    points = find_points(cell, visited.valid, progress=False)
    assert len(points) == 1
    assert points.modes(1).tau.item() == pytest.approx(-1 / np.log(0.9))
    with pytest.raises(
        ValueError, match=r"must be a dict with 'h', 'trace', got \{'h': \(5, 3\)\}"
    ):
        cell.pack({"h": state[:, :3]})
    with pytest.raises(ValueError, match=r"must be a dict with 'h', 'trace', 'c', got \{'trace'"):
        as_cell(module, n_state={"h": 3, "trace": 1, "c": 1}, n_input=2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_searched_in_double(dtype: torch.dtype) -> None:
    net = gru().to(dtype)
    points = find_points(net, 0.1 * draw(20, 8), progress=False)
    assert points.state.dtype == F64
    assert points.q.max() <= 1e-24
    same = find_points(copy.deepcopy(net).double(), 0.1 * draw(20, 8), progress=False)
    assert torch.equal(points.state, same.state)
    assert next(net.parameters()).dtype == dtype
    visited = collect_states(net, draw(3, 5, 2), progress=False)
    assert visited.states.dtype == dtype


def test_frozen_networks_and_inference_mode() -> None:
    net = gru().eval().requires_grad_(False)
    free = find_points(gru(), 0.1 * draw(20, 8), progress=False)
    assert torch.equal(find_points(net, 0.1 * draw(20, 8), progress=False).state, free.state)
    with torch.inference_mode():
        inside = find_points(net, 0.1 * draw(20, 8), progress=False)
        own = as_cell(lambda h, x: torch.tanh(0.5 * h + x), n_state=2, n_input=2)
        assert len(find_points(own, draw(5, 2), progress=False)) == 1
    assert torch.equal(inside.state, free.state)


def test_dropout_inside_counts_as_off_in_a_module_and_is_refused_in_a_function() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.drop = nn.Linear(5, 3), nn.Dropout(0.5)

        def forward(self, state: Tensor, x: Tensor) -> Tensor:
            return torch.tanh(self.drop(self.layer(torch.cat([state, x], -1))))

    module = Noisy().train()
    cell = as_cell(module, n_state=3, n_input=2)
    state, x = draw(4, 3).float(), draw(4, 2).float()
    assert torch.equal(cell(state, x), cell(state, x))
    assert module.training
    with pytest.raises(ValueError, match="it is stochastic"):
        as_cell(lambda h, u: module(h, u), n_state=3, n_input=2)


def test_packed_sequences_and_missing_values_in_the_padding() -> None:
    net = gru()
    ragged = [draw(5, 2).float(), draw(3, 2, seed=1).float()]
    padded = pad_sequence(ragged, batch_first=True)
    expected = collect_states(net, padded, [5, 3], progress=False)
    packed = collect_states(net, pack_sequence(ragged), progress=False)
    assert torch.equal(packed.states, expected.states)
    assert packed.lengths.tolist() == [5, 3]
    holes = pad_sequence(ragged, batch_first=True, padding_value=float("nan"))
    filled = collect_states(net, holes, [5, 3], progress=False)
    assert torch.equal(filled.states, expected.states)
    assert filled.inputs is not None
    assert filled.inputs.isfinite().all()
    with pytest.raises(ValueError, match=r"inputs must be finite, got 4 of 20"):
        collect_states(net, holes, progress=False)
    with pytest.raises(ValueError, match="lengths are those of the packed sequence"):
        collect_states(net, pack_sequence(ragged), [5, 3], progress=False)
    with pytest.raises(TypeError, match=r"pad sequences of several lengths .* and give lengths"):
        collect_states(net, ragged, progress=False)


def test_batch_first_of_the_module_does_not_matter() -> None:
    inputs = draw(4, 10, 2).float()
    runs = [
        collect_states(gru(batch_first=flag), inputs, progress=False).states
        for flag in (True, False)
    ]
    assert torch.equal(*runs)


def test_one_unit_goes_through_the_whole_chain() -> None:
    net = gru(1, 1)
    visited = collect_states(net, draw(4, 10, 1), progress=False)
    starts = sample_starts(visited, 8, generator=generator(0))
    roots = find_points(net, starts, progress=False)
    slow = find_points(net, starts, kind="slow", progress=False)
    assert (len(roots), len(slow)) == (1, 1)
    J = roots.jacobians()[0].item()
    assert roots.modes().tau.item() == pytest.approx(abs(1 / np.log(abs(J))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)  # one point is no line
        curve = manifold(slow, readout=[1.0])
        report = line_attractor_report(net, visited, slow, [1.0])
    assert curve.theta.tolist() == [0.0]
    assert report.tau_1.shape == (1,)
    check = linear_check(net, visited, slow, [1.0], progress=False)
    assert check.quantile(0.5) < 0.5 * check.quantile(0.5, "identity")
    effects = input_effects(roots, roots.modes(), torch.ones(1, 1), readout=[1.0])
    assert effects.logit_weight is not None
    through = roots.jacobians()[1].item() * (1.0 - roots.x_star.item())
    assert effects.logit_weight.item() == pytest.approx(through)


@pytest.mark.parametrize(
    "readout",
    [
        np.arange(8.0),
        torch.arange(8.0)[None],
        (torch.arange(8.0), 0.5),
        ([[0.0] * 8, list(range(8))], [0.0, 0.5]),
    ],
)
def test_readouts_of_a_search_come_in_all_forms(readout: Any) -> None:
    starts = 0.3 * draw(30, 8)
    expected = find_points(gru(), starts, kind="slow", readout=torch.arange(8.0), progress=False)
    found = find_points(gru(), starts, kind="slow", readout=readout, progress=False)
    assert found.scan is not None
    assert expected.scan is not None
    torch.testing.assert_close(
        found.scan.readout_range, expected.scan.readout_range, equal_nan=True
    )
    layer = nn.Linear(8, 1)
    assert len(find_points(gru(), starts, kind="slow", readout=layer, progress=False)) > 0


def in_place(h: Tensor, x: Tensor) -> Tensor:
    return torch.tanh(h.mul_(0.5) + x.sum(-1, keepdim=True))


def in_place_input(h: Tensor, x: Tensor) -> Tensor:
    return torch.tanh(0.5 * h + x.mul_(0.5).sum(-1, keepdim=True))


def test_cells_that_overwrite_their_arguments_are_told() -> None:
    for cell, name in ((in_place, "state"), (in_place_input, "x")):
        with pytest.raises(ValueError, match=f"it changes {name} in place; work on a copy"):
            as_cell(cell, n_state=3, n_input=2)


def test_networks_and_starts_on_the_meta_device_are_told() -> None:
    with pytest.raises(ValueError, match="weight_ih is on the meta device, which holds no numbers"):
        as_cell(nn.GRU(2, 8, device="meta"))
    with pytest.raises(ValueError, match=r"layer.weight is on the meta device"):
        as_cell(Named().to("meta"), n_state={"h": 3, "trace": 1}, n_input=2)
    with pytest.raises(ValueError, match="starts is on the meta device"):
        find_points(gru(), torch.zeros(3, 8, device="meta"), progress=False)


VISITED = collect_states(as_cell(nn.RNN(2, 8).double()), torch.zeros(1, 3, 2), progress=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_points(gru(), "abc"), r"starts must be states \(n, 8\), got 'abc'"),
        (lambda: find_points(gru(), VISITED), "got a Trajectory; draw some by sample_starts"),
        (
            lambda: find_points(nn.LSTM(2, 4), (torch.zeros(3, 4), torch.zeros(3, 4))),
            r"join the parts of a state by cell.pack",
        ),
        (lambda: find_points(gru(), torch.zeros(3, 8) + 1j), "starts must be real, got torch.comp"),
        (lambda: find_points(gru(), torch.zeros(3, 8), "zero"), r"x_star must be an input \(2,\)"),
        (
            lambda: find_points(gru(), torch.zeros(3, 8), kind="slow", generator=3),
            r"got 3; give torch.Generator\(\).manual_seed\(3\)",
        ),
        (
            lambda: find_points(gru(), torch.zeros(3, 8), readout="w"),
            r"readout must be an nn.Linear, an array or \(weight, bias\), got 'w'",
        ),
        (
            lambda: linear_check(gru(), VISITED, find_points(gru(), torch.zeros(3, 8)), None),
            r"readout must be an nn.Linear, an array or \(weight, bias\), got None",
        ),
        (lambda: sample_starts(VISITED, 4, generator=0), "generator must be a torch.Generator"),
        (
            lambda: ablate(
                nn.RNN(2, 8).double(), VISITED, find_points(nn.RNN(2, 8), torch.zeros(1, 8)),
                1, 1, torch.ones(8), generator=0,
            ),
            "generator must be a torch.Generator",
        ),
        (lambda: collect_states(gru(), "text"), "inputs must be one array of numbers, got str"),
    ],
)  # fmt: skip
def test_wrong_kinds_are_told(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
