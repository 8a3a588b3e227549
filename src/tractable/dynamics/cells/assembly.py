"""What the closed-form cells share: weights copied and checked, Jacobians as row-scaled weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import linear

from tractable.core.checks import check_finite

__all__ = ["check_step", "copy_to", "input_drive", "join", "own_weights", "scaled_rows", "split"]

T = TypeVar("T")


def own_weights(cell: Any) -> None:
    """Replace each tensor of a frozen dataclass by a checked copy that requires no grad.

    Raises
    ------
    ValueError
        For NaN or infinite weights (with their number), or weights of different dtype or device.
    TypeError
        For weights that are not floating-point.
    """
    kinds = {}
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if isinstance(value, Tensor):
            if not value.is_floating_point():
                raise TypeError(f"{field.name} must be floating-point, got {value.dtype}")
            value = value.detach().clone()
            check_finite(field.name, value)
            kinds[field.name] = (value.dtype, value.device)
            object.__setattr__(cell, field.name, value)
    if len(set(kinds.values())) > 1:
        raise ValueError(f"the weights of a cell must share dtype and device, got {kinds}")


def copy_to(cell: T, dtype: torch.dtype | None, device: torch.device | str | None) -> T:
    """Return a copy of a closed-form cell with all its tensors in another dtype or place."""
    tensors = {
        field.name: getattr(cell, field.name).to(dtype=dtype, device=device)
        for field in dataclasses.fields(cell)  # type: ignore[arg-type]
        if isinstance(getattr(cell, field.name), Tensor)
    }
    return dataclasses.replace(cell, **tensors)  # type: ignore[type-var]


def check_step(state: Tensor, x: Tensor, n_state: int, n_input: int) -> None:
    """Refuse a state or an input of the wrong width."""
    if state.ndim != 2 or state.shape[1] != n_state:
        raise ValueError(f"state must have shape (B, {n_state}), got {tuple(state.shape)}")
    if x.ndim != 2 or x.shape[1] != n_input:
        raise ValueError(f"x must have shape (B, {n_input}), got {tuple(x.shape)}")


def input_drive(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` (B, M); (1, M) where all rows of ``x`` are views of one.

    Examples
    --------
    >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.ones(3, 2)
    >>> input_drive(x.expand(500, 2), weight).shape
    torch.Size([1, 3])
    """
    return linear(x[:1] if x.stride(0) == 0 else x, weight, bias)


def join(parts: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    """Concatenate the parts of a state, each (B, n_i)."""
    got = [part.shape[-1] for part in parts]
    if got != list(widths):
        raise ValueError(f"the parts of the state must have widths {list(widths)}, got {got}")
    return torch.cat(list(parts), dim=-1) if len(parts) > 1 else parts[0]


def split(state: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """Cut a state (B, N) into parts of the given widths."""
    if state.shape[-1] != sum(widths):
        raise ValueError(f"state must have width {sum(widths)}, got {tuple(state.shape)}")
    return tuple(state.split(list(widths), dim=-1))


def scaled_rows(
    terms: Sequence[tuple[Tensor, Tensor]],
    *,
    diagonal: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    r"""Return :math:`J_b = \mathrm{diag}(d_b) + \sum_k \mathrm{diag}(a_{k,b}) W_k` for a batch.

    O(N M) per point and term, no matrix product.

    Parameters
    ----------
    terms : sequence of (Tensor (B, N), Tensor (N, M))
        Row scales ``a_k`` and matrices ``W_k``.
    diagonal : Tensor (B, N), optional
        ``d``; needs M = N.
    out : Tensor (B, N, M), optional
        Where to write.

    Examples
    --------
    >>> a, W = torch.tensor([[2.0, 3.0]]), torch.ones(2, 2)
    >>> scaled_rows([(a, W)], diagonal=torch.tensor([[1.0, 1.0]]))
    tensor([[[3., 2.],
             [3., 4.]]])
    """
    (scale, weight), *rest = terms
    result = torch.mul(scale.unsqueeze(-1), weight, out=out)
    for scale, weight in rest:
        result.addcmul_(scale.unsqueeze(-1), weight)
    if diagonal is not None:
        result.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    return result
