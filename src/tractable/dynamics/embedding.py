"""Locally linear embedding into one dimension, and nearest neighbors."""

from __future__ import annotations

import numpy as np

__all__ = ["locally_linear_embedding", "n_clusters", "nearest_neighbors"]

REGULARIZATION = 1e-3  # of the trace of the local Gram matrix: more neighbors than dimensions
DENSE = 1000  # points up to which the eigenproblem is solved densely
CHUNK = 2**24  # distances held at once


def nearest_neighbors(state: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the k nearest other points of each point, nearest first, (P, k).

    Parameters
    ----------
    state : array, shape (P, N)
        Points.
    k : int, in [1, P)
        Number of neighbors.

    Examples
    --------
    >>> nearest_neighbors(np.array([[0.0], [1.0], [3.0]]), 1).tolist()
    [[1], [0], [1]]
    """
    from scipy.spatial.distance import cdist

    n_points = len(state)
    near = np.empty((n_points, k), dtype=np.int64)
    size = max(1, CHUNK // n_points)
    for start in range(0, n_points, size):
        rows = np.arange(start, min(start + size, n_points))
        distance = cdist(state[rows], state, "sqeuclidean")
        distance[np.arange(len(rows)), rows] = np.inf
        found = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, found, 1), axis=1, kind="stable")
        near[rows] = np.take_along_axis(found, order, 1)
    return near


def n_clusters(near: np.ndarray) -> int:
    """Return the number of connected parts of the graph of nearest neighbors (P, k).

    Examples
    --------
    >>> n_clusters(np.array([[1], [0], [3], [2]]))
    2
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n_points, k = near.shape
    edges = np.ones(near.size), near.reshape(-1), np.arange(0, near.size + 1, k)
    parts, _ = connected_components(csr_array(edges, shape=(n_points, n_points)), directed=False)
    return int(parts)


def locally_linear_embedding(state: np.ndarray, near: np.ndarray) -> np.ndarray:
    r"""Return the one-dimensional coordinate that keeps each point's place among its neighbors.

    .. math:: \min_W \sum_i \Big\|h_i - \sum_j W_{ij} h_j\Big\|^2, \quad
              \min_y \sum_i \Big(y_i - \sum_j W_{ij} y_j\Big)^2, \qquad \sum_j W_{ij} = 1

    Parameters
    ----------
    state : array, shape (P, N)
        Distinct points.
    near : array, shape (P, k)
        Neighbors of each, all in one cluster.

    Returns
    -------
    array, shape (P,)
        Of unit norm and zero mean; the sign is arbitrary.

    References
    ----------
    Roweis and Saul 2000, doi:10.1126/science.290.5500.2323.

    Examples
    --------
    >>> line = np.linspace(0, 1, 20)[:, None] * [1.0, 2.0]
    >>> y = locally_linear_embedding(line, nearest_neighbors(line, 4))
    >>> bool((np.diff(y) > 0).all() or (np.diff(y) < 0).all())
    True
    """
    n_points, k = near.shape
    apart = state[near] - state[:, None]
    gram = apart @ apart.transpose(0, 2, 1)
    trace = np.trace(gram, axis1=1, axis2=2)
    gram[:, np.arange(k), np.arange(k)] += REGULARIZATION * trace[:, None]
    weight = np.linalg.solve(gram, np.ones((n_points, k, 1)))[..., 0]
    weight /= weight.sum(axis=1, keepdims=True)
    return _second_smallest(weight, near)


def _second_smallest(weight: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Eigenvector of ``(I - W)^T (I - W)`` after the constant one."""
    import scipy.linalg
    from scipy.sparse import csc_array, csr_array, eye_array

    n_points, k = near.shape
    edges = weight.reshape(-1), near.reshape(-1), np.arange(0, near.size + 1, k)
    rest = eye_array(n_points, format="csr") - csr_array(edges, shape=(n_points, n_points))
    M = csc_array(rest.T @ rest)
    if n_points <= DENSE:
        return scipy.linalg.eigh(M.toarray(), subset_by_index=[1, 1])[1][:, 0]
    from scipy.sparse.linalg import eigsh

    # a shift below 0 keeps the matrix definite; v0 makes the result deterministic
    v0 = np.cos(np.arange(n_points))
    eigvals, vectors = eigsh(M, k=2, sigma=-1e-12, v0=v0)
    return vectors[:, np.argmax(eigvals)]
