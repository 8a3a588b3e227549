"""Priors that are not Gaussian: thresholds, and message passing on state evolution."""

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

    from tractable.tensors import Thresholds

SE = "state evolution, docs/theory/tensors.md (T18)"
# Prior, noise variance, start: an easy setting of each family; Rademacher only from the truth.
SETTINGS = (
    ("rademacher", 0.2, "truth"),
    ("bernoulli(0.5)", 0.1, "prior"),
    ("bernoulli(0.3)", 0.05, "prior"),
    ("gauss-bernoulli(0.5, 1, 0.5)", 0.05, "prior"),
    ("truncated-gaussian(0, 1)", 0.3, "prior"),
    ("exponential(1)", 0.3, "prior"),
)
# Overlaps of cubes by direct iteration with Gauss-Hermite quadrature.
REFERENCE = (
    ("bernoulli(0.5)", 0.01, 0.4949),
    ("bernoulli(0.5)", 0.02, 0.4619),
    ("bernoulli(0.5)", 0.05, 0.3516),
    ("bernoulli(0.5)", 0.1, 0.2956),
    ("bernoulli(0.3)", 0.005, 0.2851),
    ("bernoulli(0.3)", 0.01, 0.2021),
    ("bernoulli(0.3)", 0.02, 0.1179),
    ("bernoulli(0.3)", 0.05, 0.0983),
)


@dataclass(frozen=True)
class TensorsPriors(Study):
    """Signs, memberships, sparse and non-negative factors, in theory and by message passing."""

    paper: ClassVar = Paper(
        "Lesieur, Miolane, Lelarge, Krzakala, Zdeborova",
        2017,
        "Statistical and computational phase transitions in spiked tensor estimation",
        arxiv="1701.08010",
    )
    presets: ClassVar = {
        "smoke": {"side": 24, "n_draws": 1},
        "paper": {"side": 300, "n_draws": 10},
    }

    side: Annotated[int, Range(10, 2000, log=True)] = 150
    """Size of each of the three modes."""
    n_draws: Annotated[int, Range(1, 100)] = 4
    """Tensors drawn for each prior."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.tensors._trials import trial

        points = [
            {
                "shape": (self.side,) * 3,
                "priors": prior,
                "noise": noise,
                "seed": run.seed + draw,
                "start": start,
            }
            for prior, noise, start in SETTINGS
            for draw in range(self.n_draws)
        ]
        results = run.map(trial, points)
        grid = (len(SETTINGS), self.n_draws)
        one = {"units": "1"}
        overlap = np.array([result.final.values.mean() for result in results]).reshape(grid)
        own = np.array([result.final_self.values.mean() for result in results]).reshape(grid)
        return xr.Dataset(
            {
                "overlap": (("prior", "draw"), overlap, one),
                "self_overlap": (("prior", "draw"), own, one),
            },
            coords={"prior": [prior for prior, _, _ in SETTINGS]},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        overlap, scale, reference, signs = evolved()
        one = {"units": "1"}
        return xr.Dataset(
            {
                "overlap": ("prior", np.array(overlap), one),
                "second_moment": ("prior", np.array(scale), one),
                "reference": ("row", np.array(reference), one),
                "signs_alg": ((), signs.alg, one),
                "signs_it": ((), signs.it, one),
                "signs_dyn": ((), signs.dyn, one),
            },
            coords={"prior": [prior for prior, _, _ in SETTINGS]},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        for name, value in (("it", 0.28287), ("dyn", 0.30972)):
            yield Check(
                f"signs: delta_{name}",
                float(theory[f"signs_{name}"]),
                value,
                atol=1e-3,
                source="Gauss-Hermite quadrature of (T18) and (T20), docs/theory/tensors.md",
            )
        yield Check(
            "signs: delta_alg",
            float(theory.signs_alg),
            0.0,
            source="zero mean, order 3: docs/theory/tensors.md (T25)",
        )
        error = theory.reference.values - np.array([value for _, _, value in REFERENCE])
        yield Check(
            "memberships: overlaps at eight noise levels",
            float(np.abs(error).max()),
            1e-3,
            kind="at_most",
            source="Gauss-Hermite quadrature of (T18)",
        )
        bound = 0.05 if self.side >= 100 else 0.5
        for prior, _, _ in SETTINGS:
            gap = measured.overlap.sel(prior=prior).mean("draw") - theory.overlap.sel(prior=prior)
            share = float(abs(gap)) / max(float(theory.second_moment.sel(prior=prior)), 1e-12)
            yield Check(
                f"{prior}: AMP - SE, share of E[x^2]", share, bound, kind="at_most", source=SE
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"Factors of signs can be estimated below a noise variance of "
            f"{float(theory.signs_it):.5f}, but message passing never finds them from the prior; "
            f"from the truth it stays there up to {float(theory.signs_dyn):.5f}."
        )
        rows = tuple(
            (
                prior,
                noise,
                start,
                float(theory.overlap.sel(prior=prior)),
                float(measured.overlap.sel(prior=prior).mean()),
                float(measured.self_overlap.sel(prior=prior).mean()),
            )
            for prior, noise, start in SETTINGS
        )
        yield Table(
            f"Overlap at size {self.side}, mean of {self.n_draws} draws and three modes",
            ("prior", "noise", "start", "state evolution", "AMP", "AMP, self-overlap"),
            rows,
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.4, 3.8))
        scale = theory.second_moment.values
        ax.plot([0, 1], [0, 1], "-", color="0.5", lw=1, label="AMP = theory", zorder=1)
        for i, (prior, noise, _) in enumerate(SETTINGS):
            draws = measured.overlap.isel(prior=i).values / scale[i]
            plot.measurement(
                ax,
                [float(theory.overlap[i]) / scale[i]],
                [draws.mean()],
                error=[draws.std(ddof=1) if len(draws) > 1 else 0.0],
                color=f"C{i}",
                label=rf"{prior}, $\Delta$ = {noise:g}",
            )
        ax.set(
            xlabel="state evolution, $M / E[x^2]$",
            ylabel="message passing, $M / E[x^2]$",
            xlim=(0, 1.05),
            ylim=(0, 1.05),
        )
        ax.legend(fontsize="x-small", loc="upper left")
        figure.set_label(
            "Overlap with the truth as a share of the largest possible one: message passing (mean "
            "and standard deviation over draws) against state evolution, for six priors."
        )
        return {"priors": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.tensors._trials import cost_of

        n = self.n_draws * len(SETTINGS)
        return cost_of((self.side,) * 3, "truncated-gaussian(0, 1)", 0.3, n, 30)


@functools.cache
def evolved() -> tuple[list[float], list[float], list[float], Thresholds]:
    """Return overlaps, second moments, the reference, the thresholds of signs: no field changes."""
    from tractable.tensors import as_prior, state_evolution, thresholds

    cube = (1, 1, 1)
    overlap, scale = [], []
    for prior, noise, start in SETTINGS:
        how = "informed" if start == "truth" else "uninformed"
        result = state_evolution(cube, prior, noise, start=how, tol=1e-9)
        overlap.append(float(result.overlap[0, 0, 0]))
        scale.append(float(as_prior(prior).moments(1)[1]))
    reference = [
        float(state_evolution(cube, prior, noise, tol=1e-9).overlap[0, 0, 0])
        for prior, noise, _ in REFERENCE
    ]
    return overlap, scale, reference, thresholds(cube, "rademacher")
