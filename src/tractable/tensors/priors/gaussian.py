"""The Gaussian prior, of any rank and full covariance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite
from tractable.tensors.priors.protocol import check_rank, row_wise

__all__ = ["Gaussian"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Rows N(mean, cov): log Z, mean and covariance in closed form, (T9).

    Parameters
    ----------
    mean : float or (r,) array
        A number holds for every component.
    var : float or (r,) array
        Variance of independent components, >= 0.
    cov : (r, r) array, optional
        Full covariance, instead of ``var``; symmetric, positive semi-definite.

    Raises
    ------
    ValueError
        For values that are not finite, and for a covariance that is none.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, cov = Gaussian(0.5).mean_cov(3 * one, one)
    >>> mean.item(), cov.item()
    (0.375, 0.25)
    """

    mean: ArrayLike = 0.0
    var: ArrayLike = 1.0
    cov: ArrayLike | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "var", "cov"):
            value = getattr(self, name)
            if value is not None:
                check_finite(name, as_floats(name, value))
        if np.ndim(self.mean) > 1 or np.ndim(self.var) > 1:
            raise ValueError("mean and var must be numbers or vectors; a matrix is given as cov=")
        if np.any(np.asarray(self.var, dtype=float) < 0):
            raise ValueError(f"var must be >= 0, got {self.var}")
        if self.cov is not None:
            cov = np.asarray(self.cov, dtype=float)
            if cov.ndim != 2 or cov.shape[0] != cov.shape[1]:
                raise ValueError(f"cov must have shape (r, r), got {cov.shape}")
            if not np.allclose(cov, cov.T) or np.linalg.eigvalsh(cov).min() < -1e-12:
                raise ValueError("cov must be symmetric and positive semi-definite")
        sizes = self._lengths()
        if len(sizes) > 1:
            raise ValueError(f"mean, var and cov must agree in length, got {sorted(sizes)}")

    def __repr__(self) -> str:
        spread = f"var={_short(self.var)}" if self.cov is None else f"cov={_short(self.cov)}"
        return f"Gaussian(mean={_short(self.mean)}, {spread})"

    @property
    def rank(self) -> int | None:
        """Components r where a parameter is a vector or a matrix, else None."""
        return next(iter(self._lengths()), None)

    def _lengths(self) -> set[int]:
        given = [np.asarray(v, float) for v in (self.mean, self.var, self.cov) if v is not None]
        return {len(v) for v in given if v.ndim > 0}

    def parameters(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean (r,) and the covariance (r, r)."""
        check_rank(self.rank, rank, "Gaussian")
        mean = torch.as_tensor(np.broadcast_to(np.asarray(self.mean, float), (rank,)).copy())
        if self.cov is not None:
            return mean, torch.as_tensor(np.array(self.cov, float))
        var = np.broadcast_to(np.asarray(self.var, float), (rank,))
        return mean, torch.as_tensor(np.diag(var))

    def scalars(self) -> tuple[float, float]:
        """Return the mean and the variance at rank 1."""
        if self.cov is None and isinstance(self.mean, float) and isinstance(self.var, float):
            return self.mean, self.var
        mean, cov = self.parameters(1)
        return float(mean), float(cov)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T9), shape (..., N)."""
        return self.log_z_mean_cov(A, u)[0]

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the posterior mean m + C (u - A m) and covariance C (T9)."""
        return self.log_z_mean_cov(A, u)[1:]

    def log_z_mean_cov(
        self, A: torch.Tensor, u: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log Z, mean and covariance, which have almost all of their arithmetic in common.

        With h = u - A m and C = L (I + L^T A L)^-1 L^T, S = L L^T:
        log Z = h C h / 2 + u m - m A m / 2 - log det(I + L^T A L) / 2.
        """
        row_wise(A, u)  # refuses shapes that do not fit
        m, _, root, eye = (value.to(u) for value in self._of_rank(u.shape[-1]))
        factor = torch.linalg.cholesky(eye + root.mT @ A @ root)
        half = torch.linalg.solve_triangular(factor, root.mT.expand_as(factor), upper=False)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        C, at_mean = half.mT @ half, A @ m
        constant = at_mean @ m / 2 + log_det
        if A.ndim == u.ndim:  # shared by the rows
            h, constant = u - at_mean.unsqueeze(-2), constant.unsqueeze(-1)
            step, C = h @ C, C.unsqueeze(-3)
        else:
            h = u - at_mean
            step = (C @ h.unsqueeze(-1)).squeeze(-1)
        log_z = (h * step).sum(-1) / 2 + u @ m - constant
        mean = m + step
        return log_z, mean, C.expand(*mean.shape, mean.shape[-1])

    def _of_rank(self, rank: int) -> tuple[torch.Tensor, ...]:
        """Return mean, covariance, a root of it, and the identity, which every update asks for."""
        known = self._known
        if rank not in known:
            mean, cov = self.parameters(rank)
            known[rank] = mean, cov, _root(cov), torch.eye(rank, dtype=cov.dtype)
        return known[rank]

    @cached_property
    def _known(self) -> dict[int, tuple[torch.Tensor, ...]]:
        return {}

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        mean, cov = self._of_rank(rank)[:2]
        return mean.clone(), cov + torch.outer(mean, mean)

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: sample mean and covariance are exactly those of the prior."""
        mean, cov = self.parameters(rank)
        z = torch.randn(n, rank, generator=generator, dtype=torch.float64)
        if matched and n > rank:
            z = z - z.mean(0)
            factor = torch.linalg.cholesky(z.mT @ z / n)
            z = torch.linalg.solve_triangular(factor, z.mT, upper=False).mT
        return mean + z @ _root(cov).mT

    def refit(self, first: torch.Tensor, second: torch.Tensor) -> Gaussian:
        """Return the Gaussian of these moments: diagonal where this one is, else full."""
        mean, square = (np.asarray(torch.as_tensor(v).cpu(), float) for v in (first, second))
        cov = square - np.outer(mean, mean)
        if self.cov is None:
            return Gaussian(mean, np.clip(np.diag(cov), 1e-12, None))
        values, vectors = np.linalg.eigh((cov + cov.T) / 2)
        return Gaussian(mean, cov=(vectors * np.clip(values, 1e-12, None)) @ vectors.T)


def _root(S: torch.Tensor) -> torch.Tensor:
    """Return R with R R^T = S, also of a singular S."""
    if torch.count_nonzero(S - S.diagonal().diag()) == 0:
        return S.diagonal().sqrt().diag()
    values, vectors = torch.linalg.eigh(S)
    return vectors * values.clamp_min(0).sqrt()


def _short(value: ArrayLike) -> str:
    return f"{float(value):g}" if np.ndim(value) == 0 else str(np.round(value, 4).tolist())  # type: ignore[arg-type]
