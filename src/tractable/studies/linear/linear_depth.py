"""Generalization in time of a network with four layers of weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.linear.linear_generalization import (
    draw_teachers,
    teacher_theory,
    train_teacher,
    training_cost,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, Fig. 4"


@dataclass(frozen=True)
class LinearDepth(Study):
    """Deeper is later, not better: generalization in time with four layers of weights."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {
            "n_in": 30,
            "n_out": 15,
            "n_hidden": 15,
            "depth": 3,
            "strengths": (4.0,),
            "n_seeds": 2,
            "steps": 400,
        },
        "paper": {"n_seeds": 10, "learning_rate": 0.0008, "steps": 150_000},
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs N1."""
    n_out: Annotated[int, Range(2, 2000, log=True)] = 50
    """Outputs N3."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 50
    """Units of each hidden layer."""
    depth: Annotated[int, Range(2, 20)] = 4
    """Number of weight matrices L."""
    strengths: Annotated[tuple[float, ...], Range(0.01, 100.0)] = (3.0, 5.0)
    """Strengths of teachers of rank 1, in units of the noise."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode of the product of all layers."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 4
    """Networks of each kind."""
    learning_rate: Annotated[float, Range(1e-5, 1.0, log=True)] = 0.02
    """Of full-batch gradient descent."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 6000
    """Steps of training."""

    def teachers(self) -> list[dict[str, Any]]:
        """Return label, singular values and hidden units of every condition."""
        return [{"label": f"{s:g}", "snr": [s], "n_hidden": self.n_hidden} for s in self.strengths]

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
            "depth": self.depth,
            "seed": seed,
        }

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        names = ("n_in", "n_out", "init_strength")
        sizes: dict[str, Any] = {name: getattr(self, name) for name in names}
        t = np.linspace(0.0, self.learning_rate * self.steps, 400)
        deep = teacher_theory(self.teachers(), t, depth=self.depth, **sizes)
        two = teacher_theory(self.teachers(), t, depth=2, **sizes)
        return deep.assign(t_two_layers=two.t_opt, test_two_layers=two.test_opt)

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        at = measured.best_t.mean("seed")
        aligned, random = at.sel(start="aligned"), at.sel(start="orthogonal")
        off = abs(aligned / theory.t_opt - 1).max()
        yield Check("best time, aligned: off theory", off, 0.08, kind="at_most", source=SOURCE)
        lag = random / aligned - 1
        yield Check(
            "lag of the random start, least", lag.min(), 0.15, kind="at_least", source=SOURCE
        )
        yield Check("lag of the random start, most", lag.max(), 0.8, kind="at_most", source=SOURCE)
        best = measured.best_test.mean("seed")
        for start in ("aligned", "orthogonal"):
            error = abs(best.sel(start=start) - theory.test_opt).max()
            name = "aligned" if start == "aligned" else "random start"
            yield Check(
                f"best error, {name}: off theory", error, 0.03, kind="at_most", source=SOURCE
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        later = float((theory.t_opt / theory.t_two_layers).mean())
        better = float(abs(theory.test_opt - theory.test_two_layers).max())
        yield (
            f"With {self.depth} layers of weights the best time to stop is {later:.1f} times later "
            f"than with 2; the best error is the same to {better:.1g}."
        )
        at, best = measured.best_t.mean("seed"), measured.best_test.mean("seed")
        yield Table(
            "Best time and error",
            (
                "teacher",
                "time, theory",
                "aligned start",
                "random start",
                "error, theory",
                "aligned",
                "random",
            ),
            tuple(
                (
                    kind["label"],
                    *(f"{float(v):.1f}" for v in (theory.t_opt[i], *at[i].values)),
                    *(f"{float(v):.4f}" for v in (theory.test_opt[i], *best[i].values)),
                )
                for i, kind in enumerate(self.teachers())
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return {"errors": draw_teachers(self.teachers(), theory, measured)}

    def cost(self, run: Run) -> Cost:
        return training_cost(
            self._settings(run.seed), len(self.strengths), self.n_hidden, self.strengths[-1]
        )
