"""Would another task help? The benefit of transfer, estimated from one's own examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import TransferEstimate

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, section 3"
STRENGTHS = ((3.0, 1.5), (6.0, 4.0))  # of the two tasks of the generated example
UNITS = {"units": "1"}


@dataclass(frozen=True)
class LinearTransferOwn(Study):
    """Would your task B help your task A? The benefit of transfer, from examples of both."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"n_in": 60, "n_out": 40, "n_draws": 2},
        "paper": {"n_in": 400, "n_out": 400, "n_draws": 24},
        "explore": {"n_curve": 9},
    }

    x: str = ""
    """File of the inputs, one example in a row: .npy, .csv, .tsv or .txt. Without one: generated
    pairs of tasks, for which the answer is known."""
    y_a: str = ""
    """File of the targets of task A, the one that is to be learned well."""
    y_b: str = ""
    """File of the targets of task B, the one that may help."""
    sigma_a: Annotated[float, Range(0.0, 1e9)] = 0.0
    """Standard deviation of the noise in a target of A; 0 estimates it."""
    sigma_b: Annotated[float, Range(0.0, 1e9)] = 0.0
    """Standard deviation of the noise in a target of B; 0 estimates it."""
    depth: Annotated[int, Range(1, 100)] = 2
    """Weight matrices of the network that would learn both."""
    center: bool = False
    """Take the means away first."""
    overlaps: Annotated[tuple[float, ...], Range(0.0, 1.0)] = (0.0, 0.5, 0.8, 0.9, 1.0)
    """Overlaps of the input vectors in the generated examples."""
    n_in: Annotated[int, Range(4, 4000, log=True)] = 200
    """Inputs of the generated example, an even number."""
    n_out: Annotated[int, Range(4, 4000, log=True)] = 150
    """Outputs of each of its tasks."""
    n_draws: Annotated[int, Range(2, 1000, log=True)] = 8
    """Noisy draws of each."""
    n_curve: Annotated[int, Range(3, 1000)] = 41
    """Overlaps of the theory's curve."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [bool(path) for path in (self.x, self.y_a, self.y_b)]
        if any(given) and not all(given):
            raise ValueError(
                "x, y_a and y_b go together: the inputs, and the targets of both tasks; got "
                + ", ".join(f"{n}={getattr(self, n)!r}" for n in ("x", "y_a", "y_b"))
            )
        if self.n_in % 2:
            raise ValueError(f"n_in must be even (the rotation turns planes), got {self.n_in}")

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        if not self.x:
            seeds = [derive(run.seed, "pair", i) for i in range(self.n_draws)]
            pairs = [(q, seed) for q in self.overlaps for seed in seeds]
            found = [self._estimate(*self._example(*p)) for p in run.track(pairs, "pairs of tasks")]
            shape = (len(self.overlaps), self.n_draws)
            columns = {
                "benefit": [e.benefit for e in found],
                "rank_a": [len(e.snr_a) for e in found],
                "rank_b": [len(e.snr_b) for e in found],
                "largest_overlap": [_largest(e.overlap) for e in found],
            }
            return xr.Dataset(
                {
                    name: (("q", "draw"), np.array(values, dtype=float).reshape(shape), UNITS)
                    for name, values in columns.items()
                },
                coords={"q": list(self.overlaps)},
            )
        x, y_a, y_b = self._own()
        estimate = self._estimate(x, y_a, y_b)
        order = np.random.default_rng(derive(run.seed, "shuffle")).permutation(len(y_b))
        shuffled = self._estimate(x, y_a, y_b[order])  # B without its relation to A
        for reason in estimate.reasons:
            run.say(f"The estimate is not reliable: {reason}.")
        numbers = ("benefit", "alone", "joint", "sigma_a", "sigma_b")
        return xr.Dataset(
            {
                **{name: ((), getattr(estimate, name), UNITS) for name in numbers},
                "snr_a": ("signal_a", estimate.snr_a, {"units": "sigma"}),
                "snr_b": ("signal_b", estimate.snr_b, {"units": "sigma"}),
                "overlap": (("signal_a", "signal_b"), estimate.overlap, UNITS),
                "rank_a": ((), len(estimate.snr_a), UNITS),
                "rank_b": ((), len(estimate.snr_b), UNITS),
                "shuffled_benefit": ((), shuffled.benefit, UNITS),
                "shape": ("part", np.array([*x.shape, y_a.shape[1], y_b.shape[1]]), UNITS),
            }
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the benefit against the overlap, for the example's strengths or those found."""
        import xarray as xr

        from tractable.linear import transfer_benefit

        settings: dict[str, Any] = {"n_in": self.n_in, "depth": self.depth}
        aspects = (self.n_out / self.n_in,) * 2
        strengths: tuple[Any, Any] = STRENGTHS
        if self.x:
            if measured is None or not measured["rank_a"] or not measured["rank_b"]:
                return xr.Dataset()
            strengths = measured.snr_a.values, measured.snr_b.values
            _, n_in, n_out_a, n_out_b = (int(n) for n in measured["shape"])
            settings["n_in"], aspects = n_in, (n_out_a / n_in, n_out_b / n_in)
            if sum(map(len, strengths)) > min(n_in, n_out_a + n_out_b):
                return xr.Dataset()  # so many signals cannot but overlap: there is no curve

        def benefit(q: float) -> float:
            overlap = q * np.eye(len(strengths[0]), len(strengths[1]))
            return transfer_benefit(*strengths, overlap, *aspects, **settings).benefit

        places = np.linspace(0.0, 1.0, self.n_curve)
        places = np.union1d(places, [] if self.x else self.overlaps)
        curve = [benefit(q) for q in places]
        return xr.Dataset({"benefit": ("q", curve, UNITS)}, coords={"q": places})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        if self.x:
            return  # findings about a user's data are answers
        for task in ("a", "b"):
            yield Check(
                f"signals of task {task.upper()} that are found, median",
                float(measured[f"rank_{task}"].median()),
                len(STRENGTHS[task == "b"]),
                source=SOURCE,
            )
        apart = measured.largest_overlap.mean("draw") - measured.q
        yield Check(
            "overlaps of 0.5 and more, largest error of the mean",
            float(abs(apart.sel(q=measured.q >= 0.5)).max()),
            0.05,
            kind="at_most",
            source="the generated tasks",
        )
        off = measured.benefit.mean("draw") - theory.benefit.sel(q=measured.q)
        yield Check(
            "benefit estimated from noisy examples, largest distance from the tasks' own",
            float(abs(off).max()),
            0.05,
            kind="at_most",
            source=SOURCE,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        if not self.x:
            yield (
                f"Pairs of tasks of strengths {STRENGTHS[0]} and {STRENGTHS[1]} in units of the "
                f"noise, {self.n_in} noisy examples of each: what A gains from B, as the tasks are "
                f"and as the examples say ({self.n_draws} draws)."
            )
            yield Table(
                "Fall of the smallest test error of A",
                ("overlap", "the tasks'", "estimated", "scatter", "overlap found"),
                tuple(
                    (
                        f"{float(q):g}",
                        f"{float(theory.benefit.sel(q=q)):.3f}",
                        f"{float(one.benefit.mean()):.3f}",
                        f"{float(one.benefit.std(ddof=1)):.3f}",
                        f"{float(one.largest_overlap.mean()):.3f}",
                    )
                    for q, one in ((q, measured.sel(q=q)) for q in measured.q.values)
                ),
            )
            return
        benefit, rank_a, rank_b = (float(measured[n]) for n in ("benefit", "rank_a", "rank_b"))
        does = "would help" if benefit > 0 else "would harm" if benefit < 0 else "changes nothing"
        yield (
            f"Task B {does}: smallest expected test error of A {float(measured.alone):.3f} "
            f"alone, {float(measured.joint):.3f} together (1: an untrained network)."
        )
        yield (
            f"Signals above the noise: {rank_a:.0f} of task A, {rank_b:.0f} of task B. With the "
            f"examples of B shuffled the estimate is {float(measured.shuffled_benefit):.3f}."
        )
        if rank_a and rank_b:
            rows = tuple(
                (
                    f"{float(s):.3g}",
                    *(f"{abs(float(q)):.2f}" for q in measured.overlap[i]),
                )
                for i, s in enumerate(measured.snr_a.values)
            )
            columns = ("strength of A", *(f"B {float(s):.3g}" for s in measured.snr_b.values[:8]))
            yield Table(
                "Overlaps of the input vectors (absolute)",
                columns,
                tuple(row[: len(columns)] for row in rows[:8]),
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        if "benefit" not in theory:
            return {}
        figure, ax = plot.new(size=(4.8, 3.6))
        plot.theory(ax, theory.q, theory.benefit, label="theory, each signal with its partner")
        if self.x:
            at = _largest(measured.overlap.values)
            plot.measurement(ax, [at], [float(measured.benefit)], label="your tasks")
            ax.plot(
                [0], [float(measured.shuffled_benefit)], "s", mfc="none", color="0.4",
                label="B shuffled",
            )  # fmt: skip
        else:
            plot.measurement(
                ax, measured.q, measured.benefit.mean("draw"), error=measured.benefit.std("draw"),
                label="estimated from examples",
            )  # fmt: skip
        ax.axhline(0, color="0.7", lw=0.8, zorder=0)
        ax.set(xlabel="overlap of the input vectors", ylabel="benefit: fall of the test error of A")
        ax.legend()
        figure.set_label(
            "Fall of the smallest test error of task A when task B is learned beside it, against "
            "the overlap of their input vectors; above zero B helps."
        )
        return {"transfer": figure}

    def cost(self, run: Run) -> Cost:
        import time

        parts = self._own() if self.x else self._example(0.5, run.seed)
        started = time.perf_counter()
        self._estimate(*parts)
        n = 2 if self.x else self.n_draws * len(self.overlaps)
        seconds = (time.perf_counter() - started) * n
        sizes = [14.0 * min(p.shape) ** 2 * max(p.shape) for p in parts]
        return Cost(n * sum(sizes), 40.0 * max(p.size for p in parts), seconds)

    # --- parts -------------------------------------------------------------------------------

    def _own(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from tractable.studies.linear._own_arrays import check_rows, read_matrix

        x, y_a, y_b = (read_matrix(name, getattr(self, name)) for name in ("x", "y_a", "y_b"))
        for name, y in (("y_a", y_a), ("y_b", y_b)):
            check_rows(x, y, name)
        return x, y_a, y_b

    def _example(self, overlap: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from tractable.linear import aligned_tasks

        pair = aligned_tasks(*STRENGTHS, overlap, n_in=self.n_in, n_out_a=self.n_out, seed=seed)
        return tuple(np.asarray(p) for p in (pair.a.X, pair.a.Y, pair.b.Y))  # type: ignore[return-value]  # three

    def _estimate(self, x: np.ndarray, y_a: np.ndarray, y_b: np.ndarray) -> TransferEstimate:
        from tractable.linear import transfer_from_data

        return transfer_from_data(
            x,
            y_a,
            y_b,
            sigma_a=self.sigma_a or None,
            sigma_b=self.sigma_b or None,
            depth=self.depth,
            center=self.center,
        )


def _largest(overlap: np.ndarray) -> float:
    """Return the largest overlap of two input vectors, 0 where there are none."""
    return float(np.abs(overlap).max()) if overlap.size else 0.0
