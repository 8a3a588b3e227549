"""Neurons, kernels and moments. INDEPENDENT: closed forms; LIMIT: equal time constants;
IDENTITY: two loops, two windows; SIMULATION: Poisson input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from tractable.spiking import (
    LIFLayer,
    LIFParams,
    alpha_kernel,
    fi_curve,
    fluctuation_driven,
    kernel_autocorrelation,
    membrane_std,
    psp,
    psp_energy,
    van_rossum,
    zeta_moment,
)
from tractable.spiking.filters import AlphaFilter, exponential_trace


def random_spikes(n_steps: int, n_batch: int, n: int, share: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n_steps, n_batch, n)) < share)


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(10, 5), (20, 2), (10, 10)])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_the_exact_step_is_the_sum_of_potentials(
    tau_mem: float, tau_syn: float, dtype: torch.dtype, error: float
) -> None:
    params = LIFParams(tau_mem=tau_mem, tau_syn=tau_syn, v_th=1e6)
    layer = LIFLayer(3, 2, params, dtype=dtype, seed=1)
    spikes = random_spikes(5000, 1, 3, 0.002)
    with torch.no_grad():
        v = layer(spikes).v[:, 0].double().numpy()
    time = 0.1 * np.arange(5000)
    weight = layer.weight.detach().double().numpy()
    wanted = np.zeros((5000, 2))
    for step, _, unit in spikes.nonzero().tolist():
        wanted += weight[:, unit] * psp(time - 0.1 * (step + 8), tau_mem, tau_syn)[:, None]
    assert np.abs(v - wanted).max() <= error


@pytest.mark.parametrize("current", [10.5, 12.0, 15.0, 30.0])
@pytest.mark.parametrize("t_ref", [0.0, 2.0, 5.0])
def test_intervals_under_constant_current(current: float, t_ref: float) -> None:
    params = LIFParams(t_ref=t_ref)
    layer = LIFLayer(1, 1, params, dtype=torch.float64)
    with torch.no_grad():
        out = layer(torch.zeros(5000, 1, 1, dtype=torch.bool), injected=current)
    intervals = np.diff(np.flatnonzero(out.spikes.numpy()))
    exact = 1000 / float(fi_curve(current, params)) / params.dt
    assert len(intervals)
    assert (intervals - exact >= 0).all()
    assert (intervals - exact <= 1).all()


def test_rates_vanish_below_threshold() -> None:
    assert (fi_curve([-5.0, 0.0, 10.0]) == 0).all()


def test_the_threshold_is_strict_and_the_clamp_holds() -> None:
    # v_th 0.5 and an injected current that brings the voltage to it exactly
    params = LIFParams(v_rest=0.0, v_th=0.5)
    layer = LIFLayer(1, 1, params, dtype=torch.float64)
    step = layer.step
    with torch.no_grad():
        injected = torch.zeros(3, 1, 1, dtype=torch.float64)
        injected[0] = 0.5 / (1 - step.a)
        v = float(layer(torch.zeros(1, 1, 1), injected=injected[:1]).v)
        assert not layer(torch.zeros(1, 1, 1), injected=injected[:1]).spikes.any() or v > 0.5
    strong = LIFLayer(1, 1, dtype=torch.float64)
    strong.weight.data.fill_(1e4)
    with torch.no_grad():
        out = strong(torch.ones(1000, 1, 1))
    assert np.diff(np.flatnonzero(out.spikes.numpy())).min() == 51  # n_ref + 1


@pytest.mark.parametrize("delay", [0.0, 0.8])
def test_a_spike_acts_after_its_delay(delay: float) -> None:
    params = LIFParams(delay=delay)
    layer = LIFLayer(1, 1, params, dtype=torch.float64)
    layer.weight.data.fill_(1.0)
    spikes = torch.zeros(40, 1, 1)
    spikes[3] = 1
    with torch.no_grad():
        out = layer(spikes, record=["current"])
    arrival = 3 + params.delay_steps
    assert int(out.current.ravel().nonzero()[0]) == arrival  # type: ignore[union-attr]  # recorded
    assert int(out.v.ravel().nonzero()[0]) == arrival + 1


@pytest.mark.parametrize("integrator", ["exact", "euler", "peer_euler"])
@pytest.mark.parametrize("reset", ["clamp", "zero", "subtract"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_compiled_and_stepwise_loops_spike_alike(
    integrator: str, reset: str, recurrent: bool
) -> None:
    layers = [
        LIFLayer(
            40, 12, w0=120.0, integrator=integrator, reset=reset, recurrent=recurrent,  # type: ignore[arg-type]  # parametrized
            backend=backend, dtype=torch.float64, seed=2,  # type: ignore[arg-type]
        )
        for backend in ("numba", "torch")
    ]  # fmt: skip
    spikes = random_spikes(1500, 2, 40, 0.002)
    with torch.no_grad():
        ours, other = (layer(spikes, record=["current"]) for layer in layers)
    assert ours.spikes.sum() > 10
    assert torch.equal(ours.spikes, other.spikes)
    torch.testing.assert_close(ours.v, other.v, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.current, other.current, rtol=1e-10, atol=1e-10)
    recorded = layers[0](spikes[:200])  # autograd
    assert torch.equal(recorded.spikes.bool(), ours.spikes[:200])


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_windows_join_without_a_seam(backend: str) -> None:
    layer = LIFLayer(40, 12, w0=120.0, recurrent=True, backend=backend, seed=2)  # type: ignore[arg-type]  # parametrized
    spikes = random_spikes(900, 2, 40, 0.002)
    with torch.no_grad():
        whole = layer(spikes)
        first = layer(spikes[:403])
        second = layer(spikes[403:], first.state)
    assert torch.equal(whole.spikes, torch.cat([first.spikes, second.spikes]))
    assert torch.equal(whole.state.v, second.state.v)


def test_dense_and_sparse_input_agree() -> None:
    layer = LIFLayer(40, 12, w0=30.0, dtype=torch.float64, seed=2)
    spikes = random_spikes(400, 2, 40, 0.02)
    dense = torch.cat([spikes, torch.ones(400, 2, 40, dtype=torch.bool)], 1)
    with torch.no_grad():
        sparse_out, dense_out = layer(spikes), layer(dense)
    torch.testing.assert_close(dense_out.v[:, :2], sparse_out.v, rtol=1e-10, atol=1e-10)


# --- kernels ----------------------------------------------------------------------------------


def test_potential_and_kernel_in_closed_form() -> None:
    energy = quad(lambda t: float(psp(t)) ** 2, 0, 200)[0]
    assert energy == pytest.approx(psp_energy(), rel=1e-8)
    assert quad(lambda t: float(psp(t)), 0, 300)[0] == pytest.approx(5.0, rel=1e-8)
    assert quad(lambda t: float(alpha_kernel(t)), 0, 300)[0] == pytest.approx(1.0, rel=1e-8)
    assert float(psp(10 * np.log(2))) == pytest.approx(0.25, rel=1e-12)
    for lag in (0.0, 3.0, 20.0):
        product = quad(lambda t, x=lag: float(alpha_kernel(t) * alpha_kernel(t + x)), 0, 300)[0]
        assert product == pytest.approx(float(kernel_autocorrelation(lag)), rel=1e-7)
    assert float(kernel_autocorrelation(0.0)) == pytest.approx(1 / 30, rel=1e-12)


def test_equal_time_constants_are_a_limit() -> None:
    t = np.linspace(0, 50, 101)
    near = 10 * (1 + 1e-6)
    np.testing.assert_allclose(psp(t, 10, 10), psp(t, near, 10), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(psp(t, 10, 10), t / 10 * np.exp(-t / 10), rtol=1e-12)
    np.testing.assert_allclose(
        kernel_autocorrelation(t, 10, 10), kernel_autocorrelation(t, 10, 10 * (1 + 2e-4)), rtol=1e-3
    )
    # a divided difference of x exp(-lag / x) is the mean of its derivative in between
    node, weight = np.polynomial.legendre.leggauss(5)
    for gap in (1e-9, 1e-6, 1e-5, 1.9e-4, 1e-2):
        x = 10 * (1 + gap * (1 + node) / 2)
        for lag in (0.0, 3.0, 300.0):
            mean = (weight / 2) @ ((1 + lag / x) * np.exp(-lag / x))
            wanted = mean / (2 * (20 + 10 * gap))
            found = float(kernel_autocorrelation(lag, 10, 10 * (1 + gap)))
            assert found == pytest.approx(wanted, rel=1e-8, abs=0)
    step, close = LIFParams(tau_syn=10).step(), LIFParams(tau_syn=10 + 1e-5).step()
    assert step.c == pytest.approx(close.c, rel=1e-6)
    equal, apart = AlphaFilter(10, 10, 0.1), AlphaFilter(10, 10 + 1e-5, 0.1)
    for a, b in zip(equal.carry_weights(50, torch.float64)[:2],
                    apart.carry_weights(50, torch.float64)[:2], strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-12)


def test_the_filter_has_unit_area_and_its_transpose() -> None:
    kernel = AlphaFilter(5, 10, 0.1)
    x = torch.zeros(4000, 1, 2, dtype=torch.float64)
    x[3, 0, 0] = 1 / 0.1
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    out, _ = kernel(x, (zeros, zeros))
    assert float(out.sum()) * 0.1 == pytest.approx(1.0, abs=1e-6)
    y = torch.randn(300, 1, 2, dtype=torch.float64)
    z = torch.randn(300, 1, 2, dtype=torch.float64)
    forward, backward = kernel(y, (zeros, zeros))[0], kernel.adjoint(z)[0]
    assert float((forward * z).sum()) == pytest.approx(float((y * backward).sum()), rel=1e-10)


@pytest.mark.parametrize(("dt", "error"), [(0.1, 0.01), (0.005, 0.0005)])
def test_van_rossum_on_a_grid(dt: float, error: float) -> None:
    a, b = np.array([20.0, 55.0, 61.0]), np.array([24.0, 61.0])
    x = torch.zeros(round(250 / dt), 1, 1, dtype=torch.float64)
    for times, sign in ((a, 1), (b, -1)):
        for time in times:
            x[round(time / dt)] += sign / dt
    zeros = torch.zeros(1, 1, dtype=torch.float64)
    e, _ = AlphaFilter(5, 10, dt)(x, (zeros, zeros))
    grid = float(e.square().sum()) * dt
    assert grid == pytest.approx(van_rossum(a, b, normalize="none"), rel=error)


def test_van_rossum_of_equal_and_empty_trains() -> None:
    times = [3.0, 1.0, 200.0]
    assert van_rossum(times, sorted(times)) == 0.0
    assert van_rossum([], []) == 0.0
    assert van_rossum([], [5.0]) == pytest.approx(1.0)
    assert van_rossum([], [5.0, 5.0]) == pytest.approx(4.0)  # two at once are one of twice the size
    random = np.random.default_rng(0)
    a, b = 200 * random.random(40), 200 * random.random(30)
    times, sign = np.concatenate([a, b]), np.repeat([1, -1], [40, 30])
    for taus in ((5, 10), (10, 4), (8, 8), (8, 8 * (1 + 1e-5))):  # pair by pair
        pairs = kernel_autocorrelation(times[:, None] - times, *taus)
        assert van_rossum(a, b, *taus, normalize="none") == pytest.approx(
            sign @ pairs @ sign, rel=1e-8
        )
    many = np.sort(1e6 * random.random((2, 50_000)))  # in as many steps as spikes
    assert van_rossum(*many) == pytest.approx(100_000, rel=0.03)
    shifted = 2 * (1 - float(kernel_autocorrelation(2.0) * 30))
    assert van_rossum([10.0], [12.0]) == pytest.approx(shifted, rel=1e-9)


# --- moments ----------------------------------------------------------------------------------


def test_moments_of_the_rate_trace() -> None:
    x = np.array([0.3, 2.0])
    np.testing.assert_allclose(zeta_moment(x, 1), x, rtol=1e-12)
    np.testing.assert_allclose(zeta_moment(x, 2), x / 2 + x**2, rtol=1e-12)
    np.testing.assert_allclose(zeta_moment(x, 3), x / 3 + 1.5 * x**2 + x**3, rtol=1e-12)
    fourth = x / 12 * (3 + 25 * x + 36 * x**2 + 12 * x**3)
    np.testing.assert_allclose(zeta_moment(x, 4), fourth, rtol=1e-12)


def test_moments_of_simulated_poisson_spikes() -> None:
    dt, rate = 0.1, 0.02  # 20 Hz, tau 100 ms; 2,000 s in 40 trains of 50 s
    spikes = random_spikes(500_000, 1, 40, rate * dt)
    z, _ = exponential_trace(spikes, float(np.exp(-dt / 100)), torch.zeros(1, 40).double())
    fourth = float(z[20_000:].pow(4).mean())
    assert fourth == pytest.approx(float(zeta_moment(2.0)), rel=0.05)


def test_spread_of_the_free_potential() -> None:
    params = LIFParams(v_th=1e6)
    layer = LIFLayer(100, 60, params, w0=50.0, seed=3)
    spikes = random_spikes(40_000, 1, 100, 0.01 * 0.1)  # 10 Hz
    with torch.no_grad():
        v = layer(spikes).v[1000:, 0]
    assert float(v.std(0).square().mean().sqrt()) == pytest.approx(
        float(membrane_std(5.0, 100, 10.0)), rel=0.06
    )


def test_the_scale_for_a_wanted_spread_gives_it() -> None:
    params = LIFParams(v_th=1e6, tau_mem=20.0)
    layer = LIFLayer(80, 60, params, w0=fluctuation_driven(8.0, 3.0, params), seed=5)
    with torch.no_grad():
        v = layer(random_spikes(40_000, 1, 80, 0.008 * 0.1)).v[2000:, 0]
    assert float(v.std(0).square().mean().sqrt()) == pytest.approx(3.0, rel=0.06)
