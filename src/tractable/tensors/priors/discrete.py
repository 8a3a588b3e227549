"""Priors on finitely many atoms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import softplus

from tractable.core.checks import check_finite, check_range
from tractable.tensors.priors.protocol import check_rank, row_wise, scalar_parts

__all__ = ["Bernoulli", "Discrete", "Rademacher"]

MOST_ATOMS = 1024  # that a product over components may have


@dataclass(frozen=True, eq=False)
class Discrete:
    """Atoms with probabilities: log Z is a log-sum-exp over the atoms, (T10).

    Parameters
    ----------
    values : (K,) or (K, r) array
        Numbers: independent components, each on these atoms. Rows: a joint prior of r components.
    probs : (K,) array, optional
        Positive, scaled to sum to 1; equal by default.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, cov = Discrete([-1, 0, 1]).mean_cov(one, 0 * one)
    >>> round(mean.item(), 6), round(cov.item(), 6)
    (0.0, 0.548137)
    """

    values: ArrayLike
    probs: ArrayLike | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, float)
        check_finite("values", values)
        if values.ndim not in (1, 2) or len(values) < 1:
            raise ValueError(f"values must have shape (K,) or (K, r), got {values.shape}")
        if self.probs is not None:
            probs = np.asarray(self.probs, float)
            check_finite("probs", probs)
            if probs.shape != values.shape[:1] or (probs <= 0).any():
                raise ValueError(
                    f"probs must be {len(values)} positive numbers, one for each atom, "
                    f"got {np.asarray(self.probs).tolist()}"
                )

    @property
    def rank(self) -> int | None:
        """Components r of atoms that are vectors, else None."""
        return np.shape(self.values)[1] if np.ndim(self.values) == 2 else None

    def atoms(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the atoms (K, r) and the logarithms of their probabilities (K,)."""
        values = np.asarray(self.values, float)
        probs = np.ones(len(values)) if self.probs is None else np.asarray(self.probs, float)
        log_p = np.log(probs / probs.sum())
        check_rank(self.rank, rank, "Discrete")
        if values.ndim == 2:
            return torch.as_tensor(values), torch.as_tensor(log_p)
        return product_atoms(values, log_p, rank)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T10), shape (..., N)."""
        return atom_log_weights(*self.atoms(u.shape[-1]), A, u)[0].logsumexp(-1)

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and covariance under the tilted weights of the atoms."""
        return atom_mean_cov(*self.atoms(u.shape[-1]), A, u)

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        x, log_p = self.atoms(rank)
        p = log_p.exp()
        return p @ x, (x.mT * p) @ x

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: every atom as often as its probability says, up to rounding."""
        return draw_atoms(*self.atoms(rank), n, generator, matched)


@dataclass(frozen=True)
class Rademacher:
    """Signs, +1 and -1 with equal probability: log Z = -A/2 + log cosh u, mean tanh u, (T11).

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, _ = Rademacher().mean_cov(one, one)
    >>> round(mean.item(), 6)
    0.761594
    """

    @property
    def rank(self) -> None:
        """None: independent components of any number (to 10)."""

    def atoms(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sign vectors (2^r, r) and the logarithms of their probabilities."""
        return product_atoms(np.array([-1.0, 1.0]), np.log([0.5, 0.5]), rank)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T11), shape (..., N)."""
        if u.shape[-1] > 1:
            return atom_log_weights(*self.atoms(u.shape[-1]), A, u)[0].logsumexp(-1)
        a, h = scalar_parts(A, u)
        return -a / 2 + h + softplus(-2 * h, threshold=50) - np.log(2)

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tanh u and 1 - tanh^2 u; beyond rank 1 the sums over all sign vectors."""
        if u.shape[-1] > 1:
            return atom_mean_cov(*self.atoms(u.shape[-1]), A, u)
        row_wise(A, u)
        far = torch.exp(-2 * u.abs())
        return torch.tanh(u), (4 * far / (1 + far) ** 2).unsqueeze(-1)

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] = 0 and E[x x^T] = I."""
        check_rank(None, rank, "Rademacher")
        return torch.zeros(rank, dtype=torch.float64), torch.eye(rank, dtype=torch.float64)

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: every sign vector equally often, up to rounding."""
        return draw_atoms(*self.atoms(rank), n, generator, matched)


@dataclass(frozen=True)
class Bernoulli:
    """Membership: 1 with probability p, else 0, (T11).

    Parameters
    ----------
    p : float
        In (0, 1).

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> mean, _ = Bernoulli(0.5).mean_cov(2 * one, 0 * one)
    >>> round(mean.item(), 6)
    0.268941
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_range("p", self.p, 0, 1, open_low=True, open_high=True)

    @property
    def rank(self) -> None:
        """None: independent components of any number (to 10)."""

    def atoms(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the memberships (2^r, r) and the logarithms of their probabilities."""
        return product_atoms(np.array([0.0, 1.0]), np.log([1 - self.p, self.p]), rank)

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z (T11), shape (..., N)."""
        if u.shape[-1] > 1:
            return atom_log_weights(*self.atoms(u.shape[-1]), A, u)[0].logsumexp(-1)
        return np.log1p(-self.p) + softplus(self._logit(A, u), threshold=50)

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return q and q (1 - q), q the posterior probability of a 1."""
        if u.shape[-1] > 1:
            return atom_mean_cov(*self.atoms(u.shape[-1]), A, u)
        logit = self._logit(A, u).unsqueeze(-1)
        q = torch.sigmoid(logit)
        return q, (q * torch.sigmoid(-logit)).unsqueeze(-1)

    def _logit(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        a, h = scalar_parts(A, u)
        return np.log(self.p) - np.log1p(-self.p) + h - a / 2

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x] and E[x x^T]."""
        check_rank(None, rank, "Bernoulli")
        first = torch.full((rank,), self.p, dtype=torch.float64)
        spread = self.p * (1 - self.p) * torch.eye(rank, dtype=torch.float64)
        return first, torch.outer(first, first) + spread

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched``: as many ones as p says, up to rounding."""
        return draw_atoms(*self.atoms(rank), n, generator, matched)

    def refit(self, first: torch.Tensor, second: torch.Tensor) -> Bernoulli:
        """Return the prior whose p is the mean of these moments."""
        return Bernoulli(float(torch.as_tensor(first).mean().clamp(1e-6, 1 - 1e-6)))


def product_atoms(
    values: np.ndarray, log_p: np.ndarray, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the atoms of ``rank`` independent components, and their log-probabilities."""
    check_rank(None, rank, "discrete")
    if len(values) ** rank > MOST_ATOMS:
        raise NotImplementedError(
            f"{len(values)} atoms in {rank} independent components are {len(values)}^{rank} atoms, "
            f"more than {MOST_ATOMS}; lower the rank, or give joint atoms, Discrete(values (K, r))"
        )
    x = np.array(list(itertools.product(values, repeat=rank)))
    weights = np.array([sum(w) for w in itertools.product(log_p, repeat=rank)])
    return torch.as_tensor(x), torch.as_tensor(weights)


def atom_log_weights(
    x: torch.Tensor, log_p: torch.Tensor, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p + u.x - x^T A x / 2, shape (..., N, K), and the atoms where u is."""
    x, log_p, A = x.to(u), log_p.to(u), row_wise(A, u)
    energy = ((x @ A) * x).sum(-1) / 2
    return log_p + u @ x.mT - energy, x


def atom_mean_cov(
    x: torch.Tensor, log_p: torch.Tensor, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and covariance of the atoms under their tilted weights."""
    weights, x = atom_log_weights(x, log_p, A, u)
    weights = torch.softmax(weights, -1)
    mean = weights @ x
    pairs = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)
    second = (weights @ pairs).unflatten(-1, (x.shape[1], x.shape[1]))
    return mean, second - mean.unsqueeze(-1) * mean.unsqueeze(-2)


def draw_atoms(
    x: torch.Tensor, log_p: torch.Tensor, n: int, generator: torch.Generator, matched: bool
) -> torch.Tensor:
    """Draw n atoms; ``matched`` rounds the expected counts and shuffles."""
    if not matched:
        return x[torch.multinomial(log_p.exp(), n, replacement=True, generator=generator)]
    expected = n * log_p.exp()
    counts = expected.floor().long()
    rest = torch.argsort(expected - counts, descending=True, stable=True)[: n - int(counts.sum())]
    counts[rest] += 1
    rows = torch.repeat_interleave(torch.arange(len(x)), counts)
    return x[rows[torch.randperm(n, generator=generator)]]
