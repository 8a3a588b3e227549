"""What a prior must answer, and how its arguments are shaped."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

__all__ = ["Prior", "row_wise", "scalar_parts"]


@runtime_checkable
class Prior(Protocol):
    """What is asked of a prior P of a row x in R^r; an object of one's own with these will do.

    Two functions of the tilted density P(x) exp(u.x - x^T A x / 2) / Z, (T8), are the whole
    interface to message passing and to its theory; samples and moments are for simulation and for
    starts. Shapes: ``u`` is (..., N, r); ``A`` is (..., r, r), shared by the rows, or
    (..., N, r, r), one for each row. It is row-wise exactly when it has one axis more than ``u``.
    """

    @property
    def rank(self) -> int | None:
        """Components r of a joint prior; None for independent components, of any number."""

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return log Z, shape (..., N)."""

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tilted mean (..., N, r) and covariance (..., N, r, r)."""

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E[x], shape (r,), and E[x x^T], shape (r, r)."""

    def sample(
        self, n: int, rank: int = 1, *, generator: torch.Generator, matched: bool = False
    ) -> torch.Tensor:
        """Draw (n, r); ``matched`` asks for sample moments that are those of the prior."""


def row_wise(A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return ``A`` with an axis of rows, of length 1 when it is shared: (..., N or 1, r, r)."""
    r = u.shape[-1]
    if A.shape[-2:] != (r, r):
        raise ValueError(f"A must have shape (..., {r}, {r}) for u of {r} columns, got {A.shape}")
    return A if A.ndim == u.ndim + 1 else A.unsqueeze(-3)


def scalar_parts(A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A and u of rank 1 as numbers that broadcast, (..., N or 1) and (..., N)."""
    return row_wise(A, u)[..., 0, 0], u[..., 0]


def check_rank(own: int | None, rank: int, name: str) -> int:
    """Return ``rank``, refused where the prior's parameters fix another."""
    if rank < 1:
        raise ValueError(f"rank must be >= 1, got {rank}")
    if own is not None and own != rank:
        raise ValueError(f"this {name} prior is one of {own} components, got rank={rank}")
    return rank
