"""Whether two learners of the same world come to the same representation."""

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

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
SETTING = "eight things, one-hot items, N2 = 64, t = 60: bounds of this study"


@dataclass(frozen=True)
class SemanticConservation(Study):
    """Two networks, one representation: conserved from small weights, not from large ones."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_seeds": 2, "step": 0.05},
        "paper": {"n_seeds": 20, "n_hidden": 200},
    }

    n_hidden: Annotated[int, Range(8, 5000, log=True)] = 64
    """Hidden units N2."""
    init_stds: Annotated[tuple[float, ...], Range(1e-6, 2.0, log=True)] = (
        1e-3,
        1e-2,
        0.1,
        0.3,
        0.6,
    )
    """Standard deviations of the initial weights, smallest first."""
    n_seeds: Annotated[int, Range(2, 200)] = 4
    """Networks of each kind."""
    t_max: Annotated[float, Range(1.0, 1e4, log=True)] = 60.0
    """When they are compared, in the unit of tau."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.02
    """Learning rate times the strongest mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.init_stds) < 2 or list(self.init_stds) != sorted(self.init_stds):
            raise ValueError(f"init_stds must be two or more, smallest first, got {self.init_stds}")

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "init_std": float(std),
                "n_hidden": self.n_hidden,
                "n_seeds": self.n_seeds,
                "t_max": self.t_max,
                "step": self.step,
                "seed": run.seed,
            }
            for std in self.init_stds
        ]
        return xr.concat(run.map(compare_networks, points), "init_std")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the similarity that balanced learning ends with, V s V^T, and its square."""
        import xarray as xr

        from tractable.linear import eight_things

        task = eight_things().dynamics(convention="one_hot")
        late = [1e4]
        return xr.Dataset(
            {
                "hidden_similarity": numbers(task.hidden_similarity(late)[0], "item", "item_"),
                "behavior_similarity": numbers(
                    task.behavioral_similarity(late)[0], "item", "item_"
                ),
            },
            coords={"item": list(eight_things().items)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        small, large = measured.isel(init_std=0), measured.isel(init_std=-1)
        yield Check(
            "small weights: difference of hidden similarity between networks",
            float(small.hidden.max()),
            0.01,
            kind="at_most",
            source=SETTING,
        )
        yield Check(
            "large weights: difference of hidden similarity between networks",
            float(large.hidden.min()),
            0.4 if self.n_hidden <= 100 else 0.2,
            kind="at_least",
            source=SETTING,
        )
        yield Check(
            "large weights: difference of behavior between the same networks",
            float(large.behavior.max()),
            0.05,
            kind="at_most",
            source=PUBLISHED,
        )
        yield Check(
            "small weights: behavior against the square of hidden similarity",
            float(small.square.max()),
            1e-3,
            kind="at_most",
            source="(L24)",
        )
        for name, bound in (("hidden_similarity", 0.01), ("behavior_similarity", 0.01)):
            exact = theory[name]
            gap = float(np.sqrt(((small[name] - exact) ** 2).sum(("item", "item_")).max()))
            scale = float(np.sqrt((small[name] ** 2).sum(("item", "item_")).max()))
            yield Check(
                f"small weights: {name.replace('_', ' ')} against theory",
                gap / scale,
                bound,
                kind="at_most",
                source="(L24)",
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        mean = measured.hidden.mean("pair").values
        stds = measured.init_std.values
        yield (
            f"From weights of standard deviation {stds[0]:g} the hidden similarities of two "
            f"networks differ by {mean[0]:.2%}; from {stds[-1]:g} by {mean[-1]:.0%}, although "
            "their answers agree: what is conserved is the representation of least norm."
        )
        rows = [
            (f"{std:g}", f"{a:.3%}", f"{b:.3%}", f"{c:.2e}")
            for std, a, b, c in zip(
                stds,
                mean,
                measured.behavior.mean("pair").values,
                measured.square.mean("network").values,
                strict=True,
            )
        ]
        header = ("initial std", "hidden differs", "behavior differs", "behavior against square")
        yield Table(
            f"Networks with {self.n_hidden} hidden units at t = {self.t_max:g}", header, tuple(rows)
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.2, 3.6))
        for name, label in (("hidden", "hidden similarity"), ("behavior", "behavioral similarity")):
            values = measured[name]
            plot.measurement(
                ax,
                measured.init_std,
                values.mean("pair"),
                error=values.std("pair") if measured.sizes["pair"] > 1 else None,
                label=label,
            )
        ax.set(
            xlabel="standard deviation of the initial weights",
            ylabel="relative difference of two networks",
            xscale="log",
            yscale="log",
        )
        ax.legend()
        figure.set_label(
            "Relative Frobenius difference between networks trained from different seeds, of their "
            "hidden codes and of their answers (mean and standard deviation over pairs)."
        )
        strip, axes = plot.new(1, 3, size=(8.6, 3.0))
        panels = (
            (theory.hidden_similarity, "theory"),
            (measured.hidden_similarity.isel(init_std=0, network=0), "network, small weights"),
            (measured.hidden_similarity.isel(init_std=-1, network=0), "network, large weights"),
        )
        bound = float(max(abs(panel).max() for panel, _ in panels))
        for axis, (panel, title) in zip(axes, panels, strict=True):
            image = axis.imshow(panel, cmap="RdBu_r", vmin=-bound, vmax=bound)
            names = list(theory.item.values)
            axis.set_xticks(range(8), names, rotation=90, fontsize=7)
            axis.set_yticks(range(8), names, fontsize=7)
            axis.set_title(title)
            axis.set_xlabel("item")
        strip.colorbar(image, ax=list(axes), shrink=0.8).set_label("hidden similarity")
        strip.set_label("Similarity of hidden codes after learning, in theory and in two networks.")
        return {"difference": figure, "similarity": strip}

    def cost(self, run: Run) -> Cost:
        import time

        s = 6.8059 / 8
        rate = self.step / s
        started = time.perf_counter()
        compare_networks(0.01, self.n_hidden, self.n_seeds, 100 * rate, self.step, 0)
        each = (time.perf_counter() - started) / 100
        n_steps = self.t_max / rate
        operations, memory = training_cost(n_steps, self.n_seeds, self.n_hidden, 8, 36)
        n = len(self.init_stds)
        return Cost(n * operations, memory, n * n_steps * each)


def compare_networks(
    init_std: float, n_hidden: int, n_seeds: int, t_max: float, step: float, seed: int
) -> xr.Dataset:
    """Train networks of one kind and compare them with one another."""
    import xarray as xr

    from tractable.linear import conservation, eight_things

    task = eight_things().dynamics(convention="one_hot")
    rate = step / float(task.s[0])
    n_steps = max(1, round(t_max / rate))
    networks = task.simulate(
        rate,
        n_steps,
        seeds=n_seeds,
        init="gaussian",
        init_std=init_std,
        n_hidden=n_hidden,
        seed=seed,
        record_at=[n_steps],
    )
    found = conservation(networks)
    return xr.Dataset(
        {
            "hidden": numbers(found.hidden, "pair"),
            "behavior": numbers(found.behavior, "pair"),
            "square": numbers(found.square, "network"),
            "hidden_similarity": numbers(
                networks.hidden_similarity()[:, 0], "network", "item", "item_"
            ),
            "behavior_similarity": numbers(
                networks.behavioral_similarity()[:, 0], "network", "item", "item_"
            ),
        },
        coords={"init_std": init_std},
    )
