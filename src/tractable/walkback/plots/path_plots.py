"""Pictures of paths in the plane, and of the probability current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tractable import plot
from tractable.core.checks import check_choice

__all__ = ["current_quiver", "heat_and_walk", "scatter"]


def scatter(
    points: ArrayLike, *, title: str = "", limit: float = 3.0, color: str = "C0",
    size: float = 2.0, ax: Axes | None = None,
) -> Figure:  # fmt: skip
    """Draw points of the plane.

    Parameters
    ----------
    points : array_like, shape (n, 2)
        States.
    title, color : str
        Title and color.
    limit : float
        Both axes run from -limit to limit.
    size : float
        Area of a point, square points of type.
    ax : Axes, optional
        Where to draw.
    """
    points = np.asarray(points, dtype=float)
    figure, ax = plot.axes_of(ax)
    ax.plot(points[:, 0], points[:, 1], "o", ms=np.sqrt(size), mec="none", alpha=0.5, color=color)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=title)
    ax.set(xlabel="$s_1$", ylabel="$s_2$", label=title or "states")
    return figure


def heat_and_walk(
    heated: ArrayLike,
    generated: ArrayLike,
    labels: Sequence[str],
    *,
    limit: float = 3.0,
    axes: Any = None,
) -> Figure:
    """Draw the path from data to noise above the path from noise to samples.

    Parameters
    ----------
    heated : array_like, shape (k, n, 2)
        States of the heating path at k times, data first.
    generated : array_like, shape (k, n, 2)
        States of the generated path at the same temperatures: the same column, read backwards.
    labels : sequence of k str
        Names of the columns.
    limit : float
        Both axes run from -limit to limit.
    axes : array of Axes, shape (2, k), optional
        Where to draw.
    """
    rows = (np.asarray(heated, dtype=float), np.asarray(generated, dtype=float))
    k = len(rows[0])
    if rows[0].shape[0] != rows[1].shape[0] or len(labels) != k:
        raise ValueError(
            f"heated, generated and labels must have the same length, got {k}, {len(rows[1])} "
            f"and {len(labels)}"
        )
    if axes is None:
        figure, axes = plot.new(2, k, size=(1.75 * k + 0.6, 4.2), sharex=True, sharey=True)
    else:
        figure = axes.flat[0].get_figure(root=True)
    for row, states in enumerate(rows):
        for column in range(k):
            ax = axes[row, column]
            scatter(states[column], limit=limit, color=f"C{row}", ax=ax)
            ax.set_xlabel("$s_1$" if row else "")
            ax.set_ylabel(
                ("heating" if row == 0 else "generated") + "\n$s_2$" if not column else ""
            )
            if row == 0:
                ax.set_title(labels[column])
    return figure


def current_quiver(
    x_edges: ArrayLike,
    y_edges: ArrayLike,
    density: ArrayLike,
    field: ArrayLike,
    *,
    what: str = "current",
    every: int = 1,
    ax: Axes | None = None,
) -> Figure:
    """Draw a vector field over the density of a stationary chain.

    Parameters
    ----------
    x_edges, y_edges : array_like, shapes (nx + 1,) and (ny + 1,)
        Edges of the cells.
    density : array_like, shape (nx, ny)
        Probability per area.
    field : array_like, shape (nx, ny, 2)
        Probability current (density times length per step): it vanishes in equilibrium. Or the
        drift E[s' - s | s], which does not.
    what : str
        ``"current"`` or ``"drift"``: the name of the field.
    every : int
        Draw every so many cells.
    ax : Axes, optional
        Where to draw.
    """
    check_choice("what", what, ("current", "drift"))
    x_edges, y_edges = np.asarray(x_edges, float), np.asarray(y_edges, float)
    density, field = np.asarray(density, float), np.asarray(field, float)
    figure, ax = plot.axes_of(ax, size=(4.6, 4.0))
    image = ax.pcolormesh(x_edges, y_edges, density.T, cmap="Blues", rasterized=True)
    x, y = (edges[:-1] + np.diff(edges) / 2 for edges in (x_edges, y_edges))
    at = (slice(None, None, every), slice(None, None, every))
    u, v = field[..., 0][at], field[..., 1][at]
    shown = np.where(np.isfinite(u) & np.isfinite(v), 1.0, np.nan)
    largest = float(np.nanmax(np.hypot(u, v) * shown)) if np.isfinite(shown).any() else 1.0
    spacing = float(x[1] - x[0]) * every if len(x) > 1 else 1.0
    xx, yy = np.meshgrid(x[::every], y[::every], indexing="ij")
    arrows = ax.quiver(
        xx, yy, u * shown, v * shown, color="C1", angles="xy", scale_units="xy",
        scale=max(largest, 1e-300) / (1.4 * spacing), width=0.004,
    )  # fmt: skip
    unit = "density · length / step" if what == "current" else "length / step"
    ax.quiverkey(arrows, 0.75, 1.04, largest, f"{what} {largest:.2g}\n{unit}", labelpos="E",
                 fontproperties={"size": 7})  # fmt: skip
    ax.set(aspect="equal", xlabel="$s_1$", ylabel="$s_2$")
    figure.colorbar(image, ax=ax, label="density", shrink=0.8)
    return figure
