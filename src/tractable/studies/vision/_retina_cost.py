"""What the training of a retina's networks costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tractable.study import Cost

BATCH = 64


def training_cost(
    nets: Sequence[tuple[dict[str, Any], int]],
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
    from tractable.vision.retina import RetinaVVS, parameter_count
    from tractable.vision.retina.model import multiplications
    from tractable.vision.retina.settings import PRESETS
    from tractable.vision.retina.training import loss

    built = []
    for arguments, n_seeds in nets:
        settings = dict(arguments)
        head = (*settings.pop("head", ()), n_classes)
        built.append((RetinaVVS(**settings, head=head, in_shape=(1, size, size)), n_seeds))
    largest = max(built, key=lambda item: multiplications(item[0]))[0]
    batch = (torch.rand(BATCH, 1, size, size), torch.zeros(BATCH, dtype=torch.int64))
    seconds = time_one_step(
        largest,
        lambda model, pair: loss(PRESETS["cpu"], model, pair),
        batch,
        device=device,
        repeats=1,
    )
    per_multiplication = seconds / multiplications(largest)
    updates = [(multiplications(net), steps * n) for net, n in built]
    total = sum(per_image * n for per_image, n in updates)
    operations = 6.0 * BATCH * total  # forward once, backward twice; times and plus
    memory = 16.0 * max(parameter_count(net)["total"] for net, _ in built)
    memory += 3 * 4.0 * BATCH * size**2 * 200
    return Cost(operations, memory, per_multiplication * total)
