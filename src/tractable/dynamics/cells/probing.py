"""Trying a user's function: batches or single vectors, which dtype, stochastic or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from tractable.core.seeds import generator, seeded
from tractable.dynamics.cells.nested import count, flatten, is_nest, parts_of, unflatten

__all__ = ["probe_points", "probe_style"]

Result = Tensor | Exception


def probe_points(
    n_points: int, n_state: int, n_input: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return small random states (B, N) and inputs (B, D), always the same."""
    draw = generator(0)
    state = 0.1 * torch.randn(n_points, n_state, generator=draw, dtype=torch.float64)
    x = 0.1 * torch.randn(n_points, n_input, generator=draw, dtype=torch.float64)
    return state.to(device, dtype), x.to(device, dtype)


def probe_style(
    function: Callable[..., Any],
    template: Any,
    n_input: int,
    device: torch.device,
    dtype: torch.dtype | None,
) -> tuple[str, torch.dtype]:
    """Find out how ``function`` wants its arguments.

    Parameters
    ----------
    function : callable
        ``(state, x) -> state``.
    template : int, torch.Size, or nested tuple
        Shape of the state without the batch axis.
    n_input : int
        Width of the input.
    device : torch.device
        Where to try.
    dtype : torch.dtype, optional
        The first dtype to try; then float64, float32.

    Returns
    -------
    str
        "batch", "single" (by vmap) or "loop" (one after the other).
    torch.dtype
        The first dtype that works.

    Raises
    ------
    ValueError
        When nothing works, or the function is stochastic, or it mixes the samples of a batch.

    Examples
    --------
    >>> W = torch.ones(2, 2)
    >>> probe_style(lambda h, x: W @ h + x.sum(), 2, 3, torch.device("cpu"), None)
    ('single', torch.float32)
    """
    failures: list[str] = []
    with seeded(0), torch.no_grad():
        for candidate in dict.fromkeys([dtype or torch.float64, torch.float64, torch.float32]):
            found = _try(function, template, n_input, device, candidate, failures)
            if found is not None:
                return found, candidate
        raised = not any("must have shape" in failure for failure in failures)
        swapped = raised and _takes_input_first(function, template, n_input, device)
    if swapped:
        raise ValueError(
            f"the cell must take (state, x), it seems to take (x, state); give "
            f"lambda state, x: cell(x, state) with n_state={template} and n_input={n_input}"
        )
    raise ValueError(
        f"the cell must map state {_wanted(template)} and x (B, {n_input}), or one of each "
        "without B, to the next state alone; " + "; ".join(dict.fromkeys(failures))
    )


def _takes_input_first(
    function: Callable[..., Any], template: Any, n_input: int, device: torch.device
) -> bool:
    """Whether the function works with its arguments in the order of torch's cells."""
    for dtype in (torch.float64, torch.float32):
        state, x = probe_points(3, count(template), n_input, dtype, device)
        try:
            flatten(function(x, unflatten(state, template)), template, state.shape[:-1])
        except Exception:  # whatever the user's function raises
            continue
        return True
    return False


def _wanted(template: Any) -> str:
    if isinstance(template, torch.Size):
        return "(B, " + ", ".join(map(str, template)) + ")"
    if is_nest(template):
        return "(" + ", ".join(map(_wanted, parts_of(template))) + ")"
    return f"(B, {template})"


def _try(
    function: Callable[..., Any],
    template: Any,
    n_input: int,
    device: torch.device,
    dtype: torch.dtype,
    failures: list[str],
) -> str | None:
    """Return the style that works in this dtype; None, noting why, when none does."""
    width = count(template)
    sizes = _sizes(template) | {width, n_input, 1}
    n_points = next(size for size in range(3, len(sizes) + 4) if size not in sizes)
    state, x = probe_points(n_points, width, n_input, dtype, device)

    def call(h: Tensor, u: Tensor) -> Tensor:
        return flatten(function(unflatten(h, template), u), template, h.shape[:-1])

    def one_by_one(h: Tensor, u: Tensor) -> Tensor:
        return torch.stack([call(*pair) for pair in zip(h, u, strict=True)])

    overwritten: list[str] = []

    def attempt(form: Callable[[Tensor, Tensor], Tensor], points: int = n_points) -> Result:
        given = {"state": state[:points].clone(), "x": x[:points].clone()}
        try:
            return form(*given.values()).clone()
        except Exception as error:  # whatever the user's function raises
            return error
        finally:
            for (name, after), before in zip(given.items(), (state, x), strict=True):
                if not torch.equal(after, before[:points]):
                    overwritten.append(name)

    def same(first: Result, second: Result) -> bool:
        both = isinstance(first, Tensor) and isinstance(second, Tensor)
        return both and torch.allclose(first, second, *_tolerance(dtype))  # type: ignore[arg-type]

    batch, single = attempt(call), attempt(one_by_one)
    worked = [result for result in (batch, single) if isinstance(result, Tensor)]
    if not worked:
        failures.append(f"{dtype} batch: {_message(batch)}")
        failures.append(f"{dtype} single: {_message(single)}")
        return None
    if overwritten:
        raise ValueError(
            f"the cell must leave its arguments alone, it changes {overwritten[0]} in place; "
            f"work on a copy, {overwritten[0]}.clone()"
        )
    for result in worked:
        if not bool(result.isfinite().all()):
            bad = int((~result.isfinite()).sum())
            raise ValueError(
                f"the cell returned {bad} of {result.numel()} entries NaN or infinite for a "
                "state and an input near 0; NaN weights?"
            )
    again = attempt(call if isinstance(batch, Tensor) else one_by_one)
    if not same(worked[0], again):
        raise ValueError(
            "two calls of the cell with the same state and x differ: it is stochastic (dropout "
            "in train mode?) or keeps a state of its own; make it a function of (state, x)"
        )
    if isinstance(batch, Tensor) and (not isinstance(single, Tensor) or same(batch, single)):
        if not same(batch[:1], attempt(call, 1)):
            raise ValueError(
                "the cell mixes the samples of a batch: F of the first sample alone differs from "
                "F of the batch (batch norm in train mode?)"
            )
        return "batch"
    return "single" if same(single, attempt(vmap(call))) else "loop"


def _sizes(template: Any) -> set[int]:
    if is_nest(template):
        return {size for part in parts_of(template) for size in _sizes(part)}
    return set(template) if isinstance(template, torch.Size) else {template}


def _tolerance(dtype: torch.dtype) -> tuple[float, float]:
    return (1e-9, 1e-12) if dtype == torch.float64 else (1e-3, 1e-5)


def _message(result: Result) -> str:
    text = f"{type(result).__name__}: {result}" if isinstance(result, Exception) else "worked"
    return text.splitlines()[0][:200]
