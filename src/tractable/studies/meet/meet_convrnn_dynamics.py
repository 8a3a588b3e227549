"""What holds a digit in a trained ConvRNN: fixed points, drift, and the slow modes between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
STEPS = {"units": "steps"}
LOGIT = {"units": "1", "long_name": "change of the logits since the blank began"}
LINEAR = "linearization at the state: change after D steps = sum of r (l g) (1 - z^D) / (1 - z)"
SLOW = "arXiv:1906.10720: what a network remembers lies along its slowest modes"
PARTS = ("all modes", "slow modes", "fast modes")


@dataclass(frozen=True)
class MeetConvrnnDynamics(Study):
    """How a ConvRNN holds a digit over blank frames: fixed points or drift, and its slow modes."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Maheswaranathan, Williams, Golub, Ganguli, Sussillo",
        2019,
        "Reverse engineering recurrent networks for sentiment classification reveals line "
        "attractor dynamics",
        arxiv="1906.10720",
    )
    presets: ClassVar = {
        "smoke": {
            "cells": ("gru",),
            "width": 3,
            "n_seeds": 1,
            "updates": 2,
            "batch_size": 8,
            "n_test": 50,
            "n_states": 3,
            "delays": (1, 4),
            "forecast": 4,
        },
        "paper": {"width": 48, "n_seeds": 10, "updates": 3000, "n_states": 100},
    }

    cells: tuple[Literal["vanilla+norm", "ugrnn", "gru", "lstm", "rgc"], ...] = ("gru", "rgc")
    """Cells, each in a network of its own with as many parameters as the reciprocal-gated one."""
    width: Annotated[int, Range(2, 512)] = 12
    """Channels of the reciprocal-gated cell."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind."""
    updates: Annotated[int, Range(1, 1_000_000, log=True)] = 300
    """Updates of each, on the recall of the first of four digits (variant C, 14 frames)."""
    batch_size: Annotated[int, Range(1, 1297, log=True)] = 48
    """Movies of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    n_test: Annotated[int, Range(10, 1500)] = 500
    """Test digits; the other ones of 1,797 are for training."""
    n_states: Annotated[int, Range(1, 1000)] = 16
    """States at which the cell is linearized, of as many test movies."""
    delays: Annotated[tuple[int, ...], Range(1, 10_000, log=True)] = (1, 4, 16, 64, 128)
    """Blank frames after the last distractor; four were trained."""
    forecast: Annotated[int, Range(1, 10_000, log=True)] = 16
    """The delay at which the forecast is judged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cells", "delays"):
            values = getattr(self, name)
            if len(set(values)) < len(values) or not values:
                raise ValueError(f"{name} must name each once, got {values}")
        if self.forecast not in self.delays:
            raise ValueError(f"forecast must be one of delays {self.delays}, got {self.forecast}")
        if self.n_states > self.n_test:
            raise ValueError(f"n_states must be at most n_test, {self.n_test}, got {self.n_states}")

    # --- measurement -------------------------------------------------------------------------

    def _points(self, seed: int, device: str) -> list[dict[str, Any]]:
        return [
            {
                "cell": cell,
                "width": self.width,
                "updates": self.updates,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "n_test": self.n_test,
                "n_states": self.n_states,
                "delays": tuple(sorted(self.delays)),
                "seed": seed + number,
                "device": device,
            }
            for cell in self.cells
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.meet import _convrnn_dynamics as parts

        found = run.map(parts.hold, self._points(run.seed, str(run.device)))
        # Cells have states of different sizes: what is missing counts as modes of size zero.
        n = max(one.sizes["mode"] for one in found)
        padded = [
            one.pad({"mode": (0, n - one.sizes["mode"])}, mode="constant", constant_values=0.0)
            for one in found
        ]
        rows = [
            xr.concat(padded[i * self.n_seeds : (i + 1) * self.n_seeds], "seed")
            for i in range(len(self.cells))
        ]
        return xr.concat(rows, "cell").assign_coords(
            cell=list(self.cells), seed=np.arange(run.seed, run.seed + self.n_seeds)
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Forecast the logits from the modes at each state: of all, of slow, and of fast ones."""
        import xarray as xr

        from tractable.studies.meet import _convrnn_dynamics as parts

        if measured is None:
            raise ValueError("meet-convrnn-dynamics needs the modes of trained cells: measured")
        z = measured.eigenvalue.sel(part="real") + 1j * measured.eigenvalue.sel(part="imaginary")
        weight = measured.share.sel(part="real") + 1j * measured.share.sel(part="imaginary")
        slow = abs(z) >= np.exp(-1 / parts.task_steps())
        delays = np.array(sorted(self.delays))
        growth = xr.apply_ufunc(
            lambda values: parts.summed_powers(values, delays), z, output_core_dims=[["delay"]]
        ).assign_coords(delay=delays)
        forecasts = []
        for kept in (xr.ones_like(slow), slow, ~slow):
            terms = xr.dot(weight * kept, growth, dim="mode")
            forecasts.append(terms.real)
        before = measured.untrained.sel(part="real") + 1j * measured.untrained.sel(part="imaginary")
        return xr.Dataset(
            {
                "change": xr.concat(forecasts, "modes").assign_attrs(LOGIT),
                "n_slow": slow.sum("mode").assign_attrs(ONE),
                "n_slow_untrained": (abs(before) >= np.exp(-1 / parts.task_steps()))
                .sum("mode")
                .assign_attrs(ONE),
            }
        ).assign_coords(modes=list(PARTS))

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        from tractable.studies.meet import _convrnn_dynamics as parts

        first = min(self.delays)
        if first == 1:
            got, want = (d.change.sel(delay=1) for d in (theory.sel(modes="all modes"), measured))
            yield Check(
                "forecast after one step against the step, relative difference",
                float(abs(got - want).max() / abs(want).max()),
                0.0,
                1e-4,
                source="identity: over one step the sum of all modes is the step itself",
            )
        explained = parts.explained(theory, measured).sel(delay=self.forecast)
        for cell in self.cells:
            worst = explained.sel(cell=cell)
            for modes, bar in (("all modes", 0.8), ("slow modes", 0.8)):
                yield Check(
                    f"{cell}: share of the change after {self.forecast} blanks that {modes} "
                    "forecast, worst seed",
                    float(worst.sel(modes=modes).min()),
                    bar,
                    kind="at_least",
                    source=LINEAR if modes == "all modes" else SLOW,
                )
            yield Check(
                f"{cell}: share that fast modes forecast, best seed",
                float(worst.sel(modes="fast modes").max()),
                0.2,
                kind="at_most",
                source=SLOW,
            )
            yield Check(
                f"{cell}: modes slower than the task, at least in every state",
                float(theory.n_slow.sel(cell=cell).min()),
                1.0,
                kind="at_least",
                source=SLOW,
            )
        yield Check(
            "modes slower than the task before training, most",
            float(theory.n_slow_untrained.max()),
            0.0,
            kind="at_most",
            source="torch's kernels contract, and a bias of -2 keeps 0.88: 8 steps of 13",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.meet import _convrnn_dynamics as parts

        late = max(self.delays)
        explained = parts.explained(theory, measured)
        for cell in self.cells:
            one = measured.sel(cell=cell)
            speed = float((one.speed.sel(delay=late) / one.speed.isel(delay=0)).mean())
            roots = one.n_roots.values
            how = (
                f"comes to rest: its speed falls to {speed:.1e} of what it was, at "
                f"{', '.join(str(int(r)) for r in roots)} fixed points (a number for each seed)"
                if (roots >= 0).all()
                else f"does not come to rest: after {late} blanks it still moves at {speed:.2f} of "
                "its speed, and what it holds is in the direction of the drift"
            )
            accuracy = [float(one.accuracy.sel(delay=d).mean()) for d in (min(self.delays), late)]
            yield (
                f"{cell}: {accuracy[0]:.3f} right after {min(self.delays)} blank frames, "
                f"{accuracy[1]:.3f} after {late}. The state {how}."
            )
        rows = [
            (
                cell,
                int(seed),
                float(theory.n_slow.sel(cell=cell, seed=seed).mean()),
                *(
                    float(explained.sel(cell=cell, seed=seed, delay=self.forecast, modes=m))
                    for m in PARTS
                ),
            )
            for cell in self.cells
            for seed in measured.seed.values
        ]
        yield Table(
            f"Share of the logits' change after {self.forecast} blanks that a forecast explains",
            ("cell", "seed", "slow modes", *PARTS),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.meet import _convrnn_dynamics_figures as draw

        return {
            "hold": draw.draw_hold(theory, measured),
            "modes": draw.draw_modes(theory, measured),
            "forecast": draw.draw_forecast(theory, measured, self.forecast),
        }

    def cost(self, run: Run) -> Cost:
        from tractable.studies.meet import _convrnn_dynamics as parts

        return Cost(*parts.cost_of(self))
