"""An edge from the higher layer down to the lower one: whether it helps, at equal parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.vision.convrnn import ConvRNNSpec

GRAPHS = ("without feedback", "with feedback")
ONE = {"units": "1"}
STEPS = {"units": "steps"}


@dataclass(frozen=True)
class ConvrnnFeedback(Study):
    """Two recurrent layers with and without feedback between them, at equal parameters."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {"channels": 4, "n_seeds": 1, "steps": 4, "batch_size": 16, "n_test": 60},
        "paper": {"channels": 48, "n_seeds": 10, "steps": 3000},
    }

    cell: Literal["timedecay", "vanilla", "ugrnn", "gru", "lstm", "rgc"] = "rgc"
    """Cell of both recurrent layers."""
    variant: Literal["A", "C"] = "C"
    """Recall of the first digit: A has one distractor, C three."""
    entry: Literal["input", "cell", "out"] = "out"
    """Where feedback enters a reciprocal-gated cell; other cells take it at their input."""
    kernel: Annotated[int, Range(1, 9)] = 1
    """Size of the feedback's filters."""
    channels: Annotated[int, Range(2, 512)] = 12
    """Channels of both recurrent layers."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 300
    """Updates."""
    batch_size: Annotated[int, Range(1, 1297, log=True)] = 48
    """Movies of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    n_test: Annotated[int, Range(10, 1500)] = 500
    """Test digits; the other ones of 1,797 are for training."""

    def specs(self) -> dict[str, ConvRNNSpec]:
        """Return the two graphs; the one without feedback is as wide as to have as many weights."""
        from tractable.studies.vision._convrnn_parts import n_parameters
        from tractable.studies.vision.convrnn_graph import ConvrnnGraph

        def graph(stem: int, edges: tuple[Any, ...]) -> ConvRNNSpec:
            return ConvrnnGraph(
                cells=("none", self.cell, self.cell),
                channels=(stem, self.channels, self.channels),
                feedback=edges,
                feedback_entry=self.entry,
                feedback_kernel=self.kernel,
            ).spec()

        fed = graph(16, ("3>2",))
        wanted = n_parameters(fed)
        stems = range(16, 16 + 4 * self.kernel**2 + 12)
        plain = min((graph(s, ()) for s in stems), key=lambda s: abs(n_parameters(s) - wanted))
        return dict(zip(GRAPHS, (plain, fed), strict=True))

    # --- measurement -------------------------------------------------------------------------

    def _points(self, seed: int, device: str) -> list[dict[str, Any]]:
        return [
            {
                "spec": spec.to_json(),
                "readout": "last",
                "variant": self.variant,
                "steps": self.steps,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "n_test": self.n_test,
                "seed": seed + number,
                "device": device,
            }
            for spec in self.specs().values()
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_parts import returns_from, train_recall

        parts = run.map(train_recall, self._points(run.seed, str(run.device)))
        rows = [
            xr.concat(parts[i * self.n_seeds : (i + 1) * self.n_seeds], "seed")
            for i in range(len(GRAPHS))
        ]
        returns = [returns_from(spec) for spec in self.specs().values()]
        return (
            xr.concat(rows, "graph")
            .drop_vars("class_share")
            .assign(class_share=parts[0].class_share, first_return=("graph", returns, STEPS))
            .assign_coords(graph=list(GRAPHS), seed=np.arange(run.seed, run.seed + self.n_seeds))
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Bound what is blind to order; say when the lower layer first hears of the higher one.

        In one sweep per step, what reaches the higher layer at step t reaches the lower one, over
        the feedback edge, at step t + 1; without the edge it never does (-1).
        """
        import xarray as xr

        from tractable.vision.convrnn.recall import recall_tasks

        share = np.full(10, 0.1) if measured is None else measured.class_share.values
        task: Any = recall_tasks()[self.variant]  # one with an order
        return xr.Dataset(
            {
                "bound": ((), task.bound(share), ONE),
                "chance": ((), float(share.max()), ONE),
                "first_return": ("graph", [-1, 1], STEPS),
            },
            coords={"graph": list(GRAPHS)},
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        parameters = measured.parameters.isel(seed=0).values
        yield Check(
            "parameters, without over with feedback",
            float(parameters[0] / parameters[1]),
            1.0,
            0.02,
            source="a fair comparison",
        )
        wrong = float(abs(measured.first_return - theory.first_return).max())
        yield Check(
            "step at which the lower layer hears of the higher one, off the count",
            wrong,
            0,
            source="one step over a feedback edge",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        difference = (
            measured.accuracy.sel(graph=GRAPHS[1]) - measured.accuracy.sel(graph=GRAPHS[0])
        ).values
        error = difference.std(ddof=1) / np.sqrt(self.n_seeds) if self.n_seeds > 1 else np.nan
        verdict = "pays" if difference.mean() > 2 * error else "costs"
        if not abs(difference.mean()) > 2 * error:
            verdict = "makes no difference that these seeds show"
        yield (
            f"Feedback {verdict}: test accuracy with it less without it, at equal parameters, is "
            f"{difference.mean():+.3f} +- {error:.3f} (standard error of {self.n_seeds} seeds)."
        )
        rows = [
            (
                graph,
                int(measured.parameters.sel(graph=graph)[0]),
                float(measured.macs.sel(graph=graph)[0]) / 1e6,
                " / ".join(f"{a:.3f}" for a in measured.accuracy.sel(graph=graph).values),
            )
            for graph in GRAPHS
        ]
        columns = (
            "graph",
            "parameters",
            "million operations per movie",
            "test accuracy, each seed",
        )
        yield Table("Feedback from the higher to the lower layer", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 2, size=(8.6, 3.6), sharey=True)
        bound = float(theory.bound)
        for i, graph in enumerate(GRAPHS):
            one = measured.sel(graph=graph)
            spread = np.sqrt(self.n_seeds)
            color, marker = f"C{i + 1}", "os"[i]
            values = one.accuracy.values
            plot.measurement(
                axes[0], [i], [values.mean()], error=[values.std() / spread], color=color,
                marker=marker, label=graph,
            )  # fmt: skip
            axes[0].plot(np.full(len(values), i), values, ".", color=color, ms=3, alpha=0.6)
            by_frame = one.accuracy_by_frame
            plot.measurement(
                axes[1], one.frame, by_frame.mean("seed"), error=by_frame.std("seed") / spread,
                color=color, marker=marker, label=graph, linestyle=":", linewidth=0.8,
            )  # fmt: skip
        plot.theory(axes[0], [-0.5, 1.5], [bound] * 2, color="C0", label="bound without order")
        axes[0].set_xticks([0, 1], GRAPHS)
        axes[0].set(ylabel="test accuracy", xlim=(-0.5, 1.5), ylim=(0, 1.02))
        axes[0].legend(loc="lower left")
        axes[1].set(xlabel="frame", ylabel="accuracy of the readout at this frame")
        figure.set_label(
            "Recall of the first digit by two recurrent layers with and without feedback, at equal "
            "parameters: mean and standard error over the seeds, at the end (left) and at each "
            "frame (right)."
        )
        return {"feedback": figure}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_parts import recall_cost

        points = self._points(run.seed, str(run.device))[:: self.n_seeds]
        each = [recall_cost(**point) for point in points]
        operations, memory, seconds = (list(column) for column in zip(*each, strict=True))
        return Cost(self.n_seeds * sum(operations), max(memory), self.n_seeds * sum(seconds))
