"""Illusory correlations: false beliefs of every deep network, and of no shallow one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import (
    check_table,
    numbers,
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

    from tractable.linear import ItemTable, Simulation

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
TABLE = "table of eight things, computed from (L3), (L19), (L20)"


@dataclass(frozen=True)
class SemanticIllusions(Study):
    """Illusory correlations: a pine that seems to have leaves, on the way to the truth."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_seeds": 2, "step": 0.02, "n_times": 1201},
        "paper": {"n_seeds": 20, "step": 0.005},
    }

    data: str = "eight"
    """Table: eight, toy, leuven, leuven-artifacts, awa, or the path of a CSV file."""
    n_hidden: Annotated[int, Range(1, 2000, log=True)] = 64
    """Hidden units N2."""
    init_std: Annotated[float, Range(1e-6, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    n_seeds: Annotated[int, Range(1, 1000, log=True)] = 4
    """Networks."""
    t_max: Annotated[float, Range(1.0, 1e5, log=True)] = 60.0
    """Last time, in the unit of tau."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.01
    """Learning rate times the strongest mode."""
    n_times: Annotated[int, Range(50, 20_000)] = 2401
    """Times at which beliefs are looked at."""
    tolerance: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Smallest fall of a belief that counts as an illusion."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table(self.data)

    def files(self) -> list[Path]:
        """Return the files of the table."""
        return list(dict.fromkeys([*super().files(), *table_files(self.data)]))

    @property
    def table(self) -> ItemTable:
        """The table."""
        return table_of(self.data)[0]

    def train(self, table: ItemTable, seed: int, t_max: float) -> Simulation:
        """Train the deep networks."""
        return train_small(
            table.dynamics(),
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=t_max,
            step=self.step,
            n_seeds=self.n_seeds,
            seed=seed,
            n_records=401,
        )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.linear.semantics import bump

        table, _, note = table_of(self.data)
        run.say(note)
        networks = self.train(table, run.seed, self.t_max)
        beliefs = networks.beliefs()
        shallow = table.dynamics(depth=1, init_strength=1e-12)
        rate = self.step  # a shallow network has the curvature 1
        flat = shallow.simulate(rate, round(10 / rate), seeds=1)
        f, i = largest_illusion(table)
        return xr.Dataset(
            {
                "bump": numbers(np.stack([bump(b) for b in beliefs]), "network", "feature", "item"),
                "bump_shallow": numbers(bump(flat.beliefs()[0]), "feature", "item"),
                "belief": numbers(beliefs[:, :, f, i], "network", "time"),
                "error": numbers(networks.train_error(), "network", "time"),
                "start": numbers(starts_of(networks), "network", "mode"),
            },
            coords={
                "time": networks.t,
                "feature": list(table.features),
                "item": list(table.items),
            },
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import ModeDynamics
        from tractable.linear.semantics import bump

        table = self.table
        t = np.linspace(0, self.t_max, self.n_times)
        common = table.dynamics()
        beliefs = common.beliefs(t)
        f, i = largest_illusion(table)
        shallow = table.dynamics(depth=1, init_strength=1e-12)
        K = len(common.s)
        if measured is None:
            starts = np.full((1, K), typical_start(self.n_hidden, self.init_std))
        else:
            starts = measured.start.values
        own = [
            ModeDynamics.from_correlations(common.cov_yx, init_strength=np.maximum(a, 1e-30))
            for a in starts
        ]
        return xr.Dataset(
            {
                "bump": numbers(bump(beliefs), "feature", "item"),
                "bump_own": numbers(
                    np.stack([bump(d.beliefs(t)) for d in own]), "network", "feature", "item"
                ),
                "bump_shallow": numbers(bump(shallow.beliefs(t)), "feature", "item"),
                "belief": numbers(beliefs[:, f, i], "time"),
                "belief_own": numbers(
                    np.stack([d.beliefs(t, [f], [i])[:, 0, 0] for d in own]), "network", "time"
                ),
                "belief_shallow": numbers(shallow.beliefs(t, [f], [i])[:, 0, 0], "time"),
                "error": numbers(common.train_error(t), "time"),
                "truth": numbers(table.Y[i, f]),
            },
            coords={
                "time": t,
                "feature": list(table.features),
                "item": list(table.items),
                "shown_feature": table.features[f],
                "shown_item": table.items[i],
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        count = int((theory.bump > self.tolerance).sum())
        if self.data == "eight" and self.tolerance == 0.1:
            yield Check("beliefs that go astray, theory", count, 165, source=TABLE)
            peak = float(theory.belief.max())
            yield Check("pine has leaves: peak", peak, 0.523, atol=0.002, source=TABLE)
            when = float(theory.time[int(theory.belief.values.argmax())])
            yield Check("pine has leaves: time of the peak", when, 7.16, atol=0.05, source=TABLE)
        seen = float((measured.bump > self.tolerance).sum(("feature", "item")).mean())
        expected = float((theory.bump_own > self.tolerance).sum(("feature", "item")).mean())
        yield Check(
            "beliefs that go astray, networks over theory",
            seen / max(expected, 1e-12),
            1.0,
            atol=0.1,
            source="(L20)",
        )
        gap = float(abs(measured.bump - theory.bump_own).max())
        yield Check("size of illusions, worst error", gap, 0.1, kind="at_most", source="(L20)")
        flat = float(measured.bump_shallow.max())
        yield Check(
            "largest illusion of a shallow network", flat, 1e-6, kind="at_most", source=PUBLISHED
        )
        yield Check(
            "the same, theory",
            float(theory.bump_shallow.max()),
            1e-12,
            kind="at_most",
            source="exact: (L5)",
        )
        for name, dataset in (("theory", theory), ("networks", measured)):
            rise = float(dataset.error.diff("time").max())
            yield Check(
                f"largest rise of the total error, {name}",
                rise,
                1e-9,
                kind="at_most",
                source=PUBLISHED,
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        item, feature = str(theory.shown_item.values), str(theory.shown_feature.values)
        belief = theory.belief.values
        truth = float(theory.truth)
        worst = int(np.abs(belief - truth)[1:].argmax()) + 1 if truth == 0 else int(belief.argmin())
        count = int((theory.bump > self.tolerance).sum())
        yield (
            f"The deepest illusion: '{item} {feature}' is believed with {belief[worst]:.3f} at "
            f"t = {float(theory.time[worst]):.2f} tau; the truth is {truth:g}."
        )
        yield (
            f"{count} of {theory.bump.size} beliefs go astray by more than {self.tolerance:g} on "
            "the way; in a shallow network none does, and in neither does the total error ever "
            "rise."
        )
        flat = theory.bump.values.ravel()
        top = np.argsort(-flat)[:12]
        rows = []
        for k in top:
            f, i = np.unravel_index(k, theory.bump.shape)
            measured_size = float(measured.bump.values[:, f, i].mean())
            rows.append(
                (
                    str(theory.item.values[i]),
                    str(theory.feature.values[f]),
                    f"{flat[k]:.3f}",
                    f"{measured_size:.3f}",
                )
            )
        yield Table("Largest illusions", ("item", "feature", "theory", "networks"), tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_belief

        item, feature = str(theory.shown_item.values), str(theory.shown_feature.values)
        found = plot_belief(
            theory.time,
            theory.belief_own.mean("network"),
            float(theory.truth),
            shallow=theory.belief_shallow,
            t_measured=measured.time,
            measured=measured.belief,
            statement=f"{item} {feature}",
        )
        found.set_label(
            f"The belief '{item} {feature}' in time, the illusion shaded: theory from effective "
            "starts (line), networks trained from small random weights (markers, standard "
            "deviation over networks), and a shallow network."
        )
        figure, ax = plot.new(size=(5.0, 3.8))
        x = theory.bump_own.mean("network").values.ravel()
        plot.theory(ax, [0, x.max()], [0, x.max()], color="#7F7F7F", label="equal")
        spread = (
            measured.bump.std("network").values.ravel() if measured.sizes["network"] > 1 else None
        )
        plot.measurement(
            ax,
            x,
            measured.bump.mean("network").values.ravel(),
            error=spread,
            ms=3,
            label="networks",
        )
        ax.set(xlabel="size of the illusion, theory", ylabel="size of the illusion, networks")
        ax.legend()
        figure.set_label("Size of the illusion for every pair of item and feature.")
        return {"belief": found, "sizes": figure}

    def cost(self, run: Run) -> Cost:
        import time

        table = self.table
        s = float(np.linalg.svd(table.Y, compute_uv=False)[0]) / len(table.items)
        rate = self.step / s
        started = time.perf_counter()
        self.train(table, 0, 100 * rate)
        each = (time.perf_counter() - started) / 100
        n_steps = self.t_max / rate
        size = table.Y.shape
        operations, memory = training_cost(n_steps, self.n_seeds, self.n_hidden, *size)
        memory += 8.0 * (self.n_times + 401 * self.n_seeds) * table.Y.size
        return Cost(operations, memory, 1.3 * n_steps * each)


def largest_illusion(table: ItemTable) -> tuple[int, int]:
    """Return feature and item of the deepest illusion, at a coarse grid of times."""
    from tractable.linear.semantics import bump

    dynamics = table.dynamics()
    last = 1.5 * float(dynamics.time_to(0.9)[dynamics.s > 1e-6 * dynamics.s[0]].max())
    found = bump(dynamics.beliefs(np.linspace(0, last, 200)))
    f, i = np.unravel_index(int(found.argmax()), found.shape)
    return int(f), int(i)
