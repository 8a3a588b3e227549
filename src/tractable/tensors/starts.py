"""Where message passing starts: prior, spectra of the unfoldings, chance, ALS, given factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_finite, check_shape
from tractable.core.seeds import derive, generator
from tractable.tensors.observations import Observations
from tractable.tensors.priors import Prior

__all__ = ["STARTS", "spectral_factors", "starting_means", "suited_start"]

STARTS = ("prior", "spectral", "random", "als")
LARGEST_GRAM = 4000  # beyond, the start of a mode comes from those of the others


def suited_start(priors: Sequence[Prior], rank: int) -> str:
    """Return ``prior`` where its mean leads the way, else ``spectral``.

    With two or more modes of zero mean the prior mean is a fixed point, exactly.
    """
    centered = sum(float(prior.moments(rank)[0].abs().max()) < 1e-12 for prior in priors)
    return "spectral" if centered >= 2 else "prior"


def starting_means(
    init: Any,
    data: Observations,
    priors: Sequence[Prior],
    rank: int,
    n_starts: int,
    *,
    seed: int,
    init_scale: float,
    Y: Any,
    noise: float,
) -> list[Tensor]:
    """Return the first posterior means, (S, N_a, r) for each mode."""
    if not isinstance(init, str):
        given = given_factors(init, data.shape, rank)
        random = generator(derive(seed, "starts"))
        return [
            torch.stack([jittered(x, init_scale if s else 0.0, random) for s in range(n_starts)])
            for x in given
        ]
    check_choice("init", init, STARTS)
    drawn = [
        one_start(init, s, data, priors, rank, seed, init_scale, Y, noise) for s in range(n_starts)
    ]
    return [torch.stack([start[mode] for start in drawn]) for mode in range(data.order)]


def one_start(
    init: str,
    start: int,
    data: Observations,
    priors: Sequence[Prior],
    rank: int,
    seed: int,
    init_scale: float,
    Y: Any,
    noise: float,
) -> list[Tensor]:
    """Return the factors of one start, (N_a, r) for each mode."""
    random = generator(derive(seed, "starts", init, start))
    shape = data.shape
    if init == "prior":
        return [
            jittered(
                prior.moments(rank)[0].expand(n, rank), init_scale, random, spread(prior, rank)
            )
            for prior, n in zip(priors, shape, strict=True)
        ]
    if init == "random":
        return [
            prior.sample(n, rank, generator=random) for prior, n in zip(priors, shape, strict=True)
        ]
    if init == "als":
        from tractable.tensors.baselines import als
        from tractable.tensors.observations import is_chunked

        if is_chunked(Y):
            raise ValueError("init='als' needs the array in memory; take init='spectral'")
        fit = als(Y, rank, init="svd" if start == 0 else "uniform", seed=seed + start, n_starts=1)
        scaled = [torch.as_tensor(x, dtype=torch.float64) for x in fit.factors]
        return [to_prior(x, prior) for x, prior in zip(scaled, priors, strict=True)]
    found = spectral_factors(data, rank, noise)
    if start:  # other starts: the leading subspaces, turned at random
        found = [x @ turned(rank, random) for x in found]
    return [to_prior(x, prior) for x, prior in zip(found, priors, strict=True)]


def turned(rank: int, random: torch.Generator) -> Tensor:
    """Return a random orthogonal matrix."""
    return torch.linalg.qr(torch.randn(rank, rank, generator=random, dtype=torch.float64))[0]


def spread(prior: Prior, rank: int) -> Tensor:
    """Return the prior's standard deviation of each component."""
    first, second = prior.moments(rank)
    return (second.diagonal() - first**2).clamp_min(0).sqrt()


def jittered(
    x: Tensor, scale: float, random: torch.Generator, width: Tensor | float = 1.0
) -> Tensor:
    """Return x plus Gaussian noise of standard deviation ``scale * width``."""
    if scale == 0:
        return x.clone()
    noise = torch.randn(x.shape, generator=random, dtype=torch.float64)
    return x + scale * width * noise


def to_prior(x: Tensor, prior: Prior) -> Tensor:
    """Scale columns to the prior's second moment, with the sign of its mean."""
    rank = x.shape[1]
    first, second = prior.moments(rank)
    size = x.square().mean(0).sqrt().clamp_min(1e-150)
    sign = torch.where((first * x.sum(0)) < 0, -1.0, 1.0).double()
    return x * sign * second.diagonal().sqrt() / size


def spectral_factors(data: Observations, rank: int, noise: float) -> list[Tensor]:
    """Return leading left singular vectors of every unfolding, by its N_a x N_a Gram matrix.

    The noise's expected share of the diagonal is removed, which matters where entries are missing.
    """
    found: list[Tensor | None] = []
    total = float(np.prod(data.shape))
    for mode, size in enumerate(data.shape):
        if size > LARGEST_GRAM and size > min(data.shape):
            found.append(None)
            continue
        gram = data.engine.gram(mode)
        counts = torch.full((size,), data.fraction * total / size, dtype=torch.float64)
        if data.weights is not None:
            counts = data.weights.slice_counts(mode)
        vectors = torch.linalg.eigh(gram - torch.diag(noise * counts))[1]
        leading = vectors[:, -rank:].flip(1)
        if leading.shape[1] < rank:  # more components than entries: the rest starts at random
            random = generator(derive(rank, "spectral", mode))
            more = torch.randn(size, rank - size, generator=random, dtype=torch.float64)
            leading = torch.cat([leading, more / size**0.5], 1)
        found.append(leading)
    return _completed(data, found, rank)


def _completed(data: Observations, found: list[Tensor | None], rank: int) -> list[Tensor]:
    """Fill in the modes too long for a Gram matrix: the tensor contracted with the others."""
    while any(x is None for x in found):
        mode = found.index(None)
        ready = [
            torch.ones(n, rank, dtype=torch.float64) / n**0.5 if x is None else x
            for n, x in zip(data.shape, found, strict=True)
        ]
        side = 0 if mode < data.engine.n_left else 1
        x = data.engine.finish(data.engine.partial(side, ready), mode, ready)
        found[mode] = x / x.norm(dim=0).clamp_min(1e-150)
    return [x for x in found if x is not None]


def given_factors(init: Any, shape: Sequence[int], rank: int) -> list[Tensor]:
    """Return the factors of a TensorLy ``CPTensor``, of a result, or of a list of matrices."""
    weights = getattr(init, "weights", None)
    factors = getattr(init, "factors", init)
    if not isinstance(factors, Sequence) or len(factors) != len(shape):
        raise ValueError(
            f"init must be one of {', '.join(map(repr, STARTS))}, or {len(shape)} factor matrices, "
            f"got {type(init).__name__}"
        )
    found = []
    for mode, x in enumerate(factors):
        array = torch.as_tensor(np.asarray(x.detach().cpu() if hasattr(x, "detach") else x))
        check_shape(f"init[{mode}]", array.shape, (shape[mode], rank))
        check_finite(f"init[{mode}]", array)
        found.append(array.double().clone())
    if weights is not None:
        found[-1] = found[-1] * torch.as_tensor(np.asarray(weights), dtype=torch.float64)
    return found
