"""Tracing a snake through an image: how far a network without recurrence sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

REACH = "exact: n convolutions of size 3 reach n pixels"
ONE = {"units": "1"}
FORMULA = "closed form: 2 (kC^2 + C) vanilla, 6kC^2 + 3C GRU, 8kC^2 + 4C LSTM, 5 (kC^2 + C) RGC"
PIXELS = {"units": "pixels"}


@dataclass(frozen=True)
class ConvrnnTrace(Study):
    """Mark the snake that holds the seed: recurrence against a stack of convolutions."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {
            "nets": ("feedforward", "rgc"),
            "n_seeds": 1,
            "size": 10,
            "n_snakes": 2,
            "length": 8,
            "n_steps": 6,
            "channels": 4,
            "steps": 4,
            "n_train": 64,
            "n_test": 20,
            "signatures": False,
        },
        "cells": {"nets": ("feedforward", "vanilla", "vanilla+norm", "gru", "lstm", "rgc")},
        "paper": {
            "nets": ("feedforward", "vanilla", "vanilla+norm", "gru", "lstm", "rgc"),
            "n_seeds": 10,
            "size": 64,
            "n_snakes": 8,
            "length": 60,
            "n_steps": 60,
            "channels": 24,
            "steps": 30_000,
            "batch_size": 32,
            "n_train": 50_000,
            "n_test": 2000,
        },
    }

    nets: tuple[
        Literal["feedforward", "vanilla", "vanilla+norm", "gru", "lstm", "ugrnn", "rgc"], ...
    ] = ("feedforward", "vanilla+norm", "rgc")
    """Networks; all have about as many parameters as the reciprocal-gated one."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind."""
    size: Annotated[int, Range(6, 256)] = 16
    """Side of an image, in pixels."""
    n_snakes: Annotated[int, Range(2, 64)] = 4
    """Snakes of an image; one of them holds the seed."""
    length: Annotated[int, Range(2, 1000)] = 14
    """Pixels of a snake."""
    n_steps: Annotated[int, Range(2, 1000)] = 14
    """Steps T of the recurrent networks; the image stays."""
    channels: Annotated[int, Range(2, 512)] = 8
    """Channels of the reciprocal-gated cell."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 1200
    """Updates."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 16
    """Images of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 0.01
    """Of Adam, at the peak of one cycle."""
    n_train: Annotated[int, Range(1, 10_000_000, log=True)] = 4000
    """Training images, turned and mirrored at random."""
    n_test: Annotated[int, Range(1, 1_000_000, log=True)] = 300
    """Test images."""
    signatures: bool = True
    """Assert the signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "rgc" not in self.nets or len(set(self.nets)) < len(self.nets):
            raise ValueError(f"nets must name each once, rgc among them, got {self.nets}")

    # --- measurement -------------------------------------------------------------------------

    def _points(self, seed: int, device: str) -> list[dict[str, Any]]:
        from tractable.studies.vision._convrnn_trace_parts import trace_spec

        shared = {
            name: getattr(self, name)
            for name in (
                *("size", "n_snakes", "length", "n_steps", "steps", "batch_size"),
                *("learning_rate", "n_train", "n_test"),
            )
        }
        return [
            {
                "spec": trace_spec(net, self.channels).to_json(),
                "seed": seed + number,
                "device": device,
                **shared,
            }
            for net in self.nets
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_trace_parts import train_trace

        parts = run.map(train_trace, self._points(run.seed, str(run.device)))
        rows = [
            xr.concat(parts[i * self.n_seeds : (i + 1) * self.n_seeds], "seed", join="outer")
            for i in range(len(self.nets))
        ]
        measured = xr.concat(rows, "net", join="outer")
        return measured.assign_coords(
            net=list(self.nets), seed=np.arange(run.seed, run.seed + self.n_seeds)
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Count how far each network sees, and its parameters."""
        import xarray as xr

        from tractable.studies.vision._convrnn_trace_parts import (
            count_trace_parameters,
            reach_of,
        )

        reach = [min(reach_of(net, self.n_steps), self.size - 1) for net in self.nets]
        return xr.Dataset(
            {
                "reach": ("net", reach, PIXELS),
                "parameters": (
                    "net",
                    [count_trace_parameters(net, self.channels) for net in self.nets],
                    ONE,
                ),
                "background": ((), 1 - 1 / self.n_snakes, ONE),
                "blind": ((), 0.5, ONE),
            },
            coords={"net": list(self.nets)},
        )

    # --- what it says ------------------------------------------------------------------------

    def beyond(self, measured: xr.Dataset) -> xr.DataArray:
        """Return the share of the snake found at path distances beyond the feedforward reach."""
        from tractable.studies.vision._convrnn_trace_parts import reach_of

        far = measured.distance > reach_of("feedforward", self.n_steps)
        return measured.found.where(far, drop=True).mean("distance")

    def far_score(self, measured: xr.Dataset) -> xr.DataArray:
        """Return the balanced accuracy on pixels that are farther from the seed than n pixels."""
        from tractable.studies.vision._convrnn_trace_parts import reach_of

        far = measured.where(measured.ring > reach_of("feedforward", self.n_steps), drop=True).sum(
            "ring"
        )
        hits = far.marked_target / far.n_target
        return (hits + 1 - far.marked_other / far.n_other) / 2

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        wrong = float(abs(measured.parameters - theory.parameters).max())
        yield Check("parameters off the formula", wrong, 0, source=FORMULA)
        local = [net for net in self.nets if net != "vanilla+norm"]  # a norm sees the whole image
        # The count is a bound: what a trained memory lets through may be below the precision.
        past = float((measured.reach - theory.reach).sel(net=local).max())
        yield Check(
            "reach of the seed, pixels beyond the count", past, 0, kind="at_most", source=REACH
        )
        if not self.signatures:
            return
        gated = measured.sel(net="rgc")
        yield Check(
            "reciprocal-gated: accuracy over that of all background, mean of the seeds",
            float(gated.accuracy.mean()) - float(theory.background),
            0.1,
            kind="at_least",
            source="nearly half of what can be gained; the margin was set after first trials",
        )
        if "feedforward" in self.nets:
            beyond = self.beyond(measured).mean("seed")
            yield Check(
                "reciprocal-gated over feedforward: share found beyond the feedforward reach",
                float(beyond.sel(net="rgc") - beyond.sel(net="feedforward")),
                0.2,
                kind="at_least",
                source=f"{REACH}; the margin was set after first trials",
            )
            yield Check(
                "feedforward: balanced accuracy on pixels out of reach of the seed",
                float(self.far_score(measured).sel(net="feedforward").mean()),
                float(theory.blind),
                0.05,
                kind="at_most",
                source=REACH,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._convrnn_figures import TITLES
        from tractable.studies.vision._convrnn_trace_parts import reach_of

        n = reach_of("feedforward", self.n_steps)
        beyond, far = self.beyond(measured), self.far_score(measured)
        best = beyond.mean("seed")
        named = ", ".join(f"{TITLES[net]} {float(best.sel(net=net)):.2f}" for net in self.nets)
        yield (
            f"Of the snake's pixels more than {n} steps along it from the seed are found: {named}. "
            f"Marking nothing is right at {float(theory.background):.3f} of the snakes' pixels."
        )
        rows = [
            (
                TITLES[net],
                int(measured.parameters.sel(net=net)[0]),
                *(
                    " / ".join(f"{v:.3f}" for v in values.sel(net=net).values)
                    for values in (measured.accuracy, beyond, far)
                ),
            )
            for net in self.nets
        ]
        columns = (
            *("network", "parameters", "accuracy on snakes, each seed"),
            *(f"found at path distance > {n}", f"balanced accuracy > {n} pixels away"),
        )
        yield Table("Tracing", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._convrnn_trace_parts import draw_distances, draw_examples

        return {
            "distance": draw_distances(self, theory, measured),
            "examples": draw_examples(measured),
        }

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_trace_parts import trace_cost

        points = self._points(run.seed, str(run.device))[:: self.n_seeds]
        each = [trace_cost(**point) for point in points]
        operations, memory, seconds = (list(column) for column in zip(*each, strict=True))
        return Cost(self.n_seeds * sum(operations), max(memory), self.n_seeds * sum(seconds))
