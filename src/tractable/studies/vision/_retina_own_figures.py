"""Figures and tables of `retina-own`; they read datasets only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable.study import Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOSAIC = 16  # cells of a layer that are drawn
COLUMNS = 8
CROP = 0.02  # of the peak: what is cut off around all fields is below it


def by_layer(measured: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the cells of each layer, in the order of the layers."""
    names = dict.fromkeys(map(str, measured["layer"].values))
    return {name: measured.isel(unit=measured["layer"].values == name) for name in names}


def own_figures(theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return mosaics, roundness against anisotropy, and linearity."""
    return {
        "fields": mosaics(measured),
        "roundness": roundness(theory, measured),
        "linearity": linear(measured),
    }


def mosaics(measured: xr.Dataset) -> Figure:
    """Return the fields of each layer, silent ones with a cross."""
    from tractable import plot
    from tractable.vision.retina.plots import plot_mosaic

    layers = by_layer(measured)
    columns = min(2, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = plot.new(rows, columns, size=(4.6 * columns, 1.7 * rows + 0.3), squeeze=False)
    for ax in axes.flat[len(layers) :]:
        ax.set_axis_off()
    for ax, (name, part) in zip(axes.flat, layers.items(), strict=False):
        fields = part["gray"].values[:MOSAIC]
        empty = np.full((-len(fields) % COLUMNS, *fields.shape[1:]), np.inf)
        plot_mosaic(np.concatenate([fields, empty]), columns=COLUMNS, crop=margin(fields), ax=ax)
        more = part.sizes["unit"] - len(fields)
        ax.set_title(f"{name}{f', {len(fields)} of {len(fields) + more} cells' if more else ''}")
    figure.set_label(
        f"Receptive fields of each layer's cells at the center of its map ({measured.attrs['base']}"
        "), red positive, blue negative, each over its peak; a cross marks a silent cell. Empty "
        "margins are cut off."
    )
    return figure


def margin(fields: np.ndarray) -> int:
    """Return the pixels on every side that no field of a set reaches."""
    peak = np.nanmax(np.abs(np.nan_to_num(fields)).reshape(len(fields), -1), 1)
    seen = (np.abs(np.nan_to_num(fields)) > CROP * peak[:, None, None]).any(0)
    if not seen.any():
        return 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    height, width = seen.shape
    side = min(rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1])
    return int(min(max(side - 1, 0), (min(height, width) - 1) // 2))


def roundness(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return radial fraction against anisotropy, with the bootstrap interval of the latter."""
    from tractable import plot

    figure, ax = plot.new(size=(6.4, 3.6))
    for i, (name, part) in enumerate(by_layer(measured).items()):
        a = part["anisotropy"].values
        low, high = part["anisotropy_low"].values, part["anisotropy_high"].values
        ax.hlines(part["radial"], low, high, color=f"C{i}", lw=0.8, alpha=0.6)
        marker = "osD^vP"[i % 6]
        plot.measurement(ax, a, part["radial"], label=name, color=f"C{i}", marker=marker, ms=4)
    ax.plot(*theory["floor"].values, "x", color="0.3", label="white noise")
    ax.set(xlabel="anisotropy A", ylabel="radial fraction", xlim=(-0.02, 1.02), ylim=(0, 1.03))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Roundness of each cell's field against its anisotropy: center-surround cells and blobs "
        "are at the upper left, oriented cells at the lower right. Bars: 95 % bootstrap interval "
        "over the images. The cross is the mean of white noise."
    )
    return figure


def linear(measured: xr.Dataset) -> Figure:
    """Return R2 of the linear prediction against the share of active images, with its cap."""
    from tractable import plot
    from tractable.vision.retina import rectification_cap

    figure, ax = plot.new(size=(6.4, 3.6))
    share = np.linspace(0.02, 0.999, 200)
    plot.theory(ax, share, rectification_cap(share), color="0.4", label="rectified Gaussian")
    for i, (name, part) in enumerate(by_layer(measured).items()):
        marker = "osD^vP"[i % 6]
        plot.measurement(
            ax, part["active"], part["linearity"], label=name, color=f"C{i}", marker=marker, ms=4
        )
    least = np.nanmin(np.append(measured["linearity"].values, 0.0))
    ax.set(xlabel="share of images with an activation", ylabel="R² of the linear prediction",
           xlim=(0, 1.02), ylim=(max(float(least), -0.5) - 0.02, 1.03))  # fmt: skip
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Held-out R2 of a ridge regression from the image to each cell, against the share of "
        "images on which the cell is active (other than 0, where negative values occur). The line "
        "is the most that a rectified Gaussian cell can have."
    )
    return figure


def table_of_cells(measured: xr.Dataset) -> Table:
    """Return one row per cell."""
    names = ("anisotropy", "radial", "volume", "opposite", "r2_dog", "r2_gabor", "linearity",
             "monotone", "active", "cosine")  # fmt: skip
    rows = []
    for i in range(measured.sizes["unit"]):
        one = measured.isel(unit=i)
        numbers = [float(one[name]) for name in names]
        shown = [round(x, 3) if np.isfinite(x) else "" for x in numbers]
        low, high = float(one["anisotropy_low"]), float(one["anisotropy_high"])
        interval = f"{low:.3f} .. {high:.3f}" if np.isfinite(low) else ""
        kind = str(one["kind"].values).replace("_", " ")
        rows.append((str(one["layer"].values), int(one["channel"]), kind, shown[0], interval,
                     *shown[1:]))  # fmt: skip
    return Table(
        "Cells",
        (
            *("layer", "channel", "kind", "anisotropy", "95 % interval", "radial fraction"),
            *("surround / center", "opposite / peak volume", "R2 Gaussians", "R2 Gabor"),
            *("linear R2", "after a monotone function", "active", "|cosine|"),
        ),
        tuple(rows),
    )
