"""What is learned beside the factors: noise variance, scale of the signal, parameters of priors.

Only the product of all scales is identified. The convention here: components have unit second
moment in all modes but one, which carries their relative strengths (mean square 1), and the scale
of the array carries the rest. Without it expectation maximization drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tractable.tensors.beliefs import Beliefs, outer_columns
from tractable.tensors.priors import Exponential, GaussBernoulli, Gaussian, Prior, TruncatedGaussian

__all__ = ["Learner", "noise_spread"]

SCALABLE = (Exponential, GaussBernoulli, Gaussian, TruncatedGaussian)
EXCESS = 4.0  # a true noise variance is searched for within this factor of the assumed one
FEW = 20  # entries of a slice below which its noise is not judged
FLOOR = 1e-10  # of the mean square of the data: a noise variance below it is rounding


@dataclass(frozen=True)
class Learner:
    """Which parameters are learned, once after every sweep (T14), (T15).

    Parameters
    ----------
    noise, scale, priors : bool
        Learn the noise variance, the scale of the signal, the parameters of the priors.
    warm_up : int
        Sweeps before priors are learned.
    """

    noise: bool = True
    scale: bool = True
    priors: bool = False
    warm_up: int = 3

    def update(self, beliefs: Beliefs, sweep: int) -> None:
        """Take one step of expectation maximization."""
        known, _, first = beliefs.signal_power()
        power = known + first  # where the free entropy is stationary in the scale
        found = self._noise(beliefs, power)
        if not self.noise and not beliefs.data.row_wise and sweep > 0:
            beliefs.excess = (found / beliefs.noise).clamp(1 / EXCESS, EXCESS)
        if self.scale:
            ratio = beliefs.contraction / power.clamp_min(1e-300)
            beliefs.scale = beliefs.scale * ratio.clamp(0.5, 2.0)
        if self.noise:
            self._set_noise(beliefs, found)
        if self.priors and sweep + 1 >= self.warm_up:
            fix_gauge(beliefs, free_scale=self.scale)
            for mode, priors in enumerate(beliefs.priors):
                beliefs.priors[mode] = [
                    refitted(prior, *moments(beliefs, mode, s)) for s, prior in enumerate(priors)
                ]

    def _noise(self, beliefs: Beliefs, power: Tensor) -> Tensor:
        """Return the noise variance at which the free entropy is stationary, (S,)."""
        data = beliefs.data
        if beliefs.relative is None or data.slice_squares is None:
            squares: Tensor | float = data.square_sum
        else:
            squares = (data.slice_squares / beliefs.relative).sum(1)
        residual = squares + beliefs.scale**2 * (power - 2 * beliefs.contraction)
        floor = FLOOR * data.square_sum / data.n_observed
        return (residual / data.n_observed).clamp_min(floor)

    def _set_noise(self, beliefs: Beliefs, found: Tensor) -> None:
        data = beliefs.data
        if data.noise_mode is None:
            beliefs.noise = found
            return
        by_slice = slice_noise(beliefs)
        counts = data.slice_counts
        assert counts is not None
        beliefs.noise = (by_slice * counts).sum(1) / data.n_observed
        beliefs.relative = by_slice / beliefs.noise[:, None]


def slice_noise(beliefs: Beliefs) -> Tensor:
    """Return the noise variance of each slice of the heteroscedastic mode, (S, N_m)."""
    data, mode = beliefs.data, beliefs.data.noise_mode
    assert mode is not None
    assert beliefs.relative is not None
    assert data.slice_squares is not None
    assert data.slice_counts is not None
    second = outer_columns(beliefs.mean[mode], beliefs.mean[mode]) + beliefs.cov[mode].flatten(2)
    others = [
        outer_columns(x, x) + c.flatten(2) for x, c in zip(beliefs.mean, beliefs.cov, strict=True)
    ]
    power = (beliefs._contract(mode, others)[0].flatten(2) * second).sum(-1) * beliefs.relative
    cross = beliefs.slice_contraction
    scale = beliefs.scale[:, None]
    residual = data.slice_squares + scale**2 * (power - 2 * cross)
    floor = FLOOR * data.square_sum / data.n_observed
    return (residual / data.slice_counts).clamp_min(floor)


def noise_spread(beliefs: Beliefs, start: int) -> Tensor:
    """Return what weighting the slices of each mode by their own noise would gain, (p,).

    Mean noise variance of the slices over their harmonic mean: 1 where all are alike. Slices with
    less than a tenth of the median count as a tenth: one that is constant is no reason to weight.
    """
    data, found = beliefs.data, torch.ones(beliefs.order, dtype=torch.float64)
    if data.noise_mode is not None:
        return found
    for mode, (squares, counts) in enumerate(zip(data.mode_squares, data.mode_counts, strict=True)):
        rest = (squares - beliefs.fitted[mode][start]).clamp_min(0) / counts
        rest = rest.clamp_min(float(rest.median()) / 10)
        if float(rest.min()) > 0 and float(counts.min()) >= FEW:
            found[mode] = float(rest.mean() * (1 / rest).mean())
    return found


def moments(beliefs: Beliefs, mode: int, start: int) -> tuple[Tensor, Tensor]:
    """Return mean and second moment of the rows of a mode under the posterior."""
    x, cov = beliefs.mean[mode][start], beliefs.cov[mode][start]
    return x.mean(0), (x.mT @ x + cov.sum(0)) / len(x)


def refitted(prior: Prior, first: Tensor, second: Tensor) -> Prior:
    """Return the prior with parameters of these moments, or itself where it has none to learn.

    Of a truncated Gaussian and of a spike and slab only the scale is learned, not the shape.
    """
    refit = getattr(prior, "refit", None)
    if refit is not None:
        return refit(first, second)
    if isinstance(prior, TruncatedGaussian | GaussBernoulli):
        own = float(torch.trace(prior.moments(len(first))[1]))
        ratio = float(torch.trace(second)) / own
        return replace(prior, mean=prior.mean * ratio**0.5, var=prior.var * ratio)
    return prior


def fix_gauge(beliefs: Beliefs, *, free_scale: bool) -> None:
    """Rescale components to unit second moment in all modes but one, which carries the rest."""
    scalable = [b for b, own in enumerate(beliefs.priors) if isinstance(own[0], SCALABLE)]
    if not scalable:
        return
    carrier = scalable[-1]
    strength = torch.ones(len(beliefs.noise), beliefs.rank, dtype=torch.float64)
    for mode in scalable[:-1]:
        size = component_size(beliefs, mode)
        rescale(beliefs, mode, 1 / size)
        strength = strength * size
    rescale(beliefs, carrier, strength)
    if free_scale:
        size = component_size(beliefs, carrier).square().mean(1, keepdim=True).sqrt()
        rescale(beliefs, carrier, (1 / size).expand_as(strength))
        beliefs.scale = beliefs.scale * size[:, 0]
        beliefs.contraction = beliefs.contraction / size[:, 0]


def component_size(beliefs: Beliefs, mode: int) -> Tensor:
    """Return the root of the posterior second moment of each component, (S, r)."""
    x, cov = beliefs.mean[mode], beliefs.cov[mode]
    second = x.square().mean(1) + cov.diagonal(dim1=-2, dim2=-1).mean(1)
    return second.sqrt().clamp_min(1e-150)


def rescale(beliefs: Beliefs, mode: int, factor: Tensor) -> None:
    """Multiply the components of a mode by ``factor`` (S, r), also where they are remembered."""
    by_row = factor[:, None, :]
    beliefs.mean = list(beliefs.mean)
    beliefs.mean[mode] = beliefs.mean[mode] * by_row
    beliefs.cov[mode] = beliefs.cov[mode] * (factor[:, None, :, None] * factor[:, None, None, :])
    for used in beliefs.used:
        if used is not None:
            used[mode] = used[mode] * by_row
