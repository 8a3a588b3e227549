"""Networks of images: their graphs, their training, their scores on spoiled images."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tractable.studies.vision._convrnn_parts import (
    MACS,
    ONE,
    blocks,
    cell_of,
    network,
    operations,
    training_cost,
)
from tractable.studies.vision._convrnn_sizes import match_image_channels
from tractable.vision.convrnn.corrupt import noisy, occluded, shrunk
from tractable.vision.convrnn.folders import image_folder
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.published import published
from tractable.vision.convrnn.spec import ConvRNNSpec, Node
from tractable.vision.convrnn.speed import speed_accuracy
from tractable.vision.convrnn.training import image_batches, one_cycle, train

TAU_BIAS, GATE_BIAS = -1.0, 0.0  # of the gated cell in the small network
GRAY = 0.5


def image_spec(architecture: str, net: str, width: int, colors: int, n_classes: int) -> ConvRNNSpec:
    """Return a published architecture, or the small one of three layers at equal parameters."""
    if architecture != "small":
        return published(architecture, net.removesuffix("+norm"), n_classes=n_classes)  # type: ignore[arg-type]  # checked by the field
    low, high, stem = match_image_channels(net, width, colors)
    cell, options = cell_of(net, tau_bias=TAU_BIAS, gate_bias=GATE_BIAS)
    nodes = [Node("v1", stem, 3, norm="group", pool=2)]
    if net in ("feedforward", "timedecay"):
        nodes += [Node("v2", low, 3, norm="group"), *blocks("low_block", low, cell, options)]
        nodes[-1] = _pooled(nodes[-1])
        nodes += [Node("v4", high, 3, norm="group"), *blocks("high_block", high, cell, options)]
    else:
        nodes += [
            Node("v2", low, 3, norm="group", pool=2, cell=cell, cell_args=options),
            Node("v4", high, 3, norm="group", cell=cell, cell_args=options),
        ]
    return ConvRNNSpec.chain(nodes, n_classes=n_classes, readout="pool")


def _pooled(node: Node) -> Node:
    from dataclasses import replace

    return replace(node, pool=2)


# --- images ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2)
def images_of(data: str, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images in [0, 1] and their labels; they are read once.

    Their order is random but always the same: files may be sorted by class, and the first images
    of a part must stand for the whole.
    """
    from tractable.data import load_images

    whole = load_images(data)
    pixels = torch.from_numpy(whole.images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(whole.labels)
    parts: list[Tensor] = []
    for name in ("train", "test"):
        rows = np.random.default_rng(0).permutation(np.arange(len(labels))[whole.parts[name]])
        small = [shrunk(part.float() / 255, min(size, part.shape[-1]))
                 for part in pixels[rows].split(5000)]  # fmt: skip
        parts += [torch.cat(small), labels[rows]]
    return parts[0], parts[1], parts[2], parts[3]


def normalized(images: Tensor, like: Tensor) -> Tensor:
    """Return images of mean 0 and deviation 1 in each channel of some training images."""
    sample = like[:5000]
    mean = sample.mean((0, 2, 3), keepdim=True)
    deviation = sample.std((0, 2, 3), keepdim=True)
    return (images - mean) / deviation


def conditions(images: Tensor, hidden: float, noise: float, seed: int) -> dict[str, Tensor]:
    """Return test images as they are, with patches hidden, and with noise."""
    return {
        "clean": images,
        "occluded": occluded(images, hidden, fill=GRAY, seed=seed),
        "noisy": noisy(images, noise, seed=seed),
    }


# --- training --------------------------------------------------------------------------------


def train_images(
    spec: str,
    data: str,
    seed: int,
    device: str,
    images: str,
    size: int,
    n_steps: int,
    image_off: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    occluded: float,
    noise: float,
    n_test: int,
    n_devices: int,
) -> xr.Dataset:
    """Train one network; return its accuracy under every condition and at every step."""
    call: dict[str, Any] = {"T": n_steps}
    if image_off:
        call["image_off"] = image_off
    fabric = _fabric(n_devices, device)
    graph = ConvRNNSpec.from_json(spec)
    if data == "folder":
        train_part = image_folder(images, "train", size=size)
        test_part = image_folder(images, "test", size=size)
        like = train_part.first(512, seed=seed)[0]
        rank, n_ranks = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
        raw = train_part.batches(batch_size=batch_size, seed=seed, rank=rank, n_ranks=n_ranks)

        def of_folder(epoch: int) -> Any:
            return ((normalized(x, like), y) for x, y in raw(epoch))

        batches: Any = of_folder
        test_images, test_labels = test_part.first(n_test, seed=seed)
        unroll = "biological"
    else:
        whole = images_of(data, size)
        like = whole[0]
        batches = image_batches(
            normalized(whole[0], like), whole[1], batch_size=batch_size, seed=seed,
            augment=data != "digits",
        )  # fmt: skip
        test_images, test_labels = whole[2][:n_test], whole[3][:n_test]
        unroll = "engineering"
    net = network(graph, seed, tuple(like.shape[1:]), unroll)
    train(
        net, batches, steps=steps, learning_rate=learning_rate, weight_decay=weight_decay,
        seed=seed, device=device, fabric=fabric, progress=False, schedule=one_cycle(steps), **call,
    )  # fmt: skip
    rows, curve = {}, None
    for name, x in conditions(test_images, occluded, noise, seed).items():
        logits, valid = logits_by_step(net, normalized(x, like), call)
        rows[name] = by_step(logits, valid, test_labels)
        if curve is None:  # of clean images
            curve = speed_accuracy(logits, test_labels, valid=valid)
    assert curve is not None
    n_parameters = sum(p.numel() for p in net.parameters())
    return xr.Dataset(
        {
            "accuracy": ("condition", [row[-1] for row in rows.values()], ONE),
            "accuracy_by_step": (("condition", "step"), np.stack(list(rows.values())), ONE),
            "parameters": ((), n_parameters, ONE),
            "macs": ((), operations(net.cpu(), normalized(test_images[:1], like), **call), MACS),
            "decision_step": ("theta", curve.mean_step + 1, {"units": "steps"}),
            "decision_accuracy": ("theta", curve.accuracy, ONE),
        },
        coords={
            "condition": list(rows),
            "step": np.arange(1, n_steps + 1),
            "theta": ("theta", curve.theta, ONE),
        },
    )


def logits_by_step(net: ConvRNN, images: Tensor, call: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the logits (n, steps, classes) of the readout at every step, and which are driven."""
    device = next(net.parameters()).device
    net.eval()
    parts = []
    with torch.no_grad():
        for part in images.split(250):
            out = net(part.to(device), **call)
            parts.append(out.logits_t.cpu())
    return torch.cat(parts), out.valid.cpu()


def by_step(logits: Tensor, valid: Tensor, labels: Tensor) -> np.ndarray:
    """Return the accuracy of the readout at every step; NaN before the image reaches it."""
    mean = (logits.argmax(-1) == labels[:, None]).double().mean(0)
    mean[~valid] = torch.nan
    return np.asarray(mean.numpy())


def _fabric(n_devices: int, device: str) -> Any:
    if not n_devices:
        return None
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ImportError(
            "n_devices above 0 needs lightning-fabric: pip install 'tractable[gpu-cluster]'"
        ) from error
    accelerator = "cuda" if device.startswith("cuda") else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=n_devices)
    fabric.launch()
    return fabric


def image_operations(
    spec: str, data: str, size: int, n_steps: int, image_off: int, steps: int, batch_size: int,
    **other: Any,
) -> tuple[float, float]:  # fmt: skip
    """Return operations and bytes of `train_images`, predicted without weights."""
    from tractable.vision.convrnn.costs import cost

    graph = ConvRNNSpec.from_json(spec)
    shape = (1, 8, 8) if data == "digits" else (3, size, size)
    unroll = "biological" if data == "folder" else "engineering"
    net = ConvRNN(graph, in_shape=shape, device="meta", unroll=unroll)  # type: ignore[arg-type]  # one of two
    predicted = cost(net, n_steps, 1, image_off=image_off or None)
    operations = 6.0 * predicted.macs * batch_size * steps
    return operations, float(predicted.peak_bytes) * batch_size


def image_weight(spec: str, data: str, size: int, **other: Any) -> int:
    """Return the multiplications of one step: what a network costs beside the others."""
    from tractable.vision.convrnn.costs import macs_per_step

    shape = (1, 8, 8) if data == "digits" else (3, size, size)
    return macs_per_step(ConvRNN(ConvRNNSpec.from_json(spec), in_shape=shape, device="meta"))


def image_cost(
    spec: str, data: str, size: int, n_steps: int, image_off: int, steps: int, batch_size: int,
    **other: Any,
) -> tuple[float, float, float]:  # fmt: skip
    """Return operations, bytes and seconds of `train_images`, from one small update.

    Of a large network only a part is timed: smaller images and few steps.
    """
    graph = ConvRNNSpec.from_json(spec)
    operations, memory = image_operations(spec, data, size, n_steps, image_off, steps, batch_size)
    shape = (1, 8, 8) if data == "digits" else (3, size, size)
    # Small images on which the smallest map of the published graphs still fits its filters.
    side = shape[1] if size <= 32 else min(size, 128)
    few = n_steps if size <= 32 else min(n_steps, len(graph.nodes) + 1)
    unroll = "biological" if data == "folder" else "engineering"
    net = network(graph, 0, (shape[0], side, side), unroll)
    n = 8 if size <= 32 else 1
    batch = (torch.zeros(n, shape[0], side, side), torch.zeros(n, dtype=torch.long))
    timed, _, seconds = training_cost(net, batch, 1, T=few)
    return operations, memory, seconds * operations / timed
