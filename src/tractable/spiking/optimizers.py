"""RMaxProp: no weight's step exceeds the learning rate, whatever the scale of its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_range

__all__ = ["RMaxProp"]


class RMaxProp(torch.optim.Optimizer):
    r"""Gradient descent divided by a decaying maximum of the gradient.

    .. math:: v \leftarrow \max(\gamma v, g^2), \qquad
        W \leftarrow \mathrm{clip}\left(W + \frac{r_0}{\sqrt v + \epsilon} g\right), \qquad
        \gamma = e^{-t_b / \tau_{rms}}

    (P14), with g the negative of ``p.grad``: the first step of a weight is exactly r0, none is
    larger, and rescaling all gradients changes nothing.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups, as for every optimizer of torch.
    lr : float
        Base learning rate r0, mV per update, >= 0.
    tau_rms : float
        Memory of the maximum, ms, > 0; not stated in the paper, 30 s in its code.
    t_update : float
        Time between updates, ms, > 0.
    eps : float
        Added to the root, >= 0.
    bounds : (float, float) or None
        Weights are clipped to it after every step, mV.
    per_layer : bool
        One maximum for a whole parameter.
    accumulate : str
        ``max`` is RMaxProp; ``mean`` averages the squares instead, which is RMSprop.

    Notes
    -----
    The root of v is stored instead of v: squares of small gradients would underflow in float32.
    The learning rate may change between steps; the maximum is kept then.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 3.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = RMaxProp([weight], lr=0.5)
    >>> weight.grad = torch.tensor([1e-9, -3.0])
    >>> optimizer.step()
    >>> weight.data
    tensor([-0.5000,  0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        tau_rms: float = 30_000.0,
        t_update: float = 500.0,
        eps: float = 1e-30,
        bounds: tuple[float, float] | None = (-100.0, 100.0),
        per_layer: bool = False,
        accumulate: Literal["max", "mean"] = "max",
    ) -> None:
        check_range("lr", lr, 0, open_high=True)
        check_range("tau_rms", tau_rms, 0, open_low=True, open_high=True)
        check_range("t_update", t_update, 0, open_low=True, open_high=True)
        check_range("eps", eps, 0, open_high=True)
        check_choice("accumulate", accumulate, ("max", "mean"))
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low < high, got {bounds}")
        defaults = {
            "lr": lr, "tau_rms": tau_rms, "t_update": t_update, "eps": eps, "bounds": bounds,
            "per_layer": per_layer, "accumulate": accumulate,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gamma = math.exp(-group["t_update"] / group["tau_rms"])
            for p in group["params"]:
                if p.grad is None:
                    continue
                root = self._root(p, gamma, group)
                move = p.grad / (root + group["eps"])
                # 0 / 0: no gradient yet, no step
                p.sub_(torch.where(p.grad == 0, torch.zeros_like(p), group["lr"] * move))
                if group["bounds"] is not None:
                    p.clamp_(*group["bounds"])
        return loss

    def _root(self, p: Tensor, gamma: float, group: dict[str, Any]) -> Tensor:
        size = p.grad.abs().max() if group["per_layer"] else p.grad.abs()  # type: ignore[union-attr]  # checked above
        state = self.state[p]
        if "root" not in state:
            state["root"] = torch.zeros_like(size)
        root = state["root"]
        if group["accumulate"] == "max":
            state["root"] = torch.maximum(math.sqrt(gamma) * root, size)
        else:
            state["root"] = torch.hypot(math.sqrt(gamma) * root, math.sqrt(1 - gamma) * size)
        return state["root"]
