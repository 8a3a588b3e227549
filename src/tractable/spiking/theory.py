"""What is known in closed form: potentials, rates, kernels, moments. NumPy, float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_choice, check_count, check_finite, check_range
from tractable.spiking.params import LIFParams

__all__ = [
    "alpha_kernel",
    "fi_curve",
    "fluctuation_driven",
    "kernel_autocorrelation",
    "membrane_std",
    "psp",
    "psp_energy",
    "zeta_moment",
]


def psp(t: ArrayLike, tau_mem: float = 10.0, tau_syn: float = 5.0) -> np.ndarray:
    r"""Return the postsynaptic potential of one spike through a weight of 1 mV.

    .. math:: \epsilon(t) = \frac{\tau_s}{\tau_m - \tau_s}
        \left(e^{-t/\tau_m} - e^{-t/\tau_s}\right), \qquad t \ge 0

    (P2); equal time constants are the limit :math:`(t/\tau) e^{-t/\tau}`.

    Parameters
    ----------
    t : array_like
        Time since the spike arrived, ms; any shape. Before it the potential is 0.
    tau_mem, tau_syn : float
        Time constants, ms, > 0.

    Returns
    -------
    ndarray
        mV per mV of weight, shape of ``t``.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section 2.

    Examples
    --------
    >>> float(psp(10 * np.log(2)))
    0.25
    >>> float(psp(5.0, 5.0, 5.0))
    0.36787944
    """
    time = _finite("t", t)
    _positive(tau_mem=tau_mem, tau_syn=tau_syn)
    slow = max(tau_mem, tau_syn)
    late = np.maximum(time, 0.0)
    x = late * abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1.0), 1.0)
    return late / tau_mem * np.exp(-late / slow) * share


def psp_energy(tau_mem: float = 10.0, tau_syn: float = 5.0) -> float:
    r"""Return :math:`\int \epsilon^2 dt = \tau_s^2 / (2 (\tau_m + \tau_s))`, ms.

    Examples
    --------
    >>> psp_energy()
    0.8333333
    """
    _positive(tau_mem=tau_mem, tau_syn=tau_syn)
    return tau_syn**2 / (2 * (tau_mem + tau_syn))


def membrane_std(
    weight_std: ArrayLike, n_inputs: int, rate_hz: ArrayLike, params: LIFParams | None = None
) -> np.ndarray:
    r"""Return the standard deviation of the free membrane potential under Poisson input.

    .. math:: \mathrm{std}(U) = \sigma_W \sqrt{n \nu \textstyle\int \epsilon^2 dt}

    (P3), for weights of zero mean; use it to choose the initial scale.

    Parameters
    ----------
    weight_std : array_like
        Standard deviation of the weights, mV, >= 0.
    n_inputs : int
        Number of inputs, >= 1.
    rate_hz : array_like
        Rate of each input, Hz, >= 0.
    params : LIFParams, optional
        Time constants; the default ones when absent.

    Examples
    --------
    >>> float(membrane_std(5.0, 100, 5.0))
    3.2274861
    """
    constants = params or LIFParams()
    spread, rate = _finite("weight_std", weight_std), _finite("rate_hz", rate_hz)
    check_range("weight_std", float(np.min(spread)), 0, open_high=True)
    check_range("rate_hz", float(np.min(rate)), 0, open_high=True)
    check_count("n_inputs", n_inputs)
    energy = psp_energy(constants.tau_mem, constants.tau_syn)
    return spread * np.sqrt(n_inputs * rate / 1000 * energy)


def fluctuation_driven(
    rate_hz: float, std_mv: float = 5.0, params: LIFParams | None = None
) -> float:
    r"""Return the initial scale ``w0`` at which the input makes the voltage fluctuate by a spread.

    .. math:: w_0 = \mathrm{std}(U) \Big/ \sqrt{\nu \textstyle\int \epsilon^2 dt}

    which is (P3) with :math:`\sigma_W = w_0 / \sqrt{n}`, whatever the number of inputs. A spread of
    half the distance to threshold, the default at 10 mV, makes neurons fire now and then from the
    start: neither silent, from where spike-based rules learn slowly, nor regular.

    Parameters
    ----------
    rate_hz : float
        Rate of each input, Hz, > 0.
    std_mv : float
        Wanted standard deviation of the free voltage, mV, > 0.
    params : LIFParams, optional
        Time constants; the default ones when absent.

    Returns
    -------
    float
        For ``w0`` of `LIFLayer` and `SpikingNet.of_sizes`, mV.

    Examples
    --------
    >>> w0 = fluctuation_driven(5.0)
    >>> w0
    77.4596669
    >>> float(membrane_std(w0 / 100**0.5, 100, 5.0))
    5.0
    """
    _positive(rate_hz=rate_hz, std_mv=std_mv)
    return float(std_mv / membrane_std(1.0, 1, rate_hz, params))


def fi_curve(current_mv: ArrayLike, params: LIFParams | None = None) -> np.ndarray:
    r"""Return the rate of a neuron under a constant current.

    .. math:: f = \frac{1}{t_{ref} + \tau_m \ln\frac{I}{I - h}}, \qquad h = \vartheta - U_{rest}

    (P4), and 0 where :math:`I \le h`.

    Parameters
    ----------
    current_mv : array_like
        Constant current in mV; any shape.
    params : LIFParams, optional
        Constants of the neuron.

    Returns
    -------
    ndarray
        Rate in Hz.

    Examples
    --------
    >>> fi_curve([5.0, 12.0, 30.0])
    array([  0.        ,  43.634597, 110.440479])
    """
    constants = params or LIFParams()
    current = _finite("current_mv", current_mv)
    h = constants.threshold
    above = current > h
    drive = np.where(above, current, 2 * h)
    interval = constants.t_ref + constants.tau_mem * np.log(drive / (drive - h))
    return np.where(above, 1000 / interval, 0.0)


def alpha_kernel(t: ArrayLike, tau_rise: float = 5.0, tau_decay: float = 10.0) -> np.ndarray:
    r"""Return the kernel of error and eligibility, of unit area.

    .. math:: \alpha(t) = \frac{e^{-t/\tau_d} - e^{-t/\tau_r}}{\tau_d - \tau_r}

    (P5), in 1/ms.

    Examples
    --------
    >>> float(alpha_kernel(10 * np.log(2)))
    0.05
    """
    _positive(tau_rise=tau_rise, tau_decay=tau_decay)
    return psp(t, tau_decay, tau_rise) / tau_rise


def kernel_autocorrelation(
    lag_ms: ArrayLike, tau_rise: float = 5.0, tau_decay: float = 10.0
) -> np.ndarray:
    r"""Return :math:`R(\Delta) = \int \alpha(t) \alpha(t + \Delta) dt`.

    .. math:: R(\Delta) = \frac{\tau_d e^{-|\Delta|/\tau_d} - \tau_r e^{-|\Delta|/\tau_r}}
        {2 (\tau_d^2 - \tau_r^2)}

    (P6); equal time constants are the limit
    :math:`(\tau + |\Delta|) e^{-|\Delta|/\tau} / (4 \tau^2)`.

    Parameters
    ----------
    lag_ms : array_like
        Lag, ms; any shape.
    tau_rise, tau_decay : float
        Time constants of the kernel, ms, > 0.

    Returns
    -------
    ndarray
        1/ms.

    References
    ----------
    Derived from Zenke, Ganguli 2018, arXiv:1705.11146, section 3.

    Examples
    --------
    >>> float(kernel_autocorrelation(0.0)) * 30
    1.0
    """
    lag = np.abs(_finite("lag_ms", lag_ms))
    _positive(tau_rise=tau_rise, tau_decay=tau_decay)
    r, d = tau_rise, tau_decay
    if abs(d - r) > 1e-6 * (d + r):
        return (d * np.exp(-lag / d) - r * np.exp(-lag / r)) / (2 * (d**2 - r**2))
    tau = (d + r) / 2  # the divided difference of tau exp(-lag / tau), to second order
    return (tau + lag) * np.exp(-lag / tau) / (4 * tau**2)


def zeta_moment(x: ArrayLike, exponent: int = 4) -> np.ndarray:
    r"""Return the moment :math:`E z^a` of the rate trace of a Poisson neuron.

    The trace :math:`\dot z = -z/\tau + S` of spikes at rate :math:`\nu` has the cumulants
    :math:`k_n = x / n` with :math:`x = \nu \tau` (P7); hence
    :math:`E z^4 = \frac{x}{12} (3 + 25 x + 36 x^2 + 12 x^3)`.

    Parameters
    ----------
    x : array_like
        Rate times time constant, >= 0.
    exponent : int
        a = 0, 1, ..., 8.

    References
    ----------
    Zenke, Ganguli 2018, arXiv:1705.11146, section on the heterosynaptic regularizer.

    Examples
    --------
    >>> float(zeta_moment(2.0))
    48.833333
    """
    rate = _finite("x", x)
    check_range("x", float(np.min(rate)) if rate.size else 0.0, 0, open_high=True)
    check_choice("exponent", exponent, range(9))
    moments = [np.ones_like(rate)]
    for n in range(1, exponent + 1):  # moments from cumulants
        terms = [_choose(n - 1, k - 1) * (rate / k) * moments[n - k] for k in range(1, n + 1)]
        moments.append(np.sum(terms, axis=0))
    return moments[exponent]


def _choose(n: int, k: int) -> int:
    from math import comb

    return comb(n, k)


def _positive(**times: float) -> None:
    for name, value in times.items():
        check_finite(name, value)
        check_range(name, value, 0, open_low=True, open_high=True)


def _finite(name: str, value: ArrayLike) -> np.ndarray:
    array = as_floats(name, value)
    check_finite(name, array)
    return array
