"""Modes of a linearized recurrent network: eigenvalues, right and left vectors, time constants.

Around a point the network is ``h_t - h* = J (h_{t-1} - h*) + J_in x_t``. Its modes are
J R = R Lambda, L = R^-1: row l_a of L says what mode a remembers of an input, column r_a of R where
it writes it, lambda_a for how long.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tractable.core.checks import check_finite, check_range, check_shape
from tractable.dynamics.eigenbasis import (
    as_batch,
    eig_one_by_one,
    eigenbasis,
    real_columns,
    slowest_first,
)
from tractable.dynamics.normality import henrici
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

__all__ = ["Modes", "decompose", "eigenvalues", "modes_of"]

ON_CIRCLE = 1e-12  # | |lambda| - 1 | below it counts as exactly 1
CHUNK_BYTES = (
    2**22
)  # of one work array: LAPACK takes matrices singly, and small arrays stay in cache


@dataclass(frozen=True, eq=False, repr=False)
class Modes:
    """Modes at P points; N units, K modes (K = N unless fewer were asked for).

    Modes are sorted by ``|lambda|``, largest first (continuous time: by the real part), a conjugate
    pair adjacent with its positive frequency first. Tensors, float64 or complex128, on the CPU.

    Attributes
    ----------
    eigvals : Tensor, shape (P, K)
        Complex.
    right : Tensor, shape (P, N, K)
        Columns r_a, ``||r_a|| = 1``; real eigenvalues have real vectors.
    left : Tensor, shape (P, K, N)
        Rows l_a of R^-1: ``l_a r_b = delta_ab``. Not of unit norm.
    tau : Tensor, shape (P, K)
        ``|1 / ln|lambda||``, in steps, or in units of time when ``dt`` is given; 0 where
        lambda = 0, inf where ``|lambda| = 1`` within 1e-12; a growth time where ``unstable``.
    freq : Tensor, shape (P, K)
        ``|angle(lambda)| / 2 pi``: cycles per step, or per unit of time when ``dt`` is given.
    condition : Tensor, shape (P, K)
        ``1 / |l_a r_a|`` with both of unit norm: by how much a perturbation of J moves lambda_a.
    unstable : Tensor, shape (P, K)
        ``|lambda| > 1``.
    resolved : Tensor, shape (P, K)
        False where the eigenvectors of a cluster are nearly parallel (condition > 1e8): columns
        and rows then span the invariant subspace of the cluster, and are not eigenvectors.
    defective : Tensor, shape (P,)
        Some mode of the N is not resolved.
    departure : Tensor, shape (P,)
        Henrici's departure from normality in [0, 1], see `henrici`.
    dt : float or None
        Step of the map, in units of time.
    continuous : bool
        The matrices were Jacobians of a vector field, not of a map.
    """

    eigvals: Tensor
    right: Tensor
    left: Tensor
    tau: Tensor
    freq: Tensor
    condition: Tensor
    unstable: Tensor
    resolved: Tensor
    defective: Tensor
    departure: Tensor
    dt: float | None = None
    continuous: bool = False

    def __len__(self) -> int:
        return len(self.eigvals)

    def __repr__(self) -> str:
        n_points, n, k = self.right.shape
        bad = int(self.defective.sum())
        note = f", {bad} defective" if bad else ""
        return f"Modes({n_points} points, {k} of {n} modes{note})"

    def __getitem__(self, index: int | slice | Tensor | np.ndarray) -> Modes:
        """Return the modes of some points; an integer keeps the point axis."""
        if hasattr(index, "__index__") and getattr(index, "ndim", 0) == 0:  # NumPy's numbers, too
            index = torch.tensor([range(len(self))[operator.index(index)]])
        fields = {name: getattr(self, name)[index] for name in _TENSORS}
        return Modes(**fields, dt=self.dt, continuous=self.continuous)

    def concatenate(self, *others: Modes) -> Modes:
        """Return the modes at the points of all; they must agree in N, K and ``dt``."""
        fields = {
            name: torch.cat([getattr(modes, name) for modes in (self, *others)])
            for name in _TENSORS
        }
        return Modes(**fields, dt=self.dt, continuous=self.continuous)

    def n_slow(self, tau_min: float) -> Tensor:
        """Return the number of modes with ``tau >= tau_min`` at each point, shape (P,).

        Parameters
        ----------
        tau_min : float, > 0
            In steps, or in units of time when ``dt`` is given.
        """
        check_range("tau_min", tau_min, 0, open_low=True)
        return (self.tau >= tau_min).sum(1)

    def gap(self) -> Tensor:
        """Return ``tau_1 / tau_2`` at each point, shape (P,); inf for one unit, 1 where equal."""
        if self.tau.shape[1] < 2:
            return torch.full((len(self),), math.inf, dtype=torch.float64)
        first, second = self.tau[:, 0], self.tau[:, 1]
        return torch.where(first == second, 1.0, first / second)

    def pairs(self, modes: int | list[int]) -> Tensor:
        """Return which modes to take so that no conjugate pair is split, shape (P, K), bool.

        Parameters
        ----------
        modes : int or list of int
            A number k stands for the first k modes.
        """
        n_modes = self.eigvals.shape[1]
        chosen = torch.zeros(n_modes, dtype=torch.bool)
        for mode in range(modes) if isinstance(modes, int) else modes:
            if not 0 <= mode < n_modes:
                raise ValueError(
                    f"modes must be integers in [0, {n_modes}), got {mode}; "
                    f"{n_modes} modes were computed at each point"
                )
            chosen[mode] = True
        first, second = self.eigvals.imag > 0, self.eigvals.imag < 0
        after = torch.cat([chosen[1:], chosen.new_zeros(1)])
        before = torch.cat([chosen.new_zeros(1), chosen[:-1]])
        return chosen | (after & first) | (before & second)

    def projector(self, modes: int | list[int]) -> Tensor:
        r"""Return :math:`\sum_a r_a l_a^T` over the chosen modes, real, shape (P, N, N).

        Parameters
        ----------
        modes : int or list of int
            A number k stands for the first k modes; conjugate pairs are never split.
        """
        right = self.right * self.weights(modes)[:, None]
        return right.real @ self.left.real - right.imag @ self.left.imag

    def weights(self, modes: int | list[int]) -> Tensor:
        """Return weights g with ``Re sum_a g_a r_a l_a`` the projector on the chosen modes, (P, K).

        1 for a real mode, 2 and 0 for the first and the second member of a pair: ``r l`` and its
        conjugate sum to twice the real part. Exact also where `decompose` has cut a pair.

        Parameters
        ----------
        modes : int or list of int
            A number k stands for the first k modes; conjugate pairs are never split.
        """
        imag = self.eigvals.imag
        return self.pairs(modes) * (1.0 + imag.sign())

    @property
    def real_right(self) -> Tensor:
        """Real columns (P, N, K): r_a, or Re r_a and Im r_a for a conjugate pair."""
        return real_columns(self.eigvals, self.right)

    @property
    def real_left(self) -> Tensor:
        """Real rows (P, K, N) dual to `real_right`: l_a, or 2 Re l_a and -2 Im l_a for a pair."""
        imag = self.eigvals.imag[..., None]
        # the second row of a pair is conj(l): 2 Im conj(l) = -2 Im l
        rows = torch.where(imag < 0, self.left.imag, self.left.real)
        return torch.where(imag == 0, rows, 2 * rows)

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``point``, ``mode``, ``unit``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Modes:
        """Return the modes that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "eigvals": ("point", "mode"),
    "right": ("point", "unit", "mode"),
    "left": ("point", "mode", "unit"),
    "tau": ("point", "mode"),
    "freq": ("point", "mode"),
    "condition": ("point", "mode"),
    "unstable": ("point", "mode"),
    "resolved": ("point", "mode"),
    "defective": ("point",),
    "departure": ("point",),
}
_TENSORS = tuple(_DIMS)


def eigenvalues(J: Tensor, *, continuous: bool = False) -> Tensor:
    """Return the eigenvalues of each matrix, slowest first.

    Parameters
    ----------
    J : Tensor, shape (P, N, N) or (N, N)
        Real Jacobians.
    continuous : bool
        Sort by the real part (vector field) instead of the modulus (map).

    Returns
    -------
    Tensor, shape (P, N)
        Complex128 on the CPU; conjugate pairs adjacent.

    Notes
    -----
    Where LAPACK fails on a batch (many zero eigenvalues), each matrix is solved alone.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 3.

    Examples
    --------
    >>> J = torch.tensor([[0.0, -0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.9]])
    >>> eigenvalues(J).abs().tolist()
    [[0.9, 0.5, 0.5]]
    """
    J = as_batch(J)
    try:
        eigvals = torch.linalg.eigvals(J)
    except torch.linalg.LinAlgError:
        eigvals, _ = eig_one_by_one(J)
    return eigvals.gather(1, slowest_first(eigvals, continuous))


def decompose(
    J: Tensor,
    *,
    dt: float | None = None,
    axis: Tensor | np.ndarray | None = None,
    k: int | None = None,
    continuous: bool = False,
) -> Modes:
    r"""Return eigenvalues, right and left vectors and time constants of each Jacobian.

    .. math:: J R = R \Lambda, \quad L = R^{-1}, \quad \tau_a = |1 / \ln|\lambda_a||, \quad
              f_a = |\arg \lambda_a| / 2\pi

    Parameters
    ----------
    J : Tensor, shape (P, N, N) or (N, N)
        Real Jacobians of the one-step map (or of the vector field, with ``continuous``).
    dt : float, > 0, optional
        Duration of a step: ``tau`` and ``freq`` are then in units of time.
    axis : array, shape (N,) or (P, N), optional
        Real right vectors get the sign for which ``<r, axis> >= 0``; without it, for which the
        entry of largest modulus is positive.
    k : int, >= 1, optional
        Keep the k slowest modes only (memory: 32 P N K bytes). A pair may be cut at the
        end; what sums over modes counts the missing partner.
    continuous : bool
        J belongs to a vector field: ``tau = 1 / |Re lambda|``, ``freq = |Im lambda| / 2 pi``,
        unstable where ``Re lambda > 0``, sorted by ``Re lambda``.

    Returns
    -------
    Modes
        On the CPU; empty for P = 0.

    Raises
    ------
    ValueError
        Wrong shape, NaN, ``dt`` together with ``continuous``.

    Notes
    -----
    Left vectors are rows of the inverse of R, never eigenvectors of the transpose matched by
    sorting. The inverse is taken in the real basis (Re r, Im r), so the two members of a pair are
    exact conjugates and every sum over pairs is exactly real. Where cond(R) > 1e8, clusters of
    eigenvalues are kept as invariant subspaces (`block_basis`) and flagged.
    Cost: the eigenvectors, O(25 N^3) a point; all else adds about a tenth.
    The modes of an Euler map of step dt are those of its field: lambda = 1 + dt lambda_c.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 3.

    Examples
    --------
    A leaky integrator beside an exact one:

    >>> modes = decompose(torch.diag(torch.tensor([0.5, 1.0])))
    >>> modes.tau.tolist()
    [[inf, 1.4427]]
    >>> modes.gap().tolist(), modes.n_slow(40).tolist()
    ([inf], [1])
    """
    J = as_batch(J)
    n_points, n = J.shape[:2]
    if dt is not None:
        if continuous:
            raise ValueError(f"dt must be None when continuous=True, got {dt}: a field has no step")
        check_range("dt", dt, 0, open_low=True)
    if k is not None:
        check_range("k", k, 1, n)
    direction = None
    if axis is not None:
        direction = torch.as_tensor(axis, dtype=torch.float64).detach().cpu()
        check_shape("axis", direction.shape, (n,) if direction.ndim == 1 else (n_points, n))
        check_finite("axis", direction)
        direction = direction.expand(n_points, n)

    n_modes = n if k is None else k
    eigvals = torch.empty(n_points, n_modes, dtype=torch.complex128)
    right = torch.empty(n_points, n, n_modes, dtype=torch.complex128)
    left = torch.empty(n_points, n_modes, n, dtype=torch.complex128)
    resolved = torch.empty(n_points, n_modes, dtype=torch.bool)
    defective = torch.empty(n_points, dtype=torch.bool)
    departure = torch.empty(n_points, dtype=torch.float64)
    size = max(1, CHUNK_BYTES // (16 * n * n))
    for start in range(0, n_points, size):
        chunk = slice(start, start + size)
        towards = None if direction is None else direction[chunk]
        values, columns, rows, sound = eigenbasis(J[chunk], towards, continuous)
        eigvals[chunk] = values[:, :n_modes]
        right[chunk] = columns[..., :n_modes]
        left[chunk] = rows[:, :n_modes]
        resolved[chunk] = sound[:, :n_modes]
        defective[chunk] = ~sound.all(1)
        departure[chunk] = henrici(J[chunk], values)
    tau, freq, unstable = _times(eigvals, dt, continuous)
    condition = left.norm(dim=2)  # 1 / |l r| with l of unit norm, for ||r|| = 1 and l r = 1
    return Modes(
        eigvals=eigvals,
        right=right,
        left=left,
        tau=tau,
        freq=freq,
        condition=condition,
        unstable=unstable,
        resolved=resolved,
        defective=defective,
        departure=departure,
        dt=dt,
        continuous=continuous,
    )


def modes_of(
    eigvals: Tensor,
    right: Tensor,
    left: Tensor,
    dt: float | None = None,
    resolved: Tensor | None = None,
) -> Modes:
    """Return `Modes` of eigenvalues and biorthogonal vectors found elsewhere, few of many.

    Parameters
    ----------
    eigvals, right, left : Tensor, shapes (P, K), (P, N, K), (P, K, N)
        Complex, sorted, pairs adjacent; ``left @ right = 1`` and columns of unit norm.
    dt : float, optional
        Duration of a step.
    resolved : Tensor, shape (P, K), bool, optional
        All are by default.

    Returns
    -------
    Modes
        ``departure`` is NaN, because it needs all modes.
    """
    if resolved is None:
        resolved = torch.ones(eigvals.shape, dtype=torch.bool)
    tau, freq, unstable = _times(eigvals, dt, False)
    return Modes(
        eigvals=eigvals,
        right=right,
        left=left,
        tau=tau,
        freq=freq,
        condition=left.norm(dim=2),
        unstable=unstable,
        resolved=resolved,
        defective=~resolved.all(1),
        departure=torch.full((len(eigvals),), math.nan, dtype=torch.float64),
        dt=dt,
    )


def _times(eigvals: Tensor, dt: float | None, continuous: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Time constants, frequencies and instability of eigenvalues."""
    if continuous:
        rate = eigvals.real
        tau = torch.where(rate.abs() <= ON_CIRCLE, math.inf, 1 / rate.abs())
        return tau, eigvals.imag.abs() / (2 * math.pi), rate > ON_CIRCLE
    modulus = eigvals.abs()
    on_circle = (modulus - 1).abs() <= ON_CIRCLE
    step = 1.0 if dt is None else dt
    tau = torch.where(on_circle, math.inf, step / modulus.log().abs())
    freq = eigvals.angle().abs() / (2 * math.pi * step)
    return tau, freq, (modulus > 1) & ~on_circle
