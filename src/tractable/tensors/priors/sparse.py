"""Spike and slab: exact zeros, and a Gaussian elsewhere."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import softplus

from tractable.core.checks import check_finite, check_range
from tractable.tensors.priors.gaussian import Gaussian
from tractable.tensors.priors.protocol import check_rank, row_wise, scalar_parts

__all__ = ["GaussBernoulli"]

MOST_PATTERNS = 1024


@dataclass(frozen=True)
class GaussBernoulli:
    """Zero with probability 1 - p, else N(mean, var): (1 - p) delta_0 + p N, (T12).

    At rank 1 the posterior has the slab's mean m and variance v with probability q, so its mean is
    q m and its variance q v + q (1 - q) m^2. Beyond, the sum runs over the 2^r sets of components
    that are not zero.

    Parameters
    ----------
    p : float
        Share of entries that are not zero, in (0, 1).
    mean, var : float
        Of the entries that are not zero; var > 0.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, cov = GaussBernoulli(0.1).mean_cov(3 * one, 4 * one)
    >>> round(mean.item(), 4), round(cov.item(), 4)
    (0.291, 0.2791)
    """

    p: float = 0.1
    mean: float = 0.0
    var: float = 1.0

    def __post_init__(self) -> None:
        check_range("p", self.p, 0, 1, open_low=True, open_high=True)
        check_finite("mean", float(self.mean))
        check_finite("var", float(self.var))
        check_range("var", self.var, 0, open_low=True)

    @property
    def rank(self) -> None:
        """None: independent components of any number (to 10)."""

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T12), shape (..., N)."""
        if u.shape[-1] > 1:
            return self._patterns(A, u)[0].logsumexp(-1)
        logit, _, _ = self._slab(A, u)
        return np.log1p(-self.p) + softplus(logit, threshold=50)

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and covariance of the mixture."""
        if u.shape[-1] == 1:
            logit, m, v = self._slab(A, u)
            q = torch.sigmoid(logit)
            var = q * v + q * torch.sigmoid(-logit) * m**2
            return (q * m).unsqueeze(-1), var[..., None, None]
        log_w, means, covs = self._patterns(A, u)
        w = torch.softmax(log_w, -1)
        mean = (w.unsqueeze(-1) * means).sum(-2)
        away = means - mean.unsqueeze(-2)
        within = (w[..., None, None] * covs).sum(-3)
        between = torch.einsum("...k,...ki,...kj->...ij", w, away, away)
        return mean, within + between

    def _slab(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logit q, and mean and variance of the slab."""
        a, h = scalar_parts(A, u)
        precision = a + 1 / self.var
        m = (h + self.mean / self.var) / precision
        log_z = (precision * m**2 - self.mean**2 / self.var - torch.log(precision * self.var)) / 2
        return np.log(self.p) - np.log1p(-self.p) + log_z, m, 1 / precision

    def _patterns(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return log weight (..., N, K), mean (..., N, K, r) and covariance of K = 2^r patterns."""
        r = u.shape[-1]
        if 2**r > MOST_PATTERNS:
            raise NotImplementedError(
                f"GaussBernoulli at rank {r} sums over 2^{r} patterns, more than {MOST_PATTERNS}; "
                "lower the rank, or use Gaussian"
            )
        on = torch.tensor(list(itertools.product([0.0, 1.0], repeat=r)), dtype=u.dtype).to(u)
        log_p = on.sum(1) * np.log(self.p) + (r - on.sum(1)) * np.log1p(-self.p)
        # A silent component is a Gaussian of mean and variance 0: one formula for all patterns.
        parts = [
            _with_root(A, u, self.mean * pattern, pattern * np.sqrt(self.var)) for pattern in on
        ]
        log_z, mean, cov = (torch.stack(part, -1) for part in zip(*parts, strict=True))
        return log_p + log_z, mean.movedim(-1, -2), cov.movedim(-1, -3)

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        check_rank(None, rank, "GaussBernoulli")
        first = torch.full((rank,), self.p * self.mean, dtype=torch.float64)
        spread = self.p * (self.var + self.mean**2) - (self.p * self.mean) ** 2
        eye = torch.eye(rank, dtype=torch.float64)
        return first, torch.outer(first, first) + spread * eye

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: as many zeros as p says, the others with the slab's moments."""
        slab = Gaussian(self.mean, self.var)
        if not matched:
            on = torch.rand(n, rank, generator=generator, dtype=torch.float64) < self.p
            return on * slab.sample(n, rank, generator=generator)
        x = torch.zeros(n, rank, dtype=torch.float64)
        count = round(n * self.p)
        for column in range(rank):
            rows = torch.randperm(n, generator=generator)[:count]
            x[rows, column] = slab.sample(count, generator=generator, matched=True)[:, 0]
        return x


def _with_root(
    A: torch.Tensor, u: torch.Tensor, m: torch.Tensor, std: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log Z, mean and covariance (T9) of independent N(m, std^2), std may be 0."""
    A = row_wise(A, u)
    root = std.diag()
    eye = torch.eye(len(m), dtype=u.dtype, device=u.device)
    factor = torch.linalg.cholesky(eye + root @ A @ root)
    half = torch.linalg.solve_triangular(factor, root.expand_as(factor), upper=False)
    C = half.mT @ half
    Am = (A @ m.unsqueeze(-1)).squeeze(-1)
    h = u - Am
    Ch = (C @ h.unsqueeze(-1)).squeeze(-1)
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_z = (h * Ch).sum(-1) / 2 + u @ m - (Am * m).sum(-1) / 2 - log_det / 2
    mean = m + Ch
    return log_z, mean, C.expand(*mean.shape, len(m))
