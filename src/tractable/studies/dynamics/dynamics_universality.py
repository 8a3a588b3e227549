"""Universality: what networks of different architectures share on the same task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.core.checks import check_choice
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
SOURCE = "arXiv:1907.08549"
CELLS = ("vanilla", "ugrnn", "gru", "lstm")
TASKS = ("memory", "integration", "sine")
RATES = {"vanilla": 2e-3, "ugrnn": 5e-3, "gru": 5e-3, "lstm": 5e-3}
NAMES = {"vanilla": "vanilla", "ugrnn": "UGRNN", "gru": "GRU", "lstm": "LSTM"}
LEAST_RATE = 0.04
N_PROBES = 24  # sequences on which states are compared
N_CONTEXTS = 2
FREQUENCIES = (0.04, 0.06, 0.08, 0.10, 0.12)  # cycles per step
CYCLES = {"units": "cycles per step"}
NOISE = 0.3  # standard deviation of the evidence, per step


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


# --- tasks and networks ----------------------------------------------------------------------


def draw(task: str, n: int, length: int, n_bits: int, seed: int) -> tuple[Any, Any]:
    """Return inputs and targets of a task.

    integration: two noisy streams with a mean each, and a context that says, one-hot and constant,
    which of them to sum; the target is the running sum of the chosen one over sqrt(length).
    sine: a constant cue names the frequency.
    """
    import torch

    from tractable.core.seeds import generator
    from tractable.dynamics.tasks import cued_sine, flip_flop

    if task == "memory":
        return flip_flop(n, length, n_bits, seed=seed)
    if task == "sine":
        return cued_sine(n, length, FREQUENCIES, seed=seed)
    random = generator(seed)
    mean = 0.2 * torch.randn(n, 1, N_CONTEXTS, generator=random)
    streams = mean + NOISE * torch.randn(n, length, N_CONTEXTS, generator=random)
    chosen = torch.randint(0, N_CONTEXTS, (n,), generator=random)
    context = torch.nn.functional.one_hot(chosen, N_CONTEXTS).float()
    evidence = (streams * context[:, None]).sum(2, keepdim=True)
    inputs = torch.cat([streams, context[:, None].expand(-1, length, -1)], dim=2)
    return inputs, evidence.cumsum(1) / math.sqrt(length)


def network(cell: str, width: int, outputs: int, units: int, seed: int) -> Any:
    """Return an untrained network with a linear readout."""
    import torch

    from tractable.core.seeds import seeded
    from tractable.dynamics import UGRNN

    with seeded(seed):
        kinds: dict[str, Any] = {
            "vanilla": torch.nn.RNN,
            "ugrnn": UGRNN,
            "gru": torch.nn.GRU,
            "lstm": torch.nn.LSTM,
        }
        recurrent = kinds[cell](width, units, batch_first=True)
        return torch.nn.ModuleDict(
            {"recurrent": recurrent, "readout": torch.nn.Linear(units, outputs)}
        )


def loss(model: Any, batch: Any) -> Any:
    """Return the mean squared error of a batch (inputs, targets)."""
    inputs, targets = batch
    return (model["readout"](model["recurrent"](inputs)[0]) - targets).square().mean()


def learn(
    task: str,
    cell: str,
    n_bits: int,
    units: int,
    steps: int,
    batch_size: int,
    length: int,
    n_starts: int,
    seed: int,
    probe_seed: int,
    device: str,
) -> xr.Dataset:
    """Train one network and take it apart."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.dynamics import as_cell, collect_states
    from tractable.train import cosine_decay, fit

    width = draw(task, 1, length, n_bits, 0)[0].shape[2]
    model = network(cell, width, n_bits if task == "memory" else 1, units, seed)
    batches = [
        draw(task, batch_size, length, n_bits, derive(seed, "batch", i) % 2**31)
        for i in range(steps)
    ]
    result = fit(
        model,
        loss,
        batches,
        epochs=1,
        learning_rate=RATES[cell],
        schedule=cosine_decay(steps, LEAST_RATE),
        clip=1.0,
        seed=seed,
        device=device,
        progress=False,
    )
    model = model.cpu().eval()
    net = as_cell(model["recurrent"]).to(dtype=torch.float64)
    probes = draw(task, N_PROBES, length, n_bits, probe_seed)[0]
    with torch.no_grad():
        outputs = model["recurrent"](probes)[0].reshape(-1, units).numpy()
        visited = collect_states(net, probes.double(), progress=False)
    parts = {"memory": _memory, "integration": _integration, "sine": _sine}[task]
    with quiet():
        found = parts(model, net, visited, n_bits, length, n_starts, seed)
    empty = {
        "count": ("dimension", np.full(n_bits + 1, np.nan), ONE),
        "n_memories": ((), np.nan, ONE),
        "edge_share": ((), np.nan, ONE),
        "one_step": ((), np.nan, ONE),
        "line_fraction": ("context", np.full(N_CONTEXTS, np.nan), ONE),
        "line_components": ("context", np.full(N_CONTEXTS, np.nan), ONE),
        "cue_roots": ("cue", np.full(len(FREQUENCIES), np.nan), ONE),
        "mode_frequency": ("cue", np.full(len(FREQUENCIES), np.nan), CYCLES),
        "tau": ((), np.nan, {"units": "steps"}),
    }
    return xr.Dataset(
        {
            **empty,
            **found,
            "loss": ((), float(np.mean(result.losses[-20:])), ONE),
            "n_state": ((), units, ONE),
            "probe_state": (("moment", "unit"), outputs, ONE),
        }
    )


def _memory(
    model: Any, net: Any, visited: Any, n_bits: int, length: int, n_starts: int, seed: int
) -> dict[str, Any]:
    """Return the roots of a memory network and their graph."""
    from tractable.dynamics import connectivity
    from tractable.studies.dynamics.dynamics_flipflop import edge_share, one_step, search

    points, _, _ = search(model, net, n_bits, n_starts, length, seed)
    modes = points.modes()
    n_unstable = (modes.eigvals.abs() > 1 + 1e-9).sum(1).numpy()
    weight = model["readout"].weight.detach().double()
    seen = points.state[:, net.readout_slice]
    output = (seen @ weight.T + model["readout"].bias.detach().double()).numpy()
    stable = n_unstable == 0
    codes = {tuple(row) for row in (output[stable] > 0).tolist()}
    graph = connectivity(net, points, progress=False)
    count = np.bincount(n_unstable, minlength=n_bits + 1)[: n_bits + 1]
    tau = modes.tau[stable, 0]
    return {
        "count": ("dimension", count.astype(float), ONE),
        "n_memories": ((), float(len(codes)), ONE),
        "edge_share": ((), edge_share(graph, n_unstable, output), ONE),
        "one_step": ((), one_step(net, points), ONE),
        "tau": ((), float(tau.median()) if len(tau) else np.nan, {"units": "steps"}),
    }


def _integration(
    model: Any, net: Any, visited: Any, n_bits: int, length: int, n_starts: int, seed: int
) -> dict[str, Any]:
    """Return the slow points in each context."""
    import torch

    from tractable.core.seeds import derive, generator
    from tractable.dynamics import find_points, sample_starts

    fractions, components, taus = [], [], []
    for context in range(N_CONTEXTS):
        x = torch.zeros(net.n_input, dtype=torch.float64)
        x[N_CONTEXTS + context] = 1.0
        own = visited.inputs[:, 0, N_CONTEXTS + context] > 0
        starts = sample_starts(
            type(visited)(visited.states[own], visited.mask[own]),
            n_starts,
            generator=generator(derive(seed, "starts", context)),
        )
        points = find_points(net, starts, x, kind="slow", tau_c=length / 2, progress=False)
        states = points.state - points.state.mean(0)
        power = torch.linalg.svdvals(states).square()
        share = (power.cumsum(0) / power.sum()).numpy() if len(points) > 1 else np.ones(1)
        fractions.append(float(share[0]) if len(points) > 1 else np.nan)
        components.append(float(np.searchsorted(share, 0.85) + 1))
        shown = points[np.linspace(0, len(points) - 1, min(16, len(points))).astype(int)]
        tau = shown.modes(k=1).tau[:, 0].clamp(max=1e6)
        taus.append(float(tau.median()) if len(tau) else np.nan)
    return {
        "line_fraction": ("context", fractions, ONE),
        "line_components": ("context", components, ONE),
        "tau": ((), float(np.nanmedian(taus)), {"units": "steps"}),
    }


def _sine(
    model: Any, net: Any, visited: Any, n_bits: int, length: int, n_starts: int, seed: int
) -> dict[str, Any]:
    """Return at each cue the fixed points, and how fast the largest oscillating mode turns."""
    from tractable.core.seeds import derive, generator
    from tractable.dynamics import find_points, sample_starts
    from tractable.dynamics.tasks import sine_cues

    roots, turning, steps, taus = [], [], [], []
    for number, cue in enumerate(sine_cues(len(FREQUENCIES)).tolist()):
        own = (visited.inputs[:, 0, 0] - cue).abs() < 1e-6
        part = type(visited)(visited.states[own], visited.mask[own])
        random = generator(derive(seed, "starts", number))
        starts = sample_starts(part, max(16, n_starts // len(FREQUENCIES)), generator=random)
        points = find_points(net, starts, cue, progress=False)
        roots.append(float(len(points)))
        if len(points) == 0:
            turning.append(np.nan)
            continue
        steps.append(float((net(points.state, points.x_star) - points.state).norm(dim=1).max()))
        # Of several roots the one that most starts lead to; its largest mode that oscillates.
        modes = points[points.multiplicity.argmax().reshape(1)].modes()
        values = modes.eigvals[0]
        pairs = values[values.imag > 1e-9]
        taus.append(float(modes.tau[0, 0]))
        largest = pairs[pairs.abs().argmax()] if len(pairs) else None
        turning.append(np.nan if largest is None else float(largest.angle()) / (2 * math.pi))
    return {
        "cue_roots": ("cue", roots, ONE),
        "mode_frequency": ("cue", turning, CYCLES),
        "one_step": ((), max(steps, default=np.nan), ONE),
        "tau": ((), float(np.median(taus)) if taus else np.nan, {"units": "steps"}),
    }


def scaled(distance: np.ndarray) -> np.ndarray:
    """Return coordinates (n, 2) by classical multidimensional scaling of a distance (n, n)."""
    n = len(distance)
    center = np.eye(n) - 1 / n
    gram = -0.5 * center @ np.square(distance) @ center
    values, vectors = np.linalg.eigh(gram)
    kept = np.argsort(-values)[:2]
    at = vectors[:, kept] * np.sqrt(values[kept].clip(0))
    return np.pad(at, ((0, 0), (0, 2 - at.shape[1])))
