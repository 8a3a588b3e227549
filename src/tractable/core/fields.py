"""Parameters: the permitted range of a field, and the check of a value against its annotation."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from tractable.core.checks import check_choice, check_range

__all__ = ["Range", "as_declared", "bare", "check_field", "field_docs", "field_hints", "kind_of"]


@dataclass(frozen=True)
class Range:
    """The permitted values of a numeric field, both ends included.

    Parameters
    ----------
    low, high : float
        Ends of the interval.
    log : bool
        Sliders, grids and searches step in the logarithm.
    """

    low: float
    high: float
    log: bool = False


def field_hints(cls: Any) -> dict[str, Any]:
    """Return the annotations of a class with their `Annotated` extras."""
    return typing.get_type_hints(cls, include_extras=True)


def bare(hint: Any) -> Any:
    """Return an annotation without its Range."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@functools.cache
def kind_of(hint: Any) -> tuple[Any, Range | None]:
    """Return the type of an annotated field, without None, and its Range."""
    bounds = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Range)), None)
    if get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else hint
    return hint, bounds


def as_declared(value: Any, hint: Any) -> Any:
    """Return a value with floats where floats are declared (1 and 1.0 are one run), and paths.

    Examples
    --------
    >>> as_declared(1, float), as_declared((1, 2), tuple[float, ...]), as_declared(1, int)
    (1.0, (1.0, 2.0), 1)
    """
    kind, _ = kind_of(hint)
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):  # as JSON holds it
        return Path(value)
    if get_origin(kind) is tuple and isinstance(value, tuple):
        return tuple(as_declared(item, get_args(kind)[0]) for item in value)
    return value


def check_field(name: str, value: Any, hint: Any) -> None:
    """Check one value against its annotation; the message names the field."""
    if value is None and type(None) in get_args(bare(hint)):
        return
    hint, bounds = kind_of(hint)
    origin = get_origin(hint)
    if origin is Literal:
        check_choice(name, value, get_args(hint))
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise TypeError(f"{name} must be a tuple, got {value!r}")
        inner = get_args(hint)[0]
        for item in value:
            check_field(name, item, Annotated[inner, bounds] if bounds else inner)
    elif hint in (int, float):
        number = isinstance(value, int if hint is int else int | float)
        if not number or isinstance(value, bool):
            raise TypeError(f"{name} must be {hint.__name__}, got {value!r}")
        if bounds is not None:
            check_range(name, value, bounds.low, bounds.high)
    elif hint in (bool, str) and not isinstance(value, hint):
        raise TypeError(f"{name} must be {hint.__name__}, got {value!r}")


def field_docs(cls: type) -> dict[str, str]:
    """Return the docstrings that stand below the fields of a class, and of its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        body = tree.body[0].body  # type: ignore[attr-defined]  # the source of a class
        for item, following in itertools.pairwise(body):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docs[item.target.id] = inspect.cleandoc(str(following.value.value))
    return docs
