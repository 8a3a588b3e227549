"""How many examples? Generalization against the number of examples, with a peak at P = N1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, supplement on the number of samples"
INPUTS = ("orthogonal", "gaussian")


@dataclass(frozen=True)
class LinearSamples(Study):
    """How many examples does it take? Best and final test error against their number."""

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
            "examples": (15, 30, 60),
            "strengths": (3.0,),
            "n_seeds": 2,
            "learning_rate": 0.03,
            "end": 8.0,
        },
        "paper": {
            "examples": (20, 40, 60, 80, 100, 120, 140, 160, 180, 200),
            "n_seeds": 20,
            "learning_rate": 0.002,
        },
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs, hidden units and outputs: N1 = N2 = N3."""
    examples: Annotated[tuple[int, ...], Range(2, 100_000)] = (50, 100, 200)
    """Numbers of examples P; one of them is N1."""
    strengths: Annotated[tuple[float, ...], Range(0.01, 100.0)] = (2.0, 3.0, 4.0)
    """Strengths of teachers of rank 1, in units of the noise."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 12
    """Networks of each kind."""
    learning_rate: Annotated[float, Range(1e-5, 1.0, log=True)] = 0.015
    """Of full-batch gradient descent on the summed error."""
    end: Annotated[float, Range(1.0, 1000.0, log=True)] = 12.0
    """Time at which training ends: steps times the learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_in not in self.examples:
            raise ValueError(
                f"examples must include n_in = {self.n_in}, where the peak is, got {self.examples}"
            )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        settings = self._settings(run.seed)
        points = [
            {"kind": kind, "s": s, "n_examples": p, **settings}
            for kind in INPUTS
            for s in self.strengths
            for p in self.examples
        ]
        found = iter(run.map(train_samples, points))
        return xr.concat(
            [
                xr.concat(
                    [xr.concat([next(found) for _ in self.examples], "p") for _ in self.strengths],
                    "s",
                )
                for _ in INPUTS
            ],
            "kind",
        ).assign_coords(p=list(self.examples), s=list(self.strengths), kind=list(INPUTS))

    def _settings(self, seed: int) -> dict[str, Any]:
        return {
            "n_in": self.n_in,
            "init_strength": self.init_strength,
            "n_seeds": self.n_seeds,
            "learning_rate": self.learning_rate,
            "steps": round(self.end / self.learning_rate),
            "seed": seed,
        }

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import generalization_curve

        low, high = 0.5 * min(self.examples), 1.1 * max(self.examples)
        p = np.union1d(np.geomspace(max(low, 2), high, 25).round(), self.examples).astype(int)
        t = np.array([0.0, self.end])
        curves = [
            [
                generalization_curve(
                    [s],
                    1.0,
                    t,
                    n_in=self.n_in,
                    density=n / self.n_in,
                    init_strength=self.init_strength,
                )
                for n in p
            ]
            for s in self.strengths
        ]
        best = np.array([[c.test_opt for c in row] for row in curves])
        final = np.array([[c.test[-1] for c in row] for row in curves])
        return xr.Dataset(
            {
                "best_test": (("s", "p"), best, {"units": "1"}),
                "final_test": (("s", "p"), final, {"units": "1"}),
            },
            coords={"s": list(self.strengths), "p": p},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.mean("seed")
        orthogonal, exact = mean.sel(kind="orthogonal"), theory.sel(p=mean.p)
        enough = mean.p >= 0.5 * self.n_in
        for name, label in (("best_test", "best"), ("final_test", "final")):
            off = abs(orthogonal[name] / exact[name] - 1).where(enough).max()
            yield Check(
                f"{label} error, orthogonal inputs: relative deviation from theory",
                float(off),
                0.1,
                kind="at_most",
                source=SOURCE,
            )
        for kind in INPUTS:
            steps = mean.best_test.sel(kind=kind).sortby("p").diff("p")
            yield Check(
                f"largest rise of the best error with more examples, {kind} inputs",
                float(steps.max()),
                0.0,
                kind="at_most",
                source=SOURCE,
            )
        peak = mean.final_test.sel(kind="orthogonal").idxmax("p")
        for s in self.strengths:
            yield Check(
                f"examples at which the final error peaks, teacher {s:g}",
                float(peak.sel(s=s)),
                self.n_in,
                source=SOURCE,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean = measured.mean("seed")
        p, s = max(self.examples), self.strengths[len(self.strengths) // 2]
        few, many = (float(theory.best_test.sel(s=s, p=n)) for n in (self.n_in, p))
        yield (
            f"With {p} examples instead of {self.n_in}, the best test error of a teacher of "
            f"strength {s:g} falls from {few:.3f} to {many:.3f}; more examples never hurt one who "
            f"stops in time. Without stopping, {self.n_in} examples are the worst."
        )
        yield Table(
            "Best test error: theory, and orthogonal / Gaussian inputs as trained",
            ("teacher", *(f"P = {n}" for n in self.examples)),
            tuple(
                (
                    f"{s:g}",
                    *(
                        f"{float(theory.best_test.sel(s=s, p=n)):.3f}, "
                        + " / ".join(
                            f"{float(mean.best_test.sel(s=s, p=n, kind=kind)):.3f}"
                            for kind in INPUTS
                        )
                        for n in self.examples
                    ),
                )
                for s in self.strengths
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots.spectrum_plots import COLORS

        figure, axes = plot.new(1, 2, size=(9.2, 3.6))
        root = np.sqrt(measured.sizes["seed"])
        titles = ("stopped in time", f"at the end (t = {self.end:g})")
        for ax, name, title in zip(axes, ("best_test", "final_test"), titles, strict=True):
            for i, s in enumerate(self.strengths):
                color = COLORS[i % len(COLORS)]
                plot.theory(
                    ax,
                    theory.p / self.n_in,
                    theory[name].sel(s=s),
                    color=color,
                    label=f"teacher {s:g}",
                )
                for kind in INPUTS:
                    at = measured[name].sel(s=s, kind=kind)
                    plot.measurement(
                        ax,
                        measured.p / self.n_in,
                        at.mean("seed"),
                        error=at.std("seed", ddof=1) / root,
                        color=color,
                        mfc=color if kind == "orthogonal" else "white",
                        ms=4,
                        label="_",
                    )
            ax.axvline(1.0, color="#7F7F7F", ls=":", lw=1)
            ax.set(
                xlabel="examples over inputs, P / N1",
                ylabel="test error",
                xscale="log",
                title=title,
            )
            ax.set_xticks(np.array(self.examples) / self.n_in)
            ax.set_xticklabels([f"{n / self.n_in:g}" for n in self.examples])
            ax.minorticks_off()
        axes[1].set_yscale("log")
        plot.measurement(axes[0], [], [], color="#7F7F7F", ms=4, label="orthogonal inputs")
        plot.measurement(
            axes[0], [], [], color="#7F7F7F", mfc="white", ms=4, label="Gaussian inputs"
        )
        axes[0].legend()
        figure.set_label(
            "Test error against the number of examples, when training stops in time (left) and at "
            "the end (right), where it peaks at P = N1. Lines are theory, for orthogonal inputs; "
            "Gaussian inputs (hollow) are not covered by it."
        )
        return {"samples": figure}

    def cost(self, run: Run) -> Cost:
        import time

        few = {**self._settings(run.seed), "kind": "gaussian", "s": 3.0, "n_examples": self.n_in}
        train_samples(**{**few, "steps": 2})
        started = time.perf_counter()
        train_samples(**{**few, "steps": 20})
        steps = self._settings(run.seed)["steps"]
        runs = len(INPUTS) * len(self.strengths) * len(self.examples)
        seconds = (time.perf_counter() - started) / 20 * steps * runs
        students = runs * self.n_seeds
        memory = 100.0 * self.n_seeds * self.n_in**2
        return Cost(students * steps * 8.0 * self.n_in**3, memory, seconds)


def train_samples(
    kind: str,
    s: float,
    n_examples: int,
    n_in: int,
    init_strength: float,
    n_seeds: int,
    learning_rate: float,
    steps: int,
    seed: int,
) -> xr.Dataset:
    """Train aligned students on P examples; return their best and final test errors."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.linear import noisy_task, train_students

    tasks = [
        noisy_task(
            s,
            n_in=n_in,
            n_out=n_in,
            n_examples=n_examples,
            inputs=kind,  # type: ignore[arg-type]  # one of INPUTS
            seed=derive(seed, "samples", kind, s, n_examples, i),
        )
        for i in range(n_seeds)
    ]
    curves = train_students(
        np.stack([task.cov_yx for task in tasks]),
        np.stack([task.teacher for task in tasks]),
        cov_x=np.stack([task.cov_x for task in tasks]),
        energy=np.array([np.sum(task.Y**2) for task in tasks]),
        learning_rate=learning_rate,
        steps=steps,
        init_strength=init_strength,
        progress=False,
    )
    return xr.Dataset(
        {
            "best_test": ("seed", curves.best_test, {"units": "1"}),
            "final_test": ("seed", curves.test[:, -1], {"units": "1"}),
        }
    )
