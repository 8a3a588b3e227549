"""What a transition operator is: how a state moves, and the density of the move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_range

__all__ = ["TransitionOperator"]

LOG_2PI = math.log(2 * math.pi)


class TransitionOperator(nn.Module):
    """A conditional law p_T(s' | s): what may be sampled, scored and trained.

    A subclass sets ``event_shape`` and defines `sample` and `log_prob`; nothing else is assumed of
    it. ``kind`` says which prior fits its states.
    """

    event_shape: tuple[int, ...]
    kind: Literal["real", "binary"] = "real"

    @property
    def dim(self) -> int:
        """Numbers in one state."""
        return math.prod(self.event_shape)

    @property
    def precision(self) -> torch.dtype | None:
        """Precision of the states that its parameters take; None: any."""
        floating = (p.dtype for p in self.parameters() if p.is_floating_point())
        return next(floating, None)

    def sample(
        self,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a next state for each state of ``s``, shape ``(B, *event)``."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(s, temperature)")

    def log_prob(
        self,
        s_next: Tensor,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        reduce: bool = True,
    ) -> Tensor:
        """Return log p_T(s_next | s) in nats: (B,), or ``(B, *event)`` with ``reduce=False``."""
        raise NotImplementedError(f"{type(self).__name__} must define log_prob(s_next, s, T)")

    def check_state(self, s: Tensor, name: str = "s") -> None:
        """Refuse states of another shape or kind.

        Raises
        ------
        ValueError, TypeError
            The message names the argument and what came.
        """
        if not isinstance(s, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(s).__name__}")
        if tuple(s.shape[1:]) != self.event_shape or s.ndim == 0:
            raise ValueError(
                f"{name} must have shape (B, {', '.join(map(str, self.event_shape))}), got "
                f"{tuple(s.shape)}"
            )
        if len(s) == 0:
            raise ValueError(f"{name} holds no states")
        if self.kind == "real" and not s.is_floating_point():
            raise TypeError(
                f"{name} must be floating point, got {s.dtype}: cast integers and add uniform "
                "noise of one unit (dequantize), else a density is meaningless"
            )
        if self.kind == "binary" and not s.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {s.dtype}: pass {name}.float()")
        bad = int((~torch.isfinite(s)).sum()) if s.is_floating_point() else 0
        if bad:
            raise ValueError(f"{name} holds {bad} values that are NaN or infinite")
        if self.kind == "binary" and not bool(((s == 0) | (s == 1)).all()):
            raise ValueError(f"{name} must hold 0 and 1 only")


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Refuse what is no whole number, or below ``low``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument and what came.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    check_range(name, int(value), low)


def expand(temperature: float | Tensor, s: Tensor) -> Tensor:
    """Return the temperature as a tensor that broadcasts over the states.

    Raises
    ------
    ValueError
        It is not positive.
    """
    try:
        t = torch.as_tensor(temperature, dtype=s.dtype, device=s.device)
    except (TypeError, ValueError):
        raise TypeError(f"temperature must be a number or a tensor, got {temperature!r}") from None
    if not bool(((t > 0) & t.isfinite()).all()):
        raise ValueError(
            f"temperature must be above 0 and finite, got {float(t.min()):g} to {float(t.max()):g}"
        )
    return t if t.ndim == 0 else t.reshape(-1, *[1] * (s.ndim - 1))


def _event(shape: Sequence[int] | Any) -> tuple[int, ...]:
    event = (shape,) if isinstance(shape, int) else tuple(shape)
    if not event or any(not isinstance(n, int) or n < 1 for n in event):
        raise ValueError(f"event_shape must hold positive integers, got {shape!r}")
    return event
