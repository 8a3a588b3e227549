"""Your model, or its features, against your recordings: bin by bin, up to the noise ceiling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
CHANCE = "exact: images that are permuted carry no information on one another"


@dataclass(frozen=True)
class ConvrnnOwn(Study):
    """Your neural recordings: their noise ceiling, and how much of it your model predicts."""

    version: ClassVar[int] = 3
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {"splits": 2, "n_halvings": 4, "n_boot": 20},
        "paper": {"method": "pls", "correct": "both", "n_halvings": 100, "n_boot": 1000},
    }

    responses: str = ""
    """Your recordings, a file (.npy, .npz:key, .nc:variable). Empty: a generated example."""
    axes: str = "image repetition neuron bin"
    """What the axes of the recordings are, in their order; repetition and bin may be absent. A
    netCDF variable whose dimensions have these names needs no order, and keeps times and areas."""
    start_ms: Annotated[float, Range(-10_000.0, 10_000.0)] = 0.0
    """Start of the first bin after the onset of the image, where the file has no times."""
    bin_ms: Annotated[float, Range(1e-3, 10_000.0, log=True)] = 10.0
    """Duration of a bin, where the file has no times."""
    missing: bool = False
    """NaN marks missing repetitions."""
    features: str = ""
    """Your model's features, images x features x bins (or without bins), a file as above."""
    model: str = ""
    """Instead of features: file.py:function, which takes nothing and returns the network."""
    images: str = ""
    """With model: its images, .npy, .npz:key, .nc:variable, or a folder of pictures."""
    layer: str = ""
    """With model: the node of a ConvRNN, empty: the last one; the layer of a WrappedRNN, empty: its
    logits."""
    method: Literal["ridge", "pls", "pls1"] = "ridge"
    """Kind of the maps."""
    n_components: Annotated[int, Range(1, 1000)] = 25
    """Of partial least squares."""
    mapping: Literal["per_bin", "shared", "latency"] = "per_bin"
    """A map for each bin, one for all bins, or one for all with a latency chosen."""
    correct: Literal["data", "both", "none"] = "data"
    """Correction for noise; none needs no repetitions."""
    splits: Annotated[int, Range(1, 1000)] = 10
    """Random splits of the images."""
    train_share: Annotated[float, Range(0.1, 0.9)] = 0.5
    """Share of training images."""
    n_halvings: Annotated[int, Range(1, 10_000, log=True)] = 20
    """Random halvings of the repetitions."""
    n_boot: Annotated[int, Range(10, 100_000, log=True)] = 300
    """Bootstrap samples of the intervals."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.responses and not (self.features or self.model):
            raise ValueError("responses need features, or a model with images, to be predicted by")
        if (self.features or self.model) and not self.responses:
            raise ValueError("features or a model need responses, a file of your recordings")
        if self.features and self.model:
            raise ValueError("give features or a model, not both")
        if self.model and not re.search(r"\.py:\w+$", self.model):
            raise ValueError(f"model must be file.py:function, got {self.model!r}")
        if bool(self.model) != bool(self.images):
            raise ValueError("a model needs images, and images a model")

    def files(self) -> list[Any]:
        """Return the files whose content counts, ``file.npz:key`` included."""
        from pathlib import Path

        named = (self.responses, self.features, self.images, self.model)
        found = [Path(re.sub(r"(?<=\.(?:npz|npy)):\w+$|(?<=\.(?:nc|py)):\w+$", "", path))
                 for path in named if path]  # fmt: skip
        return [path for path in found if path.exists()]

    def inputs(self, seed: int) -> tuple[Any, Any]:
        """Return recordings and features."""
        from tractable.studies.vision._convrnn_own_parts import (
            example,
            file_features,
            file_recordings,
            model_features,
        )

        if not self.responses:
            return example(seed)[:2]
        recordings = file_recordings(
            self.responses, self.axes, self.missing, self.start_ms, self.bin_ms
        )
        if self.features:
            return recordings, file_features(self.features)
        n_bins = recordings.shape[3]
        return recordings, model_features(self.model, self.images, self.layer, n_bins, seed)

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._convrnn_own_parts import chance_error
        from tractable.vision.convrnn import neural_fit

        recordings, features = self.inputs(run.seed)
        if not self.responses:
            run.say("A generated example: give --responses and --features for your own.")
        how: Any = {
            "method": self.method, "n_components": self.n_components, "mapping": self.mapping,
            "splits": self.splits, "train": self.train_share, "n_halvings": self.n_halvings,
            "correct": None if self.correct == "none" else self.correct, "seed": run.seed,
        }  # fmt: skip
        if self.method != "ridge":
            most = min(int(self.train_share * recordings.shape[0]) - 1, np.shape(features)[1])
            if not self.responses:
                how["n_components"] = min(self.n_components, most)
        fit = neural_fit(features, recordings, **how, progress=run.show_progress)
        order = np.random.default_rng([run.seed, 7]).permutation(len(features))
        how["correct"] = None
        chance = neural_fit(features[order], recordings, **how, progress=run.show_progress)
        dataset = fit.to_dataset()
        areas = sorted(set(recordings.areas))
        medians = np.stack([fit.median(area) for area in areas])
        intervals = np.stack([fit.interval(area, n_boot=self.n_boot) for area in areas])
        return dataset.assign(
            median=(("group", "bin"), medians, ONE),
            interval=(("group", "end", "bin"), intervals, ONE),
            chance=(("neuron", "bin"), chance.of_neurons(), ONE),
            chance_error=((), chance_error(recordings.mean()), ONE),
            mean_response=(("neuron", "bin"), recordings.mean().mean(0), ONE),
        ).assign_coords(group=[area or "all neurons" for area in areas])

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Say what a model without information scores, and what the truth scores at most."""
        import xarray as xr

        return xr.Dataset({"chance": ((), 0.0, ONE), "true_model": ((), 1.0, ONE)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "correlation with the images permuted, mean over neurons and bins",
            float(measured.chance.mean()),
            float(theory.chance),
            0.05 + 3.0 * float(measured.chance_error),
            source=CHANCE,
        )
        if self.correct == "data":
            off = abs(measured.corrected * measured.ceiling - measured.score)
            yield Check(
                "corrected score times its ceiling, off the score",
                float(off.max()),
                0.0,
                1e-9,
                source="definition (C19)",
            )
        if not self.responses:
            yield Check(
                "example: median corrected correlation in the last bins",
                float(measured["median"].isel(bin=slice(-3, None)).mean()),
                float(theory.true_model) - 0.2,
                kind="at_least",
                source="the generated neurons: their features are given",
            )
            yield Check(
                "example: corrected correlation is not above the truth's",
                float(measured["median"].isel(bin=slice(-3, None)).mean()),
                float(theory.true_model),
                0.05,
                kind="at_most",
                source="the generated neurons: the ceiling",
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        n = measured.sizes["neuron"]
        left_out = measured.excluded.sum("neuron").values.astype(int)
        yield (
            f"{n} neurons in {measured.sizes['bin']} bins; below a reliability of 0.1, and left "
            f"out: {left_out.min()} to {left_out.max()} of them, depending on the bin."
        )
        score = float(np.nanmedian(measured.average_score.values))
        fixed = measured.average_corrected.mean("split").values
        known = (
            f"{float(np.nanmedian(fixed)):.3f} of what their noise allows"
            if np.isfinite(fixed).any()
            else "and no neuron is reliable enough to say what their noise allows"
        )
        yield (
            f"Averaged over time the model's predictions correlate with the responses by "
            f"{score:.3f} (median neuron), {known}."
        )
        rows = [
            (
                str(group),
                *(number(measured["median"].sel(group=group)[b]) for b in picks(measured)),
            )
            for group in measured.group.values
        ]
        times = [f"{float(measured.bin[b]):.0f} ms" for b in picks(measured)]
        yield Table("Median corrected correlation", ("area", *times), tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.vision.convrnn.plots import draw_predictivity

        figure, (left, right) = plot.new(1, 2, size=(9.0, 3.6))
        curves = {
            str(group): (
                measured["median"].sel(group=group).values,
                measured["interval"].sel(group=group).values,
            )
            for group in measured.group.values
        }
        draw_predictivity(measured.bin.values, curves, ax=left)
        left.set(ylabel="corrected correlation", xlabel="time (ms)")
        left.legend(fontsize=8, loc="lower right")
        ceiling = measured.ceiling.values
        shown = [np.nanmedian(c) if np.isfinite(c).any() else np.nan for c in ceiling.T]
        right.plot(measured.bin, shown, "-", color="C0", label="noise ceiling, median")
        raw = np.median(measured.score.mean("split").values, 0)
        plot.measurement(right, measured.bin, raw, color="C1", label="model, median", ms=4)
        chance = np.median(measured.chance.values, 0)
        plot.measurement(
            right, measured.bin, chance, color="0.5", marker="s", label="images permuted", ms=3
        )
        right.set(xlabel="time (ms)", ylabel="correlation over test images")
        right.legend(fontsize=8)
        figure.set_label(
            "Left: median corrected correlation of each area with its 95 % interval over neurons; "
            "the line is what the true model reaches. Right: before the correction, beside the "
            "noise ceiling and the same fit of permuted images."
        )
        return {"predictivity": figure}

    def cost(self, run: Run) -> Cost:
        import time

        recordings, features = self.inputs(run.seed)
        n_images, n_repeats, n_neurons, n_bins = recordings.shape
        p = int(np.shape(features)[1])
        rows = n_images * n_bins
        started = time.process_time()
        X = np.asarray(features, dtype=float).reshape(n_images, -1)[:, : min(p, 500)]
        _ = X.T @ X
        once = max(time.process_time() - started, 1e-5)
        factor = 4 if self.correct != "both" else 4 + self.n_halvings
        operations = 2.0 * rows * min(p, rows) * (p + 20 * n_neurons) * self.splits * factor
        seconds = once + operations / 2e9
        return Cost(operations, 8.0 * rows * (p + n_neurons * (n_repeats + 20)), seconds)


def number(value: xr.DataArray) -> str:
    """Return three digits, or that no neuron is reliable enough."""
    return f"{float(value):.3f}" if np.isfinite(float(value)) else "none reliable"


def picks(measured: xr.Dataset) -> list[int]:
    """Return up to six bins, spread evenly."""
    n = measured.sizes["bin"]
    return sorted({int(b) for b in np.linspace(0, n - 1, min(n, 6))})
