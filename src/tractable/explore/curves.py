"""A theory's dataset as a picture, whatever study it comes from.

The studies' own figures hold theory and measurement together; before anything is measured the
explorer draws one quantity of the theory over the coordinates that it has.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable import plot

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["draw", "quantities", "scalars"]

MOST_LINES = 9
MOST_HUES = 6
MOST_PANELS = 6
IMAGE = 12  # lines from which numbers on a second numeric axis make an image


def quantities(theory: xr.Dataset) -> list[str]:
    """Return the variables that can be drawn, those over a numeric axis first.

    Parameters
    ----------
    theory : xarray.Dataset
        What a study's `theory` returned.

    Returns
    -------
    list of str
    """
    drawn = {
        str(name): _axis(theory, variable)
        for name, variable in theory.data_vars.items()
        if variable.ndim and variable.size > 1 and variable.dtype.kind in "iufb"
    }
    return sorted(drawn, key=lambda name: drawn[name] is None)


def scalars(theory: xr.Dataset) -> dict[str, float]:
    """Return the variables that are one number, by name."""
    return {
        str(name): float(variable)
        for name, variable in theory.data_vars.items()
        if variable.size == 1 and variable.dtype.kind in "iufb"
    }


def draw(theory: xr.Dataset, name: str) -> Figure:
    """Draw one quantity: lines over its longest numeric axis, one for each of its other entries.

    Two long numeric axes make an image; axes without numbers make points, or panels.

    Parameters
    ----------
    theory : xarray.Dataset
        What a study's `theory` returned.
    name : str
        One of `quantities`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        ``name`` is not a quantity of this theory.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y = xr.DataArray(np.eye(3), dims=("net", "t"), attrs={"units": "1"})
    >>> figure = draw(xr.Dataset({"y": y}, coords={"t": [0.0, 0.5, 1.0], "net": list("abc")}), "y")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['net a', 'net b', 'net c']
    """
    if name not in quantities(theory):
        raise ValueError(f"name must be one of {', '.join(quantities(theory))}, got {name!r}")
    variable = theory[name]
    axis = _axis(theory, variable)
    rest = [dim for dim in variable.dims if dim != axis]
    # Panels for what does not fit on one axes: the shortest of the other dimensions.
    lines = math.prod(variable.sizes[dim] for dim in rest)
    panel = None
    if len(rest) > 1:
        panel = min(rest, key=lambda dim: variable.sizes[dim])
        rest.remove(panel)
        lines //= variable.sizes[panel]
    count = 1 if panel is None else min(variable.sizes[panel], MOST_PANELS)
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure, axes = plot.new(rows, columns, squeeze=False)
    shown = set()
    for k, ax in enumerate(axes.flat):
        if k >= count:
            ax.set_axis_off()
            continue
        part = variable if panel is None else variable.isel({panel: k})
        if panel is not None:
            ax.set_title(_entry(theory, str(panel), k))
        shown.add(_panel(figure, ax, theory, part, axis, [str(dim) for dim in rest], lines))
    left = sum(variable.sizes[dim] for dim in [panel] if dim is not None) - count
    more = f"; the first {count} of {count + left}" if left > 0 else ""
    figure.set_label(f"{name} ({', '.join(sorted(shown))}), theory{more}")
    return figure


def _panel(
    figure: Figure,
    ax: Any,
    theory: xr.Dataset,
    part: Any,
    axis: str | None,
    rest: list[str],
    lines: int,
) -> str:
    label = _label(part.name, part)
    if axis is None:  # names only: points
        values = part.values.ravel()
        if part.ndim == 2:
            image = ax.imshow(part.values, aspect="auto", cmap="viridis")
            figure.colorbar(image, ax=ax, label=label)
            ax.set(xlabel=part.dims[1], ylabel=part.dims[0])
            return "an image"
        ax.plot(np.arange(len(values)), values, "_", markersize=14, markeredgewidth=2)
        ax.set(xlabel=part.dims[0], ylabel=label)
        if len(values) <= IMAGE and part.dims[0] in theory.coords:
            names = [str(entry) for entry in theory[part.dims[0]].values]
            ax.set_xticks(range(len(names)), names, rotation=30 if len(names) > 4 else 0)
        return "points"
    from matplotlib import cm

    x = _numbers(theory, axis, part.sizes[axis])
    xlabel = _label(axis, theory[axis] if axis in theory.coords else None)
    other = rest[0] if rest else None
    if other is not None and lines > IMAGE and _numeric(theory, other) and len(rest) == 1:
        y = _numbers(theory, other, part.sizes[other])
        values = part.transpose(other, axis).values.astype(float)
        image = ax.pcolormesh(x, y, values, shading="nearest", cmap="viridis")
        figure.colorbar(image, ax=ax, label=label)
        ax.set(xlabel=xlabel, ylabel=_label(other, theory[other]))
        _spacing(ax, x, "x")
        _spacing(ax, y, "y")
        return "an image"
    if other is None:
        plot.theory(ax, x, part.values, label=str(part.name))
    else:
        rows = part.transpose(*rest, axis).values.reshape(-1, len(x))
        chosen = np.unique(np.linspace(0, len(rows) - 1, MOST_LINES).round().astype(int))
        chosen = chosen if len(rows) > MOST_LINES else np.arange(len(rows))
        # Past the colors of the style, an order of colors: two lines never share one.
        shades = cm.viridis(np.linspace(0, 0.9, len(chosen))) if len(chosen) > MOST_HUES else None
        for k, row in enumerate(chosen):
            entries = np.unravel_index(row, [part.sizes[dim] for dim in rest])
            words = [
                _entry(theory, dim, int(entry)) for dim, entry in zip(rest, entries, strict=True)
            ]
            color = {} if shades is None else {"color": shades[k]}
            plot.theory(ax, x, rows[row], label=", ".join(words), **color)
        ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set(xlabel=xlabel, ylabel=label)
    _spacing(ax, x, "x")
    return "lines"


def _axis(theory: xr.Dataset, variable: Any) -> str | None:
    """Return the longest numeric axis of a variable, None without one."""
    numeric = [str(dim) for dim in variable.dims if _numeric(theory, str(dim))]
    return max(numeric, key=lambda dim: variable.sizes[dim], default=None)


def _numeric(theory: xr.Dataset, dim: str) -> bool:
    return dim in theory.coords and theory[dim].dtype.kind in "iuf" and theory.sizes[dim] > 2


def _numbers(theory: xr.Dataset, dim: str, size: int) -> np.ndarray:
    return theory[dim].values.astype(float) if dim in theory.coords else np.arange(float(size))


def _label(name: Any, variable: Any) -> str:
    text = str(name).replace("_", " ")
    attrs = {} if variable is None else variable.attrs
    text = attrs.get("long_name", text)
    unit = attrs.get("units", "1")
    return text if unit in ("1", "") else f"{text} ({unit})"


def _entry(theory: xr.Dataset, dim: str, index: int) -> str:
    value = theory[dim].values[index] if dim in theory.coords else index
    shown = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
    return f"{dim.replace('_', ' ')} {shown}"


def _spacing(ax: Any, values: np.ndarray, side: str) -> None:
    """Draw an axis in the logarithm where its points are spaced so."""
    if len(values) < 4 or values.min() <= 0 or values.max() < 30 * values.min():
        return
    steps = np.diff(np.log(values))
    if np.ptp(steps) < 0.2 * abs(steps.mean()) or values.max() > 1e3 * values.min():
        getattr(ax, f"set_{side}scale")("log")
