"""Components part from one another: several components of equal priors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.tensors._data_parts import ONE, specialized
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SPECIAL = 0.9
SOURCE = "arXiv:1810.10065 model at rank r; symmetry of equations (T2) to (T5)"


@dataclass(frozen=True)
class TensorsRank(Study):
    """Several components of one prior: message passing must break their symmetry, and does."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"size": 40, "ranks": (2,), "n_seeds": 2, "signatures": False},
        "paper": {"size": 300, "ranks": (2, 3, 4, 5), "n_seeds": 5},
    }

    size: Annotated[int, Range(5, 2000)] = 150
    """Size of each of the three modes."""
    ranks: Annotated[tuple[int, ...], Range(2, 20)] = (2, 3)
    """Numbers of components."""
    mean: Annotated[float, Range(0.0, 10.0)] = 0.4
    """Mean of the factors, whose variance is 1."""
    noise: Annotated[float, Range(1e-6, 100.0)] = 0.2
    """Noise variance Delta, in model units."""
    n_seeds: Annotated[int, Range(1, 100)] = 5
    """Draws, each with a start of its own."""
    signatures: bool = True
    """Assert that components are found."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        rows = []
        for rank in self.ranks:
            points = [
                {
                    "size": self.size,
                    "rank": rank,
                    "mean": self.mean,
                    "noise": self.noise,
                    "seed": run.seed + i,
                }
                for i in range(self.n_seeds)
            ]
            rows.append(xr.concat(run.map(specialized, points), "draw"))
        return xr.concat(rows, "components").assign_coords(components=list(self.ranks))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Iterate state evolution from an overlap whose symmetry is broken, and the symmetric one.

        By symmetry of the components M = a I + b 11^T for all ranks.
        """
        import xarray as xr

        from tractable.tensors import Gaussian, state_evolution

        own, other, together = [], [], []
        for rank in self.ranks:
            start = self.mean**2 * np.ones((3, rank, rank))
            prior = Gaussian(np.full(rank, self.mean))
            apart = start + 1e-2 * np.eye(rank)
            shape = (self.size,) * 3
            settings: dict[str, Any] = {"rank": rank, "max_iter": 500, "tol": 1e-9}
            M = state_evolution(shape, prior, self.noise, start=apart, **settings).overlap.mean(0)
            same = state_evolution(shape, prior, self.noise, start=start, **settings).overlap
            own.append(np.trace(M) / rank)
            other.append((M.sum() - np.trace(M)) / (rank * (rank - 1)))
            together.append(same.mean())
        return xr.Dataset(
            {
                "own_overlap": ("components", np.array(own), ONE),
                "other_overlap": ("components", np.array(other), ONE),
                "symmetric_overlap": ("components", np.array(together), ONE),
            },
            coords={"components": list(self.ranks)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gap = float(measured.symmetric_gap.max())
        yield Check("symmetric start: largest difference of columns", gap, 1e-10, kind="at_most",
                    source=SOURCE)  # fmt: skip
        if not self.signatures:
            return
        for rank in self.ranks:
            here, said = measured.sel(components=rank), theory.sel(components=rank)
            needed = np.ceil(0.8 * self.n_seeds)
            yield Check(f"rank {rank}: draws with a geometric mean cosine above 0.9",
                        int((here.score > SPECIAL**3).sum()), needed, kind="at_least",
                        source=SOURCE)  # fmt: skip
            found = here.where(here.score > SPECIAL**3, drop=True)
            for name, label in (("own_overlap", "its own"), ("other_overlap", "the other")):
                value = float(found[name].mean()) if found.sizes["draw"] else np.nan
                yield Check(f"rank {rank}: overlap of a component with {label}", value,
                            float(said[name]), atol=0.1,
                            source="state evolution, (T16)")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        for rank in self.ranks:
            here = measured.sel(components=rank)
            yield (
                f"Rank {rank}: {int((here.score > SPECIAL**3).sum())} of {self.n_seeds} draws "
                f"are decomposed into their components (mean cosine above {SPECIAL:g}, the cube "
                f"root of the score), in {float(here.n_sweeps.mean()):.0f} sweeps on average. "
                "From the exactly symmetric start the components never part."
            )
        rows = [
            (int(rank), *(round(float(v), 3) for v in measured.score.sel(components=rank)))
            for rank in measured.components
        ]
        columns = ("rank", *(f"draw {i + 1}" for i in range(measured.sizes["draw"])))
        yield Table("Factor match score of every draw", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new()
        at = np.asarray(measured.components.values, dtype=float)
        for k, (name, label) in enumerate(
            (("own_overlap", "with its own truth"), ("other_overlap", "with another's truth"))
        ):
            plot.theory(ax, at, theory[name], color=f"C{k}", label=f"{label}, state evolution")
            for i in range(measured.sizes["draw"]):
                plot.measurement(
                    ax, at + 0.04 * (i - measured.sizes["draw"] / 2),
                    measured[name].isel(draw=i), color=f"C{k}", markersize=4,
                    label=f"{label}, draws" if i == 0 else "_",
                )  # fmt: skip
        ax.set(xlabel="rank", ylabel="overlap of an estimated component", xticks=at)
        ax.legend(fontsize="small")
        figure.set_label(
            "Overlap of estimated components with their own and with the other true ones, over the "
            "rank. A prior of non-zero mean makes the second one positive."
        )
        return {"components": figure}

    def cost(self, run: Run) -> Cost:
        import time

        size = min(self.size, 60)
        specialized(20, 2, self.mean, self.noise, 0)  # pays for the imports
        started = time.perf_counter()
        specialized(size, 2, self.mean, self.noise, run.seed)
        entries = float(self.size) ** 3
        seconds = (time.perf_counter() - started) * entries / size**3
        fits = self.n_seeds * float(sum(self.ranks)) / 2
        return Cost(fits * 8 * 100 * entries, 16 * entries, fits * seconds)
