"""Surrogate derivatives of the spike: bumps around the threshold, 1 at their top."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_finite, check_range

__all__ = ["SURROGATES", "surrogate_derivative"]


def _fast_sigmoid(x: Tensor) -> Tensor:
    return (1 + x.abs()).square().reciprocal()


def _exponential(x: Tensor) -> Tensor:
    return (-x.abs()).exp()


def _triangular(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _sigmoid(x: Tensor) -> Tensor:
    return 4 * torch.sigmoid(x) * torch.sigmoid(-x)


def _gaussian(x: Tensor) -> Tensor:
    return (-math.pi / 4 * x.square()).exp()


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "fast_sigmoid": _fast_sigmoid,
    "exponential": _exponential,
    "triangular": _triangular,
    "sigmoid": _sigmoid,
    "gaussian": _gaussian,
    "linear": torch.ones_like,
}
"""Each as a function of beta (U - threshold)."""


def surrogate_derivative(
    v: Tensor, threshold: float, beta: float, surrogate: str = "fast_sigmoid"
) -> Tensor:
    r"""Return what stands for the derivative of the spike with respect to the voltage.

    .. math:: \sigma'(U) = (1 + |\beta (U - \vartheta)|)^{-2}

    (P8) for ``fast_sigmoid``; ``exponential`` :math:`e^{-|x|}`, ``triangular``
    :math:`(1 - |x|)_+`, ``sigmoid`` (four times the derivative of the logistic function),
    ``gaussian`` :math:`e^{-\pi x^2 / 4}`, and ``linear``, the constant 1 (the ablation without
    voltage dependence), with :math:`x = \beta (U - \vartheta)`.

    Parameters
    ----------
    v : Tensor
        Voltages relative to rest, mV; any shape.
    threshold : float
        Threshold relative to rest, mV.
    beta : float
        Steepness, 1/mV, > 0.
    surrogate : str
        One of the names above.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 3.

    Examples
    --------
    >>> surrogate_derivative(torch.tensor([0.0, 10.0]), 10.0, 1.0)
    tensor([0.0083, 1.0000])
    """
    check_choice("surrogate", surrogate, SURROGATES)
    check_finite("threshold", threshold)
    check_range("beta", beta, 0, open_low=True, open_high=True)
    return SURROGATES[surrogate](beta * (v - threshold))
