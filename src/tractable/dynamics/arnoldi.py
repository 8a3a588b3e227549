"""The slowest modes of a network too large for its Jacobian, and how many of them grow."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["leading_eigenvalues", "products", "slowest_modes"]

ACCURATE = 1e-10  # of an eigenvalue, relative
RESTARTS = 300
MOST = 256  # eigenvalues looked for before their number counts as unknown


@torch.no_grad()
def slowest_modes(
    cell: Any,
    states: Tensor | np.ndarray,
    k: int = 6,
    x_star: Tensor | np.ndarray | None = None,
    *,
    axis: Tensor | np.ndarray | None = None,
) -> Modes:
    r"""Return the k modes of largest :math:`|\lambda|` at each state by Arnoldi iteration.

    No Jacobian is formed: products :math:`J v` and :math:`J^T v` come from reverse
    differentiation of F, once and twice. Left vectors are those of :math:`J^T`, biorthogonalized
    against the right ones, ``L <- (L R)^{-1} L``: paired by their products, never by order.

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
    axis : array, shape (N,) or (P, N), optional
        Real right vectors get the sign for which ``<r, axis> >= 0``; without it, for which the
        entry of largest modulus is positive.

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
    toward = None if axis is None else torch.as_tensor(axis, dtype=torch.float64).detach().cpu()
    if toward is not None:
        check_shape("axis", toward.shape, (net.n_state,) if toward.ndim == 1 else state.shape)
        check_finite("axis", toward)
        toward = toward.expand(len(state), net.n_state)
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
    if toward is None:
        along = columns.gather(1, columns.abs().argmax(1, keepdim=True))[:, 0].real
    else:
        along = (toward[:, None] @ columns.real)[:, 0]
    sign = torch.where((along < 0) & (eigvals.imag == 0), -1.0, 1.0)
    columns, rows = columns * sign[:, None], rows * sign[:, :, None]
    return modes_of(eigvals, columns, rows, net.dt)


def products(
    net: Any, state: Tensor, x: Tensor
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Return the maps ``v -> J v`` and ``v -> J^T v`` at one state (N,): derivatives of F."""

    def step(h: Tensor) -> Tensor:
        after: Tensor = net(h[None], x[None])[0]
        return after

    pull: Any = torch.func.vjp(step, state)[1]
    # J^T w is linear in w, and the transpose of that map is J: faster than forward differentiation
    push: Any = torch.func.vjp(lambda w: pull(w)[0], torch.zeros_like(state))[1]

    def product(of: Any) -> Callable[[np.ndarray], np.ndarray]:
        def apply(v: np.ndarray) -> np.ndarray:
            direction = torch.from_numpy(np.ascontiguousarray(v, dtype=float).ravel()).to(state)
            return np.asarray(of(direction)[0].detach().cpu().numpy())

        return apply

    return product(push), product(pull)


def leading_eigenvalues(
    product: Callable[[np.ndarray], np.ndarray], n: int, bound: float, *, by: str
) -> np.ndarray | None:
    """Return all eigenvalues of a matrix beyond a bound, and the next below.

    Parameters
    ----------
    product : callable
        ``v -> J v``.
    n : int
        Size of the matrix, at least 12.
    bound : float
        Eigenvalues with ``|lambda| >= bound`` (or ``Re lambda >= bound``) are wanted.
    by : {"modulus", "real"}
        Which of the two.

    Returns
    -------
    ndarray or None
        None where the iteration does not converge, or more than 256 lie beyond the bound.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    operator = LinearOperator((n, n), matvec=product, dtype=float)
    start = np.random.default_rng(0).normal(size=n)
    k = 8
    while k <= min(MOST, n - 3):
        try:
            values = eigs(
                operator,
                k=k,
                which="LM" if by == "modulus" else "LR",
                v0=start,
                ncv=min(2 * k + 24, n - 1),
                tol=ACCURATE,
                maxiter=RESTARTS,
                return_eigenvectors=False,
            )
        except ArpackError:  # not converged, too
            return None
        size = np.abs(values) if by == "modulus" else values.real
        if size.min() < bound:
            return np.asarray(values)
        k *= 2
    return None


def _one(net: Any, state: Tensor, x: Tensor, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues, right columns and left rows at one state."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    n = len(state)
    found = []
    for product in products(net, state, x):
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
