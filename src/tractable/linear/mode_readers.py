"""What the dynamics of a task say at any time: strengths, times, beliefs, errors, similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tractable.core.checks import check_range, check_shape
from tractable.linear.arrays import as_float64
from tractable.linear.correlations import inverse_root
from tractable.linear.flow import balanced_flow, check_times, integrate_flow
from tractable.linear.names import pick
from tractable.linear.records import from_dataset, to_dataset
from tractable.linear.strengths import deep_strength, learning_time
from tractable.linear.weights import product

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["ModeReaders", "first_passage", "rise_width"]


class ModeReaders:
    """The readers of `ModeDynamics`, whose fields are described there."""

    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    lam: np.ndarray
    init_strength: np.ndarray
    depth: int
    tau: float
    method: str
    cov_x: np.ndarray
    cov_yx: np.ndarray
    sum_y2: float | None
    belief_scale: float
    inputs: np.ndarray | None
    items: tuple[str, ...]
    features: tuple[str, ...]
    weights: tuple[np.ndarray, ...]
    whitening: np.ndarray | None
    X_mean: np.ndarray | None
    Y_mean: np.ndarray | None

    # --- strengths and times -----------------------------------------------------------------

    def strengths(self, t: Numbers) -> np.ndarray:
        r"""Return the strength of each mode, u_a^T W(t) v_a, shape (K, T) (L3), (L8)."""
        times = check_times(t)
        if self.method == "aligned":
            columns = (self.s[:, None], times, self.init_strength[:, None])
            result: np.ndarray = deep_strength(*columns, self.depth, self.lam[:, None], self.tau)
            return result
        return np.einsum("fa,tfi,ia->at", self.U, self._weights_at(times)[2], self.V)

    def final_strength(self) -> np.ndarray:
        """Return the strength of each mode after learning, shape (K,): s / lam, 0 where s is 0."""
        if self.method == "aligned":
            return np.where(self.s > 0, self.s / np.where(self.lam > 0, self.lam, 1.0), 0.0)
        final = np.einsum("fa,fi,ia->a", self.U, self._least_squares(), self.V)
        return np.where(self.s > 0, final, 0.0)

    def half_rise(self) -> np.ndarray:
        """Return the time at which each mode has half its final strength, shape (K,)."""
        return self.time_to(0.5)

    def width(self) -> np.ndarray:
        """Return the time that each mode takes from 10 % to 90 %, shape (K,) (L4).

        Infinite for never.
        """
        return rise_width(self.time_to(0.1), self.time_to(0.9))

    def time_to(self, frac: float) -> np.ndarray:
        """Return the time to a fraction of the final strength, shape (K,); infinite for never.

        Parameters
        ----------
        frac : float
            Within (0, 1).
        """
        check_range("frac", frac, 0, 1, open_low=True, open_high=True)
        if self.method == "aligned":
            start = self.init_strength
            result: np.ndarray = learning_time(self.s, frac, start, self.depth, self.lam, self.tau)
            return result
        goal = frac * self.final_strength()
        times = self._grid()
        path = self.strengths(times)
        return np.array([first_passage(times, a, g) for a, g in zip(path, goal, strict=True)])

    def max_stable_lr(self) -> float:
        """Return the largest learning rate at which gradient descent stays at the solution (L12).

        In the unit of tau: steps with ``lr`` advance the time by ``lr * tau``. All directions of
        the inputs count, also those without a task. The solution is the one with balanced layers,
        which small weights come to; unbalanced layers of a model of your own are steeper.
        """
        if self.method == "aligned":
            a, V = self.final_strength(), self.V
        else:
            _, a, Vt = np.linalg.svd(self._least_squares(), full_matrices=False)
            V = Vt.T
        top, power = float(a.max(initial=0.0)), 2 / self.depth
        # M = sum_l a_1^(2(L-l)/L) (W^T W)^((l-1)/L) is `rest` off the modes, `rest + more` in them
        rest = top ** (2 - power)
        more = sum(top ** (2 - power * (l + 1)) * a ** (power * l) for l in range(1, self.depth))
        root = V * (np.sqrt(rest + more) - np.sqrt(rest)) @ V.T
        root[np.diag_indices_from(root)] += np.sqrt(rest)
        edge = float(np.linalg.eigvalsh(root @ self.cov_x @ root)[-1])
        return 2 / edge if edge > 0 else np.inf

    # --- the network's map -------------------------------------------------------------------

    def map(self, t: Numbers) -> np.ndarray:
        """Return the network's input-output map, shape (T, n_out, n_in)."""
        times = check_times(t)
        if self.method == "aligned":
            return np.einsum("fa,at,ia->tfi", self.U, self.strengths(times), self.V)
        return self._weights_at(times)[2]

    def predict(self, X: Numbers, t: Numbers) -> np.ndarray:
        """Return the outputs for inputs of shape (P, n_in), shape (T, P, n_out).

        In the units of the data: with ``center=True`` the means of the examples are taken off the
        inputs and added to the outputs.
        """
        rows = as_float64("X", X)
        check_shape("X", rows.shape, ("n_samples", len(self.V)))
        if self.X_mean is not None:
            rows = rows - self.X_mean
        if self.whitening is not None:
            rows = rows @ self.whitening
        outputs = rows @ self.map(t).transpose(0, 2, 1)
        return outputs if self.Y_mean is None else outputs + self.Y_mean

    def beliefs(
        self,
        t: Numbers,
        features: Sequence[int | str] | None = None,
        items: Sequence[int | str] | None = None,
    ) -> np.ndarray:
        """Return how strongly each feature is predicted for each item, shape (T, F, I) (L19).

        With ``center=True`` beliefs are differences from the mean of the targets.

        Parameters
        ----------
        t : array, shape (T,)
            Times.
        features, items : sequence of int or str, optional
            Which, by number or name; all if left out. Items are the training examples, or the
            input directions of `from_correlations`.
        """
        rows = pick("features", features, self.features, len(self.U))
        if self.inputs is None:
            columns = pick("items", items, self.items, len(self.V))
            presented = self.belief_scale * np.eye(len(self.V))[:, columns]
        else:
            columns = pick("items", items, self.items, len(self.inputs))
            presented = self.inputs[columns].astype(float).T
        if self.whitening is not None:
            presented = self.whitening @ presented
        if self.method == "aligned":
            seen = self.V.T @ presented
            return np.einsum("fa,at,ai->tfi", self.U[rows], self.strengths(t), seen, optimize=True)
        return self.map(t)[:, rows] @ presented

    def train_error(self, t: Numbers) -> np.ndarray:
        r"""Return the training error that can be learned away, 1 for the zero map, shape (T,).

        .. math:: \mathrm{tr}\,(W - W^*) \Sigma_x (W - W^*)^\top \,/\,
            \mathrm{tr}\,W^* \Sigma_x W^{*\top}

        For white inputs this is :math:`\|\Sigma_{yx} - W\|_F^2 / \|\Sigma_{yx}\|_F^2` (L13).
        """
        times = check_times(t)
        if self.method == "aligned":
            gap = self.strengths(times) - self.final_strength()[:, None]
            error = self.lam @ gap**2
            scale = self.lam @ self.final_strength() ** 2
            # what a rank cuts off is never learned
            rest = max(0.0, self._explained() - scale)
            return (error + rest) / self._explained()
        gap = self.map(times) - self._least_squares()
        error = np.einsum("tfi,ij,tfj->t", gap, self.cov_x, gap, optimize=True)
        return error / self._explained()

    def loss(self, t: Numbers) -> np.ndarray:
        """Return half the squared error, times the norm, shape (T,): what training minimizes.

        Raises
        ------
        ValueError
            The trace of the output correlation is unknown.
        """
        if self.sum_y2 is None:
            raise ValueError(
                "sum_y2 is unknown: pass sum_y2=trace(Y Y^T) * norm to from_correlations, or use "
                "train_error, which needs only what can be learned"
            )
        explained = self._explained()
        return (self.sum_y2 - explained + explained * self.train_error(t)) / 2

    def hidden_similarity(self, t: Numbers) -> np.ndarray:
        """Return W1^T W1 of the first layer, shape (T, n_in, n_in) (L24): V a^(2/L) V^T."""
        if self.method == "aligned":
            return self._similarity(self.V, t)
        first = self._weights_at(check_times(t))[0]
        return first.transpose(0, 2, 1) @ first

    def output_similarity(self, t: Numbers) -> np.ndarray:
        """Return W_L W_L^T of the last layer, shape (T, n_out, n_out) (L24): U a^(2/L) U^T."""
        if self.method == "aligned":
            return self._similarity(self.U, t)
        last = self._weights_at(check_times(t))[1]
        return last @ last.transpose(0, 2, 1)

    def behavioral_similarity(self, t: Numbers) -> np.ndarray:
        """Return W^T W of the whole map, shape (T, n_in, n_in); V a^2 V^T for aligned modes."""
        whole = self.map(t)
        return whole.transpose(0, 2, 1) @ whole

    # --- storing -----------------------------------------------------------------------------

    def to_dataset(self) -> xr.Dataset:
        """Return all that this result holds, for storing (the weights of a start one by one)."""
        dims = {
            "U": ("output", "mode"),
            "s": ("mode",),
            "V": ("input", "mode"),
            "lam": ("mode",),
            "init_strength": ("mode",),
            "cov_x": ("input", "input_"),
            "cov_yx": ("output", "input"),
            "inputs": ("example", "input"),
            "targets": ("example", "output"),
            "whitening": ("input", "input_"),
            "X_mean": ("input",),
            "Y_mean": ("output",),
        }
        whole: Any = self  # a dataclass
        stored = to_dataset(replace(whole, weights=()), dims)
        stored.attrs["n_weights"] = len(self.weights)
        for i, W in enumerate(self.weights):
            stored[f"weight_{i}"] = ((f"row_{i}", f"column_{i}"), W, {"units": "1"})
        return stored

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Self:
        """Return the result that `to_dataset` wrote."""
        weights = tuple(
            dataset[f"weight_{i}"].values for i in range(int(dataset.attrs["n_weights"]))
        )
        found: Any = from_dataset(cls, dataset)
        return replace(found, weights=weights)

    # --- helpers -----------------------------------------------------------------------------

    def _similarity(self, vectors: np.ndarray, t: Numbers) -> np.ndarray:
        power = np.maximum(self.strengths(t), 0) ** (2 / self.depth)
        return np.einsum("ia,at,ja->tij", vectors, power, vectors, optimize=True)

    def _weights_at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return first layer, last layer and map at times, by the Riccati solution or the ODE."""
        if self.method == "riccati":
            lam = float(np.trace(self.cov_x) / len(self.cov_x))
            first, second = self.weights
            flow = balanced_flow(self.cov_yx, first, second, times, self.tau, lam)
            return flow.W1, flow.W2, flow.map()
        path = integrate_flow(self.cov_yx, self.cov_x, self.weights, times, tau=self.tau)
        return path[0], path[-1], product(path)

    def _least_squares(self) -> np.ndarray:
        root = inverse_root(self.cov_x)
        return self.cov_yx @ root @ root

    def _explained(self) -> float:
        """Return tr W* Sigma_x W*^T: what a linear map can explain of the targets."""
        return float(np.sum((self.cov_yx @ inverse_root(self.cov_x)) ** 2)) or 1.0

    def _grid(self) -> np.ndarray:
        """Return 2000 times that cover the learning of every mode, the fastest as finely as others.

        Times lie decades apart where strengths do: all are followed in steps of a percent.
        """
        active = self.s > 1e-9 * max(self.s.max(initial=0.0), 1e-300)
        if not active.any():
            return np.linspace(0, self.tau, 2)
        s, lam = self.s[active], np.where(self.lam[active] > 0, self.lam[active], 1.0)
        start = np.clip(self.init_strength[active], 1e-12 * s / lam, 0.4 * s / lam)
        half, most = (
            learning_time(s, frac, start, self.depth, lam, self.tau) for frac in (0.5, 0.95)
        )
        return np.append(0.0, np.geomspace(1e-3 * half.min(), 4 * most.max(), 1999))


def rise_width(early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Return the time between two passages; infinite where the late one never comes.

    Examples
    --------
    >>> rise_width(np.array([1.0, np.inf]), np.array([3.0, np.inf]))
    array([ 2., inf])
    """
    never = np.isinf(late)
    return np.where(never, np.inf, late - np.where(never, 0.0, early))


def first_passage(times: np.ndarray, path: np.ndarray, goal: float) -> float:
    """Return the first time at which a sampled path reaches a goal, linearly between samples.

    Examples
    --------
    >>> first_passage(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.4, 0.6]), 0.5)
    1.5
    """
    if goal == 0:
        return np.inf
    above = path * np.sign(goal) >= abs(goal)
    if not above.any():
        return np.inf
    i = int(np.argmax(above))
    if i == 0:
        return 0.0
    share = (goal - path[i - 1]) / (path[i] - path[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))
