"""Generalization and transfer: published and derived numbers, limits, and trained networks."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.linear import (
    aligned_tasks,
    generalization_curve,
    noisy_task,
    optimal_shrinkage,
    train_students,
    transfer_benefit,
    transfer_from_data,
    transfer_threshold,
)
from tractable.studies.linear._aligned import aligned_errors


def curve(snr, aspect=0.5, t=(20.0,), n_in=100, **settings):  # type: ignore[no-untyped-def]
    return generalization_curve(snr, aspect, t, n_in=n_in, **settings)


def test_the_best_error_does_not_depend_on_size_and_the_late_error_does() -> None:
    late = {5: 1.28, 20: 3.90, 50: 5.63}
    for n_hidden, error in late.items():
        found = curve([3.0], n_hidden=n_hidden)
        assert found.test_opt == pytest.approx(0.1579, abs=1e-3)
        assert found.t_opt == pytest.approx(2.217, abs=2e-3)
        assert found.test[-1] == pytest.approx(error, abs=0.01)
    assert curve([3.0], n_in=400).test[-1] == pytest.approx(22.3, rel=0.01)
    assert curve([3.0], n_in=400, n_hidden=50).test[-1] == pytest.approx(11.3, rel=0.01)
    best = [curve([3.0], n_in=n).test_opt for n in (100, 400, 1600)]
    np.testing.assert_allclose(best, [0.1579, 0.1582, 0.1591], atol=1e-4)
    assert max(best) / min(best) < 1.01


def test_the_initial_strength_decides_the_best_error() -> None:
    for s, table in (
        (3.0, {0.1: 0.655, 1e-2: 0.2327, 1e-3: 0.1667, 1e-5: 0.1579}),
        (1.2, {1e-2: 0.978, 1e-3: 0.914, 1e-5: 0.828, 1e-8: 0.774}),
    ):
        for eps, error in table.items():
            found = curve([s], init_strength=eps, n_hidden=50).test_opt
            assert found == pytest.approx(error, rel=0.01)
    assert curve([1.2]).test_shrinkage == pytest.approx(0.748, abs=1e-3)


def test_the_optimum_of_one_mode_has_a_closed_form() -> None:
    from tractable.linear import spike_forward

    for s, published in ((3.0, 2.2169), (6.0, 1.3457)):
        spike = spike_forward(s, 0.5)
        y, goal = float(spike.s_data), s * float(spike.overlap)
        t = np.log((y / 1e-5 - 1) / (y / goal - 1)) / (2 * y)
        assert t == pytest.approx(published, abs=1e-4)
        assert curve([s], n_hidden=1).t_opt == pytest.approx(t, rel=1e-4)


def test_limits_of_the_curve() -> None:
    found = curve([3.0, 1.0], t=np.array([0.0, 1e4]), n_hidden=50)
    assert found.test[0] == pytest.approx(1, abs=1e-4)
    assert found.train[0] == pytest.approx(1, abs=1e-4)
    assert found.train[-1] == pytest.approx(0, abs=1e-6)
    assert found.test[-1] == pytest.approx(found.test_final, rel=1e-6)
    assert curve([0.84]).t_opt == 0
    np.testing.assert_allclose(found.test, found.test_signal + found.test_noise)
    # Teacher of more modes than the student: what is cut off stays.
    narrow = curve([6.0, 4.0], n_hidden=1, t=[50.0])
    wide = curve([6.0], n_hidden=1, t=[50.0])
    assert narrow.test[-1] * 52 == pytest.approx(wide.test[-1] * 36 + 16, rel=1e-9)


def test_several_modes_have_the_least_of_several_minima() -> None:
    t = np.linspace(0, 8, 1501)
    for snr in ([6.0, 4.0, 2.0], [20.0, 1.2], [9.0, 3.0, 1.0]):
        for depth in (1, 2, 3, 4):
            found = generalization_curve(
                snr, 0.5, t * (1 if depth < 3 else 12), n_in=100, depth=depth, init_strength=1e-3
            )
            assert found.test_opt <= found.test.min() + 1e-9
            assert found.test_opt == pytest.approx(found.test.min(), rel=0.02)


@pytest.mark.parametrize(("snr", "n_hidden"), [([3.0], 50), ([6.0, 4.0, 2.0], 50), ([3.0], 20)])
def test_curves_of_trained_networks(snr: list[float], n_hidden: int) -> None:
    tasks = [noisy_task(snr, n_in=100, n_out=50, seed=seed) for seed in range(10)]
    trained = train_students(
        np.stack([task.cov_yx for task in tasks]),
        np.stack([task.teacher for task in tasks]),
        learning_rate=0.01,
        steps=1200,
        n_hidden=n_hidden,
        n_records=600,
    )
    theory = curve(snr, t=trained.t, n_hidden=n_hidden)
    assert trained.best_test.mean() == pytest.approx(theory.test_opt, rel=0.15)
    assert trained.best_t.mean() == pytest.approx(theory.t_opt, rel=0.06)
    assert trained.test[:, -1].mean() == pytest.approx(theory.test[-1], rel=0.08)
    assert np.abs(trained.train.mean(0) - theory.train).max() < 0.05


def test_more_examples_than_inputs_and_fewer() -> None:
    base = curve([3.0], 1.0, t=[2.0], n_in=200)
    assert curve([3.0], 1.0, t=[2.0], n_in=200, density=1.0).test == base.test
    for aspect, density, best in (
        (1, 0.5, 0.653),
        (1, 2, 0.108),
        (0.5, 0.5, 0.605),
        (0.5, 2, 0.081),
    ):
        found = curve([3.0], aspect, t=[12.0], n_in=200, density=density)
        assert found.test_opt == pytest.approx(best, abs=1e-3)
        t = np.linspace(0, 2 * found.t_opt, 400)
        rows = []
        for seed in range(3):
            task = noisy_task(
                3.0, n_in=200, n_out=round(200 * aspect), n_examples=round(200 * density), seed=seed
            )
            # X^T X = c on the inputs that are seen: steps of size 1 learn like c steps.
            c = max(density, 1.0)
            scaled = aligned_errors(task.cov_yx / c, task.teacher, c * t, init_strength=1e-5)
            rows.append(scaled.min())
        assert np.mean(rows) == pytest.approx(found.test_opt, rel=0.1)
    for density in (0.1, 0.3, 0.7):
        found = curve([5.0], 0.5, t=np.linspace(0, 20, 50), n_in=200, density=density)
        assert min(found.test.min(), found.test_opt) >= 1 - density
    late = [curve([3.0], 1.0, t=[12.0], n_in=200, density=d).test[0] for d in (0.2, 0.5, 1, 2)]
    np.testing.assert_allclose(late, [5.29, 11.4, 21.8, 11.1], rtol=0.01)


def test_shrinkage_beats_the_best_stopped_network() -> None:
    for aspect, snr, theory in ((0.5, [6.0, 4.0, 2.0], 0.0762), (1.0, [8.0, 4.0, 1.5], 0.0666)):
        wins, errors = 0, []
        t = np.linspace(0, 6, 600)
        for seed in range(10):
            task = noisy_task(snr, n_in=200, n_out=round(200 * aspect), seed=100 + seed)
            estimate = optimal_shrinkage(task.cov_yx).estimate
            errors.append(np.sum((estimate - task.teacher) ** 2) / np.sum(task.teacher**2))
            stopped = aligned_errors(task.cov_yx, task.teacher, t, init_strength=1e-5).min()
            wins += errors[-1] < stopped
        assert wins >= 9
        assert np.mean(errors) == pytest.approx(theory, rel=0.1)


# --- transfer --------------------------------------------------------------------------------

TABLE = {
    (3.0, 3.0): {0.0: -0.0522, 0.5: -0.0681, 0.8: -0.0488, 1.0: 0.0499},
    (3.0, 10.0): {0.0: -0.0625, 1.0: 0.0962},
    (0.5**0.25, 10.0): {0.0: 0.0, 0.5: 0.065, 0.8: 0.302, 1.0: 0.578},
}


def benefit(a: float, b: float, q: float, **settings: object) -> float:
    return transfer_benefit(a, b, q, 0.5, n_in=100, n_hidden=50, **settings).benefit  # type: ignore[arg-type]


def test_benefits_of_the_table() -> None:
    for (a, b), row in TABLE.items():
        for q, expected in row.items():
            assert benefit(a, b, q) == pytest.approx(expected, abs=2e-3)
            assert benefit(a, b, -q) == pytest.approx(benefit(a, b, q), abs=1e-9)
    assert max(abs(benefit(100, 10, q)) for q in (0, 0.5, 1)) < 2e-4
    for (a, b), q in {(3, 3): 0.8999, (3, 10): 0.9415, (2, 5): 0.8627}.items():
        found = transfer_threshold(a, b, 0.5, n_in=100, n_hidden=50)
        assert found == pytest.approx(q, abs=1e-3)


def test_a_task_without_signal_costs_what_its_outputs_cost() -> None:
    alone = generalization_curve([3.0], 0.5, [0.0], n_in=100, n_hidden=50)
    doubled = generalization_curve([3.0], 1.0, [0.0], n_in=100, n_hidden=50)
    result = transfer_benefit(3.0, 0.0, 0.3, 0.5, n_in=100, n_hidden=50)
    assert result.alone == pytest.approx(alone.test_opt)
    assert result.benefit <= 0
    # Of the noise in the output vectors of a doubled task only half is A's.
    assert alone.test_opt < result.joint < doubled.test_opt


def test_benefits_on_noisy_tasks() -> None:
    t = np.linspace(0, 6, 300)
    for (a, b), row in TABLE.items():
        for q in row:
            found = []
            for seed in range(30):
                pair = aligned_tasks(a, b, q, n_in=100, n_out_a=50, seed=seed)
                data = np.concatenate([pair.a.cov_yx, pair.b.cov_yx])
                teacher = np.concatenate([pair.a.teacher, pair.b.teacher])
                settings = {"init_strength": 1e-5, "n_hidden": 50}
                alone = aligned_errors(pair.a.cov_yx, pair.a.teacher, t, **settings)
                joint = aligned_errors(data, teacher, t, n_rows=50, **settings)
                found.append(alone.min() - joint.min())
            assert np.mean(found) == pytest.approx(row[q], abs=0.03 if a >= 3 else 0.06)


def test_the_benefit_does_not_depend_on_the_output_vectors() -> None:
    random = np.random.default_rng(0)
    t, means = np.linspace(0, 4, 300), []
    noise = [random.normal(size=(100, 100)) / 10 for _ in range(24)]
    v = np.zeros(100)
    v[0] = 1
    for kind in ("axes", "random"):
        found = []
        for Z in noise:
            u = np.zeros((2, 50))
            u[:, :] = np.eye(50)[:2] if kind == "axes" else random.normal(size=(2, 50))
            u /= np.linalg.norm(u, axis=1, keepdims=True)
            teacher = np.concatenate([3 * np.outer(u[0], v), 3 * np.outer(u[1], v)])
            settings = {"init_strength": 1e-5, "n_hidden": 50}
            alone = aligned_errors((teacher + Z)[:50], teacher[:50], t, **settings)
            joint = aligned_errors(teacher + Z, teacher, t, n_rows=50, **settings)
            found.append(alone.min() - joint.min())
        means.append(np.mean(found))
    assert abs(means[0] - means[1]) < 0.01


def test_tasks_have_the_overlap_that_was_asked_for() -> None:
    for q in (-1.0, -0.3, 0.0, 0.77, 1.0):
        pair = aligned_tasks([3, 2, 1], [5, 4, 2], q, n_in=60, n_out_a=20, n_out_b=30, seed=1)
        np.testing.assert_allclose(np.einsum("ia,ia->a", pair.a.V, pair.b.V), q, atol=1e-12)
        np.testing.assert_allclose(pair.b.V.T @ pair.b.V, np.eye(3), atol=1e-12)


def test_benefit_estimated_from_examples() -> None:
    found = []
    for seed in range(6):
        pair = aligned_tasks(3.0, 10.0, 1.0, n_in=200, n_out_a=100, seed=seed)
        found.append(transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y))
    truth = transfer_benefit(3.0, 10.0, 1.0, 0.5, n_in=200).benefit
    assert np.mean([f.benefit for f in found]) == pytest.approx(truth, abs=0.04)
    assert all(f.reliable for f in found)


@pytest.mark.parametrize(
    ("snr", "settings"),
    [
        ([3.0], {}),
        ([8.26386468, 4.49016266], {"n_hidden": 126, "density": 0.5}),
        ([3.7, 3.7, 1.2], {"init_strength": 1.2e-3}),  # equal signals: their rises coincide
        ([100.0, 3.0, 1.5], {}),
        ([6.0, 2.0], {"depth": 3, "init_strength": 1e-2}),
        ([6.0, 2.0], {"depth": 1}),
    ],
)
def test_the_best_time_is_that_of_a_dense_grid(snr, settings):
    dense = np.linspace(0, 12, 3001)
    curve = generalization_curve(snr, 1.7, dense, n_in=170, **settings)
    i = curve.test.argmin()
    assert 0 < i < len(dense) - 1
    assert curve.test_opt <= curve.test[i] + 1e-9
    around = np.linspace(dense[i - 1], dense[i + 1], 501)
    least = generalization_curve(snr, 1.7, around, n_in=170, **settings).test.min()
    assert curve.test_opt == pytest.approx(least, abs=1e-8)


def test_times_of_any_spacing_have_the_same_errors():
    assert generalization_curve([3.0], 0.5, [], n_in=100).test.shape == (0,)
    even = np.linspace(0.5, 9, 200)
    whole = generalization_curve([3.0, 1.5], 0.5, even, n_in=100)
    for part in (even[::3] ** 1.0, even[:40], np.sort(np.concatenate([even, even + 0.01]))):
        found = generalization_curve([3.0, 1.5], 0.5, part, n_in=100)
        at = np.isin(part, even)
        np.testing.assert_allclose(
            found.test[at], whole.test[np.isin(even, part)], rtol=1e-12, atol=1e-12
        )


def test_many_even_times_that_no_exponential_spans():
    """Blocks of even times would need exp(+2 s t): beyond its range each time is on its own."""
    for last in (1e-12, 1e3, 1e9):
        even = np.linspace(0, last, 500)
        found = generalization_curve([3.0, 1e3], 0.5, even, n_in=100)
        alone = generalization_curve([3.0, 1e3], 0.5, even[[0, 1, 250, 499]], n_in=100)
        for name in ("train", "test", "strengths"):
            whole = getattr(found, name)[..., [0, 1, 250, 499]]
            np.testing.assert_allclose(whole, getattr(alone, name), rtol=1e-11, atol=1e-11)
