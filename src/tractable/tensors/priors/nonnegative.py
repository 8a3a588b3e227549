"""Priors on x >= 0: the truncated Gaussian and the exponential."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tractable.core.checks import check_finite, check_range
from tractable.tensors.priors.protocol import check_rank, scalar_parts
from tractable.tensors.priors.quadrature import Line, joint_log_z, joint_mean_cov

__all__ = ["Exponential", "TruncatedGaussian"]

FAR = 8.0  # standard deviations below 0 from which on the continued fraction is used
TERMS = 14  # at FAR the error is exp(-2 FAR sqrt(2 TERMS))
LEAST_PRECISION = 1e-30


@dataclass(frozen=True)
class TruncatedGaussian:
    """N(mean, var) restricted to x >= 0, (T13).

    Beyond rank 1 the tilted density of independent components does not factorize. Rank 2 and 3 are
    integrated by quadrature; higher ranks need ``factorized=True``, a self-consistent product form
    (naive mean field with the covariance of linear response; exact for a Gaussian).

    Parameters
    ----------
    mean, var : float
        Of the Gaussian before truncation; var > 0.
    factorized : bool
        Use the product form at every rank above 1.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, cov = TruncatedGaussian().mean_cov(one, 0 * one)
    >>> round(mean.item(), 6), round(cov.item(), 6)
    (0.56419, 0.18169)
    """

    mean: float = 0.0
    var: float = 1.0
    factorized: bool = False

    def __post_init__(self) -> None:
        check_finite("mean", float(self.mean))
        check_finite("var", float(self.var))
        check_range("var", self.var, 0, open_low=True)

    @property
    def rank(self) -> None:
        """None: independent components of any number."""

    def line(self) -> Line:
        """Return the scalar prior: log Z and moments of one component."""
        offset = self.mean / np.sqrt(self.var)
        norm = float(_log_mass(torch.tensor(offset, dtype=torch.float64)))
        constant = -norm - np.log(self.var) / 2
        return Line(1 / self.var, self.mean / self.var, constant, 0.0)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T13), shape (..., N)."""
        if u.shape[-1] > 1:
            return joint_log_z(HalfLine(self.line()), A, u, self.factorized)
        return HalfLine(self.line()).log_z(*scalar_parts(A, u))

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and covariance of the truncated, tilted Gaussian."""
        if u.shape[-1] > 1:
            return joint_mean_cov(HalfLine(self.line()), A, u, self.factorized)
        mean, var = HalfLine(self.line()).mean_var(*scalar_parts(A, u))
        return mean.unsqueeze(-1), var[..., None, None]

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        return _line_moments(HalfLine(self.line()), rank, "TruncatedGaussian")

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: one draw from each of n equal shares of the probability."""
        p = _uniform(n, rank, generator, matched)
        # x = mean + std Phi^-1(1 - Phi(mean / std) (1 - p)): the upper tail, where it is accurate.
        std = np.sqrt(self.var)
        inside = torch.special.log_ndtr(torch.tensor(self.mean / std, dtype=torch.float64)).exp()
        return (self.mean - std * torch.special.ndtri(inside * (1 - p))).clamp_min(0)


@dataclass(frozen=True)
class Exponential:
    """Density rate exp(-rate x) on x >= 0, (T13); beyond rank 1 as `TruncatedGaussian`.

    Parameters
    ----------
    rate : float
        > 0; the mean is 1 / rate.
    factorized : bool
        Use the product form at every rank above 1.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, cov = Exponential().mean_cov(1e-9 * one, 0 * one)
    >>> round(mean.item(), 6), round(cov.item(), 6)
    (1.0, 1.0)
    """

    rate: float = 1.0
    factorized: bool = False

    def __post_init__(self) -> None:
        check_finite("rate", float(self.rate))
        check_range("rate", self.rate, 0, open_low=True)

    @property
    def rank(self) -> None:
        """None: independent components of any number."""

    def line(self) -> Line:
        """Return the scalar prior: log Z and moments of one component."""
        return Line(0.0, -self.rate, np.log(self.rate) + np.log(2 * np.pi) / 2, 0.0)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T13), shape (..., N)."""
        if u.shape[-1] > 1:
            return joint_log_z(HalfLine(self.line()), A, u, self.factorized)
        return HalfLine(self.line()).log_z(*scalar_parts(A, u))

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and covariance of the tilted density."""
        if u.shape[-1] > 1:
            return joint_mean_cov(HalfLine(self.line()), A, u, self.factorized)
        mean, var = HalfLine(self.line()).mean_var(*scalar_parts(A, u))
        return mean.unsqueeze(-1), var[..., None, None]

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        check_rank(None, rank, "Exponential")
        first = torch.full((rank,), 1 / self.rate, dtype=torch.float64)
        eye = torch.eye(rank, dtype=torch.float64)
        return first, torch.outer(first, first) + eye / self.rate**2

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: one draw from each of n equal shares of the probability."""
        return -torch.log1p(-_uniform(n, rank, generator, matched)) / self.rate

    def refit(self, first: torch.Tensor, second: torch.Tensor) -> Exponential:
        """Return the prior with the mean of these moments."""
        mean = float(torch.as_tensor(first).mean())
        return Exponential(1 / max(mean, 1e-12), self.factorized)


@dataclass(frozen=True)
class HalfLine:
    """exp(constant + slope x - precision x^2 / 2) on x >= 0, up to the factor 1 / sqrt(2 pi)."""

    prior: Line

    low: float = 0.0

    def log_z(self, a: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Return log of the integral tilted by exp(h x - a x^2 / 2)."""
        precision, alpha = self._standard(a, h)
        shift = self.prior.slope**2 / (2 * self.prior.precision) if self.prior.precision else 0.0
        return self.prior.constant - shift + _log_mass(alpha, scaled=True) - precision.log() / 2

    def mean_var(self, a: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance, without cancellation however far the bulk lies below 0."""
        precision, alpha = self._standard(a, h)
        mean, var = _mills_moments(alpha)
        return mean / precision.sqrt(), var / precision

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the prior's density at x >= 0."""
        shift = self.prior.slope**2 / (2 * self.prior.precision) if self.prior.precision else 0.0
        exponent = self.prior.slope * x - self.prior.precision * x**2 / 2 - shift
        return self.prior.constant - np.log(2 * np.pi) / 2 + exponent

    def _standard(self, a: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        precision = (a + self.prior.precision).clamp_min(LEAST_PRECISION)
        return precision, (h + self.prior.slope) / precision.sqrt()


def _log_mass(alpha: torch.Tensor, *, scaled: bool = False) -> torch.Tensor:
    """Return log Phi(alpha), or alpha^2 / 2 + log Phi(alpha), which stays moderate below 0."""
    if not scaled:
        return torch.special.log_ndtr(alpha)
    above = alpha.clamp_min(0)
    upper = above**2 / 2 + torch.special.log_ndtr(above)
    lower = torch.log(torch.special.erfcx(-alpha.clamp(-FAR, 0) / np.sqrt(2)) / 2)
    x, e = _mills(alpha)
    far = -torch.log(x + 1 / (x + 2 * e)) - np.log(2 * np.pi) / 2
    return torch.where(alpha < -FAR, far, torch.where(alpha < 0, lower, upper))


def _mills(alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x = -alpha, at least FAR, and e = 1 / (x + 3 / (x + 4 / ...)).

    These are the lower levels of the continued fraction of Mills' ratio,
    Phi(-x) / phi(x) = 1 / (x + 1 / (x + 2 e)).
    """
    x = -alpha.clamp_max(-FAR)
    tail = x
    for k in range(TERMS, 2, -1):
        tail = x + k / tail
    return x, 1 / tail


def _mills_moments(alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of N(alpha, 1) restricted to x >= 0.

    Near 0 and above: alpha + h and 1 - h (h + alpha), with h = phi / Phi. Far below 0 both cancel,
    and the continued fraction gives them directly: mean = 1 / (x + 2 e), variance =
    mean (2 e - mean).
    """
    near = alpha.clamp_min(-FAR)
    h = torch.exp(-(near**2) / 2 - torch.special.log_ndtr(near)) / np.sqrt(2 * np.pi)
    x, e = _mills(alpha)
    far_mean = 1 / (x + 2 * e)
    far = alpha < -FAR
    mean = torch.where(far, far_mean, alpha + h)
    var = torch.where(far, far_mean * (2 * e - far_mean), 1 - h * (h + near))
    return mean, var


def _line_moments(line: HalfLine, rank: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    check_rank(None, rank, name)
    nothing = torch.zeros((), dtype=torch.float64)
    mean, var = line.mean_var(nothing, nothing)
    first = mean.expand(rank).clone()
    return first, torch.outer(first, first) + var * torch.eye(rank, dtype=torch.float64)


def _uniform(n: int, rank: int, generator: torch.Generator, matched: bool) -> torch.Tensor:
    """Return uniform numbers in [0, 1); ``matched``: one in each of n equal intervals, shuffled."""
    p = torch.rand(n, rank, generator=generator, dtype=torch.float64)
    if not matched:
        return p
    columns = [torch.randperm(n, generator=generator) for _ in range(rank)]
    return (torch.stack(columns, -1) + p) / n
