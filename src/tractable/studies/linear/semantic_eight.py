"""Eight plants and animals: what a network learns of them, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import (
    numbers,
    starts_of,
    train_small,
    training_cost,
    typical_start,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import Simulation

TABLE = "table of eight things (Rogers, McClelland 2004), computed: (L3), (L4)"
PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
SINGULAR = (6.8059, 4.4732, 3.0440, 3.0035, 2.0431, 1.3806, 1.1411, 1.0000)
HALF_RISE = (3.96, 5.66, 7.80, 7.89, 10.84, 14.91, 17.36, 19.28)
NAMES = (
    "all",
    "plant / animal",
    "bird / fish",
    "tree / flower",
    "red / yellow",
    "pine / oak",
    "mode 7",
    "mode 8",
)
SEPARATE = 0.05  # relative gap of strengths below which the order is not asserted


@dataclass(frozen=True)
class SemanticEight(Study):
    """Eight things: broad distinctions first, in stages; shallow networks learn all at once."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_seeds": 2, "step": 0.02},
        "paper": {"n_hidden": 64, "n_seeds": 20, "step": 0.005},
    }

    n_hidden: Annotated[int, Range(8, 2000, log=True)] = 64
    """Hidden units N2."""
    init_std: Annotated[float, Range(1e-6, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    n_seeds: Annotated[int, Range(1, 1000, log=True)] = 5
    """Networks."""
    t_max: Annotated[float, Range(1.0, 1e4, log=True)] = 60.0
    """Last time, in the unit of tau."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.01
    """Learning rate times the strongest mode."""

    def train(self, seed: int, t_max: float) -> Simulation:
        """Train the deep networks."""
        from tractable.linear import eight_things

        return train_small(
            eight_things().dynamics(),
            n_hidden=self.n_hidden,
            init_std=self.init_std,
            t_max=t_max,
            step=self.step,
            n_seeds=self.n_seeds,
            seed=seed,
            n_records=301,
        )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import eight_things

        networks = self.train(run.seed, self.t_max)
        shallow = eight_things().dynamics(depth=1, init_strength=1e-6)
        rate = self.step  # a shallow network has the curvature 1
        steps = round(10 / rate)
        flat = shallow.simulate(
            rate,
            steps,
            seeds=1,
            record_at=np.unique(np.linspace(0, steps, 301).round().astype(int)),
        )
        table = eight_things()
        return xr.Dataset(
            {
                "singular": numbers(np.linalg.svd(table.Y, compute_uv=False), "mode"),
                "strength": numbers(networks.strengths(), "network", "mode", "time"),
                "start": numbers(starts_of(networks), "network", "mode"),
                "half_rise": numbers(networks.half_rise(), "network", "mode", units="tau"),
                "error": numbers(networks.train_error(), "network", "time"),
                "shallow": numbers(flat.strengths()[0], "mode", "shallow_time"),
                "half_rise_shallow": numbers(flat.half_rise()[0], "mode", units="tau"),
            },
            coords={"time": networks.t, "shallow_time": flat.t},
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import ModeDynamics, eight_things

        table = eight_things()
        common = table.dynamics()
        if measured is None:
            t = np.linspace(0, self.t_max, 301)
            start = np.full((1, 8), typical_start(self.n_hidden, self.init_std))
        else:
            t, start = measured.time.values, measured.start.values
        own = [ModeDynamics.from_correlations(common.cov_yx, init_strength=a) for a in start]
        shallow = table.dynamics(depth=1, init_strength=1e-6)
        t_shallow = np.linspace(0, 10, 301) if measured is None else measured.shallow_time.values
        return xr.Dataset(
            {
                "singular": numbers(np.array(SINGULAR), "mode"),
                "strength": numbers(
                    np.stack([d.strengths(t) for d in own]), "network", "mode", "time"
                ),
                "half_rise": numbers(
                    np.stack([d.half_rise() for d in own]), "network", "mode", units="tau"
                ),
                "half_rise_common": numbers(common.half_rise(), "mode", units="tau"),
                "s": numbers(common.s, "mode"),
                "shallow": numbers(shallow.strengths(t_shallow), "mode", "shallow_time"),
                "half_rise_shallow": numbers(shallow.half_rise(), "mode", units="tau"),
                "error": numbers(np.stack([d.train_error(t) for d in own]), "network", "time"),
                "U": numbers(common.U, "feature", "mode"),
                "V": numbers(common.V, "item", "mode"),
            },
            coords={"time": t, "shallow_time": t_shallow},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gap = float(abs(measured.singular - theory.singular).max())
        yield Check("singular values of the table, error", gap, 1e-4, kind="at_most", source=TABLE)
        gap = float(abs(theory.half_rise_common - np.array(HALF_RISE)).max())
        yield Check("half-rise times at a0 = 1e-3, error", gap, 0.01, kind="at_most", source=TABLE)
        error = abs(measured.strength - theory.strength).max("time") / theory.s
        yield Check(
            "error of strengths over s, from effective starts",
            float(error.max()),
            0.05,
            kind="at_most",
            source="(L3), (L16)",
        )
        seen = np.isfinite(measured.half_rise)
        ratio = (measured.half_rise / theory.half_rise).where(seen)
        yield Check(
            "half-rise of networks over the formula, worst deviation",
            float(abs(ratio - 1).max().fillna(1.0)),
            0.03,
            kind="at_most",
            source="(L4), (L16)",
        )
        wrong = order_violations(theory.s.values, measured.half_rise.values)
        yield Check("pairs of modes learned in the wrong order", wrong, 0, source=PUBLISHED)
        flat = measured.half_rise_shallow
        yield Check(
            "shallow: slowest over fastest half-rise",
            float(flat.max() / flat.min()),
            float(theory.half_rise_shallow.max() / theory.half_rise_shallow.min()),
            rtol=0.01,
            source=PUBLISHED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        half = theory.half_rise.mean("network").values
        yield (
            f"Plants and animals are told apart at t = {half[1]:.1f} tau, birds and fish at "
            f"{half[2]:.1f}, trees and flowers at {half[3]:.1f}, single items last "
            f"({half[-1]:.1f}): from broad to fine, although no example says so."
        )
        yield (
            f"Red and yellow, which cut across the tree, come at {half[4]:.1f} tau, before pine "
            "and oak: the network learns what explains most, not what lies higher in a tree."
        )
        rows = [
            (name, f"{s:.4f}", f"{a:.2f}", f"{b:.2f}")
            for name, s, a, b in zip(
                NAMES,
                measured.singular.values,
                half,
                measured.half_rise.mean("network").values,
                strict=True,
            )
        ]
        header = ("distinction", "singular value", "half-rise, theory", "half-rise, networks")
        yield Table("Order of learning", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.linear import eight_things
        from tractable.linear.plots import plot_decomposition, plot_strengths

        deep = plot_strengths(
            theory.time,
            theory.strength.mean("network"),
            t_measured=measured.time,
            measured=measured.strength,
            names=NAMES,
        )
        deep.axes[0].set_title("one hidden layer")
        deep.set_label(
            "Strength of each mode of the eight things: theory from effective starts (lines, mean "
            "over networks) and networks trained from small random weights (markers, standard "
            "deviation over networks)."
        )
        shallow = plot_strengths(
            theory.shallow_time,
            theory.shallow,
            t_measured=measured.shallow_time,
            measured=measured.shallow,
            names=NAMES,
        )
        shallow.axes[0].set_title("shallow")
        shallow.set_label("The same for a shallow network: all modes rise together.")
        table = eight_things()
        triptych = plot_decomposition(table.Y, items=table.items, features=table.features)
        return {"deep": deep, "shallow": shallow, "decomposition": triptych}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        rate = self.step / 0.85
        self.train(0, 100 * rate)
        each = (time.perf_counter() - started) / 100
        n_steps = self.t_max / rate
        operations, memory = training_cost(n_steps, self.n_seeds, self.n_hidden, 8, 36)
        return Cost(operations, memory, 1.3 * n_steps * each)


def order_violations(s: np.ndarray, half_rise: np.ndarray) -> int:
    """Return how many pairs with clearly different strengths are learned in the wrong order.

    Examples
    --------
    >>> order_violations(np.array([3.0, 2.0, 1.99]), np.array([[1.0, 3.0, 2.0]]))
    0
    """
    wrong = 0
    for a in range(len(s)):
        for b in range(a + 1, len(s)):
            if s[b] < (1 - SEPARATE) * s[a]:
                wrong += int((half_rise[:, b] <= half_rise[:, a]).sum())
    return wrong
