"""Inductive projection: to what else a new property of a familiar item is extended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import numbers, starts_of, training_cost, typical_start
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import Simulation

SETTING = "(L25) against a trained output row; eight things, one-hot items: bounds of this study"
PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"


@dataclass(frozen=True)
class SemanticInduction(Study):
    """Inductive projection: a new property spreads far early in learning, and later only to kin."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_hidden": 64, "n_seeds": 1, "step": 0.05, "init_stds": (1e-3,)},
        "paper": {"n_seeds": 20, "step": 0.005},
    }

    init_stds: Annotated[tuple[float, ...], Range(1e-6, 0.05, log=True)] = (1e-3, 1e-4)
    """Standard deviations of the initial weights."""
    n_hidden: Annotated[int, Range(8, 5000, log=True)] = 200
    """Hidden units N2."""
    n_seeds: Annotated[int, Range(1, 200)] = 3
    """Networks of each kind."""
    t_max: Annotated[float, Range(10.0, 1e4, log=True)] = 50.0
    """Last time, in the unit of tau."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.01
    """Learning rate times the strongest mode."""
    item: str = "canary"
    """The item that is shown in the pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from tractable.core.checks import check_choice
        from tractable.linear import eight_things

        check_choice("item", self.item, eight_things().items)

    @property
    def times(self) -> np.ndarray:
        """Times at which networks are asked: every half unit from 4 on."""
        return np.arange(4.0, self.t_max + 1e-9, 0.5)

    def train(self, init_std: float, seed: int, t_max: float) -> Simulation:
        """Train networks on the eight things."""
        from tractable.linear import eight_things

        task = eight_things().dynamics(convention="one_hot")
        rate = self.step / float(task.s[0])
        wanted = np.round(self.times[self.times <= t_max] / rate).astype(int)
        n_steps = max(1, round(t_max / rate), int(wanted.max(initial=0)))
        return task.simulate(
            rate,
            n_steps,
            seeds=self.n_seeds,
            init="gaussian",
            init_std=init_std,
            n_hidden=self.n_hidden,
            seed=seed,
            record_at=[0, *wanted],
        )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import eight_things

        parts = []
        for std in run.track(self.init_stds, "kinds of networks"):
            networks = self.train(float(std), run.seed, self.t_max)
            first, last = networks.weights
            parts.append(
                xr.Dataset(
                    {
                        "property": numbers(
                            train_properties(first[:, 1:]), "network", "time", "of", "to"
                        ),
                        "new_item": numbers(
                            train_properties(last[:, 1:].transpose(0, 1, 3, 2)),
                            *("network", "time", "known", "asked"),
                        ),
                        "start": numbers(starts_of(networks), "network", "mode"),
                    },
                    coords={"time": networks.t[1:], "init_std": float(std)},
                )
            )
        table = eight_things()
        return xr.concat(parts, "init_std").assign_coords(
            of=list(table.items), to=list(table.items), known=list(table.features)
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import eight_things, project_item, project_property

        table = eight_things()
        t = self.times if measured is None else measured.time.values
        parts = []
        for k, std in enumerate(self.init_stds):
            if measured is None:
                starts = np.full((1, 8), typical_start(self.n_hidden, float(std)))
            else:
                starts = measured.start.values[k]
            found: dict[str, list[np.ndarray]] = {"property": [], "new_item": []}
            for start in starts:
                task = table.dynamics(convention="one_hot", init_strength=start)
                found["property"].append(
                    np.stack([project_property(task, i, t) for i in range(8)], 1)
                )
                found["new_item"].append(
                    np.stack([project_item(task, m, t) for m in range(len(table.features))], 1)
                )
            parts.append(
                xr.Dataset(
                    {
                        "property": numbers(
                            np.stack(found["property"]), "network", "time", "of", "to"
                        ),
                        "new_item": numbers(
                            np.stack(found["new_item"]), "network", "time", "known", "asked"
                        ),
                    },
                    coords={"time": t, "init_std": float(std)},
                )
            )
        return xr.concat(parts, "init_std").assign_coords(
            of=list(table.items), to=list(table.items)
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gap = abs(measured.property - theory.property).max(("network", "of", "to"))
        for std in self.init_stds:
            here = gap.sel(init_std=std)
            early, bound, late = (10.0, 0.03, 30.0) if std <= 3e-4 else (8.0, 0.05, 24.0)
            for after, limit in ((early, bound), (late, 0.01)):
                yield Check(
                    f"std {std:g}: projection of a property after t = {after:g}, worst error",
                    float(here.where(here.time >= after - 1e-6).max().fillna(1.0)),
                    limit,
                    kind="at_most",
                    source=SETTING,
                )
        new = abs(measured.new_item - theory.new_item).max(("network", "known", "asked"))
        new = new.isel(init_std=0)
        yield Check(
            "projection to a new item after t = 24, worst error",
            float(new.where(new.time >= 24 - 1e-6).max().fillna(1.0)),
            0.05,
            kind="at_most",
            source="(L26) against trained input weights: bound of this study",
        )
        kin, far = spread(measured, self.item)
        yield Check(
            "early over late projection to the other kingdom",
            float(far[0] / max(abs(far[-1]), 1e-3)),
            5.0,
            kind="at_least",
            source=PUBLISHED,
        )
        yield Check(
            "late projection to the nearest kin over that to the other kingdom",
            float(kin[-1] / max(abs(far[-1]), 1e-3)),
            3.0,
            kind="at_least",
            source=PUBLISHED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        kin, far = spread(theory, self.item)
        t = theory.time.values
        yield (
            f"A new property of the {self.item} is extended to the other kingdom by {far[0]:.2f} "
            f"at t = {t[0]:.1f} tau and by {far[-1]:.2f} at {t[-1]:.1f}; to its nearest kin by "
            f"{kin[0]:.2f} and {kin[-1]:.2f}: young networks generalize broadly, old ones narrowly."
        )
        rows = []
        here = measured.property.isel(init_std=0).mean("network").sel(of=self.item)
        exact = theory.property.isel(init_std=0).mean("network").sel(of=self.item)
        chosen = [int(np.abs(t - x).argmin()) for x in (8.0, 16.0, t[-1])]
        for name in theory.to.values:
            cells = [
                f"{float(exact.sel(to=name)[k]):.3f} / {float(here.sel(to=name)[k]):.3f}"
                for k in chosen
            ]
            rows.append((str(name), *cells))
        header = (f"from {self.item} to", *(f"t = {t[k]:.1f}" for k in chosen))
        yield Table("Projection of a new property, theory / networks", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots.mode_plots import mode_colors

        figure, ax = plot.new(size=(5.8, 3.6))
        colors = mode_colors(8)
        exact = theory.property.isel(init_std=0).mean("network").sel(of=self.item)
        found = measured.property.isel(init_std=0).sel(of=self.item)
        every = max(1, len(measured.time) // 18)
        for k, name in enumerate(theory.to.values):
            plot.theory(ax, theory.time, exact.sel(to=name), color=colors[k], label=str(name))
            here = found.sel(to=name)[:, ::every]
            plot.measurement(
                ax,
                measured.time[::every],
                here.mean("network"),
                error=here.std("network") if measured.sizes["network"] > 1 else None,
                color=colors[k],
                ms=3,
                label="networks" if k == 0 else "_",
            )
        ax.set(xlabel="time / τ", ylabel=f"projected from {self.item}")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label(
            f"How far a new property of the {self.item} is projected to each item, in the course "
            "of learning: theory (lines) and a new output row trained on networks (markers)."
        )
        errors, ax = plot.new(size=(5.2, 3.4))
        gap = abs(measured.property - theory.property).max(("network", "of", "to"))
        for std in self.init_stds:
            plot.measurement(ax, gap.time, gap.sel(init_std=std), ms=3, label=f"std {std:g}")
        ax.set(xlabel="time / τ", ylabel="largest error of the formula", yscale="log")
        ax.legend()
        errors.set_label("Largest difference of formula and networks, over all pairs of items.")
        return {"projection": figure, "error": errors}

    def cost(self, run: Run) -> Cost:
        import time

        s = 6.8059 / 8
        rate = self.step / s
        started = time.perf_counter()
        self.train(1e-3, 0, 100 * rate)
        each = (time.perf_counter() - started) / 100
        n = len(self.init_stds) * self.t_max / rate
        operations, memory = training_cost(n, self.n_seeds, self.n_hidden, 8, 36)
        memory += 8.0 * len(self.times) * self.n_seeds * (self.n_hidden * 44 + 36 * 36 + 64)
        return Cost(operations, memory, 1.5 * n * each + 5.0)


def train_properties(codes: np.ndarray) -> np.ndarray:
    """Train a readout on each single code by gradient descent, and ask it about all the others.

    Parameters
    ----------
    codes : ndarray, shape (networks, times, hidden, n)
        Frozen hidden codes of n items (or output rows of n features).

    Returns
    -------
    answers : ndarray, shape (networks, times, n, n)
        From each to each.
    """
    gram = np.einsum("sthi,sthj->stij", codes, codes)
    own = np.einsum("stii->sti", gram)
    # The readout r stays in the span of its code: r = c h, c <- c + rate (1 - c |h|^2).
    c = np.zeros_like(own)
    rate = 0.5 / np.maximum(own, 1e-300)
    for _ in range(60):
        c = c + rate * (1 - c * own)
    return c[..., None] * gram


def spread(dataset: xr.Dataset, item: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the projection to the nearest kin and, on average, to the other kingdom, in time."""
    names = list(dataset.to.values)
    i = names.index(item)
    values = dataset.property.isel(init_std=0).mean("network").sel(of=item).values
    other = range(4, 8) if i < 4 else range(4)
    kin = i + 1 if i % 2 == 0 else i - 1
    return values[:, kin], values[:, list(other)].mean(1)
