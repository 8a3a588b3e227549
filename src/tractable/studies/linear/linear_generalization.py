"""Generalization in time: theory against networks that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, Fig. 3"
STARTS = ("aligned", "orthogonal")


@dataclass(frozen=True)
class LinearGeneralization(Study):
    """When does a linear network generalize best? Train and test error in time."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {
            "n_in": 40,
            "n_out": 20,
            "n_hidden": 20,
            "strengths": (0.84, 4.0),
            "rank_three": (),
            "narrow": (2,),
            "n_seeds": 2,
            "learning_rate": 0.02,
            "steps": 300,
        },
        "paper": {"n_seeds": 10, "learning_rate": 0.001, "steps": 10_000},
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs N1."""
    n_out: Annotated[int, Range(2, 2000, log=True)] = 50
    """Outputs N3."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 50
    """Hidden units N2."""
    strengths: Annotated[tuple[float, ...], Range(0.01, 100.0)] = (0.84, 2.0, 4.0, 6.0, 8.0)
    """Strengths of teachers of rank 1, in units of the noise."""
    rank_three: Annotated[tuple[float, ...], Range(0.01, 100.0)] = (1.0, 2.0)
    """Teachers of rank 3 have the strengths 3 m, 2 m, m with these m."""
    narrow: Annotated[tuple[int, ...], Range(1, 1000)] = (4, 1)
    """Numbers of hidden units of narrow students, that learn from the middle of the strengths."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 4
    """Networks of each kind."""
    learning_rate: Annotated[float, Range(1e-5, 1.0, log=True)] = 0.002
    """Of full-batch gradient descent."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 4000
    """Steps of training."""

    def teachers(self) -> list[dict[str, Any]]:
        """Return label, singular values and hidden units of every condition."""
        kinds = [(f"{s:g}", [s], self.n_hidden) for s in self.strengths]
        kinds += [
            (f"{3 * m:g}, {2 * m:g}, {m:g}", [3 * m, 2 * m, m], self.n_hidden)
            for m in self.rank_three
        ]
        middle = self.strengths[len(self.strengths) // 2]
        kinds += [(f"{middle:g}, N2 = {n}", [middle], n) for n in self.narrow]
        return [{"label": a, "snr": b, "n_hidden": c} for a, b, c in kinds]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [{**kind, **self._settings(run.seed)} for kind in self.teachers()]
        return xr.concat(run.map(train_teacher, points), "teacher")

    def _settings(self, seed: int) -> dict[str, Any]:
        return {
            "n_in": self.n_in,
            "n_out": self.n_out,
            "init_strength": self.init_strength,
            "n_seeds": self.n_seeds,
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "depth": 2,
            "seed": seed,
        }

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        t = np.linspace(0.0, self.learning_rate * self.steps, 300)
        return teacher_theory(
            self.teachers(),
            t,
            n_in=self.n_in,
            n_out=self.n_out,
            init_strength=self.init_strength,
            depth=2,
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        strength = np.array([kind["snr"][0] for kind in self.teachers()])
        full = np.array([kind["n_hidden"] == self.n_hidden for kind in self.teachers()])
        weakest = np.array([min(kind["snr"]) for kind in self.teachers()])
        # Finite matrices are biased below 1.5 times the threshold.
        far = weakest >= 1.5 * (self.n_out / self.n_in) ** 0.25
        clear, weak = strength >= 2, strength < (self.n_out / self.n_in) ** 0.25
        best = measured.best_test.mean("seed")
        aligned, orthogonal = best.sel(start="aligned"), best.sel(start="orthogonal")
        error = abs(aligned - theory.test_opt)
        excess = (error - np.maximum(0.02, 0.15 * theory.test_opt)).values[clear].max()
        yield Check(
            "best error, aligned: beyond max(0.02, 15 %) of theory",
            excess,
            0.0,
            kind="at_most",
            source=SOURCE,
        )
        error = abs(orthogonal - theory.test_opt).values[clear].max()
        yield Check(
            "best error, random start: off theory", error, 0.03, kind="at_most", source=SOURCE
        )
        lag = measured.best_t.mean("seed")
        lag = (lag.sel(start="orthogonal") / lag.sel(start="aligned") - 1).values[clear & full]
        yield Check(
            "lag of the random start, least", lag.min(), 0.0, kind="at_least", source=SOURCE
        )
        yield Check("lag of the random start, most", lag.max(), 0.4, kind="at_most", source=SOURCE)
        if weak.any():
            helped = 1 - float(best.values[weak].min())
            yield Check(
                "an unlearnable teacher: improvement", helped, 0.12, kind="at_most", source=SOURCE
            )
        t = theory.t.values
        train = measured.train.sel(start="aligned").mean("seed")
        off = max(
            abs(train[i] - np.interp(measured.t.values, t, theory.train[i])).max().item()
            for i in range(len(strength))
        )
        yield Check("train error: largest deviation", off, 0.05, kind="at_most", source=SOURCE)
        late = abs(measured.final_test.sel(start="aligned").mean("seed") / theory.at_end - 1)
        yield Check(
            "final error at full width: relative deviation",
            late.values[far & full].max(),
            0.08,
            kind="at_most",
            source=SOURCE,
        )
        middle = self.strengths[len(self.strengths) // 2]
        same = [i for i, kind in enumerate(self.teachers()) if kind["snr"] == [middle]]
        spread = aligned.values[same].max() - aligned.values[same].min()
        yield Check(
            "best error: range over student widths", spread, 0.01, kind="at_most", source=SOURCE
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        best, at = measured.best_test.mean("seed"), measured.best_t.mean("seed")
        rows = []
        for i, kind in enumerate(self.teachers()):
            a, b = best[i].values, at[i].values
            rows.append(
                (
                    kind["label"],
                    *(f"{float(v):.4f}" for v in (theory.test_opt[i], *a)),
                    *(f"{float(v):.2f}" for v in (theory.t_opt[i], *b)),
                    f"{float(theory.test_shrinkage[i]):.4f}",
                )
            )
        first = self.strengths[-1]
        yield (
            f"A teacher {first:g} times stronger than the noise is best at t = "
            f"{float(theory.t_opt[len(self.strengths) - 1]):.2f}; trained networks reach their "
            f"best error {float(best[len(self.strengths) - 1, 0]):.4f} there, and lose it again."
        )
        yield Table(
            "Smallest test error, and when",
            (
                "teacher",
                "error, theory",
                "aligned start",
                "random start",
                "time, theory",
                "aligned",
                "random",
                "optimal shrinkage",
            ),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return {"errors": draw_teachers(self.teachers(), theory, measured)}

    def cost(self, run: Run) -> Cost:
        return training_cost(
            self._settings(run.seed), len(self.teachers()), self.n_hidden, self.strengths[-1]
        )


def training_cost(settings: dict[str, Any], n_teachers: int, n_hidden: int, s: float) -> Cost:
    """Time a few steps and return what the whole study costs."""
    import time

    few = {**settings, "steps": 20, "snr": [s], "n_hidden": n_hidden, "label": "cost"}
    train_teacher(**{**few, "steps": 2})  # pays for the imports
    started = time.perf_counter()
    train_teacher(**few)
    seconds = (time.perf_counter() - started) / 20 * settings["steps"] * n_teachers
    n1, n3, depth = settings["n_in"], settings["n_out"], settings["depth"]
    per_step = 6.0 * (n1 * n3 * n_hidden + (depth - 2) * n_hidden**2 * n1)
    students = 2 * settings["n_seeds"] * n_teachers
    memory = 8.0 * settings["n_seeds"] * 6 * (n1 + n3) * n_hidden
    return Cost(students * settings["steps"] * per_step, memory, seconds)


def train_teacher(
    label: str,
    snr: list[float],
    n_hidden: int,
    n_in: int,
    n_out: int,
    init_strength: float,
    n_seeds: int,
    learning_rate: float,
    steps: int,
    depth: int,
    seed: int,
) -> xr.Dataset:
    """Train students of one teacher from both starts; all seeds in one pass."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.linear import noisy_task, train_students

    tasks = [
        noisy_task(snr, n_in=n_in, n_out=n_out, seed=derive(seed, "task", str(snr), i))
        for i in range(n_seeds)
    ]
    data, teachers = np.stack([a.cov_yx for a in tasks]), np.stack([a.teacher for a in tasks])
    curves = [
        train_students(
            data,
            teachers,
            learning_rate=learning_rate,
            steps=steps,
            n_hidden=n_hidden,
            depth=depth,
            start=start,  # type: ignore[arg-type]  # one of STARTS
            init_strength=init_strength,
            n_records=min(steps + 1, 4000),  # deep networks pass their best error quickly
            seed=derive(seed, "start", label),
            progress=False,
        )
        for start in STARTS
    ]
    kept = np.unique(np.linspace(0, len(curves[0].t) - 1, 200).round().astype(int))
    both, each = ("start", "seed", "t"), ("start", "seed")
    return xr.Dataset(
        {
            "train": (both, np.stack([c.train[:, kept] for c in curves]), {"units": "1"}),
            "test": (both, np.stack([c.test[:, kept] for c in curves]), {"units": "1"}),
            "best_t": (each, np.stack([c.best_t for c in curves]), {"units": "tau"}),
            "best_test": (each, np.stack([c.best_test for c in curves]), {"units": "1"}),
            "final_test": (each, np.stack([c.test[:, -1] for c in curves]), {"units": "1"}),
        },
        coords={"t": curves[0].t[kept], "start": list(STARTS)},
    )


def teacher_theory(
    kinds: list[dict[str, Any]],
    t: np.ndarray,
    *,
    n_in: int,
    n_out: int,
    init_strength: float,
    depth: int,
) -> xr.Dataset:
    """Return the generalization curves of all teachers."""
    import xarray as xr

    from tractable.linear import generalization_curve

    curves = [
        generalization_curve(
            kind["snr"],
            n_out / n_in,
            t,
            n_in=n_in,
            n_hidden=kind["n_hidden"],
            depth=depth,
            init_strength=init_strength,
        )
        for kind in kinds
    ]
    line = ("teacher", "t")
    numbers = {"t_opt": "tau", "test_opt": "1", "test_shrinkage": "1"}
    return xr.Dataset(
        {
            "train": (line, np.stack([c.train for c in curves]), {"units": "1"}),
            "test": (line, np.stack([c.test for c in curves]), {"units": "1"}),
            "at_end": ("teacher", np.array([c.test[-1] for c in curves]), {"units": "1"}),
            **{
                name: ("teacher", np.array([getattr(c, name) for c in curves]), {"units": unit})
                for name, unit in numbers.items()
            },
        },
        coords={"t": t},
    )


def draw_teachers(kinds: list[dict[str, Any]], theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw one panel for each teacher: train and test, theory and trained, both starts."""
    from tractable import plot
    from tractable.linear.plots import plot_errors

    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    figure, axes = plot.new(
        rows, columns, size=(3.4 * columns, 2.7 * rows), squeeze=False, sharex=True
    )
    for i, ax in enumerate(axes.flat):
        if i >= len(kinds):
            ax.set_axis_off()
            continue
        aligned = measured.isel(teacher=i).sel(start="aligned")
        plot_errors(
            theory.t,
            theory.test[i],
            train=theory.train[i],
            t_opt=float(theory.t_opt[i]),
            shrinkage=float(theory.test_shrinkage[i]),
            t_measured=measured.t,
            test_measured=aligned.test,
            train_measured=aligned.train,
            n_markers=18,
            ylabel="error",
            ax=ax,
        )
        random = measured.isel(teacher=i).sel(start="orthogonal").test.mean("seed")
        at = np.unique(np.linspace(0, len(random) - 1, 18).round().astype(int))
        plot.measurement(
            ax,
            measured.t[at],
            random[at],
            color="#D55E00",
            mfc="white",
            ms=3.5,
            label="trained from a random start, test",
        )
        ax.set_title(f"teacher {kinds[i]['label']}", fontsize=9)
        ax.get_legend().remove()
        if i // columns < rows - 1 and i + columns < len(kinds):
            ax.set_xlabel("")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    labels = ["best time, theory" if "stop" in label else label for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.set_label(
        "Train and test error in time of networks that learn from noisy targets, one panel for "
        "each teacher (its strengths in units of the noise): lines are theory, filled markers "
        "start aligned, hollow ones at random; mean and standard deviation over seeds. The random "
        "start follows with a lag."
    )
    return figure
