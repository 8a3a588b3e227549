"""The three-factor rule. IDENTITY: autograd of the surrogate graph, two engines, pieces of a
window, batches, feedback before or after the filter; LIMIT: silent nets, steps of RMaxProp."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest

from tractable.spiking import (
    BPTT,
    Fixed,
    Frozen,
    Heterosynaptic,
    LIFLayer,
    LIFParams,
    Random,
    RMaxProp,
    SpikingNet,
    SuperSpike,
    Symmetric,
    Uniform,
    VanRossum,
    gradient_angle,
    surrogate_derivative,
)
from tractable.spiking.feedback import Feedback
from tractable.spiking.filters import AlphaFilter
from tractable.spiking.reference import lif_autograd

WINDOWS = (613, 1387, 1000)


def data(n_batch: int = 2, n_in: int = 30, n_out: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(1)
    n = sum(WINDOWS)
    inputs = torch.from_numpy(random.random((n, n_batch, n_in)) < 0.004)
    return inputs, torch.from_numpy(random.random((n, n_batch, n_out)) < 0.002)


def deep(dtype: torch.dtype = torch.float64, recurrent: bool = True) -> SpikingNet:
    return SpikingNet.of_sizes(
        30, 16, 12, 4, w0=[90.0, 80.0, 80.0], dtype=dtype, seed=1, recurrent=recurrent
    )


def updates(rule: SuperSpike, inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the gradients of consecutive windows, flat."""
    state, start, found = None, 0, []
    for n in WINDOWS:
        part = slice(start, start + n)
        state = rule.window(inputs[part], target[part], state).state
        found += [p.grad.flatten().clone() for p in rule.net.parameters() if p.grad is not None]
        start += n
    return torch.cat(found)


def autograd_gradients(
    net: SpikingNet, inputs: torch.Tensor, target: torch.Tensor, taus: tuple[float, float] = (5, 10)
) -> tuple[torch.Tensor, ...]:
    """Return dL/dW of the graph without reset path."""
    x = inputs.double()
    for layer in net.layers:
        state = layer.initial_state(x.shape[1])
        arrived = torch.cat([state.arriving.double(), x])[: len(x)]
        x = lif_autograd(layer, arrived, state, graph="srm")[0]
    kernel, rise, decay, loss = AlphaFilter(*taus, 0.1).coefficients, 0.0, 0.0, 0.0
    for t in range(len(x)):
        rise = kernel[0] * rise + kernel[2] * (target[t].double() - x[t]) / 0.1
        decay = kernel[1] * decay + kernel[3] * rise
        loss = loss + 0.5 * decay.square().sum() * 0.1
    return torch.autograd.grad(loss, list(net.parameters()))


def test_one_layer_is_the_gradient_of_the_surrogate_graph() -> None:
    net = SpikingNet.of_sizes(20, 3, w0=90.0, dtype=torch.float64, seed=1)
    inputs, target = data(n_in=20, n_out=3)
    rule = SuperSpike(net)
    state, start, total = None, 0, torch.zeros(3, 20, dtype=torch.float64)
    for n in WINDOWS:  # through three windows, with everything carried
        part = slice(start, start + n)
        step = rule.window(inputs[part], target[part], state)
        state, start = step.state, start + n
        total += net.layers[0].weight.grad * n * 2 * 0.1  # type: ignore[operator]  # just filled
        n_spikes = int(step.output.layers[0].spikes.sum())
        assert step.rates[0] == pytest.approx(n_spikes / (3 * 2) / (n * 0.1e-3), rel=1e-6)  # Hz
        assert step.rates[0] > 5
    (wanted,) = autograd_gradients(net, inputs, target)
    assert float((total - wanted).norm() / wanted.norm()) <= 1e-10


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("fast_sigmoid", 2.0),
        ("exponential", 2.0),
        ("triangular", 1.0),
        ("sigmoid", 4.0),
        ("gaussian", 2.0),
    ],
)
def test_a_surrogate_is_one_at_threshold_and_has_its_area(name: str, area: float) -> None:
    def at(x: float) -> float:
        v = torch.tensor(10.0 + x / 0.5, dtype=torch.float64)
        return float(surrogate_derivative(v, 10.0, 0.5, name))

    assert at(0.0) == pytest.approx(1.0, abs=1e-12)
    assert sum(quad(at, *side, limit=200)[0] for side in ((-math.inf, 0), (0, math.inf))) == (
        pytest.approx(area, rel=1e-6)
    )


def test_random_feedback_has_its_spread() -> None:
    net = SpikingNet.of_sizes(3, 400, 300, 200, dtype=torch.float64)
    for index in (0, 1):
        B = Random(std=2.5, seed=1).matrix(net, index)
        assert B.shape == (400 - 100 * index, 200)
        n = B.numel()
        assert float(B.std()) == pytest.approx(2.5, rel=4 / (2 * n) ** 0.5)
        assert abs(float(B.mean())) < 4 * 2.5 / n**0.5


def test_backpropagation_is_the_gradient_of_all_layers() -> None:
    net = deep(recurrent=False)
    inputs, target = data()
    inputs, target = inputs[:1000], target[:1000]
    for taus in ((5.0, 10.0), (2.0, 4.0)):  # the second is not the kernel of the eligibility
        # pieces of 300 steps must not cut the gradient
        rule = SuperSpike(net, loss=VanRossum(*taus), feedback=BPTT(), chunk_steps=300)
        rule.window(inputs, target)
        gradients = autograd_gradients(net, inputs, target, taus)
        for p, wanted in zip(net.parameters(), gradients, strict=True):
            ours = p.grad * 1000 * 2 * 0.1  # type: ignore[operator]  # just filled
            assert float((ours - wanted).norm() / wanted.norm()) <= 1e-10
    rule.window(inputs[:5], target[:5])  # shorter than the delay
    assert all(float(p.grad.abs().max()) == 0 for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("feedback", [Symmetric(), Random(seed=3), Uniform()])
def test_engines_and_pieces_agree(dtype: torch.dtype, error: float, feedback: Feedback) -> None:
    inputs, target = data()
    wanted = None
    for engine, chunk in (("online", 5000), ("chunked", 137), ("chunked", 1000), ("chunked", 5000)):
        rule = SuperSpike(
            deep(dtype), feedback=feedback, engine=engine, chunk_steps=chunk,  # type: ignore[arg-type]  # the two
            regularizer=Heterosynaptic(),
        )  # fmt: skip
        found = updates(rule, inputs, target)
        wanted = found if wanted is None else wanted
        assert float((found - wanted).norm() / wanted.norm()) <= error


def test_equal_time_constants_agree_too() -> None:
    inputs, target = data()
    found = [
        updates(SuperSpike(deep(), engine=engine, tau_rise=10, tau_decay=10), inputs, target)  # type: ignore[arg-type]  # the two
        for engine in ("online", "chunked")
    ]
    assert float((found[0] - found[1]).norm() / found[0].norm()) <= 1e-10


def test_a_batch_is_the_mean_of_its_samples() -> None:
    inputs, target = data(n_batch=5)
    whole = updates(SuperSpike(deep()), inputs, target)
    single = [
        updates(SuperSpike(deep()), inputs[:, i : i + 1], target[:, i : i + 1]) for i in range(5)
    ]
    assert float((whole - sum(single) / 5).norm() / whole.norm()) <= 1e-10  # type: ignore[operator,arg-type]  # tensors


def test_feedback_may_come_before_or_after_the_filter() -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(-1, 2, (800, 2, 4))).double()
    matrix = torch.randn(6, 4, dtype=torch.float64)
    kernel = AlphaFilter(5, 10, 0.1)
    before = kernel(x @ matrix.T, (torch.zeros(2, 6).double(), torch.zeros(2, 6).double()))[0]
    after = kernel(x, (torch.zeros(2, 4).double(), torch.zeros(2, 4).double()))[0] @ matrix.T
    torch.testing.assert_close(before, after, rtol=1e-9, atol=1e-9)


def test_random_feedback_is_fixed_and_normal() -> None:
    net = SpikingNet.of_sizes(5, 100, 100, dtype=torch.float64)
    feedback = Random(seed=4)
    before = feedback.matrix(net, 0).clone()
    for p in net.parameters():
        p.data.add_(1.0)
    assert torch.equal(before, Random(seed=4).matrix(net, 0))
    assert not torch.equal(before, Random(seed=5).matrix(net, 0))
    assert kstest(before.flatten().numpy(), "norm").pvalue > 0.01


def test_pathways_say_what_they_send() -> None:
    net = deep(recurrent=False)
    error = torch.randn(7, 2, 4, dtype=torch.float64)
    w2, w3 = net.layers[1].weight, net.layers[2].weight
    symmetric = Symmetric().errors(net, error)
    torch.testing.assert_close(symmetric[1], (error @ w3).detach())
    torch.testing.assert_close(symmetric[0], (error @ w3 @ w2).detach())
    uniform = Uniform().errors(net, error)
    torch.testing.assert_close(uniform[0][..., 3], error.sum(2))  # type: ignore[index]  # a tensor
    assert Frozen().errors(net, error)[:2] == [None, None]
    fixed = Fixed(torch.ones(16, 4), torch.ones(12, 4)).errors(net, error)
    torch.testing.assert_close(fixed[0], uniform[0])
    with pytest.raises(ValueError, match="shapes"):
        Fixed(torch.ones(3, 4)).errors(net, error)


def test_the_mask_is_where_a_neuron_is_held() -> None:
    net = SpikingNet([LIFLayer(20, 30, w0=300.0, dtype=torch.float64, seed=1)])
    inputs, target = data(n_in=20, n_out=30)
    step, state, spikes, held = None, None, [], []
    for part in (slice(0, 611), slice(611, 1500)):
        step = SuperSpike(net).window(inputs[part], target[part], state)
        state = step.state
        out = step.output.layers[0]
        spikes.append(out.spikes)
        held.append(net.layers[0].held(out))
    fired = torch.cat(spikes).numpy()
    wanted = np.zeros_like(fired)
    for t, b, i in zip(*np.nonzero(fired), strict=True):
        wanted[t + 1 : t + 51, b, i] = True
    assert wanted[611].any()  # across the seam
    np.testing.assert_array_equal(torch.cat(held).numpy(), wanted)
    silent = SpikingNet.of_sizes(20, 30, w0=0.0, dtype=torch.float64)  # at rest, but free
    gradients = []
    for mask in (False, True):
        SuperSpike(silent, mask_refractory=mask).window(inputs[:900], target[:900])
        gradients.append(silent.layers[0].weight.grad)
    assert float(gradients[0].abs().max()) > 0
    assert torch.equal(gradients[1], gradients[0])


def test_frozen_layers_have_no_gradient() -> None:
    inputs, target = data()
    net = deep(recurrent=False)
    SuperSpike(net, feedback=Frozen()).window(inputs[:500], target[:500])
    assert [p.grad is None for p in net.parameters()] == [True, True, False]


def test_angles_to_backpropagation() -> None:
    # an active net of the size for which the theory page gives ranges
    net = SpikingNet.of_sizes(30, 16, 4, w0=[150.0, 100.0], dtype=torch.float64, seed=2)
    random = np.random.default_rng(2)
    inputs = torch.from_numpy(random.random((8000, 1, 30)) < 0.004)
    target = torch.from_numpy(random.random((8000, 1, 4)) < 0.001)
    symmetric = gradient_angle(net, inputs, target, Symmetric())
    uniform = gradient_angle(net, inputs, target, Uniform())
    assert symmetric[1] == pytest.approx(1.0, abs=1e-9)  # the output layer is exact
    assert symmetric[0] > 0.8
    assert symmetric[0] > uniform[0]
    assert all(p.grad is None for p in net.parameters())


# --- RMaxProp ---------------------------------------------------------------------------------


def steps(optimizer: torch.optim.Optimizer, p: torch.nn.Parameter, gradients: torch.Tensor) -> list:
    path = [p.detach().clone()]
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
        path.append(p.detach().clone())
    return path


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e15])
def test_rmaxprop_does_not_know_the_scale(scale: float) -> None:
    gradients = torch.randn(40, 6) * torch.linspace(1, 0.1, 40)[:, None]
    gradients[:, 0] = 0
    p = torch.nn.Parameter(torch.zeros(6))
    path = steps(RMaxProp([p], lr=0.7), p, gradients * scale)
    q = torch.nn.Parameter(torch.zeros(6))
    other = steps(RMaxProp([q], lr=0.7), q, gradients)
    first = path[1] - path[0]
    torch.testing.assert_close(first[1:], -0.7 * gradients[0, 1:].sign(), rtol=1e-6, atol=0)
    moves = torch.stack([b - a for a, b in itertools.pairwise(path)])
    assert float(moves.abs().max()) <= 0.7 * (1 + 1e-6)
    assert (moves[:, 0] == 0).all()
    torch.testing.assert_close(path[-1], other[-1], rtol=1e-4, atol=1e-4)


def test_rmaxprop_remembers_and_keeps_its_bounds() -> None:
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = RMaxProp([p], lr=60.0, bounds=(-100, 100))
    steps(optimizer, p, torch.tensor([[-4.0], [-4.0], [-1.0]]))
    gamma = float(np.exp(-500 / 30_000))
    assert p.detach().item() == 100.0
    assert float(optimizer.state[p]["root"]) == pytest.approx(4 * gamma**0.5, rel=1e-5)
    assert gamma == pytest.approx(0.983471, abs=1e-6)
    copied = RMaxProp([p], lr=60.0)
    copied.load_state_dict(optimizer.state_dict())
    assert float(copied.state[p]["root"]) == float(optimizer.state[p]["root"])


def test_mean_squares_are_rmsprop() -> None:
    gradients = torch.randn(30, 5, dtype=torch.float64)
    gamma = float(np.exp(-500 / 30_000))
    p, q = (torch.nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(2))
    ours = RMaxProp([p], lr=0.1, accumulate="mean", eps=1e-8)
    theirs = torch.optim.RMSprop([q], lr=0.1, alpha=gamma, eps=1e-8)
    torch.testing.assert_close(
        steps(ours, p, gradients)[-1], steps(theirs, q, gradients)[-1], rtol=1e-6, atol=1e-6
    )


def test_one_maximum_per_layer() -> None:
    p = torch.nn.Parameter(torch.zeros(2))
    steps(RMaxProp([p], lr=1.0, per_layer=True), p, torch.tensor([[4.0, 1.0]]))
    torch.testing.assert_close(p.detach(), torch.tensor([-1.0, -0.25]))


# --- regularizer ------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.1, 0.05])
@pytest.mark.parametrize("by_error", [False, True])
def test_the_regularizer_in_volts_and_steps(dt: float, by_error: bool) -> None:
    # the published code, step by step: spikes of 1, traces that add up or follow, w in V, 1 / beta
    # 1 mV, gradient the mean over steps of error times eligibility minus rho w z^4 (e^2)
    params = LIFParams(dt=dt, delay=0.0)
    net = SpikingNet.of_sizes(
        20, 6, 2, w0=[150.0, 100.0], params=params, dtype=torch.float64, seed=1
    )
    random, n, rho, feedback = np.random.default_rng(1), round(80 / dt), 3.0, Random(seed=2)
    inputs, target = (torch.from_numpy(random.random((n, 1, k)) < 0.05 * dt) for k in (20, 2))
    weight = net.layers[0].weight
    found = []
    for regularizer in (None, Heterosynaptic(rho, error_dependent=by_error)):
        step = SuperSpike(net, feedback=feedback, regularizer=regularizer).window(inputs, target)
        found.append(-weight.grad.numpy())  # type: ignore[union-attr]  # just filled
    spikes, v = (x[:, 0].numpy() for x in (step.output.layers[0].spikes, step.output.layers[0].v))
    assert spikes.sum() > 10
    x = (target.double() - step.output.spikes.double())[:, 0] @ feedback.matrix(net, 0).T
    psp_of = LIFParams(dt=dt).step()
    follow = {tau: -math.expm1(-dt / tau) for tau in (5.0, 10.0)}
    current, pre, z = np.zeros(20), np.zeros(20), np.zeros(6)
    err, error, trace, eligibility = np.zeros(6), np.zeros(6), np.zeros((6, 20)), np.zeros((6, 20))
    learned, decayed = np.zeros((6, 20)), np.zeros(6)
    for t in range(n):
        pre = psp_of.a * pre + psp_of.c * current
        current = psp_of.b * current + inputs[t, 0].numpy()
        err += follow[5.0] * (x[t].numpy() - err)
        error += follow[10.0] * (err - error)
        slope = 1000 / (1 + np.abs(v[t] - 10)) ** 2
        trace = (1 - follow[5.0]) * trace + slope[:, None] * pre
        eligibility += follow[10.0] * (trace - eligibility)
        z = math.exp(-dt / 100) * z + spikes[t]
        learned += error[:, None] * eligibility / n
        decayed += rho * z**4 * (error**2 if by_error else 1) / n
    unit = (learned * found[0]).sum() / (learned * learned).sum()
    np.testing.assert_allclose(unit * learned, found[0], rtol=1e-9, atol=1e-15)
    code = -unit * decayed[:, None] * weight.detach().numpy() / 1000
    # tau_rise / dt stands for the gain of the trace that adds up, 1 / (1 - exp(-dt / tau_rise))
    np.testing.assert_allclose(found[1] - found[0], code, rtol=0.011 * dt / 0.1, atol=1e-18)


def test_silence_has_no_gradient_of_its_own() -> None:
    net = SpikingNet.of_sizes(10, 2)
    step = SuperSpike(net).window(torch.zeros(300, 1, 10), torch.zeros(300, 1, 2))
    assert step.cost == 0
    assert float(net.layers[0].weight.grad.abs().max()) == 0  # type: ignore[union-attr]  # just filled
