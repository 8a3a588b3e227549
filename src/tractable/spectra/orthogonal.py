"""Random orthogonal matrices and delta-orthogonal kernels, and how orthogonal weights are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tractable.core.checks import check_count, check_finite

__all__ = ["delta_orthogonal", "haar", "operator_singular_values", "orthogonality_error"]


def haar(rows: int, columns: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw a matrix with orthonormal rows (or columns, of a tall one) from the Haar measure.

    The QR decomposition of a Gaussian matrix, with the signs of R's diagonal moved into Q; without
    them the law would not be invariant.

    Parameters
    ----------
    rows, columns : int
        Shape, each >= 1.
    generator : torch.Generator, optional
        On the CPU.

    Returns
    -------
    tensor of float64, shape (rows, columns)

    References
    ----------
    Mezzadri 2007, arXiv:math-ph/0609050, doi:10.48550/arXiv.math-ph/0609050.

    Examples
    --------
    >>> matrix = haar(2, 5, generator=torch.Generator().manual_seed(0))
    >>> bool((matrix @ matrix.T - torch.eye(2)).abs().max() < 1e-14)
    True
    """
    check_count("rows", rows)
    check_count("columns", columns)
    tall = max(rows, columns), min(rows, columns)
    gaussian = torch.randn(*tall, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return q if rows >= columns else q.T.contiguous()


def delta_orthogonal(
    out_channels: int,
    in_channels: int,
    kernel_size: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a convolution kernel that is zero but for an orthogonal matrix at its center.

    With a padding of half the kernel it acts as that matrix at every place, so that the whole
    convolution is as orthogonal as the matrix. ``torch.nn.init.orthogonal_`` flattens the kernel
    instead, and its operator has a spread of singular values.

    Parameters
    ----------
    out_channels, in_channels : int
        Channels; more of the first: orthonormal columns; of the second: orthonormal rows.
    kernel_size : tuple of int
        Odd sizes.
    generator : torch.Generator, optional
        On the CPU.

    Returns
    -------
    tensor of float64, shape (out_channels, in_channels, *kernel_size)

    Raises
    ------
    ValueError
        An even kernel has no center.

    References
    ----------
    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, arXiv:1806.05393, section 3.

    Examples
    --------
    >>> kernel = delta_orthogonal(4, 4, (3, 3), generator=torch.Generator().manual_seed(0))
    >>> int((kernel != 0).sum()), bool((kernel[:, :, 1, 1] != 0).all())
    (16, True)
    """
    check_count("out_channels", out_channels)
    check_count("in_channels", in_channels)
    for size in kernel_size:
        check_count("kernel_size", size)
    if any(size % 2 == 0 for size in kernel_size):
        raise ValueError(f"kernel_size must be odd, got {kernel_size}: it needs a center")
    kernel = torch.zeros(out_channels, in_channels, *kernel_size, dtype=torch.float64)
    kernel[_center(kernel_size)] = haar(out_channels, in_channels, generator=generator)
    return kernel


def orthogonality_error(weight: Tensor) -> tuple[float, float]:
    r"""Return the scale of a weight and its largest deviation from an orthogonal one.

    Parameters
    ----------
    weight : tensor, shape (rows, columns) or (out_channels, in_channels, ...)
        A matrix; of a kernel its center, and the largest entry elsewhere counts as deviation.

    Returns
    -------
    scale : float
        Root mean square singular value s of the matrix.
    error : float
        :math:`\max |W W^T / s^2 - 1|`, on the smaller side; infinite for a zero matrix.

    Examples
    --------
    >>> scale, error = orthogonality_error(2 * torch.eye(3))
    >>> round(scale, 6), error < 1e-7
    (2.0, True)
    """
    matrix = weight.detach().double()
    rest = 0.0
    if matrix.dim() > 2:
        middle = matrix[_center(matrix.shape[2:])]
        outside = matrix.clone()
        outside[_center(matrix.shape[2:])] = 0.0
        rest, matrix = float(outside.abs().max()), middle
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = matrix @ matrix.T
    scale2 = float(gram.diagonal().mean())
    if scale2 == 0:
        return 0.0, float("inf")
    gram = gram / scale2
    gram.diagonal().sub_(1.0)
    return scale2**0.5, max(float(gram.abs().max()), rest / scale2**0.5)


def operator_singular_values(
    weight: Tensor, size: tuple[int, ...], *, dilation: tuple[int, ...] | None = None
) -> Tensor:
    r"""Return the singular values of a circular convolution as an operator on whole maps.

    A circular convolution is a matrix :math:`\hat K(k)` of channels for each spatial frequency;
    its singular values are those of all these matrices.

    Parameters
    ----------
    weight : tensor, shape (out_channels, in_channels, k, ...)
        Kernel; stride 1.
    size : tuple of int
        Spatial size of the map, at least that of the kernel.
    dilation : tuple of int, optional
        Of the kernel; by default 1.

    Returns
    -------
    tensor of float64, shape (n,)
        Descending; n = places times the smaller number of channels.

    References
    ----------
    Sedghi, Gupta, Long 2019, arXiv:1805.10408.

    Examples
    --------
    >>> kernel = delta_orthogonal(2, 2, (3,), generator=torch.Generator().manual_seed(0))
    >>> operator_singular_values(kernel, (4,)).round(decimals=6)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.], dtype=torch.float64)
    """
    kernel = weight.detach().double()
    check_finite("weight", kernel)
    if kernel.dim() != len(size) + 2 or not kernel.numel():
        raise ValueError(
            f"weight must have shape (out_channels, in_channels, k, ...) with one k for each of "
            f"the sizes {tuple(size)} of size, got {tuple(kernel.shape)}"
        )
    steps = dilation or (1,) * len(size)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], steps, strict=True)]
    if len(spans) != len(size) or any(s < k for s, k in zip(size, spans, strict=True)):
        raise ValueError(f"size must be at least the kernel's {tuple(spans)}, got {size}")
    spread = torch.zeros(*kernel.shape[:2], *size, dtype=torch.float64, device=kernel.device)
    places: list[slice] = [slice(0, s, d) for s, d in zip(spans, steps, strict=True)]
    spread[(slice(None), slice(None), *places)] = kernel
    dims = tuple(range(2, kernel.dim()))
    modes = torch.fft.fftn(spread, dim=dims).flatten(2).permute(2, 0, 1)
    return torch.linalg.svdvals(modes).flatten().sort(descending=True).values


def _center(kernel_size: Sequence[int]) -> tuple[slice | int, ...]:
    """Return the index of a kernel's center, for all channels."""
    return (slice(None), slice(None), *(size // 2 for size in kernel_size))
