"""A prior from a density of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tractable.core.checks import check_range
from tractable.tensors.priors.protocol import check_rank, scalar_parts
from tractable.tensors.priors.quadrature import joint_log_z, joint_mean_cov

__all__ = ["Custom"]

PANELS = 4  # of n_quad nodes each
COARSE = 33  # points of a zoom
ZOOMS = 9
DEEP = 45.0  # log units below the maximum that are kept
WIDEST = 25.0  # asinh of the largest |x| that is looked at on an unbounded support


@dataclass(frozen=True, eq=False)
class Custom:
    """A scalar prior from the logarithm of its density, by quadrature, (T10).

    The tilted density of every row is looked at on a grid that zooms into its bulk, and integrated
    there by Gauss-Legendre. Atoms and narrow separate peaks are missed by it: they are a `Discrete`
    prior. A kink inside the bulk costs accuracy (1e-5 for a Laplace density). Beyond rank 1 the
    components are independent, integrated to rank 3, or in product form with ``factorized=True``.

    Parameters
    ----------
    log_prob : callable
        Maps a float64 tensor of any shape to log densities of that shape; need not be normalized.
    support : (float, float)
        Ends; infinite ones are allowed.
    n_quad : int
        Nodes in each of 4 panels, in [8, 512].
    factorized : bool
        Use the product form at every rank above 1.

    Raises
    ------
    ValueError
        For a support that is empty, and for a density that is not finite inside it.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> laplace = Custom(lambda x: -x.abs())
    >>> mean, cov = laplace.mean_cov(one, 2 * one)
    >>> round(mean.item(), 4), round(cov.item(), 4)
    (1.1611, 0.7674)
    """

    log_prob: Callable[[torch.Tensor], torch.Tensor]
    support: tuple[float, float] = (-math.inf, math.inf)
    n_quad: int = 64
    factorized: bool = False

    def __post_init__(self) -> None:
        check_range("n_quad", self.n_quad, 8, 512)
        low, high = self.support
        if not low < high:
            raise ValueError(f"support must be (low, high) with low < high, got {self.support}")
        if not callable(self.log_prob):
            raise TypeError(
                f"log_prob must be a function of a tensor, got {type(self.log_prob).__name__}"
            )
        nothing = torch.zeros(1, dtype=torch.float64)
        log_z, mean, _ = self._integrate(nothing, nothing, norm=0.0)
        if not (log_z.isfinite().all() and mean.isfinite().all()):
            raise ValueError(
                "log_prob must be finite inside its support and integrable, and return a tensor of "
                f"its argument's shape; the integral over {self.support} is exp({float(log_z):g})"
            )
        object.__setattr__(self, "_norm", float(log_z))

    @property
    def rank(self) -> None:
        """None: independent components."""

    @property
    def low(self) -> float:
        """Lower end of the support."""
        return self.support[0]

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T10), shape (..., N)."""
        if u.shape[-1] > 1:
            return joint_log_z(_Scalar(self), A, u, self.factorized)
        return self._integrate(*scalar_parts(A, u))[0]

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and covariance of the tilted density."""
        if u.shape[-1] > 1:
            return joint_mean_cov(_Scalar(self), A, u, self.factorized)
        _, mean, var = self._integrate(*scalar_parts(A, u))
        return mean.unsqueeze(-1), var[..., None, None]

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        check_rank(None, rank, "Custom")
        nothing = torch.zeros(1, dtype=torch.float64)
        _, mean, var = self._integrate(nothing, nothing)
        first = mean.expand(rank).clone()
        return first, torch.outer(first, first) + var * torch.eye(rank, dtype=torch.float64)

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r) by the inverse distribution function on a fine grid."""
        nothing = torch.zeros(1, dtype=torch.float64)
        low, high = self._bulk(nothing, nothing)
        s = torch.linspace(float(low), float(high), 20_001, dtype=torch.float64)
        density = torch.exp(self._log_tilted(s, nothing, nothing) - self._norm)  # type: ignore[attr-defined]
        mass = torch.cumulative_trapezoid(density, s)
        mass = torch.cat([torch.zeros(1, dtype=torch.float64), mass / mass[-1]])
        p = torch.rand(n, rank, generator=generator, dtype=torch.float64)
        if matched:
            order = [torch.randperm(n, generator=generator) for _ in range(rank)]
            p = (torch.stack(order, -1) + p) / n
        s_drawn = np.interp(p.numpy(), mass.numpy(), s.numpy())
        return self._x(torch.as_tensor(s_drawn))

    def nodes(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Gauss-Legendre nodes (n,) over the bulk of the prior, and their probabilities."""
        nothing = torch.zeros(1, dtype=torch.float64)
        points, weights = map(torch.as_tensor, np.polynomial.legendre.leggauss(n))
        low, high = self._bulk(nothing, nothing)
        s = low + (high - low) * (points + 1) / 2
        log_p = self._log_tilted(s, nothing, nothing) + weights.log()
        return self._x(s), torch.softmax(log_p, -1)

    # The line is searched in s: x itself on a bounded support, else x = sinh(s) from its end.

    def _x(self, s: torch.Tensor) -> torch.Tensor:
        low, high = self.support
        if math.isfinite(low) and math.isfinite(high):
            return s
        if math.isfinite(low):
            return low + torch.sinh(s)
        if math.isfinite(high):
            return high + torch.sinh(s)
        return torch.sinh(s)

    def _ends(self) -> tuple[float, float]:
        low, high = self.support
        if math.isfinite(low) and math.isfinite(high):
            return low, high
        return (
            0.0 if math.isfinite(low) else -WIDEST,
            0.0 if math.isfinite(high) else WIDEST,
        )

    def _log_tilted(self, s: torch.Tensor, a: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Return the log density in s of P(x) exp(h x - a x^2 / 2)."""
        x = self._x(s)
        stretch = 0.0 if math.isfinite(sum(map(abs, self.support))) else torch.log(torch.cosh(s))
        value = self.log_prob(x) + h * x - a * x**2 / 2 + stretch
        return torch.where(value.isnan(), -torch.inf, value)

    def _bulk(self, a: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ends, in s, of the part that is within DEEP log units of the maximum."""
        a, h = a.detach().unsqueeze(-1), h.detach().unsqueeze(-1)
        a, h = torch.broadcast_tensors(a, h)
        low = torch.full_like(h, self._ends()[0])
        high = torch.full_like(h, self._ends()[1])
        steps = torch.linspace(0, 1, COARSE, dtype=h.dtype, device=h.device)
        for _ in range(ZOOMS):
            s = low + (high - low) * steps
            value = self._log_tilted(s, a, h)
            inside = value >= value.amax(-1, keepdim=True) - DEEP
            first = inside.to(torch.uint8).argmax(-1, keepdim=True)
            last = COARSE - 1 - inside.flip(-1).to(torch.uint8).argmax(-1, keepdim=True)
            before = high - low
            low = s.gather(-1, (first - 1).clamp_min(0))
            high = s.gather(-1, (last + 1).clamp_max(COARSE - 1))
            if bool((high - low > 0.6 * before).all()):
                break
        return low, high

    def _integrate(
        self, a: torch.Tensor, h: torch.Tensor, norm: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log Z, mean and variance, each of the shape of h."""
        points, weights = (
            torch.as_tensor(v).to(h) for v in np.polynomial.legendre.leggauss(self.n_quad)
        )
        low, high = self._bulk(a, h)
        edge = torch.arange(PANELS, dtype=h.dtype, device=h.device).unsqueeze(-1)
        unit = ((edge + (points + 1) / 2) / PANELS).reshape(-1)
        s = low + (high - low) * unit
        log_w = weights.log().repeat(PANELS) + torch.log((high - low) / (2 * PANELS))
        value = self._log_tilted(s, a.unsqueeze(-1), h.unsqueeze(-1)) + log_w
        log_z = value.logsumexp(-1)
        p = torch.exp(value - log_z.unsqueeze(-1))
        x = self._x(s)
        mean = (p * x).sum(-1)
        var = (p * (x - mean.unsqueeze(-1)) ** 2).sum(-1)
        return log_z - (self._norm if norm is None else norm), mean, var  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Scalar:
    """One component of a `Custom` prior, for the quadrature over several."""

    prior: Custom

    @property
    def low(self) -> float:
        return self.prior.low

    def log_z(self, a: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return self.prior._integrate(a, h)[0]

    def mean_var(self, a: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _, mean, var = self.prior._integrate(a, h)
        return mean, var

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        low, high = self.prior.support
        value = self.prior.log_prob(x) - self.prior._norm  # type: ignore[attr-defined]
        return torch.where((x < low) | (x > high), -torch.inf, value)
