"""Tilted densities of independent components under a full A: they do not factorize.

For x_2, ..., x_r on a grid the last integral, over x_1, is that of the scalar prior with
u_1 - sum_k A_1k x_k in place of u_1. The grid of each row is Gauss-Legendre between the bounds of
its marginals, found first from the product form and then from the grid itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from tractable.tensors.priors.protocol import row_wise

__all__ = ["Line", "ScalarPrior", "joint_log_z", "joint_mean_cov"]

HIGHEST_RANK = 3
NODES = 48
SPREAD_BELOW, SPREAD_ABOVE = 11.0, 24.0  # in standard deviations; above for exponential tails
PASSES = 3
SWEEPS = 50
COORDINATE_SWEEPS = 3
HALVINGS = 12
CHUNK = 2_000_000  # points of the grid at a time


@dataclass(frozen=True)
class Line:
    """Numbers of a density exp(constant + slope x - precision x^2 / 2) on x >= low."""

    precision: float
    slope: float
    constant: float
    low: float


class ScalarPrior(Protocol):
    """One component of a prior: its tilted integrals, and its density."""

    @property
    def low(self) -> float:
        """Lower end of the support, may be -inf."""

    def log_z(self, a: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Return log of the integral of the density tilted by exp(h x - a x^2 / 2)."""

    def mean_var(self, a: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of the tilted density."""

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density."""


def joint_log_z(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor, factorized: bool
) -> torch.Tensor:
    """Return log Z of independent components under a full A, shape (..., N)."""
    if factorized:
        return _product_form(prior, A, u)[2]
    return _integrate(prior, A, u)[0]


def joint_mean_cov(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor, factorized: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean (..., N, r) and covariance (..., N, r, r) of the tilted density."""
    if factorized:
        mean, cov, _ = _product_form(prior, A, u)
        return mean, cov
    _, mean, cov = _integrate(prior, A, u)
    return mean, cov


def _product_form(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean, covariance and log Z of naive mean field, with the linear-response covariance.

    m_k is the scalar prior's mean at h_k = u_k - sum_{l != k} A_kl m_l; the covariance is the
    derivative of m by u, (diag(1 / v) + off-diagonal A)^-1.
    """
    A = row_wise(A, u)
    r = u.shape[-1]
    diagonal = A.diagonal(dim1=-2, dim2=-1)
    off = A - torch.diag_embed(diagonal)

    def field(k: int, mean: torch.Tensor) -> torch.Tensor:
        return u[..., k] - (off[..., k, :] * mean).sum(-1)

    with torch.no_grad():
        columns = [prior.mean_var(diagonal[..., k], u[..., k])[0] * 0 for k in range(r)]
        mean = torch.stack(columns, -1)
        for _ in range(COORDINATE_SWEEPS):
            for k in range(r):
                mean[..., k] = prior.mean_var(diagonal[..., k], field(k, mean))[0]
        mean = _newton_mean(prior, off, diagonal, u, mean)
    fields = torch.stack([field(k, mean) for k in range(r)], -1)
    var = torch.stack(
        [prior.mean_var(diagonal[..., k], fields[..., k])[1] for k in range(r)], -1
    ).clamp_min(1e-300)
    # (D^-1 + O)^-1 = S (1 + S O S)^-1 S with S = sqrt(D), which also holds for v -> 0.
    s = var.sqrt()
    inner = torch.eye(r, dtype=u.dtype, device=u.device) + s.unsqueeze(-1) * off * s.unsqueeze(-2)
    cov = s.unsqueeze(-1) * torch.linalg.inv(inner) * s.unsqueeze(-2)
    terms = [prior.log_z(diagonal[..., k], fields[..., k]) for k in range(r)]
    pair = torch.einsum("...k,...kl,...l->...", mean, off.expand(*u.shape, r), mean) / 2
    return mean, (cov + cov.mT) / 2, torch.stack(terms, -1).sum(-1) + pair


def _newton_mean(
    prior: ScalarPrior,
    off: torch.Tensor,
    diagonal: torch.Tensor,
    u: torch.Tensor,
    mean: torch.Tensor,
) -> torch.Tensor:
    """Solve m = f(u - O m) by Newton steps, halved in rows whose residual would grow.

    Coordinate by coordinate it takes hundreds of sweeps where components are alike.
    """

    def residual(m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image, var = prior.mean_var(diagonal, u - (off @ m.unsqueeze(-1)).squeeze(-1))
        return image - m, var

    eye = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    gap, var = residual(mean)
    for _ in range(SWEEPS):
        size = gap.abs().amax(-1, keepdim=True)
        scale = mean.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        if bool((size <= 1e-12 * scale).all()):
            break
        step = torch.linalg.solve(eye + var.unsqueeze(-1) * off, gap)
        length = torch.ones_like(size)
        for _ in range(HALVINGS):
            tried = (mean + length * step).clamp_min(prior.low)
            new_gap, new_var = residual(tried)
            worse = new_gap.abs().amax(-1, keepdim=True) > size
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        keep = worse.expand_as(mean)
        if bool(worse[size > 1e-12 * scale].all()):
            break
        mean = torch.where(keep, mean, tried)
        gap, var = torch.where(keep, gap, new_gap), torch.where(keep, var, new_var)
    return mean


def _integrate(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log Z, mean and covariance by quadrature, in chunks of rows."""
    r = u.shape[-1]
    if r > HIGHEST_RANK:
        raise NotImplementedError(
            f"the tilted density of this prior is integrated up to rank {HIGHEST_RANK}, got {r}; "
            "use factorized=True (a product form), or a Gaussian, Discrete or GaussBernoulli prior"
        )
    full = row_wise(A, u).expand(*u.shape, r).reshape(-1, r, r)
    rows = u.reshape(-1, r)
    size = max(1, CHUNK // NODES ** (r - 1))
    parts = [_chunk(prior, a, h) for a, h in zip(full.split(size), rows.split(size), strict=True)]
    log_z, mean, cov = (torch.cat(part) for part in zip(*parts, strict=True))
    return log_z.reshape(u.shape[:-1]), mean.reshape(u.shape), cov.reshape(*u.shape, r)


def _chunk(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        mean, cov, _ = _product_form(prior, A, u)
        for _ in range(PASSES - 1):
            _, mean, cov = _on_grid(prior, A, u, *_bounds(prior, mean, cov))
        bounds = _bounds(prior, mean, cov)
    return _on_grid(prior, A, u, *bounds)


def _bounds(
    prior: ScalarPrior, mean: torch.Tensor, cov: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ends of the grid of x_2, ..., x_r, each (rows, r - 1)."""
    std = cov.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).sqrt()[:, 1:]
    center = mean[:, 1:]
    low = (center - SPREAD_BELOW * std).clamp_min(prior.low)
    above = SPREAD_ABOVE if prior.low > -np.inf else SPREAD_BELOW
    # Far from the lower end the tail above is Gaussian, and the grid can be finer.
    factor = torch.where(low > prior.low, torch.full_like(low, SPREAD_BELOW), above * 1.0)
    return low, center + factor * std


def _on_grid(
    prior: ScalarPrior, A: torch.Tensor, u: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log Z, mean and covariance with x_2, ..., x_r on a tensor-product grid."""
    points, weights = (torch.as_tensor(v).to(u) for v in np.polynomial.legendre.leggauss(NODES))
    half = (high - low) / 2
    x = low.unsqueeze(-1) + half.unsqueeze(-1) * (points + 1)  # (rows, r - 1, nodes)
    log_w = prior.log_density(x) + weights.log() + half.unsqueeze(-1).log()
    others = x.shape[1]
    axes = torch.meshgrid(*[torch.arange(NODES, device=u.device)] * others, indexing="ij")
    index = torch.stack([axis.reshape(-1) for axis in axes])  # (r - 1, points)
    grid = torch.stack([x[:, k, index[k]] for k in range(others)], -1)  # (rows, points, r - 1)
    energy = torch.einsum("npk,nkl,npl->np", grid, A[:, 1:, 1:], grid) / 2
    exponent = torch.einsum("npk,nk->np", grid, u[:, 1:]) - energy
    for k in range(others):
        exponent = exponent + log_w[:, k, index[k]]
    field = u[:, :1] - torch.einsum("npk,nk->np", grid, A[:, 0, 1:])
    a = A[:, :1, 0].expand_as(field)
    exponent = exponent + prior.log_z(a, field)
    log_z = exponent.logsumexp(-1)
    p = torch.exp(exponent - log_z.unsqueeze(-1))
    inner_mean, inner_var = prior.mean_var(a, field)
    values = torch.cat([inner_mean.unsqueeze(-1), grid], -1)
    mean = torch.einsum("np,npk->nk", p, values)
    away = values - mean.unsqueeze(1)
    cov = torch.einsum("np,npk,npl->nkl", p, away, away)
    cov[:, 0, 0] = cov[:, 0, 0] + (p * inner_var).sum(-1)
    return log_z, mean, cov
