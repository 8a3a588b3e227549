"""Message passing on state evolution: overlaps sweep by sweep, for a cube and for a long array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

KINDS = ("cube", "long")
SE = "state evolution, docs/theory/tensors.md (T18); arXiv:1810.10065"


@dataclass(frozen=True)
class TensorsEvolution(Study):
    """Message passing against state evolution, sweep by sweep, cubic and not."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"shape": (20, 30, 45), "n_draws": 2},
        "paper": {"shape": (250, 500, 1000), "n_draws": 20},
    }

    shape: Annotated[tuple[int, ...], Range(2, 10_000, log=True)] = (100, 150, 225)
    """Sizes of the long array; the cube has the same number of entries."""
    mean: Annotated[float, Range(0.0, 10.0)] = 0.4
    """Mean of the Gaussian prior of all factors, in units of its standard deviation."""
    noise: Annotated[float, Range(1e-4, 10.0, log=True)] = 0.3
    """Noise variance Delta, model units."""
    n_draws: Annotated[int, Range(2, 1000)] = 8
    """Tensors drawn of each shape."""
    schedule: Literal["sequential", "parallel"] = "sequential"
    """Modes one after the other, or all at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) < 2:
            raise ValueError(f"shape must have at least 2 sizes, got {self.shape}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The two shapes by name."""
        side = round(float(np.prod(np.array(self.shape, float)) ** (1 / len(self.shape))))
        return {"cube": (side,) * len(self.shape), "long": self.shape}

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.tensors._trials import padded, trial

        points = [
            {
                "shape": shape,
                "priors": f"gaussian({self.mean})",
                "noise": self.noise,
                "seed": run.seed + draw,
                "schedule": self.schedule,
            }
            for shape in self.shapes.values()
            for draw in range(self.n_draws)
        ]
        results = padded(run.map(trial, points), "draw")
        cube, long = (
            results.isel(draw=slice(k * self.n_draws, (k + 1) * self.n_draws)) for k in (0, 1)
        )
        return xr.concat([cube, long], "shape").assign_coords(shape=list(KINDS))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.tensors import state_evolution

        curves = []
        for shape in self.shapes.values():
            with quiet():
                result = state_evolution(
                    shape,
                    f"gaussian({self.mean})",
                    self.noise,
                    schedule=self.schedule,
                    max_iter=400,
                    tol=1e-10,
                )
            curves.append((result.M[:, :, 0, 0], result.tensor_error))
        length = max(len(M) for M, _ in curves)
        if measured is not None:
            length = max(length, measured.sizes["sweep"] + 1)
        M = np.stack([np.pad(M, ((0, length - len(M)), (0, 0)), "edge") for M, _ in curves])
        error = [error[-1] for _, error in curves]
        one = {"units": "1"}
        return xr.Dataset(
            {
                "overlap": (("shape", "sweep", "mode"), M, one),
                "final": (("shape", "mode"), M[:, -1], one),
                "error": ("shape", np.array(error), one),
            },
            coords={"shape": list(KINDS), "sweep": np.arange(length)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.final.mean("draw")
        side = min(min(shape) for shape in self.shapes.values())
        # 0.05 for sizes of 100 and more; small arrays are farther from the limit, and scatter.
        bound = 0.05 if side >= 100 else 0.5
        for kind in KINDS:
            gap = float(abs(mean.sel(shape=kind) - theory.final.sel(shape=kind)).max())
            yield Check(f"final overlap, {kind}: AMP - SE", gap, bound, kind="at_most", source=SE)
        order = [
            list(np.argsort(v.sel(shape="long").values, kind="stable"))
            for v in (mean, theory.final)
        ]
        yield Check(
            "modes recovered unequally, in the order of SE",
            float(order[0] == order[1]),
            1,
            source="arXiv:1810.10065, abstract: modes differ in quality; " + SE,
        )
        expected = theory.overlap.sel(sweep=measured.sweep)
        # Where the overlap is steep, draws differ in their timing: 4 standard errors of the mean.
        error = measured.overlap.std("draw", ddof=1) / np.sqrt(self.n_draws)
        beyond = abs(measured.overlap.mean("draw") - expected) - 4 * error
        yield Check(
            "sweep by sweep: AMP - SE beyond 4 standard errors",
            float(beyond.max()),
            bound,
            kind="at_most",
            source=SE,
        )
        ratio = float(abs(measured.error.mean("draw") / theory.error - 1).max())
        yield Check(
            "error of the signal, AMP over SE, less 1",
            ratio,
            0.25 if side >= 100 else 1.0,
            kind="at_most",
            source="docs/theory/tensors.md (T19)",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean, spread = measured.final.mean("draw"), measured.final.std("draw")
        gap = float(abs(mean - theory.final).max())
        yield (
            f"After {int(measured.n_sweeps.max())} sweeps the overlaps with the truth differ from "
            f"those of state evolution by at most {gap:.3f}, mean of {self.n_draws} draws."
        )
        last = theory.final.sel(shape="long").values
        yield (
            "Longer modes get less information per entry and are recovered worse: sizes "
            + ", ".join(f"{n}" for n in self.shape)
            + " have the overlaps "
            + ", ".join(f"{m:.3f}" for m in last)
            + "."
        )
        rows = tuple(
            (
                kind,
                f"{size}",
                float(theory.final.sel(shape=kind)[a]),
                float(mean.sel(shape=kind)[a]),
                float(spread.sel(shape=kind)[a]),
            )
            for kind in KINDS
            for a, size in enumerate(self.shapes[kind])
        )
        yield Table(
            "Final overlap of each mode",
            ("array", "size of the mode", "state evolution", "AMP, mean", "AMP, sd of a draw"),
            rows,
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.tensors.plots import plot_evolution

        figures = {}
        for kind in KINDS:
            sizes = self.shapes[kind]
            start = theory.overlap.sel(shape=kind, sweep=0).values
            points = measured.overlap.sel(shape=kind).transpose("draw", "sweep", "mode").values
            first = np.broadcast_to(start, (len(points), 1, len(sizes)))
            points = np.concatenate([first, points], 1)
            labels = [f"$N_{a + 1}$ = {size}" for a, size in enumerate(sizes)]
            figure = plot_evolution(theory.overlap.sel(shape=kind).values, points, labels=labels)
            figure.set_label(
                f"Overlap of each factor with the truth after every sweep, {kind} array: state "
                f"evolution (lines) and message passing (mean and standard deviation over "
                f"{len(points)} draws)."
            )
            figures[kind] = figure
        return figures

    def cost(self, run: Run) -> Cost:
        from tractable.studies.tensors._trials import cost_of

        prior = f"gaussian({self.mean})"
        return cost_of(self.shape, prior, self.noise, 2 * self.n_draws, 30)
