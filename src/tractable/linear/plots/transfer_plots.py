"""Pictures of transfer: where learning another task helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_shape
from tractable.linear.arrays import as_float64
from tractable.linear.plots.spectrum_plots import _canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_transfer"]


def plot_transfer(
    q: ArrayLike, snr_b: ArrayLike, benefit: ArrayLike, *, ax: Axes | None = None
) -> Figure:
    """Draw the benefit of transfer as a map of overlap and strength, with the line T = 0.

    Parameters
    ----------
    q : array, shape (n_q,)
        Overlaps of the tasks' input vectors.
    snr_b : array, shape (n_b,), > 0
        Strengths of task B, in units of the noise; the axis is logarithmic.
    benefit : array, shape (n_b, n_q)
        T of `transfer_benefit`.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> figure = plot_transfer([0, 1], [1, 10], [[-0.01, 0.0], [-0.06, 0.1]])
    """
    across, up = as_float64("q", q), as_float64("snr_b", snr_b, low=0.0)
    values = as_float64("benefit", benefit)
    check_shape("benefit", values.shape, (len(up), len(across)))
    with _canvas(ax) as (figure, axes):
        largest = max(float(np.abs(values).max()), 1e-12)
        image = axes.pcolormesh(
            across, up, values, cmap="RdBu", vmin=-largest, vmax=largest, shading="gouraud"
        )
        bar = figure.colorbar(image, ax=axes)
        bar.set_label("benefit T for task A")
        if values.min() < 0 < values.max():
            axes.contour(across, up, values, levels=[0.0], colors="black", linewidths=1.5)
            axes.plot([], [], color="black", lw=1.5, label="T = 0")
            axes.legend(loc="upper left")
        axes.set(xlabel="overlap q of the tasks", ylabel="strength of task B (σ)", yscale="log")
        if ax is None:
            figure.set_label(
                "Benefit for task A of learning task B with it: blue helps, red harms; the black "
                "line is no effect."
            )
    return figure
