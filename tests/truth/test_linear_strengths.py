"""Strength of one mode in time.

INDEPENDENT: an ODE solver of 8th order; quadrature of the universal function; closed forms.
IDENTITY: the finite difference of a(t) satisfies the equation.
LIMIT: infinite depth, s -> 0, equal layers, no overflow at late times in float32.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.special import hyp2f1

from tractable.linear.strengths import (
    deep_strength,
    learning_time,
    two_layer_product,
    unequal_layers,
)


def solved(right, start, times):
    smallest = min(abs(x) for x in np.atleast_1d(start) if x != 0)
    done = solve_ivp(
        right,
        (0, times[-1]),
        np.atleast_1d(start).astype(float),
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-13 * smallest,
    )
    assert done.success
    return done.y


@pytest.mark.parametrize("s", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("a0", [1e-6, 1e-3, 0.09, 0.1])
def test_two_layers_against_a_solver(s, a0):
    times = np.linspace(0, 12 / s, 60)
    exact = solved(lambda t, a: 2 * a * (s - a), a0, times)[0]
    assert abs(deep_strength(s, times, a0, 2) - exact).max() <= 1e-8


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 50])
@pytest.mark.parametrize("lam", [1.0, 0.3])
@pytest.mark.parametrize("a0", [0.02, 0.7, 4.0])  # grows, grows a little, decays
def test_any_depth_against_a_solver(depth, lam, a0):
    s, tau = 0.8, 1.7
    power = 2 - 2 / depth
    last = 3 * learning_time(s, 0.9, 0.02, depth, lam, tau)
    times = np.linspace(0, last, 40)
    right = lambda t, a: depth * np.abs(a) ** power * (s - lam * a) / tau  # noqa: E731
    exact = solved(right, a0, times)[0]
    assert abs(deep_strength(s, times, a0, depth, lam, tau) - exact).max() <= 1e-8


@pytest.mark.parametrize(
    ("p", "r"),
    [(0.3, 0.01), (0.01, 0.5), (1, -0.2), (0.02, 0.02), (2, 1), (0.1, -0.3), (-0.2, -0.1)],
)
@pytest.mark.parametrize("s", [0.1, 1.3, 10.0])
def test_unequal_layers_against_a_solver(p, r, s):
    times = np.linspace(0, 10 / s, 50)
    right = lambda t, w: (s - w[0] * w[1]) * w[::-1]  # noqa: E731
    first, second = solved(right, [p, r], times)
    layers = unequal_layers(s, p, r, times)
    assert abs(layers.product - first * second).max() <= 1e-8
    assert abs(layers.first - first).max() <= 1e-8
    assert abs(layers.second - second).max() <= 1e-8
    assert not layers.stuck.any()


@pytest.mark.parametrize("difference", [0.0, 1e-9, -1e-9])
def test_nearly_equal_layers_are_the_sigmoid(difference):
    p, s, times = 0.02, 1.3, np.linspace(0, 15, 50)
    r = math.sqrt(p**2 - difference)
    layers = unequal_layers(s, p, r, times)
    assert abs(layers.product - deep_strength(s, times, p * r, 2)).max() <= 1e-8
    exact = solved(lambda t, w: (s - w[0] * w[1]) * w[::-1], [p, r], times)
    assert abs(layers.product - exact.prod(0)).max() <= 1e-8


def test_opposite_layers_end_at_the_saddle():
    times = np.linspace(0, 400, 20)
    layers = unequal_layers(1.0, 0.3, -0.3, times)
    assert layers.stuck.all()
    exact = solved(lambda t, w: (1 - w[0] * w[1]) * w[::-1], [0.3, -0.3], times[:3])
    assert abs(layers.product[:3] - exact.prod(0)).max() < 1e-6
    assert layers.product[-1] == 0
    assert np.isfinite(layers.first).all()


def test_layers_without_task_decay():
    times = np.linspace(0, 30, 20)
    for p, r in ((0.5, 0.5), (0.5, 0.2), (0.4, -0.4)):
        exact = solved(lambda t, w: -(w[0] * w[1]) * w[::-1], [p, r], times)
        assert abs(two_layer_product(0.0, p, r, times) - exact.prod(0)).max() <= 1e-8


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 50])
def test_learning_time_against_quadrature(depth):
    s, a0 = 2.5, 1e-3
    for frac in (0.1, 0.5, 0.95):
        exact = quad(
            lambda y: 1 / (depth * math.exp(y) ** (1 - 2 / depth) * (s - math.exp(y))),
            math.log(a0),
            math.log(frac * s),
            epsabs=0,
            epsrel=1e-12,
            limit=400,
        )[0]
        assert learning_time(s, frac, a0, depth) == pytest.approx(exact, rel=1e-9)
        assert deep_strength(s, exact, a0, depth) == pytest.approx(frac * s, rel=1e-8)


def test_four_layers_are_the_published_closed_form():
    s, a0 = 1.7, 1e-4
    u = np.linspace(0.01, 0.99, 30) * s
    antiderivative = lambda u: (  # noqa: E731
        np.arctanh(np.sqrt(u / s)) / (2 * s**1.5) - 1 / (2 * s * np.sqrt(u))
    )
    times = antiderivative(u) - antiderivative(a0)
    assert abs(deep_strength(s, times, a0, 4) - u).max() <= 1e-9
    assert learning_time(s, u / s, a0, 4) == pytest.approx(times, rel=1e-9)


@pytest.mark.parametrize("depth", [3, 5, 12])
def test_depth_against_the_hypergeometric_form(depth):
    s, a0 = 0.9, 0.01
    p = 2 - 2 / depth
    antiderivative = lambda u: (  # noqa: E731
        u ** (1 - p) / (s * (1 - p)) * hyp2f1(1, 1 - p, 2 - p, u / s)
    )
    for frac in (0.05, 0.5, 0.9):
        exact = (antiderivative(frac * s) - antiderivative(a0)) / depth
        assert learning_time(s, frac, a0, depth) == pytest.approx(exact, rel=1e-8)


def test_infinite_depth():
    s, a0, depth = 1.4, 0.02, 10**7
    for u in (0.1, 0.7, 1.3):
        exact = (
            math.log(u * (s - a0) / (a0 * (s - u))) / s**2 + 1 / (s * a0) - 1 / (s * u)
        ) / depth
        assert learning_time(s, u / s, a0, depth) == pytest.approx(exact, rel=1e-4)


def test_long_plateaus_follow_their_power_law():
    # t ~ a0^-(1 - 2/L) / ((L - 2) s), far below what any table of the plateau covers.
    for depth in (3, 4, 10):
        for a0 in (1e-12, 1e-30, 1e-60):
            law = a0 ** -(1 - 2 / depth) / ((depth - 2) * 2.0)
            found = learning_time(2.0, 0.5, a0, depth)
            beyond = 5 * depth * a0 ** min(1 - 2 / depth, 2 / depth)
            assert found == pytest.approx(law, rel=1e-12 + beyond)
            # A time of 1e28 cannot hold the moment of the rise itself: ask on the plateau.
            early = a0 * (1 - 0.5) ** (-1 / (1 - 2 / depth))
            assert deep_strength(2.0, 0.5 * law, a0, depth) == pytest.approx(early, rel=1e-6)


def test_the_rate_of_change_is_the_equation():
    random = np.random.default_rng(1)
    for _ in range(300):
        depth = int(random.integers(1, 12))
        s, a0 = random.uniform(0.1, 5), 10 ** random.uniform(-4, 1)
        lam, tau = random.uniform(0.2, 3), random.uniform(0.3, 3)
        last = 2 * learning_time(s, 0.9, min(a0, 0.1 * s / lam), depth, lam, tau)
        t = random.uniform(0.02, 1) * last
        a = deep_strength(s, t, a0, depth, lam, tau)
        slope = depth * a ** (2 - 2 / depth) * (s - lam * a) / tau
        h = 1e-3 * min(t, a / abs(slope) if slope else t, tau / (depth * s))
        near = [deep_strength(s, t + k * h, a0, depth, lam, tau) for k in (-2, -1, 1, 2)]
        measured = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * h)
        assert measured == pytest.approx(slope, rel=1e-5, abs=1e-7 * depth * s * a / tau)


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
def test_modes_without_task_decay_by_a_power_law(depth):
    a0, lam, times = 0.3, 0.8, np.linspace(0, 100, 30)
    exact = solved(lambda t, a: -depth * lam * a ** (3 - 2 / depth), a0, times)[0]
    found = deep_strength(0.0, times, a0, depth, lam)
    assert abs(found - exact).max() <= 1e-8
    assert deep_strength(1e-14, times, a0, depth, lam) == pytest.approx(found, rel=1e-9)
    assert deep_strength(1e-200, times, a0, depth, lam) == pytest.approx(found, rel=1e-9)
    assert (deep_strength(0.0, times, a0, depth, 0.0) == a0).all()  # frozen: no input there
    assert learning_time(0.0, 0.5, a0, depth) == math.inf


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("ratio", [1.0001, 2.0, 1e3, 1e8])
def test_modes_that_start_too_strong_decay(depth, ratio):
    s = 0.7
    a0 = ratio * s
    # from (1/a0) on, in the variable b = 1/a, which the solver can follow from any height
    times = np.linspace(0, 5, 30)
    p = 2 - 2 / depth
    right = lambda t, b: -depth * b ** (2 - p) * (s - 1 / b)  # noqa: E731
    exact = 1 / solved(right, 1 / a0, times)[0]
    found = deep_strength(s, times, a0, depth)
    assert found == pytest.approx(exact, rel=1e-8)
    assert learning_time(s, 0.5, a0, depth) == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_late_times_neither_overflow_nor_oscillate(depth, dtype):
    s = np.array([1e-3, 0.5, 1.0, 1e3], dtype=dtype)
    t = np.concatenate([[0], np.logspace(-3, 6, 400)]).astype(dtype)
    for a0 in (1e-30, 1e-6, 0.3):
        a = deep_strength(s[:, None], t / s[:, None], np.asarray(a0, dtype=dtype), depth)
        assert a.dtype == dtype
        assert np.isfinite(a).all()
        step = np.diff(a, axis=1) * np.sign(s - dtype(a0))[:, None]
        assert (step >= -1e-6 * np.maximum(s, a0)[:, None]).all()
        if dtype == np.float64:
            assert (step >= -1e-11 * np.maximum(s, a0)[:, None]).all()


def test_large_arrays_are_cut_into_chunks():
    s, t = np.linspace(0.1, 3, 700)[:, None], np.linspace(0, 20, 900)
    for depth in (1, 2, 5):
        whole = deep_strength(s, t, 1e-3, depth)
        rows = np.stack([deep_strength(row, t, 1e-3, depth) for row in s])
        np.testing.assert_array_equal(whole, rows)


def test_tensors_come_back_as_tensors():
    a = deep_strength(torch.tensor([1.0, 2.0])[:, None], torch.linspace(0, 9, 5), 1e-3, 4)
    assert isinstance(a, torch.Tensor)
    assert a.dtype == torch.float32
    assert a.shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("s", {"s": -1.0}),
        ("s", {"s": math.nan}),
        ("t", {"t": -0.1}),
        ("t", {"t": math.inf}),
        ("a0", {"a0": -1e-3}),
        ("depth", {"depth": 0}),
        ("depth", {"depth": 2.5}),
        ("lam", {"lam": 0.0}),
        ("lam", {"lam": -1.0}),
        ("tau", {"tau": 0.0}),
    ],
)
def test_bad_arguments_are_named(name, change):
    arguments = {"s": 1.0, "t": 1.0, "a0": 1e-3, "depth": 2, "lam": 1.0, "tau": 1.0} | change
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        deep_strength(**arguments)


def test_fractions_are_within_the_open_interval():
    with pytest.raises(ValueError, match="frac"):
        learning_time(1.0, 1.0, 1e-3, 2)
