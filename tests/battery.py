"""Bad arguments for every public callable, made from the calls in its own docstring.

Every public function and class has an example in its docstring. The examples are run with a
recorder in the place of the callables; each call that they make is then repeated with one
argument spoiled at a time: NaN, infinity, an empty array, one axis too many, the transpose, text
for numbers, a negative or broken count, an unknown name. A call passes when it raises a
``ValueError`` or ``TypeError`` whose message names the argument. A shape that a function takes (an
empty array, one more axis, the transpose of an array of any shape) is no miss.
"""

from __future__ import annotations

import contextlib
import copy
import doctest
import functools
import importlib
import inspect
import io
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Call:
    """A call that an example makes: what is called, on what, with which arguments by name."""

    label: str
    target: Callable[..., Any]
    owner: object
    """The object of a method; None for functions and classes."""
    arguments: dict[str, Any]
    kinds: dict[str, Any]
    hints: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a bad argument: ``ok``, ``unnamed``, ``other`` or ``accepted``."""

    call: str
    verdict: str
    said: str


def public_names(room: str) -> list[str]:
    """Return the public callables of a package; exceptions and warnings are left out."""
    module = importlib.import_module(room)
    found = [(n, getattr(module, n)) for n in module.__all__]
    return [
        name
        for name, value in found
        if callable(value)
        and not (inspect.isclass(value) and issubclass(value, BaseException))
        and getattr(value, "__module__", "").startswith("tractable")
    ]


def record(room: str) -> list[Call]:
    """Run the examples of a package's public names and return the first call of each callable."""
    module = importlib.import_module(room)
    names = public_names(room)
    calls: dict[str, Call] = {}
    depth = 0

    def recorder(label: str, original: Callable[..., Any], target: Any, bound: bool) -> Any:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if depth == 0 and label not in calls:
                with contextlib.suppress(TypeError):
                    arguments = dict(signature.bind(*args, **kwargs).arguments)
                    owner = arguments.pop(next(iter(signature.parameters))) if bound else None
                    kinds = {k: p.kind for k, p in signature.parameters.items()}
                    whose = None if target is not original else owner
                    hints = _hints(original)
                    calls[label] = Call(label, target, whose, arguments, kinds, hints)
            depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                depth -= 1

        return wrapper

    with contextlib.ExitStack() as stack:
        functions: dict[str, Any] = {}

        def patch(owner: Any, key: str, value: Any) -> None:
            stack.callback(setattr, owner, key, owner.__dict__[key])
            setattr(owner, key, value)

        for name in names:
            item = getattr(module, name)
            if inspect.isclass(item):
                for key, value in list(item.__dict__.items()):
                    label = f"{name}.{key}"
                    if key == "__init__" and isinstance(value, types.FunctionType):
                        patch(item, key, recorder(name, value, item, bound=True))
                    elif key.startswith("_"):
                        continue
                    elif isinstance(value, types.FunctionType):
                        patch(item, key, recorder(label, value, value, bound=True))
                    elif isinstance(value, classmethod):
                        inner = value.__func__
                        patch(item, key, classmethod(recorder(label, inner, inner, bound=True)))
                    elif isinstance(value, staticmethod):
                        inner = value.__func__
                        patch(item, key, staticmethod(recorder(label, inner, inner, bound=False)))
            elif isinstance(item, types.FunctionType):
                functions[name] = recorder(name, item, item, bound=False)
                for home in (module, sys.modules[item.__module__]):
                    if home.__dict__.get(name) is item:
                        patch(home, name, functions[name])
        for name in names:
            item = inspect.unwrap(getattr(module, name))
            _run_examples(name, item, functions)
    return list(calls.values())


def _run_examples(name: str, item: Any, functions: dict[str, Any]) -> None:
    home = sys.modules[item.__module__].__dict__
    finder = doctest.DocTestFinder()
    for test in finder.find(item, name, globs={**home, **functions}):
        if test.examples:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                runner = doctest.DocTestRunner(verbose=False)
                runner.run(test, out=lambda text: None, clear_globs=False)


def spoiled(value: Any, hint: Any) -> Iterator[tuple[str, Any]]:
    """Yield the ways in which an argument can be wrong, with the value."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, np.ndarray | torch.Tensor):
        if not value.ndim or not min(value.shape):
            return
        numpy = isinstance(value, np.ndarray)
        if value.dtype.kind == "f" if numpy else value.is_floating_point():
            for word in ("nan", "inf"):
                bad = value.copy() if numpy else value.detach().clone()
                bad[(0,) * value.ndim] = float(word)
                yield word, bad
        yield "empty", value[:0]
        yield "one more axis", value[None]
        if value.ndim == 2 and value.shape[0] != value.shape[1]:
            yield "transposed", value.T
        if numpy:
            yield "text", np.full(value.shape, "a")
        return
    if isinstance(value, str):
        yield "unknown name", "no such thing"
        return
    if isinstance(value, int | np.integer):
        yield "negative", -1
        yield "nan", float("nan")
        if hint is int or int in typing.get_args(hint):
            yield "fraction", value + 0.5
        yield "text", "many"
        return
    if isinstance(value, float | np.floating):
        yield "nan", float("nan")
        yield "text", "much"
        return
    if type(value) in (list, tuple) and value and all(type(x) in (int, float) for x in value):
        yield "empty", type(value)()
        yield "nan", type(value)([float("nan"), *value[1:]])


def attempts(call: Call) -> Iterator[tuple[str, str, Any]]:
    """Yield the bad calls that one good call gives: argument, what is wrong, the value."""
    for name, value in call.arguments.items():
        if call.kinds[name] not in VARIADIC:
            for word, bad in spoiled(value, call.hints.get(name)):
                yield name, word, bad


def attempt(call: Call, name: str, word: str, bad: Any) -> Outcome:
    """Repeat a call with one argument spoiled."""
    args: list[Any] = [] if call.owner is None else [_own(call.owner)]
    kwargs: dict[str, Any] = {}
    for key, value in {**call.arguments, name: bad}.items():
        if call.kinds[key] is inspect.Parameter.VAR_POSITIONAL:
            args += list(value)
        elif call.kinds[key] is inspect.Parameter.VAR_KEYWORD:
            kwargs |= value
        elif call.kinds[key] is inspect.Parameter.POSITIONAL_ONLY:
            args.append(value)
        else:
            kwargs[key] = value
    label = f"{call.label}({name}={word})"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = call.target(*args, **kwargs)
            if inspect.isgenerator(found):
                list(found)
    except (ValueError, TypeError) as error:
        said = f"{type(error).__name__}: {error}"
        named = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error))
        return Outcome(label, "ok" if named else "unnamed", said)
    except Exception as error:
        return Outcome(label, "other", f"{type(error).__name__}: {error}")
    return Outcome(label, "accepted", "")


def _own(owner: object) -> object:
    if inspect.isclass(owner):
        return owner
    try:
        return copy.deepcopy(owner)
    except Exception:  # an open file, a lock: the object itself
        return owner


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # names that are imported for type checkers only
        return {}
