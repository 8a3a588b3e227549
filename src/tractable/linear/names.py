"""Items and features by number or by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tractable.core.checks import check_choice

__all__ = ["pick", "pick_one"]


def pick(
    argument: str, wanted: Sequence[int | str] | int | str | None, names: Sequence[str], n: int
) -> np.ndarray:
    """Return the numbers of what is wanted, out of ``n``; all where nothing is said.

    Examples
    --------
    >>> pick("items", ["oak", 0], ("pine", "oak"), 2)
    array([1, 0])
    >>> pick("items", ["ok"], ("pine", "oak"), 2)
    Traceback (most recent call last):
    ValueError: items must be one of 'pine', 'oak', got 'ok'; did you mean 'oak'?
    """
    if wanted is None:
        return np.arange(n)
    if isinstance(wanted, int | str | np.integer):
        wanted = [wanted]
    numbers = []
    for entry in wanted:
        if isinstance(entry, str):
            if not names:
                raise ValueError(f"{argument} have no names here, so {entry!r} cannot be found")
            check_choice(argument, entry, names)
            numbers.append(list(names).index(entry))
        elif isinstance(entry, bool) or not isinstance(entry, int | np.integer):
            raise TypeError(f"{argument} must be names or whole numbers, got {entry!r}")
        elif not -n <= entry < n:
            raise ValueError(f"{argument} must be numbers below {n}, got {entry}")
        else:
            numbers.append(int(entry) % n)
    return np.array(numbers, dtype=int)


def pick_one(argument: str, wanted: int | str, names: Sequence[str], n: int) -> int:
    """Return the number of the one thing that is wanted, out of ``n``.

    Examples
    --------
    >>> pick_one("item", ["oak", "pine"], ("pine", "oak"), 2)
    Traceback (most recent call last):
    ValueError: item must be one name or number, got ['oak', 'pine']
    """
    found = [] if wanted is None else pick(argument, wanted, names, n)
    if len(found) != 1:
        raise ValueError(f"{argument} must be one name or number, got {wanted!r}")
    return int(found[0])
