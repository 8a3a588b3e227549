"""The order in which distinctions appear, and the paths of items through the hidden space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.linear.inputs import check_dynamics
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.mode_readers import first_passage
from tractable.linear.semantics.categories import typicality
from tractable.linear.simulation import Simulation

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = [
    "Differentiation",
    "class_separation",
    "differentiation_order",
    "mds_trajectory",
    "separation_times",
]

N_TIMES = 2000


@dataclass(frozen=True, eq=False)
class Differentiation:
    """When each distinction is made; made by `differentiation_order`, earliest first.

    Parameters
    ----------
    name : tuple of str
        The distinctions.
    time : ndarray, shape (n,)
        When the classes are half as far apart as in the end.
    mode : ndarray of int, shape (n,)
        The mode that carries most of the final separation.
    share : ndarray, shape (n,)
        Its share, in [0, 1].
    """

    name: tuple[str, ...]
    time: np.ndarray
    mode: np.ndarray
    share: np.ndarray


def class_separation(dyn: ModeDynamics, labels: Sequence[object]) -> np.ndarray:
    """Return how much each mode separates classes of items, shape (K,), per unit of strength.

    The mean squared distance of the class centers from their common center, along each mode.

    Examples
    --------
    >>> from tractable.linear.semantics import toy_items
    >>> class_separation(toy_items().dynamics(), ["animal", "animal", "plant", "plant"]).round(3)
    array([0.  , 0.25, 0.  , 0.  ])
    """
    loadings = typicality(dyn)
    if len(labels) != len(loadings):
        raise ValueError(f"labels must have {len(loadings)} entries, got {len(labels)}")
    names = sorted({str(label) for label in labels})
    if len(names) < 2:
        raise ValueError(f"labels must name two classes or more, got {names}")
    found = np.array([str(label) for label in labels])
    centers = np.stack([loadings[found == name].mean(0) for name in names])
    weights = np.array([np.mean(found == name) for name in names])
    return weights @ (centers - weights @ centers) ** 2


def differentiation_order(
    dyn: ModeDynamics, labels: Mapping[str, Sequence[object]]
) -> Differentiation:
    r"""Return when each distinction is made in the hidden representation, earliest first (L18).

    .. math:: D(t) = \sum_a a_a(t)\, \sum_c w_c\, (\bar v_{ca} - \bar v_a)^2

    Parameters
    ----------
    dyn : ModeDynamics
        One hidden layer or more.
    labels : mapping of str to sequence
        For each distinction the class of every item, such as
        ``{"plant or animal": ["plant", ..., "animal"]}``.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> distinctions = {"bird, fish": "ppppbbff", "kingdom": "ppppaaaa"}
    >>> found = differentiation_order(eight_things().dynamics(), distinctions)
    >>> found.name, found.time.round(1)
    (('kingdom', 'bird, fish'), array([5.6, 6.3]))
    """
    check_dynamics("dyn", dyn)
    final = dyn.final_strength()
    times = _times(dyn)
    strengths = dyn.strengths(times)
    names, when, modes, shares = [], [], [], []
    if not hasattr(labels, "items"):
        raise TypeError(
            "labels must map names of distinctions to classes of the items, got "
            f"{type(labels).__name__}"
        )
    for name, classes in labels.items():
        weights = class_separation(dyn, classes)
        parts = weights * final
        total = float(parts.sum())
        names.append(name)
        when.append(first_passage(times, weights @ strengths, total / 2) if total > 0 else np.inf)
        modes.append(int(parts.argmax()))
        shares.append(float(parts.max() / total) if total > 0 else 0.0)
    order = np.argsort(when, kind="stable")
    return Differentiation(
        tuple(names[i] for i in order),
        np.array(when)[order],
        np.array(modes)[order],
        np.array(shares)[order],
    )


def separation_times(dyn: ModeDynamics, frac: float = 0.5) -> np.ndarray:
    r"""Return when each pair of items is told apart in the hidden code, shape (P, P) (L18).

    .. math:: d_{ij}(t) = \sum_a a_a(t)\,(v_{ia} - v_{ja})^2

    The time at which this squared distance first has the fraction ``frac`` of its final value;
    infinite for items that never differ, 0 on the diagonal.

    Examples
    --------
    >>> from tractable.linear.semantics import toy_items
    >>> separation_times(toy_items().dynamics()).round(2)[0]  # canary: from salmon, oak, rose
    array([ 0.  , 11.03,  7.92,  7.92])
    """
    check_range("frac", frac, 0, 1, open_low=True, open_high=True)
    loadings = typicality(dyn)
    times = _times(dyn)
    strengths = dyn.strengths(times)
    n = len(loadings)
    result = np.zeros((n, n))
    final = dyn.final_strength()
    for i in range(n):
        for j in range(i):
            squares = (loadings[i] - loadings[j]) ** 2
            goal = frac * float(squares @ final)
            same = goal <= 1e-12
            found = np.inf if same else first_passage(times, squares @ strengths, goal)
            result[i, j] = result[j, i] = found
    return result


def mds_trajectory(dyn: ModeDynamics | Simulation, t: Numbers, dim: int = 2) -> np.ndarray:
    """Return the paths of the items in a plane, shape (T, P, dim), from hidden similarity.

    Classical scaling of every frame, deterministic; each frame is turned onto the next one, from
    the last to the first, so that the paths are smooth.

    Parameters
    ----------
    dyn : ModeDynamics or Simulation
        Of a simulation the first seed is taken.
    t : array, shape (T,)
        Times.
    dim : int
        Dimensions, 1 .. P.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; Torgerson 1952, doi:10.1007/BF02288916.

    Examples
    --------
    >>> from tractable.linear.semantics import eight_things
    >>> mds_trajectory(eight_things().dynamics(), np.linspace(0, 40, 9)).shape
    (9, 8, 2)
    """
    check_dynamics("dyn", dyn, simulated=True)
    similarity = dyn.hidden_similarity(t)
    if isinstance(dyn, Simulation):
        similarity = similarity[0]
        task = dyn.dynamics
    else:
        task = dyn
    if task.inputs is not None:
        inputs = np.asarray(task.inputs, dtype=float)
        seen = inputs if task.whitening is None else inputs @ task.whitening
        similarity = seen @ similarity @ seen.T
    n = similarity.shape[-1]
    check_count("dim", dim)
    check_range("dim", dim, 1, n)
    center = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(center @ similarity @ center)
    top = np.sqrt(values[:, ::-1][:, :dim].clip(min=0.0))
    frames = vectors[:, :, ::-1][:, :, :dim] * top[:, None]
    for k in range(len(frames) - 2, -1, -1):
        left, _, right = np.linalg.svd(frames[k].T @ frames[k + 1])
        frames[k] = frames[k] @ (left @ right)
    return frames


def _times(dyn: ModeDynamics) -> np.ndarray:
    rise = dyn.time_to(0.95)
    rise = rise[np.isfinite(rise)]
    return np.linspace(0, 1.5 * float(rise.max(initial=dyn.tau)), N_TIMES)
