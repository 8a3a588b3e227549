"""Bulk and spikes: identities, limits, quadrature, published formulas, random matrices."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.linear import (
    bulk_average,
    bulk_density,
    bulk_edges,
    bulk_quantile,
    detection_edge,
    detection_threshold,
    estimate_noise,
    noisy_task,
    optimal_shrinkage,
    permute_examples,
    shrink,
    shuffle_entries,
    spike_forward,
    spike_inverse,
)

ASPECTS = (0.1, 0.5, 1.0, 1.0001, 1.7, 2.0, 3.0)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_moments_of_the_bulk(aspect: float) -> None:
    assert bulk_average(np.ones_like, aspect) == pytest.approx(1, abs=1e-10)
    assert bulk_average(np.square, aspect) == pytest.approx(max(1, aspect), abs=1e-10)
    # fourth moment of Marchenko-Pastur: <x^4> = max(1, A) (1 + A)
    fourth = bulk_average(lambda x: x**4, aspect)
    assert fourth == pytest.approx(max(1, aspect) * (1 + aspect), rel=1e-10)
    for top in (0.1, 0.5, 0.93):
        assert bulk_average(np.ones_like, aspect, top) == pytest.approx(top, abs=1e-10)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_density_quantile_and_average_agree(aspect: float) -> None:
    from scipy.integrate import quad

    low, high = bulk_edges(aspect)
    for p in (0.02, 0.5, 0.9):
        x = float(bulk_quantile(p, aspect))
        mass = quad(lambda y: float(bulk_density(y, aspect)), low, x, limit=500)[0]
        assert mass == pytest.approx(p, abs=1e-6)
    assert float(bulk_quantile(0.0, aspect)) == pytest.approx(low, abs=1e-9)
    assert float(bulk_quantile(1.0, aspect)) == pytest.approx(high)


def test_published_medians_of_the_bulk() -> None:
    medians = {0.25: 0.95708, 0.5: 0.91130, 0.75: 0.86194, 1.0: 0.80795, 2.0: 1.28877}
    for aspect, median in medians.items():
        assert float(bulk_quantile(0.5, aspect)) == pytest.approx(median, abs=1e-5)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_identities_of_a_spike(aspect: float) -> None:
    s = detection_threshold(aspect) * np.linspace(1.01, 9, 60)
    spike = spike_forward(s, aspect)
    np.testing.assert_allclose(shrink(spike.s_data, aspect), s * spike.overlap, atol=1e-10)
    back = spike_inverse(spike.s_data, aspect)
    np.testing.assert_allclose(back.s_signal, s, rtol=1e-9)
    np.testing.assert_allclose(back.overlap, spike.overlap, rtol=1e-8)
    # Transposing exchanges the two sides: (A, s) -> (1/A, s / sqrt A).
    other = spike_forward(s / np.sqrt(aspect), 1 / aspect)
    np.testing.assert_allclose(other.overlap_out, spike.overlap_in, rtol=1e-10)
    np.testing.assert_allclose(other.s_data * np.sqrt(aspect), spike.s_data, rtol=1e-10)


def test_overlaps_are_those_of_the_formula_in_another_form() -> None:
    s, A = np.array([1.2, 2.0, 5.0]), 0.7
    spike = spike_forward(s, A)
    np.testing.assert_allclose(
        spike.overlap_out**2, 1 - A * (1 + s**2) / (s**2 * (A + s**2)), rtol=1e-12
    )
    np.testing.assert_allclose(
        spike.overlap_in**2, 1 - (A + s**2) / (s**2 * (1 + s**2)), rtol=1e-12
    )
    np.testing.assert_allclose(spike_forward(s, 1.0).overlap, 1 - s**-2.0, rtol=1e-12)


def test_below_the_threshold_nothing_is_left() -> None:
    spike = spike_forward([0.0, 0.5, 0.84], 0.5)
    assert not spike.detectable.any()
    assert (spike.overlap == 0).all()
    np.testing.assert_allclose(spike.s_data, 1 + np.sqrt(0.5))
    inside = spike_inverse([0.0, 1.0, 1.70], 0.5)
    assert (inside.s_signal == 0).all()


def test_spikes_of_random_matrices() -> None:
    from scipy.linalg import eigh

    errors, squares = [], []
    for s in (1.5, 2.5, 4.0):
        expected = spike_forward(s, 0.5)
        found = []
        for seed in range(20):
            task = noisy_task(s, n_in=400, n_out=200, seed=seed)
            S = task.Y.T @ task.X
            value, u = eigh(S @ S.T, subset_by_index=[199, 199])
            y = np.sqrt(value[0])
            v = S.T @ u[:, 0] / y
            found.append((y, (u[:, 0] @ task.U[:, 0]) ** 2, (v @ task.V[:, 0]) ** 2))
        y, out, into = np.mean(found, 0)
        errors.append(abs(y - expected.s_data))
        squares += [abs(out - expected.overlap_out**2), abs(into - expected.overlap_in**2)]
    assert np.mean(errors) < 0.02
    assert max(squares) < 0.03


def test_noise_estimate_and_edge_in_random_matrices() -> None:
    found, exceeded = [], {"tw99": 0, "asymptotic": 0}
    for seed in range(20):
        random = np.random.default_rng(seed)
        U, V = (np.linalg.qr(random.normal(size=(n, 3)))[0] for n in (400, 200))
        scale = 0.37 * np.sqrt(200)
        Y = (U * (scale * np.array([8.0, 5.0, 3.0]))) @ V.T + 0.37 * random.normal(size=(400, 200))
        found.append(estimate_noise(Y))
        pure = np.linalg.norm(random.normal(size=(200, 400)) / 20, 2)
        for edge in exceeded:
            exceeded[edge] += pure > detection_edge(400, 200, edge=edge)  # type: ignore[arg-type]
    assert np.mean(found) == pytest.approx(0.37, rel=0.01)
    assert np.abs(np.array(found) / 0.37 - 1).max() < 0.03
    assert exceeded["tw99"] <= 1


def test_pure_noise_gives_rank_zero() -> None:
    ranks = [
        optimal_shrinkage(np.random.default_rng(seed).normal(size=(200, 400)), sigma=1.0).rank
        for seed in range(20)
    ]
    assert sum(rank == 0 for rank in ranks) >= 19
    info = optimal_shrinkage(np.random.default_rng(1).normal(size=(200, 400)), sigma=1.0)
    assert info.rank == 0
    assert not info.estimate.any()
    assert info.expected_error == 1.0


def test_shrinkage_beats_truncation_and_agrees_with_optht_on_rank() -> None:
    from optht import optht

    wins = 0
    for seed in range(10):
        task = noisy_task([3.0, 2.2, 1.6], n_in=400, n_out=200, seed=seed)
        S = task.cov_yx
        info = optimal_shrinkage(S)
        U, s, Vt = np.linalg.svd(S, full_matrices=False)
        rank = optht(S, sv=s, sigma=None)
        truncated = (U[:, :rank] * s[:rank]) @ Vt[:rank]
        power = np.sum(task.teacher**2)
        ours = np.sum((info.estimate - task.teacher) ** 2) / power
        theirs = np.sum((truncated - task.teacher) ** 2) / power
        wins += ours < theirs
        assert info.expected_error == pytest.approx(ours, abs=0.08)
    assert wins >= 9
    strong = noisy_task([6.0, 4.0, 3.0], n_in=400, n_out=200, seed=0).cov_yx
    s = np.linalg.svd(strong, compute_uv=False)
    assert optimal_shrinkage(strong).rank == optht(strong, sv=s, sigma=None) == 3


def test_each_loss_is_least_for_its_own_shrinker() -> None:
    errors: dict[str, list[float]] = {"frobenius": [], "operator": [], "nuclear": []}
    for seed in range(5):
        task = noisy_task([3.0, 2.0], n_in=200, n_out=100, seed=seed)
        kinds = list(errors)
        estimates = [optimal_shrinkage(task.cov_yx, loss=k).estimate for k in kinds]  # type: ignore[arg-type]
        for kind, order in zip(kinds, ("fro", 2, "nuc"), strict=True):
            norms = [np.linalg.norm(e - task.teacher, order) for e in estimates]  # type: ignore[arg-type]
            errors[kind].append(norms[kinds.index(kind)] - min(norms))
    assert all(np.mean(excess) < 0.02 for excess in errors.values())


def test_shuffles_do_what_they_say() -> None:
    A, edges = 0.5, []
    for seed in range(3):
        task = noisy_task([6, 4, 2], n_in=400, n_out=200, seed=seed)
        sigma = np.sqrt(1 + (36 + 16 + 4) / 200)
        shuffled = np.asarray(shuffle_entries(task.Y, seed)).T @ task.X
        s = np.linalg.svd(shuffled, compute_uv=False)
        edges.append((s[0] / bulk_edges(A, sigma)[1], s[-1] / bulk_edges(A, sigma)[0]))
        whole = np.asarray(permute_examples(task.Y, seed)).T @ np.linalg.qr(task.X)[0]
        before = np.linalg.svd(task.Y, compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(whole, compute_uv=False), before, atol=1e-10)
    np.testing.assert_allclose(np.mean(edges, 0), 1, atol=0.05)


def test_one_hot_targets_have_the_same_spectrum_in_any_order_of_examples() -> None:
    random = np.random.default_rng(0)
    inputs = np.linalg.qr(random.normal(size=(60, 60)))[0]
    labels = np.eye(5)[random.integers(0, 5, 60)]
    whole = np.asarray(permute_examples(labels, 1))
    assert not np.array_equal(whole, labels)
    before, after = (np.linalg.svd(Y.T @ inputs, compute_uv=False) for Y in (labels, whole))
    np.testing.assert_allclose(after, before, atol=1e-10)
    mixed = np.linalg.svd(np.asarray(shuffle_entries(labels, 1)).T @ inputs, compute_uv=False)
    assert abs(mixed - before).max() > 0.1
