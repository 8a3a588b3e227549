"""Worlds of other forms: clusters, trees, rings, chains, grids, cross-cutting properties.

A feature is a Gaussian field on a graph: items that are connected tend to share it. The modes are
the graph's own, so that what a network has learned shows in the layout of its hidden similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as combinations

import numpy as np

from tractable.core.checks import check_range
from tractable.linear.arrays import as_float64
from tractable.linear.inputs import check_count, random_numbers
from tractable.linear.semantics.hierarchy import tree_branches
from tractable.linear.semantics.tables import ItemTable

__all__ = [
    "Structure",
    "chain",
    "clusters",
    "crosscut",
    "gaussian_structure",
    "grid",
    "ring",
    "tree",
]

MOST_NODES = 10_000  # matrices of all pairs: 0.8 GB each


@dataclass(frozen=True, eq=False)
class Structure:
    """A form of the world, from which features are drawn.

    Parameters
    ----------
    name : str
        Of the form.
    graph : ndarray, shape (n_nodes, n_nodes)
        Weights of the edges; the items are the first nodes, latent nodes follow.
    covariance : ndarray, shape (P, P)
        Of one feature over the items.
    binary : bool
        Features are +1 and -1 instead of Gaussian.
    attributes : ndarray or None
        For cross-cutting forms: the +-1 attributes of the items, shape (P, D).
    shares : ndarray or None
        The share of features that follow each attribute, shape (D,).
    """

    name: str
    graph: np.ndarray
    covariance: np.ndarray
    binary: bool = False
    attributes: np.ndarray | None = None
    shares: np.ndarray | None = None

    @property
    def n_items(self) -> int:
        """Number of items P."""
        return len(self.covariance)

    def spectrum(self) -> np.ndarray:
        r"""Return the eigenvalues of the Gram matrix per feature, descending, shape (P,) (L23).

        Singular values of N features are their square roots times sqrt(N).
        """
        return np.linalg.eigvalsh(self.covariance)[::-1].clip(min=0.0)

    def strengths(self, n_features: int) -> np.ndarray:
        """Return the expected association strengths s = sqrt(N eigenvalue) / P, shape (P,)."""
        check_count("n_features", n_features)
        return np.sqrt(n_features * self.spectrum()) / self.n_items

    def features(self, n: int, rng: np.random.Generator | int = 0) -> ItemTable:
        """Draw ``n`` independent features of all items.

        Examples
        --------
        >>> ring(12).features(30).Y.shape
        (12, 30)
        """
        check_count("n", n)
        random = random_numbers("rng", rng)
        if self.attributes is not None and self.shares is not None:
            which = random.choice(len(self.shares), size=n, p=self.shares)
            sign = random.choice([-1.0, 1.0], n)
            return ItemTable.of(self.attributes[:, which] * sign)
        values, vectors = np.linalg.eigh(self.covariance)
        draws = random.standard_normal((self.n_items, n))
        return ItemTable.of((vectors * np.sqrt(values.clip(min=0.0))) @ draws)


def gaussian_structure(
    graph: np.ndarray, sg: float = 2.0, *, n_items: int | None = None, name: str = "graph"
) -> Structure:
    r"""Return a Gaussian field on a graph (L23).

    .. math:: \Phi = \mathrm{Lap} + I/\sigma^2, \qquad y \sim N(0, \Phi^{-1})

    Parameters
    ----------
    graph : array, shape (n_nodes, n_nodes)
        Symmetric weights of edges, >= 0; the diagonal is ignored.
    sg : float
        Standard deviation sigma of a node without edges, > 0.
    n_items : int, optional
        The first nodes are items; the others are latent, and are integrated out.
    name : str
        Of the form.

    References
    ----------
    Kemp, Tenenbaum 2008, doi:10.1073/pnas.0802631105; Saxe, McClelland, Ganguli 2019,
    arXiv:1810.10531.

    Examples
    --------
    >>> pair = gaussian_structure(np.array([[0, 1], [1, 0]]), sg=1.0)
    >>> pair.spectrum().round(4)
    array([1.    , 0.3333])
    """
    check_range("sg", sg, 0, open_low=True)
    weights = as_float64("graph", graph, low=0)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise ValueError(f"graph must be square, got shape {weights.shape}")
    if not np.allclose(weights, weights.T):
        raise ValueError("graph must be symmetric: an edge has one weight")
    weights = weights - np.diag(np.diag(weights))
    n = len(weights) if n_items is None else n_items
    check_count("n_items", n)
    check_range("n_items", n, 1, len(weights))
    precision = np.diag(weights.sum(0)) - weights + np.eye(len(weights)) / sg**2
    covariance = np.linalg.inv(precision)[:n, :n]
    return Structure(name, weights, (covariance + covariance.T) / 2)


def _check_nodes(of: str, nodes: int) -> None:
    """Refuse graphs whose matrices of all pairs no desktop can hold."""
    if nodes > MOST_NODES:
        raise ValueError(f"{of} make {nodes} nodes; at most {MOST_NODES} are allowed")


def clusters(n_clusters: int = 3, size: int = 5, weight: float = 1.0, sg: float = 2.0) -> Structure:
    """Return disjoint groups, all of whose members are connected.

    Examples
    --------
    >>> clusters(2, 3).spectrum().round(3)  # 2 of groups as a whole, 4 within them
    array([4.   , 4.   , 0.308, 0.308, 0.308, 0.308])
    """
    check_count("n_clusters", n_clusters)
    check_count("size", size)
    _check_nodes(f"n_clusters={n_clusters} and size={size}", n_clusters * size)
    graph = np.kron(np.eye(n_clusters), weight * (np.ones((size, size)) - np.eye(size)))
    return gaussian_structure(graph, sg, name="clusters")


def ring(n: int = 12, weight: float = 1.0, sg: float = 2.0) -> Structure:
    r"""Return items around a circle: the modes are Fourier modes, in pairs.

    .. math:: \ell_k = 2w\,(1 - \cos 2\pi k/P)

    Examples
    --------
    >>> ring(12).spectrum()[:5].round(3)
    array([4.   , 1.931, 1.931, 0.8  , 0.8  ])
    """
    check_count("n", n, 3)
    _check_nodes(f"n={n}", n)
    graph = weight * np.roll(np.eye(n), 1, axis=1)
    return gaussian_structure(graph + graph.T, sg, name="ring")


def chain(n: int = 12, weight: float = 1.0, sg: float = 2.0) -> Structure:
    """Return items in an order: neighbors are alike.

    Examples
    --------
    >>> chain(3, sg=1.0).spectrum().round(3)
    array([1.  , 0.5 , 0.25])
    """
    check_count("n", n, 2)
    _check_nodes(f"n={n}", n)
    graph = weight * np.eye(n, k=1)
    return gaussian_structure(graph + graph.T, sg, name="chain")


def grid(rows: int = 5, columns: int = 5, weight: float = 1.0, sg: float = 2.0) -> Structure:
    """Return items on a plane, connected to four neighbors.

    Examples
    --------
    >>> grid(2, 2, sg=1.0).spectrum().round(3)
    array([1.   , 0.333, 0.333, 0.2  ])
    """
    check_count("rows", rows)
    check_count("columns", columns)
    _check_nodes(f"rows={rows} and columns={columns}", rows * columns)
    path = [np.eye(n, k=1) + np.eye(n, k=-1) for n in (rows, columns)]
    graph = np.kron(path[0], np.eye(columns)) + np.kron(np.eye(rows), path[1])
    return gaussian_structure(weight * graph, sg, name="grid")


def tree(
    branching: int | Sequence[int] = 2, depth: int = 3, weight: float = 1.0, sg: float = 2.0
) -> Structure:
    """Return the leaves of a tree whose inner nodes are latent.

    Examples
    --------
    >>> values = tree(2, 2).spectrum()
    >>> bool(np.isclose(values[2], values[3])), tree(2, 2).n_items
    (True, 4)
    """
    branches = tree_branches(branching, depth)
    counts = np.cumprod([1, *branches])
    offsets = {depth: 0}  # leaves first
    position = int(counts[-1])
    for level in range(depth - 1, -1, -1):
        offsets[level] = position
        position += int(counts[level])
    _check_nodes("branching and depth", position)
    graph = np.zeros((position, position))
    for level, b in enumerate(branches):
        for child in range(counts[level + 1]):
            i, j = offsets[level + 1] + child, offsets[level] + child // b
            graph[i, j] = graph[j, i] = weight
    return gaussian_structure(graph, sg, n_items=int(counts[-1]), name="tree")


def crosscut(n_attributes: int = 3, shares: Sequence[float] | None = None) -> Structure:
    r"""Return all combinations of binary attributes; each feature follows one attribute.

    The Gram matrix has the eigenvalues N P times the shares, and its modes are the attributes:
    partitions that cut across one another.

    Parameters
    ----------
    n_attributes : int
        D from 1 to 13; there are 2^D items.
    shares : sequence of float, optional
        Share of features that follow each attribute, adding up to 1; by default falling as 4:2:1.

    Examples
    --------
    >>> crosscut(3).spectrum()[:4].round(3)
    array([4.571, 2.286, 1.143, 0.   ])
    """
    check_count("n_attributes", n_attributes)
    check_range("n_attributes", n_attributes, 1, 13)  # 8,192 items
    weights = 0.5 ** np.arange(n_attributes) if shares is None else np.array(shares, dtype=float)
    if weights.shape != (n_attributes,) or not (weights >= 0).all() or weights.sum() <= 0:
        raise ValueError(f"shares must be {n_attributes} numbers >= 0, got {shares}")
    weights = weights / weights.sum()
    attributes = np.array(list(combinations([1.0, -1.0], repeat=n_attributes)))
    covariance = (attributes * weights) @ attributes.T
    graph = (attributes @ attributes.T == n_attributes - 2).astype(float)  # one attribute differs
    return Structure("crosscut", graph, covariance, True, attributes, weights)
