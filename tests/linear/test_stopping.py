"""Predictions for a user's data: against training, and every reason not to trust them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tractable.core.checks import TractableWarning, quiet
from tractable.linear import (
    HeldOut,
    StoppingReport,
    aligned_tasks,
    deep_strength,
    generalization_curve,
    noisy_task,
    optimal_shrinkage,
    optimal_stopping,
    spike_forward,
    train_students,
    transfer_benefit,
    transfer_from_data,
)
from tractable.linear.examples import coordinates
from tractable.linear.folds import fold_curves


def test_white_inputs_are_predicted_as_they_are() -> None:
    task = noisy_task([6.0, 4.0], n_in=100, n_out=60, seed=1)
    report = optimal_stopping(task.X, task.Y, 0.01, norm="sum", init_strength=1e-5)
    assert report.method == "aligned"
    assert report.reliable, report.reasons
    assert report.whitening is None
    trained = train_students(
        task.cov_yx, task.teacher, learning_rate=0.01, steps=400, n_records=401
    )
    assert report.time == pytest.approx(trained.best_t[0], rel=0.05)
    assert report.expected_test == pytest.approx(trained.best_test[0], rel=0.2)
    assert report.step == round(report.time / 0.01)


def test_losses_without_stopping_and_of_shrinkage_are_those_of_the_maps() -> None:
    expected, found, total = [], [], 6.0**2 + 4.0**2 + 60  # 60 outputs of unit noise in sum
    for seed in range(5):
        task = noisy_task([6.0, 4.0], n_in=100, n_out=60, seed=seed)
        report = optimal_stopping(task.X, task.Y, 0.01, norm="sum", sigma=0.1)
        expected.append((report.final_loss, report.shrinkage_loss))
        best = optimal_shrinkage(task.cov_yx, sigma=0.1).estimate
        errors = [np.sum((W - task.teacher) ** 2) for W in (task.cov_yx, best)]
        found.append([(error + 60) / total for error in errors])
    np.testing.assert_allclose(np.mean(found, 0), np.mean(expected, 0), rtol=0.03)


@pytest.mark.parametrize("norm", ["mean", "sum"])
def test_scaled_white_inputs_change_the_clock(norm: str) -> None:
    task = noisy_task([6.0], n_in=100, n_out=60, n_examples=200, seed=1)
    weight = 1 / 200 if norm == "mean" else 1.0
    rate = 0.3 * (1 if norm == "mean" else 1 / 200)
    report = optimal_stopping(5 * task.X, task.Y, rate, norm=norm)  # type: ignore[arg-type]
    trained = train_students(
        5 * weight * task.cov_yx,
        task.teacher / 5,
        cov_x=25 * weight * task.cov_x,
        learning_rate=rate,
        steps=int(1.6 * report.step),
        init_strength=1e-3,
        n_records=1000,
    )
    assert report.time == pytest.approx(trained.best_t[0], rel=0.05)


def test_whitened_prediction_is_the_mean_over_draws() -> None:
    expected, found, times = [], [], []
    for seed in range(6):
        task = noisy_task(
            [3.0, 2.0], n_in=60, n_out=60, n_examples=2400, inputs="gaussian", seed=seed
        )
        X, Y, X_new, Y_new = task.X[:400], task.Y[:400], task.X[400:], task.Y[400:]
        with pytest.warns(TractableWarning, match="not white"):
            report = optimal_stopping(X, Y, 0.02)
        assert report.method == "whitened"
        assert report.whitening is not None
        Z, Z_new = X @ report.whitening, X_new @ report.whitening
        np.testing.assert_allclose(Z.T @ Z / 400, np.eye(60), atol=1e-8)
        trained = train_students(
            Y.T @ Z / 400,
            None,
            held_out=HeldOut(Y_new.T @ Z_new, Z_new.T @ Z_new, np.sum(Y_new**2)),
            learning_rate=0.02,
            steps=int(1.6 * report.step),
            init_strength=1e-3,
            n_records=600,
        )
        expected.append(report.expected_loss)
        found.append(np.interp(report.time, trained.t, trained.test[0]))
        times.append(report.time / trained.best_t[0])
        assert found[-1] < 1.02 * trained.best_test[0]
    # Out of sample there is a little more error than on inputs like those of training.
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.06)
    assert np.mean(times) == pytest.approx(1, abs=0.1)


def test_too_few_examples_are_refused_and_measured() -> None:
    task = noisy_task([5.0], n_in=30, n_out=20, n_examples=45, inputs="gaussian", seed=0)
    with pytest.warns(TractableWarning, match="no prediction"):
        report = optimal_stopping(task.X, task.Y, 0.5, max_steps=3000)
    assert report.method == "held_out"
    assert not report.reliable
    assert report.expected_test is None
    assert report.shrinkage_loss is None
    assert 0 < report.step < 3000
    assert report.expected_loss == report.loss.min() < 1
    with pytest.warns(TractableWarning, match="whiten=False"):
        assert optimal_stopping(task.X, task.Y, 0.05, max_steps=50, whiten=False).method == (
            "held_out"
        )


def test_held_out_folds_do_not_know_the_mean_of_all() -> None:
    # Pure noise, fewer examples than inputs: a network that is trained to the end fits the sum of
    # its examples, and with means of all taken away that is minus the example held out.
    random = np.random.default_rng(0)
    X, Y = random.normal(size=(5, 60)), random.normal(size=(5, 30))
    with quiet():
        report = optimal_stopping(X, Y, 0.05, center=True, max_steps=300)
    assert report.method == "held_out"
    assert report.loss[0] == pytest.approx(1, abs=1e-3)
    assert report.final_loss > 1


def test_weak_targets_have_a_reason() -> None:
    task = noisy_task([6.0, 4.0], n_in=60, n_out=60, seed=1)
    report = optimal_stopping(task.X, 1e-5 * task.Y, 0.01, norm="sum")
    assert report.detected_rank == 2
    assert any("not below the strength of 2 of 2 signals" in r for r in report.reasons)
    assert optimal_stopping(task.X, task.Y, 0.01, norm="sum").reliable


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_best_time_is_found_where_noise_decays(depth: int) -> None:
    t = np.geomspace(1e-3, 300, 200)
    curve = generalization_curve([3.0], 0.5, t, n_in=100, init_strength=1.2, depth=depth)
    assert curve.test_opt <= curve.test.min() * (1 + 1e-6)
    # A student that starts above everything is best after all else has decayed.
    late = generalization_curve([3.0], 0.5, t, n_in=100, init_strength=4.0, depth=depth)
    assert late.test_opt == pytest.approx(late.test.min(), rel=1e-3)
    assert late.t_opt > 1


def test_a_task_without_signals_costs() -> None:
    pair = aligned_tasks(3.0, 0.05, q=0.5, n_in=200, n_out_a=100, seed=0)
    estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y)
    assert estimate.snr_b.size == 0
    assert not estimate.reliable
    expected = transfer_benefit(float(estimate.snr_a[0]), 0.0, 0.0, 0.5, n_in=200)
    assert estimate.benefit == pytest.approx(expected.benefit, rel=1e-6)
    assert estimate.benefit < -0.001
    assert estimate.alone == pytest.approx(expected.alone, rel=1e-6)


def test_rounding_is_not_noise() -> None:
    random = np.random.default_rng(0)
    X, W = random.normal(size=(60, 8)), random.normal(size=(8, 6))
    with quiet():
        report = optimal_stopping(X, X @ W, 0.1, center=True)
        assert report.sigma == 0
        assert report.detected_rank == 6
        nothing = optimal_stopping(X, np.zeros((60, 6)), 0.1)
        assert (nothing.step, nothing.detected_rank) == (0, 0)
    with pytest.raises(ValueError, match=r"Y_a must have noise.*pass sigma_a"):
        transfer_from_data(X, X @ W, X @ W + random.normal(size=(60, 6)), center=True)


def test_targets_of_zero_are_not_a_learning_rate() -> None:
    with pytest.raises(ValueError, match="cov_yx must not be zero"):
        train_students(np.zeros((3, 4)), np.eye(3, 4), learning_rate=0.1, steps=5)
    with pytest.raises(ValueError, match="energy must not be zero"):
        train_students(np.eye(3), np.eye(3), learning_rate=0.1, steps=5, energy=[0.0])


def test_reasons() -> None:
    random = np.random.default_rng(0)
    X = np.linalg.qr(random.normal(size=(80, 80)))[0]
    noise = optimal_stopping(X, random.normal(size=(80, 60)), 0.01, norm="sum")
    assert noise.detected_rank == 0
    assert noise.step == 0
    assert noise.time == 0
    assert "no signal" in noise.reasons[0]
    near = []
    for seed in range(5):
        weak = noisy_task([8.0, 1.04], n_in=400, n_out=200, seed=seed)
        report = optimal_stopping(weak.X, weak.Y, 0.01, norm="sum")
        said = any("25 %" in reason for reason in report.reasons)
        assert said == bool((report.snr < 1.25 * 0.5**0.25).any())
        near.append(said)
    assert any(near)
    fast = optimal_stopping(weak.X, weak.Y, 0.2, norm="sum")
    assert any("largest stable" in reason for reason in fast.reasons)
    small = noisy_task([8.0], n_in=30, n_out=20, seed=0)
    assert any("fewer than 50" in r for r in optimal_stopping(small.X, small.Y, 0.01).reasons)
    heavy = X @ random.normal(size=(80, 60)) * np.exp(2 * random.normal(size=60))
    assert any("Marchenko" in r for r in optimal_stopping(X, heavy, 0.01, norm="sum").reasons)


def test_reports_survive_a_file() -> None:
    task = noisy_task([8.0], n_in=60, n_out=60, n_examples=200, inputs="gaussian", seed=0)
    with quiet():
        report = optimal_stopping(task.X, task.Y, 0.01)
    again = StoppingReport.from_dataset(report.to_dataset())
    assert again.step == report.step
    assert again.reasons == report.reasons
    np.testing.assert_array_equal(again.whitening, report.whitening)
    noise = optimal_stopping(np.eye(60), np.random.default_rng(0).normal(size=(60, 60)), 0.1)
    assert StoppingReport.from_dataset(noise.to_dataset()).whitening is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((60, 5), np.nan)}, "X must be finite"),
        ({"Y": np.ones((59, 5))}, "same number of examples"),
        ({"X": np.ones(60)}, "X must have shape"),
        ({"X": np.zeros((60, 5))}, "X must not be constant"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"depth": 0}, "depth must"),
        ({"depth": 1.5}, "depth must"),
        ({"init_strength": 0.0}, "init_strength must be > 0"),
        ({"sigma": -1.0}, "sigma must be >= 0"),
        ({"norm": "mode"}, "norm must be one of"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    random = np.random.default_rng(0)
    given = {"X": random.normal(size=(60, 5)), "Y": np.ones((60, 5)), "learning_rate": 0.1}
    with quiet(), pytest.raises((ValueError, TypeError), match=message):
        optimal_stopping(**{**given, **change})


def test_tasks_of_different_sizes_share_their_noise_by_outputs() -> None:
    t, joint = np.linspace(0, 4, 300), []
    for seed in range(8):
        pair = aligned_tasks(4.0, 4.0, q=0.9, n_in=100, n_out_a=25, n_out_b=100, seed=seed)
        U, s, Vt = np.linalg.svd(np.vstack([pair.a.cov_yx, pair.b.cov_yx]), full_matrices=False)
        u = deep_strength(s[:, None], t, 1e-5, depth=2)
        # of task A's rows: |W|^2 - 2 W . teacher + |teacher|^2, mode by mode
        inner = np.einsum("fa,fi,ai->a", U[:25], pair.a.teacher, Vt)
        gram = U[:25].T @ U[:25] * np.eye(len(s))  # right vectors are orthogonal
        error = np.einsum("at,ab,bt->t", u, gram, u) - 2 * inner @ u + 16.0
        joint.append(error.min() / 16.0)
    expected = transfer_benefit(4.0, 4.0, 0.9, 0.25, 1.0, n_in=100)
    assert expected.joint == pytest.approx(np.mean(joint), abs=0.01)


def test_overlaps_are_corrected_on_the_side_of_the_inputs() -> None:
    found = []
    for seed in range(10):
        pair = aligned_tasks(4.0, 2.2, q=0.6, n_in=100, n_out_a=100, n_out_b=300, seed=seed)
        estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y, sigma_a=0.1, sigma_b=0.1)
        found.append(abs(float(estimate.overlap[0, 0])))
    assert np.mean(found) == pytest.approx(0.6, rel=0.05)


def test_a_fold_is_centered_on_what_it_is_trained_on() -> None:
    random = np.random.default_rng(2)
    X, Y = random.normal(2.0, 1.0, (9, 6)), random.normal(-3.0, 1.0, (9, 4))
    settings: dict[str, Any] = {"learning_rate": 0.05, "depth": 1, "init_strength": 1e-12}
    curves = fold_curves(
        coordinates(X, Y, center=True), True, 3, norm="mean", max_steps=40, seed=5, **settings
    )
    parts = np.array_split(np.random.default_rng(5).permutation(9), 3)
    for part, test, train in zip(parts, curves.test, curves.train, strict=True):
        kept = np.setdiff1d(np.arange(9), part)
        x, y = X - X[kept].mean(0), Y - Y[kept].mean(0)
        alone = train_students(
            y[kept].T @ x[kept] / 6, None, cov_x=x[kept].T @ x[kept] / 6,
            energy=np.sum(y[kept] ** 2) / 6, steps=40, start="orthogonal", n_records=41, seed=5,
            held_out=HeldOut(y[part].T @ x[part], x[part].T @ x[part], np.sum(y[part] ** 2)),
            progress=False, **settings,
        )  # fmt: skip
        np.testing.assert_allclose(test, alone.test[0], rtol=1e-8)
        np.testing.assert_allclose(train, alone.train[0], rtol=1e-8)


def test_errors_with_and_without_the_noise_of_the_targets_agree() -> None:
    task = noisy_task([6.0, 4.0], n_in=100, n_out=60, seed=1)
    report = optimal_stopping(task.X, task.Y, 0.01, norm="sum", init_strength=1e-5)
    power = float(np.sum((report.snr * report.sigma * np.sqrt(task.X.shape[1])) ** 2))
    noise = task.Y.size * report.sigma**2
    assert report.expected_test is not None
    with_noise = (report.expected_test * power + noise) / (power + noise)
    assert report.expected_loss == pytest.approx(with_noise, rel=1e-9)


def test_steps_of_held_out_training_are_times_over_the_rate() -> None:
    task = noisy_task([5.0], n_in=30, n_out=20, n_examples=45, inputs="gaussian", seed=0)
    with quiet():
        report = optimal_stopping(task.X, task.Y, 0.5, max_steps=3000)
    assert report.step == round(report.time / 0.5)


def test_each_task_is_measured_by_its_own_outputs() -> None:
    by_outputs = transfer_benefit([2.0], [5.0], 0.6, 0.5, 1.5, noise_convention="n_out")
    by_inputs = transfer_benefit([2.0 * 0.5**0.5], [5.0 * 1.5**0.5], 0.6, 0.5, 1.5)
    assert by_outputs.benefit == pytest.approx(by_inputs.benefit, rel=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("density", [1.0, 3.0])
def test_dense_examples_are_inputs_of_that_variance(density: float, depth: int) -> None:
    """(L8) with inputs of variance D: the modes end at those of the data and run D times faster."""
    t = np.linspace(0, 4, 9)
    found = generalization_curve(
        [3.0], 0.5, t, n_in=100, depth=depth, density=density, init_strength=1e-3
    )
    end = spike_forward(density**0.5 * np.array([3.0]), 0.5).s_data / density**0.5
    expected = deep_strength(density * end, t, 1e-3, depth, lam=density)
    np.testing.assert_allclose(found.strengths[0], expected, rtol=1e-6)
