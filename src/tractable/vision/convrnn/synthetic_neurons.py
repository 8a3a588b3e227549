"""Neurons whose rates, latencies and reliabilities are known: the ground truth of fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range
from tractable.vision.convrnn.recordings import Recordings
from tractable.vision.convrnn.reliability import poisson_reliability

__all__ = ["SyntheticNeurons", "SyntheticRecordings", "ar2_latents"]


@dataclass(frozen=True, eq=False)
class SyntheticRecordings:
    """What `SyntheticNeurons.record` returns.

    Parameters
    ----------
    recordings : Recordings
        Spike counts (images, repetitions, neurons, bins).
    rates : ndarray, shape (images, neurons, bins)
        Expected rates in Hz, of a trial whose gain is 1.
    reliability : ndarray, shape (neurons, bins)
        Exact, of the mean over the repetitions: (C12).
    average_reliability : ndarray, shape (neurons,)
        Exact, of the mean over repetitions and bins: (C18).
    weights : ndarray, shape (p, neurons)
        Of the readout; few are not 0.
    latency_bins : ndarray, shape (neurons,)
        Bins by which each neuron follows its features.
    """

    recordings: Recordings
    rates: np.ndarray
    reliability: np.ndarray
    average_reliability: np.ndarray
    weights: np.ndarray
    latency_bins: np.ndarray


@dataclass(frozen=True)
class SyntheticNeurons:
    r"""Spike counts of neurons that read a few features each.

    .. math:: \mu_{int} = \frac{c_n \Delta}{1000}\, \log(1 + e^{(z_{in,t-\ell} - \theta) / s}),
        \qquad z_{in} = \sum_k w_{kn} f_{ik}

    (C17): a sparse random readout, standardized over images and bins; soft rectification, scaled
    to the wanted mean rate; bins of Delta ms. In a repetition all rates are multiplied by one gain
    of mean 1, and counts are Poisson or, with dispersion, negative binomial.

    Parameters
    ----------
    n_neurons : int
        Neurons of each area, >= 1.
    n_inputs : int
        Features that a neuron reads, >= 1 (at most all).
    rate_hz : float
        Mean rate of each neuron, > 0.
    threshold : float
        Theta, in standard deviations of z.
    softness : float
        s > 0: small is a hard rectification, large a linear neuron.
    dispersion : float
        :math:`\phi \ge 0` of negative binomial counts: variance :math:`\mu + \phi \mu^2`.
    gain_sd : float
        Standard deviation of the gain of a repetition, >= 0.
    bin_ms : float
        Duration of a bin.
    latency_bins : mapping of str to int
        Areas, and the bins by which they follow the features, >= 0.

    Examples
    --------
    >>> features = ar2_latents(40, 8, 12, seed=0)
    >>> found = SyntheticNeurons(n_neurons=5).record(features, n_repeats=6, seed=1)
    >>> found.recordings.shape, found.reliability.shape
    ((40, 6, 5, 12), (5, 12))
    """

    n_neurons: int = 60
    n_inputs: int = 10
    rate_hz: float = 50.0
    threshold: float = 0.0
    softness: float = 1.0
    dispersion: float = 0.0
    gain_sd: float = 0.0
    bin_ms: float = 10.0
    latency_bins: Mapping[str, int] = field(default_factory=lambda: {"IT": 0})

    def __post_init__(self) -> None:
        for name in ("n_neurons", "n_inputs"):
            check_count(name, getattr(self, name))
        for name in ("rate_hz", "softness", "bin_ms"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        for name in ("dispersion", "gain_sd"):
            check_range(name, getattr(self, name), 0.0)
        check_range("threshold", self.threshold)
        if not self.latency_bins:
            raise ValueError("latency_bins must name an area at least")
        for area, latency in self.latency_bins.items():
            check_count(f"latency_bins[{area!r}]", latency, 0)

    def rates(self, features: ArrayLike, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return rates (images, neurons, bins) in Hz, and the weights (p, neurons).

        Parameters
        ----------
        features : array_like, shape (images, p, bins) or (images, p)
            Of one area, or of all areas alike; without bins they do not change in time.
        seed : int
            Decides the weights.
        """
        F = _features(features)
        check_count("seed", seed, 0)
        _, p, n_bins = F.shape
        random = np.random.default_rng([seed, 1])
        areas = list(self.latency_bins)
        weights = np.zeros((p, self.n_neurons * len(areas)))
        for column in weights.T:
            chosen = random.permutation(p)[: self.n_inputs]
            column[chosen] = random.normal(size=len(chosen))
        z = np.einsum("ipt,pn->int", F, weights, optimize=True)
        z = z - z.mean((0, 2), keepdims=True)
        scale = z.std((0, 2), keepdims=True)
        z = np.divide(z, scale, out=np.zeros_like(z), where=scale > 1e-12)
        for number, area in enumerate(areas):
            own = slice(number * self.n_neurons, (number + 1) * self.n_neurons)
            late = np.clip(np.arange(n_bins) - self.latency_bins[area], 0, None)
            z[:, own] = z[:, own][:, :, late]
        rate = np.logaddexp(0.0, (z - self.threshold) / self.softness)
        return rate * (self.rate_hz / rate.mean((0, 2), keepdims=True)), weights

    def record(
        self, features: ArrayLike, n_repeats: int = 10, seed: int = 0, *, draw: int = 0
    ) -> SyntheticRecordings:
        """Return spike counts of repeated presentations, with their exact reliabilities.

        Parameters
        ----------
        features : array_like, shape (images, p, bins) or (images, p)
            What drives the neurons.
        n_repeats : int
            Repetitions R, >= 1.
        seed : int
            Decides the neurons.
        draw : int
            Another one is another recording of the same neurons.
        """
        check_count("n_repeats", n_repeats)
        check_count("draw", draw, 0)
        rates, weights = self.rates(features, seed)
        mu = rates * self.bin_ms / 1000.0
        random = np.random.default_rng([seed, 2, draw])
        shape = (len(mu), n_repeats, 1, 1)
        expected = np.broadcast_to(mu[:, None], (len(mu), n_repeats, *mu.shape[1:]))
        if self.gain_sd:
            k = self.gain_sd**-2
            expected = expected * random.gamma(k, 1.0 / k, shape)
        if self.dispersion:
            expected = random.gamma(1.0 / self.dispersion, self.dispersion * expected)
        counts = random.poisson(expected).astype(np.float32)
        areas = [area for area in self.latency_bins for _ in range(self.n_neurons)]
        latency = np.array([self.latency_bins[area] for area in areas])
        recordings = Recordings.from_array(
            counts, areas=areas, time_ms=np.arange(mu.shape[2]) * self.bin_ms
        )
        return SyntheticRecordings(
            recordings,
            rates,
            poisson_reliability(mu, n_repeats, dispersion=self.dispersion, gain_sd=self.gain_sd),
            self.average_reliability(mu, n_repeats),
            weights,
            latency,
        )

    def average_reliability(self, expected: np.ndarray, n_repeats: int) -> np.ndarray:
        r"""Return the reliability of counts summed over the bins.

        With :math:`S_i = \sum_t \mu_{it}`, and one gain for all bins of a repetition,

        .. math:: \rho = \frac{\mathrm{Var}_i S_i}{\mathrm{Var}_i S_i + \langle S_i
            + \phi (1 + \sigma_g^2) \sum_t \mu_{it}^2 + \sigma_g^2 S_i^2 \rangle_i / R}

        (C18).

        Parameters
        ----------
        expected : ndarray, shape (images, neurons, bins)
            Expected counts of a bin.
        n_repeats : int
            Repetitions R.
        """
        total = expected.sum(2)
        gain = self.gain_sd**2
        spread = self.dispersion * (1.0 + gain) * (expected**2).sum(2)
        noise = (total + spread + gain * total**2).mean(0) / n_repeats
        signal = total.var(0)
        return np.divide(signal, signal + noise, out=np.zeros_like(signal), where=signal > 0)


def ar2_latents(
    n_images: int,
    n_latents: int,
    n_bins: int,
    *,
    drive: float = 1.0,
    decay: float = 0.85,
    period: float = 12.0,
    seed: int = 0,
) -> np.ndarray:
    r"""Return features that oscillate and decay, each image from a start of its own.

    .. math:: f_t = 2 \rho \cos(2 \pi / P)\, f_{t-1} - \rho^2 f_{t-2} + u

    with a constant drive u and a start :math:`f_0, f_{-1}` of each image and latent, all normal.

    Parameters
    ----------
    n_images, n_latents, n_bins : int
        Shape of the result.
    drive : float
        Standard deviation of u, >= 0, where that of the starts is 1.
    decay : float
        :math:`\rho` in (0, 1).
    period : float
        P > 2, bins.
    seed : int
        Decides starts and drives.

    Returns
    -------
    ndarray, shape (n_images, n_latents, n_bins)
    """
    for name, size in (("n_images", n_images), ("n_latents", n_latents), ("n_bins", n_bins)):
        check_count(name, size)
    check_range("drive", drive, 0.0)
    check_range("decay", decay, 0.0, 1.0, open_low=True, open_high=True)
    check_range("period", period, 2.0, open_low=True)
    check_count("seed", seed, 0)
    random = np.random.default_rng(seed)
    constant = drive * random.normal(size=(n_images, n_latents))
    now, before = random.normal(size=(2, n_images, n_latents))
    steps = []
    for _ in range(n_bins):
        steps.append(now)
        swing = 2.0 * decay * np.cos(2.0 * np.pi / period)
        now, before = swing * now - decay**2 * before + constant, now
    return np.stack(steps, 2)


def _features(features: ArrayLike) -> np.ndarray:
    F = as_floats("features", features)
    if F.ndim == 2:
        F = F[:, :, None]
    if F.ndim != 3 or min(F.shape) < 1:
        raise ValueError(f"features must be (images, p, bins), got shape {F.shape}")
    check_finite("features", F)
    return F
