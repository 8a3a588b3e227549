"""How well repeated measurements agree, and how well a model could agree with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range

__all__ = [
    "halvings",
    "poisson_reliability",
    "reliability",
    "spearman_brown",
    "split_half_correlation",
]


def spearman_brown(correlation: ArrayLike, length: float = 2.0) -> np.ndarray:
    r"""Return the reliability of a mean over ``length`` times as many repetitions.

    .. math:: \rho = \frac{k r}{1 + (k - 1) r}

    Equation (C11).

    Parameters
    ----------
    correlation : array_like
        Correlation r of two means over as many repetitions each; NaN stays NaN. At and below
        the pole, r = -1 / (k - 1) for k > 1, the limit comes back, minus infinity.
    length : float
        Repetitions of the whole over those of each mean, k > 0.

    Returns
    -------
    ndarray
        Same shape.

    References
    ----------
    Schoppe, Harper, Willmore, King, Schnupp 2016, doi:10.3389/fncom.2016.00010, on normalized
    correlations.

    Examples
    --------
    >>> float(spearman_brown(0.5))
    0.6667
    """
    check_range("length", length, 0.0, open_low=True)
    r = as_floats("correlation", correlation)
    share = 1.0 + (length - 1.0) * r
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share <= 0.0, -np.inf, length * r / share)


def extended(correlation: np.ndarray, length: float | np.ndarray) -> np.ndarray:
    """Return (C11), finite for correlations that chance has put near its pole or beyond it.

    ``length`` is above 1, one for all or one for each; with three repetitions it is 3, and a
    correlation of -0.6 of two of them would give a reliability of 9.
    """
    r = np.maximum(correlation, -0.99 / (length - 1.0))
    return np.asarray(length * r / (1.0 + (length - 1.0) * r))


def poisson_reliability(
    rates: ArrayLike, n_repeats: int, *, dispersion: float = 0.0, gain_sd: float = 0.0
) -> np.ndarray:
    r"""Return the reliability of mean counts whose expectation is known.

    .. math:: \rho = \frac{\mathrm{Var}_i \mu_i}
        {\mathrm{Var}_i \mu_i + \langle \mu_i + [\phi (1 + \sigma_g^2) + \sigma_g^2] \mu_i^2
        \rangle_i / R}

    Equation (C12); Poisson counts have :math:`\phi = \sigma_g = 0`.

    Parameters
    ----------
    rates : array_like, shape (n_images, ...)
        Expected counts of a repetition, >= 0.
    n_repeats : int
        Repetitions R that are averaged.
    dispersion : float
        Of negative binomial counts: their variance is :math:`\mu + \phi \mu^2`.
    gain_sd : float
        Standard deviation of a gain of mean 1 that multiplies the rate in each trial.

    Returns
    -------
    ndarray, shape (...)
        0 where the rate is the same for all images.

    Examples
    --------
    >>> float(poisson_reliability([1.0, 3.0], n_repeats=2))
    0.5
    """
    mu = as_floats("rates", rates)
    check_finite("rates", mu)
    check_count("n_repeats", n_repeats)
    check_range("dispersion", dispersion, 0.0)
    check_range("gain_sd", gain_sd, 0.0)
    if mu.size and mu.min() < 0:
        raise ValueError(f"rates must be >= 0, got {mu.min():.3g}")
    signal = mu.var(0)
    excess = dispersion * (1.0 + gain_sd**2) + gain_sd**2
    noise = (mu + excess * mu**2).mean(0) / n_repeats
    total = signal + noise
    return np.divide(signal, total, out=np.zeros_like(total), where=total > 0)


def halvings(n_repeats: int, n_halvings: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return random pairs of disjoint halves of the repetitions; an odd one is left out.

    Raises
    ------
    ValueError
        Fewer than two repetitions.

    Examples
    --------
    >>> [(len(a), len(b)) for a, b in halvings(5, 1, seed=0)]
    [(2, 2)]
    """
    if n_repeats < 2:
        raise ValueError(
            f"responses must have at least 2 repetitions for a noise ceiling, got {n_repeats}; "
            "correct=None scores without one"
        )
    check_count("n_halvings", n_halvings)
    check_count("seed", seed, 0)
    random, half = np.random.default_rng(seed), n_repeats // 2
    orders = [random.permutation(n_repeats) for _ in range(n_halvings)]
    return [(order[:half], order[half : 2 * half]) for order in orders]


def split_half_correlation(
    responses: ArrayLike, *, n_halvings: int = 20, seed: int = 0
) -> np.ndarray:
    """Return the correlation over images of the means of two halves of the repetitions.

    Parameters
    ----------
    responses : array_like, shape (n_images, n_repeats, ...)
        Finite.
    n_halvings : int
        Random halvings.
    seed : int
        Decides them.

    Returns
    -------
    ndarray, shape (n_halvings, ...)
        0 where a half does not vary over the images.
    """
    Y = checked_responses(responses)
    return np.stack([
        correlation(Y[:, a].mean(1), Y[:, b].mean(1))
        for a, b in halvings(Y.shape[1], n_halvings, seed)
    ])  # fmt: skip


def reliability(responses: ArrayLike, *, n_halvings: int = 20, seed: int = 0) -> np.ndarray:
    r"""Return the reliability of the mean over all repetitions.

    The correlation of two halves, averaged over random halvings and extended to all repetitions by
    `spearman_brown`. Its square root is the noise ceiling: the correlation with the measured
    mean that the true expectation would have.

    Parameters
    ----------
    responses : array_like, shape (n_images, n_repeats, ...)
        At least two repetitions.
    n_halvings : int
        Random halvings.
    seed : int
        Decides them.

    Returns
    -------
    ndarray, shape (...)
        About :math:`S R / (1 + S R)` for a signal-to-noise ratio S of a single repetition; can be
        below 0 by chance.

    Raises
    ------
    ValueError
        Fewer than two repetitions, NaN.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> signal = random.normal(size=(2000, 1))
    >>> float(reliability(signal + random.normal(size=(2000, 20)), n_halvings=5))
    0.95
    """
    Y = checked_responses(responses)
    r = split_half_correlation(Y, n_halvings=n_halvings, seed=seed)
    return extended(r.mean(0), Y.shape[1] / (Y.shape[1] // 2))


def checked_responses(responses: ArrayLike) -> np.ndarray:
    """Return the responses as floats, or refuse them."""
    Y = np.asarray(responses)
    if Y.ndim < 2:
        raise ValueError(
            f"responses must have shape (n_images, n_repeats, ...), got {Y.shape}; a single "
            "repetition needs an axis of its own"
        )
    Y = Y if Y.dtype == np.float32 else as_floats("responses", Y)
    check_finite("responses", Y)
    return Y


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation over the first axis; 0 where one of them does not vary."""
    parts = []
    for values in (a, b):
        size = np.abs(values).max(0, initial=0.0)
        part = values / np.where(size > 0, size, 1.0)  # no unit is too small or too large
        part = part - part.mean(0)
        length = np.sqrt((part * part).sum(0))
        rounding = max(1e-11, 64 * float(np.finfo(part.dtype).eps)) * len(values) ** 0.5
        parts.append(np.where(length <= rounding, 0.0, part / np.where(length > 0, length, 1.0)))
    return np.asarray((parts[0] * parts[1]).sum(0))
