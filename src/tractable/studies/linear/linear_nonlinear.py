"""Does early stopping work the same way in nonlinear networks? A qualitative comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, nonlinear networks (qualitative)"


@dataclass(frozen=True)
class LinearNonlinear(Study):
    """Early stopping in nonlinear networks follows the linear theory, qualitatively."""

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
            "n_seeds": 2,
            "learning_rate": 0.01,
            "steps": 300,
        },
        "paper": {
            "strengths": (5.0, 10.0, 30.0),
            "n_seeds": 10,
            "learning_rate": 0.0001,
            "steps": 100_000,
        },
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs N1, and examples."""
    n_out: Annotated[int, Range(2, 2000, log=True)] = 50
    """Outputs N3."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 50
    """Units of each hidden layer."""
    depth: Annotated[int, Range(2, 10)] = 2
    """Number of weight matrices of the student; the teacher has 2."""
    slope: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Slope of the leaky rectifier for negative inputs."""
    strengths: Annotated[tuple[float, ...], Range(0.01, 1000.0)] = (10.0, 30.0)
    """Strengths of the teachers, in units of the noise, ascending."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of the product of all layers."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 4
    """Networks of each kind."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 0.002
    """Of full-batch gradient descent."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 4000
    """Steps of training."""

    @property
    def gain(self) -> float:
        """Linear part of the leaky rectifier: (1 + slope) / 2."""
        return (1 + self.slope) / 2

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [{"s": s, **self._settings(run.seed)} for s in self.strengths]
        return xr.concat(run.map(train_nonlinear, points), "s")

    def _settings(self, seed: int) -> dict[str, Any]:
        names = ("n_in", "n_out", "n_hidden", "depth", "slope", "init_strength", "n_seeds")
        chosen = {name: getattr(self, name) for name in names}
        return chosen | {"learning_rate": self.learning_rate, "steps": self.steps, "seed": seed}

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the curves of the linear network that each hidden layer's linear part makes."""
        import xarray as xr

        from tractable.linear import generalization_curve

        t = np.linspace(0, self.learning_rate * self.steps, 300)
        curves = [
            generalization_curve(
                [self.gain * s],
                self.n_out / self.n_in,
                t,
                n_in=self.n_in,
                n_hidden=self.n_hidden,
                depth=self.depth,
                init_strength=self.init_strength,
                tau=self.gain ** -(self.depth - 1),
            )
            for s in self.strengths
        ]
        return xr.Dataset(
            {
                "test": (("s", "t"), np.stack([c.test for c in curves]), {"units": "1"}),
                "t_opt": ("s", np.array([c.t_opt for c in curves]), {"units": "tau"}),
            },
            coords={"s": list(self.strengths), "t": t},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        test = measured.test.mean("seed")
        half = {"measured": half_times(test), "theory": half_times(theory.test)}
        for i, s in enumerate(self.strengths):
            best = int(test[i].argmin("t"))
            rise = measured.test[i, :, -1] - measured.test[i, :, best]
            error = float(rise.std("seed", ddof=1)) / np.sqrt(self.n_seeds)
            yield Check(
                f"rise of the test error after its least value, teacher {s:g}, in standard errors "
                f"(qualitative)",
                float(rise.mean()) / max(error, 1e-12),
                3.0,
                kind="at_least",
                source=SOURCE,
            )
            yield Check(
                f"log2 of the time to learn half, over that of the linear theory, teacher {s:g} "
                f"(qualitative)",
                np.log2(half["measured"][i] / max(half["theory"][i], 1e-12)),
                0.0,
                atol=1.0,
                source=SOURCE + "; within a factor of 2",
            )
        times = half["measured"]
        yield Check(
            "time to learn half, a stronger teacher over a weaker one (qualitative)",
            float((times[1:] / times[:-1]).max()) if len(times) > 1 else 0.0,
            0.9,
            kind="at_most",
            source=SOURCE,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        test = measured.test.mean("seed")
        best_t = measured.t.values[test.argmin("t").values]
        ours, linear = half_times(test), half_times(theory.test)
        yield (
            "Nonlinear networks learn signal first and noise later, and stronger signals sooner, "
            "as linear theory says; so there is a best time to stop. It comes later than in the "
            "linear network, because the bend of the rectifier is learned after the linear part."
        )
        yield Table(
            "Times of learning",
            (
                "teacher",
                "half learned, linear theory",
                "half learned, nonlinear",
                "best time, linear theory",
                "best time, nonlinear",
                "least error",
                "final error",
            ),
            tuple(
                (
                    f"{s:g}",
                    f"{linear[i]:.2f}",
                    f"{ours[i]:.2f}",
                    f"{float(theory.t_opt[i]):.2f}",
                    f"{best_t[i]:.2f}",
                    f"{float(test[i].min()):.3f}",
                    f"{float(test[i, -1]):.3f}",
                )
                for i, s in enumerate(self.strengths)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_errors

        n = len(self.strengths)
        figure, axes = plot.new(1, n, size=(4.4 * n, 3.6), squeeze=False)
        for i, (ax, s) in enumerate(zip(axes[0], self.strengths, strict=True)):
            plot_errors(
                theory.t,
                theory.test[i],
                t_opt=float(theory.t_opt[i]),
                t_measured=measured.t,
                test_measured=measured.test[i],
                train_measured=measured.train[i],
                ylabel="error",
                ax=ax,
            )
            ax.set_title(f"teacher {s:g} (qualitative)")
            labels = ax.get_legend_handles_labels()
            names = [label.replace("theory, test", "linear theory, test") for label in labels[1]]
            ax.legend(labels[0], names, fontsize=7)
        figure.set_label(
            "Train and test error of networks with leaky rectifiers (markers: mean and standard "
            "deviation over seeds), beside the test error of the linear network of the same mean "
            "slope (line). The comparison is qualitative."
        )
        return {"nonlinear": figure}

    def cost(self, run: Run) -> Cost:
        import time

        few = {**self._settings(run.seed), "s": self.strengths[0]}
        train_nonlinear(**{**few, "steps": 2})
        started = time.perf_counter()
        train_nonlinear(**{**few, "steps": 20})
        students = len(self.strengths) * self.n_seeds
        seconds = (time.perf_counter() - started) / 20 * self.steps * len(self.strengths)
        per_step = 6.0 * self.n_in * self.n_hidden * (self.n_in + self.n_out)
        memory = 80.0 * self.n_seeds * self.n_in**2
        return Cost(students * self.steps * per_step, memory, seconds)


def half_times(test: xr.DataArray) -> np.ndarray:
    """Return when each curve (s, t) has fallen halfway from its start to its least value."""
    level = (test.isel(t=0) + test.min("t")) / 2
    return np.asarray(test.t.values[(test <= level).argmax("t").values])


def train_nonlinear(
    s: float,
    n_in: int,
    n_out: int,
    n_hidden: int,
    depth: int,
    slope: float,
    init_strength: float,
    n_seeds: int,
    learning_rate: float,
    steps: int,
    seed: int,
) -> xr.Dataset:
    """Train nonlinear students of a nonlinear teacher of rank 1."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.studies.linear._nonlinear import teach, train_leaky

    tasks = []
    for i in range(n_seeds):
        random = np.random.default_rng(derive(seed, "nonlinear", s, i))
        U, V = (random.normal(size=(n, 1)) for n in (n_out, n_in))
        U, V = U / np.linalg.norm(U), V / np.linalg.norm(V)
        tasks.append(teach(U, np.array([s]), V, slope, random))
    t, train, test = train_leaky(
        tasks,
        n_hidden=n_hidden,
        depth=depth,
        slope=slope,
        learning_rate=learning_rate,
        steps=steps,
        init_strength=init_strength,
        seed=derive(seed, "start", s),
    )
    return xr.Dataset(
        {
            "train": (("seed", "t"), train, {"units": "1"}),
            "test": (("seed", "t"), test, {"units": "1"}),
        },
        coords={"t": t, "s": s},
    )
