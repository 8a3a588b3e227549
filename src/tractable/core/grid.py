"""Grids of parameters: what a user types, the values of each field, and the points one by one.

========================  ==================================================================
``depth=2,8,32``          these values
``seed=0:10``             the integers 0, 1, ..., 9
``gain=0.5:3:lin6``       6 equally spaced values, both ends included
``gain=1e-3:1:log7``      7 values, equally spaced in the logarithm, both ends included
``sizes=(2,8),(2,8,32)``  tuples
``gain=0.5:3``            the whole interval, for random points only; in the logarithm where the
                          field's Range says so, or ``gain=0.5:3:log``
========================  ==================================================================
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from tractable.core.checks import check_range, nearest_names
from tractable.core.fields import Range, as_declared, bare, check_field, kind_of

__all__ = ["Axis", "Grid", "Interval", "Listed", "read_axis", "read_grid", "read_value"]

MOST_POINTS = 10_000_000  # a sweep keeps 17 bytes of each, and the numbers that it measures
LARGEST_NAMED = 100  # values and points that a message lists one by one
SEED = Annotated[int, Range(0, 2**63 - 1)]
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
SPAN = re.compile(rf"\s*({NUMBER})\s*:\s*({NUMBER})\s*(?::\s*(lin|log)\s*(\d*))?\s*")


@dataclass(frozen=True)
class Interval:
    """All numbers from ``low`` to ``high``: random points are drawn from it."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Integers only."""

    def draw(self, source: random.Random) -> float:
        """Return a number of the interval."""
        # Integers stand for the interval of length 1 around them, so that the ends are as likely.
        half = 0.5 if self.whole else 0.0
        low, high = self.low - half, self.high + half
        if self.log:
            value = math.exp(source.uniform(math.log(low), math.log(high)))
        else:
            value = source.uniform(low, high)
        value = round(value) if self.whole else value
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Axis:
    """One swept field with its values in order, or the interval that they are drawn from."""

    name: str
    values: tuple[Any, ...] | Interval


@dataclass(frozen=True)
class Grid:
    """The points of a sweep, made one by one.

    The product of the axes, the last one fastest; with ``n_random``, as many points drawn from it:
    different ones where every axis is a list.
    """

    axes: tuple[Axis, ...]
    n_random: int | None = None
    random_seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The swept fields."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Values along each axis; the number of points for random ones."""
        if self.n_random is not None:
            return (len(self),)
        return tuple(len(axis.values) for axis in self.axes)  # type: ignore[arg-type]  # lists

    def _product(self) -> int | None:
        sizes = [None if isinstance(a.values, Interval) else len(a.values) for a in self.axes]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def __len__(self) -> int:
        product = self._product()
        if self.n_random is None:
            assert product is not None, "read_grid refuses an interval without n_random"
            return product
        return self.n_random if product is None else min(self.n_random, product)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.n_random is None:
            lists = [axis.values for axis in self.axes]
            for values in itertools.product(*lists):  # type: ignore[arg-type]  # lists
                yield dict(zip(self.names, values, strict=True))
            return
        source = random.Random(f"tractable grid {self.random_seed}")
        product = self._product()
        if product is not None:
            for number in source.sample(range(product), len(self)):
                yield self._point(number)
            return
        for _ in range(self.n_random):
            yield {
                axis.name: axis.values.draw(source)
                if isinstance(axis.values, Interval)
                else source.choice(axis.values)
                for axis in self.axes
            }

    def _point(self, number: int) -> dict[str, Any]:
        point = {}
        for axis in reversed(self.axes):
            assert not isinstance(axis.values, Interval)
            number, position = divmod(number, len(axis.values))
            point[axis.name] = axis.values[position]
        return {name: point[name] for name in self.names}


@dataclass(frozen=True)
class Listed:
    """Points one by one, where they do not fill a grid."""

    names: tuple[str, ...]
    points: Sequence[dict[str, Any]]

    @property
    def n_random(self) -> int:
        """How many there are."""
        return len(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points."""
        return (len(self.points),)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Each field with the value of every point."""
        return tuple(Axis(n, tuple(point[n] for point in self.points)) for n in self.names)

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.points)


def read_grid(
    grid: Mapping[str, Any] | Sequence[str],
    hints: Mapping[str, Any],
    build: Callable[[dict[str, Any]], object],
    *,
    n_random: int | None = None,
    random_seed: int = 0,
) -> Grid:
    """Return the grid that a user has written, with every value and every point checked.

    Parameters
    ----------
    grid : mapping or sequence of str
        Field to values, a text (see the module) or a sequence of values; or texts ``field=values``.
    hints : mapping
        Annotation of every field; ``seed`` is always one.
    build : callable
        Makes a study of a point; its ValueError or TypeError says what is wrong with the point.
    n_random : int, optional
        Draw as many points, instead of all.
    random_seed : int
        Decides which.

    Raises
    ------
    ValueError
        An unknown field, no values, or values that are not permitted; all of them are named.
    """
    if n_random is not None:
        check_range("random", n_random, 1)
    hints = {**hints, "seed": SEED}
    axes: list[Axis] = []
    with _refusals_of("grid"):
        for name, values in _pairs(grid):
            if name not in hints:
                near = nearest_names(name, hints, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(hints)}"
                raise ValueError(f"there is no field {name!r}{hint}")
            if any(axis.name == name for axis in axes):
                raise ValueError(f"the field {name!r} is given twice")
            axes.append(_axis(name, values, hints[name], n_random is not None))
        if not axes:
            raise ValueError("it must name at least one field, as in depth=2,8,32 seed=0:10")
        result = Grid(tuple(axes), n_random, random_seed)
        if (n_random or result._product() or 0) > MOST_POINTS:
            raise ValueError(f"more than {MOST_POINTS:,} points; sweep a part of them at a time")
        _refuse(hints, axes)
        _refuse_points(result, build)
    return result


@contextlib.contextmanager
def _refusals_of(flag: str) -> Iterator[None]:
    """Begin every refusal with the flag, or the argument, that was refused."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None


def _pairs(grid: Mapping[str, Any] | Sequence[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(grid, Mapping):
        yield from grid.items()
        return
    for text in [grid] if isinstance(grid, str) else grid:
        name, sign, values = text.partition("=")
        if not sign:
            raise ValueError(f"write field=values, as in seed=0:10, got {text!r}")
        yield name.strip().replace("-", "_"), values


# --- the values of one field -----------------------------------------------------------------


def read_axis(flag: str, name: str, values: Any, hint: Any) -> tuple[Any, ...] | Interval:
    """Return the values of one field that a search may take: a list, or an interval.

    Raises
    ------
    ValueError
        They cannot be read, or are not permitted; the message begins with ``flag``.
    """
    with _refusals_of(flag):
        axis = _axis(name, values, hint, True)
        _refuse({name: hint}, [axis])
    found = axis.values
    if isinstance(found, Interval) or kind_of(hint)[0] is not int or len(found) < 3:
        return found
    whole = found == tuple(range(found[0], found[-1] + 1))
    return Interval(found[0], found[-1], whole=True) if whole else found


def _axis(name: str, values: Any, hint: Any, drawn: bool) -> Axis:
    kind, bounds = kind_of(hint)
    if isinstance(values, str):
        if kind in (int, float) and (span := SPAN.fullmatch(values)):
            return Axis(name, _span(name, span, kind, bounds, drawn))
        if kind in (int, float) and ":" in values:
            forms = "low:high, low:high:lin5 or low:high:log5"
            raise ValueError(f"{name}={values} is no interval: write {forms}")
        values = [read_value(name, word, hint) for word in _words(values)]
    elif isinstance(values, Interval):
        return Axis(name, values)
    elif not isinstance(values, Sequence) and not hasattr(values, "__iter__"):
        values = [values]
    plain = tuple(as_declared(_plain(value), hint) for value in values)
    if not plain:
        raise ValueError(f"{name} has no values")
    if len(set(plain)) < len(plain):
        twice = next(value for value in plain if plain.count(value) > 1)
        raise ValueError(f"{name} has the value {twice!r} twice")
    return Axis(name, plain)


def _span(
    name: str, span: re.Match[str], kind: type, bounds: Range | None, drawn: bool
) -> tuple[Any, ...] | Interval:
    text, (low, high, spacing, count) = span[0].strip(), span.groups()
    a, b = float(low), float(high)
    if spacing == "log" and min(a, b) <= 0:
        raise ValueError(f"{name}={text}: the ends of a logarithmic grid must be above 0")
    if count:
        n = int(count)
        if n < 2:
            raise ValueError(f"{name}={text}: a grid between two ends has 2 values at least")
        steps = [i / (n - 1) for i in range(n)]
        if spacing == "log":
            values = [a, *(a * (b / a) ** t for t in steps[1:-1]), b]
        else:
            values = [a, *(a + (b - a) * t for t in steps[1:-1]), b]
        if kind is int:
            return tuple(dict.fromkeys(round(value) for value in values))
        return tuple(values)
    if kind is int and spacing is None:
        try:
            whole = range(int(low), int(high))
        except ValueError:
            raise ValueError(f"{name}={text}: {name} takes integers") from None
        if not whole:
            raise ValueError(f"{name}={text} is empty: the end is not included")
        if int(high) - int(low) > MOST_POINTS:
            raise ValueError(f"{name}={text} has more than {MOST_POINTS:,} values")
        return tuple(whole)
    if not drawn:
        raise ValueError(
            f"{name}={text} has no number of values: write {low}:{high}:lin5 or "
            f"{low}:{high}:log5, or draw random points"
        )
    if a >= b:
        raise ValueError(f"{name}={text} is empty: the first end must be below the second")
    if kind is int:
        if math.ceil(a) > math.floor(b):
            raise ValueError(f"{name}={text} is empty: it holds no integer")
        return Interval(math.ceil(a), math.floor(b), spacing == "log", whole=True)
    return Interval(a, b, spacing == "log" or bool(bounds and bounds.log and a > 0))


def _words(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and between no double quotes."""
    depth, words, start, quoted = 0, [], 0, False
    for i, letter in enumerate(text):
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0 and not quoted:
            words.append(text[start:i])
            start = i + 1
    words.append(text[start:])
    return [word.strip() for word in words if word.strip()]


def read_value(name: str, word: str, hint: Any) -> Any:
    """Return the value of one field that a text writes: ``32``, ``true``, ``(2,8)``, ``None``.

    Raises
    ------
    ValueError
        It cannot be read as the field's type; whether it is permitted is the field's own check.
    """
    kind, _ = kind_of(hint)
    origin = get_origin(kind)
    if word == "None" and type(None) in get_args(bare(hint)):
        return None
    if origin is Literal:
        return next((option for option in get_args(kind) if str(option) == word), word)
    if kind is bool:
        known = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
        if word.lower() not in known:
            raise ValueError(f"{name} must be true or false, got {word!r}")
        return known[word.lower()]
    if kind is str:
        return word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word
    if origin is tuple:
        inner = get_args(kind)[0]
        if not (word.startswith("(") and word.endswith(")")):
            raise ValueError(f"{name} takes tuples, as in {name}=(2,8),(2,8,32); got {word}")
        return tuple(read_value(name, item, inner) for item in _words(word[1:-1]))
    if kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            if kind is int and _is_number(word):
                return float(word)  # refused by the field's own check, with the others
            raise ValueError(f"{name} must be {kind.__name__}, got {word!r}") from None
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def _is_number(word: str) -> bool:
    return re.fullmatch(NUMBER, word) is not None


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as Python's, lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value


# --- refusing --------------------------------------------------------------------------------


def _refuse(hints: Mapping[str, Any], axes: list[Axis]) -> None:
    """Check the values of each field by themselves, and name all that are not permitted."""
    wrong: list[str] = []
    for axis in axes:
        values = axis.values
        tried = (values.low, values.high) if isinstance(values, Interval) else values
        for value in tried:
            try:
                check_field(axis.name, value, hints[axis.name])
            except (ValueError, TypeError) as error:
                wrong.append(str(error))
    _raise(wrong, "value")


def _refuse_points(grid: Grid, build: Callable[[dict[str, Any]], object]) -> None:
    """Build every point: a study may have rules between its fields."""
    wrong: list[str] = []
    n_wrong = 0
    for point in grid:
        try:
            build(point)
        except (ValueError, TypeError) as error:
            n_wrong += 1
            if n_wrong <= LARGEST_NAMED:
                where = ", ".join(f"{name}={value}" for name, value in point.items())
                wrong.append(f"{where}: {error}")
    _raise(wrong, "point", n_wrong)


def _raise(wrong: list[str], what: str, n_wrong: int | None = None) -> None:
    n_wrong = len(wrong) if n_wrong is None else n_wrong
    if not n_wrong:
        return
    named = "\n  ".join(wrong[:LARGEST_NAMED])
    more = f"\n  and {n_wrong - LARGEST_NAMED} more" if n_wrong > LARGEST_NAMED else ""
    count = f"1 {what} that is" if n_wrong == 1 else f"{n_wrong} {what}s that are"
    raise ValueError(f"{count} not permitted; nothing was run:\n  {named}{more}")
