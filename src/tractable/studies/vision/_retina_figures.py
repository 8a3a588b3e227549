"""Figures of the retina studies; they read datasets only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tractable.studies.vision._retina_summary import gain, median, narrow, units_of, wide

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

NAMES = {"retina_2": "retina", "lgn_1": "LGN", "vvs_1": "V1"}
BASE = "Fields: mean gradient of the pre-activation over 128 test images"


def bottleneck_figures(
    theory: xr.Dataset, measured: xr.Dataset, *, learned: Callable[[xr.Dataset], np.ndarray]
) -> dict[str, Figure]:
    """Return the figures of `retina-bottleneck`."""
    figures = {
        "fields": fields(measured),
        "roundness": roundness(measured),
        "gain": gains(theory, measured, learned),
    }
    figures["tuning"] = tuning(measured)
    if "retina_2_course" in measured and measured.sizes.get("record", 0) > 1:
        figures["course"] = course(measured)
    if len(np.unique(measured["n_bn"].values)) > 2:
        figures["widths"] = widths(measured)
    return figures


def layers_of(measured: xr.Dataset) -> list[str]:
    """Return the layers that were measured, from the image on."""
    return [layer for layer in NAMES if f"{layer}_rf" in measured]


def fields(measured: xr.Dataset) -> Figure:
    """Return the mosaics: the retina before a narrow and a wide bottleneck, and V1 behind each."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_mosaic

    few, many = narrow(measured), wide(measured)
    panels = []
    first = few.isel(net=0)
    cells = np.concatenate(
        [units_of(few.isel(net=i), "retina_2_rf") for i in range(few.sizes["net"])]
    )
    label = f"{int(first.n_bn)} channel(s)"
    panels.append((f"retina, {label}, all seeds", cells[:16]))
    rest = [layer for layer in layers_of(measured) if layer != "retina_2"]
    panels += [
        (f"{NAMES[layer]} of seed {int(first.seed)}", units_of(first, f"{layer}_rf")[:16])
        for layer in rest
    ]
    if many.sizes["net"] and int(many.n_bn[0]) != int(first.n_bn):
        one = many.isel(net=0)
        for layer in layers_of(measured):
            name = f"{NAMES[layer]}, {int(one.n_bn)} channels, seed {int(one.seed)}"
            panels.append((name, units_of(one, f"{layer}_rf")[:16]))
    rows = [-(-len(rf) // 8) for _, rf in panels]
    figure, axes = plot.new(
        len(panels),
        1,
        size=(5.6, 0.75 * sum(rows) + 0.35 * len(panels)),
        squeeze=False,
        gridspec_kw={"height_ratios": rows},
    )
    for ax, (title, rf) in zip(axes[:, 0], panels, strict=True):
        plot_mosaic(pad_to(rf, 8), columns=8, ax=ax)
        ax.set_title(title, fontsize=8, loc="left", pad=2)
    figure.set_label(
        f"Receptive fields: red excites, blue inhibits, each with its own symmetric scale. {BASE}."
    )
    return figure


def pad_to(rf: np.ndarray, columns: int) -> np.ndarray:
    """Return fields with empty places up to a whole row, so that all panels have one scale."""
    missing = max(0, columns - len(rf))
    return np.concatenate([rf, np.full((missing, *rf.shape[1:]), np.inf)])


def roundness(measured: xr.Dataset) -> Figure:
    """Return anisotropy against roundness of all cells, before and behind each bottleneck."""
    from tractable import plot
    from tractable.vision.retina import anisotropy_floor
    from tractable.vision.retina.plots import plot_anisotropy_radial

    groups = [("narrow", narrow(measured))]
    if wide(measured).sizes["net"] and len(np.unique(measured["n_bn"].values)) > 1:
        groups.append(("wide", wide(measured)))
    figure, axes = plot.new(1, len(groups), size=(1.6 + 3.2 * len(groups), 3.3), squeeze=False)
    floor = anisotropy_floor(measured.sizes["row"])
    for i, (_, nets) in enumerate(groups):
        cells = {
            NAMES[layer]: (
                nets[f"{layer}_anisotropy"].values.ravel(),
                nets[f"{layer}_radial"].values.ravel(),
            )
            for layer in layers_of(measured)
        }
        plot_anisotropy_radial(cells, floor=floor, ax=axes[0, i])
        channels = ", ".join(str(n) for n in np.unique(nets["n_bn"].values))
        axes[0, i].set_title(f"{channels} channels, {nets.sizes['net']} seeds")
        if i < len(groups) - 1:
            axes[0, i].get_legend().remove()
    figure.set_label(
        "Every cell by its anisotropy and the share of its field that a function of the radius "
        f"explains: center-surround cells are at the upper left. {BASE}."
    )
    return figure


def gains(
    theory: xr.Dataset, measured: xr.Dataset, learned: Callable[[xr.Dataset], np.ndarray]
) -> Figure:
    """Return the learned gain of the narrow retina beside that of the efficient channel."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_mosaic

    few = narrow(measured)
    figure, axes = plot.new(
        1, 3, size=(8.4, 3.0), gridspec_kw={"width_ratios": [2.2, 1, 1]}, squeeze=False
    )
    ax = axes[0, 0]
    plot.theory(ax, theory.frequency, theory.gain, label="efficient channel")
    every = np.array(
        [
            gain(rf)
            for i in range(few.sizes["net"])
            for rf in units_of(few.isel(net=i), "retina_2_rf")
            if np.isfinite(rf).all()
        ]
    )
    mean = learned(few)
    error = every.std(0, ddof=1) if len(every) > 1 else None
    plot.measurement(ax, theory.frequency, mean, error=error, label="learned, mean and s.d.")
    ax.set(xlabel="spatial frequency (cycles per image)", ylabel="gain over its peak")
    ax.legend()
    plot_mosaic(theory.rf.values[None], crop=measured.sizes["row"] // 5, ax=axes[0, 1])
    axes[0, 1].set_title("predicted field", fontsize=8)
    one = units_of(few.isel(net=0), "retina_2_rf")[:1]
    flip = np.sign(one.ravel()[np.abs(np.nan_to_num(one)).argmax()]) or 1.0
    plot_mosaic(flip * one, crop=measured.sizes["row"] // 5, ax=axes[0, 2])
    axes[0, 2].set_title("learned field", fontsize=8)
    figure.set_label(
        "Gain of the retina's output against spatial frequency: line, the efficient channel for "
        "the spectrum of these images and the noise of the training; markers, the networks with "
        f"the narrowest bottleneck. The sign of the learned field is that of its center. {BASE}."
    )
    return figure


def tuning(measured: xr.Dataset) -> Figure:
    """Return polar tuning curves of the cells behind and before the narrow bottleneck."""
    from tractable.vision.retina import orientation
    from tractable.vision.retina.plots import plot_tuning

    curves = {}
    groups = [("", narrow(measured)), ("wide ", wide(measured))]
    for prefix, nets in groups[: 1 if len(np.unique(measured["n_bn"].values)) == 1 else 2]:
        for layer in layers_of(measured):
            rf = nets[f"{layer}_rf"].values.reshape(-1, *measured[f"{layer}_rf"].shape[-2:])
            rf = rf[np.isfinite(rf).all((1, 2))]
            if len(rf):
                curves[f"{prefix}{NAMES[layer]}"] = orientation(rf).tuning
    figure = plot_tuning(curves)
    figure.set_label(
        "Power of the receptive fields against orientation, the preferred one at 0: median and "
        f"quartiles over cells. {BASE}."
    )
    return figure


def course(measured: xr.Dataset) -> Figure:
    """Return anisotropy, roundness, active share and accuracy against training steps."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_course

    few = narrow(measured)
    step = few["step"].values[0]
    figure, axes = plot.new(1, 2, size=(9.6, 3.3))
    layers = layers_of(measured)
    shown = {
        f"{what}, {NAMES[layer]}": few[f"{layer}_course"].sel(statistic=what).values
        for layer in layers
        for what in ("anisotropy", "radial")
    }
    plot_course(step, shown, ylabel="statistic of the fields", ax=axes[0])
    others = {"accuracy": few["accuracy_course"].values, "active": few["active_course"].values}
    plot_course(step, others, ylabel="share", ax=axes[1])
    figure.set_label(
        "The course of the training, narrowest bottleneck: mean over seeds, bars from the least "
        "to the largest. Fields here: over 64 test images, median of the first 8 cells."
    )
    return figure


def widths(measured: xr.Dataset) -> Figure:
    """Return accuracy and anisotropy against the width of the bottleneck."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_widths

    n_bn = measured["n_bn"].values
    figure, axes = plot.new(1, 2, size=(9.6, 3.3))
    plot_widths(n_bn, {"accuracy": measured["accuracy"].values}, ylabel="accuracy", ax=axes[0])
    axes[0].get_legend().remove()
    shown = {
        f"{what}, {NAMES[layer]}": median(measured, f"{layer}_{what}")
        for layer in layers_of(measured)
        for what in ("anisotropy", "radial")
    }
    plot_widths(n_bn, shown, ylabel="median over the cells of a network", ax=axes[1])
    figure.set_label(
        "Test accuracy and shape of the receptive fields against the width of the bottleneck: "
        f"small, every network; large, mean with 95 % interval. {BASE}."
    )
    return figure
