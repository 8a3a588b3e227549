"""What noise makes of a signal: singular values and overlaps, in theory and in random matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, Fig. 2"


@dataclass(frozen=True)
class LinearSpike(Study):
    """Signals in noise: singular values and overlaps of spiked random matrices."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"n_in": 60, "aspects": (0.5, 1.0), "n_strengths": 5, "n_draws": 2},
        "paper": {"n_in": 1000, "n_strengths": 11, "n_draws": 20},
    }

    n_in: Annotated[int, Range(20, 5000, log=True)] = 400
    """Inputs N1: columns of the data matrix."""
    aspects: Annotated[tuple[float, ...], Range(0.05, 3.0)] = (0.25, 0.5, 0.75, 1.0)
    """Aspects A: outputs over inputs."""
    largest: Annotated[float, Range(1.0, 100.0)] = 5.0
    """Largest strength of the signal, in units of the noise."""
    n_strengths: Annotated[int, Range(2, 200)] = 11
    """Strengths from 0 to the largest, equally spaced."""
    n_draws: Annotated[int, Range(2, 1000, log=True)] = 20
    """Random matrices of each kind."""
    spikes: Annotated[tuple[float, ...], Range(0.0, 100.0)] = (9.0, 6.0, 3.0)
    """Strengths of the signals of the histogram."""

    @property
    def strengths(self) -> np.ndarray:
        """Strengths of the signal, (n_strengths,)."""
        return np.linspace(0.0, self.largest, self.n_strengths)

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "aspect": float(aspect),
                "n_in": self.n_in,
                "strengths": self.strengths.tolist(),
                "n_draws": self.n_draws,
                "seed": run.seed,
            }
            for aspect in self.aspects
        ]
        spikes = xr.concat(run.map(draw_spikes, points), "aspect")
        histogram = draw_histogram(
            self.aspects[0], self.n_in, list(self.spikes), self.n_draws, run.seed
        )
        return spikes.assign(noise_values=(("draw", "mode"), histogram, {"units": "sigma"}))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import bulk_edges, bulk_quantile, spike_forward

        forward = [spike_forward(self.strengths, aspect) for aspect in self.aspects]
        dims = ("aspect", "s")
        probability = np.linspace(0, 1, 201)
        return xr.Dataset(
            {
                "s_data": (dims, np.stack([f.s_data for f in forward]), {"units": "sigma"}),
                "overlap": (dims, np.stack([f.overlap for f in forward]), {"units": "1"}),
                "edge": (
                    "aspect",
                    np.array([bulk_edges(a)[1] for a in self.aspects]),
                    {"units": "sigma"},
                ),
                "noise_law": (
                    "probability",
                    bulk_quantile(probability, self.aspects[0]),
                    {"units": "sigma"},
                ),
            },
            coords={
                "aspect": list(self.aspects),
                "s": self.strengths,
                "probability": probability,
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        # Finite matrices are biased at the threshold: strengths from 1.5 times it on.
        clear = measured.s >= 1.5 * measured.aspect**0.25
        for name, label in (("s_data", "singular value"), ("overlap", "overlap O")):
            error = abs(measured[name].mean("draw") - theory[name]).where(clear).max()
            yield Check(f"error of the {label}", float(error), 0.03, kind="at_most", source=SOURCE)
        noise = measured.noise_values.values.ravel()
        noise = np.sort(noise[noise <= 1.02 * float(theory.edge[0])])
        law = np.interp(noise, theory.noise_law.values, theory.probability.values)
        steps = np.arange(len(noise) + 1) / max(len(noise), 1)
        gaps = (abs(law - steps[1:]), abs(law - steps[:-1]))
        distance = max(gap.max(initial=0.0) for gap in gaps) if len(noise) else 1.0
        yield Check(
            "distance of the noise from the law (Kolmogorov-Smirnov)",
            distance,
            0.05,
            kind="at_most",
            source=SOURCE,
        )
        n_signals = float((measured.noise_values > 1.02 * theory.edge[0]).sum("mode").mean())
        yield Check("signals beyond the edge", n_signals, len(self.spikes), source=SOURCE)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str]:
        for aspect in self.aspects:
            yield (
                f"With {aspect:g} outputs per input, a signal weaker than {aspect**0.25:.3f} times "
                f"the noise leaves no trace in the data; noise alone reaches {1 + aspect**0.5:.3f}."
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_overlaps, plot_singular_values, plot_spikes
        from tractable.linear.plots.spectrum_plots import COLORS

        figure, (left, right) = plot.new(1, 2, size=(9.5, 3.6))
        root = np.sqrt(measured.sizes["draw"])
        for i, aspect in enumerate(self.aspects):
            at = measured.isel(aspect=i)
            for draw, name, ax in (
                (plot_spikes, "s_data", left),
                (plot_overlaps, "overlap", right),
            ):
                draw(
                    measured.s.values,
                    at[name].mean("draw").values,
                    aspect,
                    error=at[name].std("draw", ddof=1).values / root,
                    color=COLORS[i % len(COLORS)],
                    ax=ax,
                )
        figure.set_label(
            f"Singular value of the data and overlap with the signal, N1 = {self.n_in}, mean and "
            f"standard error of {self.n_draws} matrices; lines: theory. Dotted: the threshold, "
            "where finite matrices still show some overlap."
        )
        spectrum, ax = plot.new(size=(6.0, 3.6))
        plot_singular_values(
            measured.noise_values.values,
            self.aspects[0],
            edge=1.02 * float(theory.edge[0]),
            ax=ax,
        )
        spectrum.set_label(
            f"Singular values of {self.n_draws} matrices with A = {self.aspects[0]:g} and signals "
            f"of strength {', '.join(f'{s:g}' for s in self.spikes)}: the noise follows the law, "
            "the signals stand apart."
        )
        return {"spikes": figure, "histogram": spectrum}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        draw_spikes(max(self.aspects), self.n_in, [self.largest], 2, run.seed)
        seconds = (time.perf_counter() - started) / 2
        n = len(self.aspects) * self.n_strengths * self.n_draws
        return Cost(n * 4.0 * self.n_in**3, 32.0 * self.n_in**2, n * seconds)


def draw_spikes(
    aspect: float, n_in: int, strengths: list[float], n_draws: int, seed: int
) -> xr.Dataset:
    """Measure singular value and overlaps of one signal in random matrices of one aspect."""
    import xarray as xr
    from scipy.linalg import eigh

    from tractable.core.seeds import derive
    from tractable.linear import noisy_task

    n_out = round(aspect * n_in)
    found = np.zeros((len(strengths), n_draws, 2))
    for i, s in enumerate(strengths):
        for draw in range(n_draws):
            task = noisy_task(
                s, n_in=n_in, n_out=n_out, seed=derive(seed, "spike", aspect, s, draw)
            )
            data = task.Y.T @ task.X
            small = data @ data.T if n_out <= n_in else data.T @ data
            last = len(small) - 1
            value, vector = eigh(small, subset_by_index=[last, last])
            y = float(np.sqrt(value[0]))
            other = (data.T if n_out <= n_in else data) @ vector[:, 0] / y
            u, v = (vector[:, 0], other) if n_out <= n_in else (other, vector[:, 0])
            found[i, draw] = y, abs(task.U[:, 0] @ u) * abs(task.V[:, 0] @ v)
    dims = ("s", "draw")
    return xr.Dataset(
        {
            "s_data": (dims, found[:, :, 0], {"units": "sigma"}),
            "overlap": (dims, found[:, :, 1], {"units": "1"}),
        },
        coords={"s": strengths, "aspect": aspect},
    )


def draw_histogram(
    aspect: float, n_in: int, spikes: list[float], n_draws: int, seed: int
) -> np.ndarray:
    """Return all singular values of matrices with several signals, (draw, mode)."""
    from tractable.core.seeds import derive
    from tractable.linear import noisy_task

    rows = []
    for draw in range(n_draws):
        task = noisy_task(
            spikes, n_in=n_in, n_out=round(aspect * n_in), seed=derive(seed, "histogram", draw)
        )
        rows.append(np.linalg.svd(task.cov_yx, compute_uv=False))
    return np.array(rows)
