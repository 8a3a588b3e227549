"""Watch a model run: which layers it calls, what flows between them, whether they form a chain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from tractable.core.nonlinearity import NONLINEARITIES, Nonlinearity
from tractable.spectra.sample_map import first_tensor
from tractable.spectra.weight_layers import (
    WHOLE,
    WeightLayer,
    activation_of,
    is_weight,
    leaves,
    weight_layers,
)

__all__ = ["Chain", "ChainLayer", "trace"]

TRANSPARENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
RESHAPES = (nn.Flatten, nn.Unflatten)
CLOSE = 1e-4  # relative agreement of phi(h) with what the next layer gets


@dataclass(frozen=True, eq=False)
class ChainLayer:
    """One call of a weight layer.

    Parameters
    ----------
    layer : WeightLayer
        Its name, module and weight.
    x, h : tensor, shape (samples, ...)
        What came in, and the pre-activations.
    phi : Nonlinearity or None
        The nonlinearity that acts on h; None where there is none or it is not known.
    argument : tensor or None
        What the next nonlinearity was applied to, h or a normalized h; None where there is none.
    acts : Nonlinearity or None
        That nonlinearity: phi, or the first one among the modules called after the layer.
    """

    layer: WeightLayer
    x: Tensor
    h: Tensor
    phi: Nonlinearity | None = None
    argument: Tensor | None = None
    acts: Nonlinearity | None = None


@dataclass(frozen=True, eq=False)
class Chain:
    """What a model does with a batch.

    Parameters
    ----------
    layers : tuple of ChainLayer
        In the order of the calls.
    reason : str
        Why the layers form no chain h -> phi(h) -> W phi(h) + b; empty where they do.
    readout : bool
        Whether the last layer is followed by no nonlinearity.
    others : tuple of str
        Normalizations, attention and other layers on the way, as ``"LayerNorm 'norm1'"``.
    """

    layers: tuple[ChainLayer, ...]
    reason: str
    readout: bool
    others: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[ChainLayer, ...]:
        """The layers without the readout."""
        return self.layers[:-1] if self.readout else self.layers


@dataclass
class _Recorder:
    """Notes the calls of the leaf modules."""

    known: dict[str, WeightLayer]
    calls: list[Any] = field(default_factory=list)  # ChainLayer, or (name, module, argument)

    def hook(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any, output: Any) -> None:
            if name in self.known:
                # Copies: an activation may change h in place.
                x, h = args[0].detach().clone(), first_tensor(output).detach().clone()
                self.calls.append(ChainLayer(self.known[name], x, h))

        return look

    def before(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any) -> None:
            if name not in self.known:
                keep = bool(args) and isinstance(args[0], Tensor) and activation_of(module)
                self.calls.append((name, module, args[0].detach().clone() if keep else None))

        return look


def trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> Chain:
    """Run the model once, in the mode it is in, and read what it does.

    The nonlinearity between two layers is known by its values: the input of the next layer is
    phi of the output of the last one, entry by entry. So it is found also where a model calls it
    as a function, and a residual connection or a normalization in between is noticed.
    """
    known = {layer.name: layer for layer in weight_layers(model) if not layer.skipped}
    recorder = _Recorder(known)
    with contextlib.ExitStack() as stack, torch.enable_grad():
        for name, module in leaves(model):
            stack.callback(module.register_forward_hook(recorder.hook(name)).remove)
            stack.callback(module.register_forward_pre_hook(recorder.before(name)).remove)
        output = first_tensor(model(*(x.clone() for x in inputs))).detach()
    return _read(recorder.calls, inputs[0], output)


def _read(calls: list[Any], x: Tensor, output: Tensor) -> Chain:
    places = [i for i, call in enumerate(calls) if isinstance(call, ChainLayer)]
    others = tuple(
        dict.fromkeys(
            f"{type(call[1]).__name__} {call[0]!r}"
            for call in calls
            if not isinstance(call, ChainLayer) and not _passes(call[1])
        )
    )
    if not places:
        return Chain((), "the model calls no Linear or Conv layer", False, others)
    reasons = []
    first = calls[places[0]]
    if not _same(first.x, x):
        reasons.append(f"the input of the first layer {first.layer.name!r} is not x itself")
    names = [calls[i].layer.name for i in places]
    if len(set(names)) < len(names) or any(calls[i].layer.tied_to for i in places):
        reasons.append("a weight is used more than once, and tied weights are not independent")
    layers, readout = [], False
    for i, following in zip(places, [*places[1:], None], strict=True):
        call: ChainLayer = calls[i]
        between = [c for c in calls[i + 1 : following] if not isinstance(c, ChainLayer)]
        target = output if following is None else calls[following].x
        phi, reason = _between(call, between, target, following, calls)
        then = [c for c in between if c[2] is not None]
        acts, argument = (activation_of(then[0][1]), then[0][2]) if then else (None, None)
        if phi is not None:
            acts, argument = phi, call.h
        layers.append(replace(call, phi=phi, argument=argument, acts=acts))
        if reason:
            reasons.append(reason)
        elif following is None and phi is None:
            readout = True
    return Chain(tuple(layers), reasons[0] if reasons else "", readout, others)


def _between(
    call: ChainLayer, between: list[Any], target: Tensor, following: int | None, calls: list[Any]
) -> tuple[Nonlinearity | None, str]:
    """Return the nonlinearity from h to the next input (or the output), or why there is none."""
    named = [activation_of(c[1]) for c in between]
    found = [phi for phi in named if phi is not None]
    builtin = [Nonlinearity(name) for name in NONLINEARITIES if name not in ("linear",)]
    if _same(call.h, target):
        return (None, "") if following is None else (Nonlinearity("linear"), "")
    for phi in dict.fromkeys([*found, *(() if found else builtin)]):
        if _same(torch.from_numpy(phi(call.h.double().cpu().numpy())), target):
            return phi, ""
    blocking = [f"{type(c[1]).__name__} {c[0]!r}" for c in between if not _passes(c[1])]
    ends = [c[1] for c in between if not _passes(c[1])]
    if following is None and ends and all(isinstance(m, nn.Softmax | nn.LogSoftmax) for m in ends):
        return None, ""  # of a classifier's logits
    if following is None:
        what = f"; {', '.join(blocking[:3])} stands there" if blocking else ""
        return None, f"the output is no function of each entry of {call.layer.name!r}{what}"
    nxt = calls[following].layer.name
    if blocking:
        what = f"{', '.join(blocking[:3])} stands between the layers"
    else:
        what = "something stands between the layers"
    hint = "" if blocking else " (a residual connection, pooling, or a function of many entries)"
    return None, f"{what} {call.layer.name!r} and {nxt!r}{hint}"


def _passes(module: nn.Module) -> bool:
    """Whether a module leaves a chain a chain."""
    if isinstance(module, WHOLE) or is_weight(module):
        return False
    return activation_of(module) is not None or isinstance(module, TRANSPARENT + RESHAPES)


def _same(a: Tensor, b: Tensor) -> bool:
    if a.numel() != b.numel() or not b.is_floating_point():
        return False
    a, b = a.reshape(-1).double().cpu(), b.reshape(-1).double().cpu()
    scale = float(b.abs().max()) or 1.0
    return bool((a - b).abs().max() <= CLOSE * scale)
