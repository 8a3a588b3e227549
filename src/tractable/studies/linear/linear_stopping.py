"""When should I stop training? The prediction for one's own data beside what training does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._stopping_cases import Case, digits, generated
from tractable.studies.linear._stopping_runs import STARTS, loss_at, train
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import StoppingReport

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, optimal stopping; estimation derived here"
LONGEST = 20_000  # steps of training


@dataclass(frozen=True)
class LinearStopping(Study):
    """When should I stop? Predicted from the data, measured by training, on your own files."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"n_splits": 2, "learning_rate": 0.05},
        "paper": {"n_splits": 50, "learning_rate": 0.002},
        "explore": {"n_splits": 3},
    }

    x: str = ""
    """File of inputs, (examples, inputs): .npy, .csv, .tsv or .txt. Without one: a generated task,
    and the lower halves of scikit-learn's digits from their upper halves."""
    y: str = ""
    """File of targets, (examples, outputs)."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 0.01
    """Of full-batch gradient descent on half the squared error, mean over examples."""
    depth: Annotated[int, Range(1, 10)] = 2
    """Number of weight matrices."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-3
    """Initial strength of each mode of the product of all layers."""
    test_fraction: Annotated[float, Range(0.05, 0.9)] = 0.25
    """Part of the examples of a file that is kept for the test."""
    n_examples: Annotated[int, Range(60, 1000)] = 100
    """Examples to train on, of the digits."""
    n_splits: Annotated[int, Range(2, 1000, log=True)] = 8
    """Random splits into examples to train on and examples to test with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.x) != bool(self.y):
            raise ValueError("x and y must be given together: files of inputs and of targets")

    def cases(self, seed: int) -> list[list[Case]]:
        """Return the splits of each data set: of the files, or of the two built-in tasks."""
        from tractable.core.seeds import derive
        from tractable.studies.linear._own_arrays import check_rows, read_matrix

        keys = [derive(seed, "split", i) for i in range(self.n_splits)]
        if not self.x:
            return [
                [generated(key) for key in keys],
                [digits(self.n_examples, np.random.default_rng(key)) for key in keys],
            ]
        X, Y = read_matrix("x", self.x), read_matrix("y", self.y)
        check_rows(X, Y)
        n_test = max(1, round(self.test_fraction * len(X)))
        if len(X) - n_test < 3:
            raise ValueError(
                f"x must have enough rows (examples) to leave 3 for training, got {len(X)} with "
                f"test_fraction = {self.test_fraction:g}"
            )
        for name, values in (("x", X), ("y", Y)):
            if not np.ptp(values, axis=0).any():
                raise ValueError(f"{name} must not be constant: there is nothing to learn")
        orders = [np.random.default_rng(key).permutation(len(X)) for key in keys]
        return [
            [
                Case("your data", X[o[n_test:]], Y[o[n_test:]], X[o[:n_test]], Y[o[:n_test]])
                for o in orders
            ]
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        rows = []
        for splits in self.cases(run.seed):
            reports = [self.predict(case) for case in splits]
            reasons = dict.fromkeys(reason for report in reports for reason in report.reasons)
            if reasons:
                run.say(f"{splits[0].name}: not reliable: {'; '.join(list(reasons)[:2])}")
            longest = max(report.step for report in reports)
            steps = min(max(int(1.8 * longest), 200), LONGEST)
            pairs = list(zip(splits, reports, strict=True))
            found = [
                train(
                    case,
                    report,
                    steps,
                    learning_rate=self.learning_rate,
                    depth=self.depth,
                    init_strength=self.init_strength,
                )
                for case, report in run.track(pairs, f"training on {splits[0].name}")
            ]
            rows.append(xr.concat(found, "split"))
        return xr.concat(rows, "case").assign_attrs(seed=run.seed)

    def predict(self, case: Case) -> StoppingReport:
        """Return the prediction for the training examples of a case."""
        from tractable.core.checks import quiet
        from tractable.linear import optimal_stopping

        with quiet():  # what the warning says is in the answers
            return optimal_stopping(
                case.X,
                case.Y,
                self.learning_rate,
                depth=self.depth,
                init_strength=self.init_strength,
                center=True,
            )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        seed = 0 if measured is None else int(measured.attrs.get("seed", 0))
        cases = self.cases(seed)
        reports = [[self.predict(case) for case in splits] for splits in cases]
        ends = [max(report.t[-1] for report in row) for row in reports]
        grid = np.stack([np.linspace(0, end, 400) for end in ends])
        loss = [
            [np.interp(g, report.t, report.loss) for report in row]
            for g, row in zip(grid, reports, strict=True)
        ]

        def numbers(name: str) -> np.ndarray:
            return np.array([[getattr(report, name) for report in row] for row in reports])

        own = {}
        if self.x:  # what to do with all examples: the splits keep some for the test
            from tractable.studies.linear._own_arrays import read_matrix

            X, Y = read_matrix("x", self.x), read_matrix("y", self.y)
            whole = self.predict(Case("your data", X, Y, X[:0], Y[:0]))
            own = {"all_step": whole.step, "all_rank": whole.detected_rank, "all_rows": len(X)}
        unreliable = [[report for report in row if not report.reliable] for row in reports]
        units = {
            "time": "tau",
            "step": "1",
            "expected_loss": "1",
            "final_loss": "1",
            "detected_rank": "1",
            "sigma": "unit of the targets",
        }
        return xr.Dataset(
            {
                "t": (("case", "point"), grid, {"units": "tau"}),
                "loss": (("case", "split", "point"), np.array(loss), {"units": "1"}),
                **{
                    name: (("case", "split"), numbers(name), {"units": unit})
                    for name, unit in units.items()
                },
            },
            attrs={
                "names": "\n".join(splits[0].name for splits in cases),
                "n_unreliable": [len(row) for row in unreliable],
                "reasons": "\n".join(
                    "; ".join(row[0].reasons) if row else "" for row in unreliable
                ),
                **own,
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        if self.x:
            return  # findings about a user's data are answers
        stopped = loss_at(measured, theory.time).mean("split")
        least, time = measured.best_loss.mean("split"), measured.best_t.mean("split")
        for i, name in enumerate(theory.attrs["names"].split("\n")):
            for start, label in (("aligned", "aligned start"), ("orthogonal", "random start")):
                ratio = float((stopped / least).sel(start=start)[i])
                yield Check(
                    f"{name}, {label}: test loss at the predicted stop over the least",
                    ratio,
                    1.03,
                    kind="at_most",
                    source=SOURCE,
                )
            yield Check(
                f"{name}: predicted over measured stopping time",
                float(theory.time[i].mean() / time.sel(start="aligned")[i]),
                1.0,
                atol=0.15,
                source=SOURCE,
            )
        yield Check(
            "generated task: test loss at the stop",
            float(least.sel(start="aligned")[0]),
            float(theory.expected_loss[0].mean()),
            rtol=0.1,
            source=SOURCE,
        )
        yield Check(
            "generated task: detected rank",
            float(theory.detected_rank[0].mean()),
            3,
            atol=0.25,
            source=SOURCE,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rows = []
        stopped = loss_at(measured, theory.time).mean("split").sel(start="orthogonal")
        mean, expected = measured.mean("split"), theory.mean("split")
        counts = np.atleast_1d(theory.attrs["n_unreliable"])
        for i, name in enumerate(theory.attrs["names"].split("\n")):
            aligned, random = (mean.isel(case=i).sel(start=start) for start in STARTS)
            yield (
                f"{name[0].upper()}{name[1:]}: stop at step {float(expected.step[i]):.0f} (t = "
                f"{float(expected.time[i]):.2f}). A network from a random start has a test loss of "
                f"{float(stopped[i]):.3f} there; its least is {float(random.best_loss):.3f} at t = "
                f"{float(random.best_t):.2f}, and without stopping it ends at "
                f"{float(random.final_loss):.3f}."
            )
            n_unreliable, reasons = counts[i], theory.attrs["reasons"].split("\n")[i]
            if reasons:
                yield (
                    f"Not reliable for {name} ({n_unreliable} of {self.n_splits} splits): "
                    f"{reasons}."
                )
            shrunk = float(random.shrunk_loss)
            rows.append(
                (
                    f"{float(expected.detected_rank[i]):.1f}",
                    f"{float(expected.time[i]):.2f}",
                    f"{float(aligned.best_t):.2f}",
                    f"{float(random.best_t):.2f}",
                    f"{float(expected.expected_loss[i]):.3f}",
                    f"{float(aligned.best_loss):.3f}",
                    f"{float(random.best_loss):.3f}",
                    f"{float(stopped[i]):.3f}",
                    f"{float(random.final_loss):.3f}",
                    f"{shrunk:.3f}" if np.isfinite(shrunk) else "-",
                )
            )
        if self.x:
            n_rows, rank = int(theory.attrs["all_rows"]), int(theory.attrs["all_rank"])
            yield (
                f"With all {n_rows} examples, none kept for a test: {rank} "
                f"signal{'' if rank == 1 else 's'} detected, stop at step "
                f"{int(theory.attrs['all_step'])}."
            )
        quantities = (
            "signals detected",
            "stopping time, predicted",
            "best time, aligned start",
            "best time, random start",
            "test loss, predicted",
            "least test loss, aligned start",
            "least test loss, random start",
            "random start, at the predicted stop",
            "without stopping (least squares)",
            "optimal shrinkage of least squares",
        )
        yield Table(
            f"Test loss over that of the mean, mean of {self.n_splits} splits",
            ("", *theory.attrs["names"].split("\n")),
            tuple(zip(quantities, *rows, strict=True)),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        names = theory.attrs["names"].split("\n")
        figure, axes = plot.new(1, len(names), size=(4.7 * len(names), 3.7), squeeze=False)
        for i, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
            at = measured.isel(case=i).mean("split")
            error = measured.isel(case=i).test_loss.std("split", ddof=1) / np.sqrt(self.n_splits)
            end = float(at.t[-1])
            shown = theory.t[i] <= end
            plot.theory(
                ax,
                theory.t[i][shown],
                theory.loss[i].mean("split")[shown],
                color="#D55E00",
                label="predicted",
            )
            every = slice(0, None, 16)
            for start, label, fill in (
                ("aligned", "trained, aligned start", "#D55E00"),
                ("orthogonal", "trained, random start", "white"),
            ):
                plot.measurement(
                    ax,
                    at.t[every],
                    at.test_loss.sel(start=start)[every],
                    error=error.sel(start=start)[every],
                    color="#D55E00",
                    mfc=fill,
                    ms=3.5,
                    label=label,
                )
            stop = float(theory.time[i].mean())
            ax.axvline(
                stop,
                color="#7F7F7F",
                ls="--",
                lw=1,
                label=f"stop at t = {stop:.2f}",
            )
            if np.isfinite(float(at.shrunk_loss)):
                ax.axhline(
                    float(at.shrunk_loss),
                    color="#009E73",
                    ls=":",
                    lw=1.3,
                    label="optimal shrinkage",
                )
            ax.set(
                xlabel="time t (steps × learning rate)",
                ylabel="test loss over that of the mean",
                title=name,
            )
            ax.legend(fontsize=7)
        figure.set_label(
            "Loss on examples that were not trained on, in time: predicted from the training "
            "examples alone (line), and of trained networks (markers, mean and standard error of "
            "random splits); the dashed line is where to stop. New inputs add to the loss of real "
            "data, which the prediction leaves out; when to stop it gets right."
        )
        return {"stopping": figure}

    def cost(self, run: Run) -> Cost:
        import time

        cases = [splits[0] for splits in self.cases(run.seed)]
        started = time.perf_counter()
        reports = [self.predict(case) for case in cases]
        seconds = (time.perf_counter() - started) * self.n_splits
        operations, memory = 1e6, 1e6
        for case, report in zip(cases, reports, strict=True):
            (P, n_in), n_out = case.X.shape, case.Y.shape[1]
            steps = 2 * self.n_splits * min(max(int(1.8 * report.step), 200), LONGEST)
            per_step = 8.0 * n_in * min(n_in, n_out) * (n_in + n_out)
            operations += steps * per_step + 10.0 * P * n_in * (n_in + n_out)
            memory += 8.0 * P * (3 * n_in + 3 * n_out)
            seconds += steps * (3e-5 + per_step / 4e9)
        return Cost(operations, memory, seconds)
