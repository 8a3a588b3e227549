"""Data as users have them: other kinds of arrays, other units, tables on their side."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

from tractable.core.checks import quiet
from tractable.linear import (
    ItemTable,
    ModeDynamics,
    bulk_average,
    correlations,
    generalization_curve,
    optimal_shrinkage,
    optimal_stopping,
    train_students,
    transfer_benefit,
    transfer_from_data,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 8))
SADDLE = np.array([[1.0, 2.0], [2.0, 1.0]])
Y = X @ RANDOM.standard_normal((8, 5)) + 0.3 * RANDOM.standard_normal((60, 5))

READERS = {
    "from_data": lambda X, Y: ModeDynamics.from_data(X, Y).s,
    "centered": lambda X, Y: ModeDynamics.from_data(X, Y, center=True).s,
    "correlations": lambda X, Y: correlations(X, Y).cov_yx,
    "stopping": lambda X, Y: optimal_stopping(X, Y, 0.01).snr,
    "shrinkage": lambda X, Y: optimal_shrinkage(Y).s_data,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("kind", "rtol"),
    [
        (lambda v: v.tolist(), 1e-12),
        (lambda v: v.astype(np.float32), 1e-5),
        (lambda v: v.astype(np.float16), 1e-2),
        (lambda v: torch.tensor(v, requires_grad=True), 1e-12),
        (lambda v: torch.tensor(v).bfloat16(), 3e-2),
        (lambda v: np.ma.masked_greater(v, 1e9), 1e-12),
    ],
    ids=["list", "float32", "float16", "gradient", "bfloat16", "nothing masked"],
)
def test_kinds_of_arrays(read, kind, rtol):
    with quiet():
        np.testing.assert_allclose(read(kind(X), kind(Y)), read(X, Y), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (lambda v: np.ma.masked_greater(v, 1.0), ValueError, "must hold no masked entries"),
        (scipy.sparse.csr_array, TypeError, r"must be dense, got csr_array; pass .\.toarray\(\)"),
        (scipy.sparse.csr_matrix, TypeError, "must be dense, got csr_matrix"),
        (lambda v: torch.tensor(v).to_sparse(), TypeError, r"must be dense.*to_dense\(\)"),
        (lambda v: v + 0j, TypeError, "must hold real numbers, got dtype complex128"),
        (lambda v: 1e-160 * v, ValueError, "must have an entry of 1e-75 or more in size"),
    ],
    ids=["masked", "sparse", "sparse matrix", "sparse tensor", "complex", "tiny"],
)
def test_what_cannot_be_read_is_named(read, kind, error, message):
    with quiet(), pytest.raises(error, match=rf"^[XY] {message}"):
        read(kind(X), kind(Y))


@pytest.mark.parametrize(
    "read",
    [ModeDynamics.from_data, lambda X, Y: optimal_stopping(X, Y, 0.01)],
    ids=["data", "stop"],
)
@pytest.mark.parametrize(
    ("x", "y", "which"),
    [(X.T, Y, "X"), (X, Y.T, "Y"), (X[:, :7].T, X[:9, :7].T.T, None), (X.T, Y.T, "X and Y")],
)
def test_tables_on_their_side(read, x, y, which):
    hint = rf"; transpose {which}\?$" if which else ""
    with pytest.raises(ValueError, match=rf"same number of examples \(rows\), got .*{hint}"):
        read(x, y)


def test_a_column_of_targets_needs_two_dimensions():
    with pytest.raises(ValueError, match=r"Y\[:, None\] is one column"):
        ModeDynamics.from_data(X, Y[:, 0])


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_a_change_of_units_changes_units_only(scale):
    with quiet():
        base = optimal_stopping(X, Y, 0.01, init_strength=1e-3)
        found = optimal_stopping(X, scale * Y, 0.01 / scale, init_strength=1e-3 * scale)
        assert found.time == pytest.approx(base.time / scale, rel=1e-6)
        assert found.expected_loss == pytest.approx(base.expected_loss, rel=1e-9)
        np.testing.assert_allclose(found.snr, base.snr, rtol=1e-9)
        one, two = (
            transfer_from_data(X, Y[:, :3], Y[:, 3:]),
            transfer_from_data(X, scale * Y[:, :3], Y[:, 3:]),
        )
    assert two.benefit == pytest.approx(one.benefit, rel=1e-6)


def test_a_flow_that_takes_too_long_is_refused_soon():
    random = np.random.default_rng(0)
    wide, targets = random.normal(size=(60, 40)), random.normal(size=(60, 30))
    with quiet():
        dynamics = ModeDynamics.from_data(1e3 * wide, 1e3 * targets)  # 2100 weights
    with pytest.raises(ValueError, match=r"t must not be so long.*after 20000 steps"):
        dynamics.strengths([10.0])


def test_a_small_network_is_solved_for_as_long_as_is_asked():
    with quiet():
        dynamics = ModeDynamics.from_data(1e3 * X, 1e3 * Y)
    end = np.linalg.lstsq(X, Y, rcond=None)[0].T
    np.testing.assert_allclose(dynamics.map([10.0])[0], end, atol=1e-6)


def test_correlations_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="cov_yx must have an entry of 1e-75"):
        ModeDynamics.from_correlations(1e-160 * np.eye(3))


def test_tasks_of_more_signals_than_inputs_share_some():
    other = X[:, :5] + 0.1 * RANDOM.standard_normal((60, 5))
    with quiet():
        for targets in (Y, other):  # ten signals of eight inputs: planes of five meet in two
            found = transfer_from_data(X, Y, targets)
            assert np.isfinite([found.benefit, found.alone, found.joint]).all()
            share = np.linalg.svd(found.overlap, compute_uv=False)
            np.testing.assert_allclose(share[: 5 if targets is Y else 2], 1, rtol=1e-9)
            assert share.max() < 1 + 1e-9


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("snr must be a list", lambda: generalization_curve(np.eye(2), 0.5, [1.0], n_in=50)),
        ("snr_a must be a list", lambda: transfer_benefit(np.eye(2), 1.0, 0.3, 0.5)),
        ("snr_b must be a list", lambda: transfer_benefit(1.0, np.eye(2), 0.3, 0.5)),
        ("snr_a must hold at most", lambda: transfer_benefit([3, 2], 1.0, 0.5, 0.1, n_in=10)),
        ("snr_b must hold at most", lambda: transfer_benefit(1.0, [3, 2], 0.5, 0.1, n_in=10)),
        ("together", lambda: transfer_benefit([3, 2, 1], [3, 2, 1], 0.5, 1.0, n_in=4)),
        ("cov_x must have no neg", lambda: ModeDynamics.from_correlations(np.eye(2), -np.eye(2))),
        ("cov_x must have no neg", lambda: ModeDynamics.from_correlations(np.eye(2), SADDLE)),
        ("function must return as many", lambda: bulk_average(lambda x: x[:3], 0.5)),
        ("function must return as many", lambda: bulk_average(lambda x: 1.0, 0.5)),
        ("Y must hold no masked", lambda: ItemTable.of(np.ma.masked_equal(np.eye(3), 1))),
    ],
)
def test_lists_that_do_not_fit_are_named(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_tables_of_tensors_and_of_words():
    for table in (torch.eye(4, requires_grad=True), torch.eye(4).bfloat16()):
        np.testing.assert_array_equal(ItemTable.of(table).Y, np.eye(4))
    with pytest.raises(TypeError, match="Y must hold real numbers"):
        ItemTable.of(np.array([["a", "b"]]))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("cov_x", [None, np.diag([3.0, 1.0, 1.0, 1.0, 0.5])])
def test_a_learning_rate_that_is_too_large_is_told_what_is_not(depth, cov_x):
    S = RANDOM.standard_normal((4, 5))
    run = {"cov_x": cov_x, "depth": depth, "init_strength": 0.1, "steps": 400}
    with pytest.raises(ValueError, match=r"learning_rate is too large.*keep it below \d") as found:
        train_students(S, S, learning_rate=50.0, **run)
    largest = float(str(found.value).split("below ")[1])
    assert train_students(S, S, learning_rate=0.8 * largest, **run).train[0, -1] < 1
