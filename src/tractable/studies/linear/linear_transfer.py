"""When does learning another task help? The benefit of transfer, in theory and on noisy tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, Fig. 5"


@dataclass(frozen=True)
class LinearTransfer(Study):
    """Will task B help task A? The benefit of transfer against overlap and strength."""

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
            "strengths_a": (3.0,),
            "strengths_b": (3.0, 10.0),
            "overlaps": (0.0, 1.0),
            "n_seeds": 2,
        },
        "paper": {
            "strengths_a": (0.84, 3.0, 10.0, 30.0, 100.0),
            "strengths_b": (0.84, 3.0, 10.0, 30.0, 100.0),
            "overlaps": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            "n_seeds": 30,
        },
        "explore": {"n_map": 6, "strengths_a": (0.84, 3.0)},
    }

    n_in: Annotated[int, Range(4, 2000, log=True)] = 100
    """Inputs N1, an even number."""
    n_out: Annotated[int, Range(2, 2000, log=True)] = 50
    """Outputs N3 of each task."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 50
    """Hidden units N2."""
    strengths_a: Annotated[tuple[float, ...], Range(0.01, 1000.0)] = (0.84, 3.0, 100.0)
    """Strengths of task A, in units of the noise."""
    strengths_b: Annotated[tuple[float, ...], Range(0.01, 1000.0)] = (0.84, 3.0, 10.0)
    """Strengths of task B."""
    overlaps: Annotated[tuple[float, ...], Range(0.0, 1.0)] = (0.0, 0.5, 0.8, 0.9, 1.0)
    """Overlaps q of the input vectors of both tasks."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode."""
    n_seeds: Annotated[int, Range(2, 1000, log=True)] = 24
    """Noisy pairs of tasks of each kind."""
    n_map: Annotated[int, Range(3, 300)] = 30
    """Strengths of B in the map of the benefit, and three quarters of its overlaps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_in % 2:
            raise ValueError(f"n_in must be even (the rotation turns planes), got {self.n_in}")

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "s_a": a,
                "s_b": b,
                "overlaps": list(self.overlaps),
                "n_in": self.n_in,
                "n_out": self.n_out,
                "n_hidden": self.n_hidden,
                "init_strength": self.init_strength,
                "n_seeds": self.n_seeds,
                "seed": run.seed,
            }
            for a in self.strengths_a
            for b in self.strengths_b
        ]
        found = run.map(measure_transfer, points)
        n = len(self.strengths_b)
        rows = [xr.concat(found[i : i + n], "s_b") for i in range(0, len(found), n)]
        return xr.concat(rows, "s_a")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import transfer_benefit, transfer_threshold

        settings: dict[str, Any] = {"n_in": self.n_in, "n_hidden": self.n_hidden}
        aspect, eps = self.n_out / self.n_in, self.init_strength
        fine = np.union1d(np.linspace(0, 1, 21), self.overlaps)

        def value(a: float, b: float, q: float) -> float:
            return transfer_benefit(a, b, float(q), aspect, init_strength=eps, **settings).benefit

        grid = [
            [[value(a, b, q) for q in fine] for b in self.strengths_b] for a in self.strengths_a
        ]
        threshold = [
            [
                min(transfer_threshold(a, b, aspect, init_strength=eps, **settings), 2.0)
                for b in self.strengths_b
            ]
            for a in self.strengths_a
        ]
        map_b = np.geomspace(0.3, 30, self.n_map)
        map_q = np.linspace(0, 1, 4 * self.n_map // 3 + 1)
        shown = self.strengths_a[len(self.strengths_a) // 2]
        chart = [[value(shown, b, q) for q in map_q] for b in map_b]
        return xr.Dataset(
            {
                "benefit": (("s_a", "s_b", "q"), np.array(grid), {"units": "1"}),
                "threshold": (
                    ("s_a", "s_b"),
                    np.array(threshold),
                    {"units": "1", "note": "overlap above which B helps; 2: never"},
                ),
                "chart": (("map_b", "map_q"), np.array(chart), {"units": "1"}),
            },
            coords={
                "q": fine,
                "s_a": list(self.strengths_a),
                "s_b": list(self.strengths_b),
                "map_b": map_b,
                "map_q": map_q,
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.benefit.mean("seed")
        error = abs(mean - theory.benefit.sel(q=measured.q))
        clear = error.s_a >= 3
        if bool(clear.any()):
            yield Check(
                "benefit for s_A >= 3: largest deviation from theory",
                error.where(clear).max(),
                0.03,
                kind="at_most",
                source=SOURCE,
            )
        if not bool(clear.all()):
            yield Check(
                "benefit for weaker A: largest deviation from theory",
                error.where(~clear).max(),
                0.06,
                kind="at_most",
                source=SOURCE,
            )
        # Where theory is clearly of one sign, so is the measurement.
        expected = theory.benefit.sel(q=measured.q)
        clear = abs(expected) > 0.03
        wrong = int(((np.sign(mean) != np.sign(expected)) & clear).sum())
        yield Check("signs that differ where theory is beyond 0.03", wrong, 0, source=SOURCE)
        n_clear = int(clear.sum())
        yield Check(
            "conditions in which theory is beyond 0.03", n_clear, 1, kind="at_least", source=SOURCE
        )
        strong = [a for a in self.strengths_a if a >= 100]
        if strong:
            largest = abs(mean.sel(s_a=strong)).max()
            yield Check(
                "benefit for a task without need (s_A = 100)",
                largest,
                2e-4,
                kind="at_most",
                source=SOURCE,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean = measured.benefit.mean("seed")
        weakest, best = self.strengths_a[0], float(mean[0].max())
        weak = (
            ", that cannot be learned alone," if weakest <= (self.n_out / self.n_in) ** 0.25 else ""
        )
        yield (
            f"A task of strength {weakest:g}{weak} gains up to {best:.2f} of its error from a "
            f"related task."
        )
        rows = []
        for i, a in enumerate(self.strengths_a):
            for j, b in enumerate(self.strengths_b):
                q = float(theory.threshold[i, j])
                rows.append(
                    (
                        f"{a:g}",
                        f"{b:g}",
                        "never" if q > 1 else f"{q:.3f}",
                        *(
                            f"{float(theory.benefit.sel(q=x)[i, j]):+.4f} / "
                            f"{float(mean.sel(q=x)[i, j]):+.4f}"
                            for x in self.overlaps
                        ),
                    )
                )
        yield Table(
            "Benefit for A, theory / measured",
            ("s_A", "s_B", "helps from q =", *(f"q = {q:g}" for q in self.overlaps)),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_transfer
        from tractable.linear.plots.spectrum_plots import COLORS

        n = len(self.strengths_a)
        figure, axes = plot.new(1, n, size=(3.5 * n + 0.5, 3.4), squeeze=False)
        root = np.sqrt(measured.sizes["seed"])
        for i, (ax, a) in enumerate(zip(axes[0], self.strengths_a, strict=True)):
            for j, b in enumerate(self.strengths_b):
                color = COLORS[j % len(COLORS)]
                plot.theory(ax, theory.q, theory.benefit[i, j], color=color, label=f"{b:g}")
                at = measured.benefit[i, j]
                plot.measurement(
                    ax,
                    measured.q,
                    at.mean("seed"),
                    error=at.std("seed", ddof=1) / root,
                    color=color,
                    ms=4,
                    label="_",
                )
            ax.axhline(0, color="#7F7F7F", lw=0.8)
            ax.set(xlabel="overlap q of the tasks", title=f"task A of strength {a:g}")
        axes[0, 0].set_ylabel("benefit T for task A")
        axes[0, 0].legend(title="strength of B")
        figure.set_label(
            f"Benefit for task A of learning task B with it: lines are theory, markers the mean "
            f"and standard error of {self.n_seeds} noisy pairs of tasks."
        )
        chart, ax = plot.new(size=(5.4, 3.8))
        plot_transfer(theory.map_q.values, theory.map_b.values, theory.chart.values, ax=ax)
        shown = self.strengths_a[n // 2]
        chart.set_label(
            f"Benefit for a task A of strength {shown:g} of learning task B with it, in theory: "
            "blue helps, red harms, black is no effect. A strong B helps only when it is almost "
            "the same task."
        )
        return {"benefit": figure, "map": chart}

    def cost(self, run: Run) -> Cost:
        import time

        sizes = (self.n_in, self.n_out, self.n_hidden, self.init_strength)
        measure_transfer(3.0, 3.0, [0.5], *sizes, 1, run.seed)
        started = time.perf_counter()
        measure_transfer(3.0, 3.0, [0.5], *sizes, 1, run.seed)
        seconds = time.perf_counter() - started
        n = len(self.strengths_a) * len(self.strengths_b) * len(self.overlaps) * self.n_seeds
        return Cost(n * 60.0 * self.n_in**2 * self.n_out, 64.0 * self.n_in**2, n * seconds)


def measure_transfer(
    s_a: float,
    s_b: float,
    overlaps: list[float],
    n_in: int,
    n_out: int,
    n_hidden: int,
    init_strength: float,
    n_seeds: int,
    seed: int,
) -> xr.Dataset:
    """Return the benefit on noisy pairs of tasks, by aligned students of their actual data."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.linear import aligned_tasks, transfer_benefit
    from tractable.studies.linear._aligned import aligned_errors

    benefit = np.zeros((len(overlaps), n_seeds))
    settings: dict[str, Any] = {"init_strength": init_strength, "n_hidden": n_hidden}
    for i, q in enumerate(overlaps):
        expected = transfer_benefit(
            s_a, s_b, q, n_out / n_in, n_in=n_in, n_hidden=n_hidden, init_strength=init_strength
        )
        latest = max(expected.t_alone, expected.t_joint, 20.0 / (1 + s_a))
        t = np.linspace(0.0, 1.5 * latest, 600)
        for draw in range(n_seeds):
            pair = aligned_tasks(
                s_a, s_b, q, n_in=n_in, n_out_a=n_out, seed=derive(seed, "pair", s_a, s_b, q, draw)
            )
            data = np.concatenate([pair.a.cov_yx, pair.b.cov_yx])
            teacher = np.concatenate([pair.a.teacher, pair.b.teacher])
            alone = aligned_errors(pair.a.cov_yx, pair.a.teacher, t, **settings)
            joint = aligned_errors(data, teacher, t, n_rows=n_out, **settings)
            benefit[i, draw] = alone.min() - joint.min()
    return xr.Dataset(
        {"benefit": (("q", "seed"), benefit, {"units": "1"})},
        coords={"q": overlaps, "s_a": s_a, "s_b": s_b},
    )
