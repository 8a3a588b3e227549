"""State evolution, thresholds and diagrams: results, options, errors."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.core.checks import ConvergenceWarning
from tractable.tensors import (
    Bernoulli,
    FixedPointCurve,
    Gaussian,
    PhaseDiagram,
    SEResult,
    SpikedTensor,
    Thresholds,
    aspect_ratios,
    fixed_point_curve,
    free_entropy,
    phase_diagram,
    signal_strength,
    spectral_threshold,
    state_evolution,
    thresholds,
    tricritical_mean,
    two_zero_mean_threshold,
)


def test_results_survive_their_dataset() -> None:
    result = state_evolution((1, 2, 4), Gaussian(0.4), 0.3)
    again = SEResult.from_dataset(result.to_dataset())
    assert np.array_equal(again.M, result.M)
    assert again.converged
    found = thresholds((1, 2, 4), Gaussian(0.2))
    assert Thresholds.from_dataset(found.to_dataset()) == found
    diagram = phase_diagram(("mean", [0.1, 0.2]), ("noise", [0.1, 0.3]))
    same = PhaseDiagram.from_dataset(diagram.to_dataset())
    assert np.array_equal(same.phase, diagram.phase)
    assert np.array_equal(same.best, diagram.best)


def test_schedules_and_damping_have_the_same_fixed_point() -> None:
    one = state_evolution((1, 2, 4), Gaussian(0.4), 0.3)
    parallel = state_evolution((1, 2, 4), Gaussian(0.4), 0.3, schedule="parallel")
    damped = state_evolution((1, 2, 4), Gaussian(0.4), 0.3, damping=0.3)
    assert np.allclose(one.overlap, parallel.overlap, atol=1e-9)
    assert np.allclose(one.overlap, damped.overlap, atol=1e-9)
    assert parallel.n_iter > one.n_iter


def test_equal_components_stay_equal() -> None:
    result = state_evolution((1, 1, 1), Gaussian(0.4), 0.2, rank=2)
    assert np.ptp(result.overlap[0]) == 0
    start = 0.16 + 0.01 * np.eye(2)
    apart = state_evolution((1, 1, 1), Gaussian(0.4), 0.2, rank=2, start=start)
    assert np.allclose(apart.overlap[0], [[0.991, 0.164], [0.164, 0.991]], atol=1e-3)


def test_units_and_errors_of_a_result() -> None:
    result = state_evolution((1, 1, 1), Gaussian(0.0), 0.25, start="informed", max_iter=5, tol=1)
    assert result.beta == pytest.approx(2 / np.sqrt(3))
    result = state_evolution((1, 1, 1), Gaussian(0.4), 0.25)
    assert result.tensor_error[-1] == pytest.approx(0.469, abs=2e-3)
    assert result.cosine[-1, 0, 0] == pytest.approx(0.900, abs=1e-3)


def test_strength_of_a_result_is_that_of_its_noise() -> None:
    shape, priors = (100, 200, 400), [Gaussian(0.6), Gaussian(0.4), Gaussian(0.8)]
    found = state_evolution(shape, priors, 0.1)
    assert found.beta == pytest.approx(signal_strength(shape, priors, noise=0.1).beta, rel=1e-12)


def test_what_has_not_converged_says_so() -> None:
    with pytest.warns(ConvergenceWarning, match="3 sweeps"):
        result = state_evolution((1, 1, 1), Gaussian(0.4), 0.3, max_iter=3)
    assert not result.converged
    assert result.n_iter == 3


def test_thresholds_do_not_depend_on_order_or_scale() -> None:
    priors = [Gaussian(0.1), Gaussian(0.2), Gaussian(0.3)]
    first = thresholds((1, 2, 5), priors)
    turned = thresholds((5, 1, 2), [priors[2], priors[0], priors[1]])
    larger = thresholds((10, 20, 50), priors)
    for other in (turned, larger):
        for name in ("alg", "it", "dyn"):
            assert getattr(other, name) == pytest.approx(getattr(first, name), abs=1e-8)


def test_axes_of_a_diagram() -> None:
    shapes = [(1, 1, 1), (1, 2, 4)]
    one = phase_diagram(("shape", shapes), ("noise", [0.1, 0.2]), priors=Gaussian(0.2))
    two = phase_diagram(("noise", [0.1, 0.2]), ("shape", shapes), priors=Gaussian(0.2))
    assert np.array_equal(one.phase, two.phase.T)
    three = phase_diagram(("mean", [0.2]), ("shape", shapes), noise=0.2)
    assert np.array_equal(three.phase[:, 0], one.phase[1])
    kept = phase_diagram(("mean", [0.5]), ("noise", [0.3]), priors=Gaussian(0), modes=[1, 2])
    assert kept.share("smooth") == 1.0


def test_a_point_has_one_strength() -> None:
    whole = signal_strength((50, 100, 200), noise=0.3)
    for name in ("snr_entry", "beta"):
        again = signal_strength((50, 100, 200), **{name: getattr(whole, name)})
        assert again.noise == pytest.approx(0.3)
    with pytest.raises(ValueError, match="exactly one"):
        signal_strength((50, 100, 200), noise=0.3, beta=1.0)


def test_a_curve_holds_what_was_asked_of_it() -> None:
    curve = fixed_point_curve((1, 1, 2), "gaussian(0.2)")
    assert isinstance(curve, FixedPointCurve)
    turns = curve.turning_points()
    t = curve.solve([0.2, 0.25], float(turns[1]), np.inf)
    assert np.allclose(curve.at(t)[1], [0.2, 0.25], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: state_evolution((1, 1), "gaussian", 0.0), "noise must be > 0, got 0"),
        (lambda: state_evolution((1, 1), "gaussian", np.nan), "noise must be finite"),
        (lambda: state_evolution((1,), "gaussian", 0.1), "at least 2 positive sizes"),
        (lambda: state_evolution((1, 1), ["gaussian"], 0.1), "each of the 2 modes, got 1"),
        (lambda: state_evolution((1, 1), "gaussian", 0.1, start=[1, 2, 3]), "start must be"),
        (lambda: state_evolution((1, 1), "gaussian", 0.1, start="infrmed"), "did you mean"),
        (lambda: state_evolution((1, 1), "gaussian", 0.1, schedule="x"), "schedule must be"),
        (lambda: free_entropy([0.1, 0.1], (1, 1, 1), "gaussian", 0.1), "M must have shape"),
        (lambda: thresholds((1, 1), Gaussian([0, 0])), "that of rank 1"),
        (lambda: two_zero_mean_threshold((1, 1, 1), "gaussian"), "exactly two zero-mean"),
        (lambda: spectral_threshold((1, 3, 2)), "shape must be >= 2"),
        (lambda: spectral_threshold((3, 1.5, 2)), "shape must be a whole"),
        (lambda: spectral_threshold((3,)), "at least 2 sizes"),
        (lambda: phase_diagram(("mean", [0.1]), ("mean", [0.1])), "different axes"),
        (lambda: phase_diagram(("mean", [0.1]), ("noise", [0.0])), "noise must be > 0"),
        (
            lambda: phase_diagram(("mean", [0.1]), ("noise", [0.1]), priors=Bernoulli(0.5)),
            "needs Gaussian priors",
        ),
        (lambda: SpikedTensor((1, 5)), "shape must be"),
        (lambda: aspect_ratios((1, 0)), "positive sizes"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("order", [3, 4, 5, 6])
def test_tricritical_mean_of_cubes_is_the_closed_form(order: int) -> None:
    exact = (order - 2) ** 2 / (4 * (order - 1))
    assert tricritical_mean((1,) * order) ** 2 == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 16), (1, 2, 4), (1, 3, 9, 27), (1, 1, 1e4)])
def test_the_hard_phase_ends_at_the_tricritical_mean(shape: tuple[float, ...]) -> None:
    end = tricritical_mean(shape)
    assert thresholds(shape, Gaussian(end - 2e-4)).kind == "first-order"
    assert thresholds(shape, Gaussian(end + 2e-4)).kind == "smooth"
    assert end < tricritical_mean((1,) * len(shape))


def test_a_matrix_has_no_hard_phase_and_no_tricritical_mean() -> None:
    assert tricritical_mean((1, 3)) == 0.0
    assert thresholds((1, 3), Gaussian(0.01)).kind == "smooth"
    with pytest.raises(ValueError, match="shape"):
        tricritical_mean((5,))


@pytest.mark.parametrize("prior", [Gaussian(0.2), Gaussian(0.05), "rademacher", "bernoulli(0.1)"])
def test_both_branches_have_equal_free_entropy_at_the_threshold(prior: object) -> None:
    curve = fixed_point_curve((1, 2, 4), prior)
    found = thresholds((1, 2, 4), prior)
    turns = curve.turning_points()
    strong = curve.solve(found.it, float(turns[-1]), np.inf)
    weak = curve.solve(found.it, 0.0, float(turns[0])) if curve.n_zero_mean < 2 else None
    gap = curve.at(strong)[3][0] - (0.0 if weak is None else curve.at(weak)[3][0])
    assert abs(gap) < 1e-11


@pytest.mark.parametrize("share", [0.02, 0.005])
def test_thresholds_of_sparse_memberships_are_where_state_evolution_jumps(share: float) -> None:
    prior = f"bernoulli({share})"
    found = thresholds((1, 1, 1), prior)
    below, above = (
        float(state_evolution((1, 1, 1), prior, found.alg * factor).overlap.min())
        for factor in (0.9, 1.1)
    )
    assert below > 0.99 * share
    assert above < 0.2 * share
