import math

import numpy as np
import pytest
import torch

from tractable.core.checks import TractableWarning
from tractable.dynamics.cells import as_cell
from tractable.dynamics.dimension import local_dimension, n_pc, participation_ratio, pca
from tractable.dynamics.embedding import (
    locally_linear_embedding,
    n_clusters,
    nearest_neighbors,
)
from tractable.dynamics.manifold import COORDINATES, Manifold, _curve, manifold
from tractable.dynamics.modes import decompose
from tractable.dynamics.points.point_set import PointSet

N = 30


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


Q = torch.linalg.qr(random(N, N))[0]


def points_at(state: torch.Tensor, A: torch.Tensor | None = None) -> PointSet:
    matrix = 0.9 * torch.eye(len(state[0]) if len(state) else N) if A is None else A
    n = matrix.shape[0]
    cell = as_cell(lambda h, x: matrix.to(h) @ h, n_state=n, n_input=1).to(dtype=torch.float64)
    return PointSet.from_states(cell, state)


def arc(t: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
    """Two radians of a circle of radius 5, in a random plane of N dimensions."""
    plane = 5 * torch.stack([torch.sin(t), torch.cos(t)], 1)
    return plane @ Q[:2] + noise * random(len(t), N, seed=1)


def uniform(n: int, seed: int = 2) -> torch.Tensor:
    return 2 * torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_an_arc(coordinate, noise):
    t = uniform(300)
    curve = manifold(points_at(arc(t, noise)), coordinate=coordinate, readout=Q[0])
    assert curve.coordinate == coordinate
    assert curve.theta.min() == -1
    assert curve.theta.max() == 1
    order = np.corrcoef(curve.theta, t)[0, 1]
    exact = {"lle": 0.999, "arclength": 0.999, "pc1": 0.99, "readout": 0.99}[coordinate]
    assert order > (exact if noise == 0 else 0.98)
    tangent = torch.stack([torch.cos(t), -torch.sin(t)], 1) @ Q[:2]
    cosines = (curve.tangent * tangent).sum(1)
    assert cosines.median() > 0.995
    assert cosines.min() > (0.98 if noise == 0 else 0.7)
    torch.testing.assert_close(curve.tangent.norm(dim=1), torch.ones(300).double())
    assert curve.length == pytest.approx(10.0, rel=0.06)
    expected = noise * math.sqrt(N - 1)
    assert curve.residual.median().item() == pytest.approx(expected, rel=0.1, abs=0.02)
    assert (curve.axis @ Q[0]).item() > 0.999
    if noise == 0:
        torch.testing.assert_close(curve.local_dim, torch.ones(300).double(), atol=0.01, rtol=0)
        assert curve.spline_fraction < 1e-4


def test_theta_and_axis_rise_with_the_readout():
    t = uniform(60)
    for weight in (Q[0], -Q[0]):
        curve = manifold(points_at(arc(t)), readout=weight)
        assert np.corrcoef(curve.theta, arc(t) @ weight)[0, 1] > 0.99
        assert (curve.axis @ weight) > 0
        assert ((curve.tangent @ weight) > 0).all()
    free = manifold(points_at(arc(t)))
    assert free.axis[free.axis.abs().argmax()] > 0
    assert np.corrcoef(free.theta, arc(t) @ free.axis)[0, 1] > 0.99


def test_pc_fraction_against_the_covariance():
    state = arc(uniform(80), 0.1)
    curve = manifold(points_at(state))
    values = np.linalg.eigvalsh(np.cov(state.T.numpy(), bias=True))[::-1]
    assert curve.pc_fraction == pytest.approx(values[0] / values.sum(), rel=1e-10)
    assert curve.participation_ratio == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert curve.n_pc(0.99) == int(np.searchsorted(np.cumsum(values) / values.sum(), 0.99)) + 1


def test_duplicates_share_their_values():
    """A locally linear embedding of repeated points is singular; they are taken once."""
    t = torch.linspace(-1, 1, 40, dtype=torch.float64)
    once, index = arc(t), torch.arange(40).repeat_interleave(torch.arange(40) % 5 + 1)
    single, repeated = manifold(points_at(once)), manifold(points_at(once[index]))
    torch.testing.assert_close(repeated.theta, single.theta[index], atol=1e-6, rtol=0)
    torch.testing.assert_close(repeated.tangent, single.tangent[index], atol=1e-6, rtol=0)
    torch.testing.assert_close(repeated.local_dim, single.local_dim[index])


def test_speed_and_drift():
    """h' = (I + 0.01 r l^T) h drifts outward along r with velocity 0.01 theta."""
    r = Q[0]
    l = Q[0] + 0.7 * Q[3]  # the left vector is not the right one
    A = 0.5 * torch.eye(N) + 0.51 * torch.outer(r, l).float()
    A = A.double()
    s = torch.linspace(-2, 2, 41, dtype=torch.float64)
    off = 0.01 * random(41, N, seed=3)
    points = points_at(s[:, None] * r + off, A)
    modes = decompose(A.expand(41, N, N))
    assert modes.eigvals[0, 0].real.item() == pytest.approx(1.01, abs=1e-6)
    curve = manifold(points, readout=r, modes=modes, coordinate="pc1")
    velocity = points.state @ A.T - points.state
    torch.testing.assert_close(curve.speed, velocity.norm(dim=1))
    torch.testing.assert_close(curve.drift, 0.01 * (points.state @ l), atol=1e-5, rtol=0)
    plain = manifold(points, readout=r, coordinate="pc1")
    torch.testing.assert_close(plain.drift, (velocity * plain.tangent).sum(1))
    assert (plain.drift - curve.drift).abs().max() > 1e-3
    flipped = manifold(points, readout=-r, modes=modes, coordinate="pc1")
    torch.testing.assert_close(flipped.drift, -curve.drift)


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_no_point_one_point_and_one_point_often(coordinate, count):
    points = points_at(random(1, N).repeat(count, 1))
    with pytest.warns(TractableWarning, match="no points" if count == 0 else "coincide"):
        curve = manifold(points, coordinate=coordinate, readout=Q[0])
    assert len(curve) == count
    assert curve.theta.tolist() == [0.0] * count
    assert curve.tangent.shape == (count, N)
    assert curve.axis.abs().sum() == 0
    assert math.isnan(curve.pc_fraction)
    assert curve.length == 0
    assert curve.speed.shape == curve.drift.shape == (count,)
    assert len(Manifold.from_dataset(curve.to_dataset())) == count


@pytest.mark.parametrize("count", [2, 3, 9])
def test_few_points_are_ordered_by_their_first_component(count):
    points = points_at(arc(torch.linspace(-1, 1, count, dtype=torch.float64)))
    with pytest.warns(TractableWarning, match=f"{count} distinct points are too few"):
        curve = manifold(points, readout=Q[0])
    assert curve.coordinate == "pc1"
    assert (curve.theta.diff() > 0).all()
    assert curve.tangent.isfinite().all()
    assert curve.local_dim.isfinite().all()


def test_clusters_have_no_common_coordinate():
    state = torch.cat([0.1 * random(20, N) - 5 * Q[0], 0.1 * random(20, N, seed=1) + 5 * Q[0]])
    with pytest.warns(TractableWarning, match="2 clusters of which none has a neighbor"):
        curve = manifold(points_at(state), readout=Q[0])
    assert curve.coordinate == "pc1"
    assert (curve.theta[:20] < 0).all()
    assert (curve.theta[20:] > 0).all()


def test_a_readout_that_sees_nothing():
    state = arc(uniform(40))
    with pytest.warns(TractableWarning, match="the readout is the same at all points"):
        curve = manifold(points_at(state), coordinate="readout", readout=0 * Q[0])
    assert curve.coordinate == "pc1"


def test_coordinates_with_few_values_still_give_a_curve():
    """Points at three values of the readout: no cubic spline passes through them."""
    state = torch.arange(3.0).double().repeat(10)[:, None] * Q[0] + 0.01 * random(30, N, seed=4)
    state = state - (state @ Q[0])[:, None] * Q[0] + torch.arange(3.0).repeat(10)[:, None] * Q[0]
    curve = manifold(points_at(state), coordinate="readout", readout=Q[0])
    assert curve.tangent.isfinite().all()
    assert curve.residual.max() < 0.2


def test_dataset_returns_the_manifold():
    curve = manifold(points_at(arc(uniform(30))), readout=Q[0])
    again = Manifold.from_dataset(curve.to_dataset())
    for name in ("theta", "axis", "tangent", "variances", "local_dim", "residual", "drift"):
        assert torch.equal(getattr(again, name), getattr(curve, name))
    assert (again.length, again.coordinate) == (curve.length, curve.coordinate)


def test_refused():
    points = points_at(arc(uniform(30)))
    with pytest.raises(ValueError, match="coordinate must be one of 'lle', 'pc1'"):
        manifold(points, coordinate="pca")
    with pytest.raises(ValueError, match="readout must be given for coordinate='readout'"):
        manifold(points, coordinate="readout")
    with pytest.raises(ValueError, match="n_neighbors must be >= 2, got 1"):
        manifold(points, n_neighbors=1)
    with pytest.raises(ValueError, match="modes must be those of 30 points, got 1"):
        manifold(points, modes=decompose(torch.eye(N)))
    import dataclasses

    with pytest.raises(ValueError, match="points must have their cell"):
        manifold(dataclasses.replace(points, cell=None))


def test_dimensions_of_known_clouds():
    plane = random(500, 2, seed=5) @ Q[:2] * 3.0
    assert participation_ratio(pca(plane.numpy())[2]) == pytest.approx(2.0, abs=0.05)
    assert np.median(local_dimension(plane.numpy(), 40)) == pytest.approx(2.0, abs=0.15)
    assert math.isnan(participation_ratio(np.zeros(4)))
    assert n_pc(np.array([2.0, 1.0, 1.0, 0.0]), 0.5) == 1
    assert n_pc(np.array([2.0, 1.0, 1.0, 0.0]), 0.75) == 2
    assert n_pc(np.array([2.0, 1.0, 1.0, 0.0]), 1.0) == 3
    assert n_pc(np.zeros(3)) == n_pc(np.zeros(0)) == 0
    with pytest.raises(ValueError, match="fraction must be > 0 and <= 1"):
        n_pc(np.ones(3), 1.5)


def test_pca_of_many_and_of_few_samples_agree():
    data = random(121, N).numpy() @ np.diag(np.linspace(3, 0.1, N))
    mean, components, variances = pca(data)  # by the covariance
    _, singular, rows = np.linalg.svd(data - data.mean(0))
    np.testing.assert_allclose(mean, data.mean(0))
    np.testing.assert_allclose(variances, singular**2 / 121)
    np.testing.assert_allclose(np.abs((components * rows).sum(1)), 1.0, atol=1e-9)
    few = pca(data[:10])
    assert few[1].shape == (10, N)
    np.testing.assert_allclose(few[2].sum(), data[:10].var(0).sum())


@pytest.mark.parametrize("count", [60, 1100])  # dense and sparse eigenproblem
def test_embedding_against_scikit_learn(count):
    from sklearn.manifold import LocallyLinearEmbedding
    from sklearn.neighbors import NearestNeighbors

    state = arc(uniform(count), 0.01).numpy()
    near = nearest_neighbors(state, 12)
    theirs = NearestNeighbors(n_neighbors=12).fit(state).kneighbors(return_distance=False)
    np.testing.assert_array_equal(near, theirs)
    ours = locally_linear_embedding(state, near)
    embedding = LocallyLinearEmbedding(n_neighbors=12, n_components=1, eigen_solver="dense")
    expected = embedding.fit_transform(state)[:, 0]
    np.testing.assert_allclose(ours * np.sign(ours @ expected), expected, atol=1e-6)
    assert np.array_equal(ours, locally_linear_embedding(state, near))


def test_clusters_are_counted():
    assert n_clusters(np.array([[1], [0], [3], [2], [3]])) == 2
    assert n_clusters(nearest_neighbors(arc(uniform(50)).numpy(), 5)) == 1


def test_points_crowded_at_an_end_do_not_turn_the_tangent():
    """An embedding may give an eighth of the points, spread along the line, nearly one theta."""
    s = np.concatenate([np.linspace(-1.2, -1, 60), np.linspace(-1, 1, 420)])
    theta = np.concatenate([np.linspace(-1, -0.9999, 60), np.linspace(-0.999, 1, 420)])
    state = np.outer(s, Q[0]) + 0.001 * random(480, N, seed=6).numpy()
    _, tangents, length = _curve(theta, state)
    assert (tangents @ Q[0].numpy()).min() > 0.99
    assert length == pytest.approx(2.1, abs=0.1)
