"""The 92-object set, or generated subjects in its place; networks that see the objects."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import torch
import xarray as xr

from tractable import data
from tractable.core.seeds import derive, generator
from tractable.studies.vision._convrnn_parts import network, operations
from tractable.vision.convrnn import (
    ConvRNN,
    ConvRNNSpec,
    Node,
    rdm,
    rdm_correlation,
    rdm_noise_ceiling,
)
from tractable.vision.convrnn.training import accuracy, image_batches, train

ONE = {"units": "1"}
N, SIZE = 92, 32
BRAINS = ("monkey", "human")
KINDS = ("animate", "human", "face", "body")


def subjects(source: str, seed: int) -> dict[str, Any]:
    """Return dissimilarities, images (n, 3, 32, 32) in -1 .. 1, and categories."""
    if source == "it92":
        found = data.load_dissimilarities("it92")
        images = torch.from_numpy(found.images).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        small = torch.nn.functional.interpolate(images, (SIZE, SIZE), mode="area")
        return {"monkey": found.monkey, "human": found.human_mean, "people": found.human,
                "images": small, "categories": {k: found.categories[k] for k in KINDS}}  # fmt: skip
    random = np.random.default_rng([seed, 92])
    animate = np.arange(N) < 48
    face = (np.arange(N) >= 12) & animate & (np.arange(N) % 24 >= 12)
    categories = {"animate": animate, "human": np.arange(N) < 24, "face": face,
                  "body": animate & ~face}  # fmt: skip
    truth = random.normal(size=(N, 30)) + 2.0 * np.outer(animate, random.normal(size=30))
    truth += np.outer(face, random.normal(size=30))

    def seen(noise: float) -> np.ndarray:
        return rdm(truth + noise * random.normal(size=truth.shape))

    people = np.stack([[seen(1.5) for _ in range(2)] for _ in range(4)])
    draw = generator(derive(seed, "images"))
    return {"monkey": seen(0.5), "human": people.mean((0, 1)), "people": people,
            "images": torch.rand(N, 3, SIZE, SIZE, generator=draw) * 2 - 1,
            "categories": categories}  # fmt: skip


def brains(source: str, seed: int, n_boot: int) -> xr.Dataset:
    """Return the dissimilarities, their noise ceiling, and what categories and pixels explain."""
    from scipy.stats import spearmanr

    found = subjects(source, seed)
    both = np.stack([found[name] for name in BRAINS])
    upper = np.triu_indices(N, 1)
    model = {k: (v[:, None] != v[None]).astype(float) for k, v in found["categories"].items()}
    category = [[rdm_correlation(model[k], r) for k in KINDS] for r in both]
    pixels = rdm(found["images"].flatten(1).double().numpy())
    mean = found["people"].mean((0, 1))[upper]
    random = np.random.default_rng([seed, 3])
    samples = []
    for _ in range(n_boot):
        rows = random.integers(N, size=N)
        apart = rows[upper[0]] != rows[upper[1]]
        pair = [r[np.ix_(rows, rows)][upper][apart] for r in both]
        samples.append(spearmanr(*pair).statistic)
    return xr.Dataset(
        {
            "rdm": (("brain", "object", "other"), both, ONE),
            "category": (("brain", "kind"), category, ONE),
            "pixels": ("brain", [rdm_correlation(pixels, r) for r in both], ONE),
            "ceiling": ("end", list(rdm_noise_ceiling(found["people"].mean(1))), ONE),
            "between": ("end", np.quantile(samples, (0.025, 0.975)), ONE),
            "people_to_mean": ((), np.corrcoef(mean, both[1][upper])[0, 1], ONE),
        },
        coords={"brain": list(BRAINS), "kind": list(KINDS)},
    )


def object_spec(net: str, channels: int) -> ConvRNNSpec:
    """Return four layers for images of 32 pixels; the upper two have cells, or none."""
    cell = "rgc" if net == "reciprocal-gated" else None
    return ConvRNNSpec.chain(
        [
            Node("v1", 16, 5, stride=2),
            Node("v2", channels, 3, pool=2),
            Node("v4", channels, 3, cell=cell, pool=2),
            Node("it", channels, 3, cell=cell),
        ],
        n_classes=10,
    )


def network_in_time(
    source: str, net: str, channels: int, n_steps: int, steps: int, seed: int, data_seed: int
) -> xr.Dataset:
    """Return the agreement of a network's dissimilarities with both brains at every step."""
    model, right = _trained(net, channels, n_steps, steps, seed, source)
    found = subjects(source, data_seed)
    first = model.first_valid["it"]
    with torch.no_grad():
        out = model(found["images"], T=first + n_steps, layers=["it"])
    values = out.features["it"].values[:, first:].flatten(2).double().numpy()
    matrices = [rdm(values[:, t]) for t in range(n_steps)]
    similar = [[rdm_correlation(m, found[brain]) for m in matrices] for brain in BRAINS]
    return xr.Dataset(
        {
            "similarity": (("brain", "step"), similar, ONE),
            "net_rdm": (("object", "other"), matrices[-1], ONE),
            "accuracy": ((), right, ONE),
        },
        coords={"brain": list(BRAINS), "step": np.arange(1, n_steps + 1)},
    )


def _trained(
    net: str, channels: int, n_steps: int, steps: int, seed: int, source: str
) -> tuple[ConvRNN, float]:
    model = network(object_spec(net, channels), seed, (3, SIZE, SIZE), unroll="biological")
    right = float("nan")
    if source == "it92" and steps and data.locate("cifar10"):
        part = _cifar()
        T = model.first_valid["it"] + (6 if net == "reciprocal-gated" else 1)
        train(
            model, image_batches(part[0], part[1], batch_size=64, seed=seed), steps=steps,
            seed=seed, device="cpu", progress=False, T=T,
        )  # fmt: skip
        right = accuracy(model, part[2], part[3], T=T)
    return model.eval(), right


@functools.lru_cache(maxsize=1)
def _cifar() -> tuple[torch.Tensor, ...]:
    """Return 5,000 training and 1,000 test images, drawn from files that are sorted by class."""
    found = data.load_images("cifar10", download_missing=False)
    parts: list[torch.Tensor] = []
    for name, n in (("train", 5000), ("test", 1000)):
        rows = np.arange(len(found.labels))[found.parts[name]]
        rows = np.random.default_rng(1).permutation(rows)[:n]
        images = torch.from_numpy(np.ascontiguousarray(found.images[rows]))
        parts += [images.permute(0, 3, 1, 2).float() / 127.5 - 1.0,
                  torch.from_numpy(np.asarray(found.labels)[rows]).long()]  # fmt: skip
    return tuple(parts)


def it92_cost(channels: int, n_steps: int, steps: int) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of one network, from one pass that is timed."""
    model = network(object_spec("reciprocal-gated", channels), 0, (3, SIZE, SIZE), "biological")
    x = torch.zeros(4, 3, SIZE, SIZE)
    T = model.first_valid["it"] + 6
    started = time.process_time()
    model(x, T=T).logits.sum().backward()
    seconds = (time.process_time() - started) / 4
    macs = operations(model, x[:1], T=T)
    seen = N * (n_steps + 3) / T + 3 * 64 * steps
    memory = 4.0 * 64 * T * 12 * channels * (SIZE // 4) ** 2
    return 2 * macs * seen, memory, seconds * (64 * steps + N)
