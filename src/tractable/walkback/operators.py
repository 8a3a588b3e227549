"""Transition operators: how a state moves at a temperature, and the density of the move.

Every operator has one source of noise scale, `std`, that serves sampling and scoring: two
conventions for the two would make the bound meaningless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_choice, check_range

__all__ = ["BernoulliOperator", "GaussianOperator", "TransitionOperator"]

SKIPS = ("leak", "preconditioned", "gaussian")
CONDITIONING = ("none", "log_temperature", "per_step_norm")
LOG_2PI = math.log(2 * math.pi)


class TransitionOperator(nn.Module):
    """A conditional law p_T(s' | s): what may be sampled, scored and trained.

    A subclass sets ``event_shape`` and defines `sample` and `log_prob`; nothing else is assumed of
    it. ``kind`` says which prior fits its states.
    """

    event_shape: tuple[int, ...]
    kind: Literal["real", "binary"] = "real"

    @property
    def dim(self) -> int:
        """Numbers in one state."""
        return math.prod(self.event_shape)

    def sample(
        self,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a next state for each state of ``s``, shape ``(B, *event)``."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(s, temperature)")

    def log_prob(
        self,
        s_next: Tensor,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        reduce: bool = True,
    ) -> Tensor:
        """Return log p_T(s_next | s) in nats: (B,), or ``(B, *event)`` with ``reduce=False``."""
        raise NotImplementedError(f"{type(self).__name__} must define log_prob(s_next, s, T)")

    def check_state(self, s: Tensor, name: str = "s") -> None:
        """Refuse states of another shape or kind.

        Raises
        ------
        ValueError, TypeError
            The message names the argument and what came.
        """
        if not isinstance(s, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(s).__name__}")
        if tuple(s.shape[1:]) != self.event_shape or s.ndim == 0:
            raise ValueError(
                f"{name} must have shape (B, {', '.join(map(str, self.event_shape))}), got "
                f"{tuple(s.shape)}"
            )
        if len(s) == 0:
            raise ValueError(f"{name} holds no states")
        if self.kind == "real" and not s.is_floating_point():
            raise TypeError(
                f"{name} must be floating point, got {s.dtype}: cast integers and add uniform "
                "noise of one unit (dequantize), else a density is meaningless"
            )
        bad = int((~torch.isfinite(s)).sum()) if s.is_floating_point() else 0
        if bad:
            raise ValueError(f"{name} holds {bad} values that are NaN or infinite")
        if self.kind == "binary" and not bool(((s == 0) | (s == 1)).all()):
            raise ValueError(f"{name} must hold 0 and 1 only")


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Refuse what is no whole number, or below ``low``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument and what came.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    check_range(name, int(value), low)


def expand(temperature: float | Tensor, s: Tensor) -> Tensor:
    """Return the temperature as a tensor that broadcasts over the states.

    Raises
    ------
    ValueError
        It is not positive.
    """
    try:
        t = torch.as_tensor(temperature, dtype=s.dtype, device=s.device)
    except (TypeError, ValueError):
        raise TypeError(f"temperature must be a number or a tensor, got {temperature!r}") from None
    if not bool(((t > 0) & t.isfinite()).all()):
        raise ValueError(
            f"temperature must be above 0 and finite, got {float(t.min()):g} to {float(t.max()):g}"
        )
    return t if t.ndim == 0 else t.reshape(-1, *[1] * (s.ndim - 1))


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
        one for each entry; ``"learned"``: a function of the state.
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
        c, the overall standard deviation of the data, > 0.
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
        raw = torch.tensor(max(start - self.sigma_min, 1e-6))
        self.raw_start = float(torch.log(torch.expm1(raw)))  # the inverse of softplus
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
        mean, sd = self.mean_std(s, temperature, step=step)
        terms = -0.5 * ((s_next - mean) / sd).square() - sd.log() - 0.5 * LOG_2PI
        return terms.flatten(1).sum(1) if reduce else terms


class BernoulliOperator(TransitionOperator):
    r"""A step on bits: each is set independently, given the state before.

    .. math:: \rho_T(s) = \mathrm{sigmoid}\!\left( \frac{(1 - \alpha) s + \alpha F(s)}{T} \right)

    (W5). At infinite temperature every bit is a fair coin.

    Parameters
    ----------
    net : nn.Module
        F, of states as floating-point 0 and 1.
    event_shape : sequence of int
        Shape of one state.
    alpha : float
        Weight of F, in (0, 1].
    centered : bool
        The leak takes 2 s - 1 instead of s, which does not push bits toward 1.

    Examples
    --------
    >>> coin = BernoulliOperator(nn.Identity(), (1,), alpha=1.0)
    >>> coin.log_prob(torch.ones(1, 1), torch.zeros(1, 1), 1.0)
    tensor([-0.6931])
    """

    kind = "binary"

    def __init__(
        self,
        net: nn.Module,
        event_shape: Sequence[int],
        *,
        alpha: float = 0.5,
        centered: bool = False,
    ) -> None:
        super().__init__()
        check_range("alpha", alpha, 0, 1, open_low=True)
        if not callable(net):
            raise TypeError(f"net must be a module, got {type(net).__name__}")
        self.net, self.alpha, self.centered = net, alpha, centered
        self.event_shape = _event(event_shape)

    def logits(self, s: Tensor, temperature: float | Tensor) -> Tensor:
        """Return the log odds of each bit, ``(B, *event)``."""
        leak = 2 * s - 1 if self.centered else s
        return ((1 - self.alpha) * leak + self.alpha * self.net(s)) / expand(temperature, s)

    def sample(
        self,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a next state of 0 and 1 for each state of ``s``."""
        odds = self.logits(s, temperature)
        u = torch.rand(odds.shape, generator=generator, dtype=odds.dtype, device=odds.device)
        return (u < odds.sigmoid()).to(s.dtype)

    def log_prob(
        self,
        s_next: Tensor,
        s: Tensor,
        temperature: float | Tensor,
        *,
        step: int | Tensor | None = None,
        reduce: bool = True,
    ) -> Tensor:
        """Return the log probability of the move s to s_next, nats."""
        odds = self.logits(s, temperature)
        if s_next.shape != odds.shape:
            raise ValueError(
                f"s_next and s must have one shape, got {tuple(s_next.shape)} and {tuple(s.shape)}"
            )
        # log sigmoid without the difference of large numbers
        terms = -functional.binary_cross_entropy_with_logits(odds, s_next, reduction="none")
        return terms.flatten(1).sum(1) if reduce else terms


def noise_features(nominal: Tensor, n: int) -> Tensor:
    """Return (l, sin l, cos l, sin 2l, cos 2l) of the logarithm of the noise, shape (n, 5)."""
    l = nominal.log().reshape(-1).expand(n) if nominal.numel() == 1 else nominal.log().reshape(n)
    return torch.stack([l, l.sin(), l.cos(), (2 * l).sin(), (2 * l).cos()], dim=1)


def _event(shape: Sequence[int] | Any) -> tuple[int, ...]:
    event = (shape,) if isinstance(shape, int) else tuple(shape)
    if not event or any(not isinstance(n, int) or n < 1 for n in event):
        raise ValueError(f"event_shape must hold positive integers, got {shape!r}")
    return event
