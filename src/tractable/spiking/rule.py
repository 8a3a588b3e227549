"""SuperSpike: weights learn from a trace of input, a bump of voltage, and an error (P13)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_range
from tractable.spiking.backend import Backend
from tractable.spiking.feedback import BPTT, Feedback, Symmetric
from tractable.spiking.filters import (
    AlphaFilter,
    exponential_trace,
    floors_of,
    psp_adjoint,
    psp_trace,
)
from tractable.spiking.loss import Loss, VanRossum
from tractable.spiking.network import NetOutput, SpikingNet
from tractable.spiking.params import grid_steps
from tractable.spiking.rule_parts import carried, cut, delayed, online, own_arrivals, product
from tractable.spiking.rule_state import Heterosynaptic, RuleState, StepResult, Synapses
from tractable.spiking.theory import kernel_autocorrelation

__all__ = ["Heterosynaptic", "RuleState", "StepResult", "SuperSpike"]

ENGINES = ("chunked", "online")


@dataclass(frozen=True)
class SuperSpike:
    r"""The three-factor rule.

    .. math:: \frac{dW_{ij}}{dt} = r_{ij} \, e_i(t) \;
        \alpha * \left[\sigma'(U_i) \, (\epsilon * S_j)\right](t)

    (P13): error times a filtered product of the surrogate derivative (P8) and the potential that
    the input causes (P2). `window` integrates the right side over a window and puts its negative
    mean into ``.grad``, so that any optimizer of torch descends.

    Parameters
    ----------
    net : SpikingNet
        The network that learns.
    loss : Loss
        `VanRossum` or `WindowedClassification`, or an object like them.
    feedback : Feedback
        `Symmetric`, `Random`, `Uniform`, `Fixed`, `Frozen`, `BPTT`, or an object like them.
    t_update : float
        Time between two changes of the weights, ms; `window` takes windows of any length.
    tau_rise, tau_decay : float
        Kernel of the eligibility, ms, > 0.
    regularizer : Heterosynaptic or None
        On the hidden layers.
    engine : str
        ``chunked``: weights are constant within a window, so the sum over time is exchanged and
        becomes one matrix product per window; exact. ``online``: eligibility per synapse and step.
    chunk_steps : int
        Longest piece of a window that is held in memory at once, >= 1; `BPTT` takes the window
        whole.
    surrogate_at : str
        Voltage of the derivative: ``pre_reset`` (the one compared with the threshold) or
        ``post_reset`` (published code).
    v_floor : float or None
        Below this voltage, mV, the derivative is 0 (published code: -80).
    mask_refractory : bool
        The derivative is 0 while a neuron is held at rest.
    feedback_delay : float or "auto"
        Delay of the product against the error in hidden layers, ms; ``auto`` is the sum of the
        axonal delays above the layer, 0 that of the published symmetric runs.
    trace_floor : float
        Below this share of what one spike causes at most, the potentials of inputs and the errors
        of outputs are taken as 0 (published code: 1e-7), >= 0. In long silence it spares the
        processor the slow arithmetic of tiny numbers; 0 keeps all.
    stateful : bool
        Carry eligibility from window to window; else each window starts without.

    Notes
    -----
    Memory is that of one chunk, (n_in + n_out) numbers per step and sample, and a few numbers
    per synapse and sample; it does not grow with the duration. For one layer the update is the
    exact gradient of the surrogate graph without reset path; in hidden layers it is not.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 3.

    Examples
    --------
    >>> net = SpikingNet.of_sizes(100, 4, 1)
    >>> rule = SuperSpike(net, feedback=Symmetric())
    >>> inputs, target = torch.rand(5000, 1, 100) < 1e-3, torch.zeros(5000, 1, 1)
    >>> target[1000] = 1
    >>> step = rule.window(inputs, target)
    >>> net.layers[0].weight.grad.shape
    torch.Size([4, 100])
    """

    net: SpikingNet
    loss: Loss = field(default_factory=VanRossum)
    feedback: Feedback = field(default_factory=Symmetric)
    t_update: float = 500.0
    tau_rise: float = 5.0
    tau_decay: float = 10.0
    regularizer: Heterosynaptic | None = None
    engine: Literal["chunked", "online"] = "chunked"
    chunk_steps: int = 5000
    surrogate_at: Literal["pre_reset", "post_reset"] = "pre_reset"
    v_floor: float | None = None
    mask_refractory: bool = False
    feedback_delay: float | Literal["auto"] = "auto"
    trace_floor: float = 0.0
    stateful: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.net, SpikingNet):
            raise TypeError(f"net must be a SpikingNet, got {type(self.net).__name__}")
        check_choice("engine", self.engine, ENGINES)
        check_choice("surrogate_at", self.surrogate_at, ("pre_reset", "post_reset"))
        check_range("t_update", self.t_update, 0, open_low=True, open_high=True)
        check_range("tau_rise", self.tau_rise, 0, open_low=True, open_high=True)
        check_range("tau_decay", self.tau_decay, 0, open_low=True, open_high=True)
        check_count("chunk_steps", self.chunk_steps)
        check_range("trace_floor", self.trace_floor, 0, 1)
        if not isinstance(self.feedback_delay, str):
            check_range("feedback_delay", self.feedback_delay, 0, open_high=True)
        else:
            check_choice("feedback_delay", self.feedback_delay, ("auto",))
        if isinstance(self.loss, type) or not hasattr(self.loss, "impulses"):
            raise TypeError(
                f"loss must be VanRossum(), WindowedClassification() or have impulses(...), "
                f"got {self.loss!r}"
            )
        if isinstance(self.feedback, type) or not hasattr(self.feedback, "errors"):
            raise TypeError(
                f"feedback must have a method errors(net, error), got {self.feedback!r}; "
                "Symmetric(), Random(), Uniform(), Fixed(B), Frozen() and BPTT() have"
            )
        if isinstance(self.feedback, BPTT):
            self._check_bptt()

    def _check_bptt(self) -> None:
        if self.engine == "online":
            raise ValueError("feedback=BPTT() needs engine='chunked'")
        if any(layer.recurrent_weight is not None for layer in self.net.layers):
            raise ValueError(
                "feedback=BPTT() follows feed-forward weights only, and the net has recurrent "
                "ones: take a net with recurrent=False, or autograd of net(...)"
            )
        if self.regularizer is not None and self.regularizer.error_dependent:
            raise ValueError(
                "feedback=BPTT() sends no error to hidden neurons, which "
                "Heterosynaptic(error_dependent=True) needs"
            )

    # --- what learns --------------------------------------------------------------------------

    def weights(self) -> list[tuple[int, bool, nn.Parameter]]:
        """Return (layer, recurrent?, matrix) of all weights, in the order of the results."""
        found = []
        for index, layer in enumerate(self.net.layers):
            found.append((index, False, layer.weight))
            if layer.recurrent_weight is not None:
                found.append((index, True, layer.recurrent_weight))
        return found

    def window_steps(self) -> int:
        """Return ``t_update`` in steps."""
        return max(1, grid_steps("t_update", self.t_update, self.net.dt))

    def initial_state(self, n_batch: int = 1) -> RuleState:
        """Return the state before the first window."""
        layers = list(self.net.layers)
        return RuleState(
            self.net.initial_state(n_batch),
            (self._zeros(n_batch, layers[-1].n_out), self._zeros(n_batch, layers[-1].n_out)),
            None,
            tuple(self._synapses(n_batch, i, w) for i, _, w in self.weights()),
            tuple(self._zeros(n_batch, layer.n_out) for layer in layers[:-1]),
        )

    def _zeros(self, *shape: int) -> Tensor:
        return self.net.layers[-1].weight.detach().new_zeros(shape)

    def _synapses(self, n_batch: int, index: int, weight: nn.Parameter) -> Synapses:
        n_out, n_in = weight.shape
        delay = self._delay_steps(index)
        return Synapses(
            (self._zeros(n_batch, n_in), self._zeros(n_batch, n_in)),
            None,
            self._zeros(delay, n_batch, n_out),
            self._zeros(delay, n_batch, n_in),
        )

    def _delay_steps(self, index: int) -> int:
        """Return by how many steps the product of a layer waits for its error."""
        above = list(self.net.layers)[index + 1 :]
        if not above or isinstance(self.feedback, BPTT):
            return 0
        if self.feedback_delay == "auto":
            return sum(layer.params.delay_steps for layer in above)
        return grid_steps("feedback_delay", float(self.feedback_delay), self.net.dt)

    # --- a window -----------------------------------------------------------------------------

    @torch.no_grad()
    def window(self, spikes: Tensor, target: Any, state: RuleState | None = None) -> StepResult:
        """Simulate a window, and put the negative of the mean update into every ``.grad``.

        Parameters
        ----------
        spikes : Tensor
            Input spikes, (T, B, n_in), bool or 0 and 1.
        target : Tensor or WindowTarget
            What the loss wants, over the same window.
        state : RuleState, optional
            From the window before; rest when absent.

        Returns
        -------
        StepResult

        Raises
        ------
        ValueError
            For wrong shapes or entries.
        RuntimeError
            When weights are not finite.
        """
        before = state or self.initial_state(spikes.shape[1])
        output = self.net.simulate(spikes, before.net)
        x, memory = self.loss.impulses(output.spikes, target, before.memory)
        n_steps, n_batch = spikes.shape[:2]
        dtype = self.net.layers[-1].weight.dtype
        error_filter = AlphaFilter(
            self.loss.tau_rise, self.loss.tau_decay, self.net.dt, self.trace_floor,
            self.net.layers[-1].backend,
        )  # fmt: skip
        error, error_state = error_filter(x.to(dtype) / self.net.dt, before.error)
        totals: list[Tensor | None] = [None] * len(before.synapses)
        synapses, rates = before.synapses, before.rates
        decays: list[Tensor] = [torch.zeros(())] * len(rates)
        length = n_steps if isinstance(self.feedback, BPTT) else self.chunk_steps
        for start in range(0, n_steps, length):
            part = slice(start, min(start + length, n_steps))
            last = part.stop == n_steps
            synapses = self._chunk(output, error, part, synapses, totals, last)
            if self.regularizer is not None:
                rates = self._decay(output, error, part, rates, decays)
        norms = self._fill(totals, decays, n_steps * n_batch)
        square = error.square().sum((0, 1)) * self.net.dt / n_batch
        per_unit = square / float(
            kernel_autocorrelation(0.0, self.loss.tau_rise, self.loss.tau_decay)
        )
        if not self.stateful:
            synapses = tuple(replace(s, eligibility=None) for s in synapses)
        return StepResult(
            float(per_unit.sum()),
            per_unit,
            tuple(1000 / self.net.dt * float(out.spikes.float().mean()) for out in output.layers),
            norms,
            output,
            error,
            RuleState(output.state, error_state, memory, synapses, rates),
        )

    def _fill(self, totals: list[Tensor | None], decays: list[Tensor], n: int) -> tuple[float, ...]:
        norms = []
        for (index, _, weight), total in zip(self.weights(), totals, strict=True):
            if total is None:
                weight.grad = None
                norms.append(math.nan)
                continue
            # the negative gradient of the loss for each ms of the window, mean over samples: the
            # surrogate is that of a spike in one step, so a spike train (1/ms) has it over dt
            g = total / (n * self.net.dt)
            if self.regularizer is not None and index < len(decays):
                beta = self.net.layers[index].params.beta
                unit = self.regularizer.unit(self.tau_rise, beta, self.net.dt)
                rate = self.regularizer.strength * unit * decays[index] / n
                g = g - rate[:, None] * weight.detach()
            weight.grad = -g
            norms.append(float(g.norm()))
        return tuple(norms)

    def _chunk(
        self,
        output: NetOutput,
        error: Tensor,
        part: slice,
        synapses: tuple[Synapses, ...],
        totals: list[Tensor | None],
        last: bool,
    ) -> tuple[Synapses, ...]:
        outs = [cut(out, part) for out in output.layers]
        slopes = []
        for layer, whole, out in zip(self.net.layers, output.layers, outs, strict=True):
            held = layer.held(whole)[part] if self.mask_refractory else None
            slopes.append(layer.slope(out, at=self.surrogate_at, v_floor=self.v_floor, mask=held))
        errors = self.feedback.errors(self.net, error[part])
        deltas = (
            self._backpropagated(errors[-1], slopes) if isinstance(self.feedback, BPTT) else None
        )
        after = []
        for k, (index, recurrent, _) in enumerate(self.weights()):
            layer = self.net.layers[index]
            arrived = outs[index].arrived
            if recurrent:
                arrived = own_arrivals(output.layers[index], layer, part)
            trace, psp = psp_trace(
                arrived.bool(), layer.step, synapses[k].psp,
                floors=floors_of(layer.params, self.trace_floor), backend=layer.backend,
            )  # fmt: skip
            new = replace(synapses[k], psp=psp)
            heard = errors[index]
            if deltas is not None and index < len(deltas):
                total = product(deltas[index], trace)
            elif heard is None:
                after.append(new)
                continue
            else:
                total, new = self._accumulate(heard, slopes[index], trace, new, last, layer.backend)
            before = totals[k]
            totals[k] = total if before is None else before + total
            after.append(new)
        return tuple(after)

    def _accumulate(
        self, error: Tensor, slope: Tensor, trace: Tensor, before: Synapses, last: bool,
        backend: Backend,
    ) -> tuple[Tensor, Synapses]:  # fmt: skip
        """Return the integral of error times eligibility over a piece, and the traces after it."""
        slope, slope_line = delayed(slope, before.slope_line)
        trace, trace_line = delayed(trace, before.trace_line)
        # the gradient has the kernel of the loss on both sides
        source: Any = self.loss if isinstance(self.feedback, BPTT) else self
        kernel = AlphaFilter(source.tau_rise, source.tau_decay, self.net.dt, backend=backend)
        if self.engine == "online":
            total, eligibility = online(error, slope, trace, kernel, before.eligibility)
        else:
            filtered, s_rise, s_decay = kernel.adjoint(error.contiguous())
            total = product(filtered * slope, trace)
            if before.eligibility is not None:
                rise, decay = before.eligibility
                total = total + (rise * s_rise[:, :, None] + decay * s_decay[:, :, None]).sum(0)
            eligibility = None
            if self.stateful or not last:
                eligibility = carried(slope, trace, kernel, before.eligibility)
        return total, replace(
            before, eligibility=eligibility, slope_line=slope_line, trace_line=trace_line
        )

    def _backpropagated(self, error: Tensor | None, slopes: list[Tensor]) -> list[Tensor]:
        """Return dL/dU of every hidden layer in the graph without reset path, times -1."""
        assert error is not None  # of the output
        layers = list(self.net.layers)
        last = layers[-1].backend
        kernel = AlphaFilter(self.loss.tau_rise, self.loss.tau_decay, self.net.dt, backend=last)
        delta = kernel.adjoint(error.contiguous())[0] * slopes[-1]
        found: list[Tensor] = []
        for index in range(len(layers) - 1, 0, -1):
            layer = layers[index]
            arriving = psp_adjoint(delta, layer.step, backend=layer.backend) @ layer.weight.detach()
            delay = layer.params.delay_steps
            emitted = torch.zeros_like(arriving)
            emitted[: max(len(arriving) - delay, 0)] = arriving[delay:]
            delta = emitted * slopes[index - 1]
            found.insert(0, delta)
        return found

    def _decay(
        self,
        output: NetOutput,
        error: Tensor,
        part: slice,
        rates: tuple[Tensor, ...],
        decays: list[Tensor],
    ) -> tuple[Tensor, ...]:
        regularizer = self.regularizer
        assert regularizer is not None  # the caller asks
        keep = math.exp(-self.net.dt / regularizer.tau_het)
        errors = self.feedback.errors(self.net, error[part]) if regularizer.error_dependent else []
        after = []
        for i, before in enumerate(rates):
            z, state = exponential_trace(
                output.layers[i].spikes[part], keep, before, backend=self.net.layers[i].backend
            )
            zeta = z**regularizer.exponent
            hidden = errors[i] if regularizer.error_dependent else None
            if hidden is not None:
                zeta = zeta * (hidden * self.net.dt).square()
            decays[i] = decays[i] + zeta.sum((0, 1))
            after.append(state)
        return tuple(after)
