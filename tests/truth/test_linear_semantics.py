"""Semantic development.

PUBLISHED: singular values of the two tables; eigenvalues and degeneracies of trees.
INDEPENDENT: samples of 1e5 features; a new output row that is really trained.
IDENTITY: the mutual recursion of typicality and prototypes; shallow networks have no illusions.
SIMULATION: coherence against random tables; representations of independent networks.
"""

import numpy as np
import pytest

from tractable.linear import (
    ModeDynamics,
    coherence,
    conservation,
    differentiation_order,
    effective_init,
    eight_things,
    hierarchical,
    illusions,
    mds_trajectory,
    project_item,
    project_property,
    prototypes,
    structures,
    toy_items,
    tree_spectrum,
    typicality,
)
from tractable.linear.semantics import bump, false_belief_time, ultrametric_features

TIMES = np.linspace(0, 60, 6001)


def test_toy_items():
    squares = np.linalg.svd(toy_items().Y, compute_uv=False) ** 2
    np.testing.assert_allclose(squares, [7, 3, 1, 1], atol=1e-12)


def test_eight_things_in_both_conventions():
    table = eight_things()
    values = [6.8059, 4.4732, 3.0440, 3.0035, 2.0431, 1.3806, 1.1411, 1.0000]
    np.testing.assert_allclose(np.linalg.svd(table.Y, compute_uv=False), values, atol=1e-4)
    paper, one_hot = table.dynamics(), table.dynamics(convention="one_hot")
    times = [3.96, 5.66, 7.80, 7.89, 10.84, 14.91, 17.36, 19.28]
    np.testing.assert_allclose(paper.half_rise(), times, atol=0.01)
    raw = [5.19, 7.52, 10.54, 10.66, 14.92, 20.95, 24.67, 27.63]
    np.testing.assert_allclose(one_hot.half_rise(), raw, atol=0.01)
    same = table.dynamics(convention="one_hot", init_strength=8e-3)
    np.testing.assert_allclose(same.half_rise(), paper.half_rise(), atol=1e-9)
    for dynamics in (paper, one_hot):
        assert abs(dynamics.beliefs([500.0])[0] - table.Y.T).max() < 1e-9
    # one-hot examples as data, in the paper's convention written out
    direct = ModeDynamics.from_correlations(table.Y.T / 8)
    np.testing.assert_allclose(direct.beliefs([9.0]), paper.beliefs([9.0]))


def test_pine_seems_to_have_leaves():
    dynamics = eight_things().dynamics()
    leaves = dynamics.beliefs(TIMES, ["has leaves"], ["pine"])[:, 0, 0]
    assert leaves.max() == pytest.approx(0.523, abs=0.002)
    assert TIMES[leaves.argmax()] == pytest.approx(7.16, abs=0.05)
    assert leaves[-1] == pytest.approx(0, abs=1e-3)
    sing = dynamics.beliefs(TIMES, ["can sing"], ["robin"])[:, 0, 0]
    assert sing.max() == pytest.approx(0.348, abs=0.002)
    assert TIMES[sing.argmax()] == pytest.approx(9.61, abs=0.05)


def test_illusions_are_those_of_deep_networks():
    deep = illusions(eight_things().dynamics(), TIMES)
    assert len(deep) == 165
    assert (deep.rows()[0]["item"], deep.rows()[0]["feature"]) == ("pine", "has leaves")
    assert (deep.bumps <= deep.size[0]).all()
    shallow = eight_things().dynamics(depth=1, init_strength=1e-12)
    assert illusions(shallow, TIMES, tol=0).bumps.max() < 1e-12
    raw = illusions(eight_things().dynamics(convention="one_hot"), np.linspace(0, 90, 6001))
    assert len(raw) == 173


def test_total_error_never_rises():
    error = eight_things().dynamics().train_error(TIMES)
    assert (np.diff(error) <= 1e-13).all()


def test_bump_is_the_smaller_of_fall_and_rise():
    assert bump(np.array([0.0, 1.0, 0.2, 0.9])) == pytest.approx(0.8)
    assert bump(np.array([1.0, 0.4, 0.3])) == 0
    assert bump(np.array([0.0, 0.6, 0.6])) == 0


@pytest.mark.parametrize("ratio", [0.01, 0.05])
def test_false_beliefs_last_as_long_as_the_modes_differ(ratio):
    s, start = 1.0, 1e-6
    full = lambda s: np.log(s / start) / s  # noqa: E731  # from eps to within eps of s
    exact = full(s * (1 - ratio)) - full(s)
    found = false_belief_time(s, ratio * s, start)
    assert 0 < (found - exact) / exact < 0.07 or 0 < (exact - found) / exact < 0.07


@pytest.mark.parametrize(
    ("branching", "depth", "flip"), [(2, 3, 0.15), (3, 2, 0.1), ((2, 3), 2, 0.2)]
)
def test_tree_spectrum_against_samples(branching, depth, flip):
    theory = tree_spectrum(branching, depth, flip)
    table = hierarchical(branching, depth, flip, 100_000, 1)
    measured = np.linalg.svd(table.Y, compute_uv=False) / np.sqrt(100_000)
    expected = np.repeat(theory.strength, theory.degeneracy)
    np.testing.assert_allclose(measured, np.sort(expected)[::-1], rtol=0.015)
    assert theory.degeneracy.sum() == theory.n_items == len(table.Y)
    # exactly, from the similarity matrix itself
    from tractable.linear.semantics import leaf_similarity

    gram = leaf_similarity(branching, theory.similarity)
    exact = np.sort(np.repeat(theory.strength**2, theory.degeneracy))
    np.testing.assert_allclose(np.linalg.eigvalsh(gram), exact, atol=1e-12)


def test_published_tree():
    tree = tree_spectrum(2, 3, 0.15)
    np.testing.assert_allclose(tree.strength, [1.562, 1.225, 1.005, 0.714], atol=6e-4)
    assert tree.degeneracy.tolist() == [1, 1, 2, 4]


def test_basic_level_comes_first():
    tree = tree_spectrum(2, 3, similarity=(0, -0.2, 0.8, 1))
    np.testing.assert_allclose(
        np.repeat(tree.strength**2, tree.degeneracy)[[0, 1, 2, 4]], [1.4, 1.4, 2.2, 0.2]
    )
    assert tree.learning_order()[0] == 2
    table = ultrametric_features(2, (0, -0.2, 0.8, 1), 100_000, 0)
    measured = np.linalg.svd(table.Y, compute_uv=False) ** 2 / 100_000
    np.testing.assert_allclose(measured, [2.2, 2.2, 1.4, 1.4, 0.2, 0.2, 0.2, 0.2], rtol=0.02)


def test_broad_distinctions_come_first():
    table = hierarchical(2, 3, 0.15, 20_000, 0)
    dynamics = table.dynamics()
    paths = np.array([[int(c) for c in name.split(".")] for name in table.items])
    labels = {f"level {k}": [tuple(row[:k]) for row in paths] for k in (3, 1, 2)}
    found = differentiation_order(dynamics, labels)
    assert found.name == ("level 1", "level 2", "level 3")
    assert (np.diff(found.time) > 0).all()


def test_typicality_and_prototypes_are_mutual():
    table = eight_things()
    for convention in ("paper", "one_hot"):
        dynamics = table.dynamics(convention=convention)
        v, u = typicality(dynamics), prototypes(dynamics)
        s = np.linalg.svd(table.Y, compute_uv=False)
        np.testing.assert_allclose(table.Y @ u / s, v, atol=1e-12)
        np.testing.assert_allclose(table.Y.T @ v / s, u, atol=1e-12)


@pytest.mark.parametrize(
    ("p", "C", "items", "features"),
    [(0.5, 3.61, 0.758, 0.684), (0.6, 8.13, 0.898, 0.852), (0.4, 0.90, 0.0, 0.0)],
)
def test_coherence_against_random_tables(p, C, items, features):
    found = coherence(500, 800, 100, 120, p, 0.3)
    assert found.coherence == pytest.approx(C, abs=0.01)
    assert found.overlap_items**2 == pytest.approx(items, abs=0.002)
    assert found.overlap_features**2 == pytest.approx(features, abs=0.002)
    random = np.random.default_rng(0)
    u2, v2 = [], []
    for _ in range(3):
        Y = (random.random((500, 800)) < 0.3).astype(float)
        Y[:100, :120] = random.random((100, 120)) < p
        v = np.linalg.eigh((Y - 0.3) @ (Y - 0.3).T)[1][:, -1]
        u = (Y - 0.3).T @ v
        v2.append((v[:100].sum() / np.sqrt(100)) ** 2)
        u2.append((u[:120].sum() / np.sqrt(120)) ** 2 / (u @ u))
    if found.learnable:
        assert np.mean(v2) == pytest.approx(found.overlap_items**2, abs=0.03)
        assert np.mean(u2) == pytest.approx(found.overlap_features**2, abs=0.03)
    else:
        assert np.mean(v2) < 0.15


def test_incoherent_categories_leave_no_trace():
    found = coherence(500, 800, 60, 80, 0.4, 0.3)
    assert found.coherence < 0.5
    random = np.random.default_rng(1)
    items, features = [], []
    for _ in range(4):
        Y = (random.random((500, 800)) < 0.3).astype(float)
        Y[:60, :80] = random.random((60, 80)) < 0.4
        v = np.linalg.eigh((Y - 0.3) @ (Y - 0.3).T)[1][:, -1]
        u = (Y - 0.3).T @ v
        items.append((v[:60].sum() / np.sqrt(60)) ** 2)
        features.append((u[:80].sum() / np.sqrt(80)) ** 2 / (u @ u))
    assert np.mean(items) < 0.05
    assert np.mean(features) < 0.05


@pytest.mark.parametrize(
    "world",
    [
        structures.clusters(3, 4),
        structures.tree(2, 3),
        structures.ring(12),
        structures.chain(10),
        structures.grid(4, 3),
        structures.crosscut(3),
    ],
    ids=lambda world: world.name,
)
def test_structures_against_samples(world):
    table = world.features(100_000, 0)
    measured = np.linalg.svd(table.Y, compute_uv=False) ** 2 / 100_000
    np.testing.assert_allclose(measured, world.spectrum(), rtol=0.02, atol=0.002)
    np.testing.assert_allclose(world.strengths(50), np.sqrt(50 * world.spectrum()) / world.n_items)


def test_ring_and_grid_have_fourier_modes():
    ring = structures.ring(12).spectrum()
    ell = 2 * (1 - np.cos(2 * np.pi * np.arange(12) / 12))
    np.testing.assert_allclose(ring, np.sort(1 / (ell + 0.25))[::-1])
    path = lambda n: 2 * (1 - np.cos(np.pi * np.arange(n) / n))  # noqa: E731
    grid = structures.grid(4, 3).spectrum()
    ell = (path(4)[:, None] + path(3)).ravel()
    np.testing.assert_allclose(grid, np.sort(1 / (ell + 0.25))[::-1])


def test_scaling_shows_the_ring():
    world = structures.ring(12)
    dynamics = world.features(20_000, 0).dynamics()
    frames = mds_trajectory(dynamics, [2 * dynamics.time_to(0.9).max()])[0]
    angle = np.unwrap(np.arctan2(frames[:, 1], frames[:, 0]))
    steps = np.abs(np.diff(angle))
    assert abs(steps - 2 * np.pi / 12).max() < 0.2


@pytest.mark.parametrize(("std", "n_hidden"), [(1e-3, 64), (0.6, 64)])
def test_small_starts_conserve_representations(std, n_hidden):
    task = eight_things().dynamics(convention="one_hot")
    networks = task.simulate(
        0.02, 3000, seeds=4, init="gaussian", init_std=std, n_hidden=n_hidden, record_at=[3000]
    )
    found = conservation(networks)
    if std < 0.1:
        assert found.hidden.max() < 0.01
        assert found.square.max() < 1e-3
    else:
        assert found.hidden.min() > 0.4
    halves = conservation(networks, networks, t=60.0)
    np.testing.assert_allclose(halves.hidden, found.hidden)


@pytest.mark.parametrize(
    ("std", "early", "first", "late", "last"),
    [(1e-3, 8, 0.05, 24, 0.01), (1e-4, 10, 0.03, 30, 0.01)],
)
def test_projection_of_a_property_that_is_really_trained(std, early, first, late, last):
    task = eight_things().dynamics(convention="one_hot")
    lr, steps = 0.01, 5000
    at = np.arange(early, steps * lr + 1e-9, 0.5)
    networks = task.simulate(
        lr,
        steps,
        seeds=3,
        init="gaussian",
        init_std=std,
        n_hidden=200,
        record_at=[0, *np.round(at / lr).astype(int)],
    )
    worst = np.zeros(len(at))
    for first_layer, last_layer in zip(*networks.weights, strict=True):
        start = effective_init(task.cov_yx, first_layer[0], last_layer[0])
        theory = eight_things().dynamics(convention="one_hot", init_strength=start)
        codes = first_layer[1:]  # (times, hidden, items): one-hot items
        for i in range(8):
            # A new row trained by gradient descent from 0 until item i has the property.
            row = codes[..., i] / (codes[..., i] ** 2).sum(-1, keepdims=True)
            answer = np.einsum("th,thj->tj", row, codes)
            worst = np.maximum(worst, abs(answer - project_property(theory, i, at)).max(1))
    assert worst.max() < first
    assert worst[at >= late].max() < last
    assert abs(project_property(networks, 7, at)[-1] - answer).max() < 1e-9


def test_projection_of_a_new_item():
    table = eight_things()
    task = table.dynamics()
    times = np.linspace(4, 60, 30)
    networks = task.simulate(
        0.01,
        6000,
        seeds=1,
        init="aligned",
        n_hidden=8,
        record_at=np.round(times / 0.01).astype(int),
    )
    # New input weights w through the frozen output layer, trained until feature m is 1.
    m = table.features.index("can fly")
    W2 = networks.weights[1][0]
    w = W2[:, m] / (W2[:, m] ** 2).sum(-1, keepdims=True)
    answer = np.einsum("tfh,th->tf", W2, w)
    assert abs(answer - project_item(task, "can fly", networks.t)).max() < 0.02
    assert project_item(task, "can fly", [60.0])[0, m] == pytest.approx(1)


def test_behavior_off_the_square_is_relative_to_behavior():
    # Diagonal layers p and r: hidden p^2, behavior (p r)^2, so that r / p decides what is off.
    task = ModeDynamics.from_correlations(np.eye(2))
    p, r = np.array([0.5, 0.5]), np.array([2.0, 2.0])
    networks = task.simulate(1e-9, 1, seeds=2, init=[np.diag(p), np.diag(r)])
    expected = abs((p * r) ** 2 - p**4)[0] / ((p * r) ** 2)[0]
    assert conservation(networks, t=0.0).square[0] == pytest.approx(expected, rel=1e-6)
