"""A linear readout of a recurrent network as one vector in its full state space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tractable.core.checks import check_finite

if TYPE_CHECKING:
    import numpy as np

    from tractable.dynamics.cells import Cell

__all__ = ["linear_readout"]


def linear_readout(
    readout: Any,
    cell: Cell | None,
    *,
    n_state: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, float]:
    r"""Return w and b of the scalar readout :math:`y = w \cdot h + b` on the full state.

    Parameters
    ----------
    readout : nn.Linear, array (H,) or (O, H), or tuple (weight, bias)
        One output, or two (softmax): then ``y`` is the log-odds of the second against the first.
        H is the width of the part of the state that the readout sees, or N.
    cell : Cell or None
        Gives N and ``readout_slice`` (LSTM: the readout sees h and not c). Without a cell H = N.
    n_state : int, optional
        N, where there is no cell.
    device : torch.device or str
        Of the result.

    Returns
    -------
    weight : Tensor, shape (N,)
        Float64, zero where the readout does not see the state.
    bias : float
        0 where there is none.

    Raises
    ------
    ValueError
        A width that fits neither H nor N, or more than two outputs.
    TypeError
        A readout without a weight.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720.

    Examples
    --------
    >>> linear_readout(([[1.0, 2.0], [4.0, 4.0]], [0.0, 0.5]), None)
    (tensor([3., 2.], dtype=torch.float64), 0.5)
    """
    weight: Tensor | np.ndarray | list[float]
    if isinstance(readout, tuple):
        if len(readout) != 2:
            raise ValueError(f"readout must be (weight, bias), got a tuple of {len(readout)}")
        weight, bias = readout
    elif hasattr(readout, "weight"):
        weight, bias = readout.weight, getattr(readout, "bias", None)
    elif callable(readout):
        raise TypeError(
            "readout must be linear: an nn.Linear, an array or (weight, bias), got "
            f"{type(readout).__name__}; linearize it first and pass its gradient"
        )
    else:
        weight, bias = readout, None
    try:
        matrix = torch.as_tensor(weight, dtype=torch.float64, device=device).detach()
        offset = torch.as_tensor(0.0 if bias is None else bias, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"readout must be an nn.Linear, an array or (weight, bias), got {readout!r:.60}"
        ) from None
    offset = offset.reshape(-1)
    check_finite("readout weight", matrix)
    check_finite("readout bias", offset)
    matrix = matrix[None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or matrix.shape[0] not in (1, 2):
        raise ValueError(
            f"readout weight must have shape (H,), (1, H) or (2, H), got {tuple(matrix.shape)}; "
            "pass one row, or the difference of two, as (weight, bias)"
        )
    if len(matrix) == 2:
        matrix = matrix[1:] - matrix[:1]
        offset = offset[1:] - offset[:1] if len(offset) == 2 else 0 * offset
    if len(offset) != 1:
        raise ValueError(f"readout bias must have one entry for each output, got {len(offset)}")
    row = matrix[0]
    n = cell.n_state if cell is not None else (n_state or len(row))
    if len(row) == n:
        return row.clone(), float(offset[0])
    seen = range(n)[cell.readout_slice] if cell is not None else range(n)
    if len(row) != len(seen):
        allowed = f"{len(seen)} (what the readout sees) or {n} (the state)"
        raise ValueError(f"readout weight must have width {allowed}, got {len(row)}")
    full = torch.zeros(n, dtype=torch.float64, device=device)
    full[seen.start : seen.stop : seen.step] = row
    return full, float(offset[0])
