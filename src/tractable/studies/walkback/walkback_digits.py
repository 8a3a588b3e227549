"""Handwritten digits, learned by walking back from heat, beside mixtures and a diffusion model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from tractable.studies.walkback import _picture_tables as tables
from tractable.studies.walkback import _pictures as pictures
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class WalkbackDigits(Study):
    """Learn 8 x 8 digits: chains along time, likelihood, and a table with the rivals."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_steps": 10, "n_hidden": 24, "n_draws": 100, "n_paths": 2, "n_likelihood": 10,
                  "n_cold": 2, "n_heat": 12, "factor": 1.6, "classifier_steps": 20, "ddpm": False,
                  "mixtures": False, "far": 10, "n_far_chains": 20, "repeats": 2},
        "paper": {"n_steps": 100_000, "n_hidden": 1024, "n_seeds": 5, "n_draws": 10_000},
    }  # fmt: skip

    n_steps: Annotated[int, Range(1, 10_000_000, log=True)] = 4500
    """Updates of the weights."""
    n_hidden: Annotated[int, Range(2, 8192, log=True)] = 256
    """Units of each of three hidden layers."""
    batch: Annotated[int, Range(1, 4096, log=True)] = 16
    """Rows for each temperature in an update."""
    sigma: Annotated[float, Range(1e-3, 1.0, log=True)] = 0.25
    """Noise at temperature 1; at most half of the standard deviation of a component."""
    factor: Annotated[float, Range(1.0, 4.0)] = 1.15
    """Ratio of successive temperatures."""
    n_heat: Annotated[int, Range(1, 1000, log=True)] = 38
    """Steps of the ladder, after the cold ones."""
    n_cold: Annotated[int, Range(0, 1000)] = 16
    """Steps at temperature 1 before the ladder: more of them keep long cold chains on the data."""
    n_seeds: Annotated[int, Range(1, 20)] = 1
    """Independent trainings; checks read the median."""
    repeats: Annotated[int, Range(1, 100)] = 3
    """Steps at each temperature in the second way of sampling."""
    n_draws: Annotated[int, Range(100, 100_000, log=True)] = 2000
    """Generated images of each model."""
    n_paths: Annotated[int, Range(1, 10_000, log=True)] = 64
    """Paths for each image in the importance estimate."""
    n_likelihood: Annotated[int, Range(1, 500)] = 100
    """Test images whose likelihood is computed."""
    classifier_steps: Annotated[int, Range(1, 100_000, log=True)] = 800
    """Updates of the classifier whose features measure the samples."""
    far: Annotated[int, Range(1, 100_000, log=True)] = 300
    """Cold steps after the ladder, far past the trained length."""
    n_far_chains: Annotated[int, Range(1, 1_000_000, log=True)] = 5400
    """Cold steps of the longest chains, of which 200 are followed: 100 times the path."""
    mixtures: bool = True
    """Fit mixtures of Gaussians and a kernel density, too."""
    ddpm: bool = True
    """Train a diffusion model of the same net on as many rows."""
    split: Annotated[int, Range(0, 1_000_000)] = 0
    """Which split into training and test images; the seed of the run is that of the trainings."""

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.core.seeds import derive

        length = self.n_cold + self.n_heat
        common = {
            "data": "digits", "n_train": 0, "n_test": 0, "n_draws": self.n_draws,
            "n_likelihood": self.n_likelihood, "classifier_steps": self.classifier_steps,
            "n_hidden": self.n_hidden, "split": self.split,
        }  # fmt: skip
        settings = {
            "n_steps": self.n_steps, "batch": self.batch, "sigma": self.sigma,
            "factor": self.factor, "n_heat": self.n_heat, "n_paths": self.n_paths,
            "n_cold": self.n_cold, "far": self.far, "n_far_chains": self.n_far_chains,
            "repeats": self.repeats,
        }  # fmt: skip
        points = [
            common | settings | {"seed": derive(run.seed, "digits", i)} for i in range(self.n_seeds)
        ]
        learned = run.map(pictures.learn_images, points)
        other = {
            "seed": derive(run.seed, "rivals"), "mixtures": self.mixtures, "length": length,
            "ddpm_steps": self.n_steps if self.ddpm else 0, "batch": self.batch * length,
            "highest": 12.0,
        }  # fmt: skip
        rival = run.map(pictures.rivals, [common | other])[0]
        return tables.together(learned, rival)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the variances of the data, the ladder, and what a reversible walk does."""
        from tractable.walkback import load_image_set

        variances = load_image_set("digits", seed=self.split).space.variances
        return tables.ladder_theory(variances, self.sigma, self.factor, self.n_heat, self.n_cold)

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        enough = self.n_steps >= 4500 and self.n_hidden >= 256
        yield from tables.checks(self, theory, measured, strict=enough)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield from tables.answers(measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return tables.figures(theory, measured)

    def cost(self, run: Run) -> Cost:
        return tables.cost(self, 64, rivals=self.ddpm)
