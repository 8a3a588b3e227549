"""One layer under audit: scale, orthogonality, q, chi, v, dead units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra.chain import ChainLayer
from tractable.spectra.orthogonal import operator_singular_values, orthogonality_error

__all__ = ["Block", "LayerAudit", "audit_layer", "chance_of_dead", "squared_slopes"]

DEAD = 1e-6  # |phi'| below it counts as zero
MAX_FOURIER = 4_000_000  # entries of a convolution's Fourier modes that are still decomposed


@dataclass(frozen=True)
class LayerAudit:
    """What a layer does at the audited inputs; NaN where it is not defined."""

    name: str
    """Name of the module."""
    kind: str
    """Its class."""
    n_in: int
    """Inputs, all places of a map counted."""
    n_out: int
    """Outputs."""
    nonlinearity: str
    """What acts on h; empty where none is known."""
    sigma_w: float
    """Root of (fan-in) x (mean square weight); the theory's standard deviation."""
    sigma_b: float
    """Root mean square bias."""
    q: float
    """Mean square of the pre-activations h."""
    mu1: float
    """Mean of phi'(h)^2."""
    chi: float
    """sigma_w^2 mean(phi'(h)^2): growth of a squared gradient through this layer."""
    v: float
    """Relative variance of phi'(h)^2."""
    r: float
    """Relative variance of the eigenvalues of W W^T: 0 orthogonal, 1 square Gaussian."""
    dead: float
    """Share of units with phi' = 0 at every input."""
    ortho_error: float
    """``max |W W^T / s^2 - 1|``; of a convolution: of its center, off-center entries included."""


@dataclass(frozen=True)
class Block:
    r"""The Jacobian of one block of a model that is no chain, from its input to its output.

    Eigenvalues :math:`\lambda` of :math:`J J^T`, pooled over the measured samples.
    """

    name: str
    """Name of the module."""
    kind: str
    """Its class."""
    n_in: int
    """Size of its input."""
    n_out: int
    """Size of its output."""
    mean: float
    """Mean eigenvalue."""
    relative_variance: float
    """Variance of the eigenvalues over their mean squared."""
    s_max: float
    """Largest singular value."""


def audit_layer(call: ChainLayer) -> LayerAudit:
    """Return the numbers of one call of a layer."""
    layer, h = call.layer, call.h.double()
    phi = call.phi
    slopes = None
    if call.acts is not None and call.argument is not None:
        slopes = squared_slopes(call.acts, call.argument)
    mu1 = math.nan if slopes is None else float(slopes.mean())
    v = math.nan
    if slopes is not None and mu1 > 0:
        v = float((slopes / mu1 - 1).square().mean())
    return LayerAudit(
        name=layer.name,
        kind=type(layer.module).__name__,
        n_in=call.x[0].numel(),
        n_out=call.h[0].numel(),
        nonlinearity="" if call.acts is None else call.acts.name,
        sigma_w=layer.sigma_w,
        sigma_b=layer.sigma_b,
        q=float(h.square().mean()),
        mu1=mu1,
        chi=layer.sigma_w**2 * mu1 if phi is not None else math.nan,
        v=v,
        r=_relative_variance(call),
        dead=math.nan if slopes is None else _dead_share(slopes, layer.is_conv),
        ortho_error=orthogonality_error(layer.weight)[1],
    )


def squared_slopes(phi: Nonlinearity, h: Tensor) -> Tensor:
    """Return phi'(h)^2 in float64."""
    return torch.from_numpy(np.square(phi.deriv(h.double().cpu().numpy())))


def chance_of_dead(call: ChainLayer) -> float:
    """Return the share of units without slope at all inputs if inputs were independent."""
    if call.acts is None or call.argument is None:
        return 0.0
    flat = squared_slopes(call.acts, call.argument) <= DEAD**2
    return float(flat.double().mean()) ** len(call.argument)


def _dead_share(slopes: Tensor, is_conv: bool) -> float:
    """Return the share of units (channels of a map) without slope at all inputs and places."""
    units = slopes.movedim(1, -1) if is_conv else slopes
    rows = units.reshape(-1, units.shape[-1])
    return float((rows <= DEAD**2).all(0).double().mean())


def _relative_variance(call: ChainLayer) -> float:
    """Return m2 / m1^2 - 1 of the eigenvalues of W W^T, on its smaller side."""
    weight = call.layer.weight.detach().double()
    module = call.layer.module
    if isinstance(module, nn.Linear):
        matrix = weight if weight.shape[0] <= weight.shape[1] else weight.T
        gram = matrix @ matrix.T
        first = float(gram.diagonal().mean())
        return float(gram.square().sum() / len(gram)) / first**2 - 1 if first > 0 else math.nan
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    size = tuple(call.x.shape[2:])
    spans = [(k - 1) * d + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    plain = all(step == 1 for step in module.stride) and module.groups == 1
    fits = all(s >= k for s, k in zip(size, spans, strict=True))
    entries = math.prod(size) * weight.shape[0] * weight.shape[1]
    if not plain or not fits or entries > MAX_FOURIER:
        return math.nan
    lam = operator_singular_values(weight, size, dilation=module.dilation).square()
    mean = float(lam.mean())
    return float((lam / mean - 1).square().mean()) if mean > 0 else math.nan
