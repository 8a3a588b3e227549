"""Graphs, training and scores that the studies of recurrent graphs share."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from tractable.core.seeds import derive, generator, seeded
from tractable.studies.vision._convrnn_sizes import N_BLOCKS, match_channels
from tractable.studies.vision.convrnn_graph import FLAGS
from tractable.vision.convrnn.network import ConvRNN
from tractable.vision.convrnn.recall import (
    GlimpseTask,
    RecallTask,
    digit_parts,
    movie_batches,
    recall_tasks,
)
from tractable.vision.convrnn.spec import ConvRNNSpec, Node
from tractable.vision.convrnn.training import predictions, train

if TYPE_CHECKING:
    from tractable.studies.vision.convrnn_graph import ConvrnnGraph
    from tractable.study import Run

ONE = {"units": "1"}
STEPS = {"units": "steps"}
MACS = {"units": "1", "long_name": "multiply-accumulate operations of a movie"}
DIGIT_SHAPE = (1, 8, 8)
N_VALIDATION = 297
N_RECORDS = 4


def tasks() -> dict[str, RecallTask | GlimpseTask]:
    """Return the variants of the recall task, and the short one of searches."""
    short = RecallTask(n_target=1, n_distractors=2, n_gap=1, n_distractor=1, n_tail=2)
    return {**recall_tasks(), "short": short}


# --- graphs ----------------------------------------------------------------------------------


def cell_of(
    net: str, *, tau_bias: float = 0.0, gate_bias: float = 0.0
) -> tuple[str | None, dict[str, Any]]:
    """Return the cell's name and its options that a network of a study has."""
    if net == "feedforward":
        return None, {}
    if net.startswith("vanilla"):
        return "vanilla", {"norm": net == "vanilla+norm"}
    return net, {"tau_bias": tau_bias, "gate_bias": gate_bias} if net == "rgc" else {}


def recall_spec(net: str, width: int, *, tau_bias: float, gate_bias: float) -> ConvRNNSpec:
    """Return two convolutions, one cell (or residual convolutions), and a linear readout."""
    channels, stem = match_channels(net, width)
    cell, arguments = cell_of(net, tau_bias=tau_bias, gate_bias=gate_bias)
    nodes = [Node("v1", stem, 3, pool=2)]
    if net in ("feedforward", "timedecay"):
        nodes.append(Node("v2", channels, 3))
        nodes += blocks("block", channels, cell, arguments)
    else:
        nodes.append(Node("v2", channels, 3, cell=cell, cell_args=arguments))
    return ConvRNNSpec.chain(nodes, n_classes=10)


def blocks(name: str, channels: int, cell: str | None, arguments: dict[str, Any]) -> list[Any]:
    """Return residual convolutions with a norm each; the last one may have a cell."""
    last: dict[str, Any] = {"cell": cell, "cell_args": arguments}
    return [
        Node(f"{name}{i + 1}", channels, 3, norm="group", res=True,
             **(last if i == N_BLOCKS - 1 else {}))
        for i in range(N_BLOCKS)
    ]  # fmt: skip


def n_parameters(spec: ConvRNNSpec) -> int:
    """Return the trained numbers of a graph of digits."""
    return sum(p.numel() for p in network(spec, 0).parameters())


def network(
    spec: ConvRNNSpec, seed: int, shape: tuple[int, ...] = DIGIT_SHAPE, unroll: Any = "engineering"
) -> ConvRNN:
    """Return the network of a graph, with initial weights of a seed."""
    with seeded(derive(seed, "weights")):
        return ConvRNN(spec, in_shape=shape, unroll=unroll)


def graph_spec(study: ConvrnnGraph) -> ConvRNNSpec:
    """Return the three layers of `convrnn-graph` with their cells and feedback edges."""
    nodes = []
    for i, cell in enumerate(study.cells):
        nodes.append(
            Node(
                f"v{i + 1}",
                study.channels[i],
                3,
                stride=2 if i == 0 else 1,
                cell=None if cell == "none" else cell,
                cell_args=_cell_arguments(study, i),
            )
        )
    spec = ConvRNNSpec.chain(nodes, n_classes=10)
    for edge in study.feedback:
        high, low = edge.split(">")
        gated = study.cells[int(low) - 1] == "rgc"
        spec.feedback(
            f"v{high}",
            f"v{low}",
            entry=study.feedback_entry if gated else "input",
            kernel=study.feedback_kernel,
            activation=study.feedback_activation,
            separable=study.feedback_separable,
        )
    return spec


def _cell_arguments(study: ConvrnnGraph, i: int) -> dict[str, Any]:
    cell = study.cells[i]
    if cell == "rgc":
        names = ("kernel", "nonlinearity", "offset", "bias")
        branches = [f"{branch}_{name}" for branch in ("tau", "gate") for name in names]
        numbers = {name: getattr(study, name) for name in branches}
        return {**numbers, **{flag: flag in study.flags for flag in FLAGS}}
    if cell in ("none", "timedecay"):
        return {}
    arguments: dict[str, Any] = {"kernel": study.kernels[i], "norm": study.norms[i]}
    if cell != "vanilla":
        arguments["forget_bias"] = study.forget_bias
    return arguments


# --- training --------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def digits(n_test: int) -> tuple[torch.Tensor, ...]:
    """Return training and test digits; they are read once."""
    return digit_parts(n_test=n_test)


def movies_of(
    task: RecallTask | GlimpseTask, images: torch.Tensor, seed: int, name: str = "test"
) -> torch.Tensor:
    """Return one movie of every image."""
    return task.movies(images, images, generator(derive(seed, name)))


class FrameByFrame(nn.Module):
    """A network without memory: logits of every frame that shows something, then their mean."""

    def __init__(self, net: nn.Module, task: RecallTask | GlimpseTask) -> None:
        super().__init__()
        self.net = net
        self.frames = [t for t, which in enumerate(task.shown) if which >= 0]

    def forward(self, movie: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        frames = movie[:, self.frames]
        logits = self.net(frames.flatten(0, 1), T=1).logits
        return logits.unflatten(0, frames.shape[:2]).mean(1)


def train_recall(
    spec: str,
    readout: str,
    variant: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    n_test: int,
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train one network on one variant; return its accuracy, its size, and its operations."""
    images, labels, test_images, test_labels = digits(n_test)
    task, graph = tasks()[variant], ConvRNNSpec.from_json(spec)
    net = recall_network(graph, readout, task, seed)
    data = movie_batches(task, images, labels, batch_size=batch_size, seed=seed)
    result = train(
        net, data, steps=steps, learning_rate=learning_rate, seed=seed, device=device,
        progress=False,
    )  # fmt: skip
    movies = movies_of(task, test_images, seed)
    found = predictions(net, movies).argmax(1)
    numbers = {
        "accuracy": float((found == test_labels).double().mean()),
        "parameters": sum(p.numel() for p in net.parameters()),
        "cell_parameters": sum(p.numel() for n, p in net.named_parameters() if in_cell(n)),
        "channels": graph.nodes[-1].channels,
    }
    return xr.Dataset(
        {
            **{name: ((), value, ONE) for name, value in numbers.items()},
            "accuracy_by_frame": ("frame", by_frame(net, movies, test_labels), ONE),
            "macs": ((), operations(net, movies[:1]), MACS),
            "final_loss": ((), float(result.losses[-20:].mean()), {"units": "nat"}),
            "class_share": ("digit", shares(labels, test_labels), ONE),
        },
        coords={"frame": np.arange(1, task.n_frames + 1)},
    )


def recall_network(
    graph: ConvRNNSpec, readout: str, task: RecallTask | GlimpseTask, seed: int
) -> nn.Module:
    """Return a network of movies that is read out at the last frame, or averaged over frames."""
    net = network(graph, seed)
    return FrameByFrame(net, task) if readout == "mean" else net


def recall_cost(
    spec: str, readout: str, variant: str, steps: int, batch_size: int, seed: int, **other: Any
) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of `train_recall`, from one update."""
    task = tasks()[variant]
    net = recall_network(ConvRNNSpec.from_json(spec), readout, task, seed)
    images, labels = digits(other["n_test"])[:2]
    batch = next(movie_batches(task, images, labels, batch_size=batch_size, seed=0)(0))
    return training_cost(net, batch, steps)


def training_cost(
    net: nn.Module,
    batch: tuple[Tensor, Tensor],
    steps: int,
    loss: Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor] | None = None,
    **call: Any,
) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of so many updates, from a few movies that are timed."""
    n, few = len(batch[0]), (batch[0][:8], batch[1][:8])

    def crossed(model: nn.Module, part: tuple[Tensor, Tensor]) -> Tensor:
        out = model(part[0], **call)
        return nn.functional.cross_entropy(getattr(out, "logits", out), part[1])

    once = crossed if loss is None else loss
    seconds = _seconds(lambda: once(net, few).backward())
    if seconds < 2.0:  # of a short update the first one is not typical
        seconds = _seconds(lambda: once(net, few).backward())
    macs = operations(net, few[0][:1], **call)
    # What does not grow with the batch is about that of eight movies.
    seconds *= 0.5 + 0.5 * n / len(few[0])
    return 6.0 * macs * n * steps, 4.0 * macs * n / 50, seconds * steps


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def in_cell(name: str) -> bool:
    """Tell whether a weight belongs to the cell, or to the stack that stands in its place."""
    return ".cell." in name or "block" in name


def by_frame(net: nn.Module, movies: Tensor, labels: Tensor) -> np.ndarray:
    """Return the accuracy of the readout at every frame; NaN without memory."""
    if isinstance(net, FrameByFrame):
        return np.full(movies.shape[1], np.nan)
    with torch.no_grad():
        found = torch.cat([net(part).logits_t.argmax(-1) for part in movies.split(256)])
    return (found == labels[:, None]).double().mean(0).numpy()


def operations(net: nn.Module, x: Tensor, **call: Any) -> float:
    """Return the multiply-accumulate operations of a forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x, **call)
    return counter.get_total_flops() / 2 / len(x)


def shares(*labels: Tensor) -> np.ndarray:
    """Return the share of every class in the last labels, which are those of the test."""
    counts = torch.bincount(labels[-1], minlength=10).double()
    return (counts / counts.sum()).numpy()


def returns_from(spec: ConvRNNSpec) -> int:
    """Return after how many steps the lower layer of two depends on the higher one; -1: never.

    The higher layer's weights are changed, and the lower layer's output is compared.
    """
    low, high = spec.nodes[-2].name, spec.nodes[-1].name
    net = network(spec, 0)
    movie = torch.rand(1, 4, *DIGIT_SHAPE, generator=generator(1))
    with torch.no_grad():
        for parameter in net.feedback.parameters():  # they start at no effect
            parameter.normal_(generator=generator(2))
        before = net(movie, layers=[low]).features[low].values.clone()
        for name, parameter in net.named_parameters():
            if f".{high}." in f".{name}.":
                parameter.add_(0.1)
        after = net(movie, layers=[low]).features[low].values
    changed = (before != after).flatten(2).any(-1)[0]
    return int(changed.int().argmax()) if changed.any() else -1


# --- one graph -------------------------------------------------------------------------------


def train_graph(study: ConvrnnGraph, run: Run) -> xr.Dataset:
    """Train the graph of a study, reporting its validation accuracy on the way."""
    images, labels, test_images, test_labels = digits(study.n_test)
    cut = len(images) - N_VALIDATION
    task, spec = tasks()[study.task], study.spec()
    net = scaled(network(spec, run.seed, unroll="biological"), study.init_scale)
    validation = movies_of(task, images[cut:], run.seed, "validation")
    driven = first_driven(net, task.n_frames)

    def validated(model: nn.Module) -> float:
        found = predictions(model, validation).argmax(1)
        return float((found == labels[cut:]).double().mean())

    def report(step: int, values: Any) -> None:
        if 2 * step >= study.steps:  # before, all are near chance, and a pruner would draw lots
            run.report(step, float(values["validation"]))

    at = np.unique(np.linspace(0, study.steps, N_RECORDS + 1).round().astype(int)[1:]).tolist()
    result = train(
        net,
        movie_batches(task, images[:cut], labels[:cut], batch_size=study.batch_size, seed=run.seed),
        steps=study.steps,
        learning_rate=study.learning_rate,
        weight_decay=study.weight_decay,
        record={"validation": validated},
        record_at=at,
        on_record=report,
        seed=run.seed,
        device=run.device,
        checkpoint=run.checkpoint("training"),
        progress=run.show_progress,
    )
    movies = movies_of(task, test_images, run.seed)
    predicted = predictions(net, movies).argmax(1)
    numbers = {
        "validation_accuracy": float(result.history["validation"][-1]),
        "test_accuracy": float((predicted == test_labels).double().mean()),
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    run.save("weights", net.state_dict())
    return xr.Dataset(
        {
            **{name: ((), value, ONE) for name, value in numbers.items()},
            "macs": ((), operations(net, movies[:1]), MACS),
            "curve": ("update", result.history["validation"], ONE),
            "predicted": ("image", predicted.numpy(), ONE),
            "label": ("image", test_labels.numpy(), ONE),
            "class_share": ("digit", shares(labels, test_labels), ONE),
            "first_driven": ("layer", driven, STEPS),
        },
        coords={"update": result.record_steps, "layer": [node.name for node in spec.nodes]},
        attrs={"spec": spec.to_json()},
    )


def scaled(net: ConvRNN, factor: float) -> ConvRNN:
    """Multiply the weights of all convolutions by a factor, biases and norms left alone."""
    if factor != 1.0:
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.ndim == 4:
                    parameter.mul_(factor)
    return net


def first_driven(net: ConvRNN, n_frames: int) -> list[int]:
    """Return the first step at which each layer depends on the first frame."""
    names = [node.name for node in net.spec.nodes]
    movie = torch.rand(2, n_frames, *DIGIT_SHAPE, generator=generator(0))
    movie[1, 1:] = movie[0, 1:]
    with torch.no_grad():
        features = net(movie, layers=names).features
    driven = []
    for name in names:
        values = features[name].values
        differs = (values[0] != values[1]).flatten(1).any(1)
        driven.append(int(differs.int().argmax()) if differs.any() else -1)
    return driven


def graph_cost(study: ConvrnnGraph, run: Run) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of `train_graph`, from one update."""
    task = tasks()[study.task]
    images, labels = digits(study.n_test)[:2]
    n = min(study.batch_size, len(images))
    batch = next(movie_batches(task, images, labels, batch_size=n, seed=0)(0))
    net = network(study.spec(), 0, unroll="biological")
    operations_, memory, seconds = training_cost(net, batch, study.steps)
    return operations_, memory, 1.2 * seconds  # validation on the way
