"""What trained deep linear networks did: the readers of the theory, for networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tractable.core.checks import check_range
from tractable.linear.agreement import Agreement, agreement
from tractable.linear.flow import check_times
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.mode_readers import first_passage, rise_width
from tractable.linear.names import pick
from tractable.linear.weights import product

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["Simulation"]


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
        Recorded layers, first one first; of a module that is no stack of linear layers its map
        alone.
    dynamics : ModeDynamics
        The task.
    lr : float
        Learning rate.
    init : str
        ``aligned``, ``orthogonal``, ``gaussian``, ``given`` or ``module``.
    balance_error : float
        Relative deviation of the first seed's start from balance (L2).
    interrupted : bool
        True where Ctrl-C ended it; the records until then are here.
    batch_size : int
        Examples of each step; 0 for all of them.
    """

    t: np.ndarray
    weights: tuple[np.ndarray, ...]
    dynamics: ModeDynamics
    lr: float
    init: str
    balance_error: float
    interrupted: bool
    batch_size: int = 0

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
        return rise_width(self.time_to(0.1), self.time_to(0.9))

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
        self._need_layers()
        first = self.weights[0]
        return self._at(first.transpose(0, 1, 3, 2) @ first, t)

    def output_similarity(self, t: Numbers | None = None) -> np.ndarray:
        """Return W_L W_L^T, shape (S, T, n_out, n_out)."""
        self._need_layers()
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
                "batch_size": self.batch_size,
            },
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset, dynamics: ModeDynamics) -> Self:
        """Return the simulation that `to_dataset` wrote, for the task it was made of."""
        n_layers = sum(str(name).startswith("weight_") for name in dataset)
        return cls(
            dataset.time.values,
            tuple(dataset[f"weight_{i}"].values for i in range(n_layers)),
            dynamics,
            float(dataset.attrs["lr"]),
            str(dataset.attrs["init"]),
            float(dataset.attrs["balance_error"]),
            bool(dataset.attrs["interrupted"]),
            int(dataset.attrs["batch_size"]),
        )

    def _need_layers(self) -> None:
        if len(self.weights) < self.dynamics.depth:
            raise ValueError(
                "the module is no stack of nn.Linear, so its layers were not recorded; its map, "
                "beliefs, strengths and errors were"
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
