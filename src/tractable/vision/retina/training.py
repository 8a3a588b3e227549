"""Train the model to tell images apart, and watch that its bottleneck stays alive."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import tractable
from tractable.core.checks import check_choice
from tractable.core.seeds import derive
from tractable.train import FitResult, fit, minibatches
from tractable.vision.retina.errors import DeadBottleneckError
from tractable.vision.retina.images import GrayImages
from tractable.vision.retina.layers import activations
from tractable.vision.retina.model import RetinaVVS, weights_of
from tractable.vision.retina.settings import OPTIMIZERS, TrainSettings, settings_of
from tractable.vision.retina.train_result import TrainResult

__all__ = ["train_classifier"]

ON_DEAD = ("restart", "raise", "keep")
MAX_RESTARTS = 10
PROBE = 256  # training images on which the bottleneck is watched


class _Died(Exception):
    """The bottleneck is silent on all watched images."""


def train_classifier(
    model: RetinaVVS,
    data: GrayImages,
    preset: str | TrainSettings | Mapping[str, Any] = "cpu",
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    on_dead: str = "restart",
    record: Mapping[str, Callable[[nn.Module], Any]] | None = None,
    record_at: list[int] | None = None,
    callback: Callable[[int, Mapping[str, np.ndarray]], None] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> TrainResult:
    """Train a network to tell images apart, in place.

    Parameters
    ----------
    model : RetinaVVS
        With as many outputs as there are classes.
    data : GrayImages
        Training and test images.
    preset : str, TrainSettings or mapping
        ``"cpu"``, ``"paper"``, settings, or a mapping of settings that differ from ``"cpu"``.
    seed : int
        Decides the order of the images, their changes, the noise, and restarts.
    device : str or torch.device
        ``"auto"`` is CUDA where there is one.
    on_dead : str
        When all channels of the bottleneck are silent on 256 training images: ``"restart"`` puts
        the initial weights back, draws those of the bottleneck from a new seed and begins anew
        (at most 10 times); ``"raise"``; or ``"keep"``, which goes on and reports it.
    record : mapping of str to callable, optional
        Further records, as for `tractable.train.fit`; ``"active"`` is always there.
    record_at : list of int, optional
        Steps of the records; 21 evenly spaced ones by default.
    callback : callable, optional
        ``callback(step, values)`` after each record.
    checkpoint : path, optional
        As for `tractable.train.fit`; a restart begins a file of its own.
    progress : bool
        Show a bar.

    Raises
    ------
    DeadBottleneckError
        With ``on_dead="raise"``, or after 10 restarts.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945.
    """
    settings = settings_of(preset)
    if not isinstance(data, GrayImages):
        raise TypeError(f"data must be GrayImages, got {type(data).__name__}")
    check_choice("on_dead", on_dead, ON_DEAD)
    if len(data.classes) > model.head[-1]:
        raise ValueError(
            f"the model must have an output per class: {len(data.classes)} classes, "
            f"head={model.head}"
        )
    set_bottleneck_bias(model, settings.bottleneck_bias)
    start = copy.deepcopy(model.state_dict())
    total = settings.total(len(data.train))
    records = sorted({round(total * i / 20) for i in range(21)}) if record_at is None else record_at
    began = time.monotonic()
    restarts: list[Any] = []
    while True:
        try:
            result = _attempt(
                model, data, settings, total, records, record or {}, callback, on_dead,
                seed, device, _attempt_path(checkpoint, len(restarts)), progress,
            )  # fmt: skip
            break
        except _Died as died:
            if on_dead == "raise" or len(restarts) == MAX_RESTARTS:
                raise DeadBottleneckError(
                    f"all {model.n_bn} channels of {model.bottleneck} are silent {died} "
                    f"(seed {seed}, {len(restarts)} restarts); raise bottleneck_bias, lower "
                    "learning_rate, or keep it with on_dead='keep'"
                ) from died
        restarts.append(derive(seed, "restart", len(restarts)))
        model.load_state_dict(start)
        model.reset(restarts[-1], [str(model.bottleneck)])
        set_bottleneck_bias(model, settings.bottleneck_bias)
    accuracy = accuracy_on(model, data.test, data.test_labels)
    active = active_fraction(model, data.test)
    seconds = time.monotonic() - began
    return TrainResult(
        accuracy, active, result, tuple(restarts), settings, seed, seconds, tractable.__version__
    )


def _attempt(
    model: RetinaVVS,
    data: GrayImages,
    settings: TrainSettings,
    total: int,
    records: list[int],
    more: Mapping[str, Callable[[nn.Module], Any]],
    callback: Callable[[int, Mapping[str, np.ndarray]], None] | None,
    on_dead: str,
    seed: int,
    device: str | torch.device,
    checkpoint: Path | None,
    progress: bool,
) -> FitResult:
    probe = data.train[:PROBE]

    def watch(step: int, values: Mapping[str, np.ndarray]) -> None:
        if callback is not None:
            callback(step, values)
        active = values["active"]
        if len(active) and not active.any() and on_dead != "keep":
            raise _Died(f"at step {step}")

    batches = minibatches(
        data.train,
        data.train_labels,
        batch_size=settings.batch_size,
        seed=seed,
        collate=functools.partial(augment, flip=settings.flip, shift=settings.shift),
    )
    return fit(
        model,
        functools.partial(loss, settings),
        batches,
        steps=settings.steps or None,
        epochs=settings.epochs or None,
        optimizer=OPTIMIZERS[settings.optimizer],
        learning_rate=settings.learning_rate,
        schedule=lambda step: settings.rate(step, total),
        seed=seed,
        device=device,
        record={"active": lambda net: active_fraction(net, probe), **more},
        record_at=records,
        on_record=watch,
        checkpoint=checkpoint,
        progress=progress,
    )


def loss(settings: TrainSettings, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross-entropy plus the penalties, equation (R7)."""
    images, labels = batch
    penalized = settings.l1 or settings.l1_bottleneck or settings.l1_activity
    if not penalized or not isinstance(model, RetinaVVS) or model.bottleneck is None:
        return functional.cross_entropy(model(images), labels)
    outputs: list[Tensor] = []
    layer = model.get_submodule(model.bottleneck)
    handle = layer.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        value = functional.cross_entropy(model(images), labels)
    finally:
        handle.remove()
    for i in range(1, model.retina_layers):
        value = value + settings.l1 * weights_of(model, f"retina_{i}").weight.abs().sum()
    value = value + settings.l1_bottleneck * weights_of(model, model.bottleneck).weight.abs().sum()
    return value + settings.l1_activity * outputs[0].abs().sum() / len(images)


def augment(images: Tensor, labels: Tensor, *, flip: bool, shift: float) -> tuple[Tensor, Tensor]:
    """Mirror and shift images at random, by torch's global generator."""
    n = len(images)
    if flip:
        mirrored = torch.rand(n) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if shift > 0:
        places = torch.eye(2, 3).repeat(n, 1, 1)
        places[:, :, 2] = (torch.rand(n, 2) * 2 - 1) * 2 * shift  # the side is 2 in these units
        grid = functional.affine_grid(places, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return images, labels


@torch.no_grad()
def set_bottleneck_bias(model: RetinaVVS, bias: float) -> None:
    """Set the bias of the retina's output, if it has one."""
    if model.bottleneck is not None and weights_of(model, model.bottleneck).bias is not None:
        weights_of(model, model.bottleneck).bias.fill_(bias)


def active_fraction(model: nn.Module, images: Tensor) -> np.ndarray:
    """Return the share of positive outputs of each bottleneck channel; empty without a retina."""
    layer = getattr(model, "bottleneck", None)
    if layer is None:
        return np.zeros(0)
    positive = activations(model, layer, images, select=lambda u: (u > 0).double().mean((2, 3)))
    return positive.mean(0).numpy()


def accuracy_on(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images told right."""
    right = activations(model, None, images, select=lambda logits: logits.argmax(1))
    return float((right == labels).double().mean())


def _attempt_path(checkpoint: str | Path | None, attempt: int) -> Path | None:
    if checkpoint is None or attempt == 0:
        return None if checkpoint is None else Path(checkpoint)
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-restart{attempt}{path.suffix}")
