"""When a category can be learned at all: a block of shared features against everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.linear.arrays import as_float64
from tractable.linear.names import pick
from tractable.linear.spikes import spike_forward

__all__ = ["Coherence", "category_coherence", "coherence"]


@dataclass(frozen=True)
class Coherence:
    """Whether a category stands out; made by `coherence`.

    Parameters
    ----------
    coherence : float
        C; learnable above 1.
    overlap_items, overlap_features : float
        abs(cosine) of the learned item and feature vectors with the category's own, not squared.
    learnable : bool
        C > 1.
    """

    coherence: float
    overlap_items: float
    overlap_features: float
    learnable: bool


def coherence(
    n_items: int, n_features: int, k_items: int, k_features: int, p: float, q: float
) -> Coherence:
    r"""Return the coherence of a category and how well it can be learned (L22).

    .. math:: C = \frac{(p - q)^2}{q\,(1 - q)}\,\frac{K_o K_f}{\sqrt{N_o N_f}}

    A spike of s^2 = C sqrt(A) in noise of aspect A = N_f / N_o.

    Parameters
    ----------
    n_items, n_features : int
        Size of the table.
    k_items, k_features : int
        Size of the category's block; k_items = 1 is a single item with features of its own.
    p, q : float
        Probability of a feature inside the block, in [0, 1], and outside, in (0, 1).

    Notes
    -----
    The limit of large tables with blocks that are small in them: the noise is taken to have the
    variance q (1 - q) everywhere.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> found = coherence(500, 800, 100, 120, p=0.5, q=0.3)
    >>> round(found.coherence, 2), round(found.overlap_items**2, 3), found.learnable
    (3.61, 0.758, True)
    >>> coherence(500, 800, 100, 120, p=0.4, q=0.3).learnable
    False
    """
    check_count("n_items", n_items)
    check_count("n_features", n_features)
    check_count("k_items", k_items)
    check_range("k_items", k_items, 1, n_items)
    check_count("k_features", k_features)
    check_range("k_features", k_features, 1, n_features)
    check_range("p", p, 0, 1)
    check_range("q", q, 0, 1, open_low=True, open_high=True)
    ratio = (p - q) ** 2 / (q * (1 - q))
    C = ratio * k_items * k_features / np.sqrt(n_items * n_features)
    aspect = n_features / n_items
    spike = spike_forward(np.sqrt(C * np.sqrt(aspect)), aspect)
    return Coherence(float(C), float(spike.overlap_in), float(spike.overlap_out), bool(C > 1))


def category_coherence(Y: np.ndarray, items: Sequence[int], features: Sequence[int]) -> Coherence:
    """Return the coherence of a category in a table of ones and zeros.

    Parameters
    ----------
    Y : array, shape (P, F)
        Rows are items; entries within [0, 1].
    items, features : sequence of int
        The block: members, and the features that they share. Neither may be empty.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> table = eight_things()
    >>> birds = [4, 5]
    >>> shared = [f for f in range(36) if table.Y[birds, f].all()]
    >>> round(category_coherence(table.Y, birds, shared).coherence, 2)
    3.15
    """
    table = as_float64("Y", Y, low=0)
    if table.ndim != 2 or table.max(initial=0) > 1:
        raise ValueError("Y must be a table (items, features) with entries within [0, 1]")
    for name, block in (("items", items), ("features", features)):
        if not len(block):
            raise ValueError(f"{name} must not be empty: a category needs members and features")
    members = np.unique(pick("items", items, (), len(table)))
    shared = np.unique(pick("features", features, (), table.shape[1]))
    inside = np.zeros(table.shape, dtype=bool)
    inside[np.ix_(members, shared)] = True
    if inside.all():
        raise ValueError("items and features must leave something outside of the category")
    q = float(table[~inside].mean())
    if not 0 < q < 1:
        raise ValueError(f"Y must vary outside of the category; its mean there is {q:g}")
    p = float(table[inside].mean())
    return coherence(len(table), table.shape[1], len(members), len(shared), p, q)
