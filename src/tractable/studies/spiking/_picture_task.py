"""Learning to draw a picture with spikes: one run, a function of plain values, for `Run.map`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.spiking import _spike_times as task

if TYPE_CHECKING:
    import xarray as xr


def picture(kind: str, n_units: int, n_columns: int) -> np.ndarray:
    """Return a picture made here: ``cross`` (two diagonals) or ``rings``; bool, rows are units."""
    rows = np.arange(n_units)
    image = np.zeros((n_units, n_columns), dtype=bool)
    if kind == "cross":
        rising = np.clip(
            (rows / max(n_units - 1, 1) * (n_columns - 1)).round().astype(int), 0, None
        )
        image[rows, rising] = True
        image[rows, n_columns - 1 - rising] = True
        return image
    y = (rows[:, None] - (n_units - 1) / 2) / (n_units / 2)
    x = (np.arange(n_columns) - (n_columns - 1) / 2) / (n_columns / 2)
    radius = np.hypot(x, y)
    for r in (0.35, 0.65, 0.95):
        image |= np.abs(radius - r) < 0.6 * max(2 / n_units, 2 / n_columns)
    return image


def learn_picture(
    *,
    seed: int,
    kind: str,
    n_inputs: int,
    n_hidden: int,
    n_outputs: int,
    loop_ms: float,
    n_updates: int,
    learning_rate: float,
    feedback: str,
    strength: float,
    exponent: int,
    surrogate: str,
) -> xr.Dataset:
    """Learn the picture in a loop of frozen Poisson input; return costs, rates and rasters."""
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.spiking import (
        Heterosynaptic,
        RMaxProp,
        SpikeEvents,
        SpikingNet,
        SuperSpike,
        from_image,
        learn,
        poisson_frozen,
    )

    columns = round(loop_ms / 10)
    image = picture(kind, n_outputs, columns)
    wanted = from_image(image, seed=derive(seed, "jitter"))
    target = SpikeEvents(wanted.times_ms, wanted.units, n_outputs, loop_ms).raster(task.DT)
    inputs = poisson_frozen(n_inputs, 5.0, loop_ms, seed=derive(seed, "inputs")).raster(task.DT)
    sizes = (n_inputs, n_hidden, n_outputs) if n_hidden else (n_inputs, n_outputs)
    net = SpikingNet.of_sizes(*sizes, surrogate=surrogate, seed=derive(seed, "weights"))
    pathway = task.feedback_of(feedback, seed, max(n_hidden, 1), n_outputs)
    regularizer = Heterosynaptic(strength, exponent) if strength > 0 and n_hidden else None
    rule = SuperSpike(net, feedback=pathway, regularizer=regularizer)
    n, length = round(task.WINDOW_MS / task.DT), len(inputs)

    def stream(k: int) -> Any:
        at = (np.arange(n) + k * n) % length
        return inputs[at], target[at]

    with quiet():  # a silent hidden layer is a result here
        history = learn(
            rule, stream, n_updates, RMaxProp(net.parameters(), lr=learning_rate),
            schedule=lambda k: 1.0 if k < 0.8 * n_updates else 0.1, progress=False,
        )  # fmt: skip
    per_window = float(target.sum()) * n / length
    tail = max(1, min(8, n_updates // 4))
    out = net.simulate(inputs, history.state.net)
    hidden = out.layers[0].spikes[:, 0].numpy() if n_hidden else np.zeros((length, 1), bool)
    steps, units = np.nonzero(out.spikes[:, 0].numpy())
    isi = np.concatenate([np.diff(np.flatnonzero(train)) for train in hidden.T] or [np.zeros(0)])
    return xr.Dataset(
        {
            "cost": ("window", history.cost / per_window, {"units": "spikes per target spike"}),
            "final_cost": ((), float(history.cost[-tail:].mean() / per_window),
                           {"units": "spikes per target spike"}),
            "hidden_rate": ((), float(history.rates[-tail:, 0].mean()) if n_hidden else 0.0,
                            {"units": "Hz"}),
            "unit_rate": ("unit", 1000 / loop_ms * hidden.sum(0), {"units": "Hz"}),
            "interval_cv": ((), float(isi.std() / isi.mean()) if len(isi) > 2 else np.nan,
                            {"units": "1"}),
            "output_time": ("spike", steps * task.DT, {"units": "ms"}),
            "output_unit": ("spike", units.astype(float), {"units": "1"}),
            "target_time": ("target", wanted.times_ms, {"units": "ms"}),
            "target_unit": ("target", wanted.units.astype(float), {"units": "1"}),
        }
    )  # fmt: skip


def pad(datasets: list[xr.Dataset]) -> list[xr.Dataset]:
    """Pad lists of unequal length with NaN, so that runs can be joined."""
    sizes = {dim: max(d.sizes[dim] for d in datasets) for dim in ("spike", "unit", "target")}
    return [d.pad({dim: (0, size - d.sizes[dim]) for dim, size in sizes.items()}) for d in datasets]
