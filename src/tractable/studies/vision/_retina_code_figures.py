"""Figures of `retina-separability` and `retina-complexity`; they read datasets only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

NAMES = {"retina_1": "retina 1", "retina_2": "retina", "vvs_1": "V1", "vvs_2": "V2"}
SCORE = "separability, 2 (accuracy - 1/2)"


def separability_figures(
    theory: xr.Dataset, measured: xr.Dataset, layers: list[str]
) -> dict[str, Figure]:
    """Return the figures of `retina-separability`."""
    figures = {
        "depth": depth_figure(theory, measured),
        "layers": layers_figure(measured, layers),
        "strips": strips_figure(measured),
    }
    if measured["n_bn"].values.max() > 1:
        figures["channels"] = channels_figure(measured)
    return figures


def depth_figure(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return separability of the retina against depth, and the planted Gaussian classes."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_depth

    figure, axes = plot.new(1, 2, size=(9.6, 3.3))
    plot.theory(axes[0], theory["far"], theory["score"], label="two Gaussian classes")
    plot.measurement(axes[0], theory["distance"], measured["planted"], label="measured")
    axes[0].set(xlabel="distance of the classes (standard deviations)", ylabel=SCORE)
    axes[0].legend()
    depths = np.unique(measured["depth"].values)
    accuracy, curves = measured["accuracy"].values, {}
    good = accuracy >= 0.5 * np.nanmax(accuracy)
    for n in np.unique(measured["n_bn"].values):
        rows = []
        for depth in depths:
            here = (measured["n_bn"].values == n) & (measured["depth"].values == depth)
            lost = np.where(good, np.nan, measured["separability"].values[:, 0])[here]
            axes[1].plot(np.full(len(lost), depth), lost, "x", color="0.4", label="_")
            rows.append(np.where(good, measured["separability"].values[:, 0], np.nan)[here])
        curves[f"{int(n)} channel(s)"] = np.array(rows)
    plot_depth(depths, curves, ylabel="separability of the retina", ax=axes[1])
    axes[1].axhline(float(measured["pixels"]), color="0.4", ls="--", lw=1, label="pixels")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Left: two Gaussian classes at a known distance, line 2 Phi(d / 2) - 1. Right: how well "
        "linear classifiers tell pairs of classes apart by the retina's output, against the depth "
        "of the network behind it: small, every network; a cross, one that is not "
        "trained (accuracy below half of the best); large, the mean of the others."
    )
    return figure


def layers_figure(measured: xr.Dataset, layers: list[str]) -> Figure:
    """Return separability layer by layer of the deepest networks."""
    from tractable.vision.retina.plots import plot_layers

    depth = measured["depth"].values.max()
    deepest = measured.isel(net=measured["depth"].values == depth)
    curves, error = {}, {}
    for n in np.unique(deepest["n_bn"].values):
        own = deepest.isel(net=deepest["n_bn"].values == n)
        name = f"{int(n)} channel(s)"
        curves[name], error[name] = own["separability"].values, 1.96 * own["error"].values
    names = ["retina" if layer == "retina_2" else layer.replace("vvs_", "V") for layer in layers]
    figure = plot_layers(
        names, curves, error=error, ylabel=SCORE, lines={"pixels": float(measured["pixels"])}
    )
    figure.set_label(
        f"Separability of pairs of classes layer by layer behind the bottleneck, D = {int(depth)}: "
        "every network, also one that is not trained, with 95 % intervals from the number of "
        "tested images."
    )
    return figure


def strips_figure(measured: xr.Dataset) -> Figure:
    """Return images beside what the first bottleneck channel makes of them, by depth."""
    from tractable.vision.retina.plots import plot_strips

    codes = {}
    for depth in np.unique(measured["depth"].values):
        here = np.flatnonzero(measured["depth"].values == depth)[0]
        codes[f"D = {int(depth)}"] = measured["code"].values[here]
    figure = plot_strips(measured["picture"].values, codes)
    figure.set_label(
        "Test images, and the activity of the first bottleneck channel for them in the first "
        "network of each depth: black is the least and white the largest activity of each."
    )
    return figure


def channels_figure(measured: xr.Dataset) -> Figure:
    """Return separability against linearity of single channels."""
    from tractable import plot

    figure, ax = plot.new(size=(5.4, 3.4))
    for i, n in enumerate(np.unique(measured["n_bn"].values)):
        own = measured.isel(net=measured["n_bn"].values == n)
        x, y = own["channel_linearity"].values.ravel(), own["channel_separability"].values.ravel()
        plot.measurement(ax, x, y, label=f"{int(n)} channel(s)", ms=4, color=f"C{i}")
    ax.set(xlabel="linear R² of a channel", ylabel="separability of a channel alone")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Every bottleneck channel by how linear it is in the image and how well classes part in "
        "it alone."
    )
    return figure


def complexity_figures(
    theory: xr.Dataset, measured: xr.Dataset, layers: list[str]
) -> dict[str, Figure]:
    """Return the figures of `retina-complexity`."""
    from tractable import plot

    figure, axes = plot.new(1, 3, size=(11.0, 3.3))
    shown = (
        ("complexity", "complexity"),
        ("cosine", "mean |cosine| over images"),
        ("f1_f0", "F1 / F0"),
    )
    draw = np.random.default_rng(0)
    for ax, (name, label) in zip(axes, shown, strict=True):
        for i, layer in enumerate(layers):
            values = measured[f"{layer}_{name}"].values
            cells = values[np.isfinite(values)]
            spread = draw.uniform(-0.18, 0.18, len(cells))
            ax.plot(i + spread, cells, ".", ms=4, color="C0", alpha=0.4, label="_")
            middle = np.median(cells) if name == "f1_f0" else np.mean(cells)
            error = None
            if name != "f1_f0" and len(cells) > 1:
                error = 1.96 * cells.std(ddof=1) / np.sqrt(len(cells))
            kind = "median" if name == "f1_f0" else "mean, 95 % interval"
            plot.measurement(
                ax, [i], [middle], error=None if error is None else [error], color="C1", ms=7,
                label=kind if i == 0 else "_",
            )  # fmt: skip
        ax.set_xticks(range(len(layers)), [NAMES.get(layer, layer) for layer in layers])
        ax.set(xlabel="layer", ylabel=label)
        ax.set_xlim(-0.5, len(layers) - 0.5)
    axes[2].set_yscale("log")
    axes[2].axhline(1.0, color="0.4", ls="--", lw=1, label="simple above")
    for ax in axes:
        ax.legend(fontsize=7)
    figure.set_label(
        "Every living cell of all networks by layer. Left: how much its field changes over random "
        "images around black. Middle: cosine of its fields at natural images, 1 for a linear cell. "
        "Right: first harmonic over mean response to its best drifting grating."
    )
    return {"cells": figure, "planted": planted_figure(theory, measured)}


def planted_figure(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return the cells whose numbers are known."""
    from tractable import plot

    names = [str(name) for name in theory["cell"].values]
    figure, axes = plot.new(1, 3, size=(11.0, 3.0))
    labels = {"complexity": "complexity", "cosine": "mean |cosine|", "f1_f0": "F1 / F0"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        for i, value in enumerate(theory[name].values):
            ax.plot([i - 0.3, i + 0.3], [value, value], "-", color="C0",
                    label="known" if i == 0 else "_")  # fmt: skip
        plot.measurement(ax, np.arange(len(names)), measured[f"planted_{name}"], color="C1",
                         label="measured")  # fmt: skip
        ax.set_xticks(range(len(names)), names, fontsize=7)
        ax.set(xlabel="planted cell", ylabel=label)
        ax.legend(fontsize=7)
    figure.set_label(
        "Cells whose complexity, cosine and F1 / F0 are known: a rectified filter, a squared "
        "filter, and the energy of a quadrature pair."
    )
    return figure
