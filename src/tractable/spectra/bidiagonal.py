"""Golub-Kahan bidiagonalization: the spectrum of an operator from products with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_range

__all__ = ["bidiagonalize", "gauss_nodes"]

Product = Callable[[Tensor], Tensor]


def bidiagonalize(
    product: Product, transposed: Product, start: Tensor, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the entries of B in :math:`A V = U B`, B upper bidiagonal, for several starts.

    The columns of V are re-orthogonalized against all earlier ones, twice; those of U inherit
    their orthogonality (one-sided re-orthogonalization), so that only V is stored.

    Parameters
    ----------
    product, transposed : callable
        ``(P, n) -> (P, m)``, v to A v, and back, u to A^T u, each row by itself.
    start : tensor, shape (P, n)
        First vectors, not zero; they need not be normalized.
    steps : int
        Size k of B, 1 .. n.

    Returns
    -------
    diagonal, above : ndarray of float64, shapes (P, k) and (P, k - 1)
        Entries of B; zero from where the Krylov space is exhausted.

    Notes
    -----
    Memory P (k + 4) max(n, m) numbers.

    References
    ----------
    Simon, Zha 2000, doi:10.1137/S1064827597327309: one-sided re-orthogonalization.

    Examples
    --------
    >>> matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    >>> diagonal, above = bidiagonalize(
    ...     lambda v: v @ matrix.T, lambda u: u @ matrix, torch.ones(1, 3).double(), 3
    ... )
    >>> gauss_nodes(diagonal, above)[0].round(6)
    array([[3., 2., 1.]])
    """
    n_probes, n = start.shape
    check_range("steps", steps, 1, n)
    basis = start.new_zeros(n_probes, steps, n)
    diagonal = np.zeros((n_probes, steps))
    above = np.zeros((n_probes, max(steps - 1, 0)))
    basis[:, 0] = start / start.norm(dim=1, keepdim=True)
    tiny = 8 * torch.finfo(start.dtype).eps
    floor = torch.zeros(n_probes, 1, dtype=start.dtype, device=start.device)
    size, left = _normalized(product(basis[:, 0]), floor)
    diagonal[:, 0] = size[:, 0].double().cpu()
    for j in range(1, steps):
        floor = torch.maximum(floor, tiny * size)
        right = transposed(left)
        right.sub_(size * basis[:, j - 1])
        for _ in range(2):
            overlap = torch.einsum("pjn,pn->pj", basis[:, :j], right)
            right.sub_(torch.bmm(overlap[:, None], basis[:, :j])[:, 0])
        length, right = _normalized(right, floor)
        above[:, j - 1] = length[:, 0].double().cpu()
        basis[:, j] = right
        del right
        image = product(basis[:, j])
        image.sub_(length * left)
        size, left = _normalized(image, floor)
        diagonal[:, j] = size[:, 0].double().cpu()
        del image
    return diagonal, above


def gauss_nodes(diagonal: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the Gauss quadrature of the start vectors' spectral measure of :math:`A^T A`.

    Parameters
    ----------
    diagonal, above : ndarray, shapes (P, k) and (P, k - 1)
        From `bidiagonalize`.

    Returns
    -------
    nodes, weights : ndarray, shape (P, k)
        Singular values in descending order, and weights that sum to 1.
    """
    matrix = np.zeros((*diagonal.shape, diagonal.shape[1]))
    index = np.arange(diagonal.shape[1])
    matrix[:, index, index] = diagonal
    matrix[:, index[:-1], index[1:]] = above
    _, nodes, right = np.linalg.svd(matrix)
    return nodes, right[:, :, 0] ** 2


def _normalized(vectors: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Return norms and unit vectors, in place; a vector that is rounding error becomes zero."""
    norms = vectors.norm(dim=1, keepdim=True)
    alive = norms > floor
    vectors.mul_(torch.where(alive, 1 / norms.clamp(min=torch.finfo(vectors.dtype).tiny), 0.0))
    return torch.where(alive, norms, 0.0), vectors
