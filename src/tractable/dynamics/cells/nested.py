"""States of several tensors as one vector, and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["count", "flatten", "lead_shape", "unflatten"]


def count(template: Any) -> int:
    """Return the number of entries of a state.

    Parameters
    ----------
    template : int, torch.Size, or nested tuple of these
        An int is the width of a part (B, n); a ``torch.Size`` its shape without the batch axis.

    Examples
    --------
    >>> count((3, (torch.Size([2, 2]), 1)))
    8
    """
    if isinstance(template, torch.Size):
        return math.prod(template)
    if isinstance(template, tuple | list):
        return sum(count(part) for part in template)
    if isinstance(template, bool) or not isinstance(template, int):
        raise TypeError(
            "n_state must be an int, a torch.Size or a nested tuple of these, "
            f"got {type(template).__name__}"
        )
    if template < 1:
        raise ValueError(f"n_state must be >= 1 (each part of it), got {template}")
    return template


def unflatten(state: Tensor, template: Any) -> Any:
    """Cut the last axis of ``state`` (..., N) into the parts of the template.

    Examples
    --------
    >>> h, (c, d) = unflatten(torch.arange(4.0), (2, (1, 1)))
    >>> h, d
    (tensor([0., 1.]), tensor([3.]))
    """
    if isinstance(template, torch.Size):
        return state.reshape(*state.shape[:-1], *template)
    if not isinstance(template, tuple | list):
        return state
    parts = state.split([count(part) for part in template], dim=-1)
    values = [unflatten(part, inner) for part, inner in zip(parts, template, strict=True)]
    if hasattr(template, "_fields"):
        return type(template)(*values)  # a named tuple
    return type(template)(values)


def flatten(value: Any, template: Any, lead: torch.Size) -> Tensor:
    """Join the parts of ``value`` into (*lead, N).

    Raises
    ------
    ValueError
        Where ``value`` is not built like the template.

    Examples
    --------
    >>> flatten((torch.zeros(5, 2), torch.ones(5, 1)), (2, 1), torch.Size([5])).shape
    torch.Size([5, 3])
    """
    return torch.cat(list(_leaves(value, template, lead)), dim=-1)


def lead_shape(value: Any, template: Any) -> torch.Size:
    """Return the batch axes of a nested value: those its first tensor has beyond the template.

    Examples
    --------
    >>> lead_shape((torch.zeros(5, 2), torch.ones(5, 1)), (2, 1))
    torch.Size([5])
    """
    while isinstance(template, tuple | list) and not isinstance(template, torch.Size):
        if not isinstance(value, tuple | list) or not value:
            raise ValueError(
                f"the state must be a tuple of {len(template)} parts, got {_describe(value)}"
            )
        value, template = value[0], template[0]
    if not isinstance(value, Tensor):
        raise ValueError(f"the state must be made of tensors, got {_describe(value)}")
    own = len(template) if isinstance(template, torch.Size) else 1
    return value.shape[: value.ndim - own]


def _leaves(value: Any, template: Any, lead: torch.Size) -> list[Tensor]:
    if isinstance(template, tuple | list) and not isinstance(template, torch.Size):
        if not isinstance(value, tuple | list) or len(value) != len(template):
            raise ValueError(
                f"the state must be a tuple of {len(template)} parts, got {_describe(value)}"
            )
        return [
            leaf
            for part, inner in zip(value, template, strict=True)
            for leaf in _leaves(part, inner, lead)
        ]
    shape = (*lead, *(template if isinstance(template, torch.Size) else (template,)))
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        raise ValueError(f"the state must have shape {shape}, got {_describe(value)}")
    return [value.reshape(*lead, count(template))]


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_describe(part) for part in value) + ")"
    return type(value).__name__
