"""Trained networks, their features in time, and fits of synthetic neurons by them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tractable.core.seeds import derive, generator
from tractable.studies.vision._convrnn_parts import digits, network, operations
from tractable.vision.convrnn import (
    ConvRNN,
    ConvRNNSpec,
    Node,
    SyntheticNeurons,
    neural_fit,
    similarity_in_time,
)
from tractable.vision.convrnn.fit_result import bootstrap_median
from tractable.vision.convrnn.training import accuracy, image_batches, train

ONE = {"units": "1"}
MS = {"units": "ms"}
DT = 10.0
LAYER = "it"
CANDIDATES = ("teacher", "other seed", "feedforward")
MAPPINGS = ("shared", "per_bin", "latency")


def vision_spec(cell: str | None, channels: int) -> ConvRNNSpec:
    """Return three layers of digits, the upper two with a cell or with none."""
    arguments: dict[str, Any] = {"tau_bias": -1.0} if cell == "rgc" else {}
    return ConvRNNSpec.chain(
        [
            Node("v1", 16, 3, pool=2),
            Node("v4", channels, 3, cell=cell, cell_args=arguments),
            Node(LAYER, channels, 3, cell=cell, cell_args=arguments),
        ],
        n_classes=10,
    )


def trained(
    cell: str | None, channels: int, steps: int, image_off: int, noise: float, seed: int
) -> tuple[ConvRNN, float]:
    """Return a network that names digits, and its accuracy on test digits.

    It is read out at its last step of image, through noise on the pixels of the training images.
    """
    images, labels, test, test_labels = digits(500)
    net = network(vision_spec(cell, channels), seed, unroll="biological")
    batches = image_batches(
        noisy(images, noise, seed), labels, batch_size=48, seed=seed, augment=False
    )
    T = image_off if cell else 3
    train(net, batches, steps=steps, seed=seed, device="cpu", progress=False, T=T)
    return net, accuracy(net, noisy(test, noise, seed + 1), test_labels, T=T)


def noisy(images: Tensor, noise: float, seed: int) -> Tensor:
    """Return images with noise on their pixels."""
    random = generator(derive(seed, "pixels"))
    return images + noise * torch.randn(images.shape, generator=random)


def features_in_time(
    net: ConvRNN, images: Tensor, n_bins: int, image_off: int, layer: str = LAYER
) -> np.ndarray:
    """Return features (images, p, bins), from the first step on that the image drives."""
    first = net.first_valid[layer]
    net.eval()
    with torch.no_grad():
        T = max(n_bins + first, net.first_valid[net.last] + 1)
        out = net(images, T=T, image_off=min(image_off, T), layers=[layer], off_value=0.0)
    values = out.features[layer].values[:, first : first + n_bins]
    return values.flatten(2).transpose(1, 2).double().numpy()


def candidate_features(
    name: str, channels: int, steps: int, n_bins: int, image_off: int, seed: int, images: Tensor
) -> tuple[np.ndarray, float]:
    """Return features of a candidate and its accuracy; those of a feedforward one stand still."""
    cell = None if name == "feedforward" else "rgc"
    own = seed if name == "teacher" else derive(seed, name) % 2**31
    net, right = trained(cell, channels, steps, image_off, 0.3, own)
    found = features_in_time(net, images, n_bins, image_off)
    return (found[:, :, :1] if cell is None else found), right


def fit_candidates(
    channels: int,
    steps: int,
    n_neurons: int,
    n_images: int,
    n_repeats: int,
    n_bins: int,
    image_off: int,
    rate_hz: float,
    latency: int,
    method: str,
    mappings: list[str],
    correct: str,
    splits: int,
    n_halvings: int,
    train_share: float,
    seed: int,
) -> xr.Dataset:
    """Record synthetic neurons of a teacher, and fit them by the teacher and by others."""
    images = noisy(torch.cat([digits(500)[2], digits(500)[0]])[:n_images], 0.3, seed + 2)
    features, right = {}, []
    for name in CANDIDATES:
        features[name], found = candidate_features(
            name, channels, steps, n_bins, image_off, seed, images
        )
        right.append(found)
    neurons = SyntheticNeurons(
        n_neurons=n_neurons, rate_hz=rate_hz, latency_bins={"IT": latency}, bin_ms=DT
    )
    made = neurons.record(features["teacher"], n_repeats, seed=seed)
    late = np.clip(np.arange(n_bins) - latency, 0, None)
    shape = (len(CANDIDATES), len(mappings))
    score = np.full((*shape, n_neurons, n_bins), np.nan)
    median, average = np.full((*shape, n_bins), np.nan), np.full(shape, np.nan)
    interval = np.full((*shape, 2, n_bins), np.nan)
    shift = np.zeros((len(CANDIDATES), n_neurons))
    excluded = np.zeros(n_bins)
    for c, name in enumerate(CANDIDATES):
        moving = features[name].shape[2] > 1
        for m, mapping in enumerate(mappings):
            # "latency" must find the delay; the other mappings are told it.
            given = features[name]
            if moving and mapping != "latency":
                given = given[:, :, late]
            fit = neural_fit(
                given, made.recordings, method=method, mapping=mapping, splits=splits,  # type: ignore[arg-type]
                correct=correct, n_halvings=n_halvings, train=train_share, seed=seed,  # type: ignore[arg-type]
                progress=False,
            )  # fmt: skip
            score[c, m], median[c, m] = fit.of_neurons(), fit.median()
            interval[c, m], average[c, m] = fit.interval(n_boot=500), fit.average_median()
            excluded = fit.n_excluded
            if mapping == "latency":
                shift[c] = np.median(fit.shift, 1)
    measured = made.recordings.reliability(n_halvings=n_halvings, seed=seed)
    similar = {
        measure: np.stack([
            similarity_in_time(
                features[name][:, :, late] if features[name].shape[2] > 1 else features[name],
                made.recordings, measure=measure, n_halvings=5, n_boot=0, seed=seed,
            ).score
            for name in CANDIDATES
        ])
        for measure in ("rsa", "cka")
    }  # fmt: skip
    by = ("candidate", "mapping")
    return xr.Dataset(
        {
            "corrected": ((*by, "neuron", "bin"), score, ONE),
            "median": ((*by, "bin"), median, ONE),
            "interval": ((*by, "end", "bin"), interval, ONE),
            "average": (by, average, ONE),
            "shift": (("candidate", "neuron"), shift, {"units": "bins"}),
            "n_excluded": ("bin", excluded, ONE),
            "reliability": (("neuron", "bin"), measured, ONE),
            "exact_reliability": (("neuron", "bin"), made.reliability, ONE),
            "accuracy": ("candidate", right, ONE),
            **{name: (("candidate", "bin"), value, ONE) for name, value in similar.items()},
        },
        coords={
            "candidate": list(CANDIDATES),
            "mapping": list(mappings),
            "bin": ("bin", np.arange(n_bins) * DT, MS),
        },
    )


def bootstrap_gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the interval over neurons of the median of a difference, (2,)."""
    return bootstrap_median(a - b, n_boot=500)


def training_seconds(channels: int, steps: int, image_off: int) -> tuple[float, float]:
    """Return operations and seconds of training one recurrent network."""
    images, labels = digits(500)[:2]
    net = network(vision_spec("rgc", channels), 0, unroll="biological")
    batches = image_batches(images, labels, batch_size=48, seed=0, augment=False)
    train(net, batches, steps=1, seed=0, device="cpu", progress=False, T=image_off)
    started = time.process_time()
    train(net, batches, steps=2, seed=0, device="cpu", progress=False, T=image_off)
    each = (time.process_time() - started) / 2
    return 6.0 * 48 * steps * operations(net, images[:1], T=image_off), each * steps


def hard_digits(n: int, hardest: float, seed: int) -> tuple[Tensor, np.ndarray]:
    """Return digits with noise of a strength that differs from image to image, and their labels."""
    images, labels = digits(500)[2:]
    random = generator(derive(seed, "difficulty"))
    strength = hardest * torch.rand(n, 1, 1, 1, generator=random)
    pixels = torch.randn(n, *images.shape[1:], generator=random)
    return images[:n] + strength * pixels, labels[:n].numpy()


def solve_images(
    channels: int,
    steps: int,
    n_neurons: int,
    n_images: int,
    n_repeats: int,
    n_bins: int,
    image_off: int,
    rate_hz: float,
    hardest: float,
    target: float,
    splits: int,
    seed: int,
) -> xr.Dataset:
    """Return solution times by neurons of a teacher, twice, and by a feedforward network."""
    from tractable.vision.convrnn import layers_to_bins, object_solution_times

    images, labels = hard_digits(n_images, hardest, seed)
    teacher, _ = trained("rgc", channels, steps, image_off, 0.5, seed)
    plain, _ = trained(None, channels, steps, image_off, 0.5, seed)
    neurons = SyntheticNeurons(n_neurons=n_neurons, rate_hz=rate_hz, bin_ms=DT)
    features = features_in_time(teacher, images, n_bins, image_off)
    layers = [
        features_in_time(plain, images, 1, image_off, layer)[:, :, 0]
        for layer in ("v1", "v4", LAYER)
    ]
    systems: dict[str, Any] = {
        "neurons": neurons.record(features, n_repeats, seed=seed, draw=0).recordings,
        "same neurons again": neurons.record(features, n_repeats, seed=seed, draw=1).recordings,
        "teacher, without noise": features,
        "feedforward, uniform": layers_to_bins(layers, n_bins),
    }
    t = 70.0 + DT * np.arange(n_bins)
    found = [
        object_solution_times(x, labels, target, t, splits=splits, seed=seed, progress=False)
        for x in systems.values()
    ]
    agreed = [one.compare(found[0]) for one in found]
    return xr.Dataset(
        {
            "time": (("system", "image"), [one.times_ms for one in found], MS),
            "d_prime": (("system", "image", "bin"), [one.d_prime for one in found], ONE),
            "accuracy": (("system", "bin"), [one.accuracy for one in found], ONE),
            "spearman": ("system", [a.spearman for a in agreed], ONE),
            "share_solved": ("system", [a.share_solved for a in agreed], ONE),
            "n_both": ("system", [a.n_both for a in agreed], ONE),
        },
        coords={"system": list(systems), "bin": ("bin", t, MS)},
    )
