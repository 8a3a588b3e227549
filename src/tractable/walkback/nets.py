"""Networks for operators: multilayer and convolutional, told the noise, starting at nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice
from tractable.walkback.bernoulli_operator import BernoulliOperator
from tractable.walkback.gaussian_operator import GaussianOperator
from tractable.walkback.operators import TransitionOperator, _event, check_count

__all__ = ["conv_operator", "mlp_operator"]

N_FEATURES = 5  # of the noise, see `noise_features`
CONV_PRESETS: dict[str, tuple[int, ...]] = {
    "digits": (32, 64),
    "mnist": (32, 64, 64),
    "cifar": (64, 128, 128),
    "cifar_paper": (64, 128, 256),
}


class ConditionedMLP(nn.Module):
    """Linear, LayerNorm, SiLU in blocks; the noise's features enter every block; the end is 0.

    Without LayerNorm F grows with its input, and a chain of a trained operator can run away.
    """

    def __init__(
        self, dim: int, hidden: Sequence[int], out: int, *, features: int, norm: bool, n_steps: int
    ) -> None:
        super().__init__()
        sizes = [dim + features, *hidden]
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norm = nn.ModuleList(nn.LayerNorm(b) if norm else nn.Identity() for b in hidden)
        # Gain and bias of their own for every step, as in the authors' published code.
        self.gain = nn.ParameterList(
            nn.Parameter(torch.ones(n_steps, b)) for b in hidden if n_steps
        )
        self.shift = nn.ParameterList(
            nn.Parameter(torch.zeros(n_steps, b)) for b in hidden if n_steps
        )
        self.last = nn.Linear(sizes[-1], out)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.features, self.n_steps = features, n_steps

    def forward(self, s: Tensor, more: Tensor | int | None = None) -> Tensor:
        x = s.flatten(1)
        if self.features:
            assert isinstance(more, Tensor)
            x = torch.cat([x, more], dim=1)
        for i, (linear, norm) in enumerate(zip(self.linear, self.norm, strict=True)):
            x = norm(linear(x))
            if self.n_steps:
                step = torch.as_tensor(more, device=x.device).clamp(0, self.n_steps - 1)
                x = x * self.gain[i][step] + self.shift[i][step]
            x = nn.functional.silu(x)
        out = self.last(x)
        return out.reshape(len(s), -1, *s.shape[2:]) if s.ndim > 2 else out


class ConditionedConv(nn.Module):
    """Convolutions down and up again with skips; the noise scales and shifts every level."""

    def __init__(self, channels: int, widths: Sequence[int], out: int, *, features: int) -> None:
        super().__init__()
        sizes = [channels, *widths]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, widths, strict=False)
        )
        self.norm = nn.ModuleList(nn.GroupNorm(math.gcd(8, b), b) for b in widths)
        self.film = nn.ModuleList(nn.Linear(features, 2 * b) for b in widths if features)
        ups = list(reversed(widths))
        self.up = nn.ModuleList(
            nn.Conv2d(a + b, b, 3, padding=1) for a, b in itertools.pairwise(ups)
        )
        self.up_norm = nn.ModuleList(nn.GroupNorm(math.gcd(8, b), b) for b in ups[1:])
        self.last = nn.Conv2d(widths[0], out, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.features = features

    def forward(self, s: Tensor, more: Tensor | None = None) -> Tensor:
        x, kept = s, []
        for i, (conv, norm) in enumerate(zip(self.down, self.norm, strict=True)):
            if i:
                x = nn.functional.avg_pool2d(x, 2, ceil_mode=True)
            x = norm(conv(x))
            if self.features:
                gain, shift = self.film[i](more)[:, :, None, None].chunk(2, dim=1)
                x = x * (1 + gain) + shift
            x = nn.functional.silu(x)
            kept.append(x)
        for i, (conv, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            beside = kept[-2 - i]
            x = nn.functional.interpolate(x, size=beside.shape[2:], mode="nearest")
            x = nn.functional.silu(norm(conv(torch.cat([x, beside], dim=1))))
        return self.last(x)


def mlp_operator(
    dim: int,
    hidden: Sequence[int] = (128, 128, 128),
    *,
    kind: Literal["gaussian", "bernoulli"] = "gaussian",
    norm: bool = True,
    n_steps: int = 0,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> TransitionOperator:
    """Return an operator with a multilayer network of LayerNorm and SiLU, last layer 0.

    Parameters
    ----------
    dim : int
        Numbers in a state, >= 1.
    hidden : sequence of int
        Units of the layers.
    kind : str
        ``gaussian`` or ``bernoulli``.
    norm : bool
        LayerNorm in every block; it bounds F and with it every chain.
    n_steps : int
        Steps with a gain and bias of their own, for ``time_conditioning="per_step_norm"``.
    generator : torch.Generator, optional
        Decides the initial weights; else torch's global state does.
    **settings
        Of `GaussianOperator` or `BernoulliOperator`. A Gaussian one is told the temperature
        (``time_conditioning="log_temperature"``) unless they say otherwise.

    Examples
    --------
    >>> operator = mlp_operator(2, (16,), sigma=0.05, skip="preconditioned")
    >>> operator.mean(torch.ones(1, 2), 1.0).shape
    torch.Size([1, 2])
    """
    check_count("dim", dim)
    check_choice("kind", kind, ("gaussian", "bernoulli"))
    for units in hidden:
        check_count("hidden", units)
    if not hidden:
        raise ValueError(f"hidden must hold positive numbers of units, got {tuple(hidden)}")
    if kind == "bernoulli":
        net = ConditionedMLP(dim, hidden, dim, features=0, norm=norm, n_steps=0)
        _draw(net, generator)
        return BernoulliOperator(net, (dim,), **settings)
    told = settings.setdefault("time_conditioning", "log_temperature")
    out = 2 * dim if settings.get("sigma") == "learned" else dim
    if (told == "per_step_norm") != bool(n_steps):
        raise ValueError("n_steps belongs to time_conditioning='per_step_norm', which needs it")
    features = N_FEATURES if told == "log_temperature" else 0
    net = ConditionedMLP(dim, hidden, out, features=features, norm=norm, n_steps=n_steps)
    _draw(net, generator)
    return GaussianOperator(net, (dim,), **settings)


def conv_operator(
    event_shape: Sequence[int],
    preset: str = "digits",
    *,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> GaussianOperator:
    """Return a Gaussian operator on images, shape (channels, height, width).

    Parameters
    ----------
    event_shape : sequence of int
        Channels, height, width.
    preset : str
        Widths of the levels: ``digits``, ``mnist``, ``cifar``, ``cifar_paper``.
    generator : torch.Generator, optional
        Decides the initial weights.
    **settings
        Of `GaussianOperator`; it is told the temperature unless they say otherwise.

    Examples
    --------
    >>> operator = conv_operator((1, 8, 8), sigma=0.1, skip="preconditioned")
    >>> operator.mean(torch.zeros(2, 1, 8, 8), torch.tensor([1.0, 2.0])).shape
    torch.Size([2, 1, 8, 8])
    """
    check_choice("preset", preset, CONV_PRESETS)
    shape = _event(event_shape)
    if len(shape) != 3:
        raise ValueError(f"event_shape must be (channels, height, width), got {shape}")
    told = settings.setdefault("time_conditioning", "log_temperature")
    check_choice("time_conditioning", told, ("none", "log_temperature"))
    out = (2 if settings.get("sigma") == "learned" else 1) * shape[0]
    features = N_FEATURES if told == "log_temperature" else 0
    net = ConditionedConv(shape[0], CONV_PRESETS[preset], out, features=features)
    _draw(net, generator)
    return GaussianOperator(net, shape, **settings)


def _draw(net: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the initial weights from a generator: uniform within 1/sqrt(fan-in), last layer 0."""
    if generator is None:
        return
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module is not getattr(net, "last", None):
            bound = 1 / math.sqrt(module.weight[0].numel())
            with torch.no_grad():
                for weight in module.parameters():
                    weight.uniform_(-bound, bound, generator=generator)
