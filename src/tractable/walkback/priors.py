"""Priors of the hottest state: their moments follow the ends of the walks, not a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_finite, check_range
from tractable.walkback.operators import LOG_2PI, TransitionOperator, _event
from tractable.walkback.schedule import Schedule

__all__ = ["BernoulliPrior", "GaussianPrior", "prior_for"]


class GaussianPrior(nn.Module):
    """A Gaussian over the hottest state, with a diagonal or a full covariance.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one state.
    covariance : str
        ``diag`` or ``full``.

    Examples
    --------
    >>> prior = GaussianPrior((2,))
    >>> prior.log_prob(torch.zeros(1, 2))
    tensor([-1.8379])
    """

    mean: Tensor
    second: Tensor

    def __init__(
        self, event_shape: Sequence[int], *, covariance: Literal["diag", "full"] = "diag"
    ) -> None:
        super().__init__()
        check_choice("covariance", covariance, ("diag", "full"))
        self.event_shape, self.covariance = _event(event_shape), covariance
        dim = math.prod(self.event_shape)
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        second = torch.eye(dim) if covariance == "full" else torch.ones(dim)
        self.register_buffer("second", second.double())  # E[s^2] or E[s s^T]

    @classmethod
    def from_data(cls, x: Tensor, *, covariance: Literal["diag", "full"] = "diag") -> GaussianPrior:
        """Return the prior with the moments of x, ``(n, *event)``; full ones need n > dim rows."""
        check_tensor("x", x)
        check_range("len(x)", len(x), 2)
        dim = math.prod(x.shape[1:])
        if covariance == "full" and len(x) <= dim:
            raise ValueError(
                f"covariance='full' needs more rows than dimensions, got {len(x)} rows of {dim}; "
                "take covariance='diag'"
            )
        prior = cls(tuple(x.shape[1:]), covariance=covariance)
        prior.update_(x, 0.0)
        return prior.to(x.device)

    @classmethod
    def from_paths(
        cls,
        operator: TransitionOperator,
        x: Tensor,
        schedule: Schedule,
        n: int = 4000,
        *,
        covariance: Literal["diag", "full"] = "diag",
        generator: torch.Generator | None = None,
    ) -> GaussianPrior:
        """Return the prior with the moments of where n walks from data end."""
        return cls.from_data(walk_ends(operator, x, schedule, n, generator), covariance=covariance)

    def update_(self, s: Tensor, decay: float = 0.99) -> None:
        """Mix the moments of s in: ``new = decay * old + (1 - decay) * moments of s``.

        The variance comes from the mixed second moment, so that small batches do not shrink it.
        """
        check_range("decay", decay, 0, 1)
        check_rows("s", s, self.event_shape)
        check_finite("s", s)
        rows = s.detach().double().flatten(1).to(self.mean.device)
        second = rows.square().mean(0) if self.covariance == "diag" else rows.T @ rows / len(rows)
        self.mean.mul_(decay).add_(rows.mean(0), alpha=1 - decay)
        self.second.mul_(decay).add_(second, alpha=1 - decay)

    @property
    def variance(self) -> Tensor:
        """Variance of each entry, shape (dim,), float64."""
        spread = self.second if self.covariance == "diag" else self.second.diagonal()
        return (spread - self.mean.square()).clamp_min(1e-12)

    @property
    def cov(self) -> Tensor:
        """Covariance, shape (dim, dim), float64."""
        if self.covariance == "diag":
            return torch.diag(self.variance)
        return self.second - torch.outer(self.mean, self.mean)

    def _factor(self) -> Tensor:
        jitter = 1e-10 * float(self.variance.mean())
        eye = torch.eye(len(self.mean), dtype=torch.float64, device=self.mean.device)
        return torch.linalg.cholesky(self.cov + jitter * eye)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Return n states in torch's default precision, ``(n, *event)``."""
        check_range("n", n, 1)
        dtype, device = torch.get_default_dtype(), self.mean.device
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=dtype, device=device)
        if self.covariance == "diag":
            rows = self.mean.to(dtype) + self.variance.sqrt().to(dtype) * noise
        else:
            rows = self.mean.to(dtype) + noise @ self._factor().T.to(dtype)
        return rows.reshape(n, *self.event_shape)

    def log_prob(self, s: Tensor) -> Tensor:
        """Return the log density of each state, nats, (B,), in the precision of ``s``."""
        rows = s.double().flatten(1) - self.mean
        if self.covariance == "diag":
            variance = self.variance
            out = -0.5 * (rows.square() / variance + variance.log() + LOG_2PI).sum(1)
        else:
            factor = self._factor()
            white = torch.linalg.solve_triangular(factor, rows.T, upper=False)
            out = -0.5 * white.square().sum(0) - factor.diagonal().log().sum()
            out = out - 0.5 * rows.shape[1] * LOG_2PI
        return out.to(s.dtype)


class BernoulliPrior(nn.Module):
    """Independent bits over the hottest state.

    Examples
    --------
    >>> BernoulliPrior((3,)).log_prob(torch.zeros(1, 3))
    tensor([-2.0794])
    """

    probability: Tensor

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = _event(event_shape)
        dim = math.prod(self.event_shape)
        self.register_buffer("probability", torch.full((dim,), 0.5, dtype=torch.float64))

    @classmethod
    def from_data(cls, x: Tensor) -> BernoulliPrior:
        """Return the prior with the means of x, shape ``(n, *event)``."""
        check_tensor("x", x)
        prior = cls(tuple(x.shape[1:]))
        prior.update_(x, 0.0)
        return prior.to(x.device)

    @classmethod
    def from_paths(
        cls,
        operator: TransitionOperator,
        x: Tensor,
        schedule: Schedule,
        n: int = 4000,
        *,
        generator: torch.Generator | None = None,
    ) -> BernoulliPrior:
        """Return the prior with the means of where n walks from data end."""
        return cls.from_data(walk_ends(operator, x, schedule, n, generator))

    def update_(self, s: Tensor, decay: float = 0.99) -> None:
        """Mix the means of s in."""
        check_range("decay", decay, 0, 1)
        check_rows("s", s, self.event_shape)
        if not bool(((s == 0) | (s == 1)).all()):
            raise ValueError("s must hold 0 and 1 only")
        mean = s.detach().double().flatten(1).mean(0).to(self.probability.device)
        self.probability.mul_(decay).add_(mean, alpha=1 - decay)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Return n states of 0 and 1, ``(n, *event)``."""
        check_range("n", n, 1)
        dtype, device = torch.get_default_dtype(), self.probability.device
        shape = (n, len(self.probability))
        u = torch.rand(shape, generator=generator, dtype=dtype, device=device)
        return (u < self.probability).to(dtype).reshape(n, *self.event_shape)

    def log_prob(self, s: Tensor) -> Tensor:
        """Return the log probability of each state, nats, (B,)."""
        p = self.probability.clamp(1e-12, 1 - 1e-12)
        rows = s.double().flatten(1)
        return (rows * p.log() + (1 - rows) * (-p).log1p()).sum(1).to(s.dtype)


def check_tensor(name: str, value: Any) -> None:
    """Refuse what is no tensor.

    Raises
    ------
    TypeError
        With what came.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def check_rows(name: str, value: Any, event: tuple[int, ...]) -> None:
    """Refuse what are no states of the shape ``(B, *event)``, B >= 1.

    Raises
    ------
    TypeError, ValueError
        With what came.
    """
    check_tensor(name, value)
    if len(value) == 0 or tuple(value.shape[1:]) != event:
        raise ValueError(
            f"{name} must have shape (B, {', '.join(map(str, event))}) with B >= 1, got "
            f"{tuple(value.shape)}"
        )


def check_prior(prior: Any, operator: TransitionOperator) -> None:
    """Refuse a prior of other states than the operator's.

    Raises
    ------
    TypeError, ValueError
        With what came.
    """
    if not (hasattr(prior, "sample") and hasattr(prior, "log_prob")):
        raise TypeError(
            f"prior must have sample and log_prob, got {type(prior).__name__}: pass that of the fit"
        )
    event = getattr(prior, "event_shape", operator.event_shape)
    if tuple(event) != operator.event_shape:
        raise ValueError(
            f"prior must be of states of shape {operator.event_shape}, got {tuple(event)}"
        )


def draw_start(
    prior: Any, operator: TransitionOperator, n: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return n states of a prior in the precision of the operator's parameters."""
    s: Tensor = prior.sample(n, generator=generator)
    return s if operator.precision is None else s.to(operator.precision)


def follow_ends(prior: Any, s: Tensor, decay: float = 0.99) -> None:
    """Mix the ends of walks into a prior that follows them; a fixed law stays."""
    if hasattr(prior, "update_"):
        prior.update_(s, decay)


def prior_for(operator: TransitionOperator, x: Tensor) -> GaussianPrior | BernoulliPrior:
    """Return the prior of the data's moments that fits the operator's states."""
    return BernoulliPrior.from_data(x) if operator.kind == "binary" else GaussianPrior.from_data(x)


@torch.no_grad()
def walk_ends(
    operator: TransitionOperator,
    x: Tensor,
    schedule: Schedule,
    n: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the last states of n walks from data, ``(n, *event)``."""
    check_range("n", n, 2)
    on = "cpu" if generator is None else generator.device
    rows = torch.randint(len(x), (n,), generator=generator, device=on).to(x.device)
    s = x[rows]
    for k, temperature in enumerate(schedule.temperatures.tolist()):
        s = operator.sample(s, temperature, step=k, generator=generator)
    return s
