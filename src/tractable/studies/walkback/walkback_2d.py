"""Laws in the plane, learned by walking back from heat: swiss roll, ring, grid of Gaussians."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.walkback import _plane as plane
from tractable.studies.walkback._learning import PAPER
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

LAWS = ("swiss", "ring", "grid")
TITLES = {"swiss": "swiss roll", "ring": "ring", "grid": "3 x 3 mixture"}
MIXTURES = (9, 20, 50)
DERIVED = "derived: recipe of the theory page, bars from 3 seeds"


@dataclass(frozen=True)
class Walkback2d(Study):
    """Learn a transition operator on data in the plane: samples, bound, irreversibility."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"laws": ("ring",), "n_steps": 10, "n_hidden": 16, "n_test": 200, "n_paths": 2,
                  "factor": 1.8, "n_heat": 10, "contrasts": False, "rivals": False, "far": 10},
        "paper": {"n_steps": 200_000, "n_hidden": 4096, "factor": 1.1, "n_heat": 30, "n_seeds": 5,
                  "sigma": 0.009},
    }  # fmt: skip

    laws: tuple[str, ...] = LAWS
    """Laws to learn: swiss, ring, grid."""
    n_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 2500
    """Updates of the weights, each on 32 rows for every temperature."""
    n_hidden: Annotated[int, Range(2, 8192, log=True)] = 128
    """Units of each of three hidden layers."""
    sigma: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.05
    """Noise of the operator at temperature 1: about the finest scale that must survive."""
    factor: Annotated[float, Range(1.0, 4.0)] = 1.25
    """Ratio of successive temperatures."""
    n_heat: Annotated[int, Range(1, 1000, log=True)] = 30
    """Steps of the ladder, after 4 at temperature 1."""
    n_seeds: Annotated[int, Range(1, 20)] = 1
    """Independent trainings of each law; checks read the median."""
    n_test: Annotated[int, Range(100, 100_000, log=True)] = 2000
    """Test points, and generated points."""
    n_paths: Annotated[int, Range(1, 10_000, log=True)] = 64
    """Paths for each datum in the importance estimate."""
    far: Annotated[int, Range(1, 100_000, log=True)] = 300
    """Cold steps after the ladder, far past the trained length."""
    contrasts: bool = True
    """Train the first law also with learned noise, as published (tied, learned noise), and by the
    objective of the released code."""
    rivals: bool = True
    """Train a diffusion model of the same net on each law."""
    split: Annotated[int, Range(0, 1_000_000)] = 0
    """Which draw of training and test points; the seed of the run is that of the trainings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [law for law in self.laws if law not in LAWS]
        if unknown or not self.laws:
            raise ValueError(f"laws must be some of {', '.join(LAWS)}, got {self.laws}")

    @property
    def extra(self) -> tuple[int, ...]:
        """Cold steps after the ladder at which the chain is looked at."""
        return tuple(sorted({0, min(30, self.far), min(100, self.far), self.far}))

    def _runs(self) -> list[tuple[str, str, int]]:
        runs = [(law, "fixed", i) for law in self.laws for i in range(self.n_seeds)]
        if self.contrasts:
            runs += [(self.laws[0], kind, 0) for kind in ("learned", "tied", "released")]
        return runs

    def _settings(self, n_steps: int) -> dict[str, Any]:
        return {
            "n_steps": n_steps, "n_hidden": self.n_hidden, "n_test": self.n_test,
            "n_paths": self.n_paths, "sigma": self.sigma, "factor": self.factor,
            "n_heat": self.n_heat, "n_cold": plane.COLD, "extra": self.extra,
            "split": self.split,
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        runs = self._runs()
        points = [
            {"name": law, "variant": kind, "seed": derive(run.seed, "2d", i)}
            | self._settings(self.n_steps if kind == "fixed" else max(self.n_steps // 2, 1))
            for law, kind, i in runs
        ]
        learned = xr.concat(run.map(plane.learn_toy, points), "run")
        learned = learned.assign_coords(  # xarray would cut the names to the first one's length
            {"toy": ("run", [law for law, _, _ in runs]),
             "variant": ("run", [kind for _, kind, _ in runs]),
             "seed": ("run", [i for _, _, i in runs])}
        )  # fmt: skip
        rivals = run.map(
            plane.baselines,
            [{"name": law, "n_test": self.n_test, "seed": 0, "components": MIXTURES,
              "split": self.split}
             for law in self.laws],
        )  # fmt: skip
        if self.rivals:
            highest = self.sigma * self.factor ** ((self.n_heat - 1) / 2)
            diffused = run.map(
                plane.diffusion,
                [{"name": law, "n_test": self.n_test, "seed": derive(run.seed, "ddpm"),
                  "n_steps": self.n_steps, "n_hidden": self.n_hidden,
                  "length": plane.COLD + self.n_heat, "sigma": self.sigma,
                  "highest": max(10.0, highest), "batch": 32 * (plane.COLD + self.n_heat),
                  "split": self.split}
                 for law in self.laws],
            )  # fmt: skip
            rivals = [xr.concat(pair, "rival") for pair in zip(rivals, diffused, strict=True)]
        return xr.merge([learned, xr.concat(rivals, "law").rename(toy="law_name")], join="outer")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the exact distance of each law from a Gaussian, its entropy, and the ladder."""
        import xarray as xr

        mmd2, gaussian, own = np.array([plane.exact(law) for law in self.laws]).T
        ladder = np.concatenate([np.ones(plane.COLD), self.factor ** np.arange(self.n_heat)])
        return xr.Dataset(
            {
                "gaussian_mmd2": ("law", mmd2, plane.ONE),
                "gaussian_log_prob": ("law", gaussian, plane.NATS),
                "log_prob": ("law", own, plane.NATS),
                "temperature": ("step", ladder, plane.ONE),
                "noise_std": ("step", self.sigma * np.sqrt(ladder),
                              {"units": "units of the data"}),
            },
            coords={"law": list(self.laws)},
        )  # fmt: skip

    def _of(self, measured: xr.Dataset, law: str, variant: str = "fixed") -> xr.Dataset:
        keep = (measured.toy.values == law) & (measured.variant.values == variant)
        return measured.isel(run=np.flatnonzero(keep))

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        enough = self.n_steps >= 2500 and self.n_hidden >= 128
        for i, law in enumerate(self.laws):
            own, exact = self._of(measured, law), theory.isel(law=i)
            rival = measured.isel(law=i)
            gaussian = float(exact.gaussian_mmd2)
            at = {n: float(own.mmd2.sel(extra=n).median()) for n in self.extra}
            found = float(rival.rival_mmd2.sel(rival="single Gaussian"))
            error = float(rival.rival_mmd2_se.sel(rival="single Gaussian"))
            yield Check(f"{law}: MMD^2 of a single Gaussian is the exact one", found, gaussian,
                        atol=4 * error, source="exact: integral of the kernel")  # fmt: skip
            excess = float(own.bound.median() - own.importance.median())
            yield Check(f"{law}: the bound is below the importance estimate", excess, 0.0,
                        kind="at_most", source="exact: Jensen's inequality")  # fmt: skip
            yield Check(
                f"{law}: the importance estimate is below the true log likelihood",
                float(own.importance.median()), float(exact.log_prob),
                atol=3 * float(own.importance_se.median()), kind="at_most",
                source="exact: a lower bound on average",
            )  # fmt: skip
            if not enough:
                continue
            ratio = 0.08 if law == "swiss" else 0.05
            yield Check(f"{law}: MMD^2 at the end of the ladder", at[0], ratio * gaussian,
                        kind="at_most", source=DERIVED)  # fmt: skip
            if law == "swiss":
                mixture = float(rival.rival_mmd2.sel(rival="GMM-9"))
                yield Check("swiss: MMD^2 at the end of the ladder, against 9 Gaussians", at[0],
                            mixture, kind="at_most", source=DERIVED)  # fmt: skip
                yield Check("swiss: MMD^2 after 30 cold steps", at[30], 0.1 * gaussian,
                            kind="at_most", source=PAST)  # fmt: skip
                yield Check("swiss: importance estimate", float(own.importance.median()), -1.0,
                            kind="at_least", source=DERIVED)  # fmt: skip
            if law == "grid":
                yield Check("grid: importance estimate within 0.25 nats of the truth",
                            float(own.importance.median()), float(exact.log_prob), atol=0.25,
                            source=DERIVED)  # fmt: skip
            if self.far >= 300:
                bar = 0.25 if law == "swiss" else 0.1
                yield Check(f"{law}: MMD^2 after {self.far} cold steps", at[self.far],
                            bar * gaussian, kind="at_most", source=PAST)  # fmt: skip
            spread = float(own.spread.sel(extra=self.far).max() / np.sqrt(1.0))
            yield Check(f"{law}: spread after {self.far} cold steps", spread, 1.5, kind="at_most",
                        source="derived: a bounded net with a contracting skip")  # fmt: skip
            still = abs(own.dissipation) / own.dissipation_se
            yield Check(f"{law}: entropy production over its standard error", float(still.median()),
                        4.0, kind="at_most", source=BALANCE)  # fmt: skip
        if self.contrasts and enough:
            first = float(theory.gaussian_mmd2[0])
            released = float(self._of(measured, self.laws[0], "released").mmd2.sel(extra=0)[0])
            yield Check("the released code's objective is worse than a single Gaussian", released,
                        first, kind="at_least", source=RELEASED)  # fmt: skip
            walk = float(self._of(measured, self.laws[0], "learned").end_std[0])
            heated = float(self._of(measured, self.laws[0]).end_std.median())
            yield Check("learned noise: the walk heats less than with fixed noise", walk / heated,
                        0.9, kind="at_most", source=NO_HEAT)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        for i, law in enumerate(self.laws):
            own, exact = self._of(measured, law), theory.isel(law=i)
            ratio = float(own.mmd2.sel(extra=0).median() / exact.gaussian_mmd2)
            yield (
                f"{TITLES[law].capitalize()}: samples at the end of the ladder are at {ratio:.3f} "
                f"of a single Gaussian's MMD²; bound {float(own.bound.median()):.2f}, importance "
                f"estimate {float(own.importance.median()):.2f}, truth {float(exact.log_prob):.2f} "
                f"nats; entropy production {float(own.dissipation.median()):.3f} ± "
                f"{float(own.dissipation_se.median()):.3f} nats per step."
            )
        for i, law in enumerate(self.laws):
            yield Table(TITLES[law], TABLE_COLUMNS, tuple(self._rows(measured, law, i)))

    def _rows(self, measured: xr.Dataset, law: str, i: int) -> Iterator[tuple[Any, ...]]:
        runs = measured.isel(run=np.flatnonzero(measured.toy.values == law))
        for k in range(runs.sizes["run"]):
            one = runs.isel(run=k)
            kind = str(one.variant.values)
            yield (
                f"{VARIANTS[kind]}, seed {int(one.seed)}",
                *(f"{float(one.mmd2.sel(extra=n)):.4f}" for n in (0, self.far)),
                f"{float(one.sliced_wasserstein.sel(extra=0)):.3f}",
                f"{float(one.bound):.2f}", f"{float(one.importance):.2f}",
                f"{float(one.dissipation):.3f} ± {float(one.dissipation_se):.3f}",
                f"{float(one.end_std):.2f}", f"{float(one.sigma):.4f}",
            )  # fmt: skip
        for name in measured.rival.values:
            rival = measured.isel(law=i).sel(rival=name)
            yield (str(name), f"{float(rival.rival_mmd2):.4f}", "", "",
                   f"{float(rival.rival_log_prob):.2f}", "", "", "", "")  # fmt: skip

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.walkback import _plane_figures as figures

        found = {}
        for law in self.laws:
            found[f"paths_{law}"] = figures.paths(self._of(measured, law).isel(run=0), TITLES[law])
        found["length"] = figures.length(self, theory, measured)
        found["bound_terms"] = figures.terms(self, theory, measured)
        found["current"] = figures.currents(self, measured)
        if self.contrasts:
            found["variants"] = figures.variants(self, measured)
        return found

    def cost(self, run: Run) -> Cost:
        from tractable.studies.walkback._learning import time_updates

        length = plane.COLD + self.n_heat
        per_update = time_updates(2, (self.n_hidden,) * 3, length, 32)
        rows = 32 * length
        updates = self.n_steps * len(self.laws) * (self.n_seeds + 0.7 * self.rivals)
        updates += 1.5 * self.n_steps * self.contrasts
        chain = (length + 1.6 * self.far) * self.n_test / rows * 0.3 * len(self._runs())
        bound = 4 * self.n_paths * plane.N_DRAWN * length / rows * 0.3 * len(self._runs())
        weights = 2 * self.n_hidden**2 + 10 * self.n_hidden
        return Cost(
            8.0 * rows * weights * (updates + chain + bound),
            4.0 * (20 * rows * self.n_hidden + 16 * weights),
            per_update * (updates + chain + bound),
        )


VARIANTS = {
    "fixed": "walkback, fixed noise",
    "learned": "walkback, learned noise",
    "tied": "published form: tied, learned noise",
    "released": "objective of the released code",
}
TABLE_COLUMNS = (
    *("model", "MMD², end", "MMD², far past", "sliced W", "bound or log p", "importance"),
    *("entropy production", "end of walk, sd", "noise at T = 1"),
)
PAST = f"{PAPER}, abstract: good samples well past the length of training; bar derived"
BALANCE = "derived: the objective pulls toward detailed balance"
RELEASED = "derived: scoring the source state makes the identity optimal"
NO_HEAT = "derived: with learned noise data are a fixed point at every temperature"
