"""Message passing against alternating least squares over the noise level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.tensors._data_parts import METHODS, ONE, compared
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

HERE = "simulation of this model with the same settings, 6 draws"
REFERENCE = 0.25  # noise at which the margins are asserted
MILD = 0.05


@dataclass(frozen=True)
class TensorsAls(Study):
    """Message passing against alternating least squares: direction, error, and prediction."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {
            "shape": (30, 30, 30),
            "noises": (0.05, 0.2),
            "n_draws": 2,
            "n_starts": 2,
            "max_iter": 20,
            "signatures": False,
        },
        "paper": {
            "shape": (200, 200, 200),
            "noises": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4),
            "n_draws": 20,
            "max_iter": 200,
        },
    }

    shape: Annotated[tuple[int, ...], Range(2, 5000)] = (120, 120, 120)
    """Sizes of the modes."""
    mean: Annotated[float, Range(0.0, 10.0)] = 0.4
    """Mean of the factors, whose variance is 1."""
    noises: Annotated[tuple[float, ...], Range(1e-6, 100.0)] = (0.05, 0.15, 0.25, 0.4)
    """Noise variances Delta, in model units."""
    n_draws: Annotated[int, Range(2, 1000)] = 6
    """Tensors drawn at each noise level."""
    n_starts: Annotated[int, Range(1, 100)] = 5
    """Random starts of ALS, of which the smallest residual is kept."""
    max_iter: Annotated[int, Range(1, 10_000)] = 60
    """Iterations of ALS at most."""
    signatures: bool = True
    """Assert the margins between the methods."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        rows = []
        for noise in self.noises:
            points = [
                {
                    "shape": list(self.shape),
                    "mean": self.mean,
                    "noise": noise,
                    "seed": run.seed + draw,
                    "n_starts": self.n_starts,
                    "max_iter": self.max_iter,
                }
                for draw in range(self.n_draws)
            ]
            rows.append(xr.concat(run.map(compared, points), "draw"))
        return xr.concat(rows, "noise").assign_coords(noise=list(self.noises))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Predict the cosine and the tensor error by state evolution."""
        import xarray as xr

        from tractable.tensors import Gaussian, state_evolution

        fine = np.union1d(np.linspace(min(self.noises), max(self.noises), 33), self.noises)
        cosine, error = [], []
        for noise in fine:
            M = state_evolution(self.shape, Gaussian(self.mean), float(noise)).overlap[:, 0, 0]
            share = M / (1 + self.mean**2)
            cosine.append(np.sqrt(share.clip(0)).mean())
            error.append(1 - share.prod())
        return xr.Dataset(
            {"cosine": ("noise", np.array(cosine), ONE), "error": ("noise", np.array(error), ONE)},
            coords={"noise": fine},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        mean = measured.mean("draw")
        predicted = theory.sel(noise=measured.noise)
        lowest = mean.isel(noise=0)
        gap = float(abs(lowest.cosine.sel(algorithm="AMP") - predicted.cosine.isel(noise=0)))
        source = "state evolution, equation (T16); finite size N^(-1/2)"
        yield Check(
            "AMP at the lowest noise: distance of the cosine from state evolution",
            gap, 0.5 / np.sqrt(min(self.shape)), kind="at_most", source=source,
        )  # fmt: skip
        if not self.signatures or REFERENCE not in self.noises:
            return
        at = mean.sel(noise=REFERENCE)
        ours = at.sel(algorithm="AMP")
        yield Check(
            "AMP at noise 0.25: cosine", float(ours.cosine),
            float(predicted.cosine.sel(noise=REFERENCE)), atol=0.05, source=source,
        )  # fmt: skip
        lead = float(ours.cosine - at.cosine.sel(algorithm=METHODS[1]))
        yield Check("AMP leads ALS from SVD at noise 0.25: cosine", lead, 0.4, kind="at_least",
                    source=HERE)  # fmt: skip
        ratio = float(ours.error / at.error.sel(algorithm=METHODS[2]))
        yield Check("AMP over ALS from uniform at noise 0.25: error", ratio, 0.75, kind="at_most",
                    source=HERE)  # fmt: skip
        if MILD in self.noises:
            mild = mean.cosine.sel(noise=MILD)
            behind = float(mild.sel(algorithm=list(METHODS[1:])).max() - mild.sel(algorithm="AMP"))
            yield Check("the best ALS leads AMP at noise 0.05: cosine", behind, 0.005,
                        kind="at_most", source=HERE)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean = measured.mean("draw")
        ties = [
            f"{float(noise):g}"
            for noise in measured.noise
            if abs(
                float(mean.cosine.sel(noise=noise, algorithm="AMP"))
                - float(mean.cosine.sel(noise=noise, algorithm=list(METHODS[1:])).max())
            )
            < 0.02
        ]
        if ties:
            yield (
                f"At noise {', '.join(ties)} the best ALS finds the same direction as message "
                "passing (cosines within 0.02). What message passing adds there is the shrinkage, "
                "and so the error, and the prediction of it."
            )
        else:
            yield "Message passing finds another direction than every ALS at each of these noises."
        best = mean.error.sel(algorithm=list(METHODS[1:])).min("algorithm")
        ratio = mean.error.sel(algorithm="AMP") / best
        yield (
            f"The squared error of message passing is {float(ratio.min()):.2f} to "
            f"{float(ratio.max()):.2f} times that of the best ALS over these noises."
        )
        rows = []
        for noise in measured.noise:
            here, said = mean.sel(noise=noise), theory.sel(noise=noise)
            cells = [f"{float(here.cosine.sel(algorithm=m)):.3f} / "
                     f"{float(here.error.sel(algorithm=m)):.3f}" for m in METHODS]  # fmt: skip
            own = f"{float(said.cosine):.3f} / {float(said.error):.3f}"
            rows.append((f"{float(noise):g}", own, *cells))
        yield Table(
            "Mean cosine over modes / relative tensor error",
            ("noise", "state evolution", *METHODS),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.tensors.plots import plot_against_noise

        found = {}
        for name, quantity in (("cosine", "mean cosine with the truth"),
                               ("error", "relative squared error")):  # fmt: skip
            methods = {
                str(method): measured[name].sel(algorithm=method).transpose("noise", "draw").values
                for method in measured.algorithm.values
            }
            figure = plot_against_noise(
                measured.noise, methods, theory_noise=theory.noise, theory=theory[name],
                quantity=quantity, logarithmic=name == "error",
            )  # fmt: skip
            figure.set_label(
                f"{quantity.capitalize()} of message passing and of alternating least squares "
                "over the noise, mean and standard error over draws; the line is state evolution."
            )
            found[name] = figure
        return found

    def cost(self, run: Run) -> Cost:
        import time

        size = [min(n, 60) for n in self.shape]
        compared([20, 20, 20], self.mean, 0.1, 0, 1, 1)  # pays for the imports
        started = time.perf_counter()
        compared(size, self.mean, 0.1, run.seed, 1, 5)
        seconds = time.perf_counter() - started
        scale = float(np.prod(self.shape)) / float(np.prod(size))
        runs = len(self.noises) * self.n_draws
        iterations = runs * (1 + 2 * self.n_starts) * self.max_iter
        entries = float(np.prod(self.shape))
        per_run = seconds * scale * (1 + 2 * self.n_starts) * self.max_iter / 20
        return Cost(6 * entries * iterations, 12 * entries, runs * per_run)
