"""One sample's map from input to output, differentiated by products with vectors.

A product with m vectors runs the model on m copies of the sample: every model can do that, also
one with in-place operations or functions of its own that `torch.func.vmap` does not know.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["SampleMap", "check_values", "first_nonfinite", "goes_through", "measurable"]

Model = Callable[..., Any]
M = TypeVar("M", bound=Model)
# What behaves differently in training.
MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


class SampleMap:
    """The map of one sample, flattened: ``(m, n_in) -> (m, n_out)``.

    Parameters
    ----------
    model : callable
        In eval mode.
    inputs : tuple of tensor, each of shape (1, ...)
        The sample. The map starts at the first one, unless ``start`` is given.
    start, stop : nn.Module, optional
        The map goes from the output of one module of the model to that of another.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[Tensor],
        start: nn.Module | None = None,
        stop: nn.Module | None = None,
    ) -> None:
        self.model, self.inputs, self.start, self.stop = model, tuple(inputs), start, stop
        with torch.no_grad(), plain_attention():
            captured, output = self._run(self.inputs, None)
        at = self.inputs[0] if start is None else captured
        if not at.is_floating_point():
            raise TypeError(
                f"x must be floating-point to be differentiated, got {at.dtype}; start from a "
                "layer with real output: layers=(name of the embedding, None)"
            )
        if output.is_complex() or at.is_complex():
            raise TypeError(
                "the output must be real to have a real Jacobian, got complex numbers; wrap the "
                "model with torch.view_as_real"
            )
        if not at.dim() or not output.dim() or len(at) != 1 or len(output) != 1:
            raise ValueError(
                f"the first dimension must be the batch, got shapes {tuple(at.shape)} and "
                f"{tuple(output.shape)} for one sample; wrap the model so that it is"
            )
        self.point, self.value = at.detach(), output.detach()
        self.n_in, self.n_out = self.point.numel(), self.value.numel()

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Return u^T J for each row u, shape (m, n_in)."""
        copies = self.point.expand(len(cotangents), *self.point.shape[1:]).clone()
        copies.requires_grad_(True)
        with torch.enable_grad(), plain_attention():
            output = self._forward(copies)
            if not output.requires_grad:
                raise ValueError("the output does not depend on x by differentiable operations")
            (gradient,) = torch.autograd.grad(
                output, copies, cotangents.reshape(output.shape), allow_unused=True
            )
        if gradient is None:
            raise ValueError("the output does not depend on x by differentiable operations")
        return gradient.reshape(len(cotangents), -1)

    def jvp(self, tangents: Tensor) -> Tensor:
        """Return J v for each row v, shape (m, n_out)."""
        copies = self.point.expand(len(tangents), *self.point.shape[1:]).clone()
        shaped = tangents.reshape(copies.shape)
        try:
            with forward_ad.dual_level(), torch.enable_grad(), plain_attention(), own_quiet():
                output = self._forward(forward_ad.make_dual(copies, shaped))
                image = forward_ad.unpack_dual(output).tangent
                image = torch.zeros_like(output) if image is None else image
                return image.detach().reshape(len(tangents), -1).clone()
        except (NotImplementedError, RuntimeError):
            return self._jvp_by_two_vjps(copies, shaped)

    def _jvp_by_two_vjps(self, copies: Tensor, tangents: Tensor) -> Tensor:
        """u^T J is linear in u, and its derivative along v is J v; for what has no forward mode."""
        copies.requires_grad_(True)
        with torch.enable_grad(), plain_attention():
            output = self._forward(copies)
            dummy = torch.zeros_like(output, requires_grad=True)
            (pulled,) = torch.autograd.grad(output, copies, dummy, create_graph=True)
            (image,) = torch.autograd.grad(pulled, dummy, tangents)
        return image.reshape(len(tangents), -1)

    def _forward(self, copies: Tensor) -> Tensor:
        inputs = tuple(x.expand(len(copies), *x.shape[1:]) for x in self.inputs)
        if self.start is None:
            return self._run((copies, *inputs[1:]), None)[1]
        return self._run(inputs, copies)[1]

    def _run(self, inputs: tuple[Tensor, ...], at: Tensor | None) -> tuple[Any, Tensor]:
        """Run the model; return what ``start`` returns (``at`` takes its place), and the end."""
        seen: dict[str, Any] = {}

        def at_start(module: nn.Module, args: Any, output: Any) -> Any:
            seen["start"] = output
            return output if at is None else at

        def at_stop(module: nn.Module, args: Any, output: Any) -> None:
            seen["stop"] = output

        with contextlib.ExitStack() as stack:
            if self.start is not None:
                stack.callback(self.start.register_forward_hook(at_start).remove)
            if self.stop is not None:
                stack.callback(self.stop.register_forward_hook(at_stop).remove)
            # Copies: a model may change its input in place.
            output = self.model(*(x.clone() for x in inputs))
        for name in ("start", "stop"):
            if getattr(self, name) is not None and name not in seen:
                raise ValueError(f"layers: the {name} layer is not called by the model")
        return seen.get("start"), first_tensor(seen.get("stop", output))


def measurable(model: M, inputs: tuple[Tensor, ...]) -> tuple[M, tuple[Tensor, ...], list[str]]:
    """Return the model and the inputs in a precision that can be measured, and notes on it.

    Raises
    ------
    ValueError
        The model has a normalization whose output depends on the rest of the batch.
    """
    notes: list[str] = []
    if not isinstance(model, nn.Module):
        return model, inputs, notes
    network: nn.Module = model
    check_values(network)
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"layer {name!r} normalizes by the statistics of the batch, so a sample has no "
                "Jacobian of its own; give it track_running_stats=True"
            )
    if any(isinstance(m, MODAL) and m.training for m in network.modules()):
        notes.append(
            "Measured in eval mode: dropout is off, batch normalization is frozen "
            "at its running statistics."
        )
    floats = [p for p in network.parameters() if p.is_floating_point()]
    low = {p.dtype for p in floats} & {torch.float16, torch.bfloat16}
    if low:
        network = copy.deepcopy(network).float()
        notes.append(f"Measured on a copy in float32; the model is {_name(low.pop())}.")
    wanted = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
    if wanted is not None:
        place = next(network.parameters()).device
        inputs = tuple(
            x.to(place, wanted) if x.is_floating_point() else x.to(place) for x in inputs
        )
    return network, inputs, notes  # type: ignore[return-value]  # of the class that came


def check_values(model: nn.Module) -> None:
    """Refuse a model whose parameters or buffers have shapes but no values."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ValueError(
                f"model: {name!r} is on the meta device and has no values; "
                'model.to_empty(device="cpu") and an initialization give it some'
            )


def first_nonfinite(model: Model, inputs: tuple[Tensor, ...]) -> str | None:
    """Return the name of the first layer whose output is NaN or infinite, None if none is."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensors = [value for value in _tensors(output) if value.is_floating_point()]
            if not found and not all(bool(value.isfinite().all()) for value in tensors):
                found.append(name or "the output")

        return hook

    with contextlib.ExitStack() as stack, torch.no_grad():
        if isinstance(model, nn.Module):
            for name, module in model.named_modules():
                stack.callback(module.register_forward_hook(look(name)).remove)
        output = first_tensor(model(*(x.clone() for x in inputs)))
    if not found and not bool(output.isfinite().all()):
        return "the output"
    return found[0] if found else None


@contextlib.contextmanager
def own_quiet() -> Iterator[None]:
    """Silence what torch says about itself when it loads its rules of forward differentiation."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        yield


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Use the attention kernel that can be differentiated forward and twice."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextlib.contextmanager
def goes_through(name: str, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Say which argument a model was given where it refuses what torch cannot multiply or index."""
    try:
        yield
    except (RuntimeError, IndexError, TypeError) as error:
        if isinstance(error, TypeError) and "argument" not in str(error):
            raise  # of the model's own code, not of how many inputs it was given
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(
            f"{name} of shape {shapes} is not what the model takes: {error}"
        ) from error


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor of an output that may be a tuple, a list or a mapping."""
    tensors = _tensors(output)
    if not tensors:
        raise TypeError(f"the model must return a tensor, got {type(output).__name__}")
    return tensors[0]


def size_of(point: Tensor) -> int:
    """Return the number of entries of one sample."""
    return math.prod(point.shape[1:])


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict) or hasattr(output, "values"):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in _tensors(item)]
    return []


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
