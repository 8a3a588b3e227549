"""Which eigenvalues cross the unit circle between two nearby matrices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tractable.dynamics.eigenbasis import eig

__all__ = ["crossings"]

REAL = 1e-6  # |imaginary part| below it: the eigenvalue crosses on the real axis


def crossings(one: Tensor, other: Tensor) -> list[str]:
    """Return a name for each eigenvalue, or conjugate pair, that changes sides.

    Counting those outside does not do: one may leave the circle while another enters it.
    Eigenvalues are matched by their vectors, ``|l_a r_b|``.

    Parameters
    ----------
    one, other : Tensor, shape (N, N)
        Jacobians at two points of a branch.

    Returns
    -------
    list of {"real", "flip", "pair"}
        Through +1, through -1, or elsewhere.

    Examples
    --------
    >>> crossings(torch.diag(torch.tensor([0.9, 1.1])), torch.diag(torch.tensor([1.1, 0.9])))
    ['real', 'real']
    """
    from scipy.optimize import linear_sum_assignment

    pair = torch.stack([one, other]).to("cpu", torch.float64)
    outside = torch.linalg.eigvals(pair).abs() > 1
    if not bool(outside.any()) or bool(outside.all()):
        return []
    values, right = eig(pair)
    left = torch.linalg.pinv(right[0])
    left = left / left.norm(dim=1, keepdim=True).clamp(min=1e-300)
    row, column = linear_sum_assignment((left @ right[1]).abs().numpy(), maximize=True)
    before, after = values[0].numpy()[row], values[1].numpy()[column]
    crossed = (np.abs(before) > 1) != (np.abs(after) > 1)
    # of a pair the member above the real axis stands for both
    crossed &= (before.imag + after.imag >= 0) | (np.abs(after.imag) < REAL)
    kinds = []
    for first, second in zip(before[crossed], after[crossed], strict=True):
        # the one nearer to the circle is nearer to the place of the crossing
        near = first if abs(abs(first) - 1) < abs(abs(second) - 1) else second
        kinds.append("pair" if abs(near.imag) > REAL else "real" if near.real > 0 else "flip")
    return kinds
