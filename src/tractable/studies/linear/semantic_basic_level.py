"""The basic level: when a level in the middle of the tree is learned before the one above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import numbers, reduced, train_small, training_cost
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
EXACT = "exact: (L17)"


@dataclass(frozen=True)
class SemanticBasicLevel(Study):
    """Basic level first: birds before animals, when members of other kinds are least alike."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_features": 2000, "step": 0.05},
        "paper": {"n_features": 100_000, "step": 0.005},
    }

    similarity: Annotated[tuple[float, ...], Range(-1.0, 1.0)] = (0.0, -0.2, 0.8, 1.0)
    """Similarity of two items whose nearest common ancestor is at each level, root first."""
    control: Annotated[tuple[float, ...], Range(-1.0, 1.0)] = (0.1, 0.3, 0.6, 1.0)
    """The same for a world in which similarity grows with relatedness at every level."""
    n_features: Annotated[int, Range(16, 1_000_000, log=True)] = 10_000
    """Independent features."""
    n_hidden: Annotated[int, Range(2, 2000, log=True)] = 32
    """Hidden units."""
    init_std: Annotated[float, Range(1e-8, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.02
    """Learning rate times the strongest mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from tractable.linear import tree_spectrum

        for name in ("similarity", "control"):
            values = getattr(self, name)
            if not 2 <= len(values) <= 8:
                raise ValueError(f"{name} must be 2 to 8 numbers, root first, got {len(values)}")
            tree_spectrum(2, len(values) - 1, similarity=values)  # refuses what no features have

    def worlds(self) -> list[dict[str, object]]:
        """Return the two worlds."""
        return [
            {"name": "basic level", "q": self.similarity},
            {"name": "control", "q": self.control},
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        parts = [
            learn_world(
                world["q"],
                self.n_features,
                self.n_hidden,
                self.init_std,
                self.step,
                run.seed,
            ).expand_dims(world=[str(world["name"])])
            for world in run.track(self.worlds(), "worlds")
        ]
        return xr.concat(parts, "world", join="outer")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import learning_time, tree_spectrum

        parts = []
        for world in self.worlds():
            q: tuple[float, ...] = world["q"]  # type: ignore[assignment]  # a tuple of numbers
            tree = tree_spectrum(2, len(q) - 1, similarity=q)
            start = self.n_hidden * self.init_std**2 / 2
            half = learning_time(tree.strength / tree.n_items, 0.5, start, 2)
            parts.append(
                xr.Dataset(
                    {
                        "eigenvalue": numbers(tree.strength**2, "level"),
                        "half_rise": numbers(half, "level", units="tau"),
                        "similarity": numbers(np.array(q), "level"),
                    },
                    coords={"level": tree.level},
                ).expand_dims(world=[str(world["name"])])
            )
        return xr.concat(parts, "world", join="outer")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        seen = (theory.eigenvalue > 0.02) & np.isfinite(measured.eigenvalue)
        error = abs(measured.eigenvalue / theory.eigenvalue.where(seen) - 1)
        bound = max(0.06, 6 / np.sqrt(self.n_features))
        yield Check(
            "eigenvalues of the levels, relative error",
            float(error.max().fillna(1.0)),
            bound,
            kind="at_most",
            source=EXACT,
        )
        default = SemanticBasicLevel()
        if self.similarity == default.similarity:
            gap = float(abs(theory.eigenvalue[0] - np.array([1.4, 1.4, 2.2, 0.2])).max())
            yield Check(
                "eigenvalues of the published kind: 1.4, 1.4, 2.2, 0.2",
                gap,
                1e-9,
                kind="at_most",
                source=EXACT,
            )
        for k, name in enumerate(theory.world.values):
            here = seen[k].values
            times, values = measured.half_rise[k].values[here], theory.eigenvalue[k].values[here]
            wrong = 0
            for i in range(len(values)):
                for j in range(len(values)):
                    wrong += int(values[i] > 1.1 * values[j] and not times[i] < times[j])
            yield Check(f"{name}: levels learned in the wrong order", wrong, 0, source=PUBLISHED)
        first = int(np.nanargmin(measured.half_rise[0].values))
        yield Check(
            "level that the network learns first",
            first,
            int(np.nanargmax(theory.eigenvalue[0].values)),
            source=PUBLISHED,
        )
        ratio = (measured.half_rise / theory.half_rise).where(seen)
        yield Check(
            "half-rise of the network over the formula, worst deviation",
            float(abs(ratio - 1).max().fillna(1.0)),
            0.15,
            kind="at_most",
            source="(L4)",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        times = measured.half_rise[0].values
        first = int(np.nanargmin(times))
        yield (
            f"Where sibling kinds differ more than kinds of different families, level {first} is "
            f"learned first (at {times[first]:.1f} tau, the level above at "
            f"{times[max(0, first - 1)]:.1f}): the basic level is where similarity falls."
        )
        rows = []
        for k, name in enumerate(theory.world.values):
            for level in theory.level.values:
                if np.isfinite(theory.eigenvalue[k].values[level]):
                    rows.append(
                        (
                            str(name),
                            f"{level}",
                            f"{float(theory.similarity[k, level]):g}",
                            f"{float(theory.eigenvalue[k, level]):.3f}",
                            f"{float(measured.eigenvalue[k, level]):.3f}",
                            f"{float(theory.half_rise[k, level]):.1f}",
                            f"{float(measured.half_rise[k, level]):.1f}",
                        )
                    )
        header = ("world", "level", "similarity", "eigenvalue", "sample", "half-rise", "network")
        yield Table("Levels", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 2, size=(7.8, 3.3))
        for k, (name, color) in enumerate(
            zip(theory.world.values, ("#D55E00", "#0072B2"), strict=True)
        ):
            for ax, variable in zip(axes, ("eigenvalue", "half_rise"), strict=True):
                plot.theory(
                    ax, theory.level, theory[variable][k], color=color, label=f"theory, {name}"
                )
                plot.measurement(
                    ax, measured.level, measured[variable][k], color=color, label=f"network, {name}"
                )
        axes[0].set(xlabel="level of the tree", ylabel="eigenvalue per feature")
        axes[1].set(xlabel="level of the tree", ylabel="half-rise / τ")
        for ax in axes:
            ax.set_xticks(theory.level.values)
        axes[0].legend(fontsize=8)
        figure.set_label(
            "Eigenvalues of the levels of two worlds and the times at which they are learned; the "
            "basic level (2) is learned first where sibling kinds are least alike."
        )
        return {"levels": figure}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        learn_world(self.control, 64, self.n_hidden, self.init_std, 0.05, 0)
        seconds = 2 * (time.perf_counter() - started) * 0.05 / self.step
        P = 2 ** (max(len(self.similarity), len(self.control)) - 1)
        operations, memory = training_cost(200 / self.step, 2, self.n_hidden, P, P)
        memory += 24.0 * P * self.n_features
        return Cost(operations, memory, seconds + 1e-7 * P * self.n_features)


def learn_world(
    q: tuple[float, ...], n_features: int, n_hidden: int, init_std: float, step: float, seed: int
) -> xr.Dataset:
    """Draw features with the similarities of a tree, and train a network on them."""
    import xarray as xr

    from tractable.linear import ModeDynamics, learning_time
    from tractable.linear.semantics import ultrametric_features
    from tractable.studies.linear.semantic_tree import mode_levels, node_labels

    depth = len(q) - 1
    table = ultrametric_features(2, q, n_features, seed)
    P = len(table.items)
    task = ModeDynamics.from_correlations(table.Y.T / (P * np.sqrt(n_features)))
    level = mode_levels(task.V, node_labels(2, depth))
    start = n_hidden * init_std**2 / 2
    slowest = float(task.s[task.s > 0.1 * task.s[0]].min())
    networks = train_small(
        reduced(task),
        n_hidden=n_hidden,
        init_std=init_std,
        t_max=1.5 * float(learning_time(slowest, 0.9, start, 2)),
        step=step,
        n_seeds=1,
        seed=seed,
        n_records=400,
    )
    half = networks.half_rise()[0]
    eigenvalues = (task.s * P) ** 2
    by_level = np.full((2, depth + 1), np.nan)
    for k in range(depth + 1):
        if (level == k).any():
            by_level[:, k] = eigenvalues[level == k].mean(), half[level == k].mean()
    return xr.Dataset(
        {
            "eigenvalue": numbers(by_level[0], "level"),
            "half_rise": numbers(by_level[1], "level", units="tau"),
        },
        coords={"level": np.arange(depth + 1)},
    )
