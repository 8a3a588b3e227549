"""The slowest modes of a network too large for its Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import (
    ConvergenceWarning,
    check_count,
    check_finite,
    check_range,
    check_shape,
)
from tractable.dynamics.cells import as_cell
from tractable.dynamics.modes import Modes, modes_of

__all__ = ["slowest_modes"]

ACCURATE = 1e-10  # of an eigenvalue, relative
RESTARTS = 300


@torch.no_grad()
def slowest_modes(
    cell: Any,
    states: Tensor | np.ndarray,
    k: int = 6,
    x_star: Tensor | np.ndarray | None = None,
) -> Modes:
    r"""Return the k modes of largest :math:`|\lambda|` at each state by Arnoldi iteration.

    No Jacobian is formed: products :math:`J v` and :math:`J^T v` come from forward and reverse
    differentiation of F. Left vectors are those of :math:`J^T`, biorthogonalized against the right
    ones, ``L <- (L R)^{-1} L``: paired by their products, never by order.

    Parameters
    ----------
    cell : Cell or what `as_cell` takes
        The network; its step must be differentiable by torch.
    states : array, shape (P, N)
        Where to linearize, N >= k + 3.
    k : int, >= 1
        Number of modes; one more where a conjugate pair would be cut.
    x_star : array, shape (D,) or (P, D), optional
        Constant input; zero by default.

    Returns
    -------
    Modes
        With k modes at each point (the fewest found at any). ``departure`` is NaN: it needs all.

    Raises
    ------
    ValueError
        Wrong shapes, NaN, k too large.

    Warns
    -----
    ConvergenceWarning
        The iteration stopped early; holds the number of modes that were found.

    Notes
    -----
    For N > 1,000 this is faster than `PointSet.modes`: cost about 40 k products with J.

    References
    ----------
    Lehoucq, Sorensen, Yang 1998, doi:10.1137/1.9780898719628 (ARPACK).

    Examples
    --------
    >>> A = torch.diag(torch.tensor([0.9, -0.8, 0.3, 0.2, 0.1, 0.0], dtype=torch.float64))
    >>> cell = as_cell(lambda h, x: h @ A.T + x, n_state=6, n_input=6)
    >>> slowest_modes(cell, torch.zeros(1, 6), 2).eigvals.real.tolist()
    [[0.9, -0.8]]
    """
    net = as_cell(cell).to(dtype=torch.float64)
    state = torch.as_tensor(states).detach().to(dtype=torch.float64, device=net.device)
    check_shape("states", state.shape, ("P", net.n_state))
    check_finite("states", state)
    check_count("k", k)
    check_range("k", k, 1, net.n_state - 3)
    x = state.new_zeros(net.n_input) if x_star is None else torch.as_tensor(x_star).to(state)
    check_finite("x_star", x)
    x = x.expand(len(state), net.n_input)
    triples = [_one(net, state[i], x[i], k) for i in range(len(state))]
    kept = min((len(values) for values, _, _ in triples), default=k)
    if kept < k:
        import warnings

        warnings.warn(
            f"Arnoldi iteration found {kept} of {k} modes; take a larger k, or PointSet.modes",
            ConvergenceWarning,
            stacklevel=2,
        )
    n = net.n_state
    values = np.array([v[:kept] for v, _, _ in triples]).reshape(len(state), kept)
    right = np.array([r[:, :kept] for _, r, _ in triples]).reshape(len(state), n, kept)
    left = np.array([rows[:kept] for _, _, rows in triples]).reshape(len(state), kept, n)
    eigvals, columns, rows = (torch.from_numpy(a.astype(complex)) for a in (values, right, left))
    return modes_of(eigvals, columns, rows, net.dt)


def _one(net: Any, state: Tensor, x: Tensor, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues, right columns and left rows at one state."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    def step(h: Tensor) -> Tensor:
        after: Tensor = net(h[None], x[None])[0]
        return after

    def forward(v: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.ascontiguousarray(v, dtype=float).ravel()).to(state)
        return torch.func.jvp(step, (state,), (direction,))[1].cpu().numpy()

    pull: Any = torch.func.vjp(step, state)[1]

    def backward(v: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.ascontiguousarray(v, dtype=float).ravel()).to(state)
        return np.asarray(pull(direction)[0].cpu().numpy())

    n = len(state)
    found = []
    for product in (forward, backward):
        operator = LinearOperator((n, n), matvec=product, dtype=float)
        start = np.random.default_rng(0).normal(size=n)
        try:
            values, vectors = eigs(
                operator,
                k=min(k + 1, n - 2),
                which="LM",
                v0=start,
                ncv=min(max(2 * k + 4, 24), n - 1),
                tol=ACCURATE,
                maxiter=RESTARTS,
            )
        except ArpackNoConvergence as error:
            values, vectors = error.eigenvalues, error.eigenvectors
        order = np.lexsort((-values.imag, -np.abs(values).round(10)))
        found.append((values[order], vectors[:, order]))
    (values, right), (_, left) = found
    size = min(len(values), left.shape[1])
    values, right, left = values[:size], right[:, :size], left[:, :size].T
    if size > k and not (size >= 2 and values[k - 1].imag > 0):
        values, right, left = values[:k], right[:, :k], left[:k]
    # rotate to real vectors of real eigenvalues, then make the rows dual to the columns
    for a in range(len(values)):
        if values[a].imag == 0:
            right[:, a] = right[:, a].real
        right[:, a] /= np.linalg.norm(right[:, a])
    dual = np.linalg.pinv(left @ right) @ left
    return values, right, dual
