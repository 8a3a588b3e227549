"""A user's neural arrays, features and labels, from files; and an example where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".npy", ".npz", ".nc")


def read(name: str, path: str) -> Any:
    """Return the array of ``file.npy``, ``file.npz:key`` or netCDF ``file.nc:variable``.

    Raises
    ------
    ValueError
        No such file, another kind of file, or several arrays and none named.
    """
    file, _, key = path.rpartition(":") if ":" in Path(path).name else (path, "", "")
    where = Path(file)
    if where.suffix not in SUFFIXES:
        raise ValueError(f"{name} must be a file {', '.join(SUFFIXES)}, got {path!r}")
    if not where.is_file():
        raise ValueError(f"{name}: there is no file {file!r}")
    if where.suffix == ".npy":
        try:
            return np.load(where, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{name}: {file} is not a plain .npy array ({error})") from error
    if where.suffix == ".npz":
        with np.load(where, allow_pickle=False) as arrays:
            return arrays[_chosen(name, key, list(arrays.files), file)]
    import xarray as xr

    with xr.open_dataset(where, engine="h5netcdf") as dataset:
        return dataset[_chosen(name, key, [str(k) for k in dataset.data_vars], file)].load()


def _chosen(name: str, key: str, keys: list[str], file: str) -> str:
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    raise ValueError(f"{name}: {file} holds {', '.join(keys)}; name one, as {file}:{keys[0]}")


def model_features(model: str, images: str, layer: str, n_bins: int) -> np.ndarray:
    """Return features (images, p, bins) of a user's network, one step for each bin.

    The network is a `ConvRNN` or `WrappedRNN` (``layer`` names a node), or any torch module whose
    output is (images, bins, ...) or (images, ...).
    """
    import torch

    from tractable.core.processes import load_file
    from tractable.vision.convrnn import ConvRNN

    path, _, function = model.rpartition(":")
    make = getattr(load_file(path), function, None)
    if not callable(make):
        raise ValueError(f"model: {path} has no function {function}")
    net = make()
    x = torch.as_tensor(np.asarray(read("images", images)), dtype=torch.float32)
    net.eval()
    with torch.no_grad():
        if isinstance(net, ConvRNN):
            node = net.spec.node(layer or net.last).name
            first = net.first_valid[node]
            steps = max(n_bins + first, net.first_valid[net.last] + 1)
            values = net(x, T=steps, layers=[node]).features[node].values
            values = values[:, first : first + n_bins]
        else:
            values = net(x)
            values = getattr(values, "logits_t", values)
    found = values.double().cpu().numpy()
    if found.ndim < 2 or len(found) != len(x):
        raise ValueError(f"model must return (images, bins, ...), got shape {found.shape}")
    if found.ndim == 2:
        return found
    return found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)


def example(seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return generated recordings, the features that drive them, and labels of their images."""
    from tractable.vision.convrnn import SyntheticNeurons, ar2_latents

    random = np.random.default_rng([seed, 5])
    labels = np.arange(160) % 4
    features = ar2_latents(160, 12, 10, drive=0.3, decay=0.95, seed=seed)
    growth = 1.0 / (1.0 + np.exp(4.0 - np.arange(10) * random.uniform(0.7, 1.6, (160, 1))))
    features[:, :4] += 3.0 * np.eye(4)[labels][:, :, None] * growth[:, None]
    neurons = SyntheticNeurons(
        n_neurons=15, n_inputs=4, rate_hz=150.0, latency_bins={"V4": 0, "IT": 2}
    )
    return neurons.record(features, 12, seed=seed).recordings, features, labels
