"""Responses as they come: axes in any order, lists of trials, tensors, indices or masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite

__all__ = ["AXES", "as_plain", "chosen", "few", "gathered", "in_order", "milliseconds"]

AXES = ("image", "repetition", "neuron", "bin")
UNITS_MS = {"s": 1e3, "second": 1e3, "sec": 1e3, "ms": 1.0, "millisecond": 1.0, "msec": 1.0,
            "us": 1e-3, "microsecond": 1e-3}  # fmt: skip


def in_order(values: ArrayLike, axes: str | Sequence[str]) -> np.ndarray:
    """Return floats (images, repetitions, neurons, bins) of an array whose axes are named."""
    given = axes.split() if isinstance(axes, str) else axes
    names = tuple(given) if isinstance(given, Iterable) else (given,)
    if len(set(names)) < len(names) or not {"image", "neuron"} <= set(names) <= set(AXES):
        raise ValueError(
            f"axes must name {', '.join(AXES)} (repetition and bin may be absent), got {names}"
        )
    found = np.asarray(as_plain(values))
    if found.dtype.kind not in "biuf":
        raise TypeError(f"responses (values) must be real numbers, got dtype {found.dtype}")
    if found.ndim != len(names):
        raise ValueError(f"responses (values) have {found.ndim} axes, but axes names {len(names)}")
    present = [name for name in AXES if name in names]
    found = found.transpose([names.index(name) for name in present])
    for place, name in enumerate(AXES):
        if name not in present:
            found = np.expand_dims(found, place)
    return found.astype(np.float32 if found.dtype == np.float32 else float)


def milliseconds(times: Any) -> np.ndarray:
    """Return the times of a labeled array's coordinate in ms, from what its ``units`` say."""
    found = np.asarray(times.values)
    if found.dtype.kind == "m":  # time spans, as xarray makes them of a file's "seconds"
        return np.asarray(found / np.timedelta64(1, "ns") * 1e-6)
    unit = str(times.attrs.get("units") or "ms").strip().lower()
    factor = UNITS_MS.get(unit, UNITS_MS.get(unit.removesuffix("s")))
    if factor is None:
        raise ValueError(f"units of {times.name!r} must be s, ms or us, got {unit!r}")
    return as_floats("time_ms", found) * factor


def gathered(
    values: ArrayLike, image_of_trial: Sequence[Any] | np.ndarray
) -> tuple[np.ndarray, list[Any]]:
    """Return (images, repetitions, neurons, bins) of single trials, NaN where one has fewer."""
    found = as_floats("values", as_plain(values))
    if found.ndim == 2:
        found = found[..., None]
    image = np.asarray(image_of_trial)
    if image.dtype.kind == "f":
        check_finite("image_of_trial", image)
    kinds, which = np.unique(image, return_inverse=True)
    if found.ndim != 3 or which.shape != (len(found),):
        raise ValueError(
            "values must be (trials, neurons, bins) with one image_of_trial each, got "
            f"{found.shape} and {which.shape}"
        )
    counts = np.bincount(which)
    filled = np.full((len(kinds), int(counts.max(initial=1)), *found.shape[1:]), np.nan)
    order = np.argsort(which, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    filled[which[order], place] = found[order]
    return filled, kinds.tolist()


def as_plain(values: Any) -> Any:
    """Return a tensor without its gradient, on the CPU; anything else as it is."""
    return values.detach().cpu() if hasattr(values, "detach") else values


def chosen(name: str, given: ArrayLike | None, n: int) -> np.ndarray:
    """Return indices of 0 .. n - 1 that were given as such, or as a mask."""
    if given is None:
        return np.arange(n)
    try:
        found = np.asarray(as_plain(given))
    except ValueError:  # lists of several lengths
        found = np.asarray(None)
    if found.dtype == bool and found.shape == (n,):
        found = np.flatnonzero(found)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole numbers of 0 .. {n - 1}, or a mask of all {n}, one at least "
            f"kept, got {given!r}"
        )
    if found.min() < -n or found.max() >= n:
        bad = found[(found < -n) | (found >= n)]
        raise ValueError(f"{name} must be of 0 .. {n - 1}, got {few(bad)}")
    return found


def few(numbers: np.ndarray) -> str:
    """Return the first five numbers as text, and how many more there are."""
    shown = ", ".join(map(str, numbers[:5]))
    return shown + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
