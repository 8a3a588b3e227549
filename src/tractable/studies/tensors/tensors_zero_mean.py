"""One, two and three modes of zero mean: easy, a matrix problem, and never easy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = ("gaussian(0)", "gaussian(0.5)", "gaussian(0.5)")
TWO = ("gaussian(0)", "gaussian(0)", "gaussian(0.8)")
THREE = ("gaussian(0)",) * 3
PAPER = "arXiv:1810.10065, abstract and introduction"


@dataclass(frozen=True)
class TensorsZeroMean(Study):
    """How many modes may have zero mean before message passing finds nothing."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"shape": (16, 24, 36), "n_draws": 1},
        "paper": {"shape": (250, 500, 1000), "n_draws": 20},
    }

    shape: Annotated[tuple[int, ...], Range(8, 5000, log=True)] = (64, 128, 256)
    """Sizes of the three modes; the last has the mean where two have none."""
    noise: Annotated[float, Range(0.01, 1.0, log=True)] = 0.3
    """Noise variance Delta of the array with one zero-mean mode."""
    n_draws: Annotated[int, Range(1, 100)] = 4
    """Tensors drawn in each setting."""
    noises: Annotated[tuple[float, ...], Range(0.1, 5.0)] = (0.1, 0.2, 0.3)
    """Noise variances of the array with three zero-mean modes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) != 3:
            raise ValueError(f"shape must have 3 sizes, got {self.shape}")

    @property
    def critical(self) -> float:
        """Threshold of two zero-mean modes, (T25)."""
        from tractable.tensors import two_zero_mean_threshold

        return two_zero_mean_threshold(self.shape, list(TWO))

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.tensors._trials import trial

        seeds = [run.seed + draw for draw in range(self.n_draws)]
        base = {"shape": self.shape}
        one = [{**base, "priors": ONE, "noise": self.noise, "seed": s} for s in seeds]
        # A spectral start leaves the priors' means; half and twice the threshold.
        two = [
            {
                **base,
                "priors": TWO,
                "noise": factor * self.critical,
                "seed": s,
                "start": "spectral",
                "max_iter": 80,
            }
            for factor in (0.5, 2.0)
            for s in seeds
        ]
        three = [
            {**base, "priors": THREE, "noise": n, "seed": s, "init_scale": 0.05, "max_iter": 40}
            for n in self.noises
            for s in seeds
        ]
        results = run.map(trial, [*one, *two, *three])
        final = np.stack([result.final.values for result in results])
        n = self.n_draws
        units = {"units": "1"}
        return xr.Dataset(
            {
                "one": (("draw", "mode"), final[:n], units),
                "two": (("side", "draw", "mode"), final[n : 3 * n].reshape(2, n, 3), units),
                "three": (
                    ("noise", "draw", "mode"),
                    np.abs(final[3 * n :]).reshape(len(self.noises), n, 3),
                    units,
                ),
                "instability": ("shape_of", np.array([instability(s) for s in SHAPES]), units),
            },
            coords={"side": ["below", "above"], "noise": list(self.noises)},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.tensors import state_evolution, thresholds, two_zero_mean_threshold
        from tractable.tensors.curve import fixed_point_curve
        from tractable.tensors.phases import branch_overlaps

        one = state_evolution(self.shape, list(ONE), self.noise, tol=1e-10).overlap[:, 0, 0]
        curve = fixed_point_curve(self.shape, list(TWO))
        two, _ = branch_overlaps(curve, np.array([0.5, 2.0]) * self.critical)
        ratio = two_zero_mean_threshold
        never = thresholds(self.shape, list(THREE))
        kept = thresholds((1, 1, 1), ["gaussian(0)", "gaussian(0.2)", "gaussian(0.2)"])
        levels = np.linspace(0.05, 0.5, 200)
        fine, best = branch_overlaps(fixed_point_curve((1, 1, 1), list(THREE)), levels)
        units = {"units": "1"}
        return xr.Dataset(
            {
                "one": ("mode", one, units),
                "two": (("side", "mode"), two, units),
                "three": ("level", fine[:, 0], units),
                "three_best": ("level", best[:, 0], units),
                "critical": ("shape_of", np.array([ratio(s, list(TWO)) for s in SHAPES]), units),
                "kept_alg": ((), kept.alg, units),
                "kept_it": ((), kept.it, units),
                "kept_dyn": ((), kept.dyn, units),
                "never_alg": ((), never.alg, units),
                "never_it": ((), never.it, units),
            },
            coords={"side": ["below", "above"], "level": levels},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        large = min(self.shape) >= 50
        gap = float(abs(measured.one.mean("draw") - theory.one).max())
        yield Check(
            "one zero-mean mode keeps the easy phase: AMP - SE",
            gap,
            0.06 if large else 0.6,
            kind="at_most",
            source=PAPER + "; docs/theory/tensors.md (T18)",
        )
        for name, value in (("alg", 0.10102), ("it", 0.25916), ("dyn", 0.27800)):
            yield Check(
                f"one zero-mean mode, means 0.2: delta_{name}",
                float(theory[f"kept_{name}"]),
                value,
                atol=1e-4,
                source="branches continued one by one, docs/theory/tensors.md (T16)",
            )
        error = float(abs(measured.instability / theory.critical - 1).max())
        yield Check(
            "two zero-mean modes: M = 0 loses stability at (T25), relative error",
            error,
            0.05,
            kind="at_most",
            source="docs/theory/tensors.md (T25)",
        )
        below, above = (measured.two.sel(side=s).isel(mode=0).mean("draw") for s in theory.side)
        expected = float(theory.two.sel(side="below").isel(mode=0))
        yield Check(
            "two zero-mean modes: found at half the threshold, over SE",
            float(below) / expected if expected else np.nan,
            0.8 if large else 0.0,
            kind="at_least",
            source="docs/theory/tensors.md (T25)",
        )
        yield Check(
            "two zero-mean modes: overlap at twice the threshold, over that at half",
            float(above / below),
            0.25 if large else 2.0,
            kind="at_most",
            source="docs/theory/tensors.md (T25)",
        )
        yield Check(
            "symmetric zero-mean tensors have no easy phase: overlap from the prior",
            float(measured.three.mean("draw").max()),
            0.05 if large else 0.5,
            kind="at_most",
            source=PAPER,
        )
        yield Check(
            "symmetric zero-mean tensors: delta_alg", float(theory.never_alg), 0.0, source=PAPER
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"With one zero-mean mode message passing recovers all three from the prior's means: "
            f"overlaps {_list(measured.one.mean('draw'))}, state evolution {_list(theory.one)}."
        )
        yield (
            f"With two, the problem is that of a matrix: the signal appears below a noise variance "
            f"of {self.critical:.4f}, from a spectral or random start only."
        )
        largest = float(measured.three.mean("draw").max())
        yield (
            "With three, message passing finds nothing from the prior at any noise tested (largest "
            f"overlap {largest:.3f}), although an estimate exists below "
            f"{float(theory.never_it):.4f}."
        )
        rows = tuple(
            (" : ".join(map(str, s)), float(theory.critical[i]), float(measured.instability[i]))
            for i, s in enumerate(SHAPES)
        )
        yield Table(
            "Two zero-mean modes: threshold", ("shape", "formula (T25)", "state evolution"), rows
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 2, size=(9.0, 3.6))
        left, right = axes
        modes = np.arange(1, 4)
        left.plot(modes, theory.one.values, "_", ms=22, color="C0", label="state evolution")
        plot.measurement(
            left,
            modes,
            measured.one.mean("draw").values,
            error=measured.one.std("draw").values,
            color="C0",
            label="AMP",
        )
        left.set(xlabel="mode", ylabel="overlap with the truth, $M_a$", xticks=modes, ylim=(0, 1.3))
        left.set_title("one zero-mean mode (the first)", fontsize="medium")
        left.legend(fontsize="small")
        plot.theory(right, theory.level, theory.three_best, color="C1", label="Bayes optimum")
        plot.theory(right, theory.level, theory.three, color="C0", label="from the prior")
        draws = measured.three.mean("mode")
        plot.measurement(
            right,
            measured.noise,
            draws.mean("draw").values,
            error=draws.std("draw").values,
            color="C0",
            label="AMP from the prior",
        )
        right.set(xlabel=r"noise variance $\Delta$", ylabel="overlap with the truth, $|M|$")
        right.set_title("three zero-mean modes, cube in theory", fontsize="medium")
        right.legend(fontsize="small")
        figure.set_label(
            "Left: overlaps of each mode where the first has zero mean. Right: with three "
            "zero-mean modes message passing stays at zero, although a good estimate exists at "
            "low noise."
        )
        return {"zero_mean": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.tensors._trials import cost_of

        n = self.n_draws * (3 + len(self.noises))
        return cost_of(self.shape, ONE, self.noise, n, 50)


SHAPES = ((1, 1, 1), (1, 2, 4), (4, 1, 2), (1, 4, 1))


def _list(values: xr.DataArray) -> str:
    return ", ".join(f"{float(v):.3f}" for v in values)


def instability(shape: tuple[int, int, int]) -> float:
    """Return the noise at which a small overlap of the two zero-mean modes neither grows nor falls.

    One sweep of state evolution from 1e-7 multiplies it by a factor that is 1 at the threshold.
    """
    from tractable.core.checks import quiet
    from tractable.tensors import state_evolution

    def growth(noise: float) -> float:
        start = np.array([1e-7, 1e-7, 0.64])
        with quiet():
            M = state_evolution(shape, list(TWO), noise, start=start, max_iter=4, tol=0).M[
                :, 0, 0, 0
            ]
        return float(M[-1] / M[-2]) if M[-2] > 0 else 0.0

    low, high = 0.01, 10.0
    while high / low > 1 + 1e-6:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if growth(middle) > 1 else (low, middle)
    return low
