"""The pictures of the study of modifier words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable import plot

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def figures(theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return all pictures by name."""
    return {
        "factors": _factors(theory, measured),
        "effects": _effects(theory, measured),
        "modes": _modes(theory),
        "ablation": _ablation(measured),
    }


def _factors(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(5.6, 3.4))
    lag = theory.lag.values
    for i, modifier in enumerate(theory.modifier.values):
        rule = theory.expected.sel(modifier=modifier).values
        plot.theory(ax, lag, rule, color=f"C{i}", label=f"{modifier}, rule of the language")
        seen = measured.factor.sel(modifier=modifier).values
        plot.measurement(ax, lag, seen, color=f"C{i}", label=f"{modifier}, network")
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="steps after the modifier", ylabel="factor of a word's effect")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "What a modifier multiplies the effect of the next valence word with, by the distance to "
        "that word: the language's rule and the trained network."
    )
    return figure


def _effects(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(4.6, 3.8))
    x, y = theory.linear_effect.values, measured.effect.values
    span = [min(x.min(), y.min()), max(x.max(), y.max())]
    plot.theory(ax, span, span, color="0.4", label="equal")
    for i, modifier in enumerate(theory.modifier.values):
        plot.measurement(ax, x[i].ravel(), y[i].ravel(), color=f"C{i}", label=f"after {modifier}")
    plot.measurement(
        ax, theory.plain.values, measured.plain.values, color="C2", label="without modifier"
    )
    ax.set(xlabel=r"linearized, $w\cdot J_{in}(h)\,x$", ylabel="network")
    ax.legend()
    figure.set_label(
        "Effect of the valence words on the running sum, at each state in the steps after a "
        "modifier: the input Jacobian there (across) and the network itself (up)."
    )
    return figure


def _modes(theory: xr.Dataset) -> Figure:
    figure, axes = plot.new(1, 2, size=(8.6, 3.9))
    circle = np.exp(2j * np.pi * np.linspace(0, 1, 200))
    real, imag = theory.eigenvalue_real.values, theory.eigenvalue_imag.values
    for ax, modifier in zip(axes, theory.modifier.values, strict=True):
        ax.plot(circle.real, circle.imag, "-", color="0.8", lw=1)
        size = abs(theory.relevance.sel(modifier=modifier).values)
        area = 120 * size / max(size.max(), 1e-300)
        ax.scatter(real, imag, s=4 + area, alpha=0.5, color="C0", edgecolor="none", zorder=3)
        ax.set(xlabel="Re λ", ylabel="Im λ", title=f"what “{modifier}” rests on", aspect="equal")
    figure.set_label(
        "Eigenvalues of the Jacobian at the undecided slow point; the area of a disk is how much "
        "of a modifier's factor rests on the mode (the slowest, which stores the sum, left out)."
    )
    return figure


def _ablation(measured: xr.Dataset) -> Figure:
    figure, ax = plot.new(size=(5.2, 3.4))
    for i, modifier in enumerate(measured.modifier.values):
        one = measured.sel(modifier=modifier)
        control = one.factor_control.values
        ax.plot(
            i + np.linspace(-0.12, 0.12, len(control)),
            control,
            ".",
            color="0.6",
            label="random modes removed" if i == 0 else "_",
        )
        ax.plot(i, float(one.factor.sel(lag=1)), "s", color="C0",
                label="intact" if i == 0 else "_")  # fmt: skip
        ax.plot(i, float(one.factor_ablated), "D", color="C1",
                label="its modes removed" if i == 0 else "_")  # fmt: skip
    ax.axhline(1, color="0.4", lw=1, label="no modifier")
    ax.set(
        xticks=range(measured.sizes["modifier"]),
        xticklabels=[str(m) for m in measured.modifier.values],
        xlabel="modifier",
        ylabel="factor right after it",
        xlim=(-0.5, measured.sizes["modifier"] - 0.5),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Factor of a word's effect right after a modifier: in the intact network, without the "
        "modes on which the modifier rests most, and without as many random others."
    )
    return figure
