"""The features of a user's network; and an example where there are no recordings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tractable.studies.vision._own_files import read, read_images


def file_recordings(path: str, axes: str, missing: bool, start_ms: float, bin_ms: float) -> Any:
    """Return recordings of a file; dimensions that are named as axes are say what they are."""
    from tractable.vision.convrnn import Recordings
    from tractable.vision.convrnn.recordings import AXES

    values = read("responses", path)
    named = {"image", "neuron"} <= set(getattr(values, "dims", ())) <= set(AXES)
    if named:
        found = Recordings.from_xarray(values, missing=missing)
        if "bin" in values.coords:
            return found
    else:
        found = Recordings.from_array(np.asarray(values), axes=axes, missing=missing)
    return replace(found, time_ms=start_ms + bin_ms * np.arange(found.shape[3]))


def file_features(path: str) -> np.ndarray:
    """Return features of a file; named dimensions put images first and bins last."""
    values = read("features", path)
    dims = [str(dim) for dim in getattr(values, "dims", ())]
    if "image" in dims:
        order = sorted(dims, key=lambda dim: (dim == "bin") - (dim == "image"))
        values = values.transpose(*order)
    return np.asarray(values)


def chance_error(mean: np.ndarray) -> float:
    r"""Return the standard error of the mean correlation with permuted images.

    .. math:: \sqrt{\langle C_{nm}^2 \rangle / (I - 1)}

    with C the correlations of all pairs of neurons and bins over the I images: a correlation has
    1 / (I - 1), and neurons that are alike have predictions that are alike and err together.

    Parameters
    ----------
    mean : ndarray, shape (images, neurons, bins)
        Responses.
    """
    Z = mean.reshape(len(mean), -1)
    Z = Z - Z.mean(0)
    length = np.linalg.norm(Z, axis=0)
    Z = Z / np.where(length > 0, length, 1.0)
    shared = float(((Z @ Z.T) ** 2).sum()) / Z.shape[1] ** 2  # the trace of C C
    return float(np.sqrt(shared / (len(Z) - 1)))


def model_features(model: str, images: str, layer: str, n_bins: int, seed: int = 0) -> np.ndarray:
    """Return features of a user's network, (images, p, bins), or (images, p) that stand still.

    A `ConvRNN` gives one step for each bin (``layer`` names a node), and so does a `WrappedRNN`
    (``layer`` names one with a cell; else its logits). Of any other module an output (images, bins,
    p) or (images, bins, C, H, W) changes in time, and (images, p) or a map (images, C, H, W) does
    not. Images: see `read_images`.

    Raises
    ------
    ValueError
        No such function, no network, an output of another number of images or axes.
    """
    import torch

    from tractable.studies.spectra.spectra_audit import make_model
    from tractable.vision.convrnn import ConvRNN, WrappedRNN

    net, x = make_model(model, seed), read_images(images)
    net.eval()
    with torch.no_grad():
        if isinstance(net, ConvRNN):
            node = net.spec.node(layer or net.last).name
            first = net.first_valid[node]
            steps = max(n_bins + first, net.first_valid[net.last] + 1)
            values = net(x, T=steps, layers=[node]).features[node].values
            values = values[:, first : first + n_bins]
        elif isinstance(net, WrappedRNN):
            out = net(x, T=n_bins, layers=[layer] if layer else [])
            values = out.features[layer].values if layer else out.logits_t
        elif layer:
            raise ValueError(
                f"layer {layer!r} is for a ConvRNN or a WrappedRNN, but the model is a "
                f"{type(net).__name__}: let it return that layer's activity"
            )
        else:
            values = net(x)
            values = getattr(values, "logits_t", values)
    shape = tuple(getattr(values, "shape", ()))
    if not isinstance(values, torch.Tensor) or not 2 <= len(shape) <= 5 or shape[0] != len(x):
        raise ValueError(
            "model must return a tensor (images, p), (images, C, H, W), (images, bins, p) or "
            f"(images, bins, C, H, W) of {len(x)} images, got {shape or type(values).__name__}"
        )
    found = values.double().cpu().numpy()
    if found.ndim in (2, 4):
        return found.reshape(len(found), -1)
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
