"""The fields of a study as controls of a page, and as the words of a link.

A study says the type, the range and the meaning of each field once; this module only reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

from tractable.core.checks import nearest_names
from tractable.core.fields import Range, field_docs
from tractable.core.grid import kind_of, read_value
from tractable.study import Study

__all__ = ["Control", "controls", "link_words", "read_study"]

N_STEPS = 60  # positions of a slider between its ends, at most
FAR = 30.0  # a slider that reaches so many times farther than its start is cut


@dataclass(frozen=True)
class Control:
    """How one field is set.

    Attributes
    ----------
    name : str
        The field.
    kind : str
        ``slider`` (positions in ``options``), ``choice`` (of ``options``), ``switch``, or ``text``.
    value : object
        Where it stands: the number, the option, the bool; the text of anything else.
    options : tuple
        Positions of a slider in order, or options of a choice.
    help : str
        The field's docstring.
    """

    name: str
    kind: Literal["slider", "choice", "switch", "text"]
    value: Any
    options: tuple[Any, ...] = ()
    help: str = ""


def controls(study: Study) -> tuple[Control, ...]:
    """Return a control for every field, standing at the study's parameters.

    Parameters
    ----------
    study : Study
        Where the controls stand.

    Returns
    -------
    tuple of Control

    Examples
    --------
    >>> from tractable.studies import find
    >>> first = controls(find("dynamics-rank-one")())[0]
    >>> first.name, first.kind
    ('n_units', 'slider')
    """
    docs = field_docs(type(study))
    out = []
    for name, hint in study.field_types().items():
        value, help_ = getattr(study, name), docs.get(name, "")
        kind, bounds = kind_of(hint)
        if kind is bool:
            out.append(Control(name, "switch", value, help=help_))
        elif get_origin(kind) is Literal and value is not None:
            out.append(Control(name, "choice", value, get_args(kind), help_))
        elif kind in (int, float) and value is not None and bounds is not None:
            out.append(Control(name, "slider", value, _steps(value, kind, bounds), help_))
        else:
            out.append(Control(name, "text", _text(value), help=help_))
    return tuple(out)


def _steps(value: float, kind: type, bounds: Range) -> tuple[Any, ...]:
    """Return the positions of a slider: within the range, through the value, at most N_STEPS."""
    low, high = bounds.low, bounds.high
    logarithmic = bounds.log and low > 0
    if not logarithmic:
        # A range says what is permitted; a slider over 0 .. 10^9 that stands at 3 sets nothing.
        reach = FAR * max(abs(value), 1 if kind is int else 1e-3)
        low, high = max(low, -reach), min(high, reach)
    if kind is int and high - low <= N_STEPS:
        return tuple(range(math.ceil(low), math.floor(high) + 1))
    share = [i / (N_STEPS - 1) for i in range(N_STEPS)]
    if logarithmic:
        steps = [low * (high / low) ** t for t in share]
    else:
        steps = [low + (high - low) * t for t in share]
    if kind is int:
        return tuple(sorted({value, *(min(max(round(s), low), high) for s in steps)}))
    rounded = {float(f"{s:.3g}") for s in steps}
    return tuple(sorted({float(value), *(s for s in rounded if low <= s <= high), low, high}))


def read_study(cls: type[Study], words: Mapping[str, Any], preset: str = "default") -> Study:
    """Return the study that a link, or the controls, describe.

    Parameters
    ----------
    cls : type
        The study.
    words : mapping
        Field to value, or to its text as in a grid (``32``, ``true``, ``(2,8)``, ``None``).
    preset : str
        Where the other fields come from.

    Raises
    ------
    ValueError
        An unknown field or a value that is not permitted, as on the command line.

    Examples
    --------
    >>> from tractable.studies import find
    >>> read_study(find("dynamics-rank-one"), {"n_units": "65"}).n_units
    65
    """
    hints = cls.field_types()
    values = {}
    for name, value in words.items():
        if name not in hints:
            near = nearest_names(name, hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{cls.name()} has no parameter {name!r}{hint}")
        kind, _ = kind_of(hints[name])
        if not isinstance(value, str):
            # A slider hands over 3.0 as 3.
            values[name] = float(value) if kind is float and type(value) is int else value
        else:
            values[name] = read_value(name, value, hints[name])
    return cls.preset(preset, **values)


def link_words(study: Study, preset: str = "default") -> dict[str, str]:
    """Return the words of a link to a study: the fields that differ from the preset's.

    Examples
    --------
    >>> from tractable.studies import find
    >>> link_words(find("dynamics-rank-one")(n_units=65))
    {'n_units': '65'}
    """
    start = type(study).preset(preset)
    return {
        item.name: _text(getattr(study, item.name))
        for item in fields(study)
        if getattr(study, item.name) != getattr(start, item.name)
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        quoted = (f'"{v}"' if isinstance(v, str) and set(v) & set(",()[]") else v for v in value)
        return f"({','.join(map(_text, quoted))})"
    return str(value)
