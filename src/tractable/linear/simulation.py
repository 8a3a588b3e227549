"""Deep linear networks trained by full-batch gradient descent: many seeds in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tractable.core.checks import TractableWarning, check_range, check_shape
from tractable.core.progress import track
from tractable.linear.agreement import Agreement, agreement
from tractable.linear.arrays import as_float64
from tractable.linear.flow import check_times
from tractable.linear.inputs import check_count, check_device, check_size
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.mode_readers import first_passage
from tractable.linear.names import pick
from tractable.linear.weights import balance_error, draw_weights, product

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["Simulation", "simulate"]

MOST_BYTES = 1 << 30  # of recorded weights
LARGE_RATE = 0.2  # lr times the curvature: beyond, gradient descent is no flow


@dataclass(frozen=True, eq=False)
class Simulation:
    """Trained networks in time, with the same readers as `ModeDynamics`; made by `simulate`.

    Every reader takes times, or nothing for the recorded ones; between records it interpolates
    linearly. The first axis of what it returns is the seed.

    Parameters
    ----------
    t : ndarray, shape (T,)
        Recorded times: steps * lr * tau.
    weights : tuple of ndarray, shapes (S, T, rows, columns)
        Recorded layers, first one first.
    dynamics : ModeDynamics
        The task.
    lr : float
        Learning rate.
    init : str
        ``aligned``, ``orthogonal``, ``gaussian`` or ``given``.
    balance_error : float
        Relative deviation of the first seed's start from balance (L2).
    interrupted : bool
        True where Ctrl-C ended it; the records until then are here.
    """

    t: np.ndarray
    weights: tuple[np.ndarray, ...]
    dynamics: ModeDynamics
    lr: float
    init: str
    balance_error: float
    interrupted: bool

    def map(self, t: Numbers | None = None) -> np.ndarray:
        """Return the networks' maps, shape (S, T, n_out, n_in)."""
        return self._at(product(self.weights), t)

    def strengths(self, t: Numbers | None = None) -> np.ndarray:
        """Return u_a^T W(t) v_a, shape (S, K, T)."""
        U, V = self.dynamics.U, self.dynamics.V
        right = self.weights[0] @ V
        for W in self.weights[1:-1]:
            right = W @ right
        if len(self.weights) == 1:
            found = np.einsum("fa,stfa->sta", U, right)
        else:
            found = np.einsum("stah,stha->sta", U.T @ self.weights[-1], right)
        return self._at(found, t).transpose(0, 2, 1)

    def half_rise(self) -> np.ndarray:
        """Return the times at half the final strength, shape (S, K); infinite for never."""
        return self.time_to(0.5)

    def width(self) -> np.ndarray:
        """Return the times from 10 % to 90 %, shape (S, K); NaN-free: infinite for never."""
        late, early = self.time_to(0.9), self.time_to(0.1)
        never = np.isinf(late)
        return np.where(never, np.inf, late - np.where(never, 0.0, early))

    def time_to(self, frac: float) -> np.ndarray:
        """Return the times at a fraction of the final strength, shape (S, K)."""
        check_range("frac", frac, 0, 1, open_low=True, open_high=True)
        goals = frac * self.dynamics.final_strength()
        return np.array(
            [
                [first_passage(self.t, path, goal) for path, goal in zip(paths, goals, strict=True)]
                for paths in self.strengths()
            ]
        )

    def beliefs(
        self,
        t: Numbers | None = None,
        features: Sequence[int | str] | None = None,
        items: Sequence[int | str] | None = None,
    ) -> np.ndarray:
        """Return how strongly each feature is predicted for each item, shape (S, T, F, I)."""
        task = self.dynamics
        rows = pick("features", features, task.features, len(task.U))
        n = len(task.V) if task.inputs is None else len(task.inputs)
        columns = pick("items", items, task.items, n)
        if task.inputs is None:
            seen = task.belief_scale * np.eye(len(task.V))[:, columns]
        else:
            seen = task.inputs[columns].astype(float).T
        if task.whitening is not None:
            seen = task.whitening @ seen
        return self.map(t)[:, :, rows] @ seen

    def train_error(self, t: Numbers | None = None) -> np.ndarray:
        """Return the error that can be learned away, 1 for the zero map, shape (S, T)."""
        gap = product(self.weights) - self.dynamics._least_squares()
        error = np.einsum("stfi,ij,stfj->st", gap, self.dynamics.cov_x, gap, optimize=True)
        return self._at(error / self.dynamics._explained(), t)

    def hidden_similarity(self, t: Numbers | None = None) -> np.ndarray:
        """Return W1^T W1, shape (S, T, n_in, n_in)."""
        first = self.weights[0]
        return self._at(first.transpose(0, 1, 3, 2) @ first, t)

    def output_similarity(self, t: Numbers | None = None) -> np.ndarray:
        """Return W_L W_L^T, shape (S, T, n_out, n_out)."""
        last = self.weights[-1]
        return self._at(last @ last.transpose(0, 1, 3, 2), t)

    def behavioral_similarity(self, t: Numbers | None = None) -> np.ndarray:
        """Return W^T W of the whole map, shape (S, T, n_in, n_in)."""
        whole = product(self.weights)
        return self._at(whole.transpose(0, 1, 3, 2) @ whole, t)

    def compare(self, theory: ModeDynamics) -> Agreement:
        """Return how well a theory describes these networks; see `Agreement`."""
        return agreement(self, theory)

    def to_dataset(self) -> xr.Dataset:
        """Return what was recorded: strengths and errors by seed, mode and time."""
        import xarray as xr

        return xr.Dataset(
            {
                "strength": (("seed", "mode", "time"), self.strengths(), {"units": "1"}),
                "train_error": (("seed", "time"), self.train_error(), {"units": "1"}),
                **{
                    f"weight_{i}": (
                        ("seed", "time", f"row_{i}", f"column_{i}"),
                        W,
                        {"units": "1"},
                    )
                    for i, W in enumerate(self.weights)
                },
            },
            coords={"time": self.t},
            attrs={
                "lr": self.lr,
                "init": self.init,
                "balance_error": self.balance_error,
                "interrupted": int(self.interrupted),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset, dynamics: ModeDynamics) -> Self:
        """Return the simulation that `to_dataset` wrote, for the task it was made of."""
        names = sorted(str(name) for name in dataset if str(name).startswith("weight_"))
        return cls(
            dataset.time.values,
            tuple(dataset[name].values for name in names),
            dynamics,
            float(dataset.attrs["lr"]),
            str(dataset.attrs["init"]),
            float(dataset.attrs["balance_error"]),
            bool(dataset.attrs["interrupted"]),
        )

    def _at(self, recorded: np.ndarray, t: Numbers | None) -> np.ndarray:
        """Interpolate along the second axis."""
        if t is None:
            return recorded
        times = check_times(t)
        if times.size and times[-1] > self.t[-1] * (1 + 1e-12):
            raise ValueError(f"t must be <= {self.t[-1]:g}, the last record, got {times[-1]:g}")
        right = np.clip(np.searchsorted(self.t, times), 1, max(1, len(self.t) - 1))
        left = right - 1
        right = np.minimum(right, len(self.t) - 1)
        gap = self.t[right] - self.t[left]
        share = np.where(gap > 0, (times - self.t[left]) / np.where(gap > 0, gap, 1.0), 0.0)
        share = share.reshape(1, -1, *[1] * (recorded.ndim - 2))
        return (1 - share) * recorded[:, left] + share * recorded[:, right]


def simulate(
    dynamics: ModeDynamics,
    lr: float,
    steps: int,
    *,
    seeds: int = 8,
    init: str | Sequence[Numbers] = "aligned",
    n_hidden: int | None = None,
    init_std: float | None = None,
    seed: int = 0,
    record_at: Iterable[int] | None = None,
    device: str | None = None,
    dtype: str = "float64",
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Simulation:
    r"""Train ``seeds`` networks together by gradient descent on the task's correlations.

    .. math:: W_l \leftarrow W_l + \eta\,(W_L \cdots W_{l+1})^\top
        (\Sigma_{yx} - W \Sigma_x)\,(W_{l-1} \cdots W_1)^\top

    Parameters
    ----------
    dynamics : ModeDynamics
        The task: correlations, depth, initial strengths.
    lr : float
        Learning rate, > 0; a step advances the time by ``lr * tau``.
    steps : int
        Updates, >= 0.
    seeds : int
        Networks, >= 1, trained in one pass.
    init : {"aligned", "orthogonal", "gaussian"} or sequence of arrays
        The start; see `draw_weights`. Arrays are the layers themselves, the same for all seeds.
    n_hidden : int, optional
        Width of each hidden layer, >= 1; by default min(n_in, n_out).
    init_std : float, optional
        Standard deviation of a Gaussian start.
    seed : int
        Decides the starts.
    record_at : iterable of int, optional
        Steps to record; by default 200, half of them log-spaced.
    device : str, optional
        Of torch: ``cpu`` by default, ``cuda``, ``auto``.
    dtype : {"float64", "float32"}
        Precision.
    progress : callable, optional
        ``progress(done, steps, {"train_error": ...})``, about once a second; by default a bar on
        a terminal.

    Returns
    -------
    Simulation
        What was recorded. Ctrl-C returns what is done, with ``interrupted=True``.

    Raises
    ------
    ValueError
        Arguments out of range; the weights grew without bound.

    Warns
    -----
    TractableWarning
        lr times the curvature exceeds 0.2: gradient descent is then no flow.

    Notes
    -----
    The examples enter through the correlations only, so a step costs the same for any number of
    them: three products of n_out x n_hidden x n_in with one hidden layer.
    """
    import torch

    check_size("lr", lr)
    check_count("steps", steps, 0)
    check_count("seeds", seeds)
    _warn_of_large_steps(dynamics, lr)
    starts, kind = _starts(dynamics, init, n_hidden, init_std, seeds, seed)
    target = check_device("device", device)
    real = {"float64": torch.float64, "float32": torch.float32}.get(dtype)
    if real is None:
        raise ValueError(f"dtype must be 'float64' or 'float32', got {dtype!r}")
    wanted = _record_steps(steps) if record_at is None else {int(k) for k in record_at} | {steps}
    if wanted and (min(wanted) < 0 or max(wanted) > steps):
        raise ValueError(f"record_at must be within 0 .. steps={steps}")
    size = sum(W.size for W in starts) * 8 * len(wanted)
    if size > MOST_BYTES:
        raise ValueError(
            f"record_at asks for {len(wanted)} records, {size / 1e9:.1f} GB of weights; record "
            f"less often (1 GB is allowed: {MOST_BYTES * len(wanted) // size} records)"
        )
    descend = _Descent(dynamics, starts, lr, real, target)
    records: list[list[np.ndarray]] = []
    done: list[int] = []
    interrupted, heard = False, time.monotonic()
    show = progress is None
    try:
        for step in track(range(steps + 1), "training", total=steps + 1, show=show):
            if step in wanted:
                records.append(descend.weights())
                done.append(step)
            if step < steps:
                descend.step()
            if progress is not None and (time.monotonic() - heard > 1.0 or step == steps):
                heard = time.monotonic()
                progress(step, steps, {"train_error": descend.error()})
    except KeyboardInterrupt:
        interrupted = True
        if not done:
            raise
    layers = tuple(np.stack(layer, axis=1) for layer in zip(*records, strict=True))
    if not all(np.isfinite(layer).all() for layer in layers):
        raise ValueError(
            f"lr={lr:g} is too large: the weights grew without bound; the largest stable one is "
            f"{dynamics.max_stable_lr():.3g}"
        )
    times = lr * dynamics.tau * np.array(done, dtype=float)
    return Simulation(
        times, layers, dynamics, lr, kind, balance_error([W[0] for W in starts]), interrupted
    )


class _Descent:
    """Gradient descent of a batch of networks, without autograd: only the products it needs."""

    def __init__(
        self,
        dynamics: ModeDynamics,
        starts: Sequence[np.ndarray],
        lr: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        import torch

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=dtype, device=device).contiguous()

        n_in = dynamics.cov_x.shape[0]
        scale = float(np.trace(dynamics.cov_x)) / n_in
        self.white = bool(np.abs(dynamics.cov_x - scale * np.eye(n_in)).max() <= 1e-14 * scale)
        self.scale, self.lr = scale, lr
        self.cov_x = put(dynamics.cov_x)
        self.cov_yx = put(dynamics.cov_yx)
        self.layers = [put(W) for W in starts]
        seeds = len(starts[0])
        self.target = self.cov_yx.expand(seeds, -1, -1)
        self.gap = torch.empty(seeds, *self.cov_yx.shape, dtype=dtype, device=device)
        self.spare = torch.empty_like(self.layers[-1])

    def weights(self) -> list[np.ndarray]:
        return [W.to(device="cpu", dtype=_float64()).numpy().copy() for W in self.layers]

    def error(self) -> float:
        import torch

        whole = self.layers[0]
        for W in self.layers[1:]:
            whole = torch.bmm(W, whole)
        gap = self.cov_yx - (self.scale * whole if self.white else whole @ self.cov_x)
        return float(gap.square().sum((1, 2)).mean() / self.cov_yx.square().sum().clamp_min(1e-300))

    def step(self) -> None:
        if len(self.layers) == 2 and self.white:
            self._two_layers()
        else:
            self._any_depth()

    def _two_layers(self) -> None:
        """One hidden layer and white inputs: three products, in place."""
        import torch

        first, second = self.layers
        torch.baddbmm(self.target, second, first, alpha=-self.scale, out=self.gap)
        torch.baddbmm(second, self.gap, first.mT, alpha=self.lr, out=self.spare)
        first.baddbmm_(second.mT, self.gap, alpha=self.lr)
        self.layers[1], self.spare = self.spare, second

    def _any_depth(self) -> None:
        import torch

        before = [self.layers[0]]
        for W in self.layers[1:]:
            before.append(torch.bmm(W, before[-1]))
        if self.white:
            error = torch.add(self.target, before[-1], alpha=-self.scale)
        else:
            error = self.target - before[-1] @ self.cov_x
        for layer in range(len(self.layers) - 1, -1, -1):
            W = self.layers[layer]
            back = torch.bmm(W.mT, error) if layer else error
            if layer:
                self.layers[layer] = torch.baddbmm(W, error, before[layer - 1].mT, alpha=self.lr)
            else:
                self.layers[0] = torch.add(W, error, alpha=self.lr)
            error = back


def _float64() -> torch.dtype:
    import torch

    return torch.float64


def _starts(
    dynamics: ModeDynamics,
    init: str | Sequence[Any],
    n_hidden: int | None,
    init_std: float | None,
    seeds: int,
    seed: int,
) -> tuple[list[np.ndarray], str]:
    """Return the starts of all seeds, and what they are called."""
    if isinstance(init, str):
        if init == "aligned" and dynamics.depth > 1 and (dynamics.init_strength < 0).any():
            raise ValueError("init 'aligned' needs init_strength >= 0 in every mode")
        width = min(len(dynamics.U), len(dynamics.V)) if n_hidden is None else n_hidden
        drawn = draw_weights(
            dynamics.U,
            dynamics.V,
            dynamics.init_strength,
            depth=dynamics.depth,
            n_hidden=width,
            n_seeds=seeds,
            init=init,
            init_std=init_std,
            seed=seed,
        )
        return drawn, init
    given = [as_float64(f"init[{i}]", W) for i, W in enumerate(init)]
    if len(given) != dynamics.depth:
        raise ValueError(f"init must hold {dynamics.depth} layers, got {len(given)}")
    n_in: int | str = len(dynamics.V)
    for i, W in enumerate(given):
        rows = len(dynamics.U) if i == len(given) - 1 else "units"
        check_shape(f"init[{i}]", W.shape, (rows, n_in))
        n_in = W.shape[0]
    return [np.repeat(W[None], seeds, 0) for W in given], "given"


def _warn_of_large_steps(dynamics: ModeDynamics, lr: float) -> None:
    import warnings

    stable = dynamics.max_stable_lr()
    if 2 * lr / stable > LARGE_RATE:
        warnings.warn(
            f"lr={lr:g} is {lr / stable:.2g} of the largest stable one ({stable:.3g}): gradient "
            f"descent is not close to the flow; lr <= {LARGE_RATE * stable / 2:.2g} is",
            TractableWarning,
            stacklevel=4,
        )


def _record_steps(steps: int) -> set[int]:
    """Return about 200 steps, half evenly and half logarithmically spaced."""
    even = np.linspace(0, steps, 101)
    log = np.geomspace(1, max(steps, 1), 100)
    return {round(k) for k in np.concatenate([even, log]) if round(k) <= steps}
