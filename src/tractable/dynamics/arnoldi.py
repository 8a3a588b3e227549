"""The slowest modes of a network too large for its Jacobian, and how many of them grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
from tractable.dynamics.modes import Modes, decompose, eigenvalues, modes_of

__all__ = [
    "MAX_DECOMPOSED",
    "Products",
    "in_closed_form",
    "leading_eigenvalues",
    "products",
    "slowest_modes",
]

ACCURATE = 1e-10  # of an eigenvalue, relative
TRUSTED = 1e-6  # residual of a vector, and of L R = 1, beyond which the whole matrix is decomposed
BASIS = 64  # Krylov vectors between restarts, at least: few restarts, and J v costs more than they
FEW = 1000  # products that are always granted
MOST = 256  # eigenvalues looked for before their number counts as unknown
MAX_HELD = 8192  # units up to which a Jacobian in closed form is held: 512 MiB
MAX_DECOMPOSED = 4096  # units up to which the whole matrix is decomposed where iteration fails


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

    Products :math:`J v` and :math:`J^T v` are those of the closed-form Jacobian, which takes less
    room than the weights; of an own cell they come from reverse differentiation of F, once and
    twice, and no Jacobian is formed. Left vectors are those of :math:`J^T`, biorthogonalized
    against the right ones, ``L <- (L R)^{-1} L``: paired by their products, never by order. Where
    the iteration has not converged after N products (1,000 if N is less), or its vectors are not
    those of one set of modes, the whole Jacobian is formed and decomposed (N <= 4096): so for
    orthogonal weights, whose eigenvalues all have one modulus.

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
        N > 4096, and the iteration stopped early, or its left vectors are not accurate; holds the
        number of modes that were found.

    Notes
    -----
    Cost: some hundred products with J at each state, a second or two for 2,000 units; where the
    whole matrix is decomposed O(25 N^3), some 10 s.

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
    toward = None if axis is None else torch.as_tensor(axis, dtype=torch.float64).detach().cpu()
    if toward is not None:
        check_shape("axis", toward.shape, (net.n_state,) if toward.ndim == 1 else state.shape)
        check_finite("axis", toward)
        toward = toward.expand(len(state), net.n_state)
    found = [_one(net, state[i], x[i], k) for i in range(len(state))]
    kept = min((len(one.values) for one in found), default=k)
    loose = sum(not one.accurate for one in found)
    if kept < k or loose:
        import warnings

        warnings.warn(
            f"Arnoldi iteration found {kept} of {k} modes, at {loose} of {len(found)} states "
            "without accurate left vectors; take a larger k, or PointSet.modes",
            ConvergenceWarning,
            stacklevel=2,
        )
    n = net.n_state
    values = np.array([one.values[:kept] for one in found]).reshape(len(state), kept)
    right = np.array([one.right[:, :kept] for one in found]).reshape(len(state), n, kept)
    left = np.array([one.left[:kept] for one in found]).reshape(len(state), kept, n)
    sound = np.array([one.resolved[:kept] for one in found], dtype=bool).reshape(len(state), kept)
    eigvals, columns, rows = (torch.from_numpy(a.astype(complex)) for a in (values, right, left))
    if toward is None:
        along = columns.gather(1, columns.abs().argmax(1, keepdim=True))[:, 0].real
    else:
        along = (toward[:, None] @ columns.real)[:, 0]
    sign = torch.where((along < 0) & (eigvals.imag == 0), -1.0, 1.0)
    columns, rows = columns * sign[:, None], rows * sign[:, :, None]
    return modes_of(eigvals, columns, rows, net.dt, torch.from_numpy(sound))


class Products(NamedTuple):
    """The maps ``v -> J v`` and ``v -> J^T v`` at one state, and J where it is held."""

    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray]
    matrix: np.ndarray | None


def products(net: Any, state: Tensor, x: Tensor) -> Products:
    """Return products with the Jacobian at one state (N,).

    A closed-form Jacobian has no more numbers than the weights, and a product with it costs a
    fraction of a step of F differentiated twice: it is held, up to 8,192 units. Of other cells the
    products are derivatives of F.
    """
    if in_closed_form(net) and len(state) <= MAX_HELD:
        J = _matrix(net, state, x)
        return Products(lambda v: J @ v.ravel(), lambda v: v.ravel() @ J, J)

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

    return Products(product(push), product(pull), None)


def in_closed_form(net: Any) -> bool:
    """Whether its Jacobian is cheap: not by N derivatives, and not the product over a period.

    What torch.func cannot transform has no products: its Jacobian takes N backward passes.
    """
    return not hasattr(net, "period") and getattr(net, "derivative", "given") in (
        "given",
        "backward",
    )


def _matrix(net: Any, state: Tensor, x: Tensor) -> np.ndarray:
    """Return the Jacobian at one state, float64."""
    with torch.no_grad():
        J = net.recurrent_jacobian(state[None], x[None])[0]
    return np.asarray(J.detach().to("cpu", torch.float64).numpy())


def leading_eigenvalues(at: Products, n: int, bound: float, *, by: str) -> np.ndarray | None:
    """Return all eigenvalues of a matrix beyond a bound, and perhaps others.

    Parameters
    ----------
    at : Products
        Products with J, and J where it is held.
    n : int
        Size of the matrix, at least 12.
    bound : float
        Eigenvalues with ``|lambda| >= bound`` (or ``Re lambda >= bound``) are wanted.
    by : {"modulus", "real"}
        Which of the two.

    Returns
    -------
    ndarray or None
        Of a matrix that is held and has up to 4,096 rows all eigenvalues where the iteration does
        not converge; of others None then, and where more than 256 lie beyond the bound.
    """
    k = 8
    while k <= min(MOST, n - 3):
        found, converged = _iterate(at.forward, n, k, "LM" if by == "modulus" else "LR")
        if not converged:
            break
        values = found[0]
        size = np.abs(values) if by == "modulus" else values.real
        if size.min() < bound:
            return values
        k *= 2
    if at.matrix is None or n > MAX_DECOMPOSED:
        return None
    return np.asarray(eigenvalues(torch.from_numpy(at.matrix))[0].numpy())


def _iterate(
    product: Callable[[np.ndarray], np.ndarray], n: int, k: int, which: str
) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
    """Return k eigenvalues and right vectors, and whether n products (or 1,000) were enough.

    More would cost more than the whole matrix.
    """
    from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs

    operator = LinearOperator((n, n), matvec=product, dtype=float)
    start = np.random.default_rng(0).normal(size=n)
    if not product(start).any():  # J = 0, almost surely, and ARPACK refuses it
        return (np.zeros(k, dtype=complex), np.eye(n, k, dtype=complex)), True
    ncv = min(max(4 * k, BASIS), n - 1)
    try:
        values, vectors = eigs(
            operator,
            k=k,
            which=which,
            v0=start,
            ncv=ncv,
            tol=ACCURATE,
            maxiter=-(-max(n, FEW) // (ncv - k)),
        )
    except ArpackNoConvergence as error:
        return (error.eigenvalues, error.eigenvectors), False
    except ArpackError:  # no shifts, or a breakdown
        return (np.zeros(0, dtype=complex), np.zeros((n, 0), dtype=complex)), False
    return (values, vectors), True


class _Found(NamedTuple):
    """Modes at one state: (K,), (N, K), (K, N), (K,), and whether they hold to 1e-6."""

    values: np.ndarray
    right: np.ndarray
    left: np.ndarray
    resolved: np.ndarray
    accurate: bool


def _one(net: Any, state: Tensor, x: Tensor, k: int) -> _Found:
    """Return eigenvalues, right columns and left rows at one state."""
    n = len(state)
    at = products(net, state, x)
    (values, right), whole = _iterate(at.forward, n, min(k + 1, n - 2), "LM")
    values, right = _pairs_adjacent(values, right)
    left = right.T[:0]
    if whole or n > MAX_DECOMPOSED:
        (others, left), whole_left = _iterate(at.backward, n, min(k + 1, n - 2), "LM")
        left = _pairs_adjacent(others, left)[1].T
        whole = whole and whole_left
    if not whole and n <= MAX_DECOMPOSED:
        return _decomposed(net, state, x, k, at.matrix)
    size = min(_uncut(values, min(k, len(values), len(left))), len(left))
    values, right, left = values[:size], right[:, :size], left[:size]
    dual = np.linalg.pinv(left @ right) @ left  # rows dual to the columns
    error = max(
        (np.abs(dual @ right - np.eye(size))).max(initial=0),
        _residual(at.forward, values, right),
        _residual(at.backward, values, dual.T),
    )
    accurate = bool(error < TRUSTED)
    if not accurate and n <= MAX_DECOMPOSED:
        return _decomposed(net, state, x, k, at.matrix)
    return _Found(values, right, dual, np.ones(size, dtype=bool), accurate)


def _decomposed(net: Any, state: Tensor, x: Tensor, k: int, J: np.ndarray | None) -> _Found:
    """Return the k slowest modes of the whole matrix."""
    J = _matrix(net, state, x) if J is None else J
    modes = decompose(torch.from_numpy(J), k=min(k + 1, len(J)))
    size = _uncut(modes.eigvals[0].numpy(), k)
    fields = (modes.eigvals[0], modes.right[0, :, :], modes.left[0], modes.resolved[0])
    values, right, left, resolved = (field.numpy() for field in fields)
    return _Found(values[:size], right[:, :size], left[:size], resolved[:size], True)


def _pairs_adjacent(values: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by modulus, ties by real part; each pair together, its positive frequency first."""
    upper = np.flatnonzero(values.imag >= 0)
    modulus, real = np.abs(values[upper]).round(10), values[upper].real.round(10)
    eigvals, columns = [], []
    for a in upper[np.lexsort((-real, -modulus))]:
        vector = vectors[:, a] / np.linalg.norm(vectors[:, a])
        if values[a].imag == 0:
            turned = vector / (phase := vector[np.abs(vector).argmax()]) * abs(phase)
            vector = turned.real / np.linalg.norm(turned.real)
        eigvals.append(values[a])
        columns.append(vector)
        if values[a].imag > 0:  # J is real: the other member is known
            eigvals.append(values[a].conj())
            columns.append(vector.conj())
    together = np.array(columns, dtype=complex).reshape(len(eigvals), len(vectors)).T
    return np.array(eigvals, dtype=complex), together


def _uncut(values: np.ndarray, size: int) -> int:
    """Return ``size``, or one more where it would cut a conjugate pair."""
    return size + int(0 < size < len(values) and values[size - 1].imag > 0)


def _residual(
    product: Callable[[np.ndarray], np.ndarray], values: np.ndarray, columns: np.ndarray
) -> float:
    """Return the largest ``||J v - lambda v|| / (||v|| max |lambda|)``."""
    scale = float(np.abs(values).max(initial=0)) or 1.0
    size = [float(np.linalg.norm(v)) or 1.0 for v in columns.T]
    image = [product(v.real.copy()) + 1j * product(v.imag.copy()) for v in columns.T]
    errors = [
        float(np.linalg.norm(image[a] - values[a] * columns[:, a])) / (scale * size[a])
        for a in range(len(values))
    ]
    return max(errors, default=0.0)
