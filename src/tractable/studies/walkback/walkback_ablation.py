"""One thing changed at a time: temperature convention, ladder, update, objective, symmetry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.core.checks import check_choice
from tractable.studies.walkback import _plane as plane
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

LADDER = {"factor": 1.25, "n_heat": 30, "n_cold": 4}
# name: what differs from the recipe; ladders end at the same noise unless they say otherwise
ABLATIONS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "variance ∝ T^0.5, ladder stretched": {"temperature_power": 0.5, "factor": 1.25**2},
    "variance ∝ T^2, ladder shrunk": {"temperature_power": 2.0, "factor": 1.25**0.5},
    "variance ∝ T^2, same ladder": {"temperature_power": 2.0},
    "factor 2, 10 steps": {"factor": 2.0, "n_heat": 10},
    "factor 1.5, 17 steps": {"factor": 1.5, "n_heat": 17},
    "factor 1.12, 58 steps": {"factor": 1.12, "n_heat": 58},
    "no cold steps": {"n_cold": 0},
    "16 cold steps": {"n_cold": 16},
    "update: whole paths": {"update": "accumulate"},
    "update: online": {"update": "online"},
    "ladder adapted to the noise": {"adaptations": 6},
    "learned noise": {"variant": "learned"},
    "learned noise, ladder adapted": {"variant": "learned", "adaptations": 6},
    "F does not see T": {"variant": "tied_fixed"},
    "published form: tied, learned noise": {"variant": "tied"},
    "plain mean s + (F - s)/2": {"skip": "leak"},
    "symmetric weights (gradient of an energy)": {"variant": "symmetric"},
    "objective: elbo": {"variant": "elbo"},
    "objective of the released code": {"variant": "released"},
}
SEQUENTIAL = ("update: whole paths", "update: online", "objective: elbo")


@dataclass(frozen=True)
class WalkbackAblation(Study):
    """Change one thing of the recipe at a time, at equal numbers of rows seen."""

    version: ClassVar[int] = 3
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {
            "n_steps": 2,
            "n_hidden": 16,
            "n_test": 100,
            "n_paths": 2,
            "far": 2,
            "changes": (
                "recipe",
                "published form: tied, learned noise",
                "ladder adapted to the noise",
                "objective: elbo",
            ),
        },
        "paper": {"n_steps": 20_000, "n_hidden": 1024, "n_seeds": 5},
    }

    law: Literal["swiss", "ring", "grid"] = "swiss"
    """What is learned."""
    n_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 600
    """Updates of the weights, each on 32 rows for every temperature."""
    n_hidden: Annotated[int, Range(2, 8192, log=True)] = 96
    """Units of each of three hidden layers."""
    sigma: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.05
    """Noise at temperature 1, or its start where it is learned."""
    n_test: Annotated[int, Range(100, 100_000, log=True)] = 1500
    """Generated points, and test points."""
    n_paths: Annotated[int, Range(1, 10_000, log=True)] = 32
    """Paths for each datum in the importance estimate."""
    far: Annotated[int, Range(1, 100_000, log=True)] = 100
    """Cold steps after the ladder."""
    n_seeds: Annotated[int, Range(1, 20)] = 1
    """Independent trainings of each."""
    changes: tuple[str, ...] = ()
    """Names of the changes to try, the recipe among them; empty: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.changes:
            check_choice("changes", name, ABLATIONS)
        if self.changes and "recipe" not in self.changes:
            raise ValueError(f"changes must hold 'recipe' to compare with, got {self.changes}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is tried."""
        return self.changes or tuple(ABLATIONS)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        points = [
            {
                "name": self.law, "variant": "fixed", "seed": derive(run.seed, "ablation", i),
                "n_steps": self.n_steps, "n_hidden": self.n_hidden, "n_test": self.n_test,
                "n_paths": self.n_paths, "sigma": self.sigma, "extra": (0, self.far),
            } | LADDER | change
            for change in (ABLATIONS[name] for name in self.names)
            for i in range(self.n_seeds)
        ]  # fmt: skip
        found = run.map(plane.ablate, points)
        groups = [
            xr.concat(found[k : k + self.n_seeds], "seed")
            for k in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(groups, "change").assign_coords(change=list(self.names))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        mmd2, _, log_prob = plane.exact(self.law)
        noise = [self._end_noise(name, measured) for name in self.names]
        return xr.Dataset(
            {
                "gaussian_mmd2": ((), mmd2, plane.ONE),
                "log_prob": ((), log_prob, plane.NATS),
                "end_noise": ("change", noise, {"units": "units of the data"}),
            },
            coords={"change": list(self.names)},
        )

    def _end_noise(self, name: str, measured: xr.Dataset | None = None) -> float:
        """Return the noise of the last step; of a ladder adapted to learned noise from the run."""
        change = ABLATIONS[name]
        ladder = LADDER | change
        power = ladder.get("temperature_power", 1.0) / 2
        if "adaptations" not in change:
            return self.sigma * float(ladder["factor"] ** (ladder["n_heat"] - 1)) ** power
        if change.get("variant") == "learned":
            if measured is None:
                return float("nan")  # the ladder is known when the noise is
            one = measured.sel(change=name).isel(seed=0)
            return float(one.sigma * one.last_temperature**power)
        # The first rung that reaches the widest direction of the data.
        train = plane.parts(self.law, 2)[0]
        widest = float(np.linalg.eigvalsh(np.cov(train.T))[-1])
        rungs = np.ceil(max(0.0, np.log(widest / self.sigma**2)) / np.log(ladder["factor"]))
        return self.sigma * float(ladder["factor"] ** rungs) ** power

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mmd2, error = measured.mmd2.isel(extra=0).median("seed"), measured.mmd2_se.isel(extra=0)
        same = self._end_noise("variance ∝ T^2, ladder shrunk")
        yield Check("the convention of T only renames the ladder: last noise", float(same),
                    float(theory.end_noise.sel(change="recipe")), rtol=1e-9,
                    source="exact: Var = T^gamma sigma^2")  # fmt: skip
        stretched = ("variance ∝ T^0.5, ladder stretched", "variance ∝ T^2, ladder shrunk")
        for name in (name for name in stretched if name in self.names):
            gap = abs(float(mmd2.sel(change=name)) - float(mmd2.sel(change="recipe")))
            yield Check(f"{name}: MMD² as of the recipe", gap, 0.0,
                        atol=4 * float(error.sel(change="recipe").median()), kind="at_most",
                        source="exact: Var = T^gamma sigma^2")  # fmt: skip
        fixed = [name for name in self.names if ABLATIONS[name].get("variant", "fixed")
                 not in ("learned", "tied")]  # fmt: skip
        ends = measured.last_noise.sel(change=fixed) / theory.end_noise.sel(change=fixed)
        off = np.abs(ends.values - 1).argmax()
        yield Check(
            "noise of the last step over that of the ladder, where noise is fixed",
            float(ends.values.flat[off]), 1.0, rtol=1e-5,
            source="exact: Var = T^gamma sigma^2; an adapted ladder ends at the first rung that "
            "reaches the widest direction",
        )  # fmt: skip
        below = measured.importance.median("seed") - float(theory.log_prob)
        three = 3 * float(measured.importance_se.max())
        yield Check(
            "importance estimates are below the true log likelihood", float(below.max()), 0.0,
            atol=three, kind="at_most", source="exact: a lower bound on average",
        )  # fmt: skip
        if self.n_steps < 600 or self.law != "swiss" or self.changes:
            return
        gaussian = float(theory.gaussian_mmd2)
        released = "objective of the released code"
        yield Check(
            "the released code's objective is worse than a single Gaussian",
            float(mmd2.sel(change=released)), gaussian, kind="at_least",
            source="derived: scoring the source state makes the identity optimal",
        )  # fmt: skip
        yield Check(
            "the recipe is better than a single Gaussian", float(mmd2.sel(change="recipe")),
            0.5 * gaussian, kind="at_most", source="derived: bar of short runs",
        )  # fmt: skip
        walks = measured.end_std.median("seed")
        yield Check("learned noise: end of the walk over that of fixed noise",
                    float(walks.sel(change="learned noise") / walks.sel(change="recipe")), 0.9,
                    kind="at_most",
                    source="derived: with learned noise data are a fixed point")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mmd2 = measured.mmd2.isel(extra=0).median("seed")
        order = np.argsort(mmd2.values)
        names = measured.change.values[order]
        yield (
            f"Best at the end of the ladder after {self.n_steps} updates: {names[0]} (MMD² "
            f"{float(mmd2.values[order[0]]):.4f}); worst: {names[-1]} "
            f"({float(mmd2.values[order[-1]]):.4f}); a single Gaussian has "
            f"{float(theory.gaussian_mmd2):.4f}."
        )
        rows = []
        for name in measured.change.values:
            one = measured.sel(change=name).median("seed")
            rows.append(
                (str(name), f"{float(one.mmd2[0]):.4f}", f"{float(one.mmd2[-1]):.4f}",
                 f"{float(one.bound):.2f}", f"{float(one.importance):.2f}",
                 f"{float(one.dissipation):.3f} ± {float(one.dissipation_se):.3f}",
                 f"{float(one.end_std):.2f}", f"{float(one.sigma):.4f}",
                 f"{float(one.last_noise):.2f}",
                 f"{float(one.ladder):.0f}", f"{float(one.updates):.0f}")
            )  # fmt: skip
        columns = (
            "changed", "MMD², end", f"MMD², {self.far} cold steps", "bound", "importance",
            "entropy production", "end of walk, sd", "noise at T = 1", "of the last step",
            "steps", "updates",
        )  # fmt: skip
        yield Table(f"One thing changed ({self.law}; truth {float(theory.log_prob):.2f} nats)",
                    columns, tuple(rows))  # fmt: skip

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        names = list(measured.change.values)
        at = np.arange(len(names))[::-1]
        figure, axes = plot.new(1, 2, size=(9.0, 0.27 * len(names) + 1.2), sharey=True)
        for k, label in ((0, "end of the ladder"), (-1, f"{self.far} cold steps")):
            values = measured.mmd2.isel(extra=k).median("seed").values
            error = measured.mmd2_se.isel(extra=k).median("seed").values
            axes[0].errorbar(np.maximum(values, 1e-4), at, xerr=error, fmt="o", capsize=2, ms=4,
                             color=f"C{k % 2}", label=label)  # fmt: skip
        axes[0].axvline(float(theory.gaussian_mmd2), color="0.4", lw=1, label="single Gaussian")
        axes[0].set_xscale("log")
        axes[0].set(xlabel="MMD²", ylim=(-0.7, len(names) - 0.3))
        axes[0].set_yticks(at, names, fontsize=8)
        axes[0].legend(fontsize=7, loc="upper right")
        axes[1].axvline(float(theory.log_prob), color="0.4", lw=1, label="truth")
        for k, name in enumerate(("bound", "importance")):
            values = measured[name].median("seed").values
            axes[1].plot(np.maximum(values, -8), at, "o", ms=4, color=f"C{k}", label=name)
        axes[1].set(xlabel="nats per point (cut at -8)")
        axes[1].legend(fontsize=7, loc="upper left")
        figure.set_label(
            "One thing of the recipe changed at a time. Left: MMD² of the samples, right: bound "
            "and importance estimate of the log likelihood."
        )
        return {"ablation": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.walkback._learning import time_updates

        per_update = time_updates(2, (self.n_hidden,) * 3, 34, 32)
        rows = 32 * 34
        updates = 1.5 * self.n_steps * len(self.names) * self.n_seeds
        others = 1.0 * (34 + self.far + 30) * self.n_test
        others += 4.0 * self.n_paths * plane.N_DRAWN * 34
        weights = 2 * self.n_hidden**2 + 10 * self.n_hidden
        others *= len(self.names) * self.n_seeds / rows / 4
        return Cost(
            8.0 * rows * weights * (updates + others),
            4.0 * (20 * rows * self.n_hidden + 16 * weights),
            per_update * (updates + others),
        )
