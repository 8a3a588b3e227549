"""What the output should do: spike times (van Rossum distance), or one spike of the right unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tractable.core.checks import check_choice, check_finite, check_range
from tractable.spiking.theory import kernel_autocorrelation

__all__ = [
    "Loss",
    "VanRossum",
    "WindowTarget",
    "WindowedClassification",
    "van_rossum",
    "van_rossum_trace",
]


class Loss(Protocol):
    """What `SuperSpike` asks of a loss: its kernel, and impulses that the kernel filters."""

    @property
    def tau_rise(self) -> float:
        """Rise of the error's kernel, ms."""
        ...

    @property
    def tau_decay(self) -> float:
        """Decay of the error's kernel, ms."""
        ...

    def impulses(self, spikes: Tensor, target: Any, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return impulses of the error, (T, B, n_out), and what to remember for the next window.

        An impulse of +1 asks for a spike, one of -1 forbids it.
        """
        ...


@dataclass(frozen=True)
class _Kernel:
    tau_rise: float = 5.0
    tau_decay: float = 10.0

    def __post_init__(self) -> None:
        check_range("tau_rise", self.tau_rise, 0, open_low=True, open_high=True)
        check_range("tau_decay", self.tau_decay, 0, open_low=True, open_high=True)


@dataclass(frozen=True)
class VanRossum(_Kernel):
    r"""Spikes at given times.

    .. math:: L = \frac12 \sum_i \int (\alpha * (\hat S_i - S_i))^2 dt, \qquad
        e_i = \alpha * (\hat S_i - S_i)

    (P9). The target of a window is a spike array (T, B, n_out).

    Parameters
    ----------
    tau_rise, tau_decay : float
        Time constants of the kernel (P5), ms, > 0.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 3.
    """

    def impulses(self, spikes: Tensor, target: Any, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return target minus spikes."""
        wanted = torch.as_tensor(target, device=spikes.device)
        if wanted.shape != spikes.shape:
            raise ValueError(
                f"target must have shape (T, B, n_out) = {tuple(spikes.shape)}, got "
                f"{tuple(wanted.shape)}"
            )
        check_finite("target", wanted.to(torch.float32))
        if wanted.dtype != torch.bool and not bool(((wanted == 0) | (wanted == 1)).all()):
            raise ValueError("target must be spikes, 0 or 1, got other entries")
        return wanted.to(torch.int8) - spikes.to(torch.int8), spikes.new_zeros(0)


@dataclass(frozen=True, eq=False)
class WindowTarget:
    """When which output unit may fire.

    Attributes
    ----------
    allowed : Tensor
        The unit that may fire at each step, -1 for none, shape (T, B).
    closes : Tensor
        The unit whose window of opportunity ends with this step, -1 for none, shape (T, B).
    """

    allowed: Tensor
    closes: Tensor


@dataclass(frozen=True)
class WindowedClassification(_Kernel):
    r"""One spike of the right unit within a window of opportunity.

    Every spike of another unit, or outside a window, is answered by :math:`-\alpha` at once; the
    right unit gets :math:`+\alpha` at the end of its window if it stayed silent; nothing else
    (P10). The target of a window is a `WindowTarget`.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section on the exclusive-or task.
    """

    def impulses(self, spikes: Tensor, target: Any, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return -1 for every forbidden spike, +1 for every missing one."""
        if not isinstance(target, WindowTarget):
            raise TypeError(f"target must be a WindowTarget, got {type(target).__name__}")
        n_steps, n_batch, n_out = spikes.shape
        for name in ("allowed", "closes"):
            value = getattr(target, name)
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
            if tuple(value.shape) != (n_steps, n_batch):
                raise ValueError(
                    f"{name} must have shape (T, B) = {(n_steps, n_batch)}, got "
                    f"{tuple(value.shape)}"
                )
            if value.dtype.is_floating_point or value.dtype == torch.bool:
                raise TypeError(f"{name} must hold integers, got {value.dtype}")
            if int(value.min()) < -1 or int(value.max()) >= n_out:
                raise ValueError(f"{name} must hold units below {n_out}, or -1")
        device = spikes.device
        allowed, closes = target.allowed.to(device), target.closes.to(device)
        units = torch.arange(n_out, device=device)
        permitted = allowed[:, :, None] == units
        x = -(spikes & ~permitted).to(torch.int8)
        # right spikes so far, the ones remembered from before counting as the first
        before = spikes.new_zeros(n_batch) if memory is None else memory.to(device)
        count = (spikes & permitted).any(2).cumsum(0) + before.long()
        ends = closes >= 0
        # the count at the last window that ended before each step: what came since is an answer
        answered = torch.where(ends, count, 0).cummax(0).values
        known = torch.cat([torch.zeros_like(answered[:1]), answered])
        silent = ends & (count == known[:-1])
        x += (silent[:, :, None] & (closes[:, :, None] == units)).to(torch.int8)
        return x, count[-1] > known[-1]


def _pair_sum(a: np.ndarray, b: np.ndarray, tau_rise: float, tau_decay: float) -> float:
    """Return the sum of R over all pairs of two trains, pairs of unlike trains negative.

    R is made of exponentials of the lag: each spike meets a decaying sum of those before it, and
    the whole takes as many steps as there are spikes.
    """
    times = np.concatenate([a, b])
    if not len(times):
        return 0.0
    order = np.argsort(times, kind="stable")
    signs = np.where(order < len(a), 1.0, -1.0)
    lags = np.diff(times[order], prepend=times[order[0]])
    at_zero = float(kernel_autocorrelation(0.0, tau_rise, tau_decay))
    r, d = tau_rise, tau_decay
    equal = abs(d - r) <= 1e-6 * (d + r)
    slow, fast = np.exp(-lags / (0.5 * (d + r) if equal else d)), np.exp(-lags / r)
    rest, later, pairs = 0.0, 0.0, 0.0
    if equal:  # (tau + lag) exp(-lag / tau) / (4 tau^2); ``later`` is the sum weighted by the lag
        tau = 0.5 * (d + r)
        for sign, lag, keep in zip(signs.tolist(), lags.tolist(), slow.tolist(), strict=True):
            later = keep * (later + lag * rest)
            rest *= keep
            pairs += sign * (tau * rest + later)
            rest += sign
        return len(times) * at_zero + 2 * pairs / (4 * tau**2)
    for sign, keep_d, keep_r in zip(signs.tolist(), slow.tolist(), fast.tolist(), strict=True):
        rest *= keep_d
        later *= keep_r
        pairs += sign * (d * rest - r * later)
        rest += sign
        later += sign
    return len(times) * at_zero + 2 * pairs / (2 * (d**2 - r**2))


def van_rossum_trace(
    spikes: Tensor,
    target: Tensor,
    dt: float,
    tau_rise: float = 5.0,
    tau_decay: float = 10.0,
) -> Tensor:
    r"""Return the error of every unit along time, the integrand's root of the loss.

    .. math:: e_i = \alpha * (\hat S_i - S_i)

    (P9), from rest at the start. ``e.square().sum(0) * dt`` is the distance of the trains on the
    grid, as long as the kernel's tail (10 ``tau_decay``) ends within the array.

    Parameters
    ----------
    spikes, target : Tensor
        Spikes and wanted spikes, bool or 0 and 1, of one shape (T, B, n).
    dt : float
        Time step, ms, > 0.
    tau_rise, tau_decay : float
        Time constants of the kernel (P5), ms, > 0.

    Returns
    -------
    Tensor
        1/ms, float64, shape (T, B, n).

    Raises
    ------
    ValueError
        For shapes that differ, or entries that are not 0 or 1.

    Examples
    --------
    >>> spikes, target = torch.zeros(2000, 1, 1), torch.zeros(2000, 1, 1)
    >>> target[100] = 1
    >>> error = van_rossum_trace(spikes, target, 0.1)
    >>> round(float(error.square().sum()) * 0.1 * 30, 3)  # R(0) = 1 / 30: one spike is missing
    1.0
    """
    from tractable.spiking.filters import AlphaFilter

    check_range("dt", dt, 0, open_low=True, open_high=True)
    kernel = VanRossum(tau_rise, tau_decay)
    for name, value in (("spikes", spikes), ("target", target)):
        _check_raster(name, value)
        if value.ndim != 3 or 0 in value.shape:
            raise ValueError(f"{name} must have shape (T, B, n), got {tuple(value.shape)}")
    x, _ = kernel.impulses(spikes.detach(), target.detach(), None)
    rest = torch.zeros(x.shape[1:], dtype=torch.float64, device=x.device)
    return AlphaFilter(tau_rise, tau_decay, dt)(x.to(torch.float64) / dt, (rest, rest))[0]


def _check_raster(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if value.dtype != torch.bool:
        check_finite(name, value.detach().to(torch.float64))
        if not bool(((value == 0) | (value == 1)).all()):
            raise ValueError(f"{name} must be 0 or 1, got other values")


def van_rossum(
    times_a: ArrayLike,
    times_b: ArrayLike,
    tau_rise: float = 5.0,
    tau_decay: float = 10.0,
    *,
    normalize: Literal["spike", "none", "rms"] = "spike",
    duration_ms: float | None = None,
) -> float:
    r"""Return the van Rossum distance of two spike trains, without a time grid.

    .. math:: \int (\alpha * (A - B))^2 dt = \sum_{tt'} R(t - t') + \sum_{ss'} R(s - s')
        - 2 \sum_{ts} R(t - s)

    (P11), R the autocorrelation (P6) of the kernel.

    Parameters
    ----------
    times_a, times_b : array_like
        Spike times, ms; may be empty, any order.
    tau_rise, tau_decay : float
        Time constants of the kernel, ms, > 0.
    normalize : str
        ``spike``: in units of R(0), so that one missing isolated spike counts 1; ``none``: 1/ms;
        ``rms``: the root of the mean over ``duration_ms``.
    duration_ms : float, optional
        Needed by ``rms``, > 0.

    Returns
    -------
    float

    Examples
    --------
    >>> van_rossum([10.0, 60.0], [10.0])
    1.0
    >>> van_rossum([10.0], [12.0])
    0.0657170797
    """
    check_choice("normalize", normalize, ("spike", "none", "rms"))
    a, b = (np.asarray(times, dtype=float).ravel() for times in (times_a, times_b))
    check_finite("times_a", a)
    check_finite("times_b", b)
    check_range("tau_rise", tau_rise, 0, open_low=True, open_high=True)
    check_range("tau_decay", tau_decay, 0, open_low=True, open_high=True)
    total = max(_pair_sum(a, b, tau_rise, tau_decay), 0.0)
    if len(a) == len(b) and np.array_equal(np.sort(a), np.sort(b)):
        total = 0.0  # exactly, not up to rounding
    if normalize == "none":
        return total
    if normalize == "spike":
        return total / float(kernel_autocorrelation(0.0, tau_rise, tau_decay))
    if duration_ms is None:
        raise ValueError("normalize='rms' needs duration_ms, got None")
    check_range("duration_ms", duration_ms, 0, open_low=True, open_high=True)
    return math.sqrt(total / duration_ms)
