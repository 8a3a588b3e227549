"""Some steps whose inner values are not kept for the gradient, but computed again.

The steps run without a graph the first time, which is cheaper than to note each value that is then
thrown away; everything that they read is an input of one function, so that frames, states and what
was computed for all steps at once get their gradients too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tractable.vision.convrnn.unroll import Series, Unrolled

if TYPE_CHECKING:
    from tractable.vision.convrnn.unroll import Unroll

__all__ = ["recomputed"]

Inner = Callable[[Sequence[Tensor]], list[Tensor]]


def recomputed(
    run: Unroll, begin: Unrolled, start: int, stop: int
) -> tuple[Unrolled, list[Tensor], Series]:
    """Return what ``run.piece(begin, start, stop)`` does."""
    movie = run.movie
    read = {
        "outputs": begin.outputs,
        "states": begin.states,
        "frames": {i: movie.frames[i] for i in set(movie.ids[start:stop])},
        "table": {
            name: {t: values[t] for t in range(start, min(stop, len(values)))}
            for name, values in run.table.items()
        },
    }
    inputs: list[Tensor] = []
    places = mapped(read, lambda x: _place(inputs, x))
    shape: Any = None

    def inner(given: Sequence[Tensor]) -> list[Tensor]:
        nonlocal shape
        own = mapped(places, lambda i: given[i])
        twin = copy.copy(run)
        twin.movie = replace(
            movie, frames=[own["frames"].get(i, x) for i, x in enumerate(movie.frames)]
        )
        twin.table = {
            name: [own["table"][name].get(t, x) for t, x in enumerate(values)]
            for name, values in run.table.items()
        }
        done, last, kept = twin.piece(
            Unrolled(begin.step, own["outputs"], own["states"]), start, stop
        )
        results = [*given]  # what is handed on as it came is no result
        tree = {"outputs": done.outputs, "states": done.states, "last": last, "kept": kept}
        shape = mapped(tree, lambda x: _place(results, x))
        return results[len(given) :]

    weights = [p for p in run.net.parameters() if p.requires_grad]
    found = _Again.apply(inner, weights, len(inputs), *inputs, *weights)
    everything = [*inputs, *found]
    made = mapped(shape, lambda i: everything[i])
    done = Unrolled(begin.step + stop - start, made["outputs"], made["states"])
    return done, made["last"], made["kept"]


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return dicts, lists and tuples with their leaves changed."""
    if isinstance(tree, dict):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(value, change) for value in tree)
    return change(tree)


def _place(known: list[Tensor], x: Tensor) -> int:
    """Return where a tensor stands in a list, at its end if it was not there."""
    for i, other in enumerate(known):
        if other is x:
            return i
    known.append(x)
    return len(known) - 1


class _Again(torch.autograd.Function):
    """A function of tensors and weights that is called again for its gradient."""

    @staticmethod
    def forward(
        ctx: Any, inner: Inner, weights: list[Tensor], n_inputs: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.inner, ctx.weights, ctx.n_inputs = inner, weights, n_inputs
        ctx.save_for_backward(*tensors)  # the weights too: a change of them is noticed
        ctx.set_materialize_grads(False)
        kind = ctx.kind = tensors[0].device.type
        ctx.random = torch.get_rng_state()
        ctx.random_there = torch.cuda.get_rng_state(tensors[0].device) if kind == "cuda" else None
        ctx.cast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        return tuple(inner(tensors[:n_inputs]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[3:]
        saved = ctx.saved_tensors[: ctx.n_inputs]
        inputs = [x.detach().requires_grad_(need) for x, need in zip(saved, needs, strict=False)]
        places = [inputs[0].device] if ctx.kind == "cuda" else []
        enabled, dtype = ctx.cast
        with (
            torch.enable_grad(),
            torch.random.fork_rng(places),
            torch.autocast(ctx.kind, dtype, enabled),
        ):
            torch.set_rng_state(ctx.random)
            if ctx.random_there is not None:
                torch.cuda.set_rng_state(ctx.random_there, inputs[0].device)
            results = ctx.inner(inputs)
        pairs = [
            (result, g)
            for result, g in zip(results, gradients, strict=True)
            if g is not None and result.requires_grad
        ]
        wanted = [x for x, need in zip([*inputs, *ctx.weights], needs, strict=True) if need]
        found: list[Tensor | None] = [None] * len(wanted)
        if pairs and wanted:
            found = list(
                torch.autograd.grad(
                    [result for result, _ in pairs],
                    wanted,
                    [g for _, g in pairs],
                    allow_unused=True,
                )
            )
        left = iter(found)
        return (None, None, None, *(next(left) if need else None for need in needs))
