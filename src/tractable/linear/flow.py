"""Gradient flow of whole weight matrices: the exact Riccati solution, and an ODE solver."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_range
from tractable.linear.arrays import as_float64
from tractable.linear.weights import check_two_layers

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["FlowResult", "balanced_flow", "check_times", "integrate_flow"]

BALANCE = 1e-6  # largest relative deviation from lambda-balance that the Riccati form takes
STABLE_STEP = 4.0  # |f| dt of a semigroup step
MOST_STEPS = 1e6  # of one solution
EARLY = 20_000  # steps after which it is seen whether that many will do
STIFF = 3  # times as many in all, and the implicit solver is quicker
MOST_IMPLICIT = 1000  # weights: it solves equations of that size


class _StiffError(Exception):
    """The explicit solver takes too many steps."""


@dataclass(frozen=True, eq=False)
class FlowResult:
    """Two-layer gradient flow in time; see `balanced_flow`.

    Parameters
    ----------
    t : ndarray, shape (T,)
        Times.
    W1, W2 : ndarray, shapes (T, n_hidden, n_in), (T, n_out, n_hidden)
        Weights, up to one rotation of the hidden layer per time.
    balance : float
        The conserved lambda of W2^T W2 - W1 W1^T = lambda I.
    balance_error : float
        Largest relative deviation from it at the times asked for.
    """

    t: np.ndarray
    W1: np.ndarray
    W2: np.ndarray
    balance: float
    balance_error: float

    def map(self) -> np.ndarray:
        """Return the network's map W2 W1, shape (T, n_out, n_in)."""
        return self.W2 @ self.W1

    def hidden_similarity(self) -> np.ndarray:
        """Return W1^T W1, shape (T, n_in, n_in)."""
        return self.W1.transpose(0, 2, 1) @ self.W1

    def output_similarity(self) -> np.ndarray:
        """Return W2 W2^T, shape (T, n_out, n_out)."""
        return self.W2 @ self.W2.transpose(0, 2, 1)


def balanced_flow(
    cov_yx: Numbers, W1: Numbers, W2: Numbers, t: Numbers, tau: float = 1.0, lam: float = 1.0
) -> FlowResult:
    r"""Solve two-layer gradient flow exactly, without any alignment (L14), (L15).

    For white inputs Sigma_x = lam I and weights with W2^T W2 - W1 W1^T = lambda I, the matrix
    Q = [W1^T; W2] obeys a Riccati equation, which is solved in closed form and stepped so that
    nothing overflows:

    .. math:: \tau\dot Q = F Q - \tfrac12 Q Q^\top Q, \qquad
        F = \begin{pmatrix} -\lambda/2 & \Sigma_{yx}^\top \\ \Sigma_{yx} & \lambda/2 \end{pmatrix}

    Parameters
    ----------
    cov_yx : array, shape (n_out, n_in)
        Correlation of outputs with inputs.
    W1, W2 : array, shapes (n_hidden, n_in), (n_out, n_hidden)
        The start.
    t : array, shape (T,)
        Times, >= 0, ascending.
    tau : float
        Time constant, > 0.
    lam : float
        Input variance, > 0.

    Raises
    ------
    ValueError
        The start is not lambda-balanced; the message holds the deviation.

    Notes
    -----
    The error is about 1e-11. A step costs two products with (n_in + n_out)^2 n_hidden operations;
    there is one step for each 4 / s of time.

    References
    ----------
    Fukumizu 1998; Braun et al. 2022; Domine et al. 2024, arXiv:2409.14623. The stable stepping is
    an own derivation.

    Examples
    --------
    >>> start = 0.1 * np.eye(2)
    >>> flow = balanced_flow(np.diag([2.0, 1.0]), start, start, [0.0, 1.0, 20.0])
    >>> flow.map()[:, 0, 0].round(4)  # the sigmoid of one mode: the start is aligned here
    array([0.01  , 0.4305, 2.    ])
    """
    check_range("tau", tau, 0, open_low=True)
    check_range("lam", lam, 0, open_low=True)
    cov, first, second = as_float64("cov_yx", cov_yx), as_float64("W1", W1), as_float64("W2", W2)
    check_two_layers(cov, first, second)
    times = check_times(t)
    root = np.sqrt(lam)  # sqrt(lam) W obeys the flow with unit variance
    Q = np.concatenate([first.T, second]) * root
    n_in = cov.shape[1]
    balance, error = _balance(Q, n_in)
    if error > BALANCE:
        raise ValueError(
            f"W1, W2 must be balanced: W2^T W2 - W1 W1^T must be a multiple of the identity, but "
            f"it deviates from one by {error:.2g} of the weights' size (allowed: {BALANCE:g}); "
            "use ModeDynamics.from_model(..., method='ode') for other starts"
        )
    F = np.block(
        [
            [-balance / 2 * np.eye(n_in), cov.T],
            [cov, balance / 2 * np.eye(len(cov))],
        ]
    )
    f, O = np.linalg.eigh(F)
    B = O.T @ Q
    states, worst, now = [], 0.0, 0.0
    for time in times:
        steps = np.abs(f).max() * (time - now) / (tau * STABLE_STEP)
        if steps > MOST_STEPS:
            raise ValueError(
                f"t must not be so long for these weights and correlations, got {time:g}: the "
                f"solution takes {steps:.2g} steps ({MOST_STEPS:g} are allowed)"
            )
        n_steps = int(np.ceil(steps))
        for _ in range(n_steps):
            B = _semigroup_step(B, f, (time - now) / n_steps / tau)
        now = time
        state = O @ B / root
        states.append(state)
        worst = max(worst, _balance(state * root, n_in, balance)[1])
    stacked = np.stack(states) if states else np.zeros((0, *Q.shape))
    return FlowResult(
        times, stacked[:, :n_in].transpose(0, 2, 1), stacked[:, n_in:], balance / lam, worst
    )


def _semigroup_step(B: np.ndarray, f: np.ndarray, dt: float) -> np.ndarray:
    """Return e^{f dt} B C^{-T} with C C^T = I + B^T diag(D) B, D = (e^{2 f dt} - 1) / (2 f)."""
    from scipy.linalg import solve_triangular

    small = np.abs(f) * dt < 1e-12
    D = np.where(small, dt, np.expm1(2 * f * dt) / np.where(small, 1.0, 2 * f))
    C = np.linalg.cholesky(np.eye(B.shape[1]) + (B.T * D) @ B)
    grown: np.ndarray = np.exp(f * dt)[:, None] * B
    return solve_triangular(C, grown.T, lower=True).T


def _balance(Q: np.ndarray, n_in: int, known: float | None = None) -> tuple[float, float]:
    """Return lambda and the relative deviation of W2^T W2 - W1 W1^T from lambda I."""
    first, second = Q[:n_in], Q[n_in:]
    a, b = first.T @ first, second.T @ second
    n = len(a)
    lam = float(np.trace(b - a)) / n if known is None else known
    size = max(np.linalg.norm(a), np.linalg.norm(b))
    return lam, float(np.linalg.norm(b - a - lam * np.eye(n)) / size) if size else 0.0


def integrate_flow(
    cov_yx: np.ndarray,
    cov_x: np.ndarray,
    weights: Sequence[np.ndarray],
    t: np.ndarray,
    *,
    tau: float = 1.0,
    rtol: float = 1e-8,
) -> list[np.ndarray]:
    r"""Solve the gradient flow (L1) of any depth, any inputs, any start, by DOP853 or LSODA.

    Parameters
    ----------
    cov_yx, cov_x : ndarray
        Correlations.
    weights : sequence of ndarray
        The start, first layer first.
    t : ndarray, shape (T,)
        Times, >= 0, ascending.
    tau : float
        Time constant.
    rtol : float
        Relative tolerance; the absolute one is 1e-10 of the size of the start, or a solver would
        step over the escape from the first plateau.

    Returns
    -------
    weights : list of ndarray, shapes (T, rows, columns)

    Notes
    -----
    Columns of very different scale make the flow stiff: the steps of DOP853 are then bound by the
    fastest direction long after it has been learned. Where that would take too many of them,
    networks of up to 1000 weights are given to the implicit method of LSODA.
    """
    from scipy.integrate import solve_ivp

    shapes = [W.shape for W in weights]
    cuts = np.cumsum([W.size for W in weights])[:-1]
    start = np.concatenate([W.ravel() for W in weights])

    def unpack(state: np.ndarray) -> list[np.ndarray]:
        parts = np.split(state, cuts)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    calls, last = itertools.count(), float(t[-1]) if len(t) else 0.0
    method, implicit = "DOP853", len(start) <= MOST_IMPLICIT

    def velocity(at: float, state: np.ndarray) -> np.ndarray:
        done = next(calls)
        if method == "DOP853" and implicit and done >= EARLY and done * last > STIFF * EARLY * at:
            raise _StiffError
        # A solution that needs many times what is allowed is refused early.
        hopeless = done == EARLY and done * last > 20 * MOST_STEPS * at
        if hopeless or done > MOST_STEPS:
            raise ValueError(
                f"t must not be so long for these weights and correlations, got {last:g}: after "
                f"{done:g} steps the solution is at {at:.3g}, and {MOST_STEPS:g} are allowed; are "
                f"X and Y scaled to about 1?"
            )
        return np.concatenate([g.ravel() for g in descent(unpack(state), cov_yx, cov_x)]) / tau

    typical = float(np.sqrt(np.mean(start**2)))
    if not len(t):
        return [np.zeros((0, *shape)) for shape in shapes]
    times, places = np.unique(t, return_inverse=True)  # the solvers take no time twice

    def solve() -> Any:
        atol = 1e-10 * (typical or 1.0)
        span = (0.0, last)
        return solve_ivp(velocity, span, start, method=method, t_eval=times, rtol=rtol, atol=atol)

    try:
        done = solve()
    except _StiffError:
        method, calls = "LSODA", itertools.count()
        done = solve()
    if not done.success:
        raise RuntimeError(f"the gradient flow could not be integrated: {done.message}")
    states = done.y.T[places] if last > 0 else np.repeat(start[None], len(t), 0)
    parts = np.split(states, cuts, axis=1)
    return [part.reshape(len(t), *shape) for part, shape in zip(parts, shapes, strict=True)]


def descent(
    weights: Sequence[np.ndarray], cov_yx: np.ndarray, cov_x: np.ndarray
) -> list[np.ndarray]:
    """Return the directions of descent: W_l' = (W_L..W_{l+1})^T (Syx - W Sx) (W_{l-1}..W_1)^T."""
    before = [weights[0]]
    for W in weights[1:]:
        before.append(W @ before[-1])
    error = cov_yx - before[-1] @ cov_x
    result: list[np.ndarray] = []
    for layer in range(len(weights) - 1, -1, -1):
        result.append(error @ before[layer - 1].T if layer else error)
        error = weights[layer].T @ error
    return result[::-1]


def check_times(t: Numbers) -> np.ndarray:
    """Return times as an array: >= 0, ascending, one dimension."""
    times = np.atleast_1d(as_float64("t", t, low=0, high=np.inf))
    if times.ndim != 1:
        raise ValueError(f"t must have one dimension, got shape {times.shape}")
    if (np.diff(times) < 0).any():
        i = int(np.argmax(np.diff(times) < 0))
        raise ValueError(f"t must be ascending, got {times[i]:g} before {times[i + 1]:g}")
    return times
