"""Denoise a matrix of one's own: rank, noise, and the best estimate of what is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "Gavish, Donoho 2017, arXiv:1405.7511"
SPIKES = (3.0, 2.2, 1.5)  # strengths of the generated example, in units of the noise
NOISE = 0.37  # of an entry of it
SMALL = 50  # rows or columns below which the laws are rough


@dataclass(frozen=True)
class LinearDenoise(Study):
    """Denoise your matrix: how many signals are in it, and the best estimate of them."""

    paper: ClassVar = Paper(
        "Gavish, Donoho",
        2017,
        "Optimal shrinkage of singular values",
        arxiv="1405.7511",
    )
    presets: ClassVar = {
        "smoke": {"rows": 60, "columns": 90},
        "paper": {"rows": 1000, "columns": 2000},
    }

    y: str = ""
    """File of the matrix: .npy, .csv, .tsv or .txt. Without one: a generated example of rank 3. The
    result is saved as denoised.safetensors in the run's folder."""
    sigma: Annotated[float, Range(0.0, 1e6)] = 0.0
    """Standard deviation of the noise in an entry; 0 estimates it."""
    center: bool = False
    """Take the mean of each column away first, and add it again."""
    loss: Literal["frobenius", "operator", "nuclear"] = "frobenius"
    """Which error is made smallest."""
    rows: Annotated[int, Range(20, 10_000, log=True)] = 200
    """Rows of the generated example."""
    columns: Annotated[int, Range(20, 10_000, log=True)] = 400
    """Columns of the generated example."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import optimal_shrinkage
        from tractable.studies.linear._own_arrays import read_matrix

        clean = None
        if self.y:
            matrix = read_matrix("y", self.y)
        else:
            clean, matrix = example(self.rows, self.columns, run.seed)
        mean = matrix.mean(0) if self.center else np.zeros(matrix.shape[1])
        info = optimal_shrinkage(
            matrix - mean, sigma=self.sigma if self.sigma > 0 else None, loss=self.loss
        )
        denoised = np.asarray(info.estimate) + mean
        run.save("denoised", denoised)
        found = {
            "s_data": ("mode", info.s_data, {"units": "unit of the matrix"}),
            "s_shrunk": ("mode", info.s_shrunk, {"units": "unit of the matrix"}),
            "sigma": ((), info.sigma, {"units": "unit of the matrix"}),
            "edge": ((), info.edge, {"units": "unit of the matrix"}),
            "rank": ((), info.rank, {"units": "1"}),
            "misfit": ((), info.misfit, {"units": "1"}),
            "expected_error": ((), info.expected_error, {"units": "1"}),
            "shape": ("axis", np.array(matrix.shape), {"units": "1"}),
        }
        if clean is not None:
            power = np.sum(clean**2)
            U, s, Vt = np.linalg.svd(matrix - mean, full_matrices=False)
            truncated = (U[:, : info.rank] * s[: info.rank]) @ Vt[: info.rank] + mean
            found["error"] = ((), np.sum((denoised - clean) ** 2) / power, {"units": "1"})
            found["truncated_error"] = (
                (),
                np.sum((truncated - clean) ** 2) / power,
                {"units": "1"},
            )
        return xr.Dataset(found)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return what the law makes of the measured singular values, or of the example's."""
        import xarray as xr

        from tractable.linear import bulk_edges, shrink, spike_forward

        if measured is None:
            n_rows, n_columns, sigma = self.rows, self.columns, NOISE
        else:
            n_rows, n_columns = (int(n) for n in measured["shape"])
            sigma = float(measured.sigma)
        aspect, unit = n_rows / n_columns, sigma * np.sqrt(n_columns)
        high = bulk_edges(aspect, unit)[1] if sigma > 0 else 0.0
        largest = 1.5 * high if measured is None else 1.1 * float(measured.s_data.max())
        y = np.linspace(0, max(largest, high), 400)
        shrunk = shrink(y, aspect, unit) if sigma > 0 else y  # without noise nothing is taken away
        spikes = spike_forward(SPIKES, aspect)
        power = np.sum(np.square(SPIKES))
        return xr.Dataset(
            {
                "shrunk": ("y", shrunk, {"units": "unit of the matrix"}),
                "edge": ((), high, {"units": "unit of the matrix"}),
                "s_data": (
                    "spike",
                    NOISE * np.sqrt(n_columns) * spikes.s_data,
                    {"units": "unit of the matrix"},
                ),
                "error": (
                    (),
                    1 - np.sum(np.square(SPIKES) * spikes.overlap**2) / power,
                    {"units": "1"},
                ),
            },
            coords={"y": y},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        if self.y:
            return  # findings about a user's data are answers
        if self.sigma == 0:
            yield Check("estimated noise", float(measured.sigma), NOISE, rtol=0.03, source=SOURCE)
        yield Check("detected rank", float(measured["rank"]), len(SPIKES), source=SOURCE)
        off = abs(theory.s_data.values / measured.s_data.values[: len(SPIKES)] - 1).max()
        yield Check(
            "singular values of the signals, relative deviation of theory",
            off,
            0.05,
            kind="at_most",
            source=SOURCE,
        )
        if self.loss == "frobenius":
            yield Check(
                "error of the estimate",
                float(measured.error),
                float(theory.error),
                rtol=0.15,
                source=SOURCE,
            )
        yield Check(
            "error over that of the truncated decomposition of the same rank",
            float(measured.error / measured.truncated_error),
            1.0,
            kind="at_most",
            source=SOURCE,
        )
        yield Check(
            "distance of the rest from the law of noise (Kolmogorov-Smirnov)",
            float(measured.misfit),
            0.1,
            kind="at_most",
            source=SOURCE,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rank, n_rows, n_columns = int(measured["rank"]), *(int(n) for n in measured["shape"])
        name = "Your matrix" if self.y else "The generated matrix"
        sigma = float(measured.sigma)
        if not measured.s_data.values.any():
            yield f"{name}, {n_rows} x {n_columns}, is zero{' but for means' * self.center}."
            return
        if sigma == 0:
            yield (
                f"{name}, {n_rows} x {n_columns}, has rank {rank} and shows no noise: the estimate "
                f"is the matrix itself."
            )
        else:
            yield (
                f"{name}, {n_rows} x {n_columns}, holds {rank} signal{'' if rank == 1 else 's'} "
                f"above noise of standard deviation {sigma:.4g} in an entry."
            )
        if min(n_rows, n_columns) < SMALL:
            yield f"With fewer than {SMALL} rows or columns the laws of large matrices are rough."
        if rank == 0:
            yield "No singular value stands out of the noise: the best estimate is zero."
        else:
            yield (
                f"Expected squared error of the estimate: "
                f"{100 * float(measured.expected_error):.1f} % of the signal. It is "
                f"denoised.safetensors in the run's folder."
            )
        misfit = float(measured.misfit)
        if misfit > 0.1:
            yield (
                f"The rest does not look like noise of equal size in all entries (distance "
                f"{misfit:.2f} from the law): scale rows or columns, or read the rank with care."
            )
        if rank:
            yield Table(
                "Signals",
                ("singular value", "shrunk to"),
                tuple(
                    (f"{float(measured.s_data[i]):.4g}", f"{float(measured.s_shrunk[i]):.4g}")
                    for i in range(min(rank, 20))
                ),
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_singular_values

        n_rows, n_columns = (int(n) for n in measured["shape"])
        sigma = float(measured.sigma) * np.sqrt(n_columns)
        figure, (left, right) = plot.new(1, 2, size=(9.4, 3.6))
        if sigma > 0:
            plot_singular_values(
                measured.s_data.values,
                n_rows / n_columns,
                sigma=sigma,
                edge=float(measured.edge),
                n_bins=30,
                unit="unit of the matrix",
                ax=left,
            )
            left.legend(fontsize=7)
        else:
            plot.measurement(left, np.arange(len(measured.s_data)) + 1, measured.s_data)
            left.set(xlabel="mode", ylabel="singular value (unit of the matrix)")
        plot.theory(right, theory.y, theory.shrunk, label="theory: optimal shrinkage")
        right.plot(theory.y, theory.y, ":", color="#7F7F7F", lw=1, label="no change")
        plot.measurement(right, measured.s_data, measured.s_shrunk, ms=3.5, label="singular values")
        right.set(
            xlabel="singular value (unit of the matrix)",
            ylabel="in the estimate (unit of the matrix)",
        )
        right.legend()
        figure.set_label(
            "Left: singular values of the matrix, the law of noise, and the signals. Right: what "
            "becomes of each in the estimate; noise goes to zero, signals are shrunk."
        )
        return {"denoise": figure}

    def cost(self, run: Run) -> Cost:
        import time

        from tractable.studies.linear._own_arrays import read_matrix

        shape = read_matrix("y", self.y).shape if self.y else (self.rows, self.columns)
        small, n = min(shape), max(shape)
        probe = min(small, 300)
        started = time.perf_counter()
        np.linalg.svd(np.random.default_rng(0).normal(size=(probe, min(n, 2 * probe))))
        seconds = time.perf_counter() - started
        operations = 3 * 14.0 * small**2 * n
        scale = operations / (14.0 * probe**2 * min(n, 2 * probe))
        return Cost(operations, 40.0 * small * n, seconds * scale)


def example(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a signal of rank 3, and the same with noise."""
    from tractable.linear import noisy_task

    task = noisy_task(SPIKES, n_in=columns, n_out=rows, seed=seed)
    scale = NOISE * np.sqrt(columns)
    return scale * task.teacher, scale * task.cov_yx @ np.linalg.inv(task.cov_x)
