"""A study whose report is hard to set: every kind of figure, check, cell and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import xarray as xr

from tractable.study import Check, Paper, Range, Run, Study, Table

NASTY = """Tom & Jerry's <b>"5 < 6"</b> &amp; Größe κ₁ ≈ 0.5 → ∞, 中文, עברית, e\u0301."""
LONG_WORD = "/scratch/" + "a_very_long_folder_name-" * 9 + "end.npy"


@dataclass(frozen=True)
class Hard(Study):
    """What a page must bear: long words, <tags> & "quotes", wide tables, big figures."""

    paper: ClassVar = Paper(
        'Ångström, O\'Neill & "Co" <x>', 2020, "On <markup> & more", arxiv="2001.00001"
    )

    path: str = LONG_WORD
    """A long path, which must not widen the page: it breaks."""
    gain: Annotated[float | None, Range(-9, 9)] = -0.5
    """A number with a sign, or none & <nothing>."""
    sizes: Annotated[tuple[int, ...], Range(-9, 9)] = (1, -2)
    """Numbers."""
    empty: str = ""
    """Nothing."""

    def measure(self, run: Run) -> xr.Dataset:
        run.say(f"The data are generated: {NASTY}")
        random = np.random.default_rng(run.seed)
        return xr.Dataset(
            {"y": (("x", "seed"), random.normal(size=(20_100, 2)), {"units": "1"})},
            coords={"x": np.arange(20_100.0)},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        x = np.linspace(0, 1, 200)
        return xr.Dataset({"y": ("x", x**2, {"units": "1"})}, coords={"x": x})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(f"a claim: {NASTY}", 0.71, 0.85, kind="at_least", source=f"Fig. 2 {LONG_WORD}")
        yield Check("equal but for the last digits", 0.95750402, 0.957504, atol=1e-9, source="(3)")
        yield Check("slope of the error", -0.5031, -0.5, atol=0.25, kind="slope", source="(4)")
        yield Check("residual", 3.2e-13, 1e-9, kind="at_most", source="exact")
        yield Check("number of parameters", 132_097, 132_097, source="count")
        yield Check("loss", float("nan"), 1.25e7, rtol=0.02, source="Table 1")

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield NASTY
        yield f"The file is {LONG_WORD}."
        words = ("marvellous", "<not>", "terrible & bad")
        yield Table(
            f"Words: {NASTY}",
            ("word", "push", "time constant (steps)", "remembered", "direction", "count", "note"),
            tuple(
                (word, value, 1e6 * value**2, value > 0, None, 12345, LONG_WORD if i == 1 else "")
                for i, (word, value) in enumerate(zip(words, (1.25, -0.3333333, 1e-8), strict=True))
            ),
        )
        yield Table("Numbers only", ("x", "y"), ((0.5, -12), (float("inf"), 3), (1e-7, 4)))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict:
        from tractable import plot

        one, ax = plot.new(size=(5.6, 3.6))
        plot.theory(ax, theory.x, theory.y)
        plot.measurement(ax, theory.x[::20], theory.y[::20] + 0.01, error=np.full(10, 0.05))
        ax.set(xlabel=r"gain $g$ & more <units>", ylabel=r"overlap $\kappa_1 = \tanh(g\kappa)$")
        ax.legend()
        one.set_label(NASTY)

        wide, axes = plot.new(1, 3)
        for i, ax in enumerate(axes):
            plot.theory(ax, theory.x, theory.y**i)
            ax.set(xlabel="x", ylabel="y", title=f"panel {i}")
        wide.set_label(f"Three panels, wider than a column. {LONG_WORD}")

        cloud, ax = plot.new(size=(5.0, 5.0))
        ax.scatter(measured.y[:, 0], measured.y[:, 1], s=2)
        ax.set(xlabel="first", ylabel="second")
        cloud.set_label(f"More points than SVG should hold. {NASTY}")

        heat, ax = plot.new(size=(5.6, 4.2))
        image = ax.imshow(np.outer(theory.y[::4], theory.y[::4]), aspect="auto")
        heat.colorbar(image, label="overlap")
        ax.set(xlabel="i", ylabel="j")
        heat.set_label("A matrix of 50 × 50 entries: an image inside of SVG.")
        return {"one": one, "wide panels": wide, "cloud": cloud, "heat": heat}
