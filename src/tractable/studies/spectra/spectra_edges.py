"""Largest singular value and variance against depth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.spectra._sampled import NETS, sample, spectrum
from tractable.study import Check, Cost, Paper, Range, Run, Study

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "arXiv:1711.04735: edge (L+1)^(L+1)/L^L of linear Gaussian networks, e L at large depth"
LIMITS = {"linear gaussian": math.e, "relu gaussian": 2 * math.e, "relu orthogonal": math.e}


@dataclass(frozen=True)
class SpectraEdges(Study):
    """How the largest singular value and the variance of the eigenvalues grow with depth."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2017,
        "Resurrecting the sigmoid in deep learning through dynamical isometry",
        arxiv="1711.04735",
    )
    presets: ClassVar = {
        "smoke": {"depths": (2, 4, 8), "width": 60, "n_seeds": 1},
        "paper": {"depths": (2, 4, 8, 16, 32, 64, 128), "width": 1000},
    }

    depths: Annotated[tuple[int, ...], Range(2, 1000)] = (2, 4, 8, 16, 32, 64)
    """Depths, ascending."""
    width: Annotated[int, Range(10, 4000, log=True)] = 200
    """Units of each layer of the sampled networks."""
    n_seeds: Annotated[int, Range(1, 20)] = 3
    """Networks of each kind."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {"name": net[0], "depths": self.depths, "width": self.width, "seed": run.seed + i}
            for net in NETS
            for i in range(self.n_seeds)
        ]
        found = [np.sqrt(one.eigenvalues.max("index")).values for one in run.map(sample, points)]
        values = np.array(found).reshape(len(NETS), self.n_seeds, -1)
        return xr.Dataset(
            {"s_max": (("net", "seed", "depth"), values, {"units": "1"})},
            coords={"net": [net[0] for net in NETS], "depth": list(self.depths)},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        values = np.empty((2, len(NETS), len(self.depths)))
        for i, (_, phi, ensemble, q) in enumerate(NETS):
            for j, depth in enumerate(self.depths):
                law = spectrum(phi, depth, ensemble, q)
                values[:, i, j] = law.s_max, law.variance
        axes = ("net", "depth")
        return xr.Dataset(
            {
                "s_max": (axes, values[0], {"units": "1"}),
                "variance": (axes, values[1], {"units": "1"}),
            },
            coords={"net": [net[0] for net in NETS], "depth": list(self.depths)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        L = self.depths[-1]
        exact = {"linear gaussian": (L + 1) * (1 + 1 / L) ** L}
        for name, limit in LIMITS.items():
            edge = float(theory.s_max.sel(net=name)[-1]) ** 2
            if L >= 64:
                text = f"{name}: upper edge over L at depth {L}"
                yield Check(text, edge / L, limit, rtol=0.02, source=SOURCE)
            if name in exact:
                yield Check(f"{name}: upper edge", edge, exact[name], rtol=1e-9, source=SOURCE)
        for name, ensemble, slope in (
            ("relu orthogonal", "orthogonal", 1.0),
            ("relu gaussian", "gaussian", 2.0),
            ("linear gaussian", "gaussian", 1.0),
        ):
            found = float(theory.variance.sel(net=name)[-1]) / L
            text = f"{name}: variance over L ({ensemble} weights)"
            yield Check(text, found, slope, rtol=1e-9, source="arXiv:1711.04735: variance L / p")
        for net in theory.net.values:
            ratio = measured.s_max.sel(net=net).mean("seed")[0] / theory.s_max.sel(net=net)[0]
            text = f"{net}, depth {self.depths[0]}: sampled s_max over the edge"
            bar = 3 * self.width ** (-2 / 3) + 0.02
            yield Check(text, float(ratio), 1.0, atol=bar, source="fluctuation N^(-2/3) at an edge")

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str]:
        for net in theory.net.values:
            one = theory.sel(net=net).isel(depth=-1)
            yield (
                f"{net}, depth {self.depths[-1]}: s_max = {float(one.s_max):.4g}, variance of the "
                f"eigenvalues {float(one.variance):.4g}."
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.spectra.plots import plot_edges

        return {"edges": plot_edges(theory, measured)}

    def cost(self, run: Run) -> Cost:
        n = len(NETS) * self.n_seeds
        flops = n * (max(self.depths) * 8.0 + len(self.depths) * 20.0) * self.width**3
        return Cost(flops, 80.0 * self.width**2, flops / 8e9 + 2)
