"""What the networks of a retina study have in common: medians, dead and untrained ones, gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.study import Table

if TYPE_CHECKING:
    import xarray as xr

ONE = {"units": "1"}


def median(measured: xr.Dataset, name: str) -> np.ndarray:
    """Return the median over the living units of each network, NaN for a dead one."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all units of a dead network are NaN
        return np.nanmedian(measured[name].values, axis=1)


def alive(measured: xr.Dataset) -> np.ndarray:
    """Return which networks have a bottleneck that is not silent throughout."""
    active = measured["retina_2_active"].values
    return np.nan_to_num(active, nan=0.0).max(1) > 0


def trained(measured: xr.Dataset) -> np.ndarray:
    """Return which living networks reach half of the best accuracy or more."""
    accuracy = measured["accuracy"].values
    return alive(measured) & (accuracy >= 0.5 * np.nanmax(accuracy))


def share(condition: np.ndarray) -> float:
    """Return the share of networks that meet a condition; dead and untrained ones do not."""
    return float(np.mean(condition)) if len(condition) else float("nan")


def narrow(measured: xr.Dataset) -> xr.Dataset:
    """Return the networks with the narrowest bottleneck."""
    widths = measured["n_bn"].values
    return measured.isel(net=widths == widths.min())


def wide(measured: xr.Dataset, least: int = 16) -> xr.Dataset:
    """Return the networks with 16 or more bottleneck channels."""
    return measured.isel(net=measured["n_bn"].values >= least)


def units_of(one: xr.Dataset, name: str) -> np.ndarray:
    """Return a variable of one network without the entries that only fill the array."""
    layer = name.rsplit("_", 1)[0]
    n = int(np.isfinite(one[f"{layer}_active"].values).sum())
    return one[name].values[:n]


def gain(rf: np.ndarray) -> np.ndarray:
    """Return |F| of one field at 0, 1, ... cycles per image, averaged over rings; its peak is 1."""
    size = rf.shape[-1]
    amplitude = np.abs(np.fft.fft2(rf))
    return rings(amplitude, size) / rings(amplitude, size).max()


def rings(values: np.ndarray, size: int) -> np.ndarray:
    """Return means over rings of equal spatial frequency, below half a cycle per pixel."""
    f = np.fft.fftfreq(size) * size
    ring = np.rint(np.hypot(f[:, None], f[None, :])).astype(int).ravel()
    return (np.bincount(ring, values.ravel()) / np.bincount(ring))[: size // 2]


def table_of_nets(measured: xr.Dataset, layers: dict[str, str], title: str) -> Table:
    """Return one row per network: all of them, dead and untrained ones too."""
    living, good = alive(measured), trained(measured)
    columns = ["channels", "seed", "accuracy", "active", "state"]
    for label in layers.values():
        columns += [f"A, {label}", f"radial, {label}", f"opposite, {label}"]
    medians = {
        (layer, what): median(measured, f"{layer}_{what}")
        for layer in layers
        for what in ("anisotropy", "radial", "opposite")
    }
    active = median(measured, "retina_2_active")
    rows = []
    for i in range(measured.sizes["net"]):
        state = "trained" if good[i] else "not trained" if living[i] else "dead"
        restarts = int(measured["n_restarts"].values[i])
        row: list[Any] = [
            int(measured["n_bn"].values[i]),
            int(measured["seed"].values[i]),
            round(float(measured["accuracy"].values[i]), 4),
            round(float(active[i]), 2),
            state + (f", {restarts} restarts" if restarts else ""),
        ]
        for layer in layers:
            row += [
                round(float(medians[layer, what][i]), 3)
                for what in ("anisotropy", "radial", "opposite")
            ]
        rows.append(tuple(row))
    return Table(title, tuple(columns), tuple(rows))


def census(measured: xr.Dataset) -> str:
    """Return the sentence on dead and untrained networks."""
    n, dead = measured.sizes["net"], int((~alive(measured)).sum())
    bad = n - int(trained(measured).sum()) - dead
    restarts = int(measured["n_restarts"].values.sum())
    silent = int(measured["n_dead"].values.sum())
    return (
        f"{n} networks were trained: {dead} dead, {bad} not trained (accuracy below half of the "
        f"best), {restarts} restarts after a dead bottleneck, {silent} silent bottleneck channels; "
        "none is left out of the counts."
    )
