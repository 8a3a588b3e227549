"""Typical items and the prototypes of categories: two sides of one mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tractable.linear.inputs import check_dynamics
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.names import pick

__all__ = ["CategoryTypicality", "category_typicality", "prototypes", "typicality"]


def typicality(dyn: ModeDynamics) -> np.ndarray:
    r"""Return how typical each item is of each mode's distinction, shape (P, K) (L21).

    .. math:: v_{ia} = \frac{1}{P s_a} \sum_f u_{fa}\, y_{fi}

    The sign is the side of the distinction. Typical items are learned sooner: the contribution of
    mode a to the belief that i has f is a_a(t) u_fa v_ia.

    Parameters
    ----------
    dyn : ModeDynamics
        Of a table, or of data whose examples are the items.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import toy_items
    >>> typicality(toy_items().dynamics()).shape
    (4, 4)
    """
    check_dynamics("dyn", dyn)
    if dyn.inputs is None:
        return dyn.V
    inputs = np.asarray(dyn.inputs, dtype=float)
    seen = inputs if dyn.whitening is None else inputs @ dyn.whitening
    loadings: np.ndarray = seen @ dyn.V
    norm = np.linalg.norm(loadings, axis=0)
    return loadings / np.where(norm > 0, norm, 1.0)


def prototypes(dyn: ModeDynamics) -> np.ndarray:
    r"""Return the features of each mode's prototype, shape (F, K) (L21).

    .. math:: u_{fa} = \frac{1}{P s_a} \sum_i v_{ia}\, y_{fi}

    Typical items weigh more in the prototype; the two definitions feed on each other.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import toy_items
    >>> prototypes(toy_items().dynamics()).shape
    (7, 4)
    """
    check_dynamics("dyn", dyn)
    return dyn.U


@dataclass(frozen=True, eq=False)
class CategoryTypicality:
    """Typicality of a category's members; see `category_typicality`.

    Parameters
    ----------
    members : ndarray of int, shape (m,)
        Numbers of the items.
    mode : int
        The mode that tells the category from everything else best.
    correlation : float
        Of that mode's analyzer with membership, in [0, 1].
    typicality : ndarray, shape (m,)
        v_ia of the members, with the category on the positive side.
    """

    members: np.ndarray
    mode: int
    correlation: float
    typicality: np.ndarray


def category_typicality(dyn: ModeDynamics, items: Sequence[int | str]) -> CategoryTypicality:
    """Return how typical the members of a category are, by the mode that carries it.

    Parameters
    ----------
    dyn : ModeDynamics
        Of all items.
    items : sequence of int or str
        The members; some items must be outside.

    Raises
    ------
    ValueError
        The category is empty, or holds everything.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> plants = category_typicality(eight_things().dynamics(), ["pine", "oak", "rose", "daisy"])
    >>> plants.mode, round(plants.correlation, 3)
    (1, 0.998)
    """
    loadings = typicality(dyn)
    members = pick("items", items, dyn.items, len(loadings))
    if not 0 < len(set(members.tolist())) < len(loadings):
        raise ValueError(
            f"items must be a category: some of the {len(loadings)} items, not {len(members)}"
        )
    inside = np.zeros(len(loadings))
    inside[members] = 1.0
    inside -= inside.mean()
    centered = loadings - loadings.mean(0)
    size = np.linalg.norm(centered, axis=0) * np.linalg.norm(inside)
    correlation = inside @ centered / np.where(size > 1e-12, size, np.inf)
    correlation = np.where(dyn.s > 0, correlation, 0.0)
    mode = int(np.abs(correlation).argmax())
    sign = np.sign(correlation[mode]) or 1.0
    return CategoryTypicality(
        members, mode, float(abs(correlation[mode])), sign * loadings[members, mode]
    )
