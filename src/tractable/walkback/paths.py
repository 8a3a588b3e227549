"""Walks from data up the ladder, chains down it, and states clamped on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.progress import track
from tractable.walkback.operators import TransitionOperator, check_count
from tractable.walkback.priors import check_prior, check_tensor, draw_start
from tractable.walkback.schedule import Schedule, check_schedule

__all__ = ["Path", "Trajectory", "inpaint", "sample", "walkback_path"]


@dataclass(frozen=True, eq=False)
class Path:
    """A walk from data, with the log density of every step in both directions.

    Attributes
    ----------
    states : Tensor
        s_0 = data, then L heated states; shape ``(L+1, B, *event)``.
    log_q, log_p : Tensor
        log p_T(s_t | s_{t-1}) and log p_T(s_{t-1} | s_t), nats, shape (L, B), float64.
    """

    states: Tensor
    log_q: Tensor
    log_p: Tensor


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States of chains, recorded on their way.

    Attributes
    ----------
    states : Tensor
        Shape ``(records, n, *event)``; the first are drawn from the prior, the last are the result.
    steps : tuple of int
        Steps done at each record.
    temperatures : tuple of float
        Temperature of the step before each record; that of the first step for the prior's draw.
    """

    states: Tensor
    steps: tuple[int, ...]
    temperatures: tuple[float, ...]


def device_of(operator: TransitionOperator) -> torch.device:
    """Return the device of the operator's numbers."""
    for tensor in (*operator.parameters(), *operator.buffers()):
        return tensor.device
    return torch.device("cpu")


def density_difference(
    operator: TransitionOperator,
    colder: Tensor,
    hotter: Tensor,
    temperature: float | Tensor,
    step: int | Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return log p(colder | hotter) and log p(hotter | colder), (B,), summed in float64."""
    back = operator.log_prob(colder, hotter, temperature, step=step, reduce=False)
    forth = operator.log_prob(hotter, colder, temperature, step=step, reduce=False)
    return back.double().flatten(1).sum(1), forth.double().flatten(1).sum(1)


@torch.no_grad()
def walkback_path(
    operator: TransitionOperator,
    x: Tensor,
    schedule: Schedule,
    *,
    generator: torch.Generator | None = None,
) -> Path:
    """Walk away from data, with the operator that generation uses backward.

    Parameters
    ----------
    operator : TransitionOperator
        In evaluation mode where it has modes.
    x : Tensor
        Data, ``(B, *event)``.
    schedule : Schedule
        Its temperatures are used in both directions.
    generator : torch.Generator, optional
        Decides the walk.

    Returns
    -------
    Path

    References
    ----------
    Goyal, Ke, Ganguli, Bengio 2017, arXiv:1711.02282, algorithm 1.
    """
    operator.check_state(x, "x")
    check_schedule(schedule)
    states, log_q, log_p = [x], [], []
    for k, temperature in enumerate(schedule.temperatures.tolist()):
        after = operator.sample(states[-1], temperature, step=k, generator=generator)
        back, forth = density_difference(operator, states[-1], after, temperature, k)
        states.append(after)
        log_q.append(forth)
        log_p.append(back)
    return Path(torch.stack(states), torch.stack(log_q), torch.stack(log_p))


def sample(
    operator: TransitionOperator,
    n: int,
    *,
    schedule: Schedule,
    prior: Any,
    extra_steps: int = 0,
    repeats: int = 1,
    record_every: int | None = None,
    clamp: tuple[Tensor, Tensor] | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 4096,
    return_mean: bool = False,
    progress: bool = False,
) -> Any:
    """Cool states of the prior down the ladder, and go on at T = 1 as long as wanted.

    Parameters
    ----------
    operator : TransitionOperator
        The transition.
    n : int
        Chains, >= 1.
    schedule : Schedule
        Walked from its last temperature to its first.
    prior : GaussianPrior or BernoulliPrior
        Of the hottest states.
    extra_steps : int
        Further steps at T = 1, >= 0.
    repeats : int
        Steps at each temperature of the ladder, >= 1; more of them move a near-reversible operator
        closer to its law at that temperature, at no cost in training.
    record_every : int, optional
        Return a `Trajectory` with the states after every so many steps.
    clamp : (Tensor, Tensor), optional
        A mask, True where a value is known, and the values; of the shape of a state, or a row for
        every chain. Known values are set before and after each step.
    generator : torch.Generator, optional
        Decides the chains. Chains of one chunk share it; each chunk has a generator of its own
        derived from it, of a fixed block of 1024 chains, so that ``chunk`` does not matter.
    chunk : int
        Chains computed at once, >= 1.
    return_mean : bool
        The last step returns its mean: without the noise of the last step. Gaussian operators.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    Tensor, shape ``(n, *event)``, or Trajectory
    """
    counts = {"n": (n, 1), "extra_steps": (extra_steps, 0), "repeats": (repeats, 1),
              "chunk": (chunk, 1)}  # fmt: skip
    for name, (value, low) in counts.items():
        check_count(name, value, low)
    if record_every is not None:
        check_count("record_every", record_every)
    check_schedule(schedule)
    check_prior(prior, operator)
    if return_mean and not hasattr(operator, "mean"):
        raise TypeError("return_mean needs an operator with a mean; this one has none")
    ladder = list(enumerate(schedule.temperatures.tolist()))[::-1]
    steps = [step for step in ladder for _ in range(repeats)] + [(0, 1.0)] * extra_steps
    device = device_of(operator)
    n_blocks = -(-n // BLOCK)
    on = "cpu" if generator is None else generator.device
    seeds = torch.randint(2**62, (n_blocks,), generator=generator, device=on).tolist()
    mask, values = _clamp(operator, clamp, n)
    finished: list[list[Tensor]] = []
    blocks_at_once = max(1, chunk // BLOCK)
    blocks = range(0, len(seeds), blocks_at_once)
    for start in track(blocks, "chains", show=progress and len(blocks) > 1):
        sources = [
            torch.Generator(device).manual_seed(seed)
            for seed in seeds[start : start + blocks_at_once]
        ]
        sizes = [min(BLOCK, n - (start + i) * BLOCK) for i in range(len(sources))]
        first = start * BLOCK
        known, given = (_of_chains(part, operator, first, sum(sizes)) for part in (mask, values))
        finished.append(
            _chains(operator, prior, steps, sources, sizes, known, given, record_every, return_mean)
        )
    states = [torch.cat(parts) for parts in zip(*finished, strict=True)]
    if record_every is None:
        return states[-1]
    at = _records(len(steps), record_every)
    told = tuple(steps[max(k - 1, 0)][1] for k in at)
    return Trajectory(torch.stack(states), tuple(at), told)


BLOCK = 1024  # chains that share a stream of noise


def _records(n_steps: int, every: int | None) -> list[int]:
    if every is None:
        return [n_steps]
    return sorted({0, *range(every, n_steps + 1, every), n_steps})


@torch.inference_mode()
def _chains(
    operator: TransitionOperator,
    prior: Any,
    steps: list[tuple[int, float]],
    sources: list[torch.Generator],
    sizes: list[int],
    mask: Tensor | None,
    values: Tensor | None,
    record_every: int | None,
    return_mean: bool,
) -> list[Tensor]:
    """Run blocks of chains side by side, each block with its own stream of noise."""
    s = torch.cat([draw_start(prior, operator, n, g) for n, g in zip(sizes, sources, strict=True)])
    keep = set(_records(len(steps), record_every))
    out = [s] if 0 in keep else []
    for done, (step, temperature) in enumerate(steps, 1):
        s = _set(s, mask, values)
        if return_mean and done == len(steps):
            s = operator.mean(s, temperature, step=step)  # type: ignore[operator]  # checked before
        else:
            parts = [
                operator.sample(part, temperature, step=step, generator=g)
                for part, g in zip(s.split(sizes), sources, strict=True)
            ]
            s = torch.cat(parts)
        s = _set(s, mask, values)
        if done in keep:
            out.append(s)
    return out


def _set(s: Tensor, mask: Tensor | None, values: Tensor | None) -> Tensor:
    if mask is None or values is None:
        return s
    return torch.where(mask, values.to(s.dtype), s)


def _of_chains(
    part: Tensor | None, operator: TransitionOperator, first: int, n: int
) -> Tensor | None:
    """Return the rows of n chains of a mask or of values that have a row for every chain."""
    if part is None or part.ndim == len(operator.event_shape) or len(part) == 1:
        return part
    return part[first : first + n]


def _clamp(
    operator: TransitionOperator, clamp: tuple[Tensor, Tensor] | None, n: int
) -> tuple[Tensor | None, Tensor | None]:
    if clamp is None:
        return None, None
    mask, values = (torch.as_tensor(part) for part in clamp)
    if mask.dtype != torch.bool:
        raise TypeError(f"the mask of clamp must be boolean, got {mask.dtype}")
    for name, part in (("mask", mask), ("values", values)):
        if tuple(part.shape)[-len(operator.event_shape) :] != operator.event_shape:
            raise ValueError(
                f"the {name} of clamp must end in the shape of a state {operator.event_shape}, "
                f"got {tuple(part.shape)}"
            )
        before = tuple(part.shape)[: -len(operator.event_shape)]
        if before not in ((), (1,), (n,)):
            raise ValueError(
                f"the {name} of clamp is of {' x '.join(map(str, before))} chains, n is {n}"
            )
    if not bool(torch.isfinite(values[mask.expand_as(values)] if values.shape == mask.shape
                               else values).all()):  # fmt: skip
        raise ValueError("the known values of clamp hold NaN or infinity")
    return mask, torch.nan_to_num(values)


def inpaint(
    operator: TransitionOperator,
    x: Tensor,
    mask: Tensor,
    *,
    schedule: Schedule,
    prior: Any,
    num_resample: int = 1,
    extra_steps: int = 0,
    basis: Tensor | np.ndarray | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill in what is not known, with the known values held at every step.

    Parameters
    ----------
    operator : TransitionOperator
        The transition.
    x : Tensor
        States, ``(B, *event)``; values outside the mask are not read.
    mask : Tensor
        True where x is known; broadcasts over x.
    schedule, prior
        Of the generation.
    num_resample : int
        Steps at each temperature, >= 1: more of them let the unknown part agree with the known one.
    extra_steps : int
        Further steps at T = 1.
    basis : Tensor or ndarray, optional
        Orthogonal matrix R, (dim, dim), where the operator's states are ``x.flatten(1) @ R``: x and
        mask are in pixels, the states in principal components. Pixels y in [0, 1] of a `PixelSpace`
        enter as ``(y - mean) / scale``.
    generator : torch.Generator, optional
        Decides the chains.

    Returns
    -------
    Tensor
        Shape of x; equal to x bit for bit where the mask is True.
    """
    check_schedule(schedule)
    check_prior(prior, operator)
    check_count("num_resample", num_resample)
    check_count("extra_steps", extra_steps, 0)
    check_tensor("x", x)
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be boolean, got {mask.dtype}")
    try:
        known = mask.expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"mask must broadcast over x of shape {tuple(x.shape)}, got {tuple(mask.shape)}"
        ) from None
    filled = torch.where(known, x, torch.zeros_like(x))
    turn = None if basis is None else torch.as_tensor(basis, device=x.device)
    if turn is None:
        operator.check_state(filled, "x")
    elif tuple(turn.shape) != (operator.dim, operator.dim) or x.shape[1:].numel() != operator.dim:
        raise ValueError(
            f"basis must have shape ({operator.dim}, {operator.dim}) and x as many values a state, "
            f"got {tuple(turn.shape)} and {tuple(x.shape)}"
        )
    else:
        operator.check_state(filled.reshape(len(x), *operator.event_shape), "x")
        gram = turn.double().T @ turn.double()
        if not torch.allclose(gram, torch.eye(len(gram)).to(gram), atol=1e-4):
            raise ValueError("basis must be orthogonal: its transpose takes states back to x")
    precision = operator.precision or x.dtype
    turn = turn if turn is None else turn.to(precision)
    filled = filled.to(precision)

    def clamped(state: Tensor) -> Tensor:
        pixels = state if turn is None else (state.flatten(1) @ turn.T).reshape(x.shape)
        return torch.where(known, filled, pixels)

    def hold(state: Tensor) -> Tensor:
        pixels = clamped(state)
        if turn is None:
            return pixels
        return (pixels.flatten(1) @ turn).reshape(len(x), *operator.event_shape)

    on = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=on))
    source = torch.Generator(device_of(operator)).manual_seed(seed)
    ladder = list(enumerate(schedule.temperatures.tolist()))[::-1]
    steps = [step for step in ladder for _ in range(num_resample)] + [(0, 1.0)] * extra_steps
    with torch.inference_mode():
        s = prior.sample(len(x), generator=source).to(precision)
        for step, temperature in steps:
            s = operator.sample(hold(s), temperature, step=step, generator=source)
        return torch.where(known, x, clamped(s).to(x.dtype))
