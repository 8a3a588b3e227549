"""Progressive differentiation: a tree is learned level by level, in stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import (
    hide_legend,
    numbers,
    reduced,
    starts_of,
    train_small,
    training_cost,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import ItemTable, ModeDynamics

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
EXACT = "exact: (L17)"


@dataclass(frozen=True)
class SemanticTree(Study):
    """A tree of items: broad distinctions are learned first, level by level, in stages."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_features": 4000, "n_hidden": 16, "step": 0.05},
        "paper": {"n_features": 100_000, "n_hidden": 64, "step": 0.005},
    }

    branching: Annotated[int, Range(2, 10)] = 2
    """Branches of each node."""
    depth: Annotated[int, Range(2, 8)] = 3
    """Levels of the tree below its root."""
    flip: Annotated[float, Range(0.001, 0.5)] = 0.15
    """Probability that a branch flips a feature."""
    n_features: Annotated[int, Range(16, 1_000_000, log=True)] = 10_000
    """Independent features N."""
    n_hidden: Annotated[int, Range(2, 2000, log=True)] = 32
    """Hidden units N2."""
    init_std: Annotated[float, Range(1e-8, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.02
    """Learning rate times the strongest mode."""
    n_times: Annotated[int, Range(20, 2000)] = 301
    """Recorded times."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branching**self.depth > 1024:
            raise ValueError(
                f"branching ** depth must be at most 1024 items, got {self.branching**self.depth}"
            )

    def draw(self, seed: int) -> ItemTable:
        """Draw the features of all items."""
        from tractable.linear import hierarchical

        return hierarchical(self.branching, self.depth, self.flip, self.n_features, seed)

    def task(
        self, table: ItemTable, *, depth: int = 2, init_strength: float = 1e-6
    ) -> ModeDynamics:
        """Return the task with unit-norm features: strengths are those of the formula over P."""
        from tractable.linear import ModeDynamics

        P = len(table.items)
        return ModeDynamics.from_correlations(
            table.Y.T / (P * np.sqrt(self.n_features)), depth=depth, init_strength=init_strength
        )

    @property
    def t_max(self) -> float:
        """Time at which the last level is learned, with a margin."""
        from tractable.linear import learning_time, tree_spectrum

        tree = tree_spectrum(self.branching, self.depth, self.flip)
        s = float(tree.strength[-1]) / tree.n_items
        start = self.n_hidden * self.init_std**2 / 2
        return 1.4 * float(learning_time(max(s, 1e-3), 0.9, min(start, 0.4 * s), 2))

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import mds_trajectory

        table = self.draw(run.seed)
        task = self.task(table)
        s = task.s * len(table.items)
        networks = train_small(
            reduced(task),
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=self.t_max,
            step=self.step,
            n_seeds=1,
            seed=run.seed,
            n_records=self.n_times,
        )
        flat = self.task(table, depth=1, init_strength=1e-9)
        rate = self.step  # a shallow network has the curvature 1
        shallow = reduced(flat).simulate(rate, round(6 / rate), seeds=1)
        levels = node_labels(self.branching, self.depth)
        distance = level_distance(networks.hidden_similarity()[0], levels)
        return xr.Dataset(
            {
                "strength": numbers(s, "mode"),
                "half_rise": numbers(networks.half_rise()[0], "mode", units="tau"),
                "half_rise_shallow": numbers(shallow.half_rise()[0], "mode", units="tau"),
                "network": numbers(networks.strengths()[0], "mode", "time"),
                "start": numbers(starts_of(networks)[0], "mode"),
                "level": numbers(mode_levels(task.V, levels), "mode"),
                "distance": numbers(distance, "split", "time"),
                "mds": numbers(mds_trajectory(networks, networks.t), "time", "item", "coordinate"),
                "V": numbers(task.V, "item", "mode"),
                "similarity": numbers(networks.hidden_similarity()[0], "time", "item", "item_"),
            },
            coords={"time": networks.t},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import deep_strength, learning_time, tree_spectrum

        tree = tree_spectrum(self.branching, self.depth, self.flip)
        P = tree.n_items
        s = np.repeat(tree.strength, tree.degeneracy)
        level = np.repeat(tree.level, tree.degeneracy)
        order = np.argsort(-s, kind="stable")
        s, level = s[order], level[order]
        if measured is None:
            t = np.linspace(0, self.t_max, self.n_times)
            start = np.full(P, self.n_hidden * self.init_std**2 / 2)
        else:
            t, start = measured.time.values, measured.start.values
        start = np.maximum(start, 1e-30)
        strengths = deep_strength(s[:, None] / P, t, start[:, None], 2)
        levels = node_labels(self.branching, self.depth)
        V = tree_analyzers(levels, level)
        similarity = np.einsum("ia,at,ja->tij", V, strengths, V)
        return xr.Dataset(
            {
                "strength": numbers(s, "mode"),
                "level": numbers(level, "mode"),
                "network": numbers(strengths, "mode", "time"),
                "half_rise": numbers(learning_time(s / P, 0.5, start, 2), "mode", units="tau"),
                "half_rise_shallow": numbers(
                    learning_time(s / P, 0.5, 1e-9, 1), "mode", units="tau"
                ),
                "distance": numbers(level_distance(similarity, levels), "split", "time"),
                "degeneracy": numbers(tree.degeneracy, "tree_level"),
            },
            coords={"time": t, "tree_level": tree.level},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        error = float(abs(measured.strength / theory.strength.where(theory.strength > 0) - 1).max())
        bound = max(0.02, 2.0 / np.sqrt(self.n_features))
        yield Check(
            "strengths of the modes, relative error", error, bound, kind="at_most", source=EXACT
        )
        wrong = int((measured.level != theory.level).sum())
        yield Check("modes of a wrong level", wrong, 0, source=EXACT)
        mean = measured.half_rise.groupby(theory.level)
        latest, earliest = mean.max().values, mean.min().values
        gaps = (earliest[1:] - latest[:-1]) / latest[-1]
        gap = float(gaps.min()) if len(gaps) else -1.0
        yield Check(
            "half-rise: gap between one level and the next, worst, over the last",
            gap,
            0.0,
            kind="at_least",
            source=PUBLISHED,
        )
        ratio = float(abs(measured.half_rise / theory.half_rise - 1).max())
        yield Check(
            "half-rise against the formula", ratio, 0.05, kind="at_most", source="(L4), (L16)"
        )
        seen, expected = split_times(measured), split_times(theory)
        yield Check(
            "layout: levels that split later than the level above",
            int((np.diff(seen) > 0).sum()),
            len(seen) - 1,
            source=PUBLISHED,
        )
        yield Check(
            "layout: time of a split against theory, worst",
            float(np.abs(seen / np.maximum(expected, 1e-12) - 1).max()),
            0.08,
            kind="at_most",
            source="(L18)",
        )
        flat = measured.half_rise_shallow
        yield Check(
            "shallow: slowest over fastest half-rise",
            float(flat.max() / flat.min()),
            float(theory.half_rise_shallow.max() / theory.half_rise_shallow.min()),
            rtol=0.01,
            source=PUBLISHED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        by_level = measured.half_rise.groupby(theory.level).mean()
        times = ", ".join(f"{t:.1f}" for t in by_level.values)
        yield (
            f"The levels of the tree, from the root down, are half learned at t = {times} tau: "
            "what many items share is learned before what tells few apart."
        )
        rows = []
        for level in np.unique(theory.level.values):
            here = theory.level.values == level
            rows.append(
                (
                    f"{int(level)}",
                    f"{int(here.sum())}",
                    f"{float(theory.strength[here][0]):.4f}",
                    ", ".join(f"{x:.3f}" for x in measured.strength.values[here][:4]),
                    f"{float(theory.half_rise[here].mean()):.1f}",
                    f"{float(measured.half_rise[here].mean()):.1f}",
                )
            )
        header = ("level", "modes", "strength", "measured", "half-rise, theory", "network")
        yield Table("Levels of the tree", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_similarity_strip, plot_trajectories

        colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
        figure, ax = plot.new(size=(5.8, 3.6))
        every = max(1, len(measured.time) // 25)
        for level in np.unique(theory.level.values).astype(int):
            here = np.flatnonzero(theory.level.values == level)
            color = colors[level % 6]
            for k, a in enumerate(here):
                label = f"theory, level {level}" if k == 0 else "_"
                plot.theory(ax, theory.time, theory.network[a], color=color, label=label, lw=1.0)
                plot.measurement(
                    ax,
                    measured.time[::every],
                    measured.network[a][::every],
                    color=color,
                    ms=3,
                    label="network" if a == 0 else "_",
                )
        ax.set(xlabel="time / τ", ylabel="strength of the mode")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            "Strengths of the modes of a tree in time: theory from the formula of the spectrum "
            "(lines) and a network trained on a sample of features (markers)."
        )
        labels = node_labels(self.branching, self.depth)[1]
        paths = plot_trajectories(measured.mds, groups=[f"branch {b + 1}" for b in labels])
        hide_legend(paths)
        paths.set_label(
            "Paths of the items in the plane of classical scaling of the network's hidden "
            "similarity; colors are the branches at the root, squares the end of learning."
        )
        times = measured.time.values
        chosen = np.searchsorted(times, np.array([0.15, 0.3, 0.5, 0.99]) * times[-1])
        strip = plot_similarity_strip(times[chosen], measured.similarity[chosen])
        strip.set_label("Similarity of the items' hidden codes in the network, at four times.")
        return {"strengths": figure, "paths": paths, "similarity": strip}

    def cost(self, run: Run) -> Cost:
        import time

        P = self.branching**self.depth
        small = SemanticTree(self.branching, self.depth, self.flip, max(16, P))
        task = reduced(small.task(small.draw(0)))
        rate = self.step / float(task.s[0])
        started = time.perf_counter()
        train_small(
            task,
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=100 * rate,
            step=self.step,
            n_seeds=1,
            seed=0,
        )
        each = (time.perf_counter() - started) / 100
        n_steps = self.t_max / rate
        operations, memory = training_cost(n_steps, 1, self.n_hidden, P, P)
        drawing = 3e-8 * P * self.n_features
        memory += 24.0 * P * self.n_features
        return Cost(operations + 10.0 * P**2 * self.n_features, memory, n_steps * each + drawing)


def node_labels(branching: int, depth: int) -> np.ndarray:
    """Return the node above each leaf at each level, shape (depth + 1, P)."""
    leaf = np.arange(branching**depth)
    return np.stack([leaf // branching ** (depth - level) for level in range(depth + 1)])


def tree_analyzers(labels: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return orthonormal item patterns of a tree, one for each mode: constant below a node."""
    P = labels.shape[1]
    columns: dict[int, list[np.ndarray]] = {0: [np.ones(P) / np.sqrt(P)]}
    for k in range(1, len(labels)):
        columns[k] = []
        for parent in np.unique(labels[k - 1]):
            children = np.unique(labels[k][labels[k - 1] == parent])
            inside = np.stack(
                [(labels[k] == c) / np.sqrt(np.sum(labels[k] == c)) for c in children]
            )
            # an orthonormal basis of the contrasts between siblings
            contrasts = np.linalg.qr(np.eye(len(children)) - 1 / len(children))[0][:, :-1]
            columns[k] += list(contrasts.T @ inside)
    return np.stack([columns[int(k)].pop(0) for k in level], axis=1)


def mode_levels(V: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the level that each mode belongs to: where most of its variance is explained."""
    explained = []
    for nodes in labels:
        means = np.stack(
            [
                V[nodes == n].mean(0)[None].repeat(np.sum(nodes == n), 0).sum(0)
                for n in np.unique(nodes)
            ]
        )
        sizes = np.array([np.sum(nodes == n) for n in np.unique(nodes)])
        explained.append((means**2 / sizes[:, None]).sum(0))
    gained = np.diff(np.stack(explained), axis=0, prepend=0.0)
    return gained.argmax(0)


def level_distance(similarity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean squared distance of sibling nodes' centers at each level, (depth, T)."""
    result = []
    for k in range(1, len(labels)):
        total = np.zeros(len(similarity))
        for parent in np.unique(labels[k - 1]):
            children = np.unique(labels[k][labels[k - 1] == parent])
            weights = np.stack([(labels[k] == c) / np.sum(labels[k] == c) for c in children])
            weights = weights - weights.mean(0)
            total += np.einsum("ci,tij,cj->t", weights, similarity, weights)
        result.append(total / len(np.unique(labels[k - 1])))
    return np.stack(result)


def split_times(dataset: xr.Dataset) -> np.ndarray:
    """Return when the distance of each level grows fastest, for the levels below the root."""
    slope = np.gradient(dataset.distance.values, dataset.time.values, axis=1)
    return dataset.time.values[slope.argmax(1)]
