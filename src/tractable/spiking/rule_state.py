"""What learning carries from window to window, what a window returns, and the regularizer."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tractable.core.checks import check_choice, check_range
from tractable.spiking.layer import LayerState
from tractable.spiking.network import NetOutput

__all__ = ["Heterosynaptic", "RuleState", "StepResult", "Synapses"]


@dataclass(frozen=True)
class Heterosynaptic:
    r"""Weights of hidden neurons that fire much decay: keeps rates low under random feedback.

    .. math:: g \leftarrow g - \rho \, k W_{ij} \langle z_i^a \rangle, \qquad
        \dot z_i = -z_i / \tau_{het} + S_i

    (P15), with k = 2e-6 for the default constants and steps of 0.1 ms, which turns the paper's
    :math:`\rho` (volts, per time step) into mV and ms.

    Parameters
    ----------
    strength : float
        The paper's rho, >= 0.
    exponent : int
        a, 0 to 8; 0 is plain weight decay.
    tau_het : float
        Time constant of the rate trace, ms, > 0.
    error_dependent : bool
        Multiply by the squared error of the neuron, times the step as in the published code: no
        decay once the problem is solved.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section on the heterosynaptic regularizer.
    """

    strength: float = 1.0
    exponent: int = 4
    tau_het: float = 100.0
    error_dependent: bool = False

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, open_high=True)
        check_choice("exponent", self.exponent, range(9))
        check_range("tau_het", self.tau_het, 0, open_low=True, open_high=True)

    def unit(self, tau_rise: float, beta: float, dt: float) -> float:
        """Return k: the published code measures error times eligibility in volts and steps.

        Its error is ``e dt``, its eligibility ``tau_rise / dt`` times 1000 beta of ours, and our
        gradient is the mean of error times eligibility over ``dt``.
        """
        return 1.0 / (tau_rise * 1000.0 * beta * 1000.0 * dt)


@dataclass(frozen=True)
class Synapses:
    """Traces of one weight matrix: potentials of its inputs, eligibility, what waits for errors."""

    psp: tuple[Tensor, Tensor]
    eligibility: tuple[Tensor, Tensor] | None
    slope_line: Tensor
    trace_line: Tensor


@dataclass(frozen=True)
class RuleState:
    """All that learning carries from one window to the next.

    Attributes
    ----------
    net : tuple of LayerState
        State of the neurons.
    error : (Tensor, Tensor)
        The two averages of the error's kernel, (B, n_out).
    memory : Tensor
        What the loss remembers.
    synapses : tuple
        Traces of every weight matrix.
    rates : tuple of Tensor
        Rate traces of the regularizer, one for each hidden layer.
    """

    net: tuple[LayerState, ...]
    error: tuple[Tensor, Tensor]
    memory: Tensor | None
    synapses: tuple[Synapses, ...]
    rates: tuple[Tensor, ...]


@dataclass(frozen=True)
class StepResult:
    """One window of learning.

    Attributes
    ----------
    cost : float
        Integral of the squared error over the window, in unmatched-spike equivalents, summed
        over output units, mean over samples.
    per_unit_cost : Tensor
        The same for each unit, (n_out,).
    rates : tuple of float
        Mean rate of every layer, Hz.
    grad_norms : tuple of float
        Norm of the gradient of every weight matrix; NaN where it does not learn.
    output : NetOutput
        Spikes and voltages of the window.
    error : Tensor
        Error of the output, 1/ms, (T, B, n_out).
    state : RuleState
        Where the next window starts.
    """

    cost: float
    per_unit_cost: Tensor
    rates: tuple[float, ...]
    grad_norms: tuple[float, ...]
    output: NetOutput = field(repr=False)
    error: Tensor = field(repr=False)
    state: RuleState = field(repr=False)
