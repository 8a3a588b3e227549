"""When should I stop training? The prediction for one's own data beside what training does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import StoppingReport

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, optimal stopping; estimation derived here"
STARTS = ("aligned", "orthogonal")
LONGEST = 20_000  # steps of training


class Case(NamedTuple):
    """Examples to train on and to test with."""

    name: str
    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray


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
        "smoke": {"n_examples": 120, "learning_rate": 0.05},
        "paper": {"n_examples": 400, "learning_rate": 0.002},
    }

    x: str = ""
    """File of inputs, (examples, inputs): .npy, .csv or .txt. Without one: a generated task, and
    the lower halves of scikit-learn's digits from their upper halves."""
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
    n_examples: Annotated[int, Range(80, 1000)] = 200
    """Examples to train on, of the digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.x) != bool(self.y):
            raise ValueError("x and y must be given together: files of inputs and of targets")

    def cases(self, seed: int) -> list[Case]:
        """Return the examples: those of the files, or the two built-in tasks."""
        from tractable.core.seeds import derive
        from tractable.studies.linear._own_arrays import read_matrix

        random = np.random.default_rng(derive(seed, "split"))
        if self.x:
            X, Y = read_matrix("x", self.x), read_matrix("y", self.y)
            if len(X) != len(Y):
                raise ValueError(
                    f"x and y must have the same number of rows, got {len(X)} and {len(Y)}"
                )
            order = random.permutation(len(X))
            n_test = max(1, round(self.test_fraction * len(X)))
            if len(X) - n_test < 3:
                raise ValueError(f"x must have enough examples for training, got {len(X)}")
            test, train = order[:n_test], order[n_test:]
            return [Case("your data", X[train], Y[train], X[test], Y[test])]
        return [generated(derive(seed, "generated")), digits(self.n_examples, random)]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        rows = []
        for case in self.cases(run.seed):
            report = self.predict(case)
            if report.reasons:
                run.say(f"{case.name}: not reliable: {'; '.join(report.reasons)}")
            rows.append(self.train(case, report, run.show_progress))
        # A name as a number of its place: files store rows of text poorly.
        found = xr.concat(rows, "case", join="override")
        return found.assign_attrs(seed=run.seed)

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

    def train(self, case: Case, report: StoppingReport, progress: bool) -> xr.Dataset:
        """Train on the inputs that the report asks for, and test on the examples left out."""
        import xarray as xr

        from tractable.linear import HeldOut, train_students

        Z, Z_test = case.X - report.X_mean, case.X_test - report.X_mean
        if report.whitening is not None:
            Z, Z_test = Z @ report.whitening, Z_test @ report.whitening
        T, T_test = case.Y - report.Y_mean, case.Y_test - report.Y_mean
        P = len(Z)
        steps = min(max(int(1.8 * report.step), 200), LONGEST)
        curves = [
            train_students(
                T.T @ Z / P,
                None,
                cov_x=Z.T @ Z / P,
                energy=np.array([np.sum(T**2) / P]),
                held_out=HeldOut(T_test.T @ Z_test, Z_test.T @ Z_test, np.sum(T_test**2)),
                learning_rate=self.learning_rate,
                steps=steps,
                depth=self.depth,
                init_strength=self.init_strength,
                start=start,  # type: ignore[arg-type]  # one of STARTS
                n_records=500,
                progress=progress,
            )
            for start in STARTS
        ]
        grid = np.linspace(0.0, self.learning_rate * steps, 400)
        line = ("start", "point")

        def on_grid(name: str) -> np.ndarray:
            return np.stack([np.interp(grid, c.t, getattr(c, name)[0]) for c in curves])

        # Least squares, which training ends at, and optimal shrinkage of it.
        final, shrunk = endpoints(Z, T, Z_test, T_test, report)
        return xr.Dataset(
            {
                "t": ("point", grid, {"units": "tau"}),
                "train_loss": (line, on_grid("train"), {"units": "1"}),
                "test_loss": (line, on_grid("test"), {"units": "1"}),
                "best_t": ("start", [c.best_t[0] for c in curves], {"units": "tau"}),
                "best_loss": ("start", [c.best_test[0] for c in curves], {"units": "1"}),
                "final_loss": ((), final, {"units": "1"}),
                "shrunk_loss": ((), shrunk, {"units": "1"}),
            },
            coords={"start": list(STARTS)},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        seed = 0 if measured is None else int(measured.attrs.get("seed", 0))
        reports = [self.predict(case) for case in self.cases(seed)]
        grid = [np.linspace(0, report.t[-1], 400) for report in reports]
        loss = [np.interp(g, r.t, r.loss) for g, r in zip(grid, reports, strict=True)]
        units = {
            "time": "tau",
            "step": "1",
            "expected_loss": "1",
            "final_loss": "1",
            "detected_rank": "1",
            "sigma": "unit of the targets",
            "aspect": "1",
        }
        return xr.Dataset(
            {
                "t": (("case", "point"), np.stack(grid), {"units": "tau"}),
                "loss": (("case", "point"), np.stack(loss), {"units": "1"}),
                "shrinkage_loss": (
                    "case",
                    np.array(
                        [
                            r.expected_loss if r.shrinkage_loss is None else r.shrinkage_loss
                            for r in reports
                        ]
                    ),
                    {"units": "1"},
                ),
                **{
                    name: ("case", np.array([getattr(r, name) for r in reports]), {"units": unit})
                    for name, unit in units.items()
                },
            },
            attrs={"names": "\n".join(case.name for case in self.cases(seed))},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        if self.x:
            return  # findings about a user's data are answers
        for i, name in enumerate(theory.attrs["names"].split("\n")):
            for start, label in (("aligned", "aligned start"), ("orthogonal", "random start")):
                at = measured.isel(case=i).sel(start=start)
                stopped = np.interp(float(theory.time[i]), at.t.values, at.test_loss.values)
                yield Check(
                    f"{name}, {label}: test loss at the predicted stop over the least",
                    stopped / float(at.best_loss),
                    1.03,
                    kind="at_most",
                    source=SOURCE,
                )
        best = measured.isel(case=0).sel(start="aligned")
        yield Check(
            "generated task: predicted over measured stopping time",
            float(theory.time[0]) / float(best.best_t),
            1.0,
            atol=0.15,
            source=SOURCE,
        )
        yield Check(
            "generated task: predicted test loss at the stop",
            float(best.best_loss),
            float(theory.expected_loss[0]),
            rtol=0.1,
            source=SOURCE,
        )
        yield Check(
            "generated task: detected rank", float(theory.detected_rank[0]), 3, source=SOURCE
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rows = []
        for i, name in enumerate(theory.attrs["names"].split("\n")):
            at = measured.isel(case=i)
            random = at.sel(start="orthogonal")
            stopped = np.interp(float(theory.time[i]), at.t.values, random.test_loss.values)
            yield (
                f"{name[0].upper()}{name[1:]}: stop at step {int(theory.step[i])} (t = "
                f"{float(theory.time[i]):.2f}). A network from a random start has a test loss of "
                f"{stopped:.3f} there; its least is {float(random.best_loss):.3f} at t = "
                f"{float(random.best_t):.2f}, and without stopping it ends at "
                f"{float(at.final_loss):.3f}."
            )
            rows.append(
                (
                    name,
                    str(int(theory.detected_rank[i])),
                    f"{float(theory.time[i]):.2f}",
                    f"{float(at.best_t[0]):.2f}",
                    f"{float(random.best_t):.2f}",
                    f"{float(theory.expected_loss[i]):.3f}",
                    f"{float(at.best_loss[0]):.3f}",
                    f"{stopped:.3f}",
                    f"{float(at.final_loss):.3f}",
                    f"{float(at.shrunk_loss):.3f}",
                )
            )
        yield Table(
            "Stopping time, and test loss over that of the mean",
            (
                "data",
                "signals",
                "time, predicted",
                "aligned",
                "random",
                "loss, predicted",
                "least measured",
                "at the predicted stop",
                "without stopping",
                "optimal shrinkage",
            ),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        names = theory.attrs["names"].split("\n")
        figure, axes = plot.new(1, len(names), size=(4.7 * len(names), 3.7), squeeze=False)
        for i, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
            at = measured.isel(case=i)
            end = float(at.t[-1])
            shown = theory.t[i] <= end
            plot.theory(
                ax, theory.t[i][shown], theory.loss[i][shown], color="#D55E00", label="predicted"
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
                    color="#D55E00",
                    mfc=fill,
                    ms=3.5,
                    label=label,
                )
            ax.axvline(
                float(theory.time[i]),
                color="#7F7F7F",
                ls="--",
                lw=1,
                label=f"stop at t = {float(theory.time[i]):.2f}",
            )
            ax.axhline(
                float(at.shrunk_loss), color="#009E73", ls=":", lw=1.3, label="optimal shrinkage"
            )
            ax.set(
                xlabel="time t (steps × learning rate)",
                ylabel="test loss over that of the mean",
                title=name,
            )
            ax.legend(fontsize=7)
        figure.set_label(
            "Loss on examples that were not trained on, in time: predicted from the training "
            "examples alone (line), and of trained networks (markers); the dashed line is where to "
            "stop. On real data the prediction misses what new inputs add to the loss, and is "
            "right about when to stop."
        )
        return {"stopping": figure}

    def cost(self, run: Run) -> Cost:
        import time

        cases = self.cases(run.seed)
        started = time.perf_counter()
        reports = [self.predict(case) for case in cases]
        seconds = time.perf_counter() - started
        operations, memory = 1e6, 1e6
        for case, report in zip(cases, reports, strict=True):
            (P, n_in), n_out = case.X.shape, case.Y.shape[1]
            steps = 2 * min(max(int(1.8 * report.step), 200), LONGEST)
            per_step = 8.0 * n_in * min(n_in, n_out) * (n_in + n_out)
            operations += steps * per_step + 10.0 * P * n_in * (n_in + n_out)
            memory += 8.0 * P * (3 * n_in + 3 * n_out)
            seconds += steps * (3e-5 + per_step / 4e9)
        return Cost(operations, memory, seconds)


def generated(seed: int) -> Case:
    """Return a noisy task of rank 3 on Gaussian inputs: 450 examples, and 3000 for the test."""
    from tractable.linear import noisy_task

    task = noisy_task(
        (3.0, 2.0, 1.0), n_in=100, n_out=60, n_examples=3450, inputs="gaussian", seed=seed
    )
    return Case("generated task", task.X[:450], task.Y[:450], task.X[450:], task.Y[450:])


def digits(n_examples: int, random: np.random.Generator) -> Case:
    """Return the pixels of lower halves of digits from those of upper halves."""
    from sklearn.datasets import load_digits

    images = load_digits().data / 16.0
    inputs, outputs = images[:, :32], images[:, 32:]
    inputs = inputs[:, inputs.std(0) > 0.1]  # the corners are almost always empty
    outputs = outputs[:, outputs.std(0) > 0.1]
    order = random.permutation(len(images))
    train, test = order[:n_examples], order[n_examples:]
    return Case(
        "lower halves of digits", inputs[train], outputs[train], inputs[test], outputs[test]
    )


def endpoints(
    Z: np.ndarray, T: np.ndarray, Z_test: np.ndarray, T_test: np.ndarray, report: StoppingReport
) -> tuple[float, float]:
    """Return the test losses of least squares and of its optimal shrinkage."""
    from tractable.linear import optimal_shrinkage

    W = np.linalg.lstsq(Z, T, rcond=None)[0].T
    power = np.sum(T_test**2)
    final = np.sum((T_test - Z_test @ W.T) ** 2) / power
    if report.whitening is None or min(W.shape) < 2:
        return float(final), float(final)
    # In whitened inputs of unit variance the noise of an entry is that of a target over sqrt(P).
    better = optimal_shrinkage(W, sigma=report.sigma / np.sqrt(len(Z))).estimate
    return float(final), float(np.sum((T_test - Z_test @ better.T) ** 2) / power)
