"""92 objects in monkey and human cortex: their dissimilarities, and those of networks in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
PUBLISHED = "doi:10.1016/j.neuron.2008.10.043: r = 0.49 between monkey and man"
CEILING = "doi:10.1371/journal.pcbi.1003553: the lower bound is below the upper one"
N = 92
SIZE = 32
NETS = ("reciprocal-gated", "feedforward")


@dataclass(frozen=True)
class ConvrnnIt92(Study):
    """Dissimilarities of 92 objects: monkey, man, categories, and networks step by step."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Kriegeskorte, Mur, Ruff, Kiani, Bodurka, Esteky, Tanaka, Bandettini",
        2008,
        "Matching categorical object representations in inferior temporal cortex of man and monkey",
        doi="10.1016/j.neuron.2008.10.043",
    )
    presets: ClassVar = {
        "smoke": {"data": "generated", "n_steps": 4, "steps": 1, "n_boot": 20, "n_seeds": 1,
                  "channels": 4},
        "paper": {"data": "it92", "channels": 64, "steps": 5000, "n_seeds": 10, "n_boot": 1000},
    }  # fmt: skip

    data: Literal["auto", "it92", "generated"] = "auto"
    """The measured set, where it is at hand; or generated subjects."""
    channels: Annotated[int, Range(2, 512)] = 16
    """Channels of the two upper layers."""
    n_steps: Annotated[int, Range(3, 100)] = 12
    """Steps of the networks, 10 ms each."""
    steps: Annotated[int, Range(0, 1_000_000)] = 60
    """Updates on CIFAR-10 where it is at hand; else the networks stay untrained."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Networks of each kind."""
    n_boot: Annotated[int, Range(10, 10_000, log=True)] = 200
    """Bootstrap samples of objects."""

    def resolved(self) -> str:
        """Return the data that ``auto`` stands for."""
        from tractable import data

        if self.data == "auto":
            return "it92" if data.locate("it92") else "generated"
        return self.data

    def files(self) -> list[Path]:
        """Return the files that the run depends on."""
        from tractable import data

        return list(data.files("it92")) if self.resolved() == "it92" else []

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_it92_parts import brains, network_in_time

        source = self.resolved()
        if source == "generated":
            run.say("Generated subjects and images: a demonstration; nothing here was measured.")
        points = [
            {
                "source": source, "net": net, "channels": self.channels, "n_steps": self.n_steps,
                "steps": self.steps, "seed": run.seed + number, "data_seed": run.seed,
            }
            for net in NETS for number in range(self.n_seeds)
        ]  # fmt: skip
        parts = run.map(network_in_time, points)
        rows = [
            xr.concat(parts[i * self.n_seeds : (i + 1) * self.n_seeds], "seed")
            for i in range(len(NETS))
        ]
        nets = xr.concat(rows, "net").assign_coords(
            net=list(NETS), seed=np.arange(run.seed, run.seed + self.n_seeds)
        )
        nets = nets.assign(brains(source, run.seed, self.n_boot).variables)
        return nets.assign_attrs(source=source)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the published agreement, and what a model of categories predicts."""
        import xarray as xr

        published = 0.49 if self.resolved() == "it92" else np.nan
        if measured is not None and measured.attrs.get("source") != "it92":
            published = np.nan
        return xr.Dataset(
            {"published": ((), published, ONE), "self": ((), 1.0, ONE), "chance": ((), 0.0, ONE)}
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        r = measured.rdm.values
        upper = np.triu_indices(N, 1)
        monkey, man = r[0][upper], r[1][upper]
        if measured.attrs["source"] == "it92":
            yield Check(
                "Pearson correlation of monkey and human dissimilarities",
                float(np.corrcoef(monkey, man)[0, 1]),
                float(theory.published),
                0.005,
                source=PUBLISHED,
            )
        yield Check(
            "dissimilarities that are not symmetric, largest difference",
            float(np.abs(r - r.transpose(0, 2, 1)).max()),
            0.0,
            source="definition",
        )
        yield Check(
            "mean of the people over the published mean, correlation",
            float(measured.people_to_mean),
            float(theory.self),
            1e-4,
            source="the published matrix is the mean over people and sessions",
        )
        yield Check(
            "noise ceiling between people: upper less lower bound",
            float(measured.ceiling[1] - measured.ceiling[0]),
            0.0,
            kind="at_least",
            source=CEILING,
        )
        for name in ("monkey", "human"):
            yield Check(
                f"animate or not, {name}: correlation with the dissimilarities",
                float(measured.category.sel(brain=name, kind="animate")),
                0.2,
                kind="at_least",
                source="doi:10.1016/j.neuron.2008.10.043: animacy divides the objects first; the "
                "margin is ours",
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        r = measured.rdm.values
        upper = np.triu_indices(N, 1)
        pearson = float(np.corrcoef(r[0][upper], r[1][upper])[0, 1])
        yield f"Monkey and human dissimilarities correlate by {pearson:.3f}."
        low, high = measured.ceiling.values
        yield (
            f"Between people the best that a model could reach lies between {low:.3f} and "
            f"{high:.3f} (Spearman)."
        )
        last = measured.similarity.isel(step=-1)
        rows = [
            (
                str(net),
                *(
                    " / ".join(f"{v:.3f}" for v in last.sel(net=net, brain=b).values)
                    for b in measured.brain.values
                ),
                " / ".join(f"{v:.3f}" for v in measured.accuracy.sel(net=net).values),
            )
            for net in measured.net.values
        ]
        rows.append(("pixels", *(f"{float(v):.3f}" for v in measured.pixels), "-"))
        for kind in measured.kind.values:
            rows.append(
                (str(kind), *(f"{float(v):.3f}" for v in measured.category.sel(kind=kind)), "-")
            )
        columns = ("model", "monkey", "human", "test accuracy on CIFAR-10, each seed")
        yield Table("Spearman correlation of dissimilarities", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from scipy.stats import rankdata

        from tractable import plot

        figure, axes = plot.new(1, 3, size=(9.6, 3.6))
        net = measured.net_rdm.isel(seed=0, net=0).values
        shown = (*measured.rdm.values, net)
        upper = np.triu_indices(N, 1)
        for ax, matrix, title in zip(
            axes, shown, ("monkey", "human", "reciprocal-gated, last step"), strict=True
        ):
            ranks = np.zeros((N, N))
            ranks[upper] = rankdata(matrix[upper]) / len(upper[0])
            picture = ax.imshow(ranks + ranks.T, cmap="viridis", vmin=0, vmax=1)
            ax.set_title(title)
            ax.set_xlabel("object")
            ax.axvline(47.5, color="w", lw=0.8)
            ax.axhline(47.5, color="w", lw=0.8)
        axes[0].set_ylabel("object")
        bar = figure.colorbar(picture, ax=axes, shrink=0.75, pad=0.02)
        bar.set_label("rank of dissimilarity")
        figure.set_label(
            "Dissimilarities of 92 objects as ranks: animate ones before the white lines, "
            "inanimate ones behind."
        )
        second, panels = plot.new(1, 2, size=(8.6, 3.5), sharey=True)
        for ax, brain in zip(panels, measured.brain.values, strict=True):
            for number, name in enumerate(measured.net.values):
                one = measured.similarity.sel(net=name, brain=brain)
                plot.measurement(
                    ax, measured.step, one.mean("seed"), ms=4, label=str(name),
                    error=one.std("seed") / np.sqrt(self.n_seeds), color=f"C{number + 1}",
                    marker="os"[number], linestyle=":", linewidth=0.8,
                )  # fmt: skip
            pixels = float(measured.pixels.sel(brain=brain))
            plot.theory(ax, measured.step[[0, -1]], [pixels] * 2, color="0.5", label="pixels")
            animate = float(measured.category.sel(brain=brain, kind="animate"))
            plot.theory(
                ax, measured.step[[0, -1]], [animate] * 2, color="C0", label="animate or not"
            )
            ax.set(xlabel="step of 10 ms", title=str(brain))
        panels[0].set_ylabel("Spearman correlation of dissimilarities")
        low, high = measured.ceiling.values
        panels[1].axhspan(low, high, color="C0", alpha=0.15, label="noise ceiling")
        panels[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        second.set_label(
            "Agreement of networks with inferior temporal cortex at each step, mean and standard "
            "error over seeds; lines: pixels, and the model that knows what is animate. Band: what "
            "the agreement between people allows."
        )
        return {"dissimilarities": figure, "in_time": second}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_it92_parts import it92_cost

        operations, memory, seconds = it92_cost(self.channels, self.n_steps, self.steps)
        nets = len(NETS) * self.n_seeds
        boot = 4186.0 * self.n_boot * 100
        return Cost(nets * operations + boot, memory, nets * seconds + boot / 1e8)
