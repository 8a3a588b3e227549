"""The model family: a retina that ends in a bottleneck, and a ventral stream behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.core.seeds import derive, generator
from tractable.vision.retina.errors import check_images
from tractable.vision.retina.local import LocalConv2d, LocalNorm

__all__ = ["RetinaVVS", "parameter_count"]

NORMS = (None, "local", "batch")
LARGEST_CHANNELS = 100_000


class Stage(nn.Module):
    """One layer of the model: convolution, normalization if any, ReLU, noise while training."""

    def __init__(self, conv: nn.Module, norm: nn.Module | None, noise: float) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.relu = nn.ReLU()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations, shape (B, channels, H, W)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return add_noise(self.relu(x), self.noise, self.training)


class RetinaVVS(nn.Module):
    r"""Retina, bottleneck, optional LGN, ventral visual stream and a readout.

    Each stage is :math:`u_l = \mathrm{ReLU}(W_l * u_{l-1} + b_l)` with zero "same" padding, (R1).

    Parameters
    ----------
    n_bn : int
        Channels of the bottleneck, the output of the retina, >= 1.
    d_vvs : int
        Layers behind the bottleneck, >= 0; with 0 the readout sits on the retina's output.
    kernel : int
        Side of the square kernels, odd.
    retina_channels, vvs_channels : int
        Channels of the retina's inner layers and of the ventral stream.
    retina_layers : int
        Layers of the retina, >= 0; the last one has ``n_bn`` channels. With 0 the image goes
        straight to the ventral stream.
    lgn_layers : int
        Further layers of ``n_bn`` channels between retina and ventral stream.
    stride : int
        Stride of the retina's output.
    tied : bool or "bottleneck"
        True: convolutions. False: every position of all layers of the retina has a kernel of its
        own. ``"bottleneck"``: of the retina's output only.
    noise_in, noise_out : float
        Standard deviations of Gaussian noise on the image and, after its ReLU, on the retina's
        output; while training only.
    norm : None, "local" or "batch"
        Between convolution and ReLU: divisive normalization over channels and neighbors
        (`LocalNorm`), or batch normalization.
    bias : bool
        Whether the retina's output has a bias.
    head : tuple of int
        Units of the readout's layers, the last one the number of classes.
    pool : int
        Average pooling before the readout; the side of the map must be a multiple.
    in_shape : (int, int, int)
        Channels, height, width of the image.
    seed : int
        Decides the initial weights: Glorot-uniform kernels, zero biases.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945.

    Examples
    --------
    >>> model = RetinaVVS(n_bn=1, d_vvs=2)
    >>> model.layer_names
    ['retina_1', 'retina_2', 'vvs_1', 'vvs_2', 'fc1', 'fc2']
    >>> parameter_count(model)["total"]
    33656523
    """

    def __init__(
        self,
        n_bn: int = 1,
        d_vvs: int = 2,
        kernel: int = 9,
        retina_channels: int = 32,
        vvs_channels: int = 32,
        *,
        retina_layers: int = 2,
        lgn_layers: int = 0,
        stride: int = 1,
        tied: bool | str = True,
        noise_in: float = 0.0,
        noise_out: float = 0.0,
        norm: str | None = None,
        bias: bool = True,
        head: tuple[int, ...] = (1024, 10),
        pool: int = 1,
        in_shape: tuple[int, int, int] = (1, 32, 32),
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"n_bn": n_bn, "retina_channels": retina_channels, "vvs_channels": vvs_channels}
        for name, value in counts.items():
            check_count(name, value)
            check_range(name, value, 1, LARGEST_CHANNELS)
        for name, value in (
            ("d_vvs", d_vvs),
            ("retina_layers", retina_layers),
            ("lgn_layers", lgn_layers),
        ):
            check_count(name, value, 0)
            check_range(name, value, 0, 1000)
        for name, value in (("stride", stride), ("pool", pool)):
            check_count(name, value)
        for name, noise in (("noise_in", noise_in), ("noise_out", noise_out)):
            check_range(name, noise, 0.0)
        check_kernel(kernel)
        check_choice("norm", norm, NORMS)
        check_choice("tied", tied, (True, False, "bottleneck"))
        if lgn_layers and not retina_layers:
            raise ValueError("lgn_layers needs a retina: retina_layers must be >= 1, got 0")
        check_choice("bias", bias, (True, False))
        given: Any = head
        if not isinstance(given, list | tuple) or not given:
            raise ValueError(f"head must name the units of one layer or more, got {given!r}")
        for units in given:
            check_count("head", units)
        self.in_shape = check_in_shape(in_shape)
        self.n_bn, self.d_vvs, self.noise_in = n_bn, d_vvs, noise_in
        self.retina_layers, self.lgn_layers, self.head = retina_layers, lgn_layers, tuple(head)

        channels, height, width = self.in_shape
        self.stages: list[str] = []
        for name, out in self._plan(retina_channels, vvs_channels):
            is_output = name == f"retina_{retina_layers}"
            in_retina = name.startswith("retina")
            step = stride if is_output else 1
            local = in_retina and (tied is False or (tied == "bottleneck" and is_output))
            use_bias = bias or not is_output
            conv: nn.Module
            if local:
                size = (height, width)
                conv = LocalConv2d(channels, out, kernel, size, stride=step, bias=use_bias)
            else:
                conv = nn.Conv2d(
                    channels, out, kernel, stride=step, padding=kernel // 2, bias=use_bias
                )
            height, width = -(-height // step), -(-width // step)
            self.add_module(name, Stage(conv, _norm(norm, out), noise_out if is_output else 0.0))
            self.stages.append(name)
            channels = out
        if height % pool or width % pool:
            raise ValueError(f"pool must divide the map of {height} x {width}, got {pool}")
        self.pool = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        units = channels * (height // pool) * (width // pool)
        for i, out in enumerate(head, 1):
            dense = nn.Linear(units, out)
            inner = i < len(head)
            self.add_module(f"fc{i}", nn.Sequential(dense, nn.ReLU()) if inner else dense)
            units = out
        self.reset(seed)

    def _plan(self, retina_channels: int, vvs_channels: int) -> list[tuple[str, int]]:
        inner = [(f"retina_{i}", retina_channels) for i in range(1, self.retina_layers)]
        output = [(f"retina_{self.retina_layers}", self.n_bn)] if self.retina_layers else []
        lgn = [(f"lgn_{i}", self.n_bn) for i in range(1, self.lgn_layers + 1)]
        vvs = [(f"vvs_{i}", vvs_channels) for i in range(1, self.d_vvs + 1)]
        return [*inner, *output, *lgn, *vvs]

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers, from the image to the readout."""
        return [*self.stages, *(f"fc{i}" for i in range(1, len(self.head) + 1))]

    @property
    def bottleneck(self) -> str | None:
        """Name of the retina's output layer; None without a retina."""
        return f"retina_{self.retina_layers}" if self.retina_layers else None

    def reset(self, seed: int, layers: Iterable[str] | None = None) -> None:
        """Draw Glorot-uniform weights and zero biases, of all layers or of some.

        Parameters
        ----------
        seed : int
            Each layer draws from its own stream of this seed.
        layers : iterable of str, optional
            Names from `layer_names`.
        """
        for name in self.layer_names if layers is None else layers:
            check_choice("layer", name, self.layer_names)
            glorot(weights_of(self, name), generator(derive(seed, "weights", name)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (B, K), of images of shape ``(B, *in_shape)``."""
        check_images("x", x, self.in_shape, finite=not x.is_meta)
        x = add_noise(x, self.noise_in, self.training)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        x = self.pool(x).flatten(1)
        for i in range(1, len(self.head) + 1):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    def support(self, layer: str) -> tuple[int, int]:
        """Return the sides (H, W) of the part of the image that a unit of a layer sees.

        1 + l (k - 1) behind l convolutions of side k, more behind a stride; of the readout's
        layers the whole image. It may exceed the image.

        Examples
        --------
        >>> RetinaVVS(n_bn=1, d_vvs=2).support("vvs_2")
        (33, 33)
        """
        check_choice("layer", layer, self.layer_names)
        if layer not in self.stages:
            return self.in_shape[1:]
        side, step = 1, 1
        for name in self.stages[: self.stages.index(layer) + 1]:
            conv: Any = self.get_submodule(name).conv
            kernel, stride = (int(np.ravel(v)[0]) for v in (conv.kernel_size, conv.stride))
            side, step = side + (kernel - 1) * step, step * stride
        return side, side

    def activations(self, x: Tensor, layers: str | Iterable[str]) -> dict[str, Tensor]:
        """Return the activations of named layers, with gradient; see `activations` for batches."""
        from tractable.vision.retina.layers import capture

        wanted = [layers] if isinstance(layers, str) else list(layers)
        return {name: capture(self, name, "post")(x) for name in wanted}


def parameter_count(model: nn.Module) -> dict[str, int]:
    """Return the trainable numbers of each layer and ``"total"``.

    Of a convolution k k C_in C_out + C_out, equation (R2). With the published sizes 99.7 % of all
    numbers sit in the first layer of the readout.

    Examples
    --------
    >>> count = parameter_count(RetinaVVS(n_bn=1, d_vvs=2))
    >>> count["retina_1"], count["retina_2"], count["vvs_2"], count["fc1"]
    (2624, 2593, 82976, 33555456)
    """
    counts = {
        name: sum(parameter.numel() for parameter in child.parameters())
        for name, child in model.named_children()
    }
    counts = {name: count for name, count in counts.items() if count}
    return {**counts, "total": sum(p.numel() for p in model.parameters())}


def weights_of(model: RetinaVVS, layer: str) -> Any:
    """Return the module that holds a layer's weights: a convolution or a linear map."""
    module: Any = model.get_submodule(layer)
    if isinstance(module, Stage):
        return module.conv
    return module[0] if isinstance(module, nn.Sequential) else module


def multiplications(model: RetinaVVS) -> float:
    """Return the multiplications of one forward pass of one image."""
    total, size = 0.0, 1
    for name in model.layer_names:
        conv = weights_of(model, name)
        if isinstance(conv, nn.Linear):
            total += conv.in_features * conv.out_features
            continue
        size = size * conv.stride[0] if name == model.bottleneck else size
        height, width = (math.ceil(side / size) for side in model.in_shape[1:])
        total += height * width * conv.in_channels * conv.out_channels * conv.kernel_size[0] ** 2
    return total


@torch.no_grad()
def glorot(module: nn.Module, random: torch.Generator) -> None:
    """Draw weights uniform in +-sqrt(6 / (fan_in + fan_out)), zero biases: Keras' defaults."""
    if isinstance(module, nn.Linear):
        fans = module.in_features + module.out_features
    else:
        conv: Any = module
        fans = (conv.in_channels + conv.out_channels) * conv.kernel_size[0] * conv.kernel_size[1]
    weight: Any = module.weight
    bound = math.sqrt(6 / fans)
    draw = torch.rand(weight.shape, generator=random) * 2 * bound - bound
    weight.copy_(draw.to(weight))
    bias: Any = module.bias
    if bias is not None:
        bias.zero_()


def add_noise(x: Tensor, std: float, training: bool) -> Tensor:
    """Add Gaussian noise while training; else return ``x`` itself."""
    return x + std * torch.randn_like(x) if training and std > 0 else x


def check_kernel(kernel: int) -> None:
    """Refuse even kernels: "same" padding has no center there."""
    check_count("kernel", kernel)
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(
            f'kernel must be odd and >= 1 for "same" padding, got {kernel}; '
            f"take {kernel + 1 if kernel > 0 else 1}?"
        )


def check_in_shape(in_shape: Iterable[int]) -> tuple[int, int, int]:
    shape = tuple(int(side) for side in in_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"in_shape must be (channels, height, width), got {shape}")
    return shape[0], shape[1], shape[2]


def _norm(norm: str | None, channels: int) -> nn.Module | None:
    if norm == "local":
        return LocalNorm(channels)
    return nn.BatchNorm2d(channels) if norm == "batch" else None
