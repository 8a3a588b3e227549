"""Universality: what networks of different architectures share on the same task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.core.checks import check_choice
from tractable.studies.dynamics._universality import (
    CELLS,
    CYCLES,
    FREQUENCIES,
    ONE,
    TASKS,
    draw,
    learn,
    loss,
    network,
    scaled,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SOURCE = "arXiv:1907.08549"
NAMES = {"vanilla": "vanilla", "ugrnn": "UGRNN", "gru": "GRU", "lstm": "LSTM"}


@dataclass(frozen=True)
class DynamicsUniversality(Study):
    """What networks of different architectures share: topology of fixed points, not geometry."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Maheswaranathan, Williams, Golub, Ganguli, Sussillo",
        2019,
        "Universality and individuality in neural dynamics across large populations of recurrent "
        "networks",
        arxiv="1907.08549",
    )
    presets: ClassVar = {
        "smoke": {
            "cells": ("vanilla", "gru"),
            "tasks": ("integration",),
            "units": 10,
            "steps": 20,
            "length": 12,
            "batch_size": 16,
            "n_starts": 48,
            "n_seeds": 1,
            "signatures": False,
        },
        "paper": {"n_bits": 3, "units": 128, "steps": 5000, "n_seeds": 10, "n_starts": 1024},
    }

    cells: tuple[str, ...] = CELLS
    """Architectures: vanilla, ugrnn, gru, lstm."""
    tasks: tuple[str, ...] = TASKS
    """memory (flip-flop), integration (context-dependent), sine (of a frequency that is cued)."""
    n_bits: Annotated[int, Range(1, 4)] = 2
    """Bits of the memory task."""
    units: Annotated[int, Range(4, 512, log=True)] = 48
    """Units of each network."""
    steps: Annotated[int, Range(10, 100_000, log=True)] = 1000
    """Training steps."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 32
    """Sequences of a training step."""
    length: Annotated[int, Range(4, 1000, log=True)] = 32
    """Steps of a sequence."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Networks of each architecture and task."""
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 512
    """Visited states from which points are searched."""
    signatures: bool = True
    """Assert the published signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("cells", CELLS), ("tasks", TASKS)):
            values = getattr(self, name)
            for value in values:
                check_choice(name, value, allowed)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name each once, and at least one, got {values}")

    def networks(self) -> list[tuple[str, str, int]]:
        """Return task, architecture and number of every network."""
        return [
            (task, cell, number)
            for task in self.tasks
            for cell in self.cells
            for number in range(self.n_seeds)
        ]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive
        from tractable.dynamics import linear_cka, svcca

        names = ("n_bits", "units", "steps", "batch_size", "length", "n_starts")
        given = {name: getattr(self, name) for name in names}
        points = [
            {
                **given,
                "task": task,
                "cell": cell,
                "seed": derive(run.seed, task, cell, number) % 2**31,
                "probe_seed": derive(run.seed, "probe", task) % 2**31,
                "device": str(run.device),
            }
            for task, cell, number in self.networks()
        ]
        parts = run.map(learn, points)
        n = len(parts)
        cka, canonical = np.full((n, n), np.nan), np.full((n, n), np.nan)
        states = [part.probe_state.values[:, : int(part.n_state)] for part in parts]
        for i in range(n):
            for j in range(i, n):
                if self.networks()[i][0] == self.networks()[j][0]:
                    cka[i, j] = cka[j, i] = linear_cka(states[i], states[j])
                    found = svcca(states[i], states[j])
                    canonical[i, j] = canonical[j, i] = found.mean() if len(found) else np.nan
        kept = [part.drop_vars("probe_state") for part in parts]
        return (
            xr.concat(kept, "network")
            .assign(
                cka=(("network", "other"), cka, ONE), svcca=(("network", "other"), canonical, ONE)
            )
            .assign_coords(
                task=("network", [task for task, _, _ in self.networks()]),
                cell=("network", [cell for _, cell, _ in self.networks()]),
            )
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return what is shared: a cube of roots (D33), a line a context, one root a cue."""
        import xarray as xr

        from tractable.dynamics.tasks import cube_counts

        return xr.Dataset(
            {
                "count": ("dimension", cube_counts(self.n_bits), ONE),
                "line_dimension": ((), 1.0, ONE),
                "frequency": ("cue", np.array(FREQUENCIES), CYCLES),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "a root survives a step: largest ||F(h) - h||",
            float(measured.one_step.fillna(0.0).max()),
            1e-6,
            kind="at_most",
            source="definition of a fixed point",
        )
        excess = measured.cka.fillna(1.0) - 1
        yield Check(
            "similarity of each network with itself, largest error",
            float(abs(np.diag(excess.values)).max()),
            1e-9,
            kind="at_most",
            source="definition of the alignment",
        )
        if not self.signatures:
            return
        for task in self.tasks:
            one = measured.isel(network=measured.task.values == task)
            if task == "memory":
                yield from self._memory(theory, one)
            elif task == "integration":
                yield from self._integration(theory, one)
            else:
                yield from self._sine(theory, one)
            within, between = self._similarity(task, measured.cka.values)
            if self.n_seeds > 1 and len(self.cells) > 1:
                yield Check(
                    f"{task}: alignment of states within an architecture over that between two",
                    float(np.mean(within) / np.mean(between)),
                    1.0,
                    kind="at_least",
                    source=f"{SOURCE}: geometry depends on the architecture",
                )

    def _memory(self, theory: xr.Dataset, one: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "memory: memories that stable roots decode to, least of all networks",
            float(one.n_memories.min()),
            float(theory["count"][0]),
            source=f"{SOURCE}: the topology is shared",
        )
        full = (one["count"] == theory["count"]).all("dimension")
        yield Check(
            "memory: share of the networks with the roots of the cube and no others",
            float(full.mean()),
            0.75,
            kind="at_least",
            source=f"{SOURCE}: the topology is shared; a root may be missed by the search",
        )
        yield Check(
            "memory: saddles of one unstable dimension that join two memories one bit apart, "
            "median share",
            float(one.edge_share.median()),
            1.0,
            source=f"{SOURCE}: the graph of fixed points is shared",
        )

    def _integration(self, theory: xr.Dataset, one: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "integration: components that hold 85 % of the slow points' variance, in each context, "
            "median",
            float(one.line_components.median()),
            float(theory.line_dimension),
            source=f"{SOURCE}: a line attractor in each context",
        )
        yield Check(
            "integration: slowest time constant over the length, least median of an architecture",
            float(one.groupby("cell").median().tau.min()) / self.length,
            1.0,
            kind="at_least",
            source=f"{SOURCE}: the evidence is kept",
        )

    def _sine(self, theory: xr.Dataset, one: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "sine: fixed points at a cue, median",
            float(one.cue_roots.median()),
            1.0,
            source=f"{SOURCE}: one fixed point at each cue, whatever the architecture",
        )
        off = abs(one.mode_frequency / theory.frequency - 1)
        yield Check(
            "sine: frequency of the mode at the fixed point against the cued one, median relative "
            "error, worst architecture",
            float(off.median("cue").groupby("cell").median().max()),
            0.2,
            kind="at_most",
            source=f"{SOURCE}: linearized there, all oscillate at about the cued frequency",
        )

    def _similarity(self, task: str, cka: np.ndarray) -> tuple[list[float], list[float]]:
        within: list[float] = []
        between: list[float] = []
        for i, (t, one, _) in enumerate(self.networks()):
            for j, (s, other, _) in enumerate(self.networks()):
                if i < j and t == s == task:
                    (within if one == other else between).append(float(cka[i, j]))
        return within, between

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        for task in self.tasks:
            within, between = self._similarity(task, measured.cka.values)
            if within and between:
                yield (
                    f"{task}: the states of two networks of one architecture are aligned by "
                    f"{np.mean(within):.2f} on average (linear CKA), those of two architectures by "
                    f"{np.mean(between):.2f}."
                )
        if "memory" in self.tasks:
            one = measured.isel(network=measured.task.values == "memory")
            full = int((one["count"] == theory["count"]).all("dimension").sum())
            ideal = " + ".join(str(int(n)) for n in theory["count"].values)
            yield (
                f"memory: {full} of {one.sizes['network']} networks have exactly the fixed points "
                f"of the cube ({ideal}, by their number of unstable dimensions)."
            )
        rows = []
        for i, (task, cell, number) in enumerate(self.networks()):
            at = measured.isel(network=i)
            counts = " + ".join(f"{n:.0f}" for n in at["count"].values)
            rows.append(
                (
                    task,
                    f"{NAMES[cell]} {number}",
                    float(at.loss),
                    counts if task == "memory" else "-",
                    float(at.line_fraction.mean()) if task == "integration" else "-",
                    float(at.tau),
                )
            )
        columns = ("task", "network", "loss", "roots", "slow points along a line", "τ1 (steps)")
        yield Table("Networks", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        width = 4.2 * len(self.tasks) + 1.2
        geometry, axes = plot.new(1, len(self.tasks), size=(width, 3.8), squeeze=False)
        for ax, task in zip(axes[0], self.tasks, strict=True):
            index = [i for i, (t, _, _) in enumerate(self.networks()) if t == task]
            at = scaled(1 - measured.cka.values[np.ix_(index, index)])
            for c, cell in enumerate(self.cells):
                own = [k for k, i in enumerate(index) if self.networks()[i][1] == cell]
                plot.measurement(ax, *at[own].T, color=f"C{c}", label=NAMES[cell], markersize=7)
            ax.set(xlabel="coordinate 1", ylabel="coordinate 2", title=task)
            ax.set_aspect("equal", adjustable="datalim")
        axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        geometry.set_label(
            "Networks trained on the same task, placed so that their distances are one minus the "
            "alignment of their states (linear CKA; classical multidimensional scaling)."
        )
        pictures = {"geometry": geometry}
        if "memory" in self.tasks:
            one = measured.isel(network=measured.task.values == "memory")
            figure, ax = plot.new(size=(5.6, 3.4))
            k = np.arange(self.n_bits + 1)
            plot.theory(ax, k, theory["count"].values, color="0.4", label="faces of a cube")
            for c, cell in enumerate(self.cells):
                counts = one["count"].values[one.cell.values == cell]
                for number, row in enumerate(counts):
                    shift = 0.07 * (c - (len(self.cells) - 1) / 2)
                    name = NAMES[cell] if number == 0 else "_"
                    plot.measurement(ax, k + shift, row, color=f"C{c}", label=name)
            ax.set(xlabel="unstable dimensions of a root", ylabel="number of roots", xticks=k)
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            figure.set_label(
                "Fixed points of every memory network by their number of unstable dimensions, "
                "and the faces of a cube."
            )
            pictures["topology"] = figure
        if "sine" in self.tasks:
            one = measured.isel(network=measured.task.values == "sine")
            figure, ax = plot.new(size=(5.6, 3.4))
            plot.theory(ax, FREQUENCIES, FREQUENCIES, color="0.4", label="equal")
            for c, cell in enumerate(self.cells):
                for number, row in enumerate(one.mode_frequency.values[one.cell.values == cell]):
                    shift = 0.001 * (c - (len(self.cells) - 1) / 2)
                    name = NAMES[cell] if number == 0 else "_"
                    at = np.array(FREQUENCIES) + shift
                    plot.measurement(ax, at, row, color=f"C{c}", label=name)
            ax.set(xlabel="cued frequency (cycles per step)", ylabel="frequency of the mode")
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            figure.set_label(
                "Frequency of the largest oscillating mode at the fixed point of each cue, against "
                "the frequency that the network was trained to produce there."
            )
            pictures["frequency"] = figure
        return pictures

    def cost(self, run: Run) -> Cost:
        from tractable.train import time_one_step

        operations = seconds = 0.0
        for task in self.tasks:
            for cell in self.cells:
                width = draw(task, 1, self.length, self.n_bits, 0)[0].shape[2]
                outputs = self.n_bits if task == "memory" else 1
                model = network(cell, width, outputs, self.units, 0)
                data = draw(task, self.batch_size, self.length, self.n_bits, 0)
                one = time_one_step(model, loss, data, device=run.device)
                gates = {"vanilla": 1, "ugrnn": 2, "gru": 3, "lstm": 4}[cell]
                n_state = self.units * (2 if cell == "lstm" else 1)
                search = 12.0 * self.n_starts * n_state**3
                products = 6.0 * gates * self.batch_size * self.length * self.units**2
                operations += self.n_seeds * (self.steps * products + search)
                seconds += self.n_seeds * (self.steps * one + search / 3e9)
        return Cost(operations, 40.0 * 4 * self.units**2 * min(self.n_starts, 1000), seconds)
