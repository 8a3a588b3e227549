"""A tensor of one's own: whether there is structure, of which rank, and its components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.studies.tensors._data_parts import ONE
from tractable.studies.tensors._neural_parts import generated, neural_tensor, read_array
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TensorsFit(Study):
    """Decompose a tensor of your own: what is there to find, at which rank, and how well."""

    paper: ClassVar = Paper(
        "Kadmon, Ganguli",
        2018,
        "Statistical mechanics of low-rank tensor decomposition",
        arxiv="1810.10065",
    )
    presets: ClassVar = {
        "smoke": {"rank": 2, "n_starts": 1, "size": 20, "max_iter": 20},
        "paper": {"rank": 4, "n_starts": 10, "size": 100},
    }

    data: str = ""
    """.npy, .npz:key, .nc:variable, .zarr, or neural; empty: a generated tensor of rank 2."""
    rank: Annotated[int, Range(1, 50)] = 3
    """Highest number of components; 1 to this number are tried."""
    prior: Literal["gaussian", "nonnegative", "exponential"] = "gaussian"
    """Family of the factors; its parameters are learned."""
    n_starts: Annotated[int, Range(1, 100)] = 3
    """Starts at every rank, computed side by side."""
    max_iter: Annotated[int, Range(1, 10_000)] = 100
    """Sweeps at most."""
    held_out: Annotated[float, Range(0.001, 0.5)] = 0.05
    """Share of entries held out to compare ranks."""
    size: Annotated[int, Range(10, 500)] = 50
    """Size of the generated tensor."""

    def files(self) -> list[Path]:
        """Return the data that the run depends on."""
        if not self.data:
            return []
        if self.data == "neural":
            from tractable import data

            return list(data.files("neural"))
        name = self.data.rpartition(":")[0] if ":" in Path(self.data).name else self.data
        return [Path(name)] if Path(name).exists() else []

    def array(self, seed: int) -> Any:
        """Return the tensor."""
        if not self.data:
            shape = (self.size, self.size + 10, self.size + 20)
            return generated(shape, 2, 1.0, seed)[0]
        return neural_tensor() if self.data == "neural" else read_array(self.data)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.tensors import detectability, rank_scan
        from tractable.tensors.observations import is_chunked

        Y = self.array(run.seed)
        settings: dict[str, Any] = {
            "priors": self.prior,
            "n_starts": self.n_starts,
            "seed": run.seed,
            "max_iter": self.max_iter,
        }
        with quiet():
            report = detectability(Y, self.rank, init="spectral", **settings)
        run.say(report.verdict)
        ranks = np.arange(1, self.rank + 1)
        nothing = np.full(len(ranks), np.nan)
        held, alike = nothing, np.full((len(ranks), self.n_starts), np.nan)
        if not is_chunked(Y):
            scan = rank_scan(
                Y, ranks.tolist(), holdout=self.held_out, init="spectral", progress=False,
                **settings,
            )  # fmt: skip
            held, alike = scan.held_out_error, scan.similarity
        evidence = np.full(self.rank + 1, np.nan)
        evidence[: len(report.evidence)] = report.evidence
        variables: dict[str, Any] = {
            "held_out_error": ("tried", held, ONE),
            "similarity": (("tried", "start"), alike, ONE),
            "evidence": ("components", evidence, {"units": "nat"}),
            "n_found": ((), float(report.rank), ONE),
            "noise_variance": ((), report.noise_variance, {"units": "squared units of the data"}),
        }
        for a, values in enumerate(report.scree):
            variables[f"scree_{a}"] = (f"value_{a}", values, ONE)
        if report.fit is not None:
            run.save("weights", {"weights": report.fit.weights})
            for a, (x, std) in enumerate(zip(report.fit.factors, report.fit.std, strict=True)):
                variables[f"factor_{a}"] = ((f"index_{a}", "component"), x, ONE)
                variables[f"std_{a}"] = ((f"index_{a}", "component"), std, ONE)
            variables["weight"] = ("component", report.fit.weights, {"units": "units of the data"})
            for name in ("noise", "margin"):
                values = np.array([getattr(c, name) for c in report.components])
                variables[name] = ("component", values, ONE)
            cosines = np.array([c.cosine for c in report.components])
            variables["cosine"] = (("component", "mode"), cosines, ONE)
            posterior = report.fit.predicted_cosine.T
            variables["posterior_cosine"] = (("component", "mode"), posterior, ONE)
        phases = [component.phase for component in report.components]
        return xr.Dataset(
            variables,
            coords={"tried": ranks},
            attrs={"verdict": report.verdict, "phases": "\n".join(phases), "shape": str(Y.shape)},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the cosines of state evolution at the noise of each component that was found."""
        import xarray as xr

        if measured is None or "cosine" not in measured:
            return xr.Dataset()
        return xr.Dataset({"cosine": (("component", "mode"), measured.cosine.values, ONE)})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        source = "state evolution at the fitted noise, (T16); posterior of the fit, (T5)"
        gap = 0.0
        if "posterior_cosine" in measured and "cosine" in theory:
            gap = float(abs(theory.cosine - measured.posterior_cosine).max())
        yield Check("state evolution against the posterior: largest difference of a cosine", gap,
                    0.15, kind="at_most", source=source)  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield str(measured.attrs["verdict"])
        if np.isfinite(measured.held_out_error).any():
            best = int(measured.tried[int(np.argmin(measured.held_out_error.values))])
            yield f"Held-out entries are predicted best at rank {best} of those tried."
        else:
            yield "Ranks are compared by evidence: of an array in chunks no entry is held out."
        if "cosine" in measured:
            phases = str(measured.attrs["phases"]).split("\n")
            rows = [
                (
                    k + 1,
                    phases[k],
                    f"{float(measured.noise[k]):.3g}",
                    f"{float(measured.margin[k]):.2f}",
                    ", ".join(f"{float(c):.2f}" for c in measured.cosine[k]),
                )
                for k in range(measured.sizes["component"])
            ]
            columns = ("component", "phase", "noise Delta", "log(delta_alg / Delta)", "cosines")
            yield Table("What theory says of each component", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.tensors.plots import plot_factors, plot_rank_scan

        found = {}
        order = sum(str(name).startswith("scree_") for name in measured.data_vars)
        if "factor_0" in measured:
            factors = [measured[f"factor_{a}"].values for a in range(order)]
            std = [measured[f"std_{a}"].values for a in range(order)]
            found["factors"] = plot_factors(factors, std, names=[f"mode {a}" for a in range(order)])
        if np.isfinite(measured.held_out_error).all():
            found["rank"] = plot_rank_scan(
                measured.tried, measured.held_out_error, measured.similarity,
                quantity="error of held-out entries, relative",
            )  # fmt: skip
        figure, ax = plot.new()
        for a in range(order):
            values = measured[f"scree_{a}"].values
            at = np.arange(1, len(values) + 1)
            plot.measurement(ax, at, values, label=f"mode {a}", color=f"C{a}", markersize=4)
        ax.axhline(1.0, color="black", linewidth=1, label="edge of noise alone")
        ax.set(xlabel="singular value of the unfolding, by size", ylabel="value over noise edge")
        ax.legend(fontsize="small")
        figure.set_label(
            "Scree of every unfolding: singular values over the largest that noise alone has."
        )
        found["scree"] = figure
        return found

    def cost(self, run: Run) -> Cost:
        import time

        from tractable.studies.tensors._data_parts import fitted

        Y = self.array(run.seed)
        part = Y[tuple(slice(0, min(n, 60)) for n in Y.shape)]
        settings = {"priors": self.prior, "init": "random", "n_starts": self.n_starts}
        fitted(part, 1, max_iter=1, **settings)  # pays for the imports
        started = time.perf_counter()
        fitted(part, self.rank, max_iter=2, **settings)
        entries = float(np.prod(Y.shape))
        scale = max(1.0, entries / float(np.prod(part.shape)))
        seconds = (time.perf_counter() - started) / 2 * self.max_iter * self.rank * scale
        operations = 4 * entries * self.n_starts * self.rank**2 * self.max_iter
        return Cost(operations, 12 * entries, seconds)
