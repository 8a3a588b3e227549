"""The contractions of a tensor with factors: two passes over the tensor for a sweep of all modes.

The modes are split into a left and a right half, so that the tensor is a matrix Y of shape
(m, n) without being copied. ``Y @ KR(right)`` serves all modes of the left half, ``KR(left).T @ Y``
those of the right one: a dimension tree. KR is the column-wise Khatri-Rao product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tractable.core.checks import as_floats, check_count, check_finite, check_range, check_shape

if TYPE_CHECKING:
    import torch

__all__ = ["Contractions", "DenseContractions", "halves", "khatri_rao", "mttkrp"]

FLOAT32_ROUNDING = 1e-5  # relative change of means below which float32 passes are noise
NARROW = 8  # up to so many columns Y @ b is faster than (b.T @ Y.T).T


class Contractions(Protocol):
    """What a sweep asks of a tensor, wherever its entries are."""

    shape: tuple[int, ...]

    n_left: int
    rounding: float

    def partial(self, side: int, factors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the tensor contracted with all modes of the other side (0 left, 1 right)."""

    def finish(
        self, partial: torch.Tensor, mode: int, factors: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the MTTKRP of a mode from the partial contraction of its side."""

    def gram(self, mode: int) -> torch.Tensor:
        """Return the Gram matrix of the unfolding of a mode, shape (N_a, N_a)."""


def halves(shape: Sequence[int]) -> int:
    """Return how many modes the left half has: the split with the smallest partial results.

    Examples
    --------
    >>> halves((300, 300, 300)), halves((30, 1266, 100)), halves((40, 50, 60, 45))
    (2, 2, 2)
    """
    sizes = [
        (float(np.prod(shape[:h])) + float(np.prod(shape[h:])), -h) for h in range(1, len(shape))
    ]
    return -min(sizes)[1]


def khatri_rao(factors: Sequence[Any]) -> Any:
    """Return the column-wise Khatri-Rao product, shape (prod N_a, K), last factor fastest.

    Examples
    --------
    >>> khatri_rao([np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])]).ravel()
    array([3., 4., 6., 8.])
    """
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product


def contract_others(partial: Any, position: int, factors: Sequence[Any]) -> Any:
    """Contract ``partial`` (N_1, .., N_h, K), column by column, with all factors but one."""
    for axis in reversed(range(len(factors))):
        if axis != position:
            shape = [1] * partial.ndim
            shape[axis], shape[-1] = factors[axis].shape
            partial = (partial * factors[axis].reshape(shape)).sum(axis, keepdims=True)
    return partial.reshape(partial.shape[position], partial.shape[-1])


class DenseContractions:
    """Contractions of a tensor in memory, on the CPU or a GPU; the tensor is never copied.

    Parameters
    ----------
    tensor : torch.Tensor
        C-contiguous, float32 or float64, at least two modes.
    n_left : int, optional
        Modes of the left half; by default those that `halves` chooses.
    """

    def __init__(self, tensor: torch.Tensor, n_left: int | None = None) -> None:
        import torch

        self.shape = tuple(int(n) for n in tensor.shape)
        self.n_left = halves(self.shape) if n_left is None else n_left
        self.tensor = tensor
        rows = int(np.prod(self.shape[: self.n_left]))
        self.matrix = tensor.view(rows, -1)
        self.rounding = FLOAT32_ROUNDING if tensor.dtype == torch.float32 else 0.0

    def _tensors(self, factors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [x.to(device=self.tensor.device, dtype=self.tensor.dtype) for x in factors]

    def partial(self, side: int, factors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the tensor contracted with all modes of the other side, shape (.., K)."""
        h, y = self.n_left, self.matrix
        if side == 0:
            right = khatri_rao(self._tensors(factors[h:]))
            if right.shape[1] <= NARROW:
                product = y @ right.T.contiguous().T
            else:
                product = (right.T.contiguous() @ y.T).T
            return product.reshape(*self.shape[:h], -1)
        left = khatri_rao(self._tensors(factors[:h]))
        return (left.T @ y).T.reshape(*self.shape[h:], -1)

    def finish(
        self, partial: torch.Tensor, mode: int, factors: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the MTTKRP of a mode on the CPU in float64, shape (N_a, K)."""
        first = 0 if mode < self.n_left else self.n_left
        own = self._tensors(factors[first : first + partial.ndim - 1])
        result = contract_others(partial, mode - first, own)
        return result.double().cpu()

    def gram(self, mode: int) -> torch.Tensor:
        """Return Y_(a) Y_(a)^T in float64, summed over slabs so that nothing is unfolded."""
        before = int(np.prod(self.shape[:mode]))
        slabs = self.tensor.view(before, self.shape[mode], -1)
        total = sum(slab @ slab.T for slab in slabs)
        return total.double().cpu()


def mttkrp(tensor: Any, factors: Sequence[Any], mode: int) -> np.ndarray:
    r"""Return the matricized tensor times Khatri-Rao product of one mode.

    .. math:: B_{i\rho} = \sum_{i_b, b \ne a} Y_{i_1 \dots i_p} \prod_{b \ne a} X_{b, i_b \rho}

    Parameters
    ----------
    tensor : array_like, shape (N_1, .., N_p)
        NumPy array or torch tensor, finite.
    factors : sequence of array_like
        X_b of shape (N_b, K) for each mode; that of ``mode`` is not read.
    mode : int
        a, from 0.

    Returns
    -------
    ndarray of float64, shape (N_a, K)

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN or infinity.

    Notes
    -----
    One pass over the tensor, without an unfolded copy of it.

    Examples
    --------
    >>> tensor = np.arange(24.0).reshape(2, 3, 4)
    >>> mttkrp(tensor, [np.ones((n, 1)) for n in (2, 3, 4)], 0).ravel()
    array([ 66., 210.])
    """
    import torch

    if not hasattr(tensor, "detach"):
        numbers = np.asarray(tensor)
        tensor = torch.as_tensor(
            numbers if numbers.dtype.kind in "biuf" else as_floats("tensor", numbers)
        )
    data = tensor.detach()
    if data.dtype not in (torch.float32, torch.float64):
        data = data.double()
    if data.ndim < 2:
        raise ValueError(f"tensor must have at least 2 modes, got shape {tuple(data.shape)}")
    if not data.numel():
        raise ValueError(f"tensor must not be empty, got shape {tuple(data.shape)}")
    check_count("mode", mode, 0)
    check_range("mode", mode, 0, data.ndim - 1)
    check_finite("tensor", data)
    if len(factors) != data.ndim:
        raise ValueError(
            f"factors must be {data.ndim} matrices, one for each mode of tensor, got {len(factors)}"
        )
    arrays = [torch.as_tensor(np.asarray(x, dtype=float)) for x in factors]
    width = arrays[(mode + 1) % data.ndim].shape[-1]
    for b, array in enumerate(arrays):
        if b != mode:
            check_shape(f"factors[{b}]", array.shape, (int(data.shape[b]), int(width)))
            check_finite(f"factors[{b}]", array)
    arrays[mode] = torch.zeros(int(data.shape[mode]), width, dtype=torch.float64)
    engine = DenseContractions(data.contiguous())
    side = 0 if mode < engine.n_left else 1
    return engine.finish(engine.partial(side, arrays), mode, arrays).numpy()
