"""Signatures of several networks beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tractable.dynamics.plots.canvas import CYCLE, LIGHT, Array, canvas, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_comparison"]

LOWEST, HIGHEST = 1e-2, 1e3  # of a number over its bound, on paper


def plot_comparison(
    measured: Array,
    at_least: Array,
    *,
    names: Sequence[str] = (),
    signatures: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Draw each signature of each network as a multiple of its bound.

    Parameters
    ----------
    measured, at_least : array, shape (R, C)
        Signatures (columns) of networks (rows), and their bounds > 0: `Comparison.measured` and
        `Comparison.at_least`. Infinite numbers are drawn at the edge.
    names : sequence of R str, optional
        The networks.
    signatures : sequence of C str, optional
        What was measured.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure
        The figure.
    """
    value = numbers("measured", measured, ("R", "C"), infinite=True)
    bound = numbers("at_least", at_least, value.shape)
    networks = list(names) or [f"network {i}" for i in range(len(value))]
    labels = list(signatures) or [f"signature {i}" for i in range(value.shape[1])]
    for name, given, count in (
        ("names", networks, len(value)),
        ("signatures", labels, value.shape[1]),
    ):
        if len(given) != count:
            raise ValueError(f"{name} must have {count} entries, got {len(given)}")
    if (bound <= 0).any():
        raise ValueError("at_least must be > 0")
    ratio = (value / bound).clip(LOWEST, HIGHEST)
    rows = np.arange(len(labels))
    caption = (
        "Signatures of a line attractor in several networks, each over the bound that it should "
        "reach (dotted): to the right of 1 it holds."
    )
    with canvas(ax, caption, size=(6.2, 0.45 * len(rows) + 1.4)) as (figure, axes):
        axes.axvline(1.0, color="0.4", linestyle=":", zorder=1)
        for row in rows:
            axes.axhline(float(row), color=LIGHT, linewidth=0.5, zorder=0)
        n = len(networks)
        for i, name in enumerate(networks):
            shift = 0.5 * (i - (n - 1) / 2) / max(n, 1)
            color = CYCLE[i % len(CYCLE)]
            axes.plot(ratio[i], rows + shift, "o", color=color, label=name, markersize=5)
        axes.set(xscale="log", xlabel="measured over its bound", ylabel="signature", yticks=rows)
        axes.set_yticklabels(labels)
        axes.invert_yaxis()
        if n:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
