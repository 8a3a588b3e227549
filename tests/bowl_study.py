"""A study for the tests of searches: a smooth valley of four fields, of which the middle counts."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Annotated

import numpy as np
import xarray as xr

from tractable.study import Range, Run, Study

CENTER = (3.0, 3.5, 4.0, 4.5)


@dataclass(frozen=True)
class Bowl(Study):
    """Squared distance from a point."""

    a: Annotated[float, Range(0.0, 10.0)] = 0.0
    """First coordinate."""
    b: Annotated[float, Range(0.0, 10.0)] = 0.0
    """Second coordinate."""
    c: Annotated[float, Range(0.0, 10.0)] = 0.0
    """Third coordinate."""
    d: Annotated[float, Range(0.0, 10.0)] = 0.0
    """Fourth coordinate."""

    def measure(self, run: Run) -> xr.Dataset:
        distance = float(np.sum((np.array(astuple(self)) - CENTER) ** 2))
        return xr.Dataset({"distance": ((), distance, {"units": "1"})})

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        return xr.Dataset()
