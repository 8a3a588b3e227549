"""State evolution: what message passing finds in a tensor so large that chance averages out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import (
    ConvergenceWarning,
    check_choice,
    check_count,
    check_finite,
    check_range,
)
from tractable.tensors.channel import matched_overlap, mismatched_overlap
from tractable.tensors.model import aspect_ratios
from tractable.tensors.priors import Prior, as_priors

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SEResult", "state_evolution"]

Array = np.ndarray
Schedule = Literal["sequential", "parallel"]
Start = Literal["uninformed", "informed"]


@dataclass(frozen=True)
class SEResult:
    """Overlaps of state evolution after each sweep, for p modes and r components."""

    M: Array
    """Overlap of estimate and truth, (sweeps + 1, p, r, r); the first is the start."""
    Q: Array
    """Self-overlap of the estimate, same shape; equal to M when prior and noise are true."""
    second_moment: Array
    """E[x x^T] of the true priors, (p, r, r)."""
    aspect: Array
    """Aspect ratios n_a, (p,)."""
    noise: float
    """Noise variance Delta, model units."""
    standard_error: Array
    """Of the last M, where common random numbers were used; else 0. (p, r, r)."""
    residual: float
    """Largest change of M and Q in the last sweep."""
    converged: bool
    """Whether the residual is below the tolerance."""

    @property
    def n_iter(self) -> int:
        """Sweeps made."""
        return len(self.M) - 1

    @property
    def overlap(self) -> Array:
        """The last M, (p, r, r)."""
        return self.M[-1]

    @property
    def beta(self) -> float:
        """Signal strength in units of unit vectors and noise of variance 1 / sum N_a, (T28)."""
        return float(np.sqrt(_total(self.second_moment) / (self.noise * self.aspect.sum())))

    @property
    def mse(self) -> Array:
        """Mean squared error per row, tr(rho - M - M^T + Q), (sweeps + 1, p), (T19)."""
        error = self.second_moment - 2 * self.M + self.Q
        return np.trace(error, axis1=-2, axis2=-1)

    @property
    def tensor_error(self) -> Array:
        """Squared error of the signal over its square, (sweeps + 1,), (T19)."""
        cross, own = (np.prod(v, axis=1).sum((-2, -1)) for v in (self.M, self.Q))
        return 1 + (own - 2 * cross) / _total(self.second_moment)

    @property
    def cosine(self) -> Array:
        """Cosine of estimated and true column, (sweeps + 1, p, r); nan for an estimate of 0."""
        own, cross, true = (
            np.diagonal(v, axis1=-2, axis2=-1) for v in (self.Q, self.M, self.second_moment)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return cross / np.sqrt(own * true)

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        matrix = ("mode", "component", "component_true")
        one = {"units": "1"}
        return xr.Dataset(
            {
                "M": (("sweep", *matrix), self.M, one),
                "Q": (("sweep", *matrix), self.Q, one),
                "second_moment": (matrix, self.second_moment, one),
                "standard_error": (matrix, self.standard_error, one),
                "aspect": ("mode", self.aspect, one),
                "mse": (("sweep", "mode"), self.mse, one),
                "tensor_error": ("sweep", self.tensor_error, one),
            },
            attrs={
                "noise": self.noise,
                "residual": self.residual,
                "converged": int(self.converged),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SEResult:
        """Return the result that `to_dataset` stored."""
        names = ("M", "Q", "second_moment", "aspect", "standard_error")
        arrays = {name: dataset[name].values for name in names}
        return cls(
            **arrays,
            noise=float(dataset.attrs["noise"]),
            residual=float(dataset.attrs["residual"]),
            converged=bool(dataset.attrs["converged"]),
        )


def state_evolution(
    shape: Sequence[float],
    priors: Prior | str | Sequence[Prior | str],
    noise: float,
    *,
    rank: int = 1,
    start: Start | ArrayLike = "uninformed",
    schedule: Schedule = "sequential",
    matched: bool = True,
    true_priors: Prior | str | Sequence[Prior | str] | None = None,
    true_noise: float | None = None,
    damping: float = 0.0,
    max_iter: int = 20_000,
    tol: float = 1e-12,
    n_samples: int = 20_000,
) -> SEResult:
    r"""Iterate the overlaps of estimate and truth to their fixed point, (T16)-(T18).

    .. math:: \hat A_a = \frac{1}{\Delta} \prod_{b \ne a} n_b M_b, \qquad
              M_a \leftarrow \mathrm{E}\, f(A, u)\, x^T

    with the product entry by entry. With the true prior and noise M = Q.

    Parameters
    ----------
    shape : sequence of float
        Sizes or aspect ratios of the modes; only their ratios matter.
    priors : Prior, str, or one for each mode
        What the algorithm assumes.
    noise : float
        Noise variance Delta > 0 that the algorithm assumes, model units.
    rank : int
        Components r.
    start : "uninformed", "informed" or array
        M = E[x] E[x]^T (from the priors' means: zero-mean priors stay at M = 0), M = E[x x^T], or
        given: (p,) at rank 1, else (r, r) or (p, r, r). Equal components stay equal for ever: add
        a little of the identity to E[x] E[x]^T to break the symmetry.
    schedule : "sequential" or "parallel"
        Modes one after the other, each with the newest others, or all at once.
    matched : bool
        Keep Q = M. False follows M and Q apart.
    true_priors, true_noise : optional
        What holds in truth, where that is something else; implies ``matched=False``. With another
        noise the precision is that of (T14b), as in `amp`, which measures the noise it is given.
    damping : float
        Share of the old overlaps that is kept, in [0, 1). The fixed points stay; the damped
        iteration of overlaps is not that of damped message passing.
    max_iter, tol : int, float
        Sweeps at most, and the largest change of M and Q at which to stop.
    n_samples : int
        Common random numbers for priors that are not Gaussian, at rank > 1.

    Returns
    -------
    SEResult
        Overlaps after every sweep. A `ConvergenceWarning` is given where the tolerance was not
        reached; near a threshold the iteration slows down as (distance)^(-1/2).

    Raises
    ------
    ValueError
        For noise <= 0, a start of another shape, or another number of priors than modes.

    References
    ----------
    Kadmon, Ganguli 2018, arXiv:1810.10065.

    Examples
    --------
    >>> result = state_evolution((100, 200, 400), "gaussian(0.4)", 0.3)
    >>> result.overlap[:, 0, 0].round(3).tolist()
    [0.971, 0.867, 0.744]
    """
    aspect = aspect_ratios(shape)
    order = len(aspect)
    assumed = as_priors(priors, order)
    truth = assumed if true_priors is None else as_priors(true_priors, order)
    _check(noise, true_noise, rank, schedule, damping, max_iter, tol)
    second = np.stack([prior.moments(rank)[1].numpy() for prior in truth])
    M, Q = _start(start, assumed, truth, rank, second)
    symmetric = _equal_components(M, second) and _equal_components(Q, second)
    matched = matched and true_priors is None and true_noise is None
    noise_ratio = 1.0 if true_noise is None else true_noise / noise
    trace_M, trace_Q = [M.copy()], [Q.copy()]
    errors, V = np.zeros_like(M), np.zeros_like(M)  # V: mean posterior covariance of each mode
    residual, converged = np.inf, False
    for _ in range(max_iter):
        old_M, old_Q, old_V = M.copy(), Q.copy(), V.copy()
        for a in range(order):
            from_M, from_Q = (M, Q) if schedule == "sequential" else (old_M, old_Q)
            signal = _field(from_M, aspect, a, noise)
            if matched:
                new_M, errors[a] = matched_overlap(
                    assumed[a], (signal + signal.T) / 2, n_samples=n_samples
                )
                new_Q = new_M
            else:
                noise_cov = noise_ratio * _field(from_Q, aspect, a, noise)
                from_V = V if schedule == "sequential" else old_V
                A = noise_cov - (noise_ratio - 1) * _field(from_Q + from_V, aspect, a, noise)
                new_M, new_Q, V[a] = mismatched_overlap(
                    assumed[a], truth[a], signal, noise_cov, _positive(A), n_samples=n_samples
                )
            if symmetric:  # rounding must not break a symmetry that the equations keep
                new_M, new_Q = (np.full((rank, rank), v.mean()) for v in (new_M, new_Q))
            M[a] = damping * old_M[a] + (1 - damping) * new_M
            Q[a] = damping * old_Q[a] + (1 - damping) * new_Q
        trace_M.append(M.copy())
        trace_Q.append(Q.copy())
        residual = float(max(np.abs(M - old_M).max(), np.abs(Q - old_Q).max()))
        if residual <= tol:
            converged = True
            break
    if not converged:
        warnings.warn(
            f"state evolution has not converged in {max_iter} sweeps: the last one changed the "
            f"overlaps by {residual:.2g}, tol is {tol:g}; raise max_iter, or use "
            "schedule='sequential' where the parallel one oscillates",
            ConvergenceWarning,
            stacklevel=2,
        )
    return SEResult(
        np.stack(trace_M),
        np.stack(trace_Q),
        second,
        aspect,
        float(noise),
        errors,
        residual,
        converged,
    )


def _field(M: Array, aspect: Array, a: int, noise: float) -> Array:
    """Return prod_{b != a} n_b M_b / Delta, entry by entry, (T16)."""
    others = [aspect[b] * M[b] for b in range(len(aspect)) if b != a]
    return reduce(np.multiply, others) / noise


def _positive(A: Array) -> Array:
    """Return A with eigenvalues clipped at 0, as message passing does."""
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    return (vectors * values.clip(0)) @ vectors.T


def _equal_components(M: Array, second: Array) -> bool:
    """Return whether the estimated components are equal, and the true ones exchangeable."""
    r = M.shape[-1]
    diagonal = np.diagonal(second, axis1=-2, axis2=-1)
    others = second[:, ~np.eye(r, dtype=bool)]
    return all(
        bool((np.ptp(v, axis=1) == 0).all()) for v in (M.reshape(len(M), -1), diagonal)
    ) and (r == 1 or bool((np.ptp(others, axis=1) <= 1e-14).all()))


def _start(
    start: Start | ArrayLike,
    assumed: Sequence[Prior],
    truth: Sequence[Prior],
    rank: int,
    second: Array,
) -> tuple[Array, Array]:
    order = len(assumed)
    if isinstance(start, str):
        check_choice("start", start, ("uninformed", "informed"))
        if start == "informed":
            return second.copy(), second.copy()
        mean = np.stack([prior.moments(rank)[0].numpy() for prior in assumed])
        true = np.stack([prior.moments(rank)[0].numpy() for prior in truth])
        return mean[:, :, None] * true[:, None, :], mean[:, :, None] * mean[:, None, :]
    M = np.asarray(start, float)
    check_finite("start", M)
    if rank == 1 and M.shape == (order,):
        M = M[:, None, None]
    elif M.shape == (rank, rank):
        M = np.broadcast_to(M, (order, rank, rank))
    if M.shape != (order, rank, rank):
        raise ValueError(
            f"start must be 'uninformed', 'informed' or have shape ({order}, {rank}, {rank}) or "
            f"({rank}, {rank})" + (f" or ({order},)" if rank == 1 else "") + f", got {M.shape}"
        )
    return M.copy(), M.copy()


def _check(
    noise: float,
    true_noise: float | None,
    rank: int,
    schedule: str,
    damping: float,
    max_iter: int,
    tol: float,
) -> None:
    for name, value in (("noise", noise), ("true_noise", true_noise)):
        if value is not None:
            check_finite(name, value)
            check_range(name, value, 0, open_low=True)
    check_count("rank", rank)
    check_choice("schedule", schedule, ("sequential", "parallel"))
    check_range("damping", damping, 0, 1, open_high=True)
    check_count("max_iter", max_iter)
    check_range("tol", tol, 0)


def _total(second: Array) -> float:
    """Return the mean square of the signal, sum over components of prod_a rho_a."""
    return float(np.prod(second, axis=0).sum())
