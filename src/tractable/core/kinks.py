"""Derivatives of a user's function, and the places where they jump."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tractable.core.checks import TractableWarning

__all__ = ["derivative_of", "find_kinks"]

Function = Callable[[np.ndarray], np.ndarray]

REACH = 32.0  # kinks are searched for in [-REACH, REACH]
STEP = 2.0**-7
SMALLEST_JUMP = 1e-6  # of phi' or phi'', relative to the largest |phi'|


def derivative_of(
    function: Callable[..., Any], deriv: Callable[..., Any] | None
) -> tuple[Function, Function, Function]:
    """Return phi, phi' and phi'' of a function of float64 tensors, as functions of arrays.

    Raises
    ------
    ValueError
        When the function is not finite, or its derivative disagrees with a difference quotient.
    TypeError
        When it does not map a float64 tensor to a float64 tensor of the same shape.
    """

    def phi(x: np.ndarray) -> np.ndarray:
        return _evaluate(function, x, 0)

    def first(x: np.ndarray) -> np.ndarray:
        return _evaluate(function, x, 1) if deriv is None else _evaluate(deriv, x, 0)

    def second(x: np.ndarray) -> np.ndarray:
        try:
            return _evaluate(function, x, 2) if deriv is None else _evaluate(deriv, x, 1)
        except RuntimeError:  # torch has no second derivative of some of its own functions
            return np.zeros_like(x)

    x = np.linspace(-8.0, 8.0, 161) + 0.0123
    if not np.isfinite(values := phi(x)).all():
        raise ValueError(f"phi must be finite, got {values[~np.isfinite(values)][0]} at "
                         f"x = {x[~np.isfinite(values)][0]:.3g}")  # fmt: skip
    slope, step = first(x), 1e-5
    quotient = (phi(x + step) - phi(x - step)) / (2 * step)
    wrong = ~(np.abs(slope - quotient) <= 1e-5 * (1 + np.abs(quotient)))
    if wrong.sum() > 4:  # a few differences may straddle kinks
        i = int(np.argmax(wrong))
        raise ValueError(
            f"the derivative of phi disagrees with a difference quotient at {wrong.sum()} of "
            f"{wrong.size} points: {slope[i]:.6g} against {quotient[i]:.6g} at x = {x[i]:.3g}"
        )
    return phi, first, second


def _evaluate(function: Callable[..., Any], x: np.ndarray, order: int) -> np.ndarray:
    """Return the derivative of the given order of ``function`` at ``x``."""
    import torch

    argument = torch.tensor(np.array(x, dtype=float, order="C"), requires_grad=order > 0)
    try:
        with torch.enable_grad():
            value = function(argument)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise TypeError(
            "phi must map a float64 torch tensor to one of the same shape; "
            f"calling it failed: {error}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.shape != argument.shape:
        got = tuple(value.shape) if hasattr(value, "shape") else type(value).__name__
        raise TypeError(f"phi must return a tensor of the shape of its argument, got {got}")
    if value.dtype != torch.float64:
        raise TypeError(f"phi must keep float64, got {value.dtype}")
    for _ in range(order):
        if not value.requires_grad:  # constant from here on
            return np.zeros_like(argument.detach().numpy())
        grads: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
            value.sum(), argument, create_graph=True, allow_unused=True
        )
        if grads[0] is None:
            return np.zeros_like(argument.detach().numpy())
        value = grads[0]
    return value.detach().numpy()


def find_kinks(first: Function, second: Function) -> tuple[float, ...]:
    """Return the arguments in [-32, 32] where phi' or phi'' jumps, ascending.

    Intervals of a fine grid are halved, always keeping the half with the larger change: of a
    smooth function the change vanishes with the interval, at a jump it stays.

    Warns
    -----
    TractableWarning
        When more than 64 are found: such a function should come with its kinks.

    Examples
    --------
    >>> find_kinks(lambda x: (np.abs(x) < 1) * 1.0, lambda x: 0 * x)
    (-1.0, 1.0)
    """
    found = [*_jumps(first), *_jumps(second)]
    merged: list[float] = []
    for place in sorted(found):
        nice = float(np.round(place, 9))
        place = nice if abs(nice - place) < 1e-11 * max(1.0, abs(place)) else place
        if not merged or place - merged[-1] > 1e-9:
            merged.append(place + 0.0)
    if len(merged) > 64:
        warnings.warn(
            f"phi has {len(merged)} kinks in [-32, 32] (first: {merged[:4]}); "
            f"declare those that matter with kinks=",
            TractableWarning,
            stacklevel=2,
        )
    return tuple(merged)


def _jumps(f: Function) -> list[float]:
    grid = np.arange(-REACH, REACH + STEP, STEP) + STEP / np.pi  # zero is not on the grid
    values = f(grid)
    if not np.isfinite(values).all():
        return []
    scale = max(float(np.abs(values).max()), 1.0)
    change = np.abs(np.diff(values))
    candidates = np.flatnonzero(change > SMALLEST_JUMP * scale)
    low, high = grid[candidates], grid[candidates + 1]
    f_low, f_high = values[candidates], values[candidates + 1]
    for _ in range(46):
        middle = 0.5 * (low + high)
        f_middle = f(middle)
        left = np.abs(f_middle - f_low) > np.abs(f_high - f_middle)
        high, f_high = np.where(left, middle, high), np.where(left, f_middle, f_high)
        low, f_low = np.where(left, low, middle), np.where(left, f_low, f_middle)
    jump = np.abs(f_high - f_low) > SMALLEST_JUMP * scale
    return [float(x) for x in 0.5 * (low + high)[jump]]
