"""One linear channel between two noises that carries the most information: the solvable retina."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tractable.core.checks import as_floats, check_finite, check_range

__all__ = ["EfficientChannel", "efficient_channel"]


@dataclass(frozen=True, eq=False)
class EfficientChannel:
    """The filter of one channel that carries the most information about images.

    Parameters
    ----------
    gain2 : ndarray of float64
        Squared gain of each mode, in the order of `numpy.fft`.
    rf : ndarray of float64
        Receptive field, zero phase, its center at index 0; `numpy.fft.fftshift` moves it.
    mu : float
        Multiplier of the power.
    information : float
        Nats per pixel.
    power : float
        Power of the output without its own noise.
    """

    gain2: np.ndarray
    rf: np.ndarray
    mu: float
    information: float
    power: float

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        dims = tuple(f"axis_{i}" for i in range(self.rf.ndim))
        return xr.Dataset(
            {"gain2": (dims, self.gain2), "rf": (dims, self.rf)},
            attrs={"mu": self.mu, "information": self.information, "power": self.power},
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> EfficientChannel:
        """Return what `to_dataset` wrote."""
        numbers = {name: float(dataset.attrs[name]) for name in ("mu", "information", "power")}
        return cls(dataset["gain2"].values, dataset["rf"].values, **numbers)


def efficient_channel(
    power_spectrum: np.ndarray, noise_in: float, noise_out: float, power: float
) -> EfficientChannel:
    r"""Return the filter F of y = F (x + n_in) + n_out with the most information at a given power.

    With S the spectrum, N and M the variances of the noises and ``a = |F|^2`` of each mode,

    .. math::
        \max_a \left\langle \tfrac12 \log \frac{a (S + N) + M}{a N + M} \right\rangle
        \quad \text{at} \quad \langle a (S + N) \rangle = P.

    Parameters
    ----------
    power_spectrum : ndarray
        S of each mode in the order of `numpy.fft`, not negative; its mean is the variance of a
        pixel.
    noise_in : float
        N, variance of the noise of a pixel, 0 or more. (`RetinaVVS` takes a standard deviation.)
    noise_out : float
        M > 0, variance of the noise of an output.
    power : float
        P > 0.

    Returns
    -------
    EfficientChannel

    Notes
    -----
    Only the gain follows; the phase is chosen zero, which makes the most compact field. A mode
    is used where S / (S + N) > mu M. Without noise at the input the filter whitens.

    References
    ----------
    Atick, Redlich 1992, Neural Computation 4, 196-210, doi:10.1162/neco.1992.4.2.196

    Examples
    --------
    >>> f = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    >>> f[0, 0] = 0.5 / 32
    >>> channel = efficient_channel(f**-2 / (f**-2).mean(), 0.05, 0.1, 1.0)
    >>> round(channel.mu, 5), round(channel.information, 5)
    (0.35827, 0.76753)
    >>> round(float(channel.rf[0, 1] / channel.rf[0, 0]), 4)
    -0.0947
    """
    from scipy.optimize import brentq

    s = as_floats("power_spectrum", power_spectrum)
    check_finite("power_spectrum", s)
    if s.size == 0:
        raise ValueError(f"power_spectrum must hold one mode or more, got shape {s.shape}")
    if s.ndim == 0 or s.min() < 0 or s.max() <= 0:
        raise ValueError(
            "power_spectrum must be an array of non-negative powers, not all zero, got shape "
            f"{s.shape} from {s.min()} to {s.max()}"
        )
    check_range("noise_in", noise_in, 0)
    check_range("noise_out", noise_out, 0, open_low=True)
    check_range("power", power, 0, open_low=True)
    n, m, p = float(noise_in), float(noise_out), float(power)
    top = np.log(float((s / (s + n + (s + n == 0))).max()) / m)

    def excess(log_mu: float) -> float:
        return float(
            np.log((_gain2(s, n, m, np.exp(log_mu)) * (s + n)).mean() + 1e-300) - np.log(p)
        )

    low = np.log(1e-30 / m)
    if excess(low) < 0:
        raise ValueError(
            f"power must be reachable, got {power} with noise_out={noise_out}; "
            "take a smaller power or a larger noise_out"
        )
    mu = float(np.exp(brentq(excess, low, top, xtol=1e-14, rtol=1e-14, maxiter=500)))
    a = _gain2(s, n, m, mu)
    information = float(0.5 * np.log((a * (s + n) + m) / (a * n + m)).mean())
    rf = np.fft.ifftn(np.sqrt(a)).real
    return EfficientChannel(a, rf, mu, information, float((a * (s + n)).mean()))


def _gain2(s: np.ndarray, n: float, m: float, mu: float) -> np.ndarray:
    """Return the squared gain where the derivative vanishes, in the form without cancellation."""
    numerator = 2 * m * (s / mu - m * (s + n))
    root = np.sqrt((m * s) ** 2 + 4 * n * m * s / mu)
    denominator = (s + n) * (root + m * (s + 2 * n))
    return np.where(
        (numerator > 0) & (denominator > 0),
        numerator / np.where(denominator > 0, denominator, 1.0),
        0.0,
    )
