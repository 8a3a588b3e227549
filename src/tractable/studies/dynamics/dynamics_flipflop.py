"""The flip-flop: a network that remembers bits, and the cube of its fixed points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.studies.dynamics._flipflop_parts import (
    N_MEMORIES,
    ONE,
    STEPS,
    batch,
    blocks_of,
    loss,
    network,
    remember,
    slowest,
    solved,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SUSSILLO = "doi:10.1162/NECO_a_00409, section 3"
CUBE = "counting: C(b, k) 2^(b - k), the faces of a cube"


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
