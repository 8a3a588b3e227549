"""What a search over recurrent graphs has found: history, importance, cost, the best graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}


@dataclass(frozen=True)
class ConvrnnSearch(Study):
    """What a search of convrnn-graph has found: history, importance, cost, the best graph."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {"n_graphs": 4, "steps": 2, "n_test": 50},
        "paper": {"n_graphs": 6000, "steps": 300},
    }

    trials: str = ""
    """Folder of a search, runs/convrnn-graph/searches/<hash>; without it graphs are drawn."""
    n_graphs: Annotated[int, Range(2, 1_000_000, log=True)] = 40
    """Graphs that are drawn at random, where there is no folder."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 60
    """Updates of each."""
    n_test: Annotated[int, Range(10, 600)] = 500
    """Test digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trials and not (Path(self.trials) / "search.nc").is_file():
            raise ValueError(
                f"trials must be a folder with the search.nc of a search, got {self.trials!r}; "
                "tractable search prints it"
            )

    def files(self) -> list[Path]:
        """Return the table of the search."""
        return [Path(self.trials) / "search.nc"] if self.trials else []

    # --- measurement -------------------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision import _convrnn_searched as parts

        if self.trials:
            return parts.read_search(Path(self.trials))
        points = parts.random_points(self.n_graphs, self.steps, self.n_test, run.seed)
        device = str(run.device)
        found = run.map(parts.train_point, [{"parameters": p, "device": device} for p in points])
        return parts.table(points, found)

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the best that as many draws from the same scores would have found on average."""
        import xarray as xr

        from tractable.vision.convrnn.searched import expected_best

        if measured is None:
            raise ValueError("convrnn-search needs scores: it takes measured")
        score = measured.score.values
        n = len(score)
        return xr.Dataset(
            {
                "expected_best": ("trial", expected_best(score[np.isfinite(score)], n), ONE),
                "largest": ((), float(np.nanmax(score)), ONE),
            },
            coords={"trial": measured.trial},
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        best = measured.best.values
        falls = float(np.nanmax(-np.diff(best), initial=0.0))
        yield Check("best so far, largest fall", falls, 0, source="it can only rise")
        yield Check(
            "best at the end against the largest score",
            float(best[-1]),
            float(theory.largest),
            1e-12,
            source="definition",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision import _convrnn_searched as parts

        state = measured.state.values
        counts = {name: int((state == name).sum()) for name in ("complete", "pruned", "failed")}
        top = int(np.nanargmax(measured.score.values))
        yield (
            f"{len(state)} graphs: {counts['complete']} trained to the end, {counts['pruned']} "
            f"stopped early, {counts['failed']} failed. The best has validation accuracy "
            f"{float(measured.score[top]):.3f} and test accuracy "
            f"{float(measured.test_accuracy[top]):.3f} with {int(measured.parameters[top])} "
            f"parameters; the median {float(measured.score.median()):.3f}."
        )
        parameters = json.loads(str(measured.drawn.values[top]))
        yield Table(
            "The best graph",
            ("parameter", "value"),
            tuple((name, str(value)) for name, value in parameters.items()),
        )
        importance = parts.importance(measured)
        if importance:
            rows = tuple((name, *values) for name, values in list(importance.items())[:12])
            columns = ("parameter", "loss of R^2 when shuffled", "deviation over five splits")
            yield Table("What decides the score", columns, rows)
        reasons = sorted({str(e) for e in measured.error.values if str(e)})
        if reasons:
            yield f"Why graphs failed: {'; '.join(reasons)}."

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision import _convrnn_searched as parts

        return parts.figures(theory, measured)

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_parts import graph_cost
        from tractable.studies.vision.convrnn_graph import ConvrnnGraph

        graph = ConvrnnGraph(cells=("rgc", "rgc", "rgc"), steps=self.steps, n_test=self.n_test)
        operations, memory, seconds = graph_cost(graph, run)
        return Cost(self.n_graphs * operations, memory, self.n_graphs * seconds)
