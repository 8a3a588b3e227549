"""What the theory's functions refuse, in one sentence that names the argument."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.core.checks import check_range
from tractable.linear import (
    ModeDynamics,
    balanced_flow,
    category_coherence,
    deep_strength,
    eight_things,
    generalization_curve,
    hierarchical,
    illusions,
    noisy_task,
    optimal_stopping,
    project_property,
    shuffle_entries,
    spike_forward,
    transfer_benefit,
    transfer_from_data,
)
from tractable.linear.plots import plot_development_tree
from tractable.linear.semantics import ItemTable, separation_times

TASK = eight_things().dynamics()
X = np.random.default_rng(0).standard_normal((60, 8))
Y = X[:, :5].copy()


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (ValueError, "X must have at least", lambda: ModeDynamics.from_data(X[:, :0], Y)),
        (ValueError, "X must have at least", lambda: optimal_stopping(X[:, :0], Y, 0.1)),
        (ValueError, "X must have at least", lambda: transfer_from_data(X[:, :0], Y, Y)),
        (ValueError, "cov_yx must have", lambda: ModeDynamics.from_correlations(X[:, :0])),
        (ValueError, "X and Y are too large", lambda: ModeDynamics.from_data(1e200 * X, Y)),
        (ValueError, "Y must not exceed", lambda: optimal_stopping(X, 1e200 * Y, 0.1)),
        (ValueError, "s must not exceed", lambda: spike_forward(1e300, 0.5)),
        (ValueError, "t must not be so long", lambda: balanced_flow(*[np.eye(2)] * 3, [1e9])),
        (ValueError, "seed must be a whole", lambda: noisy_task([3.0], n_in=9, n_out=9, seed=1.5)),
        (ValueError, "seed must be >= 0", lambda: shuffle_entries(Y, -1)),
        (ValueError, "n_in must be a whole", lambda: noisy_task([3.0], n_in=9.5, n_out=9)),
        (ValueError, "rng must be a whole", lambda: hierarchical(2, 3, 0.1, 10, "x")),
        (ValueError, "n_features must be a wh", lambda: hierarchical(2, 3, 0.1, 2.5)),
        (ValueError, "depth must be a whole", lambda: deep_strength(1.0, 1.0, 0.1, np.inf)),
        (ValueError, "s, t, a0, lam must", lambda: deep_strength([], [0.0, 1.0], 0.1, 2)),
        (ValueError, "tau", lambda: generalization_curve([3.0], 0.5, [1.0], n_in=50, tau=np.inf)),
        (ValueError, "init_strength", lambda: transfer_benefit(3, 3, 0, 0.5, init_strength=1e99)),
        (ValueError, "device must be", lambda: TASK.simulate(0.01, 2, device="gpux")),
        (ValueError, "seeds must be a whole", lambda: TASK.simulate(0.01, 2, seeds=2.5)),
        (ValueError, "items must be numbers", lambda: category_coherence(np.eye(3), [7], [0])),
        (TypeError, "items must be names", lambda: category_coherence(np.eye(3), [[1]], [0])),
        (TypeError, "dyn must be a ModeDyn", lambda: illusions(eight_things(), [0.0, 1.0])),
        (TypeError, "dyn must be a ModeDyn", lambda: project_property(None, 0)),
        (ValueError, "t must hold", lambda: illusions(TASK, [])),
        (
            ValueError,
            "Y must be finite",
            lambda: ItemTable(np.eye(1), np.full((1, 1), np.nan), (), ()),
        ),
        (TypeError, "p must be a number, got 'x'", lambda: check_range("p", "x", 0, 1)),
        (TypeError, "p must be a number", lambda: check_range("p", np.ones(2), 0, 1)),
    ],
)
def test_bad_input_is_refused_by_name(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


def test_results_print_in_a_few_lines():
    assert len(repr(TASK)) < 2000
    assert "U=array(36, 8)" in repr(TASK)


def test_items_that_never_differ_stay_together_in_the_tree():
    table = ItemTable.of([[1, 1, 0], [1, 0, 1], [0, 0, 0.7], [0, 0, 0.7]])
    times = separation_times(table.dynamics())
    assert np.isinf(times[2, 3])
    assert np.isfinite(times[:2, 2:]).all()
    axes = plot_development_tree(times, items=["dog", "cat", "fish", "shark"]).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert abs(names.index("fish") - names.index("shark")) == 1
