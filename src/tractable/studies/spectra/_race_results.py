"""What races leave behind: one dataset, learning times with bounds, spectra at the start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.spectra._race import ONE, STEPS, best_rate_index, median_times

if TYPE_CHECKING:
    import xarray as xr

DATA = ("digits", "mnist", "cifar10")
# Spectra of a start are measured on this many inputs.
N_INPUTS = 2


def gather(races: Mapping[tuple[Any, ...], xr.Dataset], names: tuple[str, ...]) -> xr.Dataset:
    """Put races into one dataset with a dimension for each part of their keys; the rest is NaN.

    Parameters
    ----------
    races : mapping
        Keys such as ``("tanh orthogonal", 64)`` to what `race` returns.
    names : tuple of str
        Names of the dimensions, one for each part of a key.
    """
    import xarray as xr

    axes = [list(dict.fromkeys(key[i] for key in races)) for i in range(len(names))]
    steps = np.unique(np.concatenate([race.step.values for race in races.values()]))
    first = next(iter(races.values()))
    n_rates, n_seeds = first.sizes["rate"], first.sizes["seed"]
    shape = tuple(len(axis) for axis in axes)
    accuracy = np.full((*shape, len(steps), n_rates, n_seeds), np.nan)
    reached = np.full((*shape, n_rates, n_seeds), np.nan)
    rates = np.full((*shape, n_rates), np.nan)
    ran = np.full(shape, np.nan)
    for key, race in races.items():
        at = tuple(axis.index(part) for axis, part in zip(axes, key, strict=True))
        accuracy[(*at, np.searchsorted(steps, race.step.values))] = race.accuracy.values
        reached[at], rates[at] = race.first_step.values, race.learning_rate.values
        ran[at] = float(race.n_steps)
    return xr.Dataset(
        {
            "accuracy": ((*names, "step", "rate", "seed"), accuracy, ONE),
            "first_step": ((*names, "rate", "seed"), reached, STEPS),
            "learning_rate": ((*names, "rate"), rates, ONE),
            "n_steps": (names, ran, STEPS),
        },
        coords={"step": steps, **dict(zip(names, axes, strict=True))},
    )


def learning_time(measured: xr.Dataset, **where: Any) -> tuple[float, bool, float]:
    """Return the learning time of the best rate, whether it was reached, and that rate.

    Where no rate has reached the threshold, the time is a lower bound: the steps that were run.
    """
    one = measured.sel(**where)
    times = median_times(one.first_step.values)
    best = int(np.argmin(times))
    if np.isfinite(times[best]):
        return float(times[best]), True, float(one.learning_rate[best])
    return float(one.n_steps), False, math.nan


def shown(time: tuple[float, bool, float]) -> str:
    """Return a learning time as text: ``> 60`` where it was not reached."""
    return f"{time[0]:.0f}" if time[1] else f"> {time[0]:.0f}"


def seeds_of(measured: xr.Dataset, **where: Any) -> str:
    """Return the learning times of the seeds at the best rate, as text."""
    one = measured.sel(**where)
    first = one.first_step.values[best_rate_index(one)]
    return ", ".join("-" if np.isnan(step) else f"{step:.0f}" for step in first)


def best_seeds(measured: xr.Dataset, **where: Any) -> tuple[float, float]:
    """Return the lowest and highest learning time of the seeds at the best rate, NaN if none."""
    one = measured.sel(**where)
    first = one.first_step.values[best_rate_index(one)]
    known = first[~np.isnan(first)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)


def curve(measured: xr.Dataset, **where: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Return steps, test accuracies (step, seed) and the rate, of the best rate of a race."""
    one = measured.sel(**where)
    best = best_rate_index(one)
    accuracy = one.accuracy.values[:, best]
    known = ~np.isnan(accuracy).all(axis=1)
    return one.step.values[known], accuracy[known], float(one.learning_rate[best])


def start_spectrum(
    net: str, depth: int, width: int, q_star: float, seed: int, data: str, channels: int = 0
) -> xr.Dataset:
    """Measure the Jacobian of a network before its training, from h^1 to the last hidden layer."""
    import torch
    import xarray as xr

    from tractable.spectra import jacobian_spectrum
    from tractable.studies.spectra._race import images, network, tensors

    train, _ = images(data, 1024, 1, seed)
    x, _ = tensors(train, train, channels)
    model = network(net, depth, width, channels, q_star, x, len(train.classes), seed)
    readout = model[-1]
    # The readout and the flattening before it pass on what they get.
    hidden = torch.nn.Sequential(*[m for m in model if m is not readout])
    spectrum = jacobian_spectrum(
        hidden, x[:N_INPUTS], layers=("0", None), method="auto", progress=False, seed=seed
    )
    return xr.Dataset(
        {
            "start_mean": ((), spectrum.mean, ONE),
            "start_variance": ((), spectrum.relative_variance, ONE),
            "start_s_max": ((), float(spectrum.s_max.max()), ONE),
        }
    )


def predicted_variance(net: str, depth: int, q_star: float) -> float:
    """Return the theory's relative variance of J J^T from h^1 on: L v, and one per Gaussian W."""
    from tractable.spectra import variance_per_layer

    name, _, ensemble = net.partition(" ")
    phi = {"tanh": "tanh", "ReLU": "relu"}[name]
    q = q_star if name == "tanh" else 1.0
    gaussian = depth - 1 if ensemble == "Gaussian" else 0
    return depth * variance_per_layer(phi, q) + gaussian


def files_of(data: str) -> list[Any]:
    """Return the files that a named set of images is read from."""
    from tractable.data import files

    return [] if data == "digits" else list(files(data))


def ratio(slow: tuple[float, bool, float], fast: tuple[float, bool, float]) -> float:
    """Return how many times slower; a lower bound where the slow one did not get there."""
    return slow[0] / fast[0] if fast[1] else math.nan


def times_as_many(slow: tuple[float, bool, float], fast: tuple[float, bool, float]) -> str:
    """Return the ratio of two learning times in words."""
    if not fast[1]:
        return "the ratio is not known"
    return f"{'' if slow[1] else 'more than '}{ratio(slow, fast):.3g} times as many"


def concatenated(rows: Iterable[xr.Dataset], name: str, values: list[Any]) -> xr.Dataset:
    """Return datasets along a new dimension."""
    import xarray as xr

    return xr.concat(list(rows), name).assign_coords({name: values})
