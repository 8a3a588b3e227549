"""Structured targets against the same targets with their entries shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, randomized labels"
LATE = 0.1  # train error of the late phase


@dataclass(frozen=True)
class LinearRandomized(Study):
    """Structure is learned before noise: shuffled targets take longer, until the end."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"n_in": 40, "n_out": 20, "n_seeds": 2, "learning_rate": 0.02, "steps": 400},
        "paper": {"n_seeds": 10, "learning_rate": 0.001, "steps": 10_000},
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs N1."""
    n_out: Annotated[int, Range(2, 2000, log=True)] = 50
    """Outputs N3."""
    strengths: Annotated[tuple[float, ...], Range(0.0, 100.0)] = (6.0, 4.0, 2.0)
    """Strengths of the teacher, in units of the noise."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 6
    """Networks of each kind."""
    learning_rate: Annotated[float, Range(1e-5, 1.0, log=True)] = 0.002
    """Of full-batch gradient descent."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 5000
    """Steps of training."""

    @property
    def sigma_random(self) -> float:
        """Noise of the shuffled task, in units of that of the structured one."""
        return float(np.sqrt(1 + np.sum(np.square(self.strengths)) / self.n_out))

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive
        from tractable.linear import noisy_task, permute_examples, shuffle_entries, train_students

        data: dict[str, list[np.ndarray]] = {"structured": [], "shuffled": [], "permuted": []}
        teachers = []
        for i in range(self.n_seeds):
            task = noisy_task(
                self.strengths, n_in=self.n_in, n_out=self.n_out, seed=derive(run.seed, "task", i)
            )
            teachers.append(task.teacher)
            key = derive(run.seed, "shuffle", i)
            for name, Y in (
                ("structured", task.Y),
                ("shuffled", shuffle_entries(task.Y, key)),
                ("permuted", permute_examples(task.Y, key)),
            ):
                data[name].append(np.asarray(Y).T @ task.X)
        spectra = {
            name: np.stack([np.linalg.svd(S, compute_uv=False) for S in rows])
            for name, rows in data.items()
        }
        both = np.stack(data["structured"] + data["shuffled"])
        curves = train_students(
            both,
            np.stack(teachers * 2),
            learning_rate=self.learning_rate,
            steps=self.steps,
            init_strength=self.init_strength,
            n_records=500,
            progress=run.show_progress,
        )
        train = curves.train.reshape(2, self.n_seeds, -1)
        return xr.Dataset(
            {
                "train": (("kind", "seed", "t"), train, {"units": "1"}),
                "s_data": (
                    ("spectrum", "seed", "mode"),
                    np.stack(list(spectra.values())),
                    {"units": "sigma"},
                ),
            },
            coords={"kind": ["structured", "shuffled"], "spectrum": list(spectra), "t": curves.t},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import bulk_average, bulk_edges, deep_strength, generalization_curve

        aspect, sigma = self.n_out / self.n_in, self.sigma_random
        t = np.linspace(0, self.learning_rate * self.steps, 600)
        structured = generalization_curve(
            self.strengths, aspect, t, n_in=self.n_in, init_strength=self.init_strength
        )

        def left(x: np.ndarray) -> np.ndarray:
            s = sigma * x
            learned = deep_strength(s[:, None], t, self.init_strength, 2)
            return (s - learned.T) ** 2

        energy = sigma**2 * float(bulk_average(lambda x: x**2, aspect))
        shuffled = bulk_average(left, aspect) / energy
        return xr.Dataset(
            {
                "train": (
                    ("kind", "t"),
                    np.stack([structured.train, shuffled]),
                    {"units": "1"},
                ),
                "edges": (
                    "side",
                    np.array(bulk_edges(aspect, sigma)),
                    {"units": "sigma"},
                ),
            },
            coords={"kind": ["structured", "shuffled"], "t": t},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        s = measured.s_data.mean("seed")
        top, bottom = (float(s.sel(spectrum="shuffled")[i]) for i in (0, -1))
        for name, value, edge in (("largest", top, 1), ("smallest", bottom, 0)):
            yield Check(
                f"{name} singular value of shuffled targets",
                value,
                float(theory.edges[edge]),
                rtol=0.05,
                source=SOURCE,
            )
        half = passage(measured, 0.5)
        yield Check(
            "time to train error 0.5, shuffled over structured",
            half[1] / half[0],
            1.5,
            kind="at_least",
            source=SOURCE,
        )
        late = passage(measured, LATE)
        yield Check(
            f"time to train error {LATE}, shuffled over structured: the order reverses",
            late[1] / late[0],
            1.0,
            kind="at_most",
            source=SOURCE,
        )
        exact = measured.s_data.sel(spectrum="structured") - measured.s_data.sel(
            spectrum="permuted"
        )
        yield Check(
            "change of the spectrum when whole examples are permuted",
            abs(exact).max(),
            1e-10,
            kind="at_most",
            source="exact: a permutation of orthonormal inputs is orthogonal",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        half, late = passage(measured, 0.5), passage(measured, LATE)
        expected = passage(theory, 0.5), passage(theory, LATE)
        yield (
            f"Structured targets are half learned {half[1] / half[0]:.1f} times sooner than the "
            f"same targets with shuffled entries: each of their signals is stronger than all noise."
        )
        yield (
            "Handing whole targets to other examples, the usual shuffle of labels, changes nothing "
            "with orthonormal inputs: shuffle the entries."
        )
        yield Table(
            "Time to a train error, theory / measured",
            ("train error", "structured", "shuffled"),
            tuple(
                (
                    f"{level:g}",
                    f"{a[0]:.2f} / {b[0]:.2f}",
                    f"{a[1]:.2f} / {b[1]:.2f}",
                )
                for level, a, b in ((0.5, expected[0], half), (LATE, expected[1], late))
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_singular_values

        figure, (left, right) = plot.new(1, 2, size=(9.2, 3.6))
        for i, (kind, color) in enumerate((("structured", "#0072B2"), ("shuffled", "#D55E00"))):
            plot.theory(left, theory.t, theory.train[i], color=color, label=f"{kind}, theory")
            at = slice(0, None, max(1, measured.sizes["t"] // 25))
            rows = measured.train[i]
            plot.measurement(
                left,
                measured.t[at],
                rows.mean("seed")[at],
                error=rows.std("seed", ddof=1)[at],
                color=color,
                ms=3.5,
                label=f"{kind}, trained",
            )
        left.set(xlabel="time t (steps × learning rate)", ylabel="train error")
        left.legend()
        plot_singular_values(
            measured.s_data.sel(spectrum="shuffled").values,
            self.n_out / self.n_in,
            sigma=self.sigma_random,
            n_bins=24,
            ax=right,
        )
        right.legend(fontsize=7)
        figure.set_label(
            "Left: train error of structured targets and of the same with shuffled entries; "
            "structure is learned first, its noise last. Right: singular values of the shuffled "
            "targets, pure noise."
        )
        return {"randomized": figure}

    def cost(self, run: Run) -> Cost:
        import time

        from tractable.linear import train_students

        data = np.ones((2 * self.n_seeds, self.n_out, self.n_in))
        settings = {"learning_rate": 1e-9, "progress": False}
        train_students(data, data, steps=1, **settings)  # type: ignore[arg-type]  # plain numbers
        started = time.perf_counter()
        train_students(data, data, steps=20, **settings)  # type: ignore[arg-type]  # as above
        seconds = (time.perf_counter() - started) / 20 * self.steps
        size = self.n_in * self.n_out * min(self.n_in, self.n_out)
        students = 2 * self.n_seeds
        return Cost(6.0 * students * self.steps * size, 64.0 * students * self.n_in**2, seconds)


def passage(curves: xr.Dataset, level: float) -> tuple[float, float]:
    """Return when the mean train error of both kinds first falls to a level; infinity if never."""
    times = []
    for kind in ("structured", "shuffled"):
        values = curves.train.sel(kind=kind)
        values = values.mean("seed") if "seed" in values.dims else values
        below = np.flatnonzero(values.values <= level)
        times.append(float(curves.t[below[0]]) if below.size and below[0] > 0 else np.inf)
    return times[0], times[1]
