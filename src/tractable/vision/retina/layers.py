"""Any layer of any network by its name: activations before and after the nonlinearity.

A forward pass is watched: hooks see the modules, and a function mode of torch sees every
nonlinearity, whether it is a module or a call of `torch.nn.functional`. So the pre-activation of a
layer is found without a change of the user's code, and no second copy of the weights is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tractable.core.checks import check_choice, check_count, nearest_names
from tractable.train.records import mode
from tractable.vision.retina.errors import check_images

__all__ = ["THROUGH", "activations", "analysis", "capture", "find_layer"]

THROUGH = ("post", "pre", "linear")
PADS = (None, "zeros", "reflect", "circular")
Model = nn.Module | Callable[[Tensor], Tensor]
Activations = Model | Tensor | np.ndarray  # or what was recorded elsewhere

NONLINEARITIES = {
    getattr(place, name)
    for place in (functional, torch, Tensor)
    for base in (
        "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "celu", "relu6", "prelu",
        "rrelu", "hardtanh", "hardsigmoid", "hardswish", "mish", "softsign", "logsigmoid",
        "threshold", "tanhshrink", "softshrink", "hardshrink", "tanh", "sigmoid", "clamp", "clip",
        "clamp_min", "clamp_max",
    )
    for name in (base, f"{base}_")
    if hasattr(place, name)
}  # fmt: skip
MISFITS = ("channels", "cannot be multiplied", "greater than actual input", "too small")
RESHAPING = ("max_pool", "glu")  # nonlinear, and of another shape: no identity can stand for them


class Nonlinearities(TorchFunctionMode):
    """Notes input and output of every nonlinearity, or replaces them all by the identity."""

    def __init__(self, *, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Watch one call of torch."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if self.linear and any(part in name for part in RESHAPING):
            raise ValueError(
                f"through='linear' replaces nonlinearities by the identity, which {name} has not; "
                "take a layer before it, or through='pre'"
            )
        if func not in NONLINEARITIES:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        if self.linear:
            return x
        in_place = name.endswith("_") or kwargs.get("inplace") or any(v is True for v in args[1:])
        before = x.clone() if in_place else x  # the pre-activation is about to be overwritten
        y = func(*args, **kwargs)
        self.seen.append((before, y))
        return y

    def before(self, y: Tensor) -> Tensor:
        """Return what the nonlinearity got whose result is ``y``; ``y`` if it is not a result."""
        return next((x for x, result in reversed(self.seen) if result is y), y)


class _Reached(Exception):  # it ends a forward pass, it is no error
    """The layer has been computed; the rest is not needed."""


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """Return a submodule by its name; ``name@2``, its second call, is the same module.

    Raises
    ------
    ValueError
        Unknown name; the message lists the names.
    TypeError
        No text.
    """
    return _layer_and_call(model, layer)[0]


def _layer_and_call(model: nn.Module, layer: str) -> tuple[nn.Module, int | None]:
    """Return a submodule, and which of its calls is meant; None where the name does not say it."""
    if not isinstance(layer, str):
        raise TypeError(f"layer must be the name of a layer, or None, got {layer!r}")
    names = {name: module for name, module in model.named_modules() if name}
    plain, at, number = layer.rpartition("@")
    if at and layer not in names and number.isdecimal() and int(number) and plain in names:
        return names[plain], int(number)
    if layer not in names:
        near = nearest_names(str(layer), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(list(names)[:40]) + (", ..." if len(names) > 40 else "")
        raise ValueError(f"layer must be one of the model's layers, got {layer!r}{hint} ({listed})")
    return names[layer], None


def capture(model: Model, layer: str | None, through: str = "post") -> Callable[[Tensor], Tensor]:
    """Return a function of images that gives a layer's activations, with gradient.

    Parameters
    ----------
    model : nn.Module or callable
        A network; or any function of images whose result is the activation.
    layer : str or None
        Name of a submodule; None takes the model's own output. A module that is called more than
        once in a forward pass needs the number of the call: ``"relu@1"``, ``"relu@2"``.
    through : str
        ``"post"``: what the layer returns. ``"pre"``: before its nonlinearity, if it ends with
        one. ``"linear"``: as ``"pre"``, with all nonlinearities replaced by the identity; a network
        with max pooling or gated linear units before the layer is refused.

    Returns
    -------
    callable
        Images (B, C, H, W) to activations (B, channels, H', W') or (B, units).

    Raises
    ------
    ValueError
        Unknown layer; one that is not reached, or is called twice and the name does not say which
        call is meant; images that do not fit the model.

    Notes
    -----
    A pass ends where the layer is reached; only the first time the rest is run too, on one image,
    to count the calls of the layer.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> x = torch.randn(1, 1, 5, 5)
    >>> bool((capture(net, "1", "pre")(x) == net[0](x)).all())
    True
    """
    check_choice("through", through, THROUGH)
    if not callable(model):
        raise TypeError(f"model must be a network or a function of images, got {model!r}")
    if isinstance(model, nn.Module) and layer is not None:
        module, call = _layer_and_call(model, layer)
    else:
        module, call = None, None
        if layer is not None:
            raise ValueError(f"layer must be None for a callable, got {layer!r}")

    counted = False

    def run(images: Tensor) -> Tensor:
        nonlocal counted
        found: list[Tensor] = []
        before = (call or 1) - 1  # calls that are let pass

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            nonlocal before
            if before:
                before -= 1
                return
            if not isinstance(output, Tensor):
                raise ValueError(
                    f"layer {layer!r} must return one tensor, got {type(output).__name__}"
                )
            found.append(output)
            raise _Reached

        watch = Nonlinearities(linear=through == "linear")
        watching = nullcontext() if through == "post" else watch
        handle = None if module is None else module.register_forward_hook(hook)
        try:
            with watching:
                if module is None:
                    found.append(model(images))
                else:
                    model(images)
        except _Reached:
            pass
        except RuntimeError as error:
            if not any(part in str(error) for part in MISFITS):
                raise
            raise ValueError(
                f"images must fit the model as (B, C, H, W), got {tuple(images.shape)}: {error}"
            ) from error
        finally:
            if handle is not None:
                handle.remove()
        if not found:
            raise ValueError(
                f"layer {layer!r} was not reached by the forward pass"
                + ("" if call is None else f", which calls it {call - 1 - before} times")
            )
        if module is not None and call is None and not counted:
            counted = True
            calls = _count_calls(cast(nn.Module, model), module, images[:1])
            if calls > 1:
                raise ValueError(
                    f"layer {layer!r} is called {calls} times in a forward pass: say which call, "
                    f"as '{layer}@1' to '{layer}@{calls}'"
                )
        return watch.before(found[0]) if through == "pre" else found[0]

    return run


def _count_calls(model: nn.Module, module: nn.Module, image: Tensor) -> int:
    """Return how often a forward pass of one image calls a module, at least up to an error."""
    calls = 0

    def hook(*_: Any) -> None:
        nonlocal calls
        calls += 1

    handle = module.register_forward_hook(hook)
    try:
        with mode(model, train=False), torch.no_grad():  # no noise, no statistics of a batch
            model(image.detach())
    except Exception:
        pass  # what lies behind the layer need not run: images may be small
    finally:
        handle.remove()
    return calls


@contextmanager
def analysis(model: Model, pad: str | None = None) -> Iterator[None]:
    """Put a model into eval mode, without gradients of its weights, perhaps with other padding.

    Parameters
    ----------
    model : nn.Module or callable
        Left as it was.
    pad : None, "zeros", "reflect" or "circular"
        Padding of all convolutions inside the block; None leaves it. Zeros make edges that
        no image has.
    """
    check_choice("pad", pad, PADS)
    if not isinstance(model, nn.Module):
        yield
        return
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    padded: list[tuple[Any, str]] = []
    if pad is not None:
        padded = [(m, str(m.padding_mode)) for m in model.modules() if hasattr(m, "padding_mode")]
    with mode(model, train=False):
        try:
            for parameter, _ in frozen:
                parameter.requires_grad_(False)
            for module, _ in padded:
                module.padding_mode = pad
            yield
        finally:
            for parameter, flag in frozen:
                parameter.requires_grad_(flag)
            for module, before in padded:
                module.padding_mode = before


def activations(
    model: Activations,
    layer: str | None,
    images: Tensor,
    *,
    through: str = "post",
    batch_size: int = 256,
    pad: str | None = None,
    select: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the activations of one layer on many images, on the CPU, without gradient.

    Parameters
    ----------
    model, layer, through
        As for `capture`; or an array (n, ...) of activations that were recorded elsewhere, which
        then only pass the checks and ``select``.
    images : tensor, shape (n, C, H, W)
        Finite.
    batch_size : int
        Images of one pass.
    pad : str, optional
        As for `analysis`.
    select : callable, optional
        Applied to the activations of each batch, such as a cut at one position, so that the whole
        map is never stored.

    Returns
    -------
    tensor, shape (n, channels, H', W')
        Or what ``select`` makes of it.

    Raises
    ------
    ValueError
        Activations that are NaN or infinite, and what `capture` refuses.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    >>> activations(net, "0", torch.rand(5, 1, 8, 8), select=lambda u: u[:, :, 4, 4]).shape
    torch.Size([5, 2])
    """
    check_images("images", images, finite=True)
    check_count("batch_size", batch_size)
    parts = []
    if isinstance(model, Tensor | np.ndarray):
        for u in recorded(model, layer, through, pad, len(images)).split(batch_size):
            parts.append(u if select is None else select(u))
        return torch.cat(parts)
    of, device, dtype = capture(model, layer, through), device_of(model), dtype_of(model)
    with analysis(model, pad), torch.inference_mode():
        for batch in images.split(batch_size):
            u = of(batch.to(device, dtype))
            refuse_nan(u, layer)  # before a selection that may hide it
            parts.append((u if select is None else select(u)).cpu())
    return torch.cat(parts)


def refuse_nan(u: Tensor, layer: str | None, what: str = "activations") -> None:
    """Refuse a network that yields NaN or infinity: it is broken, not silent."""
    if not bool(torch.isfinite(u).all()):
        bad = int((~torch.isfinite(u)).sum())
        raise ValueError(
            f"model must have finite {what}, got {bad} of {u.numel()} NaN or infinite in "
            f"{'its output' if layer is None else f'layer {layer!r}'}; look for weights that are "
            "NaN, or a division by zero"
        )


def recorded(
    values: Tensor | np.ndarray, layer: str | None, through: str, pad: str | None, n: int
) -> Tensor:
    """Return activations that came as an array, (n, units) or (n, channels, H, W), on the CPU."""
    if layer is not None or through != "post" or pad is not None:
        raise ValueError(
            "layer, through and pad must be left out for an array of activations, got "
            f"layer={layer!r}, through={through!r}, pad={pad!r}"
        )
    u = torch.as_tensor(values).detach().cpu()
    if u.ndim not in (2, 4) or len(u) != n:
        raise ValueError(
            f"model must be activations (n, units) or (n, channels, H, W) of the {n} images, got "
            f"{tuple(u.shape)}"
        )
    u = u if u.is_floating_point() else u.to(torch.float32)
    if not bool(torch.isfinite(u).all()):
        raise ValueError("model must be finite activations, got NaN or infinity")
    return u


def device_of(model: Any) -> torch.device:
    """Return where a model's weights are; the CPU for one without."""
    first = next(iter(_parameters(model)), None)
    return torch.device("cpu") if first is None else first.device


def dtype_of(model: Any) -> torch.dtype:
    """Return the floating type of a model's weights; float32 for one without."""
    first = next(iter(_parameters(model)), None)
    return torch.float32 if first is None else first.dtype


def _parameters(model: Any) -> Iterable[Tensor]:
    return model.parameters() if isinstance(model, nn.Module) else ()
