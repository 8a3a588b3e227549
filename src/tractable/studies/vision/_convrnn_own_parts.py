"""The features of a user's network; and an example where there are no recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tractable.studies.vision._own_files import read_images


def model_features(model: str, images: str, layer: str, n_bins: int, seed: int = 0) -> np.ndarray:
    """Return features of a user's network, (images, p, bins), or (images, p) that stand still.

    A `ConvRNN` gives one step for each bin (``layer`` names a node), a `WrappedRNN` its logits in
    time. Of any other module an output (images, bins, p) or (images, bins, C, H, W) changes in
    time, and (images, p) or a map (images, C, H, W) does not. Images: see `read_images`.

    Raises
    ------
    ValueError
        No such function, no network, an output of another number of images or axes.
    """
    import torch

    from tractable.studies.spectra.spectra_audit import make_model
    from tractable.vision.convrnn import ConvRNN

    net, x = make_model(model, seed), read_images(images)
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
