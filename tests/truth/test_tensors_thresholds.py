"""Thresholds: PUBLISHED claims, INDEPENDENT closed forms and continued branches, LIMITs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tractable.tensors import (
    Gaussian,
    Rademacher,
    phase_diagram,
    state_evolution,
    thresholds,
    two_zero_mean_threshold,
)

CUBE = (1, 1, 1)
# INDEPENDENT: extrema of the closed form, and equal free entropies on its two branches.
TABLE = [
    (0.05, 0.00997, 0.23165, 0.25251),
    (0.10, 0.03960, 0.23990, 0.26020),
    (0.15, 0.08793, 0.25436, 0.27356),
    (0.20, 0.15331, 0.27627, 0.29349),
    (0.25, 0.23315, 0.30772, 0.32154),
    (0.30, 0.32338, 0.35226, 0.36042),
    (0.34, 0.39806, 0.40145, 0.40321),
]
# INDEPENDENT: branches continued one by one, at mean 0.2.
SHAPES = [
    ((1, 1, 1), 0.15331, 0.27627, 0.29349),
    ((1, 1, 2), 0.15486, 0.27395, 0.29076),
    ((1, 2, 2), 0.15475, 0.27377, 0.29055),
    ((1, 1, 4), 0.15971, 0.26766, 0.28329),
    ((1, 2, 4), 0.15779, 0.26921, 0.28516),
    ((1, 4, 4), 0.15883, 0.26627, 0.28172),
    ((1, 3, 9), 0.16448, 0.25943, 0.27356),
]


@pytest.mark.parametrize(("mean", "alg", "it", "dyn"), TABLE)
def test_cubes_with_gaussian_factors(mean: float, alg: float, it: float, dyn: float) -> None:
    found = thresholds(CUBE, Gaussian(mean))
    assert (found.alg, found.it, found.dyn) == pytest.approx((alg, it, dyn), abs=2e-5)
    assert found.kind == "first-order"


def test_zero_mean_and_large_mean() -> None:
    found = thresholds(CUBE, Gaussian(0.0))
    assert found.alg == 0.0
    assert found.dyn == pytest.approx(0.25, abs=1e-12)
    assert found.it == pytest.approx(0.22897, abs=1e-5)
    assert found.kind == "never-easy"
    assert thresholds(CUBE, Gaussian(0.36)).kind == "smooth"


@pytest.mark.parametrize("order", [3, 4, 5])
def test_the_hard_phase_ends_at_the_tricritical_mean(order: int) -> None:
    exact = (order - 2) ** 2 / (4 * (order - 1))
    low, high = 0.5 * exact, 1.5 * exact
    while high - low > 1e-4:
        middle = (low + high) / 2
        smooth = thresholds((1,) * order, Gaussian(middle**0.5)).kind == "smooth"
        low, high = (low, middle) if smooth else (middle, high)
    assert low == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize(("shape", "alg", "it", "dyn"), SHAPES)
def test_shapes(shape: tuple[int, ...], alg: float, it: float, dyn: float) -> None:
    found = thresholds(shape, Gaussian(0.2))
    assert (found.alg, found.it, found.dyn) == pytest.approx((alg, it, dyn), abs=2e-5)


def test_the_hard_phase_is_widest_for_cubic_shapes() -> None:
    """PUBLISHED: arXiv:1810.10065, abstract."""
    cube = thresholds(CUBE, Gaussian(0.2))
    for ratio in (1.05, 1.3, 2.0, 5.0):
        for shape in ((1, 1, ratio), (1, ratio, ratio), (1, ratio, ratio**2)):
            other = thresholds(shape, Gaussian(0.2))
            assert other.it - other.alg < cube.it - cube.alg
            assert other.dyn - other.alg < cube.dyn - cube.alg


@pytest.mark.parametrize(
    ("mean", "alg", "it", "dyn"),
    [(0.2, 0.10102, 0.25916, 0.27800), (0.4, 0.36393, 0.37812, 0.38323)],
)
def test_one_zero_mean_mode_keeps_the_easy_phase(
    mean: float, alg: float, it: float, dyn: float
) -> None:
    """PUBLISHED: arXiv:1810.10065; numbers INDEPENDENT."""
    found = thresholds(CUBE, [Gaussian(0), Gaussian(mean), Gaussian(mean)])
    assert (found.alg, found.it, found.dyn) == pytest.approx((alg, it, dyn), abs=2e-5)


def test_symmetric_zero_mean_tensors_have_no_easy_phase() -> None:
    """PUBLISHED: arXiv:1810.10065; by iteration as well as from the curve."""
    for shape in (CUBE, (1, 2, 4)):
        assert thresholds(shape, Gaussian(0)).alg == 0.0
        for noise in (0.01, 0.1):
            M = state_evolution(shape, Gaussian(0), noise, start=[1e-4] * 3).overlap
            assert np.abs(M).max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 4), (1, 4, 1), (1, 1, 8)])
def test_two_zero_mean_modes_lose_stability_as_a_matrix_does(shape: tuple[int, ...]) -> None:
    priors = [Gaussian(0), Gaussian(0), Gaussian(0.8)]
    critical = two_zero_mean_threshold(shape, priors)
    assert critical == pytest.approx(0.64 * np.sqrt(shape[2] / np.prod(shape) ** (1 / 3)))
    for factor, grows in ((0.99, True), (1.01, False)):
        start = [1e-9, 1e-9, 0.64]
        M = state_evolution(shape, priors, factor * critical, start=start, max_iter=4, tol=1).M
        M = state_evolution(shape, priors, factor * critical, start=M[-1][:, 0, 0], tol=1).M
        again = state_evolution(shape, priors, factor * critical, start=M[-1][:, 0, 0], tol=1).M
        assert (again[-1, 0, 0, 0] > M[-1, 0, 0, 0]) == grows


def test_two_zero_mean_modes_continuous_or_not() -> None:
    zero = Gaussian(0)
    large = thresholds(CUBE, [zero, zero, Gaussian(0.8)])
    assert large.kind == "continuous"
    assert large.alg == large.it == large.dyn == pytest.approx(0.64)
    small = thresholds(CUBE, [zero, zero, Gaussian(0.4)])
    assert small.kind == "first-order"
    assert small.alg < 0.16 < small.it < small.dyn


def test_matrices_have_threshold_one_for_every_shape() -> None:
    for shape in ((1, 1), (1, 4), (7, 2)):
        found = thresholds(shape, Gaussian(0))
        assert found.kind == "continuous"
        assert found.alg == pytest.approx(1.0, abs=1e-12)


def test_signs() -> None:
    found = thresholds(CUBE, Rademacher())
    assert found.alg == 0.0
    assert found.it == pytest.approx(0.28287, abs=1e-4)
    assert found.dyn == pytest.approx(0.30972, abs=1e-4)


def test_thresholds_agree_with_iteration_on_both_sides() -> None:
    priors, shape = [Gaussian(0.1), Gaussian(0.25), Gaussian(0.3)], (1, 2, 3)
    found = thresholds(shape, priors)
    weak = [state_evolution(shape, priors, f * found.alg, tol=1e-9).overlap for f in (0.98, 1.02)]
    assert weak[0].min() > 0.5 > weak[1].max()
    strong = [
        state_evolution(shape, priors, f * found.dyn, start="informed", tol=1e-9).overlap
        for f in (0.98, 1.02)
    ]
    assert strong[0].min() > 0.4 > strong[1].max()


def test_a_phase_map_and_thresholds_are_quick(slowness: float) -> None:
    thresholds((1, 2, 4), [Gaussian(0.1), Gaussian(0.2), Gaussian(0.3)])
    started = time.process_time()
    thresholds((1, 2, 4), [Gaussian(0.1), Gaussian(0.2), Gaussian(0.35)])
    assert time.process_time() - started < 0.5 * slowness
    started = time.process_time()
    grid = np.linspace(0.01, 0.55, 40)
    diagram = phase_diagram(("mean", np.linspace(0.01, 0.5, 40)), ("noise", grid), progress=False)
    assert time.process_time() - started < 20 * slowness
    # What is found is the Bayes optimum outside of the hard phase, and worse in it.
    hard = diagram.phase == 1
    gap = (diagram.best - diagram.found)[..., 0]
    assert gap[hard].min() > 1e-3
    assert np.abs(gap[~hard]).max() < 1e-9
