"""Noise, shrinkage, spikes, tasks, students: kinds of input, corner cases, messages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tractable.linear import (
    GeneralizationCurve,
    ShrinkInfo,
    SpikeResult,
    TransferEstimate,
    TransferResult,
    aligned_tasks,
    bulk_average,
    bulk_density,
    bulk_edges,
    bulk_quantile,
    detection_edge,
    estimate_noise,
    generalization_curve,
    noisy_task,
    optimal_shrinkage,
    shuffle_entries,
    spike_forward,
    spike_inverse,
    train_students,
    transfer_benefit,
    transfer_from_data,
)

RANDOM = np.random.default_rng(0)
Y = 30 * np.outer(np.ones(40), np.ones(60)) / np.sqrt(40 * 60) + RANDOM.normal(size=(40, 60))


def test_the_estimate_is_of_the_kind_of_the_input() -> None:
    exact = optimal_shrinkage(Y)
    assert isinstance(exact.estimate, np.ndarray)
    tensor = optimal_shrinkage(torch.as_tensor(Y, dtype=torch.float32))
    assert tensor.estimate.dtype == torch.float32
    np.testing.assert_allclose(tensor.estimate.numpy(), exact.estimate, atol=1e-4)
    turned = optimal_shrinkage(Y.T, sigma=1.0)
    np.testing.assert_allclose(turned.estimate.T, optimal_shrinkage(Y, sigma=1.0).estimate)


def test_conventions_of_the_noise() -> None:
    assert estimate_noise(Y, noise="sqrt_n_in") == pytest.approx(estimate_noise(Y) * np.sqrt(60))
    a = optimal_shrinkage(Y, sigma=1.0)
    b = optimal_shrinkage(Y, sigma=np.sqrt(60), noise="sqrt_n_in")
    np.testing.assert_allclose(a.estimate, b.estimate)
    s = np.linalg.svd(Y, compute_uv=False)
    assert estimate_noise(s, shape=(40, 60)) == pytest.approx(estimate_noise(Y))


def test_matrices_without_noise_come_back() -> None:
    low = np.outer(np.arange(1.0, 11), np.ones(12))
    info = optimal_shrinkage(low)
    assert info.rank == 1
    assert info.sigma == 0
    np.testing.assert_allclose(info.estimate, low, atol=1e-9)
    full = optimal_shrinkage(Y, sigma=0.0)
    np.testing.assert_allclose(full.estimate, Y, atol=1e-9)
    nothing = optimal_shrinkage(np.zeros((5, 6)))
    assert nothing.rank == 0
    assert not nothing.estimate.any()
    assert estimate_noise(np.zeros((5, 6))) == 0


def test_results_survive_a_dataset() -> None:
    info = optimal_shrinkage(Y)
    again = ShrinkInfo.from_dataset(info.to_dataset())
    np.testing.assert_array_equal(again.estimate, info.estimate)
    assert again.rank == info.rank
    spike = spike_forward([1.0, 3.0], 0.5)
    np.testing.assert_array_equal(
        SpikeResult.from_dataset(spike.to_dataset()).overlap, spike.overlap
    )
    curve = generalization_curve([3.0, 2.0], 0.5, [0.0, 1.0], n_in=50)
    again_curve = GeneralizationCurve.from_dataset(curve.to_dataset())
    np.testing.assert_array_equal(again_curve.strengths, curve.strengths)
    assert again_curve.t_opt == curve.t_opt
    transfer = transfer_benefit(3.0, 4.0, 0.9, 0.5)
    assert TransferResult.from_dataset(transfer.to_dataset()) == transfer
    pair = aligned_tasks(5.0, 5.0, 0.9, n_in=60, n_out_a=50)
    estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y)
    assert TransferEstimate.from_dataset(estimate.to_dataset()).benefit == estimate.benefit
    with pytest.raises(ValueError, match="dataset must hold a ShrinkInfo"):
        ShrinkInfo.from_dataset(spike.to_dataset())


def test_a_task_that_cannot_be_seen_is_said_so() -> None:
    pair = aligned_tasks(0.1, 8.0, 0.9, n_in=100, n_out_a=60)
    estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y)
    assert estimate.benefit == 0
    assert not estimate.reliable
    assert "task A" in estimate.reasons[0]


def test_sixty_random_starts_agree_with_one_loop() -> None:
    """Batches change nothing: each student learns as if alone; autograd takes the same step."""
    tasks = [noisy_task(4.0, n_in=20, n_out=10, seed=i) for i in range(3)]
    data = np.stack([task.cov_yx for task in tasks])
    teacher = np.stack([task.teacher for task in tasks])
    settings = {"learning_rate": 0.02, "steps": 300, "depth": 3, "n_records": 20}
    both = train_students(data, teacher, **settings)  # type: ignore[arg-type]
    one = train_students(data[1], teacher[1], **settings)  # type: ignore[arg-type]
    assert both.test.shape == (3, 20)
    assert np.isfinite(both.test).all()
    np.testing.assert_allclose(both.train[1], one.train[0], rtol=1e-6)


def test_one_step_is_that_of_autograd() -> None:
    from tractable.linear.students import _descend, _products

    torch.manual_seed(0)
    sizes = [7, 5, 4, 6]
    layers = [torch.randn(2, b, a, dtype=torch.float64) for a, b in itertools.pairwise(sizes)]
    S = torch.randn(2, 6, 7, dtype=torch.float64)
    C = torch.randn(2, 7, 7, dtype=torch.float64)
    C = C @ C.transpose(1, 2)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    W = _products(leaves)[-1]
    loss = 0.5 * torch.einsum("boi,bij,boj->", W, C, W) - (W * S).sum()
    loss.backward()
    forward = _products(layers)
    _descend(layers, forward, S - forward[-1] @ C, 0.01)
    for layer, leaf in zip(layers, leaves, strict=True):
        torch.testing.assert_close(layer, leaf.detach() - 0.01 * leaf.grad)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bulk_edges(0.0), "aspect must be > 0"),
        (lambda: bulk_density([np.nan], 0.5), "x must be finite"),
        (lambda: bulk_density([1.0], 0.5, sigma=0.0), "sigma must be > 0"),
        (lambda: bulk_quantile(1.5, 0.5), "fraction must be in"),
        (lambda: bulk_average(np.square, 0.5, 1.5), "top_fraction must be"),
        (lambda: spike_forward([-1.0], 0.5), "s must be >= 0"),
        (lambda: spike_forward([1.0], -0.5), "aspect must be > 0"),
        (lambda: spike_inverse([np.nan], 0.5), "s_data must be finite"),
        (lambda: detection_edge(0, 5), "n_in must be >= 1"),
        (lambda: estimate_noise([1.0, 2.0]), "shape must be given"),
        (lambda: estimate_noise(np.ones((3, 1))), "Y must be a matrix with"),
        (lambda: optimal_shrinkage(np.full((3, 3), np.inf)), "Y must be finite"),
        (lambda: optimal_shrinkage(Y, sigma=-1.0), "sigma must be >= 0"),
        (lambda: optimal_shrinkage(Y, noise="entry"), "noise must be one of"),  # type: ignore[arg-type]
        (lambda: optimal_shrinkage(Y, loss="l1"), "loss must be one of"),  # type: ignore[arg-type]
        (lambda: generalization_curve([-1.0], 0.5, [1.0], n_in=10), "snr must be >= 0"),
        (lambda: generalization_curve([0.0], 0.5, [1.0], n_in=10), "snr must have a value"),
        (lambda: generalization_curve([1.0], 0.5, [2.0, 1.0], n_in=10), "t must be"),
        (lambda: generalization_curve([1.0], 0.5, [-1.0], n_in=10), "t must be >= 0"),
        (lambda: generalization_curve([1.0], 0.5, [1.0], n_in=10, n_hidden=0), "n_hidden"),
        (lambda: generalization_curve([1.0], 0.5, [1.0], n_in=10, depth=0), "depth"),
        (lambda: generalization_curve([1.0], 0.5, [1.0], n_in=10, density=0.0), "density"),
        (
            lambda: generalization_curve([1.0], 0.5, [1.0], n_in=10, init_strength=0.0),
            "init_strength",
        ),
        (lambda: generalization_curve(np.ones(9), 0.5, [1.0], n_in=10), "snr must hold at most"),
        (lambda: transfer_benefit(3.0, 3.0, 1.5, 0.5), r"q must be in \[-1, 1\]"),
        (lambda: transfer_benefit(3.0, -3.0, 0.5, 0.5), "snr_b must be >= 0"),
        (lambda: transfer_benefit(0.0, 3.0, 0.5, 0.5), "snr_a must have"),
        (lambda: transfer_benefit([3.0, 2.0], 3.0, [[1.0], [1.0]], 0.5), "q must be overlaps"),
        (lambda: transfer_benefit(3.0, 3.0, [[1.0, 0.0]], 0.5), "q must be a number"),
        (lambda: aligned_tasks(3.0, 3.0, 2.0), "q must be <= 1|q must be"),
        (lambda: aligned_tasks(3.0, 3.0, 0.5, n_in=51), "n_in must be even"),
        (lambda: noisy_task(np.ones(60), n_in=100, n_out=50), "snr must hold at most"),
        (lambda: shuffle_entries(np.array([[np.nan]])), "Y must be finite"),
        (
            lambda: train_students(Y, Y[:, :5], learning_rate=0.1, steps=1),
            "teacher must have the shape",
        ),
        (lambda: train_students(Y, None, learning_rate=0.1, steps=1), "teacher or held_out"),
        (
            lambda: train_students(9 * Y, Y, learning_rate=9.0, steps=99, init_strength=0.1),
            "learning_rate is too large",
        ),
        (
            lambda: transfer_from_data(np.eye(9), np.ones((9, 2)), np.ones((8, 2))),
            "X and Y_b must have the same number",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(("n_out", "n_in"), [(27, 40), (40, 27)])
def test_noise_of_the_law_is_found_beside_many_signals(n_out: int, n_in: int) -> None:
    # What the signals leave is noise of a matrix smaller by their number in both directions.
    signals, sigma = np.linspace(60, 90, 6), 0.37
    rows, columns = n_out - 6, n_in - 6
    n = min(rows, columns)
    law = bulk_quantile((np.arange(n) + 0.5) / n, rows / columns)
    s = np.concatenate([signals, sigma * np.sqrt(columns) * law])
    assert estimate_noise(s, shape=(n_out, n_in)) == pytest.approx(sigma, rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "order"), [("frobenius", "fro"), ("operator", 2), ("nuclear", "nuc")]
)
@pytest.mark.parametrize(("n_out", "n_in", "strength"), [(40, 60, 1.4), (60, 40, 3.0)])
def test_shrunken_strengths_are_best_in_their_loss(
    loss: str, order: str | int, n_out: int, n_in: int, strength: float
) -> None:
    # Signal and estimate share a plane on either side, in which only the overlaps matter.
    unit = np.sqrt(n_in)
    spike = spike_forward(strength, n_out / n_in)
    Y = np.zeros((n_out, n_in))
    Y[0, 0] = unit * spike.s_data
    found = optimal_shrinkage(Y, sigma=1.0, loss=loss)  # type: ignore[arg-type]
    turns = [np.array([o, np.sqrt(1 - o**2)]) for o in (spike.overlap_out, spike.overlap_in)]
    signal = np.diag([strength, 0.0])
    tried = np.linspace(0, 2 * strength, 4001)
    errors = [np.linalg.norm(signal - y * np.outer(*turns), order) for y in tried]
    best = tried[int(np.argmin(errors))]
    assert found.rank == 1
    assert found.s_shrunk[0] / unit == pytest.approx(best, abs=2 * strength / 4000)
