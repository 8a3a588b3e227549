"""Chains far past the length of training: what keeps them on the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.walkback import _plane as plane
from tractable.studies.walkback._learning import PAPER
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

# name: (variant of the operator, factor, steps of the ladder, cold steps trained)
SETTINGS = {
    "sees T, fixed noise": ("fixed", 1.25, 30, 4),
    "the same, 34 cold steps trained": ("fixed", 1.25, 30, 34),
    "the same, slow ladder": ("fixed", 1.12, 58, 4),
    "tied, fixed noise": ("tied_fixed", 1.25, 30, 4),
    "published form: tied, learned noise, doubling": ("tied", 2.0, 10, 4),
}
BASE = "sees T, fixed noise"


@dataclass(frozen=True)
class WalkbackLength(Study):
    """Continue a trained chain 10 and 100 times as long as it was trained."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_steps": 5, "n_hidden": 16, "n_test": 150, "longest": 20, "n_seeds": 1},
        "paper": {"n_steps": 100_000, "n_hidden": 4096, "n_seeds": 5, "longest": 10_000},
    }  # fmt: skip

    law: Literal["swiss", "ring", "grid"] = "swiss"
    """What is learned."""
    n_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 2500
    """Updates of the weights, each on 32 rows for every temperature."""
    n_hidden: Annotated[int, Range(2, 8192, log=True)] = 128
    """Units of each of three hidden layers."""
    sigma: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.05
    """Noise at temperature 1, or its start where it is learned."""
    longest: Annotated[int, Range(1, 1_000_000, log=True)] = 3400
    """Cold steps after the ladder: 100 times the trained path of 34 steps."""
    n_test: Annotated[int, Range(100, 100_000, log=True)] = 1000
    """Chains, and test points."""
    n_seeds: Annotated[int, Range(1, 20)] = 1
    """Independent trainings of each setting."""

    @property
    def extra(self) -> tuple[int, ...]:
        """Cold steps at which the chains are looked at."""
        wanted = (0, 10, 30, 100, 340, 1000, self.longest)
        return tuple(sorted({n for n in wanted if n <= self.longest}))

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        points = [
            {
                "name": self.law, "variant": variant, "seed": derive(run.seed, "length", i),
                "n_steps": self.n_steps, "n_hidden": self.n_hidden, "n_test": self.n_test,
                "sigma": self.sigma, "factor": factor, "n_heat": n_heat, "n_cold": n_cold,
                "extra": self.extra,
            }
            for variant, factor, n_heat, n_cold in SETTINGS.values()
            for i in range(self.n_seeds)
        ]  # fmt: skip
        found = run.map(plane.follow, points)
        groups = [
            xr.concat(found[k : k + self.n_seeds], "seed")
            for k in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(groups, "setting").assign_coords(setting=list(SETTINGS))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.walkback import gaussian_mmd2, toy

        law = toy(self.law)
        spread = float(np.sqrt(np.trace(law.moments()[1]) / 2))
        return xr.Dataset(
            {
                "gaussian_mmd2": ((), gaussian_mmd2(law, plane.WIDTHS), plane.ONE),
                "spread": ((), spread, {"units": "units of the data"}),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gaussian, spread = float(theory.gaussian_mmd2), float(theory.spread)
        base = measured.sel(setting=BASE)
        largest = float((measured.spread.isel(extra=-1) / spread).max())
        yield Check(f"spread after {self.longest} cold steps over that of the data, largest",
                    largest, 1.5, kind="at_most",
                    source="derived: a bounded net with a contracting skip")  # fmt: skip
        fixed = [name for name, setting in SETTINGS.items() if setting[0] != "tied"]
        moved = float(abs(measured.sigma.sel(setting=fixed) - self.sigma).max())
        yield Check("fixed noise has not moved", moved, 0.0, atol=1e-6,
                    source="exact: it is no parameter")  # fmt: skip
        if self.n_steps < 2500 or self.law != "swiss":
            return
        source = f"{PAPER}, abstract: good samples well past the length of training; bar derived"
        yield Check("sees T: MMD² at the end of the ladder",
                    float(base.mmd2.sel(extra=0).median()), 0.08 * gaussian, kind="at_most",
                    source="derived: recipe of the theory page, bars from 3 seeds")  # fmt: skip
        for steps, bar in ((30, 0.1), (340, 0.25)):
            yield Check(f"sees T: MMD² after {steps} cold steps",
                        float(base.mmd2.sel(extra=steps).median()), bar * gaussian,
                        kind="at_most", source=source)  # fmt: skip
        longer = measured.sel(setting="the same, 34 cold steps trained")
        error = float(longer.mmd2_se.sel(extra=340).median())
        yield Check(
            "34 cold steps trained: MMD² after 10 times the path as at the end of the ladder",
            float(longer.mmd2.sel(extra=340).median()), float(longer.mmd2.sel(extra=0).median()),
            atol=3 * error, kind="at_most",
            source="goal: samples after 10 times the length as good as at its end",
        )  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        gaussian = float(theory.gaussian_mmd2)
        ends = measured.mmd2.median("seed")
        best = str(measured.setting.values[ends.sel(extra=self.extra[-1]).values.argmin()])
        yield (
            f"After {self.longest} cold steps the best chain is that of '{best}': MMD² "
            f"{float(ends.sel(setting=best, extra=self.extra[-1])):.4f}; a single Gaussian has "
            f"{gaussian:.4f}."
        )
        rows = []
        for name in measured.setting.values:
            one = measured.sel(setting=name)
            rows.append(
                (str(name), *(f"{float(one.mmd2.sel(extra=n).median()):.4f}" for n in self.extra),
                 f"{float(one.spread.isel(extra=-1).median() / theory.spread):.2f}",
                 f"{float(one.end_std.median()):.2f}", f"{float(one.sigma.median()):.4f}")
            )  # fmt: skip
        columns = ("operator", *(f"{n} cold steps" for n in self.extra), "spread at the end",
                   "end of walk, sd", "noise at T = 1")  # fmt: skip
        yield Table(f"MMD² by cold steps after the ladder ({self.law})", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.walkback.plots import length_curve, scatter

        names = [str(name) for name in measured.setting.values]
        floor = 1e-4
        curves = {
            n: np.maximum(measured.mmd2.sel(setting=n).median("seed").values, floor) for n in names
        }
        errors = {n: measured.mmd2_se.sel(setting=n).median("seed").values for n in names}
        figure = length_curve(self.extra, curves, errors=errors, trained=34,
                              levels={"single\nGaussian": float(theory.gaussian_mmd2)})  # fmt: skip
        figure.axes[0].set_yscale("log")
        figure.axes[0].set_ylim(floor / 2, None)
        figure.set_label(
            "MMD² against cold steps after the ladder, to 100 times the trained path, by setting."
        )
        clouds, axes = plot.new(2, len(names), size=(2.1 * len(names) + 0.6, 4.6), sharex=True,
                                sharey=True)  # fmt: skip
        for column, name in enumerate(names):
            one = measured.sel(setting=name).isel(seed=0)
            for row, k in enumerate((0, -1)):
                ax = axes[row, column]
                scatter(one.after.isel(extra=k).values, color=f"C{row}", ax=ax)
                ax.set_xlabel("$s_1$" if row else "")
                ax.set_ylabel(f"{self.extra[k]} cold steps\n$s_2$" if not column else "")
                if not row:
                    ax.set_title(name.replace(": ", ":\n").replace(", ", ",\n"), fontsize=7)
        clouds.set_label("States at the end of the ladder and at the end of the chain, by setting.")
        return {"length": figure, "states": clouds}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.walkback._learning import time_updates

        per_update = time_updates(2, (self.n_hidden,) * 3, 34, 32)
        rows = 32 * 34
        updates = 1.3 * self.n_steps * len(SETTINGS) * self.n_seeds
        chain = 0.3 * self.longest * self.n_test / rows * len(SETTINGS) * self.n_seeds
        weights = 2 * self.n_hidden**2 + 10 * self.n_hidden
        return Cost(
            8.0 * rows * weights * (updates + chain),
            4.0 * (20 * rows * self.n_hidden + 16 * weights),
            per_update * (updates + chain),
        )
