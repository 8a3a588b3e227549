"""A study for the tests of sweeps whose points differ in shape, or fail at length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr

from tractable.study import Range, Run, Study


@dataclass(frozen=True)
class Odd(Study):
    """Points of odd shapes."""

    n: Annotated[int, Range(1, 50)] = 1
    """Number of values."""
    mode: Literal["good", "flat", "raise", "exit", "large", "point", "theory", "twice"] = "good"
    """What happens."""

    def measure(self, run: Run) -> xr.Dataset:
        if self.mode == "raise":
            raise ValueError(f"n = {self.n} is not liked\nfor a reason on a line of its own")
        if self.mode == "exit":
            raise SystemExit(3)
        if self.mode == "large":
            return xr.Dataset({"y": 2**60 + self.n})
        if self.mode == "point":
            return xr.Dataset({"y": ("point", np.arange(3.0))})
        if self.mode == "theory":
            return xr.Dataset({"theory_z": 1.0})
        if self.mode == "twice":
            return xr.Dataset({"n": 1.0, "measured_n": 2.0})
        return xr.Dataset({"y": 1.0 if self.mode == "flat" else ("i", np.arange(self.n) + 1.0)})

    def theory(self, measured: Any = None) -> xr.Dataset:
        return xr.Dataset({"z": 1.0})
