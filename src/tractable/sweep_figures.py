"""Pictures of a sweep: small multiples over the swept fields; theory a line, measurement markers.

Seeds are averaged: the marker is their mean, the bar its standard error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable import plot

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "drawable"]

RESERVED = ("error", "checks", "checks_hold")
MOST_COLUMNS, MOST_ROWS, MOST_COLORS = 4, 4, 6
LOG_RATIO = 30.0  # values that span more than this are shown in the logarithm
POINT = "point"


def drawable(data: xr.Dataset, swept: Sequence[str]) -> list[str]:
    """Return the measured variables with one value, or one row of values, for each point."""
    dims = {POINT} if POINT in data.sizes else set(swept)
    names = []
    for name, variable in data.data_vars.items():
        text = str(name)
        inner = [dim for dim in variable.dims if dim not in dims]
        numbers = variable.dtype.kind in "if" and bool(np.isfinite(variable).any())
        if text in RESERVED or text.startswith("theory_") or not numbers or len(inner) > 1:
            continue
        if dims & set(map(str, variable.dims)):
            names.append(text)
    return names


def draw(data: xr.Dataset, name: str, swept: Sequence[str]) -> Figure:
    """Draw one measured variable over the swept fields, with its theory.

    Parameters
    ----------
    data : xr.Dataset
        Of `tractable.sweep.sweep`.
    name : str
        A variable that `drawable` names.
    swept : sequence of str
        The swept fields.
    """
    if POINT in data.sizes:
        return _scattered(data, name, swept)
    variable = data[name]
    inner = [str(dim) for dim in variable.dims if dim not in swept]
    free = [dim for dim in swept if dim != "seed" and data.sizes[dim] > 1]
    free.sort(key=lambda dim: (not _numeric(data, dim), -data.sizes[dim]))
    if inner:
        x = inner[0]
    elif free:
        x = free.pop(0)
    else:
        x = next((dim for dim in swept if data.sizes[dim] > 1), swept[0])
    colors, columns, rows = (free.pop(0) if free else None for _ in range(3))
    rest = {dim: 0 for dim in free}
    data = data.isel(rest)
    across, down = _chosen(data, columns, MOST_COLUMNS), _chosen(data, rows, MOST_ROWS)
    size = (max(5.2, 2.7 * len(across) + 1.6), max(3.4, 2.3 * len(down) + 0.6))
    figure, axes = plot.new(
        len(down), len(across), size=size, squeeze=False, sharex=True, sharey=True
    )
    for (i, row), (j, column) in itertools.product(enumerate(down), enumerate(across)):
        panel = _selected(_selected(data, rows, row), columns, column)
        _panel(axes[i, j], panel, name, x, colors)
        if _spans_decades(data[name].values):
            axes[i, j].set_yscale("log")
        titles = [_said(dim, data, at) for dim, at in ((rows, row), (columns, column)) if dim]
        axes[i, j].set_title(", ".join(titles), fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel(_label(data, x))
    for ax in axes[:, 0]:
        ax.set_ylabel(_label(data, name))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    fixed = "".join(f", {dim} = {data[dim].values.item()}" for dim in rest)
    averaged = " Seeds are averaged; bars are standard errors." if _averages(data, name, x) else ""
    panels = [dim for dim in (columns, rows) if dim]
    over = f", one panel for each {' and '.join(panels)}" if panels else ""
    figure.set_label(f"{_words(name)} against {_words(x)}{over}{fixed}.{averaged}")
    return figure


def _panel(ax: Axes, data: xr.Dataset, name: str, x: str, colors: str | None) -> None:
    values = _chosen(data, colors, MOST_COLORS)
    for k, value in enumerate(values):
        part, color = _selected(data, colors, value), f"C{k}"
        said = f", {_said(colors, data, value)}" if colors else ""
        theory = f"theory_{name}"
        if theory in part:
            inner = f"theory_{x}" if f"theory_{x}" in part[theory].dims else x
            at, mean, _ = _mean(part, theory, inner)
            if at is not None:
                plot.theory(ax, at, mean, color=color, label=f"theory{said}")
        at, mean, error = _mean(part, name, x)
        if at is not None:
            plot.measurement(ax, at, mean, error=error, color=color, label=f"measurement{said}")
    places = data[x].values if x in data.coords else np.arange(data.sizes[x])
    if not _numeric(data, x):
        ax.set_xticks(range(len(places)), [str(place) for place in places], rotation=30, ha="right")
    elif _spans_decades(places):
        ax.set_xscale("log")


def _mean(data: xr.Dataset, name: str, x: str) -> tuple[Any, Any, Any]:
    """Return places, means over everything but ``x``, and standard errors (None of one value)."""
    variable = data[name]
    if x not in variable.dims:
        if x not in data.dims:
            return None, None, None
        variable = variable.expand_dims({x: data[x] if x in data.coords else data.sizes[x]})
    values = np.moveaxis(variable.values.astype(float), variable.dims.index(x), 0)
    values = values.reshape(len(values), -1)
    n = np.isfinite(values).sum(axis=1)
    here = n > 0
    if not here.any():
        return None, None, None
    values, n = values[here], n[here]
    mean = np.nanmean(values, axis=1)
    spread = np.sqrt(np.nansum((values - mean[:, None]) ** 2, axis=1) / np.maximum(n - 1, 1))
    error = np.where(n > 1, spread / np.sqrt(n), 0.0) if (n > 1).any() else None
    numeric = _numeric(data, x)
    at = data[x].values if x in data.coords and numeric else np.arange(len(here))
    order = np.argsort(at[here], kind="stable")
    return at[here][order], mean[order], None if error is None else error[order]


def _scattered(data: xr.Dataset, name: str, swept: Sequence[str]) -> Figure:
    """Draw random points, one panel for each swept field."""
    fields = [dim for dim in swept if dim != "seed"][:MOST_COLUMNS] or list(swept)[:1]
    figure, axes = plot.new(
        1, len(fields), size=(max(5.2, 2.9 * len(fields) + 1.2), 3.4), squeeze=False, sharey=True
    )
    inner = [dim for dim in data[name].dims if dim != POINT]
    measured = data[name].mean(inner).values
    for ax, field in zip(axes[0], fields, strict=True):
        at = data[field].values
        if not _numeric(data, field):
            labels = sorted(set(at.tolist()))
            at = np.array([labels.index(value) for value in at.tolist()])
            ax.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
        elif _spans_decades(at):
            ax.set_xscale("log")
        if f"theory_{name}" in data and data[f"theory_{name}"].dims == (POINT,):
            # Of points in several fields there is no curve: a short line at each.
            theory = data[f"theory_{name}"].values
            ax.plot(at, theory, "_", color="C1", markersize=11, label="theory", zorder=2)
        plot.measurement(ax, at, measured, markersize=3.5)
        ax.set_xlabel(_words(field))
        if _spans_decades(measured):
            ax.set_yscale("log")
    axes[0, 0].set_ylabel(_label(data, name))
    handles, labels_ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels_, loc="outside right upper", fontsize="small")
    average = f", averaged over {', '.join(map(str, inner))}" if inner else ""
    figure.set_label(f"{_words(name)} at random points, against each swept field{average}.")
    return figure


# --- helpers ---------------------------------------------------------------------------------


def _chosen(data: xr.Dataset, dim: str | None, most: int) -> list[int | None]:
    """Return positions along a dimension, at most so many, both ends among them."""
    if dim is None:
        return [None]
    n = data.sizes[dim]
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, most)).round())]


def _selected(data: xr.Dataset, dim: str | None, position: int | None) -> xr.Dataset:
    return data if dim is None or position is None else data.isel({dim: position})


def _said(dim: str | None, data: xr.Dataset, position: int | None) -> str:
    value = data[dim].values[position]
    return f"{_words(str(dim))} = {value:.4g}" if _numeric(data, str(dim)) else f"{dim} = {value}"


def _numeric(data: xr.Dataset, dim: str) -> bool:
    return dim not in data.coords or data[dim].dtype.kind in "iuf"


def _spans_decades(values: Any) -> bool:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return finite.size > 2 and finite.min() > 0 and finite.max() > LOG_RATIO * finite.min()


def _averages(data: xr.Dataset, name: str, x: str) -> bool:
    return x != "seed" and "seed" in data[name].dims and data.sizes["seed"] > 1


def _words(name: str) -> str:
    return name.replace("_", " ")


def _label(data: xr.Dataset, name: str) -> str:
    attributes = data[name].attrs if name in data.variables else {}
    units = attributes.get("units", "1")
    return _words(name) + ("" if units in ("1", "") else f" ({units})")


def pictures(data: xr.Dataset, swept: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Yield name and picture of every variable that can be drawn."""
    for name in drawable(data, swept):
        with plot.style():
            yield name, draw(data, name, swept)
