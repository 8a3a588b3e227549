"""Whether two learners of one world come to the same representation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from tractable.linear.simulation import Simulation

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["Conservation", "conservation"]


@dataclass(frozen=True, eq=False)
class Conservation:
    """Differences between networks; made by `conservation`.

    Parameters
    ----------
    hidden : ndarray, shape (n_pairs,)
        Relative Frobenius difference of hidden similarity, for each pair of networks.
    behavior : ndarray, shape (n_pairs,)
        The same of the similarity of outputs.
    square : ndarray, shape (n_networks,)
        Relative Frobenius difference of behavioral similarity and the square of hidden similarity:
        0 for balanced learning.
    """

    hidden: np.ndarray
    behavior: np.ndarray
    square: np.ndarray


def conservation(
    sim_a: Simulation, sim_b: Simulation | None = None, t: Numbers | None = None
) -> Conservation:
    r"""Compare the representations of networks at one time (L24).

    .. math:: \|\Sigma_h^A - \Sigma_h^B\|_F \,/\, \|\Sigma_h^A\|_F, \qquad
        \Sigma_{behavior} = \Sigma_h^2

    Networks that fit a map may hold it as W1 = Q sqrt(A) V^T, W2 = U sqrt(A) Q^-1 with any Q. From
    small weights learning ends where Q is orthogonal, and hidden similarity is conserved.

    Parameters
    ----------
    sim_a, sim_b : Simulation
        Networks of the same task; one alone compares its seeds with one another.
    t : float, optional
        The time; the last record if left out.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.
    """
    for name, sim in (("sim_a", sim_a), ("sim_b", sim_a if sim_b is None else sim_b)):
        if not isinstance(sim, Simulation):
            raise TypeError(f"{name} must be a Simulation, got {type(sim).__name__}")
    when = sim_a.t[-1:] if t is None else np.atleast_1d(np.asarray(t, dtype=float))
    if len(when) != 1:
        raise ValueError(f"t must be one time, got {len(when)}")
    both = [sim_a] if sim_b is None or sim_b is sim_a else [sim_a, sim_b]
    if sim_b is not None and sim_b.dynamics.cov_yx.shape != sim_a.dynamics.cov_yx.shape:
        raise ValueError("sim_b must be a simulation of the same task as sim_a")
    hidden = [sim.hidden_similarity(when)[:, 0] for sim in both]
    behavior = [sim.behavioral_similarity(when)[:, 0] for sim in both]
    if len(both) == 1 and len(hidden[0]) < 2:
        raise ValueError("sim_a must hold two seeds or more, or give sim_b")

    def differences(found: list[np.ndarray]) -> np.ndarray:
        pairs = combinations(found[0], 2) if len(found) == 1 else product(*found)
        return np.array([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in pairs])

    square = [
        np.linalg.norm(b - h @ h) / np.linalg.norm(b)
        for some, others in zip(hidden, behavior, strict=True)
        for h, b in zip(some, others, strict=True)
    ]
    return Conservation(differences(hidden), differences(behavior), np.array(square))
