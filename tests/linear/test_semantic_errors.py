"""Semantics: what is refused, by name; own tables; pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.linear import (
    category_coherence,
    category_typicality,
    coherence,
    conservation,
    detection_edge,
    differentiation_order,
    eight_things,
    gaussian_structure,
    hierarchical,
    illusions,
    mds_trajectory,
    permute_examples,
    project_item,
    project_property,
    prototypes,
    read_items,
    structures,
    toy_items,
    tree_spectrum,
    typicality,
)
from tractable.linear.plots import plot_belief, plot_decomposition, plot_strengths
from tractable.linear.semantics import ItemTable, bump

TASK = eight_things().dynamics()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("flip", lambda: hierarchical(2, 3, 0.6, 10)),
        ("flip", lambda: tree_spectrum(2, 3, -0.1)),
        ("depth", lambda: tree_spectrum(2, 0, 0.1)),
        ("branching", lambda: hierarchical((2, 2), 3, 0.1, 10)),
        ("n_features", lambda: hierarchical(2, 3, 0.1, 0)),
        ("similarity", lambda: tree_spectrum(2, 2, similarity=(0, 1))),
        ("similarity is that of no", lambda: tree_spectrum(2, 2, similarity=(0, -0.9, 0.1))),
        ("p", lambda: coherence(10, 10, 2, 2, 1.2, 0.3)),
        ("q", lambda: coherence(10, 10, 2, 2, 0.5, 1.0)),
        ("k_items", lambda: coherence(10, 10, 11, 2, 0.5, 0.3)),
        ("items must not be empty", lambda: category_coherence(np.eye(3), [], [1])),
        ("features must not be empty", lambda: category_coherence(np.eye(3), [1], [])),
        ("items must be a category", lambda: category_typicality(TASK, [])),
        ("items", lambda: category_typicality(TASK, ["pin"])),
        ("sg", lambda: gaussian_structure(np.eye(2), 0.0)),
        ("graph", lambda: gaussian_structure(np.array([[0.0, 1.0], [0.0, 0.0]]))),
        ("n", lambda: structures.ring(2)),
        ("shares", lambda: structures.crosscut(2, [1.0])),
        ("tol", lambda: illusions(TASK, [0.0, 1.0], tol=-1)),
        ("item", lambda: project_property(TASK, "pin", [1.0])),
        ("feature", lambda: project_item(TASK, 99, [1.0])),
        ("depth", lambda: project_item(eight_things().dynamics(depth=3), 1, [1.0])),
        ("labels", lambda: differentiation_order(TASK, {"x": "ab"})),
        ("labels", lambda: differentiation_order(TASK, {"x": "aaaaaaaa"})),
        ("Y", lambda: ItemTable.of([[1.0, np.nan]])),
        ("items", lambda: ItemTable.of(np.eye(2), items=["a", "a"])),
        ("convention", lambda: eight_things().dynamics(convention="both")),
    ],
)
def test_bad_input_is_named(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item,barks,purrs\ndog,1,0\ncat,0,0.5\n")
    table = read_items(path)
    assert table.items == ("dog", "cat")
    np.testing.assert_array_equal(table.Y, [[1, 0], [0, 0.5]])
    path.write_text("item,barks,purrs\ndog,1,0\ncat,0,often\n")
    with pytest.raises(ValueError, match=r"row 3, column 'purrs': 'often' is no number"):
        read_items(path)
    path.write_text("item,barks,purrs\ndog,1\ncat,0,0\n")
    with pytest.raises(ValueError, match="row 2: 2 columns, the first row has 3"):
        read_items(path)


def test_pictures_draw_in_given_axes():
    from tractable import plot

    t = np.linspace(0, 20, 30)
    figure, axes = plot.new(1, 2)
    assert plot_strengths(t, TASK.strengths(t), ax=axes[0]) is figure
    belief = TASK.beliefs(t, ["can sing"], ["canary"])[:, 0, 0]
    assert plot_belief(t, belief, 1.0, ax=axes[1]) is figure
    assert plot_decomposition(eight_things().Y).get_label()


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "labels must map", lambda: differentiation_order(TASK, ["ppppaaaa"])),
        (TypeError, "dyn must be a ModeDynamics", lambda: prototypes(TASK.U)),
        (TypeError, "sim_a must be a Simulation", lambda: conservation(TASK)),
        (ValueError, "n must be a whole number", lambda: structures.ring(np.inf)),
        (ValueError, "rows must be a whole number", lambda: structures.grid(np.inf, 2)),
        (ValueError, "path must be finite", lambda: bump(np.array([[0.0], [np.nan]]))),
        (ValueError, "path must have an axis of times", lambda: bump(np.zeros((0, 2)))),
        (ValueError, "Y must have an axis of examples", lambda: permute_examples(3.0, 0)),
        (ValueError, "n_in must be a whole number >= 1", lambda: detection_edge(np.inf, 5)),
    ],
)
def test_other_kinds_of_arguments_are_named(error, match, call):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda: structures.clusters(10**6, 10**6), "n_clusters=1000000 and size"),
        (lambda: structures.ring(10**9), "n=1000000000"),
        (lambda: structures.chain(10**9), "n=1000000000"),
        (lambda: structures.grid(10**5, 10**5), "rows=100000 and columns"),
        (lambda: structures.tree(2, 40), "branching and depth"),
        (lambda: structures.crosscut(40), "n_attributes"),
    ],
)
def test_worlds_that_no_memory_holds_are_refused(draw, name):
    with pytest.raises(ValueError, match=name):
        draw()


@pytest.mark.parametrize(
    "read",
    [
        typicality,
        prototypes,
        lambda dyn: category_typicality(dyn, [0]),
        lambda dyn: differentiation_order(dyn, {"a, b": "aabb"}),
        lambda dyn: illusions(dyn, [0.0, 1.0]),
    ],
)
def test_networks_where_the_theory_is_asked_for_are_named(read):
    trained = toy_items().dynamics().simulate(0.1, 3, seeds=2)
    with pytest.raises(TypeError, match=r"must be a ModeDynamics .*got Simulation; its task is"):
        read(trained)


def test_one_item_and_times_are_asked_for():
    task = toy_items().dynamics()
    with pytest.raises(ValueError, match="item must be one name or number"):
        project_property(task, ["oak", "rose"], [1.0])
    with pytest.raises(ValueError, match="feature must be one name or number"):
        project_item(task, [], [1.0])
    with pytest.raises(ValueError, match="t must be given"):
        project_property(task, "oak")
    assert project_property(task.simulate(0.1, 3, seeds=2), "oak").shape[0] == 2


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: mds_trajectory(toy_items().dynamics(), [1.0], dim=1.5), "dim"),
        (lambda: gaussian_structure(np.eye(3), n_items=1.5), "n_items"),
        (lambda: structures.crosscut(2.5), "n_attributes"),
        (lambda: toy_items().dynamics(rank=1.5), "rank"),
    ],
)
def test_counts_are_whole_numbers(call, name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        call()
