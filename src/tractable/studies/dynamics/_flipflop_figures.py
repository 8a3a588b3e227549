"""The pictures of the flip-flop study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable import plot
from tractable.dynamics.plots import plot_root_graph

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.studies.dynamics.dynamics_flipflop import DynamicsFlipflop


def figures(study: DynamicsFlipflop, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return all pictures by name."""
    pictures = {}
    if study.n_bits <= 3:
        pictures["cube"] = _cube(study, measured)
    return pictures | {"counts": _counts(theory, measured), "recovery": _recovery(theory, measured)}


def _cube(study: DynamicsFlipflop, measured: xr.Dataset) -> Figure:
    one = measured.isel(network=0)
    known = np.isfinite(one.root_unstable.values)
    edges = one.edge.values[np.isfinite(one.edge.values).all(1)]
    kept = edges[(edges < known.sum()).all(1)]
    figure = plot_root_graph(one.root_output.values[known], one.root_unstable.values[known], kept)
    figure.set_label(
        f"Fixed points of a GRU trained to remember {study.n_bits} bits, where its readout puts "
        "them. From beside each saddle of one unstable dimension the network falls into two "
        "memories that differ in one bit (lines): the edges of a cube. Gray: where the other "
        "saddles lead."
    )
    return figure


def _counts(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(5.2, 3.4))
    k = theory.dimension.values
    plot.theory(ax, k, theory["count"].values, color="0.4", label="faces of a cube")
    n = measured.sizes["network"]
    for i in range(n):
        shift = 0.08 * (i - (n - 1) / 2)
        counts = measured["count"].values[i]
        plot.measurement(ax, k + shift, counts, label=f"network {i}", color=f"C{i}")
    ax.set(xlabel="unstable dimensions of a root", ylabel="number of roots", xticks=k)
    ax.legend()
    figure.set_label(
        "Number of fixed points by their number of unstable dimensions, for each trained network, "
        "and the number of faces of a cube."
    )
    return figure


def _recovery(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(4.4, 3.6))
    x, y = theory.tau.values.ravel(), measured.tau.values.ravel()
    known = np.isfinite(x) & np.isfinite(y)
    if known.any():
        span = [
            0.9 * min(x[known].min(), y[known].min()),
            1.1 * max(x[known].max(), y[known].max()),
        ]
        plot.theory(ax, span, span, color="0.4", label="equal")
        plot.measurement(ax, x[known], y[known], label="memories")
    ax.set(xlabel="time constant of the slowest mode (steps)", ylabel="measured decay (steps)")
    ax.legend()
    figure.set_label(
        "Time constant with which a perturbed memory recovers: from the eigenvalues of the "
        "Jacobian (across) and fitted to the decay of a perturbation in the network itself (up)."
    )
    return figure
