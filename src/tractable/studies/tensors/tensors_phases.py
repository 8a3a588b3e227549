"""Easy, hard, impossible: overlaps against the noise, and the phase map over mean and noise."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.tensors import PhaseDiagram, Thresholds

# Closed form for cubes of order 3, unit variance: Delta(M) = M^2 (1 + m - M) / (M - m), m = mean^2.
TABLE_MEANS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.34)
TABLE_IT = (0.23165, 0.23990, 0.25436, 0.27627, 0.30772, 0.35226, 0.40145)
TRICRITICAL = 8**-0.5
CLOSED = "closed form for cubes, docs/theory/tensors.md (T27)"


@dataclass(frozen=True)
class TensorsPhases(Study):
    """The phase diagram over prior mean and noise, and the jump that message passing makes."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"side": 24, "n_noise": 4, "n_draws": 1, "n_grid": 8},
        "paper": {"side": 300, "n_noise": 25, "n_draws": 10, "n_grid": 80},
        "explore": {"side": 60, "n_noise": 8, "n_draws": 1, "n_grid": 8},
    }

    side: Annotated[int, Range(10, 2000, log=True)] = 120
    """Size of each of the three modes."""
    mean: Annotated[float, Range(0.05, 0.35)] = 0.2
    """Mean of the Gaussian prior at which message passing is run."""
    n_noise: Annotated[int, Range(3, 200)] = 12
    """Noise levels of message passing."""
    n_draws: Annotated[int, Range(1, 100)] = 3
    """Tensors drawn at each of them."""
    n_grid: Annotated[int, Range(4, 400)] = 40
    """Grid of the phase map, in each direction."""

    @property
    def prior(self) -> str:
        """The prior of all modes."""
        return f"gaussian({self.mean})"

    @property
    def noises(self) -> np.ndarray:
        """Noise levels from half the algorithmic threshold to 1.6 times, (n_noise,)."""
        return np.linspace(0.5, 1.6, self.n_noise) * cube_thresholds(self.prior).alg

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.tensors._trials import trial

        levels = self.noises
        points = [
            {
                "shape": (self.side,) * 3,
                "priors": self.prior,
                "noise": float(noise),
                "seed": run.seed + draw,
                "max_iter": 150,
            }
            for noise in levels
            for draw in range(self.n_draws)
        ]
        final = np.array([result.final.values.mean() for result in run.map(trial, points)])
        overlap = final.reshape(len(levels), self.n_draws)
        return xr.Dataset(
            {"overlap": (("noise", "draw"), overlap, {"units": "1"})}, coords={"noise": levels}
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.tensors import branch_overlaps, fixed_point_curve

        means, levels = axes(self.n_grid)
        diagram = phase_map(self.n_grid)
        here = cube_thresholds(self.prior)
        fine = np.union1d(np.linspace(0.02, 1.25, 300) * float(here.dyn), self.noises)
        found, best = branch_overlaps(fixed_point_curve((1, 1, 1), self.prior), fine)
        alg, it, dyn = table_thresholds()
        one = {"units": "1"}
        return xr.Dataset(
            {
                "phase": (("level", "mean"), diagram.phase, one),
                "map_alg": ("mean", diagram.alg[0], one),
                "map_it": ("mean", diagram.it[0], one),
                "map_dyn": ("mean", diagram.dyn[0], one),
                "found": ("noise", found[:, 0], one),
                "best": ("noise", best[:, 0], one),
                "table_alg": ("table", np.array(alg), one),
                "table_it": ("table", np.array(it), one),
                "table_dyn": ("table", np.array(dyn), one),
                "alg": ((), here.alg, one),
                "it": ((), here.it, one),
                "dyn": ((), here.dyn, one),
                "tricritical": ((), tricritical(), one),
            },
            coords={"mean": means, "level": levels, "noise": fine, "table": list(TABLE_MEANS)},
        )

    def jump(self, theory: xr.Dataset, measured: xr.Dataset) -> np.ndarray:
        """Return the noise at which each draw's overlap falls half-way below the optimum."""
        best = theory.best.sel(noise=measured.noise)
        ratio = (measured.overlap / best).transpose("draw", "noise").values
        levels = measured.noise.values
        jumps = []
        for row in ratio:
            below = np.flatnonzero(row < 0.5)
            if not len(below) or below[0] == 0:
                jumps.append(np.nan)  # it does not cross inside the range: no measurement
                continue
            i = below[0]
            share = (row[i - 1] - 0.5) / (row[i - 1] - row[i])
            jumps.append(levels[i - 1] + share * (levels[i] - levels[i - 1]))
        return np.array(jumps)

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        alg, dyn = closed_form(np.array(TABLE_MEANS))
        expected = (("alg", alg, CLOSED), ("dyn", dyn, CLOSED), ("it", np.array(TABLE_IT), TABLE))
        for name, values, source in expected:
            error = float(np.abs(theory[f"table_{name}"].values - values).max())
            yield Check(f"delta_{name}, general solver", error, 1e-4, kind="at_most", source=source)
        yield Check(
            "tricritical mean", float(theory.tricritical), TRICRITICAL, atol=5e-4, source=CLOSED
        )
        jumps = self.jump(theory, measured) / float(theory.alg)
        # Small arrays jump early and late: the smallest and the largest of all draws.
        low, high = (0.75, 1.35) if self.side >= 100 else (0.4, 1.7)
        source = "docs/theory/tensors.md (T23), at finite size"
        yield Check(
            "earliest jump over delta_alg", jumps.min(), low, kind="at_least", source=source
        )
        yield Check("latest jump over delta_alg", jumps.max(), high, kind="at_most", source=source)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        jumps = self.jump(theory, measured)
        yield (
            f"At prior mean {self.mean:g} message passing finds the signal up to a noise variance "
            f"of {np.nanmean(jumps):.3f} at size {self.side}; theory says {float(theory.alg):.5f}. "
            f"Between that and {float(theory.it):.5f} a better estimate exists that it misses."
        )
        yield (
            f"The hard phase ends at a prior mean of {float(theory.tricritical):.4f} (exactly "
            f"1/sqrt(8) = {TRICRITICAL:.4f}); beyond, the estimate degrades without a jump."
        )
        rows = tuple(
            (mean, *(round(float(theory[f"table_{name}"][i]), 5) for name in ("alg", "it", "dyn")))
            for i, mean in enumerate(TABLE_MEANS)
        )
        yield Table(
            "Thresholds of a cube", ("prior mean", "delta_alg", "delta_it", "delta_dyn"), rows
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.tensors.plots import plot_overlap_noise, plot_phase_map

        names = ((r"$\Delta_{alg}$", "alg"), (r"$\Delta_{IT}$", "it"), (r"$\Delta_{dyn}$", "dyn"))
        overlap = plot_overlap_noise(
            theory.noise.values,
            theory.found.values,
            theory.best.values,
            levels={label: float(theory[name]) for label, name in names},
            measured_noise=measured.noise.values,
            measured=measured.overlap.transpose("draw", "noise").values,
        )
        phase_map = plot_phase_map(
            theory["mean"].values,
            theory.level.values,
            theory.phase.values,
            alg=theory.map_alg.values,
            it=theory.map_it.values,
            dyn=theory.map_dyn.values,
            point=(self.mean, float(measured.noise.median())),
        )
        return {"overlap": overlap, "phases": phase_map}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.tensors._trials import cost_of

        return cost_of((self.side,) * 3, self.prior, 0.2, self.n_noise * self.n_draws, 60)


def axes(n_grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the prior means and the noise levels of the phase map."""
    return np.linspace(0.0, 0.5, n_grid), np.linspace(0.01, 0.55, n_grid)


@functools.lru_cache(maxsize=8)
def phase_map(n_grid: int) -> PhaseDiagram:
    """Return the phase map, which only the grid changes."""
    from tractable.tensors import phase_diagram

    means, levels = axes(n_grid)
    return phase_diagram(("mean", means), ("noise", levels), progress=False)


@functools.lru_cache(maxsize=256)
def cube_thresholds(prior: str) -> Thresholds:
    """Return the thresholds of a cube."""
    from tractable.tensors import thresholds

    return thresholds((1, 1, 1), prior)


def table_thresholds() -> tuple[tuple[float, ...], ...]:
    """Return delta_alg, delta_it and delta_dyn of the table's means."""
    rows = [cube_thresholds(f"gaussian({mean})") for mean in TABLE_MEANS]
    return tuple(tuple(getattr(row, name) for row in rows) for name in ("alg", "it", "dyn"))


@functools.cache
def tricritical() -> float:
    """Return the prior mean beyond which a cube has no hard phase."""
    from tractable.tensors import tricritical_mean

    return tricritical_mean((1, 1, 1))


TABLE = "equal free entropies by direct evaluation, docs/theory/tensors.md (T24)"


def closed_form(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return delta_alg and delta_dyn of a cube of order 3, (T27), for means below 1/sqrt(8).

    Examples
    --------
    >>> [round(float(value), 5) for value in closed_form(np.array(0.2))]
    [0.15331, 0.29349]
    """
    m = np.asarray(mean) ** 2
    root = np.sqrt(1 - 8 * m)
    low, high = (1 + 4 * m - root) / 4, (1 + 4 * m + root) / 4

    def noise(M: np.ndarray) -> np.ndarray:
        return M**2 * (1 + m - M) / (M - m)

    return noise(low), noise(high)
