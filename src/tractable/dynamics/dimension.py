"""How many dimensions a cloud of states has."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from tractable.core.checks import as_floats, check_finite, check_range
from tractable.dynamics.embedding import nearest_neighbors

__all__ = ["local_dimension", "n_pc", "participation_ratio", "pca"]


def pca(data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean (N,), principal components (K, N) as rows, and variances (K,), K = min(S, N).

    Parameters
    ----------
    data : array, shape (S, N)
        Samples; no samples give a zero mean and no components.

    Examples
    --------
    >>> _, components, variances = pca(np.array([[0.0, 0.0], [3.0, 4.0]]))
    >>> variances.tolist()
    [6.25, 0.0]
    """
    n_samples, n = data.shape
    if n_samples == 0:
        return np.zeros(n), np.zeros((0, n)), np.zeros(0)
    mean = data.mean(axis=0)
    if n_samples > 4 * n:  # the covariance is small
        variances, vectors = np.linalg.eigh((data - mean).T @ (data - mean) / n_samples)
        return mean, vectors.T[::-1], variances[::-1].clip(min=0)
    _, singular, components = np.linalg.svd(data - mean, full_matrices=False)
    return mean, components, singular**2 / n_samples


def participation_ratio(variances: Tensor | np.ndarray) -> float:
    r"""Return the effective dimension :math:`(\sum_i v_i)^2 / \sum_i v_i^2` of a set of variances.

    NaN where there is no variance.

    Parameters
    ----------
    variances : array, shape (K,)
        Principal variances, >= 0.

    Examples
    --------
    >>> participation_ratio(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    v = as_floats("variances", variances)
    check_finite("variances", v)
    total = v.sum()
    return float((v / total).sum() ** 2 / ((v / total) ** 2).sum()) if total > 0 else math.nan


def n_pc(variances: Tensor | np.ndarray, fraction: float = 0.9) -> int:
    """Return the number of principal components that hold ``fraction`` of the variance.

    Parameters
    ----------
    variances : array, shape (K,)
        Principal variances, falling.
    fraction : float, in (0, 1]
        Of the total; 0 components where there is no variance.

    Examples
    --------
    >>> n_pc(np.array([8.0, 1.0, 1.0]), 0.9)
    2
    """
    check_range("fraction", fraction, 0, 1, open_low=True)
    v = np.asarray(variances, dtype=float)
    if not v.sum() > 0:
        return 0
    held = np.cumsum(v) / v.sum()
    return min(int(np.searchsorted(held, fraction - 1e-12)) + 1, len(v))


def local_dimension(state: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the participation ratio of each point with its nearest neighbors, shape (S,).

    Parameters
    ----------
    state : array, shape (S, N)
        At least two distinct points.
    n_neighbors : int, >= 1
        Fewer where there are not as many.

    Examples
    --------
    >>> line = np.outer(np.arange(5.0), [1.0, 2.0])
    >>> local_dimension(line, 2).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    near = nearest_neighbors(state, min(n_neighbors, len(state) - 1))
    patches = np.concatenate([state[:, None], state[near]], axis=1)
    patches = patches - patches.mean(axis=1, keepdims=True)
    gram = patches @ patches.transpose(0, 2, 1)  # same nonzero eigenvalues as the covariance
    total = np.trace(gram, axis1=1, axis2=2)
    return total**2 / np.square(gram).sum(axis=(1, 2))
