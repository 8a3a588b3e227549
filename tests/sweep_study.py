"""A study for the tests of sweeps: quick, counted, and with accidents on request.

A file ``accident-<gain>-<depth>`` beside the run folders says what happens at that point.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr

from tractable.study import Check, Cost, Range, Run, Study


@dataclass(frozen=True)
class Waves(Study):
    """Noisy waves."""

    gain: Annotated[float, Range(0.0, 10.0)] = 1.0
    """Amplitude."""
    depth: Annotated[int, Range(1, 64)] = 3
    """Points of a wave."""
    sizes: Annotated[tuple[int, ...], Range(1, 9)] = (1, 2)
    """No effect."""
    steps: Annotated[int, Range(0, 100)] = 0
    """Steps that are reported to a search."""
    seconds: Annotated[float, Range(0.0, 60.0)] = 0.0
    """How long a point sleeps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gain == 9.0 and self.depth == 9:
            raise ValueError("gain and depth may not both be 9")

    @classmethod
    def suggest(cls, trial: Any) -> dict[str, Any]:
        depth = trial.suggest_int("depth", 1, 8)
        return {"depth": depth, "gain": trial.suggest_float(f"gain_of_{depth > 4}", 0.0, 10.0)}

    def measure(self, run: Run) -> xr.Dataset:
        home = run.folder.parent
        with (home / "count.txt").open("a") as file:
            file.write(f"{self.gain:g} {self.depth} {run.seed}\n")
        accident = home / f"accident-{self.gain:g}-{self.depth}"
        if accident.exists():
            what = accident.read_text()
            if what == "kill once":
                accident.unlink()
            if what.startswith("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("an accident")
        time.sleep(self.seconds)
        distance = (self.gain - 3.0) ** 2 + 0.1 * (self.depth - 6) ** 2
        start = self._checkpoint(run)
        for step in range(start, self.steps):
            run.report(step, distance + 1.0 / (1 + step))
            run.checkpoint("step").with_suffix(".txt").write_text(str(step + 1))
            time.sleep(self.seconds)
        t = np.arange(self.depth)
        noise = np.random.default_rng(run.seed).normal(size=self.depth)
        return xr.Dataset(
            {
                "y": ("t", self.gain * np.sin(t) + 0.01 * noise, {"units": "V"}),
                "peak": ((), float(self.gain), {"units": "V"}),
                "count": ((), self.depth, {"units": "1"}),
                "name": ((), f"wave {self.depth}"),
                "distance": ((), distance, {"units": "1"}),
                "first_step": ((), start, {"units": "1"}),
            },
            coords={"t": ("t", t, {"units": "s"})},
        )

    def _checkpoint(self, run: Run) -> int:
        path = run.checkpoint("step").with_suffix(".txt")
        return int(path.read_text()) if path.exists() else 0

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        t = np.arange(self.depth)
        return xr.Dataset(
            {"y": ("t", self.gain * np.sin(t), {"units": "V"}), "peak": ((), self.gain)},
            coords={"t": t},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check("noise", float(abs(measured.y - theory.y).max()), 0, atol=0.1, source="none")

    def cost(self, run: Run) -> Cost:
        return Cost(1.0, 8.0, 0.5)
