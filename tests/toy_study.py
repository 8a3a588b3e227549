"""A study in a user's own file, for the tests: quick, and it counts how often it measures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import xarray as xr

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table


def square(x: float) -> xr.Dataset:
    counter = os.environ.get("TOY_COUNTER", "counter.txt")
    with Path(counter).open("a") as file:
        file.write(f"{x}\n")
    if x == 2.0 and Path(counter).with_suffix(".stop").exists():
        raise KeyboardInterrupt
    return xr.Dataset({"y": ((), x**2)}, coords={"x": x})


@dataclass(frozen=True)
class Toy(Study):
    """Squares of numbers."""

    paper: ClassVar = Paper("Euclid", -300, "Elements", doi="10.0/elements")
    presets: ClassVar = {"smoke": {"n": 3}, "paper": {"n": 9}}

    n: Annotated[int, Range(1, 100)] = 4
    """Numbers to square."""
    power: Annotated[float, Range(0.0, 4.0)] = 2.0
    """Exponent of the theory."""
    flavor: Literal["plain", "sweet"] = "plain"
    """No effect."""
    sizes: Annotated[tuple[int, ...], Range(1, 9)] = (1, 2)
    """No effect."""
    note: str = ""
    """Said loudly."""

    def measure(self, run: Run) -> xr.Dataset:
        if self.note:
            run.say(self.note)
        points = [{"x": float(x)} for x in range(self.n)]
        run.save("weights", {"w": np.arange(3.0)})
        return xr.concat(run.map(square, points), "x")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        x = np.arange(self.n, dtype=float)
        return xr.Dataset({"y": ("x", x**self.power)}, coords={"x": x})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        error = float(abs(theory.y - measured.y).max())
        yield Check("squares", error, 0.0, atol=1e-12, source="Euclid II.4")

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield f"The last of {self.n} squares is {float(measured.y[-1]):g}."
        yield Table("Squares", ("x", "y"), ((0.0, 0.0), (np.float64(1.5), 2)))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict:
        from tractable import plot

        figure, ax = plot.new()
        plot.theory(ax, theory.x, theory.y)
        plot.measurement(ax, measured.x, measured.y, error=np.ones(self.n))
        ax.set(xlabel="x", ylabel="y")
        figure.set_label("Squares & <their> theory.")
        return {"squares": figure}

    def cost(self, run: Run) -> Cost:
        return Cost(float(self.n), 8.0 * self.n, 0.0)
