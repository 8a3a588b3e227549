"""The linear operator as a module: trained, sampled and bounded like any other, and solvable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tractable.core.checks import as_floats, check_finite, check_range
from tractable.walkback.linear_checks import as_shift, matrices
from tractable.walkback.linear_likelihood import linear_bound, linear_log_prob
from tractable.walkback.linear_theory import linear_entropy_production, stationary_law
from tractable.walkback.operators import LOG_2PI, TransitionOperator, expand
from tractable.walkback.priors import GaussianPrior
from tractable.walkback.schedule import Schedule

__all__ = ["LinearGaussianOperator", "rotation_operator"]


class LinearGaussianOperator(TransitionOperator):
    r"""The operator :math:`s' = A s + b + N(0, T^\gamma D)`.

    Its parameters are A, b and a Cholesky factor of D, in float64; states of any precision are
    accepted, and results have theirs.

    Parameters
    ----------
    A : array_like, shape (n, n)
        Map.
    b : array_like, shape (n,), optional
        Shift; default 0.
    D : array_like, shape (n, n) or (n,), optional
        Covariance of the noise at T = 1, or its diagonal; default the identity.
    temperature_power : float
        gamma > 0.

    Raises
    ------
    ValueError
        Shapes that do not fit, or D is not a covariance.

    Examples
    --------
    >>> operator = LinearGaussianOperator([[0.8]], D=[[0.36]])
    >>> operator.stationary()[1].round(9)
    array([[1.]])
    >>> abs(operator.entropy_production()) < 1e-12
    True
    """

    def __init__(
        self,
        A: ArrayLike,
        b: ArrayLike | None = None,
        D: ArrayLike | None = None,
        *,
        temperature_power: float = 1.0,
    ) -> None:
        super().__init__()
        a = np.atleast_2d(as_floats("A", A))
        n = len(a)
        noise = np.eye(n) if D is None else as_floats("D", D)
        a, noise = matrices(a, np.diag(noise) if noise.ndim == 1 else noise)
        shift = as_shift(b, n)
        check_range("temperature_power", temperature_power, 0, open_low=True)
        self.event_shape, self.temperature_power = (n,), temperature_power
        factor = np.linalg.cholesky(noise)
        self.weight = nn.Parameter(torch.tensor(a))
        self.bias = nn.Parameter(torch.tensor(shift))
        self.log_scale = nn.Parameter(torch.tensor(np.log(np.diag(factor))))
        self.lower = nn.Parameter(torch.tensor(np.tril(factor, -1)))

    @property
    def precision(self) -> None:
        """States of any precision are taken."""

    @property
    def factor(self) -> Tensor:
        """Cholesky factor of D, (n, n)."""
        return self.lower.tril(-1) + torch.diag(self.log_scale.exp())

    @property
    def A(self) -> np.ndarray:
        """The map, (n, n)."""
        return self.weight.detach().cpu().double().numpy()

    @property
    def b(self) -> np.ndarray:
        """The shift, (n,)."""
        return self.bias.detach().cpu().double().numpy()

    @property
    def D(self) -> np.ndarray:
        """Covariance of the noise at T = 1, (n, n)."""
        factor = self.factor.detach().cpu().double().numpy()
        return factor @ factor.T

    # --- as any operator -------------------------------------------------------------------------

    def mean(
        self, s: Tensor, temperature: float | Tensor = 1.0, *, step: int | Tensor | None = None
    ) -> Tensor:
        """Return A s + b for each state, (B, n)."""
        return s @ self.weight.T.to(s.dtype) + self.bias.to(s.dtype)

    def std(
        self, s: Tensor, temperature: float | Tensor, *, step: int | Tensor | None = None
    ) -> Tensor:
        """Return the standard deviation of each component of the noise."""
        sd = self.factor.square().sum(1).sqrt().to(s.dtype)
        return sd * expand(temperature, s) ** (self.temperature_power / 2)

    def sample(
        self,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a next state for each state of ``s``."""
        noise = torch.randn(s.shape, generator=generator, dtype=s.dtype, device=s.device)
        heat = expand(temperature, s) ** (self.temperature_power / 2)
        return self.mean(s) + heat * (noise @ self.factor.T.to(s.dtype))

    def log_prob(
        self,
        s_next: Tensor,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        reduce: bool = True,
    ) -> Tensor:
        """Return the log density of the move, nats; unreduced terms are of the whitened move."""
        heat = expand(temperature, s) ** (self.temperature_power / 2)
        factor = self.factor.to(s.dtype)
        gap = (s_next - self.mean(s)) / heat
        white = torch.linalg.solve_triangular(factor, gap.T, upper=False).T
        terms = -0.5 * white.square() - self.log_scale.to(s.dtype) - heat.log() - 0.5 * LOG_2PI
        return terms.sum(1) if reduce else terms

    # --- solved ----------------------------------------------------------------------------------

    def stationary(self, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of the stationary law at a temperature (W13).

        Raises
        ------
        RuntimeError
            The spectral radius of A is not below 1.
        """
        heat = temperature**self.temperature_power
        return stationary_law(self.A, self.D, self.b, heat)

    def entropy_production(self) -> float:
        """Return the entropy production rate, nats per step, at any temperature (W14)."""
        return linear_entropy_production(self.A, self.D)

    def _law(self, x: Tensor | ArrayLike, schedule: Schedule, prior: Any) -> tuple[Any, ...]:
        if not isinstance(prior, GaussianPrior):
            raise TypeError(f"prior must be a GaussianPrior, got {type(prior).__name__}")
        states = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x)
        heat = schedule.temperatures.numpy() ** self.temperature_power
        mean, cov = prior.mean.cpu().numpy(), prior.cov.cpu().numpy()
        return states, self.A, self.D, heat, mean, cov, self.b

    def exact_log_prob(
        self, x: Tensor | ArrayLike, schedule: Schedule, prior: GaussianPrior
    ) -> np.ndarray:
        """Return the log density of generated states at x, nats, (B,) (W19)."""
        return linear_log_prob(*self._law(x, schedule, prior))

    def exact_bound(
        self, x: Tensor | ArrayLike, schedule: Schedule, prior: GaussianPrior
    ) -> np.ndarray:
        """Return the bound at x without sampling, nats, (B,) (W20)."""
        return linear_bound(*self._law(x, schedule, prior))[0]


def rotation_operator(r: float, theta: float, noise: float = 1.0) -> LinearGaussianOperator:
    """Return the operator that turns the plane by theta and shrinks it by r, with noise."""
    for name, value in (("r", r), ("theta", theta)):
        check_finite(name, value)
    check_range("noise", noise, 0, open_low=True)
    c, s = r * math.cos(theta), r * math.sin(theta)
    return LinearGaussianOperator([[c, -s], [s, c]], D=[noise, noise])
