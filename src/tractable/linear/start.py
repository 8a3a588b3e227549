"""Where learning starts, and which solution is valid from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tractable.linear.arrays import as_float64
from tractable.linear.correlations import Correlations
from tractable.linear.flow import BALANCE
from tractable.linear.modes import Modes
from tractable.linear.weights import balance_error, effective_strengths, product

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["Start", "chosen_method", "start_of_model"]

ALIGNED = 1e-9  # relative size of what lies outside the modes
SMALL = 0.02  # initial strength over the strongest mode's


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
    """

    strengths: np.ndarray
    modes: Modes
    depth: int
    weights: tuple[np.ndarray, ...] = ()
    aligned: bool = True
    small: bool = False
    balance: float = 0.0

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
    strengths, small = diagonal, False
    if depth == 2 and white and not aligned:
        strengths = effective_strengths(modes.U, modes.V, *weights)
        largest = max(np.linalg.norm(W, 2) ** 2 for W in weights)
        strongest = modes.s.max(initial=0.0) / max(modes.lam.max(initial=0.0), 1e-300)
        small = bool(largest <= SMALL * strongest)
    return Start(strengths, modes, depth, tuple(weights), aligned, small, balance)


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
    white, decoupled = whiteness <= tol, modes.residual <= tol
    if not decoupled:
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
    if start.small:
        reason = (
            "a small start with one hidden layer and white inputs: closed form from the effective "
            "strengths (Gram-Schmidt in the order of learning)"
        )
        return "aligned", reason, notes
    return "ode", "the start is not aligned: the flow is integrated", notes
