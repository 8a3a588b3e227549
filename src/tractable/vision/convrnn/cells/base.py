"""What all cells share: states, activations, convolutions that keep height and width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tractable.core.checks import check_count

__all__ = ["ACTIVATIONS", "Cell", "SameConv2d", "State", "StepNorm", "make_norm", "resized"]

State = tuple[Tensor, ...]
SMALL_MAP = 9  # positions, padding of even filters included
HEAVY_FILTERS = 2**18  # numbers
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "elu": functional.elu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Cell(nn.Module):
    """What a node remembers: the base of all cells.

    A cell of one's own defines `step`; its constructor takes ``channels_in``, ``channels`` and
    options by name. The maps of input, states and output have one height and width.

    Parameters
    ----------
    channels_in : int
        Channels of x.
    channels : int
        Channels of the output.
    """

    n_states = 1
    entries: tuple[str, ...] = ("input",)
    """Where feedback may enter."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        check_count("channels_in", channels_in)
        check_count("channels", channels)
        self.channels_in, self.channels = channels_in, channels

    def state_channels(self) -> tuple[int, ...]:
        """Return the channels of each state."""
        return (self.channels,) * self.n_states

    def init_state(self, x: Tensor) -> State:
        """Return states of zeros for inputs like x, (B, C, H, W)."""
        return tuple(x.new_zeros(len(x), c, *x.shape[2:]) for c in self.state_channels())

    def forward(
        self,
        x: Tensor,
        state: State,
        fb: dict[str, Tensor] | None = None,
        res: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return output and new states.

        Parameters
        ----------
        x : Tensor
            (B, channels_in, H, W).
        state : tuple of Tensor
            From `init_state` or the step before.
        fb : dict, optional
            Feedback by where it enters: ``input`` (added to x), and for the reciprocal-gated cell
            ``cell`` and ``out``.
        res : Tensor, optional
            The node's input before its convolution, for cells with residuals.
        """
        if fb and "input" in fb:
            x = x + fb["input"]
        return self.step(x, state, fb or {}, res)

    def step(
        self, x: Tensor, state: State, fb: dict[str, Tensor], res: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return output and new states; input feedback is in x already."""
        raise NotImplementedError(f"{type(self).__name__} must define step(x, state, fb, res)")


class SameConv2d(nn.Conv2d):
    """A convolution with bias that keeps height and width, or divides them by its stride.

    Filters of even size see one position more below and to the right.

    Parameters
    ----------
    channels_in, channels, kernel, stride, groups : int
        Of the filters.

    Examples
    --------
    >>> SameConv2d(1, 2, 4)(torch.zeros(1, 1, 5, 6)).shape
    torch.Size([1, 2, 5, 6])
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        before = (kernel - 1) // 2
        super().__init__(channels_in, channels, kernel, stride, padding=before, groups=groups)
        self.uneven, self.around = kernel % 2 == 0, before

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered maps."""
        x = functional.pad(x, (0, 1, 0, 1)) if self.uneven else x
        if self.is_heavy and x.is_cpu and x.shape[2] * x.shape[3] <= SMALL_MAP:
            return self._as_product(x)
        return super().forward(x)

    @property
    def is_heavy(self) -> bool:
        """Whether reading the filters, not applying them, is the work on a map of few positions."""
        return self.groups == 1 and self.stride == (1, 1) and self.weight.numel() >= HEAVY_FILTERS

    def _as_product(self, x: Tensor) -> Tensor:
        """Filter as one matrix product: a convolution of the CPU first copies all filters."""
        (k, _), around = self.kernel_size, self.around
        height, width = (n + 2 * around - k + 1 for n in x.shape[2:])
        patches = functional.unfold(x, k, padding=around)
        y = functional.linear(patches.transpose(1, 2), self.weight.flatten(1), self.bias)
        return y.transpose(1, 2).unflatten(2, (height, width)).contiguous()


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps at another height and width, bilinear, corners aligned."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def same_channels(name: str, channels_in: int, channels: int) -> None:
    if channels_in != channels:
        raise ValueError(
            f"{name} needs equal channels of input and output, got {channels_in} and {channels}"
        )


class StepNorm(nn.Module):
    """Batch norm with statistics of its own for each step of the movie; gain and bias are shared.

    Statistics over all steps would mix what the image has not reached with what it drives.

    Parameters
    ----------
    channels : int
        Of the maps.
    n_steps : int
        Steps with statistics of their own; later ones share those of the last.
    """

    def __init__(self, channels: int, n_steps: int = 32) -> None:
        super().__init__()
        check_count("n_steps", n_steps)
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(n_steps, channels))
        self.register_buffer("var", torch.ones(n_steps, channels))
        self.step = 0  # the network sets it

    def forward(self, x: Tensor) -> Tensor:
        """Return normalized maps."""
        k = min(self.step, len(self.mean) - 1)
        return functional.batch_norm(
            x, self.mean[k], self.var[k], self.weight, self.bias, self.training, 0.1
        )


def make_norm(kind: str, channels: int) -> nn.Module:
    """Return a norm: ``group`` (channels and positions), ``group8``, ``batch``, ``batch_t``."""
    if kind in ("group", "group8"):
        return nn.GroupNorm(8 if kind == "group8" else 1, channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else StepNorm(channels)
