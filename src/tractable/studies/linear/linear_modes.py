"""Modes of a task are learned one after another: deep networks in stages, shallow ones at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import numbers, training_cost
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import ModeDynamics, Simulation

SOURCE = "Lampinen, Ganguli 2019, arXiv:1809.10374, Fig. 1"
EXACT = "exact: (L4), (L6)"


@dataclass(frozen=True)
class LinearModes(Study):
    """Strengths of the modes in time: deep networks learn in stages, shallow ones all at once."""

    paper: ClassVar = Paper(
        "Lampinen, Ganguli",
        2019,
        "An analytic theory of generalization dynamics and transfer learning in deep linear "
        "networks",
        arxiv="1809.10374",
    )
    presets: ClassVar = {
        "smoke": {"step": 0.05, "n_seeds": 2},
        "paper": {"step": 0.002, "n_in": 100, "n_out": 50},
    }

    strengths: Annotated[tuple[float, ...], Range(1e-3, 1e3)] = (10.0, 7.0, 4.0, 1.0)
    """Singular values of the task, strongest first."""
    init_strength: Annotated[float, Range(1e-12, 1.0, log=True)] = 1e-3
    """Initial strength of each mode."""
    depth: Annotated[int, Range(2, 10)] = 2
    """Weight matrices of the deep network."""
    t_max: Annotated[float, Range(1e-3, 1e4, log=True)] = 10.0
    """Last time, in the unit of tau."""
    n_in: Annotated[int, Range(1, 2000)] = 12
    """Inputs."""
    n_out: Annotated[int, Range(1, 2000)] = 8
    """Outputs."""
    n_seeds: Annotated[int, Range(1, 100)] = 4
    """Networks: tasks are turned at random."""
    step: Annotated[float, Range(1e-5, 0.5, log=True)] = 0.01
    """Learning rate times the largest curvature."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.strengths) > min(self.n_in, self.n_out):
            raise ValueError(
                f"strengths must be at most min(n_in, n_out) = {min(self.n_in, self.n_out)} "
                f"numbers, got {len(self.strengths)}"
            )
        if list(self.strengths) != sorted(self.strengths, reverse=True):
            raise ValueError(f"strengths must be strongest first, got {self.strengths}")
        if self.init_strength >= self.strengths[-1] / 2:
            raise ValueError("init_strength must be below half of the weakest of strengths")

    def task(self, depth: int, seed: int) -> ModeDynamics:
        """Return a task with these strengths, turned at random."""
        from tractable.linear import ModeDynamics

        random = np.random.default_rng(seed)
        U = np.linalg.qr(random.standard_normal((self.n_out, len(self.strengths))))[0]
        V = np.linalg.qr(random.standard_normal((self.n_in, len(self.strengths))))[0]
        return ModeDynamics.from_correlations(
            (U * self.strengths) @ V.T,
            depth=depth,
            init_strength=self.init_strength,
            rank=len(self.strengths),
        )

    def train(self, depth: int, seed: int, n_steps: int | None = None) -> Simulation:
        """Train one network by gradient descent from an aligned start."""
        task = self.task(depth, seed)
        rate = self.step / (depth * self.strengths[0] ** (2 - 2 / depth))
        total = max(1, round(self.t_max / rate))
        records = np.unique(np.round(np.linspace(0, total, 401)).astype(int))
        if n_steps is not None:
            total, records = n_steps, np.array([0, n_steps])
        return task.simulate(
            rate, total, seeds=1, n_hidden=min(self.n_in, self.n_out), seed=seed, record_at=records
        )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        found: dict[str, list[np.ndarray]] = {
            name: [] for name in ("strength", "shallow", "half_rise", "width", "half_rise_shallow")
        }
        for k in run.track(range(self.n_seeds), "networks"):
            deep = self.train(self.depth, run.seed + k)
            flat = self.train(1, run.seed + k)
            found["strength"].append(deep.strengths()[0])
            found["shallow"].append(flat.strengths(deep.t)[0])
            found["half_rise"].append(deep.half_rise()[0])
            found["width"].append(deep.width()[0])
            found["half_rise_shallow"].append(flat.half_rise()[0])
        dims = {"strength": ("time",), "shallow": ("time",)}
        return xr.Dataset(
            {
                name: numbers(
                    np.stack(values),
                    *("network", "mode", *dims.get(name, ())),
                    units="tau" if name not in dims else "1",
                )
                for name, values in found.items()
            },
            coords={"time": deep.t, "s": ("mode", np.array(self.strengths))},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import deep_strength, learning_time

        t = np.linspace(0, self.t_max, 501) if measured is None else measured.time.values
        s, start = np.array(self.strengths), self.init_strength
        half = learning_time(s, 0.5, start, self.depth)
        width = learning_time(s, 0.9, start, self.depth) - learning_time(s, 0.1, start, self.depth)
        fractions = np.linspace(0.01, 1.2 * s[0], 200)
        moments = np.array([0.05, 0.1, 0.2, 0.4, 0.8]) * self.t_max / 2
        share = deep_strength(fractions, moments[:, None], start, self.depth) / fractions
        return xr.Dataset(
            {
                "strength": numbers(
                    deep_strength(s[:, None], t, start, self.depth), "mode", "time"
                ),
                "shallow": numbers(deep_strength(s[:, None], t, start, 1), "mode", "time"),
                "half_rise": numbers(half, "mode", units="tau"),
                "width": numbers(width, "mode", units="tau"),
                "half_rise_shallow": numbers(learning_time(s, 0.5, start, 1), "mode", units="tau"),
                "stage": numbers(np.log(81) / np.log(s / start - 1), "mode"),
                "share": numbers(share, "moment", "any_strength"),
            },
            coords={
                "time": t,
                "s": ("mode", s),
                "moment": moments,
                "any_strength": fractions,
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        late = theory.half_rise < 0.9 * self.t_max  # modes that are seen to rise
        order = measured.half_rise.mean("network").values
        in_order = int((np.diff(order) > 0).sum())
        yield Check("half-rise times follow the strengths", in_order, len(order) - 1, source=SOURCE)
        gap = abs(measured.strength - theory.strength).max(("network", "time")) / theory.s
        yield Check(
            "error of strengths over s", float(gap.max()), 0.02, kind="at_most", source=SOURCE
        )
        ratio = (measured.half_rise / theory.half_rise).where(late)
        yield Check(
            "measured half-rise over theory, worst",
            float(ratio.isel(mode=int(np.nanargmax(abs(ratio.mean("network") - 1).values))).mean()),
            1.0,
            atol=0.02,
            source="(L4), (L9)",
        )
        if self.depth == 2:
            stage = theory.width / theory.half_rise
            error = float(abs(stage - theory.stage).max())
            yield Check(
                "width over half-rise: deviation from ln 81 / ln(s/eps - 1)",
                error,
                1e-9,
                kind="at_most",
                source=EXACT,
            )
            seen = (measured.width / measured.half_rise / theory.stage).where(late)
            yield Check(
                "measured width over half-rise, over the formula",
                float(seen.mean()),
                1.0,
                atol=0.02,
                source=EXACT,
            )
        flat = measured.half_rise_shallow.mean("network")
        yield Check(
            "shallow: slowest over fastest half-rise",
            float(flat.max() / flat.min()),
            float(theory.half_rise_shallow.max() / theory.half_rise_shallow.min()),
            rtol=0.01,
            source="Saxe, McClelland, Ganguli 2019, arXiv:1810.10531",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        half = theory.half_rise.values
        yield (
            f"With {self.depth} weight matrices the strongest mode (s = {self.strengths[0]:g}) is "
            f"half learned at t = {half[0]:.2f} tau, the weakest (s = {self.strengths[-1]:g}) at "
            f"{half[-1]:.2f} tau; a shallow network learns all of them at "
            f"{float(theory.half_rise_shallow.mean()):.2f} tau."
        )
        share = float((theory.width / theory.half_rise)[0])
        yield (
            f"The rise of the strongest mode takes {share:.0%} of the time before it: learning is "
            "a plateau and a step, the sharper the smaller the initial strength."
        )
        rows = [
            (f"{s:g}", f"{a:.3f}", f"{b:.3f}", f"{c:.3f}")
            for s, a, b, c in zip(
                self.strengths,
                half,
                measured.half_rise.mean("network").values,
                theory.width.values,
                strict=True,
            )
        ]
        yield Table(
            "Modes", ("s", "half-rise, theory", "half-rise, networks", "width"), tuple(rows)
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot
        from tractable.linear.plots import plot_strengths

        names = [f"s = {s:g}" for s in self.strengths]
        found = {}
        for name, title in (("strength", f"{self.depth} weight matrices"), ("shallow", "shallow")):
            figure = plot_strengths(
                theory.time,
                theory[name],
                t_measured=measured.time,
                measured=measured[name],
                names=names,
            )
            figure.axes[0].set_title(title)
            figure.set_label(
                f"Strength of each mode in time, {title}: theory (lines) and networks trained by "
                "gradient descent (markers; the bar is the standard deviation over networks)."
            )
            found["deep" if name == "strength" else "shallow"] = figure
        figure, ax = plot.new(size=(5.6, 3.4))
        for t, row in zip(theory.moment.values, theory.share.values, strict=True):
            plot.theory(ax, theory.any_strength, row, label=f"t = {t:g} τ")
        ax.set(xlabel="strength of the mode s", ylabel="share learned a / s")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.set_label("Share of a mode that is learned at five times, against its strength.")
        return {**found, "share": figure}

    def cost(self, run: Run) -> Cost:
        import time

        n_steps = self.t_max * self.depth * self.strengths[0] ** (2 - 2 / self.depth) / self.step
        started = time.perf_counter()
        self.train(self.depth, 0, n_steps=200)
        each = (time.perf_counter() - started) / 200
        width = min(self.n_in, self.n_out)
        operations, memory = training_cost(n_steps, self.n_seeds, width, self.n_in, self.n_out)
        return Cost(self.depth / 2 * operations, memory, 1.6 * self.n_seeds * n_steps * each)
