"""Cells inside a network that somebody else has made."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tractable.core.checks import check_finite, check_range, check_shape, nearest_names
from tractable.vision.convrnn.cells import make_cell
from tractable.vision.convrnn.decoders import Decoder
from tractable.vision.convrnn.movies import check_floats, show
from tractable.vision.convrnn.outputs import Output, TimeSeries

__all__ = ["WrappedRNN", "wrap"]


class WrappedRNN(nn.Module):
    """A feedforward network with cells behind some of its layers, run step by step.

    In each step the whole network runs; behind a named layer a cell takes the map, remembers, and
    hands its output on. Before training a cell changes what the network says: fine-tune it.

    Parameters
    ----------
    model : nn.Module
        Images to logits; used as it is, not copied.
    at : mapping of str to str or (str, mapping)
        Layer name to cell name, or to cell name and options. The layer's output is one map
        (B, C, H, W).
    example : Tensor
        An image batch, (1, C, H, W): the maps' channels are read from it.

    Raises
    ------
    ValueError
        An unknown layer (the nearest name is given), or one whose output is no map.
    """

    def __init__(self, model: nn.Module, at: Mapping[str, Any], example: Tensor) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        for name in at:
            if name not in modules or not name:
                near = nearest_names(name, [m for m in modules if m], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"at: the model has no layer {name!r}{hint}")
        check_shape("example", example.shape, ("B", "C", "H", "W"))
        check_finite("example", example)
        self.model = model
        self._seen: dict[str, Tensor] = {}
        maps = self._maps(modules, at, example)
        self.names = list(at)
        self.cells = nn.ModuleList()
        for name, choice in at.items():
            cell, options = (choice, {}) if isinstance(choice, str) else choice
            channels = maps[name].shape[1]
            made = make_cell(cell, channels, channels, **options)
            self.cells.append(made.to(maps[name]))  # where the model is, in its precision
        self._states: dict[str, tuple[Tensor, ...]] = {}
        self._running = False
        for name in self.names:  # no closure: a copy of the network must run its own cells
            modules[name].register_forward_hook(functools.partial(self._behind, name))

    def _maps(
        self, modules: dict[str, nn.Module], at: Mapping[str, Any], example: Tensor
    ) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = {}
        handles = []
        for name in at:

            def look(module: nn.Module, inputs: Any, out: Any, name: str = name) -> None:
                if not isinstance(out, Tensor) or out.ndim != 4:
                    raise ValueError(f"at: layer {name!r} puts out no map (B, C, H, W)")
                if name in maps:
                    raise ValueError(
                        f"at: layer {name!r} is called twice in a forward pass, and one cell "
                        "cannot remember for both: give each call a module of its own"
                    )
                maps[name] = out

            handles.append(modules[name].register_forward_hook(look))
        was = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                self.model(example)
        finally:
            self.model.train(was)
            for handle in handles:
                handle.remove()
        for name in at:
            if name not in maps:
                raise ValueError(f"at: layer {name!r} is not reached by the forward pass")
        return maps

    def _behind(self, name: str, module: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        """Let the cell behind a layer take its output: a forward hook."""
        if not self._running:  # the model is called by itself
            return out
        cell = self.cells[self.names.index(name)]
        state = self._states.get(name)
        state = cell.init_state(out) if state is None else state  # type: ignore[operator]  # a Cell
        out, self._states[name] = cell(out, state)
        self._seen[name] = out
        return out.clone()  # what follows may change it in place, as ReLU(inplace=True) does

    def forward(
        self,
        x: Tensor,
        T: int = 1,
        image_off: int | None = None,
        *,
        layers: Sequence[str] = (),
        decoder: str | Decoder = "last",
        off_value: float = 0.5,
    ) -> Output:
        """Run the network T times on images (B, C, H, W), or once on each frame of movies.

        Parameters
        ----------
        x : Tensor
            Images (B, C, H, W), or movies (B, T, C, H, W).
        T, image_off, layers, decoder, off_value
            As in `ConvRNN.forward`; ``layers`` are those with cells.
        """
        for name in layers:
            if name not in self.names:
                raise ValueError(f"layers: {name!r} has no cell ({', '.join(self.names)})")
        check_floats("x", x)
        if x.ndim not in (4, 5):
            raise ValueError(
                f"x must be images (B, C, H, W) or movies (B, T, C, H, W), got {tuple(x.shape)}"
            )
        check_finite("x", x.detach())
        if x.ndim == 5:
            frames, ids = list(x.unbind(1)), list(range(x.shape[1]))
        else:
            frames, ids = show(x, T, image_off, off_value)
        check_range("T", len(ids), 1)
        kept: dict[str, list[Tensor]] = {name: [] for name in layers}
        logits = []
        self._states, self._running = {}, True
        try:
            for i in ids:
                logits.append(self.model(frames[i]))
                for name in layers:
                    kept[name].append(self._seen[name])
            states = self._states
        finally:
            self._states, self._seen, self._running = {}, {}, False
        logits_t = torch.stack(logits, 1)
        read = decoder if isinstance(decoder, Decoder) else Decoder(decoder)
        answer, decided = read(logits_t)
        valid = torch.ones(len(ids), dtype=torch.bool)
        series = {name: TimeSeries(torch.stack(v, 1), valid) for name, v in kept.items()}
        return Output(answer, logits_t, valid, decided, series, states)


def wrap(model: nn.Module, at: Mapping[str, Any], example: Tensor) -> WrappedRNN:
    """Return a network with cells behind named layers; see `WrappedRNN`.

    Examples
    --------
    >>> body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    >>> net = wrap(body, {"0": "gru"}, torch.zeros(1, 1, 8, 8))
    >>> net(torch.zeros(3, 1, 8, 8), T=2).logits_t.shape
    torch.Size([3, 2, 2])
    """
    return WrappedRNN(model, at, example)
