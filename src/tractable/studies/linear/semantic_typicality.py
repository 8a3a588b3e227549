"""Typical items: how near they are to the prototype, and how soon they are learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.studies.linear._judgments import first_times, later_pairs, member_times
from tractable.studies.linear._worlds import (
    numbers,
    reduced,
    starts_of,
    table_files,
    table_of,
    train_small,
    training_cost,
    typical_start,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import ItemTable

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
EXACT = "exact: (L21)"
KINDS = {
    "plant": ("pine", "oak", "rose", "daisy"),
    "animal": ("robin", "canary", "sunfish", "salmon"),
}


@dataclass(frozen=True)
class SemanticTypicality(Study):
    """Typical members of a category: near its prototype, and sooner judged to belong."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"step": 0.1, "n_seeds": 2, "n_hidden": 16},
        "paper": {"step": 0.005, "n_seeds": 20, "n_hidden": 200},
    }

    data: Literal["eight", "leuven", "leuven-artifacts", "awa"] = "eight"
    """Table; the animals of leuven come with human ratings of typicality."""
    n_hidden: Annotated[int, Range(2, 2000, log=True)] = 64
    """Hidden units."""
    init_std: Annotated[float, Range(1e-8, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    n_seeds: Annotated[int, Range(1, 200)] = 4
    """Networks."""
    n_modes: Annotated[int, Range(1, 200)] = 8
    """Modes that are followed, strongest first."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.02
    """Learning rate times the strongest mode."""

    def files(self) -> list[Path]:
        """Return the files of the table."""
        return list(dict.fromkeys([*super().files(), *table_files(self.data)]))

    @property
    def categories(
        self,
    ) -> tuple[ItemTable, dict[str, tuple[str, ...]], dict[str, dict[str, float]]]:
        """The table, the members of each category, and their ratings."""
        table, ratings, _ = table_of(self.data)
        if self.data == "eight":
            return table, dict(KINDS), {}
        if ratings:
            return table, {name: tuple(members) for name, members in ratings.items()}, ratings
        # Without categories of its own a table is split by its second mode.
        V = table.dynamics(rank=2).V[:, 1]
        sides = {
            "one side": tuple(np.array(table.items)[V > 0]),
            "other side": tuple(np.array(table.items)[V <= 0]),
        }
        return table, sides, {}

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        table, members, ratings = self.categories
        run.say(table_of(self.data)[2])
        K = min(self.n_modes, *table.Y.shape)
        task = table.dynamics(rank=K, init_strength=1e-9)
        networks = train_small(
            reduced(task),
            n_hidden=max(self.n_hidden, K),
            init_std=self.init_std,
            t_max=self.last_time(float(task.s[K - 1])),
            step=self.step,
            n_seeds=self.n_seeds,
            seed=run.seed,
            n_records=301,
        )
        V = networks.dynamics.V
        # What the last map has learned: its singular vectors are the network's own analyzers.
        maps = networks.map()[:, -1]
        learned = np.stack([np.linalg.svd(m)[2][:K].T for m in maps])
        sign = np.sign(np.einsum("sia,ia->sa", learned, V))
        judged = [
            member_times(networks.map()[k] @ np.eye(len(V)), networks.t, V)
            for k in range(self.n_seeds)
        ]
        names, human = [], []
        for name, items in members.items():
            for item in items:
                names.append((name, item))
                human.append(ratings.get(name, {}).get(item, np.nan))
        return xr.Dataset(
            {
                "analyzer": numbers(learned * sign[:, None], "network", "item", "mode"),
                "start": numbers(starts_of(networks), "network", "mode"),
                "time": numbers(np.stack(judged), "network", "item", "mode", units="tau"),
                "rating": numbers(np.array(human), "member"),
            },
            coords={
                "item": list(table.items),
                "category": ("member", [c for c, _ in names]),
                "name": ("member", [i for _, i in names]),
            },
        )

    def last_time(self, s: float) -> float:
        """Return when a mode of strength s is learned, with a margin."""
        from tractable.linear import learning_time

        start = min(typical_start(self.n_hidden, self.init_std), 0.1 * s)
        return 1.3 * float(learning_time(s, 0.98, start, 2))

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import category_typicality, deep_strength, prototypes, typicality

        table, members, _ = self.categories
        K = min(self.n_modes, *table.Y.shape)
        task = table.dynamics(rank=K, init_strength=1e-9)
        v, u = typicality(task), prototypes(task)
        P = len(table.items)
        recursion = (
            np.abs(table.Y @ u / (P * task.s) - v).max()
            + np.abs(table.Y.T @ v / (P * task.s) - u).max()
        )
        starts = (
            np.full((1, K), typical_start(max(self.n_hidden, K), self.init_std))
            if measured is None
            else measured.start.values
        )
        t = np.linspace(0, self.last_time(float(task.s[K - 1])), 2001)
        times = []
        for start in starts:
            a = deep_strength(task.s[:, None], t, np.maximum(start, 1e-30)[:, None], 2)
            times.append(
                np.stack(
                    [
                        first_times(t, np.abs(np.outer(v[:, k], a[k])), task.s[k], v[:, k])
                        for k in range(K)
                    ],
                    1,
                )
            )
        within, across, mode, correlation = [], [], [], []
        for items in members.values():
            own = table.select(items).dynamics(rank=1)
            first = own.V[:, 0] * np.sign(own.V[:, 0].sum())
            found = category_typicality(task, items)
            within += list(first)
            across += list(found.typicality)
            mode += [found.mode + 1] * len(items)
            correlation += [found.correlation] * len(items)
        return xr.Dataset(
            {
                "analyzer": numbers(v, "item", "mode"),
                "prototype": numbers(u, "feature", "mode"),
                "recursion": numbers(recursion),
                "time": numbers(np.stack(times), "network", "item", "mode", units="tau"),
                "s": numbers(task.s, "mode"),
                "within": numbers(np.array(within), "member"),
                "across": numbers(np.array(across), "member"),
                "category_mode": numbers(np.array(mode), "member"),
                "category_correlation": numbers(np.array(correlation), "member"),
            },
            coords={"item": list(table.items), "feature": list(table.features)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "typicality and prototype define each other: error",
            float(theory.recursion),
            1e-9,
            kind="at_most",
            source=EXACT,
        )
        gaps = -np.diff(theory.s.values) / np.maximum(theory.s.values[:-1], 1e-12)
        clear = np.minimum(np.append(gaps, 1.0), np.insert(gaps, 0, 1.0)) > 0.1
        clear[-1] = False  # the last mode that is followed has a neighbor that is not
        error = abs(measured.analyzer - theory.analyzer).max(("network", "item")).values
        yield Check(
            "typicality in the networks, worst error over well separated modes",
            float(error[clear].max(initial=0.0)),
            0.02,
            kind="at_most",
            source=PUBLISHED,
        )
        size = abs(theory.analyzer).values
        seen, expected = measured.time.values, theory.time.values
        chosen = (size > 0.5 * size.max(0)) & clear
        chosen = np.broadcast_to(chosen, seen.shape) & (seen > 0) & np.isfinite(seen)
        ratio = seen[chosen] / np.maximum(expected[chosen], 1e-12)
        yield Check(
            "time at which a member is judged, networks over theory",
            float(np.median(ratio)) if chosen.any() else 0.0,
            1.0,
            atol=0.05,
            source="(L3), (L16), (L21)",
        )
        yield Check(
            "pairs in which the more typical member is judged later",
            later_pairs(measured, theory, clear),
            0,
            source=PUBLISHED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from scipy.stats import pearsonr, spearmanr

        categories = list(dict.fromkeys(measured.category.values))
        rows: list[tuple[str, ...]] = []
        for name in categories:
            here = measured.category.values == name
            within = theory.within.values[here]
            best = measured.name.values[here][within.argmax()]
            least = measured.name.values[here][within.argmin()]
            row = [name, f"{here.sum()}", str(best), str(least)]
            rating = measured.rating.values[here]
            if np.isfinite(rating).all():
                for values in (within, theory.across.values[here]):
                    r, p = pearsonr(values, rating)
                    row.append(f"{r:.2f} (p = {p:.1g}), rank {spearmanr(values, rating)[0]:.2f}")
                row.append(f"{int(theory.category_mode[here][0])}")
            rows.append(tuple(row))
        header = ["category", "members", "most typical", "least typical"]
        if np.isfinite(measured.rating.values).any():
            header += [
                "ratings against theory, category alone",
                "against theory, all items",
                "mode",
            ]
            within = [
                pearsonr(
                    theory.within.values[measured.category.values == name],
                    measured.rating.values[measured.category.values == name],
                )[0]
                for name in categories
            ]
            across = [
                pearsonr(
                    theory.across.values[measured.category.values == name],
                    measured.rating.values[measured.category.values == name],
                )[0]
                for name in categories
            ]
            yield (
                "Human ratings of typicality correlate with the theory's typicality by "
                f"{min(within):.2f} to {max(within):.2f} (mean {np.mean(within):.2f}) where "
                "the theory sees the category alone, and by "
                f"{min(across):.2f} to {max(across):.2f} (mean {np.mean(across):.2f}) where it "
                "sees all items and takes the one mode that tells the category apart best."
            )
        yield (
            f"The most typical {categories[0]} is the {rows[0][2]}, the least typical the "
            f"{rows[0][3]}."
        )
        yield Table("Typicality", tuple(header), tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots.mode_plots import mode_colors

        pictures: dict[str, Any] = {}
        figure, ax = plot.new(size=(5.4, 3.6))
        shown = [k for k in range(min(6, theory.sizes["mode"]))]
        for k, color in zip(shown, mode_colors(len(shown)), strict=True):
            v = np.abs(theory.analyzer.values[:, k])
            order = np.argsort(v)
            times = theory.time.values[:, :, k].mean(0)
            good = np.isfinite(times[order]) & (v[order] > 0.02)
            plot.theory(ax, v[order][good], times[order][good], color=color, label=f"mode {k + 1}")
            seen = measured.time.values[:, :, k]
            fine = np.isfinite(seen).all(0) & (v > 0.02)
            plot.measurement(
                ax,
                v[fine],
                seen[:, fine].mean(0),
                error=seen[:, fine].std(0) if len(seen) > 1 else None,
                color=color,
                ms=3,
                label="networks" if k == 0 else "_",
            )
        ax.set(xlabel="typicality |v| of the item", ylabel="time of judgment / τ")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            "Time at which an item's side of a distinction passes a fixed threshold, against its "
            "typicality: theory (lines) and networks (markers)."
        )
        pictures["time"] = figure
        categories = list(dict.fromkeys(measured.category.values))
        if np.isfinite(measured.rating.values).any():
            figure, axes = plot.new(
                1, len(categories), size=(2.3 * len(categories), 2.8), squeeze=False
            )
            for ax, name in zip(axes[0], categories, strict=True):
                here = measured.category.values == name
                x, y = theory.within.values[here], measured.rating.values[here]
                slope, offset = np.polyfit(x, y, 1)
                line = np.array([x.min(), x.max()])
                ax.plot(line, offset + slope * line, ":", color="#7F7F7F", label="linear fit")
                plot.measurement(ax, x, y, ms=3, label="ratings")
                ax.set_title(f"{name}, r = {np.corrcoef(x, y)[0, 1]:.2f}", fontsize=9)
                ax.set_xlabel("typicality, theory")
            axes[0, 0].set_ylabel("human rating, 1 to 20")
            figure.set_label(
                "Human ratings of typicality against the theory's, by category; each category's "
                "own table of features is decomposed."
            )
            pictures["ratings"] = figure
        else:
            figure, ax = plot.new(size=(5.0, 3.4))
            x = np.arange(theory.sizes["member"])
            ax.plot(x, theory.within, "_", color="#0072B2", ms=12, mew=2, label="theory")
            ax.set_xticks(x, measured.name.values, rotation=90, fontsize=7 if len(x) < 40 else 4)
            ax.set(xlabel="item", ylabel="typicality in its category")
            ax.legend()
            figure.set_label("Typicality of each item within its category.")
            pictures["typicality"] = figure
        return pictures

    def cost(self, run: Run) -> Cost:
        import time

        table, _, _ = table_of(self.data)
        K = min(self.n_modes, *table.Y.shape)
        task = table.dynamics(rank=K, init_strength=1e-9)
        rate = self.step / float(task.s[0])
        started = time.perf_counter()
        train_small(
            reduced(task),
            n_hidden=max(self.n_hidden, K),
            init_std=self.init_std,
            t_max=50 * rate,
            step=self.step,
            n_seeds=self.n_seeds,
            seed=0,
        )
        each = (time.perf_counter() - started) / 50
        n_steps = self.last_time(float(task.s[K - 1])) / rate
        P = len(table.items)
        operations, memory = training_cost(n_steps, self.n_seeds, max(self.n_hidden, K), P, K)
        memory += 8.0 * 301 * self.n_seeds * max(self.n_hidden, K) * (P + K)
        return Cost(operations, memory, 1.2 * n_steps * each + 1.0)
