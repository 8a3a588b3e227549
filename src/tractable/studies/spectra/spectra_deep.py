"""Deep spectra against sampled networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.studies.spectra._sampled import NETS, distances, sample, spectrum
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "arXiv:1802.09979: theory and width-1000 simulation agree; bar scaled to width 400"


@dataclass(frozen=True)
class SpectraDeep(Study):
    """Singular values of the input-output Jacobian at initialization, theory and samples."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2018,
        "The emergence of spectral universality in deep networks",
        arxiv="1802.09979",
    )
    presets: ClassVar = {
        "smoke": {"depths": (2, 4), "width": 60, "n_seeds": 1},
        "paper": {"depths": (2, 8, 32, 128), "width": 1000},
    }

    depths: Annotated[tuple[int, ...], Range(2, 1000)] = (2, 8, 32)
    """Depths."""
    width: Annotated[int, Range(10, 4000, log=True)] = 400
    """Units of each layer."""
    n_seeds: Annotated[int, Range(1, 20)] = 3
    """Networks of each kind."""
    start: Literal["drawn", "scaled"] = "drawn"
    """First pre-activations: as drawn, or scaled to the mean square q* exactly."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "name": net[0],
                "depths": self.depths,
                "width": self.width,
                "seed": run.seed + i,
                "start": self.start,
            }
            for net in NETS
            for i in range(self.n_seeds)
        ]
        found = run.map(sample, points)
        nets = [
            xr.concat(found[i : i + self.n_seeds], "seed")
            for i in range(0, len(found), self.n_seeds)
        ]
        return xr.concat(nets, xr.IndexVariable("net", [net[0] for net in NETS]))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        p = np.linspace(0.02, 0.98, 49)
        s = np.empty((len(NETS), len(self.depths), p.size))
        for i, (_, phi, ensemble, q) in enumerate(NETS):
            for j, depth in enumerate(self.depths):
                s[i, j] = singular_quantiles(phi, depth, ensemble, q, tuple(p))
        coords = {"net": [net[0] for net in NETS], "depth": list(self.depths), "p": p}
        return xr.Dataset({"s": (("net", "depth", "p"), s, {"units": "1"})}, coords=coords)

    def _bar(self, depth: int, ensemble: str) -> float:
        bar = 0.025 if ensemble == "gaussian" else 0.05
        return max(bar, bar * np.sqrt(400 / self.width))

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        found = distances(measured)
        for i, (name, _, ensemble, _) in enumerate(NETS):
            for j, depth in enumerate(self.depths):
                text = f"{name}, depth {depth}: Kolmogorov-Smirnov distance"
                bar = self._bar(depth, ensemble)
                yield Check(text, found[i, j], bar, kind="at_most", source=SOURCE)
            draws = np.sqrt(measured.eigenvalues.isel(net=i, depth=0, seed=0).values)
            top = float(theory.s.isel(net=i, depth=0)[-1])
            value = float(np.quantile(draws, 0.98))
            text = f"{name}, depth {self.depths[0]}: quantile .98 of the singular values"
            yield Check(text, value, top, rtol=40 / self.width, source=SOURCE)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        found = distances(measured)
        rows = tuple(
            (net[0], net[3], *(f"{x:.4f}" for x in row))
            for net, row in zip(NETS, found, strict=True)
        )
        head = ("network", "q*", *(f"L = {depth}" for depth in self.depths))
        yield Table(f"Distance of theory and samples, width {self.width}", head, rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.spectra.plots import plot_density

        figure, axes = plot.new(2, 4, size=(12, 5.6))
        depth = self.depths[-1]
        for ax, (name, phi, ensemble, q) in zip(axes.flat, NETS, strict=False):
            draws = measured.eigenvalues.sel(net=name, depth=depth).values
            with plot.style():
                plot_density(spectrum(phi, depth, ensemble, q), draws, ax)
            ax.set_title(name)
        axes.flat[-1].axis("off")
        figure.set_label(
            f"Density of log singular values at depth {depth}, width {self.width}: theory (line) "
            f"and sampled networks (points)."
        )
        return {"densities": figure}

    def cost(self, run: Run) -> Cost:
        layers = len(NETS) * self.n_seeds * max(self.depths)
        flops = layers * 8.0 * self.width**3
        flops += len(NETS) * self.n_seeds * len(self.depths) * 20.0 * self.width**3
        return Cost(flops, 80.0 * self.width**2, flops / 8e9 + 2)


@functools.lru_cache(maxsize=256)
def singular_quantiles(
    phi: str, depth: int, ensemble: str, q: float, p: tuple[float, ...]
) -> np.ndarray:
    """Return the quantiles of the singular values of one network."""
    return np.sqrt(spectrum(phi, depth, ensemble, q).quantile(p))
