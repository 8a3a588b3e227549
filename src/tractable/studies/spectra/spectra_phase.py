"""Phase plane, critical lines and fixed points."""

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

    from tractable.spectra import CriticalPoints

# phi, q*, sigma_w^2, sigma_b^2: independent quadratures, to the digits given.
TABLE = (
    ("tanh", 0.015625, 1.03055751, 4.651333e-6),
    ("tanh", 0.02592094821, 1.05, 2.010521e-5),
    ("tanh", 0.1, 1.17756910, 8.322804e-4),
    ("tanh", 1.0, 2.15330265, 0.150964629),
    ("hard_tanh", 0.25, 1.04766923, 0.008895448),
    ("relu", 1.0, 2.0, 0.0),
)
SETTING = "arXiv:1711.04735, tanh setting sigma_w^2 = 1.05"
QUADRATURE = "exact: 1 / E[phi'^2], independent quadrature to the printed digits"


@dataclass(frozen=True)
class SpectraPhase(Study):
    """Order, chaos, and the critical line of a nonlinearity, with the length map iterated."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2017,
        "Resurrecting the sigmoid in deep learning through dynamical isometry",
        arxiv="1711.04735",
    )
    presets: ClassVar = {
        "smoke": {"n_grid": 8, "width": 200, "n_layers": 20},
        "paper": {"n_grid": 100, "width": 1000, "n_layers": 200},
    }

    phi: str = "tanh"
    """Nonlinearity: a built-in name, also with parameters as in shifted_relu(0.5)."""
    n_grid: Annotated[int, Range(2, 500)] = 40
    """Points of the plane along each axis."""
    sigma_w_max: Annotated[float, Range(0.5, 10.0)] = 3.0
    """Largest standard deviation of the weights."""
    width: Annotated[int, Range(10, 5000, log=True)] = 300
    """Units of the network whose variance is followed."""
    n_layers: Annotated[int, Range(2, 1000)] = 60
    """Its layers."""

    def measure(self, run: Run) -> xr.Dataset:
        """Follow q through one network at each of four points of the critical line."""
        import xarray as xr

        from tractable.spectra import simulate

        q = np.array([0.05, 0.2, 0.5, 1.0])
        layers = [
            simulate(
                self.phi,
                1,
                "gaussian",
                q=float(one),
                width=self.width,
                n_draws=self.n_layers,
                seed=run.seed,
                progress=run.show_progress,
            )
            for one in run.track(q, "q*")
        ]
        chi = np.array([one.chi.mean() for one in layers])
        error = np.array([one.chi.std() for one in layers]) / np.sqrt(self.n_layers)
        return xr.Dataset(
            {"chi": ("q", chi, {"units": "1"}), "chi_error": ("q", error, {"units": "1"})},
            coords={"q": q},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.spectra import phase_diagram

        sigma_w = np.linspace(0.5, self.sigma_w_max, self.n_grid)
        plane = phase_diagram(self.phi, sigma_w, np.linspace(0.0, 1.0, self.n_grid))
        line = critical(self.phi).to_dataset()
        listed = [critical(phi, q) for phi, q, *_ in TABLE]
        table = {
            name: ("row", np.array([getattr(p, name)[0] for p in listed]), {"units": "1"})
            for name in ("sigma_w2", "sigma_b2")
        }
        return xr.merge(
            [
                plane.to_dataset(),
                line.rename({"q": "q_line", "sigma_w": "line_w", "sigma_b": "line_b"})[
                    ["line_w", "line_b", "v"]
                ],
                xr.Dataset(table).rename(sigma_w2="listed_w2", sigma_b2="listed_b2"),
            ]
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        for i, (phi, q, w2, b2) in enumerate(TABLE):
            source = SETTING if w2 == 1.05 else QUADRATURE
            found = theory.listed_w2.values[i]
            yield Check(f"sigma_w^2 of {phi} at q* = {q:g}", found, w2, atol=1e-8, source=source)
            found = theory.listed_b2.values[i]
            yield Check(f"sigma_b^2 of {phi} at q* = {q:g}", found, b2, atol=1e-8, source=source)
        z = float((abs(measured.chi - 1) / measured.chi_error.clip(1e-12)).max())
        text = "largest deviation of the sampled chi from 1, in standard errors"
        yield Check(text, z, 4.0, kind="at_most", source="standard errors over the layers")

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        chaotic = float((theory.chi > 1).mean())
        yield f"{self.phi}: {chaotic:.0%} of the plane shown is chaotic (chi > 1)."
        rows = tuple(
            (phi, q, float(w), float(b))
            for (phi, q, *_), w, b in zip(
                TABLE, theory.listed_w2.values, theory.listed_b2.values, strict=True
            )
        )
        yield Table("Critical networks", ("phi", "q*", "sigma_w^2", "sigma_b^2"), rows)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.spectra.plots import plot_phase_plane

        return {"phase_plane": plot_phase_plane(theory, self.phi)}

    def cost(self, run: Run) -> Cost:
        size = 4 * self.n_layers * self.width**2
        return Cost(size * 12.0 * self.width, 40.0 * self.width**2, size * self.width * 4e-10 + 2)


@functools.lru_cache(maxsize=64)
def critical(phi: str, q: float | None = None) -> CriticalPoints:
    """Return the point of a critical line at q, or the line over four decades of q."""
    from tractable.spectra import critical_line

    return critical_line(phi, np.geomspace(1e-3, 10.0, 60) if q is None else q)
