"""Networks that trace snakes: their size, their reach, their training, their pictures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from tractable.core.seeds import derive
from tractable.studies.vision._convrnn_parts import (
    MACS,
    ONE,
    cell_of,
    network,
    operations,
    training_cost,
)
from tractable.studies.vision._convrnn_sizes import N_BLOCKS, cell_parameters
from tractable.train import fit
from tractable.vision.convrnn.spec import ConvRNNSpec, Node
from tractable.vision.convrnn.trace import Snakes, snake_batches, snakes, trace_scores
from tractable.vision.convrnn.training import one_cycle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tractable.studies.vision.convrnn_trace import ConvrnnTrace

PIXELS = {"units": "pixels"}
N_EXAMPLES = 3


# --- size and reach --------------------------------------------------------------------------


def trace_channels(net: str, width: int) -> int:
    """Return the channels at which a network is nearest in size to the gated one."""
    wanted = _count("rgc", width)
    return min(range(1, 4 * width), key=lambda c: abs(_count(net, c) - wanted))


def count_trace_parameters(net: str, width: int) -> int:
    """Return the parameters of `trace_spec` with its readout of every pixel, by formula."""
    return _count(net, trace_channels(net, width))


def _count(net: str, c: int) -> int:
    cell = cell_parameters(net, c)
    if net == "feedforward":
        cell -= 2 * N_BLOCKS * c  # no norm: it would see the whole image
    return 18 * c + c + cell + c + 1


def reach_of(net: str, n_steps: int) -> int:
    """Return how many pixels away from the seed a network's output may depend on it.

    Every convolution of size 3 adds one: 1 + N_BLOCKS in the feedforward net. A vanilla cell, and
    every other one whose input goes through its filters, adds one in each step; the seed reaches
    the output of the reciprocal-gated cell past its filters in the first step, its state c through
    them, and from the second step on its output through the gates. It is a bound: weights of 0 and
    closed gates let less through.
    """
    if net == "feedforward":
        return 1 + N_BLOCKS
    if (
        net == "gru"
    ):  # its candidate reads a state that was reset by filters: two in each later step
        return 2 * n_steps
    return 1 if net == "rgc" and n_steps == 1 else n_steps + 1


def trace_spec(net: str, width: int) -> ConvRNNSpec:
    """Return a convolution and a cell, or residual convolutions in its place."""
    channels = trace_channels(net, width)
    if net == "feedforward":
        nodes = [Node("v1", channels, 3)]
        nodes += [Node(f"block{i + 1}", channels, 3, res=True) for i in range(N_BLOCKS)]
    else:
        cell, arguments = cell_of(net)
        nodes = [Node("v1", channels, 3, cell=cell, cell_args=arguments)]
    return ConvRNNSpec.chain(nodes, n_classes=1, readout="pool")


class Tracer(nn.Module):
    """Logits of every pixel: 1 x 1 filters on the last layer's output at the last step."""

    def __init__(self, spec: ConvRNNSpec, size: int, n_steps: int, seed: int) -> None:
        super().__init__()
        self.body = network(spec, seed, (2, size, size))
        self.last = spec.nodes[-1]
        self.n_steps = 1 if len(spec.nodes) > 1 else n_steps
        self.readout = nn.Conv2d(self.last.channels, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return (batch, size, size)."""
        features = self.body(images, T=self.n_steps, layers=[self.last.name]).features
        return self.readout(features[self.last.name].values[:, -1])[:, 0]

    def parts(self) -> list[nn.Parameter]:
        """Return what is trained: all but the graph's own readout, which is not used."""
        return [p for name, p in self.named_parameters() if p.requires_grad]


def tracer(spec: str, size: int, n_steps: int, seed: int) -> Tracer:
    """Return a network; the graph's own readout of classes is frozen, it is not used."""
    graph = ConvRNNSpec.from_json(spec)
    torch.manual_seed(derive(seed, "tracer") % 2**63)
    net = Tracer(graph, size, n_steps, seed)
    for name, parameter in net.body.named_parameters():
        if name.startswith("head"):
            parameter.requires_grad_(False)
    return net


# --- training --------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def drawn(n: int, size: int, n_snakes: int, length: int, seed: int) -> Snakes:
    """Return snakes, drawn once."""
    return snakes(n, size=size, n_snakes=n_snakes, length=length, seed=seed)


def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross-entropy on the snakes' pixels."""
    images, path = batch
    on = path >= -1
    logits = net(images)[on]
    return nn.functional.binary_cross_entropy_with_logits(logits, (path >= 0)[on].to(logits))


def train_trace(
    spec: str,
    seed: int,
    device: str,
    size: int,
    n_snakes: int,
    length: int,
    n_steps: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    n_train: int,
    n_test: int,
) -> xr.Dataset:
    """Train one network; return its scores by distance, its reach, and some of its answers."""
    net = tracer(spec, size, n_steps, seed)
    train_set = drawn(n_train, size, n_snakes, length, derive(seed, "train") % 2**31)
    test = drawn(n_test, size, n_snakes, length, derive(seed, "test") % 2**31)
    fit(
        net,
        loss,
        snake_batches(train_set, batch_size=batch_size, seed=seed),
        steps=steps,
        learning_rate=learning_rate,
        clip=1.0,
        schedule=one_cycle(steps),
        seed=seed,
        device=device,
        progress=False,
    )
    net.to("cpu").eval()
    with torch.no_grad():
        images = torch.from_numpy(test.images)
        logits = torch.cat([net(part) for part in images.split(100)]).numpy()
    found, rejected = trace_scores(logits, test.path)
    right = ((logits > 0) == test.target)[test.on_snake].mean()
    return xr.Dataset(
        {
            "accuracy": ((), right, ONE),
            "found": ("distance", found, ONE),
            "rejected": ((), rejected, ONE),
            "reach": ((), measured_reach(net, size), PIXELS),
            "parameters": ((), sum(p.numel() for p in net.parts()), ONE),
            "macs": ((), operations(net, images[:1]), MACS),
            **rings(logits, test, size),
            "example": (("image", "y", "x"), test.path[:N_EXAMPLES], ONE),
            "answer": (("image", "y", "x"), logits[:N_EXAMPLES], ONE),
        },
        coords={"distance": np.arange(len(found)), "ring": np.arange(size)},
    )


def rings(logits: np.ndarray, test: Snakes, size: int) -> dict[str, Any]:
    """Count pixels, and marked ones, by how far from the seed they are, target and others."""
    image, row, column = np.nonzero(test.on_snake)
    _, seed_row, seed_column = np.nonzero(test.images[:, 1])
    away = np.maximum(abs(row - seed_row[image]), abs(column - seed_column[image]))
    marked = logits[image, row, column] > 0
    target = test.target[image, row, column]
    counts = {
        "n_target": target,
        "n_other": ~target,
        "marked_target": target & marked,
        "marked_other": ~target & marked,
    }
    return {
        name: ("ring", np.bincount(away[chosen], minlength=size), {"units": "pixels"})
        for name, chosen in counts.items()
    }


def measured_reach(net: nn.Module, size: int) -> int:
    """Return the largest distance in pixels at which the output depends on the seed."""
    random = torch.Generator().manual_seed(0)
    images = torch.rand(1, 2, size, size, generator=random)
    images = images.repeat(2, 1, 1, 1).double()
    images[1, 1, 0, 0] += 1.0
    twin = _double(net)
    with torch.no_grad():
        before, after = twin(images)
    rows, columns = torch.nonzero((before != after), as_tuple=True)
    return int(torch.maximum(rows, columns).max()) if len(rows) else -1


def _double(net: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(net).double()


def trace_cost(
    spec: str, size: int, n_steps: int, steps: int, batch_size: int, **other: Any
) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of `train_trace`, from one update of a few images."""
    net = tracer(spec, size, min(n_steps, 4), 0)
    n = min(batch_size, 4)
    few = snakes(n, size=size, n_snakes=other["n_snakes"], length=other["length"], seed=0)
    batch = (torch.from_numpy(few.images), torch.from_numpy(few.path))
    operations_, _, seconds = training_cost(net, batch, steps, loss)
    scale = batch_size / n * (n_steps / net.n_steps if net.n_steps > 1 else 1)
    memory = 4.0 * 12 * net.last.channels * size**2 * batch_size * n_steps
    return operations_ * scale, memory, seconds * scale


# --- pictures --------------------------------------------------------------------------------


def draw_distances(study: ConvrnnTrace, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw what is found against path distance, and the balanced accuracy against distance."""
    from tractable import plot
    from tractable.studies.vision._convrnn_figures import COLORS, MARKERS, TITLES

    n = reach_of("feedforward", study.n_steps)
    figure, (left, right) = plot.new(1, 2, size=(9.2, 3.6), sharey=True)
    for net in study.nets:
        one = measured.sel(net=net)
        style: dict[str, Any] = {
            "color": COLORS[net], "marker": MARKERS[net], "markersize": 4, "linestyle": ":",
            "linewidth": 0.8, "label": TITLES[net],
        }  # fmt: skip
        spread = np.sqrt(study.n_seeds)
        error = one.found.std("seed") / spread
        plot.measurement(left, one.distance, one.found.mean("seed"), error=error, **style)
        hits = one.marked_target / one.n_target.where(one.n_target > 0)
        balanced = (hits + 1 - one.marked_other / one.n_other.where(one.n_other > 0)) / 2
        error = balanced.std("seed") / spread
        plot.measurement(right, one.ring, balanced.mean("seed"), error=error, **style)
    for ax in (left, right):
        ax.axvline(n + 0.5, color="0.6", lw=1, ls="--")
    blind = float(theory.blind)
    plot.theory(right, [n + 1, study.size - 1], [blind] * 2, color="C0", label="no knowledge")
    left.set(xlabel="steps along the snake from the seed", ylabel="share", ylim=(-0.02, 1.04))
    left.set_title("found of the snake")
    right.set(xlabel="pixels from the seed (the larger of x and y)")
    right.set_title("balanced accuracy")
    right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.set_label(
        f"Left: share of the seed's snake that is marked, by steps along it. Right: balanced "
        f"accuracy by distance in pixels; beyond the dashed line, {n} pixels, the feedforward net "
        "cannot see the seed. Mean and standard error over the seeds."
    )
    return figure


def draw_examples(measured: xr.Dataset) -> Figure:
    """Draw test images with the networks' answers."""
    from matplotlib.colors import ListedColormap

    from tractable import plot
    from tractable.studies.vision._convrnn_figures import TITLES

    nets = [str(net) for net in measured.net.values]
    colors = ListedColormap(["#ffffff", "#bbbbbb", "#009E73", "#E69F00", "#D55E00"])
    one = measured.isel(seed=0)
    n = one.sizes["image"]
    figure, axes = plot.new(
        n, 1 + len(nets), size=(1.7 * (1 + len(nets)), 1.75 * n + 0.3), squeeze=False
    )
    for row in range(n):
        path = one.example.isel(net=0, image=row).values
        for ax, net in zip(axes[row], ["", *nets], strict=True):
            shown = np.where(path == -2, 0, 1)
            shown[path >= 0] = 2
            if net:
                own = one.sel(net=net).isel(image=row)
                path_here = own.example.values
                marked = own.answer.values > 0
                shown = np.where(path_here == -2, 0, 1)
                shown[(path_here >= 0) & marked] = 2
                shown[(path_here >= 0) & ~marked] = 3
                shown[(path_here == -1) & marked] = 4
            ax.imshow(shown, cmap=colors, vmin=0, vmax=4, interpolation="nearest")
            y, x = np.nonzero(path == 0)
            ax.plot(x, y, "k.", ms=5)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_label(net or "truth")
            if row == 0:
                ax.set_title(TITLES[net] if net else "truth", fontsize=9)
    figure.set_label(
        "Test images and answers: the seed (dot), its snake where it is found (green) and missed "
        "(yellow), other snakes left out (gray) and marked (red)."
    )
    return figure
