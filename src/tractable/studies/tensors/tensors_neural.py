"""Neurons x time x trials: recovery of components and prediction of held-out entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.tensors._data_parts import ONE
from tractable.studies.tensors._neural_parts import (
    METHODS,
    generated,
    neural_tensor,
    predicted,
    read_array,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "generated tensor of known factors"
FIELD = "bound: better than each neuron's mean time course"


@dataclass(frozen=True)
class TensorsNeural(Study):
    """Neurons x time x trials: non-negative components, held-out entries, predicted errors."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"shape": (20, 30, 25), "noise": 0.3, "max_iter": 10, "signatures": False},
        "paper": {"shape": (300, 300, 300), "max_iter": 200},
        "neural": {"data": "neural", "rank": 4, "signatures": False},
    }

    data: str = "generated"
    """generated, neural (rat motor cortex), or a file: .npy, .npz:key, .nc:variable."""
    shape: Annotated[tuple[int, ...], Range(4, 5000)] = (80, 150, 120)
    """Neurons, times and trials of the generated tensor."""
    rank: Annotated[int, Range(1, 20)] = 3
    """Components, of the generated tensor and of all fits."""
    noise: Annotated[float, Range(0.0, 1e4)] = 4.0
    """Noise variance of an entry of the generated tensor, whose components have mean square 1."""
    held_out: Annotated[float, Range(0.001, 0.5)] = 0.05
    """Share of single entries that are held out."""
    missing: Annotated[float, Range(0.0, 0.9)] = 0.2
    """Share of trials that are missing for half of the neurons (generated tensor)."""
    max_iter: Annotated[int, Range(1, 10_000)] = 60
    """Iterations of every method at most."""
    signatures: bool = True
    """Assert the recovery of the generated components."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) != 3:
            raise ValueError(f"shape must be neurons, times, trials, got {self.shape}")

    def files(self) -> list[Path]:
        """Return the data that the run depends on."""
        if self.data == "generated":
            return []
        if self.data == "neural":
            from tractable import data

            return list(data.files("neural"))
        file = Path(self.data.rpartition(":")[0] if ":" in Path(self.data).name else self.data)
        return [file] if file.is_file() else []

    def array(self, seed: int) -> np.ndarray:
        """Return the tensor, neurons x time x trials."""
        if self.data == "neural":
            return neural_tensor()
        if self.data == "generated":
            return generated(self.shape, self.rank, self.noise, seed)[0]
        Y = np.asarray(read_array(self.data), dtype=np.float32)
        if Y.ndim != 3:
            raise ValueError(f"data must be neurons x time x trials, got shape {Y.shape}")
        return Y

    def mask(self, shape: tuple[int, ...], seed: int) -> np.ndarray:
        """Return which entries are seen: not those held out, nor the missing trials."""
        random = np.random.default_rng([seed, 11])
        mask = random.random(shape) >= self.held_out
        if self.data == "generated" and self.missing:
            for neuron in random.permutation(shape[0])[: shape[0] // 2]:
                gone = random.permutation(shape[2])[: int(self.missing * shape[2])]
                mask[neuron][:, gone] = False
        return mask

    def measure(self, run: Run) -> xr.Dataset:
        Y = self.array(run.seed)
        dataset = predicted(Y, self.mask(Y.shape, run.seed), self.rank, run.seed, self.max_iter)
        if self.data != "generated":
            return dataset
        from tractable.tensors import factor_match_score, permutation_align

        truth = generated(self.shape, self.rank, self.noise, run.seed)[2]
        score, cosine = [], np.zeros((3, self.rank))
        for k in range(len(METHODS)):
            found = [dataset[f"factor_{k}_{a}"].values for a in range(3)]
            score.append(factor_match_score(truth, found))
            if k == 0:
                order, _ = permutation_align(truth, found)
                for a in range(3):
                    unit = truth[a] / np.linalg.norm(truth[a], axis=0)
                    cosine[a, order] = np.abs((unit * found[a][:, order]).sum(0))
        return dataset.assign(
            score=("algorithm", np.array(score), ONE),
            true_cosine=(("mode", "component"), cosine, ONE),
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cosines that the fit's own posterior predicts, mode by mode."""
        import xarray as xr

        if measured is None:
            return xr.Dataset()
        return xr.Dataset(
            {"cosine": (("mode", "component"), measured.predicted_cosine.values, ONE)}
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        error = measured.held_out_error.sel(algorithm=METHODS[0])
        yield Check("held-out error of AMP over that of mean time courses", float(error), 1.0,
                    kind="at_most", source=FIELD)  # fmt: skip
        if not (self.signatures and self.data == "generated"):
            return
        ours, peer = (float(measured.score.sel(algorithm=METHODS[k])) for k in (0, 3))
        yield Check("AMP, non-negative: factor match score", ours, 0.9, kind="at_least",
                    source=SOURCE)  # fmt: skip
        yield Check("AMP over HALS: factor match score", ours, peer, atol=0.02, kind="at_least",
                    source=SOURCE)  # fmt: skip
        off = abs(theory.cosine - measured.true_cosine).max()
        yield Check("largest error of a predicted cosine", float(off), 0.05, kind="at_most",
                    source=SOURCE + ", equation (T19)")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        errors = measured.held_out_error
        best = str(errors.algorithm.values[int(np.argmin(errors.values))])
        yield (
            f"Held-out entries are predicted best by {best}: its squared error is "
            f"{float(errors.min()):.4f} of that of each neuron's mean time course, at rank "
            f"{self.rank}."
        )
        yield (
            f"One entry has a signal of {float(measured.snr_entry):.3g} times the noise variance "
            f"of {float(measured.noise_variance):.3g}."
        )
        columns = ["method", "held-out error"]
        rows: list[tuple[object, ...]] = [
            (str(m), round(float(errors.sel(algorithm=m)), 4)) for m in measured.algorithm.values
        ]
        if "score" in measured:
            columns.append("factor match score")
            rows = [(*row, round(float(s), 3)) for row, s in zip(rows, measured.score, strict=True)]
        yield Table("All methods, equal rank and mask", tuple(columns), tuple(rows))
        names = ("neurons", "time", "trials")
        yield Table(
            "Predicted cosine of each component with the truth",
            ("mode", *(f"component {k + 1}" for k in range(theory.sizes["component"]))),
            tuple(
                (name, *(round(float(c), 3) for c in theory.cosine.isel(mode=a)))
                for a, name in enumerate(names)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.tensors.plots import plot_factors

        factors = [measured[f"factor_0_{a}"].values for a in range(3)]
        std = [measured[f"std_{a}"].values for a in range(3)]
        panels = plot_factors(factors, std)
        panels.set_label(
            "Components found by non-negative message passing: neurons (bars), time (line), trials "
            "(dots), posterior means with two posterior standard deviations."
        )
        figure, ax = plot.new()
        errors = measured.held_out_error
        ax.plot(errors.values, np.arange(len(errors)), "o", color="C0")
        ax.axvline(1.0, color="#7F7F7F", linestyle=":", label="mean time course of each neuron")
        ax.set_yticks(np.arange(len(errors)), [str(m) for m in errors.algorithm.values])
        ax.set(xlabel="squared error of held-out entries, relative", ylim=(len(errors) - 0.5, -0.5))
        ax.legend(fontsize="small")
        figure.set_label("Error of held-out entries by method, at equal rank.")
        return {"factors": panels, "held-out": figure}

    def cost(self, run: Run) -> Cost:
        import time

        small = generated((20, 30, 25), 2, 0.5, 0)[0]
        mask = np.random.default_rng(0).random(small.shape) > 0.05
        predicted(small, mask, 2, 0, 1)  # pays for the imports
        started = time.perf_counter()
        predicted(small, mask, 2, 0, 3)
        entries = float(np.prod(self.shape if self.data == "generated" else (30, 100, 1266)))
        seconds = (time.perf_counter() - started) / 3 * self.max_iter
        seconds *= max(1.0, 0.1 * entries / small.size)
        return Cost(8 * 4 * self.rank * entries * self.max_iter, 30 * entries, seconds)
