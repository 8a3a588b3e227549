"""What shape does: the hard phase is widest for cubes, and modes are recovered unequally."""

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

# Thresholds at prior mean 0.2 by continuation of each branch, an independent method.
SHAPES = ((1, 1, 1), (1, 1, 2), (1, 2, 2), (1, 1, 4), (1, 2, 4), (1, 4, 4), (1, 3, 9))
ALG = (0.15331, 0.15486, 0.15475, 0.15971, 0.15779, 0.15883, 0.16448)
IT = (0.27627, 0.27395, 0.27377, 0.26766, 0.26921, 0.26627, 0.25943)
DYN = (0.29349, 0.29076, 0.29055, 0.28329, 0.28516, 0.28172, 0.27356)
TABLE_MEAN = 0.2
WIDEST = "arXiv:1810.10065, abstract: the hard phase is widest for cubic tensors"
UNEQUAL = "arXiv:1810.10065: modes differ in quality; state evolution, docs/theory/tensors.md (T18)"


@dataclass(frozen=True)
class TensorsShape(Study):
    """Thresholds over all shapes, and the quality of each mode of a long array."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"n_grid": 5, "side": 24, "n_draws": 1, "n_means": 3},
        "paper": {"n_grid": 31, "side": 400, "n_draws": 20, "n_means": 41},
        "explore": {"n_grid": 5, "side": 60, "n_draws": 1, "n_means": 3},
    }

    n_grid: Annotated[int, Range(3, 101)] = 13
    """Shapes along each side of the triangle of shapes."""
    largest_ratio: Annotated[float, Range(1.5, 100.0)] = 16.0
    """Largest ratio of two sizes on the triangle."""
    side: Annotated[int, Range(8, 2000, log=True)] = 200
    """Geometric mean of the sizes at which message passing is run."""
    mean: Annotated[float, Range(0.36, 5.0)] = 0.4
    """Prior mean at which message passing is run; beyond 1/sqrt(8) nothing jumps."""
    noise: Annotated[float, Range(1e-3, 5.0, log=True)] = 0.3
    """Noise variance Delta at which message passing is run."""
    n_draws: Annotated[int, Range(1, 100)] = 4
    """Tensors drawn of each shape."""
    n_means: Annotated[int, Range(2, 101)] = 11
    """Prior means at which arrays of growing length 1 : 1 : k are asked for a hard phase."""

    @property
    def arrays(self) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the arrays, of the same number of entries."""
        ratios = ((1, 1, 1), (0.5, 1, 2), (0.63, 0.63, 2.52))
        return tuple(
            (round(self.side * a), round(self.side * b), round(self.side * c)) for a, b, c in ratios
        )

    @property
    def triangle(self) -> np.ndarray:
        """Aspect ratios on a triangular grid of log n_a around the cube, (K, 3)."""
        steps = np.linspace(0, 1, self.n_grid)
        weights = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
        # The corners are long in one mode. The cube is added: the grid may miss the middle.
        weights = np.concatenate([weights, np.full((1, 3), 1 / 3)])
        return np.exp((weights - 1 / 3) * np.log(self.largest_ratio))

    @property
    def lengths(self) -> np.ndarray:
        """Lengths k of the arrays 1 : 1 : k, from the cube to the largest ratio."""
        return np.geomspace(1.0, self.largest_ratio, (self.n_grid + 1) // 2)

    @property
    def means(self) -> np.ndarray:
        """Prior means of the map over mean and length; the hard phase of a cube ends in it."""
        return np.linspace(0.02, 0.4, self.n_means)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.tensors._trials import trial

        points = [
            {
                "shape": shape,
                "priors": f"gaussian({self.mean})",
                "noise": self.noise,
                "seed": run.seed + draw,
            }
            for shape in self.arrays
            for draw in range(self.n_draws)
        ]
        final = np.stack([result.final.values for result in run.map(trial, points)])
        overlap = final.reshape(len(self.arrays), self.n_draws, 3)
        return xr.Dataset({"overlap": (("array", "draw", "mode"), overlap, {"units": "1"})})

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.tensors import state_evolution

        table = thresholds_of(SHAPES, (TABLE_MEAN,))[0]
        grid = thresholds_of(tuple(map(tuple, self.triangle)), (TABLE_MEAN,))[0]
        long = thresholds_of(tuple((1.0, 1.0, k) for k in self.lengths), tuple(self.means))
        overlap = [
            state_evolution(shape, f"gaussian({self.mean})", self.noise, tol=1e-9).overlap[:, 0, 0]
            for shape in self.arrays
        ]
        one = {"units": "1"}
        names = ("alg", "it", "dyn")
        return xr.Dataset(
            {
                **{f"table_{name}": ("row", table[:, i], one) for i, name in enumerate(names)},
                **{name: ("shape", grid[:, i], one) for i, name in enumerate(names)},
                "hard_width": (("mean", "length"), hard_width(long), one),
                "tricritical": ("length", [tricritical(float(k)) for k in self.lengths], one),
                "aspect": (("shape", "mode"), self.triangle, one),
                "overlap": (("array", "mode"), np.stack(overlap), one),
            },
            coords={"mean": self.means, "length": self.lengths},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        for name, values in (("alg", ALG), ("it", IT), ("dyn", DYN)):
            error = float(np.abs(theory[f"table_{name}"].values - np.array(values)).max())
            yield Check(
                f"delta_{name} of seven shapes",
                error,
                5e-4,
                kind="at_most",
                source="branches continued one by one, docs/theory/tensors.md (T16)",
            )
        spread = np.ptp(theory.aspect.values, axis=1)
        cube = int(np.argmin(spread)) if spread.any() else 0
        for upper in ("it", "dyn"):
            width = (theory[upper] - theory.alg).values
            others = np.delete(width, cube)
            yield Check(
                f"hard phase widest for cubic shapes: delta_{upper} - delta_alg of the cube over "
                "the largest of all others",
                width[cube] / others.max() if others.max() > 0 else np.nan,
                1.0,
                atol=1e-9,
                kind="at_least",
                source=WIDEST,
            )
        width = theory.hard_width.values
        hard = width[:, 0] > 0
        ends = theory.tricritical.values
        yield Check(
            "tricritical mean of the cube", float(ends[0]), 8**-0.5, atol=1e-6,
            source="closed form, docs/theory/tensors.md (T27)",
        )  # fmt: skip
        yield Check(
            "hard phase widest for the cube at every prior mean: that of 1 : 1 : k over it",
            float((width[hard, 1:] / width[hard, :1]).max()) if hard.any() else np.nan,
            1.0,
            kind="at_most",
            source=WIDEST,
        )
        mean = measured.overlap.mean("draw")
        gap = float(abs(mean - theory.overlap).max())
        bound = 0.06 if self.side >= 100 else 0.6
        yield Check("overlap of each mode: AMP - SE", gap, bound, kind="at_most", source=UNEQUAL)
        order = [np.argsort(v.isel(array=1).values, kind="stable") for v in (mean, theory.overlap)]
        yield Check(
            "modes recovered unequally: the longer, the worse",
            float((order[0] == [2, 1, 0]).all() and (order[1] == [2, 1, 0]).all()),
            1,
            source=UNEQUAL,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        width = (theory.it - theory.alg).values
        widest = theory.aspect.values[int(np.argmax(width))]
        yield (
            "The hard phase is widest for sizes in the ratio "
            + " : ".join(f"{n / widest.min():.2f}" for n in widest)
            + f", where it spans {width.max():.4f} in noise variance; over the triangle it falls "
            f"to {width.min():.4f}."
        )
        ends = theory.tricritical.values
        yield (
            f"The cube has a hard phase up to a prior mean of {ends[0]:.4f}, an array of 1 : 1 : "
            f"{self.largest_ratio:g} up to {ends[-1]:.4f}."
        )
        rows = tuple(
            (
                " : ".join(map(str, shape)),
                *(round(float(theory[f"table_{n}"][i]), 5) for n in ("alg", "it", "dyn")),
            )
            for i, shape in enumerate(SHAPES)
        )
        yield Table(
            f"Thresholds at prior mean {TABLE_MEAN}",
            ("shape", "delta_alg", "delta_it", "delta_dyn"),
            rows,
        )
        mean = measured.overlap.mean("draw").values
        yield Table(
            f"Overlap of each mode at prior mean {self.mean:g}, noise {self.noise:g}",
            ("sizes", "state evolution", f"AMP, mean of {self.n_draws}"),
            tuple(
                (
                    " x ".join(map(str, shape)),
                    ", ".join(f"{v:.3f}" for v in theory.overlap.values[i]),
                    ", ".join(f"{v:.3f}" for v in mean[i]),
                )
                for i, shape in enumerate(self.arrays)
            ),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.tensors.plots import plot_shape_ternary

        ternary = plot_shape_ternary(theory.aspect.values, (theory.it - theory.alg).values)
        figure, ax = plot.new(size=(5.2, 3.6))
        for i, shape in enumerate(self.arrays):
            color = f"C{i}"
            order = np.argsort(shape, kind="stable")
            sizes = np.array(shape, float)[order]
            name = " x ".join(map(str, shape))
            line = theory.overlap.values[i][order]
            if len(set(sizes)) == 1:  # a cube is one point
                sizes = sizes[:1] * np.array([0.9, 1.0, 1.1])
            plot.theory(ax, sizes, line, color=color, label=f"{name}, state evolution")
            draws = measured.overlap.isel(array=i)
            plot.measurement(
                ax,
                sizes,
                draws.mean("draw").values[order],
                error=draws.std("draw").values[order],
                color=color,
                label="AMP",
            )
        ax.set(xscale="log", xlabel="size of the mode", ylabel="overlap with the truth, $M_a$")
        ax.legend(fontsize="x-small")
        figure.set_label(
            "Overlap of each mode against its size: longer modes get less information per entry. "
            "State evolution (lines), message passing (mean and standard deviation over draws)."
        )
        return {"triangle": ternary, "means": self._map(theory), "modes": figure}

    def _map(self, theory: xr.Dataset) -> Figure:
        """Draw the width of the hard phase over prior mean and length."""
        from tractable import plot

        figure, ax = plot.new(size=(5.2, 3.6))
        width = theory.hard_width.values
        filled = ax.contourf(theory["mean"], theory.length, width.T, levels=12, cmap="viridis")
        figure.colorbar(filled, ax=ax).set_label(
            r"width of the hard phase, $\Delta_{IT} - \Delta_{alg}$"
        )
        ax.plot(theory.tricritical, theory.length, "--", color="white")
        ax.text(0.97, 0.94, "no hard\nphase", color="white", transform=ax.transAxes, ha="right",
                va="top", fontsize="small")  # fmt: skip
        ax.set(
            yscale="log", xlabel=r"prior mean $\mu$", ylabel="length $k$ of the array 1 : 1 : $k$"
        )
        ax.set_yticks([k for k in (1, 2, 4, 8, 16, 32, 64) if k <= self.largest_ratio])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        figure.set_label(
            "Width of the hard phase over prior mean and length of the array: at every mean it is "
            "widest for the cube, and longer arrays lose it at a smaller mean (dashed)."
        )
        return figure

    def cost(self, run: Run) -> Cost:
        from tractable.studies.tensors._trials import cost_of

        prior = f"gaussian({self.mean})"
        return cost_of((self.side,) * 3, prior, self.noise, 3 * self.n_draws, 30)


def hard_width(found: np.ndarray) -> np.ndarray:
    """Return delta_it - delta_alg, 0 where nothing jumps, of thresholds (..., 3)."""
    jumps = np.isfinite(found[..., 0])
    return np.where(jumps, found[..., 1] - np.where(jumps, found[..., 0], 0.0), 0.0)


def thresholds_of(shapes: tuple[tuple[float, ...], ...], means: tuple[float, ...]) -> np.ndarray:
    """Return delta_alg, delta_it and delta_dyn, (means, shapes, 3)."""
    # The order of the sizes changes nothing: most shapes of a triangle are there several times.
    keys = [tuple(sorted(round(float(n), 13) for n in shape)) for shape in shapes]
    return np.array([[three_thresholds(key, float(mean)) for key in keys] for mean in means])


@functools.lru_cache(maxsize=4096)
def three_thresholds(shape: tuple[float, ...], mean: float) -> tuple[float, float, float]:
    """Return delta_alg, delta_it and delta_dyn."""
    from tractable.tensors import thresholds

    found = thresholds(shape, f"gaussian({mean})")
    return found.alg, found.it, found.dyn


@functools.lru_cache(maxsize=256)
def tricritical(length: float) -> float:
    """Return the prior mean beyond which nothing jumps, of arrays 1 : 1 : length."""
    from tractable.tensors import tricritical_mean

    return tricritical_mean((1.0, 1.0, length))
