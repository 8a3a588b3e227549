"""What a node and a feedback edge compute within a step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from tractable.vision.convrnn.cells import SameConv2d, make_cell, resized
from tractable.vision.convrnn.cells.base import ACTIVATIONS, StepNorm, make_norm
from tractable.vision.convrnn.spec import Edge, Node, SpecError

__all__ = ["FeedbackFilters", "Layer", "over_batch"]

State = tuple[Tensor, ...]


class Layer(nn.Module):
    """A node: convolution, norm, activation; cell; convolution, residual, activation; pool.

    Parameters
    ----------
    node : Node
        The node.
    channels_in : int
        Of its merged feedforward input.
    size_in : (int, int)
        Height and width of it.
    """

    def __init__(self, node: Node, channels_in: int, size_in: tuple[int, int]) -> None:
        super().__init__()
        self.node = node
        self.activation = ACTIVATIONS[node.activation]
        self.conv = _filters(node, channels_in)
        self.norm = None if node.norm is None else make_norm(node.norm, node.channels)
        self.cell_size = _size_after(node, size_in)
        self.cell = None if node.cell is None else self._make_cell(channels_in)
        self.post = None
        if node.post_kernel:
            self.post = SameConv2d(node.channels, node.channels, node.post_kernel)
        self.project: nn.Module | None = None
        if node.res and channels_in != node.channels:
            self.project = nn.Conv2d(channels_in, node.channels, 1)
        self.size = self._pooled_size()

    def _make_cell(self, channels_in: int) -> nn.Module:
        node = self.node
        options = dict(node.cell_args)
        if node.cell == "rgc":
            options.setdefault("residual_channels", channels_in)
        if node.cell == "lstm" and options.get("peephole"):
            options["peephole"] = self.cell_size
        try:
            return make_cell(node.cell, node.channels, node.channels, **options)  # type: ignore[arg-type]  # not None
        except (SpecError, ValueError) as error:
            raise SpecError(f"node {node.name!r}: {error}") from error

    def _pooled_size(self) -> tuple[int, int]:
        node = self.node
        if node.pool == 1:
            return self.cell_size
        kernel = node.pool_kernel or node.pool
        around = 0 if kernel == node.pool else kernel // 2
        height, width = (max((n + 2 * around - kernel) // node.pool + 1, 0) for n in self.cell_size)
        if min(height, width) < 1:
            raise SpecError(
                f"node {node.name!r}: a map of {self.cell_size[0]} x {self.cell_size[1]} is too "
                f"small for its pool of {kernel}"
            )
        return height, width

    @property
    def remembers(self) -> bool:
        """Whether the output depends on more than the input of this step."""
        return self.cell is not None and self.node.cell != "feedforward"

    def drive(self, x: Tensor) -> Tensor:
        """Return what the cell sees."""
        y = x if self.conv is None else self.conv(x)
        return self.activation(y if self.norm is None else self.norm(y))

    def finish(self, y: Tensor, raw: Tensor) -> Tensor:
        """Convolve again, add the residual, pool."""
        node = self.node
        if self.post is not None:
            y = self.post(y)
        if node.res:
            side = raw if self.project is None else self.project(raw)
            y = y + resized(side, y.shape[2:])
        if self.post is not None:
            y = self.activation(y)
        if node.pool == 1:
            return y
        kernel = node.pool_kernel or node.pool
        around = 0 if kernel == node.pool else kernel // 2
        return functional.max_pool2d(y, kernel, node.pool, padding=around)

    def forward(
        self, x: Tensor, state: State | None, feedback: dict[str, Tensor]
    ) -> tuple[Tensor, State]:
        """Return output and new states; maps that were computed once for the batch are spread."""
        y = self.drive(x)
        n = max(len(z) for z in (y, *(state or ()), *feedback.values()))
        y, x = over_batch(y, n), over_batch(x, n)
        if self.cell is None:
            for z in feedback.values():
                y = y + z
            return self.finish(y, x), ()
        state = self.cell.init_state(y) if state is None else state  # type: ignore[operator]  # a Cell
        state = tuple(over_batch(s, n) for s in state)
        spread = {entry: over_batch(z, n) for entry, z in feedback.items()}
        y, state = self.cell(y, state, spread or None, x)
        return self.finish(y, x), state


class FeedbackFilters(nn.Module):
    """The filters of a feedback edge: resize, convolution, norm, activation.

    The norm starts with gain 0: at first the graph is that without the edge, and the gain learns
    before the filters do.

    Parameters
    ----------
    edge : Edge
        The edge.
    channels_in, channels : int
        Of the source's output, and of where the feedback enters.
    """

    def __init__(self, edge: Edge, channels_in: int, channels: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[edge.activation]
        self.filters: nn.Module
        if edge.separable:
            self.filters = nn.Sequential(
                SameConv2d(channels_in, channels_in, edge.kernel, groups=channels_in),
                nn.ELU(),
                SameConv2d(channels_in, channels, 1),
            )
        else:
            self.filters = SameConv2d(channels_in, channels, edge.kernel)
        self.norm = nn.GroupNorm(1, channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return what enters the cell whose maps have that height and width."""
        return self.activation(self.norm(self.filters(resized(x, size))))


def over_batch(x: Tensor, n: int) -> Tensor:
    """Return a map for n samples where it was computed once for all."""
    return x if len(x) == n else x.expand(n, *x.shape[1:])


def needs_whole_batch(net: nn.Module) -> bool:
    """Whether a step's numbers depend on more than the sample: batch statistics, dropout."""
    for module in net.modules():
        if isinstance(module, StepNorm):
            return True
        if module.training and isinstance(module, nn.BatchNorm2d):
            return True
        if module.training and getattr(module, "dropout", False):
            return True
    return False


def _filters(node: Node, channels_in: int) -> nn.Module | None:
    if node.op == "none":
        if channels_in != node.channels:
            raise SpecError(
                f"node {node.name!r}: op 'none' keeps the channels, {channels_in}, got "
                f"{node.channels}"
            )
        return None
    separable = node.op == "separable"
    wide, groups = (channels_in, channels_in) if separable else (node.channels, 1)
    first: nn.Module
    if node.padding == "valid":
        first = nn.Conv2d(channels_in, wide, node.kernel, node.stride, groups=groups)
    else:
        first = SameConv2d(channels_in, wide, node.kernel, stride=node.stride, groups=groups)
    if separable:
        return nn.Sequential(first, nn.ELU(), SameConv2d(channels_in, node.channels, 1))
    return first


def _size_after(node: Node, size: tuple[int, int]) -> tuple[int, int]:
    if node.op == "none":
        return size
    lost = node.kernel - 1 if node.padding == "valid" else 0
    height, width = ((n - lost - 1) // node.stride + 1 for n in size)
    if min(height, width) < 1:
        raise SpecError(
            f"node {node.name!r}: a map of {size[0]} x {size[1]} is too small for its filters of "
            f"{node.kernel}"
        )
    return height, width
