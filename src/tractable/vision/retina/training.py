"""Train the model to tell images apart, and watch that its bottleneck stays alive."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import tractable
from tractable.core.checks import check_choice, check_range
from tractable.core.seeds import derive
from tractable.train import FitResult, fit, minibatches
from tractable.vision.retina.errors import DeadBottleneckError
from tractable.vision.retina.images import GrayImages
from tractable.vision.retina.layers import activations
from tractable.vision.retina.model import RetinaVVS, weights_of

__all__ = ["PRESETS", "TrainResult", "TrainSettings", "train_classifier"]

ON_DEAD = ("restart", "raise", "keep")
MAX_RESTARTS = 10
PROBE = 256  # training images on which the bottleneck is watched


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Parameters
    ----------
    optimizer : str
        ``"adam"``, or ``"rmsprop"`` with Keras' rho 0.9 and epsilon 1e-7.
    learning_rate : float
        Larger than 0.
    batch_size : int
        Images of an update.
    steps, epochs : int
        One of the two is positive: updates, or passes over the training images.
    warmup : int
        Updates over which the rate rises linearly from 0.
    decay : str
        ``"linear"`` to 0 at the end, ``"time"``: 1 / (1 + 1e-6 t), or ``"none"``.
    flip : bool
        Mirror half of the images left to right.
    shift : float
        Largest shift in both axes, as a share of the side, borders repeated.
    bottleneck_bias : float
        Initial bias of the retina's output; above 0 it starts active.
    l1, l1_bottleneck, l1_activity : float
        Weights of the L1 penalties: on the weights of the retina's inner layers, on those of its
        output, on its activity (mean over images of the sum over units).
    """

    optimizer: str = "adam"
    learning_rate: float = 3e-3
    batch_size: int = 64
    steps: int = 2500
    epochs: int = 0
    warmup: int = 100
    decay: str = "linear"
    flip: bool = True
    shift: float = 0.0
    bottleneck_bias: float = 0.1
    l1: float = 0.0
    l1_bottleneck: float = 0.0
    l1_activity: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "rmsprop"))
        check_choice("decay", self.decay, ("linear", "time", "none"))
        check_range("learning_rate", self.learning_rate, 0.0, open_low=True)
        for name in ("steps", "epochs", "warmup"):
            check_range(name, getattr(self, name), 0)
        for name in ("l1", "l1_bottleneck", "l1_activity"):
            check_range(name, getattr(self, name), 0.0)
        check_range("batch_size", self.batch_size, 1)
        check_range("shift", self.shift, 0.0, 0.5)
        if (self.steps > 0) == (self.epochs > 0):
            raise ValueError(
                f"one of steps and epochs must be > 0, got steps={self.steps}, epochs={self.epochs}"
            )

    def total(self, n_images: int) -> int:
        """Return the number of updates on this many images."""
        return self.steps or self.epochs * -(-n_images // self.batch_size)

    def rate(self, step: int, total: int) -> float:
        """Return the factor on the learning rate after ``step`` updates.

        Examples
        --------
        >>> settings = TrainSettings()
        >>> [round(settings.rate(t, 2500), 3) for t in (0, 99, 1300, 2499)]
        [0.01, 1.0, 0.5, 0.0]
        """
        factor = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "time":
            return factor / (1 + 1e-6 * step)
        if self.decay == "linear" and step >= self.warmup:
            factor = (total - step) / max(1, total - self.warmup)
        return factor


PRESETS: Mapping[str, TrainSettings] = {
    "cpu": TrainSettings(),
    "paper": TrainSettings(
        optimizer="rmsprop",
        learning_rate=1e-4,
        steps=0,
        epochs=20,
        warmup=0,
        decay="time",
        shift=0.1,
        bottleneck_bias=0.0,
    ),
}
"""Named settings: ``"cpu"``, a recipe of about half a minute, and ``"paper"``, as published."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a training left behind; the weights are in the model.

    Parameters
    ----------
    accuracy : float
        Share of the test images told right.
    active_fraction : ndarray of float64, shape (n_bn,)
        Share of positive outputs of each bottleneck channel, over test images and positions.
    fit : FitResult
        Losses and records of the last attempt.
    restarts : tuple of int
        Seeds with which the bottleneck was drawn anew after it had died.
    settings : TrainSettings
        As used.
    seed : int
        Of the training.
    seconds : float
        Wall time, all attempts.
    version : str
        Of this library.
    """

    accuracy: float
    active_fraction: np.ndarray
    fit: FitResult
    restarts: tuple[int, ...]
    settings: TrainSettings
    seed: int
    seconds: float
    version: str

    @property
    def n_dead(self) -> int:
        """Number of bottleneck channels that are silent on all test images."""
        return int((self.active_fraction == 0).sum())

    @property
    def dead(self) -> bool:
        """True where the whole bottleneck is silent: a dead network, never to be averaged."""
        return len(self.active_fraction) > 0 and self.n_dead == len(self.active_fraction)

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import json

        import xarray as xr

        one = {"units": "1"}
        data = {
            "accuracy": ((), self.accuracy, one),
            "active_fraction": ("channel", self.active_fraction, one),
            "loss": ("step", self.fit.losses, {"units": "nats"}),
            "record_step": ("record", self.fit.record_steps, {"units": "updates"}),
            "seconds": ((), self.seconds, {"units": "s"}),
        }
        for name, values in self.fit.history.items():
            dims = ("record", *(f"{name}_{i}" for i in range(values.ndim - 1)))
            data[f"record_{name}"] = (dims, values, one)
        attrs = {
            "settings": json.dumps(asdict(self.settings)),
            "restarts": json.dumps(self.restarts),
            "seed": self.seed,
            "version": self.version,
        }
        return xr.Dataset(data, attrs=attrs)

    @classmethod
    def from_dataset(cls, dataset: Any) -> TrainResult:
        """Read what `to_dataset` wrote."""
        import json

        history = {
            str(name).removeprefix("record_"): values.values
            for name, values in dataset.data_vars.items()
            if str(name).startswith("record_") and name != "record_step"
        }
        losses, seconds = dataset["loss"].values, float(dataset["seconds"])
        done = FitResult(
            len(losses), losses, dataset["record_step"].values, history, None, False, seconds, 0
        )
        return cls(
            float(dataset["accuracy"]),
            dataset["active_fraction"].values,
            done,
            tuple(json.loads(dataset.attrs["restarts"])),
            TrainSettings(**json.loads(dataset.attrs["settings"])),
            int(dataset.attrs["seed"]),
            seconds,
            str(dataset.attrs["version"]),
        )


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


def keras_rmsprop(parameters: Any, lr: float = 1e-4) -> torch.optim.Optimizer:
    """Return RMSprop with the settings of Keras: rho 0.9, epsilon 1e-7."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "rmsprop": keras_rmsprop,
}


def settings_of(preset: str | TrainSettings | Mapping[str, Any]) -> TrainSettings:
    """Return the settings that a preset stands for."""
    if isinstance(preset, TrainSettings):
        return preset
    if isinstance(preset, str):
        check_choice("preset", preset, PRESETS)
        return PRESETS[preset]
    known = [field.name for field in fields(TrainSettings)]
    for name in preset:
        check_choice("setting", name, known)
    changes = dict(preset)
    if changes.get("epochs"):
        changes.setdefault("steps", 0)
    return replace(TrainSettings(), **changes)


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
