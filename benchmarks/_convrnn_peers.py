"""What recurrent graphs are held against: plain loops, a feedforward net, a count of memory."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tractable.vision.convrnn import ConvRNN


class PlainReciprocal(nn.Module):
    """Two convolutions, one reciprocal-gated cell, a linear readout: a loop over the frames."""

    def __init__(self, channels: int, n_classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, channels, 3, padding=1)
        self.enter = nn.Conv2d(channels, channels, 3, padding=1)
        self.from_cell = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.from_out = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.readout = nn.Linear(16 * channels, n_classes)

    def forward(self, movie: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        c = h = None
        for t in range(movie.shape[1]):
            x = functional.elu(self.first(movie[:, t]))
            x = functional.elu(self.second(functional.max_pool2d(x, 2)))
            if c is None or h is None:
                c = h = torch.zeros_like(x)
            cc, ch = self.from_cell(c).sigmoid().chunk(2, 1)
            hh, hc = self.from_out(h).sigmoid().chunk(2, 1)
            new = functional.elu((1 - cc) * c + (1 - hc) * self.enter(x))
            h = functional.elu((1 - hh) * h + (1 - ch) * x)
            c = new
        assert h is not None
        return self.readout(h.flatten(1))


class EqualWork(nn.Module):
    """A feedforward net with the multiplications of `PlainReciprocal` on a movie of T frames.

    The two convolutions run over all frames at once; then come 5 T convolutions in a row, as many
    as the branches of the cell over the movie.
    """

    def __init__(self, channels: int, n_frames: int, n_classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, channels, 3, padding=1)
        self.stack = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(5 * n_frames)
        )
        self.readout = nn.Linear(16 * channels, n_classes)

    def forward(self, movie: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        x = functional.max_pool2d(functional.elu(self.first(movie.flatten(0, 1))), 2)
        x = functional.elu(self.second(x)).unflatten(0, movie.shape[:2]).mean(1)
        for layer in self.stack:
            x = functional.elu(layer(x))
        return self.readout(x.flatten(1))


class NaiveLoop:
    """A graph of reciprocal-gated cells run node by node at every step.

    Nothing is reused or left out, each branch of a cell is a convolution of its own, and all are
    those of torch. The weights are those of the network.
    """

    def __init__(self, net: ConvRNN) -> None:
        self.net = net

    def __call__(self, x: Tensor, n_steps: int, image_off: int) -> Tensor:
        """Return the logits of every step, (B, T, K)."""
        net, gray = self.net, torch.full_like(x, 0.5)
        out = {name: x.new_zeros(len(x), *shape) for name, shape in net.map_shape.items()}
        states: dict[str, Any] = {}
        logits = []
        for t in range(n_steps):
            now = {}
            for name in net.order:
                layer: Any = net.layers[name]
                frame = x if t < image_off else gray
                y = frame if name == net.first else out[net.sources[name][0]]
                y = functional.elu(layer.norm(plain(layer.conv, y)))
                if layer.cell is not None:
                    feedback = [net.feedback[i](out[edge.src], layer.cell_size)
                                for i, edge in net.feedback_in[name]]  # fmt: skip
                    y, states[name] = reciprocal(layer.cell, y, states.get(name), feedback)
                pool = layer.node.pool
                now[name] = functional.max_pool2d(y, pool) if pool > 1 else y
            out = now
            logits.append(net.read(out[net.last]))
        return torch.stack(logits, 1)


def plain(layer: Any, x: Tensor) -> Tensor:
    """Return torch's own convolution with a layer's weights."""
    return functional.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


def reciprocal(cell: Any, x: Tensor, state: Any, feedback: list[Tensor]) -> tuple[Tensor, Any]:
    """Return the output and the states of a cell with default options, its branches apart."""
    h, c = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
    n = cell.channels

    def factor(layer: Any, part: slice, value: Tensor) -> Tensor:
        drive = functional.conv2d(value, layer.weight[part], layer.bias[part], padding=1)
        return 1 - drive.sigmoid()

    first, second = slice(None, n), slice(n, None)
    enters = x + sum(feedback) if feedback else x
    new_c = factor(cell.from_c, first, c) * c
    new_c = functional.elu(new_c + factor(cell.from_h, second, h) * plain(cell.input_cell, x))
    new_h = factor(cell.from_h, first, h) * h + factor(cell.from_c, second, c) * enters
    new_h = functional.elu(new_h)
    return new_h, (new_h, new_c)


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that are alive while it is entered, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for z in tree_leaves(out):
            if isinstance(z, Tensor) and z.untyped_storage()._cdata not in self.sizes:
                storage = z.untyped_storage()
                self.sizes[storage._cdata] = storage.nbytes()
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.drop, storage._cdata)
        return out

    def drop(self, key: int) -> None:
        """Take a storage off the count."""
        self.live -= self.sizes.pop(key, 0)
