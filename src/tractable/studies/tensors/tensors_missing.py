"""Missing entries: what is lost, and what structure in the missing costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.tensors._data_parts import ONE, with_missing
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "equation (T14): a fraction f observed is a noise of Delta / f"


@dataclass(frozen=True)
class TensorsMissing(Study):
    """Missing entries: a fraction f observed is as good as all entries at the noise Delta / f."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"size": 40, "n_draws": 2, "ratio": 0.05, "signatures": False},
        "paper": {"size": 300, "n_draws": 12, "fractions": (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)},
    }

    size: Annotated[int, Range(5, 2000)] = 150
    """Size of each of the three modes."""
    mean: Annotated[float, Range(0.0, 10.0)] = 0.4
    """Mean of the factors, whose variance is 1."""
    ratio: Annotated[float, Range(1e-6, 100.0)] = 0.3
    """Noise variance Delta over the observed fraction f, held constant."""
    fractions: Annotated[tuple[float, ...], Range(0.001, 1.0)] = (1.0, 0.5, 0.2)
    """Fractions f of entries that are observed."""
    n_draws: Annotated[int, Range(2, 1000)] = 12
    """Tensors drawn at each fraction; overlaps of single draws scatter by 0.05 at size 150."""
    signatures: bool = True
    """Assert that the overlaps agree."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        def draws(fraction: float, structured: bool) -> xr.Dataset:
            points = [
                {
                    "size": self.size,
                    "mean": self.mean,
                    "ratio": self.ratio,
                    "fraction": fraction,
                    "structured": structured,
                    "seed": run.seed + draw,
                }
                for draw in range(self.n_draws)
            ]
            return xr.concat(run.map(with_missing, points), "draw")

        random = xr.concat([draws(f, False) for f in self.fractions], "fraction")
        whole = draws(1.0, True)
        names = {name: f"structured_{name}" for name in whole.data_vars}
        return xr.merge([random.assign_coords(fraction=list(self.fractions)), whole.rename(names)])

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Predict the overlap of all fractions: that of complete data at the noise Delta / f."""
        import xarray as xr

        from tractable.tensors import Gaussian, state_evolution

        M = state_evolution((1, 1, 1), Gaussian(self.mean), self.ratio).overlap[:, 0, 0]
        return xr.Dataset({"overlap": ("mode", M, ONE)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.overlap.mean(("draw", "mode"))
        off = float(abs(mean - float(theory.overlap.mean())).max())
        bound = 0.05 if self.signatures else 0.3
        yield Check("overlap, largest distance from state evolution at Delta / f", off, bound,
                    kind="at_most", source=SOURCE)  # fmt: skip
        if not self.signatures:
            return
        yield Check("overlap, range over the fractions", float(mean.max() - mean.min()), 0.03,
                    kind="at_most", source=SOURCE)  # fmt: skip
        ratio = measured.structured_error.mean() / measured.structured_error_homogeneous.mean()
        yield Check("trials missing in half of the neurons: error, row-wise A",
                    float(ratio), 1.0, kind="at_most",
                    source="equation (T14) row by row, over A the same for all")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rows = [
            (
                f"{float(f):g}",
                f"{float(f) * self.ratio:g}",
                round(float(measured.overlap.sel(fraction=f).mean()), 3),
                round(float(theory.overlap.mean()), 3),
                round(float(measured.error.sel(fraction=f).mean()), 3),
                round(float(measured.predicted_error.sel(fraction=f).mean()), 3),
            )
            for f in measured.fraction
        ]
        yield (
            "Entries that are missing at random cost what noise costs: at equal Delta / f the "
            f"overlaps are {', '.join(str(row[2]) for row in rows)}."
        )
        own = float(measured.structured_error.mean())
        same = float(measured.structured_error_homogeneous.mean())
        yield (
            "Where a third of the third mode is missing in half of the rows of the first, counting "
            f"what each row has seen changes the tensor error from {same:.4f} to {own:.4f}."
        )
        columns = ("observed f", "noise", "overlap", "state evolution", "error", "predicted error")
        yield Table("Random missing entries", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new()
        f = measured.fraction.values
        by_draw = measured.overlap.mean("mode").transpose("fraction", "draw").values
        ends = np.array([min(f) * 0.8, 1.05])
        plot.theory(ax, ends, np.full(2, float(theory.overlap.mean())), label="state evolution")
        error = by_draw.std(1, ddof=1) / np.sqrt(by_draw.shape[1])
        plot.measurement(ax, f, by_draw.mean(1), error=error, label="message passing")
        ax.set(xlabel="observed fraction f", ylabel=r"overlap $M$ at $\Delta = $ ratio $\cdot f$")
        ax.legend()
        figure.set_label(
            "Overlap with the truth against the fraction of entries that are observed, at constant "
            "noise over fraction: mean and standard error over draws; the line is state evolution."
        )
        return {"missing": figure}

    def cost(self, run: Run) -> Cost:
        import time

        size = min(self.size, 60)
        with_missing(20, self.mean, self.ratio, 1.0, False, 0)  # pays for the imports
        started = time.perf_counter()
        with_missing(size, self.mean, self.ratio, 0.5, False, run.seed)
        entries = float(self.size) ** 3
        seconds = (time.perf_counter() - started) * entries / size**3
        fits = self.n_draws * (len(self.fractions) + 2)
        return Cost(fits * 4 * 40 * entries, 20 * entries, fits * seconds)
