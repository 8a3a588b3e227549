"""Your own recurrent network, taken apart."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
N_SHOWN = 12  # points at which modes are listed and the network is perturbed
N_MODES = 6
N_STATES = 2000
MAX_SPECTRUM = 1000  # larger networks: the slowest modes only
PUSH = 1e-6  # of the rms entry of the points
EXACT = "definition of the Jacobian"


@dataclass(frozen=True)
class DynamicsOwn(Study):
    """Your recurrent network: its fixed points, what it remembers, and for how long."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Sussillo, Barak",
        2013,
        "Opening the black box: low-dimensional dynamics in high-dimensional recurrent networks",
        doi="10.1162/NECO_a_00409",
    )
    presets: ClassVar = {
        "smoke": {"n_starts": 64, "horizon": 10},
        "slow": {"kind": "slow"},
        "paper": {"n_starts": 4096, "horizon": 200},
    }

    model: str = ""
    """Your network, file.py:function; the function takes nothing and returns it. Empty: example."""
    starts: str = ""
    """States that it visits, a .npy file (n, N). Empty: those of runs with random inputs."""
    x_star: str = ""
    """Constant input, a .npy file (D,). Empty: zero."""
    kind: Literal["root", "slow", "local_min"] = "root"
    """Fixed points, points of a slow manifold, or local minima of the speed."""
    n_starts: Annotated[int, Range(1, 1_000_000, log=True)] = 512
    """Starts of the search, at most those of the file."""
    tau_c: Annotated[float, Range(0.01, 1e6, log=True)] = 20.0
    """kind slow: slower modes count as along the manifold; in steps or units of the cell's dt."""
    horizon: Annotated[int, Range(2, 10_000, log=True)] = 40
    """Steps over which a small perturbation is followed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model and not re.search(r"\.py:\w+$", self.model):
            raise ValueError(
                f"model must be file.py:function, got {self.model!r}; the function takes nothing "
                "and returns the network, such as my_net.py:make"
            )
        for name in ("starts", "x_star"):
            path = getattr(self, name)
            if path and not path.endswith(".npy"):
                raise ValueError(f"{name} must be a .npy file (numpy.save), got {path!r}")
            if path and not Path(path).is_file():
                raise ValueError(f"{name}: there is no file {path}")
        if self.starts and not self.model:
            raise ValueError("starts are states of a network of yours: name it by model")

    # --- the network -------------------------------------------------------------------------

    def network(self) -> tuple[Any, Any]:
        """Return the cell, and the example's own starts or None."""
        import torch

        from tractable.core.processes import load_file
        from tractable.dynamics import as_cell
        from tractable.dynamics.tasks import block_memory

        if not self.model:
            memory = block_memory((7, 12, 21), (2.0, 1.2, 1.02), n_starts=self.n_starts)
            return memory.cell, memory.starts
        path, name = self.model.rsplit(":", 1)
        make = getattr(load_file(path), name, None)
        if not callable(make):
            raise ValueError(f"model: {path} has no function {name}")
        try:
            made = make()
        except Exception as error:
            raise ValueError(f"model: {name}() of {path} failed: {error}") from error
        return as_cell(made).to(dtype=torch.float64), None

    def visited(self, cell: Any, own: Any, seed: int) -> tuple[Any, str]:
        """Return the starts of the search and where they are from."""
        import torch

        from tractable.core.seeds import derive, generator
        from tractable.dynamics import collect_states, sample_starts

        draw = generator(derive(seed, "starts"))
        if own is not None:
            return own, "an example: three bits in 40 units, two of them well kept"
        if self.starts:
            given = torch.as_tensor(_array("starts", self.starts, ("n", cell.n_state)))
            chosen = torch.randperm(len(given), generator=draw)[: self.n_starts]
            return given[chosen.sort().values], f"{self.starts}, {len(chosen)} of {len(given)}"
        inputs = torch.randn(64, 50, cell.n_input, generator=draw, dtype=torch.float64)
        runs = collect_states(cell, inputs, progress=False)
        return (
            sample_starts(runs, self.n_starts, noise=0.1, generator=draw),
            "64 runs of 50 random inputs of unit variance, from the zero state",
        )

    def measure(self, run: Run) -> xr.Dataset:
        import torch
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.core.seeds import derive, generator
        from tractable.dynamics import connectivity, find_points

        cell, own = self.network()
        starts, source = self.visited(cell, own, run.seed)
        x = np.zeros(cell.n_input)
        if self.x_star:
            x = _array("x_star", self.x_star, (cell.n_input,))
        with quiet():  # what is missing is in the answers
            points = find_points(
                cell,
                starts,
                torch.as_tensor(x),
                kind=self.kind,
                tau_c=self.tau_c if self.kind == "slow" else None,
                generator=generator(derive(run.seed, "groups")),
                progress=run.show_progress,
            )
        if len(points) == 0:
            least = min((r.q for r in points.rejected), default=math.nan)
            raise ValueError(
                f"none of {len(starts)} starts led to a point of kind {self.kind!r}: the smallest "
                f"speed q is {least:.2g}; try --kind slow, more --n-starts, or other starts"
            )
        shown = chosen_points(points)
        random = np.random.default_rng(derive(run.seed, "shown"))
        kept = np.sort(random.permutation(len(starts))[:N_STATES])
        edges = np.zeros((0, 2))
        if self.kind == "root" and cell.n_state <= MAX_SPECTRUM:
            edges = np.array(connectivity(cell, points, progress=False).edges(), float)
        scan = points.scan
        assert scan is not None  # a search has one
        return xr.Dataset(
            {
                "state": (("sample", "unit"), starts[kept], ONE),
                "point_state": (("point", "unit"), points.state, ONE),
                "point_q": ("point", points.q, ONE),
                "point_starts": ("point", points.multiplicity, ONE),
                "residual": ("point", (2 * points.q).sqrt(), ONE),
                "x_star": ("input", x, ONE),
                "shown": ("shown", shown, ONE),
                "index_sum": ((), points.index_sum or 0, ONE),
                "n_rejected": ((), len(points.rejected), ONE),
                "edge": (("edge", "end"), edges.reshape(-1, 2), ONE),
                "scan_tol": ("scan", scan.tol, ONE),
                "scan_n_points": ("scan", scan.n_points, ONE),
                "scan_pc_fraction": ("scan", scan.pc1_fraction, ONE),
                **perturbed(cell, points[shown], self.horizon),
            },
            attrs={
                "source": source,
                "name": self.model or "example",
                "dt": cell.dt or 0.0,
                "rejected": most_common_reason(points),
            },
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Linearize the network at its points: (D13)-(D15)."""
        if measured is None:
            raise ValueError("dynamics-own needs the points of the network: it takes measured")
        import torch
        import xarray as xr

        from tractable.dynamics import PointSet, slowest_modes

        cell, _ = self.network()
        states = torch.as_tensor(measured.point_state.values[measured.shown.values.astype(int)])
        x = torch.as_tensor(measured.x_star.values)
        points = PointSet.from_states(cell, states, x, kind=self.kind)
        if cell.n_state <= MAX_SPECTRUM:
            modes = points.modes()
        else:
            modes = slowest_modes(cell, points.state, N_MODES, x)
        n = min(N_MODES, modes.eigvals.shape[1])
        tau = modes.tau[:, :n].clamp(max=1e9)
        unit = {"units": "steps" if cell.dt is None else "time"}
        return xr.Dataset(
            {
                "eigenvalue_real": (("shown", "all_modes"), modes.eigvals.real, ONE),
                "eigenvalue_imag": (("shown", "all_modes"), modes.eigvals.imag, ONE),
                "tau": (("shown", "mode"), tau, unit),
                "frequency": (("shown", "mode"), modes.freq[:, :n], ONE),
                "n_unstable": ("shown", (modes.eigvals.abs() > 1 + 1e-9).sum(1), ONE),
                "departure": ("shown", modes.departure, ONE),
                "decay": (("shown", "lag"), decay(points, measured), ONE),
            },
            coords={"lag": measured.lag.values},
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        first = abs(theory.decay - measured.decay).sel(lag=1).max()
        size = max(float(abs(measured.decay.sel(lag=1)).max()), 1e-12)
        yield Check(
            "one step of a small perturbation: linear theory against the network, relative error",
            float(first) / size,
            1e-4,
            kind="at_most",
            source=EXACT,
        )
        if self.kind != "root":
            return
        yield Check(
            "largest ||F(h) - h|| at a fixed point",
            float(measured.residual.max()),
            1e-5,
            kind="at_most",
            source="definition of a fixed point",
        )
        # Around a fixed point the linear theory holds as long as the perturbation stays small.
        small = abs(theory.decay).cumsum("lag") <= 1e3
        off = abs(theory.decay - measured.decay).where(small) / np.maximum(abs(theory.decay), 0.01)
        yield Check(
            "what is left of it later: linear theory against the network, largest relative error",
            float(off.max()),
            0.02,
            kind="at_most",
            source=EXACT,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.dynamics._own_answers import answers

        yield from answers(self, theory, measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.dynamics._own_answers import figures

        return figures(self, theory, measured)

    def cost(self, run: Run) -> Cost:
        import time

        cell, own = self.network()
        starts, _ = self.visited(cell, own, run.seed)
        some, x = starts[:8], starts.new_zeros(min(8, len(starts)), cell.n_input)
        cell.recurrent_jacobian(some, x)  # pays for what is done once
        started = time.perf_counter()
        cell.recurrent_jacobian(some, x)
        one = (time.perf_counter() - started) / len(some)
        n, tries = cell.n_state, 15
        per_start = tries * (one + n**3 / 3e9)
        operations = len(starts) * tries * n**3 + 25.0 * N_SHOWN * n**3
        return Cost(operations, 40.0 * n**2 * min(len(starts), 400), len(starts) * per_start + 1)


def _array(name: str, path: str, shape: tuple[int | str, ...]) -> np.ndarray:
    """Read a .npy file of that shape."""
    from tractable.core.checks import check_finite, check_shape

    try:
        values = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise ValueError(f"{name}: {path} is no array of numbers: {error}") from error
    check_shape(name, values.shape, shape)
    check_finite(name, values)
    return values


def most_common_reason(points: Any) -> str:
    """Return why most of the starts without a point were rejected, without the numbers."""
    from collections import Counter

    kinds = Counter(re.split(r":| above", r.reason)[0] for r in points.rejected)
    return str(kinds.most_common(1)[0][0]) if kinds else ""


def chosen_points(points: Any) -> np.ndarray:
    """Return the points with the most starts, slow ones spread along their first component."""
    if points.kind != "slow":
        most = np.argsort(-points.multiplicity.cpu().numpy(), kind="stable")[:N_SHOWN]
        return np.sort(most)
    from tractable.studies.dynamics._sentiment_parts import spread

    states = points.state.cpu().numpy()
    first = np.linalg.svd(states - states.mean(0), full_matrices=False)[2][0]
    return spread(states @ first, N_SHOWN)


def perturbed(cell: Any, points: Any, horizon: int) -> dict[str, Any]:
    """Push the network off each point along a fixed direction and follow it, both ways."""
    import torch

    states, x = points.state, points.x_star
    if cell.n_state <= MAX_SPECTRUM:
        axis = points.modes(k=1).right[:, :, 0].real
    else:
        axis = torch.ones_like(states)
    axis = axis / axis.norm(dim=1, keepdim=True)
    size = PUSH * float(states.square().mean().sqrt() + 1e-3)
    plus, minus, kept = states + size * axis, states - size * axis, []
    with torch.no_grad():
        for _ in range(horizon + 1):
            kept.append(((plus - minus) * axis).sum(1) / (2 * size))
            plus, minus = cell(plus, x), cell(minus, x)
    return {
        "decay": (("shown", "lag"), torch.stack(kept, 1), ONE),
        "decay_axis": (("shown", "unit"), axis, ONE),
        "lag": ("lag", np.arange(horizon + 1), {"units": "steps"}),
    }


def decay(points: Any, measured: xr.Dataset) -> Any:
    """Return ``m . J^t m``, or along the moving point: J at each state that it passes."""
    import torch

    axis = torch.as_tensor(measured.decay_axis.values)
    state, left, kept = points.state, axis, []
    with torch.no_grad():
        for _ in measured.lag.values:
            kept.append((left * axis).sum(1))
            J = points.cell.recurrent_jacobian(state, points.x_star)
            left = (J @ left[..., None])[..., 0]
            if points.kind != "root":  # a slow point drifts: linearize where it is
                state = points.cell(state, points.x_star)
    return torch.stack(kept, 1)
