"""Graphs that cannot be built say which node or edge; networks of one's own get cells."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tractable.vision.convrnn import (
    Cell,
    ConvRNN,
    ConvRNNSpec,
    Edge,
    Node,
    SpecError,
    make_cell,
    register,
    wrap,
)
from tractable.vision.convrnn.cells import table


def spec(*edges: Edge, nodes: str = "abc", **more) -> ConvRNNSpec:
    return ConvRNNSpec([Node(name, 4, **more.get(name, {})) for name in nodes], list(edges), 3)


AB, BC = Edge("a", "b"), Edge("b", "c")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (spec(AB, BC, Edge("a", "c", "skip")), "'c' has 2 feedforward inputs"),
        (spec(AB, BC, Edge("c", "a")), "a, b, c form a cycle"),
        (spec(AB), "'c' has no path from the input node 'a'"),
        (spec(AB, BC, AB), "'a' -> 'b' is given twice"),
        (spec(AB, BC, nodes="abca"), "'a' is given twice"),
        (spec(AB, Edge("b", "cc")), "no node 'cc'.*did you mean 'c'"),
        (spec(AB, BC, b={"cell": "gruu"}), "gruu.*did you mean 'gru'"),
        (spec(AB, BC, b={"cell_args": {"kernel": 3}}), "'b'.*cell_args without a cell"),
        (spec(AB, BC, b={"cell": "gru", "cell_args": {"kernle": 3}}), "kernle"),
        (spec(AB, BC, b={"pool": 16}), "'b'.*too small"),
        (spec(AB, BC, b={"norm": "group8"}), "multiple of 8"),
        (spec(AB, BC, b={"op": "none", "stride": 2}), "'b'.*no convolution for stride 2"),
        (spec(AB, BC, b={"pool_kernel": 3}), "'b'.*pool_kernel 3 without a pool"),
        (spec(AB, BC, Edge("c", "b", "fb", entry="cell"), b={"cell": "gru"}), "entry 'cell'"),
        (ConvRNNSpec([], [], 3), "nodes must hold"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(graph: ConvRNNSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ConvRNN(graph, in_shape=(1, 8, 8))


def test_a_cell_of_ones_own_is_known_by_its_name_and_its_name_is_not_given_twice() -> None:
    class Sum(Cell):
        def step(self, x, state, fb, res):
            h = state[0] + x
            return h, (h,)

    try:
        register("sum-of-inputs", Sum)
        net = ConvRNN(
            ConvRNNSpec.chain([Node("v", 4, cell="sum-of-inputs")], n_classes=2), in_shape=(1, 5, 5)
        )
        x = torch.rand(2, 1, 5, 5)
        series = net(x, T=3, layers=["v"]).features["v"].values
        torch.testing.assert_close(series[:, 2], 3 * series[:, 0])
        with pytest.raises(ValueError, match="taken by Sum"):
            register("sum-of-inputs", type("Other", (Cell,), {}))
    finally:
        table.CELLS.pop("sum-of-inputs", None)
    with pytest.raises(TypeError, match="init_state"):
        register("no-cell", nn.Identity)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="equal channels"):
        make_cell("intersection", 3, 4)


def test_a_wrapped_network_runs_its_cells_and_gives_the_model_back() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    x = torch.rand(3, 1, 8, 8)
    alone = body(x)
    still = wrap(body, {"1": "feedforward"}, x[:1])
    torch.testing.assert_close(still(x, T=2).logits_t, alone[:, None].expand(3, 2, 2))
    leak = wrap(nn.Sequential(*list(body)), {"0": ("timedecay", {"decay": 0.5})}, x[:1])
    seen = leak(x, T=3, layers=("0",)).features["0"].values
    torch.testing.assert_close(seen[:, 2], 1.75 * seen[:, 0])  # 1 + 1/2 + 1/4
    with pytest.raises(ValueError, match="no layer 'convv'"):
        wrap(body, {"convv": "gru"}, x[:1])
    with pytest.raises(ValueError, match="puts out no map"):
        wrap(body, {"3": "gru"}, x[:1])


def test_a_wrapped_network_keeps_its_memory_from_what_follows_and_in_copies() -> None:
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for inplace in (False, True):
        torch.manual_seed(1)
        body = [nn.Conv2d(1, 4, 3), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(144, 2)]
        net = wrap(nn.Sequential(*body).double(), {"0": "gru"}, x[:1])
        found.append(net(x, T=4, layers=["0"]))
    torch.testing.assert_close(found[1].logits_t, found[0].logits_t)
    torch.testing.assert_close(found[1].features["0"].values, found[0].features["0"].values)
    torch.testing.assert_close(copy.deepcopy(net)(x, T=4).logits_t, found[1].logits_t)


def test_separable_filters_without_padding_shrink_the_map() -> None:
    node = Node("a", 3, kernel=4, stride=2, op="separable", padding="valid")
    net = ConvRNN(ConvRNNSpec.chain([node], n_classes=2), in_shape=(2, 9, 7))
    assert net.map_shape["a"] == (3, 3, 2)
    depthwise, _, mix = net.layers["a"].conv  # type: ignore[union-attr,misc]  # three modules
    x = torch.rand(1, 2, 9, 7)
    y = nn.functional.conv2d(x, depthwise.weight, depthwise.bias, 2, groups=2)
    wanted = nn.functional.elu(mix(nn.functional.elu(y)))
    torch.testing.assert_close(net(x, layers=["a"]).features["a"].values[:, 0], wanted)


def test_numbers_of_numpy_are_numbers_in_json() -> None:
    options = {"tau_bias": np.float32(-2), "tau_kernel": np.int64(5), "separable": np.True_}
    graph = spec(AB, BC, b={"cell": "rgc", "cell_args": options})
    assert ConvRNNSpec.from_json(graph.to_json()) == graph
