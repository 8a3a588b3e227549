"""The table of a search over graphs: read from its folder, or of graphs drawn at random."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
NUMBERS = ("test_accuracy", "parameters", "macs")


class RandomTrial:
    """Draws every parameter independently; it answers like a trial of optuna."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        self.params[name] = choices[int(self.random.integers(len(choices)))]
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return an integer, both ends included."""
        self.params[name] = low + step * int(self.random.integers((high - low) // step + 1))
        return int(self.params[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number, equally spread, or in its logarithm."""
        ends = np.log([low, high]) if log else np.array([low, high])
        drawn = float(self.random.uniform(*ends))
        self.params[name] = float(np.exp(drawn)) if log else drawn
        return float(self.params[name])


def random_points(n: int, steps: int, n_test: int, seed: int) -> list[dict[str, Any]]:
    """Return parameters of graphs drawn at random."""
    from tractable.core.seeds import derive
    from tractable.studies.vision.convrnn_graph import ConvrnnGraph

    points = []
    for i in range(n):
        drawn = ConvrnnGraph.suggest(RandomTrial(derive(seed, "graph", i)))
        points.append(ConvrnnGraph(**drawn, steps=steps, n_test=n_test).parameters())
    return points


def train_point(parameters: dict[str, Any], device: str) -> xr.Dataset:
    """Train one graph; a failure is a row like any other."""
    import tempfile

    import xarray as xr

    from tractable.studies.vision._convrnn_parts import train_graph
    from tractable.studies.vision.convrnn_graph import ConvrnnGraph
    from tractable.study import Run

    with tempfile.TemporaryDirectory(prefix="tractable-") as place:
        run = Run(0, Path(place), device, show_progress=False)
        try:
            measured = train_graph(ConvrnnGraph.from_parameters(parameters), run)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            return xr.Dataset({"error": ((), message)})
    return measured[["validation_accuracy", *NUMBERS]].assign(error=((), ""))


def table(points: list[dict[str, Any]], found: list[xr.Dataset]) -> xr.Dataset:
    """Return one row for each graph."""
    import xarray as xr

    def column(name: str) -> np.ndarray:
        return np.array([float(f[name]) if name in f else np.nan for f in found])

    errors = [str(f.error.values) for f in found]
    return _with_best(
        xr.Dataset(
            {
                "score": ("trial", column("validation_accuracy"), ONE),
                **{name: ("trial", column(name), ONE) for name in NUMBERS},
                "state": ("trial", np.array(["failed" if e else "complete" for e in errors])),
                "error": ("trial", np.array(errors, dtype=str)),
                "drawn": ("trial", np.array([json.dumps(point) for point in points])),
            },
            coords={"trial": np.arange(len(points))},
        )
    )


def read_search(folder: Path) -> xr.Dataset:
    """Return the trials of a search in the order in which they ended."""
    import xarray as xr

    trials = xr.load_dataset(folder / "search.nc", engine="h5netcdf")
    if trials.attrs.get("study") != "convrnn-graph":
        raise ValueError(f"{folder} is a search of {trials.attrs.get('study')}, not convrnn-graph")
    n = trials.sizes["trial"]
    numbers = {name: np.full(n, np.nan) for name in NUMBERS}
    drawn = []
    for i, name in enumerate(trials.run.values):
        run = folder.parent.parent / str(name)
        drawn.append("{}")
        if (run / "params.json").is_file():
            record = json.loads((run / "params.json").read_text(encoding="utf-8"))
            drawn[-1] = json.dumps(record["parameters"])
        if (run / "result.nc").is_file():
            measured = xr.load_dataset(run / "result.nc", group="measured", engine="h5netcdf")
            for key in NUMBERS:
                numbers[key][i] = float(measured[key])
    error = trials.error.values if "error" in trials else np.full(n, "")
    table = xr.Dataset(
        {
            "score": ("trial", trials.value.values, ONE),
            **{key: ("trial", values, ONE) for key, values in numbers.items()},
            "state": ("trial", trials.state.values.astype(str)),
            "error": ("trial", error.astype(str)),
            "drawn": ("trial", np.array(drawn, dtype=str)),
        },
        coords={"trial": np.arange(n)},
    )
    return _with_best(table)


def importance(measured: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Return which parameters decide the score; empty where there are too few graphs."""
    from tractable.vision.convrnn.searched import parameter_importance

    score = measured.score.values
    kept = np.flatnonzero(np.isfinite(score))
    if len(kept) < 20 or score[kept].std() == 0:
        return {}
    rows = [_spread(json.loads(str(measured.drawn.values[i]))) for i in kept]
    names = dict.fromkeys(name for row in rows for name in row)
    return parameter_importance({n: [row.get(n) for row in rows] for n in names}, score[kept])


def figures(theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Draw history, importance, score against parameters and operations, and the best graph."""
    from tractable import plot
    from tractable.studies.vision import _convrnn_search_figures as draw
    from tractable.studies.vision.convrnn_graph import ConvrnnGraph

    history = draw.draw_history(
        measured.assign(value=measured.score).assign_attrs(objective="validation_accuracy")
    )
    ax = history.axes[0]
    plot.theory(
        ax, measured.trial.values + 1, theory.expected_best, color="C2",
        label="expected best of as many draws from these scores",
    )  # fmt: skip
    ax.legend(loc="lower right")
    trade, axes = plot.new(1, 2, size=(8.6, 3.4), sharey=True)
    score = measured.score.values
    draw.draw_trade(measured.parameters.values, score, "parameters", axes[0])
    draw.draw_trade(measured.macs.values, score, "operations per movie", axes[1])
    axes[1].set_ylabel("")
    trade.set_label(
        "Validation accuracy of all graphs against what they cost: parameters (left) and "
        "multiply-accumulate operations of a movie (right), with the fronts."
    )
    result = {"history": history, "trade": trade}
    found = importance(measured)
    if found:
        result["importance"] = draw.draw_importance(found)
    best = json.loads(str(measured.drawn.values[int(np.nanargmax(score))]))
    result["best"] = draw.draw_graph(ConvrnnGraph.from_parameters(best).spec().to_json())
    return result


def _with_best(trials: xr.Dataset) -> xr.Dataset:
    return trials.assign(best=("trial", np.fmax.accumulate(trials.score.values), ONE))


def _spread(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the drawn choices one by one: of lists, of flags, and only where they matter."""
    cells, edges = parameters["cells"], parameters["feedback"]
    row: dict[str, Any] = {}
    for i, cell in enumerate(cells):
        row[f"cell_{i + 1}"] = cell
        row[f"channels_{i + 1}"] = parameters["channels"][i]
        if cell in ("vanilla", "ugrnn", "gru", "lstm", "intersection"):
            row[f"kernel_{i + 1}"] = parameters["kernels"][i]
            row[f"norm_{i + 1}"] = parameters["norms"][i]
    for name in ("learning_rate", "weight_decay", "init_scale"):
        row[name] = np.log(parameters[name])
    if set(cells) & {"ugrnn", "gru", "lstm", "intersection"}:
        row["forget_bias"] = parameters["forget_bias"]
    if "rgc" in cells:
        from tractable.studies.vision.convrnn_graph import FLAGS

        row |= {flag: flag in parameters["flags"] for flag in FLAGS}
        row |= {k: v for k, v in parameters.items() if k.startswith(("tau_", "gate_"))}
    row |= {f"edge_{edge}": edge in edges for edge in ("2>1", "3>1", "3>2")}
    if edges:
        row |= {k: v for k, v in parameters.items() if k.startswith("feedback_")}
    return row
