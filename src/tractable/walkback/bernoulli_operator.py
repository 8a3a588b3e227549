"""The Bernoulli operator: each bit is set independently, given the state before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_range
from tractable.walkback.operators import TransitionOperator, _event, expand

__all__ = ["BernoulliOperator"]


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
