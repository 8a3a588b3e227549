"""A linear-Gaussian operator learned by a deep linear network: when it gets its arrow of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.linear import ModeDynamics, Simulation

ONE = {"units": "1"}
RATE = {"units": "nats/step"}
TIME = {"units": "tau", "long_name": "steps times learning rate"}
MODES = "arXiv:1312.6120, modes of a deep linear network, in the entropy production of a map"
CLOSED = "derived: entropy production of a map with two singular modes in a plane"
N_TIMES = 121
SHALLOW_END = 8.0  # a network without a hidden layer needs the same time for every mode: 1
N_CHAIN_TIMES = 8
CHAIN_STEPS = 20


@dataclass(frozen=True)
class MeetLinearWalkback(Study):
    """A network that learns a process learns to predict first, and the arrow of time in stages."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_moves": 2000, "n_nets": 1, "n_chains": 100, "learning_rate": 0.1},
        "paper": {"n_moves": 1_000_000, "n_nets": 50, "n_chains": 50_000, "learning_rate": 0.005},
    }

    first: Annotated[tuple[float, ...], Range(0.01, 0.99)] = (0.95, 0.8, 0.5)
    """Larger singular value of the map in each plane of the process."""
    second: Annotated[tuple[float, ...], Range(0.01, 0.99)] = (0.7, 0.35, 0.22)
    """Smaller singular value in each plane, below the larger one."""
    angle: Annotated[tuple[float, ...], Range(0.0, 3.2)] = (0.0, 0.7, 1.2)
    """Angle by which the map turns each plane, radians; 0 is a plane without an arrow of time."""
    n_moves: Annotated[int, Range(100, 10_000_000, log=True)] = 100_000
    """Moves of the process that the networks see."""
    n_nets: Annotated[int, Range(1, 1000)] = 8
    """Networks, each from another start."""
    n_hidden: Annotated[int, Range(2, 4096, log=True)] = 32
    """Units of the hidden layer."""
    init_std: Annotated[float, Range(1e-8, 0.1, log=True)] = 1e-4
    """Standard deviation of the initial weights."""
    learning_rate: Annotated[float, Range(1e-4, 0.5, log=True)] = 0.02
    """Step of gradient descent."""
    n_chains: Annotated[int, Range(40, 1_000_000, log=True)] = 2000
    """Chains by which the entropy production of a learned operator is measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.first or not len(self.first) == len(self.second) == len(self.angle):
            raise ValueError(
                "first, second and angle must hold one number for each plane, got "
                f"{len(self.first)}, {len(self.second)} and {len(self.angle)}"
            )
        if any(b >= a for a, b in zip(self.first, self.second, strict=True)):
            raise ValueError(f"second must be below first, got {self.second} and {self.first}")
        if self.n_hidden < 2 * len(self.first):
            raise ValueError(
                f"n_hidden must be at least {2 * len(self.first)}, the number of modes, got "
                f"{self.n_hidden}"
            )

    # --- the process ---------------------------------------------------------------------------

    def process(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return map A, noise covariance D = I - A A^T (so that states are white), and planes Q."""
        n = 2 * len(self.first)
        basis = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
        blocks = np.zeros((n, n))
        for k, (a, b, angle) in enumerate(zip(self.first, self.second, self.angle, strict=True)):
            c, s = np.cos(angle), np.sin(angle)
            blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = np.diag([a, b]) @ [[c, s], [-s, c]]
        matrix = basis @ blocks @ basis.T
        return matrix, np.eye(n) - matrix @ matrix.T, basis

    def expected_start(self) -> np.ndarray:
        """Return the mean initial strength of each mode, strongest first (2 K modes)."""
        modes = np.arange(2 * len(self.first))
        start: np.ndarray = self.init_std**2 * (self.n_hidden - modes) / 2
        return start

    def dynamics(self, start: np.ndarray) -> ModeDynamics:
        """Return the theory of learning from given initial strengths."""
        from tractable.linear import ModeDynamics

        return ModeDynamics.from_correlations(self.process()[0], init_strength=start)

    def times(self) -> np.ndarray:
        """Return the times at which networks are looked at."""
        end = 1.5 * float(self.dynamics(self.expected_start()).half_rise().max())
        return np.linspace(0, end, N_TIMES)

    # --- measurement -----------------------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.core.seeds import derive
        from tractable.linear import ModeDynamics, effective_init

        matrix, noise, basis = self.process()
        moves = walk(matrix, noise, self.n_moves, derive(run.seed, "moves"))
        with quiet():  # a finite number of moves is never quite white; the networks see them so
            seen = {
                depth: ModeDynamics.from_data(moves[:-1], moves[1:], depth=depth, method="ode")
                for depth in (1, 2)
            }
        deep = self._train(seen[2], self.times(), derive(run.seed, "deep"))
        shallow = self._train(
            seen[1], np.linspace(0, SHALLOW_END, N_TIMES), derive(run.seed, "shallow"), n_nets=1
        )
        maps, direct = deep.map(), shallow.map()[0]
        rates = np.array([[rate(one, noise) for one in net] for net in maps])
        start = [effective_init(matrix, *(layer[k, 0] for layer in deep.weights))
                 for k in range(self.n_nets)]  # fmt: skip
        at = np.linspace(0, N_TIMES - 1, N_CHAIN_TIMES + 1).round().astype(int)[1:]
        chains = [by_chains(maps[0, i], noise, self.n_chains, derive(run.seed, "chains", int(i)))
                  for i in run.track(at, "chains")]  # fmt: skip
        return xr.Dataset(
            {
                "rate": (("net", "time"), rates, RATE),
                "plane_rate": (("net", "plane", "time"), in_planes(maps, noise, basis), RATE),
                "start": (("net", "mode"), np.array(start), ONE),
                "strength": (("net", "mode", "time"), deep_strengths(maps, matrix), ONE),
                "shallow_plane_rate": (("plane", "shallow_time"),
                                       in_planes(direct[None], noise, basis)[0], RATE),
                "chain_rate": ("chain_time", [one.rate for one in chains], RATE),
                "chain_se": ("chain_time", [one.se for one in chains], RATE),
                "chain_exact": ("chain_time", rates[0, at], RATE),
            },
            coords={"time": ("time", deep.t, TIME), "shallow_time": ("shallow_time", shallow.t,
                    TIME), "chain_time": ("chain_time", deep.t[at], TIME)},
        )  # fmt: skip

    def _train(
        self, seen: ModeDynamics, times: np.ndarray, seed: int, n_nets: int = 0
    ) -> Simulation:
        steps = np.unique((times / self.learning_rate).round().astype(int))
        return seen.simulate(
            self.learning_rate, int(steps[-1]), seeds=n_nets or self.n_nets, init="gaussian",
            n_hidden=self.n_hidden if seen.depth > 1 else None, init_std=self.init_std,
            seed=seed, record_at=steps.tolist(), progress=lambda *_: None,
        )  # fmt: skip

    # --- theory ----------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Entropy production along learning; from the networks' starts, or from their mean."""
        import xarray as xr

        _, noise, basis = self.process()
        times = self.times() if measured is None else measured.time.values
        starts = self.expected_start()[None] if measured is None else measured.start.values
        maps = np.stack([self.dynamics(start).map(times) for start in starts])
        planes = in_planes(maps, noise, basis)
        short = np.linspace(0, SHALLOW_END, N_TIMES)
        direct = (1 - np.exp(-short))[:, None, None] * self.process()[0]
        modes = self.dynamics(self.expected_start())
        pairs = list(zip(self.first, self.second, self.angle, strict=True))
        return xr.Dataset(
            {
                "rate": (("net", "time"), planes.sum(1), RATE),
                "plane_rate": (("net", "plane", "time"), planes, RATE),
                "shallow_plane_rate": (("plane", "shallow_time"),
                                       in_planes(direct[None], noise, basis)[0], RATE),
                "first_mode": ("plane", [one_mode(*pair) for pair in pairs], RATE),
                "both_modes": ("plane", [two_modes(*pair) for pair in pairs], RATE),
                "s": ("mode", modes.s, ONE),
                "half_rise": ("mode", modes.half_rise(), TIME),
            },
            coords={"time": ("time", times, TIME), "shallow_time": ("shallow_time", short, TIME)},
        )  # fmt: skip

    # --- what it says ----------------------------------------------------------------------------

    def _turning(self) -> list[int]:
        return [k for k, angle in enumerate(self.angle) if two_modes(1e-1, 1e-2, angle) > 1e-12]

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        z = (measured.chain_rate - measured.chain_exact) / measured.chain_se
        yield Check("chains of a learned operator against its closed form: largest gap over the "
                    "standard error", float(abs(z).max()), 4.0, kind="at_most",
                    source="exact: linear operator with Gaussian noise")  # fmt: skip
        if self.is_smoke:
            return
        final = float(theory.both_modes.sum())
        gap = float(abs(measured.rate - theory.rate.values).max()) / max(final, 1e-12)
        yield Check(
            "entropy production along learning: largest gap to the theory, all networks and times, "
            "over its final value", gap, 0.05, kind="at_most", source=MODES,
        )  # fmt: skip
        for k in self._turning():
            for stage, goal in (("first", first_goal(theory, k)), ("second", last_goal(theory, k))):
                ours = half_times(measured.time.values, measured.plane_rate[:, k].values, goal)
                told = half_times(measured.time.values, theory.plane_rate[:, k].values, goal)
                yield Check(
                    f"plane {k + 1}: time of its {stage} stage, largest relative gap",
                    float(np.max(np.abs(ours / told - 1))), 0.05, kind="at_most", source=MODES,
                )  # fmt: skip
        for k, angle in enumerate(self.angle):
            if k not in self._turning():
                last = float(abs(measured.plane_rate[:, k, -1]).max())
                yield Check(
                    f"plane {k + 1}, turned by {angle:g}: entropy production after learning, over "
                    "the whole", last / max(final, 1e-12), 0.01, kind="at_most", source=CLOSED,
                )  # fmt: skip
        lost = float(abs(measured.shallow_plane_rate - theory.shallow_plane_rate.values).max())
        yield Check(
            "no hidden layer: largest gap of a plane to the theory, over the final value",
            lost / max(final, 1e-12), 0.05, kind="at_most",
            source="exact: every mode rises as 1 - exp(-t)",
        )  # fmt: skip
        slow, fast = self._slow_fast()
        if slow != fast:
            name = f"second stage of plane {slow + 1} over that of plane {fast + 1}"
            late = ratio(measured.time.values, measured.plane_rate.mean("net"), theory, slow, fast)
            said = ratio(theory.time.values, theory.plane_rate.mean("net"), theory, slow, fast)
            yield Check(f"one hidden layer: {name}", late, said, rtol=0.05, source=MODES)
            at = measured.shallow_time.values
            together = ratio(at, measured.shallow_plane_rate, theory, slow, fast)
            yield Check(f"no hidden layer: {name}, no later", together, 1.1, kind="at_most",
                        source="exact: every mode rises as 1 - exp(-t)")  # fmt: skip

    def _slow_fast(self) -> tuple[int, int]:
        turning = self._turning() or [0]
        order = sorted(turning, key=lambda k: self.second[k])
        return order[0], order[-1]

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        final = float(theory.both_modes.sum())
        gap = float(abs(measured.rate - theory.rate.values).max()) / max(final, 1e-12)
        yield (
            f"The process produces {final:.3f} nats per step. A deep linear network that learns to "
            "predict it gets this in stages, each when a singular mode of the map is learned; the "
            f"theory of the modes says the whole course within {100 * gap:.1f} % of the end."
        )
        for k in self._turning():
            share = float(theory.first_mode[k] / theory.both_modes[k])
            yield (
                f"Plane {k + 1}: after its first mode the network predicts, and has "
                f"{100 * share:.0f} % of the plane's entropy production; the rest comes with the "
                "second."
            )
        rows = [
            (
                k + 1, self.first[k], self.second[k], self.angle[k],
                f"{float(theory.first_mode[k]):.3f}", f"{float(theory.both_modes[k]):.3f}",
                f"{float(measured.plane_rate[:, k, -1].mean()):.3f}",
            )
            for k in range(len(self.first))
        ]  # fmt: skip
        yield Table(
            "Entropy production of the planes, nats per step",
            ("plane", "first mode", "second mode", "angle", "after the first mode", "after both",
             "networks, at the end"),
            tuple(rows),
        )  # fmt: skip

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, (left, right) = plot.new(1, 2, size=(9.2, 3.6))
        one = theory.isel(net=0)
        plot.theory(left, one.time, one.rate, label="theory")
        plot.measurement(
            left, measured.chain_time, measured.chain_rate, error=measured.chain_se,
            label="chains of the network's operator",
        )  # fmt: skip
        every = max(1, len(measured.time) // 30)
        for k in range(len(self.first)):
            color = f"C{k + 1}"
            plot.theory(left, one.time, one.plane_rate[k], label="", color=color, lw=1.2)
            plot.measurement(
                left, measured.time[::every], measured.plane_rate[0, k, ::every], color=color,
                label=f"plane {k + 1}, angle {self.angle[k]:g}", ms=3,
            )  # fmt: skip
        for at in theory.half_rise.values:
            left.axvline(at, color="0.85", lw=0.8, zorder=0)
        left.set(xlabel="time, steps x learning rate", ylabel="entropy production, nats/step",
                 title="one hidden layer")  # fmt: skip
        left.set_ylim(top=1.35 * max(float(theory.both_modes.sum()), 1e-3))
        left.legend(fontsize=7, loc="upper left")
        for k in range(len(self.first)):
            color = f"C{k + 1}"
            plot.theory(right, theory.shallow_time, theory.shallow_plane_rate[k], label="",
                        color=color)  # fmt: skip
            plot.measurement(
                right, measured.shallow_time[::4], measured.shallow_plane_rate[k, ::4],
                color=color, label="", ms=3,
            )  # fmt: skip
        right.set(xlabel="time, steps x learning rate", ylabel="entropy production, nats/step",
                  title="no hidden layer")  # fmt: skip
        figure.set_label(
            "Entropy production of a linear operator while a network learns its map. Lines: theory "
            "of the network's singular modes; markers: a trained network, and chains of its "
            "operator with standard errors (left); grey: times at which modes are half learned. "
            "Without a hidden layer (right) there are no stages."
        )
        return {"arrow": figure}

    def cost(self, run: Run) -> Cost:
        n = 2 * len(self.first)
        steps = float(self.times()[-1]) / self.learning_rate
        work = 12.0 * steps * self.n_nets * self.n_hidden * n**2
        work += (
            40.0 * N_CHAIN_TIMES * CHAIN_STEPS * self.n_chains * n**2 + 4.0 * self.n_moves * n**2
        )
        matrices = 2.0 * self.n_nets * N_TIMES * (1 + len(self.first))
        seconds = 2 + 2e-4 * steps + 4e-4 * matrices + 3e-6 * self.n_moves + work / 2e9
        return Cost(work + matrices * 100 * n**3, 8.0 * (self.n_moves * n * 3), seconds)


# --- closed forms --------------------------------------------------------------------------------


def two_modes(a: float, b: float, angle: float) -> float:
    r"""Return :math:`\sin^2\theta (a + b) [a / (1 - a^2) + b / (1 - b^2)]`, nats per step.

    The entropy production of a map that turns a plane by theta and scales it by a and b, with the
    noise that keeps the states white; 4 a^2 sin^2(theta) / (1 - a^2) where a = b.
    """
    return float(np.sin(angle) ** 2 * (a + b) * (a / (1 - a**2) + b / (1 - b**2)))


def one_mode(a: float, b: float, angle: float) -> float:
    r"""Return :math:`a^2 \sin^2\theta (1 - b^2) / (1 - a^2)`: the same while b is not learned."""
    return float(a**2 * np.sin(angle) ** 2 * (1 - b**2) / (1 - a**2))


# --- parts of the measurement --------------------------------------------------------------------


def walk(matrix: np.ndarray, noise: np.ndarray, n_moves: int, seed: int) -> np.ndarray:
    """Return a chain of the process from a stationary state, shape (n_moves + 1, n)."""
    random = np.random.default_rng(seed)
    n = len(matrix)
    kicks = random.normal(size=(n_moves, n)) @ np.linalg.cholesky(noise).T
    states = np.empty((n_moves + 1, n))
    states[0] = random.normal(size=n)
    for i in range(n_moves):
        states[i + 1] = matrix @ states[i] + kicks[i]
    return states


def rate(matrix: np.ndarray, noise: np.ndarray) -> float:
    """Return the entropy production of an operator, nats per step."""
    from tractable.walkback import linear_entropy_production

    return linear_entropy_production(matrix, noise)


def in_planes(maps: np.ndarray, noise: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the entropy production within each plane, shape (nets, planes, times)."""
    within = basis.T @ maps @ basis
    around = basis.T @ noise @ basis
    parts = [slice(2 * k, 2 * k + 2) for k in range(len(basis) // 2)]
    return np.stack([plane_rates(within[..., one, one], around[one, one]) for one in parts], 1)


def plane_rates(maps: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return what `rate` does of each of many operators in a plane, shape (...)."""
    if np.abs(np.linalg.eigvals(maps)).max() >= 1:
        return np.vectorize(lambda one: rate(one, noise), signature="(n,n)->()")(maps)  # refuses
    # (W13): (1 - A x A) vec(Sigma) = vec(D), in four numbers
    twice = np.einsum("...ij,...kl->...ikjl", maps, maps).reshape(*maps.shape[:-2], 4, 4)
    cov = np.linalg.solve(np.eye(4) - twice, noise.reshape(4, 1)).reshape(maps.shape)
    inner = np.linalg.solve(noise, (np.eye(2) - maps @ maps) @ cov)
    return np.asarray(inner.trace(axis1=-2, axis2=-1) - 2)


def deep_strengths(maps: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the networks' strength in each singular mode of the process, (nets, modes, times)."""
    u, _, vt = np.linalg.svd(matrix)
    return np.einsum("ia,ntij,aj->nat", u, maps, vt)


def by_chains(matrix: np.ndarray, noise: np.ndarray, n_chains: int, seed: int) -> Any:
    """Measure the entropy production of an operator by chains from its stationary law."""
    import torch

    from tractable.core.seeds import generator
    from tractable.walkback import LinearGaussianOperator, entropy_production

    operator = LinearGaussianOperator(matrix, D=noise)
    random = generator(seed)
    _, cov = operator.stationary()
    white = torch.randn(n_chains, len(matrix), generator=random, dtype=torch.float64)
    start = white @ torch.from_numpy(np.linalg.cholesky(cov)).T
    return entropy_production(
        operator, start=start, burn_in=0, num_steps=CHAIN_STEPS, num_chains=n_chains,
        method="density", generator=random,
    )  # fmt: skip


def first_goal(theory: xr.Dataset, k: int) -> float:
    """Return half of what a plane has after its first mode: the middle of its first stage."""
    return float(theory.first_mode[k]) / 2


def last_goal(theory: xr.Dataset, k: int) -> float:
    """Return the middle between that and what it has after both: of its second stage."""
    return float(theory.first_mode[k] + theory.both_modes[k]) / 2


def half_times(times: np.ndarray, rates: np.ndarray, goal: float) -> np.ndarray:
    """Return the first time at which each row reaches the goal; NaN for never."""
    from tractable.linear.mode_readers import first_passage

    found = np.array([first_passage(times, row, goal) for row in np.atleast_2d(rates)])
    return np.where(np.isfinite(found), found, np.nan)


def ratio(
    times: np.ndarray, rates: xr.DataArray, theory: xr.Dataset, slow: int, fast: int
) -> float:
    """Return how much later one plane has its second stage than another."""
    at = [half_times(times, rates[k].values, last_goal(theory, k))[0] for k in (slow, fast)]
    return float(at[0] / at[1]) if at[1] > 0 else float("nan")
