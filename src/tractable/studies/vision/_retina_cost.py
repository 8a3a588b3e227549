"""What the training of a retina's networks costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tractable.study import Cost, Run

if TYPE_CHECKING:
    from tractable.vision.retina import RetinaVVS

BATCH = 64
TIMED = 3e9  # multiplications of the timed update, at least of four images
LONG = 1e13  # operations from which a run says its cost before it begins
Nets = Sequence[tuple[dict[str, Any], int]]


def say_cost(run: Run, nets: Nets, size: int, steps: int) -> None:
    """Say what a long training costs, before it starts: multiplications, parameters, hours here."""
    from tractable.vision.retina import parameter_count
    from tractable.vision.retina.model import multiplications

    built = networks(nets, size)
    if operations(built, steps) < LONG:
        return
    largest = max((net for net, _ in built), key=multiplications)
    run.say(
        f"To be trained: {sum(n for _, n in built)} networks of up to "
        f"{max(parameter_count(net)['total'] for net, _ in built):,} parameters and "
        f"{multiplications(largest):,.0f} multiplications an image, {steps:,} updates of {BATCH} "
        f"images each: {training_cost(nets, size, steps, str(run.device))}."
    )


def networks(nets: Nets, size: int, n_classes: int = 10) -> list[tuple[RetinaVVS, int]]:
    """Return the networks, untrained, each with its number of seeds."""
    from tractable.vision.retina import RetinaVVS

    built = []
    for arguments, n_seeds in nets:
        settings = dict(arguments)
        head = (*settings.pop("head", ()), n_classes)
        built.append((RetinaVVS(**settings, head=head, in_shape=(1, size, size)), n_seeds))
    return built


def operations(built: Sequence[tuple[RetinaVVS, int]], steps: int) -> float:
    """Return the operations of a training: forward once, backward twice; times and plus."""
    from tractable.vision.retina.model import multiplications

    return 6.0 * BATCH * sum(multiplications(net) * steps * n for net, n in built)


def training_cost(
    nets: Nets,
    size: int,
    steps: int,
    device: str,
    n_classes: int = 10,
) -> Cost:
    """Return the cost of training networks, from one timed update of the largest.

    Parameters
    ----------
    nets : sequence of (arguments of the network, number of seeds)
        As `RetinaVVS` takes them, without the classes.
    size : int
        Side of the images.
    steps : int
        Updates of each network.
    device : str
        Where they are trained.
    n_classes : int
        Outputs.
    """
    import torch

    from tractable.train import time_one_step
    from tractable.vision.retina import parameter_count
    from tractable.vision.retina.model import multiplications
    from tractable.vision.retina.settings import PRESETS
    from tractable.vision.retina.training import loss

    built = networks(nets, size, n_classes)
    largest = max(built, key=lambda item: multiplications(item[0]))[0]
    n = int(min(BATCH, max(4, TIMED / multiplications(largest))))
    batch = (torch.rand(n, 1, size, size), torch.zeros(n, dtype=torch.int64))
    seconds = time_one_step(
        largest,
        lambda model, pair: loss(PRESETS["cpu"], model, pair),
        batch,
        device=device,
        repeats=1,
    )
    per_multiplication = seconds / multiplications(largest)
    total = operations(built, steps)
    per_operation = per_multiplication / (6.0 * n)
    memory = 16.0 * max(parameter_count(net)["total"] for net, _ in built)
    memory += 3 * 4.0 * BATCH * size**2 * 200
    return Cost(total, memory, per_operation * total)
