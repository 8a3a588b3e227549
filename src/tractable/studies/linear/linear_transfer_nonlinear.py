"""Transfer between nonlinear networks: does the sign of the benefit follow the linear theory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, nonlinear transfer (qualitative)"
RANKS = (1.0, 0.75, 0.5, 0.25)  # strengths of the teachers' modes, relative


@dataclass(frozen=True)
class LinearTransferNonlinear(Study):
    """Nonlinear networks: unrelated tasks harm, related ones help, as in the linear theory."""

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
            "steps": 200,
        },
        "paper": {
            "overlaps": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
            "n_seeds": 10,
            "learning_rate": 0.0001,
            "steps": 50_000,
        },
    }

    n_in: Annotated[int, Range(8, 2000, log=True)] = 100
    """Inputs N1, and examples; an even number."""
    n_out: Annotated[int, Range(4, 2000, log=True)] = 50
    """Outputs N3 of each task."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 50
    """Hidden units N2."""
    slope: Annotated[float, Range(0.0, 1.0)] = 0.2
    """Slope of the leaky rectifier for negative inputs."""
    strength_a: Annotated[float, Range(0.01, 1000.0, log=True)] = 3.0
    """Strength of the strongest mode of task A; the others have 0.75, 0.5, 0.25 of it."""
    strength_b: Annotated[float, Range(0.01, 1000.0, log=True)] = 10.0
    """Strength of the strongest mode of task B."""
    overlaps: Annotated[tuple[float, ...], Range(0.0, 1.0)] = (0.0, 1.0)
    """Overlaps q of matched input vectors of both tasks."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of the product of all layers."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 8
    """Pairs of tasks of each kind."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 0.004
    """Of full-batch gradient descent."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 2000
    """Steps of training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_in % 2:
            raise ValueError(f"n_in must be even (the rotation turns planes), got {self.n_in}")

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [{"q": q, **self._settings(run.seed)} for q in self.overlaps]
        return xr.concat(run.map(nonlinear_benefit, points), "q")

    def _settings(self, seed: int) -> dict[str, Any]:
        names = ("n_in", "n_out", "n_hidden", "slope", "strength_a", "strength_b")
        more = ("init_strength", "n_seeds", "learning_rate", "steps")
        return {name: getattr(self, name) for name in names + more} | {"seed": seed}

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import transfer_benefit

        q = np.union1d(np.linspace(0, 1, 21), self.overlaps)
        gain, modes = (1 + self.slope) / 2, np.array(RANKS)
        benefit = [
            transfer_benefit(
                gain * self.strength_a * modes,
                gain * self.strength_b * modes,
                float(x),
                self.n_out / self.n_in,
                n_in=self.n_in,
                n_hidden=self.n_hidden,
                init_strength=self.init_strength,
            ).benefit
            for x in q
        ]
        return xr.Dataset({"benefit": ("q", np.array(benefit), {"units": "1"})}, coords={"q": q})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.benefit.mean("seed")
        # without seeds to compare there is no error of the mean
        error = measured.benefit.std("seed") / max(measured.sizes["seed"] - 1, 1) ** 0.5
        expected = theory.benefit.sel(q=measured.q)
        for q, kind, sign in ((0.0, "at_most", 1), (1.0, "at_least", -1)):
            if q in measured.q:
                yield Check(
                    f"benefit at q = {q:g}, nonlinear, to two standard errors (qualitative)",
                    float((mean + 2 * sign * error).sel(q=q)),
                    0.0,
                    kind=kind,  # type: ignore[arg-type]  # one of the kinds of a check
                    source=SOURCE,
                )
        agree = int((np.sign(mean) == np.sign(expected)).sum())
        yield Check(
            "overlaps at which the sign is that of the linear theory (qualitative)",
            agree,
            len(self.overlaps) if len(self.overlaps) <= 2 else len(self.overlaps) - 1,
            kind="at_least",
            source=SOURCE,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean = measured.benefit.mean("seed")
        error = measured.benefit.std("seed", ddof=1) / np.sqrt(self.n_seeds)
        low, high = float(mean[0]), float(mean[-1])
        yield (
            f"In networks with leaky rectifiers, learning an unrelated task changes the best error "
            f"of task A by {-low:+.3f}, learning the same inputs' task by {-high:+.3f}."
        )
        yield Table(
            "Benefit for task A",
            ("overlap q", "linear theory", "nonlinear networks", "standard error"),
            tuple(
                (
                    f"{float(q):g}",
                    f"{float(theory.benefit.sel(q=q)):+.4f}",
                    f"{float(mean[i]):+.4f}",
                    f"{float(error[i]):.4f}",
                )
                for i, q in enumerate(measured.q)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.6, 3.6))
        plot.theory(ax, theory.q, theory.benefit, label="linear theory")
        root = np.sqrt(self.n_seeds)
        plot.measurement(
            ax,
            measured.q,
            measured.benefit.mean("seed"),
            error=measured.benefit.std("seed", ddof=1) / root,
            label="nonlinear networks",
        )
        ax.axhline(0, color="#7F7F7F", lw=0.8)
        ax.set(xlabel="overlap q of the tasks", ylabel="benefit T for task A")
        ax.legend()
        figure.set_label(
            "Benefit for task A of learning task B with it, in networks with leaky rectifiers "
            "(mean and standard error over pairs of tasks), beside the linear theory of the same "
            "mean slope. The signs agree; the comparison is qualitative."
        )
        return {"benefit": figure}

    def cost(self, run: Run) -> Cost:
        import time

        few = {**self._settings(run.seed), "q": 0.0}
        nonlinear_benefit(**{**few, "steps": 2})
        started = time.perf_counter()
        nonlinear_benefit(**{**few, "steps": 20})
        seconds = (time.perf_counter() - started) / 20 * self.steps * len(self.overlaps)
        students = 2 * len(self.overlaps) * self.n_seeds
        per_step = 6.0 * self.n_in * self.n_hidden * (self.n_in + 1.5 * self.n_out)
        memory = 100.0 * self.n_seeds * self.n_in**2
        return Cost(students * self.steps * per_step, memory, seconds)


def nonlinear_benefit(
    q: float,
    n_in: int,
    n_out: int,
    n_hidden: int,
    slope: float,
    strength_a: float,
    strength_b: float,
    init_strength: float,
    n_seeds: int,
    learning_rate: float,
    steps: int,
    seed: int,
) -> xr.Dataset:
    """Return the benefit of learning B beside A, on nonlinear tasks of rank 4."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.linear import aligned_tasks
    from tractable.studies.linear._nonlinear import NonlinearTask, teach, train_leaky

    alone, joint = [], []
    modes = np.array(RANKS)
    for i in range(n_seeds):
        key = derive(seed, "pair", q, i)
        pair = aligned_tasks(
            strength_a * modes, strength_b * modes, q, n_in=n_in, n_out_a=n_out, seed=key
        )
        a, b = (
            teach(task.U, task.s_signal, task.V, slope, np.random.default_rng(key))
            for task in (pair.a, pair.b)
        )
        # Both see the same inputs (same seed); the noise of B must be its own.
        noise = np.random.default_rng(derive(key, "noise")).normal(size=b.Y.shape)
        own = b.Y - (a.Y - _clean(pair.a, a, slope)) + noise / np.sqrt(n_in)
        alone.append(a)
        joint.append(
            NonlinearTask(a.X, np.hstack([a.Y, own]), a.X_test, np.hstack([a.Y_test, b.Y_test]))
        )
    settings = {
        "n_hidden": n_hidden,
        "depth": 2,
        "slope": slope,
        "learning_rate": learning_rate,
        "steps": steps,
        "init_strength": init_strength,
        "seed": derive(seed, "start", q),
        "n_rows": n_out,
    }
    best = [train_leaky(tasks, **settings)[2].min(1) for tasks in (alone, joint)]  # type: ignore[arg-type]  # plain numbers
    return xr.Dataset({"benefit": ("seed", best[0] - best[1], {"units": "1"})}, coords={"q": q})


def _clean(task: Any, data: Any, slope: float) -> np.ndarray:
    from tractable.studies.linear._nonlinear import leaky

    return leaky(data.X @ task.V, slope) * task.s_signal @ task.U.T
