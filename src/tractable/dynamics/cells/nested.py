"""States of several tensors as one vector, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["count", "flatten", "is_nest", "lead_shape", "parts_of", "unflatten"]


def count(template: Any) -> int:
    """Return the number of entries of a state.

    Parameters
    ----------
    template : int, torch.Size, or nested tuple or dict of these
        An int is the width of a part (B, n); a ``torch.Size`` its shape without the batch axis.
        Parts of a dict stand in the order of its keys.

    Examples
    --------
    >>> count((3, (torch.Size([2, 2]), 1)))
    8
    >>> count({"h": 3, "trace": 1})
    4
    """
    if isinstance(template, torch.Size):
        return math.prod(template)
    if is_nest(template):
        return sum(count(part) for part in parts_of(template))
    if isinstance(template, bool) or not isinstance(template, int):
        raise TypeError(
            "n_state must be an int, a torch.Size or a nested tuple or dict of these, "
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
    if not is_nest(template):
        return state
    inner = parts_of(template)
    parts = state.split([count(part) for part in inner], dim=-1)
    values = [unflatten(part, one) for part, one in zip(parts, inner, strict=True)]
    if isinstance(template, Mapping):
        return dict(zip(template, values, strict=True))
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
    while is_nest(template):
        value, template = _matched(value, template)[0], parts_of(template)[0]
    if not isinstance(value, Tensor):
        raise ValueError(f"the state must be made of tensors, got {_describe(value)}")
    own = len(template) if isinstance(template, torch.Size) else 1
    return value.shape[: value.ndim - own]


def _leaves(value: Any, template: Any, lead: torch.Size) -> list[Tensor]:
    if is_nest(template):
        return [
            leaf
            for part, inner in zip(_matched(value, template), parts_of(template), strict=True)
            for leaf in _leaves(part, inner, lead)
        ]
    shape = (*lead, *(template if isinstance(template, torch.Size) else (template,)))
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        raise ValueError(f"the state must have shape {shape}, got {_describe(value)}")
    return [value.reshape(*lead, count(template))]


def is_nest(template: Any) -> bool:
    """Whether a template has parts: a tuple, list or dict, but no ``torch.Size``."""
    return isinstance(template, tuple | list | Mapping) and not isinstance(template, torch.Size)


def parts_of(template: Any) -> list[Any]:
    """Return the parts of a nested template, those of a dict in the order of its keys."""
    return list(template.values() if isinstance(template, Mapping) else template)


def _matched(value: Any, template: Any) -> list[Any]:
    """Return the parts of a nested value in the order of the template."""
    if isinstance(template, Mapping):
        if not isinstance(value, Mapping) or set(value) != set(template):
            raise ValueError(
                f"the state must be a dict with {', '.join(map(repr, template))}, got "
                f"{_describe(value)}"
            )
        return [value[key] for key in template]
    if not isinstance(value, tuple | list) or len(value) != len(template):
        raise ValueError(
            f"the state must be a tuple of {len(template)} parts, got {_describe(value)}"
        )
    return list(value)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_describe(part) for part in value) + ")"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_describe(part)}" for k, part in value.items()) + "}"
    return type(value).__name__
