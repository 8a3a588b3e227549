"""A layer of leaky integrate-and-fire neurons, and its state between two windows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_finite, check_range
from tractable.core.seeds import generator
from tractable.spiking.backend import BACKENDS, Backend, resolve
from tractable.spiking.filters import loops_in_torch
from tractable.spiking.params import INTEGRATORS, Integrator, LIFParams, Step
from tractable.spiking.surrogate import SURROGATES, surrogate_derivative

__all__ = ["LIFLayer", "LayerOutput", "LayerState"]

RESETS = ("clamp", "zero", "subtract")
DENSE = 0.03
"""Share of spiking entries above which currents are a matrix product, not a sum of events."""


@dataclass(frozen=True)
class LayerState:
    """All that a layer carries from one window to the next.

    Attributes
    ----------
    v, current : Tensor
        Voltage relative to rest and synaptic current, mV, shape (B, n_out).
    left : Tensor
        Steps of refractoriness that remain, shape (B, n_out).
    arriving : Tensor
        Input spikes on their way, shape (delay, B, n_in).
    own : Tensor
        The layer's last spikes, shape (delay, B, n_out), for recurrent weights.
    """

    v: Tensor
    current: Tensor
    left: Tensor
    arriving: Tensor
    own: Tensor

    def detach(self) -> LayerState:
        """Return the state cut off from the graph."""
        return LayerState(*(getattr(self, name).detach() for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class LayerOutput:
    """What a layer did in a window.

    Attributes
    ----------
    spikes : Tensor
        Shape (T, B, n_out), bool (a float tensor where gradients flow).
    state : LayerState
        After the last step.
    arrived : Tensor
        The input spikes at the step at which they arrived, (T, B, n_in).
    before_own : Tensor
        The layer's spikes in the ``delay`` steps before the window, (delay, B, n_out).
    before_left : Tensor
        Steps of refractoriness that remained before the window, (B, n_out).
    v : Tensor
        Voltage relative to rest before the reset, the one compared with the threshold, mV.
    current : Tensor or None
        Current after each step, mV, where it was recorded.
    """

    spikes: Tensor
    state: LayerState
    arrived: Tensor
    before_own: Tensor
    before_left: Tensor
    v: Tensor
    current: Tensor | None = None


class LIFLayer(nn.Module):
    """Leaky integrate-and-fire neurons behind a matrix of weights, (P1).

    Parameters
    ----------
    n_in, n_out : int
        Inputs and neurons, >= 1.
    params : LIFParams, optional
        Constants of the neurons.
    w0 : float
        Initial weights are normal with standard deviation ``w0 / sqrt(n_in)`` mV, >= 0.
    integrator : str
        ``exact`` (default), ``euler`` (published code), ``peer_euler`` (other packages).
    reset : str
        ``clamp``: to rest, and held there for ``t_ref``; ``zero``: to rest; ``subtract``: the
        threshold is subtracted.
    surrogate : str
        Derivative of the spike, see `surrogate_derivative`.
    recurrent : bool
        Weights among the neurons of the layer too, over the same delay.
    backend : str
        Who runs the loop over time: ``numba`` (compiled, on the CPU), ``triton`` (on a CUDA
        device), ``torch`` (anywhere, slower). ``auto`` is numba on the CPU, and on a CUDA device
        Triton where it is installed, else torch.
    seed : int
        Decides the initial weights.

    Notes
    -----
    Order of a step: the voltage moves by the current before the step; the current decays; spikes
    that arrive are added to it. A spike at step k reaches the current of its targets at step
    ``k + delay`` and their voltage one step later, also without delay. After a spike at step k
    the neuron is held at rest in the steps ``k + 1 .. k + n_ref``.

    Where gradients are enabled and an input or weight wants them, the steps are recorded by
    autograd (backpropagation through time); under ``torch.no_grad()`` the compiled loop runs.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 2.

    Examples
    --------
    >>> layer = LIFLayer(1, 1)
    >>> _ = layer.weight.data.fill_(45.0)
    >>> spikes = torch.zeros(200, 1, 1, dtype=torch.bool)
    >>> spikes[0] = True
    >>> with torch.no_grad():
    ...     out = layer(spikes)
    >>> out.spikes.nonzero()[0, 0]  # 0.8 ms of delay, then the potential rises above 10 mV
    tensor(49)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        params: LIFParams | None = None,
        *,
        w0: float = 50.0,
        integrator: Integrator = "exact",
        reset: Literal["clamp", "zero", "subtract"] = "clamp",
        surrogate: str = "fast_sigmoid",
        recurrent: bool = False,
        backend: Backend = "auto",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_count("n_in", n_in)
        check_count("n_out", n_out)
        check_range("w0", w0, 0, open_high=True)
        check_choice("integrator", integrator, INTEGRATORS)
        check_choice("reset", reset, RESETS)
        check_choice("surrogate", surrogate, SURROGATES)
        check_choice("backend", backend, BACKENDS)
        check_count("seed", seed, 0)
        check_choice("dtype", dtype, (torch.float32, torch.float64))
        if params is not None and not isinstance(params, LIFParams):
            raise TypeError(f"params must be LIFParams, got {type(params).__name__}")
        self.n_in, self.n_out = n_in, n_out
        self.params = params or LIFParams()
        self.integrator, self.reset = integrator, reset
        self.surrogate = surrogate
        self.backend: Backend = backend
        random = generator(seed)
        scale = w0 / math.sqrt(n_in)
        normal = torch.randn(n_out, n_in, generator=random, dtype=torch.float64) * scale
        self.weight = nn.Parameter(normal.to(dtype))
        self.recurrent_weight: nn.Parameter | None = None
        if recurrent:
            scale = w0 / math.sqrt(n_out)
            normal = torch.randn(n_out, n_out, generator=random, dtype=torch.float64) * scale
            self.recurrent_weight = nn.Parameter(normal.to(dtype))

    def extra_repr(self) -> str:
        """Say sizes and choices."""
        loop = ", recurrent" if self.recurrent_weight is not None else ""
        return f"{self.n_in}, {self.n_out}, {self.integrator}, reset={self.reset}{loop}"

    @property
    def step(self) -> Step:
        """Coefficients of one time step."""
        step = self.params.step(self.integrator)
        return step if self.reset == "clamp" else replace(step, refractory=0)

    def initial_state(self, n_batch: int) -> LayerState:
        """Return the state of rest, without spikes on the way."""
        check_count("n_batch", n_batch)
        weight, delay = self.weight, self.params.delay_steps
        zeros = weight.new_zeros(n_batch, self.n_out).detach()
        flags = {"dtype": torch.bool, "device": weight.device}
        return LayerState(
            zeros,
            zeros.clone(),
            torch.zeros(n_batch, self.n_out, dtype=torch.int32, device=weight.device),
            torch.zeros(delay, n_batch, self.n_in, **flags),  # type: ignore[call-overload]  # the two flags above
            torch.zeros(delay, n_batch, self.n_out, **flags),  # type: ignore[call-overload]
        )

    def forward(
        self,
        spikes: Tensor,
        state: LayerState | None = None,
        *,
        injected: Tensor | float | None = None,
        record: Iterable[str] = (),
    ) -> LayerOutput:
        """Run the layer over a window.

        Parameters
        ----------
        spikes : Tensor
            Input spikes, shape (T, B, n_in), bool or 0 and 1.
        state : LayerState, optional
            Where the window before ended; rest when absent.
        injected : Tensor or float, optional
            Current injected into the membrane, mV, broadcast to (T, B, n_out).
        record : iterable of str
            ``"current"`` keeps the currents too.

        Raises
        ------
        ValueError
            For another shape, entries that are not 0 or 1, or NaN.
        RuntimeError
            When the weights are not finite.
        """
        wanted = tuple(record)
        for name in wanted:
            check_choice("record", name, ("v", "current"))
        self._check(spikes)
        before = state or self.initial_state(spikes.shape[1])
        if before.v.shape[0] != spikes.shape[1]:
            raise ValueError(
                f"state belongs to a batch of {before.v.shape[0]}, spikes to one of "
                f"{spikes.shape[1]}"
            )
        differentiable = torch.is_grad_enabled() and (
            spikes.requires_grad or any(p.requires_grad for p in self.parameters())
        )
        line = torch.cat([before.arriving.to(spikes.dtype), spikes])
        delay = self.params.delay_steps
        arrived, arriving = line[: len(spikes)], line[len(spikes) :]
        if injected is not None:
            shape = (len(spikes), spikes.shape[1], self.n_out)
            injected = torch.as_tensor(injected, dtype=self.weight.dtype, device=spikes.device)
            check_finite("injected", injected)
            injected = injected.expand(shape)
        if differentiable:
            return self._differentiable(arrived, arriving, before, injected)
        own = before.own
        arrived = arrived.bool()
        uses_numba = resolve(self.backend, self.weight.device) == "numba"
        run = self._compiled if uses_numba else self._in_torch
        out, v, i, after = run(arrived, before, injected, "current" in wanted)
        own = torch.cat([own, out])[len(out) :] if delay else own
        after = replace(after, arriving=arriving.bool(), own=own)
        return LayerOutput(out, after, arrived, before.own, before.left, v, i)

    # --- the three ways through time ----------------------------------------------------------

    def _compiled(
        self, arrived: Tensor, before: LayerState, injected: Tensor | None, keep_i: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, LayerState]:
        from tractable.spiking import compiled

        step, kind = self.step, self.weight.detach().numpy().dtype
        n_steps, n_batch, _ = arrived.shape
        shape = (n_steps, n_batch, self.n_out)
        empty = np.zeros((0, 0, 0), dtype=kind)
        weight_t = np.ascontiguousarray(self.weight.detach().numpy().T)
        packed = np.ascontiguousarray(arrived.numpy())
        starts, columns = compiled.events(packed)
        drive = empty
        if len(columns) > DENSE * packed.size:
            drive = (arrived.to(self.weight.dtype).flatten(0, 1) @ self.weight.detach().T).numpy()
            drive = np.ascontiguousarray(drive.reshape(shape))
        extra = empty if injected is None else np.ascontiguousarray(injected.detach().numpy())
        loop = np.zeros((0, 0), dtype=kind)
        if self.recurrent_weight is not None:
            loop = np.ascontiguousarray(self.recurrent_weight.detach().numpy().T)
        v, current = (_copy(x, kind) for x in (before.v, before.current))
        left = before.left.numpy().copy()
        own = np.ascontiguousarray(before.own.numpy().view(np.uint8))
        out = np.zeros(shape, dtype=np.uint8)
        v_out, i_out = np.empty(shape, dtype=kind), np.empty(shape, dtype=kind) if keep_i else empty
        compiled.lif(
            starts, columns, weight_t, drive, extra, loop, own, step.delay,
            *(kind.type(x) for x in (step.a, step.b, step.c, 1 - step.a)),
            step.current_first, step.refractory, kind.type(self.params.threshold),
            self.reset == "subtract", v, current, left, out, v_out, i_out,
        )  # fmt: skip
        v_t, i_t, left_t = (torch.from_numpy(x) for x in (v, current, left))
        after = replace(before, v=v_t, current=i_t, left=left_t)
        record = torch.from_numpy(i_out) if keep_i else None
        return torch.from_numpy(out.view(np.bool_)), torch.from_numpy(v_out), record, after

    def _in_torch(
        self, arrived: Tensor, before: LayerState, injected: Tensor | None, keep_i: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, LayerState]:
        drive = arrived.to(self.weight.dtype) @ self.weight.detach().T
        loop = None if self.recurrent_weight is None else self.recurrent_weight.detach()
        out, v, i, *rest = loops_in_torch(self.backend, self.weight.device).lif(
            drive, injected, loop, before.own, self.step, self.params.threshold,
            self.reset == "subtract", before.v, before.current, before.left, keep_i,
        )  # fmt: skip
        return out, v, i, replace(before, v=rest[0], current=rest[1], left=rest[2])

    def _differentiable(
        self, arrived: Tensor, arriving: Tensor, before: LayerState, injected: Tensor | None
    ) -> LayerOutput:
        from tractable.spiking.reference import lif_autograd

        out, v, i, after = lif_autograd(self, arrived, before, injected)
        delay = self.params.delay_steps
        own = torch.cat([before.own, out.detach().bool()])[len(out) :] if delay else before.own
        after = replace(after, arriving=arriving.bool(), own=own)
        return LayerOutput(out, after, arrived, before.own, before.left, v, i)

    def held(self, out: LayerOutput) -> Tensor:
        """Return whether a neuron is held at rest after a spike, bool, (T, B, n_out)."""
        n = self.step.refractory
        steps = torch.arange(len(out.spikes), device=out.v.device)[:, None, None]
        # the step of the last spike before each step; of those before the window by what remained
        last = torch.where(out.spikes.bool(), steps, -n - 1)
        earlier = (out.before_left.long() - 1 - n)[None]
        last = torch.cat([earlier, last[:-1]]).cummax(0).values
        return steps - last <= n

    def slope(
        self, out: LayerOutput, *, at: str, v_floor: float | None, mask: Tensor | None
    ) -> Tensor:
        """Return the surrogate derivative along a window, 0 where masked, (T, B, n_out)."""
        v = out.v
        if at == "post_reset":
            after = v - self.params.threshold if self.reset == "subtract" else torch.zeros_like(v)
            v = torch.where(out.spikes, after, v)
        slope = surrogate_derivative(v, self.params.threshold, self.params.beta, self.surrogate)
        if v_floor is not None:
            slope = slope.masked_fill(v < v_floor - self.params.v_rest, 0.0)
        return slope if mask is None else slope.masked_fill(mask, 0.0)

    def _check(self, spikes: Tensor) -> None:
        if not isinstance(spikes, Tensor):
            raise TypeError(f"spikes must be a tensor, got {type(spikes).__name__}")
        if spikes.device != self.weight.device:
            raise ValueError(
                f"spikes are on {spikes.device}, the weights on {self.weight.device}; move the "
                "spikes by .to(...)"
            )
        if spikes.ndim != 3 or spikes.shape[2] != self.n_in:
            raise ValueError(
                f"spikes must have shape (T, B, n_in={self.n_in}), got {tuple(spikes.shape)}"
            )
        if spikes.shape[0] < 1 or spikes.shape[1] < 1:
            raise ValueError(f"spikes must have a step and a sample, got {tuple(spikes.shape)}")
        if spikes.dtype != torch.bool:
            check_finite("spikes", spikes.detach())
            if not bool(((spikes == 0) | (spikes == 1)).all()):
                raise ValueError("spikes must be 0 or 1, got other values")
        for name, value in self.named_parameters():
            if not bool(value.isfinite().all()):
                raise RuntimeError(
                    f"{name} of {self} is not finite: {int((~value.isfinite()).sum())} entries"
                )


def _copy(value: Tensor, kind: np.dtype) -> np.ndarray:
    return value.detach().numpy().astype(kind, copy=True)
