"""Layers that torch lacks: kernels of their own at every position, and divisive normalization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_count, check_range

__all__ = ["LocalConv2d", "LocalNorm"]

NARROW = 4  # channels on one side up to which sums over shifts beat products of unfolded patches


class LocalConv2d(nn.Module):
    r"""A convolution whose kernel differs from position to position.

    :math:`y_{c}(p) = \sum_{c', q} W_{c c' q}(p)\, x_{c'}(s p + q) + b_c(p)`, (R3): no weight is
    shared between positions. With one kernel copied to all positions it is the convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    kernel : int
        Side of the square kernel, odd; padding is "same".
    size : (int, int)
        Height and width of the input.
    stride : int
        Distance of neighboring positions in pixels.
    bias : bool
        One bias per channel and position.

    Notes
    -----
    Memory of the weights: H W k k C_in C_out numbers; of a batch, its unfolded patches where both
    sides have more than 4 channels.

    Examples
    --------
    >>> shared = nn.Conv2d(2, 3, 5, padding=2)
    >>> local = LocalConv2d(2, 3, 5, (8, 8)).copy_kernel(shared)
    >>> x = torch.rand(1, 2, 8, 8)
    >>> bool(torch.allclose(local(x), shared(x), atol=1e-5))
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        size: tuple[int, int],
        *,
        stride: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        counts = {"in_channels": in_channels, "out_channels": out_channels, "kernel": kernel}
        for name, count in {**counts, "stride": stride}.items():
            check_count(name, count)
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        if len(size) != 2:
            raise ValueError(f"size must be (H, W), got {size!r}")
        for side in size:
            check_count("size (H, W)", side)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.size = (kernel, kernel), (stride, stride), size
        self.padding_mode = "zeros"
        self.map = (-(-size[0] // stride), -(-size[1] // stride))
        positions, inputs = self.map[0] * self.map[1], in_channels * kernel * kernel
        self.weight = nn.Parameter(torch.empty(positions, out_channels, inputs))
        self.bias = nn.Parameter(torch.zeros(out_channels, *self.map)) if bias else None
        bound = (6 / (inputs + out_channels * kernel * kernel)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (B, out_channels, H', W')."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be (B, {self.in_channels}, H, W), got {tuple(x.shape)}")
        if tuple(x.shape[-2:]) != tuple(self.size):
            raise ValueError(
                f"x must be {self.size[0]} x {self.size[1]}, got {tuple(x.shape[-2:])}: an untied "
                "layer has its weights at these positions"
            )
        half = self.kernel_size[0] // 2
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        padded = functional.pad(x, (half,) * 4, mode=mode)
        narrow = min(self.in_channels, self.out_channels) <= NARROW
        y = self._by_shifts(padded) if narrow else self._by_patches(padded)
        return y if self.bias is None else y + self.bias

    def _by_patches(self, padded: Tensor) -> Tensor:
        patches = functional.unfold(padded, self.kernel_size, stride=self.stride)  # (B, C k k, p)
        return torch.einsum("bip,poi->bop", patches, self.weight).unflatten(-1, self.map)

    def _by_shifts(self, padded: Tensor) -> Tensor:
        """Add up products with the shifted image: no patches, and the batch is innermost."""
        kernels = self.kernels().permute(2, 3, 4, 5, 0, 1).contiguous()[..., None]
        images = padded.permute(1, 2, 3, 0).contiguous()  # (C, H, W, B)
        step, side = self.stride[0], self.kernel_size[0]
        height, width = (step * (n - 1) + 1 for n in self.map)
        y: Any = 0.0
        for r in range(side):
            for c in range(side):
                seen = images[:, r : r + height : step, c : c + width : step]
                y = y + (kernels[:, :, r, c] * seen).sum(1)
        return y.permute(3, 0, 1, 2)

    @torch.no_grad()
    def copy_kernel(self, conv: nn.Conv2d) -> LocalConv2d:
        """Take the kernel and bias of a convolution at every position; return self."""
        self.weight.copy_(conv.weight.flatten(1).expand_as(self.weight))
        if self.bias is not None and conv.bias is not None:
            self.bias.copy_(conv.bias[:, None, None].expand_as(self.bias))
        return self

    def kernels(self) -> Tensor:
        """Return the weights as (H', W', out_channels, in_channels, k, k)."""
        k: Any = self.kernel_size
        return self.weight.reshape(*self.map, self.out_channels, self.in_channels, *k)


class LocalNorm(nn.Module):
    r"""Divisive normalization by the neighborhood.

    :math:`y = g_c\, u / \sqrt{\sigma^2 + \langle u^2 \rangle}`, (R4), the mean over all channels
    and a square of 5 x 5 positions.

    Parameters
    ----------
    channels : int
        One gain g for each.
    side : int
        Side of the square, odd.
    sigma : float
        Semi-saturation, > 0.

    Examples
    --------
    >>> norm = LocalNorm(1, sigma=1e-6)
    >>> norm(torch.full((1, 1, 9, 9), 3.0))[0, 0, 4, 4].item()
    1.0
    """

    def __init__(self, channels: int, side: int = 5, sigma: float = 0.1) -> None:
        super().__init__()
        check_count("channels", channels)
        check_count("side", side)
        if side % 2 == 0:
            raise ValueError(f"side must be odd, got {side}")
        check_range("sigma", sigma, 0.0, open_low=True)
        self.side, self.sigma = side, sigma
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, u: Tensor) -> Tensor:
        """Return the same shape."""
        if u.ndim != 4 or u.shape[1] != len(self.gain):
            raise ValueError(f"u must be (B, {len(self.gain)}, H, W), got {tuple(u.shape)}")
        energy = u.square().mean(1, keepdim=True)
        mean = functional.avg_pool2d(energy, self.side, 1, self.side // 2, count_include_pad=False)
        return self.gain * u / torch.sqrt(self.sigma**2 + mean)
