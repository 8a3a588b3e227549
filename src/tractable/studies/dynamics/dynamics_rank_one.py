"""The pitchfork of a rank-one network: the smallest memory that can be solved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DynamicsRankOne(Study):
    """A rank-one tanh network stores one bit: its fixed points, solved and found."""

    paper: ClassVar = Paper(
        "Sussillo, Barak",
        2013,
        "Opening the black box: low-dimensional dynamics in high-dimensional recurrent networks",
        doi="10.1162/NECO_a_00409",
    )
    presets: ClassVar = {
        "smoke": {"n_units": 16, "n_gains": 5, "n_starts": 32},
        "paper": {"n_units": 200, "n_gains": 41, "n_starts": 512},
    }

    n_units: Annotated[int, Range(2, 2000, log=True)] = 64
    """Units of the network."""
    gain_low: Annotated[float, Range(0.0, 20.0)] = 0.5
    """Smallest gain g."""
    gain_high: Annotated[float, Range(0.0, 20.0)] = 3.0
    """Largest gain g."""
    n_gains: Annotated[int, Range(2, 1000)] = 16
    """Number of gains between the two, equally spaced."""
    n_starts: Annotated[int, Range(1, 100_000, log=True)] = 256
    """Starts of the search, per gain."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gain_low >= self.gain_high:
            raise ValueError(
                f"gain_low must be below gain_high, got {self.gain_low} and {self.gain_high}"
            )

    @property
    def gains(self) -> np.ndarray:
        """The gains g of the sweep, shape (n_gains,)."""
        return np.linspace(self.gain_low, self.gain_high, self.n_gains)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "gain": float(gain),
                "n_units": self.n_units,
                "n_starts": self.n_starts,
                "seed": run.seed,
            }
            for gain in self.gains
        ]
        return xr.concat(run.map(find_roots, points), "gain")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Solve kappa = tanh(g kappa); the slope along the pattern is g (1 - kappa^2)."""
        import xarray as xr

        gain = np.union1d(np.linspace(self.gain_low, self.gain_high, 401), self.gains)
        kappa = memory_overlap(gain)
        return xr.Dataset(
            {
                "overlap": ("gain", kappa, {"units": "1"}),
                "eigenvalue": ("gain", gain * (1 - kappa**2), {"units": "1"}),
                "n_roots": ("gain", np.where(gain > 1, 3, 1), {"units": "1"}),
            },
            coords={"gain": gain},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        # At the bifurcation itself the root is degenerate and converges only as a cube root.
        clear = np.abs(measured.gain.values - 1) > 0.05
        found, exact = measured.isel(gain=clear), theory.sel(gain=measured.gain[clear])
        outermost = found.isel(root=found.overlap.fillna(-np.inf).argmax("root"))
        error = float(abs(outermost.overlap - exact.overlap).max())
        yield Check("error of the stored overlap", error, 1e-9, kind="at_most", source=SOLVED)
        error = float(abs(outermost.eigenvalue - exact.eigenvalue).max())
        yield Check("error of its largest eigenvalue", error, 1e-8, kind="at_most", source=SOLVED)
        wrong = int((found.n_roots != exact.n_roots).sum())
        yield Check("gains with a wrong number of roots", wrong, 0, source=SOLVED)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        strongest = measured.isel(gain=-1)
        kappa = float(strongest.overlap.max())
        memory = float(memory_time_constant(self.gain_high))
        yield (
            f"At gain g = {self.gain_high:g} the network has {int(strongest.n_roots)} fixed "
            f"points; it stores its pattern with overlap {kappa:.6f}."
        )
        yield (
            f"A perturbation of the stored pattern decays with a time constant of {memory:.3g} "
            f"steps; it grows without bound as g falls to 1, where the memory is lost."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.6, 3.6))
        g, kappa = theory.gain.values, theory.overlap.values
        plot.theory(ax, g, np.where(g >= 1, kappa, np.nan), color="C0", label="theory, stable")
        plot.theory(ax, g, np.where(g >= 1, -kappa, np.nan), color="C0", label="_")
        plot.theory(ax, g, np.where(g <= 1, 0.0, np.nan), color="C0", label="_")
        saddle = np.where(g >= 1, 0.0, np.nan)
        ax.plot(g, saddle, ":", color="C1", label="theory, unstable", zorder=2)
        stable = measured.eigenvalue.values < 1
        at = np.broadcast_to(measured.gain.values[:, None], stable.shape)
        overlap = measured.overlap.values
        plot.measurement(ax, at[stable], overlap[stable], color="C0", label="roots found, stable")
        plot.measurement(
            ax,
            at[~stable],
            overlap[~stable],
            color="C1",
            mfc="white",
            label="roots found, unstable",
        )
        ax.set(xlabel="gain g", ylabel=r"overlap with the pattern, $\kappa$")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            "Fixed points of a rank-one tanh network against its gain: below g = 1 the network "
            "forgets, above it two stable points store the pattern and its negative, with the "
            "unstable origin between them."
        )
        return {"pitchfork": figure}

    def cost(self, run: Run) -> Cost:
        import time

        find_roots(self.gain_high, 2, 1, run.seed)  # pays for the imports
        started = time.perf_counter()
        find_roots(self.gain_high, self.n_units, self.n_starts, run.seed)
        seconds = time.perf_counter() - started
        per_start = 10 * (2 / 3) * self.n_units**3
        memory = 5 * 8 * self.n_starts * self.n_units**2
        return Cost(self.n_gains * self.n_starts * per_start, memory, self.n_gains * seconds)


SOLVED = "exact: kappa = tanh(g kappa), eigenvalue g (1 - kappa^2)"
MAX_ROOTS = 5


def memory_overlap(gain: np.ndarray | float) -> np.ndarray:
    """Return the largest solution kappa of kappa = tanh(g kappa), 0 for g <= 1.

    Examples
    --------
    >>> round(float(memory_overlap(2.0)), 12)
    0.957504024077
    """
    g = np.atleast_1d(np.asarray(gain, dtype=float))
    kappa = np.where(g > 1, np.tanh(g), 0.0)
    for _ in range(200):  # Newton from above: f is concave there, so it converges monotonically
        slope = g * (1 - np.tanh(g * kappa) ** 2) - 1
        step = (np.tanh(g * kappa) - kappa) / np.where(slope == 0, np.inf, slope)
        kappa = np.where(g > 1, kappa - step, 0.0)
    return kappa if np.ndim(gain) else kappa[0]


def memory_time_constant(gain: float) -> float:
    """Return 1 / |ln(g (1 - kappa^2))|, in steps."""
    kappa = float(memory_overlap(gain))
    rate = abs(np.log(gain * (1 - kappa**2))) if gain > 0 else np.inf
    return 1 / rate if rate else np.inf


def find_roots(gain: float, n_units: int, n_starts: int, seed: int) -> xr.Dataset:
    """Find the fixed points of h -> tanh(g s s^T h / N) from random starts along the pattern s."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import generator
    from tractable.dynamics import as_cell, find_points

    random = generator(seed)
    pattern = torch.randint(0, 2, (n_units,), generator=random).double() * 2 - 1
    weight = gain * torch.outer(pattern, pattern) / n_units
    network = torch.nn.RNN(1, n_units, bias=False, batch_first=True).double()
    network.load_state_dict(
        {"weight_hh_l0": weight, "weight_ih_l0": torch.zeros(n_units, 1, dtype=torch.float64)}
    )
    along = torch.rand(n_starts, 1, generator=random, dtype=torch.float64) * 2.4 - 1.2
    noise = torch.randn(n_starts, n_units, generator=random, dtype=torch.float64)
    with quiet():  # at g = 1 the roots merge, and the counts that are checked say so
        points = find_points(
            as_cell(network), along * pattern + 0.1 * noise, kind="root", progress=False
        )
    overlap = (points.state @ pattern / n_units).numpy()
    eigenvalue = points.modes().eigvals[:, 0].abs().numpy()
    order = np.argsort(overlap)[:MAX_ROOTS]
    padded: dict[str, Any] = {}
    for name, values in (("overlap", overlap), ("eigenvalue", eigenvalue)):
        row = np.full(MAX_ROOTS, np.nan)
        row[: len(order)] = values[order]
        padded[name] = ("root", row, {"units": "1"})
    return xr.Dataset(
        {**padded, "n_roots": ((), len(points), {"units": "1"})}, coords={"gain": gain}
    )
