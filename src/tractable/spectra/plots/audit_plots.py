"""Pictures of an audit: measured beside predicted spectrum, and what each layer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable import plot
from tractable.spectra.plots.learning_plots import plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tractable.spectra.audit import Audit
    from tractable.spectra.measured_spectrum import MeasuredSpectrum
    from tractable.spectra.predict import Prediction

__all__ = ["plot_audit", "plot_blocks", "plot_layers", "plot_measured"]

BLUE, VERMILLION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
FLOOR = 1e-12  # eigenvalues below it, relative to the largest, are drawn there


def plot_measured(
    spectrum: MeasuredSpectrum,
    *,
    predicted: Prediction | None = None,
    observed: Prediction | None = None,
    label: str = "measured",
    color: str = GRAY,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw the distribution function of the squared singular values of J.

    Parameters
    ----------
    spectrum : MeasuredSpectrum
        Drawn as a band of two standard errors around steps.
    predicted, observed : Prediction, optional
        Theory, drawn as lines where they have a curve, else as a mark at their mean.
    label, color : str
        Of the measurement.
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(5.2, 3.4))
    lam = np.sort((spectrum.nodes**2).ravel())
    low = max(lam[-1] * FLOOR, 1e-300)
    ends = np.log([max(lam[0], low), max(lam[-1], low)])
    grid = np.exp(np.linspace(ends[0] - 0.2, ends[1] + 0.2, 400))
    middle, error = spectrum.cdf(grid), np.nan_to_num(spectrum.cdf_error(grid))
    ax.fill_between(grid, middle - 2 * error, middle + 2 * error, color=color, alpha=0.25, lw=0)
    chosen = np.searchsorted(middle, np.linspace(0.02, 0.98, 25))
    chosen = np.unique(np.minimum(chosen, len(grid) - 1))
    plot.measurement(ax, grid[chosen], middle[chosen], label=label, color=color, ms=3.5)
    for found, name, shade, style in (
        (predicted, "theory: mean field", BLUE, "-"),
        (observed, "theory: observed slopes", VERMILLION, "--"),
    ):
        if found is None:
            continue
        if len(found.p):
            inside = found.quantile > low
            ax.plot(found.quantile[inside], found.p[inside], style, color=shade, label=name)
        else:
            ax.axvline(found.mean, ls=style, color=shade, lw=1.2, label=f"mean by {name}")
    ax.set_xscale("log")
    ax.set(xlabel=r"eigenvalue $\lambda$ of $J J^T$", ylabel="share at or below", ylim=(0, 1.02))
    plain_ticks(ax.xaxis)
    ax.legend(loc="best")
    if new:
        figure.set_label(
            "Distribution function of the eigenvalues of J J^T: measured (markers, band of two "
            "standard errors) and predicted (lines)."
        )
    return figure


def plot_layers(audit: Audit, *, ax: Axes | None = None) -> Figure:
    r"""Draw a strip of the layers: q, chi, and what each adds to the relative variance.

    Parameters
    ----------
    audit : Audit
        With its layers.
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    if not audit.layers:
        raise ValueError("the audit has no layers; run it with per_layer=True")
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(6.4, 3.2))
    index = np.arange(1, len(audit.layers) + 1)
    many = {"ms": 3} if len(index) > 40 else {}
    for values, name, color, marker in (
        ([layer.chi for layer in audit.layers], r"$\chi^l = \sigma_w^2 \mu_1$", BLUE, "o"),
        ([layer.q for layer in audit.layers], "$q^l$", VERMILLION, "s"),
        ([layer.v + layer.r for layer in audit.layers], "$v^l + r^l$", GREEN, "D"),
    ):
        known = np.isfinite(values) & (np.asarray(values) > 0)
        if known.any():
            shown = np.asarray(values)[known]
            plot.measurement(
                ax, index[known], shown, label=name, color=color, marker=marker, **many
            )
    ax.axhline(1.0, color="#BFBFBF", lw=0.8, zorder=1)
    ax.set_yscale("log")
    ax.set(xlabel="layer l", ylabel="per layer")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if new:
        figure.set_label(
            "Layer by layer: chi, the growth of a squared gradient; q, the variance of the "
            "pre-activations; v + r, what the nonlinearity and the weights add to the relative "
            "variance of the eigenvalues of J J^T."
        )
    return figure


def plot_blocks(audit: Audit, *, ax: Axes | None = None) -> Figure:
    """Draw mean eigenvalue and relative variance of the blocks of a model that is no chain.

    Parameters
    ----------
    audit : Audit
        With its blocks.
    ax : Axes, optional
        Where to draw; by default in a new figure.
    """
    if not audit.blocks:
        raise ValueError("the audit has no blocks: a chain has layers, see plot_layers")
    new = ax is None
    figure, ax = plot.axes_of(ax, size=(6.4, 3.4))
    index = np.arange(len(audit.blocks))
    for values, name, color, marker in (
        ([block.mean for block in audit.blocks], r"mean eigenvalue of $J J^T$", BLUE, "o"),
        ([block.relative_variance for block in audit.blocks], "relative variance", GREEN, "D"),
    ):
        shown = np.maximum(np.asarray(values, dtype=float), 1e-12)
        plot.measurement(ax, index, shown, label=name, color=color, marker=marker)
    ax.axhline(1.0, color="#BFBFBF", lw=0.8, zorder=1)
    ax.set_yscale("log")
    ax.set_xticks(index, [block.name for block in audit.blocks], rotation=60, ha="right")
    ax.set(xlabel="block", ylabel="per block")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if new:
        figure.set_label("Block by block: mean and relative variance of the eigenvalues of J J^T.")
    return figure


def plot_audit(audit: Audit) -> Figure:
    """Draw an audit: the spectrum measured and predicted, and the layers (or blocks) beside it.

    Parameters
    ----------
    audit : Audit
        What `audit` returned.
    """
    with plot.style():
        figure, (left, right) = plot.new(1, 2, size=(11.0, 3.6))
        plot_measured(
            audit.measured, predicted=audit.predicted, observed=audit.semi_empirical, ax=left
        )
        if audit.blocks:
            plot_blocks(audit, ax=right)
        elif audit.layers:
            plot_layers(audit, ax=right)
        else:
            right.set_axis_off()
    figure.set_label(
        "Left, distribution function of the eigenvalues of J J^T, measured (markers) and "
        "predicted (lines). Right, what each layer or block contributes."
    )
    return figure
