"""Two universality classes of deep isometric networks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "arXiv:1802.09979, limit of infinite depth; rates derived in the theory page's limit"
CLASSES = {"hard_tanh": "bernoulli", "shifted_relu(0.5)": "bernoulli", "erf": "smooth",
           "tanh": "smooth", "sin": "smooth"}  # fmt: skip


@dataclass(frozen=True)
class SpectraUniversality(Study):
    """Spectra at fixed variance collapse onto two limit laws as the depth grows."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2018,
        "The emergence of spectral universality in deep networks",
        arxiv="1802.09979",
    )
    presets: ClassVar = {
        "smoke": {"depths": (16, 64)},
        "paper": {"depths": (16, 64, 256, 1024, 4096)},
    }

    sigma0_2: Annotated[float, Range(0.05, 4.0)] = 0.25
    """Variance of the eigenvalues, the same at every depth."""
    depths: Annotated[tuple[int, ...], Range(2, 100_000)] = (16, 64, 256, 1024)
    """Depths; the last two give the rates."""

    def _grid(self) -> np.ndarray:
        return np.linspace(0.05, 0.98 * math.e * self.sigma0_2 + 2.0, 400)

    def measure(self, run: Run) -> xr.Dataset:
        """Solve finite depths (nothing is random here)."""
        import xarray as xr

        from tractable.spectra import JacobianSpectrum, q_for_variance

        lam = self._grid()
        cdf = np.empty((len(CLASSES), len(self.depths), lam.size))
        q = np.empty(cdf.shape[:2])
        for i, phi in enumerate(run.track(CLASSES, "nonlinearities")):
            for j, depth in enumerate(self.depths):
                q[i, j] = q_for_variance(phi, depth, self.sigma0_2)
                cdf[i, j] = JacobianSpectrum(phi, depth, q=q[i, j]).cdf(lam)
        return xr.Dataset(
            {
                "cdf": (("phi", "depth", "lam"), cdf, {"units": "1"}),
                "q": (("phi", "depth"), q, {"units": "1"}),
            },
            coords={"phi": list(CLASSES), "depth": list(self.depths), "lam": lam},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.spectra import UniversalSpectrum

        lam = self._grid()
        laws = {kind: UniversalSpectrum(kind, self.sigma0_2) for kind in ("bernoulli", "smooth")}
        cdf = np.stack([laws[CLASSES[phi]].cdf(lam) for phi in CLASSES])
        return xr.Dataset(
            {"cdf": (("phi", "lam"), cdf, {"units": "1"})},
            coords={"phi": list(CLASSES), "lam": lam},
        )

    def _distance(self, theory: xr.Dataset, measured: xr.Dataset) -> xr.DataArray:
        return abs(measured.cdf - theory.cdf).max("lam")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        distance = self._distance(theory, measured)
        for phi, kind in CLASSES.items():
            before, last = distance.sel(phi=phi).values[-2:]
            yield Check(
                f"{phi}: distance to the {kind} law, last depth over the one before",
                last / before,
                0.75,
                kind="at_most",
                source=SOURCE,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str]:
        distance = self._distance(theory, measured)
        for phi, kind in CLASSES.items():
            yield (
                f"{phi} at depth {self.depths[-1]}: at most "
                f"{float(distance.sel(phi=phi)[-1]):.2g} from the {kind} law, with "
                f"q* = {float(measured.q.sel(phi=phi)[-1]):.4g}."
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.spectra.plots import plot_collapse

        return {"collapse": plot_collapse(theory, measured, CLASSES)}

    def cost(self, run: Run) -> Cost:
        n = len(CLASSES) * len(self.depths)
        return Cost(n * 1e8, 5e7, n * 0.5 + 1)
