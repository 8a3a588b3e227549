"""The flip-flop: a network that remembers bits, and the cube of its fixed points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
STEPS = {"units": "steps"}
SUSSILLO = "doi:10.1162/NECO_a_00409, section 3"
CUBE = "counting: C(b, k) 2^(b - k), the faces of a cube"
ROUNDS = 3  # more starts are drawn where roots are missing
N_MEMORIES = 8  # at which the decay of a perturbation is measured
LEAST_RATE = 0.04  # of the learning rate, at the end


@dataclass(frozen=True)
class DynamicsFlipflop(Study):
    """A network that remembers bits: one attractor for each memory, one saddle between two."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Sussillo, Barak",
        2013,
        "Opening the black box: low-dimensional dynamics in high-dimensional recurrent networks",
        doi="10.1162/NECO_a_00409",
    )
    presets: ClassVar = {
        "smoke": {
            "n_bits": 1,
            "units": 12,
            "steps": 60,
            "length": 16,
            "batch_size": 16,
            "n_starts": 64,
            "n_seeds": 1,
            "block_bits": 2,
            "signatures": False,
        },
        "paper": {"n_bits": 3, "units": 100, "steps": 2000, "n_starts": 4096, "n_seeds": 5},
    }

    n_bits: Annotated[int, Range(1, 5)] = 3
    """Bits to remember."""
    units: Annotated[int, Range(4, 512, log=True)] = 64
    """Units of the GRU."""
    steps: Annotated[int, Range(10, 100_000, log=True)] = 400
    """Training steps."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 64
    """Sequences of a training step."""
    length: Annotated[int, Range(4, 1000, log=True)] = 64
    """Steps of a sequence."""
    pulse_probability: Annotated[float, Range(0.01, 1.0)] = 0.2
    """Of a pulse, per bit and step."""
    learning_rate: Annotated[float, Range(1e-5, 0.1, log=True)] = 5e-3
    """Of Adam, at the start; it falls by a cosine."""
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 1024
    """Visited states from which roots are searched."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks that are trained."""
    block_bits: Annotated[int, Range(1, 5)] = 3
    """Bits of the solvable network beside them."""
    signatures: bool = True
    """Assert the published signatures."""

    # --- measurement -------------------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        names = ("n_bits", "units", "steps", "batch_size", "length", "pulse_probability")
        given = {name: getattr(self, name) for name in (*names, "learning_rate", "n_starts")}
        seeds = [run.seed, *(derive(run.seed, i) % 2**31 for i in range(1, self.n_seeds))]
        networks = run.map(
            remember, [{**given, "seed": seed, "device": str(run.device)} for seed in seeds]
        )
        block = solved(self.block_bits, self.n_starts, run.seed)
        return xr.concat(networks, "network").merge(block)

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Count the faces of the cube (D33); of trained networks, time constants (D15)."""
        import xarray as xr

        from tractable.dynamics.tasks import block_memory, cube_counts

        blocks = block_memory(*blocks_of(self.block_bits), n_starts=1)
        theory = xr.Dataset(
            {
                "count": ("dimension", cube_counts(self.n_bits), ONE),
                "block_count": ("block_dimension", cube_counts(self.block_bits), ONE),
                "kappa": ("bit", blocks.kappa.numpy(), ONE),
            },
            coords={"dimension": np.arange(self.n_bits + 1)},
        )
        if measured is None:
            return theory
        tau = np.full((measured.sizes["network"], N_MEMORIES), np.nan)
        for i in range(measured.sizes["network"]):
            one = measured.isel(network=i)
            at = one.memory_state.values
            known = np.isfinite(at).all(1)
            if known.any():
                tau[i, known] = slowest(one, at[known])
        return theory.assign(tau=(("network", "memory"), tau, STEPS))

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        wrong = abs(measured.block_count - theory.block_count).sum()
        yield Check(
            f"solvable network, {self.block_bits} bits: roots with a wrong count of unstable "
            "dimensions",
            float(wrong),
            0,
            source=CUBE,
        )
        error = abs(measured.block_overlap - theory.kappa).max()
        yield Check(
            "solvable network: error of the stored overlaps",
            float(error),
            1e-9,
            kind="at_most",
            source="exact: kappa = tanh(g kappa)",
        )
        off = measured.one_step.max()
        yield Check(
            "a root survives a step: largest ||F(h) - h||",
            float(off),
            1e-6,
            kind="at_most",
            source="definition of a fixed point",
        )
        if self.signatures:
            yield from self._signatures(theory, measured)

    def _signatures(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        memories, n_seeds = 2**self.n_bits, measured.sizes["network"]
        yield Check(
            "memories that stable roots decode to, least of the networks",
            float(measured.n_memories.min()),
            memories,
            source=SUSSILLO,
        )
        full = (measured["count"] == theory["count"]).all("dimension").sum()
        yield Check(
            "networks with the full count of roots",
            float(full),
            math.ceil(2 * n_seeds / 3),
            kind="at_least",
            source=f"{CUBE}; {SUSSILLO}",
        )
        yield Check(
            "starts that converge to q <= 1e-12, least of the networks",
            float(measured.converged.min()),
            0.99,
            kind="at_least",
            source="bar of this study",
        )
        yield Check(
            "largest entry of a root",
            float(measured.largest.max()),
            1.0,
            kind="at_most",
            source="a GRU keeps its states in [-1, 1]^N",
        )
        yield Check(
            "roots of the float32 network by automatic differentiation: largest distance",
            float(measured.float32_distance.max()),
            1e-4,
            kind="at_most",
            source="the same network",
        )
        yield Check(
            "saddles of one unstable dimension that join two memories one bit apart, least share",
            float(measured.edge_share.min()),
            1.0,
            source=f"{SUSSILLO}: edges of the cube",
        )
        ratio = abs(measured.tau / theory.tau - 1).max()
        yield Check(
            "time constants of the memories: linear theory against a decaying perturbation",
            float(ratio),
            0.02,
            kind="at_most",
            source="tau = |1 / ln|lambda||",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        bits = self.n_bits
        good = int((measured.n_memories == 2**bits).sum())
        yield (
            f"{good} of {measured.sizes['network']} trained networks hold all {2**bits} memories "
            f"of {bits} bit{'s' * (bits > 1)}, each in a stable fixed point of its own."
        )
        for i in range(measured.sizes["network"]):
            one = measured.isel(network=i)
            degree = int(one.index_sum)
            if degree != 1:
                yield (
                    f"Network {i}: the degrees of its roots add up to {degree:+d}, not +1, after "
                    f"{int(one.n_searched)} starts: some roots are missing."
                )
        shortest, longest = float(theory.tau.min()), float(theory.tau.max())
        yield (
            f"A perturbed memory recovers with a time constant of {shortest:.2g} to {longest:.2g} "
            "steps, as its Jacobian predicts."
        )
        ideal = theory["count"].values
        rows: list[tuple[Any, ...]] = [
            (k, int(ideal[k]), *(int(n) for n in measured["count"].isel(dimension=k).values))
            for k in range(bits + 1)
        ]
        rows.append(("all", int(ideal.sum()), *(int(n) for n in measured.n_roots.values)))
        columns = (
            "unstable dimensions",
            "ideal",
            *(f"network {i}" for i in range(measured.sizes["network"])),
        )
        yield Table("Roots by their number of unstable dimensions", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.dynamics._flipflop_figures import figures

        return figures(self, theory, measured)

    def cost(self, run: Run) -> Cost:
        from tractable.train import time_one_step

        model = network(self.n_bits, self.units, run.seed)
        data = batch(self.n_bits, self.batch_size, self.length, self.pulse_probability, run.seed)
        one = time_one_step(model, loss, data, device=run.device)
        per_step = 6.0 * self.batch_size * self.length * 3 * self.units * (self.units + self.n_bits)
        search = 12.0 * self.n_starts * self.units**3
        seconds = self.n_seeds * (self.steps * one + search / 3e9)
        memory = 40.0 * min(self.n_starts, 4096) * self.units**2
        return Cost(self.n_seeds * (self.steps * per_step + search), memory, seconds)


# --- the network -----------------------------------------------------------------------------


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
        **stored(model),
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


def stored(model: Any) -> dict[str, Any]:
    """Return the weights as variables."""
    variables = {}
    for name, value in model.state_dict().items():
        plain = "parameter_" + name.replace(".", "_")
        dims = tuple(f"{plain}_{i}" for i in range(value.ndim))
        variables[plain] = (dims, value.numpy(), {"units": "1", "parameter": name})
    return variables


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
