"""Sampled spectra beside the theory, shared by the studies of deep spectra and of edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

# Name, nonlinearity, ensemble, q*.
NETS = (
    ("tanh orthogonal", "tanh", "orthogonal", 0.02592094821),
    ("tanh gaussian", "tanh", "gaussian", 0.02592094821),
    ("hard_tanh orthogonal", "hard_tanh", "orthogonal", 0.25),
    ("hard_tanh gaussian", "hard_tanh", "gaussian", 0.25),
    ("relu orthogonal", "relu", "orthogonal", 1.0),
    ("relu gaussian", "relu", "gaussian", 1.0),
    ("linear gaussian", "linear", "gaussian", 1.0),
)


def sample(
    name: str, depths: tuple[int, ...], width: int, seed: int, start: str = "drawn"
) -> xr.Dataset:
    """Return the eigenvalues of one sampled network at several depths."""
    import xarray as xr

    from tractable.spectra import simulate

    _, phi, ensemble, q = next(net for net in NETS if net[0] == name)
    found = simulate(
        phi, depths, ensemble, q=q, width=width, seed=seed, start=start, progress=False
    )
    values = ("depth", "index"), found.singular_values[0] ** 2, {"units": "1"}
    return xr.Dataset({"eigenvalues": values}, coords={"depth": found.depth})


def distances(measured: xr.Dataset) -> np.ndarray:
    """Return the Kolmogorov-Smirnov distances, median over seeds, shape (nets, depths)."""
    from tractable.spectra import compare

    out = np.empty((measured.sizes["net"], measured.sizes["depth"]))
    for i, (_, phi, ensemble, q) in enumerate(NETS):
        for j, depth in enumerate(measured.depth.values):
            law = spectrum(phi, int(depth), ensemble, q)
            draws = measured.eigenvalues.isel(net=i, depth=j).transpose("seed", "index").values
            out[i, j] = np.median([compare(law, draw).ks for draw in draws])
    return out


def spectrum(phi: str, depth: int, ensemble: str, q: float):  # type: ignore[no-untyped-def]  # imported lazily
    """Return the theory of one network."""
    from tractable.spectra import JacobianSpectrum

    return JacobianSpectrum(phi, depth, ensemble, q=q)
