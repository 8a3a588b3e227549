"""Optimal shrinkage against gradient descent that stops at the best possible time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, non-gradient training; Gavish, Donoho 2017"
SIZES = ((0.5, (6.0, 4.0, 2.0)), (1.0, (8.0, 4.0, 1.5)))


@dataclass(frozen=True)
class LinearShrinkage(Study):
    """No stopping time serves all modes: optimal shrinkage beats gradient descent."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"n_in": 60, "n_draws": 3},
        "paper": {"n_in": 1000, "n_draws": 100},
    }

    n_in: Annotated[int, Range(20, 5000, log=True)] = 200
    """Inputs N1."""
    n_draws: Annotated[int, Range(3, 1000, log=True)] = 10
    """Noisy tasks of each kind."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-5
    """Initial strength of each mode, for gradient descent."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "aspect": aspect,
                "snr": list(snr),
                "n_in": self.n_in,
                "n_draws": self.n_draws,
                "init_strength": self.init_strength,
                "seed": run.seed,
            }
            for aspect, snr in SIZES
        ]
        return xr.concat(run.map(compete, points), "aspect")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import generalization_curve

        curves = [
            generalization_curve(
                snr, aspect, [0.0], n_in=self.n_in, init_strength=self.init_strength
            )
            for aspect, snr in SIZES
        ]
        return xr.Dataset(
            {
                "shrinkage": (
                    "aspect",
                    np.array([c.test_shrinkage for c in curves]),
                    {"units": "1"},
                ),
                "stopped": ("aspect", np.array([c.test_opt for c in curves]), {"units": "1"}),
            },
            coords={"aspect": [aspect for aspect, _ in SIZES]},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        for i, (aspect, snr) in enumerate(SIZES):
            case = f"A = {aspect:g}, teacher {', '.join(f'{s:g}' for s in snr)}"
            won = float((measured.shrinkage[i] < measured.stopped[i]).mean())
            yield Check(
                f"draws won by shrinkage ({case})", won, 0.9, kind="at_least", source=SOURCE
            )
            for name, label in (("shrinkage", "shrinkage"), ("stopped", "best-stopped descent")):
                error = float(measured[name][i].mean())
                yield Check(
                    f"mean error of {label} ({case})",
                    error,
                    float(theory[name][i]),
                    rtol=0.1,
                    source=SOURCE,
                )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        gain = float(1 - (measured.shrinkage.mean() / measured.stopped.mean()))
        yield (
            f"Optimal shrinkage has a test error {100 * gain:.0f} % below that of gradient descent "
            f"stopped at the best time, which only an oracle knows."
        )
        yield Table(
            "Test error, mean over draws",
            (
                "case",
                "shrinkage",
                "theory",
                "best-stopped",
                "theory",
                "draws won",
                "ranks detected",
            ),
            tuple(
                (
                    f"A = {aspect:g}, teacher {', '.join(f'{s:g}' for s in snr)}",
                    f"{float(measured.shrinkage[i].mean()):.4f}",
                    f"{float(theory.shrinkage[i]):.4f}",
                    f"{float(measured.stopped[i].mean()):.4f}",
                    f"{float(theory.stopped[i]):.4f}",
                    f"{int((measured.shrinkage[i] < measured.stopped[i]).sum())} of {self.n_draws}",
                    f"{int(measured['rank'][i].min())} to {int(measured['rank'][i].max())}",
                )
                for i, (aspect, snr) in enumerate(SIZES)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, len(SIZES), size=(8.6, 3.6))
        for i, (ax, (aspect, snr)) in enumerate(zip(axes, SIZES, strict=True)):
            stopped, shrinkage = measured.stopped[i].values, measured.shrinkage[i].values
            ends = np.array([0.9, 1.1]) * [
                min(stopped.min(), shrinkage.min()),
                max(stopped.max(), shrinkage.max()),
            ]
            ax.plot(ends, ends, color="#7F7F7F", lw=1, ls=":", label="equal")
            plot.measurement(ax, stopped, shrinkage, ms=4, label="one noisy task each")
            at = float(theory.stopped[i]), float(theory.shrinkage[i])
            ax.axvline(at[0], color="#D55E00", lw=1.2, label="theory")
            ax.axhline(at[1], color="#D55E00", lw=1.2)
            ax.set(
                xlabel="error of best-stopped descent",
                ylabel="error of optimal shrinkage",
                title=f"A = {aspect:g}, teacher {', '.join(f'{s:g}' for s in snr)}",
                aspect="equal",
                xlim=ends,
                ylim=ends,
            )
        axes[0].legend()
        figure.set_label(
            "Test error of optimal shrinkage against that of gradient descent stopped at its best "
            "time: every task lies below the diagonal. Lines: theory."
        )
        return {"shrinkage": figure}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        compete(1.0, [4.0], self.n_in, 1, self.init_strength, run.seed)
        seconds = time.perf_counter() - started
        n = len(SIZES) * self.n_draws
        return Cost(n * 40.0 * self.n_in**3, 80.0 * self.n_in**2, n * seconds)


def compete(
    aspect: float, snr: list[float], n_in: int, n_draws: int, init_strength: float, seed: int
) -> xr.Dataset:
    """Return the errors of shrinkage and of the best-stopped aligned student on the same tasks."""
    import xarray as xr

    from tractable.core.seeds import derive
    from tractable.linear import generalization_curve, noisy_task, optimal_shrinkage
    from tractable.studies.linear._aligned import aligned_errors

    curve = generalization_curve(snr, aspect, [0.0], n_in=n_in, init_strength=init_strength)
    t = np.linspace(0.0, 2 * curve.t_opt, 600)
    shrunk, stopped, ranks = [], [], []
    for draw in range(n_draws):
        task = noisy_task(
            snr, n_in=n_in, n_out=round(aspect * n_in), seed=derive(seed, "shrink", aspect, draw)
        )
        info = optimal_shrinkage(task.cov_yx)
        power = (task.teacher**2).sum()
        shrunk.append(((info.estimate - task.teacher) ** 2).sum() / power)
        ranks.append(info.rank)
        error = aligned_errors(task.cov_yx, task.teacher, t, init_strength=init_strength)
        stopped.append(error.min())
    return xr.Dataset(
        {
            "shrinkage": ("draw", np.array(shrunk), {"units": "1"}),
            "stopped": ("draw", np.array(stopped), {"units": "1"}),
            "rank": ("draw", np.array(ranks), {"units": "1"}),
        },
        coords={"aspect": aspect},
    )
