"""What the Jacobian says about a root, of networks too large to form it.

The sign of det(I - J) is ``(-1)^k`` with k the number of real eigenvalues of J beyond 1 (pairs give
a positive factor): Arnoldi iteration finds those of largest real part, and stops below 1. A unit
that copies itself has a row of I - J that vanishes: it shows in a product with any vector, and the
row itself is then one product with the transpose.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tractable.dynamics.arnoldi import Products, leading_eigenvalues, products
from tractable.dynamics.cells import Cell

__all__ = ["large_root_facts", "large_stability"]

SINGULAR_GAP = 1e-8  # |lambda - 1| below it: I - J is singular to the accuracy of the iteration
N_PROBES = 3


def large_root_facts(
    cell: Cell, state: Tensor, x: Tensor, starts: Tensor, frozen: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return sign of det(I - J), number of saturated units, and whether the sign is known.

    Parameters
    ----------
    cell : Cell
        One-step map.
    state, x, starts : Tensor (P, N), (P, D), (P, N)
        Roots, their inputs and the starts that led there.
    frozen : float
        Largest entry of a row of I - J that counts as vanishing.

    Returns
    -------
    Tensor (P,), Tensor (P,), Tensor (P,)
        long (0: singular, or not known), long, bool.
    """
    sign, n_frozen, known = [], [], []
    for h, u, start in zip(state, x, starts, strict=True):
        with torch.no_grad():
            at = products(cell, h, u)
            values = leading_eigenvalues(at, len(h), 1 - SINGULAR_GAP, by="real")
            known.append(values is not None)
            sign.append(0 if values is None else _sign(values))
            units = _vanishing(at, len(h), frozen)
            if len(units):
                before = _rows(products(cell, start, u).backward, units, len(h))
                units = units[np.abs(before).max(axis=1) >= frozen]
            n_frozen.append(len(units))
    found = (torch.tensor(sign), torch.tensor(n_frozen), torch.tensor(known, dtype=torch.bool))
    return found[0].to(state.device), found[1].to(state.device), found[2].to(state.device)


def large_stability(cell: Cell, state: Tensor, x: Tensor, margin: float) -> list[str]:
    """Return "stable", "marginal", "saddle(k)" or "unknown" per point; see `PointSet.classify`."""
    labels = []
    for h, u in zip(state, x, strict=True):
        with torch.no_grad():
            at = products(cell, h, u)
            values = leading_eigenvalues(at, len(h), 1 - margin, by="modulus")
        if values is None:
            labels.append("unknown")
            continue
        excess = np.abs(values) - 1
        outside, neutral = int((excess >= margin).sum()), bool((np.abs(excess) < margin).any())
        labels.append(f"saddle({outside})" if outside else "marginal" if neutral else "stable")
    return labels


def _sign(values: np.ndarray) -> int:
    """Return the sign of det(I - J) from the eigenvalues of largest real part."""
    if (np.abs(values - 1) < SINGULAR_GAP).any():
        return 0
    return 1 - 2 * (int(((values.imag == 0) & (values.real > 1)).sum()) % 2)


def _vanishing(at: Products, n: int, frozen: float) -> np.ndarray:
    """Return the units whose row of I - J vanishes."""
    probes = np.random.default_rng(0).normal(size=(N_PROBES, n))
    largest = np.max([np.abs(v - at.forward(v)) for v in probes], axis=0)
    suspects = np.flatnonzero(largest < 10 * frozen * n**0.5)
    rows = _rows(at.backward, suspects, n)
    return suspects[np.abs(rows).max(axis=1, initial=0) < frozen]


def _rows(backward, units: np.ndarray, n: int) -> np.ndarray:  # type: ignore[no-untyped-def]  # a map of arrays
    """Return these rows of I - J, shape (len(units), n)."""
    rows = np.zeros((len(units), n))
    rows[np.arange(len(units)), units] = 1.0
    return rows - np.array([backward(row) for row in rows]).reshape(len(units), n)
