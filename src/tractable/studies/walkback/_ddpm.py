"""A denoising diffusion model of the same net, as a rival: arXiv 2006.11239, in few lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DDPM(nn.Module):
    """x_t = a_t x_0 + sqrt(1 - a_t^2) e with noise to signal s_t = lowest .. highest, geometric."""

    s: Tensor
    a: Tensor

    def __init__(self, net: nn.Module, dim: int, steps: int, lowest: float, highest: float) -> None:
        super().__init__()
        self.net, self.dim, self.steps = net, dim, steps
        s = torch.logspace(math.log10(lowest), math.log10(highest), steps, dtype=torch.float64)
        self.register_buffer("s", torch.cat([torch.zeros(1), s]).float())
        self.register_buffer("a", 1 / (1 + self.s**2).sqrt())

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the net's estimate of e at the steps t, shape (B,)."""
        return self.net(x, self.s[t].log()[:, None])

    def loss(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the simple loss E |e - e(x_t, t)|^2 at random t."""
        t = torch.randint(1, self.steps + 1, (len(x0),), generator=generator)
        e = torch.randn(x0.shape, generator=generator)
        return (self.noise(self.heat(x0, t, e), t) - e).square().mean()

    def heat(self, x0: Tensor, t: Tensor, e: Tensor) -> Tensor:
        """Return x_t."""
        a = self.a[t][:, None]
        return a * x0 + (1 - a**2).sqrt() * e

    def reverse(self, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of p(x_{t-1} | x_t)."""
        e = self.noise(x, torch.full((len(x),), t))
        x0 = (x - (1 - self.a[t] ** 2).sqrt() * e) / self.a[t]
        return self.posterior(x0, x, t)

    def posterior(self, x0: Tensor, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(x_{t-1} | x_t, x_0); at t = 1 sd is s_1."""
        if t == 1:
            return x0, self.s[1]
        now, before = self.a[t], self.a[t - 1]
        keep = (now / before) ** 2  # 1 - beta
        rest = 1 - now**2
        mean = before * (1 - keep) / rest * x0 + keep.sqrt() * (1 - before**2) / rest * x
        return mean, ((1 - keep) * (1 - before**2) / rest).sqrt()

    @torch.inference_mode()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n draws by ancestral sampling; the last step returns its mean."""
        x = torch.randn(n, self.dim, generator=generator)
        for t in range(self.steps, 0, -1):
            x, sd = self.reverse(x, t)
            if t > 1:
                x = x + sd * torch.randn(x.shape, generator=generator)
        return x

    @torch.inference_mode()
    def bound(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one draw of the variational bound on log p(x_0), nats, shape (B,)."""
        a, value = self.a[-1], torch.zeros(len(x0), dtype=torch.float64)
        value -= (((a * x0) ** 2 - a**2 - (1 - a**2).log()) / 2).sum(1)  # KL to the prior
        for t in range(1, self.steps + 1):
            e = torch.randn(x0.shape, generator=generator)
            x = self.heat(x0, torch.full((len(x0),), t), e)
            mean, sd = self.reverse(x, t)
            wanted = x0 if t == 1 else self.posterior(x0, x, t)[0]
            value -= ((wanted - mean) ** 2).sum(1) / (2 * sd**2)
            if t == 1:
                value -= x0.shape[1] * (sd.log() + math.log(2 * math.pi) / 2)
        return value
