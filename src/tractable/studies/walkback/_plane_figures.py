"""Figures of the laws in the plane, drawn from the two datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

EDGES = np.linspace(-3, 3, 25)


def paths(one: xr.Dataset, title: str) -> Figure:
    """Draw heating above generation."""
    from tractable.walkback.plots import heat_and_walk

    labels = [f"T = {value:.3g}" for value in one.shown.values]
    labels[0] = "data | samples"
    figure = heat_and_walk(one.heated.values, one.walked.values, labels)
    figure.set_label(
        f"The {title}. Above: data heated step by step by the learned operator. Below: the same "
        "operator from noise back to the data, in the same columns; read it from right to left."
    )
    return figure


def length(study: Any, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw MMD^2 against cold steps."""
    from tractable import plot
    from tractable.walkback.plots import length_curve

    figure, axes = plot.new(1, len(study.laws), size=(4.6 * len(study.laws) + 0.6, 3.4),
                            squeeze=False)  # fmt: skip
    for i, law in enumerate(study.laws):
        runs = measured.isel(run=np.flatnonzero(measured.toy.values == law))
        curves, errors = {}, {}
        for k in range(runs.sizes["run"]):
            one = runs.isel(run=k)
            name = f"{NAMES[str(one.variant.values)]}, seed {int(one.seed)}"
            curves[name] = np.maximum(one.mmd2.values, FLOOR)
            errors[name] = one.mmd2_se.values
        levels = {"single\nGaussian": float(theory.gaussian_mmd2[i])}
        mixture = float(measured.rival_mmd2.isel(law=i).sel(rival="GMM-9"))
        levels["GMM-9"] = max(mixture, FLOOR)
        length_curve(study.extra, curves, errors=errors, levels=levels,
                     trained=theory.sizes["step"], ax=axes[0, i])  # fmt: skip
        axes[0, i].set_title(law)
        axes[0, i].set_yscale("log")
        axes[0, i].set_ylim(FLOOR / 2, None)
    figure.set_label(
        "MMD² of the chain against cold steps past the ladder, far past the trained length L. "
        f"Values below {FLOOR:g}, the noise of the estimate, are drawn there."
    )
    return figure


FLOOR = 1e-4
NAMES = {"fixed": "fixed noise", "learned": "learned noise", "tied": "tied, learned noise",
         "released": "released code"}  # fmt: skip


def terms(study: Any, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw what each heating step costs the bound."""
    from tractable import plot
    from tractable.walkback.plots import bound_terms

    figure, ax = plot.new(size=(6.0, 3.6))
    for i, law in enumerate(study.laws):
        keep = (measured.toy.values == law) & (measured.variant.values == "fixed")
        own = measured.path_terms.isel(run=np.flatnonzero(keep)).mean("run")
        bound_terms(theory.temperature.values, own.values, label=law, color=f"C{i}", ax=ax)
    ax.legend()
    figure.set_label(
        "What each heating step costs the bound: E[log q − log p]. A term may be negative: what "
        "the states gain by spreading is paid by the prior."
    )
    return figure


def currents(study: Any, measured: xr.Dataset) -> Figure:
    """Draw the probability current of the cold chain."""
    from tractable import plot
    from tractable.walkback.plots import current_quiver

    figure, axes = plot.new(1, len(study.laws), size=(4.6 * len(study.laws), 3.9), squeeze=False)
    for i, law in enumerate(study.laws):
        keep = (measured.toy.values == law) & (measured.variant.values == "fixed")
        one = measured.isel(run=np.flatnonzero(keep)[0])
        current_quiver(EDGES, EDGES, one.density.values, one.current.values, ax=axes[0, i])
        axes[0, i].set_title(law)
    figure.set_label(
        "Density and probability current of the cold chain: arrows that do not line up along the "
        "data are the noise of the estimate; a circulation would be seen as a loop."
    )
    return figure


def variants(study: Any, measured: xr.Dataset) -> Figure:
    """Draw samples of all variants of the first law."""
    from tractable import plot
    from tractable.walkback.plots import scatter

    law = study.laws[0]
    runs = measured.isel(run=np.flatnonzero(measured.toy.values == law))
    kinds = [kind for kind in NAMES if kind in runs.variant.values]
    figure, axes = plot.new(2, len(kinds), size=(2.3 * len(kinds) + 0.6, 4.9), sharex=True,
                            sharey=True)  # fmt: skip
    for column, kind in enumerate(kinds):
        one = runs.isel(run=list(runs.variant.values).index(kind))
        for row, extra in enumerate((0, study.far)):
            ax = axes[row, column]
            scatter(one.after.sel(extra=extra).values, color=f"C{row}", ax=ax)
            ax.set_xlabel("$s_1$" if row else "")
            start = f"{extra} cold steps\n" if not column else ""
            ax.set_ylabel(start + "$s_2$" if not column else "")
            if not row:
                ax.set_title(NAMES[kind], fontsize=9)
    figure.set_label(
        "Samples at the end of the ladder and far past it, by variant. With learned noise the walk "
        "does not heat; the objective of the released code learns nothing."
    )
    return figure
