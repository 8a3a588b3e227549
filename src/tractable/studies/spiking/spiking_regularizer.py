"""Strength and exponent of the heterosynaptic regularizer under random feedback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.spiking import _picture_task as picture
from tractable.studies.spiking.spiking_picture import picture_cost
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "arXiv:1705.11146, Fig. 8: rates fall with the strength"
EXPONENTS = (0, 4)


@dataclass(frozen=True)
class SpikingRegularizer(Study):
    """The heterosynaptic regularizer lowers hidden rates under random feedback."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Zenke, Ganguli",
        2018,
        "SuperSpike: Supervised learning in multilayer spiking neural networks",
        arxiv="1705.11146",
    )
    presets: ClassVar = {
        "smoke": {"n_updates": 4, "n_inputs": 30, "n_hidden": 8, "n_outputs": 10, "n_strengths": 2},
        "paper": {
            "n_strengths": 7, "n_hidden": 256, "n_outputs": 100, "loop": 3500.0,
            "n_updates": 2000, "n_seeds": 5,
        },
    }  # fmt: skip

    low: Annotated[float, Range(1e-8, 1e4, log=True)] = 1e-2
    """Smallest strength rho."""
    high: Annotated[float, Range(1e-8, 1e4, log=True)] = 1e2
    """Largest one."""
    n_strengths: Annotated[int, Range(2, 20)] = 3
    """Strengths, log-spaced."""
    n_inputs: Annotated[int, Range(1, 10_000, log=True)] = 100
    """Input neurons."""
    n_hidden: Annotated[int, Range(1, 5000, log=True)] = 64
    """Hidden neurons."""
    n_outputs: Annotated[int, Range(2, 5000, log=True)] = 30
    """Output neurons."""
    loop: Annotated[float, Range(100.0, 60_000.0, log=True)] = 500.0
    """Length of the picture, ms."""
    n_updates: Annotated[int, Range(4, 100_000, log=True)] = 120
    """Changes of the weights, one in 500 ms."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Independent runs, all reported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    @property
    def strengths(self) -> np.ndarray:
        """Strengths rho; 0 comes first."""
        return np.concatenate([[0.0], np.geomspace(self.low, self.high, self.n_strengths)])

    def point(self, exponent: int, strength: float, seed: int) -> dict:
        """Return the parameters of one run."""
        return {
            "seed": seed, "kind": "cross", "n_inputs": self.n_inputs, "n_hidden": self.n_hidden,
            "n_outputs": self.n_outputs, "loop_ms": self.loop, "n_updates": self.n_updates,
            "learning_rate": 1.0, "feedback": "random", "strength": float(strength),
            "exponent": exponent, "surrogate": "fast_sigmoid",
        }  # fmt: skip

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        seeds = [derive(run.seed, "regularizer", i) for i in range(self.n_seeds)]
        grid = [(a, r, s) for a in EXPONENTS for r in self.strengths for s in seeds]
        found = run.map(picture.learn_picture, [self.point(*point) for point in grid])
        shape = (len(EXPONENTS), len(self.strengths), self.n_seeds)
        at = ("exponent", "strength", "seed")
        return xr.Dataset(
            {
                name: (at, np.reshape([float(d[name]) for d in found], shape), found[0][name].attrs)
                for name in ("final_cost", "hidden_rate", "interval_cv")
            },
            coords={"exponent": list(EXPONENTS), "strength": self.strengths},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return how strongly Poisson neurons of a rate are held back, E z^a."""
        import xarray as xr

        from tractable.spiking import zeta_moment

        rate = np.geomspace(0.5, 200, 101)
        return xr.Dataset(
            {
                "zeta": (("exponent", "rate"),
                         np.stack([zeta_moment(rate / 10, a) for a in EXPONENTS]), {"units": "1"}),
                "plain": ((), 1.0, {"units": "1"}),
            },
            coords={"exponent": list(EXPONENTS), "rate": ("rate", rate, {"units": "Hz"})},
        )  # fmt: skip

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        rate = measured.hidden_rate.mean("seed").sel(exponent=4)
        plain = float(measured.hidden_rate.sel(strength=0.0).mean())
        moment = theory.zeta.sel(exponent=4).interp(rate=20.0)
        yield Check("E z^4 of a Poisson neuron of 20 Hz", float(moment), 48.8333, rtol=0.01,
                    source="arXiv:1705.11146: x (3 + 25 x + 36 x^2 + 12 x^3) / 12")  # fmt: skip
        if self.n_updates < 60:
            return
        rises = float(np.diff(rate.values).max() / plain)
        yield Check("largest rise of the hidden rate with the strength, over the plain rate",
                    rises, 0.1 * float(theory.plain), kind="at_most", source=SOURCE)  # fmt: skip
        fall = plain / float(rate.isel(strength=-1))
        yield Check("hidden rate, plain over strongest", fall, 3.0, kind="at_least", source=SOURCE)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        plain = float(measured.hidden_rate.sel(strength=0.0).mean())
        cost = measured.final_cost.mean("seed")
        best = cost.sel(exponent=4).isel(strength=slice(1, None))
        strength = float(best.strength[int(best.values.argmin())])
        yield (
            f"Without regularizer hidden neurons fire at {plain:.3g} Hz; the best of the strengths "
            f"with a = 4 is {strength:g}: cost {float(best.min()):.3g} per target spike, plain "
            f"{float(cost.sel(strength=0.0).mean()):.3g}."
        )
        rows = tuple(
            (a, f"{float(r):g}", round(float(cost.sel(exponent=a, strength=r)), 3),
             round(float(measured.hidden_rate.mean("seed").sel(exponent=a, strength=r)), 1))
            for a in EXPONENTS for r in measured.strength.values
        )  # fmt: skip
        yield Table(
            "Means over seeds", ("exponent a", "strength", "cost", "hidden rate (Hz)"), rows
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 2, size=(8.0, 3.4))
        strength = self.strengths[1:]
        for ax, name, label in zip(
            axes, ("hidden_rate", "final_cost"), ("hidden rate (Hz)", "cost per target spike"),
            strict=True,
        ):  # fmt: skip
            for i, a in enumerate(EXPONENTS):
                values = measured[name].sel(exponent=a).isel(strength=slice(1, None))
                middle = values.mean("seed").values
                error = np.abs(np.stack([values.min("seed"), values.max("seed")]) - middle)
                plot.measurement(ax, strength, middle, error=error, color=f"C{i}", label=f"a = {a}")
            plain = float(measured[name].sel(strength=0.0).mean())
            ax.axhline(plain, color="0.4", ls="--", lw=0.9, label="not regularized")
            ax.set_xscale("log")
            ax.set(xlabel=r"strength $\rho$", ylabel=label)
        axes[0].legend()
        figure.set_label(
            "Hidden rate and cost against the strength of the regularizer, for a = 0 (plain weight "
            "decay) and a = 4; markers are means over seeds, bars the range."
        )
        return {"strength": figure}

    def cost(self, run: Run) -> Cost:
        repeats = len(EXPONENTS) * len(self.strengths) * self.n_seeds
        return picture_cost([self.point(4, 1.0, 0)], repeats)
