"""Training of recurrent graphs on movies or still images, and their accuracy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tractable.core.checks import check_range
from tractable.core.seeds import derive
from tractable.train import FitResult, fit
from tractable.train.batches import minibatches
from tractable.train.records import OnRecord, Record

__all__ = ["accuracy", "image_batches", "one_cycle", "predictions", "train"]

Batches = Iterable[Any] | Callable[[int], Iterable[Any]]


def one_cycle(steps: int, *, rise: float = 0.3, first: float = 0.04) -> Callable[[int], float]:
    """Return a schedule: up along half a cosine from ``first`` to 1, then down to 0.

    Parameters
    ----------
    steps : int
        Of the training, >= 1.
    rise : float
        Share of the steps before the peak, 0 .. 1.
    first : float
        Factor at the first step.

    Examples
    --------
    >>> schedule = one_cycle(100)
    >>> [round(schedule(step), 3) for step in (0, 15, 30, 65, 100)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    check_range("steps", steps, 1)
    check_range("rise", rise, 0.0, 1.0)
    peak = rise * steps

    def factor(step: int) -> float:
        if step < peak:
            return first + (1 - first) * (1 - math.cos(math.pi * step / peak)) / 2
        fallen = (step - peak) / max(steps - peak, 1e-12)
        return (1 + math.cos(math.pi * min(fallen, 1.0))) / 2

    return factor


def train(
    net: nn.Module,
    data: Batches,
    *,
    steps: int,
    learning_rate: float = 5e-3,
    weight_decay: float = 0.0,
    clip: float | None = 1.0,
    smoothing: float = 0.0,
    schedule: Callable[[int], float] | None = None,
    record: Record | None = None,
    record_at: Iterable[int] | None = None,
    on_record: OnRecord | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
    fabric: Any = None,
    progress: bool = True,
    **call: Any,
) -> FitResult:
    """Train a network to name the class of images or movies: Adam, one cycle, cross-entropy.

    Parameters
    ----------
    net : nn.Module
        A `ConvRNN`, or any module whose output is logits (batch, classes) or has them as its
        attribute ``logits``. Trained in place.
    data : iterable of batches, or callable
        Pairs (images or movies, labels); see `tractable.train.fit`.
    steps : int
        Updates.
    learning_rate : float
        At the peak of the cycle, larger than 0.
    weight_decay : float
        Decoupled from the gradient, on all weights, >= 0.
    clip : float, optional
        Largest norm of the gradient.
    smoothing : float
        Of the labels, 0 .. 1.
    schedule : callable, optional
        Instead of `one_cycle`.
    record, record_at, on_record, seed, device, checkpoint, fabric, progress
        As in `tractable.train.fit`.
    **call
        Handed to every call of the network: ``T``, ``image_off``, ``decoder``.

    Returns
    -------
    FitResult
        That of `tractable.train.fit`.
    """
    check_range("weight_decay", weight_decay, 0.0)
    if weight_decay:
        optimizer: Any = functools.partial(torch.optim.AdamW, weight_decay=weight_decay)
    else:
        optimizer = torch.optim.Adam

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        logits = _logits(model(batch[0], **call))
        if int(batch[1].max()) >= logits.shape[1]:
            raise ValueError(
                f"labels must be below the number of logits, {logits.shape[1]}, got "
                f"{int(batch[1].max())}"
            )
        return nn.functional.cross_entropy(logits.float(), batch[1], label_smoothing=smoothing)

    return fit(
        net,
        loss,
        data,
        steps=steps,
        optimizer=optimizer,
        learning_rate=learning_rate,
        clip=clip,
        schedule=one_cycle(steps) if schedule is None else schedule,
        record=record,
        record_at=record_at,
        on_record=on_record,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        fabric=fabric,
        progress=progress,
    )


def predictions(net: nn.Module, x: Tensor, *, batch_size: int = 256, **call: Any) -> Tensor:
    """Return the logits (n, classes) of images or movies, without gradient, in eval mode."""
    check_range("batch_size", batch_size, 1)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():
            parts = [_logits(net(part.to(device), **call)).cpu() for part in x.split(batch_size)]
    finally:
        net.train(was_training)
    return torch.cat(parts)


def accuracy(
    net: nn.Module, x: Tensor, labels: Tensor, *, batch_size: int = 256, **call: Any
) -> float:
    """Return the share of images or movies whose largest logit is that of their label.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.zeros(6, 1, 2, 2)
    >>> accuracy(net, x, net(x).argmax(1))
    1.0
    """
    if len(x) != len(labels):
        raise ValueError(f"x and labels must be equally many, got {len(x)} and {len(labels)}")
    found = predictions(net, x, batch_size=batch_size, **call).argmax(1)
    return float((found == labels).double().mean())


def image_batches(
    images: Tensor, labels: Tensor, *, batch_size: int, seed: int, augment: bool = True
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """Return what `tractable.train.fit` takes as data: still images in random order.

    Parameters
    ----------
    images, labels : Tensor, shapes (n, C, H, W) and (n,)
        All of them are seen once in an epoch.
    batch_size : int
        1 .. n; images that do not fill a batch are left out.
    seed : int
        Decides the order and the changes, together with the epoch.
    augment : bool
        Mirror every other image, and shift all by up to an eighth of their side (edges repeat).
    """
    batches = minibatches(images, labels, batch_size=batch_size, seed=seed, drop_last=True)
    if not augment:
        return batches
    reach = max(images.shape[-1] // 8, 1)

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(derive(seed, "changes", number))
        for x, y in batches(number):
            mirrored = torch.rand(len(x), 1, 1, 1, generator=random) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
            x = nn.functional.pad(x, (reach,) * 4, mode="replicate")
            top, left = torch.randint(2 * reach + 1, (2,), generator=random).tolist()
            height, width = images.shape[-2:]
            yield x[:, :, top : top + height, left : left + width], y

    return epoch


def _logits(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out.logits
