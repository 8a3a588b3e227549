"""Which form the world has shows in what a network has learned: clusters, tree, ring, grid."""

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

    from tractable.linear import Structure

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
EXACT = "exact for many features: (L23)"
FORMS = ("clusters", "tree", "ring", "chain", "grid", "crosscut")


@dataclass(frozen=True)
class SemanticStructures(Study):
    """Forms of the world: clusters, tree, ring, chain, grid and cross-cutting properties."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {"n_features": 2000, "step": 0.1, "n_hidden": 16},
        "paper": {"n_features": 100_000, "step": 0.01, "n_hidden": 64},
    }

    n_features: Annotated[int, Range(16, 1_000_000, log=True)] = 10_000
    """Independent features of each world."""
    n_hidden: Annotated[int, Range(2, 2000, log=True)] = 32
    """Hidden units."""
    init_std: Annotated[float, Range(1e-8, 0.05, log=True)] = 1e-3
    """Standard deviation of the initial weights."""
    sigma: Annotated[float, Range(0.1, 100.0, log=True)] = 2.0
    """Standard deviation of an item without neighbors."""
    step: Annotated[float, Range(1e-4, 0.1, log=True)] = 0.03
    """Learning rate times the strongest mode."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "form": form,
                "sigma": self.sigma,
                "n_features": self.n_features,
                "n_hidden": self.n_hidden,
                "init_std": self.init_std,
                "step": self.step,
                "seed": run.seed + k,
            }
            for k, form in enumerate(FORMS)
        ]
        return xr.concat(run.map(learn_form, points), "form", join="outer")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return spectrum and learned similarity of each form, from its graph alone."""
        import xarray as xr

        from tractable.linear import mds_trajectory

        parts = []
        for form in FORMS:
            world = make_form(form, self.sigma)
            task = form_task(world)
            late = [1e6]
            parts.append(
                xr.Dataset(
                    {
                        "eigenvalue": numbers(world.spectrum(), "mode"),
                        "similarity": numbers(task.hidden_similarity(late)[0], "item", "item_"),
                        "layout": numbers(mds_trajectory(task, late)[0], "item", "coordinate"),
                    },
                    coords={"mode": np.arange(world.n_items), "item": np.arange(world.n_items)},
                ).assign_coords(item_=np.arange(world.n_items), form=form)
            )
        return xr.concat(parts, "form", join="outer")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        rough = 4 / np.sqrt(self.n_features)  # relative standard error of an eigenvalue, and more
        for form in FORMS:
            exact, found = theory.sel(form=form), measured.sel(form=form)
            scale = float(exact.eigenvalue.max())
            gap = abs(found.eigenvalue - exact.eigenvalue) / exact.eigenvalue.clip(min=0.01 * scale)
            yield Check(
                f"{form}: eigenvalues, relative error",
                float(gap.max()),
                max(0.02, 2 * rough),
                kind="at_most",
                source=EXACT,
            )
            size = float(np.sqrt((exact.similarity**2).sum()))
            off = float(np.sqrt(((found.similarity - exact.similarity) ** 2).sum()))
            yield Check(
                f"{form}: hidden similarity of the network against theory",
                off / max(size, 1e-12),
                max(0.06, 3 * rough),
                kind="at_most",
                source="(L23), (L24)",
            )
        ring = measured.sel(form="ring").layout.dropna("item").values
        angle = np.unwrap(np.arctan2(ring[:, 1], ring[:, 0]))
        steps = np.abs(np.diff(angle)) * len(ring) / (2 * np.pi)
        yield Check(
            "ring: layout, largest deviation of a step from equal",
            float(np.abs(steps - 1).max()),
            0.25,
            kind="at_most",
            source=PUBLISHED,
        )
        line = measured.sel(form="chain").layout.dropna("item").values[:, 0]
        sorted_pairs = int(max((np.diff(line) > 0).sum(), (np.diff(line) < 0).sum()))
        yield Check("chain: neighbors in order", sorted_pairs, len(line) - 1, source=PUBLISHED)

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            "The layout of the network's hidden similarity is that of the world: groups for "
            "clusters and trees, a circle for the ring, an ordered curve for the chain."
        )
        rows = []
        for form in FORMS:
            exact = theory.sel(form=form).eigenvalue.dropna("mode").values
            found = measured.sel(form=form).eigenvalue.dropna("mode").values
            rows.append(
                (
                    form,
                    f"{len(exact)}",
                    ", ".join(f"{x:.3f}" for x in exact[:5]),
                    ", ".join(f"{x:.3f}" for x in found[:5]),
                )
            )
        yield Table("Spectra", ("form", "items", "eigenvalues, theory", "sample"), tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(2, 3, size=(8.6, 5.6))
        for form, ax in zip(FORMS, axes.ravel(), strict=True):
            world = make_form(form, self.sigma)
            exact = theory.sel(form=form).layout.dropna("item").values
            found = measured.sel(form=form).layout.dropna("item").values
            turn = np.linalg.svd(exact.T @ found)
            exact = exact @ (turn[0] @ turn[2])
            n = world.n_items
            for i, j in zip(*np.nonzero(np.triu(world.graph[:n, :n])), strict=True):
                ax.plot(*found[[i, j]].T, "-", color="#C8C8C8", lw=0.8, zorder=1)
            plot.measurement(ax, found[:, 0], found[:, 1], ms=4, label="network")
            ax.plot(exact[:, 0], exact[:, 1], "x", color="#D55E00", ms=5, label="theory", zorder=4)
            ax.set_title(form)
            ax.set(xlabel="first coordinate", ylabel="second coordinate")
            ax.set_aspect("equal", adjustable="datalim")
        axes[0, 0].legend(fontsize=8)
        figure.set_label(
            "Layout of the items by classical scaling of hidden similarity after learning, for six "
            "forms of the world; gray lines are the edges of the world's graph. Where eigenvalues "
            "coincide or nearly do, theory and network may choose different planes."
        )
        spectra, ax = plot.new(size=(5.6, 3.6))
        colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
        for form, color in zip(FORMS, colors, strict=True):
            exact, found = theory.sel(form=form).eigenvalue, measured.sel(form=form).eigenvalue
            plot.theory(ax, theory["mode"] + 1, exact, color=color, label=f"theory, {form}")
            plot.measurement(ax, measured["mode"] + 1, found, color=color, ms=3, label="_")
        ax.set(xlabel="mode", ylabel="eigenvalue per feature")
        ax.set_xlim(0.5, 12.5)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        spectra.set_label("Spectra of six forms of the world: formulas and samples of features.")
        return {"layouts": figure, "spectra": spectra}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        learn_form("ring", self.sigma, 200, self.n_hidden, self.init_std, 0.05, 0)
        seconds = 6 * (time.perf_counter() - started) * 0.05 / self.step
        operations, memory = training_cost(300 / self.step, 6, self.n_hidden, 16, 16)
        return Cost(operations, memory + 600.0 * self.n_features, seconds + 3e-6 * self.n_features)


def make_form(form: str, sigma: float) -> Structure:
    """Return one of the worlds, with 12 to 16 items."""
    from tractable.linear import structures

    return {
        "clusters": lambda: structures.clusters(3, 4, sg=sigma),
        "tree": lambda: structures.tree(2, 4, sg=sigma),
        "ring": lambda: structures.ring(12, sg=sigma),
        "chain": lambda: structures.chain(12, sg=sigma),
        "grid": lambda: structures.grid(4, 4, sg=sigma),
        "crosscut": lambda: structures.crosscut(4),
    }[form]()


def form_task(world: Structure):  # type: ignore[no-untyped-def]  # ModeDynamics is imported lazily
    """Return the task of a world with infinitely many features of unit norm."""
    from tractable.linear import ModeDynamics

    values, vectors = np.linalg.eigh(world.covariance)
    root = np.sqrt(np.where(values > 1e-10 * values.max(), values, 0.0))
    return ModeDynamics.from_correlations(
        (root[:, None] * vectors.T) / world.n_items, init_strength=1e-6
    )


def learn_form(
    form: str,
    sigma: float,
    n_features: int,
    n_hidden: int,
    init_std: float,
    step: float,
    seed: int,
) -> xr.Dataset:
    """Draw features of one world, and train a network on them until all is learned."""
    import xarray as xr

    from tractable.linear import ModeDynamics, learning_time, mds_trajectory

    world = make_form(form, sigma)
    table = world.features(n_features, seed)
    P = world.n_items
    task = ModeDynamics.from_correlations(table.Y.T / (P * np.sqrt(n_features)), init_strength=1e-6)
    weakest = float(task.s[task.s > 0.02 * task.s[0]].min())
    start = n_hidden * init_std**2 / 2
    networks = train_small(
        reduced(task),
        n_hidden=n_hidden,
        init_std=init_std,
        t_max=1.3 * float(learning_time(weakest, 0.98, start, 2)),
        step=step,
        n_seeds=1,
        seed=seed,
        n_records=40,
    )
    eigenvalues = np.zeros(P)
    eigenvalues[: len(task.s)] = (task.s * P) ** 2
    return xr.Dataset(
        {
            "eigenvalue": numbers(eigenvalues, "mode"),
            "similarity": numbers(networks.hidden_similarity()[0, -1], "item", "item_"),
            "layout": numbers(mds_trajectory(networks, networks.t[-1:])[-1], "item", "coordinate"),
        },
        coords={
            "mode": np.arange(P),
            "item": np.arange(P),
            "item_": np.arange(P),
            "form": form,
        },
    )
