"""Graphs in time. Kinds: identity (what is reused changes nothing), second formula, brute force.

A perturbed frame reaches a node after the shortest path; a feedforward graph with a constant
image is a sequential module; a movie of a still image is the still image; gradients with
recomputation are those without; the Jacobian of a node is that of finite differences.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tractable.vision.convrnn import (
    ConvRNN,
    ConvRNNSpec,
    Decoder,
    Edge,
    Node,
    SpecError,
    decode,
    make_movie,
    match_parameters,
    published,
)

SHAPE = (2, 8, 8)


def image(n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def scattered(net: ConvRNN, seed: int = 1) -> ConvRNN:
    """Give feedback, which starts at no effect, an effect."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=random))
    return net


def random_graph(seed: int) -> ConvRNNSpec:
    """Eight nodes, skips and feedback at random, cells of all kinds."""
    random = np.random.default_rng(seed)
    cells = [None, "rgc", None, "gru", "vanilla", "timedecay", None, "intersection"]
    names = [f"n{i}" for i in range(8)]
    nodes = [Node(n, 4, cell=c, merge="add") for n, c in zip(names, cells, strict=True)]
    edges = [Edge(names[int(random.integers(i))], names[i]) for i in range(1, 8)]
    for _ in range(8):
        a, b = sorted(random.choice(8, 2, replace=False))
        low, high = names[a], names[b]
        new = Edge(low, high, "skip") if random.random() < 0.4 else Edge(high, low, "fb")
        if not any((e.src, e.dst) == (new.src, new.dst) for e in edges):
            edges.append(new)
    return ConvRNNSpec(nodes, edges, n_classes=3)


def shortest(spec: ConvRNNSpec) -> dict[str, int]:
    """Floyd and Warshall, beside the search of the library."""
    names = [node.name for node in spec.nodes]
    far = np.full((len(names),) * 2, 10**6)
    np.fill_diagonal(far, 0)
    for edge in spec.edges:
        far[names.index(edge.src), names.index(edge.dst)] = 1
    for k in range(len(names)):
        far = np.minimum(far, far[:, k, None] + far[k, None])
    return dict(zip(names, far[0].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_frame_reaches_a_node_after_the_shortest_path(seed: int) -> None:
    spec = random_graph(seed)
    net = scattered(ConvRNN(spec, in_shape=SHAPE)).double()
    names, n_steps = [node.name for node in spec.nodes], 12
    movie = make_movie(image(1).double(), n_steps)
    with torch.no_grad():
        before = net(movie, layers=names).features
        for t0 in (0, 3):
            changed = movie.clone()
            changed[:, t0] += 1.0
            after = net(changed, layers=names).features
            for name, steps in shortest(spec).items():
                differs = (before[name].values != after[name].values).flatten(2).any(2)[0]
                assert int(differs.int().argmax()) == t0 + steps, name
                assert before[name].valid.tolist() == [t >= steps for t in range(n_steps)]


def test_feedforward_graph_is_the_sequential_module() -> None:
    nodes = [Node("a", 5, 3, pool=2), Node("b", 6, 3, norm="group"), Node("c", 4, 1)]
    net = ConvRNN(ConvRNNSpec.chain(nodes, n_classes=3), in_shape=SHAPE)
    layers: list[nn.Module] = []
    for node in nodes:
        layer = net.layers[node.name]
        layers += [layer.conv, *([layer.norm] if layer.norm is not None else []), nn.ELU()]
        layers += [nn.MaxPool2d(2)] if node.pool == 2 else []
    plain = nn.Sequential(*layers, nn.Flatten(), net.head)
    out, other = net(image(), T=7), net(image(seed=5), T=7)
    torch.testing.assert_close(out.logits_t[:, 2:], plain(image())[:, None].expand(-1, 5, -1),
                               atol=1e-5, rtol=0)  # fmt: skip
    assert torch.equal(out.logits_t[:, :2], other.logits_t[:, :2])
    assert out.valid.tolist() == [False, False, True, True, True, True, True]


@pytest.mark.parametrize("unroll", ["biological", "engineering"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_reused_changes_nothing(seed: int, unroll: str) -> None:
    spec = random_graph(seed)
    spec.nodes[1:3] = [Node("n1", 4, merge="add"), Node("n2", 4, merge="add")]
    net = scattered(ConvRNN(spec, in_shape=SHAPE, unroll=unroll)).double()  # type: ignore[arg-type]
    x = image().double()
    fast = net(x, T=11, image_off=5, layers=["n2", "n6"])
    slow = net(x, T=11, image_off=5, layers=["n2", "n6"], reuse=False)
    movie = net(make_movie(x, 11, 5), layers=["n2", "n6"])
    state, steps = None, []
    for frame in make_movie(x, 11, 5).unbind(1):
        outputs, state = net.step(frame, state)
        steps.append(outputs["logits"])
    for other in (fast.logits_t, movie.logits_t, torch.stack(steps, 1)):
        torch.testing.assert_close(other, slow.logits_t, atol=1e-12, rtol=0)
    for name in ("n2", "n6"):
        want = slow.features[name].values
        torch.testing.assert_close(fast.features[name].values, want, atol=1e-12, rtol=0)
        torch.testing.assert_close(movie.features[name].values, want, atol=1e-12, rtol=0)


def test_gray_is_normalized_with_the_image() -> None:
    x = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.5])
    movie = make_movie(x, 5, image_off=3, mean=mean, std=std)
    per_channel = (mean[:, None, None].double(), std[:, None, None].double())
    for t in range(5):
        frame = x if t < 3 else torch.full_like(x, 0.5)
        want = (frame - per_channel[0]) / per_channel[1]
        torch.testing.assert_close(movie[:, t], want, atol=1e-12, rtol=0)


def test_movies_in_pieces() -> None:
    net = scattered(ConvRNN(random_graph(0), in_shape=SHAPE)).double()
    movie = torch.rand(2, 14, *SHAPE, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(0))  # fmt: skip
    whole = net(movie)
    first = net(movie[:, :9], keep_state=True)
    second = net(movie[:, 9:], state=first.state)
    pieces = torch.cat([first.logits_t, second.logits_t], 1)
    torch.testing.assert_close(pieces, whole.logits_t, atol=1e-12, rtol=0)


@pytest.mark.parametrize("how", ["step", "sqrt"])
@pytest.mark.parametrize("movie", [False, True])
def test_gradients_with_recomputation(how: str, movie: bool) -> None:
    net = scattered(ConvRNN(random_graph(1), in_shape=SHAPE))
    x = make_movie(image(), 13) if movie else image()
    call = {} if movie else {"T": 13, "image_off": 6}

    def gradients(**more: str) -> list[torch.Tensor]:
        net.zero_grad()
        net(x, **call, **more).logits_t.square().sum().backward()  # type: ignore[arg-type]
        return [torch.zeros(()) if p.grad is None else p.grad.clone() for p in net.parameters()]

    for plain, again in zip(gradients(), gradients(checkpoint=how), strict=True):
        torch.testing.assert_close(plain, again, atol=1e-5, rtol=1e-5)


def test_truncated_gradients_stop() -> None:
    net = ConvRNN(ConvRNNSpec.chain([Node("a", 4, cell="rgc")], n_classes=2), in_shape=SHAPE)
    movie = make_movie(image(), 6).requires_grad_()
    net(movie, detach_every=4).logits.sum().backward()
    assert movie.grad is not None
    assert (movie.grad.abs().sum((0, 2, 3, 4)) > 0).tolist() == [False] * 4 + [True] * 2


def test_feedback_starts_at_no_effect() -> None:
    def net(feedback: bool) -> ConvRNN:
        nodes = [Node("a", 4), Node("b", 4, cell="rgc"), Node("c", 4, cell="rgc")]
        spec = ConvRNNSpec.chain(nodes, n_classes=2)
        if feedback:
            spec.feedback("c", "b", entry="out").feedback("c", "a", activation="elu", kernel=3)
        return ConvRNN(spec, in_shape=SHAPE)

    parent, child = net(False), net(True)
    child.load_state_dict(parent.state_dict(), strict=False)
    torch.testing.assert_close(child(image(), T=8).logits_t, parent(image(), T=8).logits_t)
    child(image(), T=8).logits.sum().backward()
    gains = [m.norm.weight.grad for m in child.feedback.values()]
    assert all(g is not None and g.abs().sum() > 0 for g in gains)


@pytest.mark.parametrize("cell", ["rgc", "gru", "lstm", "timedecay"])
def test_jacobian_of_a_node(cell: str) -> None:
    spec = ConvRNNSpec.chain([Node("a", 3, pool=2), Node("b", 2, cell=cell)], n_classes=2)
    net = scattered(ConvRNN(spec, in_shape=(2, 4, 4))).double()
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = net.step_map("b", x)
    flat = torch.randn(step.n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    jacobian = net.jacobian("b", step.states(flat[None]), x)
    eps = 1e-6 * torch.eye(step.n, dtype=torch.float64)
    slope = ((step(flat + eps) - step(flat - eps)) / 2e-6).T
    torch.testing.assert_close(jacobian, slope, atol=1e-8, rtol=0)


def test_json_round_trip_gives_equal_outputs() -> None:
    spec = random_graph(2)
    torch.manual_seed(3)
    one = ConvRNN(spec, in_shape=SHAPE)
    torch.manual_seed(3)
    two = ConvRNN(ConvRNNSpec.from_json(spec.to_json()), in_shape=SHAPE)
    assert torch.equal(one(image(), T=9).logits_t, two(image(), T=9).logits_t)
    with pytest.raises(SpecError, match="unknown field 'chanels'; did you mean 'channels'"):
        ConvRNNSpec.from_json(spec.to_json().replace('"channels"', '"chanels"', 1))


def brute(logits: np.ndarray, name: str, theta: float) -> tuple[np.ndarray, int]:
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    best = -1
    for t, row in enumerate(p):
        if name == "threshold" and row.max() >= theta:
            return logits[t], t
        if best < 0 or row.max() > p[best].max():
            best = t
    return logits[best], best


@pytest.mark.parametrize(("name", "theta"), [("max_conf", 0.9), ("threshold", 0.5),
                                             ("threshold", 0.999999)])  # fmt: skip
def test_choices_by_brute_force(name: str, theta: float) -> None:
    """Steps are drawn from three: many tie, the first wins; the last theta is not met."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 3, 3, generator=random, dtype=torch.float64)
    chosen = torch.randint(3, (200, 6), generator=random)
    logits = rows.gather(1, chosen[..., None].expand(-1, -1, 3))
    found, steps = decode(logits, name, theta=theta)
    for z, got, t in zip(logits.numpy(), found.numpy(), steps.tolist(), strict=True):
        want, at = brute(z, name, theta)
        assert t == at
        np.testing.assert_array_equal(got, want)


def test_the_other_decoders() -> None:
    z = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = np.exp(z.numpy()) / np.exp(z.numpy()).sum(2, keepdims=True)
    over_time = np.exp(z.numpy()) / np.exp(z.numpy()).sum(1, keepdims=True)
    best = np.exp(p.max(2)) / np.exp(p.max(2)).sum(1, keepdims=True)
    low = z.numpy()[:, -1] - z.numpy()[:, -1].min(1, keepdims=True)
    expected = {
        "last": z.numpy()[:, -1],
        "softmax_last": p[:, -1],
        "linear_last": low / low.sum(1, keepdims=True),
        "time_max": z.numpy().max(1),
        "w_avg": (over_time * z.numpy()).sum(1),
        "w_time_avg": (best[..., None] * z.numpy()).sum(1),
    }
    for name, want in expected.items():
        np.testing.assert_allclose(decode(z, name)[0].numpy(), want, atol=1e-12, err_msg=name)
    for name in ("w_avg_t", "mlp", "conv1d"):
        decoder = Decoder(name, n_steps=6, n_classes=3).double()
        assert decoder(z)[0].shape == (5, 3)
    hard, _ = decode(z, "threshold", theta=0.6)
    straight = Decoder("threshold", theta=0.6, soft=0.1, straight=True)
    got, _ = straight(z)
    torch.testing.assert_close(got, hard)
    got.sum().backward()
    assert straight.theta.grad is not None
    assert float(straight.theta.grad) != 0.0
    with pytest.raises(ValueError, match="no step is valid"):
        decode(z, "last", torch.zeros(6, dtype=torch.bool))


@pytest.mark.parametrize("cell", ["vanilla", "gru", "lstm", "ugrnn", "intersection"])
def test_matched_within_two_percent(cell: str) -> None:
    def chain(name: str) -> ConvRNNSpec:
        return ConvRNNSpec.chain([Node("a", 16, pool=2), Node("b", 12, cell=name)], n_classes=10)

    def size(spec: ConvRNNSpec) -> int:
        net = ConvRNN(spec, in_shape=SHAPE, device="meta")
        return sum(p.numel() for p in net.parameters())

    matched = match_parameters(chain(cell), chain("rgc"), in_shape=SHAPE)
    assert abs(size(matched) / size(chain("rgc")) - 1) <= 0.02
    with pytest.raises(SpecError, match="the nearest has"):
        match_parameters(chain(cell), 7, in_shape=SHAPE)
    nodes = [Node("a", 8), Node("b", 8), Node("p", 8, op="none", pool=2),
             Node("c", 8, merge="add", cell=cell)]  # fmt: skip
    tied = ConvRNNSpec.chain(nodes, n_classes=3).skip("a", "c")
    assert abs(size(match_parameters(tied, 20_000, in_shape=SHAPE)) / 20_000 - 1) <= 0.02


def test_published_graph() -> None:
    spec = published("intermediate", "rgc", n_classes=10)
    assert spec.first_valid()["conv10"] == 9
    assert len([e for e in spec.edges if e.kind == "fb"]) == 5
    spec.validate((3, 64, 64))


def test_first_published_layers() -> None:
    spec = published("first", "gru", n_classes=10)
    assert [node.cell for node in spec.nodes] == [None, None, "gru", "gru", "gru"]
    assert {(node.norm, node.pool_kernel) for node in spec.nodes} == {("batch", 3)}
    net = ConvRNN(spec, in_shape=(3, 128, 128), device="meta")
    assert [net.map_shape[n][1] for n in net.order] == [32, 16, 8, 4, 2]
    with pytest.raises(ValueError, match="feedback is of the intermediate"):
        published("first", "rgc", feedback=True)
