"""Your own spikes and labels: learn to classify them online, beside backpropagation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.spiking import _spike_times as task
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from matplotlib.figure import Figure

RULES = ("symmetric", "random", "uniform", "bptt")
TITLES = {"bptt": "backpropagation"}


@dataclass(frozen=True)
class SpikingOwn(Study):
    """Classify your own spike trains with SuperSpike, beside backpropagation of the same net."""

    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_hidden": 8, "n_epochs": 1, "n_samples": 24, "n_units": 20, "n_seeds": 1},
        "paper": {"n_hidden": 256, "n_epochs": 100, "n_samples": 8000, "n_units": 700,
                  "n_classes": 20, "n_seeds": 5},
    }  # fmt: skip

    data: str = ""
    """HDF5 in the format of Spiking Heidelberg Digits, or npz with ``spikes`` (samples, T, units)
    and ``labels``; empty for generated latency patterns."""
    duration: Annotated[float, Range(10.0, 10_000.0)] = 150.0
    """Length of a sample, ms; the output may fire in the third quarter, the last is for errors."""
    dt: Annotated[float, Range(0.05, 2.0)] = 0.5
    """Time step, ms."""
    n_hidden: Annotated[int, Range(1, 5000, log=True)] = 32
    """Hidden neurons."""
    n_epochs: Annotated[int, Range(1, 10_000, log=True)] = 20
    """Passes over the training samples."""
    batch: Annotated[int, Range(1, 4096, log=True)] = 16
    """Samples for each change of the weights."""
    learning_rate: Annotated[float, Range(0.001, 50.0, log=True)] = 1.0
    """Learning rate r0, mV per update; a tenth in the last quarter."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Independent runs of each rule."""
    n_samples: Annotated[int, Range(8, 1_000_000, log=True)] = 240
    """Generated samples; of own data at most so many are read."""
    n_units: Annotated[int, Range(1, 100_000, log=True)] = 60
    """Input units of generated data; those of own HDF5 data."""
    n_classes: Annotated[int, Range(2, 1000)] = 4
    """Classes of generated data."""

    def point(self, rule: str, seed: int) -> dict:
        """Return the parameters of one run."""
        return {
            "rule": rule, "seed": seed, "data": self.data, "duration": self.duration,
            "dt": self.dt, "n_hidden": self.n_hidden, "n_epochs": self.n_epochs,
            "batch": self.batch, "learning_rate": self.learning_rate,
            "n_samples": self.n_samples, "n_units": self.n_units, "n_classes": self.n_classes,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        if not self.data:
            run.say("No data given: generated latency patterns are classified.")
        seeds = [derive(run.seed, "own", i) for i in range(self.n_seeds)]
        points = [self.point(rule, seed) for rule in RULES for seed in seeds]
        found = run.map(classify, points)
        rows = [
            xr.concat(found[i : i + self.n_seeds], "seed")
            for i in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(rows, "rule").assign_coords(rule=list(RULES))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return chance, and the cosine of an exact gradient, which the output layer reaches."""
        import xarray as xr

        classes = self.n_classes if measured is None else int(measured.n_classes.max())
        return xr.Dataset(
            {
                "chance": ((), 1 / classes, {"units": "1"}),
                "output_cosine": ((), 1.0, {"units": "1"}),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        cosine = measured.output_cosine.sel(rule="symmetric").mean()
        yield Check(
            "cosine of rule and gradient, output layer",
            float(cosine),
            float(theory.output_cosine),
            atol=1e-3,
            source="exact for one layer: (P13) is the gradient of the surrogate graph",
        )
        if self.data or self.n_epochs < 10:
            return
        curve = measured.epoch_accuracy.sel(rule="symmetric").mean("seed")
        rise = float(curve.isel(epoch=slice(-3, None)).mean() - curve.isel(epoch=0))
        yield Check(
            "rise of the accuracy from the first pass to the last three, symmetric",
            rise,
            0.4,
            kind="at_least",
            source="learning starts from chance, and the generated classes can be told apart",
        )
        best = measured.accuracy.sel(rule="symmetric").median()
        yield Check(
            "accuracy over chance, symmetric",
            float(best / theory.chance),
            2.0,
            kind="at_least",
            source="generated classes differ in their latencies",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        parts = ", ".join(
            f"{TITLES.get(r, r)} {float(measured.accuracy.sel(rule=r).median()):.3f}" for r in RULES
        )
        yield (
            f"Accuracy on held-out samples (chance {float(theory.chance):.3g}), medians of "
            f"{self.n_seeds} seeds: {parts}."
        )
        yield (
            "Cosine of the first layer's update with the surrogate gradient before learning: "
            + ", ".join(
                f"{TITLES.get(r, r)} {float(measured.hidden_cosine.sel(rule=r).mean()):.2f}"
                for r in RULES[:3]
            )
            + "."
        )
        rows = tuple(
            (TITLES.get(r, r), *(round(float(x), 3) for x in measured.accuracy.sel(rule=r)),
             round(float(measured.hidden_rate.sel(rule=r).mean()), 1))
            for r in RULES
        )  # fmt: skip
        seeds = (f"accuracy, seed {i}" for i in range(self.n_seeds))
        yield Table("Rules", ("rule", *seeds, "hidden rate (Hz)"), rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.6, 3.6))
        epochs = np.arange(1, self.n_epochs + 1)
        for i, rule in enumerate(RULES):
            values = measured.epoch_accuracy.sel(rule=rule)
            middle = values.mean("seed").values
            error = np.abs(np.stack([values.min("seed"), values.max("seed")]) - middle)
            plot.measurement(ax, epochs, middle, error=error, color=f"C{i}", ms=3,
                             label=TITLES.get(rule, rule))  # fmt: skip
        ax.axhline(float(theory.chance), color="0.4", lw=0.9, label="chance, theory")
        ax.set(xlabel="epoch", ylabel="accuracy on held-out samples", ylim=(0, 1.03))
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            "Accuracy on held-out samples after each pass for three feedback pathways and "
            "backpropagation through time; markers are means over seeds, bars the range."
        )
        return {"accuracy": figure}

    def cost(self, run: Run) -> Cost:
        import time

        small = {**self.point("symmetric", 0), "n_samples": 3 * self.batch, "n_epochs": 1}
        if not self.data:
            classify(**{**small, "n_samples": 16, "n_units": 8, "n_hidden": 4})
        started = time.perf_counter()
        seen = int(classify(**small).n_train)
        n = len(RULES) * self.n_seeds * self.n_epochs * 0.8 * self.n_samples
        seconds = (time.perf_counter() - started) / max(seen, 1) * n
        steps = self.duration / self.dt
        wires = self.n_hidden * (self.n_units + self.n_classes)
        memory = 32 * steps * self.batch * (self.n_units + self.n_hidden)
        return Cost(2.0 * wires * steps * n, memory, seconds)


def load(
    data: str, duration: float, dt: float, n_samples: int, n_units: int, n_classes: int, seed: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Return spikes (T, samples, units) and labels, of a file or generated.

    Raises
    ------
    ValueError
        For a file that is neither, or whose arrays do not fit.
    """
    import torch

    from tractable.core.seeds import derive
    from tractable.spiking import SpikeEvents, iter_shd, latency

    n_steps = round(duration / dt)
    if not data:
        random = np.random.default_rng(derive(seed, "classes"))
        means = random.random((n_classes, n_units))
        labels = np.arange(n_samples) % n_classes
        noise = random.normal(0, 0.05, (n_samples, n_units))
        values = np.clip(means[labels] + noise, 0.01, 1)
        rasters = [
            SpikeEvents(e.times_ms, e.units, n_units, duration).raster(dt)
            for e in (latency(v, duration / 2) for v in values)
        ]
        return torch.cat(rasters, 1), labels
    path = Path(data)
    if path.suffix == ".npz":
        with np.load(path) as file:
            if not {"spikes", "labels"} <= set(file.files):
                raise ValueError(
                    f"data: {path} must hold 'spikes' and 'labels', it holds {sorted(file.files)}"
                )
            spikes, labels = file["spikes"], file["labels"]
        if spikes.ndim != 3 or len(spikes) != len(labels):
            raise ValueError(
                f"data: spikes must have shape (samples, T, units) with one label each, got "
                f"{spikes.shape} and {labels.shape}"
            )
        # of all, not the first: files are often sorted by label
        drawn = np.random.default_rng(derive(seed, "samples")).permutation(len(labels))
        kept = np.sort(drawn[:n_samples])
        spikes, labels = spikes[kept], labels[kept]
        if not np.isin(spikes, (0, 1)).all():
            raise ValueError(
                f"data: spikes of {path} must be 0 or 1, got values up to {spikes.max():g}; take a "
                "smaller time step, or spikes > 0"
            )
        return torch.from_numpy(spikes.astype(bool)).permute(1, 0, 2), labels.astype(np.int64)
    if path.suffix in (".h5", ".hdf5"):
        rasters, found = [], []
        for events, label in iter_shd(path, n_units=n_units, duration_ms=duration):
            rasters.append(events.raster(dt)[:n_steps])
            found.append(label)
            if len(found) == n_samples:
                break
        if not found:
            raise ValueError(f"data: {path} holds no sample")
        return torch.cat(rasters, 1), np.array(found)
    raise ValueError(f"data must be an .npz or .h5 file, got {data!r}")


def classify(
    *, rule: str, seed: int, data: str, duration: float, dt: float, n_hidden: int, n_epochs: int,
    batch: int, learning_rate: float, n_samples: int, n_units: int, n_classes: int,
) -> xr.Dataset:  # fmt: skip
    """Train one net by one rule; return its accuracy on a fifth of the samples."""
    import torch
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.spiking import (
        LIFParams,
        RMaxProp,
        SpikingNet,
        SuperSpike,
        WindowedClassification,
        WindowTarget,
        gradient_angle,
    )

    spikes, labels = load(data, duration, dt, n_samples, n_units, n_classes, seed)
    names, labels = np.unique(labels, return_inverse=True)
    n_steps, total, n_in = spikes.shape
    order = np.random.default_rng(derive(seed, "split")).permutation(total)
    test, train = order[: max(1, total // 5)], order[max(1, total // 5) :]
    params = LIFParams(dt=dt, delay=0.0)
    net = SpikingNet.of_sizes(
        n_in, n_hidden, len(names), params=params, seed=derive(seed, "weights")
    )
    pathway = task.feedback_of(rule, seed, n_hidden, len(names))
    learner = SuperSpike(
        net, loss=WindowedClassification(), feedback=pathway, chunk_steps=n_steps, stateful=False
    )
    opens, closing = n_steps // 2, 3 * n_steps // 4  # an error acts after the window that it ends

    def target(chosen: np.ndarray) -> WindowTarget:
        allowed = torch.full((n_steps, len(chosen)), -1)
        allowed[opens:closing] = torch.from_numpy(labels[chosen])
        closes = torch.full((n_steps, len(chosen)), -1)
        closes[closing - 1] = torch.from_numpy(labels[chosen])
        return WindowTarget(allowed, closes)

    def accuracy() -> float:
        out = net.simulate(spikes[:, test]).spikes[opens:closing].float().sum(0)
        silent = out.max(1).values == 0
        return float(((out.argmax(1).numpy() == labels[test]) & ~silent.numpy()).mean())

    wanted = torch.zeros(n_steps, 1, len(names))
    wanted[opens + 1, 0, labels[train[0]]] = 1
    cosines = gradient_angle(net, spikes[:, train[:1]], wanted, pathway)
    optimizer = RMaxProp(net.parameters(), lr=learning_rate, t_update=n_steps * dt)
    random = np.random.default_rng(derive(seed, "order"))
    curve: list[float] = []
    rates: tuple[float, ...] = (0.0,)
    for epoch in range(n_epochs):
        shuffled = random.permutation(train)
        parts = [shuffled[i : i + batch] for i in range(0, len(shuffled), batch)]
        factor = 1.0 if epoch < 0.75 * n_epochs else 0.1
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * factor
        for part in parts:  # samples do not continue: every window starts from rest
            step = learner.window(spikes[:, part], target(part))
            optimizer.step()
            rates = step.rates
        curve.append(accuracy())
    return xr.Dataset(
        {
            "accuracy": ((), curve[-1], {"units": "1"}),
            "epoch_accuracy": ("epoch", np.array(curve), {"units": "1"}),
            "hidden_rate": ((), float(rates[0]), {"units": "Hz"}),
            "hidden_cosine": ((), cosines[0], {"units": "1"}),
            "output_cosine": ((), cosines[1], {"units": "1"}),
            "n_classes": ((), len(names), {"units": "1"}),
            "n_train": ((), len(train), {"units": "1"}),
        }
    )
