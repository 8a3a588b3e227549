"""The spiked tensor: a low-rank signal in Gaussian noise, of any order, shape and rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tractable.core.checks import check_count, check_finite, check_range
from tractable.core.seeds import generator
from tractable.tensors.priors import Prior, as_priors

__all__ = ["Sample", "SpikedTensor", "aspect_ratios", "signal"]

LETTERS = "abcdefghijklmnopqrstuvwxy"


@dataclass(frozen=True)
class Sample:
    """A tensor drawn from the model, with all that made it."""

    Y: torch.Tensor
    """The data, shape ``shape``."""
    factors: tuple[torch.Tensor, ...]
    """The true factors, float64, (N_a, r) each."""
    W: torch.Tensor
    """The signal without noise, shape ``shape``."""
    noise: float
    """Noise variance Delta in model units."""


@dataclass(frozen=True)
class SpikedTensor:
    """Y = N^(-(p-1)/2) sum_k x_1k o ... o x_pk + sqrt(Delta) noise, (T1).

    Rows of the factor of mode a are drawn from the prior of mode a; N is the geometric mean of the
    sizes. In these units the signal is of relative size N^(-(p-1)) and yet recoverable.

    Parameters
    ----------
    shape : sequence of int
        Sizes N_a >= 2 of the p >= 2 modes.
    rank : int
        Components r >= 1.
    priors : Prior, str, or one for each mode
        Of the factors' rows; names as in `as_prior`.
    noise : float
        Noise variance Delta >= 0 of an entry, in model units.

    Examples
    --------
    >>> sample = SpikedTensor((20, 30, 40), priors="gaussian(0.4)", noise=0.3).sample(0)
    >>> sample.Y.shape, [tuple(x.shape) for x in sample.factors]
    (torch.Size([20, 30, 40]), [(20, 1), (30, 1), (40, 1)])
    """

    shape: tuple[int, ...]
    rank: int = 1
    priors: Prior | str | Sequence[Prior | str] = "gaussian"
    noise: float = 0.3

    def __post_init__(self) -> None:
        for size in self.shape:
            check_count("shape", size, 2)
        shape = tuple(int(size) for size in self.shape)
        if len(shape) < 2 or min(shape) < 2:
            raise ValueError(f"shape must be at least 2 sizes >= 2, got {tuple(self.shape)}")
        check_count("rank", self.rank)
        check_finite("noise", self.noise)
        check_range("noise", self.noise, 0)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "priors", as_priors(self.priors, len(shape)))

    @property
    def n_geo(self) -> float:
        """Geometric mean N of the sizes."""
        return float(np.exp(np.mean(np.log(self.shape))))

    @property
    def aspect(self) -> np.ndarray:
        """Aspect ratios n_a = N_a / N, of product 1."""
        return aspect_ratios(self.shape)

    def sample(
        self,
        seed: int = 0,
        *,
        moment_matched: bool = False,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> Sample:
        """Draw factors and noise.

        Parameters
        ----------
        seed : int
            Decides the draw; the same on every device.
        moment_matched : bool
            Draw factors whose sample mean and variance are those of the prior (Gaussian: exactly).
            Near a threshold their wandering by N_a^(-1/2) would swamp everything else.
        dtype : torch.dtype
            Of ``Y`` and ``W``; factors stay float64.
        device : str
            Where ``Y``, ``W`` and the factors are put.
        """
        check_count("seed", seed, 0)
        random = generator(seed)
        factors = tuple(
            prior.sample(size, self.rank, generator=random, matched=moment_matched)
            for size, prior in zip(self.shape, as_priors(self.priors, len(self.shape)), strict=True)
        )
        W = signal(factors).to(dtype)
        noise = torch.randn(self.shape, generator=random, dtype=dtype)
        Y = noise.mul_(self.noise**0.5).add_(W)
        return Sample(
            Y.to(device), tuple(x.to(device) for x in factors), W.to(device), float(self.noise)
        )


def aspect_ratios(shape: Sequence[float]) -> np.ndarray:
    """Return n_a = N_a / N with N the geometric mean, of product 1.

    Examples
    --------
    >>> aspect_ratios((100, 200, 400)).tolist()
    [0.5, 1.0, 2.0]
    """
    sizes = np.asarray(shape, dtype=float)
    check_finite("shape", sizes)
    if sizes.ndim != 1 or len(sizes) < 2 or (sizes <= 0).any():
        raise ValueError(f"shape must be at least 2 positive sizes, got {shape}")
    # Rounded so that 100 x 200 x 400 is 1/2 : 1 : 2 exactly, whatever the logarithms do.
    return np.round(sizes / np.exp(np.mean(np.log(sizes))), 14)


def signal(factors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return N^(-(p-1)/2) sum_k x_1k o ... o x_pk of factors (N_a, r), (T1).

    Examples
    --------
    >>> one = torch.ones(4, 1, dtype=torch.float64)
    >>> signal([one, one, one])[0, 0, 0].item()
    0.25
    """
    order = len(factors)
    n_geo = np.exp(np.mean([np.log(len(x)) for x in factors]))
    letters = LETTERS[:order]
    spec = ",".join(f"{letter}z" for letter in letters) + "->" + letters
    scale = float(n_geo ** (-(order - 1) / 2))
    return torch.einsum(spec, factors[0] * scale, *factors[1:])
