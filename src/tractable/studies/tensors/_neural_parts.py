"""Neurons x time x trials: a generated tensor, the user's file, and several methods on one mask."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.tensors._data_parts import ONE, fitted

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["METHODS", "generated", "neural_tensor", "predicted", "read_array"]

METHODS = ("AMP, non-negative", "AMP, Gaussian", "ALS", "HALS, non-negative")
SUFFIXES = (".npy", ".npz", ".nc", ".zarr", ".h5")
N_FILLED = 3  # rounds in which HALS, which takes no mask, has the held-out entries filled in


def generated(shape: tuple[int, ...], rank: int, noise: float, seed: int) -> Any:
    """Return a non-negative tensor of known factors: few neurons each, smooth in time, drifting.

    Returns the noisy tensor, the clean one, and the factors.
    """
    random = np.random.default_rng(seed)
    neurons, times, trials = shape
    t = np.linspace(0, 1, times)[:, None]
    centers, widths = np.linspace(0.2, 0.8, rank), random.uniform(0.07, 0.15, rank)
    time = np.exp(-((t - centers) ** 2) / (2 * widths**2)) + 0.05
    neuron = random.exponential(1.0, (neurons, rank)) * (random.random((neurons, rank)) < 0.6)
    trial = np.abs(1 + 0.5 * np.cumsum(random.normal(size=(trials, rank)), 0) / np.sqrt(trials))
    trial *= random.gamma(4.0, 0.25, (trials, rank))
    factors = [x / np.sqrt((x**2).mean(0)) for x in (neuron, time, trial)]
    clean = np.einsum("ar,br,cr->abc", *factors)
    Y = clean + np.sqrt(noise) * random.normal(size=shape)
    return Y.astype(np.float32), clean, factors


def neural_tensor() -> np.ndarray:
    """Return the counts of the motor-cortex data, neurons x time x trials, float32."""
    from tractable import data

    (path,) = data.files("neural")
    with np.load(path, allow_pickle=False) as file:
        counts = file["counts"]
    return np.ascontiguousarray(counts.transpose(0, 2, 1)).astype(np.float32)


def read_array(path: str) -> Any:
    """Return the array of ``file.npy``, ``file.npz:key``, netCDF ``file.nc:variable``, or zarr."""
    name, key = path, ""
    if ":" in Path(path).name:
        name, _, key = path.rpartition(":")
    file = Path(name)
    if not file.exists():
        raise ValueError(f"data: there is no file {name!r}")
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return arrays[_chosen(key, list(arrays.files), name)]
    if file.suffix in (".nc", ".h5"):
        import xarray as xr

        with xr.open_dataset(file, engine="h5netcdf") as dataset:
            return dataset[_chosen(key, [str(k) for k in dataset.data_vars], name)].values
    if file.suffix == ".zarr":
        try:
            zarr = importlib.import_module("zarr")  # dask needs it
        except ImportError as error:
            raise ImportError(
                "reading zarr needs the package zarr: pip install tractable[zarr]"
            ) from error
        import dask.array

        node = zarr.open(str(file), mode="r")
        keys = sorted(node.array_keys()) if hasattr(node, "array_keys") else []
        if not keys and key:
            raise ValueError(f"{name} is one array and has no {key!r} in it; give {name}")
        component = _chosen(key, keys, name) if keys else None
        return dask.array.from_zarr(str(file), component=component)
    raise ValueError(f"data must be one of {', '.join(SUFFIXES)}, got {path!r}")


def _chosen(key: str, keys: list[str], name: str) -> str:
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    raise ValueError(f"{name} holds {', '.join(keys)}; name one, as {name}:{keys[0]}")


def predicted(Y: np.ndarray, mask: np.ndarray, rank: int, seed: int, max_iter: int) -> xr.Dataset:
    """Return every method's prediction error of the entries that the mask leaves out.

    The error is relative to that of predicting each neuron and time by its mean over trials.
    """
    import xarray as xr

    from tractable.tensors import baselines
    from tractable.tensors.cp import as_cp

    held = np.nonzero(~mask & np.isfinite(Y))
    seen = np.where(mask, Y, np.nan)
    mean = np.nan_to_num(np.nanmean(seen, 2, keepdims=True))
    base = float(np.mean((Y[held] - np.broadcast_to(mean, Y.shape)[held]) ** 2))
    fits = {
        METHODS[0]: fitted(
            Y, rank, priors="nonnegative", mask=mask, init="spectral", seed=seed, max_iter=max_iter
        ),
        METHODS[1]: fitted(Y, rank, mask=mask, init="spectral", seed=seed, max_iter=max_iter),
        METHODS[2]: baselines.als(Y, rank, mask=mask, seed=seed, max_iter=max_iter, tol=1e-6),
        METHODS[3]: filled_hals(Y, mask, mean, rank, seed, max_iter),
    }
    errors, variables = [], {}
    for method, fit in fits.items():
        cp = fit.to_cp() if hasattr(fit, "to_cp") else fit
        guess = as_cp(cp).weights * np.ones((len(held[0]), 1))
        for x, index in zip(cp[1], held, strict=True):
            guess = guess * x[index]
        errors.append(float(np.mean((Y[held] - guess.sum(1)) ** 2)) / base)
        slot = METHODS.index(method)
        for a, x in enumerate(cp[1]):
            variables[f"factor_{slot}_{a}"] = ((f"index_{a}", "component"), np.asarray(x), ONE)
    own = fits[METHODS[0]]
    for a, std in enumerate(own.std):
        variables[f"std_{a}"] = ((f"index_{a}", "component"), std, ONE)
    return xr.Dataset(
        {
            **variables,
            "held_out_error": ("algorithm", np.array(errors), ONE),
            "predicted_cosine": (("mode", "component"), own.predicted_cosine, ONE),
            "noise_variance": ((), own.noise_variance, {"units": "squared units of the array"}),
            "snr_entry": ((), own.snr_entry, ONE),
        },
        coords={"algorithm": list(METHODS)},
    )


def filled_hals(
    Y: np.ndarray, mask: np.ndarray, mean: np.ndarray, rank: int, seed: int, max_iter: int
) -> Any:
    """Return TensorLy's HALS with left-out entries filled in: by means, then by its own fits."""
    from tractable.tensors import baselines
    from tractable.tensors.cp import cp_tensor

    filled = np.where(mask & np.isfinite(Y), Y, mean).clip(0).astype(np.float32)
    for _ in range(N_FILLED):
        fit = baselines.hals(filled, rank, seed=seed, max_iter=max_iter, tol=1e-6)
        filled = np.where(mask & np.isfinite(Y), Y.clip(0), cp_tensor(*fit)).astype(np.float32)
    return fit
