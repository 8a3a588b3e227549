"""The Gaussian operator: a network proposes the mean, and the temperature widens the noise.

It has one source of noise scale, `std`, that serves sampling and scoring: two conventions for the
two would make the bound meaningless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_choice, check_range
from tractable.walkback.operators import LOG_2PI, TransitionOperator, _event, expand

__all__ = ["GaussianOperator"]

SKIPS = ("leak", "preconditioned", "gaussian")
CONDITIONING = ("none", "log_temperature", "per_step_norm")


class GaussianOperator(TransitionOperator):
    r"""A Gaussian step with diagonal noise, around a mean that a network proposes.

    .. math:: s' = \mu(s) + T^{\gamma/2} \sigma(s)\, \epsilon, \qquad
        \mathrm{Var}_T = T^\gamma \sigma^2

    (W1), with one of three means. ``skip="leak"``, the published form:
    :math:`\mu = (1 - \alpha) s + \alpha F(s)`, alpha is the weight of the network (W2).
    ``"preconditioned"``: :math:`\mu = \frac{c^2}{c^2 + v} s + \sqrt{\frac{v c^2}{c^2 + v}} F`,
    v the noise variance at this temperature and c the scale of the data (W3). ``"gaussian"``: per
    component with variance :math:`v_i`, :math:`\mu_i = \sqrt{\max(0, 1 - \mathrm{sd}_i^2 / v_i)}\,
    s_i + \min(\mathrm{sd}_i, \sqrt{v_i}) F_i` (W4): with F = 0 it is the operator that heats and
    cools the Gaussian of these variances exactly.

    Parameters
    ----------
    net : nn.Module
        F. Called as ``net(s)``; as ``net(s, features)`` with features of the noise's logarithm,
        shape (B, 5), for ``time_conditioning="log_temperature"``; as ``net(s, step)`` for
        ``"per_step_norm"``. With ``sigma="learned"`` it returns twice the channels: F, then raw
        sigma.
    event_shape : sequence of int
        Shape of one state.
    alpha : float
        Weight of F in the leak, in (0, 1].
    skip : str
        Which mean.
    sigma : float, Tensor or str
        Noise at T = 1: a number or one for each entry of the state (fixed); ``"scalar"``: learned,
        one for each entry; ``"learned"``: a function of the state. In (W3), and in what F sees, v
        is the largest fixed number, or ``sigma_start`` where sigma is learned.
    sigma_min : float, optional
        Floor of a learned sigma, > 0; default ``1e-3 * scale``. Without it the objective has no
        maximum.
    temperature_power : float
        gamma, > 0; 1 is the published algorithm, 2 its printed formula.
    time_conditioning : str
        What F sees of the temperature. With ``"none"`` one operator serves all temperatures.
    input_scaling : bool
        F sees ``s / sqrt(1 + v / c^2)`` in the leak, too.
    scale : float
        c, the overall standard deviation of the data, > 0. With ``skip="gaussian"`` it only sets
        the floor: F sees the states in units of 1.
    variances : Tensor, optional
        v_i, shape of a state, for ``skip="gaussian"``.
    sigma_start : float
        Where a learned sigma starts, and the noise by which F is told the temperature then.

    Raises
    ------
    ValueError
        A parameter out of its range.

    References
    ----------
    Goyal, Ke, Ganguli, Bengio 2017, arXiv:1711.02282, section 2.

    Examples
    --------
    >>> half = GaussianOperator(nn.Identity(), (2,), alpha=0.5, sigma=1.0)
    >>> half.mean(torch.tensor([[2.0, 4.0]]), 1.0)
    tensor([[2., 4.]])
    >>> half.std(torch.zeros(1, 2), 9.0)
    tensor(3.)
    """

    sigma_fixed: Tensor
    variances: Tensor

    def __init__(
        self,
        net: nn.Module,
        event_shape: Sequence[int],
        *,
        alpha: float = 0.5,
        skip: Literal["leak", "preconditioned", "gaussian"] = "leak",
        sigma: float | Tensor | Literal["scalar", "learned"] = 0.1,
        sigma_min: float | None = None,
        temperature_power: float = 1.0,
        time_conditioning: Literal["none", "log_temperature", "per_step_norm"] = "none",
        input_scaling: bool = False,
        scale: float = 1.0,
        variances: Tensor | None = None,
        sigma_start: float = 0.1,
    ) -> None:
        super().__init__()
        check_choice("skip", skip, SKIPS)
        check_choice("time_conditioning", time_conditioning, CONDITIONING)
        check_range("alpha", alpha, 0, 1, open_low=True)
        for name, value in (
            ("temperature_power", temperature_power), ("scale", scale),
            ("sigma_start", sigma_start),
        ):  # fmt: skip
            check_range(name, value, 0, open_low=True)
        if not callable(net):
            raise TypeError(f"net must be a module, got {type(net).__name__}")
        self.net = net
        self.event_shape = _event(event_shape)
        self.alpha, self.skip, self.scale = alpha, skip, scale
        self.temperature_power = temperature_power
        self.time_conditioning, self.input_scaling = time_conditioning, input_scaling
        self.sigma_min = 1e-3 * scale if sigma_min is None else sigma_min
        check_range("sigma_min", self.sigma_min, 0, open_low=True)
        self._prepare_sigma(sigma, sigma_start)
        if (skip == "gaussian") != (variances is not None):
            raise ValueError("variances belong to skip='gaussian', and that needs them")
        if variances is not None:
            given = torch.as_tensor(variances, dtype=torch.get_default_dtype())
            if tuple(given.shape) != self.event_shape or not bool(
                ((given > 0) & given.isfinite()).all()
            ):
                raise ValueError(
                    f"variances must be above 0, finite and of shape {self.event_shape}, got "
                    f"{tuple(given.shape)} from {float(given.min()):g} to {float(given.max()):g}"
                )
            self.register_buffer("variances", given)

    def _prepare_sigma(self, sigma: float | Tensor | str, start: float) -> None:
        """Keep a fixed sigma as a buffer, a learned number as a parameter."""
        self.sigma_kind = sigma if isinstance(sigma, str) else "fixed"
        if isinstance(sigma, str):
            check_choice("sigma (a number, or a word)", sigma, ("scalar", "learned"))
        if self.sigma_kind == "fixed":
            given = torch.as_tensor(sigma, dtype=torch.get_default_dtype())
            if given.ndim and tuple(given.shape) != self.event_shape:
                raise ValueError(
                    f"sigma must be a number or of shape {self.event_shape}, got "
                    f"{tuple(given.shape)}"
                )
            if not bool(((given > 0) & given.isfinite()).all()):
                raise ValueError(
                    f"sigma must be above 0 and finite, got {float(given.min()):g} to "
                    f"{float(given.max()):g}"
                )
            self.register_buffer("sigma_fixed", given)
            self.nominal = float(given.max())
            return
        self.nominal = start
        raw = max(start - self.sigma_min, 1e-6)
        self.raw_start = raw + math.log(-math.expm1(-raw))  # the inverse of softplus
        if self.sigma_kind == "scalar":
            self.sigma_raw = nn.Parameter(torch.full(self.event_shape, self.raw_start))

    # --- mean and noise ----------------------------------------------------------------------

    def mean(
        self, s: Tensor, temperature: float | Tensor, *, step: int | Tensor | None = None
    ) -> Tensor:
        """Return the mean of the next state, ``(B, *event)``."""
        return self.mean_std(s, temperature, step=step)[0]

    def std(
        self, s: Tensor, temperature: float | Tensor, *, step: int | Tensor | None = None
    ) -> Tensor:
        """Return the standard deviation of the noise; broadcasts over the states."""
        if self.sigma_kind == "learned":
            return self.mean_std(s, temperature, step=step)[1]
        return self._heated(self._sigma(None), expand(temperature, s))

    def mean_std(
        self, s: Tensor, temperature: float | Tensor, *, step: int | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation with one call of the network."""
        if not isinstance(s, Tensor) or tuple(s.shape[1:]) != self.event_shape:
            self.check_state(s)
        t = expand(temperature, s)
        nominal = self.nominal * t ** (self.temperature_power / 2)
        proposed, raw = self._propose(s, nominal, step)
        sd = self._heated(self._sigma(raw), t)
        if self.skip == "leak":
            return (1 - self.alpha) * s + self.alpha * proposed, sd
        if self.skip == "preconditioned":
            v, c2 = nominal.square(), self.scale**2
            shrink = c2 / (c2 + v)
            return shrink * s + (nominal * self.scale / (c2 + v).sqrt()) * proposed, sd
        keep = (1 - sd.square() / self.variances).clamp_min(0).sqrt()
        return keep * s + torch.minimum(sd, self.variances.sqrt()) * proposed, sd

    def _propose(
        self, s: Tensor, nominal: Tensor, step: int | Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        seen = s
        if self.skip != "leak" or self.input_scaling:
            c2 = 1.0 if self.skip == "gaussian" else self.scale**2
            over = (c2 + nominal.square()).sqrt()
            seen = s / (over / self.scale if self.skip == "leak" else over)
        if self.time_conditioning == "log_temperature":
            out = self.net(seen, noise_features(nominal, len(s)))
        elif self.time_conditioning == "per_step_norm":
            if step is None:
                raise ValueError("step is needed: this operator normalizes by the step")
            out = self.net(seen, step)
        else:
            out = self.net(seen)
        if self.sigma_kind != "learned":
            return out, None
        proposed, raw = out.chunk(2, dim=1)
        return proposed, raw

    def _sigma(self, raw: Tensor | None) -> Tensor:
        if self.sigma_kind == "fixed":
            return self.sigma_fixed
        free = self.sigma_raw if raw is None else raw + self.raw_start
        return self.sigma_min + functional.softplus(free)

    def _heated(self, sigma: Tensor, t: Tensor) -> Tensor:
        return sigma.to(t.dtype) * t ** (self.temperature_power / 2)

    # --- the law -----------------------------------------------------------------------------

    def sample(
        self,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a next state for each state of ``s``; differentiable in its parameters."""
        mean, sd = self.mean_std(s, temperature, step=step)
        noise = torch.randn(s.shape, generator=generator, dtype=s.dtype, device=s.device)
        return mean + sd * noise

    def log_prob(
        self,
        s_next: Tensor,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        reduce: bool = True,
    ) -> Tensor:
        """Return the log density of the move s to s_next, nats."""
        if s_next.shape != s.shape:
            raise ValueError(
                f"s_next and s must have one shape, got {tuple(s_next.shape)} and {tuple(s.shape)}"
            )
        mean, sd = self.mean_std(s, temperature, step=step)
        terms = -0.5 * ((s_next - mean) / sd).square() - sd.log() - 0.5 * LOG_2PI
        return terms.flatten(1).sum(1) if reduce else terms


def noise_features(nominal: Tensor, n: int) -> Tensor:
    """Return (l, sin l, cos l, sin 2l, cos 2l) of the logarithm of the noise, shape (n, 5)."""
    l = nominal.log().reshape(-1).expand(n) if nominal.numel() == 1 else nominal.log().reshape(n)
    return torch.stack([l, l.sin(), l.cos(), (2 * l).sin(), (2 * l).cos()], dim=1)
