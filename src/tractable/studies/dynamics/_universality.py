"""Tasks, networks and their analysis in `dynamics-universality`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

ONE = {"units": "1"}
CELLS = ("vanilla", "ugrnn", "gru", "lstm")
TASKS = ("memory", "integration", "sine")
RATES = {"vanilla": 2e-3, "ugrnn": 5e-3, "gru": 5e-3, "lstm": 5e-3}
LEAST_RATE = 0.04
N_PROBES = 24  # sequences on which states are compared
N_CONTEXTS = 2
FREQUENCIES = (0.04, 0.06, 0.08, 0.10, 0.12)  # cycles per step
CYCLES = {"units": "cycles per step"}
NOISE = 0.3  # standard deviation of the evidence, per step


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
    from tractable.studies.dynamics._flipflop_parts import edge_share, one_step, search

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
