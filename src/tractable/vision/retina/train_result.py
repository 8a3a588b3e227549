"""What a training left behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tractable.train import FitResult
from tractable.vision.retina.settings import TrainSettings

__all__ = ["TrainResult"]


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
