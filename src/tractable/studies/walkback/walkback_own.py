"""Your own points or images: learn an operator, draw, bound the likelihood, ask for circulation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.walkback import _own as own
from tractable.studies.walkback import _pictures as pictures
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

END = "walkback, end of ladder"


@dataclass(frozen=True)
class WalkbackOwn(Study):
    """Learn your own points or images, beside a Gaussian and a mixture."""

    version: ClassVar[int] = 3
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_steps": 30, "n_hidden": 24, "n_draws": 200, "n_paths": 2, "far": 10},
        "paper": {"n_steps": 100_000, "n_hidden": 1024, "n_draws": 10_000, "n_paths": 256},
    }

    data: str = ""
    """A .npy or .npz file of shape (n_points, ...), or a folder of pictures; unsigned integers of
    three or four dimensions are images, other whole numbers get uniform noise. Empty for a
    generated example in the plane."""
    size: Annotated[int, Range(4, 512, log=True)] = 16
    """Width and height to which the pictures of a folder are scaled."""
    color: bool = False
    """Read the pictures of a folder in color."""
    n_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 2000
    """Updates of the weights."""
    n_hidden: Annotated[int, Range(2, 8192, log=True)] = 128
    """Units of each of three hidden layers."""
    sigma: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.07
    """Noise at temperature 1, in standard deviations of the data (of each column of a table): the
    finest scale that matters."""
    factor: Annotated[float, Range(1.01, 4.0)] = 1.25
    """Ratio of successive temperatures; the ladder ends above the largest component."""
    n_draws: Annotated[int, Range(100, 100_000, log=True)] = 1000
    """Generated points of each model."""
    n_paths: Annotated[int, Range(1, 10_000, log=True)] = 32
    """Paths for each point in the importance estimate."""
    far: Annotated[int, Range(1, 100_000, log=True)] = 300
    """Cold steps after the ladder."""
    repeats: Annotated[int, Range(1, 100)] = 3
    """Steps at each temperature in the second way of sampling."""

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.core.seeds import derive

        run.say(own.read(self.data, self.size, self.color)[2])
        point = {
            "data": self.data, "size": self.size, "color": self.color,
            "seed": derive(run.seed, "own"), "n_steps": self.n_steps, "n_hidden": self.n_hidden,
            "sigma": self.sigma, "factor": self.factor, "n_draws": self.n_draws,
            "n_paths": self.n_paths, "far": self.far, "repeats": self.repeats,
        }  # fmt: skip
        return run.map(own.learn_own, [point])[0]

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the log density of the training part's Gaussian, and the ladder's end."""
        import xarray as xr

        from tractable.core.seeds import derive

        x, is_image, _ = own.read(self.data, self.size, self.color)
        train, test, space = own.split(x, is_image, derive(0, "own"))
        variances = np.maximum(space.variances, 1e-4)
        ladder = self.factor ** np.arange(own.ladder(variances, self.sigma, self.factor))
        exact = space.variances + 1e-4
        centered = test[:100] - train.mean(0)
        each = -0.5 * (centered**2 / exact + np.log(2 * np.pi * exact)).sum(1)
        return xr.Dataset(
            {
                "variance": ("component", space.variances, pictures.ONE),
                "gaussian_log_prob": ((), float(each.mean()), pictures.NATS),
                "end_std": ((), self.sigma * float(np.sqrt(ladder[-1])),
                            {"units": "units of the data"}),
            }
        )  # fmt: skip

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gaussian = measured.sel(sample="single Gaussian")
        yield Check("log density of the Gaussian is the exact one", float(gaussian.log_prob),
                    float(theory.gaussian_log_prob), rtol=1e-6, atol=1e-6,
                    source="exact: components are uncorrelated")  # fmt: skip
        end = measured.sel(sample=END)
        yield Check("the bound is below the importance estimate",
                    float(end.log_prob - end.importance), 0.0, kind="at_most",
                    source="exact: Jensen's inequality")  # fmt: skip
        top = float(np.sqrt(theory.variance.max()))
        yield Check("last noise of the ladder over the largest component",
                    float(theory.end_std) / max(top, 1e-12), 1.0, kind="at_least",
                    source="derived: components above the noise are not erased")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        end, gaussian = measured.sel(sample=END), measured.sel(sample="single Gaussian")
        far = int(measured.attrs["far"])
        past = measured.sel(sample=f"walkback, {far} cold steps")
        better = "nearer to" if float(end.mmd2) < float(gaussian.mmd2) else "farther from"
        yield (
            f"Samples at the end of the ladder are {better} new data than those of a single "
            f"Gaussian: MMD² {float(end.mmd2):.4f} against {float(gaussian.mmd2):.4f}; after {far} "
            f"cold steps {float(past.mmd2):.4f}."
        )
        yield (
            f"log p of new data is at least {float(end.importance):.2f} nats (importance estimate; "
            f"bound {float(end.log_prob):.2f}); a single Gaussian gives "
            f"{float(gaussian.log_prob):.2f}. Per point of {int(measured.dim)} dimensions, each in "
            f"units of {measured.attrs['units']}."
        )
        rate, error = float(measured.dissipation), float(measured.dissipation_se)
        verdict = (
            "in equilibrium within the error" if abs(rate) < 3 * error else "out of equilibrium"
        )
        yield f"The cold chain is {verdict}: {rate:.3f} ± {error:.3f} nats per step."
        nearest = float(end.memorization)
        if nearest < 0.7:
            yield f"Samples lie close to training points (ratio {nearest:.2f}): they are repeated."
        columns = ("model", "MMD²", "sliced W", "precision", "recall", "coverage", "nearest train",
                   "log p or bound", "importance")  # fmt: skip
        yield Table("Samples against the test part", columns, tuple(self._rows(measured)))

    def _rows(self, measured: xr.Dataset) -> Iterator[tuple[Any, ...]]:
        for name in measured["sample"].values:
            one = measured.sel(sample=name)

            def number(metric: str, form: str, one: xr.Dataset = one) -> str:
                value = float(one[metric])
                return format(value, form) if np.isfinite(value) else ""

            yield (
                str(name), f"{number('mmd2', '.4f')} ± {number('mmd2_se', '.4f')}",
                number("sliced_wasserstein", ".3f"), number("precision", ".2f"),
                number("recall", ".2f"), number("coverage", ".2f"), number("memorization", ".2f"),
                number("log_prob", ".2f"), number("importance", ".2f"),
            )  # fmt: skip

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.walkback.plots import bound_terms, sample_grid, scatter

        limit = 1.2 * float(max(abs(measured.tested).max(), abs(measured.drawn).max()))
        flat = measured.sizes["axis"] == 1
        figure, axes = plot.new(1, 3, size=(9.6, 3.4), sharex=True, sharey=True)
        for ax, (name, title) in zip(axes, PANELS, strict=True):
            values = measured[name].values
            if flat:
                ax.hist(values[:, 0], np.linspace(-limit, limit, 41), density=True)
                ax.set(title=title, xlabel="value, standard deviations", ylabel="density")
            else:
                scatter(values, title=title, limit=limit, size=6.0, ax=ax)
        which = "The values" if flat else "Two largest components"
        figure.set_label(f"{which}: new data, samples, and states far past training.")
        found = {"components": figure}
        if "test_images" in measured:
            figure, axes = plot.new(1, 2, size=(9.0, 4.4))
            for ax, name in zip(axes, ("test_images", "drawn_images"), strict=True):
                sample_grid(measured[name].values, title=name.replace("_", " "), ax=ax)
                ax.set_label("images")
            figure.set_label("Images of the test part, and samples at the end of the ladder.")
            found["images"] = figure
        figure = bound_terms(measured.temperature.values, measured.path_terms.values)
        figure.set_label("What each heating step costs the bound.")
        return found | {"bound_terms": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.walkback._learning import time_updates

        x, is_image, _ = own.read(self.data, self.size, self.color)
        dim = int(np.prod(x.shape[1:]))
        length = own.COLD + 40
        per_update = time_updates(dim, (self.n_hidden,) * 3, length, 24)
        rows = 24 * length
        others = self.n_draws * (self.far + (1 + self.repeats) * length)
        others += 4 * self.n_paths * 100 * length
        weights = 2 * self.n_hidden**2 + 2 * dim * self.n_hidden
        return Cost(
            8.0 * rows * weights * self.n_steps + 2.0 * weights * others,
            4.0 * (20 * rows * self.n_hidden + 16 * weights + x.size),
            per_update * (self.n_steps + others / rows / 4) + 2.0 + 5e-8 * int(is_image) * x.size,
        )


PANELS = (("tested", "new data"), ("drawn", "samples"), ("past", "far past training"))
