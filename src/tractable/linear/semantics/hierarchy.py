"""Worlds that are trees: features that diffuse down the branches, and their spectrum, solved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tractable.core.checks import check_finite, check_range
from tractable.linear.inputs import check_count, random_numbers
from tractable.linear.semantics.tables import ItemTable

__all__ = [
    "TreeSpectrum",
    "hierarchical",
    "leaf_similarity",
    "tree_branches",
    "tree_spectrum",
    "ultrametric_features",
]

DEEPEST = 10_000  # levels
MOST_LEAVES = 2**53  # counted exactly
MOST_VALUES = 2**31  # drawn: 2 GB
NO_VALUE = -1e-12  # eigenvalues below: no such similarities exist


@dataclass(frozen=True, eq=False)
class TreeSpectrum:
    """Modes of a tree, level by level; made by `tree_spectrum`.

    Parameters
    ----------
    level : ndarray of int, shape (depth + 1,)
        0 is the root: all items alike; the last one tells single items apart.
    strength : ndarray, shape (depth + 1,)
        Singular value of each mode per square root of the number of features.
    degeneracy : ndarray of int, shape (depth + 1,)
        Modes of each level.
    similarity : ndarray, shape (depth + 1,)
        Similarity of two leaves whose nearest common ancestor is at each level.
    """

    level: np.ndarray
    strength: np.ndarray
    degeneracy: np.ndarray
    similarity: np.ndarray

    @property
    def n_items(self) -> int:
        """Number of leaves."""
        return int(self.degeneracy.sum())

    def learning_order(self) -> np.ndarray:
        """Return the levels in the order in which they are learned, strongest first."""
        return self.level[np.argsort(-self.strength, kind="stable")]


def hierarchical(
    branching: int | Sequence[int],
    depth: int,
    flip: float,
    n_features: int,
    rng: np.random.Generator | int = 0,
) -> ItemTable:
    """Draw features that diffuse down a tree: +1 or -1 at the root, flipped along each branch.

    Parameters
    ----------
    branching : int or sequence of int
        Branches of each node, >= 1; a sequence has one number for each level.
    depth : int
        Levels below the root, >= 1.
    flip : float
        Probability that a branch flips the feature, in [0, 1/2].
    n_features : int
        Independent features, >= 1.
    rng : Generator or int
        Or a seed.

    Returns
    -------
    ItemTable
        Leaves by features, +1 and -1; items are named by their path, such as ``0.1.1``.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> hierarchical(2, 3, 0.15, 100).Y.shape
    (8, 100)
    """
    branches = tree_branches(branching, depth)
    check_range("flip", flip, 0, 0.5)
    check_count("n_features", n_features)
    if math.prod(branches) * n_features > MOST_VALUES:
        raise ValueError(
            f"the tree has {math.prod(branches)} leaves, too many for n_features={n_features}: at "
            f"most {MOST_VALUES} values are drawn; take fewer levels, branches or features"
        )
    random = random_numbers("rng", rng)
    values = random.choice([-1, 1], (1, n_features)).astype(np.int8)
    names = [""]
    for b in branches:
        values = np.repeat(values, b, axis=0)
        values = np.where(random.random(values.shape) < flip, -values, values)
        names = [f"{name}.{i}" for name in names for i in range(b)]
    return ItemTable.of(values, [name[1:] for name in names])


def tree_spectrum(
    branching: int | Sequence[int],
    depth: int,
    flip: float | None = None,
    *,
    similarity: Sequence[float] | None = None,
) -> TreeSpectrum:
    r"""Return strengths and degeneracies of a tree's modes, without drawing it (L17).

    .. math:: \frac{\lambda_l}{N} = P \sum_{k \ge l} \frac{\Delta_k}{M_k}, \qquad
        \Delta_l = q_l - q_{l-1}, \quad \Delta_0 = q_0, \quad
        q_k = (1 - 4\epsilon(1-\epsilon))^{D-k}

    Parameters
    ----------
    branching : int or sequence of int
        Branches per node; one number or one for each level.
    depth : int
        Levels below the root, D.
    flip : float, optional
        Flip probability of each branch, in [0, 1/2].
    similarity : sequence of float, optional
        Instead of ``flip``: q of any kind, root first, depth + 1 numbers. Where it falls from one
        level to the next, the lower level is learned first (basic-level effect).

    Raises
    ------
    ValueError
        Arguments out of range; similarities that no features have (a negative eigenvalue).

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> tree_spectrum(2, 3, 0.15).strength.round(3)
    array([1.562, 1.225, 1.005, 0.714])
    >>> basic = tree_spectrum(2, 3, similarity=(0, -0.2, 0.8, 1))
    >>> (basic.strength**2).round(3), basic.learning_order()
    (array([1.4, 1.4, 2.2, 0.2]), array([2, 0, 1, 3]))
    """
    branches = tree_branches(branching, depth)
    if (flip is None) == (similarity is None):
        raise ValueError("give one of flip and similarity")
    if flip is not None:
        check_range("flip", flip, 0, 0.5)
        q = (1 - 4 * flip * (1 - flip)) ** np.arange(depth, -1, -1.0)
    else:
        q = np.array(similarity, dtype=float)
        check_finite("similarity", q)
        if q.shape != (depth + 1,):
            raise ValueError(f"similarity must hold {depth + 1} numbers, got {q.size}")
    nodes = np.cumprod([1, *branches])
    steps = np.diff(q, prepend=0.0)
    eigenvalues = nodes[-1] * np.cumsum((steps / nodes)[::-1])[::-1]
    if eigenvalues.min() < NO_VALUE:
        level = int(eigenvalues.argmin())
        raise ValueError(
            f"similarity is that of no features: the modes of level {level} have the eigenvalue "
            f"{eigenvalues[level]:.3g} < 0; relate siblings more closely"
        )
    degeneracy = np.diff(nodes, prepend=0)
    strength = np.sqrt(np.maximum(eigenvalues, 0.0))
    return TreeSpectrum(np.arange(depth + 1), strength, degeneracy, q)


def leaf_similarity(branching: int | Sequence[int], similarity: Sequence[float]) -> np.ndarray:
    """Return the similarity of all pairs of leaves, shape (P, P), by nearest common ancestor.

    Examples
    --------
    >>> leaf_similarity(2, (0.1, 0.5, 1.0))
    array([[1. , 0.5, 0.1, 0.1],
           [0.5, 1. , 0.1, 0.1],
           [0.1, 0.1, 1. , 0.5],
           [0.1, 0.1, 0.5, 1. ]])
    """
    branches = tree_branches(branching, len(similarity) - 1)
    matrix = np.full((1, 1), float(similarity[0]))
    for b, q in zip(branches, similarity[1:], strict=True):
        matrix = np.kron(matrix, np.ones((b, b)))
        np.fill_diagonal(matrix, q)
    return matrix


def ultrametric_features(
    branching: int | Sequence[int],
    similarity: Sequence[float],
    n_features: int,
    rng: np.random.Generator | int = 0,
) -> ItemTable:
    """Draw Gaussian features whose similarities are those of a tree, of any kind.

    Parameters
    ----------
    branching : int or sequence of int
        Branches per node.
    similarity : sequence of float
        Root first; see `tree_spectrum`.
    n_features : int
        Independent features, >= 1.
    rng : Generator or int
        Or a seed.

    Examples
    --------
    >>> ultrametric_features(2, (0, -0.2, 0.8, 1), 50).Y.shape
    (8, 50)
    """
    check_count("n_features", n_features)
    tree_spectrum(branching, len(similarity) - 1, similarity=similarity)  # refuses what is none
    values, vectors = np.linalg.eigh(leaf_similarity(branching, similarity))
    random = random_numbers("rng", rng)
    draws = random.standard_normal((len(values), n_features))
    return ItemTable.of((vectors * np.sqrt(np.maximum(values, 0.0))) @ draws)


def tree_branches(branching: int | Sequence[int], depth: int) -> list[int]:
    """Return the branches of each level as a list."""
    check_count("depth", depth)
    check_range("depth", depth, 1, DEEPEST)
    if isinstance(branching, float | np.floating):
        check_count("branching", branching)
    branches = [branching] * depth if isinstance(branching, int | np.integer) else list(branching)
    if len(branches) != depth:
        raise ValueError(f"branching must have {depth} numbers, one for each level: {branches}")
    for b in branches:
        check_count("branching", b)
    leaves = math.prod(int(b) for b in branches)
    if leaves > MOST_LEAVES:
        raise ValueError(
            f"branching and depth make about 10^{math.log10(leaves):.0f} leaves; up to 10^16 are "
            "counted exactly: take fewer levels or branches"
        )
    return [int(b) for b in branches]
