"""What is refused at the boundary besides numbers out of range: counts, seeds, kinds of objects."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.linear.arrays import LARGEST

if TYPE_CHECKING:
    import torch

__all__ = ["check_count", "check_device", "check_dynamics", "check_size", "random_numbers"]


def check_size(name: str, value: float) -> None:
    """Refuse a size, strength or time constant that is not > 0, or too large to be squared.

    Examples
    --------
    >>> check_size("tau", float("inf"))
    Traceback (most recent call last):
    ValueError: tau must be > 0 and <= 1e+75, got inf
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    check_range(name, value, 0.0, LARGEST, open_low=True)


def random_numbers(name: str, seed: np.random.Generator | int) -> np.random.Generator:
    """Return a generator of a seed, or the one that is given.

    Examples
    --------
    >>> random_numbers("seed", -1)
    Traceback (most recent call last):
    ValueError: seed must be >= 0, got -1
    """
    if isinstance(seed, np.random.Generator):
        return seed
    check_count(name, seed, 0)
    return np.random.default_rng(operator.index(seed))


def check_dynamics(name: str, value: Any, *, simulated: bool = False) -> None:
    """Refuse what is no `ModeDynamics`, nor, where trained networks will do, a `Simulation`."""
    from tractable.linear.mode_dynamics import ModeDynamics
    from tractable.linear.simulation import Simulation

    if isinstance(value, ModeDynamics) or (simulated and isinstance(value, Simulation)):
        return
    other = " or a Simulation" if simulated else ""
    hint = "; its task is .dynamics" if isinstance(value, Simulation) else ""
    raise TypeError(
        f"{name} must be a ModeDynamics (of a table: table.dynamics()){other}, got "
        f"{type(value).__name__}{hint}"
    )


def check_device(name: str, value: Any) -> torch.device:
    """Return the device of a name; "auto" is CUDA when present, None is the CPU."""
    import torch

    if value is None or value == "auto":
        return torch.device("cuda" if value and torch.cuda.is_available() else "cpu")
    try:
        return torch.device(value)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"{name} must be 'auto', 'cpu', 'cuda' or 'cuda:1', got {value!r}"
        ) from None
