"""Where learning starts, and which solution is valid from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tractable.linear.arrays import as_float64
from tractable.linear.correlations import Correlations, inverse_root
from tractable.linear.flow import BALANCE
from tractable.linear.modes import Modes
from tractable.linear.weights import balance_error, effective_strengths, product

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["Start", "chosen_method", "start_of_model"]

ALIGNED = 1e-9  # relative size of what lies outside the modes
ROUNDING = 1e-12  # relative coupling of modes below which they have none
SMALL = 0.02  # initial strength over the strongest mode's
NOTABLE = 0.1  # initial strength over a mode's own: its time is rough beyond
CROWDED = 0.25  # see `crowding`
CROWDED_NARROW = 0.04  # where modes compete for fewer hidden units: which one wins decides it all


@dataclass(frozen=True, eq=False)
class Start:
    """A start of learning.

    Parameters
    ----------
    strengths : ndarray, shape (K,)
        Of the product in each mode.
    modes : Modes
        Of the task.
    depth : int
        Number of weight matrices.
    weights : tuple of ndarray
        A model's own; empty for an aligned, balanced start of these strengths.
    aligned, small : bool
        Whether the weights are aligned and balanced; whether they are small with one hidden layer.
    balance : float
        Deviation of W2^T W2 - W1 W1^T from a multiple of the identity, over the weights' size.
    crowded : bool
        Whether modes of a small start share hidden directions and rise at about the same time.
    """

    strengths: np.ndarray
    modes: Modes
    depth: int
    weights: tuple[np.ndarray, ...] = ()
    aligned: bool = True
    small: bool = False
    balance: float = 0.0
    crowded: bool = False

    @classmethod
    def of_strengths(cls, modes: Modes, init_strength: Numbers | None, depth: int) -> Self:
        """Return the aligned, balanced start of given strengths."""
        given = as_float64("init_strength", 1e-3 if init_strength is None else init_strength)
        if given.size and given.min() <= 0:
            raise ValueError(
                f"init_strength must be > 0, got {given.min():g}: from exactly 0 a deep network "
                "never leaves its saddle"
            )
        if given.ndim and given.shape != modes.s.shape:
            raise ValueError(
                f"init_strength must be one number or have shape ({len(modes.s)},), one for each "
                f"mode, got shape {given.shape}"
            )
        return cls(np.broadcast_to(given, modes.s.shape).copy(), modes, depth)

    def matrices(self) -> list[np.ndarray]:
        """Return the layers, first one first: the model's own, or balanced ones."""
        if self.weights:
            return list(self.weights)
        root = self.strengths ** (1 / self.depth)
        if self.depth == 1:
            return [(self.modes.U * self.strengths) @ self.modes.V.T]
        middle = [np.diag(root) for _ in range(self.depth - 2)]
        return [root[:, None] * self.modes.V.T, *middle, self.modes.U * root]


def start_of_model(modes: Modes, weights: Sequence[np.ndarray], *, white: bool) -> Start:
    """Return the start that a model's weights are; white says whether Sigma_x is c times I."""
    depth, whole = len(weights), product(weights)
    diagonal = np.einsum("fa,fi,ia->a", modes.U, whole, modes.V)
    size = np.linalg.norm(whole)
    outside = np.linalg.norm(whole - (modes.U * diagonal) @ modes.V.T)
    balanced = depth == 1 or balance_error(weights) <= BALANCE
    aligned = bool(outside <= ALIGNED * size) and balanced and bool((diagonal >= 0).all())
    balance = 0.0
    if depth == 2:
        first, second = weights
        gap = second.T @ second - first @ first.T
        gap -= np.trace(gap) / len(gap) * np.eye(len(gap))
        scale = max(np.linalg.norm(first) ** 2, np.linalg.norm(second) ** 2) or 1.0
        balance = float(np.linalg.norm(gap) / scale)
    strengths, small, crowded = diagonal, False, False
    if depth == 2 and white and not aligned:
        strengths = effective_strengths(modes.U, modes.V, *weights)
        largest = max(np.linalg.norm(W, 2) ** 2 for W in weights)
        strongest = modes.s.max(initial=0.0) / max(modes.lam.max(initial=0.0), 1e-300)
        small = bool(largest <= SMALL * strongest)
        crowded = _is_crowded(modes, *weights)
    return Start(strengths, modes, depth, tuple(weights), aligned, small, balance, crowded)


def crowding(modes: Modes, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    r"""Return how much of each mode's hidden direction is still in use when it rises, shape (K,).

    .. math:: \sum_{j<k} \frac{R_{jk}^2}{R_{jk}^2 + R_{kk}^2}
        \left(\frac{\lambda a_{0,j}}{s_j}\right)^{(s_j - s_k) / s_j}

    With R of (L16). The second factor is how far mode k has come, for its start, when mode j is
    learned: 1 for equal strengths, where the order of learning that (L16) assumes does not exist.

    Examples
    --------
    >>> from tractable.linear.modes import task_modes
    >>> W = 0.01 * np.ones((1, 2))  # one hidden unit for two modes
    >>> apart, alike = (task_modes(np.diag([2.0, s]), np.eye(2)) for s in (1.0, 2.0))
    >>> crowding(apart, W, W.T).round(2), crowding(alike, W, W.T).round(2)
    (array([0.  , 0.01]), array([0., 1.]))
    """
    active = modes.s > 0
    s, lam = modes.s[active], modes.lam[active]
    R = np.linalg.qr((W1 @ modes.V + W2.T @ modes.U)[:, active] / 2, mode="r")
    own = np.zeros(len(s))
    own[: len(R)] = np.diag(R) ** 2
    used = np.triu(R, 1)[:, : len(s)] ** 2
    share = used / np.where(used > 0, used + own, 1.0)
    begun = np.clip(lam * own / s, 1e-300, 1.0)[: len(R), None]
    gap = np.maximum(1 - s / s[: len(R), None], 0.0)
    result = np.zeros(len(modes.s))
    result[active] = (share * begun**gap).sum(0)
    return result


def _is_crowded(modes: Modes, W1: np.ndarray, W2: np.ndarray) -> bool:
    """Return whether `crowding` is too large for (L16)."""
    found = crowding(modes, W1, W2)
    fit = len(W1)  # so many modes find a hidden unit
    return bool((found[:fit] > CROWDED).any() or (found[fit:] > CROWDED_NARROW).any())


def chosen_method(
    found: Correlations, modes: Modes, start: Start, tol: float, wanted: str
) -> tuple[str, str, list[str]]:
    """Return the method, why, and what the user must know.

    Raises
    ------
    ValueError
        The method wanted does not hold here.
    """
    notes: list[str] = []
    whiteness = found.whiteness()
    coupled = ROUNDING < modes.residual <= tol < np.inf and whiteness > tol
    missed = _missed(found, modes) if coupled else 0.0
    white, decoupled = whiteness <= tol, modes.residual <= tol and missed <= tol
    if modes.residual <= tol < missed:
        notes.append(
            f"the inputs are nearly collinear: {missed:.2g} of what can be learned lies in faint "
            f"directions of the inputs that are no modes of the task (allowed {tol:g}): the closed "
            "form does not hold; whiten=True learns from whitened inputs instead"
        )
    elif not decoupled:
        notes.append(
            f"the inputs are correlated across the task's modes (Sigma_x V - V diag(lam) is "
            f"{modes.residual:.2g} of Sigma_x V, allowed {tol:g}; whiteness {whiteness:.2g}): the "
            "closed form does not hold; whiten=True learns from whitened inputs instead"
        )
    final = modes.s / np.where(modes.lam > 0, modes.lam, 1.0)
    strong = (start.strengths > final) & (modes.s > 0)
    if strong.any() and not start.weights:
        notes.append(
            f"init_strength exceeds the final strength of {int(strong.sum())} of "
            f"{int((modes.s > 0).sum())} modes, which therefore decay"
        )
    if wanted == "aligned":
        if start.weights and not (start.aligned or start.small):
            raise ValueError(
                "method 'aligned' does not hold for this model: its weights are neither aligned "
                "with the task nor small with one hidden layer and white inputs; use method='ode'"
            )
        if not decoupled:
            notes[0] += "; method='aligned' was asked for: what follows is an approximation"
        if start.weights and not start.aligned:
            if start.crowded:
                notes.append(
                    "modes of nearly equal strength share hidden directions, so the order of "
                    "learning is not that of the strengths; method='aligned' was asked for: what "
                    "follows is an approximation"
                )
            notes += _rough_modes(start, final)
        return "aligned", "asked for", notes
    if wanted == "riccati":
        if start.depth != 2 or not white or start.balance > BALANCE:
            raise ValueError(
                f"method 'riccati' needs two layers (here {start.depth}), white inputs (whiteness "
                f"{whiteness:.2g}, allowed {tol:g}) and balanced weights (deviation "
                f"{start.balance:.2g}, allowed {BALANCE:g}); use method='ode'"
            )
        return "riccati", "asked for", notes
    if wanted == "ode":
        return "ode", "asked for", notes
    if start.aligned and decoupled:
        return "aligned", "the start is aligned and the inputs decouple: the closed form", notes
    if start.aligned:
        return "ode", "the inputs are correlated: the flow is integrated", notes
    if start.depth == 2 and white and start.balance <= BALANCE:
        return "riccati", "two balanced layers, white inputs: the exact Riccati solution", notes
    if start.small and start.crowded:
        reason = (
            "modes of nearly equal strength share hidden directions, so the effective strengths "
            "of a small start do not hold: the flow is integrated"
        )
        return "ode", reason, notes
    if start.small:
        notes += _rough_modes(start, final)
        reason = (
            "a small start with one hidden layer and white inputs: closed form from the effective "
            "strengths (Gram-Schmidt in the order of learning)"
        )
        return "aligned", reason, notes
    return "ode", "the start is not aligned: the flow is integrated", notes


def _missed(found: Correlations, modes: Modes) -> float:
    r"""Return the share of what can be learned that uncoupled modes leave out.

    .. math:: 1 - \sum_a s_a^2 / \lambda_a \;/\; \sum_a s_a^2\, v_a^\top \Sigma_x^+ v_a

    A faint direction hardly turns Sigma_x v away from v, and may still hold most of the solution.
    """
    active = modes.s > 0
    if not active.any():
        return 0.0
    s, lam = modes.s[active], modes.lam[active]
    whole = s**2 @ np.sum((inverse_root(found.cov_x) @ modes.V[:, active]) ** 2, 0)
    return float(1 - np.sum(s**2 / np.where(lam > 0, lam, np.inf)) / whole)


def _rough_modes(start: Start, final: np.ndarray) -> list[str]:
    """Return a note where the start is not small beside modes that are weaker than others."""
    rough = (start.strengths > NOTABLE * final) & (start.modes.s > 0)
    if not rough.any():
        return []
    return [
        f"the start is not small beside the final strength of {int(rough.sum())} of "
        f"{int((start.modes.s > 0).sum())} modes: their times are rough; method='ode' is exact"
    ]
