"""The neuron's constants in milliseconds and millivolts, checked once, and its step on a grid."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

from tractable.core.checks import TractableWarning, check_finite, check_range

__all__ = ["INTEGRATORS", "LIFParams", "Step", "grid_steps"]

Integrator = Literal["exact", "euler", "peer_euler"]
INTEGRATORS = ("exact", "euler", "peer_euler")


@dataclass(frozen=True)
class Step:
    """Coefficients of one time step, voltages relative to rest.

    ``U' = a U + c I`` and ``I' = b I + jump``, where ``I`` is the current before the step, or
    after it where ``current_first`` (the order of other packages).
    """

    a: float
    b: float
    c: float
    current_first: bool
    refractory: int
    delay: int


@dataclass(frozen=True)
class LIFParams:
    r"""Constants of a leaky integrate-and-fire neuron with exponential synaptic currents.

    .. math:: \tau_{mem} \dot U = U_{rest} - U + I, \qquad
        \dot I = -I / \tau_{syn} + \sum_j W_{ij} S_j(t - d)

    (P1). A spike is emitted when :math:`U > \vartheta` (strictly); then :math:`U` is set to rest
    and stays there for ``t_ref``, while the current goes on.

    Parameters
    ----------
    tau_mem, tau_syn : float
        Time constants of membrane and synaptic current, ms, > 0.
    t_ref : float
        Refractory time, ms, >= 0; below ``dt`` it is none.
    v_rest, v_th : float
        Rest (also the reset) and threshold, mV, ``v_th > v_rest``.
    delay : float
        Axonal delay of every spike that crosses a connection, ms, >= 0. Without delay a spike
        acts in the next step.
    beta : float
        Steepness of the surrogate derivative, 1/mV, > 0.
    dt : float
        Time step, ms, > 0 and at most ``tau_syn / 2``.

    Raises
    ------
    ValueError
        For a value outside its range, naming the field.

    Notes
    -----
    Weights are in mV: one spike through a weight W raises the current by W at once and the
    voltage by at most W / 4 (10 and 5 ms). The published code counts in volts and seconds; its
    weight bound 0.1 is 100 mV here, its learning rate 1e-3 is 1 mV.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 2.

    Examples
    --------
    >>> step = LIFParams().step("exact")
    >>> step.refractory, step.delay
    (50, 8)
    >>> round(step.a, 6), round(step.c, 6)
    (0.99005, 0.009851)
    """

    tau_mem: float = 10.0
    tau_syn: float = 5.0
    t_ref: float = 5.0
    v_rest: float = -60.0
    v_th: float = -50.0
    delay: float = 0.8
    beta: float = 1.0
    dt: float = 0.1

    def __post_init__(self) -> None:
        for name in ("tau_mem", "tau_syn", "t_ref", "v_rest", "v_th", "delay", "beta", "dt"):
            check_finite(name, getattr(self, name))
        for name in ("tau_mem", "tau_syn", "beta", "dt"):
            check_range(name, getattr(self, name), 0, open_low=True, open_high=True)
        for name in ("t_ref", "delay"):
            check_range(name, getattr(self, name), 0, open_high=True)
        if self.v_th <= self.v_rest:
            raise ValueError(f"v_th must be above v_rest, got {self.v_th} and {self.v_rest} mV")
        if self.dt > self.tau_syn / 2:
            raise ValueError(
                f"dt must be at most tau_syn / 2 = {self.tau_syn / 2:g} ms, got {self.dt:g}"
            )
        if self.dt > min(self.tau_syn, self.tau_mem) / 10:
            warnings.warn(
                f"dt = {self.dt:g} ms is more than a tenth of the shortest time constant",
                TractableWarning,
                stacklevel=3,
            )

    @property
    def threshold(self) -> float:
        """Threshold relative to rest, mV."""
        return self.v_th - self.v_rest

    def step(self, integrator: Integrator = "exact") -> Step:
        """Return the coefficients of one time step.

        ``exact`` solves (P1) between spikes exactly; ``euler`` is the first-order step of the
        published code, with an exact decay of the current; ``peer_euler`` is the full Euler step
        of other packages, with the current updated first.
        """
        from tractable.core.checks import check_choice

        check_choice("integrator", integrator, INTEGRATORS)
        m, s = self.dt / self.tau_mem, self.dt / self.tau_syn
        refractory, delay = grid_steps("t_ref", self.t_ref, self.dt), self.delay_steps
        if integrator == "peer_euler":
            return Step(1 - m, 1 - s, m, True, refractory, delay)
        if integrator == "euler":
            return Step(1 - m, math.exp(-s), m, False, refractory, delay)
        # tau_syn / (tau_mem - tau_syn) (a - b), written so that equal time constants are no pole
        x = s - m
        c = m * math.exp(-s) * (math.expm1(x) / x if x else 1.0)
        return Step(math.exp(-m), math.exp(-s), c, False, refractory, delay)

    @property
    def delay_steps(self) -> int:
        """Axonal delay in steps."""
        return grid_steps("delay", self.delay, self.dt)


def grid_steps(name: str, time_ms: float, dt: float) -> int:
    """Return a time in steps, rounded half to even; a time off the grid is said so.

    Examples
    --------
    >>> grid_steps("delay", 0.8, 0.1)
    8
    """
    steps = time_ms / dt
    count = round(steps)
    if name == "t_ref" and time_ms < dt:
        return 0
    if abs(steps - count) > 1e-6 * max(1.0, steps):
        warnings.warn(
            f"{name} = {time_ms:g} ms is no multiple of dt = {dt:g} ms; {count * dt:g} ms is taken",
            TractableWarning,
            stacklevel=3,
        )
    return count
