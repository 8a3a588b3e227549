"""The networks of `dynamics-flipflop`: trained, searched, measured; and one that is solved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.dynamics._sentiment_parts import stored_weights

if TYPE_CHECKING:
    import xarray as xr

ONE = {"units": "1"}
STEPS = {"units": "steps"}
ROUNDS = 3  # more starts are drawn where roots are missing
N_MEMORIES = 8  # at which the decay of a perturbation is measured
LEAST_RATE = 0.04  # of the learning rate, at the end


def network(n_bits: int, units: int, seed: int) -> Any:
    """Return an untrained GRU with a linear readout."""
    import torch

    from tractable.core.seeds import derive, seeded

    with seeded(derive(seed, "weights") % 2**32):
        model = torch.nn.ModuleDict(
            {
                "gru": torch.nn.GRU(n_bits, units, batch_first=True),
                "readout": torch.nn.Linear(units, n_bits),
            }
        )
    return model


def loss(model: Any, data: Any) -> Any:
    """Return the mean squared error of a batch (inputs, targets)."""
    inputs, targets = data
    return (model["readout"](model["gru"](inputs)[0]) - targets).square().mean()


def batch(n_bits: int, size: int, length: int, p: float, seed: int) -> Any:
    """Return a batch with a pulse on every bit at the first step."""
    from tractable.dynamics.tasks import flip_flop

    return flip_flop(size, length, n_bits, p=p, seed=seed)


def trained(
    n_bits: int,
    units: int,
    steps: int,
    batch_size: int,
    length: int,
    pulse_probability: float,
    learning_rate: float,
    seed: int,
    device: str,
) -> tuple[Any, float]:
    """Train a network on fresh sequences; return it with its last loss."""
    from tractable.core.seeds import derive
    from tractable.train import cosine_decay, fit

    model = network(n_bits, units, seed)
    batches = [
        batch(n_bits, batch_size, length, pulse_probability, derive(seed, "batch", i))
        for i in range(steps)
    ]
    result = fit(
        model,
        loss,
        batches,
        epochs=1,
        learning_rate=learning_rate,
        schedule=cosine_decay(steps, LEAST_RATE),
        clip=1.0,
        seed=seed,
        device=device,
        progress=False,
    )
    return model.cpu().eval(), float(np.mean(result.losses[-20:]))


def remember(
    n_bits: int,
    units: int,
    steps: int,
    batch_size: int,
    length: int,
    pulse_probability: float,
    learning_rate: float,
    n_starts: int,
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train one network and find its roots, their graph, and the recovery of its memories."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.dynamics import as_cell, connectivity

    model, error = trained(
        n_bits, units, steps, batch_size, length, pulse_probability, learning_rate, seed, device
    )
    cell = as_cell(model["gru"]).to(dtype=torch.float64)
    weight = model["readout"].weight.detach().double()
    offset = model["readout"].bias.detach().double()
    with quiet():  # what is missing is in the answers
        points, searched, reached = search(model, cell, n_bits, n_starts, length, seed)
        distance = float32_distance(model, points)
    n_unstable = (points.modes().eigvals.abs() > 1 + 1e-9).sum(1).numpy()
    output = points.state @ weight.T + offset
    stable = np.flatnonzero(n_unstable == 0)
    codes = {tuple(row) for row in (output[stable] > 0).int().tolist()}
    graph = connectivity(cell, points, progress=False)
    most = 3**n_bits + 6
    count = np.bincount(n_unstable, minlength=n_bits + 1)[: n_bits + 1]
    memories = stable[:N_MEMORIES]
    variables = {
        **padded("root_output", output.numpy(), most, ("root", "bit_read")),
        **padded("root_unstable", n_unstable, most, ("root",)),
        **padded("root_q", points.q.numpy(), most, ("root",)),
        **padded("edge", np.array(graph.edges(), float).reshape(-1, 2), 8 * most, ("edge", "end")),
        **padded("memory_state", points.state[memories].numpy(), N_MEMORIES, ("memory", "unit")),
        **padded("tau", decays(cell, points.state[memories]), N_MEMORIES, ("memory",), STEPS),
        **stored_weights(model),
    }
    variables |= {
        "count": ("dimension", count, ONE),
        "n_roots": ((), len(points), ONE),
        "n_memories": ((), len(codes), ONE),
        "n_searched": ((), searched, ONE),
        "converged": ((), reached, ONE),
        "index_sum": ((), points.index_sum or 0, ONE),
        "largest": ((), float(points.state.abs().max()) if len(points) else 0.0, ONE),
        "one_step": ((), one_step(cell, points), ONE),
        "float32_distance": ((), distance, ONE),
        "edge_share": ((), edge_share(graph, n_unstable, output.numpy()), ONE),
        "loss": ((), error, ONE),
    }
    return xr.Dataset(variables, coords={"dimension": np.arange(n_bits + 1)})


def search(
    model: Any, cell: Any, n_bits: int, n_starts: int, length: int, seed: int
) -> tuple[Any, int, float]:
    """Return the roots, the number of starts, and the share that converged in the first round."""
    import torch

    from tractable.core.seeds import derive, generator
    from tractable.dynamics import collect_states, find_points, sample_starts
    from tractable.dynamics.tasks import flip_flop

    points, reached = None, 0.0
    for attempt in range(ROUNDS):
        # without the first pulse the memory is open: such runs pass near the saddles
        sequences = max(16, math.ceil(4 * n_starts / length))
        inputs, _ = flip_flop(
            sequences, length, n_bits, first_pulse=False, seed=derive(seed, "visits", attempt)
        )
        with torch.no_grad():
            visited = collect_states(cell, inputs.double(), progress=False)
        starts = sample_starts(
            visited, n_starts, generator=generator(derive(seed, "starts", attempt))
        )
        found = find_points(cell, starts, kind="root", progress=False)
        if points is None:
            points, reached = found, float((found.representative >= 0).double().mean())
        else:
            points = points.concatenate(found)
        if points.index_sum in (None, 1):  # None: the cell has no box, nothing is known
            break
    assert points is not None  # there is one round at least
    return points, len(points.representative), reached


def float32_distance(model: Any, points: Any) -> float:
    """Return how far the roots of the float32 network, as an own cell, are from these."""
    import copy

    import torch

    from tractable.dynamics import as_cell, find_points

    if len(points) == 0:
        return math.inf
    gru = copy.deepcopy(model["gru"]).requires_grad_(False)

    def step(state: Any, x: Any) -> Any:
        return gru(x[:, None], state[None].contiguous())[0][:, 0]

    own = as_cell(step, n_state=gru.hidden_size, n_input=gru.input_size)
    near = points.state + 1e-3 * torch.sin(torch.arange(points.state.numel()).double()).reshape(
        points.state.shape
    )
    found = find_points(own, near, kind="root", tol=1e-10, progress=False)
    if len(found) != len(points):
        return math.inf
    return float(torch.cdist(points.state, found.state.double()).amin(1).max())


def decays(cell: Any, states: Any) -> np.ndarray:
    """Return the time constant at which a perturbation of 1e-4 along the slowest mode decays."""
    import torch

    from tractable.dynamics import decompose

    x = states.new_zeros(len(states), cell.n_input)
    modes = decompose(cell.recurrent_jacobian(states, x))
    push = 1e-4 * modes.right[:, :, 0].real
    plus, minus, size = states + push, states - push, []
    for _ in range(31):
        # a complex mode turns while it decays: its size is that of its complex coordinate
        along = (modes.left[:, 0] * ((plus - minus) / 2)).sum(1)
        size.append(along.abs())
        with torch.no_grad():
            plus, minus = cell(plus, x), cell(minus, x)
    logs = torch.stack(size).log().numpy()
    return np.array([-1 / np.polyfit(np.arange(31), logs[:, i], 1)[0] for i in range(len(states))])


def slowest(one: xr.Dataset, states: np.ndarray) -> np.ndarray:
    """Return the time constant of the slowest mode at each state, from the stored weights."""
    import torch

    from tractable.dynamics import as_cell

    weights = {
        str(v.attrs["parameter"]).removeprefix("gru."): torch.as_tensor(v.values)
        for v in one.data_vars.values()
        if str(v.attrs.get("parameter", "")).startswith("gru.")
    }
    units, width = weights["weight_hh_l0"].shape[1], weights["weight_ih_l0"].shape[1]
    gru = torch.nn.GRU(width, units, batch_first=True)
    gru.load_state_dict(weights)
    cell = as_cell(gru).to(dtype=torch.float64)
    at = torch.as_tensor(states)
    from tractable.dynamics import decompose

    tau = decompose(cell.recurrent_jacobian(at, at.new_zeros(len(at), width)), k=1).tau[:, 0]
    return tau.numpy()


def one_step(cell: Any, points: Any) -> float:
    """Return the largest ``||F(h) - h||``."""
    if len(points) == 0:
        return math.inf
    return float((cell(points.state, points.x_star) - points.state).norm(dim=1).max())


def edge_share(graph: Any, n_unstable: np.ndarray, output: np.ndarray) -> float:
    """Return the share of saddles with one unstable mode whose two ends are one bit apart."""
    saddles = np.flatnonzero(n_unstable == 1)
    bits = output > 0
    good = 0
    for saddle in saddles:
        ends = graph.targets(int(saddle))
        good += len(ends) == 2 and int((bits[ends[0]] != bits[ends[1]]).sum()) == 1
    return good / len(saddles) if len(saddles) else math.nan


def padded(
    name: str, values: Any, n: int, dims: tuple[str, ...], attrs: dict[str, str] = ONE
) -> dict[str, Any]:
    """Return a variable of n rows, NaN below the last."""
    values = np.asarray(values, dtype=float)[:n]
    full = np.full((n, *values.shape[1:]), np.nan)
    full[: len(values)] = values
    return {name: (dims, full, attrs)}


def blocks_of(n_bits: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return sizes and gains of the blocks of the solvable network."""
    return (7, 12, 21, 9, 15)[:n_bits], (2.0, 1.5, 2.5, 1.8, 2.2)[:n_bits]


def solved(n_bits: int, n_starts: int, seed: int) -> xr.Dataset:
    """Find the roots of the solvable network."""
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.dynamics import find_points
    from tractable.dynamics.tasks import block_memory

    memory = block_memory(*blocks_of(n_bits), n_starts=n_starts, seed=seed % 2**31)
    with quiet():  # the count is checked
        points = find_points(memory.cell, memory.starts, progress=False)
    n_unstable = (points.modes().eigvals.abs() > 1 + 1e-9).sum(1).numpy()
    overlap = (points.state @ memory.decoder.T).abs().max(0).values.numpy()
    count = np.bincount(n_unstable, minlength=n_bits + 1)[: n_bits + 1]
    return xr.Dataset(
        {
            "block_count": ("block_dimension", count, ONE),
            "block_overlap": ("bit", overlap, ONE),
        }
    )
