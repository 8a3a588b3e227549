"""Checks of input at the public boundary, and the warnings of this library.

Every message names the argument, what came and what is allowed.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ConvergenceWarning",
    "TractableWarning",
    "as_floats",
    "check_choice",
    "check_count",
    "check_finite",
    "check_generator",
    "check_range",
    "check_shape",
    "nearest_names",
    "quiet",
]


class TractableWarning(UserWarning):
    """A warning of this library: the result stands, but read the message."""


class ConvergenceWarning(TractableWarning):
    """An iteration stopped before its tolerance; the message holds the residual."""


def check_finite(name: str, value: Any) -> None:
    """Refuse NaN and infinity.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array, tensor or float
        Any shape.

    Raises
    ------
    ValueError
        With the number of non-finite entries and the first index.

    Examples
    --------
    >>> import numpy as np
    >>> check_finite("x", np.array([1.0, np.nan]))
    Traceback (most recent call last):
    ValueError: x must be finite, got 1 of 2 entries NaN or infinite (first at index (1,))
    """
    if value is None or isinstance(value, str):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if isinstance(value, float | int):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")
        return
    import numpy as np  # not at the top: the command line starts without it

    if getattr(value, "is_meta", False):
        raise ValueError(
            f"{name} is on the meta device, which holds no numbers; load the values first "
            "(module.to_empty(device='cpu'), then load_state_dict)"
        )
    if not hasattr(value, "isfinite"):
        value = np.asarray(value)
        value = value if value.dtype.kind in "biufc" else as_floats(name, value)
    finite = np.isfinite(value) if isinstance(value, np.ndarray) else value.isfinite().cpu().numpy()
    if not finite.all():
        bad = np.argwhere(~np.atleast_1d(finite))
        first = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} must be finite, got {len(bad)} of {finite.size} entries NaN or infinite "
            f"(first at index {first})"
        )


def as_floats(name: str, value: Any) -> np.ndarray:
    """Return numbers as a float64 array of any shape; refuse what holds anything else.

    Examples
    --------
    >>> as_floats("noise", [1, 2.5])
    array([1. , 2.5])
    >>> as_floats("noise", "much")
    Traceback (most recent call last):
    TypeError: noise must hold real numbers, got 'much'
    """
    import numpy as np

    try:
        found = np.asarray(value)
        # Text that looks like numbers is text all the same.
        if found.dtype.kind in "biuf":
            return np.asarray(found, dtype=float)
        if found.dtype.kind == "O":
            return found.astype(float)
    except (TypeError, ValueError):
        found = np.asarray(None)
    came = repr(value)
    came = came if len(came) < 60 else f"an array of {found.dtype}"
    raise TypeError(f"{name} must hold real numbers, got {came}")


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Refuse what is no whole number >= ``low``.

    Examples
    --------
    >>> check_count("n_in", 2.5)
    Traceback (most recent call last):
    ValueError: n_in must be a whole number >= 1, got 2.5
    """
    try:
        count = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = None
    if count is None:
        raise ValueError(f"{name} must be a whole number >= {low}, got {value!r}")
    check_range(name, count, low)


def check_generator(name: str, value: Any) -> None:
    """Refuse what is no ``torch.Generator``, such as a seed.

    Examples
    --------
    >>> check_generator("generator", 3)
    Traceback (most recent call last):
    TypeError: generator must be a torch.Generator, got 3; give torch.Generator().manual_seed(3)
    """
    if not hasattr(value, "initial_seed"):  # without an import of torch
        mend = f"; give torch.Generator().manual_seed({value})" if isinstance(value, int) else ""
        raise TypeError(f"{name} must be a torch.Generator, got {value!r}{mend}")


def check_range(
    name: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Refuse a number outside ``[low, high]`` (or outside the open interval).

    Examples
    --------
    >>> check_range("depth", 0, low=1)
    Traceback (most recent call last):
    ValueError: depth must be >= 1, got 0
    """
    try:
        below = bool(value <= low if open_low else value < low)
    except (TypeError, ValueError):  # text, None, or an array of several
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    above = value >= high if open_high else value > high
    if below or above or math.isnan(value):
        lower = f"{'>' if open_low else '>='} {low:g}" if low > -math.inf else ""
        upper = f"{'<' if open_high else '<='} {high:g}" if high < math.inf else ""
        upper = "finite" if open_high and high == math.inf else upper
        allowed = " and ".join(part for part in (lower, upper) if part) or "a number"
        raise ValueError(f"{name} must be {allowed}, got {value}")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is not among the choices, and name the nearest one.

    Examples
    --------
    >>> check_choice("kind", "rooot", ["root", "slow"])
    Traceback (most recent call last):
    ValueError: kind must be one of 'root', 'slow', got 'rooot'; did you mean 'root'?
    """
    allowed = list(choices)
    if value not in allowed:
        near = nearest_names(str(value), [str(choice) for choice in allowed], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {listed}, got {value!r}{hint}")


def check_shape(name: str, shape: Iterable[int], expected: Iterable[int | str]) -> None:
    """Refuse a shape that differs from the expected one; strings stand for any size.

    Examples
    --------
    >>> check_shape("starts", (3, 5), ("n", 4))
    Traceback (most recent call last):
    ValueError: starts must have shape (n, 4), got (3, 5)
    >>> check_shape("x", (784, 100), ("n_samples", 100))
    >>> check_shape("x", (100, 784), ("n_samples", 100))
    Traceback (most recent call last):
    ValueError: x must have shape (n_samples, 100), got (100, 784); transposed?
    """
    got, wanted = tuple(shape), tuple(expected)

    def fits(sizes: tuple[int, ...]) -> bool:
        return len(sizes) == len(wanted) and all(
            isinstance(w, str) or s == w for s, w in zip(sizes, wanted, strict=True)
        )

    if not fits(got):
        hint = "; transposed?" if len(got) == 2 and fits(got[::-1]) else ""
        text = ", ".join(str(w) for w in wanted) + ("," if len(wanted) == 1 else "")
        raise ValueError(f"{name} must have shape ({text}), got {got}{hint}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence this library's warnings where the caller reports their content itself.

    Examples
    --------
    >>> import warnings
    >>> with quiet():
    ...     warnings.warn("seen", ConvergenceWarning)
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)
        yield


def nearest_names(name: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Return the ``n`` names closest in spelling, best first.

    Examples
    --------
    >>> nearest_names("dynamics-sentimnt", ["dynamics-sentiment", "linear-modes"], n=1)
    ['dynamics-sentiment']
    """
    import difflib

    return difflib.get_close_matches(name, list(names), n=n, cutoff=0.4)
