"""What a search may try: fields with lists or intervals of values, and how optuna draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from tractable.core.checks import nearest_names
from tractable.core.fields import Range, kind_of
from tractable.core.grid import Interval, read_axis
from tractable.study import Study

if TYPE_CHECKING:
    import optuna

__all__ = ["space_of", "suggest"]


def space_of(cls: type[Study], over: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Return field to values: a tuple, or an Interval; empty: the study suggests by itself."""
    hints = cls.field_types()
    if not over:
        if hasattr(cls, "suggest"):
            return {}
        space = {name: _natural(hint) for name, hint in hints.items()}
        space = {name: values for name, values in space.items() if values is not None}
        if not space:
            raise ValueError(f"{cls.name()} has no field with a Range or a Literal to search")
        return space
    pairs = over.items() if isinstance(over, Mapping) else [_pair(text) for text in over]
    space = {}
    for name, values in pairs:
        if name not in hints:
            near = nearest_names(name, hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(hints)}"
            raise ValueError(f"over: there is no field {name!r}{hint}")
        natural = values is None
        found = _natural(hints[name]) if natural else read_axis("over", name, values, hints[name])
        if found is None:
            raise ValueError(f"over: {name} has no Range: give its values, {name}=...")
        space[name] = found
    return space


def _pair(text: str) -> tuple[str, str | None]:
    name, sign, values = text.partition("=")
    return name.strip().replace("-", "_"), values if sign else None


def _natural(hint: Any) -> Any:
    """Return what the annotation permits: a tuple of values, an Interval, or None."""
    kind, bounds = kind_of(hint)
    if get_origin(kind) is Literal:
        return get_args(kind)
    if kind is bool:
        return (False, True)
    if kind in (int, float) and isinstance(bounds, Range):
        log_ = bounds.log and bounds.low > 0
        return Interval(bounds.low, bounds.high, log_, whole=kind is int)
    return None


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field values that a trial tries."""
    point: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Interval) and values.whole:
            point[name] = trial.suggest_int(
                name, math.ceil(values.low), math.floor(values.high), log=values.log
            )
        elif isinstance(values, Interval):
            point[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
        else:  # optuna keeps plain values: tuples are chosen by their text
            plain = all(isinstance(value, bool | int | float | str) for value in values)
            choices = list(values) if plain else [str(value) for value in values]
            chosen = trial.suggest_categorical(name, choices)
            point[name] = values[choices.index(chosen)]
    return point
