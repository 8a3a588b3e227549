"""Cells by name: the eight, and any of one's own."""

from __future__ import annotations

from typing import Any

from tractable.core.checks import nearest_names
from tractable.vision.convrnn.cells.base import Cell
from tractable.vision.convrnn.cells.gated import (
    ConvGRU,
    ConvIntersectionRNN,
    ConvLSTM,
    ConvUGRNN,
)
from tractable.vision.convrnn.cells.plain import Feedforward, TimeDecay, VanillaRNN
from tractable.vision.convrnn.cells.reciprocal import ReciprocalGated
from tractable.vision.convrnn.spec import SpecError

__all__ = ["CELLS", "cell_names", "make_cell", "register"]

CELLS: dict[str, type[Cell]] = {
    "feedforward": Feedforward,
    "timedecay": TimeDecay,
    "vanilla": VanillaRNN,
    "gru": ConvGRU,
    "lstm": ConvLSTM,
    "ugrnn": ConvUGRNN,
    "intersection": ConvIntersectionRNN,
    "rgc": ReciprocalGated,
}


BUILT_IN = frozenset(CELLS)


def cell_names() -> tuple[str, ...]:
    """Return the names of all cells, registered ones included."""
    return tuple(CELLS)


def register(name: str, cell: type[Cell]) -> type[Cell]:
    """Make a cell of one's own known by a name; returns the class.

    A class defined anew, as a notebook does when its cell is run again, takes the place of the old.

    Parameters
    ----------
    name : str
        A new name, without spaces.
    cell : type
        A subclass of `Cell`, or any module class with ``init_state(x) -> state`` and
        ``forward(x, state, fb=None, res=None) -> (out, state)``, made with channels_in, channels.

    Raises
    ------
    ValueError
        The name is taken by another class, or no single word.
    TypeError
        The class lacks one of the two.

    Examples
    --------
    >>> import torch
    >>> class Half(Cell):
    ...     def step(self, x, state, fb, res):
    ...         h = (state[0] + x) / 2
    ...         return h, (h,)
    >>> cell = register("half", Half)(4, 4)
    >>> x = torch.ones(1, 4, 2, 2)
    >>> cell(x, cell.init_state(x))[0].mean()
    tensor(0.5000)
    """
    if not isinstance(name, str) or name.split() != [name]:
        raise ValueError(f"name must be a word without spaces, got {name!r}")
    taken = CELLS.get(name, cell)
    anew = name not in BUILT_IN and taken.__qualname__ == getattr(cell, "__qualname__", None)
    if taken is not cell and not anew:
        raise ValueError(f"name {name!r} is taken by {taken.__name__}")
    for method in ("init_state", "forward"):
        if not callable(getattr(cell, method, None)):
            raise TypeError(f"cell must define {method}, {cell.__name__} does not")
    CELLS[name] = cell
    return cell


def make_cell(name: str, channels_in: int, channels: int, **options: Any) -> Cell:
    """Return a new cell by name.

    Raises
    ------
    SpecError
        An unknown name or option.
    """
    if name not in CELLS:
        near = nearest_names(name, CELLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SpecError(f"there is no cell {name!r}{hint} ({', '.join(CELLS)})")
    try:
        return CELLS[name](channels_in, channels, **options)
    except TypeError as error:
        raise SpecError(f"cell {name!r}: {error}") from error
