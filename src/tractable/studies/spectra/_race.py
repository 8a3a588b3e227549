"""How many steps a deep network needs: learning rates and seeds raced against each other.

All networks of a race, one for each learning rate and seed, are trained in one batch. Their test
accuracy is taken at every step up to 20 and then at steps 5 % apart. The learning time tau of a
learning rate is the first such step at which the median of the seeds has reached the threshold;
the race ends when one rate has got there, since every other one is slower. So a rate that is
better than all others is found without training the others to the end.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from torch import nn

    from tractable.data.images import ImageData

ONE = {"units": "1"}
STEPS = {"units": "updates"}
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")
# Learning rates of the other optimizers, relative to those of plain gradient descent.
RATE_FACTORS = {"sgd": 1.0, "momentum": 0.1, "rmsprop": 0.003, "adam": 0.003}
# Nets of the race: name -> (module name in torch.nn, initialization scheme).
NETS = {
    "tanh orthogonal": ("Tanh", "orthogonal"),
    "tanh Gaussian": ("Tanh", "gaussian"),
    "ReLU orthogonal": ("ReLU", "orthogonal"),
    "ReLU Gaussian": ("ReLU", "gaussian"),
}


class Decided(Exception):  # it ends a race, it is no error
    """The fastest learning rate is known."""


def race(
    net: str,
    depth: int,
    width: int,
    q_star: float,
    optimizer: str,
    rates: list[float],
    n_seeds: int,
    seed: int,
    data: str,
    n_train: int,
    n_test: int,
    batch_size: int,
    threshold: float,
    max_steps: int,
    min_steps: int = 0,
    channels: int = 0,
    device: str = "cpu",
    logits: str = "lecun",
) -> xr.Dataset:
    """Race learning rates for one kind of network; see the module's docstring.

    Returns the test accuracy (step, rate, seed) and the first step over the threshold
    (rate, seed), NaN where it was not reached before the race ended.
    """
    import torch
    import xarray as xr

    from tractable.spectra.replicas import Replicas
    from tractable.train import fit

    train, test = images(data, n_train, n_test, seed)
    x, y = tensors(train, train, channels)
    x_test, y_test = tensors(test, train, channels)
    networks = [
        network(net, depth, width, channels, q_star, x, len(train.classes), seed + i, logits)
        for i in range(n_seeds)
    ]
    replicas = Replicas([networks[i] for _ in rates for i in range(n_seeds)])
    n = len(rates) * n_seeds
    watch = Watch(len(rates), n_seeds, threshold, min_steps)

    def accuracy(model: nn.Module) -> torch.Tensor:
        place = next(model.parameters()).device
        images = x_test.to(place).expand(n, *x_test.shape)
        right = model(images).argmax(-1) == y_test.to(place)
        return right.float().mean(1)

    def losses(model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        shared = model(inputs.repeat(len(rates), *[1] * (inputs.dim() - 1)))
        every = torch.nn.functional.cross_entropy(
            shared.transpose(1, 2), labels.repeat(len(rates), 1), reduction="none"
        ).mean(1)
        # A network that has diverged drops out of the sum; its own weights are lost anyway.
        return torch.where(every.isfinite(), every, 0.0).sum()

    with contextlib.suppress(Decided):
        fit(
            replicas,
            losses,
            functools.partial(batches, x, y, batch_size, n_seeds, seed),
            steps=max_steps,
            optimizer=functools.partial(make_optimizer, optimizer, rates, n_seeds),
            seed=seed,
            device=device,
            record={"accuracy": accuracy},
            record_at=record_steps(max_steps),
            on_record=watch,
            progress=False,
        )
    dims = ("record", "rate", "seed")
    return xr.Dataset(
        {
            "step": ("record", np.array(watch.steps), STEPS),
            "accuracy": (dims, np.array(watch.accuracies), ONE),
            "first_step": (dims[1:], watch.first, STEPS),
            "learning_rate": ("rate", np.array(rates), ONE),
            "n_steps": ((), watch.steps[-1], STEPS),
        }
    )


class Watch:
    """Follows the accuracies of a race and ends it when the fastest rate is known."""

    def __init__(self, n_rates: int, n_seeds: int, threshold: float, min_steps: int) -> None:
        self.shape, self.threshold, self.min_steps = (n_rates, n_seeds), threshold, min_steps
        self.steps: list[int] = []
        self.accuracies: list[np.ndarray] = []
        self.first = np.full(self.shape, np.nan)

    def __call__(self, step: int, values: Any) -> None:
        """Note the accuracies at a step."""
        accuracy = values["accuracy"].reshape(self.shape)
        self.steps.append(step)
        self.accuracies.append(accuracy)
        self.first[(accuracy >= self.threshold) & np.isnan(self.first)] = step
        times = median_times(self.first)
        if step < self.min_steps or not np.isfinite(times).any():
            return
        best = int(np.nanargmin(times))
        if np.isfinite(self.first[best]).all() or step >= 2 * times[best]:
            raise Decided


def median_times(first: np.ndarray) -> np.ndarray:
    """Return the median over the seeds of the first steps (rate, seed), inf where not reached.

    The higher one of two middle seeds counts, so that a median is known once it is reached.
    """
    ordered = np.sort(np.where(np.isnan(first), np.inf, first), axis=-1)
    return ordered[..., first.shape[-1] // 2]


def best_time(race: xr.Dataset) -> tuple[float, float]:
    """Return the learning time of the best rate and that rate; inf and NaN where none got there."""
    times = median_times(race.first_step.values)
    best = int(np.argmin(times))
    reached = np.isfinite(times[best])
    return float(times[best]), float(race.learning_rate[best]) if reached else float("nan")


def best_rate_index(race: xr.Dataset) -> int:
    """Return the best rate's index; where none got there, that of the best accuracy."""
    times = median_times(race.first_step.values)
    if np.isfinite(times).any():
        return int(np.argmin(times))
    reached = np.nanmax(race.accuracy.values, axis=0)
    return int(np.argmax(np.median(reached, axis=-1)))


def record_steps(max_steps: int) -> list[int]:
    """Return the steps at which a race is looked at: each up to 20, then 5 % apart."""
    steps = list(range(min(20, max_steps) + 1))
    while steps[-1] < max_steps:
        steps.append(min(max(steps[-1] + 1, round(steps[-1] * 1.05)), max_steps))
    return steps


def images(data: str, n_train: int, n_test: int, seed: int) -> tuple[ImageData, ImageData]:
    """Return training and test images in random order; 0 takes all."""
    whole = load(data)
    sizes = {name: len(range(len(whole))[part]) for name, part in whole.parts.items()}
    return (
        whole.part("train", min(n_train, sizes["train"]), seed=seed),
        whole.part("test", min(n_test, sizes["test"]), seed=seed),
    )


@functools.lru_cache(maxsize=1)
def load(data: str) -> ImageData:
    """Return a named set of images, read once."""
    from tractable.data import load_images

    return load_images(data)


def tensors(part: ImageData, like: ImageData, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardized inputs, as rows or (for a convolutional net) as maps, and labels."""
    import torch

    x = torch.from_numpy(part.standardized(like))
    if channels:
        _, height, width, colors = part.images.shape
        x = x.reshape(len(x), colors, height, width)
    return x, torch.from_numpy(part.labels)


def network(
    net: str,
    depth: int,
    width: int,
    channels: int,
    q_star: float,
    x: torch.Tensor,
    n_classes: int,
    seed: int,
    logits: str = "lecun",
) -> nn.Sequential:
    """Return one initialized network: at criticality, with q^1 = q* on the training images.

    With ``logits="unit"`` the readout is divided by sqrt(q*), about the size of its inputs.
    """
    from torch import nn

    from tractable.core.seeds import seeded
    from tractable.spectra import init_

    kind, scheme = NETS[net]
    layers: list[nn.Module] = []
    with seeded(0):  # the weights drawn here are replaced
        if channels:
            n_in = x.shape[1]
            for _ in range(depth):
                layers += [
                    nn.Conv2d(n_in, channels, 3, padding=1, padding_mode="circular"),
                    getattr(nn, kind)(),
                ]
                n_in = channels
            layers += [nn.Flatten(), nn.Linear(channels * x.shape[2] * x.shape[3], n_classes)]
        else:
            n_in = x.shape[1]
            for _ in range(depth):
                layers += [nn.Linear(n_in, width), getattr(nn, kind)()]
                n_in = width
            layers.append(nn.Linear(width, n_classes))
        model = nn.Sequential(*layers)
    target = q_star if kind == "Tanh" else 1.0  # of ReLU every q is a fixed point
    init_(model, scheme, target_q=target, input_batch=x[:512], readout="lecun", seed=seed)
    if logits == "unit":
        model[-1].weight.data /= target**0.5
    return model


def batches(
    x: torch.Tensor, y: torch.Tensor, batch_size: int, n_seeds: int, seed: int, epoch: int
) -> Any:
    """Yield the batches of an epoch, for each seed in an order of its own."""
    import torch

    from tractable.core.seeds import derive, generator

    orders = torch.stack(
        [
            torch.randperm(len(x), generator=generator(derive(seed + i, "batches", epoch)))
            for i in range(n_seeds)
        ]
    )
    size = min(batch_size, len(x))
    for start in range(0, len(x) - size + 1, size):
        rows = orders[:, start : start + size]
        yield x[rows], y[rows]


def make_optimizer(
    name: str, rates: list[float], n_seeds: int, parameters: Any, **settings: Any
) -> Any:
    """Return the optimizer with one parameter group per network, each with its learning rate."""
    import torch

    of_each = [rate for rate in rates for _ in range(n_seeds)]
    groups = [{"params": [p], "lr": rate} for p, rate in zip(parameters, of_each, strict=True)]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rates[0])
    if name == "momentum":
        return torch.optim.SGD(groups, lr=rates[0], momentum=0.9)
    if name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rates[0])
    return torch.optim.Adam(groups, lr=rates[0])


def seconds_of_one_step(
    net: str, depth: int, width: int, channels: int, n_replicas: int, data: str, batch_size: int
) -> tuple[float, float, float]:
    """Return seconds, operations and bytes of one step of a race, the test included, from a part.

    A few networks of few layers are timed, for one step and for several, so that what is done once
    (the data, the weights) is left out; the rest is proportional.
    """
    few, layers = min(n_replicas, 4), min(depth, 8)
    known = data if data == "digits" else "digits"

    def seconds(n_steps: int) -> float:
        started = time.perf_counter()
        race(
            net=net,
            depth=layers,
            width=min(width, 400),
            q_star=0.02,
            optimizer="sgd",
            rates=[1e-6] * few,
            n_seeds=1,
            seed=0,
            data=known,
            n_train=batch_size,
            n_test=100,
            batch_size=batch_size,
            threshold=2.0,
            max_steps=n_steps,
            channels=channels,
        )
        return time.perf_counter() - started

    seconds(1)  # imports
    once = seconds(1)
    one_step = max(seconds(5) - once, 1e-5) / 4
    spread = depth / layers * n_replicas / few * (max(width, 1) / max(min(width, 400), 1)) ** 2
    per_layer = 9 * 64 * channels**2 if channels else width**2
    operations = 6.0 * depth * per_layer * batch_size * n_replicas
    memory = 4.0 * depth * n_replicas * (4 * per_layer + 3 * batch_size * max(width, 64 * channels))
    return one_step * spread, operations, memory
