"""A table of your own: what a network learns of it first, what it gets wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import (
    check_table,
    hide_legend,
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

    from tractable.linear import ModeDynamics

SHOWN = 3  # items and features named at each pole of a mode
NAMED = 24  # most items that are named in the plane of their paths


@dataclass(frozen=True)
class SemanticOwn(Study):
    """Your own items and features: order of differentiation, false beliefs, typical items."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"data": "toy", "n_hidden": 16, "n_seeds": 2, "step": 0.1},
        "paper": {"n_hidden": 200, "n_seeds": 20, "step": 0.005},
    }

    data: str = "eight"
    """Table: a .csv, .tsv or .npy file with items in rows, or eight, toy, leuven, leuven-artifacts,
    awa."""
    center: bool = False
    """Take each feature's mean off first: the mode that all items share is left out."""
    n_modes: Annotated[int, Range(1, 200)] = 8
    """Modes that are followed, strongest first."""
    n_hidden: Annotated[int, Range(1, 5000, log=True)] = 64
    """Hidden units of the networks that are trained."""
    init_std: Annotated[float, Range(1e-8, 0.05, log=True)] = 1e-3
    """Standard deviation of their initial weights."""
    n_seeds: Annotated[int, Range(1, 200)] = 3
    """Networks."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.02
    """Learning rate times the strongest mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table(self.data)

    def files(self) -> list[Path]:
        """Return the files of the table."""
        return list(dict.fromkeys([*super().files(), *table_files(self.data)]))

    def task(self) -> tuple[ModeDynamics, str]:
        """Return the dynamics of the table, and one sentence about it."""
        from tractable.linear import ItemTable

        table, _, note = table_of(self.data)
        values = table.Y - table.Y.mean(0) if self.center else table.Y
        if not np.any(values):
            raise ValueError(f"data: nothing varies in the table {self.data!r}")
        table = ItemTable.of(values, table.items, table.features)
        K = min(self.n_modes, self.n_hidden, *values.shape)
        s = np.linalg.svd(values, compute_uv=False)
        K = min(K, int((s > 1e-9 * s[0]).sum()))
        start = 1e-4 * float(s[K - 1]) / len(values)
        return table.dynamics(rank=K, init_strength=start), note

    def last_time(self, task: ModeDynamics) -> float:
        """Return when the last mode that is followed is learned, with a margin."""
        from tractable.linear import learning_time

        s = float(task.s[-1])
        start = min(typical_start(self.n_hidden, self.init_std), 0.1 * s)
        return 1.2 * float(learning_time(s, 0.95, start, 2))

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        task, note = self.task()
        run.say(note)
        networks = train_small(
            reduced(task),
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=self.last_time(task),
            step=self.step,
            n_seeds=self.n_seeds,
            seed=run.seed,
            n_records=200,
        )
        return xr.Dataset(
            {
                "strength": numbers(networks.strengths(), "network", "mode", "time"),
                "half_rise": numbers(networks.half_rise(), "network", "mode", units="tau"),
                "start": numbers(starts_of(networks), "network", "mode"),
            },
            coords={"time": networks.t},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import ModeDynamics, mds_trajectory
        from tractable.linear.semantics import bump, separation_times

        task, _ = self.task()
        K = len(task.s)
        if measured is None:
            t = np.linspace(0, self.last_time(task), 200)
            starts = np.full((1, K), typical_start(self.n_hidden, self.init_std))
        else:
            t, starts = measured.time.values, measured.start.values
        own = [
            ModeDynamics.from_correlations(task.cov_yx, rank=K, init_strength=np.maximum(a, 1e-30))
            for a in starts
        ]
        mean = ModeDynamics.from_correlations(
            task.cov_yx, rank=K, init_strength=np.maximum(starts.mean(0), 1e-30)
        )
        beliefs = len(task.V) * np.einsum("fa,at,ia->tfi", task.U, mean.strengths(t), task.V)
        total = float((task.cov_yx**2).sum())
        separation = separation_times(mean) if len(task.V) <= 300 else np.zeros((1, 1))
        return xr.Dataset(
            {
                "strength": numbers(
                    np.stack([d.strengths(t) for d in own]), "network", "mode", "time"
                ),
                "half_rise": numbers(
                    np.stack([d.half_rise() for d in own]), "network", "mode", units="tau"
                ),
                "s": numbers(task.s, "mode"),
                "share": numbers(task.s**2 / total, "mode"),
                "U": numbers(task.U, "feature", "mode"),
                "V": numbers(task.V, "item", "mode"),
                "bump": numbers(bump(beliefs), "feature", "item"),
                "peak": numbers(np.abs(beliefs - beliefs[-1]).max(0), "feature", "item"),
                "end": numbers(beliefs[-1], "feature", "item"),
                "paths": numbers(mds_trajectory(mean, t), "time", "item", "coordinate"),
                "separation": numbers(separation, "first", "second", units="tau"),
            },
            coords={
                "time": t,
                "item": list(task.items),
                "feature": list(task.features),
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        s, clear = theory.s.values, stand_apart(theory)
        if not clear.any():
            return  # said in the answers
        error = abs(measured.strength - theory.strength).max(("network", "time")).values
        yield Check(
            "error of strengths over s, modes that stand apart",
            float((error / np.maximum(s, 1e-12))[clear].max(initial=0.0)),
            0.08,
            kind="at_most",
            source="(L3), (L16): bound of this study",
        )
        seen = np.isfinite(measured.half_rise.values) & clear
        ratio = measured.half_rise.values / np.maximum(theory.half_rise.values, 1e-12)
        yield Check(
            "half-rise of networks over the formula, median",
            float(np.median(ratio[seen])) if seen.any() else 0.0,
            1.0,
            atol=0.03,
            source="(L4), (L16)",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        half = theory.half_rise.mean("network").values
        items, features = theory.item.values, theory.feature.values
        sentence = f"The first {len(half)} modes hold {float(theory.share.sum()):.0%} of the table."
        for k in range(len(half)):
            low, high = poles(theory.V.values[:, k], items)
            if low and high:  # a mode with one pole tells its items from none others
                sentence += (
                    f" The first distinction (mode {k + 1}) is between {', '.join(high)} and "
                    f"{', '.join(low)}, at t = {half[k]:.1f} tau."
                )
                break
        yield sentence
        if alike(theory):
            yield "All items have the same features: there is nothing to tell apart."
        if not stand_apart(theory).any():
            yield (
                "No mode stands apart from the next by 5 % of its strength: networks learn them "
                "together, mixed by their start, and the order below says nothing."
            )
        rows: list[tuple[str, ...]] = []
        for k in range(len(half)):
            low, high = poles(theory.V.values[:, k], items)
            minus, plus = poles(theory.U.values[:, k], features)
            one_sided = (theory.V.values[:, k] > -1e-9).all()
            rows.append(
                (
                    f"{k + 1}",
                    f"{half[k]:.1f}",
                    f"{float(measured.half_rise.mean('network')[k]):.1f}",
                    f"{float(theory.share[k]):.1%}",
                    ", ".join(high) if one_sided else f"{', '.join(high)} / {', '.join(low)}",
                    ", ".join(plus) if one_sided else f"{', '.join(plus)} / {', '.join(minus)}",
                )
            )
        header = ("mode", "half-rise, theory", "networks", "share", "items", "features")
        yield Table("Order of differentiation", header, tuple(rows))
        flat = theory.bump.values.ravel()
        rows = []
        for k in np.argsort(-flat)[:10]:
            f, i = np.unravel_index(k, theory.bump.shape)
            if flat[k] < 0.005:
                break
            rows.append(
                (
                    str(items[i]),
                    str(features[f]),
                    f"{flat[k]:.2f}",
                    f"{float(theory.end[f, i]):.2f}",
                )
            )
        yield (
            f"{int((flat > 0.1).sum())} of {flat.size} beliefs go astray by more than 0.1 on the "
            "way."
        )
        if rows:
            yield Table(
                "Largest illusions", ("item", "feature", "size", "belief at the end"), tuple(rows)
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.linear.plots import (
            plot_decomposition,
            plot_development_tree,
            plot_strengths,
            plot_trajectories,
        )

        names = [str(name) for name in theory.item.values]
        strengths = plot_strengths(
            theory.time,
            theory.strength.mean("network"),
            t_measured=measured.time,
            measured=measured.strength,
        )
        strengths.set_label(
            "Strengths of the modes in time: theory from effective starts (lines) and networks "
            "trained from small random weights (markers, standard deviation over networks)."
        )
        found = {"strengths": strengths}
        if alike(theory):
            return found  # all paths are one
        paths = plot_trajectories(
            theory.paths,
            items=names if len(names) <= NAMED else None,
            groups=np.sign(theory.V.values[:, min(1, theory.sizes["mode"] - 1)]),
        )
        hide_legend(paths)
        paths.set_label(
            "Paths of the items in the plane of their hidden similarity, in theory; colors are the "
            "two sides of the second mode."
        )
        found["paths"] = paths
        if theory.sizes["first"] > 1:
            tree = plot_development_tree(theory.separation, items=names)
            tree.set_label("When items are told apart: branches part at the time of separation.")
            found["tree"] = tree
        if theory.sizes["feature"] <= 60 and theory.sizes["item"] <= 40:
            Y = (theory.end.values).T
            found["decomposition"] = plot_decomposition(
                Y, items=names, features=[str(name) for name in theory.feature.values]
            )
        return found

    def cost(self, run: Run) -> Cost:
        import time

        task, _ = self.task()
        rate = self.step / float(task.s[0])
        started = time.perf_counter()
        train_small(
            reduced(task),
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=50 * rate,
            step=self.step,
            n_seeds=self.n_seeds,
            seed=0,
        )
        each = (time.perf_counter() - started) / 50
        n_steps = self.last_time(task) / rate
        P, K = len(task.V), len(task.s)
        operations, memory = training_cost(n_steps, self.n_seeds, self.n_hidden, P, K)
        memory += 8.0 * 200 * (self.n_seeds * self.n_hidden * (P + K) + task.U.shape[0] * P)
        return Cost(operations, memory, 1.2 * n_steps * each + 1.0)


def stand_apart(theory: xr.Dataset) -> np.ndarray:
    """Return which modes differ from their neighbors by 5 %: others mix in a random start."""
    s = theory.s.values
    gaps = -np.diff(s) / np.maximum(s[:-1], 1e-12)
    return np.minimum(np.append(gaps, 1.0), np.insert(gaps, 0, 1.0)) > 0.05


def alike(theory: xr.Dataset) -> bool:
    """Return whether no mode tells items apart."""
    return bool(np.ptp(theory.V.values, axis=0).max() < 1e-9)


def poles(values: np.ndarray, names: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the names at the two ends of a mode, the most extreme first.

    Examples
    --------
    >>> poles(np.array([-0.5, 0.1, 0.9, -0.6]), np.array(["a", "b", "c", "d"]))
    (['d', 'a'], ['c', 'b'])
    """
    order = np.argsort(values, kind="stable")
    low = [str(names[i]) for i in order[:SHOWN] if values[i] < 0]
    high = [str(names[i]) for i in order[::-1][:SHOWN] if values[i] > 0]
    return low, high
